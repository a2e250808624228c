//! Random programs on a store that fails, tears and dies, with reboots, beside a model of
//! what was promised.
//!
//! `JOBBER_SEEDS=10000 cargo test --release --all-features --test store model`
//! runs more of them; `JOBBER_SEED=17` runs that one, and prints what happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Result, SECOND};
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{
    Backoff, CancelOutcome, JobContext, JobStatus, MemoryStorage, Misfire, ScheduleError, Task,
    storage::StorageError,
};
use time::OffsetDateTime;

/// What happened, as the tasks and the program saw it.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    /// Scheduling has returned: this run of that job is promised.
    Promised {
        id: String,
        /// `None` if the job was replaced during a run, or goes on with the time of a
        /// catch-up.
        nominal: Option<OffsetDateTime>,
        recurs: bool,
    },
    /// Scheduling has failed, or the process died meanwhile: the job may be stored.
    Maybe { id: String },
    /// Scheduling has failed, and the job cannot be stored.
    Refused { id: String },
    /// Cancelling, or aborting, begins: the promise is taken back.
    TakenBack { id: String },
    /// Cancelling, or aborting, has returned `true`.
    Cancelled { id: String, is_abort: bool },
    /// An attempt.
    Started {
        id: String,
        nominal: OffsetDateTime,
        run: u64,
        boot: u64,
    },
    /// An attempt failed, or was aborted.
    Failed { id: String },
    /// The last attempt of a run ended.
    Ended {
        id: String,
        nominal: OffsetDateTime,
        run: u64,
        boot: u64,
    },
    /// The process was killed. `unstored`: the ends of some jobs were not stored yet.
    Crashed { unstored: bool },
}

#[derive(Clone, Default)]
struct History(Arc<Mutex<Vec<Entry>>>);

impl History {
    fn add(&self, entry: Entry) {
        self.0.lock().unwrap().push(entry);
    }
}

/// Which faults the commits have from now on.
#[derive(Clone, Copy, Debug)]
struct FaultSchedule {
    /// How many of ten commits fail; as many more are torn.
    bad: u8,
    /// Whether the process may die in a commit.
    dies: bool,
}

const FAULTS_OFF: FaultSchedule = FaultSchedule {
    bad: 0,
    dies: false,
};

struct World {
    rng: fastrand::Rng,
    clock: ManualClock,
    disk: MemoryStorage,
    faults: Arc<Mutex<(FaultSchedule, fastrand::Rng)>>,
    history: History,
    boots: u64,
    names: u64,
    is_shown: bool,
}

