//! The store in a file: its errors, and what other programs see of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{fs, thread};

use crate::codecs::Veiled;
use crate::support::record::{JobRecord, TriggerRecord};
use crate::support::{HOUR, Result, begin, wait_until};
use jobber::{
    JobContext, JobStatus, Jobber, ScheduleError, SqliteStorage, StartError, Task,
    storage::{Loaded, Storage, StorageError, Synchronous, UnresolvedReason},
};
use rusqlite::Connection;
use tempfile::TempDir;
use time::macros::datetime;

struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("jobs.db")
    }

    /// Opens the file as another program does.
    fn connect(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn app(&self) -> Result<(Jobber, Task<String, usize>)> {
        app(SqliteStorage::new(self.path()))
    }

    fn records(&self) -> Vec<JobRecord> {
        let mut records = Vec::new();
        SqliteStorage::inspect(self.path(), |loaded| match loaded {
            Loaded::Job(record) => records.push(JobRecord::of(&record)),
            Loaded::OtherVersion { id, version, .. } => panic!("{id} has version {version}"),
            Loaded::Unreadable { id, reason, .. } => panic!("{id}: {reason}"),
        })
        .unwrap();
        records
    }
}

fn app(storage: SqliteStorage) -> Result<(Jobber, Task<String, usize>)> {
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |text: String| text.len()).durable();
    let task = task.register()?;
    app.start().block_on()?;
    Ok((app, task))
}

fn start_error(path: &Path) -> StorageError {
    match app(SqliteStorage::new(path))
        .unwrap_err()
        .downcast::<StartError>()
    {
        Ok(error) => match *error {
            StartError::Storage(error) => error,
            other => panic!("{other}"),
        },
        Err(other) => panic!("{other}"),
    }
}

