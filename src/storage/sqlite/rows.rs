//! Writes a record as a row of the table `jobs`, or reads it back.
//!
//! A row can hold anything, because other programs can write to the file. Reading a row
//! returns a record or the reason why it is not one, and never panics.

use std::str::from_utf8;
use std::time::Duration;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Row, Statement, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::job::record::{
    BackoffRecord, JobRecord, ProgressRecord, RECORD_VERSION, RecurringProgress, RecurringRecord,
    TriggerRecord,
};
use crate::storage::contract::{Change, Loaded};
use crate::storage::sqlite::ends;
use crate::storage::sqlite::pauses;
use crate::storage::sqlite::stored_value::{Stored, optional, stored, text};
use crate::storage::sqlite::taken_ids;
use crate::sync::primitives::Arc;
use crate::value::encoded::Encoded;
use crate::value::id::{JobId, RawKey};
use crate::value::status::JobStatus;
use crate::value::time_units::saturating_nanos;
use crate::value::timestamp::{self, TimestampText};

/// The columns, in the order in which they are read and written.
const COLUMNS: &str = "id, task, args, due, nominal, trigger, cron, interval_ns, zone, \
    attempts, last_failure, retry_ns, started_at, scheduled_at, options, progress, version, \
    expires_ns, clock_set_by_ns, by_unset_clock, interruptions, repeats_start, timeout_ns, retry, \
    declared_by, paused, steering, priority, limit_key, rate_key, unique_for_ns, labels, \
    spawned_by, checkpoint, checkpoint_codec, codec";

/// Applies changes in one transaction. Each statement is prepared once.
pub(crate) struct Changes<'a> {
    transaction: &'a Transaction<'a>,
    put: Option<CachedStatement<'a>>,
    advance: Option<CachedStatement<'a>>,
    remove: Option<CachedStatement<'a>>,
}

const PUT: &str = "INSERT OR REPLACE INTO jobs (id, task, args, due, nominal, trigger, cron, \
    interval_ns, zone, attempts, last_failure, retry_ns, started_at, scheduled_at, options, \
    progress, version, expires_ns, clock_set_by_ns, by_unset_clock, interruptions, repeats_start, \
    timeout_ns, retry, declared_by, paused, steering, priority, limit_key, rate_key, unique_for_ns, labels, \
    spawned_by, checkpoint, checkpoint_codec, codec) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, \
    ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36)";

const ADVANCE: &str = "UPDATE jobs SET due = ?2, nominal = ?3, attempts = ?4, \
    last_failure = ?5, retry_ns = ?6, started_at = ?7, progress = ?8, \
    clock_set_by_ns = ?9, by_unset_clock = ?10, interruptions = ?11, repeats_start = ?12, \
    paused = ?13, steering = ?14, checkpoint = ?15, checkpoint_codec = ?16 \
    WHERE id = ?1";

const REMOVE: &str = "DELETE FROM jobs WHERE id = ?1";

impl<'a> Changes<'a> {
    pub(crate) fn new(transaction: &'a Transaction<'a>) -> Self {
        Self {
            transaction,
            put: None,
            advance: None,
            remove: None,
        }
    }

    pub(crate) fn apply(&mut self, change: &Change) -> rusqlite::Result<()> {
        let transaction = self.transaction;
        match change {
            Change::Put(record) => put(prepared(transaction, &mut self.put, PUT)?, record),
            Change::Advance { id, progress } => {
                let statement = prepared(transaction, &mut self.advance, ADVANCE)?;
                advance(statement, id, progress)
            }
            Change::Remove(id) => {
                let statement = prepared(transaction, &mut self.remove, REMOVE)?;
                match id.raw() {
                    Some(key) => statement.execute([Bound(key)]).map(drop),
                    None => id.with_text(|id| statement.execute([id])).map(drop),
                }
            }
            Change::KeepEnd(end) => ends::keep(transaction, end),
            Change::ForgetEnd(key) => ends::forget(transaction, key),
            Change::TrimEnds(trim) => ends::trim(transaction, trim),
            Change::SetPause(pause) => pauses::set(transaction, pause),
            Change::RemovePause(key) => pauses::remove(transaction, key),
            Change::TakeId(taken) => taken_ids::take(transaction, taken),
        }
    }
}

/// Prepares a statement when it is first needed.
fn prepared<'a, 'p>(
    transaction: &'a Transaction<'a>,
    place: &'p mut Option<CachedStatement<'a>>,
    text: &str,
) -> rusqlite::Result<&'p mut CachedStatement<'a>> {
    Ok(match place {
        Some(statement) => statement,
        None => place.insert(transaction.prepare_cached(text)?),
    })
}

