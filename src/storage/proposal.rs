//! [`Proposal`]: what the store may still refuse.

use crate::job::end_record::{EndKey, KeptEnd};
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

    /// Pulls the row to be stored. `None` if the proposal was withdrawn, or was answered
    /// because it can't be accepted any more.
    fn pull(&mut self) -> Option<PulledProposal>;

    /// The end that the store forgets if it accepts.
    fn forgotten(&self) -> Option<KeptEnd> {
        None
    }

    /// Answers the submitter: the store has accepted or refused. The submitter gets the
    /// change back and frees it, because threads wait for each other in the allocator if one
    /// allocates what another frees (1,024 submitters: 261 thousand jobs a second without
    /// this, 385 with it; the row W9 of `benches/peers`).
    fn answer(&mut self, result: Result<Option<Change>, StorageError>);

    /// Wakes the submitter, after all proposals of a commit were answered: a thread that
    /// waits for several is then woken once.
    fn wake(self: Box<Self>);
}

/// The row of a proposal.
#[derive(Debug)]
pub(crate) struct PulledProposal {
    /// The version of the replaced job at the pull.
    pub(crate) version: u64,
    /// The row. `None` if the store must have none: the replacement is in memory.
    pub(crate) record: Option<Box<JobRecord>>,
    /// The end of a failed job that the proposal schedules again.
    pub(crate) forgets: Option<EndKey>,
}
