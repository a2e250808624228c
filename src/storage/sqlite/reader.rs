//! [`Reader`]: a connection that reads a store without a change on the disk.
//!
//! SQLite itself would, after a crash: the connection that closes a file last copies the log
//! into it and deletes the log. What is safe depends on who uses the file:
//!
//! - If an app has it, an ordinary connection reads beside the app.
//! - If nobody has it, it is locked against apps. Without a log it is read as it is. With a
//!   log, or the journal of a migration, a private copy is read.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::storage::sqlite::errors::Failed;
use crate::storage::sqlite::file_lock::FileLock;
use crate::storage::sqlite::opened::beside;
use crate::storage::sqlite::private_copy::PrivateCopy;
use crate::storage::sqlite::schema;
use crate::sync::primitives::Arc;
use crate::value::error::StorageError;

/// How long a reader waits for another program that has locked the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the file of a store.
pub(crate) struct Reader {
    // Dropped in this order.
    connection: Connection,
    _copy: Option<PrivateCopy>,
    _lock: Option<FileLock>,
}

impl Reader {
    /// Opens the store in the file `path`, and checks that it is one.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        let path = &path
            .canonicalize()
            .map_err(|source| StorageError::CannotOpen {
                path: path.to_owned(),
                source: Arc::new(source),
            })?;
        let failed = Failed::new(path, BUSY_TIMEOUT);
        let lock = FileLock::shared(path)?;
        let (connection, copy) = match &lock {
            None => (connect(path, &failed)?, None),
            Some(lock) if is_unfinished(path) => {
                let copy = PrivateCopy::of(path, lock)?;
                (connect(copy.path(), &failed)?, Some(copy))
            }
            Some(_) => (connect_unchanging(path, &failed)?, None),
        };
        schema::check(&connection, &failed)?;
        Ok(Self {
            connection,
            _copy: copy,
            _lock: lock,
        })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Whether some of the state is beside the file: a log, or the journal of a migration.
fn is_unfinished(path: &Path) -> bool {
    let has = |suffix| std::fs::metadata(beside(path, suffix)).is_ok_and(|found| found.len() > 0);
    has("-wal") || has("-journal")
}

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX)
    .union(OpenFlags::SQLITE_OPEN_EXRESCODE);

fn connect(path: &Path, failed: &Failed<'_>) -> Result<Connection, StorageError> {
    let connection =
        Connection::open_with_flags(path, FLAGS).map_err(|error| failed.to_open(error))?;
    let prepare = || {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // The app may end while this reads, and leave the log to the next one.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "trusted_schema", false)
    };
    prepare().map_err(|error| failed.because(error))?;
    Ok(connection)
}

/// Connects to a file that nobody changes: SQLite makes no log and no lock.
#[cfg(unix)]
fn connect_unchanging(path: &Path, failed: &Failed<'_>) -> Result<Connection, StorageError> {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => {
                // Writing to a string can't fail.
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri.push_str("?immutable=1");
    let flags = FLAGS | OpenFlags::SQLITE_OPEN_URI;
    let connection =
        Connection::open_with_flags(uri, flags).map_err(|error| failed.to_open(error))?;
    connection
        .pragma_update(None, "trusted_schema", false)
        .map_err(|error| failed.because(error))?;
    Ok(connection)
}

#[cfg(not(unix))]
fn connect_unchanging(path: &Path, failed: &Failed<'_>) -> Result<Connection, StorageError> {
    connect(path, failed)
}
