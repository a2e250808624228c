//! The table of live jobs: who is there, under which id, and due when. An app has
//! one, or one for each core.
//!
//! Every job that is not done has a slot here, and nothing else of the app
//! holds it. (Some that are done still have theirs for a moment, until somebody
//! takes many out together; nobody finds them.) The timer's heap holds keys only:
//! a slot whose [`Tag`] is no longer that of a key has forgotten it, and the key
//! is dead. Whoever schedules leaves new keys in an inbox, so that the heap and
//! its cache misses are the timer's own affair.
//!
//! The table is used under a lock, and no method runs code of a user: jobs that
//! leave are given back, to be dropped outside.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::sync::primitives::{Arc, AtomicU64, CachePadded, Ordering};
use crate::timer::heap::{Key, Kind, MAX_SLOTS, Tag};
use crate::value::clock::{Due, MonoNanos, Now};
use crate::value::id::JobId;

use crate::registry::pages::{Keys, PAGE, Page, Pages};

/// What the table must know of a job.
pub(crate) trait TableEntry: Clone {
    fn id(&self) -> &JobId;
    /// Whether the id does not name the job's slot, as those that callers choose,
    /// and so is in the index.
    fn is_named(&self) -> bool;
    /// Whether it is only there until somebody takes it out.
    fn is_done(&self) -> bool;
}

/// In this order: what each scheduling touches lies in two cache lines, which
/// go to and fro between the threads that schedule.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Table<J> {
    slots: Pages<Slot<J>>,
    /// Slots that are free, and maybe some that are taken again or no more there.
    free: Vec<u32>,
    /// Keys that nobody has put into the heap yet.
    inbox: Inbox,
    ids: IdSource,
    shard: Shard,
    /// The timer sleeps until then; `MIN` while it is awake, when it will look
    /// at the inbox before it sleeps again.
    wake_at: MonoNanos,
    live: u32,
    /// Slots that wait for a key.
    armed: u32,
    /// Keys, wherever they are, that no slot waits for.
    dead: usize,
    /// Keys that the timer has taken out, and left to others to see to.
    handed_over: usize,
    /// It will not look again before then, whatever comes due.
    not_before: MonoNanos,
    /// So many dead keys more than are allowed are nothing to wake the timer for, for
    /// other tables have fewer.
    tolerated: isize,
    /// Jobs that have left since memory was last given back.
    removed: u32,
    /// The entries of `free` below this one are still to be looked at.
    pruned_to: usize,
    named: HashMap<JobId, u32>,
}

/// There may be a million of these, so they are as small as can be.
#[derive(Debug)]
pub(crate) struct Slot<J> {
    job: Option<J>,
    /// The key that the timer is to come with, if any. Without a job,
    /// [`Tag::RESERVED`] or [`Tag::NONE`].
    armed: Tag,
}

impl<J> Slot<J> {
    const FREE: Self = Self {
        job: None,
        armed: Tag::NONE,
    };
    /// For a job that its store has not yet.
    const RESERVED: Self = Self {
        job: None,
        armed: Tag::RESERVED,
    };

    fn taken(job: J) -> Self {
        Self {
            job: Some(job),
            armed: Tag::NONE,
        }
    }

    fn is_free(&self) -> bool {
        self.job.is_none() && self.armed == Tag::NONE
    }

    fn is_reserved(&self) -> bool {
        self.armed == Tag::RESERVED
    }
}

/// New keys, by time line.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Inbox {
    pub(crate) mono: Keys,
    pub(crate) wall: Keys,
}

impl Inbox {
    pub(crate) fn with_room() -> Self {
        Self {
            mono: Keys::with_room(),
            wall: Keys::with_room(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mono.is_empty() && self.wall.is_empty()
    }
}

/// What the caller has to do once the table's lock is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) enum Wake {
    #[default]
    No,
    /// The timer sleeps too long, or has new keys to collect, dead ones to sweep, or
    /// memory to give back.
    Timer,
}

/// A slot for a new job, and the id that was made for it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) id: JobId,
}

/// Which of the tables of an app it is. They share the numbers of slots among them:
/// the low bits of a slot tell its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) number: u32,
    /// How many bits tell a table.
    pub(crate) bits: u32,
}

impl Shard {
    fn index(self, slot: u32) -> usize {
        (slot >> self.bits) as usize
    }

    fn slot(self, index: usize) -> u32 {
        (index as u32) << self.bits | self.number
    }

    fn most(self) -> usize {
        MAX_SLOTS >> self.bits
    }
}

/// What all tables of an app count together, so that jobs come in the order in which
/// they were scheduled, whichever table they are in. Relaxed, all of it, for nothing
/// goes by it but the numbers themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<CachePadded<SharedCounts>>);

