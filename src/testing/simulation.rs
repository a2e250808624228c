//! [`Simulation`]: an app on virtual time, without threads.

use std::time::Duration;

use time::OffsetDateTime;

use crate::api::app::Jobber;
use crate::api::builder::JobberBuilder;
use crate::api::job::AnyJob;
use crate::engine::driver::{DriveAgain, Driver};
use crate::engine::hub::Live;
#[cfg(loom)]
use crate::executor::contract::Executor;
use crate::storage::store::Store;
use crate::sync::primitives::Arc;
use crate::testing::inline_executor::InlineExecutor;
use crate::testing::manual_clock::ManualClock;
use crate::value::error::StartError;
use crate::value::shutdown_report::ShutdownReport;
use crate::value::status::JobStatus;

/// An app without threads, on a clock of its own. Everything happens inside the calls of
/// its methods, and in the same order each time. **A task that waits for a real timer, such as
/// `smol::Timer`, stays `RUNNING` for ever**: virtual time does not move that timer. Let it wait
/// with [`ManualClock::sleep`]; [`stuck`](Simulation::stuck) lists such jobs.
///
/// The app is started, and is used like any other. Its jobs, including those of blocking
/// tasks, run one after the other inside [`advance`](Simulation::advance),
/// [`run_until_stalled`](Simulation::run_until_stalled),
/// [`set_wall`](Simulation::set_wall) and [`shutdown`](Simulation::shutdown).
///
/// # Blocking
/// A call that waits for a job, such as `job.wait_blocking()`, never
/// returns if the job has not ended: move the clock, and then look at the job.
///
/// ```
/// use std::time::Duration;
/// use jobber::{JobStatus, testing::Simulation};
///
/// let mut sim = Simulation::new();
/// let hello = sim.app().task("hello", || async {}).register()?;
/// let job = hello.schedule(()).delay(Duration::from_secs(60)).block_on()?;
///
/// sim.advance(Duration::from_secs(59));
/// assert_eq!(job.status(), JobStatus::Scheduled);
/// sim.advance(Duration::from_secs(1));
/// assert_eq!(job.status(), JobStatus::Success);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Simulation {
    app: Jobber,
    clock: ManualClock,
    executor: Arc<InlineExecutor>,
    /// `None` until the app is started.
    driver: Option<Driver>,
    /// What the driver has said last.
    again: Option<DriveAgain>,
}

/// After this many steps without time passing, a simulation is taken to run for ever.
const MAX_STEPS_AT_ONE_INSTANT: usize = 10_000_000;

impl Simulation {
    /// Returns an app that is built as by [`Jobber::builder`], and started, on a
    /// [`ManualClock::new`].
    pub fn new() -> Self {
        match Self::with(0, ManualClock::new(), |builder| builder) {
            Ok(simulation) => simulation,
            // Starting fails for an executor or a thread only, and it needs neither.
            Err(error) => unreachable!("{error}"),
        }
    }

