//! [`Schedule`]: options first, then a trigger.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use crate::api::job::Job;
use crate::calendar::cron::expression::{Cron, IntoCron};
use crate::calendar::recurrence::{Misfire, Recurrence, Ticks};
use crate::calendar::zone::time_zone::{IntoZone, Zone};
use crate::engine::hub::When;
use crate::engine::run::{JobState, TaskDef};
use crate::job::progress::{DEFAULT_MAX_FAILURES, Limits, Line, Plan, Recurring};
use crate::sync::primitives::Arc;
use crate::value::clock::{Due, MAX_DURATION, Now, to_nanos, to_wall, wall_range};
use crate::value::error::{CronError, ScheduleError, ZoneError};
use crate::value::id::JobId;

pub use crate::api::submit::Submit;
use crate::api::submit::{Submission, Submitted};

/// A job that is not scheduled yet: set options first, then choose a trigger.
/// [`Task::schedule`](crate::Task::schedule) returns it.
///
/// A trigger returns a [`Submit`]. The job is scheduled when that is awaited or ended
/// with [`.block_on()`](Submit::block_on): a wrong option or trigger is reported
/// there, as a [`ScheduleError`].
///
/// Triggers: [`push`](Schedule::push), [`delay`](Schedule::delay) and
/// [`at`](Schedule::at) run a job once; [`every`](Schedule::every) and
/// [`cron`](Schedule::cron) run it again and again. A recurring job has one attempt
/// at a time.
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
#[must_use = "nothing is scheduled until a trigger is chosen: push, delay, at, every or cron"]
pub struct Schedule<A, R> {
    task: Arc<TaskDef<A, R>>,
    args: A,
    /// `None` until an option is set: most jobs have none, and `None` is cheap to move.
    options: Option<Box<Options>>,
}

#[derive(Debug, Default)]
struct Options {
    id: Option<JobId>,
    replace: bool,
    in_memory: bool,
    zone: Option<Result<Box<Zone>, ZoneError>>,
    recurring: RecurringOptions,
}

#[derive(Clone, Copy, Debug, Default)]
struct RecurringOptions {
    max_runs: Option<u64>,
    max_failures: Option<u32>,
    misfire: Option<Misfire>,
    start_date: Option<OffsetDateTime>,
    jitter: Option<Duration>,
}

impl RecurringOptions {
    const NONE: Self = Self {
        max_runs: None,
        max_failures: None,
        misfire: None,
        start_date: None,
        jitter: None,
    };

    /// The name of the first option that is set.
    fn any(&self) -> Option<&'static str> {
        [
            ("max_runs", self.max_runs.is_some()),
            ("max_failures", self.max_failures.is_some()),
            ("misfire", self.misfire.is_some()),
            ("start_date", self.start_date.is_some()),
            ("jitter", self.jitter.is_some()),
        ]
        .into_iter()
        .find_map(|(option, is_set)| is_set.then_some(option))
    }
}

/// What makes a job due.
#[derive(Clone, Debug)]
pub(crate) enum Trigger {
    Push,
    Delay(Duration),
    At(OffsetDateTime),
    Every(Duration),
    /// In a box, because the other variants are small.
    Cron(Box<Result<Cron, CronError>>),
}

