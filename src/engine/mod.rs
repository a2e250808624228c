//! One running app: start, fire, finish, cancel, replace, restore, stop.

pub(crate) mod catch_up;
pub(crate) mod driver;
pub(crate) mod event_bus;
pub(crate) mod hub;
pub(crate) mod lifecycle;
pub(crate) mod replacing;
pub(crate) mod restoring;
pub(crate) mod run;
pub(crate) mod settling;
pub(crate) mod shards;
pub(crate) mod stored;
pub(crate) mod timer_thread;
pub(crate) mod timing;
