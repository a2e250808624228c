//! [`Jobber`]: the app, from building to shutdown.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{FutureExt, future};

use crate::api::events::Events;
use crate::api::handler::{BlockingHandler, Handler, TaskOutput};
use crate::api::job::AnyJob;
use crate::api::task::TaskBuilder;
use crate::calendar::zone::into_zone::IntoZone;
use crate::calendar::zone::time_zone::Zone;
use crate::engine::driver::Driver;
use crate::engine::hub::{Hub, HubConfig};
use crate::engine::timer_thread;
use crate::executor::contract::Executor;
use crate::storage::contract::{Health, Storage, UnresolvedJob};
use crate::storage::writer::Writer;
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Event as Signal, Mutex, Timer, block_on, lock, thread};
use crate::sync::reply::{Reply, ReplySent};
use crate::sync::waiter::{Condition, Waiter};
use crate::value::app_clock::AppClock;
use crate::value::clock::Clock;
use crate::value::error::{StartError, StorageError, ZoneError};
use crate::value::id::JobId;
use crate::value::shared_state::StateMap;
use crate::value::status::JobStatus;

/// A scheduler that lives in this program: tasks are registered with it, jobs
/// are scheduled on it, and one thread of its own knows what is due.
///
/// It can be cloned and sent anywhere; all clones are the same app. When the
/// last one is dropped the app stops, as with a [`shutdown`](Jobber::shutdown)
/// of no grace. Tasks and jobs do not keep it alive. A function that schedules
/// jobs should capture a [`Task`](crate::Task), and not a `Jobber`: the app
/// holds its functions, and would hold itself until it is shut down.
///
/// ```
/// use std::time::Duration;
/// use jobber::{JobStatus, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let add = app.task("add", async |x: i32, y: i32| x + y).register()?;
/// app.start().wait_blocking()?;
///
/// let job = add.schedule((1, 2)).delay(Duration::from_millis(10)).wait_blocking()?;
/// assert_eq!(job.wait_blocking(), JobStatus::Success);
/// assert_eq!(*job.result()?, 3);
///
/// app.shutdown(Duration::from_secs(10)).wait_blocking();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Jobber {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Arc<Hub>,
    /// Until it is started.
    parts: Arc<Mutex<Parts>>,
    drive_mode: DriveMode,
}

/// What an app starts with, and has again when it could not be started.
#[derive(Default)]
struct Parts {
    executor: Option<Arc<dyn Executor>>,
    storage: Option<Box<dyn Storage>>,
    /// For who turns it by hand, from the start on.
    driver: Option<Driver>,
}

/// Who turns the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DriveMode {
    Thread,
    Manual,
}

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
    wake_gap: Duration,
    state: StateMap,
    seed: Option<u64>,
    storage: Option<Box<dyn Storage>>,
    drive_mode: DriveMode,
}

impl JobberBuilder {
    /// Where jobs run: a runtime's `spawn`, or an [`Executor`] of your own.
    /// Without it, and with the feature `thread-pool`, a
    /// `ThreadPool` with as many threads as cores.
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Some(Arc::new(executor));
        self
    }

    /// Where the time is read; without it, [`SystemClock`](crate::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = AppClock::Custom(Arc::new(clock));
        self
    }

    /// The time zone that cron expressions are read in, and that jobs show their
    /// times in: a [`Zone`], a fixed [`UtcOffset`](time::UtcOffset) or, with
    /// feature `tz`, a name such as `"Europe/Berlin"`. Without it, UTC.
    pub fn zone(mut self, zone: impl IntoZone) -> Self {
        self.zone = zone.into_zone();
        self
    }

    /// Shares a value with all tasks, by its type
    /// ([`JobContext::state`](crate::JobContext::state)). A second value of a
    /// type takes the place of the first.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.state.insert(value);
        self
    }

    /// For how long the timer's thread lets things gather after it has started
    /// jobs; without it, 250 µs, and a second at most. What comes due within is
    /// started at its end, together. A longer gap costs less CPU under dense
    /// load; a job that is alone is exact with any.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::Jobber;
    ///
    /// let app = Jobber::builder().wake_gap(Duration::from_millis(1)).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn wake_gap(mut self, gap: Duration) -> Self {
        self.wake_gap = gap;
        self
    }

    /// Where the jobs of durable tasks (`TaskBuilder::durable`) are kept:
    /// `SqliteStorage` with the feature `sqlite`, `MemoryStorage` for tests, or a
    /// [`Storage`] of your own. It is opened when the app starts, and belongs to
    /// it until it stops.
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
    /// app.start().wait_blocking()?;
    /// # drop(app);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Some(Box::new(storage));
        self
    }

    /// Makes generated ids and jitter the same each time, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn manual(mut self) -> Self {
        self.drive_mode = DriveMode::Manual;
        self
    }

    /// Builds the app. It runs nothing until [`Jobber::start`].
    ///
    /// # Errors
    /// When there is no executor, and none is built in; when the zone is unknown,
    /// or the wake gap longer than a second.
    pub fn build(self) -> Result<Jobber, StartError> {
        if self.executor.is_none() && !cfg!(feature = "thread-pool") {
            return Err(StartError::NoExecutor);
        }
        if self.wake_gap > timer_thread::MAX_WAKE_GAP {
            return Err(StartError::WakeGapTooLong {
                value: self.wake_gap,
                max: timer_thread::MAX_WAKE_GAP,
            });
        }
        let zone = self.zone.map_err(StartError::Zone)?;
        let hub = Hub::new(HubConfig {
            clock: self.clock,
            zone,
            wake_gap: self.wake_gap,
            state: self.state,
            seed: self.seed,
            has_store: self.storage.is_some(),
            is_manual: self.drive_mode == DriveMode::Manual,
        });
        let parts = Parts {
            executor: self.executor,
            storage: self.storage,
            driver: None,
        };
        Ok(Jobber {
            inner: Arc::new(Inner {
                hub: Arc::new(hub),
                parts: Arc::new(Mutex::new(parts)),
                drive_mode: self.drive_mode,
            }),
        })
    }
}

