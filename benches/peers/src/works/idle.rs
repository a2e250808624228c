//! W5: what it costs to wait, with a million jobs pending.

use std::thread;
use std::time::Duration;

use super::{arg, cannot};
use crate::Result;
use crate::args::Options;
use crate::measure::{Cpu, settle, wake_ups};
use crate::peers::delay_queue::DelayQueuePeer;
use crate::peers::jobber::JobberPeer;
use crate::peers::smol::SmolPeer;
use crate::peers::tokio::TokioPeer;
use crate::peers::{Peer, Scheduler};
use crate::table::number;
use crate::work::{Case, Goal, Sample, Table, Work, column};

pub const NAME: &str = "idle";
const PEERS: [Peer; 4] = [Peer::Jobber, Peer::Smol, Peer::Tokio, Peer::DelayQueue];

pub fn work(options: &Options) -> Work {
    let pending = options.size(1_000_000);
    let label = number(pending as f64, 0);
    Work {
        name: NAME,
        rounds: 1,
        once: &[],
        cases: vec![Case::new(label, &[&pending], &PEERS)],
        tables: vec![Table {
            name: "w5",
            title: "Idle for ten seconds, with jobs pending an hour away",
            columns: vec![
                column("wake-ups", "wake-ups", 0),
                column("cpu", "CPU ms", 2),
            ],
            ratios: vec![],
            goals: vec![Goal::figure(0, Peer::Jobber, "wake-ups", "wake-ups")],
            notes: vec![
                "Of all threads but the one that measures. tokio-cron-scheduler and delay_timer are left out: they",
                "wake each half second and each second by design.",
            ],
        }],
    }
}

fn nothing(_: u64) {}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    match peer {
        Peer::Jobber => measure(&JobberPeer::pool(nothing)?, args),
        Peer::Smol => measure(&SmolPeer::new(nothing), args),
        Peer::Tokio => measure(&TokioPeer::new(nothing)?, args),
        Peer::DelayQueue => measure(&DelayQueuePeer::new(nothing)?, args),
        _ => cannot(peer, NAME),
    }
}

/// Jobs that are not going to run while anything is measured. Their arguments are
/// none that a measured job has.
pub fn an_hour_away<S: Scheduler<u64>>(scheduler: &S, count: usize) -> Result<Vec<S::Handle>> {
    let hour = Duration::from_secs(3_600);
    (0..count as u64)
        .map(|n| scheduler.schedule(hour + Duration::from_micros(n), u64::MAX - n))
        .collect()
}

fn measure<S: Scheduler<u64>>(scheduler: &S, args: &[String]) -> Result<Sample> {
    let held = scheduler.within(|| an_hour_away(scheduler, arg(args, 0)?))?;
    settle(Duration::from_secs(30))?;
    thread::sleep(Duration::from_millis(500));
    let (wakes_before, cpu_before) = (wake_ups()?, Cpu::now()?);
    thread::sleep(Duration::from_secs(10));
    let (wakes, cpu) = (
        wake_ups()?.saturating_sub(wakes_before),
        Cpu::now()?.others_since(&cpu_before),
    );
    drop(held);
    Ok(vec![
        ("wake-ups", wakes as f64),
        ("cpu", cpu.as_secs_f64() * 1e3),
    ])
}
