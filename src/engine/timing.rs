//! The methods of [`Hub`] that the timer calls.

use crate::engine::hub::{Hub, Live};
use crate::registry::lines::Lines;
use crate::registry::table::Wake;
use crate::sync::deferred_wakes::notify_all;
use crate::sync::primitives::{Ordering, lock, thread, thread::Thread};
use crate::timer::key::{Key, Tag};

impl Hub {
    pub(crate) fn timer_starts(&self) {
        self.is_timer_running.store(true, Ordering::SeqCst);
    }

    /// Sets the thread that is woken. The timer thread calls this before it reads the
    /// inboxes for the first time: if another thread finds no thread to wake, its key is
    /// read then.
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

    /// From now on, jobs start.
    pub(crate) fn open_start_gate(&self) {
        {
            // Under this lock, which the timer takes before it sleeps: if it took the lock before, its
            // handle is set.
            let _main_shard = lock(&self.main_shard);
            self.start_gate.open();
        }
        self.wake_timer();
    }

    #[inline]
    pub(crate) fn wake(&self, wake: Wake) {
        if wake == Wake::Timer {
            self.wake_timer();
        }
    }

    /// Does a step with the lines of the limits.
    pub(crate) fn with_lines<T>(&self, step: impl FnOnce(&mut Lines<Live>) -> T) -> T {
        let (value, wakes_timer) = self.limits.step(&self.clock, step);
        if wakes_timer {
            self.wake_timer();
        }
        value
    }

    /// Takes the jobs of these due keys. Dead keys are left out.
    pub(crate) fn take_due(&self, keys: &mut Vec<Key>, jobs: &mut Vec<Live>) {
        let mut tables = self.tables();
        for tag in keys.drain(..).map(Key::tag) {
            jobs.extend(tables.of(tag.slot()).take_due(tag).cloned());
        }
    }

    /// Counts these due keys as handed over to the dispatcher.
    pub(crate) fn hand_over(&self, keys: &[Key]) {
        let mut tables = self.tables();
        let slot = |key: &Key| key.tag().slot();
        for keys in keys.chunk_by(|one, other| self.are_together(slot(one), slot(other))) {
            if let Some(first) = keys.first() {
                tables.of(slot(first)).hand_over(keys.len());
            }
        }
    }

    /// Whether there are enough dead keys for a sweep.
    pub(crate) fn is_sweep_due(&self) -> bool {
        let (dead, allowed) = self.count_dead();
        dead > allowed
    }

    /// The number of dead keys in all tables, and the number that is allowed before a sweep
    /// is due.
    fn count_dead(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        self.each_table(|table| {
            let (dead, allowed) = table.count_dead();
            sum = (sum.0 + dead, sum.1 + allowed);
        });
        sum
    }

    /// Whether a slot waits for this key. If not, the key is counted as removed, and the
    /// caller must remove it from the queue.
    pub(crate) fn keep_key(&self, tag: Tag) -> bool {
        let mut tables = self.tables();
        let table = tables.of(tag.slot());
        let is_alive = table.is_alive(tag);
        if !is_alive {
            table.swept();
        }
        is_alive
    }

    /// Frees a part of the memory that is not needed. Returns whether there was any.
    pub(crate) fn free_memory(&self) -> bool {
        (0..self.table_count()).any(|number| {
            let freed = self.tables().numbered(number).free_memory();
            // Dropped here, when the table is not locked any more.
            freed.is_some()
        })
    }

    pub(crate) fn is_alive(&self, tag: Tag) -> bool {
        self.tables().of(tag.slot()).is_alive(tag)
    }

    /// Calls `step` with a function that returns whether a key is alive. `step` must remove
    /// the keys that are not.
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

    /// Whether the timer was woken since it fell asleep.
    pub(crate) fn is_timer_woken(&self) -> bool {
        self.limits.wakes_timer()
            || self.start_gate.wakes_timer()
            || self.checkpoint_times.wakes_timer()
            || (0..self.table_count()).any(|number| self.tables().numbered(number).is_woken())
    }

    /// Prepares the tables for the sleep of the timer, so that an earlier key wakes it.
    /// Returns `false` if there is work for the timer already.
    pub(crate) fn fall_asleep(&self, until: i64, not_before: i64) -> bool {
        let (dead, allowed) = self.count_dead();
        if dead > allowed {
            return false;
        }
        // Each table gets a share of the dead keys that are still allowed, and wakes the
        // timer when it has used up its share. A key that dies in a table before the table
        // has its share is not counted against it, so all are counted again at the end.
        let share = (allowed - dead).div_ceil(self.table_count());
        (0..self.table_count()).all(|number| {
            let mut tables = self.tables();
            let table = tables.numbered(number);
            table.fall_asleep(until, not_before, share)
        }) && !self.is_sweep_due()
            && !self.limits.wakes_timer()
            && !self.start_gate.wakes_timer()
            && !self.checkpoint_times.wakes_timer()
    }
}
