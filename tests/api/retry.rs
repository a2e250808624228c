//! Retries of failed attempts.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::{DAY, HOUR, Log, MINUTE, NANOSECOND, Result, SECOND, START, seconds};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, BoxError, Job, JobContext, JobError, JobStatus, NoRetry, RetryAfter};

/// The seconds at which the attempts of a task start that succeeds in attempt `good`.
fn attempt_times(backoff: Backoff, good: u32) -> Result<(Vec<u64>, JobStatus)> {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move |cx: JobContext| {
            log.add(now());
            let failed = cx.attempt() < good;
            async move { if failed { Err("no") } else { Ok(()) } }
        }
    });
    let task = task.retry(backoff).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.advance(HOUR);
    Ok((log.entries(), job.status()))
}

#[test]
fn delays_follow_the_backoff() -> Result {
    let (at, status) = attempt_times(Backoff::exponential(4), 9)?;
    assert_eq!((at, status), (vec![0, 1, 3, 7, 15], JobStatus::Failed));
    let backoff = Backoff::exponential(4)
        .initial(MINUTE)
        .factor(3.0)
        .cap(MINUTE * 5);
    assert_eq!(attempt_times(backoff, 9)?.0, [0, 60, 240, 540, 840]);
    assert_eq!(
        attempt_times(Backoff::fixed(2, SECOND * 10), 9)?.0,
        [0, 10, 20]
    );
    Ok(())
}

#[test]
fn a_success_ends_the_retries() -> Result {
    let (at, status) = attempt_times(Backoff::fixed(5, SECOND), 3)?;
    assert_eq!((at, status), (vec![0, 1, 2], JobStatus::Success));
    Ok(())
}

#[test]
fn a_task_without_a_backoff_is_not_retried() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Failed);
    Ok(())
}

#[test]
fn a_job_between_attempts_is_scheduled_and_has_no_result() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task.retry(Backoff::fixed(1, MINUTE)).register()?;
    let job = task.schedule(()).push().block_on()?;
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
fn a_panic_is_retried() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |cx: JobContext| {
        assert!(cx.attempt() > 1, "the first")
    });
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn retry_after_replaces_the_delay_and_counts_as_a_retry() -> Result {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move || {
            log.add(now());
            async { Err::<(), BoxError>(RetryAfter::new(MINUTE).into()) }
        }
    });
    let task = task.retry(Backoff::fixed(2, SECOND)).register()?;
    let job = task.schedule(()).push().block_on()?;
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
fn an_attempt_that_fails_with_no_retry_is_not_retried() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || {
        Err::<(), BoxError>(NoRetry::new("no such card").into())
    });
    let task = task.retry(Backoff::fixed(5, SECOND)).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Failed);
    assert_eq!(
        {
            let error = job.result().unwrap_err();
            let marker = error.source().unwrap().source().unwrap();
            marker.source().unwrap().to_string()
        },
        "no such card"
    );
    Ok(())
}

#[test]
fn every_attempt_has_the_same_arguments_id_and_nominal_time() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", {
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
    });
    let task = task.retry(Backoff::fixed(2, SECOND)).register()?;
    let job = task.schedule("x".into()).delay(SECOND).block_on()?;
    let expected = ("x".to_string(), job.id().to_string(), job.exec_at(), 1);
    sim.advance(MINUTE);
    assert_eq!(log.entries(), vec![expected; 3]);
    Ok(())
}

