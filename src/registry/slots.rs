//! [`Slots`]: the slots of one table, free or in use.

use crate::registry::pages::{PAGE, Page, Pages};
use crate::timer::key::{MAX_SLOTS, Tag};

/// Which of an app's tables a slot belongs to. The tables share the numbers of slots: the
/// low bits of a slot are the number of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// The number of this table.
    pub(crate) number: u32,
    /// How many bits hold the number of a table.
    pub(crate) bits: u32,
}

impl Shard {
    fn index(self, slot: u32) -> usize {
        (slot >> self.bits) as usize
    }

    fn slot(self, index: usize) -> u32 {
        (index as u32) << self.bits | self.number
    }

    fn max_slots(self) -> usize {
        MAX_SLOTS >> self.bits
    }
}

/// There may be a million of these, so this has no field that is not needed.
#[derive(Debug)]
pub(crate) struct Slot<J> {
    pub(crate) job: Option<J>,
    /// The key that the slot waits for. Without a job, [`Tag::RESERVED`] or
    /// [`Tag::NONE`].
    pub(crate) armed: Tag,
}

impl<J> Slot<J> {
    const FREE: Self = Self {
        job: None,
        armed: Tag::NONE,
    };

    /// For a job that its store does not have yet.
    pub(crate) const RESERVED: Self = Self {
        job: None,
        armed: Tag::RESERVED,
    };

    /// For a live job, without a key.
    pub(crate) fn with(job: J) -> Self {
        Self {
            job: Some(job),
            armed: Tag::NONE,
        }
    }

    fn is_free(&self) -> bool {
        self.job.is_none() && self.armed == Tag::NONE
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.armed == Tag::RESERVED
    }
}

/// The fields that each scheduling uses come first, for the sake of cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Slots<J> {
    pages: Pages<Slot<J>>,
    /// The indices of the free slots. An entry is stale if its slot is in use again or
    /// was truncated.
    free: Vec<u32>,
    shard: Shard,
    in_use: u32,
    /// Slots freed since memory was last returned.
    freed: u32,
    /// The entries of `free` before this position may be of truncated slots.
    stale_before: usize,
}

impl<J> Slots<J> {
    pub(crate) fn new(shard: Shard) -> Self {
        Self {
            pages: Pages::new(),
            free: Vec::new(),
            shard,
            in_use: 0,
            freed: 0,
            stale_before: 0,
        }
    }

