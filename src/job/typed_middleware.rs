//! [`TypedNext`]: the rest of an attempt, as a middleware sees it that knows its types.

use std::fmt;

use crate::job::middleware::{AttemptRef, BoxFuture};
use crate::sync::primitives::Arc;
use crate::value::error::BoxError;

/// One typed middleware, without the type of its function.
pub(crate) type TypedLayer<A, R> =
    Arc<dyn Fn(A, TypedNext<A, R>) -> BoxFuture<Result<R, BoxError>> + Send + Sync>;

/// Calls the function of a task.
type Call<A, R> = Box<dyn FnOnce(A) -> BoxFuture<Result<R, BoxError>> + Send>;

/// The rest of an attempt with arguments of the type `A` and a value of the type `R`: the
/// [typed middleware](crate::TaskBuilder::around_typed) inside of this one, and the task.
#[must_use = "the task is not called until `run` is"]
pub struct TypedNext<A, R> {
    pub(crate) attempt: AttemptRef,
    layers: Arc<[TypedLayer<A, R>]>,
    /// The index of the layer that `run` calls.
    at: usize,
    task: Call<A, R>,
}

impl<A, R> TypedNext<A, R> {
    /// All typed middleware of an attempt, around its task.
    pub(crate) fn new(
        attempt: AttemptRef,
        layers: Arc<[TypedLayer<A, R>]>,
        task: Call<A, R>,
    ) -> Self {
        Self {
            attempt,
            layers,
            at: 0,
            task,
        }
    }

    /// Runs the rest of the attempt with these arguments, and returns the value or the error of the
    /// task. A panic is not caught: it goes through this middleware and fails the attempt.
    ///
    /// # Errors
    /// The error of the task, or of a middleware inside of this one.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the task is dropped with it.
    ///
    /// ```
    /// use jobber::{BoxError, JobContext, TypedNext};
    ///
    /// async fn trim(
    ///     cx: JobContext,
    ///     name: String,
    ///     next: TypedNext<String, usize>,
    /// ) -> Result<usize, BoxError> {
    ///     next.run(name.trim().to_string()).await
    /// }
    /// ```
    pub async fn run(mut self, args: A) -> Result<R, BoxError> {
        let Some(layer) = self.layers.get(self.at).cloned() else {
            return (self.task)(args).await;
        };
        self.at += 1;
        layer(args, self).await
    }
}

impl<A, R> fmt::Debug for TypedNext<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.attempt.job.core().id;
        f.debug_struct("TypedNext")
            .field("id", id)
            .finish_non_exhaustive()
    }
}
