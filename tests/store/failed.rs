//! Jobs that have failed are kept apart from the live ones.

use std::time::Duration;

use crate::support::{
    DAY, HOUR, HeldStore, Log, MINUTE, Machine, Result, SECOND, START, begin, poll,
};
use futures_lite::future::block_on;
#[cfg(all(feature = "sqlite", unix))]
use jobber::SqliteStorage;
use jobber::storage::StorageError;
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{
    Backoff, FailedJob, JobContext, JobStatus, Jobber, MemoryStorage, Misfire, RetryError,
    ScheduleError, Task, TaskBuilder,
};

type Builder = TaskBuilder<String, ()>;

/// Registers a durable task that logs its run and its argument, and fails as long as the
/// argument is "bad".
fn failing(
    sim: &Simulation,
    log: &Log<(u64, String)>,
    set: impl FnOnce(Builder) -> Builder,
) -> Task<String, ()> {
    let log = log.clone();
    let task = sim.app().task("t", move |cx: JobContext, text: String| {
        log.add((cx.run_number(), text.clone()));
        let result = match text.as_str() {
            "bad" => Err(std::io::Error::other(format!("attempt {}", cx.attempt()))),
            _ => Ok(()),
        };
        std::future::ready(result)
    });
    set(task.durable()).register().unwrap()
}

fn failed(sim: &Simulation) -> Vec<FailedJob> {
    sim.app().failed().block_on().unwrap()
}

fn ids(failed: &[FailedJob]) -> Vec<String> {
    failed.iter().map(|job| job.id().to_string()).collect()
}

/// Regression: it vanished with its arguments.
#[test]
fn a_stored_job_that_fails_is_kept_with_its_arguments_and_its_id_is_free() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let retry = Backoff::fixed(1, SECOND);
    let task = failing(&sim, &Log::new(), |task| task.retry(retry));
    let _ = task
        .schedule("bad".into())
        .id("x")
        .delay(MINUTE)
        .block_on()?;
    let _ = task.schedule("good".into()).id("y").push().block_on()?;
    sim.advance(HOUR);
    assert!(machine.records().is_empty());
    let kept = failed(&sim).remove(0);
    assert_eq!(failed(&sim).len(), 1, "one that succeeds is not kept");
    assert_eq!(
        (
            kept.id().to_string(),
            kept.task_name(),
            kept.args().unwrap()
        ),
        ("x".into(), "t", "\"bad\"")
    );
    assert_eq!(
        (kept.status(), kept.error(), kept.attempts()),
        (JobStatus::Failed, "attempt 2", 2)
    );
    assert_eq!((kept.run_number(), kept.scheduled_at()), (1, START));
    assert_eq!(kept.started_at(), START + MINUTE);
    assert_eq!(kept.finished_at(), START + MINUTE + SECOND);
    // The app has not failed.
    assert_eq!(sim.app().health().to_string(), "healthy");
    let _ = task.schedule("good".into()).id("x").push().block_on()?;
    // It is there in the next process.
    sim.crash();
    let sim = machine.boot();
    assert_eq!(ids(&failed(&sim)), ["x"]);
    Ok(())
}

#[test]
fn each_way_to_fail_is_kept_and_no_other_end() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let clock = machine.clock.clone();
    let task = sim.app().task("t", move |what: String| {
        let clock = clock.clone();
        async move {
            match what.as_str() {
                "panic" => panic!("it panics"),
                "hang" => clock.sleep(DAY).await,
                "good" => return Ok(()),
                _ => {}
            }
            Err(std::io::Error::other("no"))
        }
    });
    let task = task.durable().timeout(MINUTE).register()?;
    let once = |what: &str| task.schedule(what.into()).id(what);
    for what in ["panic", "hang", "error", "good"] {
        let _ = once(what).push().block_on()?;
    }
    let _ = once("often").max_failures(2).every(HOUR).block_on()?;
    let _ = once("in memory").in_memory().push().block_on()?;
    let cancelled = once("cancelled").push().block_on()?;
    let _ = cancelled.cancel().block_on()?;
    let expired = once("expired").expires(SECOND);
    let _ = expired.at(START - HOUR).block_on()?;
    sim.advance(DAY);
    let kept = failed(&sim);
    let mut ends: Vec<_> = kept
        .iter()
        .map(|job| (job.id().to_string(), job.status(), job.error()))
        .collect();
    ends.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(
        ends,
        [
            ("error".into(), JobStatus::Failed, "no"),
            (
                "hang".into(),
                JobStatus::Timeout,
                "the task took longer than its timeout of 60s"
            ),
            ("often".into(), JobStatus::PermanentlyFailed, "no"),
            (
                "panic".into(),
                JobStatus::Failed,
                "the task panicked: it panics"
            ),
        ]
    );
    Ok(())
}

