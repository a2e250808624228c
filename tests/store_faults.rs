//! When the store fails: everybody concerned is told, the scheduler goes on, and
//! nothing is lost.
#![cfg(feature = "serde")]

mod common;

use std::cell::RefCell;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{HOUR, Log, MINUTE, SECOND};
use futures_lite::future::{block_on, poll_once};
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{
    JobContext, JobStatus, Jobber, MemoryStorage, Misfire, ScheduleError, StartError, Task,
    storage::{Change, Storage, StorageError},
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
        assert!(sim.app().health().is_healthy());
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
    assert!(health.storage_error.is_some() && !health.is_healthy());
    assert!(disk.has("x"));
    sim.advance(MINUTE);
    assert_eq!(other.status(), JobStatus::Success, "the scheduler goes on");
    assert_eq!(sim.app().health().unstored, 2);
    disk.is(Fault::None);
    sim.advance(SECOND * 10);
    assert!(sim.app().health().is_healthy());
    assert!(disk.contents.records().is_empty());
    assert_eq!(log.take(), [1, 2], "and none has run twice");
    Ok(())
}

#[test]
fn a_store_that_is_away_is_asked_again_at_growing_intervals() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let log = Log::new();
    let task = adding(&sim, &log);
    // The second time as the first.
    for _ in 0..2 {
        let _ = task.schedule(1).push().wait_blocking()?;
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
        disk.is(Fault::None);
        sim.advance(SECOND * 10);
    }
    Ok(())
}

#[test]
fn a_store_that_is_away_is_not_asked_more_often_because_more_is_to_be_stored() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let _ = adding(&sim, &Log::new())
        .schedule(1)
        .every(SECOND)
        .wait_blocking()?;
    disk.is(Fault::Fail);
    disk.commits.take();
    sim.advance(MINUTE * 10);
    let asked = disk.commits.take().len();
    assert!((60..70).contains(&asked), "{asked} times for 600 runs");
    Ok(())
}

#[test]
fn what_waits_for_the_store_is_tried_once_more_when_the_app_stops() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let task = adding(&sim, &Log::new());
    let _ = task.schedule(1).id("x").push().wait_blocking()?;
    disk.is(Fault::Fail);
    sim.advance(HOUR);
    disk.is(Fault::None);
    sim.shutdown(Duration::ZERO);
    assert!(!disk.has("x"));
    Ok(())
}

#[test]
fn a_new_job_is_tried_at_once_though_it_comes_with_what_can_wait() -> Result {
    let contents = MemoryStorage::new();
    let queued = Log::new();
    // While the store fails for the second time, a job is cancelled and another one
    // scheduled; then it is back.
    type Then = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;
    let (then, fails) = (Then::default(), Arc::new(Mutex::new(0)));
    let (next, left) = (then.clone(), fails.clone());
    let storage = FaultyStorage::new(contents.clone(), move |operation| {
        let mut left = left.lock().unwrap();
        if !matches!(operation, Operation::Commit(_)) || *left == 0 {
            return Fault::None;
        }
        *left -= 1;
        if *left == 0 {
            let then = next.lock().unwrap().take();
            then.into_iter().for_each(|then| then());
        }
        Fault::Fail
    });
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let task = adding(&sim, &Log::new());
    let _ = task.schedule(1).id("x").push().wait_blocking()?;
    let job = task.schedule(2).id("y").delay(HOUR).wait_blocking()?;
    // Those of the end, and of the new job with it, and of the end alone.
    *fails.lock().unwrap() = 3;
    sim.run_until_stalled();
    let (again, submits) = (task.clone(), queued.clone());
    *then.lock().unwrap() = Some(Box::new(move || {
        assert!(block_on(poll_once(job.cancel())).is_none());
        let mut submit = again.schedule(3).id("z").delay(HOUR);
        begin(&mut submit);
        submits.add(Arc::new(Mutex::new(Some(submit))));
    }));
    storage_error(task.schedule(4).delay(HOUR).wait_blocking());
    let submit = queued.take().remove(0).lock().unwrap().take().unwrap();
    let _ = block_on(submit)?;
    let ids: Vec<_> = contents.records().into_iter().map(|r| r.id).collect();
    assert_eq!(ids, ["z"]);
    Ok(())
}

