//! A server on async-std: it sends a mail after a delay, polls a feed at an interval,
//! logs what happens, and shuts down in an orderly way.
//!
//! ```sh
//! cargo run --example async_std_app
//! ```

use std::error::Error;
use std::time::Duration;

use async_std::stream::StreamExt;
use async_std::task;
use jobber::{Event, Events, JobContext, JobEvent, JobEventKind, Jobber};

async fn send_mail(to: String) -> String {
    task::sleep(Duration::from_millis(50)).await;
    format!("to {to}")
}

/// Fails in the second run.
async fn poll_feed(cx: JobContext, url: String) -> Result<usize, &'static str> {
    task::sleep(Duration::from_millis(20)).await;
    match cx.run_number() {
        2 => Err("the network is down"),
        _ => Ok(url.len()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    task::block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let app = Jobber::builder()
        // The task goes on when async-std's `JoinHandle` is dropped.
        .executor(|job| drop(task::spawn(job)))
        .build()?;
    let send_mail = app.task("send_mail", send_mail).register()?;
    let poll_feed = app.task("poll_feed", poll_feed).register()?;
    let log = task::spawn(log(app.events()));
    app.start().await?;

    let feed = poll_feed
        .schedule("https://example.org/feed".into())
        .id("feed")
        .max_runs(3)
        .every(Duration::from_millis(200))
        .await?;
    let mail = send_mail
        .schedule("ada@example.org".into())
        .id("welcome-mail")
        .delay(Duration::from_millis(300))
        .await?;
    let reminder = send_mail
        .schedule("ada@example.org".into())
        .id("reminder")
        .delay(Duration::from_secs(86_400))
        .await?;

    println!("The mail was sent {}.", mail.await?);
    // A failed run does not end a recurring job.
    println!("The feed ended as {}.", feed.wait().await);

    // The reminder is not due before the shutdown. It is cancelled, because this app
    // has no store.
    let report = app.shutdown(Duration::from_secs(10)).await;
    println!("Shut down; {} jobs were left running.", report.left.len());
    println!("{} is {}.", reminder.id(), reminder.status());
    log.await;
    Ok(())
}

/// Prints events until the app has stopped.
async fn log(mut events: Events) {
    while let Some(event) = events.next().await {
        let Event::Job(JobEvent { id, kind, .. }) = event else {
            continue;
        };
        match kind {
            JobEventKind::Started { run, .. } => println!("  log: {id} starts run {run}"),
            JobEventKind::RunEnded(run) => println!("  log: {id} ends it: {}", run.status),
            JobEventKind::Ended(status) => println!("  log: {id} is done: {status}"),
            JobEventKind::Cancelled => println!("  log: {id} is cancelled"),
            _ => {}
        }
    }
}
