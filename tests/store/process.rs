//! A process whose tasks take some seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Log, Machine, Result};
use jobber::testing::Simulation;
use jobber::{Job, JobberBuilder, Schedule, Task, TaskBuilder};

/// Counts the attempts that run.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<(AtomicUsize, AtomicUsize)>);

pub struct RunningOne(Running);

impl Running {
    pub fn begin(&self) -> RunningOne {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        RunningOne(self.clone())
    }

    pub fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Drop for RunningOne {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A process with a log of the numbers of its jobs, in the order of their starts.
pub struct Process {
    pub sim: Simulation,
    pub log: Log<u32>,
    pub running: Running,
    pub is_stored: bool,
}

pub type Work = (u32, u64);

impl Process {
    pub fn boot(machine: &Machine, is_stored: bool) -> Self {
        Self::boot_with(machine, is_stored, |app| app)
    }

    pub fn boot_with(
        machine: &Machine,
        is_stored: bool,
        configure: impl FnOnce(JobberBuilder) -> JobberBuilder,
    ) -> Self {
        Self {
            sim: machine.boot_with(configure),
            log: Log::new(),
            running: Running::default(),
            is_stored,
        }
    }

    /// A task whose attempts take some seconds. Its arguments are a number and that time.
    pub fn task(&self, name: &str) -> TaskBuilder<Work, ()> {
        let (clock, log, running) = (self.sim.clock(), self.log.clone(), self.running.clone());
        let task = self.sim.app().task(name, move |number: u32, take: u64| {
            log.add(number);
            let one = running.begin();
            let sleep = clock.sleep(Duration::from_secs(take));
            async move {
                sleep.await;
                drop(one);
            }
        });
        task.durable()
    }

    pub fn schedule(&self, task: &Task<Work, ()>, number: u32, take: u64) -> Schedule<Work, ()> {
        let schedule = task.schedule((number, take));
        match self.is_stored {
            true => schedule,
            false => schedule.in_memory(),
        }
    }

    pub fn push(&self, task: &Task<Work, ()>, number: u32, take: u64) -> Result<Job<()>> {
        Ok(self.schedule(task, number, take).push().block_on()?)
    }

    pub fn advance(&mut self, seconds: u64) {
        self.sim.advance(Duration::from_secs(seconds));
    }
}

pub fn in_memory_and_stored(test: impl Fn(Process) -> Result) -> Result {
    for is_stored in [false, true] {
        println!("stored: {is_stored}");
        test(Process::boot(&Machine::new(), is_stored))?;
    }
    Ok(())
}
