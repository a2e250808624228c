//! W6: jobs that recur each second, spread over the second at random.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{arg, cannot};
use crate::Result;
use crate::args::Options;
use crate::measure::Cpu;
use crate::peers::cron_scheduler::CronSchedulerPeer;
use crate::peers::delay_queue::RecurringQueue;
use crate::peers::delay_timer::DelayTimerPeer;
use crate::peers::jobber::JobberPeer;
use crate::peers::smol::SmolPeer;
use crate::peers::tokio::TokioPeer;
use crate::peers::{Peer, Recurring};
use crate::stats::percentile;
use crate::table::number;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "recurring";
/// The last two only where there are few.
const PEERS: [Peer; 7] = [
    Peer::Jobber,
    Peer::JobberGap,
    Peer::Smol,
    Peer::Tokio,
    Peer::DelayQueue,
    Peer::CronScheduler,
    Peer::DelayTimer,
];
/// Runs of each job that are left out, and that are counted.
const WARM_UP: u32 = 2;
const COUNTED: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);

pub fn work(options: &Options) -> Work {
    let sizes = [10_000, 100_000].map(|size| options.size(size));
    let most = 1;
    let goal = |peer, title, figure, base, limit| {
        Goal::figure(most, peer, title, figure)
            .over(base)
            .at_most(limit)
    };
    Work {
        name: NAME,
        rounds: 1,
        once: &[],
        cases: sizes
            .iter()
            .zip([7, 5])
            .map(|(size, peers)| Case::new(number(*size as f64, 0), &[size], &PEERS[..peers]))
            .collect(),
        tables: vec![Table {
            name: "w6",
            title: "Recurring each second: five seconds of it",
            columns: vec![
                column("expected", "expected", 0),
                column("lost", "lost", 0),
                column("early", "early", 0),
                column("p50", "p50 ms", 2),
                column("p99", "p99 ms", 2),
                column("cpu", "CPU s", 2),
            ],
            ratios: vec![
                Ratio {
                    figure: "cpu",
                    base: Peer::Smol,
                    title: "CPU/smol",
                },
                Ratio {
                    figure: "cpu",
                    base: Peer::Tokio,
                    title: "CPU/tokio",
                },
                Ratio {
                    figure: "p50",
                    base: Peer::Tokio,
                    title: "p50/tokio",
                },
            ],
            goals: vec![
                Goal::figure(most, Peer::Jobber, "lost", "lost"),
                goal(Peer::Jobber, "CPU/smol", "cpu", Peer::Smol, 0.5),
                goal(Peer::Jobber, "p50/tokio", "p50", Peer::Tokio, 0.25),
                Goal::figure(most, Peer::JobberGap, "lost", "lost"),
                goal(Peer::JobberGap, "CPU/tokio", "cpu", Peer::Tokio, 1.1),
                goal(Peer::JobberGap, "p50/tokio", "p50", Peer::Tokio, 0.6),
            ],
            notes: vec![
                "The k-th run of a job is late or early by its first due time and k seconds; one that has not",
                "run two seconds after all are due is lost. tokio-cron-scheduler looks each 500 ms, delay_timer's",
                "wheel turns in whole seconds, and neither can be told when to begin: a second after the call.",
                "apalis is left out: what recurs is another crate's there.",
            ],
        }],
    }
}

struct Runs {
    beginning: Instant,
    /// When the first run is due, in nanoseconds from the beginning.
    first: Vec<AtomicU64>,
    /// How often each job has run.
    runs: Vec<AtomicU32>,
    /// By how many nanoseconds each counted run was late.
    late: Vec<AtomicU64>,
    counted: AtomicU32,
    early: AtomicU32,
}

static RUNS: OnceLock<Runs> = OnceLock::new();

/// Earlier than this is the step between the clock of a schedule and the monotonic
/// one.
const TOLERANCE: u64 = 100_000;

