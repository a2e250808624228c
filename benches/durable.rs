//! What it costs to keep jobs in a file: schedule, run and erase, and take up
//! again.
//!
//! `cargo bench --bench durable --features sqlite`; behind `--`, a number says how
//! many jobs are restored at most, and `restore` leaves out the rest. Raw SQLite stands beside it, in the same rounds:
//! the same rows by prepared statements, with as many to a transaction as there
//! are submitters. Each figure is the median of the rounds, with the least and the
//! most; disks differ, and the ratios are what to look at. The files are in
//! `target/`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_lite::future;
use jobber::{Jobber, SqliteStorage, Synchronous, Task};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use tempfile::TempDir;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const HOUR: Duration = Duration::from_secs(3_600);
const ROUNDS: usize = 5;
const SUBMITTERS: [usize; 4] = [1, 8, 64, 1_024];

fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let most = args.iter().find_map(|arg| arg.parse().ok());
    let only_restore = args.iter().any(|arg| arg == "restore");
    for synchronous in [Synchronous::Normal, Synchronous::Full] {
        if only_restore {
            break;
        }
        println!("{synchronous:?}: jobs a second");
        println!("  submitters      schedule   raw SQLite        ratio   schedule, run, erase");
        for submitters in SUBMITTERS {
            compare(synchronous, submitters)?;
        }
    }
    println!("Restore: ms");
    println!("        jobs     app.start()     raw SELECT        ratio");
    for jobs in [100_000, 1_000_000] {
        if most.is_none_or(|most: usize| jobs <= most) {
            restore(jobs)?;
        }
    }
    Ok(())
}

/// A new file on the disk that the program is on.
fn disk() -> Result<(TempDir, PathBuf)> {
    let dir = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target"))?;
    let path = dir.path().join("jobs.db");
    Ok((dir, path))
}

type Mail = Task<(u64, String), ()>;

fn open(path: &Path, synchronous: Synchronous) -> Result<(Jobber, Mail)> {
    let storage = SqliteStorage::new(path).synchronous(synchronous);
    let app = Jobber::builder().storage(storage).build()?;
    let task = app
        .task("send_mail", async |_: u64, _: String| {})
        .durable()
        .register()?;
    app.start().wait_blocking()?;
    Ok((app, task))
}

fn compare(synchronous: Synchronous, submitters: usize) -> Result {
    // Long enough for a few hundred commits.
    let each = match (synchronous, submitters) {
        (Synchronous::Full, 1) => 500,
        (_, 1) => 4_000,
        _ => (24_000 / submitters).clamp(16, 1_000),
    };
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let (_dir, path) = disk()?;
        let (app, task) = open(&path, synchronous)?;
        let start = Instant::now();
        submit(&task, submitters, each, false)?;
        figures[0].push(per_second(submitters * each, start));
        drop(app);

        let (_dir, path) = disk()?;
        let mut raw = raw(&path, synchronous)?;
        let start = Instant::now();
        for round in 0..each {
            insert(&mut raw, round * submitters, submitters)?;
        }
        figures[1].push(per_second(submitters * each, start));

        let (_dir, path) = disk()?;
        let (app, task) = open(&path, synchronous)?;
        let start = Instant::now();
        submit(&task, submitters, each, true)?;
        figures[2].push(per_second(submitters * each, start));
        drop(app);
    }
    let ratios = figures[0]
        .iter()
        .zip(&figures[1])
        .map(|(ours, raw)| ours / raw);
    let ratio = Figure::of(ratios.collect());
    let [schedule, raw, whole] = figures.map(Figure::of);
    println!("  {submitters:>10}  {schedule:>12}  {raw:>12}  {ratio:>12.2}  {whole:>12}");
    Ok(())
}

