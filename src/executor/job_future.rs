//! [`JobFuture`], with [`BlockingJob`]: what an executor runs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::executor::spawned_attempt::SpawnedAttempt;
use crate::job::live_job::LiveJob;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::Arc;

/// What an [`Executor`](crate::Executor) polls: one attempt of a job, or internal work
/// that starts many of them. If one async job gets its [limits](crate::TaskBuilder::limit) by the
/// end of an attempt, the future may go on with that job.
///
/// Polling it never panics, whatever the task does. It is `Send` and `Unpin`, and its
/// type has a name, so an executor can keep it without a box.
///
/// # Cancel safety
/// If it is dropped before it is ready, its attempt fails with
/// [`ExecutorDropped`](crate::ExecutorDropped), which the task's
/// [retries](crate::TaskBuilder::retry) treat like any other failure.
/// [`Executor::spawn`](crate::Executor::spawn) has the exceptions for durable jobs.
#[must_use = "dropping this fails the attempt"]
pub struct JobFuture(Work);

enum Work {
    Attempt(SpawnedAttempt),
    /// A runner, or a value to drop. It is boxed, so that this type names neither. Both
    /// are rare. `None` once it is ready.
    Boxed(Option<Pin<Box<dyn Future<Output = ()> + Send>>>),
}

impl JobFuture {
    pub(crate) fn attempt(attempt: SpawnedAttempt) -> Self {
        Self(Work::Attempt(attempt))
    }

    pub(crate) fn boxed(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Work::Boxed(Some(Box::pin(future))))
    }
}

impl Future for JobFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Work::Attempt(attempt) => attempt.poll_on(cx),
            Work::Boxed(future) => {
                if let Some(pending) = future {
                    std::task::ready!(pending.as_mut().poll(cx));
                    drop_catching_panic(future.take());
                }
                Poll::Ready(())
            }
        }
    }
}

impl Drop for JobFuture {
    fn drop(&mut self) {
        if let Work::Boxed(future) = &mut self.0 {
            // It may hold a user's value.
            drop_catching_panic(future.take());
        }
    }
}

impl fmt::Debug for JobFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Work::Attempt(attempt) => f.debug_tuple("JobFuture").field(attempt.id()).finish(),
            Work::Boxed(_) => f.write_str("JobFuture(..)"),
        }
    }
}

/// One attempt of a blocking task, for
/// [`Executor::spawn_blocking`](crate::Executor::spawn_blocking).
///
/// If it is dropped before it [runs](BlockingJob::run), its attempt fails with
/// [`ExecutorDropped`](crate::ExecutorDropped). For a durable job, no attempt was made,
/// and the job is due again: see [`Executor::spawn`](crate::Executor::spawn).
#[must_use = "dropping this fails the attempt"]
pub struct BlockingJob(SpawnedAttempt);

impl BlockingJob {
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self(SpawnedAttempt::new(job))
    }

    /// Calls the task's function on this thread, and returns when it has returned.
    ///
    /// It never panics: a panic of the function fails the attempt.
    pub fn run(mut self) {
        // The body of a blocking task calls the function in its first poll, and is ready.
        // It never has a next job.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.0.poll_on(&mut cx);
    }
}

impl fmt::Debug for BlockingJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingJob").field(self.0.id()).finish()
    }
}
