//! [`Simulation`]: an app on virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use time::OffsetDateTime;

use crate::api::app::Jobber;
use crate::api::builder::JobberBuilder;
use crate::engine::driver::{Driver, Turn};
use crate::executor::job_future::{BlockingJob, Executor, JobFuture};
use crate::storage::inbox::Store;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, AtomicBool, Mutex, Ordering, Weak, block_on, lock};
use crate::value::clock::Clock;
use crate::value::error::StartError;
use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// A clock that is turned by hand.
///
/// All clones are the same clock. An app on such a clock, with real threads,
/// does what comes due as soon as the clock is moved there.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Clock, Jobber, testing::ManualClock};
///
/// let clock = ManualClock::new();
/// let app = Jobber::builder().clock(clock.clone()).build()?;
/// let hello = app.task("hello", || async {}).register()?;
/// app.start().block_on()?;
/// let job = hello.schedule(()).delay(Duration::from_secs(3600)).block_on()?;
///
/// clock.advance(Duration::from_secs(3600));
/// job.wait_blocking();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    mono: Duration,
    wall: OffsetDateTime,
    watchers: Vec<Waker>,
    sleepers: BTreeMap<(Duration, u64), Waker>,
    last_sleeper: u64,
}

impl ManualClock {
    /// A clock that stands at midnight, 1 January 2000 UTC, a Saturday.
    ///
    /// ```
    /// use jobber::{Clock, testing::ManualClock};
    ///
    /// assert_eq!(ManualClock::new().wall(), time::macros::datetime!(2000-01-01 0:00 UTC));
    /// ```
    pub fn new() -> Self {
        const MIDNIGHT_2000: i64 = 946_684_800;
        Self::at(OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(MIDNIGHT_2000))
    }

    /// A clock that stands at this time.
    ///
    /// ```
    /// use jobber::{Clock, testing::ManualClock};
    /// use time::macros::datetime;
    ///
    /// let clock = ManualClock::at(datetime!(2026-11-23 12:00 UTC));
    /// assert_eq!(clock.wall(), datetime!(2026-11-23 12:00 UTC));
    /// ```
    pub fn at(wall: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(Hands {
            mono: Duration::ZERO,
            wall,
            watchers: Vec::new(),
            sleepers: BTreeMap::new(),
            last_sleeper: 0,
        })))
    }

    /// The time that it has been advanced by.
    pub fn elapsed(&self) -> Duration {
        lock(&self.0).mono
    }

    /// Lets time pass, in one jump. Stops at the end of the calendar.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::testing::ManualClock;
    ///
    /// let clock = ManualClock::new();
    /// clock.advance(Duration::from_secs(5));
    /// assert_eq!(clock.elapsed(), Duration::from_secs(5));
    /// ```
    pub fn advance(&self, by: Duration) {
        self.change(|hands| {
            hands.mono = hands.mono.saturating_add(by);
            let by = time::Duration::try_from(by).unwrap_or(time::Duration::MAX);
            hands.wall = hands.wall.saturating_add(by);
        });
    }

    /// Sets the wall clock, as an operator would; no time passes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::testing::ManualClock;
    ///
    /// let clock = ManualClock::new();
    /// clock.set_wall(time::macros::datetime!(2030-01-01 0:00 UTC));
    /// assert_eq!(clock.elapsed(), Duration::ZERO);
    /// ```
    pub fn set_wall(&self, wall: OffsetDateTime) {
        self.change(|hands| hands.wall = wall);
    }

    /// A future that is ready when so much time has passed, from now: a task
    /// that takes that long.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, testing::Simulation};
    /// let mut sim = Simulation::new();
    /// let clock = sim.clock();
    /// let slow = sim.app().task("slow", move || clock.sleep(Duration::from_secs(5))).register()?;
    /// let job = slow.schedule(()).push().block_on()?;
    /// sim.advance(Duration::from_secs(4));
    /// assert_eq!(job.status(), JobStatus::Running);
    /// sim.advance(Duration::from_secs(1));
    /// assert_eq!(job.status(), JobStatus::Success);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let mut hands = lock(&self.0);
        hands.last_sleeper += 1;
        Sleep {
            clock: self.clone(),
            key: (hands.mono.saturating_add(duration), hands.last_sleeper),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Hands)) {
        let mut wakers = {
            let mut hands = lock(&self.0);
            change(&mut hands);
            let now = hands.mono;
            let later = hands.sleepers.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut hands.sleepers, later);
            let mut wakers: Vec<Waker> = due.into_values().collect();
            wakers.extend(hands.watchers.iter().cloned());
            wakers
        };
        wakers.drain(..).for_each(Waker::wake);
    }

    fn next_sleeper(&self) -> Option<Duration> {
        lock(&self.0).sleepers.keys().next().map(|(at, _)| *at)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        lock(&self.0).mono
    }

    fn wall(&self) -> OffsetDateTime {
        lock(&self.0).wall
    }

    fn sleep_until(&self, _: Duration) -> Option<Duration> {
        None
    }

    fn watch(&self, moved: Waker) {
        lock(&self.0).watchers.push(moved);
    }
}

