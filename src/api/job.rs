//! The handle: [`Job`], and [`AnyJob`] for a job whose value is not known.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::job::execution::{Cancelled, Cancelling, Execution};
use crate::sync::primitives::{Arc, Event, Timer, block_on};
use crate::sync::waiter::{Condition, Replied, Waiter};
use crate::value::error::{JobError, StorageError};
use crate::value::id::JobId;
use crate::value::run::Run;
use crate::value::status::JobStatus;

/// A scheduled job: look at it, wait for it, take its result, cancel it.
///
/// It is made by scheduling and in no other way. It can be cloned and sent
/// anywhere; dropping it changes nothing, and holding it keeps no app alive.
/// All that does not need the type of the value is on [`AnyJob`], to which it
/// dereferences.
///
/// `job.await` waits and gives the [`result`](Job::result).
///
/// ```
/// use jobber::{JobStatus, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let add = app.task("add", async |x: i32, y: i32| x + y).register()?;
/// app.start().wait_blocking()?;
///
/// let job = add.schedule((1, 2)).push().wait_blocking()?;
/// assert_eq!(job.wait_blocking(), JobStatus::Success);
/// assert_eq!(*job.result()?, 3);
///
/// let job = add.schedule((3, 4)).push().wait_blocking()?;
/// assert_eq!(*smol::block_on(async { job.await })?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the job runs all the same; `let _ =` says that nobody will look at it"]
pub struct Job<R> {
    job: AnyJob,
    value: PhantomData<fn() -> R>,
}

/// A job whose value's type is not known here: what
/// [`Jobber::find_job`](crate::Jobber::find_job) and
/// [`Jobber::jobs`](crate::Jobber::jobs) give.
///
/// [`Task::job`](crate::Task::job) gives the typed [`Job`].
///
/// ```
/// use jobber::{JobStatus, testing::Simulation};
/// use std::time::Duration;
///
/// let sim = Simulation::new();
/// let hello = sim.app().task("hello", || async {}).register()?;
/// let _ = hello.schedule(()).id("greeting").delay(Duration::from_secs(60)).wait_blocking()?;
///
/// let job = sim.app().find_job("greeting").unwrap();
/// assert_eq!(job.status(), JobStatus::Scheduled);
/// assert!(job.cancel().wait_blocking()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "the job runs all the same; `let _ =` says that nobody will look at it"]
pub struct AnyJob(Arc<dyn Execution>);

impl<R: Send + Sync + 'static> Job<R> {
    /// The handle of a job whose value is of this type.
    pub(crate) fn new(job: Arc<dyn Execution>) -> Self {
        Self {
            job: AnyJob(job),
            value: PhantomData,
        }
    }

    /// What came of it. Never blocks.
    ///
    /// A recurring job answers with its last finished run, until it ends; one that a
    /// replacement gave up while it waited for a retry has no result, and leaves that of
    /// the run before.
    ///
    /// # Errors
    /// [`JobError::NotCompleted`] before the end, [`JobError::Cancelled`] for a
    /// job that was cancelled, and otherwise how the last attempt failed.
    ///
    /// ```
    /// use jobber::{JobError, testing::Simulation};
    ///
    /// let mut sim = Simulation::new();
    /// let half = sim.app().task("half", async |x: u32| x / 2).register()?;
    /// let job = half.schedule(8).push().wait_blocking()?;
    /// assert!(matches!(job.result(), Err(JobError::NotCompleted)));
    /// sim.run_until_stalled();
    /// assert_eq!(*job.result()?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn result(&self) -> Result<Arc<R>, JobError> {
        match self.status() {
            JobStatus::Cancelled => Err(JobError::Cancelled),
            _ => {
                let mut place: Option<Result<Arc<R>, JobError>> = None;
                self.job.0.result(&mut place);
                // Always there: a `Job<R>` is made for nothing else.
                place.unwrap_or(Err(JobError::NotCompleted))
            }
        }
    }
}

impl AnyJob {
    pub(crate) fn new(job: Arc<dyn Execution>) -> Self {
        Self(job)
    }

