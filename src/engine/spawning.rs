//! A run of a recurring job becomes a job of its own: [`Overlap::Spawn`](crate::Overlap::Spawn).

use crate::engine::attempt::AttemptArgs;
use crate::engine::hub::Entered;
use crate::engine::job_state::{JobState, State};
use crate::job::lifecycle::CatchUpTurn;
use crate::job::live_job::ExecutorJob;
use crate::job::outcome::Failure;
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
        let max = max.saturating_sub(count.saturating_sub(1));
        hub.spawned
            .has_room(&self.core.id, max, |id| hub.is_live(id))
    }

    /// Whether `run_now` may ask for another run: there is room for that and for the one that is
    /// about to be made.
    pub(crate) fn has_room_for_extra(&self, state: &State<A, R>) -> bool {
        let is_waiting = state.life.phase() == Phase::Waiting;
        let count = if is_waiting { 1 } else { 2 };
        self.has_room_for_spawned(state.life.will_spawn(), count)
    }

    /// The attempt of a run that becomes a job of its own: makes the job. In one step with the end
    /// of the run, so that the store gets both in one commit.
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
            AttemptArgs::Json(_) => Ok(None),
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

    /// The attempt is over, and this job was made for its run. The caller has the lock of the
    /// recurring job; nobody has that of the new one.
    pub(crate) fn enter_spawned(
        &self,
        state: &mut State<A, R>,
        job: &mut Arc<Self>,
        now: Now,
    ) -> Result<Entered, Failure> {
        let hub = self.hub();
        let max = state.life.spawns();
        // The run could be missed before its first attempt.
        if state.life.attempts() > 0 && !self.has_room_for_spawned(max, 1) {
            let max = max.unwrap_or_default();
            return Err(Failure::Error(Arc::new(TooManySpawned { max })));
        }
        let due = {
            let mut new = job.lock();
            if new.life.is_durable() {
                new.life.carry(self.core.id.clone());
                // It does not start before the store was tried. No message is needed: the row of
                // this job has changed, too.
                let _ = new.life.row_changed();
            }
            if state.life.turn() == CatchUpTurn::HasTurn {
                // The first attempt is that of the new job.
                new.life.set_turn(CatchUpTurn::HasTurn);
            }
            new.life.timer()
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
        if job.lock().life.is_durable() {
            state.life.add_made(job.clone());
        }
        Ok(entered)
    }
}
