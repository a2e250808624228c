//! A store that fails: callers get the error, the scheduler goes on, and nothing is lost.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::held_app::full;
use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, begin, poll};
use crate::tasks::{logging_argument, storage_error};
use futures_lite::future::block_on;
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{
    JobStatus, Jobber, MemoryStorage, ScheduleError, StartError,
    storage::{Change, EndRecord, PauseRecord, Storage, StorageError, TakenId},
};

#[test]
fn a_job_that_could_not_be_stored_does_not_exist() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    for fault in [Fault::Fail, Fault::Tear, Fault::Panic] {
        machine.set_fault(fault);
        let error = storage_error(task.schedule(1).id("x").delay(MINUTE).block_on());
        assert!(
            error.to_string().contains("a fault that was planned"),
            "{error}"
        );
        assert!(sim.app().find_job("x").is_none());
        assert!(sim.app().jobs().is_empty());
        machine.set_fault(Fault::None);
        sim.advance(SECOND * 11);
        assert!(!machine.has("x"), "a torn commit is undone");
        assert_eq!(sim.app().health().unstored(), 0);
    }
    // The id is free.
    let _ = task.schedule(2).id("x").delay(MINUTE).block_on()?;
    assert_eq!(sim.app().health().to_string(), "healthy");
    sim.advance(HOUR);
    assert_eq!(log.take(), [2]);
    Ok(())
}

#[test]
fn a_job_that_ends_while_the_store_fails_is_done_and_removed_later() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    let job = task.schedule(1).id("x").delay(MINUTE).block_on()?;
    let other = task.schedule(2).id("y").delay(MINUTE * 2).block_on()?;
    machine.set_fault(Fault::Fail);
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Success, "its waiters return");
    let health = sim.app().health();
    assert_eq!(health.unstored(), 1);
    assert!(health.storage_error().is_some() && !health.is_healthy());
    assert!(machine.has("x"));
    sim.advance(MINUTE);
    assert_eq!(other.status(), JobStatus::Success, "the scheduler goes on");
    assert_eq!(sim.app().health().unstored(), 2);
    machine.set_fault(Fault::None);
    sim.advance(SECOND * 10);
    assert_eq!(sim.app().health().to_string(), "healthy");
    assert!(machine.records().is_empty());
    assert_eq!(log.take(), [1, 2], "no job has run twice");
    Ok(())
}

#[test]
fn a_store_that_fails_is_retried_at_growing_intervals() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    // The second outage has the same intervals as the first.
    for _ in 0..2 {
        let _ = task.schedule(1).push().block_on()?;
        machine.set_fault(Fault::Fail);
        machine.commits.take();
        sim.run_until_stalled();
        let mut asked = Vec::new();
        for tenth in 0..600 {
            asked.extend(machine.commits.take().iter().map(|_| tenth));
            sim.advance(SECOND / 10);
        }
        // In tenths of a second: 0.1, 0.2, 0.4 … and 10 s at most.
        assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 127, 227, 327, 427, 527]);
        machine.set_fault(Fault::None);
        sim.advance(SECOND * 10);
    }
    Ok(())
}

#[test]
fn more_changes_do_not_make_the_retries_of_a_store_more_frequent() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let submit = logging_argument(&sim, &Log::new())
        .schedule(1)
        .generated_id()
        .every(SECOND);
    let _ = submit.block_on()?;
    machine.set_fault(Fault::Fail);
    machine.commits.take();
    sim.advance(MINUTE * 10);
    let asked = machine.commits.take().len();
    assert!((60..70).contains(&asked), "{asked} times for 600 runs");
    Ok(())
}