/// The future of [`ManualClock::sleep`].
#[derive(Debug)]
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct Sleep {
    clock: ManualClock,
    key: (Duration, u64),
}

impl Sleep {
    /// Blocks the thread until another thread has moved the clock far enough.
    pub fn block_on(self) {
        block_on(self);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Wakers are foreign: none is cloned or dropped under the lock.
        let waker = cx.waker().clone();
        let mut hands = lock(&self.clock.0);
        if hands.mono >= self.key.0 {
            return Poll::Ready(());
        }
        let old = hands.sleepers.insert(self.key, waker);
        drop(hands);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = lock(&self.clock.0).sleepers.remove(&self.key);
        drop(waker);
    }
}

/// An app without a thread, on a clock of its own: all that happens, happens in
/// the calls made on this, and in the same order each time.
///
/// The app is started, and used as any other. Jobs run, one after the other, in
/// [`advance`](Simulation::advance) and
/// [`run_until_stalled`](Simulation::run_until_stalled), those of blocking tasks
/// too. Waiting for one elsewhere would wait for ever: move the clock, then
/// look.
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
    /// From its start on.
    driver: Option<Driver>,
}

/// A simulation that does so many steps without time passing will never rest.
const MAX_STEPS_AT_ONE_INSTANT: usize = 10_000_000;

impl Simulation {
    /// An app as [`Jobber::builder`] makes it, on a [`ManualClock::new`].
    pub fn new() -> Self {
        match Self::with(0, ManualClock::new(), |builder| builder) {
            Ok(simulation) => simulation,
            // Only for an executor or a thread, and it needs neither.
            Err(error) => unreachable!("{error}"),
        }
    }

    /// An app with options, a clock and a seed. The clock and the executor are
    /// the simulation's.
    ///
    /// # Errors
    /// Those of [`JobberBuilder::build`] and [`Jobber::start`].
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

