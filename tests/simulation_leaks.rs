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

const SEEDS: u64 = 40;

#[test]
fn a_program_leaves_no_memory_and_no_thread_behind() {
    let mut blocks = 0;
    for seed in 0..SEEDS {
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
    println!("{SEEDS} programs were run twice each, and {blocks} blocks are there");
}
