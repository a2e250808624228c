//! An executor that runs the jobs of an app on a tokio runtime. `src/main.rs` uses it.

use jobber::{BlockingJob, Executor, JobFuture};
use tokio::runtime::Handle;

/// Runs jobs on a tokio runtime: async tasks on its workers, blocking tasks on its blocking
/// pool.
///
/// It owns a handle, because jobber calls it also from threads that have no tokio context, such
/// as the thread of the timer. `tokio::spawn` panics there.
///
/// If the runtime ends first, it drops the attempts that run on it, and they fail with
/// [`ExecutorDropped`](jobber::ExecutorDropped). So shut the app down, and then the runtime.
pub struct OnTokio(Handle);

impl OnTokio {
    /// The runtime that the caller runs on.
    ///
    /// # Panics
    /// If the caller does not run on tokio.
    pub fn current() -> Self {
        Self(Handle::current())
    }
}

impl Executor for OnTokio {
    fn spawn(&self, job: JobFuture) {
        // The future goes on when tokio's `JoinHandle` is dropped.
        drop(self.0.spawn(job));
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        drop(self.0.spawn_blocking(|| job.run()));
    }
}
