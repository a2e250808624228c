//! [`AppClock`]: the clock of one app, with a cached wall time.

use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sync::primitives::{Arc, AtomicI64, Ordering};
use crate::value::clock::{Clock, SystemClock};
use crate::value::time_units::{MonoNanos, Now, WallNanos, saturating_nanos};

/// How precise a reading of the clocks must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClockPrecision {
    /// No clock is read, because the time is not used. In `benches/peers`, `due` takes 7 %
    /// more instructions if it is read all the same, and `hold` 6 %.
    Unread,
    /// The wall time may be a millisecond old. It is only shown to users: no decision
    /// depends on it.
    Cached,
    Exact,
}

impl ClockPrecision {
    pub(crate) fn exact_if(needed: bool) -> Self {
        if needed {
            ClockPrecision::Exact
        } else {
            ClockPrecision::Unread
        }
    }
}

/// The clock of one app.
///
/// The system clock has a variant of its own, because every job reads the clock: this
/// variant needs neither a virtual call nor a conversion to a date.
#[derive(Clone)]
pub(crate) enum AppClock {
    System(SystemClock, Arc<WallOffsetCache>),
    Custom(Arc<dyn Clock>),
}

/// The difference between the two clocks at the last reading of both.
#[derive(Debug, Default)]
pub(crate) struct WallOffsetCache {
    /// Wall time minus monotonic time.
    offset: AtomicI64,
    /// The monotonic time of that reading: 0 if there was none, and [`WRITING`] while a
    /// thread writes both fields.
    read_at: AtomicI64,
}

const WRITING: i64 = i64::MIN;

/// How long a cached offset is used, in nanoseconds.
const CACHE_LIFETIME: i64 = 1_000_000;

/// The longest time between the readings of the two clocks, in nanoseconds, for which
/// they count as one moment. If the thread is preempted between the readings, their
/// difference is wrong.
const MAX_READING_TIME: i64 = 10_000;

impl AppClock {
    pub(crate) fn system() -> Self {
        Self::System(SystemClock::new(), Arc::default())
    }

    #[inline]
    pub(crate) fn mono(&self) -> MonoNanos {
        saturating_nanos(match self {
            AppClock::System(clock, _) => clock.monotonic(),
            AppClock::Custom(clock) => clock.monotonic(),
        })
    }

