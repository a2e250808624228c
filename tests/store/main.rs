//! Durable jobs and their stores.

mod conformance;
mod durable;
mod faults;
mod in_flight;
mod model;
#[cfg(feature = "sqlite")]
mod sqlite;
#[path = "../support/mod.rs"]
mod support;
