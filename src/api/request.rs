//! [`Request`]: what a caller wants to schedule, before any of it is checked.

use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime};

use crate::calendar::calendar_interval::CalendarInterval;
use crate::calendar::calendar_times::CalendarTimes;
use crate::calendar::calendars::{Calendars, Except};
use crate::calendar::cron::expression::Cron;
use crate::calendar::misfire::Misfire;
use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::Series;
use crate::calendar::zone::into_zone::resolve;
use crate::calendar::zone::time_zone::Zone;
use crate::engine::hub::When;
use crate::engine::job_state::TaskDef;
use crate::job::definition::{self, ArgsKeys, Definition, Limits, Recurring, Timeout};
use crate::job::plan::{NEVER, Plan, Replace};
use crate::sync::panics::catch_panic;
use crate::sync::primitives::Arc;
use crate::value::backoff::Backoff;
use crate::value::encoded::Encoded;
use crate::value::error::{BoxError, CronError, ScheduleError, ZoneError};
use crate::value::id::JobId;
use crate::value::labels::Labels;
use crate::value::overlap::Overlap;
use crate::value::schedule_request::ScheduleRequest;
use crate::value::time_units::{
    ClockReading, Due, MAX_DURATION, Now, WallNanos, to_nanos, to_wall, wall_range,
};

/// A job that is to be scheduled: arguments, options, trigger.
pub(crate) struct Request<A, R> {
    pub(crate) task: Arc<TaskDef<A, R>>,
    pub(crate) args: A,
    /// `None` if no option is set: most jobs have none, and `None` is cheap to move.
    pub(crate) options: Option<Box<Options>>,
    pub(crate) trigger: Trigger,
}

/// The options of a [`Schedule`](crate::Schedule).
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) id: Option<JobId>,
    pub(crate) has_generated_id: bool,
    pub(crate) keep: bool,
    pub(crate) replace: Option<Replace>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Box<Backoff>>,
    /// The set that declares the job.
    pub(crate) set: Option<Arc<str>>,
    pub(crate) in_memory: bool,
    /// If too many jobs are live, it waits.
    pub(crate) when_room: bool,
    /// A new job is paused.
    pub(crate) is_paused: bool,
    pub(crate) priority: Option<i8>,
    pub(crate) labels: Labels,
    pub(crate) zone: Option<Result<Box<Zone>, ZoneError>>,
    pub(crate) expires: Option<Duration>,
    /// How long the id stays taken after the end of the job.
    pub(crate) unique_for: Option<Duration>,
    pub(crate) recurring: RecurringOptions,
}

/// What a submission does if a live job of the same task has its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfTaken {
    Refuse,
    Keep,
    Replace(Replace),
}

impl Options {
    /// Checks the options that concern the id, and returns what follows from them.
    pub(crate) fn if_taken(&self) -> Result<IfTaken, ScheduleError> {
        if self.unique_for.is_some() && self.id.is_none() {
            return Err(ScheduleError::NoId {
                option: "unique_for",
            });
        }
        let (if_taken, option) = match (self.keep, self.replace) {
            (false, None) => return Ok(IfTaken::Refuse),
            (true, None) => (IfTaken::Keep, "keep"),
            (false, Some(Replace::SameKind)) => (IfTaken::Replace(Replace::SameKind), "replace"),
            (false, Some(Replace::Any)) => (IfTaken::Replace(Replace::Any), "replace_any"),
            (true, Some(replace)) => {
                return Err(ScheduleError::Contradiction {
                    option: "keep",
                    other: match replace {
                        Replace::SameKind => "replace",
                        Replace::Any => "replace_any",
                    },
                });
            }
        };
        match self.id {
            Some(_) => Ok(if_taken),
            None => Err(ScheduleError::NoId { option }),
        }
    }
}

/// The options that only a recurring job may have.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecurringOptions {
    pub(crate) max_runs: Option<u64>,
    pub(crate) max_failures: Option<u32>,
    pub(crate) misfire: Option<Misfire>,
    pub(crate) start_date: Option<OffsetDateTime>,
    pub(crate) jitter: Option<Duration>,
    pub(crate) until: Option<OffsetDateTime>,
    pub(crate) except: Option<String>,
    pub(crate) first_now: bool,
    pub(crate) pause_on_failure: bool,
    pub(crate) overlap: Option<Overlap>,
}

impl RecurringOptions {
    const NONE: Self = Self {
        max_runs: None,
        max_failures: None,
        misfire: None,
        start_date: None,
        jitter: None,
        until: None,
        except: None,
        first_now: false,
        pause_on_failure: false,
        overlap: None,
    };

