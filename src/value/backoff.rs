//! [`Backoff`]: the delays between the attempts of a run.

use std::time::Duration;

use crate::value::error::{RegisterError, ScheduleError};
use crate::value::time_units::{MAX_DURATION, to_nanos};

/// The number of retries after a failed attempt, and the delays before them.
///
/// The delay before retry `n`, counted from 1, is `initial * factor^(n - 1)`, but at most
/// `cap`. The share `jitter` of this delay is random, so that jobs that failed together
/// are not retried together.
///
/// A task can request another delay with [`RetryAfter`](crate::RetryAfter). It is at most 24
/// hours, or [`retry_after_max`](Backoff::retry_after_max).
///
/// A job that waits for a retry occupies no thread.
///
/// The methods accept every value. [`TaskBuilder::register`](crate::TaskBuilder::register)
/// checks the values and returns
/// [`RegisterError::InvalidBackoff`](crate::RegisterError::InvalidBackoff) or
/// [`RegisterError::DurationTooLong`](crate::RegisterError::DurationTooLong).
///
/// ```
/// use std::time::Duration;
/// use jobber::Backoff;
///
/// // Up to 3 retries (4 attempts), after 1 s, 2 s and 4 s.
/// let backoff = Backoff::exponential(3);
/// // Up to 5 retries, each after 200 ms to 400 ms.
/// let backoff = Backoff::fixed(5, Duration::from_millis(400)).jitter(0.5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    retries: u32,
    initial: Duration,
    factor: f64,
    cap: Duration,
    jitter: f64,
    retry_after_max: Duration,
}

/// The longest delay that a server plausibly requests.
const DEFAULT_RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

impl Backoff {
    /// Allows `retries` retries, after 1 s, 2 s, 4 s and so on, with delays of at most one
    /// minute.
    pub fn exponential(retries: u32) -> Self {
        Self {
            retries,
            initial: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(60),
            jitter: 0.0,
            retry_after_max: DEFAULT_RETRY_AFTER_MAX,
        }
    }

    /// Allows `retries` retries, each after `delay`.
    pub fn fixed(retries: u32, delay: Duration) -> Self {
        Self {
            retries,
            initial: delay,
            factor: 1.0,
            cap: delay,
            jitter: 0.0,
            retry_after_max: DEFAULT_RETRY_AFTER_MAX,
        }
    }

    /// Sets the delay before the first retry.
    pub fn initial(mut self, delay: Duration) -> Self {
        self.initial = delay;
        self
    }

    /// Sets the number by which each delay is multiplied to compute the next one: a finite
    /// number of at least 0.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the longest delay. It does not limit the delay of a
    /// [`RetryAfter`](crate::RetryAfter): see [`retry_after_max`](Backoff::retry_after_max).
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets the random share of each delay, from 0 to 1: a delay `d` becomes a delay
    /// between `d * (1 - jitter)` and `d`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::Backoff;
    ///
    /// let backoff = Backoff::fixed(1, Duration::from_secs(10)).jitter(0.5);
    /// assert_eq!(backoff.delay(1, 0.0), Duration::from_secs(10));
    /// assert_eq!(backoff.delay(1, 1.0), Duration::from_secs(5));
    /// ```
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the longest delay of a [`RetryAfter`](crate::RetryAfter), instead of 24 hours. A
    /// longer one is shortened to it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::{Backoff, BoxError, RetryAfter, testing::Simulation};
    ///
    /// let hour = Duration::from_secs(3_600);
    /// let mut sim = Simulation::new();
    /// let poll = sim.app().task("poll", async || {
    ///     Err::<(), BoxError>(RetryAfter::new(Duration::MAX).into())
    /// });
    /// let poll = poll.retry(Backoff::exponential(5).retry_after_max(hour)).register()?;
    /// let job = poll.schedule(()).push().block_on()?;
    /// let start = job.exec_at();
    /// sim.run_until_stalled();
    /// assert_eq!(job.exec_at(), start + hour);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_after_max(mut self, max: Duration) -> Self {
        self.retry_after_max = max;
        self
    }

    /// The initial delay, the factor, the cap and the jitter.
    pub(crate) fn delays(&self) -> (Duration, f64, Duration, f64) {
        (self.initial, self.factor, self.cap, self.jitter)
    }

    /// The delay before a retry that a task requests with a `RetryAfter`.
    pub(crate) fn requested_delay(&self, delay: Duration) -> Duration {
        delay.min(self.retry_after_max)
    }

    /// The maximum number of retries.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Computes the delay before retry `n`, counted from 1, for a random number `random`
    /// from 0 to 1. At 0 the delay is longest.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::Backoff;
    ///
    /// let backoff = Backoff::exponential(9).initial(Duration::from_secs(3)).cap(Duration::from_secs(10));
    /// assert_eq!(backoff.delay(1, 0.0), Duration::from_secs(3));
    /// assert_eq!(backoff.delay(2, 0.0), Duration::from_secs(6));
    /// assert_eq!(backoff.delay(3, 0.0), Duration::from_secs(10));
    /// ```
    pub fn delay(&self, n: u32, random: f64) -> Duration {
        let exponent = i32::try_from(n.saturating_sub(1)).unwrap_or(i32::MAX);
        if self.initial.is_zero() {
            // A large factor would make the product NaN: zero times infinity.
            return Duration::ZERO;
        }
        let full = self.initial.as_secs_f64() * self.factor.powi(exponent);
        let full = full.min(self.cap.as_secs_f64());
        let share = 1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0);
        Duration::try_from_secs_f64(full.max(0.0) * share).unwrap_or(self.cap)
    }

    /// Checks that all numbers are in range.
    pub(crate) fn check(&self) -> Result<(), InvalidBackoff> {
        let invalid = |field, value, allowed| {
            Err(InvalidBackoff::Number {
                field,
                value,
                allowed,
            })
        };
        if !(self.factor.is_finite() && self.factor >= 0.0) {
            return invalid("factor", self.factor, "a finite number of at least 0");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return invalid("jitter", self.jitter, "between 0 and 1");
        }
        for (field, value) in [
            ("initial delay of the backoff", self.initial),
            ("cap of the backoff", self.cap),
            ("longest RetryAfter of the backoff", self.retry_after_max),
        ] {
            if to_nanos(value).is_none() {
                return Err(InvalidBackoff::TooLong { field, value });
            }
        }
        Ok(())
    }
}

