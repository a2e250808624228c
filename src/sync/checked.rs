//! The primitives of the model checker, in the shape of the standard ones.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) use loom::future::block_on;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

/// As `std::thread_local`, as far as it is used here.
macro_rules! checked_thread_local {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = const { $value:expr };) => {
        loom::thread_local! { $(#[$attribute])* static $name: $kind = $value; }
    };
}
pub(crate) use checked_thread_local as thread_local;

/// As `std::thread`. loom's own wake-ups get lost where the thread that is woken
/// waits for a mutex (0.7.3: `Mutex::release_lock` takes the token with it), so these
/// are made of what does not lose them.
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
        is_there: Mutex<bool>,
        came: Condvar,
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
            *self.token.is_there.lock().unwrap() = true;
            self.token.came.notify_one();
        }
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    pub(crate) fn park() {
        let token = current().token;
        let mut is_there = token.is_there.lock().unwrap();
        while !*is_there {
            is_there = token.came.wait(is_there).unwrap();
        }
        *is_there = false;
    }

    /// No time passes in a model: only who is woken goes on, and who waits for none.
    pub(crate) fn park_timeout(duration: Duration) {
        if !duration.is_zero() {
            park();
        }
    }
}

/// As event-listener's, whose drop looks at what other threads have used: that they
/// let go of it before is known to the `Arc` that it lies in, but not to the checker,
/// which has to see it.
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

    pub(crate) fn notify(&self, count: usize) -> usize {
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
        // A load could see an older one.
        self.uses.fetch_add(0, Ordering::Acquire);
    }
}

/// No time passes in a model. A timer that waits for none goes off at once, and one that
/// waits for a nanosecond at any moment: a thread of its own sets it off.
#[derive(Debug)]
pub(crate) struct Timer(Arc<Mutex<Ringing>>);

#[derive(Debug)]
struct Ringing {
    is_over: bool,
    waker: Option<Waker>,
}

impl Timer {
    pub(crate) fn after(duration: Duration) -> Self {
        let timer = Arc::new(Mutex::new(Ringing {
            is_over: duration.is_zero(),
            waker: None,
        }));
        if duration == Duration::from_nanos(1) {
            let ringing = timer.clone();
            loom::thread::spawn(move || {
                let waker = {
                    let mut ringing = ringing.lock().unwrap();
                    ringing.is_over = true;
                    ringing.waker.take()
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
        let mut ringing = self.0.lock().unwrap();
        if ringing.is_over {
            return Poll::Ready(Instant::now());
        }
        ringing.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
