//! [`JobError`]: a job has no result value.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::sync::primitives::Arc;

/// The reason why a job has no result value.
///
/// Cloning is cheap: the clones share the task's error.
///
/// The message of [`JobError::Failed`] does not contain the message of the task's error.
/// Print the [`source`](Error::source) too, or match the variant:
///
/// ```
/// use std::error::Error;
/// use jobber::{JobError, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let parse = app.task("parse", async |text: String| text.parse::<i32>()).register()?;
/// app.start().block_on()?;
/// let job = parse.schedule("seven".to_string()).push().block_on()?;
/// job.wait_blocking();
/// let error = job.result().unwrap_err();
/// assert_eq!(error.to_string(), "the task failed");
/// let source = error.source().unwrap();
/// assert_eq!(source.to_string(), "invalid digit found in string");
/// assert!(source.is::<std::num::ParseIntError>());
/// # Ok::<(), Box<dyn Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JobError {
    /// The job has not ended yet. For a recurring job: its first run has not ended yet.
    NotCompleted,
    /// The job was cancelled or aborted, its app stopped before the job ran, or it is a
    /// recurring job of which all times were missed.
    Cancelled,
    /// The last run of the job was made by another process, and its result was not kept. A
    /// stored job can end without another run: if the times that it had left were missed.
    NotKept,
    /// The run ended because its next attempt would have started later than
    /// [`Schedule::expires`](crate::Schedule::expires) allows. Attempts before that may have
    /// started and failed.
    Expired {
        /// How long after the run was due an attempt was allowed to start.
        limit: Duration,
        /// How the attempt before failed, if its failure shows that the retry would be too
        /// late. It is also the [`source`](Error::source) of this error.
        last: Option<Box<JobError>>,
    },
    /// The last attempt failed. The value is the error that the task returned, or
    /// [`ExecutorDropped`]. It is also the [`source`](Error::source) of this error.
    Failed(Arc<dyn Error + Send + Sync>),
    /// The task panicked.
    Panicked {
        /// The panic message, or `(no text)` if the panic's payload is not a string.
        message: Arc<str>,
    },
    /// The next run was due while the attempt went on
    /// ([`Overlap::CancelRunning`](crate::Overlap::CancelRunning)).
    Overlapped,
    /// The last run became a job of its own ([`Overlap::Spawn`](crate::Overlap::Spawn)), which gets
    /// the result.
    Spawned,
    /// The attempt took longer than the timeout of the job or of its task.
    TimedOut {
        /// The timeout.
        limit: Duration,
    },
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::NotCompleted => f.write_str("the job has not completed"),
            JobError::Cancelled => f.write_str("the job was cancelled"),
            JobError::Overlapped => f.write_str("the next run was due while the attempt went on"),
            JobError::Spawned => {
                f.write_str("the last run became a job of its own, which gets the result")
            }
            JobError::NotKept => f.write_str(
                "the last run was made by another process, which did not keep its result",
            ),
            JobError::Expired { limit, .. } => {
                write!(
                    f,
                    "an attempt would have started more than {limit:?} after its run was due"
                )
            }
            JobError::Failed(_) => f.write_str("the task failed"),
            JobError::Panicked { message } => write!(f, "the task panicked: {message}"),
            JobError::TimedOut { limit } => {
                write!(f, "the task took longer than its timeout of {limit:?}")
            }
        }
    }
}

// Not derived: a derived `source` would return the `Arc`, and callers could not downcast
// it to the task's error type.
impl Error for JobError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            JobError::Failed(error) => Some(&**error),
            JobError::Expired { last, .. } => last.as_deref().map(|last| last as _),
            _ => None,
        }
    }
}

/// The error of a retry for which no job was made, because as many are live as
/// [`Overlap::Spawn`](crate::Overlap::Spawn) allows. It is rare: a run is missed in that case, and
/// has a retry only if its job was replaced by one with that option in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "no job was made for the run: {max} jobs of earlier runs are live, and no more are allowed"
)]
pub struct TooManySpawned {
    /// How many may be live.
    pub max: usize,
}

/// The error of an attempt whose middleware has returned the [`Outcome`](crate::Outcome) of another
/// attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a middleware returned the outcome of another attempt")]
pub struct OtherOutcome;

/// What the middleware of an attempt sees if the attempt has ended before its task did, by a timeout
/// or an abort: see [`Outcome`](crate::Outcome).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the attempt has ended before its task did")]
pub struct AttemptEnded;

/// The error of an attempt that its executor dropped before it ended: the executor was
/// shut down, or its `spawn` panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the executor dropped the job before it ended")]
pub struct ExecutorDropped;
