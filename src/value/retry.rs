//! When a failed attempt is tried again: [`Backoff`], [`RetryAfter`], [`NoRetry`].

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::value::clock::{MAX_DURATION, to_nanos};
use crate::value::error::{BoxError, RegisterError};

/// How often, and after how long, a failed attempt is tried again.
///
/// The delay before retry `n` (from 1) is `initial * factor^(n - 1)`, at most
/// `cap`; of that, the share `jitter` is drawn at random, so that jobs that
/// failed together do not return together.
///
/// A retry waits in the timer's heap and holds no thread.
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
}

impl Backoff {
    /// `retries` retries, the first after a second, each next one after twice
    /// the delay, a minute at most.
    pub fn exponential(retries: u32) -> Self {
        Self {
            retries,
            initial: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(60),
            jitter: 0.0,
        }
    }

    /// `retries` retries, each after `delay`.
    pub fn fixed(retries: u32, delay: Duration) -> Self {
        Self {
            retries,
            initial: delay,
            factor: 1.0,
            cap: delay,
            jitter: 0.0,
        }
    }

    /// The delay before the first retry.
    pub fn initial(mut self, delay: Duration) -> Self {
        self.initial = delay;
        self
    }

    /// What each delay is multiplied with to give the next: 0 or more.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The longest delay.
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// The share of each delay that is random, from 0 to 1: a delay `d` becomes
    /// one between `d * (1 - jitter)` and `d`.
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

    /// How many retries there are at most.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// The delay before retry `n`, from 1, where `random` is drawn from 0 to 1.
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
            // However large the factor: zero times infinity is no number.
            return Duration::ZERO;
        }
        let full = self.initial.as_secs_f64() * self.factor.powi(exponent);
        let full = full.min(self.cap.as_secs_f64());
        let share = 1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0);
        Duration::try_from_secs_f64(full.max(0.0) * share).unwrap_or(self.cap)
    }

    pub(crate) fn check(&self) -> Result<(), RegisterError> {
        let invalid = |field, value, allowed| {
            Err(RegisterError::InvalidBackoff {
                field,
                value,
                allowed,
            })
        };
        if !(self.factor.is_finite() && self.factor >= 0.0) {
            return invalid("factor", self.factor, "must be a finite number, 0 or more");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return invalid("jitter", self.jitter, "must be between 0 and 1");
        }
        for (field, value) in [
            ("backoff's initial delay", self.initial),
            ("backoff's cap", self.cap),
        ] {
            if to_nanos(value).is_none() {
                return Err(RegisterError::DurationTooLong {
                    field,
                    value,
                    max: MAX_DURATION,
                });
            }
        }
        Ok(())
    }
}

/// An error that asks for the next retry after a time of the task's choice.
///
/// A task returns it, alone or as the [source](Error::source) of its own
/// error. It replaces the delay of the [`Backoff`], and counts as one of its
/// retries: when none is left, or the task has no backoff, the attempt fails.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Backoff, BoxError, Jobber, RetryAfter};
///
/// async fn poll(ready: bool) -> Result<(), BoxError> {
///     if !ready {
///         return Err(RetryAfter(Duration::from_secs(30)).into());
///     }
///     Ok(())
/// }
/// let app = Jobber::builder().build()?;
/// let poll = app.task("poll", poll).retry(Backoff::exponential(5)).register()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to be tried again after {:?}", self.0)
    }
}

impl Error for RetryAfter {}

/// An error that no retry can mend: the attempt fails at once, whatever
/// retries are left.
///
/// ```
/// use jobber::{NoRetry, BoxError};
///
/// async fn charge(card: String) -> Result<(), BoxError> {
///     if card.is_empty() {
///         return Err(NoRetry::new("there is no card").into());
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct NoRetry(BoxError);

impl NoRetry {
    /// Wraps the error that is the reason.
    pub fn new(reason: impl Into<BoxError>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for NoRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for NoRetry {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// What a task's error says about retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryHint {
    None,
    After(Duration),
    Never,
}

/// How deep a marker is looked for: a chain of sources may be a circle.
const MAX_SOURCES: usize = 32;

impl RetryHint {
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        for _ in 0..MAX_SOURCES {
            let Some(error) = next else { break };
            if error.is::<NoRetry>() {
                return RetryHint::Never;
            }
            if let Some(RetryAfter(delay)) = error.downcast_ref() {
                return RetryHint::After(*delay);
            }
            next = error.source();
        }
        RetryHint::None
    }
}

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
    fn jitter_takes_away_its_share_and_no_more() {
        let backoff = Backoff::fixed(1, SECOND).jitter(0.25);
        assert_eq!(backoff.delay(1, 0.0), SECOND);
        assert_eq!(backoff.delay(1, 1.0), SECOND * 3 / 4);
    }

    #[test]
    fn extremes_neither_panic_nor_leave_the_cap() {
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
    fn numbers_without_meaning_are_turned_away_by_name() {
        let message = |backoff: Backoff| backoff.check().unwrap_err().to_string();
        for factor in [-1.0, f64::NAN, f64::INFINITY] {
            let text = message(Backoff::exponential(1).factor(factor));
            assert_eq!(
                text,
                format!("the backoff's factor is {factor}, and must be a finite number, 0 or more")
            );
        }
        for jitter in [-0.1, 1.1, f64::NAN] {
            let text = message(Backoff::exponential(1).jitter(jitter));
            assert_eq!(
                text,
                format!("the backoff's jitter is {jitter}, and must be between 0 and 1")
            );
        }
        assert!(
            message(Backoff::fixed(1, Duration::MAX)).starts_with("the backoff's initial delay is")
        );
        assert!(Backoff::exponential(0).check().is_ok());
    }

    #[test]
    fn hints_are_found_behind_an_error_of_the_task() {
        #[derive(Debug, thiserror::Error)]
        #[error("busy")]
        struct Busy(#[source] RetryAfter);
        assert_eq!(
            RetryHint::of(&Busy(RetryAfter(SECOND))),
            RetryHint::After(SECOND)
        );
        assert_eq!(RetryHint::of(&NoRetry::new("no")), RetryHint::Never);
        assert_eq!(RetryHint::of(&fmt::Error), RetryHint::None);
    }
}