    /// The name of the first option that is set.
    fn any(&self) -> Option<&'static str> {
        [
            ("max_runs", self.max_runs.is_some()),
            ("max_failures", self.max_failures.is_some()),
            ("misfire", self.misfire.is_some()),
            ("start_date", self.start_date.is_some()),
            ("jitter", self.jitter.is_some()),
            ("until", self.until.is_some()),
            ("except", self.except.is_some()),
            ("first_now", self.first_now),
            ("pause_on_failure", self.pause_on_failure),
            ("overlap", self.overlap.is_some()),
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
    AtLocal(PrimitiveDateTime),
    Every(Duration),
    AfterEach(Duration),
    Calendar(CalendarInterval),
    /// In a box, because the other variants are small.
    Cron(Box<Result<Cron, CronError>>),
}

impl Trigger {
    pub(crate) fn is_recurring(&self) -> bool {
        matches!(
            self,
            Trigger::Every(_) | Trigger::AfterEach(_) | Trigger::Calendar(_) | Trigger::Cron(_)
        )
    }

    fn name(&self) -> &'static str {
        match self {
            Trigger::Push => "push",
            Trigger::Delay(_) => "delay",
            Trigger::At(_) => "at",
            Trigger::AtLocal(_) => "at_local",
            Trigger::Every(_) => "every",
            Trigger::AfterEach(_) => "after_each",
            Trigger::Calendar(_) => "every_calendar",
            Trigger::Cron(_) => "cron",
        }
    }
}

/// Asks the functions of the program whether a job may be scheduled. They may change its arguments
/// and options.
pub(crate) fn ask_program<A, R>(
    task: &TaskDef<A, R>,
    args: &mut A,
    options: &mut Option<Box<Options>>,
    trigger: &Trigger,
) -> Result<(), ScheduleError> {
    let refused = |reason| ScheduleError::Refused {
        task: task.name.to_string(),
        reason,
    };
    let check = |called: Result<Result<(), BoxError>, Arc<str>>| {
        let panicked = |message| Err(format!("the function panicked: {message}").into());
        called.unwrap_or_else(panicked).map_err(refused)
    };
    for function in &task.on_schedule {
        let options = options.get_or_insert_default();
        let mut request = ScheduleRequest {
            task: &task.name,
            id: options.id.as_ref().filter(|_| !options.has_generated_id),
            trigger: trigger.name(),
            labels_of_task: &task.labels,
            labels: &mut options.labels,
            priority: &mut options.priority,
            timeout: &mut options.timeout,
        };
        check(catch_panic(|| function(&mut request)))?;
    }
    for function in &task.checks {
        check(catch_panic(|| function(args)))?;
    }
    Ok(())
}