/// A key that is not a text, as a parameter of a statement.
struct Bound<'a>(&'a RawKey);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            RawKey::Null => ValueRef::Null,
            RawKey::Integer(number) => ValueRef::Integer(*number),
            RawKey::Real(bits) => ValueRef::Real(f64::from_bits(*bits)),
            RawKey::Text(bytes) => ValueRef::Text(bytes),
            RawKey::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The id of a row with any key.
fn key(value: ValueRef<'_>) -> JobId {
    JobId::of_raw(match value {
        ValueRef::Text(bytes) => match from_utf8(bytes) {
            Ok(text) => return text.into(),
            Err(_) => RawKey::Text(bytes.into()),
        },
        ValueRef::Blob(bytes) => RawKey::Blob(bytes.into()),
        ValueRef::Integer(number) => RawKey::Integer(number),
        ValueRef::Real(number) => RawKey::Real(number.to_bits()),
        ValueRef::Null => RawKey::Null,
    })
}

fn put(insert: &mut Statement<'_>, record: &JobRecord) -> rusqlite::Result<()> {
    let JobRecord {
        version,
        id,
        task,
        args,
        scheduled_at,
        trigger,
        zone,
        expires,
        timeout,
        retry,
        priority,
        limit_key,
        rate_key,
        unique_for,
        labels,
        set,
        spawned_by,
        progress,
    } = record;
    let (cron, interval, options) = match trigger {
        TriggerRecord::Delay { length } => (None, Some(saturating_nanos(*length)), None),
        TriggerRecord::At => (None, None, None),
        TriggerRecord::AtLocal { local } => (
            Some(timestamp::format(*local).as_str().to_owned()),
            None,
            None,
        ),
        TriggerRecord::AfterEach { interval, options } => {
            (None, Some(saturating_nanos(*interval)), Some(options))
        }
        TriggerRecord::Calendar { interval, options } => {
            (Some(interval.clone()), None, Some(options))
        }
        TriggerRecord::Every { interval, options } => {
            (None, Some(saturating_nanos(*interval)), Some(options))
        }
        TriggerRecord::Cron {
            expression,
            options,
        } => (Some(expression.clone()), None, Some(options)),
    };
    let recurring = progress.recurring.as_ref();
    let Times {
        due,
        nominal,
        start_intent,
    } = Times::of(progress);
    let (options, recurring) = (
        options.map(json).transpose()?,
        recurring.map(json).transpose()?,
    );
    let retry = retry.as_ref().map(json).transpose()?;
    let steering = steering(progress)?;
    let labels = labels.as_deref().map(json).transpose()?;
    let spawned_by = spawned_by.as_deref().map(json).transpose()?;
    let insert = id.with_text(|id| {
        insert.execute(params![
            id,
            &**task,
            Stored(args),
            due.as_str(),
            nominal.as_str(),
            trigger.name(),
            cron,
            interval,
            zone,
            progress.attempts,
            progress.last_failure.map(JobStatus::as_str),
            progress.retry_delay.map(saturating_nanos),
            start_intent.as_ref().map(TimestampText::as_str),
            timestamp::format(*scheduled_at).as_str(),
            options,
            recurring,
            version,
            expires.map(saturating_nanos),
            set_by(progress),
            by_unset(progress),
            interruptions(progress),
            repeats_start(progress),
            timeout.map(saturating_nanos),
            retry,
            set.as_deref(),
            paused(progress),
            steering,
            priority,
            limit_key.as_deref(),
            rate_key.as_deref(),
            unique_for.map(saturating_nanos),
            labels,
            spawned_by,
            checkpoint(progress).map(Stored),
            checkpoint(progress).and_then(Encoded::codec),
            args.codec(),
        ])
    });
    insert.map(drop)
}

fn advance(
    update: &mut Statement<'_>,
    id: &JobId,
    progress: &ProgressRecord,
) -> rusqlite::Result<()> {
    let recurring = progress.recurring.as_ref();
    let Times {
        due,
        nominal,
        start_intent,
    } = Times::of(progress);
    let recurring = recurring.map(json).transpose()?;
    let steering = steering(progress)?;
    let update = id.with_text(|id| {
        update.execute(params![
            id,
            due.as_str(),
            nominal.as_str(),
            progress.attempts,
            progress.last_failure.map(JobStatus::as_str),
            progress.retry_delay.map(saturating_nanos),
            start_intent.as_ref().map(TimestampText::as_str),
            recurring,
            set_by(progress),
            by_unset(progress),
            interruptions(progress),
            repeats_start(progress),
            paused(progress),
            steering,
            checkpoint(progress).map(Stored),
            checkpoint(progress).and_then(Encoded::codec),
        ])
    });
    update.map(drop)
}

