//! Every store does what a store has to do.

use std::collections::HashMap;

use jobber::MemoryStorage;
use jobber::testing::{Fault, FaultyStorage, storage_conformance};

#[test]
fn the_store_in_memory() {
    let mut stores: HashMap<String, MemoryStorage> = HashMap::new();
    storage_conformance(|name| stores.entry(name.into()).or_default().clone());
}

#[test]
fn a_faulty_store_without_faults() {
    let mut stores: HashMap<String, MemoryStorage> = HashMap::new();
    storage_conformance(|name| {
        let inner = stores.entry(name.into()).or_default().clone();
        FaultyStorage::new(inner, |_| Fault::None)
    });
}

#[cfg(feature = "sqlite")]
#[test]
fn the_store_in_a_file() {
    use jobber::{SqliteStorage, storage::Synchronous};
    for synchronous in [Synchronous::Full, Synchronous::Normal] {
        let dir = tempfile::tempdir().unwrap();
        storage_conformance(|name| {
            SqliteStorage::new(dir.path().join(name)).synchronous(synchronous)
        });
    }
}
