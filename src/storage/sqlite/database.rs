//! [`SqliteStorage`]: a store in a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::job::end_record::{EndKey, EndRecord};
use crate::job::pause_record::PauseRecord;
use crate::job::taken_id::TakenId;
use crate::storage::contract::{Change, Loaded, Storage};
use crate::storage::sqlite::errors::Failed;
use crate::storage::sqlite::opened::{Opened, Options};
use crate::storage::sqlite::reader::{BUSY_TIMEOUT, Reader};
use crate::storage::sqlite::{rows, schema};
use crate::value::error::StorageError;

/// A store in an SQLite file. SQLite is compiled in. Any SQLite tool can read the file,
/// also while an app uses it.
///
/// A file belongs to one app at a time. The app locks the file; a second app gets
/// [`StorageError::InUse`], by whichever name it opens the file. The operating system
/// releases the lock when the process ends.
///
/// The file must be on a file system of this machine, not on a network. SQLite keeps two
/// more files beside it (`jobs.db-wal`, `jobs.db-shm`): move all three together, and only
/// while no app uses them. If one of them is removed, renamed or replaced under an app,
/// commits fail with [`StorageError::Moved`]. New files can be read by their owner only.
///
/// # Do not read the file in the program that has it open
/// `std::fs::read("jobs.db")`, `std::fs::copy` or anything else that opens and closes the
/// file takes SQLite's locks away from the program: the operating system drops all POSIX
/// locks of a process on a file when the process closes any handle of it. Another program
/// that looks at the file with SQLite may then delete the log, and commits are lost. Use
/// [`backup`](SqliteStorage::backup), [`inspect`](SqliteStorage::inspect), or a connection of
/// the same SQLite library. Other programs may read the file.
///
/// # Tables
/// The table `jobs` has a row for each job: `id`, `task`, `args` (JSON), `due` and
/// `nominal` (RFC 3339 in UTC, with a fixed width, so that SQL can compare them),
/// `trigger`, `cron`, `attempts`, `runs`, `failures`, `interruptions` and more. The table
/// `ends` has a row for each job that has failed: `id`, `scheduled_at`, `run`, `task`, `args`,
/// `status`, `error`, `attempts`, `started_at`, `finished_at`, `keep_until` and more. The table
/// `app` says whether the app that had the file open last has closed it.
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
    max_log_bytes: u64,
    open: Option<Opened>,
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