struct Process {
    sim: Simulation,
    /// One that ends at once, one that takes a while, and one whose first attempt fails.
    tasks: [Task<u32, ()>; 3],
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            faults: Arc::new(Mutex::new((FAULTS_OFF, rng.fork()))),
            rng,
            clock: ManualClock::new(),
            disk: MemoryStorage::new(),
            history: History::default(),
            boots: 0,
            names: 0,
            is_shown: std::env::var_os("JOBBER_SEED").is_some(),
        }
    }

    fn set_faults(&self, faults: FaultSchedule) {
        self.faults.lock().unwrap().0 = faults;
    }

    fn boot(&mut self) -> Process {
        self.boots += 1;
        let boot = self.boots;
        let faults = self.faults.clone();
        let storage = FaultyStorage::new(self.disk.clone(), move |operation| {
            let Operation::Commit(_) = operation else {
                return Fault::None;
            };
            let (faults, rng) = &mut *faults.lock().unwrap();
            if faults.dies && rng.u8(..10) == 0 {
                return if rng.bool() {
                    Fault::Die
                } else {
                    Fault::TearAndDie
                };
            }
            match rng.u8(..10) {
                n if n < faults.bad => Fault::Fail,
                n if n < faults.bad * 2 => Fault::Tear,
                _ => Fault::None,
            }
        });
        let sim = Simulation::with(boot, self.clock.clone(), |app| app.storage(storage)).unwrap();
        let tasks = ["quick", "slow", "flaky"].map(|name| {
            let (history, clock) = (self.history.clone(), self.clock.clone());
            sim.app()
                .task(name, move |cx: JobContext, seconds: u32| {
                    let id = cx.id().to_string();
                    let (nominal, run) = (cx.nominal_time(), cx.run_number());
                    history.add(Entry::Started {
                        id: id.clone(),
                        nominal,
                        run,
                        boot,
                    });
                    let (history, clock) = (history.clone(), clock.clone());
                    let fails = name == "flaky" && cx.attempt() == 1;
                    let pause = (name != "quick").then(|| clock.sleep(SECOND * seconds));
                    async move {
                        if let Some(pause) = pause {
                            pause.await;
                        }
                        if fails {
                            history.add(Entry::Failed { id });
                            return Err("the first attempt fails");
                        }
                        history.add(Entry::Ended {
                            id,
                            nominal,
                            run,
                            boot,
                        });
                        Ok(())
                    }
                })
                .retry(Backoff::fixed(2, SECOND * 3))
                .durable()
                .register()
                .unwrap()
        });
        Process { sim, tasks }
    }

    fn show(&self, what: impl FnOnce() -> String) {
        if self.is_shown {
            println!(
                "{:>6} s, boot {}: {}",
                self.clock.elapsed().as_secs(),
                self.boots,
                what()
            );
        }
    }

    /// The id of a job so far, or a new one.
    fn some_id(&mut self) -> String {
        if self.names > 0 && self.rng.bool() {
            format!("j{}", self.rng.u64(..self.names))
        } else {
            self.names += 1;
            format!("j{}", self.names - 1)
        }
    }

    fn schedule(&mut self, process: &Process) {
        let task = &process.tasks[self.rng.usize(..3)];
        let id = self.some_id();
        let is_replacement = self.rng.u8(..4) == 0;
        let seconds = self.rng.u64(..40);
        let mut schedule = task.schedule(self.rng.u32(1..8)).id(id.as_str());
        if is_replacement {
            schedule = schedule.replace_any();
            // The earlier promise does not hold, whether the replacement succeeds or not.
            self.history.add(Entry::TakenBack { id: id.clone() });
        }
        let all = |schedule: jobber::Schedule<u32, ()>| schedule.misfire(Misfire::All(u32::MAX));
        let kind = self.rng.u8(..5);
        let submit = match kind {
            0 => schedule.push(),
            1 => schedule.delay(SECOND * seconds as u32),
            2 => schedule.at(process.sim.clock().elapsed_wall() + SECOND * seconds as u32),
            3 => all(schedule).every(SECOND * (seconds as u32 + 1)),
            _ => all(schedule).cron("*/20 * * * * * *"),
        };
        let result = submit.block_on();
        self.show(|| format!("schedule {id} ({kind}, replace: {is_replacement}): {result:?}"));
        match result {
            Ok(job) => self.history.add(Entry::Promised {
                id,
                nominal: (job.status() == JobStatus::Scheduled && !(is_replacement && kind >= 3))
                    .then(|| job.exec_at()),
                recurs: kind >= 3,
            }),
            // After a torn commit this is unknown until the next commit succeeds.
            Err(ScheduleError::Storage(_)) if is_replacement => {
                self.history.add(Entry::Maybe { id });
            }
            Err(ScheduleError::Storage(StorageError::Other(_))) => {
                self.history.add(Entry::Maybe { id });
            }
            Err(ScheduleError::DuplicateJob { .. } | ScheduleError::JobEnding { .. }) => {
                if is_replacement {
                    self.history.add(Entry::Maybe { id });
                }
            }
            Err(ScheduleError::Storage(_)) => self.history.add(Entry::Refused { id }),
            Err(error) => panic!("{error}: {:?}", process.sim.app().unresolved()),
        }
    }

    fn cancel(&mut self, process: &Process) {
        let id = self.some_id();
        let Some(job) = process.sim.app().find_job(id.as_str()) else {
            return;
        };
        self.history.add(Entry::TakenBack { id: id.clone() });
        let is_abort = self.rng.bool();
        let cancel = if is_abort { job.abort() } else { job.cancel() };
        let result = cancel.block_on();
        self.show(|| format!("cancel {id} (abort: {is_abort}): {result:?}"));
        match result {
            Ok(CancelOutcome::AlreadyDone) => self.history.add(Entry::Maybe { id }),
            Ok(_) => self.history.add(Entry::Cancelled { id, is_abort }),
            // The job is cancelled in this process; what the next process finds is unknown.
            Err(_) => {
                if is_abort {
                    self.history.add(Entry::Failed { id: id.clone() });
                }
                self.history.add(Entry::Maybe { id });
            }
        }
    }

    fn crash(&mut self, process: Process) -> Process {
        let unstored = process.sim.app().health().unstored() > 0;
        self.show(|| format!("crash, unstored: {unstored}"));
        self.history.add(Entry::Crashed { unstored });
        process.sim.crash();
        self.boot()
    }

    fn shut_down(&mut self, mut process: Process) -> Process {
        let grace = SECOND * self.rng.u32(..5);
        let left = process.sim.shutdown(grace);
        self.show(|| format!("shut down, left running: {left:?}"));
        // Attempts that were left running, and ends that could not be stored, come again.
        let unstored = process.sim.app().health().unstored() > 0;
        self.history.add(Entry::Crashed { unstored });
        drop(process);
        self.boot()
    }

    fn run(&mut self) {
        let mut process = self.boot();
        for _ in 0..self.rng.usize(20..80) {
            match self.rng.u8(..20) {
                0..8 => self.schedule(&process),
                8..11 => self.cancel(&process),
                11..16 => {
                    let by = Duration::from_millis(self.rng.u64(..15_000));
                    process.sim.advance(by);
                }
                16 => process = self.crash(process),
                17 => process = self.shut_down(process),
                18 => {
                    let by = Duration::from_secs(self.rng.u64(..60));
                    process = self.crash(process);
                    self.clock.advance(by);
                }
                _ => {
                    let faults = FaultSchedule {
                        bad: *self.rng.choice(&[0, 0, 1, 3, 5]).unwrap(),
                        dies: self.rng.u8(..4) == 0,
                    };
                    self.show(|| format!("{faults:?}"));
                    self.set_faults(faults);
                }
            }
        }
        // In the end there are no faults, and each promised run becomes due.
        self.set_faults(FAULTS_OFF);
        let mut process = self.crash(process);
        process.sim.advance(SECOND * 200);
        process.sim.crash();
    }
}

