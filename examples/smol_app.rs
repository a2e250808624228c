//! A server on smol: it sends a mail after a delay, polls a feed at an interval, logs
//! what happens, and shuts down in an orderly way.
//!
//! ```sh
//! cargo run --example smol_app
//! ```

use std::error::Error;
use std::time::Duration;

use jobber::{Event, Events, JobContext, JobEvent, JobEventKind, Jobber, MissingState};
use smol::Timer;
use smol::stream::StreamExt;

/// The state that all tasks share. In a real server: a mail client, a database.
struct Config {
    sender: String,
}

async fn send_mail(cx: JobContext, to: String) -> Result<String, MissingState> {
    let config = cx.state::<Config>()?;
    Timer::after(Duration::from_millis(50)).await;
    Ok(format!("from {} to {to}", config.sender))
}

async fn poll_feed(url: String) -> usize {
    Timer::after(Duration::from_millis(20)).await;
    url.len()
}

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let app = Jobber::builder()
        .executor(|job| smol::spawn(job).detach())
        .state(Config {
            sender: "server@example.org".into(),
        })
        .build()?;
    let send_mail = app
        .task("send_mail", send_mail)
        .timeout(Duration::from_secs(30))
        .register()?;
    let poll_feed = app.task("poll_feed", poll_feed).register()?;
    let log = smol::spawn(log(app.events()));
    app.start().await?;

    let feed = poll_feed
        .schedule("https://example.org/feed".into())
        .id("feed")
        .every(Duration::from_millis(250))
        .await?;
    let mail = send_mail
        .schedule("ada@example.org".into())
        .id("welcome-mail")
        .delay(Duration::from_millis(300))
        .await?;

    // `job.await` waits for the job and returns its result.
    println!("The mail was sent {}.", mail.await?);
    if let Some(run) = feed.next_run().await {
        println!("Poll {} of the feed: {}.", run.number, run.status);
    }

    // The shutdown begins while a mail is being sent: that mail is sent, and no other
    // job starts.
    let last = send_mail
        .schedule("bob@example.org".into())
        .id("last-mail")
        .push()
        .await?;
    Timer::after(Duration::from_millis(10)).await;
    let report = app.shutdown(Duration::from_secs(10)).await;
    println!("Shut down; {} jobs were left running.", report.left.len());
    println!(
        "{} is {}, {} is {}.",
        last.id(),
        last.status(),
        feed.id(),
        feed.status()
    );
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
