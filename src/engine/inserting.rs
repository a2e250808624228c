//! New jobs on their way to the store.

use crate::engine::job_state::JobState;
use crate::job::live_job::JobView;
use crate::job::record::JobRecord;
use crate::storage::backlog::BacklogPlace;
use crate::storage::contract::Change;
use crate::storage::inbox::Message;
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::{Place, Proposal, ProposalGroup, Proposed, PulledProposal};
use crate::sync::primitives::Arc;
use crate::sync::reply::Reply;
use crate::value::error::{ScheduleError, StorageError};
use crate::value::id::JobId;
use crate::value::time_units::Due;

/// The reply of the store to a new job.
pub(crate) struct Inserted<A, R> {
    pub(crate) end: InsertedAs<A, R>,
    /// The change that the store was given. The submitter frees it.
    _change: Option<Change>,
}

pub(crate) enum InsertedAs<A, R> {
    Done(Arc<JobState<A, R>>),
    /// Another proposal of its group was withdrawn: the submitter begins again.
    Withdrawn,
    Refused(ScheduleError),
}

/// A new job, with a reserved id.
struct NewJob<A, R> {
    job: Arc<JobState<A, R>>,
    due: Due,
    reply: Arc<Reply<Inserted<A, R>>>,
    /// Until it is answered.
    place: Option<Place>,
}

/// The proposal of a new job, for which an id and a slot are reserved.
pub(crate) fn propose<A, R>(
    job: Arc<JobState<A, R>>,
    due: Due,
    place: Place,
) -> Proposed<Inserted<A, R>>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let reply = Reply::new();
    let proposal = NewJob {
        job,
        due,
        reply: reply.clone(),
        place: Some(place),
    };
    Proposed {
        proposal: Box::new(proposal),
        reply,
    }
}

/// Sends a new job to the store, for which an id and a slot are reserved.
pub(crate) fn insert<A, R>(
    job: Arc<JobState<A, R>>,
    due: Due,
    place: BacklogPlace,
) -> Result<Arc<Reply<Inserted<A, R>>>, ScheduleError>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let task = job.task.clone();
    let Some(store) = &task.hub.store else {
        // A durable task is registered only if the app has a store.
        return Err(ScheduleError::Stopped);
    };
    let Proposed { proposal, reply } = propose(job, due, Place::own(place));
    store.propose(Message::Propose(proposal));
    Ok(reply)
}

impl<A, R> NewJob<A, R> {
    fn reply_with(&mut self, end: InsertedAs<A, R>, change: Option<Change>) {
        self.place = None;
        self.reply.set(Inserted {
            end,
            _change: change,
        });
    }
}

impl<A, R> Proposal for NewJob<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn id(&self) -> &JobId {
        &self.job.core.id
    }

    fn job(&self) -> JobRef {
        JobRef::new(self.job.clone())
    }

    fn replaced(&self) -> Option<JobRef> {
        None
    }

    fn taken_over(&mut self) -> Option<Box<JobRecord>> {
        self.job.hub().unresolved_record(&self.job.core.id)
    }

    fn group(&self) -> Option<&Arc<ProposalGroup>> {
        self.place.as_ref()?.group()
    }

    fn withdraw(&mut self) {
        self.job.hub().give_up(&*self.job);
        self.reply_with(InsertedAs::Withdrawn, None);
    }

    fn pull(&mut self) -> Option<PulledProposal> {
        if Arc::strong_count(&self.reply) == 1 {
            // Nobody waits for it any more: it is withdrawn.
            self.job.hub().give_up(&*self.job);
            return None;
        }
        let state = self.job.lock();
        let record = state.life.row()?.to_record(&self.job.core.id);
        Some(PulledProposal {
            version: 0,
            record: Some(Box::new(record)),
            forgets: None,
        })
    }

    fn answer(&mut self, result: Result<Option<Change>, StorageError>) {
        let job = &self.job;
        let hub = job.hub();
        let (end, change) = match result {
            Ok(change) => {
                hub.admit_stored(job.clone(), self.due);
                (InsertedAs::Done(job.clone()), change)
            }
            Err(error) => {
                hub.give_up(&**job);
                (InsertedAs::Refused(ScheduleError::from_store(error)), None)
            }
        };
        self.reply_with(end, change);
    }

    fn wake(self: Box<Self>) {
        let Self { job, reply, .. } = *self;
        reply.notify();
        // It may hold the job, which must not be dropped here.
        drop(Arc::into_inner(reply));
        job.drop_safely();
    }
}
