//! Moving the log into the file, beside the commits.
//!
//! SQLite would do it in whichever commit makes the log long enough, and that one
//! would take tens of milliseconds. Here a thread of its own does it, a short
//! while after the first commit, on a connection of its own and without holding
//! up anybody (<https://www.sqlite.org/wal.html#ckpt>). It sleeps while nothing is
//! committed.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use crate::sync::primitives::{Arc, AtomicBool, Condvar, Mutex, Ordering, lock};

/// From the first commit to the checkpoint.
const PAUSE: Duration = Duration::from_millis(100);

/// A log of so many pages is long: 64 MiB. Commits without a pause may never let
/// it come to its beginning again.
const LONG_LOG: i64 = 16 * 1_024;

#[derive(Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    is_log_long: AtomicBool,
}

#[derive(Debug, Default)]
struct Wanted {
    checkpoint: bool,
    stop: bool,
}

impl Checkpointer {
    pub(crate) fn start(connection: Connection) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("jobber-checkpoint".into());
        let seen = shared.clone();
        let thread = thread.spawn(move || seen.run(&connection))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Something was committed.
    pub(crate) fn log_has_grown(&self) {
        let mut wanted = lock(&self.shared.wanted);
        if !wanted.checkpoint {
            wanted.checkpoint = true;
            drop(wanted);
            self.shared.changed.notify_one();
        }
    }

    /// Whether the log has become so long that a commit has to wait until it can
    /// begin anew. Asked by the one who does, and then it is done.
    pub(crate) fn wants_the_log_restarted(&self) -> bool {
        // Relaxed: a hint, and one thread asks.
        self.shared.is_log_long.swap(false, Ordering::Relaxed)
    }
}

impl Shared {
    fn run(&self, connection: &Connection) {
        loop {
            {
                let mut wanted = lock(&self.wanted);
                while !wanted.checkpoint && !wanted.stop {
                    wanted = self.changed.wait(wanted).unwrap_or_else(|e| e.into_inner());
                }
                // More may be committed meanwhile, and is part of it then.
                let pause = self
                    .changed
                    .wait_timeout_while(wanted, PAUSE, |wanted| !wanted.stop);
                let (mut wanted, _) = pause.unwrap_or_else(|e| e.into_inner());
                if wanted.stop {
                    // Whoever closes the file last does all that is left.
                    return;
                }
                wanted.checkpoint = false;
            }
            // One that fails leaves the log as it is. What is wrong with the file
            // the next commit will tell.
            if let Ok(pages) = log_pages_after(connection, "PASSIVE") {
                // Relaxed: a hint.
                self.is_log_long.store(pages > LONG_LOG, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        lock(&self.shared.wanted).stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves what is left, so that the next commit begins the log anew.
pub(crate) fn restart(connection: &Connection) -> rusqlite::Result<()> {
    log_pages_after(connection, "RESTART").map(drop)
}

fn log_pages_after(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| row.get(1))
}
