//! What is due when.
//!
//! A sequence heap (P. Sanders, "Fast priority queues for cached memory", ACM
//! Journal of Experimental Algorithmics 5, 2000). New keys are in a small heap;
//! when there are many, they are sorted and become a run, and a second small heap
//! knows which run has the earliest end. A heap of a million keys is a cache miss
//! for each of its levels; here nothing is touched at random that does not lie in
//! the caches.
//!
//! A key is never taken out of the middle. What it stands for is forgotten by
//! its owner, and the dead key stays until its time comes or it is swept out;
//! [`TimerQueue::sweep`] goes through the keys a step at a time, so that nobody
//! waits for a long one.

/// When, and for what: ordered by time, and first in, first out among equals.
///
/// One integer, so that comparing two is one comparison: the due time in the
/// high half, the [`Tag`] in the low one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u128);

/// What a key stands for: a slot, whether the timer itself has to see to what is
/// in it, and the number of the entry, which is never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(u64);

/// Bits of a [`Tag`] that hold the slot; one more says who sees to it, and the
/// other 35 hold the number.
const SLOT_BITS: u32 = 28;

const START: u64 = 1 << SLOT_BITS;

/// What there is to do when a key has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A job starts that runs once: whoever has a thread of the executor for it
    /// can see to that.
    Start,
    /// The timer sees to it, and does not wait for a thread of the executor.
    Look,
}

/// How many slots there can be.
pub(crate) const MAX_SLOTS: usize = 1 << SLOT_BITS;

impl Tag {
    /// The tag of nothing.
    pub(crate) const NONE: Tag = Tag(0);

    /// The tag of a slot that waits for something else: no number is 0.
    pub(crate) const RESERVED: Tag = Tag(1);

    /// `number` counts from 1 to [`MAX_NUMBER`](Tag::MAX_NUMBER) and comes round
    /// then: only the order among keys of one nanosecond shows it, and a dead
    /// key would have to stay for 34 thousand million entries to be taken for
    /// a live one of its slot.
    pub(crate) fn new(number: u64, kind: Kind, slot: u32) -> Self {
        let start = match kind {
            Kind::Start => START,
            Kind::Look => 0,
        };
        Self(number << (SLOT_BITS + 1) | start | u64::from(slot))
    }

    pub(crate) const MAX_NUMBER: u64 = (1 << (63 - SLOT_BITS)) - 1;

    pub(crate) fn kind(self) -> Kind {
        if self.0 & START == 0 {
            Kind::Look
        } else {
            Kind::Start
        }
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0 & (MAX_SLOTS as u64 - 1)) as u32
    }
}

impl Key {
    pub(crate) fn new(due: i64, tag: Tag) -> Self {
        // Flipping the sign bit makes the order of the unsigned number that of
        // the signed one.
        let due = due as u64 ^ (1 << 63);
        Self(u128::from(due) << 64 | u128::from(tag.0))
    }

    pub(crate) fn due(self) -> i64 {
        ((self.0 >> 64) as u64 ^ (1 << 63)) as i64
    }

    pub(crate) fn tag(self) -> Tag {
        Tag(self.0 as u64)
    }
}

/// Keys in the order in which they fall due.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    /// Those that came last.
    fresh: Heap<Key>,
    /// The others, the earliest of each run at its end. An empty one is free.
    runs: Vec<Vec<Key>>,
    /// The end of each run, or one that was its end: then the run's is later, and is
    /// put right when it comes to the top.
    ends: Heap<End>,
    free: Vec<u32>,
    sweep: Option<Sweep>,
}

/// So many new keys become a run: they lie in the caches, and sorting them takes
/// about a tenth of a millisecond.
const FRESH: usize = 4_096;

/// A run as short as this is given up, and its keys are new ones again: a few that
/// are due in years do not keep it.
const SHORT: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    key: Key,
    run: u32,
}

/// Where a sweep stands that is going on: it goes through the new keys and then
/// through one run after the other, each from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sweep {
    /// `None` for the new keys.
    run: Option<usize>,
    /// Those from here on have been looked at.
    from: usize,
}

