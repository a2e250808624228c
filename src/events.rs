//! What happens to jobs, as a stream: [`Events`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_channel::{Receiver, Sender, TrySendError};
use futures_lite::Stream;
use time::{Duration, OffsetDateTime};

use crate::execution::Run;
use crate::id::JobId;
use crate::status::JobStatus;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};

/// Something that happened in an app.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// To a job.
    Job(JobEvent),
    /// The wall clock was set, or the machine slept: it stands elsewhere than it
    /// should after the time that has passed. Jobs by the wall clock are timed
    /// anew.
    ClockStepped {
        /// How far, forward if positive.
        by: Duration,
    },
    /// The reader was too slow, and so many events were left out here.
    Missed(u64),
}

/// Something that happened to a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobEvent {
    /// When.
    pub at: OffsetDateTime,
    /// To which job.
    pub id: JobId,
    /// Of which task.
    pub task: Arc<str>,
    /// What.
    pub kind: JobEventKind,
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobEventKind {
    /// It was scheduled, or replaced.
    Scheduled {
        /// When it is due.
        due: OffsetDateTime,
    },
    /// An attempt started.
    Started {
        /// The run, from 1.
        run: u64,
        /// The attempt of that run, from 1.
        attempt: u32,
    },
    /// An attempt failed and is tried again.
    Retrying {
        /// The attempt that failed, from 1.
        attempt: u32,
        /// When the next one is due.
        due: OffsetDateTime,
    },
    /// A run of a recurring job ended.
    RunEnded(Run),
    /// Times of a recurring job passed without a run.
    Misfired {
        /// The next time that it runs for, as its
        /// [`Misfire`](crate::Misfire) has it.
        next: OffsetDateTime,
    },
    /// It was cancelled or aborted, or the app stopped before it ran.
    Cancelled,
    /// It ended in any other way.
    Ended(JobStatus),
}

/// The events of an app, from [`Jobber::events`](crate::Jobber::events).
///
/// A stream for async code; in a blocking program, `for event in app.events()`.
/// It ends when the app has stopped. Dropping it ends the interest.
///
/// ```
/// use jobber::{Event, JobEventKind, JobStatus, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let hello = app.task("hello", || async {}).register()?;
/// app.start().wait_blocking()?;
/// let events = app.events();
/// hello.schedule(()).push().wait_blocking()?.wait_blocking();
/// app.shutdown(std::time::Duration::MAX).wait_blocking();
///
/// let last = events.into_iter().last();
/// assert!(matches!(last, Some(Event::Job(e)) if e.kind == JobEventKind::Ended(JobStatus::Success)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Events {
    receiver: Pin<Box<Receiver<Sent>>>,
    /// An event that waits behind the news that some were missed.
    held: Option<Event>,
    bus: Arc<EventBus>,
}

#[derive(Debug)]
struct Sent {
    missed_before: u64,
    event: Event,
}

/// How many events a reader may be behind before it misses some.
pub(crate) const EVENTS_HELD: usize = 1_024;

impl Events {
    fn unpack(&mut self, sent: Sent) -> Event {
        if sent.missed_before == 0 {
            return sent.event;
        }
        self.held = Some(sent.event);
        Event::Missed(sent.missed_before)
    }

    /// Blocks the thread until there is an event; `None` once the app has
    /// stopped.
    pub fn next_blocking(&mut self) -> Option<Event> {
        if let Some(event) = self.held.take() {
            return Some(event);
        }
        let sent = self.receiver.recv_blocking().ok()?;
        Some(self.unpack(sent))
    }

    /// The next event if there is one already.
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
        let sent = ready!(self.receiver.as_mut().poll_next(cx));
        Poll::Ready(sent.map(|sent| self.unpack(sent)))
    }
}

impl IntoIterator for Events {
    type Item = Event;
    type IntoIter = BlockingEvents;

    fn into_iter(self) -> BlockingEvents {
        BlockingEvents(self)
    }
}

/// [`Events`] as an iterator, which blocks the thread until there is one, and
/// ends when the app has stopped.
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
        self.receiver.close();
        self.bus.forget_closed();
    }
}

/// Hands events to all who read them.
#[derive(Debug, Default)]
pub(crate) struct EventBus {
    /// How many there are: without any, an event costs this one load.
    count: AtomicUsize,
    readers: Mutex<Readers>,
}

#[derive(Debug, Default)]
struct Readers {
    list: Vec<Reader>,
    is_closed: bool,
}

#[derive(Debug)]
struct Reader {
    sender: Sender<Sent>,
    missed: u64,
}

impl EventBus {
    pub(crate) fn subscribe(self: &Arc<Self>) -> Events {
        let (sender, receiver) = async_channel::bounded(EVENTS_HELD);
        let mut readers = lock(&self.readers);
        // After the end, the sender is dropped, and so the stream is over.
        if !readers.is_closed {
            readers.list.push(Reader { sender, missed: 0 });
            self.count.store(readers.list.len(), Ordering::Release);
        }
        Events {
            receiver: Box::pin(receiver),
            held: None,
            bus: self.clone(),
        }
    }

    /// Whether anybody reads. Acquire pairs with the release of `subscribe`: who
    /// has subscribed before an event sees it.
    pub(crate) fn is_read(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Never waits: a reader that is behind misses the event.
    pub(crate) fn emit(&self, event: Event) {
        for reader in &mut lock(&self.readers).list {
            let sent = Sent {
                missed_before: reader.missed,
                event: event.clone(),
            };
            match reader.sender.try_send(sent) {
                Ok(()) => reader.missed = 0,
                Err(TrySendError::Full(_)) => reader.missed += 1,
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }

    /// No event will follow.
    pub(crate) fn close(&self) {
        let mut readers = lock(&self.readers);
        readers.is_closed = true;
        readers.list.clear();
        self.count.store(0, Ordering::Release);
    }

    fn forget_closed(&self) {
        let mut readers = lock(&self.readers);
        readers.list.retain(|reader| !reader.sender.is_closed());
        self.count.store(readers.list.len(), Ordering::Release);
    }
}
