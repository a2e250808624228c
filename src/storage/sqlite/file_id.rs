//! [`FileId`]: which file a path leads to, whatever its name.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::value::error::StorageError;

/// Identifies a file: two paths with one id lead to the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileId(Repr);

/// The device and the inode.
#[cfg(unix)]
type Repr = (u64, u64);

/// The path without links and `..`.
#[cfg(not(unix))]
type Repr = PathBuf;

impl FileId {
    #[cfg(unix)]
    pub(crate) fn of(_path: &Path, metadata: &Metadata) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        Ok(Self((metadata.dev(), metadata.ino())))
    }

    #[cfg(not(unix))]
    pub(crate) fn of(path: &Path, _metadata: &Metadata) -> io::Result<Self> {
        path.canonicalize().map(Self)
    }

    /// The id of the file that `path` leads to now. Follows symbolic links.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Self::of(path, &fs::metadata(path)?)
    }
}

/// A path, and the file that it led to when the store was opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    id: FileId,
}

impl OpenFile {
    pub(crate) fn new(path: PathBuf, id: FileId) -> Self {
        Self { path, id }
    }

    /// The file that `path` leads to now.
    pub(crate) fn at(path: PathBuf) -> Result<Self, StorageError> {
        match FileId::at(&path) {
            Ok(id) => Ok(Self { path, id }),
            Err(_) => Err(StorageError::Moved { path }),
        }
    }

    /// Returns the length of the file in bytes, if its path still leads to it.
    pub(crate) fn check(&self) -> Result<u64, StorageError> {
        let metadata = fs::metadata(&self.path).ok();
        metadata
            .filter(|found| FileId::of(&self.path, found).is_ok_and(|id| id == self.id))
            .map(|found| found.len())
            .ok_or_else(|| StorageError::Moved {
                path: self.path.clone(),
            })
    }
}