impl Trigger {
    fn name(&self) -> &'static str {
        match self {
            Trigger::Push => "push",
            Trigger::Delay(_) => "delay",
            Trigger::At(_) => "at",
            Trigger::Every(_) => "every",
            Trigger::Cron(_) => "cron",
        }
    }
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

    /// Sets the id of the job: 1 to 200 bytes, without control characters. Default: a
    /// generated id, unique and in the order of scheduling.
    ///
    /// If another live job has the id, scheduling fails with
    /// [`ScheduleError::DuplicateJob`], unless [`replace`](Schedule::replace) is set.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).id("greeting").push().block_on()?;
    /// assert!(sim.app().find_job("greeting").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(mut self, id: impl Into<JobId>) -> Self {
        self.options().id = Some(id.into());
        self
    }

    /// Replaces the arguments and the trigger of the live job with this
    /// [`id`](Schedule::id). If there is no such job, a new job is made.
    ///
    /// The job stays the same job: existing handles and waits refer to it.
    /// - If it runs, the run ends first. Then the new arguments and trigger apply.
    /// - If it waits for a retry, it starts again with its first attempt.
    /// - If it recurs before and after, it keeps its run number and its number of
    ///   failures in a row, unless the start date changes.
    /// - If the job belongs to another task, scheduling fails with
    ///   [`ScheduleError::DuplicateJob`].
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
        self.options().replace = true;
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

    /// Sets the time zone of the job: a [`Zone`], a fixed
    /// [`UtcOffset`](time::UtcOffset) or, with the feature `tz`, a name such as
    /// `"Europe/Berlin"`. Default: the zone of the app.
    ///
    /// The cron expression is read in this zone, and the job shows its times in it.
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
    /// runs in a row. At least 1. Default: 10. A successful run sets the count to 0.
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
    /// A time in the past is no missed run: the job is only due from now on.
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

    /// For recurring jobs: delays each run by a random time, from 0 to `jitter`, but
    /// not up to the next run. Jobs that are due at the same time then start at
    /// different times. The nominal time of the run does not change. Default: 0.
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
    /// wall clock does not change it. The latest due time is in the year 2262.
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

    /// Runs the job again and again, at a fixed rate: the first run is due one interval
    /// from now, the second two intervals from now, and so on. How long a run takes does
    /// not move these times. Use [`start_date`](Schedule::start_date) for another first
    /// run.
    ///
    /// If a run takes longer than the interval, the times that pass meanwhile are
    /// missed: [`misfire`](Schedule::misfire) sets what happens to them. The interval
    /// counts on the monotonic clock, so that setting the wall clock does not move it.
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
    /// the job. [`Cron`] describes the grammar, and what happens when clocks change.
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
        Submit::new(self, trigger)
    }

    /// Checks the options, then does what is possible without waiting.
    pub(crate) fn submit(self, trigger: Trigger) -> Result<Submitted<A, R>, ScheduleError> {
        let Self {
            task,
            args,
            mut options,
        } = self;
        let id = options.as_mut().and_then(|options| options.id.take());
        let zone = options.as_mut().and_then(|options| options.zone.take());
        let replace = options.as_ref().is_some_and(|options| options.replace);
        let in_memory = options.as_ref().is_some_and(|options| options.in_memory);
        let recurring = options.as_ref().map(|options| &options.recurring);
        let hub = &task.hub;
        let now = match trigger {
            // A job in memory only displays its wall time: a cached clock will do.
            Trigger::Push | Trigger::Delay(_) if task.durability.is_none() => {
                hub.clock.cached_now()
            }
            _ => hub.clock.now(),
        };
        let (mut plan, when) = plan(&task, trigger, recurring, zone, now)?;
        let text = match task.encode(&args) {
            Some(text) if !in_memory => Some(text?),
            _ => None,
        };
        if text.is_none() && !replace {
            let job = JobState::new(task.clone(), args, plan, when == When::Now);
            let mut job = Arc::new(job);
            hub.admit(&mut job, id, when, now)?;
            return Ok(Submitted::Done(Job::new(job)));
        }
        plan.is_durable = text.is_some();
        let submission = Submission {
            task,
            id,
            replace,
            plan,
            when,
            text,
            now,
        };
        submission.begin(args)
    }
}

/// When a trigger is due first, with the plan that follows from it.
fn plan<A, R>(
    task: &TaskDef<A, R>,
    trigger: Trigger,
    options: Option<&RecurringOptions>,
    zone: Option<Result<Box<Zone>, ZoneError>>,
    now: Now,
) -> Result<(Plan, When), ScheduleError>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let hub = &task.hub;
    let random = || hub.random();
    let is_recurring = matches!(trigger, Trigger::Every(_) | Trigger::Cron(_));
    if !is_recurring && let Some(option) = options.and_then(RecurringOptions::any) {
        return Err(ScheduleError::NotRecurring {
            option,
            trigger: trigger.name(),
        });
    }
    let options = options.unwrap_or(&RecurringOptions::NONE);
    let zone = zone.transpose().map_err(ScheduleError::Zone)?;
    let (due, recurring) = match trigger {
        Trigger::Push => {
            let plan = Plan::new(zone, Due::Mono(now.mono), None, now);
            return Ok((plan, When::Now));
        }
        Trigger::Delay(delay) => (Due::Mono(after(now, delay, "delay")?), None),
        Trigger::At(time) => (Due::Wall(wall(time)?), None),
        Trigger::Every(interval) => {
            let recurring = options.every(interval, now)?;
            (recurring.first_due(random), Some(Box::new(recurring)))
        }
        Trigger::Cron(cron) => {
            let cron = (*cron).map_err(ScheduleError::Cron)?;
            let zone = zone.as_deref().unwrap_or(&hub.zone);
            let recurring = options.cron(cron, zone.clone(), now)?;
            (recurring.first_due(random), Some(Box::new(recurring)))
        }
    };
    let plan = Plan::new(zone, due, recurring, now);
    let kind = task.key_kind(plan.is_plain());
    Ok((plan, When::At(due, kind)))
}

