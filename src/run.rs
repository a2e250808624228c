//! A job with its types: [`JobState`] carries out what [`Progress`] decides.
//!
//! This is the far side of [`Execution`]. Everything here follows one pattern:
//! take the job's lock, decide, make the move, let go of the lock, and only then
//! drop what is foreign, wake who waits, and touch the timer.

mod stored;

use std::any::Any;
use std::mem::needs_drop;
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::{Due, MonoNanos, Now, WallNanos};
use crate::codec::Codec;
use crate::context::JobContext;
use crate::cron::CronTexts;
use crate::error::{BoxError, ScheduleError};
use crate::events::JobEventKind;
use crate::execution::{Attempt, Body, Cancelled, Cancelling, Execution, Fired, JobCore, Mishap};
use crate::hub::{Hub, Removed};
use crate::id::JobId;
use crate::outcome::{Failure, Outcome, Slot};
use crate::panics::{contain, drop_contained};
use crate::progress::{
    Begun, CatchUp, Closing, Mark, Next, Plan, Progress, Retry, RunRecord, Tock, Verdict,
};
use crate::record::{JobRecord, Run};
use crate::retry::Backoff;
use crate::state::StateMap;
use crate::status::{JobStatus, Moved, Show};
use crate::stop::Control;
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use crate::table::Wake;
use crate::zone::Zone;

/// A registered task: its options, and how to make an attempt of it.
pub(crate) struct TaskDef<A, R> {
    pub(crate) name: Arc<str>,
    /// The name, and then the aliases.
    pub(crate) names: Box<[Arc<str>]>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) is_blocking: bool,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) durability: Option<Durability<A>>,
    pub(crate) body: BodyMaker<A, R>,
}

/// What a task whose jobs are stored has besides.
pub(crate) struct Durability<A> {
    pub(crate) codec: Codec<A>,
    /// The start of an attempt is stored before it starts.
    pub(crate) at_most_once: bool,
}

pub(crate) use self::stored::{Replaced, Replacing};

impl<A, R> TaskDef<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// The live job of this id, if it is one of this task.
    pub(crate) fn live(self: &Arc<Self>, id: &JobId) -> Option<Arc<JobState<A, R>>> {
        let job: Arc<dyn Any + Send + Sync> = self.hub.find(id)?;
        let job = job.downcast::<JobState<A, R>>().ok()?;
        Arc::ptr_eq(&job.task, self).then_some(job)
    }
}

/// Calls the task's function; the future hands in its result by itself. This
/// is where the function's type ends.
pub(crate) type BodyMaker<A, R> =
    Box<dyn Fn(Arc<JobState<A, R>>, u32, JobContext, A) -> Body + Send + Sync>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeout {
    pub(crate) limit: Duration,
    pub(crate) nanos: i64,
}

/// One job, with the types of its arguments and its value.
pub(crate) struct JobState<A, R> {
    core: JobCore,
    task: Arc<TaskDef<A, R>>,
    outcome: Slot<R>,
    cron: CronTexts,
    state: Mutex<State<A>>,
}

struct State<A> {
    /// If it is not the app's.
    zone: Option<Box<Zone>>,
    progress: Progress,
    /// For the next attempt; `None` once no other can follow.
    args: Option<A>,
    /// What is to follow the attempt that is going on, in place of what would.
    replacement: Option<Box<Replacement<A>>>,
}

struct Replacement<A> {
    args: A,
    plan: Plan,
    /// What the store has of it, if it is there.
    record: Option<Box<JobRecord>>,
}

/// What is left to do when the job's lock is gone.
#[must_use]
struct After<A> {
    moved: Option<Moved>,
    wake: Wake,
    /// The store has been given something to do.
    kick: bool,
    /// It has had its turn of catching up.
    ends_turn: bool,
    removed: Removed,
    /// The strings of an attempt whose body is to go.
    killed: Option<Arc<Control>>,
    args: Option<A>,
    replaced: Option<A>,
}

impl<A> Default for After<A> {
    fn default() -> Self {
        Self {
            moved: None,
            wake: Wake::No,
            kick: false,
            ends_turn: false,
            removed: Removed::default(),
            killed: None,
            args: None,
            replaced: None,
        }
    }
}

/// What an attempt leaves behind, to be dropped when no lock is held: all of it
/// is foreign.
struct Leftovers<A, R> {
    args: Option<A>,
    replaced: Option<A>,
    old: Option<Outcome<R>>,
    unused: Option<Result<R, Failure>>,
}

