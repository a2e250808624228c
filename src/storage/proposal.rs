//! [`Proposal`]: what the store may still refuse.

use crate::job::record::JobRecord;
use crate::storage::contract::Change;
use crate::storage::job_ref::JobRef;
use crate::value::error::StorageError;
use crate::value::id::JobId;

/// A new job, or a replacement of a live one, on its way to the store. If the store
/// refuses it, it has not happened.
///
/// Its methods are called on the thread of the writer, where nothing may wait for the
/// store.
pub(crate) trait Proposal: Send {
    fn id(&self) -> &JobId;

    /// The job that has the row if the store accepts: the new one, or the replaced one.
    fn job(&self) -> JobRef;

    /// The job that is replaced, if it is a replacement.
    fn replaced(&self) -> Option<JobRef>;

    /// The unresolved record whose id a new job takes over.
    fn taken_over(&mut self) -> Option<Box<JobRecord>>;

    /// What the store is asked for. `None` if the proposal was withdrawn, or can't be
    /// accepted any more and was answered.
    fn pull(&mut self) -> Option<PulledProposal>;

    /// The store has accepted, or refused. What it was given comes back, so that the
    /// submitter frees it: two threads of which one allocates and the other frees wait
    /// for each other in the allocator (1,024 submitters: 261 thousand jobs a second
    /// without, 385 with; the row W9 of `benches/peers`).
    fn answer(&mut self, result: Result<Option<Change>, StorageError>);

    /// Wakes the submitter, after all proposals of a commit were answered: a thread that
    /// waits for several is then woken once.
    fn wake(self: Box<Self>);
}

/// What the store is asked for by a proposal.
#[derive(Debug)]
pub(crate) struct PulledProposal {
    /// The version of the replaced job by which this was made.
    pub(crate) version: u64,
    /// The row. `None` if the store is to have none: the replacement is in memory.
    pub(crate) record: Option<Box<JobRecord>>,
}
