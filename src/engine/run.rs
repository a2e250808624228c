//! A job with its types: [`JobState`] carries out what [`Progress`] decides.
//!
//! This is the far side of [`Execution`]. Everything here follows one pattern:
//! take the job's lock, decide, make the move, let go of the lock, and only then
//! drop what is foreign, wake who waits, and touch the timer.

use std::any::Any;
use std::mem::needs_drop;
use std::time::Duration;

use time::OffsetDateTime;

use crate::calendar::cron::expression::CronTexts;
use crate::engine::hub::{Hub, Live, Removed};
use crate::job::codec::Codec;
use crate::job::execution::{
    Attempt, Body, Cancelled, Cancelling, Execution, Exit, Fired, JobCore, Mishap,
};
use crate::job::outcome::{Failure, Outcome};
use crate::job::progress::{Begun, CatchUp, Closing, Mark, Plan, Progress, RunRecord, Tock};
use crate::job::record::JobRecord;
use crate::job::stop::Control;
use crate::registry::table::Wake;
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Mutex, MutexGuard, OnceLock, lock};
use crate::sync::waking::notify_all;
use crate::timer::heap::Kind;
use crate::value::clock::{Due, Look, MonoNanos, Now, WallNanos};
use crate::value::error::BoxError;
use crate::value::event::JobEventKind;
use crate::value::id::JobId;
use crate::value::retry::Backoff;
use crate::value::run::Run;
use crate::value::shared_state::StateMap;
use crate::value::status::{JobStatus, Moved, Show};

/// A registered task: its options, and how to make an attempt of it.
///
/// It stands apart from the counts of its `Arc`, which change with each job that
/// comes and goes.
#[repr(align(128))]
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

use crate::engine::stored::Forgetting;

impl<A, R> TaskDef<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Who sees to a job when it comes due. If there may be more to it than to
    /// start it, that is the timer, at the time at which it finds it due; and a
    /// blocking job needs no thread of the async executor.
    pub(crate) fn key_kind(&self, is_plain: bool) -> Kind {
        if is_plain && !self.is_blocking {
            Kind::Start
        } else {
            Kind::Look
        }
    }

    /// The live job of this id, if it is one of this task.
    pub(crate) fn live(self: &Arc<Self>, id: &JobId) -> Option<Arc<JobState<A, R>>> {
        self.own(self.hub.find(id)?)
    }

    /// Whether the live job of this id, if there is one, is of another task.
    pub(crate) fn is_anothers(self: &Arc<Self>, id: &JobId) -> bool {
        let job = self.hub.find(id);
        job.is_some_and(|job| self.own(job).is_none())
    }

    fn own(self: &Arc<Self>, job: Live) -> Option<Arc<JobState<A, R>>> {
        let job: Arc<dyn Any + Send + Sync> = job;
        let job = job.downcast::<JobState<A, R>>().ok()?;
        Arc::ptr_eq(&job.task, self).then_some(job)
    }
}

/// Calls the task's function; the future hands in its result by itself. This
/// is where the function's type ends.
pub(crate) type BodyMaker<A, R> = Box<dyn Fn(Arc<JobState<A, R>>, Begun, A) -> Body + Send + Sync>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeout {
    pub(crate) limit: Duration,
    pub(crate) nanos: i64,
}

/// One job, with the types of its arguments and its value.
///
/// In this order, which puts what every move touches next to the counts of the
/// `Arc`: among a million jobs, each cache line is a miss.
#[repr(C)]
pub(crate) struct JobState<A, R> {
    pub(crate) core: JobCore,
    pub(crate) task: Arc<TaskDef<A, R>>,
    pub(crate) state: Mutex<State<A, R>>,
    /// There from the first cron expression on.
    pub(crate) cron: OnceLock<Box<CronTexts>>,
}

pub(crate) struct State<A, R> {
    pub(crate) progress: Progress,
    pub(crate) args: Args<A>,
    /// Of the last run that ended.
    pub(crate) outcome: Outcome<R>,
}

/// The arguments for the next attempt, if another can follow.
pub(crate) enum Args<A> {
    None,
    Some(A),
    /// And besides, what is to follow the attempt that is going on, in place of
    /// what would. In a box, for few jobs have that.
    Replaced(Box<(Option<A>, Replacement<A>)>),
}

impl<A> Args<A> {
    pub(crate) fn is_none(&self) -> bool {
        match self {
            Args::None => true,
            Args::Some(_) => false,
            Args::Replaced(both) => both.0.is_none(),
        }
    }

