//! [`IntoZone`]: the types that can be passed as a time zone.

use time::UtcOffset;

use crate::calendar::zone::time_zone::Zone;
use crate::calendar::zone::zone_database::ZoneDatabase;
use crate::value::error::ZoneError;

/// A type that can be passed as a time zone: a [`Zone`], a fixed [`UtcOffset`] or, with the
/// feature `tz`, the name of a zone.
///
/// ```
/// use jobber::Jobber;
/// use time::macros::offset;
///
/// let app = Jobber::builder().zone(offset!(+5:30)).build()?;
/// # #[cfg(feature = "tz")]
/// let app = Jobber::builder().zone("Asia/Kolkata").build()?;
/// # Ok::<(), jobber::StartError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a time zone",
    note = "pass a `Zone`, a `time::UtcOffset` or, with jobber's feature `tz`, a name such as \"Europe/Berlin\""
)]
pub trait IntoZone {
    /// Returns the zone. A name is looked up in the time zone database that is compiled in.
    ///
    /// # Errors
    ///
    /// Returns [`ZoneError::Unknown`] if the database has no zone with this name.
    fn into_zone(self) -> Result<Zone, ZoneError>;

    /// Returns the zone. A name is looked up in a database, also if it is the name of a
    /// [`Zone`].
    ///
    /// # Errors
    ///
    /// Returns [`ZoneError::Unknown`] if the database has no zone with this name, and
    /// [`ZoneError::Unreadable`] if the file of the zone cannot be read.
    ///
    /// ```
    /// use jobber::{IntoZone, Zone, ZoneDatabase};
    ///
    /// let zone = Zone::UTC.into_zone_in(&ZoneDatabase::bundled())?;
    /// assert_eq!(zone, Zone::UTC);
    /// # Ok::<(), jobber::ZoneError>(())
    /// ```
    fn into_zone_in(self, database: &ZoneDatabase) -> Result<Zone, ZoneError>
    where
        Self: Sized,
    {
        self.into_zone()?.in_database(database)
    }
}

/// The zone that was given, with the rules of a database. A name that the database that is
/// compiled in does not know may be known there.
pub(crate) fn resolve(
    zone: Result<Zone, ZoneError>,
    database: &ZoneDatabase,
) -> Result<Zone, ZoneError> {
    match zone {
        Ok(zone) => zone.in_database(database),
        Err(ZoneError::Unknown { name, .. }) => Zone::parse_in(&name, database),
        Err(error) => Err(error),
    }
}

impl IntoZone for Zone {
    fn into_zone(self) -> Result<Zone, ZoneError> {
        Ok(self)
    }
}

impl IntoZone for &Zone {
    fn into_zone(self) -> Result<Zone, ZoneError> {
        Ok(self.clone())
    }
}

impl IntoZone for UtcOffset {
    fn into_zone(self) -> Result<Zone, ZoneError> {
        Ok(Zone::fixed(self))
    }
}

#[cfg(feature = "tz")]
impl IntoZone for &str {
    fn into_zone(self) -> Result<Zone, ZoneError> {
        Zone::named(self)
    }

    fn into_zone_in(self, database: &ZoneDatabase) -> Result<Zone, ZoneError> {
        Zone::named_in(self, database)
    }
}

#[cfg(feature = "tz")]
impl IntoZone for String {
    fn into_zone(self) -> Result<Zone, ZoneError> {
        Zone::named(&self)
    }

    fn into_zone_in(self, database: &ZoneDatabase) -> Result<Zone, ZoneError> {
        Zone::named_in(&self, database)
    }
}
