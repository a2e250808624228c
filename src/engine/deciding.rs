//! The program decides what follows a failed attempt.

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
    /// Calls the functions that decide about the failure of an attempt, if there are any. Returns also
    /// what they say about a retry.
    pub(crate) fn decide_failure(
        &self,
        attempt: u32,
        failure: Failure,
    ) -> (Result<R, Failure>, Option<RetryHint>) {
        let Some(decisions) = &self.task.decisions else {
            return (Err(failure), None);
        };
        let is_snoozed = matches!(failure.retry_hint(), RetryHint::Snooze(_));
        let begun = {
            let state = self.lock();
            let asks = !is_snoozed || state.life.is_snoozed_too_often();
            state.life.begun(attempt).filter(|_| asks)
        };
        let (Some(begun), Some(job)) = (begun, self.as_live()) else {
            // It is snoozed, or over, or the app has stopped.
            return (Err(failure), None);
        };
        let locals = Locals::default();
        let attempt = AttemptRef { job, begun, locals };
        let error = failure.to_error();
        let decision = decisions.decide(&error, &attempt);
        // A function may have set a value that holds the context of the attempt.
        attempt.locals.clear();
        drop_catching_panic((attempt, error));
        match decision {
            Decision::Value(value) => {
                drop_catching_panic(failure);
                (Ok(value), None)
            }
            Decision::Failure(hint) => (Err(failure), hint),
        }
    }
}

/// The timeout of an attempt, on its way from the timer to the executor: the functions that decide
/// about it are code of a user.
pub(crate) struct LateAttempt {
    job: Live,
    attempt: u32,
    /// `None` once the attempt has ended.
    failure: Option<Failure>,
}

impl LateAttempt {
    pub(crate) fn new(job: Live, attempt: u32, failure: Failure) -> Self {
        let failure = Some(failure);
        Self {
            job,
            attempt,
            failure,
        }
    }

    fn end(&mut self, asks: bool) {
        if let Some(failure) = self.failure.take() {
            self.job.end_late(self.attempt, failure, asks);
        }
    }
}

impl Drop for LateAttempt {
    /// If the executor has dropped it, the attempt ends as if there were no functions.
    fn drop(&mut self) {
        self.end(false);
        self.job.clone().drop_safely();
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