impl<A, R> Default for Leftovers<A, R> {
    fn default() -> Self {
        Self {
            args: None,
            replaced: None,
            old: None,
            unused: None,
        }
    }
}

impl<A, R> Leftovers<A, R> {
    /// Whether dropping it may run code of a user.
    fn is_foreign(&self) -> bool {
        let args = self.args.is_some() || self.replaced.is_some();
        let failure = |failure: &Failure| matches!(failure, Failure::Error(_));
        let old = match &self.old {
            Some(Outcome::Value(_) | Outcome::Shared(_)) => true,
            Some(Outcome::Failed(old)) => failure(old),
            Some(Outcome::None) | None => false,
        };
        let unused = match &self.unused {
            Some(Ok(_)) => true,
            Some(Err(unused)) => failure(unused),
            None => false,
        };
        (args && needs_drop::<A>()) || old || unused
    }
}

/// Why a job can't be replaced.
enum NotReplaceable {
    Done,
    Refused(ScheduleError),
}

/// Why a job was not replaced.
pub(crate) enum NotReplaced<A> {
    /// It is done, and its id is free again.
    Done(A),
    Refused(ScheduleError),
}

impl<A> Drop for State<A> {
    fn drop(&mut self) {
        drop_contained(self.args.take());
        drop_contained(self.replacement.take());
    }
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    pub(crate) fn new(task: Arc<TaskDef<A, R>>, args: A, plan: Plan, is_ready: bool) -> Self {
        let exec_at = plan.exec_at;
        let (cron, zone) = (CronTexts::default(), plan.zone.clone());
        cron.set(plan.cron());
        let mut progress = Progress::new(plan);
        progress.is_ready = is_ready;
        Self {
            core: JobCore::new(exec_at),
            task,
            outcome: Slot::new(),
            cron,
            state: Mutex::new(State {
                zone,
                progress,
                args: Some(args),
                replacement: None,
            }),
        }
    }

    fn hub(&self) -> &Hub {
        &self.task.hub
    }

    /// Takes a job apart that has not entered the table.
    pub(crate) fn into_args(self) -> Option<A> {
        lock(&self.state).args.take()
    }

    /// The task has given its result. One that comes too late is thrown away.
    pub(crate) fn finish(&self, attempt: u32, result: Result<R, BoxError>) {
        let result = result.map_err(|error| Failure::Error(Arc::from(error)));
        drop_contained(self.settle(attempt, result, Settling::BodyEnded));
    }

    /// New arguments and another trigger, for a job that goes on and that no
    /// store keeps, before or after.
    pub(crate) fn replace(&self, args: A, plan: Plan, now: Now) -> Result<(), NotReplaced<A>> {
        let state = lock(&self.state);
        match self.check_replace(&state, &plan) {
            Ok(()) => {
                drop_contained(self.apply_replacement(state, args, plan, None, now));
                Ok(())
            }
            Err(NotReplaceable::Done) => Err(NotReplaced::Done(args)),
            Err(NotReplaceable::Refused(error)) => {
                drop(state);
                drop_contained(args);
                Err(NotReplaced::Refused(error))
            }
        }
    }

    fn check_replace(&self, state: &State<A>, plan: &Plan) -> Result<(), NotReplaceable> {
        let id = || self.core.id.clone();
        if self.core.status.actual().is_final() {
            return Err(NotReplaceable::Done);
        }
        if matches!(
            state.progress.closing,
            Closing::Cancelled | Closing::Shutdown
        ) {
            return Err(NotReplaceable::Refused(ScheduleError::JobEnding {
                id: id(),
            }));
        }
        match state.progress.uses_up(plan) {
            Some((max_runs, runs)) => Err(NotReplaceable::Refused(ScheduleError::RunsUsedUp {
                id: id(),
                max_runs,
                runs,
            })),
            None => Ok(()),
        }
    }

