//! Jobs that survive the program.
//!
//! ```sh
//! cargo run --example durable --features sqlite   # schedules a handful, and ends before they are due
//! cargo run --example durable --features sqlite   # finds and runs them
//! ```
//!
//! The result is the same however the first run ends: you may kill it. The store is `jobber-durable.db` in the directory for temporary
//! files, or the file that is named on the command line; `cargo run --example
//! inspect --features sqlite FILE` shows what is in it.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use jobber::{JobContext, Jobber, SqliteStorage, Task};

/// The arguments are stored as JSON.
async fn send(cx: JobContext, to: String, subject: String) {
    // This key is the same if a crash repeats the run: the receiver can detect it.
    let key = format!("{}@{}", cx.id(), cx.nominal_time());
    println!("    mail to {to}: {subject} (key {key})");
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => std::env::temp_dir().join("jobber-durable.db"),
    };
    let app = Jobber::builder()
        .storage(SqliteStorage::new(&path))
        .build()?;
    // Register before the start: stored jobs find their task by its name.
    let mail = app
        .task("mail", send)
        .alias("send_mail") // its name in an earlier version
        .durable()
        .register()?;
    app.start().block_on()?;

    if app.jobs().is_empty() {
        println!("Nothing is in {}: scheduling.", path.display());
        schedule(&mail)?;
        println!("The program ends now, before they are due. Run it again.");
    } else {
        println!("{} jobs were left in {}:", app.jobs().len(), path.display());
        for job in app.jobs() {
            println!("    {} is due at {}", job.id(), job.exec_at());
        }
        if let Some(news) = mail.job("news") {
            // It recurs, and never ends by itself: wait for one run, then cancel it.
            news.next_run().block_on();
            news.cancel().block_on()?;
        }
        app.wait_all().block_on();
        println!("All have run, and the store is empty.");
    }
    app.shutdown(Duration::from_secs(10)).block_on();
    Ok(())
}

fn schedule(mail: &Task<(String, String), ()>) -> Result<(), Box<dyn Error>> {
    for (name, subject, seconds) in [("Ada", "Hello", 1), ("Grace", "Bugs", 2)] {
        let job = mail
            .schedule((format!("{name}@example.org"), subject.into()))
            .delay(Duration::from_secs(seconds))
            .block_on()?;
        println!("    {} is due at {}", job.id(), job.exec_at());
    }
    let news = mail
        .schedule(("all@example.org".into(), "News".into()))
        .id("news")
        .every(Duration::from_secs(3))
        .block_on()?;
    println!("    {} is due at {}", news.id(), news.exec_at());
    Ok(())
}
