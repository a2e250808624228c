//! A job scheduler that lives inside your program. You register functions as tasks,
//! schedule them, and get a typed [`Job`] that you can await, block on, inspect and
//! cancel. It works with any async runtime, and without one.
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
//! app.start().block_on()?;
//!
//! let job = add.schedule((1, 2)).delay(Duration::from_millis(10)).block_on()?;
//! println!("Job {} was scheduled.", job.id());
//! job.wait_blocking();
//! println!("Job {} finished with status: {}", job.id(), job.status());
//! println!("Result: {}", job.result()?);
//!
//! app.shutdown(Duration::from_secs(10)).block_on();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Awaiting and blocking
//! A call that may take time returns a value. You `.await` that value, or you end it
//! with `.block_on()`. Before that, nothing happens. Async and blocking callers use the
//! same methods:
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
//! | value | of the call | returns |
//! |---|---|---|
//! | [`Submit`] | a trigger, such as [`push`](Schedule::push) | the [`Job`] |
//! | [`Job`] | | the value that the task returned |
//! | [`Wait`], [`WaitTimeout`] | [`wait`](Job::wait), [`wait_timeout`](Job::wait_timeout) | the [`JobStatus`] |
//! | [`NextRun`] | [`next_run`](Job::next_run) | the [`Run`] that ended |
//! | [`Cancel`] | [`cancel`](Job::cancel), [`abort`](Job::abort) | whether the call cancelled the job |
//! | [`Resume`] | [`resume`](Job::resume) | a [`SteerOutcome`] |
//! | [`Action`] | [`pause`](Job::pause), [`run_now`](Job::run_now), [`move_to`](Job::move_to), [`start`](Jobber::start), [`shutdown`](Jobber::shutdown), [`wait_all`](Jobber::wait_all), [`discard`](Jobber::discard) | see there |
//! | [`Stopped`] | [`StopToken::stopped`] | nothing |
//!
//! # Words
//! - A *task* is a registered function. A *job* is a task with arguments and a trigger.
//! - A job is *live* until its status is final.
//! - A job is *recurring* if its trigger is [`every`](Schedule::every) or
//!   [`cron`](Schedule::cron). Each time that it is due, it has a *run*.
//! - An *attempt* is one call of the function. A run has one attempt, and one more for
//!   each *retry*.
//! - The *nominal time* of a run is the time at which it was due.
//! - A *misfire* is a run that was missed, because its time passed without an attempt.
//! - A job is *paused* if no attempt of it begins until it is resumed. An *extra run* is one that
//!   [`run_now`](Job::run_now) asked for.
//!
//! # Durability
//! The jobs of a durable task (`TaskBuilder::durable`, with the feature `serde`) are kept
//! in the [store](JobberBuilder::storage) of the app, and survive the process:
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
//! app.start().block_on()?; // restores the jobs of an earlier process
//! let job = mail.schedule("ada@example.org".into()).delay(Duration::from_secs(600)).block_on()?;
//! # drop(app);
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **The promise.** When scheduling has returned `Ok`, the job runs at least once, even if
//! the process ends at any time, unless it [expires](Schedule::expires) first.
//!
//! - When a run has ended, one commit removes the job from the store, or stores its next
//!   run. If the process ends before that commit, the next process repeats the run, with
//!   the same id, [`nominal_time`](JobContext::nominal_time),
//!   [`run_number`](JobContext::run_number) and [`attempt`](JobContext::attempt). With
//!   these, a task can detect the repetition.
//! - A job whose attempts end its process again and again is set aside after five times
//!   ([`max_interruptions`](TaskBuilder::max_interruptions)): it is kept, and does not run.
//! - A recurring job with [`Misfire::Skip`], [`Misfire::Grace`] or `Misfire::All(0)` does
//!   not repeat a run that is too late by then.
//! - If you have seen that a job is done, by its status or by waiting, the store has saved
//!   that: no other process runs the job again. (If the store fails, the job is done all
//!   the same, and [`Jobber::health`] reports the error.)
//! - The status of a job, its result, its times and its events become visible together,
//!   after the store has replied.
//! - If [`cancel`](Job::cancel) has returned `Ok`, no other process runs the job.
//! - If scheduling fails, no job exists. (If the store does not know whether it has saved
//!   the job, and the process ends before the next commit, the next process may find it.)
//! - If a job is replaced during its run and a crash interrupts that run, the next process
//!   continues with the replacement and does not repeat the run.
//! - With [`at_most_once`](TaskBuilder::at_most_once), an attempt that a crash interrupts
//!   is not repeated.
//! - [`shutdown`](Jobber::shutdown) leaves jobs that wait in the store. If the executor
//!   drops an attempt during the shutdown, or the attempt ends after the store was closed,
//!   the next process makes it again. Until then the job shows no final status.
//! - If the executor of a running app drops an attempt before its first poll, no attempt
//!   was made: the job is due again after one second, and after up to a minute if that
//!   happens again. If it drops the attempt later, the attempt has failed.
//! - The arguments are stored as JSON, and read for each attempt. The next time of a cron
//!   job is computed when the job is loaded, from its expression, its zone and its runs:
//!   if the zone has changed, the job follows.
//! - Jobs that no task can run stay in the store ([`Jobber::unresolved`]): if you go back
//!   to an older version of your program, no job is lost.
//! - Runs that were missed while no process ran follow the [`Misfire`] policy of their job.
//!   At most 256 of these jobs are in their first attempt at the same time, and more start
//!   every five seconds.
//!
//! What a power cut can destroy depends on the store. `SqliteStorage` with
//! `Synchronous::Full`, the default, loses nothing that a call has confirmed. With
//! `Synchronous::Normal` it can lose the last commits.
//!
//! # Where to find things
//! - [`Jobber`] is the app. [`Jobber::builder`] builds it, with your [`Executor`] or the
//!   built-in pool.
//! - [`Jobber::task`] and [`Jobber::blocking_task`] register functions ([`Handler`]).
//!   [`TaskBuilder`] sets their timeouts and retries ([`Backoff`]).
//! - [`Task::schedule`], then options and a trigger of [`Schedule`], make a [`Job`].
//! - [`TaskBuilder::around`] and [`JobberBuilder::around`] set functions that run around each
//!   attempt.
//! - [`JobContext`] is what a task can read about its job, with shared state. By
//!   [`JobContext::app`] it schedules other jobs.
//! - [`Jobber::events`] is a stream of what happens, for logs and displays.
//! - [`cron`] has the cron expressions, [`storage`] has the stores and their records.
//! - [`Jobber::health`] and [`Jobber::unresolved`] report what needs attention.
//! - [`testing`] runs an app on a clock that your test moves.
//!
//! # How it works
//! Each live job has an entry in a table; there is one table for each core. The timer
//! thread owns a queue of 16-byte keys. It sleeps until the first of them is due, and then
//! passes the job to the executor. It runs no task code, and waits for nothing but its own
//! sleep. The store has a thread of its own, which commits all waiting changes in one
//! transaction. `ARCHITECTURE.md`, in the repository, describes the rest.
//!
//! # Features
//! | feature | what it adds | what it needs |
//! |---|---|---|
//! | `thread-pool` (default) | `ThreadPool`, the executor for programs without a runtime | crate `async-executor` |
//! | `serde` | durable tasks, `MemoryStorage`, records that can be serialized | crates `serde`, `serde_json` |
//! | `sqlite` | `SqliteStorage`, includes `serde` | crate `rusqlite` with its own SQLite; Rust 1.89; a C compiler |
//! | `tz` | time zones by name, such as `.zone("Europe/Berlin")` | crate `jiff` with its copy of the IANA database |
//!
//! Without `thread-pool`, you must set an [executor](JobberBuilder::executor). No feature
//! depends on tokio.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(feature = "serde"),
    allow(dead_code, reason = "without serde no task is durable")
)]