    /// Carries it out, on a job that can be replaced. Gives what is to be dropped.
    fn apply_replacement(
        &self,
        mut state: MutexGuard<'_, State<A>>,
        args: A,
        mut plan: Plan,
        record: Option<Box<JobRecord>>,
        now: Now,
    ) -> Leftovers<A, R> {
        let hub = self.hub();
        let mut after = After::default();
        let mut old = None;
        let mut exec_at = plan.exec_at;
        if self.core.status.actual() == JobStatus::Scheduled {
            if let Some(run) = state.progress.give_up_retry(now) {
                hub.record(self, now, || {
                    JobEventKind::RunEnded(self.dress(&state, run))
                });
                after.moved = Some(Moved {
                    waited_for: self.core.status.is_waited_for(),
                });
            }
            state.progress.fit(&mut plan, now);
            exec_at = plan.exec_at;
            let due = plan.due;
            after.ends_turn = state.progress.end_turn();
            after.args = state.args.replace(args);
            if self.take_on(&mut state, plan) {
                old = Some(self.outcome.set(Outcome::None));
            }
            self.core.set_exec_at(exec_at);
            if state.progress.closing != Closing::Suspended {
                after.wake = hub.arm(self.core.slot, due, now);
            }
        } else {
            let new = Replacement { args, plan, record };
            after.replaced = state.replacement.replace(Box::new(new)).map(|r| r.args);
        }
        hub.record(self, now, || JobEventKind::Scheduled {
            due: self.time(&state, exec_at),
        });
        drop(state);
        let leftovers = Leftovers {
            args: after.args.take(),
            replaced: after.replaced.take(),
            old,
            unused: None,
        };
        self.finish_up(after);
        leftovers
    }

    /// Goes on by another plan. Gives whether the job starts over with it.
    fn take_on(&self, state: &mut State<A>, plan: Plan) -> bool {
        self.cron.set(plan.cron());
        state.zone = plan.zone.clone();
        state.progress.replace(plan)
    }

    /// A wall time, as the job shows it.
    fn time(&self, state: &State<A>, wall: WallNanos) -> OffsetDateTime {
        let zone = state.zone.as_deref().unwrap_or(&self.hub().zone);
        zone.time_at(wall)
    }

    /// Locks the state; where it takes the time to go on, with that. Reading a
    /// clock is not free, and not for under a lock.
    fn lock_with_time(
        &self,
        needs_time: impl Fn(&State<A>) -> bool,
    ) -> (MutexGuard<'_, State<A>>, Now) {
        let hub = self.hub();
        let mut now = if hub.events.is_read() {
            hub.clock.now()
        } else {
            Now::NEVER
        };
        loop {
            let state = lock(&self.state);
            if now != Now::NEVER || !needs_time(&state) {
                return (state, now);
            }
            drop(state);
            now = hub.clock.now();
        }
    }

    /// An attempt is over, in whichever way. Gives what is to be dropped.
    fn settle(&self, attempt: u32, result: Result<R, Failure>, how: Settling) -> Leftovers<A, R> {
        let retry = self.task.backoff.as_ref().zip(result.as_ref().err());
        let retry = retry.map(|(backoff, failure)| Retry {
            backoff,
            // Looks into the task's own error: not under the lock.
            hint: failure.retry_hint(),
            random: self.hub().random(),
        });
        let is_failed = result.is_err();
        let (mut state, now) = self.lock_with_time(|state| {
            is_failed
                || state.progress.is_recurring()
                || state.progress.is_durable()
                || state.replacement.is_some()
        });
        let is_current = state.progress.number == attempt;
        if !is_current || self.core.status.actual() != JobStatus::Running {
            // Late: it was over before.
            drop(state);
            if how == Settling::BodyEnded {
                self.body_gone(attempt);
            }
            return Leftovers {
                unused: Some(result),
                ..Leftovers::default()
            };
        }
        if how == Settling::BodyEnded {
            state.progress.is_occupied = false;
        }
        // A job that is to be another ends its run with this attempt.
        let retry = retry.filter(|_| state.replacement.is_none());
        let failure = result.as_ref().err();
        let random = || self.hub().random();
        let before = state.progress.last_run();
        let verdict = state.progress.after_attempt(failure, retry, now, random);
        let control = state.progress.control.take();
        let mut after = After {
            killed: control.filter(|_| how == Settling::Overdue),
            ends_turn: state.progress.end_turn(),
            ..After::default()
        };
        let (old, unused) =
            self.carry_out(&mut state, (verdict, before), result, how, now, &mut after);
        drop(state);
        let leftovers = Leftovers {
            args: after.args.take(),
            replaced: after.replaced.take(),
            old,
            unused,
        };
        self.finish_up(after);
        leftovers
    }

