//! Replacements of live jobs.

use crate::engine::discarded::DropOn;
use crate::engine::job_state::{AfterLock, JobState, State};
use crate::job::last_result::LastResult;
use crate::job::lifecycle::NotReplaceable;
use crate::job::live_job::JobView;
use crate::job::phase::{Effects, Phase};
use crate::job::plan::{Plan, Replace};
use crate::job::record::JobRecord;
use crate::storage::contract::Change;
use crate::storage::inbox::Message;
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::{Place, Proposal, ProposalGroup, Proposed, PulledProposal};
use crate::storage::writer::Writer;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, MutexGuard};
use crate::sync::reply::Reply;
use crate::value::error::{ScheduleError, StorageError};
use crate::value::event::JobEventKind;
use crate::value::id::JobId;
use crate::value::time_units::Now;

/// What comes of a replacement at once.
pub(crate) enum Replacing<A> {
    Done,
    /// The replacement was sent to the store. This is its reply.
    Waits(Arc<Reply<Replaced<A>>>),
    /// The job has ended, and its id is free. These are the arguments.
    Ended(Option<A>),
    Refused(ScheduleError),
    /// Too many submissions wait for the store. These are the arguments.
    NoRoom(Option<A>),
}

/// What a declaration would do to a live job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has ended, and its id is free.
    Free,
    Unchanged,
    /// It is to be replaced. `in_store`: the store is concerned. `is_same`: the definitions are
    /// equal, but the row is not stored yet.
    Changes {
        in_store: bool,
        is_same: bool,
    },
}

/// The reply of the store to a replacement.
pub(crate) struct Replaced<A> {
    pub(crate) end: ReplacedAs<A>,
    /// The change that the store was given. The submitter frees it.
    _change: Option<Change>,
}

pub(crate) enum ReplacedAs<A> {
    Done,
    /// The job has ended meanwhile, and its id is free; or another proposal of its group was
    /// withdrawn. The submitter begins again, with these arguments.
    Again(Option<A>),
    Refused(ScheduleError),
}

/// A replacement on its way to the store.
struct Replacement<A, R> {
    job: Arc<JobState<A, R>>,
    plan: Plan,
    /// The arguments, if the replacement is in memory.
    args: Option<A>,
    what: Replace,
    /// The rebased plan whose row was pulled, with the version of the job at that time.
    planned: Option<(u64, Plan)>,
    reply: Arc<Reply<Replaced<A>>>,
    /// Until it is answered.
    place: Option<Place>,
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Replaces the arguments and the trigger of the job. If the job or its replacement is
    /// durable, the replacement is sent to the store first, and the job does not start until
    /// the store has replied.
    pub(crate) fn replace(
        self: &Arc<Self>,
        args: Option<A>,
        plan: Plan,
        what: Replace,
        now: Now,
    ) -> Replacing<A> {
        let mut state = self.lock();
        let is_stopping = self.hub().is_stopping();
        match state.life.check_replaceable(&plan, what, is_stopping) {
            Ok(()) => {}
            Err(NotReplaceable::Ended) => return Replacing::Ended(args),
            Err(refused) => {
                drop(state);
                drop_catching_panic(args);
                return Replacing::Refused(self.not_replaceable(refused, &plan));
            }
        }
        if state.life.is_as_declared(&plan) && state.life.is_settled() {
            // Nothing changes, and the store has it.
            return Replacing::Done;
        }
        if !state.life.concerns_store() && !plan.is_durable() {
            let mut after = AfterLock::default();
            self.accept(&mut state, args, plan, None, now, &mut after);
            self.unlock(state, after, DropOn::ThisThread);
            return Replacing::Done;
        }
        let Some(store) = &self.hub().store else {
            // A durable task is registered only if the app has a store.
            return Replacing::Refused(ScheduleError::Stopped);
        };
        let Some(place) = store.enter_backlog(plan.args_len()) else {
            return Replacing::NoRoom(args);
        };
        let Proposed { proposal, reply } = self.proposal(args, plan, what, Place::own(place));
        let effects = state.life.propose();
        let mut after = AfterLock::default();
        // First the proposal, for `follow` may send `Changed`: otherwise the writer could
        // write the row of before in between.
        let sent = store.send(Message::Propose(proposal));
        self.follow(&mut state, effects, now, &mut after);
        self.unlock(state, after, DropOn::ThisThread);
        match sent {
            Ok(()) => store.wake_writer(),
            Err(message) => Writer::refuse_all(vec![message]),
        }
        Replacing::Waits(reply)
    }

