//! Runs that become jobs of their own. In memory and stored, the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::held_app::HeldApp;
use crate::process::{Process, Work, in_memory_and_stored};
use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, START, event_kinds};
use jobber::storage::{Change, StorageError};
use jobber::testing::{Fault, FaultyStorage, Operation, Simulation};
use jobber::{
    AnyJob, Backoff, Job, JobContext, JobError, JobId, JobStatus, Jobs, Misfire, Overlap, Schedule,
    ScheduleError, SteerOutcome, Task, TooManySpawned, WaitingFor,
};

fn spawns(process: &Process, task: &Task<Work, ()>, take: u64, most: usize) -> Schedule<Work, ()> {
    let schedule = process.schedule(task, 0, take).id("x");
    schedule.overlap(Overlap::Spawn(most))
}

/// The live jobs that the job `x` has made, in the order of their runs.
fn spawned(process: &Process) -> Result<Vec<AnyJob>> {
    let of_x = Jobs::matching().spawned_by("x");
    let mut jobs = process.sim.app().select(of_x).list()?;
    jobs.sort_by_key(|job| job.spawned_by().map(|by| by.run));
    Ok(jobs)
}

fn runs(process: &Process) -> Result<Vec<u64>> {
    let jobs = spawned(process)?;
    Ok(jobs
        .iter()
        .filter_map(|job| Some(job.spawned_by()?.run))
        .collect())
}

#[test]
fn each_run_becomes_a_job_of_its_own_and_the_next_one_does_not_wait_for_it() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = spawns(&process, &task, 25, 9)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(10);
        let first = spawned(&process)?.remove(0);
        assert_eq!(first.status(), JobStatus::Running);
        assert_eq!(first.task_name(), "t");
        assert_ne!(*first.id(), "x");
        assert_eq!(first.snapshot().trigger, "once");
        let by = first.spawned_by().unwrap();
        assert_eq!((by.job, by.run), ("x".into(), 1));
        assert_eq!(first.snapshot().spawned_by, first.spawned_by());
        process.advance(20);
        assert_eq!(runs(&process)?, [1, 2, 3]);
        assert_eq!(process.running.most(), 3);
        // The job itself has no attempt that goes on.
        assert_eq!(job.status(), JobStatus::Scheduled);
        assert_eq!(job.spawned_by(), None);
        let last = job.last_run().unwrap();
        assert_eq!((last.number, last.status), (3, JobStatus::Success));
        assert!(matches!(job.result(), Err(JobError::Spawned)));
        process.advance(5);
        assert_eq!(first.status(), JobStatus::Success);
        assert_eq!(runs(&process)?, [2, 3]);
        Ok(())
    })
}

#[test]
fn a_run_that_is_due_while_as_many_as_may_be_are_live_is_missed_whatever_the_policy() -> Result {
    for misfire in [
        Misfire::Once,
        Misfire::Skip,
        Misfire::All(9),
        Misfire::Grace(HOUR),
    ] {
        in_memory_and_stored(|mut process| {
            let mut events = process.sim.app().events();
            let task = process.task("t").register()?;
            let job = spawns(&process, &task, 35, 2).misfire(misfire);
            let job = job.max_runs(4).every(SECOND * 10).block_on()?;
            process.advance(40);
            assert_eq!(runs(&process)?, [1, 2]);
            let kinds = event_kinds(&mut events, "x");
            let missed = kinds.iter().filter(|kind| *kind == "misfired");
            assert_eq!(missed.count(), 2, "{kinds:?}");
            // The first ends after 45 seconds: the run at 50 has room, and is the third.
            process.advance(9);
            assert_eq!(runs(&process)?, [2]);
            process.advance(1);
            assert_eq!(runs(&process)?, [2, 3]);
            assert_eq!(job.status(), JobStatus::Scheduled);
            process.advance(10);
            assert_eq!(runs(&process)?, [3, 4]);
            assert_eq!(job.status(), JobStatus::Success);
            process.advance(60);
            assert_eq!(process.log.take().len(), 4);
            assert_eq!(process.running.most(), 2);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_job_whose_last_run_has_become_a_job_has_ended_with_success_and_no_value() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = spawns(&process, &task, 5, 1).max_runs(1);
        let job = job.every(SECOND).block_on()?;
        process.advance(1);
        assert_eq!(job.status(), JobStatus::Success);
        assert!(matches!(job.result(), Err(JobError::Spawned)));
        assert_eq!(spawned(&process)?.len(), 1);
        Ok(())
    })
}

#[test]
fn the_job_of_a_run_knows_the_nominal_time_of_the_run() -> Result {
    in_memory_and_stored(|mut process| {
        let log = Log::new();
        let seen = log.clone();
        let task = process.sim.app().task("t", move |cx: JobContext, _: Work| {
            seen.add((cx.nominal_time(), cx.run_number()));
            async {}
        });
        let task = task.durable().register()?;
        spawns(&process, &task, 0, 1)
            .every(SECOND * 10)
            .block_on()?;
        process.sim.advance(SECOND * 10);
        process.advance(4);
        // Before its time.
        let job = task.job("x").unwrap();
        job.move_to(START + SECOND * 15).block_on()?;
        process.advance(6);
        assert_eq!(
            log.take(),
            [(START + SECOND * 10, 1), (START + SECOND * 20, 2)]
        );
        Ok(())
    })
}

#[test]
fn the_job_of_a_run_has_the_options_of_the_recurring_job() -> Result {
    in_memory_and_stored(|mut process| {
        let tries = Log::new();
        let seen = tries.clone();
        let task = process.sim.app().task("t", move |cx: JobContext, _: Work| {
            seen.add(cx.attempt());
            std::future::pending::<()>()
        });
        let task = task.durable().register()?;
        let schedule = spawns(&process, &task, 0, 9).tag("night").note("by", "ada");
        let schedule = schedule.timeout(SECOND * 3);
        let schedule = schedule.retry(Backoff::fixed(1, SECOND));
        schedule.every(SECOND * 10).block_on()?;
        process.advance(10);
        let job = spawned(&process)?.remove(0);
        assert_eq!(job.tags(), ["night".into()]);
        assert_eq!(job.note("by").as_deref(), Some("ada"));
        assert_eq!(job.snapshot().is_durable, process.is_stored);
        assert_eq!(job.snapshot().args.is_some(), process.is_stored);
        process.advance(7);
        assert_eq!(job.status(), JobStatus::Timeout);
        assert_eq!(tries.take(), [1, 2]);
        Ok(())
    })
}

#[test]
fn the_recurring_job_takes_no_limits_and_its_jobs_do() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).register()?;
        let job = spawns(&process, &task, 25, 9)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(30);
        assert_eq!(runs(&process)?, [1, 2, 3]);
        assert_eq!(process.running.most(), 1);
        let waiting = spawned(&process)?[1].waiting_for();
        assert_eq!(waiting, Some(WaitingFor::TaskLimit));
        assert_eq!(job.waiting_for(), None);
        Ok(())
    })
}

