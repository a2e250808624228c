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
use time::OffsetDateTime;

/// A schedule that cuts off what runs.
fn cuts_off(process: &Process, task: &Task<Work, ()>, take: u64) -> Schedule<Work, ()> {
    let schedule = process.schedule(task, 0, take).id("x");
    schedule.overlap(Overlap::CancelRunning)
}

/// A task whose attempts hang, and a job of it that is due each ten seconds and cuts off.
fn hangs(process: &Process) -> Result<(Task<Work, ()>, Job<()>)> {
    let task = process.task("t").register()?;
    let job = cuts_off(process, &task, 1_000).every(SECOND * 10);
    Ok((task, job.block_on()?))
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
fn a_retry_is_made_if_the_next_run_is_not_because_the_task_is_paused() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (log, clock) = (process.log.clone(), process.sim.clock());
    let task = process.sim.app().task("t", move |_: Work| {
        log.add(0);
        let sleep = clock.sleep(SECOND * 4);
        async move {
            sleep.await;
            Err::<(), _>("no")
        }
    });
    let task = task
        .retry(Backoff::fixed(9, SECOND * 9))
        .durable()
        .register()?;
    let job = cuts_off(&process, &task, 0).every(SECOND * 10).block_on()?;
    process.advance(12);
    task.pause().block_on()?;
    process.advance(10);
    // The run goes on, and waits for the end of the pause.
    assert_eq!(job.last_run(), None);
    task.resume().block_on()?;
    process.advance(2);
    assert_eq!(process.log.take().len(), 2);
    Ok(())
}

#[test]
fn a_paused_job_cuts_off_nothing_and_does_so_again_when_it_is_resumed() -> Result {
    in_memory_and_stored(|mut process| {
        let (task, job) = hangs(&process)?;
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
        let (_task, job) = hangs(&process)?;
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

fn at(process: &Process) -> OffsetDateTime {
    process.sim.clock().wall()
}

#[test]
fn the_next_run_is_on_time_though_the_wall_clock_was_set_and_the_timer_is_late() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = cuts_off(&process, &task, 1_000)
            .misfire(Misfire::Skip)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(15);
        let w = at(&process);
        process.sim.set_wall(w - Duration::from_millis(10));
        process.sim.clock().advance(Duration::from_millis(5_001));
        process.sim.run_until_stalled();
        assert_eq!(job.last_run().unwrap().status, JobStatus::Cancelled);
        assert_eq!(job.status(), JobStatus::Running);
        Ok(())
    })
}

#[test]
fn a_run_that_was_cut_off_is_not_retried_though_its_attempt_has_asked_for_it() -> Result {
    let process = Process::boot(&Machine::new(), false);
    let mut process = process;
    let clock = process.sim.clock();
    let log = process.log.clone();
    let task = process
        .sim
        .app()
        .task("t", move |cx: jobber::JobContext, _: Work| {
            log.add(cx.attempt());
            cx.retry_after(SECOND * 5);
            clock.sleep(HOUR)
        });
    let task = task
        .durable()
        .retry(Backoff::fixed(9, SECOND * 4))
        .register()?;
    let _job = cuts_off(&process, &task, 0).every(SECOND * 10).block_on()?;
    process.advance(26);
    assert_eq!(process.log.take(), [1, 1]);
    Ok(())
}

#[test]
fn a_timeout_when_the_next_run_is_due_leads_to_no_retry() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let task = process
        .task("t")
        .timeout(SECOND * 10)
        .retry(Backoff::fixed(9, SECOND * 4))
        .register()?;
    let mut events = process.sim.app().events();
    let job = cuts_off(&process, &task, 1000)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(29);
    let kinds = event_kinds(&mut events, "x");
    assert!(job.last_run().is_some(), "{kinds:?}");
    assert!(!kinds.iter().any(|k| k.contains("retrying")), "{kinds:?}");
    Ok(())
}

#[test]
fn a_failure_when_the_next_run_is_due_leads_to_no_retry() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let clock = process.sim.clock();
    let task = process.sim.app().task("t", move |_: Work| {
        let clock = clock.clone();
        async move {
            clock.sleep(SECOND * 10).await;
            Err::<(), _>("no")
        }
    });
    let task = task
        .durable()
        .retry(Backoff::fixed(9, SECOND * 4))
        .register()?;
    let mut events = process.sim.app().events();
    let _job = cuts_off(&process, &task, 1000)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(29);
    let kinds = event_kinds(&mut events, "x");
    assert!(!kinds.iter().any(|k| k.contains("retrying")), "{kinds:?}");
    Ok(())
}