/// `NULL` for 0, as it is for almost all jobs.
fn set_by(progress: &ProgressRecord) -> Option<i64> {
    let set_by = progress.clock_set_by_ns;
    (set_by != 0).then_some(set_by)
}

/// `NULL` for `false`.
fn by_unset(progress: &ProgressRecord) -> Option<bool> {
    progress.by_unset_clock.then_some(true)
}

/// `NULL` for 0.
fn interruptions(progress: &ProgressRecord) -> Option<u32> {
    (progress.interruptions != 0).then_some(progress.interruptions)
}

/// `NULL` for `false`.
fn repeats_start(progress: &ProgressRecord) -> Option<bool> {
    progress.is_start_repeated.then_some(true)
}

/// `NULL` for `false`.
fn paused(progress: &ProgressRecord) -> Option<bool> {
    progress.is_paused.then_some(true)
}

/// `NULL` if nothing was asked by hand.
fn steering(progress: &ProgressRecord) -> rusqlite::Result<Option<String>> {
    progress.steering.as_deref().map(json).transpose()
}

/// `NULL` if there is none.
fn checkpoint(progress: &ProgressRecord) -> Option<&Encoded> {
    progress.checkpoint.as_deref()
}

/// The times in a job's progress, as text.
struct Times {
    due: TimestampText,
    nominal: TimestampText,
    start_intent: Option<TimestampText>,
}

impl Times {
    fn of(progress: &ProgressRecord) -> Self {
        let due = timestamp::format(progress.due);
        // For most jobs both are the same: convert once.
        let nominal = if progress.nominal == progress.due {
            due
        } else {
            timestamp::format(progress.nominal)
        };
        let start_intent = progress.start_intent.map(timestamp::format);
        Self {
            due,
            nominal,
            start_intent,
        }
    }
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

pub(crate) fn load(connection: &Connection, each: &mut dyn FnMut(Loaded)) -> rusqlite::Result<()> {
    let mut select = connection.prepare(&format!("SELECT {COLUMNS} FROM jobs"))?;
    let mut rows = select.query([])?;
    let mut task = Arc::default();
    while let Some(row) = rows.next()? {
        each(Columns::of(row)?.read(&mut task));
    }
    Ok(())
}

/// The values of a row, of any type. Public for the fuzzer only.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a>(pub [ValueRef<'a>; 36]);

impl<'a> Columns<'a> {
    fn of(row: &'a Row<'_>) -> rusqlite::Result<Self> {
        let mut columns = [ValueRef::Null; 36];
        for (at, column) in columns.iter_mut().enumerate() {
            *column = row.get_ref(at)?;
        }
        Ok(Self(columns))
    }

    /// The record, or the reason why the row is not a valid record. `last_task` is the name
    /// of the task of the row before: jobs of one task share its name.
    pub fn read(&self, last_task: &mut Arc<str>) -> Loaded {
        // From the front: new columns are added after the version.
        let [
            id,
            task,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            version,
            ..,
        ] = self.0;
        // The version first: another one may have other columns and fields.
        match integer("version", version) {
            Ok(version) if version != RECORD_VERSION => {
                return Loaded::OtherVersion {
                    id: key(id),
                    task: shown(task),
                    version,
                };
            }
            _ => {}
        }
        match self.record(last_task) {
            Ok(record) => Loaded::Job(Box::new(record)),
            Err(reason) => Loaded::Unreadable {
                id: key(id),
                task: shown(task),
                reason,
            },
        }
    }