#[test]
fn a_pause_a_cancellation_and_a_replacement_leave_the_jobs_alone_that_were_made() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = spawns(&process, &task, 1_000, 9)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(10);
        job.pause().block_on()?;
        process.advance(10);
        assert_eq!(runs(&process)?, [1]);
        assert_eq!(spawned(&process)?[0].status(), JobStatus::Running);
        job.resume().block_on()?;
        let wait = process.schedule(&task, 0, 1_000).id("x").replace();
        wait.every(SECOND * 10).block_on()?;
        process.advance(25);
        assert_eq!(job.status(), JobStatus::Running);
        assert_eq!(runs(&process)?, [1]);
        assert!(job.abort().block_on()?.took_effect());
        assert_eq!(spawned(&process)?[0].status(), JobStatus::Running);
        Ok(())
    })
}

#[test]
fn jobs_that_a_predecessor_of_the_same_id_has_made_count() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = spawns(&process, &task, 1_000, 1).every(SECOND * 10);
        let job = job.block_on()?;
        process.advance(10);
        assert!(job.cancel().block_on()?.took_effect());
        spawns(&process, &task, 0, 1)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(30);
        assert_eq!(process.log.take().len(), 1);
        assert!(spawned(&process)?[0].cancel().block_on()?.took_effect());
        assert!(spawned(&process)?[0].abort().block_on()?.took_effect());
        process.advance(10);
        assert_eq!(process.log.take().len(), 1);
        Ok(())
    })
}

#[test]
fn an_extra_run_becomes_a_job_too_unless_as_many_are_live_as_may_be() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = spawns(&process, &task, 1_000, 2);
        let job = job.every(SECOND * 10).block_on()?;
        process.advance(3);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Done);
        process.sim.run_until_stalled();
        assert_eq!(runs(&process)?, [1]);
        assert_eq!(job.exec_at(), START + SECOND * 10);
        process.advance(7);
        assert_eq!(runs(&process)?, [1, 2]);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Unchanged);
        process.advance(5);
        assert_eq!(runs(&process)?, [1, 2]);
        assert!(job.cancel().block_on()?.took_effect());
        assert_eq!(job.run_now().block_on()?, SteerOutcome::AlreadyDone);
        Ok(())
    })
}

#[test]
fn an_extra_run_of_a_paused_task_starts_and_does_not_expire() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).register()?;
        let job = spawns(&process, &task, 100, 2).expires(SECOND * 5);
        let job = job.every(HOUR).block_on()?;
        task.pause().block_on()?;
        job.run_now().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(spawned(&process)?[0].status(), JobStatus::Running);
        job.run_now().block_on()?;
        process.advance(100);
        assert_eq!(process.log.take().len(), 2);
        Ok(())
    })
}

#[test]
fn a_job_that_waits_too_long_for_its_limit_expires_from_the_due_time_of_its_run() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).register()?;
        let held = process.push(&task, 1, 26)?;
        spawns(&process, &task, 0, 9)
            .expires(SECOND * 10)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(25);
        assert!(!held.is_done());
        let jobs = spawned(&process)?;
        process.advance(1);
        assert_eq!(jobs[0].status(), JobStatus::Cancelled);
        assert_eq!(jobs[1].status(), JobStatus::Success);
        Ok(())
    })
}

#[test]
fn the_jitter_of_the_run_does_not_count_against_its_job() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        spawns(&process, &task, 0, 9)
            .expires(SECOND)
            .jitter(HOUR / 2)
            .every(HOUR)
            .block_on()?;
        process.sim.advance(HOUR * 20);
        assert_eq!(process.log.take().len(), 19);
        Ok(())
    })
}

#[test]
fn a_recurring_run_makes_its_job_though_too_many_are_pending() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let task = process.task("t").max_pending(1).register()?;
    spawns(&process, &task, 1_000, 2)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(20);
    assert_eq!(runs(&process)?, [1, 2]);
    let push = process.schedule(&task, 1, 1).push().block_on().unwrap_err();
    assert!(
        matches!(
            push,
            ScheduleError::TooManyPending {
                live: 3,
                max: 1,
                ..
            }
        ),
        "{push}"
    );
    Ok(())
}

#[test]
fn the_next_process_has_the_jobs_of_the_runs_and_counts_them() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    spawns(&process, &task, 1_000, 2)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(20);
    let before: Vec<JobId> = spawned(&process)?
        .iter()
        .map(|job| job.id().clone())
        .collect();
    process.sim.crash();
    let mut process = Process::boot(&machine, true);
    process.task("t").register()?;
    process.sim.run_until_stalled();
    let after: Vec<JobId> = spawned(&process)?
        .iter()
        .map(|job| job.id().clone())
        .collect();
    assert_eq!(before, after);
    assert_eq!(runs(&process)?, [1, 2]);
    assert_eq!(process.log.take().len(), 2);
    process.advance(30);
    assert_eq!(runs(&process)?, [1, 2]);
    let job = spawned(&process)?.remove(0);
    assert!(job.abort().block_on()?.took_effect());
    process.advance(10);
    assert_eq!(runs(&process)?, [2, 3]);
    Ok(())
}

#[test]
fn a_job_that_was_scheduled_later_makes_its_runs_though_an_earlier_one_had_them() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    let job = spawns(&process, &task, 1_000, 9).every(SECOND * 10);
    let job = job.block_on()?;
    process.advance(10);
    process.sim.crash();
    drop(job);
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    assert!(task.job("x").unwrap().cancel().block_on()?.took_effect());
    spawns(&process, &task, 1_000, 9)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(10);
    assert_eq!(runs(&process)?, [1, 1]);
    Ok(())
}

#[test]
fn a_run_becomes_a_job_while_the_store_fails_and_is_stored_later() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    spawns(&process, &task, 100, 9)
        .every(SECOND * 10)
        .block_on()?;
    machine.set_fault(Fault::Fail);
    process.advance(10);
    assert_eq!(runs(&process)?, [1]);
    assert_eq!(process.log.take().len(), 1);
    assert_eq!(machine.records().len(), 1);
    machine.set_fault(Fault::None);
    process.advance(19);
    assert_eq!(runs(&process)?, [1, 2]);
    assert_eq!(machine.records().len(), 3);
    process.sim.crash();
    let process = Process::boot(&machine, true);
    process.task("t").register()?;
    assert_eq!(runs(&process)?, [1, 2]);
    Ok(())
}

