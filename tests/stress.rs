//! Real threads under real load: many that schedule, cancel, wait and shut down at once,
//! on good executors and on bad ones.
//!
//! The work is bounded by its amount and not by time. `JOBBER_STRESS=10` does ten times
//! as much, `JOBBER_STRESS_ONLY=Late` tries one executor, and `JOBBER_STRESS_SEED` draws
//! the same lots once more, which other threads may make something else of.
//!
//! All is one test, so that nothing else in the process has threads or memory while it
//! counts them.

#![cfg(not(loom))]

#[path = "stress/executors.rs"]
mod executors;
#[path = "stress/process.rs"]
mod process;
#[path = "stress/round.rs"]
mod round;
#[path = "stress/slots.rs"]
mod slots;
#[path = "stress/steps.rs"]
mod steps;
#[path = "stress/tasks.rs"]
mod tasks;
#[path = "stress/watch.rs"]
mod watch;
#[path = "stress/worker.rs"]
mod worker;

use std::env;

use executors::Kind;
use process::{Memory, memory};
use round::{Load, Store};
use watch::Place;

const LOAD: Load = Load {
    in_peace: 100,
    alone: 100,
    at_the_end: 50,
};

/// For a store that takes its time.
#[cfg(feature = "sqlite")]
const LIGHT_LOAD: Load = Load {
    in_peace: 20,
    alone: 10,
    at_the_end: 10,
};

/// After the first, in which caches fill: each thread has some, the shared executors have
/// room for as many tasks as there once were, and the pool of `blocking` has a few threads
/// more or less.
const PASSES: usize = 4;

/// What these may make of a difference. A pass is some twenty apps and ten thousand jobs:
/// a single block that each app leaves behind is more.
const SPARE: Memory = Memory {
    blocks: 24,
    bytes: 4_096,
};

#[test]
fn no_thread_hangs_and_nothing_is_left_behind_on_any_executor() {
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    let factor = number("JOBBER_STRESS").unwrap_or(1) as usize;
    let seed = number("JOBBER_STRESS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let only = env::var("JOBBER_STRESS_ONLY").ok();
    let kinds = Kind::ALL.into_iter().filter(|kind| match &only {
        Some(only) => *only == format!("{kind:?}"),
        None => true,
    });
    let kinds: Vec<Kind> = kinds.collect();
    assert!(!kinds.is_empty(), "there is no executor {only:?}");

    watch::start();
    executors::warm_up();
    let threads = threads_to_stay();
    let mut rng = fastrand::Rng::with_seed(seed);
    // Their room is there before memory is counted.
    let mut after = Vec::with_capacity(1 + PASSES * factor);
    let mut jobs = 0;
    for _ in 0..=PASSES * factor {
        for &kind in &kinds {
            pass(kind, &mut rng, &threads, &mut jobs);
        }
        after.push(memory());
    }
    let (first, last) = (after[0], after[after.len() - 1]);
    println!(
        "{jobs} jobs in {} passes; at first {first:?}, at last {last:?}",
        after.len()
    );
    let more = |of: fn(Memory) -> i64| of(last) - of(first) > of(SPARE);
    assert!(
        !more(|memory| memory.blocks) && !more(|memory| memory.bytes),
        "memory grows from pass to pass, with seed {seed}: {after:#?}"
    );
}

/// Those of the test and of the shared executors.
fn threads_to_stay() -> Vec<String> {
    let place = Place::new("the test");
    let mut threads = Vec::new();
    // One that has just been started is still named like the one that started it.
    place.until("waits for threads to have their names", || {
        threads = process::threads();
        threads
            .windows(2)
            .all(|both| both[0] != both[1] || both[0].starts_with("async-std"))
    });
    threads
}

fn pass(kind: Kind, rng: &mut fastrand::Rng, threads: &[String], jobs: &mut usize) {
    *jobs += round::run(kind, &Store::None, LOAD, rng.u64(..), threads);
    #[cfg(feature = "serde")]
    {
        let store = jobber::MemoryStorage::new();
        let store = match rng.u8(..3) {
            0 => Store::Faulty(store, rng.u64(..)),
            _ => Store::Memory(store),
        };
        *jobs += round::run(kind, &store, LOAD, rng.u64(..), threads);
    }
    #[cfg(feature = "sqlite")]
    if matches!(kind, Kind::Smol | Kind::Dropping) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::File(&folder.path().join("jobs.db"));
        *jobs += round::run(kind, &store, LIGHT_LOAD, rng.u64(..), threads);
    }
}