    /// How many slots are in use: they have a job or are reserved.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use as usize
    }

    /// How many slots there are, in use and free.
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    /// The slot at an index below [`len`](Slots::len).
    pub(crate) fn slot_at(&self, index: usize) -> u32 {
        self.shard.slot(index)
    }

    /// Whether the slot has the highest index.
    #[inline]
    pub(crate) fn is_last(&self, slot: u32) -> bool {
        self.shard.index(slot) + 1 == self.pages.len()
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Slot<J>> {
        self.pages.get(self.shard.index(slot))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Slot<J>> {
        self.pages.get_mut(self.shard.index(slot))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot<J>> {
        self.pages.iter()
    }

    /// Returns a free slot, or `None` if the table is full. The slot stays free until
    /// [`occupy`](Slots::occupy), which must follow under the same lock.
    #[inline]
    pub(crate) fn allocate(&mut self) -> Option<u32> {
        loop {
            match self.free.pop() {
                Some(at) if self.pages.get(at as usize).is_some_and(Slot::is_free) => {
                    return Some(self.shard.slot(at as usize));
                }
                // The entry was stale.
                Some(_) => {}
                None if self.pages.len() < self.shard.max_slots() => {
                    let slot = self.shard.slot(self.pages.len());
                    self.pages.push(Slot::FREE);
                    return Some(slot);
                }
                None => return None,
            }
        }
    }

    /// Like [`allocate`](Slots::allocate), for a slot that the caller wants. Returns
    /// whether it is free, belongs to this table, and is not far beyond the others.
    pub(crate) fn allocate_at(&mut self, slot: u32) -> bool {
        /// The ids of a busy process, or of several, have gaps between them. An id that
        /// is not one of ours may name any slot, and would cost gigabytes.
        const SLOTS_PER_JOB: usize = 4;
        const EXTRA_SLOTS: usize = 64;
        let index = self.shard.index(slot);
        let is_here = slot == self.shard.slot(index) && index < self.shard.max_slots();
        if !is_here || index > SLOTS_PER_JOB * self.in_use() + EXTRA_SLOTS {
            return false;
        }
        while self.pages.len() < index {
            self.free.push(self.pages.len() as u32);
            self.pages.push(Slot::FREE);
        }
        match self.pages.get(index) {
            None => {
                self.pages.push(Slot::FREE);
                true
            }
            Some(slot) => slot.is_free(),
        }
    }

    /// Puts a job or a reservation into a free slot.
    #[inline]
    pub(crate) fn occupy(&mut self, slot: u32, content: Slot<J>) {
        if let Some(place) = self.get_mut(slot) {
            debug_assert!(place.is_free(), "the slot is in use");
            *place = content;
        }
        self.in_use += 1;
    }

    /// Frees a slot that is in use, and returns its job.
    #[inline]
    pub(crate) fn vacate(&mut self, slot: u32) -> Option<J> {
        let place = self.get_mut(slot)?;
        let job = std::mem::replace(place, Slot::FREE).job;
        self.free.push(self.shard.index(slot) as u32);
        self.in_use -= 1;
        job
    }

    /// Takes all slots out.
    pub(crate) fn take_all(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.shard))
    }

    // Memory.

    /// Counts a slot that was freed by a job that has left.
    #[inline]
    pub(crate) fn count_freed(&mut self) {
        self.freed = self.freed.saturating_add(1);
    }

    /// Whether [`free_memory`](Slots::free_memory) has something to do.
    #[inline]
    pub(crate) fn is_memory_spare(&self) -> bool {
        self.stale_before > 0 || self.is_truncation_due()
    }

    /// Whether the free slots at the end are to be removed: if few slots are in use, and
    /// not with each job that leaves.
    #[inline]
    fn is_truncation_due(&self) -> bool {
        let (in_use, len) = (self.in_use(), self.pages.len());
        self.freed as usize >= PAGE.min(in_use)
            && len > PAGE
            && in_use <= len / 4
            && self.pages.last().is_some_and(Slot::is_free)
    }

    /// Removes some of the free slots at the end, or some stale entries of the free list.
    /// Returns `None` if there was nothing to do. The caller drops the memory outside its
    /// lock.
    ///
    /// It does a step at a time, since the caller holds the table's lock, and threads that
    /// schedule wait for that. After a burst of a million jobs, a step takes 25 µs, and all
    /// steps together take 4 to 15 ms (`benches/parts.rs`: `slots::free_memory_step`,
    /// `slots::free_memory_all_steps`).
    pub(crate) fn free_memory(&mut self) -> Option<SpareMemory<J>> {
        const PAGES_PER_STEP: usize = 4;
        if !self.is_truncation_due() {
            return self.drop_stale_entries();
        }
        let mut spare = SpareMemory::default();
        for _ in 0..PAGES_PER_STEP * PAGE {
            match self.pages.pop_if(Slot::is_free) {
                Some(page) => spare._pages.extend(page),
                None => break,
            }
        }
        if !self.is_truncation_due() {
            self.freed = 0;
            self.stale_before = self.free.len();
            let (page, list) = self.pages.shrink();
            spare._pages.extend(page);
            spare._list = list;
        }
        if self.in_use == 0 && self.pages.len() <= PAGE {
            spare._last = std::mem::replace(&mut self.pages, Pages::new());
            spare._free = std::mem::take(&mut self.free);
            self.stale_before = 0;
        }
        Some(spare)
    }

    /// Removes some of the free list's entries of truncated slots.
    fn drop_stale_entries(&mut self) -> Option<SpareMemory<J>> {
        const ENTRIES_PER_STEP: usize = 4_096;
        let end = self.stale_before.min(self.free.len());
        if end == 0 {
            self.stale_before = 0;
            return None;
        }
        self.stale_before = end.saturating_sub(ENTRIES_PER_STEP);
        for at in (self.stale_before..end).rev() {
            if self.free[at] as usize >= self.pages.len() {
                // The entry that takes its place was looked at, or was added after the
                // truncation.
                self.free.swap_remove(at);
            }
        }
        let mut spare = SpareMemory::default();
        if self.stale_before == 0 && self.free.len() < self.free.capacity() / 4 {
            let few = Vec::from(&self.free[..]);
            spare._free = std::mem::replace(&mut self.free, few);
        }
        Some(spare)
    }
}

/// Memory that is not needed any more. Dropping it may take long.
#[derive(Debug)]
pub(crate) struct SpareMemory<J> {
    _pages: Vec<Page<Slot<J>>>,
    _list: Vec<Page<Slot<J>>>,
    _last: Pages<Slot<J>>,
    _free: Vec<u32>,
}

