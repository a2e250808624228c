//! [`LiveJob`]: one job without its types, as the parts of an app see it.
//!
//! Each part has a trait of its own. None of these calls waits, and all may be made from
//! any thread.

use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use time::OffsetDateTime;

use crate::job::checkpoint::{CheckpointSet, NotSet, WaitsBy};
use crate::job::codec::SharedCodec;
use crate::job::end_record::JobEnd;
use crate::job::last_result::Failure;
use crate::job::position::ClockSet;
use crate::job::record::{JobRecord, ProgressRecord};
use crate::job::status_cell::StatusCell;
use crate::job::steering::Move;
use crate::job::stop::Control;
use crate::job::sync_state::{CommitOutcome, CommitWaiter, Known};
use crate::registry::lines::TicketId;
use crate::registry::pending::PendingCounts;
use crate::registry::table::TableEntry;
use crate::sync::primitives::{Arc, Event};
use crate::value::app_clock::ClockPrecision;
use crate::value::cancel_outcome::CancelOutcome;
use crate::value::encoded::Encoded;
use crate::value::error::StorageError;
use crate::value::id::JobId;
use crate::value::job_snapshot::JobSnapshot;
use crate::value::labels::Labels;
use crate::value::progress::Progress;
use crate::value::run::Run;
use crate::value::shared_state::StateValue;
use crate::value::spawned_by::SpawnedBy;
use crate::value::steer_outcome::SteerOutcome;
use crate::value::time_units::{ClockReading, MonoNanos, Now, WallNanos};
use crate::value::waiting_for::WaitingFor;

/// What every job has, whatever its types.
#[derive(Debug)]
pub(crate) struct JobCore {
    pub(crate) id: JobId,
    /// The job's slot in the table.
    pub(crate) slot: u32,
    /// The id does not name the slot, so that the table has it in an index.
    pub(crate) is_named: bool,
    /// The precision with which the start and the end of an attempt read the clocks. It is
    /// an estimate from when the job was made; more may turn out to be needed.
    pub(crate) precision: ClockPrecision,
    pub(crate) status: StatusCell,
    /// Notified when the job is done, when a run of it has ended, and when its app has
    /// stopped.
    pub(crate) changed: Event,
}

impl JobCore {
    /// The id and the slot follow when the job enters the table.
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            id: JobId::generated(0, 0, 0),
            slot: 0,
            is_named: false,
            precision: ClockPrecision::Unread,
            status: StatusCell::new(),
            changed: Event::new(),
        }
    }
}

/// What handles and events read.
pub(crate) trait JobView: Send + Sync {
    fn core(&self) -> &JobCore;
    /// While nobody else has the job.
    fn core_mut(&mut self) -> &mut JobCore;
    fn task_name(&self) -> &Arc<str>;
    /// In which it is counted while it is live.
    fn pending(&self) -> &PendingCounts;
    /// A wall time in the zone of the job.
    fn in_zone(&self, wall: WallNanos) -> OffsetDateTime;
    fn exec_at(&self) -> OffsetDateTime;
    fn cron_expression(&self) -> Option<Arc<str>>;
    fn last_run(&self) -> Option<Run>;
    /// Whether this attempt runs: it has begun, and has not ended.
    fn is_running(&self, attempt: u32) -> bool;
    /// How many retries a run has at most.
    fn retries(&self) -> u32;
    /// How many runs in a row have failed.
    fn failures(&self) -> u32;
    /// How long ago this was, by the wall clock of the app. Zero for a later time.
    fn since(&self, wall: WallNanos) -> Duration;
    fn snapshot(&self) -> JobSnapshot;
    /// Its tags and notes.
    fn labels(&self) -> Option<Box<Labels>>;
    fn upcoming(&self, count: usize) -> Vec<OffsetDateTime>;
    /// Rises (and wraps) with each run that ends. No replacement sets it back.
    fn runs_ended(&self) -> u32;
    /// The app has stopped: nothing happens to this job any more.
    fn is_abandoned(&self) -> bool;
    /// If this process was forked from the one that has started the app, the job is abandoned
    /// here from now on. A system call.
    fn stop_if_forked(&self);
    /// The job is due, and does not start because the body of its last attempt exists.
    fn waits_for_body(&self) -> bool;
    /// The value of this type that the app, or a group of the task, shares with its tasks.
    fn shared_state(&self, of: TypeId) -> Option<&StateValue>;
    /// Whether the task is in the group of this full name.
    fn is_in_group(&self, name: &str) -> bool;
    /// The hub of the app, which this folder does not know.
    fn app(&self) -> Arc<dyn Any + Send + Sync>;
    /// Puts the result of the job into `place`, which is an
    /// `Option<Result<Arc<R>, JobError>>` of its type.
    fn result(&self, place: &mut dyn Any);
    /// Whether the job was set aside, because a process has ended too often during its attempts.
    fn is_set_aside(&self) -> bool;
    /// The set that declares the job, unless it was cancelled.
    fn declared_by(&self) -> Option<Arc<str>>;
    /// The run of a recurring job that it was made for.
    fn spawned_by(&self) -> Option<SpawnedBy>;
    /// How often in a row a process has ended during an attempt of the job.
    fn interruptions(&self) -> u32;
    /// Lets a job that was set aside start again. Returns what the store says, if that is still
    /// to come; `None` if it was not set aside.
    fn release(&self) -> Option<Option<CommitWaiter>>;
    /// Whether the job, its task, a group of it, or its app is paused.
    fn is_paused(&self) -> bool;
    /// Whether a pause holds the attempt that the job waits for.
    fn is_held_by_pause(&self) -> bool;
    fn steer(&self, how: Steer) -> SteerReply;
    /// Sets the checkpoint of this attempt, which runs.
    fn set_checkpoint(
        &self,
        attempt: u32,
        value: Encoded,
        waits_by: WaitsBy,
    ) -> Result<CheckpointSet, NotSet>;
    /// The codec of the task. `None` for JSON.
    fn codec(&self) -> Option<&SharedCodec>;
    /// The newest checkpoint of the run of this attempt, which runs.
    fn last_checkpoint(&self, attempt: u32) -> Result<Option<Encoded>, NotSet>;
    /// Sets the progress of this attempt, if it runs.
    fn set_progress(&self, attempt: u32, percent: u8, text: &str);
    /// What the running attempt, or the last one, has reported.
    fn progress(&self) -> Option<Progress>;
    /// What the job waits for that is due.
    fn waiting_for(&self) -> Option<WaitingFor>;
    /// Its place among those that have, or wait for, their limits.
    fn ticket(&self) -> Option<TicketId>;
    /// Whether the job at this address holds a limit of one that this job needs.
    fn needs_limit_of_one_of(&self, holder: *const ()) -> bool;
    /// Cancels the job, if it can be cancelled.
    fn cancel(&self, how: Cancelling) -> CancelReply;
    /// Drops this reference. If it may be the last one, the job is dropped on the executor,
    /// because it holds values of users.
    fn drop_safely(self: Arc<Self>);
}

