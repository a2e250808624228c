//! [`Tables`]: access to all tables of live jobs of one app.

use crate::engine::hub::{Hub, Live, MainShard, SLOTS_AT_A_TIME};
use crate::engine::side_shards::{Cursor, SideShard};
use crate::registry::table::Table;
use crate::sync::primitives::{MutexGuard, lock};
use crate::timer::inbox::Inbox;
use crate::timer::key::MAX_SLOTS;

/// A locked table.
enum Held<'a> {
    Main(MutexGuard<'a, MainShard>),
    Side(MutexGuard<'a, SideShard>),
}

/// Locks the table of a slot when it is needed. At most one table is locked at a time, and it
/// stays locked until another is needed.
pub(crate) struct Tables<'a> {
    hub: &'a Hub,
    held: Option<(usize, Held<'a>)>,
}

impl Tables<'_> {
    /// The table of a slot.
    pub(crate) fn of(&mut self, slot: u32) -> &mut Table<Live> {
        let number = self.hub.side_shards.table_of(slot);
        self.numbered(number)
    }

    /// The table with this number; 0 is the main table.
    pub(crate) fn numbered(&mut self, number: usize) -> &mut Table<Live> {
        let held = match self.held.take() {
            Some((held, table)) if held == number => table,
            // Unlocked before the next is locked.
            before => {
                drop(before);
                let other = number.checked_sub(1);
                match other.and_then(|other| self.hub.side_shards.tables.get(other)) {
                    Some(other) => Held::Side(lock(other)),
                    None => Held::Main(lock(&self.hub.main_shard)),
                }
            }
        };
        match &mut self.held.insert((number, held)).1 {
            Held::Main(main_shard) => &mut main_shard.table,
            Held::Side(other) => &mut other.table,
        }
    }
}

impl Hub {
    /// Returns the live jobs in the next [`SLOTS_AT_A_TIME`] slots of a table, and the cursor
    /// after them.
    pub(crate) fn jobs_from(&self, from: Cursor) -> (Vec<Live>, Option<Cursor>) {
        let Cursor {
            table: number,
            index,
        } = from;
        let mut tables = self.tables();
        let table = tables.numbered(number);
        let slots = table.slot_count();
        let end = slots.min(index.saturating_add(SLOTS_AT_A_TIME));
        let jobs = (index..end).filter_map(|index| table.live_at(table.slot_at(index)).cloned());
        let jobs = jobs.collect();
        let next = if end < slots {
            Some(Cursor {
                table: number,
                index: end,
            })
        } else {
            let next = number + 1;
            (next < self.table_count()).then_some(Cursor {
                table: next,
                index: 0,
            })
        };
        (jobs, next)
    }

    pub(crate) fn tables(&self) -> Tables<'_> {
        Tables {
            hub: self,
            held: None,
        }
    }

    /// The number of slots that a table can have. All restored jobs are in the main table.
    pub(crate) fn most_in_a_table(&self) -> usize {
        MAX_SLOTS >> self.side_shards.bits
    }

    pub(crate) fn table_count(&self) -> usize {
        self.side_shards.tables.len() + 1
    }

    /// Swaps the inbox of each table for an empty one. All tables are locked at the same
    /// time: otherwise a key could be collected before the key of a job that was scheduled
    /// earlier in another table.
    pub(crate) fn swap_inboxes(&self, empty: &mut Vec<Inbox>) {
        empty.resize_with(self.table_count(), Inbox::with_room);
        let mut main_shard = lock(&self.main_shard);
        let mut others: Vec<_> = self.side_shards.iter().map(lock).collect();
        let others = others.iter_mut().map(|other| &mut other.table);
        let tables = std::iter::once(&mut main_shard.table).chain(others);
        for (table, empty) in tables.zip(empty) {
            table.swap_inbox(empty);
        }
    }

    /// Calls `visit` with each table, one lock at a time.
    pub(crate) fn each_table(&self, mut visit: impl FnMut(&mut Table<Live>)) {
        let mut tables = self.tables();
        (0..self.table_count()).for_each(|number| visit(tables.numbered(number)));
    }

    /// Whether two slots are in the same table.
    pub(crate) fn are_together(&self, one: u32, other: u32) -> bool {
        self.side_shards.table_of(one) == self.side_shards.table_of(other)
    }
}
