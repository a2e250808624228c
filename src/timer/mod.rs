//! The timer's queue: keys with due times, no jobs.

pub(crate) mod heap;
pub(crate) mod key;
pub(crate) mod queue;
