//! Stored jobs that no task can run.

use std::time::Duration;

use crate::support::record::{JobRecord, TriggerRecord};
use crate::support::{HOUR, HeldStore, Log, MINUTE, Machine, Result, begin};
use crate::tasks::{at, logging, logging_argument, machine_with_job, storage_error};
use futures_lite::future::block_on;
use jobber::storage::{self, UnresolvedReason};
use jobber::testing::{Fault, ManualClock, Simulation};
use jobber::{Attention, Jobber, MemoryStorage, ScheduleError};
use time::macros::datetime;

#[test]
fn a_job_of_an_unknown_task_is_kept_and_reported_until_the_task_is_registered() -> Result {
    let machine = machine_with_job(3)?;
    let log = Log::new();

    // A version that does not know the task.
    let mut sim = machine.boot();
    sim.advance(HOUR);
    let unresolved = sim.app().unresolved();
    assert_eq!(unresolved.len(), 1);
    assert_eq!(
        (unresolved[0].task.as_str(), &unresolved[0].id),
        ("t", &"x".into())
    );
    assert!(matches!(
        unresolved[0].reason,
        UnresolvedReason::UnknownTask
    ));
    assert_eq!(sim.app().health().attention, [Attention::Unresolved(1)]);
    assert!(sim.app().find_job("x").is_none());
    // No other job can have its id.
    let other = sim.app().task("other", async |n: u32| n).durable();
    let other = other.register()?;
    let error = other.schedule(1).id("x").push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::UnresolvedJob { id } if id == "x"));
    sim.shutdown(HOUR);
    drop(sim);
    assert!(machine.record("x").is_some(), "it is kept");

    // A version that registers the task after the start.
    let mut sim = machine.boot();
    assert_eq!(sim.app().unresolved().len(), 1);
    let task = logging(&sim, "t", &log);
    assert!(sim.app().unresolved().is_empty());
    let job = task.job("x").unwrap();
    sim.run_until_stalled();
    assert_eq!(*job.result()?, 6);
    assert_eq!(log.take(), [(1, 1, at(60))]);
    Ok(())
}

#[test]
fn a_job_whose_arguments_do_not_decode_is_kept_and_reported() -> Result {
    let machine = machine_with_job(3)?;
    let log = Log::new();
    let mut sim = machine.boot();
    let task = sim
        .app()
        .task("t", async |text: String| text.len())
        .durable();
    task.register()?;
    sim.advance(HOUR);
    let unresolved = sim.app().unresolved();
    let text = unresolved[0].to_string();
    assert!(matches!(
        unresolved[0].reason,
        UnresolvedReason::Arguments(_)
    ));
    assert!(
        text.contains("invalid type: integer `3`, expected a string"),
        "{text}"
    );
    drop(sim);
    // The earlier version can still run it.
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.run_until_stalled();
    assert_eq!(log.take(), [(1, 1, at(60))]);
    Ok(())
}

#[test]
fn a_job_whose_arguments_do_not_decode_can_be_replaced_by_its_task() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let schedule = logging(&sim, "t", &log).schedule(3).id("x");
    let _ = schedule.cron("@hourly").block_on()?;
    sim.crash();
    let mut sim = machine.boot();
    let task = sim.app().task("t", async |text: String| text.len());
    let task = task.durable().register()?;
    let error = task
        .schedule("a".into())
        .id("x")
        .push()
        .block_on()
        .unwrap_err();
    assert!(matches!(error, ScheduleError::UnresolvedJob { .. }));
    let again = task.schedule("abc".into()).id("x").replace();
    let job = again.push().block_on()?;
    assert!(sim.app().unresolved().is_empty());
    sim.run_until_stalled();
    assert_eq!(*job.result()?, 3);
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn a_job_of_a_task_that_is_no_longer_durable_is_kept_and_reported() -> Result {
    let machine = machine_with_job(3)?;
    let sim = machine.boot();
    let _ = sim.app().task("t", async |n: u32| n).register()?;
    assert!(matches!(
        sim.app().unresolved()[0].reason,
        UnresolvedReason::NotDurable
    ));
    assert!(machine.record("x").is_some());
    Ok(())
}

