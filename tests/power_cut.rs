//! Simulated power cuts: each operation of a program on its disk is recorded. From the
//! record, folders are built that the disk may have if the power fails at some moment; each
//! is opened and compared with what the program had been promised by then.
//!
//! The program is this test again, with a small library before the C library
//! (`power_cut/shim.c`) that keeps the journal. What is certain, and what is left
//! to chance, is in `power_cut/disk.rs`: everything synced is there. Of a file
//! each sector of 512 bytes is in any state that it had since the last sync, and
//! so is the length; of a folder, each name. Sometimes all stops in order at one
//! operation, which is torn.
//!
//! It is a model: an `fsync` that has returned is believed, a sector is written
//! whole or not at all, and nothing is written where it does not belong. A disk
//! that does otherwise breaks any store.
//!
//! The programs are three, one after the other; each begins with what a power cut
//! has left of the one before, so that a recovery is cut as well.
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
#[path = "power_cut/program.rs"]
mod program;
#[path = "power_cut/promises.rs"]
mod promises;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use disk::{Disk, Event, Folder, MARKS};
use fastrand::Rng;
use jobber::{
    JobContext, Jobber, SqliteStorage,
    storage::{Loaded, Storage, Synchronous},
};
use program::Tasks;
use promises::{Found, Promises};
use tempfile::TempDir;

use support::record::JobRecord;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Long enough for any machine; a hang fails the test instead of stopping it.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Builds the library that keeps the journal.
fn shim(dir: &Path) -> Result<PathBuf> {
    let shim = dir.join("shim.so");
    if shim.exists() {
        return Ok(shim);
    }
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

/// Lets the program live with the store that is in this folder, and gives what it
/// did to it.
fn live_through(history: &History, start: &Folder, journal: &Path) -> Result<Vec<Event>> {
    let folder = history.dir.path().join("store");
    make(&folder, start)?;
    File::create(folder.join(MARKS))?;
    let mut command = support::child("program::the_process_whose_power_is_cut")?;
    command
        .env(program::DIR, &folder)
        .env(program::NUMBER, history.number.to_string())
        .env("LD_PRELOAD", shim(history.dir.path())?)
        .env("POWER_CUT_FOLDER", &folder)
        .env("POWER_CUT_JOURNAL", journal)
        .stdout(Stdio::null());
    if history.synchronous == Synchronous::Normal {
        command.env(program::NORMAL, "1");
    }
    let (status, stderr) = support::run_within(WATCHDOG, &mut command)?;
    assert!(status.success(), "the program: {stderr}");
    let events = disk::read_journal(journal)?;
    // Nothing is missing in the journal: all of it makes the files that are
    // there.
    let mut disk = Disk::with(start);
    events.iter().for_each(|event| {
        disk.apply(event);
    });
    let seen = disk.seen();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().into_string().unwrap();
        if name != MARKS && !name.ends_with("-shm") {
            let there = fs::read(folder.join(&name))?;
            assert!(seen[&name] == there, "{name} differs from its journal");
        }
    }
    assert!(seen.keys().all(|name| folder.join(name).exists()));
    fs::remove_dir_all(&folder)?;
    Ok(events)
}

