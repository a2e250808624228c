//! The handles of a job: [`Job`], with the type of its value, or [`AnyJob`].

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use time::OffsetDateTime;

use crate::api::action::Action;
use crate::api::resume::{Resume, steer};
use crate::api::waits::{Cancel, JobResult, NextRun, Wait, WaitTimeout, result_of};
use crate::job::live_job::{Cancelling, LiveJob, Steer};
use crate::job::steering::Move;
use crate::sync::primitives::Arc;
use crate::value::error::{JobError, MoveError, StorageError};
use crate::value::id::JobId;
use crate::value::job_snapshot::JobSnapshot;
use crate::value::progress::Progress;
use crate::value::run::Run;
use crate::value::spawned_by::SpawnedBy;
use crate::value::status::JobStatus;
use crate::value::steer_outcome::SteerOutcome;
use crate::value::time_units::{MAX_DURATION, to_nanos, to_wall, wall_range};
use crate::value::waiting_for::WaitingFor;

/// A handle of a scheduled job: read its state, wait for it, take its result,
/// cancel it.
///
/// Scheduling returns it ([`Submit`](crate::Submit)). All clones are handles of
/// the same job. A handle can be sent to any thread. If you drop it, the job goes
/// on; if you keep it, its app can stop all the same.
///
/// [`AnyJob`] is the same handle without the type of the value:
/// [`as_any`](Job::as_any) and `AnyJob::from` return it.
///
/// # Waiting
/// `job.await` and [`job.block_on()`](Job::block_on) wait for the job and return
/// its [`result`](Job::result). [`wait`](Job::wait) and
/// [`wait_blocking`](Job::wait_blocking) wait too, and return the status. Any
/// number of async tasks and threads may wait for the same job.
///
/// ```
/// use jobber::{JobStatus, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let add = app.task("add", async |x: i32, y: i32| x + y).register()?;
/// app.start().block_on()?;
///
/// let job = add.schedule((1, 2)).push().block_on()?;
/// assert_eq!(job.wait_blocking(), JobStatus::Success);
/// assert_eq!(*job.result()?, 3);
///
/// let job = add.schedule((3, 4)).push().block_on()?;
/// assert_eq!(*job.block_on()?, 7);
///
/// let job = add.schedule((5, 6)).push().block_on()?;
/// assert_eq!(*smol::block_on(async { job.await })?, 11);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Job<R> {
    job: AnyJob,
    value: PhantomData<fn() -> R>,
}

/// A handle of a job, without the type of the job's value.
///
/// [`Jobber::find_job`](crate::Jobber::find_job) and
/// [`Jobber::jobs`](crate::Jobber::jobs) return it. It has the methods of
/// [`Job`], except those that return the value. [`Task::job`](crate::Task::job)
/// finds the job with its type.
///
/// ```
/// use jobber::{JobStatus, testing::Simulation};
/// use std::time::Duration;
///
/// let sim = Simulation::new();
/// let hello = sim.app().task("hello", || async {}).register()?;
/// hello.schedule(()).id("greeting").delay(Duration::from_secs(60)).block_on()?;
///
/// let job = sim.app().find_job("greeting").unwrap();
/// assert_eq!(job.status(), JobStatus::Scheduled);
/// assert!(job.cancel().block_on()?.took_effect());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AnyJob(Arc<dyn LiveJob>);

