//! What an attempt leaves for the attempts after it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{
    HOUR, Log, MINUTE, Machine, Result, SECOND, WATCHDOG, event_kinds, manual_app_with, poll,
    wait_until,
};
use jobber::storage::StorageError;
use jobber::testing::{Fault, ManualClock, Simulation};
use jobber::{
    Action, Backoff, BoxError, CheckpointError, Clock, Job, JobContext, JobFuture, JobStatus,
    Jobber, MemoryStorage, Misfire, Snooze, Task, TaskBuilder,
};

/// What the next attempt does after it has set its checkpoints.
#[derive(Clone, Copy, Debug)]
enum End {
    Succeeds,
    Fails,
    /// After ten seconds.
    FailsLater,
    /// After three hours.
    SucceedsLater,
    /// Sets this checkpoint after ten seconds, and hangs.
    SetsLater(u32),
    Snoozes,
    Hangs,
}

/// The checkpoints that an attempt sets, and what it does then.
type Planned = (Vec<u32>, End);

/// Attempts that do what the test has planned, and log the checkpoint that they find.
#[derive(Clone)]
struct Script {
    plan: Arc<Mutex<VecDeque<Planned>>>,
    found: Log<Option<u32>>,
    stored: Log<u32>,
}

impl Script {
    fn new() -> Self {
        Self {
            plan: Arc::default(),
            found: Log::new(),
            stored: Log::new(),
        }
    }

    /// The next attempt sets these checkpoints, one after the other.
    fn next(&self, sets: &[u32], end: End) {
        self.plan.lock().unwrap().push_back((sets.to_vec(), end));
    }

    fn task(&self, sim: &Simulation) -> TaskBuilder<u32, ()> {
        let (script, clock) = (self.clone(), sim.clock());
        let body = move |cx: JobContext, _: u32| script.clone().run(cx, clock.clone());
        sim.app().task("t", body).retry(Backoff::fixed(9, MINUTE))
    }

    fn durable(&self, sim: &Simulation) -> Result<Task<u32, ()>> {
        Ok(self.task(sim).durable().register()?)
    }

    /// The next process of a machine, with the task.
    fn boot(&self, machine: &Machine) -> Result<(Simulation, Task<u32, ()>)> {
        let sim = machine.boot();
        let task = self.durable(&sim)?;
        Ok((sim, task))
    }

    async fn run(self, cx: JobContext, clock: ManualClock) -> Result {
        self.found.add(cx.last_checkpoint()?);
        let next = self.plan.lock().unwrap().pop_front();
        let (sets, end) = next.unwrap_or((Vec::new(), End::Succeeds));
        for n in sets {
            cx.checkpoint(&n).await?;
            self.stored.add(n);
        }
        match end {
            End::Succeeds => Ok(()),
            End::Fails => Err("no".into()),
            End::FailsLater => {
                clock.sleep(10 * SECOND).await;
                Err("no".into())
            }
            End::SucceedsLater => {
                clock.sleep(3 * HOUR).await;
                Ok(())
            }
            End::SetsLater(n) => {
                clock.sleep(10 * SECOND).await;
                cx.checkpoint(&n).await?;
                self.stored.add(n);
                std::future::pending().await
            }
            End::Snoozes => Err(Snooze::new(MINUTE).into()),
            End::Hangs => std::future::pending().await,
        }
    }
}

/// The checkpoints of all jobs in the store.
fn stored(machine: &Machine) -> Vec<String> {
    let records = machine.disk.records();
    let records = records
        .iter()
        .map(|record| serde_json::to_value(record).unwrap());
    let value = |record: serde_json::Value| record["progress"]["checkpoint"].clone();
    let values = records.map(value).filter(|value| !value.is_null());
    values
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_retry_goes_on_from_the_last_checkpoint() -> Result {
    for is_durable in [false, true] {
        let mut sim = Machine::new().boot();
        let script = Script::new();
        let task = script.task(&sim);
        let task = match is_durable {
            true => task.durable().register()?,
            false => task.register()?,
        };
        script.next(&[1], End::Fails);
        script.next(&[], End::Snoozes);
        script.next(&[2], End::Fails);
        let job = task.schedule(0).push().block_on()?;
        sim.advance(3 * MINUTE);
        assert_eq!(job.status(), JobStatus::Success);
        assert_eq!(script.found.take(), [None, Some(1), Some(1), Some(2)]);
    }
    Ok(())
}

#[test]
fn an_attempt_finds_its_own_checkpoint() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |cx: JobContext| {
        cx.checkpoint("a").await?;
        cx.checkpoint("b").await?;
        cx.last_checkpoint::<String>()
    });
    let job = task.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.result()?.as_deref(), Some("b"));
    Ok(())
}

