//! `cancel`, `abort`: a job is taken out of its schedule.

use crate::engine::discarded::DropOn;
use crate::engine::job_state::{AfterLock, JobState, State, precision_needed};
use crate::job::live_job::{CancelReply, Cancelling};
use crate::job::phase::Phase;
use crate::job::sync_state::CommitWaiter;
use crate::storage::inbox::Message;
use crate::storage::writer::Writer;
use crate::sync::reply::Reply;
use crate::value::app_clock::ClockPrecision;
use crate::value::cancel_outcome::CancelOutcome;
use crate::value::error::StorageError;
use crate::value::event::JobEventKind;

pub(crate) fn cancel<A, R>(job: &JobState<A, R>, how: Cancelling) -> CancelReply
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let (mut state, now) = job.lock_with_time(|state| match how {
        Cancelling::Cancel => ClockPrecision::Unread,
        Cancelling::Abort => precision_needed(&state.life),
    });
    let is_ended = state.life.phase().is_ended();
    let is_hidden = state.life.is_hidden();
    let store = job.task.hub.store.as_ref();
    let has_all = || store.is_none_or(|store| store.unstored() == 0);
    if is_ended && !is_hidden && (state.life.is_clean() || has_all()) {
        return CancelReply::now(CancelOutcome::AlreadyDone);
    }
    // Its end was refused by a store that closes.
    let is_refused = is_ended && is_hidden && state.life.is_tried();
    if is_refused || !may_change_store(job, &state) {
        // The app has stopped, and the job is the next process's.
        let reply = Reply::new();
        reply.send(Err(StorageError::Closed));
        let (outcome, reply) = (CancelOutcome::AlreadyDone, Some(reply));
        return CancelReply { outcome, reply };
    }
    if is_ended && !is_hidden {
        // The store has refused its end, and may still have the row.
        let waiter = Reply::new();
        let message = Message::Await {
            id: job.core.id.clone(),
            waiter: waiter.clone(),
        };
        drop(state);
        if let Some(store) = &job.task.hub.store {
            match store.send(message) {
                Ok(()) => store.wake_writer(),
                Err(message) => Writer::refuse_all(vec![message]),
            }
        }
        let (outcome, reply) = (CancelOutcome::AlreadyDone, Some(waiter));
        return CancelReply { outcome, reply };
    }
    if is_ended {
        // Its end is visible once the store was tried for it, and the writer has it.
        let reply = state.life.wait_for_store().map(|(waiter, _)| waiter);
        let outcome = CancelOutcome::AlreadyDone;
        return CancelReply { outcome, reply };
    }
    let is_running = state.life.phase().is_running();
    let outcome = match how {
        Cancelling::Cancel if is_running => CancelOutcome::EndsAfterAttempt,
        Cancelling::Cancel | Cancelling::Abort => CancelOutcome::Cancelled,
    };
    if how == Cancelling::Cancel && state.life.is_plain() {
        let effects = state.life.cancel();
        if effects.is_some_and(|effects| effects.leaves) {
            let granted = job.end_plain(state, now, false);
            job.hub().start_granted(granted);
        }
        return CancelReply::now(outcome);
    }
    let mut after = AfterLock::default();
    let attempt = state.life.attempts().saturating_add(1);
    let cancelled = match how {
        Cancelling::Cancel => state.life.cancel().map(|effects| (effects, None)),
        Cancelling::Abort => state.life.abort(now),
    };
    let Some((effects, run)) = cancelled else {
        // It was cancelled during its attempt, and the row may still be there.
        let reply = wait_for_store(job, &mut state, &mut after);
        job.unlock(state, after, DropOn::ThisThread);
        return CancelReply { outcome, reply };
    };
    if effects.force_stops {
        job.body_outlives(&mut state, attempt, now);
    }
    if let Some(run) = run {
        job.event(&mut state, now, |state| {
            JobEventKind::RunEnded(job.run(state, run))
        });
    }
    if state.life.phase() == Phase::Cancelling {
        after.discarded.next_args = state.args.drop_next();
    }
    job.follow(&mut state, effects, now, &mut after);
    let reply = wait_for_store(job, &mut state, &mut after);
    job.unlock(state, after, DropOn::ThisThread);
    CancelReply { outcome, reply }
}

/// Whether a change can be stored, if the store has to know of it.
pub(crate) fn may_change_store<A, R>(job: &JobState<A, R>, state: &State<A, R>) -> bool {
    let hub = &job.task.hub;
    let may_change = || !hub.is_forked() && hub.store.as_ref().is_none_or(|store| store.is_open());
    !state.life.concerns_store() || may_change()
}

/// Waits until the store was tried for the present state of the job, if it was not.
pub(crate) fn wait_for_store<A, R>(
    job: &JobState<A, R>,
    state: &mut State<A, R>,
    after: &mut AfterLock<A, R>,
) -> Option<CommitWaiter>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let (waiter, needs_message) = state.life.wait_for_store()?;
    if needs_message {
        job.send_changed(state, after);
    }
    Some(waiter)
}
