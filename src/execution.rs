//! [`Execution`]: one job, as the table, the timer and the executor see it.
//!
//! Types are erased here and nowhere else. What a job's arguments and value
//! are is known on the far side only, in `run.rs`; this side knows when, and
//! whether.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

use event_listener::Event;
use time::OffsetDateTime;

use crate::clock::{Now, WallNanos};
use crate::id::JobId;
use crate::state::StateMap;
use crate::status::{JobStatus, StatusCell};
use crate::stop::Control;
use crate::sync::{Arc, AtomicI64, Ordering};
use crate::table::Entrant;

/// What every job has, whatever its types.
#[derive(Debug)]
pub(crate) struct JobCore {
    pub(crate) id: JobId,
    /// The job's place in the table.
    pub(crate) slot: u32,
    pub(crate) is_named: bool,
    pub(crate) status: StatusCell,
    exec_at: AtomicI64,
    /// Notified when the job is done, when one of its runs has ended, and when
    /// its app has stopped.
    pub(crate) changed: Event,
}

impl JobCore {
    /// The id and the slot are settled when the job enters the table.
    pub(crate) fn new(exec_at: WallNanos) -> Self {
        Self {
            id: JobId::generated(0, 0, 0),
            slot: 0,
            is_named: false,
            status: StatusCell::new(),
            exec_at: AtomicI64::new(exec_at),
            changed: Event::new(),
        }
    }

    pub(crate) fn exec_at(&self) -> WallNanos {
        // Relaxed: a time to look at, which orders nothing.
        self.exec_at.load(Ordering::Relaxed)
    }

    pub(crate) fn set_exec_at(&self, at: WallNanos) {
        self.exec_at.store(at, Ordering::Relaxed);
    }
}

/// A finished run of a recurring job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// Counts the job's runs, from 1. Retries are part of their run.
    pub number: u64,
    /// The time that the run stands for, as
    /// [`exec_at`](crate::AnyJob::exec_at) showed it. It may have started later.
    pub nominal_time: OffsetDateTime,
    /// When its first attempt started.
    pub started_at: OffsetDateTime,
    /// When its last attempt ended.
    pub finished_at: OffsetDateTime,
    /// How it ended: `Success`, `Failed`, `Timeout` or (aborted) `Cancelled`.
    pub status: JobStatus,
}

/// What the timer has to do with a job that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// Hand it to the executor.
    Start,
    /// Nothing more.
    Settled,
}

/// What takes a job out of its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelling {
    /// Leaves a running attempt alone.
    Cancel,
    /// Stops a running attempt too.
    Abort,
    /// The app stops: a running attempt is asked to end.
    Shutdown,
}

/// How an attempt ended that gave no result.
#[derive(Debug)]
pub(crate) enum Mishap {
    Panicked(Arc<str>),
    /// The executor let go of it.
    Dropped,
}

/// The body of an attempt; it hands its result in by itself.
pub(crate) type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An attempt that has begun. The number tells it from the attempts before and
/// after, so that whatever comes late from one is not taken for another's.
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) body: Body,
}

/// One job, behind its types.
///
/// None of these calls waits, and all may be made from any thread.
pub(crate) trait Execution: Any + Send + Sync {
    fn core(&self) -> &JobCore;
    /// While nobody else has it.
    fn core_mut(&mut self) -> &mut JobCore;

    fn task_name(&self) -> &Arc<str>;
    fn is_blocking(&self) -> bool;
    /// A wall time, in the job's zone.
    fn shown(&self, wall: WallNanos) -> OffsetDateTime;
    fn exec_at(&self) -> OffsetDateTime;
    fn cron_expression(&self) -> Option<&str>;
    fn last_run(&self) -> Option<Run>;
    /// Goes up, and round, with each run that ends; no replacement sets it back.
    fn runs_ended(&self) -> u32;
    /// The app has stopped: nothing will happen to this job any more.
    fn is_abandoned(&self) -> bool;
    fn app_state(&self) -> &StateMap;
    /// The job's outcome, for whoever knows its type.
    fn outcome(&self) -> &dyn Any;

    /// The timer has come to it.
    fn fire(&self, now: Now) -> Fired;
    /// The wall clock went back: times that it jumped over come again.
    fn step_back(&self, now: Now);
    /// `Scheduled → Running`, on the executor. `None` when it is not to run (any
    /// more, or yet).
    fn begin(self: Arc<Self>) -> Option<Attempt>;
    /// The executor let go of it before it began: an attempt that has failed,
    /// without a step of the task.
    fn refuse(&self);
    /// An attempt ended without a result.
    fn mishap(&self, attempt: u32, what: Mishap);
    /// The body of an attempt is no more. Until then no other may begin.
    fn body_gone(&self, attempt: u32);
    /// The strings of an attempt; those of a killed one if it is over.
    fn control(&self, attempt: u32) -> Arc<Control>;
    /// Whether this call took it out of its schedule.
    fn cancel(&self, how: Cancelling) -> bool;
}

impl Entrant for Arc<dyn Execution> {
    fn id(&self) -> &JobId {
        &self.core().id
    }

    fn is_named(&self) -> bool {
        self.core().is_named
    }
}
