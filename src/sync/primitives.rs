//! The synchronization primitives that the crate uses: the standard library's, or
//! those of the model checker loom.
//!
//! No other file names them, so that `tests/loom.rs` can check all of the crate's
//! code with `RUSTFLAGS="--cfg loom"`.

#[cfg(not(loom))]
pub(crate) use async_io::Timer;
#[cfg(not(loom))]
pub(crate) use event_listener::Event;
pub(crate) use std::sync::atomic::AtomicU32 as StaticAtomicU32;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize};
// loom does not check these: no result of this crate depends on which thread drops
// the last `Arc`, and a `OnceLock` is as safe as a lock.
pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, OnceLock, PoisonError, Weak};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::{thread, thread_local};

#[cfg(loom)]
pub(crate) use crate::sync::loom_primitives::*;

/// Locks `mutex`, even if a thread panicked while it held the lock.
///
/// No user code runs under a lock of this crate. A panic under a lock is therefore a
/// defect of the crate, and must not make every later call panic too.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
