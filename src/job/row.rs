//! [`Row`]: what the store must hold of a job.

use std::borrow::Cow;
use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::calendar::calendar_times::CalendarTimes;
use crate::calendar::calendars::{Calendars, Except};
use crate::calendar::cron::expression::Cron;
use crate::calendar::history::{RunHistory, SkippedRange};
use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::{Coverage, Series, SetBack};
use crate::calendar::zone::time_zone::Zone;
use crate::calendar::zone::zone_database::ZoneDatabase;
use crate::job::definition::{ArgsKeys, Definition, Limits, Recurring, Timeout, Trigger};
use crate::job::position::{AfterRun, Position, Retry, RunSummary, SeriesPosition};
use crate::job::record::{
    BackoffRecord, JobRecord, MoveRecord, ProgressRecord, RECORD_VERSION, RecurringProgress,
    RecurringRecord, SetBackRecord, SkippedRecord, SteeringRecord, TriggerRecord,
};
use crate::job::steering::{Move, Steering};
use crate::sync::primitives::Arc;
use crate::value::backoff::Backoff;
use crate::value::encoded::Encoded;
use crate::value::error::{CalendarIntervalError, UnresolvedReason};
use crate::value::id::JobId;
use crate::value::overlap::Overlap;
use crate::value::run::Run;
use crate::value::status::JobStatus;
use crate::value::time_units::{Now, WallNanos, from_wall, to_nanos, to_wall};

/// What the store must hold of a durable job. It follows from what has happened; no clock is
/// read for it.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) position: Cow<'a, Position>,
    /// The attempt that was about to start.
    pub(crate) start_intent: Option<StoredIntent>,
    /// What was asked by hand.
    pub(crate) steering: Option<Steering>,
    /// Of the open run.
    pub(crate) checkpoint: Option<&'a Encoded>,
    /// Of the open extra run.
    pub(crate) extra_checkpoint: Option<&'a Encoded>,
    /// How often in a row a process has ended during an attempt.
    pub(crate) interruptions: u32,
}

/// That an attempt was about to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredIntent {
    pub(crate) at: WallNanos,
    /// If the process ends during the attempt, the next process makes it again, and counts an
    /// interruption. If not set, the attempt is made at most once.
    pub(crate) is_repeated: bool,
    /// The attempt is the first one of an extra run.
    pub(crate) is_extra: bool,
}

