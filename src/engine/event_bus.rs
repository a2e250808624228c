//! [`EventBus`]: sends each event of an app to all readers.

use async_channel::{Receiver, Sender, TrySendError};

use crate::sync::deferred_wakes::defer_wakes;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, lock};
use crate::value::event::Event;

/// A reader may be this many events behind before it misses some.
const QUEUE_LEN: usize = 1_024;

/// The readers of an app's events.
///
/// Sending takes two steps, since whatever makes an event holds locks, and a reader's
/// waker is user code. [`record`](EventBus::record) keeps an event, in its order, and
/// may be called under locks. [`deliver`](EventBus::deliver) sends what was recorded, and
/// is called once the locks are released.
#[derive(Debug, Default)]
pub(crate) struct EventBus {
    /// The number of readers. Without readers, an event costs one load of this.
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
    missed: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Outbox {
    events: Vec<Event>,
    is_delivering: bool,
    /// No more events are recorded.
    is_closing: bool,
}

/// An event, as it is sent to one reader.
#[derive(Debug)]
pub(crate) struct Sent {
    /// How many events the reader missed just before this one.
    pub(crate) missed_before: u64,
    pub(crate) event: Event,
}

/// The receiving end of one reader.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) receiver: Receiver<Sent>,
    /// How many events the reader has missed since the last one that it was sent.
    pub(crate) missed: Arc<AtomicU64>,
}

impl EventBus {
    /// Adds a reader. After [`close`](EventBus::close), its channel is closed at once.
    pub(crate) fn subscribe(&self) -> Subscription {
        let (sender, receiver) = async_channel::bounded(QUEUE_LEN);
        let missed = Arc::new(AtomicU64::new(0));
        let mut readers = lock(&self.readers);
        if !readers.is_closed {
            if readers.list.is_empty() {
                // Events that were recorded for an earlier reader and not delivered.
                lock(&self.outbox).events.clear();
            }
            readers.list.push(Reader {
                sender,
                missed: missed.clone(),
            });
            self.count.store(readers.list.len(), Ordering::Release);
        }
        Subscription { receiver, missed }
    }

    /// Whether there are readers. Acquire pairs with the release in `subscribe`: a reader
    /// that subscribed before an event gets the event.
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

    /// Sends the recorded events. Never waits: a reader whose queue is full misses an
    /// event. If another thread is sending, that thread sends these events too.
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
            defer_wakes(|| drop_catching_panic(readers));
            lock(&self.outbox).is_delivering = false;
        }
        let readers = {
            let mut readers = lock(&self.readers);
            readers.is_closed = true;
            self.count.store(0, Ordering::Release);
            std::mem::take(&mut readers.list)
        };
        // Dropping the last sender of a channel wakes its reader.
        defer_wakes(|| drop_catching_panic(readers));
    }

    /// Ends all streams after the events that were recorded before. If another thread is
    /// sending, that thread ends them.
    pub(crate) fn close(&self) {
        lock(&self.outbox).is_closing = true;
        self.deliver_all();
    }

    /// Removes the readers whose channels are closed.
    pub(crate) fn remove_closed(&self) {
        let mut readers = lock(&self.readers);
        readers.list.retain(|reader| !reader.sender.is_closed());
        self.count.store(readers.list.len(), Ordering::Release);
    }
}

impl Reader {
    fn send(&self, event: Event) {
        // Relaxed, here and below: the count synchronises nothing, and only one thread at
        // a time sends.
        let missed_before = self.missed.swap(0, Ordering::Relaxed);
        let sent = Sent {
            missed_before,
            event,
        };
        let is_full = defer_wakes(|| {
            let sent = self.sender.try_send(sent);
            matches!(sent, Err(TrySendError::Full(_)))
        });
        if is_full {
            self.missed.fetch_add(missed_before + 1, Ordering::Relaxed);
        }
    }
}
