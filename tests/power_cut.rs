//! A power cut, simulated: what a program wrote to its disk is noted, operation
//! by operation, and from this every folder that a disk may hold if the power
//! fails at some moment is built, opened, and compared with what the program had
//! been promised by then.
//!
//! The program is this test again, with a small library before the C library
//! (`power_cut/shim.c`) that keeps the journal. What is certain, and what is left
//! to chance, is in `power_cut/disk.rs`: all that was synced is there. Of a file
//! each sector of 512 bytes is in any state that it had since the last sync, and
//! so is the length; of a folder, each name. Sometimes all stops in order at one
//! operation, which is torn.
//!
//! It is a model: an `fsync` that has returned is believed, a sector is written
//! whole or not at all, and nothing is written where it does not belong. A disk
//! that does otherwise breaks any store.
//!
//! `JOBBER_CUTS=25000 cargo test --release --all-features --test power_cut` does
//! it more often (for each of the two).
#![cfg(all(
    feature = "sqlite",
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    not(loom)
))]

#[path = "power_cut/disk.rs"]
mod disk;
#[path = "power_cut/promises.rs"]
mod promises;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use disk::{Disk, Event, MARKS};
use fastrand::Rng;
use jobber::{
    Job, JobContext, JobRecord, Jobber, Loaded, SqliteStorage, Storage, Synchronous, Task,
};
use promises::{Found, Promises};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const DIR: &str = "JOBBER_CUT_DIR";
const NORMAL: &str = "JOBBER_CUT_NORMAL";

const MILLI: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);

// The program whose power fails.

#[derive(Clone)]
struct Marks(Arc<File>);

impl Marks {
    /// In one write, so that it has its place in the journal.
    fn add(&self, what: &str, id: &impl ToString, number: u64) {
        let line = format!("{what} {} {number}\n", id.to_string());
        (&*self.0).write_all(line.as_bytes()).unwrap();
    }
}

struct Tasks {
    quick: Task<u64, ()>,
    once: Task<u64, ()>,
}

/// Told of each run, when it begins.
type Begins = Arc<dyn Fn(&JobContext) + Send + Sync>;

impl Tasks {
    fn register(app: &Jobber, begins: Begins) -> Result<Self> {
        let run = |begins: Begins| {
            move |cx: JobContext, _: u64| {
                begins(&cx);
                async {}
            }
        };
        Ok(Self {
            quick: app
                .task("quick", run(begins.clone()))
                .durable()
                .register()?,
            once: app
                .task("once", run(begins))
                .durable()
                .at_most_once()
                .register()?,
        })
    }
}

/// Not a test by itself: the program.
#[test]
fn child() -> Result {
    let Ok(dir) = std::env::var(DIR) else {
        return Ok(());
    };
    let dir = Path::new(&dir);
    let marks = OpenOptions::new().append(true).open(dir.join(MARKS))?;
    let marks = Marks(Arc::new(marks));
    let synchronous = match std::env::var_os(NORMAL) {
        Some(_) => Synchronous::Normal,
        None => Synchronous::Full,
    };
    for life in 0..2 {
        let storage = SqliteStorage::new(dir.join("jobs.db")).synchronous(synchronous);
        let app = Jobber::builder().storage(storage).build()?;
        let log = marks.clone();
        let begins = move |cx: &JobContext| log.add("begins", cx.id(), cx.run_number());
        let tasks = Tasks::register(&app, Arc::new(begins))?;
        app.start().wait_blocking()?;
        thread::scope(|scope| {
            for thread in 0..3 {
                let (tasks, marks) = (&tasks, &marks);
                scope.spawn(move || live(tasks, marks, life, thread).unwrap());
            }
        });
        if life == 0 {
            app.shutdown(Duration::MAX).wait_blocking();
        } else {
            // It has no time for a shutdown.
            (&*marks.0).write_all(b"stop\n")?;
        }
    }
    unreachable!("it has ended")
}

