//! The end of an attempt, and what it means for its job.

use std::mem::needs_drop;

use crate::engine::run::{After, JobState, Leftovers, Settling, State};
use crate::job::execution::{Execution, Exit};
use crate::job::outcome::{Failure, Outcome};
use crate::job::progress::{Closing, Next, Retry, RunRecord, Verdict};
use crate::sync::panics::drop_catching_panic;
use crate::sync::waking::notify_all;
use crate::value::clock::{Due, Look, Now};
use crate::value::event::JobEventKind;
use crate::value::status::{JobStatus, Show};

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// The end of most attempts, which [`settle`](JobState::settle) would come to
    /// by a longer way: the job runs once, no store keeps it, nothing is to follow,
    /// and here is its value. Gives the value back if it is not so.
    pub(crate) fn succeed_plainly(&self, attempt: u32, value: R) -> Result<Exit, R> {
        if self.core.look != Look::None {
            return Err(value);
        }
        let hub = self.hub();
        let (mut state, now) = self.lock_with_time(|_| Look::None);
        let is_plain = state.progress.is_plain() && state.args.replacement().is_none();
        let is_current = state.progress.number == attempt;
        if !is_plain || !is_current || self.core.status.actual() != JobStatus::Running {
            return Err(value);
        }
        state.progress.end_plainly();
        let args = state.args.take();
        let old = std::mem::replace(&mut state.outcome, Outcome::Value(value));
        let moved = self.core.status.finish(JobStatus::Success, Show::Now);
        // By its name the next job may come at once; and somebody may wait for its
        // value to be dropped, who keeps whoever polls from taking it out.
        let stays = !self.core.is_named && !needs_drop::<R>();
        let removed = (!stays).then(|| hub.remove(self.core.slot));
        self.record_end(JobStatus::Success, now);
        drop(state);
        if moved.is_some_and(|moved| moved.waited_for) {
            notify_all(&self.core.changed);
        }
        let exit = match removed {
            Some(removed) => {
                hub.removed(removed);
                Exit::Done
            }
            None => Exit::MustRemove,
        };
        hub.events.deliver();
        drop_catching_panic(args);
        if old.is_foreign() {
            drop_catching_panic(old);
        }
        Ok(exit)
    }

    /// An attempt is over, in whichever way. Gives what is to be dropped.
    pub(crate) fn settle(
        &self,
        attempt: u32,
        result: Result<R, Failure>,
        how: Settling,
    ) -> Leftovers<A, R> {
        let retry = self.task.backoff.as_ref().zip(result.as_ref().err());
        let retry = retry.map(|(backoff, failure)| Retry {
            backoff,
            // Looks into the task's own error: not under the lock.
            hint: failure.retry_hint(),
            random: self.hub().random(),
        });
        let is_failed = result.is_err();
        let (mut state, now) = self.lock_with_time(|state| match state.progress.look() {
            _ if state.args.replacement().is_some() => Look::Exact,
            Look::None if is_failed => Look::ForShow,
            look => look,
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
        let retry = retry.filter(|_| state.args.replacement().is_none());
        let failure = result.as_ref().err();
        let random = || self.hub().random();
        let before = state.progress.last_run();
        let verdict = state.progress.after_attempt(failure, retry, now, random);
        let control = state.progress.take_control();
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
        state: &mut State<A, R>,
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
        if let Some(mut new) = state.args.take_replacement() {
            if matches!(state.progress.closing, Closing::No | Closing::Suspended) {
                state.progress.fit(&mut new.plan, now);
                verdict.next = Next::Run(new.plan.due);
                verdict.misfired = None;
                after.args = state.args.put(new.args);
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
            (
                Some(std::mem::replace(&mut state.outcome, Outcome::None)),
                Some(result),
            )
        } else if is_end || verdict.run.is_some() {
            let outcome = Outcome::of(result);
            (Some(std::mem::replace(&mut state.outcome, outcome)), None)
        } else {
            (None, Some(result))
        };
        if let Some(run) = verdict.run {
            hub.record(self, now, || JobEventKind::RunEnded(self.dress(state, run)));
        }
        let show = match verdict.next {
            _ if !is_told => Show::Now,
            Next::End(_) => self.store_end(state),
            Next::Run(_) | Next::Retry(_) => self.store_progress(state, now),
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
        state: &State<A, R>,
        due: Due,
        show: Show,
        now: Now,
        after: &mut After<A>,
    ) {
        after.moved = self.core.status.reschedule(show);
        let (hub, slot) = (self.hub(), self.core.slot);
        if state.progress.closing == Closing::Suspended {
            after.removed = hub.suspend(slot);
        } else {
            after.wake = hub.arm(slot, due, self.key_kind(state), now);
        }
    }
}
