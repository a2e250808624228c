//! [`JobSet`]: the jobs that a program declares at its start.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::api::request::{IfTaken, Request};
use crate::api::submit::{Reserved, Step, Submission, Submit};
use crate::engine::hub::{Hub, Live};
use crate::engine::inserting::{self, InsertedAs};
use crate::engine::job_state::JobState;
use crate::engine::replacing::{ReplacedAs, Replacing, Standing};
use crate::job::live_job::{CancelReply, Cancelling};
use crate::job::plan::Replace;
use crate::job::sync_state::CommitWaiter;
use crate::registry::pending::Full;
use crate::storage::inbox::Message;
use crate::storage::proposal::{Place, Proposal, ProposalGroup, Proposed};
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::Arc;
use crate::sync::reply::ReplySent;
use crate::sync::waiter::Waiter;
use crate::value::declared::Declared;
use crate::value::error::{DeclareError, ScheduleError, check_id, check_task_name};
use crate::value::id::JobId;

/// A set of recurring jobs, which [`Jobber::declare`](crate::Jobber::declare) fills.
pub struct JobSet {
    hub: Arc<Hub>,
    name: Arc<str>,
    unchecked: Vec<Box<dyn UncheckedEntry>>,
    ids: HashSet<JobId>,
    /// Why the set can't be declared: the first reason.
    refused: Option<DeclareError>,
    removes_absent: bool,
}

impl JobSet {
    pub(crate) fn new(hub: Arc<Hub>, name: String) -> Self {
        let refused = check_task_name(&name).err();
        Self {
            hub,
            name: name.as_str().into(),
            unchecked: Vec::new(),
            ids: HashSet::new(),
            refused: refused.map(|_| DeclareError::InvalidName { name }),
            removes_absent: false,
        }
    }

    /// Adds an entry: a schedule with an [`id`](crate::Schedule::id) and a trigger that recurs.
    ///
    /// The entry replaces a live job of its id, as [`replace`](crate::Schedule::replace) does;
    /// with [`keep`](crate::Schedule::keep) it leaves a live job as it is.
    ///
    /// # Panics
    /// If the [`Submit`] was polled before.
    pub fn add<A, R>(&mut self, entry: Submit<A, R>) -> &mut Self
    where
        A: Clone + Send + Sync + 'static,
        R: Send + Sync + 'static,
    {
        let request = entry.into_request();
        if let Err(error) = self.try_add(request)
            && self.refused.is_none()
        {
            self.refused = Some(error);
        }
        self
    }

    /// Removes the jobs that an earlier declaration of this set has and this one has not, as
    /// [`cancel`](crate::Job::cancel) does; those that no task can run are deleted. Without
    /// this, they go on and are reported as [`Declared::absent`]: if you go back to an older
    /// version of your program, no progress is lost.
    pub fn remove_absent(&mut self) -> &mut Self {
        self.removes_absent = true;
        self
    }

    fn try_add<A, R>(&mut self, mut request: Request<A, R>) -> Result<(), DeclareError>
    where
        A: Clone + Send + Sync + 'static,
        R: Send + Sync + 'static,
    {
        let task = request.task.name.to_string();
        let options = request.options.get_or_insert_default();
        let id = options.id.clone().ok_or(DeclareError::NoId { task })?;
        if !self.ids.insert(id.clone()) {
            return Err(DeclareError::DuplicateEntry { id });
        }
        if !Arc::ptr_eq(&request.task.hub, &self.hub) {
            return Err(DeclareError::OtherApp { id });
        }
        if !request.trigger.is_recurring() {
            return Err(DeclareError::RunsOnce { id });
        }
        options.set = Some(self.name.clone());
        if !options.keep {
            options.replace = Some(Replace::SameKind);
        }
        self.unchecked.push(Box::new((id, request)));
        Ok(())
    }

    pub(crate) async fn declare(mut self) -> Result<Declared, DeclareError> {
        self.hub.check_open().map_err(DeclareError::Set)?;
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        let entries = self.unchecked.into_iter().map(|entry| entry.check());
        let declaration = Declaring {
            entries: entries.collect::<Result<_, _>>()?,
            ids: self.ids,
            hub: self.hub,
            name: self.name,
            removes_absent: self.removes_absent,
        };
        declaration.declare().await
    }
}

