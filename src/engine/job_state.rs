//! [`JobState`]: a job with its types, under its lock.
//!
//! The files beside this one implement the traits of `job/live_job.rs` for it. All of them
//! follow one pattern: take the lock of the job, let the [`Lifecycle`] decide, carry that
//! out ([`JobState::follow`]), unlock the job ([`JobState::unlock`]), and only then
//! drop values of users, wake waiters and touch the timer.

use std::any::Any;
use std::mem::needs_drop;

use crate::calendar::timeline::Timeline;
use crate::engine::args::Args;
use crate::engine::discarded::{Discarded, DropOn};
use crate::engine::end_call::EndCall;
use crate::engine::group::GroupDef;
use crate::engine::hub::{Hub, Live, Removed};
use crate::engine::limits::{KeyOf, TaskLimits};
use crate::engine::pause_switch::PauseSwitch;
use crate::job::checkpoint::{CheckpointWaiter, NotSet};
use crate::job::codec::{ArgsCodec, SharedCodec};
use crate::job::decisions::Decisions;
use crate::job::definition::{ArgsKeys, Timeout};
use crate::job::end_record::KeepFailed;
use crate::job::last_result::{Failure, LastResult};
use crate::job::lifecycle::{Begun, Holds, Lifecycle};
use crate::job::live_job::{Body, JobCore, LiveJob, StoredJob};
use crate::job::middleware::Layer;
use crate::job::phase::{Effects, Phase};
use crate::job::plan::Plan;
use crate::job::position::RunSummary;
use crate::job::stop::Control;
use crate::job::sync_state::CommitWaiter;
use crate::job::typed_middleware::TypedLayer;
use crate::registry::pending::PendingCounts;
use crate::registry::table::Wake;
use crate::storage::inbox::Message;
use crate::storage::job_ref::JobRef;
use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Mutex, MutexGuard, lock};
use crate::timer::key::KeyKind;
use crate::value::app_clock::ClockPrecision;
use crate::value::backoff::Backoff;
use crate::value::encoded::Encoded;
use crate::value::end_of_job::{EndOfJob, OnEnd};
use crate::value::error::{BoxError, ScheduleError, StorageError};
use crate::value::event::{Event, JobEvent, JobEventKind};
use crate::value::id::JobId;
use crate::value::labels::Labels;
use crate::value::run::Run;
use crate::value::schedule_request::OnSchedule;
use crate::value::status::JobStatus;
use crate::value::time_units::{Due, Now, WallNanos};

/// The longest key of a limit by key, in bytes.
const MAX_KEY_BYTES: usize = 256;

/// A registered task.
///
/// The alignment keeps it apart from the counts of its `Arc`, which change with each job.
#[repr(align(128))]
pub(crate) struct TaskDef<A, R> {
    pub(crate) name: Arc<str>,
    /// The name, then the aliases.
    pub(crate) names: Box<[Arc<str>]>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) group: Option<Arc<GroupDef>>,
    pub(crate) is_blocking: bool,
    /// An attempt can end with an error, which may be a `Snooze`.
    pub(crate) may_snooze: bool,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) pause: PauseSwitch,
    pub(crate) priority: i8,
    /// The tags and notes of all its jobs.
    pub(crate) labels: Labels,
    /// `None` if nothing limits its jobs.
    pub(crate) limits: Option<Box<TaskLimits<A>>>,
    /// How many of its jobs, and of those of its app, may be live.
    pub(crate) pending: PendingCounts,
    pub(crate) durability: Option<Durability<A>>,
    /// Of its arguments and checkpoints. `None` for JSON.
    pub(crate) codec: Option<SharedCodec>,
    /// They see each job that is about to be scheduled: those of the app and of the groups.
    pub(crate) on_schedule: Box<[OnSchedule]>,
    /// They see the arguments of each job that is about to be scheduled.
    pub(crate) checks: Box<[ArgsCheck<A>]>,
    /// `None` if no function decides about failed attempts.
    pub(crate) decisions: Option<Box<Decisions<R>>>,
    /// They see how its jobs end.
    pub(crate) on_end: Arc<[OnEnd]>,
    /// `None` if it has no middleware.
    pub(crate) around: Option<Middleware<A, R>>,
    pub(crate) body: BodyMaker<A, R>,
}

