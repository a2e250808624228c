//! [`ScheduleRequest`]: what a program is about to schedule.

use std::fmt;
use std::time::Duration;

use crate::sync::primitives::Arc;
use crate::value::error::BoxError;
use crate::value::id::JobId;
use crate::value::labels::Labels;

/// Sees each job that is about to be scheduled, and may refuse it. Code of a user.
pub(crate) type OnSchedule =
    Arc<dyn Fn(&mut ScheduleRequest<'_>) -> Result<(), BoxError> + Send + Sync>;

/// A job that is about to be scheduled: [`JobberBuilder::on_schedule`](crate::JobberBuilder::on_schedule)
/// sees it, and may change some of its options.
pub struct ScheduleRequest<'a> {
    pub(crate) task: &'a str,
    pub(crate) id: Option<&'a JobId>,
    pub(crate) trigger: &'static str,
    pub(crate) labels_of_task: &'a Labels,
    pub(crate) labels: &'a mut Labels,
    pub(crate) priority: &'a mut Option<i8>,
    pub(crate) timeout: &'a mut Option<Duration>,
}

impl ScheduleRequest<'_> {
    /// The name of the task.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// app.on_schedule(|request| match request.task() {
    ///     "mail" => Err("no mail on this machine".into()),
    ///     _ => Ok(()),
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn task(&self) -> &str {
        self.task
    }

    /// The [id](crate::Schedule::id), if the program has set one.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// app.on_schedule(|request| match request.id() {
    ///     Some(_) => Ok(()),
    ///     None => Err("each job of this app has an id".into()),
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn id(&self) -> Option<&JobId> {
        self.id
    }

    /// The name of the trigger: the method of [`Schedule`](crate::Schedule) that sets it, such as
    /// `push` or `cron`.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// app.on_schedule(|request| {
    ///     println!("{}: {}", request.task(), request.trigger());
    ///     Ok(())
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn trigger(&self) -> &'static str {
        self.trigger
    }

    /// The tags of the job: those of its task, then its own.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// app.on_schedule(|request| match request.tags().any(|tag| tag.starts_with("team-")) {
    ///     true => Ok(()),
    ///     false => Err("whose job is it?".into()),
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let of_task = &self.labels_of_task.tags;
        let own = self.labels.tags.iter().filter(|tag| !of_task.contains(tag));
        of_task.iter().chain(own).map(|tag| &**tag)
    }

    /// The priority that [`Schedule::priority`](crate::Schedule::priority) has set.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// app.on_schedule(|request| match request.priority() {
    ///     Some(11..) => Err("nothing is as urgent as that".into()),
    ///     _ => Ok(()),
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn priority(&self) -> Option<i8> {
        *self.priority
    }

    /// The timeout that [`Schedule::timeout`](crate::Schedule::timeout) has set.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// use std::time::Duration;
    ///
    /// app.on_schedule(|request| {
    ///     if request.timeout().is_none() {
    ///         request.set_timeout(Duration::from_secs(60));
    ///     }
    ///     Ok(())
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn timeout(&self) -> Option<Duration> {
        *self.timeout
    }

    /// Adds a tag to the job, as [`Schedule::tag`](crate::Schedule::tag) does.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// app.on_schedule(|request| {
    ///     request.add_tag("of-this-machine");
    ///     Ok(())
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn add_tag(&mut self, tag: impl Into<String>) {
        self.labels.tag(tag.into().into());
    }

    /// Adds a note to the job, as [`Schedule::note`](crate::Schedule::note) does.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// app.on_schedule(|request| {
    ///     request.add_note("host", "alpha");
    ///     Ok(())
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn add_note(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.labels.note(key.into().into(), value.into().into());
    }

    /// Sets the priority of the job, as [`Schedule::priority`](crate::Schedule::priority) does.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// app.on_schedule(|request| {
    ///     if request.tags().any(|tag| tag == "background") {
    ///         request.set_priority(-10);
    ///     }
    ///     Ok(())
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn set_priority(&mut self, priority: i8) {
        *self.priority = Some(priority);
    }

    /// Sets the timeout of each attempt of the job, as
    /// [`Schedule::timeout`](crate::Schedule::timeout) does.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
    /// use std::time::Duration;
    ///
    /// app.on_schedule(|request| {
    ///     request.set_timeout(Duration::from_secs(60));
    ///     Ok(())
    /// })
    /// # })?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn set_timeout(&mut self, timeout: Duration) {
        *self.timeout = Some(timeout);
    }
}

impl fmt::Debug for ScheduleRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduleRequest")
            .field("task", &self.task)
            .field("id", &self.id)
            .field("trigger", &self.trigger)
            .finish_non_exhaustive()
    }
}
