//! A program without async: blocking tasks, waits with and without a limit, a job that
//! is stopped while it runs, and a shutdown.
//!
//! ```sh
//! cargo run --example blocking
//! ```

use std::error::Error;
use std::sync::mpsc::{self, SendError, Sender};
use std::thread;
use std::time::Duration;

use jobber::{JobContext, JobStatus, Jobber};

/// Counts the primes below a limit, until it is requested to stop.
fn count_primes(cx: JobContext, limit: u64) -> u64 {
    let stop = cx.stop_token();
    (2..limit)
        // A thread can't be stopped from outside: the function has to check.
        .take_while(|_| !stop.is_stop_requested())
        .filter(|&n| (2..).take_while(|d| d * d <= n).all(|d| n % d != 0))
        .count() as u64
}

/// Waits until it is requested to stop.
fn listen(cx: JobContext, report: Sender<&'static str>) -> Result<(), SendError<&'static str>> {
    report.send("listening")?;
    cx.stop_token().stopped().block_on();
    report.send("requested to stop")
}

fn main() -> Result<(), Box<dyn Error>> {
    let app = Jobber::builder().build()?;
    let count_primes = app.blocking_task("count_primes", count_primes).register()?;
    let listen = app.blocking_task("listen", listen).register()?;
    app.start().block_on()?;

    println!("Wait for a job:");
    let job = count_primes.schedule(10_000).push().block_on()?;
    println!("  {}: {} primes", job.wait_blocking(), job.result()?);

    println!("Any thread may wait for any job:");
    let job = count_primes
        .schedule(1_000)
        .delay(Duration::from_millis(100))
        .block_on()?;
    thread::scope(|scope| {
        for name in ["first", "second"] {
            let job = &job;
            scope.spawn(move || println!("  {name} thread: {}", job.wait_blocking()));
        }
    });

    println!("Wait for 100 ms, and then stop the job:");
    let (report, reports) = mpsc::channel();
    let job = listen.schedule(report.clone()).push().block_on()?;
    println!("  listen: {}", reports.recv()?);
    let status = job.wait_timeout(Duration::from_millis(100)).block_on();
    println!("  after 100 ms: {status}");
    if status == JobStatus::Running && job.abort().block_on()?.took_effect() {
        println!("  aborted: {}", job.status());
    }
    println!("  listen: {}", reports.recv()?);

    println!("Wait for all jobs:");
    let jobs = (1..=4)
        .map(|n| count_primes.schedule(n * 1_000).push().block_on())
        .collect::<Result<Vec<_>, _>>()?;
    app.wait_all().block_on();
    for job in &jobs {
        println!("  {}: {} primes", job.status(), job.result()?);
    }

    println!("Shut down while a job runs: it is requested to stop, and ends in time:");
    let job = listen.schedule(report).push().block_on()?;
    println!("  listen: {}", reports.recv()?);
    let report = app.shutdown(Duration::from_secs(10)).block_on();
    println!("  listen: {}", reports.recv()?);
    println!(
        "  {}, and {} jobs were left running",
        job.status(),
        report.left.len()
    );
    Ok(())
}
