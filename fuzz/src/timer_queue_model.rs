//! Compares the timer's queue with an ordered set.

use std::collections::BTreeSet;

use crate::timer::key::{Key, KeyKind, Tag};
use crate::timer::queue::TimerQueue;

/// Reads the bytes as pushes, pops and sweeps, with some keys, or with enough keys for
/// sorted runs. What comes out, and when, is what an ordered set gives; a
/// sweep asks for each key that is there and takes out the dead ones alone.
///
/// # Panics
/// When any of that does not hold.
pub fn timer_queue_model(data: &[u8]) {
    let mut pair = Pair::default();
    let mut bytes = Bytes(data);
    // A bound for all: what is slow is not what is sought.
    for _ in 0..64 {
        if bytes.0.is_empty() {
            break;
        }
        pair.step(&mut bytes);
    }
    pair.drain();
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// The next one; 0 when there are no more.
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }
}

#[derive(Default)]
struct Pair {
    queue: TimerQueue,
    model: BTreeSet<Key>,
    /// Those of the model.
    tags: BTreeSet<Tag>,
    dead: BTreeSet<Tag>,
    number: u64,
    is_sweeping: bool,
    /// Whom the sweep that is under way has asked for.
    asked: BTreeSet<Tag>,
    /// What was there when it began, if nothing was pushed or popped since.
    all: Option<BTreeSet<Tag>>,
}

/// The most keys at a time.
const MOST: usize = 12_000;

impl Pair {
    fn step(&mut self, bytes: &mut Bytes) {
        match bytes.next() % 8 {
            0 => {
                let due = due(bytes);
                self.push(due);
            }
            1 => {
                let (count, spread) = (many(bytes), bytes.next());
                self.moved();
                for n in 0..count {
                    self.push(scattered(n, spread));
                }
            }
            2 => {
                let (count, spread) = (many(bytes), bytes.next());
                self.moved();
                let keys = (0..count).filter_map(|n| self.key(scattered(n, spread)));
                let keys = keys.collect();
                self.queue.push_all(keys);
            }
            3 | 4 => {
                let now = due(bytes);
                for _ in 0..=16 * u32::from(bytes.next()) {
                    if !self.pop(now) {
                        break;
                    }
                }
            }
            5 => {
                let (every, from) = (u64::from(bytes.next()) + 1, u64::from(bytes.next()));
                let tags = self.model.iter().map(|key| key.tag());
                let picked = tags.filter(|tag| u64::from(tag.slot()) % every == from % every);
                self.dead.extend(picked);
            }
            6 => {
                let steps = 1 + 32 * usize::from(bytes.next());
                self.sweep(steps);
            }
            _ => self.queue.shrink(),
        }
        assert_eq!(self.queue.first(), self.model.first().copied());
    }

    /// A key that no other is like; `None` when there are enough.
    fn key(&mut self, due: i64) -> Option<Key> {
        if self.model.len() >= MOST {
            return None;
        }
        self.number += 1;
        let kind = if self.number.is_multiple_of(3) {
            KeyKind::Decide
        } else {
            KeyKind::Start
        };
        let slot = (self.number % 1_000) as u32;
        let key = Key::new(due, Tag::new(self.number, kind, slot));
        assert_eq!(
            (key.due(), key.tag().kind(), key.tag().slot()),
            (due, kind, slot)
        );
        self.model.insert(key);
        self.tags.insert(key.tag());
        Some(key)
    }

    fn push(&mut self, due: i64) {
        self.moved();
        if let Some(key) = self.key(due) {
            self.queue.push(key);
        }
    }

    /// Keys that come or go during a sweep may be passed over, or asked for again
    /// where they have been moved to.
    fn moved(&mut self) {
        self.all = None;
    }

    fn pop(&mut self, now: i64) -> bool {
        self.moved();
        let expected = self.model.first().copied().filter(|key| key.due() <= now);
        assert_eq!(self.queue.pop_due(now), expected);
        expected.is_some_and(|key| self.tags.remove(&key.tag()) && self.model.remove(&key))
    }

    fn sweep(&mut self, steps: usize) {
        if !self.is_sweeping {
            self.all = Some(self.tags.clone());
        }
        let mut now = BTreeSet::new();
        let is_done = self.queue.sweep(steps, |tag| {
            assert!(self.tags.contains(&tag), "it asks for one that is gone");
            // A living one may be moved to where it is met again.
            let is_dead = self.dead.contains(&tag);
            let is_first = now.insert(tag);
            assert!(is_first || !is_dead, "it asks twice for a dead one");
            !is_dead
        });
        let found = now.intersection(&self.dead).count();
        assert!(now.len() <= steps + found);
        if found > 0 {
            self.tags
                .retain(|tag| !(now.contains(tag) && self.dead.contains(tag)));
            self.model.retain(|key| self.tags.contains(&key.tag()));
        }
        self.asked.extend(now);
        self.is_sweeping = !is_done;
        if is_done {
            self.queue.dissolve_short_runs();
            if let Some(all) = self.all.take() {
                assert!(self.asked == all, "a sweep that is left alone asks for all");
            }
            self.asked.clear();
        }
    }

    /// All that is left comes out, in order.
    fn drain(&mut self) {
        while self.pop(i64::MAX) {}
        assert_eq!(self.queue.first(), None);
    }
}

/// Mostly a few, and sometimes more than lie in the queue's first heap.
fn many(bytes: &mut Bytes) -> u64 {
    match bytes.next() {
        byte @ 0..240 => u64::from(byte) / 2,
        byte => u64::from(byte - 239) * 300,
    }
}

/// A time: near, or at either end.
fn due(bytes: &mut Bytes) -> i64 {
    match bytes.next() {
        0 => i64::MIN,
        255 => i64::MAX,
        byte => i64::from(byte) - 64,
    }
}

/// One of many times, all the same where the spread is 0.
fn scattered(n: u64, spread: u8) -> i64 {
    (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i64 % (i64::from(spread) + 1)
}
