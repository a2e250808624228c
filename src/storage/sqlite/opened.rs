//! [`Opened`]: a store that an app has open.
//!
//! It has two connections. The first commits. The second copies the log into the file
//! (`checkpoint.rs`). The file is locked for the app (`file_lock.rs`). SQLite's own locks
//! are left free, so that other programs can read the file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::job::end_record::{EndKey, EndRecord};
use crate::job::pause_record::PauseRecord;
use crate::job::taken_id::TakenId;
use crate::storage::contract::{Change, Loaded};
use crate::storage::sqlite::checkpoint::{Checkpointer, restart, truncate};
use crate::storage::sqlite::ends;
use crate::storage::sqlite::errors::Failed;
use crate::storage::sqlite::file_id::OpenFile;
use crate::storage::sqlite::file_lock::{FileLock, create_new};
use crate::storage::sqlite::pauses;
use crate::storage::sqlite::rows::{self, Changes};
use crate::storage::sqlite::schema;
use crate::storage::sqlite::taken_ids;
use crate::sync::primitives::Arc;
use crate::value::error::StorageError;

/// The size of SQLite's page cache, in KiB.
const CACHE_KIB: i64 = 64 * 1_024;

/// [`SqliteStorage::max_log_bytes`](crate::SqliteStorage::max_log_bytes) has the rule: the log
/// is restarted when it is longer than the database, but not below the first of these lengths
/// in bytes, and always above the second. If a small disk is full, what the log has and the
/// database has not is little, and finds room.
const SHORT_LOG: u64 = 1_024 * 1_024;
const LONG_LOG: u64 = 8 * SHORT_LOG;

/// The time between two tries to empty a log that another program copies.
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// `FULL` or `NORMAL`.
    pub(crate) synchronous: &'static str,
    pub(crate) busy_timeout: Duration,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_log_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Opened {
    /// Whether the app before has closed the file, as far as the file shows.
    was_closed: bool,
    /// The file says that this app has not.
    is_marked: bool,
    options: Options,
    path: PathBuf,
    /// The length above which the log is restarted.
    long_log: u64,
    /// The length above which a restart is tried next: a reader that holds the log would
    /// make a try at each commit a slow nothing.
    next_restart: u64,
    /// The length of the log after the last commit; `None` if a file was gone, or may be.
    log_length: Option<u64>,
    database_length: u64,
    /// Each of these files must stay where it is: if one is gone, a commit is lost.
    database: OpenFile,
    log: OpenFile,
    index: OpenFile,
    // Dropped in this order. The lock is the last: the next app that has it finds the file
    // closed.
    checkpointer: Checkpointer,
    connection: Connection,
    _lock: FileLock,
}

