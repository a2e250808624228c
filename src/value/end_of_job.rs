//! [`EndOfJob`]: how a job has ended.

use std::fmt;

use crate::sync::primitives::Arc;
use crate::value::error::JobError;
use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// Sees how jobs end. Code of a user.
pub(crate) type OnEnd = Arc<dyn Fn(&EndOfJob) + Send + Sync>;

/// How a job has ended, or that it is set aside: a function of
/// [`TaskBuilder::on_end`](crate::TaskBuilder::on_end) gets it.
///
/// Its `Display` is one line for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndOfJob {
    /// The id of the job.
    pub id: JobId,
    /// The name of its task.
    pub task: Arc<str>,
    /// The status. It is final, except if the job is set aside: then it is `Scheduled`.
    pub status: JobStatus,
    /// The error of the last run. `None` after a success, after a cancel, or if the process has ended
    /// during the last attempt.
    pub error: Option<JobError>,
    /// How many attempts the last run had, also in earlier processes. 0 if this process has begun no
    /// attempt of the job.
    pub attempts: u32,
    /// The job is not over: it does not start any more until it is released
    /// ([`TaskBuilder::max_interruptions`](crate::TaskBuilder::max_interruptions)).
    pub is_set_aside: bool,
}

impl fmt::Display for EndOfJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id, task, status, ..
        } = self;
        match self.is_set_aside {
            true => write!(f, "{task} {id}: set aside")?,
            // It has ended without an attempt, or in an earlier process.
            false if self.attempts == 0 => write!(f, "{task} {id}: {status}")?,
            false => write!(f, "{task} {id}: {status} after {} attempts", self.attempts)?,
        }
        match &self.error {
            // The text of `JobError::Failed` does not have that of the error.
            Some(JobError::Failed(error)) => write!(f, ": {error}"),
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}