#[test]
fn a_record_that_this_version_cannot_read_is_kept_and_reported() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task.schedule(3).id("x").cron("@hourly").block_on()?;
    let _ = task.schedule(3).id("y").every(MINUTE).block_on()?;
    sim.crash();
    let (cron, every) = (machine.record("x").unwrap(), machine.record("y").unwrap());
    let is_unresolved = |change: &dyn Fn(&mut JobRecord), record: &JobRecord| {
        let mut record = record.clone();
        change(&mut record);
        let machine = Machine::new();
        machine.disk.insert(record.to_stored());
        let mut sim = machine.boot();
        let log = Log::new();
        logging(&sim, "t", &log);
        sim.advance(HOUR * 2);
        assert_eq!(log.take(), [], "it never runs");
        assert_eq!(machine.records(), [record], "the record is unchanged");
        sim.app().unresolved().remove(0).reason
    };
    let known = storage::JobRecord::VERSION;
    for version in [known - 1, known + 1] {
        let other = is_unresolved(&|r| r.version = version, &cron);
        assert!(
            matches!(other, UnresolvedReason::OtherVersion { found, known: k } if (found, k) == (version, known)),
            "{other}"
        );
    }
    let zone = is_unresolved(&|r| r.zone = Some("Mars/Olympus".into()), &cron);
    assert!(matches!(zone, UnresolvedReason::Zone(_)));
    let expression = is_unresolved(
        &|r| {
            if let TriggerRecord::Cron { expression, .. } = &mut r.trigger {
                *expression = "every day".into();
            }
        },
        &cron,
    );
    assert!(matches!(expression, UnresolvedReason::Cron(_)));
    let unreadable: [&dyn Fn(&mut JobRecord); 5] = [
        &|r| r.progress.attempts = 1,
        &|r| r.progress.due = datetime!(9000-01-01 0:00 UTC),
        &|r| r.progress.recurring = None,
        &|r| {
            if let TriggerRecord::Every { options, .. } = &mut r.trigger {
                options.max_failures = Some(0);
            }
        },
        &|r| {
            if let TriggerRecord::Every { interval, .. } = &mut r.trigger {
                *interval = Duration::ZERO;
            }
        },
    ];
    for change in unreadable {
        let reason = is_unresolved(change, &every);
        assert!(
            matches!(reason, UnresolvedReason::Unreadable(_)),
            "{reason}"
        );
    }
    Ok(())
}

#[test]
fn discard_removes_a_job_that_no_task_can_run() -> Result {
    let machine = machine_with_job(3)?;
    let sim = machine.boot();
    assert!(sim.app().discard("x").block_on()?);
    assert!(!sim.app().discard("x").block_on()?);
    assert!(sim.app().unresolved().is_empty());
    assert!(machine.records().is_empty());
    Ok(())
}

/// Regression: when the replacement of a job that no task could run failed, the record of
/// the job was removed.
#[test]
fn an_unresolved_job_is_kept_if_its_replacement_could_not_be_stored() -> Result {
    for fault in [Fault::Fail, Fault::Tear] {
        let machine = Machine::new();
        let sim = machine.boot();
        let log = Log::new();
        let schedule = logging_argument(&sim, &log).schedule(1).id("x");
        let _ = schedule.delay(HOUR).block_on()?;
        sim.crash();
        let before = machine.records();
        let mut sim = machine.boot();
        let other = sim.app().task("t", async |text: String| text).durable();
        let other = other.register()?;
        machine.set_fault(fault);
        storage_error(
            other
                .schedule("a".into())
                .id("x")
                .replace()
                .delay(HOUR)
                .block_on(),
        );
        machine.set_fault(Fault::None);
        sim.advance(MINUTE);
        assert_eq!(machine.records(), before);
        assert_eq!(sim.app().unresolved().len(), 1);
    }
    Ok(())
}

/// Regression: a job was discarded and replaced at once, and the record of the new job
/// was discarded.
#[test]
fn discard_has_no_effect_on_an_unresolved_job_whose_replacement_is_being_stored() -> Result {
    let disk = MemoryStorage::new();
    let sim = Simulation::with(0, ManualClock::new(), |app| app.storage(disk.clone()))?;
    let task = sim.app().task("t", async |text: String| text).durable();
    let task = task.register()?;
    let schedule = task.schedule("a".into()).id("x");
    let _ = schedule.delay(HOUR).block_on()?;
    sim.crash();
    let (store, storage) = HeldStore::new(disk.clone());
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().block_on()?;
    store.hold();
    let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    assert_eq!(store.requested()?, ["put x 2"]);
    assert!(!app.discard("x").block_on()?);
    store.release();
    let _ = block_on(replace)?;
    assert_eq!(disk.records()[0].args(), b"2");
    Ok(())
}
