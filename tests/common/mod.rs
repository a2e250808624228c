//! What the tests share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobber::testing::Simulation;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// A log that tasks write and tests read.
#[derive(Clone, Debug)]
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Log<T> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn add(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    pub fn entries(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The whole seconds that a simulation has run for, whenever it is called.
pub fn seconds(sim: &Simulation) -> impl Fn() -> u64 + Clone + Send + Sync + 'static {
    let clock = sim.clock();
    move || clock.elapsed().as_secs()
}

/// Counts how often it is dropped.
#[derive(Clone, Debug, Default)]
pub struct DropCounter(Arc<()>);

impl DropCounter {
    /// How many clones are alive, this one left out.
    pub fn alive(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// Panics when it is dropped, once it is armed.
#[derive(Clone, Debug)]
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a bomb was dropped");
        }
    }
}
