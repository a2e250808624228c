//! W10: take up again the jobs that are in a file, beside reading its rows.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jobber::storage::Synchronous;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use time::OffsetDateTime;

use super::{arg, cannot, store};
use crate::Result;
use crate::args::Options;
use crate::peers::Peer;
use crate::table::number;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "restore";
const PEERS: [Peer; 2] = [Peer::Jobber, Peer::Sqlite];

pub fn work(options: &Options) -> Work {
    let sizes = [100_000, 1_000_000].map(|size| options.size(size));
    Work {
        name: NAME,
        rounds: 3,
        once: &[],
        cases: sizes
            .iter()
            .map(|size| Case::new(number(*size as f64, 0), &[size], &PEERS))
            .collect(),
        tables: vec![Table {
            name: "w10",
            title: "Restore stored jobs: ms",
            columns: vec![column("ms", "ms", 0)],
            ratios: vec![Ratio {
                figure: "ms",
                base: Peer::Sqlite,
                title: "ms/sqlite",
            }],
            goals: vec![
                Goal::figure(1, Peer::Jobber, "ms/sqlite", "ms")
                    .over(Peer::Sqlite)
                    .at_most(2.0),
            ],
            notes: vec![
                "jobber: app.start(), until every job is held and can be waited for. sqlite: SELECT * over",
                "the same file, with every text looked at.",
            ],
        }],
    }
}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    let count: usize = arg(args, 0)?;
    let path = stored(count)?;
    match peer {
        Peer::Jobber => {
            let (app, _task) = store::app(&path, Synchronous::Full)?;
            let start = Instant::now();
            app.start().block_on()?;
            let took = start.elapsed();
            let restored = app.jobs().len();
            if restored != count {
                return Err(format!("{restored} of {count} jobs were restored").into());
            }
            Ok(vec![("ms", took.as_secs_f64() * 1e3)])
        }
        Peer::Sqlite => {
            let start = Instant::now();
            read(&path)?;
            Ok(vec![("ms", start.elapsed().as_secs_f64() * 1e3)])
        }
        _ => cannot(peer, NAME),
    }
}

/// The file of the run with `count` jobs; the first sample makes it, by scheduling
/// them. None of them becomes due, so that it stays as it is.
fn stored(count: usize) -> Result<PathBuf> {
    /// Each waits for one job at a time.
    const SUBMITTERS: usize = 1_000;
    let path = PathBuf::from(format!("restore-{count}.db"));
    if path.exists() {
        return Ok(path);
    }
    let unfinished = PathBuf::from(format!("unfinished-{count}.db"));
    {
        let (app, task) = store::app(&unfinished, Synchronous::Normal)?;
        app.start().block_on()?;
        let due = OffsetDateTime::now_utc() + Duration::from_secs(10 * 365 * 24 * 3_600);
        let executor = smol::LocalExecutor::new();
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|first| {
                let task = &task;
                executor.spawn(async move {
                    for n in (first..count).step_by(SUBMITTERS) {
                        let mail = (n as u64, "somebody@example.org".to_string());
                        let _ = task.schedule(mail).at(due).await?;
                    }
                    Result::Ok(())
                })
            })
            .collect();
        smol::block_on(executor.run(async {
            for submitter in submitters {
                submitter.await?;
            }
            Result::Ok(())
        }))?;
        drop(executor);
        app.shutdown(Duration::ZERO).block_on();
    }
    std::fs::rename(&unfinished, &path)?;
    Ok(path)
}

fn read(path: &Path) -> Result {
    let file = Connection::open(path)?;
    let mut select = file.prepare("SELECT * FROM jobs")?;
    let columns = select.column_count();
    let mut rows = select.query([])?;
    let mut sum = 0_u64;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            if let ValueRef::Text(text) = row.get_ref(column)? {
                sum += text.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
        }
    }
    std::hint::black_box(sum);
    Ok(())
}
