//! [`Zone`]: a time zone, fixed or with a name.

use std::fmt;

use time::{Duration, OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::value::error::ZoneError;
use crate::value::time_units::{WallNanos, from_wall};

#[cfg(feature = "tz")]
use crate::calendar::zone::named_zone::NamedZone;
#[cfg(not(feature = "tz"))]
use crate::calendar::zone::named_zone_stub::NamedZone;
use crate::calendar::zone::offset_period::{OFFSET_BOUND, OffsetChange, OffsetPeriod};
#[cfg(all(feature = "tz", unix, not(target_os = "android")))]
use crate::calendar::zone::system_zone::system_zone_name;
#[cfg(all(feature = "tz", any(not(unix), target_os = "android")))]
use crate::calendar::zone::system_zone_by_jiff::system_zone_name;
use crate::calendar::zone::zone_database::ZoneDatabase;

/// A time zone: UTC, a fixed offset or, with the feature `tz`, a zone of the IANA time zone
/// database such as `Europe/Berlin`.
///
/// A [`Cron`](crate::cron::Cron) expression is evaluated in a zone, and an app returns its times
/// with the offset of a zone. [`to_local`](Self::to_local) and [`at_local`](Self::at_local)
/// convert between instants and local times.
///
/// The rules of a named zone are those of the database that is compiled into the program.
/// The operating system's copy, which may be years old, is used only if a [`ZoneDatabase`]
/// says so.
///
/// Two zones are equal if they have the same fixed offset or the same name.
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
pub struct Zone(Repr);

#[derive(Clone)]
enum Repr {
    Fixed(UtcOffset),
    Named(NamedZone),
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(Repr::Fixed(UtcOffset::UTC));

    /// Creates a zone with a constant offset from UTC.
    ///
    /// ```
    /// use jobber::Zone;
    /// use time::UtcOffset;
    ///
    /// assert_eq!(Zone::fixed(UtcOffset::UTC), Zone::UTC);
    /// ```
    #[must_use]
    pub const fn fixed(offset: UtcOffset) -> Self {
        Self(Repr::Fixed(offset))
    }

    /// Looks up a zone by its exact name in the IANA time zone database that is compiled in.
    ///
    /// # Errors
    ///
    /// Returns [`ZoneError::Unknown`] if the database has no zone with this name. The error
    /// says what to write instead, if that is known: a similar name, or [`Zone::fixed`] for an
    /// offset. An abbreviation such as `PST` is a name only if the database has it.
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
        Self::named_in(name, &ZoneDatabase::bundled())
    }

    /// Looks up a zone by its exact name in a database.
    ///
    /// # Errors
    ///
    /// Returns [`ZoneError::Unknown`] if the database has no zone with this name, and
    /// [`ZoneError::Unreadable`] if the file of the zone cannot be read.
    ///
    /// ```
    /// use jobber::{Zone, ZoneDatabase};
    ///
    /// let berlin = Zone::named_in("Europe/Berlin", &ZoneDatabase::bundled())?;
    /// assert_eq!(berlin, Zone::named("Europe/Berlin")?);
    /// # Ok::<(), jobber::ZoneError>(())
    /// ```
    #[cfg(feature = "tz")]
    pub fn named_in(name: &str, database: &ZoneDatabase) -> Result<Self, ZoneError> {
        Self::look_up(name, database)
    }

    /// Returns the zone that the operating system is set to, with the rules of the database
    /// that is compiled in.
    ///
    /// On Unix, the zone is the one that the environment variable `TZ` names or, if that is
    /// not set, the link `/etc/localtime`, or the file `/etc/timezone`. On Windows, the
    /// system's own name is translated.
    ///
    /// The zone is an ordinary named zone: it does not change if the system is set to another
    /// zone, and a store keeps it by its name.
    ///
    /// # Errors
    ///
    /// Returns [`ZoneError::NoSystemZone`] if the settings of the system name no zone, as in
    /// many containers, and [`ZoneError::Unknown`] if the database has no zone with the name.
    /// A `TZ` that is a rule instead of a name, such as `CET-1CEST,M3.5.0,M10.5.0/3`, is an
    /// unknown name.
    ///
    /// ```
    /// use jobber::Zone;
    ///
    /// let zone = Zone::local().unwrap_or(Zone::UTC);
    /// ```
    #[cfg(feature = "tz")]
    pub fn local() -> Result<Self, ZoneError> {
        Self::local_in(&ZoneDatabase::bundled())
    }

    /// Returns the zone that the operating system is set to, with the rules of a database.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`local`](Self::local) and [`named_in`](Self::named_in).
    ///
    /// ```
    /// use jobber::{Zone, ZoneDatabase};
    ///
    /// let database = ZoneDatabase::system().unwrap_or_default();
    /// let zone = Zone::local_in(&database).unwrap_or(Zone::UTC);
    /// ```
    #[cfg(feature = "tz")]
    pub fn local_in(database: &ZoneDatabase) -> Result<Self, ZoneError> {
        let name = system_zone_name().ok_or(ZoneError::NoSystemZone)?;
        Self::look_up(&name, database)
    }

    /// Returns the zone with the rules that a database has for its name. `UTC` and fixed
    /// offsets stay as they are.
    ///
    /// # Errors
    ///
    /// Returns the errors of `named_in`.
    pub fn in_database(&self, database: &ZoneDatabase) -> Result<Self, ZoneError> {
        match &self.0 {
            Repr::Fixed(_) => Ok(self.clone()),
            Repr::Named(zone) => Self::look_up(zone.name(), database),
        }
    }

    /// Without the feature `tz`, only `UTC` is found.
    fn look_up(name: &str, database: &ZoneDatabase) -> Result<Self, ZoneError> {
        if name == "UTC" {
            return Ok(Self::UTC);
        }
        let zone = database.named_zone(name);
        zone.map(|zone| Self(Repr::Named(zone)))
    }

    /// Parses the text that [`Display`](fmt::Display) writes. A name is looked up in the
    /// database that is compiled in.
    pub(crate) fn parse(text: &str) -> Result<Self, ZoneError> {
        Self::parse_in(text, &ZoneDatabase::bundled())
    }

    /// Parses the text that [`Display`](fmt::Display) writes. A name is looked up in a
    /// database.
    pub(crate) fn parse_in(text: &str, database: &ZoneDatabase) -> Result<Self, ZoneError> {
        match parse_offset(text) {
            Some(offset) => Ok(Self::fixed(offset)),
            None => Self::look_up(text, database),
        }
    }

    /// Returns the offset from UTC at an instant.
    ///
    /// ```
    /// use jobber::Zone;
    /// use time::{Duration, OffsetDateTime, PrimitiveDateTime, UtcOffset};
    ///
    /// assert_eq!(Zone::UTC.offset_at(OffsetDateTime::UNIX_EPOCH), UtcOffset::UTC);
    /// ```
    #[must_use]
    pub fn offset_at(&self, instant: OffsetDateTime) -> UtcOffset {
        match &self.0 {
            Repr::Fixed(offset) => *offset,
            Repr::Named(zone) => utc_offset(zone.offset_at(instant.unix_timestamp())),
        }
    }

    /// Converts an instant to the date and time that local clocks show.
    ///
    /// Returns `None` if the local date is outside the calendar of `time`. This happens only
    /// within a day of the ends of this calendar, which are in the years -9999 and 9999.
    ///
    /// ```
    /// use jobber::Zone;
    /// use time::macros::{datetime, offset};
    ///
    /// let zone = Zone::fixed(offset!(+5:30));
    /// let local = zone.to_local(datetime!(2026-12-24 20:00 UTC));
    /// assert_eq!(local, Some(datetime!(2026-12-25 1:30)));
    /// ```
    #[must_use]
    pub fn to_local(&self, instant: OffsetDateTime) -> Option<PrimitiveDateTime> {
        let local = instant.checked_to_offset(self.offset_at(instant))?;
        Some(PrimitiveDateTime::new(local.date(), local.time()))
    }

    /// Converts a local date and time to an instant: to the first instant at which local
    /// clocks show this time or a later one.
    ///
    /// - If the clocks show the time once, this is the instant.
    /// - If they show it twice, because they were set back, it is the first of the two.
    /// - If they never show it, because they were set forward, it is the first instant after
    ///   the gap. This is also so if the gap is a whole day, which a zone has skipped.
    ///
    /// The result has the offset of the zone at this instant. A later local time never
    /// converts to an earlier instant. [`Cron`](crate::cron::Cron) is due at the same
    /// instants for times of day, with one exception: a change of more than three hours
    /// skips and repeats the times of an expression.
    ///
    /// ```
    /// # #[cfg(feature = "tz")] {
    /// use jobber::Zone;
    /// use time::macros::datetime;
    ///
    /// let berlin = Zone::named("Europe/Berlin")?;
    /// let once = berlin.at_local(datetime!(2026-07-01 9:00));
    /// assert_eq!(once, datetime!(2026-07-01 9:00 +2));
    /// let twice = berlin.at_local(datetime!(2026-10-25 2:30));
    /// assert_eq!(twice, datetime!(2026-10-25 2:30 +2));
    /// let never = berlin.at_local(datetime!(2026-03-29 2:30));
    /// assert_eq!(never, datetime!(2026-03-29 3:00 +2));
    /// # }
    /// # Ok::<(), jobber::ZoneError>(())
    /// ```
    #[must_use]
    pub fn at_local(&self, local: PrimitiveDateTime) -> OffsetDateTime {
        let shown = local.assume_utc().unix_timestamp();
        // Up to here, all local clocks show an earlier time.
        let mut from = shown - OFFSET_BOUND;
        loop {
            let period = self.period_at(from);
            // Changes are at whole seconds, so the fraction of `local` plays no part here.
            let instant = shown - i64::from(period.offset);
            match period.end {
                // Terminates: `instant` is earlier than `shown + OFFSET_BOUND` in all periods.
                Some(end) if instant.max(from) >= end => from = end,
                _ => {
                    // In a gap, `from` is the instant after it.
                    let until_gap_end = match from - instant {
                        seconds @ 1.. => {
                            Duration::seconds(seconds)
                                - Duration::nanoseconds(local.nanosecond().into())
                        }
                        _ => Duration::ZERO,
                    };
                    return local
                        .saturating_add(until_gap_end)
                        .assume_offset(utc_offset(period.offset));
                }
            }
        }
    }

    /// Converts a wall time to a date with the offset of this zone.
    pub(crate) fn time_at(&self, wall: WallNanos) -> OffsetDateTime {
        let utc = from_wall(wall, UtcOffset::UTC);
        utc.to_offset(self.offset_at(utc))
    }

    /// The period that contains an instant.
    pub(crate) fn period_at(&self, instant: i64) -> OffsetPeriod {
        match &self.0 {
            Repr::Fixed(offset) => OffsetPeriod {
                offset: offset.whole_seconds(),
                end: None,
            },
            Repr::Named(zone) => OffsetPeriod {
                offset: zone.offset_at(instant),
                end: zone.next_change(instant),
            },
        }
    }

    /// The last change of the offset in the `within` seconds that end at an instant.
    pub(crate) fn recent_change(&self, instant: i64, within: i64) -> Option<OffsetChange> {
        match &self.0 {
            Repr::Fixed(_) => None,
            Repr::Named(zone) => zone.recent_change(instant, within),
        }
    }
}

