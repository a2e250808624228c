//! Failed attempts that are tried again.

mod common;

use std::error::Error;
use std::time::Duration;

use common::{HOUR, Log, MINUTE, SECOND, seconds};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, BoxError, JobContext, JobError, JobStatus, NoRetry, RetryAfter};

type Result = std::result::Result<(), Box<dyn Error>>;

/// The seconds at which a task is tried that fails until its `good` attempt.
fn attempts(
    backoff: Backoff,
    good: u32,
) -> std::result::Result<(Vec<u64>, JobStatus), Box<dyn Error>> {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move |cx: JobContext| {
                log.add(now());
                let failed = cx.attempt() < good;
                async move { if failed { Err("no") } else { Ok(()) } }
            }
        })
        .retry(backoff)
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.advance(HOUR);
    Ok((log.entries(), job.status()))
}

#[test]
fn delays_follow_the_backoff() -> Result {
    let (at, status) = attempts(Backoff::exponential(4), 9)?;
    assert_eq!((at, status), (vec![0, 1, 3, 7, 15], JobStatus::Failed));
    let backoff = Backoff::exponential(4)
        .initial(MINUTE)
        .factor(3.0)
        .cap(MINUTE * 5);
    assert_eq!(attempts(backoff, 9)?.0, [0, 60, 240, 540, 840]);
    assert_eq!(attempts(Backoff::fixed(2, SECOND * 10), 9)?.0, [0, 10, 20]);
    Ok(())
}

#[test]
fn a_success_ends_the_retries() -> Result {
    let (at, status) = attempts(Backoff::fixed(5, SECOND), 3)?;
    assert_eq!((at, status), (vec![0, 1, 2], JobStatus::Success));
    Ok(())
}

#[test]
fn without_a_backoff_the_first_failure_is_the_end() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || Err::<(), _>("no"))
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Failed);
    Ok(())
}

#[test]
fn between_attempts_the_job_is_scheduled_for_the_next_and_has_no_result() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || Err::<(), _>("no"))
        .retry(Backoff::fixed(1, MINUTE))
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    let start = job.exec_at();
    sim.run_until_stalled();
    assert_eq!(
        (job.status(), job.exec_at()),
        (JobStatus::Scheduled, start + MINUTE)
    );
    assert!(matches!(job.result(), Err(JobError::NotCompleted)));
    assert!(!job.is_done());
    Ok(())
}

#[test]
fn panics_are_tried_again_as_errors_are() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async |cx: JobContext| {
            assert!(cx.attempt() > 1, "the first")
        })
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn retry_after_replaces_the_delay_and_counts_as_a_retry() -> Result {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move || {
                log.add(now());
                async { Err::<(), BoxError>(RetryAfter(MINUTE).into()) }
            }
        })
        .retry(Backoff::fixed(2, SECOND))
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.advance(HOUR);
    assert_eq!(log.entries(), [0, 60, 120]);
    assert_eq!(job.status(), JobStatus::Failed);
    assert!(
        job.result()
            .unwrap_err()
            .source()
            .unwrap()
            .is::<RetryAfter>()
    );
    Ok(())
}

#[test]
fn abort_as_an_error_leaves_no_retry() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || {
            Err::<(), BoxError>(NoRetry::new("no such card").into())
        })
        .retry(Backoff::fixed(5, SECOND))
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Failed);
    assert_eq!(
        job.result().unwrap_err().to_string(),
        "the task failed: no such card"
    );
    Ok(())
}

#[test]
fn every_attempt_has_the_same_arguments_id_and_nominal_time() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move |cx: JobContext, text: String| {
                log.add((
                    text,
                    cx.id().to_string(),
                    cx.nominal_time(),
                    cx.run_number(),
                ));
                async { Err::<(), _>("no") }
            }
        })
        .retry(Backoff::fixed(2, SECOND))
        .register()?;
    let job = task.schedule("x".into()).delay(SECOND).wait_blocking()?;
    let expected = ("x".to_string(), job.id().to_string(), job.exec_at(), 1);
    sim.advance(MINUTE);
    assert_eq!(log.entries(), vec![expected; 3]);
    Ok(())
}

