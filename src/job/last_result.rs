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
    /// The next run was due.
    Overlapped,
    /// The next attempt would have started too late. `last`: how the one before failed, if that
    /// showed it.
    Expired {
        limit: Duration,
        last: Option<Box<Failure>>,
    },
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
            Failure::Overlapped | Failure::Expired { .. } => JobStatus::Cancelled,
        }
    }

    /// What it says about a retry. May run code of the error.
    pub(crate) fn retry_hint(&self) -> RetryHint {
        match self {
            // An error that panics when it is asked for its source has none.
            Failure::Error(error) => {
                catch_panic(|| RetryHint::of(&**error)).unwrap_or(RetryHint::None)
            }
            Failure::Overlapped => RetryHint::Never,
            Failure::Panicked(_) | Failure::TimedOut(_) | Failure::Expired { .. } => {
                RetryHint::None
            }
        }
    }

    /// Whether dropping it may run code of a user.
    pub(crate) fn runs_user_code(&self) -> bool {
        match self {
            Failure::Error(_) => true,
            Failure::Expired { last, .. } => last.as_ref().is_some_and(|f| f.runs_user_code()),
            Failure::Panicked(_) | Failure::TimedOut(_) | Failure::Overlapped => false,
        }
    }

    pub(crate) fn to_error(&self) -> JobError {
        match self {
            Failure::Error(error) => JobError::Failed(error.clone()),
            Failure::Panicked(message) => JobError::Panicked {
                message: message.clone(),
            },
            Failure::TimedOut(limit) => JobError::TimedOut { limit: *limit },
            Failure::Overlapped => JobError::Overlapped,
            Failure::Expired { limit, last } => JobError::Expired {
                limit: *limit,
                last: last.as_ref().map(|last| Box::new(last.to_error())),
            },
        }
    }
}

/// What a job shows as its result. It lies in the job's state, under its lock.
#[derive(Debug)]
pub(crate) enum LastResult<R> {
    None,
    /// As the task returned it: nobody has asked yet, and most never do.
    Value(R),
    /// From the first question on.
    Shared(Arc<R>),
    /// A job of its own was made for the run.
    Spawned,
    /// In a box, because it is rare and large.
    Failed(Box<Failure>),
    /// The first is shown until the store was tried for the second.
    Unpublished(Box<(LastResult<R>, LastResult<R>)>),
}

impl<R> LastResult<R> {
    /// A run without a value has become a job of its own.
    pub(crate) fn of(result: Result<Option<R>, Failure>) -> Self {
        match result {
            Ok(Some(value)) => LastResult::Value(value),
            Ok(None) => LastResult::Spawned,
            Err(failure) => LastResult::Failed(Box::new(failure)),
        }
    }

    /// Sets the result of a run that has ended. If `is_hidden`, the one before is shown
    /// until [`publish`](LastResult::publish). Returns what is to be dropped.
    pub(crate) fn set(&mut self, new: Self, is_hidden: bool) -> Self {
        match self {
            LastResult::Unpublished(both) if is_hidden => std::mem::replace(&mut both.1, new),
            _ if is_hidden => {
                let shown = std::mem::replace(self, LastResult::None);
                *self = LastResult::Unpublished(Box::new((shown, new)));
                LastResult::None
            }
            _ => std::mem::replace(self, new),
        }
    }

    /// Shows what was hidden. Returns what is to be dropped.
    pub(crate) fn publish(&mut self) -> Self {
        if !matches!(self, LastResult::Unpublished(_)) {
            return LastResult::None;
        }
        match std::mem::replace(self, LastResult::None) {
            LastResult::Unpublished(both) => {
                let (old, new) = *both;
                *self = new;
                old
            }
            _ => LastResult::None,
        }
    }

    pub(crate) fn get(&mut self) -> Result<Arc<R>, JobError> {
        if let LastResult::Value(_) = self
            && let LastResult::Value(value) = std::mem::replace(self, LastResult::None)
        {
            *self = LastResult::Shared(Arc::new(value));
        }
        match self {
            LastResult::Unpublished(both) => both.0.get(),
            LastResult::Shared(value) => Ok(value.clone()),
            LastResult::Failed(failure) => Err(failure.to_error()),
            LastResult::Spawned => Err(JobError::Spawned),
            LastResult::None | LastResult::Value(_) => Err(JobError::NotCompleted),
        }
    }

    /// How the run has failed, if it has. Of a run that is not shown yet.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            LastResult::Failed(failure) => Some(failure),
            LastResult::Unpublished(both) => both.1.failure(),
            LastResult::None
            | LastResult::Value(_)
            | LastResult::Shared(_)
            | LastResult::Spawned => None,
        }
    }

    /// Whether the run has expired.
    pub(crate) fn is_expired(&self) -> bool {
        matches!(self.failure(), Some(Failure::Expired { .. }))
    }

    /// Whether dropping it may run code of a user.
    pub(crate) fn runs_user_code(&self) -> bool {
        match self {
            LastResult::None | LastResult::Spawned => false,
            LastResult::Value(_) | LastResult::Shared(_) => needs_drop::<R>(),
            LastResult::Failed(failure) => failure.runs_user_code(),
            LastResult::Unpublished(both) => both.0.runs_user_code() || both.1.runs_user_code(),
        }
    }
}