#[test]
fn the_attempt_after_a_crash_goes_on_from_the_last_checkpoint() -> Result {
    let machine = Machine::new();
    let script = Script::new();
    let schedule = |task: &Task<u32, ()>| -> Result {
        task.schedule(1).id("push").push().block_on()?;
        task.schedule(2)
            .id("at")
            .at(machine.clock.wall())
            .block_on()?;
        task.schedule(3)
            .id("every")
            .first_now()
            .every(HOUR)
            .block_on()?;
        task.schedule(4)
            .id("cron")
            .first_now()
            .cron("0 * * * *")
            .block_on()?;
        Ok(())
    };
    let (mut sim, task) = script.boot(&machine)?;
    schedule(&task)?;
    for n in 1..=4 {
        script.next(&[n], End::Hangs);
    }
    sim.run_until_stalled();
    assert_eq!(script.found.take(), [None; 4]);
    sim.crash();

    let (mut sim, _) = script.boot(&machine)?;
    for n in 5..=8 {
        script.next(&[n], End::Fails);
    }
    sim.run_until_stalled();
    let mut found = script.found.take();
    found.sort();
    assert_eq!(found, [Some(1), Some(2), Some(3), Some(4)]);
    sim.crash();

    // And from that of an attempt that has failed, in its retry.
    let (mut sim, _) = script.boot(&machine)?;
    sim.advance(MINUTE);
    let mut found = script.found.take();
    found.sort();
    assert_eq!(found, [Some(5), Some(6), Some(7), Some(8)]);
    assert!(stored(&machine).is_empty());
    Ok(())
}

#[test]
fn the_run_after_an_at_most_once_attempt_that_crashed_begins_without_a_checkpoint() -> Result {
    let machine = Machine::new();
    let script = Script::new();
    let register = |sim: &Simulation| script.task(sim).durable().at_most_once().register();
    let mut sim = machine.boot();
    let task = register(&sim)?;
    let _ = task
        .schedule(0)
        .id("x")
        .first_now()
        .every(HOUR)
        .block_on()?;
    script.next(&[1], End::Hangs);
    sim.run_until_stalled();
    sim.crash();
    assert_eq!(stored(&machine), ["1"]);
    let mut sim = machine.boot();
    register(&sim)?;
    sim.advance(HOUR);
    assert_eq!(script.found.take(), [None, None]);
    Ok(())
}

#[test]
fn a_new_run_begins_without_a_checkpoint() -> Result {
    let machine = Machine::new();
    let script = Script::new();
    let (mut sim, task) = script.boot(&machine)?;
    let _ = task.schedule(0).id("x").every(HOUR).block_on()?;
    script.next(&[1], End::Succeeds);
    script.next(&[2], End::Fails);
    sim.advance(2 * HOUR);
    assert_eq!(script.found.take(), [None, None]);
    assert_eq!(stored(&machine), ["2"]);
    sim.advance(HOUR);
    assert_eq!(script.found.take(), [Some(2), None]);
    assert!(stored(&machine).is_empty());
    Ok(())
}

/// Boots after a crash 90 minutes ago that has cut short a run. Returns what the next attempts find.
fn found_after_a_late_crash(misfire: Misfire) -> Result<(Vec<Option<u32>>, Vec<String>)> {
    let machine = Machine::new();
    let script = Script::new();
    let (mut sim, task) = script.boot(&machine)?;
    let schedule = task.schedule(0).id("x").misfire(misfire);
    let _ = schedule.cron("0 * * * *").block_on()?;
    script.next(&[1], End::Hangs);
    sim.advance(HOUR);
    sim.crash();
    machine.clock.advance(90 * MINUTE);

    let (mut sim, _) = script.boot(&machine)?;
    script.found.take();
    script.next(&[], End::Fails);
    sim.advance(MINUTE);
    let row = stored(&machine);
    sim.advance(HOUR);
    Ok((script.found.take(), row))
}