/// Cannot fail: jiff and `time` both allow offsets up to 25:59:59.
fn utc_offset(seconds: i32) -> UtcOffset {
    UtcOffset::from_whole_seconds(seconds).unwrap_or(UtcOffset::UTC)
}

/// Parses `+05:30` or `-00:01:15`.
fn parse_offset(text: &str) -> Option<UtcOffset> {
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

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Fixed(left), Repr::Fixed(right)) => left == right,
            (Repr::Named(left), Repr::Named(right)) => left.name() == right.name(),
            _ => false,
        }
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = match &self.0 {
            Repr::Named(zone) => return f.pad(zone.name()),
            Repr::Fixed(offset) if offset.is_utc() => return f.pad("UTC"),
            Repr::Fixed(offset) => offset,
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
    fn the_text_of_a_zone_parses_to_the_same_zone() {
        for seconds in [0, 1, -1, 19_800, -19_800, 75, -75, 93_599, -93_599] {
            let zone = Zone::fixed(UtcOffset::from_whole_seconds(seconds).unwrap());
            assert_eq!(Zone::parse(&zone.to_string()), Ok(zone));
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
            assert!(Zone::parse(text).is_err(), "{text}");
        }
    }

    #[cfg(not(feature = "tz"))]
    #[test]
    fn the_error_for_a_name_without_the_feature_tz_names_the_feature() {
        assert_eq!(Zone::parse("UTC"), Ok(Zone::UTC));
        let error = Zone::parse("Europe/Berlin").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown time zone `Europe/Berlin`; zones with a name need the feature `tz` of jobber",
        );
    }
}
