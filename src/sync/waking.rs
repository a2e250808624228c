//! Waking those who wait.
//!
//! Who waits is foreign: a waker may panic, or poll what it wakes there and then,
//! and that may come back to the very event that is being notified.
//! event-listener and async-channel wake under their locks. So what we give them
//! is a [`ShieldedWaker`], and what is notified is notified inside
//! [`wake_after`]: who is woken by it is only noted then, and woken when the
//! locks are gone. A thread that was woken under a lock would also run into it.

use std::cell::Cell;
use std::task::{Wake, Waker};
use std::time::Instant;

use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Condvar, Event, Mutex, PoisonError, lock, thread_local};

/// Notifies all who wait for this.
pub(crate) fn notify_all(event: &Event) {
    wake_after(|| event.notify(usize::MAX));
}

/// Runs what notifies, and then wakes those who were notified.
pub(crate) fn wake_after<T>(notify: impl FnOnce() -> T) -> T {
    let noting = Noting::begin();
    let result = notify();
    drop(noting);
    result
}

thread_local! {
    /// Whom this thread is to wake; `None` while it notifies nobody.
    static NOTED: Cell<Option<Vec<Arc<Sleeper>>>> = const { Cell::new(None) };
}

/// Notes who is woken, until it is dropped.
struct Noting {
    /// Of the notifying that this one is inside of.
    outer: Option<Vec<Arc<Sleeper>>>,
}

impl Noting {
    /// `None` where the thread is ending, and can note nothing more.
    fn begin() -> Option<Self> {
        let outer = NOTED.try_with(|noted| noted.replace(Some(Vec::new())));
        outer.ok().map(|outer| Self { outer })
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        let noted = NOTED.try_with(|noted| noted.replace(self.outer.take()));
        for sleeper in noted.ok().flatten().into_iter().flatten() {
            sleeper.wake_now();
            // It may be the last, and to drop a waker is foreign, too.
            drop_catching_panic(sleeper);
        }
    }
}

/// Who waits.
#[derive(Debug)]
struct Sleeper(Waker);

impl Sleeper {
    /// A panic of the foreign waker ends here: this may be the timer's thread.
    fn wake_now(&self) {
        let _ = catch_panic(|| self.0.wake_by_ref());
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        let mut this = Some(self);
        let _ = NOTED.try_with(|noted| {
            let mut list = noted.take();
            if let Some(list) = &mut list {
                list.extend(this.take());
            }
            noted.set(list);
        });
        if let Some(this) = this {
            this.wake_now();
            drop_catching_panic(this);
        }
    }
}

/// A waker that wakes another one by the rules of this module.
#[derive(Debug, Default)]
pub(crate) struct ShieldedWaker(Option<Pair>);

/// The waker as given, and what stands for it.
type Pair = (Waker, Waker);

/// What to poll with.
pub(crate) struct Shielded {
    pub(crate) waker: Waker,
    /// The one before. What is polled drops it under its lock, and if that were the
    /// last of it, foreign code would run there.
    _before: Option<Pair>,
}

impl ShieldedWaker {
    /// What stands for this waker. Made anew only for another one than last.
    pub(crate) fn of(&mut self, waker: &Waker) -> Shielded {
        if let Some((last, shielded)) = &self.0
            && last.will_wake(waker)
        {
            return Shielded {
                waker: shielded.clone(),
                _before: None,
            };
        }
        let shielded = Waker::from(Arc::new(Sleeper(waker.clone())));
        Shielded {
            waker: shielded.clone(),
            _before: self.0.replace((waker.clone(), shielded)),
        }
    }
}

/// Where a thread waits for its waker. Not `std::thread::park`, which would take the
/// wake-ups that the thread's own code is waiting for.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Parker {
    /// Blocks until it is woken, if it has not been since the last time. `false`
    /// when the deadline came first.
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

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *lock(&self.is_woken) = true;
        self.woken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::primitives::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_is_woken_while_something_notifies_is_woken_after_it() {
        let count = Arc::<Count>::default();
        let woken = || count.0.load(Ordering::SeqCst);
        let waker = ShieldedWaker::default().of(&count.clone().into()).waker;
        wake_after(|| {
            waker.wake_by_ref();
            assert_eq!(woken(), 0);
            wake_after(|| waker.wake_by_ref());
            assert_eq!(woken(), 1, "the inner one wakes its own");
        });
        assert_eq!(woken(), 2);
        waker.wake_by_ref();
        assert_eq!(woken(), 3, "at once, where nothing notifies");
    }

    #[test]
    fn a_parker_that_was_woken_before_does_not_wait_and_then_waits_again() {
        let parker = Arc::<Parker>::default();
        Waker::from(parker.clone()).wake();
        assert!(parker.park(None));
        assert!(!parker.park(Some(Instant::now())));
    }
}
