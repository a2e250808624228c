//! The one place that names the synchronisation primitives: the standard
//! library's, or those of the model checker, which tries what threads can do to
//! each other (`tests/loom.rs`).

#[cfg(not(loom))]
pub(crate) use async_io::Timer;
#[cfg(not(loom))]
pub(crate) use event_listener::Event;
#[cfg(not(loom))]
pub(crate) use futures_lite::future::block_on;
pub(crate) use std::sync::atomic::AtomicU32 as StaticAtomicU32;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize};
// These are not checked: nothing of ours hangs on who drops the last `Arc`, and a
// cell that is filled once is a lock.
pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, OnceLock, PoisonError, Weak};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::{thread, thread_local};

#[cfg(loom)]
pub(crate) use crate::sync::checked::*;

/// Locks `mutex`, whether or not a thread panicked while it held it.
///
/// No user code runs under any of our locks, so a panic under one is a defect
/// of ours and not a reason to make every later call panic too.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value with its cache lines to itself: what others write beside it does not
/// take it from the cores that read it, nor the other way round. Two lines, for
/// they are fetched in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> std::ops::Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
