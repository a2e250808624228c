//! The [`Executor`] trait: what an app needs of a runtime.

use crate::executor::blocking_threads;
use crate::executor::job_future::{BlockingJob, JobFuture};

/// Runs the futures of an app's jobs.
///
/// Every `Fn(JobFuture)` is an executor, so the `spawn` function of a runtime is enough:
///
/// ```
/// use jobber::Jobber;
///
/// let app = Jobber::builder()
///     .executor(|job| smol::spawn(job).detach())
///     .build()?;
/// # Ok::<(), jobber::StartError>(())
/// ```
///
/// An executor that waits before it polls a future, for a permit of a semaphore for example, does
/// not limit how many jobs run: one future may carry many jobs. Use
/// [`JobberBuilder::max_running`](crate::JobberBuilder::max_running) or
/// [`TaskBuilder::limit`](crate::TaskBuilder::limit).
///
/// # On tokio
/// jobber does not depend on tokio, and it works on tokio. It calls the executor also from
/// threads of its own, such as that of the timer. These have no tokio context, and
/// `tokio::spawn` panics there: a pushed job would run, and a delayed one would fail. So the
/// executor owns a handle:
///
/// ```ignore
/// let handle = tokio::runtime::Handle::current();
/// let app = Jobber::builder().executor(move |job| drop(handle.spawn(job))).build()?;
/// ```
///
/// Async tasks may then use all of tokio. Blocking tasks run on threads of jobber; to use those
/// of tokio, implement [`spawn_blocking`](Executor::spawn_blocking) with
/// `handle.spawn_blocking(|| job.run())`. `examples/tokio`, in the repository, is a program that
/// does both.
///
/// Shut the app down, and then the runtime. A runtime that ends first drops the attempts that
/// run on it, and they fail. What is due later fails too, unless it is stored: then it waits for
/// the next start of the app.
///
/// # On async-std
/// `.executor(|job| drop(async_std::task::spawn(job)))` works, and is tested. async-std's own
/// README says that it is discontinued, and recommends smol.
pub trait Executor: Send + Sync + 'static {
    /// Takes a future and polls it until it is ready.
    ///
    /// If the future is dropped before it is ready, its attempt fails with
    /// [`ExecutorDropped`](crate::ExecutorDropped). Two exceptions apply to durable jobs.
    /// If the job that the future has at that time has not begun, no attempt was made: the job is due
    /// again after one second, and after up to a minute if that happens again. If the app stops, the
    /// next process makes the attempt again.
    ///
    /// # Blocking
    /// The threads that schedule call this, the timer's thread and that of the store. It should pass the
    /// future on and return. An executor that polls the future inside `spawn` blocks
    /// its caller for that time.
    ///
    /// # Panics
    /// A panic in `spawn` drops the future, with the same consequences. It does not reach
    /// the caller.
    fn spawn(&self, job: JobFuture);

    /// Takes a job of a [`blocking_task`](crate::Jobber::blocking_task) and calls
    /// [`run`](BlockingJob::run) on a thread that may block.
    ///
    /// The default uses threads that all apps of the process share. It starts them as it
    /// needs them, up to 500, and a thread that has nothing to do ends after five seconds.
    /// If the operating system starts no thread, the job waits until one of these threads is
    /// free, or another one can be started: the next blocking job tries that, and at least once
    /// a second a timer. If there are no such threads, the job is dropped.
    /// [`Failing::Thread`](crate::Failing::Thread) says when
    /// [`Jobber::health`](crate::Jobber::health) shows that.
    ///
    /// What [`spawn`](Executor::spawn) says about dropping, blocking and panics holds
    /// here too.
    fn spawn_blocking(&self, job: BlockingJob) {
        blocking_threads::run(job);
    }
}

impl<F: Fn(JobFuture) + Send + Sync + 'static> Executor for F {
    fn spawn(&self, job: JobFuture) {
        self(job)
    }
}
