//! [`Run`]: a finished run of a recurring job.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::value::status::JobStatus;

/// A finished run of a recurring job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Run {
    /// Counts the job's runs, from 1. Retries are part of their run.
    pub number: u64,
    /// The time that the run stands for, as
    /// [`exec_at`](crate::AnyJob::exec_at) showed it. It may have started later.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub nominal_time: OffsetDateTime,
    /// When its first attempt started.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub started_at: OffsetDateTime,
    /// When its last attempt ended.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub finished_at: OffsetDateTime,
    /// How it ended: `Success`, `Failed`, `Timeout` or (aborted) `Cancelled`.
    pub status: JobStatus,
}
