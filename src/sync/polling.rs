//! [`Polling`]: which attempt the current thread polls.
//!
//! A wait that could never end is found by this: an attempt that waits for its own job, and a
//! thread of the built-in pool that blocks to wait for a job, or for all jobs.

use std::cell::Cell;
use std::ptr;

use crate::sync::primitives::thread_local;

thread_local! {
    /// The job whose attempt this thread polls. Null if it polls none.
    static JOB: Cell<*const ()> = const { Cell::new(ptr::null()) };
}

thread_local! {
    /// Whether the thread polls the async tasks of the built-in pool.
    static IS_OF_POOL: Cell<bool> = const { Cell::new(false) };
}

/// Marks the current thread as polling an attempt of a job, until it is dropped.
///
/// `push_and_wait` of `benches/parts.rs` takes as long without it.
pub(crate) struct Polling {
    /// What the thread polled before: an executor may poll inside of a poll.
    outer: *const (),
}

impl Polling {
    /// `job` is the address of the job.
    #[inline]
    pub(crate) fn begin(job: *const ()) -> Self {
        let outer = JOB.try_with(|place| place.replace(job));
        Self {
            outer: outer.unwrap_or(ptr::null()),
        }
    }

    /// What the thread does until this is dropped belongs to no attempt.
    pub(crate) fn suspend() -> Self {
        Self::begin(ptr::null())
    }
}

impl Drop for Polling {
    #[inline]
    fn drop(&mut self) {
        let _ = JOB.try_with(|place| place.set(self.outer));
    }
}

/// The address of the job whose attempt this thread polls.
pub(crate) fn polled_job() -> Option<*const ()> {
    let job = JOB.try_with(Cell::get).unwrap_or(ptr::null());
    (!job.is_null()).then_some(job)
}

/// Marks the current thread as one of the built-in pool.
#[cfg(feature = "thread-pool")]
pub(crate) fn mark_pool_thread() {
    let _ = IS_OF_POOL.try_with(|place| place.set(true));
}

pub(crate) fn is_pool_thread() -> bool {
    IS_OF_POOL.try_with(Cell::get).unwrap_or(false)
}
