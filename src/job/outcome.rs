//! What came of a job: the value or the failure of its last finished run.

use std::mem::needs_drop;
use std::time::Duration;

use crate::sync::panics::catch_panic;
use crate::sync::primitives::Arc;
use crate::value::error::{ExecutorDropped, JobError};
use crate::value::retry_hint::RetryHint;
use crate::value::status::JobStatus;

/// How an attempt failed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Error(Arc<dyn std::error::Error + Send + Sync>),
    Panicked(Arc<str>),
    TimedOut(Duration),
}

impl Failure {
    pub(crate) fn executor_dropped() -> Self {
        Failure::Error(Arc::new(ExecutorDropped))
    }

    /// The status of a job, or a run, that ends with this.
    pub(crate) fn status(&self) -> JobStatus {
        match self {
            Failure::Error(_) | Failure::Panicked(_) => JobStatus::Failed,
            Failure::TimedOut(_) => JobStatus::Timeout,
        }
    }

    /// What it says about a retry. May run code of the error.
    pub(crate) fn retry_hint(&self) -> RetryHint {
        match self {
            // An error that panics when it is asked for its source has none.
            Failure::Error(error) => {
                catch_panic(|| RetryHint::of(&**error)).unwrap_or(RetryHint::None)
            }
            Failure::Panicked(_) | Failure::TimedOut(_) => RetryHint::None,
        }
    }

    /// Whether dropping it may run code of a user.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Failure::Error(_))
    }

    fn to_error(&self) -> JobError {
        match self {
            Failure::Error(error) => JobError::Failed(error.clone()),
            Failure::Panicked(message) => JobError::Panicked {
                message: message.clone(),
            },
            Failure::TimedOut(limit) => JobError::TimedOut { limit: *limit },
        }
    }
}

/// What a job shows as its result. It lies in the job's state, under its lock.
#[derive(Debug)]
pub(crate) enum Outcome<R> {
    None,
    /// As the task returned it: nobody has asked yet, and most never do.
    Value(R),
    /// From the first question on.
    Shared(Arc<R>),
    /// In a box, for it is rare and large.
    Failed(Box<Failure>),
}

impl<R> Outcome<R> {
    pub(crate) fn of(result: Result<R, Failure>) -> Self {
        match result {
            Ok(value) => Outcome::Value(value),
            Err(failure) => Outcome::Failed(Box::new(failure)),
        }
    }

    pub(crate) fn get(&mut self) -> Result<Arc<R>, JobError> {
        if let Outcome::Value(_) = self
            && let Outcome::Value(value) = std::mem::replace(self, Outcome::None)
        {
            *self = Outcome::Shared(Arc::new(value));
        }
        match self {
            Outcome::Shared(value) => Ok(value.clone()),
            Outcome::Failed(failure) => Err(failure.to_error()),
            Outcome::None | Outcome::Value(_) => Err(JobError::NotCompleted),
        }
    }

    /// Whether dropping it may run code of a user.
    pub(crate) fn is_foreign(&self) -> bool {
        match self {
            Outcome::None => false,
            Outcome::Value(_) | Outcome::Shared(_) => needs_drop::<R>(),
            Outcome::Failed(failure) => failure.is_foreign(),
        }
    }
}
