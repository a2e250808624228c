//! A process that runs out of threads or descriptors.
//!
//! Each test runs its steps in a process of its own, with a limit, and uses up what there is.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{
    Result, WATCHDOG, assert_ends, child, delay_all, run_within, started_app, wait_until,
};
use futures_lite::future::block_on;
use jobber::{
    Clock, ExecutorDropped, Failing, JobError, JobFuture, JobStatus, Jobber, StartError,
    SystemClock, ThreadPool,
};

/// Set in the process that has a limit.
const CHILD: &str = "JOBBER_LIMITED";

/// Runs the test `name` again in a process that may open 64 files and may use 2 GB of
/// addresses, and does `steps` there.
fn with_limits(name: &str, steps: impl FnOnce() -> Result) -> Result {
    if std::env::var_os(CHILD).is_some() {
        return steps();
    }
    let program = child(name)?;
    let mut limited = Command::new("prlimit");
    limited.args(["--nofile=64", "--as=2000000000"]);
    limited.arg(program.get_program()).args(program.get_args());
    // The size of a stack; and one arena of memory for all threads, so that none frees its own.
    limited.env("RUST_MIN_STACK", "33554432");
    limited.env("MALLOC_ARENA_MAX", "1").env(CHILD, "1");
    // To print one takes more memory than there is.
    limited.env("RUST_BACKTRACE", "0");
    let (status, stderr) = run_within(WATCHDOG, &mut limited)?;
    assert!(status.success(), "{status}: {stderr}");
    Ok(())
}

/// Keeps all descriptors of the process until it is dropped.
fn use_up_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Keeps all threads of the process until it is dropped: no stack of one fits any more. What
/// is left is enough for other memory.
fn use_up_threads() -> Vec<Sender<()>> {
    let threads = std::iter::from_fn(|| {
        let (end, until_end) = mpsc::channel();
        let thread = thread::Builder::new();
        let started = thread.spawn(move || until_end.recv().is_ok());
        started.ok().map(|_| end)
    });
    threads.collect()
}

fn missing_threads(app: &Jobber) -> Vec<&'static str> {
    let failing = app.health().failing.into_iter();
    let missing = failing.filter_map(|failing| match failing {
        Failing::Thread { name } => Some(name),
        _ => None,
    });
    missing.collect()
}

/// A thread for each job, none of which is one of the built-in pool.
fn spawn_thread(job: JobFuture) {
    thread::spawn(move || block_on(job));
}

/// Regression: `start` returned `Ok`, and the threads of the pool ended by a panic.
#[test]
fn start_fails_without_descriptors_and_succeeds_when_there_are_some() -> Result {
    with_limits(
        "resources::start_fails_without_descriptors_and_succeeds_when_there_are_some",
        || {
            let app = Jobber::builder().build()?;
            let answer = app.task("answer", async || 42).register()?;
            let others = use_up_descriptors();
            let failed = app.start().block_on();
            assert!(matches!(failed, Err(StartError::Reactor(_))), "{failed:?}");
            let pool = ThreadPool::new(1);
            assert!(matches!(pool, Err(StartError::Reactor(_))), "{pool:?}");
            drop(others);
            app.start().block_on()?;
            let job = answer
                .schedule(())
                .delay(Duration::from_millis(1))
                .block_on()?;
            assert_eq!(*job.block_on()?, 42);
            Ok(())
        },
    )
}

#[test]
fn start_fails_without_threads_and_succeeds_when_there_are_some() -> Result {
    with_limits(
        "resources::start_fails_without_threads_and_succeeds_when_there_are_some",
        || {
            let app = Jobber::builder().build()?;
            let answer = app.task("answer", async || 42).register()?;
            let others = use_up_threads();
            let failed = app.start().block_on();
            assert!(failed.is_err(), "{failed:?}");
            drop(others);
            wait_until(|| app.start().block_on().is_ok());
            let job = answer.schedule(()).push().block_on()?;
            assert_eq!(*job.block_on()?, 42);
            Ok(())
        },
    )
}

/// Regression: the reactor of async-io was first built in the timeout of a shutdown, and the
/// shutdown panicked.
#[test]
fn an_app_that_runs_is_shut_down_and_dropped_without_threads_and_descriptors() -> Result {
    with_limits(
        "resources::an_app_that_runs_is_shut_down_and_dropped_without_threads_and_descriptors",
        || {
            let apps = [0, 1].map(|_| Jobber::builder().executor(spawn_thread).build());
            let mut running = Vec::new();
            for app in apps {
                let app = app?;
                let forever = app.task("forever", std::future::pending::<()>).register()?;
                app.start().block_on()?;
                let job = forever.schedule(()).push().block_on()?;
                wait_until(|| job.status() == JobStatus::Running);
                running.push(app);
            }
            let _others = (use_up_threads(), use_up_descriptors());
            let report = running[0].shutdown(Duration::from_millis(10)).block_on();
            assert_eq!(report.left.len(), 1);
            drop(running);
            Ok(())
        },
    )
}

