//! [`StartedBy`]: the process that has started threads.
//!
//! A process that is forked has a copy of the memory and none of the threads: what waits for
//! one of them waits for ever. To compare the id of the process is a system call. So this is done
//! where there is another system call, or only sometimes: `Hub::is_fork_check_due` says what that
//! saves.

use std::process;

use crate::sync::primitives::{Ordering, StaticAtomicU32};

/// The process that has started some threads, if they were started.
#[derive(Debug)]
pub(crate) struct StartedBy(StaticAtomicU32);

const NOT_STARTED: u32 = 0;

impl StartedBy {
    pub(crate) const fn nobody() -> Self {
        Self(StaticAtomicU32::new(NOT_STARTED))
    }

    /// This process starts them.
    pub(crate) fn set(&self) {
        self.0.store(process::id(), Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) != NOT_STARTED
    }

    /// Whether they were started, and this process was forked since then.
    pub(crate) fn is_forked(&self) -> bool {
        let id = self.0.load(Ordering::Acquire);
        id != NOT_STARTED && id != process::id()
    }
}

impl Default for StartedBy {
    fn default() -> Self {
        Self::nobody()
    }
}