#[test]
fn a_replacement_of_the_same_times_that_cuts_off_does_so_in_time() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let job = process
            .schedule(&task, 0, 1000)
            .id("x")
            .every(SECOND * 10)
            .block_on()?;
        process.advance(12);
        cuts_off(&process, &task, 1000)
            .replace()
            .every(SECOND * 10)
            .block_on()?;
        process.advance(1);
        assert_eq!(job.last_run(), None, "cut off at once");
        process.advance(7);
        assert_eq!(last(&job), (1, JobStatus::Cancelled, 10, 20));
        Ok(())
    })
}

#[test]
fn a_replacement_of_the_same_times_cuts_off_before_a_later_timeout() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let task = process.task("t").timeout(SECOND * 55).register()?;
    let job = process
        .schedule(&task, 0, 1000)
        .id("x")
        .every(SECOND * 10)
        .block_on()?;
    process.advance(12);
    cuts_off(&process, &task, 1000)
        .replace()
        .every(SECOND * 10)
        .block_on()?;
    process.advance(8);
    assert_eq!(last(&job), (1, JobStatus::Cancelled, 10, 20));
    Ok(())
}

#[test]
fn after_a_replacement_of_the_same_times_the_next_run_is_on_time() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let task = process.task("t").register()?;
    let job = cuts_off(&process, &task, 1000)
        .misfire(Misfire::Skip)
        .every(SECOND * 10)
        .block_on()?;
    process.advance(12);
    cuts_off(&process, &task, 999)
        .misfire(Misfire::Skip)
        .replace()
        .every(SECOND * 10)
        .block_on()?;
    process.sim.clock().advance(Duration::from_millis(8_001));
    process.sim.run_until_stalled();
    assert_eq!(job.last_run().unwrap().status, JobStatus::Cancelled);
    assert_eq!(job.status(), JobStatus::Running);
    Ok(())
}

/// Regression: the timer came again and again, and the simulation hung.
#[test]
fn a_paused_job_whose_next_run_is_moved_keeps_its_attempt_and_the_timer_rests() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (_task, job) = hangs(&process)?;
    process.advance(12);
    job.move_to(at(&process) + SECOND * 3).block_on()?;
    job.pause().block_on()?;
    process.advance(10);
    assert_eq!((job.status(), job.last_run()), (JobStatus::Running, None));
    Ok(())
}

#[test]
fn a_cancelled_job_whose_next_run_is_moved_keeps_its_attempt_and_the_timer_rests() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (_task, job) = hangs(&process)?;
    process.advance(12);
    job.move_to(at(&process) + SECOND * 3).block_on()?;
    let _ = job.cancel().block_on()?;
    process.advance(10);
    assert_eq!((job.status(), job.last_run()), (JobStatus::Running, None));
    Ok(())
}

#[test]
fn a_paused_job_that_is_replaced_keeps_its_attempt_and_the_timer_rests() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (task, job) = hangs(&process)?;
    process.advance(12);
    cuts_off(&process, &task, 999)
        .replace()
        .every(SECOND * 10)
        .block_on()?;
    job.pause().block_on()?;
    process.advance(10);
    assert_eq!((job.status(), job.last_run()), (JobStatus::Running, None));
    Ok(())
}

#[test]
fn a_stop_waits_for_a_job_whose_next_run_was_moved_and_the_timer_rests() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (_task, job) = hangs(&process)?;
    process.advance(12);
    job.move_to(at(&process) + SECOND * 3).block_on()?;
    let report = process.sim.shutdown(SECOND * 20);
    assert!(!report.is_complete());
    assert_eq!(job.last_run(), None);
    Ok(())
}

#[test]
fn an_extra_run_of_a_paused_job_is_not_cut_off() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (_task, job) = hangs(&process)?;
    job.pause().block_on()?;
    process.advance(4);
    job.run_now().block_on()?;
    process.advance(20);
    assert_eq!(job.last_run(), None);
    assert_eq!(job.status(), JobStatus::Running);
    Ok(())
}

#[test]
fn a_replacement_that_is_moved_cuts_off_at_its_new_time() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (task, job) = hangs(&process)?;
    process.advance(12);
    cuts_off(&process, &task, 1000)
        .replace()
        .every(SECOND * 100)
        .block_on()?;
    job.move_to(at(&process) + SECOND * 38).block_on()?;
    process.advance(38);
    assert_eq!(last(&job), (1, JobStatus::Cancelled, 10, 50));
    Ok(())
}

