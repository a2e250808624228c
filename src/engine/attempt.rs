//! The attempts of a job: how they begin, how they end.

use std::mem::needs_drop;
use std::time::Duration;

use crate::engine::deciding::LateAttempt;
use crate::engine::discarded::DropOn;
use crate::engine::hub::{Entered, Live};
use crate::engine::job_state::{AfterLock, JobState, State, precision_needed};
use crate::engine::keeping::is_failure;
use crate::executor::calling_executor::CallingExecutor;
use crate::job::last_result::{Failure, LastResult};
use crate::job::lifecycle::{
    AfterAttempt, Again, AttemptEnd, BeginOutcome, Begun, FailedEnd, TimerOutcome,
};
use crate::job::live_job::{Attempt, AttemptFailure, ExecutorJob, Exit, Fired, TimerJob};
use crate::job::phase::Phase;
use crate::job::plan::Plan;
use crate::job::position::EndReason;
use crate::job::stop::Control;
use crate::registry::table::Wake;
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, MutexGuard};
use crate::timer::key::KeyKind;
use crate::value::app_clock::ClockPrecision;
use crate::value::backoff::Backoff;
use crate::value::encoded::Encoded;
use crate::value::event::JobEventKind;
use crate::value::health::OutlivingBody;
use crate::value::retry_hint::RetryHint;
use crate::value::status::JobStatus;
use crate::value::time_units::{Now, to_nanos};

/// What ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndedBy {
    /// Its body, which is over.
    Body,
    /// A panic of its body, which is about to be dropped by its poller.
    Panic,
    /// The executor, which has dropped it.
    ExecutorDrop,
    /// Its timeout. Its body is still there.
    Timeout,
}

/// How an attempt has ended. Its parts need no lock.
struct Ended {
    failure: Option<JobStatus>,
    hint: Option<RetryHint>,
    /// The text of the error, if the store is to keep it.
    error: Option<Arc<str>>,
}

/// An attempt that has begun, without its body.
struct Started<A> {
    begun: Begun,
    args: AttemptArgs<A>,
    /// A job of its own is made for the run.
    spawned: Option<Plan>,
}

/// Where the arguments of an attempt come from.
pub(crate) enum AttemptArgs<A> {
    /// These, and the job may need them again.
    Copied(A),
    /// These, for the last time.
    Taken(A),
    /// Those of a durable job, as they are stored.
    Stored(Encoded),
    Missing,
}

