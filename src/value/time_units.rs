//! Times as whole nanoseconds: the units of the engine.
//!
//! Monotonic times count from the clock's origin, wall times from 1970. Both are `i64`
//! and span 292 years in each direction. A public time that does not fit is rejected
//! where it enters the crate.

use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

/// Nanoseconds since the clock's origin.
pub(crate) type MonoNanos = i64;
/// Nanoseconds since 1970-01-01T00:00:00Z.
pub(crate) type WallNanos = i64;

/// The largest clock change, in nanoseconds. A larger change, of a zone's offset or of the
/// wall clock, is a correction: after Debian's cron(8).
pub(crate) const CLOCK_CHANGE_MAX: i64 = 3 * 3600 * 1_000_000_000;

/// The times of both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) mono: MonoNanos,
    pub(crate) wall: WallNanos,
}

impl Now {
    /// The clocks were not read, because the time is not used.
    pub(crate) const UNREAD: Now = Now {
        mono: i64::MIN,
        wall: i64::MIN,
    };

    /// Wall time less monotonic time.
    pub(crate) fn offset(self) -> i64 {
        self.wall.saturating_sub(self.mono)
    }
}

/// Both clocks, and what is known about the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockReading {
    pub(crate) now: Now,
    /// An earlier wall time is known to be wrong.
    pub(crate) earliest: WallNanos,
}

impl ClockReading {
    /// Whether the wall clock may be right.
    pub(crate) fn is_set(self) -> bool {
        self.now.wall >= self.earliest
    }
}

/// The time at which something is due, on one of the two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Mono(MonoNanos),
    Wall(WallNanos),
}

impl Due {
    pub(crate) fn is_reached(self, now: Now) -> bool {
        match self {
            Due::Mono(at) => at <= now.mono,
            Due::Wall(at) => at <= now.wall,
        }
    }

    /// The wall time of this due time, if no clock is set before then.
    #[inline]
    pub(crate) fn as_wall(self, now: Now) -> WallNanos {
        match self {
            Due::Wall(at) => at,
            Due::Mono(at) => now.wall.saturating_add(at.saturating_sub(now.mono)),
        }
    }

    /// The monotonic time of this due time, if no clock is set before then.
    #[inline]
    pub(crate) fn as_mono(self, now: Now) -> MonoNanos {
        match self {
            Due::Mono(at) => at,
            Due::Wall(at) => now.mono.saturating_add(at.saturating_sub(now.wall)),
        }
    }
}

/// The longest duration that fits into `i64` nanoseconds: 292 years.
pub(crate) const MAX_DURATION: Duration = Duration::from_nanos(i64::MAX as u64);

/// The first and the last wall time that fit into `i64` nanoseconds, in the years 1677
/// and 2262.
pub(crate) fn wall_range() -> (OffsetDateTime, OffsetDateTime) {
    (
        from_wall(i64::MIN, UtcOffset::UTC),
        from_wall(i64::MAX, UtcOffset::UTC),
    )
}

/// Returns `None` if the duration is longer than [`MAX_DURATION`].
#[inline]
pub(crate) fn to_nanos(duration: Duration) -> Option<i64> {
    i64::try_from(duration.as_nanos()).ok()
}

/// Returns `i64::MAX` if the duration is longer than [`MAX_DURATION`].
///
/// It avoids the 128-bit arithmetic of `as_nanos`, because every job reads a clock.
#[inline]
pub(crate) fn saturating_nanos(duration: Duration) -> i64 {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(duration.subsec_nanos().into())
}

/// Returns `None` if the time is outside [`wall_range`].
pub(crate) fn to_wall(time: OffsetDateTime) -> Option<WallNanos> {
    i64::try_from(time.unix_timestamp_nanos()).ok()
}

/// Cannot fail: `OffsetDateTime` holds every [`WallNanos`] in every offset.
pub(crate) fn from_wall(wall: WallNanos, offset: UtcOffset) -> OffsetDateTime {
    let utc = OffsetDateTime::from_unix_timestamp_nanos(wall.into());
    utc.unwrap_or(OffsetDateTime::UNIX_EPOCH).to_offset(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_both_clocks_convert_without_wrapping() {
        let (min, max) = wall_range();
        assert_eq!((min.year(), max.year()), (1677, 2262));
        assert_eq!(to_wall(min), Some(i64::MIN));
        assert_eq!(to_wall(max), Some(i64::MAX));
        assert_eq!(to_wall(max + time::Duration::NANOSECOND), None);
        assert_eq!(to_nanos(MAX_DURATION), Some(i64::MAX));
        assert_eq!(saturating_nanos(MAX_DURATION), i64::MAX);
        assert_eq!(saturating_nanos(Duration::MAX), i64::MAX);
        assert_eq!(saturating_nanos(Duration::new(7, 5)), 7_000_000_005);
        assert_eq!(to_nanos(MAX_DURATION + Duration::from_nanos(1)), None);
        for hours in [-25, 25] {
            let offset = UtcOffset::from_hms(hours, 59 * hours.signum(), 0).unwrap();
            assert_eq!(to_wall(from_wall(i64::MIN, offset)), Some(i64::MIN));
            assert_eq!(to_wall(from_wall(i64::MAX, offset)), Some(i64::MAX));
        }
    }

    #[test]
    fn a_due_time_is_reached_at_its_nanosecond_and_not_before() {
        let now = Now { mono: 10, wall: 20 };
        assert!(Due::Mono(10).is_reached(now) && !Due::Mono(11).is_reached(now));
        assert!(Due::Wall(20).is_reached(now) && !Due::Wall(21).is_reached(now));
        assert_eq!(Due::Mono(i64::MAX).as_wall(now), i64::MAX);
        assert_eq!(Due::Wall(i64::MIN).as_mono(now), i64::MIN + 10);
    }
}
