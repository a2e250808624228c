//! Attempts to refute issue 18, without a store.

use crate::support::Result;
use jobber::{JobStatus, Jobber};

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
