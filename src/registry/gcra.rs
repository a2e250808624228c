//! [`Gcra`]: when a rate allows the next start.

use crate::value::time_units::MonoNanos;

/// The generic cell rate algorithm, as a virtual schedule (ITU-T I.371, annex A): one time says
/// all that is known of earlier starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gcra {
    /// Between two starts, in nanoseconds.
    interval: i64,
    /// How long before its even time a start may come, in nanoseconds.
    tolerance: i64,
    /// When a whole burst may start again.
    recovers_at: MonoNanos,
}

impl Gcra {
    /// At most `starts` at once, and then one after each `starts`-th part of `per`.
    pub(crate) fn new(starts: u32, per: i64) -> Self {
        let starts = i64::from(starts).max(1);
        // Rounded up: in no case more than the rate.
        let interval = per / starts + i64::from(per % starts != 0);
        Self {
            interval,
            tolerance: interval.saturating_mul(starts - 1),
            recovers_at: MonoNanos::MIN,
        }
    }

    /// When the next start is allowed. It may have passed.
    pub(crate) fn next_start(&self) -> MonoNanos {
        self.recovers_at.saturating_sub(self.tolerance)
    }

    pub(crate) fn recovers_at(&self) -> MonoNanos {
        self.recovers_at
    }

    pub(crate) fn take(&mut self, now: MonoNanos) {
        self.recovers_at = self.recovers_at.max(now).saturating_add(self.interval);
    }

    /// Undoes one `take`, because its attempt did not start.
    pub(crate) fn give_back(&mut self) {
        self.recovers_at = self.recovers_at.saturating_sub(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts as soon as it may, from each of these times on.
    fn starts(mut rate: Gcra, wanted: &[i64]) -> Vec<i64> {
        let start = |at: &i64| {
            let at = rate.next_start().max(*at);
            rate.take(at);
            at
        };
        wanted.iter().map(start).collect()
    }

    #[test]
    fn a_burst_then_evenly() {
        for (rate, wanted, expected) in [
            (Gcra::new(1, 10), [0, 0, 0, 0, 0], [0, 10, 20, 30, 40]),
            (Gcra::new(3, 30), [0, 0, 0, 0, 0], [0, 0, 0, 10, 20]),
            // After a pause of the length of the rate, the burst is whole again.
            (Gcra::new(2, 20), [0, 0, 40, 40, 40], [0, 0, 40, 40, 50]),
            // After a shorter one it is not.
            (Gcra::new(2, 20), [0, 0, 15, 15, 15], [0, 0, 15, 20, 30]),
            // 10 / 3, rounded up.
            (Gcra::new(3, 10), [0, 0, 0, 0, 0], [0, 0, 0, 4, 8]),
            (Gcra::new(5, 1), [7, 7, 7, 7, 7], [7, 7, 7, 7, 7]),
        ] {
            assert_eq!(starts(rate, &wanted), expected, "{rate:?}");
        }
    }

    #[test]
    fn no_window_has_more_than_twice_the_burst() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..1_000 {
            let (count, per) = (rng.u32(1..10), rng.i64(1..100));
            let rate = Gcra::new(count, per);
            let mut at = 0;
            let wanted: Vec<i64> = (0..100)
                .map(|_| {
                    at += rng.i64(0..20);
                    at
                })
                .collect();
            let starts = starts(rate, &wanted);
            for (number, first) in starts.iter().enumerate() {
                let in_window = starts[number..].iter().filter(|at| **at < first + per);
                assert!(
                    in_window.count() < 2 * count as usize,
                    "{rate:?}: {starts:?}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_start_can_be_taken_again() {
        let mut rate = Gcra::new(2, 20);
        rate.take(5);
        rate.take(5);
        assert_eq!(rate.next_start(), 15);
        rate.give_back();
        assert_eq!(rate.next_start(), 5);
    }

    #[test]
    fn the_ends_of_the_clock_are_times_too() {
        let mut rate = Gcra::new(u32::MAX, i64::MAX);
        rate.take(i64::MAX);
        rate.take(i64::MAX);
        assert_eq!(rate.recovers_at(), i64::MAX);
        rate.take(i64::MIN);
        assert_eq!(rate.recovers_at(), i64::MAX);
        assert_eq!(Gcra::new(1, 1).next_start(), i64::MIN);
    }
}
