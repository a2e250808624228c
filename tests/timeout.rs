//! Attempts that take too long.

mod common;

use std::error::Error;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{DropCounter, HOUR, Log, SECOND, seconds};
use futures_lite::future::{block_on, poll_once};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, JobContext, JobError, JobFuture, JobStatus, Jobber, StartError};

type Result = std::result::Result<(), Box<dyn Error>>;

#[test]
fn an_attempt_ends_at_its_limit_and_not_before() -> Result {
    let mut sim = Simulation::new();
    let limit = SECOND * 5;
    let task = sim
        .app()
        .task("t", std::future::pending::<()>)
        .timeout(limit)
        .register()?;
    let job = task.schedule(()).delay(SECOND).wait_blocking()?;
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
    let task = sim
        .app()
        .task("t", async |held: DropCounter| {
            std::future::pending::<()>().await;
            drop(held);
        })
        .timeout(SECOND)
        .register()?;
    let counter = DropCounter::default();
    let _ = task.schedule(counter.clone()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(counter.alive(), 1);
    sim.advance(SECOND);
    assert_eq!(counter.alive(), 0);
    Ok(())
}

#[test]
fn one_that_ends_in_time_is_left_alone() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim
        .app()
        .task("t", move || clock.sleep(SECOND))
        .timeout(SECOND * 2)
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn the_limit_is_for_each_attempt_anew() -> Result {
    let mut sim = Simulation::new();
    let (clock, now, log) = (sim.clock(), seconds(&sim), Log::new());
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move |cx: JobContext| {
                log.add((cx.attempt(), now()));
                // The third attempt is quick.
                clock.sleep(if cx.attempt() == 3 { SECOND * 4 } else { HOUR })
            }
        })
        .timeout(SECOND * 5)
        .retry(Backoff::fixed(3, SECOND * 10))
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.advance(HOUR);
    assert_eq!(log.entries(), [(1, 0), (2, 15), (3, 30)]);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_run_that_times_out_is_followed_by_the_next() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", std::future::pending::<()>)
        .timeout(SECOND)
        .register()?;
    let job = task
        .schedule(())
        .max_runs(3)
        .every(SECOND * 10)
        .wait_blocking()?;
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
fn a_blocking_function_that_is_too_late_is_told_and_its_value_thrown_away() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let (started, has_started) = smol::channel::bounded(1);
    let task = app
        .blocking_task("t", move |cx: JobContext| {
            let stop = cx.stop_token();
            started.send_blocking(()).unwrap();
            stop.stopped().wait_blocking();
            "too late"
        })
        .timeout(SECOND)
        .register()?;
    app.start().wait_blocking()?;
    let job = task.schedule(()).push().wait_blocking()?;
    has_started.recv_blocking()?;
    clock.advance(SECOND);
    assert_eq!(job.wait_blocking(), JobStatus::Timeout);
    app.shutdown(HOUR).wait_blocking();
    assert!(matches!(job.result(), Err(JobError::TimedOut { .. })));
    Ok(())
}

/// A blocking function can't be stopped from outside, and a job runs one
/// attempt at a time: the retry has to wait until the function has returned.
#[test]
fn no_attempt_starts_while_the_function_of_the_last_one_still_runs() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let (started, has_started) = smol::channel::unbounded();
    let (let_go, may_return) = smol::channel::unbounded::<()>();
    let running = Log::new();
    let task = app
        .blocking_task("t", {
            let running = running.clone();
            move |cx: JobContext| {
                running.add(format!("{} starts", cx.attempt()));
                started.send_blocking(cx.attempt()).unwrap();
                may_return.recv_blocking().unwrap();
                running.add(format!("{} returns", cx.attempt()));
            }
        })
        .timeout(SECOND)
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    app.start().wait_blocking()?;
    let events = app.events();
    let job = task.schedule(()).push().wait_blocking()?;
    assert_eq!(has_started.recv_blocking()?, 1);
    clock.advance(SECOND);
    // Timed out, and waiting for its retry.
    events.into_iter().find(|e| matches!(e, jobber::Event::Job(e) if matches!(e.kind, jobber::JobEventKind::Retrying { .. })));
    assert_eq!(job.status(), JobStatus::Scheduled);
    clock.advance(SECOND * 10);
    let_go.send_blocking(())?;
    assert_eq!(has_started.recv_blocking()?, 2);
    let_go.send_blocking(())?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(
        running.entries(),
        ["1 starts", "1 returns", "2 starts", "2 returns"]
    );
    Ok(())
}

