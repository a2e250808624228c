//! A long import that resumes after a crash, and reports its progress.
//!
//! ```sh
//! cargo run --example import --features sqlite   # ends in the middle, to simulate a crash
//! cargo run --example import --features sqlite   # resumes from the last checkpoint
//! ```
//!
//! The store is `jobber-import.db` in the directory for temporary files, or the file that is named
//! on the command line.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use jobber::{CheckpointError, JobContext, Jobber, SqliteStorage};

const ROWS: u32 = 100;

fn import(cx: JobContext, file: String) -> Result<(), CheckpointError> {
    let start = cx.last_checkpoint()?.unwrap_or(0);
    println!("    {file}: starts at row {start}");
    for row in start..ROWS {
        // After a crash, the rows from the last stored checkpoint on are imported again.
        cx.checkpoint_soon(&row)?;
        cx.progress((100 * row / ROWS) as u8, &format!("row {row} of {ROWS}"));
        std::thread::sleep(Duration::from_millis(30));
    }
    cx.progress(100, "");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => std::env::temp_dir().join("jobber-import.db"),
    };
    let app = Jobber::builder()
        .storage(SqliteStorage::new(&path))
        .build()?;
    let import = app.blocking_task("import", import).durable().register()?;
    app.start().block_on()?;

    let (job, is_resumed) = match import.job("books") {
        Some(job) => (job, true),
        None => {
            let import = import.schedule("books.csv".into()).id("books");
            (import.push().block_on()?, false)
        }
    };
    while !job
        .wait_timeout(Duration::from_millis(250))
        .block_on()
        .is_final()
    {
        let Some(progress) = job.progress() else {
            continue;
        };
        println!("    {progress}");
        if !is_resumed && progress.percent >= 50 {
            println!("The program ends here, to simulate a crash. Run it again.");
            std::process::exit(0);
        }
    }
    println!("The import has ended: {}", job.status());
    app.shutdown(Duration::from_secs(10)).block_on();
    Ok(())
}
