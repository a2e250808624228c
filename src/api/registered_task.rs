//! [`Task`]: a registered function.

use std::fmt;

use crate::api::job::Job;
use crate::api::schedule::Schedule;
use crate::engine::job_state::TaskDef;
use crate::sync::primitives::Arc;
use crate::value::id::JobId;

/// A registered task: it schedules jobs with arguments of the type `A` and values of
/// the type `R`.
///
/// All clones are the same task, and can be sent to any thread. A task does not keep its
/// app alive.
///
/// ```
/// use jobber::{Jobber, Task};
///
/// let app = Jobber::builder().build()?;
/// let add: Task<(i32, i32), i32> = app.task("add", async |x: i32, y: i32| x + y).register()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Task<A, R> {
    pub(crate) def: Arc<TaskDef<A, R>>,
}

impl<A, R> Task<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// The name of the task.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let hello = app.task("hello", || async {}).register()?;
    /// assert_eq!(hello.name(), "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.def.name
    }

    /// Begins to schedule a job with these arguments: `()` for none, the argument itself
    /// for one, a tuple for more. Options and a trigger follow.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let sim = jobber::testing::Simulation::new();
    /// let add = sim.app().task("add", async |x: i32, y: i32| x + y).register()?;
    /// let job = add.schedule((1, 2)).id("sum").delay(Duration::from_secs(5)).block_on()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn schedule(&self, args: A) -> Schedule<A, R> {
        Schedule::new(self.def.clone(), args)
    }

    /// The live job with this id, if it is a job of this task. Never blocks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// let add = sim.app().task("add", async |x: i32, y: i32| x + y).register()?;
    /// add.schedule((1, 2)).id("sum").delay(Duration::from_secs(5)).block_on()?;
    ///
    /// let job = add.job("sum").unwrap();
    /// sim.advance(Duration::from_secs(5));
    /// assert_eq!(*job.result()?, 3);
    /// assert!(add.job("sum").is_none(), "it is done");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn job(&self, id: impl Into<JobId>) -> Option<Job<R>> {
        Some(Job::new(self.def.live(&id.into())?))
    }
}

impl<A, R> Clone for Task<A, R> {
    fn clone(&self) -> Self {
        Self {
            def: self.def.clone(),
        }
    }
}

impl<A, R> fmt::Debug for Task<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.def.name).finish()
    }
}