    fn record(&self, last_task: &mut Arc<str>) -> Result<JobRecord, String> {
        let [
            id,
            task,
            args,
            due,
            nominal,
            trigger,
            cron,
            interval,
            zone,
            attempts,
            last_failure,
            retry,
            start_intent,
            scheduled_at,
            options,
            progress,
            version,
            expires,
            set_by,
            by_unset,
            interruptions,
            repeats_start,
            timeout,
            backoff,
            set,
            paused,
            steering,
            priority,
            limit_key,
            rate_key,
            unique_for,
            labels,
            spawned_by,
            checkpoint,
            checkpoint_codec,
            codec,
        ] = self.0;
        let options = || from_json::<RecurringRecord>("options", options);
        let trigger = match text("trigger", trigger)? {
            "delay" => TriggerRecord::Delay {
                length: duration("interval_ns", interval)?,
            },
            "at" => TriggerRecord::At,
            "at_local" => TriggerRecord::AtLocal {
                local: time("cron", cron)?,
            },
            "after_each" => TriggerRecord::AfterEach {
                interval: duration("interval_ns", interval)?,
                options: options()?,
            },
            "every_calendar" => TriggerRecord::Calendar {
                interval: text("cron", cron)?.into(),
                options: options()?,
            },
            "every" => TriggerRecord::Every {
                interval: duration("interval_ns", interval)?,
                options: options()?,
            },
            "cron" => TriggerRecord::Cron {
                expression: text("cron", cron)?.into(),
                options: options()?,
            },
            other => return Err(format!("the trigger {other:?} is unknown")),
        };
        let due_at = time("due", due)?;
        // For most jobs both are the same: read once.
        let nominal_at = if nominal == due {
            due_at
        } else {
            time("nominal", nominal)?
        };
        let task = text("task", task)?;
        if **last_task != *task {
            *last_task = task.into();
        }
        let recurring = optional(progress, |progress| {
            from_json::<RecurringProgress>("progress", progress)
        })?;
        Ok(JobRecord {
            version: integer("version", version)?,
            id: text("id", id)?.into(),
            task: last_task.clone(),
            args: stored("args", args, ("codec", codec))?,
            scheduled_at: time("scheduled_at", scheduled_at)?,
            trigger,
            zone: optional(zone, |zone| text("zone", zone).map(Into::into))?,
            expires: optional(expires, |expires| duration("expires_ns", expires))?,
            timeout: optional(timeout, |timeout| duration("timeout_ns", timeout))?,
            retry: optional(backoff, |backoff| {
                from_json::<BackoffRecord>("retry", backoff)
            })?,
            priority: optional(priority, |priority| integer("priority", priority))?,
            limit_key: optional(limit_key, |key| text("limit_key", key).map(Into::into))?,
            rate_key: optional(rate_key, |key| text("rate_key", key).map(Into::into))?,
            unique_for: optional(unique_for, |time| duration("unique_for_ns", time))?,
            labels: optional(labels, |labels| from_json("labels", labels))?,
            set: optional(set, |set| text("declared_by", set).map(Into::into))?,
            spawned_by: optional(spawned_by, |by| from_json("spawned_by", by))?,
            progress: ProgressRecord {
                due: due_at,
                nominal: nominal_at,
                attempts: integer("attempts", attempts)?,
                last_failure: optional(last_failure, |status| {
                    let status = text("last_failure", status)?;
                    status
                        .parse()
                        .map_err(|error| format!("last_failure: {error}"))
                })?,
                retry_delay: optional(retry, |delay| duration("retry_ns", delay))?,
                start_intent: optional(start_intent, |at| time("started_at", at))?,
                is_start_repeated: flag("repeats_start", repeats_start)?,
                interruptions: optional(interruptions, |by| integer("interruptions", by))?
                    .unwrap_or(0),
                is_paused: flag("paused", paused)?,
                steering: optional(steering, |steering| from_json("steering", steering))?,
                checkpoint: optional(checkpoint, |value| {
                    let codec = ("checkpoint_codec", checkpoint_codec);
                    stored("checkpoint", value, codec).map(Box::new)
                })?,
                by_unset_clock: flag("by_unset_clock", by_unset)?,
                clock_set_by_ns: optional(set_by, |by| integer("clock_set_by_ns", by))?
                    .unwrap_or(0),
                recurring,
            },
        })
    }
}

/// A text that shows a value of any type.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
    }
}

fn integer<T: TryFrom<i64>>(column: &str, value: ValueRef<'_>) -> Result<T, String> {
    match value {
        ValueRef::Integer(number) => {
            T::try_from(number).map_err(|_| format!("{column} is out of range: {number}"))
        }
        other => Err(format!(
            "{column} is not a number, but {}",
            other.data_type()
        )),
    }
}

/// `NULL` is `false`.
fn flag(column: &str, value: ValueRef<'_>) -> Result<bool, String> {
    let number = optional(value, |value| integer::<i64>(column, value))?;
    Ok(number.is_some_and(|number| number != 0))
}

fn duration(column: &str, value: ValueRef<'_>) -> Result<Duration, String> {
    integer(column, value).map(Duration::from_nanos)
}

fn time(column: &str, value: ValueRef<'_>) -> Result<OffsetDateTime, String> {
    let text = text(column, value)?;
    timestamp::parse(text).map_err(|error| format!("{column} is {text:?}, and {error}"))
}

fn from_json<T: DeserializeOwned>(column: &str, value: ValueRef<'_>) -> Result<T, String> {
    let text = text(column, value)?;
    serde_json::from_str(text).map_err(|error| format!("{column}: {error}"))
}
