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

    /// Whether it is a limit of another app.
    pub(crate) fn is_of_another(&self, hub: &Arc<Hub>) -> bool {
        // The other app is dropped after the lock.
        let bound = lock(&self.state).app();
        bound.is_some_and(|(app, _)| !Arc::ptr_eq(&app, hub) && !app.has_stopped())
    }

    /// Its limit in this app. `None` if it is one of another app.
    pub(crate) fn in_app(&self, hub: &Arc<Hub>) -> Option<LimitId> {
        // The other app is dropped after the lock: that may run code of users.
        let (id, _other) = {
            let mut state = lock(&self.state);
            let bound = state.app();
            let id = match &bound {
                Some((app, id)) if Arc::ptr_eq(app, hub) => Some(*id),
                Some((app, _)) if !app.has_stopped() => None,
                _ => {
                    let id = lock(&hub.limits.lines).add_limit(state.capacity);
                    state.of = Some((Arc::downgrade(hub), id));
                    Some(id)
                }
            };
            (id, bound)
        };
        id
    }

    pub(crate) fn set(&self, capacity: usize) {
        let mut granted = Vec::new();
        // The lock is held until the app has the number, so that of two calls at once the same
        // one is last in both. The app is dropped after the lock.
        let bound = {
            let mut state = lock(&self.state);
            state.capacity = capacity;
            let bound = state.app();
            if let Some((hub, id)) = &bound {
                hub.with_lines(|lines| lines.set_capacity(*id, capacity, &mut granted));
            }
            bound
        };
        if let Some((hub, _)) = bound {
            hub.start_granted(granted);
        }
    }
}

impl SharedState {
    fn app(&self) -> Option<(Arc<Hub>, LimitId)> {
        let (app, id) = self.of.as_ref()?;
        Some((app.upgrade()?, *id))
    }
}
