//! [`EndedJob`]: how the job ended whose id stays taken.

use time::OffsetDateTime;

use crate::value::status::JobStatus;

/// How the job ended whose id stays taken ([`Schedule::unique_for`](crate::Schedule::unique_for)):
/// [`ScheduleError::DuplicateJob`](crate::ScheduleError::DuplicateJob) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedJob {
    /// The status with which it ended.
    pub status: JobStatus,
    /// At this time of the wall clock its id is free. In UTC.
    pub taken_until: OffsetDateTime,
}
