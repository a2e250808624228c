//! A program that runs until somebody stops it: Ctrl-C, or `kill` (SIGINT or SIGTERM).
//!
//! `cargo run --example service`

use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use jobber::{BoxError, JobContext, Jobber};

async fn beat(cx: JobContext) {
    println!("beat {}", cx.run_number());
}

fn main() -> Result<(), BoxError> {
    let app = Jobber::builder().build()?;
    let beat = app.task("beat", beat).register()?;
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let main = async move {
        let _job = beat.schedule(()).every(Duration::from_secs(1)).await?;
        println!("running; stop it with Ctrl-C");
        if let Some(signal) = signals.next().await {
            println!(
                "{:?}: no more jobs start, and those that run have ten seconds",
                signal?
            );
        }
        Ok::<(), BoxError>(())
    };
    app.run_until(main, Duration::from_secs(10)).block_on()?
}
