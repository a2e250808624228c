//! A circuit breaker for the tasks of a group: after three failures in a row, no attempt reaches the
//! server for a while. Middleware keeps attempts away; `on_error` counts failures, because it alone
//! sees timeouts. An attempt that is kept away uses up a retry: in a long outage, raise their number.
//!
//! `cargo run --example circuit_breaker`

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jobber::{Backoff, BoxError, JobContext, JobError, Jobber, Next, OnError, Outcome, RetryAfter};
use thiserror::Error;

const MAX_FAILURES: u32 = 3;
const OPEN_FOR: Duration = Duration::from_millis(200);

/// The state of the group.
#[derive(Default)]
struct Breaker(Mutex<Failures>);

#[derive(Default)]
struct Failures {
    in_a_row: u32,
    /// No attempt until then.
    open_until: Option<Instant>,
}

impl Breaker {
    /// For how long no attempt may reach the server.
    fn open_for(&self) -> Option<Duration> {
        let until = self.0.lock().unwrap().open_until?;
        let rest = until.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }

    fn succeeded(&self) {
        *self.0.lock().unwrap() = Failures::default();
    }

    fn failed(&self) {
        let failures = &mut *self.0.lock().unwrap();
        failures.in_a_row += 1;
        if failures.in_a_row >= MAX_FAILURES {
            failures.open_until = Some(Instant::now() + OPEN_FOR);
        }
    }
}

/// The error of an attempt that was kept away. Its source says when to try again.
#[derive(Debug, Error)]
#[error("the circuit is open: no request was sent")]
struct Open(#[source] RetryAfter);

async fn keep_away(cx: JobContext, next: Next) -> Outcome {
    let breaker = match cx.state::<Breaker>() {
        Ok(breaker) => breaker,
        Err(error) => return Outcome::fail(error),
    };
    if let Some(rest) = breaker.open_for() {
        return Outcome::fail(Open(RetryAfter::new(rest)));
    }
    let outcome = next.run().await;
    if outcome.is_success() {
        breaker.succeeded();
    }
    outcome
}

fn count(error: &JobError, cx: &JobContext) -> OnError {
    let is_open = matches!(error, JobError::Failed(error) if error.is::<Open>());
    if !is_open && let Ok(breaker) = cx.state::<Breaker>() {
        breaker.failed();
    }
    println!("{} attempt {}: {error}", cx.id(), cx.attempt());
    // The error says what follows, or else the backoff.
    OnError::Pass
}

/// How many attempts have reached the server.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// A server that hangs, then refuses, and then answers.
async fn fetch(_: JobContext, page: u32) -> Result<u32, &'static str> {
    match REQUESTS.fetch_add(1, Ordering::Relaxed) {
        0 => std::future::pending().await,
        1 | 2 => Err("the server is busy"),
        _ => Ok(page),
    }
}

fn main() -> Result<(), BoxError> {
    let app = Jobber::builder().build()?;
    let server = app
        .group("server")
        .state(Breaker::default())
        .around(keep_away)
        .on_error(count)
        .timeout(Duration::from_millis(50))
        .retry(Backoff::fixed(10, Duration::from_millis(10)))
        // One at a time, so that the count is exact.
        .limit(1);
    let fetch = server.task("fetch", fetch).register()?;
    app.start().block_on()?;

    let mut jobs = Vec::new();
    for page in 0..10 {
        let job = fetch.schedule(page).id(format!("page {page}"));
        jobs.push(job.push().block_on()?);
    }
    for job in jobs {
        job.wait_blocking();
        job.result()?;
    }
    let requests = REQUESTS.load(Ordering::Relaxed);
    println!("10 pages with {requests} requests");
    assert_eq!(
        requests, 13,
        "3 have failed, and then none until the server answered"
    );
    app.shutdown(Duration::from_secs(10)).block_on();
    Ok(())
}
