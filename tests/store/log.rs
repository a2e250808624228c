//! The size of a store: its log beside readers and under load, a full file, a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jobber::storage::{StorageError, Synchronous};
use jobber::{Job, JobStatus, ScheduleError, SqliteStorage, Task};
use rusqlite::Connection;
use time::OffsetDateTime;

use crate::owner::{Mount, Owner, start};
use crate::support::{HOUR, Result, SECOND};

const MIB: u64 = 1_024 * 1_024;

fn log_length(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(PathBuf::from(log)).map_or(0, |found| found.len())
}

/// Schedules a job of 64 KB and cancels it.
fn pass(task: &Task<String, usize>) -> Result {
    let schedule = task.schedule("x".repeat(64 * 1_024));
    let job = schedule.delay(HOUR).block_on()?;
    assert!(job.cancel().block_on()?.took_effect());
    Ok(())
}

fn storage_error(result: Result<(), ScheduleError>) -> StorageError {
    match result {
        Err(ScheduleError::Storage(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Regression: the log had 76 to 110 MB for 2 MB of data.
#[test]
fn the_log_stays_short_while_commits_follow_each_other() -> Result {
    for (max, longest) in [(None, 24 * MIB), (Some(4 * MIB), 5 * MIB)] {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("jobs.db");
        let mut storage = SqliteStorage::new(&path).synchronous(Synchronous::Normal);
        if let Some(max) = max {
            storage = storage.max_log_bytes(max);
        }
        let (_app, task) = start(storage)?;
        let mut found = 0;
        for _ in 0..1_000 {
            pass(&task)?;
            found = found.max(log_length(&path));
        }
        assert!(found <= longest, "{found} of {longest} bytes");
    }
    Ok(())
}

/// Regression: a checkpoint of this app that went on made a commit fail.
#[test]
fn the_checkpoints_of_the_app_fail_no_commit_when_the_log_is_full() -> Result {
    let dir = tempfile::tempdir()?;
    let storage = SqliteStorage::new(dir.path().join("jobs.db"))
        .synchronous(Synchronous::Normal)
        .busy_timeout(Duration::ZERO)
        .max_log_bytes(MIB / 8);
    let (_app, task) = start(storage)?;
    (0..2_000).try_for_each(|_| pass(&task))
}

#[test]
fn the_checkpoints_of_another_program_fail_no_commit_when_the_log_is_full() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let storage = SqliteStorage::new(&path)
        .synchronous(Synchronous::Normal)
        .max_log_bytes(MIB / 8);
    let (_app, task) = start(storage)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // As a backup program does.
        let other = scope.spawn(|| -> Result {
            let other = Connection::open(&path)?;
            let mut times = 0;
            while !is_over.load(Ordering::Relaxed) {
                other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
                times += 1;
            }
            assert!(times > 0);
            Ok(())
        });
        let all = (0..500).try_for_each(|_| pass(&task));
        is_over.store(true, Ordering::Relaxed);
        other.join().unwrap().and(all)
    })
}

/// Regression: a reader that stayed open for 45 s left a log of 12 GB.
#[test]
fn a_reader_that_stays_stops_commits_before_the_log_fills_the_disk() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let storage = SqliteStorage::new(&path)
        .synchronous(Synchronous::Normal)
        .busy_timeout(Duration::ZERO)
        .max_log_bytes(2 * MIB);
    let (app, task) = start(storage)?;
    let reader = Connection::open(&path)?;
    reader.execute_batch("BEGIN; SELECT count(*) FROM jobs")?;
    let error = loop {
        match task.schedule("x".repeat(64 * 1_024)).delay(HOUR).block_on() {
            Ok(_) => assert!(log_length(&path) < 4 * MIB, "the log has no limit"),
            Err(error) => break storage_error(Err(error)),
        }
    };
    assert!(
        matches!(&error, StorageError::LogFull { path, limit }
            if path.ends_with("jobs.db-wal") && *limit == 2 * MIB),
        "{error}"
    );
    assert!(!app.health().is_healthy());
    let jobs = app.jobs().len();
    reader.execute_batch("ROLLBACK")?;
    pass(&task)?;
    assert!(app.health().is_healthy());
    assert_eq!(app.jobs().len(), jobs);
    assert!(log_length(&path) < MIB, "it is short again");
    Ok(())
}

