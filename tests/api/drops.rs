//! Where arguments, values and functions are dropped: their drop is user code.

use std::future::{pending, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{
    HOUR, Log, MINUTE, Result, SECOND, START, WATCHDOG, assert_ends, delay_all, manual_app,
    manual_app_with, wait_until,
};
use jobber::{Backoff, JobContext, JobFuture, JobStatus, Jobber, Misfire};

/// Logs the name of the thread on which it is dropped.
#[derive(Clone)]
struct DropThread(Log<Option<String>>);

impl Drop for DropThread {
    fn drop(&mut self) {
        self.0.add(thread::current().name().map(String::from));
    }
}

fn assert_not_on_the_timer(drops: &Log<Option<String>>) {
    let timer = Some("jobber-timer".to_string());
    assert!(!drops.entries().contains(&timer), "{:?}", drops.entries());
}

/// Regression: the arguments of a job that timed out for good were dropped on the timer
/// thread, where a slow drop delays every job.
#[test]
fn arguments_of_a_job_that_timed_out_are_not_dropped_by_the_timer() -> Result {
    let (app, clock) = manual_app()?;
    let task = app.task("t", async |held: DropThread| {
        pending::<()>().await;
        drop(held);
    });
    let task = task
        .timeout(SECOND)
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let log = Log::new();
    let schedule = task.schedule(DropThread(log.clone()));
    let job = schedule.push().block_on()?;
    wait_until(|| {
        clock.advance(SECOND);
        job.is_done()
    });
    assert_ends(&job, JobStatus::Timeout);
    app.shutdown(HOUR).block_on();
    wait_until(|| log.entries().len() >= 2);
    assert_not_on_the_timer(&log);
    Ok(())
}

/// The arguments of an attempt, and those that were kept for the next run.
#[test]
fn arguments_of_a_recurring_job_that_failed_for_good_are_not_dropped_by_the_timer() -> Result {
    let (app, clock) = manual_app()?;
    let (begun, has_begun) = mpsc::channel();
    let task = app.task("t", move |args: DropThread| {
        let _ = begun.send(());
        async move {
            pending::<()>().await;
            drop(args);
        }
    });
    let task = task.timeout(SECOND).register()?;
    let log = Log::new();
    let schedule = task.schedule(DropThread(log.clone())).max_failures(1);
    let job = schedule.every(SECOND).block_on()?;
    clock.advance(SECOND);
    has_begun.recv()?;
    clock.advance(SECOND);
    assert_eq!(job.wait_blocking(), JobStatus::PermanentlyFailed);
    wait_until(|| log.is_closed());
    assert_eq!(log.entries().len(), 2);
    assert_not_on_the_timer(&log);
    Ok(())
}

/// Regression: when the last time of a job was skipped, its arguments were dropped on the
/// timer thread.
#[test]
fn arguments_of_a_job_that_missed_all_its_times_are_not_dropped_by_the_timer() -> Result {
    let (app, clock) = manual_app()?;
    let task = app.task("t", async |_: DropThread| {}).register()?;
    let log = Log::new();
    let schedule = task.schedule(DropThread(log.clone()));
    let schedule = schedule.misfire(Misfire::Skip);
    let job = schedule.cron("0 0 1 1 1 * 2000").block_on()?;
    clock.set_wall(START + HOUR * 2);
    assert_ends(&job, JobStatus::Cancelled);
    wait_until(|| !log.entries().is_empty());
    assert_not_on_the_timer(&log);
    Ok(())
}

/// Regression: when the last time of a job was skipped, the value of its last run was
/// dropped on the timer thread.
#[test]
fn the_value_of_a_job_that_missed_its_last_time_is_not_dropped_by_the_timer() -> Result {
    let (app, clock) = manual_app()?;
    let log = Log::new();
    let (held, runs) = (log.clone(), Log::new());
    let started = runs.clone();
    let task = app.task("t", move |cx: JobContext| {
        started.add(cx.run_number());
        ready(Ok::<_, &str>(DropThread(held.clone())))
    });
    let task = task.register()?;
    let schedule = task.schedule(()).misfire(Misfire::Skip);
    let job = schedule.cron("0 30 0-1 1 1 * 2000").block_on()?;
    clock.advance(MINUTE * 30);
    wait_until(|| job.last_run().is_some());
    // The timer holds the last reference to the job.
    drop(job);
    // When this job has run, the timer has seen the half hour on both clocks.
    let tick = app.task("tick", || async {}).register()?;
    let seen = tick.schedule(()).delay(Duration::ZERO).block_on()?;
    assert_ends(&seen, JobStatus::Success);
    clock.set_wall(START + HOUR * 2);
    wait_until(|| !log.entries().is_empty());
    assert_eq!(runs.entries(), [1], "the last time was missed");
    assert_not_on_the_timer(&log);
    Ok(())
}

/// Regression: when an app stopped during a burst, the timer thread dropped the last
/// references to the tasks itself, and two functions whose drop panicked ended the
/// process.
#[test]
fn functions_whose_drop_panics_are_dropped_one_at_a_time() -> Result {
    struct Held(mpsc::Sender<()>);
    impl Drop for Held {
        fn drop(&mut self) {
            let _ = self.0.send(());
            panic!("it was dropped");
        }
    }
    let spawns = AtomicUsize::new(0);
    let stops: Arc<Mutex<Option<Jobber>>> = Arc::default();
    let stopped = stops.clone();
    let (app, clock) = manual_app_with(|app| {
        app.executor(
            move |_: JobFuture| match spawns.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("from now on, jobs are spawned one by one"),
                // The first job stops the app.
                1 => {
                    let app = stopped.lock().unwrap().take().unwrap();
                    let stop = futures_lite::future::poll_once(app.shutdown(Duration::ZERO));
                    let _ = futures_lite::future::block_on(stop);
                }
                _ => {}
            },
        )
    })?;
    let (sender, drops) = mpsc::channel();
    for name in ["first", "second", "third"] {
        let held = Held(sender.clone());
        let task = app.task(name, move || {
            let _ = &held;
            async {}
        });
        let task = task.register()?;
        delay_all(&task, SECOND, [(); 2])?;
    }
    *stops.lock().unwrap() = Some(app.clone());
    clock.advance(SECOND);
    for _ in 0..3 {
        drops.recv_timeout(WATCHDOG)?;
    }
    app.shutdown(Duration::ZERO).block_on();
    Ok(())
}