impl<R: Send + Sync + 'static> Job<R> {
    /// The handle of a job that was made with this type of value.
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self {
            job: AnyJob(job),
            value: PhantomData,
        }
    }

    /// The value or the error of the job. Never blocks.
    ///
    /// A recurring job returns the result of the last run that ended. A
    /// [replacement](crate::Schedule::replace) that discards a run, because the run
    /// waits for a retry, does not change the result.
    ///
    /// # Errors
    /// - [`JobError::NotKept`] if another process has made the last run of the job.
    /// - [`JobError::NotCompleted`] if the job is not done. A recurring job returns
    ///   it until its first run has ended.
    /// - [`JobError::Cancelled`] if the job was cancelled.
    /// - [`JobError::Expired`] if the job runs once and its next attempt would have started too
    ///   late, or if a run of a recurring job expired while it waited for a retry.
    /// - The error of the last attempt in every other case.
    ///
    /// ```
    /// use jobber::{JobError, testing::Simulation};
    ///
    /// let mut sim = Simulation::new();
    /// let half = sim.app().task("half", async |x: u32| x / 2).register()?;
    /// let job = half.schedule(8).push().block_on()?;
    /// assert!(matches!(job.result(), Err(JobError::NotCompleted)));
    /// sim.run_until_stalled();
    /// assert_eq!(*job.result()?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn result(&self) -> Result<Arc<R>, JobError> {
        result_of(&*self.job.0)
    }

    /// Blocks the thread until the job is done or its app has stopped, and returns
    /// the [`result`](Job::result): the same as `job.await`.
    ///
    /// It takes the handle. Clone the handle before, or use
    /// [`wait_blocking`](Job::wait_blocking), if you need it afterwards.
    ///
    /// # Errors
    /// The errors of [`result`](Job::result).
    ///
    /// # Panics
    /// As [`wait`](Job::wait).
    ///
    /// ```
    /// # use jobber::Jobber;
    /// # let app = Jobber::builder().build()?;
    /// # app.start().block_on()?;
    /// let add = app.task("add", async |x: i32, y: i32| x + y).register()?;
    /// let job = add.schedule((1, 2)).push().block_on()?;
    /// assert_eq!(*job.block_on()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn block_on(self) -> Result<Arc<R>, JobError> {
        self.into_future().block_on()
    }
}