impl Row<'_> {
    /// The whole row.
    pub(crate) fn to_record(&self, id: &JobId) -> JobRecord {
        let definition = self.definition;
        JobRecord {
            version: RECORD_VERSION,
            id: id.clone(),
            task: definition.task.clone(),
            args: definition.args.clone().unwrap_or_else(|| "".into()),
            scheduled_at: utc(definition.scheduled_at),
            trigger: trigger(&definition.trigger),
            zone: definition.zone.as_ref().map(ToString::to_string),
            expires: definition.expires.map(duration),
            timeout: definition.timeout.map(|timeout| timeout.limit),
            retry: definition.backoff.as_deref().map(backoff_record),
            priority: definition.priority,
            limit_key: definition.keys.limit.clone(),
            rate_key: definition.keys.rate.clone(),
            unique_for: definition.unique_for.map(duration),
            labels: definition.labels.clone(),
            set: definition.set.clone(),
            spawned_by: definition.spawned_by.clone(),
            progress: self.to_progress(),
        }
    }

    /// The part of the row that changes while the job goes on.
    pub(crate) fn to_progress(&self) -> ProgressRecord {
        let position = &*self.position;
        let recurring = self.definition.recurring().zip(position.series.as_ref());
        let retry = position.retry.as_deref();
        let due_at = position.due(self.definition);
        let due = utc(due_at);
        ProgressRecord {
            due,
            // For most jobs both are the same: converted once.
            nominal: match position.nominal == due_at {
                true => due,
                false => utc(position.nominal),
            },
            attempts: position.attempts(),
            last_failure: retry.map(|retry| retry.failed_as),
            retry_delay: retry.map(|retry| duration(retry.delay)),
            start_intent: self.start_intent.map(|intent| utc(intent.at)),
            is_start_repeated: self.start_intent.is_some_and(|intent| intent.is_repeated),
            interruptions: self.interruptions,
            is_paused: self.steering.is_some_and(|steering| steering.is_paused),
            steering: self.to_steering(),
            checkpoint: self.checkpoint.cloned().map(Box::new),
            by_unset_clock: position.by_unset_clock,
            clock_set_by_ns: position.clock_set_by,
            recurring: recurring.map(|(_, own)| {
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
                    started_at: retry.map(|retry| utc(retry.started_at)),
                    drawn_jitter: duration(own.drawn_jitter),
                    last_nominal: utc(coverage.history.last),
                    skipped: coverage.history.skipped.map(|skipped| SkippedRecord {
                        from: utc(skipped.from),
                        to: utc(skipped.to),
                    }),
                    handled_up_to: utc(coverage.handled_up_to),
                    set_back: coverage.set_back.map(|set_back| SetBackRecord {
                        to: utc(set_back.to),
                        is_correction: set_back.is_correction,
                    }),
                    catch_ups: coverage.catch_ups,
                    is_catch_up: coverage.is_catch_up,
                    is_first_now: coverage.is_first_now,
                    run_early: coverage.run_early.map(utc),
                }
            }),
        }
    }

    /// What was asked by hand, apart from a pause. `None` for almost all jobs.
    fn to_steering(&self) -> Option<Box<SteeringRecord>> {
        let steering = self.steering.unwrap_or_default();
        let position = &*self.position;
        let retry = position.retry.as_deref();
        let extra_retry = retry.and_then(|retry| retry.extra);
        // The column `due` has another time.
        let has_other_due = extra_retry.is_some() || position.moved.is_some();
        let own = position.series.as_ref().filter(|_| has_other_due);
        let record = SteeringRecord {
            extra: steering.extra.map(utc),
            second_extra: steering.second_extra.map(utc),
            retries_extra: extra_retry.map(utc),
            starts_extra: self.start_intent.is_some_and(|intent| intent.is_extra),
            runs_now: steering.runs_now,
            moved_to: position.moved.map(utc),
            is_moved_by_own_clock: position.is_moved_by_own_clock,
            run_due: own.map(|own| utc(own.due)),
            leaves_out_up_to: steering.leaves_out_up_to.map(utc),
            went_on_at: steering.went_on_at.map(utc),
            next_move: steering.next_move.map(|next| match next {
                Move::To(time) => MoveRecord::To(utc(time)),
                Move::By(nanos) => MoveRecord::ByNanos(nanos),
            }),
            extra_checkpoint: self.extra_checkpoint.cloned(),
        };
        (record != SteeringRecord::default()).then(|| Box::new(record))
    }
}

fn trigger(trigger: &Trigger) -> TriggerRecord {
    let recurring = match trigger {
        Trigger::Delay { length } => {
            return TriggerRecord::Delay {
                length: duration(*length),
            };
        }
        Trigger::At { local: None } => return TriggerRecord::At,
        Trigger::At { local: Some(local) } => {
            return TriggerRecord::AtLocal {
                local: local.assume_utc(),
            };
        }
        Trigger::Recurring(recurring) => recurring,
    };
    let series = &recurring.series;
    let options = RecurringRecord {
        misfire: series.misfire,
        jitter: duration(series.jitter),
        max_runs: recurring.limits.max_runs,
        max_failures: recurring.limits.max_failures,
        pause_on_failure: recurring.limits.pause_on_failure,
        overlap: recurring.limits.overlap,
        start_date: series.start.map(utc),
        until: series.until.map(utc),
        except: series
            .except
            .as_ref()
            .map(|except| except.calendar.to_string()),
    };
    match &series.recurrence {
        Recurrence::Every { interval } => TriggerRecord::Every {
            interval: duration(*interval),
            options,
        },
        Recurrence::AfterEach { interval } => TriggerRecord::AfterEach {
            interval: duration(*interval),
            options,
        },
        Recurrence::Calendar(times) => TriggerRecord::Calendar {
            interval: times.interval().to_string(),
            options,
        },
        Recurrence::Cron { cron, .. } => TriggerRecord::Cron {
            expression: cron.to_string(),
            options,
        },
    }
}

fn backoff_record(backoff: &Backoff) -> BackoffRecord {
    let (initial, factor, cap, jitter) = backoff.delays();
    BackoffRecord {
        retries: backoff.retries(),
        initial,
        factor,
        cap,
        jitter,
        retry_after_max: backoff.requested_delay(Duration::MAX),
    }
}

