//! How attempts run with the functions of the program around them.

use std::future::Future;

use futures_lite::future::or;

use crate::api::context::JobContext;
use crate::engine::job_state::{JobState, Middleware};
use crate::job::decisions::{OnErrorFn, RecoverFn};
use crate::job::last_result::Failure;
use crate::job::lifecycle::Begun;
use crate::job::live_job::{ExecutorJob, Exit, JobView};
use crate::job::middleware::{AttemptRef, BoxFuture, Layer, Locals, Next, Outcome};
use crate::job::stop::ForceStopped;
use crate::job::typed_middleware::{TypedLayer, TypedNext};
use crate::sync::panics::{UserValue, drop_catching_panic};
use crate::sync::parker::block_on;
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::sync::waiter::Waiter;
use crate::value::error::{AttemptEnded, BoxError, JobError, OtherOutcome};
use crate::value::on_error::OnError;

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

/// A function that decides about retries, without its type.
pub(crate) fn on_error<F>(function: F) -> OnErrorFn
where
    F: Fn(&JobError, &JobContext) -> OnError + Send + Sync + 'static,
{
    Arc::new(move |error, attempt| function(error, &JobContext::of(attempt)))
}

/// A function that may return a value in place of an error, without its type.
pub(crate) fn recover<R, F>(function: F) -> RecoverFn<R>
where
    F: Fn(&JobError, &JobContext) -> Option<R> + Send + Sync + 'static,
{
    Box::new(move |error, attempt| function(error, &JobContext::of(attempt)))
}

/// Clears the values of an attempt when it ends, or is dropped.
struct ClearAtEnd(Locals);

impl Drop for ClearAtEnd {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Runs an attempt of a blocking task with its middleware, on this thread. If the attempt is stopped
/// while the middleware waits, drops it.
pub(crate) fn block_on_attempt<A, R>(
    job: &Arc<JobState<A, R>>,
    attempt: u32,
    rest: impl Future<Output = Exit>,
) -> Exit
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let stopped = Waiter::new(ForceStopped(job.control(attempt)));
    let stopped = async {
        stopped.await;
        None
    };
    let exit = block_on(or(async { Some(rest.await) }, stopped));
    exit.unwrap_or_else(|| {
        // It was dropped before it could call `finish`.
        job.body_gone(attempt);
        Exit::Done
    })
}

/// Runs an attempt with its middleware. `task` calls the function.
pub(crate) async fn around<A, R, Fut>(
    middleware: Middleware<A, R>,
    (job, begun): (Arc<JobState<A, R>>, Begun),
    args: A,
    task: impl FnOnce(JobContext, A) -> Fut + Send + 'static,
) -> Exit
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
    Fut: Future<Output = Result<R, BoxError>> + Send + 'static,
{
    let Middleware { layers, typed } = middleware;
    let locals = Locals::default();
    let attempt = AttemptRef {
        job: job.clone(),
        begun,
        locals,
    };
    let cx = JobContext::of(&attempt);
    let of = job.clone();
    let call = Box::new(move |args| -> BoxFuture<_> {
        Box::pin(async move {
            let check = || match of.is_running(begun.number) {
                true => Ok(()),
                false => Err(BoxError::from(AttemptEnded)),
            };
            check()?;
            let result = task(cx, args).await;
            if let Err(ended) = check() {
                drop_catching_panic(result);
                return Err(ended);
            }
            result
        })
    });
    let typed = TypedNext::new(attempt.clone(), typed, call);
    let value = Arc::new(Mutex::new(UserValue(None)));
    let place = value.clone();
    let rest = async move {
        let result = typed.run(args).await;
        let returned = result.map_err(|error| Failure::Error(Arc::from(error)))?;
        lock(&place).0 = Some(returned);
        Ok(())
    };
    let locals = ClearAtEnd(attempt.locals.clone());
    let next = Next::new(attempt, layers, Box::pin(rest));
    let outcome = next.run().await;
    // Before the end of the attempt can be seen, and its limits are free.
    drop(locals);
    let value = lock(&value).0.take();
    job.finish(
        begun.number,
        match (outcome.into_failure(), value) {
            (None, Some(value)) => Ok(value),
            // It can't be: only the task makes a success.
            (None, None) => Err(Failure::Error(Arc::new(OtherOutcome))),
            (Some(failure), value) => {
                drop_catching_panic(value);
                Err(failure)
            }
        },
    )
}
