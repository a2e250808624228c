//! A job scheduler that lives inside your program.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod clock;
mod context;
mod dispatch;
mod driver;
mod error;
mod events;
mod execution;
mod executor;
mod handler;
mod hub;
mod id;
mod job;
mod jobber;
mod outcome;
mod panics;
mod progress;
mod retry;
mod run;
mod schedule;
mod state;
mod status;
mod stop;
mod sync;
mod table;
mod task;
pub mod testing;
mod timer_queue;
mod trigger;
mod waiter;

pub use clock::{Clock, SystemClock};
pub use context::JobContext;
pub use error::{
    BoxError, ExecutorDropped, InvalidId, JobError, MissingState, ParseStatusError, RegisterError,
    ScheduleError, StartError, StorageError,
};
pub use events::{Event, Events, JobEvent, JobEventKind};
pub use execution::Run;
#[cfg(feature = "thread-pool")]
pub use executor::thread_pool::ThreadPool;
pub use executor::{BlockingJob, Executor, JobFuture};
pub use handler::{BlockingHandler, Handler, TaskOutput};
pub use id::JobId;
pub use job::{AnyJob, Cancel, Job, JobResult, NextRun, Wait, WaitTimeout};
pub use jobber::{Action, Jobber, JobberBuilder};
pub use retry::{Abort, Backoff, RetryAfter};
pub use schedule::{Schedule, Submit};
pub use status::JobStatus;
pub use stop::{StopToken, Stopped};
pub use task::{Task, TaskBuilder};
pub use trigger::Misfire;
