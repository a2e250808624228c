//! A program on tokio: a job that is started by the timer and one that is started at once use
//! tokio's timer and channels, and a blocking job runs on tokio's blocking pool.
//!
//! ```sh
//! cargo run --manifest-path examples/tokio/Cargo.toml
//! ```

use std::error::Error;
use std::time::Duration;

use jobber::Jobber;
use jobber_on_tokio::OnTokio;
use tokio::sync::mpsc::{self, Sender};

/// What tokio is needed for stands here for a real client, such as one for HTTP.
async fn send_mail(
    to: String,
    outbox: Sender<String>,
) -> Result<(), mpsc::error::SendError<String>> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    outbox.send(format!("mail to {to}")).await
}

fn count_words(text: String) -> usize {
    text.split_whitespace().count()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Without blocking tasks, two lines are enough:
    //     let handle = tokio::runtime::Handle::current();
    //     .executor(move |job| drop(handle.spawn(job)))
    let app = Jobber::builder().executor(OnTokio::current()).build()?;
    let send_mail = app.task("send_mail", send_mail).register()?;
    let count_words = app.blocking_task("count_words", count_words).register()?;
    app.start().await?;

    let (outbox, mut sent) = mpsc::channel(8);
    let now = send_mail.schedule(("ada@example.org".into(), outbox.clone()));
    let now = now.push().await?;
    let later = send_mail.schedule(("bob@example.org".into(), outbox));
    let later = later.delay(Duration::from_millis(200)).await?;
    let count = count_words.schedule("on the blocking pool".into());
    let count = count.push().await?;

    println!("{} words", count.await?);
    now.await?;
    later.await?;
    while let Some(mail) = sent.recv().await {
        println!("{mail}");
    }

    // The app ends before the runtime: what runs has 10 seconds to end.
    let report = app.shutdown(Duration::from_secs(10)).await;
    println!("All have run: {}", report.is_complete());
    Ok(())
}
