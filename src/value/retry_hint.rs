//! [`RetryHint`]: how a task's error changes its retry, by [`RetryAfter`] or [`NoRetry`].

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::value::error::BoxError;

/// An error with which a task chooses the delay before its next retry.
///
/// A task returns it as its error, or as a [source](Error::source) of its error. The
/// delay replaces the delay of the task's [`Backoff`](crate::Backoff). The retry counts
/// as one of the backoff's retries: if none is left, or if the task has no backoff, the
/// job is not retried.
///
/// The delay often comes from a server, and may be absurd. So it is at most 24 hours, or
/// [`Backoff::retry_after_max`]: a longer delay is shortened to this limit.
/// [`Backoff::cap`] does not limit it.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Backoff, BoxError, RetryAfter, testing::Simulation};
///
/// /// Answers as a server that is busy.
/// async fn poll(header: u64) -> Result<(), BoxError> {
///     Err(RetryAfter(Duration::from_secs(header)).into())
/// }
/// let mut sim = Simulation::new();
/// let poll = sim.app().task("poll", poll).retry(Backoff::exponential(5)).register()?;
/// let job = poll.schedule(30).push().block_on()?;
/// let absurd = poll.schedule(u64::MAX).push().block_on()?;
/// let start = job.exec_at();
/// sim.run_until_stalled();
/// assert_eq!(job.exec_at(), start + Duration::from_secs(30));
/// assert_eq!(absurd.exec_at(), start + Duration::from_secs(24 * 3_600));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Backoff::retry_after_max`]: crate::Backoff::retry_after_max
/// [`Backoff::cap`]: crate::Backoff::cap
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task requests a retry after {:?}", self.0)
    }
}

impl Error for RetryAfter {}

/// An error after which a task is not retried, even if its [`Backoff`](crate::Backoff) has
/// retries left.
///
/// A task returns it as its error, or as a [source](Error::source) of its error. The
/// reason is the [source](Error::source) of this error.
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
    /// Wraps the error that makes a retry useless.
    pub fn new(reason: impl Into<BoxError>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for NoRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task failed permanently")
    }
}

impl Error for NoRetry {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// What a task's error requests about retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryHint {
    /// The error requests nothing: the backoff decides.
    None,
    After(Duration),
    Never,
}

/// The number of sources that are searched. A limit is needed, because a chain of sources
/// may be circular.
const MAX_SOURCES: usize = 32;

impl RetryHint {
    /// Searches the error and its sources for a [`RetryAfter`] or an [`NoRetry`].
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
    fn a_hint_is_found_in_the_sources_of_an_error() {
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