#[test]
fn jitter_shortens_delays_by_up_to_its_share_and_not_all_alike() -> Result {
    let mut sim = Simulation::with(7, ManualClock::new(), |b| b)?;
    let task = sim
        .app()
        .task("t", async || Err::<(), _>("no"))
        .retry(Backoff::fixed(1, MINUTE).jitter(0.5))
        .register()?;
    let mut delays = Vec::new();
    for _ in 0..50 {
        let job = task.schedule(()).push().wait_blocking()?;
        let start = job.exec_at();
        sim.run_until_stalled();
        delays.push(job.exec_at() - start);
    }
    assert!(
        delays
            .iter()
            .all(|d| (MINUTE / 2..=MINUTE).contains(&d.unsigned_abs()))
    );
    delays.sort();
    delays.dedup();
    assert!(delays.len() > 40, "{} different delays of 50", delays.len());
    Ok(())
}

#[test]
fn a_waiting_retry_holds_no_thread() -> Result {
    let clock = ManualClock::new();
    let app = jobber::Jobber::builder()
        .clock(clock.clone())
        .executor(jobber::ThreadPool::new(1)?)
        .build()?;
    let failing = app
        .task("failing", async |cx: JobContext| {
            if cx.attempt() == 1 { Err("no") } else { Ok(()) }
        })
        .retry(Backoff::fixed(1, MINUTE))
        .register()?;
    let other = app.task("other", || async {}).register()?;
    app.start().wait_blocking()?;
    let job = failing.schedule(()).push().wait_blocking()?;
    // The pool's one thread is free for others.
    while job.exec_at() == time::macros::datetime!(2000-01-01 0:00 UTC) {
        assert!(
            other
                .schedule(())
                .push()
                .wait_blocking()?
                .wait_blocking()
                .is_final()
        );
    }
    clock.advance(MINUTE);
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_recurring_job_retries_within_its_run() -> Result {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move |cx: JobContext| {
                log.add((cx.run_number(), cx.attempt(), now()));
                let good = cx.attempt() == 2;
                async move { if good { Ok(()) } else { Err("no") } }
            }
        })
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let job = task
        .schedule(())
        .max_runs(2)
        .every(SECOND * 10)
        .wait_blocking()?;
    sim.advance(MINUTE);
    assert_eq!(
        log.entries(),
        [(1, 1, 10), (1, 2, 11), (2, 1, 20), (2, 2, 21)]
    );
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_retry_that_is_too_far_off_to_count_waits_for_ever_and_harms_nobody() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || {
            Err::<(), BoxError>(RetryAfter(Duration::MAX).into())
        })
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert!(job.cancel().wait_blocking()?);
    Ok(())
}

#[test]
fn the_reason_of_an_abort_is_the_source_of_that() -> Result {
    let mut sim = Simulation::new();
    let abort = || NoRetry::new(std::io::Error::other("the card is gone"));
    let task = sim
        .app()
        .task("t", move || std::future::ready(Err::<(), _>(abort())));
    let job = task.register()?.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    let error = job.result().unwrap_err();
    let abort = error.source().unwrap();
    assert_eq!(abort.to_string(), "the card is gone");
    assert!(abort.source().unwrap().is::<std::io::Error>());
    Ok(())
}

#[test]
fn a_factor_of_zero_is_allowed_and_makes_all_retries_but_the_first_at_once() -> Result {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let seen = log.clone();
    let task = sim.app().task("t", move || {
        seen.add(now());
        std::future::ready(Err::<(), _>("no"))
    });
    let backoff = Backoff::exponential(3).initial(SECOND).factor(0.0);
    let _ = task
        .retry(backoff)
        .register()?
        .schedule(())
        .push()
        .wait_blocking()?;
    sim.advance(SECOND);
    assert_eq!(log.entries(), [0, 1, 1, 1]);
    Ok(())
}
