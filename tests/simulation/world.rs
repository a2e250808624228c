//! The world of a program: the clock, the disk, the process, and the model beside
//! it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobber::testing::ManualClock;
use jobber::{Clock, MemoryStorage, ScheduleError};

use super::calendar::Calendar;
use super::check;
use super::fault_schedule::FaultSchedule;
use super::history::{Event, History};
use super::listener::Listener;
use super::model::Model;
use super::plan::start_time;
use super::process::{Phase, Process};
use super::program::{Begins, Commit, Next, Op, Program};
use super::script::{Args, TASKS};
use super::tasks::now;
use super::waits::{Waits, What};

/// As far as a step to the next thing goes: an hour.
const FARTHEST: i64 = 3_600_000_000_000;

pub struct World {
    pub clock: ManualClock,
    pub disk: MemoryStorage,
    pub faults: Arc<Mutex<FaultSchedule>>,
    pub history: History,
    pub model: Model,
    pub process: Option<Process>,
    pub waits: Waits,
    /// Everything that is due has run.
    pub is_settled: bool,
    /// The history so far obeys the rules.
    pub checked: usize,
    /// How many commits had failed before this step.
    failed_before: u64,
    /// The store works since then.
    faults_off_since: Option<Duration>,
    /// The history says that the store may fail.
    are_faults_known: bool,
    pub seen: Seen,
}