/// How a job is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelling {
    /// A running attempt goes on.
    Cancel,
    /// A running attempt is stopped.
    Abort,
}

/// What came of a [`Cancelling`].
#[derive(Debug)]
#[must_use]
pub(crate) struct CancelReply {
    pub(crate) outcome: CancelOutcome,
    /// What the store says, if it has to forget the job.
    pub(crate) reply: Option<CommitWaiter>,
}

impl CancelReply {
    /// The store has nothing to do.
    pub(crate) fn now(outcome: CancelOutcome) -> Self {
        let reply = None;
        Self { outcome, reply }
    }
}

/// How a job is steered by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steer {
    Pause,
    Resume {
        /// Missed times are made up, as its misfire policy says.
        catches_up: bool,
    },
    RunNow,
    Move(Move),
}

/// What came of a [`Steer`].
#[derive(Debug)]
#[must_use]
pub(crate) struct SteerReply {
    pub(crate) outcome: SteerOutcome,
    /// What the store says, if the job is in it.
    pub(crate) reply: Option<CommitWaiter>,
}

/// What the timer does with a job.
pub(crate) trait TimerJob: Send + Sync {
    /// The timer has come.
    fn on_timer(&self, now: Now) -> Fired;
    /// The wall clock was set, or its steps add up to a change that jobs must know of.
    fn on_clock_set(&self, clock: ClockReading, set: ClockSet);
    /// The job was overdue when it was loaded. It starts when its turn comes, or at this
    /// monotonic time at the latest.
    fn wait_for_turn(&self, at_the_latest: MonoNanos);
    /// Its turn has come. Returns `false` if it does not wait for a turn any more.
    fn take_turn(&self) -> bool;
    /// Its task or its app was paused or resumed, or the job is new. `resumes`: a pause has
    /// ended; `Some(true)` if missed times are made up.
    fn follow_pause(&self, resumes: Option<bool>);
    /// The throttle of its checkpoints ends, or the app stops: the pending one becomes part of the row.
    fn checkpoint_due(&self);
    /// Whether a new job that is Ready is to be handed to the executor now: it has its limits.
    fn line_up_new(&self) -> bool;
    /// The job may have its limits now.
    fn granted(&self) -> Fired;
    /// Stops the job because the app stops: a running attempt is requested to stop, and no
    /// other starts.
    fn stop(&self);
}

/// What the timer has to do with a job that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// Hand it to the executor.
    Start,
    /// Nothing more.
    Nothing,
}

/// What the executor does with a job.
pub(crate) trait ExecutorJob: Send + Sync {
    fn is_blocking(&self) -> bool;
    /// Begins an attempt. `None` if the job is not to start.
    fn begin(self: Arc<Self>) -> Option<Attempt>;
    /// [`on_timer`](TimerJob::on_timer) and [`begin`](ExecutorJob::begin) in one, for a
    /// job that the timer left to the executor.
    fn fire_and_begin(self: Arc<Self>, now: Now) -> Option<Attempt>;
    /// The executor dropped the job before its attempt began.
    fn executor_dropped(&self);
    /// The attempt ended without a result.
    fn fail_attempt(&self, attempt: u32, how: AttemptFailure);
    /// The attempt takes too long. `calls_functions`: those of `on_error` and `recover`. Then the thread
    /// is one of the executor.
    fn end_late(&self, attempt: u32, failure: Failure, calls_functions: bool);
    /// The body of the attempt was dropped. No other attempt begins before that.
    fn body_gone(&self, attempt: u32);
    /// The cancellation state of the attempt. If the attempt is over, it is stopped by force.
    fn control(&self, attempt: u32) -> Arc<Control>;
    /// Takes the job out of the table, after [`Exit::MustRemove`].
    fn leave(&self);
}

