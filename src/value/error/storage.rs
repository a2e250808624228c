//! What a store can say when it can't do what was asked.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::sync::primitives::Arc;
use crate::value::error::boxed::BoxError;
use crate::value::error::cron::{CronError, ZoneError};

/// Why a store could not do what was asked.
///
/// It can be cloned: everyone whose change was part of a commit that failed is
/// told.
///
/// ```
/// use jobber::storage::StorageError;
///
/// /// Whether it may help to ask again in a while.
/// fn is_passing(error: &StorageError) -> bool {
///     matches!(error, StorageError::Busy { .. } | StorageError::Full { .. })
/// }
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Somebody else, such as a shell in which a transaction is open, held the
    /// file for longer than the store waits. Nothing was written.
    #[error("`{}` is locked by another connection, and was for more than {waited:?}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long the store waited.
        waited: Duration,
    },
    /// Another app, in this process or another one, has the store open.
    #[error("`{}` is in use by another app: a store belongs to one app at a time", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full, or the store has reached the size that it may have.
    /// Nothing was written.
    #[error("there is no room left for `{}`", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file, its directory or its file system can't be written to. Nothing
    /// was written.
    #[error("`{}` can't be written to", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file is no SQLite database.
    #[error("`{}` is no SQLite database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a SQLite database, but not one of jobber's.
    #[error("`{}` is a database of another program: give jobber a file of its own", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("`{}` is damaged: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the database said.
        detail: String,
    },
    /// The file was written by a newer version of jobber.
    #[error("`{}` has schema {found}, and this version of jobber knows schemas up to {known}: run a newer one", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema of the file.
        found: i64,
        /// The newest that this version knows.
        known: i64,
    },
    /// The file could not be opened or created.
    #[error("`{}` can't be opened: {source}", path.display())]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// What the database or the operating system said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The operating system failed to read or to write.
    #[error("an I/O error of `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A record is larger than the store can take. The other changes that were
    /// to be committed with it are not at fault.
    #[error("the job is too large for the store: {detail}")]
    TooLarge {
        /// What the store said.
        detail: String,
    },
    /// The app has stopped, and its store is closed.
    #[error("the app has stopped, and its store is closed")]
    Closed,
    /// The code of the store panicked.
    #[error("the store panicked: {message}")]
    Panicked {
        /// What it panicked with, where that was a text.
        message: Arc<str>,
    },
    /// Anything else.
    #[error("{0}")]
    Other(#[source] Arc<dyn Error + Send + Sync>),
}

impl StorageError {
    /// Any error, for a store of your own.
    ///
    /// ```
    /// let error = jobber::storage::StorageError::other("the network is down");
    /// assert_eq!(error.to_string(), "the network is down");
    /// ```
    pub fn other(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other(Arc::from(error.into()))
    }

    /// Whether it is sure that nothing was written. After the other errors a
    /// change that is said to have failed may be found there by another process.
    pub(crate) fn wrote_nothing(&self) -> bool {
        matches!(
            self,
            StorageError::Busy { .. }
                | StorageError::Full { .. }
                | StorageError::ReadOnly { .. }
                | StorageError::TooLarge { .. }
                | StorageError::Closed
        )
    }

    /// Whether a single change is at fault, and the others would do without it.
    pub(crate) fn is_of_one_change(&self) -> bool {
        matches!(self, StorageError::TooLarge { .. })
    }
}

/// Why a stored job can't be run.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum UnresolvedReason {
    /// No task of that name is registered, and none has it as an alias.
    #[error("no task has this name, or this alias")]
    UnknownTask,
    /// The task of that name is not durable.
    #[error("the task is not durable: add .durable()")]
    NotDurable,
    /// The arguments are none of the task's.
    #[error("the arguments are none of the task's: {0}")]
    Arguments(#[source] Arc<dyn Error + Send + Sync>),
    /// The record is of a newer version of jobber.
    #[error(
        "the record is of version {found}, and this version of jobber knows versions up to {known}"
    )]
    OtherVersion {
        /// The version of the record.
        found: u32,
        /// The newest that this version knows.
        known: u32,
    },
    /// The cron expression can't be read.
    #[error("{0}")]
    Cron(#[source] CronError),
    /// The time zone is not known.
    #[error("{0}")]
    Zone(#[source] ZoneError),
    /// Something else in the record can't be read.
    #[error("the record can't be read: {0}")]
    Unreadable(String),
}

impl UnresolvedReason {
    pub(crate) fn arguments(error: BoxError) -> Self {
        Self::Arguments(Arc::from(error))
    }
}
