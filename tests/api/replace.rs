//! Replacing a job: the same job with other arguments and another trigger.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{
    Bomb, DropCounter, HOUR, Log, MINUTE, Result, SECOND, START, WakeCounter, poll, poll_with,
    seconds, started_app,
};
use jobber::testing::Simulation;
use jobber::{
    Backoff, CalendarInterval, CancelOutcome, Clock, JobContext, JobError, JobFuture, JobStatus,
    Jobber, Misfire, ScheduleError, Task,
};
use time::OffsetDateTime;
use time::macros::datetime;

/// At which second a run started, and with which argument.
type Runs = Log<(u64, u32)>;

/// A simulation with a task that logs its runs.
fn task_that_logs() -> Result<(Simulation, Task<u32, u32>, Runs)> {
    let sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move |x: u32| {
            log.add((now(), x));
            async move { x }
        }
    });
    let task = task.register()?;
    Ok((sim, task, log))
}

#[test]
fn a_replaced_job_has_the_new_arguments_and_the_new_trigger() -> Result {
    let (mut sim, task, log) = task_that_logs()?;
    let schedule = task.schedule(1).id("x");
    let job = schedule.delay(SECOND * 10).block_on()?;
    let waiting = job.wait();
    let again = task.schedule(2).id("x").replace();
    let same = again.delay(SECOND * 20).block_on()?;
    assert_eq!(sim.app().jobs().len(), 1);
    assert_eq!(job.exec_at(), same.exec_at());
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [(20, 2)]);
    assert_eq!(waiting.block_on(), JobStatus::Success);
    assert_eq!((*job.result()?, *same.result()?), (2, 2));
    Ok(())
}

#[test]
fn a_replacement_may_be_due_earlier() -> Result {
    let (mut sim, task, log) = task_that_logs()?;
    let _ = task.schedule(1).id("x").delay(HOUR).block_on()?;
    let _ = task.schedule(2).id("x").replace().push().block_on()?;
    sim.advance(HOUR * 2);
    assert_eq!(log.entries(), [(0, 2)]);
    Ok(())
}

#[test]
fn a_replacement_drops_the_old_arguments_at_once() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", async |_: DropCounter| {}).register()?;
    let (old, new) = (DropCounter::default(), DropCounter::default());
    let schedule = task.schedule(old.clone()).id("x");
    let _ = schedule.delay(HOUR).block_on()?;
    let again = task.schedule(new.clone()).id("x").replace();
    let _ = again.delay(HOUR).block_on()?;
    assert_eq!((old.alive(), new.alive()), (0, 1));
    Ok(())
}

#[test]
fn replace_makes_a_new_job_if_no_live_job_has_the_id() -> Result {
    let (mut sim, task, log) = task_that_logs()?;
    let again = task.schedule(1).id("x").replace();
    let first = again.delay(SECOND).block_on()?;
    sim.advance(SECOND);
    let again = task.schedule(2).id("x").replace();
    let second = again.delay(SECOND).block_on()?;
    assert_eq!(
        (first.status(), second.status()),
        (JobStatus::Success, JobStatus::Scheduled)
    );
    sim.advance(SECOND);
    assert_eq!(log.entries(), [(1, 1), (2, 2)]);
    Ok(())
}

#[test]
fn replace_and_keep_need_an_id() -> Result {
    let (sim, task, _) = task_that_logs()?;
    for (schedule, option) in [
        (task.schedule(1).replace(), "replace"),
        (task.schedule(1).replace_any(), "replace_any"),
        (task.schedule(1).keep(), "keep"),
        (task.schedule(1).keep().id("x").generated_id(), "keep"),
    ] {
        let error = schedule.delay(SECOND).block_on().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{option} needs an id: set .id(..)")
        );
    }
    assert!(sim.app().jobs().is_empty());
    Ok(())
}