impl<A, R> ExecutorJob for JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn is_blocking(&self) -> bool {
        self.task.is_blocking
    }

    fn begin(self: Arc<Self>) -> Option<Attempt> {
        let started = self.start()?;
        self.begin_started(started)
    }

    fn fire_and_begin(self: Arc<Self>, now: Now) -> Option<Attempt> {
        // A plain job needs one lock for both: 2 to 4 % fewer instructions for `due` of
        // `benches/peers`.
        let started = {
            let (mut state, shown_now) = self.lock_with_time(|_| ClockPrecision::Unread);
            let is_simple =
                state.life.is_plain() && self.task.timeout.is_none() && self.task.limits.is_none();
            match is_simple.then(|| self.decide_on_timer(&mut state, now)) {
                None => None,
                Some(TimerOutcome::Start { .. }) => Some(self.start_locked(state, shown_now)?),
                Some(_) => return None,
            }
        };
        match started {
            Some(started) => self.begin_started(started),
            None => match self.on_timer(now) {
                Fired::Start => self.begin(),
                Fired::Nothing => None,
            },
        }
    }

    fn executor_dropped(&self) {
        {
            let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Cached);
            if let Some(effects) = state.life.executor_dropped(now) {
                let mut after = AfterLock::default();
                self.follow(&mut state, effects, now, &mut after);
                self.unlock(state, after, DropOn::ThisThread);
                return;
            }
        }
        // In memory: an attempt that has failed, without a step of the task.
        let Some(Started { begun, args, .. }) = self.start() else {
            return;
        };
        let mut spare = match args {
            AttemptArgs::Copied(args) | AttemptArgs::Taken(args) => Some(args),
            AttemptArgs::Stored(_) | AttemptArgs::Missing => None,
        };
        {
            let mut state = self.lock();
            if state.life.number() == begun.number {
                // For a retry, or the next run.
                spare = spare.and_then(|args| state.args.put_back(args));
            }
        }
        drop_catching_panic(spare);
        self.fail_attempt(begun.number, AttemptFailure::Dropped);
        self.body_gone(begun.number);
    }

    fn fail_attempt(&self, attempt: u32, how: AttemptFailure) {
        let (failure, by) = match how {
            AttemptFailure::Panicked(message) => (Failure::Panicked(message), EndedBy::Panic),
            AttemptFailure::Dropped => (Failure::executor_dropped(), EndedBy::ExecutorDrop),
        };
        let granted = self.end_failed(attempt, failure, by);
        self.hub().start_granted(granted);
    }

    fn end_late(&self, attempt: u32, failure: Failure, calls_functions: bool) {
        if calls_functions {
            let granted = self.end_failed(attempt, failure, EndedBy::Timeout);
            self.hub().start_granted(granted);
        } else if !self.lock().life.is_deciding(attempt) {
            self.time_out(attempt, failure);
        }
    }

    fn body_gone(&self, attempt: u32) {
        let (mut state, now) =
            self.lock_with_time(|state| ClockPrecision::exact_if(state.life.is_overdue()));
        if state.life.number() != attempt || !state.life.has_body() {
            return;
        }
        state.life.body_gone();
        self.hub().outliving.remove(&self.core.id, attempt);
        let mut after = AfterLock::default();
        self.release_limits(&mut state, true, &mut after);
        self.arm_if_overdue(&mut state, now, &mut after);
        self.unlock(state, after, DropOn::ThisThread);
    }

    fn control(&self, attempt: u32) -> Arc<Control> {
        let mut state = self.lock();
        if state.life.number() != attempt || !state.life.phase().is_running() {
            return Arc::new(Control::stopped());
        }
        let control = state.life.control().clone();
        drop(state);
        if self.hub().is_stopping() {
            control.request_stop();
        }
        control
    }

    fn leave(&self) {
        let hub = self.hub();
        hub.removed(hub.remove(self.core.slot));
    }
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// The function of the task has returned. A result that comes too late is dropped.
    pub(crate) fn finish(&self, attempt: u32, result: Result<R, Failure>) -> Exit {
        let granted = match result {
            Ok(value) => match self.finish_plain(attempt, value) {
                Ok(exit) => return exit,
                Err(value) => self.end_attempt(
                    attempt,
                    (Ok(value), None),
                    EndedBy::Body,
                    DropOn::ThisThread,
                ),
            },
            Err(failure) => self.end_failed(attempt, failure, EndedBy::Body),
        };
        self.exit(granted)
    }

    /// The attempt is over, and these jobs have their limits now.
    fn exit(&self, granted: Vec<Live>) -> Exit {
        let hub = self.hub();
        if self.task.is_blocking {
            // Its thread polls no async attempt, and the next call may take another thread.
            hub.start_granted(granted);
            return Exit::Done;
        }
        hub.start_granted_but_one(granted)
            .map_or(Exit::Done, Exit::Granted)
    }

    /// What [`end_attempt`](JobState::end_attempt) comes to for a plain job that has
    /// succeeded. Returns the value if it is not such a job.
    fn finish_plain(&self, attempt: u32, value: R) -> Result<Exit, R> {
        if self.core.precision != ClockPrecision::Unread {
            // It was never plain.
            return Err(value);
        }
        let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Unread);
        if !state.life.succeed_if_plain(attempt) {
            return Err(value);
        }
        state.last_result = LastResult::Value(value);
        // The runner takes it out of the table later, with others, if nobody can notice: by
        // its id the next job may come at once, and a value may have a drop that somebody
        // waits for.
        let has_limits = self.task.limits.is_some();
        let leaves_later = !self.core.is_named && !needs_drop::<R>() && !has_limits;
        let granted = self.end_plain(state, now, leaves_later);
        Ok(match leaves_later {
            true => Exit::MustRemove,
            false => self.exit(granted),
        })
    }

    /// The attempt takes too long. On the thread of the timer.
    pub(crate) fn time_out(&self, attempt: u32, failure: Failure) {
        let result = (Err(failure), None);
        let granted = self.end_attempt(attempt, result, EndedBy::Timeout, DropOn::Executor);
        self.hub().leave_granted_to_timer(granted);
    }

    /// The attempt takes too long, and functions of the program may decide what follows.
    pub(crate) fn time_out_on_executor(&self, attempt: u32, failure: Failure) {
        match self.as_live().filter(|_| self.task.decisions.is_some()) {
            Some(job) => {
                let late = LateAttempt::new(job, attempt, failure);
                self.hub().end_on_executor(late);
            }
            None => self.time_out(attempt, failure),
        }
    }

    /// An attempt has failed, on a thread of the executor. The caller starts the jobs that it returns:
    /// they may have their limits now.
    fn end_failed(&self, attempt: u32, failure: Failure, by: EndedBy) -> Vec<Live> {
        // An executor may drop the attempt within `spawn`, on the thread of the timer, or of a caller
        // that holds locks. If a stop has dropped it, the next process makes it again.
        let may_ask = by != EndedBy::ExecutorDrop
            || !CallingExecutor::is_on_this_thread() && !self.hub().is_stopping();
        let decided = match may_ask {
            true => self.decide_failure(attempt, failure),
            false => Some((Err(failure), None)),
        };
        match decided {
            Some(result) => self.end_attempt(attempt, result, by, DropOn::ThisThread),
            None => {
                // The thread that decides ends it.
                if by == EndedBy::Body {
                    self.body_gone(attempt);
                }
                Vec::new()
            }
        }
    }

    /// Begins an attempt, if the job is to start.
    fn start(&self) -> Option<Started<A>> {
        let (state, now) = self.lock_with_time(|state| match precision_needed(&state.life) {
            ClockPrecision::Unread if self.timeout(state).is_some() => ClockPrecision::Cached,
            precision => precision,
        });
        self.start_locked(state, now)
    }

    fn start_locked(&self, mut state: MutexGuard<'_, State<A, R>>, now: Now) -> Option<Started<A>> {
        let hub = self.hub();
        let holds = self.holds();
        let begun = match state.life.begin(hub.reading(now), holds) {
            BeginOutcome::Begin(begun) => begun,
            BeginOutcome::Shut(effects) => {
                let mut after = AfterLock::default();
                self.follow_shut(&mut state, effects, now, &mut after);
                self.unlock(state, after, DropOn::ThisThread);
                return None;
            }
            BeginOutcome::Nothing => return None,
        };
        if state.life.is_counted_as_held() {
            self.recount_held(&mut state, &mut AfterLock::default());
        }
        self.core.status.publish(state.life.phase().status());
        let retries = self.backoff(&state).map_or(0, Backoff::retries);
        let stored = state.life.definition().and_then(|d| d.args.clone());
        let args = match stored {
            Some(value) => AttemptArgs::Stored(value),
            None => match state.args.take() {
                Some(args) if state.life.may_run_again(retries, self.task.may_snooze) => {
                    AttemptArgs::Copied(args)
                }
                Some(args) => AttemptArgs::Taken(args),
                None => AttemptArgs::Missing,
            },
        };
        let spawned = state.life.plan_spawned(&self.core.id, hub.reading(now));
        let mut wake = Wake::No;
        let timeout = self.timeout(&state);
        let timeout = timeout.map(|timeout| now.mono.saturating_add(timeout.nanos));
        if let Some(due) = state.life.plan_stop(timeout, hub.reading(now)) {
            wake = hub.arm(self.core.slot, due, KeyKind::Decide, now);
        }
        self.event(&mut state, now, |_| JobEventKind::Started {
            run: begun.run,
            attempt: begun.attempt,
        });
        drop(state);
        hub.wake(wake);
        hub.events.wake_readers();
        Some(Started {
            begun,
            args,
            spawned,
        })
    }

    /// The run that follows the running attempt has changed: the timer comes when it is due, if
    /// it cuts off the attempt.
    pub(crate) fn stop_attempt_in_time(
        &self,
        state: &mut State<A, R>,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        let hub = self.hub();
        if !state.life.phase().is_running() {
            return;
        }
        if let Some(due) = state.life.plan_stop_again(hub.reading(now)) {
            after.wake |= hub.arm(self.core.slot, due, KeyKind::Decide, now);
        }
    }

    /// Calls the function of an attempt that has started.
    fn begin_started(self: Arc<Self>, started: Started<A>) -> Option<Attempt> {
        let Started {
            begun,
            args,
            spawned,
        } = started;
        let number = begun.number;
        if let Some(plan) = spawned {
            self.spawn_run(number, args, plan);
            return None;
        }
        let args = match args {
            AttemptArgs::Taken(args) => Ok(args),
            AttemptArgs::Copied(args) => match self.copy_args(number, args) {
                Some(copy) => copy,
                None => {
                    self.body_gone(number);
                    return None;
                }
            },
            AttemptArgs::Stored(value) => self.decode(&value),
            AttemptArgs::Missing => Err("the job has no arguments left".into()),
        };
        // The function is code of a user, and may panic before it returns a future.
        let body =
            args.and_then(|args| catch_panic(|| (self.task.body)(self.clone(), begun, args)));
        match body {
            Ok(body) => Some(Attempt { number, body }),
            Err(message) => {
                self.fail_attempt(number, AttemptFailure::Panicked(message));
                self.body_gone(number);
                None
            }
        }
    }

    /// Reads the arguments of a durable job.
    fn decode(&self, value: &Encoded) -> Result<A, Arc<str>> {
        let Some(durability) = &self.task.durability else {
            return Err("the task is not durable".into());
        };
        let codec = self.task.codec.as_ref();
        // The codec and serde's implementations are code of a user.
        match catch_panic(|| durability.args_codec.decode(codec, value)) {
            Ok(Ok(args)) => Ok(args),
            Ok(Err(error)) => Err(format!("the arguments can't be read: {error}").into()),
            Err(message) => Err(message),
        }
    }

    /// A copy of the arguments for an attempt. The job keeps the arguments themselves.
    /// `None` if the attempt is over by then.
    pub(crate) fn copy_args(&self, attempt: u32, args: A) -> Option<Result<A, Arc<str>>> {
        // `clone` is code of a user: not under the lock.
        let copy = catch_panic(|| args.clone());
        let mut state = self.lock();
        let is_current = state.life.number() == attempt;
        let is_running = is_current && state.life.phase().is_running();
        let mut spare = Some(args);
        if is_current && !state.life.phase().is_ended() {
            spare = spare.and_then(|args| state.args.put_back(args));
        }
        drop(state);
        drop_catching_panic(spare);
        if is_running {
            return Some(copy);
        }
        drop_catching_panic(copy);
        None
    }

    /// The attempt of a run that becomes a job of its own ends: `new` enters the app, if the attempt
    /// was not over before.
    pub(crate) fn end_spawning(
        &self,
        attempt: u32,
        new: &mut Result<Arc<Self>, Failure>,
    ) -> Option<Entered> {
        let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Exact);
        if state.life.number() != attempt || !state.life.phase().is_running() {
            return None;
        }
        let entered = match new {
            Ok(job) => self.enter_spawned(&mut state, job, now),
            Err(failure) => Err(failure.clone()),
        };
        let (entered, result) = match entered {
            Ok(entered) => (Some(entered), Ok(None)),
            Err(failure) => (None, Err(failure)),
        };
        let by = match self.hub().is_stopping() && result.is_err() {
            // The next process makes it.
            true => EndedBy::ExecutorDrop,
            false => EndedBy::Body,
        };
        // No user has made this error.
        let ended = Ended {
            failure: result.as_ref().err().map(Failure::status),
            hint: None,
            error: (result.as_ref().err()).and_then(|error| self.text_to_keep(error)),
        };
        let granted = self.end_locked(state, now, (result, ended), by, DropOn::ThisThread);
        self.hub().start_granted(granted);
        entered
    }

    /// An attempt is over. `hint`: what functions of the program have said about a retry. The caller
    /// starts the jobs that it returns: they may have their limits now.
    fn end_attempt(
        &self,
        attempt: u32,
        (result, hint): (Result<R, Failure>, Option<RetryHint>),
        by: EndedBy,
        drop_on: DropOn,
    ) -> Vec<Live> {
        let ended = Ended {
            failure: result.as_ref().err().map(Failure::status),
            // Looks into the error of the task: not under the lock.
            hint: (result.as_ref().err())
                .map(|failure| hint.unwrap_or_else(|| failure.retry_hint())),
            error: (result.as_ref().err()).and_then(|error| self.text_to_keep(error)),
        };
        let (state, now) = self.lock_with_time(|state| match precision_needed(&state.life) {
            _ if state.life.has_next() => ClockPrecision::Exact,
            ClockPrecision::Unread if ended.failure.is_some() => ClockPrecision::Cached,
            precision => precision,
        });
        let result = result.map(Some);
        let mut after = AfterLock::default();
        if state.life.number() != attempt || !state.life.phase().is_running() {
            // It was over before.
            drop(state);
            if by == EndedBy::Body {
                self.body_gone(attempt);
            }
            after.discarded.result = Some(result);
            self.discard(after.discarded, drop_on);
            return Vec::new();
        }
        self.end_locked(state, now, (result, ended), by, drop_on)
    }

    /// The running attempt is over. Without a value, a job of its own was made for its run. The
    /// caller starts the jobs that it returns.
    fn end_locked(
        &self,
        mut state: MutexGuard<'_, State<A, R>>,
        now: Now,
        (result, ended): (Result<Option<R>, Failure>, Ended),
        by: EndedBy,
        drop_on: DropOn,
    ) -> Vec<Live> {
        let Ended {
            failure,
            hint,
            error,
        } = ended;
        let mut after = AfterLock::default();
        if by == EndedBy::Body {
            state.life.body_gone();
        }
        // The attempt has ended. Its token is set, so that nobody waits for it for ever.
        after.force_stopped = state.life.take_control();
        if self.void_attempt(&mut state, by) {
            if state.life.leave_to_next_process() {
                after.removed = self.hub().leave_to_next_process(self.core.slot);
            }
            after.discarded.result = Some(result);
            return self.unlock_returning_granted(state, after, drop_on);
        }
        let requested = after
            .force_stopped
            .as_ref()
            .map_or(RetryHint::None, |control| control.retry_hint());
        // A run that was cut off is over, whatever the attempt has asked for.
        let is_cut_off = matches!(result, Err(Failure::Overlapped));
        let hint = hint.filter(|_| !is_cut_off);
        let again = hint.and_then(|hint| match requested {
            RetryHint::None => self.again(&state, hint),
            // It stands above what the error says: the attempt has said it itself.
            requested => self.again(&state, requested),
        });
        let holds = self.holds();
        let random = || self.hub().random();
        let attempt_of_run = state.life.attempts().saturating_add(1);
        let failed = error.filter(|_| state.life.phase() == Phase::Running);
        let failed = failed.map(|error| FailedEnd {
            error,
            attempts: attempt_of_run,
            started_at: state.life.run_started_at(),
            finished_at: now.wall,
        });
        let end = state
            .life
            .end_attempt(failure, again, holds, self.hub().reading(now), random);
        after.ends_turn = state.life.end_turn();
        let result = match (end.next, result) {
            (AfterAttempt::End(_, EndReason::Expired), Err(last)) => {
                Err(expired_failure(&state, Some(last)))
            }
            (_, result) => result,
        };
        self.enter_result(&mut state, result, end, &mut after);
        if by == EndedBy::Timeout && state.life.has_body() {
            self.body_outlives(&mut state, attempt_of_run, now);
        }
        self.report(&mut state, end, now);
        if let (AfterAttempt::End(status, _), Some(failed)) = (end.next, failed)
            && state.life.is_durable()
            && is_failure(status)
        {
            state.life.keep_end(failed);
        }
        self.follow(&mut state, end.effects, now, &mut after);
        self.unlock_returning_granted(state, after, drop_on)
    }

    /// The running attempt, which is the `attempt`-th of its run, ends while its body exists.
    pub(crate) fn body_outlives(&self, state: &mut State<A, R>, attempt: u32, now: Now) {
        let shown = OutlivingBody {
            id: self.core.id.clone(),
            task: self.task.name.clone(),
            attempt,
            is_waited_for: false,
        };
        let number = state.life.number();
        self.hub().outliving.add(number, shown);
        // The future of an async task is about to be dropped.
        if self.task.is_blocking {
            self.event(state, now, |_| JobEventKind::BodyOutlives { attempt });
        }
    }

    /// Voids an attempt that was dropped while the app stops, or that ends when the store is
    /// closed, if the next process makes it again. Returns whether it does.
    fn void_attempt(&self, state: &mut State<A, R>, by: EndedBy) -> bool {
        let hub = self.hub();
        let Some(store) = hub.store.as_ref().filter(|_| state.life.concerns_store()) else {
            return false;
        };
        let is_closed = !store.is_open();
        let is_dropped = by == EndedBy::ExecutorDrop && hub.is_stopping();
        (is_closed || is_dropped) && state.life.void_attempt(is_closed)
    }

    /// When an attempt that has ended with an error is made again.
    fn again(&self, state: &State<A, R>, hint: RetryHint) -> Option<Again> {
        let hint = match hint {
            RetryHint::Snooze(delay) if !state.life.is_snoozed_too_often() => {
                return Some(Again {
                    delay: to_nanos(delay).unwrap_or(i64::MAX),
                    is_snooze: true,
                });
            }
            RetryHint::Snooze(_) => RetryHint::None,
            hint => hint,
        };
        let backoff = self.backoff(state)?;
        let attempts = state.life.attempts().saturating_add(1);
        if attempts > backoff.retries() {
            return None;
        }
        let delay = match hint {
            RetryHint::Never => return None,
            RetryHint::After(delay) => backoff.requested_delay(delay),
            RetryHint::None | RetryHint::Snooze(_) => backoff.delay(attempts, self.hub().random()),
        };
        Some(Again {
            delay: to_nanos(delay).unwrap_or(i64::MAX),
            is_snooze: false,
        })
    }

    /// Keeps the result of a run that has ended, before its status becomes visible.
    fn enter_result(
        &self,
        state: &mut State<A, R>,
        result: Result<Option<R>, Failure>,
        end: AttemptEnd,
        after: &mut AfterLock<A, R>,
    ) {
        let is_end = matches!(end.next, AfterAttempt::End(..));
        let is_hidden = state.life.is_hidden();
        if end.starts_over {
            after.discarded.last_result = state.last_result.set(LastResult::None, is_hidden);
            after.discarded.result = Some(result);
        } else if is_end || end.run.is_some() {
            after.discarded.last_result = state.last_result.set(LastResult::of(result), is_hidden);
        } else {
            after.discarded.result = Some(result);
        }
        if end.took_next {
            after.discarded.next_args = state.args.advance();
        }
    }

    pub(crate) fn report(&self, state: &mut State<A, R>, end: AttemptEnd, now: Now) {
        if let Some(run) = end.run {
            self.event(state, now, |state| {
                JobEventKind::RunEnded(self.run(state, run))
            });
        }
        if end.is_paused {
            self.event(state, now, |_| JobEventKind::Paused);
        }
        match end.next {
            AfterAttempt::Run {
                misfire: Some(nominal),
            } => self.event(state, now, |state| JobEventKind::Misfired {
                next: self.time(state, nominal),
            }),
            AfterAttempt::Snooze { due } => self.event(state, now, |state| JobEventKind::Snoozed {
                due: self.time(state, due.as_wall(now)),
            }),
            AfterAttempt::Retry { due, attempts } => {
                self.event(state, now, |state| JobEventKind::Retrying {
                    attempt: attempts,
                    due: self.time(state, due.as_wall(now)),
                });
            }
            AfterAttempt::End(_, why) => self.reason_event(state, why, now),
            AfterAttempt::Run { misfire: None, .. } => {}
        }
        debug_assert!(!matches!(state.life.phase(), Phase::Running));
    }
}

/// The failure of a job that has expired. `last`: how its last attempt failed.
pub(crate) fn expired_failure<A, R>(state: &State<A, R>, last: Option<Failure>) -> Failure {
    let limit = state.life.definition().and_then(|d| d.expires);
    Failure::Expired {
        limit: Duration::from_nanos(limit.unwrap_or_default().max(0) as u64),
        last: last.map(Box::new),
    }
}