impl Opened {
    pub(crate) fn open(path: &Path, options: Options) -> Result<Self, StorageError> {
        let cannot_open = |source| StorageError::CannotOpen {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        // The program may change its current folder.
        let given = std::path::absolute(path).map_err(cannot_open)?;
        let lock = FileLock::exclusive(&given, options.busy_timeout)?;
        // Without links: the log lies beside the file that they lead to.
        let path = given.canonicalize().map_err(cannot_open)?;
        let failed = Failed::new(&path, options.busy_timeout);
        let because = |error| read_only_or(failed.because(error), &path);
        let long_log = LONG_LOG.min(options.max_log_bytes / 4);
        let mut connection = connect(&path, &failed)?;
        prepare(&connection, options, long_log).map_err(because)?;
        check_writable(&connection, options).map_err(because)?;
        schema::migrate(&mut connection, &failed)?;
        schema::check_structure(&connection, &failed)?;
        if let Some(bytes) = options.max_bytes {
            limit(&connection, bytes).map_err(because)?;
        }
        let second = connect(&path, &failed)?;
        second.busy_timeout(options.busy_timeout).map_err(because)?;
        // Makes the log, if there was none. The app before may have left it long, and the
        // disk full.
        let _ = truncate(&second).map_err(because)?;
        let log = OpenFile::at(beside(&path, "-wal"))?;
        let index = OpenFile::at(beside(&path, "-shm"))?;
        let database = OpenFile::new(given, lock.id().clone());
        // SQLite has opened the path: it must lead to the file that is locked.
        let database_length = database.check()?;
        let checkpointer = Checkpointer::start(second, long_log).map_err(cannot_open)?;
        let closed = connection.query_row("SELECT closed FROM app", [], |row| row.get(0));
        // If another program has locked the file, it is marked later. Until then the file may
        // say that this app has closed it: so this app trusts nobody.
        let is_marked = mark(&connection, false, options).is_ok();
        Ok(Self {
            was_closed: is_marked && closed.unwrap_or(false),
            is_marked,
            options,
            path,
            long_log,
            next_restart: 0,
            log_length: None,
            database_length,
            database,
            log,
            index,
            checkpointer,
            connection,
            _lock: lock,
        })
    }

    pub(crate) fn was_closed(&self) -> bool {
        self.was_closed
    }

    /// Notes that the app has closed the file.
    pub(crate) fn close(&mut self) -> Result<(), StorageError> {
        self.is_marked = false;
        let closed =
            mark(&self.connection, true, self.options).map_err(|error| self.because(error));
        let _ = self.check()?;
        closed
    }

    pub(crate) fn load(&self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        rows::load(&self.connection, each).map_err(|error| self.because(error))
    }

    pub(crate) fn load_ends(&self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        ends::load(&self.connection, each).map_err(|error| self.because(error))
    }

    pub(crate) fn load_pauses(
        &self,
        each: &mut dyn FnMut(PauseRecord),
    ) -> Result<(), StorageError> {
        pauses::load(&self.connection, each).map_err(|error| self.because(error))
    }

    pub(crate) fn load_taken_ids(&self, each: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
        taken_ids::load(&self.connection, each).map_err(|error| self.because(error))
    }

    pub(crate) fn has_end(&self, key: &EndKey) -> Result<bool, StorageError> {
        ends::has(&self.connection, key).map_err(|error| self.because(error))
    }

    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        if !self.is_marked {
            self.is_marked = mark(&self.connection, false, self.options).is_ok();
        }
        let length = match self.log_length.take() {
            Some(length) => length,
            None => self.check()?,
        };
        self.limit_log(length)?;
        match self.try_commit(changes) {
            // The log may take the room that is missing.
            Err(StorageError::Full { .. }) if self.check()? > 0 && self.shorten_log() => {
                self.try_commit(changes)?;
            }
            // After another error, the app tries again later.
            Err(error @ StorageError::Io { .. }) => {
                let _ = self.shorten_log();
                return Err(error);
            }
            other => other?,
        }
        // After the commit and before the app hears of it: nobody is to believe in a commit to
        // a file that is gone. The three calls take 4 us.
        let length = self.check()?;
        self.log_length = Some(length);
        let short = SHORT_LOG.min(self.long_log);
        let enough = self.database_length.clamp(short, self.long_log);
        if self.checkpointer.take_restart_request() || length > self.next_restart.max(enough) {
            self.next_restart = if self.without_wait(restart) {
                // The file keeps its length, up to the limit, and is written over.
                length.min(self.long_log)
            } else {
                length.saturating_add(self.long_log)
            };
        }
        self.checkpointer.log_has_grown();
        Ok(())
    }

    /// Makes a log that has reached its maximum empty.
    fn limit_log(&mut self, length: u64) -> Result<(), StorageError> {
        let limit = self.options.max_log_bytes;
        if length <= limit {
            return Ok(());
        }
        // SQLite waits the busy timeout for a reader, but not for a checkpoint of another
        // program (<https://www.sqlite.org/c3ref/wal_checkpoint_v2.html>).
        let begun = Instant::now();
        while !self.checkpointer.alone(|| truncate(&self.connection)) {
            if begun.elapsed() >= self.options.busy_timeout {
                break;
            }
            thread::sleep(BETWEEN_TRIES);
        }
        if self.check()? <= limit {
            return Ok(());
        }
        Err(StorageError::LogFull {
            path: beside(&self.path, "-wal"),
            limit,
        })
    }

