//! [`SideShards`]: the tables of live jobs beside the main one.
//!
//! With them, threads that schedule at the same time do not wait for each other. A job in
//! memory without an id of the user is entered into the table of the thread that schedules
//! it. All other jobs are entered into the main table, under whose lock ids are checked. The
//! low bits of a slot are the number of its table.

use std::cell::Cell;

use crate::engine::app_phase::AppPhase;
use crate::job::live_job::LiveJob;
use crate::registry::ids::Counters;
use crate::registry::slots::Shard;
use crate::registry::table::Table;
use crate::sync::cache_padded::CachePadded;
use crate::sync::primitives::{Arc, Mutex, Ordering, StaticAtomicU32, lock};

/// The tables beside the main table.
pub(crate) struct SideShards {
    pub(crate) tables: Box<[CachePadded<Mutex<SideShard>>]>,
    pub(crate) bits: u32,
}

pub(crate) struct SideShard {
    /// A copy of the phase in the main shard. It is written under both locks.
    pub(crate) phase: AppPhase,
    pub(crate) table: Table<Arc<dyn LiveJob>>,
}

/// The largest number of tables, with the main table. More threads are not expected to
/// schedule at the same time.
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

    /// The number of the table of a slot; 0 is the main table.
    pub(crate) fn table_of(&self, slot: u32) -> usize {
        (slot & ((1 << self.bits) - 1)) as usize
    }

    /// The table of this thread; `None` if it is the main table.
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

    /// Sets the phase of all side shards. The caller holds the lock of the main shard.
    pub(crate) fn set_phase(&self, phase: AppPhase) {
        for other in self.iter() {
            lock(other).phase = phase;
        }
    }
}

/// A position in an iteration over the slots of all tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) table: usize,
    pub(crate) index: usize,
}
