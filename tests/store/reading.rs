//! Reading a store changes nothing: `inspect`, `backup`, another user.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;

use jobber::SqliteStorage;
use jobber::storage::Loaded;
use rusqlite::Connection;

use crate::owner::{Mount, Owner, can_as_root, start};
use crate::support::{HOUR, Result, child};

fn ids(path: &Path) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    SqliteStorage::inspect(path, |loaded| match loaded {
        Loaded::Job(job) => ids.push(job.id().to_string()),
        other => panic!("{other:?}"),
    })?;
    Ok(ids)
}

/// Each file of a folder: its bytes, its mode, when it was changed.
type Files = BTreeMap<String, (Vec<u8>, u32, i64, i64)>;

fn files(folder: &Path) -> Result<Files> {
    fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            let found = entry.metadata()?;
            let name = entry.file_name().into_string().unwrap();
            let times = (found.mtime(), found.mtime_nsec());
            Ok((
                name,
                (fs::read(entry.path())?, found.mode(), times.0, times.1),
            ))
        })
        .collect()
}

/// Makes a store of a process that was killed: with jobs in its log.
fn crashed_store(folder: &Path) -> Result {
    let mut owner = Owner::start(&folder.join("jobs.db"))?;
    assert_eq!(owner.order("schedule a"), "a");
    assert_eq!(owner.order("schedule b"), "b");
    owner.kill();
    assert!(fs::metadata(folder.join("jobs.db-wal"))?.len() > 0);
    Ok(())
}

/// Regression: `inspect` after a crash copied the log into the file and deleted the log.
#[test]
fn reading_a_store_after_a_crash_changes_no_file() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    crashed_store(dir.path())?;
    let before = files(dir.path())?;
    assert_eq!(ids(&path)?, ["a", "b"]);
    assert!(files(dir.path())? == before, "a file has changed");
    // Without the index of the log, as in a copy.
    fs::remove_file(dir.path().join("jobs.db-shm"))?;
    let before = files(dir.path())?;
    assert_eq!(ids(&path)?, ["a", "b"]);
    assert!(files(dir.path())? == before, "a file has changed");
    assert_eq!(Owner::start(&path)?.order("jobs"), "2");
    Ok(())
}

#[test]
fn reading_a_store_that_nobody_uses_changes_no_file() -> Result {
    let dir = tempfile::tempdir()?;
    // The characters of an address are part of the name.
    let path = dir.path().join("jobs?mode=rw#%41 .db");
    let (app, task) = start(SqliteStorage::new(&path))?;
    let _ = task.schedule("a".into()).id("a").delay(HOUR).block_on()?;
    drop((app, task));
    let before = files(dir.path())?;
    assert_eq!(before.len(), 1);
    let folder = fs::metadata(dir.path())?.mtime_nsec();
    assert_eq!(ids(&path)?, ["a"]);
    assert!(files(dir.path())? == before, "a file has changed");
    assert_eq!(
        fs::metadata(dir.path())?.mtime_nsec(),
        folder,
        "no file has come and gone"
    );
    Ok(())
}

/// Regression: `inspect` failed on a read-only file system.
#[test]
fn reading_a_store_on_a_read_only_file_system_succeeds() -> Result {
    for is_crashed in [true, false] {
        let dir = tempfile::tempdir()?;
        let args = ["-t", "tmpfs", "none"];
        let Some(disk) = Mount::new("a read-only file system", &args, dir.path()) else {
            return Ok(());
        };
        let path = dir.path().join("jobs.db");
        crashed_store(dir.path())?;
        if !is_crashed {
            drop(start(SqliteStorage::new(&path))?);
        }
        disk.remount("ro");
        assert_eq!(ids(&path)?, ["a", "b"], "is_crashed: {is_crashed}");
        let error = start(SqliteStorage::new(&path)).unwrap_err();
        assert!(format!("{error:?}").contains("ReadOnly"), "{error:?}");
    }
    Ok(())
}

#[test]
fn an_app_that_starts_while_its_file_is_read_waits() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let (app, task) = start(SqliteStorage::new(&path))?;
    let _ = task.schedule("a".into()).delay(HOUR).block_on()?;
    drop((app, task));
    let mut starting = None;
    SqliteStorage::inspect(&path, |_| {
        let storage = SqliteStorage::new(&path).busy_timeout(std::time::Duration::ZERO);
        let error = format!("{:?}", start(storage).unwrap_err());
        assert!(error.contains("Busy"), "{error}");
        let path = path.clone();
        starting = Some(std::thread::spawn(move || {
            let storage = SqliteStorage::new(path).busy_timeout(HOUR);
            start(storage).map(drop).map_err(|error| error.to_string())
        }));
    })?;
    starting.unwrap().join().unwrap()?;
    Ok(())
}

/// Closing the descriptor of a file takes the locks of the whole process on this file away, also
/// those of connections that jobber does not know.
///
/// Regression: nothing said that each file that was read costs a descriptor.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_was_read_costs_one_descriptor_until_it_is_deleted() -> Result {
    const COPIES: usize = 50;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    drop(start(SqliteStorage::new(&path))?);
    // Other tests of this process open other files.
    let open = || -> Result<usize> {
        let links = fs::read_dir("/proc/self/fd")?;
        let open = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
        Ok(open.filter(|file| file.starts_with(dir.path())).count())
    };
    let copies = || (0..COPIES).map(|n| dir.path().join(format!("copy-{n}.db")));
    for copy in copies() {
        SqliteStorage::backup(&path, &copy)?;
    }
    assert_eq!(open()?, 1, "that of the store, and none of a copy");
    for copy in copies().chain(copies()) {
        SqliteStorage::inspect(&copy, |_| {})?;
    }
    assert_eq!(open()?, 1 + COPIES);
    for copy in copies() {
        fs::remove_file(copy)?;
    }
    SqliteStorage::inspect(&path, |_| {})?;
    assert_eq!(open()?, 1);
    Ok(())
}

