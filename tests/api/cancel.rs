//! Cancel and abort.

use std::sync::{Arc, OnceLock};
use std::thread;

use crate::support::{
    Bomb, DropCounter, HOUR, Log, Result, SECOND, delay_all, event_kinds, slot, started_app,
};
use jobber::testing::Simulation;
use jobber::{Backoff, CancelOutcome, Job, JobContext, JobError, JobStatus, ScheduleError};

#[test]
fn a_cancelled_job_never_runs() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", log.each(|_| ())).register()?;
    let delayed = task.schedule(()).delay(SECOND).block_on()?;
    let pushed = task.schedule(()).push().block_on()?;
    assert!(delayed.cancel().block_on()?.took_effect());
    assert!(
        pushed.cancel().block_on()?.took_effect(),
        "spawned and not begun"
    );
    sim.advance(HOUR);
    assert_eq!(log.entries(), []);
    for job in [delayed, pushed] {
        assert_eq!(job.status(), JobStatus::Cancelled);
        assert!(matches!(job.result(), Err(JobError::Cancelled)));
    }
    Ok(())
}

#[test]
fn cancelling_drops_the_arguments_at_once() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", async |_: DropCounter| {}).register()?;
    let counter = DropCounter::default();
    let job = task.schedule(counter.clone()).delay(HOUR).block_on()?;
    assert_eq!(counter.alive(), 1);
    job.cancel().block_on()?;
    assert_eq!(counter.alive(), 0, "although the handle is alive");
    Ok(())
}

#[test]
fn cancelling_frees_the_id_at_once() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).id("x").delay(HOUR).block_on()?;
    job.cancel().block_on()?;
    assert!(sim.app().find_job("x").is_none());
    let _ = task.schedule(()).id("x").delay(HOUR).block_on()?;
    Ok(())
}

#[test]
fn exactly_one_of_many_concurrent_cancels_takes_effect() -> Result {
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    for _ in 0..50 {
        let job = task.schedule(()).delay(HOUR).block_on()?;
        let winners: usize = thread::scope(|scope| {
            let cancel = || usize::from(job.cancel().block_on().unwrap().took_effect());
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(cancel)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(winners, 1);
    }
    Ok(())
}

#[test]
fn cancelling_a_finished_job_has_no_effect() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND));
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Success);
    assert_eq!(job.cancel().block_on()?, CancelOutcome::AlreadyDone);
    assert_eq!(job.abort().block_on()?, CancelOutcome::AlreadyDone);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn cancelling_wakes_the_waiters() -> Result {
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    let job = task.schedule(()).delay(HOUR).block_on()?;
    let blocked = thread::spawn({
        let job = job.clone();
        move || job.wait_blocking()
    });
    let waiting = smol::spawn(job.wait());
    assert!(smol::block_on(job.cancel())?.took_effect());
    assert_eq!(blocked.join().unwrap(), JobStatus::Cancelled);
    assert_eq!(smol::block_on(waiting), JobStatus::Cancelled);
    Ok(())
}

#[test]
fn a_cancel_that_is_neither_awaited_nor_run_has_no_effect() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).delay(HOUR).block_on()?;
    drop(job.cancel());
    assert_eq!(job.status(), JobStatus::Scheduled);
    Ok(())
}

#[test]
fn a_job_that_waits_for_a_retry_can_be_cancelled() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |cx: JobContext| {
        Err::<(), _>(format!("attempt {}", cx.attempt()))
    });
    let task = task.retry(Backoff::fixed(3, SECOND)).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert!(job.cancel().block_on()?.took_effect());
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Cancelled);
    Ok(())
}

#[test]
fn a_recurring_job_is_cancelled_between_runs() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).every(SECOND).block_on()?;
    sim.advance(SECOND * 3);
    assert!(job.cancel().block_on()?.took_effect());
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert_eq!(job.last_run().unwrap().number, 3);
    Ok(())
}

#[test]
fn a_recurring_job_cancelled_during_a_run_ends_with_that_run() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND * 5));
    let task = task.register()?;
    let job = task.schedule(()).every(SECOND * 10).block_on()?;
    sim.advance(SECOND * 12);
    assert_eq!(job.status(), JobStatus::Running);
    for _ in 0..2 {
        assert_eq!(job.cancel().block_on()?, CancelOutcome::EndsAfterAttempt);
        assert_eq!(job.status(), JobStatus::Running, "the run goes on");
    }
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Cancelled);
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Success));
    Ok(())
}