#[test]
fn a_job_that_was_not_stored_before_a_crash_is_made_again() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    spawns(&process, &task, 100, 9)
        .every(SECOND * 10)
        .block_on()?;
    machine.set_fault(Fault::Fail);
    process.advance(10);
    assert_eq!(process.log.take().len(), 1);
    process.sim.crash();
    machine.set_fault(Fault::None);
    let mut process = Process::boot(&machine, true);
    process.task("t").register()?;
    process.sim.run_until_stalled();
    assert_eq!(process.log.take().len(), 1);
    assert_eq!(runs(&process)?, [1]);
    Ok(())
}

#[test]
fn a_run_that_is_made_at_most_once_has_one_job_and_one_attempt() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").at_most_once().register()?;
    spawns(&process, &task, 1_000, 9)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(20);
    assert_eq!(process.log.take().len(), 2);
    process.sim.crash();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").at_most_once().register()?;
    process.sim.run_until_stalled();
    assert_eq!(process.log.take().len(), 0);
    assert_eq!(runs(&process)?, [0; 0]);
    assert_eq!(task.job("x").unwrap().last_run().unwrap().number, 2);
    process.advance(10);
    assert_eq!(process.log.take().len(), 1);
    Ok(())
}

#[test]
fn the_options_are_checked() -> Result {
    let process = Process::boot(&Machine::new(), false);
    let task = process.task("t").register()?;
    let error = |schedule: Schedule<Work, ()>| schedule.every(SECOND).block_on().unwrap_err();
    assert_eq!(
        error(spawns(&process, &task, 0, 0)).to_string(),
        "the number of Overlap::Spawn is 0, but must be at least 1"
    );
    assert_eq!(
        error(spawns(&process, &task, 0, 1).max_failures(3)).to_string(),
        "Overlap::Spawn and max_failures contradict each other: set one of them"
    );
    assert_eq!(
        error(spawns(&process, &task, 0, 1).pause_on_failure()).to_string(),
        "Overlap::Spawn and pause_on_failure contradict each other: set one of them"
    );
    assert!(matches!(
        spawns(&process, &task, 0, 1).after_each(SECOND).block_on(),
        Err(ScheduleError::NotApplicable { .. })
    ));
    assert!(matches!(
        spawns(&process, &task, 0, 1).push().block_on(),
        Err(ScheduleError::NotRecurring { .. })
    ));
    Ok(())
}

