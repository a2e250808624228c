//! [`IdSource`]: numbers that grow in the order of scheduling, for ids, for keys.

use crate::sync::cache_padded::CachePadded;
use crate::sync::primitives::{Arc, AtomicU64, Ordering};
use crate::timer::key::Tag;
use crate::value::id::JobId;
use crate::value::time_units::Now;

/// The counters that all tables of an app share, so that jobs are ordered by the time of
/// scheduling whichever table they are in.
///
/// All accesses are relaxed: nothing is synchronised by these numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<CachePadded<SharedCounters>>);

#[derive(Debug, Default)]
struct SharedCounters {
    /// The stamp of the last id.
    last_stamp: AtomicU64,
    /// How many sequence numbers of keys were made.
    sequence_numbers: AtomicU64,
}

impl Counters {
    /// Returns a stamp that is greater than all before, and at least `stamp`.
    #[inline]
    fn next_stamp(&self, stamp: u64) -> u64 {
        let next = |last: u64| stamp.max(last + 1);
        let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        let last_stamp = &self.0.last_stamp;
        match last_stamp.fetch_update(ok, failed, |last| Some(next(last))) {
            Ok(last) | Err(last) => next(last),
        }
    }
}

/// Makes the ids of one table, and the sequence numbers of its keys.
#[derive(Debug)]
pub(crate) struct IdSource {
    counters: Counters,
    random: fastrand::Rng,
}

impl IdSource {
    pub(crate) fn new(counters: Counters, random: fastrand::Rng) -> Self {
        Self { counters, random }
    }

    /// Returns an id for the job in this slot. Ids strictly increase, whatever the wall
    /// clock does.
    #[inline]
    pub(crate) fn next_id(&mut self, now: Now, slot: u32) -> JobId {
        let wall = now.wall.max(0) as u64;
        let (millis, rest) = (wall / 1_000_000, wall % 1_000_000);
        let stamp = (millis << 12) | ((rest << 12) / 1_000_000);
        let stamp = self.counters.next_stamp(stamp);
        JobId::generated(stamp, slot, self.random.u32(..))
    }

    /// Returns the sequence number of a new [`Tag`].
    #[inline]
    pub(crate) fn next_sequence_number(&self) -> u64 {
        let numbers = &self.counters.0.sequence_numbers;
        numbers.fetch_add(1, Ordering::Relaxed) % Tag::MAX_SEQUENCE + 1
    }

    /// Makes sure that no id from here on sorts before this one.
    pub(crate) fn ids_after(&self, id: &JobId) {
        // A name that a user chose may look like an id of a year that no clock here
        // can reach.
        const LAST_MILLIS: u64 = i64::MAX as u64 / 1_000_000;
        if let Some(stamp) = id.stamp().filter(|stamp| stamp >> 12 <= LAST_MILLIS) {
            let last_stamp = &self.counters.0.last_stamp;
            last_stamp.fetch_max(stamp, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_its_time_in_units_of_a_4096th_of_a_millisecond() {
        let mut ids = IdSource::new(Counters::default(), fastrand::Rng::with_seed(1));
        for (wall, stamp) in [
            // The stamp before the first is 0.
            (0, 1),
            (7_500_000, 7 << 12 | 0x800),
            (8_999_999, 8 << 12 | 0xfff),
        ] {
            let id = ids.next_id(Now { mono: 0, wall }, 0);
            assert_eq!(id.stamp(), Some(stamp));
        }
    }
}
