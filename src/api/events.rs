//! [`Events`]: the stream of an app's events, for one reader.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_channel::Receiver;
use futures_lite::Stream;

use crate::engine::event_bus::{EventBus, Sent, Subscription};
use crate::sync::deferred_wakes::{WakerWrapper, defer_wakes};
use crate::sync::primitives::{Arc, AtomicU64, Ordering};
use crate::value::event::Event;

/// The events of an app, from [`Jobber::events`](crate::Jobber::events).
///
/// In async code it is a stream. In a blocking program, it is an iterator:
/// `for event in app.events()`. It ends when the app has stopped. A reader that is more
/// than 1,024 events behind misses some, and gets an [`Event::Missed`] in their place.
///
/// # Cancel safety
/// Dropping the future of a `next` before it is ready loses no event.
///
/// ```
/// use jobber::{Event, JobEventKind, JobStatus, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let hello = app.task("hello", || async {}).register()?;
/// app.start().block_on()?;
/// let events = app.events();
/// hello.schedule(()).push().block_on()?.wait_blocking();
/// app.shutdown(std::time::Duration::MAX).block_on();
///
/// let last = events.into_iter().last();
/// assert!(matches!(last, Some(Event::Job(e)) if e.kind == JobEventKind::Ended(JobStatus::Success)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Events {
    receiver: Pin<Box<Receiver<Sent>>>,
    /// An event that was received, and that an [`Event::Missed`] came before.
    held: Option<Event>,
    missed: Arc<AtomicU64>,
    waker: WakerWrapper,
    bus: Arc<EventBus>,
}

impl Events {
    pub(crate) fn new(bus: Arc<EventBus>) -> Self {
        let Subscription { receiver, missed } = bus.subscribe();
        Self {
            receiver: Box::pin(receiver),
            held: None,
            missed,
            waker: WakerWrapper::default(),
            bus,
        }
    }

    fn unpack(&mut self, sent: Sent) -> Event {
        if sent.missed_before == 0 {
            return sent.event;
        }
        self.held = Some(sent.event);
        Event::Missed(sent.missed_before)
    }

    /// Returns how many events were missed after the last one that was sent, once.
    fn missed_at_the_end(&self) -> Option<Event> {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        (missed > 0).then_some(Event::Missed(missed))
    }

    /// Returns the next event, or `None` once the app has stopped.
    ///
    /// # Blocking
    /// It blocks the thread until there is an event. A task of the app that calls it
    /// blocks a thread of the executor.
    pub fn next_blocking(&mut self) -> Option<Event> {
        if let Some(event) = self.held.take() {
            return Some(event);
        }
        match self.receiver.recv_blocking() {
            Ok(sent) => Some(self.unpack(sent)),
            Err(_) => self.missed_at_the_end(),
        }
    }

    /// Returns the next event if there is one already. It never blocks.
    pub fn try_next(&mut self) -> Option<Event> {
        if let Some(event) = self.held.take() {
            return Some(event);
        }
        let sent = self.receiver.try_recv().ok()?;
        Some(self.unpack(sent))
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.held.take() {
            return Poll::Ready(Some(event));
        }
        let shielded = self.waker.wrap(cx.waker());
        let mut cx = Context::from_waker(&shielded.waker);
        let sent = ready!(self.receiver.as_mut().poll_next(&mut cx));
        Poll::Ready(match sent {
            Some(sent) => Some(self.unpack(sent)),
            None => self.missed_at_the_end(),
        })
    }
}

impl IntoIterator for Events {
    type Item = Event;
    type IntoIter = BlockingEvents;

    fn into_iter(self) -> BlockingEvents {
        BlockingEvents(self)
    }
}

/// [`Events`] as an iterator. It blocks the thread until there is an event, and ends when
/// the app has stopped.
#[derive(Debug)]
pub struct BlockingEvents(Events);

impl Iterator for BlockingEvents {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.next_blocking()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        defer_wakes(|| self.receiver.close());
        self.bus.remove_closed();
    }
}