/// The default of [`SqliteStorage::max_log_bytes`]: 1 GiB.
const MAX_LOG_BYTES: u64 = 1_024 * 1_024 * 1_024;

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
            max_log_bytes: MAX_LOG_BYTES,
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
    /// The log beside the file is not part of this: see
    /// [`max_log_bytes`](SqliteStorage::max_log_bytes).
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

    /// Sets the largest size in bytes of the log beside the file (`jobs.db-wal`). Default:
    /// 1 GiB.
    ///
    /// The log is restarted, so that commits write over it, as soon as it is longer than the
    /// file: at 1 MiB at the earliest and at 8 MiB at the latest, but never later than at a
    /// quarter of `bytes`. The log grows beyond that by one commit at most, unless another
    /// connection has a transaction open that reads an old state of the file: then the log
    /// can't be restarted. If the log is longer than `bytes` by then, a commit fails with
    /// [`StorageError::LogFull`], and `health()` shows the error, until that transaction ends.
    ///
    /// So the store takes `max_bytes` and `max_log_bytes` and one commit on the disk at
    /// most, and 1/128 of the log for its index (`jobs.db-shm`). If the disk has that room,
    /// a full store can always delete jobs. If it has less, and jobs fill it, the log may
    /// have pages that find no room in the file: then nothing can be deleted until the disk
    /// has room.
    ///
    /// ```
    /// use jobber::SqliteStorage;
    ///
    /// let storage = SqliteStorage::new("jobs.db")
    ///     .max_bytes(64 * 1024 * 1024)
    ///     .max_log_bytes(64 * 1024 * 1024);
    /// ```
    pub fn max_log_bytes(mut self, bytes: u64) -> Self {
        self.max_log_bytes = bytes;
        self
    }

    /// Calls `each` with every record in the file `path`. An app may use the file at the same
    /// time. Blocks the thread while it reads.
    ///
    /// It does not change the store, also after a crash: the log stays as it is, and the file may
    /// be on a read-only file system. If no app uses the file, an app that starts meanwhile
    /// waits until `inspect` has returned, for the busy timeout at most.
    ///
    /// If no app uses the file and there is a log, as after a crash, `inspect` reads a copy. The
    /// copy is in a folder `jobber-copy-…` (mode 0700) in the folder for temporary files, which
    /// needs room for the file and the log. It holds the arguments of all jobs, and is deleted
    /// before `inspect` returns. If the process is killed meanwhile, the folder stays: delete it.
    ///
    /// # Descriptors
    /// The process keeps one descriptor for each file that it has read in this way, until it
    /// opens or reads a store after the file was deleted. A second call for the same file needs
    /// no more. The descriptor can't be closed before, because that would take the locks of all
    /// SQLite connections of this process to the file away, also of connections that jobber does
    /// not know (see [above](SqliteStorage#do-not-read-the-file-in-the-program-that-has-it-open)).
    /// To read hundreds of files, start another program for each of them.
    ///
    /// # Errors
    /// If the file does not exist or can't be read, or is damaged. Before it returns
    /// [`StorageError::Corrupt`], it passes the records that it can read.
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
        let reader = Reader::open(path.as_ref())?;
        rows::load(reader.connection(), &mut each).map_err(|error| failed.because(error))?;
        // Last, so that `each` has seen what can be read.
        schema::check_structure(reader.connection(), &failed)
    }

    /// Copies the store in the file `from` to the new file `to`, as it is after one of its
    /// commits. An app may use `from` at the same time, in this program or in another one.
    /// Blocks the thread. Only the owner of the copy can read it.
    ///
    /// It reads `from` as [`inspect`](SqliteStorage::inspect) does: the process keeps a
    /// descriptor of `from`, and none of `to`; and after a crash it needs room for a temporary
    /// copy, too. The backup is made in a file `<to>-part-…`, with a new name each time. If the
    /// process is killed meanwhile, this file stays. The next backup succeeds all the same:
    /// delete the file.
    ///
    /// # Errors
    /// If `from` can't be read, or `to` exists or can't be written. A file that exists is not
    /// changed.
    ///
    /// ```
    /// use jobber::{Jobber, SqliteStorage};
    ///
    /// # let dir = std::env::temp_dir().join(format!("jobber-doc-backup-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir)?;
    /// # let (path, copy) = (dir.join("jobs.db"), dir.join("copy.db"));
    /// let app = Jobber::builder().storage(SqliteStorage::new(&path)).build()?;
    /// app.start().block_on()?;
    /// SqliteStorage::backup(&path, &copy)?;
    /// assert!(SqliteStorage::backup(&path, &copy).is_err(), "it exists");
    /// # app.shutdown(std::time::Duration::ZERO).block_on();
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), StorageError> {
        crate::storage::sqlite::backup::backup(from.as_ref(), to.as_ref())
    }

    fn options(&self) -> Options {
        Options {
            synchronous: match self.synchronous {
                Synchronous::Full => "FULL",
                Synchronous::Normal => "NORMAL",
            },
            busy_timeout: self.busy_timeout,
            max_bytes: self.max_bytes,
            max_log_bytes: self.max_log_bytes,
        }
    }
}

impl Storage for SqliteStorage {
    fn open(&mut self) -> Result<(), StorageError> {
        self.open = None;
        self.open = Some(Opened::open(&self.path, self.options())?);
        Ok(())
    }

    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        self.open.as_ref().ok_or(StorageError::Closed)?.load(each)
    }

    fn was_closed(&self) -> bool {
        self.open.as_ref().is_some_and(Opened::was_closed)
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.open.as_mut().ok_or(StorageError::Closed)?.close()
    }

    fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        let open = self.open.as_ref().ok_or(StorageError::Closed)?;
        open.load_ends(each)
    }

    fn load_pauses(&mut self, each: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError> {
        let open = self.open.as_ref().ok_or(StorageError::Closed)?;
        open.load_pauses(each)
    }

    fn load_taken_ids(&mut self, each: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
        let open = self.open.as_ref().ok_or(StorageError::Closed)?;
        open.load_taken_ids(each)
    }

    fn has_end(&mut self, key: &EndKey) -> Result<bool, StorageError> {
        let open = self.open.as_ref().ok_or(StorageError::Closed)?;
        open.has_end(key)
    }

    fn busy_timeout(&self) -> Duration {
        self.busy_timeout
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.open
            .as_mut()
            .ok_or(StorageError::Closed)?
            .commit(changes)
    }
}
