//! Attempts to refute issue 18. Each test fails where it found a fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{
    DAY, HOUR, HeldStore, Log, MINUTE, Machine, Result, begin, hand_polled_app_with, poll,
    wait_until,
};
use futures_lite::future::block_on;
use jobber::storage::{Change, EndRecord, Loaded, Storage, StorageError};
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{Jobber, MemoryStorage, Task};

fn failing(sim: &Simulation, log: &Log<String>) -> Task<String, ()> {
    let log = log.clone();
    let task = sim.app().task("t", move |text: String| {
        log.add(text.clone());
        std::future::ready(match text.as_str() {
            "bad" => Err(std::io::Error::other("no")),
            _ => Ok(()),
        })
    });
    task.durable().register().unwrap()
}

/// R1: the entry is gone, and its handle schedules the job all the same: it runs twice.
#[test]
fn a_second_retry_of_an_entry_that_is_gone_schedules_nothing() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = failing(&sim, &log);
    let _ = task.schedule("bad".into()).id("x").push().block_on()?;
    sim.run_until_stalled();
    log.take();
    let kept = sim.app().failed().block_on()?.remove(0);
    let _ = kept.retry().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 1);
    // It has failed again: that is another run, but let it be removed.
    for end in sim.app().failed().block_on()? {
        end.discard().block_on()?;
    }
    assert!(sim.app().failed().block_on()?.is_empty());
    // A second click, or a second operator with the same list.
    let again = kept.retry().block_on();
    sim.run_until_stalled();
    assert!(again.is_err(), "there is no entry to retry");
    assert!(log.take().is_empty(), "the job ran again");
    Ok(())
}

/// R1b: the same with a discarded entry.
#[test]
fn a_retry_of_a_discarded_entry_schedules_nothing() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = failing(&sim, &log);
    let _ = task.schedule("bad".into()).id("x").push().block_on()?;
    sim.run_until_stalled();
    log.take();
    let kept = sim.app().failed().block_on()?.remove(0);
    kept.discard().block_on()?;
    let again = kept.retry().block_on();
    sim.run_until_stalled();
    assert!(
        again.is_err() && log.take().is_empty(),
        "a discarded job ran"
    );
    Ok(())
}

/// R2: a torn commit of a retry loses the entry and the job.
#[test]
fn an_entry_survives_a_retry_whose_commit_was_torn() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new());
    let _ = task.schedule("bad".into()).id("x").push().block_on()?;
    sim.run_until_stalled();
    let kept = sim.app().failed().block_on()?.remove(0);
    machine.set_fault(Fault::Tear);
    let error = kept.retry().block_on();
    assert!(error.is_err());
    machine.set_fault(Fault::None);
    sim.advance(MINUTE);
    let live = sim.app().jobs().len() + machine.records().len();
    let kept = sim.app().failed().block_on()?.len();
    assert!(kept + live > 0, "neither an entry nor a job is left");
    Ok(())
}

/// R3: a store that panics while it lists the ends leaves the caller waiting for ever.
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

/// What the end of a failed job takes in a [`Small`] store.
const END: usize = 500;

/// A store with room for this many bytes.
struct Small {
    inner: MemoryStorage,
    room: usize,
}

impl Small {
    fn used(&self) -> usize {
        let records = self.inner.records();
        let records = records.iter().map(|job| 100 + job.args().len());
        records.sum::<usize>() + self.inner.ends().len() * END
    }
}

impl Storage for Small {
    fn open(&mut self) -> Result<(), StorageError> {
        self.inner.open()
    }
    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        self.inner.load(each)
    }
    fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        self.inner.load_ends(each)
    }
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let grows = |change: &Change| match change {
            Change::Put(job) => 100 + job.args().len(),
            Change::KeepEnd(_) => END,
            _ => 0,
        };
        let shrinks = |change: &Change| match change {
            Change::Remove(id) => {
                let records = self.inner.records();
                let gone = records.iter().find(|job| job.id() == id);
                gone.map_or(0, |job| 100 + job.args().len())
            }
            Change::TrimEnds(trim) => {
                (self.inner.ends().len().saturating_sub(trim.most as usize)) * END
            }
            _ => 0,
        };
        let after = self.used() + changes.iter().map(grows).sum::<usize>();
        let after = after.saturating_sub(changes.iter().map(shrinks).sum());
        if after > self.room && after > self.used() {
            return Err(StorageError::Full {
                path: "small".into(),
            });
        }
        self.inner.commit(changes)
    }
}