/// The rule that a backoff breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InvalidBackoff {
    Number {
        field: &'static str,
        value: f64,
        allowed: &'static str,
    },
    TooLong {
        field: &'static str,
        value: Duration,
    },
}

/// An error of an operation that takes a [`Backoff`].
macro_rules! from_invalid_backoff {
    ($error:ident) => {
        impl From<InvalidBackoff> for $error {
            fn from(error: InvalidBackoff) -> Self {
                match error {
                    InvalidBackoff::Number {
                        field,
                        value,
                        allowed,
                    } => $error::InvalidBackoff {
                        field,
                        value,
                        allowed,
                    },
                    InvalidBackoff::TooLong { field, value } => $error::DurationTooLong {
                        field,
                        value,
                        max: MAX_DURATION,
                    },
                }
            }
        }
    };
}

from_invalid_backoff!(RegisterError);
from_invalid_backoff!(ScheduleError);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_grow_by_the_factor_up_to_the_cap() {
        let backoff = Backoff::exponential(9).cap(SECOND * 5);
        let delays: Vec<_> = (1..=5).map(|n| backoff.delay(n, 0.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn jitter_shortens_a_delay_by_at_most_its_share() {
        let backoff = Backoff::fixed(1, SECOND).jitter(0.25);
        assert_eq!(backoff.delay(1, 0.0), SECOND);
        assert_eq!(backoff.delay(1, 1.0), SECOND * 3 / 4);
    }

    #[test]
    fn extreme_values_neither_panic_nor_exceed_the_cap() {
        let cap = Duration::from_secs(60);
        for backoff in [
            Backoff::exponential(u32::MAX).factor(f64::MAX).cap(cap),
            Backoff::exponential(1).initial(Duration::MAX).cap(cap),
            Backoff::exponential(1)
                .initial(Duration::ZERO)
                .factor(f64::MAX)
                .cap(cap),
        ] {
            for n in [0, 1, 2, u32::MAX] {
                assert!(backoff.delay(n, 0.5) <= cap);
            }
        }
        let _ = Backoff::fixed(1, Duration::MAX).delay(1, 0.0);
        let zero = Backoff::exponential(9).initial(Duration::ZERO);
        assert_eq!(
            [1, 2, 2_000, u32::MAX].map(|n| zero.delay(n, 0.0)),
            [Duration::ZERO; 4]
        );
    }

    #[test]
    fn the_error_of_an_invalid_number_names_the_number() {
        let message =
            |backoff: Backoff| RegisterError::from(backoff.check().unwrap_err()).to_string();
        for factor in [-1.0, f64::NAN, f64::INFINITY] {
            let text = message(Backoff::exponential(1).factor(factor));
            assert_eq!(
                text,
                format!(
                    "the factor of the backoff is {factor}, but must be a finite number of at least 0"
                )
            );
        }
        for jitter in [-0.1, 1.1, f64::NAN] {
            let text = message(Backoff::exponential(1).jitter(jitter));
            assert_eq!(
                text,
                format!("the jitter of the backoff is {jitter}, but must be between 0 and 1")
            );
        }
        assert!(
            message(Backoff::fixed(1, Duration::MAX))
                .starts_with("the initial delay of the backoff ")
        );
        assert!(Backoff::exponential(0).check().is_ok());
    }
}