/// The middleware of each attempt of a task, the outermost first.
pub(crate) struct Middleware<A, R> {
    pub(crate) layers: Arc<[Layer]>,
    /// Inside of the others.
    pub(crate) typed: Arc<[TypedLayer<A, R>]>,
}

// Not derived: that would ask for arguments and values that are `Clone`.
impl<A, R> Clone for Middleware<A, R> {
    fn clone(&self) -> Self {
        Self {
            layers: self.layers.clone(),
            typed: self.typed.clone(),
        }
    }
}

/// What only a durable task has.
pub(crate) struct Durability<A> {
    pub(crate) args_codec: ArgsCodec<A>,
    /// The intent to start an attempt is stored before the attempt starts.
    pub(crate) at_most_once: bool,
    /// How many ends of failed jobs are kept, and for how long. `None`: as the app says.
    pub(crate) keep_failed: Option<KeepFailed>,
    /// With this many interruptions a job is set aside.
    pub(crate) max_interruptions: u32,
    /// The longest arguments in the store, in bytes.
    pub(crate) max_args_bytes: usize,
}

/// Sees the arguments of a job that is about to be scheduled. Code of a user.
pub(crate) type ArgsCheck<A> = Box<dyn Fn(&mut A) -> Result<(), BoxError> + Send + Sync>;

/// Calls the function of a task. Here the type of the function ends.
pub(crate) type BodyMaker<A, R> = Box<dyn Fn(Arc<JobState<A, R>>, Begun, A) -> Body + Send + Sync>;

impl<A, R> TaskDef<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Whether the task, a group that it is in, or the app is paused.
    pub(crate) fn is_paused(&self) -> bool {
        let of_groups = || self.group.as_ref().is_some_and(|group| group.is_paused());
        self.pause.is_paused() || self.hub.pause.is_paused() || of_groups()
    }

    /// The pauses that hold its jobs: of the app, of the groups, of the task.
    pub(crate) fn pauses(&self) -> impl Iterator<Item = &PauseSwitch> {
        let groups = self.group.iter().flat_map(|group| group.with_parents());
        let of_groups = groups.map(|group| &group.pause);
        [&self.hub.pause, &self.pause].into_iter().chain(of_groups)
    }

    /// Who handles a job that comes due. If there may be more to it than to start it,
    /// that is the timer.
    /// `runs_once`: in memory.
    pub(crate) fn key_kind(&self, runs_once: bool) -> KeyKind {
        if runs_once && !self.is_blocking {
            KeyKind::Start
        } else {
            KeyKind::Decide
        }
    }

    /// The arguments as they are stored, if the task is durable.
    pub(crate) fn encode(&self, args: &A) -> Option<Result<Encoded, ScheduleError>> {
        let durability = self.durability.as_ref()?;
        let task = || self.name.to_string();
        let max = durability.max_args_bytes;
        let encoded = durability.args_codec.encode(self.codec.as_ref(), args);
        Some(match encoded {
            Ok(value) if value.bytes().len() > max => Err(ScheduleError::ArgumentsTooLong {
                task: task(),
                bytes: value.bytes().len(),
                max,
            }),
            Ok(value) => Ok(value),
            Err(reason) => Err(ScheduleError::Arguments {
                task: task(),
                reason,
            }),
        })
    }

    /// The keys of the arguments, by which the task has these limits and rates. Code of a user.
    pub(crate) fn keys(&self, limits: &TaskLimits<A>, args: &A) -> Result<ArgsKeys, ScheduleError> {
        let limit = limits.by.as_ref().map(|by| &by.key);
        let rate = limits.rate_by.as_ref().map(|by| &by.key);
        Ok(ArgsKeys {
            limit: self.key(args, "limit_by", limit)?,
            rate: self.key(args, "rate_by", rate)?,
        })
    }

    fn key(
        &self,
        args: &A,
        option: &'static str,
        key: Option<&KeyOf<A>>,
    ) -> Result<Option<Arc<str>>, ScheduleError> {
        let Some(key) = key else { return Ok(None) };
        let task = || self.name.to_string();
        match catch_panic(|| key(args)) {
            Ok(key) if key.len() > MAX_KEY_BYTES => Err(ScheduleError::KeyTooLong {
                task: task(),
                option,
                bytes: key.len(),
                max: MAX_KEY_BYTES,
            }),
            Ok(key) => Ok(Some(key.into())),
            Err(message) => Err(ScheduleError::Key {
                task: task(),
                option,
                message,
            }),
        }
    }

    /// The live job of this id, if it is one of this task.
    pub(crate) fn live(self: &Arc<Self>, id: &JobId) -> Option<Arc<JobState<A, R>>> {
        self.own(self.hub.find(id)?)
    }

    /// Whether the live job of this id is one of another task.
    pub(crate) fn is_of_another_task(self: &Arc<Self>, id: &JobId) -> bool {
        let job = self.hub.find(id);
        job.is_some_and(|job| self.own(job).is_none())
    }

    fn own(self: &Arc<Self>, job: Arc<dyn LiveJob>) -> Option<Arc<JobState<A, R>>> {
        let job: Arc<dyn Any + Send + Sync> = job;
        let job = job.downcast::<JobState<A, R>>().ok()?;
        Arc::ptr_eq(&job.task, self).then_some(job)
    }
}