#[test]
fn a_job_that_was_cancelled_during_its_attempt_leaves_no_entry() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let clock = machine.clock.clone();
    let task = sim.app().task("t", move || {
        let sleep = clock.sleep(SECOND);
        async move {
            sleep.await;
            Err::<(), _>("no")
        }
    });
    let job = task.durable().register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(job.cancel().block_on()?.took_effect());
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Failed);
    assert!(failed(&sim).is_empty());
    Ok(())
}

#[test]
fn a_lost_attempt_that_is_made_at_most_once_is_kept_as_failed() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let register = |sim: &Simulation| {
        let hang = async |_: u32| std::future::pending::<()>().await;
        sim.app()
            .task("t", hang)
            .durable()
            .at_most_once()
            .register()
    };
    let _ = register(&sim)?.schedule(7).id("x").push().block_on()?;
    sim.run_until_stalled();
    sim.crash();
    let sim = machine.boot();
    register(&sim)?;
    let kept = failed(&sim).remove(0);
    assert_eq!(
        (kept.args().unwrap(), kept.status(), kept.attempts()),
        ("7", JobStatus::Failed, 1)
    );
    assert!(
        kept.error().contains("made at most once"),
        "{}",
        kept.error()
    );
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn retry_schedules_a_failed_job_anew_and_removes_the_entry() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = failing(&sim, &log, |task| task.retry(Backoff::fixed(1, SECOND)));
    let _ = task.schedule("bad".into()).id("x").delay(HOUR).block_on()?;
    sim.advance(DAY);
    assert_eq!(log.take().len(), 2);
    let again = failed(&sim)[0].retry().block_on()?;
    assert_eq!(
        (again.id().to_string(), again.status()),
        ("x".into(), JobStatus::Scheduled)
    );
    assert!(failed(&sim).is_empty());
    assert!(machine.has("x"));
    assert!(task.job("x").is_some(), "it is a job of its task");
    sim.advance(MINUTE);
    // It has all its attempts, and fails again.
    assert_eq!(log.take(), vec![(1, "bad".to_string()); 2]);
    assert_eq!(failed(&sim).len(), 1);
    Ok(())
}

#[test]
fn retry_of_a_recurring_job_goes_on_with_its_series() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = failing(&sim, &log, |task| task);
    let schedule = task.schedule("bad".into()).id("x").max_failures(2);
    let _ = schedule.misfire(Misfire::Skip).every(HOUR).block_on()?;
    sim.advance(HOUR * 5 + MINUTE);
    assert_eq!(log.take().len(), 2);
    let again = failed(&sim)[0].retry().block_on()?;
    assert_eq!(again.exec_at(), START + HOUR * 6);
    sim.advance(HOUR);
    assert_eq!(log.take(), [(3, "bad".to_string())]);
    assert_eq!(
        again.status(),
        JobStatus::Scheduled,
        "its failures begin at 0"
    );
    sim.advance(HOUR);
    assert_eq!(again.status(), JobStatus::PermanentlyFailed);
    assert_eq!(failed(&sim)[0].run_number(), 4);
    Ok(())
}

