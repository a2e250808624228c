//! Attempts that are made at most once.

use std::future::pending;
use std::time::Duration;

use crate::support::record::record_of;
use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, START};
use crate::tasks::{Ran, at, ran};
use jobber::testing::{Fault, Simulation};
use jobber::{Backoff, Event, JobContext, JobEventKind, JobStatus, Misfire, Task};
use time::macros::{datetime, offset, time};

/// A task of which each attempt is made at most once, and takes until its timeout.
fn at_most_once(sim: &Simulation, log: &Log<Ran>) -> Task<u32, u32> {
    let log = log.clone();
    sim.app()
        .task("t", move |cx: JobContext, _: u32| {
            log.add(ran(&cx));
            std::future::pending::<u32>()
        })
        .retry(Backoff::fixed(3, SECOND))
        .timeout(MINUTE)
        .durable()
        .at_most_once()
        .register()
        .unwrap()
}

#[test]
fn the_start_is_stored_before_the_attempt() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let disk = machine.disk.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        let record = record_of(&disk, &cx.id().to_string());
        async move { record.unwrap().progress.start_intent }
    });
    let task = task.durable().at_most_once().register()?;
    let job = task.schedule(()).delay(SECOND).block_on()?;
    sim.advance(SECOND);
    assert_eq!(*job.result()?, Some(at(1)), "read within the attempt");
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn an_attempt_that_a_crash_interrupted_is_not_made_again() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = at_most_once(&sim, &log).schedule(1).id("x");
    let _ = schedule.push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), [(1, 1, START)]);
    sim.crash();
    let mut sim = machine.boot();
    let mut events = sim.app().events();
    let task = at_most_once(&sim, &log);
    sim.advance(HOUR);
    assert_eq!(log.take(), []);
    assert!(task.job("x").is_none());
    assert!(machine.records().is_empty());
    let ended = std::iter::from_fn(|| events.try_next()).any(|event| {
        matches!(event, Event::Job(e) if e.id == "x" && e.kind == JobEventKind::Ended(JobStatus::Failed))
    });
    assert!(ended, "there is an event");
    Ok(())
}

#[test]
fn a_panic_in_the_drop_of_the_arguments_of_an_interrupted_attempt_is_caught() -> Result {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 && !std::thread::panicking() {
                panic!("a bomb was dropped");
            }
        }
    }
    let machine = Machine::new();
    let mut sim = machine.boot();
    let register = |sim: &Simulation| {
        let task = sim
            .app()
            .task("t", |_: Bomb| std::future::pending::<()>())
            .durable();
        task.at_most_once().register()
    };
    let schedule = register(&sim)?.schedule(Bomb(false)).id("x");
    let _ = schedule.push().block_on()?;
    sim.run_until_stalled();
    sim.crash();
    let mut record = machine.record("x").unwrap();
    record.args = "true".into();
    machine.disk.insert(record.to_stored());
    let sim = machine.boot();
    register(&sim)?;
    assert!(machine.record("x").is_none());
    Ok(())
}

#[test]
fn a_recurring_job_goes_on_with_its_next_time_after_a_crash() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = at_most_once(&sim, &log).schedule(1).id("x");
    let _ = schedule.every(HOUR).block_on()?;
    sim.advance(HOUR);
    sim.crash();
    assert_eq!(log.take(), [(1, 1, at(3_600))]);
    let mut sim = machine.boot();
    let job = at_most_once(&sim, &log).job("x").unwrap();
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    assert_eq!(machine.record("x").unwrap().progress.due, at(7_200));
    sim.advance(HOUR);
    assert_eq!(log.take(), [(2, 1, at(7_200))]);
    Ok(())
}

/// Regression: the run was entered for a time that the new zone has, a week later, and the
/// run of that week was not made.
#[test]
fn an_interrupted_run_keeps_its_time_in_another_zone() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    sim.advance(HOUR * 11 + MINUTE * 30);
    let schedule = at_most_once(&sim, &log).schedule(1).id("x");
    let _ = schedule.cron("0 12 * * SAT").block_on()?;
    sim.advance(MINUTE * 30);
    sim.crash();
    let noon = datetime!(2000-01-01 12:00 UTC);
    assert_eq!(log.take(), [(1, 1, noon)]);
    let sim = Simulation::with(9, machine.clock.clone(), |app| {
        app.storage(machine.disk.clone()).zone(offset!(+1))
    })?;
    let job = at_most_once(&sim, &log).job("x").unwrap();
    assert_eq!(job.last_run().unwrap().nominal_time, noon);
    assert_eq!(job.exec_at(), datetime!(2000-01-08 12:00 +1));
    Ok(())
}

