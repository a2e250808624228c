//! [`Schedule`]: options, and then a trigger, make a job.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use crate::api::job::Job;
use crate::calendar::cron::expression::Cron;
use crate::calendar::cron::into_cron::IntoCron;
use crate::calendar::misfire::Misfire;
use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::Series;
use crate::calendar::timeline::Timeline;
use crate::calendar::zone::into_zone::IntoZone;
use crate::calendar::zone::time_zone::Zone;
use crate::engine::hub::When;
use crate::engine::job_state::{JobState, TaskDef};
use crate::job::definition::{self, DEFAULT_MAX_FAILURES, Definition, Limits, Recurring};
use crate::job::plan::Plan;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::Arc;
use crate::value::error::{CronError, ScheduleError, ZoneError};
use crate::value::id::JobId;
use crate::value::time_units::{Due, MAX_DURATION, Now, to_nanos, to_wall, wall_range};

pub use crate::api::submit::Submit;
use crate::api::submit::{Submission, Submitted};

/// A job on its way to be scheduled, from [`Task::schedule`](crate::Task::schedule):
/// options first, a trigger last.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Jobber, Misfire};
///
/// let app = Jobber::builder().build()?;
/// let poll = app.task("poll", async |feed: String| feed.len()).register()?;
/// app.start().wait_blocking()?;
///
/// let job = poll
///     .schedule("news".into())
///     .id("poll-news")
///     .max_failures(3)
///     .misfire(Misfire::Skip)
///     .every(Duration::from_secs(15))
///     .wait_blocking()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is scheduled until a trigger is chosen: push, delay, at, every or cron"]
pub struct Schedule<A, R> {
    task: Arc<TaskDef<A, R>>,
    args: A,
    /// There from the first option on: most jobs have none, and moving what is
    /// not there costs nothing.
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

    /// The first option that is set.
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

/// The moment that a job is for.
#[derive(Clone, Debug)]
pub(crate) enum Trigger {
    Push,
    Delay(Duration),
    At(OffsetDateTime),
    Every(Duration),
    /// In a box, for the others are small.
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

    /// Names the job: 1 to 200 bytes without control characters, and not the id
    /// of another live job. Without it, an id is made.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).id("greeting").push().wait_blocking()?;
    /// assert!(sim.app().find_job("greeting").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(mut self, id: impl Into<JobId>) -> Self {
        self.options().id = Some(id.into());
        self
    }

