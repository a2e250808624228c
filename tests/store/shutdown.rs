//! Shutting down an app with stored jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::held_app::HeldApp;
use crate::support::{
    HOUR, Log, MINUTE, Machine, Result, SECOND, START, begin, hand_polled_app_with, poll,
    wait_until,
};
use crate::tasks::{at, hanging, logging, logging_argument};
use futures_lite::future::block_on;
use jobber::testing::{Fault, FaultyStorage, Operation};
use jobber::{
    Backoff, Job, JobContext, JobError, JobStatus, MemoryStorage, Schedule, ScheduleError,
    storage::StorageError,
};

#[test]
fn shutdown_leaves_waiting_jobs_to_the_next_process() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let once = task.schedule(1).id("once").delay(MINUTE).block_on()?;
    let again = task.schedule(1).id("again").every(MINUTE).block_on()?;
    let schedule = task.schedule(1).id("here").in_memory();
    let here = schedule.delay(MINUTE).block_on()?;
    assert!(sim.shutdown(HOUR).is_complete());
    assert_eq!(sim.elapsed(), Duration::ZERO, "nothing to wait for");
    assert_eq!(once.status(), JobStatus::Scheduled);
    assert_eq!(
        again.wait_blocking(),
        JobStatus::Scheduled,
        "its waiters return"
    );
    assert!(matches!(once.result(), Err(JobError::NotCompleted)));
    assert_eq!(here.status(), JobStatus::Cancelled);
    drop(sim);

    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 2);
    Ok(())
}

/// Regression: a cancel after the end returned that the job was cancelled, and the next
/// process ran the job.
#[test]
fn a_cancel_after_the_store_is_closed_returns_an_error() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task.schedule(1).delay(MINUTE).block_on()?;
    sim.shutdown(Duration::ZERO);
    let result = job.cancel().block_on();
    assert!(matches!(result, Err(StorageError::Closed)), "{result:?}");
    assert!(job.abort().block_on().is_err());
    assert_eq!(job.status(), JobStatus::Scheduled);
    drop(sim);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 1);
    Ok(())
}

#[test]
fn a_cancel_of_a_stored_job_that_outlasts_its_app_returns_an_error() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let schedule = hanging(&sim, &Log::new()).schedule(1).id("x");
    let job = schedule.every(MINUTE).block_on()?;
    sim.advance(MINUTE);
    sim.shutdown(Duration::ZERO);
    let result = poll(job.cancel());
    assert!(
        matches!(result, Some(Err(StorageError::Closed))),
        "{result:?}"
    );
    assert!(machine.record("x").is_some());
    Ok(())
}

#[test]
fn calls_on_an_app_whose_process_crashed_are_refused() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let app = sim.app().clone();
    let task = logging(&sim, "t", &Log::new());
    let job = task.schedule(1).id("x").delay(MINUTE).block_on()?;
    sim.crash();
    let schedule = || task.schedule(2).id("x").replace();
    for again in [schedule(), schedule().in_memory(), task.schedule(2)] {
        let result = poll(again.delay(HOUR));
        assert!(
            matches!(result, Some(Err(ScheduleError::Stopped))),
            "{result:?}"
        );
    }
    let result = poll(job.cancel());
    assert!(
        matches!(result, Some(Err(StorageError::Closed))),
        "{result:?}"
    );
    drop(app);
    assert_eq!(machine.record("x").unwrap().args, "1");
    Ok(())
}

/// Regression: a second shutdown, or a cancel during the shutdown, counted the waiting
/// jobs once more, and the shutdown waited for its whole grace.
#[test]
fn two_shutdowns_and_a_cancel_at_once_wait_for_the_running_job_only() -> Result {
    let machine = Machine::new();
    let app = jobber::Jobber::builder()
        .clock(machine.clock.clone())
        .storage(machine.disk.clone())
        .build()?;
    let (clock, started) = (machine.clock.clone(), Log::new());
    let seen = started.clone();
    let slow = app.task("slow", move |cx: JobContext| {
        let stop = cx.stop_token();
        let sleep = clock.sleep(SECOND);
        seen.add(());
        async move {
            stop.stopped().await;
            sleep.await;
        }
    });
    let slow = slow.durable().register()?;
    app.start().block_on()?;
    let running = slow.schedule(()).push().block_on()?;
    wait_until(|| !started.entries().is_empty());
    let waiting = slow.schedule(()).delay(HOUR).block_on()?;
    let _ = slow.schedule(()).delay(HOUR).block_on()?;
    let stops: Vec<_> = (0..2)
        .map(|_| {
            let app = app.clone();
            std::thread::spawn(move || app.shutdown(Duration::MAX).block_on())
        })
        .collect();
    // The shutdown has begun when scheduling fails; it does not end before the clock advances.
    while slow.schedule(()).in_memory().delay(HOUR).block_on().is_ok() {}
    assert!(waiting.cancel().block_on()?.took_effect());
    assert_eq!(running.status(), JobStatus::Running);
    machine.clock.advance(SECOND);
    for stop in stops {
        assert!(stop.join().unwrap().is_complete());
    }
    assert_eq!(running.status(), JobStatus::Success);
    assert_eq!(machine.records().len(), 1);
    Ok(())
}