#[test]
fn a_failed_attempt_is_retried() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = at_most_once(&sim, &log).schedule(1).id("x");
    let job = schedule.push().block_on()?;
    sim.advance(MINUTE);
    assert_eq!(
        job.status(),
        JobStatus::Scheduled,
        "the attempt has timed out, and the job waits for its retry"
    );
    let progress = machine.record("x").unwrap().progress;
    assert_eq!((progress.attempts, progress.start_intent), (1, None));
    sim.crash();
    let mut sim = machine.boot();
    at_most_once(&sim, &log);
    sim.advance(SECOND);
    assert_eq!(log.take(), [(1, 1, START), (1, 2, START)]);
    Ok(())
}

/// Regression: a run that is not made again was shown as started when the next process
/// started, although the store has the true time.
#[test]
fn a_run_that_is_not_made_again_keeps_the_time_at_which_it_started() -> Result {
    let machine = Machine::new();
    let boot = || -> Result<_> {
        let sim = machine.boot();
        let task = sim.app().task("t", pending::<()>);
        Ok((sim, task.durable().at_most_once().register()?))
    };
    let (mut sim, task) = boot()?;
    let job = task.schedule(()).id("x").every(MINUTE).block_on()?;
    // The timer is a little late.
    machine.clock.advance(MINUTE + SECOND / 2);
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Running);
    sim.crash();

    machine.clock.advance(HOUR);
    let (mut sim, task) = boot()?;
    sim.run_until_stalled();
    let run = task.job("x").unwrap().last_run().unwrap();
    assert_eq!(run.nominal_time, datetime!(2000-01-01 0:01 UTC));
    assert_eq!(run.started_at, datetime!(2000-01-01 0:01:00.5 UTC));
    assert_eq!(run.finished_at, datetime!(2000-01-01 1:01:00.5 UTC));
    Ok(())
}

#[test]
fn an_attempt_waits_while_the_store_fails() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let clock = sim.clock();
    let task = sim.app().task(
        "t",
        log.each(move |cx| (cx.attempt(), clock.elapsed().as_secs())),
    );
    let task = task.durable().at_most_once().register()?;
    let job = task.schedule(()).id("x").delay(SECOND).block_on()?;
    machine.set_fault(Fault::Fail);
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert!(log.take().is_empty());
    machine.set_fault(Fault::None);
    sim.advance(SECOND * 10);
    assert_eq!(job.status(), JobStatus::Success);
    let runs = log.take();
    assert!(matches!(runs[..], [(1, 61..=70)]), "{runs:?}");
    Ok(())
}

#[test]
fn an_attempt_that_waits_for_the_store_can_be_cancelled() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = sim.app().task("t", log.each(|_| 1));
    let task = task.durable().at_most_once().register()?;
    let job = task.schedule(()).id("x").delay(SECOND).block_on()?;
    machine.set_fault(Fault::Fail);
    sim.advance(MINUTE);
    assert!(job.cancel().block_on().is_err());
    machine.set_fault(Fault::None);
    sim.advance(HOUR);
    assert!(log.take().is_empty());
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn an_attempt_that_a_shutdown_prevents_is_made_by_the_next_process() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let register = |sim: &Simulation, log: &Log<u32>| {
        let log = log.clone();
        let task = sim.app().task("t", move || {
            log.add(1);
            async {}
        });
        task.durable().at_most_once().register()
    };
    let task = register(&sim, &log)?;
    let _ = task.schedule(()).id("x").delay(SECOND).block_on()?;
    machine.set_fault(Fault::Tear);
    sim.advance(SECOND);
    machine.set_fault(Fault::None);
    sim.shutdown(Duration::ZERO);
    drop(sim);
    assert_eq!(machine.records()[0].progress.start_intent, None);
    let mut sim = machine.boot();
    register(&sim, &log)?;
    sim.advance(SECOND);
    assert_eq!(log.take(), [1]);
    Ok(())
}

#[test]
fn an_attempt_that_outlasts_the_grace_is_not_made_again() -> Result {
    let machine = Machine::new();
    let starts = Log::new();
    let mut sim = machine.boot();
    let task = at_most_once(&sim, &starts);
    let once = task.schedule(1).id("once").push().block_on()?;
    let _ = task
        .schedule(2)
        .id("again")
        .start_date(START)
        .every(HOUR)
        .block_on()?;
    sim.run_until_stalled();
    assert_eq!(sim.shutdown(SECOND).left.len(), 2);
    // The executor drops the attempts.
    drop(sim);
    assert_eq!(
        once.status(),
        JobStatus::Running,
        "how it ends is for the next process"
    );
    for record in machine.records() {
        assert!(record.progress.start_intent.is_some(), "{}", record.id);
    }
    assert_eq!(starts.take().len(), 2);

    let mut sim = machine.boot();
    let task = at_most_once(&sim, &starts);
    sim.advance(MINUTE);
    assert!(starts.entries().is_empty());
    assert!(task.job("once").is_none(), "its run has failed");
    let again = task.job("again").unwrap();
    let run = again.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    assert_eq!(again.exec_at(), at(3600));
    Ok(())
}

