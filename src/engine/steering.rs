//! `pause`, `resume`, `run_now`, `move_to`: a job is steered by hand.

use crate::engine::cancelling::{may_change_store, wait_for_store};
use crate::engine::discarded::DropOn;
use crate::engine::job_state::{AfterLock, JobState, State};
use crate::engine::keeping::keep_end_of_last_run;
use crate::job::lifecycle::{Resumed, Steered};
use crate::job::live_job::{Steer, SteerReply};
use crate::job::phase::Effects;
use crate::job::position::EndReason;
use crate::sync::reply::Reply;
use crate::value::app_clock::ClockPrecision;
use crate::value::error::StorageError;
use crate::value::event::JobEventKind;
use crate::value::steer_outcome::SteerOutcome;
use crate::value::time_units::Now;

pub(crate) fn steer<A, R>(job: &JobState<A, R>, how: Steer) -> SteerReply
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let (mut state, now) = job.lock_with_time(|_| ClockPrecision::Exact);
    if !state.life.phase().is_ended() && !may_change_store(job, &state) {
        // The app has stopped, and the job is the next process's.
        let reply = Reply::new();
        reply.send(Err(StorageError::Closed));
        let outcome = SteerOutcome::AlreadyDone;
        return SteerReply {
            outcome,
            reply: Some(reply),
        };
    }
    let mut after = AfterLock::default();
    let outcome = job.carry_out(&mut state, how, now, &mut after);
    job.recount_held(&mut state, &mut after);
    let reply = match outcome {
        SteerOutcome::AlreadyDone => None,
        // What was asked for before may not be stored yet.
        _ => wait_for_store(job, &mut state, &mut after),
    };
    job.unlock(state, after, DropOn::ThisThread);
    SteerReply { outcome, reply }
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn carry_out(
        &self,
        state: &mut State<A, R>,
        how: Steer,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) -> SteerOutcome {
        let hub = self.hub();
        let clock = hub.reading(now);
        let steered = match how {
            Steer::Pause => state.life.pause(),
            Steer::Resume { catches_up } => {
                let random = || hub.random();
                let resumed = state.life.resume(catches_up, self.holds(), clock, random);
                return self.follow_resume(state, resumed, now, after);
            }
            // No job can be made for the run.
            Steer::RunNow if !self.has_room_for_extra(state) => match state.life.is_over() {
                true => Steered::Ended,
                false => Steered::Unchanged,
            },
            Steer::RunNow => state.life.run_now(now),
            Steer::Move(to) => state.life.move_next(to, clock),
        };
        let (effects, outcome) = match steered {
            Steered::Done(effects) => (effects, SteerOutcome::Done),
            Steered::AfterAttempt(effects) => (effects, SteerOutcome::AfterAttempt),
            Steered::Unchanged => return SteerOutcome::Unchanged,
            Steered::Ended => return SteerOutcome::AlreadyDone,
        };
        self.event(state, now, |state| match how {
            Steer::Pause => JobEventKind::Paused,
            Steer::RunNow => JobEventKind::RunRequested,
            Steer::Resume { .. } | Steer::Move(_) => JobEventKind::Moved {
                due: (outcome == SteerOutcome::Done)
                    .then(|| self.time(state, state.life.next_exec_at())),
            },
        });
        if let Steer::Move(_) = how {
            if outcome == SteerOutcome::AfterAttempt {
                self.stop_attempt_in_time(state, now, after);
            }
            // Others may catch up until then.
            after.ends_turn |= state.life.end_turn();
        }
        self.follow_steered(state, effects, now, after);
        outcome
    }

    fn follow_resume(
        &self,
        state: &mut State<A, R>,
        resumed: Resumed,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) -> SteerOutcome {
        let (over, effects) = match resumed {
            Resumed::Ended => return SteerOutcome::AlreadyDone,
            Resumed::Unchanged => return SteerOutcome::Unchanged,
            Resumed::Done(effects) => (None, effects),
            Resumed::Over { why, effects } => (Some(why), effects),
        };
        self.event(state, now, |state| JobEventKind::Resumed {
            due: self.time(state, state.life.next_exec_at()),
        });
        match over {
            Some(why) => self.end_without_time(state, why, effects, now, after),
            None => self.follow_steered(state, effects, now, after),
        }
        self.stop_attempt_in_time(state, now, after);
        SteerOutcome::Done
    }

    /// The job ends, because no time of it is left.
    fn end_without_time(
        &self,
        state: &mut State<A, R>,
        why: EndReason,
        effects: Effects,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        self.reason_event(state, why, now);
        keep_end_of_last_run(state, "the last run has failed, and no time is left", now);
        self.follow(state, effects, now, after);
    }

    /// Carries out a transition, and what a pause that begins or ends means for the next attempt.
    fn follow_steered(
        &self,
        state: &mut State<A, R>,
        effects: Effects,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        self.follow(state, effects, now, after);
        if state.life.is_paused() {
            after.ends_turn |= state.life.end_turn();
        }
        // An attempt whose intent is stored may have waited for the pause to end.
        self.arm_if_overdue(state, now, after);
    }

    /// Counts the job among those that a pause holds, or not any more.
    pub(crate) fn recount_held(&self, state: &mut State<A, R>, after: &mut AfterLock<A, R>) {
        if state.life.count_as_held(self.holds()) {
            let is_held = state.life.is_counted_as_held();
            self.hub().count_held(is_held);
            after.may_be_idle |= is_held;
        }
    }

    /// The job is new, and perhaps a pause holds it. `is_paused`: its own.
    #[inline]
    pub(crate) fn note_pause(&self, is_paused: bool) {
        if is_paused || self.holds().is_paused {
            self.follow_pause(None);
        }
    }

    /// Its task or its app was paused or resumed, or the job is new. `resumes`: a pause has
    /// ended; `Some(true)` if missed times are made up.
    pub(crate) fn follow_pause(&self, resumes: Option<bool>) {
        let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Exact);
        let mut after = AfterLock::default();
        let hub = self.hub();
        if let Some(catches_up) = resumes
            && !self.holds().is_paused
            && !state.life.phase().is_ended()
        {
            let random = || hub.random();
            let clock = hub.reading(now);
            match state.life.resume_from_above(catches_up, clock, random) {
                Resumed::Done(effects) => self.follow(&mut state, effects, now, &mut after),
                Resumed::Over { why, effects } => {
                    self.end_without_time(&mut state, why, effects, now, &mut after);
                }
                Resumed::Unchanged | Resumed::Ended => {}
            }
            self.arm_if_overdue(&mut state, now, &mut after);
            self.stop_attempt_in_time(&mut state, now, &mut after);
        }
        // What a pause holds waits for no limit: it would take its limits and its rate, and not start.
        if state.life.is_in_line()
            && state.life.is_ready()
            && let Some(effects) = state.life.shut(hub.reading(now), self.holds())
        {
            self.follow_shut(&mut state, effects, now, &mut after);
        }
        self.recount_held(&mut state, &mut after);
        self.unlock(state, after, DropOn::Executor);
    }
}