#[derive(Debug, Default)]
struct SharedCounts {
    /// The stamp of the last id.
    last_stamp: AtomicU64,
    /// How many tags there were.
    tags: AtomicU64,
}

impl Counts {
    /// Greater than all before, and no less than `stamp`.
    #[inline]
    fn next_stamp(&self, stamp: u64) -> u64 {
        let mut last = self.0.last_stamp.load(Ordering::Relaxed);
        loop {
            let next = stamp.max(last + 1);
            let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            match self
                .0
                .last_stamp
                .compare_exchange_weak(last, next, ok, failed)
            {
                Ok(_) => return next,
                Err(now) => last = now,
            }
        }
    }

    #[inline]
    fn next_tag(&self) -> u64 {
        self.0.tags.fetch_add(1, Ordering::Relaxed) % Tag::MAX_NUMBER + 1
    }
}

#[derive(Debug)]
struct IdSource {
    counts: Counts,
    random: fastrand::Rng,
}

impl IdSource {
    /// Strictly increasing, whatever the wall clock does.
    #[inline]
    fn next(&mut self, now: Now, slot: u32) -> JobId {
        let wall = now.wall.max(0) as u64;
        let (millis, rest) = (wall / 1_000_000, wall % 1_000_000);
        let stamp = (millis << 12) | ((rest << 12) / 1_000_000);
        JobId::generated(self.counts.next_stamp(stamp), slot, self.random.u32(..))
    }
}

/// Fewer dead keys than this are not worth a sweep.
const FEW_DEAD: usize = 64;

impl<J: TableEntry> Table<J> {
    pub(crate) fn new(shard: Shard, counts: Counts, random: fastrand::Rng) -> Self {
        Self {
            shard,
            slots: Pages::new(),
            free: Vec::new(),
            inbox: Inbox::with_room(),
            ids: IdSource { counts, random },
            wake_at: MonoNanos::MIN,
            live: 0,
            armed: 0,
            dead: 0,
            handed_over: 0,
            not_before: MonoNanos::MIN,
            tolerated: 0,
            removed: 0,
            pruned_to: 0,
            named: HashMap::new(),
        }
    }

    /// How many jobs there are, and places that are kept for one.
    pub(crate) fn live(&self) -> usize {
        self.live as usize
    }

    /// Whether a slot is the last that there is.
    #[inline]
    pub(crate) fn is_last(&self, slot: u32) -> bool {
        self.shard.index(slot) + 1 == self.slots.len()
    }

    /// The slot at this index, of so many as there are [`slots`](Table::slots).
    pub(crate) fn slot_at(&self, index: usize) -> u32 {
        self.shard.slot(index)
    }

    /// How many slots there are, taken and free.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// A place for a new job, or the number of those that fill the table. To be
    /// followed by [`insert`](Table::insert) under the same lock.
    #[inline]
    pub(crate) fn place(&mut self, now: Now) -> Result<Place, usize> {
        let slot = self.slot().ok_or(self.live())?;
        let id = self.ids.next(now, slot);
        Ok(Place { slot, id })
    }

    /// A free slot, if there is one.
    pub(crate) fn slot(&mut self) -> Option<u32> {
        loop {
            match self.free.pop() {
                Some(at) if self.slots.get(at as usize).is_some_and(Slot::is_free) => {
                    return Some(self.shard.slot(at as usize));
                }
                // It was cut off, or is taken again.
                Some(_) => {}
                None if self.slots.len() < self.shard.most() => {
                    let slot = self.shard.slot(self.slots.len());
                    self.slots.push(Slot::FREE);
                    return Some(slot);
                }
                None => return None,
            }
        }
    }

    fn at(&self, slot: u32) -> Option<&Slot<J>> {
        self.slots.get(self.shard.index(slot))
    }

    fn at_mut(&mut self, slot: u32) -> Option<&mut Slot<J>> {
        self.slots.get_mut(self.shard.index(slot))
    }

    /// The slot that a restored job's id names, if it may have that: so it is found
    /// by its id without an index. To be followed by [`insert`](Table::insert)
    /// under the same lock.
    pub(crate) fn place_at_hint(&mut self, id: &JobId) -> Option<u32> {
        /// Ids of a busy process, or of several, have gaps between them: slots to a
        /// job, and as many more.
        const SLOTS_A_JOB: usize = 4;
        const MORE: usize = 64;
        let slot = id.slot_hint()?;
        let index = self.shard.index(slot);
        let is_here = slot == self.shard.slot(index) && index < self.shard.most();
        if !is_here || index > SLOTS_A_JOB * self.live() + MORE {
            return None;
        }
        while self.slots.len() < index {
            self.free.push(self.slots.len() as u32);
            self.slots.push(Slot::FREE);
        }
        match self.slots.get(index) {
            None => self.slots.push(Slot::FREE),
            Some(place) if place.is_free() => {}
            Some(_) => return None,
        }
        Some(slot)
    }