    fn proposal(
        self: &Arc<Self>,
        args: Option<A>,
        plan: Plan,
        what: Replace,
        place: Place,
    ) -> Proposed<Replaced<A>> {
        let reply = Reply::new();
        let proposal = Replacement {
            job: self.clone(),
            plan,
            args,
            what,
            planned: None,
            reply: reply.clone(),
            place: Some(place),
        };
        Proposed {
            proposal: Box::new(proposal),
            reply,
        }
    }

    /// What a declaration of `plan` would do to the job.
    pub(crate) fn standing(&self, plan: &Plan) -> Result<Standing, ScheduleError> {
        let state = self.lock();
        let is_stopping = self.hub().is_stopping();
        match state
            .life
            .check_replaceable(plan, Replace::SameKind, is_stopping)
        {
            Err(NotReplaceable::Ended) => return Ok(Standing::Free),
            Err(refused) => {
                drop(state);
                return Err(self.not_replaceable(refused, plan));
            }
            Ok(()) => {}
        }
        let is_same = state.life.is_as_declared(plan);
        if is_same && state.life.is_settled() {
            return Ok(Standing::Unchanged);
        }
        let in_store = state.life.concerns_store() || plan.is_durable();
        Ok(Standing::Changes { in_store, is_same })
    }

    /// A replacement that is part of a group. The job does not start until it is answered. The
    /// caller sends it to the store, or withdraws it. `None` if the job has ended or ends.
    ///
    /// The row of before may be written once more before the group is sent. That is right: the
    /// job has that row until the store accepts.
    pub(crate) fn propose_in_group(
        self: &Arc<Self>,
        args: &mut Option<A>,
        plan: Plan,
        group: &Arc<ProposalGroup>,
        now: Now,
    ) -> Option<Proposed<Replaced<A>>> {
        let mut state = self.lock();
        if matches!(state.life.phase(), Phase::Ended(_) | Phase::Cancelling) {
            return None;
        }
        let place = Place::Group(group.clone());
        let proposal = self.proposal(args.take(), plan, Replace::SameKind, place);
        let effects = state.life.propose();
        let mut after = AfterLock::default();
        self.follow(&mut state, effects, now, &mut after);
        self.unlock(state, after, DropOn::ThisThread);
        Some(proposal)
    }

    /// Returns the job as it is, unless it ends.
    pub(crate) fn keep(&self, args: Option<A>) -> Replacing<A> {
        let phase = self.lock().life.phase();
        if matches!(phase, Phase::Ended(_)) {
            return Replacing::Ended(args);
        }
        drop_catching_panic(args);
        if phase == Phase::Cancelling {
            let id = self.core.id.clone();
            return Replacing::Refused(ScheduleError::JobEnding { id });
        }
        Replacing::Done
    }

    fn not_replaceable(&self, why: NotReplaceable, plan: &Plan) -> ScheduleError {
        let id = self.core.id.clone();
        match why {
            NotReplaceable::Ended | NotReplaceable::Ending => ScheduleError::JobEnding { id },
            NotReplaceable::Recurring => ScheduleError::EndsSeries { id },
            NotReplaceable::NeverDue => {
                let error = plan.never_due_error(&self.hub().zone);
                error.unwrap_or(ScheduleError::JobEnding { id })
            }
            NotReplaceable::RunsUsedUp { max, runs } => ScheduleError::RunsUsedUp {
                id,
                max_runs: max,
                runs,
            },
        }
    }

    /// Carries out a replacement of a job that can be replaced.
    fn accept(
        &self,
        state: &mut MutexGuard<'_, State<A, R>>,
        args: Option<A>,
        plan: Plan,
        planned: Option<(u64, Plan)>,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        let hub = self.hub();
        let accepted = state.life.accept(plan, planned, now);
        if let Some(run) = accepted.given_up {
            self.event(state, now, |state| {
                JobEventKind::RunEnded(self.run(state, run))
            });
        }
        if accepted.is_next {
            after.discarded.next_args = state.args.set_next(args);
            self.stop_attempt_in_time(state, now, after);
        } else {
            after.discarded.args = state.args.replace(args);
            after.ends_turn = state.life.end_turn();
        }
        if accepted.starts_over {
            let is_hidden = state.life.is_hidden();
            after.discarded.last_result = state.last_result.set(LastResult::None, is_hidden);
        }
        let exec_at = state.life.next_exec_at();
        if !accepted.is_unchanged {
            self.event(state, now, |state| {
                let zone = state.life.next_zone().unwrap_or(&hub.zone);
                JobEventKind::Scheduled {
                    due: zone.time_at(exec_at),
                }
            });
        }
        let is_stopping = hub.is_stopping() && !accepted.is_next;
        // During a stop nothing is armed: the stop decides what becomes of the job.
        let effects = Effects {
            arms: accepted.effects.arms && !is_stopping,
            ..accepted.effects
        };
        self.follow(state, effects, now, after);
        if is_stopping {
            self.stop_locked(state, now, after);
        }
    }
}

