//! What the random programs of `tests/simulation.rs` leave behind in their process:
//! nothing. On its own, for other tests would be counted, too.
#![cfg(all(feature = "serde", feature = "tz", not(loom)))]

#[path = "stress/process.rs"]
mod process;
#[allow(dead_code, unused_imports, reason = "a part is for other tests")]
#[path = "simulation/mod.rs"]
mod simulation;

use process::{memory, new_threads, threads};
use simulation::{Program, run};

/// `JOBBER_SEEDS` sets another number.
const SEEDS: u64 = 40;

#[test]
fn a_program_leaves_no_memory_and_no_thread_behind() {
    let seeds = std::env::var("JOBBER_SEEDS").ok();
    let seeds = seeds.and_then(|seeds| seeds.parse().ok());
    let seeds = seeds.map_or(SEEDS, |seeds: u64| seeds.min(4_000));
    let mut blocks = 0;
    for seed in 0..seeds {
        let program = Program::random(seed);
        // What is kept for good, as the times of cron that the model has looked up, is
        // there from now on.
        run(&program);
        let old = threads();
        let before = memory();
        let verdict = run(&program);
        assert_eq!(verdict.fault, None, "seed {seed}");
        drop(verdict);
        assert_eq!(memory(), before, "seed {seed}");
        assert_eq!(new_threads(&old), [""; 0], "seed {seed}");
        blocks = before.blocks;
    }
    println!("{seeds} programs were run twice each, and {blocks} blocks are there");
}
