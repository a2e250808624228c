//! Deferred wakes: a waker that is woken under a lock runs after the lock is free.
//!
//! A waker is user code. It may panic, or it may poll its future in the call to
//! `wake`, and that poll may use the same event again. event-listener and
//! async-channel call wakers while they hold their own locks, so such a poll would
//! deadlock.
//!
//! Two rules prevent this:
//! - Those crates never receive the user's waker. They receive a [`WrappedWaker`].
//! - Every call that notifies an event or a channel runs inside [`defer_wakes`].
//!   Meanwhile a wrapped waker adds itself to a list of the current thread. When the
//!   call returns, its locks are free, and `defer_wakes` wakes the wakers in the list.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::task::{Wake, Waker};

use event_listener::IntoNotification;

use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::polling::Polling;
use crate::sync::primitives::{Arc, Event, thread_local};

/// Notifies all listeners of `event`.
pub(crate) fn notify_all(event: &Event) {
    defer_wakes(|| event.notify(usize::MAX));
}

/// Notifies one listener of `event` that is not notified yet.
pub(crate) fn notify_one_more(event: &Event) {
    defer_wakes(|| event.notify(1.additional()));
}

/// Runs `notify`, then wakes the wrapped wakers that `notify` has woken.
pub(crate) fn defer_wakes<T>(notify: impl FnOnce() -> T) -> T {
    let deferral = DeferWakes::begin();
    let result = notify();
    drop(deferral);
    result
}

/// The wakers that a thread wakes later.
///
/// It is never dropped in its place: a thread-local value without a destructor can be used in
/// the destructors of others. What takes it out drops it.
type List = ManuallyDrop<Vec<Arc<TargetWaker>>>;

thread_local! {
    /// The wakers that this thread wakes later. `None` if it defers no wakes.
    static DEFERRED: Cell<Option<List>> = const { Cell::new(None) };
}

/// Defers the wakes of this thread until it is dropped.
struct DeferWakes {
    /// The list of the enclosing `DeferWakes` of this thread, if there is one.
    outer: Option<List>,
}

impl DeferWakes {
    /// Returns `None` if the thread-local values of the thread are destroyed, as loom's are.
    /// Wakes are not deferred then.
    fn begin() -> Option<Self> {
        let outer = DEFERRED.try_with(|deferred| deferred.replace(Some(List::default())));
        outer.ok().map(|outer| Self { outer })
    }
}

impl Drop for DeferWakes {
    fn drop(&mut self) {
        let deferred = DEFERRED.try_with(|deferred| deferred.replace(self.outer.take()));
        let deferred = deferred.ok().flatten().map(ManuallyDrop::into_inner);
        for target in deferred.into_iter().flatten() {
            target.wake_now();
            // This may be the last reference, and dropping a waker runs user code.
            drop_catching_panic(target);
        }
    }
}

/// The user's waker behind a wrapped waker.
#[derive(Debug)]
struct TargetWaker(Waker);

impl TargetWaker {
    /// Wakes the user's waker. A panic in it is ignored, because the current thread
    /// may be the timer thread. If it polls its future in this call, the poll is not one of
    /// the attempt that the thread polls.
    fn wake_now(&self) {
        let _polling = Polling::suspend();
        let _ = catch_panic(|| self.0.wake_by_ref());
    }
}

impl Wake for TargetWaker {
    fn wake(self: Arc<Self>) {
        let mut this = Some(self);
        let _ = DEFERRED.try_with(|deferred| {
            let mut list = deferred.take();
            if let Some(list) = &mut list {
                list.extend(this.take());
            }
            deferred.set(list);
        });
        if let Some(this) = this {
            this.wake_now();
            drop_catching_panic(this);
        }
    }
}

/// Wraps the wakers of one future, and keeps the last wrapper for the next poll.
#[derive(Debug, Default)]
pub(crate) struct WakerWrapper(Option<Pair>);

/// A user's waker and its wrapper.
type Pair = (Waker, Waker);

/// A waker whose wakes can be deferred.
pub(crate) struct WrappedWaker {
    pub(crate) waker: Waker,
    /// The wrapper of the poll before. The polled future drops its clone while it
    /// holds a lock. This reference keeps that clone from being the last one, whose
    /// drop would run user code under the lock.
    _previous: Option<Pair>,
}

impl WakerWrapper {
    /// Returns a wrapper of `waker`: the wrapper of the last call if it wakes the
    /// same task, and a new one otherwise.
    pub(crate) fn wrap(&mut self, waker: &Waker) -> WrappedWaker {
        if let Some((last, wrapped)) = &self.0
            && last.will_wake(waker)
        {
            return WrappedWaker {
                waker: wrapped.clone(),
                _previous: None,
            };
        }
        let wrapped = Waker::from(Arc::new(TargetWaker(waker.clone())));
        WrappedWaker {
            waker: wrapped.clone(),
            _previous: self.0.replace((waker.clone(), wrapped)),
        }
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
    fn a_wake_inside_defer_wakes_happens_when_it_returns() {
        let count = Arc::<Count>::default();
        let woken = || count.0.load(Ordering::SeqCst);
        let waker = WakerWrapper::default().wrap(&count.clone().into()).waker;
        defer_wakes(|| {
            waker.wake_by_ref();
            assert_eq!(woken(), 0);
            defer_wakes(|| waker.wake_by_ref());
            assert_eq!(woken(), 1, "the inner call wakes only its own list");
        });
        assert_eq!(woken(), 2);
        waker.wake_by_ref();
        assert_eq!(woken(), 3, "outside defer_wakes, a wake is not deferred");
    }
}
