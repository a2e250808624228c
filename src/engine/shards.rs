//! The tables of an app: the board's, and others beside it, so that threads which
//! schedule at the same time need not wait for each other.
//!
//! A job that is scheduled without a name and without a store goes into the table of
//! its thread, and stays there, whatever it becomes. All others go into the board's,
//! where what is to be known of them is when they are scheduled.
//! The low bits of a slot tell its table.

use std::cell::Cell;

use crate::engine::hub::{Board, Hub, Live, Phase};
use crate::registry::ids::Counters;
use crate::registry::slots::Shard;
use crate::registry::table::Table;
use crate::sync::cache_padded::CachePadded;
use crate::sync::primitives::{Mutex, MutexGuard, Ordering, StaticAtomicU32, lock};
use crate::timer::inbox::Inbox;
use crate::timer::key::MAX_SLOTS;

/// The tables beside the board's.
pub(crate) struct SideShards {
    tables: Box<[CachePadded<Mutex<SideShard>>]>,
    bits: u32,
}

pub(crate) struct SideShard {
    /// The board's phase: set under both locks.
    pub(crate) phase: Phase,
    pub(crate) table: Table<Live>,
}

/// More threads than this do not schedule at the same time.
const MOST_TABLES: usize = 8;

impl SideShards {
    pub(crate) fn new(random: &mut fastrand::Rng, is_alone: bool) -> (Self, Table<Live>) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if is_alone { 1 } else { cores };
        let count = count.next_power_of_two().min(MOST_TABLES) as u32;
        let bits = count.trailing_zeros();
        let counts = Counters::default();
        let mut table = |number| Table::new(Shard { number, bits }, counts.clone(), random.fork());
        let first = table(0);
        let others = (1..count).map(|number| {
            CachePadded(Mutex::new(SideShard {
                phase: Phase::New,
                table: table(number),
            }))
        });
        let tables = others.collect();
        (Self { tables, bits }, first)
    }

    pub(crate) fn table_of(&self, slot: u32) -> usize {
        (slot & ((1 << self.bits) - 1)) as usize
    }

    /// The table of this thread; `None` for the board's.
    #[inline]
    pub(crate) fn of_this_thread(&self) -> Option<&Mutex<SideShard>> {
        static THREADS: StaticAtomicU32 = StaticAtomicU32::new(0);
        thread_local! {
            static NUMBER: Cell<u32> = const { Cell::new(u32::MAX) };
        }
        if self.tables.is_empty() {
            return None;
        }
        let number = NUMBER.with(|number| {
            if number.get() == u32::MAX {
                // Relaxed: any number will do.
                number.set(THREADS.fetch_add(1, Ordering::Relaxed) % u32::MAX);
            }
            number.get()
        });
        let table = self.table_of(number).checked_sub(1)?;
        self.tables.get(table).map(|table| &table.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mutex<SideShard>> {
        self.tables.iter().map(|table| &table.0)
    }

    /// By whoever holds the board.
    pub(crate) fn set_phase(&self, phase: Phase) {
        for other in self.iter() {
            lock(other).phase = phase;
        }
    }
}

/// One of the tables, locked.
enum Held<'a> {
    Board(MutexGuard<'a, Board>),
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
                    None => Held::Board(lock(&self.hub.board)),
                }
            }
        };
        match &mut self.held.insert((number, held)).1 {
            Held::Board(board) => &mut board.table,
            Held::Side(other) => &mut other.table,
        }
    }
}

/// How far a walk through all tables has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    table: usize,
    index: usize,
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
        let mut board = lock(&self.board);
        let mut others: Vec<_> = self.side_shards.iter().map(lock).collect();
        let others = others.iter_mut().map(|other| &mut other.table);
        let tables = std::iter::once(&mut board.table).chain(others);
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
