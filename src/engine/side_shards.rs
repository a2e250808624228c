//! [`SideShards`]: the tables of live jobs beside the main one.
//!
//! They let threads that schedule at the same time not wait for each other. A job in
//! memory without a name goes into the table of its thread and stays there. All other jobs
//! go into the main table, which can check ids. The low bits of a slot number its table.

use std::cell::Cell;

use crate::engine::app_phase::AppPhase;
use crate::job::live_job::LiveJob;
use crate::registry::ids::Counters;
use crate::registry::slots::Shard;
use crate::registry::table::Table;
use crate::sync::cache_padded::CachePadded;
use crate::sync::primitives::{Arc, Mutex, Ordering, StaticAtomicU32, lock};

/// The tables beside the board's.
pub(crate) struct SideShards {
    pub(crate) tables: Box<[CachePadded<Mutex<SideShard>>]>,
    pub(crate) bits: u32,
}

pub(crate) struct SideShard {
    /// The board's phase: set under both locks.
    pub(crate) phase: AppPhase,
    pub(crate) table: Table<Arc<dyn LiveJob>>,
}

/// More threads than this do not schedule at the same time.
const MOST_TABLES: usize = 8;

impl SideShards {
    pub(crate) fn new(
        random: &mut fastrand::Rng,
        is_alone: bool,
    ) -> (Self, Table<Arc<dyn LiveJob>>) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if is_alone { 1 } else { cores };
        let count = count.next_power_of_two().min(MOST_TABLES) as u32;
        let bits = count.trailing_zeros();
        let counts = Counters::default();
        let mut table = |number| Table::new(Shard { number, bits }, counts.clone(), random.fork());
        let first = table(0);
        let others = (1..count).map(|number| {
            CachePadded(Mutex::new(SideShard {
                phase: AppPhase::New,
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

    /// By whoever holds the main_shard.
    pub(crate) fn set_phase(&self, phase: AppPhase) {
        for other in self.iter() {
            lock(other).phase = phase;
        }
    }
}

/// How far a walk through all tables has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) table: usize,
    pub(crate) index: usize,
}
