//! Cancelling and aborting stored jobs.

use crate::support::{DAY, HOUR, Log, MINUTE, Machine, Result};
use crate::tasks::{at, hanging, logging};
use jobber::testing::Fault;
use jobber::{CancelOutcome, JobStatus};

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