    /// If a job of this [`id`](Schedule::id) is live and of this task, gives it
    /// these arguments and this trigger: the same job goes on, and so does
    /// whoever waits for it. If it runs just now, that run ends first. A
    /// recurring job keeps its run number and its failures in a row, unless its
    /// start date is another one.
    ///
    /// Without such a job, a new one is made.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let minute = Duration::from_secs(60);
    /// let job = hello.schedule(()).id("x").delay(minute).wait_blocking()?;
    /// let same = hello.schedule(()).id("x").replace().delay(2 * minute).wait_blocking()?;
    /// assert_eq!(sim.app().jobs().len(), 1);
    /// assert_eq!(job.exec_at(), same.exec_at());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace(mut self) -> Self {
        self.options().replace = true;
        self
    }

    /// Keeps this job in memory only, though its task is durable: it ends with
    /// the process.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use std::time::Duration;
    /// # use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
    /// # let storage = MemoryStorage::new();
    /// # let sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage.clone()))?;
    /// # let hello = sim.app().task("hello", || async {}).durable().register()?;
    /// let job = hello.schedule(()).in_memory().push().wait_blocking()?;
    /// assert!(storage.records().is_empty());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_memory(mut self) -> Self {
        self.options().in_memory = true;
        self
    }

    /// The time zone that its cron expression is read in, and that it shows its
    /// times in: a [`Zone`], a fixed [`UtcOffset`](time::UtcOffset) or, with
    /// feature `tz`, a name such as `"Europe/Berlin"`. Without it, the app's.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let zone = time::macros::offset!(+9);
    /// let job = hello.schedule(()).zone(zone).cron("0 12 * * *").wait_blocking()?;
    /// assert_eq!(job.exec_at().offset(), zone);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zone(mut self, zone: impl IntoZone) -> Self {
        self.options().zone = Some(zone.into_zone().map(Box::new));
        self
    }

    /// Recurring: ends it after so many runs, with the status of the last. At
    /// least 1; without it, it goes on.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let second = Duration::from_secs(1);
    /// let job = hello.schedule(()).max_runs(2).every(second).wait_blocking()?;
    /// sim.advance(5 * second);
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_runs(mut self, max: u64) -> Self {
        self.options().recurring.max_runs = Some(max);
        self
    }

    /// Recurring: ends it as
    /// [`PermanentlyFailed`](crate::JobStatus::PermanentlyFailed) after so many
    /// failed runs in a row. At least 1; without it, 10.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::JobStatus;
    /// let fails = sim.app().task("fails", async || Err::<(), _>("no")).register()?;
    /// let second = Duration::from_secs(1);
    /// let job = fails.schedule(()).max_failures(3).every(second).wait_blocking()?;
    /// sim.advance(3 * second);
    /// assert_eq!(job.status(), JobStatus::PermanentlyFailed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_failures(mut self, max: u32) -> Self {
        self.options().recurring.max_failures = Some(max);
        self
    }

    /// Recurring: what it does about times that passed without a run.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// use jobber::Misfire;
    /// let job = hello.schedule(()).misfire(Misfire::Skip).cron("@hourly").wait_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn misfire(mut self, misfire: Misfire) -> Self {
        self.options().recurring.misfire = Some(misfire);
        self
    }

    /// Recurring: the first time that it may run at. With
    /// [`every`](Schedule::every) it runs then, and at whole intervals from
    /// there; in the past, the date only places them. Without it, the first run
    /// is the first one from now, which for `every` is one interval away.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let start = time::macros::datetime!(2000-01-02 0:00 UTC);
    /// let job = hello.schedule(()).start_date(start).every(Duration::from_secs(60)).wait_blocking()?;
    /// assert_eq!(job.exec_at(), start);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_date(mut self, start: OffsetDateTime) -> Self {
        self.options().recurring.start_date = Some(start);
        self
    }

    /// Recurring: starts each run later than its time by a random share of this,
    /// but always before its next time, so that jobs of one time do not start
    /// as one. The run's nominal time stays as it is.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello
    ///     .schedule(())
    ///     .jitter(Duration::from_secs(90))
    ///     .cron("@hourly")
    ///     .wait_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.options().recurring.jitter = Some(jitter);
        self
    }

    /// Now.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).push().wait_blocking()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push(self) -> Submit<A, R> {
        self.on(Trigger::Push)
    }

    /// After a time on the monotonic clock, which nobody sets. It may reach to the
    /// year 2262.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).delay(Duration::from_secs(600)).wait_blocking()?;
    /// sim.advance(Duration::from_secs(600));
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delay(self, delay: Duration) -> Submit<A, R> {
        self.on(Trigger::Delay(delay))
    }

    /// At a time on the wall clock, from the year 1677 to 2262. If it is past, at
    /// once.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).at(time::macros::datetime!(2000-01-01 12:00 UTC)).wait_blocking()?;
    /// sim.advance(std::time::Duration::from_secs(12 * 3_600));
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at(self, time: OffsetDateTime) -> Submit<A, R> {
        self.on(Trigger::At(time))
    }

    /// Again and again, at a fixed rate on the monotonic clock: each run is for
    /// the first whole interval after the last one, however long that took. One
    /// at a time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let job = hello.schedule(()).every(Duration::from_secs(15)).wait_blocking()?;
    /// sim.advance(Duration::from_secs(60));
    /// assert_eq!(job.last_run().unwrap().number, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn every(self, interval: Duration) -> Submit<A, R> {
        self.on(Trigger::Every(interval))
    }

    /// Whenever a cron expression is due, on the wall clock and in the job's zone.
    /// The grammar, and what happens when clocks change, are on [`Cron`].
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let report = sim.app().task("report", || async {}).register()?;
    /// let job = report
    ///     .schedule(())
    ///     .zone(time::macros::offset!(+1))
    ///     .cron("30 6 * * MON-FRI")
    ///     .wait_blocking()?;
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

    /// All that can be done before anything is shared, and what then can be done
    /// without waiting.
    pub(crate) fn submit(self, trigger: Trigger) -> Result<Submitted<A, R>, ScheduleError> {
        let Self {
            task,
            args,
            mut options,
        } = self;
        // Nothing of the options is moved that is not there.
        let id = options.as_mut().and_then(|options| options.id.take());
        let zone = options.as_mut().and_then(|options| options.zone.take());
        let replace = options.as_ref().is_some_and(|options| options.replace);
        let in_memory = options.as_ref().is_some_and(|options| options.in_memory);
        let recurring = options.as_ref().map(|options| &options.recurring);
        let hub = &task.hub;
        let now = match trigger {
            // Its wall time is for show, unless it is stored.
            Trigger::Push | Trigger::Delay(_) if task.durability.is_none() => {
                hub.clock.cached_now()
            }
            _ => hub.clock.now(),
        };
        let json = match task.encode(&args) {
            Some(json) if !in_memory => Some(json?),
            _ => None,
        };
        let is_durable = json.is_some();
        let (plan, when) = plan(&task, trigger, recurring, zone, json, now)?;
        if !is_durable && !replace {
            let job = JobState::new(task.clone(), Some(args), plan, when == When::Now);
            let mut job = Arc::new(job);
            hub.admit(&mut job, id, when, now)?;
            return Ok(Submitted::Done(Job::new(job)));
        }
        let args = if is_durable {
            // A durable job reads them from its JSON, for each attempt.
            drop_catching_panic(args);
            None
        } else {
            Some(args)
        };
        let submission = Submission {
            task,
            id,
            replace,
            plan,
            when,
            now,
        };
        submission.begin(args)
    }
}

