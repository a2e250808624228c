//! Durable tasks that log their attempts.

use crate::support::{Log, MINUTE, Machine, Result, START};
use jobber::testing::Simulation;
use jobber::{Backoff, JobContext, ScheduleError, Task, storage::StorageError};
use time::OffsetDateTime;

/// A run's number, its attempt, and its nominal time.
pub type Ran = (u64, u32, OffsetDateTime);

pub fn ran(cx: &JobContext) -> Ran {
    (cx.run_number(), cx.attempt(), cx.nominal_time())
}

/// A task that logs its attempts and returns twice its argument.
pub fn logging(sim: &Simulation, name: &str, log: &Log<Ran>) -> Task<u32, u32> {
    let log = log.clone();
    sim.app()
        .task(name, move |cx: JobContext, n: u32| {
            log.add(ran(&cx));
            async move { n * 2 }
        })
        .durable()
        .register()
        .unwrap()
}

/// A task that logs its attempts and never ends.
pub fn hanging(sim: &Simulation, log: &Log<Ran>) -> Task<u32, u32> {
    let log = log.clone();
    sim.app()
        .task("t", move |cx: JobContext, _: u32| {
            log.add(ran(&cx));
            std::future::pending::<u32>()
        })
        .durable()
        .register()
        .unwrap()
}

/// A task that logs its attempts, each of which fails.
pub fn failing(sim: &Simulation, log: &Log<Ran>, backoff: Backoff) -> Task<u32, u32> {
    let log = log.clone();
    sim.app()
        .task("t", move |cx: JobContext, _: u32| {
            log.add(ran(&cx));
            async { Err::<u32, _>("no") }
        })
        .retry(backoff)
        .durable()
        .register()
        .unwrap()
}

/// A task that logs its argument.
pub fn logging_argument(sim: &Simulation, log: &Log<u32>) -> Task<u32, ()> {
    let task = sim.app().task("t", log.argument());
    task.durable().register().unwrap()
}

/// A machine whose last process crashed and left the job `x` of the task `t`, due in a
/// minute.
pub fn machine_with_job(argument: u32) -> Result<Machine> {
    let machine = Machine::new();
    let sim = machine.boot();
    let schedule = logging(&sim, "t", &Log::new()).schedule(argument);
    let _ = schedule.id("x").delay(MINUTE).block_on()?;
    sim.crash();
    Ok(machine)
}

/// The time some seconds after [`START`].
pub fn at(seconds: i64) -> OffsetDateTime {
    START + time::Duration::seconds(seconds)
}

/// The error of the store, which scheduling returned.
pub fn storage_error<T: std::fmt::Debug>(result: Result<T, ScheduleError>) -> StorageError {
    match result {
        Err(ScheduleError::Storage(error)) => error,
        other => panic!("{other:?}"),
    }
}