/// What they hold is foreign, and their drop may take as long as it will.
#[test]
fn arguments_that_were_kept_for_another_run_are_not_dropped_by_the_timer() -> Result {
    #[derive(Clone)]
    struct Tells(std::sync::mpsc::Sender<Option<String>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let thread = std::thread::current();
            let _ = self.0.send(thread.name().map(String::from));
        }
    }
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let (sender, dropped) = std::sync::mpsc::channel();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let task = app.task("t", move |args: Tells| {
        let _ = begun.send(());
        async move {
            std::future::pending::<()>().await;
            drop(args);
        }
    });
    let task = task.timeout(SECOND).register()?;
    app.start().wait_blocking()?;
    let schedule = task.schedule(Tells(sender)).max_failures(1);
    let job = schedule.every(SECOND).wait_blocking()?;
    clock.advance(SECOND);
    has_begun.recv()?;
    clock.advance(SECOND);
    assert_eq!(job.wait_blocking(), JobStatus::PermanentlyFailed);
    // Those of the attempt, and those that were kept; the sender was in them.
    let threads: Vec<_> = dropped.iter().collect();
    assert_eq!(threads.len(), 2);
    assert!(
        !threads.contains(&Some("jobber-timer".into())),
        "{threads:?}"
    );
    Ok(())
}

/// An app whose jobs run when the test polls them, and a clock that the test turns.
fn by_hand() -> std::result::Result<(Jobber, ManualClock, mpsc::Receiver<JobFuture>), StartError> {
    let clock = ManualClock::new();
    let (spawns, spawned) = mpsc::channel();
    let app = Jobber::builder()
        .clock(clock.clone())
        .coalescing_window(Duration::ZERO)
        .executor(move |job: JobFuture| drop(spawns.send(job)))
        .build()?;
    app.start().wait_blocking()?;
    Ok((app, clock, spawned))
}

/// Nothing here waits for so long unless it would wait for ever.
const WATCHDOG: Duration = Duration::from_secs(60);

#[test]
fn the_next_run_waits_for_the_body_of_one_that_has_timed_out() -> Result {
    let (app, clock, spawned) = by_hand()?;
    let log = Log::new();
    let runs = log.clone();
    let task = app.task("t", move |cx: JobContext| {
        runs.add(cx.run_number());
        std::future::pending::<()>()
    });
    let task = task.timeout(SECOND).register()?;
    let tick = app.task("tick", || async {}).register()?;
    let job = task.schedule(()).every(SECOND * 2).wait_blocking()?;
    clock.advance(SECOND * 2);
    let mut body = spawned.recv_timeout(WATCHDOG)?;
    assert!(block_on(poll_once(&mut body)).is_none());
    // When the second of these has been handed over, the timer has been there twice.
    for _ in 0..2 {
        let tick = tick.schedule(()).delay(SECOND).wait_blocking()?;
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
    assert!(block_on(poll_once(&mut next)).is_none());
    assert_eq!(log.entries(), [1, 2]);
    Ok(())
}

#[test]
fn what_is_cloned_until_its_attempt_has_timed_out_is_there_for_the_next() -> Result {
    type Gate = (mpsc::Sender<()>, mpsc::Receiver<()>);
    /// Has its first clone wait for a word.
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
        let (app, clock, spawned) = by_hand()?;
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
        let job = task.schedule(slow).id("x").push().wait_blocking()?;
        let body = spawned.recv_timeout(WATCHDOG)?;
        let running = std::thread::spawn(move || block_on(body));
        asked.recv_timeout(WATCHDOG)?;
        clock.advance(SECOND);
        while job.status() != JobStatus::Scheduled {
            std::thread::yield_now();
        }
        if is_replaced {
            let other = Slow(2, Arc::default());
            let _ = task
                .schedule(other)
                .id("x")
                .replace()
                .delay(SECOND)
                .wait_blocking()?;
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
