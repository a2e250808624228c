//! One job of each kind, in a program that has no async runtime.
//!
//! It schedules a job with each of four triggers, then shows a cancel, a failure, a
//! timeout and a retry. It prints the events of each job until the job is done.
//!
//! ```sh
//! cargo run --example quickstart
//! ```

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use jobber::{Backoff, Event, Events, Job, JobContext, JobEvent, JobEventKind, JobStatus, Jobber};
use time::OffsetDateTime;

/// Fails twice, then succeeds.
async fn fetch(cx: JobContext, page: String) -> Result<String, &'static str> {
    match cx.attempt() {
        1 | 2 => Err("the network is down"),
        _ => Ok(format!("the text of {page}")),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let moment = Duration::from_millis(200);

    // Without an executor, the app has threads of its own.
    let app = Jobber::builder().build()?;
    let add = app.task("add", async |x: i32, y: i32| x + y).register()?;
    let count = app
        .task("count", async |cx: JobContext| cx.run_number())
        .register()?;
    let parse = app
        .task("parse", async |text: String| text.parse::<i32>())
        .register()?;
    let hang = app
        .task("hang", std::future::pending::<()>)
        .timeout(moment)
        .register()?;
    let fetch = app
        .task("fetch", fetch)
        .retry(Backoff::fixed(3, moment))
        .register()?;
    let mut events = app.events();
    app.start().block_on()?;

    println!("push: run now");
    let job = add.schedule((1, 2)).push().block_on()?;
    follow(&mut events, &job);

    println!("delay: run after a time");
    let job = add.schedule((3, 4)).delay(moment).block_on()?;
    follow(&mut events, &job);

    println!("at: run at a time of the wall clock");
    let job = add
        .schedule((5, 6))
        .at(OffsetDateTime::now_utc() + moment)
        .block_on()?;
    follow(&mut events, &job);

    println!("every: run again and again, here three times");
    let job = count
        .schedule(())
        .id("my-counter")
        .max_runs(3)
        .every(moment)
        .block_on()?;
    follow(&mut events, &job);

    println!("A job that is cancelled before it is due");
    let job = add
        .schedule((7, 8))
        .delay(Duration::from_secs(600))
        .block_on()?;
    job.cancel().block_on()?;
    follow(&mut events, &job);

    println!("A job that fails");
    let job = parse.schedule("seven".into()).push().block_on()?;
    follow(&mut events, &job);

    println!("A job that takes too long");
    let job = hang.schedule(()).push().block_on()?;
    follow(&mut events, &job);

    println!("A job that is retried until it succeeds");
    let job = fetch.schedule("page 1".into()).push().block_on()?;
    follow(&mut events, &job);

    app.shutdown(Duration::from_secs(10)).block_on();
    Ok(())
}

/// Prints the events of a job until it is done, and then its result.
///
/// If you only want the result, call `job.block_on()`.
fn follow<R: Debug + Send + Sync + 'static>(events: &mut Events, job: &Job<R>) {
    println!("    id         {}", job.id());
    let mut began = None;
    while let Some(event) = events.next_blocking() {
        let Event::Job(JobEvent { at, kind, .. }) = event else {
            continue;
        };
        let began = *began.get_or_insert(at);
        let seconds = |time: OffsetDateTime| (time - began).as_seconds_f64();
        let status = match &kind {
            JobEventKind::Scheduled { due } => format!("SCHEDULED for {:.3} s", seconds(*due)),
            JobEventKind::Started { run, attempt } => {
                format!("RUNNING (run {run}, attempt {attempt})")
            }
            JobEventKind::Retrying { due, .. } => {
                format!("SCHEDULED again for {:.3} s", seconds(*due))
            }
            JobEventKind::RunEnded(run) => format!("run {} ended: {}", run.number, run.status),
            JobEventKind::Ended(status) => status.to_string(),
            JobEventKind::Cancelled => JobStatus::Cancelled.to_string(),
            other => format!("{other:?}"),
        };
        println!("    {:.3} s    {status}", seconds(at));
        if matches!(kind, JobEventKind::Ended(_) | JobEventKind::Cancelled) {
            break;
        }
    }
    match job.result() {
        Ok(value) => println!("    result     {value:?}\n"),
        Err(error) => println!("    no result  {error}\n"),
    }
}
