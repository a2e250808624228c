//! [`Table`]: the live jobs of an app, or of one of its shards.
//!
//! Every job that has not ended has a slot in one table of its app, and nothing else of
//! the app holds it. A finished job may keep its slot for a moment, until many are
//! removed together; it is not found any more.
//!
//! The timer's queues hold keys only. A key is *dead* if its slot does not wait for it any
//! more: the slot's [`Tag`] is not the key's. Threads that schedule push new keys into the
//! table's inbox, and the timer's thread collects them.
//!
//! A table is used under a lock, and none of its methods runs user code: it returns the
//! jobs that it removes, and the caller drops them outside the lock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::BitOrAssign;

use crate::registry::ids::{Counters, IdSource};
use crate::registry::slots::{Shard, Slot, Slots, SpareMemory};
use crate::timer::inbox::Inbox;
use crate::timer::key::{Key, KeyKind, Tag};
use crate::value::id::JobId;
use crate::value::time_units::{Due, MonoNanos, Now};

/// What a table needs to know of a job.
pub(crate) trait TableEntry: Clone {
    fn id(&self) -> &JobId;
    /// Whether the id is in the index of names, because it does not contain the job's
    /// slot: a user chose it, or another process made it.
    fn is_named(&self) -> bool;
    /// Whether the job has finished, and is in the table only until it is removed.
    fn is_done(&self) -> bool;
}

/// The fields that each scheduling uses come first: they lie in the first 256 bytes,
/// which move between the cores that schedule.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Table<J> {
    slots: Slots<J>,
    /// Keys that the timer has not collected.
    inbox: Inbox,
    ids: IdSource,
    /// The timer sleeps until this time. `MIN` while it is awake: it will look at the
    /// inbox before it sleeps again.
    wake_at: MonoNanos,
    /// Slots that wait for a key.
    armed: u32,
    /// Dead keys, in the inbox, in a timer queue or handed over.
    dead: usize,
    /// Keys that the timer has taken out of its queues, and left to the executor.
    handed_over: usize,
    /// The timer will not look before this time, whatever is due.
    not_before: MonoNanos,
    /// The excess of dead keys above which the timer is woken for a sweep. It is set when
    /// the timer falls asleep: a sweep is due only if all tables together have too many.
    tolerated: isize,
    named: HashMap<JobId, u32>,
}

/// What the caller must do once it has released the table's lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) enum Wake {
    #[default]
    No,
    /// Wake the timer's thread: it sleeps too long, or has keys to collect or to sweep,
    /// or memory to free.
    Timer,
}

impl BitOrAssign for Wake {
    /// Wakes if one of the two does: a table says it only once.
    fn bitor_assign(&mut self, other: Self) {
        if other != Wake::No {
            *self = other;
        }
    }
}

/// A free slot for a new job, and the id that was made for the job.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) slot: u32,
    pub(crate) id: JobId,
}

/// Up to this many dead keys are not worth a sweep.
const FEW_DEAD: usize = 64;

impl<J: TableEntry> Table<J> {
    pub(crate) fn new(shard: Shard, counters: Counters, random: fastrand::Rng) -> Self {
        Self {
            slots: Slots::new(shard),
            inbox: Inbox::with_room(),
            ids: IdSource::new(counters, random),
            wake_at: MonoNanos::MIN,
            armed: 0,
            dead: 0,
            handed_over: 0,
            not_before: MonoNanos::MIN,
            tolerated: 0,
            named: HashMap::new(),
        }
    }

    /// How many jobs and reserved slots there are.
    pub(crate) fn live(&self) -> usize {
        self.slots.in_use()
    }

    /// Whether the slot has the highest index.
    #[inline]
    pub(crate) fn is_last(&self, slot: u32) -> bool {
        self.slots.is_last(slot)
    }

    /// The slot at an index below [`slot_count`](Table::slot_count).
    pub(crate) fn slot_at(&self, index: usize) -> u32 {
        self.slots.slot_at(index)
    }

