//! Cancelling and aborting stored jobs.

use crate::support::{HOUR, Log, MINUTE, Machine, Result};
use crate::tasks::{at, hanging, logging};
use jobber::JobStatus;

#[test]
fn cancel_returns_when_the_job_is_gone_from_the_store() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let once = task.schedule(1).id("once").delay(MINUTE).wait_blocking()?;
    let again = task.schedule(1).id("again").every(MINUTE).wait_blocking()?;
    assert!(once.cancel().wait_blocking()?);
    assert_eq!(once.status(), JobStatus::Cancelled);
    assert!(machine.record("once").is_none());
    assert!(!once.cancel().wait_blocking()?, "it is cancelled already");
    assert!(again.cancel().wait_blocking()?);
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
    let job = schedule.every(MINUTE).wait_blocking()?;
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Running);
    assert!(job.cancel().wait_blocking()?);
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
    let job = schedule.push().wait_blocking()?;
    sim.run_until_stalled();
    assert!(job.abort().wait_blocking()?);
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(machine.records().is_empty());
    Ok(())
}
