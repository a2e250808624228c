//! [`ManualClock`]: a clock that a test moves.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use time::OffsetDateTime;

use crate::sync::polling::polled_job;
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::value::clock::Clock;

/// A clock that stands still until a test moves it.
///
/// All clones are the same clock. An app with real threads can have this clock too: its
/// jobs start as soon as the clock is moved to their due time.
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
pub struct ManualClock(Arc<Mutex<ClockState>>);

#[derive(Debug)]
struct ClockState {
    mono: Duration,
    wall: OffsetDateTime,
    /// Woken each time the clock is moved. Shared, because cloning a waker may run user code
    /// and is not done under the lock.
    watchers: Vec<Arc<Waker>>,
    /// By the time at which each is woken, and the number of its [`Sleep`].
    sleepers: BTreeMap<(Duration, u64), PendingSleep>,
    last_sleeper: u64,
    /// See [`Clock::suspended`].
    suspended: Duration,
    /// See [`Clock::earliest_true_time`].
    earliest: Option<OffsetDateTime>,
    /// The wall clock was set, and woke no app.
    is_set_silently: bool,
}

#[derive(Debug)]
struct PendingSleep {
    waker: Waker,
    /// The address of the job whose attempt sleeps.
    job: Option<usize>,
}

impl ManualClock {
    /// Returns a clock whose wall time is midnight, 1 January 2000 UTC, a Saturday.
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

