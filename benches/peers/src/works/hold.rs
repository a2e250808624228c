//! W1 and W2: schedule a great many jobs in the next hour, and cancel them again.
//!
//! Jobs are due 30 to 60 minutes from now, at random, and cancelled in random
//! order. Each holds one number that tells when it is dropped, which is when the
//! cancellation has let go of the job.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{arg, cannot};
use crate::Result;
use crate::args::Options;
use crate::calls::Calls;
use crate::measure::{Cpu, each, resident, settle};
use crate::peers::cron_scheduler::CronSchedulerPeer;
use crate::peers::delay_queue::DelayQueuePeer;
use crate::peers::delay_timer::DelayTimerPeer;
use crate::peers::jobber::JobberPeer;
use crate::peers::smol::SmolPeer;
use crate::peers::tokio::TokioPeer;
use crate::peers::{Peer, Scheduler};
use crate::table::number;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "hold";
/// The last three only where there are few.
const PEERS: [Peer; 7] = [
    Peer::Jobber,
    Peer::Smol,
    Peer::Tokio,
    Peer::DelayQueue,
    Peer::CronScheduler,
    Peer::DelayTimer,
    Peer::Jobify,
];
const LEFT_OUT: &str = "apalis is left out: its storage in memory holds no job for later.";
/// Longer than any peer needs to come to rest.
const REST: Duration = Duration::from_secs(30);