#[test]
fn a_wall_clock_set_forward_brings_the_next_run_before_a_timeout() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let task = process.task("t").timeout(MINUTE * 50).register()?;
    let job = cuts_off(&process, &task, 1_000_000)
        .cron("0 * * * *")
        .block_on()?;
    process.sim.advance(HOUR + MINUTE * 5);
    let w = at(&process);
    process.sim.set_wall(w + MINUTE * 56);
    process.sim.advance(MINUTE);
    assert_eq!(job.last_run().map(|r| r.status), Some(JobStatus::Cancelled));
    Ok(())
}

#[test]
fn a_replacement_that_leaves_out_the_next_time_does_not_cut_off_then() -> Result {
    use jobber::Exclusions;
    let machine = Machine::new();
    let closed = Exclusions::new()
        .times_of_day(time::macros::time!(2:00), time::macros::time!(4:30))
        .unwrap();
    let mut process = Process::boot_with(&machine, false, |app| app.calendar("closed", closed));
    let task = process.task("t").register()?;
    let job = cuts_off(&process, &task, 1_000_000)
        .cron("0 * * * *")
        .block_on()?;
    process.sim.advance(HOUR + MINUTE * 30);
    cuts_off(&process, &task, 1_000_000)
        .except("closed")
        .replace()
        .cron("0 * * * *")
        .block_on()?;
    process.sim.advance(HOUR);
    assert_eq!(job.last_run(), None);
    Ok(())
}

#[test]
fn nothing_is_cut_off_while_the_job_is_paused_and_an_extra_run_waits() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (_task, job) = hangs(&process)?;
    process.advance(12);
    job.pause().block_on()?;
    job.run_now().block_on()?;
    process.advance(30);
    assert_eq!(job.last_run(), None);
    Ok(())
}

#[test]
fn a_cancelled_job_keeps_its_timeout() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").timeout(SECOND * 35).register()?;
        let job = cuts_off(&process, &task, 1000)
            .every(SECOND * 10)
            .block_on()?;
        process.advance(12);
        let _ = job.cancel().block_on()?;
        process.advance(32);
        assert_eq!(job.status(), JobStatus::Running);
        process.advance(1);
        assert_eq!(last(&job), (1, JobStatus::Timeout, 10, 45));
        Ok(())
    })
}

#[test]
fn a_loaded_retry_is_not_cut_off_at_its_start_because_the_clock_was_set() -> Result {
    let machine = Machine::new();
    let boot = |machine: &Machine| -> Result<(Process, Task<Work, ()>)> {
        let process = Process::boot(machine, true);
        let clock = process.sim.clock();
        let task = process
            .sim
            .app()
            .task("t", move |cx: jobber::JobContext, _: u32, _: u64| {
                let clock = clock.clone();
                let first = cx.attempt() == 1;
                async move {
                    if first {
                        return Err::<(), jobber::BoxError>("no".into());
                    }
                    clock.sleep(HOUR * 100).await;
                    Ok(())
                }
            });
        let task = task
            .durable()
            .retry(Backoff::fixed(9, SECOND * 20))
            .register()?;
        Ok((process, task))
    };
    let (mut process, task) = boot(&machine)?;
    let _ = cuts_off(&process, &task, 0)
        .every(SECOND * 100)
        .block_on()?;
    process.advance(105);
    let w = at(&process);
    process.sim.set_wall(w + HOUR);
    process.advance(5);
    process.sim.crash();
    let (mut process, task) = boot(&machine)?;
    let job = task.job("x").unwrap();
    process.advance(11);
    assert_eq!(job.status(), JobStatus::Running);
    assert_eq!(job.last_run(), None);
    Ok(())
}

/// Hangs in its first attempt only.
fn hangs_first(process: &Process) -> Result<Task<Work, ()>> {
    let (clock, log) = (process.sim.clock(), process.log.clone());
    let count = AtomicUsize::new(0);
    let task = process.sim.app().task("t", move |number: u32, _: u64| {
        log.add(number);
        let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
        clock.sleep(if is_first {
            HOUR * 1_000
        } else {
            Duration::ZERO
        })
    });
    Ok(task.durable().register()?)
}