impl fmt::Debug for JobberBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobberBuilder")
            .field("zone", &self.zone)
            .field("wake_gap", &self.wake_gap)
            .finish_non_exhaustive()
    }
}

impl Jobber {
    /// Begins to build an app.
    pub fn builder() -> JobberBuilder {
        JobberBuilder {
            executor: None,
            clock: AppClock::system(),
            zone: Ok(Zone::UTC),
            wake_gap: timer_thread::DEFAULT_WAKE_GAP,
            state: StateMap::default(),
            seed: None,
            storage: None,
            drive_mode: DriveMode::Thread,
        }
    }

    /// Begins to register an async function as a task, under a name that stays
    /// the same from one version of the program to the next.
    ///
    /// It takes 0 to 6 arguments, after a [`JobContext`](crate::JobContext) if it
    /// wants one; see [`Handler`].
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// async fn greet(name: String, times: usize) -> String {
    ///     format!("Hello {name}! ").repeat(times)
    /// }
    /// let greet = app.task("greet", greet).register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task<H, A, S>(
        &self,
        name: impl Into<String>,
        handler: H,
    ) -> TaskBuilder<A, <H::Output as TaskOutput>::Value>
    where
        H: Handler<A, S>,
        A: Clone + Send + Sync + 'static,
        S: 'static,
    {
        TaskBuilder::new(self.inner.hub.clone(), name.into(), handler)
    }

    /// Like [`task`](Jobber::task), for a synchronous function: it runs where
    /// blocking harms nobody.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let count = app
    ///     .blocking_task("count", |path: String| std::fs::read(path).map(|bytes| bytes.len()))
    ///     .register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocking_task<H, A, S>(
        &self,
        name: impl Into<String>,
        handler: H,
    ) -> TaskBuilder<A, <H::Output as TaskOutput>::Value>
    where
        H: BlockingHandler<A, S>,
        A: Clone + Send + Sync + 'static,
        S: 'static,
    {
        TaskBuilder::new_blocking(self.inner.hub.clone(), name.into(), handler)
    }

    /// Opens the store, if there is one, takes up the jobs in it, and starts the
    /// timer: from here on jobs can be scheduled. `.await` it, or end it with
    /// `.wait_blocking()`.
    ///
    /// Register durable tasks before: a stored job whose task is not there has to
    /// wait for it ([`unresolved`](Jobber::unresolved)). Once polled, the start
    /// goes on by itself.
    ///
    /// # Errors
    /// When it was started or shut down before, the system gives no thread, or
    /// the store can't be opened or read. After any but the first two it can be
    /// tried again.
    ///
    /// ```
    /// # use jobber::Jobber;
    /// let app = Jobber::builder().build()?;
    /// app.start().wait_blocking()?; // or: app.start().await?
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn start(&self) -> Action<'_, Result<(), StartError>> {
        Action::new(async {
            match self.inner.start()? {
                Some(started) => Waiter::new(ReplySent(started)).await,
                None => Ok(()),
            }
        })
    }

    /// Stops: nothing starts any more, jobs that have not run are cancelled, and
    /// what runs is asked to end ([`StopToken`](crate::StopToken)) and given
    /// `grace` of real time to do so. Then the app has stopped, and whoever still
    /// waits for a job is let go. `.await` it, or end it with
    /// `.wait_blocking()`.
    ///
    /// Durable jobs are not cancelled: those that wait stay `Scheduled`, in the
    /// store, for the next start; one that fails in the meantime has its retry
    /// then; and one that has to be left running runs again. When this returns,
    /// the store is closed.
    ///
    /// Of the others, an attempt that fails in the meantime is not tried again. Gives the jobs
    /// that it had to leave running: their futures belong to the executor, and go
    /// on there. (The threads of the built-in pool end with the app, and what they
    /// have not finished has failed.) Not cancel safe: once polled, the app is stopping.
    ///
    /// Called from within a job, it waits the whole grace for that very job. Of
    /// several calls, the one with the shortest grace ends it for all, and all
    /// are given the same list.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, Jobber};
    /// # let app = Jobber::builder().build()?;
    /// let forever = app.task("forever", std::future::pending::<()>).register()?;
    /// app.start().wait_blocking()?;
    /// let job = forever.schedule(()).id("f").push().wait_blocking()?;
    /// while job.status() != JobStatus::Running {
    ///     std::thread::yield_now();
    /// }
    /// let left = app.shutdown(Duration::ZERO).wait_blocking();
    /// assert_eq!(left, [("f".into(), JobStatus::Running)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, grace: Duration) -> Action<'_, Vec<(JobId, JobStatus)>> {
        let hub = &self.inner.hub;
        Action::new(async move {
            hub.begin_stop();
            let idle = Waiter::new(Idle(hub.clone()));
            timeout(grace, idle).await;
            let left = hub.end_stop();
            // It has nothing left to wait for but a call into an executor.
            if !hub.is_on_timer_thread() {
                timeout(TIMER_END, Waiter::new(TimerEnded(hub.clone()))).await;
            }
            timeout(STORE_END, Waiter::new(StoreClosed(hub.clone()))).await;
            left
        })
    }

    /// Waits until no job is live, or the app has stopped. `.await` it, or end it
    /// with `.wait_blocking()`. Cancel safe.
    ///
    /// A recurring job is live until it is cancelled or has reached its limits.
    /// Called from within a job, it waits for that very job, and so for ever.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let app = jobber::Jobber::builder().build()?;
    /// # let hello = app.task("hello", || async {}).register()?;
    /// # app.start().wait_blocking()?;
    /// for n in 0..10 {
    ///     let _ = hello.schedule(()).delay(Duration::from_millis(n)).wait_blocking()?;
    /// }
    /// app.wait_all().wait_blocking();
    /// assert!(app.jobs().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_all(&self) -> Action<'_, ()> {
        Action::new(Waiter::new(Idle(self.inner.hub.clone())))
    }

    /// The live job of this id. [`Task::job`](crate::Task::job) gives it with its
    /// type.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let _ = hello.schedule(()).id("x").push().wait_blocking()?;
    /// assert!(sim.app().find_job("x").is_some());
    /// assert!(sim.app().find_job("y").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find_job(&self, id: impl Into<JobId>) -> Option<AnyJob> {
        self.inner.hub.find(&id.into()).map(AnyJob::new)
    }

    /// All jobs that are live, in no order. While others come and go, each that
    /// is live throughout is among them.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let _ = hello.schedule(()).delay(Duration::from_secs(60)).wait_blocking()?;
    /// for job in sim.app().jobs() {
    ///     println!("{job:?}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jobs(&self) -> Vec<AnyJob> {
        self.inner.hub.jobs().into_iter().map(AnyJob::new).collect()
    }

    /// What happens to jobs from here on, as a stream. Each reader has its own.
    /// A reader that is more than 1,024 events behind is told how many it missed;
    /// it never holds up a job.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let mut events = sim.app().events();
    /// let _ = hello.schedule(()).push().wait_blocking()?;
    /// sim.run_until_stalled();
    /// while let Some(event) = events.try_next() {
    ///     println!("{event}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self) -> Events {
        Events::new(self.inner.hub.events.clone())
    }

    /// The jobs in the store that no task can run, by id: their task is not
    /// registered or not durable, their arguments are none of its, or they are of
    /// a newer version of jobber.
    ///
    /// They are kept as they are. When a task is registered that can run one, now
    /// or in a later process, it is picked up.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use std::time::Duration;
    /// # use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
    /// # let (storage, clock) = (MemoryStorage::new(), ManualClock::new());
    /// # let start = || Simulation::with(0, clock.clone(), |app| app.storage(storage.clone()));
    /// # let sim = start()?;
    /// # let mail = sim.app().task("mail", async |to: String| to.len()).durable().register()?;
    /// # let _ = mail.schedule("ada".into()).id("m").delay(Duration::from_secs(60)).wait_blocking()?;
    /// # sim.crash();
    /// # let sim = start()?;
    /// for job in sim.app().unresolved() {
    ///     println!("{job}"); // mail m: no task has this name, or this alias
    /// }
    /// # assert_eq!(sim.app().unresolved().len(), 1);
    /// let mail = sim.app().task("mail", async |to: String| to.len()).durable().register()?;
    /// assert!(sim.app().unresolved().is_empty());
    /// assert!(mail.job("m").is_some());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unresolved(&self) -> Vec<UnresolvedJob> {
        self.inner.hub.unresolved()
    }

    /// Has the store forget a job that no task can run, for good. `.await` it, or
    /// end it with `.wait_blocking()`. Gives whether there was one of this id
    /// among the [`unresolved`](Jobber::unresolved).
    ///
    /// # Errors
    /// When the store could not forget it. It is asked again until it does.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// assert!(!app.discard("no such job").wait_blocking()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn discard(&self, id: impl Into<JobId>) -> Action<'_, Result<bool, StorageError>> {
        let id = id.into();
        Action::new(async move {
            match self.inner.hub.discard(&id) {
                Some(reply) => Waiter::new(ReplySent(reply)).await.map(|()| true),
                None => Ok(false),
            }
        })
    }

    /// How the app is: whether its store works, and what it has not taken.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let health = app.health();
    /// if let Some(error) = &health.storage_error {
    ///     eprintln!("{} changes are not stored: {error}", health.unstored);
    /// }
    /// assert!(health.is_good());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn health(&self) -> Health {
        let hub = &self.inner.hub;
        let (storage_error, unstored) = match &hub.store {
            Some(store) => store.health(),
            None => (None, 0),
        };
        Health {
            storage_error,
            unstored,
            unresolved: hub.unresolved_count(),
        }
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    /// What turns the timer, once it has been started; for one who does so by hand.
    pub(crate) fn take_driver(&self) -> Option<Driver> {
        lock(&self.inner.parts).driver.take()
    }
}

