//! [`JobContext`]: the job that a task or a middleware runs for.

use std::any::{TypeId, type_name};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use time::OffsetDateTime;

#[cfg(feature = "serde")]
use crate::api::action::Action;
use crate::api::app_ref::AppRef;
use crate::api::job::AnyJob;
use crate::engine::hub::Hub;
#[cfg(feature = "serde")]
use crate::job::checkpoint::{CheckpointSet, NotSet, WaitsBy};
#[cfg(feature = "serde")]
use crate::job::codec;
use crate::job::lifecycle::Begun;
use crate::job::live_job::LiveJob;
use crate::job::middleware::{AttemptRef, Locals};
use crate::job::stop::StopToken;
use crate::sync::primitives::Arc;
#[cfg(feature = "serde")]
use crate::sync::primitives::{AtomicBool, Ordering};
#[cfg(feature = "serde")]
use crate::sync::reply::ReplySent;
#[cfg(feature = "serde")]
use crate::sync::waiter::Waiter;
#[cfg(feature = "serde")]
use crate::value::encoded::Encoded;
use crate::value::error::MissingState;
#[cfg(feature = "serde")]
use crate::value::error::StorageError;
#[cfg(feature = "serde")]
use crate::value::error::checkpoint::{CheckpointError, MAX_CHECKPOINT_BYTES};
use crate::value::id::JobId;
use crate::value::retry_hint::RetryHint;
use crate::value::run::Run;
use crate::value::spawned_by::SpawnedBy;

/// The job that a task runs for: what it is, and what the attempt can ask for. A function of a task
/// receives it if its first parameter has this type; a middleware always does.
///
/// ```
/// use jobber::{JobContext, Jobber, MissingState};
///
/// struct Greeting(String);
///
/// async fn greet(cx: JobContext, name: String) -> Result<String, MissingState> {
///     let Greeting(greeting) = cx.state::<Greeting>()?;
///     Ok(format!("{greeting}, {name}! (attempt {} of {})", cx.attempt(), cx.id()))
/// }
///
/// let app = Jobber::builder().state(Greeting("Hello".into())).build()?;
/// let greet = app.task("greet", greet).register()?;
/// app.start().block_on()?;
/// let job = greet.schedule("Ada".into()).id("first").push().block_on()?;
/// job.wait_blocking();
/// assert_eq!(*job.result()?, "Hello, Ada! (attempt 1 of first)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// Not `Clone`: arguments are `Clone`, and this difference alone distinguishes a
// function with a context from a function with one more argument. A test checks it.
pub struct JobContext {
    job: Arc<dyn LiveJob>,
    begun: Begun,
    locals: OnceLock<Locals>,
}

impl JobContext {
    pub(crate) fn new(job: Arc<dyn LiveJob>, begun: Begun) -> Self {
        let locals = OnceLock::new();
        Self { job, begun, locals }
    }

    /// Of an attempt with middleware.
    pub(crate) fn of(attempt: &AttemptRef) -> Self {
        let AttemptRef { job, begun, locals } = attempt.clone();
        let locals = OnceLock::from(locals);
        Self { job, begun, locals }
    }

    /// The id of the job.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn log(cx: JobContext) {
    ///     println!("this is job {}", cx.id());
    /// }
    /// ```
    pub fn id(&self) -> &JobId {
        &self.job.core().id
    }

    /// The name of the task.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn log(cx: JobContext) {
    ///     println!("{} runs {}", cx.id(), cx.task_name());
    /// }
    /// ```
    pub fn task_name(&self) -> &str {
        self.job.task_name()
    }

    /// The number of this attempt within its run: 1, and one more for each retry. An attempt after a
    /// [`Snooze`](crate::Snooze) has the number of the one before.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn upload(cx: JobContext, file: String) -> Result<(), String> {
    ///     println!("attempt {} for {file}", cx.attempt());
    ///     Ok(())
    /// }
    /// ```
    pub fn attempt(&self) -> u32 {
        self.begun.attempt
    }

