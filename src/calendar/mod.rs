//! When a job is due: cron expressions, time zones, recurrences.

pub(crate) mod calendar_interval;
pub(crate) mod calendar_times;
pub(crate) mod calendars;
pub(crate) mod cron;
pub(crate) mod exclusions;
pub(crate) mod exclusions_text;
pub(crate) mod first_allowed;
pub(crate) mod history;
pub(crate) mod misfire;
pub(crate) mod recurrence;
pub(crate) mod series;
pub(crate) mod timeline;
pub(crate) mod zone;