/// When a trigger is due first, with the plan that follows from it.
pub(crate) fn plan<A, R>(
    task: &TaskDef<A, R>,
    trigger: Trigger,
    options: Option<&Options>,
    zone: Option<Result<Box<Zone>, ZoneError>>,
    (stored_args, keys): (Option<Encoded>, ArgsKeys),
    now: Now,
) -> Result<(Plan, When), ScheduleError>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let hub = &task.hub;
    let is_push = matches!(trigger, Trigger::Push);
    let is_recurring = trigger.is_recurring();
    let expires = options.and_then(|options| options.expires);
    let expires = expires.map(expiry).transpose()?;
    let unique_for = options.and_then(|options| options.unique_for);
    let unique_for = unique_for
        .map(|time| limit(time, "unique_for"))
        .transpose()?;
    let timeout = options.and_then(|options| options.timeout);
    let timeout = timeout.map(timeout_of).transpose()?;
    let backoff = options.and_then(|options| options.retry.as_deref());
    backoff.map_or(Ok(()), Backoff::check)?;
    let set = options.and_then(|options| options.set.clone());
    let is_paused = options.is_some_and(|options| options.is_paused);
    let priority = options.and_then(|options| options.priority);
    let own = options.map(|options| &options.labels);
    let labels = match own.filter(|own| !own.is_empty()) {
        Some(own) => Some(task.labels.with(own)),
        None => (!task.labels.is_empty()).then(|| task.labels.clone()),
    };
    labels
        .as_ref()
        .map_or(Ok(()), Labels::check)
        .map_err(ScheduleError::Label)?;
    let labels = labels.map(Box::new);
    if stored_args.is_some()
        && is_recurring
        && options.is_none_or(|options| options.id.is_none() && !options.has_generated_id)
    {
        return Err(ScheduleError::RecursWithoutId);
    }
    let backoff = backoff.map(|backoff| Box::new(backoff.clone()));
    let options = options.map(|options| &options.recurring);
    if !is_recurring && let Some(option) = options.and_then(RecurringOptions::any) {
        return Err(ScheduleError::NotRecurring {
            option,
            trigger: trigger.name(),
        });
    }
    let options = options.unwrap_or(&RecurringOptions::NONE);
    if matches!(trigger, Trigger::AfterEach(_)) {
        // It misses nothing, and its times follow from its runs.
        let options = [
            ("misfire", options.misfire.is_some()),
            ("start_date", options.start_date.is_some()),
            ("except", options.except.is_some()),
            ("overlap", options.overlap.is_some()),
        ];
        if let Some((option, _)) = options.into_iter().find(|(_, is_set)| *is_set) {
            return Err(ScheduleError::NotApplicable {
                option,
                trigger: trigger.name(),
            });
        }
    }
    let zone = match &hub.zone_database {
        Some(database) => zone.map(|zone| resolve(zone.map(|zone| *zone), database).map(Box::new)),
        None => zone,
    };
    let zone = zone.transpose().map_err(ScheduleError::Zone)?;
    let clock = hub.reading(now);
    let job_zone = zone.as_deref().unwrap_or(&hub.zone);
    let context = TriggerContext {
        options,
        zone: job_zone,
        calendars: &hub.calendars,
        clock,
    };
    let recurs = |first: First| (Due::Wall(first.nominal), Some(first));
    let mut local = None;
    let (due, first) = match trigger {
        Trigger::Push => (Due::Mono(now.mono), None),
        Trigger::Delay(delay) => (Due::Mono(after(now, delay, "delay")?), None),
        Trigger::At(time) => (Due::Wall(wall(time)?), None),
        Trigger::AtLocal(time) => {
            local = Some(time);
            (Due::Wall(wall(job_zone.at_local(time))?), None)
        }
        Trigger::Every(interval) => recurs(context.every(interval)?),
        Trigger::AfterEach(pause) => recurs(context.after_each(pause)?),
        Trigger::Calendar(interval) => recurs(context.every_calendar(interval)?),
        Trigger::Cron(cron) => recurs(context.cron((*cron).map_err(ScheduleError::Cron)?)?),
    };
    let is_open = !task.hub.start_gate.is_closed();
    let starts_now = is_push && stored_args.is_none() && !is_paused && is_open;
    let starts_first_now = options.first_now;
    let is_plain = first.is_none()
        && zone.is_none()
        && stored_args.is_none()
        && expires.is_none()
        && unique_for.is_none()
        && timeout.is_none()
        && backoff.is_none()
        && priority.is_none()
        && keys.limit.is_none()
        && keys.rate.is_none()
        && labels.is_none()
        && !is_paused;
    let define = |trigger| Definition {
        task: task.name.clone(),
        args: stored_args,
        trigger,
        zone: zone.map(|zone| *zone),
        expires,
        unique_for,
        timeout,
        backoff,
        priority,
        keys,
        labels,
        set,
        spawned_by: None,
        scheduled_at: now.wall,
    };
    let mut plan = match first {
        Some(First {
            recurring,
            after,
            nominal,
        }) => {
            let definition = define(definition::Trigger::Recurring(Box::new(recurring)));
            let mut plan = Plan::recurring(definition, (after, nominal), now, || hub.random());
            if starts_first_now && !plan.is_never_due() {
                plan.start_now(now);
            }
            plan
        }
        None if is_plain => Plan::plain(due, now),
        None => {
            let definition = define(match due {
                Due::Mono(at) => definition::Trigger::Delay {
                    length: at.saturating_sub(now.mono),
                },
                Due::Wall(_) => definition::Trigger::At { local },
            });
            Plan::once(definition, due, now)
        }
    };
    if !clock.is_set() {
        plan.made_by_unset_clock();
    }
    if is_paused {
        plan.pause();
    }
    let when = match starts_now {
        true => When::Now,
        false => {
            let runs_once = !plan.is_recurring() && !plan.is_durable();
            When::At(plan.due, task.key_kind(runs_once))
        }
    };
    Ok((plan, when))
}

