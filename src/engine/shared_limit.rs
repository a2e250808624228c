//! [`SharedLimit`]: a limit that tasks share.

use crate::engine::hub::Hub;
use crate::registry::lines::LimitId;
use crate::sync::primitives::{Arc, Mutex, Weak, lock};

/// A limit that tasks share.
pub(crate) struct SharedLimit {
    state: Mutex<SharedState>,
}

struct SharedState {
    capacity: usize,
    /// The app whose tasks share it. The state of an app may have a limit, which must not keep
    /// the app.
    of: Option<(Weak<Hub>, LimitId)>,
}

impl SharedLimit {
    pub(crate) fn new(capacity: usize) -> Self {
        let of = None;
        Self {
            state: Mutex::new(SharedState { capacity, of }),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        lock(&self.state).capacity
    }

    /// Its limit in this app. `None` if it is one of another app.
    pub(crate) fn in_app(&self, hub: &Arc<Hub>) -> Option<LimitId> {
        let mut state = lock(&self.state);
        match state.app() {
            Some((app, id)) if Arc::ptr_eq(&app, hub) => Some(id),
            Some((app, _)) if !app.has_stopped() => None,
            _ => {
                let id = lock(&hub.limits.lines).add_limit(state.capacity);
                state.of = Some((Arc::downgrade(hub), id));
                Some(id)
            }
        }
    }

    pub(crate) fn set(&self, capacity: usize) {
        // Held until the app has it, so that of two calls at once the same one is last in both.
        let mut state = lock(&self.state);
        state.capacity = capacity;
        // A limit of an app that has stopped holds nobody.
        let Some((hub, id)) = state.app().filter(|(hub, _)| !hub.has_stopped()) else {
            return;
        };
        let mut granted = Vec::new();
        lock(&hub.limits.lines).set_capacity(id, capacity, &mut granted);
        drop(state);
        match hub.is_forked() {
            // Here nothing starts.
            true => granted.into_iter().for_each(|job| job.drop_safely()),
            false => hub.start_granted(granted),
        }
    }
}

impl SharedState {
    fn app(&self) -> Option<(Arc<Hub>, LimitId)> {
        let (app, id) = self.of.as_ref()?;
        Some((app.upgrade()?, *id))
    }
}
