//! W9: keep jobs in a file. Raw SQLite writes the same rows into the same schema by
//! prepared statements, with as many to a transaction as there are submitters.

use std::path::Path;
use std::time::{Duration, Instant};

use super::store::{self, Mail};
use super::{arg, cannot};
use crate::Result;
use crate::args::Options;
use crate::peers::Peer;
use crate::table::number;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "durable";
const SUBMITTERS: [usize; 4] = [1, 8, 64, 1_024];
const PEERS: [Peer; 3] = [Peer::Jobber, Peer::Sqlite, Peer::Jobify];

pub fn work(options: &Options) -> Work {
    let mut cases = Vec::new();
    let mut goals = Vec::new();
    for level in ["NORMAL", "FULL"] {
        for submitters in SUBMITTERS {
            // Enough for a few hundred commits.
            let each = options.size(match (level, submitters) {
                ("FULL", 1) => 500,
                (_, 1) => 4_000,
                _ => (24_000 / submitters).clamp(16, 1_000),
            });
            let each = each.max(2);
            // Jobify stores at NORMAL only.
            let jobify = level == "NORMAL" && [1, 64].contains(&submitters);
            let (case, peers) = (cases.len(), &PEERS[..if jobify { 3 } else { 2 }]);
            let label = format!("{level}, {}", number(submitters as f64, 0));
            cases.push(Case::new(label, &[&level, &submitters, &each], peers));
            let goal = |base, title, least| {
                let goal = Goal::figure(case, Peer::Jobber, title, "rate");
                goal.over(base).at_least(least)
            };
            match (level, submitters) {
                ("NORMAL", 64 | 1_024) => goals.push(goal(Peer::Sqlite, "rate/sqlite", 0.6)),
                ("FULL", 1) => goals.push(goal(Peer::Sqlite, "rate/sqlite", 0.8)),
                _ => {}
            }
            if jobify {
                goals.push(goal(Peer::Jobify, "rate/jobify", 20.0));
            }
        }
    }
    Work {
        name: NAME,
        rounds: 3,
        once: &[],
        cases,
        tables: vec![Table {
            name: "w9",
            title: "Durable jobs, by level of synchronous and by submitters: jobs/s",
            columns: vec![
                column("rate", "schedule", 0),
                column("whole", "schedule, run, erase", 0),
            ],
            ratios: vec![Ratio {
                figure: "rate",
                base: Peer::Sqlite,
                title: "rate/sqlite",
            }],
            goals,
            notes: vec![
                "The submitters work at the same time on one thread, each with one job after the other.",
                "sqlite: the same rows by hand, as many to a transaction as there are submitters.",
            ],
        }],
    }
}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    let (level, submitters, each): (String, usize, usize) =
        (arg(args, 0)?, arg(args, 1)?, arg(args, 2)?);
    let count = submitters * each;
    let dir = tempfile::tempdir_in(".")?;
    match peer {
        Peer::Jobber => {
            let rate = |file: &str, run| -> Result<f64> {
                let path = dir.path().join(file);
                Ok(count as f64 / submit(&path, &level, submitters, each, run)?.as_secs_f64())
            };
            Ok(vec![
                ("rate", rate("scheduled.db", false)?),
                ("whole", rate("run.db", true)?),
            ])
        }
        Peer::Sqlite => {
            let mut raw = store::raw(&dir.path().join("jobs.db"), &level)?;
            let start = Instant::now();
            for round in 0..each {
                store::insert(&mut raw, round * submitters, submitters)?;
            }
            Ok(vec![("rate", count as f64 / start.elapsed().as_secs_f64())])
        }
        _ => cannot(peer, NAME),
    }
}

/// Each submitter waits for each job to be stored, or to be done.
fn submit(path: &Path, level: &str, submitters: usize, each: usize, run: bool) -> Result<Duration> {
    let (app, task) = store::app(path, store::synchronous(level)?)?;
    app.start().block_on()?;
    let start = Instant::now();
    let executor = smol::LocalExecutor::new();
    let submitters: Vec<_> = (0..submitters)
        .map(|_| executor.spawn(one_after_the_other(&task, each, run)))
        .collect();
    smol::block_on(executor.run(async {
        for submitter in submitters {
            submitter.await?;
        }
        Ok(start.elapsed())
    }))
}

async fn one_after_the_other(task: &Mail, count: usize, run: bool) -> Result {
    for n in 0..count {
        let schedule = task.schedule((n as u64, "somebody@example.org".to_string()));
        if run {
            schedule.push().await?.await?;
        } else {
            let _ = schedule.delay(Duration::from_secs(3_600)).await?;
        }
    }
    Ok(())
}