/// What a program does with its jobs.
fn live(tasks: &Tasks, marks: &Marks, life: u64, thread: u64) -> Result {
    let mut rng = Rng::with_seed(life * 10 + thread);
    let mut later: Vec<(Job<()>, u64)> = Vec::new();
    let mut soon: Vec<Job<()>> = Vec::new();
    if (life, thread) == (0, 0) {
        marks.add("asks", &"again", 1);
        let _again = tasks
            .quick
            .schedule(1)
            .id("again")
            .every(MILLI * 7)
            .wait_blocking()?;
        marks.add("promised", &"again", 1);
    }
    for n in 0..60 {
        let name = format!("{thread}-{life}-{n}");
        match rng.u8(..8) {
            // One that stays.
            0 | 1 => {
                let id = format!("keep-{name}");
                marks.add("asks", &id, 1);
                let _kept = tasks
                    .quick
                    .schedule(1)
                    .id(&*id)
                    .delay(DAY)
                    .wait_blocking()?;
                marks.add("promised", &id, 1);
            }
            2 => {
                let id = format!("later-{name}");
                marks.add("asks", &id, 1);
                let job = tasks.once.schedule(1).id(&*id).delay(DAY).wait_blocking()?;
                marks.add("promised", &id, 1);
                later.push((job, 1));
            }
            3 if !later.is_empty() => {
                let (job, version) = later.swap_remove(rng.usize(..later.len()));
                let version = version + 1;
                marks.add("asks", job.id(), version);
                let schedule = tasks.once.schedule(version).id(job.id()).replace();
                let job = schedule.delay(DAY).wait_blocking()?;
                marks.add("promised", job.id(), version);
                later.push((job, version));
            }
            4 if !later.is_empty() => {
                let (job, _) = later.swap_remove(rng.usize(..later.len()));
                marks.add("cancels", job.id(), 0);
                assert!(job.cancel().wait_blocking()?);
                marks.add("gone", job.id(), 0);
            }
            5 if soon.len() > 3 => {
                let job = soon.swap_remove(rng.usize(..soon.len()));
                job.wait_blocking();
                marks.add("gone", job.id(), 0);
            }
            _ => {
                let (kind, task) = match rng.bool() {
                    true => ("quick", &tasks.quick),
                    false => ("once", &tasks.once),
                };
                let id = format!("{kind}-{name}");
                marks.add("asks", &id, 1);
                let delay = MILLI * rng.u32(..20);
                soon.push(task.schedule(1).id(&*id).delay(delay).wait_blocking()?);
                marks.add("promised", &id, 1);
            }
        }
    }
    Ok(())
}

// The one who cuts it.

/// Builds the library that keeps the journal.
fn shim(dir: &Path) -> Result<PathBuf> {
    let shim = dir.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_cut/shim.c");
    let status = Command::new("cc")
        .args([
            "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-pthread", "-o",
        ])
        .args([&shim, &source])
        .status()
        .map_err(|error| format!("this test needs a C compiler named cc: {error}"))?;
    assert!(status.success(), "cc can't compile {}", source.display());
    Ok(shim)
}

/// Lets the program live, and gives what it did.
fn live_through(dir: &Path, synchronous: Synchronous) -> Result<Vec<Event>> {
    let (folder, journal) = (dir.join("store"), dir.join("journal"));
    fs::create_dir(&folder)?;
    File::create(folder.join(MARKS))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["child", "--exact", "--nocapture"])
        .env(DIR, &folder)
        .env("LD_PRELOAD", shim(dir)?)
        .env("POWER_CUT_FOLDER", &folder)
        .env("POWER_CUT_JOURNAL", &journal)
        .stdout(Stdio::null());
    if synchronous == Synchronous::Normal {
        command.env(NORMAL, "1");
    }
    let output = command.stderr(Stdio::piped()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the program: {stderr}");
    let events = disk::read_journal(&journal)?;
    // Nothing is missing in the journal: all of it makes the files that are
    // there.
    let mut disk = Disk::default();
    events.iter().for_each(|event| {
        disk.apply(event);
    });
    let seen = disk.seen();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().into_string().unwrap();
        if name != MARKS && !name.ends_with("-shm") {
            let there = fs::read(folder.join(&name))?;
            assert!(seen[&*name] == there, "{name} differs from its journal");
        }
    }
    assert!(seen.keys().all(|name| folder.join(name).exists()));
    Ok(events)
}

fn load(path: &Path) -> Result<BTreeMap<String, JobRecord>> {
    let mut storage = SqliteStorage::new(path);
    storage.open()?;
    let mut records = BTreeMap::new();
    let mut unreadable = Vec::new();
    storage.load(&mut |loaded| match loaded {
        Loaded::Job(record) => {
            records.insert(record.id.to_string(), *record);
        }
        other => unreadable.push(other),
    })?;
    match unreadable.is_empty() {
        true => Ok(records),
        false => Err(format!("{unreadable:?}").into()),
    }
}

/// That SQLite, too, finds no fault with it.
fn check_file(path: &Path) -> Result {
    let connection = rusqlite::Connection::open(path)?;
    let check = "PRAGMA integrity_check";
    let answer: String = connection.query_row(check, [], |row| row.get(0))?;
    match answer.as_str() {
        "ok" => Ok(()),
        _ => Err(answer.into()),
    }
}