/// The wall time of a clock that is never set.
trait ElapsedWall {
    fn elapsed_wall(&self) -> OffsetDateTime;
}

impl ElapsedWall for ManualClock {
    fn elapsed_wall(&self) -> OffsetDateTime {
        jobber::Clock::wall(self)
    }
}

/// What the history says of one job so far.
#[derive(Default)]
struct Known {
    /// The first run that is promised.
    promised: Option<(usize, Option<OffsetDateTime>, bool)>,
    /// Cancelled or refused: none of its runs may start.
    is_barred: bool,
    /// Runs of the current process that have started and not ended.
    running: Vec<(OffsetDateTime, u64)>,
    /// The run during which the job was replaced.
    replaced: Vec<(OffsetDateTime, u64)>,
    /// Runs that ended, and whether they may start again because a crash lost their end.
    ended: BTreeMap<(OffsetDateTime, u64), bool>,
}

/// Returns what in the history must not have happened.
fn judge(history: &[Entry]) -> Result<(), String> {
    let mut jobs: BTreeMap<&str, Known> = BTreeMap::new();
    for (at, entry) in history.iter().enumerate() {
        match entry {
            Entry::Promised {
                id,
                nominal,
                recurs,
            } => {
                let job = jobs.entry(id).or_default();
                *job = Known {
                    promised: Some((at, *nominal, *recurs)),
                    replaced: job.running.clone(),
                    running: std::mem::take(&mut job.running),
                    ..Known::default()
                };
            }
            Entry::Maybe { id } | Entry::TakenBack { id } => {
                let job = jobs.entry(id).or_default();
                job.promised = None;
                job.is_barred = false;
                job.ended.clear();
            }
            Entry::Refused { id } => {
                let job = jobs.entry(id).or_default();
                job.promised = None;
                job.is_barred = true;
            }
            Entry::Cancelled { id, is_abort } => {
                let job = jobs.entry(id).or_default();
                job.promised = None;
                job.is_barred = true;
                if *is_abort {
                    job.running.clear();
                }
            }
            Entry::Started {
                id, nominal, run, ..
            } => {
                let job = jobs.entry(id).or_default();
                if job.is_barred && !job.running.contains(&(*nominal, *run)) {
                    return Err(format!("{id} starts at {at} after it was cancelled"));
                }
                if job.ended.get(&(*nominal, *run)) == Some(&false) {
                    return Err(format!("{id} runs again at {at}: {nominal} was over"));
                }
                if job
                    .running
                    .iter()
                    .any(|running| *running != (*nominal, *run))
                {
                    return Err(format!("{id} starts at {at} while another run goes on"));
                }
                job.running = vec![(*nominal, *run)];
            }
            Entry::Ended {
                id, nominal, run, ..
            } => {
                let job = jobs.entry(id).or_default();
                job.running.clear();
                if !job.replaced.contains(&(*nominal, *run)) {
                    job.ended.insert((*nominal, *run), false);
                }
            }
            Entry::Failed { id } => {
                jobs.entry(id).or_default().running.clear();
            }
            Entry::Crashed { unstored } => {
                for job in jobs.values_mut() {
                    job.running.clear();
                    if *unstored {
                        job.ended.values_mut().for_each(|may_come| *may_come = true);
                    }
                }
            }
        }
    }
    // Each promise that still holds was kept.
    for (id, job) in jobs {
        let Some((since, nominal, recurs)) = job.promised else {
            continue;
        };
        let runs: Vec<_> = job.ended.keys().collect();
        let first = runs.first().map(|(at, _)| *at);
        if first.is_none() || nominal.is_some_and(|nominal| first != Some(nominal)) {
            return Err(format!(
                "{id}, promised at {since}, has not run for {nominal:?}: {runs:?}"
            ));
        }
        if recurs {
            // The number of a run comes from the store, which may not have the end of the run
            // before; the times are exact.
            let mut times: Vec<_> = runs.iter().map(|(at, _)| *at).collect();
            times.dedup();
            let step = times.get(1).map(|next| *next - times[0]);
            let is_even = times.windows(2).all(|pair| Some(pair[1] - pair[0]) == step);
            if !is_even || times.len() < 2 || !runs.is_sorted_by_key(|(_, run)| *run) {
                return Err(format!(
                    "{id}, promised at {since}, has missed runs: {runs:?}"
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn scheduled_jobs_run_as_promised_although_the_store_and_the_power_fail() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("JOBBER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("JOBBER_SEEDS").unwrap_or(400),
    };
    for seed in seeds {
        let mut world = World::new(seed);
        // A panic is reported with its seed.
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
        assert!(run.is_ok(), "JOBBER_SEED={seed}: it panicked");
        let history = world.history.0.lock().unwrap().clone();
        if let Err(fault) = judge(&history) {
            for (at, entry) in history.iter().enumerate() {
                eprintln!("{at}: {entry:?}");
            }
            panic!("JOBBER_SEED={seed}: {fault}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..20 {
        let history = || {
            let mut world = World::new(seed);
            world.run();
            let history = world.history.0.lock().unwrap();
            format!("{history:?}")
        };
        assert!(history() == history(), "seed {seed}");
    }
}