/// One job, with the types of its arguments and its value.
///
/// The order puts what every move touches next to the counts of the `Arc`: among a million
/// jobs, each cache line is a miss.
#[repr(C)]
pub(crate) struct JobState<A, R> {
    pub(crate) core: JobCore,
    pub(crate) task: Arc<TaskDef<A, R>>,
    state: Mutex<State<A, R>>,
}

/// What the lock of a job guards.
pub(crate) struct State<A, R> {
    pub(crate) life: Lifecycle,
    pub(crate) args: Args<A>,
    /// Of the last run that ended.
    pub(crate) last_result: LastResult<R>,
}

/// What is left to do when the lock of the job is gone.
#[must_use]
pub(crate) struct AfterLock<A, R> {
    pub(crate) is_waited_for: bool,
    pub(crate) wake: Wake,
    wakes_writer: bool,
    /// The writer takes no message about the job any more.
    is_refused: bool,
    pub(crate) ends_turn: bool,
    /// A pause holds the job from now on: perhaps no other job is live.
    pub(crate) may_be_idle: bool,
    pub(crate) removed: Removed,
    /// The job has left the live jobs.
    leaves: bool,
    /// Other jobs that may have their limits now.
    pub(crate) granted: Vec<Live>,
    /// The cancellation state of the attempt that must stop at once.
    pub(crate) force_stopped: Option<Arc<Control>>,
    /// The end of the job can be seen: functions of the program are to be called.
    end_call: Option<EndCall>,
    /// To callers that have set a checkpoint.
    pub(crate) checkpoint_replies: Vec<(CheckpointWaiter, Result<Option<CommitWaiter>, NotSet>)>,
    pub(crate) discarded: Discarded<A, R>,
}

impl<A, R> Default for AfterLock<A, R> {
    fn default() -> Self {
        Self {
            is_waited_for: false,
            wake: Wake::No,
            wakes_writer: false,
            is_refused: false,
            ends_turn: false,
            may_be_idle: false,
            removed: Removed::default(),
            leaves: false,
            granted: Vec::new(),
            force_stopped: None,
            end_call: None,
            checkpoint_replies: Vec::new(),
            discarded: Discarded::default(),
        }
    }
}

impl<A, R> State<A, R> {
    /// Whether the job, which has ended, runs once and could not start in time.
    fn has_expired(&self) -> bool {
        !self.life.is_recurring() && self.last_result.is_expired()
    }
}

impl<A, R> Drop for State<A, R> {
    /// These are values of users. A panic in their drop must not reach the thread that
    /// drops the last handle of the job.
    fn drop(&mut self) {
        match std::mem::replace(&mut self.args, Args::None) {
            Args::None => {}
            args => drop_catching_panic(args),
        }
        if self.last_result.runs_user_code() {
            drop_catching_panic(std::mem::replace(&mut self.last_result, LastResult::None));
        }
    }
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// `is_ready`: it goes to the executor at once.
    #[inline]
    pub(crate) fn new(
        task: Arc<TaskDef<A, R>>,
        args: Option<A>,
        plan: Plan,
        is_ready: bool,
    ) -> Self {
        Self::of(task, args, Lifecycle::new(plan, is_ready))
    }

