//! A file belongs to one app, under each of its names and after any reader, and what an app
//! does when its file is gone.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use jobber::SqliteStorage;
use jobber::storage::{Loaded, StorageError};
use rusqlite::Connection;

#[cfg(target_os = "linux")]
use crate::fork::run_forking;
use crate::owner::{Mount, Owner, start};
use crate::support::{HOUR, Result, wait_until};

/// Whether a second process is refused.
fn assert_refused(path: &Path) -> Result {
    let (_other, answer) = Owner::try_start(path)?;
    assert!(answer.contains("InUse"), "{}: {answer}", path.display());
    Ok(())
}

fn ids(path: &Path) -> Vec<String> {
    let mut ids = Vec::new();
    SqliteStorage::inspect(path, |loaded| match loaded {
        Loaded::Job(job) => ids.push(job.id().to_string()),
        other => panic!("{other:?}"),
    })
    .unwrap();
    ids
}

/// Regression: a link to a file that did not exist yet, a hard link or a bind mount let a
/// second process in, and both ran the same jobs.
#[test]
fn a_second_process_is_refused_by_every_name_of_the_file() -> Result {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("volume"))?;
    fs::create_dir(at("other"))?;
    symlink(at("volume/jobs.db"), at("link.db"))?;
    let _owner = Owner::start(&at("link.db"))?;
    for name in ["link.db", "volume/jobs.db", "other/../volume/jobs.db"] {
        assert_refused(&at(name))?;
    }
    symlink("volume/jobs.db", at("relative.db"))?;
    assert_refused(&at("relative.db"))?;
    fs::hard_link(at("volume/jobs.db"), at("other/hard.db"))?;
    assert_refused(&at("other/hard.db"))?;
    fs::write(at("mounted.db"), "")?;
    let source = at("volume/jobs.db");
    let args = ["--bind", source.to_str().unwrap()];
    if let Some(_mount) = Mount::new("a bind mount of the file", &args, &at("mounted.db")) {
        assert_refused(&at("mounted.db"))?;
    }
    Ok(())
}

#[test]
fn two_processes_that_start_at_once_are_one_owner_and_one_that_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let start = || {
        let path = path.clone();
        std::thread::spawn(move || {
            Owner::try_start(&path)
                .map_err(|e| e.to_string())
                .unwrap()
                .1
        })
    };
    let started: Vec<_> = std::iter::repeat_with(start).take(2).collect();
    let mut answers: Vec<_> = started.into_iter().map(|t| t.join().unwrap()).collect();
    answers.sort();
    assert!(answers[0].contains("InUse"), "{answers:?}");
    assert_eq!(answers[1], "started");
    Ok(())
}

/// Regression: when the program of the app had read the lock file, a second process was let
/// in.
#[test]
fn an_owner_that_reads_its_own_files_stays_the_owner() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let mut owner = Owner::start(&path)?;
    assert_eq!(owner.order("schedule x"), "x");
    for order in ["read", "count", "inspect"] {
        let _ = owner.order(order);
        assert_refused(&path)?;
    }
    // In the same process, too, and a refused start takes nothing from the owner.
    let (_app, _task) = {
        let other = dir.path().join("other.db");
        let app = start(SqliteStorage::new(&other))?;
        assert!(start(SqliteStorage::new(&other)).is_err());
        assert_refused(&other)?;
        app
    };
    Ok(())
}

/// Regression: after the owner had read its file, another program that read it too deleted
/// the log, and jobs that were scheduled then were lost at the end of the process.
#[test]
fn no_job_is_confirmed_into_a_log_that_another_program_has_deleted() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let mut owner = Owner::start(&path)?;
    assert_eq!(owner.order("schedule before"), "before");
    let read_by_another_program = || -> Result {
        let count = "SELECT count(*) FROM jobs";
        let _: i64 = Connection::open(&path)?.query_row(count, [], |row| row.get(0))?;
        Ok(())
    };
    read_by_another_program()?;
    assert_eq!(owner.order("schedule read"), "read");
    let _ = owner.order("read");
    read_by_another_program()?;
    // Releases of SQLite before 3.51 delete the log by now.
    let other = Connection::open(&path)?;
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(other);
    for name in ["jobs.db-wal", "jobs.db-shm"] {
        let _ = fs::remove_file(dir.path().join(name));
    }
    let mut confirmed = vec!["before".to_owned(), "read".to_owned()];
    let mut refused = String::new();
    for n in 0..10 {
        let id = format!("after-{n}");
        let answer = owner.order(&format!("schedule {id}"));
        if answer == id {
            confirmed.push(id);
        } else {
            refused = answer;
        }
    }
    assert!(refused.contains("Moved"), "the log is deleted: {refused}");
    let health = owner.order("health");
    assert!(health.contains("was removed"), "{health}");
    owner.kill();
    let stored = ids(&path);
    for id in confirmed {
        assert!(stored.contains(&id), "{id} is lost");
    }
    Ok(())
}