#[test]
fn a_run_that_makes_up_for_the_one_that_a_crash_cut_short_resumes() -> Result {
    for misfire in [Misfire::Once, Misfire::All(1)] {
        let (found, _) = found_after_a_late_crash(misfire)?;
        assert_eq!(found[..2], [Some(1), Some(1)], "{misfire:?}");
    }
    Ok(())
}

#[test]
fn a_run_that_was_passed_over_leaves_no_checkpoint() -> Result {
    for misfire in [Misfire::Skip, Misfire::Grace(MINUTE)] {
        let (found, row) = found_after_a_late_crash(misfire)?;
        assert_eq!(found, [None, None], "{misfire:?}");
        assert!(row.is_empty(), "{row:?}");
    }
    Ok(())
}

/// Regression: the run of 04:00 got the checkpoint of 01:00.
#[test]
fn a_run_that_a_pause_leaves_out_during_an_extra_run_leaves_no_checkpoint() -> Result {
    let machine = Machine::new();
    let script = Script::new();
    let (mut sim, task) = script.boot(&machine)?;
    let _ = task.schedule(0).id("x").cron("0 * * * *").block_on()?;
    script.next(&[1], End::Hangs);
    sim.advance(HOUR);
    sim.crash();
    machine.clock.advance(SECOND);
    let (mut sim, task) = script.boot(&machine)?;
    let job = task.job("x").unwrap();
    job.pause().block_on()?;
    job.run_now().block_on()?;
    script.found.take();
    script.next(&[], End::SucceedsLater);
    sim.advance(2 * HOUR);
    job.resume().block_on()?;
    sim.advance(3 * HOUR);
    assert_eq!(script.found.take()[..2], [None, None]);
    Ok(())
}

#[test]
fn a_run_resumes_after_a_crash_although_the_wall_clock_was_set() -> Result {
    for trigger in ["push", "delay", "at", "first_now", "every", "cron"] {
        for by in [-7_200, -30, -1, 1, 30] {
            let machine = Machine::new();
            let script = Script::new();
            let mut sim = machine.boot();
            let schedule = script.durable(&sim)?.schedule(0).id("x");
            let _ = match trigger {
                "push" => schedule.push().block_on()?,
                "delay" => schedule.delay(HOUR).block_on()?,
                "at" => schedule.at(machine.clock.wall() + HOUR).block_on()?,
                "first_now" => schedule.first_now().every(HOUR).block_on()?,
                "every" => schedule.every(HOUR).block_on()?,
                _ => schedule.cron("0 * * * *").block_on()?,
            };
            script.next(&[1], End::Hangs);
            sim.advance(HOUR);
            sim.set_wall(machine.clock.wall() + time::Duration::seconds(by));
            sim.crash();
            let (mut sim, _) = script.boot(&machine)?;
            script.found.take();
            sim.advance(3 * HOUR);
            assert_eq!(script.found.take()[0], Some(1), "{trigger} {by}");
        }
    }
    Ok(())
}

#[test]
fn an_extra_run_and_the_run_that_a_crash_cut_short_have_checkpoints_of_their_own() -> Result {
    for time_passes in [false, true] {
        let machine = Machine::new();
        let script = Script::new();
        let (mut sim, task) = script.boot(&machine)?;
        let schedule = task.schedule(0).id("x").misfire(Misfire::All(9));
        let _ = schedule.cron("0 * * * *").block_on()?;
        script.next(&[1], End::Hangs);
        sim.advance(HOUR);
        sim.crash();
        if time_passes {
            machine.clock.advance(SECOND);
        }

        let (mut sim, task) = script.boot(&machine)?;
        task.job("x").unwrap().run_now().block_on()?;
        script.found.take();
        script.next(&[5], End::Fails);
        sim.advance(30 * SECOND);
        sim.crash();
        assert_eq!(stored(&machine), ["1"]);

        // The extra run comes first, with its retry.
        let (mut sim, _) = script.boot(&machine)?;
        sim.advance(2 * MINUTE);
        assert_eq!(script.found.take(), [None, Some(5), Some(1)]);
        sim.crash();
        assert!(stored(&machine).is_empty());
    }
    Ok(())
}

