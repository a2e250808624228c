//! Durable jobs and their stores.

mod around;
mod at_most_once;
mod backlog;
mod cancel;
mod checkpoints;
mod clock;
mod codecs;
mod conformance;
mod declare;
mod except;
mod expires;
mod failed;
mod faults;
mod fork;
mod full;
mod groups;
mod held;
mod held_app;
mod hooks;
mod in_flight;
#[cfg(all(feature = "sqlite", unix))]
mod interruptions;
mod keep;
mod limits;
mod limits_random;
mod log;
mod misfire;
mod model;
mod next_in_line;
mod on_error;
mod overdue;
mod overlap;
#[cfg(all(feature = "sqlite", unix))]
mod owner;
#[cfg(all(feature = "sqlite", unix))]
mod owning;
mod pending;
mod process;
mod publication;
mod random_requests;
mod rates;
#[cfg(all(feature = "sqlite", unix))]
mod reading;
mod refusals;
mod replace;
mod restore;
mod retry;
mod select;
mod shutdown;
mod snooze;
mod spawn;
#[cfg(feature = "sqlite")]
mod sqlite;
mod steer;
mod steer_random;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod thread_end;
mod triggers;
mod unique;
mod unresolved;
