//! [`Spawner`]: the app's executor, until the app stops.

use crate::executor::calling_executor::CallingExecutor;
use crate::executor::contract::Executor;
use crate::executor::job_future::{BlockingJob, JobFuture};
use crate::executor::spawned_attempt::SpawnedAttempt;
use crate::job::live_job::LiveJob;
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Mutex, lock};

/// Calls the user's executor. A panic of it does not reach the caller.
pub(crate) struct Spawner {
    /// `None` once the app has stopped. The executor may hold runners, and they hold
    /// this: without the `None`, none of them would ever be freed.
    executor: Mutex<Option<Arc<dyn Executor>>>,
}

impl Spawner {
    pub(crate) fn new(executor: Arc<dyn Executor>) -> Self {
        Self {
            executor: Mutex::new(Some(executor)),
        }
    }

    fn executor(&self) -> Option<Arc<dyn Executor>> {
        lock(&self.executor).clone()
    }

    /// Spawns a future. If that fails, the future has been dropped, and `false` is
    /// returned.
    pub(crate) fn spawn(&self, future: JobFuture) -> bool {
        let _calling = CallingExecutor::begin();
        catch_panic(|| self.executor().map(|executor| executor.spawn(future))) == Ok(Some(()))
    }

    /// Spawns an attempt of a job that has been fired. If that fails, the attempt has
    /// failed.
    pub(crate) fn spawn_attempt(&self, job: Arc<dyn LiveJob>) {
        if job.is_blocking() {
            let _calling = CallingExecutor::begin();
            let job = BlockingJob::new(job);
            let _ = catch_panic(|| self.executor().map(|executor| executor.spawn_blocking(job)));
        } else {
            self.spawn(JobFuture::attempt(SpawnedAttempt::new(job)));
        }
    }

    /// Drops the executor. From here on, spawning fails.
    pub(crate) fn close(&self) {
        let executor = lock(&self.executor).take();
        drop_catching_panic(executor);
    }
}
