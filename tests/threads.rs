//! Which threads there are. One test, for it looks at the whole process.
#![cfg(target_os = "linux")]

use std::error::Error;
use std::time::Duration;

use jobber::{JobStatus, Jobber};

/// How many threads have a name that starts so.
fn threads_named(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with(prefix))
        .count()
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
        let expected = std::thread::available_parallelism()?.get() + 1;
        while threads_named("jobber-") < expected {
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
        assert_eq!(
            threads_named("jobber-"),
            expected,
            "a job that waits needs no thread"
        );
        assert_eq!(threads_named("jobber-timer"), 1);
        app.shutdown(Duration::ZERO).wait_blocking();
        // They have been told, and have only to return.
        while threads_named("jobber-") > 0 {
            std::thread::yield_now();
        }
    }
    Ok(())
}