#[test]
fn a_replacement_keeps_the_checkpoint_only_if_times_and_arguments_are_the_same() -> Result {
    for is_running in [false, true] {
        for (args, is_kept) in [(0, true), (1, false)] {
            let machine = Machine::new();
            let script = Script::new();
            let (mut sim, task) = script.boot(&machine)?;
            let schedule = |args| task.schedule(args).id("x").first_now().replace();
            let _ = schedule(0).every(HOUR).block_on()?;
            script.next(&[1], End::FailsLater);
            sim.advance(match is_running {
                true => SECOND,
                false => 20 * SECOND,
            });
            assert_eq!(stored(&machine), ["1"]);
            let job = schedule(args).timeout(MINUTE).every(HOUR).block_on()?;
            assert_eq!(job.status() == JobStatus::Running, is_running);
            assert_eq!(stored(&machine).len(), usize::from(is_kept));
            sim.advance(2 * MINUTE);
            assert_eq!(script.found.take(), [None, is_kept.then_some(1)]);
        }
    }
    Ok(())
}

#[test]
fn a_replacement_that_starts_another_run_begins_without_a_checkpoint() -> Result {
    for is_durable in [false, true] {
        let mut sim = Machine::new().boot();
        let script = Script::new();
        let task = script.task(&sim);
        let task = match is_durable {
            true => task.durable().register()?,
            false => task.register()?,
        };
        let schedule = || task.schedule(0).id("x").replace();
        for (first, second) in [(HOUR, 2 * HOUR), (HOUR, Duration::ZERO)] {
            let _ = schedule().first_now().every(first).block_on()?;
            script.next(&[1], End::Fails);
            sim.run_until_stalled();
            assert_eq!(script.found.take(), [None]);
            let job = match second.is_zero() {
                true => schedule().replace_any().delay(MINUTE).block_on()?,
                false => schedule().first_now().every(second).block_on()?,
            };
            sim.advance(2 * HOUR);
            assert_eq!(script.found.take().first(), Some(&None));
            job.cancel().block_on()?;
            sim.run_until_stalled();
        }
    }
    Ok(())
}

#[test]
fn a_job_that_is_scheduled_again_after_its_failure_begins_without_a_checkpoint() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let script = Script::new();
    let task = script.task(&sim).durable().retry(Backoff::fixed(1, MINUTE));
    let task = task.register()?;
    let job = task.schedule(0).id("x").push().block_on()?;
    script.next(&[1], End::Fails);
    script.next(&[2], End::Fails);
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Failed);
    assert!(stored(&machine).is_empty());
    let failed = sim.app().failed().block_on()?;
    failed[0].retry().block_on()?;
    sim.run_until_stalled();
    assert_eq!(script.found.take(), [None, Some(1), None]);
    Ok(())
}

#[test]
fn one_checkpoint_a_second_is_written_and_the_last_one_counts() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let returned = log.clone();
    let body = async |cx: JobContext, returned: Log<u32>| {
        cx.checkpoint(&0).await?;
        returned.add(0);
        let waits = (1..=9).map(|n| {
            let (stored, returned) = (cx.checkpoint(&n), returned.clone());
            async move {
                stored.await?;
                returned.add(n);
                Ok::<(), CheckpointError>(())
            }
        });
        let mut waits = waits.map(Box::pin).collect::<Vec<_>>();
        for wait in &mut waits {
            assert!(futures_lite::future::poll_once(wait).await.is_none());
        }
        for wait in waits {
            wait.await?;
        }
        std::future::pending::<()>().await;
        Ok::<(), CheckpointError>(())
    };
    let task = sim
        .app()
        .task("t", move |cx: JobContext| body(cx, returned.clone()));
    task.durable().register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!((log.take(), stored(&machine)), (vec![0], vec!["0".into()]));
    let commits = machine.commits.entries().len();
    sim.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(machine.commits.entries().len(), commits);
    assert!(log.take().is_empty());
    sim.advance(Duration::from_nanos(1));
    assert_eq!(machine.commits.entries().len(), commits + 1);
    assert_eq!(log.take(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(stored(&machine), ["9"]);
    sim.advance(HOUR);
    assert_eq!(machine.commits.entries().len(), commits + 1);
    Ok(())
}

#[test]
fn a_checkpoint_that_waits_is_written_a_second_after_the_one_before_it() -> Result {
    let mut sim = Machine::new().boot();
    let (returned, clock) = (Log::new(), sim.clock());
    let log = returned.clone();
    let body = async |cx: JobContext, clock: ManualClock, log: Log<Duration>| {
        for n in 0..3 {
            cx.checkpoint(&n).await?;
            log.add(clock.elapsed());
        }
        std::future::pending::<Result<(), CheckpointError>>().await
    };
    let task = sim.app().task("t", move |cx: JobContext| {
        body(cx, clock.clone(), log.clone())
    });
    task.durable().register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    sim.advance(HOUR);
    assert_eq!(returned.take(), [Duration::ZERO, SECOND, 2 * SECOND]);
    Ok(())
}

#[test]
fn a_fast_loop_does_not_wait_and_a_second_later_its_last_checkpoint_is_stored() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = sim.app().task("t", async |cx: JobContext| {
        for n in 0..1_000 {
            cx.checkpoint_soon(&n)?;
        }
        std::future::pending::<Result<(), CheckpointError>>().await
    });
    task.durable().register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(stored(&machine), ["0"]);
    sim.advance(SECOND);
    assert_eq!(stored(&machine), ["999"]);
    Ok(())
}