/// Regression: an app went on scheduling into a file without a name.
#[test]
fn a_file_that_is_gone_fails_commits_and_health_until_it_is_back() -> Result {
    for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("jobs.db");
        let (app, task) = start(SqliteStorage::new(&path))?;
        let _ = task.schedule("a".into()).id("a").delay(HOUR).block_on()?;
        let (file, aside) = (dir.path().join(name), dir.path().join("aside"));
        let assert_gone = |what: &str| {
            let error = task.schedule("b".into()).delay(HOUR).block_on();
            let error = error.expect_err(what);
            let text = error.to_string() + &std::error::Error::source(&error).unwrap().to_string();
            assert!(text.contains(name) && text.contains("removed"), "{text}");
            let health = app.health();
            assert!(
                matches!(health.storage_error(), Some(StorageError::Moved { .. })),
                "{what}: {health}"
            );
        };
        fs::rename(&file, &aside)?;
        assert_gone("it is renamed");
        fs::copy(&aside, &file)?;
        assert_gone("it is another file");
        fs::remove_file(&file)?;
        symlink("nowhere", &file)?;
        assert_gone("it leads nowhere");
        fs::rename(&aside, &file)?;
        let _ = task.schedule("b".into()).id("b").delay(HOUR).block_on()?;
        assert!(app.health().is_healthy());
        drop(app);
        assert_eq!(ids(&path), ["a", "b"]);
    }
    Ok(())
}

#[test]
fn a_link_that_is_turned_to_another_file_fails_commits() -> Result {
    let dir = tempfile::tempdir()?;
    let (path, link) = (dir.path().join("jobs.db"), dir.path().join("link.db"));
    symlink(&path, &link)?;
    let (_app, task) = start(SqliteStorage::new(&link))?;
    fs::remove_file(&link)?;
    symlink(dir.path().join("other.db"), &link)?;
    let error = task.schedule("a".into()).delay(HOUR).block_on();
    assert!(format!("{error:?}").contains("Moved"), "{error:?}");
    Ok(())
}

#[test]
fn the_next_process_gets_the_file_and_the_jobs_of_a_killed_one() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    for n in 0..3 {
        let mut owner = Owner::start(&path)?;
        assert_eq!(owner.order("jobs"), n.to_string());
        assert_refused(&path)?;
        assert_eq!(owner.order(&format!("schedule {n}")), n.to_string());
        owner.kill();
    }
    assert_eq!(ids(&path).len(), 3);
    Ok(())
}

/// The handle that is locked is kept when an app stops: to close it would drop the locks of
/// the program's own connections.
#[test]
fn a_connection_of_the_program_keeps_its_locks_when_an_app_stops() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let (app, task) = start(SqliteStorage::new(&path))?;
    let own = Connection::open(&path)?;
    own.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)")?;
    let has_locks = || -> Result<bool> {
        // Only Linux has this list.
        let Ok(locks) = fs::read_to_string("/proc/locks") else {
            return Ok(true);
        };
        let process = format!(" {} ", std::process::id());
        let file = format!(":{} ", fs::metadata(&path)?.ino());
        Ok(locks
            .lines()
            .any(|lock| lock.contains("POSIX") && lock.contains(&process) && lock.contains(&file)))
    };
    assert!(has_locks()?);
    drop((app, task));
    assert!(has_locks()?, "the app has dropped them");
    assert!(start(SqliteStorage::new(dir.path())).is_err());
    let log = dir.path().join("jobs.db-wal");
    assert!(log.exists(), "the connection has it open");
    // Another process that opens and closes the file does not delete the log.
    let mut other = Owner::start(&path)?;
    assert_eq!(other.order("stop"), "stopped");
    assert!(log.exists(), "the connection has it open");
    // The app comes back beside the connection.
    drop(other);
    let (_app, task) = start(SqliteStorage::new(&path))?;
    let _ = task.schedule("a".into()).delay(HOUR).block_on()?;
    Ok(())
}

#[test]
fn what_is_not_a_file_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let pipe = dir.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()?
            .success()
    );
    for path in [pipe.as_path(), dir.path(), Path::new("/dev/null")] {
        let error = start(SqliteStorage::new(path)).unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("CannotOpen"), "{}: {text}", path.display());
        assert!(SqliteStorage::inspect(path, |_| {}).is_err());
    }
    Ok(())
}

/// Regression: two processes owned one file, one forked from the other after a look at the file.
#[cfg(target_os = "linux")]
#[test]
fn a_process_that_was_forked_after_a_look_at_the_file_is_refused_as_any_other() -> Result {
    use std::path::PathBuf;

    use jobber::StartError;

    const PATH: &str = "JOBBER_FORKS_AFTER_A_LOOK";
    let is_there = |path: &Path| fs::metadata(path).is_ok();
    if let Some(path) = std::env::var_os(PATH).map(PathBuf::from) {
        let (started, done) = (path.with_extension("started"), path.with_extension("done"));
        SqliteStorage::inspect(&path, |_| {})?;
        let forked = fs::remove_file("/jobber/fork-apart").unwrap_err();
        if forked.raw_os_error() == Some(10) {
            let app = start(SqliteStorage::new(&path));
            fs::write(&started, format!("{}", app.is_ok()))?;
            wait_until(|| is_there(&done));
            std::process::exit(0);
        }
        wait_until(|| fs::read_to_string(&started).is_ok_and(|text| text == "true"));
        let second = start(SqliteStorage::new(&path));
        fs::write(&done, "")?;
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
    run_forking(
        "owning::a_process_that_was_forked_after_a_look_at_the_file_is_refused_as_any_other",
        |program| program.env(PATH, path),
    )
}
