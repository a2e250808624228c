//! Middleware: functions that run around each attempt. One measures, one holds a transaction.
//!
//! `cargo run --example middleware`

use std::error::Error;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jobber::{Backoff, BoxError, JobContext, Jobber, Next, Outcome};

/// Prints how attempts have ended, and how long they took. After a timeout or an abort it prints
/// nothing: these drop it. `Jobber::events` tells them all.
async fn measure(cx: JobContext, next: Next) -> Outcome {
    let start = Instant::now();
    let outcome = next.run().await;
    let end = match outcome.error() {
        None => "has succeeded".to_string(),
        Some(error) => match error.source() {
            Some(source) => format!("has failed: {source}"),
            None => format!("has failed: {error}"),
        },
    };
    println!(
        "{} {}, attempt {}, {end} after {:?}",
        cx.task_name(),
        cx.id(),
        cx.attempt(),
        start.elapsed()
    );
    outcome
}

/// The rows that were committed: in place of a database.
static ROWS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The rows of one attempt: `commit` moves them to [`ROWS`], and a drop discards them.
#[derive(Default)]
struct Transaction(Mutex<Vec<String>>);

impl Transaction {
    fn insert(&self, row: String) {
        self.0.lock().unwrap().push(row);
    }

    fn commit(&self) {
        ROWS.lock().unwrap().append(&mut self.0.lock().unwrap());
    }
}

impl Drop for Transaction {
    /// Also after a timeout or an abort, which drop the middleware with the task.
    fn drop(&mut self) {
        for row in self.0.lock().unwrap().drain(..) {
            println!("rolled back: {row}");
        }
    }
}

/// Opens a transaction for each attempt, and commits it if the attempt succeeds.
async fn in_transaction(cx: JobContext, next: Next) -> Outcome {
    cx.set_local(Transaction::default());
    let outcome = next.run().await;
    if outcome.is_success()
        && let Some(transaction) = cx.local::<Transaction>()
    {
        transaction.commit();
    }
    outcome
}

async fn book(cx: JobContext, seat: u32) -> Result<(), BoxError> {
    let transaction = cx.local::<Transaction>().ok_or("no transaction")?;
    transaction.insert(format!("seat {seat}, attempt {}", cx.attempt()));
    if cx.attempt() == 1 {
        return Err("the payment is not there yet".into());
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let app = Jobber::builder().around(measure).build()?;
    let book = app
        .task("book", book)
        .retry(Backoff::fixed(1, Duration::from_millis(100)))
        .around(in_transaction)
        .register()?;
    app.start().block_on()?;
    let job = book.schedule(7).id("seat-7").push().block_on()?;
    job.wait_blocking();
    println!("committed: {:?}", ROWS.lock().unwrap());
    app.shutdown(Duration::from_secs(1)).block_on();
    Ok(())
}