#[test]
fn jitter_shortens_each_delay_by_a_random_part_of_its_share() -> Result {
    let mut sim = Simulation::with(7, ManualClock::new(), |b| b)?;
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task
        .retry(Backoff::fixed(1, MINUTE).jitter(0.5))
        .register()?;
    let mut delays = Vec::new();
    for _ in 0..50 {
        let job = task.schedule(()).push().block_on()?;
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
    let failing = app.task("failing", async |cx: JobContext| {
        if cx.attempt() == 1 { Err("no") } else { Ok(()) }
    });
    let failing = failing.retry(Backoff::fixed(1, MINUTE)).register()?;
    let other = app.task("other", || async {}).register()?;
    app.start().block_on()?;
    let job = failing.schedule(()).push().block_on()?;
    // The pool's one thread is free for other jobs.
    while job.exec_at() == time::macros::datetime!(2000-01-01 0:00 UTC) {
        assert!(
            other
                .schedule(())
                .push()
                .block_on()?
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
    let task = sim.app().task("t", {
        let log = log.clone();
        move |cx: JobContext| {
            log.add((cx.run_number(), cx.attempt(), now()));
            let good = cx.attempt() == 2;
            async move { if good { Ok(()) } else { Err("no") } }
        }
    });
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let schedule = task.schedule(()).max_runs(2);
    let job = schedule.every(SECOND * 10).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(
        log.entries(),
        [(1, 1, 10), (1, 2, 11), (2, 1, 20), (2, 2, 21)]
    );
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

/// Regression: a job waited for ever, because a server had sent an absurd delay.
#[test]
fn retry_after_is_shortened_to_its_own_limit() -> Result {
    let by_default = || Backoff::fixed(1, SECOND);
    let custom = |max| by_default().retry_after_max(max);
    for (backoff, after, expected) in [
        // A day by default. The cap of the backoff does not matter.
        (by_default(), Duration::ZERO, Duration::ZERO),
        (by_default(), HOUR * 23, HOUR * 23),
        (by_default().cap(SECOND), DAY - NANOSECOND, DAY - NANOSECOND),
        (Backoff::exponential(1), DAY, DAY),
        (by_default(), DAY + NANOSECOND, DAY),
        (by_default().cap(DAY * 9), DAY * 9, DAY),
        (by_default(), DAY * 365 * 30, DAY),
        (by_default(), DAY * 365 * 300, DAY),
        (by_default(), Duration::from_secs(u64::MAX), DAY),
        (by_default(), Duration::MAX, DAY),
        // A limit of the task.
        (
            custom(MINUTE * 5),
            MINUTE * 5 - NANOSECOND,
            MINUTE * 5 - NANOSECOND,
        ),
        (custom(MINUTE * 5), MINUTE * 5, MINUTE * 5),
        (custom(MINUTE * 5), MINUTE * 5 + NANOSECOND, MINUTE * 5),
        (custom(MINUTE * 5), Duration::MAX, MINUTE * 5),
        (custom(Duration::ZERO), HOUR, Duration::ZERO),
        (custom(DAY * 365), DAY * 365, DAY * 365),
        (custom(DAY * 365), Duration::MAX, DAY * 365),
        // The random share of the backoff does not matter.
        (by_default().jitter(1.0), Duration::MAX, DAY),
    ] {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", move || {
            std::future::ready(Err::<(), BoxError>(RetryAfter::new(after).into()))
        });
        let task = task.retry(backoff.clone()).register()?;
        let job = task.schedule(()).push().block_on()?;
        sim.run_until_stalled();
        let case = format!("{backoff:?}, {after:?}");
        assert_eq!(job.exec_at(), START + expected, "{case}");
        if let Some(almost) = expected.checked_sub(NANOSECOND) {
            sim.advance(almost);
            assert_eq!(job.status(), JobStatus::Scheduled, "{case}");
            sim.advance(NANOSECOND);
        }
        assert_eq!(job.status(), JobStatus::Failed, "{case}");
    }
    Ok(())
}

#[test]
fn the_limit_of_retry_after_does_not_limit_the_backoff() -> Result {
    let backoff = Backoff::fixed(1, HOUR).retry_after_max(SECOND);
    assert_eq!(attempt_times(backoff, 2)?.0, [0, 3_600]);
    Ok(())
}

#[cfg(feature = "serde")]
#[test]
fn the_retry_of_a_stored_job_is_due_after_the_limit_in_the_next_process_too() -> Result {
    use crate::support::Machine;

    let (machine, log) = (Machine::new(), Log::new());
    let register = |sim: &Simulation, max| {
        let (log, clock) = (log.clone(), sim.clock());
        let task = sim.app().task("t", move |cx: JobContext| {
            log.add((cx.attempt(), clock.elapsed()));
            std::future::ready(Err::<(), BoxError>(RetryAfter::new(Duration::MAX).into()))
        });
        let backoff = Backoff::fixed(2, SECOND).retry_after_max(max);
        task.retry(backoff).durable().register()
    };
    let mut sim = machine.boot();
    let _ = register(&sim, HOUR)?
        .schedule(())
        .id("x")
        .push()
        .block_on()?;
    sim.run_until_stalled();
    assert_eq!(machine.record("x").unwrap().progress.due, START + HOUR);
    sim.crash();
    machine.clock.advance(MINUTE);

    // The limit of the next process is for the delays that follow.
    let mut sim = machine.boot();
    let job = register(&sim, MINUTE)?.job("x").unwrap();
    assert_eq!(job.exec_at(), START + HOUR);
    sim.advance(DAY);
    let expected = [(1, Duration::ZERO), (2, HOUR), (3, HOUR + MINUTE)];
    assert_eq!(log.entries(), expected);
    assert_eq!(job.status(), JobStatus::Failed);
    Ok(())
}

#[test]
fn the_reason_of_no_retry_is_among_its_sources() -> Result {
    let mut sim = Simulation::new();
    let no_retry = || NoRetry::new(std::io::Error::other("the card is gone"));
    let task = sim
        .app()
        .task("t", move || std::future::ready(Err::<(), _>(no_retry())));
    let job = task.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    let error = job.result().unwrap_err();
    let marker = error.source().unwrap().source().unwrap();
    let reason = marker.source().unwrap();
    assert_eq!(reason.to_string(), "the card is gone");
    assert!(reason.is::<std::io::Error>());
    Ok(())
}

#[test]
fn a_backoff_factor_of_zero_delays_the_first_retry_only() -> Result {
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
        .block_on()?;
    sim.advance(SECOND);
    assert_eq!(log.entries(), [0, 1, 1, 1]);
    Ok(())
}

/// Regression: the source of a task's error was read under the lock of the job, and an
/// error that looked at its job deadlocked.
#[test]
fn the_source_of_an_error_may_use_its_job() -> Result {
    #[derive(Debug)]
    struct Curious(Arc<OnceLock<Job<()>>>);
    impl std::fmt::Display for Curious {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("curious")
        }
    }
    impl Error for Curious {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            let _ = self
                .0
                .get()
                .map(|job| (job.last_run(), job.exec_at(), job.status()));
            None
        }
    }
    let mut sim = Simulation::new();
    let job = Arc::new(OnceLock::new());
    let task = sim.app().task("t", {
        let job = job.clone();
        move || {
            let error = Curious(job.clone());
            async move { Err::<(), _>(error) }
        }
    });
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let _ = job.set(task.schedule(()).push().block_on()?);
    sim.advance(MINUTE);
    assert_eq!(job.get().map(|job| job.status()), Some(JobStatus::Failed));
    Ok(())
}

