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
#[cfg(feature = "tz")]
mod local_times;
mod next;
mod oracle;
#[cfg(feature = "tz")]
mod stretches;
#[cfg(feature = "tz")]
mod zone_files;
mod zones;
