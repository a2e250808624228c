//! The table `pauses`: what is paused as a whole.

use rusqlite::{Connection, Transaction, params};
use time::OffsetDateTime;

use crate::job::pause_record::PauseRecord;
use crate::value::pause_key::PauseKey;
use crate::value::timestamp;

const SET: &str = "INSERT OR REPLACE INTO pauses (kind, name, paused_at, resumed_at) \
    VALUES (?1, ?2, ?3, ?4)";

const REMOVE: &str = "DELETE FROM pauses WHERE kind = ?1 AND name = ?2";

const LOAD: &str = "SELECT kind, name, paused_at, resumed_at FROM pauses";

pub(crate) fn set(transaction: &Transaction<'_>, pause: &PauseRecord) -> rusqlite::Result<()> {
    let text = |time| timestamp::format(time).as_str().to_owned();
    let values = params![
        pause.key.kind(),
        pause.key.name(),
        text(pause.paused_at),
        pause.resumed_at.map(text),
    ];
    transaction.prepare_cached(SET)?.execute(values).map(drop)
}

pub(crate) fn remove(transaction: &Transaction<'_>, key: &PauseKey) -> rusqlite::Result<()> {
    let values = params![key.kind(), key.name()];
    transaction
        .prepare_cached(REMOVE)?
        .execute(values)
        .map(drop)
}

/// Passes every pause to `each`. A row of an unknown kind is not a pause that this version has.
/// A time that can't be read is the epoch: what is paused stays paused.
pub(crate) fn load(
    connection: &Connection,
    each: &mut dyn FnMut(PauseRecord),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(LOAD)?;
    let mut rows = statement.query([])?;
    let time = |text: String| timestamp::parse(&text).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    while let Some(row) = rows.next()? {
        let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
        if let Some(key) = PauseKey::of(&kind, &name) {
            each(PauseRecord {
                key,
                paused_at: time(row.get(2)?),
                resumed_at: row.get::<_, Option<String>>(3)?.map(time),
            });
        }
    }
    Ok(())
}
