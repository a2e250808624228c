//! W11: a great many due jobs under a limit, against a semaphore inside of the task: what one
//! would write by hand.
//!
//! All are due at the same instant. Each yields once while it has its limit. Held: the limits are
//! closed, and what the waiting jobs need is measured.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use async_lock::Semaphore;
use futures::FutureExt;
use futures::future::BoxFuture;
use jobber::{Jobber, Limit, Task};
use time::OffsetDateTime;

use super::{arg, cannot};
use crate::Result;
use crate::args::Options;
use crate::measure::{Cpu, each, resident, settle};
use crate::peers::Peer;
use crate::table::number;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "limit";
const PEERS: [Peer; 2] = [Peer::Jobber, Peer::JobberSemaphore];
/// The attempts that run at once.
const LIMIT: usize = 8;
/// The jobs of a key that are due together.
const PER_KEY: u64 = 20;
const REST: Duration = Duration::from_secs(120);

pub fn work(options: &Options) -> Work {
    let (million, keys) = (options.size(1_000_000), options.size(10_000));
    let jobs_of_keys = PER_KEY as usize * keys;
    let label = |size: usize| number(size as f64, 0);
    let one = format!("{}, limit {LIMIT}", label(million));
    let by_key = format!("{}, {} keys", label(jobs_of_keys), label(keys));
    let goal = |case| {
        let faster = Goal::figure(case, Peer::Jobber, "rate/semaphore", "rate");
        faster.over(Peer::JobberSemaphore).at_least(2.0)
    };
    Work {
        name: NAME,
        rounds: 3,
        once: &[],
        cases: vec![
            Case::new(one, &[&million, &0, &"due"], &PEERS),
            Case::new(by_key, &[&jobs_of_keys, &keys, &"due"], &PEERS),
            Case::new("one, held", &[&million, &0, &"held"], &PEERS),
            Case::new("keys, held", &[&jobs_of_keys, &keys, &"held"], &PEERS),
        ],
        tables: vec![Table {
            name: "w11",
            title: "Due jobs that wait for a limit, until all have run",
            columns: vec![
                column("rate", "jobs/s", 0),
                column("cpu", "CPU ns", 0),
                column("bytes", "bytes/job", 0),
            ],
            ratios: vec![Ratio {
                figure: "rate",
                base: Peer::JobberSemaphore,
                title: "rate/semaphore",
            }],
            goals: vec![goal(0), goal(1)],
            notes: vec![
                "Bytes are resident ones, while all jobs wait, with their handles. Each key has a limit of one.",
            ],
        }],
    }
}

static RUN: AtomicUsize = AtomicUsize::new(0);

async fn run() {
    smol::future::yield_now().await;
    RUN.fetch_add(1, Ordering::Relaxed);
}

/// A task whose jobs wait, and what lets them go.
struct Held {
    app: Jobber,
    task: Task<u64, ()>,
    go: Box<dyn FnOnce()>,
}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    let (count, keys): (usize, u64) = (arg(args, 0)?, arg(args, 1)?);
    let is_held = arg::<String>(args, 2)? == "held";
    let held = match peer {
        Peer::Jobber => by_limit(keys)?,
        Peer::JobberSemaphore => by_semaphore(keys)?,
        _ => return cannot(peer, NAME),
    };
    match is_held {
        true => hold(&held, count),
        false => measure(held, count),
    }
}

fn by_limit(keys: u64) -> Result<Held> {
    let app = Jobber::builder().build()?;
    let limit = Limit::new(LIMIT);
    let task = app.task("job", |_: u64| run()).limit(&limit);
    let task = match keys {
        0 => task.register()?,
        keys => task
            .limit_by(1, move |n| (n / PER_KEY % keys).to_string())
            .register()?,
    };
    limit.set(0);
    let most = if keys == 0 { LIMIT } else { usize::MAX };
    Ok(Held {
        app,
        task,
        go: Box::new(move || limit.set(most)),
    })
}

fn by_semaphore(keys: u64) -> Result<Held> {
    let app = Jobber::builder().build()?;
    if keys == 0 {
        let semaphore = Arc::new(Semaphore::new(0));
        let own = semaphore.clone();
        let task = app.task("job", move |_: u64| limited(own.clone()));
        return Ok(Held {
            task: task.register()?,
            app,
            go: Box::new(move || semaphore.add_permits(LIMIT)),
        });
    }
    let semaphores: Mutex<HashMap<String, Arc<Semaphore>>> = Mutex::default();
    // The permits that a new semaphore has.
    let first = Arc::new(AtomicUsize::new(0));
    let go = first.clone();
    let task = app.task("job", move |n: u64| {
        let mut semaphores = semaphores.lock().expect("nobody panics");
        let semaphore = semaphores.entry((n / PER_KEY % keys).to_string());
        limited(
            semaphore
                .or_insert_with(|| Arc::new(Semaphore::new(first.load(Ordering::SeqCst))))
                .clone(),
        )
    });
    Ok(Held {
        task: task.register()?,
        app,
        go: Box::new(move || go.store(1, Ordering::SeqCst)),
    })
}

fn limited(semaphore: Arc<Semaphore>) -> BoxFuture<'static, ()> {
    let work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = async move {
        let _permit = semaphore.acquire().await;
        run().await;
    }
    .boxed();
    work
}

/// What jobs take that wait.
fn hold(held: &Held, count: usize) -> Result<Sample> {
    held.app.start().block_on()?;
    settle(REST)?;
    let before = resident()?;
    let mut jobs = Vec::with_capacity(count);
    for n in 0..count {
        jobs.push(held.task.schedule(n as u64).push().block_on()?);
    }
    settle(REST)?;
    let bytes = resident()?.saturating_sub(before);
    Ok(vec![("bytes", bytes as f64 / count as f64)])
}

fn measure(held: Held, count: usize) -> Result<Sample> {
    held.app.start().block_on()?;
    let delay = Duration::from_millis(500) + Duration::from_nanos(2_500) * count as u32;
    let (due, at) = (Instant::now() + delay, OffsetDateTime::now_utc() + delay);
    let mut jobs = Vec::with_capacity(count);
    for n in 0..count {
        jobs.push(held.task.schedule(n as u64).at(at).block_on()?);
    }
    (held.go)();
    let ahead = due.saturating_duration_since(Instant::now());
    if ahead.is_zero() {
        return Err("the jobs were due before all of them were scheduled".into());
    }
    settle(ahead)?;
    let cpu = Cpu::now()?;
    thread::sleep(due.saturating_duration_since(Instant::now()));
    while RUN.load(Ordering::Relaxed) < count {
        if due.elapsed() > REST {
            return Err("the jobs did not end".into());
        }
        thread::sleep(Duration::from_micros(200));
    }
    let took = due.elapsed();
    for job in &jobs {
        job.wait_blocking();
    }
    settle(REST)?;
    let cpu = Cpu::now()?.others_since(&cpu);
    Ok(vec![
        ("rate", count as f64 / took.as_secs_f64()),
        ("cpu", each(cpu, count)),
    ])
}
