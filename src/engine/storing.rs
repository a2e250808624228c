//! What the writer does with a job.

use crate::engine::discarded::DropOn;
use crate::engine::job_state::{AfterLock, JobState};
use crate::job::live_job::{JobView, PulledChange, PulledRow, Settled, StoredJob};
use crate::job::sync_state::{CommitOutcome, Known, RowChange};
use crate::sync::primitives::Arc;
use crate::value::app_clock::ClockPrecision;
use crate::value::id::JobId;

impl<A, R> StoredJob for JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn row_id(&self) -> &JobId {
        &self.core.id
    }

    fn pull(&self) -> PulledRow {
        let mut state = self.lock();
        let version = state.life.pull();
        let row = state.life.row();
        let change = match (state.life.row_change(), &row) {
            (RowChange::Advance, Some(row)) => PulledChange::Advance(Box::new(row.to_progress())),
            (RowChange::Put, Some(row)) => {
                PulledChange::Put(Box::new(row.to_record(&self.core.id)))
            }
            (RowChange::Remove, _) => PulledChange::Remove,
            _ => PulledChange::None,
        };
        PulledRow {
            version,
            change,
            has_row: row.is_some(),
            end: self.end_to_store(&state),
            made: state.life.take_made(),
        }
    }

    fn is_carried(&self) -> bool {
        self.lock().life.carried_by().is_some()
    }

    fn end_carrying(&self) {
        self.lock().life.end_carrying();
    }

    fn take_made(&self) -> Vec<Arc<dyn StoredJob>> {
        self.lock().life.take_made()
    }

    fn settle(&self, pulled: u64, outcome: CommitOutcome<'_>, may_end: bool) -> Settled {
        // Hidden events have their own times. Only arming needs the clock, and few jobs are
        // armed here.
        let (mut state, now) = self.lock_with_time_from(ClockPrecision::Unread, |state| {
            ClockPrecision::exact_if(state.life.may_be_armed())
        });
        let waiters = state.life.tried(pulled, outcome);
        if let CommitOutcome::Stored { .. } = outcome {
            state.life.end_carrying();
        }
        let mut after = AfterLock::default();
        let is_ended = state.life.phase().is_ended();
        if state.life.is_tried() && state.life.is_hidden() && (may_end || !is_ended) {
            self.publish(&mut state, &mut after);
        }
        if is_ended && !may_end {
            // The app has stopped, and the job is not in its table any more.
            after.is_waited_for |= self.core.status.is_waited_for();
        }
        self.arm_if_overdue(&mut state, now, &mut after);
        let is_over = is_ended && !state.life.is_hidden();
        let is_refused = matches!(outcome, CommitOutcome::Refused { .. });
        let settled = Settled {
            waiters,
            is_clean: state.life.is_clean(),
            is_over,
            end: (is_over && is_refused)
                .then(|| self.end_to_store(&state))
                .flatten(),
        };
        state.life.drop_unused_sync();
        self.unlock(state, after, DropOn::Executor);
        settled
    }

    fn known(&self) -> Known {
        self.lock().life.known()
    }

    fn take_known(&self) -> Known {
        self.lock().life.take_known()
    }

    fn mark_unknown(&self) {
        self.lock().life.mark_unknown();
    }

    fn inherit_row(&self, known: Known) {
        self.lock().life.inherit_row(known);
    }

    fn drop_row_safely(self: Arc<Self>) {
        self.drop_safely();
    }
}
