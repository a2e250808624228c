//! [`backup`]: copies a store, also one that an app uses.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::storage::sqlite::errors::Failed;
use crate::storage::sqlite::file_lock::create_new;
use crate::storage::sqlite::opened::beside;
use crate::storage::sqlite::reader::{BUSY_TIMEOUT, Reader};
use crate::sync::primitives::Arc;
use crate::value::error::StorageError;

/// Copies the store in `from` to the new file `to`.
///
/// The copy is made under another name and then gets its own, so that `to` is whole or is not
/// there. The other name is new each time: what is left of a backup whose process was killed
/// stands in the way of no other backup, and no backup deletes the copy that another one makes
/// at the same time.
pub(crate) fn backup(from: &Path, to: &Path) -> Result<(), StorageError> {
    let cannot_open = |path: &Path, source| StorageError::CannotOpen {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    if fs::symlink_metadata(to).is_ok() {
        return Err(cannot_open(to, io::ErrorKind::AlreadyExists.into()));
    }
    let reader = Reader::open(from)?;
    let part = beside(to, &format!("-part-{:016x}", fastrand::u64(..)));
    drop(create_new(&part).map_err(|error| cannot_open(&part, error))?);
    let copied = copy(&reader, from, &part)
        .and_then(|()| rename_to_new(&part, to).map_err(|error| cannot_open(to, error)));
    if copied.is_err() {
        let _ = fs::remove_file(&part);
        let _ = fs::remove_file(beside(&part, "-journal"));
    }
    copied
}

fn copy(reader: &Reader, from: &Path, to: &Path) -> Result<(), StorageError> {
    let failed = Failed::new(to, BUSY_TIMEOUT);
    let because = |error| failed.because(error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut copy = Connection::open_with_flags(to, flags).map_err(|error| failed.to_open(error))?;
    {
        let backup = Backup::new(reader.connection(), &mut copy).map_err(because)?;
        // All pages in one step: a backup in several steps begins again after each commit.
        match backup.step(-1).map_err(because)? {
            StepResult::Done => {}
            _ => {
                return Err(StorageError::Busy {
                    path: Some(from.to_owned()),
                    waited: BUSY_TIMEOUT,
                });
            }
        }
    }
    copy.close().map_err(|(_, error)| failed.because(error))
}

/// Renames the copy to `to`, unless a file has that name.
fn rename_to_new(part: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(part, to) {
        Ok(()) => {
            // The copy is whole; a second name does no harm.
            let _ = fs::remove_file(part);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        Err(error) if fs::symlink_metadata(to).is_ok() => return Err(error),
        // The file system has no hard links.
        Err(_) => fs::rename(part, to)?,
    }
    // The name survives a power cut, too, where a folder can be synced.
    #[cfg(unix)]
    if let Some(folder) = std::path::absolute(to)?.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
