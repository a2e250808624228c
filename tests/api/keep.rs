//! Keeping a live job, and the timeouts and retries of one job.

use std::time::Duration;

use crate::support::{HOUR, Log, MINUTE, Result, SECOND};
use jobber::testing::Simulation;
use jobber::{Backoff, CancelOutcome, JobStatus, ScheduleError};

#[test]
fn keep_returns_the_live_job_as_it_is() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", log.argument()).register()?;
    let kept = |n| task.schedule(n).id("x").keep();
    let job = kept(1).every(HOUR).block_on()?;
    let due = job.exec_at();
    let mut events = sim.app().events();
    for again in [
        kept(2).push(),
        kept(2).delay(MINUTE),
        kept(2).every(MINUTE),
        kept(2).cron("* * * * *"),
        kept(2).until(due - HOUR * 2).every(MINUTE),
    ] {
        let same = again.block_on()?;
        assert_eq!((same.exec_at(), same.cron_expression()), (due, None));
    }
    assert!(events.try_next().is_none());
    assert_eq!(sim.app().jobs().len(), 1);
    sim.advance(HOUR);
    assert_eq!(log.entries(), [1]);
    assert_eq!(job.last_run().unwrap().number, 1);
    Ok(())
}

#[test]
fn keep_checks_the_options_although_the_job_is_there() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let kept = || task.schedule(()).id("x").keep();
    let _ = kept().every(HOUR).block_on()?;
    let error = kept().cron("nonsense").block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::Cron(_)));
    let error = kept().replace().every(HOUR).block_on().unwrap_err();
    assert_eq!(
        error.to_string(),
        "keep and replace contradict each other: set one of them"
    );
    Ok(())
}

#[test]
fn keep_refuses_the_job_of_another_task_and_a_job_that_ends() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim
        .app()
        .task("t", move || clock.sleep(MINUTE))
        .register()?;
    let other = sim.app().task("other", || async {}).register()?;
    let kept = || task.schedule(()).id("x").keep();
    let job = kept().every(HOUR).block_on()?;
    let error = other.schedule(()).id("x").keep().push().block_on();
    assert!(matches!(error, Err(ScheduleError::DuplicateJob { .. })));
    sim.advance(HOUR);
    assert_eq!(job.cancel().block_on()?, CancelOutcome::EndsAfterAttempt);
    let error = kept().every(HOUR).block_on();
    assert!(matches!(error, Err(ScheduleError::JobEnding { .. })));
    sim.advance(MINUTE);
    let next = kept().every(HOUR).block_on()?;
    assert_eq!((job.is_done(), next.status()), (true, JobStatus::Scheduled));
    Ok(())
}

#[test]
fn the_timeout_of_a_job_goes_before_that_of_its_task() -> Result {
    let mut sim = Simulation::new();
    let hang = sim.app().task("t", std::future::pending::<()>);
    let hang = hang.timeout(MINUTE).register()?;
    let schedule = || hang.schedule(());
    let sooner = schedule().timeout(SECOND).push().block_on()?;
    let later = schedule().timeout(HOUR).push().block_on()?;
    let recurring = schedule().timeout(SECOND).every(HOUR).block_on()?;
    let own = schedule().push().block_on()?;
    let at = |sim: &mut Simulation, step| {
        sim.advance(step);
        [&sooner, &own, &later].map(|job| job.status() == JobStatus::Timeout)
    };
    assert_eq!(at(&mut sim, SECOND), [true, false, false]);
    assert_eq!(at(&mut sim, MINUTE), [true, true, false]);
    assert_eq!(at(&mut sim, HOUR), [true, true, true]);
    sim.advance(SECOND);
    assert_eq!(recurring.last_run().unwrap().status, JobStatus::Timeout);
    Ok(())
}

#[test]
fn the_retries_of_a_job_go_before_those_of_its_task() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let tries = log.clone();
    let fails = sim.app().task("t", move |n: u32| {
        tries.add(n);
        async { Err::<(), _>("no") }
    });
    let fails = fails.retry(Backoff::fixed(1, SECOND)).register()?;
    let _ = fails.schedule(1).push().block_on()?;
    let three = Backoff::fixed(3, SECOND);
    let _ = fails.schedule(3).retry(three).push().block_on()?;
    let none = Backoff::fixed(0, SECOND);
    let _ = fails.schedule(0).retry(none).push().block_on()?;
    sim.advance(MINUTE);
    let attempts = |n| log.entries().iter().filter(|entry| **entry == n).count();
    assert_eq!([0, 1, 3].map(attempts), [1, 2, 4]);
    Ok(())
}

#[test]
fn an_invalid_timeout_or_backoff_of_a_job_is_refused() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let message = |schedule: jobber::Schedule<(), ()>| {
        let error = schedule.push().block_on().unwrap_err();
        error.to_string()
    };
    let zero = task.schedule(()).timeout(Duration::ZERO);
    assert_eq!(message(zero), "the timeout must be longer than zero");
    let long = task.schedule(()).timeout(Duration::MAX);
    assert!(message(long).starts_with("the timeout 18446744073709551615.999999999s is too long"));
    let wild = Backoff::exponential(1).jitter(2.0);
    assert_eq!(
        message(task.schedule(()).retry(wild)),
        "the jitter of the backoff is 2, but must be between 0 and 1"
    );
    assert!(sim.app().jobs().is_empty());
    Ok(())
}
