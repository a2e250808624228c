//! Attempts that ask to be made again later.

use std::time::Duration;

use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, event_kinds};
use jobber::testing::Simulation;
use jobber::{
    Backoff, BoxError, Clock, JobContext, JobError, JobStatus, Misfire, OnError, Outcome, Snooze,
    Task,
};

/// Snoozes for a minute until its time is this long ago, then fails or succeeds.
fn waits_for(until: Duration, then: fn(u32) -> Result<u32>, log: &Log<u32>) -> Body {
    let log = log.clone();
    Box::new(move |cx: JobContext, n: u32| {
        log.add(cx.attempt());
        std::future::ready(match cx.late() < until {
            true => Err(Snooze::new(MINUTE).into()),
            false => then(n),
        })
    })
}

type Body = Box<dyn Fn(JobContext, u32) -> std::future::Ready<Result<u32>> + Send + Sync>;

fn fails(_: u32) -> Result<u32> {
    Err("no".into())
}

#[test]
fn a_snoozed_attempt_is_made_again_with_the_same_number_and_its_arguments() -> Result {
    let log = Log::new();
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim
        .app()
        .task("t", waits_for(2 * MINUTE, Ok, &log))
        .register()?;
    let job = task.schedule(7).id("x").push().block_on()?;
    let start = job.exec_at();
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(job.exec_at(), start + MINUTE);
    assert!(matches!(job.result(), Err(JobError::NotCompleted)));
    sim.advance(MINUTE - Duration::from_nanos(1));
    assert_eq!(log.take(), [1]);
    sim.advance(MINUTE + Duration::from_nanos(1));
    assert_eq!(log.take(), [1, 1]);
    assert_eq!(*job.result()?, 7);
    let kinds = event_kinds(&mut events, "x");
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| kind.starts_with("Snoozed"))
            .count(),
        2,
        "{kinds:?}"
    );
    Ok(())
}

#[test]
fn a_snooze_uses_up_no_retry_and_is_no_failure() -> Result {
    let (log, asked) = (Log::new(), Log::new());
    let mut sim = Simulation::new();
    let seen = asked.clone();
    let task = sim.app().task("t", waits_for(2 * MINUTE, fails, &log));
    let task = task
        .retry(Backoff::fixed(2, SECOND))
        .on_error(move |_, cx| {
            seen.add(cx.attempt());
            OnError::Pass
        });
    let task = task.register()?;
    let job = task
        .schedule(0)
        .misfire(Misfire::Skip)
        .first_now()
        .every(HOUR)
        .block_on()?;
    sim.advance(HOUR - SECOND);
    assert_eq!(log.take(), [1, 1, 1, 2, 3]);
    assert_eq!(asked.take(), [1, 2, 3]);
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    Ok(())
}

#[test]
fn the_thousand_and_first_snooze_of_a_run_is_a_failure() -> Result {
    let (log, asked) = (Log::new(), Log::new());
    let mut sim = Simulation::new();
    let seen = asked.clone();
    let task = sim.app().task("t", waits_for(Duration::MAX, Ok, &log));
    let task = task.on_error(move |error, _| {
        seen.add(matches!(error, JobError::Failed(error) if error.is::<Snooze>()));
        OnError::Pass
    });
    let job = task.register()?.schedule(0).max_runs(2);
    let job = job.first_now().every(MINUTE).block_on()?;
    sim.run_until_stalled();
    sim.advance(999 * MINUTE);
    assert_eq!(log.take().len(), 1_000);
    assert_eq!(job.last_run(), None);
    sim.advance(MINUTE);
    assert_eq!(
        job.last_run().map(|run| run.status),
        Some(JobStatus::Failed)
    );
    assert_eq!(log.take(), [1, 1], "the next run begins, and counts anew");
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(asked.take(), [true]);
    Ok(())
}