#[test]
fn a_new_job_is_stored_at_once_although_other_changes_wait_for_a_retry() -> Result {
    let contents = MemoryStorage::new();
    let queued = Log::new();
    // While the store fails for the second time, a job is cancelled and another one
    // is scheduled; then the store works.
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
    let task = logging_argument(&sim, &Log::new());
    let _ = task.schedule(1).id("x").push().block_on()?;
    let job = task.schedule(2).id("y").delay(HOUR).block_on()?;
    // Three commits fail: of the end, of the end with the new job, and of the end alone.
    *fails.lock().unwrap() = 3;
    sim.run_until_stalled();
    let (again, submits) = (task.clone(), queued.clone());
    *then.lock().unwrap() = Some(Box::new(move || {
        assert!(poll(job.cancel()).is_none());
        let mut submit = again.schedule(3).id("z").delay(HOUR);
        begin(&mut submit);
        submits.add(Arc::new(Mutex::new(Some(submit))));
    }));
    storage_error(task.schedule(4).delay(HOUR).block_on());
    let submit = queued.take().remove(0).lock().unwrap().take().unwrap();
    let _ = block_on(submit)?;
    let ids: Vec<_> = contents
        .records()
        .into_iter()
        .map(|r| r.id().clone())
        .collect();
    assert_eq!(ids, ["z"]);
    Ok(())
}

#[test]
fn a_refused_job_causes_no_retry() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = logging_argument(&sim, &Log::new());
    machine.set_fault(full());
    storage_error(task.schedule(1).delay(HOUR).block_on());
    machine.commits.take();
    sim.advance(HOUR);
    assert!(machine.commits.take().is_empty());
    Ok(())
}