#[test]
fn a_job_of_a_run_that_is_replaced_stays_one_and_ends_as_one() -> Result {
    for in_memory in [false, true] {
        in_memory_and_stored(|mut process| {
            let task = process.task("t").register()?;
            spawns(&process, &task, 1_000, 1)
                .every(SECOND * 10)
                .block_on()?;
            process.advance(10);
            let job = spawned(&process)?.remove(0);
            let new = task.schedule((5, 0)).id(job.id()).replace();
            let new = if in_memory { new.in_memory() } else { new };
            new.push().block_on()?;
            assert!(job.abort().block_on()?.took_effect());
            process.advance(10);
            assert_eq!(process.running.most(), 1);
            assert_eq!(runs(&process)?, [2]);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_retry_that_finds_no_room_for_a_job_fails() -> Result {
    in_memory_and_stored(|mut process| {
        let fails = Arc::new(AtomicBool::new(false));
        let (clock, does_fail) = (process.sim.clock(), fails.clone());
        let task = process.sim.app().task("t", move |_: Work| {
            let (sleep, does_fail) = (clock.sleep(HOUR), does_fail.clone());
            async move {
                if !does_fail.load(Ordering::SeqCst) {
                    sleep.await;
                }
                Err::<(), _>("no")
            }
        });
        let task = task
            .durable()
            .retry(Backoff::fixed(1, SECOND * 3))
            .register()?;
        let job = spawns(&process, &task, 0, 1).every(SECOND * 10);
        let job = job.block_on()?;
        process.advance(10);
        fails.store(true, Ordering::SeqCst);
        let again = process.schedule(&task, 0, 0).id("x").replace();
        again.every(SECOND * 10).block_on()?;
        process.advance(10);
        let again = spawns(&process, &task, 0, 1).replace();
        again.every(SECOND * 10).block_on()?;
        process.advance(3);
        let run = job.last_run().unwrap();
        assert_eq!((run.number, run.status), (2, JobStatus::Failed));
        let Err(JobError::Failed(error)) = job.result() else {
            panic!("{:?}", job.result());
        };
        let error = error.downcast_ref::<TooManySpawned>().unwrap();
        assert_eq!(error.max, 1);
        Ok(())
    })
}

#[test]
fn the_job_of_a_failed_run_is_kept_and_counts_again_when_it_is_retried() -> Result {
    let mut process = Process::boot(&Machine::new(), true);
    let fails = Arc::new(AtomicBool::new(true));
    let (clock, does_fail) = (process.sim.clock(), fails.clone());
    let task = process.sim.app().task("t", move |_: Work| {
        let (sleep, fails) = (clock.sleep(HOUR), does_fail.load(Ordering::SeqCst));
        async move {
            if fails {
                return Err("no");
            }
            sleep.await;
            Ok(())
        }
    });
    let task = task.durable().register()?;
    spawns(&process, &task, 0, 1)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(10);
    let failed = process.sim.app().failed().block_on()?.remove(0);
    fails.store(false, Ordering::SeqCst);
    failed.retry().block_on()?;
    assert_eq!(runs(&process)?, [1]);
    process.advance(20);
    assert_eq!(runs(&process)?, [1]);
    process.sim.advance(HOUR);
    assert_eq!(runs(&process)?, [2]);
    Ok(())
}

#[test]
fn a_run_whose_arguments_can_not_be_copied_fails_and_the_next_is_made() -> Result {
    #[derive(Debug)]
    struct Args(Arc<AtomicBool>);
    impl Clone for Args {
        fn clone(&self) -> Self {
            assert!(!self.0.load(Ordering::SeqCst), "no copy");
            Self(self.0.clone())
        }
    }
    let mut process = Process::boot(&Machine::new(), false);
    let fails = Arc::new(AtomicBool::new(true));
    let task = process.sim.app().task("t", async |_: Args| {});
    let task = task.retry(Backoff::fixed(9, SECOND)).register()?;
    let schedule = task.schedule(Args(fails.clone())).id("x");
    let schedule = schedule.overlap(Overlap::Spawn(1));
    let job = schedule.every(MINUTE).block_on()?;
    process.advance(70);
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    assert!(matches!(job.result(), Err(JobError::Panicked { .. })));
    fails.store(false, Ordering::SeqCst);
    process.advance(60);
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (2, JobStatus::Success));
    Ok(())
}

#[test]
fn times_that_were_missed_while_no_process_ran_become_jobs_as_the_policy_says() -> Result {
    let machine = Machine::new();
    let process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    let schedule = spawns(&process, &task, 1_000, 3).misfire(Misfire::All(9));
    schedule.cron("* * * * *").block_on()?;
    process.sim.crash();
    machine.clock.advance(MINUTE * 5 + SECOND);
    let mut process = Process::boot(&machine, true);
    process.task("t").register()?;
    process.sim.run_until_stalled();
    // Three of five have room.
    assert_eq!(runs(&process)?, [1, 2, 3]);
    let due: Vec<_> = spawned(&process)?.iter().map(|job| job.exec_at()).collect();
    assert_eq!(due, [1, 2, 3].map(|minute| START + MINUTE * minute));
    process.sim.advance(Duration::from_secs(1_000));
    Ok(())
}

#[test]
fn a_stop_leaves_the_jobs_of_runs_to_the_next_process() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    spawns(&process, &task, 1_000, 9)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(20);
    process.sim.app().shutdown(SECOND).block_on();
    let process = Process::boot(&machine, true);
    process.task("t").register()?;
    assert_eq!(runs(&process)?, [1, 2]);
    Ok(())
}

/// Random programs of one job whose runs become jobs, with faults and crashes.
///
/// - No job is made while as many are live as may be, and never two for one run.
/// - Each run that counts has had its job.
/// - Each run of an at-most-once task is started once at most.
#[test]
fn random_programs_make_one_job_for_each_run() -> Result {
    for seed in 0..400 {
        random_program(seed).map_err(|error| format!("seed {seed}: {error}"))?;
    }
    Ok(())
}

fn random_program(seed: u64) -> Result {
    let mut random = fastrand::Rng::with_seed(seed);
    let at_most_once = random.bool();
    let most = random.usize(1..4);
    let machine = Machine::new();
    let starts = Log::new();
    let boot = || -> Result<(Process, Task<Work, ()>)> {
        let process = Process::boot(&machine, true);
        let (clock, starts) = (process.sim.clock(), starts.clone());
        let task = process
            .sim
            .app()
            .task("t", move |cx: JobContext, work: Work| {
                starts.add(cx.spawned_by().map(|by| by.run));
                clock.sleep(Duration::from_secs(work.1))
            });
        let task = task.durable();
        let task = if at_most_once {
            task.at_most_once()
        } else {
            task
        };
        Ok((process, task.register()?))
    };
    let (mut process, mut task) = boot()?;
    let take = random.u64(0..60);
    spawns(&process, &task, take, most)
        .every(SECOND * 10)
        .block_on()?;
    let mut before = BTreeSet::new();
    let mut made = BTreeMap::<u64, BTreeSet<JobId>>::new();
    for _ in 0..random.usize(5..40) {
        let job: Job<()> = task.job("x").unwrap();
        match random.u8(0..12) {
            0 => {
                drop(job);
                process.sim.crash();
                (process, task) = boot()?;
                before = spawned(&process)?
                    .iter()
                    .map(|job| job.id().clone())
                    .collect();
            }
            1 => machine.set_fault(match random.u8(0..4) {
                0 => Fault::Fail,
                1 => Fault::Tear,
                2 => Fault::FailWith(StorageError::Full {
                    path: "disk".into(),
                }),
                _ => Fault::FailWith(StorageError::TooLarge {
                    detail: "row".into(),
                }),
            }),
            2 | 3 => machine.set_fault(Fault::None),
            // With faults this may fail.
            4 => drop(job.run_now().block_on()),
            5 => drop(job.pause().block_on()),
            6 => drop(job.resume().block_on()),
            7 => {
                if let Some(one) = random.choice(spawned(&process)?) {
                    drop(one.abort().block_on());
                }
            }
            _ => {}
        }
        for _ in 0..random.u64(0..25) {
            process.advance(1);
            let live = spawned(&process)?;
            let mut runs = BTreeSet::new();
            for job in &live {
                let run = job.spawned_by().unwrap().run;
                assert!(runs.insert(run), "{seed}: two jobs for the run {run}");
                made.entry(run).or_default().insert(job.id().clone());
            }
            let ids: BTreeSet<JobId> = live.iter().map(|job| job.id().clone()).collect();
            // A job comes back after a crash if its end was not stored: then there may be more.
            assert!(
                live.len() <= most || ids.is_subset(&before),
                "{seed}: {live:?}"
            );
            before = ids;
        }
    }
    let counted = task
        .job("x")
        .unwrap()
        .last_run()
        .map_or(0, |run| run.number);
    let started: Vec<u64> = starts.take().into_iter().flatten().collect();
    for run in 1..=counted {
        let starts = started.iter().filter(|started| **started == run).count();
        // An attempt that is made at most once may be lost in a crash.
        let has_job = made.contains_key(&run) || starts > 0 || at_most_once;
        assert!(has_job, "{seed}: the run {run} has no job");
        assert!(
            !at_most_once || starts <= 1,
            "{seed}: {run} has started {starts} times"
        );
    }
    assert!(!started.contains(&0));
    Ok(())
}

#[test]
fn the_job_and_the_end_of_its_run_are_in_one_commit_and_the_job_starts_after_it() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = app.slow(&log, SECOND)?;
    let schedule = task.schedule(7).id("x").overlap(Overlap::Spawn(1));
    schedule.every(MINUTE).block_on()?;
    app.occupy_store()?;
    app.advance(MINUTE)?;
    let spawned = app.app.select(Jobs::matching().spawned_by("x")).list()?;
    app.store.answer(Fault::None);
    let put = format!("put {} 7", spawned[0].id());
    assert_eq!(app.store.requested()?, ["advance x".into(), put]);
    app.advance(SECOND)?;
    assert_eq!(log.take(), []);
    app.release()?;
    app.advance(Duration::ZERO)?;
    assert_eq!(log.take(), [(1, 7)]);
    Ok(())
}

/// A store that refuses new rows with this error, when a run makes a job, and then a crash.
fn refused_with(error: fn() -> StorageError) -> Result {
    let machine = Machine::new();
    let is_full = Arc::new(AtomicBool::new(false));
    let full = is_full.clone();
    let storage = FaultyStorage::new(machine.disk.clone(), move |operation| match operation {
        Operation::Commit(changes)
            if full.load(Ordering::SeqCst)
                && changes.iter().any(|it| matches!(it, Change::Put(_))) =>
        {
            Fault::FailWith(error())
        }
        _ => Fault::None,
    });
    let log = Log::new();
    {
        let mut sim = Simulation::with(1, machine.clock.clone(), |app| app.storage(storage))?;
        let task = sim
            .app()
            .task("t", async |_: Work| std::future::pending::<()>().await);
        let task = task.durable().register()?;
        let schedule = task.schedule((0, 0)).id("x").overlap(Overlap::Spawn(3));
        schedule.every(SECOND * 10).block_on()?;
        is_full.store(true, Ordering::SeqCst);
        sim.advance(SECOND * 10);
        sim.crash();
    }
    let mut process = Process::boot(&machine, true);
    let seen = log.clone();
    let task = process.sim.app().task("t", move |cx: JobContext, _: Work| {
        seen.add(cx.run_number());
        async {}
    });
    task.durable().register()?;
    process.sim.run_until_stalled();
    assert_eq!(log.take(), [1], "the run is lost");
    Ok(())
}

#[test]
fn a_full_store_and_a_crash_lose_no_run() -> Result {
    refused_with(|| StorageError::Full {
        path: "disk".into(),
    })
}

#[test]
fn a_row_that_is_too_large_and_a_crash_lose_no_run() -> Result {
    refused_with(|| StorageError::TooLarge {
        detail: "row".into(),
    })
}

#[test]
fn a_crash_between_two_commits_of_many_jobs_loses_no_run() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    // It comes first by its id.
    let schedule = process
        .schedule(&task, 1, 1_000)
        .id("00000000-0000-7000-8000-000000000001")
        .overlap(Overlap::Spawn(3));
    schedule.every(SECOND * 10).block_on()?;
    let many = 5_000;
    for n in 0..many {
        let schedule = process.schedule(&task, n + 2, 0);
        schedule.delay(SECOND * 10).block_on()?;
    }
    machine.set_fault(Fault::Fail);
    process.advance(10);
    // The first commit of the next try succeeds, and then the machine is gone.
    machine.plan_faults([Fault::None]);
    process.advance(10);
    process.sim.crash();
    machine.clear_faults();
    machine.set_fault(Fault::None);
    let mut process = Process::boot(&machine, true);
    let log = Log::new();
    let seen = log.clone();
    let task = process
        .sim
        .app()
        .task("t", move |cx: JobContext, work: Work| {
            if work.0 == 1 {
                seen.add((cx.spawned_by().is_some(), cx.run_number()));
            }
            async {}
        });
    task.durable().register()?;
    process.sim.run_until_stalled();
    assert!(log.entries().contains(&(true, 1)), "the run 1 is lost");
    Ok(())
}

