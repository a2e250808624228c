//! The values that a call on a [`Job`](crate::Job) returns to be awaited.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::job::live_job::{CancelReply, Cancelling, LiveJob};
use crate::sync::parker::block_on;
use crate::sync::polling::{is_pool_thread, polled_job};
use crate::sync::primitives::{Arc, Event, Timer};
use crate::sync::reply::ReplySent;
use crate::sync::waiter::{Condition, Waiter};
use crate::value::cancel_outcome::CancelOutcome;
use crate::value::error::{JobError, StorageError};
use crate::value::run::Run;
use crate::value::status::JobStatus;

/// # Panics
/// If a wait on this thread for `job`, which is not done, could never end.
fn check_wait(job: &Arc<dyn LiveJob>, is_blocking: bool) {
    // A destructor that runs because of a panic would abort the process.
    if std::thread::panicking() {
        return;
    }
    let id = &job.core().id;
    if polled_job() == Some(Arc::as_ptr(job).cast()) {
        panic!("an attempt of the job `{id}` waits for the end of its own job");
    }
    if let Some(holder) = polled_job()
        && job.needs_limit_of_one_of(holder)
    {
        panic!(
            "an attempt waits for the job `{id}`, which needs a limit of one that the attempt \
             holds, and so never starts"
        );
    }
    if is_blocking && is_pool_thread() {
        panic!(
            "an async task blocks a thread of the thread pool until the job `{id}` is done, \
             which may need that thread: `.await` the job instead"
        );
    }
}

/// True when the job is done or its app has stopped.
struct IsOver(Arc<dyn LiveJob>);

impl Condition for IsOver {
    type Output = JobStatus;

    fn ready(&self) -> Option<JobStatus> {
        let status = self.0.core().status.get();
        (status.is_final() || self.0.is_abandoned()).then(|| self.0.core().status.get())
    }

    fn event(&self) -> &Event {
        &self.0.core().changed
    }

    fn announce(&self) {
        self.0.core().status.announce_waiter();
        self.0.stop_if_forked();
    }

    fn check_wait(&self, is_blocking: bool) {
        check_wait(&self.0, is_blocking);
    }
}

/// Waits until a job is done or its app has stopped: returned by
/// [`Job::wait`](crate::Job::wait). It owns what it needs, and can be spawned.
///
/// ```
/// # use std::time::Duration;
/// # use jobber::{JobStatus, testing::Simulation};
/// # let mut sim = Simulation::new();
/// # let hello = sim.app().task("hello", || async { "Hello!" }).register()?;
/// let job = hello.schedule(()).push().block_on()?;
/// let wait = job.wait();
/// sim.run_until_stalled();
/// assert_eq!(wait.block_on(), JobStatus::Success); // or: wait.await
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct Wait(Waiter<IsOver>);

impl Wait {
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self(Waiter::new(IsOver(job)))
    }

    /// Blocks the thread until the job is done or its app has stopped. Returns
    /// the status at that time.
    ///
    /// # Panics
    /// As [`Job::wait`](crate::Job::wait).
    pub fn block_on(self) -> JobStatus {
        self.0.block()
    }

    fn job(&self) -> &Arc<dyn LiveJob> {
        &self.0.condition().0
    }
}

impl Future for Wait {
    type Output = JobStatus;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<JobStatus> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wait").field(&self.job().core().id).finish()
    }
}

/// Waits for a job, but not longer than a limit: returned by
/// [`Job::wait_timeout`](crate::Job::wait_timeout).
///
/// The limit counts from the first poll, or from the call of
/// [`block_on`](WaitTimeout::block_on).
///
/// ```
/// # use std::time::Duration;
/// # use jobber::{JobStatus, testing::Simulation};
/// # let mut sim = Simulation::new();
/// # let hello = sim.app().task("hello", || async { "Hello!" }).register()?;
/// let job = hello.schedule(()).delay(Duration::from_secs(60)).block_on()?;
/// let wait = job.wait_timeout(Duration::from_millis(1));
/// assert_eq!(wait.block_on(), JobStatus::Scheduled); // or: wait.await
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct WaitTimeout {
    wait: Wait,
    limit: Limit,
}

#[derive(Debug)]
enum Limit {
    /// Not polled yet.
    Unset(Duration),
    Set(Timer),
}

