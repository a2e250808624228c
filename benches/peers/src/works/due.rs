//! W3: a great many jobs due at the same instant.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{arg, cannot};
use crate::Result;
use crate::args::Options;
use crate::peers::delay_queue::{DelayQueuePeer, WithWaiter};
use crate::peers::jobber::JobberPeer;
use crate::peers::smol::SmolPeer;
use crate::peers::tokio::TokioPeer;
use crate::peers::{Awaited, Peer};
use crate::table::number;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "due";
const PEERS: [Peer; 5] = [
    Peer::Jobber,
    Peer::JobberSmol,
    Peer::Smol,
    Peer::Tokio,
    Peer::DelayQueue,
];

pub fn work(options: &Options) -> Work {
    let sizes = [100_000, 1_000_000].map(|size| options.size(size));
    let mut cases: Vec<Case> = sizes
        .iter()
        .map(|size| Case::new(number(*size as f64, 0), &[size, &"quick"], &PEERS))
        .collect();
    let label = format!("{}, one slow", number(sizes[0] as f64, 0));
    cases.push(Case::new(label, &[&sizes[0], &"slow"], &PEERS));
    let mut goals = Vec::new();
    for case in [0, 1] {
        for (peer, least) in [(Peer::Jobber, 1.5), (Peer::JobberSmol, 1.2)] {
            let faster = Goal::figure(case, peer, "rate/smol", "rate");
            goals.push(faster.over(Peer::Smol).at_least(least));
            goals.push(Goal::figure(case, peer, "lost", "lost"));
        }
    }
    Work {
        name: NAME,
        rounds: 3,
        once: &[Peer::Tokio, Peer::DelayQueue],
        cases,
        tables: vec![Table {
            name: "w3",
            title: "Due at once: until all have run and all waiters are woken",
            columns: vec![
                column("rate", "jobs/s", 0),
                column("lost", "lost", 0),
                column("others", "others done ms", 1),
            ],
            ratios: vec![Ratio {
                figure: "rate",
                base: Peer::Smol,
                title: "rate/smol",
            }],
            goals,
            notes: vec![
                "One slow: one of the jobs blocks its thread for 200 ms; the figure is when the last of the",
                "others was done. delay_timer is left out: its wheel turns in whole seconds, and so there is",
                "no instant to count from, and tokio-cron-scheduler looks each half second. apalis's storage in",
                "memory holds no job for later.",
            ],
        }],
    }
}

static RUN: AtomicUsize = AtomicUsize::new(0);
/// At which count the last of the jobs that are not slow has run.
static LAST: AtomicUsize = AtomicUsize::new(usize::MAX);
static OTHERS_DONE: OnceLock<Instant> = OnceLock::new();
const SLOW: u64 = u64::MAX;

fn count_run(arg: u64) {
    if arg == SLOW {
        thread::sleep(Duration::from_millis(200));
        return;
    }
    if RUN.fetch_add(1, Ordering::Relaxed) + 1 == LAST.load(Ordering::Relaxed) {
        OTHERS_DONE.get_or_init(Instant::now);
    }
}

fn run_with_waiter((arg, waiter): WithWaiter) {
    count_run(arg);
    // Who no longer waits is not told.
    let _ = waiter.send(());
}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    match peer {
        Peer::Jobber => measure(&JobberPeer::pool(count_run)?, args),
        Peer::JobberSmol => measure(&JobberPeer::on_smol(count_run)?, args),
        Peer::Smol => measure(&SmolPeer::new(count_run), args),
        Peer::Tokio => measure(&TokioPeer::new(count_run)?, args),
        Peer::DelayQueue => measure(&DelayQueuePeer::new(run_with_waiter)?, args),
        _ => cannot(peer, NAME),
    }
}

fn measure(peer: &impl Awaited, args: &[String]) -> Result<Sample> {
    let (count, how): (usize, String) = (arg(args, 0)?, arg(args, 1)?);
    let slow = how == "slow";
    let counted = count - usize::from(slow);
    LAST.store(counted, Ordering::Relaxed);
    // Time enough to schedule all of them, for any of the peers.
    let due =
        Instant::now() + Duration::from_millis(500) + Duration::from_nanos(2_500) * count as u32;
    let mut waiters = Vec::with_capacity(count);
    for n in 0..count {
        let arg = if slow && n == count / 2 {
            SLOW
        } else {
            n as u64
        };
        let delay = due.saturating_duration_since(Instant::now());
        waiters.push(peer.schedule_awaited(delay, arg)?);
    }
    let ahead = due.saturating_duration_since(Instant::now());
    if ahead.is_zero() {
        return Err("the jobs were due before all of them were scheduled".into());
    }
    thread::sleep(ahead);
    peer.wait_all(waiters)?;
    let took = due.elapsed();
    let lost = counted - RUN.load(Ordering::Relaxed).min(counted);
    let mut sample = vec![("lost", lost as f64)];
    if slow {
        let others = OTHERS_DONE.get().ok_or("the last job has not run")?;
        let others = others.saturating_duration_since(due);
        sample.push(("others", others.as_secs_f64() * 1e3));
    } else {
        sample.push(("rate", count as f64 / took.as_secs_f64()));
    }
    Ok(sample)
}