    /// How many slots there are, in use and free.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Returns a free slot and an id for a new job. If the table is full, returns the
    /// number of jobs in it. [`insert`](Table::insert) or [`reserve`](Table::reserve) must
    /// follow under the same lock.
    #[inline]
    pub(crate) fn allocate(&mut self, now: Now) -> Result<Reservation, usize> {
        let slot = self.slots.allocate().ok_or(self.live())?;
        let id = self.ids.next_id(now, slot);
        Ok(Reservation { slot, id })
    }

    /// Returns a free slot, if there is one.
    pub(crate) fn allocate_slot(&mut self) -> Option<u32> {
        self.slots.allocate()
    }

    /// Returns the slot that the id of a restored job contains, if that can be used. A job
    /// in this slot is found by its id without the index of names.
    /// [`insert`](Table::insert) must follow under the same lock.
    pub(crate) fn allocate_slot_of(&mut self, id: &JobId) -> Option<u32> {
        let slot = id.slot_hint()?;
        self.slots.allocate_at(slot).then_some(slot)
    }

    /// Whether a live job has this id, or a slot is reserved for it.
    pub(crate) fn contains(&self, id: &JobId) -> bool {
        self.named(id).is_some() || self.find(id).is_some()
    }

    /// Whether a slot is reserved for this name.
    pub(crate) fn is_reserved(&self, id: &JobId) -> bool {
        let slot = self.named.get(id).and_then(|slot| self.slots.get(*slot));
        slot.is_some_and(Slot::is_reserved)
    }

    /// Reserves a free slot for a job that is not to be found yet. [`fill`](Table::fill)
    /// or [`give_up`](Table::give_up) must follow.
    pub(crate) fn reserve(&mut self, slot: u32, name: Option<&JobId>) {
        if let Some(id) = name {
            self.named.insert(id.clone(), slot);
        }
        self.slots.occupy(slot, Slot::RESERVED);
    }

    /// Puts a job into its reserved slot. Returns `false` if the slot is not reserved any
    /// more.
    pub(crate) fn fill(&mut self, slot: u32, job: J) -> bool {
        match self.slots.get_mut(slot) {
            Some(place) if place.is_reserved() => {
                *place = Slot::with(job);
                true
            }
            _ => false,
        }
    }

    /// Frees a reserved slot. Does nothing if the slot is not reserved.
    pub(crate) fn give_up(&mut self, slot: u32, name: Option<&JobId>) {
        if self.slots.get(slot).is_some_and(Slot::is_reserved) {
            self.slots.vacate(slot);
            if let Some(id) = name {
                self.named.remove(id);
            }
        }
    }

    /// Makes sure that no id from here on sorts before this one.
    pub(crate) fn ids_after(&mut self, id: &JobId) {
        self.ids.ids_after(id);
    }

    /// Puts a job into a free slot. The caller has checked under this lock that the table
    /// does not [contain](Table::contains) the job's id.
    #[inline]
    pub(crate) fn insert(&mut self, slot: u32, job: J) {
        if job.is_named() {
            match self.named.entry(job.id().clone()) {
                Entry::Vacant(entry) => entry.insert(slot),
                Entry::Occupied(_) => return debug_assert!(false, "two jobs of one id"),
            };
        }
        self.slots.occupy(slot, Slot::with(job));
    }

    /// The job in a slot, finished or not.
    pub(crate) fn get(&self, slot: u32) -> Option<&J> {
        self.slots.get(slot)?.job.as_ref()
    }

    /// The live job in a slot.
    pub(crate) fn live_at(&self, slot: u32) -> Option<&J> {
        self.get(slot).filter(|job| !job.is_done())
    }

    /// The slot of an id in the index of names. Most apps have no names, and then no hash
    /// is computed.
    fn named(&self, id: &JobId) -> Option<u32> {
        if self.named.is_empty() {
            return None;
        }
        self.named.get(id).copied()
    }