#[test]
fn an_attempt_that_outlasts_the_grace_is_made_again_by_the_next_process() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = hanging(&sim, &log).schedule(1).id("x");
    let _ = schedule.push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(sim.shutdown(SECOND).left, ["x"]);
    // The executor drops the attempt.
    drop(sim);
    assert!(machine.record("x").is_some());
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.run_until_stalled();
    assert_eq!(log.take(), [(1, 1, START), (1, 1, START)]);
    Ok(())
}

/// Regression: it stayed RUNNING for ever, and no process had it.
#[test]
fn a_job_that_the_store_has_no_row_of_ends_although_its_attempt_outlasts_the_grace() -> Result {
    let is_replaced = |_: &Job<u32>, again: Schedule<u32, u32>| -> Result {
        let _ = again.in_memory().delay(MINUTE).block_on()?;
        Ok(())
    };
    let is_cancelled = |job: &Job<u32>, _: Schedule<u32, u32>| -> Result {
        assert!(job.cancel().block_on()?.took_effect());
        Ok(())
    };
    type Way<'a> = &'a dyn Fn(&Job<u32>, Schedule<u32, u32>) -> Result;
    for way in [&is_replaced as Way<'_>, &is_cancelled] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let task = hanging(&sim, &Log::new());
        let job = task.schedule(1).id("x").every(MINUTE).block_on()?;
        sim.advance(MINUTE);
        way(&job, task.schedule(2).id("x").replace_any())?;
        assert!(machine.record("x").is_none());
        assert_eq!(sim.shutdown(SECOND).left, ["x"]);
        // The executor drops the attempt.
        drop(sim);
        assert_eq!(job.status(), JobStatus::Cancelled);
        assert_eq!(job.wait_blocking(), JobStatus::Cancelled);
    }
    Ok(())
}

#[test]
fn a_run_that_ends_within_the_grace_is_stored_as_ended() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let clock = sim.clock();
    let slow = sim.app().task("t", move |_: u32| clock.sleep(SECOND));
    let slow = slow.durable().register()?;
    let once = slow.schedule(1).id("once").push().block_on()?;
    let schedule = slow.schedule(1).id("again").start_date(START);
    let again = schedule.every(MINUTE).block_on()?;
    sim.run_until_stalled();
    assert!(sim.shutdown(HOUR).is_complete());
    assert_eq!(sim.elapsed(), SECOND, "no longer than needed");
    assert_eq!(once.status(), JobStatus::Success);
    assert_eq!(
        again.status(),
        JobStatus::Scheduled,
        "its next run is for the next process"
    );
    assert!(machine.record("once").is_none());
    assert_eq!(machine.record("again").unwrap().progress.due, at(60));
    Ok(())
}

#[test]
fn a_retry_that_is_due_after_the_shutdown_is_made_by_the_next_process() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move |_: u32| {
        let sleep = clock.sleep(SECOND);
        async move {
            sleep.await;
            Err::<u32, _>("no")
        }
    });
    let task = task.retry(Backoff::fixed(1, MINUTE)).durable().register()?;
    let job = task.schedule(1).id("x").push().block_on()?;
    sim.run_until_stalled();
    assert!(sim.shutdown(HOUR).is_complete());
    assert_eq!(job.status(), JobStatus::Scheduled);
    drop(sim);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(1, 2, START)]);
    Ok(())
}

