//! [`TimerQueue`]: the keys of the timer in the order of their due times.
//!
//! The queue is a sequence heap (P. Sanders, "Fast priority queues for cached memory",
//! ACM Journal of Experimental Algorithmics 5, 2000). New keys go into a small insertion
//! heap. When it is full, its keys are sorted and become a *run*. A second small heap
//! knows the earliest key of each run. In one heap of a million keys, each level costs a
//! cache miss. Here, all memory that is accessed at random fits into the caches.
//!
//! A key is not removed when its job no longer needs it. The job's slot forgets the key's
//! tag instead, which makes the key *dead*. A dead key stays in the queue until it is due
//! or until a sweep removes it. [`TimerQueue::sweep`] visits the keys in small steps, so
//! that no step takes long.

use crate::timer::heap::Heap;
use crate::timer::key::{Key, Tag};

/// A priority queue of keys: the earliest comes first.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    /// The keys that were pushed last.
    insertion_heap: Heap<Key>,
    /// All other keys. Each run is sorted in descending order, so that its earliest key is
    /// at its end. The index of an empty run is in `free_runs`.
    runs: Vec<Vec<Key>>,
    /// The earliest key of each run. An entry may be outdated: the key has left the run,
    /// and the run's earliest key is later. Such an entry is corrected when it becomes the
    /// first.
    run_heads: Heap<RunHead>,
    /// The indexes of empty runs, for the next runs.
    free_runs: Vec<u32>,
    /// The position of the sweep that is in progress, if there is one.
    sweep: Option<SweepPosition>,
}

/// The number of keys in the insertion heap that become a run. They fit into the caches,
/// and sorting them takes about a tenth of a millisecond.
const INSERTION_HEAP_SIZE: usize = 4_096;

/// A run of at most this length is dissolved: its keys move to the insertion heap. A few
/// keys that are due in years would otherwise keep the memory of their run.
const SHORT_RUN: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RunHead {
    key: Key,
    /// The index of the run.
    run: u32,
}

/// The position of a sweep. It visits the insertion heap and then each run, every one of
/// them from its end to its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SweepPosition {
    /// The index of the run. `None` for the insertion heap.
    run: Option<usize>,
    /// The keys from this index on have been visited.
    from: usize,
}

