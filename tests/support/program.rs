//! Running a program that must come to an end.

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// This program again, of which only the test `name` runs. It writes to stdout what the test
/// prints.
pub fn child(name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([name, "--exact", "--nocapture"]);
    Ok(command)
}

/// Runs a program to its end and returns its status and what it wrote to stderr. If it
/// takes longer than `limit`, it is killed and the test fails.
pub fn run_within(limit: Duration, command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut stderr = child.stderr.take().unwrap();
    let (sender, ended) = mpsc::channel();
    // The pipe is closed when the process ends, so that nothing has to poll for the end.
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
            panic!("the program has not ended for {limit:?}, and wrote: {text}");
        }
    }
}
