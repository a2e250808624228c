//! A run of a recurring job becomes a job of its own: [`Overlap::Spawn`](crate::Overlap::Spawn).

use crate::engine::attempt::AttemptArgs;
use crate::engine::discarded::DropOn;
use crate::engine::hub::When;
use crate::engine::job_state::{AfterLock, JobState, State};
use crate::job::live_job::ExecutorJob;
use crate::job::outcome::Failure;
use crate::job::plan::Plan;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::Arc;
use crate::timer::key::KeyKind;
use crate::value::error::{ScheduleError, TooManySpawned};
use crate::value::spawned_by::SpawnedBy;

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// If the runs of the job become jobs of their own: whether the next one may. Either fewer of
    /// these are live than may be, or the process before has made the job of that run.
    pub(crate) fn has_room_for_spawned(&self, state: &State<A, R>) -> bool {
        let Some(max) = state.life.spawns() else {
            return true;
        };
        let hub = self.hub();
        let is_live = |id: &_| {
            let job = hub.find(id);
            job.is_some_and(|job| !job.core().status.get().is_final())
        };
        let has_room = hub.spawned.has_room(&self.core.id, max, is_live);
        has_room || {
            let run = state.life.run_of(&self.core.id);
            run.is_some_and(|run| hub.find(&run.spawned_id()).is_some())
        }
    }

    /// The attempt of a run that becomes a job of its own: makes the job.
    ///
    /// The message about the new job comes before that about this one. So if a crash comes between,
    /// the run is due again, and finds its job.
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
        let made = args.map_err(Failure::Panicked);
        let made = made.and_then(|args| self.make_spawned(args, plan));
        self.end_spawning(attempt, made);
    }

    fn make_spawned(&self, args: Option<A>, plan: Plan) -> Result<(), Failure> {
        let hub = self.hub();
        let (max, has_room) = {
            let state = self.lock();
            let max = state.life.spawns().unwrap_or_default();
            (max, self.has_room_for_spawned(&state))
        };
        if !has_room {
            drop_catching_panic(args);
            return Err(Failure::Error(Arc::new(TooManySpawned { max })));
        }
        let by = plan.definition().and_then(|own| own.spawned_by.as_deref());
        let id = by.map(SpawnedBy::spawned_id);
        let now = hub.clock.now();
        let due = plan.due;
        let is_durable = plan.is_durable();
        let when = match is_durable {
            true => When::At(due, KeyKind::Decide),
            false => When::Now,
        };
        let job = JobState::new(self.task.clone(), args, plan, !is_durable);
        // From here on it does not start before the store was tried.
        let is_changed = job.lock().life.row_changed();
        let mut job = Arc::new(job);
        self.task.pending.enter_over();
        if let Err(error) = hub.admit(&mut job, (id, true), when, now) {
            self.task.pending.leave();
            self.task.pending.notify();
            return match error {
                // The process before has made it.
                ScheduleError::DuplicateJob { .. } | ScheduleError::UnresolvedJob { .. } => Ok(()),
                ScheduleError::Stopped => Err(Failure::executor_dropped()),
                error => Err(Failure::Error(Arc::new(error))),
            };
        }
        hub.spawned.add(self.core.id.clone(), job.core.id.clone());
        if is_changed {
            let mut after = AfterLock::default();
            let state = job.lock();
            job.send_changed(&mut after);
            job.unlock(state, after, DropOn::ThisThread);
        }
        job.note_pause(false);
        Ok(())
    }
}
