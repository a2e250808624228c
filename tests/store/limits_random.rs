//! Random programs whose jobs have limits and rates and are steered, one by one and many at once:
//! in memory and stored, with faults and crashes. After each step it holds that
//!
//! - no limit and no rate is passed;
//! - a job that is due waits only for what is taken;
//! - none starts before a better one of the same limits;
//! - none starts while it is paused;
//! - no more jobs are live than may be;
//!
//! and at the end each job has run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Machine, Result, SECOND, START};
use jobber::testing::{Fault, Simulation};
use jobber::{
    AnyJob, Backoff, JobContext, JobId, JobStatus, Jobber, Jobs, Limit, Overlap, Rate, Schedule,
    ScheduleError, Task, TaskBuilder, WaitingFor,
};
use time::OffsetDateTime;

/// What limits jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Resource {
    App,
    /// Of the tasks 1 and 2.
    Shared,
    Task(usize),
    Key(u32),
    Rate,
    RateOfKey(u32),
}

/// The number of a job, and the run that it was made for, or 0.
type Key = (u32, u64);

const APP: usize = 4;
/// How many jobs of the first task may be live.
const PENDING: usize = 7;
/// How many jobs of runs may be live.
const SPAWNED: usize = 2;
const RATE: (u32, u64) = (3, 30);
const RATE_OF_KEY: (u32, u64) = (1, 10);

/// The limits of a job of this task with this number.
fn resources(task: usize, number: u32) -> Vec<Resource> {
    let mut all = vec![Resource::App];
    all.extend(match task {
        0 => vec![Resource::Task(0), Resource::Key(number % 3)],
        1 => vec![Resource::Shared, Resource::Rate],
        _ => vec![
            Resource::Shared,
            Resource::Task(2),
            Resource::RateOfKey(number % 2),
        ],
    });
    all
}

/// When a rate allows the next start, by its starts so far, in seconds: the definition, without
/// a rule that makes it fast.
fn next_start(starts: &[u64], (count, per): (u32, u64)) -> u64 {
    let interval = per / u64::from(count);
    let mut recovers_at = 0;
    for start in starts {
        recovers_at = recovers_at.max(*start) + interval;
    }
    recovers_at.saturating_sub(interval * u64::from(count - 1))
}

/// What the attempts have seen.
#[derive(Debug, Default)]
struct Seen {
    running: BTreeMap<Resource, usize>,
    /// The starts of each rate, in seconds.
    starts: BTreeMap<Resource, Vec<u64>>,
    /// The jobs that have started in this step.
    started: Vec<Key>,
    all_started: BTreeSet<u32>,
    faults: Vec<String>,
}

#[derive(Clone, Debug)]
struct World {
    seen: Arc<Mutex<Seen>>,
    shared: Limit,
    /// The starts of an attempt may come later than their limits.
    is_exact: bool,
}

/// An attempt that runs.
struct Attempt(Arc<Mutex<Seen>>, Vec<Resource>);

impl World {
    fn begin(&self, task: usize, key: Key, now: u64) -> Attempt {
        let number = key.0;
        let mut seen = self.seen.lock().unwrap();
        let all = resources(task, number);
        for resource in &all {
            let running = seen.running.entry(*resource).or_default();
            *running += 1;
            let running = *running;
            if running > self.capacity(*resource) {
                let fault = format!("{running} run with {resource:?}");
                seen.faults.push(fault);
            }
            if let Resource::Rate | Resource::RateOfKey(_) = resource {
                let rate = rate_of(*resource);
                let starts = seen.starts.entry(*resource).or_default();
                let allowed = next_start(starts, rate);
                starts.push(now);
                if self.is_exact && now < allowed {
                    let fault = format!("{now}, and {resource:?} allows {allowed}");
                    seen.faults.push(fault);
                }
            }
        }
        seen.started.push(key);
        seen.all_started.insert(number);
        Attempt(self.seen.clone(), all)
    }

    fn capacity(&self, resource: Resource) -> usize {
        match resource {
            Resource::App => APP,
            Resource::Shared => self.shared.get(),
            Resource::Task(_) => 2,
            Resource::Key(_) => 1,
            Resource::Rate | Resource::RateOfKey(_) => usize::MAX,
        }
    }

    /// Whether a job has to wait for this.
    fn is_taken(&self, resource: Resource, now: u64) -> bool {
        let seen = self.seen.lock().unwrap();
        let running = seen.running.get(&resource).copied().unwrap_or(0);
        let starts = seen.starts.get(&resource);
        let is_early = starts.is_some_and(|starts| now < next_start(starts, rate_of(resource)));
        running >= self.capacity(resource) || is_early
    }
}

