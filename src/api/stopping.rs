//! How long the end of an app takes.

use std::future::Future;
use std::time::Duration;

use futures_lite::future;

use crate::engine::hub::Hub;
use crate::sync::primitives::{Arc, Event as Signal, Timer};
use crate::sync::waiter::{Condition, Waiter};

/// The longest time that the drop of an app waits for functions of `on_stop`, and for its store.
pub(crate) const LONGEST_DROP: Duration = Duration::from_secs(5);

/// How long an app that stops waits at least: for functions of `on_stop` and `on_end`, and for the
/// store and the timer thread, which end by themselves.
pub(crate) const LEAST_TO_END: Duration = Duration::from_secs(1);

/// Waits, but not longer than `limit`.
pub(crate) async fn timeout(limit: Duration, waiter: impl Future<Output = ()>) {
    let timer = async {
        Timer::after(limit).await;
    };
    // The waiter comes first, so that it is polled once even if the limit is zero.
    future::or(waiter, timer).await;
}

/// True when this is true of the hub.
pub(crate) struct HubIs(Arc<Hub>, fn(&Hub) -> bool);

impl Condition for HubIs {
    type Output = ();

    fn ready(&self) -> Option<()> {
        self.1(&self.0).then_some(())
    }

    fn event(&self) -> &Signal {
        self.0.changed()
    }
}

/// Waits until no job is live and no function of `on_end` runs, or the app has stopped.
pub(crate) fn shut_down(hub: Arc<Hub>) -> Waiter<HubIs> {
    Waiter::new(HubIs(hub, |hub| hub.has_stopped() || hub.is_shut_down()))
}

/// Waits until the store is closed and the timer thread has ended, after the stop.
pub(crate) async fn ended(hub: Arc<Hub>) {
    store_closed(hub.clone()).await;
    // The timer thread waits for nothing but a call into the executor.
    if !hub.is_on_timer_thread() {
        Waiter::new(HubIs(hub, |hub| !hub.is_timer_running())).await;
    }
}

pub(crate) fn store_closed(hub: Arc<Hub>) -> Waiter<HubIs> {
    Waiter::new(HubIs(hub, Hub::is_store_closed))
}