fn read_backoff(stored: &BackoffRecord) -> Result<Backoff, UnresolvedReason> {
    let backoff = Backoff::exponential(stored.retries)
        .initial(stored.initial)
        .factor(stored.factor)
        .cap(stored.cap)
        .jitter(stored.jitter)
        .retry_after_max(stored.retry_after_max);
    let error = |_| unreadable("a number of the retries is out of range");
    backoff.check().map_err(error).map(|()| backoff)
}

fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.max(0) as u64)
}

/// A job that was read from the store, as it was stored.
#[derive(Debug)]
pub(crate) struct ReadRow {
    pub(crate) definition: Arc<Definition>,
    pub(crate) position: Position,
    /// The attempt that was about to start.
    pub(crate) start_intent: Option<StoredIntent>,
    /// What was asked by hand.
    pub(crate) steering: Option<Steering>,
    pub(crate) checkpoint: Option<Encoded>,
    pub(crate) extra_checkpoint: Option<Encoded>,
    pub(crate) interruptions: u32,
}

/// The zone, the zone database and the calendars of an app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppCalendars<'a> {
    /// Of a job without a zone of its own.
    pub(crate) zone: &'a Zone,
    pub(crate) database: Option<&'a ZoneDatabase>,
    pub(crate) calendars: &'a Calendars,
}