fn rate_of(resource: Resource) -> (u32, u64) {
    match resource {
        Resource::RateOfKey(_) => RATE_OF_KEY,
        _ => RATE,
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut seen = self.0.lock().unwrap();
        for resource in &self.1 {
            *seen.running.get_mut(resource).unwrap() -= 1;
        }
    }
}

/// The number of the job, how long an attempt takes, and how many attempts fail.
type Work = (u32, u64, u32);

fn boot(machine: &Machine, world: &World) -> Result<(Simulation, [Task<Work, ()>; 3])> {
    let sim = machine.boot_with(|app| app.max_running(APP));
    let clock = sim.clock();
    let builder = |task: usize| -> TaskBuilder<Work, ()> {
        let (clock, world) = (clock.clone(), world.clone());
        let body = move |cx: JobContext, number: u32, take: u64, fails: u32| {
            let now = clock.elapsed().as_secs();
            let run = cx.spawned_by().map_or(0, |by| by.run);
            let attempt = world.begin(task, (number, run), now);
            let sleep = clock.sleep(Duration::from_secs(take));
            async move {
                sleep.await;
                drop(attempt);
                if cx.attempt() <= fails {
                    Err("no")
                } else {
                    Ok(())
                }
            }
        };
        let task = sim.app().task(["a", "b", "c"][task], body);
        let task = task.durable().retry(Backoff::fixed(2, SECOND * 7));
        task.max_interruptions(u32::MAX)
    };
    let rate = |(count, per)| Rate::new(count, Duration::from_secs(per));
    let tasks = [
        builder(0)
            .limit(2)
            .limit_by(1, |(number, ..): &Work| (number % 3).to_string())
            .max_pending(PENDING)
            .register()?,
        builder(1)
            .limit(&world.shared)
            .rate(rate(RATE))
            .priority(1)
            .register()?,
        builder(2)
            .limit(&world.shared)
            .limit(2)
            .rate_by(rate(RATE_OF_KEY), |(number, ..): &Work| {
                (number % 2).to_string()
            })
            .at_most_once()
            .register()?,
    ];
    Ok((sim, tasks))
}

/// A job that is due and waits.
#[derive(Clone, Debug)]
struct Waiting {
    task: usize,
    priority: i8,
    due: OffsetDateTime,
}

/// The jobs that are due and wait for a limit, by their number. Each waits for something that is
/// taken.
fn waiting(app: &Jobber, world: &World, now: u64) -> BTreeMap<Key, Waiting> {
    let mut found = BTreeMap::new();
    let wall = START + Duration::from_secs(now);
    for job in app.jobs() {
        let snapshot = job.snapshot();
        if job.status() != JobStatus::Scheduled || job.exec_at() > wall || job.is_paused() {
            continue;
        }
        let key = key_of(&job);
        let number = key.0;
        let task = ["a", "b", "c"]
            .iter()
            .position(|name| *name == job.task_name());
        let task = task.unwrap();
        let resource = match job.waiting_for() {
            Some(WaitingFor::MaxRunning) => Resource::App,
            Some(WaitingFor::SharedLimit) => Resource::Shared,
            Some(WaitingFor::TaskLimit) => Resource::Task(task),
            Some(WaitingFor::Key(key)) => Resource::Key(key.parse().unwrap()),
            Some(WaitingFor::Rate) => Resource::Rate,
            Some(WaitingFor::RateOfKey(key)) => Resource::RateOfKey(key.parse().unwrap()),
            Some(WaitingFor::Pause) => continue,
            other => {
                assert!(!world.is_exact, "{number} is due, and waits for {other:?}");
                continue;
            }
        };
        assert!(resources(task, number).contains(&resource));
        assert!(
            !world.is_exact || world.is_taken(resource, now),
            "{number} waits for {resource:?}, which is free: {world:?}"
        );
        let own = snapshot.tags.iter().find_map(|tag| tag.parse().ok());
        found.insert(
            key,
            Waiting {
                task,
                priority: own.unwrap_or(i8::from(task == 1)),
                due: job.exec_at(),
            },
        );
    }
    found
}

/// No job has started before a better one of the same limits, which waited already.
fn check_order(before: &BTreeMap<Key, Waiting>, after: &BTreeMap<Key, Waiting>, started: &[Key]) {
    for key in started {
        let number = &key.0;
        let Some(own) = before.get(key) else {
            continue;
        };
        for (other, waits) in after {
            let waited = before.get(other).is_some_and(|it| it.due == waits.due);
            let is_same = resources(own.task, *number) == resources(waits.task, other.0);
            let is_better = (-waits.priority, waits.due) < (-own.priority, own.due);
            assert!(
                !(waited && is_same && is_better),
                "{key:?} ({own:?}) has started before {other:?} ({waits:?})"
            );
        }
    }
}

