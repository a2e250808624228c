//! [`Inbox`]: the messages that the writer has not taken.

use std::collections::VecDeque;

use crate::job::end_record::JobEnd;
use crate::job::sync_state::CommitWaiter;
use crate::storage::contract::Storage;
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::Proposal;
use crate::sync::primitives::{Mutex, lock, thread::Thread};
use crate::value::error::StorageError;
use crate::value::id::JobId;

/// A message to the writer.
pub(crate) enum Message {
    /// The row of this job has changed, or somebody waits for it.
    Changed(JobRef),
    /// The row of `job` has changed, or somebody waits for it. The store does not have that row yet:
    /// the slot of the id `by` carries it.
    CarriedChanged {
        by: JobId,
        job: JobRef,
    },
    Propose(Box<dyn Proposal>),
    /// The proposals of one group.
    ProposeGroup(Vec<Box<dyn Proposal>>),
    /// A caller waits until what the store has refused of this id was tried again.
    Await {
        id: JobId,
        waiter: CommitWaiter,
    },
    /// The row of this id is to go: that of an unresolved job, or of one that was lost.
    Forget {
        id: JobId,
        waiter: Option<CommitWaiter>,
        /// The end of the job, if the store is to keep it.
        end: Option<JobEnd>,
    },
}

impl Message {
    /// The id of the row that it is about. `None` for a group.
    pub(crate) fn id(&self) -> Option<&JobId> {
        match self {
            Message::Changed(job) => Some(job.row_id()),
            Message::CarriedChanged { by, .. } => Some(by),
            Message::Propose(proposal) => Some(proposal.id()),
            Message::ProposeGroup(_) => None,
            Message::Await { id, .. } | Message::Forget { id, .. } => Some(id),
        }
    }
}

/// The messages for the writer, and the health that it reports.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<State>);

/// Something that a caller wants of the storage itself, on the thread of the writer. It gets
/// `None` if the store is closed.
pub(crate) type Request = Box<dyn FnOnce(Option<&mut dyn Storage>) + Send>;

#[derive(Default)]
struct State {
    phase: InboxPhase,
    messages: Vec<Message>,
    requests: VecDeque<Request>,
    /// Messages were taken out, and what comes of them is not known yet.
    is_committing: bool,
    /// The number of changes among them that have happened.
    facts_taken: usize,
    /// The thread of the writer, while it sleeps.
    asleep: Option<Thread>,
    failure: Option<StorageError>,
    unstored: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InboxPhase {
    /// No message is accepted.
    #[default]
    Closed,
    Open,
    /// No message is accepted. Those that are there are tried once.
    Closing,
}

impl State {
    fn has_work(&self) -> bool {
        !self.messages.is_empty() || !self.requests.is_empty()
    }

    /// The number of messages about a change that has happened.
    fn facts(&self) -> usize {
        let is_fact = |message: &&Message| {
            matches!(
                message,
                Message::Changed(_) | Message::CarriedChanged { .. } | Message::Forget { .. }
            )
        };
        self.messages.iter().filter(is_fact).count()
    }
}

impl Inbox {
    /// Accepts a message, unless the inbox is closed: then returns it.
    pub(crate) fn send(&self, message: Message) -> Result<(), Message> {
        let mut state = lock(&self.0);
        if state.phase != InboxPhase::Open {
            return Err(message);
        }
        state.messages.push(message);
        Ok(())
    }

    /// Accepts a request, unless the inbox is closed: then returns it.
    pub(crate) fn request(&self, request: Request) -> Result<(), Request> {
        let mut state = lock(&self.0);
        if state.phase != InboxPhase::Open {
            return Err(request);
        }
        state.requests.push_back(request);
        Ok(())
    }

    /// Takes the first request.
    pub(crate) fn take_request(&self) -> Option<Request> {
        lock(&self.0).requests.pop_front()
    }

    /// Takes all requests.
    pub(crate) fn take_requests(&self) -> VecDeque<Request> {
        std::mem::take(&mut lock(&self.0).requests)
    }

    /// Takes the messages, and notes that a commit is under way.
    pub(crate) fn take(&self) -> Vec<Message> {
        let mut state = lock(&self.0);
        state.is_committing = true;
        state.facts_taken = state.facts();
        // About as many come during the commit.
        let next = Vec::with_capacity(state.messages.len());
        std::mem::replace(&mut state.messages, next)
    }

    /// The commit is over. Returns whether there is nothing more to do.
    pub(crate) fn commit_ended(&self) -> bool {
        {
            let mut state = lock(&self.0);
            state.is_committing = false;
            state.facts_taken = 0;
        }
        self.is_idle()
    }

    /// Whether everything was tried.
    pub(crate) fn is_idle(&self) -> bool {
        let state = lock(&self.0);
        !state.has_work() && !state.is_committing
    }

    pub(crate) fn phase(&self) -> InboxPhase {
        lock(&self.0).phase
    }

    /// Whether there are messages.
    pub(crate) fn has_messages(&self) -> bool {
        !lock(&self.0).messages.is_empty()
    }

    /// Whether there are messages or requests.
    pub(crate) fn has_work(&self) -> bool {
        lock(&self.0).has_work()
    }

    pub(crate) fn open(&self) {
        lock(&self.0).phase = InboxPhase::Open;
    }

    /// Accepts nothing more.
    pub(crate) fn begin_close(&self) {
        let mut state = lock(&self.0);
        if state.phase == InboxPhase::Open {
            state.phase = InboxPhase::Closing;
        }
    }

    /// Accepts nothing more, and returns what is there.
    pub(crate) fn close(&self) -> Vec<Message> {
        let mut state = lock(&self.0);
        state.phase = InboxPhase::Closed;
        state.is_committing = false;
        state.facts_taken = 0;
        std::mem::take(&mut state.messages)
    }

    /// Notes that the writer sleeps, unless there is something to do. Returns the phase if
    /// there is.
    pub(crate) fn sleep_unless_needed(&self, is_due: bool, writer: Thread) -> Option<InboxPhase> {
        let mut state = lock(&self.0);
        match state.phase {
            InboxPhase::Open if !state.has_work() && !is_due => {
                state.asleep = Some(writer);
                None
            }
            phase => Some(phase),
        }
    }

    /// The thread of the writer, if it sleeps and has something to do.
    pub(crate) fn take_sleeper(&self) -> Option<Thread> {
        let mut state = lock(&self.0);
        let has_work = state.has_work() || state.phase == InboxPhase::Closing;
        state.asleep.take_if(|_| has_work)
    }

    /// Why the last commit failed, and how many changes the store does not have yet.
    pub(crate) fn health(&self) -> (Option<StorageError>, usize) {
        let state = lock(&self.0);
        (state.failure.clone(), state.unstored)
    }

    /// How many changes that have happened the store does not have, or may not have: those that
    /// it has refused, those that it is about to write, and those that wait.
    pub(crate) fn unstored(&self) -> usize {
        let state = lock(&self.0);
        state.unstored + state.facts_taken + state.facts()
    }

    /// The writer calls this before it replies, because a submitter may read the health
    /// after the reply.
    pub(crate) fn set_health(&self, failure: Option<&StorageError>, unstored: usize) {
        let mut state = lock(&self.0);
        state.failure = failure.cloned();
        state.unstored = unstored;
    }
}
