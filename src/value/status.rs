//! The status of a job: [`JobStatus`].

use std::fmt;
use std::str::FromStr;

use crate::value::error::ParseStatusError;

/// Where a job stands.
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
    /// Waiting for its time, for a free thread, for a retry, or for its next run.
    Scheduled,
    /// An attempt is going on.
    Running,
    /// Final: it was cancelled or aborted, or the app stopped before it ran.
    Cancelled,
    /// Final: the task gave its value.
    Success,
    /// Final: the last attempt gave an error or panicked.
    Failed,
    /// Final: the last attempt took longer than the task allows.
    Timeout,
    /// Final: a recurring job failed as often in a row as it may.
    PermanentlyFailed,
}

impl JobStatus {
    /// All seven, in the order of the enum.
    pub const ALL: [JobStatus; 7] = [
        JobStatus::Scheduled,
        JobStatus::Running,
        JobStatus::Cancelled,
        JobStatus::Success,
        JobStatus::Failed,
        JobStatus::Timeout,
        JobStatus::PermanentlyFailed,
    ];

    /// Whether no other status can follow.
    pub fn is_final(self) -> bool {
        !matches!(self, JobStatus::Scheduled | JobStatus::Running)
    }

    /// The name in capitals, as [`Display`](fmt::Display) prints it.
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
