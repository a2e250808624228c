//! What it costs to hold jobs: schedule, idle, fire and cancel a great many.
//!
//! `cargo bench --bench hold`, or `cargo bench --bench hold -- 100000` for
//! fewer jobs. Each figure is the median of five rounds, with the least and the
//! most; smol with a hand-written timer stands beside it, in the same rounds,
//! where it does the same work. Machines differ and are noisy: the ratios are
//! what to look at.

use std::error::Error;
use std::fmt::Display;
use std::hint::black_box;
use std::time::{Duration, Instant};

use async_io::Timer;
use jobber::{Job, Jobber, Task};

const ROUNDS: usize = 5;
const HOUR: Duration = Duration::from_secs(3_600);

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000_000);
    let app = Jobber::builder().build()?;
    let noop = app.task("noop", async |_: u64| {}).register()?;
    app.start().wait_blocking()?;

    schedule_and_cancel(&noop, count)?;
    due_at_once(&noop, count)?;
    push_and_wait(&noop)?;
    lateness(&app)?;
    idle(&noop, count)?;
    Ok(())
}

fn schedule_and_cancel(noop: &Task<u64, ()>, count: usize) -> Result<(), Box<dyn Error>> {
    println!("{count} jobs in the next hour, ns each:");
    let delays: Vec<Duration> = (0..count)
        .map(|_| HOUR / 2 + Duration::from_nanos(fastrand::u64(..1_800_000_000_000)))
        .collect();
    let mut order: Vec<usize> = (0..count).collect();
    fastrand::shuffle(&mut order);
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        let before = resident();
        let start = Instant::now();
        let jobs = schedule(noop, &delays)?;
        figures[0].push(nanos_each(start, count));
        let bytes = resident().saturating_sub(before) / count;
        if figures[0].len() == 1 {
            println!("  {:28} {bytes}", "resident bytes a job");
        }

        let start = Instant::now();
        for at in &order {
            assert!(jobs[*at].cancel().wait_blocking()?);
        }
        figures[1].push(nanos_each(start, count));
        drop(jobs);

        let start = Instant::now();
        let mut tasks: Vec<_> = delays
            .iter()
            .map(|delay| Some(smol::spawn(async_timer(*delay))))
            .collect();
        figures[2].push(nanos_each(start, count));
        let start = Instant::now();
        for at in &order {
            // This only asks for the cancellation: the executor's threads drop
            // the future and its timer later.
            drop(black_box(tasks[*at].take()));
        }
        figures[3].push(nanos_each(start, count));
    }
    let names = [
        "schedule",
        "cancel, in random order",
        "smol schedule",
        "smol cancel",
    ];
    for (name, figures) in names.iter().zip(figures) {
        print(name, figures);
    }
    Ok(())
}

async fn async_timer(delay: Duration) {
    Timer::after(delay).await;
}

fn due_at_once(noop: &Task<u64, ()>, count: usize) -> Result<(), Box<dyn Error>> {
    println!("{count} jobs due at once, until all are waited for, jobs/s:");
    let (mut ours, mut smols) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Time enough to schedule all of them.
        let due = Instant::now() + Duration::from_nanos(2_000 * count as u64) + HALF_A_SECOND;
        let delays = (0..count).map(|_| due.saturating_duration_since(Instant::now()));
        let jobs: Vec<Job<()>> = delays
            .map(|delay| noop.schedule(0).delay(delay).wait_blocking())
            .collect::<Result<_, _>>()?;
        spin_until(due);
        for job in &jobs {
            job.wait_blocking();
        }
        ours.push(per_second(due, count));

        let due = Instant::now() + Duration::from_nanos(4_000 * count as u64) + HALF_A_SECOND;
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                smol::spawn(async move {
                    Timer::at(due).await;
                })
            })
            .collect();
        spin_until(due);
        smol::block_on(async {
            for task in tasks {
                task.await;
            }
        });
        smols.push(per_second(due, count));
    }
    print("jobber", ours);
    print("smol", smols);
    Ok(())
}

const HALF_A_SECOND: Duration = Duration::from_millis(500);

