//! Where durable jobs are kept: the trait, the stores, the writer.

pub(crate) mod contract;
#[cfg(feature = "serde")]
pub(crate) mod memory;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod writer;
