//! [`Task`]: a registered function.

use std::fmt;

use crate::api::action::Action;
use crate::api::job::Job;
use crate::api::resume::Resume;
use crate::api::schedule::Schedule;
use crate::api::schedule_many::{MOST, schedule_many};
use crate::api::submit::Submit;
use crate::engine::job_state::TaskDef;
use crate::engine::pausing::{Pausable, PauseChange};
use crate::engine::task_registry::Restore;
use crate::sync::primitives::Arc;
use crate::value::error::{ScheduleError, StorageError};
use crate::value::id::JobId;
use crate::value::steer_outcome::SteerOutcome;

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

    /// Schedules a job for each of these arguments, all or none: `schedule` sets the options and the
    /// trigger of each. The ids are generated. `.await` it, or end it with `.block_on()`. Returns the
    /// jobs in the order of the arguments.
    ///
    /// Durable jobs are stored in one commit. If you drop the value before that has begun, nothing
    /// is scheduled. Jobs in memory are scheduled one after the other; if the app stops meanwhile,
    /// those before are cancelled.
    ///
    /// # Errors
    /// - [`ScheduleError::TooMany`] if there are more than 10,000.
    /// - [`ScheduleError::IdOfMany`] if `schedule` sets an id, `keep` or `replace`.
    /// - The errors of [`Submit::block_on`](crate::Submit::block_on), if one job can't be scheduled.
    ///
    /// # Panics
    /// If `schedule` does, or returns a [`Submit`](crate::Submit) that was polled.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let sim = jobber::testing::Simulation::new();
    /// let mail = sim.app().task("mail", async |to: String| to.len()).register()?;
    /// let users = ["ada", "bob", "eve"].map(String::from);
    /// let minute = Duration::from_secs(60);
    /// let jobs = mail.schedule_many(users, |mail| mail.tag("news").delay(minute)).block_on()?;
    /// assert_eq!(jobs.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn schedule_many(
        &self,
        args: impl IntoIterator<Item = A>,
        schedule: impl Fn(Schedule<A, R>) -> Submit<A, R>,
    ) -> Action<Result<Vec<Job<R>>, ScheduleError>> {
        let args = args.into_iter();
        let submits = args.map(|args| schedule(self.schedule(args)).into_request());
        let requests: Vec<_> = submits.collect();
        let task = self.def.clone();
        Action::new(async move {
            let (found, max) = (requests.len(), MOST);
            if found > max {
                return Err(ScheduleError::TooMany { found, max });
            }
            schedule_many(task, requests).await
        })
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

    /// The live jobs of this task, in no order. Never blocks. It looks at all live jobs of the app.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).cron("@daily").block_on()?;
    /// assert_eq!(hello.jobs()[0].id(), job.id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jobs(&self) -> Vec<Job<R>> {
        let jobs = self.def.hub.jobs().into_iter();
        jobs.filter(|job| Restore::has(&*self.def, &**job))
            .map(Job::new)
            .collect()
    }

    /// Pauses the task: no attempt of any job of it begins until [`resume`](Task::resume), also of
    /// jobs that are scheduled meanwhile. [`Job::pause`] says what a pause means. If the app
    /// has a store, it keeps the pause, also of a task that is not durable, and the task of this
    /// name is paused in the next process.
    ///
    /// The call visits all live jobs of the app. `.await` it, or end it with `.block_on()`. Nothing
    /// happens before.
    ///
    /// # Errors
    /// If the store could not save it, or is closed: the app has not started or has stopped. Then
    /// nothing is paused.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).every(minute).block_on()?;
    /// hello.pause().block_on()?;
    /// sim.advance(5 * minute);
    /// assert_eq!(job.last_run(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) -> Action<Result<SteerOutcome, StorageError>> {
        let of = Pausable::Task(self.def.clone());
        Action::new(self.def.hub.clone().change_pause(of, PauseChange::Pause))
    }

    /// Ends the pause of the task. Its jobs go on from now, as [`Job::resume`] says, unless they
    /// are paused themselves, or a group of the task or the app is. `.await` it, or end it with
    /// [`.block_on()`](Resume::block_on). Nothing happens before.
    ///
    /// # Errors
    /// As [`pause`](Task::pause): then the task is still paused.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// hello.pause().block_on()?;
    /// assert!(hello.resume().block_on()?.took_effect());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self) -> Resume {
        Resume::of(self.def.hub.clone(), Pausable::Task(self.def.clone()))
    }

    /// Whether the task is paused. A group of it or its app may be, too
    /// ([`Jobber::is_paused`](crate::Jobber::is_paused)). Never blocks.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// assert!(!hello.is_paused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_paused(&self) -> bool {
        self.def.pause.is_paused()
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