fn note_run(n: u64) {
    let Some(runs) = RUNS.get() else { return };
    let now = runs.beginning.elapsed().as_nanos() as u64;
    let at = n as usize;
    let k = runs.runs[at].fetch_add(1, Ordering::Relaxed);
    if !(WARM_UP..WARM_UP + COUNTED).contains(&k) {
        return;
    }
    let due = runs.first[at].load(Ordering::Relaxed) + u64::from(k) * SECOND.as_nanos() as u64;
    if now + TOLERANCE < due {
        runs.early.fetch_add(1, Ordering::Relaxed);
    }
    let slot = runs.counted.fetch_add(1, Ordering::Relaxed);
    runs.late[slot as usize].store(now.saturating_sub(due), Ordering::Relaxed);
}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    match peer {
        Peer::Jobber => measure(&JobberPeer::pool(note_run)?, args),
        Peer::JobberGap => measure(&JobberPeer::with_gap(note_run)?, args),
        Peer::Smol => measure(&SmolPeer::new(note_run), args),
        Peer::Tokio => measure(&TokioPeer::new(note_run)?, args),
        Peer::DelayQueue => measure(&RecurringQueue::new(note_run)?, args),
        Peer::CronScheduler => measure(&CronSchedulerPeer::new(note_run)?, args),
        Peer::DelayTimer => measure(&DelayTimerPeer::new(note_run), args),
        _ => cannot(peer, NAME),
    }
}

fn measure<P: Recurring>(peer: &P, args: &[String]) -> Result<Sample> {
    let count: usize = arg(args, 0)?;
    let expected = count * COUNTED as usize;
    let runs = RUNS.get_or_init(|| Runs {
        beginning: Instant::now(),
        first: (0..count).map(|_| AtomicU64::new(u64::MAX / 2)).collect(),
        runs: (0..count).map(|_| AtomicU32::new(0)).collect(),
        late: (0..expected).map(|_| AtomicU64::new(0)).collect(),
        counted: AtomicU32::new(0),
        early: AtomicU32::new(0),
    });
    let mut phases: Vec<Duration> = (0..count)
        .map(|_| SECOND.mul_f64(fastrand::f64()))
        .collect();
    phases.sort_unstable();

    // Time enough to schedule all of them before the first is due.
    let base = Instant::now() + Duration::from_millis(1_500);
    for (n, phase) in phases.iter().enumerate() {
        let mut first = base + *phase;
        if !P::HAS_PHASE {
            // One that begins a second after the call is called in step.
            thread::sleep((first - SECOND).saturating_duration_since(Instant::now()));
            first = Instant::now() + SECOND;
        }
        let nanos = (first - runs.beginning).as_nanos() as u64;
        runs.first[n].store(nanos, Ordering::Relaxed);
        peer.every_second(first.saturating_duration_since(Instant::now()), n as u64)?;
    }
    if P::HAS_PHASE && base < Instant::now() {
        return Err("the jobs were due before all of them were scheduled".into());
    }
    let begin = base.max(Instant::now()) + WARM_UP * SECOND;
    thread::sleep(begin.saturating_duration_since(Instant::now()));
    let before = Cpu::now()?;
    thread::sleep(COUNTED * SECOND);
    let cpu = Cpu::now()?.others_since(&before);
    thread::sleep(2 * SECOND);

    let counted = runs.counted.load(Ordering::Relaxed) as usize;
    let late = runs.late.iter().take(counted);
    let mut late: Vec<u64> = late.map(|late| late.load(Ordering::Relaxed)).collect();
    late.sort_unstable();
    let at = |percent| percentile(&late, percent).map(|nanos| nanos as f64 / 1e6);
    let mut sample = vec![
        ("expected", expected as f64),
        ("lost", (expected - counted) as f64),
        ("early", f64::from(runs.early.load(Ordering::Relaxed))),
        ("cpu", cpu.as_secs_f64()),
    ];
    sample.extend(at(50.0).map(|p50| ("p50", p50)));
    sample.extend(at(99.0).map(|p99| ("p99", p99)));
    Ok(sample)
}
