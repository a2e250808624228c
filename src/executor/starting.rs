//! [`Starting`]: whether the current thread passes jobs to the executor.

use std::cell::Cell;

use crate::sync::primitives::thread_local;

thread_local! {
    static IS_STARTING: Cell<bool> = const { Cell::new(false) };
}

/// Marks that the current thread passes jobs to the executor, until it is dropped.
///
/// An executor may poll or drop what it is given inside of its spawn. If the end of that attempt
/// started the next job of its line there, the line would be run by whoever has called the spawn,
/// as deep as there are jobs. So the timer starts that job.
pub(crate) struct Starting {
    is_outermost: bool,
}

impl Starting {
    pub(crate) fn begin() -> Self {
        let was = IS_STARTING.try_with(|place| place.replace(true));
        Self {
            is_outermost: matches!(was, Ok(false)),
        }
    }

    /// Whether the thread did not pass jobs to the executor before.
    pub(crate) fn is_outermost(&self) -> bool {
        self.is_outermost
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if self.is_outermost {
            let _ = IS_STARTING.try_with(|place| place.set(false));
        }
    }
}