/// Commits a job that is too large together with others. Returns whether each of `ids`,
/// which are scheduled after `y` has been cancelled, was stored, and the ids that the store
/// has in the end.
fn commit_with_a_job_that_is_too_large(
    ids: &[(&'static str, u32)],
) -> Result<(Vec<bool>, Vec<String>)> {
    type Submits = Vec<jobber::Submit<u32, ()>>;
    let contents = MemoryStorage::new();
    let hook = Arc::new(Mutex::new(None::<Box<dyn FnOnce() + Send>>));
    let then = hook.clone();
    let storage = FaultyStorage::new(contents.clone(), move |operation| {
        let Operation::Commit(changes) = operation else {
            return Fault::None;
        };
        let then = then.lock().unwrap().take();
        then.into_iter().for_each(|then| then());
        let is_large = |change: &Change| matches!(change, Change::Put(job) if job.args() == b"9");
        if changes.iter().any(is_large) {
            let detail = "9".into();
            Fault::FailWith(StorageError::TooLarge { detail })
        } else {
            Fault::None
        }
    });
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let task = logging_argument(&sim, &Log::new());
    let job = task.schedule(1).id("y").delay(HOUR).block_on()?;
    let submits = Arc::new(Mutex::new(Submits::new()));
    let (again, all, ids) = (task.clone(), submits.clone(), ids.to_vec());
    // Called while another job is being stored.
    *hook.lock().unwrap() = Some(Box::new(move || {
        assert!(poll(job.cancel()).is_none());
        for (id, n) in ids {
            let mut submit = again.schedule(n).id(id).delay(HOUR * 2);
            begin(&mut submit);
            all.lock().unwrap().push(submit);
        }
    }));
    let first = task.schedule(0).id("first").delay(HOUR).block_on()?;
    let submits = std::mem::take(&mut *submits.lock().unwrap());
    let answers = submits.into_iter().map(|submit| block_on(submit).is_ok());
    let answers = answers.collect();
    assert_eq!(sim.app().health().to_string(), "healthy");
    sim.advance(MINUTE);
    assert_eq!(sim.app().health().to_string(), "healthy");
    assert!(first.cancel().block_on()?.took_effect());
    let records = contents.records().into_iter();
    let mut ids: Vec<_> = records.map(|record| record.id().to_string()).collect();
    ids.sort();
    Ok((answers, ids))
}

#[test]
fn jobs_committed_with_a_job_that_is_too_large_are_committed_without_it() -> Result {
    let jobs = [("a", 2), ("b", 9), ("c", 3)];
    let (answers, ids) = commit_with_a_job_that_is_too_large(&jobs)?;
    assert_eq!(answers, [true, false, true]);
    assert_eq!(ids, ["a", "c"]);
    Ok(())
}

/// Regression: while the row of one job was too large, the cancels of all others returned
/// its error.
#[test]
fn a_row_that_is_too_large_does_not_keep_others_from_the_store() -> Result {
    let contents = MemoryStorage::new();
    let is_large = Arc::new(Mutex::new(true));
    let large = is_large.clone();
    let commits = Log::new();
    let log = commits.clone();
    let storage = FaultyStorage::new(contents.clone(), move |operation| {
        let Operation::Commit(changes) = operation else {
            return Fault::None;
        };
        log.add(changes.len());
        let is_large =
            |change: &Change| matches!(change, Change::Advance { id, .. } if *id == "large");
        if *large.lock().unwrap() && changes.iter().any(is_large) {
            let detail = "large".into();
            Fault::FailWith(StorageError::TooLarge { detail })
        } else {
            Fault::None
        }
    });
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let task = logging_argument(&sim, &Log::new());
    let large = task.schedule(1).id("large").every(HOUR).block_on()?;
    let mut others = Vec::new();
    for n in 0..10 {
        others.push(task.schedule(n).delay(HOUR * 2).block_on()?);
    }
    sim.advance(HOUR);
    assert!(large.last_run().is_some());
    assert_eq!(sim.app().health().unstored(), 1);
    commits.take();
    for other in others {
        assert!(other.cancel().block_on()?.took_effect());
    }
    assert_eq!(
        commits.take(),
        [1; 10],
        "the row that is too large is not tried each time"
    );
    assert_eq!(contents.records().len(), 1);
    let health = sim.app().health();
    assert!(
        health.storage_error().is_none() && health.unstored() == 1,
        "{health:?}"
    );
    *is_large.lock().unwrap() = false;
    sim.advance(SECOND * 10);
    assert_eq!(sim.app().health().to_string(), "healthy");
    Ok(())
}

/// Regression: each of them was committed alone from then on.
#[test]
fn rows_that_a_full_store_has_refused_are_stored_together_when_there_is_room() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = logging_argument(&sim, &Log::new());
    for n in 0..100 {
        let _ = task.schedule(n).generated_id().every(HOUR).block_on()?;
    }
    machine.set_fault(full());
    sim.advance(HOUR);
    assert_eq!(sim.app().health().unstored(), 100);
    machine.set_fault(Fault::None);
    machine.commits.take();
    sim.advance(SECOND * 10);
    assert_eq!(sim.app().health().to_string(), "healthy");
    assert_eq!(machine.commits.take(), [100]);
    Ok(())
}

#[test]
fn a_new_job_takes_the_row_of_a_job_of_its_id_whose_cancel_is_not_stored_yet() -> Result {
    let jobs = [("y", 2), ("b", 9)];
    let (answers, ids) = commit_with_a_job_that_is_too_large(&jobs)?;
    assert_eq!(answers, [true, false]);
    assert_eq!(ids, ["y"]);
    Ok(())
}

#[test]
fn each_cancel_returns_an_error_while_the_store_fails() -> Result {
    let (mood, contents) = (Arc::new(Mutex::new(Fault::None)), MemoryStorage::new());
    let now = mood.clone();
    let storage = FaultyStorage::new(contents, move |_| now.lock().unwrap().clone());
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().block_on()?;
    let jobs: Vec<_> = (0..8)
        .map(|n| task.schedule(n).delay(HOUR).block_on())
        .collect::<Result<_, _>>()?;
    *mood.lock().unwrap() = Fault::Fail;
    let (tells, told) = mpsc::channel();
    std::thread::spawn(move || {
        for job in jobs {
            let _ = tells.send(job.cancel().block_on().is_err());
        }
    });
    for _ in 0..8 {
        assert!(told.recv_timeout(MINUTE)?);
    }
    Ok(())
}

#[test]
fn a_panic_in_the_drop_of_the_store_is_caught() -> Result {
    struct Panics(MemoryStorage);
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("the store was dropped");
        }
    }
    impl Storage for Panics {
        fn open(&mut self) -> Result<(), StorageError> {
            self.0.open()
        }
        fn load(
            &mut self,
            each: &mut dyn FnMut(jobber::storage::Loaded),
        ) -> Result<(), StorageError> {
            self.0.load(each)
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
        fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
            self.0.commit(changes)
        }
    }
    let machine = Machine::new();
    let boot = || {
        let storage = Panics(machine.disk.clone());
        Simulation::with(0, machine.clock.clone(), |app| app.storage(storage))
    };
    let mut sim = boot()?;
    let schedule = logging_argument(&sim, &Log::new()).schedule(1).id("x");
    let _ = schedule.delay(HOUR).block_on()?;
    assert!(sim.shutdown(SECOND).is_complete());
    let sim = boot()?;
    assert!(logging_argument(&sim, &Log::new()).job("x").is_some());
    sim.crash();
    Ok(())
}