/// Regression: when a replacement failed, the job was written again as if its current
/// attempt had not begun, and after a crash the attempt was made again.
#[test]
fn an_attempt_during_which_a_replacement_failed_is_not_made_again_after_a_crash() -> Result {
    let machine = Machine::new();
    let starts = Log::new();
    let mut sim = machine.boot();
    let task = at_most_once(&sim, &starts);
    let _ = task.schedule(1).id("x").push().block_on()?;
    sim.advance(SECOND);
    machine.plan_faults([Fault::Fail]);
    let again = task.schedule(1).id("x").replace();
    assert!(again.delay(HOUR).block_on().is_err());
    let started_at = machine.records()[0].progress.start_intent;
    assert_eq!(started_at, Some(datetime!(2000-01-01 0:00 UTC)));
    sim.crash();

    let mut sim = machine.boot();
    let task = at_most_once(&sim, &starts);
    sim.advance(SECOND);
    assert_eq!(starts.entries().len(), 1);
    assert!(task.job("x").is_none());
    Ok(())
}

/// Regression: the catch-up was counted when the timer reached it and not when it began;
/// its start was retracted, the next process counted it again, had no room for it, and
/// lost it.
#[test]
fn a_catch_up_run_whose_start_is_retracted_is_made_by_the_next_process() -> Result {
    for by_shutdown in [true, false] {
        let machine = Machine::new();
        let starts = Log::new();
        let boot = || -> Result<_> {
            let sim = machine.boot();
            let (log, clock) = (starts.clone(), sim.clock());
            let task = sim.app().task("t", move |cx: JobContext| {
                log.add((cx.run_number(), cx.nominal_time().time()));
                let takes = [Duration::ZERO, SECOND * 150][usize::from(cx.run_number() == 1)];
                clock.sleep(takes)
            });
            Ok((sim, task.durable().at_most_once().register()?))
        };
        let (mut sim, task) = boot()?;
        let schedule = task.schedule(()).id("x").misfire(Misfire::All(1));
        let _ = schedule.every(MINUTE).block_on()?;
        // The first run ends at 0:03:30; the start of the second, for 0:02, cannot be stored.
        sim.advance(MINUTE * 3 + SECOND * 20);
        machine.set_fault(Fault::Fail);
        sim.advance(SECOND * 10);
        assert_eq!(starts.take(), [(1, time!(0:01))]);
        if by_shutdown {
            machine.set_fault(Fault::None);
            let _ = sim.shutdown(Duration::ZERO);
        } else {
            // A failed replacement retracts the start, too.
            let again = task.schedule(()).id("x").replace();
            assert!(again.delay(HOUR).block_on().is_err());
        }
        sim.crash();
        machine.set_fault(Fault::None);
        machine.clock.advance(SECOND * 5);
        let (mut sim, _) = boot()?;
        sim.advance(SECOND);
        assert_eq!(starts.take(), [(2, time!(0:02))], "{by_shutdown}");
    }
    Ok(())
}

/// Regression: when a replacement was torn, an interrupted `at_most_once` run was written
/// as a catch-up; after a crash the next run was taken for the catch-up, and was made an
/// hour late.
#[test]
fn the_run_after_an_interrupted_catch_up_run_is_no_catch_up_in_its_place() -> Result {
    // With a limit of one, the run is a catch-up: the next time has overtaken it.
    for (limit, missed) in [(0, Duration::ZERO), (1, MINUTE)] {
        let machine = Machine::new();
        let starts = Log::new();
        let boot = || -> Result<_> {
            let sim = machine.boot();
            let log = starts.clone();
            let task = sim.app().task("t", move |cx: JobContext| {
                log.add((cx.run_number(), cx.nominal_time().time()));
                pending::<()>()
            });
            Ok((sim, task.durable().at_most_once().register()?))
        };
        let counted = || {
            let progress = machine.records()[0].progress.recurring.clone().unwrap();
            (progress.runs, progress.catch_ups)
        };
        let (mut sim, task) = boot()?;
        let schedule = task.schedule(()).id("x").misfire(Misfire::All(limit));
        let _ = schedule.every(MINUTE).block_on()?;
        machine.clock.advance(MINUTE + missed);
        sim.run_until_stalled();
        assert_eq!(starts.take(), [(1, time!(0:01))]);
        assert_eq!(counted(), (0, limit));
        machine.plan_faults([Fault::Tear]);
        let again = task.schedule(()).id("x").replace();
        assert!(again.delay(HOUR).block_on().is_err());
        sim.advance(SECOND);
        assert_eq!(counted(), (0, limit));
        sim.crash();

        let (mut sim, _) = boot()?;
        sim.advance(SECOND);
        assert_eq!(counted(), (1, 0));
        sim.crash();
        // The second run is missed; with a limit of one, it is a catch-up.
        machine.clock.advance(HOUR);
        let (mut sim, _) = boot()?;
        sim.advance(SECOND);
        assert_eq!(counted(), (1, limit));
        assert_eq!(starts.take().len(), limit as usize);
    }
    Ok(())
}
