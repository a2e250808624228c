//! One machine: a clock and a disk, which outlive the processes that run on it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{JobberBuilder, MemoryStorage};

use super::Log;
use super::record::{JobRecord, record_of};

pub struct Machine {
    pub clock: ManualClock,
    pub disk: MemoryStorage,
    /// How many changes each commit had.
    pub commits: Log<usize>,
    faults: Arc<Mutex<Faults>>,
    /// How many processes there were; the seed of the next one.
    pub boots: Cell<u64>,
}

struct Faults {
    /// Of the next commits, in order.
    next: VecDeque<Fault>,
    /// Of every commit after those.
    then: Fault,
}

impl Machine {
    pub fn new() -> Self {
        Self {
            clock: ManualClock::new(),
            disk: MemoryStorage::new(),
            commits: Log::new(),
            faults: Arc::new(Mutex::new(Faults {
                next: VecDeque::new(),
                then: Fault::None,
            })),
            boots: Cell::new(0),
        }
    }

    /// From now on, every commit has this fault.
    pub fn set_fault(&self, fault: Fault) {
        self.fault_setter()(fault);
    }

    /// Sets the fault of every commit from another place.
    pub fn fault_setter(&self) -> impl Fn(Fault) + use<> {
        let faults = self.faults.clone();
        move |fault| faults.lock().unwrap().then = fault
    }

    /// The next commits have these faults, in this order.
    pub fn plan_faults(&self, next: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().next.extend(next);
    }

    /// Planned faults that no commit had are given up.
    pub fn clear_faults(&self) {
        self.faults.lock().unwrap().next.clear();
    }

    /// The disk as a store.
    pub fn storage(&self) -> FaultyStorage<MemoryStorage> {
        let (faults, commits) = (self.faults.clone(), self.commits.clone());
        FaultyStorage::new(self.disk.clone(), move |operation| match operation {
            Operation::Commit(changes) => {
                commits.add(changes.len());
                let mut faults = faults.lock().unwrap();
                let next = faults.next.pop_front();
                next.unwrap_or_else(|| faults.then.clone())
            }
            _ => Fault::None,
        })
    }

    /// Starts the next process.
    pub fn boot(&self) -> Simulation {
        self.boot_with(|app| app)
    }

    pub fn boot_with(&self, configure: impl FnOnce(JobberBuilder) -> JobberBuilder) -> Simulation {
        self.boots.set(self.boots.get() + 1);
        let storage = self.storage();
        Simulation::with(self.boots.get(), self.clock.clone(), |app| {
            configure(app.storage(storage))
        })
        .unwrap()
    }

    pub fn records(&self) -> Vec<JobRecord> {
        self.disk.records().iter().map(JobRecord::of).collect()
    }

    pub fn record(&self, id: &str) -> Option<JobRecord> {
        record_of(&self.disk, id)
    }

    pub fn has(&self, id: &str) -> bool {
        self.record(id).is_some()
    }
}
