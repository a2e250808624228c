//! [`Store`]: the inbox of the writer, which the parts of an app share.

use std::time::{Duration, Instant};

use crate::job::sync_state::CommitWaiter;
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::Proposal;
use crate::storage::writer::Writer;
use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, Event as Signal, Mutex, lock, thread, thread::Thread};
use crate::value::app_clock::AppClock;
use crate::value::error::StorageError;
use crate::value::id::JobId;

/// A message to the writer.
pub(crate) enum Message {
    /// The row of this job has changed, or somebody waits for it.
    Changed(JobRef),
    Propose(Box<dyn Proposal>),
    /// The row of this id is to go: that of an unresolved job, or of one that was lost.
    Forget {
        id: JobId,
        waiter: Option<CommitWaiter>,
    },
}

/// The inbox of the writer, and how it is driven.
pub(crate) struct Store {
    inbox: Mutex<Inbox>,
    /// Without a thread of its own, the writer is here.
    manual: Option<Mutex<Option<Writer>>>,
    clock: AppClock,
    /// Notified when nothing is left to be tried, and when the store is closed.
    idle: Arc<Signal>,
}

#[derive(Default)]
struct Inbox {
    phase: Phase,
    messages: Vec<Message>,
    /// Messages were taken out, and what comes of them is not known yet.
    is_committing: bool,
    /// The thread of the writer, while it sleeps.
    asleep: Option<Thread>,
    failure: Option<StorageError>,
    unstored: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No message is accepted.
    #[default]
    Closed,
    Open,
    /// No message is accepted. Those that are there are tried once.
    Closing,
}

impl Inbox {
    fn is_idle(&self) -> bool {
        self.messages.is_empty() && !self.is_committing
    }
}

impl Store {
    pub(crate) fn new(clock: AppClock, is_manual: bool, idle: Arc<Signal>) -> Self {
        Self {
            inbox: Mutex::default(),
            manual: is_manual.then(Mutex::default),
            clock,
            idle,
        }
    }

    /// Accepts a message, unless the store is closed: then returns it. May be called
    /// under any lock. The caller calls [`wake_writer`](Store::wake_writer) when it holds
    /// none.
    pub(crate) fn send(&self, message: Message) -> Result<(), Message> {
        let mut inbox = lock(&self.inbox);
        if inbox.phase != Phase::Open {
            return Err(message);
        }
        inbox.messages.push(message);
        Ok(())
    }

    /// Makes sure that the messages are committed.
    pub(crate) fn wake_writer(&self) {
        if self.manual.is_some() {
            self.run_manually();
            return;
        }
        let sleeper = {
            let mut inbox = lock(&self.inbox);
            let has_work = !inbox.messages.is_empty() || inbox.phase == Phase::Closing;
            inbox.asleep.take_if(|_| has_work)
        };
        if let Some(thread) = sleeper {
            thread.unpark();
        }
    }

    /// Whether everything was tried.
    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.inbox).is_idle()
    }

    /// Whether messages are accepted.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.inbox).phase == Phase::Open
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.inbox).phase == Phase::Closed
    }

    /// Why the last commit failed, and how many changes the store does not have yet.
    pub(crate) fn health(&self) -> (Option<StorageError>, usize) {
        let inbox = lock(&self.inbox);
        (inbox.failure.clone(), inbox.unstored)
    }

    pub(crate) fn open(&self) {
        lock(&self.inbox).phase = Phase::Open;
    }

    /// Accepts nothing more. What is there is tried once, then the storage is dropped:
    /// see [`is_closed`](Store::is_closed).
    pub(crate) fn close(&self) {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.phase == Phase::Open {
                inbox.phase = Phase::Closing;
            }
        }
        self.wake_writer();
    }

    /// Leaves the store as a killed process does: nothing that waits is committed.
    pub(crate) fn simulate_crash(&self) {
        let messages = {
            let mut inbox = lock(&self.inbox);
            inbox.phase = Phase::Closed;
            std::mem::take(&mut inbox.messages)
        };
        let writer = self.manual.as_ref().and_then(|writer| lock(writer).take());
        drop_catching_panic((messages, writer));
        notify_all(&self.idle);
    }

    /// For the writer: takes the messages, and says that a commit is under way.
    pub(crate) fn take(&self) -> Vec<Message> {
        let mut inbox = lock(&self.inbox);
        inbox.is_committing = true;
        std::mem::take(&mut inbox.messages)
    }

    /// For the writer, before anybody is answered: those may look.
    pub(crate) fn set_health(&self, failure: Option<&StorageError>, unstored: usize) {
        let mut inbox = lock(&self.inbox);
        inbox.failure = failure.cloned();
        inbox.unstored = unstored;
    }

    fn turn_ended(&self) {
        let is_idle = {
            let mut inbox = lock(&self.inbox);
            inbox.is_committing = false;
            inbox.is_idle()
        };
        if is_idle {
            notify_all(&self.idle);
        }
    }

    /// Accepts nothing more, and answers what is there.
    pub(crate) fn closed(&self) {
        let messages = {
            let mut inbox = lock(&self.inbox);
            inbox.phase = Phase::Closed;
            inbox.is_committing = false;
            std::mem::take(&mut inbox.messages)
        };
        Writer::refuse_all(messages);
        notify_all(&self.idle);
    }

    // With a thread of its own.

    /// The loop of the writer's thread: commit, sleep, until the app has stopped.
    pub(crate) fn run_thread(&self, mut writer: Writer) {
        let _closed = CloseOnDrop(self);
        let origin = Instant::now();
        loop {
            let is_last = {
                let mut inbox = lock(&self.inbox);
                let is_due = writer.is_due(origin.elapsed());
                match inbox.phase {
                    Phase::Open if inbox.messages.is_empty() && !is_due => {
                        inbox.asleep = Some(thread::current());
                        None
                    }
                    phase => Some(phase != Phase::Open),
                }
            };
            match (is_last, writer.retry_at()) {
                (Some(is_last), _) => {
                    writer.turn(self, origin.elapsed(), is_last);
                    self.turn_ended();
                    if is_last {
                        drop_catching_panic(writer.into_storage());
                        return;
                    }
                }
                (None, Some(at)) => thread::park_timeout(at.saturating_sub(origin.elapsed())),
                (None, None) => thread::park(),
            }
        }
    }

    // Driven manually.

    pub(crate) fn set_writer(&self, writer: Writer) {
        if let Some(place) = &self.manual {
            *lock(place) = Some(writer);
        }
    }

    /// Commits what there is, on the thread of the caller. Returns when to try again, if
    /// the store fails.
    pub(crate) fn run_manually(&self) -> Option<Duration> {
        let manual = self.manual.as_ref()?;
        // A call that comes from an answer of the writer leaves its messages to the loop
        // below.
        let mut place = manual.try_lock().ok()?;
        loop {
            let now = Duration::from_nanos(self.clock.mono().max(0) as u64);
            let writer = place.as_mut()?;
            let (phase, has_work) = {
                let inbox = lock(&self.inbox);
                (inbox.phase, !inbox.messages.is_empty())
            };
            if phase != Phase::Open {
                writer.turn(self, now, true);
                let writer = place.take();
                drop(place);
                drop_catching_panic(writer);
                self.closed();
                return None;
            }
            if !has_work && !writer.is_due(now) {
                return writer.retry_at();
            }
            writer.turn(self, now, false);
            self.turn_ended();
        }
    }
}

/// Says that the thread has ended, in whichever way.
struct CloseOnDrop<'a>(&'a Store);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.closed();
    }
}
