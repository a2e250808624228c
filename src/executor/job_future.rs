//! Where jobs run: the [`Executor`] trait, and what it is given.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::executor::drainer::Drainer;
use crate::job::live_job::{
    Attempt, AttemptFailure, Body, ExecutorJob, Exit, Fired, JobView, LiveJob, TimerJob,
};
use crate::job::stop::Killed;
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::Arc;
#[cfg(not(feature = "thread-pool"))]
use crate::sync::primitives::thread;
use crate::sync::waiter::{Condition, Waiter};
use crate::value::clock::Now;

/// Runs the futures that it is given.
///
/// Every `Fn(JobFuture)` is one, so that a runtime's `spawn` is all it takes:
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
/// `spawn` is called from the timer's thread, and from the threads that
/// schedule. It should hand the future over and return; one that runs it on the
/// spot holds up whoever called. A panic in it fails the job that it was given.
pub trait Executor: Send + Sync + 'static {
    /// Takes a future and polls it to its end.
    ///
    /// A future that is dropped before its end fails its attempt.
    fn spawn(&self, job: JobFuture);

    /// Takes a job of a [`blocking_task`](crate::Jobber::blocking_task) and runs
    /// it where blocking does no harm.
    ///
    /// By default this is the pool of the crate `blocking`, which smol and
    /// async-std use as well (its threads come with the load, up to 500 or
    /// `BLOCKING_MAX_THREADS`, and stay for a while or, by its version 1.7.0, for
    /// good); without the feature `thread-pool`, a new thread for each.
    fn spawn_blocking(&self, job: BlockingJob) {
        #[cfg(feature = "thread-pool")]
        blocking::unblock(move || job.run()).detach();
        #[cfg(not(feature = "thread-pool"))]
        {
            // Without a thread the job is dropped, and so its attempt fails.
            let _ = thread::Builder::new()
                .name("jobber-blocking".into())
                .spawn(move || job.run());
        }
    }
}

impl<F: Fn(JobFuture) + Send + Sync + 'static> Executor for F {
    fn spawn(&self, job: JobFuture) {
        self(job)
    }
}

/// What an [`Executor`] polls: an attempt of a job, or the start of many.
///
/// It never panics, whatever the task does. It is `Send`, `Unpin` and a type
/// of its own, so that an executor can keep it without a box.
#[must_use = "a job whose future is dropped has failed"]
pub struct JobFuture(Work);

enum Work {
    One(Handed),
    Many(Drainer),
    /// Values that are dropped here, and not where they were left.
    Disposal(Option<Box<dyn Any + Send>>),
}

impl JobFuture {
    pub(crate) fn one(job: Arc<dyn LiveJob>) -> Self {
        Self(Work::One(Handed::new(job)))
    }

    /// The rest of an attempt that has begun.
    pub(crate) fn handed(handed: Handed) -> Self {
        Self(Work::One(handed))
    }

    pub(crate) fn disposal(value: Box<dyn Any + Send>) -> Self {
        Self(Work::Disposal(Some(value)))
    }

    pub(crate) fn many(drainer: Drainer) -> Self {
        Self(Work::Many(drainer))
    }
}

impl Future for JobFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Work::One(handed) => handed.poll_to_its_end(cx),
            Work::Many(drainer) => drainer.poll(cx),
            Work::Disposal(value) => {
                drop_catching_panic(value.take());
                Poll::Ready(())
            }
        }
    }
}

impl fmt::Debug for JobFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Work::One(handed) => f
                .debug_tuple("JobFuture")
                .field(&handed.job.core().id)
                .finish(),
            Work::Many(_) | Work::Disposal(_) => f.write_str("JobFuture(..)"),
        }
    }
}

/// An attempt of a blocking task, for [`Executor::spawn_blocking`].
#[must_use = "a job that is dropped has failed"]
pub struct BlockingJob(Handed);

impl BlockingJob {
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self(Handed::new(job))
    }

    /// Runs the task's function, on this thread, to its end. Never panics.
    pub fn run(mut self) {
        // The body calls the function in its first poll, and is then done.
        let _ = self
            .0
            .poll_to_its_end(&mut Context::from_waker(Waker::noop()));
    }
}