fn push_and_wait(noop: &Task<u64, ()>) -> Result<(), Box<dyn Error>> {
    const EACH: usize = 5_000;
    println!("push and wait, median ns:");
    let (mut ours, mut smols) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(median((0..EACH).map(|n| {
            let start = Instant::now();
            let job = noop.schedule(n as u64).push().wait_blocking();
            let _ = job.map(|job| job.wait_blocking());
            start.elapsed().as_nanos() as u64
        })));
        smols.push(median((0..EACH).map(|_| {
            let start = Instant::now();
            smol::block_on(smol::spawn(async {}));
            start.elapsed().as_nanos() as u64
        })));
    }
    print("jobber", ours);
    print("smol", smols);
    Ok(())
}

fn lateness(app: &Jobber) -> Result<(), Box<dyn Error>> {
    const EACH: usize = 200;
    println!("start less due time of single jobs, median ns:");
    let (sender, started) = std::sync::mpsc::channel();
    let now = app
        .task("now", move || {
            let _ = sender.send(Instant::now());
            async {}
        })
        .register()?;
    let (mut ours, mut smols) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(median((0..EACH).filter_map(|_| {
            let delay = Duration::from_nanos(fastrand::u64(500_000..2_000_000));
            let due = Instant::now() + delay;
            let _ = now.schedule(()).delay(delay).wait_blocking().ok()?;
            Some(started.recv().ok()?.duration_since(due).as_nanos() as u64)
        })));
        smols.push(median((0..EACH).map(|_| {
            let due = Instant::now() + Duration::from_nanos(fastrand::u64(500_000..2_000_000));
            let task = smol::spawn(async move {
                Timer::at(due).await;
                Instant::now()
            });
            smol::block_on(task).duration_since(due).as_nanos() as u64
        })));
    }
    print("jobber", ours);
    print("smol", smols);
    Ok(())
}

fn idle(noop: &Task<u64, ()>, count: usize) -> Result<(), Box<dyn Error>> {
    println!("{count} jobs pending, ten seconds:");
    let delays: Vec<_> = (0..count)
        .map(|n| HOUR + Duration::from_micros(n as u64))
        .collect();
    let jobs = schedule(noop, &delays)?;
    std::thread::sleep(Duration::from_millis(500));
    let before = timer_wake_ups();
    std::thread::sleep(Duration::from_secs(10));
    match (before, timer_wake_ups()) {
        (Some(before), Some(after)) => println!("  {:28} {}", "wake-ups", after - before),
        _ => println!("  wake-ups can be counted on Linux only"),
    }
    drop(jobs);
    Ok(())
}

fn schedule(noop: &Task<u64, ()>, delays: &[Duration]) -> Result<Vec<Job<()>>, Box<dyn Error>> {
    let mut jobs = Vec::with_capacity(delays.len());
    for (n, delay) in delays.iter().enumerate() {
        jobs.push(noop.schedule(n as u64).delay(*delay).wait_blocking()?);
    }
    Ok(jobs)
}

/// How often the timer's thread has gone to sleep so far: each wake-up ends in
/// that (`voluntary_ctxt_switches`, proc_pid_status(5)).
fn timer_wake_ups() -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let status = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
        .find(|status| status.starts_with("Name:\tjobber-timer"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("voluntary_ctxt"))?;
    line.split_whitespace().last()?.parse().ok()
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    pages * 4_096
}

fn spin_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

fn nanos_each(start: Instant, count: usize) -> u64 {
    (start.elapsed().as_nanos() / count as u128) as u64
}

fn per_second(due: Instant, count: usize) -> u64 {
    (count as f64 / due.elapsed().as_secs_f64()) as u64
}

fn median(figures: impl Iterator<Item = u64>) -> u64 {
    let mut figures: Vec<u64> = figures.collect();
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}

fn print<T: Ord + Display>(name: &str, mut figures: Vec<T>) {
    figures.sort_unstable();
    if let (Some(least), Some(most)) = (figures.first(), figures.last()) {
        println!(
            "  {name:28} {} ({least} to {most})",
            figures[figures.len() / 2]
        );
    }
}
