//! The clocks of an app: [`Clock`], [`SystemClock`], the two time lines.
//!
//! Inside, a time is a number of nanoseconds: monotonic ones count from the
//! clock's own origin, wall ones from 1970. Both span 292 years, and whatever
//! does not fit is turned away where it enters.

use std::task::Waker;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, UtcOffset};

use crate::sync::primitives::{Arc, AtomicI64, Ordering};

/// Where an app reads the time.
///
/// An app reads two times. `delay` and `every` go by the *monotonic* one, which
/// only ever runs forward. `at` and `cron` go by the *wall* clock, which
/// people and NTP set as they like.
///
/// [`SystemClock`] is the default; [`testing::ManualClock`](crate::testing::simulation::ManualClock)
/// is turned by hand. A clock of your own must not panic, and must not call the
/// app.
///
/// ```
/// use jobber::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let (a, b) = (clock.monotonic(), clock.monotonic());
/// assert!(a <= b);
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The time since an origin of the clock's own. Never goes back.
    fn monotonic(&self) -> Duration;

    /// The time of day. May go anywhere.
    fn wall(&self) -> OffsetDateTime;

    /// For how long a thread can sleep, in real time, before
    /// [`monotonic`](Clock::monotonic) reaches `until`; `None` when only
    /// [`watch`](Clock::watch) will tell.
    ///
    /// The default fits every clock that runs as fast as real time.
    fn sleep_until(&self, until: Duration) -> Option<Duration> {
        Some(until.saturating_sub(self.monotonic()))
    }

    /// Asks for `moved` to be woken each time the clock is moved by hand.
    ///
    /// The default does nothing, which is right for a clock that runs by
    /// itself.
    fn watch(&self, moved: Waker) {
        let _ = moved;
    }
}

/// The clock of the operating system: [`Instant`] and [`SystemTime`].
///
/// Whether the monotonic clock counts the time that a machine is suspended is
/// the system's choice; on Linux it does not (`CLOCK_MONOTONIC`,
/// `clock_gettime(2)`).
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
    /// A clock whose monotonic time starts at zero now.
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
}

/// Nanoseconds since the clock's origin.
pub(crate) type MonoNanos = i64;
/// Nanoseconds since 1970-01-01T00:00:00Z.
pub(crate) type WallNanos = i64;

/// Both times, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) mono: MonoNanos,
    pub(crate) wall: WallNanos,
}

impl Now {
    /// For a place where nobody looks at the time: reading it is not free.
    pub(crate) const NEVER: Now = Now {
        mono: i64::MIN,
        wall: i64::MIN,
    };

    /// Wall time less monotonic time.
    pub(crate) fn offset(self) -> i64 {
        self.wall.saturating_sub(self.mono)
    }
}

/// How closely the time has to be known: reading a clock is not free, and there are
/// two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Look {
    /// Nobody looks at it.
    None,
    /// Nothing is decided by the wall time.
    ForShow,
    Exact,
}

impl Look {
    pub(crate) fn exact_if(needed: bool) -> Self {
        if needed { Look::Exact } else { Look::None }
    }
}

/// A point on one of the two time lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Mono(MonoNanos),
    Wall(WallNanos),
}

impl Due {
    pub(crate) fn is_reached(self, now: Now) -> bool {
        match self {
            Due::Mono(at) => at <= now.mono,
            Due::Wall(at) => at <= now.wall,
        }
    }

    /// The wall time at which this will be, as far as can be told now.
    #[inline]
    pub(crate) fn as_wall(self, now: Now) -> WallNanos {
        match self {
            Due::Wall(at) => at,
            Due::Mono(at) => now.wall.saturating_add(at.saturating_sub(now.mono)),
        }
    }

    /// The monotonic time at which this will be, as far as can be told now.
    #[inline]
    pub(crate) fn as_mono(self, now: Now) -> MonoNanos {
        match self {
            Due::Mono(at) => at,
            Due::Wall(at) => now.mono.saturating_add(at.saturating_sub(now.wall)),
        }
    }
}