impl fmt::Debug for BlockingJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingJob")
            .field(&self.0.job.core().id)
            .finish()
    }
}

/// A job in the hands of the executor.
pub(crate) struct Handed {
    job: Arc<dyn LiveJob>,
    state: HandedState,
}

enum HandedState {
    Waiting,
    /// And the timer has not seen to it, which found it due then.
    Due(Now),
    Running(Running),
    Done,
}

struct Running {
    attempt: u32,
    /// `None` once it has been dropped.
    body: Option<Body>,
    /// It came to its end, and has handed in its result.
    has_ended: bool,
    /// Made when the body first has to wait.
    killed: Option<Waiter<Killed>>,
}

impl Handed {
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self {
            job,
            state: HandedState::Waiting,
        }
    }

    pub(crate) fn due(job: Arc<dyn LiveJob>, now: Now) -> Self {
        Self {
            job,
            state: HandedState::Due(now),
        }
    }

    /// Polls it, and takes the job out if it stays.
    fn poll_to_its_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::task::ready!(self.poll(cx)) == Exit::MustRemove {
            self.job.leave();
        }
        Poll::Ready(())
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        if let HandedState::Waiting | HandedState::Due(_) = self.state {
            let job = self.job.clone();
            let begun = match std::mem::replace(&mut self.state, HandedState::Done) {
                HandedState::Due(now) => job.fire_and_begin(now),
                _ => job.begin(),
            };
            let Some(Attempt { number, body }) = begun else {
                return Poll::Ready(Exit::Done);
            };
            self.state = HandedState::Running(Running {
                attempt: number,
                body: Some(body),
                has_ended: false,
                killed: None,
            });
        }
        let HandedState::Running(running) = &mut self.state else {
            return Poll::Ready(Exit::Done);
        };
        let exit = std::task::ready!(running.poll(&self.job, cx));
        running.let_go(&self.job);
        self.state = HandedState::Done;
        Poll::Ready(exit)
    }
}

impl Running {
    /// Ready when the body has ended, or is to be dropped.
    fn poll(&mut self, job: &Arc<dyn LiveJob>, cx: &mut Context<'_>) -> Poll<Exit> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Exit::Done);
        };
        if self
            .killed
            .as_ref()
            .is_some_and(|k| k.condition().ready().is_some())
        {
            return Poll::Ready(Exit::Done);
        }
        match catch_panic(|| body.as_mut().poll(cx)) {
            Ok(Poll::Ready(exit)) => {
                self.has_ended = true;
                Poll::Ready(exit)
            }
            Err(message) => {
                job.fail_attempt(self.attempt, AttemptFailure::Panicked(message));
                Poll::Ready(Exit::Done)
            }
            Ok(Poll::Pending) => {
                let attempt = self.attempt;
                let killed = self
                    .killed
                    .get_or_insert_with(|| Waiter::new(Killed(job.control(attempt))));
                Pin::new(killed).poll(cx).map(|()| Exit::Done)
            }
        }
    }

    /// Drops the body, and then says so.
    fn let_go(&mut self, job: &Arc<dyn LiveJob>) {
        if let Some(body) = self.body.take() {
            if let Err(message) = catch_panic(|| drop(body)) {
                job.fail_attempt(self.attempt, AttemptFailure::Panicked(message));
            }
            // With its result it has said that it is over.
            if !self.has_ended {
                job.body_gone(self.attempt);
            }
        }
    }
}

impl Drop for JobFuture {
    fn drop(&mut self) {
        if let Work::Disposal(value) = &mut self.0 {
            drop_catching_panic(value.take());
        }
    }
}

impl Drop for Handed {
    /// The executor let go of a job that has not ended.
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, HandedState::Done) {
            HandedState::Done => {}
            HandedState::Waiting => self.job.refuse(),
            HandedState::Due(now) => {
                if self.job.on_timer(now) == Fired::Start {
                    self.job.refuse();
                }
            }
            HandedState::Running(mut running) => {
                self.job
                    .fail_attempt(running.attempt, AttemptFailure::Dropped);
                running.let_go(&self.job);
            }
        }
    }
}
