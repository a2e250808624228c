//! loom's synchronization primitives, with the interfaces of the standard ones.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use event_listener::IntoNotification;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

/// `std::thread_local`, in the one form that this crate uses.
macro_rules! loom_thread_local {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = const { $value:expr };) => {
        loom::thread_local! { $(#[$attribute])* static $name: $kind = $value; }
    };
}
pub(crate) use loom_thread_local as thread_local;

/// `std::thread`, with `park` and `unpark` made of a mutex and a condition variable.
///
/// loom 0.7.3 loses an unpark while the unparked thread waits for a mutex:
/// `Mutex::release_lock` consumes the thread's token.
pub(crate) mod thread {
    use std::time::Duration;

    use super::{Condvar, Mutex};
    use std::sync::Arc;

    pub(crate) use loom::thread::{Builder, ThreadId};

    #[derive(Clone, Debug)]
    pub(crate) struct Thread {
        id: ThreadId,
        token: Arc<Token>,
    }

    #[derive(Debug, Default)]
    struct Token {
        is_set: Mutex<bool>,
        changed: Condvar,
    }

    loom::thread_local! {
        static CURRENT: Thread = Thread {
            id: loom::thread::current().id(),
            token: Arc::default(),
        };
    }

    impl Thread {
        pub(crate) fn id(&self) -> ThreadId {
            self.id
        }

        pub(crate) fn unpark(&self) {
            *self.token.is_set.lock().unwrap() = true;
            self.token.changed.notify_one();
        }
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    pub(crate) fn park() {
        let token = current().token;
        let mut is_set = token.is_set.lock().unwrap();
        while !*is_set {
            is_set = token.changed.wait(is_set).unwrap();
        }
        *is_set = false;
    }

    /// Returns at once if the duration is zero, and otherwise only after an unpark:
    /// time does not pass in a loom model.
    pub(crate) fn park_timeout(duration: Duration) {
        if !duration.is_zero() {
            park();
        }
    }
}

/// event-listener's `Event`, with an atomic counter that orders its uses before its
/// drop.
///
/// The drop reads memory that other threads have used. The `Arc` around the event
/// orders these accesses, but it is the standard library's `Arc`, which loom does not
/// see.
#[derive(Debug)]
pub(crate) struct Event {
    event: event_listener::Event,
    uses: AtomicUsize,
}

impl Event {
    pub(crate) fn new() -> Self {
        Self {
            event: event_listener::Event::new(),
            uses: AtomicUsize::new(0),
        }
    }

    pub(crate) fn listen(&self) -> event_listener::EventListener {
        let listener = self.event.listen();
        self.uses.fetch_add(1, Ordering::Release);
        listener
    }

    pub(crate) fn notify(&self, count: impl IntoNotification<Tag = ()>) -> usize {
        let notified = self.event.notify(count);
        self.uses.fetch_add(1, Ordering::Release);
        notified
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // A read-modify-write reads the latest value. A load could read an older one.
        self.uses.fetch_add(0, Ordering::Acquire);
    }
}

/// A timer for models, in which time does not pass.
///
/// A timer of zero is ready at once. A timer of one nanosecond becomes ready at any
/// moment: a thread of its own completes it. A longer timer never becomes ready.
#[derive(Debug)]
pub(crate) struct Timer(Arc<Mutex<TimerState>>);

#[derive(Debug)]
struct TimerState {
    is_ready: bool,
    waker: Option<Waker>,
}

impl Timer {
    pub(crate) fn after(duration: Duration) -> Self {
        let timer = Arc::new(Mutex::new(TimerState {
            is_ready: duration.is_zero(),
            waker: None,
        }));
        if duration == Duration::from_nanos(1) {
            let state = timer.clone();
            loom::thread::spawn(move || {
                let waker = {
                    let mut state = state.lock().unwrap();
                    state.is_ready = true;
                    state.waker.take()
                };
                waker.inspect(Waker::wake_by_ref);
            });
        }
        Self(timer)
    }
}

impl Future for Timer {
    type Output = Instant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut state = self.0.lock().unwrap();
        if state.is_ready {
            return Poll::Ready(Instant::now());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
