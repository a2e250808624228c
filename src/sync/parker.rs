//! [`Parker`]: blocks a thread until a waker is woken.
//!
//! It uses no thread-local value, so that a destructor of one may wait.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::sync::primitives::{Arc, Condvar, Mutex, PoisonError, lock};

/// Blocks one thread until its waker is woken.
///
/// `std::thread::park` would not do: it consumes unparks that the code which owns
/// the thread is waiting for.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Parker {
    /// Blocks until the waker is woken. Returns at once if it was woken since the
    /// last call. Returns `false` if the deadline passes first.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        let mut is_woken = lock(&self.is_woken);
        while !*is_woken {
            match deadline {
                None => {
                    let waited = self.woken.wait(is_woken);
                    is_woken = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let waited = self.woken.wait_timeout(is_woken, left);
                    is_woken = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        *is_woken = false;
        true
    }
}

/// Runs a future to its end, and blocks the thread meanwhile.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let parker = Arc::<Parker>::default();
    let waker = Waker::from(parker.clone());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => parker.park(None),
        };
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *lock(&self.is_woken) = true;
        self.woken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_park_is_kept_and_consumed_once() {
        let parker = Arc::<Parker>::default();
        Waker::from(parker.clone()).wake();
        assert!(parker.park(None));
        assert!(!parker.park(Some(Instant::now())));
    }
}
