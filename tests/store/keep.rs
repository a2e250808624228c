//! Keeping stored jobs, and the options of one stored job.

use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND};
use crate::tasks::{failing, hanging, logging};
use jobber::{Backoff, JobStatus, ScheduleError};

#[test]
fn keep_at_each_start_leaves_the_stored_job_and_its_progress() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    for (process, runs) in [(1, 1), (2, 2), (3, 3)] {
        let mut sim = machine.boot();
        let task = logging(&sim, "t", &log);
        let schedule = task.schedule(process).id("x").keep();
        let before = machine.record("x");
        let job = schedule.every(HOUR).block_on()?;
        if process > 1 {
            assert_eq!(machine.record("x"), before, "nothing is written");
        }
        sim.advance(HOUR);
        assert_eq!(job.last_run().unwrap().number, runs);
        assert_eq!(machine.record("x").unwrap().args, "1");
        sim.crash();
    }
    Ok(())
}

#[test]
fn keep_does_not_take_over_an_unresolved_job() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = sim.app().task("t", async |_: String| {}).durable();
    let task = task.register()?;
    let _ = task
        .schedule("no number".into())
        .id("x")
        .every(HOUR)
        .block_on()?;
    sim.crash();
    let sim = machine.boot();
    let before = machine.record("x");
    let task = logging(&sim, "t", &Log::new());
    let kept = task.schedule(1).id("x").keep().every(HOUR).block_on();
    assert!(matches!(kept, Err(ScheduleError::UnresolvedJob { .. })));
    assert_eq!(machine.record("x"), before);
    Ok(())
}

#[test]
fn a_durable_job_that_recurs_needs_an_id() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let error = task.schedule(1).every(HOUR).block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::RecursWithoutId));
    assert!(machine.records().is_empty());
    for _ in 0..2 {
        let _ = task.schedule(1).generated_id().every(HOUR).block_on()?;
    }
    let _ = task.schedule(1).in_memory().every(HOUR).block_on()?;
    let _ = task.schedule(1).delay(HOUR).block_on()?;
    assert_eq!((machine.records().len(), sim.app().jobs().len()), (3, 4));
    Ok(())
}

#[test]
fn the_last_call_of_id_and_generated_id_counts() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let generated = task
        .schedule(1)
        .id("x")
        .generated_id()
        .every(HOUR)
        .block_on()?;
    assert_ne!(*generated.id(), "x");
    let named = task
        .schedule(1)
        .generated_id()
        .id("x")
        .every(HOUR)
        .block_on()?;
    assert_eq!(*named.id(), "x");
    Ok(())
}

#[test]
fn the_timeout_and_the_retries_of_a_job_hold_in_the_next_process() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let fails = failing(&sim, &log, Backoff::fixed(9, SECOND));
    let schedule = fails.schedule(1).id("x").retry(Backoff::fixed(2, MINUTE));
    let _ = schedule.timeout(SECOND).delay(MINUTE).block_on()?;
    sim.crash();
    let mut sim = machine.boot();
    let fails = failing(&sim, &log, Backoff::fixed(9, SECOND));
    let job = fails.job("x").unwrap();
    sim.advance(MINUTE * 2);
    assert_eq!((log.take().len(), job.is_done()), (2, false));
    sim.crash();
    let mut sim = machine.boot();
    let hangs = hanging(&sim, &log);
    let job = hangs.job("x").unwrap();
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 1);
    sim.advance(SECOND);
    assert_eq!(
        job.status(),
        JobStatus::Timeout,
        "the last of its own retries"
    );
    Ok(())
}

#[test]
fn arguments_that_are_too_long_are_refused() -> Result {
    const MIB: usize = 1_024 * 1_024;
    let machine = Machine::new();
    let sim = machine.boot();
    let task = sim.app().task("t", async |_: String| {}).durable();
    let task = task.register()?;
    // The quotes count.
    let schedule = |bytes: usize| task.schedule("x".repeat(bytes - 2)).delay(HOUR).block_on();
    let error = schedule(MIB + 1).unwrap_err();
    let ScheduleError::ArgumentsTooLong { bytes, max, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((bytes, max), (MIB + 1, MIB));
    assert!(machine.records().is_empty() && sim.app().jobs().is_empty());
    schedule(MIB)?;
    // A job in memory has no JSON.
    let _ = task
        .schedule("x".repeat(MIB))
        .in_memory()
        .push()
        .block_on()?;
    Ok(())
}
