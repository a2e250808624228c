//! The heap and the inbox of the timer: keys and times, no jobs.

pub(crate) mod heap;
pub(crate) mod inbox;
