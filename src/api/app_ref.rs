//! [`AppRef`]: an app, as its tasks hold it.

use std::any::{Any, type_name};
use std::fmt;

use crate::api::action::Action;
use crate::api::declare::JobSet;
use crate::api::registered_task::Task;
use crate::engine::hub::Hub;
use crate::engine::job_state::TaskDef;
use crate::sync::primitives::{Arc, Weak};
use crate::value::declared::Declared;
use crate::value::error::{DeclareError, TaskError};

/// A reference to an app: [`JobContext::app`](crate::JobContext::app) returns it, and a function of
/// [`on_start`](crate::JobberBuilder::on_start) gets it. With it, a task schedules jobs of any task of the
/// app, also of its own.
///
/// It does not keep the app alive, and can be kept anywhere. All clones are the same app.
///
/// ```
/// use jobber::{BoxError, JobContext, JobStatus, Jobber};
///
/// async fn count_down(cx: JobContext, n: u32) -> Result<(), BoxError> {
///     if n > 0 {
///         let own = cx.app().task::<u32, ()>("count_down")?;
///         own.schedule(n - 1).push().await?;
///     }
///     Ok(())
/// }
///
/// let app = Jobber::builder().build()?;
/// let count_down = app.task("count_down", count_down).register()?;
/// app.start().block_on()?;
/// count_down.schedule(3).push().block_on()?;
/// app.wait_all().block_on();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AppRef(Weak<Hub>);

impl AppRef {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self(Arc::downgrade(hub))
    }

    /// A reference to no app.
    pub(crate) fn stopped() -> Self {
        Self(Weak::new())
    }

    /// The registered task of this name, or with this alias. `A` and `R` are the types of
    /// [`Task`]: `()` for no argument, a tuple for more than one. Never blocks.
    ///
    /// If the function of a task keeps the returned value, and not only uses it, it keeps
    /// itself in memory: keep the `AppRef` instead.
    ///
    /// # Errors
    /// - [`TaskError::Unknown`] if no task has the name.
    /// - [`TaskError::OtherTypes`] if the task has other types. The error names them.
    /// - [`TaskError::Stopped`] if the app was shut down, or dropped.
    ///
    /// ```
    /// use jobber::{Job, JobContext, BoxError};
    ///
    /// async fn import(cx: JobContext, file: String) -> Result<(), BoxError> {
    ///     let mail = cx.app().task::<(String, u32), ()>("mail")?;
    ///     mail.schedule((file, 1)).push().await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn task<A, R>(&self, name: &str) -> Result<Task<A, R>, TaskError>
    where
        A: Clone + Send + Sync + 'static,
        R: Send + Sync + 'static,
    {
        let hub = self.0.upgrade().ok_or(TaskError::Stopped)?;
        let task = hub.find_task(name)?;
        let (args, value) = task.types();
        let task: Arc<dyn Any + Send + Sync> = task;
        match task.downcast::<TaskDef<A, R>>() {
            Ok(def) => Ok(Task { def }),
            Err(_) => Err(TaskError::OtherTypes {
                name: name.into(),
                args,
                value,
                wrong_args: type_name::<A>(),
                wrong_value: type_name::<R>(),
            }),
        }
    }
}

impl AppRef {
    /// Declares a set of recurring jobs, as [`Jobber::declare`](crate::Jobber::declare) does. Calls
    /// `define` at once.
    ///
    /// # Errors
    /// [`TaskError::Stopped`] if the app was dropped. The returned action has the errors of
    /// [`Jobber::declare`](crate::Jobber::declare): it fails after a shutdown.
    ///
    /// ```
    /// use jobber::{BoxError, JobContext};
    ///
    /// async fn configure(cx: JobContext, hour: u8) -> Result<(), BoxError> {
    ///     let app = cx.app();
    ///     let report = app.task::<(), ()>("report")?;
    ///     let declared = app.declare("reports", |set| {
    ///         set.add(report.schedule(()).id("daily").cron(format!("0 {hour} * * *")));
    ///     });
    ///     declared?.await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn declare(
        &self,
        set: impl Into<String>,
        define: impl FnOnce(&mut JobSet),
    ) -> Result<Action<Result<Declared, DeclareError>>, TaskError> {
        let hub = self.0.upgrade().ok_or(TaskError::Stopped)?;
        let mut jobs = JobSet::new(hub, set.into());
        define(&mut jobs);
        Ok(Action::new(jobs.declare()))
    }
}

impl fmt::Debug for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppRef").finish_non_exhaustive()
    }
}