/// An app goes on with it: runs what is due, takes new jobs, and keeps the rest.
fn go_on(path: &Path, before: &BTreeMap<String, JobRecord>) -> Result {
    let app = Jobber::builder()
        .storage(SqliteStorage::new(path))
        .build()?;
    let tasks = Tasks::register(&app, Arc::new(|_| {}))?;
    app.start().wait_blocking()?;
    assert!(app.unresolved().is_empty(), "{:?}", app.unresolved());
    tasks
        .quick
        .schedule(1)
        .id("new")
        .push()
        .wait_blocking()?
        .wait_blocking();
    for id in before
        .keys()
        .filter(|id| id.starts_with("quick") || id.starts_with("once"))
    {
        if let Some(job) = app.find_job(id.as_str()) {
            job.wait_blocking();
        }
    }
    app.shutdown(Duration::MAX).wait_blocking();
    let after = load(path)?;
    let stays = |id: &&String| id.starts_with("keep") || id.starts_with("later") || *id == "again";
    match before.keys().filter(stays).eq(after.keys()) {
        true => check_file(path),
        false => Err(format!("of {:?}, {:?} is left", before.keys(), after.keys()).into()),
    }
}

/// Cuts the power many times. Gives what that did.
fn cut(synchronous: Synchronous) -> Result<Found> {
    // In memory: here nobody cuts the power.
    let memory = Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory)?,
        false => tempfile::tempdir()?,
    };
    // To judge a history again: its journal, and the seed.
    let events = match std::env::var_os("JOBBER_CUT_JOURNAL") {
        Some(journal) => disk::read_journal(Path::new(&journal))?,
        None => live_through(dir.path(), synchronous)?,
    };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>());
    let seed = number("JOBBER_CUT_SEED").unwrap_or_else(|| Ok(fastrand::u64(..)))?;
    let cuts = number("JOBBER_CUTS").unwrap_or(Ok(1_000))?;
    let mut rng = Rng::with_seed(seed);
    let mut moments: Vec<usize> = (0..cuts).map(|_| rng.usize(..=events.len())).collect();
    moments.sort_unstable();

    let image = dir.path().join("image");
    let path = image.join("jobs.db");
    let (mut disk, mut promises) = (Disk::default(), Promises::default());
    let mut found = Found::default();
    for moment in moments {
        while disk.now < moment as u64 {
            promises.hear(disk.apply(&events[disk.now as usize]));
        }
        fs::create_dir(&image)?;
        for (name, bytes) in disk.image(&mut rng) {
            fs::write(image.join(name), bytes)?;
        }
        if rng.bool() {
            // The memory that the processes share is a file, and may be there.
            let mut noise = vec![0; 32 * 1_024];
            rng.fill(&mut noise);
            fs::write(image.join("jobs.db-shm"), noise)?;
        }
        let mut look = || -> Result {
            let records = load(&path)?;
            check_file(&path)?;
            promises.compare(&records, &mut found)?;
            match synchronous == Synchronous::Full && found.broken > 0 {
                true => Err(found.example.clone().into()),
                false if rng.u8(..32) == 0 => go_on(&path, &records),
                false => Ok(()),
            }
        };
        if let Err(fault) = look() {
            let kept = dir.keep();
            let journal = kept.join("journal");
            panic!(
                "after event {moment}, {:?}: {fault}\nJOBBER_CUT_SEED={seed} JOBBER_CUT_JOURNAL={} \
                 does it again, with as many cuts and this test alone",
                events.get(moment.wrapping_sub(1)),
                journal.display()
            );
        }
        fs::remove_dir_all(&image)?;
    }
    println!(
        "{synchronous:?}, {cuts} cuts, {} events: {found:?}",
        events.len()
    );
    Ok(found)
}

#[test]
fn with_full_a_power_cut_takes_nothing_that_was_acknowledged() -> Result {
    let found = cut(Synchronous::Full)?;
    assert_eq!(found.broken, 0, "{found:?}");
    // They had something to lose.
    assert!(found.held > 0 && found.barred > 0, "{found:?}");
    Ok(())
}

/// It is also what shows that the disk here can lose something.
#[test]
fn with_normal_a_power_cut_takes_the_last_commits_and_leaves_the_file_sound() -> Result {
    let found = cut(Synchronous::Normal)?;
    assert!(found.lost > 0 && found.back > 0, "{found:?}");
    Ok(())
}
