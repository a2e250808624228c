//! [`StopToken`]: a running attempt reads here that it should end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::deferred_wakes::notify_all;
use crate::sync::primitives::{Arc, AtomicU8, Event, Mutex, Ordering, lock};
use crate::sync::waiter::{Condition, Waiter};
use crate::value::retry_hint::RetryHint;

/// Is set when a running attempt should end: because its job was aborted, it took
/// longer than its timeout, or its app shuts down. It is also set when the attempt has ended,
/// so that nobody waits for it any longer.
/// [`JobContext::stop_token`](crate::JobContext::stop_token) returns it.
///
/// An async task needs no token for an abort or a timeout, because its future is
/// dropped; it can use the token to end early during a shutdown. A blocking task can't
/// be stopped from outside: it should read the token from time to time, and return when
/// the token is set.
///
/// All clones are the same token, and can be sent to any thread.
///
/// ```
/// use std::time::Duration;
/// use jobber::{JobContext, JobStatus, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let work = app
///     .blocking_task("work", |cx: JobContext| {
///         let stop = cx.stop_token();
///         while !stop.is_stop_requested() {
///             // … do one part of the work …
///             std::thread::yield_now();
///         }
///     })
///     .timeout(Duration::from_millis(5))
///     .register()?;
/// app.start().block_on()?;
/// let job = work.schedule(()).push().block_on()?;
/// assert_eq!(job.wait_blocking(), JobStatus::Timeout);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StopToken(Arc<Control>);

impl StopToken {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self(control)
    }

    /// Whether the attempt should end, or has ended. Once it is `true`, it stays `true`. Never
    /// blocks.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// fn count(cx: JobContext, to: u64) -> u64 {
    ///     let stop = cx.stop_token();
    ///     (0..to).take_while(|_| !stop.is_stop_requested()).count() as u64
    /// }
    /// ```
    pub fn is_stop_requested(&self) -> bool {
        self.0.stop.load(Ordering::Acquire) != RUNNING
    }

    /// Waits until the attempt should end, or has ended. `.await` it, or end it with
    /// [`.block_on()`](Stopped::block_on). Cancel safe.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// fn listen(cx: JobContext) {
    ///     cx.stop_token().stopped().block_on();
    /// }
    /// ```
    pub fn stopped(&self) -> Stopped {
        Stopped(Waiter::new(StopRequested(self.0.clone())))
    }
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopToken")
            .field(&self.is_stop_requested())
            .finish()
    }
}

/// Waits until an attempt should end, or has ended: returned by [`StopToken::stopped`].
#[derive(Debug)]
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct Stopped(Waiter<StopRequested>);

impl Stopped {
    /// Blocks the thread until the attempt should end, or has ended.
    pub fn block_on(self) {
        self.0.block()
    }
}

impl Future for Stopped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

const RUNNING: u8 = 0;
/// The attempt should end. Its future is still polled.
const REQUESTED: u8 = 1;
/// The attempt is over: its future is dropped at the next poll.
const FORCED: u8 = 2;

/// The cancellation state of one attempt, and what it requests about its retry. It is allocated
/// when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stop: AtomicU8,
    changed: Event,
    retry: Mutex<RetryHint>,
}

impl Control {
    /// The cancellation state of an attempt that is over.
    pub(crate) fn stopped() -> Self {
        Self {
            stop: AtomicU8::new(FORCED),
            ..Self::default()
        }
    }

    /// What the attempt has requested last about its retry.
    pub(crate) fn retry_hint(&self) -> RetryHint {
        *lock(&self.retry)
    }

    pub(crate) fn set_retry_hint(&self, hint: RetryHint) {
        *lock(&self.retry) = hint;
    }

    pub(crate) fn request_stop(&self) {
        self.raise(REQUESTED);
    }

    pub(crate) fn force_stop(&self) {
        self.raise(FORCED);
    }

    pub(crate) fn is_force_stopped(&self) -> bool {
        // Acquire: pairs with the release in `raise`.
        self.stop.load(Ordering::Acquire) == FORCED
    }

    fn raise(&self, to: u8) {
        // Release: pairs with the acquire loads.
        self.stop.fetch_max(to, Ordering::Release);
        notify_all(&self.changed);
    }
}

#[derive(Debug)]
struct StopRequested(Arc<Control>);

impl Condition for StopRequested {
    type Output = ();

    fn ready(&self) -> Option<()> {
        (self.0.stop.load(Ordering::Acquire) != RUNNING).then_some(())
    }

    fn event(&self) -> &Event {
        &self.0.changed
    }
}

/// Ready when the attempt was stopped by force.
#[derive(Debug)]
pub(crate) struct ForceStopped(pub(crate) Arc<Control>);

impl Condition for ForceStopped {
    type Output = ();

    fn ready(&self) -> Option<()> {
        self.0.is_force_stopped().then_some(())
    }

    fn event(&self) -> &Event {
        &self.0.changed
    }
}
