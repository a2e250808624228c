//! [`Action`]: an operation of an app that may take time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::FutureExt;

use crate::sync::parker::block_on;

/// An operation of an app that may take time: `.await` it, or end it with
/// [`.block_on()`](Action::block_on). Nothing happens before.
///
/// It owns what it needs, so that it can be spawned and sent to another thread. It
/// does not keep its app alive.
///
/// ```
/// use jobber::Jobber;
///
/// let app = Jobber::builder().build()?;
/// app.start().block_on()?;
/// smol::block_on(smol::spawn(app.wait_all()));
/// # Ok::<(), jobber::StartError>(())
/// ```
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct Action<T>(Pin<Box<dyn Future<Output = T> + Send>>);

impl<T> Action<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(future.boxed())
    }

    /// Carries the operation out, and blocks the thread until it is done.
    pub fn block_on(self) -> T {
        block_on(self)
    }
}

impl<T> Future for Action<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Action<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Action(..)")
    }
}
