//! [`SqliteStorage`]: a store in a file.
//!
//! It has three connections. The first commits. The second copies the log into the file
//! (`checkpoint.rs`). The third holds a lock on a file beside the database, so that the
//! store belongs to one app. The database itself is not locked, so that other programs
//! can read it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::job::end_record::EndRecord;
use crate::storage::contract::{Change, Loaded, Storage};
use crate::storage::sqlite::checkpoint::Checkpointer;
use crate::storage::sqlite::errors::Failed;
use crate::sync::primitives::Arc;
use crate::value::error::StorageError;

/// A store in an SQLite file. SQLite is compiled in. Any SQLite tool can read the file,
/// also while an app uses it.
///
/// A file belongs to one app at a time. The app locks a file beside it (`jobs.db-lock`); a
/// second app gets [`StorageError::InUse`]. The operating system releases the lock when the
/// process ends.
///
/// The file must be on a file system of this machine, not on a network. SQLite keeps two
/// more files beside it (`jobs.db-wal`, `jobs.db-shm`): move or copy all three together,
/// and only while no app uses them.
///
/// # Table
/// The table `jobs` has a row for each job: `id`, `task`, `args` (JSON), `due` and
/// `nominal` (RFC 3339 in UTC, with a fixed width, so that SQL can compare them),
/// `trigger`, `cron`, `attempts`, `runs`, `failures` and more.
///
/// ```sh
/// sqlite3 jobs.db "SELECT id, task, due FROM jobs WHERE due < '2027' ORDER BY due"
/// ```
///
/// ```
/// use std::time::Duration;
/// use jobber::{Jobber, storage::{SqliteStorage, Synchronous}};
///
/// # let dir = std::env::temp_dir().join(format!("jobber-doc-sqlite-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("jobs.db");
/// let storage = SqliteStorage::new(path)
///     .synchronous(Synchronous::Normal)
///     .busy_timeout(Duration::from_secs(2));
/// let app = Jobber::builder().storage(storage).build()?;
/// app.start().block_on()?;
/// # app.shutdown(Duration::ZERO).block_on();
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

/// How long a commit of a [`SqliteStorage`] waits
/// (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
///
/// | | `Full` | `Normal` |
/// |---|---|---|
/// | the process ends, in any way | nothing is lost | nothing is lost |
/// | the system crashes, or a power cut | nothing is lost | the last commits may be lost |
/// | a commit waits for | the disk (`fsync`) | the operating system |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// Waits until the disk has saved the commit. It survives the process, a crash of the
    /// system, and a power cut. Each commit needs an `fsync`; jobs that wait at the same
    /// time are saved in one commit. This is the default, because a scheduler that loses
    /// jobs is worse than a slow one.
    #[default]
    Full,
    /// Waits until the operating system has the commit. It survives the process. After a
    /// crash of the system or a power cut, all commits since some moment may be lost; the
    /// file is not damaged. Jobs that were scheduled since then are lost. Jobs that ran
    /// since then run again, also jobs of an `at_most_once` task.
    Normal,
}

#[derive(Debug)]
struct Open {
    busy_timeout: Duration,
    // Dropped in this order.
    checkpointer: Checkpointer,
    connection: Connection,
    _owner: Connection,
}

