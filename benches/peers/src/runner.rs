//! Runs each sample in a process of its own, so that every peer starts with a clean
//! heap and has only its own threads, and watches that it ends.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::args::Options;
use crate::peers::{Peer, threads};
use crate::table::Outcomes;
use crate::work::{Case, Work};

/// A sample that has not ended by then is given up.
const LIMIT: Duration = Duration::from_secs(120);

/// What became of one sample.
pub enum Outcome {
    Figures(Vec<(String, f64)>),
    /// It crashed, hung, or found that it cannot do the work.
    Failed(String),
}

impl Outcome {
    pub fn figure(&self, name: &str) -> Option<f64> {
        let Self::Figures(figures) = self else {
            return None;
        };
        let found = figures.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| *value)
    }

    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Figures(_) => None,
            Self::Failed(why) => Some(why),
        }
    }
}

/// All cases and peers once in each round, and each round begins with another peer:
/// what slows the machine for a while slows all of them. Unless the user asks for a
/// number of rounds, the peers that no goal speaks of are in the first one only.
pub fn run(work: &Work, options: &Options, scratch: &Path) -> Outcomes {
    let measured = |case: &Case| {
        let peers = case.peers.iter().filter(|peer| options.measures(**peer));
        peers.map(|peer| (*peer, Vec::new())).collect()
    };
    let mut outcomes: Outcomes = work.cases.iter().map(measured).collect();
    for round in 0..options.rounds.unwrap_or(work.rounds) {
        for (case, peers) in work.cases.iter().zip(&mut outcomes) {
            let count = peers.len();
            for at in 0..count {
                let (peer, samples) = &mut peers[(round + at) % count];
                if round > 0 && options.rounds.is_none() && work.once.contains(peer) {
                    continue;
                }
                eprintln!("{} {peer} {}", work.name, case.label);
                samples.push(sample(work, case, *peer, options, scratch));
            }
        }
    }
    outcomes
}

fn sample(work: &Work, case: &Case, peer: Peer, options: &Options, scratch: &Path) -> Outcome {
    let command = match (peer, &options.jobify) {
        (Peer::Jobify, Some(python)) => {
            let mut command = Command::new(python);
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/with_jobify.py"));
            Ok(command)
        }
        _ => std::env::current_exe().map(|program| {
            let mut command = Command::new(program);
            command.arg("--sample");
            command
        }),
    };
    let figures = command.map_err(Into::into).and_then(|mut command| {
        command.args([work.name, peer.name()]).args(&case.args);
        command.env("SMOL_THREADS", threads().to_string());
        command.current_dir(scratch);
        figures(&output(command)?)
    });
    match figures {
        Ok(figures) => Outcome::Figures(figures),
        Err(why) => Outcome::Failed(why.to_string()),
    }
}

/// What the child has printed. Nothing here wakes up while it measures.
fn output(mut command: Command) -> Result<String> {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let errors = thread::spawn(move || read(stderr));

    let child = Arc::new(Mutex::new(child));
    let (ended, end) = mpsc::channel::<()>();
    let watched = child.clone();
    let watchdog = thread::spawn(move || {
        let hangs = end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if hangs {
            // If that fails, it has just ended.
            let _ = lock(&watched).kill();
        }
        hangs
    });
    let text = read(stdout);
    drop(ended);
    let hung = watchdog.join().unwrap_or(false);
    let status = lock(&child).wait()?;
    let errors = errors.join().unwrap_or_default();
    if hung {
        return Err(format!("no end after {LIMIT:?}, killed").into());
    }
    if !status.success() {
        let last = errors.lines().rfind(|line| !line.trim().is_empty());
        return Err(format!("{status}: {}", last.unwrap_or("without a word")).into());
    }
    Ok(text)
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What could not be read is missed by the one who reads the figures.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// From lines of a name, a blank and a number; other lines are a peer's own talk.
fn figures(text: &str) -> Result<Vec<(String, f64)>> {
    let figure = |line: &str| {
        let (name, value) = line.trim().split_once(' ')?;
        Some((name.to_string(), value.parse().ok()?))
    };
    let figures: Vec<_> = text.lines().filter_map(figure).collect();
    if figures.is_empty() {
        return Err("it printed no figure".into());
    }
    Ok(figures)
}
