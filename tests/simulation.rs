//! Random programs on a whole app, on virtual time: schedule in each way, cancel, abort,
//! replace, wait, stop, crash and start again, set the clock, and let the store fail. After
//! each step the app must be as a model says that was written from the docs.
//!
//! `JOBBER_SEEDS=100000 cargo test --release --all-features --test simulation`
//! runs more of them. `JOBBER_SEED=17` runs that one, and prints its history; with both,
//! `JOBBER_SEEDS` programs from `JOBBER_SEED` on are run.
#![cfg(all(feature = "serde", feature = "tz"))]

#[path = "simulation/mod.rs"]
mod simulation;

use simulation::{Program, run, shrink};

/// The name of the test that runs a program.
const THE_TEST: &str = "the_app_does_what_the_model_of_its_docs_says";

/// A debug build runs them in about a minute. With fewer programs, a single large one could
/// exceed the share of unpredicted jobs that is allowed.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_app_does_what_the_model_of_its_docs_says() {
    let (from, count) = (number("JOBBER_SEED"), number("JOBBER_SEEDS"));
    let seeds = match (from, count) {
        (Some(from), count) => from..from + count.unwrap_or(1),
        (None, count) => 0..count.unwrap_or(SEEDS),
    };
    let is_shown = from.is_some() && count.is_none();
    let count = seeds.end - seeds.start;
    let (mut jobs, mut unpredicted) = (0, 0);
    for seed in seeds {
        let program = Program::random(seed);
        let verdict = run(&program);
        jobs += verdict.seen.jobs;
        unpredicted += verdict.seen.unpredicted;
        if is_shown {
            println!("{}", verdict.history);
        }
        if let Some(fault) = verdict.fault {
            let small = shrink(&program, |program| run(program).fault);
            let verdict = run(&small);
            panic!(
                "JOBBER_SEED={seed}: {fault}\n\nshrunken: {}\n{}\n{small}",
                verdict.fault.unwrap_or_default(),
                verdict.history,
            );
        }
    }
    println!(
        "{count} programs did what the model predicts; a live job was checked {jobs} times, \
         {unpredicted} of them without a prediction"
    );
    // A job without a prediction could do anything.
    assert!(
        count < SEEDS || unpredicted * 10 < jobs,
        "too few predictions"
    );
}

#[test]
fn the_same_seed_gives_the_same_history_in_another_process() {
    let tests = std::env::current_exe().expect("it runs");
    for seed in 0..8 {
        let mut other = std::process::Command::new(&tests);
        other.args(["--exact", "--nocapture", THE_TEST]);
        other.env("JOBBER_SEED", seed.to_string());
        other.env_remove("JOBBER_SEEDS");
        let said = other.output().expect("it can be run").stdout;
        let said = String::from_utf8(said).expect("it is text");
        let history = run(&Program::random(seed)).history.to_string();
        assert!(said.contains(&history), "seed {seed}: {said}\n{history}");
    }
}

#[test]
fn the_same_seed_gives_the_same_history_byte_for_byte() {
    for seed in 0..50 {
        let history = || run(&Program::random(seed)).history.to_string();
        assert!(history() == history(), "seed {seed}");
    }
}
