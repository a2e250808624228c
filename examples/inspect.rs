//! Prints the jobs in a store.
//!
//! ```sh
//! cargo run --example inspect --features sqlite FILE
//! ```
//!
//! An app may use the file at the same time.

use std::error::Error;
use std::time::Duration;

use jobber::{
    SqliteStorage,
    storage::{JobRecord, Loaded, TriggerRecord},
};
use time::OffsetDateTime;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(path) = std::env::args_os().nth(1) else {
        println!("Usage: inspect FILE");
        return Ok(());
    };
    let now = OffsetDateTime::now_utc();
    let mut rows = vec![["ID", "TASK", "DUE IN", "TRIGGER", "STATE", "ATTEMPTS"].map(String::from)];
    SqliteStorage::inspect(&path, |loaded| {
        rows.push(match loaded {
            Loaded::Job(job) => row(&job, now),
            Loaded::Unreadable { id, task, reason } => [
                id.to_string(),
                task,
                "?".into(),
                "?".into(),
                reason,
                "?".into(),
            ],
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
            .map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    println!("{} jobs", rows.len() - 1);
    Ok(())
}

fn row(job: &JobRecord, now: OffsetDateTime) -> [String; 6] {
    let progress = &job.progress;
    let trigger = match &job.trigger {
        TriggerRecord::Every { interval, .. } => format!("every {interval:?}"),
        TriggerRecord::Cron { expression, .. } => expression.clone(),
        once => once.name().to_string(),
    };
    let runs = progress
        .recurring
        .as_ref()
        .map_or(0, |recurring| recurring.runs);
    let state = match (progress.started_at, progress.last_failure) {
        (Some(started), _) => format!("started at {started}"),
        (None, Some(failure)) => format!("to be tried again: {failure}"),
        (None, None) if runs > 0 => format!("has run {runs} times"),
        (None, None) => "scheduled".into(),
    };
    [
        job.id.to_string(),
        job.task.clone(),
        due_in(progress.due - now),
        trigger,
        state,
        progress.attempts.to_string(),
    ]
}

fn due_in(left: time::Duration) -> String {
    match Duration::try_from(left) {
        Ok(left) => format!("{:.1} s", left.as_secs_f64()),
        Err(_) => format!("overdue by {:.1} s", -left.as_seconds_f64()),
    }
}
