//! [`StorageError`]: a storage operation failed.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::sync::primitives::Arc;

/// The reason why a storage operation failed.
///
/// If a commit of several changes fails, each of the changes gets a clone of the error.
/// Cloning is cheap.
///
/// ```
/// use jobber::storage::StorageError;
///
/// /// Whether the operation may succeed later.
/// fn is_temporary(error: &StorageError) -> bool {
///     matches!(error, StorageError::Busy { .. } | StorageError::Full { .. })
/// }
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another connection, such as a SQLite shell with an open transaction, held the lock
    /// on the file for longer than the storage waits; or too many jobs wait for the storage,
    /// and no place became free ([`Storage::busy_timeout`](crate::storage::Storage::busy_timeout)). Nothing was written.
    #[error("{}", Busy(path.as_deref(), *waited))]
    Busy {
        /// The file that was locked. `None` if too many jobs wait for the storage.
        path: Option<PathBuf>,
        /// How long the storage waited for the lock, or the job for a place.
        waited: Duration,
    },
    /// Another app, in this process or in another one, has the file open.
    #[error("`{}` is in use by another app: a storage file belongs to one app at a time", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file of the store was removed, renamed or replaced while an app uses it, or its
    /// path leads to another file now. What is committed to it would be lost. The app goes
    /// on when the same file is back. To copy a store that is in use, call
    /// `SqliteStorage::backup`; to move it, stop the app first.
    #[error("`{}` was removed, renamed or replaced while the app uses it: stop the app before you move its files", path.display())]
    Moved {
        /// The file that is gone.
        path: PathBuf,
    },
    /// The disk is full, or the file has reached its maximum size. Nothing was written.
    #[error("`{}` cannot grow: the disk is full, or the file has its maximum size", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The write-ahead log has reached its maximum size
    /// (`SqliteStorage::max_log_bytes`), because another connection has a transaction open
    /// that reads an old state of the file. Nothing was written. When that transaction
    /// ends, the log starts again from its beginning.
    #[error("the log `{}` has reached its maximum of {limit} bytes, because another connection reads an old state of the file: end its transaction", path.display())]
    LogFull {
        /// The log.
        path: PathBuf,
        /// The maximum size in bytes.
        limit: u64,
    },
    /// The file, its directory or its file system is read-only. Nothing was written.
    #[error("`{}` is read-only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a SQLite database.
    #[error("`{}` is not a SQLite database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a SQLite database, but another program created it.
    #[error("`{}` is a database of another program: use a separate file for jobber", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("`{}` is damaged: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The message of SQLite.
        detail: String,
    },
    /// A newer version of jobber wrote the file.
    #[error("`{}` has schema version {found}, but this version of jobber supports at most {known}: update jobber", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema version of the file.
        found: i64,
        /// The newest schema version that this version of jobber supports.
        known: i64,
    },
    /// The file could not be opened or created.
    #[error("`{}` cannot be opened", path.display())]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// The error of SQLite or of the operating system.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The operating system could not read or write the file.
    #[error("reading or writing `{}` failed", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A record is larger than the storage allows. The other changes of the same commit
    /// can still be committed without it.
    #[error("the job is too large for the storage: {detail}")]
    TooLarge {
        /// The message of the storage.
        detail: String,
    },
    /// The app has stopped, and its storage is closed.
    #[error("the app has stopped, and its storage is closed")]
    Closed,
    /// The code of the storage panicked.
    #[error("the storage panicked: {message}")]
    Panicked {
        /// The panic message, or `(no text)` if the panic's payload is not a string.
        message: Arc<str>,
    },
    /// Any other error, such as an error of your own storage. The message is the message
    /// of the error inside.
    #[error(transparent)]
    Other(Arc<dyn Error + Send + Sync>),
}

impl StorageError {
    /// Wraps any error as [`StorageError::Other`], for a [`Storage`](crate::storage::Storage) of your
    /// own.
    ///
    /// ```
    /// let error = jobber::storage::StorageError::other("the network is down");
    /// assert_eq!(error.to_string(), "the network is down");
    /// ```
    pub fn other(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other(Arc::from(error.into()))
    }

    /// Whether certainly nothing was written. After any other error, another process may
    /// find the failed change in the storage.
    pub(crate) fn wrote_nothing(&self) -> bool {
        matches!(
            self,
            StorageError::Busy { .. }
                | StorageError::Full { .. }
                | StorageError::LogFull { .. }
                | StorageError::ReadOnly { .. }
                | StorageError::TooLarge { .. }
                | StorageError::Closed
        )
    }
}

/// Displays [`StorageError::Busy`].
struct Busy<'a>(Option<&'a Path>, Duration);

impl fmt::Display for Busy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Busy(path, waited) = self;
        match path {
            Some(path) => write!(
                f,
                "`{}` was locked by another connection for more than {waited:?}",
                path.display()
            ),
            None => write!(
                f,
                "too many jobs wait for the storage: no place was free for {waited:?}"
            ),
        }
    }
}
