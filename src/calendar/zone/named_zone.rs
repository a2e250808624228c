//! [`NamedZone`]: a zone of the IANA time zone database.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::calendar::zone::offset_period::OffsetChange;

/// A zone with a name and with the rules of its offsets.
#[derive(Clone)]
pub(crate) struct NamedZone(TimeZone);

impl NamedZone {
    /// A zone of the database that is compiled in.
    pub(crate) fn bundled(name: &str) -> Option<Self> {
        // jiff's global database is not used: if any crate of the program enables that
        // jiff feature, it prefers the system's copy of the database.
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        // jiff ignores the case of a name, and returns a zone for `Etc/Unknown`.
        let is_named_so = zone.iana_name() == Some(name) && !zone.is_unknown();
        is_named_so.then_some(Self(zone))
    }

    /// A zone from the contents of a compiled zone file. The error says what is wrong with
    /// them.
    pub(crate) fn compiled(name: &str, data: &[u8]) -> Result<Self, String> {
        let zone = TimeZone::tzif(name, data);
        zone.map(Self).map_err(|error| error.to_string())
    }

    pub(crate) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or_default()
    }

    pub(crate) fn offset_at(&self, instant: i64) -> i32 {
        self.0.to_offset(timestamp(instant)).seconds()
    }

    /// The first change of the offset after an instant.
    pub(crate) fn next_change(&self, instant: i64) -> Option<i64> {
        self.changes_after(instant).next()
    }

    /// The last change of the offset in the `within` seconds that end at an instant.
    pub(crate) fn recent_change(&self, instant: i64, within: i64) -> Option<OffsetChange> {
        // The search runs forwards, because `preceding` of jiff 1.0.1 skips the last
        // change in a zone's table if the zone has a rule for later times.
        let from = instant.saturating_sub(within).saturating_sub(1);
        let changes = self.changes_after(from);
        let at = changes.take_while(|&at| at <= instant).last()?;
        Some(OffsetChange {
            at,
            offset_before: self.offset_at(at.saturating_sub(1)),
        })
    }

    /// The changes of the offset after an instant, and not at it, in order.
    fn changes_after(&self, instant: i64) -> impl Iterator<Item = i64> {
        let mut last = instant;
        let changes = self.0.following(timestamp(instant));
        let times = changes.map(|change| change.timestamp().as_second());
        // `following` of jiff 1.0.1 repeats the last change in a zone's table without end if
        // the zone has no rule for later times.
        times.take_while(move |&at| std::mem::replace(&mut last, at) < at)
    }
}

/// Clamps an instant to jiff's range. The range of `time` is a day longer at both ends, and
/// no zone changes its offset there.
fn timestamp(instant: i64) -> Timestamp {
    let end = if instant < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_second(instant).unwrap_or(end)
}
