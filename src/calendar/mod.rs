//! When a job is due: cron expressions, time zones, recurrences.

pub(crate) mod cron;
pub(crate) mod recurrence;
pub(crate) mod zone;
