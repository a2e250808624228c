//! jobber beside its peers: the same work, interleaved in one run. See the README.

#![forbid(unsafe_code)]

mod args;
mod calls;
mod machine;
mod measure;
mod peers;
mod runner;
mod stats;
mod table;
mod work;
mod works;

use std::process::ExitCode;
use std::time::Instant;

use args::{Command, HELP, Options};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    let result = match args::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            println!("{HELP}");
            Ok(())
        }
        Ok(Command::Run(options)) => run(&options),
        Ok(Command::Sample { work, peer, args }) => works::sample(&work, peer, &args).map(print),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result {
    let started = Instant::now();
    let scratch = machine::scratch(options)?;
    println!("The median of the rounds (least-most). A ratio is the median of the ratios of");
    println!("each round; ! marks a peer that failed.");
    for work in works::all(options) {
        if !work.tables.iter().any(|table| options.shows(table.name)) {
            continue;
        }
        let outcomes = runner::run(&work, options, scratch.path());
        for table in &work.tables {
            if options.shows(table.name) {
                table::print(table, &work, &outcomes, options);
            }
        }
    }
    machine::print(options, scratch.path());
    println!("Took {} s.", started.elapsed().as_secs());
    Ok(())
}

fn print(sample: work::Sample) {
    for (name, value) in sample {
        println!("{name} {value}");
    }
}