/// Reads a row.
pub(crate) fn read(record: &JobRecord, app: AppCalendars<'_>) -> Result<ReadRow, UnresolvedReason> {
    let app_zone = app.zone;
    if record.version != RECORD_VERSION {
        return Err(UnresolvedReason::OtherVersion {
            found: record.version,
            known: RECORD_VERSION,
        });
    }
    let stored = &record.progress;
    let zone = record.zone.as_deref().map(|text| match app.database {
        Some(database) => Zone::parse_in(text, database),
        None => Zone::parse(text),
    });
    let zone = zone.transpose();
    let zone = zone.map_err(UnresolvedReason::Zone)?;
    let due = wall("due", stored.due)?;
    let scheduled_at = wall("scheduled_at", record.scheduled_at)?;
    let by_hand = stored.steering.as_deref().cloned().unwrap_or_default();
    let start_intent = stored.start_intent.map(|at| {
        wall("start_intent", at).map(|at| StoredIntent {
            at,
            is_repeated: stored.is_start_repeated,
            is_extra: by_hand.starts_extra,
        })
    });
    let recurring = |recurrence, options: &RecurringRecord| {
        let except = options.except.as_deref().map(|name| {
            let zone = zone.as_ref().unwrap_or(app_zone);
            let except = Except::find(app.calendars, name, zone);
            except.ok_or_else(|| UnresolvedReason::UnknownCalendar { name: name.into() })
        });
        recurring(recurrence, options, except.transpose()?)
    };
    let trigger = match &record.trigger {
        TriggerRecord::Delay { length } => Trigger::Delay {
            length: nanos("the delay", *length)?,
        },
        TriggerRecord::At => Trigger::At { local: None },
        TriggerRecord::AtLocal { local } => {
            let local = local.to_offset(UtcOffset::UTC);
            Trigger::At {
                local: Some(PrimitiveDateTime::new(local.date(), local.time())),
            }
        }
        TriggerRecord::Every { interval, options } => {
            let interval = interval_of(*interval)?;
            recurring(Recurrence::Every { interval }, options)?
        }
        TriggerRecord::AfterEach { interval, options } => {
            let interval = interval_of(*interval)?;
            recurring(Recurrence::AfterEach { interval }, options)?
        }
        TriggerRecord::Calendar { interval, options } => {
            let interval = interval.parse();
            let interval = interval.map_err(|error: CalendarIntervalError| {
                UnresolvedReason::Unreadable(format!("the interval: {error}"))
            })?;
            let start = options.start_date;
            let start = start.ok_or_else(|| unreadable("an interval has no start date"))?;
            let zone = zone.as_ref().unwrap_or(app_zone).clone();
            let start = wall("start_date", start)?;
            let times = CalendarTimes::from_instant(start, zone, interval);
            recurring(Recurrence::Calendar(Box::new(times)), options)?
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
            recurring(recurrence, options)?
        }
    };
    // Until it has run, it is due by the wall clock.
    let mut position = Position::once(wall("nominal", stored.nominal)?, None);
    position.clock_set_by = stored.clock_set_by_ns;
    position.by_unset_clock = stored.by_unset_clock;
    let time = |field, time: Option<OffsetDateTime>| time.map(|time| wall(field, time)).transpose();
    position.moved = time("moved_to", by_hand.moved_to)?;
    position.is_moved_by_own_clock = by_hand.is_moved_by_own_clock;
    let mut steering = Steering {
        is_paused: stored.is_paused,
        extra: time("extra", by_hand.extra)?,
        second_extra: time("second_extra", by_hand.second_extra)?,
        runs_now: by_hand.runs_now,
        next_move: match by_hand.next_move {
            Some(MoveRecord::To(time)) => Some(Move::To(wall("next_move", time)?)),
            Some(MoveRecord::ByNanos(nanos)) => Some(Move::By(nanos)),
            None => None,
        },
        leaves_out_up_to: time("leaves_out_up_to", by_hand.leaves_out_up_to)?,
        went_on_at: time("went_on_at", by_hand.went_on_at)?,
    };
    let retried_extra = time("retries_extra", by_hand.retries_extra)?;
    if !trigger.is_recurring() {
        // It was asked for while a replacement waited that runs once: that is the run.
        steering.runs_now |= steering.take_extra().is_some();
        steering.second_extra = None;
        if retried_extra.is_some() {
            return Err(unreadable("a job that runs once has an extra run"));
        }
    }
    if by_hand.starts_extra && steering.extra.is_none() {
        return Err(unreadable(
            "an extra run that was about to start is missing",
        ));
    }
    if let Trigger::At { local: Some(local) } = trigger
        && stored.retry_delay.is_none()
        && !stored.is_made_at_most_once()
    {
        // The rules of the zone may have changed, or the zone of the app.
        let zone = zone.as_ref().unwrap_or(app_zone);
        position.nominal = wall("the local time", zone.at_local(local))?;
    }
    let mut started_at = None;
    if trigger.is_recurring() {
        let progress = stored.recurring.as_ref();
        let progress = progress.ok_or_else(|| unreadable("a job that recurs has no progress"))?;
        let first_start = progress.started_at.map(|at| wall("started_at", at));
        started_at = first_start.transpose()?;
        let mut series = read_series(progress, due)?;
        if let Some(run_due) = time("run_due", by_hand.run_due)? {
            series.due = run_due;
        }
        position.series = Some(Box::new(series));
    }
    if stored.attempts > 0 && stored.retry_delay.is_none() {
        return Err(unreadable("a retry has no delay"));
    }
    if let Some(delay) = stored.retry_delay {
        position.retry = Some(Box::new(Retry {
            attempts: stored.attempts,
            snoozes: 0,
            failed_as: stored.last_failure.unwrap_or(JobStatus::Failed),
            // Nothing shows it for a job that runs once.
            started_at: started_at.unwrap_or(position.nominal),
            due,
            delay: nanos("the delay of a retry", delay)?,
            extra: retried_extra,
        }));
    }
    let expires = record.expires.map(|expires| nanos("the expiry", expires));
    let unique_for = record.unique_for.map(|time| nanos("unique_for", time));
    let timeout = record
        .timeout
        .map(|limit| match nanos("the timeout", limit)? {
            0 => Err(unreadable("the timeout is 0")),
            nanos => Ok(Timeout { limit, nanos }),
        });
    let backoff = record.retry.as_ref().map(read_backoff);
    let definition = Arc::new(Definition {
        task: record.task.clone(),
        args: Some(record.args.clone()),
        trigger,
        zone,
        expires: expires.transpose()?,
        unique_for: unique_for.transpose()?,
        timeout: timeout.transpose()?,
        backoff: backoff.transpose()?.map(Box::new),
        priority: record.priority,
        keys: ArgsKeys {
            limit: record.limit_key.clone(),
            rate: record.rate_key.clone(),
        },
        labels: record.labels.clone(),
        set: record.set.clone(),
        spawned_by: record.spawned_by.clone(),
        scheduled_at,
    });
    Ok(ReadRow {
        definition,
        position,
        start_intent: start_intent.transpose()?,
        steering: (steering != Steering::default()).then_some(steering),
        checkpoint: stored.checkpoint.as_deref().cloned(),
        extra_checkpoint: by_hand.extra_checkpoint,
        interruptions: stored.interruptions,
    })
}

