//! [`Row`]: what the store must hold of a job.

use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

use crate::calendar::cron::expression::Cron;
use crate::calendar::history::{RunHistory, SkippedRange};
use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::{Coverage, Series};
use crate::calendar::timeline::Timeline;
use crate::calendar::zone::time_zone::Zone;
use crate::job::definition::{Definition, Limits, Recurring, Trigger};
use crate::job::position::{Position, RunSummary, SeriesPosition};
use crate::job::record::{
    JobRecord, ProgressRecord, RECORD_VERSION, RecurringProgress, RecurringRecord, SkippedRecord,
    TriggerRecord,
};
use crate::sync::primitives::Arc;
use crate::value::error::UnresolvedReason;
use crate::value::id::JobId;
use crate::value::run::Run;
use crate::value::time_units::{Due, Now, WallNanos, from_wall, to_nanos, to_wall};

/// What the store must hold of a durable job. It follows from what has happened; no clock is
/// read for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) position: &'a Position,
    /// When the job is due.
    pub(crate) exec_at: WallNanos,
    /// When the attempt that is made at most once was about to start.
    pub(crate) start_intent: Option<WallNanos>,
}

impl Row<'_> {
    /// The whole row.
    pub(crate) fn to_record(self, id: &JobId) -> JobRecord {
        let definition = self.definition;
        JobRecord {
            version: RECORD_VERSION,
            id: id.clone(),
            task: definition.task.clone(),
            args: definition.args.clone().unwrap_or_default(),
            scheduled_at: utc(definition.scheduled_at),
            trigger: trigger(&definition.trigger),
            zone: definition.zone.as_ref().map(ToString::to_string),
            progress: self.to_progress(),
        }
    }

    /// The part of the row that changes while the job goes on.
    pub(crate) fn to_progress(self) -> ProgressRecord {
        let position = self.position;
        let recurring = self.definition.recurring().zip(position.series.as_ref());
        let due = utc(self.exec_at);
        let nominal = position.nominal_wall(self.definition);
        ProgressRecord {
            due,
            // For most jobs both are the same: converted once.
            nominal: match nominal == self.exec_at {
                true => due,
                false => utc(nominal),
            },
            attempts: position.attempts,
            last_failure: position.failed_as,
            start_intent: self.start_intent.map(utc),
            recurring: recurring.map(|(recurring, own)| {
                let stored = |at| utc(recurring.series.timeline.to_wall(at, own.offset));
                let coverage = &own.coverage;
                RecurringProgress {
                    runs: own.runs,
                    failures_in_a_row: own.failures,
                    last_run: own.last_run.map(|run| Run {
                        number: run.number,
                        nominal_time: utc(run.nominal),
                        started_at: utc(run.started_at),
                        finished_at: utc(run.finished_at),
                        status: run.status,
                    }),
                    started_at: position.started_at.map(utc),
                    last_nominal: stored(coverage.history.last),
                    skipped: coverage.history.skipped.map(|skipped| SkippedRecord {
                        from: stored(skipped.from),
                        to: stored(skipped.to),
                    }),
                    handled_up_to: stored(coverage.handled_up_to),
                    covers_up_to: coverage.covers_up_to.map(stored),
                    catch_ups: coverage.catch_ups,
                    is_catch_up: coverage.is_catch_up,
                }
            }),
        }
    }
}

fn trigger(trigger: &Trigger) -> TriggerRecord {
    let recurring = match trigger {
        Trigger::Once(Timeline::Mono) => return TriggerRecord::Delay,
        Trigger::Once(Timeline::Wall) => return TriggerRecord::At,
        Trigger::Recurring(recurring) => recurring,
    };
    let duration = |nanos: i64| Duration::from_nanos(nanos.max(0) as u64);
    let options = RecurringRecord {
        misfire: recurring.series.misfire,
        jitter: duration(recurring.series.jitter),
        max_runs: recurring.limits.max_runs,
        max_failures: recurring.limits.max_failures,
        start_date: recurring.start_date.map(utc),
    };
    match &recurring.series.recurrence {
        Recurrence::Every { interval, .. } => TriggerRecord::Every {
            interval: duration(*interval),
            options,
        },
        Recurrence::Cron { cron, .. } => TriggerRecord::Cron {
            expression: cron.to_string(),
            options,
        },
    }
}

/// A job that was read from the store.
#[derive(Debug)]
pub(crate) struct ReadRow {
    pub(crate) definition: Arc<Definition>,
    pub(crate) position: Position,
    /// When the next attempt starts.
    pub(crate) due: Due,
    /// `due` as a wall time, as it was stored.
    pub(crate) exec_at: WallNanos,
    /// When the attempt that is made at most once was about to start. It is lost.
    pub(crate) start_intent: Option<WallNanos>,
}

