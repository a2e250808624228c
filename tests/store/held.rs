//! A store that has been asked and has not answered, on an app with threads of its own.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::{
    HOUR, HeldStore, Log, MINUTE, Result, SECOND, START, begin, manual_app_with, wait_until,
};
use futures_lite::future::block_on;
use jobber::testing::{Fault, ManualClock};
use jobber::{JobStatus, Jobber, MemoryStorage};

/// An app with a durable task on a store that can be held.
fn app_on_held_store() -> Result<(Jobber, ManualClock, HeldStore)> {
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let (app, clock) = manual_app_with(|app| app.storage(storage))?;
    Ok((app, clock, store))
}

#[test]
fn a_job_that_is_due_while_its_replacement_is_being_stored_waits_for_the_store() -> Result {
    for answer in [Fault::None, Fault::Fail] {
        let (app, clock, store) = app_on_held_store()?;
        let log = Log::new();
        let task = app.task("t", log.argument()).durable().register()?;
        let tick = app.task("tick", || async {}).register()?;
        let job = task.schedule(1).id("x").delay(SECOND).block_on()?;
        store.hold();
        let mut replace = task.schedule(2).id("x").replace().delay(MINUTE);
        begin(&mut replace);
        assert_eq!(store.requested()?, ["put x 2"]);
        clock.advance(SECOND);
        // When a job that is due later has run, the timer has handled the first.
        let after = tick.schedule(()).delay(Duration::ZERO).block_on()?;
        assert_eq!(after.wait_blocking(), JobStatus::Success);
        assert!(log.take().is_empty(), "it waits");
        store.release_with(answer.clone());
        let replaced = block_on(replace);
        if matches!(answer, Fault::None) {
            let _ = replaced?;
            clock.advance(MINUTE);
            job.wait_blocking();
            assert_eq!(log.take(), [2]);
        } else {
            assert!(replaced.is_err());
            job.wait_blocking();
            assert_eq!(log.take(), [1]);
        }
    }
    Ok(())
}

/// Regression: a replacement was stored after its job had been cancelled and another task
/// had taken the id; the store removed the id once more, and with it the new job.
#[test]
fn a_late_answer_to_a_replacement_does_not_remove_the_next_job_of_the_id() -> Result {
    let (app, _clock, store) = app_on_held_store()?;
    let one = app.task("one", async |n: u32| n).durable().register()?;
    let two = app.task("two", async |n: u32| n).durable().register()?;
    let job = one.schedule(1).id("x").delay(HOUR).block_on()?;
    store.hold();
    let mut replace = one.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    assert_eq!(store.requested()?, ["put x 2"]);
    let mut cancel = job.cancel();
    begin(&mut cancel);
    let mut other = two.schedule(3).id("x").delay(HOUR);
    begin(&mut other);
    // Nothing waits for the replacement any more.
    drop(replace);
    store.release();
    assert!(block_on(cancel)?.took_effect());
    let other = block_on(other)?;
    // When one more job is stored, every commit before it is done.
    let _ = two.schedule(4).delay(HOUR).block_on()?;
    assert_eq!(app.find_job("x").unwrap().task_name(), "two");
    let records = store.disk.records();
    assert!(records.iter().any(|record| record.id() == other.id()));
    Ok(())
}

/// Regression: the end of a run was written behind the replacement, and left the new
/// trigger with the time of the old one.
#[test]
fn a_run_that_ends_while_its_replacement_is_being_stored_does_not_overwrite_it() -> Result {
    let (app, clock, store) = app_on_held_store()?;
    let (sleep, started) = (clock.clone(), Log::new());
    let seen = started.clone();
    let task = app.task("t", move |_: u32| {
        seen.add(());
        sleep.sleep(SECOND)
    });
    let task = task.durable().register()?;
    let schedule = task.schedule(1).id("x").start_date(START);
    let job = schedule.every(HOUR * 24).block_on()?;
    wait_until(|| !started.entries().is_empty());
    store.hold();
    let mut replace = task.schedule(2).id("x").replace_any().delay(HOUR);
    begin(&mut replace);
    assert_eq!(store.requested()?, ["put x 2"]);
    clock.advance(SECOND);
    // The run ends while these do.
    let tick = app.task("tick", || async {}).register()?;
    for _ in 0..100 {
        tick.schedule(()).push().block_on()?.wait_blocking();
    }
    store.release();
    let _ = block_on(replace)?;
    let _ = task.schedule(3).delay(HOUR).block_on()?;
    wait_until(|| job.status() != JobStatus::Running);
    let record = store.record("x").unwrap();
    assert_eq!(
        (record.args.as_str(), record.progress.recurring),
        ("2", None)
    );
    assert_eq!(record.progress.due, job.exec_at());
    Ok(())
}

#[test]
fn a_job_that_is_stored_during_the_shutdown_is_left_to_the_next_process() -> Result {
    let (app, _clock, store) = app_on_held_store()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    store.hold();
    let mut schedule = task.schedule(1).id("x").delay(HOUR);
    begin(&mut schedule);
    assert_eq!(store.requested()?, ["put x 1"]);
    let mut stop = app.shutdown(Duration::MAX);
    begin(&mut stop);
    store.release();
    let job = block_on(schedule)?;
    // Shutdown does not wait for it.
    let (ends, ended) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || ends.send(stop.block_on()));
        let left = ended.recv_timeout(MINUTE);
        // If it did wait, this ends the wait and so the thread.
        app.shutdown(Duration::ZERO).block_on();
        assert!(left.unwrap().is_complete());
    });
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(store.disk.records().len(), 1);
    Ok(())
}
