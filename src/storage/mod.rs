//! Where durable jobs are kept: the trait, the stores, the writer.

pub(crate) mod contract;
pub(crate) mod inbox;
#[cfg(feature = "serde")]
pub(crate) mod memory;
pub(crate) mod proposal;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod writer;
