//! [`Proposal`]: what the store may still refuse.

use crate::job::end_record::{EndKey, KeptEnd};
use crate::job::record::JobRecord;
use crate::storage::backlog::BacklogPlace;
use crate::storage::contract::Change;
use crate::storage::job_ref::JobRef;
use crate::sync::primitives::Arc;
use crate::sync::reply::Reply;
use crate::value::error::StorageError;
use crate::value::id::JobId;

/// Proposals that the store accepts or refuses together, in one commit.
pub(crate) struct ProposalGroup {
    pub(crate) size: usize,
    /// Until all of them are answered.
    pub(crate) _place: BacklogPlace,
}

/// The place of a proposal among those that wait for the store: its own, or that of its group.
pub(crate) enum Place {
    Own { _place: BacklogPlace },
    Group(Arc<ProposalGroup>),
}

impl Place {
    pub(crate) fn own(place: BacklogPlace) -> Self {
        Self::Own { _place: place }
    }

    pub(crate) fn group(&self) -> Option<&Arc<ProposalGroup>> {
        match self {
            Self::Own { .. } => None,
            Self::Group(group) => Some(group),
        }
    }
}

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

    /// The group that it belongs to.
    fn group(&self) -> Option<&Arc<ProposalGroup>> {
        None
    }

    /// Another proposal of its group can't be accepted any more. Answers the submitter, who
    /// begins again.
    fn withdraw(&mut self) {}

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

/// A proposal that is not sent yet, with the reply that its submitter gets.
pub(crate) struct Proposed<T> {
    pub(crate) proposal: Box<dyn Proposal>,
    pub(crate) reply: Arc<Reply<T>>,
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
