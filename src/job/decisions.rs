//! [`Decisions`]: the functions of a program that decide what follows a failed attempt.

use crate::job::middleware::AttemptRef;
use crate::sync::panics::catch_panic;
use crate::sync::primitives::Arc;
use crate::value::error::JobError;
use crate::value::on_error::OnError;
use crate::value::retry_hint::RetryHint;

/// Decides about a retry. Code of a user.
pub(crate) type OnErrorFn = Arc<dyn Fn(&JobError, &AttemptRef) -> OnError + Send + Sync>;

/// May return a value in place of an error. Code of a user.
pub(crate) type RecoverFn<R> = Box<dyn Fn(&JobError, &AttemptRef) -> Option<R> + Send + Sync>;

/// The functions that decide what follows a failed attempt.
pub(crate) struct Decisions<R> {
    /// In the order in which they are called, as the next ones. These come first.
    pub(crate) recover: Box<[RecoverFn<R>]>,
    pub(crate) on_error: Box<[OnErrorFn]>,
}

/// What the functions have decided.
pub(crate) enum Decision<R> {
    /// The attempt succeeds with this value.
    Value(R),
    /// `None`: the error itself says what follows.
    Failure(Option<RetryHint>),
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
            let hint = match catch_panic(|| on_error(error, attempt)) {
                Ok(OnError::Pass) | Err(_) => continue,
                Ok(OnError::Retry) => RetryHint::None,
                Ok(OnError::RetryAfter(delay)) => RetryHint::After(delay),
                Ok(OnError::Fail) => RetryHint::Never,
            };
            return Decision::Failure(Some(hint));
        }
        Decision::Failure(None)
    }
}