impl WaitTimeout {
    pub(crate) fn new(job: Arc<dyn LiveJob>, limit: Duration) -> Self {
        Self {
            wait: Wait::new(job),
            limit: Limit::Unset(limit),
        }
    }

    /// Blocks the thread until the job is done, its app has stopped, or the
    /// limit has passed. Returns the status at that time.
    ///
    /// # Panics
    /// As [`Job::wait`](crate::Job::wait).
    pub fn block_on(self) -> JobStatus {
        let deadline = match self.limit {
            Limit::Unset(limit) => Instant::now().checked_add(limit),
            // A timer does not say how much time is left: drive it as a future.
            Limit::Set(_) => {
                self.wait.0.check_block();
                return block_on(self);
            }
        };
        let Some(deadline) = deadline else {
            return self.wait.block_on();
        };
        let job = self.wait.job().clone();
        let status = self.wait.0.block_until(deadline);
        status.unwrap_or_else(|| job.core().status.get())
    }
}

impl Future for WaitTimeout {
    type Output = JobStatus;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<JobStatus> {
        let this = &mut *self;
        if let Poll::Ready(status) = Pin::new(&mut this.wait).poll(cx) {
            return Poll::Ready(status);
        }
        if let Limit::Unset(limit) = this.limit {
            this.limit = Limit::Set(Timer::after(limit));
        }
        if let Limit::Set(timer) = &mut this.limit {
            ready!(Pin::new(timer).poll(cx));
        }
        Poll::Ready(this.wait.job().core().status.get())
    }
}

/// True when one more run than `ended` has ended, or when no run will follow.
struct RunEnded {
    /// The runs that had ended when the wait was made.
    ended: u32,
    job: Arc<dyn LiveJob>,
}

impl Condition for RunEnded {
    type Output = Option<Run>;

    fn ready(&self) -> Option<Option<Run>> {
        // Read the status first: when it is final, no run ends after this read.
        let is_over = self.job.core().status.get().is_final() || self.job.is_abandoned();
        if self.job.runs_ended() != self.ended
            && let Some(run) = self.job.last_run()
        {
            return Some(Some(run));
        }
        // A replacement may have removed the last run: then wait for the next one.
        is_over.then_some(None)
    }

    fn event(&self) -> &Event {
        &self.job.core().changed
    }

    fn announce(&self) {
        self.job.core().status.announce_waiter();
        self.job.stop_if_forked();
    }

    fn check_wait(&self, is_blocking: bool) {
        check_wait(&self.job, is_blocking);
    }
}

/// Waits until a run of a recurring job ends: returned by
/// [`Job::next_run`](crate::Job::next_run).
///
/// ```
/// # use std::time::Duration;
/// # use jobber::{JobStatus, testing::Simulation};
/// # let mut sim = Simulation::new();
/// # let hello = sim.app().task("hello", || async { "Hello!" }).register()?;
/// let job = hello.schedule(()).every(Duration::from_secs(60)).block_on()?;
/// let (first, second) = (job.next_run(), job.next_run());
/// sim.advance(Duration::from_secs(60));
/// assert_eq!(first.block_on().unwrap().number, 1); // or: first.await
/// assert_eq!(second.block_on().unwrap().number, 1, "both count from the same run");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct NextRun(Waiter<RunEnded>);

impl NextRun {
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self(Waiter::new(RunEnded {
            ended: job.runs_ended(),
            job,
        }))
    }

    /// Blocks the thread until a run has ended, or until it is sure that no run
    /// will follow. Returns what [`Job::next_run`](crate::Job::next_run) says.
    ///
    /// # Panics
    /// As [`Job::wait`](crate::Job::wait).
    pub fn block_on(self) -> Option<Run> {
        self.0.block()
    }
}

impl Future for NextRun {
    type Output = Option<Run>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Run>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for NextRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextRun")
            .field("job", &self.0.condition().job.core().id)
            .field("after", &self.0.condition().ended)
            .finish()
    }
}

/// The result of a job whose value is of the type `R`.
pub(crate) fn result_of<R>(job: &dyn LiveJob) -> Result<Arc<R>, JobError>
where
    R: Send + Sync + 'static,
{
    let mut place: Option<Result<Arc<R>, JobError>> = None;
    job.result(&mut place);
    // `None` can't occur: `R` is the type that the job was made with.
    place.unwrap_or(Err(JobError::NotCompleted))
}

