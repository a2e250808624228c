//! The world of a program: the clock, the disk, the process, and the model beside
//! it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{
    Clock, Job, JobStatus, JobberBuilder, MemoryStorage, ScheduleError, StartError, Task,
};

use super::check;
use super::history::{Event, History};
use super::listener::Listener;
use super::model::Model;
use super::plan::{start_time, zone};
use super::program::{Begins, Commit, Next, Op, Program};
use super::script::{Args, TASKS};
use super::tasks::{now, register};
use super::waits::{Waits, What};

/// As far as a step to the next thing goes: an hour.
const FARTHEST: i64 = 3_600_000_000_000;

/// What the disk does from here on.
#[derive(Default)]
struct Weather {
    /// Then, all is well.
    commits: VecDeque<Commit>,
    /// How it is opened, and read.
    opens: VecDeque<Commit>,
    /// How many have failed.
    failed: u64,
    /// This process will not see it again.
    is_gone: bool,
}

impl Weather {
    fn is_calm(&self) -> bool {
        !self.is_gone && self.commits.iter().all(|commit| *commit == Commit::Works)
    }

    /// What becomes of an operation.
    fn becomes(&mut self, is_commit: bool) -> Commit {
        let planned = match is_commit {
            true => &mut self.commits,
            false => &mut self.opens,
        };
        let commit = planned.pop_front().unwrap_or(Commit::Works);
        self.is_gone |= matches!(commit, Commit::Dies | Commit::TearsAndDies);
        self.failed += u64::from(self.is_gone || commit != Commit::Works);
        commit
    }
}

pub struct World {
    pub clock: ManualClock,
    pub disk: MemoryStorage,
    weather: Arc<Mutex<Weather>>,
    pub history: History,
    pub model: Model,
    pub process: Option<Process>,
    pub waits: Waits,
    /// What is due has run.
    pub is_settled: bool,
    /// The history so far is as it should be.
    pub checked: usize,
    /// How many commits had failed before this step.
    failed_before: u64,
    pub seen: Seen,
}

pub struct Process {
    pub sim: Simulation,
    pub tasks: Arc<Mutex<Vec<Task<Args, u64>>>>,
    /// All that were ever seen of this process.
    pub jobs: BTreeMap<String, Job<u64>>,
    /// Those of them whose name another has by now, and which are done.
    pub old: Vec<(Job<u64>, JobStatus)>,
    /// Those that were reached.
    pub finals: BTreeMap<String, JobStatus>,
    pub phase: Phase,
    /// At some time.
    pub has_started: bool,
    /// Who reads its events.
    pub listener: Option<Listener>,
}

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    New,
    Running,
    Stopped,
}

impl Process {
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }
}

/// How closely the app was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Live jobs, each at each step.
    pub jobs: u64,
    /// Those of them that were followed, and not foreseen.
    pub loose: u64,
}

/// A program's history, and what is wrong with it, if anything.
pub struct Verdict {
    pub history: History,
    pub seen: Seen,
    pub fault: Option<String>,
}

/// Runs a program beside its model, to its end.
pub fn run(program: &Program) -> Verdict {
    let mut world = World::new(program);
    let history = world.history.clone();
    let mut seen = Seen::default();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.run(program)?;
        seen = world.seen;
        drop(world);
        super::oracle::judge(&history.since(0))?;
        match Args::live() {
            0 => Ok(()),
            left => Err(format!("{left} arguments are left when all is over")),
        }
    }));
    let fault = match result {
        Ok(result) => result.err(),
        Err(panic) => Some(match panic.downcast_ref::<String>() {
            Some(text) => format!("it panicked: {text}"),
            None => "it panicked".into(),
        }),
    };
    Args::forget();
    Verdict {
        history,
        seen,
        fault,
    }
}