    /// Whether a live job has this id, or a place is reserved for it.
    pub(crate) fn contains(&self, id: &JobId) -> bool {
        self.named(id).is_some() || self.find(id).is_some()
    }

    /// Whether a place is reserved for the name.
    pub(crate) fn is_reserved(&self, id: &JobId) -> bool {
        let slot = self.named.get(id).and_then(|slot| self.at(*slot));
        slot.is_some_and(Slot::is_reserved)
    }

    /// Keeps the place for a job that nobody is to find yet. To be followed by
    /// [`fill`](Table::fill) or [`give_up`](Table::give_up).
    pub(crate) fn reserve(&mut self, slot: u32, name: Option<&JobId>) {
        if let Some(id) = name {
            self.named.insert(id.clone(), slot);
        }
        if let Some(place) = self.at_mut(slot) {
            debug_assert!(place.is_free(), "the slot is taken");
            *place = Slot::RESERVED;
        }
        self.live += 1;
    }

    /// Puts a job into the place that is reserved for it, if that is still
    /// there.
    pub(crate) fn fill(&mut self, slot: u32, job: J) -> bool {
        match self.at_mut(slot) {
            Some(place) if place.is_reserved() => {
                *place = Slot::taken(job);
                true
            }
            _ => false,
        }
    }

    /// Frees a place that was reserved.
    pub(crate) fn give_up(&mut self, slot: u32, name: Option<&JobId>) {
        if let Some(place) = self.at_mut(slot)
            && place.is_reserved()
        {
            *place = Slot::FREE;
            self.free.push(self.shard.index(slot) as u32);
            self.live -= 1;
            if let Some(id) = name {
                self.named.remove(id);
            }
        }
    }

    /// No id that is made from here on sorts before this one.
    pub(crate) fn ids_after(&mut self, id: &JobId) {
        // A name may look like an id of a year that no clock here can reach.
        const LAST_MILLIS: u64 = i64::MAX as u64 / 1_000_000;
        if let Some(stamp) = id.stamp().filter(|stamp| stamp >> 12 <= LAST_MILLIS) {
            let last_stamp = &self.ids.counts.0.last_stamp;
            last_stamp.fetch_max(stamp, Ordering::Relaxed);
        }
    }

    /// Puts a job into its place.
    #[inline]
    pub(crate) fn insert(&mut self, slot: u32, job: J) {
        if job.is_named() {
            match self.named.entry(job.id().clone()) {
                Entry::Vacant(entry) => entry.insert(slot),
                // The caller has asked `contains` under this lock.
                Entry::Occupied(_) => return debug_assert!(false, "two jobs of one id"),
            };
        }
        if let Some(place) = self.at_mut(slot) {
            debug_assert!(place.is_free(), "the slot is taken");
            *place = Slot::taken(job);
        }
        self.live += 1;
    }

    /// The job in a slot.
    pub(crate) fn get(&self, slot: u32) -> Option<&J> {
        self.at(slot)?.job.as_ref()
    }

    /// The slot of a job whose id is in the index. Most apps have none, and a hash
    /// is not free.
    fn named(&self, id: &JobId) -> Option<u32> {
        if self.named.is_empty() {
            return None;
        }
        self.named.get(id).copied()
    }

    /// The live job in a slot.
    pub(crate) fn live_at(&self, slot: u32) -> Option<&J> {
        self.get(slot).filter(|job| !job.is_done())
    }

    /// The live job of this id.
    pub(crate) fn find(&self, id: &JobId) -> Option<&J> {
        let by_slot = id.slot_hint().and_then(|slot| self.live_at(slot));
        by_slot
            .filter(|job| job.id() == id)
            .or_else(|| self.get(self.named(id)?))
    }

    /// Has the timer come to this slot at `due`, and at no other time.
    #[inline]
    pub(crate) fn arm(&mut self, slot: u32, due: Due, kind: Kind, now: Now) -> Wake {
        let Some(Slot {
            job: Some(_),
            armed,
        }) = self.slots.get_mut(self.shard.index(slot))
        else {
            return Wake::No;
        };
        let tag = Tag::new(self.ids.counts.next_tag(), kind, slot);
        let is_new = std::mem::replace(armed, tag) == Tag::NONE;
        if is_new {
            self.armed += 1;
        } else {
            self.dead += 1;
        }
        // Many wake the timer, so that it never finds a million new keys at once,
        // and something due behind them.
        let are_many = match due {
            Due::Mono(at) => self.inbox.mono.push(Key::new(at, tag)),
            Due::Wall(at) => self.inbox.wall.push(Key::new(at, tag)),
        };
        let due = due.as_mono(now);
        let is_early = due < self.wake_at && self.not_before < self.wake_at;
        self.wake_if(is_early || are_many || (!is_new && self.is_sweep_due()))
    }

