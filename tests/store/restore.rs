//! What is stored of a job, and how the job comes back in the next process.

use std::time::Duration;

use crate::support::record::TriggerRecord;
use crate::support::{DropCounter, HOUR, Log, MINUTE, Machine, Result, SECOND, START, wait_until};
use crate::tasks::{at, failing, hanging, logging, machine_with_job};
use jobber::testing::Simulation;
use jobber::{
    Backoff, BoxError, Event, Job, JobEventKind, JobStatus, MemoryStorage, Misfire, RegisterError,
    ScheduleError,
    storage::{EndRecord, PauseRecord, StorageError, TakenId},
};
use time::macros::{datetime, offset};

#[test]
fn a_scheduled_job_is_in_the_store_when_scheduling_returns_and_gone_when_it_ran() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task.schedule(7).id("x").delay(MINUTE).block_on()?;
    let record = machine.record("x").unwrap();
    assert_eq!((record.task.as_str(), record.args.as_str()), ("t", "7"));
    assert_eq!(record.trigger, TriggerRecord::Delay { length: MINUTE });
    assert_eq!((record.progress.due, record.scheduled_at), (at(60), START));
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 14);
    assert_eq!(job.status(), JobStatus::Success);
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn every_trigger_is_stored_and_fires_in_the_next_process() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task.schedule(1).push().block_on()?;
    let _ = task.schedule(2).delay(SECOND * 10).block_on()?;
    let _ = task.schedule(3).at(at(20)).block_on()?;
    let _ = task.schedule(4).id("every").every(SECOND * 30).block_on()?;
    let _ = task.schedule(5).id("cron").cron("* * * * *").block_on()?;
    assert_eq!(machine.records().len(), 5);
    sim.crash();
    assert_eq!(log.take(), [], "nothing has run yet");

    let mut sim = machine.boot();
    let _task = logging(&sim, "t", &log);
    sim.advance(SECOND * 60);
    let nominal: Vec<_> = log
        .take()
        .into_iter()
        .map(|(_, _, nominal)| nominal)
        .collect();
    assert_eq!(nominal, [0, 10, 20, 30, 60, 60].map(at));
    assert_eq!(machine.records().len(), 2, "the recurring jobs go on");
    Ok(())
}

#[test]
fn a_delay_goes_on_while_no_process_runs() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let submit = logging(&sim, "t", &log).schedule(1).delay(MINUTE);
    let _ = submit.block_on()?;
    sim.crash();
    machine.clock.advance(SECOND * 45);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(SECOND * 14);
    assert_eq!(log.take(), []);
    sim.advance(SECOND);
    assert_eq!(log.take(), [(1, 1, at(60))]);
    Ok(())
}

#[test]
fn a_run_that_a_crash_interrupts_is_made_again_as_the_same_run() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = hanging(&sim, &log).schedule(1).id("x");
    let job = schedule.push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Running);
    sim.crash();
    assert_eq!(log.take(), [(1, 1, START)]);

    machine.clock.advance(HOUR);
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &log);
    let job = task.job("x").unwrap();
    sim.run_until_stalled();
    assert_eq!(
        log.take(),
        [(1, 1, START)],
        "the same id, run, attempt and time"
    );
    assert_eq!(*job.result()?, 2);
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn a_retry_is_stored_with_its_attempt_and_its_time() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let backoff = Backoff::fixed(2, MINUTE);
    let schedule = failing(&sim, &log, backoff.clone()).schedule(1).id("x");
    let _ = schedule.push().block_on()?;
    sim.run_until_stalled();
    let progress = machine.record("x").unwrap().progress;
    assert_eq!((progress.attempts, progress.due), (1, at(60)));
    assert_eq!(progress.last_failure, Some(JobStatus::Failed));
    sim.crash();
    machine.clock.advance(SECOND * 50);

    let mut sim = machine.boot();
    let job = failing(&sim, &log, backoff).job("x").unwrap();
    assert_eq!(job.exec_at(), at(60));
    sim.advance(SECOND * 10);
    assert_eq!(log.take(), [(1, 1, START), (1, 2, START)]);
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(1, 3, START)]);
    assert_eq!(job.status(), JobStatus::Failed);
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn started_at_of_a_run_that_is_retried_after_a_crash_is_that_of_its_first_attempt() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let backoff = Backoff::fixed(1, MINUTE);
    let sim = machine.boot();
    let schedule = failing(&sim, &log, backoff.clone()).schedule(1).id("x");
    let _ = schedule.every(HOUR).block_on()?;
    sim.crash();
    // It starts late, because no process ran.
    machine.clock.advance(HOUR + SECOND * 15);
    let mut sim = machine.boot();
    failing(&sim, &log, backoff);
    sim.run_until_stalled();
    sim.crash();
    assert_eq!(log.take(), [(1, 1, at(3_600))]);
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(1, 2, at(3_600))]);
    assert_eq!(job.last_run().unwrap().started_at, at(3_615));
    Ok(())
}

