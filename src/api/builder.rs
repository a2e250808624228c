//! [`JobberBuilder`]: what an app is built from.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::api::app::Jobber;
use crate::api::app_ref::AppRef;
use crate::api::around::{layer, on_error};
use crate::api::context::JobContext;
use crate::api::hooks::{Hook, on_start, on_stop};
use crate::api::start::{DriveMode, Parts};
use crate::calendar::calendars::Calendars;
use crate::calendar::exclusions::Exclusions;
use crate::calendar::zone::into_zone::{IntoZone, resolve};
use crate::calendar::zone::time_zone::Zone;
use crate::calendar::zone::zone_database::ZoneDatabase;
use crate::engine::hub::{Hub, HubConfig};
use crate::engine::timer_thread::{DEFAULT_COALESCING_WINDOW, MAX_COALESCING_WINDOW};
use crate::executor::contract::Executor;
#[cfg(feature = "serde")]
use crate::job::codec::Codec;
use crate::job::codec::SharedCodec;
use crate::job::decisions::OnErrorFn;
use crate::job::end_record::KeepFailed;
use crate::job::middleware::{Layer, Next, Outcome};
use crate::storage::contract::Storage;
use crate::sync::primitives::Arc;
use crate::value::app_clock::AppClock;
use crate::value::clock::Clock;
use crate::value::end_of_job::{EndOfJob, OnEnd};
use crate::value::error::{BoxError, JobError, StartError, ZoneError};
use crate::value::on_error::OnError;
use crate::value::schedule_request::{OnSchedule, ScheduleRequest};
use crate::value::shared_state::StateMap;

/// Builds a [`Jobber`].
///
/// ```
/// use jobber::Jobber;
///
/// let app = Jobber::builder()
///     .executor(|job| smol::spawn(job).detach())
///     .zone(time::macros::offset!(+1))
///     .state(String::from("shared with all tasks"))
///     .build()?;
/// # Ok::<(), jobber::StartError>(())
/// ```
#[must_use = "nothing is built until `build` is called"]
pub struct JobberBuilder {
    executor: Option<Arc<dyn Executor>>,
    clock: AppClock,
    zone: Result<Zone, ZoneError>,
    zone_database: Option<ZoneDatabase>,
    calendars: Calendars,
    codec: Option<SharedCodec>,
    coalescing_window: Duration,
    keep_failed: KeepFailed,
    state: StateMap,
    around: Vec<Layer>,
    on_schedule: Vec<OnSchedule>,
    on_error: Vec<OnErrorFn>,
    on_end: Vec<OnEnd>,
    hooks: Vec<Hook>,
    seed: Option<u64>,
    max_running: Option<usize>,
    max_pending: Option<usize>,
    storage: Option<Box<dyn Storage>>,
    drive_mode: DriveMode,
}

impl Jobber {
    /// Begins to build an app.
    ///
    /// ```
    /// let app = jobber::Jobber::builder().build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn builder() -> JobberBuilder {
        JobberBuilder {
            executor: None,
            clock: AppClock::system(),
            zone: Ok(Zone::UTC),
            zone_database: None,
            calendars: Calendars::new(),
            codec: None,
            coalescing_window: DEFAULT_COALESCING_WINDOW,
            keep_failed: KeepFailed::DEFAULT,
            state: StateMap::default(),
            around: Vec::new(),
            on_schedule: Vec::new(),
            on_error: Vec::new(),
            on_end: Vec::new(),
            hooks: Vec::new(),
            seed: None,
            max_running: None,
            max_pending: None,
            storage: None,
            drive_mode: DriveMode::Thread,
        }
    }
}

