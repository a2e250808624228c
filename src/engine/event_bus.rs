//! [`EventBus`]: the events of an app, for all readers.

use std::collections::VecDeque;

use async_channel::{Receiver, Sender};

use crate::sync::deferred_wakes::defer_wakes;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{
    Arc, AtomicBool, AtomicUsize, Mutex, MutexGuard, OnceLock, Ordering, lock, thread,
    thread::Thread,
};
use crate::sync::process::StartedBy;
use crate::value::event::Event;

pub(crate) const THREAD_NAME: &str = "jobber-events";

/// A reader may be this many events behind before it misses some.
const RECENT_LEN: usize = 1_024;

/// The last events of an app, and its readers.
///
/// Nothing is sent to a reader: each reads the last events at its own pace. So an event
/// costs the thread that makes it the same for any number of readers, and a slow reader
/// costs no memory.
///
/// A reader that has read all waits for a signal. A thread of the bus sends it, because waking
/// many readers takes long, and their wakers are user code. The thread that makes an event only
/// [records](EventBus::record) it, which it may do under locks, and then
/// [wakes](EventBus::wake_readers) the thread of the bus.
#[derive(Debug, Default)]
pub(crate) struct EventBus {
    /// The number of readers. Without readers, an event only costs loads of this.
    count: AtomicUsize,
    /// Lock order: `readers`, then `recent`.
    readers: Mutex<Readers>,
    recent: Mutex<Recent>,
    /// Whether the bus has a thread, or is starting one. If not, the thread that makes an event
    /// wakes the readers: in a simulation, and if the thread of the bus could not be started.
    has_thread: AtomicBool,
    /// The thread of the bus could not be started, when one was last needed.
    has_failed: AtomicBool,
    /// The thread of the bus, once it runs.
    thread: OnceLock<Thread>,
    /// Set when the app starts, if it has threads of its own.
    started_by: StartedBy,
    /// The thread of the bus has to send signals.
    must_signal: AtomicBool,
}

#[derive(Debug, Default)]
struct Readers {
    /// A channel for each reader, with room for one signal.
    signals: Vec<Sender<()>>,
    /// The app has started, and has threads of its own. A simulation has none.
    has_threads: bool,
}

#[derive(Debug, Default)]
struct Recent {
    events: VecDeque<Event>,
    /// The number of the first of them. Events are counted from 0.
    first: u64,
    /// No more events are recorded.
    is_closed: bool,
}

/// One reader.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// A signal means that there may be new events. Closed when no more events come.
    pub(crate) signal: Receiver<()>,
    /// The number of the first event that it has not read.
    pub(crate) next: u64,
}

impl EventBus {
    /// Adds a reader. After [`close`](EventBus::close), its signal is closed at once.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        let (sender, signal) = async_channel::bounded(1);
        let mut readers = lock(&self.readers);
        let recent = lock(&self.recent);
        if !recent.is_closed {
            readers.signals.push(sender);
            self.count.store(readers.signals.len(), Ordering::Release);
        }
        let next = recent.end();
        drop(recent);
        self.start_thread_if_read(readers);
        Subscription { signal, next }
    }

    /// The app starts, and has threads of its own.
    pub(crate) fn use_thread(self: &Arc<Self>) {
        let mut readers = lock(&self.readers);
        readers.has_threads = true;
        self.started_by.set();
        self.start_thread_if_read(readers);
    }

    fn start_thread_if_read(self: &Arc<Self>, readers: MutexGuard<'_, Readers>) {
        let may_start = readers.has_threads && !readers.signals.is_empty();
        if !may_start || self.has_thread.swap(true, Ordering::SeqCst) {
            return;
        }
        drop(readers);
        let bus = self.clone();
        let thread = thread::Builder::new().name(THREAD_NAME.into());
        let is_started = thread.spawn(move || bus.run()).is_ok();
        self.has_failed.store(!is_started, Ordering::SeqCst);
        if !is_started {
            self.has_thread.store(false, Ordering::SeqCst);
            self.signal_readers();
        }
    }

    /// Whether this process was forked from the one that has started the app: no more events
    /// come here. A system call.
    pub(crate) fn is_forked(&self) -> bool {
        self.started_by.is_forked()
    }

    /// Whether the threads that make events wake the readers, because the thread of the bus
    /// could not be started.
    pub(crate) fn has_no_thread(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    /// The loop of the thread. It ends when the bus is closed.
    fn run(&self) {
        // Set before the reads below: a caller that finds no thread to unpark has written what
        // is read there.
        let _ = self.thread.set(thread::current());
        while !lock(&self.recent).is_closed {
            if self.must_signal.swap(false, Ordering::SeqCst) {
                self.signal_readers();
            } else {
                thread::park();
            }
        }
    }

    /// Whether there are readers. Acquire pairs with the release in `subscribe`: a reader
    /// that subscribed before an event gets the event.
    pub(crate) fn is_read(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Adds an event. The caller calls [`wake_readers`](EventBus::wake_readers) later.
    pub(crate) fn record(&self, event: Event) {
        let mut recent = lock(&self.recent);
        if recent.is_closed {
            return;
        }
        if recent.events.len() == RECENT_LEN {
            recent.events.pop_front();
            recent.first += 1;
        }
        recent.events.push_back(event);
    }

    /// Wakes the readers that wait for an event, or has the thread of the bus wake them. Never
    /// waits for a reader.
    pub(crate) fn wake_readers(&self) {
        if !self.is_read() {
            return;
        }
        if !self.has_thread.load(Ordering::SeqCst) {
            self.signal_readers();
        } else if !self.must_signal.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn signal_readers(&self) {
        defer_wakes(|| {
            for signal in &lock(&self.readers).signals {
                // A reader that has a signal, or is gone, needs none.
                let _ = signal.try_send(());
            }
        });
    }

    /// Returns what comes next for a reader that has read the events before the number `next`,
    /// and adjusts this number.
    pub(crate) fn read(&self, next: &mut u64) -> Option<Event> {
        let recent = lock(&self.recent);
        let missed = recent.first.saturating_sub(*next);
        if missed > 0 {
            *next = recent.first;
            return Some(Event::Missed(missed));
        }
        let index = usize::try_from(*next - recent.first).ok()?;
        let event = recent.events.get(index)?.clone();
        *next += 1;
        Some(event)
    }

    /// Ends all streams after the events that were recorded before.
    pub(crate) fn close(&self) {
        let readers = {
            let mut readers = lock(&self.readers);
            lock(&self.recent).is_closed = true;
            self.count.store(0, Ordering::Release);
            std::mem::take(&mut readers.signals)
        };
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        // Dropping the last sender of a channel wakes its reader.
        defer_wakes(|| drop_catching_panic(readers));
    }

    /// Removes the readers whose signals are closed.
    pub(crate) fn remove_closed(&self) {
        let mut readers = lock(&self.readers);
        readers.signals.retain(|signal| !signal.is_closed());
        self.count.store(readers.signals.len(), Ordering::Release);
        let mut recent = lock(&self.recent);
        // After the close, the list is empty, and readers still read what they have not read.
        if readers.signals.is_empty() && !recent.is_closed {
            recent.first = recent.end();
            recent.events = VecDeque::new();
        }
    }
}

impl Recent {
    /// The number of the next event.
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}