    /// Whether this is the last attempt that [`TaskBuilder::retry`](crate::TaskBuilder::retry), or
    /// [`Schedule::retry`](crate::Schedule::retry), allows for the run. What else may prevent a retry is not known
    /// before: an error ([`NoRetry`](crate::NoRetry)), [`no_retry`](JobContext::no_retry), a cancel or
    /// a replacement meanwhile, a retry that would be too late.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn charge(cx: JobContext) -> Result<(), String> {
    ///     if cx.is_last_attempt() {
    ///         println!("if this fails, somebody has to look");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn is_last_attempt(&self) -> bool {
        self.job.retries() < self.begun.attempt
    }

    /// How many runs of the job have failed in a row before this one. 0 in a job that was made for a
    /// run ([`spawned_by`](JobContext::spawned_by)): it has only that run.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn poll(cx: JobContext) {
    ///     if cx.failures_in_a_row() >= 10 {
    ///         println!("{} needs attention", cx.id());
    ///     }
    /// }
    /// ```
    pub fn failures_in_a_row(&self) -> u32 {
        self.job.failures()
    }

    /// The last run of the job that has ended, before this one. See
    /// [`Job::last_run`](crate::Job::last_run).
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn sync(cx: JobContext) {
    ///     if let Some(last) = cx.last_run() {
    ///         println!("changes since {}", last.started_at);
    ///     }
    /// }
    /// ```
    pub fn last_run(&self) -> Option<Run> {
        self.job.last_run()
    }

    /// The job itself, to steer it or to read more of it. An attempt can't wait for its own job.
    ///
    /// ```
    /// use jobber::{BoxError, JobContext};
    ///
    /// async fn poll(cx: JobContext) -> Result<(), BoxError> {
    ///     // … the feed is gone …
    ///     cx.job().cancel().await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn job(&self) -> AnyJob {
        AnyJob::new(self.job.clone())
    }

    /// Keeps a value for the other functions of this attempt: its
    /// [middleware](crate::TaskBuilder::around) and the task. It takes the place of a value of the
    /// same type. The app drops the values before anybody can see that the attempt has ended. A value
    /// whose `Arc` is kept elsewhere lives longer. The next attempt begins without them.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::{JobContext, Next, Outcome};
    ///
    /// struct User(String);
    ///
    /// async fn log_in(cx: JobContext, next: Next) -> Outcome {
    ///     cx.set_local(User("ada".into()));
    ///     next.run().await
    /// }
    ///
    /// async fn who(cx: JobContext) -> String {
    ///     cx.local::<User>().map_or("nobody".into(), |user| user.0.clone())
    /// }
    ///
    /// let who = sim.app().task("who", who).around(log_in).register()?;
    /// let job = who.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(*job.result()?, "ada");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_local<T: Send + Sync + 'static>(&self, value: T) {
        self.locals.get_or_init(Locals::default).set(value);
    }

    /// The value of this type that [`set_local`](JobContext::set_local) has set in this attempt.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn plain(cx: JobContext) {
    ///     assert_eq!(cx.local::<u32>(), None);
    ///     cx.set_local(1u32);
    ///     assert_eq!(cx.local::<u32>().as_deref(), Some(&1));
    /// }
    /// ```
    pub fn local<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.locals.get()?.get()
    }

    /// How often in a row a process has ended during an attempt of this stored job, as far as
    /// that was seen: see
    /// [`TaskBuilder::max_interruptions`](crate::TaskBuilder::max_interruptions).
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn render(cx: JobContext, page: String) -> usize {
    ///     // Something small, in case that the page is what ended the process.
    ///     if cx.interruptions() > 0 { 0 } else { page.len() }
    /// }
    /// ```
    pub fn interruptions(&self) -> u32 {
        self.begun.interruptions
    }

    /// The number of this run of a recurring job: 1, 2, 3 and so on. A retry belongs
    /// to the same run. If the job runs once, it is 1, unless it was made for a run of a recurring
    /// job ([`Overlap::Spawn`](crate::Overlap::Spawn)): then it is the number of that run.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn rotate(cx: JobContext) {
    ///     println!("this is run {}", cx.run_number());
    /// }
    /// ```
    pub fn run_number(&self) -> u64 {
        self.begun.run
    }

    /// The time at which this run was due, in the zone of the job. It is the same for
    /// all attempts of the run, and does not depend on when they start.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn report(cx: JobContext) {
    ///     println!("the report of {}", cx.nominal_time().date());
    /// }
    /// ```
    pub fn nominal_time(&self) -> OffsetDateTime {
        self.job.in_zone(self.begun.nominal)
    }

    /// How long ago this run was due ([`nominal_time`](JobContext::nominal_time)), by the clock of
    /// the app now. When a first attempt starts, that is how late the run is; it grows while the
    /// attempt goes on. Zero if the clock was set back since.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::JobContext;
    ///
    /// async fn remind(cx: JobContext) {
    ///     if cx.late() > Duration::from_secs(3_600) {
    ///         println!("the meeting is over");
    ///     }
    /// }
    /// ```
    pub fn late(&self) -> Duration {
        self.job.since(self.begun.nominal)
    }

    /// The run of a recurring job that this job was made for
    /// ([`Overlap::Spawn`](crate::Overlap::Spawn)). `None` for other jobs.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn poll(cx: JobContext) {
    ///     if let Some(by) = cx.spawned_by() {
    ///         println!("run {} of {}", by.run, by.job);
    ///     }
    /// }
    /// ```
    pub fn spawned_by(&self) -> Option<SpawnedBy> {
        self.job.spawned_by()
    }

    /// The value of the type `T` that the nearest [group](crate::Group::state) of the task has, or
    /// that the [app](crate::JobberBuilder::state) shares with all tasks.
    ///
    /// # Errors
    /// [`MissingState`] if neither has a value of this type.
    ///
    /// ```
    /// use jobber::{JobContext, MissingState};
    ///
    /// struct Prefix(String);
    ///
    /// async fn greet(cx: JobContext, name: String) -> Result<String, MissingState> {
    ///     Ok(format!("{} {name}", cx.state::<Prefix>()?.0))
    /// }
    /// ```
    pub fn state<T: Send + Sync + 'static>(&self) -> Result<&T, MissingState> {
        let value = self.job.shared_state(TypeId::of::<T>());
        let value = value.and_then(|value| value.downcast_ref());
        value.ok_or(MissingState {
            type_name: type_name::<T>(),
        })
    }

    /// The app of the job, for a task that schedules jobs. It does not keep the app alive.
    ///
    /// ```
    /// use jobber::{BoxError, JobContext};
    ///
    /// async fn import(cx: JobContext, file: String) -> Result<(), BoxError> {
    ///     // The task `mail` takes a `String` and returns `()`.
    ///     let mail = cx.app().task::<String, ()>("mail")?;
    ///     mail.schedule(file).push().await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn app(&self) -> AppRef {
        match self.job.app().downcast::<Hub>() {
            Ok(hub) => AppRef::new(&hub),
            // Every job has a hub.
            Err(_) => AppRef::stopped(),
        }
    }

    /// Reports how far this attempt has come. [`Job::progress`](crate::Job::progress), the
    /// [snapshot](crate::JobSnapshot) of the job and its events
    /// ([`JobEventKind::Progressed`](crate::JobEventKind::Progressed)) show it. A later call replaces
    /// it. It is kept in memory only: use `checkpoint` (feature `serde`) for what must survive
    /// a crash.
    ///
    /// A `percent` above 100 counts as 100, and a text is cut after 1,024 bytes. Each call is an event,
    /// if somebody reads events. It has no effect if the attempt has ended.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn import(cx: JobContext, files: Vec<String>) {
    ///     for (done, file) in files.iter().enumerate() {
    ///         cx.progress((100 * done / files.len()) as u8, file);
    ///         // … import the file …
    ///     }
    /// }
    /// ```
    pub fn progress(&self, percent: u8, text: &str) {
        self.job.set_progress(self.begun.number, percent, text);
    }

    /// Saves a checkpoint: a value from which the next attempt of this run can resume, if this attempt
    /// fails or the process ends. [`last_checkpoint`](JobContext::last_checkpoint) returns it, in a
    /// retry and in the attempt after a crash. A later call replaces it.
    ///
    /// `.await` it, or end it with [`.block_on()`](Action::block_on). Nothing is saved before; the value
    /// is encoded at the call. For a durable job, the call returns when the value is in the store. Each
    /// job writes at most one checkpoint a second: calls within that second wait, then the newest value
    /// is written, and all of them return. **A loop that must not wait calls
    /// [`checkpoint_soon`](JobContext::checkpoint_soon).** A job in memory keeps the value in memory.
    ///
    /// The value is stored as JSON, or by the [codec](crate::TaskBuilder::codec) of the task, in at most
    /// 65,536 bytes. Store the position (a row number, a file name), and not the data.
    ///
    /// A checkpoint belongs to one run. These begin without one:
    /// - the next run of a recurring job. A run that stands in for one that a crash has cut short
    ///   ([`Misfire::Once`](crate::Misfire)) resumes from the checkpoint of that; compare
    ///   [`nominal_time`](JobContext::nominal_time) if it matters. A run that the misfire policy skips
    ///   leaves none.
    /// - a job that is replaced. A durable recurring job that is replaced with the same times and the
    ///   same arguments keeps its checkpoint, unless [`Overlap::Spawn`](crate::Overlap::Spawn) comes or
    ///   goes.
    /// - a job that has failed and is [scheduled again](crate::FailedJob::retry), and the run after an
    ///   [at most once](crate::TaskBuilder::at_most_once) attempt that a crash has ended.
    ///
    /// If nothing can follow the attempt, because the job was cancelled meanwhile or is being replaced
    /// by one that begins without a checkpoint, nothing is stored, and the call returns at once.
    ///
    /// In a [`Simulation`](crate::testing::Simulation), a waiting call returns when the virtual time
    /// advances. The calls of a blocking task, and `.block_on()`, are written at once.
    ///
    /// # Errors
    /// - [`CheckpointError::TooLong`] and [`CheckpointError::Encode`]: the value can't be stored. The
    ///   previous checkpoint is kept.
    /// - [`CheckpointError::AttemptEnded`]: the attempt has ended, and no retry follows it.
    /// - [`CheckpointError::Storage`]: the write to the store failed. The value is kept, and the app
    ///   writes it again. If the app has stopped
    ///   ([`StorageError::Closed`](crate::storage::StorageError::Closed)), the value is discarded.
    ///
    /// # Cancel safety
    /// If the returned `Action` is dropped after its first poll, the checkpoint is saved all the same.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::{Backoff, CheckpointError, JobContext};
    ///
    /// async fn import(cx: JobContext, rows: u64) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    ///     let start = cx.last_checkpoint()?.unwrap_or(0);
    ///     for row in start..rows {
    ///         if row % 1_000 == 0 {
    ///             cx.checkpoint(&row).await?;
    ///         }
    ///         // … import the row …
    ///         if row == 2_500 && cx.attempt() == 1 {
    ///             return Err("the connection is lost".into());
    ///         }
    ///     }
    ///     Ok(start)
    /// }
    ///
    /// let import = sim.app().task("import", import).retry(Backoff::exponential(3)).register()?;
    /// let job = import.schedule(10_000).push().block_on()?;
    /// sim.advance(std::time::Duration::from_secs(60));
    /// assert_eq!(*job.result()?, 2_000, "the second attempt has resumed there");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`CheckpointError::TooLong`]: crate::CheckpointError::TooLong
    /// [`CheckpointError::Encode`]: crate::CheckpointError::Encode
    /// [`CheckpointError::AttemptEnded`]: crate::CheckpointError::AttemptEnded
    /// [`CheckpointError::Storage`]: crate::CheckpointError::Storage
    #[cfg(feature = "serde")]
    pub fn checkpoint<T>(&self, value: &T) -> Action<Result<(), CheckpointError>>
    where
        T: serde::Serialize + ?Sized,
    {
        let value = self.encode_checkpoint(value);
        let (job, attempt) = (self.job.clone(), self.begun.number);
        let is_blocking = Arc::new(AtomicBool::new(false));
        let blocks = is_blocking.clone();
        let stores = async move {
            let waits_by = match is_blocking.load(Ordering::Relaxed) {
                true => WaitsBy::Blocking,
                false => WaitsBy::Polling,
            };
            let stored = match job.set_checkpoint(attempt, value?, waits_by)? {
                CheckpointSet::Now(stored) => stored,
                CheckpointSet::Later(waiter) => Waiter::new(ReplySent(waiter)).await?,
            };
            match stored {
                Some(reply) => Waiter::new(ReplySent(reply)).await,
                None => Ok(()),
            }
            .map_err(CheckpointError::Storage)
        };
        Action::with_block(stores, move || blocks.store(true, Ordering::Relaxed))
    }

    /// Saves a [`checkpoint`](JobContext::checkpoint), and does not wait. It is written within a second,
    /// and before the next attempt begins. A crash before that loses it, and the next attempt gets the
    /// previous one. A loop may call it for each row. Never blocks.
    ///
    /// If the write to the store fails, the app writes it again, and
    /// [`Jobber::health`](crate::Jobber::health) shows it.
    ///
    /// # Errors
    /// The errors of [`checkpoint`](JobContext::checkpoint). Of the errors of the store, it returns only
    /// [`StorageError::Closed`](crate::storage::StorageError::Closed): the app has stopped.
    ///
    /// ```
    /// use jobber::{CheckpointError, JobContext};
    ///
    /// fn index(cx: JobContext, pages: Vec<String>) -> Result<(), CheckpointError> {
    ///     let start = cx.last_checkpoint()?.unwrap_or(0);
    ///     for (at, page) in pages.iter().enumerate().skip(start) {
    ///         cx.checkpoint_soon(&at)?;
    ///         // … index the page …
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "serde")]
    pub fn checkpoint_soon<T>(&self, value: &T) -> Result<(), CheckpointError>
    where
        T: serde::Serialize + ?Sized,
    {
        let value = self.encode_checkpoint(value)?;
        let set = self
            .job
            .set_checkpoint(self.begun.number, value, WaitsBy::Nothing);
        Ok(set.map(drop)?)
    }

    /// The newest [`checkpoint`](JobContext::checkpoint) of this run, which this attempt or an earlier
    /// one has saved, also in an earlier process. `None` if there is none. Never blocks.
    ///
    /// # Errors
    /// [`CheckpointError::OtherType`](crate::CheckpointError::OtherType) if it can't be read as a `T`:
    /// an older version of the program may have stored it.
    /// [`CheckpointError::AttemptEnded`](crate::CheckpointError::AttemptEnded) if this attempt has ended.
    ///
    /// ```
    /// use jobber::{CheckpointError, JobContext};
    ///
    /// async fn copy(cx: JobContext) -> Result<(), CheckpointError> {
    ///     // What another version has stored is of no use here.
    ///     let last_file: Option<String> = match cx.last_checkpoint() {
    ///         Err(CheckpointError::OtherType { .. }) => None,
    ///         last => last?,
    ///     };
    ///     println!("goes on after {last_file:?}");
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "serde")]
    pub fn last_checkpoint<T>(&self) -> Result<Option<T>, CheckpointError>
    where
        T: serde::de::DeserializeOwned,
    {
        let last = self.job.last_checkpoint(self.begun.number);
        let read = last?.map(|value| codec::decode(self.job.codec(), &value));
        read.transpose()
            .map_err(|error| CheckpointError::OtherType {
                type_name: type_name::<T>(),
                source: error.into(),
            })
    }

    #[cfg(feature = "serde")]
    fn encode_checkpoint<T>(&self, value: &T) -> Result<Encoded, CheckpointError>
    where
        T: serde::Serialize + ?Sized,
    {
        let value = codec::encode(self.job.codec(), value).map_err(CheckpointError::Encode)?;
        match value.bytes().len() {
            bytes if bytes > MAX_CHECKPOINT_BYTES => Err(CheckpointError::TooLong {
                bytes,
                max: MAX_CHECKPOINT_BYTES,
            }),
            _ => Ok(value),
        }
    }

    /// Returns the token that is set when this attempt should end: because the job was
    /// aborted, the attempt took longer than its timeout, or the app shuts down. It is also set
    /// when the attempt has ended.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// fn crunch(cx: JobContext) {
    ///     let stop = cx.stop_token();
    ///     while !stop.is_stop_requested() {
    ///         // … do one part of the work …
    /// #       break;
    ///     }
    /// }
    /// ```
    pub fn stop_token(&self) -> StopToken {
        StopToken::new(self.job.control(self.begun.number))
    }

    /// If this attempt fails, in whichever way, no retry follows. A later call of
    /// [`retry_after`](JobContext::retry_after) takes its place.
    ///
    /// It holds for an error, a panic, a timeout and an executor that drops the attempt. It has
    /// no effect if the attempt succeeds or has ended. It stands above a
    /// [`RetryAfter`](crate::RetryAfter) or [`NoRetry`](crate::NoRetry) in the error.
    ///
    /// ```
    /// use jobber::{Backoff, JobContext, JobStatus, testing::Simulation};
    ///
    /// async fn charge(cx: JobContext) -> Result<(), String> {
    ///     // From here on a second attempt could charge twice.
    ///     cx.no_retry();
    ///     Err("the connection is lost".into())
    /// }
    ///
    /// let mut sim = Simulation::new();
    /// let charge = sim.app().task("charge", charge).retry(Backoff::exponential(5)).register()?;
    /// let job = charge.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(job.status(), JobStatus::Failed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn no_retry(&self) {
        self.request_retry(RetryHint::Never);
    }

    /// If this attempt fails, in whichever way, its retry is due `delay` after that, and not
    /// when the task's [`Backoff`](crate::Backoff) says. The retry counts as one of the
    /// backoff's, and the delay has its limit ([`RetryAfter`](crate::RetryAfter)). A later call
    /// of this or of [`no_retry`](JobContext::no_retry) takes its place.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::{Backoff, JobContext, testing::Simulation};
    ///
    /// async fn poll(cx: JobContext) -> Result<(), String> {
    ///     cx.retry_after(Duration::from_secs(30));
    ///     Err("the server is busy".into())
    /// }
    ///
    /// let mut sim = Simulation::new();
    /// let poll = sim.app().task("poll", poll).retry(Backoff::exponential(5)).register()?;
    /// let job = poll.schedule(()).push().block_on()?;
    /// let start = job.exec_at();
    /// sim.run_until_stalled();
    /// assert_eq!(job.exec_at(), start + Duration::from_secs(30));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_after(&self, delay: Duration) {
        self.request_retry(RetryHint::After(delay));
    }

    fn request_retry(&self, hint: RetryHint) {
        self.job.control(self.begun.number).set_retry_hint(hint);
    }
}

#[cfg(feature = "serde")]
impl From<NotSet> for CheckpointError {
    fn from(why: NotSet) -> Self {
        match why {
            NotSet::AttemptOver => CheckpointError::AttemptEnded,
            NotSet::Closed => CheckpointError::Storage(StorageError::Closed),
        }
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext")
            .field("id", self.id())
            .field("run_number", &self.run_number())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
