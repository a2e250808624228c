//! What handles read of a job.

use std::any::{Any, TypeId};
use std::time::Duration;

use time::OffsetDateTime;

use crate::engine::cancelling;
use crate::engine::checkpointing;
use crate::engine::discarded::DropOn;
use crate::engine::job_state::{AfterLock, JobState};
use crate::engine::set_aside;
use crate::engine::steering;
use crate::job::checkpoint::{CheckpointSet, NotSet, WaitsBy};
use crate::job::codec::SharedCodec;
use crate::job::live_job::{CancelReply, Cancelling, JobCore, JobView, Steer, SteerReply};
use crate::job::sync_state::CommitWaiter;
use crate::registry::lines::TicketId;
use crate::registry::pending::PendingCounts;
use crate::sync::primitives::Arc;
use crate::value::app_clock::ClockPrecision;
use crate::value::backoff::Backoff;
use crate::value::encoded::Encoded;
use crate::value::error::JobError;
use crate::value::event::JobEventKind;
use crate::value::job_snapshot::JobSnapshot;
use crate::value::labels::Labels;
use crate::value::progress::{Progress, shortened};
use crate::value::run::Run;
use crate::value::shared_state::StateValue;
use crate::value::spawned_by::SpawnedBy;
use crate::value::status::JobStatus;
use crate::value::time_units::WallNanos;
use crate::value::waiting_for::WaitingFor;