    pub(crate) fn take(&mut self) -> Option<A> {
        match self {
            Args::Replaced(both) => both.0.take(),
            _ => match std::mem::replace(self, Args::None) {
                Args::Some(args) => Some(args),
                _ => None,
            },
        }
    }

    /// Gives those from before.
    pub(crate) fn put(&mut self, args: A) -> Option<A> {
        match self {
            Args::Replaced(both) => both.0.replace(args),
            _ => match std::mem::replace(self, Args::Some(args)) {
                Args::Some(args) => Some(args),
                _ => None,
            },
        }
    }

    pub(crate) fn replacement(&self) -> Option<&Replacement<A>> {
        match self {
            Args::Replaced(both) => Some(&both.1),
            _ => None,
        }
    }

    pub(crate) fn take_replacement(&mut self) -> Option<Replacement<A>> {
        match std::mem::replace(self, Args::None) {
            Args::Replaced(both) => {
                let (args, replacement) = *both;
                *self = args.map_or(Args::None, Args::Some);
                Some(replacement)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// Gives the one from before.
    pub(crate) fn put_replacement(&mut self, new: Replacement<A>) -> Option<Replacement<A>> {
        let old = self.take_replacement();
        *self = Args::Replaced(Box::new((self.take(), new)));
        old
    }
}

pub(crate) struct Replacement<A> {
    pub(crate) args: A,
    pub(crate) plan: Plan,
    /// What the store has of it, if it is there.
    pub(crate) record: Option<Box<JobRecord>>,
}

impl<A, R> State<A, R> {
    pub(crate) fn new(progress: Progress, args: A) -> Self {
        Self {
            progress,
            args: Args::Some(args),
            outcome: Outcome::None,
        }
    }
}

/// What is left to do when the job's lock is gone.
#[must_use]
pub(crate) struct After<A> {
    pub(crate) moved: Option<Moved>,
    pub(crate) wake: Wake,
    /// The store has been given something to do.
    pub(crate) kick: bool,
    /// It has had its turn of catching up.
    pub(crate) ends_turn: bool,
    pub(crate) removed: Removed,
    /// The strings of an attempt whose body is to go.
    pub(crate) killed: Option<Arc<Control>>,
    pub(crate) args: Option<A>,
    pub(crate) replaced: Option<A>,
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
pub(crate) struct Leftovers<A, R> {
    pub(crate) args: Option<A>,
    pub(crate) replaced: Option<A>,
    pub(crate) old: Option<Outcome<R>>,
    pub(crate) unused: Option<Result<R, Failure>>,
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
    pub(crate) fn is_foreign(&self) -> bool {
        let args = self.args.is_some() || self.replaced.is_some();
        let old = self.old.as_ref().is_some_and(Outcome::is_foreign);
        let unused = match &self.unused {
            Some(Ok(_)) => needs_drop::<R>(),
            Some(Err(unused)) => unused.is_foreign(),
            None => false,
        };
        (args && needs_drop::<A>()) || old || unused
    }
}

impl<A, R> Drop for State<A, R> {
    /// All of it is foreign, and whoever drops the last handle of a job is not to
    /// be hit by its panic.
    fn drop(&mut self) {
        match std::mem::replace(&mut self.args, Args::None) {
            Args::None => {}
            Args::Some(args) => drop_catching_panic(args),
            Args::Replaced(both) => drop_catching_panic(both),
        }
        if self.outcome.is_foreign() {
            drop_catching_panic(std::mem::replace(&mut self.outcome, Outcome::None));
        }
    }
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    #[inline]
    pub(crate) fn new(task: Arc<TaskDef<A, R>>, args: A, plan: Plan, is_ready: bool) -> Self {
        let cron = CronTexts::of(plan.cron());
        let mut progress = Progress::new(plan);
        progress.is_ready = is_ready;
        let mut core = JobCore::new();
        core.look = progress.look();
        Self {
            core,
            task,
            cron,
            state: Mutex::new(State::new(progress, args)),
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.task.hub
    }

    /// Takes a job apart that has not entered the table.
    pub(crate) fn into_args(self) -> Option<A> {
        lock(&self.state).args.take()
    }

    /// The task has given its result. One that comes too late is thrown away.
    pub(crate) fn finish(&self, attempt: u32, result: Result<R, BoxError>) -> Exit {
        let result = match result {
            Ok(value) => match self.succeed_plainly(attempt, value) {
                Ok(exit) => return exit,
                Err(value) => Ok(value),
            },
            Err(error) => Err(error),
        };
        let result = result.map_err(|error| Failure::Error(Arc::from(error)));
        drop_catching_panic(self.settle(attempt, result, Settling::BodyEnded));
        Exit::Done
    }

    pub(crate) fn key_kind(&self, state: &State<A, R>) -> Kind {
        self.task.key_kind(state.progress.is_plain())
    }

    /// A wall time, as the job shows it.
    pub(crate) fn time(&self, state: &State<A, R>, wall: WallNanos) -> OffsetDateTime {
        let zone = state.progress.zone().unwrap_or(&self.hub().zone);
        zone.time_at(wall)
    }

    /// Locks the state, with the time as closely as it takes that to go on. It is not
    /// read under the lock, and so before it, as foreseen.
    pub(crate) fn lock_with_time(
        &self,
        needed: impl Fn(&State<A, R>) -> Look,
    ) -> (MutexGuard<'_, State<A, R>>, Now) {
        let hub = self.hub();
        let mut look = if hub.events.is_read() {
            Look::Exact
        } else {
            self.core.look
        };
        let mut now = hub.clock.look(look);
        loop {
            let state = lock(&self.state);
            let needed = needed(&state);
            if needed <= look {
                return (state, now);
            }
            drop(state);
            look = needed;
            now = hub.clock.look(look);
        }
    }

    pub(crate) fn finish_up(&self, after: After<A>) {
        let hub = self.hub();
        hub.wake(after.wake);
        if after.kick {
            hub.wake_writer();
        }
        if after.ends_turn {
            hub.turn_ended();
        }
        if after.moved.is_some_and(|moved| moved.waited_for) {
            notify_all(&self.core.changed);
        }
        if let Some(control) = after.killed {
            control.kill();
        }
        hub.removed(after.removed);
        hub.events.deliver();
        drop_catching_panic(after.args);
        drop_catching_panic(after.replaced);
    }

    pub(crate) fn record_end(&self, status: JobStatus, now: Now) {
        self.hub().record(self, now, || match status {
            JobStatus::Cancelled => JobEventKind::Cancelled,
            status => JobEventKind::Ended(status),
        });
    }

    pub(crate) fn dress(&self, state: &State<A, R>, run: RunRecord) -> Run {
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
        let copy = catch_panic(|| args.clone());
        let mut state = lock(&self.state);
        let is_current = state.progress.number == attempt;
        let is_running = is_current && self.core.status.actual() == JobStatus::Running;
        let goes_on = is_current && !self.core.status.actual().is_final();
        let mut spare = Some(args);
        if goes_on && state.args.is_none() {
            spare = spare.and_then(|args| state.args.put(args));
        }
        let is_owed = state.progress.is_owed();
        drop(state);
        drop_catching_panic(spare);
        if is_owed {
            self.arguments_are_back();
        }
        if is_running {
            return Some(copy);
        }
        drop_catching_panic(copy);
        None
    }

    /// `Scheduled → Running`, if it is to run.
    fn start(&self) -> Option<Started<A>> {
        let timeout = self.task.timeout;
        let (mut state, now) = self.lock_with_time(|state| match state.progress.look() {
            _ if !state.progress.is_ready => Look::None,
            Look::None if timeout.is_some() => Look::ForShow,
            look => look,
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
        self.start_ready(state, now)
    }

    /// The rest of [`start`](JobState::start), with the lock that it took.
    fn start_ready(&self, mut state: MutexGuard<'_, State<A, R>>, now: Now) -> Option<Started<A>> {
        let hub = self.hub();
        self.core.status.start()?;
        let begun = state.progress.begin(now);
        let keep = state.progress.may_go_on(self.task.backoff.as_ref());
        let args = state.args.take();
        let mut wake = Wake::No;
        if let Some(timeout) = self.task.timeout {
            let due = Due::Mono(now.mono.saturating_add(timeout.nanos));
            state.progress.set_timer(Some(due));
            wake = hub.arm(self.core.slot, due, Kind::Look, now);
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

    /// What [`fire`](Execution::fire) and [`start`](JobState::start) come to by a
    /// longer way for most jobs that come due: it runs once, and now. `None` if it is
    /// not so.
    fn start_plainly(&self, now: Now) -> Option<Started<A>> {
        if self.task.timeout.is_some() {
            return None;
        }
        let (mut state, shown_now) = self.lock_with_time(|_| Look::None);
        let progress = &mut state.progress;
        let is_due = progress.timer().is_some_and(|due| due.is_reached(now));
        let is_free = progress.closing == Closing::No && !progress.is_occupied;
        if !is_due || !is_free || !progress.is_plain() || progress.is_ready {
            return None;
        }
        // Whatever it is that is not so, the other way finds that out.
        (self.core.status.actual() == JobStatus::Scheduled).then_some(())?;
        progress.is_ready = true;
        self.start_ready(state, shown_now)
    }

    /// Calls the function of an attempt that has started.
    fn begin_started(self: Arc<Self>, started: Started<A>) -> Option<Attempt> {
        let Started { begun, args, keep } = started;
        let number = begun.number;
        let body = match args.map(|args| self.attempt_args(number, args, keep)) {
            // The function itself is foreign, and may panic before it gives a
            // future.
            Some(Some(Ok(args))) => catch_panic(|| (self.task.body)(self.clone(), begun, args)),
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
pub(crate) enum Settling {
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
        let state = lock(&self.state);
        self.time(&state, state.progress.exec_at())
    }

    fn exec_at_wall(&self) -> WallNanos {
        lock(&self.state).progress.exec_at()
    }

    fn cron_expression(&self) -> Option<&str> {
        self.cron.get()?.get()
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

    fn result(&self, place: &mut dyn Any) {
        if let Some(place) = place.downcast_mut() {
            *place = Some(lock(&self.state).outcome.get());
        }
    }

    fn fire(&self, now: Now) -> Fired {
        let mut state = lock(&self.state);
        match self.core.status.actual() {
            JobStatus::Scheduled if state.progress.closing == Closing::Suspended => {
                return Fired::Settled;
            }
            JobStatus::Scheduled => {
                if let Some(durable) = state.progress.durable_mut()
                    && durable.catch_up == CatchUp::Waits
                {
                    durable.catch_up = CatchUp::HasTurn;
                    self.hub().turn_begins();
                }
            }
            JobStatus::Running => {
                let is_over = state
                    .progress
                    .timer()
                    .is_some_and(|due| due.is_reached(now));
                let attempt = state.progress.number;
                drop(state);
                if is_over && let Some(timeout) = self.task.timeout {
                    let failure = Failure::TimedOut(timeout.limit);
                    let leftovers = self.settle(attempt, Err(failure), Settling::Overdue);
                    // This is the timer's thread, where nothing foreign runs.
                    if leftovers.is_foreign() {
                        self.hub().drop_on_executor(Box::new(leftovers));
                    }
                }
                return Fired::Settled;
            }
            _ => return Fired::Settled,
        }
        let hub = self.hub();
        match state.progress.durable().map(|durable| durable.mark) {
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
            Tock::NotYet => {
                let mut after = After::default();
                if state
                    .progress
                    .timer()
                    .is_some_and(|due| !due.is_reached(now))
                {
                    // The wall clock was set back, or the key was that of a turn.
                    after.ends_turn = state.progress.end_turn();
                    after.wake = self.arm_again(&state, now);
                }
                drop(state);
                self.finish_up(after);
                Fired::Settled
            }
            Tock::Start | Tock::StartMissed(_) => {
                let is_marked = self.is_at_most_once(&state);
                if is_marked {
                    self.mark_start(&mut state, now);
                }
                drop(state);
                hub.events.deliver();
                if is_marked {
                    hub.wake_writer();
                    return Fired::Settled;
                }
                Fired::Start
            }
            Tock::Later { due, .. } => {
                let after = After {
                    wake: hub.arm(self.core.slot, due, self.key_kind(&state), now),
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
                    hub.drop_on_executor(Box::new(args));
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
        let wake = hub.arm(self.core.slot, due, self.key_kind(&state), now);
        drop(state);
        hub.wake(wake);
    }

    fn begin(self: Arc<Self>) -> Option<Attempt> {
        let started = self.start()?;
        self.begin_started(started)
    }

    fn fire_and_begin(self: Arc<Self>, now: Now) -> Option<Attempt> {
        if let Some(started) = self.start_plainly(now) {
            return self.begin_started(started);
        }
        match self.fire(now) {
            Fired::Start => self.begin(),
            Fired::Settled => None,
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
            spare = spare.and_then(|args| state.args.put(args));
        }
        let is_owed = state.progress.is_owed();
        drop(state);
        drop_catching_panic(spare);
        if is_owed {
            self.arguments_are_back();
        }
        self.mishap(begun.number, Mishap::Dropped);
        self.body_gone(begun.number);
    }

    fn mishap(&self, attempt: u32, what: Mishap) {
        let (failure, how) = match what {
            Mishap::Panicked(message) => (Failure::Panicked(message), Settling::BodyFailed),
            Mishap::Dropped => (Failure::executor_dropped(), Settling::Dropped),
        };
        drop_catching_panic(self.settle(attempt, Err(failure), how));
    }

    fn body_gone(&self, attempt: u32) {
        let (mut state, now) =
            self.lock_with_time(|state| Look::exact_if(state.progress.is_overdue));
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
        let control = state.progress.control().clone();
        drop(state);
        if is_asked {
            control.ask();
        }
        control
    }

    fn leave(&self) {
        let hub = self.hub();
        hub.removed(hub.remove(self.core.slot));
    }

    fn cancel(&self, how: Cancelling) -> Cancelled {
        let hub = self.hub();
        let (mut state, now) = self.lock_with_time(|state| match how {
            Cancelling::Cancel => Look::None,
            Cancelling::Abort => state.progress.look(),
            Cancelling::Shutdown => Look::exact_if(state.progress.is_durable()),
        });
        let mut after = After::default();
        let reply;
        match (self.core.status.actual(), how) {
            (JobStatus::Scheduled, Cancelling::Shutdown) if state.progress.is_durable() => {
                if state.progress.closing == Closing::Suspended {
                    // By a shutdown before this one.
                    return Cancelled::now(false);
                }
                after.kick = self.take_back_mark(&mut state, now);
                state.progress.closing = Closing::Suspended;
                state.progress.is_ready = false;
                after.removed = hub.suspend(self.core.slot);
                drop(state);
                self.finish_up(after);
                return Cancelled::now(false);
            }
            (JobStatus::Scheduled, _) => {
                let show;
                (show, reply) = match self.store_cancel(&mut state) {
                    Forgetting::NotStored => (Show::Now, None),
                    Forgetting::Asked(show, reply) => (show, Some(reply)),
                    // It is another process's now.
                    Forgetting::Closed(reply) => {
                        let reply = Some(reply);
                        return Cancelled { did: false, reply };
                    }
                };
                if state.progress.closing == Closing::Suspended {
                    hub.take_back();
                }
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
                (show, reply) = match self.store_cancel(&mut state) {
                    Forgetting::NotStored => (Show::Now, None),
                    Forgetting::Asked(show, reply) => (show, Some(reply)),
                    Forgetting::Closed(reply) => (Show::Now, Some(reply)),
                };
                if show == Show::WhenStored && run.is_some() {
                    state.progress.hide_run(before);
                }
                after.moved = self.core.status.finish(JobStatus::Cancelled, show);
                after.replaced = state.args.take_replacement().map(|new| new.args);
                after.killed = state.progress.take_control();
            }
            (JobStatus::Running, Cancelling::Cancel) => {
                let goes_on = state.progress.is_recurring() || state.args.replacement().is_some();
                let is_open = matches!(state.progress.closing, Closing::No | Closing::Suspended);
                if !goes_on || !is_open {
                    return Cancelled::now(false);
                }
                state.progress.closing = Closing::Cancelled;
                let reply = self.store_forget(&mut state);
                drop(state);
                if reply.is_some() {
                    hub.wake_writer();
                }
                return Cancelled { did: true, reply };
            }
            (JobStatus::Running, Cancelling::Shutdown) => {
                if state.progress.closing == Closing::No {
                    // By what follows the run.
                    let is_durable = match state.args.replacement() {
                        Some(new) => new.plan.is_durable,
                        None => state.progress.is_durable(),
                    };
                    state.progress.closing = if is_durable {
                        Closing::Suspended
                    } else {
                        Closing::Shutdown
                    };
                }
                let control = state.progress.control_if_any().cloned();
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

    fn reconcile_record(&self) -> bool {
        self.reconcile()
    }

    fn let_go(self: Arc<Self>) {
        if Arc::strong_count(&self) == 1 {
            // Not the task: that would be the last to have the function, and drop it here.
            let hub = self.task.hub.clone();
            hub.drop_on_executor(Box::new(self));
        } else {
            // Whoever else has it may let go of it first.
            drop_catching_panic(self);
        }
    }
}
