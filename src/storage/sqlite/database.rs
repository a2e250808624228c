//! A store in a file: SQLite's.
//!
//! Three connections: one commits, one moves the log into the file meanwhile
//! (`checkpoint.rs`), and one holds a lock file, which is how a store belongs to
//! one app. The file itself is not locked, so that anybody may look into it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::storage::contract::{Change, Loaded, Storage};
use crate::storage::sqlite::checkpoint::Checkpointer;
use crate::storage::sqlite::errors::Failed;
use crate::sync::primitives::Arc;
use crate::value::error::StorageError;

/// A store in a file, by SQLite, which is compiled in: the file can be opened
/// with any of its tools, also while an app uses it.
///
/// One app owns a file at a time, by a lock on a file beside it
/// (`jobs.db-lock`), and a second one gets [`StorageError::InUse`]; the
/// operating system ends the lock with the process. Like every SQLite database
/// with a write-ahead log, it has to be on a file system of this machine, and
/// is one with the files beside it (`jobs.db-wal`, `jobs.db-shm`): move or copy
/// them together, or not while an app uses them.
///
/// # What is in it
/// A table `jobs` with a row for each job: `id`, `task`, `args` (JSON), `due` and
/// `nominal` (RFC 3339 in UTC, of one width, so that SQL compares them as
/// times), `trigger`, `cron`, `attempts`, `runs`, `failures` and more.
///
/// ```sh
/// sqlite3 jobs.db "SELECT id, task, due FROM jobs WHERE due < '2027' ORDER BY due"
/// ```
///
/// ```
/// use std::time::Duration;
/// use jobber::{Jobber, SqliteStorage, Synchronous};
///
/// # let dir = std::env::temp_dir().join(format!("jobber-doc-sqlite-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("jobs.db");
/// let storage = SqliteStorage::new(path)
///     .synchronous(Synchronous::Normal)
///     .busy_timeout(Duration::from_secs(2));
/// let app = Jobber::builder().storage(storage).build()?;
/// app.start().wait_blocking()?;
/// # app.shutdown(Duration::ZERO).wait_blocking();
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteStorage {
    path: PathBuf,
    synchronous: Synchronous,
    busy_timeout: Duration,
    max_bytes: Option<u64>,
    open: Option<Open>,
}

/// What a commit of a [`SqliteStorage`] waits for
/// (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// Until the disk has it: what is committed survives the process, a crash of
    /// the system, and a power cut. A commit costs an `fsync`; but all that wait
    /// are committed together, so that many jobs share one. The default, for a
    /// scheduler that forgets is worse than one that is slow.
    #[default]
    Full,
    /// Until the operating system has it: what is committed survives the process,
    /// however it ends. A crash of the system or a power cut may take the last
    /// commits, all of those since some moment, and leaves the file sound: jobs
    /// scheduled since are gone, jobs that ran since run again, even those that
    /// were to run at most once.
    Normal,
}

#[derive(Debug)]
struct Open {
    busy_timeout: Duration,
    // In the order in which they are let go of.
    checkpointer: Checkpointer,
    connection: Connection,
    _owner: Connection,
}