/// R4: a push that can never fit deletes every kept failure, and is refused all the same.
#[test]
fn a_job_that_never_fits_deletes_no_kept_failures() -> Result {
    let disk = MemoryStorage::new();
    let storage = Small {
        inner: disk.clone(),
        room: 10_000,
    };
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
    let task = failing(&sim, &Log::new());
    for n in 0..10 {
        let _ = task
            .schedule("bad".into())
            .id(format!("x{n}"))
            .push()
            .block_on()?;
    }
    sim.run_until_stalled();
    assert_eq!(disk.ends().len(), 10);
    let error = task.schedule("y".repeat(100_000)).delay(HOUR).block_on();
    assert!(error.is_err());
    assert_eq!(disk.ends().len(), 10, "they made room for nothing");
    Ok(())
}

/// R6: requests whose callers went away are kept and carried out.
#[test]
fn a_list_of_failed_jobs_that_nobody_waits_for_any_more_is_not_made() -> Result {
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let listed = Arc::new(AtomicUsize::new(0));
    let count = listed.clone();
    let storage = FaultyStorage::new(storage, move |operation| {
        if let Operation::LoadEnds = operation {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Fault::None
    });
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async || {}).durable().register()?;
    app.start().block_on()?;
    store.hold();
    let mut first = task.schedule(()).delay(DAY);
    begin(&mut first);
    store.requested()?;
    for _ in 0..1_000 {
        begin(&mut app.failed());
    }
    store.release();
    app.failed().block_on()?;
    assert_eq!(
        listed.load(Ordering::SeqCst),
        1,
        "nobody waits for the others"
    );
    Ok(())
}

/// A store whose commits wait as long as it is held.
#[derive(Clone, Default)]
struct Gate {
    is_held: Arc<AtomicBool>,
    has_entered: Arc<AtomicBool>,
}

impl Gate {
    fn on(&self, storage: Small) -> FaultyStorage<Small> {
        let gate = self.clone();
        FaultyStorage::new(storage, move |operation| {
            if let Operation::Commit(_) = operation {
                while gate.is_held.load(Ordering::SeqCst) {
                    gate.has_entered.store(true, Ordering::SeqCst);
                    std::thread::yield_now();
                }
            }
            Fault::None
        })
    }

    fn hold(&self) {
        self.is_held.store(true, Ordering::SeqCst);
    }

    fn release(&self) {
        self.is_held.store(false, Ordering::SeqCst);
    }

    fn wait_for_commit(&self) {
        wait_until(|| self.has_entered.load(Ordering::SeqCst));
    }
}

/// R5: the entry of a job is given up although there is room, because another submission of
/// the same commit is too large.
#[test]
fn the_entry_of_a_failed_job_survives_a_large_push_in_the_same_commit() -> Result {
    for has_large in [false, true] {
        let (disk, gate) = (MemoryStorage::new(), Gate::default());
        let storage = gate.on(Small {
            inner: disk.clone(),
            room: 10_000,
        });
        let (app, _clock, spawned) = hand_polled_app_with(|app| app.storage(storage))?;
        let task = app
            .task("t", async |_: String| Err::<(), _>("no"))
            .durable()
            .register()?;
        let job = task.schedule("bad".into()).id("x").push().block_on()?;
        let attempt = spawned.recv()?;
        gate.hold();
        let mut first = task.schedule("first".into()).delay(HOUR);
        begin(&mut first);
        gate.wait_for_commit();
        let mut large = task.schedule("y".repeat(100_000)).delay(HOUR);
        if has_large {
            begin(&mut large);
        }
        block_on(attempt);
        gate.release();
        block_on(first)?;
        if has_large {
            assert!(block_on(large).is_err());
        }
        job.wait_blocking();
        assert_eq!(app.failed().block_on()?.len(), 1, "{has_large}");
    }
    Ok(())
}

