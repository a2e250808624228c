//! [`Events`]: the stream of an app's events, for one reader.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_channel::Receiver;
use futures_lite::Stream;

use crate::engine::event_bus::{EventBus, Subscription};
use crate::sync::deferred_wakes::{WakerWrapper, defer_wakes};
use crate::sync::primitives::Arc;
use crate::value::event::Event;

/// The events of an app, from [`Jobber::events`](crate::Jobber::events).
///
/// In async code it is a stream. In a blocking program, it is an iterator:
/// `for event in app.events()`. It ends when the app has stopped.
///
/// An app keeps the last 1,024 events while it has a reader. A reader that is further behind
/// misses the older events, and gets an [`Event::Missed`] in their place. Readers never hold up
/// a job: an event costs the job the same for any number of readers. A thread of the app, which
/// is started for the first reader, wakes the readers that wait.
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
    bus: Arc<EventBus>,
    signal: Pin<Box<Receiver<()>>>,
    waker: WakerWrapper,
    /// The number of the next event.
    next: u64,
}

impl Events {
    pub(crate) fn new(bus: Arc<EventBus>) -> Self {
        let Subscription { signal, next } = bus.subscribe();
        Self {
            bus,
            signal: Box::pin(signal),
            waker: WakerWrapper::default(),
            next,
        }
    }

    /// Returns the next event, or `None` once the app has stopped.
    ///
    /// # Blocking
    /// It blocks the thread until there is an event. A task of the app that calls it
    /// blocks a thread of the executor.
    pub fn next_blocking(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if self.bus.is_forked() || self.signal.recv_blocking().is_err() {
                return self.try_next();
            }
        }
    }

    /// Returns the next event if there is one already. It never blocks.
    pub fn try_next(&mut self) -> Option<Event> {
        self.bus.read(&mut self.next)
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.try_next() {
                return Poll::Ready(Some(event));
            }
            if self.bus.is_forked() {
                return Poll::Ready(None);
            }
            let wrapped = self.waker.wrap(cx.waker());
            let mut cx = Context::from_waker(&wrapped.waker);
            if ready!(self.signal.as_mut().poll_next(&mut cx)).is_none() {
                return Poll::Ready(self.try_next());
            }
        }
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
        defer_wakes(|| self.signal.close());
        self.bus.remove_closed();
    }
}
