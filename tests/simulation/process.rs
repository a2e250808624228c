//! How processes begin, end, and follow one another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobber::testing::Simulation;
use jobber::{Clock, Job, JobStatus, JobberBuilder, StartError};

use time::OffsetDateTime;
use time::macros::datetime;

use super::calendar;
use super::fault_schedule::FaultSchedule;
use super::history::{Event, nanos};
use super::listener::Listener;
use super::plan::zone;
use super::program::{Begins, Commit, Next};
use super::stored::settle_store;
use super::tasks::{Tasks, now};
use super::waits::Waits;
use super::world::World;
use super::zone_rules;

/// Where a clock without a battery starts: 1970, but the model knows the zones from here on.
const UNSET: OffsetDateTime = datetime!(1999-11-15 0:00 UTC);

pub struct Process {
    pub sim: Simulation,
    pub tasks: Tasks,
    /// The task that this process lacks.
    pub lacks: Option<usize>,
    /// Every handle of this process.
    pub jobs: BTreeMap<String, Job<u64>>,
    /// Handles of finished jobs whose name another job has by now.
    pub old: Vec<(Job<u64>, JobStatus)>,
    /// Those that were reached.
    pub finals: BTreeMap<String, JobStatus>,
    pub phase: Phase,
    /// At some time.
    pub has_started: bool,
    /// The reader of its events.
    pub listener: Option<Listener>,
    /// The ends that a function of the program has seen.
    pub ends: Ends,
    /// The ends that it is still to see.
    pub awaited: Vec<(String, JobStatus)>,
}

/// The id and the status of each job that has ended.
pub type Ends = Arc<Mutex<Vec<(String, JobStatus)>>>;

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

impl World {
    pub fn boot(&mut self, begins: Begins, lacks: Option<u8>) {
        let storage = FaultSchedule::over(&self.faults, self.disk.clone());
        let boot = self.model.boot;
        let app = zone(self.model.app_name);
        let has_other_rules = self.model.has_other_rules;
        let exclusions = self.model.calendar.exclusions();
        // The functions change nothing that the model predicts. Processes without them have other
        // paths.
        let has_functions = exclusions.is_some() == boot.is_multiple_of(2);
        let ends = Ends::default();
        let seen = ends.clone();
        let configure = |builder: JobberBuilder| {
            let builder = match has_functions {
                true => builder
                    .around(|_, next| next.run())
                    .on_start(async |_| Ok(()))
                    .on_stop(async || {}),
                false => builder,
            };
            let builder = builder.on_end(move |end| {
                let end = (end.id.to_string(), end.status);
                seen.lock().unwrap().push(end);
            });
            // What has failed is kept for as long as the program goes.
            let builder = builder.keep_failed(u64::MAX, Duration::MAX);
            let mut builder = builder.storage(storage).zone(app);
            if has_other_rules {
                builder = builder.zone_database(zone_rules::database());
            }
            match exclusions {
                Some(exclusions) => builder.calendar(calendar::NAME, exclusions),
                None => builder,
            }
        };
        let clock = self.clock.clone();
        let is_at_once = begins == Begins::AtOnce;
        let sim = match is_at_once {
            true => Simulation::with(boot.into(), clock, configure),
            false => Simulation::unstarted(boot.into(), clock, configure),
        };
        let sim = sim.expect("it is a good app");
        self.note(Event::Up {
            zone: self.model.app_name,
            has_other_rules,
            calendar: self.model.calendar,
        });
        let lacks = lacks.map(usize::from);
        let tasks = Tasks::register(&sim, &self.history, (boot, has_functions), lacks);
        self.process = Some(Process {
            sim,
            tasks,
            lacks,
            jobs: BTreeMap::new(),
            old: Vec::new(),
            finals: BTreeMap::new(),
            phase: match is_at_once {
                true => Phase::Running,
                false => Phase::New,
            },
            has_started: is_at_once,
            listener: None,
            ends,
            awaited: Vec::new(),
        });
    }

    pub fn crash(&mut self) -> Result<(), String> {
        self.check_finals()?;
        self.note(Event::Down);
        let process = self.process.take().expect("there is always one");
        self.waits.let_go_of_app();
        process.sim.crash();
        self.waits.check(true, &self.history)?;
        self.waits = Waits::default();
        Ok(())
    }

    pub fn crash_and_go_on(&mut self, next: Next) -> Result<(), String> {
        self.crash()?;
        let down = Duration::from_millis(next.down_ms.into());
        self.clock.advance(down);
        // Without knowing that the clock is wrong, decades would be missed.
        if next.is_unset && self.clock.earliest_true_time().is_some() {
            let by = nanos(UNSET) - nanos(self.clock.wall());
            self.clock.set_wall(UNSET);
            self.history.add(now(&self.clock), Event::Stepped { by });
        }
        if next.step_ms != 0 {
            let by = time::Duration::milliseconds(next.step_ms.into());
            self.clock.set_wall(self.clock.wall() + by);
            let by = i64::from(next.step_ms) * 1_000_000;
            self.history.add(now(&self.clock), Event::Stepped { by });
        }
        // None of them, if the last process was not started.
        let mut left = std::mem::take(&mut self.model.jobs);
        self.model.left.append(&mut left);
        self.model.left.append(&mut self.model.unresolved);
        settle_store(&mut self.model.left, &self.disk.records())?;
        self.model.has_other_rules = next.has_other_rules;
        self.model.app_name = next.zone.unwrap_or(self.model.app_name);
        self.model.calendar = next.calendar.unwrap_or(self.model.calendar);
        self.model.boot += 1;
        self.boot(next.begins, next.lacks);
        match next.begins {
            Begins::AtOnce => self.take_up(),
            Begins::WithTasks => self.start([Commit::Works; 2]),
            Begins::Unstarted => Ok(()),
        }
    }