#[test]
fn a_job_that_is_scheduled_in_the_same_instant_makes_its_runs() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = spawns(&process, &task, 1_000, 9)
            .every(SECOND * 10)
            .block_on()?;
        job.run_now().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(runs(&process)?, [1]);
        job.cancel().block_on()?;
        let job = spawns(&process, &task, 1_000, 9)
            .every(SECOND * 10)
            .block_on()?;
        job.run_now().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(
            process.log.take().len(),
            2,
            "last run: {:?}",
            job.last_run()
        );
        Ok(())
    })
}

#[test]
fn an_extra_run_that_was_accepted_is_made() -> Result {
    type Hook = Arc<Mutex<Option<Box<dyn Fn() + Send>>>>;
    struct Args(Hook);
    impl Clone for Args {
        fn clone(&self) -> Self {
            let hook = self.0.lock().unwrap().take();
            if let Some(hook) = hook {
                hook();
            }
            Self(self.0.clone())
        }
    }
    let mut process = Process::boot(&Machine::new(), false);
    let log = Log::new();
    let seen = log.clone();
    let task = process.sim.app().task("t", move |cx: JobContext, _: Args| {
        seen.add(cx.run_number());
        std::future::pending::<()>()
    });
    let task = task.register()?;
    let hook = Hook::default();
    let schedule = task.schedule(Args(hook.clone())).id("x");
    let job = schedule
        .overlap(Overlap::Spawn(1))
        .every(MINUTE)
        .block_on()?;
    let outcomes = Log::new();
    let (same, seen) = (job.clone(), outcomes.clone());
    *hook.lock().unwrap() = Some(Box::new(move || {
        seen.add(same.run_now().block_on().unwrap())
    }));
    process.advance(60);
    let promised = outcomes
        .entries()
        .iter()
        .filter(|it| it.took_effect())
        .count();
    assert_eq!(log.entries().len(), 1 + promised);
    Ok(())
}

/// A reader of events learns of the job before anybody else.
#[test]
fn a_new_job_can_be_cancelled_at_once() -> Result {
    use std::task::{Context, Wake, Waker};
    struct Reader {
        events: Mutex<jobber::Events>,
        task: Task<Work, ()>,
        cancel: Mutex<Option<(jobber::Cancel, Job<()>)>>,
    }
    impl Wake for Reader {
        fn wake(self: Arc<Self>) {
            let Ok(mut events) = self.events.try_lock() else {
                return;
            };
            let waker = Waker::from(self.clone());
            let mut cx = Context::from_waker(&waker);
            loop {
                let next = std::pin::Pin::new(&mut *events);
                match futures_lite::Stream::poll_next(next, &mut cx) {
                    std::task::Poll::Ready(Some(jobber::Event::Job(event))) if event.id != "x" => {
                        let kind = crate::support::event_kind(jobber::Event::Job(event.clone()));
                        if kind == "scheduled"
                            && let Some(job) = self.task.job(&event.id)
                        {
                            *self.cancel.lock().unwrap() = Some((job.cancel(), job.clone()));
                            let mut cancel = self.cancel.lock().unwrap();
                            let (cancel, _) = cancel.as_mut().unwrap();
                            let _ = crate::support::poll(cancel);
                        }
                    }
                    std::task::Poll::Ready(Some(_)) => {}
                    _ => return,
                }
            }
        }
    }
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    spawns(&process, &task, 1_000, 9)
        .every(SECOND * 10)
        .block_on()?;
    let reader = Arc::new(Reader {
        events: Mutex::new(process.sim.app().events()),
        task: task.clone(),
        cancel: Default::default(),
    });
    reader.clone().wake();
    process.advance(10);
    let (mut cancel, job) = reader.cancel.lock().unwrap().take().unwrap();
    let answer = crate::support::poll(&mut cancel);
    let shown = format!("{answer:?} {} {:?}", job.status(), process.log.entries());
    assert_eq!(shown, "Some(Ok(Cancelled)) CANCELLED []");
    Ok(())
}