    /// The live job of this id.
    pub(crate) fn find(&self, id: &JobId) -> Option<&J> {
        let by_slot = id.slot_hint().and_then(|slot| self.live_at(slot));
        by_slot
            .filter(|job| job.id() == id)
            .or_else(|| self.get(self.named(id)?))
    }

    /// Has the slot wait for a new key, due at `due`. The key that it waited for is dead.
    #[inline]
    pub(crate) fn arm(&mut self, slot: u32, due: Due, kind: KeyKind, now: Now) -> Wake {
        let Some(Slot {
            job: Some(_),
            armed,
        }) = self.slots.get_mut(slot)
        else {
            return Wake::No;
        };
        let tag = Tag::new(self.ids.next_sequence_number(), kind, slot);
        let is_new = std::mem::replace(armed, tag) == Tag::NONE;
        if is_new {
            self.armed += 1;
        } else {
            self.dead += 1;
        }
        // The timer is woken for many keys, so that it never has to collect a million at
        // once while something is due.
        let are_many = match due {
            Due::Mono(at) => self.inbox.mono.push(Key::new(at, tag)),
            Due::Wall(at) => self.inbox.wall.push(Key::new(at, tag)),
        };
        let due = due.as_mono(now);
        let is_early = due < self.wake_at && self.not_before < self.wake_at;
        self.wake_if(is_early || are_many || (!is_new && self.is_sweep_due()))
    }

    /// Has the slot wait for no key.
    pub(crate) fn disarm(&mut self, slot: u32) -> Wake {
        if let Some(Slot {
            job: Some(_),
            armed,
        }) = self.slots.get_mut(slot)
            && std::mem::replace(armed, Tag::NONE) != Tag::NONE
        {
            self.armed -= 1;
            self.dead += 1;
        }
        self.wake_if(self.is_sweep_due())
    }

    /// Removes the job in a slot and frees the slot. The caller drops the job once it has
    /// released the lock.
    pub(crate) fn remove(&mut self, slot: u32) -> (Option<J>, Wake) {
        let wake = self.disarm(slot);
        if self.get(slot).is_none() {
            return (None, wake);
        }
        let Some(job) = self.slots.vacate(slot) else {
            return (None, wake);
        };
        self.slots.count_freed();
        if job.is_named() {
            self.named.remove(job.id());
        }
        match wake {
            Wake::Timer => (Some(job), wake),
            Wake::No => (Some(job), self.wake_if(self.slots.is_memory_spare())),
        }
    }

    /// Removes all jobs. Their keys are dead.
    pub(crate) fn take_all(&mut self) -> DrainedTable<J> {
        self.dead += self.armed as usize;
        self.armed = 0;
        DrainedTable {
            slots: self.slots.take_all(),
            _named: std::mem::take(&mut self.named),
        }
    }

    // For the timer.

    /// Returns some of the memory that is not needed any more, or `None` if there was
    /// none. The caller drops it once it has released the lock.
    pub(crate) fn free_memory(&mut self) -> Option<FreedMemory<J>> {
        let spare = self.slots.free_memory()?;
        let is_empty = self.slots.in_use() == 0 && self.slots.len() == 0;
        Some(FreedMemory {
            _spare: spare,
            _named: is_empty.then(|| std::mem::take(&mut self.named)),
        })
    }

    /// Swaps the inbox for an empty one, to reuse its memory.
    pub(crate) fn swap_inbox(&mut self, empty: &mut Inbox) {
        debug_assert!(empty.is_empty());
        self.wake_at = MonoNanos::MIN;
        std::mem::swap(&mut self.inbox, empty);
    }