pub fn work(options: &Options) -> Work {
    let sizes = [10_000, 100_000, 1_000_000].map(|size| options.size(size));
    let label = |size: usize, how: &str| format!("{}{how}", number(size as f64, 0));
    let mut cases: Vec<Case> = sizes
        .iter()
        .zip([7, 4, 4])
        .map(|(size, peers)| Case::new(label(*size, ""), &[size, &1, &"whole"], &PEERS[..peers]))
        .collect();
    let most = sizes[2];
    let (million, two, both) = (2, 3, label(most, ", 2 threads"));
    cases.push(Case::new(both, &[&most, &2, &"whole"], &PEERS[..4]));
    let single = label(most, ", call by call");
    cases.push(Case::new(single, &[&most, &1, &"single"], &PEERS[..4]));
    let jobber = |title, figure| Goal::figure(million, Peer::Jobber, title, figure);
    Work {
        name: NAME,
        rounds: 3,
        once: &[
            Peer::Tokio,
            Peer::DelayQueue,
            Peer::CronScheduler,
            Peer::DelayTimer,
            Peer::Jobify,
        ],
        cases,
        tables: vec![
            Table {
                name: "w1",
                title: "Schedule jobs in the next hour: ns each",
                columns: vec![
                    column("schedule", "wall ns", 0),
                    column("schedule-cpu", "CPU ns", 0),
                    column("bytes", "bytes/job", 0),
                    column("longest-schedule", "longest us", 0),
                ],
                ratios: vec![Ratio {
                    figure: "schedule",
                    base: Peer::Smol,
                    title: "wall/smol",
                }],
                goals: vec![
                    jobber("wall/smol", "schedule")
                        .over(Peer::Smol)
                        .at_most(0.75),
                    jobber("bytes", "bytes").at_most(269.0),
                    Goal::figure(two, Peer::Jobber, "2 threads/1", "schedule")
                        .over_case(million)
                        .at_most(1.0),
                ],
                notes: vec![
                    "CPU is that of all threads until they are at rest. Bytes are resident ones, with the",
                    "handles and the vector that holds them. Longest is the longest single call, timed apart.",
                    LEFT_OUT,
                ],
            },
            Table {
                name: "w2",
                title: "Cancel them in random order: ns each",
                columns: vec![
                    column("asked", "asked ns", 0),
                    column("done", "done ns", 0),
                    column("cancel-cpu", "CPU ns", 0),
                    column("dropped", "drop handle ns", 0),
                    column("left", "memory left %", 1),
                    column("longest-cancel", "longest us", 0),
                ],
                ratios: vec![Ratio {
                    figure: "done",
                    base: Peer::Smol,
                    title: "done/smol",
                }],
                goals: vec![
                    jobber("done/smol", "done").over(Peer::Smol).at_most(0.5),
                    jobber("left %", "left").at_most(10.0),
                ],
                notes: vec![
                    "Asked: until the calls have returned. Done: until every job's argument is dropped and all",
                    "threads are at rest. Memory left: 500 ms after the handles are dropped, of what the jobs took.",
                    LEFT_OUT,
                ],
            },
        ],
    }
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// A job's argument.
#[derive(Clone)]
struct Counted(#[allow(dead_code, reason = "a job is to hold it")] u64);

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

fn nothing(_: Counted) {}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    match peer {
        Peer::Jobber => measure(&JobberPeer::pool(nothing)?, args),
        Peer::Smol => measure(&SmolPeer::new(nothing), args),
        Peer::Tokio => measure(&TokioPeer::new(nothing)?, args),
        Peer::DelayQueue => measure(&DelayQueuePeer::new(nothing)?, args),
        Peer::CronScheduler => measure(&CronSchedulerPeer::new(nothing)?, args),
        Peer::DelayTimer => measure(&DelayTimerPeer::new(nothing), args),
        _ => cannot(peer, NAME),
    }
}

fn measure<S: Scheduler<Counted>>(scheduler: &S, args: &[String]) -> Result<Sample> {
    let (count, threads, how): (usize, usize, String) =
        (arg(args, 0)?, arg(args, 1)?, arg(args, 2)?);
    let delays: Vec<Duration> = (0..count)
        .map(|_| Duration::from_nanos(fastrand::u64(1_800_000_000_000..3_600_000_000_000)))
        .collect();
    let mut order: Vec<u32> = (0..u32::try_from(count)?).collect();
    fastrand::shuffle(&mut order);
    // So that the threads are there, and their parts of the heap.
    Calls::on_threads(
        (0..threads).map(|_| {
            || scheduler.within(|| scheduler.schedule(2 * delays[0], Counted(0)).map(drop))
        }),
    )?;
    settle(REST)?;

    if how == "single" {
        return call_by_call(scheduler, &delays, &order);
    }
    let before = resident()?;
    let mut handles: Vec<Option<S::Handle>> = std::iter::repeat_with(|| None).take(count).collect();
    let mut sample = schedule(scheduler, &delays, &mut handles, threads)?;
    let took = resident()?.saturating_sub(before);
    sample.push(("bytes", took as f64 / count as f64));
    sample.extend(cancel(scheduler, &order, handles)?);
    thread::sleep(Duration::from_millis(500));
    let left = resident()?.saturating_sub(before);
    sample.push(("left", 100.0 * left as f64 / took as f64));
    Ok(sample)
}

fn schedule<S: Scheduler<Counted>>(
    scheduler: &S,
    delays: &[Duration],
    handles: &mut [Option<S::Handle>],
    threads: usize,
) -> Result<Sample> {
    let count = delays.len();
    let share = count.div_ceil(threads);
    let shares = delays.chunks(share).zip(handles.chunks_mut(share));
    let before = Cpu::now()?;
    let calls = Calls::on_threads(shares.map(|(delays, handles)| {
        || {
            scheduler.within(|| {
                for (n, (delay, handle)) in delays.iter().zip(handles).enumerate() {
                    *handle = Some(scheduler.schedule(*delay, Counted(n as u64))?);
                }
                Ok(())
            })
        }
    }))?;
    settle(REST)?;
    let cpu = calls.cpu + Cpu::now()?.others_since(&before);
    Ok(vec![
        ("schedule", each(calls.wall(), count)),
        ("schedule-cpu", each(cpu, count)),
    ])
}

fn cancel<S: Scheduler<Counted>>(
    scheduler: &S,
    order: &[u32],
    mut handles: Vec<Option<S::Handle>>,
) -> Result<Sample> {
    let count = order.len();
    let dropped_before = DROPPED.load(Ordering::Relaxed);
    let before = Cpu::now()?;
    let calls = Calls::on_a_thread(|| {
        scheduler.within(|| {
            let mut order = order.iter();
            order.try_for_each(|at| scheduler.cancel(&mut handles[*at as usize]))
        })
    })?;
    let mut done = calls.end;
    while DROPPED.load(Ordering::Relaxed) - dropped_before < count {
        if calls.end.elapsed() > REST {
            return Err("cancelled jobs were not dropped".into());
        }
        thread::sleep(Duration::from_micros(100));
        done = Instant::now();
    }
    if let Some(last_busy) = settle(REST)? {
        done = done.max(last_busy);
    }
    let cpu = calls.cpu + Cpu::now()?.others_since(&before);
    let dropping = Calls::on_a_thread(|| {
        drop(handles);
        Ok(())
    })?;
    Ok(vec![
        ("asked", each(calls.wall(), count)),
        ("done", each(done - calls.start, count)),
        ("cancel-cpu", each(cpu, count)),
        ("dropped", each(dropping.wall(), count)),
    ])
}

/// The longest single calls. Apart from the rest, as a look at the clock for each
/// call is a good part of what a call takes.
fn call_by_call<S: Scheduler<Counted>>(
    scheduler: &S,
    delays: &[Duration],
    order: &[u32],
) -> Result<Sample> {
    let mut handles = Vec::with_capacity(delays.len());
    let (mut longest_schedule, mut longest_cancel) = (Duration::ZERO, Duration::ZERO);
    scheduler.within(|| {
        for (n, delay) in delays.iter().enumerate() {
            let start = Instant::now();
            let handle = scheduler.schedule(*delay, Counted(n as u64))?;
            longest_schedule = longest_schedule.max(start.elapsed());
            handles.push(Some(handle));
        }
        for at in order {
            let start = Instant::now();
            scheduler.cancel(&mut handles[*at as usize])?;
            longest_cancel = longest_cancel.max(start.elapsed());
        }
        Ok::<_, crate::Error>(())
    })?;
    Ok(vec![
        ("longest-schedule", longest_schedule.as_secs_f64() * 1e6),
        ("longest-cancel", longest_cancel.as_secs_f64() * 1e6),
    ])
}
