//! [`Recurrence`]: the times of a recurring job.

use std::fmt;
use std::time::Duration;

use time::UtcOffset;

use crate::calendar::calendar_times::CalendarTimes;
use crate::calendar::cron::expression::Cron;
use crate::calendar::zone::time_zone::Zone;
use crate::sync::primitives::Arc;
use crate::value::time_units::{WallNanos, from_wall, to_wall};

/// The times of a recurring job.
#[derive(Clone, Debug)]
pub(crate) enum Recurrence {
    /// Once each interval, in nanoseconds, before and after an anchor.
    Every { interval: i64 },
    /// Once, this many nanoseconds after the end of the run before, or after the scheduling.
    AfterEach { interval: i64 },
    /// The times of a calendar interval, from a start date on. Boxed, because it is large.
    Calendar(Box<CalendarTimes>),
    /// The times at which the expression is due in the zone.
    Cron { cron: Arc<Cron>, zone: Zone },
}

impl fmt::Display for Recurrence {
    /// The name of the trigger in an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |interval: &i64| Duration::from_nanos(interval.unsigned_abs());
        match self {
            Recurrence::Every { interval } => write!(f, "the interval {:?}", length(interval)),
            Recurrence::AfterEach { interval } => {
                write!(f, "{:?} after each run", length(interval))
            }
            Recurrence::Calendar(times) => {
                write!(f, "the calendar interval {}", times.interval())
            }
            Recurrence::Cron { cron, .. } => write!(f, "the cron expression `{cron}`"),
        }
    }
}

impl Recurrence {
    /// The first time strictly after `after`. `anchor` is one of the times: only an
    /// interval needs it. `None` if there is none within the range of an `i64`. The cost
    /// does not depend on how many times lie in between.
    pub(crate) fn next_after(&self, anchor: WallNanos, after: WallNanos) -> Option<WallNanos> {
        match *self {
            Recurrence::Cron { ref cron, ref zone } => {
                let next = cron.next_after(from_wall(after, UtcOffset::UTC), zone)?;
                to_wall(next)
            }
            Recurrence::Calendar(ref times) => times.next_after(after),
            Recurrence::Every { interval } | Recurrence::AfterEach { interval } => {
                // The distance of two i64 values needs 65 bits.
                let (anchor, interval) = (i128::from(anchor), i128::from(interval));
                let steps = (i128::from(after) - anchor).div_euclid(interval) + 1;
                i64::try_from(anchor + steps * interval).ok()
            }
        }
    }

    /// Whether the times are a rate, and not times of day. After the wall clock was set
    /// back, a rate comes to the same times again; a time of day that was run is not run
    /// again.
    pub(crate) fn is_rate(&self) -> bool {
        match self {
            Recurrence::Every { .. } | Recurrence::AfterEach { .. } => true,
            Recurrence::Calendar(_) => false,
            Recurrence::Cron { cron, .. } => cron.is_rate(),
        }
    }

    /// Whether the time of a run depends on the end of the run before.
    pub(crate) fn is_after_each(&self) -> bool {
        matches!(self, Recurrence::AfterEach { .. })
    }

    /// Whether `other` has the same times, if its anchor is the same.
    pub(crate) fn has_same_times(&self, other: &Recurrence) -> bool {
        use Recurrence::{AfterEach, Calendar, Cron, Every};
        match (self, other) {
            (Every { interval: left }, Every { interval: right })
            | (AfterEach { interval: left }, AfterEach { interval: right }) => left == right,
            (Calendar(left), Calendar(right)) => left.has_same_times(right),
            (
                Cron { cron, zone },
                Cron {
                    cron: other_cron,
                    zone: other_zone,
                },
            ) => cron.has_same_times(other_cron) && zone == other_zone,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_after_returns_the_first_grid_point_strictly_after() {
        let every = Recurrence::Every { interval: 10 };
        for (after, next) in [
            (-99, -98),
            (-9, -8),
            (1, 2),
            (2, 12),
            (11, 12),
            (1_003, 1_012),
        ] {
            for anchor in [2, 12, -98] {
                assert_eq!(every.next_after(anchor, after), Some(next));
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_neither_wrap_nor_panic() {
        let every = Recurrence::Every { interval: i64::MAX };
        assert_eq!(every.next_after(i64::MIN, i64::MIN), Some(-1));
        assert_eq!(every.next_after(i64::MIN, -1), Some(i64::MAX - 1));
        assert_eq!(every.next_after(i64::MIN, i64::MAX - 1), None);
        assert_eq!(every.next_after(i64::MAX, i64::MIN), Some(-i64::MAX));
    }
}