/// Regression: five more attempts followed.
#[test]
fn a_job_that_runs_once_and_is_cancelled_during_its_attempt_ends_as_that_attempt() -> Result {
    for (fails, status) in [(false, JobStatus::Success), (true, JobStatus::Failed)] {
        let mut sim = Simulation::new();
        let (clock, log) = (sim.clock(), Log::new());
        let seen = log.clone();
        let task = sim.app().task("t", move |cx: JobContext| {
            seen.add(cx.attempt());
            let sleep = clock.sleep(SECOND);
            async move {
                sleep.await;
                if fails { Err("no") } else { Ok(7) }
            }
        });
        let task = task.retry(Backoff::fixed(5, SECOND)).register()?;
        let job = task.schedule(()).push().block_on()?;
        sim.run_until_stalled();
        let mut events = sim.app().events();
        assert_eq!(job.cancel().block_on()?, CancelOutcome::EndsAfterAttempt);
        sim.advance(HOUR);
        assert_eq!((log.entries(), job.status()), (vec![1], status));
        assert_eq!(event_kinds(&mut events, "t"), [format!("ended {status}")]);
        match job.result() {
            Ok(value) => assert!(!fails && *value == 7),
            Err(error) => assert!(fails && matches!(error, JobError::Failed(_))),
        }
    }
    Ok(())
}

#[test]
fn abort_drops_the_future_of_a_running_job() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |held: DropCounter| {
        std::future::pending::<()>().await;
        drop(held);
    });
    let task = task.register()?;
    let counter = DropCounter::default();
    let job = task.schedule(counter.clone()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(counter.alive(), 1);
    assert!(job.abort().block_on()?.took_effect());
    assert_eq!(job.status(), JobStatus::Cancelled, "at once");
    sim.run_until_stalled();
    assert_eq!(counter.alive(), 0);
    assert!(matches!(job.result(), Err(JobError::Cancelled)));
    Ok(())
}

#[test]
fn abort_cancels_a_scheduled_job() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).delay(HOUR).block_on()?;
    assert!(job.abort().block_on()?.took_effect());
    assert_eq!(job.status(), JobStatus::Cancelled);
    Ok(())
}

#[test]
fn abort_ends_a_recurring_job_and_its_run_counts_as_cancelled() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", std::future::pending::<()>).register()?;
    let job = task.schedule(()).every(SECOND).block_on()?;
    sim.advance(SECOND);
    assert!(job.abort().block_on()?.took_effect());
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Cancelled);
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Cancelled));
    Ok(())
}

#[test]
fn abort_sets_the_token_of_a_blocking_job_and_discards_its_late_value() -> Result {
    let app = started_app()?;
    let counter = DropCounter::default();
    let (started, has_started) = smol::channel::bounded(1);
    let (ended, has_ended) = smol::channel::bounded(1);
    let task = app.blocking_task("t", {
        let counter = counter.clone();
        move |cx: JobContext| {
            let stop = cx.stop_token();
            started.send_blocking(()).unwrap();
            stop.stopped().block_on();
            ended.send_blocking(stop.is_stop_requested()).unwrap();
            Ok::<_, String>(counter.clone())
        }
    });
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    has_started.recv_blocking()?;
    assert!(job.abort().block_on()?.took_effect());
    assert_eq!(job.wait_blocking(), JobStatus::Cancelled);
    assert!(has_ended.recv_blocking()?);
    assert!(matches!(job.result(), Err(JobError::Cancelled)));
    Ok(())
}

#[test]
fn a_panic_in_the_drop_of_the_arguments_does_not_reach_the_caller() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", async |_: Bomb| {}).register()?;
    let job = task.schedule(Bomb).delay(HOUR).block_on()?;
    assert!(job.cancel().block_on()?.took_effect());
    assert_eq!(job.status(), JobStatus::Cancelled);
    Ok(())
}

#[test]
fn cancelling_every_job_frees_the_memory_of_the_table() -> Result {
    // The next id shows the slot: a table that was freed starts over at slot 0.
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: u32| {}).register()?;
    let jobs = delay_all(&task, HOUR, 0..100_000)?;
    for job in &jobs {
        assert!(job.cancel().block_on()?.took_effect());
    }
    sim.run_until_stalled();
    assert!(sim.app().jobs().is_empty());
    let next = task.schedule(0).delay(HOUR).block_on()?;
    assert!(next.id().to_string().ends_with("00000000"), "{}", next.id());
    Ok(())
}

/// Regression: jobs that left after the last check of the table were counted wrongly, and
/// the slots of a million jobs stayed for one.
#[test]
fn the_memory_of_a_burst_is_freed_when_its_last_few_jobs_leave_although_one_job_stays() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: u32| {}).register()?;
    let schedule = |n| task.schedule(n).delay(HOUR).block_on();
    let _stays = schedule(0)?;
    let mut jobs = Vec::new();
    for n in 0..5_000 {
        jobs.push(schedule(n)?);
    }
    let (last, first): (Vec<_>, Vec<_>) = (0..jobs.len()).partition(|n| n % 10 == 5);
    for jobs_now in [first, last] {
        for n in jobs_now {
            assert!(jobs[n].cancel().block_on()?.took_effect());
        }
        sim.run_until_stalled();
    }
    let slot = slot(schedule(0)?.id());
    assert!(slot < 1_024, "{slot}");
    Ok(())
}

