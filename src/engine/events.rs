//! What happens to jobs, as a stream: [`Events`].

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_channel::{Receiver, Sender, TrySendError};
use futures_lite::Stream;
use time::{Duration, OffsetDateTime};

use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, lock};
use crate::sync::waking::{ShieldedWaker, wake_after};
use crate::value::id::JobId;
use crate::value::run::Run;
use crate::value::status::JobStatus;

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
    /// It was in the store when the app started, and goes on.
    Restored {
        /// When it is due, or was.
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

impl fmt::Display for Event {
    /// A line for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Job(event) => event.fmt(f),
            Event::ClockStepped { by } => write!(f, "the wall clock stepped by {by}"),
            Event::Missed(count) => write!(f, "{count} events were missed"),
        }
    }
}

impl fmt::Display for JobEvent {
    /// The time, the task, the job, and what happened to it.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let mut events = sim.app().events();
    /// let greet = sim.app().task("greet", || async {}).register()?;
    /// let _ = greet.schedule(()).id("x").push().block_on()?;
    /// assert_eq!(
    ///     events.try_next().unwrap().to_string(),
    ///     "2000-01-01 0:00:00.0 +00:00:00 greet x: scheduled for 2000-01-01 0:00:00.0 +00:00:00"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.at, self.task, self.id, self.kind)
    }
}

impl fmt::Display for JobEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobEventKind::Scheduled { due } => write!(f, "scheduled for {due}"),
            JobEventKind::Restored { due } => write!(f, "restored, due {due}"),
            JobEventKind::Started { run, attempt } => {
                write!(f, "started run {run}, attempt {attempt}")
            }
            JobEventKind::Retrying { attempt, due } => {
                write!(f, "attempt {attempt} failed, to be tried again at {due}")
            }
            JobEventKind::RunEnded(run) => write!(f, "run {} ended: {}", run.number, run.status),
            JobEventKind::Misfired { next } => write!(f, "missed its time, and runs for {next}"),
            JobEventKind::Cancelled => f.write_str("cancelled"),
            JobEventKind::Ended(status) => write!(f, "ended: {status}"),
        }
    }
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
    /// An event that waits behind the news that some were missed.
    held: Option<Event>,
    missed: Arc<AtomicU64>,
    waker: ShieldedWaker,
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

    /// After the end: what was missed last, which no event has told.
    fn missed_at_the_end(&self) -> Option<Event> {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        (missed > 0).then_some(Event::Missed(missed))
    }

    /// Blocks the thread until there is an event; `None` once the app has
    /// stopped.
    pub fn next_blocking(&mut self) -> Option<Event> {
        if let Some(event) = self.held.take() {
            return Some(event);
        }
        match self.receiver.recv_blocking() {
            Ok(sent) => Some(self.unpack(sent)),
            Err(_) => self.missed_at_the_end(),
        }
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
        let shielded = self.waker.of(cx.waker());
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
        wake_after(|| self.receiver.close());
        self.bus.forget_closed();
    }
}

/// Hands events to all who read them.
///
/// In two steps, for whoever has an event holds locks, and a reader's waker is
/// foreign code: [`record`](EventBus::record) keeps it, in its order, and
/// [`deliver`](EventBus::deliver), once the locks are gone, sends it.
#[derive(Debug, Default)]
pub(crate) struct EventBus {
    /// How many read: without any, an event costs this one load.
    count: AtomicUsize,
    readers: Mutex<Readers>,
    outbox: Mutex<Outbox>,
}

#[derive(Debug, Default)]
struct Readers {
    list: Vec<Reader>,
    is_closed: bool,
}

#[derive(Clone, Debug)]
struct Reader {
    sender: Sender<Sent>,
    /// Events that it has missed since the last one that it was sent.
    missed: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Outbox {
    events: Vec<Event>,
    is_delivering: bool,
    /// Nothing more comes in.
    is_closing: bool,
}

impl EventBus {
    pub(crate) fn subscribe(self: &Arc<Self>) -> Events {
        let (sender, receiver) = async_channel::bounded(EVENTS_HELD);
        let missed = Arc::new(AtomicU64::new(0));
        let mut readers = lock(&self.readers);
        // After the end, the sender is dropped, and so the stream is over.
        if !readers.is_closed {
            if readers.list.is_empty() {
                // What an earlier reader has left behind is none of this one's.
                lock(&self.outbox).events.clear();
            }
            readers.list.push(Reader {
                sender,
                missed: missed.clone(),
            });
            self.count.store(readers.list.len(), Ordering::Release);
        }
        Events {
            receiver: Box::pin(receiver),
            held: None,
            missed,
            waker: ShieldedWaker::default(),
            bus: self.clone(),
        }
    }

    /// Whether anybody reads. Acquire pairs with the release of `subscribe`: who
    /// has subscribed before an event sees it.
    pub(crate) fn is_read(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Keeps an event for [`deliver`](EventBus::deliver).
    pub(crate) fn record(&self, event: Event) {
        let mut outbox = lock(&self.outbox);
        if !outbox.is_closing {
            outbox.events.push(event);
        }
    }

    /// Sends what was recorded. Never waits: a reader that is behind misses an
    /// event, and if another thread is sending, it sends these as well.
    pub(crate) fn deliver(&self) {
        if self.is_read() {
            self.deliver_all();
        }
    }

    fn deliver_all(&self) {
        loop {
            let events = {
                let mut outbox = lock(&self.outbox);
                if outbox.is_delivering {
                    return;
                }
                if outbox.events.is_empty() {
                    if outbox.is_closing {
                        break;
                    }
                    return;
                }
                outbox.is_delivering = true;
                std::mem::take(&mut outbox.events)
            };
            let readers = lock(&self.readers).list.clone();
            for event in events {
                for reader in &readers {
                    reader.send(event.clone());
                }
            }
            wake_after(|| drop_catching_panic(readers));
            lock(&self.outbox).is_delivering = false;
        }
        let readers = {
            let mut readers = lock(&self.readers);
            readers.is_closed = true;
            self.count.store(0, Ordering::Release);
            std::mem::take(&mut readers.list)
        };
        // The last sender wakes its reader.
        wake_after(|| drop_catching_panic(readers));
    }

    /// No event will follow. Those before are sent, by whoever is sending.
    pub(crate) fn close(&self) {
        lock(&self.outbox).is_closing = true;
        self.deliver_all();
    }

    fn forget_closed(&self) {
        let mut readers = lock(&self.readers);
        readers.list.retain(|reader| !reader.sender.is_closed());
        self.count.store(readers.list.len(), Ordering::Release);
    }
}

impl Reader {
    fn send(&self, event: Event) {
        // Relaxed, here and below: the count orders nothing, and one thread at a
        // time sends.
        let missed_before = self.missed.swap(0, Ordering::Relaxed);
        let sent = Sent {
            missed_before,
            event,
        };
        let is_full = wake_after(|| {
            let sent = self.sender.try_send(sent);
            matches!(sent, Err(TrySendError::Full(_)))
        });
        if is_full {
            self.missed.fetch_add(missed_before + 1, Ordering::Relaxed);
        }
    }
}