/// The size of SQLite's page cache, in KiB.
const CACHE_KIB: i64 = 64 * 1_024;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl SqliteStorage {
    /// Makes a store in the file `path`. The file is opened, or created, when an app
    /// starts with this store.
    ///
    /// ```
    /// use jobber::{Jobber, SqliteStorage};
    ///
    /// let app = Jobber::builder().storage(SqliteStorage::new("jobs.db")).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            synchronous: Synchronous::default(),
            busy_timeout: BUSY_TIMEOUT,
            max_bytes: None,
            open: None,
        }
    }

    /// Sets how long a commit waits. Default: [`Synchronous::Full`].
    ///
    /// ```
    /// use jobber::storage::{SqliteStorage, Synchronous};
    ///
    /// let storage = SqliteStorage::new("jobs.db").synchronous(Synchronous::Normal);
    /// ```
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Sets how long a commit waits if another program has locked the file, for example a
    /// shell with an open transaction. Default: 5 s. When the time is over, the commit
    /// fails with [`StorageError::Busy`]. A job waits as long for a place among those that
    /// wait for the store ([`Storage::busy_timeout`]).
    ///
    /// ```
    /// use std::time::Duration;
    /// use jobber::SqliteStorage;
    ///
    /// let storage = SqliteStorage::new("jobs.db").busy_timeout(Duration::from_secs(1));
    /// ```
    pub fn busy_timeout(mut self, limit: Duration) -> Self {
        self.busy_timeout = limit;
        self
    }

    /// Sets the largest size of the file in bytes, rounded down to whole pages (usually
    /// 4,096 bytes). Default: no limit. If a job does not fit, scheduling it fails with
    /// [`StorageError::Full`]. A file that is larger already does not become smaller.
    ///
    /// ```
    /// use jobber::SqliteStorage;
    ///
    /// let storage = SqliteStorage::new("jobs.db").max_bytes(64 * 1024 * 1024);
    /// ```
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Calls `each` with every record in the file `path`. Does not change the file and does
    /// not lock it: an app may use it at the same time. Blocks the thread while it reads.
    ///
    /// # Errors
    /// If the file does not exist or can't be read.
    ///
    /// ```
    /// use jobber::storage::{Loaded, SqliteStorage};
    ///
    /// # let path = std::env::temp_dir().join("jobber-doc-there-is-no-such-file.db");
    /// let result = SqliteStorage::inspect(path, |loaded| {
    ///     if let Loaded::Job(job) = loaded {
    ///         println!("{} of {} is due at {}", job.id(), job.task(), job.due());
    ///     }
    /// });
    /// assert!(result.is_err());
    /// ```
    pub fn inspect(
        path: impl AsRef<Path>,
        mut each: impl FnMut(Loaded),
    ) -> Result<(), StorageError> {
        let failed = Failed::new(path.as_ref(), BUSY_TIMEOUT);
        let connection = connect(path.as_ref(), Access::Read, &failed)?;
        crate::storage::sqlite::schema::check(&connection, &failed)?;
        crate::storage::sqlite::rows::load(&connection, &mut each)
            .map_err(|error| failed.because(error))
    }

    fn try_open(&self) -> Result<Open, StorageError> {
        let path = absolute(&self.path)?;
        let failed = Failed::new(&path, self.busy_timeout);
        let owner = own(&path, &failed)?;
        let mut connection = connect(&path, Access::ReadWrite, &failed)?;
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
            // The checkpointer does this.
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.set_prepared_statement_cache_capacity(16);
            rusqlite::Result::Ok(())
        };
        prepare(&mut connection).map_err(|error| failed.because(error))?;
        crate::storage::sqlite::schema::migrate(&mut connection, &failed)?;
        if let Some(bytes) = self.max_bytes {
            limit(&connection, bytes).map_err(|error| failed.because(error))?;
        }
        let second = connect(&path, Access::ReadWrite, &failed)?;
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

    fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        let open = self.open.as_ref().ok_or(StorageError::Closed)?;
        let mut unreadable = None;
        let loaded = crate::storage::sqlite::ends::load(&open.connection, &mut |end| match end {
            Ok(end) => each(end),
            Err(reason) => unreadable = Some(reason),
        });
        loaded.map_err(|error| Failed::new(&self.path, self.busy_timeout).because(error))?;
        unreadable.map_or(Ok(()), |reason| {
            Err(StorageError::Corrupt {
                path: self.path.clone(),
                detail: format!("a row of the table `ends` can't be read: {reason}"),
            })
        })
    }

    fn busy_timeout(&self) -> Duration {
        self.busy_timeout
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
        if self.checkpointer.take_restart_request() {
            // Without a wait, because a reader may hold the log for any time. If the
            // restart fails, the log stays long until the next one.
            self.connection.busy_timeout(Duration::ZERO)?;
            let _ = crate::storage::sqlite::checkpoint::restart(&self.connection);
            self.connection.busy_timeout(self.busy_timeout)?;
        }
        self.checkpointer.log_has_grown();
        Ok(())
    }
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    ReadWrite,
    Read,
}

fn connect(path: &Path, access: Access, failed: &Failed<'_>) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let own = flags | OpenFlags::SQLITE_OPEN_READ_WRITE;
    match access {
        Access::ReadWrite => Connection::open_with_flags(path, own | OpenFlags::SQLITE_OPEN_CREATE),
        Access::Read => Connection::open_with_flags(path, own).or_else(|_| {
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_ONLY)
        }),
    }
    .map_err(|error| failed.to_open(error))
}

/// The path without links and `..`: two paths to the same file lead to the same lock. The
/// file may not exist yet.
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
            "the path has no file name",
        ))
    })?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    Ok(parent.canonicalize().map_err(cannot_open)?.join(name))
}

/// Locks the store for this app. The lock is SQLite's lock on an empty database, because
/// that works in the same way on every system, and also within one process.
fn own(path: &Path, failed: &Failed<'_>) -> Result<Connection, StorageError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    let owner = connect(Path::new(&name), Access::ReadWrite, failed)?;
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