/// R7: a cancel in a full store is refused because a failed job ends in the same commit.
#[test]
fn a_cancel_in_a_full_store_succeeds_beside_the_end_of_a_failed_job() -> Result {
    for has_end in [false, true] {
        let (disk, gate) = (MemoryStorage::new(), Gate::default());
        // There is room for the rows, and for no end.
        let storage = gate.on(Small {
            inner: disk.clone(),
            room: 400,
        });
        let (app, _clock, spawned) = hand_polled_app_with(|app| app.storage(storage))?;
        let task = app
            .task("t", async |_: u8| Err::<(), _>("no"))
            .durable()
            .register()?;
        let _ = task.schedule(0).id("bad").push().block_on()?;
        let attempt = spawned.recv()?;
        let keep = task.schedule(1).id("keep").delay(HOUR).block_on()?;
        let other = task.schedule(2).id("other").delay(HOUR).block_on()?;
        gate.hold();
        let mut first = keep.cancel();
        begin(&mut first);
        gate.wait_for_commit();
        let mut second = other.cancel();
        begin(&mut second);
        if has_end {
            block_on(attempt);
        }
        gate.release();
        block_on(first)?;
        let second = block_on(second);
        assert!(second.is_ok(), "{has_end}: {second:?}");
    }
    Ok(())
}

/// R8: two processes own one file, because one was forked from the other after a look at it.
#[cfg(all(feature = "sqlite", target_os = "linux"))]
#[test]
fn a_process_that_was_forked_after_a_look_at_the_file_is_refused_as_any_other() -> Result {
    use crate::owner::start;
    use crate::support::{WATCHDOG, child, run_within};
    use jobber::{SqliteStorage, StartError};
    use std::path::{Path, PathBuf};
    const PATH: &str = "JOBBER_REFUTED_FORK";
    let is_there = |path: &Path| std::fs::metadata(path).is_ok();
    if let Some(path) = std::env::var_os(PATH).map(PathBuf::from) {
        let (started, done) = (path.with_extension("started"), path.with_extension("done"));
        SqliteStorage::inspect(&path, |_| {})?;
        let forked = std::fs::remove_file("/jobber/fork-apart").unwrap_err();
        if forked.raw_os_error() == Some(10) {
            let app = start(SqliteStorage::new(&path));
            std::fs::write(&started, format!("{}", app.is_ok()))?;
            wait_until(|| is_there(&done));
            std::process::exit(0);
        }
        wait_until(|| std::fs::read_to_string(&started).is_ok_and(|text| text == "true"));
        let second = start(SqliteStorage::new(&path));
        std::fs::write(&done, "")?;
        let error = second.err().ok_or("both processes own the file")?;
        let error = error.downcast::<StartError>()?;
        assert!(
            matches!(*error, StartError::Storage(StorageError::InUse { .. })),
            "{error}"
        );
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let (app, _) = start(SqliteStorage::new(&path))?;
    drop(app);
    let shim = dir.path().join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/refuted/shim.c");
    let mut cc = std::process::Command::new("cc");
    cc.args(["-O1", "-shared", "-fPIC", "-o"]);
    assert!(cc.args([&shim, &source]).arg("-ldl").status()?.success());
    let name =
        "refuted::a_process_that_was_forked_after_a_look_at_the_file_is_refused_as_any_other";
    let mut program = child(name)?;
    let (status, stderr) = run_within(WATCHDOG, program.env("LD_PRELOAD", shim).env(PATH, path))?;
    assert!(status.success(), "{status}: {stderr}");
    Ok(())
}

/// R9: one row of the table `ends` that can't be read hides all others.
#[cfg(all(feature = "sqlite", unix))]
#[test]
fn a_row_of_the_ends_that_cannot_be_read_hides_no_other() -> Result {
    use jobber::SqliteStorage;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let start = || -> Result<_> {
        let app = Jobber::builder()
            .storage(SqliteStorage::new(&path))
            .build()?;
        let task = app
            .task("t", async || Err::<(), _>("no"))
            .durable()
            .register()?;
        app.start().block_on()?;
        Ok((app, task))
    };
    let (app, task) = start()?;
    for id in ["a", "b", "c"] {
        task.schedule(()).id(id).push().block_on()?.wait_blocking();
    }
    assert_eq!(app.failed().block_on()?.len(), 3);
    drop((app, task));
    let sql = rusqlite::Connection::open(&path)?;
    sql.execute("UPDATE ends SET status = 'BROKEN' WHERE id = 'b'", [])?;
    sql.close().map_err(|(_, error)| error)?;
    let (app, _task) = start()?;
    let listed = app.failed().block_on();
    assert!(
        listed.as_ref().is_ok_and(|listed| listed.len() >= 2),
        "{listed:?}"
    );
    Ok(())
}

/// R10: each file that was looked at costs a descriptor for ever.
#[cfg(all(feature = "sqlite", target_os = "linux"))]
#[test]
fn a_look_at_many_files_keeps_no_descriptors() -> Result {
    use jobber::SqliteStorage;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    drop(crate::owner::start(SqliteStorage::new(&path))?);
    let open = || std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    let before = open()?;
    for n in 0..50 {
        let copy = dir.path().join(format!("copy-{n}.db"));
        SqliteStorage::backup(&path, &copy)?;
        SqliteStorage::inspect(&copy, |_| {})?;
    }
    assert!(open()? < before + 10, "{} and before {before}", open()?);
    Ok(())
}

/// R11: a recurring job that is scheduled again after the wall clock was set back never runs.
#[test]
fn a_recurring_job_is_retried_after_the_wall_clock_was_set_back() -> Result {
    for set_back in [false, true] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let log = Log::new();
        let task = failing(&sim, &log);
        let schedule = task.schedule("bad".into()).id("x").max_failures(2);
        let _ = schedule.cron("0 * * * *").block_on()?;
        sim.advance(HOUR * 2 + MINUTE);
        assert_eq!(log.take().len(), 2);
        if set_back {
            sim.set_wall(crate::support::START + HOUR + MINUTE);
        }
        let again = sim.app().failed().block_on()?[0].retry().block_on()?;
        sim.advance(DAY);
        assert_eq!(log.take().len(), 2, "{set_back}: {:?}", again.status());
        assert!(again.is_done());
    }
    Ok(())
}