impl TimerQueue {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys().count()
    }

    #[cfg(test)]
    fn keys(&self) -> impl Iterator<Item = Key> {
        self.fresh
            .0
            .iter()
            .chain(self.runs.iter().flatten())
            .copied()
    }

    /// The earliest key.
    pub(crate) fn first(&mut self) -> Option<Key> {
        let run = self.first_end().map(|end| end.key);
        self.fresh.first().into_iter().chain(run).min()
    }

    /// The earliest end of a run.
    fn first_end(&mut self) -> Option<End> {
        while let Some(end) = self.ends.first() {
            let run = self.runs.get(end.run as usize)?;
            match run.last() {
                Some(key) if *key == end.key => return Some(end),
                Some(key) => self.ends.replace_first(End { key: *key, ..end }),
                None => self.drop_first_end(),
            }
        }
        None
    }

    fn drop_first_end(&mut self) {
        if let Some(end) = self.ends.pop() {
            self.free.push(end.run);
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, key: Key) {
        if self.fresh.0.len() >= FRESH {
            let run = std::mem::replace(&mut self.fresh.0, Vec::with_capacity(FRESH));
            self.push_run(run);
        }
        self.fresh.push(key);
    }

    /// Takes in many, whose memory is then the queue's.
    pub(crate) fn push_all(&mut self, keys: Vec<Key>) {
        if keys.len() <= SHORT {
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
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.runs.push(Vec::new());
                self.runs.len() as u32 - 1
            }
        };
        self.runs[place as usize] = run;
        self.ends.push(End { key, run: place });
    }

    /// Takes the earliest key out if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<Key> {
        let (end, fresh) = (self.first_end(), self.fresh.first());
        let Some(end) = end.filter(|end| fresh.is_none_or(|fresh| end.key < fresh)) else {
            fresh.filter(|key| key.due() <= now)?;
            return self.fresh.pop();
        };
        if end.key.due() > now {
            return None;
        }
        let run = self.runs.get_mut(end.run as usize)?;
        let key = run.pop();
        match run.last() {
            Some(key) if run.len() != SHORT => {
                self.ends.replace_first(End { key: *key, ..end });
                shrink(run);
            }
            _ => {
                let few = std::mem::take(run);
                self.drop_first_end();
                few.into_iter().for_each(|key| self.push(key));
            }
        }
        key
    }

    /// Looks at `steps` keys, and at what fills the gaps of those that it takes out
    /// because they are not `alive`. Gives whether the sweep has reached its end.
    ///
    /// Keys that are pushed in the meantime may be passed over, for the next
    /// sweep.
    pub(crate) fn sweep(&mut self, steps: usize, mut alive: impl FnMut(Tag) -> bool) -> bool {
        let sweep = self.sweep.take().unwrap_or(Sweep {
            run: None,
            from: usize::MAX,
        });
        let from = match sweep.run {
            None => self.fresh.sweep(sweep.from, steps, &mut alive),
            Some(run) => match self.runs.get_mut(run) {
                Some(run) => sweep_run(run, sweep.from, steps, &mut alive),
                None => 0,
            },
        };
        let next = sweep.run.map_or(0, |run| run + 1);
        self.sweep = if from > 0 {
            Some(Sweep { from, ..sweep })
        } else if next < self.runs.len() {
            Some(Sweep {
                run: Some(next),
                from: usize::MAX,
            })
        } else {
            None
        };
        self.sweep.is_none()
    }

    /// To be called when a sweep has reached its end: runs that have become short are
    /// given up.
    pub(crate) fn drop_short_runs(&mut self) {
        let mut few = Vec::new();
        self.runs.retain_mut(|run| {
            let is_long = run.len() > SHORT;
            if !is_long {
                few.append(run);
            }
            is_long
        });
        self.runs.shrink_to(2 * self.runs.len());
        self.free = Vec::new();
        self.ends = Heap::default();
        for (run, place) in self.runs.iter().zip(0..) {
            if let Some(key) = run.last().copied() {
                self.ends.push(End { key, run: place });
            }
        }
        few.into_iter().for_each(|key| self.push(key));
    }

    /// A queue that was large once does not keep the memory.
    pub(crate) fn shrink(&mut self) {
        shrink(&mut self.fresh.0);
    }
}

/// Moves what is left of a long list, for its memory lies among that of the jobs which
/// were scheduled with it.
fn shrink(keys: &mut Vec<Key>) {
    const WORTH_IT: usize = 4 * SHORT;
    let capacity = keys.capacity();
    if capacity > WORTH_IT && capacity / 4 > keys.len() {
        let mut few = Vec::with_capacity(keys.len() * 2);
        few.append(keys);
        *keys = few;
    }
}

/// Looks at some keys before the one at `from`. Gives from where on all have been
/// looked at.
fn sweep_run(
    run: &mut Vec<Key>,
    from: usize,
    steps: usize,
    alive: &mut impl FnMut(Tag) -> bool,
) -> usize {
    let from = from.min(run.len());
    let end = from.saturating_sub(steps);
    let mut kept = end;
    for at in end..from {
        if alive(run[at].tag()) {
            run[kept] = run[at];
            kept += 1;
        }
    }
    run.drain(kept..from);
    shrink(run);
    end
}

const CHILDREN: usize = 4;

