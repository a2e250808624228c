//! Jobs that are overdue when an app starts: they start in turns, so that thousands of them do
//! not start at once.

use std::time::Duration;

use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, START, delay_all};
use crate::tasks::{at, hanging, logging, logging_argument};
use jobber::testing::Simulation;
use jobber::{JobContext, JobStatus};

/// A machine on which no process ran for an hour, and a process that finds `count` overdue
/// jobs, which take `each`.
fn overdue(count: usize, each: Duration) -> Result<(Machine, Simulation, Log<i64>)> {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &Log::new());
    for n in 0..count {
        // Jobs that are scheduled later are due earlier.
        let due = at(60 - n as i64 / 100);
        let _ = task.schedule(1).at(due).block_on()?;
    }
    sim.crash();
    machine.clock.advance(HOUR);
    let sim = machine.boot();
    let (clock, seen) = (sim.clock(), log.clone());
    let task = sim
        .app()
        .task("t", move |cx: JobContext, _: u32| {
            seen.add((cx.nominal_time() - START).whole_seconds());
            clock.sleep(each)
        })
        .durable();
    task.register()?;
    Ok((machine, sim, log))
}

#[test]
fn at_most_256_overdue_jobs_run_at_once() -> Result {
    let (machine, mut sim, log) = overdue(3_000, SECOND)?;
    let mut started = 0;
    for round in 1..=11 {
        sim.run_until_stalled();
        let batch = log.take();
        assert!(batch.len() <= 256, "{} at once", batch.len());
        started += batch.len();
        assert_eq!(
            started,
            (round * 256).min(3_000),
            "as many as may run have started"
        );
        sim.advance(SECOND - Duration::from_nanos(1));
        assert!(log.take().is_empty(), "no job starts before one ends");
        sim.advance(Duration::from_nanos(1));
    }
    sim.advance(SECOND * 2);
    assert!(machine.records().is_empty());
    assert_eq!(started + log.take().len(), 3_000);
    Ok(())
}

#[test]
fn overdue_jobs_start_in_the_order_in_which_they_were_due() -> Result {
    let (_machine, mut sim, log) = overdue(3_000, SECOND)?;
    sim.advance(MINUTE);
    let order = log.take();
    assert_eq!(order.len(), 3_000);
    assert!(order.is_sorted());
    Ok(())
}

#[test]
fn overdue_jobs_that_never_end_do_not_block_the_others_for_ever() -> Result {
    let (_machine, mut sim, log) = overdue(1_000, HOUR * 1_000)?;
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 1_000 - 256);
    Ok(())
}

#[test]
fn an_overdue_job_that_is_cancelled_while_it_waits_takes_no_turn() -> Result {
    // The jobs that would have their turn last, or first.
    for cancelled in [0..300, 44..344] {
        let (machine, mut sim, log) = overdue(600, SECOND)?;
        sim.run_until_stalled();
        log.take();
        let waiting: Vec<_> = sim
            .app()
            .jobs()
            .into_iter()
            .filter(|job| job.status() == JobStatus::Scheduled)
            .collect();
        assert_eq!(waiting.len(), 600 - 256);
        for job in &waiting[cancelled] {
            assert!(job.cancel().block_on()?.took_effect());
        }
        sim.advance(SECOND);
        sim.run_until_stalled();
        assert_eq!(log.take().len(), 600 - 256 - 300);
        sim.advance(HOUR);
        let more = log.take();
        assert!(
            more.is_empty(),
            "no cancelled job runs, and no job runs twice"
        );
        assert!(machine.records().is_empty());
    }
    Ok(())
}

#[test]
fn an_abort_of_a_running_overdue_job_passes_its_turn_on_and_the_end_of_another_job_does_not()
-> Result {
    let (_machine, mut sim, log) = overdue(600, HOUR * 1_000)?;
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    // A job that was not overdue has no turn.
    let other = sim.app().task("other", || async {}).register()?;
    let ended = other.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!((ended.status(), log.take().len()), (JobStatus::Success, 0));
    let jobs = sim.app().jobs();
    let running = jobs.iter().filter(|job| job.status() == JobStatus::Running);
    for job in running.take(3) {
        assert!(job.abort().block_on()?.took_effect());
    }
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 3);
    Ok(())
}