impl fmt::Debug for Jobber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobber").finish_non_exhaustive()
    }
}

/// What came of a start, once it is known.
type Started = Arc<Reply<Result<(), StartError>>>;

impl Inner {
    /// Begins it. `None` when there is nothing to wait for.
    fn start(&self) -> Result<Option<Started>, StartError> {
        self.hub.begin_start()?;
        // Before anything can fail or be stopped: from here on it has to be
        // closed.
        if let Some(store) = &self.hub.store {
            store.open();
        }
        let start = Start {
            hub: self.hub.clone(),
            parts: self.parts.clone(),
            drive_mode: self.drive_mode,
        };
        let storage = lock(&self.parts).storage.take();
        let Some(storage) = storage else {
            start.finish().inspect_err(|_| self.hub.start_failed())?;
            return Ok(None);
        };
        if self.drive_mode == DriveMode::Manual {
            let writer = start.open(Writer::new(storage))?;
            if let Some(store) = &self.hub.store {
                store.set_writer(writer);
                store.wake_writer();
            }
            return Ok(None);
        }
        let started = Reply::new();
        let told = started.clone();
        let writer = Arc::new(Mutex::new(Some(Writer::new(storage))));
        let taken = writer.clone();
        let spawned = thread::Builder::new()
            .name(STORE_THREAD.into())
            .spawn(move || {
                let Some(writer) = lock(&taken).take() else {
                    return;
                };
                let hub = start.hub.clone();
                match start.open(writer) {
                    Ok(writer) => {
                        told.send(Ok(()));
                        if let Some(store) = &hub.store {
                            store.run_thread(writer);
                        }
                    }
                    Err(error) => told.send(Err(error)),
                }
            });
        if let Err(source) = spawned {
            lock(&self.parts).storage = lock(&writer).take().map(Writer::into_storage);
            self.hub.start_failed();
            return Err(StartError::Thread {
                name: STORE_THREAD.into(),
                source,
            });
        }
        Ok(Some(started))
    }
}

