//! [`Declared`]: what a declaration of jobs has done.

use crate::value::id::JobId;

/// What a declaration has done: returned by [`Jobber::declare`](crate::Jobber::declare). Each
/// list is in the order of the entries; `absent` and `removed` are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Declared {
    /// The entries that had no live job: it was made.
    pub added: Vec<JobId>,
    /// The entries that differ from their live job: it was replaced.
    pub replaced: Vec<JobId>,
    /// The entries whose live job stays: it is the same, or the entry has
    /// [`keep`](crate::Schedule::keep).
    pub unchanged: Vec<JobId>,
    /// The entries that have no time left before their [`until`](crate::Schedule::until). They
    /// have no job: a live one is cancelled.
    pub over: Vec<JobId>,
    /// The jobs that an earlier declaration of the set has and this one has not: they go on. Those that no task can run
    /// are among them, if their record can be read.
    pub absent: Vec<JobId>,
    /// The absent jobs that were removed ([`JobSet::remove_absent`](crate::JobSet::remove_absent)).
    pub removed: Vec<JobId>,
}