#[test]
fn a_cancel_of_a_waiting_job_during_shutdown_does_not_end_the_shutdown() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let clock = sim.clock();
    let slow = sim.app().task("slow", move || clock.sleep(SECOND));
    let slow = slow.durable().register()?;
    let running = slow.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    let waiting = slow.schedule(()).delay(HOUR).block_on()?;
    let app = sim.app().clone();
    let mut stop = app.shutdown(Duration::MAX);
    assert!(poll(&mut stop).is_none());
    assert!(waiting.cancel().block_on()?.took_effect());
    assert!(poll(&mut stop).is_none(), "a job runs");
    sim.advance(SECOND);
    assert_eq!(running.status(), JobStatus::Success);
    assert!(poll(&mut stop).unwrap().is_complete());
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn a_shutdown_ends_although_the_store_fails() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    let done = task.schedule(1).id("done").push().block_on()?;
    let waits = task.schedule(2).id("waits").delay(HOUR).block_on()?;
    machine.set_fault(Fault::Fail);
    sim.run_until_stalled();
    let report = sim.shutdown(HOUR);
    assert_eq!((report.left.len(), report.unstored), (0, 1));
    assert!(report.is_store_closed);
    assert_eq!(done.status(), JobStatus::Success);
    assert_eq!(waits.wait_blocking(), JobStatus::Scheduled);
    drop(sim);
    // The end of the first job was never stored, so that it runs again.
    machine.set_fault(Fault::None);
    let mut sim = machine.boot();
    logging_argument(&sim, &log);
    sim.run_until_stalled();
    assert_eq!(log.take(), [1, 1]);
    Ok(())
}

#[test]
fn shutdown_retries_what_could_not_be_stored() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = logging_argument(&sim, &Log::new());
    let _ = task.schedule(1).id("x").push().block_on()?;
    machine.set_fault(Fault::Fail);
    sim.advance(HOUR);
    machine.set_fault(Fault::None);
    sim.shutdown(Duration::ZERO);
    assert!(!machine.has("x"));
    Ok(())
}

#[test]
fn a_shutdown_counts_the_changes_that_wait_behind_a_commit_that_does_not_end() -> Result {
    let app = HeldApp::new()?;
    let mut jobs = Vec::new();
    for n in 0..3 {
        jobs.push(app.other.schedule(n).delay(HOUR).block_on()?);
    }
    app.occupy_store()?;
    let mut cancels: Vec<_> = jobs.iter().map(Job::cancel).collect();
    cancels.iter_mut().for_each(begin);
    let report = app.app.shutdown(Duration::ZERO).block_on();
    assert_eq!((report.unstored, report.is_store_closed), (3, false));
    app.store.release();
    for cancel in cancels {
        assert!(block_on(cancel)?.took_effect());
    }
    wait_until(|| app.app.shutdown(Duration::ZERO).block_on().is_complete());
    Ok(())
}

/// Regression: the second portion of what is tried again was not counted.
#[test]
fn a_shutdown_counts_what_waits_for_the_second_portion_of_a_commit() -> Result {
    const PASS: usize = 0;
    const FAIL: usize = 1;
    const PASS_ONE: usize = 2;
    const BLOCK: usize = 3;
    let mode = Arc::new(AtomicUsize::new(PASS));
    let seen = mode.clone();
    let storage = FaultyStorage::new(MemoryStorage::new(), move |operation| {
        if !matches!(operation, Operation::Commit(_)) {
            return Fault::None;
        }
        while seen.load(Ordering::SeqCst) == BLOCK {
            std::thread::yield_now();
        }
        let _ = seen.compare_exchange(PASS_ONE, BLOCK, Ordering::SeqCst, Ordering::SeqCst);
        match seen.load(Ordering::SeqCst) {
            FAIL => Fault::FailWith(StorageError::ReadOnly { path: "x".into() }),
            _ => Fault::None,
        }
    });
    let (app, _clock, spawned) = hand_polled_app_with(|app| app.storage(storage))?;
    let task = app.task("t", async || {}).durable().register()?;
    for _ in 0..5_000 {
        task.schedule(()).push().block_on()?;
    }
    mode.store(FAIL, Ordering::SeqCst);
    for _ in 0..5_000 {
        let mut attempt = spawned.recv()?;
        while poll(&mut attempt).is_none() {}
        while let Ok(mut attempt) = spawned.try_recv() {
            while poll(&mut attempt).is_none() {}
        }
        if app.jobs().is_empty() {
            break;
        }
    }
    wait_until(|| app.health().unstored() == 5_000);
    mode.store(PASS_ONE, Ordering::SeqCst);
    let mut push = task.schedule(()).delay(HOUR);
    begin(&mut push);
    wait_until(|| mode.load(Ordering::SeqCst) == BLOCK);
    let report = app.shutdown(Duration::ZERO).block_on();
    mode.store(PASS, Ordering::SeqCst);
    assert!(!report.is_store_closed);
    assert!(report.unstored >= 900, "{report:?}");
    Ok(())
}
