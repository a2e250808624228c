//! Which threads there are. One test, for it looks at the whole process.
#![cfg(target_os = "linux")]

use std::error::Error;
use std::time::Duration;

use jobber::{JobStatus, Jobber};

/// The names of our threads.
fn ours() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut names: Vec<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_string())
        .filter(|name| name.starts_with("jobber-"))
        .collect();
    names.sort();
    names
}

#[test]
fn one_timer_thread_and_no_thread_for_a_job_that_waits_and_none_after_shutdown()
-> Result<(), Box<dyn Error>> {
    // A new thread has its parent's name for a moment: async-io's is there
    // before any of ours could be its parent.
    smol::block_on(smol::Timer::after(Duration::ZERO));
    for _ in 0..20 {
        let app = Jobber::builder().build()?;
        let waits = app.task("waits", std::future::pending::<()>).register()?;
        app.start().wait_blocking()?;
        let cores = std::thread::available_parallelism()?.get();
        let mut expected: Vec<String> = (1..=cores).map(|n| format!("jobber-{n}")).collect();
        expected.push("jobber-timer".into());
        while ours().len() < expected.len() {
            std::thread::yield_now();
        }
        for _ in 0..1_000 {
            let _ = waits.schedule(()).push().wait_blocking()?;
        }
        let last = waits
            .schedule(())
            .delay(Duration::from_nanos(1))
            .wait_blocking()?;
        while last.status() != JobStatus::Running {
            std::thread::yield_now();
        }
        assert_eq!(ours(), expected, "a job that waits needs no thread");
        app.shutdown(Duration::ZERO).wait_blocking();
        // They have been told, and have only to return.
        while !ours().is_empty() {
            std::thread::yield_now();
        }
    }
    Ok(())
}
