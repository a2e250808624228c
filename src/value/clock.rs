//! The public clock: [`Clock`], with [`SystemClock`] as its default.

use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;

/// The source of an app's time.
///
/// An app uses two clocks. `delay`, `every`, timeouts and retries use the *monotonic*
/// clock, which never goes back. `at` and `cron` use the *wall* clock, which users and
/// NTP can set to any time.
///
/// The default is [`SystemClock`]. Tests use
/// [`testing::ManualClock`](crate::testing::ManualClock), which they
/// advance by hand. Set another clock with
/// [`JobberBuilder::clock`](crate::JobberBuilder::clock).
///
/// If you implement this trait: an app calls the methods from several threads, one of
/// which is its timer thread. They must return at once, must not panic, and must not
/// call the app. Times are counted in nanoseconds as an `i64`, and a time outside that
/// range is clamped to it: at most 292 years on the monotonic clock, and the years 1677
/// to 2262 on the wall clock.
///
/// ```
/// use jobber::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let (a, b) = (clock.monotonic(), clock.monotonic());
/// assert!(a <= b);
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Returns the time since the origin of this clock, which the clock chooses. A later
    /// call never returns an earlier time.
    fn monotonic(&self) -> Duration;

    /// Returns the date and the time of day, in any offset. A later call may return an
    /// earlier time.
    fn wall(&self) -> OffsetDateTime;

    /// Returns a time before which [`wall`](Clock::wall) is known to be wrong. While the wall
    /// clock shows an earlier time, it was never set, and jobs that wait for a wall time wait
    /// until it is. `None` if every time can be true. The app calls this once.
    ///
    /// The default is `None`: a clock of a test or of a user is believed at any date.
    fn earliest_true_time(&self) -> Option<OffsetDateTime> {
        None
    }

    /// Returns how long the machine has been suspended since a moment that the clock chooses.
    /// A later call returns more by the time that the machine was suspended in between. `None`
    /// if the clock cannot tell: then a suspend looks like a wall clock that is set forward.
    ///
    /// The default is `None`, which is correct for a clock whose monotonic time goes on
    /// during a suspend.
    fn suspended(&self) -> Option<Duration> {
        None
    }

    /// Returns how long a thread can sleep, in real time, before
    /// [`monotonic`](Clock::monotonic) reaches `until`. `None` means that no sleep is
    /// long enough, and that the clock wakes the waker of [`watch`](Clock::watch)
    /// instead.
    ///
    /// The default is correct for every clock that runs as fast as real time.
    fn sleep_until(&self, until: Duration) -> Option<Duration> {
        Some(until.saturating_sub(self.monotonic()))
    }

    /// Registers a waker that the clock must wake each time it is moved by hand. The app
    /// calls this once, when its timer thread starts.
    ///
    /// The default does nothing, which is correct for a clock that runs by itself.
    fn watch(&self, moved: Waker) {
        let _ = moved;
    }
}

/// 1 November 2026: this crate did not exist before. Each release sets it to its date.
const RELEASED: OffsetDateTime = match OffsetDateTime::from_unix_timestamp(1_793_491_200) {
    Ok(released) => released,
    Err(_) => OffsetDateTime::UNIX_EPOCH,
};

/// The operating system's clock: [`Instant`] and [`SystemTime`].
///
/// Whether the monotonic clock advances while the machine is suspended depends on the
/// operating system. On Linux it does not (`CLOCK_MONOTONIC`, `clock_gettime(2)`), and the
/// time since the boot in `/proc/uptime` does (`proc_uptime(5)`). The difference shows how long
/// the machine was suspended, and so by how much the wall clock was set.
///
/// A wall time before the release of this crate is known to be wrong: a machine without a
/// battery for its clock boots in 1970, or when it was shut down, until the network sets it.
///
/// ```
/// use jobber::{Jobber, SystemClock};
///
/// let app = Jobber::builder().clock(SystemClock::new()).build()?;
/// # Ok::<(), jobber::StartError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Creates a clock whose monotonic time is zero now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn wall(&self) -> OffsetDateTime {
        SystemTime::now().into()
    }

    fn earliest_true_time(&self) -> Option<OffsetDateTime> {
        Some(RELEASED)
    }

    fn suspended(&self) -> Option<Duration> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        // In seconds, to the hundredth.
        let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let uptime = Duration::try_from_secs_f64(uptime).ok()?;
        Some(uptime.saturating_sub(self.monotonic()))
    }
}