#[test]
fn at_most_256_overdue_runs_are_in_their_first_attempt() -> Result {
    for overlap in [Overlap::Wait, Overlap::Spawn(1)] {
        let machine = Machine::new();
        let process = Process::boot(&machine, true);
        let task = process.task("t").register()?;
        for n in 0..400 {
            let schedule = process.schedule(&task, n, 1_000).overlap(overlap);
            let schedule = schedule.id(format!("x{n}"));
            schedule.cron("* * * * *").block_on()?;
        }
        process.sim.crash();
        machine.clock.advance(MINUTE);
        let mut process = Process::boot(&machine, true);
        process.task("t").register()?;
        process.sim.run_until_stalled();
        assert!(
            process.running.most() <= 256,
            "{overlap:?}: {}",
            process.running.most()
        );
    }
    Ok(())
}

#[test]
fn the_kept_end_of_the_job_of_a_run_has_its_number() -> Result {
    let mut process = Process::boot(&Machine::new(), true);
    let log = Log::new();
    let seen = log.clone();
    let task = process.sim.app().task("t", move |cx: JobContext, _: Work| {
        seen.add(cx.run_number());
        async { Err::<(), _>("no") }
    });
    let task = task.durable().register()?;
    spawns(&process, &task, 0, 1)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(30);
    let failed = process.sim.app().failed().block_on()?;
    let mut numbers: Vec<u64> = failed.iter().map(|it| it.run_number()).collect();
    numbers.sort();
    assert_eq!(log.take(), [1, 2, 3]);
    assert_eq!(numbers, [1, 2, 3]);
    Ok(())
}

#[test]
fn a_job_in_memory_that_is_replaced_stays_the_one_of_its_run() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (clock, log) = (process.sim.clock(), Log::new());
    let seen = log.clone();
    let task = process
        .sim
        .app()
        .task("t", move |cx: JobContext, work: Work| {
            seen.add(cx.run_number());
            clock.sleep(Duration::from_secs(work.1))
        });
    let task = task.limit(1).register()?;
    let job = task.schedule((0, 1_000)).id("x").overlap(Overlap::Spawn(2));
    job.every(SECOND * 10).block_on()?;
    process.advance(20);
    let job = spawned(&process)?.remove(1);
    assert_eq!(job.status(), JobStatus::Scheduled);
    task.schedule((5, 1_000))
        .id(job.id())
        .replace()
        .push()
        .block_on()?;
    assert_eq!(runs(&process)?, [1, 2]);
    Ok(())
}

#[test]
fn an_at_most_once_run_that_has_not_started_is_started_by_the_next_process() -> Result {
    for faults in [vec![Fault::Die], vec![Fault::None, Fault::Die]] {
        let machine = Machine::new();
        let mut process = Process::boot(&machine, true);
        let task = process.task("t").at_most_once().register()?;
        spawns(&process, &task, 1_000, 9)
            .every(SECOND * 10)
            .block_on()?;
        // The store is gone before it has the job, or before it has the start of the job.
        machine.plan_faults(faults);
        process.advance(10);
        assert_eq!(process.log.take().len(), 0, "it has not started");
        process.sim.crash();
        machine.clear_faults();
        let mut process = Process::boot(&machine, true);
        process.task("t").at_most_once().register()?;
        process.sim.run_until_stalled();
        assert_eq!(process.log.take().len(), 1);
    }
    Ok(())
}

/// A task whose attempts fail while `fails` is set, and else wait for ever.
fn fails_or_waits(app: &HeldApp, fails: &Arc<AtomicBool>) -> Result<Task<u32, ()>> {
    let fails = fails.clone();
    let task = app.app.task("f", move |_: u32| {
        let fails = fails.load(Ordering::SeqCst);
        async move {
            if !fails {
                std::future::pending::<()>().await;
            }
            Err::<(), _>("no")
        }
    });
    Ok(task.durable().register()?)
}

#[test]
fn a_retry_by_hand_that_waits_for_the_store_counts() -> Result {
    let mut app = HeldApp::new()?;
    let fails = Arc::new(AtomicBool::new(true));
    let task = fails_or_waits(&app, &fails)?;
    let schedule = task.schedule(7).id("x").overlap(Overlap::Spawn(1));
    schedule.every(MINUTE).block_on()?;
    app.advance(MINUTE)?;
    app.release()?;
    app.advance(Duration::ZERO)?;
    app.release()?;
    let failed = app.app.failed().block_on()?.remove(0);
    fails.store(false, Ordering::SeqCst);
    app.occupy_store()?;
    let mut retry = failed.retry();
    let _ = crate::support::poll(&mut retry);
    app.advance(MINUTE)?;
    app.release()?;
    retry.block_on()?;
    app.advance(Duration::ZERO)?;
    app.release()?;
    app.advance(Duration::ZERO)?;
    let live = || {
        app.app
            .select(Jobs::matching().spawned_by("x"))
            .list()
            .unwrap()
    };
    let first: Vec<_> = live()
        .iter()
        .map(|it| it.spawned_by().unwrap().run)
        .collect();
    assert!(first.len() <= 1, "runs {first:?} are live");
    Ok(())
}

#[test]
fn an_interval_goes_on_after_a_restart_on_a_clock_that_is_not_set() -> Result {
    use time::macros::datetime;
    for overlap in [Overlap::Wait, Overlap::CancelRunning, Overlap::Spawn(1)] {
        let mut machine = Machine::new();
        machine.clock = jobber::testing::ManualClock::at(datetime!(1970-01-01 0:00 UTC))
            .with_earliest_true_time(datetime!(2026-11-01 0:00 UTC));
        let process = Process::boot(&machine, true);
        let task = process.task("t").register()?;
        let schedule = process.schedule(&task, 0, 5).id("x").overlap(overlap);
        schedule.every(MINUTE).block_on()?;
        process.sim.crash();
        let mut process = Process::boot(&machine, true);
        process.task("t").register()?;
        process.sim.advance(HOUR);
        let made = process.log.take().len();
        assert!(made >= 50, "{overlap:?}: {made} runs in an hour");
    }
    Ok(())
}

#[test]
fn cron_goes_on_after_a_restart_with_a_clock_that_was_set_back() -> Result {
    for overlap in [Overlap::Wait, Overlap::Spawn(1)] {
        let machine = Machine::new();
        machine.clock.advance(HOUR * 10);
        let mut process = Process::boot(&machine, true);
        let task = process.task("t").register()?;
        let schedule = process.schedule(&task, 0, 40).id("x").overlap(overlap);
        schedule.cron("* * * * *").block_on()?;
        process.advance(70);
        assert_eq!(process.log.take().len(), 1);
        process.sim.crash();
        machine.clock.set_wall(START + HOUR * 9);
        let mut process = Process::boot(&machine, true);
        process.task("t").register()?;
        process.advance(600);
        let made = process.log.take().len();
        assert!(made > 5, "{overlap:?}: {made} runs in ten minutes");
    }
    Ok(())
}