    /// Returns an app with options, a clock and a seed for its random numbers, started.
    ///
    /// The clock and the executor are those of the simulation: options for them have no
    /// effect.
    ///
    /// # Errors
    /// Returns the errors of [`JobberBuilder::build`] and [`Jobber::start`].
    ///
    /// ```
    /// use jobber::testing::{ManualClock, Simulation};
    /// use time::macros::datetime;
    ///
    /// let clock = ManualClock::at(datetime!(2026-03-28 12:00 UTC));
    /// let sim = Simulation::with(42, clock, |builder| builder.state("a value"))?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn with(
        seed: u64,
        clock: ManualClock,
        configure: impl FnOnce(JobberBuilder) -> JobberBuilder,
    ) -> Result<Self, StartError> {
        let sim = Self::unstarted(seed, clock, configure)?;
        sim.app.start().block_on()?;
        Ok(sim)
    }

    /// Like [`with`](Simulation::with), but the app is not started. It is for tests of
    /// how a program starts, with its tasks registered [before](Jobber::start).
    ///
    /// # Errors
    /// Returns the errors of [`JobberBuilder::build`].
    ///
    /// ```
    /// use jobber::ScheduleError;
    /// use jobber::testing::{ManualClock, Simulation};
    ///
    /// let mut sim = Simulation::unstarted(0, ManualClock::new(), |builder| builder)?;
    /// let hello = sim.app().task("hello", || async {}).register()?;
    /// let early = hello.schedule(()).push().block_on();
    /// assert!(matches!(early, Err(ScheduleError::NotStarted)));
    ///
    /// sim.app().start().block_on()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unstarted(
        seed: u64,
        clock: ManualClock,
        configure: impl FnOnce(JobberBuilder) -> JobberBuilder,
    ) -> Result<Self, StartError> {
        let executor = Arc::new(InlineExecutor::default());
        let builder = configure(Jobber::builder()).executor(executor.clone());
        Self::build(builder.seed(seed), clock, executor)
    }

    /// An app whose jobs this executor runs, on threads of its own. It is for models in
    /// which a thread for the timer would be one too many.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn on(executor: impl Executor) -> Self {
        let builder = Jobber::builder().executor(executor).seed(0);
        let sim = Self::build(builder, ManualClock::new(), Arc::default()).unwrap();
        sim.app.start().block_on().unwrap();
        sim
    }

    fn build(
        builder: JobberBuilder,
        clock: ManualClock,
        executor: Arc<InlineExecutor>,
    ) -> Result<Self, StartError> {
        let app = builder.clock(clock.clone()).manual().build()?;
        Ok(Self {
            driver: None,
            again: None,
            app,
            clock,
            executor,
        })
    }

    /// Returns the app.
    pub fn app(&self) -> &Jobber {
        &self.app
    }

    /// Returns the clock. Moving it by hand starts no job before the next call of a
    /// method of the simulation.
    pub fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    /// Returns the time by which the clock has advanced.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lets time pass. The clock moves from one due time to the next, and all jobs that
    /// are due run at each.
    ///
    /// # Panics
    /// As [`run_until_stalled`](Simulation::run_until_stalled).
    pub fn advance(&mut self, by: Duration) {
        let target = self.elapsed().saturating_add(by);
        while let Some(next) = self.settle().filter(|next| *next <= target) {
            self.clock.advance(next.saturating_sub(self.elapsed()));
        }
        self.clock.advance(target.saturating_sub(self.elapsed()));
        self.settle();
    }

    /// Runs all jobs that are due, without letting time pass.
    ///
    /// # Panics
    /// If that takes more than ten million steps, because each job schedules another that
    /// is due at once, or because a task always wakes itself.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_until_stalled(&mut self) {
        self.settle();
    }

    /// Sets the wall clock, as an operator of the machine would, and runs all jobs that
    /// are due then.
    ///
    /// # Panics
    /// As [`run_until_stalled`](Simulation::run_until_stalled).
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let noon = time::macros::datetime!(2000-01-01 12:00 UTC);
    /// let job = hello.schedule(()).at(noon).block_on()?;
    /// sim.set_wall(noon);
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_wall(&mut self, wall: OffsetDateTime) {
        self.clock.set_wall(wall);
        self.settle();
    }

    /// Suspends the machine for this time, resumes it, and runs all jobs that are due then.
    /// The monotonic clock stands still meanwhile.
    ///
    /// # Panics
    /// As [`run_until_stalled`](Simulation::run_until_stalled).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let daily = hello.schedule(()).cron("0 3 * * *").block_on()?;
    /// let delayed = hello.schedule(()).delay(Duration::from_secs(60)).block_on()?;
    /// sim.suspend(Duration::from_secs(8 * 3_600));
    /// assert_eq!(daily.last_run().unwrap().number, 1);
    /// assert!(!delayed.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn suspend(&mut self, duration: Duration) {
        self.clock.suspend(duration);
        self.settle();
    }

    /// Stops the app as [`Jobber::shutdown`] does. The clock advances until no job runs,
    /// or by `grace`. Returns the jobs that had not ended by then.
    ///
    /// # Panics
    /// As [`run_until_stalled`](Simulation::run_until_stalled).
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).delay(std::time::Duration::from_secs(60)).block_on()?;
    /// assert!(sim.shutdown(std::time::Duration::ZERO).is_complete());
    /// assert_eq!(job.status(), jobber::JobStatus::Cancelled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&mut self, grace: Duration) -> ShutdownReport {
        let hub = self.app.hub().clone();
        hub.begin_stop();
        let target = self.elapsed().saturating_add(grace);
        while let Some(next) = self
            .settle()
            .filter(|next| *next <= target && !hub.is_idle())
        {
            self.clock.advance(next.saturating_sub(self.elapsed()));
        }
        if !hub.is_idle() {
            self.clock.advance(target.saturating_sub(self.elapsed()));
            self.settle();
        }
        let left = hub.end_stop();
        hub.report(left)
    }

    /// Ends the app as the kill of a process would: running jobs do not end, and the store
    /// keeps what it has at this moment.
    ///
    /// Another simulation, with the same storage and clock, stands for the next process.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use std::time::Duration;
    /// # use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
    /// let (storage, clock) = (MemoryStorage::new(), ManualClock::new());
    /// let start = || Simulation::with(0, clock.clone(), |app| app.storage(storage.clone()));
    ///
    /// let mut sim = start()?;
    /// let hang = sim.app().task("t", std::future::pending::<()>).durable().register()?;
    /// let _ = hang.schedule(()).id("x").push().block_on()?;
    /// sim.run_until_stalled(); // it has started, and does not end
    /// sim.crash();
    ///
    /// let mut sim = start()?;
    /// let task = sim.app().task("t", async || "done").durable().register()?;
    /// let job = task.job("x").unwrap();
    /// sim.run_until_stalled();
    /// assert_eq!(*job.result()?, "done");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn crash(self) {
        if let Some(store) = &self.app.hub().store {
            store.simulate_crash();
        }
    }

    /// The jobs whose attempt runs and does not [sleep](ManualClock::sleep), sorted by id. The
    /// attempt waits for something else: for a real timer, for I/O, for another job, or for a
    /// channel that the test has still to send to. A test that expects nothing of this kind can
    /// check that the list is empty. (The [timeout](crate::TaskBuilder::timeout) of a job ends
    /// its attempt all the same.)
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::testing::Simulation;
    /// let mut sim = Simulation::new();
    /// let (clock, second) = (sim.clock(), Duration::from_secs(1));
    /// let good = sim.app().task("good", move || clock.sleep(second)).register()?;
    /// let bad = sim.app().task("bad", async || {
    ///     smol::Timer::after(Duration::from_secs(3_600)).await;
    /// });
    /// let bad = bad.register()?;
    /// good.schedule(()).push().block_on()?;
    /// bad.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// let stuck = sim.stuck();
    /// assert_eq!((stuck.len(), stuck[0].task_name()), (1, "bad"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stuck(&self) -> Vec<AnyJob> {
        let is_stuck = |job: &Live| {
            let address = Arc::as_ptr(job).cast::<()>().addr();
            job.core().status.get() == JobStatus::Running && !self.clock.has_sleeper_of(address)
        };
        let mut stuck = self.app.hub().jobs();
        stuck.retain(is_stuck);
        stuck.sort_by(|left, right| left.core().id.cmp(&right.core().id));
        stuck.into_iter().map(AnyJob::new).collect()
    }

    /// Runs everything that is due. Returns when the next thing is due.
    fn settle(&mut self) -> Option<Duration> {
        let started = self.app.take_driver();
        self.driver = started.or(self.driver.take());
        let mut steps = 0;
        while steps < MAX_STEPS_AT_ONE_INSTANT {
            self.drive();
            let again = self.again;
            let hub = self.app.hub();
            let retry = hub.store.as_ref().and_then(Store::run_manually);
            let tasks = self.executor.run(MAX_STEPS_AT_ONE_INSTANT - steps);
            steps += tasks.max(1);
            let is_woken = again.is_some() && hub.is_timer_woken();
            if tasks > 0 || again == Some(DriveAgain::Now) || is_woken {
                continue;
            }
            // A look at a clock that nobody sets finds nothing.
            let due = match again {
                Some(DriveAgain::At { check, .. }) if self.clock.is_set_silently() => Some(check),
                Some(DriveAgain::At { due, .. }) => Some(due),
                _ => None,
            };
            let due = due.map(|due| Duration::from_nanos(due.max(0) as u64));
            let times = [due, retry, self.clock.next_wake()];
            return times.into_iter().flatten().min();
        }
        panic!(
            "after {MAX_STEPS_AT_ONE_INSTANT} steps at one instant, there is still something to \
             do: a job schedules a job that is due at once, or wakes itself"
        );
    }
}

impl Simulation {
    /// Drives the timer, unless it sleeps and was not woken, as the thread of the timer would.
    /// The clock wakes it, if it was not set silently.
    fn drive(&mut self) {
        let hub = self.app.hub().clone();
        let Some(driver) = &mut self.driver else {
            return;
        };
        let mono = self.clock.elapsed().as_nanos();
        let sleeps = match self.again {
            None | Some(DriveAgain::Now) => false,
            Some(DriveAgain::At { check, .. }) => i128::from(check) > mono as i128,
            Some(DriveAgain::WhenWoken) => true,
        };
        if sleeps && self.clock.is_set_silently() && !hub.is_timer_woken() {
            return;
        }
        self.clock.look();
        let again = driver.drive();
        let until = match again {
            DriveAgain::At { check, .. } => check,
            DriveAgain::Now | DriveAgain::WhenWoken => i64::MAX,
        };
        let is_asleep = hub.fall_asleep(until, i64::MIN);
        self.again = Some(if is_asleep { again } else { DriveAgain::Now });
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.executor.drop_all();
    }
}
