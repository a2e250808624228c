//! [`ReadyQueue`]: what has come due and has not begun, and who sees to it.

use std::collections::VecDeque;
use std::ops::Range;

use crate::executor::dispatcher::{FRUITLESS_SPAWNS, TAKEN_AT_A_TIME, Taken};
use crate::sync::cache_padded::CachePadded;
use crate::sync::primitives::{Arc, Mutex, MutexGuard, lock};
use crate::timer::key::Tag;
use crate::value::time_units::Now;

/// What a drainer has taken and not begun. Its lock is the queue's inner one, and is
/// nearly always its drainer's alone.
#[derive(Default)]
pub(crate) struct Share(CachePadded<Mutex<VecDeque<Taken>>>);

impl std::ops::Deref for Share {
    type Target = Mutex<VecDeque<Taken>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

pub(crate) struct ReadyQueue {
    ready: VecDeque<Piece>,
    /// When the timer last found any due: by then all of them are.
    pub(crate) now: Now,
    /// The shares of the drainers that have not ended.
    drainers: Vec<Arc<Share>>,
    /// Somebody is spawning one. Only one at a time: an executor that runs them
    /// inside `spawn` would go as deep as there are jobs.
    pub(crate) is_spawning: bool,
    /// Counts how often a drainer has taken some.
    taken: usize,
    /// How often that had been at the last spawn, and how many spawns before that did
    /// not change it.
    taken_at_spawn: usize,
    fruitless: usize,
}

/// Some of what is in the queue, one after the other.
pub(crate) enum Piece {
    /// Somebody has looked them up.
    Taken(VecDeque<Taken>),
    /// The timer has not touched them, and it may be that some are not to start any
    /// more: the memory of a job comes into the caches of the thread that starts it,
    /// and of no other.
    Due(DueTags),
}

/// Some of the keys that came due together. Whoever takes of them copies nothing.
#[derive(Clone)]
pub(crate) struct DueTags {
    tags: Arc<[Tag]>,
    range: Range<usize>,
}

impl DueTags {
    pub(crate) fn new(tags: Arc<[Tag]>) -> Self {
        let range = 0..tags.len();
        Self { tags, range }
    }

    pub(crate) fn tags(&self) -> &[Tag] {
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
    pub(crate) fn new() -> Self {
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

    pub(crate) fn push(&mut self, piece: Piece) {
        if piece.len() > 0 {
            self.ready.push_back(piece);
        }
        self.fruitless = 0;
    }

    /// Takes out all that is not in a share.
    pub(crate) fn take_all(&mut self) -> VecDeque<Piece> {
        std::mem::take(&mut self.ready)
    }

    /// Whether something has not begun.
    pub(crate) fn is_any_left(&self) -> bool {
        !self.ready.is_empty() || self.drainers.iter().any(|share| !lock(share).is_empty())
    }

    /// Takes some of what is in the queue, or else of what another has taken. Without
    /// any, the drainer is counted no longer: in one step, and so whoever adds jobs
    /// later sees that one is missing.
    pub(crate) fn find(&mut self, own: &Arc<Share>) -> Option<Piece> {
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
    pub(crate) fn take_back(&mut self, share: &Share) {
        let taken = std::mem::take(&mut *lock(share));
        if !taken.is_empty() {
            self.ready.push_front(Piece::Taken(taken));
        }
    }

    pub(crate) fn has_drainers(&self) -> bool {
        !self.drainers.is_empty()
    }

    /// Whether nobody sees to what is in it.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.drainers.is_empty() && !self.is_spawning
    }

    pub(crate) fn sign_off(&mut self, share: &Arc<Share>) {
        self.drainers.retain(|other| !Arc::ptr_eq(other, share));
    }

    /// One more drainer is spawned.
    pub(crate) fn sign_on(&mut self, share: Arc<Share>) {
        self.fruitless = if self.taken == self.taken_at_spawn {
            self.fruitless + 1
        } else {
            0
        };
        self.taken_at_spawn = self.taken;
        self.drainers.push(share);
    }

    /// Whether the executor seems to drop all that it is given.
    pub(crate) fn is_in_vain(&self) -> bool {
        self.taken == self.taken_at_spawn && self.fruitless > FRUITLESS_SPAWNS
    }

    /// Takes out what the drainers have taken and not begun.
    pub(crate) fn empty_shares(&mut self) -> Vec<VecDeque<Taken>> {
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
