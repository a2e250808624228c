//! W4: how late single jobs start, with nothing else pending and with a million.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{arg, cannot};
use crate::Result;
use crate::args::Options;
use crate::measure::settle;
use crate::peers::delay_queue::DelayQueuePeer;
use crate::peers::jobber::JobberPeer;
use crate::peers::smol::SmolPeer;
use crate::peers::tokio::TokioPeer;
use crate::peers::{Peer, Scheduler};
use crate::stats::percentile;
use crate::table::number;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "late";
const PEERS: [Peer; 4] = [Peer::Jobber, Peer::Smol, Peer::Tokio, Peer::DelayQueue];
const WINDOW: Duration = Duration::from_secs(4);

pub fn work(options: &Options) -> Work {
    // As many a second, whatever the size.
    let jobs = 2_000;
    let pending = options.size(1_000_000);
    let full = format!("{} pending", number(pending as f64, 0));
    let mut goals = vec![
        Goal::figure(0, Peer::Jobber, "p50/smol", "p50")
            .over(Peer::Smol)
            .at_most(1.1),
        Goal::figure(1, Peer::Jobber, "p50/nothing pending", "p50")
            .over_case(0)
            .at_most(1.1),
    ];
    goals.extend([0, 1].map(|case| Goal::figure(case, Peer::Jobber, "early", "early")));
    Work {
        name: NAME,
        rounds: 3,
        once: &[Peer::Tokio, Peer::DelayQueue],
        cases: vec![
            Case::new("nothing else pending", &[&jobs, &0], &PEERS),
            Case::new(full, &[&jobs, &pending], &PEERS),
        ],
        tables: vec![Table {
            name: "w4",
            title: "Start less due time of 2,000 jobs at random in 4 s: us",
            columns: vec![
                column("p50", "p50 us", 0),
                column("p99", "p99 us", 0),
                column("most", "most us", 0),
                column("early", "early", 0),
                column("lost", "lost", 0),
            ],
            ratios: vec![Ratio {
                figure: "p50",
                base: Peer::Smol,
                title: "p50/smol",
            }],
            goals,
            notes: vec![
                "Due is the moment just before the call, and the delay. tokio's timers count in",
                "milliseconds, and so does the DelayQueue. tokio-cron-scheduler and delay_timer are left out: they",
                "count in half seconds and seconds.",
            ],
        }],
    }
}

/// Nanoseconds from the beginning, of each job; 0 if it has not started.
static STARTED: OnceLock<(Instant, Vec<AtomicU64>)> = OnceLock::new();

fn note_start(n: u64) {
    let now = Instant::now();
    if let Some((beginning, starts)) = STARTED.get()
        && let Some(start) = starts.get(n as usize)
    {
        start.store((now - *beginning).as_nanos() as u64, Ordering::Relaxed);
    }
}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    match peer {
        Peer::Jobber => measure(&JobberPeer::pool(note_start)?, args),
        Peer::Smol => measure(&SmolPeer::new(note_start), args),
        Peer::Tokio => measure(&TokioPeer::new(note_start)?, args),
        Peer::DelayQueue => measure(&DelayQueuePeer::new(note_start)?, args),
        _ => cannot(peer, NAME),
    }
}

fn measure<S: Scheduler<u64>>(scheduler: &S, args: &[String]) -> Result<Sample> {
    let (count, pending): (usize, usize) = (arg(args, 0)?, arg(args, 1)?);
    let slots = (0..count).map(|_| AtomicU64::new(0)).collect();
    let (beginning, starts) = STARTED.get_or_init(|| (Instant::now(), slots));
    let held = scheduler.within(|| super::idle::an_hour_away(scheduler, pending))?;
    settle(Duration::from_secs(30))?;

    let mut jobs = Vec::with_capacity(count);
    let mut dues = Vec::with_capacity(count);
    scheduler.within(|| {
        for n in 0..count {
            let delay = Duration::from_millis(100) + WINDOW.mul_f64(fastrand::f64());
            dues.push(Instant::now() + delay);
            jobs.push(scheduler.schedule(delay, n as u64)?);
        }
        Ok::<_, crate::Error>(())
    })?;
    thread::sleep(WINDOW + Duration::from_millis(600));

    let (mut late, mut early, mut lost) = (Vec::with_capacity(count), 0, 0);
    for (due, start) in dues.iter().zip(starts) {
        match start.load(Ordering::Relaxed) {
            0 => lost += 1,
            nanos => {
                match (*beginning + Duration::from_nanos(nanos)).checked_duration_since(*due) {
                    Some(by) => late.push(by.as_nanos() as u64),
                    None => early += 1,
                }
            }
        }
    }
    drop((held, jobs));
    late.sort_unstable();
    let at = |percent| percentile(&late, percent).map(|nanos| nanos as f64 / 1e3);
    let none = "no job has started in time";
    Ok(vec![
        ("p50", at(50.0).ok_or(none)?),
        ("p99", at(99.0).ok_or(none)?),
        ("most", at(100.0).ok_or(none)?),
        ("early", f64::from(early)),
        ("lost", f64::from(lost)),
    ])
}