#[test]
fn a_replacement_of_an_overdue_job_passes_its_turn_on() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    for n in 0..512 {
        let schedule = task.schedule(1).id(format!("{n:03}"));
        let _ = schedule.at(at(60)).block_on()?;
    }
    sim.crash();
    machine.clock.advance(HOUR);
    let mut sim = machine.boot();
    let task = hanging(&sim, &log);
    for n in 0..256 {
        let schedule = task.schedule(1).id(format!("{n:03}")).replace();
        let _ = schedule.delay(HOUR).block_on()?;
    }
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    Ok(())
}

#[test]
fn a_job_that_is_not_overdue_waits_for_no_turn() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    for n in 0..300 {
        let due = at(if n < 256 { 60 } else { 3_601 });
        let _ = task.schedule(1).at(due).block_on()?;
    }
    sim.crash();
    machine.clock.advance(HOUR);
    let mut sim = machine.boot();
    let log = Log::new();
    hanging(&sim, &log);
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    sim.advance(SECOND);
    assert_eq!(log.take().len(), 44);
    Ok(())
}

#[test]
fn an_overdue_job_keeps_its_turn_until_it_ends() -> Result {
    let (machine, mut sim, log) = overdue(600, SECOND * 12)?;
    // The second 256 have their turn after ten seconds, and the rest after five more: the
    // jobs that end meanwhile pass no turn on.
    sim.advance(SECOND * 10);
    assert_eq!(log.take().len(), 512);
    sim.advance(SECOND * 3);
    assert_eq!(log.take().len(), 0);
    sim.advance(SECOND * 2);
    assert_eq!(log.take().len(), 88);
    // In the end no turn is taken.
    sim.advance(MINUTE);
    assert!(machine.records().is_empty());
    let log = Log::new();
    let later = logging(&sim, "later", &log);
    delay_all(&later, SECOND, vec![1; 256])?;
    sim.crash();
    let mut sim = machine.boot();
    sim.advance(MINUTE);
    logging(&sim, "later", &log);
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    Ok(())
}

#[test]
fn a_job_that_is_no_longer_overdue_passes_its_turn_on() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    for n in 0..257 {
        let due = at(if n < 256 { 60 } else { 3_599 });
        let _ = task.schedule(1).at(due).block_on()?;
    }
    let later = logging(&sim, "later", &Log::new());
    let _ = later.schedule(1).at(at(60)).block_on()?;
    sim.crash();
    machine.clock.advance(HOUR);
    let mut sim = machine.boot();
    let log = Log::new();
    hanging(&sim, &log);
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    // The last job has its turn after ten seconds, and is due after half an hour.
    sim.set_wall(at(1_800));
    sim.advance(SECOND * 11);
    let jobs = sim.app().jobs();
    let running = jobs.iter().find(|job| job.status() == JobStatus::Running);
    assert!(running.unwrap().abort().block_on()?.took_effect());
    logging(&sim, "later", &log);
    sim.run_until_stalled();
    assert_eq!(log.take(), [(1, 1, at(60))]);
    sim.advance(HOUR);
    assert_eq!(log.take(), [(1, 1, at(3_599))]);
    Ok(())
}

/// Regression: the wall clock was set back before the due time of an overdue job; its
/// turn came by the monotonic clock, and the job never ran.
#[test]
fn a_job_whose_turn_comes_before_its_due_time_waits_for_the_due_time() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let due = time::macros::datetime!(2000-01-01 1:00 UTC);
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    for n in 0..300 {
        let _ = task.schedule(n).at(due - SECOND).block_on()?;
    }
    let _ = task.schedule(1_000).id("x").at(due).block_on()?;
    sim.crash();
    machine.clock.advance(HOUR + SECOND);
    let mut sim = machine.boot();
    let seen = log.clone();
    let task = sim
        .app()
        .task("t", move |n: u32| {
            seen.add(n);
            std::future::pending::<()>()
        })
        .durable();
    task.register()?;
    sim.run_until_stalled();
    sim.set_wall(due - MINUTE);
    sim.advance(SECOND * 59);
    assert!(!log.entries().contains(&1_000));
    sim.advance(MINUTE);
    assert!(log.entries().contains(&1_000));
    Ok(())
}