/// R12: a retry does not wait for a place, as each other submission does.
#[test]
fn a_retry_waits_for_a_place_among_those_that_wait_for_the_store() -> Result {
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let app = Jobber::builder().storage(storage).build()?;
    let bad = app
        .task("bad", async || Err::<(), _>("no"))
        .durable()
        .register()?;
    let task = app.task("t", async || {}).durable().register()?;
    app.start().block_on()?;
    bad.schedule(()).id("x").push().block_on()?.wait_blocking();
    let kept = app.failed().block_on()?.remove(0);
    store.hold();
    let mut waiting: Vec<_> = (0..16_384).map(|_| task.schedule(()).delay(HOUR)).collect();
    waiting.iter_mut().for_each(begin);
    let mut push = task.schedule(()).delay(HOUR);
    begin(&mut push);
    let answer = poll(kept.retry()).map(|answer| answer.map(drop));
    assert!(answer.is_none(), "{answer:?}");
    store.release();
    Ok(())
}

/// R13: callers of `cancel` that go away are kept while the store does not answer.
#[test]
fn an_entry_is_retried_twice_at_once_and_one_of_them_is_refused() -> Result {
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let app = Jobber::builder().storage(storage).build()?;
    let bad = app
        .task("bad", async || Err::<(), _>("no"))
        .durable()
        .register()?;
    app.start().block_on()?;
    bad.schedule(()).id("x").push().block_on()?.wait_blocking();
    let kept = app.failed().block_on()?.remove(0);
    store.hold();
    let mut first = kept.retry();
    begin(&mut first);
    assert!(poll(kept.retry()).is_some_and(|second| second.is_err()));
    // It goes away before the commit, or after it has begun.
    drop(first);
    store.release();
    drop(bad);
    let _ = app.failed().block_on()?;
    app.wait_all().block_on();
    assert_eq!(app.failed().block_on()?.len(), 1);
    Ok(())
}