/// A process whose store fails, and the job of its first run, which the store does not have.
fn with_a_job_that_is_not_stored(
    machine: &Machine,
    fault: Fault,
) -> Result<(Process, Task<Work, ()>, AnyJob)> {
    let mut process = Process::boot(machine, true);
    let task = process.task("t").register()?;
    spawns(&process, &task, 1_000, 9)
        .every(SECOND * 10)
        .block_on()?;
    machine.set_fault(fault);
    process.advance(10);
    let child = spawned(&process)?.remove(0);
    Ok((process, task, child))
}

#[test]
fn a_replacement_of_a_job_that_was_not_stored_is_stored() -> Result {
    // `delayed`: the control, with a job that no other carries.
    for is_carried in [false, true] {
        let machine = Machine::new();
        let mut process = Process::boot(&machine, true);
        let task = process.task("t").limit(1).register()?;
        process.push(&task, 1, 10_000)?;
        process.sim.run_until_stalled();
        let id = if is_carried {
            spawns(&process, &task, 1_000, 9)
                .every(SECOND * 10)
                .block_on()?;
            machine.set_fault(Fault::Fail);
            process.advance(10);
            spawned(&process)?.remove(0).id().clone()
        } else {
            let job = process.schedule(&task, 3, 3).delay(HOUR).block_on()?;
            machine.set_fault(Fault::Fail);
            drop(job.pause().block_on());
            process.advance(10);
            job.id().clone()
        };
        machine.set_fault(Fault::None);
        task.schedule((77, 0))
            .id(&id)
            .replace()
            .delay(HOUR)
            .block_on()?;
        process.advance(60);
        let record = machine.record(&id.to_string()).unwrap();
        assert_eq!(record.args, "[77,0]", "carried: {is_carried}");
    }
    Ok(())
}

#[test]
fn a_replacement_in_memory_of_a_job_that_was_not_stored_leaves_no_row() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").limit(1).register()?;
    process.push(&task, 1, 10_000)?;
    process.sim.run_until_stalled();
    spawns(&process, &task, 1_000, 9)
        .every(SECOND * 10)
        .block_on()?;
    machine.set_fault(Fault::Fail);
    process.advance(10);
    let child = spawned(&process)?.remove(0);
    machine.set_fault(Fault::None);
    task.schedule((77, 0))
        .id(child.id())
        .replace()
        .in_memory()
        .delay(HOUR)
        .block_on()?;
    process.advance(60);
    assert!(!child.snapshot().is_durable);
    assert!(
        !machine.has(&child.id().to_string()),
        "the store has the row of a job in memory"
    );
    Ok(())
}

#[test]
fn a_replacement_in_memory_while_the_store_is_slow_leaves_no_row() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = app.slow(&log, SECOND)?;
    let schedule = task.schedule(7).id("x").overlap(Overlap::Spawn(1));
    schedule.every(MINUTE).block_on()?;
    app.occupy_store()?;
    app.advance(MINUTE)?;
    let spawned = app.app.select(Jobs::matching().spawned_by("x")).list()?;
    let id = spawned[0].id().clone();
    let mut replace = task.schedule(8).id(&id).replace().in_memory().delay(HOUR);
    crate::support::begin(&mut replace);
    app.release()?;
    replace.block_on()?;
    app.advance(SECOND)?;
    assert!(!spawned[0].snapshot().is_durable);
    assert!(
        app.record(&id.to_string()).is_none(),
        "{:?}",
        app.record(&id.to_string())
    );
    Ok(())
}

#[test]
fn a_successor_of_a_job_that_was_not_stored_is_stored() -> Result {
    let machine = Machine::new();
    let (mut process, task, child) = with_a_job_that_is_not_stored(&machine, Fault::Tear)?;
    machine.set_fault(Fault::Fail);
    drop(child.abort().block_on());
    assert_eq!(child.status(), JobStatus::Cancelled);
    process.advance(1);
    machine.set_fault(Fault::None);
    task.schedule((77, 0))
        .id(child.id())
        .delay(HOUR)
        .block_on()?;
    process.advance(60);
    assert!(
        machine.has(&child.id().to_string()),
        "the accepted successor is not in the store"
    );
    Ok(())
}

#[test]
fn a_second_abort_of_a_job_that_was_not_stored_says_what_the_store_says() -> Result {
    let machine = Machine::new();
    let (process, _task, child) = with_a_job_that_is_not_stored(&machine, Fault::Tear)?;
    machine.set_fault(Fault::Fail);
    let first = child.abort().block_on();
    let again = child.abort().block_on();
    let has = machine.has(&child.id().to_string());
    assert!(again.is_err() || !has, "{first:?} {again:?} has row: {has}");
    drop(process);
    Ok(())
}

#[test]
fn the_end_of_a_job_that_was_not_stored_is_kept_once() -> Result {
    let machine = Machine::new();
    let counts = Log::new();
    let fails = Arc::new(AtomicBool::new(false));
    let (failing, seen) = (fails.clone(), counts.clone());
    let storage = FaultyStorage::new(machine.disk.clone(), move |operation| match operation {
        Operation::Commit(changes) => {
            let ends = changes.iter().filter(|it| matches!(it, Change::KeepEnd(_)));
            let puts = changes.len();
            seen.add((ends.count(), puts));
            match failing.load(Ordering::SeqCst) {
                true => Fault::Fail,
                false => Fault::None,
            }
        }
        _ => Fault::None,
    });
    let mut sim = Simulation::with(1, machine.clock.clone(), |app| app.storage(storage))?;
    let task = sim.app().task("t", async |_: Work| Err::<(), _>("no"));
    let task = task.durable().register()?;
    let schedule = task.schedule((0, 0)).id("x").overlap(Overlap::Spawn(3));
    schedule.every(HOUR * 24).block_on()?;
    fails.store(true, Ordering::SeqCst);
    sim.advance(HOUR * 24);
    sim.advance(HOUR);
    counts.take();
    fails.store(false, Ordering::SeqCst);
    sim.advance(MINUTE);
    let most = counts.take().into_iter().max().unwrap();
    assert_eq!(
        most.0, 1,
        "ends of one job in one commit, changes: {}",
        most.1
    );
    Ok(())
}

