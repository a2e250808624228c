//! The table `taken_ids`: ids that stay taken after their jobs have ended.

use rusqlite::{Connection, Transaction, params};

use crate::job::taken_id::TakenId;
use crate::value::status::JobStatus;
use crate::value::timestamp;

const FORGET: &str = "DELETE FROM taken_ids WHERE until <= ?1";

const TAKE: &str =
    "INSERT OR REPLACE INTO taken_ids (id, status, ended_at, until) VALUES (?1, ?2, ?3, ?4)";

const LOAD: &str = "SELECT id, status, ended_at, until FROM taken_ids";

/// Also deletes those that are free by the end of this job.
pub(crate) fn take(transaction: &Transaction<'_>, taken: &TakenId) -> rusqlite::Result<()> {
    let ended_at = timestamp::format(taken.ended_at);
    transaction
        .prepare_cached(FORGET)?
        .execute([ended_at.as_str()])?;
    let until = timestamp::format(taken.until);
    let mut take = transaction.prepare_cached(TAKE)?;
    let taken = taken.id.with_text(|id| {
        take.execute(params![
            id,
            taken.status.as_str(),
            ended_at.as_str(),
            until.as_str()
        ])
    });
    taken.map(drop)
}

/// Passes every id to `each` whose row can be read. One that can't be read is free.
pub(crate) fn load(connection: &Connection, each: &mut dyn FnMut(TakenId)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(LOAD)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let texts = (row.get(0), row.get(1), row.get(2), row.get(3));
        let (Ok(id), Ok(status), Ok(ended_at), Ok(until)) = texts else {
            continue;
        };
        let (id, status): (String, String) = (id, status);
        let time = |text: String| timestamp::parse(&text);
        if let (Ok(status), Ok(ended_at), Ok(until)) =
            (status.parse::<JobStatus>(), time(ended_at), time(until))
        {
            each(TakenId {
                id: id.into(),
                status,
                ended_at,
                until,
            });
        }
    }
    Ok(())
}