/// R14: a series that ends as failed because its retry comes too late leaves no entry.
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
    sim.advance(HOUR + crate::support::SECOND);
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

/// R15: a series of which no time is left ends as its last run did, and leaves no entry.
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

/// R16: a failed job of a tampered file prints its control characters.
#[cfg(all(feature = "sqlite", unix))]
#[test]
fn a_failed_job_is_displayed_without_control_characters() -> Result {
    use jobber::SqliteStorage;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let start = || -> Result<_> {
        let app = Jobber::builder()
            .storage(SqliteStorage::new(&path))
            .build()?;
        let task = app
            .task("t", async || Err::<(), _>("no"))
            .durable()
            .register()?;
        app.start().block_on()?;
        Ok((app, task))
    };
    let (app, task) = start()?;
    task.schedule(()).id("a").push().block_on()?.wait_blocking();
    drop((app, task));
    let sql = rusqlite::Connection::open(&path)?;
    let tamper = "UPDATE ends SET task = 'a' || char(27) || '[31m', error = char(7), id = char(27)";
    sql.execute(tamper, [])?;
    sql.close().map_err(|(_, error)| error)?;
    let (app, _task) = start()?;
    for kept in app.failed().block_on()? {
        assert!(!kept.to_string().contains(char::is_control), "{kept}");
        assert!(!format!("{kept:?}").contains(char::is_control), "{kept:?}");
    }
    Ok(())
}

/// R18: in a forked process, a submission that finds no place waits for ever.
#[cfg(target_os = "linux")]
#[test]
fn a_durable_push_after_a_fork_returns_an_error_if_no_place_is_free() -> Result {
    use crate::support::{WATCHDOG, child, run_within};
    use std::path::Path;
    const FORKS: &str = "JOBBER_REFUTED_NO_ROOM";
    if std::env::var_os(FORKS).is_some() {
        let (store, storage) = HeldStore::new(MemoryStorage::new());
        let app = Jobber::builder().storage(storage).build()?;
        let task = app.task("t", async || {}).durable().register()?;
        app.start().block_on()?;
        store.hold();
        let mut first = task.schedule(()).delay(HOUR);
        begin(&mut first);
        store.requested()?;
        let mut waiting: Vec<_> = (1..16_384).map(|_| task.schedule(()).delay(HOUR)).collect();
        waiting.iter_mut().for_each(begin);
        let forked = std::fs::remove_file("/jobber/fork");
        if matches!(&forked, Err(error) if error.raw_os_error() == Some(10)) {
            let push = task.schedule(()).delay(HOUR).block_on();
            let is_forked = matches!(push, Err(jobber::ScheduleError::Forked));
            std::process::exit(i32::from(!is_forked));
        }
        store.release();
        forked?;
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let shim = dir.path().join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/fork/shim.c");
    let mut cc = std::process::Command::new("cc");
    cc.args(["-O1", "-shared", "-fPIC", "-o"]);
    assert!(cc.args([&shim, &source]).arg("-ldl").status()?.success());
    let name = "refuted::a_durable_push_after_a_fork_returns_an_error_if_no_place_is_free";
    let mut program = child(name)?;
    let (status, stderr) = run_within(WATCHDOG, program.env("LD_PRELOAD", shim).env(FORKS, "1"))?;
    assert!(status.success(), "{status}: {stderr}");
    Ok(())
}

/// R20: "After `cancel` has returned `Ok`, no other attempt of the job starts" (README).
#[test]
fn no_attempt_starts_after_cancel_has_returned_ok() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let job = failing(&sim, &log)
        .schedule("good".into())
        .id("x")
        .push()
        .block_on()?;
    machine.set_fault(Fault::Fail);
    sim.run_until_stalled();
    assert_eq!(job.status(), jobber::JobStatus::Success);
    let cancelled = job.cancel().block_on();
    assert_eq!(log.take().len(), 1);
    sim.crash();
    machine.set_fault(Fault::None);
    let mut sim = machine.boot();
    failing(&sim, &log);
    sim.advance(MINUTE);
    let again = log.take();
    assert!(
        cancelled.is_err() || again.is_empty(),
        "{cancelled:?}, then {again:?}"
    );
    Ok(())
}

