//! [`SharedLimit`]: a limit that tasks share.

use crate::engine::hub::Hub;
use crate::registry::lines::LimitId;
use crate::sync::primitives::{Arc, Mutex, Weak, lock};
use crate::value::error::RegisterError;
use crate::value::waiting_for::WaitingFor;

/// A limit that an option of a task or a group asks for.
#[derive(Clone)]
pub(crate) struct LimitOption {
    pub(crate) limit: Arc<SharedLimit>,
    /// The number with which it was made.
    pub(crate) first: usize,
    pub(crate) name: WaitingFor,
}

/// Whether these limits can be limits of this app. `others` are dropped by the caller, when it holds
/// no lock: that may run code of users.
pub(crate) fn check_limits(
    limits: &[LimitOption],
    hub: &Arc<Hub>,
    others: &mut Vec<Arc<Hub>>,
) -> Result<(), RegisterError> {
    if limits.iter().any(|option| option.first == 0) {
        return Err(RegisterError::ZeroLimit { option: "limit" });
    }
    let mut is_of_another = |option: &LimitOption| option.limit.is_of_another(hub, others);
    match limits.iter().any(&mut is_of_another) {
        true => Err(RegisterError::LimitOfAnotherApp),
        false => Ok(()),
    }
}

/// Makes these limits limits of this app, after [`check_limits`]. `others` as there.
pub(crate) fn limits_in_app(
    limits: &[LimitOption],
    hub: &Arc<Hub>,
    others: &mut Vec<Arc<Hub>>,
) -> Result<Vec<(LimitId, WaitingFor)>, RegisterError> {
    let in_app = limits.iter().map(|option| {
        let id = option.limit.in_app(hub, others);
        let id = id.ok_or(RegisterError::LimitOfAnotherApp)?;
        Ok((id, option.name.clone()))
    });
    in_app.collect()
}

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

    /// Whether it is a limit of another app, which is added to `others`.
    fn is_of_another(&self, hub: &Arc<Hub>, others: &mut Vec<Arc<Hub>>) -> bool {
        let bound = lock(&self.state).app();
        bound.is_some_and(|(app, _)| {
            let is_another = !Arc::ptr_eq(&app, hub) && !app.has_stopped();
            others.push(app);
            is_another
        })
    }

    /// Its limit in this app. `None` if it is one of another app, which is added to `others`.
    fn in_app(&self, hub: &Arc<Hub>, others: &mut Vec<Arc<Hub>>) -> Option<LimitId> {
        let (id, bound) = {
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
        others.extend(bound.map(|(app, _)| app));
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