impl RecurringOptions {
    fn limits(&self) -> Result<Limits, ScheduleError> {
        if self.max_runs == Some(0) {
            return Err(ScheduleError::ZeroLimit { option: "max_runs" });
        }
        if self.max_failures == Some(0) {
            return Err(ScheduleError::ZeroLimit {
                option: "max_failures",
            });
        }
        Ok(Limits {
            max_runs: self.max_runs,
            max_failures: self.max_failures.unwrap_or(DEFAULT_MAX_FAILURES),
        })
    }

    fn ticks(&self, recurrence: Recurrence) -> Result<Ticks, ScheduleError> {
        let mut ticks = Ticks::new(recurrence, self.misfire.unwrap_or_default());
        if let Some(jitter) = self.jitter {
            ticks.jitter = to_nanos(jitter).ok_or(ScheduleError::DurationTooLong {
                field: "jitter",
                value: jitter,
                max: MAX_DURATION,
            })?;
        }
        Ok(ticks)
    }

    fn cron(&self, cron: Cron, zone: Zone, now: Now) -> Result<Recurring, ScheduleError> {
        let limits = self.limits()?;
        let start_date = self.start_date.map(wall).transpose()?;
        // `- 1`: a match at the start date itself counts.
        let after = start_date.map_or(now.wall, |start| now.wall.max(start.saturating_sub(1)));
        let never = ScheduleError::NeverDue {
            expression: cron.to_string(),
            after: zone.time_at(after),
        };
        let cron = Arc::new(cron);
        let recurrence = Recurrence::Cron { cron, zone };
        let nominal = recurrence.next_after(after).ok_or(never)?;
        let ticks = self.ticks(recurrence)?;
        Ok(Recurring::new(
            ticks,
            Line::Wall,
            limits,
            start_date,
            after,
            nominal,
        ))
    }

    fn every(&self, interval: Duration, now: Now) -> Result<Recurring, ScheduleError> {
        if interval.is_zero() {
            return Err(ScheduleError::ZeroInterval);
        }
        let limits = self.limits()?;
        let first = after(now, interval, "interval")?;
        let interval_nanos = first - now.mono;
        let start_date = self.start_date.map(wall).transpose()?;
        // The first run on the monotonic clock. A start date in the past may be further
        // away than an i64 can count.
        let nominal = match start_date {
            None => first,
            Some(start) => {
                let away = i128::from(start) - i128::from(now.wall);
                let to_first = if away >= 0 {
                    away
                } else {
                    // The first time of the grid after now.
                    let interval = i128::from(interval_nanos);
                    (away - 1).rem_euclid(interval) + 1
                };
                i64::try_from(i128::from(now.mono) + to_first).unwrap_or(i64::MAX)
            }
        };
        let recurrence = Recurrence::Every {
            anchor: nominal,
            interval: interval_nanos,
        };
        let ticks = self.ticks(recurrence)?;
        Ok(Recurring::new(
            ticks,
            Line::Mono,
            limits,
            start_date,
            now.mono,
            nominal,
        ))
    }
}

/// The monotonic time after `duration` from now, if both clocks can count that far.
#[inline]
fn after(now: Now, duration: Duration, field: &'static str) -> Result<i64, ScheduleError> {
    let max = i64::MAX - now.mono.max(now.wall).max(0);
    match to_nanos(duration) {
        Some(nanos) if nanos <= max => Ok(now.mono + nanos),
        _ => Err(ScheduleError::DurationTooLong {
            field,
            value: duration,
            max: Duration::from_nanos(max as u64),
        }),
    }
}

fn wall(value: OffsetDateTime) -> Result<i64, ScheduleError> {
    to_wall(value).ok_or_else(|| {
        let (min, max) = wall_range();
        ScheduleError::TimeOutOfRange { value, min, max }
    })
}

impl<A, R> fmt::Debug for Schedule<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("task", &self.task.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