    /// Has the timer forget about this slot.
    pub(crate) fn disarm(&mut self, slot: u32) -> Wake {
        if let Some(Slot {
            job: Some(_),
            armed,
        }) = self.slots.get_mut(self.shard.index(slot))
            && std::mem::replace(armed, Tag::NONE) != Tag::NONE
        {
            self.armed -= 1;
            self.dead += 1;
        }
        self.wake_if(self.is_sweep_due())
    }

    /// Takes a job out, to be dropped when the lock is gone.
    pub(crate) fn remove(&mut self, slot: u32) -> (Option<J>, Wake) {
        let wake = self.disarm(slot);
        let place = self.at_mut(slot);
        let Some(job) = place.and_then(|place| place.job.take()) else {
            return (None, wake);
        };
        self.free.push(self.shard.index(slot) as u32);
        self.live -= 1;
        self.removed = self.removed.saturating_add(1);
        if job.is_named() {
            self.named.remove(job.id());
        }
        match wake {
            Wake::Timer => (Some(job), wake),
            Wake::No => (Some(job), self.wake_if(self.is_tidying_due())),
        }
    }

    /// Whether there is memory to give back, which is the timer's to do.
    fn is_tidying_due(&self) -> bool {
        self.pruned_to > 0 || self.is_cutting_due()
    }

    /// Drops entries of slots that were cut off, some at a time.
    fn prune_free(&mut self) -> Option<FreedMemory<J>> {
        const AT_A_TIME: usize = 4_096;
        let from = self.pruned_to.min(self.free.len());
        if from == 0 {
            self.pruned_to = 0;
            return None;
        }
        self.pruned_to = from.saturating_sub(AT_A_TIME);
        for at in (self.pruned_to..from).rev() {
            if self.free[at] as usize >= self.slots.len() {
                // What comes here has been looked at, or is looked at when popped.
                self.free.swap_remove(at);
            }
        }
        let mut tidied = FreedMemory::default();
        if self.pruned_to == 0 && self.free.len() < self.free.capacity() / 4 {
            // The few that are left are copied, and the rest dropped outside.
            let few = Vec::from(&self.free[..]);
            tidied._free = std::mem::replace(&mut self.free, few);
        }
        Some(tidied)
    }

    /// Whether slots at the end are to go: if few are taken, and not with each job
    /// that leaves.
    fn is_cutting_due(&self) -> bool {
        let (live, slots) = (self.live as usize, self.slots.len());
        self.removed as usize >= PAGE.min(live)
            && slots > PAGE
            && live <= slots / 4
            && self.slots.last().is_some_and(Slot::is_free)
    }

    /// Gives back free slots at the end, some at a time. What it gives is to be
    /// dropped when the lock is gone.
    pub(crate) fn tidy(&mut self) -> Option<FreedMemory<J>> {
        const PAGES_AT_A_TIME: usize = 4;
        if !self.is_cutting_due() {
            return self.prune_free();
        }
        let mut tidied = FreedMemory::default();
        for _ in 0..PAGES_AT_A_TIME * PAGE {
            match self.slots.pop_if(Slot::is_free) {
                Some(page) => tidied._pages.extend(page),
                None => break,
            }
        }
        if !self.is_cutting_due() {
            self.removed = 0;
            self.pruned_to = self.free.len();
            let (spare, list) = self.slots.shrink();
            tidied._pages.extend(spare);
            tidied._list = list;
        }
        if self.live == 0 && self.slots.len() <= PAGE {
            tidied._slots = std::mem::replace(&mut self.slots, Pages::new());
            tidied._free = std::mem::take(&mut self.free);
            tidied._named = std::mem::take(&mut self.named);
            self.pruned_to = 0;
        }
        Some(tidied)
    }

    /// Takes all jobs out. Their keys are dead.
    pub(crate) fn take_all(&mut self) -> DrainedTable<J> {
        self.dead += self.armed as usize;
        self.armed = 0;
        self.live = 0;
        DrainedTable {
            slots: std::mem::replace(&mut self.slots, Pages::new()),
            _free: std::mem::take(&mut self.free),
            _named: std::mem::take(&mut self.named),
        }
    }

    // For the timer.

