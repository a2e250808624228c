//! How attempts run with their middleware.

use std::future::Future;

use crate::api::context::JobContext;
use crate::engine::job_state::JobState;
use crate::job::last_result::Failure;
use crate::job::lifecycle::Begun;
use crate::job::live_job::Exit;
use crate::job::middleware::{AttemptRef, BoxFuture, Layer, Locals, Next, Outcome};
use crate::job::typed_middleware::{TypedLayer, TypedNext};
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::value::error::{BoxError, OtherOutcome};

/// A middleware, without the type of its function.
pub(crate) fn layer<F, Fut>(middleware: F) -> Layer
where
    F: Fn(JobContext, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    Arc::new(move |next| Box::pin(middleware(JobContext::of(&next.attempt), next)))
}

/// A typed middleware, without the type of its function.
pub(crate) fn typed_layer<A, R, F, Fut>(middleware: F) -> TypedLayer<A, R>
where
    F: Fn(JobContext, A, TypedNext<A, R>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, BoxError>> + Send + 'static,
{
    Arc::new(move |args, next| Box::pin(middleware(JobContext::of(&next.attempt), args, next)))
}

/// Runs an attempt with its middleware. `task` calls the function.
pub(crate) async fn around<A, R, Fut>(
    job: Arc<JobState<A, R>>,
    begun: Begun,
    args: A,
    task: impl FnOnce(JobContext, A) -> Fut + Send + 'static,
) -> Exit
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
    Fut: Future<Output = Result<R, BoxError>> + Send + 'static,
{
    let middleware = job.task.around.as_ref();
    let (layers, typed) = middleware.map_or_else(
        || (Arc::from([]), Arc::from([])),
        |it| (it.layers.clone(), it.typed.clone()),
    );
    let locals = Locals::default();
    let attempt = AttemptRef {
        job: job.clone(),
        begun,
        locals,
    };
    let cx = JobContext::of(&attempt);
    let call = Box::new(move |args| -> BoxFuture<_> { Box::pin(async { task(cx, args).await }) });
    let typed = TypedNext::new(attempt.clone(), typed, call);
    let value = Arc::new(Mutex::new(None));
    let place = value.clone();
    let task = async move {
        let result = typed.run(args).await;
        let returned = result.map_err(|error| Failure::Error(Arc::from(error)))?;
        *lock(&place) = Some(returned);
        Ok(())
    };
    let next = Next::new(attempt, layers, Box::pin(task));
    let outcome = next.run().await;
    let value = lock(&value).take();
    job.finish(
        begun.number,
        match (outcome.into_failure(), value) {
            (None, Some(value)) => Ok(value),
            (None, None) => Err(Failure::Error(Arc::new(OtherOutcome))),
            (Some(failure), value) => {
                drop_catching_panic(value);
                Err(failure)
            }
        },
    )
}
