//! A run of a recurring job becomes a job of its own: [`Overlap::Spawn`](crate::Overlap::Spawn).

use crate::engine::attempt::AttemptArgs;
use crate::engine::hub::Entered;
use crate::engine::job_state::{JobState, State};
use crate::job::last_result::Failure;
use crate::job::lifecycle::CatchUpTurn;
use crate::job::live_job::ExecutorJob;
use crate::job::phase::Phase;
use crate::job::plan::Plan;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::Arc;
use crate::value::error::{ScheduleError, TooManySpawned};
use crate::value::time_units::Now;

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// If the runs of the job become jobs of their own: whether there is room for `count` more.
    pub(crate) fn has_room_for_spawned(&self, max: Option<usize>, count: usize) -> bool {
        let Some(max) = max else {
            return true;
        };
        let hub = self.hub();
        hub.spawned
            .has_room(&self.core.id, (max, count), |id| hub.is_live(id))
    }

    /// Whether a job can be made for one more run, after the one that is about to be made.
    pub(crate) fn has_room_for_extra(&self, state: &State<A, R>) -> bool {
        let is_waiting = state.life.phase() == Phase::Waiting;
        let makes_one_before = !is_waiting && state.life.max_spawned().is_some();
        let count = 1 + usize::from(makes_one_before);
        self.has_room_for_spawned(state.life.next_max_spawned(), count)
    }

    /// Makes the job of the run, and ends the run under the same lock: the store gets both in one
    /// commit.
    pub(crate) fn spawn_run(self: Arc<Self>, attempt: u32, args: AttemptArgs<A>, plan: Plan) {
        let args = match args {
            AttemptArgs::Taken(args) => Ok(Some(args)),
            AttemptArgs::Copied(args) => match self.copy_args(attempt, args) {
                Some(copy) => copy.map(Some),
                None => {
                    self.body_gone(attempt);
                    return;
                }
            },
            // It is part of the plan.
            AttemptArgs::Stored(_) => Ok(None),
            AttemptArgs::Missing => Err("the job has no arguments left".into()),
        };
        let new = args.map(|args| JobState::new(self.task.clone(), args, plan, false));
        let mut new = new.map(Arc::new).map_err(Failure::Panicked);
        let entered = self.end_spawning(attempt, &mut new);
        self.body_gone(attempt);
        match (entered, new) {
            (Some(entered), Ok(job)) => {
                self.hub().entered(entered);
                job.note_pause(false);
            }
            (_, new) => {
                self.task.pending.notify();
                drop_catching_panic(new);
            }
        }
    }

    /// Enters `job`, which was made for the run of the attempt that ends. The caller has the lock of
    /// the recurring job. Nobody else knows `job` yet.
    pub(crate) fn enter_spawned(
        &self,
        state: &mut State<A, R>,
        job: &mut Arc<Self>,
        now: Now,
    ) -> Result<Entered, Failure> {
        let hub = self.hub();
        let max = state.life.max_spawned();
        // Only a retry is checked: the timer has missed a first attempt that has no room.
        if state.life.attempts() > 0 && !self.has_room_for_spawned(max, 1) {
            let max = max.unwrap_or_default();
            return Err(Failure::Error(Arc::new(TooManySpawned { max })));
        }
        let (due, is_durable) = {
            let mut new = job.lock();
            let is_durable = new.life.is_durable();
            if is_durable {
                new.life.carry(self.core.id.clone());
                // The new job does not start before the store was tried. It needs no message: that
                // of the recurring job is on its way.
                let _ = new.life.row_changed();
            }
            if state.life.turn() == CatchUpTurn::HasTurn {
                // The recurring job passes its turn to the new job.
                new.life.set_turn(CatchUpTurn::HasTurn);
            }
            (new.life.timer(), is_durable)
        };
        self.task.pending.enter_over();
        let entered = hub.enter_spawned(job, &self.core.id, due, now);
        let entered = entered.map_err(|error| {
            self.task.pending.leave();
            match error {
                ScheduleError::Stopped => Failure::executor_dropped(),
                error => Failure::Error(Arc::new(error)),
            }
        })?;
        if state.life.turn() == CatchUpTurn::HasTurn {
            state.life.set_turn(CatchUpTurn::No);
        }
        if is_durable {
            state.life.add_made(job.clone());
        }
        Ok(entered)
    }
}
