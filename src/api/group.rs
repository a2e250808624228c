//! [`Group`]: tasks that share options.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::api::action::Action;
use crate::api::around::{layer, on_error};
use crate::api::context::JobContext;
use crate::api::handler::{BlockingHandler, Handler, TaskOutput};
use crate::api::job::AnyJob;
use crate::api::limit::Limit;
use crate::api::resume::Resume;
use crate::api::select::{Jobs, Selection};
use crate::api::task::TaskBuilder;
use crate::engine::group::{GroupDef, GroupDraft, GroupRef};
use crate::engine::hub::Hub;
use crate::engine::pausing::{Pausable, PauseChange};
use crate::job::middleware::{Next, Outcome};
use crate::sync::primitives::Arc;
use crate::value::backoff::Backoff;
use crate::value::end_of_job::EndOfJob;
use crate::value::error::{BoxError, JobError, SelectError, StorageError};
use crate::value::on_error::OnError;
use crate::value::rate::Rate;
use crate::value::schedule_request::ScheduleRequest;
use crate::value::steer_outcome::SteerOutcome;
use crate::value::waiting_for::WaitingFor;

/// A group of tasks, which share options: [`Jobber::group`](crate::Jobber::group) and
/// [`Group::group`] return it.
///
/// The names of its tasks begin with the name of the group and a dot. A stored job keeps the whole name.
/// If you move a task into a group or out of it, add its old whole name as an
/// [alias](crate::TaskBuilder::alias). An alias gets no name of a group.
///
/// - Of the [timeouts](Group::timeout) and of the [backoffs](Group::retry), the first that is set counts: of
///   the job, of the task, of its group, of the group around that. A task can't unset a timeout; with
///   `Backoff::exponential(0)` it has no retry.
/// - Of the values of one type of [`state`](Group::state), the first counts: of the group, of the group
///   around it, of the app.
/// - A second call of `timeout`, `retry` or `rate` of a group replaces the first. Of all other options,
///   those of each level count.
///
/// All handles of the same name in an app are the same group. The first task that is registered in it, or
/// in a group in it, fixes its options. A later call changes nothing: then
/// [`register`](crate::TaskBuilder::register) fails for the handle that the call has returned, and the groups
/// made with it. A name is invalid if it is empty or contains a dot: then `register` fails, too.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Backoff, JobContext, MissingState, testing::Simulation};
///
/// struct Folder(&'static str);
///
/// async fn daily(cx: JobContext) -> Result<String, MissingState> {
///     Ok(format!("{}/daily.txt", cx.state::<Folder>()?.0))
/// }
///
/// let mut sim = Simulation::new();
/// let reports = sim
///     .app()
///     .group("reports")
///     .state(Folder("/var/reports"))
///     .limit(2)
///     .timeout(Duration::from_secs(60))
///     .retry(Backoff::exponential(3));
/// let daily = reports.task("daily", daily).register()?;
/// assert_eq!(daily.name(), "reports.daily");
///
/// let job = daily.schedule(()).push().block_on()?;
/// assert_eq!(reports.jobs().len(), 1);
/// sim.run_until_stalled();
/// assert_eq!(*job.result()?, "/var/reports/daily.txt");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a group has no effect without a task"]
pub struct Group {
    hub: Arc<Hub>,
    group: GroupRef,
}

impl Group {
    pub(crate) fn new(hub: Arc<Hub>, parent: Option<&Arc<GroupDef>>, name: &str) -> Self {
        let def = hub.group(parent, name);
        let too_late = None;
        let group = GroupRef { def, too_late };
        Self { hub, group }
    }

