//! The store in a file, by SQLite.

pub(crate) mod backup;
pub(crate) mod checkpoint;
pub(crate) mod database;
pub(crate) mod ends;
pub(crate) mod errors;
pub(crate) mod file_id;
pub(crate) mod file_lock;
pub(crate) mod opened;
pub(crate) mod pauses;
pub(crate) mod private_copy;
pub(crate) mod reader;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod stored_value;
pub(crate) mod taken_ids;
