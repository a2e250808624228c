//! Attempts to refute issue 18, without a store.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Result, WATCHDOG, child, run_within, wait_until};
use jobber::{JobStatus, Jobber};

const CHILD: &str = "JOBBER_REFUTED_LIMITED";

/// R17: a blocking job for which no thread could be started waits for one that hangs, also
/// when threads can be had again, and nothing shows it.
#[test]
fn a_blocking_job_that_found_no_thread_is_started_or_shown_when_there_are_threads() -> Result {
    let name =
        "refuted::a_blocking_job_that_found_no_thread_is_started_or_shown_when_there_are_threads";
    if std::env::var_os(CHILD).is_none() {
        let program = child(name)?;
        let mut limited = Command::new("prlimit");
        limited.args(["--nofile=64", "--as=2000000000"]);
        limited.arg(program.get_program()).args(program.get_args());
        limited.env("RUST_MIN_STACK", "33554432");
        limited.env("MALLOC_ARENA_MAX", "1").env(CHILD, "1");
        limited.env("RUST_BACKTRACE", "0");
        let (status, stderr) = run_within(WATCHDOG, &mut limited)?;
        assert!(status.success(), "{status}: {stderr}");
        return Ok(());
    }
    let app = Jobber::builder().build()?;
    let (go_on, may_return) = mpsc::channel::<()>();
    let may_return = Arc::new(Mutex::new(may_return));
    let hangs = app.blocking_task("hangs", move || drop(may_return.lock().unwrap().recv()));
    let hangs = hangs.register()?;
    let quick = app.blocking_task("quick", || {}).register()?;
    let other = app.task("other", async || {}).register()?;
    app.start().block_on()?;
    let hanging = hangs.schedule(()).push().block_on()?;
    wait_until(|| hanging.status() == JobStatus::Running);
    let threads: Vec<Sender<()>> = std::iter::from_fn(|| {
        let (end, until_end) = mpsc::channel();
        let started = thread::Builder::new().spawn(move || until_end.recv().is_ok());
        started.ok().map(|_| end)
    })
    .collect();
    let waiting = quick.schedule(()).push().block_on()?;
    drop(threads);
    // There are threads again.
    wait_until(|| thread::Builder::new().spawn(|| ()).is_ok());
    for _ in 0..1_000 {
        other.schedule(()).push().block_on()?.wait_blocking();
    }
    let is_shown = !app.health().is_healthy() || !app.health().attention.is_empty();
    assert!(
        is_shown || waiting.is_done(),
        "{}, {}",
        waiting.status(),
        app.health()
    );
    drop(go_on);
    Ok(())
}

/// R19: two apps share a pool; an async attempt of one blocks its thread to wait for all jobs
/// of the other, which need that thread.
#[test]
fn a_blocking_wait_for_all_jobs_on_a_thread_of_a_shared_pool_fails_the_attempt() -> Result {
    let pool = jobber::ThreadPool::new(1)?;
    let one = Jobber::builder().executor(pool.clone()).build()?;
    let other = Jobber::builder().executor(pool).build()?;
    let (inside, quick) = (other.clone(), other.task("quick", async || {}).register()?);
    let waits = one.task("waits", move || {
        let app = inside.clone();
        async move { app.wait_all().block_on() }
    });
    let waits = waits.register()?;
    one.start().block_on()?;
    other.start().block_on()?;
    let pending = quick
        .schedule(())
        .delay(std::time::Duration::from_millis(300))
        .block_on()?;
    let job = waits.schedule(()).push().block_on()?;
    let limit = std::time::Duration::from_secs(5);
    let status = job.wait_timeout(limit).block_on();
    assert_eq!(
        status,
        JobStatus::Failed,
        "and the other job is {}",
        pending.status()
    );
    Ok(())
}