/// Reads the row of a job that has failed, to schedule it again. A job that runs once is due at
/// once. A recurring job goes on with its series; `None` if it has no time left.
pub(crate) fn read_again(
    record: &JobRecord,
    app: AppCalendars<'_>,
    now: Now,
    random: impl FnOnce() -> f64,
) -> Result<Option<ReadRow>, UnresolvedReason> {
    let mut row = read(record, app)?;
    (row.checkpoint, row.extra_checkpoint) = (None, None);
    if row.definition.recurring().is_some() {
        if let Some(series) = &mut row.position.series {
            series.failures = 0;
        }
        let ReadRow {
            definition,
            position,
            ..
        } = &mut row;
        let next = position.next_run(definition, JobStatus::Failed, now, random);
        return Ok(matches!(next, AfterRun::Next { .. }).then_some(row));
    }
    if let Some(definition) = Arc::get_mut(&mut row.definition) {
        definition.trigger = Trigger::At { local: None };
        definition.scheduled_at = now.wall;
    }
    row.position = Position::once(now.wall, None);
    Ok(Some(row))
}

fn recurring(
    recurrence: Recurrence,
    options: &RecurringRecord,
    except: Option<Except>,
) -> Result<Trigger, UnresolvedReason> {
    let limits = Limits {
        max_runs: options.max_runs,
        max_failures: options.max_failures,
        pause_on_failure: options.pause_on_failure,
        overlap: options.overlap,
    };
    let spawns_none = limits.overlap == Overlap::Spawn(0);
    if let Overlap::Spawn(_) = limits.overlap
        && (limits.max_failures.is_some() || limits.pause_on_failure || recurrence.is_after_each())
    {
        return Err(unreadable("an option contradicts the overlap"));
    }
    if limits.max_runs == Some(0) || limits.max_failures == Some(0) || spawns_none {
        return Err(unreadable("a limit is 0"));
    }
    let start = options.start_date.map(|time| wall("start_date", time));
    let until = options.until.map(|time| wall("until", time));
    Ok(Trigger::Recurring(Box::new(Recurring {
        series: Series {
            recurrence,
            start: start.transpose()?,
            until: until.transpose()?,
            except: except.map(Box::new),
            misfire: options.misfire,
            jitter: nanos("the jitter", options.jitter)?,
        },
        limits,
    })))
}

fn read_series(
    stored: &RecurringProgress,
    due: WallNanos,
) -> Result<SeriesPosition, UnresolvedReason> {
    let skipped = match stored.skipped {
        None => None,
        Some(skipped) => Some(SkippedRange {
            from: wall("skipped", skipped.from)?,
            to: wall("skipped", skipped.to)?,
        }),
    };
    let set_back = match stored.set_back {
        None => None,
        Some(set_back) => Some(SetBack {
            to: wall("set_back", set_back.to)?,
            is_correction: set_back.is_correction,
        }),
    };
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
        due,
        drawn_jitter: nanos("the drawn jitter", stored.drawn_jitter)?,
        coverage: Coverage {
            history: RunHistory {
                last: wall("last_nominal", stored.last_nominal)?,
                has_run: stored.runs > 0,
                skipped,
            },
            handled_up_to: wall("handled_up_to", stored.handled_up_to)?,
            set_back,
            catch_ups: stored.catch_ups,
            is_catch_up: stored.is_catch_up,
            is_first_now: stored.is_first_now,
            run_early: stored
                .run_early
                .map(|time| wall("run_early", time))
                .transpose()?,
        },
        runs: stored.runs,
        failures: stored.failures_in_a_row,
        last_run,
    })
}

fn interval_of(interval: Duration) -> Result<i64, UnresolvedReason> {
    match nanos("the interval", interval)? {
        0 => Err(unreadable("the interval is 0")),
        interval => Ok(interval),
    }
}

fn nanos(what: &str, duration: Duration) -> Result<i64, UnresolvedReason> {
    to_nanos(duration)
        .ok_or_else(|| UnresolvedReason::Unreadable(format!("{what} is out of range")))
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
