//! Timeouts of attempts.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::support::{
    DropCounter, HOUR, Log, Result, SECOND, WATCHDOG, hand_polled_app, manual_app, poll, seconds,
    wait_until,
};
use futures_lite::future::block_on;
use jobber::testing::Simulation;
use jobber::{Backoff, JobContext, JobError, JobStatus};

#[test]
fn an_attempt_ends_at_its_limit_and_not_before() -> Result {
    let mut sim = Simulation::new();
    let limit = SECOND * 5;
    let task = sim.app().task("t", std::future::pending::<()>);
    let task = task.timeout(limit).register()?;
    let job = task.schedule(()).delay(SECOND).block_on()?;
    sim.advance(SECOND + limit - Duration::from_nanos(1));
    assert_eq!(job.status(), JobStatus::Running);
    sim.advance(Duration::from_nanos(1));
    assert_eq!(job.status(), JobStatus::Timeout);
    assert!(matches!(job.result(), Err(JobError::TimedOut { limit: l }) if l == limit));
    Ok(())
}

#[test]
fn the_future_of_a_timed_out_attempt_is_dropped() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |held: DropCounter| {
        std::future::pending::<()>().await;
        drop(held);
    });
    let task = task.timeout(SECOND).register()?;
    let counter = DropCounter::default();
    let _ = task.schedule(counter.clone()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(counter.alive(), 1);
    sim.advance(SECOND);
    assert_eq!(counter.alive(), 0);
    Ok(())
}

#[test]
fn an_attempt_that_ends_in_time_succeeds() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND));
    let task = task.timeout(SECOND * 2).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn each_attempt_has_the_whole_limit() -> Result {
    let mut sim = Simulation::new();
    let (clock, now, log) = (sim.clock(), seconds(&sim), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move |cx: JobContext| {
            log.add((cx.attempt(), now()));
            // The third attempt is quick.
            clock.sleep(if cx.attempt() == 3 { SECOND * 4 } else { HOUR })
        }
    });
    let task = task
        .timeout(SECOND * 5)
        .retry(Backoff::fixed(3, SECOND * 10))
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.advance(HOUR);
    assert_eq!(log.entries(), [(1, 0), (2, 15), (3, 30)]);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_run_that_times_out_is_followed_by_the_next() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", std::future::pending::<()>);
    let task = task.timeout(SECOND).register()?;
    let schedule = task.schedule(()).max_runs(3);
    let job = schedule.every(SECOND * 10).block_on()?;
    sim.advance(SECOND * 11);
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Timeout));
    assert_eq!(run.finished_at - run.started_at, time::Duration::SECOND);
    assert_eq!(job.status(), JobStatus::Scheduled);
    sim.advance(SECOND * 20);
    assert_eq!(job.status(), JobStatus::Timeout);
    Ok(())
}

#[test]
fn the_timeout_of_a_blocking_function_sets_its_token_and_discards_its_value() -> Result {
    let (app, clock) = manual_app()?;
    let (started, has_started) = smol::channel::bounded(1);
    let task = app.blocking_task("t", move |cx: JobContext| {
        let stop = cx.stop_token();
        started.send_blocking(()).unwrap();
        stop.stopped().block_on();
        "too late"
    });
    let task = task.timeout(SECOND).register()?;
    let job = task.schedule(()).push().block_on()?;
    has_started.recv_blocking()?;
    clock.advance(SECOND);
    assert_eq!(job.wait_blocking(), JobStatus::Timeout);
    app.shutdown(HOUR).block_on();
    assert!(matches!(job.result(), Err(JobError::TimedOut { .. })));
    Ok(())
}

