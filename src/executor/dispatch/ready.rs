//! [`ReadyQueue`]: what has come due and has not begun, and who sees to it.

use std::collections::VecDeque;
use std::ops::Range;

use super::{FRUITLESS_SPAWNS, TAKEN_AT_A_TIME, Taken};
use crate::clock::Now;
use crate::sync::{Apart, Arc, Mutex, MutexGuard, lock};
use crate::timer_queue::Tag;

/// What a drainer has taken and not begun. Its lock is the queue's inner one, and is
/// nearly always its drainer's alone.
#[derive(Default)]
pub(super) struct Share(Apart<Mutex<VecDeque<Taken>>>);

impl std::ops::Deref for Share {
    type Target = Mutex<VecDeque<Taken>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

pub(super) struct ReadyQueue {
    ready: VecDeque<Piece>,
    /// When the timer last found any due: by then all of them are.
    pub(super) now: Now,
    /// The shares of the drainers that have not ended.
    drainers: Vec<Arc<Share>>,
    /// Somebody is spawning one. Only one at a time: an executor that runs them
    /// inside `spawn` would go as deep as there are jobs.
    pub(super) is_spawning: bool,
    /// Counts how often a drainer has taken some.
    taken: usize,
    /// How often that had been at the last spawn, and how many spawns before that did
    /// not change it.
    taken_at_spawn: usize,
    fruitless: usize,
}

/// Some of what is in the queue, one after the other.
pub(super) enum Piece {
    /// Somebody has looked them up.
    Taken(VecDeque<Taken>),
    /// The timer has not touched them, and it may be that some are not to start any
    /// more: the memory of a job comes into the caches of the thread that starts it,
    /// and of no other.
    Due(DueTags),
}

/// Some of the keys that came due together. Whoever takes of them copies nothing.
#[derive(Clone)]
pub(super) struct DueTags {
    tags: Arc<[Tag]>,
    range: Range<usize>,
}

impl DueTags {
    pub(super) fn new(tags: Arc<[Tag]>) -> Self {
        let range = 0..tags.len();
        Self { tags, range }
    }

    pub(super) fn tags(&self) -> &[Tag] {
        &self.tags[self.range.clone()]
    }

    fn take_first(&mut self, count: usize) -> Self {
        let mut first = self.clone();
        first.range.end = (self.range.start + count).min(self.range.end);
        self.range.start = first.range.end;
        first
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Taken(jobs) => jobs.len(),
            Piece::Due(tags) => tags.range.len(),
        }
    }

    fn take_first(&mut self, count: usize) -> Self {
        match self {
            Piece::Taken(jobs) => Piece::Taken(jobs.drain(..count.min(jobs.len())).collect()),
            Piece::Due(tags) => Piece::Due(tags.take_first(count)),
        }
    }
}

impl ReadyQueue {
    pub(super) fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            now: Now::NEVER,
            drainers: Vec::new(),
            is_spawning: false,
            taken: 0,
            taken_at_spawn: 0,
            fruitless: 0,
        }
    }

    pub(super) fn push(&mut self, piece: Piece) {
        if piece.len() > 0 {
            self.ready.push_back(piece);
        }
        self.fruitless = 0;
    }

    /// Takes out all that is not in a share.
    pub(super) fn take_all(&mut self) -> VecDeque<Piece> {
        std::mem::take(&mut self.ready)
    }

    /// Whether something has not begun.
    pub(super) fn is_any_left(&self) -> bool {
        !self.ready.is_empty() || self.drainers.iter().any(|share| !lock(share).is_empty())
    }

    /// Takes some of what is in the queue, or else of what another has taken. Without
    /// any, the drainer is counted no longer: in one step, and so whoever adds jobs
    /// later sees that one is missing.
    pub(super) fn find(&mut self, own: &Arc<Share>) -> Option<Piece> {
        let found = self.take_first().or_else(|| self.steal(own));
        if found.is_some() {
            self.taken = self.taken.wrapping_add(1);
        } else {
            self.sign_off(own);
            // A rush is over some time, and its memory is not kept.
            self.ready = VecDeque::new();
        }
        found
    }

    fn take_first(&mut self) -> Option<Piece> {
        let is_last = self.ready.len() == 1;
        let first = self.ready.front_mut()?;
        let count = if is_last {
            half(first.len())
        } else {
            TAKEN_AT_A_TIME
        };
        if count >= first.len() {
            return self.ready.pop_front();
        }
        Some(first.take_first(count))
    }

    fn steal(&mut self, own: &Arc<Share>) -> Option<Piece> {
        let others = self.drainers.iter();
        let others = others.filter(|share| !Arc::ptr_eq(share, own));
        others
            .map(|share| lock(share))
            .find_map(|mut share: MutexGuard<'_, _>| {
                let left = share.len() - half(share.len());
                let stolen = share.split_off(left);
                (!stolen.is_empty()).then_some(Piece::Taken(stolen))
            })
    }

    /// First come, first served: whoever comes next has them.
    pub(super) fn take_back(&mut self, share: &Share) {
        let taken = std::mem::take(&mut *lock(share));
        if !taken.is_empty() {
            self.ready.push_front(Piece::Taken(taken));
        }
    }

    pub(super) fn has_drainers(&self) -> bool {
        !self.drainers.is_empty()
    }

    /// Whether nobody sees to what is in it.
    pub(super) fn is_orphaned(&self) -> bool {
        self.drainers.is_empty() && !self.is_spawning
    }

    pub(super) fn sign_off(&mut self, share: &Arc<Share>) {
        self.drainers.retain(|other| !Arc::ptr_eq(other, share));
    }

    /// One more drainer is spawned.
    pub(super) fn sign_on(&mut self, share: Arc<Share>) {
        self.fruitless = if self.taken == self.taken_at_spawn {
            self.fruitless + 1
        } else {
            0
        };
        self.taken_at_spawn = self.taken;
        self.drainers.push(share);
    }

    /// Whether the executor seems to drop all that it is given.
    pub(super) fn is_in_vain(&self) -> bool {
        self.taken == self.taken_at_spawn && self.fruitless > FRUITLESS_SPAWNS
    }

    /// Takes out what the drainers have taken and not begun.
    pub(super) fn empty_shares(&mut self) -> Vec<VecDeque<Taken>> {
        let shares = self.drainers.iter();
        shares
            .map(|share| std::mem::take(&mut *lock(share)))
            .collect()
    }
}

/// Half of so many, and at most what a drainer takes.
fn half(len: usize) -> usize {
    len.div_ceil(2).min(TAKEN_AT_A_TIME)
}
