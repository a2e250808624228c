//! [`RetryHint`]: what a task's error says about the next attempt.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::value::error::BoxError;

/// An error with which a task chooses the delay before its next retry.
///
/// A task returns it as its error, or as a [source](Error::source) of its error, also inside
/// `anyhow::Error`, `io::Error::other` and wrappers that pass on the message and the source of
/// the error inside. [`JobContext::retry_after`](crate::JobContext::retry_after) needs no
/// error of a certain type.
///
/// The delay replaces the delay of the [`Backoff`](crate::Backoff) of the job or its task. The retry counts
/// as one of the backoff's retries: if none is left, or without a backoff, the
/// job is not retried: then the next run of a recurring job comes at its own time, whatever the
/// delay was. Times that pass while a retry waits are missed ([`Misfire`](crate::Misfire)).
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
///     Err(RetryAfter::new(Duration::from_secs(header)).into())
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
#[derive(Debug)]
pub struct RetryAfter {
    delay: Duration,
    marker: Marker,
}

impl RetryAfter {
    /// Requests that the next retry is due `delay` after the attempt has failed.
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            marker: Marker::After(delay),
        }
    }

    /// The requested delay.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(jobber::RetryAfter::new(minute).delay(), minute);
    /// ```
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("temporary failure")
    }
}

impl Error for RetryAfter {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.marker)
    }
}

/// An error after which a task is not retried, even if its [`Backoff`](crate::Backoff) has
/// retries left.
///
/// A task returns it as its error, or as a [source](Error::source) of its error, also inside
/// `anyhow::Error`, `io::Error::other` and wrappers that pass on the message and the source of
/// the error inside. [`JobContext::no_retry`](crate::JobContext::no_retry) needs no error of a
/// certain type.
///
/// The sources of this error are a marker that is private to jobber, and then the reason.
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
pub struct NoRetry(Marker);

impl NoRetry {
    /// Wraps the error that makes a retry useless.
    pub fn new(reason: impl Into<BoxError>) -> Self {
        Self(Marker::Never(reason.into()))
    }
}

impl fmt::Display for NoRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permanent failure")
    }
}

impl Error for NoRetry {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// What [`RetryAfter`] and [`NoRetry`] are known by. It is their source, and not one of them:
/// a wrapper such as `anyhow::Error` can't be downcast to the error inside, but returns the
/// source of that error as its own.
/// An error with which a task asks to be called again later: because a file has not come yet, for
/// example. The attempt has not failed, and is made again.
///
/// A task returns it as a [`RetryAfter`] is returned: as its error, or as a source of it. The next attempt
/// has the same [number](crate::JobContext::attempt), so that no retry of the [`Backoff`](crate::Backoff) is
/// used up, and none is needed. The functions of
/// [`on_error`](crate::TaskBuilder::on_error) are not called. Middleware sees the error. Its event is
/// [`Snoozed`](crate::JobEventKind::Snoozed).
///
/// If a run has been snoozed 1,000 times in one process, the next time it is a failure like another
/// error. It is one, too, if the attempt has called
/// [`no_retry`](crate::JobContext::no_retry) or [`retry_after`](crate::JobContext::retry_after).
///
/// If no attempt can follow, the run ends as `Cancelled`: because the job was cancelled or replaced, because
/// the app stops and the job is in memory, or because the next attempt would be later than
/// [`expires`](crate::Schedule::expires) allows.
///
/// Times of a recurring job that pass meanwhile are missed ([`Misfire`](crate::Misfire)). A job that is
/// stored is snoozed also over the end of its process.
///
/// ```
/// use std::time::Duration;
/// use jobber::{BoxError, JobContext, JobStatus, Snooze, testing::Simulation};
///
/// async fn import(cx: JobContext, file: String) -> Result<(), BoxError> {
///     if cx.late() < Duration::from_secs(3_600) {
///         // It has not come yet.
///         return Err(Snooze::new(Duration::from_secs(60)).into());
///     }
///     Ok(())
/// }
///
/// let mut sim = Simulation::new();
/// let import = sim.app().task("import", import).register()?;
/// let job = import.schedule("a.csv".into()).push().block_on()?;
/// sim.advance(Duration::from_secs(3_599));
/// assert_eq!(job.status(), JobStatus::Scheduled);
/// sim.advance(Duration::from_secs(1));
/// assert_eq!(job.status(), JobStatus::Success);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Snooze {
    delay: Duration,
    marker: Marker,
}

impl Snooze {
    /// Asks that the attempt is made again, `delay` after this one has returned. A zero delay is allowed.
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            marker: Marker::Snooze(delay),
        }
    }

    /// The requested delay.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(jobber::Snooze::new(minute).delay(), minute);
    /// ```
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

impl fmt::Display for Snooze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not yet")
    }
}

impl Error for Snooze {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.marker)
    }
}

#[derive(Debug)]
enum Marker {
    Snooze(Duration),
    After(Duration),
    Never(BoxError),
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Marker::Snooze(delay) => write!(f, "again in {delay:?}"),
            Marker::After(delay) => write!(f, "retry after {delay:?}"),
            Marker::Never(_) => f.write_str("no retry"),
        }
    }
}

impl Error for Marker {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Marker::Snooze(_) | Marker::After(_) => None,
            Marker::Never(reason) => Some(&**reason),
        }
    }
}

/// What a task requests about the retry of its attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RetryHint {
    /// It requests nothing: the backoff decides.
    #[default]
    None,
    After(Duration),
    /// After this long, and the attempt has not failed.
    Snooze(Duration),
    Never,
}

/// The number of sources that are searched. A limit is needed, because a chain of sources
/// may be circular.
const MAX_SOURCES: usize = 32;

impl RetryHint {
    /// Searches the sources of an error for the marker of a [`RetryAfter`] or a [`NoRetry`].
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        for _ in 0..MAX_SOURCES {
            let Some(error) = next else { break };
            match error.downcast_ref() {
                Some(Marker::Snooze(delay)) => return RetryHint::Snooze(*delay),
                Some(Marker::After(delay)) => return RetryHint::After(*delay),
                Some(Marker::Never(_)) => return RetryHint::Never,
                None => {}
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
            RetryHint::of(&Busy(RetryAfter::new(SECOND))),
            RetryHint::After(SECOND)
        );
        assert_eq!(RetryHint::of(&NoRetry::new("no")), RetryHint::Never);
        assert_eq!(RetryHint::of(&fmt::Error), RetryHint::None);
    }
}