    #[inline]
    pub(crate) fn of(task: Arc<TaskDef<A, R>>, args: Option<A>, life: Lifecycle) -> Self {
        let mut core = JobCore::new();
        core.precision = precision_needed(&life);
        Self {
            core,
            task,
            state: Mutex::new(State {
                life,
                args: Args::of(args),
                last_result: LastResult::None,
            }),
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.task.hub
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<A, R>> {
        lock(&self.state)
    }

    /// This job, as its table has it. `None` if it is in none.
    pub(crate) fn as_live(&self) -> Option<Live> {
        let job = self.hub().at(self.core.slot)?;
        if std::ptr::addr_eq(Arc::as_ptr(&job), self) {
            return Some(job);
        }
        job.drop_safely();
        None
    }

    /// Takes a job apart that has not entered the table.
    pub(crate) fn into_args(self) -> Option<A> {
        self.lock().args.take()
    }

    pub(crate) fn key_kind(&self, state: &State<A, R>) -> KeyKind {
        self.task.key_kind(state.life.runs_once_in_memory())
    }

    /// The longest time of an attempt: that of the job, or of its task. None if its runs become
    /// jobs of their own.
    pub(crate) fn timeout(&self, state: &State<A, R>) -> Option<Timeout> {
        if state.life.max_spawned().is_some() {
            return None;
        }
        let own = state.life.definition().and_then(|own| own.timeout);
        own.or(self.task.timeout)
    }

    /// How a failed attempt is retried: as the job says, or its task. Not at all if its runs become
    /// jobs of their own.
    pub(crate) fn backoff<'a>(&'a self, state: &'a State<A, R>) -> Option<&'a Backoff> {
        if state.life.max_spawned().is_some() {
            return None;
        }
        let own = state.life.definition();
        let own = own.and_then(|own| own.backoff.as_deref());
        own.or(self.task.backoff.as_ref())
    }

    /// What keeps the attempts of all jobs of the task from starting.
    pub(crate) fn holds(&self) -> Holds {
        let hub = self.hub();
        Holds {
            is_stopping: hub.is_stopping(),
            is_paused: self.task.is_paused(),
        }
    }

    pub(crate) fn is_at_most_once(&self) -> bool {
        let durability = self.task.durability.as_ref();
        durability.is_some_and(|durability| durability.at_most_once)
    }

    /// Locks the job, with the time as exactly as it is needed. A clock may be code of a
    /// user, and is not read under the lock: so it is read before, as exactly as was
    /// foreseen, and again if that was not enough.
    pub(crate) fn lock_with_time(
        &self,
        needed: impl Fn(&State<A, R>) -> ClockPrecision,
    ) -> (MutexGuard<'_, State<A, R>>, Now) {
        let precision = if self.hub().events.is_read() {
            ClockPrecision::Exact
        } else {
            self.core.precision
        };
        // Its event may have to wait for the publication, with its time.
        let for_event = |state: &State<A, R>| match state.life.concerns_store() {
            true => ClockPrecision::Cached,
            false => ClockPrecision::Unread,
        };
        self.lock_with_time_from(precision, |state| needed(state).max(for_event(state)))
    }

    /// [`lock_with_time`](JobState::lock_with_time), where this precision is foreseen.
    pub(crate) fn lock_with_time_from(
        &self,
        mut precision: ClockPrecision,
        needed: impl Fn(&State<A, R>) -> ClockPrecision,
    ) -> (MutexGuard<'_, State<A, R>>, Now) {
        let hub = self.hub();
        let mut now = hub.clock.read(precision);
        loop {
            let state = self.lock();
            let needed = needed(&state);
            if needed <= precision {
                return (state, now);
            }
            drop(state);
            precision = needed;
            now = hub.clock.read(precision);
        }
    }

    /// A wall time in the zone of the job.
    pub(crate) fn time(&self, state: &State<A, R>, wall: WallNanos) -> time::OffsetDateTime {
        state.life.zone().unwrap_or(&self.hub().zone).time_at(wall)
    }

    pub(crate) fn run(&self, state: &State<A, R>, run: RunSummary) -> Run {
        Run {
            number: run.number,
            nominal_time: self.time(state, run.nominal),
            started_at: self.time(state, run.started_at),
            finished_at: self.time(state, run.finished_at),
            status: run.status,
        }
    }

    /// Sends an event, if anybody reads events. While the present state of the job is
    /// hidden, the event waits for the publication: a reader that begins before that
    /// sees it.
    pub(crate) fn event(
        &self,
        state: &mut State<A, R>,
        now: Now,
        kind: impl FnOnce(&State<A, R>) -> JobEventKind,
    ) {
        let hub = self.hub();
        if state.life.is_hidden() {
            let kind = kind(state);
            state.life.hide_event(now.wall, kind);
        } else if hub.events.is_read() {
            let kind = kind(state);
            self.send_event(hub.event_time(now), kind);
        }
    }

    fn send_event(&self, at: WallNanos, kind: JobEventKind) {
        let hub = self.hub();
        hub.events.record(Event::Job(JobEvent {
            at: hub.time(at),
            id: self.core.id.clone(),
            task: self.task.name.clone(),
            kind,
        }));
    }

    /// Carries out what a transition asks for.
    pub(crate) fn follow(
        &self,
        state: &mut State<A, R>,
        effects: Effects,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        let hub = self.hub();
        let is_hidden = state.life.is_hidden();
        if is_hidden && effects.leaves {
            self.end_event(state, now);
        }
        // The message of an end is sent before its id is free.
        if effects.changes_row && state.life.row_changed() {
            self.send_changed(state, after);
        }
        if !state.life.phase().is_running() {
            self.answer_checkpoints(state, after);
        }
        if effects.leaves {
            // Before its end can be seen: a caller that has seen it finds room.
            self.task.pending.leave();
            after.leaves = true;
            let definition = state.life.definition();
            if let Some(by) = definition.and_then(|own| own.spawned_by.as_deref()) {
                hub.spawned.remove(&by.job, &self.core.id);
            }
            if state.life.is_unique() {
                let ended_at = hub.event_time(now);
                if let Some(taken) = state.life.take_id(ended_at) {
                    hub.take_id(self.core.id.clone(), taken, ended_at);
                }
            }
            after.discarded.args = state.args.replace(None);
            after.ends_turn |= state.life.end_turn();
            if state.life.take_left() {
                hub.uncount_left();
            }
        }
        if effects.arms {
            state.life.clear_overdue();
            if !hub.is_stopping() {
                if let Some(due) = state.life.timer() {
                    after.wake |= hub.arm(self.core.slot, due, self.key_kind(state), now);
                }
            } else if state.life.leave_to_next_process() {
                after.removed = hub.leave_to_next_process(self.core.slot);
            }
        }
        if effects.force_stops
            && let Some(control) = state.life.take_control()
        {
            after.force_stopped = Some(control);
        }
        // The end of a job in memory is visible although the store can not be asked any
        // more: the next process does not know the job.
        let is_store_closed = || hub.store.as_ref().is_none_or(|store| !store.is_open());
        let is_forgotten = || effects.leaves && !state.life.is_durable() && is_store_closed();
        if state.life.is_tried() || is_forgotten() {
            self.publish(state, after);
            state.life.drop_unused_sync();
        }
        // After the status: a reader that began before it sees the event.
        if !is_hidden && effects.leaves {
            self.end_event(state, now);
        }
        // Before it leaves: it must not be counted twice.
        if state.life.is_counted_as_held() || state.life.is_held_by_pause(self.holds()) {
            self.recount_held(state, after);
        }
        self.release_limits(state, true, after);
        // At last: a shutdown that finds no live job returns, and the next job of the id
        // has events of its own.
        if effects.leaves {
            after.removed = hub.remove(self.core.slot);
        }
    }

    /// An attempt has ended: what it has not stored yet is part of the row, if a retry follows.
    fn answer_checkpoints(&self, state: &mut State<A, R>, after: &mut AfterLock<A, R>) {
        for waiter in state.life.take_checkpoint_waiters() {
            let reply = match state.life.has_retry() {
                true => Ok(state.life.wait_for_store().map(|(waiter, needs_message)| {
                    if needs_message {
                        self.send_changed(state, after);
                    }
                    waiter
                })),
                false => Err(NotSet::AttemptOver),
            };
            after.checkpoint_replies.push((waiter, reply));
        }
    }

    fn end_event(&self, state: &mut State<A, R>, now: Now) {
        if let Phase::Ended(status) = state.life.phase() {
            self.event(state, now, |state| match status {
                JobStatus::Cancelled if state.has_expired() => JobEventKind::Expired,
                JobStatus::Cancelled => JobEventKind::Cancelled,
                status => JobEventKind::Ended(status),
            });
        }
    }

    /// Does what [`follow`](JobState::follow) and [`unlock`](JobState::unlock) do for a plain
    /// job that has ended. `leaves_later`: the caller takes it out of the table.
    ///
    /// Returns the jobs that may have their limits now, for the caller to start. Before it drops a
    /// user's value, it starts them itself: that drop may wait for them.
    ///
    /// For `due` of `benches/peers` this saves 13 % of the instructions, for `hold` (schedule
    /// and cancel) 7 %.
    pub(crate) fn end_plain(
        &self,
        mut state: MutexGuard<'_, State<A, R>>,
        now: Now,
        leaves_later: bool,
    ) -> Vec<Live> {
        let hub = self.hub();
        let args = state.args.take();
        // Before its end can be seen: a caller that has seen it finds room.
        self.task.pending.leave();
        let is_waited_for = self.core.status.publish(state.life.phase().status());
        let end_call = self.end_call(&state);
        self.end_event(&mut state, now);
        if state.life.is_counted_as_held() {
            self.recount_held(&mut state, &mut AfterLock::default());
        }
        let mut after = AfterLock::default();
        self.release_limits(&mut state, true, &mut after);
        let removed = (!leaves_later).then(|| hub.remove(self.core.slot));
        drop(state);
        if is_waited_for {
            notify_all(&self.core.changed);
        }
        if let Some(removed) = removed {
            hub.removed(removed);
        }
        if let Some(call) = end_call {
            hub.call_on_end(call);
        }
        self.task.pending.notify();
        hub.events.wake_readers();
        if needs_drop::<A>() && args.is_some() {
            hub.start_granted(std::mem::take(&mut after.granted));
        }
        drop_catching_panic(args);
        after.granted
    }

    /// Sends the writer a message that the row has changed. A stop empties the tables before
    /// it closes the store.
    pub(crate) fn send_changed(&self, state: &State<A, R>, after: &mut AfterLock<A, R>) {
        let hub = self.hub();
        let Some(store) = &hub.store else { return };
        let job = hub.at(self.core.slot).map(|job| JobRef::new(job));
        let sent = job.map(|job| {
            store.send(match state.life.carried_by() {
                Some(by) => Message::CarriedChanged {
                    by: by.clone(),
                    job,
                },
                None => Message::Changed(job),
            })
        });
        match sent {
            Some(Ok(())) => after.wakes_writer = true,
            Some(Err(_)) | None => after.is_refused = true,
        }
    }

    /// The call of the functions of the program, if the job has ended and there are any.
    fn end_call(&self, state: &State<A, R>) -> Option<EndCall> {
        let functions = &self.task.on_end;
        let status = state.life.phase().status();
        if functions.is_empty() || !status.is_final() {
            return None;
        }
        let failure = state.last_result.failure();
        let has_failed = !matches!(status, JobStatus::Success | JobStatus::Cancelled);
        let end = EndOfJob {
            id: self.core.id.clone(),
            task: self.task.name.clone(),
            status,
            error: failure.filter(|_| has_failed).map(Failure::to_error),
            attempts: state.life.attempts_begun(),
            is_set_aside: false,
        };
        Some(EndCall::new(&self.hub().end_calls, functions, end))
    }

    /// Makes the present state visible: last the status, then the events.
    pub(crate) fn publish(&self, state: &mut State<A, R>, after: &mut AfterLock<A, R>) {
        let was_final = self.core.status.get().is_final();
        self.publish_status(state, after);
        if !was_final {
            after.end_call = self.end_call(state);
        }
    }

    fn publish_status(&self, state: &mut State<A, R>, after: &mut AfterLock<A, R>) {
        if !state.life.is_hidden() {
            let status = state.life.phase().status();
            after.is_waited_for |= self.core.status.publish(status);
            return;
        }
        let events = state.life.publish_now();
        let shown_before = state.last_result.publish();
        if shown_before.runs_user_code() {
            after.discarded.last_result = shown_before;
        }
        let status = state.life.phase().status();
        after.is_waited_for |= self.core.status.publish(status);
        if self.hub().events.is_read() {
            for (at, kind) in events {
                self.send_event(at, kind);
            }
        }
    }

    /// If the job came due while it could not start, and now can: has the timer come.
    pub(crate) fn arm_if_overdue(
        &self,
        state: &mut State<A, R>,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        let hub = self.hub();
        if let Some(due) = state.life.take_overdue(self.holds()) {
            after.wake |= hub.arm(self.core.slot, due, self.key_kind(state), now);
        } else if state.life.is_intent_stored() && !hub.is_stopping() {
            let due = Due::Mono(now.mono);
            after.wake |= hub.arm(self.core.slot, due, KeyKind::Decide, now);
        }
    }

    /// Whether to drop the job runs code of a user, apart from the function of its task.
    pub(crate) fn has_values_to_drop(&self) -> bool {
        let state = self.lock();
        let has_args = !state.args.is_none() && needs_drop::<A>();
        has_args || state.last_result.runs_user_code()
    }

    /// Lets go of the lock, and does what is not done under it.
    pub(crate) fn unlock(
        &self,
        state: MutexGuard<'_, State<A, R>>,
        after: AfterLock<A, R>,
        drop_on: DropOn,
    ) {
        let granted = self.unlock_returning_granted(state, after, drop_on);
        self.start_granted(granted, drop_on);
    }

    /// Starts these jobs, which may have their limits now.
    pub(crate) fn start_granted(&self, granted: Vec<Live>, drop_on: DropOn) {
        match drop_on {
            DropOn::ThisThread => self.hub().start_granted(granted),
            // This thread calls no executor here. The timer does, in its next step.
            DropOn::Executor => self.hub().leave_granted_to_timer(granted),
        }
    }

    /// [`unlock`](JobState::unlock), but returns the jobs that may have their limits now, for the
    /// caller to start. Before it drops a user's value, it starts them itself: that drop may wait for
    /// them.
    pub(crate) fn unlock_returning_granted(
        &self,
        state: MutexGuard<'_, State<A, R>>,
        mut after: AfterLock<A, R>,
        drop_on: DropOn,
    ) -> Vec<Live> {
        drop(state);
        let hub = self.hub();
        hub.wake(after.wake);
        if after.wakes_writer {
            hub.wake_writer();
        }
        if after.is_refused {
            for waiter in self.close() {
                waiter.send(Err(StorageError::Closed));
            }
        }
        if after.ends_turn {
            hub.turn_ended();
        }
        if after.may_be_idle {
            hub.notify_if_idle();
        }
        if after.is_waited_for {
            notify_all(&self.core.changed);
        }
        if let Some(control) = after.force_stopped {
            control.force_stop();
        }
        for (waiter, reply) in after.checkpoint_replies.drain(..) {
            waiter.send(reply);
        }
        hub.removed(after.removed);
        if after.leaves {
            self.task.pending.notify();
        }
        if let Some(call) = after.end_call {
            hub.call_on_end(call);
        }
        hub.events.wake_readers();
        if after.discarded.runs_user_code() {
            self.start_granted(std::mem::take(&mut after.granted), drop_on);
        }
        self.discard(after.discarded, drop_on);
        after.granted
    }

    /// Drops values of users where that may be done.
    #[inline]
    pub(crate) fn discard(&self, discarded: Discarded<A, R>, drop_on: DropOn) {
        if discarded.runs_user_code() {
            match drop_on {
                DropOn::ThisThread => drop_catching_panic(discarded),
                DropOn::Executor => self.hub().drop_on_executor(Box::new(discarded)),
            }
        }
    }
}

/// How exactly the start and the end of an attempt have to know the time.
pub(crate) fn precision_needed(life: &Lifecycle) -> ClockPrecision {
    match life.definition() {
        None => ClockPrecision::Unread,
        Some(definition) if definition.is_durable() || definition.expires.is_some() => {
            ClockPrecision::Exact
        }
        Some(definition) => match definition.recurring() {
            None => ClockPrecision::Unread,
            Some(recurring) => match recurring.series.timeline() {
                Timeline::Mono => ClockPrecision::Cached,
                Timeline::Wall => ClockPrecision::Exact,
            },
        },
    }
}
