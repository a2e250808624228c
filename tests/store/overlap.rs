//! A next run that is due while an attempt goes on. In memory and stored, the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::process::{Process, Work, in_memory_and_stored};
use crate::support::{HOUR, MINUTE, Machine, Result, SECOND, event_kinds, wait_until};
use jobber::{
    Backoff, Clock, Job, JobError, JobStatus, Jobber, Misfire, Overlap, Schedule, ScheduleError,
    Task,
};

/// A schedule that cuts off what runs.
fn cuts_off(process: &Process, task: &Task<Work, ()>, take: u64) -> Schedule<Work, ()> {
    let schedule = process.schedule(task, 0, take).id("x");
    schedule.overlap(Overlap::CancelRunning)
}

/// The number, the status, and the start and the end of the last run, in seconds.
fn last(job: &Job<()>) -> (u64, JobStatus, i64, i64) {
    let run = job.last_run().expect("a run has ended");
    let since = |at: time::OffsetDateTime| (at - crate::support::START).whole_seconds();
    (
        run.number,
        run.status,
        since(run.started_at),
        since(run.finished_at),
    )
}

#[test]
fn the_next_run_cuts_off_the_attempt_and_starts_in_time() -> Result {
    for misfire in [
        Misfire::Once,
        Misfire::Skip,
        Misfire::All(3),
        Misfire::Grace(MINUTE),
    ] {
        in_memory_and_stored(|mut process| {
            let task = process.task("t").register()?;
            let mut events = process.sim.app().events();
            let schedule = cuts_off(&process, &task, 1_000).misfire(misfire);
            let job = schedule.every(SECOND * 10).block_on()?;
            process.advance(19);
            assert_eq!(job.last_run(), None);
            process.advance(1);
            assert_eq!(last(&job), (1, JobStatus::Cancelled, 10, 20));
            assert!(matches!(job.result(), Err(JobError::Overlapped)));
            assert_eq!(job.status(), JobStatus::Running);
            process.advance(10);
            assert_eq!(last(&job), (2, JobStatus::Cancelled, 20, 30));
            assert_eq!(process.running.most(), 1, "one attempt at a time");
            assert_eq!(process.log.take().len(), 3);
            let kinds = event_kinds(&mut events, "x");
            assert!(
                !kinds.iter().any(|kind| kind.contains("Misfired")),
                "{kinds:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_run_that_ends_before_the_next_is_due_is_not_cut_off() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = cuts_off(&process, &task, 9).every(SECOND * 10).block_on()?;
        process.advance(40);
        assert_eq!(last(&job), (3, JobStatus::Success, 30, 39));
        Ok(())
    })
}

#[test]
fn cron_cuts_off_by_the_wall_clock() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = cuts_off(&process, &task, 100_000)
            .cron("0 * * * *")
            .block_on()?;
        process.sim.advance(HOUR + MINUTE);
        let wall = process.sim.clock();
        process.sim.set_wall(wall.wall() + MINUTE * 30);
        assert_eq!(job.last_run(), None);
        process.sim.set_wall(wall.wall() + MINUTE * 30);
        let run = job.last_run().unwrap();
        assert_eq!(run.status, JobStatus::Cancelled);
        assert_eq!(job.status(), JobStatus::Running);
        Ok(())
    })
}

#[test]
fn a_run_that_was_cut_off_counts_and_is_neither_a_failure_nor_a_success() -> Result {
    in_memory_and_stored(|mut process| {
        let count = Arc::new(AtomicUsize::new(0));
        let clock = process.sim.clock();
        // Fails, hangs, hangs, fails.
        let task = process.sim.app().task("t", move |_: Work| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let clock = clock.clone();
            async move {
                if !number.is_multiple_of(3) {
                    clock.sleep(HOUR).await;
                }
                Err::<(), _>("no")
            }
        });
        let task = task.durable().register()?;
        let schedule = cuts_off(&process, &task, 0).max_failures(2);
        let job = schedule.every(SECOND * 10).block_on()?;
        process.advance(30);
        assert_eq!(last(&job).0, 2);
        assert_eq!(job.status(), JobStatus::Running);
        process.advance(10);
        // The second failure in a row.
        assert_eq!(last(&job), (4, JobStatus::Failed, 40, 40));
        assert_eq!(job.status(), JobStatus::PermanentlyFailed);
        Ok(())
    })
}

