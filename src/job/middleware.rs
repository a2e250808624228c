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
use crate::sync::panics::{UserValue, catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::value::error::{BoxError, JobError, OtherOutcome};

/// One middleware, without the type of its function.
pub(crate) type Layer = Arc<dyn Fn(Next) -> BoxFuture<Outcome> + Send + Sync>;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How the rest of an attempt has ended, for the middleware around it: a success, or an error. The
/// value of the task is not shown.
///
/// [`Next::run`] returns it. A middleware returns it, or another one that
/// [`fail`](Outcome::fail) makes: it can't make a success. A blocking task that returns after its
/// attempt was stopped, by a timeout for example, is shown as a failure
/// ([`AttemptEnded`](crate::AttemptEnded)).
///
/// After a success, the attempt can still fail: by a middleware further out, or by a timeout. What
/// must happen only if it succeeds belongs in the outermost middleware.
#[must_use = "a middleware returns the outcome"]
pub struct Outcome {
    /// `None` if [`Outcome::fail`] has made it.
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
    task: UserValue<BoxFuture<Result<(), Failure>>>,
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
pub(crate) struct Locals(Arc<Mutex<HashMap<TypeId, UserValue<Local>>>>);

type Local = Arc<dyn Any + Send + Sync>;

impl Locals {
    pub(crate) fn set<T: Send + Sync + 'static>(&self, value: T) {
        // The value from before is dropped after the lock: its drop is code of a user.
        let value: Local = Arc::new(value);
        let _before = lock(&self.0).insert(TypeId::of::<T>(), UserValue::new(value));
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let value = lock(&self.0).get(&TypeId::of::<T>())?.0.clone()?;
        value.downcast().ok()
    }

    /// Drops the values. One may hold the context of the attempt, which holds the values.
    pub(crate) fn clear(&self) {
        let values = std::mem::take(&mut *lock(&self.0));
        drop(values);
    }
}

impl Outcome {
    /// Makes a failure: the attempt fails with this error, whatever the task has returned. Its retry
    /// follows the task's [`Backoff`](crate::Backoff), and what the error says about that.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use jobber::{JobContext, Jobber, Next, Outcome};
    ///
    /// static IS_CLOSED: AtomicBool = AtomicBool::new(false);
    ///
    /// async fn unless_closed(_: JobContext, next: Next) -> Outcome {
    ///     match IS_CLOSED.load(Ordering::Relaxed) {
    ///         true => Outcome::fail("closed for maintenance"),
    ///         false => next.run().await,
    ///     }
    /// }
    ///
    /// let app = Jobber::builder().around(unless_closed).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn fail(error: impl Into<BoxError>) -> Self {
        Self {
            of: None,
            failure: Some(Failure::Error(Arc::from(error.into()))),
        }
    }

    /// Whether the rest of the attempt has succeeded.
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

    /// How the rest of the attempt has failed: [`JobError::Failed`] or [`JobError::Panicked`]. `None`
    /// if it has succeeded.
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

    /// Replaces the outcome of another attempt by a failure.
    fn checked(self, mark: &AttemptMark) -> Self {
        match &self.of {
            Some(of) if !Arc::ptr_eq(of, mark) => {
                drop_catching_panic(self);
                Self::fail(OtherOutcome)
            }
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
            task: UserValue::new(task),
            mark: Arc::new(()),
        }
    }

    /// Runs the rest of the attempt, and returns how it has ended. A panic is a failure. If the
    /// attempt was stopped before the task is called, the task is not called.
    ///
    /// Await it in the middleware, and do not spawn it: a spawned future goes on after a timeout or an
    /// abort, and the limits of the attempt do not count it.
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
            Ok(future) => without_panic(UserValue::new(future)).await,
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

/// Polls a future to its end, and drops it. If a poll or the drop panics, returns the message.
pub(crate) async fn without_panic<T>(mut future: UserValue<BoxFuture<T>>) -> Result<T, Arc<str>> {
    let result = poll_fn(|cx| {
        let poll = |future: &mut BoxFuture<T>| future.as_mut().poll(cx);
        match catch_panic(|| future.0.as_mut().map_or(Poll::Pending, poll)) {
            Ok(poll) => poll.map(Ok),
            Err(message) => Poll::Ready(Err(message)),
        }
    })
    .await;
    match (catch_panic(|| drop(future.0.take())), result) {
        (Err(message), Ok(value)) => {
            drop_catching_panic(value);
            Err(message)
        }
        (_, result) => result,
    }
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