mod api;
mod calendar;
mod engine;
mod executor;
mod job;
mod registry;
pub mod storage;
mod sync;
pub mod testing;
mod timer;
mod value;

/// Cron expressions: parse them, describe them, find the times that match.
///
/// [`Schedule::cron`] takes a text or a [`Cron`](cron::Cron).
///
/// ```
/// use jobber::{Zone, cron::Cron};
/// use time::macros::datetime;
///
/// let cron: Cron = "30 6 * * MON-FRI".parse()?;
/// let next = cron.next_after(datetime!(2027-01-02 0:00 UTC), &Zone::UTC);
/// assert_eq!(next, Some(datetime!(2027-01-04 6:30 UTC)));
/// # Ok::<(), jobber::cron::CronError>(())
/// ```
pub mod cron {
    pub use crate::calendar::cron::expression::{Cron, Upcoming};
    pub use crate::calendar::cron::into_cron::IntoCron;
    pub use crate::value::error::{CronError, CronField, CronReplacement};
}

pub use api::action::Action;
pub use api::app::Jobber;
pub use api::app_ref::AppRef;
pub use api::builder::JobberBuilder;
pub use api::context::JobContext;
pub use api::declare::JobSet;
pub use api::events::{BlockingEvents, Events};
pub use api::failed_job::FailedJob;
pub use api::group::Group;
pub use api::handler::{BlockingHandler, Handler, IntoTaskError, TaskOutput};
pub use api::job::{AnyJob, Job};
pub use api::limit::Limit;
pub use api::registered_task::Task;
pub use api::resume::Resume;
pub use api::schedule::Schedule;
pub use api::select::{Jobs, Selection};
pub use api::submit::Submit;
pub use api::task::TaskBuilder;
pub use api::waits::{Cancel, JobResult, NextRun, Wait, WaitTimeout};
pub use calendar::calendar_interval::CalendarInterval;
pub use calendar::exclusions::Exclusions;
pub use calendar::misfire::Misfire;
pub use calendar::zone::into_zone::IntoZone;
pub use calendar::zone::time_zone::Zone;
pub use calendar::zone::zone_database::ZoneDatabase;
pub use executor::contract::Executor;
pub use executor::job_future::{BlockingJob, JobFuture};
#[cfg(feature = "thread-pool")]
pub use executor::thread_pool::ThreadPool;
#[cfg(feature = "serde")]
pub use job::codec::{Codec, Decoder, Encoder};
pub use job::middleware::{Next, Outcome};
pub use job::stop::{StopToken, Stopped};
pub use job::typed_middleware::TypedNext;
#[cfg(feature = "serde")]
pub use storage::MemoryStorage;
#[cfg(feature = "sqlite")]
pub use storage::SqliteStorage;
pub use value::backoff::Backoff;
pub use value::cancel_outcome::CancelOutcome;
pub use value::clock::{Clock, SystemClock};
pub use value::declared::Declared;
pub use value::end_of_job::EndOfJob;
#[cfg(feature = "serde")]
pub use value::error::CheckpointError;
pub use value::error::{
    AttemptEnded, BoxError, CalendarIntervalError, DeclareError, EndedJob, ExclusionError,
    ExecutorDropped, InvalidId, JobError, LabelError, MissingState, MoveError, OtherOutcome,
    ParseStatusError, RegisterError, RetryError, ScheduleError, SelectError, StartError, TaskError,
    TooManySpawned, ZoneError, ZoneHint,
};
pub use value::event::{Event, JobEvent, JobEventKind};
pub use value::health::{Attention, Failing, Health, OutlivingBody};
pub use value::id::JobId;
pub use value::job_snapshot::JobSnapshot;
pub use value::on_error::OnError;
pub use value::overlap::Overlap;
pub use value::pause_key::PauseKey;
pub use value::progress::Progress;
pub use value::rate::Rate;
pub use value::retry_hint::{NoRetry, RetryAfter, Snooze};
pub use value::run::Run;
pub use value::schedule_request::ScheduleRequest;
pub use value::shutdown_report::ShutdownReport;
pub use value::spawned_by::SpawnedBy;
pub use value::status::JobStatus;
pub use value::steer_outcome::SteerOutcome;
pub use value::waiting_for::WaitingFor;

/// The README's examples are tests.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../README.md")]
struct Readme;
