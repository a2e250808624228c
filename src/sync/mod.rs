//! Primitives: the standard library's or loom's, waiting, waking, catching panics.

#[cfg(loom)]
pub(crate) mod checked;
pub(crate) mod panics;
pub(crate) mod primitives;
pub(crate) mod waiter;
pub(crate) mod waking;
