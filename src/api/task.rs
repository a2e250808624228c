//! [`Task`]: a registered function, and how it is registered.

use std::fmt;
use std::time::Duration;

use crate::api::context::JobContext;
use crate::api::handler::{BlockingHandler, Handler, TaskOutput};
use crate::api::job::Job;
use crate::api::schedule::Schedule;
use crate::engine::hub::Hub;
use crate::engine::job_state::{BodyMaker, Durability, JobState, TaskDef, Timeout};
use crate::job::codec::Codec;
use crate::job::lifecycle::Begun;
use crate::job::live_job::Body;
use crate::sync::primitives::Arc;
use crate::value::backoff::Backoff;
use crate::value::error::{RegisterError, check_task_name};
use crate::value::id::JobId;
use crate::value::time_units::{MAX_DURATION, to_nanos};

/// A task on its way to be registered, from [`Jobber::task`](crate::Jobber::task)
/// or [`Jobber::blocking_task`](crate::Jobber::blocking_task).
///
/// ```
/// use std::time::Duration;
/// use jobber::{Backoff, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let fetch = app
///     .task("fetch", async |url: String| url.len())
///     .timeout(Duration::from_secs(30))
///     .retry(Backoff::exponential(3))
///     .register()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a task is not there until it is registered"]
pub struct TaskBuilder<A, R> {
    hub: Arc<Hub>,
    name: String,
    is_blocking: bool,
    aliases: Vec<String>,
    timeout: Option<Duration>,
    backoff: Option<Backoff>,
    codec: Option<Codec<A>>,
    at_most_once: bool,
    body: BodyMaker<A, R>,
}

impl<A, R> TaskBuilder<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    pub(crate) fn new<H, S>(hub: Arc<Hub>, name: String, handler: H) -> Self
    where
        H: Handler<A, S>,
        H::Output: TaskOutput<Value = R>,
        S: 'static,
    {
        let body = move |job: Arc<JobState<A, R>>, begun: Begun, args| -> Body {
            let result = handler.call(|| JobContext::new(job.clone(), begun), args);
            Box::pin(async move {
                let output = result.await;
                job.finish(begun.number, output.into_result())
            })
        };
        Self::with_body(hub, name, false, Box::new(body))
    }

    pub(crate) fn new_blocking<H, S>(hub: Arc<Hub>, name: String, handler: H) -> Self
    where
        H: BlockingHandler<A, S>,
        H::Output: TaskOutput<Value = R>,
        S: 'static,
    {
        let handler = Arc::new(handler);
        let body = move |job: Arc<JobState<A, R>>, begun: Begun, args| -> Body {
            let handler = handler.clone();
            Box::pin(async move {
                let output = handler.call(|| JobContext::new(job.clone(), begun), args);
                job.finish(begun.number, output.into_result())
            })
        };
        Self::with_body(hub, name, true, Box::new(body))
    }

    fn with_body(hub: Arc<Hub>, name: String, is_blocking: bool, body: BodyMaker<A, R>) -> Self {
        Self {
            hub,
            name,
            is_blocking,
            aliases: Vec::new(),
            timeout: None,
            backoff: None,
            codec: None,
            at_most_once: false,
            body,
        }
    }

    /// How long an attempt may take, on the monotonic clock; without it, for
    /// ever. One that takes longer ends as
    /// [`Timeout`](crate::JobStatus::Timeout): an async task's future is dropped,
    /// a blocking one's [`StopToken`](crate::StopToken) is set and its late
    /// result thrown away.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let slow = sim
    ///     .app()
    ///     .task("slow", std::future::pending::<()>)
    ///     .timeout(Duration::from_secs(30))
    ///     .register()?;
    /// let job = slow.schedule(()).push().wait_blocking()?;
    /// sim.advance(Duration::from_secs(30));
    /// assert_eq!(job.status(), jobber::JobStatus::Timeout);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// When a failed attempt is tried again; without it, never.
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Another name that jobs of this task may have in the store: the one that
    /// it had before it was renamed. Any number of them.
    ///
    /// A stored job keeps the name that it was scheduled under, so that the
    /// version before the renaming can go on with it, too. Keep the alias for as
    /// long as such jobs may be there.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # let app = jobber::Jobber::builder().storage(jobber::MemoryStorage::new()).build()?;
    /// let mail = app
    ///     .task("send_mail", async |to: String| println!("to {to}"))
    ///     .durable()
    ///     .alias("mail")
    ///     .register()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alias(mut self, name: impl Into<String>) -> Self {
        self.aliases.push(name.into());
        self
    }

    /// Durable: runs each attempt at most once, whatever happens to the process.
    /// Without it, each job runs at least once.
    ///
    /// That an attempt starts is stored before it starts. If the process ends
    /// before that attempt does, the next one does not make it again: its run
    /// has failed, without a retry, and a recurring job goes on with its next
    /// time. An attempt that *fails* is tried again as ever
    /// ([`retry`](TaskBuilder::retry)), for its end is known.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # let app = jobber::Jobber::builder().storage(jobber::MemoryStorage::new()).build()?;
    /// let launch = app
    ///     .task("launch", async |rocket: String| println!("{rocket} is off"))
    ///     .durable()
    ///     .at_most_once()
    ///     .register()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at_most_once(mut self) -> Self {
        self.at_most_once = true;
        self
    }

    /// Registers the task with its app. It can be done before the app is started
    /// and after; stored jobs of the task go on from then.
    ///
    /// # Errors
    /// When the name or an alias is empty, longer than 200 bytes or taken; when
    /// the timeout or a number of the backoff makes no sense; when the task is
    /// durable and the app has no store; after shutdown.
    pub fn register(self) -> Result<Task<A, R>, RegisterError> {
        check_task_name(&self.name)?;
        self.aliases
            .iter()
            .try_for_each(|name| check_task_name(name))?;
        if let Some(backoff) = &self.backoff {
            backoff.check()?;
        }
        let timeout = self.timeout.map(check_timeout).transpose()?;
        if self.codec.is_none() && self.at_most_once {
            return Err(RegisterError::NotDurable {
                option: "at_most_once",
            });
        }
        if self.codec.is_some() && self.hub.store.is_none() {
            return Err(RegisterError::NoStorage { name: self.name });
        }
        let at_most_once = self.at_most_once;
        let durability = self.codec.map(|codec| Durability {
            codec,
            at_most_once,
        });
        let name: Arc<str> = self.name.into();
        let aliases = self.aliases.into_iter().map(Arc::from);
        let def = Arc::new(TaskDef {
            names: std::iter::once(name.clone()).chain(aliases).collect(),
            name,
            hub: self.hub,
            is_blocking: self.is_blocking,
            timeout,
            backoff: self.backoff,
            durability,
            body: self.body,
        });
        def.hub.register(&def.names, &def)?;
        Ok(Task { def })
    }
}

