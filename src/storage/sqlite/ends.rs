//! The table `ends`: jobs that have failed.

use rusqlite::{Connection, Row, Transaction, params};
use time::OffsetDateTime;

use crate::job::end_record::{EndKey, EndRecord, TrimEnds};
use crate::sync::primitives::Arc;
use crate::value::status::JobStatus;
use crate::value::timestamp;

const KEEP: &str = "INSERT OR REPLACE INTO ends (id, scheduled_at, run, task, args, status, error, \
    attempts, started_at, finished_at, keep_until, version, job) VALUES (?1, ?2, ?3, ?4, ?5, ?6, \
    ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

const FORGET: &str = "DELETE FROM ends WHERE id = ?1 AND scheduled_at = ?2 AND run = ?3";

const TRIM_BY_AGE: &str = "DELETE FROM ends WHERE keep_until < ?1 AND (?2 IS NULL OR task = ?2)";

// One of the indexes has the order of each of these.
const TRIM_BY_COUNT: &str = "DELETE FROM ends WHERE (id, scheduled_at, run) IN (
    SELECT id, scheduled_at, run FROM ends
    ORDER BY finished_at DESC, id DESC, scheduled_at DESC, run DESC LIMIT -1 OFFSET ?1)";
const TRIM_TASK_BY_COUNT: &str = "DELETE FROM ends WHERE (id, scheduled_at, run) IN (
    SELECT id, scheduled_at, run FROM ends WHERE task = ?2
    ORDER BY finished_at DESC, id DESC, scheduled_at DESC, run DESC LIMIT -1 OFFSET ?1)";

const LOAD: &str = "SELECT id, scheduled_at, run, task, args, status, error, attempts, started_at, \
    finished_at, keep_until, version, job FROM ends";

pub(crate) fn keep(transaction: &Transaction<'_>, end: &EndRecord) -> rusqlite::Result<()> {
    let EndRecord {
        key,
        task,
        args,
        status,
        error,
        attempts,
        started_at,
        finished_at,
        keep_until,
        version,
        job,
    } = end;
    let values = params![
        key.id.with_text(str::to_owned),
        text(key.scheduled_at),
        saturating(key.run),
        task,
        args,
        status.to_string(),
        error,
        attempts,
        text(*started_at),
        text(*finished_at),
        text(*keep_until),
        version,
        job,
    ];
    transaction.prepare_cached(KEEP)?.execute(values).map(drop)
}

pub(crate) fn forget(transaction: &Transaction<'_>, key: &EndKey) -> rusqlite::Result<()> {
    let values = params![
        key.id.with_text(str::to_owned),
        text(key.scheduled_at),
        saturating(key.run)
    ];
    transaction
        .prepare_cached(FORGET)?
        .execute(values)
        .map(drop)
}

pub(crate) fn trim(transaction: &Transaction<'_>, trim: &TrimEnds) -> rusqlite::Result<()> {
    let TrimEnds { task, most, now } = trim;
    let by_age = params![text(*now), task];
    transaction.prepare_cached(TRIM_BY_AGE)?.execute(by_age)?;
    let most = saturating(*most);
    match task {
        Some(task) => transaction
            .prepare_cached(TRIM_TASK_BY_COUNT)?
            .execute(params![most, task]),
        None => transaction
            .prepare_cached(TRIM_BY_COUNT)?
            .execute(params![most]),
    }
    .map(drop)
}

/// Passes every end to `each`, or the reason why it can't be read.
pub(crate) fn load(
    connection: &Connection,
    each: &mut dyn FnMut(Result<EndRecord, String>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(LOAD)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(read(row).map_err(|error| match error {
            // Its message is the message of the error inside.
            rusqlite::Error::FromSqlConversionFailure(_, _, error) => error.to_string(),
            error => error.to_string(),
        }));
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<EndRecord> {
    let string = |column: &str| row.get::<_, String>(column);
    let time = |column: &str| {
        let text = string(column)?;
        timestamp::parse(&text)
            .map_err(|error| invalid(&format!("{column} is {text:?}, and {error}")))
    };
    let shared = |column: &str| string(column).map(Arc::from);
    let status: JobStatus = string("status")?
        .parse()
        .map_err(|error| invalid(&format!("status: {error}")))?;
    Ok(EndRecord {
        key: EndKey {
            id: string("id")?.into(),
            scheduled_at: time("scheduled_at")?,
            run: row.get::<_, i64>("run")?.max(0) as u64,
        },
        task: shared("task")?,
        args: shared("args")?,
        status,
        error: shared("error")?,
        attempts: row.get("attempts")?,
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
        keep_until: time("keep_until")?,
        version: row.get("version")?,
        job: shared("job")?,
    })
}

fn invalid(message: &str) -> rusqlite::Error {
    let error = Box::<dyn std::error::Error + Send + Sync>::from(message.to_owned());
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error)
}

fn text(time: OffsetDateTime) -> String {
    timestamp::format(time).as_str().to_owned()
}

/// SQLite has no larger integers.
fn saturating(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
