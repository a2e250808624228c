//! The status of a job: [`JobStatus`].

use std::fmt;
use std::str::FromStr;

use crate::value::error::status::ParseStatusError;

/// The state of a job.
///
/// A job begins as `Scheduled`. A final status never changes again.
///
/// ```
/// use jobber::JobStatus;
///
/// assert_eq!(JobStatus::PermanentlyFailed.to_string(), "PERMANENTLY_FAILED");
/// assert_eq!("SCHEDULED".parse(), Ok(JobStatus::Scheduled));
/// assert!(JobStatus::Timeout.is_final());
/// assert!(!JobStatus::Running.is_final());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "SCREAMING_SNAKE_CASE"))]
#[repr(u8)]
pub enum JobStatus {
    /// The job waits: for its due time, for the executor, for a retry, or for its next
    /// run.
    Scheduled,
    /// An attempt is running.
    Running,
    /// Final: the job was cancelled or aborted, its app stopped before the job ran, it runs once
    /// and has expired, or it recurs and all its times were missed.
    Cancelled,
    /// Final: the task returned its value.
    Success,
    /// Final: the last attempt returned an error, panicked, or was dropped by its
    /// executor.
    Failed,
    /// Final: the last attempt took longer than the timeout of its task.
    Timeout,
    /// Final: a recurring job had `max_failures` runs in a row that did not succeed.
    PermanentlyFailed,
}

impl JobStatus {
    /// All statuses, in the order of declaration.
    pub const ALL: [JobStatus; 7] = [
        JobStatus::Scheduled,
        JobStatus::Running,
        JobStatus::Cancelled,
        JobStatus::Success,
        JobStatus::Failed,
        JobStatus::Timeout,
        JobStatus::PermanentlyFailed,
    ];

    /// Whether the job has ended: a final status never changes again.
    pub fn is_final(self) -> bool {
        !matches!(self, JobStatus::Scheduled | JobStatus::Running)
    }

    /// The name in capital letters, such as `PERMANENTLY_FAILED`. `Display` writes and
    /// `FromStr` parses the same text.
    pub fn as_str(self) -> &'static str {
        match self {
            JobStatus::Scheduled => "SCHEDULED",
            JobStatus::Running => "RUNNING",
            JobStatus::Cancelled => "CANCELLED",
            JobStatus::Success => "SUCCESS",
            JobStatus::Failed => "FAILED",
            JobStatus::Timeout => "TIMEOUT",
            JobStatus::PermanentlyFailed => "PERMANENTLY_FAILED",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobStatus {
    type Err = ParseStatusError;

    fn from_str(text: &str) -> Result<Self, ParseStatusError> {
        JobStatus::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| ParseStatusError { text: text.into() })
    }
}