    /// Returns the job of a key that has come due. Its slot waits for no key then. Returns
    /// `None` for a dead key.
    pub(crate) fn take_due(&mut self, tag: Tag) -> Option<&J> {
        if let Some(Slot {
            job: Some(job),
            armed,
        }) = self.slots.get_mut(tag.slot())
            && *armed == tag
        {
            *armed = Tag::NONE;
            self.armed -= 1;
            return Some(job);
        }
        self.dead -= 1;
        None
    }

    /// The timer leaves this many due keys to the executor, which passes them to
    /// [`take_handed_over`](Table::take_handed_over).
    pub(crate) fn hand_over(&mut self, count: usize) {
        self.handed_over += count;
    }

    /// Adds the jobs of these keys to `jobs`. A dead key has no job.
    pub(crate) fn take_handed_over(&mut self, tags: &[Tag], jobs: &mut Vec<J>) -> Wake {
        self.handed_over = self.handed_over.saturating_sub(tags.len());
        // Looking at all jobs first lets the processor load their memory in parallel.
        let live = tags.iter().filter(|tag| self.live_at(tag.slot()).is_some());
        jobs.reserve(live.count());
        jobs.extend(tags.iter().filter_map(|tag| self.take_due(*tag).cloned()));
        self.wake_if(self.is_sweep_due())
    }

    /// Whether the slot of this key still waits for it.
    pub(crate) fn is_alive(&self, tag: Tag) -> bool {
        let slot = self.slots.get(tag.slot());
        slot.is_some_and(|slot| slot.armed == tag)
    }

    /// Whether to wake the timer for a sweep. The timer then decides by the counts of all
    /// tables whether it sweeps.
    fn is_sweep_due(&self) -> bool {
        self.excess() > self.tolerated
    }

    /// How many more dead keys there are than allowed. Negative if there are fewer.
    fn excess(&self) -> isize {
        self.dead as isize - self.allowed_dead() as isize
    }

    fn allowed_dead(&self) -> usize {
        self.handed_over + self.armed as usize + FEW_DEAD
    }

    /// Returns how many dead keys there are, and how many there may be before a sweep is
    /// due.
    pub(crate) fn count_dead(&self) -> (usize, usize) {
        (self.dead, self.allowed_dead())
    }

    /// Counts a dead key that the timer has removed from a queue.
    pub(crate) fn swept(&mut self) {
        self.dead -= 1;
    }

    /// The timer is about to sleep until `until`, and will not look before `not_before`.
    /// It need not be woken until there are `tolerated` more dead keys than now.
    ///
    /// Returns `false` if there is work for the timer already.
    pub(crate) fn fall_asleep(
        &mut self,
        until: MonoNanos,
        not_before: MonoNanos,
        tolerated: usize,
    ) -> bool {
        if !self.inbox.is_empty() || self.slots.is_memory_spare() {
            return false;
        }
        self.tolerated = self.excess() + tolerated as isize;
        self.wake_at = until;
        self.not_before = not_before;
        true
    }

    /// Whether the timer was woken since it fell asleep.
    pub(crate) fn is_woken(&self) -> bool {
        self.wake_at == MonoNanos::MIN
    }

    fn wake_if(&mut self, needed: bool) -> Wake {
        // `MIN` means that the timer is awake, or was woken already.
        if needed && self.wake_at != MonoNanos::MIN {
            self.wake_at = MonoNanos::MIN;
            return Wake::Timer;
        }
        Wake::No
    }
}

/// Memory that is not needed any more. Dropping it may take long.
#[derive(Debug)]
pub(crate) struct FreedMemory<J> {
    _spare: SpareMemory<J>,
    _named: Option<HashMap<JobId, u32>>,
}

/// The jobs that were in a table, and the memory of the table.
#[derive(Debug)]
pub(crate) struct DrainedTable<J> {
    slots: Slots<J>,
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
    use crate::registry::pages::PAGE;
    use crate::timer::key::MAX_SLOTS;
    use crate::timer::queue::TimerQueue;