/// Regression: with a full store, cancelling failed for ever, and so did each next run.
#[test]
fn a_full_store_frees_what_is_cancelled_and_goes_on() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let (app, task) = start(SqliteStorage::new(&path).max_bytes(MIB))?;
    let large = |_: usize| {
        let schedule = task.schedule("x".repeat(7_000));
        schedule.delay(HOUR).block_on().unwrap()
    };
    let large: Vec<Job<usize>> = (0..64).map(large).collect();
    let start_date = OffsetDateTime::now_utc() + SECOND * 2;
    let mut recurring = Vec::new();
    let error = loop {
        let schedule = task.schedule(String::new()).generated_id();
        let schedule = schedule.start_date(start_date);
        match schedule.every(HOUR).block_on() {
            Ok(job) => recurring.push(job.next_run()),
            Err(error) => break storage_error(Err(error)),
        }
    };
    assert!(matches!(error, StorageError::Full { .. }), "{error}");
    // All come due together, and their rows grow.
    for run in recurring {
        let _ = run.block_on();
    }
    for job in large {
        assert!(job.cancel().block_on()?.took_effect());
    }
    // The changes that had no room are committed with the next one at the latest.
    let job = task.schedule("abc".into()).push().block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(app.health().to_string(), "healthy");
    Ok(())
}

/// Regression: with no job left, the log had filled a small disk, and the store said `Full`
/// for ever, also after a restart.
#[test]
fn jobs_that_end_leave_room_on_a_small_disk() -> Result {
    let dir = tempfile::tempdir()?;
    let args = ["-t", "tmpfs", "-o", "size=6m", "none"];
    let Some(_disk) = Mount::new("a small disk", &args, dir.path()) else {
        return Ok(());
    };
    for _ in 0..2 {
        let (app, task) = start(SqliteStorage::new(dir.path().join("jobs.db")))?;
        run_many(&task);
        assert_eq!(app.health().to_string(), "healthy");
    }
    Ok(())
}

/// Four threads push jobs, at most four at a time.
fn run_many(task: &Task<String, usize>) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let schedule = task.schedule("x".repeat(1_000));
                    let job = schedule.push().block_on().unwrap();
                    assert_eq!(job.wait_blocking(), JobStatus::Success);
                }
            });
        }
    });
}

#[test]
fn a_full_store_on_a_disk_with_room_for_its_log_goes_on_when_jobs_end() -> Result {
    let dir = tempfile::tempdir()?;
    let args = ["-t", "tmpfs", "-o", "size=6m", "none"];
    let Some(_disk) = Mount::new("a small disk", &args, dir.path()) else {
        return Ok(());
    };
    let path = dir.path().join("jobs.db");
    for _ in 0..2 {
        // What the store takes at most is less than the disk has.
        let storage = SqliteStorage::new(&path)
            .max_bytes(3 * MIB)
            .max_log_bytes(2 * MIB);
        let (app, task) = start(storage)?;
        run_many(&task);
        // Until nothing fits.
        let mut jobs = Vec::new();
        let error = loop {
            match task.schedule("x".repeat(5_000)).delay(HOUR).block_on() {
                Ok(job) => jobs.push(job),
                Err(error) => break storage_error(Err(error)),
            }
        };
        assert!(matches!(error, StorageError::Full { .. }), "{error}");
        for job in jobs {
            assert!(job.cancel().block_on()?.took_effect());
        }
        let job = task.schedule("abc".into()).push().block_on()?;
        assert_eq!(job.wait_blocking(), JobStatus::Success);
        assert_eq!(app.health().to_string(), "healthy");
    }
    let mut owner = Owner::start(&path)?;
    assert_eq!(owner.order("schedule x"), "x");
    Ok(())
}