#[test]
fn the_last_run_is_not_cut_off() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let schedule = cuts_off(&process, &task, 100).max_runs(2);
        let job = schedule.every(SECOND * 10).block_on()?;
        process.advance(119);
        assert_eq!(last(&job), (1, JobStatus::Cancelled, 10, 20));
        process.advance(1);
        assert_eq!(last(&job), (2, JobStatus::Success, 20, 120));
        let until = process.sim.clock().wall() + SECOND * 15;
        let schedule = cuts_off(&process, &task, 100).until(until);
        let job = schedule.every(SECOND * 10).block_on()?;
        process.advance(110);
        assert_eq!(last(&job), (1, JobStatus::Success, 130, 230));
        Ok(())
    })
}

#[test]
fn a_timeout_comes_first_if_it_is_earlier() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").timeout(SECOND * 4).register()?;
        let job = cuts_off(&process, &task, 100)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(14);
        assert_eq!(last(&job), (1, JobStatus::Timeout, 10, 14));
        assert!(job.cancel().block_on()?.took_effect());
        let schedule = cuts_off(&process, &task, 100).timeout(SECOND * 14);
        let job = schedule.every(SECOND * 10).block_on()?;
        process.advance(20);
        assert_eq!(last(&job), (1, JobStatus::Cancelled, 24, 34));
        process.advance(9);
        // No longer held up by the first timeout.
        assert_eq!(last(&job).0, 1);
        Ok(())
    })
}

#[test]
fn a_retry_that_would_start_with_the_next_run_or_later_is_not_made() -> Result {
    in_memory_and_stored(|mut process| {
        let log = process.log.clone();
        let task = process.sim.app().task("t", move |_: Work| {
            log.add(0);
            async { Err::<(), _>("no") }
        });
        let task = task
            .durable()
            .retry(Backoff::fixed(9, SECOND * 4))
            .register()?;
        let job = cuts_off(&process, &task, 0).every(SECOND * 10).block_on()?;
        process.advance(19);
        // At 10, 14 and 18, and not at 22.
        assert_eq!(process.log.take().len(), 3);
        assert_eq!(last(&job), (1, JobStatus::Failed, 10, 18));
        process.advance(1);
        assert_eq!(process.log.take().len(), 1);
        Ok(())
    })
}

#[test]
fn a_paused_job_cuts_off_nothing_and_does_so_again_when_it_is_resumed() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = cuts_off(&process, &task, 1_000)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(15);
        job.pause().block_on()?;
        process.advance(20);
        assert_eq!(job.last_run(), None);
        job.resume().block_on()?;
        process.advance(4);
        assert_eq!(job.last_run(), None);
        process.advance(1);
        assert_eq!(last(&job), (1, JobStatus::Cancelled, 10, 40));
        assert_eq!(job.status(), JobStatus::Running);
        task.pause().block_on()?;
        process.advance(100);
        assert_eq!(last(&job).0, 1);
        Ok(())
    })
}

#[test]
fn a_cancelled_job_is_not_cut_off() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = cuts_off(&process, &task, 15)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(11);
        assert!(job.cancel().block_on()?.took_effect());
        process.advance(13);
        assert_eq!(job.status(), JobStatus::Running);
        process.advance(1);
        assert_eq!(last(&job), (1, JobStatus::Success, 10, 25));
        assert_eq!(job.status(), JobStatus::Cancelled);
        Ok(())
    })
}

#[test]
fn a_next_run_that_was_moved_cuts_off_at_its_new_time() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        for moved in [15, 25] {
            let job = cuts_off(&process, &task, 1_000)
                .every(SECOND * 10)
                .block_on()?;
            let begun = process.sim.clock().wall();
            process.advance(12);
            job.move_to(begun + Duration::from_secs(moved)).block_on()?;
            process.advance(moved - 12 - 1);
            assert_eq!(job.last_run(), None);
            process.advance(1);
            assert_eq!(job.last_run().unwrap().status, JobStatus::Cancelled);
            assert_eq!(job.status(), JobStatus::Running);
            assert!(job.abort().block_on()?.took_effect());
            process.sim.run_until_stalled();
        }
        Ok(())
    })
}