#[test]
fn a_job_of_another_task_is_not_replaced() -> Result {
    let (sim, task, _) = task_that_logs()?;
    let other = sim.app().task("other", async |x: u32| x).register()?;
    let job = other.schedule(1).id("x").delay(SECOND).block_on()?;
    let error = task
        .schedule(2)
        .id("x")
        .replace()
        .delay(HOUR)
        .block_on()
        .unwrap_err();
    assert!(matches!(error, ScheduleError::DuplicateJob { id, .. } if id == *job.id()));
    assert_eq!(job.exec_at(), datetime!(2000-01-01 0:00:01 UTC));
    Ok(())
}

#[test]
fn a_replacement_with_an_invalid_trigger_leaves_the_job_as_it_was() -> Result {
    let (mut sim, task, log) = task_that_logs()?;
    let _ = task.schedule(1).id("x").delay(SECOND).block_on()?;
    let error = task
        .schedule(2)
        .id("x")
        .replace()
        .every(Duration::ZERO)
        .block_on();
    let is_zero = matches!(
        error,
        Err(ScheduleError::ZeroDuration { field: "interval" })
    );
    assert!(is_zero);
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [(1, 1)]);
    Ok(())
}

#[test]
fn a_spawned_job_that_is_replaced_before_it_begins_waits_for_its_new_time() -> Result {
    let (mut sim, task, log) = task_that_logs()?;
    let _ = task.schedule(1).id("x").push().block_on()?;
    let again = task.schedule(2).id("x").replace();
    let _ = again.delay(SECOND).block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.entries(), []);
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [(1, 2)]);
    Ok(())
}

#[test]
fn a_replacement_during_a_run_follows_the_run() -> Result {
    let mut sim = Simulation::new();
    let (clock, now, log) = (sim.clock(), seconds(&sim), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move |x: u32| {
            log.add((now(), x));
            clock.sleep(SECOND * 5)
        }
    });
    let task = task.register()?;
    let job = task.schedule(1).id("x").push().block_on()?;
    sim.advance(SECOND);
    let again = task.schedule(2).id("x").replace();
    let _ = again.delay(SECOND * 10).block_on()?;
    assert_eq!(job.status(), JobStatus::Running);
    sim.advance(SECOND * 4);
    assert_eq!(
        job.status(),
        JobStatus::Scheduled,
        "the run has ended and the job goes on"
    );
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [(0, 1), (11, 2)]);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_replacement_whose_time_passes_during_the_run_starts_when_the_run_ends() -> Result {
    let mut sim = Simulation::new();
    let (clock, now, log) = (sim.clock(), seconds(&sim), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move |x: u32| {
            log.add((now(), x));
            clock.sleep(SECOND * 5)
        }
    });
    let task = task.register()?;
    let _ = task.schedule(1).id("x").push().block_on()?;
    sim.advance(SECOND);
    let again = task.schedule(2).id("x").replace();
    let _ = again.delay(SECOND).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [(0, 1), (5, 2)]);
    Ok(())
}

#[test]
fn a_replacement_of_a_job_that_waits_for_a_retry_begins_with_the_first_attempt() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", {
        let log = log.clone();
        move |cx: JobContext, x: u32| {
            log.add((x, cx.attempt()));
            async { Err::<(), _>("no") }
        }
    });
    let task = task.retry(Backoff::fixed(1, MINUTE)).register()?;
    let job = task.schedule(1).id("x").push().block_on()?;
    sim.run_until_stalled();
    let again = task.schedule(2).id("x").replace();
    let _ = again.delay(SECOND).block_on()?;
    sim.advance(HOUR);
    assert_eq!(log.entries(), [(1, 1), (2, 1), (2, 2)]);
    assert_eq!(job.status(), JobStatus::Failed);
    Ok(())
}

