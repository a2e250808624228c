//! Jobs that were set aside, because a process has ended too often during their attempts.

use crate::engine::cancelling::{may_change_store, wait_for_store};
use crate::engine::discarded::DropOn;
use crate::engine::hub::{Hub, Live};
use crate::engine::job_state::{AfterLock, JobState};
use crate::job::sync_state::CommitWaiter;
use crate::storage::contract::UnresolvedJob;
use crate::sync::primitives::lock;
use crate::sync::reply::Reply;
use crate::value::app_clock::ClockPrecision;
use crate::value::error::{StorageError, UnresolvedReason};
use crate::value::id::JobId;

/// Lets the job start again. Returns the reply of the store, if it is still to come; `None` if
/// the job was not set aside.
pub(crate) fn release<A, R>(job: &JobState<A, R>) -> Option<Option<CommitWaiter>>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let (mut state, now) = job.lock_with_time(|_| ClockPrecision::Exact);
    if !state.life.is_set_aside() {
        return None;
    }
    if !may_change_store(job, &state) {
        let reply = Reply::new();
        reply.send(Err(StorageError::Closed));
        return Some(Some(reply));
    }
    let effects = state.life.release_set_aside()?;
    let mut after = AfterLock::default();
    job.follow(&mut state, effects, now, &mut after);
    let reply = wait_for_store(job, &mut state, &mut after);
    job.unlock(state, after, DropOn::ThisThread);
    Some(reply)
}

impl Hub {
    /// The jobs that are set aside now, sorted by id.
    fn set_aside(&self) -> Vec<Live> {
        // Most apps have none.
        let ids: Vec<JobId> = lock(&self.main_shard).set_aside.iter().cloned().collect();
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            match self.find(&id).filter(|job| job.is_set_aside()) {
                Some(job) => jobs.push(job),
                // It was released, cancelled or aborted.
                None => _ = lock(&self.main_shard).set_aside.remove(&id),
            }
        }
        jobs
    }

    /// The jobs that are set aside, as users see them.
    pub(crate) fn unresolved_set_aside(&self) -> Vec<UnresolvedJob> {
        let jobs = self.set_aside().into_iter();
        let unresolved = jobs.map(|job| UnresolvedJob {
            id: job.core().id.clone(),
            task: job.task_name().to_string(),
            reason: UnresolvedReason::SetAside {
                interruptions: job.interruptions(),
            },
        });
        unresolved.collect()
    }

    pub(crate) fn set_aside_count(&self) -> usize {
        self.set_aside().len()
    }

    /// The job of this id, if it is set aside.
    pub(crate) fn find_set_aside(&self, id: &JobId) -> Option<Live> {
        self.find(id).filter(|job| job.is_set_aside())
    }
}