#[test]
fn a_store_that_has_refused_a_job_is_not_asked_again_of_itself() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let task = adding(&sim, &Log::new());
    disk.is(Fault::FailWith(StorageError::Full {
        path: "disk".into(),
    }));
    storage_error(task.schedule(1).delay(HOUR).wait_blocking());
    disk.commits.take();
    sim.advance(HOUR);
    assert!(disk.commits.take().is_empty());
    Ok(())
}

/// A job that is too large is in one commit with others. Gives what became of `ids`,
/// which are scheduled after `y` has been cancelled, and what the store has in the end.
fn with_one_that_is_too_large(
    ids: &[(&'static str, u32)],
    is_first_alone_refused: bool,
) -> Result<(Vec<bool>, Vec<String>)> {
    type Submits = Vec<jobber::Submit<u32, ()>>;
    let contents = MemoryStorage::new();
    let hook = Arc::new(Mutex::new(None::<Box<dyn FnOnce() + Send>>));
    let then = hook.clone();
    let mut is_refused = is_first_alone_refused;
    let storage = FaultyStorage::new(contents.clone(), move |operation| {
        let Operation::Commit(changes) = operation else {
            return Fault::None;
        };
        let then = then.lock().unwrap().take();
        then.into_iter().for_each(|then| then());
        let is_large = |change: &Change| matches!(change, Change::Put(job) if job.args == "9");
        let is_alone = matches!(changes, [Change::Remove(_)]);
        if changes.iter().any(is_large) {
            let detail = "9".into();
            Fault::FailWith(StorageError::TooLarge { detail })
        } else if is_alone && std::mem::take(&mut is_refused) {
            Fault::Fail
        } else {
            Fault::None
        }
    });
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let task = adding(&sim, &Log::new());
    let job = task.schedule(1).id("y").delay(HOUR).wait_blocking()?;
    let submits = Arc::new(Mutex::new(Submits::new()));
    let (again, all, ids) = (task.clone(), submits.clone(), ids.to_vec());
    // While the store is asked about another job.
    *hook.lock().unwrap() = Some(Box::new(move || {
        assert!(block_on(poll_once(job.cancel())).is_none());
        for (id, n) in ids {
            let mut submit = again.schedule(n).id(id).delay(HOUR * 2);
            begin(&mut submit);
            all.lock().unwrap().push(submit);
        }
    }));
    let first = task.schedule(0).id("first").delay(HOUR).wait_blocking()?;
    let submits = std::mem::take(&mut *submits.lock().unwrap());
    let answers = submits.into_iter().map(|submit| block_on(submit).is_ok());
    let answers = answers.collect();
    assert_eq!(sim.app().health().is_healthy(), !is_first_alone_refused);
    sim.advance(MINUTE);
    assert!(sim.app().health().is_healthy());
    assert!(first.cancel().wait_blocking()?);
    let records = contents.records().into_iter();
    let mut ids: Vec<_> = records.map(|record| record.id.to_string()).collect();
    ids.sort();
    Ok((answers, ids))
}

#[test]
fn what_is_committed_with_a_job_that_is_too_large_is_committed_without_it() -> Result {
    let jobs = [("a", 2), ("b", 9), ("c", 3)];
    let (answers, ids) = with_one_that_is_too_large(&jobs, false)?;
    assert_eq!(answers, [true, false, true]);
    assert_eq!(ids, ["a", "c"]);
    Ok(())
}

#[test]
fn of_those_that_are_committed_one_by_one_none_overtakes_what_must_be_made() -> Result {
    let jobs = [("y", 2), ("b", 9)];
    let (answers, ids) = with_one_that_is_too_large(&jobs, true)?;
    // The cancel of the first `y` is not stored yet when the second is to be.
    assert_eq!(answers, [false, false]);
    assert!(ids.is_empty(), "{ids:?}");
    Ok(())
}

#[test]
fn whoever_cancels_while_the_store_is_away_is_told_each_time() -> Result {
    let (mood, contents) = (Arc::new(Mutex::new(Fault::None)), MemoryStorage::new());
    let now = mood.clone();
    let storage = FaultyStorage::new(contents, move |_| now.lock().unwrap().clone());
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().wait_blocking()?;
    let jobs: Vec<_> = (0..8)
        .map(|n| task.schedule(n).delay(HOUR).wait_blocking())
        .collect::<std::result::Result<_, _>>()?;
    *mood.lock().unwrap() = Fault::Fail;
    let (tells, told) = mpsc::channel();
    std::thread::spawn(move || {
        for job in jobs {
            let _ = tells.send(job.cancel().wait_blocking().is_err());
        }
    });
    for _ in 0..8 {
        assert!(told.recv_timeout(MINUTE)?);
    }
    Ok(())
}

#[test]
fn a_store_whose_drop_panics_is_let_go_of_all_the_same() -> Result {
    struct Panics(MemoryStorage);
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("the store was dropped");
        }
    }
    impl Storage for Panics {
        fn open(&mut self) -> std::result::Result<(), StorageError> {
            self.0.open()
        }
        fn load(
            &mut self,
            each: &mut dyn FnMut(jobber::storage::Loaded),
        ) -> std::result::Result<(), StorageError> {
            self.0.load(each)
        }
        fn commit(&mut self, changes: &[Change]) -> std::result::Result<(), StorageError> {
            self.0.commit(changes)
        }
    }
    let disk = Disk::new();
    let boot = || {
        let storage = Panics(disk.contents.clone());
        Simulation::with(0, disk.clock.clone(), |app| app.storage(storage))
    };
    let mut sim = boot()?;
    let _ = adding(&sim, &Log::new())
        .schedule(1)
        .id("x")
        .delay(HOUR)
        .wait_blocking()?;
    assert!(sim.shutdown(SECOND).is_empty());
    let sim = boot()?;
    assert!(adding(&sim, &Log::new()).job("x").is_some());
    sim.crash();
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
    assert!(sim.app().health().is_healthy());
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
        sim.app().health().is_healthy(),
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
            .timeout(HOUR * 2)
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

/// A run that makes up for a missed time went on when a replacement was torn. The store
/// was given the whole job once more, as it was before that run, but without that it
/// makes up: after a crash it was counted once more among those that may.
#[test]
fn a_run_that_makes_up_for_a_missed_time_is_counted_once_though_a_crash_cuts_it() -> Result {
    let disk = Disk::new();
    let sim = disk.boot();
    let log = Log::new();
    let task = adding(&sim, &log);
    let schedule = task.schedule(1).id("x").misfire(Misfire::All(2));
    let _ = schedule.cron("* * * * *").wait_blocking()?;
    sim.crash();
    // Away for five minutes, of which two are to be made up for.
    disk.clock.advance(MINUTE * 5 + SECOND * 30);
    let mut sim = disk.boot();
    let slow = sim
        .app()
        .task("t", |_: u32| std::future::pending::<()>())
        .durable()
        .register()?;
    sim.run_until_stalled();
    assert_eq!(slow.job("x").unwrap().status(), JobStatus::Running);
    disk.is(Fault::Tear);
    let again = slow.schedule(2).id("x").replace();
    storage_error(again.delay(HOUR).wait_blocking());
    disk.is(Fault::None);
    sim.advance(SECOND);
    sim.crash();

    let mut sim = disk.boot();
    let runs = Log::new();
    let seen = runs.clone();
    let task = sim.app().task("t", move |cx: JobContext, _: u32| {
        seen.add((cx.run_number(), cx.nominal_time().minute()));
        async {}
    });
    task.durable().register()?;
    sim.advance(MINUTE);
    assert_eq!(runs.take(), [(1, 1), (2, 2), (3, 6)]);
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

// What a reviewer found, each with its story.

/// A store whose commit of a job of this id is held up, once, until the gate is
/// opened.
fn gated(
    disk: &MemoryStorage,
    args: &'static str,
) -> (
    FaultyStorage<MemoryStorage>,
    mpsc::Receiver<()>,
    mpsc::Sender<()>,
) {
    let (asks, asked) = mpsc::channel();
    let (gate, open) = mpsc::channel::<()>();
    let mut is_held = false;
    let storage = FaultyStorage::new(disk.clone(), move |operation| {
        let is_it = |change: &Change| matches!(change, Change::Put(job) if job.args == args);
        if let Operation::Commit(changes) = operation
            && changes.iter().any(is_it)
            && !std::mem::replace(&mut is_held, true)
        {
            asks.send(()).unwrap();
            open.recv().unwrap();
        }
        Fault::None
    });
    (storage, asked, gate)
}

/// Does what can be done without waiting.
fn begin<F: Future + Unpin>(future: &mut F) {
    assert!(
        block_on(poll_once(future)).is_none(),
        "it waits for the store"
    );
}

/// The answer about a replacement came when its job had been cancelled and
/// another task had taken the id: the store was told to forget it once more, and
/// forgot the new job.
#[test]
fn a_replacement_that_comes_too_late_does_not_take_another_job_with_it() -> Result {
    let disk = MemoryStorage::new();
    let (storage, asked, gate) = gated(&disk, "2");
    let app = Jobber::builder().storage(storage).build()?;
    let one = app.task("one", async |n: u32| n).durable().register()?;
    let two = app.task("two", async |n: u32| n).durable().register()?;
    app.start().wait_blocking()?;
    let job = one.schedule(1).id("x").delay(HOUR).wait_blocking()?;
    let mut replace = one.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    asked.recv()?;
    let mut cancel = job.cancel();
    begin(&mut cancel);
    let mut other = two.schedule(3).id("x").delay(HOUR);
    begin(&mut other);
    // Nobody waits for the replacement any more.
    drop(replace);
    gate.send(())?;
    assert!(block_on(cancel)?);
    let other = block_on(other)?;
    // One more commit, so that all before it are through.
    let _ = two.schedule(4).delay(HOUR).wait_blocking()?;
    assert_eq!(app.find_job("x").unwrap().task_name(), "two");
    assert!(disk.records().iter().any(|record| record.id == *other.id()));
    Ok(())
}

/// The end of a run was written behind the replacement that it ran into, and left
/// the new trigger with the time of the old one.
#[test]
fn a_run_that_ends_while_the_store_is_asked_about_its_replacement_does_not_spoil_it() -> Result {
    let disk = MemoryStorage::new();
    let (storage, asked, gate) = gated(&disk, "2");
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .storage(storage)
        .build()?;
    let (sleep, started) = (clock.clone(), Log::new());
    let seen = started.clone();
    let task = app
        .task("t", move |_: u32| {
            seen.add(());
            sleep.sleep(SECOND)
        })
        .durable()
        .register()?;
    app.start().wait_blocking()?;
    let start = time::macros::datetime!(2000-01-01 0:00 UTC);
    let job = task
        .schedule(1)
        .id("x")
        .start_date(start)
        .every(HOUR * 24)
        .wait_blocking()?;
    while started.entries().is_empty() {
        std::thread::yield_now();
    }
    let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    asked.recv()?;
    clock.advance(SECOND);
    // The run has ended when its sleeper is gone.
    let tick = app.task("tick", || async {}).register()?;
    for _ in 0..100 {
        tick.schedule(()).push().wait_blocking()?.wait_blocking();
    }
    gate.send(())?;
    let _ = block_on(replace)?;
    let _ = task.schedule(3).delay(HOUR).wait_blocking()?;
    while job.status() == JobStatus::Running {
        std::thread::yield_now();
    }
    let record = disk
        .records()
        .into_iter()
        .find(|record| record.id == "x")
        .unwrap();
    assert_eq!(
        (record.args.as_str(), record.progress.recurring),
        ("2", None)
    );
    assert_eq!(record.progress.due, job.exec_at());
    Ok(())
}

/// Scheduling in its place failed, and took the record with it that nobody could
/// run.
#[test]
fn a_job_that_no_task_can_run_is_kept_if_its_replacement_could_not_be_stored() -> Result {
    for fault in [Fault::Fail, Fault::Tear] {
        let disk = Disk::new();
        let sim = disk.boot();
        let log = Log::new();
        let _ = adding(&sim, &log)
            .schedule(1)
            .id("x")
            .delay(HOUR)
            .wait_blocking()?;
        sim.crash();
        let before = disk.contents.records();
        let mut sim = disk.boot();
        let other = sim
            .app()
            .task("t", async |text: String| text)
            .durable()
            .register()?;
        disk.is(fault);
        storage_error(
            other
                .schedule("a".into())
                .id("x")
                .replace()
                .delay(HOUR)
                .wait_blocking(),
        );
        disk.is(Fault::None);
        sim.advance(MINUTE);
        assert_eq!(disk.contents.records(), before);
        assert_eq!(sim.app().unresolved().len(), 1);
    }
    Ok(())
}

/// It was discarded and replaced at once, and the record of the new job was
/// discarded.
#[test]
fn a_job_that_is_about_to_be_replaced_is_not_discarded() -> Result {
    let disk = MemoryStorage::new();
    let sim = Simulation::with(0, ManualClock::new(), |app| app.storage(disk.clone()))?;
    let task = sim
        .app()
        .task("t", async |text: String| text)
        .durable()
        .register()?;
    let _ = task
        .schedule("a".into())
        .id("x")
        .delay(HOUR)
        .wait_blocking()?;
    sim.crash();
    let (storage, asked, gate) = gated(&disk, "2");
    let app = Jobber::builder()
        .clock(ManualClock::new())
        .storage(storage)
        .build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().wait_blocking()?;
    let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    asked.recv()?;
    assert!(!app.discard("x").wait_blocking()?);
    gate.send(())?;
    let _ = block_on(replace)?;
    assert_eq!(disk.records()[0].args, "2");
    Ok(())
}

/// A job that the store has no room for held up the ends of others, which make
/// room.
#[test]
fn what_the_store_can_not_take_does_not_hold_up_what_it_can() -> Result {
    let contents = MemoryStorage::new();
    let is_away = Arc::new(Mutex::new(false));
    let away = is_away.clone();
    let storage = FaultyStorage::new(contents.clone(), move |operation| {
        let is_large = |change: &Change| matches!(change, Change::Put(job) if job.args == "9");
        match operation {
            _ if *away.lock().unwrap() => Fault::Fail,
            Operation::Commit(changes) if changes.iter().any(is_large) => {
                Fault::FailWith(StorageError::Full {
                    path: "disk".into(),
                })
            }
            _ => Fault::None,
        }
    });
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let log = Log::new();
    let task = adding(&sim, &log);
    let _ = task.schedule(1).id("x").push().wait_blocking()?;
    *is_away.lock().unwrap() = true;
    sim.run_until_stalled();
    *is_away.lock().unwrap() = false;
    assert_eq!(sim.app().health().unstored, 1);
    storage_error(task.schedule(9).delay(HOUR).wait_blocking());
    assert!(contents.records().is_empty());
    assert_eq!(sim.app().health().unstored, 0);
    Ok(())
}

/// Its turn came by the monotonic clock, after the wall clock had been set back
/// before its time: it was forgotten.
#[test]
fn a_job_whose_turn_comes_before_its_time_waits_for_that() -> Result {
    let disk = Disk::new();
    let sim = disk.boot();
    let due = time::macros::datetime!(2000-01-01 1:00 UTC);
    let log = Log::new();
    let task = adding(&sim, &log);
    for n in 0..300 {
        let _ = task.schedule(n).at(due - SECOND).wait_blocking()?;
    }
    let _ = task.schedule(1_000).id("x").at(due).wait_blocking()?;
    sim.crash();
    disk.clock.advance(HOUR + SECOND);
    let mut sim = disk.boot();
    let seen = log.clone();
    let _ = sim
        .app()
        .task("t", move |n: u32| {
            seen.add(n);
            std::future::pending::<()>()
        })
        .durable()
        .register()?;
    sim.run_until_stalled();
    sim.set_wall(due - MINUTE);
    sim.advance(SECOND * 59);
    assert!(!log.entries().contains(&1_000));
    sim.advance(MINUTE);
    assert!(log.entries().contains(&1_000));
    Ok(())
}

/// Whoever cancelled a job while the store was read waited for ever when that
/// failed.
#[test]
fn a_start_that_fails_tells_whoever_waits() -> Result {
    struct BadLoad(MemoryStorage, mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Storage for BadLoad {
        fn open(&mut self) -> std::result::Result<(), StorageError> {
            Ok(())
        }
        fn load(
            &mut self,
            each: &mut dyn FnMut(jobber::storage::Loaded),
        ) -> std::result::Result<(), StorageError> {
            self.0.load(each)?;
            self.1.send(()).unwrap();
            self.2.recv().unwrap();
            Err(StorageError::other("the end can't be read"))
        }
        fn commit(&mut self, changes: &[Change]) -> std::result::Result<(), StorageError> {
            self.0.commit(changes)
        }
    }
    let disk = Disk::new();
    let sim = disk.boot();
    let log = Log::new();
    let _ = adding(&sim, &log)
        .schedule(1)
        .id("x")
        .delay(HOUR)
        .wait_blocking()?;
    sim.crash();
    let (asks, asked) = mpsc::channel();
    let (gate, open) = mpsc::channel();
    let app = Jobber::builder()
        .storage(BadLoad(disk.contents.clone(), asks, open))
        .build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    let starting = std::thread::spawn({
        let app = app.clone();
        move || app.start().wait_blocking().is_err()
    });
    asked.recv()?;
    let job = task.job("x").unwrap();
    let mut cancel = job.cancel();
    begin(&mut cancel);
    gate.send(())?;
    assert!(starting.join().unwrap());
    assert!(matches!(block_on(cancel), Err(StorageError::Closed)));
    assert!(disk.has("x"));
    Ok(())
}

#[test]
fn a_second_start_is_refused_while_the_store_is_still_read() -> Result {
    let (asks, asked) = mpsc::channel();
    let (gate, open) = mpsc::channel::<()>();
    let storage = FaultyStorage::new(MemoryStorage::new(), move |operation| {
        if let Operation::Load = operation {
            asks.send(()).unwrap();
            let _ = open.recv();
        }
        Fault::None
    });
    let app = Jobber::builder().storage(storage).build()?;
    let mut start = app.start();
    begin(&mut start);
    asked.recv()?;
    let second = block_on(poll_once(app.start()));
    assert!(matches!(second, Some(Err(StartError::AlreadyStarted))));
    drop(gate);
    block_on(start)?;
    app.shutdown(Duration::ZERO).wait_blocking();
    Ok(())
}

#[test]
fn an_app_is_not_in_good_health_while_its_store_fails_though_nothing_is_owed() -> Result {
    let disk = Disk::new();
    let sim = disk.boot();
    let task = adding(&sim, &Log::new());
    let health = || {
        let health = sim.app().health();
        (
            health.is_healthy(),
            health.storage_error.is_some(),
            health.unstored,
        )
    };
    assert_eq!(health(), (true, false, 0));
    disk.is(Fault::FailWith(StorageError::Busy {
        path: "jobs.db".into(),
        waited: SECOND,
    }));
    assert!(task.schedule(1).delay(HOUR).wait_blocking().is_err());
    assert_eq!(health(), (false, true, 0));
    disk.is(Fault::None);
    let job = task.schedule(1).delay(HOUR).wait_blocking()?;
    assert_eq!(health(), (true, false, 0));
    assert!(!job.is_done());
    Ok(())
}

#[test]
fn a_job_that_the_store_takes_during_the_shutdown_is_left_to_the_next_process() -> Result {
    let disk = MemoryStorage::new();
    let (storage, asked, gate) = gated(&disk, "1");
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().wait_blocking()?;
    let mut schedule = task.schedule(1).id("x").delay(HOUR);
    begin(&mut schedule);
    asked.recv()?;
    let mut stop = app.shutdown(Duration::MAX);
    begin(&mut stop);
    gate.send(())?;
    let job = block_on(schedule)?;
    // It is nothing to wait for.
    let (ends, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || ends.send(stop.wait_blocking()));
        let left = ended.recv_timeout(MINUTE);
        // If it does, this ends that, for the sake of the thread.
        app.shutdown(Duration::ZERO).wait_blocking();
        assert_eq!(left, Ok(Vec::new()));
    });
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(disk.records().len(), 1);
    Ok(())
}

thread_local! {
    /// What is to be done when a number is copied next.
    static WHEN_COPIED: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A number that can tell that it is copied.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Watched(u32);

impl Clone for Watched {
    fn clone(&self) -> Self {
        let then = WHEN_COPIED.take();
        then.into_iter().for_each(|then| then());
        Self(self.0)
    }
}

/// The arguments of a run are copied when no lock is held. When a replacement was torn
/// just then, the store could not be told of the job as it had been: it kept what it
/// had refused, and a crash brought that up.
#[test]
fn a_job_whose_arguments_are_being_copied_is_told_again_when_they_are_back() -> Result {
    let disk = Disk::new();
    let mut sim = disk.boot();
    let task = sim
        .app()
        .task("t", |_: Watched| std::future::pending::<()>());
    let task = task.durable().register()?;
    let schedule = |n| task.schedule(Watched(n)).id("x");
    let _ = schedule(1).delay(MINUTE).wait_blocking()?;
    let again = schedule(2).replace().every(HOUR);
    let mood = disk.mood.clone();
    WHEN_COPIED.set(Some(Box::new(move || {
        *mood.lock().unwrap() = Fault::Tear;
        storage_error(again.wait_blocking());
        *mood.lock().unwrap() = Fault::None;
    })));
    sim.advance(MINUTE);
    let record = &disk.contents.records()[0];
    assert_eq!((&*record.args, record.trigger.name()), ("1", "delay"));
    assert!(sim.app().health().is_healthy());
    Ok(())
}
