//! Time zones: UTC, fixed offsets and, with feature `tz`, those of the IANA
//! database.

use std::fmt;

use time::{OffsetDateTime, UtcOffset};

use crate::value::clock::{WallNanos, from_wall};
use crate::value::error::ZoneError;

#[cfg(feature = "tz")]
use crate::calendar::zone::named::Named;
#[cfg(not(feature = "tz"))]
use crate::calendar::zone::nameless::Named;

/// A time zone, by which a [`Cron`](crate::cron::Cron) expression is read.
///
/// A named zone is kept by its name, so that its offset is the one in force at
/// each time. Its rules are those of the database in this program: a copy of
/// the system's, which may be years old, is never used.
///
/// ```
/// use jobber::Zone;
/// use time::UtcOffset;
///
/// let zone = Zone::fixed(UtcOffset::from_hms(5, 30, 0)?);
/// assert_eq!(zone.to_string(), "+05:30");
/// assert_eq!(Zone::UTC.to_string(), "UTC");
/// # Ok::<(), time::error::ComponentRange>(())
/// ```
#[derive(Clone)]
pub struct Zone(Kind);

#[derive(Clone)]
enum Kind {
    Fixed(UtcOffset),
    #[cfg_attr(not(feature = "tz"), expect(dead_code, reason = "there are no names"))]
    Named(Named),
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(Kind::Fixed(UtcOffset::UTC));

    /// A zone whose clocks never change.
    ///
    /// ```
    /// use jobber::Zone;
    /// use time::UtcOffset;
    ///
    /// assert_eq!(Zone::fixed(UtcOffset::UTC), Zone::UTC);
    /// ```
    #[must_use]
    pub const fn fixed(offset: UtcOffset) -> Self {
        Self(Kind::Fixed(offset))
    }

    /// A zone of the IANA time zone database, by its exact name.
    ///
    /// # Errors
    ///
    /// If there is none of that name. The error has the name of one that is
    /// near, if there is one.
    ///
    /// ```
    /// use jobber::Zone;
    ///
    /// assert_eq!(Zone::named("Europe/Berlin")?.to_string(), "Europe/Berlin");
    /// let error = Zone::named("Berlin").unwrap_err();
    /// assert!(error.to_string().ends_with("did you mean `Europe/Berlin`?"));
    /// # Ok::<(), jobber::ZoneError>(())
    /// ```
    #[cfg(feature = "tz")]
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        if name == "UTC" {
            return Ok(Self::UTC);
        }
        Named::new(name).map(|zone| Self(Kind::Named(zone)))
    }

    /// Reads what [`Display`](fmt::Display) prints.
    pub(crate) fn read(text: &str) -> Result<Self, ZoneError> {
        if text == "UTC" {
            return Ok(Self::UTC);
        }
        if let Some(offset) = read_offset(text) {
            return Ok(Self::fixed(offset));
        }
        #[cfg(feature = "tz")]
        return Self::named(text);
        #[cfg(not(feature = "tz"))]
        return Err(ZoneError::Unknown {
            name: text.into(),
            suggestion: None,
        });
    }

    /// The offset in force at an instant.
    ///
    /// ```
    /// use jobber::Zone;
    /// use time::{OffsetDateTime, UtcOffset};
    ///
    /// assert_eq!(Zone::UTC.offset_at(OffsetDateTime::UNIX_EPOCH), UtcOffset::UTC);
    /// ```
    #[must_use]
    pub fn offset_at(&self, instant: OffsetDateTime) -> UtcOffset {
        match &self.0 {
            Kind::Fixed(offset) => *offset,
            // Both crates end at 25:59:59, so there is always one.
            Kind::Named(zone) => {
                UtcOffset::from_whole_seconds(zone.offset_at(instant.unix_timestamp()))
                    .unwrap_or(UtcOffset::UTC)
            }
        }
    }

    /// A wall time, as it is shown in this zone.
    pub(crate) fn time_at(&self, wall: WallNanos) -> OffsetDateTime {
        let utc = from_wall(wall, UtcOffset::UTC);
        utc.to_offset(self.offset_at(utc))
    }

    /// The period of one offset that holds an instant.
    pub(crate) fn period_at(&self, instant: i64) -> Period {
        match &self.0 {
            Kind::Fixed(offset) => Period {
                offset: offset.whole_seconds(),
                end: None,
            },
            Kind::Named(zone) => Period {
                offset: zone.offset_at(instant),
                end: zone.next_change(instant),
            },
        }
    }

    /// The last change within so many seconds up to an instant.
    pub(crate) fn recent_change(&self, instant: i64, within: i64) -> Option<Change> {
        match &self.0 {
            Kind::Fixed(_) => None,
            Kind::Named(zone) => zone.recent_change(instant, within),
        }
    }
}

/// Reads `+05:30` or `-00:01:15`.
fn read_offset(text: &str) -> Option<UtcOffset> {
    let (sign, digits) = match text.as_bytes() {
        [b'+', ..] => (1, text.get(1..)?),
        [b'-', ..] => (-1, text.get(1..)?),
        _ => return None,
    };
    let mut parts = digits.split(':').map(|part| {
        let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i8>().ok().filter(|_| is_plain)
    });
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() {
        return None;
    }
    UtcOffset::from_hms(sign * hours, sign * minutes, sign * seconds).ok()
}

/// A stretch of time with one offset. Times are Unix seconds, offsets seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    pub(crate) offset: i32,
    /// The first instant that is no longer in it, if it ends.
    pub(crate) end: Option<i64>,
}

/// The start of a period, and the offset before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) at: i64,
    pub(crate) offset_before: i32,
}

/// What can be given as a time zone: a [`Zone`], a fixed [`UtcOffset`] or, with
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
    message = "`{Self}` is no time zone",
    note = "give a `Zone`, a `time::UtcOffset` or, with jobber's feature `tz`, a name such as \"Europe/Berlin\""
)]
pub trait IntoZone {
    /// Looks it up, if it is a name.
    ///
    /// # Errors
    /// Those of `Zone::named`.
    fn into_zone(self) -> Result<Zone, ZoneError>;
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
}

#[cfg(feature = "tz")]
impl IntoZone for String {
    fn into_zone(self) -> Result<Zone, ZoneError> {
        Zone::named(&self)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Fixed(left), Kind::Fixed(right)) => left == right,
            (Kind::Named(left), Kind::Named(right)) => left.name() == right.name(),
            _ => false,
        }
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = match &self.0 {
            Kind::Named(zone) => return f.pad(zone.name()),
            Kind::Fixed(offset) if offset.is_utc() => return f.pad("UTC"),
            Kind::Fixed(offset) => offset,
        };
        let (hours, minutes, seconds) = offset.as_hms();
        let sign = if offset.is_negative() { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", hours.abs(), minutes.abs())?;
        if seconds != 0 {
            write!(f, ":{:02}", seconds.abs())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_zone_prints_is_read_back() {
        for seconds in [0, 1, -1, 19_800, -19_800, 75, -75, 93_599, -93_599] {
            let zone = Zone::fixed(UtcOffset::from_whole_seconds(seconds).unwrap());
            assert_eq!(Zone::read(&zone.to_string()), Ok(zone));
        }
        for text in [
            "",
            "+",
            "+5",
            "+5:30",
            "+05:3x",
            "+05",
            "+05:60",
            "+26:00",
            "+05:30:00:00",
        ] {
            assert!(Zone::read(text).is_err(), "{text}");
        }
    }
}