/// The clock of one app. The system's is known by name, so that the path of
/// every job has no virtual call and no calendar in it.
#[derive(Clone)]
pub(crate) enum AppClock {
    System(SystemClock, Arc<LastLook>),
    Other(Arc<dyn Clock>),
}

/// How the wall clock stood when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct LastLook {
    /// Wall time less monotonic time.
    offset: AtomicI64,
    /// When that was, by the monotonic clock; none of its times is 0. [`BUSY`] while
    /// somebody writes both.
    at: AtomicI64,
}

const BUSY: i64 = i64::MIN;

/// For so long a look at the wall clock is good enough to show.
const LOOK_LASTS: i64 = 1_000_000;

/// Only what was read of both clocks within so long is kept: a thread that was
/// interrupted in between has the wall time of another moment.
const LOOK_TAKES: i64 = 10_000;

impl AppClock {
    pub(crate) fn system() -> Self {
        Self::System(SystemClock::new(), Arc::default())
    }

    #[inline]
    pub(crate) fn mono(&self) -> MonoNanos {
        saturating_nanos(match self {
            AppClock::System(clock, _) => clock.monotonic(),
            AppClock::Other(clock) => clock.monotonic(),
        })
    }

    #[inline]
    pub(crate) fn wall(&self) -> WallNanos {
        match self {
            AppClock::System(..) => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => saturating_nanos(since),
                Err(before) => -saturating_nanos(before.duration()),
            },
            AppClock::Other(clock) => {
                let nanos = clock.wall().unix_timestamp_nanos();
                nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
            }
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Now {
        Now {
            mono: self.mono(),
            wall: self.wall(),
        }
    }

    /// The times, as closely as they have to be known.
    pub(crate) fn look(&self, look: Look) -> Now {
        match look {
            Look::None => Now::NEVER,
            Look::ForShow => self.cached_now(),
            Look::Exact => self.now(),
        }
    }

    /// Both times, where a step of the wall clock within the last millisecond may be
    /// missed: mostly where the wall time is for show. Reading a clock is a tenth of
    /// what it costs to schedule a job.
    #[inline]
    pub(crate) fn cached_now(&self) -> Now {
        let AppClock::System(_, last) = self else {
            return self.now();
        };
        let mono = self.mono();
        // Acquire, for the release below: the offset is there, or a later one.
        let at = last.at.load(Ordering::Acquire);
        if at != 0 && (at..at + LOOK_LASTS).contains(&mono) {
            let wall = mono.saturating_add(last.offset.load(Ordering::Relaxed));
            return Now { mono, wall };
        }
        let wall = self.wall();
        let took = self.mono().saturating_sub(mono);
        // By one at a time, so that nobody's offset stands beside another's time.
        // Acquire, for the release of whoever wrote before: in its order. Relaxed if it
        // fails, for then nothing is done.
        let (ok, failed) = (Ordering::Acquire, Ordering::Relaxed);
        if took <= LOOK_TAKES
            && at != BUSY
            && last.at.compare_exchange(at, BUSY, ok, failed).is_ok()
        {
            last.offset
                .store(wall.saturating_sub(mono), Ordering::Relaxed);
            last.at.store(mono, Ordering::Release);
        }
        Now { mono, wall }
    }

    pub(crate) fn sleep_until(&self, until: MonoNanos) -> Option<Duration> {
        let until = Duration::from_nanos(until.max(0) as u64);
        match self {
            AppClock::System(clock, _) => clock.sleep_until(until),
            AppClock::Other(clock) => clock.sleep_until(until),
        }
    }

    pub(crate) fn watch(&self, moved: Waker) {
        if let AppClock::Other(clock) = self {
            clock.watch(moved);
        }
    }
}

/// The longest duration there is, here: 292 years.
pub(crate) const MAX_DURATION: Duration = Duration::from_nanos(i64::MAX as u64);

/// The first and the last wall time there is, here: 1677 and 2262.
pub(crate) fn wall_range() -> (OffsetDateTime, OffsetDateTime) {
    (
        from_wall(i64::MIN, UtcOffset::UTC),
        from_wall(i64::MAX, UtcOffset::UTC),
    )
}

/// `None` when it does not fit.
#[inline]
pub(crate) fn to_nanos(duration: Duration) -> Option<i64> {
    i64::try_from(duration.as_nanos()).ok()
}

/// Without the 128 bits of `as_nanos`: this is on every job's way.
#[inline]
fn saturating_nanos(duration: Duration) -> i64 {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(duration.subsec_nanos().into())
}

/// `None` when it lies outside [`wall_range`].
pub(crate) fn to_wall(time: OffsetDateTime) -> Option<WallNanos> {
    i64::try_from(time.unix_timestamp_nanos()).ok()
}

/// Every [`WallNanos`] is well inside the calendar, in every offset.
pub(crate) fn from_wall(wall: WallNanos, offset: UtcOffset) -> OffsetDateTime {
    (OffsetDateTime::UNIX_EPOCH + time::Duration::nanoseconds(wall)).to_offset(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_both_time_lines_convert_without_wrapping() {
        let (min, max) = wall_range();
        assert_eq!((min.year(), max.year()), (1677, 2262));
        assert_eq!(to_wall(min), Some(i64::MIN));
        assert_eq!(to_wall(max), Some(i64::MAX));
        assert_eq!(to_wall(max + time::Duration::NANOSECOND), None);
        assert_eq!(to_nanos(MAX_DURATION), Some(i64::MAX));
        assert_eq!(saturating_nanos(MAX_DURATION), i64::MAX);
        assert_eq!(saturating_nanos(Duration::MAX), i64::MAX);
        assert_eq!(saturating_nanos(Duration::new(7, 5)), 7_000_000_005);
        assert_eq!(to_nanos(MAX_DURATION + Duration::from_nanos(1)), None);
        for hours in [-25, 25] {
            let offset = UtcOffset::from_hms(hours, 59 * hours.signum(), 0).unwrap();
            assert_eq!(to_wall(from_wall(i64::MIN, offset)), Some(i64::MIN));
            assert_eq!(to_wall(from_wall(i64::MAX, offset)), Some(i64::MAX));
        }
    }

    #[test]
    fn a_time_for_show_is_that_of_the_clock_within_the_look() {
        let clock = AppClock::system();
        let AppClock::System(_, last) = &clock else {
            unreachable!()
        };
        // A look that has just been, and one that is over.
        for (age, may_be_kept) in [(0, true), (LOOK_LASTS, false)] {
            let at = clock.mono() - age;
            last.offset.store(7, Ordering::Relaxed);
            last.at.store(at, Ordering::Relaxed);
            let now = clock.cached_now();
            // A thread that was kept waiting in between looks for itself.
            let is_kept = now.mono < at + LOOK_LASTS;
            assert_eq!(now.wall == now.mono + 7, is_kept);
            assert!(may_be_kept || !is_kept);
        }
    }

    #[test]
    fn nobody_goes_by_a_look_that_another_is_writing() {
        let clock = AppClock::system();
        let AppClock::System(_, last) = &clock else {
            unreachable!()
        };
        last.offset.store(7, Ordering::Relaxed);
        last.at.store(BUSY, Ordering::Relaxed);
        let now = clock.cached_now();
        assert_ne!(now.wall, now.mono + 7);
        assert_eq!(last.at.load(Ordering::Relaxed), BUSY, "it is the other's");
    }

    #[test]
    fn a_due_time_is_reached_at_its_nanosecond_and_not_before() {
        let now = Now { mono: 10, wall: 20 };
        assert!(Due::Mono(10).is_reached(now) && !Due::Mono(11).is_reached(now));
        assert!(Due::Wall(20).is_reached(now) && !Due::Wall(21).is_reached(now));
        assert_eq!(Due::Mono(i64::MAX).as_wall(now), i64::MAX);
        assert_eq!(Due::Wall(i64::MIN).as_mono(now), i64::MIN + 10);
    }
}
