//! [`Checkpoints`]: the values from which the next attempt of a job resumes.

use crate::job::sync_state::CommitWaiter;
use crate::sync::primitives::Arc;
use crate::sync::reply::Reply;
use crate::value::encoded::Encoded;

/// The shortest time between two checkpoints of a job that are written, in nanoseconds.
pub(crate) const MIN_INTERVAL: i64 = 1_000_000_000;

/// The checkpoints of a job.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    /// Of the open run, if that is not an extra one: of the run that a retry, or a process after a
    /// crash, goes on with. Part of the row.
    pub(crate) run: Option<Encoded>,
    /// Of the open extra run. Part of the row. An extra run may come before one that a crash has cut
    /// short.
    pub(crate) extra: Option<Encoded>,
    /// A newer one of the running attempt. The row contains it when the throttle or the attempt ends.
    pub(crate) pending: Option<Encoded>,
    /// The callers that wait until the row contains `pending`.
    pub(crate) waiters: Vec<CheckpointWaiter>,
    /// The row has changed for a checkpoint less than a second ago. The timer ends that.
    pub(crate) is_throttled: bool,
}

impl Checkpoints {
    /// The newest one. `is_extra`: of the open extra run.
    pub(crate) fn newest(&self, is_extra: bool) -> Option<&Encoded> {
        let in_row = match is_extra {
            true => &self.extra,
            false => &self.run,
        };
        self.pending.as_ref().or(in_row.as_ref())
    }

    /// The row contains the pending one from now on. Returns whether there was one.
    pub(crate) fn flush(&mut self, is_extra: bool) -> bool {
        let pending = self.pending.take();
        let is_new = pending.is_some();
        if is_new {
            *self.in_row(is_extra) = pending;
        }
        is_new
    }

    /// The run is over, or passed over for one at another time.
    pub(crate) fn clear(&mut self, is_extra: bool) {
        *self.in_row(is_extra) = None;
    }

    fn in_row(&mut self, is_extra: bool) -> &mut Option<Encoded> {
        match is_extra {
            true => &mut self.extra,
            false => &mut self.run,
        }
    }
}

/// A caller whose checkpoint is not part of the row yet. The reply says when it is, and on what to wait
/// then: `None` if the job has no row.
pub(crate) type CheckpointWaiter = Arc<Reply<Result<Option<CommitWaiter>, NotSet>>>;

/// Why a checkpoint is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSet {
    /// The attempt has ended.
    AttemptOver,
    /// The app has stopped: the store takes no changes.
    Closed,
}

/// How the caller that sets a checkpoint waits until it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsBy {
    Polling,
    Blocking,
    /// It does not.
    Nothing,
}

/// What the caller that has set a checkpoint waits for.
#[derive(Debug)]
#[must_use]
pub(crate) enum CheckpointSet {
    /// The row contains it. `None`: the job has no row, or the caller does not wait.
    Now(Option<CommitWaiter>),
    Later(CheckpointWaiter),
}

/// What a new checkpoint changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointEffect {
    /// Nothing in the store.
    Memory,
    /// The row.
    Row { needs_message: bool },
    /// The row, later.
    Pending,
}
