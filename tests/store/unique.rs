//! Ids that stay taken after the end of their jobs. In memory and stored, the same.

use std::time::Duration;

use crate::process::{Process, Work, in_memory_and_stored};
use crate::support::{DAY, HOUR, MINUTE, Machine, NANOSECOND, Result, SECOND, poll};
use jobber::storage::{Storage, TakenId};
use jobber::testing::Fault;
use jobber::{Clock, JobStatus, Jobber, Schedule, ScheduleError, SqliteStorage, Task};

fn unique(process: &Process, task: &Task<Work, ()>, take: u64) -> Schedule<Work, ()> {
    process.schedule(task, 0, take).id("x").unique_for(HOUR)
}

/// How the job ended whose id is taken.
#[track_caller]
fn ended_as<T: std::fmt::Debug>(result: Result<T, ScheduleError>) -> JobStatus {
    match result.unwrap_err() {
        ScheduleError::DuplicateJob {
            id,
            ended: Some(ended),
        } if id == "x" => ended.status,
        other => panic!("{other}"),
    }
}

#[test]
fn the_id_stays_taken_after_the_end_and_the_error_says_how_the_job_ended() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let plain = |process: &Process| process.schedule(&task, 0, 0).id("x");
        unique(&process, &task, 10).push().block_on()?;
        process.advance(5);
        let live = plain(&process).push().block_on().unwrap_err();
        assert!(matches!(
            live,
            ScheduleError::DuplicateJob { ended: None, .. }
        ));
        process.advance(5);
        let error = plain(&process).push().block_on().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the id `x` is taken until 2000-01-01 1:00:10.0 +00:00:00 by a job that has ended \
             (SUCCESS): choose another id, wait until then, or schedule it again with .replace()"
        );
        let polled = poll(plain(&process).delay(HOUR)).unwrap();
        assert_eq!(ended_as(polled), JobStatus::Success);
        process.sim.advance(HOUR - NANOSECOND);
        assert_eq!(
            ended_as(plain(&process).push().block_on()),
            JobStatus::Success
        );
        process.sim.advance(NANOSECOND);
        // This one is not unique.
        plain(&process).push().block_on()?;
        process.sim.run_until_stalled();
        plain(&process).push().block_on()?;
        Ok(())
    })
}

#[test]
fn it_does_not_matter_how_the_job_ends() -> Result {
    in_memory_and_stored(|mut process| {
        let fails = process
            .sim
            .app()
            .task("fails", |_: Work| async { Err::<(), _>("no") });
        let fails = fails.durable().register()?;
        let task = process.task("t").register()?;
        let again = |process: &Process| ended_as(unique(process, &task, 0).push().block_on());
        let job = unique(&process, &task, 0).delay(HOUR).block_on()?;
        assert!(job.cancel().block_on()?.took_effect());
        assert_eq!(again(&process), JobStatus::Cancelled);
        process.sim.advance(HOUR);
        let job = unique(&process, &task, 100).push().block_on()?;
        process.advance(1);
        assert!(job.abort().block_on()?.took_effect());
        assert_eq!(again(&process), JobStatus::Cancelled);
        process.sim.advance(HOUR);
        unique(&process, &fails, 0).push().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(again(&process), JobStatus::Failed);
        process.sim.advance(HOUR);
        let job = unique(&process, &task, 0)
            .expires(SECOND)
            .delay(SECOND)
            .block_on()?;
        job.pause().block_on()?;
        process.advance(10);
        job.resume().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(again(&process), JobStatus::Cancelled);
        process.sim.advance(HOUR);
        unique(&process, &task, 0)
            .max_runs(2)
            .every(MINUTE)
            .block_on()?;
        process.sim.advance(MINUTE * 2);
        assert_eq!(again(&process), JobStatus::Success);
        Ok(())
    })
}

#[test]
fn a_replacement_and_a_retry_schedule_the_job_again_and_keep_does_not() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let fails = process
        .sim
        .app()
        .task("t", |_: Work| async { Err::<(), _>("no") });
    let task = fails.durable().register()?;
    unique(&process, &task, 0).push().block_on()?;
    process.sim.run_until_stalled();
    assert_eq!(
        ended_as(unique(&process, &task, 0).keep().push().block_on()),
        JobStatus::Failed
    );
    let failed = process.sim.app().failed().block_on()?;
    failed[0].retry().block_on()?;
    process.sim.run_until_stalled();
    assert_eq!(
        ended_as(unique(&process, &task, 0).push().block_on()),
        JobStatus::Failed
    );
    let job = unique(&process, &task, 0)
        .replace()
        .delay(MINUTE)
        .block_on()?;
    // A job that is live is kept.
    assert_eq!(
        unique(&process, &task, 0).keep().push().block_on()?.id(),
        job.id()
    );
    process.sim.advance(MINUTE);
    assert!(job.is_done());
    // The definition that the job has at its end decides.
    let task = process.task("other").register()?;
    let job = process
        .schedule(&task, 0, 0)
        .id("y")
        .delay(MINUTE)
        .block_on()?;
    let schedule = process.schedule(&task, 0, 0).id("y").unique_for(HOUR);
    schedule.replace().delay(MINUTE).block_on()?;
    process.sim.advance(MINUTE);
    assert!(job.is_done());
    let error = process.schedule(&task, 0, 0).id("y").push().block_on();
    assert!(matches!(
        error,
        Err(ScheduleError::DuplicateJob { ended: Some(_), .. })
    ));
    Ok(())
}

