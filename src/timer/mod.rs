//! The heap of the timer: keys and times, no jobs.

pub(crate) mod heap;
