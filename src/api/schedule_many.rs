//! `schedule_many`: many new jobs, all or none.

use crate::api::declare::Proposals;
use crate::api::job::Job;
use crate::api::request::{IfTaken, Request};
use crate::api::submit::{Step, Submission};
use crate::engine::hub::TakesOver;
use crate::engine::inserting::{self, InsertedAs};
use crate::engine::job_state::{JobState, TaskDef};
use crate::registry::pending::NewPlaces;
use crate::storage::inbox::Message;
use crate::storage::proposal::{Place, ProposalGroup, Proposed};
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::Arc;
use crate::sync::reply::ReplySent;
use crate::sync::waiter::Waiter;
use crate::value::error::ScheduleError;

/// The most jobs of one call.
pub(crate) const MOST: usize = 10_000;

/// Schedules these jobs, all or none. The durable ones are stored in one commit.
pub(crate) async fn schedule_many<A, R>(
    task: Arc<TaskDef<A, R>>,
    requests: Vec<Request<A, R>>,
) -> Result<Vec<Job<R>>, ScheduleError>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    task.hub.check_open()?;
    let mut submissions = Vec::with_capacity(requests.len());
    for request in requests {
        let has_id = request.options.as_ref().is_some_and(|it| it.id.is_some());
        let checked = request.check()?;
        let (submission, args) = checked.into_submission();
        if has_id || submission.if_taken != IfTaken::Refuse {
            drop_catching_panic(args);
            return Err(ScheduleError::IdOfMany);
        }
        submissions.push((submission, args));
    }
    let when_room = submissions
        .iter()
        .any(|(submission, _)| submission.when_room);
    let mut places = loop {
        task.hub.check_open()?;
        match task.pending.enter(submissions.len()) {
            Ok(places) => break places,
            Err(full) if when_room && full.ends() => full.wait().await,
            Err(full) => {
                submissions.into_iter().for_each(drop_catching_panic);
                return Err(full.into_error());
            }
        }
    };
    for (submission, _) in &mut submissions {
        submission.has_place = true;
    }
    let mut jobs: Vec<Option<Job<R>>> = Vec::new();
    jobs.resize_with(submissions.len(), || None);
    let (durable, in_memory): (Vec<_>, Vec<_>) = submissions
        .into_iter()
        .enumerate()
        .partition(|(_, (submission, _))| submission.plan.is_durable());
    // First those that the store may refuse.
    let durable = durable
        .into_iter()
        .map(|(at, (submission, _))| (at, submission));
    insert_all(&task, durable.collect(), &mut places, &mut jobs).await?;
    for (at, (submission, args)) in in_memory {
        match submission.advance(args) {
            Step::Done(Ok(job)) => {
                places.keep_one();
                jobs[at] = Some(job);
            }
            Step::Done(Err(error)) => return Err(take_back(jobs, error).await),
            // A new job in memory waits for nothing.
            _ => return Err(take_back(jobs, ScheduleError::Stopped).await),
        }
    }
    Ok(jobs.into_iter().flatten().collect())
}

/// Proposes the durable jobs to the store as one group, and waits for its answer.
async fn insert_all<A, R>(
    task: &Arc<TaskDef<A, R>>,
    submissions: Vec<(usize, Submission<A, R>)>,
    places: &mut NewPlaces<'_>,
    jobs: &mut [Option<Job<R>>],
) -> Result<(), ScheduleError>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let hub = &task.hub;
    let (false, Some(store)) = (submissions.is_empty(), &hub.store) else {
        return Ok(());
    };
    let bytes = submissions.iter().map(|(_, it)| it.plan.args_len()).sum();
    let place = hub.wait_for_place(store, bytes).await;
    let group = Arc::new(ProposalGroup {
        size: submissions.len(),
        _place: place.map_err(ScheduleError::from_store)?,
    });
    // If one of them has no slot, or this is dropped, the others are withdrawn.
    let mut proposals = Proposals(Vec::new());
    let mut replies = Vec::new();
    for (at, submission) in submissions {
        let Submission { plan, now, .. } = submission;
        let due = plan.due;
        let mut job = Arc::new(JobState::new(task.clone(), None, plan, false));
        hub.reserve(&mut job, None, TakesOver::NOTHING, now)?;
        places.keep_one();
        let place = Place::Group(group.clone());
        let Proposed { proposal, reply } = inserting::propose(job, due, place);
        proposals.0.push(proposal);
        replies.push((at, Waiter::new(ReplySent(reply))));
    }
    store.propose(Message::ProposeGroup(std::mem::take(&mut proposals.0)));
    let mut refused = None;
    for (at, reply) in replies {
        match reply.await.end {
            InsertedAs::Done(job) => jobs[at] = Some(Job::new(job)),
            InsertedAs::Withdrawn => refused = refused.or(Some(ScheduleError::Stopped)),
            InsertedAs::Refused(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The app stops, or is full: the jobs that were scheduled are cancelled.
async fn take_back<R: Send + Sync + 'static>(
    jobs: Vec<Option<Job<R>>>,
    error: ScheduleError,
) -> ScheduleError {
    for job in jobs.into_iter().flatten() {
        // If the store fails, it is cancelled all the same.
        let _ = job.cancel().await;
    }
    error
}
