//! The timer's queue and its inbox: keys with due times, no jobs.

pub(crate) mod heap;
pub(crate) mod inbox;
pub(crate) mod key;
pub(crate) mod queue;
