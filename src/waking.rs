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

use event_listener::Event;

use crate::panics::{contain, drop_contained};
use crate::sync::{Arc, Condvar, Mutex, PoisonError, lock};

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
            drop_contained(sleeper);
        }
    }
}

/// Who waits.
#[derive(Debug)]
enum Sleeper {
    Task(Waker),
    Thread(Parker),
}

impl Sleeper {
    /// A panic of the foreign waker ends here: this may be the timer's thread.
    fn wake_now(&self) {
        match self {
            Sleeper::Task(waker) => {
                let _ = contain(|| waker.wake_by_ref());
            }
            Sleeper::Thread(parker) => parker.unpark(),
        }
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
            drop_contained(this);
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
        let shielded = Waker::from(Arc::new(Sleeper::Task(waker.clone())));
        Shielded {
            waker: shielded.clone(),
            _before: self.0.replace((waker.clone(), shielded)),
        }
    }
}

/// A thread that waits: for its [`waker`](ParkedThread::waker) to be woken.
pub(crate) struct ParkedThread(Arc<Sleeper>);

impl ParkedThread {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Sleeper::Thread(Parker::default())))
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(self.0.clone())
    }

    /// Blocks until it is woken, if it has not been since the last time. `false`
    /// when the deadline came first.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        match &*self.0 {
            Sleeper::Thread(parker) => parker.park(deadline),
            Sleeper::Task(_) => true,
        }
    }
}

/// Not `std::thread::park`, which would take the wake-ups that the thread's own
/// code is waiting for.
#[derive(Debug, Default)]
struct Parker {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Parker {
    fn park(&self, deadline: Option<Instant>) -> bool {
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

    fn unpark(&self) {
        *lock(&self.is_woken) = true;
        self.woken.notify_one();
    }
}
