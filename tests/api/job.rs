//! The contract of a job's handle.

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support::{HOUR, Log, MINUTE, Result, SECOND, started_app};
use jobber::testing::{ManualClock, Simulation};
use jobber::{AnyJob, Clock, Job, JobError, JobId, JobStatus, Jobber, Wait};
use time::macros::{datetime, offset};

#[test]
fn generated_ids_are_unique_time_ordered_uuids_of_version_7() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let mut ids = Vec::new();
    for _ in 0..1_000 {
        ids.push(task.schedule(()).delay(HOUR).block_on()?.id().to_string());
    }
    assert!(
        ids.is_sorted_by(|a, b| a < b),
        "generated ids are in the order of scheduling"
    );
    for id in ids {
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(
            (&id[14..15], &id[..8]),
            ("7", "00dc6acf"),
            "2000-01-01 in milliseconds"
        );
        assert!("89ab".contains(&id[19..20]));
    }
    Ok(())
}

#[test]
fn ids_stay_in_order_when_the_wall_clock_goes_back() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let before = task.schedule(()).delay(HOUR).block_on()?;
    sim.set_wall(datetime!(1999-01-01 0:00 UTC));
    let after = task.schedule(()).delay(HOUR).block_on()?;
    assert!(before.id() < after.id());
    Ok(())
}

#[test]
fn ids_of_one_seed_are_the_same_each_time() -> Result {
    let ids = |seed| -> Result<Vec<JobId>> {
        let sim = Simulation::with(seed, ManualClock::new(), |builder| builder)?;
        let task = sim.app().task("t", || async {}).register()?;
        (0..10)
            .map(|_| Ok(task.schedule(()).push().block_on()?.id().clone()))
            .collect()
    };
    assert_eq!(ids(1)?, ids(1)?);
    assert_ne!(ids(1)?, ids(2)?);
    Ok(())
}

#[test]
fn a_job_is_found_by_its_id_until_it_is_done() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |x: i32| x).register()?;
    let generated = task.schedule(1).delay(SECOND).block_on()?;
    let named = task.schedule(2).id("named").delay(SECOND).block_on()?;
    for job in [&generated, &named] {
        let found = sim.app().find_job(job.id()).expect("it is live");
        assert_eq!(found.id(), job.id());
        let by_text = sim
            .app()
            .find_job(job.id().to_string())
            .expect("by its text");
        assert_eq!(by_text.id(), job.id());
    }
    assert!(sim.app().find_job("other").is_none());
    sim.advance(SECOND);
    for job in [&generated, &named] {
        assert!(
            sim.app().find_job(job.id()).is_none(),
            "done jobs are not kept"
        );
    }
    Ok(())
}

#[test]
fn the_id_of_a_removed_job_does_not_find_the_next_job_in_its_slot() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let first = task.schedule(()).delay(HOUR).block_on()?;
    first.cancel().block_on()?;
    let second = task.schedule(()).delay(HOUR).block_on()?;
    assert!(sim.app().find_job(first.id()).is_none());
    assert!(sim.app().find_job(second.id()).is_some());
    Ok(())
}

#[test]
fn a_caller_may_name_a_job_with_any_uuid() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    // Read as a generated id, it names slot 0, which another job has.
    let other = task.schedule(()).delay(HOUR).block_on()?;
    let id = "01902a5e-7c4b-7d10-8a3e-000000000000";
    let job = task.schedule(()).id(id).delay(HOUR).block_on()?;
    assert_eq!(sim.app().find_job(id).unwrap().id(), job.id());
    assert_ne!(job.id(), other.id());
    job.cancel().block_on()?;
    assert!(sim.app().find_job(id).is_none());
    Ok(())
}

#[test]
fn task_job_returns_the_typed_handle_of_its_own_jobs_only() -> Result {
    let mut sim = Simulation::new();
    let double = sim.app().task("double", async |x: i32| 2 * x).register()?;
    let triple = sim.app().task("triple", async |x: i32| 3 * x).register()?;
    let schedule = double.schedule(21).id("answer");
    let _ = schedule.delay(SECOND).block_on()?;
    assert!(
        triple.job("answer").is_none(),
        "it is a job of another task"
    );
    let job: Job<i32> = double.job("answer").expect("it is live and its own");
    sim.advance(SECOND);
    assert_eq!(*job.result()?, 42);
    Ok(())
}

#[test]
fn jobs_lists_every_live_job() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: u64| {}).register()?;
    let mut ids: Vec<JobId> = Vec::new();
    for n in 1..=1_000 {
        let job = task.schedule(n).delay(SECOND * n as u32).block_on()?;
        ids.push(job.id().clone());
    }
    sim.advance(SECOND * 400);
    let mut live: Vec<JobId> = sim
        .app()
        .jobs()
        .iter()
        .map(|job| job.id().clone())
        .collect();
    live.sort();
    assert_eq!(live, ids[400..]);
    Ok(())
}

