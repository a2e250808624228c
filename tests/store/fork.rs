//! A process that was forked: it has none of the threads of the app.
#![cfg(target_os = "linux")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, exit};

use crate::support::{
    HOUR, HeldStore, Log, Result, SECOND, WATCHDOG, begin, child, hand_polled_app_with, run_within,
};
use jobber::storage::StorageError;
use jobber::testing::ManualClock;
use jobber::{
    Job, JobFuture, JobStatus, Jobber, Limit, MemoryStorage, ScheduleError, StartError, Task,
    ThreadPool,
};

/// Set in the process that forks.
const FORKS: &str = "JOBBER_FORKS";

/// Runs one test of this program in a process of its own, where it can fork: see
/// `fork/shim.c`.
pub fn run_forking(test: &str, set: impl FnOnce(&mut Command) -> &mut Command) -> Result {
    let dir = tempfile::tempdir()?;
    let shim = dir.path().join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/fork/shim.c");
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o"]);
    let compiled = cc.args([&shim, &source]).arg("-ldl").status();
    let compiled = compiled.map_err(|error| format!("this test needs a C compiler: {error}"))?;
    assert!(compiled.success());
    let mut program = child(test)?;
    let program = set(program.env("LD_PRELOAD", shim));
    let (status, stderr) = run_within(WATCHDOG, program)?;
    assert!(status.success(), "{status}: {stderr}");
    Ok(())
}

struct App {
    app: Jobber,
    quick: Task<u32, u32>,
    stored: Task<u32, u32>,
    waiting: Job<u32>,
    stored_waiting: Job<u32>,
}

impl App {
    fn start() -> Result<Self> {
        // With a clock of a user, each call checks.
        let builder = Jobber::builder().clock(ManualClock::new());
        let app = builder.storage(MemoryStorage::new()).build()?;
        let quick = app.task("quick", async |n: u32| n).register()?;
        let stored = app.task("stored", async |n: u32| n).durable().register()?;
        app.start().block_on()?;
        Ok(Self {
            waiting: quick.schedule(1).delay(HOUR).block_on()?,
            stored_waiting: stored.schedule(1).id("s").every(HOUR).block_on()?,
            app,
            quick,
            stored,
        })
    }
}

fn is_forked<T>(result: Result<T, ScheduleError>) -> bool {
    matches!(result, Err(ScheduleError::Forked))
}