#[test]
fn a_throttled_checkpoint_is_stored_when_the_attempt_ends() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let body = async |cx: JobContext| {
        cx.checkpoint(&1).await?;
        let _ = futures_lite::future::poll_once(cx.checkpoint(&2)).await;
        Err::<(), BoxError>("no".into())
    };
    let task = sim.app().task("t", body).durable();
    let task = task.retry(Backoff::fixed(9, MINUTE)).register()?;
    task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    sim.crash();
    assert_eq!(stored(&machine), ["2"]);
    Ok(())
}

#[test]
fn a_shutdown_stores_the_checkpoint_that_waits() -> Result {
    let machine = Machine::new();
    let script = Script::new();
    let (mut sim, task) = script.boot(&machine)?;
    let _ = task.schedule(0).push().block_on()?;
    script.next(&[1, 2], End::Hangs);
    sim.run_until_stalled();
    assert_eq!(script.stored.take(), [1]);
    sim.shutdown(Duration::ZERO);
    assert_eq!(stored(&machine), ["2"]);
    let (mut sim, _) = script.boot(&machine)?;
    sim.run_until_stalled();
    assert_eq!(script.found.take(), [None, Some(2)]);
    Ok(())
}

/// A call of `checkpoint` that waits, and has left its attempt.
type Held = Arc<Mutex<Option<Action<Result<(), CheckpointError>>>>>;

/// An attempt that sets two checkpoints, and whose second call waits outside. Then it fails after 100
/// milliseconds, or hangs.
fn hold_a_call(
    sim: &Simulation,
    fails: bool,
    configure: impl FnOnce(TaskBuilder<(), ()>) -> TaskBuilder<(), ()>,
) -> Result<(Job<()>, Log<Held>)> {
    let (held, clock) = (Log::<Held>::new(), sim.clock());
    let body = async |cx: JobContext, held: Log<Held>, clock: ManualClock, fails: bool| -> Result {
        cx.checkpoint(&1).await?;
        let mut second = cx.checkpoint(&2);
        assert!(futures_lite::future::poll_once(&mut second).await.is_none());
        held.add(Arc::new(Mutex::new(Some(second))));
        match fails {
            true => clock.sleep(SECOND / 10).await,
            false => std::future::pending().await,
        }
        Err("no".into())
    };
    let outside = held.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        body(cx, held.clone(), clock.clone(), fails)
    });
    let task = configure(task.durable()).register()?;
    Ok((task.schedule(()).push().block_on()?, outside))
}

fn held(log: &Log<Held>) -> Action<Result<(), CheckpointError>> {
    log.take().remove(0).lock().unwrap().take().unwrap()
}

#[test]
fn a_call_that_waits_returns_an_error_if_the_attempt_ends_and_none_follows() -> Result {
    for how in ["abort", "fail", "timeout"] {
        for store_fails in [false, true] {
            let machine = Machine::new();
            let mut sim = machine.boot();
            let (job, log) = hold_a_call(&sim, how == "fail", |task| match how {
                "timeout" => task.timeout(SECOND / 10),
                _ => task,
            })?;
            sim.run_until_stalled();
            if store_fails {
                machine.set_fault(Fault::Fail);
            }
            if how == "abort" {
                let _ = job.abort().block_on();
            }
            sim.advance(SECOND / 5);
            let answer = poll(held(&log)).expect("it has an answer");
            let is_over = matches!(answer, Err(CheckpointError::AttemptEnded));
            assert!(is_over, "{how}: {answer:?}");
        }
    }
    Ok(())
}

