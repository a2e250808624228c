//! A process that has a store open and takes orders, for tests with real files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use jobber::{Jobber, SqliteStorage, Task};
use rusqlite::Connection;

use crate::support::{self, HOUR, Result};

const PATH: &str = "JOBBER_OWNER_PATH";

/// Stands before a line of the child: the test harness prints lines, too.
const MARK: &str = "@@ ";

/// Starts an app with the task `t`.
pub(crate) fn start(storage: SqliteStorage) -> Result<(Jobber, Task<String, usize>)> {
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async |text: String| text.len()).durable();
    let task = task.register()?;
    app.start().block_on()?;
    Ok((app, task))
}

/// Another process with an app that has the store open, or was refused.
pub(crate) struct Owner {
    process: Child,
    orders: ChildStdin,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Owner {
    /// Returns the process and what it says of its start: `started`, or why not.
    pub(crate) fn try_start(path: &Path) -> Result<(Self, String)> {
        Self::run(
            support::child("owner::the_process_that_owns_a_store")?,
            path,
        )
    }

    pub(crate) fn run(mut command: Command, path: &Path) -> Result<(Self, String)> {
        let command = command.env(PATH, path);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let lines = lines.map_while(std::result::Result::ok).filter_map(|line| {
            let (_, rest) = line.split_once(MARK)?;
            Some(rest.to_owned())
        });
        let mut owner = Self {
            process,
            orders,
            lines: Box::new(lines),
        };
        let answer = owner.answer();
        Ok((owner, answer))
    }

    pub(crate) fn start(path: &Path) -> Result<Self> {
        let (owner, answer) = Self::try_start(path)?;
        assert_eq!(answer, "started", "{}", path.display());
        Ok(owner)
    }

    fn answer(&mut self) -> String {
        self.lines.next().expect("the process answers")
    }

    /// `schedule ID`, `read`, `copy`, `backup PATH`, `health`, `jobs` or `stop`.
    pub(crate) fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the process reads");
        self.answer()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        let _ = self.process.wait();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test: the process.
#[test]
fn the_process_that_owns_a_store() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else {
        return;
    };
    let (app, task) = match start(SqliteStorage::new(&path)) {
        Ok(started) => started,
        Err(error) => {
            println!("{MARK}{error:?}");
            return;
        }
    };
    println!("{MARK}started");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (order, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match order {
            "schedule" => {
                let schedule = task.schedule("abc".into()).id(rest).delay(HOUR);
                match schedule.block_on() {
                    Ok(job) => job.id().to_string(),
                    Err(error) => format!("{error:?}"),
                }
            }
            "read" => fs::read(&path).unwrap().len().to_string(),
            "count" => {
                let sql = Connection::open(&path).unwrap();
                let count = "SELECT count(*) FROM jobs";
                let count: i64 = sql.query_row(count, [], |row| row.get(0)).unwrap();
                count.to_string()
            }
            "backup" => format!("{:?}", SqliteStorage::backup(&path, rest)),
            "inspect" => format!("{:?}", SqliteStorage::inspect(&path, |_| {})),
            "health" => app.health().to_string(),
            "jobs" => app.jobs().len().to_string(),
            "stop" => {
                let _ = app.shutdown(Duration::ZERO).block_on();
                "stopped".into()
            }
            other => panic!("{other}"),
        };
        println!("{MARK}{answer}");
    }
}

/// Whether a test that takes root can run what it needs: `attempt` returns whether it
/// worked. On a machine of a user the test says that it was left out; in CI, as root, that
/// is a failure.
pub(crate) fn can_as_root(what: &str, attempt: impl FnOnce() -> bool) -> bool {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if is_root && attempt() {
        return true;
    }
    assert!(
        !is_root || std::env::var_os("CI").is_none(),
        "{what} does not work in CI"
    );
    println!("LEFT OUT: {what}: this takes root");
    false
}

/// A file system that is mounted until this is dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts something at `at`, if this is root.
    pub(crate) fn new(what: &str, args: &[&str], at: &Path) -> Option<Self> {
        can_as_root(what, || mount(args, at)).then(|| Self(at.to_owned()))
    }

    pub(crate) fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0));
    }
}

fn mount(args: &[&str], at: &Path) -> bool {
    let command = Command::new("mount").args(args).arg(at).status();
    command.is_ok_and(|status| status.success())
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