impl World {
    fn new(program: &Program) -> Self {
        let mut world = Self {
            clock: ManualClock::at(start_time(program.start)),
            disk: MemoryStorage::new(),
            weather: Arc::default(),
            history: History::default(),
            model: Model::default(),
            process: None,
            waits: Waits::default(),
            is_settled: false,
            checked: 0,
            failed_before: 0,
            seen: Seen::default(),
        };
        world.model.now = now(&world.clock);
        world.model.app = program.start;
        world.boot(Begins::AtOnce);
        world
    }

    pub fn note(&self, event: Event) {
        self.history.add(now(&self.clock), event);
    }

    /// Whether the store may fail, or has failed and has not caught up.
    pub fn is_stormy(&self) -> bool {
        let is_calm = self.weather.lock().unwrap().is_calm();
        !is_calm || !self.is_healthy()
    }

    /// Whether a commit has failed in this step.
    pub fn has_failed(&self) -> bool {
        self.weather.lock().unwrap().failed > self.failed_before
    }

    pub fn is_healthy(&self) -> bool {
        let health = self
            .process
            .as_ref()
            .map(|process| process.sim.app().health());
        health.is_none_or(|health| health.storage_error.is_none() && health.unstored == 0)
    }

    fn run(&mut self, program: &Program) -> Result<(), String> {
        for (at, op) in program.ops.iter().enumerate() {
            self.note(Event::Op(format!("{at}: {op:?}")));
            self.step(*op)?;
        }
        self.finish()
    }

    /// In the end all is well, and all that is live comes to its end.
    fn finish(&mut self) -> Result<(), String> {
        self.note(Event::Op("the end".into()));
        self.step(Op::Store {
            commits: [Commit::Works; 4],
            times: 1,
        })?;
        self.step(Op::Crash {
            next: Next::default(),
        })?;
        self.step(Op::Advance { ms: 100_000 })?;
        for _ in 0..2 {
            let live: Vec<_> = self
                .model
                .jobs
                .values()
                .filter(|job| job.is_live())
                .collect();
            let ids: Vec<_> = live.into_iter().map(|job| job.id.clone()).collect();
            for id in ids {
                self.end_one(&id, true)?;
                self.check()?;
            }
        }
        self.step(Op::Run)?;
        let process = self
            .process
            .as_mut()
            .expect("it is there until it is dropped");
        let health = process.sim.app().health();
        if !health.is_good() {
            return Err(format!("in the end there is {health:?}"));
        }
        let left = process.sim.app().jobs();
        if !left.is_empty() || !self.disk.records().is_empty() {
            return Err(format!(
                "left in the end: {left:?}, {:?}",
                self.disk.records()
            ));
        }
        if !process.sim.shutdown(Duration::ZERO).is_empty() {
            return Err("something runs in the end".into());
        }
        process.phase = Phase::Stopped;
        self.note(Event::Down);
        self.waits.check(true)?;
        self.check_finals()
    }