#[test]
fn retry_says_why_it_cannot_schedule_the_job() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new(), |task| task);
    for (id, max_runs) in [("x", 2), ("z", 1)] {
        let schedule = task.schedule("bad".into()).id(id).max_runs(max_runs);
        let _ = schedule.max_failures(2).every(HOUR).block_on()?;
    }
    sim.advance(DAY);
    // It has had all its runs.
    for kept in failed(&sim) {
        let error = kept.retry().block_on().unwrap_err();
        assert!(matches!(error, RetryError::NoTimeLeft { .. }), "{error}");
    }
    let _ = task.schedule("bad".into()).id("y").push().block_on()?;
    sim.run_until_stalled();
    let kept = failed(&sim).pop().unwrap();
    let _ = task
        .schedule("good".into())
        .id("y")
        .delay(HOUR)
        .block_on()?;
    let error = kept.retry().block_on().unwrap_err();
    assert!(
        matches!(&error, RetryError::Schedule(ScheduleError::DuplicateJob { id, .. }) if *id == "y"),
        "{error}"
    );
    machine.set_fault(Fault::Fail);
    task.job("y").unwrap().cancel().block_on().unwrap_err();
    let error = kept.retry().block_on().unwrap_err();
    assert!(
        matches!(error, RetryError::Schedule(ScheduleError::Storage(_))),
        "{error}"
    );
    machine.set_fault(Fault::None);
    assert_eq!(failed(&sim).len(), 3, "the entries stay");
    sim.crash();
    let sim = machine.boot();
    let error = failed(&sim)[2].retry().block_on().unwrap_err();
    assert!(matches!(error, RetryError::Unresolved(_)), "{error}");
    Ok(())
}

#[test]
fn discard_deletes_an_entry() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new(), |task| task);
    for id in ["x", "y"] {
        let _ = task.schedule("bad".into()).id(id).push().block_on()?;
    }
    sim.run_until_stalled();
    let kept = failed(&sim);
    kept[0].discard().block_on()?;
    assert_eq!(ids(&failed(&sim)), ids(&kept[1..]));
    kept[0].discard().block_on()?;
    machine.set_fault(Fault::Fail);
    kept[1].discard().block_on().unwrap_err();
    machine.set_fault(Fault::None);
    assert_eq!(failed(&sim).len(), 1);
    Ok(())
}

#[test]
fn the_oldest_entries_go_when_there_are_too_many_or_they_are_too_old() -> Result {
    let machine = Machine::new();
    let clock = machine.clock.clone();
    let storage = machine.disk.clone();
    let mut sim = Simulation::with(0, clock, |app| app.storage(storage).keep_failed(5, DAY))?;
    let own = |task: Builder| task.keep_failed(2, HOUR);
    let task = failing(&sim, &Log::new(), own);
    let other = sim.app().task("other", async || Err::<(), _>("no"));
    let other = other.durable().register()?;
    for n in 0..4 {
        let _ = task
            .schedule("bad".into())
            .id(format!("t{n}"))
            .push()
            .block_on()?;
        let _ = other.schedule(()).id(format!("o{n}")).push().block_on()?;
        sim.advance(SECOND);
    }
    // Of the task two, of all five; the oldest have gone.
    assert_eq!(ids(&failed(&sim)), ["o1", "o2", "t2", "o3", "t3"]);
    sim.advance(HOUR);
    assert_eq!(
        ids(&failed(&sim)),
        ["o1", "o2", "o3"],
        "those of the task are too old"
    );
    assert_eq!(machine.disk.ends().len(), 3, "and deleted");
    sim.advance(DAY);
    assert!(failed(&sim).is_empty());
    Ok(())
}

#[test]
fn nothing_is_kept_if_the_count_is_0() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new(), |task| task.keep_failed(0, DAY));
    let _ = task.schedule("bad".into()).push().block_on()?;
    sim.run_until_stalled();
    assert!(machine.disk.ends().is_empty());
    Ok(())
}

#[test]
fn an_entry_that_could_not_be_stored_is_stored_with_the_end_or_with_a_successor() -> Result {
    for has_successor in [false, true] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let task = failing(&sim, &Log::new(), |task| task);
        let _ = task.schedule("bad".into()).id("x").push().block_on()?;
        machine.set_fault(Fault::Fail);
        sim.run_until_stalled();
        assert!(machine.disk.ends().is_empty());
        let next = task.schedule("good".into()).id("x").delay(DAY);
        next.block_on().unwrap_err();
        machine.set_fault(Fault::None);
        if has_successor {
            let _ = task.schedule("good".into()).id("x").delay(DAY).block_on()?;
        } else {
            sim.advance(MINUTE);
        }
        assert_eq!(machine.has("x"), has_successor);
        assert_eq!(ids(&failed(&sim)), ["x"]);
    }
    Ok(())
}

