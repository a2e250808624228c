//! Cron expressions, time zones, and the jobs that run by them.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "tz")]
mod all_clock_changes;
#[cfg(feature = "tz")]
mod clock_changes;
mod describe;
mod differential;
mod errors;
mod jobs;
mod next;
mod oracle;
mod zones;
