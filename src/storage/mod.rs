//! Where durable jobs are kept: the [`Storage`] trait, the stores, their records.
//!
//! - `SqliteStorage` keeps jobs in a file (feature `sqlite`).
//! - `MemoryStorage` keeps jobs in memory, for tests (feature `serde`).
//! - A store of your own implements [`Storage`], and
//!   [`testing::storage_conformance`](crate::testing::storage_conformance) checks it.
//!
//! An app passes [`Change`]s to its store, and reads [`Loaded`] values from it when it
//! starts. A stored job is a [`JobRecord`].

pub(crate) mod backlog;
pub(crate) mod contract;
pub(crate) mod inbox;
pub(crate) mod job_ref;
#[cfg(feature = "serde")]
pub(crate) mod memory;
pub(crate) mod proposal;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod store;
pub(crate) mod writer;
#[cfg(test)]
mod writer_model;

pub use self::contract::{Change, Loaded, Storage, UnresolvedJob};
#[cfg(feature = "serde")]
pub use self::memory::MemoryStorage;
#[cfg(feature = "sqlite")]
pub use self::sqlite::database::{SqliteStorage, Synchronous};
// For the fuzzer: `record_decode` reads a row of any values in some microseconds, and in 6 ms if it
// writes the row to a file first.
#[cfg(feature = "sqlite")]
#[doc(hidden)]
pub use self::sqlite::rows::Columns;
pub use crate::job::end_record::{EndKey, EndRecord, TrimEnds};
pub use crate::job::pause_record::PauseRecord;
pub use crate::job::record::{JobRecord, ProgressRecord};
pub use crate::job::taken_id::TakenId;
pub use crate::value::error::{StorageError, UnresolvedReason};
