//! Stored jobs: the store thread answers its callers, and a change is not visible before it
//! is stored.
#![cfg(feature = "serde")]

use std::sync::Arc;

use jobber::testing::Simulation;
use jobber::{CancelOutcome, JobStatus, MemoryStorage};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::{SECOND, app_with, explore, stop};

#[test]
fn a_stored_job_that_is_seen_done_is_gone_from_the_store() {
    explore(1, &[()], || {
        let storage = MemoryStorage::new();
        let (app, _) = app_with(|app| app.storage(storage.clone()));
        let task = app.task("t", || async {}).durable().register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        assert_eq!(job.wait_blocking(), JobStatus::Success);
        assert!(storage.records().is_empty());
        stop(&app);
    });
}

#[test]
fn cancel_and_start_of_a_stored_job_one_wins_and_the_store_has_neither() {
    explore(2, &["cancelled", "ran"], || {
        let storage = MemoryStorage::new();
        let stored = storage.clone();
        let clock = jobber::testing::ManualClock::new();
        let mut sim = Simulation::with(0, clock, |app| app.storage(stored)).unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let task = sim.app().task("t", move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async {}
        });
        let task = task.durable().register().unwrap();
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        let cancelled = job.clone();
        let canceller = thread::spawn(move || cancelled.cancel().block_on().unwrap());
        sim.advance(SECOND);
        let did = canceller.join().unwrap() == CancelOutcome::Cancelled;
        sim.run_until_stalled();
        assert_eq!(runs.load(Ordering::SeqCst), usize::from(!did));
        assert!(storage.records().is_empty());
        let status = job.status();
        if did {
            assert_eq!(status, JobStatus::Cancelled);
            "cancelled"
        } else {
            assert_eq!(status, JobStatus::Success);
            "ran"
        }
    });
}

#[test]
fn replace_and_start_of_a_stored_job_the_new_arguments_run_once_and_the_old_at_most_once() {
    explore(2, &[vec![2], vec![1, 2]], || {
        let storage = MemoryStorage::new();
        let stored = storage.clone();
        let clock = jobber::testing::ManualClock::new();
        let mut sim = Simulation::with(0, clock, |app| app.storage(stored)).unwrap();
        let ran = Arc::new(loom::sync::Mutex::new(Vec::new()));
        let log = ran.clone();
        let task = sim.app().task("t", move |n: u32| {
            log.lock().unwrap().push(n);
            async {}
        });
        let task = task.durable().register().unwrap();
        let old = task.schedule(1).id("x").delay(SECOND).block_on().unwrap();
        let replacer = thread::spawn(move || {
            let new = task.schedule(2).id("x").replace().delay(2 * SECOND);
            new.block_on().unwrap()
        });
        sim.advance(SECOND);
        let new = replacer.join().unwrap();
        assert!(!new.is_done(), "it was not due");
        sim.advance(2 * SECOND);
        assert_eq!(old.status(), JobStatus::Success);
        assert_eq!(new.status(), JobStatus::Success);
        assert!(storage.records().is_empty());
        let ran = ran.lock().unwrap().clone();
        ran
    });
}

#[test]
fn shutdown_and_schedule_of_a_stored_job_what_was_accepted_ran_or_is_in_the_store() {
    explore(2, &["kept", "ran", "refused"], || {
        let storage = MemoryStorage::new();
        let (app, _) = app_with(|app| app.storage(storage.clone()));
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let task = app.task("t", move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async {}
        });
        let task = task.durable().register().unwrap();
        app.start().block_on().unwrap();
        let scheduler = thread::spawn(move || task.schedule(()).push().block_on());
        stop(&app);
        let job = scheduler.join().unwrap().ok();
        let status = job.map(|job| job.status());
        let kept = storage.records().len();
        match (status, kept, runs.load(Ordering::SeqCst)) {
            (Some(JobStatus::Success), 0, 1) => "ran",
            // The next process runs it, again if its run was interrupted.
            (Some(JobStatus::Scheduled | JobStatus::Running), 1, 0 | 1) => "kept",
            (None, 0, 0) => "refused",
            other => panic!("status, kept, runs: {other:?}"),
        }
    });
}

/// The app empties its tables before it closes the store.
#[test]
fn shutdown_and_two_cancels_of_a_stored_job_both_are_answered() {
    explore(1, &["cancelled", "refused"], || {
        let storage = MemoryStorage::new();
        let (app, _) = app_with(|app| app.storage(storage.clone()));
        let task = app.task("t", || async {}).durable().register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        let canceller = thread::spawn(move || (job.cancel().block_on(), job.cancel().block_on()));
        stop(&app);
        let (first, second) = canceller.join().unwrap();
        match (first, second, storage.records().len()) {
            (Ok(CancelOutcome::Cancelled), Ok(CancelOutcome::AlreadyDone), 0) => "cancelled",
            (Err(_), Err(_), 1) => "refused",
            other => panic!("first, second, kept: {other:?}"),
        }
    });
}