    #[derive(Clone, Debug)]
    struct Job(JobId);

    impl TableEntry for Job {
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

    fn table(bits: u32) -> Table<Job> {
        let shard = Shard { number: 0, bits };
        Table::new(shard, Counters::default(), fastrand::Rng::with_seed(1))
    }

    fn insert(table: &mut Table<Job>) -> u32 {
        let Reservation { slot, id } = table.allocate(NOW).unwrap();
        table.insert(slot, Job(id));
        slot
    }

    /// A table with this many jobs, without keys.
    fn filled(count: usize) -> Table<Job> {
        let mut table = table(0);
        for _ in 0..count {
            insert(&mut table);
        }
        table
    }

    fn remove(table: &mut Table<Job>, slots: impl IntoIterator<Item = usize>) {
        for slot in slots {
            assert!(table.remove(slot as u32).0.is_some());
        }
    }

    /// A table with this many jobs that are due now and this many that are due later. The
    /// timer has handed over the keys of those that are due.
    fn handed_over(due: u32, later: u32) -> (Table<Job>, Vec<Tag>) {
        let mut table = table(0);
        for n in 0..due + later {
            let slot = insert(&mut table);
            let at = Due::Mono(if n < due { 0 } else { 1_000 });
            assert_eq!(table.arm(slot, at, KeyKind::Start, NOW), Wake::No, "awake");
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
    fn dead_keys_that_were_handed_over_cause_no_sweep() {
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
    fn taking_the_handed_over_keys_wakes_the_timer_if_a_sweep_is_due_then() {
        let (mut table, tags) = handed_over(1_000, 1_000);
        for slot in 1_000..2_000 {
            assert!(table.remove(slot).0.is_some());
        }
        while table.free_memory().is_some() {}
        let (dead, allowed) = table.count_dead();
        assert!(table.fall_asleep(1_000, 0, allowed - dead));
        let mut jobs = Vec::new();
        let woken = table.take_handed_over(&tags, &mut jobs);
        assert_eq!(jobs.len(), 1_000);
        let (dead, allowed) = table.count_dead();
        assert!(dead > allowed);
        assert_eq!(woken, Wake::Timer);
    }

    #[test]
    fn a_restored_job_gets_the_slot_that_its_id_contains() {
        let mut table = table(2);
        let id = JobId::generated(1, 5 << 2, 1);
        assert_eq!(table.allocate_slot_of(&id), Some(5 << 2));
        table.insert(5 << 2, Job(id.clone()));
        assert!(table.find(&id).is_some());
        assert_eq!(table.allocate_slot_of(&id), None, "in use");
        assert_eq!(table.allocate_slot_of(&"a name".into()), None);
    }

    #[test]
    fn a_full_table_returns_how_many_jobs_are_in_it() {
        // With two slots.
        let mut table = table(MAX_SLOTS.ilog2() - 1);
        assert_eq!(insert(&mut table), 0);
        insert(&mut table);
        assert_eq!(table.allocate(NOW).unwrap_err(), 2);
        assert!(table.remove(0).0.is_some());
        assert_eq!(table.allocate(NOW).unwrap().slot, 0);
    }

    #[test]
    fn a_reservation_that_was_given_up_cannot_be_filled_and_frees_its_slot() {
        let mut table = table(0);
        let slot = table.allocate_slot().unwrap();
        let name = "a name".into();
        table.reserve(slot, Some(&name));
        assert!(table.is_reserved(&name) && table.contains(&name));
        table.give_up(slot, Some(&name));
        assert!(!table.is_reserved(&name) && !table.contains(&name));
        assert!(!table.fill(slot, Job(name.clone())));
        // Giving it up again does nothing.
        table.give_up(slot, Some(&name));
        assert_eq!(table.live(), 0);
        assert_eq!(table.allocate_slot(), Some(slot));
        table.reserve(slot, Some(&name));
        assert!(table.fill(slot, Job(name)));
        assert_eq!((table.live(), table.allocate_slot()), (1, Some(slot + 1)));
    }

    #[test]
    fn the_timer_is_woken_to_free_memory_and_does_not_sleep_while_there_is_more() {
        let mut table = filled(5 * PAGE);
        assert!(table.fall_asleep(1_000, 0, 0));
        remove(&mut table, 10..5 * PAGE - 1);
        assert_eq!(table.remove(5 * PAGE as u32 - 1).1, Wake::Timer);
        assert!(!table.fall_asleep(1_000, 0, 0));
        while table.free_memory().is_some() {}
        assert!(table.fall_asleep(1_000, 0, 0));
    }

    #[test]
    fn an_empty_table_keeps_no_memory_for_names_after_a_burst() {
        let mut table = filled(5 * PAGE);
        table.named.insert("a name".into(), 0);
        table.named.clear();
        remove(&mut table, 0..5 * PAGE);
        while table.free_memory().is_some() {}
        assert_eq!((table.slot_count(), table.named.capacity()), (0, 0));
    }

    #[test]
    fn a_table_whose_jobs_were_taken_has_dead_keys_and_no_jobs() {
        let mut table = filled(3);
        for slot in 0..3 {
            let _ = table.arm(slot, Due::Mono(1_000), KeyKind::Start, NOW);
        }
        assert_eq!(table.take_all().jobs().count(), 3);
        assert_eq!((table.live(), table.slot_count()), (0, 0));
        assert_eq!(table.count_dead(), (3, FEW_DEAD));
    }

    #[test]
    fn the_timer_is_woken_once_if_a_key_is_due_before_it_would_look() {
        let mut table = filled(1);
        let mut empty = Inbox::with_room();
        let mut woken = |until: i64, not_before: i64, due: i64| {
            table.swap_inbox(&mut empty);
            empty = Inbox::with_room();
            assert!(table.fall_asleep(until, not_before, 100));
            let mut arm = || table.arm(0, Due::Mono(due), KeyKind::Start, NOW);
            (arm(), arm())
        };
        assert_eq!(woken(1_000, 0, 999), (Wake::Timer, Wake::No));
        assert_eq!(woken(1_000, 0, 1_000), (Wake::No, Wake::No));
        // It must not look before 1,000, since something was due just now.
        assert_eq!(woken(1_000, 1_000, 10), (Wake::No, Wake::No));
        // It must collect the keys before it sleeps again.
        assert!(!table.fall_asleep(1_000, 0, 100));
        table.swap_inbox(&mut empty);
        empty = Inbox::with_room();
        assert!(table.fall_asleep(1_000, 0, 100));
        // It collects the keys without having been woken, and so is awake.
        table.swap_inbox(&mut empty);
        let early = table.arm(0, Due::Mono(1), KeyKind::Start, NOW);
        assert_eq!(early, Wake::No);
    }

    #[test]
    fn the_timer_is_woken_if_there_are_more_dead_keys_than_tolerated() {
        let mut table = filled(101);
        for slot in 0..100 {
            let _ = table.arm(slot, Due::Mono(1_000), KeyKind::Start, NOW);
        }
        let mut empty = Inbox::with_room();
        table.swap_inbox(&mut empty);
        // Disarming a slot makes one more dead key, and one fewer is allowed.
        assert!(table.fall_asleep(1_000, 0, 2));
        assert_eq!((table.disarm(0), table.disarm(1)), (Wake::No, Wake::Timer));
        assert!(table.fall_asleep(1_000, 0, 1));
        let mut arm = |slot| table.arm(slot, Due::Mono(2_000), KeyKind::Start, NOW);
        assert_eq!(arm(100), Wake::No, "a first key");
        // With one more slot armed, one more dead key is allowed.
        assert_eq!([arm(2), arm(3), arm(4)], [Wake::No, Wake::No, Wake::Timer]);
    }
}