#[test]
fn a_recurring_job_keeps_its_progress_unless_its_start_date_changed() -> Result {
    let (mut sim, task, _) = task_that_logs()?;
    let start = datetime!(2000-01-01 0:00:10 UTC);
    let schedule = task.schedule(1).id("x").start_date(start);
    let job = schedule.every(SECOND * 10).block_on()?;
    sim.advance(SECOND * 30);
    assert_eq!(job.last_run().unwrap().number, 3);
    let again = |start| {
        let schedule = task.schedule(2).id("x").replace().start_date(start);
        schedule.every(SECOND * 5).block_on()
    };
    let _ = again(start)?;
    assert_eq!(job.last_run().unwrap().number, 3);
    sim.advance(SECOND * 5);
    assert_eq!(job.last_run().unwrap().number, 4, "the count goes on");
    let _ = again(datetime!(2000-01-01 0:01 UTC))?;
    assert_eq!(job.last_run(), None, "the job starts over");
    sim.advance(SECOND * 25);
    assert_eq!(job.last_run().unwrap().number, 1);
    Ok(())
}

#[test]
fn a_replacement_keeps_the_count_of_failures_in_a_row() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task.register()?;
    let schedule = || {
        task.schedule(())
            .id("x")
            .replace()
            .max_failures(3)
            .every(SECOND)
    };
    let job = schedule().block_on()?;
    sim.advance(SECOND * 2);
    let _ = schedule().block_on()?;
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::PermanentlyFailed);
    Ok(())
}

#[test]
fn a_job_can_become_recurring_and_single_again() -> Result {
    let (mut sim, task, log) = task_that_logs()?;
    let schedule = task.schedule(1).id("x");
    let job = schedule.delay(SECOND * 10).block_on()?;
    let again = task.schedule(2).id("x").replace();
    let _ = again.every(SECOND).block_on()?;
    sim.advance(SECOND * 2);
    let again = task.schedule(3).id("x").replace_any();
    let _ = again.delay(SECOND * 5).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [(1, 2), (2, 2), (7, 3)]);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

/// It runs at least once, and never two runs at a time.
#[test]
fn a_job_that_is_replaced_while_it_fires_runs_with_the_last_arguments() -> Result {
    let app = started_app()?;
    let log = Log::new();
    let task = app.task("t", {
        let log = log.clone();
        move |x: u32| {
            log.add(x);
            async move { x }
        }
    });
    let task = task.register()?;
    for round in 0..200 {
        let id = format!("job {round}");
        let mut last = task.schedule(0).id(&id).push().block_on()?;
        for x in 1..=10 {
            last = task.schedule(x).id(&id).replace().push().block_on()?;
        }
        assert_eq!(last.wait_blocking(), JobStatus::Success);
        assert_eq!(*last.result()?, 10);
        let runs = log.take();
        assert_eq!(runs.last(), Some(&10), "{runs:?}");
        assert!(runs.is_sorted_by(|a, b| a < b), "{runs:?}");
    }
    Ok(())
}

#[test]
fn a_panic_in_the_drop_of_unused_replacement_arguments_is_caught() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", |_: Option<Bomb>| std::future::pending::<()>());
    let task = task.register()?;
    let job = task.schedule(None).id("x").push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Running);
    let again = task.schedule(Some(Bomb)).id("x").replace();
    let _ = again.delay(HOUR).block_on()?;
    assert!(job.abort().block_on()?.took_effect());
    assert_eq!(job.status(), JobStatus::Cancelled);
    Ok(())
}

#[test]
fn a_job_that_is_replaced_and_then_cancelled_in_its_run_ends_with_that_run() -> Result {
    for is_by_the_stop in [false, true] {
        let mut sim = Simulation::new();
        let (clock, log) = (sim.clock(), Log::new());
        let seen = log.clone();
        let task = sim.app().task("t", move |n: u32, _: DropCounter| {
            seen.add(n);
            clock.sleep(SECOND * 5)
        });
        let task = task.register()?;
        let counter = DropCounter::default();
        let first = task.schedule((1, DropCounter::default()));
        let job = first.id("x").push().block_on()?;
        sim.run_until_stalled();
        let again = task.schedule((2, counter.clone())).id("x").replace();
        let _ = again.delay(SECOND).block_on()?;
        if is_by_the_stop {
            assert!(sim.shutdown(MINUTE).is_complete());
        } else {
            assert_eq!(job.cancel().block_on()?, CancelOutcome::EndsAfterAttempt);
            assert_eq!(job.status(), JobStatus::Running);
            sim.advance(HOUR);
        }
        assert_eq!(job.status(), JobStatus::Cancelled);
        assert_eq!((log.take(), counter.alive()), (vec![1], 0));
    }
    Ok(())
}

