//! The heap: what is due when.
//!
//! A 4-ary heap of 16-byte keys. Small keys matter most, for most of the work
//! is moving them; four children to a node make half as many levels, and
//! the four lie in one cache line.
//!
//! A key is never taken out of the middle. What it stands for is forgotten by
//! its owner, and the dead key stays until it comes to the top or is swept
//! out; [`TimerQueue::sweep`] goes through the keys a step at a time, so that
//! nobody waits for a long one.

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

const CHILDREN: usize = 4;

/// Keys in the order in which they fall due.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    /// Each key is no later than its children at `4 i + 1` to `4 i + 4`.
    keys: Vec<Key>,
    /// The keys from here on have been looked at by the sweep that is going on.
    swept_from: Option<usize>,
}

impl TimerQueue {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The earliest key.
    pub(crate) fn first(&self) -> Option<Key> {
        self.keys.first().copied()
    }

    pub(crate) fn push(&mut self, key: Key) {
        self.keys.push(key);
        self.sift_up(self.keys.len() - 1);
    }

    /// Takes the earliest key out if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<Key> {
        let first = *self.keys.first()?;
        if first.due() > now {
            return None;
        }
        let last = self.keys.pop()?;
        if !self.keys.is_empty() {
            self.keys[0] = last;
            self.sift_down(0);
        }
        Some(first)
    }

    /// Looks at `steps` keys and takes out those that are not `alive`. Gives
    /// the number taken out, and whether the sweep has reached its end.
    ///
    /// It goes from the tail to the top: there, what is moved to fill a gap has
    /// been looked at already, and most keys are leaves and move nothing. Keys
    /// that are pushed in the meantime may be passed over, for the next sweep.
    pub(crate) fn sweep(&mut self, steps: usize, mut alive: impl FnMut(Tag) -> bool) -> Swept {
        let mut at = self
            .swept_from
            .unwrap_or(self.keys.len())
            .min(self.keys.len());
        let end = at.saturating_sub(steps);
        let mut removed = 0;
        while at > end {
            at -= 1;
            // Again and again: what fills the gap may be its old parent, which
            // has not been looked at.
            while self.keys.get(at).is_some_and(|key| !alive(key.tag())) {
                self.remove_at(at);
                removed += 1;
            }
        }
        let done = at == 0;
        self.swept_from = (!done).then_some(at);
        Swept { removed, done }
    }

    /// A queue that was large once does not keep the memory.
    pub(crate) fn shrink(&mut self) {
        const WORTH_IT: usize = 1_024;
        let capacity = self.keys.capacity();
        if capacity > WORTH_IT && capacity / 4 > self.keys.len() {
            self.keys.shrink_to(self.keys.len() * 2);
        }
    }

    fn remove_at(&mut self, at: usize) {
        let Some(last) = self.keys.pop() else { return };
        if at < self.keys.len() {
            self.keys[at] = last;
            self.sift_down(at);
            self.sift_up(at);
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        let key = self.keys[at];
        while at > 0 {
            let parent = (at - 1) / CHILDREN;
            if self.keys[parent] <= key {
                break;
            }
            self.keys[at] = self.keys[parent];
            at = parent;
        }
        self.keys[at] = key;
    }

    fn sift_down(&mut self, mut at: usize) {
        let key = self.keys[at];
        loop {
            let first = at * CHILDREN + 1;
            let Some(children) = self.keys.get(first..) else {
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
            if key <= least {
                break;
            }
            self.keys[at] = least;
            at = first + child;
        }
        self.keys[at] = key;
    }
}

/// What a step of a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) removed: usize,
    pub(crate) done: bool,
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

    /// Random pushes, pops and sweeps beside an ordered set.
    #[test]
    fn agrees_with_an_ordered_set() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut queue = TimerQueue::default();
            let mut model = BTreeSet::new();
            let mut dead = BTreeSet::new();
            for number in 0..400 {
                match rng.u8(..10) {
                    0..6 => {
                        let key = key(rng.i64(0..100), number);
                        queue.push(key);
                        model.insert(key);
                    }
                    6..8 => {
                        let now = rng.i64(0..100);
                        let expected = model.first().copied().filter(|key| key.due() <= now);
                        assert_eq!(queue.pop_due(now), expected, "seed {seed}");
                        model.remove(&queue.pop_due(-1).or(expected).unwrap_or(key(-9, 0)));
                    }
                    8 => {
                        for key in model.iter().filter(|_| rng.bool()) {
                            dead.insert(key.tag());
                        }
                    }
                    _ => {
                        let steps = rng.usize(1..50);
                        let swept = queue.sweep(steps, |tag| !dead.contains(&tag));
                        // Which ones it met is the queue's own affair; what it
                        // took out were dead ones.
                        let left: BTreeSet<_> = queue.keys.iter().copied().collect();
                        let gone: Vec<_> = model.difference(&left).copied().collect();
                        assert_eq!(gone.len(), swept.removed, "seed {seed}");
                        assert!(gone.iter().all(|key| dead.contains(&key.tag())));
                        model = left;
                    }
                }
                assert_eq!(queue.len(), model.len(), "seed {seed}");
                assert_eq!(queue.first(), model.first().copied(), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_sweep_in_steps_takes_out_all_that_is_dead_and_gives_memory_back() {
        let mut queue = TimerQueue::default();
        for number in 0..10_000 {
            queue.push(key(fastrand::i64(..), number));
        }
        let alive = |tag: Tag| tag.0 >> (SLOT_BITS + 1) >= 9_990;
        let mut removed = 0;
        let mut steps = 0;
        loop {
            let swept = queue.sweep(1_024, alive);
            removed += swept.removed;
            steps += 1;
            if swept.done {
                break;
            }
        }
        assert_eq!((removed, queue.len(), steps), (9_990, 10, 10));
        queue.shrink();
        assert!(queue.keys.capacity() <= 1_000, "{}", queue.keys.capacity());
    }
}
