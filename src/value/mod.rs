//! Values that have no behaviour of the engine: ids, status, runs, errors, events, times, policies.

pub(crate) mod clock;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod id;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod shared_state;
pub(crate) mod status;
#[cfg(feature = "serde")]
pub(crate) mod timestamp;