#[test]
fn a_replacement_that_gives_up_a_retry_wakes_the_waiters_for_the_run() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task.retry(Backoff::fixed(3, HOUR)).register()?;
    let job = task.schedule(()).id("x").every(SECOND).block_on()?;
    let mut waiting = job.next_run();
    sim.advance(SECOND);
    let (wakes, waker) = WakeCounter::new();
    let polled = poll_with(&mut waiting, &waker);
    assert!(polled.is_pending(), "a retry is left");
    let again = task.schedule(()).id("x").replace();
    let _ = again.every(MINUTE).block_on()?;
    assert_eq!(wakes.count(), 1);
    assert!(poll_with(&mut waiting, &waker).is_ready());
    Ok(())
}

#[test]
fn a_replacement_while_the_arguments_are_cloned_follows_the_run() -> Result {
    /// Called at the first clone.
    type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;
    struct Hooked(u32, Hook);
    impl Clone for Hooked {
        fn clone(&self) -> Self {
            let hook = self.1.lock().unwrap().take();
            hook.into_iter().for_each(|hook| hook());
            Hooked(self.0, self.1.clone())
        }
    }
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim
        .app()
        .task("t", log.each_with(move |_, args: Hooked| (now(), args.0)));
    let task = task.register()?;
    let hook = Hook::default();
    let schedule = task.schedule(Hooked(1, hook.clone())).id("x");
    let job = schedule.every(SECOND).block_on()?;
    let again = task.clone();
    *hook.lock().unwrap() = Some(Box::new(move || {
        let schedule = again.schedule(Hooked(2, Hook::default())).id("x").replace();
        let _ = schedule.every(MINUTE).block_on().unwrap();
    }));
    sim.advance(MINUTE + SECOND);
    assert_eq!(log.entries(), [(1, 1), (61, 2)]);
    assert_eq!(job.last_run().map(|run| run.number), Some(2));
    Ok(())
}

/// Arguments whose drop looks at their job.
#[derive(Clone)]
struct Looks(jobber::AnyJob, Log<OffsetDateTime>);

impl Drop for Looks {
    fn drop(&mut self) {
        self.1.add(self.0.exec_at());
    }
}

#[test]
fn the_drop_of_replaced_arguments_may_use_their_job() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move |looks: Option<Looks>| {
        drop(looks);
        clock.sleep(SECOND)
    });
    let task = task.register()?;
    let job = task.schedule(None).id("x").every(MINUTE).block_on()?;
    let any = sim.app().find_job("x").unwrap();
    let log = Log::new();
    let replace = || {
        let looks = Looks(any.clone(), log.clone());
        let schedule = task.schedule(Some(looks)).id("x").replace();
        schedule.every(MINUTE).block_on()
    };
    // Two replacements while the job waits, and two during a run.
    let _ = (replace()?, replace()?);
    assert_eq!(log.take(), [datetime!(2000-01-01 0:01 UTC)]);
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Running);
    log.take();
    let _ = (replace()?, replace()?);
    sim.advance(SECOND);
    assert_eq!(log.take().len(), 2);
    Ok(())
}

#[test]
fn an_abort_drops_the_arguments_of_the_run_and_of_the_replacement() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |held: DropCounter| {
        std::future::pending::<()>().await;
        drop(held);
    });
    let task = task.register()?;
    let (now, then) = (DropCounter::default(), DropCounter::default());
    let job = task.schedule(now.clone()).id("x").push().block_on()?;
    sim.run_until_stalled();
    let next = task.schedule(then.clone()).id("x").replace();
    let _ = next.delay(HOUR).block_on()?;
    assert!(job.abort().block_on()?.took_effect());
    sim.run_until_stalled();
    assert_eq!((now.alive(), then.alive()), (0, 0));
    Ok(())
}

