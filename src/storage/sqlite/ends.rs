//! The table `ends`: jobs that have failed.

use std::fmt::Display;

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row, Transaction, params};
use time::OffsetDateTime;

use crate::job::end_record::{EndKey, EndRecord, TrimEnds};
use crate::storage::sqlite::stored_value::{Stored, stored};
use crate::value::encoded::Encoded;
use crate::value::status::JobStatus;
use crate::value::time_units::wall_range;
use crate::value::timestamp;

const KEEP: &str = "INSERT OR REPLACE INTO ends (id, scheduled_at, run, task, args, status, error, \
    attempts, started_at, finished_at, keep_until, version, job, codec) VALUES (?1, ?2, ?3, ?4, ?5, ?6, \
    ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

const FORGET: &str = "DELETE FROM ends WHERE id = ?1 AND scheduled_at = ?2 AND run = ?3";

const TRIM_BY_AGE: &str = "DELETE FROM ends WHERE keep_until < ?1 AND (?2 IS NULL OR task = ?2)";

// One of the indexes has the order of each of these.
const TRIM_BY_COUNT: &str = "DELETE FROM ends WHERE (id, scheduled_at, run) IN (
    SELECT id, scheduled_at, run FROM ends
    ORDER BY finished_at DESC, id DESC, scheduled_at DESC, run DESC LIMIT -1 OFFSET ?1)";
const TRIM_TASK_BY_COUNT: &str = "DELETE FROM ends WHERE (id, scheduled_at, run) IN (
    SELECT id, scheduled_at, run FROM ends WHERE task = ?2
    ORDER BY finished_at DESC, id DESC, scheduled_at DESC, run DESC LIMIT -1 OFFSET ?1)";

const HAS: &str = "SELECT 1 FROM ends WHERE id = ?1 AND scheduled_at = ?2 AND run = ?3";

const LOAD: &str = "SELECT id, scheduled_at, run, task, args, status, error, attempts, started_at, \
    finished_at, keep_until, version, job, codec FROM ends";

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
        Stored(args),
        status.to_string(),
        error,
        attempts,
        text(*started_at),
        text(*finished_at),
        text(*keep_until),
        version,
        job,
        args.codec(),
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

/// Whether there is an end of this key.
pub(crate) fn has(connection: &Connection, key: &EndKey) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(HAS)?;
    statement.exists(params![
        key.id.with_text(str::to_owned),
        text(key.scheduled_at),
        saturating(key.run)
    ])
}

/// Passes every end to `each`. The error of one that can't be read says so.
pub(crate) fn load(
    connection: &Connection,
    each: &mut dyn FnMut(EndRecord),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(LOAD)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(Columns::of(row).end());
    }
    Ok(())
}

/// Reads the columns of a row as far as they can be read.
struct Columns<'a> {
    row: &'a Row<'a>,
    /// What is wrong with the first column that can't be read.
    fault: Option<String>,
}

impl<'a> Columns<'a> {
    fn of(row: &'a Row<'a>) -> Self {
        Self { row, fault: None }
    }

    fn end(mut self) -> EndRecord {
        let epoch = OffsetDateTime::UNIX_EPOCH;
        let mut end = EndRecord {
            key: EndKey {
                id: self.text("id").into(),
                scheduled_at: self.time("scheduled_at", epoch),
                run: self.read::<i64>("run").max(0) as u64,
            },
            task: self.text("task").into(),
            args: self.stored("args", "codec"),
            status: self.status(),
            error: self.text("error").into(),
            attempts: self.read("attempts"),
            started_at: self.time("started_at", epoch),
            finished_at: self.time("finished_at", epoch),
            keep_until: self.time("keep_until", wall_range().1),
            version: self.read("version"),
            job: self.text("job").into(),
        };
        if let Some(fault) = self.fault {
            end.error = format!("the entry can't be read: {fault}").into();
            // No version: so the job can't be scheduled again.
            end.version = 0;
        }
        end
    }

    fn read<T: FromSql + Default>(&mut self, column: &str) -> T {
        let value = self.row.get(column);
        value.unwrap_or_else(|error| self.fails(column, &error))
    }

    fn text(&mut self, column: &str) -> String {
        self.read(column)
    }

    fn stored(&mut self, column: &str, codec: &str) -> Encoded {
        let read = |name| self.row.get_ref(name).map_err(|error| error.to_string());
        let value = read(column).and_then(|value| stored(column, value, (codec, read(codec)?)));
        value.unwrap_or_else(|error| {
            self.fails::<()>(column, &error);
            "".into()
        })
    }

    fn time(&mut self, column: &str, otherwise: OffsetDateTime) -> OffsetDateTime {
        let text = self.text(column);
        timestamp::parse(&text).unwrap_or_else(|error| {
            self.fails::<()>(column, &format!("it is {text:?}, and {error}"));
            otherwise
        })
    }

    fn status(&mut self) -> JobStatus {
        let status = self.text("status").parse();
        status.unwrap_or_else(|error| {
            self.fails::<()>("status", &error);
            JobStatus::Failed
        })
    }

    fn fails<T: Default>(&mut self, column: &str, error: &dyn Display) -> T {
        self.fault
            .get_or_insert_with(|| format!("{column}: {error}"));
        T::default()
    }
}

fn text(time: OffsetDateTime) -> String {
    timestamp::format(time).as_str().to_owned()
}

/// SQLite has no larger integers.
fn saturating(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