    /// Its name, unique among the live jobs of its app.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).id("greeting").push().wait_blocking()?;
    /// assert_eq!(*job.id(), "greeting");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> &JobId {
        &self.0.core().id
    }

    /// The name of its task.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().wait_blocking()?;
    /// assert_eq!(job.task_name(), "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_name(&self) -> &str {
        self.0.task_name()
    }

    /// Where it stands now. Never blocks.
    ///
    /// ```
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().wait_blocking()?;
    /// assert_eq!(job.status(), JobStatus::Scheduled);
    /// sim.run_until_stalled();
    /// assert_eq!(job.status(), JobStatus::Success);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status(&self) -> JobStatus {
        self.0.core().status.get()
    }

    /// Whether a final status is reached, whichever. Never blocks.
    ///
    /// ```
    /// # use jobber::testing::Simulation;
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().wait_blocking()?;
    /// assert!(!job.is_done());
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_done(&self) -> bool {
        self.status().is_final()
    }

    /// When it is due, with the offset that is in force then in its zone: for a recurring job its next
    /// run, for one that waits for a retry that retry. Once it runs, when it
    /// was due.
    ///
    /// For `delay` and `every`, which go by the monotonic clock, this is the
    /// wall time as foreseen when it was set.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{Clock, testing::Simulation};
    /// # let sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).delay(minute).wait_blocking()?;
    /// assert_eq!(job.exec_at(), sim.clock().wall() + minute);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exec_at(&self) -> OffsetDateTime {
        self.0.exec_at()
    }

    /// The text of its cron expression, as written; `None` for any other job.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("0 9 * * MON-FRI").wait_blocking()?;
    /// assert_eq!(job.cron_expression(), Some("0 9 * * MON-FRI"));
    /// let job = hello.schedule(()).push().wait_blocking()?;
    /// assert_eq!(job.cron_expression(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cron_expression(&self) -> Option<&str> {
        self.0.cron_expression()
    }

    /// Waits until it is done, or its app has stopped: `.await` it, or end it
    /// with [`wait_blocking`](Wait::wait_blocking). Gives the status as of then,
    /// whatever the outcome.
    ///
    /// Any number of tasks and threads may wait. Cancel safe.
    ///
    /// ```
    /// # use jobber::{JobStatus, Jobber};
    /// # let app = Jobber::builder().build()?;
    /// # let hello = app.task("hello", || async {}).register()?;
    /// # app.start().wait_blocking()?;
    /// let job = hello.schedule(()).push().wait_blocking()?;
    /// let status = smol::block_on(job.wait());
    /// assert_eq!(status, JobStatus::Success);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self) -> Wait {
        Wait(Waiter::new(Done(self.0.clone())))
    }

    /// Short for `job.wait().wait_blocking()`: blocks the thread until it is done
    /// or its app has stopped.
    ///
    /// ```
    /// # use jobber::{JobStatus, Jobber};
    /// # let app = Jobber::builder().build()?;
    /// # let hello = app.task("hello", || async {}).register()?;
    /// # app.start().wait_blocking()?;
    /// let job = hello.schedule(()).push().wait_blocking()?;
    /// assert_eq!(job.wait_blocking(), JobStatus::Success);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_blocking(&self) -> JobStatus {
        let status = self.status();
        if status.is_final() {
            return status;
        }
        self.wait().wait_blocking()
    }

    /// Like [`wait`](AnyJob::wait), but for `limit` of real time at most. Gives
    /// the status as of then: [`is_final`](JobStatus::is_final) tells which it
    /// was.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).delay(Duration::from_secs(60)).wait_blocking()?;
    /// let status = job.wait_timeout(Duration::from_millis(1)).wait_blocking();
    /// assert_eq!(status, JobStatus::Scheduled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(&self, limit: Duration) -> WaitTimeout {
        WaitTimeout {
            wait: self.wait(),
            limit: Limit::Unset(limit),
        }
    }

    /// Waits until a run of this recurring job ends, from this call on, and
    /// gives the last one then: a run that ends between this call and the
    /// waiting is not missed. `None` when the job ended, or its app stopped,
    /// without one; so for every job that runs once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::testing::Simulation;
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).every(Duration::from_secs(60)).wait_blocking()?;
    /// let next = job.next_run();
    /// sim.advance(Duration::from_secs(60));
    /// assert_eq!(next.wait_blocking().unwrap().number, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_run(&self) -> NextRun {
        NextRun(Waiter::new(RunAfter {
            ended: self.0.runs_ended(),
            job: self.0.clone(),
        }))
    }

    /// The last run that ended, of a recurring job. Never blocks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).every(minute).wait_blocking()?;
    /// assert_eq!(job.last_run(), None);
    /// let first = job.exec_at();
    /// sim.advance(minute);
    /// let run = job.last_run().unwrap();
    /// assert_eq!((run.number, run.nominal_time, run.status), (1, first, JobStatus::Success));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last_run(&self) -> Option<Run> {
        self.0.last_run()
    }

    /// Cancels it, unless it runs or is done: then it will never run, its
    /// arguments are dropped at once, and whoever waits is woken. A recurring
    /// job that runs just now ends with that run, as `Cancelled`.
    ///
    /// `.await` it, or end it with [`wait_blocking`](Cancel::wait_blocking); until
    /// then nothing happens. Gives whether this call cancelled it.
    ///
    /// A job that is stored is forgotten there before this answers: once it has,
    /// no other process runs it either.
    ///
    /// # Errors
    /// When the store could not forget the job. It is cancelled all the same, and
    /// never runs in this process; the store is asked again until it forgets it
    /// ([`Jobber::health`](crate::Jobber::health)). Jobs in memory have no such
    /// errors.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).delay(Duration::from_secs(60)).wait_blocking()?;
    /// assert!(job.cancel().wait_blocking()?);
    /// assert_eq!(job.status(), JobStatus::Cancelled);
    /// assert!(!job.cancel().wait_blocking()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) -> Cancel<'_> {
        Cancel {
            job: self,
            state: CancelState::Asked(Cancelling::Cancel),
        }
    }

    /// Cancels it even if it runs: an async task's future is dropped, a blocking
    /// one's [`StopToken`](crate::StopToken) is set. It goes on on its thread
    /// until it returns, which nobody waits for, and what it returns is thrown
    /// away.
    ///
    /// `.await` it, or end it with [`wait_blocking`](Cancel::wait_blocking); until
    /// then nothing happens. Gives whether this call ended the job.
    ///
    /// # Errors
    /// As for [`cancel`](AnyJob::cancel).
    ///
    /// ```
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let mut sim = Simulation::new();
    /// let forever = sim.app().task("forever", std::future::pending::<()>).register()?;
    /// let job = forever.schedule(()).push().wait_blocking()?;
    /// sim.run_until_stalled();
    /// assert_eq!(job.status(), JobStatus::Running);
    /// assert!(job.abort().wait_blocking()?);
    /// assert_eq!(job.status(), JobStatus::Cancelled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn abort(&self) -> Cancel<'_> {
        Cancel {
            job: self,
            state: CancelState::Asked(Cancelling::Abort),
        }
    }
}

