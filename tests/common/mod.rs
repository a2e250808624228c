//! What the tests share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use jobber::testing::Simulation;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// Runs a program to its end. Gives its status, and what it had to say to stderr. One
/// that hangs is ended, and the test fails.
pub fn run_within(limit: Duration, command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut stderr = child.stderr.take().unwrap();
    let (sender, ended) = mpsc::channel();
    // It is closed with the process, and nobody has to look again and again.
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    match ended.recv_timeout(limit) {
        Ok(text) => Ok((child.wait()?, text)),
        Err(_) => {
            child.kill()?;
            let text = ended.recv().unwrap_or_default();
            panic!("the program hangs: it has not ended for {limit:?}, and said: {text}");
        }
    }
}

/// A log that tasks write and tests read.
#[derive(Clone, Debug)]
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Log<T> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn add(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    pub fn entries(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The whole seconds that a simulation has run for, whenever it is called.
pub fn seconds(sim: &Simulation) -> impl Fn() -> u64 + Clone + Send + Sync + 'static {
    let clock = sim.clock();
    move || clock.elapsed().as_secs()
}

/// Counts how often it is dropped.
#[derive(Clone, Debug, Default)]
pub struct DropCounter(Arc<()>);

impl DropCounter {
    /// How many clones are alive, this one left out.
    pub fn alive(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// Panics when it is dropped, once it is armed.
#[derive(Clone, Debug)]
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a bomb was dropped");
        }
    }
}