/// A 4-ary heap: four children to a node make half as many levels as two, and lie
/// in one cache line or two. Each entry is no later than its children at `4 i + 1`
/// to `4 i + 4`.
#[derive(Debug)]
struct Heap<T>(Vec<T>);

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Heap<T> {
    fn first(&self) -> Option<T> {
        self.0.first().copied()
    }

    #[inline]
    fn push(&mut self, entry: T) {
        self.0.push(entry);
        self.sift_up(self.0.len() - 1);
    }

    fn pop(&mut self) -> Option<T> {
        let last = self.0.pop()?;
        let Some(first) = self.0.first_mut() else {
            return Some(last);
        };
        let first = std::mem::replace(first, last);
        self.sift_down(0);
        Some(first)
    }

    /// Of a heap that is not empty.
    fn replace_first(&mut self, entry: T) {
        self.0[0] = entry;
        self.sift_down(0);
    }

    fn remove_at(&mut self, at: usize) {
        let Some(last) = self.0.pop() else { return };
        if at < self.0.len() {
            self.0[at] = last;
            self.sift_down(at);
            self.sift_up(at);
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        let entry = self.0[at];
        while at > 0 {
            let parent = (at - 1) / CHILDREN;
            if self.0[parent] <= entry {
                break;
            }
            self.0[at] = self.0[parent];
            at = parent;
        }
        self.0[at] = entry;
    }

    fn sift_down(&mut self, mut at: usize) {
        let entry = self.0[at];
        loop {
            let first = at * CHILDREN + 1;
            let Some(children) = self.0.get(first..) else {
                break;
            };
            // Which of them is the least is anybody's guess, and a wrong one costs
            // more than all comparisons: no branches.
            let child = match children.first_chunk::<CHILDREN>() {
                Some([a, b, c, d]) => {
                    let left = usize::from(b < a);
                    let right = 2 + usize::from(d < c);
                    let is_right = children[right] < children[left];
                    [left, right][usize::from(is_right)]
                }
                None => match (0..children.len()).min_by_key(|at| children[*at]) {
                    Some(child) => child,
                    None => break,
                },
            };
            let least = children[child];
            if entry <= least {
                break;
            }
            self.0[at] = least;
            at = first + child;
        }
        self.0[at] = entry;
    }
}

impl Heap<Key> {
    /// As [`sweep_run`]. From the tail to the top: there, what is moved to fill a
    /// gap has been looked at already, and most keys are leaves and move nothing.
    fn sweep(&mut self, from: usize, steps: usize, alive: &mut impl FnMut(Tag) -> bool) -> usize {
        let mut at = from.min(self.0.len());
        let end = at.saturating_sub(steps);
        while at > end {
            at -= 1;
            // Again and again: what fills the gap may be its old parent, which
            // has not been looked at.
            while self.0.get(at).is_some_and(|key| !alive(key.tag())) {
                self.remove_at(at);
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn key(due: i64, number: u64) -> Key {
        Key::new(due, Tag::new(number, Kind::Start, number as u32 % 7))
    }

    #[test]
    fn a_key_gives_back_what_it_was_made_of() {
        for due in [i64::MIN, -1, 0, 1, i64::MAX] {
            for kind in [Kind::Start, Kind::Look] {
                let tag = Tag::new(Tag::MAX_NUMBER, kind, MAX_SLOTS as u32 - 1);
                let key = Key::new(due, tag);
                assert_eq!(
                    (key.due(), key.tag(), key.tag().slot(), key.tag().kind()),
                    (due, tag, MAX_SLOTS as u32 - 1, kind)
                );
            }
        }
    }

    #[test]
    fn keys_come_out_by_time_then_first_in_first_out() {
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
    fn nothing_comes_out_before_it_is_due() {
        let mut queue = TimerQueue::default();
        queue.push(key(10, 0));
        assert_eq!(queue.pop_due(9), None);
        assert_eq!(queue.pop_due(10), Some(key(10, 0)));
    }

    /// Random pushes, pops and sweeps beside an ordered set, with few keys and with
    /// so many that there are runs.
    #[test]
    fn agrees_with_an_ordered_set() {
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
                        // Each dead one is asked for once, for the asker counts them.
                        let mut found = 0;
                        let is_done = queue.sweep(steps, |tag| {
                            found += usize::from(dead.contains(&tag));
                            !dead.contains(&tag)
                        });
                        // Which ones it met is the queue's own affair; what it
                        // took out were dead ones.
                        let left: BTreeSet<_> = queue.keys().collect();
                        let gone: Vec<_> = model.difference(&left).copied().collect();
                        assert_eq!(gone.len(), found, "seed {seed}");
                        assert!(gone.iter().all(|key| dead.contains(&key.tag())));
                        model = left;
                        if is_done {
                            queue.drop_short_runs();
                        }
                    }
                }
                assert_eq!(queue.len(), model.len(), "seed {seed}");
                assert_eq!(queue.first(), model.first().copied(), "seed {seed}");
            }
        }
    }

    /// So many keys of these times, numbered from `first` on.
    fn keys(dues: std::ops::Range<i64>, first: u64) -> Vec<Key> {
        dues.zip(first..)
            .map(|(due, number)| key(due, number))
            .collect()
    }

    fn drain(queue: &mut TimerQueue) -> Vec<Key> {
        std::iter::from_fn(|| queue.pop_due(i64::MAX)).collect()
    }

    #[test]
    fn many_at_once_become_a_run_and_a_few_do_not() {
        let mut queue = TimerQueue::default();
        queue.push_all(keys(0..SHORT as i64, 1));
        assert_eq!((queue.fresh.0.len(), queue.runs.len()), (SHORT, 0));
        queue.push_all(keys(0..SHORT as i64 + 1, 1_000));
        assert_eq!((queue.fresh.0.len(), queue.runs.len()), (SHORT, 1));
    }

    #[test]
    fn a_run_is_given_up_when_few_of_it_are_left_and_not_before() {
        let all = keys(0..1_000, 1);
        let mut queue = TimerQueue::default();
        queue.push_all(all.clone());
        for key in &all[..1_000 - SHORT - 1] {
            assert_eq!(queue.pop_due(1_000), Some(*key));
        }
        assert_eq!((queue.fresh.0.len(), queue.runs[0].len()), (0, SHORT + 1));
        assert!(queue.pop_due(1_000).is_some());
        assert_eq!((queue.fresh.0.len(), queue.runs[0].len()), (SHORT, 0));
        assert_eq!(drain(&mut queue), all[1_000 - SHORT..]);
    }

    #[test]
    fn the_place_of_a_run_that_is_gone_is_the_next_ones() {
        let mut queue = TimerQueue::default();
        for n in 0..10 {
            queue.push_all(keys(0..1_000, 1 + n * 1_000));
            assert_eq!(drain(&mut queue).len(), 1_000);
        }
        assert_eq!(queue.runs.len(), 1);
    }

    /// They were the last of all that came with them, and would have kept the run.
    #[test]
    fn a_sweep_that_leaves_few_of_a_run_makes_them_new_ones_and_loses_none() {
        let short = keys(0..1_000, 1);
        let (long, other) = (keys(500..1_500, 10_000), keys(600..1_600, 20_000));
        let mut left: Vec<_> = short[500 - SHORT..500].to_vec();
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
            [SHORT, 1_000, 1_000]
        );
        queue.drop_short_runs();
        assert_eq!((queue.fresh.0.len(), queue.runs.len()), (SHORT, 2));
        assert_eq!(queue.first(), Some(left[0]));
        assert_eq!(drain(&mut queue), left);
    }

    /// Takes out all keys but those that are `alive`; gives in how many steps.
    fn sweep_all(queue: &mut TimerQueue, alive: impl Fn(Tag) -> bool) -> usize {
        let mut steps = 1;
        while !queue.sweep(1_024, &alive) {
            steps += 1;
        }
        queue.drop_short_runs();
        steps
    }

    fn capacity(queue: &TimerQueue) -> usize {
        let runs = queue.runs.iter().map(Vec::capacity).sum::<usize>();
        queue.fresh.0.capacity() + runs
    }

    #[test]
    fn a_sweep_in_steps_takes_out_all_that_is_dead_and_gives_memory_back() {
        let mut queue = TimerQueue::default();
        for number in 0..10 * FRESH as u64 {
            queue.push(key(fastrand::i64(..), number));
        }
        let last = |tag: Tag| tag.0 >> (SLOT_BITS + 1) >= 10 * FRESH as u64 - 10;
        assert_eq!(sweep_all(&mut queue, last), 10 * FRESH / 1_024);
        assert_eq!(queue.len(), 10);
        queue.shrink();
        assert!(capacity(&queue) <= 1_000, "{}", capacity(&queue));
        assert!(queue.runs.is_empty() && queue.ends.0.is_empty());
    }

    #[test]
    fn the_few_that_stay_for_long_do_not_keep_the_memory_of_those_that_came_with_them() {
        let mut queue = TimerQueue::default();
        let mut number = 0;
        for _ in 0..100 {
            for n in 0..FRESH as u64 {
                number += 1;
                queue.push(key(if n % 100 == 0 { 1_000_000 } else { n as i64 }, number));
            }
            while queue.pop_due(FRESH as i64).is_some() {}
        }
        assert_eq!(queue.len(), 100 * FRESH.div_ceil(100));
        assert!(capacity(&queue) < 5 * queue.len(), "{}", capacity(&queue));
    }
}