#[test]
fn failed_jobs_are_listed_after_the_commits_that_wait_and_a_closed_store_returns_an_error() -> Result
{
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let app = Jobber::builder().storage(storage).build()?;
    let task = app
        .task("t", async || Err::<(), _>("no"))
        .durable()
        .register()?;
    app.start().block_on()?;
    let job = task.schedule(()).id("x").push().block_on()?;
    job.wait_blocking();
    assert_eq!(app.failed().block_on()?.len(), 1);
    store.hold();
    let mut waiting = task.schedule(()).delay(HOUR);
    begin(&mut waiting);
    store.requested()?;
    let mut failed = app.failed();
    begin(&mut failed);
    store.release();
    assert_eq!(block_on(failed)?.len(), 1);
    app.shutdown(Duration::ZERO).block_on();
    assert!(matches!(app.failed().block_on(), Err(StorageError::Closed)));
    Ok(())
}

#[test]
fn an_app_without_a_store_has_no_failed_jobs() -> Result {
    let sim = Simulation::with(0, ManualClock::new(), |app| app)?;
    assert!(failed(&sim).is_empty());
    Ok(())
}

#[test]
fn a_job_that_ends_without_another_attempt_after_a_failed_run_is_kept() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = failing(&sim, &Log::new(), |task| task.retry(Backoff::fixed(1, DAY)));
    // Its retry would be too late in the next process.
    let expires = task.schedule("bad".into()).id("expires").expires(DAY);
    let until = task
        .schedule("bad".into())
        .id("until")
        .misfire(Misfire::Skip);
    let _ = expires.max_runs(1).every(HOUR).block_on()?;
    let until = until.until(START + HOUR * 3).every(HOUR * 2).block_on()?;
    let mut sim = sim;
    sim.advance(HOUR * 2);
    assert_eq!(until.status(), JobStatus::Scheduled);
    sim.crash();
    machine.clock.advance(DAY * 3);
    let mut sim = machine.boot();
    failing(&sim, &Log::new(), |task| task);
    sim.advance(DAY);
    let kept = failed(&sim);
    assert!(kept.iter().all(|job| job.status() == JobStatus::Failed));
    let mut ids = ids(&kept);
    ids.sort();
    assert_eq!(ids, ["expires", "until"]);
    assert!(machine.records().is_empty());
    Ok(())
}

/// Regression: the caller waited for ever.
#[test]
fn a_store_that_panics_in_load_ends_returns_an_error() -> Result {
    let storage = FaultyStorage::new(MemoryStorage::new(), |operation| match operation {
        Operation::LoadEnds => Fault::Panic,
        _ => Fault::None,
    });
    let sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    // The simulation carries it out on this thread.
    let answer = poll(sim.app().failed());
    assert!(
        matches!(answer, Some(Err(StorageError::Panicked { .. }))),
        "{answer:?}"
    );
    Ok(())
}

/// Starts an app on a file, with a task that fails.
#[cfg(all(feature = "sqlite", unix))]
fn start_failing(path: &std::path::Path) -> Result<(Jobber, Task<(), ()>)> {
    let app = Jobber::builder()
        .storage(SqliteStorage::new(path))
        .build()?;
    let task = app.task("t", async || Err::<(), _>("no"));
    let task = task.durable().register()?;
    app.start().block_on()?;
    Ok((app, task))
}

/// Regression: one row of the table `ends` that could not be read hid all others.
#[cfg(all(feature = "sqlite", unix))]
#[test]
fn a_row_of_the_ends_that_cannot_be_read_hides_no_other() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let (app, task) = start_failing(&path)?;
    for id in ["a", "b", "c"] {
        task.schedule(()).id(id).push().block_on()?.wait_blocking();
    }
    assert_eq!(app.failed().block_on()?.len(), 3);
    drop((app, task));
    let sql = rusqlite::Connection::open(&path)?;
    sql.execute("UPDATE ends SET status = 'BROKEN' WHERE id = 'b'", [])?;
    sql.close().map_err(|(_, error)| error)?;
    let (app, _task) = start_failing(&path)?;
    let listed = app.failed().block_on();
    assert!(
        listed.as_ref().is_ok_and(|listed| listed.len() >= 2),
        "{listed:?}"
    );
    Ok(())
}

