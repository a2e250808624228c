//! Where and with what it was measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use time::OffsetDateTime;

use crate::Result;
use crate::args::Options;
use crate::peers::threads;

const LOCK: &str = include_str!("../Cargo.lock");
const CRATES: [&str; 15] = [
    "jobber-rs",
    "smol",
    "async-io",
    "async-executor",
    "tokio",
    "tokio-util",
    "delay_timer",
    "tokio-cron-scheduler",
    "apalis",
    "croner",
    "cron",
    "rusqlite",
    "libsqlite3-sys",
    "event-listener",
    "async-task",
];

/// A directory for the files of one run: where the user says, or beside the
/// program, in the target directory.
pub fn scratch(options: &Options) -> Result<TempDir> {
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => {
            let program = std::env::current_exe()?;
            program.parent().map_or(PathBuf::from("."), PathBuf::from)
        }
    };
    let scratch = tempfile::Builder::new().prefix("peers-").tempdir_in(&dir);
    Ok(scratch
        .map_err(|error| format!("no directory can be made in {}: {error}", dir.display()))?)
}

pub fn print(options: &Options, scratch: &Path) {
    println!(
        "\nOf several versions the last is the peer; the others are those that a peer brings."
    );
    for name in CRATES {
        let versions: Vec<&str> = versions(name).collect();
        println!("{name} {}", versions.join(", "));
    }
    if let Some(python) = &options.jobify {
        let script = "import sys, importlib.metadata as m; \
                      print('jobify', m.version('jobify'), 'on Python', sys.version.split()[0])";
        println!("{}", said(Command::new(python).args(["-c", script])));
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("{} cores: {}", threads(), cpu_model());
    println!("Linux {}", kernel.trim());
    println!("{}", said(Command::new("rustc").arg("--version")));
    println!("files on {}", file_system(scratch));
    println!("{}", OffsetDateTime::now_utc().date());
}

/// Of a crate in the lock file, which may be there in several.
fn versions(name: &str) -> impl Iterator<Item = &'static str> {
    let wanted = format!("name = \"{name}\"");
    let mut lines = LOCK.lines();
    std::iter::from_fn(move || {
        lines.by_ref().find(|line| *line == wanted)?;
        lines.next()?.strip_prefix("version = ")
    })
    .map(|version| version.trim_matches('"'))
}

fn said(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_string(),
        Err(error) => format!("{program}: {error}"),
    }
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(':'));
    model
        .map_or("of an unknown model", |(_, name)| name.trim())
        .into()
}

/// The type of the file system that a path is on: of the longest mount point that
/// it begins with.
fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let path = path.canonicalize().unwrap_or(path.to_path_buf());
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len());
    match mount {
        Some((_, kind @ ("tmpfs" | "ramfs"))) => {
            format!("{kind}, which is not a disk: W9 and W10 say nothing; give --dir")
        }
        Some((_, kind)) => kind.to_string(),
        None => "an unknown file system".into(),
    }
}
