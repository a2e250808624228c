//! One job: its state and the decisions about it.

pub(crate) mod codec;
pub(crate) mod execution;
pub(crate) mod outcome;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod stop;
pub(crate) mod stored_progress;
