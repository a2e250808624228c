//! A job scheduler that lives inside your program: register functions as tasks,
//! schedule them, and hold a typed [`Job`] that you can await, block on, inspect
//! and cancel, on any async runtime or none.
//!
//! ```
//! use std::time::Duration;
//! use jobber::Jobber;
//!
//! async fn add(x: i32, y: i32) -> i32 {
//!     x + y
//! }
//!
//! let app = Jobber::builder().build()?;
//! let add = app.task("add", add).register()?;
//! app.start().wait_blocking()?;
//!
//! let job = add.schedule((1, 2)).delay(Duration::from_millis(10)).wait_blocking()?;
//! println!("Job {} was scheduled.", job.id());
//! job.wait_blocking();
//! println!("Job {} finished with status: {}", job.id(), job.status());
//! println!("Result: {}", job.result()?);
//!
//! app.shutdown(Duration::from_secs(10)).wait_blocking();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # One value, two drivers
//! Everything that may take a while is a value that is either `.await`ed or ended
//! with `.wait_blocking()`; until then nothing happens. There is no second,
//! blocking API:
//!
//! ```
//! # use std::time::Duration;
//! # use jobber::Jobber;
//! # smol::block_on(async {
//! let app = Jobber::builder()
//!     .executor(|job| smol::spawn(job).detach())
//!     .build()?;
//! let hello = app.task("hello", || async { "Hello!" }).register()?;
//! app.start().await?;
//!
//! let job = hello.schedule(()).delay(Duration::from_millis(10)).await?;
//! assert_eq!(*job.await?, "Hello!");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Durability
//! A durable task (`TaskBuilder::durable`, with the feature `serde`) keeps its jobs in the app's
//! [storage](JobberBuilder::storage), and so they survive the process:
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! # use std::time::Duration;
//! use jobber::{Jobber, SqliteStorage};
//!
//! # let dir = std::env::temp_dir().join(format!("jobber-doc-lib-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).unwrap();
//! # let path = dir.join("jobs.db");
//! let app = Jobber::builder().storage(SqliteStorage::new(path)).build()?;
//! let mail = app.task("mail", async |to: String| println!("to {to}")).durable().register()?;
//! app.start().wait_blocking()?; // takes up what an earlier process has left
//! let job = mail.schedule("ada@example.org".into()).delay(Duration::from_secs(600)).wait_blocking()?;
//! # drop(app);
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **The promise.** Once scheduling has returned, the job runs at least once,
//! whatever happens to the process.
//!
//! - A run is erased from the store, or moved to its next time, in one commit
//!   after it ended. A crash in between runs it again, with the same id, the
//!   same [`nominal_time`](JobContext::nominal_time) and
//!   [`run_number`](JobContext::run_number), and the same
//!   [`attempt`](JobContext::attempt), so that a task can make itself idempotent.
//!   (A recurring job that is told to leave out what is late, by
//!   [`Misfire::Skip`] or [`Misfire::Grace`], does so here, too.)
//!   What a recurring job has done is part of that commit.
//! - Whoever has seen a job done, by its status or by waiting, knows that the
//!   store knows; so no other process runs it again. (If the store fails, the job
//!   is done all the same, and [`Jobber::health`] tells of it.)
//! - Once [`cancel`](AnyJob::cancel) has returned `Ok(true)`, no other process
//!   runs the job either.
//! - If scheduling fails, no job exists.
//! - [`at_most_once`](TaskBuilder::at_most_once) turns the promise round, for what
//!   must rather be left undone than done twice.
//! - [`shutdown`](Jobber::shutdown) leaves what waits in the store; an attempt that
//!   its executor drops has not ended, and is made again.
//! - What no task can run is kept ([`Jobber::unresolved`]), so that a rolled back
//!   deployment loses nothing.
//! - What was due while no process was there is handled by its
//!   [`Misfire`] policy, and at most 256 of those jobs are in their first attempt
//!   at a time (more of them start every five seconds in any case).
//!
//! What a power cut may take is the store's affair: with `Synchronous::Full`, the
//! default, nothing that was acknowledged; with `Synchronous::Normal`, the last
//! commits.
//!
//! # Where to look
//! - [`Jobber`] is the app; [`Jobber::builder`] builds it, with an [`Executor`] of
//!   yours or the built-in pool.
//! - [`Jobber::task`] and [`Jobber::blocking_task`] register functions
//!   ([`Handler`]); [`TaskBuilder`] gives them timeouts and retries ([`Backoff`]).
//! - [`Task::schedule`] and then a trigger of [`Schedule`] make a [`Job`].
//! - [`JobContext`] tells a task what it runs for, and hands it shared state.
//! - [`Jobber::events`] tells what happens, for logs and screens.
//! - [`Storage`] is where durable jobs live; [`Jobber::health`] and
//!   [`Jobber::unresolved`] tell of what needs looking after.
//! - [`testing`] turns the clock by hand: test your own schedules with it.
//!
//! # How it works
//! Every live job has a place in a table, of which there is one for each core. One
//! thread knows what is due: it holds a heap of 16-byte keys, sleeps until the first
//! of them, and hands due jobs to the executor; it runs no task code and waits for
//! nothing but its own sleep. All moves of a job's state are compare-exchanges that
//! stand, with their table, in one file (`status.rs`); what comes next is decided in
//! another, without locks or clocks (`progress.rs`). Changes of durable jobs queue up for one thread that
//! commits all that waits in one transaction (`writer.rs`).
//!
//! # Features
//! - `thread-pool` (default): `ThreadPool`, the executor for programs without a
//!   runtime, by the crates `async-executor` and `blocking`. Without it, give the
//!   builder an executor.
//!
//! - `serde`: durable tasks, whose arguments are stored as JSON; `MemoryStorage`, for
//!   tests; records that a store of your own can serialize.
//!
//! - `sqlite`: `SqliteStorage`, by the crate `rusqlite` and the SQLite that it compiles
//!   in. Needs Rust 1.89, and a C compiler.
//!
//! - `tz`: time zones by name, `.zone("Europe/Berlin")`, by the crate `jiff` and
//!   the copy of the IANA database that it compiles in.
//!
//! No feature brings tokio in.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod api;
mod calendar;
mod engine;
mod executor;
mod job;
mod registry;
mod storage;
mod sync;
pub mod testing;
mod timer;
mod value;

