//! [`TakenId`]: an id that stays taken after its job has ended, as a store keeps it.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// The id of a job that has ended and that was
/// [unique for a time](crate::Schedule::unique_for), as a [`Storage`](crate::storage::Storage)
/// keeps it.
///
/// A store returns what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct TakenId {
    /// The key: a store keeps the last of each id.
    pub id: JobId,
    /// How the job ended.
    pub status: JobStatus,
    /// When it ended.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub ended_at: OffsetDateTime,
    /// At this time of the wall clock the id is free.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub until: OffsetDateTime,
}
