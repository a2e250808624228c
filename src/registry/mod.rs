//! Which jobs are live: slots, tables, ids.

pub(crate) mod pages;
pub(crate) mod table;
