//! A random program, beside a model of what the docs say: no part of it knows of
//! a test harness, so that the fuzzer can run it, too.
#![allow(unreachable_pub, reason = "a test file is a crate of its own")]
#![allow(missing_docs, reason = "and nobody's library")]

mod calendar;
mod check;
mod checkpoints;
mod cron;
mod fault_schedule;
mod history;
mod job;
mod listener;
mod model;
mod oracle;
mod plan;
mod process;
mod program;
#[path = "../support/record.rs"]
mod record;
mod script;
mod shrink;
mod steer;
mod stored;
mod submit;
mod tasks;
mod unpredicted;
mod waits;
mod world;
#[path = "../support/zone_file.rs"]
mod zone_file;
mod zone_rules;

pub use program::Program;
pub use shrink::shrink;
pub use world::run;