#[test]
fn a_time_whose_run_goes_on_does_not_run_again_after_a_step_back_and_a_replacement() -> Result {
    // Times of day, replaced by the same and by others; and a rate, which goes on by the new
    // clock.
    for (cron, again, runs) in [
        ("0 0-23 * * *", "0 0-23 * * *", vec![5, 6]),
        ("0 0-23 * * *", "0 4-23 * * *", vec![5, 6]),
        ("@hourly", "@hourly", vec![5, 5, 6]),
    ] {
        let mut sim = Simulation::new();
        let (clock, log) = (sim.clock(), Log::new());
        let seen = log.clone();
        let task = sim.app().task("t", move |cx: JobContext| {
            seen.add(cx.nominal_time().hour());
            clock.sleep(MINUTE)
        });
        let task = task.register()?;
        let schedule = || task.schedule(()).id("x").replace().misfire(Misfire::Skip);
        let _ = schedule().cron(cron).block_on()?;
        sim.set_wall(datetime!(2000-01-01 4:30 UTC));
        sim.advance(MINUTE * 30);
        sim.set_wall(datetime!(2000-01-01 4:30 UTC));
        let _ = schedule().cron(again).block_on()?;
        sim.advance(HOUR * 2);
        assert_eq!(log.entries(), runs, "{cron}, then {again}");
    }
    Ok(())
}

#[test]
fn a_running_job_that_is_replaced_to_start_over_has_no_result_after_the_run() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND));
    let task = task.register()?;
    let job = task.schedule(()).id("x").every(MINUTE).block_on()?;
    sim.advance(MINUTE + SECOND);
    assert!(job.result().is_ok());
    sim.advance(MINUTE - SECOND);
    assert_eq!(job.status(), JobStatus::Running);
    let again = task.schedule(()).id("x").replace_any();
    let _ = again.delay(HOUR).block_on()?;
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert!(matches!(job.result(), Err(JobError::NotCompleted)));
    Ok(())
}

#[test]
fn cron_expression_returns_the_present_expression() -> Result {
    let (sim, task, _) = task_that_logs()?;
    let schedule = || task.schedule(1).id("x").replace();
    let job = schedule().delay(HOUR).block_on()?;
    assert_eq!(job.cron_expression().as_deref(), None);
    let _ = schedule().cron("@hourly").block_on()?;
    assert_eq!(job.cron_expression().as_deref(), Some("@hourly"));
    let _ = schedule().every(HOUR).block_on()?;
    assert_eq!(job.cron_expression().as_deref(), None);
    drop(sim);
    Ok(())
}

#[test]
fn the_drop_of_refused_replacement_arguments_may_panic_and_use_the_job() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async |_: Option<Looks>, _: Option<Bomb>| {
            std::future::pending::<()>().await;
        });
    let task = task.register()?;
    let schedule = task.schedule((None, None)).id("x");
    let job = schedule.every(SECOND).block_on()?;
    sim.advance(SECOND);
    assert!(job.cancel().block_on()?.took_effect());
    let looks = Looks(sim.app().find_job("x").unwrap(), Log::new());
    let again = task.schedule((Some(looks), Some(Bomb))).id("x").replace();
    let refused = again.every(SECOND).block_on();
    assert!(matches!(refused, Err(ScheduleError::JobEnding { .. })));
    Ok(())
}

/// Regression: `next_run` compared run numbers, which a replacement sets back, and missed
/// runs.
#[test]
fn next_run_returns_the_first_run_of_a_job_that_starts_over() -> Result {
    let mut sim = Simulation::new();
    let start = time::macros::datetime!(2000-01-01 0:00:30 UTC);
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).id("x").every(SECOND).block_on()?;
    sim.advance(SECOND * 3);
    let next = job.next_run();
    let schedule = task.schedule(()).id("x").replace().start_date(start);
    let _ = schedule.every(SECOND).block_on()?;
    sim.advance(SECOND * 27);
    assert_eq!(
        next.block_on().unwrap().number,
        1,
        "the job has started over"
    );
    Ok(())
}

