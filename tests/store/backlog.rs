//! What waits for the store is limited.

use std::time::Duration;

use crate::support::{HOUR, HeldStore, Result, begin, hand_polled_app_with};
use crate::tasks::storage_error;
use futures_lite::future::block_on;
use jobber::storage::{Change, EndRecord, Loaded, PauseRecord, Storage, StorageError, TakenId};
use jobber::{Jobber, MemoryStorage, Submit, Task};

/// The number of submissions that may wait, and the bytes of their arguments.
const MOST: usize = 16_384;
const MOST_BYTES: usize = 64 * 1_024 * 1_024;

const PATIENCE: Duration = Duration::from_millis(20);

/// A store for which a submission waits no longer than [`PATIENCE`].
struct Impatient<S>(S);

impl<S: Storage> Storage for Impatient<S> {
    fn open(&mut self) -> Result<(), StorageError> {
        self.0.open()
    }

    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        self.0.load(each)
    }

    fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        self.0.load_ends(each)
    }
    fn load_pauses(&mut self, each: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError> {
        self.0.load_pauses(each)
    }
    fn load_taken_ids(&mut self, each: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
        self.0.load_taken_ids(each)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.0.commit(changes)
    }

    fn busy_timeout(&self) -> Duration {
        PATIENCE
    }
}

/// An app whose store is held in the commit of another job.
struct Full {
    app: Jobber,
    store: HeldStore,
    task: Task<String, ()>,
    first: Submit<String, ()>,
    waiting: Vec<Submit<String, ()>>,
}

impl Full {
    /// `count` submissions wait, with arguments of `size` bytes each.
    fn new(count: usize, size: usize, is_patient: bool) -> Result<Self> {
        let (store, storage) = HeldStore::new(MemoryStorage::new());
        let (app, ..) = hand_polled_app_with(|app| match is_patient {
            true => app.storage(storage),
            false => app.storage(Impatient(storage)),
        })?;
        let task = app.task("t", async |_: String| {}).durable();
        let task = task.max_args_bytes(MOST_BYTES).register()?;
        store.hold();
        let mut first = task.schedule("first".into()).delay(HOUR);
        begin(&mut first);
        assert_eq!(store.requested()?.len(), 1);
        // The first one waits too.
        let waiting = (1..count).map(|_| {
            let mut submit = task.schedule("x".repeat(size)).delay(HOUR);
            begin(&mut submit);
            submit
        });
        let waiting = waiting.collect();
        Ok(Self {
            app,
            store,
            task,
            first,
            waiting,
        })
    }

    /// Schedules one more job, which finds no room and fails.
    fn assert_busy(&self) {
        let error = storage_error(
            self.task
                .schedule("late".into())
                .id("late")
                .push()
                .block_on(),
        );
        assert!(
            matches!(&error, StorageError::Busy { path: None, waited } if *waited == PATIENCE),
            "{error}"
        );
        assert!(self.app.find_job("late").is_none());
    }
}

/// Regression: callers outran the store without limit.
#[test]
fn a_submission_that_finds_no_room_waits_for_the_busy_timeout_and_fails_as_busy() -> Result {
    for (count, size) in [(MOST, 1), (5, MOST_BYTES / 4 - 3)] {
        let full = Full::new(count, size, false)?;
        full.assert_busy();
        full.store.release();
        block_on(full.first)?;
        for submit in full.waiting {
            block_on(submit)?;
        }
        assert_eq!(full.store.disk.records().len(), count);
        let _ = full
            .task
            .schedule("late".into())
            .id("late")
            .push()
            .block_on()?;
    }
    Ok(())
}

#[test]
fn a_replacement_that_finds_no_room_fails_as_busy_and_the_job_stays() -> Result {
    let full = Full::new(1, 0, false)?;
    full.store.release();
    let job = full.task.schedule("old".into()).id("x").delay(HOUR);
    let job = job.block_on()?;
    full.store.hold();
    let mut waiting = Vec::new();
    for _ in 0..MOST {
        let mut submit = full.task.schedule(String::new()).delay(HOUR);
        begin(&mut submit);
        waiting.push(submit);
    }
    let replace = full.task.schedule("new".into()).id("x").replace();
    let error = storage_error(replace.delay(HOUR).block_on());
    assert!(
        matches!(error, StorageError::Busy { path: None, .. }),
        "{error}"
    );
    full.store.release();
    for submit in waiting {
        block_on(submit)?;
    }
    assert!(!job.is_done());
    assert_eq!(full.store.record("x").unwrap().args, "\"old\"");
    Ok(())
}

#[test]
fn a_submission_that_finds_no_room_is_stored_when_there_is_room() -> Result {
    let full = Full::new(MOST, 1, true)?;
    let mut late = full.task.schedule("late".into()).id("late").delay(HOUR);
    begin(&mut late);
    assert!(full.app.find_job("late").is_none());
    full.store.release();
    let late = block_on(late)?;
    assert_eq!(*late.id(), "late");
    assert!(full.store.record("late").is_some());
    Ok(())
}

/// Regression: all of the jobs existed later.
#[test]
fn submissions_that_are_dropped_while_they_wait_leave_no_job_and_no_place() -> Result {
    let mut full = Full::new(MOST, 1, true)?;
    let mut late = full.task.schedule("late".into()).id("late").delay(HOUR);
    begin(&mut late);
    drop(late);
    full.waiting.clear();
    full.store.release();
    block_on(full.first)?;
    for _ in 0..3 {
        let _ = full.task.schedule("next".into()).delay(HOUR).block_on()?;
    }
    assert_eq!(full.store.disk.records().len(), 4);
    assert_eq!(full.app.jobs().len(), 4);
    Ok(())
}