pub use api::app::{Action, Jobber, JobberBuilder};
pub use api::context::JobContext;
pub use api::events::{BlockingEvents, Events};
pub use api::handler::{BlockingHandler, Handler, TaskOutput};
pub use api::job::{AnyJob, Cancel, Job, JobResult, NextRun, Wait, WaitTimeout};
pub use api::schedule::Schedule;
pub use api::submit::Submit;
pub use api::task::{Task, TaskBuilder};
pub use calendar::cron::expression::{Cron, Upcoming};
pub use calendar::cron::into_cron::IntoCron;
pub use calendar::misfire::Misfire;
pub use calendar::zone::into_zone::IntoZone;
pub use calendar::zone::time_zone::Zone;
pub use executor::contract::Executor;
pub use executor::job_future::{BlockingJob, JobFuture};
#[cfg(feature = "thread-pool")]
pub use executor::thread_pool::ThreadPool;
pub use job::record::{JobRecord, ProgressRecord};
pub use job::stop::{StopToken, Stopped};
pub use storage::contract::{Change, Health, Loaded, Storage, UnresolvedJob};
#[cfg(feature = "serde")]
pub use storage::memory::MemoryStorage;
#[cfg(feature = "sqlite")]
pub use storage::sqlite::database::{SqliteStorage, Synchronous};
#[cfg(feature = "sqlite")]
#[doc(hidden)]
pub use storage::sqlite::rows::Columns;
pub use value::backoff::Backoff;
pub use value::clock::{Clock, SystemClock};
pub use value::error::{
    BoxError, CronError, CronField, ExecutorDropped, InvalidId, JobError, MissingState,
    ParseStatusError, RegisterError, ScheduleError, StartError, StorageError, UnresolvedReason,
    ZoneError,
};
pub use value::event::{Event, JobEvent, JobEventKind};
pub use value::id::JobId;
pub use value::retry_hint::{Abort, RetryAfter};
pub use value::run::Run;
pub use value::status::JobStatus;

/// The README's examples are tests.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../README.md")]
struct Readme;