fn schedule_error(result: Result<jobber::Job<usize>, ScheduleError>) -> StorageError {
    match result {
        Err(ScheduleError::Storage(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_in_a_file_is_restored() -> Result {
    let disk = Disk::new();
    let (app, task) = disk.app()?;
    let schedule = task.schedule("later".into()).id("x");
    let later = schedule.delay(HOUR).block_on()?;
    assert_eq!(later.status(), JobStatus::Scheduled);
    let now = task.schedule("now".into()).push().block_on()?;
    assert_eq!(now.wait_blocking(), JobStatus::Success);
    app.shutdown(HOUR).block_on();

    let (_app, task) = disk.app()?;
    let job = task.job("x").expect("it is restored");
    assert_eq!(job.exec_at(), later.exec_at());
    assert!(job.cancel().block_on()?.took_effect());
    assert!(disk.records().is_empty());
    Ok(())
}

#[test]
fn values_are_text_as_json_and_blobs_by_a_codec_and_edited_rows_are_not_lost() -> Result {
    let disk = Disk::new();
    let open = || -> Result<(Jobber, [Task<String, ()>; 2])> {
        let app = Jobber::builder().storage(SqliteStorage::new(disk.path()));
        let app = app.build()?;
        let task = |name: &str| {
            let task = app.task(name, async |cx: JobContext, _: String| {
                cx.checkpoint(&7).await?;
                std::future::pending::<Result>().await
            });
            task.durable()
        };
        let veiled = task("veiled").codec(Veiled::new("veiled"));
        let tasks = [task("json").register()?, veiled.register()?];
        app.start().block_on()?;
        Ok((app, tasks))
    };
    let (app, tasks) = open()?;
    for (task, id) in tasks.iter().zip(["json", "veiled"]) {
        task.schedule("a".into()).id(id).push().block_on()?;
    }
    let sql = disk.connect();
    let row = |id: &str| {
        let columns = "typeof(args), codec, typeof(checkpoint), checkpoint_codec";
        let select = format!("SELECT {columns} FROM jobs WHERE id = ?1");
        sql.query_row(&select, [id], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, Option<String>>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        })
    };
    wait_until(|| {
        ["json", "veiled"]
            .iter()
            .all(|id| row(id).unwrap().2 != "null")
    });
    assert_eq!(row("json")?, ("text".into(), None, "text".into(), None));
    let codec = Some("veiled".to_owned());
    let expected = ("blob".into(), codec.clone(), "blob".into(), codec);
    assert_eq!(row("veiled")?, expected);
    app.shutdown(Duration::ZERO).block_on();
    drop((app, tasks));

    drop(sql);
    let saved = fs::read(disk.path())?;
    for (edit, expected) in [
        ("codec = 'other'", "has written the job"),
        ("codec = NULL", "args is not a text"),
        ("args = 'a'", "args is not a blob of a codec"),
        ("codec = ''", "codec is not the name of a codec"),
        (
            "codec = hex(zeroblob(500000))",
            "codec is not the name of a codec",
        ),
        ("codec = x'05'", "codec is not a text"),
        ("checkpoint_codec = 'other'", "has written the job"),
        ("checkpoint_codec = NULL", "checkpoint is not a text"),
    ] {
        fs::write(disk.path(), &saved)?;
        let sql = disk.connect();
        sql.execute(&format!("UPDATE jobs SET {edit} WHERE id = 'veiled'"), [])?;
        drop(sql);
        let (app, tasks) = open()?;
        let unresolved = app.unresolved();
        let reasons: Vec<_> = unresolved
            .iter()
            .map(|job| job.reason.to_string())
            .collect();
        assert!(
            matches!(&reasons[..], [reason] if reason.contains(expected) && reason.len() < 200),
            "{edit}: {reasons:?}"
        );
        app.shutdown(Duration::ZERO).block_on();
        drop((app, tasks));
        let count = "SELECT count(*) FROM jobs";
        let count: u32 = disk.connect().query_row(count, [], |row| row.get(0))?;
        assert_eq!(count, 2);
    }
    Ok(())
}

#[test]
fn the_file_can_be_read_and_queried_with_sql() -> Result {
    let disk = Disk::new();
    let (_app, task) = disk.app()?;
    let due = datetime!(2100-02-03 4:05:06.000000007 +1);
    let schedule = task.schedule("it's \"quoted\"".into()).id("a");
    let _ = schedule.at(due).block_on()?;
    let schedule = task.schedule("b".into()).id("b");
    let _ = schedule.cron("0 9 * * MON").block_on()?;
    let sql = disk.connect();
    let row = sql.query_row(
        "SELECT task, args, due, trigger FROM jobs WHERE due > '2099-12-31' AND id = 'a'",
        [],
        |row| Ok([0, 1, 2, 3].map(|at| row.get::<_, String>(at).unwrap())),
    )?;
    assert_eq!(
        row,
        [
            "t",
            r#""it's \"quoted\"""#,
            "2100-02-03T03:05:06.000000007Z",
            "at"
        ]
    );
    // SQLite's own functions read the times; there are columns for people.
    let (seconds, cron, runs): (String, String, i64) = sql.query_row(
        "SELECT strftime('%s', a.due), b.cron, b.runs FROM jobs a, jobs b
         WHERE a.id = 'a' AND b.id = 'b'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    assert_eq!(seconds, due.unix_timestamp().to_string());
    assert_eq!((cron.as_str(), runs), ("0 9 * * MON", 0));
    Ok(())
}

#[test]
fn a_file_that_another_app_has_open_is_refused() -> Result {
    let disk = Disk::new();
    let (app, _task) = disk.app()?;
    let error = start_error(&disk.path());
    assert!(
        matches!(&error, StorageError::InUse { path } if path.ends_with("jobs.db")),
        "{error}"
    );
    // By another name of the file, too.
    let link = disk.0.path().join("link.db");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(disk.path(), &link)?;
        assert!(matches!(start_error(&link), StorageError::InUse { .. }));
    }
    drop(app);
    // The drop of the app has closed the store.
    drop(disk.app()?);
    Ok(())
}

#[test]
fn a_start_that_failed_can_be_tried_again() -> Result {
    let disk = Disk::new();
    let (first, _task) = disk.app()?;
    let second = Jobber::builder()
        .storage(SqliteStorage::new(disk.path()))
        .build()?;
    let task = second.task("t", async |text: String| text.len()).durable();
    let task = task.register()?;
    assert!(second.start().block_on().is_err());
    let error = task.schedule(String::new()).push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::NotStarted));
    drop(first);
    second.start().block_on()?;
    let job = task.schedule("abc".into()).push().block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_file_that_is_not_a_store_is_refused_and_left_as_it_is() -> Result {
    let disk = Disk::new();
    let refused = |contents: &[u8]| {
        fs::write(disk.path(), contents).unwrap();
        let error = start_error(&disk.path());
        assert_eq!(fs::read(disk.path()).unwrap(), contents, "{error}");
        error
    };
    let error = refused(b"Dear diary, this is not a database at all, whatever it is called.");
    assert!(
        matches!(error, StorageError::NotADatabase { .. }),
        "{error}"
    );
    let other = disk.0.path().join("other.db");
    Connection::open(&other)?
        .execute_batch("CREATE TABLE jobs (id); INSERT INTO jobs VALUES (1)")?;
    let error = refused(&fs::read(&other)?);
    assert!(matches!(error, StorageError::NotAStore { .. }), "{error}");
    Ok(())
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() -> Result {
    let disk = Disk::new();
    drop(disk.app()?);
    disk.connect().pragma_update(None, "user_version", 99)?;
    let before = fs::read(disk.path())?;
    let error = start_error(&disk.path());
    assert!(
        matches!(
            error,
            StorageError::NewerSchema {
                found: 99,
                known: 10,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read(disk.path())?, before);
    Ok(())
}

#[test]
fn inspect_refuses_a_file_that_is_not_a_store_of_this_version() -> Result {
    let disk = Disk::new();
    disk.connect()
        .execute_batch("CREATE TABLE songs (name TEXT)")?;
    let inspect = || SqliteStorage::inspect(disk.path(), |_| {}).unwrap_err();
    let error = inspect();
    assert!(matches!(error, StorageError::NotAStore { .. }), "{error}");
    fs::remove_file(disk.path())?;
    drop(disk.app()?);
    disk.connect().pragma_update(None, "user_version", 99)?;
    let error = inspect();
    assert!(
        matches!(error, StorageError::NewerSchema { found: 99, .. }),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_store_can_be_opened_twice() -> Result {
    let disk = Disk::new();
    let mut storage = SqliteStorage::new(disk.path());
    storage.open()?;
    storage.open()?;
    storage.load(&mut |_| {})?;
    Ok(())
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error_with_the_path() {
    let disk = Disk::new();
    let nowhere = disk.0.path().join("no/such/directory/jobs.db");
    let error = start_error(&nowhere).to_string();
    assert!(error.contains("no/such/directory/jobs.db"), "{error}");
    for path in [
        nowhere,
        disk.0.path().to_owned(),
        disk.0.path().join(".."),
        PathBuf::new(),
    ] {
        let error = start_error(&path);
        assert!(
            matches!(&error, StorageError::CannotOpen { .. }),
            "{path:?}: {error}"
        );
    }
}

#[test]
fn a_damaged_file_fails_the_start() -> Result {
    let disk = Disk::new();
    let (app, task) = disk.app()?;
    for n in 0..500 {
        let text = format!("{n}").repeat(100);
        let _ = task.schedule(text).delay(HOUR).block_on()?;
    }
    drop(app);
    // Without the first page, it would not be a database.
    let mut bytes = fs::read(disk.path())?;
    bytes[4_096..].fill(0x5a);
    fs::write(disk.path(), bytes)?;
    let error = start_error(&disk.path());
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    Ok(())
}

/// Regression: rows of a damaged page were in no list.
#[test]
fn a_file_that_lacks_pages_or_has_a_damaged_one_is_refused() -> Result {
    let disk = Disk::new();
    let (app, task) = disk.app()?;
    for n in 0..500 {
        let text = format!("{n}").repeat(100);
        let _ = task.schedule(text).delay(HOUR).block_on()?;
    }
    drop(app);
    let whole = fs::read(disk.path())?;
    let pages = whole.len() / 4_096;
    let assert_refused = |bytes: &[u8], what: &str| {
        fs::write(disk.path(), bytes).unwrap();
        let error = start_error(&disk.path());
        assert!(
            matches!(
                error,
                StorageError::Corrupt { .. } | StorageError::NotADatabase { .. }
            ),
            "{what}: {error}"
        );
        assert!(SqliteStorage::inspect(disk.path(), |_| {}).is_err());
        assert_eq!(fs::read(disk.path()).unwrap(), bytes, "{what}");
    };
    for length in [1_000, 4_096, 4_096 * (pages - 1), whole.len() - 1_000] {
        assert_refused(&whole[..length], &format!("{length} bytes are left"));
    }
    for page in [1, pages / 2, pages - 1] {
        let mut damaged = whole.clone();
        damaged[page * 4_096..][..4_096].fill(0);
        assert_refused(&damaged, &format!("page {page} is empty"));
    }
    fs::write(disk.path(), &whole)?;
    assert_eq!(disk.app()?.0.jobs().len(), 500);
    Ok(())
}

/// Regression: two ids that are not UTF-8 were shown as one, and to discard it deleted
/// nothing.
#[test]
fn rows_whose_ids_are_not_texts_are_told_apart_and_discarded_one_by_one() -> Result {
    let disk = Disk::new();
    let (app, task) = disk.app()?;
    let schedule = task.schedule("abc".into()).id("x");
    let _ = schedule.delay(HOUR).block_on()?;
    drop(app);
    let sql = disk.connect();
    let columns: String = sql.query_row(
        "SELECT group_concat(name) FROM pragma_table_info('jobs') WHERE name <> 'id'",
        [],
        |row| row.get(0),
    )?;
    let keys = [
        "x'ff'",
        "x'fe'",
        "CAST(x'ff' AS TEXT)",
        "CAST(x'fe' AS TEXT)",
        "x'78'",
        "zeroblob(1000)",
        // The texts that two of them are shown as.
        "char(120, 39, 102, 102, 39)",
        "char(65533)",
    ];
    for key in keys {
        let row = format!(
            "INSERT INTO jobs (id, {columns}) SELECT {key}, {columns} FROM jobs WHERE id = 'x'"
        );
        sql.execute(&row, [])?;
    }
    drop(sql);
    let left = || -> Result<i64> {
        let count = "SELECT count(*) FROM jobs";
        Ok(disk.connect().query_row(count, [], |row| row.get(0))?)
    };
    let (app, task) = disk.app()?;
    // Three of them are texts, and jobs.
    assert_eq!(app.jobs().len(), 3);
    let unresolved = app.unresolved();
    assert_eq!(unresolved.len(), 6, "{unresolved:?}");
    let schedule = task.schedule("a".into()).id(&unresolved[0].id);
    assert!(matches!(
        schedule.push().block_on(),
        Err(ScheduleError::InvalidId { .. })
    ));
    assert!(!app.discard("x'fe'").block_on()?, "that is a text");
    for (at, job) in unresolved.iter().enumerate() {
        assert!(app.discard(&job.id).block_on()?, "{job}");
        assert_eq!(left()?, 8 - at as i64, "one row is deleted: {job}");
    }
    drop(app);
    let (app, _task) = disk.app()?;
    assert_eq!((app.jobs().len(), app.unresolved().len()), (3, 0));
    Ok(())
}

#[test]
fn control_characters_of_a_changed_file_are_escaped_where_they_are_shown() -> Result {
    let disk = Disk::new();
    let (app, task) = disk.app()?;
    for id in ["a", "b", "c"] {
        let schedule = task.schedule("abc".into()).id(id);
        let _ = schedule.every(HOUR).block_on()?;
    }
    drop(app);
    let sql = disk.connect();
    for (id, change) in [
        ("a", "id = 'a' || char(27) || '[31m' || char(10)"),
        ("b", "task = 'evil' || char(27, 7, 133)"),
        ("c", "progress = json_set(progress, '$.' || char(27), 1)"),
    ] {
        sql.execute(&format!("UPDATE jobs SET {change} WHERE id = '{id}'"), [])?;
    }
    drop(sql);
    let app = Jobber::builder()
        .storage(SqliteStorage::new(disk.path()))
        .build()?;
    let mut events = app.events();
    let task = app.task("t", async |text: String| text.len()).durable();
    let task = task.register()?;
    app.start().block_on()?;
    let mut shown = Vec::new();
    for job in app.jobs() {
        shown.extend([job.id().to_string(), format!("{job:?}")]);
        let id = String::from(job.id().clone());
        assert_eq!(id, "a\u{1b}[31m\n", "the id itself is kept");
        assert!(task.job(&*id).is_some());
        let schedule = task.schedule(String::new()).id(id);
        let error = schedule.push().block_on().unwrap_err();
        shown.extend([error.to_string(), format!("{error:?}")]);
    }
    for job in app.unresolved() {
        shown.extend([job.to_string(), format!("{job:?}"), job.reason.to_string()]);
    }
    while let Some(event) = events.try_next() {
        shown.extend([event.to_string(), format!("{event:?}")]);
    }
    assert!(shown.len() > 8, "{shown:?}");
    for text in shown {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    Ok(())
}

#[test]
fn a_lock_that_outlasts_the_busy_timeout_refuses_the_job() -> Result {
    let disk = Disk::new();
    let patience = Duration::from_millis(20);
    let (app, task) = app(SqliteStorage::new(disk.path()).busy_timeout(patience))?;
    let shell = disk.connect();
    shell.execute_batch("BEGIN IMMEDIATE")?;
    let error = schedule_error(task.schedule("x".into()).id("x").delay(HOUR).block_on());
    assert!(
        matches!(error, StorageError::Busy { waited, .. } if waited == patience),
        "{error}"
    );
    assert!(app.find_job("x").is_none());
    assert!(app.health().storage_error().is_some());
    shell.execute_batch("ROLLBACK")?;
    let schedule = task.schedule("x".into()).id("x");
    let _ = schedule.delay(HOUR).block_on()?;
    assert_eq!(app.health().to_string(), "healthy");
    assert_eq!(disk.records().len(), 1);
    Ok(())
}

/// Regression: it took 31 s, or returned as if everything were stored.
#[test]
fn a_shutdown_beside_a_locked_file_says_what_is_not_stored_and_that_the_file_is_open() -> Result {
    let disk = Disk::new();
    let (app, task) = app(SqliteStorage::new(disk.path()).busy_timeout(HOUR))?;
    let job = task.schedule("x".into()).id("x").delay(HOUR).block_on()?;
    let shell = disk.connect();
    shell.execute_batch("BEGIN IMMEDIATE")?;
    let mut cancel = job.cancel();
    begin(&mut cancel);
    let report = app.shutdown(Duration::ZERO).block_on();
    assert_eq!((report.left.len(), report.unstored), (0, 1));
    assert!(!report.is_store_closed);
    let again = SqliteStorage::new(disk.path());
    let again = Jobber::builder().storage(again).build()?;
    assert!(matches!(
        again.start().block_on(),
        Err(StartError::Storage(StorageError::InUse { .. }))
    ));
    shell.execute_batch("ROLLBACK")?;
    // The commit that waited succeeds, and the store is closed.
    assert!(cancel.block_on()?.took_effect());
    wait_until(|| app.shutdown(Duration::ZERO).block_on().is_complete());
    assert!(disk.records().is_empty());
    again.start().block_on()?;
    Ok(())
}

#[test]
fn a_lock_that_ends_in_time_delays_the_commit() -> Result {
    let disk = Disk::new();
    let (_app, task) = app(SqliteStorage::new(disk.path()).busy_timeout(HOUR))?;
    let shell = disk.connect();
    shell.execute_batch("BEGIN IMMEDIATE")?;
    let (told, tells) = mpsc::channel();
    let waiting = thread::spawn(move || {
        let submit = task.schedule("x".into()).delay(HOUR);
        told.send(()).unwrap();
        submit.block_on().map(|job| job.status())
    });
    tells.recv()?;
    shell.execute_batch("COMMIT")?;
    assert_eq!(waiting.join().unwrap()?, JobStatus::Scheduled);
    Ok(())
}

#[test]
fn a_full_store_refuses_new_jobs_and_goes_on_with_the_others() -> Result {
    let disk = Disk::new();
    let (app, task) = app(SqliteStorage::new(disk.path()).max_bytes(200_000))?;
    let mut jobs = Vec::new();
    let error = loop {
        match task.schedule("x".repeat(5_000)).delay(HOUR).block_on() {
            Ok(job) => jobs.push(job),
            Err(ScheduleError::Storage(error)) => break error,
            Err(error) => return Err(error.into()),
        }
        assert!(jobs.len() < 100, "the store has no limit");
    };
    assert!(matches!(error, StorageError::Full { .. }), "{error}");
    assert_eq!(app.jobs().len(), jobs.len());
    assert_eq!(disk.records().len(), jobs.len());
    // Removed jobs make room.
    for job in jobs.drain(..10) {
        assert!(job.cancel().block_on()?.took_effect());
    }
    let job = task.schedule("abc".into()).push().block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(app.health().to_string(), "healthy");
    Ok(())
}

/// SQLite bounds the length of a text.
#[test]
fn a_job_that_is_too_large_is_refused_without_the_jobs_of_its_commit() -> Result {
    // The limit is a gigabyte, too much for a test: another store returns the same error.
    use jobber::MemoryStorage;
    use jobber::testing::{Fault, FaultyStorage, Operation};
    let disk = MemoryStorage::new();
    let (gate, open) = mpsc::channel::<()>();
    let mut is_first = true;
    let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
        Operation::Commit(changes) => {
            if std::mem::take(&mut is_first) {
                open.recv().unwrap();
            }
            let is_large = |change: &jobber::storage::Change| matches!(change, jobber::storage::Change::Put(job) if job.args().len() > 1_000);
            if changes.iter().any(is_large) {
                Fault::FailWith(StorageError::TooLarge {
                    detail: "too long".into(),
                })
            } else {
                Fault::None
            }
        }
        _ => Fault::None,
    });
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |text: String| text.len()).durable();
    let task = task.register()?;
    app.start().block_on()?;
    // The first commit is held, so that all others are one commit.
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let task = task.clone();
            thread::spawn(move || {
                let text = if n == 4 {
                    "x".repeat(2_000)
                } else {
                    "x".into()
                };
                task.schedule(text).delay(HOUR).block_on().map(drop)
            })
        })
        .collect();
    gate.send(())?;
    let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(()) => assert_ne!(n, 4),
            Err(ScheduleError::Storage(StorageError::TooLarge { .. })) => assert_eq!(n, 4),
            Err(error) => panic!("{n}: {error}"),
        }
    }
    assert_eq!(disk.records().len(), 7);
    assert_eq!(app.health().to_string(), "healthy", "the store works");
    Ok(())
}

#[test]
fn an_invalid_row_is_kept_and_reported() -> Result {
    let disk = Disk::new();
    let (app, task) = disk.app()?;
    let schedule = task.schedule("abc".into()).id("good");
    let _ = schedule.delay(HOUR).block_on()?;
    for id in ["a", "b", "c", "d"] {
        let schedule = task.schedule("abc".into()).id(id);
        let _ = schedule.every(HOUR).block_on()?;
    }
    drop(app);
    let sql = disk.connect();
    for (id, change) in [
        ("a", "due = 'tomorrow'"),
        ("b", "trigger = 'solar'"),
        ("c", "progress = json_set(progress, '$.new_field', 1)"),
        ("d", "task = x'ff00'"),
    ] {
        sql.execute(&format!("UPDATE jobs SET {change} WHERE id = '{id}'"), [])?;
    }
    let dump = |sql: &Connection| -> Result<Vec<String>> {
        let mut rows = sql.prepare("SELECT quote(id) || quote(task) || quote(args) || quote(due) || quote(progress) FROM jobs")?;
        let rows = rows.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    let before = dump(&sql)?;
    let (app, task) = disk.app()?;
    assert!(task.job("good").is_some());
    let unresolved = app.unresolved();
    let ids: Vec<_> = unresolved.iter().map(|job| job.id.to_string()).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
    assert!(
        unresolved
            .iter()
            .all(|job| matches!(job.reason, UnresolvedReason::Unreadable(_)))
    );
    let text = unresolved[0].to_string();
    assert!(text.contains("due is \"tomorrow\""), "{text}");
    app.shutdown(HOUR).block_on();
    assert_eq!(dump(&sql)?, before);
    Ok(())
}

#[test]
fn inspect_reads_a_file_that_an_app_has_open() -> Result {
    let disk = Disk::new();
    let (_app, task) = disk.app()?;
    let schedule = task.schedule("abc".into()).id("x");
    let _ = schedule.every(HOUR).block_on()?;
    let records = disk.records();
    assert_eq!(records.len(), 1);
    assert!(
        matches!(records[0].trigger, TriggerRecord::Every { interval, .. } if interval == HOUR)
    );
    let missing = SqliteStorage::inspect(disk.0.path().join("missing.db"), |_| {});
    assert!(matches!(missing, Err(StorageError::CannotOpen { .. })));
    assert!(
        !disk.0.path().join("missing.db").exists(),
        "inspect creates no file"
    );
    Ok(())
}

#[test]
fn jobs_submitted_during_a_commit_are_committed_together() -> Result {
    // While the first commit is held, the others gather.
    use jobber::MemoryStorage;
    use jobber::testing::{Fault, FaultyStorage, Operation};
    let (gate, open) = mpsc::channel::<()>();
    let (asks, asked) = mpsc::channel::<()>();
    let commits = Arc::new(Mutex::new(Vec::new()));
    let seen = commits.clone();
    let storage = FaultyStorage::new(MemoryStorage::new(), move |operation| {
        if let Operation::Commit(changes) = operation {
            let mut seen = seen.lock().unwrap();
            seen.push(changes.len());
            if seen.len() == 1 {
                drop(seen);
                asks.send(()).unwrap();
                open.recv().unwrap();
            }
        }
        Fault::None
    });
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |_: String| 0).durable().register()?;
    app.start().block_on()?;
    let submit = |n: usize| task.schedule(n.to_string()).delay(HOUR);
    let first = submit(0);
    let mut rest: Vec<_> = (1..1_000).map(submit).collect();
    let first = thread::spawn(|| first.block_on().map(drop));
    asked.recv()?;
    // One thread submits all of them: each is queued in its first poll.
    futures_lite::future::block_on(async {
        for submit in &mut rest {
            assert!(
                futures_lite::future::poll_once(submit).await.is_none(),
                "it waits for the store"
            );
        }
        gate.send(()).unwrap();
        for submit in rest {
            let _ = submit.await.unwrap();
        }
    });
    first.join().unwrap()?;
    assert_eq!(*commits.lock().unwrap(), [1, 999]);
    Ok(())
}

/// The write-ahead log is merged into the file and removed.
#[test]
fn a_closed_store_is_one_file() -> Result {
    let disk = Disk::new();
    let (app, task) = app(SqliteStorage::new(disk.path()).synchronous(Synchronous::Normal))?;
    for _ in 0..100 {
        let _ = task.schedule("abc".into()).delay(HOUR).block_on()?;
    }
    app.shutdown(HOUR).block_on();
    let mut names: Vec<_> = fs::read_dir(disk.0.path())?
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["jobs.db"]);
    Ok(())
}

#[test]
fn a_store_that_was_not_opened_returns_closed() {
    let disk = Disk::new();
    let mut storage = SqliteStorage::new(disk.path());
    assert!(matches!(storage.commit(&[]), Err(StorageError::Closed)));
    assert!(matches!(
        storage.load(&mut |_| {}),
        Err(StorageError::Closed)
    ));
}

// Tests that start this program again.

const CHILD: &str = "JOBBER_SQLITE_CHILD";

const ONLY_START: &str = "JOBBER_SQLITE_CHILD_ONLY_STARTS";

/// Not a test: the process that the tests below start.
#[test]
fn the_process_that_a_test_starts() -> Result {
    let Ok(path) = std::env::var(CHILD) else {
        return Ok(());
    };
    if std::env::var_os(ONLY_START).is_some() {
        println!("{:?}", start_error(Path::new(&path)));
        return Ok(());
    }
    let (app, task) = app(SqliteStorage::new(path))?;
    // Until the file may not grow, and the log has been copied into it as far as that goes.
    let mut failed_in_a_row = 0;
    let error = loop {
        match task.schedule("x".repeat(1_000)).delay(HOUR).block_on() {
            Ok(_) => failed_in_a_row = 0,
            Err(ScheduleError::Storage(_)) if failed_in_a_row < 3 => failed_in_a_row += 1,
            Err(ScheduleError::Storage(error)) => break error,
            Err(error) => return Err(error.into()),
        }
    };
    let kind = match error {
        StorageError::Io { .. } => "io",
        StorageError::Full { .. } => "full",
        other => panic!("{other}"),
    };
    // The app still runs jobs that need no store.
    let schedule = task.schedule("abc".into()).in_memory();
    let job = schedule.push().block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert!(
        task.schedule("x".repeat(1_000))
            .delay(HOUR)
            .block_on()
            .is_err()
    );
    println!("{kind} after {} jobs", app.jobs().len());
    Ok(())
}

/// The operating system refuses to write (`EFBIG`, `setrlimit(2)`).
#[cfg(unix)]
#[test]
fn an_io_error_is_returned_and_loses_nothing() -> Result {
    let disk = Disk::new();
    let program = std::env::current_exe()?;
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 600; exec \"$0\" sqlite::the_process_that_a_test_starts --exact --nocapture",
        ])
        .arg(program)
        .env(CHILD, disk.path())
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let line = text
        .lines()
        .find(|line| line.contains(" after "))
        .expect("the child prints it");
    let line = line.split("... ").last().unwrap();
    let (kind, rest) = line.split_once(" after ").unwrap();
    let promised: usize = rest.split(' ').next().unwrap().parse()?;
    assert_eq!(kind, "io");
    assert!(promised > 10, "{promised}");
    assert_eq!(disk.records().len(), promised);
    Ok(())
}