impl<R> Clone for Job<R> {
    fn clone(&self) -> Self {
        Self {
            job: self.job.clone(),
            value: PhantomData,
        }
    }
}

impl<R> Deref for Job<R> {
    type Target = AnyJob;

    fn deref(&self) -> &AnyJob {
        &self.job
    }
}

impl<R> From<Job<R>> for AnyJob {
    fn from(job: Job<R>) -> Self {
        job.job
    }
}

impl fmt::Debug for AnyJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", self.id())
            .field("status", &self.status())
            .field("exec_at", &self.exec_at())
            .finish()
    }
}

impl<R> fmt::Debug for Job<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.job.fmt(f)
    }
}

impl<R: Send + Sync + 'static> IntoFuture for Job<R> {
    type Output = Result<Arc<R>, JobError>;
    type IntoFuture = JobResult<R>;

    fn into_future(self) -> JobResult<R> {
        JobResult {
            wait: self.wait(),
            job: self,
        }
    }
}

/// The wait of `job.await`.
#[derive(Debug)]
#[must_use = "does nothing until it is awaited"]
pub struct JobResult<R> {
    job: Job<R>,
    wait: Wait,
}

impl<R: Send + Sync + 'static> Future for JobResult<R> {
    type Output = Result<Arc<R>, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(Pin::new(&mut self.wait).poll(cx));
        Poll::Ready(self.job.result())
    }
}

struct Done(Arc<dyn Execution>);

impl Condition for Done {
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
    }
}

/// The wait of [`AnyJob::wait`].
#[must_use = "does nothing until it is awaited or ended with `.wait_blocking()`"]
pub struct Wait(Waiter<Done>);

impl Wait {
    /// Blocks the thread until the job is done or its app has stopped.
    pub fn wait_blocking(self) -> JobStatus {
        self.0.block()
    }

