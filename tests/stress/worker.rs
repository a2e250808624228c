//! A thread that uses an app: how it schedules and waits. What it does when is in
//! `steps.rs`.

use std::future::IntoFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use jobber::{Job, JobStatus, Jobber, Misfire, Overlap, ScheduleError, Task};
use smol::block_on;
use smol::future::{poll_once, zip};

use super::executors::Kind;
use super::slots::{Arg, Slots, Value, fault};
use super::tasks::{RoundClock, Tasks};
use super::watch::Place;

pub const HOUR: Duration = Duration::from_secs(3_600);

/// What the workers of a round share.
pub struct Round {
    pub kind: Kind,
    pub clock: RoundClock,
    pub slots: Arc<Slots>,
    pub tasks: Tasks,
    /// The app is not stopped before this is dropped.
    pub in_peace: AtomicBool,
    /// What its end cuts off in a store is made again.
    pub may_repeat: bool,
    /// Its store fails now and then.
    pub store_fails: bool,
    /// Set before the app is stopped.
    pub is_stopping: AtomicBool,
    pub steps: AtomicUsize,
    /// A job of anybody's, for another one to wait for.
    pub left: Mutex<Option<Job<Value>>>,
    /// The slots of jobs without a handle, which have to run.
    pub forgotten: Mutex<Vec<usize>>,
    pub strangers: Arc<Strangers>,
}

/// Stored jobs of a task that the app does not know, or that are set aside, by their numbers,
/// and how often each was discarded.
#[derive(Default)]
pub struct Strangers(pub [AtomicU32; 8]);

impl Strangers {
    pub fn id(number: usize) -> String {
        format!("stranger {number}")
    }

    /// Whether it has interrupted too many processes. Otherwise its task is unknown.
    pub fn is_set_aside(number: usize) -> bool {
        number.is_multiple_of(2)
    }
}

impl Round {
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }
}

/// A job that is looked at again when all is over.
pub struct Kept {
    pub job: Job<Value>,
    pub slot: usize,
    pub is_stored: bool,
    /// The next process may take it for one that had begun.
    pub may_be_lost: bool,
    pub is_endless: bool,
    /// How many attempts it takes to succeed.
    needed: Option<u32>,
    /// How it ends by itself.
    pub expected: Option<JobStatus>,
}

/// There is nothing more to do.
#[derive(Debug)]
pub enum Over {
    Stopped,
    NoSlots,
}

pub type Step<T = ()> = Result<T, Over>;

#[derive(Clone, Copy)]
pub enum When {
    Push,
    Delay(Duration),
    At(Duration),
    Every(Duration, u32),
    /// Each second of the wall clock.
    Cron(u32),
}

/// A job to be.
pub struct Plan<'t> {
    pub task: &'t Task<Arg, Value>,
    pub when: When,
    /// Attempts in each run.
    pub attempts: u32,
    pub expected: Option<JobStatus>,
    /// It never ends by itself, and has to be ended when all is over.
    pub is_endless: bool,
    pub is_stored: bool,
    pub at_most_once: bool,
    pub misfire: Option<Misfire>,
    pub jitter: Option<Duration>,
    pub has_bomb: bool,
    pub id: Option<String>,
    /// The slot of the job that it replaces.
    pub replaces: Option<usize>,
    pub is_replacing: bool,
    pub tag: Option<String>,
    pub overlap: Overlap,
}

impl<'t> Plan<'t> {
    pub fn new(task: &'t Task<Arg, Value>, when: When, expected: JobStatus) -> Self {
        Self {
            task,
            when,
            attempts: 1,
            expected: Some(expected),
            is_endless: expected == JobStatus::Timeout,
            is_stored: false,
            at_most_once: false,
            misfire: None,
            jitter: None,
            has_bomb: false,
            id: None,
            replaces: None,
            is_replacing: false,
            tag: None,
            overlap: Overlap::Wait,
        }
    }
}

pub struct Worker<'a> {
    pub round: &'a Round,
    pub app: Option<Jobber>,
    pub rng: Rng,
    pub place: Place,
    pub number: usize,
    pub names: usize,
    pub kept: Vec<Kept>,
}

impl<'a> Worker<'a> {
    pub fn new(round: &'a Round, app: Option<Jobber>, number: usize, seed: u64) -> Self {
        Self {
            round,
            app,
            rng: Rng::with_seed(seed ^ number as u64),
            place: Place::new(format_args!("worker {number}")),
            number,
            names: 0,
            kept: Vec::new(),
        }
    }

