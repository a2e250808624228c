//! The store in a file, by SQLite.

pub(crate) mod checkpoint;
pub(crate) mod database;
pub(crate) mod ends;
pub(crate) mod errors;
pub(crate) mod rows;
pub(crate) mod schema;