impl TimerQueue {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys().count()
    }

    #[cfg(test)]
    fn keys(&self) -> impl Iterator<Item = Key> {
        self.insertion_heap
            .0
            .iter()
            .chain(self.runs.iter().flatten())
            .copied()
    }

    /// The earliest key. Takes `&mut self` because it corrects outdated run heads.
    pub(crate) fn first(&mut self) -> Option<Key> {
        let run = self.first_run_head().map(|head| head.key);
        self.insertion_heap.first().into_iter().chain(run).min()
    }

    /// The earliest key of all runs.
    fn first_run_head(&mut self) -> Option<RunHead> {
        while let Some(head) = self.run_heads.first() {
            let run = self.runs.get(head.run as usize)?;
            match run.last() {
                Some(key) if *key == head.key => return Some(head),
                Some(key) => self.run_heads.replace_first(RunHead { key: *key, ..head }),
                None => self.free_first_run(),
            }
        }
        None
    }

    /// Frees the run of the first head. The run must be empty.
    fn free_first_run(&mut self) {
        if let Some(head) = self.run_heads.pop() {
            self.free_runs.push(head.run);
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, key: Key) {
        if self.insertion_heap.0.len() >= INSERTION_HEAP_SIZE {
            let empty = Vec::with_capacity(INSERTION_HEAP_SIZE);
            let run = std::mem::replace(&mut self.insertion_heap.0, empty);
            self.push_run(run);
        }
        self.insertion_heap.push(key);
    }

    /// Pushes all keys of `keys`. If they are many, their memory becomes a run's.
    pub(crate) fn push_all(&mut self, keys: Vec<Key>) {
        if keys.len() <= SHORT_RUN {
            keys.into_iter().for_each(|key| self.push(key));
        } else {
            self.push_run(keys);
        }
    }

    fn push_run(&mut self, mut run: Vec<Key>) {
        run.sort_unstable_by(|left, right| right.cmp(left));
        let Some(key) = run.last().copied() else {
            return;
        };
        let index = match self.free_runs.pop() {
            Some(index) => index,
            None => {
                self.runs.push(Vec::new());
                self.runs.len() as u32 - 1
            }
        };
        self.runs[index as usize] = run;
        self.run_heads.push(RunHead { key, run: index });
    }

    /// Removes and returns the earliest key if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<Key> {
        let (head, inserted) = (self.first_run_head(), self.insertion_heap.first());
        let is_first = |head: &RunHead| inserted.is_none_or(|inserted| head.key < inserted);
        let Some(head) = head.filter(is_first) else {
            inserted.filter(|key| key.due() <= now)?;
            return self.insertion_heap.pop();
        };
        if head.key.due() > now {
            return None;
        }
        let run = self.runs.get_mut(head.run as usize)?;
        let key = run.pop();
        match run.last() {
            Some(key) if run.len() != SHORT_RUN => {
                self.run_heads.replace_first(RunHead { key: *key, ..head });
                shrink(run);
            }
            _ => {
                let rest = std::mem::take(run);
                self.free_first_run();
                rest.into_iter().for_each(|key| self.push(key));
            }
        }
        key
    }

    /// Continues the sweep by `steps` keys: removes those that are dead according to
    /// `is_alive`, and also visits the keys that fill their gaps. Returns whether the sweep
    /// has reached its end.
    ///
    /// A key that is pushed between two steps may be missed until the next sweep.
    pub(crate) fn sweep(&mut self, steps: usize, mut is_alive: impl FnMut(Tag) -> bool) -> bool {
        let sweep = self.sweep.take().unwrap_or(SweepPosition {
            run: None,
            from: usize::MAX,
        });
        let from = match sweep.run {
            None => {
                let keep = |key: Key| is_alive(key.tag());
                self.insertion_heap.sweep(sweep.from, steps, keep)
            }
            Some(run) => match self.runs.get_mut(run) {
                Some(run) => sweep_run(run, sweep.from, steps, &mut is_alive),
                None => 0,
            },
        };
        let next = sweep.run.map_or(0, |run| run + 1);
        self.sweep = if from > 0 {
            Some(SweepPosition { from, ..sweep })
        } else if next < self.runs.len() {
            Some(SweepPosition {
                run: Some(next),
                from: usize::MAX,
            })
        } else {
            None
        };
        self.sweep.is_none()
    }

    /// Dissolves the runs that a sweep has made short. The caller must call this only when
    /// a sweep has reached its end, because it changes the indexes of the runs.
    pub(crate) fn dissolve_short_runs(&mut self) {
        let mut rest = Vec::new();
        self.runs.retain_mut(|run| {
            let is_long = run.len() > SHORT_RUN;
            if !is_long {
                rest.append(run);
            }
            is_long
        });
        self.runs.shrink_to(2 * self.runs.len());
        self.free_runs = Vec::new();
        self.run_heads = Heap::default();
        for (run, index) in self.runs.iter().zip(0..) {
            if let Some(key) = run.last().copied() {
                self.run_heads.push(RunHead { key, run: index });
            }
        }
        rest.into_iter().for_each(|key| self.push(key));
    }

    /// Frees the memory that the insertion heap no longer needs.
    pub(crate) fn shrink(&mut self) {
        shrink(&mut self.insertion_heap.0);
    }
}

/// Moves the keys of a list to a new allocation if they use less than a quarter of it.
///
/// Shrinking the old allocation in place would not help: it lies between the allocations
/// of the jobs that were scheduled at the same time, and would keep their memory
/// fragmented.
fn shrink(keys: &mut Vec<Key>) {
    const MIN_CAPACITY: usize = 4 * SHORT_RUN;
    let capacity = keys.capacity();
    if capacity > MIN_CAPACITY && capacity / 4 > keys.len() {
        let mut moved = Vec::with_capacity(keys.len() * 2);
        moved.append(keys);
        *keys = moved;
    }
}

