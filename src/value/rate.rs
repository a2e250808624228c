//! [`Rate`]: how often attempts may start.

use std::fmt;
use std::time::Duration;

use crate::value::error::RegisterError;
use crate::value::time_units::{MAX_DURATION, to_nanos};

/// How many attempts may start in a period: [`TaskBuilder::rate`](crate::TaskBuilder::rate),
/// [`TaskBuilder::rate_by`](crate::TaskBuilder::rate_by).
///
/// If none has started for a whole period, that number may start together; then they start
/// evenly. So a rate of 10 in a minute starts 10 together, and then one each 6 seconds. Within
/// any minute 19 are handed to the executor at most. (This is the generic cell rate algorithm.)
/// The time between two is rounded up to nanoseconds, and is at least one.
///
/// Neither the number nor the period may be 0, and the period is at most 292 years: registering
/// a task with any other rate fails with a [`RegisterError`].
///
/// ```
/// use std::time::Duration;
/// use jobber::Rate;
///
/// let rate = Rate::new(10, Duration::from_secs(60));
/// assert_eq!(rate.to_string(), "10 in 60s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    starts: u32,
    per: Duration,
}

impl Rate {
    /// This number of starts in this time, on the monotonic clock.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let rate = jobber::Rate::new(1, Duration::from_secs(5));
    /// assert_eq!(rate.to_string(), "1 in 5s");
    /// ```
    pub const fn new(starts: u32, per: Duration) -> Self {
        Self { starts, per }
    }

    /// The number, and the time in nanoseconds.
    pub(crate) fn check(self, option: &'static str) -> Result<(u32, i64), RegisterError> {
        if self.starts == 0 {
            return Err(RegisterError::ZeroLimit { option });
        }
        if self.per.is_zero() {
            return Err(RegisterError::ZeroDuration { option });
        }
        let too_long = RegisterError::DurationTooLong {
            field: option,
            value: self.per,
            max: MAX_DURATION,
        };
        let per = to_nanos(self.per).ok_or(too_long)?;
        Ok((self.starts, per))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?}", self.starts, self.per)
    }
}
