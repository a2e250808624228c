//! [`Action`]: an operation of an app that may take time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{FutureExt, future};

use crate::sync::parker::block_on;
use crate::sync::primitives::Timer;
use crate::sync::waiter::{Condition, Waiter};

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
pub struct Action<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    /// Called before the operation blocks a thread. May panic to refuse.
    on_block: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Action<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            future: future.boxed(),
            on_block: None,
        }
    }

    /// `on_block` is called before [`block_on`](Action::block_on) blocks the thread.
    #[cfg(feature = "serde")]
    pub(crate) fn with_block(
        future: impl Future<Output = T> + Send + 'static,
        on_block: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self {
            future: future.boxed(),
            on_block: Some(Box::new(on_block)),
        }
    }

    /// Waits for a condition.
    pub(crate) fn wait<C>(condition: C) -> Self
    where
        C: Condition<Output = T> + Clone + Send + 'static,
    {
        let waiter = Waiter::new(condition.clone());
        Self {
            future: Waiter::new(condition).boxed(),
            on_block: Some(Box::new(move || waiter.check_block())),
        }
    }

    /// Waits for a condition, but not longer than `limit`. Then returns `end`.
    pub(crate) fn wait_at_most<C>(
        condition: C,
        limit: Duration,
        end: impl FnOnce() -> T + Send + 'static,
    ) -> Self
    where
        C: Condition<Output = ()> + Clone + Send + 'static,
    {
        let waiter = Waiter::new(condition.clone());
        let waits = async move {
            let timer = async {
                Timer::after(limit).await;
            };
            future::or(Waiter::new(condition), timer).await;
            end()
        };
        Self {
            future: waits.boxed(),
            on_block: Some(Box::new(move || waiter.check_block())),
        }
    }

    /// Carries the operation out, and blocks the thread until it is done.
    ///
    /// # Panics
    /// As the function that has returned this value.
    pub fn block_on(mut self) -> T {
        if let Some(on_block) = self.on_block.take() {
            on_block();
        }
        block_on(self)
    }
}

impl<T> Future for Action<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.future.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Action<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Action(..)")
    }
}