/// Regression: a run that failed with retries left, after its job was replaced, was never
/// counted: no event, no last run, and its number was left out.
#[test]
fn a_run_that_fails_after_its_job_was_replaced_counts() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || {
        let sleep = clock.sleep(SECOND);
        async move {
            sleep.await;
            Err::<(), _>("no")
        }
    });
    let task = task.retry(Backoff::fixed(5, HOUR)).register()?;
    let schedule = || task.schedule(()).id("x").replace();
    let job = schedule().every(SECOND * 10).block_on()?;
    sim.advance(SECOND * 10);
    let next = job.next_run();
    let _ = schedule().every(SECOND * 20).block_on()?;
    sim.advance(SECOND);
    let run = poll(next).flatten().ok_or("the run has not ended")?;
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    Ok(())
}

/// The times stay as they were, and so does the run: only its arguments are new.
#[test]
fn a_run_that_fails_after_a_replacement_by_the_same_times_is_retried_with_the_new_arguments()
-> Result {
    let mut sim = Simulation::new();
    let (clock, log) = (sim.clock(), Log::new());
    let seen = log.clone();
    let task = sim.app().task("t", move |cx: JobContext, n: u32| {
        seen.add((cx.run_number(), cx.attempt(), n));
        let sleep = clock.sleep(SECOND);
        async move {
            sleep.await;
            if n == 1 { Err("no") } else { Ok(()) }
        }
    });
    let task = task.retry(Backoff::fixed(5, SECOND * 2)).register()?;
    let schedule = |n| task.schedule(n).id("x").replace();
    for waits_for_retry in [false, true] {
        let job = schedule(1).every(SECOND * 10).block_on()?;
        sim.advance(SECOND * 10);
        if waits_for_retry {
            sim.advance(SECOND);
        }
        assert_eq!(job.status() == JobStatus::Running, !waits_for_retry);
        let mut next = job.next_run();
        let _ = schedule(2).every(SECOND * 10).block_on()?;
        assert!(poll(&mut next).is_none(), "{waits_for_retry}");
        sim.advance(SECOND * 5);
        let run = poll(next).flatten().ok_or("the run has not ended")?;
        assert_eq!((run.number, run.status), (1, JobStatus::Success));
        assert_eq!(log.take(), [(1, 1, 1), (1, 2, 2)], "{waits_for_retry}");
        assert!(job.cancel().block_on()?.took_effect());
    }
    Ok(())
}

/// Regression: a job that a replacement made start over still returned the value from
/// before.
#[test]
fn a_waiting_job_that_starts_over_has_no_result() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |x: u8| x).register()?;
    let job = task.schedule(1).id("x").every(SECOND).block_on()?;
    sim.advance(SECOND);
    assert_eq!(*job.result()?, 1);
    let again = task.schedule(2).id("x").replace_any();
    let _ = again.delay(SECOND).block_on()?;
    assert!(matches!(job.result(), Err(jobber::JobError::NotCompleted)));
    sim.advance(SECOND);
    assert_eq!(*job.result()?, 2);
    Ok(())
}

/// Regression: another thread made a job between the look-up and the insertion, and
/// `replace` returned that the id was taken.
#[test]
fn many_threads_that_replace_one_id_never_get_a_duplicate_error() -> Result {
    let app = started_app()?;
    let task = app.task("t", async |_: u32| {}).register()?;
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..2_000 {
                    let submit = task.schedule(n).id("x").replace().push();
                    if let Err(error) = submit.block_on() {
                        failed.lock().unwrap().push(error.to_string());
                    }
                }
            });
        }
    });
    assert_eq!(*failed.lock().unwrap(), [] as [&str; 0]);
    Ok(())
}

/// Regression: the job was there when the id was reserved and gone when it was looked up,
/// and `replace` returned that the id was taken.
#[test]
fn replacing_a_job_while_it_ends_never_gets_a_duplicate_error() -> Result {
    // Each job ends in the call that schedules it, while other threads replace it.
    let app = Jobber::builder()
        .executor(|job: JobFuture| futures_lite::future::block_on(job))
        .build()?;
    let task = app.task("t", async |_: u32| {}).register()?;
    app.start().block_on()?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..30_000).try_for_each(|n| {
                        let submit = task.schedule(n).id("x").replace().push();
                        submit.block_on().map(drop)
                    })
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap()?;
        }
        Ok(())
    })
}