#[test]
fn a_call_that_waits_returns_when_the_end_of_the_attempt_has_stored_its_checkpoint() -> Result {
    for store_fails in [false, true] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let retried = |task: TaskBuilder<(), ()>| task.retry(Backoff::fixed(1, HOUR));
        let (_, log) = hold_a_call(&sim, true, retried)?;
        sim.run_until_stalled();
        if store_fails {
            machine.set_fault(Fault::Fail);
        }
        sim.advance(SECOND / 5);
        let answer = poll(held(&log)).expect("it has an answer");
        assert_eq!(answer.is_err(), store_fails, "{answer:?}");
        machine.set_fault(Fault::None);
        sim.advance(MINUTE);
        assert_eq!(stored(&machine), ["2"]);
    }
    Ok(())
}

#[test]
fn a_call_that_waits_returns_when_the_app_stops() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let (_, log) = hold_a_call(&sim, false, |task| task)?;
    sim.run_until_stalled();
    let _ = sim.shutdown(Duration::ZERO);
    assert!(poll(held(&log)).expect("it has an answer").is_ok());
    assert_eq!(stored(&machine), ["2"]);
    Ok(())
}

/// The row is that of the replacement, which begins without a checkpoint.
#[test]
fn after_a_replacement_with_other_arguments_a_running_attempt_writes_no_checkpoint() -> Result {
    let machine = Machine::new();
    let script = Script::new();
    let (mut sim, task) = script.boot(&machine)?;
    let schedule = |args| task.schedule(args).id("x").first_now().replace();
    let _ = schedule(0).every(HOUR).block_on()?;
    script.next(&[1], End::SetsLater(2));
    sim.run_until_stalled();
    let _ = schedule(1).every(HOUR).block_on()?;
    let commits = machine.commits.entries().len();
    sim.advance(30 * SECOND);
    assert_eq!(script.stored.take(), [1, 2]);
    assert_eq!(machine.commits.entries().len(), commits);
    assert!(stored(&machine).is_empty());
    Ok(())
}

#[test]
fn an_executor_that_polls_within_spawn_does_not_wait_for_itself() -> Result {
    let app = Jobber::builder()
        .storage(MemoryStorage::new())
        .executor(|job: JobFuture| futures_lite::future::block_on(job))
        .build()?;
    app.start().block_on()?;
    let task = app.task("t", async |cx: JobContext| {
        cx.checkpoint(&1).await?;
        cx.checkpoint(&2).await
    });
    let task = task.durable().register()?;
    let job = task
        .schedule(())
        .delay(Duration::from_millis(1))
        .block_on()?;
    let status = job.wait_timeout(WATCHDOG).block_on();
    assert_eq!(status, JobStatus::Success);
    Ok(())
}

#[test]
fn a_checkpoint_that_the_store_refuses_is_an_error_and_is_stored_later() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let seen = log.clone();
    let body = async |cx: JobContext, clock: ManualClock, seen: Log<bool>| {
        clock.sleep(SECOND).await;
        let stored = cx.checkpoint(&1).await;
        seen.add(matches!(stored, Err(CheckpointError::Storage(_))));
        assert_eq!(cx.last_checkpoint::<u32>().unwrap(), Some(1));
        std::future::pending::<()>().await
    };
    let clock = sim.clock();
    let task = sim.app().task("t", move |cx: JobContext| {
        body(cx, clock.clone(), seen.clone())
    });
    task.durable().register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    machine.set_fault(Fault::Fail);
    sim.advance(SECOND);
    machine.set_fault(Fault::None);
    assert_eq!((log.take(), stored(&machine).len()), (vec![true], 0));
    sim.advance(MINUTE);
    assert_eq!(stored(&machine), ["1"]);
    Ok(())
}