    /// Makes the move that a verdict asks for. Gives what is to be dropped.
    fn carry_out(
        &self,
        state: &mut State<A>,
        (mut verdict, before): (Verdict, Option<RunRecord>),
        result: Result<R, Failure>,
        how: Settling,
        now: Now,
        after: &mut After<A>,
    ) -> (Option<Outcome<R>>, Option<Result<R, Failure>>) {
        let hub = self.hub();
        let mut starts_over = false;
        // What the executor dropped has not run to its end: another process is
        // to find it as it was.
        let mut is_told = how != Settling::Dropped && state.progress.closing != Closing::Cancelled;
        if let Some(mut new) = state.replacement.take() {
            if matches!(state.progress.closing, Closing::No | Closing::Suspended) {
                state.progress.fit(&mut new.plan, now);
                verdict.next = Next::Run(new.plan.due);
                verdict.misfired = None;
                after.args = state.args.replace(new.args);
                starts_over = self.take_on(state, new.plan);
                is_told = true;
            } else {
                verdict.next = Next::End(JobStatus::Cancelled);
                after.replaced = Some(new.args);
            }
        }
        let is_end = matches!(verdict.next, Next::End(_));
        // The outcome before the move, so that whoever sees the one sees the
        // other.
        let (old, unused) = if starts_over {
            (Some(self.outcome.set(Outcome::None)), Some(result))
        } else if is_end || verdict.run.is_some() {
            let outcome = match result {
                Ok(value) => Outcome::Value(value),
                Err(failure) => Outcome::Failed(failure),
            };
            (Some(self.outcome.set(outcome)), None)
        } else {
            (None, Some(result))
        };
        if let Some(run) = verdict.run {
            hub.record(self, now, || JobEventKind::RunEnded(self.dress(state, run)));
        }
        let show = match verdict.next {
            _ if !is_told => Show::Now,
            Next::End(_) => self.store_end(state),
            Next::Run(due) | Next::Retry(due) => {
                self.core.set_exec_at(due.as_wall(now));
                self.store_progress(state, now)
            }
        };
        after.kick = show == Show::WhenStored;
        if after.kick && verdict.run.is_some() {
            state.progress.hide_run(before);
        }
        match verdict.next {
            Next::End(status) => {
                after.args = state.args.take();
                after.moved = self.core.status.finish(status, show);
                after.removed = hub.remove(self.core.slot);
                self.record_end(status, now);
            }
            Next::Run(due) => {
                if let Some(nominal) = verdict.misfired {
                    let next = self.time(state, nominal.as_wall(now));
                    hub.record(self, now, || JobEventKind::Misfired { next });
                }
                self.schedule_anew(state, due, show, now, after);
            }
            Next::Retry(due) => {
                let attempt = state.progress.attempts();
                let at = self.time(state, due.as_wall(now));
                hub.record(self, now, || JobEventKind::Retrying { attempt, due: at });
                self.schedule_anew(state, due, show, now, after);
            }
        }
        (old, unused)
    }

    /// `Running → Scheduled`, due then.
    fn schedule_anew(
        &self,
        state: &State<A>,
        due: Due,
        show: Show,
        now: Now,
        after: &mut After<A>,
    ) {
        self.core.set_exec_at(due.as_wall(now));
        after.moved = self.core.status.reschedule(show);
        after.wake = if state.progress.closing == Closing::Suspended {
            self.hub().suspend(self.core.slot)
        } else {
            self.hub().arm(self.core.slot, due, now)
        };
    }

    fn finish_up(&self, after: After<A>) {
        let hub = self.hub();
        hub.wake(after.wake);
        if after.kick {
            hub.kick_store();
        }
        if after.ends_turn {
            hub.turn_ended();
        }
        if after.moved.is_some_and(|moved| moved.waited_for) {
            self.core.changed.notify(usize::MAX);
        }
        if let Some(control) = after.killed {
            control.kill();
        }
        hub.removed(after.removed);
        hub.events.deliver();
        drop_contained(after.args);
        drop_contained(after.replaced);
    }

    fn record_end(&self, status: JobStatus, now: Now) {
        self.hub().record(self, now, || match status {
            JobStatus::Cancelled => JobEventKind::Cancelled,
            status => JobEventKind::Ended(status),
        });
    }

    fn dress(&self, state: &State<A>, run: RunRecord) -> Run {
        Run {
            number: run.number,
            nominal_time: self.time(state, run.nominal),
            started_at: self.time(state, run.started_at),
            finished_at: self.time(state, run.finished_at),
            status: run.status,
        }
    }

