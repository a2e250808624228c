//! [`Waiter`]: waits for a condition, as a future or by blocking the thread.
//!
//! The wait itself is event-listener's, whose listener can be awaited or blocked on
//! in the same way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use event_listener::{EventListener, Listener};

use crate::sync::deferred_wakes::WakerWrapper;
use crate::sync::parker::Parker;
use crate::sync::primitives::{Arc, Event};

/// A condition that a [`Waiter`] waits for.
pub(crate) trait Condition: Unpin {
    type Output;

    /// Returns the output if the condition is true.
    fn ready(&self) -> Option<Self::Output>;

    /// The event that is notified when the condition may have become true.
    fn event(&self) -> &Event;

    /// Announces that a waiter is about to listen. Called before each `listen`, for
    /// conditions whose event is notified only if a waiter has announced itself.
    fn announce(&self) {}

    /// Called before each wait on the current thread, which blocks it or is a poll.
    ///
    /// # Panics
    /// If the wait could never end.
    fn check_wait(&self, is_blocking: bool) {
        let _ = is_blocking;
    }
}

#[derive(Debug)]
pub(crate) struct Waiter<C: Condition> {
    condition: C,
    listener: Option<EventListener>,
    waker: WakerWrapper,
}

impl<C: Condition> Waiter<C> {
    pub(crate) fn new(condition: C) -> Self {
        Self {
            condition,
            listener: None,
            waker: WakerWrapper::default(),
        }
    }

    /// Blocks the thread until the condition is true.
    pub(crate) fn block(mut self) -> C::Output {
        loop {
            // Without a deadline, `park` returns `Some`.
            if let Some(output) = self.park(None) {
                return output;
            }
        }
    }

    /// Blocks the thread until the condition is true. Returns `None` if the deadline
    /// passes first.
    pub(crate) fn block_until(mut self, deadline: Instant) -> Option<C::Output> {
        self.park(Some(deadline))
    }

    /// Checks that a wait may block this thread, if there is anything to wait for.
    pub(crate) fn check_block(&self) {
        if self.condition.ready().is_none() {
            self.condition.check_wait(true);
        }
    }

    /// Returns `None` only if there is a deadline and it passes first.
    fn park(&mut self, deadline: Option<Instant>) -> Option<C::Output> {
        if let Some(output) = self.condition.ready() {
            return Some(output);
        }
        self.condition.check_wait(true);
        let parker = Arc::<Parker>::default();
        let waker = Waker::from(parker.clone());
        loop {
            let mut cx = Context::from_waker(&waker);
            if let Poll::Ready(output) = Pin::new(&mut *self).poll(&mut cx) {
                return Some(output);
            }
            if !parker.park(deadline) {
                return self.condition.ready();
            }
        }
    }

    /// Drops the listener without passing its notification on.
    ///
    /// A dropped listener would pass it to another one, whose waker would run under
    /// the event's lock. Nothing is lost, because every notification goes to all
    /// listeners.
    fn discard_listener(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.discard();
        }
    }

    pub(crate) fn condition(&self) -> &C {
        &self.condition
    }
}

impl<C: Condition> Future for Waiter<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            if let Some(output) = self.condition.ready() {
                self.discard_listener();
                return Poll::Ready(output);
            }
            self.condition.check_wait(false);
            let wrapped = self.waker.wrap(cx.waker());
            match &mut self.listener {
                // The condition may become true before `listen`: the next turn of
                // the loop checks it again.
                None => {
                    self.condition.announce();
                    self.listener = Some(self.condition.event().listen());
                }
                Some(listener) => {
                    let mut cx = Context::from_waker(&wrapped.waker);
                    if Pin::new(listener).poll(&mut cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.listener = None;
                }
            }
        }
    }
}

impl<C: Condition> Drop for Waiter<C> {
    fn drop(&mut self) {
        self.discard_listener();
    }
}