fn number_of(id: &JobId) -> u32 {
    id.to_string()[1..].parse().unwrap()
}

fn key_of(job: &AnyJob) -> Key {
    match job.spawned_by() {
        Some(by) => (number_of(&by.job), by.run),
        None => (number_of(job.id()), 0),
    }
}

/// The jobs that no attempt may start of.
fn paused(app: &Jobber) -> BTreeSet<Key> {
    let jobs = app.jobs().into_iter();
    jobs.filter(|job| job.is_paused() && job.status() == JobStatus::Scheduled)
        .map(|job| key_of(&job))
        .collect()
}

/// No more jobs are live than may be.
fn check_pending(app: &Jobber) {
    let mut of_parent = BTreeMap::<_, usize>::new();
    let mut of_first = 0;
    for job in app.jobs() {
        match job.spawned_by() {
            Some(by) => *of_parent.entry(by.job).or_default() += 1,
            None => of_first += usize::from(job.task_name() == "a"),
        }
    }
    assert!(of_first <= PENDING, "{of_first} jobs of `a` are live");
    let most = of_parent.values().max();
    assert!(most.is_none_or(|most| *most <= SPAWNED), "{of_parent:?}");
}

/// Some of the jobs, and which of the live ones these are.
fn some(rng: &mut fastrand::Rng, app: &Jobber) -> Result<(Jobs, Vec<AnyJob>)> {
    let jobs = match rng.u8(..5) {
        0 => Jobs::all(),
        1 => Jobs::matching().task(["a", "b", "c"][rng.usize(..3)]),
        2 => Jobs::matching().tag(rng.i8(-1..3).to_string()),
        3 => Jobs::matching().status(JobStatus::Running),
        _ => Jobs::matching().id_prefix("j1"),
    };
    let found = app.select(jobs.clone()).list()?;
    assert_eq!(found.len(), app.select(jobs.clone()).count()?);
    Ok((jobs, found))
}