impl<A, R> Replacement<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// It was answered: the job may start again.
    fn release(
        &self,
        now: Now,
        change: impl FnOnce(&mut MutexGuard<'_, State<A, R>>, &mut AfterLock<A, R>),
    ) {
        let job = &self.job;
        let mut state = job.lock();
        let mut after = AfterLock::default();
        state.life.release();
        change(&mut state, &mut after);
        job.arm_if_overdue(&mut state, now, &mut after);
        state.life.drop_unused_sync();
        job.unlock(state, after, DropOn::Executor);
    }

    fn reply(&mut self, end: ReplacedAs<A>, change: Option<Change>) {
        self.place = None;
        self.reply.set(Replaced {
            end,
            _change: change,
        });
    }
}

impl<A, R> Proposal for Replacement<A, R>
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
        Some(JobRef::new(self.job.clone()))
    }

    fn taken_over(&mut self) -> Option<Box<JobRecord>> {
        None
    }

    fn group(&self) -> Option<&Arc<ProposalGroup>> {
        self.place.as_ref()?.group()
    }

    fn withdraw(&mut self) {
        self.release(self.job.hub().clock.now(), |_, _| {});
        let args = self.args.take();
        self.reply(ReplacedAs::Again(args), None);
    }

    fn pull(&mut self) -> Option<PulledProposal> {
        let hub = self.job.hub();
        let now = hub.clock.now();
        if Arc::strong_count(&self.reply) == 1 {
            // Nobody waits for it any more: it is withdrawn.
            self.release(now, |_, _| {});
            return None;
        }
        let mut state = self.job.lock();
        if let Err(why) = state
            .life
            .check_replaceable(&self.plan, self.what, hub.is_stopping())
        {
            drop(state);
            self.release(now, |_, _| {});
            let end = match why {
                NotReplaceable::Ended => ReplacedAs::Again(self.args.take()),
                why => ReplacedAs::Refused(self.job.not_replaceable(why, &self.plan)),
            };
            self.reply(end, None);
            return None;
        }
        let planned = state.life.plan_replacement(&self.plan, now);
        let row = state.life.replaced_row(&planned);
        let record = row.map(|row| Box::new(row.to_record(&self.job.core.id)));
        let version = state.life.pull();
        drop(state);
        self.planned = Some((version, planned));
        Some(PulledProposal {
            version,
            record,
            forgets: None,
        })
    }

    fn answer(&mut self, result: Result<Option<Change>, StorageError>) {
        let job = self.job.clone();
        let hub = job.hub();
        let now = hub.clock.now();
        let change = match result {
            Ok(change) => change,
            Err(error) => {
                self.release(now, |_, _| {});
                self.reply(ReplacedAs::Refused(ScheduleError::from_store(error)), None);
                return;
            }
        };
        let mut end = ReplacedAs::Done;
        let is_of_group = self.group().is_some();
        let (plan, planned) = (self.plan.clone(), self.planned.take());
        let what = self.what;
        let mut args = self.args.take();
        self.release(now, |state, after| {
            match state.life.check_replaceable(&plan, what, hub.is_stopping()) {
                Ok(()) => {
                    job.accept(state, args.take(), plan, planned, now, after);
                }
                Err(NotReplaceable::Ended) => end = ReplacedAs::Again(args.take()),
                Err(why) => {
                    // The job ends, or has had its runs. The store has the row of the
                    // replacement: the row of the job is written over it.
                    state.life.mark_unknown();
                    if state.life.row_changed() {
                        job.send_changed(state, after);
                    }
                    // The store has accepted the set. Then the job was cancelled, or has had its
                    // runs.
                    if !is_of_group {
                        end = ReplacedAs::Refused(job.not_replaceable(why, &plan));
                    }
                }
            }
        });
        if args.is_some() {
            hub.drop_on_executor(Box::new(args));
        }
        self.reply(end, change);
    }

    fn wake(self: Box<Self>) {
        let Self {
            job, reply, args, ..
        } = *self;
        reply.notify();
        // Both may have values of users.
        if let Some(reply) = Arc::into_inner(reply).and_then(|reply| reply.take()) {
            job.hub().drop_on_executor(Box::new(reply));
        }
        if args.is_some() {
            job.hub().drop_on_executor(Box::new(args));
        }
        job.drop_safely();
    }
}
