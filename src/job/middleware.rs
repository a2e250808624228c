//! [`Next`], with [`Outcome`]: the rest of an attempt, as its middleware sees it.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::job::last_result::Failure;
use crate::job::lifecycle::Begun;
use crate::job::live_job::LiveJob;
use crate::sync::panics::catch_panic;
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::value::error::{BoxError, JobError, OtherOutcome};

/// One middleware. Here the type of its function ends.
pub(crate) type Layer = Arc<dyn Fn(Next) -> BoxFuture<Outcome> + Send + Sync>;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How an attempt has ended, as its middleware sees it: a success, or an error. The value of the task
/// is not shown.
///
/// [`Next::run`] returns it. A middleware returns it, or another one that
/// [`fail`](Outcome::fail) makes. So an attempt succeeds only if its task does.
#[must_use = "a middleware returns the outcome"]
pub struct Outcome {
    /// `None` if a middleware has made it.
    of: Option<AttemptMark>,
    failure: Option<Failure>,
}

/// Distinguishes an attempt from all others, by its address.
type AttemptMark = Arc<()>;

/// The rest of an attempt: the middleware inside of this one, and the task.
///
/// If it is dropped, the task is not called, and the middleware can only return a failure.
#[must_use = "the task is not called until `run` is"]
pub struct Next {
    pub(crate) attempt: AttemptRef,
    layers: Arc<[Layer]>,
    /// The index of the layer that `run` calls.
    at: usize,
    task: BoxFuture<Result<(), Failure>>,
    mark: AttemptMark,
}

/// An attempt with middleware, and what its functions share.
#[derive(Clone)]
pub(crate) struct AttemptRef {
    pub(crate) job: Arc<dyn LiveJob>,
    pub(crate) begun: Begun,
    pub(crate) locals: Locals,
}

/// Values that the middleware and the task of one attempt share.
#[derive(Clone, Default)]
pub(crate) struct Locals(Arc<Mutex<HashMap<TypeId, Local>>>);

type Local = Arc<dyn Any + Send + Sync>;

impl Locals {
    pub(crate) fn set<T: Send + Sync + 'static>(&self, value: T) {
        // A value from before is dropped after the lock: that is code of a user.
        let _before = lock(&self.0).insert(TypeId::of::<T>(), Arc::new(value));
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let value = lock(&self.0).get(&TypeId::of::<T>()).cloned()?;
        value.downcast().ok()
    }
}

impl Outcome {
    /// Makes a failure: the attempt fails with this error, whatever the task has returned. Its retry
    /// follows the task's [`Backoff`](crate::Backoff), and what the error says about that.
    ///
    /// ```
    /// use jobber::{JobContext, Jobber, Next, Outcome};
    ///
    /// async fn only_by_day(cx: JobContext, next: Next) -> Outcome {
    ///     match cx.nominal_time().hour() {
    ///         6..22 => next.run().await,
    ///         hour => Outcome::fail(format!("it is {hour} o'clock")),
    ///     }
    /// }
    ///
    /// let app = Jobber::builder().around(only_by_day).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn fail(error: impl Into<BoxError>) -> Self {
        Self {
            of: None,
            failure: Some(Failure::Error(Arc::from(error.into()))),
        }
    }

    /// Whether the attempt has succeeded.
    ///
    /// ```
    /// use jobber::{JobContext, Next, Outcome};
    ///
    /// async fn log(cx: JobContext, next: Next) -> Outcome {
    ///     let outcome = next.run().await;
    ///     if !outcome.is_success() {
    ///         println!("{} has failed", cx.id());
    ///     }
    ///     outcome
    /// }
    /// ```
    pub fn is_success(&self) -> bool {
        self.failure.is_none()
    }

    /// How the attempt has failed: [`JobError::Failed`] or [`JobError::Panicked`]. `None` if it has
    /// succeeded.
    ///
    /// ```
    /// use jobber::Outcome;
    ///
    /// let outcome = Outcome::fail("the server is busy");
    /// assert_eq!(outcome.error().unwrap().to_string(), "the task failed");
    /// ```
    pub fn error(&self) -> Option<JobError> {
        self.failure.as_ref().map(Failure::to_error)
    }

    /// The failure, if it is one.
    pub(crate) fn into_failure(self) -> Option<Failure> {
        self.failure
    }

    /// Itself, if it is one of this attempt or was made by a middleware; else a failure.
    fn checked(self, mark: &AttemptMark) -> Self {
        match &self.of {
            Some(of) if !Arc::ptr_eq(of, mark) => Self::fail(OtherOutcome),
            _ => self,
        }
    }
}

impl Next {
    /// The whole of an attempt. `task` calls the function, and keeps its value.
    pub(crate) fn new(
        attempt: AttemptRef,
        layers: Arc<[Layer]>,
        task: BoxFuture<Result<(), Failure>>,
    ) -> Self {
        Self {
            attempt,
            layers,
            at: 0,
            task,
            mark: Arc::new(()),
        }
    }

    /// Runs the rest of the attempt, and returns how it has ended. A panic is a failure.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the task is dropped with it.
    ///
    /// ```
    /// use std::time::Instant;
    /// use jobber::{JobContext, Next, Outcome};
    ///
    /// async fn measure(cx: JobContext, next: Next) -> Outcome {
    ///     let start = Instant::now();
    ///     let outcome = next.run().await;
    ///     println!("{} took {:?}", cx.task_name(), start.elapsed());
    ///     outcome
    /// }
    /// ```
    pub async fn run(mut self) -> Outcome {
        let mark = self.mark.clone();
        let Some(layer) = self.layers.get(self.at).cloned() else {
            let failure = match without_panic(self.task).await {
                Ok(result) => result.err(),
                Err(message) => Some(Failure::Panicked(message)),
            };
            let of = Some(mark);
            return Outcome { of, failure };
        };
        self.at += 1;
        // The function is code of a user, and may panic before it returns a future.
        let outcome = match catch_panic(|| layer(self)) {
            Ok(future) => without_panic(future).await,
            Err(message) => Err(message),
        };
        match outcome {
            Ok(outcome) => outcome.checked(&mark),
            Err(message) => Outcome {
                of: None,
                failure: Some(Failure::Panicked(message)),
            },
        }
    }
}

/// Polls a future to its end. If a poll panics, returns the message.
async fn without_panic<T>(mut future: BoxFuture<T>) -> Result<T, Arc<str>> {
    poll_fn(|cx| match catch_panic(|| future.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(message) => Poll::Ready(Err(message)),
    })
    .await
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error() {
            None => f.write_str("Outcome(success)"),
            Some(error) => f.debug_tuple("Outcome").field(&error).finish(),
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.attempt.job.core().id;
        f.debug_struct("Next")
            .field("id", id)
            .finish_non_exhaustive()
    }
}
