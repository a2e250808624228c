//! A store in a file, by jobber and by hand.

use std::path::Path;

use jobber::{Jobber, SqliteStorage, Task, storage::Synchronous};
use rusqlite::{Connection, params};

use crate::Result;

pub type Mail = Task<(u64, String), ()>;

/// How far a commit goes: to the disk, or to the operating system.
pub fn synchronous(name: &str) -> Result<Synchronous> {
    match name {
        "NORMAL" => Ok(Synchronous::Normal),
        "FULL" => Ok(Synchronous::Full),
        _ => Err(format!("{name} is neither NORMAL nor FULL").into()),
    }
}

/// An app that has not started yet.
pub fn app(path: &Path, synchronous: Synchronous) -> Result<(Jobber, Mail)> {
    let storage = SqliteStorage::new(path).synchronous(synchronous);
    let app = Jobber::builder().storage(storage).build()?;
    let task = app
        .task("send_mail", async |_: u64, _: String| {})
        .durable()
        .register()?;
    Ok((app, task))
}

/// The same file, as the store makes it, by hand.
pub fn raw(path: &Path, level: &str) -> Result<Connection> {
    let (app, task) = app(path, synchronous(level)?)?;
    app.start().block_on()?;
    drop((app, task));
    let raw = Connection::open(path)?;
    raw.pragma_update(None, "synchronous", level)?;
    raw.pragma_update(None, "cache_size", -65_536)?;
    Ok(raw)
}

/// As many rows in one transaction.
pub fn insert(raw: &mut Connection, first: usize, count: usize) -> Result {
    const TIME: &str = "2099-11-24T15:04:05.000000000Z";
    let transaction = raw.transaction()?;
    for n in first..first + count {
        let id = format!("01902a5e-7c4b-7d10-8a3e-{n:012x}");
        let mut insert = transaction.prepare_cached(
            "INSERT INTO jobs (id, task, args, due, nominal, trigger, attempts, scheduled_at, version)
             VALUES (?1, 'send_mail', ?2, ?3, ?3, 'delay', 0, ?3, 1)",
        )?;
        insert.execute(params![
            id,
            format!(r#"[{n},"somebody@example.org"]"#),
            TIME
        ])?;
    }
    transaction.commit()?;
    Ok(())
}
