//! What the disk does when it is asked to do something.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use jobber::MemoryStorage;
use jobber::testing::{Fault, FaultyStorage, Operation};

use super::program::Commit;

/// What the disk does from here on.
#[derive(Default)]
pub struct Weather {
    /// Then, all is well.
    pub commits: VecDeque<Commit>,
    /// How it is opened, and read.
    pub opens: VecDeque<Commit>,
    /// How many have failed.
    pub failed: u64,
    /// This process will not see it again.
    pub is_gone: bool,
}

impl Weather {
    pub fn is_calm(&self) -> bool {
        !self.is_gone && self.commits.iter().all(|commit| *commit == Commit::Works)
    }

    /// What becomes of an operation.
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

    /// The disk in this weather, for another process.
    pub fn over(
        weather: &Arc<Mutex<Weather>>,
        disk: MemoryStorage,
    ) -> FaultyStorage<MemoryStorage> {
        let weather = weather.clone();
        weather.lock().unwrap().is_gone = false;
        FaultyStorage::new(disk, move |operation| {
            let is_commit = matches!(operation, Operation::Commit(_));
            let becomes = weather.lock().unwrap().becomes(is_commit);
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
