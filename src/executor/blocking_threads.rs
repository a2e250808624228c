//! [`run`]: runs blocking jobs on threads that all apps of the process share.
//!
//! The timer's thread passes jobs to them. So passing a job on takes a lock for a moment and
//! starts one thread at most. Each thread that takes a job starts the next one, if more jobs
//! wait. If the operating system has no thread, the jobs wait for one that is busy. If there
//! is none, they are dropped, which fails their attempts.

use std::collections::VecDeque;
use std::time::Duration;

use crate::executor::job_future::BlockingJob;
use crate::sync::primitives::{Condvar, Mutex, MutexGuard, PoisonError, lock, thread};

pub(crate) const THREAD_NAME: &str = "jobber-blocking";

const MAX_THREADS: usize = 500;

/// A thread ends when it had no job for this long.
const IDLE_LIFETIME: Duration = Duration::from_secs(5);

static THREADS: Threads = Threads {
    state: Mutex::new(State {
        ready: VecDeque::new(),
        threads: 0,
        idle: 0,
        is_starting: false,
        has_failed: false,
    }),
    has_job: Condvar::new(),
};

struct Threads {
    state: Mutex<State>,
    has_job: Condvar,
}

struct State {
    /// Jobs that no thread has taken.
    ready: VecDeque<BlockingJob>,
    /// All threads, with the one that is being started.
    threads: usize,
    /// The threads that wait for a job.
    idle: usize,
    /// A thread is being started, and has not looked for a job.
    is_starting: bool,
    /// The last thread could not be started, and there was no other.
    has_failed: bool,
}

/// Runs a job on a thread that may block. If there can be none, drops the job.
pub(crate) fn run(job: BlockingJob) {
    let mut state = lock(&THREADS.state);
    state.ready.push_back(job);
    if state.idle > 0 {
        drop(state);
        THREADS.has_job.notify_one();
    } else {
        THREADS.start_thread_if_needed(state);
    }
}

/// Whether the last job was dropped, because no thread could be started.
pub(crate) fn has_failed() -> bool {
    lock(&THREADS.state).has_failed
}

impl Threads {
    fn start_thread_if_needed(&'static self, mut state: MutexGuard<'_, State>) {
        let is_coming = state.idle > 0 || state.is_starting;
        if is_coming || state.ready.is_empty() || state.threads == MAX_THREADS {
            return;
        }
        state.is_starting = true;
        state.threads += 1;
        drop(state);
        let thread = thread::Builder::new().name(THREAD_NAME.into());
        if thread.spawn(|| self.work()).is_ok() {
            return;
        }
        let mut state = lock(&self.state);
        state.is_starting = false;
        state.threads -= 1;
        if state.threads == 0 {
            state.has_failed = true;
            let dropped = std::mem::take(&mut state.ready);
            drop(state);
            drop(dropped);
        }
    }

    /// The loop of a thread.
    fn work(&'static self) {
        let mut state = lock(&self.state);
        state.is_starting = false;
        state.has_failed = false;
        loop {
            if let Some(job) = state.ready.pop_front() {
                self.start_thread_if_needed(state);
                job.run();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let waited = self.has_job.wait_timeout(state, IDLE_LIFETIME);
            let (locked, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            state = locked;
            state.idle -= 1;
            if timed_out.timed_out() && state.ready.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}
