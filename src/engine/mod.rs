//! One running app: start, fire, finish, cancel, replace, restore, stop.

pub(crate) mod app_phase;
pub(crate) mod args;
pub(crate) mod attempt;
pub(crate) mod cancelling;
pub(crate) mod catch_up;
pub(crate) mod catching_up;
pub(crate) mod discarded;
pub(crate) mod driver;
pub(crate) mod event_bus;
pub(crate) mod firing;
pub(crate) mod hub;
pub(crate) mod inserting;
pub(crate) mod job_state;
pub(crate) mod lifecycle;
pub(crate) mod loading;
pub(crate) mod outliving_bodies;
pub(crate) mod replacing;
pub(crate) mod restoring;
pub(crate) mod side_shards;
pub(crate) mod storing;
pub(crate) mod tables;
pub(crate) mod task_registry;
pub(crate) mod timer_thread;
pub(crate) mod timing;
pub(crate) mod view;