#[test]
fn jitter_is_stored() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let sim = machine.boot();
    let schedule = logging(&sim, "t", &log).schedule(1).id("x");
    let _ = schedule.jitter(MINUTE * 30).cron("@hourly").block_on()?;
    sim.crash();
    let trigger = machine.record("x").unwrap().trigger;
    let jitter = match trigger {
        TriggerRecord::Cron { options, .. } => options.jitter,
        other => panic!("{other:?}"),
    };
    assert_eq!(jitter, MINUTE * 30);
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.advance(HOUR * 2 - MINUTE);
    assert_eq!(log.take(), [(1, 1, at(3_600))]);
    let next = job.exec_at();
    assert!(at(7_200) < next && next <= at(7_200 + 1_800), "{next}");
    Ok(())
}

#[test]
fn a_recurring_job_keeps_its_count_its_last_run_and_its_times() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let schedule = task.schedule(1).id("x").max_runs(5);
    let _ = schedule.every(MINUTE).block_on()?;
    sim.advance(SECOND * 150);
    sim.crash();
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    assert_eq!(job.last_run().unwrap().number, 2);
    assert_eq!(job.last_run().unwrap().nominal_time, at(120));
    assert_eq!(job.exec_at(), at(180));
    sim.advance(HOUR);
    let expected = (1..=5).map(|run| (run, 1, at(60 * run as i64)));
    assert_eq!(log.take(), expected.collect::<Vec<_>>());
    assert_eq!(job.status(), JobStatus::Success, "five runs in all");
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn failures_in_a_row_are_counted_across_crashes() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let sim = machine.boot();
    let task = failing(&sim, &log, Backoff::fixed(0, SECOND));
    let schedule = task.schedule(1).id("x").max_failures(3);
    let _ = schedule.every(MINUTE).block_on()?;
    sim.crash();
    for run in 1..=3 {
        let mut sim = machine.boot();
        let job = failing(&sim, &log, Backoff::fixed(0, SECOND))
            .job("x")
            .unwrap();
        sim.advance(MINUTE);
        let is_last = run == 3;
        assert_eq!(
            job.status() == JobStatus::PermanentlyFailed,
            is_last,
            "run {run}"
        );
        assert_eq!(machine.record("x").is_none(), is_last);
        sim.crash();
    }
    assert_eq!(log.take().len(), 3);
    Ok(())
}

/// The executor ends before the app.
#[test]
fn a_job_that_its_executor_dropped_runs_again_in_the_next_process() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    drop(sim);
    let app = jobber::Jobber::builder()
        .clock(machine.clock.clone())
        .storage(machine.disk.clone())
        .executor(drop::<jobber::JobFuture>)
        .build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().block_on()?;
    let job = task.schedule(1).id("x").push().block_on()?;
    // No attempt of it has begun, and so none has failed.
    assert_eq!(job.status(), JobStatus::Scheduled);
    drop(app);
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn an_alias_finds_the_jobs_of_a_task_that_was_renamed() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let schedule = logging(&sim, "old", &log).schedule(3).id("x");
    let _ = schedule.delay(MINUTE).block_on()?;
    sim.crash();
    let mut sim = machine.boot();
    let task = sim.app().task("new", async |n: u32| n * 2);
    let task = task.alias("older").alias("old").durable().register()?;
    let job = task.job("x").unwrap();
    assert_eq!(job.task_name(), "new");
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 6);
    Ok(())
}