/// When a trigger is due, and what follows.
fn plan<A, R>(
    task: &TaskDef<A, R>,
    trigger: Trigger,
    options: Option<&RecurringOptions>,
    zone: Option<Result<Box<Zone>, ZoneError>>,
    json: Option<Arc<str>>,
    now: Now,
) -> Result<(Plan, When), ScheduleError>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let hub = &task.hub;
    let is_push = matches!(trigger, Trigger::Push);
    let is_recurring = matches!(trigger, Trigger::Every(_) | Trigger::Cron(_));
    if !is_recurring && let Some(option) = options.and_then(RecurringOptions::any) {
        return Err(ScheduleError::NotRecurring {
            option,
            trigger: trigger.name(),
        });
    }
    let options = options.unwrap_or(&RecurringOptions::NONE);
    let zone = zone.transpose().map_err(ScheduleError::Zone)?;
    let (due, first) = match trigger {
        Trigger::Push => (Due::Mono(now.mono), None),
        Trigger::Delay(delay) => (Due::Mono(after(now, delay, "delay")?), None),
        Trigger::At(time) => (Due::Wall(wall(time)?), None),
        Trigger::Every(interval) => {
            let first = options.every(interval, now)?;
            (Due::Mono(first.nominal), Some(first))
        }
        Trigger::Cron(cron) => {
            let cron = (*cron).map_err(ScheduleError::Cron)?;
            let zone = zone.as_deref().unwrap_or(&hub.zone);
            let first = options.cron(cron, zone.clone(), now)?;
            (Due::Wall(first.nominal), Some(first))
        }
    };
    let is_push = is_push && json.is_none();
    if first.is_none() && zone.is_none() && json.is_none() {
        let plan = Plan::plain(due, now);
        let when = match is_push {
            true => When::Now,
            false => When::At(due, task.key_kind(true)),
        };
        return Ok((plan, when));
    }
    let define = |trigger| Definition {
        task: task.name.clone(),
        args: json,
        trigger,
        zone: zone.map(|zone| *zone),
        scheduled_at: now.wall,
    };
    let plan = match first {
        Some(First {
            recurring,
            after,
            nominal,
        }) => {
            let definition = define(definition::Trigger::Recurring(recurring));
            Plan::recurring(definition, (after, nominal), now, || hub.random())
        }
        None => {
            let timeline = match due {
                Due::Mono(_) => Timeline::Mono,
                Due::Wall(_) => Timeline::Wall,
            };
            let definition = define(definition::Trigger::Once(timeline));
            Plan::once(definition, due, now)
        }
    };
    let when = match is_push {
        true => When::Now,
        false => When::At(plan.due, task.key_kind(false)),
    };
    Ok((plan, when))
}

/// A recurring trigger, with its first run.
struct First {
    recurring: Recurring,
    /// No time up to this one is run.
    after: i64,
    nominal: i64,
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

    fn series(&self, recurrence: Recurrence, timeline: Timeline) -> Result<Series, ScheduleError> {
        let jitter = self.jitter.unwrap_or_default();
        Ok(Series {
            recurrence,
            timeline,
            misfire: self.misfire.unwrap_or_default(),
            jitter: to_nanos(jitter).ok_or(ScheduleError::DurationTooLong {
                field: "jitter",
                value: jitter,
                max: MAX_DURATION,
            })?,
        })
    }

    fn cron(&self, cron: Cron, zone: Zone, now: Now) -> Result<First, ScheduleError> {
        let limits = self.limits()?;
        let start_date = self.start_date.map(wall).transpose()?;
        // The start date itself may be the first time.
        let after = start_date.map_or(now.wall, |start| now.wall.max(start.saturating_sub(1)));
        let never = ScheduleError::NeverDue {
            expression: cron.to_string(),
            after: zone.time_at(after),
        };
        let cron = Arc::new(cron);
        let recurrence = Recurrence::Cron { cron, zone };
        let nominal = recurrence.next_after(after).ok_or(never)?;
        let series = self.series(recurrence, Timeline::Wall)?;
        Ok(First {
            recurring: Recurring {
                series,
                limits,
                start_date,
            },
            after,
            nominal,
        })
    }

    fn every(&self, interval: Duration, now: Now) -> Result<First, ScheduleError> {
        if interval.is_zero() {
            return Err(ScheduleError::ZeroInterval);
        }
        let limits = self.limits()?;
        let first = after(now, interval, "interval")?;
        let interval_nanos = first - now.mono;
        let start_date = self.start_date.map(wall).transpose()?;
        // The start date's place on the monotonic clock, from here on; one in the
        // past only places the grid, and may be further off than i64 counts.
        let nominal = match start_date {
            None => first,
            Some(start) => {
                let away = i128::from(start) - i128::from(now.wall);
                let to_first = if away >= 0 {
                    away
                } else {
                    // The first after now.
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
        let series = self.series(recurrence, Timeline::Mono)?;
        Ok(First {
            recurring: Recurring {
                series,
                limits,
                start_date,
            },
            after: now.mono,
            nominal,
        })
    }
}

/// The monotonic time so long from now, if both clocks can count that far.
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
