//! [`Schedule`]: options first, then a trigger.

use std::fmt;
use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime};

use crate::api::request::{Options, Request, Trigger};
use crate::api::submit::Submit;
use crate::calendar::calendar_interval::CalendarInterval;
use crate::calendar::cron::into_cron::IntoCron;
use crate::calendar::misfire::Misfire;
use crate::calendar::zone::into_zone::IntoZone;
use crate::engine::job_state::TaskDef;
use crate::job::plan::Replace;
use crate::sync::primitives::Arc;
use crate::value::backoff::Backoff;
use crate::value::id::JobId;
use crate::value::overlap::Overlap;

/// A job that is not scheduled yet: set options first, then choose a trigger.
/// [`Task::schedule`](crate::Task::schedule) returns it.
///
/// A trigger returns a [`Submit`]. The job is scheduled when that is awaited or ended
/// with [`.block_on()`](Submit::block_on): a wrong option or trigger is reported
/// there, as a [`ScheduleError`](crate::ScheduleError).
///
/// [`push`](Schedule::push), [`delay`](Schedule::delay), [`at`](Schedule::at) and
/// [`at_local`](Schedule::at_local) run a job once. The other triggers run it again and
/// again; a recurring job has one attempt at a time. An option that does not go with the
/// trigger is an error ([`NotRecurring`](crate::ScheduleError::NotRecurring),
/// [`NotApplicable`](crate::ScheduleError::NotApplicable),
/// [`NoStartDate`](crate::ScheduleError::NoStartDate)):
///
/// | option | once | [`every`](Schedule::every) | [`after_each`](Schedule::after_each) | [`every_calendar`](Schedule::every_calendar) | [`cron`](Schedule::cron) |
/// |---|---|---|---|---|---|
/// | [`id`](Schedule::id), [`keep`](Schedule::keep), [`replace`](Schedule::replace), [`replace_any`](Schedule::replace_any), [`generated_id`](Schedule::generated_id), [`in_memory`](Schedule::in_memory), [`unique_for`](Schedule::unique_for), [`when_room`](Schedule::when_room), [`paused`](Schedule::paused), [`priority`](Schedule::priority), [`tag`](Schedule::tag), [`note`](Schedule::note), [`zone`](Schedule::zone), [`expires`](Schedule::expires), [`timeout`](Schedule::timeout), [`retry`](Schedule::retry) | yes | yes | yes | yes | yes |
/// | [`max_runs`](Schedule::max_runs), [`max_failures`](Schedule::max_failures), [`jitter`](Schedule::jitter), [`until`](Schedule::until), [`first_now`](Schedule::first_now), [`pause_on_failure`](Schedule::pause_on_failure) | | yes | yes | yes | yes |
/// | [`misfire`](Schedule::misfire), [`overlap`](Schedule::overlap), [`except`](Schedule::except) | | yes | | yes | yes |
/// | [`start_date`](Schedule::start_date) | | yes | | required | yes |
///
/// ```
/// use std::time::Duration;
/// use jobber::{Jobber, Misfire};
///
/// let app = Jobber::builder().build()?;
/// let poll = app.task("poll", async |feed: String| feed.len()).register()?;
/// app.start().block_on()?;
///
/// let job = poll
///     .schedule("news".into())
///     .id("poll-news")
///     .max_failures(3)
///     .misfire(Misfire::Skip)
///     .every(Duration::from_secs(15))
///     .block_on()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is scheduled until a trigger is chosen, such as push, delay, at, every or cron"]
pub struct Schedule<A, R> {
    task: Arc<TaskDef<A, R>>,
    args: A,
    /// `None` until an option is set: most jobs have none, and `None` is cheap to move.
    options: Option<Box<Options>>,
}