    /// The name, which begins with those of the groups around it.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// assert_eq!(app.group("reports").group("weekly").name(), "reports.weekly");
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.group.def.name
    }

    /// The group of this name in this group. Its tasks have the options of both.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let reports = app.group("reports").limit(10);
    /// let weekly = reports.group("weekly").limit(1);
    /// let sales = weekly.task("sales", async || {}).register()?;
    /// assert_eq!(sales.name(), "reports.weekly.sales");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(&self, name: impl AsRef<str>) -> Group {
        let def = &self.group.def;
        let mut new = Self::new(self.hub.clone(), Some(def), name.as_ref());
        new.group.too_late = self.group.too_late;
        new
    }

    /// Begins to register an async function as a task of this group. Otherwise as
    /// [`Jobber::task`](crate::Jobber::task).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let greet = app.group("mail").task("greet", async |to: String| to.len()).register()?;
    /// assert_eq!(greet.name(), "mail.greet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task<H, A, S>(
        &self,
        name: impl Into<String>,
        handler: H,
    ) -> TaskBuilder<A, <<H::Future as Future>::Output as TaskOutput>::Value>
    where
        H: Handler<A, S>,
        H::Future: Future + Send + 'static,
        <H::Future as Future>::Output: TaskOutput,
        A: Clone + Send + Sync + 'static,
        S: 'static,
    {
        let task = TaskBuilder::new(self.hub.clone(), name.into(), handler);
        task.in_group(self.group.clone())
    }

    /// Begins to register a synchronous function as a task of this group. Otherwise as
    /// [`Jobber::blocking_task`](crate::Jobber::blocking_task).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let count = app.group("files").blocking_task("count", |path: String| path.len()).register()?;
    /// assert_eq!(count.name(), "files.count");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocking_task<H, A, S>(
        &self,
        name: impl Into<String>,
        handler: H,
    ) -> TaskBuilder<A, <H::Output as TaskOutput>::Value>
    where
        H: BlockingHandler<A, S>,
        H::Output: TaskOutput,
        A: Clone + Send + Sync + 'static,
        S: 'static,
    {
        let task = TaskBuilder::new_blocking(self.hub.clone(), name.into(), handler);
        task.in_group(self.group.clone())
    }

    fn set<T>(mut self, option: &'static str, set: impl FnOnce(&mut GroupDraft) -> T) -> Self {
        if self.group.def.change(set).is_none() {
            self.group.too_late.get_or_insert(option);
        }
        self
    }

    /// Shares a value with the tasks of this group, in place of one of this type that the app or a
    /// group around this one has. Otherwise as [`JobberBuilder::state`](crate::JobberBuilder::state).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// struct Folder(&'static str);
    ///
    /// let reports = app.group("reports").state(Folder("/var/reports"));
    /// # let _ = reports;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn state<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.set("state", |draft| draft.state.insert(value))
    }

    /// Adds a middleware for the tasks of this group: outside of those of the task and of the groups
    /// in this one, inside of those of the groups around it and of the app. Otherwise as
    /// [`TaskBuilder::around`](crate::TaskBuilder::around).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// use jobber::{JobContext, Next, Outcome};
    ///
    /// async fn log(cx: JobContext, next: Next) -> Outcome {
    ///     println!("{} begins", cx.task_name());
    ///     next.run().await
    /// }
    ///
    /// let reports = app.group("reports").around(log);
    /// # let _ = reports;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn around<F, Fut>(self, middleware: F) -> Self
    where
        F: Fn(JobContext, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.set("around", |draft| draft.around.push(layer(middleware)))
    }

    /// Adds a function that sees each job of this group before it is scheduled, after those of the
    /// app and of the groups around this one. Otherwise as
    /// [`JobberBuilder::on_schedule`](crate::JobberBuilder::on_schedule).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let mail = app.group("mail").on_schedule(|request| {
    ///     request.add_tag("mail");
    ///     Ok(())
    /// });
    /// # let _ = mail;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn on_schedule<F>(self, function: F) -> Self
    where
        F: Fn(&mut ScheduleRequest<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.set("on_schedule", |draft| {
            draft.on_schedule.push(Arc::new(function));
        })
    }

    /// Adds a function that decides what follows a failed attempt of a task of this group, after those of
    /// the task and of the groups in this one, before those of the groups around it and of the app.
    /// Otherwise as [`TaskBuilder::on_error`](crate::TaskBuilder::on_error).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// use jobber::OnError;
    ///
    /// let payments = app.group("payments").on_error(|error, cx| OnError::Fail);
    /// # let _ = payments;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn on_error<F>(self, function: F) -> Self
    where
        F: Fn(&JobError, &JobContext) -> OnError + Send + Sync + 'static,
    {
        self.set("on_error", |draft| draft.on_error.push(on_error(function)))
    }

    /// Adds a function that sees how the jobs of this group end, after those of the task and of the groups
    /// in this one. Otherwise as [`TaskBuilder::on_end`](crate::TaskBuilder::on_end).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let payments = app.group("payments").on_end(|end| println!("{end}"));
    /// # let _ = payments;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn on_end<F>(self, function: F) -> Self
    where
        F: Fn(&EndOfJob) + Send + Sync + 'static,
    {
        self.set("on_end", |draft| draft.on_end.push(Arc::new(function)))
    }

    /// Adds a limit: how many attempts may run at the same time, of all tasks of this group and of the
    /// groups in it together. Otherwise as [`TaskBuilder::limit`](crate::TaskBuilder::limit).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let imports = app.group("imports").limit(4);
    /// # let _ = imports;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn limit(self, limit: impl Into<Limit>) -> Self {
        let limit: Limit = limit.into();
        let limit = limit.as_option(WaitingFor::GroupLimit);
        self.set("limit", |draft| draft.limits.push(limit))
    }

    /// Sets how often attempts may start, of all tasks of this group and of the groups in it together.
    /// Otherwise as [`TaskBuilder::rate`](crate::TaskBuilder::rate).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// use std::time::Duration;
    /// use jobber::Rate;
    ///
    /// let mail = app.group("mail").rate(Rate::new(100, Duration::from_secs(60)));
    /// # let _ = mail;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn rate(self, rate: Rate) -> Self {
        self.set("rate", |draft| draft.rate = Some(rate))
    }

    /// Sets the longest time of an attempt, for the tasks of this group that set none. Otherwise as
    /// [`TaskBuilder::timeout`](crate::TaskBuilder::timeout).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let reports = app.group("reports").timeout(std::time::Duration::from_secs(60));
    /// # let _ = reports;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn timeout(self, limit: Duration) -> Self {
        self.set("timeout", |draft| draft.timeout = Some(limit))
    }

    /// Sets how failed attempts are retried, for the tasks of this group that do not say. Otherwise as
    /// [`TaskBuilder::retry`](crate::TaskBuilder::retry).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let reports = app.group("reports").retry(jobber::Backoff::exponential(3));
    /// # let _ = reports;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn retry(self, backoff: Backoff) -> Self {
        self.set("retry", |draft| draft.backoff = Some(backoff))
    }

    /// `None` if the name is invalid: then it has no jobs, and its text may be the name of another.
    fn selection(&self) -> Option<Selection> {
        let jobs = Jobs::matching().group(self.name());
        let is_valid = self.group.def.is_valid();
        is_valid.then(|| Selection::new(self.hub.clone(), jobs))
    }

    /// The live jobs of this group, and of the groups in it, in no order. Never blocks. It looks at
    /// all live jobs of the app.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// let mail = sim.app().group("mail");
    /// let greet = mail.task("greet", async || {}).register()?;
    /// let job = greet.schedule(()).cron("@daily").block_on()?;
    /// assert_eq!(mail.jobs()[0].id(), job.id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jobs(&self) -> Vec<AnyJob> {
        // It has a condition, without which it would be an error.
        let jobs = self.selection().map(|jobs| jobs.list().unwrap_or_default());
        jobs.unwrap_or_default()
    }

    /// Cancels each live job of this group, and of the groups in it, as [`Job::cancel`](crate::Job::cancel)
    /// does: an attempt that runs goes on. Returns how many were live until then. `.await` it, or end it
    /// with `.block_on()`. A job that is scheduled meanwhile may be left out. Otherwise as
    /// [`Selection::cancel`](crate::Selection::cancel).
    ///
    /// # Errors
    /// [`SelectError::Storage`] if the store fails.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// let mail = sim.app().group("mail");
    /// let greet = mail.task("greet", async || {}).register()?;
    /// let job = greet.schedule(()).cron("@daily").block_on()?;
    /// assert_eq!(mail.cancel().block_on()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) -> Action<Result<usize, SelectError>> {
        match self.selection() {
            Some(jobs) => jobs.cancel(),
            None => Action::new(async { Ok(0) }),
        }
    }

    /// Pauses the group: no attempt of any job of it, or of the groups in it, begins until
    /// [`resume`](Group::resume). An attempt that runs goes on. Otherwise as
    /// [`Task::pause`](crate::Task::pause): the store keeps the pause, and the group of this name is
    /// paused in the next process. A group of an invalid name stays as it is.
    ///
    /// # Errors
    /// If the store could not save it, or is closed: the app has not started or has stopped. Then
    /// nothing is paused.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// let mail = sim.app().group("mail");
    /// let greet = mail.task("greet", async || {}).register()?;
    /// mail.pause().block_on()?;
    /// let job = greet.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(!job.is_done());
    /// mail.resume().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) -> Action<Result<SteerOutcome, StorageError>> {
        let of = Pausable::Group(self.group.def.clone());
        Action::new(self.hub.clone().change_pause(of, PauseChange::Pause))
    }

    /// Ends the pause of the group. Its jobs go on from now, as
    /// [`Job::resume`](crate::Job::resume) says, unless they are paused themselves, or their task, another
    /// group of it or the app is. `.await` it, or end it with [`.block_on()`](Resume::block_on).
    /// Nothing happens before.
    ///
    /// # Errors
    /// As [`pause`](Group::pause): then the group is still paused.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// let mail = sim.app().group("mail");
    /// mail.pause().block_on()?;
    /// assert!(mail.resume().block_on()?.took_effect());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self) -> Resume {
        Resume::of(self.hub.clone(), Pausable::Group(self.group.def.clone()))
    }

    /// Whether the group is paused. A group around it, or the app, may be, too. Never blocks.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// assert!(!sim.app().group("mail").is_paused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_paused(&self) -> bool {
        self.group.def.pause.is_paused()
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.name()).finish()
    }
}