/// Regression: a series whose retry came too late ended as failed, without an entry.
#[test]
fn a_series_that_fails_because_its_retry_comes_too_late_is_kept() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let register = |sim: &Simulation| {
        let task = sim.app().task("t", async |_: String| Err::<(), _>("no"));
        let retry = jobber::Backoff::fixed(1, MINUTE);
        task.durable().retry(retry).register().unwrap()
    };
    let schedule = register(&sim).schedule("bad".into()).id("x");
    let schedule = schedule.max_failures(1).expires(MINUTE * 5);
    let _ = schedule.every(HOUR).block_on()?;
    sim.advance(HOUR + SECOND);
    sim.crash();
    machine.clock.advance(HOUR / 2);
    let mut sim = machine.boot();
    let task = register(&sim);
    let job = task.job("x").ok_or("it waits for its retry")?;
    sim.advance(MINUTE);
    assert_eq!(job.status(), jobber::JobStatus::PermanentlyFailed);
    assert_eq!(sim.app().failed().block_on()?.len(), 1);
    Ok(())
}

/// Regression: a series without time left ended as its last run, without an entry.
#[test]
fn a_series_that_runs_out_after_a_failed_run_is_kept() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let register = |sim: &Simulation| {
        let task = sim.app().task("t", async |_: String| Err::<(), _>("no"));
        task.durable().register().unwrap()
    };
    let schedule = register(&sim).schedule("bad".into()).id("x");
    let schedule = schedule.misfire(jobber::Misfire::Skip);
    let until = crate::support::START + HOUR * 3;
    let _ = schedule.until(until).every(HOUR).block_on()?;
    sim.advance(HOUR + MINUTE);
    sim.crash();
    machine.clock.advance(DAY);
    let mut sim = machine.boot();
    let task = register(&sim);
    let job = task.job("x").ok_or("it is there")?;
    sim.advance(MINUTE);
    assert_eq!(job.status(), jobber::JobStatus::Failed);
    assert!(machine.records().is_empty());
    assert_eq!(sim.app().failed().block_on()?.len(), 1);
    Ok(())
}

/// Regression: the control characters of a tampered file were printed.
#[cfg(all(feature = "sqlite", unix))]
#[test]
fn a_failed_job_is_displayed_without_control_characters() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let (app, task) = start_failing(&path)?;
    task.schedule(()).id("a").push().block_on()?.wait_blocking();
    drop((app, task));
    let sql = rusqlite::Connection::open(&path)?;
    let tamper = "UPDATE ends SET task = 'a' || char(27) || '[31m', error = char(7), id = char(27)";
    sql.execute(tamper, [])?;
    sql.close().map_err(|(_, error)| error)?;
    let (app, _task) = start_failing(&path)?;
    for kept in app.failed().block_on()? {
        assert!(!kept.to_string().contains(char::is_control), "{kept}");
        assert!(!format!("{kept:?}").contains(char::is_control), "{kept:?}");
    }
    Ok(())
}

/// Regression: once the clock was set, the entry was too old.
#[test]
fn a_job_that_failed_before_the_clock_was_set_is_kept() -> Result {
    let disk = MemoryStorage::new();
    let clock = ManualClock::at(time::OffsetDateTime::UNIX_EPOCH).with_earliest_true_time(START);
    let storage = disk.clone();
    let mut sim = Simulation::with(0, clock, |app| app.storage(storage))?;
    let _ = failing(&sim, &Log::new(), |task| task)
        .schedule("bad".into())
        .id("x")
        .push()
        .block_on()?;
    sim.advance(MINUTE);
    assert_eq!(disk.ends().len(), 1);
    sim.set_wall(START + DAY);
    sim.advance(MINUTE);
    assert_eq!(
        sim.app().failed().block_on()?.len(),
        1,
        "it failed two minutes ago"
    );
    Ok(())
}
