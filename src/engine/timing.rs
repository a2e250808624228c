//! What the timer needs of the hub.

use crate::engine::hub::{Hub, Live};
use crate::registry::table::Wake;
use crate::sync::deferred_wakes::notify_all;
use crate::sync::primitives::{Ordering, thread, thread::Thread};
use crate::timer::key::{Key, Tag};

impl Hub {
    // The timer's thread.

    pub(crate) fn timer_starts(&self) {
        self.is_timer_running.store(true, Ordering::SeqCst);
    }

    /// By the thread itself, before its first look at the inbox: whoever finds
    /// no thread to wake has left nothing that it could miss.
    pub(crate) fn set_timer(&self, thread: Thread) {
        let _ = self.timer.set(thread);
    }

    pub(crate) fn timer_ended(&self) {
        self.is_timer_running.store(false, Ordering::SeqCst);
        notify_all(&self.changed);
    }

    pub(crate) fn is_timer_running(&self) -> bool {
        self.is_timer_running.load(Ordering::SeqCst)
    }

    pub(crate) fn is_on_timer_thread(&self) -> bool {
        self.timer
            .get()
            .is_some_and(|t| t.id() == thread::current().id())
    }

    pub(crate) fn wake_timer(&self) {
        if let Some(timer) = self.timer.get() {
            timer.unpark();
        }
    }

    #[inline]
    pub(crate) fn wake(&self, wake: Wake) {
        if wake == Wake::Timer {
            self.wake_timer();
        }
    }

    // For the driver.

    /// The jobs that these keys, which have come due, stand for.
    pub(crate) fn take_due(&self, keys: &mut Vec<Key>, jobs: &mut Vec<Live>) {
        let mut tables = self.tables();
        for tag in keys.drain(..).map(Key::tag) {
            jobs.extend(tables.of(tag.slot()).take_due(tag).cloned());
        }
    }

    /// The timer leaves these keys, which have come due, to the dispatcher.
    pub(crate) fn hand_over(&self, keys: &[Key]) {
        let mut tables = self.tables();
        let slot = |key: &Key| key.tag().slot();
        for keys in keys.chunk_by(|one, other| self.are_together(slot(one), slot(other))) {
            if let Some(first) = keys.first() {
                tables.of(slot(first)).hand_over(keys.len());
            }
        }
    }

    /// Whether dead keys outnumber the living, where a sweep can find them.
    pub(crate) fn is_sweep_due(&self) -> bool {
        let (dead, allowed) = self.count_dead();
        dead > allowed
    }

    /// How many dead keys there are, and how many there may be before a sweep is due.
    fn count_dead(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        self.each_table(|table| {
            let (dead, allowed) = table.count_dead();
            sum = (sum.0 + dead, sum.1 + allowed);
        });
        sum
    }

    /// Whether a slot waits for this key; if not, the caller takes it out of the
    /// heap.
    pub(crate) fn keep_key(&self, tag: Tag) -> bool {
        let mut tables = self.tables();
        let table = tables.of(tag.slot());
        let is_alive = table.is_alive(tag);
        if !is_alive {
            table.swept();
        }
        is_alive
    }

    /// Gives back a little of the memory that is not needed, and whether it did.
    pub(crate) fn free_memory(&self) -> bool {
        (0..self.table_count()).any(|number| {
            let freed = self.tables().numbered(number).free_memory();
            // Dropped here, without the lock.
            freed.is_some()
        })
    }

    pub(crate) fn is_alive(&self, tag: Tag) -> bool {
        self.tables().of(tag.slot()).is_alive(tag)
    }

    /// Runs a step of a sweep, which asks whether a key is alive, and takes those out
    /// that are not.
    pub(crate) fn sweep(&self, step: impl FnOnce(&mut dyn FnMut(Tag) -> bool)) {
        let mut tables = self.tables();
        step(&mut |tag| {
            let table = tables.of(tag.slot());
            let is_alive = table.is_alive(tag);
            if !is_alive {
                table.swept();
            }
            is_alive
        });
    }

    pub(crate) fn fall_asleep(&self, until: i64, not_before: i64) -> bool {
        let (dead, allowed) = self.count_dead();
        if dead > allowed {
            return false;
        }
        // Each table has its share of what is still allowed, and wakes the timer when
        // it has used that up. Those of one that die before it has its share are not
        // counted against it, and so all are counted once more at the end.
        let share = (allowed - dead).div_ceil(self.table_count());
        (0..self.table_count()).all(|number| {
            let mut tables = self.tables();
            let table = tables.numbered(number);
            table.fall_asleep(until, not_before, share)
        }) && !self.is_sweep_due()
    }
}