/// So many submitters at the same time, on one thread: each schedules its jobs
/// one after the other, and waits for each to be stored, or to be done.
fn submit(task: &Mail, submitters: usize, each: usize, run: bool) -> Result {
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = (0..submitters)
        .map(|_| {
            executor.spawn(async move {
                for n in 0..each {
                    let args = (n as u64, "somebody@example.org".to_string());
                    let schedule = task.schedule(args);
                    if run {
                        schedule.push().await.unwrap().await.unwrap();
                    } else {
                        let _ = schedule.delay(HOUR).await.unwrap();
                    }
                }
            })
        })
        .collect();
    future::block_on(executor.run(async {
        for task in tasks {
            task.await;
        }
    }));
    Ok(())
}

/// The same file, as the store makes it, by hand.
fn raw(path: &Path, synchronous: Synchronous) -> Result<Connection> {
    drop(open(path, synchronous)?);
    let raw = Connection::open(path)?;
    let level = match synchronous {
        Synchronous::Full => "FULL",
        _ => "NORMAL",
    };
    raw.pragma_update(None, "synchronous", level)?;
    raw.pragma_update(None, "cache_size", -65_536)?;
    Ok(raw)
}

fn insert(raw: &mut Connection, first: usize, count: usize) -> Result {
    const TIME: &str = "2026-11-24T15:04:05.000000000Z";
    let transaction = raw.transaction()?;
    for n in first..first + count {
        let id = format!("01902a5e-7c4b-7d10-8a3e-{n:012x}");
        let mut insert = transaction.prepare_cached(
            "INSERT INTO jobs (id, task, args, due, nominal, trigger, attempts, scheduled_at, version)
             VALUES (?1, 'send_mail', ?2, ?3, ?3, 'delay', 0, ?3, 1)",
        )?;
        insert.execute(params![
            id,
            format!(r#"[{n},"somebody@example.org"]"#),
            TIME
        ])?;
    }
    transaction.commit()?;
    Ok(())
}

fn restore(jobs: usize) -> Result {
    let (_dir, path) = disk()?;
    let mut file = raw(&path, Synchronous::Normal)?;
    for first in (0..jobs).step_by(10_000) {
        insert(&mut file, first, 10_000)?;
    }
    // In a day's time: nothing is to run.
    file.execute("UPDATE jobs SET due = '2099-01-01T00:00:00.000000000Z'", [])?;
    drop(file);
    let mut figures = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        let storage = SqliteStorage::new(&path);
        let app = Jobber::builder().storage(storage).build()?;
        let _task = app
            .task("send_mail", async |_: u64, _: String| {})
            .durable()
            .register()?;
        let start = Instant::now();
        app.start().wait_blocking()?;
        figures[0].push(start.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(app.jobs().len(), jobs);
        drop(app);

        let file = Connection::open(&path)?;
        let start = Instant::now();
        let mut select = file.prepare("SELECT * FROM jobs")?;
        let columns = select.column_count();
        let mut rows = select.query([])?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                bytes += match row.get_ref(column)? {
                    ValueRef::Text(text) => text.len(),
                    _ => 8,
                };
            }
        }
        figures[1].push(start.elapsed().as_secs_f64() * 1_000.0);
        assert!(bytes > 0);
    }
    let ratios = figures[0]
        .iter()
        .zip(&figures[1])
        .map(|(ours, raw)| ours / raw);
    let ratio = Figure::of(ratios.collect());
    let [ours, raw] = figures.map(Figure::of);
    println!("  {jobs:>10}  {ours:>14}  {raw:>14}  {ratio:>12.2}");
    Ok(())
}

fn per_second(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}

/// The median, and the ends.
struct Figure {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self {
            median: figures[figures.len() / 2],
            least: figures[0],
            most: figures[figures.len() - 1],
        }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let Self {
            median,
            least,
            most,
        } = self;
        let text = format!("{median:.digits$} ({least:.digits$}-{most:.digits$})");
        // Not `pad`, which would take the precision for a length.
        let width = f.width().unwrap_or(0);
        write!(f, "{text:>width$}")
    }
}
