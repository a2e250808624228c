//! When the store fails: everybody concerned is told, the scheduler goes on, and
//! nothing is lost.
#![cfg(feature = "serde")]

mod common;

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{HOUR, Log, MINUTE, SECOND};
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{
    Change, JobContext, JobStatus, Jobber, MemoryStorage, ScheduleError, StartError, StorageError,
    Task,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A disk that does what it is told to.
#[derive(Clone)]
struct Disk {
    contents: MemoryStorage,
    /// What becomes of each commit.
    mood: Arc<Mutex<Fault>>,
    commits: Log<usize>,
    clock: ManualClock,
}

impl Disk {
    fn new() -> Self {
        Self {
            contents: MemoryStorage::new(),
            mood: Arc::new(Mutex::new(Fault::None)),
            commits: Log::new(),
            clock: ManualClock::new(),
        }
    }

    fn is(&self, mood: Fault) {
        *self.mood.lock().unwrap() = mood;
    }

    fn storage(&self) -> FaultyStorage<MemoryStorage> {
        let (mood, commits) = (self.mood.clone(), self.commits.clone());
        FaultyStorage::new(self.contents.clone(), move |operation| match operation {
            Operation::Commit(changes) => {
                commits.add(changes.len());
                mood.lock().unwrap().clone()
            }
            _ => Fault::None,
        })
    }

    fn boot(&self) -> Simulation {
        let storage = self.storage();
        Simulation::with(1, self.clock.clone(), |app| app.storage(storage)).unwrap()
    }

    fn has(&self, id: &str) -> bool {
        self.contents.records().iter().any(|record| record.id == id)
    }
}

fn adding(sim: &Simulation, log: &Log<u32>) -> Task<u32, ()> {
    let log = log.clone();
    sim.app()
        .task("t", move |n: u32| {
            log.add(n);
            async {}
        })
        .durable()
        .register()
        .unwrap()
}

fn storage_error<T: std::fmt::Debug>(
    result: std::result::Result<T, ScheduleError>,
) -> StorageError {
    match result {
        Err(ScheduleError::Storage(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_that_could_not_be_stored_does_not_exist() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let task = adding(&sim, &log);
    for fault in [Fault::Fail, Fault::Tear, Fault::Panic] {
        disk.is(fault);
        let error = storage_error(task.schedule(1).id("x").delay(MINUTE).wait_blocking());
        assert!(
            error.to_string().contains("a fault that was planned"),
            "{error}"
        );
        assert!(sim.app().find_job("x").is_none());
        assert!(sim.app().jobs().is_empty());
        disk.is(Fault::None);
        sim.advance(SECOND * 11);
        assert!(!disk.has("x"), "not even what a torn commit left behind");
        assert!(sim.app().health().is_good());
    }
    // Its id is free.
    let _ = task.schedule(2).id("x").delay(MINUTE).wait_blocking()?;
    sim.advance(HOUR);
    assert_eq!(log.take(), [2]);
    Ok(())
}

#[test]
fn a_job_that_ends_while_the_store_is_away_is_done_and_forgotten_when_it_is_back() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let task = adding(&sim, &log);
    let job = task.schedule(1).id("x").delay(MINUTE).wait_blocking()?;
    let other = task.schedule(2).id("y").delay(MINUTE * 2).wait_blocking()?;
    disk.is(Fault::Fail);
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Success, "nobody hangs");
    let health = sim.app().health();
    assert_eq!(health.unstored, 1);
    assert!(health.storage_error.is_some() && !health.is_good());
    assert!(disk.has("x"));
    sim.advance(MINUTE);
    assert_eq!(other.status(), JobStatus::Success, "the scheduler goes on");
    assert_eq!(sim.app().health().unstored, 2);
    disk.is(Fault::None);
    sim.advance(SECOND * 10);
    assert!(sim.app().health().is_good());
    assert!(disk.contents.records().is_empty());
    assert_eq!(log.take(), [1, 2], "and none has run twice");
    Ok(())
}

#[test]
fn a_store_that_is_away_is_asked_again_at_growing_intervals() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let _ = adding(&sim, &log).schedule(1).push().wait_blocking()?;
    disk.is(Fault::Fail);
    disk.commits.take();
    sim.run_until_stalled();
    let mut asked = Vec::new();
    for tenth in 0..600 {
        asked.extend(disk.commits.take().iter().map(|_| tenth));
        sim.advance(SECOND / 10);
    }
    // In tenths of a second: 0.1, 0.2, 0.4 … and 10 s at most.
    assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 127, 227, 327, 427, 527]);
    Ok(())
}