#[test]
fn an_alias_is_a_name_that_no_other_task_can_have() -> Result {
    let sim = Machine::new().boot();
    let _ = sim.app().task("a", async || {}).alias("b").register()?;
    for name in ["a", "b"] {
        let error = sim.app().task(name, async || {}).register().unwrap_err();
        assert!(matches!(error, RegisterError::DuplicateTask { name: taken } if taken == name));
    }
    let error = sim
        .app()
        .task("c", async || {})
        .alias("a")
        .register()
        .unwrap_err();
    assert!(matches!(error, RegisterError::DuplicateTask { name } if name == "a"));
    let _ = sim.app().task("c", async || {}).register()?;
    Ok(())
}

#[test]
fn handles_of_restored_jobs_wait_and_cancel() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let generated = task.schedule(1).delay(MINUTE).block_on()?.id().clone();
    let _ = task.schedule(2).id("named").delay(MINUTE).block_on()?;
    sim.crash();

    let mut sim = machine.boot();
    let task = logging(&sim, "t", &log);
    let other = sim.app().task("other", async |n: u32| n).durable();
    let other = other.register()?;
    assert_eq!(sim.app().jobs().len(), 2);
    let job: Job<u32> = task.job(&generated).unwrap();
    assert_eq!(*job.id(), generated);
    assert!(
        other.job(&generated).is_none(),
        "it is a job of another task"
    );
    let named = sim.app().find_job("named").unwrap();
    assert_eq!(
        (named.status(), named.task_name()),
        (JobStatus::Scheduled, "t")
    );
    assert!(named.cancel().block_on()?.took_effect());
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 2);
    Ok(())
}

#[test]
fn ids_generated_after_a_restart_are_new_although_the_clock_went_back() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut last = None;
    for boot in 0..5 {
        // The worst case: the same seed, and a clock that stands still or goes back.
        machine.boots.set(0);
        machine.clock.set_wall(START - HOUR * boot);
        let sim = machine.boot();
        let task = logging(&sim, "t", &log);
        for _ in 0..10 {
            let job = task.schedule(1).delay(HOUR * 1_000).block_on()?;
            let id = Some(job.id().clone());
            assert!(id > last, "{id:?} is after {last:?}");
            // All but the last job of each process are removed.
            if let Some(before) = last.and_then(|last| task.job(last)) {
                before.cancel().block_on()?;
            }
            last = id;
        }
        sim.crash();
    }
    Ok(())
}

/// The record may be one of a later version, or of a clock that was ahead.
#[test]
fn ids_are_generated_after_the_id_of_an_unreadable_record() -> Result {
    struct Unreadable(MemoryStorage, jobber::JobId);
    impl jobber::storage::Storage for Unreadable {
        fn open(&mut self) -> Result<(), StorageError> {
            self.0.open()
        }
        fn load(
            &mut self,
            each: &mut dyn FnMut(jobber::storage::Loaded),
        ) -> Result<(), StorageError> {
            each(jobber::storage::Loaded::Unreadable {
                id: self.1.clone(),
                task: "t".into(),
                reason: "it is invalid".into(),
            });
            Ok(())
        }
        fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
            self.0.load_ends(each)
        }
        fn load_pauses(&mut self, each: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError> {
            self.0.load_pauses(each)
        }
        fn load_taken_ids(&mut self, each: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
            self.0.load_taken_ids(each)
        }
        fn commit(&mut self, changes: &[jobber::storage::Change]) -> Result<(), StorageError> {
            self.0.commit(changes)
        }
    }
    let machine = Machine::new();
    machine.clock.set_wall(START + HOUR);
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let id = task.schedule(1).delay(HOUR).block_on()?.id().clone();
    sim.crash();
    machine.clock.set_wall(START);
    let storage = Unreadable(MemoryStorage::new(), id.clone());
    let sim = Simulation::with(9, machine.clock.clone(), |app| app.storage(storage))?;
    let task = logging(&sim, "t", &Log::new());
    let job = task.schedule(1).delay(HOUR).block_on()?;
    assert!(*job.id() > id, "{} is after {id}", job.id());
    Ok(())
}

#[test]
fn in_memory_keeps_one_job_of_a_durable_task_out_of_the_store() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task.schedule(3).in_memory().delay(MINUTE).block_on()?;
    assert!(machine.records().is_empty());
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 6);
    Ok(())
}