fn run(seed: u64, is_stored: bool) -> Result {
    let mut rng = fastrand::Rng::with_seed(seed);
    let machine = Machine::new();
    let mut world = World {
        seen: Arc::default(),
        shared: Limit::new(2),
        is_exact: true,
    };
    // A fault, a crash or an abort separates a start from its limits.
    let has_faults = is_stored && rng.bool();
    world.is_exact = !has_faults;
    let (mut sim, mut tasks) = boot(&machine, &world)?;
    let mut next = 0;
    let mut wanted = BTreeSet::new();
    let mut before = BTreeMap::new();
    // Those that a person has asked for, which no pause holds.
    let mut asked = BTreeSet::new();
    for _ in 0..80 {
        let now = sim.elapsed().as_secs();
        let task = rng.usize(..3);
        let app = sim.app();
        let any = rng.choice(app.jobs());
        if has_faults && rng.u8(..6) == 0 {
            machine.plan_faults([[Fault::Fail, Fault::Fail][rng.usize(..2)].clone()]);
        }
        let held = paused(app);
        let mut is_steered = true;
        match rng.u8(..28) {
            0..8 => {
                let work = (next, rng.u64(..20), rng.u32(..2));
                let schedule: Schedule<Work, ()> = tasks[task].schedule(work);
                let schedule = schedule.id(format!("j{next}"));
                let priority = rng.i8(-1..3);
                let schedule = match rng.bool() {
                    true => schedule.priority(priority).tag(priority.to_string()),
                    false => schedule,
                };
                let schedule = match is_stored {
                    true => schedule,
                    false => schedule.in_memory(),
                };
                let done = match rng.u8(..7) {
                    6 => {
                        let schedule = schedule.max_runs(3).overlap(Overlap::Spawn(SPAWNED));
                        schedule
                            .every(Duration::from_secs(rng.u64(5..40)))
                            .block_on()
                    }
                    0 => {
                        let schedule = schedule.max_runs(3).overlap(Overlap::CancelRunning);
                        schedule
                            .every(Duration::from_secs(rng.u64(5..40)))
                            .block_on()
                    }
                    1 => {
                        let schedule = schedule.max_runs(3);
                        schedule
                            .every(Duration::from_secs(rng.u64(5..40)))
                            .block_on()
                    }
                    2 | 3 => schedule
                        .delay(Duration::from_secs(rng.u64(..30)))
                        .block_on(),
                    _ => schedule.push().block_on(),
                };
                let live = app.jobs().into_iter();
                let live = live.filter(|job| job.task_name() == "a").count();
                match done {
                    Ok(_) => drop(wanted.insert(next)),
                    Err(ScheduleError::TooManyPending { max, .. }) => {
                        assert!(task == 0 && live >= max, "{live}");
                    }
                    Err(error) => assert!(has_faults, "{error}"),
                }
                next += 1;
            }
            8 | 9 => {
                if let Some(job) = any {
                    let number = key_of(&job).0;
                    let _ = match rng.bool() {
                        true => job.cancel().block_on(),
                        false => job.abort().block_on(),
                    };
                    wanted.remove(&number);
                }
            }
            10 => {
                if let Some(job) = any {
                    let _ = job.pause().block_on();
                }
            }
            11 | 12 => {
                if let Some(job) = any {
                    let _ = job.resume().block_on();
                }
            }
            13 => {
                if let Some(job) = any {
                    asked.insert(key_of(&job).0);
                    let _ = job.run_now().block_on();
                }
            }
            14 => {
                if let Some(job) = any {
                    let _ = job.delay_by(Duration::from_secs(rng.u64(..20))).block_on();
                }
            }
            15 => drop(tasks[task].pause().block_on()),
            16 => drop(tasks[task].resume().block_on()),
            17 => {
                let limit = rng.usize(..4);
                // With faults, an attempt may start long after it has got its limits.
                if !has_faults || limit >= world.shared.get() {
                    world.shared.set(limit);
                }
            }
            18 if has_faults => {
                sim.crash();
                machine.clear_faults();
                let shared = world.shared.get();
                let all_started = world.seen.lock().unwrap().all_started.clone();
                world = World {
                    seen: Arc::new(Mutex::new(Seen {
                        all_started,
                        ..Seen::default()
                    })),
                    shared: Limit::new(shared.max(1)),
                    is_exact: false,
                };
                (sim, tasks) = boot(&machine, &world)?;
            }
            24 => {
                let (jobs, found) = some(&mut rng, app)?;
                let changed = app.select(jobs).pause().block_on();
                assert!(changed.is_err() || changed? <= found.len());
            }
            25 => {
                let (jobs, found) = some(&mut rng, app)?;
                let changed = app.select(jobs).resume().block_on();
                assert!(changed.is_err() || changed? <= found.len());
            }
            26 if rng.u8(..4) == 0 => {
                let (jobs, found) = some(&mut rng, app)?;
                let changed = app.select(jobs).cancel().block_on();
                assert!(has_faults || changed? <= found.len());
                for job in found {
                    wanted.remove(&key_of(&job).0);
                }
            }
            27 if rng.bool() => drop(app.pause().block_on()),
            26 | 27 => drop(app.resume().block_on()),
            _ => {
                is_steered = false;
                sim.advance(Duration::from_secs(rng.u64(..9)));
            }
        }
        sim.run_until_stalled();
        check_pending(sim.app());
        let now_after = sim.elapsed().as_secs();
        let after = waiting(sim.app(), &world, now_after);
        let mut seen = world.seen.lock().unwrap();
        assert_eq!(seen.faults, [""; 0], "at {now}");
        let started = std::mem::take(&mut seen.started);
        drop(seen);
        if !is_steered {
            let in_spite = started.iter().filter(|key| held.contains(key));
            let in_spite: Vec<_> = in_spite.filter(|key| !asked.contains(&key.0)).collect();
            assert!(in_spite.is_empty(), "{in_spite:?} are paused");
        }
        if world.is_exact && now == now_after {
            check_order(&before, &after, &started);
        }
        before = after;
    }
    machine.clear_faults();
    // The store is tried again.
    sim.advance(Duration::from_secs(100));
    world.shared.set(2);
    for task in &tasks {
        task.resume().block_on()?;
    }
    sim.app().resume().block_on()?;
    sim.app().select(Jobs::all()).resume().block_on()?;
    sim.advance(Duration::from_secs(4_000));
    let seen = world.seen.lock().unwrap();
    assert_eq!(seen.faults, [""; 0]);
    let left: Vec<_> = sim
        .app()
        .jobs()
        .iter()
        .map(|job| job.id().clone())
        .collect();
    assert_eq!(left, [""; 0], "they wait for ever");
    let lost: Vec<_> = wanted.difference(&seen.all_started).collect();
    assert_eq!(lost, [&0; 0], "they have never run");
    Ok(())
}

#[test]
fn random_programs_pass_no_limit_and_lose_no_job() -> Result {
    let seeds = std::env::var("JOBBER_SEEDS").map_or(Ok(150), |seeds| seeds.parse())?;
    let first = std::env::var("JOBBER_SEED").map_or(Ok(0), |seed| seed.parse())?;
    for seed in first..first + seeds {
        for is_stored in [false, true] {
            println!("seed {seed}, stored: {is_stored}");
            run(seed, is_stored)?;
        }
    }
    Ok(())
}