type Call = (&'static str, fn(App));

/// Each is the first call in its process: what it notices is known to the next ones.
const CALLS: [Call; 20] = [
    ("push", |it| {
        assert!(is_forked(it.quick.schedule(1).push().block_on()))
    }),
    ("delay", |it| {
        // Earlier than all others: the timer is to wake for it.
        assert!(is_forked(it.quick.schedule(1).delay(SECOND).block_on()));
    }),
    ("durable push", |it| {
        assert!(is_forked(it.stored.schedule(1).push().block_on()))
    }),
    ("replace", |it| {
        let again = it.stored.schedule(1).id("s").replace();
        assert!(is_forked(again.every(SECOND).block_on()));
    }),
    ("wait", |it| {
        assert_eq!(it.waiting.wait_blocking(), JobStatus::Scheduled)
    }),
    ("wait as a future", |it| {
        let status = futures_lite::future::block_on(it.waiting.wait());
        assert_eq!(status, JobStatus::Scheduled);
    }),
    ("wait with a limit", |it| {
        assert_eq!(
            it.waiting.wait_timeout(HOUR).block_on(),
            JobStatus::Scheduled
        );
    }),
    ("wait for the next run", |it| {
        assert!(it.stored_waiting.next_run().block_on().is_none())
    }),
    ("result", |it| assert!(it.waiting.block_on().is_err())),
    ("wait for all", |it| it.app.wait_all().block_on()),
    ("cancel", |it| {
        let cancelled = it.stored_waiting.cancel().block_on();
        assert!(matches!(cancelled, Err(StorageError::Closed)));
    }),
    ("cancel in memory", |it| {
        assert!(it.waiting.cancel().block_on().unwrap().took_effect())
    }),
    ("discard", |it| {
        assert!(!it.app.discard("none").block_on().unwrap())
    }),
    ("list of failed jobs", |it| {
        assert!(it.app.failed().block_on().is_err())
    }),
    ("shutdown", |it| {
        assert!(it.app.shutdown(HOUR).block_on().left.is_empty())
    }),
    ("drop", |it| drop(it.app)),
    ("events", |it| {
        assert!(it.app.events().next_blocking().is_none())
    }),
    ("start", |it| {
        assert!(matches!(it.app.start().block_on(), Err(StartError::Forked)));
    }),
    ("start of another app", |_it| {
        let app = Jobber::builder().build().unwrap();
        assert!(matches!(app.start().block_on(), Err(StartError::Forked)));
        assert!(matches!(ThreadPool::new(1), Err(StartError::Forked)));
    }),
    ("all, one after the other", |it| {
        for _ in 0..2 {
            assert!(is_forked(it.quick.schedule(1).push().block_on()));
            assert!(is_forked(it.quick.schedule(1).delay(HOUR * 2).block_on()));
            assert!(is_forked(it.stored.schedule(1).push().block_on()));
            assert_eq!(it.waiting.wait_blocking(), JobStatus::Scheduled);
            assert!(it.app.shutdown(HOUR).block_on().left.is_empty());
        }
    }),
];

/// Forks, makes a call in the new process, and waits for its end.
fn call_in_fork(name: &str, call: fn(App), app: App) -> Result<App> {
    match fs::remove_file("/jobber/fork") {
        Ok(()) => Ok(app),
        Err(error) if error.raw_os_error() == Some(10) => {
            // No other thread is there to see a panic.
            let made = catch_unwind(AssertUnwindSafe(|| call(app)));
            exit(i32::from(made.is_err()));
        }
        Err(error) => Err(format!("`{name}` in the forked process: {error}").into()),
    }
}

/// Regression: a push was accepted and never ran; a durable push and a shutdown hung.
#[test]
fn after_a_fork_each_call_returns_an_error_or_returns_at_once() -> Result {
    if std::env::var_os(FORKS).is_some() {
        let mut app = App::start()?;
        for (name, call) in CALLS {
            app = call_in_fork(name, call, app)?;
        }
        // All is well in this process.
        let job = app.stored.schedule(7).push().block_on()?;
        assert_eq!(*job.block_on()?, 7);
        assert!(app.stored_waiting.cancel().block_on()?.took_effect());
        assert!(app.app.shutdown(WATCHDOG).block_on().is_complete());
        return Ok(());
    }
    run_forking(
        "fork::after_a_fork_each_call_returns_an_error_or_returns_at_once",
        |program| program.env(FORKS, "1"),
    )
}

/// Regression: a submission that found no place in a forked process waited for ever.
#[test]
fn a_durable_push_after_a_fork_returns_an_error_if_no_place_is_free() -> Result {
    const FORKS: &str = "JOBBER_FORKS_WITHOUT_ROOM";
    if std::env::var_os(FORKS).is_some() {
        let (store, storage) = HeldStore::new(MemoryStorage::new());
        let app = Jobber::builder().storage(storage).build()?;
        let task = app.task("t", async || {}).durable().register()?;
        app.start().block_on()?;
        store.hold();
        let mut first = task.schedule(()).delay(HOUR);
        begin(&mut first);
        store.requested()?;
        let mut waiting: Vec<_> = (1..16_384).map(|_| task.schedule(()).delay(HOUR)).collect();
        waiting.iter_mut().for_each(begin);
        let forked = fs::remove_file("/jobber/fork");
        if matches!(&forked, Err(error) if error.raw_os_error() == Some(10)) {
            let push = task.schedule(()).delay(HOUR).block_on();
            let is_forked = matches!(push, Err(ScheduleError::Forked));
            exit(i32::from(!is_forked));
        }
        store.release();
        forked?;
        return Ok(());
    }
    run_forking(
        "fork::a_durable_push_after_a_fork_returns_an_error_if_no_place_is_free",
        |program| program.env(FORKS, "1"),
    )
}

#[test]
fn a_limit_that_is_set_in_a_forked_process_starts_no_job() -> Result {
    const FORKS: &str = "JOBBER_FORKS_WITH_LIMIT";
    if std::env::var_os(FORKS).is_some() {
        let log = Log::new();
        let app = Jobber::builder()
            .executor(|job: JobFuture| futures_lite::future::block_on(job))
            .build()?;
        let limit = Limit::new(1);
        let task = app.task("t", log.argument()).limit(&limit).register()?;
        app.start().block_on()?;
        limit.set(0);
        let job = task.schedule(1u32).push().block_on()?;
        let forked = std::fs::remove_file("/jobber/fork");
        if matches!(&forked, Err(error) if error.raw_os_error() == Some(10)) {
            limit.set(1);
            exit(i32::from(!log.entries().is_empty()));
        }
        forked?;
        limit.set(1);
        assert!(job.is_done());
        return Ok(());
    }
    run_forking(
        "fork::a_limit_that_is_set_in_a_forked_process_starts_no_job",
        |program| program.env(FORKS, "1"),
    )
}

#[test]
fn a_cancel_in_a_forked_process_starts_no_job() -> Result {
    const FORKS: &str = "JOBBER_FORKS_WITH_CANCEL";
    if std::env::var_os(FORKS).is_some() {
        let (app, _clock, spawned) = hand_polled_app_with(|app| app)?;
        let task = app.task("t", async || {}).limit(1).register()?;
        let first = task.schedule(()).push().block_on()?;
        let second = task.schedule(()).push().block_on()?;
        let of_first = spawned.recv_timeout(WATCHDOG)?;
        let forked = std::fs::remove_file("/jobber/fork");
        let is_child = matches!(&forked, Err(error) if error.raw_os_error() == Some(10));
        if !is_child {
            forked?;
        }
        // That frees the limit, for which the second one waits.
        first.cancel().block_on()?;
        if is_child {
            exit(i32::from(spawned.try_recv().is_ok()));
        }
        drop((of_first, spawned.recv_timeout(WATCHDOG)?));
        assert!(second.is_done());
        return Ok(());
    }
    run_forking(
        "fork::a_cancel_in_a_forked_process_starts_no_job",
        |program| program.env(FORKS, "1"),
    )
}