#[test]
fn a_checkpoint_after_the_end_of_the_app_or_of_the_attempt_is_an_error() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let contexts = Log::new();
    let kept = contexts.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        kept.add(Arc::new(cx));
        std::future::pending::<()>()
    });
    let task = task.durable().register()?;
    let aborted = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    aborted.abort().block_on()?;
    let _ = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    let [over, running]: [Arc<JobContext>; 2] = contexts.take().try_into().ok().unwrap();
    let set = |cx: &JobContext| cx.checkpoint(&1).block_on();
    assert!(matches!(set(&over), Err(CheckpointError::AttemptEnded)));
    let soon = over.checkpoint_soon(&1);
    assert!(matches!(soon, Err(CheckpointError::AttemptEnded)));
    let last = over.last_checkpoint::<u32>();
    assert!(matches!(last, Err(CheckpointError::AttemptEnded)));
    let _ = sim.shutdown(Duration::ZERO);
    let is_closed = |set: &Result<(), CheckpointError>| {
        matches!(set, Err(CheckpointError::Storage(StorageError::Closed)))
    };
    assert!(is_closed(&set(&running)));
    assert!(is_closed(&running.checkpoint_soon(&1)));
    assert!(stored(&machine).is_empty());
    Ok(())
}

#[test]
fn invalid_values_are_errors_and_the_previous_checkpoint_stays() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |cx: JobContext| -> Result {
        cx.checkpoint(&1).await?;
        let longest = "x".repeat(65_536 - 2);
        let error = cx.checkpoint(&format!("{longest}x")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the checkpoint has 65537 bytes, but at most 65536 are allowed"
        );
        let not_json = std::collections::HashMap::from([(vec![1], 2)]);
        let error = cx.checkpoint(&not_json).await.unwrap_err();
        assert!(matches!(error, CheckpointError::Encode(_)), "{error:?}");
        assert_eq!(cx.last_checkpoint()?, Some(1));
        let error = cx.last_checkpoint::<String>().unwrap_err();
        assert!(matches!(error, CheckpointError::OtherType { .. }));
        cx.checkpoint(&longest).await?;
        assert_eq!(cx.last_checkpoint::<String>()?.as_deref(), Some(&*longest));
        Ok(())
    });
    let job = task.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Success, "{:?}", job.result());
    Ok(())
}

#[test]
fn a_blocking_task_sets_checkpoints_in_a_simulation_whose_time_stands_still() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = sim.app().blocking_task("t", |cx: JobContext| {
        for n in 0..10 {
            cx.checkpoint(&n).block_on()?;
        }
        futures_lite::future::block_on(cx.checkpoint(&10))?;
        Err::<(), BoxError>("no".into())
    });
    let task = task.durable().retry(Backoff::fixed(1, MINUTE)).register()?;
    task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(stored(&machine), ["10"]);
    Ok(())
}

#[test]
fn the_timer_thread_writes_the_checkpoint_that_waits() -> Result {
    let (app, clock) = manual_app_with(|app| app.storage(MemoryStorage::new()))?;
    let log = Log::new();
    let stored = log.clone();
    let task = app.blocking_task("t", move |cx: JobContext| {
        for n in 1..=3 {
            cx.checkpoint(&n).block_on()?;
            stored.add(n);
        }
        Ok::<(), CheckpointError>(())
    });
    let job = task.durable().register()?.schedule(()).push().block_on()?;
    for n in 1..=3 {
        wait_until(|| log.entries().len() == n);
        clock.advance(SECOND);
    }
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    Ok(())
}

#[test]
fn the_job_its_snapshot_and_its_events_show_the_progress() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", async |cx: JobContext| {
        if cx.attempt() == 2 {
            return Ok(());
        }
        cx.progress(7, "read");
        cx.progress(255, &"ü".repeat(1_000));
        Err("no")
    });
    let task = task.retry(Backoff::fixed(1, MINUTE)).register()?;
    let job = task.schedule(()).id("x").push().block_on()?;
    assert_eq!(job.progress(), None);
    sim.run_until_stalled();
    let progress = job.progress().unwrap();
    assert_eq!((progress.percent, progress.text.len()), (100, 1_024));
    assert_eq!(progress.at, job.exec_at() - MINUTE);
    assert_eq!(job.snapshot().progress, Some(progress));
    let kinds = event_kinds(&mut events, "x");
    assert!(
        kinds.iter().any(|kind| kind.contains("percent: 7,")),
        "{kinds:?}"
    );
    sim.advance(MINUTE);
    assert_eq!(job.progress(), None, "each attempt begins without");
    Ok(())
}
