//! Values that have no behaviour of the engine: ids, status, errors, times, policies.

pub(crate) mod clock;
pub(crate) mod error;
pub(crate) mod id;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod shared_state;
pub(crate) mod status;
#[cfg(feature = "serde")]
pub(crate) mod timestamp;