#[test]
fn a_declared_set_takes_the_id_again() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = unique(&process, &task, 0).delay(HOUR).block_on()?;
        assert!(job.cancel().block_on()?.took_effect());
        let schedule = unique(&process, &task, 0).every(HOUR);
        let app = process.sim.app();
        let declared = app.declare("set", |set| {
            set.add(schedule);
        });
        let declared = declared.block_on();
        assert_eq!(declared?.added, ["x"]);
        assert!(task.job("x").is_some());
        process.sim.run_until_stalled();
        Ok(())
    })
}

#[test]
fn a_job_whose_id_is_taken_does_not_wait_for_room() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").max_pending(1).register()?;
        unique(&process, &task, 0).push().block_on()?;
        process.sim.run_until_stalled();
        process.push(&task, 1, 100)?;
        let refused = unique(&process, &task, 0).push().block_on();
        assert_eq!(ended_as(refused), JobStatus::Success);
        let waits = poll(unique(&process, &task, 0).when_room().push());
        assert_eq!(
            ended_as(waits.expect("it does not wait")),
            JobStatus::Success
        );
        Ok(())
    })
}

/// The ids that the disk has.
fn on_disk(machine: &Machine) -> Vec<TakenId> {
    let mut found = Vec::new();
    let mut disk = machine.disk.clone();
    disk.load_taken_ids(&mut |taken| found.push(taken)).unwrap();
    found
}

#[test]
fn it_stays_taken_in_the_next_process_and_the_store_forgets_it_in_time() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    unique(&process, &task, 0).push().block_on()?;
    process.sim.run_until_stalled();
    let begun = process.sim.clock().wall();
    assert_eq!(on_disk(&machine).len(), 1);
    assert_eq!(on_disk(&machine)[0].until, begun + HOUR);
    process.sim.crash();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    assert_eq!(
        ended_as(unique(&process, &task, 0).push().block_on()),
        JobStatus::Success
    );
    process.sim.advance(HOUR);
    process.sim.crash();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    let other = process.schedule(&task, 0, 0).id("y").unique_for(DAY);
    other.push().block_on()?;
    process.sim.run_until_stalled();
    let ids: Vec<_> = on_disk(&machine)
        .into_iter()
        .map(|taken| taken.id)
        .collect();
    assert_eq!(ids, ["y"]);
    unique(&process, &task, 0).push().block_on()?;
    Ok(())
}

#[test]
fn the_end_and_the_id_are_stored_together_or_not_at_all() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    unique(&process, &task, 10).push().block_on()?;
    process.advance(5);
    machine.set_fault(Fault::Fail);
    process.advance(5);
    // The store does not know of the end, but this process does.
    assert_eq!(
        ended_as(unique(&process, &task, 0).push().block_on()),
        JobStatus::Success
    );
    assert!(on_disk(&machine).is_empty() && machine.record("x").is_some());
    machine.set_fault(Fault::None);
    process.advance(100);
    assert!(on_disk(&machine).len() == 1 && machine.record("x").is_none());
    Ok(())
}

#[test]
fn the_id_of_a_job_whose_last_attempt_is_lost_stays_taken() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").at_most_once().register()?;
    unique(&process, &task, 100).push().block_on()?;
    process.advance(10);
    process.sim.crash();
    for _ in 0..2 {
        let process = Process::boot(&machine, true);
        let task = process.task("t").at_most_once().register()?;
        assert_eq!(
            ended_as(unique(&process, &task, 0).push().block_on()),
            JobStatus::Failed
        );
        process.sim.crash();
    }
    Ok(())
}

#[test]
fn a_file_keeps_it() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    for is_first in [true, false] {
        let app = Jobber::builder()
            .storage(SqliteStorage::new(&path))
            .build()?;
        let task = app.task("t", async || {}).durable().register()?;
        app.start().block_on()?;
        let schedule = || task.schedule(()).id("x").unique_for(DAY).push().block_on();
        if is_first {
            assert_eq!(schedule()?.wait_blocking(), JobStatus::Success);
        }
        assert_eq!(ended_as(schedule()), JobStatus::Success);
        app.shutdown(MINUTE).block_on();
    }
    Ok(())
}

#[test]
fn it_needs_an_id_and_a_time() -> Result {
    let process = Process::boot(&Machine::new(), false);
    let task = process.task("t").register()?;
    let no_id = process
        .schedule(&task, 0, 0)
        .unique_for(HOUR)
        .push()
        .block_on();
    assert!(matches!(
        no_id,
        Err(ScheduleError::NoId {
            option: "unique_for"
        })
    ));
    let zero = process
        .schedule(&task, 0, 0)
        .id("x")
        .unique_for(Duration::ZERO)
        .push()
        .block_on();
    assert!(matches!(
        zero,
        Err(ScheduleError::ZeroDuration {
            field: "unique_for"
        })
    ));
    Ok(())
}
