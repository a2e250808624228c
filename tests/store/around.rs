//! Middleware of stored jobs.

use crate::support::{HOUR, Log, Machine, Result, SECOND};
use jobber::testing::Simulation;
use jobber::{Backoff, JobContext, JobStatus, Next, Task};

fn register(sim: &Simulation, log: &Log<(&'static str, u32)>) -> Result<Task<u32, u32>> {
    let (of_task, of_middleware) = (log.clone(), log.clone());
    let task = sim.app().task("t", move |cx: JobContext, number: u32| {
        of_task.add(("task", cx.attempt()));
        let attempt = cx.attempt();
        async move { if attempt == 1 { Err("no") } else { Ok(number) } }
    });
    let task = task.durable().at_most_once().retry(Backoff::fixed(1, HOUR));
    let task = task.around(move |cx: JobContext, next: Next| {
        of_middleware.add(("middleware", cx.attempt()));
        next.run()
    });
    Ok(task.register()?)
}

#[test]
fn it_runs_around_the_retry_that_the_next_process_makes() -> Result {
    let (machine, log) = (Machine::new(), Log::new());
    let mut sim = machine.boot();
    let task = register(&sim, &log)?;
    task.schedule(7).id("x").push().block_on()?;
    sim.advance(SECOND);
    assert_eq!(log.take(), [("middleware", 1), ("task", 1)]);
    sim.crash();
    let mut sim = machine.boot();
    let task = register(&sim, &log)?;
    let job = task.job("x").ok_or("it is gone")?;
    sim.advance(HOUR);
    assert_eq!(log.take(), [("middleware", 2), ("task", 2)]);
    assert_eq!((job.status(), *job.result()?), (JobStatus::Success, 7));
    Ok(())
}
