//! The one place that names the synchronisation primitives.
//!
//! Everything that is shared between threads goes through here, so that a
//! model checker can be put in their place in one file.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

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
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