/// A blocking function cannot be stopped from outside, so that the retry has to wait until
/// it has returned.
#[test]
fn no_attempt_starts_while_the_function_of_a_timed_out_attempt_runs() -> Result {
    let (app, clock) = manual_app()?;
    let (started, has_started) = smol::channel::unbounded();
    let (permits, may_return) = smol::channel::unbounded::<()>();
    let running = Log::new();
    let task = app.blocking_task("t", {
        let running = running.clone();
        move |cx: JobContext| {
            running.add(format!("{} starts", cx.attempt()));
            started.send_blocking(cx.attempt()).unwrap();
            may_return.recv_blocking().unwrap();
            running.add(format!("{} returns", cx.attempt()));
        }
    });
    let task = task
        .timeout(SECOND)
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let events = app.events();
    let job = task.schedule(()).push().block_on()?;
    assert_eq!(has_started.recv_blocking()?, 1);
    clock.advance(SECOND);
    // The attempt has timed out, and the job waits for its retry.
    events.into_iter().find(|e| matches!(e, jobber::Event::Job(e) if matches!(e.kind, jobber::JobEventKind::Retrying { .. })));
    assert_eq!(job.status(), JobStatus::Scheduled);
    clock.advance(SECOND * 10);
    permits.send_blocking(())?;
    assert_eq!(has_started.recv_blocking()?, 2);
    permits.send_blocking(())?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(
        running.entries(),
        ["1 starts", "1 returns", "2 starts", "2 returns"]
    );
    Ok(())
}

#[test]
fn the_next_run_waits_for_the_future_of_a_timed_out_run() -> Result {
    let (app, clock, spawned) = hand_polled_app()?;
    let log = Log::new();
    let runs = log.clone();
    let task = app.task("t", move |cx: JobContext| {
        runs.add(cx.run_number());
        std::future::pending::<()>()
    });
    let task = task.timeout(SECOND).register()?;
    let tick = app.task("tick", || async {}).register()?;
    let job = task.schedule(()).every(SECOND * 2).block_on()?;
    clock.advance(SECOND * 2);
    let mut body = spawned.recv_timeout(WATCHDOG)?;
    assert!(poll(&mut body).is_none());
    // When the second of these is spawned, the timer has handled both times.
    for _ in 0..2 {
        let tick = tick.schedule(()).delay(SECOND).block_on()?;
        clock.advance(SECOND);
        block_on(spawned.recv_timeout(WATCHDOG)?);
        assert!(tick.is_done());
    }
    assert_eq!(
        job.last_run().map(|run| run.status),
        Some(JobStatus::Timeout)
    );
    assert_eq!(
        (log.entries(), job.status()),
        (vec![1], JobStatus::Scheduled)
    );
    block_on(body);
    let mut next = spawned.recv_timeout(WATCHDOG)?;
    assert!(poll(&mut next).is_none());
    assert_eq!(log.entries(), [1, 2]);
    Ok(())
}

#[test]
fn arguments_whose_clone_outlasts_the_timeout_are_there_for_the_next_attempt() -> Result {
    type Gate = (mpsc::Sender<()>, mpsc::Receiver<()>);
    /// The first clone waits for the test.
    struct Slow(u32, Arc<Mutex<Option<Gate>>>);
    impl Clone for Slow {
        fn clone(&self) -> Self {
            let wait = self.1.lock().unwrap().take();
            if let Some((asks, word)) = wait {
                let _ = (asks.send(()), word.recv());
            }
            Slow(self.0, self.1.clone())
        }
    }
    for is_replaced in [false, true] {
        let (app, clock, spawned) = hand_polled_app()?;
        let log = Log::new();
        let seen = log.clone();
        let task = app.task("t", move |slow: Slow| {
            seen.add(slow.0);
            async {}
        });
        let task = task
            .timeout(SECOND)
            .retry(Backoff::fixed(1, SECOND))
            .register()?;
        let ((asks, asked), (word, waits)) = (mpsc::channel(), mpsc::channel());
        let slow = Slow(1, Arc::new(Mutex::new(Some((asks, waits)))));
        let job = task.schedule(slow).id("x").push().block_on()?;
        let body = spawned.recv_timeout(WATCHDOG)?;
        let running = std::thread::spawn(move || block_on(body));
        asked.recv_timeout(WATCHDOG)?;
        clock.advance(SECOND);
        wait_until(|| job.status() == JobStatus::Scheduled);
        if is_replaced {
            let other = Slow(2, Arc::default());
            let again = task.schedule(other).id("x").replace();
            let _ = again.delay(SECOND).block_on()?;
        }
        word.send(())?;
        running.join().unwrap();
        assert!(log.entries().is_empty());
        clock.advance(SECOND);
        block_on(spawned.recv_timeout(WATCHDOG)?);
        assert_eq!(log.entries(), [if is_replaced { 2 } else { 1 }]);
        assert_eq!(job.status(), JobStatus::Success);
    }
    Ok(())
}