/// Ways to wrap an error. None of these wrappers can be downcast to the error inside.
const WRAPPERS: [fn(BoxError) -> BoxError; 8] = [
    |error| error,
    |error| std::io::Error::other(error).into(),
    |error| std::io::Error::other(std::io::Error::other(error)).into(),
    |error| anyhow::Error::from_boxed(error).into(),
    |error| anyhow::Error::from_boxed(error).context("charging").into(),
    |error| Transparent(error).into(),
    |error| Caused(Transparent(anyhow::Error::from_boxed(error).into())).into(),
    |error| anyhow::Error::new(Transparent(std::io::Error::other(error).into())).into(),
];

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Transparent(BoxError);

#[derive(Debug, thiserror::Error)]
#[error("caused")]
struct Caused(#[source] Transparent);

/// The seconds at which the attempts of a task start that fails in this way and may be retried
/// once a second, twice.
fn failing_attempts(
    fail: impl Fn(&JobContext) -> BoxError + Send + Sync + 'static,
) -> Result<Vec<u64>> {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let seen = log.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        seen.add(now());
        std::future::ready(Err::<(), _>(fail(&cx)))
    });
    let task = task.retry(Backoff::fixed(2, SECOND)).register()?;
    let _ = task.schedule(()).push().block_on()?;
    sim.advance(HOUR);
    Ok(log.entries())
}

/// Regression: a card was charged four times although the task had said never again.
#[test]
fn no_retry_and_retry_after_are_found_in_every_wrapper() -> Result {
    for (n, wrap) in WRAPPERS.into_iter().enumerate() {
        let attempts = failing_attempts(move |_| wrap(NoRetry::new("no card").into()))?;
        assert_eq!(attempts, [0], "NoRetry in wrapper {n}");
        let attempts = failing_attempts(move |_| wrap(RetryAfter::new(MINUTE).into()))?;
        assert_eq!(attempts, [0, 60, 120], "RetryAfter in wrapper {n}");
        let attempts = failing_attempts(move |_| wrap("no card".into()))?;
        assert_eq!(attempts, [0, 1, 2], "neither in wrapper {n}");
    }
    Ok(())
}

#[test]
fn an_attempt_requests_its_retry_through_its_context_whatever_its_error_says() -> Result {
    let no_retry = failing_attempts(|cx| {
        cx.retry_after(MINUTE);
        cx.no_retry();
        RetryAfter::new(HOUR).into()
    })?;
    assert_eq!(no_retry, [0]);
    let retry_after = failing_attempts(|cx| {
        cx.no_retry();
        cx.retry_after(MINUTE);
        NoRetry::new("no card").into()
    })?;
    assert_eq!(retry_after, [0, 60, 120]);
    // It belongs to the attempt that has requested it.
    let first_only = failing_attempts(|cx| {
        if cx.attempt() == 1 {
            cx.retry_after(MINUTE);
        }
        "no card".into()
    })?;
    assert_eq!(first_only, [0, 60, 61]);
    Ok(())
}

#[test]
fn no_retry_holds_for_a_panic_and_a_timeout() -> Result {
    for panics in [true, false] {
        let mut sim = Simulation::new();
        let log = Log::new();
        let seen = log.clone();
        let task = sim.app().task("t", move |cx: JobContext| {
            seen.add(cx.attempt());
            cx.no_retry();
            async move {
                assert!(!panics, "this attempt panics");
                std::future::pending::<()>().await;
            }
        });
        let task = task.retry(Backoff::fixed(2, SECOND)).timeout(MINUTE);
        let job = task.register()?.schedule(()).push().block_on()?;
        sim.advance(HOUR);
        assert_eq!(log.entries(), [1], "panics: {panics}");
        let expected = if panics {
            JobStatus::Failed
        } else {
            JobStatus::Timeout
        };
        assert_eq!(job.status(), expected);
    }
    Ok(())
}