/// An attempt that has begun.
pub(crate) struct Attempt {
    /// Distinguishes the attempt from the others of the job.
    pub(crate) number: u32,
    pub(crate) body: Body,
}

/// The body of an attempt. It hands in its own result.
pub(crate) type Body = Pin<Box<dyn Future<Output = Exit> + Send>>;

/// What is left to do when the body of an attempt has ended.
#[must_use]
pub(crate) enum Exit {
    /// Nothing.
    Done,
    /// The end of the attempt has granted the limits of this async job, and of no other. The future
    /// of an attempt polls it next. A runner puts it at the end of its queue.
    Granted(Arc<dyn LiveJob>),
    /// The job is done and still in the table. The poller takes it out, together with
    /// others: the lock of the table is shared by all jobs.
    MustRemove,
}

/// How an attempt ended that has no result.
#[derive(Debug)]
pub(crate) enum AttemptFailure {
    Panicked(Arc<str>),
    /// The executor dropped it.
    Dropped,
}

/// What the writer does with a job, on its own thread. Nothing here may wait for the
/// store.
pub(crate) trait StoredJob: Send + Sync {
    /// The id of the row.
    fn row_id(&self) -> &JobId;
    /// Takes the row as it is now.
    fn pull(&self) -> PulledRow;
    /// A commit that had the row of version `pulled` was made, or failed. If `may_end` is
    /// not set, no end of the job becomes visible.
    fn settle(&self, pulled: u64, outcome: CommitOutcome<'_>, may_end: bool) -> Settled;
    /// The store is closed, and is not tried any more. Returns who waits for it.
    fn close(&self) -> Vec<CommitWaiter> {
        let outcome = CommitOutcome::Refused {
            is_unknown: false,
            error: &StorageError::Closed,
        };
        let pulled = self.pull();
        let mut waiters = self.settle(pulled.version, outcome, false).waiters;
        for made in pulled.made {
            waiters.extend(made.close());
            made.drop_row_safely();
        }
        waiters
    }
    /// Whether the slot of another job commits its first row.
    fn is_carried(&self) -> bool {
        false
    }
    /// From now on it has a slot of its own.
    fn end_carrying(&self) {}
    /// See [`PulledRow::made`].
    fn take_made(&self) -> Vec<Arc<dyn StoredJob>> {
        Vec::new()
    }
    fn known(&self) -> Known;
    /// Takes what is known of the row, because the job is over. The slot of the id keeps it.
    fn take_known(&self) -> Known;
    /// Notes that a commit with the row failed, and that it is unknown what the store has.
    /// The writer tries again at once.
    fn mark_unknown(&self);
    /// Sets what is known of the row, from the predecessor of the same id.
    fn inherit_row(&self, known: Known);
    /// Drops this reference. If it may be the last one, the job is dropped on the executor,
    /// because it holds values of users.
    fn drop_row_safely(self: Arc<Self>);
}

/// The row of a job at one version, as the change that makes the store agree.
pub(crate) struct PulledRow {
    pub(crate) version: u64,
    pub(crate) change: PulledChange,
    /// Whether the store is to have a row.
    pub(crate) has_row: bool,
    /// The end of the job, if the store is to keep it.
    pub(crate) end: Option<JobEnd>,
    /// The jobs that were made for runs of this one since the last pull. The slot carries them from
    /// now on.
    pub(crate) made: Vec<Arc<dyn StoredJob>>,
}

/// See [`RowChange`](crate::job::sync_state::RowChange).
#[derive(Debug)]
pub(crate) enum PulledChange {
    None,
    Advance(Box<ProgressRecord>),
    Put(Box<JobRecord>),
    Remove,
}

/// How a job stands after a commit.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) waiters: Vec<CommitWaiter>,
    /// The store has what it is to have.
    pub(crate) is_clean: bool,
    /// The job has ended, and everybody can see it.
    pub(crate) is_over: bool,
    /// The end of a job that is over and that the store has refused.
    pub(crate) end: Option<JobEnd>,
}

/// One job, behind its types.
pub(crate) trait LiveJob: Any + JobView + TimerJob + ExecutorJob + StoredJob {}

impl<J: Any + JobView + TimerJob + ExecutorJob + StoredJob> LiveJob for J {}

impl TableEntry for Arc<dyn LiveJob> {
    fn id(&self) -> &JobId {
        &self.core().id
    }

    fn is_named(&self) -> bool {
        self.core().is_named
    }

    fn is_done(&self) -> bool {
        self.core().status.get().is_final()
    }
}