/// The child has another user, because root can write to every file.
#[cfg(unix)]
#[test]
fn a_file_that_is_not_writable_fails_the_start() -> Result {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let disk = Disk::new();
    let (app, task) = disk.app()?;
    let _ = task.schedule("abc".into()).delay(HOUR).block_on()?;
    drop(app);
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let start_as_another = || -> Result<String> {
        // A folder that the other user may read.
        let program = disk.0.path().join("program");
        chmod(disk.0.path(), 0o755)?;
        fs::copy(std::env::current_exe()?, &program)?;
        chmod(&program, 0o755)?;
        chmod(disk.0.path(), 0o555)?;
        let mut command = Command::new(program);
        command
            .args([
                "sqlite::the_process_that_a_test_starts",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, disk.path())
            .env(ONLY_START, "1")
            .current_dir(disk.0.path());
        if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
        {
            command.uid(65_534);
        }
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    };
    let text = start_as_another()?;
    assert!(
        text.contains("CannotOpen") && text.contains("PermissionDenied"),
        "{text}"
    );
    chmod(&disk.path(), 0o444)?;
    let text = start_as_another()?;
    assert!(text.contains("ReadOnly"), "{text}");
    chmod(disk.0.path(), 0o755)?;
    Ok(())
}

#[test]
fn a_file_of_an_older_schema_is_migrated_and_its_jobs_are_unresolved() -> Result {
    let columns_of: [&[_]; 9] = [
        &["retry_ns"],
        &["expires_ns", "clock_set_by_ns", "by_unset_clock"],
        &["interruptions", "repeats_start"],
        &["timeout_ns", "retry", "declared_by"],
        &["paused", "steering", "priority", "limit_key", "labels"],
        &["rate_key"],
        &["unique_for_ns"],
        &["spawned_by"],
        &["checkpoint", "checkpoint_codec", "codec"],
    ];
    for (at, version) in [
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
        (5, 7),
        (6, 9),
        (7, 10),
        (8, 11),
    ] {
        let disk = Disk::new();
        let (app, task) = disk.app()?;
        let schedule = task.schedule("old".into()).id("old");
        let _ = schedule.delay(HOUR).block_on()?;
        app.shutdown(HOUR).block_on();
        drop((app, task));
        let store = disk.connect();
        for column in columns_of[at..].iter().copied().flatten() {
            store.execute(&format!("ALTER TABLE jobs DROP COLUMN {column}"), [])?;
        }
        if version < 5 {
            store.execute_batch("DROP TABLE ends; DROP TABLE app")?;
        }
        if version >= 5 {
            store.execute_batch("ALTER TABLE ends DROP COLUMN codec")?;
        }
        if version < 7 {
            store.execute_batch("DROP TABLE pauses")?;
        }
        if version < 10 {
            store.execute_batch("DROP TABLE taken_ids")?;
        }
        store.execute("UPDATE jobs SET version = ?1", [version])?;
        store.pragma_update(None, "user_version", at as i64 + 1)?;
        drop(store);
        let (app, task) = disk.app()?;
        let unresolved = app.unresolved();
        let reasons: Vec<_> = unresolved.iter().map(|job| &job.reason).collect();
        assert!(
            matches!(
                reasons[..],
                [UnresolvedReason::OtherVersion { found, .. }] if *found == version
            ),
            "{reasons:?}"
        );
        let schedule = task.schedule("new".into()).id("new").expires(HOUR);
        let job = schedule.delay(HOUR).block_on()?;
        assert_eq!(job.status(), JobStatus::Scheduled);
    }
    Ok(())
}
