//! The store in an SQLite file.

pub(crate) mod checkpoint;
pub(crate) mod database;
pub(crate) mod errors;
pub(crate) mod rows;
pub(crate) mod schema;
