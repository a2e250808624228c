//! [`Hooks`]: functions that run when the app starts or stops.

use std::future::Future;

use crate::api::app_ref::AppRef;
use crate::job::middleware::{BoxFuture, without_panic};
use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::{UserValue, catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Event as Signal, Mutex, lock};
use crate::sync::waiter::{Condition, Waiter};
use crate::value::error::BoxError;

/// A function that runs when the app starts.
pub(crate) type StartHook = Box<dyn FnOnce(AppRef) -> BoxFuture<Result<(), BoxError>> + Send>;

/// A function that runs when the app stops.
pub(crate) type StopHook = Box<dyn FnOnce() -> BoxFuture<()> + Send>;

/// A function of the builder.
pub(crate) enum Hook {
    OnStart(StartHook),
    OnStop(StopHook),
}

/// The functions of an app that run when it starts and stops.
pub(crate) struct Hooks {
    state: Mutex<State>,
    /// Notified when nobody runs functions of the stop any more.
    changed: Signal,
}

struct State {
    /// What the start has not come to, the next one at the end.
    ahead: Vec<Hook>,
    /// What the stop is to run, the next one at the end.
    on_stop: Vec<StopHook>,
    /// A caller runs the functions of the stop.
    is_stopping: bool,
}

impl Hooks {
    /// In the order in which the start comes to them.
    pub(crate) fn new(mut hooks: Vec<Hook>) -> Self {
        hooks.reverse();
        Self {
            state: Mutex::new(State {
                ahead: hooks,
                on_stop: Vec::new(),
                is_stopping: false,
            }),
            changed: Signal::new(),
        }
    }

    /// Whether a function is to run when the app starts.
    pub(crate) fn has_start(&self) -> bool {
        let state = lock(&self.state);
        state
            .ahead
            .iter()
            .any(|hook| matches!(hook, Hook::OnStart(_)))
    }

    /// Whether a function is to run when the app stops.
    pub(crate) fn has_stop(&self) -> bool {
        !lock(&self.state).on_stop.is_empty()
    }

    /// Runs the functions of the start, until one fails or the app stops.
    pub(crate) async fn start(
        &self,
        app: &AppRef,
        is_stopping: impl Fn() -> bool,
    ) -> Result<(), BoxError> {
        while let Some(hook) = self.next_start().filter(|_| !is_stopping()) {
            run(|| hook(app.clone())).await??;
        }
        Ok(())
    }

    /// The next function of the start. The functions of the stop before it belong to what has started.
    fn next_start(&self) -> Option<StartHook> {
        let mut state = lock(&self.state);
        loop {
            match state.ahead.pop()? {
                Hook::OnStart(hook) => return Some(hook),
                Hook::OnStop(hook) => state.on_stop.push(hook),
            }
        }
    }

    /// The time is over: the functions that are left do not run.
    pub(crate) fn leave_out_rest(&self) {
        let rest = std::mem::take(&mut lock(&self.state).on_stop);
        drop_catching_panic(rest);
    }

    /// Runs the functions of the stop for what has started, the last one first. If another caller does
    /// that, waits for it.
    pub(crate) async fn stop(self: &Arc<Self>) {
        let _running = loop {
            match Running::begin(self) {
                Some(running) => break running,
                None => Waiter::new(NobodyRuns(self.clone())).await,
            }
        };
        loop {
            let Some(hook) = lock(&self.state).on_stop.pop() else {
                return;
            };
            // A panic keeps no other function from running.
            let _ = run(hook).await;
        }
    }
}

/// Calls a function and polls what it returns. A panic is an error.
async fn run<T: Send + 'static>(call: impl FnOnce() -> BoxFuture<T>) -> Result<T, BoxError> {
    let panicked = |message| BoxError::from(format!("the function panicked: {message}"));
    let future = catch_panic(call).map_err(panicked)?;
    without_panic(UserValue::new(future))
        .await
        .map_err(panicked)
}

/// Runs the functions of the stop, until it is dropped.
struct Running<'a>(&'a Hooks);

impl<'a> Running<'a> {
    /// `None` if another caller runs them.
    fn begin(hooks: &'a Hooks) -> Option<Self> {
        let is_first = !std::mem::replace(&mut lock(&hooks.state).is_stopping, true);
        is_first.then(|| Self(hooks))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).is_stopping = false;
        notify_all(&self.0.changed);
    }
}

/// True if nobody runs the functions of the stop.
struct NobodyRuns(Arc<Hooks>);

impl Condition for NobodyRuns {
    type Output = ();

    fn ready(&self) -> Option<()> {
        (!lock(&self.0.state).is_stopping).then_some(())
    }

    fn event(&self) -> &Signal {
        &self.0.changed
    }
}

/// A function that runs when the app starts, without its type.
pub(crate) fn on_start<F, Fut>(hook: F) -> Hook
where
    F: FnOnce(AppRef) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Hook::OnStart(Box::new(move |app| Box::pin(hook(app))))
}

/// A function that runs when the app stops, without its type.
pub(crate) fn on_stop<F, Fut>(hook: F) -> Hook
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Hook::OnStop(Box::new(move || Box::pin(hook())))
}