    /// Swaps the inbox for an empty one, whose memory is used again.
    pub(crate) fn swap_inbox(&mut self, empty: &mut Inbox) {
        debug_assert!(empty.is_empty());
        self.wake_at = MonoNanos::MIN;
        std::mem::swap(&mut self.inbox, empty);
    }

    /// The job that a key which has come due stands for; `None` for a dead one.
    pub(crate) fn take_due(&mut self, tag: Tag) -> Option<&J> {
        if let Some(Slot {
            job: Some(job),
            armed,
        }) = self.slots.get_mut(self.shard.index(tag.slot()))
            && *armed == tag
        {
            *armed = Tag::NONE;
            self.armed -= 1;
            return Some(job);
        }
        self.dead -= 1;
        None
    }

    /// The timer leaves so many keys to others, for
    /// [`take_handed_over`](Table::take_handed_over).
    pub(crate) fn hand_over(&mut self, count: usize) {
        self.handed_over += count;
    }

    /// Adds the jobs that these keys stand for, without the dead ones.
    pub(crate) fn take_handed_over(&mut self, tags: &[Tag], jobs: &mut Vec<J>) -> Wake {
        self.handed_over = self.handed_over.saturating_sub(tags.len());
        // A look at all of them first: so their memory comes into the caches side
        // by side, and not one after the other.
        let live = tags.iter().filter(|tag| self.live_at(tag.slot()).is_some());
        jobs.reserve(live.count());
        jobs.extend(tags.iter().filter_map(|tag| self.take_due(*tag).cloned()));
        self.wake_if(self.is_sweep_due())
    }

    /// Whether a slot still waits for this key.
    pub(crate) fn is_alive(&self, tag: Tag) -> bool {
        let slot = self.at(tag.slot());
        slot.is_some_and(|slot| slot.armed == tag)
    }

    /// Whether the timer is to look for dead keys: whether it sweeps goes by all tables
    /// together.
    fn is_sweep_due(&self) -> bool {
        self.excess() > self.tolerated
    }

    /// How many more dead keys there are than are allowed.
    fn excess(&self) -> isize {
        self.dead as isize - self.allowed_dead() as isize
    }

    fn allowed_dead(&self) -> usize {
        self.handed_over + self.armed as usize + FEW_DEAD
    }

    /// How many dead keys there are, and how many there may be before a sweep is due.
    pub(crate) fn count_dead(&self) -> (usize, usize) {
        (self.dead, self.allowed_dead())
    }

    /// A dead key is gone from the heap.
    pub(crate) fn swept(&mut self) {
        self.dead -= 1;
    }

    /// The timer is about to sleep until `until`, will not look before `not_before`,
    /// and need not be woken for so many more dead keys. `false` when there is work
    /// for it already.
    pub(crate) fn fall_asleep(
        &mut self,
        until: MonoNanos,
        not_before: MonoNanos,
        tolerated: usize,
    ) -> bool {
        if !self.inbox.is_empty() || self.is_tidying_due() {
            return false;
        }
        self.tolerated = self.excess() + tolerated as isize;
        self.wake_at = until;
        self.not_before = not_before;
        true
    }

    fn wake_if(&mut self, needed: bool) -> Wake {
        // `MIN` means that it is awake, or that somebody has woken it.
        if needed && self.wake_at != MonoNanos::MIN {
            self.wake_at = MonoNanos::MIN;
            return Wake::Timer;
        }
        Wake::No
    }
}

/// Memory that is not needed any more.
#[derive(Debug)]
pub(crate) struct FreedMemory<J> {
    _pages: Vec<Page<Slot<J>>>,
    _list: Vec<Page<Slot<J>>>,
    _slots: Pages<Slot<J>>,
    _free: Vec<u32>,
    _named: HashMap<JobId, u32>,
}

impl<J> Default for FreedMemory<J> {
    fn default() -> Self {
        Self {
            _pages: Vec::new(),
            _list: Vec::new(),
            _slots: Pages::new(),
            _free: Vec::new(),
            _named: HashMap::new(),
        }
    }
}

/// What was in a table, and the memory of it.
#[derive(Debug)]
pub(crate) struct DrainedTable<J> {
    slots: Pages<Slot<J>>,
    _free: Vec<u32>,
    _named: HashMap<JobId, u32>,
}

