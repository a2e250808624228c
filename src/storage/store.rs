//! [`Store`]: the writer of an app, with its inbox.

use std::time::{Duration, Instant};

use crate::storage::backlog::{Backlog, BacklogPlace, RoomWait};
use crate::storage::inbox::{Inbox, InboxPhase, Message, Request};
use crate::storage::writer::Writer;
use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, Event as Signal, Mutex, lock, thread};
use crate::value::app_clock::AppClock;
use crate::value::error::StorageError;

/// The writer of an app, with its inbox. It runs on a thread of its own, or is driven
/// manually.
pub(crate) struct Store {
    inbox: Inbox,
    /// Without a thread of its own, the writer is here.
    manual: Option<Mutex<Option<Writer>>>,
    clock: AppClock,
    backlog: Arc<Backlog>,
    /// How long a submission waits for a place in the backlog.
    busy_timeout: Duration,
    /// Notified when nothing is left to be tried, and when the store is closed.
    idle: Arc<Signal>,
}

impl Store {
    pub(crate) fn new(
        clock: AppClock,
        is_manual: bool,
        busy_timeout: Duration,
        idle: Arc<Signal>,
    ) -> Self {
        Self {
            inbox: Inbox::default(),
            manual: is_manual.then(Mutex::default),
            clock,
            backlog: Arc::default(),
            busy_timeout,
            idle,
        }
    }

    /// Takes a place for a submission with arguments of this many bytes, if there is room.
    pub(crate) fn enter_backlog(&self, bytes: usize) -> Option<BacklogPlace> {
        self.backlog.enter(bytes)
    }

    /// Waits for room, for a submission that found none.
    pub(crate) fn wait_for_room(&self) -> RoomWait {
        RoomWait::new(self.backlog.clone(), self.busy_timeout)
    }

    /// Accepts a message, unless the store is closed: then returns it. May be called
    /// under any lock. The caller calls [`wake_writer`](Store::wake_writer) when it holds
    /// none.
    pub(crate) fn send(&self, message: Message) -> Result<(), Message> {
        self.inbox.send(message)
    }

    /// Sends proposals, and has them committed. If the store is closed, they are refused. The
    /// caller holds no lock.
    pub(crate) fn propose(&self, message: Message) {
        match self.send(message) {
            Ok(()) => self.wake_writer(),
            Err(message) => Writer::refuse_all(vec![message]),
        }
    }

    /// Carries out a request on the thread of the writer, after the messages that wait. If the
    /// store is closed, the request gets `None` at once. The caller holds no lock.
    pub(crate) fn request(&self, request: Request) {
        match self.inbox.request(request) {
            Ok(()) => self.wake_writer(),
            Err(request) => request(None),
        }
    }

    /// Makes sure that the messages are committed.
    pub(crate) fn wake_writer(&self) {
        if self.manual.is_some() {
            self.run_manually();
        } else if let Some(thread) = self.inbox.take_sleeper() {
            thread.unpark();
        }
    }

    /// Whether the owner of the app drives its timer: a simulation, whose time stands still while a
    /// thread is blocked.
    pub(crate) fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// Whether everything was tried.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.is_idle()
    }

    /// Whether messages are accepted.
    pub(crate) fn is_open(&self) -> bool {
        self.inbox.phase() == InboxPhase::Open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inbox.phase() == InboxPhase::Closed
    }

    /// Why the last commit failed, and how many changes the store does not have yet.
    pub(crate) fn health(&self) -> (Option<StorageError>, usize) {
        self.inbox.health()
    }

    /// The number of changes that have happened and that the store does not have, or may not
    /// have.
    pub(crate) fn unstored(&self) -> usize {
        self.inbox.unstored()
    }

    pub(crate) fn open(&self) {
        self.inbox.open();
    }

    /// Accepts nothing more. What is there is tried once, then the storage is dropped:
    /// see [`is_closed`](Store::is_closed).
    pub(crate) fn close(&self) {
        self.inbox.begin_close();
        self.wake_writer();
    }

    /// Leaves the store as a killed process does: nothing that waits is committed.
    pub(crate) fn simulate_crash(&self) {
        let messages = self.inbox.close();
        let writer = self.manual.as_ref().and_then(|writer| lock(writer).take());
        drop_catching_panic((messages, self.inbox.take_requests(), writer));
        notify_all(&self.idle);
    }

    /// This process was forked, and the thread of the writer is in the other one. Nothing of
    /// what is here is touched.
    pub(crate) fn leave_to_parent(&self) {
        std::mem::forget(self.inbox.close());
    }

    fn turn_ended(&self) {
        if self.inbox.commit_ended() {
            notify_all(&self.idle);
        }
    }

    /// Accepts nothing more, and answers what is there.
    pub(crate) fn closed(&self) {
        Writer::refuse_all(self.inbox.close());
        for request in self.inbox.take_requests() {
            request(None);
        }
        notify_all(&self.idle);
    }

    // With a thread of its own.

    /// The loop of the writer's thread: commit, sleep, until the app has stopped.
    pub(crate) fn run_thread(&self, mut writer: Writer) {
        let _closed = CloseOnDrop(self);
        let origin = Instant::now();
        loop {
            let is_due = writer.is_due(origin.elapsed());
            let phase = self.inbox.sleep_unless_needed(is_due, thread::current());
            match (phase, writer.retry_at()) {
                (Some(phase), _) => {
                    let is_last = phase != InboxPhase::Open;
                    writer.turn(&self.inbox, origin.elapsed(), is_last);
                    self.turn_ended();
                    if is_last {
                        writer.close();
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
            if self.inbox.phase() != InboxPhase::Open {
                writer.turn(&self.inbox, now, true);
                let writer = place.take();
                drop(place);
                if let Some(writer) = writer {
                    writer.close();
                }
                self.closed();
                return None;
            }
            if !self.inbox.has_work() && !writer.is_due(now) {
                let retry_at = writer.retry_at();
                drop(place);
                if !self.inbox.has_work() && self.inbox.phase() == InboxPhase::Open {
                    return retry_at;
                }
                // Another thread has sent a message, or closed the store, and did not get
                // the writer.
                place = manual.try_lock().ok()?;
                continue;
            }
            writer.turn(&self.inbox, now, false);
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
