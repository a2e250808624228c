//! [`Decisions`]: the functions of a task that decide about an error.

use crate::job::middleware::AttemptRef;
use crate::sync::panics::catch_panic;
use crate::sync::primitives::Arc;
use crate::value::error::JobError;
use crate::value::on_error::OnError;
use crate::value::retry_hint::RetryHint;

/// A function of `on_error`. Code of a user.
pub(crate) type OnErrorFn = Arc<dyn Fn(&JobError, &AttemptRef) -> OnError + Send + Sync>;

/// A function of `recover`. Code of a user.
pub(crate) type RecoverFn<R> = Box<dyn Fn(&JobError, &AttemptRef) -> Option<R> + Send + Sync>;

/// The functions that decide what follows a failed attempt of a task.
pub(crate) struct Decisions<R> {
    /// Called first, in this order.
    pub(crate) recover: Box<[RecoverFn<R>]>,
    /// Called after all of `recover`, in this order: of the task, of its groups from the inside to the
    /// outside, of the app.
    pub(crate) on_error: Box<[OnErrorFn]>,
}

/// What the functions have decided.
pub(crate) enum Decision<R> {
    /// The attempt succeeds with this value.
    Value(R),
    /// This stands in place of what the error says.
    Retry(RetryHint),
    /// No function has decided.
    Pass,
}

impl<R> Decisions<R> {
    /// Calls the functions until one of them decides. One that panics does not decide.
    pub(crate) fn decide(&self, error: &JobError, attempt: &AttemptRef) -> Decision<R> {
        for recover in &self.recover {
            if let Ok(Some(value)) = catch_panic(|| recover(error, attempt)) {
                return Decision::Value(value);
            }
        }
        for on_error in &self.on_error {
            return Decision::Retry(match catch_panic(|| on_error(error, attempt)) {
                Ok(OnError::Pass) | Err(_) => continue,
                Ok(OnError::Retry) => RetryHint::None,
                Ok(OnError::RetryAfter(delay)) => RetryHint::After(delay),
                Ok(OnError::Fail) => RetryHint::Never,
            });
        }
        Decision::Pass
    }
}