    /// The arguments for an attempt; where more may follow, a copy of them. `None`
    /// if the attempt is over by then.
    fn attempt_args(&self, attempt: u32, args: A, keep: bool) -> Option<Result<A, Arc<str>>> {
        if !keep {
            return Some(Ok(args));
        }
        // `clone` is foreign: not under the lock.
        let copy = contain(|| args.clone());
        let mut state = lock(&self.state);
        let is_current = state.progress.number == attempt;
        let is_running = is_current && self.core.status.actual() == JobStatus::Running;
        let goes_on = is_current && !self.core.status.actual().is_final();
        let mut spare = Some(args);
        if goes_on && state.args.is_none() {
            state.args = spare.take();
        }
        drop(state);
        drop_contained(spare);
        if is_running {
            return Some(copy);
        }
        drop_contained(copy);
        None
    }

    /// `Scheduled → Running`, if it is to run.
    fn start(&self) -> Option<Started<A>> {
        let hub = self.hub();
        let timeout = self.task.timeout;
        let (mut state, now) = self.lock_with_time(|state| {
            state.progress.is_ready && (timeout.is_some() || state.progress.is_recurring())
        });
        if !state.progress.is_ready {
            return None;
        }
        if state.progress.is_unstored() {
            // It is fired again once the store has been told.
            state.progress.is_ready = false;
            state.progress.is_overdue = true;
            return None;
        }
        self.core.status.start()?;
        let begun = state.progress.begin(now);
        let keep = state.progress.may_go_on(self.task.backoff.as_ref());
        let args = state.args.take();
        let mut wake = Wake::No;
        if let Some(timeout) = timeout {
            let due = Due::Mono(now.mono.saturating_add(timeout.nanos));
            state.progress.timer = Some(due);
            wake = hub.arm(self.core.slot, due, now);
        }
        hub.record(self, now, || JobEventKind::Started {
            run: begun.run,
            attempt: begun.attempt,
        });
        drop(state);
        hub.wake(wake);
        hub.events.deliver();
        Some(Started { begun, args, keep })
    }
}

/// An attempt that has started.
struct Started<A> {
    begun: Begun,
    args: Option<A>,
    /// Whether the arguments will be needed again.
    keep: bool,
}

/// What has settled an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settling {
    /// Its body came to its end.
    BodyEnded,
    /// Its body is about to be dropped by whoever polls it.
    BodyFailed,
    /// So it is, by an executor that let go of it.
    Dropped,
    /// It took too long, and its body is to be told.
    Overdue,
}

