//! New arguments and another trigger for a job that goes on.

use crate::engine::run::{After, JobState, Leftovers, Replacement, State};
use crate::job::outcome::Outcome;
use crate::job::progress::{Closing, Plan};
use crate::job::record::JobRecord;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{MutexGuard, lock};
use crate::value::clock::Now;
use crate::value::error::ScheduleError;
use crate::value::event::JobEventKind;
use crate::value::status::{JobStatus, Moved};

/// Why a job can't be replaced.
pub(crate) enum NotReplaceable {
    Done,
    Refused(ScheduleError),
}

/// Why a job was not replaced.
pub(crate) enum NotReplaced<A> {
    /// It is done, and its id is free again.
    Done(A),
    Refused(ScheduleError),
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// New arguments and another trigger, for a job that goes on and that no
    /// store keeps, before or after.
    pub(crate) fn replace(&self, args: A, plan: Plan, now: Now) -> Result<(), NotReplaced<A>> {
        let state = lock(&self.state);
        match self.check_replace(&state, &plan) {
            Ok(()) => {
                drop_catching_panic(self.apply_replacement(state, args, plan, None, now));
                Ok(())
            }
            Err(NotReplaceable::Done) => Err(NotReplaced::Done(args)),
            Err(NotReplaceable::Refused(error)) => {
                drop(state);
                drop_catching_panic(args);
                Err(NotReplaced::Refused(error))
            }
        }
    }

    pub(crate) fn check_replace(
        &self,
        state: &State<A, R>,
        plan: &Plan,
    ) -> Result<(), NotReplaceable> {
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
    pub(crate) fn apply_replacement(
        &self,
        mut state: MutexGuard<'_, State<A, R>>,
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
            after.args = state.args.put(args);
            if self.take_on(&mut state, plan) {
                old = Some(std::mem::replace(&mut state.outcome, Outcome::None));
            }
            if state.progress.closing != Closing::Suspended {
                after.wake = hub.arm(self.core.slot, due, self.key_kind(&state), now);
            }
        } else {
            let new = Replacement { args, plan, record };
            after.replaced = state.args.put_replacement(new).map(|r| r.args);
        }
        hub.record(self, now, || {
            // What is to follow a run has a zone of its own.
            let zone = match state.args.replacement() {
                Some(next) => next.plan.zone.as_deref(),
                None => state.progress.zone(),
            };
            let due = zone.unwrap_or(&hub.zone).time_at(exec_at);
            JobEventKind::Scheduled { due }
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
    pub(crate) fn take_on(&self, state: &mut State<A, R>, plan: Plan) -> bool {
        let cron = plan.cron();
        if cron.is_some() || self.cron.get().is_some() {
            self.cron.get_or_init(Box::default).set(cron);
        }
        state.progress.replace(plan)
    }
}