    /// Returns the length of the log, if each file is where it was.
    fn check(&mut self) -> Result<u64, StorageError> {
        self.database_length = self.database.check()?;
        let _ = self.index.check()?;
        self.log.check()
    }

    fn try_commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let failed = Failed::new(&self.path, self.options.busy_timeout);
        commit(&mut self.connection, changes).map_err(|error| failed.because(error))
    }

    /// Makes the log empty. Returns whether it could.
    fn shorten_log(&self) -> bool {
        self.without_wait(truncate)
    }

    /// Carries out a checkpoint, and returns whether it was complete. Does not wait for
    /// another program: a reader may hold the log for any time.
    fn without_wait(&self, checkpoint: fn(&Connection) -> rusqlite::Result<bool>) -> bool {
        let is_complete = self.checkpointer.alone(|| {
            self.connection.busy_timeout(Duration::ZERO)?;
            checkpoint(&self.connection)
        });
        let _ = self.connection.busy_timeout(self.options.busy_timeout);
        is_complete
    }

    fn because(&self, error: rusqlite::Error) -> StorageError {
        Failed::new(&self.path, self.options.busy_timeout).because(error)
    }
}

fn commit(connection: &mut Connection, changes: &[Change]) -> rusqlite::Result<()> {
    let behavior = TransactionBehavior::Immediate;
    let transaction = connection.transaction_with_behavior(behavior)?;
    {
        let mut rows = Changes::new(&transaction);
        changes.iter().try_for_each(|change| rows.apply(change))?;
    }
    transaction.commit()
}

/// Writes whether the app has closed the file. Does not wait for another program.
fn mark(connection: &Connection, is_closed: bool, options: Options) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    let marked = connection.execute("UPDATE app SET closed = ?1", [is_closed]);
    connection.busy_timeout(options.busy_timeout)?;
    marked.map(drop)
}

fn connect(path: &Path, failed: &Failed<'_>) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE
        | OpenFlags::SQLITE_OPEN_READ_WRITE;
    // The lock has created it; where that is another file, it may not exist yet.
    let flags = if cfg!(unix) {
        flags
    } else {
        flags | OpenFlags::SQLITE_OPEN_CREATE
    };
    Connection::open_with_flags(path, flags).map_err(|error| failed.to_open(error))
}

fn prepare(connection: &Connection, options: Options, long_log: u64) -> rusqlite::Result<()> {
    connection.busy_timeout(options.busy_timeout)?;
    connection.pragma_update(None, "synchronous", options.synchronous)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // The checkpointer does this.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // What the log keeps when it is restarted: to write over a file is faster than to make
    // it longer.
    let kept = i64::try_from(long_log).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "journal_size_limit", kept, |_| Ok(()))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(())
}

/// Whether the file can be written. SQLite opens a file that it may not write as a read-only
/// one, without an error.
fn check_writable(connection: &Connection, options: Options) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => Err(error),
        // Another program writes at the moment.
        _ => connection.busy_timeout(options.busy_timeout),
    }
}

/// If SQLite can't make its log because the folder is read-only, it says only that it can't
/// open a file.
fn read_only_or(error: StorageError, path: &Path) -> StorageError {
    if !matches!(error, StorageError::CannotOpen { .. }) {
        return error;
    }
    let probe = beside(path, "-probe");
    match create_new(&probe) {
        Ok(_) => {
            let _ = std::fs::remove_file(&probe);
            error
        }
        Err(found) => match found.kind() {
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => StorageError::ReadOnly {
                path: path.to_owned(),
            },
            _ => error,
        },
    }
}

fn limit(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
    connection.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))
}

/// The path of a file beside the database.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
