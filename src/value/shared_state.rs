//! [`StateMap`]: the values that tasks share, one for each type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;

#[derive(Default)]
pub(crate) struct StateMap(HashMap<TypeId, StateValue>);

/// A value that tasks share.
pub(crate) type StateValue = Box<dyn Any + Send + Sync>;

impl StateMap {
    /// Replaces the value of the same type, if there is one, and returns that.
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<StateValue> {
        self.0.insert(TypeId::of::<T>(), Box::new(value))
    }

    /// The value of this type.
    pub(crate) fn find(&self, of: TypeId) -> Option<&StateValue> {
        self.0.get(&of)
    }
}

impl fmt::Debug for StateMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateMap({})", self.0.len())
    }
}
