//! The faults of the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use jobber::MemoryStorage;
use jobber::testing::{Fault, FaultyStorage, Operation};

use super::program::Commit;

/// Which faults the operations of the disk have from now on.
#[derive(Default)]
pub struct FaultSchedule {
    /// Of the next commits; the commits after those work.
    pub commits: VecDeque<Commit>,
    /// Of the next calls that open or read it.
    pub opens: VecDeque<Commit>,
    /// How many operations have failed.
    pub failed: u64,
    /// The process has died, and does not use the disk any more.
    pub is_gone: bool,
}

impl FaultSchedule {
    pub fn is_off(&self) -> bool {
        !self.is_gone && self.commits.iter().all(|commit| *commit == Commit::Works)
    }

    /// What the next operation does.
    fn becomes(&mut self, is_commit: bool) -> Commit {
        let planned = match is_commit {
            true => &mut self.commits,
            false => &mut self.opens,
        };
        let commit = planned.pop_front().unwrap_or(Commit::Works);
        self.is_gone |= matches!(commit, Commit::Dies | Commit::TearsAndDies);
        self.failed += u64::from(self.is_gone || commit != Commit::Works);
        commit
    }

    /// The disk with these faults, for another process.
    pub fn over(
        faults: &Arc<Mutex<FaultSchedule>>,
        disk: MemoryStorage,
    ) -> FaultyStorage<MemoryStorage> {
        let faults = faults.clone();
        faults.lock().unwrap().is_gone = false;
        FaultyStorage::new(disk, move |operation| {
            let is_commit = matches!(operation, Operation::Commit(_));
            let becomes = faults.lock().unwrap().becomes(is_commit);
            match becomes {
                Commit::Works => Fault::None,
                Commit::Fails => Fault::Fail,
                Commit::Tears => Fault::Tear,
                // One that no panic hook hears of.
                Commit::Panics => std::panic::resume_unwind(Box::new("a planned one")),
                Commit::Dies => Fault::Die,
                Commit::TearsAndDies => Fault::TearAndDie,
            }
        })
    }
}
