//! [`CallingExecutor`]: whether the current thread calls the executor.

use std::cell::Cell;

use crate::sync::primitives::thread_local;

thread_local! {
    static IS_CALLING: Cell<bool> = const { Cell::new(false) };
}

/// Marks that the current thread calls the executor, or is about to, until it is dropped.
///
/// Some executors run or drop the job inside of `spawn`. If its end spawned the next job of the line
/// there, the stack would grow with each job, and the caller would run the whole line. So the timer
/// starts that job.
pub(crate) struct CallingExecutor {
    is_outermost: bool,
}

impl CallingExecutor {
    pub(crate) fn begin() -> Self {
        let was = IS_CALLING.try_with(|place| place.replace(true));
        Self {
            is_outermost: matches!(was, Ok(false)),
        }
    }

    /// Whether this thread has a mark.
    pub(crate) fn is_on_this_thread() -> bool {
        IS_CALLING.try_with(Cell::get).unwrap_or(true)
    }

    /// Whether this is the only mark on the thread. `false` also while the thread ends and its
    /// thread-local values are gone.
    pub(crate) fn is_outermost(&self) -> bool {
        self.is_outermost
    }
}

impl Drop for CallingExecutor {
    fn drop(&mut self) {
        if self.is_outermost {
            let _ = IS_CALLING.try_with(|place| place.set(false));
        }
    }
}