#[cfg(feature = "serde")]
impl<A, R> TaskBuilder<A, R>
where
    A: serde::Serialize + serde::de::DeserializeOwned,
{
    /// Keeps the jobs of this task in the app's
    /// [`storage`](crate::JobberBuilder::storage): they survive the process. See
    /// [durability](crate#durability) for what is promised.
    ///
    /// The arguments are stored as JSON. What a job returns is not stored.
    ///
    /// ```
    /// use jobber::{Jobber, MemoryStorage};
    ///
    /// let app = Jobber::builder().storage(MemoryStorage::new()).build()?;
    /// let mail = app
    ///     .task("mail", async |to: String, subject: String| println!("{subject} to {to}"))
    ///     .durable()
    ///     .register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn durable(mut self) -> Self {
        self.codec = Some(Codec::json());
        self
    }
}

fn check_timeout(limit: Duration) -> Result<Timeout, RegisterError> {
    if limit.is_zero() {
        return Err(RegisterError::ZeroTimeout);
    }
    let nanos = to_nanos(limit).ok_or(RegisterError::DurationTooLong {
        field: "timeout",
        value: limit,
        max: MAX_DURATION,
    })?;
    Ok(Timeout { limit, nanos })
}

impl<A, R> fmt::Debug for TaskBuilder<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("retry", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// A registered task, with arguments `A` and a value `R`: what schedules jobs.
///
/// It can be cloned and sent anywhere. It keeps no app alive.
pub struct Task<A, R> {
    pub(crate) def: Arc<TaskDef<A, R>>,
}

impl<A, R> Task<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Its name.
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

    /// Begins to schedule a job with these arguments: one bare, several as a
    /// tuple, none as `()`. Options and a trigger follow.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let sim = jobber::testing::Simulation::new();
    /// let add = sim.app().task("add", async |x: i32, y: i32| x + y).register()?;
    /// let job = add.schedule((1, 2)).id("sum").delay(Duration::from_secs(5)).wait_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn schedule(&self, args: A) -> Schedule<A, R> {
        Schedule::new(self.def.clone(), args)
    }

    /// The live job of this id, if it is one of this task.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// let add = sim.app().task("add", async |x: i32, y: i32| x + y).register()?;
    /// let _ = add.schedule((1, 2)).id("sum").delay(Duration::from_secs(5)).wait_blocking()?;
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