    #[inline]
    pub(crate) fn wall(&self) -> WallNanos {
        match self {
            AppClock::System(..) => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => saturating_nanos(since),
                Err(before) => -saturating_nanos(before.duration()),
            },
            AppClock::Custom(clock) => {
                let nanos = clock.wall().unix_timestamp_nanos();
                nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
            }
        }
    }

    /// As [`Clock::earliest_true_time`]; the earliest of all times if there is none.
    pub(crate) fn earliest(&self) -> WallNanos {
        let earliest = match self {
            AppClock::System(clock, _) => clock.earliest_true_time(),
            AppClock::Custom(clock) => clock.earliest_true_time(),
        };
        earliest.map_or(WallNanos::MIN, |time| {
            let nanos = time.unix_timestamp_nanos();
            nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
        })
    }

    /// As [`Clock::suspended`], in nanoseconds.
    pub(crate) fn suspended(&self) -> Option<i64> {
        let suspended = match self {
            AppClock::System(clock, _) => clock.suspended(),
            AppClock::Custom(clock) => clock.suspended(),
        };
        suspended.map(saturating_nanos)
    }

    /// Reads both clocks at one moment.
    #[inline]
    pub(crate) fn now(&self) -> Now {
        self.read_both().0
    }

    /// Reads both clocks, and returns how far apart the readings can be.
    ///
    /// A thread can be held up between them: then their difference would look like a wall
    /// clock that was set, and a time that is converted from one clock to the other would be
    /// wrong by as much. So they are read again. The monotonic time is read last: if it is too
    /// late, what is counted from it is late, and not early.
    #[inline]
    fn read_both(&self) -> (Now, i64) {
        const ATTEMPTS: usize = 5;
        let mut best = (Now::UNREAD, i64::MAX);
        let mut before = self.mono();
        for _ in 0..ATTEMPTS {
            let wall = self.wall();
            let mono = self.mono();
            let took = mono.saturating_sub(before);
            if took <= best.1 {
                best = (Now { mono, wall }, took);
            }
            if took <= MAX_READING_TIME {
                break;
            }
            before = mono;
        }
        best
    }

    /// Reads the clocks with the given precision.
    pub(crate) fn read(&self, precision: ClockPrecision) -> Now {
        match precision {
            ClockPrecision::Unread => Now::UNREAD,
            ClockPrecision::Cached => self.cached_now(),
            ClockPrecision::Exact => self.now(),
        }
    }

    /// Reads the monotonic clock, and derives the wall time from the cached offset if the
    /// offset is at most a millisecond old.
    ///
    /// A step of the wall clock within that millisecond is missed. The cache exists
    /// because reading one clock takes a tenth of the time that scheduling a job takes (W1 of
    /// `benches/peers`).
    #[inline]
    pub(crate) fn cached_now(&self) -> Now {
        let AppClock::System(_, cache) = self else {
            return self.now();
        };
        let mono = self.mono();
        // Acquire pairs with the release below: the offset is the one that was stored
        // before `read_at`, or a later one.
        let read_at = cache.read_at.load(Ordering::Acquire);
        if read_at != 0 && (read_at..read_at + CACHE_LIFETIME).contains(&mono) {
            let wall = mono.saturating_add(cache.offset.load(Ordering::Relaxed));
            return Now { mono, wall };
        }
        let (now, took) = self.read_both();
        // Only one thread at a time writes the cache, so that the offset and `read_at`
        // belong together. Acquire pairs with the release of the writer before, which
        // puts the two writers in order. A failure needs no order: the thread does not
        // write then.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        if took <= MAX_READING_TIME
            && read_at != WRITING
            && cache
                .read_at
                .compare_exchange(read_at, WRITING, success, failure)
                .is_ok()
        {
            cache.offset.store(now.offset(), Ordering::Relaxed);
            cache.read_at.store(now.mono, Ordering::Release);
        }
        now
    }

    /// As [`Clock::sleep_until`].
    pub(crate) fn sleep_until(&self, until: MonoNanos) -> Option<Duration> {
        let until = Duration::from_nanos(until.max(0) as u64);
        match self {
            AppClock::System(clock, _) => clock.sleep_until(until),
            AppClock::Custom(clock) => clock.sleep_until(until),
        }
    }

    /// As [`Clock::watch`].
    pub(crate) fn watch(&self, moved: Waker) {
        if let AppClock::Custom(clock) = self {
            clock.watch(moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(clock: &AppClock) -> &WallOffsetCache {
        let AppClock::System(_, cache) = clock else {
            unreachable!()
        };
        cache
    }

    #[test]
    fn cached_now_uses_the_cached_offset_until_its_lifetime_is_over() {
        let clock = AppClock::system();
        let cache = cache(&clock);
        for (age, may_be_used) in [(0, true), (CACHE_LIFETIME, false)] {
            let read_at = clock.mono() - age;
            cache.offset.store(7, Ordering::Relaxed);
            cache.read_at.store(read_at, Ordering::Relaxed);
            let now = clock.cached_now();
            // If this thread is preempted before `cached_now`, the lifetime is over.
            let is_used = now.mono < read_at + CACHE_LIFETIME;
            assert_eq!(now.wall == now.mono + 7, is_used);
            assert!(may_be_used || !is_used);
        }
    }

    /// Each of the first readings of its wall clock takes ten seconds.
    struct Slow {
        now: AtomicI64,
        slow_readings: AtomicI64,
    }

    impl Clock for Slow {
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.now.load(Ordering::Relaxed) as u64)
        }

        fn wall(&self) -> time::OffsetDateTime {
            if self.slow_readings.fetch_sub(1, Ordering::Relaxed) > 0 {
                self.now.fetch_add(10, Ordering::Relaxed);
            }
            let now = self.now.load(Ordering::Relaxed);
            time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(now)
        }
    }

    #[test]
    fn a_thread_that_is_held_up_between_the_two_clocks_reads_them_again() {
        for slow_readings in [0, 1, 3] {
            let clock = AppClock::Custom(Arc::new(Slow {
                now: AtomicI64::new(1),
                slow_readings: AtomicI64::new(slow_readings),
            }));
            let now = clock.now();
            assert_eq!(now.mono, (1 + 10 * slow_readings) * 1_000_000_000);
            assert_eq!(now.offset(), 0);
        }
    }

    /// Then the monotonic time is too late, not too early.
    #[test]
    fn clocks_that_are_never_read_together_are_read_all_the_same() {
        let clock = AppClock::Custom(Arc::new(Slow {
            now: AtomicI64::new(1),
            slow_readings: AtomicI64::new(i64::MAX),
        }));
        let now = clock.now();
        assert!(now.mono >= now.wall);
    }

    #[test]
    fn cached_now_ignores_a_cache_that_another_thread_is_writing() {
        let clock = AppClock::system();
        let cache = cache(&clock);
        cache.offset.store(7, Ordering::Relaxed);
        cache.read_at.store(WRITING, Ordering::Relaxed);
        let now = clock.cached_now();
        assert_ne!(now.wall, now.mono + 7);
        assert_eq!(cache.read_at.load(Ordering::Relaxed), WRITING);
    }
}
