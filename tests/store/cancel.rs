//! Cancelling and aborting stored jobs.

use crate::support::{HOUR, Log, MINUTE, Machine, Result};
use crate::tasks::{at, hanging, logging};
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
