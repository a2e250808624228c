//! [`run`]: runs blocking jobs on threads that all apps of the process share.
//!
//! The timer's thread passes jobs to them. So passing a job on takes a lock for a moment and
//! starts one thread at most. Each thread that takes a job starts the next one, if more jobs
//! wait. If the operating system starts no thread, the jobs wait for a thread that is busy.
//! That thread may never be free again. So the next job, each thread that is free, and a timer
//! try again to start one. If none exists, the jobs are dropped, and their attempts fail.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::executor::job_future::BlockingJob;
use crate::sync::primitives::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Timer, lock, thread};
use crate::sync::reactor;

pub(crate) const THREAD_NAME: &str = "jobber-blocking";

const MAX_THREADS: usize = 500;

/// A thread ends when it had no job for this long.
const IDLE_LIFETIME: Duration = Duration::from_secs(5);

/// While jobs wait because no thread could be started, this is the longest time between two
/// tries to start one.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

static THREADS: Threads = Threads {
    state: Mutex::new(State {
        ready: VecDeque::new(),
        threads: 0,
        idle: 0,
        is_starting: false,
        has_failed: false,
        has_retry: false,
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
    /// The last thread could not be started: since then, jobs wait for a busy thread, or were
    /// dropped because there was none.
    has_failed: bool,
    /// A [`Retry`] is to come.
    has_retry: bool,
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

/// Whether jobs wait because no thread could be started, or the last job was dropped for that
/// reason.
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
        // A thread that was busy may have taken the last of them meanwhile.
        state.has_failed = !state.ready.is_empty();
        if state.threads == 0 {
            let dropped = std::mem::take(&mut state.ready);
            drop(state);
            drop(dropped);
        } else if state.has_failed && !state.has_retry {
            state.has_retry = true;
            drop(state);
            Retry::begin();
        }
    }

    /// Tries again to start a thread.
    fn retry(&'static self) {
        let mut state = lock(&self.state);
        state.has_retry = false;
        self.start_thread_if_needed(state);
    }

    /// The loop of a thread.
    fn work(&'static self) {
        let mut state = lock(&self.state);
        state.is_starting = false;
        state.has_failed = false;
        loop {
            if let Some(job) = state.ready.pop_front() {
                state.has_failed &= !state.ready.is_empty();
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

/// Tries again to start a thread after [`RETRY_INTERVAL`], on the thread that fires the timers
/// of async-io. Every app that has threads of its own has built its reactor.
struct Retry(Mutex<Timer>);

impl Retry {
    fn begin() {
        if reactor::is_built() {
            Arc::new(Self(Mutex::new(Timer::after(RETRY_INTERVAL)))).poll();
        } else {
            lock(&THREADS.state).has_retry = false;
        }
    }

    fn poll(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut timer = lock(&self.0);
        let is_over = Pin::new(&mut *timer)
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        drop(timer);
        if is_over {
            THREADS.retry();
        }
    }
}

impl Wake for Retry {
    fn wake(self: Arc<Self>) {
        self.poll();
    }
}