/// Reads a row. `app_zone` is for a job without a zone of its own.
pub(crate) fn read(
    record: &JobRecord,
    app_zone: &Zone,
    now: Now,
) -> Result<ReadRow, UnresolvedReason> {
    if record.version != RECORD_VERSION {
        return Err(UnresolvedReason::OtherVersion {
            found: record.version,
            known: RECORD_VERSION,
        });
    }
    let stored = &record.progress;
    let zone = record.zone.as_deref().map(Zone::parse).transpose();
    let zone = zone.map_err(UnresolvedReason::Zone)?;
    let due = wall("due", stored.due)?;
    let nominal_wall = wall("nominal", stored.nominal)?;
    let scheduled_at = wall("scheduled_at", record.scheduled_at)?;
    let start_intent = stored.start_intent.map(|at| wall("start_intent", at));
    let trigger = match &record.trigger {
        TriggerRecord::Delay => Trigger::Once(Timeline::Mono),
        TriggerRecord::At => Trigger::Once(Timeline::Wall),
        TriggerRecord::Every { interval, options } => {
            let interval = to_nanos(*interval).filter(|interval| *interval > 0);
            let recurrence = Recurrence::Every {
                // Any of its times will do: no earlier one comes again.
                anchor: Timeline::Mono.at_wall(nominal_wall, now.offset()),
                interval: interval.ok_or_else(|| unreadable("the interval is out of range"))?,
            };
            recurring(recurrence, Timeline::Mono, options)?
        }
        TriggerRecord::Cron {
            expression,
            options,
        } => {
            let cron = Cron::parse(expression).map_err(UnresolvedReason::Cron)?;
            let recurrence = Recurrence::Cron {
                cron: Arc::new(cron),
                zone: zone.as_ref().unwrap_or(app_zone).clone(),
            };
            recurring(recurrence, Timeline::Wall, options)?
        }
    };
    let mut position = Position {
        attempts: stored.attempts,
        failed_as: stored.last_failure,
        ..Position::once(nominal_wall)
    };
    let mut timeline = match &trigger {
        Trigger::Once(timeline) => *timeline,
        Trigger::Recurring(recurring) => recurring.series.timeline,
    };
    if trigger.is_recurring() {
        let progress = stored.recurring.as_ref();
        let progress = progress.ok_or_else(|| unreadable("a job that recurs has no progress"))?;
        position.nominal = timeline.at_wall(nominal_wall, now.offset());
        let started_at = progress.started_at.map(|at| wall("started_at", at));
        position.started_at = started_at.transpose()?;
        position.series = Some(Box::new(read_series(progress, timeline, now)?));
    }
    let mut due = due;
    if let Trigger::Recurring(recurring) = &trigger
        && let series = &recurring.series
        && series.timeline == Timeline::Wall
        && position.attempts == 0
        && start_intent.is_none()
        && let Some(own) = &mut position.series
        && let Some(nominal) = series.next_run(&mut own.coverage)
        && nominal != position.nominal
    {
        // The rules have changed since the row was written: those of the zone, or the
        // zone of the app. Else the stored time is this one with its jitter.
        position.nominal = nominal;
        due = nominal;
    }
    if position.attempts > 0 {
        // A retry is a delay.
        timeline = Timeline::Mono;
    }
    let definition = Arc::new(Definition {
        task: record.task.clone(),
        args: Some(record.args.clone()),
        trigger,
        zone,
        scheduled_at,
    });
    Ok(ReadRow {
        definition,
        position,
        due: match timeline {
            Timeline::Wall => Due::Wall(due),
            Timeline::Mono => Due::Mono(Due::Wall(due).as_mono(now)),
        },
        exec_at: due,
        start_intent: start_intent.transpose()?,
    })
}

fn recurring(
    recurrence: Recurrence,
    timeline: Timeline,
    options: &RecurringRecord,
) -> Result<Trigger, UnresolvedReason> {
    let limits = Limits {
        max_runs: options.max_runs,
        max_failures: options.max_failures,
    };
    if limits.max_runs == Some(0) || limits.max_failures == 0 {
        return Err(unreadable("a limit is 0"));
    }
    let jitter = to_nanos(options.jitter);
    let start_date = options.start_date.map(|time| wall("start_date", time));
    Ok(Trigger::Recurring(Box::new(Recurring {
        series: Series {
            recurrence,
            timeline,
            misfire: options.misfire,
            jitter: jitter.ok_or_else(|| unreadable("the jitter is out of range"))?,
        },
        limits,
        start_date: start_date.transpose()?,
    })))
}

fn read_series(
    stored: &RecurringProgress,
    timeline: Timeline,
    now: Now,
) -> Result<SeriesPosition, UnresolvedReason> {
    let offset = now.offset();
    let at = |field, time| Ok(timeline.at_wall(wall(field, time)?, offset));
    let skipped = match stored.skipped {
        None => None,
        Some(skipped) => Some(SkippedRange {
            from: at("skipped", skipped.from)?,
            to: at("skipped", skipped.to)?,
        }),
    };
    let covers_up_to = stored.covers_up_to.map(|time| at("covers_up_to", time));
    let last_run = match stored.last_run {
        None => None,
        Some(run) => Some(RunSummary {
            number: run.number,
            nominal: wall("last_run", run.nominal_time)?,
            started_at: wall("last_run", run.started_at)?,
            finished_at: wall("last_run", run.finished_at)?,
            status: run.status,
        }),
    };
    Ok(SeriesPosition {
        offset,
        coverage: Coverage {
            history: RunHistory {
                last: at("last_nominal", stored.last_nominal)?,
                has_run: stored.runs > 0,
                skipped,
            },
            handled_up_to: at("handled_up_to", stored.handled_up_to)?,
            covers_up_to: covers_up_to.transpose()?,
            catch_ups: stored.catch_ups,
            is_catch_up: stored.is_catch_up,
        },
        runs: stored.runs,
        failures: stored.failures_in_a_row,
        last_run,
    })
}

fn unreadable(what: &str) -> UnresolvedReason {
    UnresolvedReason::Unreadable(what.into())
}

fn wall(field: &str, time: OffsetDateTime) -> Result<WallNanos, UnresolvedReason> {
    to_wall(time)
        .ok_or_else(|| UnresolvedReason::Unreadable(format!("{field} is out of range: {time}")))
}

fn utc(wall: WallNanos) -> OffsetDateTime {
    from_wall(wall, UtcOffset::UTC)
}