    pub fn start(&mut self, store: [Commit; 2]) -> Result<(), String> {
        let is_gone;
        let works = {
            let mut faults = self.faults.lock().unwrap();
            faults.opens = store.into();
            is_gone = faults.is_gone;
            !is_gone && store == [Commit::Works; 2]
        };
        let process = self.process();
        let is_new = process.phase == Phase::New;
        let result = process.sim.app().start().block_on();
        let has_opened = matches!(
            store[0],
            Commit::Works | Commit::Tears | Commit::TearsAndDies
        );
        let fits = match (&result, process.phase) {
            (Ok(()), Phase::New) => works,
            (Err(StartError::Storage(_)), Phase::New) => !works,
            (Err(StartError::AlreadyStarted), Phase::Running) => true,
            (Err(StartError::Stopped), Phase::Stopped) => true,
            _ => false,
        };
        if is_new && result.is_err() && has_opened && !is_gone {
            self.model.is_closed = false;
        }
        self.faults.lock().unwrap().opens.clear();
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

    /// The process has started, and has what its store had.
    fn take_up(&mut self) -> Result<(), String> {
        let records = self.disk.records();
        let found: Vec<_> = records
            .iter()
            .map(|record| record.id().to_string())
            .collect();
        self.meet_pauses();
        let lacks = self.process().lacks;
        self.model.boot(now(&self.clock), &found, lacks);
        self.meet_restored(found)
    }

    /// Takes the handles of the restored jobs.
    fn meet_restored(&mut self, ids: Vec<String>) -> Result<(), String> {
        for id in ids {
            if self.model.unresolved.contains_key(&id) {
                continue;
            }
            let task = self.model.jobs.get(&id).map(|job| job.task);
            let Some(task) = task else {
                return Err(format!("the store has {id}, and nobody knows it"));
            };
            let process = self.process();
            let job = process.tasks.job(task, &id);
            match job {
                Some(job) => {
                    process.jobs.insert(id.clone(), job);
                }
                // An attempt that must not be made again has failed.
                None if !self.model.jobs[&id].is_live() => continue,
                None => return Err(format!("{id} is stored, and was not taken up")),
            }
            self.note(Event::Restored { id });
        }
        Ok(())
    }

    /// Registers the missing task, which takes its stored jobs.
    pub fn register(&mut self) -> Result<(), String> {
        let process = self.process();
        let Some(lacks) = process.lacks.filter(|_| process.phase != Phase::Stopped) else {
            return Ok(());
        };
        process.lacks = None;
        process.tasks.add(&process.sim, lacks);
        let mut ids: Vec<_> = self.model.unresolved.keys().cloned().collect();
        self.meet_pauses();
        self.model.resolve();
        ids.retain(|id| !self.model.unresolved.contains_key(id));
        self.meet_restored(ids)
    }

    /// Discards a stored job that no task can run.
    pub fn discard(&mut self, id: &str) -> Result<(), String> {
        let process = self.process();
        if !process.is_running() {
            return Ok(());
        }
        let result = process.sim.app().discard(id).block_on();
        let is_there = self.model.unresolved.contains_key(id);
        if is_there {
            self.note(Event::TakenBack { id: id.into() });
        }
        self.note(Event::Seen(format!("{result:?}")));
        let may_fail = self.has_failed() || self.model.is_behind;
        match result {
            Ok(did) if did == is_there => {}
            Err(_) if is_there && may_fail => {}
            other => {
                return Err(format!(
                    "discarding {id} gave {other:?}, and not {is_there}"
                ));
            }
        }
        self.model.discard(id);
        Ok(())
    }

    pub fn shut_down(&mut self, grace_ms: u32) -> Result<(), String> {
        self.note(Event::Down);
        self.model.begin_stop();
        let before = self.clock.elapsed();
        let grace = Duration::from_millis(grace_ms.into());
        let process = self.process();
        let report = process.sim.shutdown(grace);
        process.phase = Phase::Stopped;
        if process.has_started {
            self.model.is_closed = !self.faults.lock().unwrap().is_gone;
        }
        let left: BTreeSet<_> = report.left.iter().map(ToString::to_string).collect();
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
            if job.unpredicted.is_none() && is_running != left.contains(&job.id) {
                return Err(format!(
                    "{} is {}, and left: {left:?}",
                    job.id,
                    job.status()
                ));
            }
        }
        self.waits.check(true, &self.history)
    }
}