fn make(folder: &Path, files: &Folder) -> Result {
    fs::create_dir(folder)?;
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

fn load(path: &Path) -> Result<BTreeMap<String, JobRecord>> {
    let mut storage = SqliteStorage::new(path);
    storage.open()?;
    let mut records = BTreeMap::new();
    let mut unreadable = Vec::new();
    storage.load(&mut |loaded| match loaded {
        Loaded::Job(record) => {
            let record = JobRecord::of(&record);
            records.insert(record.id.clone(), record);
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
    let storage = SqliteStorage::new(path);
    let app = Jobber::builder().storage(storage).build()?;
    let begun = Arc::new(Mutex::new(BTreeSet::new()));
    let log = begun.clone();
    let begins = move |cx: &JobContext| {
        log.lock().unwrap().insert(cx.id().to_string());
    };
    let tasks = Tasks::register(&app, Arc::new(begins))?;
    app.start().block_on()?;
    assert!(app.unresolved().is_empty(), "{:?}", app.unresolved());
    let new = tasks.quick.schedule(1).id("new").push().block_on()?;
    assert!(new.wait_timeout(WATCHDOG).block_on().is_final());
    for (id, record) in before {
        if !id.starts_with("quick") && !id.starts_with("once") {
            continue;
        }
        if let Some(job) = app.find_job(id.as_str()) {
            assert!(job.wait_timeout(WATCHDOG).block_on().is_final());
        }
        // One that was to run at most once, and had begun, does not.
        let runs = !record.progress.must_not_run_again();
        if begun.lock().unwrap().contains(id) != runs {
            return Err(format!("{record:?}: it is {runs} that it runs").into());
        }
    }
    app.shutdown(Duration::MAX).block_on();
    let after = load(path)?;
    let stays = |id: &&String| id.starts_with("keep") || id.starts_with("later") || *id == "again";
    match before.keys().filter(stays).eq(after.keys()) {
        true => check_file(path),
        false => Err(format!("of {:?}, {:?} is left", before.keys(), after.keys()).into()),
    }
}

/// Programs on one store, one after the other; each begins with what a power cut
/// has left of the one before.
struct History {
    synchronous: Synchronous,
    number: u64,
    dir: TempDir,
    rng: Rng,
    found: Found,
}

const PROGRAMS: u64 = 3;

/// Cuts the power many times and returns the outcome.
fn cut(synchronous: Synchronous) -> Result<Found> {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>());
    let seed = variable("JOBBER_CUT_SEED").unwrap_or_else(|| Ok(fastrand::u64(..)))?;
    let cuts = variable("JOBBER_CUTS").unwrap_or(Ok(1_000))?;
    // In memory: the power of this machine is not cut.
    let memory = Path::new("/dev/shm");
    let mut dir = tempfile::Builder::new();
    dir.prefix("jobber-power-cut-");
    let mut history = History {
        synchronous,
        number: 0,
        dir: match memory.is_dir() {
            true => dir.tempdir_in(memory)?,
            false => dir.tempdir()?,
        },
        rng: Rng::with_seed(seed),
        found: Found::default(),
    };
    // To judge it again.
    let journals = std::env::var_os("JOBBER_CUT_JOURNALS").map(PathBuf::from);
    let (mut start, mut promises) = (Folder::new(), Promises::default());
    let (mut length, mut logs) = (0, 0);
    for number in 0..PROGRAMS {
        history.number = number;
        let name = format!("journal-{number}");
        let events = match &journals {
            Some(journals) => disk::read_journal(&journals.join(name))?,
            None => live_through(&history, &start, &history.dir.path().join(name))?,
        };
        length += events.len();
        logs += disk::logs_begun(&events);
        let result = history.cut(&events, cuts.div_ceil(PROGRAMS), &start, promises);
        (start, promises) = match result {
            Ok(left) => left,
            Err(fault) => panic!(
                "program {number}, {fault}\nThis test alone does it again with JOBBER_CUTS={cuts} \
                 JOBBER_CUT_SEED={seed} JOBBER_CUT_JOURNALS={}",
                journals.unwrap_or_else(|| history.dir.keep()).display()
            ),
        };
    }
    let found = history.found;
    println!("{synchronous:?}, {cuts} cuts, {length} events, {logs} logs, seed {seed}: {found:?}");
    // Each program has two; the rest was begun anew, after checkpoints.
    assert!(logs > 2 * PROGRAMS as usize, "{logs}");
    Ok(found)
}

impl History {
    /// Returns one of the folders that were left, and what is promised there.
    fn cut(
        &mut self,
        events: &[Event],
        cuts: u64,
        start: &Folder,
        mut promises: Promises,
    ) -> Result<(Folder, Promises)> {
        let mut moments: Vec<usize> = (0..cuts).map(|_| self.rng.usize(..=events.len())).collect();
        moments.sort_unstable();
        let next = self.rng.usize(..moments.len());
        let mut left = None;
        let mut disk = Disk::with(start);
        for (number, moment) in moments.into_iter().enumerate() {
            while disk.now < moment as u64 {
                promises.hear(disk.apply(&events[disk.now as usize]));
            }
            let mut image = disk.image(&mut self.rng);
            if self.rng.bool() {
                // The memory that the processes share is a file, and may be there.
                let mut noise = vec![0; 32 * 1_024];
                self.rng.fill(&mut noise);
                image.insert("jobs.db-shm".into(), noise);
            }
            let records = self.look(&image, &promises).map_err(|fault| {
                let event = moment.checked_sub(1).map(|last| events[last].to_string());
                format!("cut {number}, after event {moment}, {event:?}: {fault}")
            })?;
            if number == next {
                left = Some((image, Promises::of(&records)));
            }
        }
        left.ok_or_else(|| "it takes one cut at least".into())
    }

    fn look(&mut self, image: &Folder, promises: &Promises) -> Result<BTreeMap<String, JobRecord>> {
        let folder = self.dir.path().join("image");
        let path = folder.join("jobs.db");
        make(&folder, image)?;
        let records = load(&path)?;
        check_file(&path)?;
        if let Some(broken) = promises.compare(&records, &mut self.found)?
            && self.synchronous == Synchronous::Full
        {
            return Err(broken.into());
        }
        if self.rng.u8(..32) == 0 {
            go_on(&path, &records)?;
        }
        fs::remove_dir_all(&folder)?;
        Ok(records)
    }
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