/// A recurring trigger, with its first run.
struct First {
    recurring: Recurring,
    /// No time up to this one is run.
    after: WallNanos,
    /// [`NEVER`] if the series has no time.
    nominal: WallNanos,
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
        if self.overlap == Some(Overlap::Spawn(0)) {
            return Err(ScheduleError::ZeroLimit {
                option: "the number of Overlap::Spawn",
            });
        }
        if let Some(Overlap::Spawn(_)) = self.overlap {
            // Its runs do not fail: the jobs that are made for them do.
            let other = match (self.max_failures, self.pause_on_failure) {
                (Some(_), _) => Some("max_failures"),
                (None, true) => Some("pause_on_failure"),
                (None, false) => None,
            };
            if let Some(other) = other {
                return Err(ScheduleError::Contradiction {
                    option: "Overlap::Spawn",
                    other,
                });
            }
        }
        Ok(Limits {
            max_runs: self.max_runs,
            max_failures: self.max_failures,
            pause_on_failure: self.pause_on_failure,
            overlap: self.overlap.unwrap_or_default(),
        })
    }
}

/// What a recurring trigger is planned with.
struct TriggerContext<'a> {
    options: &'a RecurringOptions,
    /// Of the job, or of the app.
    zone: &'a Zone,
    calendars: &'a Calendars,
    clock: ClockReading,
}

impl TriggerContext<'_> {
    fn every(&self, interval: Duration) -> Result<First, ScheduleError> {
        let interval = self.nanos(interval, "interval")?;
        self.first(Recurrence::Every { interval })
    }

    fn after_each(&self, pause: Duration) -> Result<First, ScheduleError> {
        let interval = self.nanos(pause, "pause")?;
        self.first(Recurrence::AfterEach { interval })
    }

    fn every_calendar(&self, interval: CalendarInterval) -> Result<First, ScheduleError> {
        let start = self.options.start_date.ok_or(ScheduleError::NoStartDate)?;
        let times = CalendarTimes::from_instant(wall(start)?, self.zone.clone(), interval);
        self.first(Recurrence::Calendar(Box::new(times)))
    }

    fn cron(&self, cron: Cron) -> Result<First, ScheduleError> {
        self.first(Recurrence::Cron {
            cron: Arc::new(cron),
            zone: self.zone.clone(),
        })
    }

    /// An interval or a pause in nanoseconds. `field` is its name, for an error.
    fn nanos(&self, interval: Duration, field: &'static str) -> Result<i64, ScheduleError> {
        if interval.is_zero() {
            return Err(ScheduleError::ZeroDuration { field });
        }
        Ok(after(self.clock.now, interval, field)? - self.clock.now.mono)
    }

    fn first(&self, recurrence: Recurrence) -> Result<First, ScheduleError> {
        let limits = self.options.limits()?;
        let series = self.series(recurrence)?;
        let after = series.scheduled_after(self.clock);
        let nominal = series.next_after(after, after).unwrap_or(NEVER);
        Ok(First {
            recurring: Recurring { series, limits },
            after,
            nominal,
        })
    }

    fn series(&self, recurrence: Recurrence) -> Result<Series, ScheduleError> {
        let options = self.options;
        let jitter = options.jitter.unwrap_or_default();
        let except = options.except.as_deref().map(|name| {
            let except = Except::find(self.calendars, name, self.zone);
            except.ok_or_else(|| ScheduleError::UnknownCalendar { name: name.into() })
        });
        Ok(Series {
            recurrence,
            start: options.start_date.map(wall).transpose()?,
            until: options.until.map(wall).transpose()?,
            except: except.transpose()?.map(Box::new),
            misfire: options.misfire.unwrap_or_default(),
            jitter: to_nanos(jitter).ok_or(ScheduleError::DurationTooLong {
                field: "jitter",
                value: jitter,
                max: MAX_DURATION,
            })?,
        })
    }
}

/// How late an attempt may start, in nanoseconds.
fn expiry(expires: Duration) -> Result<i64, ScheduleError> {
    limit(expires, "limit of `expires`")
}

fn timeout_of(limit_of_attempt: Duration) -> Result<Timeout, ScheduleError> {
    Ok(Timeout {
        limit: limit_of_attempt,
        nanos: limit(limit_of_attempt, "timeout")?,
    })
}

/// A limit in nanoseconds. `field` is its name, for an error.
fn limit(value: Duration, field: &'static str) -> Result<i64, ScheduleError> {
    match to_nanos(value) {
        Some(0) => Err(ScheduleError::ZeroDuration { field }),
        Some(nanos) => Ok(nanos),
        None => Err(ScheduleError::DurationTooLong {
            field,
            value,
            max: MAX_DURATION,
        }),
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