/// Regression: the thread of the timer waited in the crate `blocking` for a thread, in a busy
/// loop, and no job started.
#[test]
fn a_delayed_blocking_job_fails_without_a_thread_and_other_jobs_start() -> Result {
    with_limits(
        "resources::a_delayed_blocking_job_fails_without_a_thread_and_other_jobs_start",
        || {
            let app = Jobber::builder().build()?;
            let blocks = app.blocking_task("blocks", || "done").register()?;
            let other = app.task("other", async || "done").register()?;
            app.start().block_on()?;
            let others = use_up_threads();
            let delay = Duration::from_millis(1);
            let job = blocks.schedule(()).delay(delay).block_on()?;
            match job.clone().block_on() {
                Err(JobError::Failed(error)) => assert!(error.is::<ExecutorDropped>()),
                other => panic!("{other:?}"),
            }
            assert_eq!(missing_threads(&app), ["jobber-blocking"]);
            let job = other.schedule(()).delay(delay).block_on()?;
            assert_eq!(*job.block_on()?, "done");
            drop(others);
            wait_until(|| {
                let job = blocks.schedule(()).delay(delay).block_on().unwrap();
                job.wait_blocking() == JobStatus::Success
            });
            assert!(app.health().is_healthy(), "{}", app.health());
            Ok(())
        },
    )
}

/// Regression: a blocking job for which no thread could be started waited for another job that
/// hung, although there were threads again, and the health of the app did not show the wait.
#[test]
fn a_blocking_job_behind_one_that_hangs_starts_when_there_are_threads_again() -> Result {
    with_limits(
        "resources::a_blocking_job_behind_one_that_hangs_starts_when_there_are_threads_again",
        || {
            let app = Jobber::builder().build()?;
            let (go_on, may_return) = mpsc::channel::<()>();
            let may_return = Mutex::new(may_return);
            let hangs = app.blocking_task("hangs", move || {
                let _ = may_return.lock().unwrap().recv();
            });
            let hangs = hangs.register()?;
            let quick = app.blocking_task("quick", || "done").register()?;
            app.start().block_on()?;
            let hanging = hangs.schedule(()).push().block_on()?;
            wait_until(|| hanging.status() == JobStatus::Running);
            let others = use_up_threads();
            let job = quick.schedule(()).push().block_on()?;
            wait_until(|| missing_threads(&app) == ["jobber-blocking"]);
            assert_eq!(job.status(), JobStatus::Scheduled);
            drop(others);
            // No job is scheduled, and no attempt ends.
            assert_eq!(*job.block_on()?, "done");
            assert_eq!(hanging.status(), JobStatus::Running);
            assert!(app.health().is_healthy(), "{}", app.health());
            drop(go_on);
            Ok(())
        },
    )
}

#[test]
fn events_without_a_thread_are_read_and_shown_by_health() -> Result {
    with_limits(
        "resources::events_without_a_thread_are_read_and_shown_by_health",
        || {
            let app = Jobber::builder().build()?;
            let other = app.task("other", async || {}).register()?;
            app.start().block_on()?;
            let others = use_up_threads();
            let mut events = app.events();
            assert_eq!(missing_threads(&app), ["jobber-events"]);
            other.schedule(()).push().block_on()?;
            assert!(events.next_blocking().is_some());
            drop(others);
            wait_until(|| {
                drop(app.events());
                app.health().is_healthy()
            });
            Ok(())
        },
    )
}

#[test]
fn many_blocking_jobs_run_at_the_same_time() -> Result {
    const JOBS: usize = 40;
    let app = started_app()?;
    let all = Arc::new(Barrier::new(JOBS));
    let meet = app
        .blocking_task("meet", move || all.wait().is_leader())
        .register()?;
    let jobs = delay_all(&meet, Duration::from_millis(1), [(); JOBS])?;
    for job in jobs {
        assert_ends(&job, JobStatus::Success);
    }
    Ok(())
}

/// A clock that ends the thread of the timer.
#[derive(Clone, Default)]
struct DeadlyClock(Arc<AtomicBool>, SystemClock);

impl Clock for DeadlyClock {
    fn monotonic(&self) -> Duration {
        let is_timer = || thread::current().name() == Some("jobber-timer");
        assert!(!(self.0.load(Ordering::SeqCst) && is_timer()), "deadly");
        self.1.monotonic()
    }

    fn wall(&self) -> time::OffsetDateTime {
        self.1.wall()
    }
}

#[test]
fn health_shows_that_the_thread_of_the_timer_has_ended() -> Result {
    let clock = DeadlyClock::default();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let task = app.task("task", async || {}).register()?;
    app.start().block_on()?;
    assert!(app.health().is_healthy());
    clock.0.store(true, Ordering::SeqCst);
    task.schedule(()).delay(Duration::ZERO).block_on()?;
    wait_until(|| missing_threads(&app) == ["jobber-timer"]);
    app.shutdown(Duration::ZERO).block_on();
    assert!(app.health().is_healthy(), "no thread is needed any more");
    Ok(())
}