impl<R> Job<R> {
    /// The same handle, without the type of the value.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// # let add = sim.app().task("add", async |x: i32, y: i32| x + y).register()?;
    /// let jobs = [
    ///     hello.schedule(()).push().block_on()?.as_any().clone(),
    ///     add.schedule((1, 2)).push().block_on()?.into(),
    /// ];
    /// assert_eq!(jobs[1].task_name(), "add");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_any(&self) -> &AnyJob {
        &self.job
    }

    /// The id of the job: unique among the live jobs of its app.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).id("greeting").push().block_on()?;
    /// assert_eq!(*job.id(), "greeting");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> &JobId {
        self.job.id()
    }

    /// The name of the job's task.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// assert_eq!(job.task_name(), "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_name(&self) -> &str {
        self.job.task_name()
    }

    /// The present status. Never blocks.
    ///
    /// ```
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// assert_eq!(job.status(), JobStatus::Scheduled);
    /// sim.run_until_stalled();
    /// assert_eq!(job.status(), JobStatus::Success);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status(&self) -> JobStatus {
        self.job.status()
    }

    /// Whether the status is [final](JobStatus::is_final). Never blocks.
    ///
    /// ```
    /// # use jobber::testing::Simulation;
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// assert!(!job.is_done());
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_done(&self) -> bool {
        self.job.is_done()
    }

    /// The time when the job is due, with the offset that its zone has at that
    /// time. Never blocks.
    ///
    /// - A recurring job returns the time of its next run.
    /// - A job that waits for a retry returns the time of the retry.
    /// - A job that runs, or is done, returns the time when it was due.
    ///
    /// `delay` and `every` count on the monotonic clock. For them this is the time that the
    /// wall clock will show: it changes if that is set by half a second or more.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{Clock, testing::Simulation};
    /// # let sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).delay(minute).block_on()?;
    /// assert_eq!(job.exec_at(), sim.clock().wall() + minute);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exec_at(&self) -> OffsetDateTime {
        self.job.exec_at()
    }

    /// The text of the cron expression, as it was written. `None` if the job has
    /// another trigger. Never blocks.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("0 9 * * MON-FRI").block_on()?;
    /// assert_eq!(job.cron_expression().as_deref(), Some("0 9 * * MON-FRI"));
    /// let job = hello.schedule(()).push().block_on()?;
    /// assert_eq!(job.cron_expression(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cron_expression(&self) -> Option<Arc<str>> {
        self.job.cron_expression()
    }

    /// Waits until the job is done or its app has stopped. Returns the status at
    /// that time: use [`is_final`](JobStatus::is_final) to find out which of the
    /// two happened.
    ///
    /// `.await` it, or end it with [`.block_on()`](Wait::block_on). Cancel safe.
    ///
    /// # Panics
    /// Panics in two cases, if the job is not done yet. The panic fails the attempt that waits.
    /// This holds for all waits for a job, also for those with a limit.
    /// - An attempt waits for its own job, in either form.
    /// - An async task blocks a thread of the built-in `ThreadPool` to wait for a
    ///   job, which may need that thread. `.await` the job there. A blocking task may block.
    ///
    /// It also panics if the job needs a [limit](crate::TaskBuilder::limit) of one that the
    /// attempt which waits holds: the job would never start.
    ///
    /// A circle of several jobs that wait for each other is not found, nor is a wait that a
    /// task hands to another thread or to the `block_on` of another crate.
    ///
    /// ```
    /// # use jobber::{JobStatus, Jobber};
    /// # let app = Jobber::builder().build()?;
    /// # let hello = app.task("hello", || async {}).register()?;
    /// # app.start().block_on()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// let status = smol::block_on(job.wait());
    /// assert_eq!(status, JobStatus::Success);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self) -> Wait {
        self.job.wait()
    }

    /// Blocks the thread until the job is done or its app has stopped. Returns the
    /// status at that time. Short for `job.wait().block_on()`.
    ///
    /// # Panics
    /// As [`wait`](Job::wait).
    ///
    /// ```
    /// # use jobber::{JobStatus, Jobber};
    /// # let app = Jobber::builder().build()?;
    /// # let hello = app.task("hello", || async {}).register()?;
    /// # app.start().block_on()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// assert_eq!(job.wait_blocking(), JobStatus::Success);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_blocking(&self) -> JobStatus {
        self.job.wait_blocking()
    }

    /// Waits as [`wait`](Job::wait) does, but not longer than `limit` of real time.
    /// Returns the status at the end of the wait.
    ///
    /// `.await` it, or end it with [`.block_on()`](WaitTimeout::block_on). The limit
    /// counts from then. Cancel safe.
    ///
    /// # Panics
    /// As [`wait`](Job::wait).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).delay(Duration::from_secs(60)).block_on()?;
    /// let status = job.wait_timeout(Duration::from_millis(1)).block_on();
    /// assert_eq!(status, JobStatus::Scheduled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(&self, limit: Duration) -> WaitTimeout {
        self.job.wait_timeout(limit)
    }

    /// Waits until a run of this recurring job ends. Returns that run, or a later
    /// one if several have ended.
    ///
    /// It counts from this call: it also returns a run that ends between this call
    /// and the first poll. It returns `None` if the job ends, or its app stops, and
    /// no run has ended since the call. A job that runs once always returns `None`.
    ///
    /// `.await` it, or end it with [`.block_on()`](NextRun::block_on). Cancel safe.
    ///
    /// # Panics
    /// As [`wait`](Job::wait).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::testing::Simulation;
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).every(Duration::from_secs(60)).block_on()?;
    /// let next = job.next_run();
    /// sim.advance(Duration::from_secs(60));
    /// assert_eq!(next.block_on().unwrap().number, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_run(&self) -> NextRun {
        self.job.next_run()
    }

    /// The nominal times of the next runs, `count` of them at most: of the run that the job
    /// waits for, or of the one after the run that goes on. They are fewer if the job ends
    /// before that. The next time of [`after_each`](crate::Schedule::after_each) depends on
    /// the end of a run, so that at most one is known. Never blocks; the duration grows with
    /// `count`.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use time::macros::datetime;
    ///
    /// let job = hello.schedule(()).max_runs(2).cron("0 12 * * *").block_on()?;
    /// let noons = [datetime!(2000-01-01 12:00 UTC), datetime!(2000-01-02 12:00 UTC)];
    /// assert_eq!(job.upcoming(10), noons);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn upcoming(&self, count: usize) -> Vec<OffsetDateTime> {
        self.job.upcoming(count)
    }

    /// The latest progress that the running attempt has reported, or, if none runs, that the last one
    /// has ([`JobContext::progress`](crate::JobContext::progress)). `None` if that attempt has reported
    /// none. The end of an attempt does not change it, and the start of one clears it. It is not stored:
    /// after a restart, the next attempt reports it. To see each report, read the
    /// [events](crate::Jobber::events). Never blocks.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::JobContext;
    ///
    /// async fn import(cx: JobContext) {
    ///     for percent in [0, 50, 100] {
    ///         cx.progress(percent, "");
    ///     }
    /// }
    ///
    /// let import = sim.app().task("import", import).register()?;
    /// let job = import.schedule(()).push().block_on()?;
    /// assert_eq!(job.progress(), None);
    /// sim.run_until_stalled();
    /// assert_eq!(job.progress().unwrap().percent, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn progress(&self) -> Option<Progress> {
        self.job.progress()
    }

    /// The last run of this recurring job that ended. `None` if none has ended yet,
    /// or if the job runs once. Never blocks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).every(minute).block_on()?;
    /// assert_eq!(job.last_run(), None);
    /// let first = job.exec_at();
    /// sim.advance(minute);
    /// let run = job.last_run().unwrap();
    /// assert_eq!((run.number, run.nominal_time, run.status), (1, first, JobStatus::Success));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last_run(&self) -> Option<Run> {
        self.job.last_run()
    }

    /// Cancels the job, but does not stop an attempt that runs. Returns what that has done:
    ///
    /// - A job that waits becomes `Cancelled` ([`CancelOutcome::Cancelled`]): it never runs,
    ///   its arguments are dropped, and everyone who waits for it is woken.
    /// - A job that runs ends with this attempt ([`CancelOutcome::EndsAfterAttempt`]): no retry
    ///   and no other run follows. A job that runs once then has the status of the attempt. A
    ///   recurring job becomes `Cancelled`, and so does one that was replaced during its attempt.
    /// - A job that is done does not change ([`CancelOutcome::AlreadyDone`]).
    ///
    /// [`CancelOutcome::Cancelled`]: crate::CancelOutcome::Cancelled
    /// [`CancelOutcome::EndsAfterAttempt`]: crate::CancelOutcome::EndsAfterAttempt
    /// [`CancelOutcome::AlreadyDone`]: crate::CancelOutcome::AlreadyDone
    ///
    /// `.await` it, or end it with [`.block_on()`](Cancel::block_on). Nothing happens
    /// before. It owns what it needs, so that it can be spawned. If a job is stored,
    /// the call returns after the store has deleted it: then no other process runs
    /// the job either. If the value is dropped after its first poll, the job is
    /// cancelled all the same.
    ///
    /// # Errors
    /// If the store could not delete the job. The job is cancelled all the same and
    /// never runs in this process, and jobber repeats the deletion until it succeeds
    /// ([`Jobber::health`](crate::Jobber::health)). As long as it has not, another call returns
    /// the error again. If the store was closed, because the
    /// app has stopped, the job is not cancelled: it belongs to the next process. A job that
    /// was always in memory returns no error.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{CancelOutcome, JobStatus, testing::Simulation};
    /// # let sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).delay(Duration::from_secs(60)).block_on()?;
    /// assert_eq!(job.cancel().block_on()?, CancelOutcome::Cancelled);
    /// assert_eq!(job.status(), JobStatus::Cancelled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) -> Cancel {
        self.job.cancel()
    }

    /// Cancels the job as [`cancel`](Job::cancel) does, and stops an attempt that
    /// runs. Returns what became of the job, as `cancel` does.
    ///
    /// The status becomes `Cancelled` at once. The future of an async task is
    /// dropped. A blocking task can't be stopped from outside: its
    /// [`StopToken`](crate::StopToken) is set, nobody waits for it any longer, and
    /// its result is dropped. Its id is free at once: another job of this id may run beside it.
    ///
    /// `.await` it, or end it with [`.block_on()`](Cancel::block_on). Nothing happens
    /// before.
    ///
    /// # Errors
    /// The errors of [`cancel`](Job::cancel).
    ///
    /// ```
    /// # use jobber::{CancelOutcome, JobStatus, testing::Simulation};
    /// # let mut sim = Simulation::new();
    /// let forever = sim.app().task("forever", std::future::pending::<()>).register()?;
    /// let job = forever.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(job.status(), JobStatus::Running);
    /// assert_eq!(job.abort().block_on()?, CancelOutcome::Cancelled);
    /// assert_eq!(job.status(), JobStatus::Cancelled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn abort(&self) -> Cancel {
        self.job.abort()
    }

    /// The job as it is at this moment, for a status page. Never blocks.
    pub fn snapshot(&self) -> JobSnapshot {
        self.job.snapshot()
    }

    /// The tags of the job, with those of its task ([`Schedule::tag`](crate::Schedule::tag)). Never
    /// blocks.
    pub fn tags(&self) -> Vec<Arc<str>> {
        self.job.tags()
    }

    /// The note of this key, of the job or its task ([`Schedule::note`](crate::Schedule::note)). Never
    /// blocks.
    pub fn note(&self, key: &str) -> Option<Arc<str>> {
        self.job.note(key)
    }

    /// The notes of the job, with those of its task: keys and texts. Never blocks.
    pub fn notes(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.job.notes()
    }

    /// The run of a recurring job that this job was made for
    /// ([`Overlap::Spawn`](crate::Overlap::Spawn)). `None` for other jobs. Never blocks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use jobber::{Jobs, Overlap, testing::Simulation};
    ///
    /// let mut sim = Simulation::new();
    /// let slow = sim.app().task("slow", std::future::pending::<()>).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = slow.schedule(()).overlap(Overlap::Spawn(3)).every(minute).block_on()?;
    /// sim.advance(2 * minute);
    /// let spawned = sim.app().select(Jobs::matching().spawned_by(job.id())).list()?;
    /// let mut runs: Vec<_> = spawned.iter().filter_map(|job| Some(job.spawned_by()?.run)).collect();
    /// runs.sort();
    /// assert_eq!(runs, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawned_by(&self) -> Option<SpawnedBy> {
        self.job.spawned_by()
    }

    /// What the job waits for that is due and has not started: a limit, the end of a pause, or the
    /// function of its last attempt. `None` if it is not due, runs, or is done, and while the
    /// executor or the store has it. Never blocks.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::WaitingFor;
    ///
    /// let job = hello.schedule(()).paused().push().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(job.waiting_for(), Some(WaitingFor::Pause));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn waiting_for(&self) -> Option<WaitingFor> {
        self.job.waiting_for()
    }

    /// Pauses the job: no attempt begins until [`resume`](Job::resume), and its status stays
    /// `SCHEDULED`. A running attempt goes on; a retry waits. A time that
    /// passes meanwhile is not [missed](crate::Misfire). [`run_now`](Job::run_now) starts a paused job all the same, and a
    /// [replacement](crate::Schedule::replace) stays paused.
    /// [`wait_all`](crate::Jobber::wait_all) does not wait for a paused job.
    ///
    /// Returns [`Unchanged`](crate::SteerOutcome::Unchanged) if the job was paused before. The pauses
    /// of its task and of its app are apart from this one.
    ///
    /// `.await` it, or end it with `.block_on()`. Nothing happens before. If the job is stored, the
    /// call returns when the store has it. If the value is dropped after its first poll, the job is
    /// paused all the same.
    ///
    /// # Errors
    /// If the store could not save it. The job is paused all the same, and jobber saves that later
    /// ([`Jobber::health`](crate::Jobber::health)). If the store is closed, because the app has
    /// stopped, nothing is paused.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, testing::Simulation};
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).delay(minute).block_on()?;
    /// job.pause().block_on()?;
    /// sim.advance(2 * minute);
    /// assert_eq!(job.status(), JobStatus::Scheduled);
    /// job.resume().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(job.status(), JobStatus::Success, "its time has passed, and it runs once");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) -> Action<Result<SteerOutcome, StorageError>> {
        self.job.pause()
    }

    /// Ends the pause of the job. It goes on from now: a recurring job leaves out the times that
    /// have passed and were not run (`after_each` counts its pause from now), and ends if no time
    /// is left. A job that runs once, and a retry, whose time has passed starts at once.
    /// [`resume().catch_up()`](Resume::catch_up) applies the [misfire](crate::Misfire) policy
    /// instead.
    ///
    /// Returns [`Unchanged`](crate::SteerOutcome::Unchanged) if the job itself was not paused. While
    /// its task, a group of its task or its app is paused, it still does not start.
    ///
    /// `.await` it, or end it with [`.block_on()`](Resume::block_on). Nothing happens before.
    ///
    /// # Errors
    /// As [`pause`](Job::pause): the job is resumed all the same, unless the store is closed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::testing::Simulation;
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).paused().every(minute).block_on()?;
    /// sim.advance(5 * minute);
    /// job.resume().block_on()?;
    /// sim.advance(minute);
    /// assert_eq!(job.last_run().unwrap().number, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self) -> Resume {
        self.job.resume()
    }

    /// Whether the job, its task, a group of its task or its app is paused. Never blocks.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("@daily").block_on()?;
    /// assert!(!job.is_paused());
    /// hello.pause().block_on()?;
    /// assert!(job.is_paused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_paused(&self) -> bool {
        self.job.is_paused()
    }

    /// Runs the job now, also if it is paused.
    ///
    /// - A recurring job makes an extra run, whose [nominal time](crate::JobContext::nominal_time)
    ///   is this moment. It counts as a run (its number, `last_run`, `max_runs`, failures in a row),
    ///   and leaves the times of the job as they are: the next one is run too. (Times that pass
    ///   during a long extra run follow the [misfire](crate::Misfire) policy.)
    /// - If an attempt of it runs or is about to start, the extra run follows it
    ///   ([`AfterAttempt`](crate::SteerOutcome::AfterAttempt)). At most one is remembered: a
    ///   further call returns [`Unchanged`](crate::SteerOutcome::Unchanged).
    /// - A retry that the job waits for starts now. No extra run is made.
    /// - A job that runs once runs now, and not at its time. If it runs already, nothing changes.
    /// - What was asked for by hand does not [expire](crate::Schedule::expires).
    /// - If the runs of the job become jobs of their own ([`Overlap::Spawn`](crate::Overlap::Spawn))
    ///   and no more of these may be live, nothing changes.
    ///
    /// `.await` it, or end it with `.block_on()`. Nothing happens before. If the job is stored, the
    /// call returns when the store has the request: it survives a crash.
    ///
    /// # Errors
    /// As [`pause`](Job::pause): the job runs all the same, unless the store is closed.
    ///
    /// ```
    /// # use jobber::testing::Simulation;
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("@daily").block_on()?;
    /// let midnight = job.exec_at();
    /// job.run_now().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(job.last_run().unwrap().number, 1);
    /// assert_eq!(job.exec_at(), midnight);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_now(&self) -> Action<Result<SteerOutcome, StorageError>> {
        self.job.run_now()
    }

    /// Moves the next run to `time`, a time of the wall clock; its nominal time stays. The runs
    /// after it have their own times: those before `time` are left out. A run that was moved is
    /// made however late, whatever the [misfire](crate::Misfire) policy is.
    ///
    /// - If a run goes on, the run after it is moved
    ///   ([`AfterAttempt`](crate::SteerOutcome::AfterAttempt)). The last call counts.
    /// - If the job waits for a retry, the retry is moved.
    /// - If the job runs once and runs already, nothing changes
    ///   ([`Unchanged`](crate::SteerOutcome::Unchanged)).
    ///
    /// `.await` it, or end it with `.block_on()`. Nothing happens before. If the job is stored, the
    /// call returns when the store has the new time.
    ///
    /// # Errors
    /// If the time is out of range, or the store could not save it ([`MoveError`]).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{Clock, testing::Simulation};
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("@daily").block_on()?;
    /// let midnight = job.exec_at();
    /// let minute = Duration::from_secs(60);
    /// job.move_to(sim.clock().wall() + minute).block_on()?;
    /// sim.advance(minute);
    /// assert_eq!(job.last_run().unwrap().nominal_time, midnight);
    /// assert_eq!(job.exec_at(), midnight + Duration::from_secs(24 * 3_600));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn move_to(&self, time: OffsetDateTime) -> Action<Result<SteerOutcome, MoveError>> {
        self.job.move_to(time)
    }

    /// Moves the next run to `delay` after the time at which it is due, as
    /// [`move_to`](Job::move_to) does.
    ///
    /// # Errors
    /// If the delay is more than 292 years, or the store could not save it ([`MoveError`]).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::testing::Simulation;
    /// # let sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("@daily").block_on()?;
    /// let midnight = job.exec_at();
    /// let hour = Duration::from_secs(3_600);
    /// job.delay_by(hour).block_on()?;
    /// assert_eq!(job.exec_at(), midnight + hour);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delay_by(&self, delay: Duration) -> Action<Result<SteerOutcome, MoveError>> {
        self.job.delay_by(delay)
    }
}

