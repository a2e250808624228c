//! [`Request`]: what a caller wants to schedule, before any of it is checked.

use std::time::Duration;

use time::OffsetDateTime;

use crate::calendar::cron::expression::Cron;
use crate::calendar::misfire::Misfire;
use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::Series;
use crate::calendar::timeline::Timeline;
use crate::calendar::zone::time_zone::Zone;
use crate::engine::hub::When;
use crate::engine::job_state::TaskDef;
use crate::job::definition::{self, DEFAULT_MAX_FAILURES, Definition, Limits, Recurring};
use crate::job::plan::Plan;
use crate::sync::primitives::Arc;
use crate::value::error::{CronError, ScheduleError, ZoneError};
use crate::value::id::JobId;
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
    pub(crate) replace: bool,
    pub(crate) in_memory: bool,
    pub(crate) zone: Option<Result<Box<Zone>, ZoneError>>,
    pub(crate) recurring: RecurringOptions,
}

/// The options that only a recurring job may have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecurringOptions {
    pub(crate) max_runs: Option<u64>,
    pub(crate) max_failures: Option<u32>,
    pub(crate) misfire: Option<Misfire>,
    pub(crate) start_date: Option<OffsetDateTime>,
    pub(crate) jitter: Option<Duration>,
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

/// When a trigger is due first, with the plan that follows from it.
pub(crate) fn plan<A, R>(
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
    let clock = hub.reading(now);
    let (due, first) = match trigger {
        Trigger::Push => (Due::Mono(now.mono), None),
        Trigger::Delay(delay) => (Due::Mono(after(now, delay, "delay")?), None),
        Trigger::At(time) => (Due::Wall(wall(time)?), None),
        Trigger::Every(interval) => {
            let first = options.every(interval, clock)?;
            (Due::Wall(first.nominal), Some(first))
        }
        Trigger::Cron(cron) => {
            let cron = (*cron).map_err(ScheduleError::Cron)?;
            let zone = zone.as_deref().unwrap_or(&hub.zone);
            let first = options.cron(cron, zone.clone(), clock)?;
            (Due::Wall(first.nominal), Some(first))
        }
    };
    let starts_now = is_push && json.is_none();
    let is_plain = first.is_none() && zone.is_none() && json.is_none();
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
            let definition = define(definition::Trigger::Recurring(Box::new(recurring)));
            Plan::recurring(definition, (after, nominal), now, || hub.random())
        }
        None if is_plain => Plan::plain(due, now),
        None => {
            let definition = define(match due {
                Due::Mono(at) => definition::Trigger::Delay {
                    length: at.saturating_sub(now.mono),
                },
                Due::Wall(_) => definition::Trigger::At,
            });
            Plan::once(definition, due, now)
        }
    };
    let when = match starts_now {
        true => When::Now,
        false => When::At(plan.due, task.key_kind(is_plain)),
    };
    Ok((plan, when))
}

/// A recurring trigger, with its first run.
struct First {
    recurring: Recurring,
    /// No time up to this one is run.
    after: WallNanos,
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
        Ok(Limits {
            max_runs: self.max_runs,
            max_failures: self.max_failures.unwrap_or(DEFAULT_MAX_FAILURES),
        })
    }

    fn series(&self, recurrence: Recurrence) -> Result<Series, ScheduleError> {
        let jitter = self.jitter.unwrap_or_default();
        Ok(Series {
            recurrence,
            start: self.start_date.map(wall).transpose()?,
            misfire: self.misfire.unwrap_or_default(),
            jitter: to_nanos(jitter).ok_or(ScheduleError::DurationTooLong {
                field: "jitter",
                value: jitter,
                max: MAX_DURATION,
            })?,
        })
    }

    fn cron(&self, cron: Cron, zone: Zone, clock: ClockReading) -> Result<First, ScheduleError> {
        let limits = self.limits()?;
        let expression = cron.to_string();
        let series = self.series(Recurrence::Cron {
            cron: Arc::new(cron),
            zone: zone.clone(),
        })?;
        let after = series.scheduled_after(clock);
        let nominal = series
            .next_after(after, after)
            .ok_or_else(|| ScheduleError::NeverDue {
                expression,
                after: zone.time_at(series.start.map_or(after, |start| after.max(start - 1))),
            })?;
        Ok(First {
            recurring: Recurring { series, limits },
            after,
            nominal,
        })
    }

    fn every(&self, interval: Duration, clock: ClockReading) -> Result<First, ScheduleError> {
        if interval.is_zero() {
            return Err(ScheduleError::ZeroInterval);
        }
        let limits = self.limits()?;
        let interval = after(clock.now, interval, "interval")? - clock.now.mono;
        let series = self.series(Recurrence::Every { interval })?;
        let after = match series.timeline() {
            Timeline::Mono => clock.now.wall,
            Timeline::Wall => series.scheduled_after(clock),
        };
        let nominal = series.next_after(after, after).unwrap_or(WallNanos::MAX);
        Ok(First {
            recurring: Recurring { series, limits },
            after,
            nominal,
        })
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