#[test]
fn an_outage_costs_no_more_memory_than_there_are_jobs() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let task = adding(&sim, &log);
    for n in 0..10 {
        let _ = task.schedule(n).every(SECOND).wait_blocking()?;
    }
    disk.is(Fault::Fail);
    sim.advance(HOUR);
    assert_eq!(log.take().len(), 36_000);
    let unstored = sim.app().health().unstored;
    assert!((10..=200).contains(&unstored), "{unstored}");
    disk.is(Fault::None);
    sim.advance(MINUTE);
    assert!(sim.app().health().is_good());
    // What is there is the last of it.
    let runs = disk
        .contents
        .records()
        .into_iter()
        .map(|r| r.progress.recurring.unwrap().runs);
    assert!(runs.eq([3_660; 10]));
    Ok(())
}

#[test]
fn a_new_job_brings_what_waits_to_a_store_that_is_back() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let task = adding(&sim, &log);
    let _ = task.schedule(1).id("x").push().wait_blocking()?;
    disk.is(Fault::Fail);
    sim.advance(HOUR);
    disk.is(Fault::None);
    let _ = task.schedule(2).id("y").delay(HOUR).wait_blocking()?;
    assert!(
        sim.app().health().is_good(),
        "without waiting for the next try"
    );
    assert!(!disk.has("x") && disk.has("y"));
    Ok(())
}

#[test]
fn a_job_of_the_same_id_is_not_forgotten_with_the_one_before() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let task = adding(&sim, &log);
    let _ = task.schedule(1).id("x").push().wait_blocking()?;
    disk.is(Fault::Fail);
    sim.run_until_stalled();
    assert_eq!(sim.app().health().unstored, 1);
    // The end of the first is not stored yet, and the second is refused; then it
    // is taken.
    storage_error(task.schedule(2).id("x").delay(HOUR).wait_blocking());
    disk.is(Fault::None);
    let _ = task.schedule(3).id("x").delay(HOUR).wait_blocking()?;
    sim.advance(MINUTE);
    assert!(disk.has("x"));
    sim.advance(HOUR);
    assert_eq!(log.take(), [1, 3]);
    Ok(())
}

#[test]
fn a_job_whose_cancel_could_not_be_stored_is_cancelled_here_and_forgotten_later() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let job = adding(&sim, &log)
        .schedule(1)
        .id("x")
        .delay(MINUTE)
        .wait_blocking()?;
    disk.is(Fault::Fail);
    assert!(job.cancel().wait_blocking().is_err());
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(disk.has("x"));
    disk.is(Fault::None);
    sim.advance(HOUR);
    assert!(!disk.has("x"));
    assert!(log.take().is_empty());
    Ok(())
}

#[test]
fn a_replacement_that_could_not_be_stored_leaves_the_job_as_it_was() -> Result {
    for fault in [Fault::Fail, Fault::Tear] {
        let disk = Disk::new();
        let mut sim = disk.boot();
        let log = Log::new();
        let task = adding(&sim, &log);
        let job = task.schedule(1).id("x").delay(MINUTE).wait_blocking()?;
        let due = job.exec_at();
        disk.is(fault);
        storage_error(
            task.schedule(2)
                .id("x")
                .replace()
                .delay(HOUR)
                .wait_blocking(),
        );
        assert_eq!(job.exec_at(), due);
        disk.is(Fault::None);
        sim.advance(HOUR * 2);
        assert_eq!(job.status(), JobStatus::Success);
        assert_eq!(log.take(), [1]);
        assert!(disk.contents.records().is_empty());
    }
    Ok(())
}

