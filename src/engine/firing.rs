//! What the timer does with a job.

use crate::engine::attempt::expired_failure;
use crate::engine::catch_up::ALONE;
use crate::engine::checkpointing;
use crate::engine::discarded::DropOn;
use crate::engine::job_state::{AfterLock, JobState, State};
use crate::engine::keeping::keep_end_of_last_run;
use crate::job::definition::Definition;
use crate::job::last_result::{Failure, LastResult};
use crate::job::lifecycle::{CatchUpTurn, IntentRule, TimerOutcome};
use crate::job::live_job::{Fired, TimerJob};
use crate::job::phase::{Effects, Phase};
use crate::job::position::{ClockSet, EndReason};
use crate::sync::primitives::MutexGuard;
use crate::timer::key::KeyKind;
use crate::value::app_clock::ClockPrecision;
use crate::value::event::JobEventKind;
use crate::value::time_units::{ClockReading, Due, MonoNanos, Now, WallNanos};

impl<A, R> TimerJob for JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn on_timer(&self, now: Now) -> Fired {
        let mut state = self.lock();
        let hub = self.hub();
        if state.life.turn() == CatchUpTurn::Waits && state.life.phase() == Phase::Waiting {
            state.life.set_turn(CatchUpTurn::HasTurn);
            hub.turn_begins();
        }
        let outcome = self.decide_on_timer(&mut state, now);
        let mut after = AfterLock::default();
        match outcome {
            TimerOutcome::Nothing => {
                let is_held = state.life.is_held_by_pause(self.holds());
                let ends_turn = is_held && state.life.end_turn();
                drop(state);
                if ends_turn {
                    hub.turn_ended();
                }
                return Fired::Nothing;
            }
            TimerOutcome::Start { misfire } => {
                self.misfire_event(&mut state, now, misfire);
                if self.starts_now(&mut state, now, &mut after) {
                    drop(state);
                    hub.events.wake_readers();
                    hub.leave_granted_to_timer(after.granted);
                    return Fired::Start;
                }
                // Others may catch up while it waits, unless it has to run alone.
                let may_run_with_others = state.life.interruptions() < ALONE;
                after.ends_turn =
                    state.life.is_in_line() && may_run_with_others && state.life.end_turn();
            }
            TimerOutcome::TimedOut { attempt } => {
                let timeout = self.timeout(&state);
                drop(state);
                if let Some(timeout) = timeout {
                    self.time_out_on_executor(attempt, Failure::TimedOut(timeout.limit));
                }
                return Fired::Nothing;
            }
            TimerOutcome::CutOff { attempt } => {
                drop(state);
                self.time_out(attempt, Failure::Overlapped);
                return Fired::Nothing;
            }
            TimerOutcome::Rearm(due) => {
                after.ends_turn = !state.life.phase().is_running() && state.life.end_turn();
                after.wake |= hub.arm(self.core.slot, due, self.key_kind(&state), now);
            }
            TimerOutcome::Moved { effects } => {
                after.ends_turn = state.life.end_turn();
                self.follow(&mut state, effects, now, &mut after);
            }
            TimerOutcome::Persist { misfire, effects } => {
                self.misfire_event(&mut state, now, misfire);
                self.follow(&mut state, effects, now, &mut after);
            }
            TimerOutcome::Later { misfire, effects } => {
                after.ends_turn = state.life.end_turn();
                self.misfire_event(&mut state, now, misfire);
                self.follow(&mut state, effects, now, &mut after);
            }
            TimerOutcome::Over { why, effects } => {
                if why == EndReason::Expired {
                    self.enter_expiry(&mut state, &mut after);
                }
                self.reason_event(&mut state, why, now);
                keep_end_of_last_run(
                    &mut state,
                    "the last run has failed, and no time is left",
                    now,
                );
                self.follow(&mut state, effects, now, &mut after);
            }
            TimerOutcome::ExpiredBeforeRetry(end) => {
                after.ends_turn = state.life.end_turn();
                self.enter_expiry(&mut state, &mut after);
                self.report(&mut state, end, now);
                keep_end_of_last_run(
                    &mut state,
                    "the next attempt of the run would have started too late",
                    now,
                );
                self.follow(&mut state, end.effects, now, &mut after);
            }
        }
        // No code of a user runs on the thread of the timer.
        self.unlock(state, after, DropOn::Executor);
        Fired::Nothing
    }

    fn checkpoint_due(&self) {
        checkpointing::due(self);
    }

    fn on_clock_set(&self, clock: ClockReading, set: ClockSet) {
        let hub = self.hub();
        let mut state = self.lock();
        if hub.is_stopping() {
            return;
        }
        let effects = state.life.on_clock_set(clock, set, || hub.random());
        let mut after = AfterLock::default();
        if state.life.phase().is_running() {
            if let Some(due) = state.life.plan_stop_by_set_clock(clock) {
                after.wake |= hub.arm(self.core.slot, due, KeyKind::Decide, clock.now);
            }
            self.unlock(state, after, DropOn::Executor);
            return;
        }
        let Some(effects) = effects else {
            return;
        };
        self.follow(&mut state, effects, clock.now, &mut after);
        self.unlock(state, after, DropOn::Executor);
    }

    fn wait_for_turn(&self, at_the_latest: MonoNanos) {
        let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Exact);
        if state.life.phase() != Phase::Waiting {
            return;
        }
        state.life.set_turn(CatchUpTurn::Waits);
        let due = Due::Mono(at_the_latest);
        let wake = self.hub().arm(self.core.slot, due, KeyKind::Decide, now);
        drop(state);
        self.hub().wake(wake);
    }

    fn take_turn(&self) -> bool {
        let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Exact);
        if state.life.turn() != CatchUpTurn::Waits {
            return false;
        }
        state.life.set_turn(CatchUpTurn::HasTurn);
        let hub = self.hub();
        let may_start = state.life.phase() == Phase::Waiting && !hub.is_stopping();
        let due = state.life.timer().filter(|_| may_start);
        let wake = due.map(|due| hub.arm(self.core.slot, due, self.key_kind(&state), now));
        drop(state);
        hub.wake(wake.unwrap_or_default());
        true
    }

    fn line_up_new(&self) -> bool {
        JobState::line_up_new(self)
    }

    fn granted(&self) -> Fired {
        self.granted_now()
    }

    fn follow_pause(&self, resumes: Option<bool>) {
        JobState::follow_pause(self, resumes);
    }

    fn stop(&self) {
        let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Exact);
        let mut after = AfterLock::default();
        if state.life.phase().is_running() {
            let control = state.life.existing_control().cloned();
            drop(state);
            if let Some(control) = control {
                control.request_stop();
            }
            return;
        }
        self.stop_locked(&mut state, now, &mut after);
        self.unlock(state, after, DropOn::ThisThread);
    }
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    pub(crate) fn decide_on_timer(
        &self,
        state: &mut MutexGuard<'_, State<A, R>>,
        now: Now,
    ) -> TimerOutcome {
        let hub = self.hub();
        let has_room = self.has_room_for_spawned(state.life.max_spawned(), 1);
        let is_later = self.task.limits.is_some() || state.life.max_spawned().is_some();
        let intent = match (is_later, self.is_at_most_once()) {
            (true, _) => IntentRule::NotByTimer,
            (false, true) => IntentRule::AtMostOnce,
            (false, false) => IntentRule::IfSuspected,
        };
        let (clock, on_time) = (hub.reading(now), hub.on_time());
        let random = || hub.random();
        state
            .life
            .on_timer(clock, on_time, intent, self.holds(), has_room, random)
    }

    /// The job runs, or will run, for this time, and others were missed.
    fn misfire_event(&self, state: &mut State<A, R>, now: Now, misfire: Option<WallNanos>) {
        if let Some(nominal) = misfire {
            self.event(state, now, |state| JobEventKind::Misfired {
                next: self.time(state, nominal),
            });
        }
    }

    /// Sets the result of a run that has expired.
    fn enter_expiry(&self, state: &mut State<A, R>, after: &mut AfterLock<A, R>) {
        let expired = LastResult::Failed(Box::new(expired_failure(state, None)));
        let is_hidden = state.life.is_hidden();
        after.discarded.last_result = state.last_result.set(expired, is_hidden);
    }

    /// Sends the event that says why the job is about to end, if the status does not say it all.
    pub(crate) fn reason_event(&self, state: &mut State<A, R>, why: EndReason, now: Now) {
        let definition = state.life.definition();
        if let Some(kind) = definition.and_then(|definition| event_of_reason(definition, why)) {
            self.event(state, now, |_| kind);
        }
    }

    /// The app stops, and no attempt of the job runs.
    pub(crate) fn stop_locked(
        &self,
        state: &mut State<A, R>,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        let Some((effects, is_left)) = state.life.stop() else {
            return;
        };
        // Nothing changes for most of the jobs that are left. To follow that takes a
        // quarter of the stop of 100,000 restored jobs (the row W10 of `benches/peers`).
        if effects != Effects::default() {
            self.follow(state, effects, now, after);
        }
        self.release_limits(state, true, after);
        if is_left && state.life.leave_to_next_process() {
            if state.life.is_counted_as_held() {
                self.recount_held(state, after);
            }
            after.removed = self.hub().leave_to_next_process(self.core.slot);
        }
    }
}

/// The event that says why a job ends, if the status does not say it all.
pub(crate) fn event_of_reason(definition: &Definition, why: EndReason) -> Option<JobEventKind> {
    match why {
        EndReason::Ordinary | EndReason::Expired => None,
        EndReason::AllExcluded => Some(JobEventKind::AllExcluded {
            calendar: definition.except()?.calendar.clone(),
        }),
        EndReason::FailedTooOften => Some(JobEventKind::FailedTooOften {
            max_failures: definition.recurring()?.limits.max_failures?,
        }),
    }
}