impl<A, R> Execution for JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn core(&self) -> &JobCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut JobCore {
        &mut self.core
    }

    fn task_name(&self) -> &Arc<str> {
        &self.task.name
    }

    fn is_blocking(&self) -> bool {
        self.task.is_blocking
    }

    fn shown(&self, wall: WallNanos) -> OffsetDateTime {
        self.time(&lock(&self.state), wall)
    }

    fn exec_at(&self) -> OffsetDateTime {
        self.shown(self.core.exec_at())
    }

    fn cron_expression(&self) -> Option<&str> {
        self.cron.get()
    }

    fn last_run(&self) -> Option<Run> {
        let state = lock(&self.state);
        let run = state.progress.shown_run()?;
        Some(self.dress(&state, run))
    }

    fn runs_ended(&self) -> u32 {
        lock(&self.state).progress.runs_ended()
    }

    fn is_abandoned(&self) -> bool {
        self.hub().has_stopped()
    }

    fn app_state(&self) -> &StateMap {
        &self.hub().state
    }

    fn outcome(&self) -> &dyn Any {
        &self.outcome
    }

    fn fire(&self, now: Now) -> Fired {
        let mut state = lock(&self.state);
        match self.core.status.actual() {
            JobStatus::Scheduled if state.progress.closing == Closing::Suspended => {
                return Fired::Settled;
            }
            JobStatus::Scheduled => {
                if let Some(durable) = &mut state.progress.durable
                    && durable.catch_up == CatchUp::Waits
                {
                    durable.catch_up = CatchUp::HasTurn;
                    self.hub().turn_begins();
                }
            }
            JobStatus::Running => {
                let is_over = state.progress.timer.is_some_and(|due| due.is_reached(now));
                let attempt = state.progress.number;
                drop(state);
                if is_over && let Some(timeout) = self.task.timeout {
                    let failure = Failure::TimedOut(timeout.limit);
                    let leftovers = self.settle(attempt, Err(failure), Settling::Overdue);
                    // This is the timer's thread, where nothing foreign runs.
                    if leftovers.is_foreign() {
                        self.hub().dispose(Box::new(leftovers));
                    }
                }
                return Fired::Settled;
            }
            _ => return Fired::Settled,
        }
        let hub = self.hub();
        match state.progress.durable.as_ref().map(|durable| durable.mark) {
            Some(Mark::Stored) => {
                state.progress.is_ready = true;
                return Fired::Start;
            }
            Some(Mark::Asked(_)) => return Fired::Settled,
            Some(Mark::None) | None => {}
        }
        let tock = state.progress.tick(now, || hub.random());
        if let Tock::Later { nominal, .. } | Tock::StartMissed(nominal) = tock {
            let next = self.time(&state, nominal.as_wall(now));
            hub.record(self, now, || JobEventKind::Misfired { next });
        }
        match tock {
            Tock::NotYet => Fired::Settled,
            Tock::Start | Tock::StartMissed(_) => {
                let is_marked = self.is_at_most_once(&state);
                if is_marked {
                    self.mark_start(&mut state, now);
                }
                drop(state);
                hub.events.deliver();
                if is_marked {
                    hub.kick_store();
                    return Fired::Settled;
                }
                Fired::Start
            }
            Tock::Later { due, .. } => {
                self.core.set_exec_at(due.as_wall(now));
                let after = After {
                    wake: hub.arm(self.core.slot, due, now),
                    ends_turn: state.progress.end_turn(),
                    ..After::default()
                };
                drop(state);
                self.finish_up(after);
                Fired::Settled
            }
            Tock::RunOut(status) => {
                let args = state.args.take();
                let show = self.store_end(&mut state);
                let after = After {
                    moved: match status {
                        JobStatus::Cancelled => self.core.status.cancel(show),
                        status => self.core.status.run_out(status, show),
                    },
                    kick: show == Show::WhenStored,
                    ends_turn: state.progress.end_turn(),
                    removed: hub.remove(self.core.slot),
                    ..After::default()
                };
                self.record_end(status, now);
                drop(state);
                self.finish_up(after);
                if args.is_some() && needs_drop::<A>() {
                    hub.dispose(Box::new(args));
                }
                Fired::Settled
            }
        }
    }

    fn step_back(&self, now: Now) {
        let hub = self.hub();
        let mut state = lock(&self.state);
        if self.core.status.actual() != JobStatus::Scheduled
            || state.progress.closing == Closing::Suspended
        {
            return;
        }
        let Some(due) = state.progress.step_back(now, || hub.random()) else {
            return;
        };
        self.core.set_exec_at(due.as_wall(now));
        let wake = hub.arm(self.core.slot, due, now);
        drop(state);
        hub.wake(wake);
    }

    fn begin(self: Arc<Self>) -> Option<Attempt> {
        let Started { begun, args, keep } = self.start()?;
        let number = begun.number;
        let cx = JobContext::new(self.clone(), begun);
        let body = match args.map(|args| self.attempt_args(number, args, keep)) {
            // The function itself is foreign, and may panic before it gives a
            // future.
            Some(Some(Ok(args))) => contain(|| (self.task.body)(self.clone(), number, cx, args)),
            Some(Some(Err(message))) => Err(message),
            Some(None) => {
                self.body_gone(number);
                return None;
            }
            None => Err("the job has no arguments left".into()),
        };
        match body {
            Ok(body) => Some(Attempt { number, body }),
            Err(message) => {
                self.mishap(number, Mishap::Panicked(message));
                self.body_gone(number);
                None
            }
        }
    }

    fn refuse(&self) {
        let Some(Started { begun, args, .. }) = self.start() else {
            return;
        };
        let mut state = lock(&self.state);
        let mut spare = args;
        if state.progress.number == begun.number && state.args.is_none() {
            // For a retry, or the next run.
            state.args = spare.take();
        }
        drop(state);
        drop_contained(spare);
        self.mishap(begun.number, Mishap::Dropped);
        self.body_gone(begun.number);
    }

    fn mishap(&self, attempt: u32, what: Mishap) {
        let (failure, how) = match what {
            Mishap::Panicked(message) => (Failure::Panicked(message), Settling::BodyFailed),
            Mishap::Dropped => (Failure::executor_dropped(), Settling::Dropped),
        };
        drop_contained(self.settle(attempt, Err(failure), how));
    }

    fn body_gone(&self, attempt: u32) {
        let (mut state, now) = self.lock_with_time(|state| state.progress.is_overdue);
        if state.progress.number != attempt || !state.progress.is_occupied {
            return;
        }
        state.progress.is_occupied = false;
        let mut wake = Wake::No;
        if std::mem::take(&mut state.progress.is_overdue) {
            wake = self.arm_again(&state, now);
        }
        drop(state);
        self.hub().wake(wake);
    }

    fn control(&self, attempt: u32) -> Arc<Control> {
        let mut state = lock(&self.state);
        if state.progress.number != attempt || self.core.status.actual() != JobStatus::Running {
            return Arc::new(Control::killed());
        }
        let is_asked = matches!(
            state.progress.closing,
            Closing::Shutdown | Closing::Suspended
        );
        let control = state.progress.control.get_or_insert_default().clone();
        drop(state);
        if is_asked {
            control.ask();
        }
        control
    }

    fn cancel(&self, how: Cancelling) -> Cancelled {
        let hub = self.hub();
        let (mut state, now) = self.lock_with_time(|state| {
            (how == Cancelling::Abort && state.progress.is_recurring())
                || (how == Cancelling::Shutdown && state.progress.is_durable())
        });
        let mut after = After::default();
        let reply;
        match (self.core.status.actual(), how) {
            (JobStatus::Scheduled, Cancelling::Shutdown) if state.progress.is_durable() => {
                after.kick = self.take_back_mark(&mut state, now);
                state.progress.closing = Closing::Suspended;
                state.progress.is_ready = false;
                after.wake = hub.suspend(self.core.slot);
                drop(state);
                self.finish_up(after);
                return Cancelled::now(false);
            }
            (JobStatus::Scheduled, _) => {
                let show;
                (show, reply) = self.store_cancel(&mut state);
                after.moved = self.core.status.cancel(show);
            }
            (JobStatus::Running, Cancelling::Abort) => {
                let before = state.progress.last_run();
                let run = state.progress.record(JobStatus::Cancelled, now);
                if let Some(run) = run {
                    hub.record(self, now, || {
                        JobEventKind::RunEnded(self.dress(&state, run))
                    });
                }
                let show;
                (show, reply) = self.store_cancel(&mut state);
                if show == Show::WhenStored && run.is_some() {
                    state.progress.hide_run(before);
                }
                after.moved = self.core.status.finish(JobStatus::Cancelled, show);
                after.replaced = state.replacement.take().map(|new| new.args);
                after.killed = state.progress.control.take();
            }
            (JobStatus::Running, Cancelling::Cancel) => {
                let goes_on = state.progress.is_recurring() || state.replacement.is_some();
                let is_open = matches!(state.progress.closing, Closing::No | Closing::Suspended);
                if !goes_on || !is_open {
                    return Cancelled::now(false);
                }
                state.progress.closing = Closing::Cancelled;
                let reply = self.store_forget(&mut state);
                drop(state);
                if reply.is_some() {
                    hub.kick_store();
                }
                return Cancelled { did: true, reply };
            }
            (JobStatus::Running, Cancelling::Shutdown) => {
                if state.progress.closing == Closing::No {
                    state.progress.closing = if state.progress.is_durable() {
                        Closing::Suspended
                    } else {
                        Closing::Shutdown
                    };
                }
                let control = state.progress.control.clone();
                drop(state);
                if let Some(control) = control {
                    control.ask();
                }
                return Cancelled::now(false);
            }
            _ => return Cancelled::now(false),
        }
        after.kick = reply.is_some();
        after.ends_turn = state.progress.end_turn();
        after.args = state.args.take();
        after.removed = hub.remove(self.core.slot);
        self.record_end(JobStatus::Cancelled, now);
        drop(state);
        self.finish_up(after);
        Cancelled { did: true, reply }
    }

    fn wait_for_turn(&self, at_the_latest: MonoNanos) {
        self.catch_up_by(at_the_latest);
    }

    fn take_turn(&self) -> bool {
        self.has_turn_now()
    }

    fn stored(&self) {
        self.store_has_been_told();
    }

    fn start_stored(&self, number: u32) {
        self.start_is_stored(number);
    }

    fn let_go(self: Arc<Self>) {
        if Arc::strong_count(&self) == 1 {
            let task = self.task.clone();
            task.hub.dispose(Box::new(self));
        }
    }
}
