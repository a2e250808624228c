//! Describes cron expressions and shows when they are next due.
//!
//! ```text
//! cargo run --example cron -- '0 9 * * MON-FRI' '0 0 LW * ?'
//! cargo run --features tz --example cron -- --zone Europe/Berlin '30 2 * * *'
//! ```
//!
//! Each argument is one expression. Without arguments, it shows a small table.

use std::process::ExitCode;

use jobber::{
    Zone,
    cron::{Cron, CronError},
};
use time::OffsetDateTime;

const TABLE: &[&str] = &[
    "*/15 * * * *",
    "0 9-17 * * MON-FRI",
    "30 6 1,LW * ?",
    "0 0 13 * FRI",
    "0 22 * NOV-FEB FRI-MON",
    "0 8 ? * MON#1,FRIL",
    "0 0 1 1 * 2030-2032",
    "*/10 * 3 * * * *",
];

fn main() -> ExitCode {
    let mut zone = Zone::UTC;
    let mut expressions = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument != "--zone" {
            expressions.push(argument);
            continue;
        }
        match named(&arguments.next().unwrap_or_default()) {
            Ok(named) => zone = named,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::FAILURE;
            }
        }
    }
    if expressions.is_empty() {
        expressions = TABLE.iter().map(ToString::to_string).collect();
    }
    let now = OffsetDateTime::now_utc();
    let mut outcome = ExitCode::SUCCESS;
    for text in &expressions {
        match text.parse() {
            Ok(cron) => show(&cron, now, &zone),
            Err(error) => {
                point_at(text, &error);
                outcome = ExitCode::FAILURE;
            }
        }
    }
    outcome
}

fn show(cron: &Cron, now: OffsetDateTime, zone: &Zone) {
    println!("{cron}\n    {} ({zone})", cron.describe());
    let mut times = cron.upcoming(now, zone).take(5).peekable();
    if times.peek().is_none() {
        println!("    never");
    }
    times.for_each(|time| println!("    {time}"));
}

/// Prints the expression, carets below the invalid part, and the error.
fn point_at(text: &str, error: &CronError) {
    let span = error.span();
    let width = |part: Option<&str>| part.map_or(0, |part| part.chars().count());
    let before = " ".repeat(width(text.get(..span.start)));
    let carets = "^".repeat(width(text.get(span)).max(1));
    eprintln!("{text}\n{before}{carets}\n{error}");
}

#[cfg(feature = "tz")]
fn named(name: &str) -> Result<Zone, String> {
    Zone::named(name).map_err(|error| error.to_string())
}

#[cfg(not(feature = "tz"))]
fn named(name: &str) -> Result<Zone, String> {
    match name {
        "UTC" => Ok(Zone::UTC),
        _ => Err(format!("`{name}`: named time zones need the feature `tz`")),
    }
}