/// Regression: each replacement kept its expression in a list, and dropping thousands of
/// them overflowed the stack.
#[test]
fn forty_thousand_replacements_by_two_expressions_do_not_overflow_the_stack() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let crons = ["@daily", "@hourly"];
    let mut job = task.schedule(()).id("x").cron(crons[0]).block_on()?;
    for n in 1..40_000 {
        job = task
            .schedule(())
            .id("x")
            .replace()
            .cron(crons[n % 2])
            .block_on()?;
    }
    assert_eq!(job.cron_expression().as_deref(), Some("@hourly"));
    Ok(())
}

/// Regression: a run that waited for a retry when its job was replaced was never counted.
#[test]
fn a_run_whose_retry_a_replacement_gives_up_counts_as_failed() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task.retry(Backoff::fixed(5, HOUR)).register()?;
    let schedule = || task.schedule(()).id("x").replace();
    let job = schedule().every(MINUTE).block_on()?;
    sim.advance(MINUTE);
    let next = job.next_run();
    let _ = schedule().every(MINUTE * 2).block_on()?;
    let run = poll(next).flatten().ok_or("the run has not ended")?;
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    Ok(())
}

/// Regression: when a recurring job was replaced during a run with another start date,
/// `next_run` returned `None` at the end of that run, although the job went on.
#[test]
fn next_run_goes_on_waiting_when_a_replaced_job_starts_over() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let slow = sim.app().task("slow", move || clock.sleep(SECOND * 2));
    let slow = slow.register()?;
    let job = slow.schedule(()).id("x").every(MINUTE).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Running);
    let start = sim.clock().wall() + 3 * MINUTE;
    let again = slow.schedule(()).id("x").replace().start_date(start);
    let _ = again.every(MINUTE).block_on()?;

    let mut next = job.next_run();
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Scheduled, "the run has ended");
    assert!(poll(&mut next).is_none());
    sim.advance(2 * MINUTE + 2 * SECOND);
    let run = poll(next).flatten();
    assert_eq!(run.map(|run| run.nominal_time), Some(start));
    Ok(())
}

#[test]
fn a_missed_time_that_follows_a_run_is_run_by_a_replacement_with_the_same_times() -> Result {
    // The policy of the replacement decides about what was missed when the run has ended.
    for (misfire, runs) in [
        (Misfire::All(2), vec![1, 2, 5]),
        (Misfire::All(3), vec![1, 2, 3, 5]),
        (Misfire::Once, vec![1, 4, 5]),
        (Misfire::Skip, vec![1, 5]),
    ] {
        let mut sim = Simulation::new();
        let (clock, log) = (sim.clock(), Log::new());
        let seen = log.clone();
        let task = sim.app().task("t", move |cx: JobContext| {
            seen.add(cx.nominal_time().hour());
            clock.sleep(MINUTE)
        });
        let task = task.register()?;
        let schedule = |misfire| task.schedule(()).id("x").replace().misfire(misfire);
        let _ = schedule(Misfire::All(2)).cron("@hourly").block_on()?;
        sim.set_wall(datetime!(2000-01-01 4:30 UTC));
        // The run for 1:00 goes on, and 2:00, 3:00 and 4:00 were missed, too.
        let _ = schedule(misfire).cron("0 * * * *").block_on()?;
        sim.advance(HOUR);
        assert_eq!(log.entries(), runs, "{misfire:?}");
    }
    Ok(())
}

#[test]
fn a_time_that_has_run_is_not_run_again_if_the_replacement_has_no_other() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", log.each(JobContext::nominal_time));
    let task = task.register()?;
    let schedule = || task.schedule(()).id("x").replace().start_date(START);
    let job = schedule().cron("* * * * *").block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), [START]);
    let daily = schedule().until(START + MINUTE);
    daily.every_calendar(CalendarInterval::DAY).block_on()?;
    sim.advance(MINUTE);
    assert!(log.entries().is_empty());
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}