/// Visits up to `steps` keys before index `from`, and removes the dead ones. Returns the
/// index from which on all keys have been visited.
fn sweep_run(
    run: &mut Vec<Key>,
    from: usize,
    steps: usize,
    is_alive: &mut impl FnMut(Tag) -> bool,
) -> usize {
    let from = from.min(run.len());
    let end = from.saturating_sub(steps);
    let mut kept = end;
    for at in end..from {
        if is_alive(run[at].tag()) {
            run[kept] = run[at];
            kept += 1;
        }
    }
    run.drain(kept..from);
    shrink(run);
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::key::KeyKind;
    use std::collections::BTreeSet;

    fn key(due: i64, number: u64) -> Key {
        Key::new(due, Tag::new(number, KeyKind::Start, number as u32 % 7))
    }

    #[test]
    fn keys_are_popped_by_due_time_then_first_in_first_out() {
        let mut queue = TimerQueue::default();
        for (due, number) in [(5, 0), (-3, 1), (5, 2), (0, 3), (5, 4), (-3, 5)] {
            queue.push(key(due, number));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop_due(i64::MAX)).collect();
        assert_eq!(
            order,
            [(-3, 1), (-3, 5), (0, 3), (5, 0), (5, 2), (5, 4)].map(|(d, n)| key(d, n))
        );
    }

    #[test]
    fn a_key_is_not_popped_before_it_is_due() {
        let mut queue = TimerQueue::default();
        queue.push(key(10, 0));
        assert_eq!(queue.pop_due(9), None);
        assert_eq!(queue.pop_due(10), Some(key(10, 0)));
    }

    /// Random pushes, pops and sweeps, with few keys and with enough keys for runs.
    #[test]
    fn the_queue_behaves_like_an_ordered_set() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut queue = TimerQueue::default();
            let mut model = BTreeSet::new();
            let mut dead = BTreeSet::new();
            let (most, ops) = if seed % 20 == 0 {
                (3_000, 60)
            } else {
                (3, 300)
            };
            let mut number = 0;
            for _ in 0..ops {
                match rng.u8(..10) {
                    0..4 => {
                        for _ in 0..rng.usize(1..=most) {
                            number += 1;
                            let key = key(rng.i64(0..100), number);
                            queue.push(key);
                            model.insert(key);
                        }
                    }
                    4..6 => {
                        let count = rng.u64(0..=most as u64);
                        let due = rng.i64(0..100);
                        let keys: Vec<_> = (0..count).map(|n| key(due, number + n + 1)).collect();
                        number += count;
                        model.extend(keys.iter().copied());
                        queue.push_all(keys);
                    }
                    6..8 => {
                        let now = rng.i64(0..100);
                        for _ in 0..rng.usize(1..=2 * most) {
                            let expected = model.first().copied().filter(|key| key.due() <= now);
                            assert_eq!(queue.pop_due(now), expected, "seed {seed}");
                            expected.map(|key| model.remove(&key));
                        }
                        assert_eq!(queue.pop_due(-1), None, "seed {seed}");
                    }
                    8 => {
                        let spared = rng.u8(..);
                        for key in model.iter().filter(|_| rng.u8(..) > spared) {
                            dead.insert(key.tag());
                        }
                    }
                    _ => {
                        let steps = rng.usize(1..50 + most);
                        // Each dead key must be visited once, because the caller counts
                        // them.
                        let mut found = 0;
                        let is_done = queue.sweep(steps, |tag| {
                            found += usize::from(dead.contains(&tag));
                            !dead.contains(&tag)
                        });
                        // Which keys a step visits is unspecified, but it removes dead
                        // keys only.
                        let left: BTreeSet<_> = queue.keys().collect();
                        let gone: Vec<_> = model.difference(&left).copied().collect();
                        assert_eq!(gone.len(), found, "seed {seed}");
                        assert!(gone.iter().all(|key| dead.contains(&key.tag())));
                        model = left;
                        if is_done {
                            queue.dissolve_short_runs();
                        }
                    }
                }
                assert_eq!(queue.len(), model.len(), "seed {seed}");
                assert_eq!(queue.first(), model.first().copied(), "seed {seed}");
            }
        }
    }

    /// One key for each of these due times, with sequence numbers from `first` on.
    fn keys(dues: std::ops::Range<i64>, first: u64) -> Vec<Key> {
        dues.zip(first..)
            .map(|(due, number)| key(due, number))
            .collect()
    }

    fn drain(queue: &mut TimerQueue) -> Vec<Key> {
        std::iter::from_fn(|| queue.pop_due(i64::MAX)).collect()
    }

    #[test]
    fn many_keys_pushed_together_become_a_run_and_a_few_do_not() {
        let mut queue = TimerQueue::default();
        queue.push_all(keys(0..SHORT_RUN as i64, 1));
        assert_eq!(
            (queue.insertion_heap.0.len(), queue.runs.len()),
            (SHORT_RUN, 0)
        );
        queue.push_all(keys(0..SHORT_RUN as i64 + 1, 1_000));
        assert_eq!(
            (queue.insertion_heap.0.len(), queue.runs.len()),
            (SHORT_RUN, 1)
        );
    }

    #[test]
    fn a_run_is_dissolved_when_it_becomes_short_and_not_before() {
        let all = keys(0..1_000, 1);
        let mut queue = TimerQueue::default();
        queue.push_all(all.clone());
        for key in &all[..1_000 - SHORT_RUN - 1] {
            assert_eq!(queue.pop_due(1_000), Some(*key));
        }
        assert_eq!(
            (queue.insertion_heap.0.len(), queue.runs[0].len()),
            (0, SHORT_RUN + 1)
        );
        assert!(queue.pop_due(1_000).is_some());
        assert_eq!(
            (queue.insertion_heap.0.len(), queue.runs[0].len()),
            (SHORT_RUN, 0)
        );
        assert_eq!(drain(&mut queue), all[1_000 - SHORT_RUN..]);
    }

    #[test]
    fn the_index_of_an_empty_run_is_reused() {
        let mut queue = TimerQueue::default();
        for n in 0..10 {
            queue.push_all(keys(0..1_000, 1 + n * 1_000));
            assert_eq!(drain(&mut queue).len(), 1_000);
        }
        assert_eq!(queue.runs.len(), 1);
    }

    /// The few keys left of a run would keep its memory.
    #[test]
    fn dissolving_short_runs_after_a_sweep_loses_no_key() {
        let short = keys(0..1_000, 1);
        let (long, other) = (keys(500..1_500, 10_000), keys(600..1_600, 20_000));
        let mut left: Vec<_> = short[500 - SHORT_RUN..500].to_vec();
        left.extend(long.iter().chain(&other));
        left.sort();
        let mut queue = TimerQueue::default();
        queue.push_all(short);
        queue.push_all(long);
        queue.push_all(other);
        let alive: BTreeSet<_> = left.iter().map(|key| key.tag()).collect();
        while !queue.sweep(100, |tag| alive.contains(&tag)) {}
        assert_eq!(
            queue.runs.iter().map(Vec::len).collect::<Vec<_>>(),
            [SHORT_RUN, 1_000, 1_000]
        );
        queue.dissolve_short_runs();
        assert_eq!(
            (queue.insertion_heap.0.len(), queue.runs.len()),
            (SHORT_RUN, 2)
        );
        assert_eq!(queue.first(), Some(left[0]));
        assert_eq!(drain(&mut queue), left);
    }

    /// Sweeps the whole queue. Returns the number of steps.
    fn sweep_all(queue: &mut TimerQueue, is_alive: impl Fn(Tag) -> bool) -> usize {
        let mut steps = 1;
        while !queue.sweep(1_024, &is_alive) {
            steps += 1;
        }
        queue.dissolve_short_runs();
        steps
    }

    fn capacity(queue: &TimerQueue) -> usize {
        let runs = queue.runs.iter().map(Vec::capacity).sum::<usize>();
        queue.insertion_heap.0.capacity() + runs
    }

    #[test]
    fn a_sweep_removes_all_dead_keys_and_frees_their_memory() {
        let mut queue = TimerQueue::default();
        let all: Vec<_> = (0..10 * INSERTION_HEAP_SIZE as u64)
            .map(|number| key(fastrand::i64(..), number))
            .collect();
        all.iter().for_each(|key| queue.push(*key));
        let last: BTreeSet<_> = all[all.len() - 10..].iter().map(|key| key.tag()).collect();
        let is_alive = |tag: Tag| last.contains(&tag);
        assert_eq!(
            sweep_all(&mut queue, is_alive),
            10 * INSERTION_HEAP_SIZE / 1_024
        );
        assert_eq!(queue.len(), 10);
        queue.shrink();
        assert!(capacity(&queue) <= 1_000, "{}", capacity(&queue));
        assert!(queue.runs.is_empty() && queue.run_heads.0.is_empty());
    }

    #[test]
    fn a_few_keys_that_stay_do_not_keep_the_memory_of_those_that_were_pushed_with_them() {
        let mut queue = TimerQueue::default();
        let mut number = 0;
        for _ in 0..100 {
            for n in 0..INSERTION_HEAP_SIZE as u64 {
                number += 1;
                queue.push(key(if n % 100 == 0 { 1_000_000 } else { n as i64 }, number));
            }
            while queue.pop_due(INSERTION_HEAP_SIZE as i64).is_some() {}
        }
        assert_eq!(queue.len(), 100 * INSERTION_HEAP_SIZE.div_ceil(100));
        assert!(capacity(&queue) < 5 * queue.len(), "{}", capacity(&queue));
    }
}
