//! Synchronization: primitives, waiters, deferred wakes, caught panics.

pub(crate) mod cache_padded;
pub(crate) mod deferred_wakes;
#[cfg(loom)]
pub(crate) mod loom_primitives;
pub(crate) mod panics;
pub(crate) mod parker;
pub(crate) mod polling;
pub(crate) mod primitives;
pub(crate) mod process;
pub(crate) mod reactor;
pub(crate) mod reply;
pub(crate) mod waiter;
