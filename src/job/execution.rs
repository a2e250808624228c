//! [`Execution`]: one job, as the table, the timer and the executor see it.
//!
//! Types are erased here and nowhere else. What a job's arguments and value
//! are is known on the far side only, in `run.rs`; this side knows when, and
//! whether.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

use time::OffsetDateTime;

use crate::job::stop::Control;
use crate::registry::table::TableEntry;
use crate::sync::primitives::{Arc, Event};
use crate::sync::waiter::Reply;
use crate::value::clock::{Look, MonoNanos, Now, WallNanos};
use crate::value::error::StorageError;
use crate::value::id::JobId;
use crate::value::run::Run;
use crate::value::shared_state::StateMap;
use crate::value::status::StatusCell;

/// What every job has, whatever its types.
#[derive(Debug)]
pub(crate) struct JobCore {
    pub(crate) id: JobId,
    /// The job's place in the table.
    pub(crate) slot: u32,
    pub(crate) is_named: bool,
    /// How closely its moves have to know the time, as foreseen when it was made.
    pub(crate) look: Look,
    pub(crate) status: StatusCell,
    /// Notified when the job is done, when one of its runs has ended, and when
    /// its app has stopped.
    pub(crate) changed: Event,
}

impl JobCore {
    /// The id and the slot are settled when the job enters the table.
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            id: JobId::generated(0, 0, 0),
            slot: 0,
            is_named: false,
            look: Look::None,
            status: StatusCell::new(),
            changed: Event::new(),
        }
    }
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

/// What became of a [`Cancelling`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Cancelled {
    /// Whether this call took the job out of its schedule.
    pub(crate) did: bool,
    /// What the store says, if the job is to be forgotten there.
    pub(crate) reply: Option<Arc<Reply<Result<(), StorageError>>>>,
}

impl Cancelled {
    /// A job in memory.
    pub(crate) fn now(did: bool) -> Self {
        Self { did, reply: None }
    }
}

/// How an attempt ended that gave no result.
#[derive(Debug)]
pub(crate) enum Mishap {
    Panicked(Arc<str>),
    /// The executor let go of it.
    Dropped,
}

/// The body of an attempt; it hands its result in by itself.
pub(crate) type Body = Pin<Box<dyn Future<Output = Exit> + Send>>;

/// What the caller of a body's poll must do once the body is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Exit {
    /// Nothing: the job has been removed from the table, or has more runs.
    Done,
    /// Remove the job from the table, by [`Execution::leave`] or together with others: all
    /// jobs share the table's lock.
    MustRemove,
}

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
    fn exec_at_wall(&self) -> WallNanos;
    fn cron_expression(&self) -> Option<&str>;
    fn last_run(&self) -> Option<Run>;
    /// Goes up, and round, with each run that ends; no replacement sets it back.
    fn runs_ended(&self) -> u32;
    /// The app has stopped: nothing will happen to this job any more.
    fn is_abandoned(&self) -> bool;
    fn app_state(&self) -> &StateMap;
    /// Puts the job's result into a place for it: an
    /// `Option<Result<Arc<R>, JobError>>` of its type.
    fn result(&self, place: &mut dyn Any);

    /// The timer has come to it.
    fn fire(&self, now: Now) -> Fired;
    /// The wall clock went back: times that it jumped over come again.
    fn step_back(&self, now: Now);
    /// `Scheduled → Running`, on the executor. `None` when it is not to run (any
    /// more, or yet).
    fn begin(self: Arc<Self>) -> Option<Attempt>;
    /// Both in one, for a job whose key has come due and was left to the executor.
    fn fire_and_begin(self: Arc<Self>, now: Now) -> Option<Attempt>;
    /// The executor let go of it before it began: an attempt that has failed,
    /// without a step of the task.
    fn refuse(&self);
    /// An attempt ended without a result.
    fn mishap(&self, attempt: u32, what: Mishap);
    /// The body of an attempt is no more. Until then no other may begin.
    fn body_gone(&self, attempt: u32);
    /// The strings of an attempt; those of a killed one if it is over.
    fn control(&self, attempt: u32) -> Arc<Control>;
    /// Removes the job from the table, after an [`Exit::MustRemove`].
    fn leave(&self);
    /// Takes it out of its schedule, if it can be.
    fn cancel(&self, how: Cancelling) -> Cancelled;

    /// It was due when it was restored, and starts when its turn comes, or at a
    /// monotonic time if that does not come before.
    fn wait_for_turn(&self, at_the_latest: MonoNanos);
    /// Its turn has come. `false` if it does not wait for that any more.
    fn take_turn(&self) -> bool;

    // From the store's thread, where nothing may wait for the store.

    /// The store was told of a change, and has it or does not want it for now.
    fn stored(&self);
    /// The store has it that an attempt starts, by the change of this number.
    fn start_stored(&self, number: u32);
    /// The store may have another's record under the id of this job, which is to go.
    /// `false` if the job has ended.
    fn reconcile_record(&self) -> bool;
    /// Lets go of what may be the last that has this job: what it holds is
    /// foreign.
    fn let_go(self: Arc<Self>);
}

impl TableEntry for Arc<dyn Execution> {
    fn id(&self) -> &JobId {
        &self.core().id
    }

    fn is_named(&self) -> bool {
        self.core().is_named
    }

    fn is_done(&self) -> bool {
        self.core().status.actual().is_final()
    }
}
