//! [`Hooks`]: functions that run when the app starts or stops.

use std::future::Future;

use crate::api::app_ref::AppRef;
use crate::job::middleware::{BoxFuture, without_panic};
use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::{UserValue, catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Event as Signal, Mutex, lock};
use crate::sync::waiter::{Condition, Waiter};
use crate::value::error::BoxError;

/// A function of `on_start`.
pub(crate) type StartHook = Box<dyn FnOnce(AppRef) -> BoxFuture<Result<(), BoxError>> + Send>;

/// A function of `on_stop`.
pub(crate) type StopHook = Box<dyn FnOnce() -> BoxFuture<()> + Send>;

pub(crate) enum Hook {
    OnStart(StartHook),
    OnStop(StopHook),
}

/// The functions of `on_start` and `on_stop` of an app.
pub(crate) struct Hooks {
    state: Mutex<State>,
    /// Notified when no function of `on_start`, or none of `on_stop`, runs any more.
    changed: Signal,
}

struct State {
    /// The functions that the start has not reached. The next one is the last element.
    not_reached: Vec<Hook>,
    /// The functions of `on_stop` that the start has reached. The last element runs first.
    to_stop: Vec<StopHook>,
    /// A function of `on_start` runs.
    runs_start: bool,
    /// A caller runs the functions of `on_stop`.
    runs_stop: bool,
}

impl State {
    /// The start has reached the functions of `on_stop` that are next.
    fn reach(&mut self) {
        let is_stop = |hook: &mut Hook| matches!(hook, Hook::OnStop(_));
        while let Some(Hook::OnStop(hook)) = self.not_reached.pop_if(is_stop) {
            self.to_stop.push(hook);
        }
    }
}

impl Hooks {
    /// `hooks`: in the order in which the start reaches them.
    pub(crate) fn new(mut hooks: Vec<Hook>) -> Self {
        hooks.reverse();
        Self {
            state: Mutex::new(State {
                not_reached: hooks,
                to_stop: Vec::new(),
                runs_start: false,
                runs_stop: false,
            }),
            changed: Signal::new(),
        }
    }

    /// Whether a function of `on_start` is still to run.
    pub(crate) fn has_start(&self) -> bool {
        let is_start = |hook: &Hook| matches!(hook, Hook::OnStart(_));
        lock(&self.state).not_reached.iter().any(is_start)
    }

    /// Whether a function of `on_stop` is to run.
    pub(crate) fn has_stop(&self) -> bool {
        !lock(&self.state).to_stop.is_empty()
    }

    /// The app has started.
    pub(crate) fn begin(&self) {
        lock(&self.state).reach();
    }

    /// Runs the functions of `on_start`, until one fails or the app stops.
    pub(crate) async fn start(
        &self,
        app: &AppRef,
        is_stopping: impl Fn() -> bool,
    ) -> Result<(), BoxError> {
        while let Some((hook, running)) = self.next_start() {
            // After `runs_start` was set: a shutdown sees that, or this sees the shutdown.
            if is_stopping() {
                break;
            }
            run(|| hook(app.clone())).await??;
            // Before a shutdown sees that it has ended.
            lock(&self.state).reach();
            drop(running);
        }
        Ok(())
    }

    fn next_start(&self) -> Option<(StartHook, Running<'_>)> {
        let mut state = lock(&self.state);
        let Hook::OnStart(hook) = state.not_reached.pop()? else {
            // `reach` has taken those.
            return None;
        };
        state.runs_start = true;
        let clear = |state: &mut State| state.runs_start = false;
        Some((hook, Running { hooks: self, clear }))
    }

    /// Waits until no function of `on_start` runs.
    pub(crate) async fn start_over(self: &Arc<Self>) {
        Waiter::new(HooksAre(self.clone(), |state| !state.runs_start)).await;
    }

    /// Runs the functions of `on_stop` that the start has reached, the last one first. If another
    /// caller runs them, waits until that call has ended or was dropped, and then runs the rest.
    pub(crate) async fn stop(self: &Arc<Self>) {
        let _running = loop {
            match self.begin_stop() {
                Some(running) => break running,
                None => Waiter::new(HooksAre(self.clone(), |state| !state.runs_stop)).await,
            }
        };
        loop {
            let Some(hook) = lock(&self.state).to_stop.pop() else {
                return;
            };
            // A panic keeps no other function from running.
            let _ = run(hook).await;
        }
    }

    /// `None` if another caller runs the functions of `on_stop`.
    fn begin_stop(&self) -> Option<Running<'_>> {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.runs_stop, true) {
            return None;
        }
        let clear = |state: &mut State| state.runs_stop = false;
        Some(Running { hooks: self, clear })
    }

    /// The time for the functions of `on_stop` is over: those that are left do not run.
    pub(crate) fn leave_out_rest(&self) {
        let rest = std::mem::take(&mut lock(&self.state).to_stop);
        drop_catching_panic(rest);
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

/// Functions run, until this is dropped.
struct Running<'a> {
    hooks: &'a Hooks,
    clear: fn(&mut State),
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        (self.clear)(&mut lock(&self.hooks.state));
        notify_all(&self.hooks.changed);
    }
}

/// True when this is true of the hooks.
struct HooksAre(Arc<Hooks>, fn(&State) -> bool);

impl Condition for HooksAre {
    type Output = ();

    fn ready(&self) -> Option<()> {
        self.1(&lock(&self.0.state)).then_some(())
    }

    fn event(&self) -> &Signal {
        &self.0.changed
    }
}

/// A function of `on_start`, without its type.
pub(crate) fn on_start<F, Fut>(hook: F) -> Hook
where
    F: FnOnce(AppRef) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Hook::OnStart(Box::new(move |app| Box::pin(hook(app))))
}

/// A function of `on_stop`, without its type.
pub(crate) fn on_stop<F, Fut>(hook: F) -> Hook
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Hook::OnStop(Box::new(move || Box::pin(hook())))
}
