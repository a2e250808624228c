//! [`OnError`]: what follows a failed attempt.

use std::time::Duration;

/// What follows a failed attempt: a function of
/// [`TaskBuilder::on_error`](crate::TaskBuilder::on_error) returns it.
///
/// `Retry` and `RetryAfter` use up the retries of the [`Backoff`](crate::Backoff) of the job or its task.
/// The run has failed if no retry is left, or if there is no backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// The next function is called. After the last one, the error itself says what follows
    /// ([`RetryAfter`](crate::RetryAfter), [`NoRetry`](crate::NoRetry)), or the backoff.
    Pass,
    /// A retry after the delay of the backoff. A [`NoRetry`](crate::NoRetry) or a
    /// [`RetryAfter`](crate::RetryAfter) in the error is ignored.
    Retry,
    /// A retry, this long after the failure. If it is longer than
    /// [`Backoff::retry_after_max`](crate::Backoff::retry_after_max) (24 hours by default), it is shortened
    /// to that.
    RetryAfter(Duration),
    /// No retry: the run ends as `Failed`, or as `Timeout` after a timeout. A recurring job goes on with
    /// its next run.
    Fail,
}
