//! [`EndRecord`]: the end of a stored job that has failed, as a store keeps it.

use std::time::Duration;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::job::taken_id::TakenId;
use crate::sync::primitives::Arc;
use crate::value::encoded::Encoded;
use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// The end of a stored job that has failed, as a [`Storage`](crate::storage::Storage) keeps it
/// apart from the live jobs.
///
/// A store returns what it was given. It may use the values below as keys and index columns.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct EndRecord {
    pub(crate) key: EndKey,
    pub(crate) task: Arc<str>,
    pub(crate) args: Encoded,
    pub(crate) status: JobStatus,
    pub(crate) error: Arc<str>,
    /// The attempts of the last run. 0 if the job has ended without an attempt.
    pub(crate) attempts: u32,
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) started_at: OffsetDateTime,
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) finished_at: OffsetDateTime,
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) keep_until: OffsetDateTime,
    /// The version of `job`.
    pub(crate) version: u32,
    /// The [`JobRecord`](crate::storage::JobRecord) of the job at its end, as JSON.
    pub(crate) job: Arc<str>,
}

/// The key of an [`EndRecord`]: no two ends of a store have the same. If two jobs of one id were
/// scheduled at the same reading of the wall clock and failed in the same run, the later end
/// takes the place of the earlier one.
///
/// ```
/// use jobber::storage::EndKey;
///
/// let at = time::OffsetDateTime::UNIX_EPOCH;
/// let key = EndKey { id: "x".into(), scheduled_at: at, run: 1 };
/// assert_eq!(key, key.clone());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct EndKey {
    /// The id of the job.
    pub id: JobId,
    /// When the job was scheduled.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub scheduled_at: OffsetDateTime,
    /// The number of its last run, from 1.
    pub run: u64,
}

/// Which ends a store deletes: those that were kept long enough, and the oldest of those that
/// are too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrimEnds {
    /// Of the ends of this task, or of all ends, ...
    pub task: Option<Arc<str>>,
    /// ... those that finished last are kept, up to this number, ...
    pub most: u64,
    /// ... unless they were to be kept [until](EndRecord::keep_until) an earlier time.
    pub now: OffsetDateTime,
}

impl EndRecord {
    /// The key.
    pub fn key(&self) -> &EndKey {
        &self.key
    }

    /// The name of the task, as it was when the job was scheduled.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// How the job ended: `Failed`, `Timeout` or `PermanentlyFailed`.
    pub fn status(&self) -> JobStatus {
        self.status
    }

    /// When the last attempt ended. The ends that finished first are the oldest.
    pub fn finished_at(&self) -> OffsetDateTime {
        self.finished_at
    }

    /// Until when the end is to be kept.
    pub fn keep_until(&self) -> OffsetDateTime {
        self.keep_until
    }

    /// What orders the ends by age.
    fn age_key(&self) -> (OffsetDateTime, &EndKey) {
        (self.finished_at, &self.key)
    }
}

impl TrimEnds {
    /// The keys that are deleted among these ends.
    pub(crate) fn removes<'a>(&self, ends: impl Iterator<Item = &'a EndRecord>) -> Vec<EndKey> {
        let is_meant = |end: &&EndRecord| self.task.as_ref().is_none_or(|task| *task == end.task);
        let mut ends: Vec<_> = ends.filter(is_meant).collect();
        // The newest first.
        ends.sort_by(|left, right| right.age_key().cmp(&left.age_key()));
        let most = usize::try_from(self.most).unwrap_or(usize::MAX);
        let is_over = |(at, end): &(usize, &EndRecord)| *at >= most || end.keep_until < self.now;
        let over = ends.into_iter().enumerate().filter(is_over);
        over.map(|(_, end)| end.key.clone()).collect()
    }
}

/// How many ends of failed jobs are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepFailed {
    pub(crate) count: u64,
    pub(crate) age: Duration,
}

impl KeepFailed {
    /// What an app keeps that sets nothing.
    pub(crate) const DEFAULT: Self = Self {
        count: 10_000,
        age: Duration::from_secs(7 * 24 * 3_600),
    };
}

/// What the store is to keep when a job has ended.
#[derive(Clone, Debug)]
pub(crate) struct JobEnd {
    pub(crate) kept: Option<KeptEnd>,
    /// The id of the job stays taken.
    pub(crate) taken: Option<TakenId>,
}

/// An end that the store is to keep.
#[derive(Clone, Debug)]
pub(crate) struct KeptEnd {
    pub(crate) record: Box<EndRecord>,
    /// How many ends of its task are kept, if the task has a limit of its own.
    pub(crate) most_of_task: Option<u64>,
}
