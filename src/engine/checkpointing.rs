//! The checkpoints of a job: its attempts set them, later attempts read them.

use crate::engine::cancelling::{may_change_store, wait_for_store};
use crate::engine::discarded::DropOn;
use crate::engine::job_state::{AfterLock, JobState, State};
use crate::executor::calling_executor::CallingExecutor;
use crate::job::checkpoint::{CheckpointEffect, CheckpointSet, MIN_INTERVAL, NotSet, WaitsBy};
use crate::registry::table::Wake;
use crate::sync::reply::Reply;
use crate::value::app_clock::ClockPrecision;
use crate::value::encoded::Encoded;
use crate::value::time_units::Now;

pub(crate) fn set<A, R>(
    job: &JobState<A, R>,
    attempt: u32,
    value: Encoded,
    waits_by: WaitsBy,
) -> Result<CheckpointSet, NotSet>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let (mut state, now) = job.lock_with_time(|_| ClockPrecision::Exact);
    state.life.begun(attempt).ok_or(NotSet::AttemptOver)?;
    let is_closed = job.hub().checkpoint_times.is_closed();
    if state.life.row().is_some() && (is_closed || !may_change_store(job, &state)) {
        return Err(NotSet::Closed);
    }
    let mut after = AfterLock::default();
    let may_wait = waits_by == WaitsBy::Nothing || !job.stops_time(waits_by);
    let set = match state.life.set_checkpoint(value, may_wait) {
        CheckpointEffect::Memory => CheckpointSet::Now(None),
        CheckpointEffect::Pending if waits_by == WaitsBy::Nothing => CheckpointSet::Now(None),
        CheckpointEffect::Pending => {
            let waiter = Reply::new();
            state.life.add_checkpoint_waiter(waiter.clone());
            CheckpointSet::Later(waiter)
        }
        CheckpointEffect::Row { needs_message } => {
            job.throttle(&mut state, needs_message, now, &mut after);
            CheckpointSet::Now(match waits_by {
                WaitsBy::Nothing => None,
                _ => wait_for_store(job, &mut state, &mut after),
            })
        }
    };
    job.unlock(state, after, DropOn::ThisThread);
    Ok(set)
}

/// See [`TimerJob::checkpoint_due`](crate::job::live_job::TimerJob::checkpoint_due).
pub(crate) fn due<A, R>(job: &JobState<A, R>)
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let (mut state, now) = job.lock_with_time(|_| ClockPrecision::Exact);
    let mut after = AfterLock::default();
    if let Some(needs_message) = state.life.end_throttle() {
        job.throttle(&mut state, needs_message, now, &mut after);
    }
    for waiter in state.life.take_checkpoint_waiters() {
        let stored = wait_for_store(job, &mut state, &mut after);
        after.checkpoint_replies.push((waiter, Ok(stored)));
    }
    job.unlock(state, after, DropOn::Executor);
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Whether the timer can't come while a caller waits like this.
    fn stops_time(&self, waits_by: WaitsBy) -> bool {
        let store = self.hub().store.as_ref();
        let is_manual = store.is_some_and(|store| store.is_manual());
        let blocks = waits_by == WaitsBy::Blocking || self.task.is_blocking;
        // An executor that polls within `spawn` may do so on the thread of the timer.
        is_manual && blocks || CallingExecutor::is_on_this_thread()
    }

    /// The row has a new checkpoint. The next one changes it a second later.
    fn throttle(
        &self,
        state: &mut State<A, R>,
        needs_message: bool,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        if needs_message {
            self.send_changed(state, after);
        }
        if !state.life.begin_throttle() {
            return;
        }
        let hub = self.hub();
        let time = now.mono.saturating_add(MIN_INTERVAL);
        if let Some(job) = hub.at(self.core.slot)
            && hub.checkpoint_times.add(time, job)
        {
            after.wake = Wake::Timer;
        }
    }
}
