//! W7: push one job and wait for its end, again and again.

use std::time::Instant;

use super::{arg, cannot};
use crate::Result;
use crate::args::Options;
use crate::peers::apalis::ApalisPeer;
use crate::peers::jobber::JobberPeer;
use crate::peers::smol::SmolPeer;
use crate::peers::tokio::TokioPeer;
use crate::peers::{Peer, RoundTrip};
use crate::stats::percentile;
use crate::table::number;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "round-trip";
const PEERS: [Peer; 6] = [
    Peer::Jobber,
    Peer::JobberSmol,
    Peer::Smol,
    Peer::Tokio,
    Peer::Apalis,
    Peer::Jobify,
];

pub fn work(options: &Options) -> Work {
    let count = options.size(20_000);
    Work {
        name: NAME,
        rounds: 5,
        once: &[],
        cases: vec![Case::new(number(count as f64, 0), &[&count], &PEERS)],
        tables: vec![Table {
            name: "w7",
            title: "Push one and wait for it: us",
            columns: vec![column("p50", "p50 us", 2), column("p99", "p99 us", 1)],
            ratios: vec![Ratio {
                figure: "p50",
                base: Peer::Smol,
                title: "p50/smol",
            }],
            goals: vec![
                Goal::figure(0, Peer::Jobber, "p50/smol", "p50")
                    .over(Peer::Smol)
                    .at_most(1.1),
            ],
            notes: vec![
                "The DelayQueue, delay_timer and tokio-cron-scheduler are left out: their timers cannot be",
                "shorter than a millisecond, a second and half a second.",
            ],
        }],
    }
}

fn nothing(_: u64) {}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    match peer {
        Peer::Jobber => measure(&JobberPeer::pool(nothing)?, args),
        Peer::JobberSmol => measure(&JobberPeer::on_smol(nothing)?, args),
        Peer::Smol => measure(&SmolPeer::new(nothing), args),
        Peer::Tokio => measure(&TokioPeer::new(nothing)?, args),
        Peer::Apalis => measure(&ApalisPeer::new(nothing)?, args),
        _ => cannot(peer, NAME),
    }
}

fn measure(peer: &impl RoundTrip, args: &[String]) -> Result<Sample> {
    let count: u64 = arg(args, 0)?;
    for n in 0..count / 20 {
        peer.push_and_wait(n)?;
    }
    let mut took = Vec::new();
    for n in 0..count {
        let start = Instant::now();
        peer.push_and_wait(n)?;
        took.push(start.elapsed().as_nanos() as u64);
    }
    took.sort_unstable();
    let at = |percent| percentile(&took, percent).map_or(0.0, |nanos| nanos as f64 / 1e3);
    Ok(vec![("p50", at(50.0)), ("p99", at(99.0))])
}