    fn step(&mut self, op: Op) -> Result<(), String> {
        self.begin_step();
        let is_stopped = !self.process().is_running();
        let is_shut = self.process().phase == Phase::Stopped;
        match op {
            Op::Schedule { .. } => self.schedule(op)?,
            Op::Cancel { name } => self.end_one(&name_of(name), false)?,
            Op::Abort { name } => self.end_one(&name_of(name), true)?,
            Op::Wait { name } => self.wait(name, What::End)?,
            Op::WaitLong { name } => self.wait(name, What::EndAtLast)?,
            Op::Result { name } => self.wait(name, What::Result)?,
            Op::NextRun { name } => self.wait(name, What::NextRun)?,
            Op::WaitAll => {
                let app = self.process().sim.app().clone();
                self.waits.begin_all(app, is_stopped);
            }
            Op::Listen if is_stopped => {}
            Op::Listen => {
                let process = self.process();
                process.listener = Some(Listener::new(process.sim.app()));
            }
            Op::Unwait => self.waits.drop_first(),
            Op::Run if is_stopped => {}
            Op::Run => {
                self.is_settled = true;
                self.process().sim.run_until_stalled();
            }
            Op::Advance { ms } => self.advance(Duration::from_millis(ms.into()))?,
            Op::AdvanceToNext => {
                let next = self.model.next_event();
                let by = next.map_or(1_000, |next| next - self.model.now.mono);
                let by = by.min(FARTHEST);
                if by > 0 {
                    self.advance(Duration::from_nanos(by as u64 - 1))?;
                    self.check()?;
                    self.begin_step();
                    self.advance(Duration::from_nanos(1))?;
                } else {
                    self.advance(Duration::ZERO)?;
                }
            }
            Op::StepWall { ms } => self.step_wall(ms),
            Op::Store { commits, times } => {
                if commits != [Commit::Works; 4] {
                    self.note(Event::Storm);
                }
                let mut weather = self.weather.lock().unwrap();
                weather.commits = commits.repeat(times.into()).into();
            }
            Op::Crash { next } => self.crash_and_go_on(next)?,
            Op::Shutdown { .. } if is_shut => {}
            Op::Shutdown { grace_ms } => self.shut_down(grace_ms)?,
            Op::Boot { next } if is_shut => self.crash_and_go_on(next)?,
            Op::Boot { .. } => {}
            Op::Restart { grace_ms, next } => {
                if !is_shut {
                    self.shut_down(grace_ms)?;
                    self.check()?;
                    self.begin_step();
                }
                self.crash_and_go_on(next)?;
            }
            Op::Start { store } => self.start(store)?,
        }
        self.check()?;
        if self.model.is_stormy && !self.is_stormy() {
            self.note(Event::Calm);
        }
        Ok(())
    }

    fn begin_step(&mut self) {
        self.model.is_stormy = self.is_stormy();
        self.model.is_behind = !self.is_healthy();
        self.failed_before = self.weather.lock().unwrap().failed;
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("there is always one")
    }

    fn advance(&mut self, by: Duration) -> Result<(), String> {
        let target = self.clock.elapsed() + by;
        if !self.process().is_running() {
            self.clock.advance(by);
            return Ok(());
        }
        // What is drawn at random is read before it is time.
        while self.model.is_random()
            && let Some(next) = self.model.next_event()
            && let next = Duration::from_nanos(next as u64)
            && (self.clock.elapsed()..target).contains(&next)
        {
            self.advance_to(next);
            self.check()?;
            self.begin_step();
        }
        self.advance_to(target);
        Ok(())
    }

    fn advance_to(&mut self, target: Duration) {
        self.is_settled = true;
        let by = target - self.clock.elapsed();
        self.process().sim.advance(by);
    }

    fn step_wall(&mut self, ms: i32) {
        let by = time::Duration::milliseconds(ms.into());
        let to = self.clock.wall() + by;
        let by = i64::from(ms) * 1_000_000;
        self.model.step_wall(by);
        self.history.add(self.model.now, Event::Stepped { by });
        let process = self.process.as_mut().expect("there is always one");
        match process.phase {
            Phase::Stopped => self.clock.set_wall(to),
            Phase::New | Phase::Running => {
                self.is_settled = process.is_running();
                process.sim.set_wall(to);
            }
        }
    }

