//! A store that has no room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{HOUR, Result, begin, hand_polled_app_with, wait_until};
use futures_lite::future::block_on;
use jobber::MemoryStorage;
use jobber::storage::{Change, EndRecord, Loaded, PauseRecord, Storage, StorageError, TakenId};
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};

/// What the end of a failed job takes in a [`Small`] store.
const END: usize = 500;

/// A store with room for this many bytes.
struct Small {
    inner: MemoryStorage,
    room: usize,
}

impl Small {
    fn used(&self) -> usize {
        let records = self.inner.records();
        let records = records.iter().map(|job| 100 + job.args().len());
        records.sum::<usize>() + self.inner.ends().len() * END
    }
}

impl Storage for Small {
    fn open(&mut self) -> Result<(), StorageError> {
        self.inner.open()
    }
    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        self.inner.load(each)
    }
    fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        self.inner.load_ends(each)
    }
    fn load_pauses(&mut self, each: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError> {
        self.inner.load_pauses(each)
    }
    fn load_taken_ids(&mut self, each: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
        self.inner.load_taken_ids(each)
    }
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let grows = |change: &Change| match change {
            Change::Put(job) => 100 + job.args().len(),
            Change::KeepEnd(_) => END,
            _ => 0,
        };
        let shrinks = |change: &Change| match change {
            Change::Remove(id) => {
                let records = self.inner.records();
                let gone = records.iter().find(|job| job.id() == id);
                gone.map_or(0, |job| 100 + job.args().len())
            }
            Change::TrimEnds(trim) => {
                (self.inner.ends().len().saturating_sub(trim.most as usize)) * END
            }
            _ => 0,
        };
        let after = self.used() + changes.iter().map(grows).sum::<usize>();
        let after = after.saturating_sub(changes.iter().map(shrinks).sum());
        if after > self.room && after > self.used() {
            return Err(StorageError::Full {
                path: "small".into(),
            });
        }
        self.inner.commit(changes)
    }
}

/// A store whose commits wait as long as it is held.
#[derive(Clone, Default)]
struct Gate {
    is_held: Arc<AtomicBool>,
    has_entered: Arc<AtomicBool>,
}

impl Gate {
    fn on(&self, storage: Small) -> FaultyStorage<Small> {
        let gate = self.clone();
        FaultyStorage::new(storage, move |operation| {
            if let Operation::Commit(_) = operation {
                while gate.is_held.load(Ordering::SeqCst) {
                    gate.has_entered.store(true, Ordering::SeqCst);
                    std::thread::yield_now();
                }
            }
            Fault::None
        })
    }

    fn hold(&self) {
        self.is_held.store(true, Ordering::SeqCst);
    }

    fn release(&self) {
        self.is_held.store(false, Ordering::SeqCst);
    }

    fn wait_for_commit(&self) {
        wait_until(|| self.has_entered.load(Ordering::SeqCst));
    }
}

/// Regression: a job that can never fit deleted every entry, and was refused all the same.
#[test]
fn a_job_that_never_fits_deletes_no_kept_failures() -> Result {
    let disk = MemoryStorage::new();
    let storage = Small {
        inner: disk.clone(),
        room: 10_000,
    };
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let task = sim.app().task("t", async |_: String| Err::<(), _>("no"));
    let task = task.durable().register()?;
    for n in 0..10 {
        let _ = task
            .schedule("bad".into())
            .id(format!("x{n}"))
            .push()
            .block_on()?;
    }
    sim.run_until_stalled();
    assert_eq!(disk.ends().len(), 10);
    let error = task.schedule("y".repeat(100_000)).delay(HOUR).block_on();
    assert!(error.is_err());
    assert_eq!(disk.ends().len(), 10, "they made room for nothing");
    Ok(())
}

/// Regression: the entry was given up, although it had room.
#[test]
fn the_entry_of_a_failed_job_survives_a_large_push_in_the_same_commit() -> Result {
    for has_large in [false, true] {
        let (disk, gate) = (MemoryStorage::new(), Gate::default());
        let storage = gate.on(Small {
            inner: disk.clone(),
            room: 10_000,
        });
        let (app, _clock, spawned) = hand_polled_app_with(|app| app.storage(storage))?;
        let task = app
            .task("t", async |_: String| Err::<(), _>("no"))
            .durable()
            .register()?;
        let job = task.schedule("bad".into()).id("x").push().block_on()?;
        let attempt = spawned.recv()?;
        gate.hold();
        let mut first = task.schedule("first".into()).delay(HOUR);
        begin(&mut first);
        gate.wait_for_commit();
        let mut large = task.schedule("y".repeat(100_000)).delay(HOUR);
        if has_large {
            begin(&mut large);
        }
        block_on(attempt);
        gate.release();
        block_on(first)?;
        if has_large {
            assert!(block_on(large).is_err());
        }
        job.wait_blocking();
        assert_eq!(app.failed().block_on()?.len(), 1, "{has_large}");
    }
    Ok(())
}

/// Regression: the cancel was refused, because a job failed in the same commit.
#[test]
fn a_cancel_in_a_full_store_succeeds_beside_the_end_of_a_failed_job() -> Result {
    for has_end in [false, true] {
        let (disk, gate) = (MemoryStorage::new(), Gate::default());
        // There is room for the rows, and for no end.
        let storage = gate.on(Small {
            inner: disk.clone(),
            room: 400,
        });
        let (app, _clock, spawned) = hand_polled_app_with(|app| app.storage(storage))?;
        let task = app
            .task("t", async |_: u8| Err::<(), _>("no"))
            .durable()
            .register()?;
        let _ = task.schedule(0).id("bad").push().block_on()?;
        let attempt = spawned.recv()?;
        let keep = task.schedule(1).id("keep").delay(HOUR).block_on()?;
        let other = task.schedule(2).id("other").delay(HOUR).block_on()?;
        gate.hold();
        let mut first = keep.cancel();
        begin(&mut first);
        gate.wait_for_commit();
        let mut second = other.cancel();
        begin(&mut second);
        if has_end {
            block_on(attempt);
        }
        gate.release();
        block_on(first)?;
        let second = block_on(second);
        assert!(second.is_ok(), "{has_end}: {second:?}");
    }
    Ok(())
}