/// Regression: a hundred catch-up runs, for times that were not missed.
#[test]
fn a_wall_clock_that_is_set_or_a_suspend_during_a_run_makes_up_nothing() -> Result {
    for misfire in [
        Misfire::All(100),
        Misfire::Grace(MINUTE),
        Misfire::Skip,
        Misfire::Once,
    ] {
        for how in 0..3 {
            in_memory_and_stored(|mut process| {
                let task = hangs_first(&process)?;
                let mut events = process.sim.app().events();
                let schedule = cuts_off(&process, &task, 0).misfire(misfire);
                schedule.every(SECOND * 10).block_on()?;
                process.advance(15);
                let wall = at(&process);
                match how {
                    0 => process.sim.suspend(HOUR),
                    1 => process.sim.set_wall(wall + HOUR),
                    _ => process.sim.set_wall(wall - HOUR),
                }
                process.log.take();
                process.advance(10);
                assert_eq!(process.log.take().len(), 1, "{misfire:?}, {how}");
                let kinds = event_kinds(&mut events, "x");
                assert!(
                    !kinds.iter().any(|kind| kind.contains("misfired")),
                    "{kinds:?}"
                );
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_next_run_that_was_moved_by_hand_is_the_next_one_and_the_series_goes_on() -> Result {
    for misfire in [
        Misfire::All(100),
        Misfire::Grace(MINUTE),
        Misfire::Skip,
        Misfire::Once,
    ] {
        in_memory_and_stored(|mut process| {
            let task = process.task("t").register()?;
            let schedule = cuts_off(&process, &task, 1_000).misfire(misfire);
            let job = schedule.every(SECOND * 10).block_on()?;
            process.advance(12);
            job.delay_by(SECOND * 25).block_on()?;
            process.advance(33);
            assert_eq!(last(&job), (1, JobStatus::Cancelled, 10, 45));
            assert_eq!(job.status(), JobStatus::Running);
            process.advance(5);
            // The run of 20, which was moved.
            assert_eq!(last(&job), (2, JobStatus::Cancelled, 45, 50));
            let nominal = job.last_run().unwrap().nominal_time;
            assert_eq!((nominal - crate::support::START).whole_seconds(), 20);
            process.advance(10);
            assert_eq!(last(&job), (3, JobStatus::Cancelled, 50, 60));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn after_a_late_start_each_time_has_its_run_whatever_the_policy() -> Result {
    for misfire in [
        Misfire::All(3),
        Misfire::Grace(SECOND * 15),
        Misfire::Skip,
        Misfire::Once,
    ] {
        in_memory_and_stored(|mut process| {
            let task = process.task("t").limit(1).register()?;
            process.push(&task, 9, 45)?;
            let schedule = cuts_off(&process, &task, 1_000).misfire(misfire);
            let job = schedule.every(SECOND * 10).block_on()?;
            process.advance(50);
            assert_eq!(last(&job), (1, JobStatus::Cancelled, 45, 50));
            for number in 2..6 {
                process.advance(10);
                let begun = 30 + 10 * number;
                let expected = (number as u64, JobStatus::Cancelled, begun, begun + 10);
                assert_eq!(last(&job), expected, "{misfire:?}");
                let nominal = job.last_run().unwrap().nominal_time - crate::support::START;
                assert_eq!(nominal.whole_seconds(), begun, "{misfire:?}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// How often an hourly job starts in ten hours, if the wall clock is set back by a day in its first
/// run.
fn starts_after_a_correction(overlap: Overlap, take: u64) -> Result<usize> {
    let mut process = Process::boot(&Machine::new(), false);
    let task = process.task("t").register()?;
    let schedule = process.schedule(&task, 0, take).overlap(overlap);
    schedule.generated_id().cron("0 * * * *").block_on()?;
    process.sim.advance(HOUR + MINUTE);
    let wall = at(&process);
    process.sim.set_wall(wall - HOUR * 24);
    process.sim.advance(HOUR * 10);
    Ok(process.log.take().len())
}

#[test]
fn after_a_correction_of_the_wall_clock_each_time_cuts_off_again() -> Result {
    let cut_off = starts_after_a_correction(Overlap::CancelRunning, 1_000_000)?;
    assert_eq!(cut_off, starts_after_a_correction(Overlap::Wait, 600)?);
    Ok(())
}

#[test]
fn a_run_is_not_cut_off_by_its_own_time_when_the_wall_clock_shows_that_again() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").register()?;
        let schedule = cuts_off(&process, &task, 1_000_000);
        let job = schedule.cron("0 * * * *").block_on()?;
        process.sim.advance(HOUR + MINUTE);
        let wall = at(&process);
        process.sim.set_wall(wall - MINUTE * 20);
        process.sim.advance(MINUTE * 78);
        assert_eq!(job.last_run(), None);
        process.sim.advance(MINUTE);
        assert_eq!(job.last_run().unwrap().status, JobStatus::Cancelled);
        assert_eq!(job.status(), JobStatus::Running);
        Ok(())
    })
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