#[test]
fn the_memory_of_an_outage_is_bounded_by_the_number_of_jobs() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    for n in 0..10 {
        let _ = task.schedule(n).generated_id().every(SECOND).block_on()?;
    }
    machine.set_fault(Fault::Fail);
    sim.advance(HOUR);
    assert_eq!(log.take().len(), 36_000);
    let unstored = sim.app().health().unstored();
    assert!((10..=200).contains(&unstored), "{unstored}");
    machine.set_fault(Fault::None);
    sim.advance(MINUTE);
    assert_eq!(sim.app().health().to_string(), "healthy");
    // The store has the last state of each job.
    let runs = machine
        .records()
        .into_iter()
        .map(|r| r.progress.recurring.unwrap().runs);
    assert!(runs.eq([3_660; 10]));
    Ok(())
}

#[test]
fn a_new_job_stores_the_waiting_changes_with_it() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    let _ = task.schedule(1).id("x").push().block_on()?;
    machine.set_fault(Fault::Fail);
    sim.advance(HOUR);
    machine.set_fault(Fault::None);
    let _ = task.schedule(2).id("y").delay(HOUR).block_on()?;
    assert_eq!(
        sim.app().health().to_string(),
        "healthy",
        "it does not wait for the next retry"
    );
    assert!(!machine.has("x") && machine.has("y"));
    Ok(())
}

#[test]
fn the_late_removal_of_a_job_does_not_remove_the_next_job_of_its_id() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    let _ = task.schedule(1).id("x").push().block_on()?;
    machine.set_fault(Fault::Fail);
    sim.run_until_stalled();
    assert_eq!(sim.app().health().unstored(), 1);
    // The end of the first job is not stored yet: the second is refused, and the third is
    // stored.
    storage_error(task.schedule(2).id("x").delay(HOUR).block_on());
    machine.set_fault(Fault::None);
    let _ = task.schedule(3).id("x").delay(HOUR).block_on()?;
    sim.advance(MINUTE);
    assert!(machine.has("x"));
    sim.advance(HOUR);
    assert_eq!(log.take(), [1, 3]);
    Ok(())
}

#[test]
fn a_job_whose_cancel_could_not_be_stored_is_cancelled_and_removed_later() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = logging_argument(&sim, &log).schedule(1).id("x");
    let job = schedule.delay(MINUTE).block_on()?;
    machine.set_fault(Fault::Fail);
    assert!(job.cancel().block_on().is_err());
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(machine.has("x"));
    machine.set_fault(Fault::None);
    sim.advance(HOUR);
    assert!(!machine.has("x"));
    assert!(log.take().is_empty());
    Ok(())
}

/// Regression: a job that the store had no room for blocked the removal of ended jobs,
/// which makes room.
#[test]
fn a_job_that_the_store_has_no_room_for_does_not_block_removals() -> Result {
    let contents = MemoryStorage::new();
    let is_away = Arc::new(Mutex::new(false));
    let away = is_away.clone();
    let storage = FaultyStorage::new(contents.clone(), move |operation| {
        let is_large = |change: &Change| matches!(change, Change::Put(job) if job.args() == b"9");
        match operation {
            _ if *away.lock().unwrap() => Fault::Fail,
            Operation::Commit(changes) if changes.iter().any(is_large) => full(),
            _ => Fault::None,
        }
    });
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    let _ = task.schedule(1).id("x").push().block_on()?;
    *is_away.lock().unwrap() = true;
    sim.run_until_stalled();
    *is_away.lock().unwrap() = false;
    assert_eq!(sim.app().health().unstored(), 1);
    storage_error(task.schedule(9).delay(HOUR).block_on());
    assert!(contents.records().is_empty());
    assert_eq!(sim.app().health().unstored(), 0);
    Ok(())
}

#[test]
fn a_store_that_cannot_be_opened_or_read_fails_the_start() -> Result {
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
            let error = app.start().block_on().unwrap_err();
            assert!(matches!(error, StartError::Storage(_)), "{error}");
            let error = task.schedule(1).push().block_on().unwrap_err();
            assert!(matches!(error, ScheduleError::NotStarted));
            // The next start succeeds.
            app.start().block_on()?;
            let job = task.schedule(1).push().block_on()?;
            assert_eq!(job.wait_blocking(), JobStatus::Success);
        }
    }
    Ok(())
}