    fn boot(&mut self, begins: Begins) {
        let weather = self.weather.clone();
        let plan = move |operation: &Operation<'_>| {
            let is_commit = matches!(operation, Operation::Commit(_));
            let becomes = weather.lock().unwrap().becomes(is_commit);
            match becomes {
                Commit::Works => Fault::None,
                Commit::Fails => Fault::Fail,
                Commit::Tears => Fault::Tear,
                // One that no panic hook hears of.
                Commit::Panics => std::panic::resume_unwind(Box::new("a planned one")),
                Commit::Dies => Fault::Die,
                Commit::TearsAndDies => Fault::TearAndDie,
            }
        };
        self.weather.lock().unwrap().is_gone = false;
        let storage = FaultyStorage::new(self.disk.clone(), plan);
        let boot = self.model.boot;
        let app = zone(self.model.app);
        let configure = |builder: JobberBuilder| builder.storage(storage).zone(app);
        let clock = self.clock.clone();
        let is_at_once = begins == Begins::AtOnce;
        let sim = match is_at_once {
            true => Simulation::with(boot.into(), clock, configure),
            false => Simulation::unstarted(boot.into(), clock, configure),
        };
        let sim = sim.expect("it is a good app");
        self.note(Event::Up {
            zone: self.model.app,
        });
        let tasks = register(&sim, &self.history, boot);
        self.process = Some(Process {
            sim,
            tasks,
            jobs: BTreeMap::new(),
            old: Vec::new(),
            finals: BTreeMap::new(),
            phase: match is_at_once {
                true => Phase::Running,
                false => Phase::New,
            },
            has_started: is_at_once,
            listener: None,
        });
    }

    fn crash(&mut self) -> Result<(), String> {
        self.check_finals()?;
        self.note(Event::Down);
        let process = self.process.take().expect("there is always one");
        self.waits.let_go_of_app();
        process.sim.crash();
        self.waits.check(true)?;
        self.waits = Waits::default();
        Ok(())
    }

    fn crash_and_go_on(&mut self, next: Next) -> Result<(), String> {
        self.crash()?;
        let down = Duration::from_millis(next.down_ms.into());
        self.clock.advance(down);
        // None of them, if the last process was not started.
        let mut left = std::mem::take(&mut self.model.jobs);
        self.model.left.append(&mut left);
        super::stored::settle_store(&mut self.model.left, &self.disk.records())?;
        self.model.app = next.zone.unwrap_or(self.model.app);
        self.model.boot += 1;
        self.boot(next.begins);
        match next.begins {
            Begins::AtOnce => self.take_up(),
            Begins::WithTasks => self.start([Commit::Works; 2]),
            Begins::Unstarted => Ok(()),
        }
    }

    fn start(&mut self, store: [Commit; 2]) -> Result<(), String> {
        let works = {
            let mut weather = self.weather.lock().unwrap();
            weather.opens = store.into();
            !weather.is_gone && store == [Commit::Works; 2]
        };
        let process = self.process();
        let result = process.sim.app().start().wait_blocking();
        let fits = match (&result, process.phase) {
            (Ok(()), Phase::New) => works,
            (Err(StartError::Storage(_)), Phase::New) => !works,
            (Err(StartError::AlreadyStarted), Phase::Running) => true,
            (Err(StartError::Stopped), Phase::Stopped) => true,
            _ => false,
        };
        self.weather.lock().unwrap().opens.clear();
        if !fits {
            return Err(format!("the start gave {result:?}"));
        }
        self.note(Event::Seen(format!("{result:?}")));
        if result.is_err() {
            return Ok(());
        }
        let process = self.process();
        process.phase = Phase::Running;
        process.has_started = true;
        self.take_up()
    }

    fn wait(&mut self, name: u8, what: What) -> Result<(), String> {
        match self.process().jobs.get(&name_of(name)).cloned() {
            Some(job) => self.waits.begin(job, what),
            None => Ok(()),
        }
    }

    /// The process has started, and has what its store had.
    fn take_up(&mut self) -> Result<(), String> {
        let records = self.disk.records();
        let found: Vec<_> = records.iter().map(|record| record.id.to_string()).collect();
        self.model.boot(now(&self.clock), &found);
        for id in found {
            let task = self.model.jobs.get(&id).map(|job| job.task);
            let Some(task) = task else {
                return Err(format!("the store has {id}, and nobody knows it"));
            };
            let process = self.process();
            let job = process.tasks.lock().unwrap()[task].job(id.as_str());
            match job {
                Some(job) => {
                    process.jobs.insert(id.clone(), job);
                }
                // An attempt that must not be made again has failed.
                None if !self.model.jobs[&id].is_live() => {}
                None => return Err(format!("{id} is stored, and was not taken up")),
            }
            self.note(Event::Restored { id });
        }
        Ok(())
    }

    fn shut_down(&mut self, grace_ms: u32) -> Result<(), String> {
        self.note(Event::Down);
        self.model.begin_stop();
        let before = self.clock.elapsed();
        let grace = Duration::from_millis(grace_ms.into());
        let process = self.process();
        let left = process.sim.shutdown(grace);
        process.phase = Phase::Stopped;
        let left: BTreeSet<_> = left.into_iter().map(|(id, _)| id.to_string()).collect();
        let took = self.clock.elapsed() - before;
        if took > grace || took < grace && !left.is_empty() {
            return Err(format!(
                "the shutdown took {took:?} of {grace:?}, and left {left:?}"
            ));
        }
        self.note(Event::Seen(format!("left running: {left:?}")));
        self.model.advance(now(&self.clock).mono);
        for job in self.model.jobs.values() {
            let is_running = job.status() == JobStatus::Running;
            if job.loose.is_none() && is_running != left.contains(&job.id) {
                return Err(format!(
                    "{} is {}, and left: {left:?}",
                    job.id,
                    job.status()
                ));
            }
        }
        self.waits.check(true)
    }

    /// Cancels or aborts.
    fn end_one(&mut self, id: &str, is_abort: bool) -> Result<(), String> {
        let process = self.process();
        // One that is done is asked, too, by whoever holds it.
        let Some(job) = process.jobs.get(id).cloned() else {
            return Ok(());
        };
        if !process.is_running() && !job.is_done() {
            return Ok(());
        }
        self.begin_step();
        self.note(Event::TakenBack { id: id.into() });
        let cancel = if is_abort { job.abort() } else { job.cancel() };
        let result = cancel.wait_blocking();
        self.note(Event::Seen(format!("abort: {is_abort}: {result:?}")));
        self.model.has_failed = self.has_failed();
        check::ended_one(&mut self.model, id, is_abort, result)
    }

    fn schedule(&mut self, op: Op) -> Result<(), String> {
        let Op::Schedule {
            task,
            name,
            replace,
            in_memory,
            zone,
            script,
            when,
        } = op
        else {
            return Ok(());
        };
        let task_at = usize::from(task);
        // What is torn while it is stored could not be told by an id that the app
        // made up.
        let is_kept = TASKS[task_at].durable;
        let id = name
            .map(name_of)
            .or_else(|| is_kept.then(|| format!("k{}", self.history.len())));
        if replace && let Some(id) = &id {
            self.note(Event::TakenBack { id: id.clone() });
        }
        let task = self.process().tasks.lock().unwrap()[task_at].clone();
        let taken = id.clone();
        let request = super::submit::Request {
            id,
            replace: replace && name.is_some(),
            in_memory,
            zone,
            task: task_at,
            script,
            when,
        };
        let result = request.submit(&task, &self.clock);
        if let (Err(error), true, Some(id)) = (&result, replace, taken) {
            let is_torn = matches!(error, ScheduleError::Storage(_));
            self.note(Event::GivenBack { id, is_torn });
        }
        let text = match &result {
            Ok(job) => format!("{} is {}", job.id(), job.status()),
            Err(error) => error.to_string(),
        };
        self.note(Event::Seen(text));
        match (&result, self.process().phase) {
            (_, Phase::Running) => {}
            (Err(ScheduleError::NotStarted), Phase::New) => return Ok(()),
            (Err(ScheduleError::Stopped), Phase::Stopped) => return Ok(()),
            (_, phase) => return Err(format!("scheduled on an app that is {phase:?}")),
        }
        let since = self.history.len();
        self.model.has_failed = self.has_failed();
        let promise = request.judge(&mut self.model, result.as_ref(), since)?;
        if let Ok(job) = result {
            let id = job.id().to_string();
            let old = self.process().jobs.insert(id, job);
            if let Some(old) = old.filter(|old| old.is_done()) {
                let id = old.id().to_string();
                let status = old.status();
                self.process().finals.remove(&id);
                self.process().old.push((old, status));
            }
        }
        if let Some(event) = promise {
            self.note(event);
        }
        Ok(())
    }
}

/// The id of this name.
pub fn name_of(name: u8) -> String {
    format!("j{name}")
}