/// The store had the new trigger, for the commit was torn, and was given the
/// progress of the old one to mend that: a cron job that had no recurring
/// progress, which nobody could run any more. It is given the whole job now.
#[test]
fn a_replacement_that_was_torn_is_taken_back_whole() -> Result {
    for is_running in [false, true] {
        let disk = Disk::new();
        let mut sim = disk.boot();
        let clock = sim.clock();
        let slow = sim
            .app()
            .task("t", move |_: u32| clock.sleep(HOUR))
            .durable()
            .register()?;
        let due = time::macros::datetime!(2000-01-01 0:01 UTC);
        let _ = slow.schedule(1).id("x").at(due).wait_blocking()?;
        if is_running {
            sim.advance(MINUTE);
        }
        let before = disk.contents.records().remove(0);
        disk.is(Fault::Tear);
        storage_error(
            slow.schedule(2)
                .id("x")
                .replace()
                .cron("@hourly")
                .wait_blocking(),
        );
        disk.is(Fault::None);
        sim.advance(SECOND);
        let after = disk.contents.records().remove(0);
        assert_eq!((after.args, after.progress), (before.args, before.progress));
        sim.crash();
        let mut sim = disk.boot();
        let log = Log::new();
        adding(&sim, &log);
        sim.advance(HOUR * 3);
        assert_eq!(log.take(), [1]);
    }
    Ok(())
}

#[test]
fn a_job_that_comes_due_while_the_store_is_asked_about_its_replacement_waits_for_the_answer()
-> Result {
    // A store that answers when it is told to, on real threads.
    use std::sync::mpsc;
    for answer in [Fault::None, Fault::Fail] {
        let (asks, asked) = mpsc::channel();
        let (gate, open) = mpsc::channel::<Fault>();
        let storage = FaultyStorage::new(MemoryStorage::new(), move |operation| {
            let is_new = |change: &Change| matches!(change, Change::Put(job) if job.args == "2");
            match operation {
                Operation::Commit(changes) if changes.iter().any(is_new) => {
                    asks.send(()).unwrap();
                    open.recv().unwrap()
                }
                _ => Fault::None,
            }
        });
        let clock = ManualClock::new();
        let app = Jobber::builder()
            .clock(clock.clone())
            .storage(storage)
            .build()?;
        let log = Log::new();
        let seen = log.clone();
        let task = app
            .task("t", move |n: u32| {
                seen.add(n);
                async {}
            })
            .durable()
            .register()?;
        let tick = app.task("tick", || async {}).register()?;
        app.start().wait_blocking()?;
        let job = task.schedule(1).id("x").delay(SECOND).wait_blocking()?;
        let replacing = std::thread::spawn({
            let task = task.clone();
            move || {
                task.schedule(2)
                    .id("x")
                    .replace()
                    .delay(MINUTE)
                    .wait_blocking()
                    .map(drop)
            }
        });
        asked.recv()?;
        clock.advance(SECOND);
        // The timer has come by: what is due after it has run.
        let after = tick.schedule(()).delay(Duration::ZERO).wait_blocking()?;
        assert_eq!(after.wait_blocking(), JobStatus::Success);
        assert!(log.take().is_empty(), "it waits");
        gate.send(answer.clone())?;
        let replaced = replacing.join().unwrap();
        if matches!(answer, Fault::None) {
            replaced?;
            clock.advance(MINUTE);
            job.wait_blocking();
            assert_eq!(log.take(), [2]);
        } else {
            assert!(replaced.is_err());
            job.wait_blocking();
            assert_eq!(log.take(), [1]);
        }
    }
    Ok(())
}

#[test]
fn an_attempt_at_most_once_waits_for_a_store_that_is_away() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let seen = log.clone();
    let clock = sim.clock();
    let task = sim
        .app()
        .task("t", move |cx: JobContext| {
            seen.add((cx.attempt(), clock.elapsed().as_secs()));
            async {}
        })
        .durable()
        .at_most_once()
        .register()?;
    let job = task.schedule(()).id("x").delay(SECOND).wait_blocking()?;
    disk.is(Fault::Fail);
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert!(log.take().is_empty());
    disk.is(Fault::None);
    sim.advance(SECOND * 10);
    assert_eq!(job.status(), JobStatus::Success);
    let runs = log.take();
    assert!(matches!(runs[..], [(1, 61..=70)]), "{runs:?}");
    Ok(())
}

