//! [`FileLock`]: who may use the file of a store.
//!
//! An app locks the database file itself, exclusively. A reader that needs the file to stay as
//! it is locks it as shared. The lock is the `flock` of the operating system: it belongs to the
//! open file and not to its name, so that no symbolic link, hard link or bind mount leads
//! round it, and it ends with the process. SQLite locks the same file with POSIX locks,
//! which do not conflict with it.
//!
//! If a process closes any handle of a file, it loses all of its POSIX locks on that file
//! (`fcntl(2)`), and another process may then delete the log under a connection of SQLite
//! that believes itself to be locked (<https://www.sqlite.org/howtocorrupt.html>, section
//! 2.2). So a handle is never closed while its file exists. It is unlocked, and used again
//! when the file is opened again.
#![expect(
    clippy::incompatible_msrv,
    reason = "the feature `sqlite` needs Rust 1.89, for its crates too"
)]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::storage::sqlite::file_id::FileId;
use crate::sync::primitives::{Arc, Mutex, lock, thread};
use crate::sync::process::StartedBy;
use crate::value::error::StorageError;

/// All handles of this process.
static HANDLES: Mutex<Vec<Handle>> = Mutex::new(Vec::new());

/// A process that was forked from it has the same open files, and so the same locks: it may
/// neither use them nor release them.
static OPENED_BY: StartedBy = StartedBy::nobody();

/// How long an app sleeps between two tries while a reader has the file.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Handle {
    id: FileId,
    file: Arc<File>,
    holder: Holder,
}

/// Who in this process has the lock of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Readers(usize),
    App,
}

/// A lock on the file of a store, until it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    id: FileId,
    file: Arc<File>,
}

/// The result of one try to lock a file.
enum Try {
    Locked(FileLock),
    /// An app has the file.
    HeldByApp,
    /// Readers have the file.
    HeldByReaders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Exclusive,
    Shared,
}

impl FileLock {
    /// Locks the file for an app. Creates it if it does not exist, so that only its owner
    /// can read it. Waits for readers up to `limit`.
    ///
    /// # Errors
    /// If another app has the file, or it can't be opened.
    pub(crate) fn exclusive(path: &Path, limit: Duration) -> Result<Self, StorageError> {
        let path = &lock_path(path);
        let begin = Instant::now();
        loop {
            match try_lock(path, Mode::Exclusive)? {
                Try::Locked(lock) => return Ok(lock),
                Try::HeldByApp => return Err(StorageError::InUse { path: path.clone() }),
                Try::HeldByReaders if begin.elapsed() < limit => thread::sleep(PAUSE),
                Try::HeldByReaders => {
                    return Err(StorageError::Busy {
                        path: Some(path.clone()),
                        waited: limit,
                    });
                }
            }
        }
    }

    /// Locks the file for a reader: while the lock is held, no app starts with the file.
    /// Returns `None` if an app has it.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub(crate) fn shared(path: &Path) -> Result<Option<Self>, StorageError> {
        match try_lock(&lock_path(path), Mode::Shared)? {
            Try::Locked(lock) => Ok(Some(lock)),
            Try::HeldByApp | Try::HeldByReaders => Ok(None),
        }
    }

    /// The file that is locked.
    pub(crate) fn id(&self) -> &FileId {
        &self.id
    }

    /// The handle. It must not be closed.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let mut handles = lock(&HANDLES);
        if OPENED_BY.is_forked() {
            return;
        }
        if let Some(handle) = handles.iter_mut().find(|handle| handle.id == self.id) {
            handle.holder = match handle.holder {
                Holder::Readers(count @ 2..) => Holder::Readers(count - 1),
                _ => Holder::Nobody,
            };
            if handle.holder == Holder::Nobody {
                // If it fails, the lock ends with the process.
                let _ = handle.file.unlock();
            }
        }
    }
}

