//! [`RetryError`]: a failed job could not be scheduled again.

use thiserror::Error;

use crate::value::error::schedule::ScheduleError;
use crate::value::error::unresolved::UnresolvedReason;
use crate::value::id::JobId;

/// The reason why a failed job could not be scheduled again
/// ([`FailedJob::retry`](crate::FailedJob::retry)).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RetryError {
    /// The app does not run, a live job has the id, or the store could not save the job.
    #[error(transparent)]
    Schedule(ScheduleError),
    /// The store does not have the entry any more: it was retried or discarded, or was kept long
    /// enough.
    #[error("the store does not have the failed job `{id}` any more")]
    Gone {
        /// The id of the job.
        id: JobId,
    },
    /// No task can run the job.
    #[error("no task can run the job")]
    Unresolved(#[source] UnresolvedReason),
    /// The job recurs, and has no time left: it has had all its runs, or its end has passed.
    #[error("the job `{id}` recurs, and has no time left")]
    NoTimeLeft {
        /// The id of the job.
        id: JobId,
    },
}