#[test]
fn arguments_that_json_cannot_represent_are_refused() -> Result {
    let sim = Machine::new().boot();
    let float = sim.app().task("float", async |x: f64| x).durable();
    let float = float.register()?;
    let error = float.schedule(f64::NAN).push().block_on().unwrap_err();
    let text = error.to_string();
    assert!(matches!(&error, ScheduleError::Arguments { task, .. } if task == "float"));
    assert_eq!(
        text,
        "the arguments of the task `float` cannot be stored as JSON"
    );
    assert!(sim.app().jobs().is_empty());

    let keys = sim.app().task(
        "keys",
        async |map: std::collections::BTreeMap<Vec<u8>, u8>| map.len(),
    );
    let keys = keys.durable().register()?;
    let map = [(vec![1], 1)].into_iter().collect();
    let error = keys.schedule(map).push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::Arguments { .. }));
    Ok(())
}

#[test]
fn floats_are_restored_to_the_bit() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let values: Vec<f64> = (0..1_000)
        .map(|_| f64::from_bits(fastrand::u64(..) >> 2))
        .collect();
    let task = sim.app().task("t", async |v: Vec<f64>| v).durable();
    let task = task.register()?;
    let schedule = task.schedule(values.clone()).id("x");
    let _ = schedule.push().block_on()?;
    sim.crash();
    let mut sim = machine.boot();
    let task = sim.app().task("t", async |v: Vec<f64>| v).durable();
    let task = task.register()?;
    let job = task.job("x").unwrap();
    sim.run_until_stalled();
    assert_eq!(*job.result()?, values);
    Ok(())
}

#[test]
fn durable_needs_a_store_and_at_most_once_needs_durable() -> Result {
    let sim = Simulation::new();
    let error = sim
        .app()
        .task("t", async || {})
        .durable()
        .register()
        .unwrap_err();
    assert!(matches!(error, RegisterError::NoStorage { name } if name == "t"));
    let sim = Machine::new().boot();
    let error = sim
        .app()
        .task("t", async || {})
        .at_most_once()
        .register()
        .unwrap_err();
    assert!(matches!(
        error,
        RegisterError::NotDurable {
            option: "at_most_once"
        }
    ));
    Ok(())
}

#[test]
fn the_zone_of_a_job_is_stored_and_the_zone_of_the_app_is_not() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let schedule = task.schedule(1).id("mine").zone(offset!(+5:30));
    let _ = schedule.cron("0 9 * * *").block_on()?;
    let schedule = task.schedule(1).id("app");
    let _ = schedule.cron("0 9 * * *").block_on()?;
    assert_eq!(
        machine.record("mine").unwrap().zone.as_deref(),
        Some("+05:30")
    );
    assert_eq!(machine.record("app").unwrap().zone, None);
    sim.crash();
    let sim = Simulation::with(9, machine.clock.clone(), |app| {
        app.storage(machine.disk.clone()).zone(offset!(+1))
    })?;
    let task = logging(&sim, "t", &log);
    assert_eq!(
        task.job("mine").unwrap().exec_at(),
        datetime!(2000-01-01 9:00 +5:30)
    );
    let app = task.job("app").unwrap();
    assert_eq!(app.exec_at().offset(), offset!(+1));
    assert_eq!(app.cron_expression().as_deref(), Some("0 9 * * *"));
    Ok(())
}

#[test]
fn a_restored_job_has_the_same_times_and_the_same_record() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let schedule = task
        .schedule(1)
        .id("x")
        .jitter(SECOND * 20)
        .start_date(at(90))
        .misfire(Misfire::Grace(MINUTE))
        .max_runs(9)
        .max_failures(7);
    let job = schedule.cron("* * * * *").block_on()?;
    sim.advance(MINUTE * 3);
    let before = (job.exec_at(), job.last_run(), machine.record("x").unwrap());
    sim.crash();
    let sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    assert_eq!((job.exec_at(), job.last_run()), (before.0, before.1));
    // The restart has not changed the record.
    assert_eq!(machine.record("x").unwrap(), before.2);
    Ok(())
}

#[test]
fn a_restored_job_sends_an_event() -> Result {
    let machine = machine_with_job(1)?;
    let log = Log::new();
    let sim = machine.boot();
    let mut events = sim.app().events();
    logging(&sim, "t", &log);
    let Some(Event::Job(event)) = events.try_next() else {
        panic!("there is no event");
    };
    assert_eq!(
        (event.id, event.kind),
        ("x".into(), JobEventKind::Restored { due: at(60) })
    );
    Ok(())
}

