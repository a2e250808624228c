//! How functions of the program decide what follows a failed attempt.

use crate::engine::hub::{Hub, Live};
use crate::engine::job_state::JobState;
use crate::job::decisions::Decision;
use crate::job::last_result::Failure;
use crate::job::middleware::{AttemptRef, Locals};
use crate::sync::panics::drop_catching_panic;
use crate::value::retry_hint::RetryHint;

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Calls the functions of `on_error` and `recover` for the failure of an attempt, if there are any.
    /// Returns also what they say about a retry. `None` if another thread calls them for this attempt.
    pub(crate) fn decide_failure(
        &self,
        attempt: u32,
        failure: Failure,
    ) -> Option<(Result<R, Failure>, Option<RetryHint>)> {
        let Some(decisions) = &self.task.decisions else {
            return Some((Err(failure), None));
        };
        let is_snoozed = matches!(failure.retry_hint(), RetryHint::Snooze(_));
        let begun = {
            let mut state = self.lock();
            match state.life.begun(attempt) {
                Some(_) if is_snoozed && !state.life.is_snoozed_too_often() => None,
                // Its timeout may pass while the functions run.
                Some(_) if !state.life.begin_deciding() => {
                    drop(state);
                    drop_catching_panic(failure);
                    return None;
                }
                begun => begun,
            }
        };
        let (Some(begun), Some(job)) = (begun, self.as_live()) else {
            // It is snoozed, or over, or the app has stopped.
            return Some((Err(failure), None));
        };
        let locals = Locals::default();
        let attempt = AttemptRef { job, begun, locals };
        let error = failure.to_error();
        let decision = decisions.decide(&error, &attempt);
        // A function may have set a value that holds the context of the attempt.
        attempt.locals.clear();
        drop_catching_panic((attempt, error));
        Some(match decision {
            Decision::Value(value) => {
                drop_catching_panic(failure);
                (Ok(value), None)
            }
            Decision::Retry(hint) => (Err(failure), Some(hint)),
            Decision::Pass => (Err(failure), None),
        })
    }
}

/// An attempt that takes too long, on its way from the timer to the executor, which ends it: the
/// functions of `on_error` and `recover` are code of a user.
pub(crate) struct LateAttempt {
    attempt: u32,
    /// `None` once the attempt has ended.
    left: Option<(Live, Failure)>,
}

impl LateAttempt {
    pub(crate) fn new(job: Live, attempt: u32, failure: Failure) -> Self {
        let left = Some((job, failure));
        Self { attempt, left }
    }

    fn end(&mut self, calls_functions: bool) {
        if let Some((job, failure)) = self.left.take() {
            job.end_late(self.attempt, failure, calls_functions);
            job.drop_safely();
        }
    }
}

impl Drop for LateAttempt {
    /// If the executor has dropped it, the attempt ends as if there were no functions.
    fn drop(&mut self) {
        self.end(false);
    }
}

impl Hub {
    /// Ends an attempt on the executor.
    pub(crate) fn end_on_executor(&self, mut late: LateAttempt) {
        if let Some(dispatcher) = self.dispatcher() {
            dispatcher.run_on_executor(async move { late.end(true) });
        }
    }
}