#[test]
fn what_is_unstored_counts_the_jobs_of_runs() -> Result {
    let machine = Machine::new();
    let (mut process, _task, _child) = with_a_job_that_is_not_stored(&machine, Fault::Fail)?;
    process.advance(20);
    assert_eq!(spawned(&process)?.len(), 3);
    let report = process.sim.app().shutdown(Duration::ZERO).block_on();
    assert_eq!(report.unstored, 4, "{report:?}");
    Ok(())
}

/// Random programs with faults of the store, whose jobs are steered and replaced: when the store
/// works again, it has the live jobs and nothing else, and each handle is live or done.
#[test]
fn after_random_faults_the_store_has_the_live_jobs() -> Result {
    for seed in 0..400 {
        random_faults(seed)?;
    }
    Ok(())
}

fn random_faults(seed: u64) -> Result {
    let mut random = fastrand::Rng::with_seed(seed);
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t");
    let task = match random.u8(0..3) {
        0 => task.limit(2),
        1 => task.at_most_once(),
        _ => task,
    };
    let task = task.register()?;
    let replaces_children = seed.is_multiple_of(2);
    let new = |process: &Process, random: &mut fastrand::Rng, task: &Task<Work, ()>| {
        spawns(process, task, random.u64(0..40), random.usize(1..5))
            .replace()
            .every(SECOND * 10)
            .block_on()
    };
    new(&process, &mut random, &task)?;
    let mut trace = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..random.usize(3..30) {
        let x = task.job("x");
        let children = spawned(&process)?;
        let child = random.choice(children);
        let op = random.u8(0..18);
        trace.push(op);
        match (op, x, child) {
            (0 | 1, ..) => machine.set_fault(match random.u8(0..5) {
                0 | 1 => Fault::Fail,
                2 => Fault::Tear,
                3 => Fault::FailWith(StorageError::Full {
                    path: "disk".into(),
                }),
                _ => Fault::FailWith(StorageError::TooLarge {
                    detail: "row".into(),
                }),
            }),
            (2 | 3, ..) => machine.set_fault(Fault::None),
            (4, ..) => machine.plan_faults([Fault::Fail, Fault::None, Fault::Tear]),
            (5, Some(x), _) => drop(x.run_now().block_on()),
            (6, Some(x), _) => drop(x.cancel().block_on()),
            (7, Some(x), _) => drop(x.abort().block_on()),
            (8, ..) => drop(new(&process, &mut random, &task)),
            (9, _, Some(child)) => drop(child.abort().block_on()),
            (10, _, Some(child)) => drop(child.cancel().block_on()),
            (11, _, Some(child)) => drop(child.pause().block_on()),
            (12, _, Some(child)) => drop(child.resume().block_on()),
            (13, _, Some(child)) if replaces_children => {
                drop(
                    task.schedule((random.u32(1..99), 5))
                        .id(child.id())
                        .replace()
                        .delay(SECOND * random.u32(0..30))
                        .block_on(),
                );
            }
            (14, _, Some(child)) if replaces_children => {
                drop(
                    task.schedule((random.u32(1..99), 5))
                        .in_memory()
                        .id(child.id())
                        .replace()
                        .delay(SECOND * random.u32(0..30))
                        .block_on(),
                );
            }
            (15, Some(x), _) => drop(x.pause().block_on()),
            (16, Some(x), _) => drop(x.resume().block_on()),
            _ => {}
        }
        handles.extend(spawned(&process)?);
        process.advance(random.u64(0..12));
    }
    machine.clear_faults();
    machine.set_fault(Fault::None);
    if let Some(x) = task.job("x") {
        drop(x.pause().block_on());
    }
    process.advance(30);
    for job in process
        .sim
        .app()
        .select(Jobs::matching().task("t"))
        .list()?
    {
        if *job.id() != "x" && job.status() == JobStatus::Running {
            process.advance(60);
        }
    }
    let live = process
        .sim
        .app()
        .select(Jobs::matching().task("t"))
        .list()?;
    let mut expected = BTreeMap::new();
    for job in &live {
        let snapshot = job.snapshot();
        if snapshot.is_durable {
            expected.insert(job.id().to_string(), snapshot.args.map(|it| it.to_string()));
        }
    }
    let stored: BTreeMap<_, _> = machine
        .records()
        .into_iter()
        .map(|it| (it.id.to_string(), Some(it.args.to_string())))
        .collect();
    assert_eq!(expected, stored, "{seed}: {trace:?}");
    assert_eq!(process.sim.app().health().unstored(), 0, "{seed}");
    for handle in handles {
        let is_live = live.iter().any(|it| it.id() == handle.id());
        assert!(is_live || handle.is_done(), "{seed} {handle:?}");
    }
    Ok(())
}

/// A retry by hand has taken the place of the extra run.
#[test]
fn an_extra_run_that_has_lost_its_room_is_made_when_the_next_run_is_due() -> Result {
    let mut app = HeldApp::new()?;
    let fails = Arc::new(AtomicBool::new(true));
    let task = fails_or_waits(&app, &fails)?;
    let schedule = task.schedule(7).id("x").overlap(Overlap::Spawn(2));
    let job = schedule.every(MINUTE).block_on()?;
    let settle = |app: &mut HeldApp| -> Result {
        for _ in 0..3 {
            app.release()?;
            app.advance(Duration::ZERO)?;
        }
        Ok(())
    };
    app.advance(MINUTE)?;
    settle(&mut app)?;
    let failed = app.app.failed().block_on()?.remove(0);
    fails.store(false, Ordering::SeqCst);
    app.clock.advance(MINUTE);
    let second = app.spawned.recv_timeout(crate::support::WATCHDOG)?;
    assert_eq!(job.run_now().block_on()?, SteerOutcome::AfterAttempt);
    let retried = failed.retry().block_on()?;
    app.start_polling(second);
    settle(&mut app)?;
    let runs = |app: &HeldApp| -> Result<Vec<u64>> {
        let jobs = app.app.select(Jobs::matching().spawned_by("x")).list()?;
        let runs = jobs.iter().filter_map(|job| Some(job.spawned_by()?.run));
        let mut runs: Vec<u64> = runs.collect();
        runs.sort();
        Ok(runs)
    };
    assert_eq!(runs(&app)?, [1, 2]);
    let _ = retried.abort().block_on();
    settle(&mut app)?;
    assert_eq!(runs(&app)?, [2]);
    app.advance(MINUTE)?;
    settle(&mut app)?;
    assert_eq!(runs(&app)?, [2, 3]);
    let started = job.last_run().unwrap().nominal_time;
    assert_eq!(started, START + MINUTE * 2, "it is the extra one");
    Ok(())
}