    fn status(&self) -> JobStatus {
        self.0.condition().0.core().status.get()
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
        f.debug_tuple("Wait")
            .field(&self.0.condition().0.core().id)
            .finish()
    }
}

/// The wait of [`AnyJob::wait_timeout`]. The limit counts from the first poll.
#[derive(Debug)]
#[must_use = "does nothing until it is awaited or ended with `.wait_blocking()`"]
pub struct WaitTimeout {
    wait: Wait,
    limit: Limit,
}

#[derive(Debug)]
enum Limit {
    Unset(Duration),
    Set(Timer),
}

impl WaitTimeout {
    /// Blocks the thread until the job is done, its app has stopped, or the
    /// limit has passed.
    pub fn wait_blocking(self) -> JobStatus {
        let deadline = match self.limit {
            Limit::Unset(limit) => Instant::now().checked_add(limit),
            // Polled before: the timer's remainder is not to be had, and it
            // goes on as a future.
            Limit::Set(_) => return block_on(self),
        };
        let Some(deadline) = deadline else {
            return self.wait.wait_blocking();
        };
        let job = self.wait.0.condition().0.clone();
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
        Poll::Ready(this.wait.status())
    }
}

struct RunAfter {
    ended: u32,
    job: Arc<dyn Execution>,
}

impl Condition for RunAfter {
    type Output = Option<Run>;

    fn ready(&self) -> Option<Option<Run>> {
        // The status first: once it is final, no run ends after the look.
        let is_over = self.job.core().status.get().is_final() || self.job.is_abandoned();
        if self.job.runs_ended() != self.ended
            && let Some(run) = self.job.last_run()
        {
            return Some(Some(run));
        }
        // None yet, if the job was replaced and has started over: the next one.
        is_over.then_some(None)
    }

    fn event(&self) -> &Event {
        &self.job.core().changed
    }

    fn announce(&self) {
        self.job.core().status.announce_waiter();
    }
}

/// The wait of [`AnyJob::next_run`].
#[must_use = "does nothing until it is awaited or ended with `.wait_blocking()`"]
pub struct NextRun(Waiter<RunAfter>);

impl NextRun {
    /// Blocks the thread until a run has ended, or none will any more.
    pub fn wait_blocking(self) -> Option<Run> {
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

/// The operation of [`AnyJob::cancel`] and [`AnyJob::abort`].
///
/// A job in memory is cancelled in the first poll. So is one that is stored, and
/// the rest is waiting for the store to forget it, which it does whether or not
/// somebody waits.
#[must_use = "does nothing until it is awaited or ended with `.wait_blocking()`"]
pub struct Cancel<'a> {
    job: &'a AnyJob,
    state: CancelState,
}

enum CancelState {
    Asked(Cancelling),
    Waiting {
        did: bool,
        reply: Waiter<Replied<Result<(), StorageError>>>,
    },
    Done,
}

impl Cancel<'_> {
    /// Does it, and blocks the thread until the store has forgotten the job, if
    /// it was there.
    ///
    /// # Errors
    /// As for [`AnyJob::cancel`].
    pub fn wait_blocking(mut self) -> Result<bool, StorageError> {
        match self.begin() {
            Ok((did, reply)) => reply.block().map(|()| did),
            Err(result) => result,
        }
    }

    #[expect(clippy::type_complexity, reason = "the two ends of one step")]
    fn begin(
        &mut self,
    ) -> Result<(bool, Waiter<Replied<Result<(), StorageError>>>), Result<bool, StorageError>> {
        match std::mem::replace(&mut self.state, CancelState::Done) {
            CancelState::Asked(how) => {
                let Cancelled { did, reply } = self.job.0.cancel(how);
                match reply {
                    Some(reply) => Ok((did, Waiter::new(Replied(reply)))),
                    None => Err(Ok(did)),
                }
            }
            CancelState::Waiting { did, reply } => Ok((did, reply)),
            CancelState::Done => panic!("`Cancel` polled after it was ready"),
        }
    }
}

impl Future for Cancel<'_> {
    type Output = Result<bool, StorageError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (did, mut reply) = match self.begin() {
            Ok(waiting) => waiting,
            Err(result) => return Poll::Ready(result),
        };
        match Pin::new(&mut reply).poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map(|()| did)),
            Poll::Pending => {
                self.state = CancelState::Waiting { did, reply };
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Cancel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel")
            .field("job", self.job)
            .finish_non_exhaustive()
    }
}