    pub fn micros(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.rng.u64(0..=most))
    }

    /// Any trigger of a job that runs once.
    pub fn soon(&mut self) -> When {
        match self.rng.u8(..8) {
            0..=3 => When::Push,
            4 | 5 => When::Delay(self.micros(300)),
            6 => When::Delay(self.micros(3_000)),
            // The system's wall clock does not show whether it is early.
            _ => match self.round.clock {
                RoundClock::System(_) => When::Delay(Duration::ZERO),
                RoundClock::Coarse(..) => When::At(self.micros(500)),
            },
        }
    }

    pub fn is_in_peace(&self) -> bool {
        self.round.in_peace.load(Ordering::SeqCst)
    }

    pub fn is_meddled_with(&self) -> bool {
        !self.round.kind.is_honest() || !self.is_in_peace()
    }

    pub fn submit(&mut self, plan: Plan<'_>) -> Step<Option<Kept>> {
        let round = self.round;
        let slot = round.slots.claim().ok_or(Over::NoSlots)?;
        let marks = round.slots.get(slot);
        let runs = match plan.when {
            When::Every(_, runs) | When::Cron(runs) => runs,
            _ => 1,
        };
        let times = if plan.is_stored && round.may_repeat && !plan.at_most_once {
            2
        } else {
            1
        };
        marks
            .limit
            .store(times * runs * plan.attempts, Ordering::SeqCst);
        self.place.does("schedules");
        let arg = Arg::new(slot, plan.replaces.unwrap_or(slot), plan.has_bomb);
        let mut schedule = plan.task.schedule(arg);
        if let Some(id) = plan.id {
            schedule = schedule.id(id);
        }
        if let Some(tag) = plan.tag {
            schedule = schedule.tag(tag);
        }
        if let Overlap::Spawn(most) = plan.overlap {
            let more = most as u32 - 1;
            marks.more_at_once.store(more, Ordering::SeqCst);
            schedule = schedule.overlap(plan.overlap);
        }
        if plan.is_replacing {
            schedule = schedule.replace();
        }
        if let Some(misfire) = plan.misfire {
            schedule = schedule.misfire(misfire);
        }
        if let Some(jitter) = plan.jitter {
            schedule = schedule.jitter(jitter);
        }
        let now = round.clock.now();
        let wall = round.clock.wall_now();
        let due = |delay| marks.set_due(now + delay, Duration::ZERO);
        let submit = match plan.when {
            When::Push => {
                due(Duration::ZERO);
                schedule.push()
            }
            When::Delay(delay) => {
                due(delay);
                schedule.delay(delay)
            }
            When::At(delay) => {
                let wall = wall.unwrap_or_default();
                marks.set_due_by_wall(wall + delay, Duration::ZERO);
                schedule.at(jobber::Clock::wall(&round.clock) + delay)
            }
            When::Every(interval, runs) => {
                marks.set_due(now + interval, interval);
                schedule.max_runs(runs.into()).every(interval)
            }
            When::Cron(runs) => {
                const SECOND: Duration = Duration::from_secs(1);
                // The system's wall clock does not show that.
                let next = wall.map_or(0, |wall| wall.as_secs() + 1);
                marks.set_due_by_wall(Duration::from_secs(next), SECOND);
                schedule.max_runs(runs.into()).cron("* * * * * * *")
            }
        };
        let done = match self.rng.u8(..4) {
            0 | 1 => submit.block_on(),
            2 => block_on(submit),
            _ => {
                let mut submit = submit;
                match block_on(poll_once(&mut submit)) {
                    Some(done) => done,
                    // Polled, and given up: if it comes to be, it runs as others do.
                    None if self.rng.bool() => return Ok(None),
                    None => submit.block_on(),
                }
            }
        };
        match done {
            Ok(job) => Ok(Some(Kept {
                job,
                slot,
                is_stored: plan.is_stored,
                may_be_lost: plan.at_most_once && round.store_fails,
                is_endless: plan.is_endless,
                // A stop cancels jobs of runs.
                needed: (plan.expected == Some(JobStatus::Success)
                    && plan.overlap == Overlap::Wait
                    && round.kind.is_honest())
                .then_some(runs * plan.attempts),
                expected: plan.expected.filter(|_| !self.is_meddled_with()),
            })),
            // The next process may find it there all the same.
            Err(ScheduleError::Storage(_)) if plan.is_stored && round.store_fails => Ok(None),
            Err(error) => {
                marks.limit.store(0, Ordering::SeqCst);
                match error {
                    ScheduleError::Stopped if round.is_stopping() => Err(Over::Stopped),
                    ScheduleError::DuplicateJob { .. } => Ok(None),
                    error => {
                        fault(format!("scheduling: {error}"));
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Waits in one way or another.
    pub fn wait(&mut self, job: &Job<Value>) {
        let place = &self.place;
        let status = match self.rng.u8(..9) {
            0 | 1 => {
                place.does_with("blocks on", job.as_any());
                job.wait_blocking()
            }
            2 | 3 => {
                place.does_with("awaits", job.as_any());
                block_on(job.wait())
            }
            4 => {
                place.does_with("blocks, with a limit, on", job.as_any());
                job.wait_timeout(HOUR).block_on()
            }
            5 => {
                place.does_with("awaits, with a limit,", job.as_any());
                block_on(job.wait_timeout(HOUR))
            }
            6 => {
                place.does_with("blocks, after a limit, on", job.as_any());
                let limit = Duration::from_micros(self.rng.u64(..200));
                match self.rng.bool() {
                    true => job.wait_timeout(limit).block_on(),
                    false => block_on(job.wait_timeout(limit)),
                };
                job.wait().block_on()
            }
            7 => {
                place.does_with("blocks, after a poll, on", job.as_any());
                let mut wait = job.wait();
                match block_on(poll_once(&mut wait)) {
                    Some(status) => status,
                    None => wait.block_on(),
                }
            }
            _ => {
                place.does_with("awaits, twice, once without an end,", job.as_any());
                // Given up.
                let _ = block_on(poll_once(job.wait()));
                let (result, status) = block_on(zip(job.clone().into_future(), job.wait()));
                // It may have a bomb.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(result)));
                status
            }
        };
        if !status.is_final() && !self.round.is_stopping() {
            fault(format!("waiting for {job:?} gave {status}"));
        }
        self.place.does("has waited");
    }
}

impl Kept {
    /// When all is over.
    pub fn check(&self, slots: &Slots) {
        let (status, marks) = (self.job.status(), slots.get(self.slot));
        let starts = marks.starts.load(Ordering::SeqCst);
        if let Some(expected) = self.expected.filter(|&expected| expected != status) {
            fault(format!(
                "{status}, not {expected}, after {starts} starts: {:?}",
                self.job
            ));
        }
        if let Some(needed) = self
            .needed
            .filter(|&n| status == JobStatus::Success && n != starts)
        {
            fault(format!("{starts} starts, not {needed}: {:?}", self.job));
        }
    }
}