    /// Returns a clock with this wall time. Its monotonic time is zero.
    ///
    /// ```
    /// use jobber::{Clock, testing::ManualClock};
    /// use time::macros::datetime;
    ///
    /// let clock = ManualClock::at(datetime!(2026-11-23 12:00 UTC));
    /// assert_eq!(clock.wall(), datetime!(2026-11-23 12:00 UTC));
    /// ```
    pub fn at(wall: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(ClockState {
            mono: Duration::ZERO,
            wall,
            watchers: Vec::new(),
            sleepers: BTreeMap::new(),
            last_sleeper: 0,
            suspended: Duration::ZERO,
            earliest: None,
            is_set_silently: false,
        })))
    }

    /// Returns this clock, with an [earliest true time](Clock::earliest_true_time): while it
    /// shows an earlier time, it counts as never set. Call this before an app is built with
    /// the clock. Default: none, so that the clock is right at any date.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::testing::{ManualClock, Simulation};
    /// use time::macros::datetime;
    ///
    /// let boot = ManualClock::at(datetime!(1970-01-01 0:00 UTC));
    /// let clock = boot.with_earliest_true_time(datetime!(2026-11-01 0:00 UTC));
    /// let mut sim = Simulation::with(0, clock, |app| app)?;
    /// assert_eq!(sim.app().health().to_string(), "the wall clock was never set");
    ///
    /// let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("@hourly").block_on()?;
    /// sim.set_wall(datetime!(2026-11-20 11:59 UTC));
    /// assert_eq!(job.exec_at(), datetime!(2026-11-20 12:00 UTC));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_earliest_true_time(self, earliest: OffsetDateTime) -> Self {
        lock(&self.0).earliest = Some(earliest);
        self
    }

    /// Returns the sum of all [`advance`](ManualClock::advance) calls, which is the
    /// monotonic time.
    pub fn elapsed(&self) -> Duration {
        lock(&self.0).mono
    }

    /// Moves both clocks forward, in one step. The wall clock stops at the end of the
    /// calendar.
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
        self.change(|state| {
            state.mono = state.mono.saturating_add(by);
            let by = time::Duration::try_from(by).unwrap_or(time::Duration::MAX);
            state.wall = state.wall.saturating_add(by);
        });
    }

    /// Sets the wall clock, as an operator of the machine would. The monotonic clock does
    /// not move.
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
        self.change(|state| state.wall = wall);
    }

    /// Sets the wall clock as the operating system does it: no app is woken. An app notices it
    /// when its timer next looks at the clock, which is at most a minute later if a job waits
    /// for the wall clock.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::testing::Simulation;
    /// # let mut sim = Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("0 8 * * *").block_on()?;
    /// sim.run_until_stalled();
    /// sim.clock().set_wall_silently(time::macros::datetime!(2000-01-01 8:00 UTC));
    /// sim.run_until_stalled();
    /// assert!(job.last_run().is_none()); // the timer sleeps
    /// sim.advance(Duration::from_secs(60));
    /// assert!(job.last_run().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_wall_silently(&self, wall: OffsetDateTime) {
        let mut state = lock(&self.0);
        state.wall = wall;
        state.is_set_silently = true;
    }

    /// Suspends the machine: the wall clock goes on, the monotonic clock does not. The app
    /// notices it at the resume.
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::{Clock, testing::ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// clock.suspend(Duration::from_secs(8 * 3_600));
    /// assert_eq!(clock.elapsed(), Duration::ZERO);
    /// assert_eq!(clock.wall(), time::macros::datetime!(2000-01-01 8:00 UTC));
    /// ```
    pub fn suspend(&self, duration: Duration) {
        self.change(|state| {
            state.suspended = state.suspended.saturating_add(duration);
            let by = time::Duration::try_from(duration).unwrap_or(time::Duration::MAX);
            state.wall = state.wall.saturating_add(by);
        });
    }

    /// Whether the wall clock was set silently since the timer last looked.
    pub(crate) fn is_set_silently(&self) -> bool {
        lock(&self.0).is_set_silently
    }

    /// The timer looks at the clock.
    pub(crate) fn look(&self) {
        lock(&self.0).is_set_silently = false;
    }

    /// Returns a future that is ready when the clock has advanced by `duration` from now.
    /// A task that awaits it takes that long.
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
        let mut state = lock(&self.0);
        state.last_sleeper += 1;
        Sleep {
            clock: self.clone(),
            key: (state.mono.saturating_add(duration), state.last_sleeper),
        }
    }

    /// The monotonic time at which the next [`Sleep`] that was polled is ready.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        lock(&self.0).sleepers.keys().next().map(|(at, _)| *at)
    }

    /// Whether an attempt of the job at this address sleeps.
    pub(crate) fn has_sleeper_of(&self, job: usize) -> bool {
        let state = lock(&self.0);
        state
            .sleepers
            .values()
            .any(|sleeper| sleeper.job == Some(job))
    }

    fn change(&self, change: impl FnOnce(&mut ClockState)) {
        let (due, watchers) = {
            let mut state = lock(&self.0);
            change(&mut state);
            let now = state.mono;
            let later = state.sleepers.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut state.sleepers, later);
            (due, state.watchers.clone())
        };
        due.into_values().for_each(|sleeper| sleeper.waker.wake());
        watchers.iter().for_each(|watcher| watcher.wake_by_ref());
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

    fn earliest_true_time(&self) -> Option<OffsetDateTime> {
        lock(&self.0).earliest
    }

    fn suspended(&self) -> Option<Duration> {
        Some(lock(&self.0).suspended)
    }

    fn sleep_until(&self, _: Duration) -> Option<Duration> {
        None
    }

    fn watch(&self, moved: Waker) {
        let moved = Arc::new(moved);
        lock(&self.0).watchers.push(moved);
    }
}

/// The future of [`ManualClock::sleep`].
///
/// # Cancel safety
/// Dropping it ends the sleep, and has no other effect.
#[derive(Debug)]
#[must_use = "does nothing until it is awaited"]
pub struct Sleep {
    clock: ManualClock,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloning or dropping a waker may run user code, so neither is done under the
        // lock.
        let sleeper = PendingSleep {
            waker: cx.waker().clone(),
            job: polled_job().map(|job| job.addr()),
        };
        let mut state = lock(&self.clock.0);
        if state.mono >= self.key.0 {
            return Poll::Ready(());
        }
        let old = state.sleepers.insert(self.key, sleeper);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let sleeper = lock(&self.clock.0).sleepers.remove(&self.key);
        drop(sleeper);
    }
}