    /// Like [`with`](Simulation::with), but the app is not started yet: for a test of
    /// how a program starts, with its tasks registered [before](Jobber::start).
    ///
    /// # Errors
    /// Those of [`JobberBuilder::build`].
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
        Self::of(builder.seed(seed), clock, executor)
    }

    /// The jobs are this executor's, and so run when its threads run them: for models in
    /// which a thread for the timer would be one too many.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn on(executor: impl Executor) -> Self {
        let builder = Jobber::builder().executor(executor).seed(0);
        let sim = Self::of(builder, ManualClock::new(), Arc::default()).unwrap();
        sim.app.start().block_on().unwrap();
        sim
    }

    fn of(
        builder: JobberBuilder,
        clock: ManualClock,
        executor: Arc<InlineExecutor>,
    ) -> Result<Self, StartError> {
        let app = builder.clock(clock.clone()).manual().build()?;
        Ok(Self {
            driver: None,
            app,
            clock,
            executor,
        })
    }

    /// The app.
    pub fn app(&self) -> &Jobber {
        &self.app
    }

    /// The clock.
    pub fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    /// The time that it has been advanced by.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lets time pass, from one due time to the next, and runs what comes due at
    /// each.
    pub fn advance(&mut self, by: Duration) {
        let target = self.elapsed().saturating_add(by);
        while let Some(next) = self.settle().filter(|next| *next <= target) {
            self.clock.advance(next.saturating_sub(self.elapsed()));
        }
        self.clock.advance(target.saturating_sub(self.elapsed()));
        self.settle();
    }

    /// Runs all that is due, without time passing.
    ///
    /// # Panics
    /// When that does not end within ten million steps, because each job
    /// schedules another that is due at once, or a task wakes itself.
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

    /// Sets the wall clock, as an operator would, and runs what that makes due.
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

    /// [`Jobber::shutdown`] on this clock: `grace` passes here, as far as it is
    /// needed.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).delay(std::time::Duration::from_secs(60)).block_on()?;
    /// assert!(sim.shutdown(std::time::Duration::ZERO).is_empty());
    /// assert_eq!(job.status(), jobber::JobStatus::Cancelled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&mut self, grace: Duration) -> Vec<(JobId, JobStatus)> {
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
        hub.end_stop()
    }

    /// Ends it as a process that is killed ends: nothing that goes on comes to its
    /// end, and the store has what it had just now.
    ///
    /// Another simulation, with the same storage and clock, is the next process.
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

    /// Runs all that is due. Gives when the next thing is.
    fn settle(&mut self) -> Option<Duration> {
        let started = self.app.take_driver();
        self.driver = started.or(self.driver.take());
        let mut steps = 0;
        while steps < MAX_STEPS_AT_ONE_INSTANT {
            let turn = self.driver.as_mut().map(Driver::turn);
            let hub = self.app.hub();
            let retry = hub.store.as_ref().and_then(Store::run_manually);
            let tasks = self.executor.run(MAX_STEPS_AT_ONE_INSTANT - steps);
            steps += tasks.max(1);
            let is_new = turn.is_some() && !hub.fall_asleep(i64::MAX, i64::MIN);
            if tasks > 0 || turn == Some(Turn::Again) || is_new {
                continue;
            }
            let due = match turn {
                Some(Turn::At { due, .. }) => Some(Duration::from_nanos(due.max(0) as u64)),
                _ => None,
            };
            let others = [retry, self.clock.next_sleeper()];
            return due.into_iter().chain(others.into_iter().flatten()).min();
        }
        panic!("the simulation does not come to rest: each job makes another that is due at once");
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

/// Runs tasks one after the other, first in, first out, when told to.
#[derive(Debug, Default)]
struct InlineExecutor {
    ready: Arc<Mutex<VecDeque<Arc<InlineTask>>>>,
    /// All that may be there still: a task that waits is held by its waker
    /// alone, and by itself through that.
    tasks: Mutex<Vec<Weak<InlineTask>>>,
}

#[derive(Debug)]
struct InlineTask {
    work: Mutex<Option<Work>>,
    is_queued: AtomicBool,
    ready: Weak<Mutex<VecDeque<Arc<InlineTask>>>>,
}

#[derive(Debug)]
enum Work {
    Future(JobFuture),
    Blocking(BlockingJob),
}

impl InlineExecutor {
    fn add(&self, work: Work) {
        let task = Arc::new(InlineTask {
            work: Mutex::new(Some(work)),
            is_queued: AtomicBool::new(false),
            ready: Arc::downgrade(&self.ready),
        });
        let mut tasks = lock(&self.tasks);
        // Now and then, so that the list is as long as there are tasks.
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| task.strong_count() > 0);
        }
        tasks.push(Arc::downgrade(&task));
        drop(tasks);
        task.wake();
    }

    /// How many it had to run, of so many at most.
    fn run(&self, limit: usize) -> usize {
        let next = || lock(&self.ready).pop_front();
        std::iter::from_fn(next)
            .take(limit)
            .map(InlineTask::run)
            .count()
    }

    fn drop_all(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks.into_iter().filter_map(|task| task.upgrade()) {
            let work = lock(&task.work).take();
            drop_catching_panic(work);
        }
    }
}

impl InlineTask {
    fn run(self: Arc<Self>) {
        self.is_queued.store(false, Ordering::SeqCst);
        // Taken out, for it may wake itself, or drop the simulation.
        let work = lock(&self.work).take();
        match work {
            Some(Work::Blocking(job)) => job.run(),
            Some(Work::Future(mut future)) => {
                let waker = Waker::from(self.clone());
                let mut cx = Context::from_waker(&waker);
                if Pin::new(&mut future).poll(&mut cx).is_pending() {
                    *lock(&self.work) = Some(Work::Future(future));
                }
            }
            None => {}
        }
    }
}

impl Wake for InlineTask {
    fn wake(self: Arc<Self>) {
        if let Some(ready) = self.ready.upgrade()
            && !self.is_queued.swap(true, Ordering::SeqCst)
        {
            lock(&ready).push_back(self);
        }
    }
}

impl Executor for Arc<InlineExecutor> {
    fn spawn(&self, job: JobFuture) {
        self.add(Work::Future(job));
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        self.add(Work::Blocking(job));
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver(..)")
    }
}
