//! [`Reply`]: a value that one thread sends once to another thread.

use crate::sync::deferred_wakes::notify_all;
use crate::sync::primitives::{Arc, Event, Mutex, lock};
use crate::sync::waiter::Condition;

/// A slot for one value, shared by the sender and the receiver.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    value: Mutex<Option<T>>,
    sent: Event,
}

impl<T> Reply<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            value: Mutex::new(None),
            sent: Event::new(),
        })
    }

    /// Returns the value if it has been sent and not taken yet.
    pub(crate) fn take(&self) -> Option<T> {
        lock(&self.value).take()
    }

    /// Stores the value and wakes the receiver.
    pub(crate) fn send(&self, value: T) {
        self.set(value);
        self.notify();
    }

    /// Stores the value without waking the receiver. The caller must call
    /// [`notify`](Reply::notify) afterwards, outside its locks.
    pub(crate) fn set(&self, value: T) {
        *lock(&self.value) = Some(value);
    }

    /// Wakes the receiver.
    pub(crate) fn notify(&self) {
        notify_all(&self.sent);
    }
}

/// The condition that the reply has been sent. Its output is the value.
pub(crate) struct ReplySent<T>(pub(crate) Arc<Reply<T>>);

impl<T> Condition for ReplySent<T> {
    type Output = T;

    fn ready(&self) -> Option<T> {
        self.0.take()
    }

    fn event(&self) -> &Event {
        &self.0.sent
    }
}
