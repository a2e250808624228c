//! [`PrivateCopy`]: a copy of a store that nobody has open, in a folder for temporary files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::storage::sqlite::file_lock::{FileLock, create, create_private_folder};
use crate::storage::sqlite::opened::beside;
use crate::sync::primitives::Arc;
use crate::value::error::StorageError;

/// A copy of a store. Only its owner can read it. Dropping it deletes it.
pub(crate) struct PrivateCopy {
    folder: PathBuf,
    path: PathBuf,
}

/// The files beside the database that are part of its state.
const BESIDE: [&str; 2] = ["-wal", "-journal"];

impl PrivateCopy {
    /// Copies the file `path`, which `lock` has locked, with its log.
    ///
    /// # Errors
    /// If the files can't be copied, or another program changes them meanwhile.
    pub(crate) fn of(path: &Path, lock: &FileLock) -> Result<Self, StorageError> {
        let io_error = |path: &Path, source| StorageError::Io {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let folder = new_folder().map_err(|error| io_error(&std::env::temp_dir(), error))?;
        let copy = Self {
            path: folder.join("jobs.db"),
            folder,
        };
        let before = state(path);
        copy_database(path, lock, &copy.path).map_err(|error| io_error(path, error))?;
        for suffix in BESIDE {
            let (from, to) = (beside(path, suffix), beside(&copy.path, suffix));
            match File::open(&from).and_then(|mut from| io::copy(&mut from, &mut create(&to)?)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(&from, error));
                }
                _ => {}
            }
        }
        // An app can't have: the file is locked.
        if state(path) != before {
            return Err(StorageError::Busy {
                path: Some(path.to_owned()),
                waited: Duration::ZERO,
            });
        }
        Ok(copy)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        // If it fails, the copy stays until temporary files are deleted.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What changes when a program writes to the store.
fn state(path: &Path) -> [Option<(u64, Option<SystemTime>)>; 3] {
    let [log, journal] = BESIDE.map(|suffix| beside(path, suffix));
    [path, &log, &journal].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.len(), found.modified().ok()))
    })
}

/// A new folder with a name that nobody can guess.
fn new_folder() -> io::Result<PathBuf> {
    loop {
        let name = format!("jobber-copy-{:016x}", fastrand::u64(..));
        let folder = std::env::temp_dir().join(name);
        match create_private_folder(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Copies the database by the handle that is locked: a handle of its own could not be closed
/// without the loss of SQLite's locks.
#[cfg(unix)]
fn copy_database(_path: &Path, lock: &FileLock, to: &Path) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    let mut to = create(to)?;
    let mut buffer = vec![0; 256 * 1_024];
    let mut at = 0;
    loop {
        match lock.file().read_at(&mut buffer, at) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(not(unix))]
fn copy_database(path: &Path, _lock: &FileLock, to: &Path) -> io::Result<()> {
    io::copy(&mut File::open(path)?, &mut create(to)?).map(drop)
}
