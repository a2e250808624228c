//! How a running attempt is told to stop: [`StopToken`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::deferred_wakes::notify_all;
use crate::sync::primitives::{Arc, AtomicU8, Event, Ordering};
use crate::sync::waiter::{Condition, Waiter};

/// Tells a running attempt that it should end: it was aborted, it took too
/// long, or the app is shutting down.
///
/// An async task needs none for aborts and timeouts: its future is dropped.
/// A blocking one can't be stopped from outside; it should look now and then,
/// and return.
///
/// ```
/// use std::time::Duration;
/// use jobber::{JobContext, JobStatus, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let work = app
///     .blocking_task("work", |cx: JobContext| {
///         let stop = cx.stop_token();
///         while !stop.is_stopped() {
///             // … a piece of the work …
///             std::thread::yield_now();
///         }
///     })
///     .timeout(Duration::from_millis(5))
///     .register()?;
/// app.start().wait_blocking()?;
/// let job = work.schedule(()).push().wait_blocking()?;
/// assert_eq!(job.wait_blocking(), JobStatus::Timeout);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StopToken(Arc<Control>);

impl StopToken {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self(control)
    }

    /// Whether the attempt should end. Never goes back to `false`.
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Acquire) != GO
    }

    /// Waits until the attempt should end: `.await` it, or end it with
    /// [`wait_blocking`](Stopped::wait_blocking). Cancel safe.
    pub fn stopped(&self) -> Stopped {
        Stopped(Waiter::new(Asked(self.0.clone())))
    }
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopToken")
            .field(&self.is_stopped())
            .finish()
    }
}

/// The wait of [`StopToken::stopped`].
#[derive(Debug)]
#[must_use = "does nothing until it is awaited or ended with `.wait_blocking()`"]
pub struct Stopped(Waiter<Asked>);

impl Stopped {
    /// Blocks the thread until the attempt should end.
    pub fn wait_blocking(self) {
        self.0.block()
    }
}

impl Future for Stopped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

const GO: u8 = 0;
/// Please end; whoever goes on is left alone.
const ASKED: u8 = 1;
/// The attempt is over whatever it does: its future is to be dropped.
const KILLED: u8 = 2;

/// The strings of one attempt, made when somebody first asks for them.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stop: AtomicU8,
    changed: Event,
}

impl Control {
    /// Of an attempt that is over.
    pub(crate) fn killed() -> Self {
        Self {
            stop: AtomicU8::new(KILLED),
            changed: Event::new(),
        }
    }

    pub(crate) fn ask(&self) {
        self.raise(ASKED);
    }

    pub(crate) fn kill(&self) {
        self.raise(KILLED);
    }

    pub(crate) fn is_killed(&self) -> bool {
        // Acquire: sees what led to the kill.
        self.stop.load(Ordering::Acquire) == KILLED
    }

    fn raise(&self, to: u8) {
        // Release: for the acquire above.
        self.stop.fetch_max(to, Ordering::Release);
        notify_all(&self.changed);
    }
}

#[derive(Debug)]
struct Asked(Arc<Control>);

impl Condition for Asked {
    type Output = ();

    fn ready(&self) -> Option<()> {
        (self.0.stop.load(Ordering::Acquire) != GO).then_some(())
    }

    fn event(&self) -> &Event {
        &self.0.changed
    }
}

/// Becomes true when the attempt is killed.
#[derive(Debug)]
pub(crate) struct Killed(pub(crate) Arc<Control>);

impl Condition for Killed {
    type Output = ();

    fn ready(&self) -> Option<()> {
        self.0.is_killed().then_some(())
    }

    fn event(&self) -> &Event {
        &self.0.changed
    }
}