/// Waits until a job is done, and returns its result: the future of `job.await`.
///
/// ```
/// # use std::time::Duration;
/// # use jobber::{JobStatus, testing::Simulation};
/// # let mut sim = Simulation::new();
/// # let hello = sim.app().task("hello", || async { "Hello!" }).register()?;
/// use std::future::IntoFuture;
///
/// let job = hello.schedule(()).push().block_on()?;
/// sim.run_until_stalled();
/// let result = job.into_future();
/// assert_eq!(*result.block_on()?, "Hello!"); // or: result.await
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct JobResult<R> {
    wait: Wait,
    value: PhantomData<fn() -> R>,
}

impl<R: Send + Sync + 'static> JobResult<R> {
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self {
            wait: Wait::new(job),
            value: PhantomData,
        }
    }

    /// Blocks the thread until the job is done or its app has stopped. Returns
    /// the [`result`](crate::Job::result) at that time.
    ///
    /// # Errors
    /// The errors of [`Job::result`](crate::Job::result).
    ///
    /// # Panics
    /// As [`Job::wait`](crate::Job::wait).
    pub fn block_on(self) -> Result<Arc<R>, JobError> {
        let job = self.wait.job().clone();
        self.wait.block_on();
        result_of(&*job)
    }
}

impl<R: Send + Sync + 'static> Future for JobResult<R> {
    type Output = Result<Arc<R>, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(Pin::new(&mut self.wait).poll(cx));
        Poll::Ready(result_of(&**self.wait.job()))
    }
}

impl<R> fmt::Debug for JobResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.wait.job().core().id;
        f.debug_tuple("JobResult").field(id).finish()
    }
}

/// Cancels a job: returned by [`Job::cancel`](crate::Job::cancel) and
/// [`Job::abort`](crate::Job::abort).
///
/// The first poll cancels the job. If the job is stored, the value then waits
/// until the store has deleted it; the store deletes it also if this value is
/// dropped in the meantime.
///
/// ```
/// # use std::time::Duration;
/// # use jobber::{CancelOutcome, testing::Simulation};
/// # let mut sim = Simulation::new();
/// # let hello = sim.app().task("hello", || async { "Hello!" }).register()?;
/// let job = hello.schedule(()).delay(Duration::from_secs(60)).block_on()?;
/// let outcome = smol::block_on(smol::spawn(job.cancel()))?;
/// assert_eq!(outcome, CancelOutcome::Cancelled);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct Cancel {
    job: Arc<dyn LiveJob>,
    state: CancelState,
}

/// The reply of the store, which deletes a job.
type Deleted = Waiter<ReplySent<Result<(), StorageError>>>;

enum CancelState {
    New(Cancelling),
    Waiting(CancelOutcome, Deleted),
    Done,
}

impl Cancel {
    pub(crate) fn new(job: Arc<dyn LiveJob>, how: Cancelling) -> Self {
        Self {
            job,
            state: CancelState::New(how),
        }
    }

    /// Cancels the job. If the job is stored, blocks the thread until the store
    /// has deleted it.
    ///
    /// # Errors
    /// The errors of [`Job::cancel`](crate::Job::cancel).
    ///
    /// # Panics
    /// If the value was polled to its end before.
    pub fn block_on(mut self) -> Result<CancelOutcome, StorageError> {
        let (outcome, deleted) = self.begin();
        deleted.map_or(Ok(()), Waiter::block).map(|()| outcome)
    }

    /// Cancels the job, unless an earlier poll has. Returns what that has done, and the reply
    /// that is still to come.
    fn begin(&mut self) -> (CancelOutcome, Option<Deleted>) {
        match std::mem::replace(&mut self.state, CancelState::Done) {
            CancelState::New(how) => {
                let CancelReply { outcome, reply } = self.job.cancel(how);
                (outcome, reply.map(|reply| Waiter::new(ReplySent(reply))))
            }
            CancelState::Waiting(outcome, deleted) => (outcome, Some(deleted)),
            CancelState::Done => panic!("`Cancel` was polled after it was ready"),
        }
    }
}

impl Future for Cancel {
    type Output = Result<CancelOutcome, StorageError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (outcome, deleted) = self.begin();
        let Some(mut deleted) = deleted else {
            return Poll::Ready(Ok(outcome));
        };
        match Pin::new(&mut deleted).poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map(|()| outcome)),
            Poll::Pending => {
                self.state = CancelState::Waiting(outcome, deleted);
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.job.core().id).finish()
    }
}