impl JobberBuilder {
    /// Sets the executor that polls jobs: a function that spawns a future, or your
    /// own [`Executor`].
    ///
    /// Default: a `ThreadPool` with one thread for each core (feature
    /// `thread-pool`). Without that feature, an executor is required.
    ///
    /// On tokio, the function owns a handle: see [`Executor`](Executor#on-tokio).
    ///
    /// ```
    /// use jobber::Jobber;
    ///
    /// let app = Jobber::builder().executor(|job| smol::spawn(job).detach()).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Some(Arc::new(executor));
        self
    }

    /// Sets the clock that the app reads. Default:
    /// [`SystemClock`](crate::SystemClock).
    ///
    /// ```
    /// use jobber::{Jobber, testing::ManualClock};
    ///
    /// let app = Jobber::builder().clock(ManualClock::new()).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = AppClock::Custom(Arc::new(clock));
        self
    }

    /// Sets the time zone of all jobs that set none
    /// ([`Schedule::zone`](crate::Schedule::zone)): a [`Zone`], a fixed
    /// [`UtcOffset`](time::UtcOffset) or, with the feature `tz`, a name such as
    /// `"Europe/Berlin"`. Default: UTC.
    ///
    /// Cron expressions are read in this zone, and jobs show their times in it.
    ///
    /// ```
    /// use jobber::Jobber;
    ///
    /// let app = Jobber::builder().zone(time::macros::offset!(+9)).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn zone(mut self, zone: impl IntoZone) -> Self {
        self.zone = zone.into_zone();
        self
    }

    /// Sets the time zone database in which the app looks up the zones of its own and of its
    /// jobs, also of those that it loads from a store. Default: a zone has the rules that it
    /// was made with, and a stored job those of the database that is compiled in.
    ///
    /// ```
    /// use jobber::{Jobber, ZoneDatabase};
    ///
    /// # #[cfg(feature = "tz")]
    /// let database = ZoneDatabase::system().unwrap_or_default();
    /// # #[cfg(not(feature = "tz"))]
    /// # let database = ZoneDatabase::bundled();
    /// let app = Jobber::builder().zone_database(database).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn zone_database(mut self, database: ZoneDatabase) -> Self {
        self.zone_database = Some(database);
        self
    }

    /// Registers a calendar: times that jobs leave out, under a name that
    /// [`Schedule::except`](crate::Schedule::except) takes. A second calendar of the same name
    /// replaces the first.
    ///
    /// A stored job keeps the name. In the next process it leaves out what the calendar of this
    /// name has then; if there is none, the job is [unresolved](crate::Jobber::unresolved).
    ///
    /// ```
    /// use jobber::{Exclusions, Jobber};
    /// use time::{Weekday, macros::date};
    ///
    /// let holidays = Exclusions::new().date(date!(2026-12-25)).weekday(Weekday::Sunday);
    /// let app = Jobber::builder().calendar("holidays", holidays).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn calendar(mut self, name: impl Into<String>, exclusions: Exclusions) -> Self {
        let name = Arc::from(name.into());
        self.calendars.insert(name, Arc::new(exclusions));
        self
    }

    /// How the arguments and checkpoints of tasks are stored that have no
    /// [codec of their own](crate::TaskBuilder::codec). Default: JSON. See [`Codec`](crate::Codec).
    ///
    /// A name that is not allowed fails [`build`](JobberBuilder::build), with
    /// [`StartError::InvalidCodec`].
    ///
    /// ```
    /// use jobber::{BoxError, Codec, Decoder, Encoder, Jobber, MemoryStorage};
    ///
    /// /// One line for each value.
    /// struct Pretty;
    ///
    /// impl Codec for Pretty {
    ///     fn name(&self) -> &str {
    ///         "pretty"
    ///     }
    ///
    ///     fn encode(&self, value: Encoder<'_>) -> Result<Vec<u8>, BoxError> {
    ///         Ok(serde_json::to_vec_pretty(&value)?)
    ///     }
    ///
    ///     fn decode(&self, bytes: &[u8], value: Decoder<'_>) -> Result<(), BoxError> {
    ///         value.read(&mut serde_json::Deserializer::from_slice(bytes))
    ///     }
    /// }
    ///
    /// let app = Jobber::builder().storage(MemoryStorage::new()).codec(Pretty).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    #[cfg(feature = "serde")]
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.codec = Some(SharedCodec::new(codec));
        self
    }

    /// Shares a value with all tasks. A task reads it by its type, with
    /// [`JobContext::state`](crate::JobContext::state). A second value of the same
    /// type replaces the first. A [group](crate::Group::state) may have another value of the type.
    ///
    /// ```
    /// use jobber::Jobber;
    ///
    /// struct Greeting(&'static str);
    ///
    /// let app = Jobber::builder().state(Greeting("Hello")).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        drop(self.state.insert(value));
        self
    }

    /// Adds a middleware for all tasks: an async function that runs around each attempt, outside of
    /// those of its task. [`TaskBuilder::around`](crate::TaskBuilder::around) describes it.
    ///
    /// ```
    /// use std::time::Instant;
    /// use jobber::{JobContext, Jobber, Next, Outcome};
    ///
    /// async fn measure(cx: JobContext, next: Next) -> Outcome {
    ///     let start = Instant::now();
    ///     let outcome = next.run().await;
    ///     println!("{} of {} took {:?}", cx.id(), cx.task_name(), start.elapsed());
    ///     outcome
    /// }
    ///
    /// let app = Jobber::builder().around(measure).build()?;
    /// let hello = app.task("hello", async || "hello").register()?;
    /// app.start().block_on()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// job.wait_blocking();
    /// assert_eq!(*job.result()?, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn around<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(JobContext, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.around.push(layer(middleware));
        self
    }

    /// Adds a function that sees each job before it is scheduled, on the thread that polls or blocks
    /// on the schedule. It may refuse the job: then scheduling fails with
    /// [`ScheduleError::Refused`](crate::ScheduleError::Refused). It may also set some of its options.
    /// Several ones are called in the order of these calls; then comes the
    /// [check](crate::TaskBuilder::check) of the task.
    ///
    /// It is called once for each schedule, also for one that replaces or keeps a live job. Scheduling
    /// may fail after that for another reason. It is not called for runs and retries, when jobs are
    /// loaded from the store, and for failed jobs that are [retried](crate::FailedJob::retry). A panic
    /// is a refusal.
    ///
    /// ```
    /// # use jobber::testing::{ManualClock, Simulation};
    /// use jobber::ScheduleError;
    ///
    /// # let sim = Simulation::with(0, ManualClock::new(), |builder| {
    /// builder.on_schedule(|request| match request.trigger() {
    ///     "cron" => Err("this app has no jobs by cron".into()),
    ///     _ => Ok(()),
    /// })
    /// # })?;
    /// # let app = sim.app();
    /// let hello = app.task("hello", || async {}).register()?;
    /// let refused = hello.schedule(()).cron("@daily").block_on();
    /// assert!(matches!(refused, Err(ScheduleError::Refused { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_schedule<F>(mut self, function: F) -> Self
    where
        F: Fn(&mut ScheduleRequest<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.on_schedule.push(Arc::new(function));
        self
    }

    /// Adds a function that decides what follows an attempt that has failed, of any task, after those of
    /// the task and its groups. [`TaskBuilder::on_error`](crate::TaskBuilder::on_error) describes it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::{JobError, Jobber, OnError};
    ///
    /// let app = Jobber::builder()
    ///     .on_error(|error, cx| match error {
    ///         JobError::TimedOut { .. } => OnError::RetryAfter(Duration::from_secs(60)),
    ///         _ => OnError::Pass,
    ///     })
    ///     .build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn on_error<F>(mut self, function: F) -> Self
    where
        F: Fn(&JobError, &JobContext) -> OnError + Send + Sync + 'static,
    {
        self.on_error.push(on_error(function));
        self
    }

    /// Adds a function that sees how the jobs of all tasks end, after those of the task and its groups.
    /// [`TaskBuilder::on_end`](crate::TaskBuilder::on_end) describes it.
    ///
    /// ```
    /// use jobber::{JobStatus, Jobber};
    ///
    /// let app = Jobber::builder()
    ///     .on_end(|end| match end.status {
    ///         JobStatus::Success | JobStatus::Cancelled => {}
    ///         _ => eprintln!("somebody has to look: {end}"),
    ///     })
    ///     .build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn on_end<F>(mut self, function: F) -> Self
    where
        F: Fn(&EndOfJob) + Send + Sync + 'static,
    {
        self.on_end.push(Arc::new(function));
        self
    }

    /// Adds an async function that runs when the app [starts](crate::Jobber::start), before any attempt
    /// begins: also of jobs that the store has. Several ones run one after the other, in the order of
    /// these calls. It may schedule and [declare](crate::AppRef::declare) jobs; they start after the last
    /// function.
    ///
    /// The thread that polls or blocks on the start runs it. It has no time limit. If it waits for a job,
    /// the start never ends, because no attempt begins before.
    ///
    /// After an error or a panic, the functions of [`on_stop`](JobberBuilder::on_stop) before it run, the
    /// store is closed, and the start fails with [`StartError::OnStart`]. The app can't be started again.
    /// If the app is shut down meanwhile, this function goes on to its end, the next ones are left out, and
    /// the start fails with [`StartError::Stopped`].
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
    /// use jobber::Jobber;
    ///
    /// # let sim = Simulation::unstarted(0, ManualClock::new(), |builder| {
    /// builder
    ///     .storage(MemoryStorage::new())
    ///     .on_start(async |app| {
    ///         let clean = app.task::<(), ()>("clean")?;
    ///         let jobs = app.declare("maintenance", |set| {
    ///             set.add(clean.schedule(()).id("clean").cron("@daily"));
    ///         });
    ///         jobs?.await?;
    ///         Ok(())
    ///     })
    /// # })?;
    /// # let app = sim.app();
    /// app.task("clean", async || {}).durable().register()?;
    /// app.start().block_on()?;
    /// assert!(app.find_job("clean").is_some());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_start<F, Fut>(mut self, function: F) -> Self
    where
        F: FnOnce(AppRef) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.hooks.push(on_start(function));
        self
    }

    /// Adds an async function that runs when the app stops. Several ones run one after the other, in the
    /// reverse order of these calls. Jobs can't be scheduled any more; the store is closed after the last
    /// function.
    ///
    /// Put it after the [`on_start`](JobberBuilder::on_start) whose work it undoes: it is left out if the
    /// start has not reached it, because a function before it has failed or the app was never started.
    ///
    /// A [shutdown](crate::Jobber::shutdown) runs these functions when all attempts have ended, or when its
    /// grace is over: then an attempt may still run. All of them together have the rest of the grace, and a
    /// second at least. When that time is over, the function that runs is dropped, and those after it never
    /// run. A panic keeps no other one from running.
    ///
    /// If the last clone of the app is dropped instead, the drop runs these functions and waits for no
    /// attempt: it blocks its thread for five seconds at most. A function that needs the runtime of this
    /// thread can't go on there: in async code call `shutdown`. If the process just ends, they do not run.
    ///
    /// Two cases have no time limit, because the start runs the functions: after an `on_start` that has
    /// failed; and after an `on_start` that still runs when the grace of a shutdown is over. In the second case
    /// the store may be closed by then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::Jobber;
    ///
    /// let app = Jobber::builder()
    ///     .on_start(async |app| {
    ///         println!("connected");
    ///         Ok(())
    ///     })
    ///     .on_stop(async || println!("disconnected"))
    ///     .build()?;
    /// app.start().block_on()?;
    /// app.shutdown(Duration::from_secs(10)).block_on();
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn on_stop<F, Fut>(mut self, function: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.push(on_stop(function));
        self
    }

    /// Sets the time for which the timer thread collects due jobs before it starts
    /// them together. Default: 250 µs. The longest is 1 s; zero turns it off.
    ///
    /// The window opens when the timer thread starts a job. Jobs that become due
    /// while it is open are started when it closes. A job that becomes due at any
    /// other time is started at once. A longer window wakes the thread less often,
    /// and so costs less CPU when many jobs are due; it makes them later by up to
    /// its length.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::Jobber;
    ///
    /// let app = Jobber::builder().coalescing_window(Duration::from_millis(1)).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn coalescing_window(mut self, window: Duration) -> Self {
        self.coalescing_window = window;
        self
    }

    /// Sets the store that keeps the jobs of durable tasks
    /// (`TaskBuilder::durable`): `SqliteStorage` (feature `sqlite`),
    /// `MemoryStorage` for tests (feature `serde`), or your own
    /// [`Storage`]. Default: none.
    ///
    /// [`Jobber::start`] opens it. It is closed when the app stops.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// use jobber::{Jobber, SqliteStorage};
    ///
    /// # let dir = std::env::temp_dir().join(format!("jobber-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir)?;
    /// # let path = dir.join("storage.db");
    /// let app = Jobber::builder().storage(SqliteStorage::new(path)).build()?;
    /// let mail = app.task("mail", async |to: String| println!("to {to}")).durable().register()?;
    /// app.start().block_on()?;
    /// # drop(app);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Some(Box::new(storage));
        self
    }

    /// Sets how many stored jobs that have failed the store keeps, with their arguments, and for
    /// how long ([`Jobber::failed`]). Default: 10,000, for seven days. The oldest go first, and
    /// also when the store is full. With a count of 0 none is kept, of no task.
    ///
    /// The count is that of all tasks together.
    /// [`TaskBuilder::keep_failed`](crate::TaskBuilder::keep_failed) sets a count for one task
    /// within it, and an age in place of this one. The age of an entry is fixed when the job
    /// fails.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::Jobber;
    ///
    /// let day = Duration::from_secs(24 * 3_600);
    /// let app = Jobber::builder().keep_failed(100, day).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn keep_failed(mut self, count: u64, age: Duration) -> Self {
        self.keep_failed = KeepFailed { count, age };
        self
    }

    /// Sets how many attempts of this app run at the same time, of all tasks together. Default: no
    /// limit. [`TaskBuilder::limit`](crate::TaskBuilder::limit) says what that means.
    ///
    /// ```
    /// let app = jobber::Jobber::builder().max_running(100).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn max_running(mut self, attempts: usize) -> Self {
        self.max_running = Some(attempts);
        self
    }

    /// Sets how many jobs of the app may be live at the same time: those that wait and those that
    /// run. Default: no limit. [`TaskBuilder::max_pending`](crate::TaskBuilder::max_pending) says
    /// more.
    ///
    /// ```
    /// let app = jobber::Jobber::builder().max_pending(100_000).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn max_pending(mut self, jobs: usize) -> Self {
        self.max_pending = Some(jobs);
        self
    }

    /// Sets the seed of the random numbers: with the same seed, generated ids and
    /// jitter are the same each time. For tests. Default: random.
    ///
    /// ```
    /// let app = jobber::Jobber::builder().seed(7).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn manual(mut self) -> Self {
        self.drive_mode = DriveMode::Manual;
        self
    }

    /// Builds the app. It runs nothing before [`Jobber::start`].
    ///
    /// # Errors
    /// - [`StartError::NoExecutor`] if no executor is set and the feature
    ///   `thread-pool` is off.
    /// - [`StartError::Zone`] if the time zone is unknown.
    /// - [`StartError::CoalescingWindowTooLong`] if the coalescing window is longer
    ///   than 1 s.
    /// - [`StartError::ZeroLimit`] if `max_running` or `max_pending` is 0.
    ///
    /// ```
    /// use jobber::{Jobber, StartError};
    /// use std::time::Duration;
    ///
    /// let window = Duration::from_secs(2);
    /// let error = Jobber::builder().coalescing_window(window).build().unwrap_err();
    /// assert!(matches!(error, StartError::CoalescingWindowTooLong { .. }));
    /// ```
    pub fn build(self) -> Result<Jobber, StartError> {
        if self.executor.is_none() && !cfg!(feature = "thread-pool") {
            return Err(StartError::NoExecutor);
        }
        if self.coalescing_window > MAX_COALESCING_WINDOW {
            return Err(StartError::CoalescingWindowTooLong {
                value: self.coalescing_window,
                max: MAX_COALESCING_WINDOW,
            });
        }
        let limits = [
            ("max_running", self.max_running),
            ("max_pending", self.max_pending),
        ];
        if let Some((option, _)) = limits.into_iter().find(|(_, limit)| *limit == Some(0)) {
            return Err(StartError::ZeroLimit { option });
        }
        #[cfg(feature = "serde")]
        if let Some(codec) = self.codec.as_ref().filter(|codec| !codec.has_valid_name()) {
            let name = codec.name.to_string();
            return Err(StartError::InvalidCodec { name });
        }
        let zone = match &self.zone_database {
            Some(database) => resolve(self.zone, database),
            None => self.zone,
        };
        let zone = zone.map_err(StartError::Zone)?;
        let hub = Hub::new(HubConfig {
            clock: self.clock,
            zone,
            zone_database: self.zone_database,
            calendars: self.calendars,
            codec: self.codec,
            coalescing_window: self.coalescing_window,
            keep_failed: self.keep_failed,
            state: self.state,
            around: self.around,
            on_schedule: self.on_schedule,
            on_error: self.on_error,
            on_end: self.on_end,
            seed: self.seed,
            max_running: self.max_running,
            max_pending: self.max_pending,
            busy_timeout: self.storage.as_ref().map(|storage| storage.busy_timeout()),
            closes_start_gate: self
                .hooks
                .iter()
                .any(|hook| matches!(hook, Hook::OnStart(_))),
            is_manual: self.drive_mode == DriveMode::Manual,
        });
        let parts = Parts {
            executor: self.executor,
            storage: self.storage,
            driver: None,
        };
        Ok(Jobber::new(hub, parts, self.drive_mode, self.hooks))
    }
}

impl fmt::Debug for JobberBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobberBuilder")
            .field("zone", &self.zone)
            .field("coalescing_window", &self.coalescing_window)
            .finish_non_exhaustive()
    }
}