impl<A, R> JobView for JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn core(&self) -> &JobCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut JobCore {
        &mut self.core
    }

    fn task_name(&self) -> &Arc<str> {
        &self.task.name
    }

    fn pending(&self) -> &PendingCounts {
        &self.task.pending
    }

    fn in_zone(&self, wall: WallNanos) -> OffsetDateTime {
        self.time(&self.lock(), wall)
    }

    fn exec_at(&self) -> OffsetDateTime {
        let state = self.lock();
        let definition = state.life.shown_definition();
        let zone = definition.and_then(|definition| definition.zone.as_ref());
        let zone = zone.unwrap_or(&self.hub().zone);
        zone.time_at(state.life.shown_exec_at())
    }

    fn cron_expression(&self) -> Option<Arc<str>> {
        let state = self.lock();
        Some(state.life.shown_definition()?.cron()?.as_str().into())
    }

    fn snapshot(&self) -> JobSnapshot {
        let waiting_for = self.waits_for();
        let state = self.lock();
        let definition = state.life.shown_definition().cloned();
        let own = definition.as_deref();
        let labels = own.and_then(|own| own.labels.as_deref().cloned());
        let labels = labels.unwrap_or_default();
        let status = self.core.status.get();
        let last_run = state.life.shown_last_run();
        let zone = own.and_then(|own| own.zone.as_ref());
        let zone = zone.unwrap_or(&self.hub().zone);
        let recurrence = own.and_then(|own| own.recurring());
        let recurrence = recurrence.map(|recurring| recurring.series.recurrence.to_string());
        let is_paused = state.life.is_paused() || self.holds().is_paused;
        JobSnapshot {
            id: self.core.id.clone(),
            task: self.task.name.clone(),
            status,
            due: zone.time_at(state.life.shown_exec_at()),
            trigger: recurrence.unwrap_or_else(|| "once".into()),
            scheduled_at: own.map(|own| zone.time_at(own.scheduled_at)),
            args: own.and_then(|own| own.args.as_ref()?.json().cloned()),
            is_durable: own.is_some_and(|own| own.is_durable()),
            attempt: state.life.attempts().saturating_add(1),
            runs: last_run.map_or(0, |run| run.number),
            failures_in_a_row: state.life.failures(),
            last_run: last_run.map(|run| self.run(&state, run)),
            is_paused: is_paused && !status.is_final(),
            waiting_for,
            progress: state.life.progress().cloned(),
            spawned_by: own.and_then(|own| own.spawned_by.as_deref().cloned()),
            tags: labels.tags,
            notes: labels.notes,
        }
    }

    fn set_checkpoint(
        &self,
        attempt: u32,
        value: Encoded,
        waits_by: WaitsBy,
    ) -> Result<CheckpointSet, NotSet> {
        checkpointing::set(self, attempt, value, waits_by)
    }

    fn codec(&self) -> Option<&SharedCodec> {
        self.task.codec.as_ref()
    }

    fn last_checkpoint(&self, attempt: u32) -> Result<Option<Encoded>, NotSet> {
        self.lock().life.last_checkpoint(attempt)
    }

    fn set_progress(&self, attempt: u32, percent: u8, text: &str) {
        let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Exact);
        let progress = Progress {
            percent: percent.min(100),
            text: shortened(text).into(),
            at: self.time(&state, now.wall),
        };
        if state.life.set_progress(attempt, progress.clone()) {
            let kind = JobEventKind::Progressed(progress);
            self.event(&mut state, now, |_| kind);
            self.unlock(state, AfterLock::default(), DropOn::ThisThread);
        }
    }

    fn progress(&self) -> Option<Progress> {
        self.lock().life.progress().cloned()
    }

    fn labels(&self) -> Option<Box<Labels>> {
        self.lock().life.shown_definition()?.labels.clone()
    }

    fn is_running(&self, attempt: u32) -> bool {
        let state = self.lock();
        state.life.number() == attempt && state.life.phase().is_running()
    }

    fn retries(&self) -> u32 {
        let state = self.lock();
        self.backoff(&state).map_or(0, Backoff::retries)
    }

    fn failures(&self) -> u32 {
        self.lock().life.failures()
    }

    fn since(&self, wall: WallNanos) -> Duration {
        let nanos = self.hub().clock.now().wall.saturating_sub(wall);
        Duration::from_nanos(nanos.max(0) as u64)
    }

    fn last_run(&self) -> Option<Run> {
        let state = self.lock();
        let run = state.life.shown_last_run()?;
        Some(self.run(&state, run))
    }

    fn upcoming(&self, count: usize) -> Vec<OffsetDateTime> {
        let state = self.lock();
        let zone = state.life.next_zone().unwrap_or(&self.hub().zone);
        let times = state.life.upcoming(count).into_iter();
        times.map(|time| zone.time_at(time)).collect()
    }

    fn runs_ended(&self) -> u32 {
        self.lock().life.shown_runs_ended()
    }

    fn is_abandoned(&self) -> bool {
        self.hub().has_stopped()
    }

    fn stop_if_forked(&self) {
        self.hub().stop_if_forked();
    }

    fn waits_for_body(&self) -> bool {
        self.lock().life.waits_for_body()
    }

    fn shared_state(&self, of: TypeId) -> Option<&StateValue> {
        let group = self.task.group.as_ref();
        let of_group = group.and_then(|group| group.state(of));
        of_group.or_else(|| self.hub().state.find(of))
    }

    fn is_in_group(&self, name: &str) -> bool {
        let mut groups = self
            .task
            .group
            .iter()
            .flat_map(|group| group.with_parents());
        groups.any(|group| *group.name == *name)
    }

    fn app(&self) -> Arc<dyn Any + Send + Sync> {
        self.task.hub.clone()
    }

    fn result(&self, place: &mut dyn Any) {
        if let Some(place) = place.downcast_mut() {
            let mut state = self.lock();
            let result = match state.last_result.get() {
                // Its status is `Cancelled`, and it has an error of its own.
                Err(error @ JobError::Expired { .. }) if !state.life.is_recurring() => Err(error),
                _ if self.core.status.get() == JobStatus::Cancelled => Err(JobError::Cancelled),
                // It is done, and no run of this process has ended.
                Err(JobError::NotCompleted) if self.core.status.get().is_final() => {
                    Err(JobError::NotKept)
                }
                result => result,
            };
            drop(state);
            *place = Some(result);
        }
    }

    fn is_set_aside(&self) -> bool {
        self.lock().life.is_set_aside()
    }

    fn declared_by(&self) -> Option<Arc<str>> {
        self.lock().life.declared_by().cloned()
    }

    fn spawned_by(&self) -> Option<SpawnedBy> {
        let state = self.lock();
        let by = state.life.shown_definition()?.spawned_by.as_deref()?;
        Some(by.clone())
    }

    fn interruptions(&self) -> u32 {
        self.lock().life.interruptions()
    }

    fn release(&self) -> Option<Option<CommitWaiter>> {
        set_aside::release(self)
    }

    fn is_paused(&self) -> bool {
        let state = self.lock();
        let is_paused = state.life.is_paused() || self.holds().is_paused;
        is_paused && !state.life.phase().is_ended()
    }

    fn is_held_by_pause(&self) -> bool {
        self.lock().life.is_held_by_pause(self.holds())
    }

    fn steer(&self, how: Steer) -> SteerReply {
        steering::steer(self, how)
    }

    fn waiting_for(&self) -> Option<WaitingFor> {
        self.waits_for()
    }

    fn ticket(&self) -> Option<TicketId> {
        self.lock().life.ticket()
    }

    fn needs_limit_of_one_of(&self, holder: *const ()) -> bool {
        JobState::needs_limit_of_one_of(self, holder)
    }

    fn cancel(&self, how: Cancelling) -> CancelReply {
        cancelling::cancel(self, how)
    }

    fn drop_safely(self: Arc<Self>) {
        let Some(job) = Arc::into_inner(self) else {
            return;
        };
        // The hub is cloned, not the task: a clone of the task could become the last
        // reference to its function, and would drop it on this thread.
        let hub = job.task.hub.clone();
        if job.has_values_to_drop() {
            hub.drop_on_executor(Box::new(job));
            return;
        }
        if let Some(task) = Arc::into_inner(job.task) {
            hub.drop_on_executor(Box::new(task));
        }
    }
}