/// How much of the app was checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Live jobs, each at each step.
    pub jobs: u64,
    /// How many of those checks were without a prediction.
    pub unpredicted: u64,
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
        super::checkpoints::judge(&history.since(0))?;
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
        let start = start_time(program.start);
        let clock = ManualClock::at(start);
        let earliest = start - time::Duration::days(30);
        let clock = match program.has_earliest {
            true => clock.with_earliest_true_time(earliest),
            false => clock,
        };
        let mut world = Self {
            clock,
            disk: MemoryStorage::new(),
            faults: Arc::default(),
            history: History::default(),
            model: Model::default(),
            process: None,
            waits: Waits::default(),
            is_settled: false,
            checked: 0,
            failed_before: 0,
            faults_off_since: None,
            are_faults_known: false,
            seen: Seen::default(),
        };
        world.model.now = now(&world.clock);
        world.model.told_offset = Some(world.model.now.wall - world.model.now.mono);
        world.model.true_offset = world.model.now.wall - world.model.now.mono;
        world.model.app_name = program.start;
        world.model.calendar = program.calendar;
        world.boot(Begins::AtOnce, None);
        world
    }

    pub fn note(&self, event: Event) {
        self.history.add(now(&self.clock), event);
    }

    /// Whether the store may fail, or has failed and has not caught up.
    pub fn has_faults(&self) -> bool {
        let is_off = self.faults.lock().unwrap().is_off();
        !is_off || !self.is_healthy()
    }

    /// A store that works again is retried within ten seconds.
    pub fn check_health(&mut self) -> Result<(), String> {
        let now = self.clock.elapsed();
        if !self.faults.lock().unwrap().is_off() || self.has_failed() {
            self.faults_off_since = None;
            return Ok(());
        }
        let since = *self.faults_off_since.get_or_insert(now);
        let process = self.process.as_ref().expect("there is always one");
        match process.sim.app().health().unstored() {
            unstored @ 1.. if now > since + Duration::from_secs(10) => Err(format!(
                "{unstored} changes are not stored, and the store works since {since:?}"
            )),
            _ => Ok(()),
        }
    }

    /// Whether a commit has failed in this step.
    pub fn has_failed(&self) -> bool {
        self.faults.lock().unwrap().failed > self.failed_before
    }

    pub fn is_healthy(&self) -> bool {
        let health = self
            .process
            .as_ref()
            .map(|process| process.sim.app().health());
        health.is_none_or(|health| health.storage_error().is_none() && health.unstored() == 0)
    }

    fn run(&mut self, program: &Program) -> Result<(), String> {
        for (at, op) in program.ops.iter().enumerate() {
            self.note(Event::Op(format!("{at}: {op:?}")));
            self.step(*op)?;
        }
        self.finish()
    }

    /// In the end there are no faults, and every live job ends.
    fn finish(&mut self) -> Result<(), String> {
        self.note(Event::Op("the end".into()));
        self.step(Op::Store {
            commits: [Commit::Works; 4],
            times: 1,
        })?;
        self.step(Op::SetRight)?;
        self.step(Op::Crash {
            next: Next {
                // There is one, so that all jobs are resolved.
                calendar: Some(Calendar::default()),
                ..Next::default()
            },
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
        if health.to_string() != "healthy" {
            return Err(format!("in the end there is {health:?}"));
        }
        let left = process.sim.app().jobs();
        if !left.is_empty() || !self.disk.records().is_empty() {
            return Err(format!(
                "left in the end: {left:?}, {:?}",
                self.disk.records()
            ));
        }
        if !process.sim.shutdown(Duration::ZERO).is_complete() {
            return Err("something runs in the end".into());
        }
        process.phase = Phase::Stopped;
        self.note(Event::Down);
        self.waits.check(true, &self.history)?;
        self.check_finals()
    }

    fn step(&mut self, op: Op) -> Result<(), String> {
        self.begin_step();
        let is_stopped = !self.process().is_running();
        let is_shut = self.process().phase == Phase::Stopped;
        match op {
            Op::Schedule { .. } => self.schedule(op)?,
            Op::PauseAll { task, to } => self.pause_all(task.map(usize::from), to)?,
            Op::Steer { name, how } => self.steer(&name_of(name), how)?,
            Op::Cancel { name } => self.end_one(&name_of(name), false)?,
            Op::Abort { name } => self.end_one(&name_of(name), true)?,
            Op::Wait { name } => self.wait(name, What::End)?,
            Op::WaitLong { name } => self.wait(name, What::EndAtLast)?,
            Op::Result { name } => self.wait(name, What::Result)?,
            Op::NextRun { name } => self.wait(name, What::NextRun)?,
            Op::WaitAll => {
                let app = self.process().sim.app().clone();
                self.waits.begin_all(app, is_stopped, &self.history);
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
            Op::StepWall { ms } => self.step_wall(i64::from(ms) * 1_000_000),
            Op::SetRight => {
                let now = self.model.now;
                self.step_wall(self.model.true_offset - (now.wall - now.mono));
            }
            Op::Suspend { ms } => self.suspend(ms),
            Op::Store { commits, times } => {
                if commits != [Commit::Works; 4] {
                    self.note(Event::FaultsOn);
                    self.are_faults_known = true;
                }
                self.faults_off_since = None;
                let mut faults = self.faults.lock().unwrap();
                faults.commits = commits.repeat(times.into()).into();
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
            Op::Register => self.register()?,
            Op::Discard { name } => self.discard(&name_of(name))?,
            Op::Start { store } => self.start(store)?,
        }
        self.check()?;
        let has_run = matches!(
            op,
            Op::Run
                | Op::Advance { .. }
                | Op::AdvanceToNext
                | Op::StepWall { .. }
                | Op::Suspend { .. }
        );
        // What waited for the store has gone on.
        if self.are_faults_known && has_run && !is_stopped && !self.has_faults() {
            self.are_faults_known = false;
            self.note(Event::FaultsOff);
        }
        Ok(())
    }

    fn begin_step(&mut self) {
        self.model.has_faults = self.has_faults();
        self.model.is_behind = !self.is_healthy();
        self.failed_before = self.faults.lock().unwrap().failed;
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

    fn step_wall(&mut self, by: i64) {
        let to = self.clock.wall() + time::Duration::nanoseconds(by);
        let is_running = self.process().is_running();
        self.model.step_wall(by, is_running);
        self.history.add(self.model.now, Event::Stepped { by });
        let process = self.process.as_mut().expect("there is always one");
        match process.is_running() {
            false => self.clock.set_wall(to),
            true => {
                self.is_settled = true;
                process.sim.set_wall(to);
            }
        }
    }

    /// The monotonic clock stands still, and the wall clock does not.
    fn suspend(&mut self, ms: u32) {
        let by = i64::from(ms) * 1_000_000;
        let is_running = self.process().is_running();
        if is_running {
            self.model.slept += by;
        }
        self.model.step_wall(by, is_running);
        self.history.add(self.model.now, Event::Stepped { by });
        let duration = Duration::from_millis(ms.into());
        let process = self.process.as_mut().expect("there is always one");
        match process.is_running() {
            false => self.clock.suspend(duration),
            true => {
                self.is_settled = true;
                process.sim.suspend(duration);
            }
        }
    }

    fn wait(&mut self, name: u8, what: What) -> Result<(), String> {
        match self.process().jobs.get(&name_of(name)).cloned() {
            Some(job) => self.waits.begin(job, what, &self.history),
            None => Ok(()),
        }
    }

    /// Cancels or aborts.
    fn end_one(&mut self, id: &str, is_abort: bool) -> Result<(), String> {
        let process = self.process();
        // A finished job is cancelled through its handle, too.
        let Some(job) = process.jobs.get(id).cloned() else {
            return Ok(());
        };
        if !process.is_running() && !job.is_done() {
            return Ok(());
        }
        self.begin_step();
        self.note(Event::TakenBack { id: id.into() });
        let cancel = if is_abort { job.abort() } else { job.cancel() };
        let result = cancel.block_on();
        self.note(Event::Seen(format!("abort: {is_abort}: {result:?}")));
        if result.as_ref().is_ok_and(|outcome| outcome.took_effect()) {
            self.note(Event::Over { id: id.into() });
        }
        self.model.has_failed = self.has_failed();
        check::ended_one(&mut self.model, id, is_abort, result)
    }

    fn schedule(&mut self, op: Op) -> Result<(), String> {
        let Op::Schedule {
            task,
            name,
            replace,
            any_kind,
            in_memory,
            zone,
            script,
            when,
            expires_ms,
            paused,
        } = op
        else {
            return Ok(());
        };
        let task_at = usize::from(task);
        let Some(task) = self.process().tasks.get(task_at) else {
            return Ok(());
        };
        // After a torn commit, a generated id could not be known.
        let is_kept = TASKS[task_at].durable;
        let id = name
            .map(name_of)
            .or_else(|| is_kept.then(|| format!("k{}", self.history.len())));
        if replace && let Some(id) = &id {
            self.note(Event::TakenBack { id: id.clone() });
        }
        let taken = id.clone();
        let request = super::submit::Request {
            id,
            replace: replace && name.is_some(),
            any_kind,
            in_memory,
            zone,
            task: task_at,
            script,
            when,
            expires_ms,
            paused,
        };
        let process = (self.model.app(), self.model.has_other_rules);
        let result = request.submit(&task, &self.clock, process);
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
            // The options are checked first.
            (Err(ScheduleError::NeverDue { .. } | ScheduleError::UnknownCalendar { .. }), _) => {
                return Ok(());
            }
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
