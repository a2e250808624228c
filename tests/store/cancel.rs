//! Cancelling and aborting stored jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{DAY, HOUR, HeldStore, Log, MINUTE, Machine, Result, begin, wait_until};
use crate::tasks::{at, hanging, logging};
use futures_lite::future::block_on;
use jobber::testing::{Fault, FaultyStorage, Operation};
use jobber::{CancelOutcome, JobStatus, Jobber, MemoryStorage};

#[test]
fn cancel_returns_when_the_job_is_gone_from_the_store() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let once = task.schedule(1).id("once").delay(MINUTE).block_on()?;
    let again = task.schedule(1).id("again").every(MINUTE).block_on()?;
    assert!(once.cancel().block_on()?.took_effect());
    assert_eq!(once.status(), JobStatus::Cancelled);
    assert!(machine.record("once").is_none());
    assert!(
        !once.cancel().block_on()?.took_effect(),
        "it is cancelled already"
    );
    assert!(again.cancel().block_on()?.took_effect());
    assert!(machine.records().is_empty());
    sim.crash();
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(HOUR);
    assert_eq!(log.take(), []);
    Ok(())
}

#[test]
fn a_recurring_job_that_is_cancelled_in_its_run_is_not_restored() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = hanging(&sim, &log).schedule(1).id("x");
    let job = schedule.every(MINUTE).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Running);
    assert!(job.cancel().block_on()?.took_effect());
    assert!(machine.record("x").is_none(), "before the run has ended");
    sim.crash();
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(HOUR);
    assert_eq!(log.take(), [(1, 1, at(60))]);
    Ok(())
}

#[test]
fn an_aborted_job_is_not_restored() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = hanging(&sim, &log).schedule(1).id("x");
    let job = schedule.push().block_on()?;
    sim.run_until_stalled();
    assert!(job.abort().block_on()?.took_effect());
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn a_job_that_runs_once_and_is_cancelled_during_its_attempt_is_gone_from_the_store() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let job = hanging(&sim, &log).schedule(1).id("x").push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.cancel().block_on()?, CancelOutcome::EndsAfterAttempt);
    assert!(machine.records().is_empty());
    sim.crash();
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(HOUR);
    assert_eq!(log.take().len(), 1, "the next process has no such job");
    Ok(())
}

/// Regression: `cancel` returned `Ok` while the store had refused the end of the job, and the
/// next process ran it.
#[test]
fn no_attempt_starts_after_cancel_has_returned_ok() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let job = logging(&sim, "t", &log)
        .schedule(1)
        .id("x")
        .push()
        .block_on()?;
    machine.set_fault(Fault::Fail);
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Success);
    let cancelled = job.cancel().block_on();
    assert_eq!(log.take().len(), 1);
    sim.crash();
    machine.set_fault(Fault::None);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    let again = log.take();
    assert!(
        cancelled.is_err() || again.is_empty(),
        "{cancelled:?}, then {again:?}"
    );
    Ok(())
}

/// Regression: the second `cancel` returned `Ok` while the row was there, and the next process
/// ran the job.
#[test]
fn a_cancel_that_is_tried_again_is_not_ok_while_the_row_is_there() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let job = logging(&sim, "t", &log)
        .schedule(1)
        .id("x")
        .delay(HOUR)
        .block_on()?;
    machine.set_fault(Fault::Fail);
    assert!(job.cancel().block_on().is_err());
    let second = job.cancel().block_on();
    sim.crash();
    machine.set_fault(Fault::None);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(DAY);
    let ran = log.take();
    assert!(
        second.is_err() || ran.is_empty(),
        "{second:?}, then {ran:?}"
    );
    Ok(())
}

#[test]
fn a_cancel_of_a_job_that_is_gone_is_ok_although_the_store_fails_with_another() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let gone = task.schedule(1).id("gone").push().block_on()?;
    machine.set_fault(Fault::Fail);
    sim.run_until_stalled();
    machine.set_fault(Fault::None);
    let other = task.schedule(2).id("other").push().block_on()?;
    assert!(machine.record("gone").is_none());
    machine.set_fault(Fault::Fail);
    sim.run_until_stalled();
    assert!(other.cancel().block_on().is_err());
    assert_eq!(gone.cancel().block_on()?, CancelOutcome::AlreadyDone);
    Ok(())
}

/// Regression: the commit that had the second `cancel` failed, and the row of the successor was
/// deleted.
#[test]
fn a_second_cancel_of_an_old_job_does_not_touch_the_row_of_its_successor() -> Result {
    let disk = MemoryStorage::new();
    let (store, storage) = HeldStore::new(disk.clone());
    let fails = Arc::new(AtomicBool::new(false));
    let planned = fails.clone();
    let storage = FaultyStorage::new(storage, move |operation| match operation {
        Operation::Commit(_) if planned.load(Ordering::SeqCst) => Fault::Fail,
        _ => Fault::None,
    });
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async || {}).durable().register()?;
    app.start().block_on()?;
    let old = task.schedule(()).id("x").delay(HOUR).block_on()?;
    let other = task.schedule(()).id("other").delay(HOUR).block_on()?;
    fails.store(true, Ordering::SeqCst);
    assert!(old.cancel().block_on().is_err());
    fails.store(false, Ordering::SeqCst);
    let _successor = task.schedule(()).id("x").delay(DAY).block_on()?;

    store.hold();
    let mut held = task.schedule(()).delay(HOUR);
    begin(&mut held);
    store.requested()?;
    let mut cancel_other = other.cancel();
    begin(&mut cancel_other);
    let mut cancel_old = old.cancel();
    begin(&mut cancel_old);
    fails.store(true, Ordering::SeqCst);
    store.release();
    block_on(held)?;
    assert!(block_on(cancel_other).is_err());
    assert_eq!(block_on(cancel_old)?, CancelOutcome::AlreadyDone);
    fails.store(false, Ordering::SeqCst);
    wait_until(|| app.health().unstored() == 0);
    let records = disk.records();
    assert!(records.iter().any(|record| record.id() == "x"));
    Ok(())
}