/// Regression: a job was cancelled while the store was read; when the read failed, the
/// cancel waited for ever.
#[test]
fn a_cancel_during_a_start_that_fails_returns_an_error() -> Result {
    struct BadLoad(MemoryStorage, mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Storage for BadLoad {
        fn open(&mut self) -> Result<(), StorageError> {
            Ok(())
        }
        fn load(
            &mut self,
            each: &mut dyn FnMut(jobber::storage::Loaded),
        ) -> Result<(), StorageError> {
            self.0.load(each)?;
            self.1.send(()).unwrap();
            self.2.recv().unwrap();
            Err(StorageError::other("the end is unreadable"))
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
        fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
            self.0.commit(changes)
        }
    }
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let schedule = logging_argument(&sim, &log).schedule(1).id("x");
    let _ = schedule.delay(HOUR).block_on()?;
    sim.crash();
    let (asks, asked) = mpsc::channel();
    let (gate, open) = mpsc::channel();
    let app = Jobber::builder()
        .storage(BadLoad(machine.disk.clone(), asks, open))
        .build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    let starting = std::thread::spawn({
        let app = app.clone();
        move || app.start().block_on().is_err()
    });
    asked.recv()?;
    let job = task.job("x").unwrap();
    let mut cancel = job.cancel();
    begin(&mut cancel);
    gate.send(())?;
    assert!(starting.join().unwrap());
    assert!(matches!(block_on(cancel), Err(StorageError::Closed)));
    assert!(machine.has("x"));
    Ok(())
}

#[test]
fn a_second_start_is_refused_while_the_store_is_read() -> Result {
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
    let second = poll(app.start());
    assert!(matches!(second, Some(Err(StartError::AlreadyStarted))));
    drop(gate);
    block_on(start)?;
    app.shutdown(Duration::ZERO).block_on();
    Ok(())
}

#[test]
fn the_health_of_an_app_shows_a_failing_store_although_nothing_waits() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging_argument(&sim, &Log::new());
    let health = || {
        let health = sim.app().health();
        (
            health.is_healthy(),
            health.storage_error().is_some(),
            health.unstored(),
        )
    };
    assert_eq!(health(), (true, false, 0));
    machine.set_fault(Fault::FailWith(StorageError::Busy {
        path: Some("jobs.db".into()),
        waited: SECOND,
    }));
    assert!(task.schedule(1).delay(HOUR).block_on().is_err());
    assert_eq!(health(), (false, true, 0));
    machine.set_fault(Fault::None);
    let job = task.schedule(1).delay(HOUR).block_on()?;
    assert_eq!(health(), (true, false, 0));
    assert!(!job.is_done());
    Ok(())
}

/// On real threads.
#[test]
fn schedule_cancel_and_wait_return_although_the_store_fails_at_random() -> Result {
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
    while app.start().block_on().is_err() {}
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let task = task.clone();
            std::thread::spawn(move || {
                for n in 0..100 {
                    let schedule = task.schedule(n).id(format!("{thread}-{n}"));
                    let Ok(job) = schedule.delay(Duration::from_micros(50)).block_on() else {
                        continue;
                    };
                    if n % 3 == 0 {
                        let _ = job.cancel().block_on();
                    }
                    assert!(job.wait_blocking().is_final());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    app.wait_all().block_on();
    drop(app);
    Ok(())
}

/// Regression: health was good again 50 ms later, because a removal of nothing had succeeded.
#[test]
fn only_a_change_that_was_written_ends_a_failure() -> Result {
    let refuses_rows = |operation: &Operation<'_>| match operation {
        Operation::Commit(changes) if changes.iter().any(|c| matches!(c, Change::Put(_))) => {
            Fault::Fail
        }
        _ => Fault::None,
    };
    let storage = FaultyStorage::new(MemoryStorage::new(), refuses_rows);
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let task = logging_argument(&sim, &Log::new());
    storage_error(task.schedule(1).id("x").delay(HOUR).block_on());
    assert!(sim.app().health().storage_error().is_some());
    sim.advance(HOUR);
    assert!(sim.app().health().storage_error().is_some());
    Ok(())
}