impl fmt::Debug for JobSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.unchecked.iter().map(|entry| entry.id());
        f.debug_struct("JobSet")
            .field("name", &self.name)
            .field("ids", &ids.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A set whose entries are checked.
struct Declaring {
    hub: Arc<Hub>,
    name: Arc<str>,
    entries: Vec<Box<dyn Entry>>,
    /// Those of the entries.
    ids: HashSet<JobId>,
    removes_absent: bool,
}

impl Declaring {
    async fn declare(mut self) -> Result<Declared, DeclareError> {
        let mut ends = vec![None; self.entries.len()];
        // A round is repeated only if another caller has changed a job of the set meanwhile.
        while self.round(&mut ends).await? == Round::Again {}
        let mut declared = Declared::default();
        let mut removals = Vec::new();
        for (entry, end) in self.entries.iter().zip(ends) {
            if end == Some(EntryEnd::Over)
                && let Some(job) = self.hub.find(entry.id())
            {
                removals.push(removal(&job));
            }
            let list = match end {
                Some(EntryEnd::Added) => &mut declared.added,
                Some(EntryEnd::Replaced) => &mut declared.replaced,
                Some(EntryEnd::Over) => &mut declared.over,
                Some(EntryEnd::Unchanged) | None => &mut declared.unchanged,
            };
            list.push(entry.id().clone());
        }
        removed(removals).await?;
        self.handle_absent(&mut declared).await?;
        Ok(declared)
    }

    /// Checks all entries. If all can be declared, proposes those that change to the store, in
    /// one commit, and then carries out those that it does not concern.
    async fn round(&mut self, ends: &mut [Option<EntryEnd>]) -> Result<Round, DeclareError> {
        let mut changed = Vec::new();
        let mut in_memory = Vec::new();
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let found = loop {
                match entry.look().map_err(|error| of_entry(&**entry, error))? {
                    Found::Reserved(reserved) => Waiter::new(reserved).await,
                    found => break found,
                }
            };
            match found {
                Found::Reserved(_) => {}
                Found::Over => note(&mut ends[at], EntryEnd::Over),
                Found::Unchanged => {}
                Found::Changes { in_store: true } => changed.push(at),
                Found::Changes { in_store: false } => in_memory.push(at),
            }
        }
        let replies = self.propose(&changed).await?;
        let Some(replies) = replies else {
            return Ok(Round::Again);
        };
        let mut round = Round::Done;
        let mut refused = None;
        for (at, reply) in changed.into_iter().zip(replies) {
            match reply.await {
                Ok(Some(end)) => note(&mut ends[at], end),
                Ok(None) => round = Round::Again,
                Err(error) => {
                    let error = of_entry(&*self.entries[at], error);
                    refused = refused.or(Some(error));
                }
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        if round == Round::Again {
            return Ok(round);
        }
        for at in in_memory {
            let entry = &mut self.entries[at];
            match entry.carry_out() {
                Ok(Some(end)) => note(&mut ends[at], end),
                Ok(None) => round = Round::Again,
                Err(error) => return Err(of_entry(&**entry, error)),
            }
        }
        Ok(round)
    }

    /// Sends the proposals of these entries to the store, as one group. `None` if another caller
    /// has changed one of their jobs meanwhile: then nothing was sent.
    async fn propose(&mut self, changed: &[usize]) -> Result<Option<Vec<Answer>>, DeclareError> {
        let (false, Some(store)) = (changed.is_empty(), &self.hub.store) else {
            return Ok(Some(Vec::new()));
        };
        let bytes = changed.iter().map(|at| self.entries[*at].args_len()).sum();
        let place = self.hub.wait_for_place(store, bytes).await;
        let place = place.map_err(|error| DeclareError::Set(ScheduleError::from_store(error)))?;
        let group = Arc::new(ProposalGroup {
            size: changed.len(),
            _place: place,
        });
        // If one of them can't be made, or a clone of arguments panics, the others are withdrawn.
        let mut proposals = Proposals(Vec::new());
        let mut answers = Vec::new();
        for at in changed {
            let entry = &mut self.entries[*at];
            let proposed = entry.propose(&group);
            match proposed.map_err(|error| of_entry(&**entry, error))? {
                Some((proposal, answer)) => {
                    proposals.0.push(proposal);
                    answers.push(answer);
                }
                None => return Ok(None),
            }
        }
        store.propose(Message::ProposeGroup(std::mem::take(&mut proposals.0)));
        Ok(Some(answers))
    }

    /// Reports the jobs that only an earlier declaration of the set has, or removes them.
    async fn handle_absent(self, declared: &mut Declared) -> Result<(), DeclareError> {
        let is_absent = |job: &Live| {
            let is_of_set = job.declared_by().is_some_and(|set| set == self.name);
            is_of_set && !self.ids.contains(&job.core().id)
        };
        let mut live = self.hub.jobs();
        live.retain(is_absent);
        let mut unresolved = self.hub.unresolved_of_set(&self.name);
        unresolved.retain(|id| !self.ids.contains(id));
        if !self.removes_absent {
            declared.absent = live.iter().map(|job| job.core().id.clone()).collect();
            declared.absent.extend(unresolved);
            declared.absent.sort();
            return Ok(());
        }
        let mut removals: Vec<_> = live.iter().map(removal).collect();
        for id in unresolved {
            if let Some(reply) = self.hub.discard(&id) {
                removals.push((id, Some(reply)));
            }
        }
        declared.removed = removed(removals).await?;
        declared.removed.sort();
        Ok(())
    }
}

/// A job that was cancelled or deleted, with the reply of the store if that is still to come.
type Removal = (JobId, Option<CommitWaiter>);

fn removal(job: &Live) -> Removal {
    let CancelReply { reply, .. } = job.cancel(Cancelling::Cancel);
    (job.core().id.clone(), reply)
}

/// Waits for the replies of the store.
async fn removed(removals: Vec<Removal>) -> Result<Vec<JobId>, DeclareError> {
    let mut ids = Vec::with_capacity(removals.len());
    for (id, reply) in removals {
        if let Some(reply) = reply
            && let Err(source) = Waiter::new(ReplySent(reply)).await
        {
            return Err(DeclareError::Remove { id, source });
        }
        ids.push(id);
    }
    Ok(ids)
}

fn of_entry(entry: &dyn Entry, error: ScheduleError) -> DeclareError {
    match error {
        // The store or the app refuses the whole set.
        error @ (ScheduleError::Storage(_)
        | ScheduleError::NotStarted
        | ScheduleError::Stopped
        | ScheduleError::Forked) => DeclareError::Set(error),
        source => DeclareError::Entry {
            id: entry.id().clone(),
            source,
        },
    }
}

/// Notes what came of an entry. What an earlier round has done stays.
fn note(noted: &mut Option<EntryEnd>, end: EntryEnd) {
    if matches!(noted, None | Some(EntryEnd::Unchanged)) {
        *noted = Some(end);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Done,
    Again,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryEnd {
    Added,
    Replaced,
    Unchanged,
    Over,
}

/// What an entry finds under its id.
enum Found {
    /// The id belongs to a job that is on its way to the store.
    Reserved(Reserved),
    Unchanged,
    /// It has no time left before its end.
    Over,
    /// `in_store`: the store is concerned.
    Changes {
        in_store: bool,
    },
}

/// The outcome of an entry. `None`: another caller has changed its job, and the round is repeated.
type Changed = Result<Option<EntryEnd>, ScheduleError>;
/// The proposal of an entry, with its answer. `None` as in [`Changed`].
type Proposing = Result<Option<(Box<dyn Proposal>, Answer)>, ScheduleError>;
type Answer = Pin<Box<dyn Future<Output = Changed> + Send>>;

/// An entry of a set, without its types.
trait Entry: Send {
    fn id(&self) -> &JobId;
    /// The length of its arguments as JSON.
    fn args_len(&self) -> usize;
    fn look(&mut self) -> Result<Found, ScheduleError>;
    /// The proposal for the store.
    fn propose(&mut self, group: &Arc<ProposalGroup>) -> Proposing;
    /// Carries it out, if it does not concern the store.
    fn carry_out(&mut self) -> Changed;
}

/// Proposals that are not sent yet. Dropping them withdraws them.
pub(crate) struct Proposals(pub(crate) Vec<Box<dyn Proposal>>);

impl Drop for Proposals {
    fn drop(&mut self) {
        for mut proposal in self.0.drain(..) {
            proposal.withdraw();
            proposal.wake();
        }
    }
}

/// An entry that is not checked yet, without its types.
trait UncheckedEntry: Send {
    fn id(&self) -> &JobId;
    fn check(self: Box<Self>) -> Result<Box<dyn Entry>, DeclareError>;
}

impl<A, R> UncheckedEntry for (JobId, Request<A, R>)
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn id(&self) -> &JobId {
        &self.0
    }

    fn check(self: Box<Self>) -> Result<Box<dyn Entry>, DeclareError> {
        let (id, request) = *self;
        match check_id(&id).and_then(|()| request.check()) {
            Ok(checked) => {
                let (mut submission, args) = checked.into_submission();
                // A declaration does not wait.
                submission.when_room = false;
                Ok(Box::new(CheckedEntry {
                    id,
                    submission,
                    args,
                    end: EntryEnd::Added,
                }))
            }
            Err(source) => Err(DeclareError::Entry { id, source }),
        }
    }
}

struct CheckedEntry<A, R> {
    id: JobId,
    submission: Submission<A, R>,
    /// `None` if the job is durable: then they are part of its definition.
    args: Option<A>,
    /// What it comes to, by the last look.
    end: EntryEnd,
}

impl<A, R> Entry for CheckedEntry<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn id(&self) -> &JobId {
        &self.id
    }

    fn args_len(&self) -> usize {
        self.submission.plan.args_len()
    }

    fn look(&mut self) -> Result<Found, ScheduleError> {
        let Submission { task, plan, .. } = &self.submission;
        let hub = &task.hub;
        hub.check_open()?;
        self.end = EntryEnd::Added;
        if hub.is_reserved(&self.id) {
            return Ok(Found::Reserved(Reserved::new(hub.clone(), self.id.clone())));
        }
        if let Some(job) = task.live(&self.id) {
            let standing = match self.submission.if_taken {
                IfTaken::Keep => match job.keep(None) {
                    Replacing::Ended(_) => Ok(Standing::Free),
                    Replacing::Refused(error) => Err(error),
                    _ => Ok(Standing::Unchanged),
                },
                _ => job.standing(plan),
            };
            match standing {
                Ok(Standing::Free) => {}
                Ok(Standing::Unchanged) => return Ok(Found::Unchanged),
                Ok(Standing::Changes { in_store, is_same }) => {
                    self.end = match is_same {
                        true => EntryEnd::Unchanged,
                        false => EntryEnd::Replaced,
                    };
                    return Ok(Found::Changes { in_store });
                }
                Err(ScheduleError::NeverDue { .. }) if plan.is_over() => return Ok(Found::Over),
                Err(error) => return Err(error),
            }
        } else if task.is_of_another_task(&self.id) {
            let id = self.id.clone();
            return Err(ScheduleError::DuplicateJob { id, ended: None });
        }
        if !plan.is_durable() && hub.is_unresolved(&self.id) {
            let id = self.id.clone();
            return Err(ScheduleError::UnresolvedJob { id });
        }
        match plan.never_due_error(&hub.zone) {
            None => Ok(Found::Changes {
                in_store: plan.is_durable(),
            }),
            Some(_) if plan.is_over() => Ok(Found::Over),
            Some(error) => Err(error),
        }
    }

    fn propose(&mut self, group: &Arc<ProposalGroup>) -> Proposing {
        let Submission {
            task, plan, now, ..
        } = &self.submission;
        let end = self.end;
        let mut args = self.args.clone();
        if end != EntryEnd::Added {
            let Some(job) = task.live(&self.id) else {
                return Ok(None);
            };
            let proposed = job.propose_in_group(&mut args, plan.clone(), group, *now);
            drop_catching_panic(args);
            return Ok(proposed.map(|Proposed { proposal, reply }| {
                let reply = Waiter::new(ReplySent(reply));
                let answer = async move {
                    match reply.await.end {
                        ReplacedAs::Done => Ok(Some(end)),
                        ReplacedAs::Again(args) => {
                            drop_catching_panic(args);
                            Ok(None)
                        }
                        ReplacedAs::Refused(error) => Err(error),
                    }
                };
                (proposal, Box::pin(answer) as Answer)
            }));
        }
        let mut places = task.pending.enter(1).map_err(Full::into_error)?;
        let mut job = Arc::new(JobState::new(task.clone(), args, plan.clone(), false));
        let (id, over) = (self.id.clone(), self.submission.may_take_over());
        match task.hub.reserve(&mut job, Some(id), over, *now) {
            Ok(()) => places.keep_one(),
            Err(ScheduleError::DuplicateJob { ended: None, .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        let Proposed { proposal, reply } =
            inserting::propose(job, plan.due, Place::Group(group.clone()));
        let reply = Waiter::new(ReplySent(reply));
        let answer = async move {
            match reply.await.end {
                InsertedAs::Done(_) => Ok(Some(end)),
                InsertedAs::Withdrawn => Ok(None),
                InsertedAs::Refused(error) => Err(error),
            }
        };
        Ok(Some((proposal, Box::pin(answer))))
    }

    fn carry_out(&mut self) -> Changed {
        match self.submission.advance(self.args.clone()) {
            Step::Done(Ok(_)) => Ok(Some(self.end)),
            Step::Done(Err(error)) => Err(error),
            // The store is concerned now.
            _ => Ok(None),
        }
    }
}
