//! [`Checkpointer`]: a thread that copies the write-ahead log into the database file.
//!
//! By default SQLite copies the log during a commit, when the log has reached a size
//! (<https://www.sqlite.org/wal.html#ckpt>). That commit takes tens of milliseconds. This
//! thread does it outside of commits, with a connection of its own, shortly after the
//! first commit. Without commits it sleeps.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use crate::sync::primitives::{Arc, AtomicBool, Condvar, Mutex, Ordering, lock};

/// The time from the first commit to the checkpoint.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    requested: Mutex<Requested>,
    changed: Condvar,
    is_log_long: AtomicBool,
    /// Held during a checkpoint.
    at_work: Mutex<()>,
}

#[derive(Debug, Default)]
struct Requested {
    checkpoint: bool,
    stop: bool,
}

impl Checkpointer {
    /// Starts the thread. A log of more than `long_log` bytes is to be restarted: if commits
    /// follow each other without a pause, SQLite may never do so by itself.
    pub(crate) fn start(connection: Connection, long_log: u64) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("jobber-checkpoint".into());
        let seen = shared.clone();
        let thread = thread.spawn(move || seen.run(&connection, long_log))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Requests a checkpoint, after a commit.
    pub(crate) fn log_has_grown(&self) {
        let mut requested = lock(&self.shared.requested);
        if !requested.checkpoint {
            requested.checkpoint = true;
            drop(requested);
            self.shared.changed.notify_one();
        }
    }

    /// Carries out a checkpoint of the caller while this thread makes none: of two at once,
    /// SQLite fails the second. Waits for a checkpoint that goes on, which waits for nobody.
    /// Returns whether it was complete. A failed checkpoint does not change the log.
    pub(crate) fn alone(&self, checkpoint: impl FnOnce() -> rusqlite::Result<bool>) -> bool {
        let _at_work = lock(&self.shared.at_work);
        checkpoint().unwrap_or(false)
    }

    /// Whether the log is so long that the caller should restart it. Returns `true` once
    /// for each checkpoint that found a long log.
    pub(crate) fn take_restart_request(&self) -> bool {
        // Relaxed: it is a hint, and a single thread reads it.
        self.shared.is_log_long.swap(false, Ordering::Relaxed)
    }
}

impl Shared {
    fn run(&self, connection: &Connection, long_log: u64) {
        let page_size = connection
            .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))
            .map_or(4_096, u64::from);
        loop {
            {
                let mut requested = lock(&self.requested);
                while !requested.checkpoint && !requested.stop {
                    requested = self
                        .changed
                        .wait(requested)
                        .unwrap_or_else(|e| e.into_inner());
                }
                // Commits during this pause are part of the same checkpoint.
                let pause = self
                    .changed
                    .wait_timeout_while(requested, PAUSE, |requested| !requested.stop);
                let (mut requested, _) = pause.unwrap_or_else(|e| e.into_inner());
                if requested.stop {
                    // The connection that closes the file last copies the rest.
                    return;
                }
                requested.checkpoint = false;
            }
            // A failed checkpoint does not change the log. If the file is damaged, the
            // next commit reports it.
            let result = {
                let _at_work = lock(&self.at_work);
                checkpoint(connection, "PASSIVE")
            };
            if let Ok((_, pages)) = result {
                let is_long = u64::try_from(pages).is_ok_and(|n| n * page_size > long_log);
                // Relaxed: it is a hint.
                self.is_log_long.store(is_long, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        lock(&self.shared.requested).stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Copies the rest of the log, so that the next commit starts the log from its beginning.
/// Returns whether it could: a reader or another writer may hold the log.
pub(crate) fn restart(connection: &Connection) -> rusqlite::Result<bool> {
    checkpoint(connection, "RESTART").map(|(is_blocked, _)| !is_blocked)
}

/// Copies the rest of the log, and makes it empty. Returns whether it could.
pub(crate) fn truncate(connection: &Connection) -> rusqlite::Result<bool> {
    checkpoint(connection, "TRUNCATE").map(|(is_blocked, _)| !is_blocked)
}

/// Returns whether it was blocked, and the number of pages in the log.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(bool, i64)> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}