/// Room for the pages of many jobs, in KiB.
const CACHE_KIB: i64 = 64 * 1_024;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl SqliteStorage {
    /// A store in this file, which is made if it is not there. Nothing is touched
    /// until an app starts with it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            synchronous: Synchronous::default(),
            busy_timeout: BUSY_TIMEOUT,
            max_bytes: None,
            open: None,
        }
    }

    /// What a commit waits for; without it, [`Synchronous::Full`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// How long a commit waits for somebody else who has the file locked, such as
    /// a shell with an open transaction; without it, 5 seconds. After that, what
    /// was to be scheduled fails with [`StorageError::Busy`].
    pub fn busy_timeout(mut self, limit: Duration) -> Self {
        self.busy_timeout = limit;
        self
    }

    /// How large the file may become; without it, as large as the disk allows. A
    /// job that does not fit fails with [`StorageError::Full`]. It is rounded down
    /// to pages, of 4,096 bytes as a rule; what is there already stays.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Hands over every record in a file, without taking hold of it: an app may
    /// use it at the same time. Nothing is changed.
    ///
    /// # Errors
    /// When there is no such file, or it can't be read.
    ///
    /// ```
    /// use jobber::{Loaded, SqliteStorage};
    ///
    /// # let path = std::env::temp_dir().join("jobber-doc-there-is-no-such-file.db");
    /// let result = SqliteStorage::inspect(path, |loaded| {
    ///     if let Loaded::Job(job) = loaded {
    ///         println!("{} of {} is due at {}", job.id, job.task, job.progress.due);
    ///     }
    /// });
    /// assert!(result.is_err());
    /// ```
    pub fn inspect(
        path: impl AsRef<Path>,
        mut each: impl FnMut(Loaded),
    ) -> Result<(), StorageError> {
        let failed = Failed::new(path.as_ref(), BUSY_TIMEOUT);
        let connection = connect(path.as_ref(), Access::Look, &failed)?;
        crate::storage::sqlite::schema::check(&connection, &failed)?;
        crate::storage::sqlite::rows::load(&connection, &mut each)
            .map_err(|error| failed.because(error))
    }

    fn try_open(&self) -> Result<Open, StorageError> {
        let path = absolute(&self.path)?;
        let failed = Failed::new(&path, self.busy_timeout);
        let owner = own(&path, &failed)?;
        let mut connection = connect(&path, Access::Own, &failed)?;
        let prepare = |connection: &mut Connection| {
            connection.busy_timeout(self.busy_timeout)?;
            connection.pragma_update(
                None,
                "synchronous",
                match self.synchronous {
                    Synchronous::Full => "FULL",
                    Synchronous::Normal => "NORMAL",
                },
            )?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            // The checkpointer's work.
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.set_prepared_statement_cache_capacity(8);
            rusqlite::Result::Ok(())
        };
        prepare(&mut connection).map_err(|error| failed.because(error))?;
        crate::storage::sqlite::schema::migrate(&mut connection, &failed)?;
        if let Some(bytes) = self.max_bytes {
            limit(&connection, bytes).map_err(|error| failed.because(error))?;
        }
        let second = connect(&path, Access::Own, &failed)?;
        second
            .busy_timeout(self.busy_timeout)
            .map_err(|error| failed.because(error))?;
        let checkpointer =
            Checkpointer::start(second).map_err(|source| StorageError::CannotOpen {
                path,
                source: Arc::new(source),
            })?;
        Ok(Open {
            busy_timeout: self.busy_timeout,
            checkpointer,
            connection,
            _owner: owner,
        })
    }
}

impl Storage for SqliteStorage {
    fn open(&mut self) -> Result<(), StorageError> {
        self.open = None;
        self.open = Some(self.try_open()?);
        Ok(())
    }

    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        let failed = Failed::new(&self.path, self.busy_timeout);
        let open = self.open.as_ref().ok_or(StorageError::Closed)?;
        crate::storage::sqlite::rows::load(&open.connection, each)
            .map_err(|error| failed.because(error))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let open = self.open.as_mut().ok_or(StorageError::Closed)?;
        open.commit(changes)
            .map_err(|error| Failed::new(&self.path, self.busy_timeout).because(error))
    }
}

impl Open {
    fn commit(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        {
            let mut rows = crate::storage::sqlite::rows::Changes::new(&transaction);
            changes.iter().try_for_each(|change| rows.apply(change))?;
        }
        transaction.commit()?;
        if self.checkpointer.wants_the_log_restarted() {
            // If it can't be now, the log is longer for a while.
            // Nor is it waited for: a reader may take as long as it likes.
            self.connection.busy_timeout(Duration::ZERO)?;
            let _ = crate::storage::sqlite::checkpoint::restart(&self.connection);
            self.connection.busy_timeout(self.busy_timeout)?;
        }
        self.checkpointer.log_has_grown();
        Ok(())
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Own,
    Look,
}

fn connect(path: &Path, access: Access, failed: &Failed<'_>) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let own = flags | OpenFlags::SQLITE_OPEN_READ_WRITE;
    match access {
        Access::Own => Connection::open_with_flags(path, own | OpenFlags::SQLITE_OPEN_CREATE),
        Access::Look => Connection::open_with_flags(path, own).or_else(|_| {
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_ONLY)
        }),
    }
    .map_err(|error| failed.to_open(error))
}

/// The path without links and `..`, so that the lock is beside the file,
/// whichever way it is named. The file itself may not be there yet.
fn absolute(path: &Path) -> Result<PathBuf, StorageError> {
    let cannot_open = |source: std::io::Error| StorageError::CannotOpen {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let name = path.file_name().ok_or_else(|| {
        cannot_open(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "it names no file",
        ))
    })?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    Ok(parent.canonicalize().map_err(cannot_open)?.join(name))
}

/// Takes the lock that makes the file this app's. It is SQLite's own, on an empty
/// database, and so is the same on every system and within one process.
fn own(path: &Path, failed: &Failed<'_>) -> Result<Connection, StorageError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    let owner = connect(Path::new(&name), Access::Own, failed)?;
    let take = || {
        owner.busy_timeout(Duration::ZERO)?;
        owner.execute_batch("BEGIN EXCLUSIVE")
    };
    match take() {
        Ok(()) => Ok(owner),
        Err(error) if crate::storage::sqlite::errors::is_busy(&error) => Err(StorageError::InUse {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed.because(error)),
    }
}

fn limit(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
    connection.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))
}