/// Regression: what was left of a backup whose process was killed made the next one fail.
#[test]
fn a_backup_succeeds_beside_the_rest_of_one_whose_process_was_killed() -> Result {
    let dir = tempfile::tempdir()?;
    let (path, copy) = (dir.path().join("jobs.db"), dir.path().join("copy.db"));
    let (_app, task) = start(SqliteStorage::new(&path))?;
    let _ = task.schedule("a".into()).id("a").delay(HOUR).block_on()?;
    for suffix in ["", "-0123456789abcdef"] {
        fs::write(dir.path().join(format!("copy.db-part{suffix}")), "the rest")?;
    }
    SqliteStorage::backup(&path, &copy)?;
    assert_eq!(ids(&copy)?, ["a"]);
    Ok(())
}

/// A program that reads its own file, makes a copy of it, and is killed.
#[test]
fn a_backup_of_a_store_in_use_is_whole_and_takes_nothing_from_its_owner() -> Result {
    let dir = tempfile::tempdir()?;
    let (path, copy) = (dir.path().join("jobs.db"), dir.path().join("copy.db"));
    let mut owner = Owner::start(&path)?;
    assert_eq!(owner.order("schedule a"), "a");
    let order = format!("backup {}", copy.display());
    assert_eq!(owner.order(&order), "Ok(())");
    assert_eq!(ids(&copy)?, ["a"]);
    let count = "SELECT count(*) FROM jobs";
    for n in 0..5 {
        // A reader in another connection must not delete the log of the owner.
        let _: i64 = Connection::open(&path)?.query_row(count, [], |row| row.get(0))?;
        assert_eq!(owner.order(&format!("schedule {n}")), n.to_string());
    }
    // And from another process.
    SqliteStorage::backup(&path, dir.path().join("second.db"))?;
    assert_eq!(ids(&dir.path().join("second.db"))?.len(), 6);
    owner.kill();
    SqliteStorage::backup(&path, dir.path().join("third.db"))?;
    assert_eq!(ids(&dir.path().join("third.db"))?.len(), 6);
    // The copy is a store like any other, of one file.
    let names: Vec<_> = files(dir.path())?.into_keys().collect();
    let expected = [
        "copy.db",
        "jobs.db",
        "jobs.db-shm",
        "jobs.db-wal",
        "second.db",
        "third.db",
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::metadata(&copy)?.mode() & 0o777, 0o600);
    let mut owner = Owner::start(&copy)?;
    assert_eq!(owner.order("jobs"), "1");
    Ok(())
}

#[test]
fn a_backup_that_fails_leaves_no_file_and_overwrites_none() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let (_app, task) = start(SqliteStorage::new(&path))?;
    for _ in 0..100 {
        let schedule = task.schedule("x".repeat(10_000));
        let _ = schedule.delay(HOUR).block_on()?;
    }
    let taken = dir.path().join("taken");
    fs::write(&taken, "mine")?;
    let dangling = dir.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling)?;
    let other = dir.path().join("other.db");
    Connection::open(&other)?.execute_batch("CREATE TABLE t (x)")?;
    let new = dir.path().join("new");
    let names = || -> Result<BTreeSet<_>> {
        let entries = fs::read_dir(dir.path())?;
        Ok(entries.map(|entry| entry.unwrap().file_name()).collect())
    };
    let before = names()?;
    for (from, to) in [
        (&path, &taken),
        (&path, &dangling),
        (&path, &path),
        (&path, &dir.path().join("no/folder")),
        (&other, &new),
        (&dir.path().join("missing"), &new),
    ] {
        assert!(SqliteStorage::backup(from, to).is_err(), "{}", to.display());
        assert!(!new.exists());
    }
    assert_eq!(fs::read(&taken)?, b"mine");
    assert_eq!(names()?, before);
    let small = tempfile::tempdir()?;
    let args = ["-t", "tmpfs", "-o", "size=256k", "none"];
    if let Some(_disk) = Mount::new("a backup to a full disk", &args, small.path()) {
        assert!(SqliteStorage::backup(&path, small.path().join("copy.db")).is_err());
        assert_eq!(fs::read_dir(small.path())?.count(), 0, "nothing is left");
    }
    Ok(())
}

/// Regression: any user of the machine could read the arguments, and stop the start by a lock
/// on the lock file.
#[test]
fn the_files_of_a_store_can_be_read_by_their_owner_only() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let (_app, task) = start(SqliteStorage::new(&path))?;
    let _ = task.schedule("a".into()).delay(HOUR).block_on()?;
    for (name, (_, mode, ..)) in files(dir.path())? {
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // The other user can reach the folder and run this program.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    let program = dir.path().join("program");
    fs::copy(std::env::current_exe()?, &program)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let other = tempfile::tempdir()?;
    let mut command = std::process::Command::new(&program);
    command
        .args(child("owner::the_process_that_owns_a_store")?.get_args())
        .current_dir("/")
        .env("TMPDIR", other.path())
        .uid(65_534);
    if can_as_root("a second user", || {
        std::process::Command::new("true")
            .uid(65_534)
            .status()
            .is_ok()
    }) {
        let (_owner, answer) = Owner::run(command, &path)?;
        assert!(answer.contains("PermissionDenied"), "{answer}");
    }
    Ok(())
}
