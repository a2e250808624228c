//! What users hold: the app, tasks, schedules, jobs, waits.

pub(crate) mod action;
pub(crate) mod app;
pub(crate) mod app_ref;
pub(crate) mod around;
pub(crate) mod builder;
pub(crate) mod context;
pub(crate) mod declare;
pub(crate) mod events;
pub(crate) mod failed_job;
pub(crate) mod group;
pub(crate) mod handler;
pub(crate) mod hooks;
pub(crate) mod job;
pub(crate) mod limit;
pub(crate) mod registered_task;
pub(crate) mod request;
pub(crate) mod resume;
pub(crate) mod schedule;
pub(crate) mod schedule_many;
pub(crate) mod select;
pub(crate) mod start;
pub(crate) mod stopping;
pub(crate) mod submit;
pub(crate) mod task;
pub(crate) mod waits;
