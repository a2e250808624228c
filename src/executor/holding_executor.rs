//! [`HoldingExecutor`]: keeps what is spawned until the app has started.

use crate::executor::contract::Executor;
use crate::executor::job_future::{BlockingJob, JobFuture};
use crate::sync::panics::catch_panic;
use crate::sync::primitives::{Arc, Mutex, lock};

/// Keeps what is spawned, in order, until [`release`](HoldingExecutor::release).
pub(crate) struct HoldingExecutor {
    /// The executor of the app.
    pub(crate) executor: Arc<dyn Executor>,
    /// `None` once it was released.
    held: Mutex<Option<Vec<Held>>>,
}

enum Held {
    Async(JobFuture),
    Blocking(BlockingJob),
}

impl HoldingExecutor {
    pub(crate) fn new(executor: Arc<dyn Executor>) -> Self {
        let held = Mutex::new(Some(Vec::new()));
        Self { executor, held }
    }

    /// Spawns what is held. What is spawned from now on goes to the executor at once.
    pub(crate) fn release(&self) {
        let held = lock(&self.held).take();
        for held in held.into_iter().flatten() {
            // A panic drops the future, as in `spawn`.
            let _ = catch_panic(|| self.pass_on(held));
        }
    }

    fn hold(&self, new: Held) {
        let left = match &mut *lock(&self.held) {
            Some(held) => {
                held.push(new);
                None
            }
            None => Some(new),
        };
        if let Some(left) = left {
            self.pass_on(left);
        }
    }

    fn pass_on(&self, held: Held) {
        match held {
            Held::Async(job) => self.executor.spawn(job),
            Held::Blocking(job) => self.executor.spawn_blocking(job),
        }
    }
}

impl Executor for HoldingExecutor {
    fn spawn(&self, job: JobFuture) {
        self.hold(Held::Async(job));
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        self.hold(Held::Blocking(job));
    }
}
