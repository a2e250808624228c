//! A web service of reminders, with trillium on smol. The reminders are in a file: they survive
//! a restart and a crash. On SIGINT or SIGTERM it waits for what runs, at most 20 s, and ends.
//! `cargo run --manifest-path examples/web_service/Cargo.toml -- [FILE [ADDRESS]]`
//!
//! ```sh
//! curl localhost:8080/reminders -d '{"text": "Tea", "in_seconds": 180}'
//! curl localhost:8080/reminders -d '{"text": "Party", "at": "2026-12-31T23:00:00Z", "id": "p"}'
//! curl localhost:8080/reminders
//! curl localhost:8080/reminders/p
//! curl localhost:8080/reminders/p -X DELETE
//! ```

mod reminders;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use jobber::Jobber;
use jobber::storage::SqliteStorage;
use reminders::Reminders;
use smol::net::TcpListener;
use smol::stream::StreamExt;
use smol::{Timer, future};
use trillium::HttpConfig;

/// How long requests may take after a signal, and then reminders that are being delivered.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or("reminders.db".into());
    let address = args.next().unwrap_or("127.0.0.1:8080".into());
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;

    let app = Jobber::builder()
        .executor(|job| smol::spawn(job).detach())
        .storage(SqliteStorage::new(&path))
        .build()?;
    // In a real service: send a mail. If it fails, return the error, and set `.retry(..)`.
    let task = reminders::register(&app, |id, text| println!("{id}: {text}"))?;
    app.start().await?;
    let read_store = Arc::new(move |each: &mut dyn FnMut(_)| SqliteStorage::inspect(&path, each));
    let reminders = Reminders::new(app.clone(), task, read_store);

    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let server = trillium_smol::config()
        .with_prebound_server(listener)
        .with_http_config(HttpConfig::default().with_received_body_max_len(64 * 1024))
        .without_signals()
        .spawn(reminders::routes(reminders));

    signals.next().await;
    let requests_end = async {
        server.shut_down().await; // accepts no connection, and finishes the requests
        true
    };
    let grace_ends = async {
        Timer::after(GRACE).await;
        false
    };
    if !future::or(requests_end, grace_ends).await {
        eprintln!("some requests were left");
    }
    let report = app.shutdown(GRACE).await;
    if !report.is_complete() {
        eprintln!("left: {report:?}");
    }
    Ok(())
}