#[test]
fn an_extra_run_is_cut_off_when_the_run_that_waits_is_due() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = cuts_off(&process, &task, 1_000)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(4);
        job.run_now().block_on()?;
        process.advance(6);
        assert_eq!(last(&job), (1, JobStatus::Cancelled, 4, 10));
        process.advance(10);
        assert_eq!(last(&job), (2, JobStatus::Cancelled, 10, 20));
        Ok(())
    })
}

#[test]
fn a_replacement_decides_when_the_attempt_before_it_is_cut_off() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let every = |process: &Process, seconds: u64, overlap| {
            let schedule = process.schedule(&task, 0, 1_000).id("x").replace();
            let schedule = schedule.overlap(overlap);
            schedule.every(Duration::from_secs(seconds)).block_on()
        };
        let job = every(&process, 10, Overlap::CancelRunning)?;
        process.advance(12);
        every(&process, 100, Overlap::CancelRunning)?;
        process.advance(90);
        assert_eq!(job.last_run(), None);
        process.advance(10);
        assert_eq!(process.log.take().len(), 2);
        every(&process, 100, Overlap::Wait)?;
        process.advance(500);
        assert_eq!(process.log.take().len(), 0);
        every(&process, 10, Overlap::CancelRunning)?;
        process.advance(20);
        // It is due at once, since times have passed, and again after 10 and 20 seconds.
        assert_eq!(process.log.take().len(), 3);
        Ok(())
    })
}

#[test]
fn a_run_that_starts_late_is_cut_off_by_the_first_time_after_its_start() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).register()?;
        process.push(&task, 9, 25)?;
        let schedule = cuts_off(&process, &task, 1_000).misfire(Misfire::Skip);
        let job = schedule.every(SECOND * 10).block_on()?;
        process.advance(29);
        // Due at 10, it has its limit at 25.
        assert_eq!(job.status(), JobStatus::Running);
        assert_eq!(job.last_run(), None);
        process.advance(1);
        assert_eq!(last(&job), (1, JobStatus::Cancelled, 25, 30));
        Ok(())
    })
}

#[test]
fn a_process_that_ends_keeps_how_a_stored_job_overlaps() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    cuts_off(&process, &task, 1_000)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(15);
    process.sim.crash();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").register()?;
    let job = task.job("x").unwrap();
    process.advance(4);
    assert_eq!(job.status(), JobStatus::Running, "the attempt is repeated");
    process.advance(1);
    assert_eq!(job.last_run().unwrap().status, JobStatus::Cancelled);
    assert_eq!(job.status(), JobStatus::Running);
    Ok(())
}

#[test]
fn it_is_for_recurring_jobs_whose_runs_can_overlap() -> Result {
    let process = Process::boot(&Machine::new(), false);
    let task = process.task("t").register()?;
    let error = cuts_off(&process, &task, 0).push().block_on().unwrap_err();
    assert!(matches!(
        error,
        ScheduleError::NotRecurring {
            option: "overlap",
            ..
        }
    ));
    let error = cuts_off(&process, &task, 0).after_each(SECOND).block_on();
    assert!(matches!(
        error,
        Err(ScheduleError::NotApplicable {
            option: "overlap",
            ..
        })
    ));
    Ok(())
}

/// The token of a blocking function is set, and the next run waits until it has returned.
#[test]
fn a_blocking_function_keeps_the_next_run_until_it_returns() -> Result {
    let app = Jobber::builder().build()?;
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = starts.clone();
    let task = app.blocking_task("t", move |cx: jobber::JobContext| {
        counted.fetch_add(1, Ordering::SeqCst);
        while !cx.stop_token().is_stop_requested() {
            std::thread::yield_now();
        }
        let _ = released.lock().unwrap().recv();
    });
    let task = task.register()?;
    app.start().block_on()?;
    let schedule = task.schedule(()).overlap(Overlap::CancelRunning);
    let job = schedule.every(Duration::from_millis(10)).block_on()?;
    wait_until(|| job.last_run().is_some());
    assert_eq!(job.last_run().unwrap().status, JobStatus::Cancelled);
    assert_eq!(starts.load(Ordering::SeqCst), 1);
    release.send(())?;
    wait_until(|| starts.load(Ordering::SeqCst) == 2);
    drop(release);
    let _ = job.abort().block_on()?;
    Ok(())
}
