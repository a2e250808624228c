//! [`OnError`]: what follows a failed attempt.

use std::time::Duration;

/// What follows an attempt that has failed, as a function says that
/// [`TaskBuilder::on_error`](crate::TaskBuilder::on_error) has set.
///
/// Whatever it says, no run has more retries than the [`Backoff`](crate::Backoff) of the job or its
/// task allows; without one there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// The next function is called. After the last one, the error itself says what follows
    /// ([`RetryAfter`](crate::RetryAfter), [`NoRetry`](crate::NoRetry)), or the backoff.
    Pass,
    /// A retry, when the backoff says: also if the error is a [`NoRetry`](crate::NoRetry) or a
    /// [`RetryAfter`](crate::RetryAfter).
    Retry,
    /// A retry after this long, which has the limit of a [`RetryAfter`](crate::RetryAfter).
    RetryAfter(Duration),
    /// No retry: the run has failed.
    Fail,
}
