//! Converts the errors of SQLite to [`StorageError`].

use std::path::Path;
use std::time::Duration;

use rusqlite::ffi::ErrorCode;

use crate::sync::primitives::Arc;
use crate::value::error::StorageError;

/// Converts SQLite's errors to ours (<https://www.sqlite.org/rescode.html>).
pub(crate) struct Failed<'a> {
    path: &'a Path,
    waited: Duration,
}

impl<'a> Failed<'a> {
    pub(crate) fn new(path: &'a Path, waited: Duration) -> Self {
        Self { path, waited }
    }

    pub(crate) fn because(&self, error: rusqlite::Error) -> StorageError {
        let path = self.path.to_owned();
        let Some(code) = error.sqlite_error_code() else {
            return match error {
                rusqlite::Error::ToSqlConversionFailure(error) => StorageError::Other(error.into()),
                error => StorageError::Other(Arc::new(error)),
            };
        };
        match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StorageError::Busy {
                path: Some(path),
                waited: self.waited,
            },
            ErrorCode::DiskFull => StorageError::Full { path },
            ErrorCode::ReadOnly => StorageError::ReadOnly { path },
            ErrorCode::NotADatabase => StorageError::NotADatabase { path },
            ErrorCode::DatabaseCorrupt => StorageError::Corrupt {
                path,
                detail: error.to_string(),
            },
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied => self.to_open(error),
            ErrorCode::SystemIoFailure => StorageError::Io {
                path,
                source: Arc::new(error),
            },
            ErrorCode::TooBig => StorageError::TooLarge {
                detail: error.to_string(),
            },
            _ => StorageError::Other(Arc::new(error)),
        }
    }

    pub(crate) fn to_open(&self, error: rusqlite::Error) -> StorageError {
        match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) | None => {
                StorageError::CannotOpen {
                    path: self.path.to_owned(),
                    source: Arc::new(error),
                }
            }
            Some(_) => self.because(error),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    /// The error for a result code of SQLite.
    fn of(code: i32) -> StorageError {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        Failed::new(Path::new("jobs.db"), Duration::from_secs(1)).because(error)
    }

    #[test]
    fn a_result_code_becomes_the_error_that_names_the_cause() {
        use StorageError as E;
        assert!(matches!(of(ffi::SQLITE_BUSY), E::Busy { .. }));
        assert!(matches!(of(ffi::SQLITE_BUSY_SNAPSHOT), E::Busy { .. }));
        assert!(matches!(of(ffi::SQLITE_LOCKED), E::Busy { .. }));
        assert!(matches!(of(ffi::SQLITE_FULL), E::Full { .. }));
        assert!(matches!(of(ffi::SQLITE_READONLY), E::ReadOnly { .. }));
        assert!(matches!(
            of(ffi::SQLITE_READONLY_DBMOVED),
            E::ReadOnly { .. }
        ));
        assert!(matches!(of(ffi::SQLITE_NOTADB), E::NotADatabase { .. }));
        assert!(matches!(of(ffi::SQLITE_CORRUPT), E::Corrupt { .. }));
        assert!(matches!(of(ffi::SQLITE_CANTOPEN), E::CannotOpen { .. }));
        assert!(matches!(of(ffi::SQLITE_PERM), E::CannotOpen { .. }));
        assert!(matches!(of(ffi::SQLITE_IOERR_FSYNC), E::Io { .. }));
        assert!(matches!(of(ffi::SQLITE_IOERR_READ), E::Io { .. }));
        assert!(matches!(of(ffi::SQLITE_TOOBIG), E::TooLarge { .. }));
        assert!(matches!(of(ffi::SQLITE_ERROR), E::Other(_)));
    }
}
