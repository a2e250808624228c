//! The tables of live jobs of one app, as one.

use crate::engine::hub::{Hub, Live, MainShard};
use crate::engine::side_shards::{Cursor, SideShard};
use crate::registry::table::Table;
use crate::sync::primitives::{MutexGuard, lock};
use crate::timer::inbox::Inbox;
use crate::timer::key::MAX_SLOTS;

/// One of the tables, locked.
enum Held<'a> {
    Main(MutexGuard<'a, MainShard>),
    Side(MutexGuard<'a, SideShard>),
}

/// Goes from table to table, as slots ask for it, and holds one at a time.
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

    pub(crate) fn numbered(&mut self, number: usize) -> &mut Table<Live> {
        let held = match self.held.take() {
            Some((held, table)) if held == number => table,
            // Let go of before another is locked.
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
    /// The live jobs in so many slots from here on, and where to go on.
    pub(crate) fn jobs_from(&self, from: Cursor, count: usize) -> (Vec<Live>, Option<Cursor>) {
        let Cursor {
            table: number,
            index,
        } = from;
        let mut tables = self.tables();
        let table = tables.numbered(number);
        let slots = table.slot_count();
        let end = slots.min(index.saturating_add(count));
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

    /// How many jobs can be restored: as many as the board's table has slots.
    pub(crate) fn most_in_a_table(&self) -> usize {
        MAX_SLOTS >> self.side_shards.bits
    }

    pub(crate) fn table_count(&self) -> usize {
        self.side_shards.tables.len() + 1
    }

    /// Swaps the new keys of each table for an empty list, of all tables at once: else a
    /// job could be overtaken by one that another thread scheduled after it.
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

    /// Visits each table in turn.
    pub(crate) fn each_table(&self, mut visit: impl FnMut(&mut Table<Live>)) {
        let mut tables = self.tables();
        (0..self.table_count()).for_each(|number| visit(tables.numbered(number)));
    }

    /// Whether two slots are in the same table.
    pub(crate) fn are_together(&self, one: u32, other: u32) -> bool {
        self.side_shards.table_of(one) == self.side_shards.table_of(other)
    }
}