impl<J> DrainedTable<J> {
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &J> {
        self.slots.iter().filter_map(|slot| slot.job.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::heap::TimerQueue;

    #[derive(Clone, Debug)]
    struct Entry(JobId);

    impl TableEntry for Entry {
        fn id(&self) -> &JobId {
            &self.0
        }

        fn is_named(&self) -> bool {
            false
        }

        fn is_done(&self) -> bool {
            false
        }
    }

    const NOW: Now = Now { mono: 0, wall: 0 };

    /// A table with so many jobs that are due now, whose keys the timer has handed over,
    /// and so many that are due later.
    fn handed_over(due: u32, later: u32) -> (Table<Entry>, Vec<Tag>) {
        let shard = Shard { number: 0, bits: 0 };
        let random = fastrand::Rng::with_seed(1);
        let mut table = Table::new(shard, Counts::default(), random);
        for n in 0..due + later {
            let Place { slot, id } = table.place(NOW).unwrap();
            table.insert(slot, Entry(id));
            let at = Due::Mono(if n < due { 0 } else { 1_000 });
            assert_eq!(table.arm(slot, at, Kind::Start, NOW), Wake::No, "awake");
        }
        let (mut inbox, mut queue) = (Inbox::with_room(), TimerQueue::default());
        table.swap_inbox(&mut inbox);
        inbox.mono.move_to(&mut queue);
        let keys = std::iter::from_fn(|| queue.pop_due(0));
        let tags: Vec<_> = keys.map(Key::tag).collect();
        table.hand_over(tags.len());
        (table, tags)
    }

    #[test]
    fn no_sweep_looks_for_dead_keys_that_were_handed_over() {
        let (mut table, tags) = handed_over(1_000, 0);
        for tag in &tags {
            assert!(table.remove(tag.slot()).0.is_some());
        }
        let (dead, allowed) = table.count_dead();
        assert!(dead == 1_000 && dead <= allowed, "{dead}, {allowed}");
        let mut jobs = Vec::new();
        let _ = table.take_handed_over(&tags, &mut jobs);
        assert!(jobs.is_empty());
        assert_eq!(table.count_dead(), (0, FEW_DEAD));
    }

    #[test]
    fn taking_what_was_handed_over_wakes_the_timer_for_a_sweep_that_is_due_by_that() {
        let (mut table, tags) = handed_over(1_000, 1_000);
        for slot in 1_000..2_000 {
            assert!(table.remove(slot).0.is_some());
        }
        while table.tidy().is_some() {}
        let (dead, allowed) = table.count_dead();
        assert!(table.fall_asleep(1_000, 0, allowed - dead));
        let mut jobs = Vec::new();
        let woken = table.take_handed_over(&tags, &mut jobs);
        assert_eq!(jobs.len(), 1_000);
        let (dead, allowed) = table.count_dead();
        assert!(dead > allowed);
        assert_eq!(woken, Wake::Timer);
    }

    fn table(bits: u32) -> Table<Entry> {
        let shard = Shard { number: 0, bits };
        Table::new(shard, Counts::default(), fastrand::Rng::with_seed(1))
    }

    /// So many bits tell the table that each has two slots.
    const TWO_SLOTS: u32 = MAX_SLOTS.ilog2() - 1;

    fn id_of_slot(slot: u32) -> JobId {
        JobId::generated(1, slot, 1)
    }

    #[test]
    fn a_restored_job_gets_the_slot_of_its_id_if_it_is_of_this_table_and_free() {
        let mut table = table(2);
        // The lower slots of this table are free ones then.
        assert_eq!(table.place_at_hint(&id_of_slot(5 << 2)), Some(5 << 2));
        assert_eq!(table.slots(), 6);
        table.insert(5 << 2, Entry(id_of_slot(5 << 2)));
        assert_eq!(table.place_at_hint(&id_of_slot(5 << 2)), None, "taken");
        assert_eq!(table.place_at_hint(&id_of_slot(6 << 2 | 1)), None);
        assert_eq!(table.place_at_hint(&id_of_slot(2 << 2)), Some(2 << 2));
        table.insert(2 << 2, Entry(id_of_slot(2 << 2)));
        assert_eq!(table.place_at_hint(&"a name".into()), None);
        // Whoever comes without a hint gets each of the others, and none twice.
        for index in [4, 3, 1, 0, 6, 7] {
            let slot = table.slot();
            assert_eq!(slot, Some(index << 2));
            let slot = slot.unwrap();
            table.insert(slot, Entry(id_of_slot(slot)));
        }
    }

    /// A strange id would else cost gigabytes.
    #[test]
    fn the_slot_of_an_id_that_is_far_off_is_not_asked_for() {
        let mut none_live = table(0);
        assert_eq!(none_live.place_at_hint(&id_of_slot(65)), None);
        assert_eq!(none_live.slots(), 0);
        assert_eq!(none_live.place_at_hint(&id_of_slot(64)), Some(64));
        let mut with_three = table(0);
        for slot in 0..3 {
            let place = with_three.place_at_hint(&id_of_slot(slot));
            assert_eq!(place, Some(slot));
            with_three.insert(slot, Entry(id_of_slot(slot)));
        }
        assert_eq!(with_three.place_at_hint(&id_of_slot(77)), None);
        assert_eq!(with_three.slots(), 3);
        assert_eq!(with_three.place_at_hint(&id_of_slot(76)), Some(76));
        // It has two slots, and no third.
        let mut small = table(TWO_SLOTS);
        assert_eq!(small.place_at_hint(&id_of_slot(2 << TWO_SLOTS)), None);
    }

    #[test]
    fn a_full_table_says_how_many_are_in_it() {
        let mut table = table(TWO_SLOTS);
        for index in 0..2 {
            let Place { slot, id } = table.place(NOW).unwrap();
            assert_eq!(slot, index << TWO_SLOTS);
            table.insert(slot, Entry(id));
        }
        assert_eq!(table.place(NOW).unwrap_err(), 2);
        assert!(table.remove(0).0.is_some());
        assert_eq!(table.place(NOW).unwrap().slot, 0);
    }

    #[test]
    fn an_id_says_when_it_was_made_to_a_4096th_of_a_millisecond() {
        let mut table = table(0);
        for (wall, stamp) in [
            (0, 1),
            (7_500_000, 7 << 12 | 0x800),
            (8_999_999, 8 << 12 | 0xfff),
        ] {
            let id = table.place(Now { mono: 0, wall }).unwrap().id;
            assert_eq!(
                id.stamp(),
                Some(stamp),
                "the first is 1, for 0 was before it"
            );
        }
    }

    #[test]
    fn a_place_that_was_given_up_is_filled_by_no_late_answer_and_is_the_next_ones() {
        let mut table = table(0);
        let slot = table.slot().unwrap();
        let name = "a name".into();
        table.reserve(slot, Some(&name));
        assert!(table.is_reserved(&name) && table.contains(&name));
        table.give_up(slot, Some(&name));
        assert!(!table.is_reserved(&name) && !table.contains(&name));
        assert!(!table.fill(slot, Entry(name.clone())));
        // Twice is once.
        table.give_up(slot, Some(&name));
        assert_eq!(table.live(), 0);
        assert_eq!(table.slot(), Some(slot));
        table.reserve(slot, Some(&name));
        assert!(table.fill(slot, Entry(name)));
        assert_eq!((table.live(), table.slot()), (1, Some(slot + 1)));
    }

    /// A table with so many jobs, whose keys the timer has not collected.
    fn filled(count: usize) -> Table<Entry> {
        let mut table = table(0);
        for _ in 0..count {
            let Place { slot, id } = table.place(NOW).unwrap();
            table.insert(slot, Entry(id));
        }
        table
    }

    fn remove(table: &mut Table<Entry>, slots: impl IntoIterator<Item = usize>) {
        for slot in slots {
            assert!(table.remove(slot as u32).0.is_some());
        }
    }

    #[test]
    fn a_burst_that_has_passed_gives_its_memory_back_in_steps() {
        let mut table = filled(5 * PAGE);
        assert!(table.fall_asleep(1_000, 0, 0));
        remove(&mut table, 10..5 * PAGE - 1);
        assert_eq!(table.remove(5 * PAGE as u32 - 1).1, Wake::Timer);
        assert!(!table.fall_asleep(1_000, 0, 0), "there is work");
        // Four pages, and no more, in one step.
        assert!(table.tidy().is_some());
        assert_eq!((table.slots(), table.free.len()), (PAGE, 5 * PAGE - 10));
        // Then the list of what is free, in two.
        assert!(!table.fall_asleep(1_000, 0, 0), "there is more");
        assert!(table.tidy().is_some());
        assert!(table.tidy().is_some());
        assert!(table.free.iter().all(|at| (*at as usize) < PAGE));
        assert_eq!(table.free.len(), PAGE - 10);
        assert!(table.free.capacity() < 2 * PAGE);
        assert!(table.tidy().is_none());
        assert!(table.fall_asleep(1_000, 0, 0));
        // Each is there once.
        let mut slots: Vec<_> = (10..PAGE)
            .map(|_| {
                let Place { slot, id } = table.place(NOW).unwrap();
                table.insert(slot, Entry(id));
                slot as usize
            })
            .collect();
        slots.sort();
        assert!(slots.into_iter().eq(10..PAGE));
    }

    #[test]
    fn a_table_that_is_empty_after_a_burst_keeps_nothing() {
        let mut table = filled(5 * PAGE);
        table.named.insert("a name".into(), 0);
        table.named.clear();
        remove(&mut table, 0..5 * PAGE);
        while table.tidy().is_some() {}
        let kept = (table.slots(), table.free.capacity(), table.named.capacity());
        assert_eq!(kept, (0, 0, 0));
        assert_eq!(table.slot(), Some(0));
    }

    #[test]
    fn slots_are_given_back_when_three_quarters_are_free_and_not_with_each_job() {
        let mut page = filled(PAGE);
        remove(&mut page, 10..PAGE);
        assert!(page.tidy().is_none(), "one page is kept");

        let mut quarter = filled(4 * PAGE);
        remove(&mut quarter, PAGE + 1..4 * PAGE);
        assert!(quarter.tidy().is_none(), "more than a quarter is taken");
        remove(&mut quarter, [PAGE]);
        while quarter.tidy().is_some() {}
        assert_eq!(quarter.slots(), PAGE);

        // Ten, and one behind them that keeps the slots below it.
        let mut table = filled(4 * PAGE);
        remove(&mut table, (10..3_000).chain(3_001..4 * PAGE));
        while table.tidy().is_some() {}
        assert_eq!(table.slots(), 3_001);
        remove(&mut table, [3_000]);
        for slot in 0..5 {
            assert!(table.tidy().is_none(), "{slot} have gone");
            remove(&mut table, [slot]);
        }
        assert!(table.tidy().is_some(), "more have gone than are left");
        assert!(table.slots() < PAGE);
    }

    #[test]
    fn a_list_of_free_slots_that_was_used_up_needs_no_tidying() {
        let mut table = filled(5 * PAGE);
        remove(&mut table, 10..5 * PAGE);
        assert!(table.tidy().is_some());
        for _ in 10..PAGE {
            let Place { slot, id } = table.place(NOW).unwrap();
            table.insert(slot, Entry(id));
        }
        // This looked through all entries of slots that are gone.
        assert_eq!(table.slot(), Some(PAGE as u32));
        assert!(table.free.is_empty() && table.tidy().is_none());
        assert!(table.fall_asleep(1_000, 0, 0));
    }

    #[test]
    fn a_table_whose_jobs_were_taken_has_dead_keys_and_no_jobs() {
        let mut table = filled(3);
        for slot in 0..3 {
            let _ = table.arm(slot, Due::Mono(1_000), Kind::Start, NOW);
        }
        assert_eq!(table.take_all().jobs().count(), 3);
        assert_eq!((table.live(), table.slots()), (0, 0));
        assert_eq!(table.count_dead(), (3, FEW_DEAD));
    }

    #[test]
    fn the_timer_is_woken_for_what_is_due_before_it_looks_and_only_once() {
        let mut table = filled(1);
        let mut empty = Inbox::with_room();
        let mut woken = |until: i64, not_before: i64, due: i64| {
            table.swap_inbox(&mut empty);
            empty = Inbox::with_room();
            assert!(table.fall_asleep(until, not_before, 100));
            let mut arm = || table.arm(0, Due::Mono(due), Kind::Start, NOW);
            (arm(), arm())
        };
        assert_eq!(woken(1_000, 0, 999), (Wake::Timer, Wake::No));
        assert_eq!(woken(1_000, 0, 1_000), (Wake::No, Wake::No));
        // It is not going to look before, for something was due just now.
        assert_eq!(woken(1_000, 1_000, 10), (Wake::No, Wake::No));
        // It looks at what there is before it sleeps again.
        assert!(!table.fall_asleep(1_000, 0, 100));
        table.swap_inbox(&mut empty);
        empty = Inbox::with_room();
        assert!(table.fall_asleep(1_000, 0, 100));
        // It has come by itself, and is awake.
        table.swap_inbox(&mut empty);
        let early = table.arm(0, Due::Mono(1), Kind::Start, NOW);
        assert_eq!(early, Wake::No);
    }

    #[test]
    fn the_timer_is_woken_for_dead_keys_when_there_are_more_than_it_tolerates() {
        let mut table = filled(101);
        for slot in 0..100 {
            let _ = table.arm(slot, Due::Mono(1_000), Kind::Start, NOW);
        }
        let mut empty = Inbox::with_room();
        table.swap_inbox(&mut empty);
        // One that leaves is one dead key more, and one living less.
        assert!(table.fall_asleep(1_000, 0, 2));
        assert_eq!((table.disarm(0), table.disarm(1)), (Wake::No, Wake::Timer));
        assert!(table.fall_asleep(1_000, 0, 1));
        let mut arm = |slot| table.arm(slot, Due::Mono(2_000), Kind::Start, NOW);
        assert_eq!(arm(100), Wake::No, "a new one");
        // The new one allows for one more.
        assert_eq!([arm(2), arm(3), arm(4)], [Wake::No, Wake::No, Wake::Timer]);
    }
}