/// The file that is locked. Where a lock is mandatory, the database itself would be locked
/// for SQLite, too.
fn lock_path(path: &Path) -> PathBuf {
    if cfg!(unix) {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}

fn try_lock(path: &Path, mode: Mode) -> Result<Try, StorageError> {
    let mut handles = lock(&HANDLES);
    if OPENED_BY.is_forked() {
        std::mem::forget(std::mem::take(&mut *handles));
    }
    OPENED_BY.set();
    let cannot_open = |source: io::Error| StorageError::CannotOpen {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let at = handle_of(&mut handles, path, mode).map_err(cannot_open)?;
    let handle = &mut handles[at];
    let free = match (handle.holder, mode) {
        (Holder::App, _) => return Ok(Try::HeldByApp),
        (Holder::Readers(_), Mode::Exclusive) => return Ok(Try::HeldByReaders),
        (Holder::Readers(count), Mode::Shared) => {
            handle.holder = Holder::Readers(count + 1);
            return Ok(Try::Locked(handle.lock()));
        }
        (Holder::Nobody, Mode::Exclusive) => handle.file.try_lock(),
        (Holder::Nobody, Mode::Shared) => handle.file.try_lock_shared(),
    };
    match free {
        Ok(()) => {}
        Err(TryLockError::Error(source)) => return Err(cannot_open(source)),
        Err(TryLockError::WouldBlock) if mode == Mode::Shared => return Ok(Try::HeldByApp),
        Err(TryLockError::WouldBlock) => {
            // Readers share the lock, an app does not.
            let is_shared = handle.file.try_lock_shared().is_ok();
            let _ = handle.file.unlock();
            return Ok(if is_shared {
                Try::HeldByReaders
            } else {
                Try::HeldByApp
            });
        }
    }
    // The name may lead to another file since the handle was opened.
    if !FileId::at(path).is_ok_and(|id| id == handle.id) {
        let _ = handle.file.unlock();
        return Err(StorageError::Moved {
            path: path.to_owned(),
        });
    }
    handle.holder = match mode {
        Mode::Exclusive => Holder::App,
        Mode::Shared => Holder::Readers(1),
    };
    Ok(Try::Locked(handle.lock()))
}

impl Handle {
    fn lock(&self) -> FileLock {
        FileLock {
            id: self.id.clone(),
            file: self.file.clone(),
        }
    }

    /// Whether the handle may be closed: no connection has a file without a name.
    fn is_of_deleted_file(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            self.file.metadata().is_ok_and(|found| found.nlink() == 0)
        }
        #[cfg(not(unix))]
        true
    }
}

/// Finds the handle of the file that `path` leads to, or opens one.
fn handle_of(handles: &mut Vec<Handle>, path: &Path, mode: Mode) -> io::Result<usize> {
    handles.retain(|handle| handle.holder != Holder::Nobody || !handle.is_of_deleted_file());
    let place = |handles: &[Handle], id: &FileId| handles.iter().position(|it| it.id == *id);
    // A handle that is opened could not be closed again: look before. To open a pipe could
    // take for ever.
    if let Ok(found) = fs::metadata(path) {
        if !found.is_file() {
            let message = "it is not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if let Some(at) = place(handles, &FileId::of(path, &found)?) {
            return Ok(at);
        }
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && mode == Mode::Exclusive => {
            create(path)?
        }
        other => other?,
    };
    let id = FileId::of(path, &file.metadata()?)?;
    if let Some(at) = place(handles, &id) {
        // The name was given to a file that is open already.
        std::mem::forget(file);
        return Ok(at);
    }
    handles.push(Handle {
        id,
        file: Arc::new(file),
        holder: Holder::Nobody,
    });
    Ok(handles.len() - 1)
}

/// Creates a file that nobody but its owner can read, also where a symbolic link leads.
/// SQLite creates its log with the same mode.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    options().create(true).truncate(false).open(path)
}

/// Creates a file that nobody but its owner can read. Fails if there is one.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    options().create_new(true).open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates a folder that nobody but its owner can read.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