#[test]
fn a_recurring_job_that_was_cancelled_in_its_run_cannot_be_replaced() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND * 5));
    let task = task.register()?;
    let schedule = task.schedule(()).id("x");
    let job = schedule.every(SECOND * 10).block_on()?;
    sim.advance(SECOND * 12);
    assert!(job.cancel().block_on()?.took_effect());
    let replaced = task.schedule(()).id("x").replace().delay(SECOND).block_on();
    assert!(matches!(replaced, Err(ScheduleError::JobEnding { id }) if id == *job.id()));
    Ok(())
}

/// Regression: the arguments lived for as long as the handle.
#[test]
fn arguments_are_dropped_when_their_attempt_is_aborted_while_they_are_cloned() -> Result {
    type Handle = std::sync::Arc<std::sync::OnceLock<jobber::Job<()>>>;
    struct Aborts(DropCounter, Handle);
    impl Clone for Aborts {
        fn clone(&self) -> Self {
            if let Some(job) = self.1.get() {
                assert!(job.abort().block_on().unwrap().took_effect());
            }
            Self(self.0.clone(), self.1.clone())
        }
    }
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: Aborts| Err::<(), _>("no"));
    let task = task.retry(Backoff::fixed(3, SECOND)).register()?;
    let (counter, handle) = (DropCounter::default(), Handle::default());
    let args = Aborts(counter.clone(), handle.clone());
    let job = task.schedule(args).delay(SECOND).block_on()?;
    assert!(handle.set(job.clone()).is_ok());
    // The arguments hold a handle of their own job.
    let alive = counter.alive();
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert_eq!((alive, counter.alive()), (1, 0));
    Ok(())
}

/// The other job has the slot by the time that the function returns.
#[test]
fn a_job_that_aborts_itself_does_not_remove_the_job_that_took_its_slot() -> Result {
    let mut sim = Simulation::new();
    let cell: std::sync::Arc<std::sync::OnceLock<jobber::Task<u32, ()>>> = Default::default();
    let (inner, log) = (cell.clone(), Log::new());
    let ran = log.clone();
    let registered = sim.app().task("t", move |cx: JobContext, n: u32| {
        let (inner, ran) = (inner.clone(), ran.clone());
        async move {
            ran.add(n);
            if n == 0 {
                let task = inner.get().unwrap();
                let this = task.job(cx.id()).unwrap();
                assert!(this.abort().block_on().unwrap().took_effect());
                let _ = task.schedule(1).delay(HOUR).block_on().unwrap();
            }
        }
    });
    let task = cell.get_or_init(|| registered.register().unwrap());
    let job = task.schedule(0).delay(SECOND).block_on()?;
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert_eq!(sim.app().jobs().len(), 1);
    sim.advance(HOUR);
    assert_eq!(log.entries(), [0, 1]);
    assert!(sim.app().jobs().is_empty());
    Ok(())
}

/// Regression: an abort while the arguments were cloned returned `true`, and the task ran
/// all the same.
#[test]
fn an_abort_while_the_arguments_are_cloned_prevents_the_attempt() -> Result {
    type Held = Arc<OnceLock<Job<()>>>;
    struct AbortsWhenCloned(Held);
    impl Clone for AbortsWhenCloned {
        fn clone(&self) -> Self {
            let job = self.0.get().unwrap();
            assert!(job.abort().block_on().unwrap().took_effect());
            Self(self.0.clone())
        }
    }
    let mut sim = Simulation::new();
    let ran = Log::new();
    let task = sim.app().blocking_task("t", {
        let ran = ran.clone();
        move |_: AbortsWhenCloned| ran.add(())
    });
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let held: Held = Arc::default();
    let submit = task.schedule(AbortsWhenCloned(held.clone())).push();
    let job = submit.block_on()?;
    let _ = held.set(job.clone());
    sim.run_until_stalled();
    assert_eq!(
        (job.status(), ran.entries()),
        (JobStatus::Cancelled, vec![])
    );
    Ok(())
}

/// Regression: named jobs next to a live one left their slots and names behind.
#[test]
fn slots_of_cancelled_jobs_are_freed_while_another_job_is_live() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: u32| {}).register()?;
    let _stays = task.schedule(0).delay(HOUR).block_on()?;
    for round in 0..3 {
        let mut jobs = Vec::new();
        for n in 0..10_000 {
            let id = format!("{round}-{n}");
            jobs.push(task.schedule(n).id(id).delay(HOUR).block_on()?);
        }
        for job in &jobs {
            job.cancel().block_on()?;
        }
        // The timer frees the slots.
        sim.run_until_stalled();
        let next = task.schedule(0).delay(HOUR).block_on()?;
        assert!(next.id().to_string().ends_with("00000001"), "{}", next.id());
        next.cancel().block_on()?;
    }
    Ok(())
}
