//! Prints the jobs in a store.
//!
//! ```sh
//! cargo run --example inspect --features sqlite FILE
//! ```
//!
//! An app may use the file at the same time. For more columns, use an SQLite tool:
//! `sqlite3 FILE "SELECT * FROM jobs"`.

use std::error::Error;
use std::time::Duration;

use jobber::SqliteStorage;
use jobber::storage::Loaded;
use time::OffsetDateTime;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(path) = std::env::args_os().nth(1) else {
        println!("Usage: inspect FILE");
        return Ok(());
    };
    let now = OffsetDateTime::now_utc();
    let mut rows = vec![["ID", "TASK", "DUE IN", "ARGUMENTS"].map(String::from)];
    SqliteStorage::inspect(&path, |loaded| {
        rows.push(match loaded {
            Loaded::Job(job) => [
                job.id().to_string(),
                job.task().into(),
                due_in(job.due() - now),
                match job.codec() {
                    None => String::from_utf8_lossy(job.args()).into(),
                    Some(codec) => format!("({} bytes of {codec})", job.args().len()),
                },
            ],
            Loaded::OtherVersion { id, task, version } => {
                let reason = format!("(a record of version {version})");
                [id.to_string(), task, "?".into(), reason]
            }
            Loaded::Unreadable { id, task, reason } => {
                [id.to_string(), task, "?".into(), format!("({reason})")]
            }
        });
    })?;
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            // The file may hold any character.
            .map(|(cell, width)| format!("{:width$}", cell.replace(char::is_control, "?")));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    println!("{} jobs", rows.len() - 1);
    Ok(())
}

fn due_in(left: time::Duration) -> String {
    match Duration::try_from(left) {
        Ok(left) => format!("{:.1} s", left.as_secs_f64()),
        Err(_) => format!("overdue by {:.1} s", -left.as_seconds_f64()),
    }
}
