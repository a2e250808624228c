//! What came of a job: the value or the failure of its last finished run.

use std::time::Duration;

use crate::error::{ExecutorDropped, JobError};
use crate::panics::{contain, drop_contained};
use crate::retry::RetryHint;
use crate::status::JobStatus;
use crate::sync::{Arc, Mutex, lock};

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
            Failure::Error(error) => contain(|| RetryHint::of(&**error)).unwrap_or(RetryHint::None),
            Failure::Panicked(_) | Failure::TimedOut(_) => RetryHint::None,
        }
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

/// The place that a job and its handles share.
#[derive(Debug)]
pub(crate) struct Slot<R>(Mutex<Outcome<R>>);

#[derive(Debug)]
pub(crate) enum Outcome<R> {
    None,
    /// As the task returned it: nobody has asked yet, and most never do.
    Value(R),
    /// From the first question on.
    Shared(Arc<R>),
    Failed(Failure),
}

impl<R> Slot<R> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Outcome::None))
    }

    /// Gives back what was there, to be dropped when no lock is held.
    #[must_use]
    pub(crate) fn set(&self, outcome: Outcome<R>) -> Outcome<R> {
        std::mem::replace(&mut *lock(&self.0), outcome)
    }

    pub(crate) fn get(&self) -> Result<Arc<R>, JobError> {
        let mut outcome = lock(&self.0);
        if let Outcome::Value(_) = &*outcome
            && let Outcome::Value(value) = std::mem::replace(&mut *outcome, Outcome::None)
        {
            *outcome = Outcome::Shared(Arc::new(value));
        }
        match &*outcome {
            Outcome::Shared(value) => Ok(value.clone()),
            Outcome::Failed(failure) => Err(failure.to_error()),
            Outcome::None | Outcome::Value(_) => Err(JobError::NotCompleted),
        }
    }
}

impl<R> Drop for Slot<R> {
    /// The value is foreign, and whoever drops the last handle of a job is not
    /// to be hit by its panic.
    fn drop(&mut self) {
        drop_contained(self.set(Outcome::None));
    }
}