impl AnyJob {
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self(job)
    }

    /// The id of the job. See [`Job::id`].
    pub fn id(&self) -> &JobId {
        &self.0.core().id
    }

    /// The name of the job's task. See [`Job::task_name`].
    pub fn task_name(&self) -> &str {
        self.0.task_name()
    }

    /// The present status. Never blocks. See [`Job::status`].
    pub fn status(&self) -> JobStatus {
        self.0.core().status.get()
    }

    /// Whether the status is final. Never blocks. See [`Job::is_done`].
    pub fn is_done(&self) -> bool {
        self.status().is_final()
    }

    /// The nominal times of the next runs. Never blocks. See [`Job::upcoming`].
    pub fn upcoming(&self, count: usize) -> Vec<OffsetDateTime> {
        self.0.upcoming(count)
    }

    /// The time when the job is due. Never blocks. See [`Job::exec_at`].
    pub fn exec_at(&self) -> OffsetDateTime {
        self.0.exec_at()
    }

    /// The text of the cron expression. Never blocks. See [`Job::cron_expression`].
    pub fn cron_expression(&self) -> Option<Arc<str>> {
        self.0.cron_expression()
    }

    /// Waits until the job is done or its app has stopped. Returns the status at
    /// that time. See [`Job::wait`].
    pub fn wait(&self) -> Wait {
        Wait::new(self.0.clone())
    }

    /// Blocks the thread until the job is done or its app has stopped. Returns the
    /// status at that time. See [`Job::wait_blocking`].
    pub fn wait_blocking(&self) -> JobStatus {
        self.wait().block_on()
    }

    /// Waits for the job, but not longer than `limit` of real time. See
    /// [`Job::wait_timeout`].
    pub fn wait_timeout(&self, limit: Duration) -> WaitTimeout {
        WaitTimeout::new(self.0.clone(), limit)
    }

    /// Waits until a run of this recurring job ends. See [`Job::next_run`].
    pub fn next_run(&self) -> NextRun {
        NextRun::new(self.0.clone())
    }

    /// The latest progress that the running attempt, or the last one, has reported. Never blocks. See
    /// [`Job::progress`].
    pub fn progress(&self) -> Option<Progress> {
        self.0.progress()
    }

    /// The last run of this recurring job that ended. Never blocks. See
    /// [`Job::last_run`].
    pub fn last_run(&self) -> Option<Run> {
        self.0.last_run()
    }

    /// Cancels the job, but does not stop an attempt that runs. See [`Job::cancel`].
    ///
    /// # Errors
    /// The errors of [`Job::cancel`].
    pub fn cancel(&self) -> Cancel {
        Cancel::new(self.0.clone(), Cancelling::Cancel)
    }

    /// Cancels the job, and stops an attempt that runs. See [`Job::abort`].
    ///
    /// # Errors
    /// The errors of [`Job::cancel`].
    pub fn abort(&self) -> Cancel {
        Cancel::new(self.0.clone(), Cancelling::Abort)
    }

    /// The job as it is at this moment. Never blocks. See [`Job::snapshot`].
    pub fn snapshot(&self) -> JobSnapshot {
        self.0.snapshot()
    }

    /// The tags of the job. Never blocks. See [`Job::tags`].
    pub fn tags(&self) -> Vec<Arc<str>> {
        self.0.labels().map_or_else(Vec::new, |labels| labels.tags)
    }

    /// The note of this key. Never blocks. See [`Job::note`].
    pub fn note(&self, key: &str) -> Option<Arc<str>> {
        let notes = self.notes().into_iter();
        let mut found = notes.filter(|(known, _)| **known == *key);
        found.next().map(|(_, value)| value)
    }

    /// The notes of the job. Never blocks. See [`Job::notes`].
    pub fn notes(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.0.labels().map_or_else(Vec::new, |labels| labels.notes)
    }

    /// The run of a recurring job that this job was made for. Never blocks. See
    /// [`Job::spawned_by`].
    pub fn spawned_by(&self) -> Option<SpawnedBy> {
        self.0.spawned_by()
    }

    /// What the job waits for that is due. Never blocks. See [`Job::waiting_for`].
    pub fn waiting_for(&self) -> Option<WaitingFor> {
        self.0.waiting_for()
    }

    /// Pauses the job. See [`Job::pause`].
    ///
    /// # Errors
    /// The errors of [`Job::pause`].
    pub fn pause(&self) -> Action<Result<SteerOutcome, StorageError>> {
        steer(self.0.clone(), Steer::Pause)
    }

    /// Ends the pause of the job. See [`Job::resume`].
    pub fn resume(&self) -> Resume {
        Resume::of_job(self.0.clone())
    }

    /// Whether the job, its task, a group of its task or its app is paused. Never blocks. See [`Job::is_paused`].
    pub fn is_paused(&self) -> bool {
        self.0.is_paused()
    }

    /// Runs the job now. See [`Job::run_now`].
    ///
    /// # Errors
    /// The errors of [`Job::run_now`].
    pub fn run_now(&self) -> Action<Result<SteerOutcome, StorageError>> {
        steer(self.0.clone(), Steer::RunNow)
    }

    /// Moves the next run to this time. See [`Job::move_to`].
    ///
    /// # Errors
    /// The errors of [`Job::move_to`].
    pub fn move_to(&self, time: OffsetDateTime) -> Action<Result<SteerOutcome, MoveError>> {
        let (min, max) = wall_range();
        let to = to_wall(time).map(Move::To);
        self.move_run(to.ok_or(MoveError::TimeOutOfRange {
            value: time,
            min,
            max,
        }))
    }

    /// Moves the next run by this delay. See [`Job::delay_by`].
    ///
    /// # Errors
    /// The errors of [`Job::delay_by`].
    pub fn delay_by(&self, delay: Duration) -> Action<Result<SteerOutcome, MoveError>> {
        let by = to_nanos(delay).map(Move::By);
        self.move_run(by.ok_or(MoveError::DurationTooLong {
            value: delay,
            max: MAX_DURATION,
        }))
    }

    fn move_run(&self, to: Result<Move, MoveError>) -> Action<Result<SteerOutcome, MoveError>> {
        let job = self.0.clone();
        Action::new(async move {
            let moved = steer(job, Steer::Move(to?)).await;
            moved.map_err(MoveError::Storage)
        })
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
        JobResult::new(self.job.0)
    }
}