#[test]
fn an_attempt_at_most_once_that_waits_for_the_store_can_be_cancelled() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let seen = log.clone();
    let task = sim
        .app()
        .task("t", move || {
            seen.add(1);
            async {}
        })
        .durable()
        .at_most_once()
        .register()?;
    let job = task.schedule(()).id("x").delay(SECOND).wait_blocking()?;
    disk.is(Fault::Fail);
    sim.advance(MINUTE);
    assert!(job.cancel().wait_blocking().is_err());
    disk.is(Fault::None);
    sim.advance(HOUR);
    assert!(log.take().is_empty());
    assert!(disk.contents.records().is_empty());
    Ok(())
}

#[test]
fn an_attempt_at_most_once_that_the_shutdown_stops_before_it_starts_runs_next_time() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
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
    let _ = task.schedule(()).id("x").delay(SECOND).wait_blocking()?;
    disk.is(Fault::Tear);
    sim.advance(SECOND);
    disk.is(Fault::None);
    sim.shutdown(Duration::ZERO);
    drop(sim);
    assert_eq!(disk.contents.records()[0].progress.started_at, None);
    let mut sim = disk.boot();
    register(&sim, &log)?;
    sim.advance(SECOND);
    assert_eq!(log.take(), [1]);
    Ok(())
}

#[test]
fn a_store_that_can_not_be_opened_or_read_is_an_error_of_the_start() -> Result {
    let contents = MemoryStorage::new();
    for number in 1..=2 {
        for fault in [Fault::Fail, Fault::Panic] {
            let mut operations = 0;
            let storage = FaultyStorage::new(contents.clone(), move |_| {
                operations += 1;
                if operations == number {
                    fault.clone()
                } else {
                    Fault::None
                }
            });
            let app = Jobber::builder().storage(storage).build()?;
            let task = app.task("t", async |n: u32| n).durable().register()?;
            let error = app.start().wait_blocking().unwrap_err();
            assert!(matches!(error, StartError::Storage(_)), "{error}");
            let error = task.schedule(1).push().wait_blocking().unwrap_err();
            assert!(matches!(error, ScheduleError::NotStarted));
            // And then it can.
            app.start().wait_blocking()?;
            let job = task.schedule(1).push().wait_blocking()?;
            assert_eq!(job.wait_blocking(), JobStatus::Success);
        }
    }
    Ok(())
}

#[test]
fn a_shutdown_ends_though_the_store_is_away() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let task = adding(&sim, &log);
    let done = task.schedule(1).id("done").push().wait_blocking()?;
    let waits = task.schedule(2).id("waits").delay(HOUR).wait_blocking()?;
    disk.is(Fault::Fail);
    sim.run_until_stalled();
    assert!(sim.shutdown(HOUR).is_empty());
    assert_eq!(done.status(), JobStatus::Success);
    assert_eq!(waits.wait_blocking(), JobStatus::Scheduled);
    drop(sim);
    // The end of the one was never stored: it runs again.
    disk.is(Fault::None);
    let mut sim = disk.boot();
    adding(&sim, &log);
    sim.run_until_stalled();
    assert_eq!(log.take(), [1, 1]);
    Ok(())
}

/// On real threads, with a store that comes and goes.
#[test]
fn submitters_and_waiters_never_hang_whatever_the_store_does() -> Result {
    let mut rng = fastrand::Rng::with_seed(7);
    let contents = MemoryStorage::new();
    let storage = FaultyStorage::new(contents.clone(), move |_| match rng.u8(..8) {
        0 => Fault::Fail,
        1 => Fault::Tear,
        2 => Fault::Panic,
        _ => Fault::None,
    });
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    while app.start().wait_blocking().is_err() {}
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let task = task.clone();
            std::thread::spawn(move || {
                for n in 0..100 {
                    let schedule = task.schedule(n).id(format!("{thread}-{n}"));
                    let Ok(job) = schedule.delay(Duration::from_micros(50)).wait_blocking() else {
                        continue;
                    };
                    if n % 3 == 0 {
                        let _ = job.cancel().wait_blocking();
                    }
                    assert!(job.wait_blocking().is_final());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    app.wait_all().wait_blocking();
    drop(app);
    Ok(())
}