impl<J> Default for SpareMemory<J> {
    fn default() -> Self {
        Self {
            _pages: Vec::new(),
            _list: Vec::new(),
            _last: Pages::new(),
            _free: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With this many bits for the table, a table has two slots.
    const TWO_SLOTS: u32 = MAX_SLOTS.ilog2() - 1;

    fn slots(bits: u32) -> Slots<()> {
        Slots::new(Shard { number: 0, bits })
    }

    fn occupy(slots: &mut Slots<()>) -> Option<u32> {
        let slot = slots.allocate()?;
        slots.occupy(slot, Slot::with(()));
        Some(slot)
    }

    fn filled(count: usize) -> Slots<()> {
        let mut slots = slots(0);
        assert!((0..count).all(|_| occupy(&mut slots).is_some()));
        slots
    }

    fn vacate(slots: &mut Slots<()>, which: impl IntoIterator<Item = usize>) {
        for slot in which {
            assert!(slots.vacate(slot as u32).is_some());
            slots.count_freed();
        }
    }

    #[test]
    fn a_slot_is_allocated_on_request_if_it_is_free_and_of_this_table() {
        let mut slots = slots(2);
        assert!(slots.allocate_at(5 << 2));
        assert_eq!(slots.len(), 6, "the slots before it are free");
        slots.occupy(5 << 2, Slot::with(()));
        assert!(!slots.allocate_at(5 << 2), "in use");
        assert!(!slots.allocate_at(6 << 2 | 1), "of another table");
        assert!(slots.allocate_at(2 << 2));
        slots.occupy(2 << 2, Slot::with(()));
        // Each of the other slots is allocated once.
        for index in [4, 3, 1, 0, 6, 7] {
            assert_eq!(occupy(&mut slots), Some(index << 2));
        }
    }

    #[test]
    fn a_slot_far_beyond_the_others_is_not_allocated_on_request() {
        let mut empty = slots(0);
        assert!(!empty.allocate_at(65));
        assert_eq!(empty.len(), 0);
        assert!(empty.allocate_at(64));
        let mut with_three = filled(3);
        assert!(!with_three.allocate_at(77));
        assert_eq!(with_three.len(), 3);
        assert!(with_three.allocate_at(76));
        let mut with_two_slots = slots(TWO_SLOTS);
        assert!(!with_two_slots.allocate_at(2 << TWO_SLOTS));
    }

    #[test]
    fn a_full_table_allocates_no_slot_until_one_is_freed() {
        let mut slots = slots(TWO_SLOTS);
        assert_eq!(occupy(&mut slots), Some(0));
        assert_eq!(occupy(&mut slots), Some(1 << TWO_SLOTS));
        assert_eq!(occupy(&mut slots), None);
        vacate(&mut slots, [0]);
        assert_eq!(occupy(&mut slots), Some(0));
    }

    #[test]
    fn after_a_burst_memory_is_freed_in_steps() {
        let mut slots = filled(5 * PAGE);
        vacate(&mut slots, 10..5 * PAGE);
        assert!(slots.is_memory_spare());
        // The first step removes four pages.
        assert!(slots.free_memory().is_some());
        assert_eq!((slots.len(), slots.free.len()), (PAGE, 5 * PAGE - 10));
        // Two more shorten the free list.
        assert!(slots.is_memory_spare());
        assert!(slots.free_memory().is_some());
        assert!(slots.free_memory().is_some());
        assert!(slots.free.iter().all(|at| (*at as usize) < PAGE));
        assert_eq!(slots.free.len(), PAGE - 10);
        assert!(slots.free.capacity() < 2 * PAGE);
        assert!(slots.free_memory().is_none() && !slots.is_memory_spare());
        // Each free slot is allocated once.
        let mut allocated: Vec<_> = (10..PAGE).map(|_| occupy(&mut slots).unwrap()).collect();
        allocated.sort();
        assert!(allocated.into_iter().eq(10..PAGE as u32));
    }

    #[test]
    fn no_memory_is_kept_when_no_slot_is_in_use_after_a_burst() {
        let mut slots = filled(5 * PAGE);
        vacate(&mut slots, 0..5 * PAGE);
        while slots.free_memory().is_some() {}
        assert_eq!((slots.len(), slots.free.capacity()), (0, 0));
        assert_eq!(slots.allocate(), Some(0));
    }

    #[test]
    fn slots_are_removed_if_three_quarters_are_free_and_not_with_each_job() {
        let mut one_page = filled(PAGE);
        vacate(&mut one_page, 10..PAGE);
        assert!(one_page.free_memory().is_none(), "one page is kept");

        let mut quarter = filled(4 * PAGE);
        vacate(&mut quarter, PAGE + 1..4 * PAGE);
        let none = quarter.free_memory().is_none();
        assert!(none, "more than a quarter is in use");
        vacate(&mut quarter, [PAGE]);
        while quarter.free_memory().is_some() {}
        assert_eq!(quarter.len(), PAGE);

        // Ten slots in use, and one behind them that keeps the free ones before it.
        let mut slots = filled(4 * PAGE);
        vacate(&mut slots, (10..3_000).chain(3_001..4 * PAGE));
        while slots.free_memory().is_some() {}
        assert_eq!(slots.len(), 3_001);
        vacate(&mut slots, [3_000]);
        for slot in 0..5 {
            assert!(slots.free_memory().is_none(), "{slot} jobs have left");
            vacate(&mut slots, [slot]);
        }
        let some = slots.free_memory().is_some();
        assert!(some, "more jobs have left than are still there");
        assert!(slots.len() < PAGE);
    }

    #[test]
    fn a_free_list_that_was_used_up_has_no_stale_entries() {
        let mut slots = filled(5 * PAGE);
        vacate(&mut slots, 10..5 * PAGE);
        assert!(slots.free_memory().is_some());
        for _ in 10..PAGE {
            assert!(occupy(&mut slots).is_some());
        }
        // This pops all stale entries.
        assert_eq!(slots.allocate(), Some(PAGE as u32));
        assert!(slots.free.is_empty());
        assert!(slots.free_memory().is_none() && !slots.is_memory_spare());
    }
}
