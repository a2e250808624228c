//! [`SharedLimit`]: a limit that tasks share.

use crate::engine::hub::Hub;
use crate::registry::lines::LimitId;
use crate::sync::primitives::{Arc, Mutex, lock};

/// A limit that tasks share.
pub(crate) struct SharedLimit {
    state: Mutex<SharedState>,
}

struct SharedState {
    capacity: usize,
    /// The app whose tasks share it.
    of: Option<(Arc<Hub>, LimitId)>,
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
        match &state.of {
            Some((app, id)) if Arc::ptr_eq(app, hub) => Some(*id),
            Some((app, _)) if !app.has_stopped() => None,
            _ => {
                let id = lock(&hub.limits.lines).add_limit(state.capacity);
                state.of = Some((hub.clone(), id));
                Some(id)
            }
        }
    }

    pub(crate) fn set(&self, capacity: usize) {
        let app = {
            let mut state = lock(&self.state);
            state.capacity = capacity;
            state.of.clone()
        };
        // A limit of an app that has stopped holds nobody.
        if let Some((hub, id)) = app.filter(|(hub, _)| !hub.has_stopped()) {
            let mut granted = Vec::new();
            lock(&hub.limits.lines).set_capacity(id, capacity, &mut granted);
            hub.start_granted(granted);
        }
    }
}
