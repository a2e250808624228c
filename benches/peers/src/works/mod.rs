//! The works, and what a child does for one of them.

mod cron;
mod due;
mod durable;
mod hold;
mod idle;
mod late;
mod limit;
mod recurring;
mod restore;
mod round_trip;
mod store;

use crate::Result;
use crate::args::Options;
use crate::peers::Peer;
use crate::work::{Sample, Work};

pub fn all(options: &Options) -> Vec<Work> {
    vec![
        hold::work(options),
        due::work(options),
        late::work(options),
        idle::work(options),
        recurring::work(options),
        round_trip::work(options),
        cron::work(),
        durable::work(options),
        restore::work(options),
        limit::work(options),
    ]
}

/// Measures once, in this process.
pub fn sample(work: &str, peer: Peer, args: &[String]) -> Result<Sample> {
    match work {
        hold::NAME => hold::sample(peer, args),
        due::NAME => due::sample(peer, args),
        late::NAME => late::sample(peer, args),
        idle::NAME => idle::sample(peer, args),
        recurring::NAME => recurring::sample(peer, args),
        round_trip::NAME => round_trip::sample(peer, args),
        cron::NAME => cron::sample(peer, args),
        durable::NAME => durable::sample(peer, args),
        restore::NAME => restore::sample(peer, args),
        limit::NAME => limit::sample(peer, args),
        _ => Err(format!("{work} is not a work that can be sampled").into()),
    }
}

/// What the parent has told its child, as a number or a word.
fn arg<T: std::str::FromStr>(args: &[String], at: usize) -> Result<T> {
    let arg = args.get(at).and_then(|arg| arg.parse().ok());
    arg.ok_or_else(|| format!("argument {at} of the sample is missing or wrong").into())
}

fn cannot<T>(peer: Peer, work: &str) -> Result<T> {
    Err(format!("{peer} cannot do {work}").into())
}