impl<A, R> Schedule<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    pub(crate) fn new(task: Arc<TaskDef<A, R>>, args: A) -> Self {
        Self {
            task,
            args,
            options: None,
        }
    }

    fn options(&mut self) -> &mut Options {
        self.options.get_or_insert_default()
    }

    /// Sets the id of the job: 1 to 1,024 bytes, without control characters. Default: a
    /// generated id, unique and in the order of scheduling.
    ///
    /// If another live job has the id, scheduling fails with
    /// [`ScheduleError::DuplicateJob`](crate::ScheduleError::DuplicateJob), unless
    /// [`keep`](Schedule::keep) or [`replace`](Schedule::replace) is set.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).id("greeting").push().block_on()?;
    /// assert!(sim.app().find_job("greeting").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(mut self, id: impl Into<JobId>) -> Self {
        let options = self.options();
        options.id = Some(id.into());
        options.has_generated_id = false;
        self
    }

    /// Replaces the arguments and the trigger of the live job with this
    /// [`id`](Schedule::id). If no job has this id, it schedules a new one.
    ///
    /// The job stays the same job: existing handles and waits refer to it.
    /// ([`Jobber::declare`](crate::Jobber::declare) does this for the jobs of a program.)
    /// - If it recurs at the same times before and after, only its arguments and options
    ///   change: it keeps the time that it waits for, what it has missed, and a waiting
    ///   retry. The times are the same if the interval and the start date are, or if the cron
    ///   expressions have the same fields, are of the same kind (rate or times of day) and
    ///   are in the same zone. If nothing at all changes for a stored job, nothing is written
    ///   and no event is sent.
    /// - If the times are the same and [`except`](Schedule::except) changes, the job waits for
    ///   the first of them that is not excluded now.
    /// - If the interval changes, the next run is one new interval after the last run, or
    ///   after the scheduling if there was none; at once if that has passed.
    /// - A job that runs once always gets its new time.
    /// - With other times, a run that goes on ends first; until then, the replacement can be
    ///   replaced in the same way. If the job waits for a retry, it starts again with its first
    ///   attempt, and that run has failed.
    /// - If it recurs before and after, it keeps its run number and its number of
    ///   failures in a row, unless the start date changes.
    /// - A recurring job is not replaced by one that runs once, because that would end its
    ///   series: scheduling fails with
    ///   [`ScheduleError::EndsSeries`](crate::ScheduleError::EndsSeries), unless
    ///   [`replace_any`](Schedule::replace_any) is set.
    /// - Without an id, scheduling fails with [`ScheduleError::NoId`](crate::ScheduleError::NoId).
    /// - If the job belongs to another task, scheduling fails with
    ///   [`ScheduleError::DuplicateJob`](crate::ScheduleError::DuplicateJob).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).id("x").delay(minute).block_on()?;
    /// let same = hello.schedule(()).id("x").replace().delay(2 * minute).block_on()?;
    /// assert_eq!(sim.app().jobs().len(), 1);
    /// assert_eq!(job.exec_at(), same.exec_at());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace(mut self) -> Self {
        self.options().replace = Some(Replace::SameKind);
        self
    }

    /// Replaces the live job as [`replace`](Schedule::replace) does, also if it is recurring and
    /// this trigger runs a job once. That ends its series. To run a recurring job once more,
    /// schedule an extra job with another id.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::ScheduleError;
    ///
    /// let job = hello.schedule(()).id("x").cron("@hourly").block_on()?;
    /// let error = hello.schedule(()).id("x").replace().push().block_on().unwrap_err();
    /// assert!(matches!(error, ScheduleError::EndsSeries { .. }));
    ///
    /// hello.schedule(()).id("x").replace_any().push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace_any(mut self) -> Self {
        self.options().replace = Some(Replace::Any);
        self
    }

    /// Returns the live job with this [`id`](Schedule::id) as it is, even if the arguments, the
    /// options or the trigger of this schedule differ. If no job has this id, it schedules a new
    /// one. Use it at the start of a program for jobs that may be changed while it runs.
    ///
    /// - If the job belongs to another task, scheduling fails with
    ///   [`ScheduleError::DuplicateJob`](crate::ScheduleError::DuplicateJob).
    /// - If the job was cancelled during its run, which is then its last one, scheduling fails
    ///   with [`ScheduleError::JobEnding`](crate::ScheduleError::JobEnding).
    /// - Without an id, scheduling fails with [`ScheduleError::NoId`](crate::ScheduleError::NoId);
    ///   together with [`replace`](Schedule::replace), with
    ///   [`ScheduleError::Contradiction`](crate::ScheduleError::Contradiction).
    ///
    /// - If the store has a job of this id that no task can run, scheduling fails with
    ///   [`ScheduleError::UnresolvedJob`](crate::ScheduleError::UnresolvedJob).
    ///
    /// An invalid option or trigger is an error also if the job exists. Whether the trigger is
    /// ever due is checked for a new job only.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let hour = Duration::from_secs(3_600);
    /// let job = hello.schedule(()).id("x").keep().every(hour).block_on()?;
    /// let same = hello.schedule(()).id("x").keep().every(2 * hour).block_on()?;
    /// assert_eq!(same.exec_at(), job.exec_at());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep(mut self) -> Self {
        self.options().keep = true;
        self
    }

    /// Makes a new id for the job, as without [`id`](Schedule::id). Only a durable
    /// recurring job needs this: without an id, each start of the program would add another one,
    /// and so scheduling fails with
    /// [`ScheduleError::RecursWithoutId`](crate::ScheduleError::RecursWithoutId). This option says
    /// that a new job each time is meant. It undoes [`id`](Schedule::id), and `id` undoes it.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use std::time::Duration;
    /// # use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
    /// # let storage = MemoryStorage::new();
    /// # let sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage.clone()))?;
    /// let remind = sim.app().task("remind", async |user: String| println!("{user}"));
    /// let remind = remind.durable().register()?;
    /// let day = Duration::from_secs(24 * 3_600);
    /// let job = remind.schedule("ada".into()).generated_id().every(day).block_on()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generated_id(mut self) -> Self {
        let options = self.options();
        options.id = None;
        options.has_generated_id = true;
        self
    }

    /// Sets the longest time of an attempt of this job, instead of the
    /// [`timeout`](crate::TaskBuilder::timeout) of its task. A timeout of zero, or of more than
    /// 292 years, is an error.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// let slow = sim.app().task("slow", std::future::pending::<()>).register()?;
    /// let job = slow.schedule(()).timeout(Duration::from_secs(5)).push().block_on()?;
    /// sim.advance(Duration::from_secs(5));
    /// assert_eq!(job.status(), jobber::JobStatus::Timeout);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options().timeout = Some(limit);
        self
    }

    /// Sets how often, and after which delays, a failed attempt of this job is retried, instead
    /// of the [`retry`](crate::TaskBuilder::retry) of its task. `Backoff::exponential(0)` makes no
    /// retry.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::Backoff;
    ///
    /// let fails = sim.app().task("fails", async || Err::<(), _>("no")).register()?;
    /// let second = Duration::from_secs(1);
    /// let job = fails.schedule(()).retry(Backoff::fixed(2, second)).push().block_on()?;
    /// sim.advance(second);
    /// assert!(!job.is_done());
    /// sim.advance(second);
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.options().retry = Some(Box::new(backoff));
        self
    }

    /// Sets the priority of the job among those that are due and wait for
    /// [limits](crate::TaskBuilder::limit), instead of that of its
    /// [task](crate::TaskBuilder::priority). The highest is 127.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let (send, sent) = std::sync::mpsc::channel();
    /// let task = sim.app().task("task", move |n: i32| {
    ///     let _ = send.send(n);
    ///     async {}
    /// });
    /// let task = task.limit(1).register()?;
    /// for n in [1, 2, 3] {
    ///     task.schedule(n).priority(n as i8).push().block_on()?;
    /// }
    /// sim.run_until_stalled();
    /// assert_eq!(sent.try_iter().collect::<Vec<_>>(), [1, 3, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn priority(mut self, priority: i8) -> Self {
        self.options().priority = Some(priority);
        self
    }

    /// Adds a tag, by which jobs can be [selected](crate::Jobs::tag). A job has at most 16, with
    /// those of its [task](crate::TaskBuilder::tag), of 64 bytes each, without control characters. A
    /// stored job keeps them.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::Jobs;
    ///
    /// let job = hello.schedule(()).tag("nightly").cron("@daily").block_on()?;
    /// assert_eq!(job.tags(), ["nightly".into()]);
    /// assert_eq!(sim.app().select(Jobs::matching().tag("nightly")).count()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.options().labels.tag(tag.into().into());
        self
    }

    /// Adds a note: a text under a key, for people. A job has at most 16, with those of its
    /// [task](crate::TaskBuilder::note), with a key of 64 bytes and a text of 1,024, without control
    /// characters. A second note of a key replaces the first. A stored job keeps them.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).note("ticket", "OPS-17").cron("@daily").block_on()?;
    /// assert_eq!(job.note("ticket").as_deref(), Some("OPS-17"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn note(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options()
            .labels
            .note(key.into().into(), value.into().into());
        self
    }

    /// Pauses the new job: it does not start until [`resume`](crate::Job::resume). If the schedule
    /// [replaces](Schedule::replace) or [keeps](Schedule::keep) a live job, that stays paused or not,
    /// as it is.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).paused().push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_paused() && !job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn paused(mut self) -> Self {
        self.options().is_paused = true;
        self
    }

    /// Pauses the job after a run that has failed for good, until [`resume`](crate::Job::resume) is
    /// called. For recurring jobs.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// let fails = sim.app().task("fails", async || Err::<(), _>("no")).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = fails.schedule(()).pause_on_failure().every(minute).block_on()?;
    /// sim.advance(10 * minute);
    /// assert!(job.is_paused());
    /// assert_eq!(job.last_run().unwrap().number, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause_on_failure(mut self) -> Self {
        self.options().recurring.pause_on_failure = true;
        self
    }

    /// Sets what happens if the next run of a recurring job is due while an attempt goes on.
    /// Default: [`Overlap::Wait`](crate::Overlap::Wait). Not for
    /// [`after_each`](Schedule::after_each), whose runs never overlap.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::Overlap;
    ///
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).overlap(Overlap::CancelRunning).every(minute).block_on()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.options().recurring.overlap = Some(overlap);
        self
    }

    /// Keeps the [id](Schedule::id) of this job taken for a time after its end, however it ends
    /// (a unique job): scheduling another job with this id then fails with
    /// [`ScheduleError::DuplicateJob`](crate::ScheduleError::DuplicateJob), which says how the job
    /// ended. Without this option an id is free at the end.
    ///
    /// - The wall clock counts the time. The store keeps the ids of stored jobs, so that they stay
    ///   taken in the next process (if a full store has room for them); those of jobs in memory
    ///   end with the process.
    /// - At the end of the time, the id is free. For a recurring job the time begins when its series
    ///   ends. While a job is live, its id is taken in any case.
    /// - [`replace`](Schedule::replace), a [declaration](crate::Jobber::declare) and the
    ///   [retry of a failed job](crate::FailedJob::retry) schedule the job again all the same.
    ///   Scheduling with [`keep`](Schedule::keep) fails, because no job is live that it could keep.
    /// - If the job of an id has ended several times, the last end of one with this option counts.
    ///
    /// Without an id, scheduling fails with [`ScheduleError::NoId`](crate::ScheduleError::NoId).
    /// A time of zero is refused, and one of more than 292 years.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let mail = sim.app().task("mail", || async {}).register()?;
    /// use jobber::{JobStatus, ScheduleError};
    ///
    /// let hour = Duration::from_secs(3_600);
    /// let welcome = || mail.schedule(()).id("welcome/ada").unique_for(hour).push().block_on();
    /// let job = welcome()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// match welcome() {
    ///     Err(ScheduleError::DuplicateJob { ended: Some(ended), .. }) => {
    ///         assert_eq!(ended.status, JobStatus::Success);
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// sim.advance(hour);
    /// welcome()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unique_for(mut self, time: Duration) -> Self {
        self.options().unique_for = Some(time);
        self
    }

    /// Keeps this job in memory only, even if its task is durable: the job ends with
    /// the process.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use std::time::Duration;
    /// # use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
    /// # let storage = MemoryStorage::new();
    /// # let sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage.clone()))?;
    /// # let hello = sim.app().task("hello", || async {}).durable().register()?;
    /// let job = hello.schedule(()).in_memory().push().block_on()?;
    /// assert!(storage.records().is_empty());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_memory(mut self) -> Self {
        self.options().in_memory = true;
        self
    }

    /// Makes scheduling wait, instead of fail, while too many jobs are live
    /// ([`TaskBuilder::max_pending`](crate::TaskBuilder::max_pending),
    /// [`JobberBuilder::max_pending`](crate::JobberBuilder::max_pending)). Both `.await` and
    /// `.block_on()` wait until others have ended. If the app stops, they fail with
    /// [`ScheduleError::Stopped`](crate::ScheduleError::Stopped).
    ///
    /// - Callers that wait are woken in the order in which they began to wait, one for each place
    ///   that becomes free. Another caller that comes at that moment may take the place.
    /// - [`Task::schedule_many`](crate::Task::schedule_many) waits until there is room for all of its
    ///   jobs, if one of them has this option. It has no place in that order. More jobs than are
    ///   allowed at once fail.
    /// - A delay counts from before the wait.
    /// - A [declaration](crate::Jobber::declare) does not wait.
    ///
    /// # Deadlock
    /// An attempt that waits here for room, and is itself of the task that is full, may wait for
    /// ever: it is one of the live jobs. So may any attempt, if the app is full.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// let hello = sim.app().task("hello", || async {}).max_pending(1).register()?;
    /// hello.schedule(()).push().block_on()?;
    /// let second = hello.schedule(()).when_room().push();
    /// let second = std::thread::spawn(|| second.block_on());
    /// sim.run_until_stalled();
    /// second.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn when_room(mut self) -> Self {
        self.options().when_room = true;
        self
    }

    /// Sets the time zone of the job: a [`Zone`](crate::Zone), a fixed
    /// [`UtcOffset`](time::UtcOffset) or, with the feature `tz`, a name such as
    /// `"Europe/Berlin"`. Default: the zone of the app.
    ///
    /// The cron expression is read in this zone, as are the times of `at_local`,
    /// `every_calendar` and [`except`](Schedule::except). The job shows its times in it.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let zone = time::macros::offset!(+9);
    /// let job = hello.schedule(()).zone(zone).cron("0 12 * * *").block_on()?;
    /// assert_eq!(job.exec_at().offset(), zone);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zone(mut self, zone: impl IntoZone) -> Self {
        self.options().zone = Some(zone.into_zone().map(Box::new));
        self
    }

    /// Sets how late an attempt may start: no attempt of a run starts later than `limit` after
    /// the run was due, whether it waits for a thread of the executor, for a retry, or for the
    /// app to be started again. Default: no limit. A limit of zero, or of more than 292 years,
    /// is an error. An attempt that has started goes on: see
    /// [`timeout`](crate::TaskBuilder::timeout).
    ///
    /// - A job that runs once then ends as `CANCELLED`, with
    ///   [`JobError::Expired`](crate::JobError::Expired). The job ends when an attempt fails and
    ///   its retry would start too late, or when an attempt is about to start too late.
    /// - A recurring job leaves the run out, as one that it has missed, and goes on:
    ///   [`misfire`](Schedule::misfire) picks among the times that have not expired. If an
    ///   attempt of the run has failed, the run ends with the status of that attempt, and counts
    ///   for [`max_failures`](Schedule::max_failures). With
    ///   [`after_each`](Schedule::after_each), a new pause begins. If no time is left, the job
    ///   ends as its last run did, or as `CANCELLED` if it never ran.
    ///
    /// The limit is counted from the nominal time and the jitter of the run. A run for a missed
    /// time is counted from that time, and [`at`](Schedule::at) with a time in the past from
    /// then. A delay, a pause and an interval are counted on the monotonic clock, other triggers
    /// and stored jobs of an earlier process on the wall clock; by a wall clock that was never
    /// set nothing expires.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::JobError;
    /// let call = sim.app().task("call", async || Err::<(), _>("busy"));
    /// let call = call.retry(jobber::Backoff::fixed(9, Duration::from_secs(40))).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = call.schedule(()).expires(minute).push().block_on()?;
    /// sim.advance(minute); // attempts after 0 and 40 seconds, but none after 80
    /// assert!(matches!(job.result(), Err(JobError::Expired { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expires(mut self, limit: Duration) -> Self {
        self.options().expires = Some(limit);
        self
    }

    /// For recurring jobs: ends the job after `max` runs, with the status of the last
    /// run. At least 1. Default: no limit. A run with retries counts once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let second = Duration::from_secs(1);
    /// let job = hello.schedule(()).max_runs(2).every(second).block_on()?;
    /// sim.advance(5 * second);
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_runs(mut self, max: u64) -> Self {
        self.options().recurring.max_runs = Some(max);
        self
    }

    /// For recurring jobs: ends the job with the status
    /// [`PermanentlyFailed`](crate::JobStatus::PermanentlyFailed) after `max` failed
    /// runs in a row. At least 1. Default: no limit, so that a job survives an outage of any
    /// length. A successful run sets the count to 0.
    ///
    /// Before the event of the end there is one with the reason,
    /// [`FailedTooOften`](crate::JobEventKind::FailedTooOften).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::JobStatus;
    /// let fails = sim.app().task("fails", async || Err::<(), _>("no")).register()?;
    /// let second = Duration::from_secs(1);
    /// let job = fails.schedule(()).max_failures(3).every(second).block_on()?;
    /// sim.advance(3 * second);
    /// assert_eq!(job.status(), JobStatus::PermanentlyFailed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_failures(mut self, max: u32) -> Self {
        self.options().recurring.max_failures = Some(max);
        self
    }

    /// For recurring jobs: sets what happens to missed runs. Default:
    /// [`Misfire::Once`].
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::Misfire;
    /// let job = hello.schedule(()).misfire(Misfire::Skip).cron("@hourly").block_on()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn misfire(mut self, misfire: Misfire) -> Self {
        self.options().recurring.misfire = Some(misfire);
        self
    }

    /// For recurring jobs: sets the time before which no run is due.
    ///
    /// | | without a start date | start date in the future | start date in the past |
    /// |---|---|---|---|
    /// | [`every`](Schedule::every): first run | one interval from now | at the start date | the first time after now that is a whole number of intervals after the start date |
    /// | [`cron`](Schedule::cron): first run | the next match | the first match at or after the start date | the next match |
    ///
    /// Times before now are not missed runs: the job is due from now on. A start date that is
    /// at most a second ago counts as now: `.start_date(now)` runs at once.
    ///
    /// An interval with a start date is due by the wall clock, as cron is.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let start = time::macros::datetime!(2000-01-02 0:00 UTC);
    /// let job = hello.schedule(()).start_date(start).every(Duration::from_secs(60)).block_on()?;
    /// assert_eq!(job.exec_at(), start);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_date(mut self, start: OffsetDateTime) -> Self {
        self.options().recurring.start_date = Some(start);
        self
    }

    /// For recurring jobs: sets the time after which no run is due. A run whose nominal time
    /// is exactly then is the last. The job then ends as its last run did, or as `CANCELLED`
    /// if it never ran. If no run is due up to then, scheduling fails with
    /// [`ScheduleError::NeverDue`](crate::ScheduleError::NeverDue).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let until = time::macros::datetime!(2000-01-03 12:00 UTC);
    /// let job = hello.schedule(()).until(until).cron("0 12 * * *").block_on()?;
    /// sim.advance(Duration::from_secs(5 * 86_400));
    /// assert!(job.is_done());
    /// assert_eq!(job.last_run().unwrap().number, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn until(mut self, until: OffsetDateTime) -> Self {
        self.options().recurring.until = Some(until);
        self
    }

    /// For recurring jobs: leaves out the times of a calendar, which the app has under this name
    /// ([`JobberBuilder::calendar`](crate::JobberBuilder::calendar)). What the clocks of the
    /// job's [zone](Schedule::zone) show at a time decides ([`Exclusions`](crate::Exclusions)).
    ///
    /// - An excluded time is not a time of the job: it is not missed, and no run starts for it
    ///   later. A run that is late, or that waits for a retry, may start at a time that is
    ///   excluded.
    /// - If all later times are excluded, or 10,000 in a row, scheduling fails with
    ///   [`ScheduleError::NeverDue`](crate::ScheduleError::NeverDue). Later the job ends as its
    ///   last run did, or as `CANCELLED` if it never ran, after the event
    ///   [`AllExcluded`](crate::JobEventKind::AllExcluded). All times of one exclusion, such as
    ///   a night, count as one.
    /// - The first run of [`first_now`](Schedule::first_now) is not left out.
    /// - A name that is not registered is an error
    ///   ([`UnknownCalendar`](crate::ScheduleError::UnknownCalendar)).
    ///
    /// ```
    /// # use jobber::testing::{ManualClock, Simulation};
    /// use jobber::Exclusions;
    /// use time::{Weekday, macros::datetime};
    ///
    /// let weekend = Exclusions::new().weekday(Weekday::Saturday).weekday(Weekday::Sunday);
    /// # let sim = Simulation::with(0, ManualClock::new(), |app| app.calendar("weekend", weekend))?;
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// // The clock of the simulation stands at a Saturday's midnight.
    /// let job = hello.schedule(()).except("weekend").cron("0 9 * * *").block_on()?;
    /// assert_eq!(job.exec_at(), datetime!(2000-01-03 9:00 UTC));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn except(mut self, calendar: impl Into<String>) -> Self {
        self.options().recurring.except = Some(calendar.into());
        self
    }

    /// For recurring jobs: the first run is now, and its nominal time is this moment. The
    /// others come as the trigger says; those of [`every`](Schedule::every) are counted from
    /// the first. [`jitter`](Schedule::jitter) does not delay it. It applies when the job is made, and not when a job is replaced or declared
    /// again.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).first_now().cron("0 12 * * *").block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(job.last_run().unwrap().number, 1);
    /// assert_eq!(job.exec_at(), time::macros::datetime!(2000-01-01 12:00 UTC));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_now(mut self) -> Self {
        self.options().recurring.first_now = true;
        self
    }

    /// For recurring jobs: delays the start of each run by a random time, from 0 to
    /// `jitter`, which is drawn for each run. Jobs that are due at the same time then start at different times. A run
    /// always starts before the next time of its job, and its nominal time does not
    /// change. Default: 0.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello
    ///     .schedule(())
    ///     .jitter(Duration::from_secs(90))
    ///     .cron("@hourly")
    ///     .block_on()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.options().recurring.jitter = Some(jitter);
        self
    }

    /// Runs the job once, now.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push(self) -> Submit<A, R> {
        self.on(Trigger::Push)
    }

    /// Runs the job once, after `delay`. It counts on the monotonic clock: setting the
    /// wall clock does not change it, and on Linux the time during which the machine is
    /// suspended does not count. The latest due time is in the year 2262.
    ///
    /// A stored delay follows the wall clock in the next process, because no other clock goes
    /// on. It is then due after its own length at the latest, whatever the wall clock shows.
    ///
    /// The delay starts when the [`Submit`] is awaited or ended with `.block_on()`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).delay(Duration::from_secs(600)).block_on()?;
    /// sim.advance(Duration::from_secs(600));
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delay(self, delay: Duration) -> Submit<A, R> {
        self.on(Trigger::Delay(delay))
    }

    /// Runs the job once, when the wall clock shows `time` or later: at once if `time`
    /// has passed. It follows the wall clock when that is set. Allowed are the years
    /// 1677 to 2262.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).at(time::macros::datetime!(2000-01-01 12:00 UTC)).block_on()?;
    /// sim.advance(std::time::Duration::from_secs(12 * 3_600));
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at(self, time: OffsetDateTime) -> Submit<A, R> {
        self.on(Trigger::At(time))
    }

    /// Runs the job once, when the clocks of the job's [zone](Schedule::zone) show this date
    /// and time: "24 December, 18:00 in Berlin". A time that a clock change leaves out is due
    /// at the first instant after it; a time that clocks show twice is due at the first pass
    /// ([`Zone::at_local`](crate::Zone::at_local)). A stored job keeps the local time: it
    /// follows if the rules of the zone have changed in the next process.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use time::macros::{datetime, offset};
    ///
    /// let schedule = hello.schedule(()).zone(offset!(+1));
    /// let job = schedule.at_local(datetime!(2000-12-24 18:00)).block_on()?;
    /// assert_eq!(job.exec_at(), datetime!(2000-12-24 18:00 +1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at_local(self, time: PrimitiveDateTime) -> Submit<A, R> {
        self.on(Trigger::AtLocal(time))
    }

    /// Runs the job again and again, each time `pause` after the end of the run before (of
    /// its last attempt). The first run is `pause` after the scheduling. It misses nothing,
    /// however long a run takes.
    ///
    /// It counts on the monotonic clock, and in the next process as
    /// [`delay`](Schedule::delay) does.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// let (clock, second) = (sim.clock(), Duration::from_secs(1));
    /// let slow = sim.app().task("slow", move || clock.sleep(5 * second)).register()?;
    /// let job = slow.schedule(()).after_each(10 * second).block_on()?;
    /// sim.advance(30 * second); // runs from 10 to 15, and from 25 to 30
    /// assert_eq!(job.last_run().unwrap().number, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn after_each(self, pause: Duration) -> Submit<A, R> {
        self.on(Trigger::AfterEach(pause))
    }

    /// Runs the job again and again, once each number of days, weeks, months or years, at the
    /// same time of the clocks of its [zone](Schedule::zone). The times are counted from the
    /// [`start_date`](Schedule::start_date), which is the first of them: from 31 January, each
    /// month is 28 or 29 February and then 31 March. [`CalendarInterval`] has the rules for
    /// clock changes.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::CalendarInterval;
    /// use time::macros::datetime;
    ///
    /// let schedule = hello.schedule(()).start_date(datetime!(2000-01-31 9:00 UTC));
    /// let job = schedule.every_calendar(CalendarInterval::MONTH).block_on()?;
    /// let times = ["01-31", "02-29", "03-31"];
    /// let upcoming: Vec<_> = job.upcoming(3).iter().map(|time| time.date().to_string()).collect();
    /// assert_eq!(upcoming, times.map(|date| format!("2000-{date}")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn every_calendar(self, interval: CalendarInterval) -> Submit<A, R> {
        self.on(Trigger::Calendar(interval))
    }

    /// Runs the job again and again, at a fixed rate: the first run is due one interval
    /// from now, the second two intervals from now, and so on. How long a run takes does
    /// not move these times. Use [`start_date`](Schedule::start_date) for another first
    /// run.
    ///
    /// If a run takes longer than the interval, the times that pass meanwhile are
    /// missed: [`misfire`](Schedule::misfire) sets what happens to them. The interval
    /// counts on the monotonic clock, so that setting the wall clock does not move it, and on
    /// Linux the time during which the machine is suspended does not count. With a
    /// [`start_date`](Schedule::start_date) it counts on the wall clock: times that pass
    /// during a suspend are missed, and the job goes on with the next of its times.
    ///
    /// A stored job follows the wall clock in the next process until it has run. It is then
    /// due after one interval and the jitter that was drawn for it at the latest, whatever the
    /// wall clock shows.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).every(Duration::from_secs(15)).block_on()?;
    /// sim.advance(Duration::from_secs(60));
    /// assert_eq!(job.last_run().unwrap().number, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn every(self, interval: Duration) -> Submit<A, R> {
        self.on(Trigger::Every(interval))
    }

    /// Runs the job whenever the wall clock matches a cron expression, in the zone of
    /// the job. [`Cron`](crate::cron::Cron) describes the grammar, and what happens when clocks change.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let report = sim.app().task("report", || async {}).register()?;
    /// let job = report
    ///     .schedule(())
    ///     .zone(time::macros::offset!(+1))
    ///     .cron("30 6 * * MON-FRI")
    ///     .block_on()?;
    /// // The clock of the simulation stands at a Saturday's midnight, UTC.
    /// assert_eq!(job.exec_at(), time::macros::datetime!(2000-01-03 6:30 +1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cron(self, cron: impl IntoCron) -> Submit<A, R> {
        self.on(Trigger::Cron(Box::new(cron.into_cron())))
    }

    fn on(self, trigger: Trigger) -> Submit<A, R> {
        Submit::new(Request {
            task: self.task,
            args: self.args,
            options: self.options,
            trigger,
        })
    }
}

impl<A, R> fmt::Debug for Schedule<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("task", &self.task.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