/// R20b: the second try of a cancel that the store has refused says `Ok`, and the row is there.
#[test]
fn a_cancel_that_is_tried_again_is_not_ok_while_the_row_is_there() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let job = failing(&sim, &log)
        .schedule("good".into())
        .id("x")
        .delay(HOUR)
        .block_on()?;
    machine.set_fault(Fault::Fail);
    assert!(job.cancel().block_on().is_err());
    let second = job.cancel().block_on();
    sim.crash();
    machine.set_fault(Fault::None);
    let mut sim = machine.boot();
    failing(&sim, &log);
    sim.advance(DAY);
    let ran = log.take();
    assert!(
        second.is_err() || ran.is_empty(),
        "{second:?}, then {ran:?}"
    );
    Ok(())
}

/// R21: a job that failed while the clock was not set is too old as soon as it is set.
#[test]
fn a_job_that_failed_before_the_clock_was_set_is_kept() -> Result {
    use crate::support::START;
    let disk = MemoryStorage::new();
    let clock = ManualClock::at(time::OffsetDateTime::UNIX_EPOCH).with_earliest_true_time(START);
    let storage = disk.clone();
    let mut sim = Simulation::with(0, clock, |app| app.storage(storage))?;
    let _ = failing(&sim, &Log::new())
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

/// R22: of two jobs of one id that fail at one moment, one is kept.
#[test]
fn two_jobs_of_one_id_that_fail_at_one_moment_are_both_kept() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new());
    for _ in 0..2 {
        let _ = task.schedule("bad".into()).id("x").push().block_on()?;
        sim.run_until_stalled();
    }
    assert_eq!(sim.app().failed().block_on()?.len(), 2);
    Ok(())
}

/// R23: the second portion of what is tried again is not counted while the store has it.
#[test]
fn a_shutdown_counts_what_waits_for_the_second_portion_of_a_commit() -> Result {
    const PASS: usize = 0;
    const FAIL: usize = 1;
    const PASS_ONE: usize = 2;
    const BLOCK: usize = 3;
    let mode = Arc::new(AtomicUsize::new(PASS));
    let seen = mode.clone();
    let storage = FaultyStorage::new(MemoryStorage::new(), move |operation| {
        if !matches!(operation, Operation::Commit(_)) {
            return Fault::None;
        }
        while seen.load(Ordering::SeqCst) == BLOCK {
            std::thread::yield_now();
        }
        let _ = seen.compare_exchange(PASS_ONE, BLOCK, Ordering::SeqCst, Ordering::SeqCst);
        match seen.load(Ordering::SeqCst) {
            FAIL => Fault::FailWith(StorageError::ReadOnly { path: "x".into() }),
            _ => Fault::None,
        }
    });
    let (app, _clock, spawned) = hand_polled_app_with(|app| app.storage(storage))?;
    let task = app.task("t", async || {}).durable().register()?;
    for _ in 0..5_000 {
        task.schedule(()).push().block_on()?;
    }
    mode.store(FAIL, Ordering::SeqCst);
    for _ in 0..5_000 {
        let mut attempt = spawned.recv()?;
        while poll(&mut attempt).is_none() {}
        while let Ok(mut attempt) = spawned.try_recv() {
            while poll(&mut attempt).is_none() {}
        }
        if app.jobs().is_empty() {
            break;
        }
    }
    wait_until(|| app.health().unstored() == 5_000);
    mode.store(PASS_ONE, Ordering::SeqCst);
    let mut push = task.schedule(()).delay(HOUR);
    begin(&mut push);
    wait_until(|| mode.load(Ordering::SeqCst) == BLOCK);
    let report = app.shutdown(std::time::Duration::ZERO).block_on();
    mode.store(PASS, Ordering::SeqCst);
    assert!(!report.is_store_closed);
    assert!(report.unstored >= 900, "{report:?}");
    Ok(())
}