#[test]
fn a_stored_job_is_snoozed_over_a_crash_and_a_shutdown() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let register = |sim: &Simulation| -> Result<Task<u32, u32>> {
        let body = waits_for(5 * MINUTE, Ok, &log);
        Ok(sim.app().task("t", body).durable().register()?)
    };
    let mut sim = machine.boot();
    let task = register(&sim)?;
    let at = sim.clock().wall();
    task.schedule(1).id("once").push().block_on()?;
    task.schedule(2).id("at").at(at).block_on()?;
    task.schedule(3)
        .id("series")
        .first_now()
        .every(HOUR)
        .block_on()?;
    sim.advance(30 * SECOND);
    assert_eq!(log.take(), [1, 1, 1]);
    sim.crash();

    let mut sim = machine.boot();
    register(&sim)?;
    sim.advance(29 * SECOND);
    assert!(log.take().is_empty(), "it is still snoozed");
    sim.advance(SECOND);
    assert_eq!(log.take(), [1, 1, 1]);
    assert!(sim.shutdown(Duration::ZERO).is_complete());

    // It was due while no process ran, and is made at once.
    machine.clock.advance(2 * MINUTE);
    let mut sim = machine.boot();
    let task = register(&sim)?;
    sim.run_until_stalled();
    assert_eq!(log.take(), [1, 1, 1]);
    let once = task.job("once").expect("it is not lost");
    sim.advance(2 * MINUTE);
    assert_eq!(*once.result()?, 1);
    assert!(task.job("at").is_none());
    let series = task.job("series").expect("it goes on");
    assert_eq!(
        series.last_run().map(|run| run.status),
        Some(JobStatus::Success)
    );
    Ok(())
}

#[test]
fn a_snooze_that_no_attempt_can_follow_ends_the_run_as_cancelled() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let body = async move |clock: jobber::testing::ManualClock| {
        clock.sleep(MINUTE).await;
        Err::<(), BoxError>(Snooze::new(MINUTE).into())
    };
    let task = sim.app().task("t", body).register()?;
    let cancelled = task.schedule(clock.clone()).push().block_on()?;
    let expired = task
        .schedule(clock.clone())
        .expires(90 * SECOND)
        .push()
        .block_on()?;
    let replaced = task
        .schedule(clock.clone())
        .id("r")
        .first_now()
        .every(HOUR)
        .block_on()?;
    sim.advance(SECOND);
    cancelled.cancel().block_on()?;
    let next = task.schedule(clock.clone()).id("r").replace();
    next.every(2 * HOUR).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(cancelled.status(), JobStatus::Cancelled);
    assert!(matches!(cancelled.result(), Err(JobError::Cancelled)));
    assert_eq!(expired.status(), JobStatus::Cancelled);
    assert!(matches!(expired.result(), Err(JobError::Expired { .. })));
    assert_eq!(
        replaced.last_run().map(|run| run.status),
        Some(JobStatus::Cancelled)
    );
    Ok(())
}

#[test]
fn what_the_attempt_has_said_itself_stands_above_a_snooze() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |cx: JobContext, never: bool| {
        match never {
            true => cx.no_retry(),
            false => cx.retry_after(SECOND),
        }
        Err::<(), BoxError>(Snooze::new(MINUTE).into())
    });
    let task = task.retry(Backoff::fixed(1, HOUR)).register()?;
    let never = task.schedule(true).push().block_on()?;
    let after = task.schedule(false).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(never.status(), JobStatus::Failed);
    assert_eq!(after.status(), JobStatus::Scheduled);
    sim.advance(SECOND);
    assert_eq!(after.status(), JobStatus::Failed, "there was one retry");
    Ok(())
}

/// The function of the task itself can't fail, so that only the middleware asks for it.
#[test]
fn middleware_may_snooze_a_task_that_returns_no_error() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |text: String| text);
    let task = task.around(
        async |cx: JobContext, next: jobber::Next| match cx.late() < SECOND {
            true => Outcome::fail(Snooze::new(SECOND)),
            false => next.run().await,
        },
    );
    let job = task.register()?.schedule("kept".into()).push().block_on()?;
    sim.advance(SECOND);
    assert_eq!(*job.result()?, "kept");
    Ok(())
}

#[test]
fn a_snoozed_run_is_steered_as_one_that_waits_for_a_retry() -> Result {
    let log = Log::new();
    let mut sim = Simulation::new();
    let task = sim.app().task("t", waits_for(HOUR, Ok, &log)).register()?;
    let job = task.schedule(1).first_now().every(24 * HOUR).block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), [1]);
    // The attempt that it waits for, and no extra run.
    job.run_now().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), [1]);
    assert_eq!(job.last_run(), None);
    job.pause().block_on()?;
    sim.advance(10 * MINUTE);
    assert!(log.take().is_empty());
    job.resume().block_on()?;
    sim.advance(HOUR);
    assert_eq!(job.last_run().map(|run| run.number), Some(1));
    Ok(())
}
