//! Which jobs are live: slots, tables, ids.

pub(crate) mod gcra;
pub(crate) mod ids;
pub(crate) mod lines;
pub(crate) mod pages;
pub(crate) mod pending;
pub(crate) mod slots;
pub(crate) mod spawned_jobs;
pub(crate) mod table;
pub(crate) mod taken_ids;
