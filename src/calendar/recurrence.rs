//! [`Recurrence`]: the times of a recurring job.

use time::UtcOffset;

use crate::calendar::cron::expression::Cron;
use crate::calendar::zone::time_zone::Zone;
use crate::sync::primitives::Arc;
use crate::value::time_units::{from_wall, to_wall};

/// The times of a recurring job, in nanoseconds on its timeline.
#[derive(Clone, Debug)]
pub(crate) enum Recurrence {
    /// `anchor + k * interval` for `k` from 0.
    Every { anchor: i64, interval: i64 },
    /// The times at which the expression is due in the zone, on the wall clock.
    Cron { cron: Arc<Cron>, zone: Zone },
}

impl Recurrence {
    /// The first time strictly after `after`. `None` if there is none within the range
    /// of an `i64`. The cost does not depend on how many times lie in between.
    pub(crate) fn next_after(&self, after: i64) -> Option<i64> {
        match *self {
            Recurrence::Cron { ref cron, ref zone } => {
                let next = cron.next_after(from_wall(after, UtcOffset::UTC), zone)?;
                to_wall(next)
            }
            Recurrence::Every { anchor, .. } if after < anchor => Some(anchor),
            Recurrence::Every { anchor, interval } => {
                // The distance of two i64 values needs 65 bits.
                let distance = i128::from(after) - i128::from(anchor);
                let steps = distance / i128::from(interval) + 1;
                i64::try_from(i128::from(anchor) + steps * i128::from(interval)).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_after_returns_the_first_grid_point_strictly_after() {
        let every = Recurrence::Every {
            anchor: 0,
            interval: 10,
        };
        for (after, next) in [
            (-99, 0),
            (-1, 0),
            (0, 10),
            (9, 10),
            (10, 20),
            (1_003, 1_010),
        ] {
            assert_eq!(every.next_after(after), Some(next));
        }
    }

    #[test]
    fn the_ends_of_the_range_neither_wrap_nor_panic() {
        let every = Recurrence::Every {
            anchor: i64::MIN,
            interval: i64::MAX,
        };
        assert_eq!(every.next_after(i64::MIN), Some(-1));
        assert_eq!(every.next_after(-1), Some(i64::MAX - 1));
        assert_eq!(every.next_after(i64::MAX - 1), None);
    }
}
