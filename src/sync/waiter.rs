//! Waiting for something to become true, in either of two ways.
//!
//! One condition, two drivers: a [`Waiter`] is `.await`ed, or it blocks its
//! thread. The idea is event-listener's, and so is the work.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use event_listener::{EventListener, Listener};

use crate::sync::primitives::{Arc, Event, Mutex, lock};
use crate::sync::waking::{Parker, ShieldedWaker, notify_all};

/// What is waited for.
pub(crate) trait Condition: Unpin {
    type Output;

    /// The answer, as soon as there is one.
    fn ready(&self) -> Option<Self::Output>;

    /// What is notified whenever `ready` may have changed.
    fn event(&self) -> &Event;

    /// Called before listening, for those who only notify when somebody waits.
    fn announce(&self) {}
}

#[derive(Debug)]
pub(crate) struct Waiter<C: Condition> {
    condition: C,
    listener: Option<EventListener>,
    waker: ShieldedWaker,
}

impl<C: Condition> Waiter<C> {
    pub(crate) fn new(condition: C) -> Self {
        Self {
            condition,
            listener: None,
            waker: ShieldedWaker::default(),
        }
    }

    pub(crate) fn block(mut self) -> C::Output {
        loop {
            // Without a deadline there is always an answer.
            if let Some(output) = self.park(None) {
                return output;
            }
        }
    }

    /// `None` when the deadline came first.
    pub(crate) fn block_until(mut self, deadline: Instant) -> Option<C::Output> {
        self.park(Some(deadline))
    }

    /// `None` when there is a deadline and that came first.
    fn park(&mut self, deadline: Option<Instant>) -> Option<C::Output> {
        if let Some(output) = self.condition.ready() {
            return Some(output);
        }
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

    /// Its listener passes nothing on: all are notified, always, and who was passed
    /// something would be woken under the event's lock.
    fn listen_no_more(&mut self) {
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
                self.listen_no_more();
                return Poll::Ready(output);
            }
            let shielded = self.waker.of(cx.waker());
            match &mut self.listener {
                // Between the look and the listening, it may have come true.
                None => {
                    self.condition.announce();
                    self.listener = Some(self.condition.event().listen());
                }
                Some(listener) => {
                    let mut cx = Context::from_waker(&shielded.waker);
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
        self.listen_no_more();
    }
}

/// An answer that one thread gives and another waits for.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    answer: Mutex<Option<T>>,
    given: Event,
}

impl<T> Reply<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(None),
            given: Event::new(),
        })
    }

    /// The answer, if nobody has taken it.
    pub(crate) fn take(&self) -> Option<T> {
        lock(&self.answer).take()
    }

    pub(crate) fn give(&self, answer: T) {
        self.answer(answer);
        self.wake();
    }

    /// To be followed by [`wake`](Reply::wake).
    pub(crate) fn answer(&self, answer: T) {
        *lock(&self.answer) = Some(answer);
    }

    pub(crate) fn wake(&self) {
        notify_all(&self.given);
    }
}

/// The wait for an answer, by the one who takes it.
pub(crate) struct Replied<T>(pub(crate) Arc<Reply<T>>);

impl<T> Condition for Replied<T> {
    type Output = T;

    fn ready(&self) -> Option<T> {
        self.0.take()
    }

    fn event(&self) -> &Event {
        &self.0.given
    }
}
