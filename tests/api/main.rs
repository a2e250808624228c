//! What the handles of jobs, tasks and apps do, without a store.

#[path = "../support/mod.rs"]
mod support;

mod app_ref;
mod around;
mod bad_input;
mod burst;
mod cancel;
mod clock;
mod drops;
mod errors;
mod events;
mod except;
mod expires;
mod handler;
mod job;
mod keep;
mod outliving;
mod own_wait;
mod panic;
mod recurring;
mod replace;
mod resources;
mod retry;
mod shutdown;
mod stop_token;
mod stuck;
mod threads;
mod timeout;
mod triggers;
mod wakers;