#[test]
fn exec_at_is_the_due_time_with_the_apps_offset() -> Result {
    let clock = ManualClock::at(datetime!(2026-11-23 12:00 UTC));
    let sim = Simulation::with(0, clock, |b| b.zone(offset!(+5:30)))?;
    let task = sim.app().task("t", || async {}).register()?;
    let delayed = task.schedule(()).delay(MINUTE).block_on()?;
    assert_eq!(delayed.exec_at(), datetime!(2026-11-23 17:31 +5:30));
    assert_eq!(delayed.exec_at().offset(), offset!(+5:30));
    let at = datetime!(2027-01-01 0:00 -3);
    let dated = task.schedule(()).at(at).block_on()?;
    assert_eq!(
        (dated.exec_at(), dated.exec_at().offset()),
        (at, offset!(+5:30))
    );
    let pushed = task.schedule(()).push().block_on()?;
    assert_eq!(pushed.exec_at(), datetime!(2026-11-23 12:00 UTC));
    Ok(())
}

#[test]
fn exec_at_of_a_recurring_job_is_its_next_run() -> Result {
    let mut sim = Simulation::new();
    let start = sim.clock().wall();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).every(MINUTE).block_on()?;
    assert_eq!(job.exec_at(), start + MINUTE);
    sim.advance(MINUTE * 5 / 2);
    assert_eq!(job.exec_at(), start + MINUTE * 3);
    Ok(())
}

#[test]
fn cron_expression_is_none_for_every_other_trigger() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    for job in [
        task.schedule(()).push().block_on()?,
        task.schedule(()).delay(SECOND).block_on()?,
        task.schedule(())
            .at(datetime!(2030-01-01 0:00 UTC))
            .block_on()?,
        task.schedule(()).every(SECOND).block_on()?,
    ] {
        assert_eq!(job.cron_expression(), None);
    }
    Ok(())
}

#[test]
fn status_goes_from_scheduled_over_running_to_success() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND));
    let task = task.register()?;
    let job = task.schedule(()).delay(SECOND).block_on()?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push((job.status(), job.is_done()));
        sim.advance(SECOND);
    }
    assert_eq!(
        seen,
        [
            (JobStatus::Scheduled, false),
            (JobStatus::Running, false),
            (JobStatus::Success, true)
        ]
    );
    Ok(())
}

#[test]
fn result_is_not_completed_before_the_end_and_then_the_shared_value() -> Result {
    /// Neither `Clone` nor `Default`.
    #[derive(Debug, PartialEq)]
    struct Report(u32);
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || {
        let sleep = clock.sleep(SECOND);
        async move {
            sleep.await;
            Ok::<_, jobber::BoxError>(Report(7))
        }
    });
    let task = task.register()?;
    let job = task.schedule(()).delay(SECOND).block_on()?;
    assert!(
        matches!(job.result(), Err(JobError::NotCompleted)),
        "scheduled"
    );
    sim.advance(SECOND);
    assert!(
        matches!(job.result(), Err(JobError::NotCompleted)),
        "running"
    );
    sim.advance(SECOND);
    let (a, b) = (job.result()?, job.clone().result()?);
    assert_eq!(*a, Report(7));
    assert!(Arc::ptr_eq(&a, &b), "shared, not copied");
    Ok(())
}

#[test]
fn the_tasks_own_error_is_the_source_of_the_jobs() -> Result {
    let mut sim = Simulation::new();
    let parse = sim.app().task("parse", async |s: String| s.parse::<u8>());
    let parse = parse.register()?;
    let job = parse.schedule("300".into()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Failed);
    let error = job.result().unwrap_err();
    let expected = "300".parse::<u8>().unwrap_err();
    assert!(matches!(error, JobError::Failed(_)));
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&expected));
    assert_eq!(error.to_string(), "the task failed");
    Ok(())
}

#[test]
fn wait_returns_at_once_when_the_job_is_done() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(smol::block_on(job.wait()), JobStatus::Success);
    assert_eq!(
        job.wait_timeout(Duration::ZERO).block_on(),
        JobStatus::Success
    );
    Ok(())
}

/// An app with real threads, a job that runs, and a sender whose value ends the job.
fn job_that_waits_for_the_test() -> Result<(Jobber, Job<u32>, smol::channel::Sender<u32>)> {
    let app = started_app()?;
    let (open, gate) = smol::channel::bounded(1);
    let task = app.task("gated", move || {
        let gate = gate.clone();
        async move { gate.recv().await }
    });
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    Ok((app, job, open))
}