/// The name of the store's thread.
const STORE_THREAD: &str = "jobber-store";

/// The part of a start that may take a while.
struct Start {
    hub: Arc<Hub>,
    parts: Arc<Mutex<Parts>>,
    drive_mode: DriveMode,
}

impl Start {
    /// Opens the store, takes up what is in it, and starts the rest.
    fn open(&self, mut writer: Writer) -> Result<Writer, StartError> {
        let opened = self.load(&mut writer).and_then(|()| self.finish());
        match opened {
            Ok(()) => Ok(writer),
            Err(error) => {
                let storage = writer.into_storage();
                if matches!(error, StartError::Stopped) {
                    // There will be no other try: let go of before the end is told.
                    drop_catching_panic(storage);
                } else {
                    lock(&self.parts).storage = Some(storage);
                }
                self.hub.start_failed();
                Err(error)
            }
        }
    }

    fn load(&self, writer: &mut Writer) -> Result<(), StartError> {
        let mut fits = true;
        let loaded = catch_panic(|| {
            let storage = writer.storage();
            storage.open()?;
            storage.load(&mut |loaded| fits = fits && self.hub.load(loaded))
        });
        loaded
            .unwrap_or_else(|message| Err(StorageError::Panicked { message }))
            .map_err(StartError::Storage)?;
        if fits {
            self.hub.catch_up();
            Ok(())
        } else {
            Err(StartError::TooManyJobs {
                held: self.hub.most_in_a_table(),
            })
        }
    }

