//! A store that can be held: then each commit waits until the test answers it.

use std::sync::{Arc, Mutex, mpsc};

use jobber::testing::{Fault, FaultyStorage, Operation};
use jobber::{MemoryStorage, storage::Change};

use super::record::{JobRecord, record_of};
use super::{Result, WATCHDOG};

pub struct HeldStore {
    pub disk: MemoryStorage,
    answers: mpsc::Sender<Fault>,
    requests: mpsc::Receiver<Vec<Change>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_held: bool,
    /// A commit waits for its answer.
    is_waiting: bool,
}

impl HeldStore {
    /// A store on `disk`, for an app, and what holds it.
    pub fn new(disk: MemoryStorage) -> (Self, FaultyStorage<MemoryStorage>) {
        let (request, requests) = mpsc::channel();
        let (answers, answer) = mpsc::channel();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let storage = FaultyStorage::new(disk.clone(), move |operation| {
            let Operation::Commit(changes) = operation else {
                return Fault::None;
            };
            let mut state = shared.lock().unwrap();
            state.is_waiting = state.is_held;
            if !state.is_held {
                return Fault::None;
            }
            drop(state);
            let _ = request.send(changes.to_vec());
            // The other end is gone when the test is over.
            answer.recv().unwrap_or(Fault::None)
        });
        let held = Self {
            disk,
            answers,
            requests,
            state,
        };
        (held, storage)
    }

    /// From now on, each commit waits for [`answer`](Self::answer).
    pub fn hold(&self) {
        self.state.lock().unwrap().is_held = true;
    }

    /// Waits for the next commit and returns what it changes, as `put x 1`.
    pub fn requested(&self) -> Result<Vec<String>> {
        let changes = self.requests.recv_timeout(WATCHDOG)?;
        let short = |change: &Change| match change {
            Change::Put(job) => {
                let args = String::from_utf8_lossy(job.args());
                format!("put {} {args}", job.id())
            }
            Change::Advance { id, .. } => format!("advance {id}"),
            Change::Remove(id) => format!("remove {id}"),
            Change::KeepEnd(end) => format!("keep the end of {}", end.key().id),
            Change::ForgetEnd(key) => format!("forget the end of {}", key.id),
            Change::TrimEnds(_) => "trim the ends".into(),
            Change::SetPause(pause) => format!("set the pause of {:?}", pause.key),
            Change::RemovePause(key) => format!("remove the pause of {key:?}"),
            Change::TakeId(taken) => format!("take {}", taken.id),
        };
        Ok(changes.iter().map(short).collect())
    }

    /// Whether a commit has begun to wait since the last look.
    pub fn is_requested(&self) -> bool {
        self.requests.try_recv().is_ok()
    }

    /// Answers the commit that waits.
    pub fn answer(&self, fault: Fault) {
        self.state.lock().unwrap().is_waiting = false;
        let _ = self.answers.send(fault);
    }

    /// From now on, commits succeed at once; so does the one that waits.
    pub fn release(&self) {
        self.release_with(Fault::None);
    }

    /// Answers the commit that waits; from now on, commits succeed at once.
    pub fn release_with(&self, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.is_held = false;
        let is_waiting = state.is_waiting;
        drop(state);
        if is_waiting {
            self.answer(fault);
        }
    }

    pub fn record(&self, id: &str) -> Option<JobRecord> {
        record_of(&self.disk, id)
    }
}