#[test]
fn any_number_of_threads_and_tasks_wait_for_one_job() -> Result {
    let (_app, job, open) = job_that_waits_for_the_test()?;
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let job = job.clone();
            thread::spawn(move || job.wait_blocking())
        })
        .collect();
    let tasks: Vec<_> = (0..8).map(|_| smol::spawn(job.wait())).collect();
    let awaiting = smol::spawn({
        let job = job.clone();
        async move { job.await }
    });
    open.send_blocking(5)?;
    for thread in threads {
        assert_eq!(thread.join().unwrap(), JobStatus::Success);
    }
    for task in tasks {
        assert_eq!(smol::block_on(task), JobStatus::Success);
    }
    assert_eq!(*smol::block_on(awaiting)?, 5);
    Ok(())
}

#[test]
fn wait_timeout_returns_the_status_of_a_job_that_goes_on() -> Result {
    let (_app, job, open) = job_that_waits_for_the_test()?;
    let short = Duration::from_millis(1);
    assert!(!job.wait_timeout(short).block_on().is_final());
    assert!(!smol::block_on(job.wait_timeout(short)).is_final());
    open.send_blocking(5)?;
    // No deadline can be set so far in the future: the wait has none.
    assert_eq!(
        job.wait_timeout(Duration::MAX).block_on(),
        JobStatus::Success
    );
    assert_eq!(
        smol::block_on(job.wait_timeout(Duration::MAX)),
        JobStatus::Success
    );
    Ok(())
}

#[test]
fn a_wait_that_is_dropped_after_a_poll_affects_no_other_wait() -> Result {
    let (_app, job, open) = job_that_waits_for_the_test()?;
    let mut abandoned: Wait = job.wait();
    let other = smol::spawn(job.wait());
    smol::block_on(async {
        assert!(smol::future::poll_once(&mut abandoned).await.is_none());
    });
    drop(abandoned);
    open.send_blocking(5)?;
    assert_eq!(smol::block_on(other), JobStatus::Success);
    Ok(())
}

#[test]
fn dropping_the_handle_changes_nothing() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", log.argument()).register()?;
    drop(task.schedule(1).delay(SECOND).block_on()?);
    sim.advance(SECOND);
    assert_eq!(log.entries(), [1]);
    Ok(())
}

#[test]
fn a_job_and_a_task_keep_no_app_alive() -> Result {
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    let job = task.schedule(()).delay(HOUR).block_on()?;
    drop(app);
    assert_eq!(job.wait_blocking(), JobStatus::Cancelled);
    assert!(matches!(
        task.schedule(()).push().block_on(),
        Err(jobber::ScheduleError::Stopped)
    ));
    Ok(())
}

#[test]
fn debug_shows_id_status_and_due_time() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).id("x").delay(MINUTE).block_on()?;
    let expected = "Job { id: \"x\", status: Scheduled, exec_at: 2000-01-01 0:01:00.0 +00:00:00 }";
    assert_eq!(format!("{job:?}"), expected);
    assert_eq!(format!("{:?}", AnyJob::from(job)), expected);
    Ok(())
}

#[test]
fn handles_are_send_sync_and_clone_for_every_value() {
    fn check<T: Send + Sync + Clone>() {}
    check::<Job<std::cell::Cell<u8>>>();
    check::<Job<*const u8>>();
    check::<AnyJob>();
    fn send<T: Send + 'static>() {}
    send::<Wait>();
    send::<jobber::WaitTimeout>();
    send::<jobber::NextRun>();
}

#[test]
fn every_status_parses_from_its_text() {
    let printed = JobStatus::ALL.map(|status| status.to_string());
    assert_eq!(
        printed,
        [
            "SCHEDULED",
            "RUNNING",
            "CANCELLED",
            "SUCCESS",
            "FAILED",
            "TIMEOUT",
            "PERMANENTLY_FAILED"
        ]
    );
    assert_eq!(
        printed.map(|text| text.parse::<JobStatus>().unwrap()),
        JobStatus::ALL
    );
    let error = "Success".parse::<JobStatus>().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`Success` is not a job status: expected SCHEDULED,")
    );
}

#[test]
fn the_id_of_a_finished_job_is_free_for_the_next_job_of_its_burst() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let first = task.schedule(()).id("x").delay(SECOND).block_on()?;
    let other = sim.app().task("other", move || {
        let submit = task.schedule(()).id("x").delay(SECOND * 60);
        std::future::ready(submit.block_on().map(drop))
    });
    let other = other.register()?;
    // Enough for a burst.
    let jobs: Vec<_> = (0..8)
        .map(|_| other.schedule(()).delay(SECOND).block_on())
        .collect::<Result<_, _>>()?;
    sim.advance(SECOND);
    assert_eq!(first.status(), JobStatus::Success);
    assert_eq!(jobs[0].status(), JobStatus::Success);
    assert_eq!(
        jobs[1].status(),
        JobStatus::Failed,
        "the id is taken by then"
    );
    Ok(())
}