    fn finish(&self) -> Result<(), StartError> {
        let given = lock(&self.parts).executor.clone();
        let given = match given {
            Some(executor) => executor,
            None => default_executor()?,
        };
        self.hub.start(given)?;
        match self.drive_mode {
            DriveMode::Thread => timer_thread::spawn(&self.hub)?,
            DriveMode::Manual => lock(&self.parts).driver = Some(Driver::new(self.hub.clone())),
        }
        // The app holds it from here on, and lets go of it when it stops.
        lock(&self.parts).executor = None;
        Ok(())
    }
}

#[cfg(feature = "thread-pool")]
fn default_executor() -> Result<Arc<dyn Executor>, StartError> {
    use crate::executor::thread_pool::ThreadPool;
    Ok(Arc::new(ThreadPool::for_this_machine()?))
}

#[cfg(not(feature = "thread-pool"))]
fn default_executor() -> Result<Arc<dyn Executor>, StartError> {
    Err(StartError::NoExecutor)
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.hub.begin_stop();
        self.hub.end_stop();
        // Whoever opens the store next finds it free, and with all in it.
        block_on(timeout(
            STORE_END,
            Waiter::new(StoreClosed(self.hub.clone())),
        ));
    }
}

/// How long the end of an app waits for its store.
const STORE_END: Duration = Duration::from_secs(30);

/// How long a shutdown waits for the timer's thread, which ends by itself.
const TIMER_END: Duration = Duration::from_secs(1);

async fn timeout(limit: Duration, waiter: impl Future<Output = ()>) {
    // The condition first: with no limit at all it still gets its chance.
    let timer = async {
        Timer::after(limit).await;
    };
    future::or(waiter, timer).await;
}

struct Idle(Arc<Hub>);

impl Condition for Idle {
    type Output = ();

    fn ready(&self) -> Option<()> {
        (self.0.has_stopped() || self.0.is_idle()).then_some(())
    }

    fn event(&self) -> &Signal {
        self.0.changed()
    }
}

struct StoreClosed(Arc<Hub>);

impl Condition for StoreClosed {
    type Output = ();

    fn ready(&self) -> Option<()> {
        self.0.is_store_closed().then_some(())
    }

    fn event(&self) -> &Signal {
        self.0.changed()
    }
}

struct TimerEnded(Arc<Hub>);

impl Condition for TimerEnded {
    type Output = ();

    fn ready(&self) -> Option<()> {
        (!self.0.is_timer_running()).then_some(())
    }

    fn event(&self) -> &Signal {
        self.0.changed()
    }
}

/// Something that an app does and that may take a while: `.await` it, or end it
/// with [`wait_blocking`](Action::wait_blocking). Until then nothing happens.
///
/// ```
/// use jobber::Jobber;
///
/// let app = Jobber::builder().build()?;
/// app.start().wait_blocking()?;
/// smol::block_on(async {
///     app.wait_all().await;
/// });
/// # Ok::<(), jobber::StartError>(())
/// ```
#[must_use = "does nothing until it is awaited or ended with `.wait_blocking()`"]
pub struct Action<'a, T>(Pin<Box<dyn Future<Output = T> + Send + 'a>>);

impl<'a, T> Action<'a, T> {
    fn new(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self(future.boxed())
    }

    /// Does it, and blocks the thread until it is done.
    pub fn wait_blocking(self) -> T {
        block_on(self)
    }
}

impl<T> Future for Action<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Action<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Action(..)")
    }
}