#[test]
fn a_durable_job_sends_its_events_once() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let mut events = sim.app().events();
    let task = logging(&sim, "t", &Log::new());
    let mut next = move || match events.try_next() {
        Some(Event::Job(event)) => Some((event.id, event.kind)),
        _ => None,
    };
    let _ = task.schedule(1).id("x").delay(MINUTE).block_on()?;
    let scheduled = JobEventKind::Scheduled { due: at(60) };
    assert_eq!(next(), Some(("x".into(), scheduled)));
    assert_eq!(next(), None);
    sim.advance(MINUTE);
    let started = JobEventKind::Started { run: 1, attempt: 1 };
    assert_eq!(next(), Some(("x".into(), started)));
    let ended = JobEventKind::Ended(JobStatus::Success);
    assert_eq!(next(), Some(("x".into(), ended)));
    assert_eq!(next(), None);
    Ok(())
}

/// A waiter that has seen the end may stop the process, and the job must not run again.
#[test]
fn a_job_that_is_seen_done_is_gone_from_the_store() -> Result {
    let machine = Machine::new();
    let app = jobber::Jobber::builder()
        .storage(machine.disk.clone())
        .build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().block_on()?;
    for _ in 0..200 {
        let job = task.schedule(1).push().block_on()?;
        wait_until(|| job.is_done());
        assert!(machine.records().is_empty());
    }
    let schedule = task.schedule(1).id("again");
    let job = schedule.every(Duration::from_millis(1)).block_on()?;
    let mut seen = 0;
    while seen < 50 {
        let run = job.next_run().block_on().unwrap();
        let runs = machine
            .record("again")
            .unwrap()
            .progress
            .recurring
            .unwrap()
            .runs;
        assert!(
            runs >= run.number,
            "run {} has ended, and the store knows of {runs}",
            run.number
        );
        seen = run.number;
    }
    Ok(())
}

#[test]
fn a_durable_job_keeps_its_arguments_as_json_alone() -> Result {
    // Serialized as nothing, so that its clones can be counted.
    #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    struct Counted {
        #[serde(skip)]
        #[expect(dead_code, reason = "only its drop matters")]
        counter: DropCounter,
    }
    let machine = Machine::new();
    let mut sim = machine.boot();
    let counter = DropCounter::default();
    let task = sim.app().task("t", async |_: Counted| {}).durable();
    let task = task.register()?;
    let args = || Counted {
        counter: counter.clone(),
    };
    let ran = task.schedule(args()).delay(MINUTE).block_on()?;
    assert_eq!(counter.alive(), 0);
    let schedule = task.schedule(args()).id("x");
    let _ = schedule.delay(MINUTE).block_on()?;
    let again = task.schedule(args()).id("x").replace();
    let replaced = again.delay(MINUTE).block_on()?;
    sim.run_until_stalled();
    assert_eq!(counter.alive(), 0);
    sim.advance(MINUTE);
    assert_eq!(counter.alive(), 0);
    assert!(ran.is_done() && replaced.is_done());
    Ok(())
}

#[test]
fn a_durable_job_can_schedule_durable_jobs() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let next = logging(&sim, "next", &log);
    let first = sim.app().task("first", move || {
        let next = next.clone();
        async move {
            let _ = next.schedule(1).delay(SECOND).await?;
            Ok::<(), BoxError>(())
        }
    });
    let first = first.durable().register()?;
    let _ = first.schedule(()).push().block_on()?;
    sim.advance(SECOND);
    assert_eq!(log.take(), [(1, 1, at(1))]);
    Ok(())
}

#[test]
fn an_invalid_id_is_refused_and_not_stored() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    for id in ["", "a\nb", &"x".repeat(1_025)] {
        let result = task.schedule(1).id(id).delay(HOUR).block_on();
        assert!(matches!(result, Err(ScheduleError::InvalidId { .. })));
    }
    assert!(machine.records().is_empty());
    assert!(sim.app().jobs().is_empty());
    Ok(())
}

#[test]
fn jobs_are_restored_in_the_order_of_scheduling() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(task.schedule(n).delay(HOUR).block_on()?.id().clone());
    }
    sim.crash();
    let sim = machine.boot();
    let mut events = sim.app().events();
    logging(&sim, "t", &Log::new());
    let restored = std::iter::from_fn(|| events.try_next()).map(|event| match event {
        Event::Job(event) => event.id,
        other => panic!("{other:?}"),
    });
    assert_eq!(restored.collect::<Vec<_>>(), ids);
    Ok(())
}
