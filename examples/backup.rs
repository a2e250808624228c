//! Mirrors a folder to another, shows its progress, and tries again after an I/O error. A
//! backup that is killed leaves no half file under its name: the next one copies what is missing.
//! `cargo run --example backup [-- FROM TO [--every SECONDS]]`, without arguments a demo

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jobber::{Backoff, Event, Job, JobContext, JobEventKind, JobStatus, Jobber, StopToken};
use jobber::{JobError, RegisterError, Task};

/// One backup: an attempt of the task.
struct Backup<'a> {
    cx: &'a JobContext,
    stop: StopToken,
    /// What it has done so far, for its progress.
    files: u64,
    all_files: u64,
    copied_bytes: u64,
    /// What is copied now. It is renamed when it is complete.
    part: PathBuf,
    /// The pause after each piece of a file.
    pause: Duration,
}

const PIECE: u64 = 64 * 1024;
const PART: &str = ".backup-part";

/// Registers the task. Its arguments are the folder and the one that becomes its copy.
fn register(app: &Jobber, pause: Duration) -> Result<Task<(PathBuf, PathBuf), ()>, RegisterError> {
    let backup = move |cx: JobContext, from: PathBuf, to: PathBuf| {
        let mut backup = Backup {
            cx: &cx,
            stop: cx.stop_token(),
            files: 0,
            all_files: 0,
            copied_bytes: 0,
            part: to.join(PART),
            pause,
        };
        let result = backup.run(&from, &to);
        result.inspect_err(|error| {
            eprintln!("\nattempt {} has failed: {error}", cx.attempt());
            if error.kind() == io::ErrorKind::InvalidInput {
                cx.no_retry();
            }
        })
    };
    app.blocking_task("backup", backup)
        .retry(Backoff::exponential(5))
        .register()
}

impl Backup<'_> {
    fn run(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.all_files = count_files(from).map_err(|error| at(from, error))?;
        fs::create_dir_all(to).map_err(|error| at(to, error))?;
        let (from, to) = (from.canonicalize()?, to.canonicalize()?);
        if from.starts_with(&to) || to.starts_with(&from) {
            return Err(invalid("one of the folders is in the other"));
        }
        // Otherwise a disk that is not mounted would empty its backup.
        if self.all_files == 0 {
            return Err(invalid("the folder has no file"));
        }
        if from.join(PART).exists() {
            return Err(invalid("the folder has a file of the name `.backup-part`"));
        }
        let result = self.mirror(&from, &to);
        if result.is_err() {
            // If this fails, the next backup deletes it.
            let _ = fs::remove_file(&self.part);
        }
        result
    }

    fn mirror(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let originals = entries(from).map_err(|error| at(from, error))?;
        fs::create_dir_all(to).map_err(|error| at(to, error))?;
        for (name, kind) in entries(to).map_err(|error| at(to, error))? {
            if originals.get(&name) != Some(&kind) {
                let extra = to.join(name);
                let removed = match kind.is_dir() {
                    true => fs::remove_dir_all(&extra),
                    false => fs::remove_file(&extra),
                };
                removed.map_err(|error| at(&extra, error))?;
            }
        }
        for (name, kind) in originals {
            let (from, to) = (from.join(&name), to.join(&name));
            if kind.is_dir() {
                self.mirror(&from, &to)?;
            } else if kind.is_file() {
                self.copy(&from, &to).map_err(|error| at(&from, error))?;
                self.files += 1;
                self.report_progress();
            } // links and devices are left out
        }
        Ok(())
    }

    fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let original = File::open(from)?;
        let metadata = original.metadata()?;
        let modified = metadata.modified()?;
        let is_same = |copy: Metadata| {
            copy.len() == metadata.len() && copy.modified().is_ok_and(|time| time == modified)
        };
        if fs::metadata(to).is_ok_and(is_same) {
            return Ok(());
        }
        let mut part = File::create(&self.part)?;
        loop {
            // A thread can't be stopped from outside: the function has to check.
            if self.stop.is_stop_requested() {
                return Err(io::Error::other("the backup was stopped"));
            }
            match io::copy(&mut (&original).take(PIECE), &mut part)? {
                0 => break,
                bytes => self.copied_bytes += bytes,
            }
            self.report_progress();
            thread::sleep(self.pause);
        }
        part.set_permissions(metadata.permissions())?;
        part.set_modified(modified)?;
        // Otherwise a power cut could leave the new name with half of the file.
        part.sync_all()?;
        fs::rename(&self.part, to)
    }

    /// Reports the progress to the job.
    fn report_progress(&self) {
        let (files, all) = (self.files, self.all_files);
        let kib = self.copied_bytes / 1024;
        let text = format!("{files} of {all} files, {kib} KiB copied");
        self.cx.progress((100 * files / all.max(1)) as u8, &text);
    }
}

/// An error after which another attempt is useless.
fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn entries(folder: &Path) -> io::Result<BTreeMap<std::ffi::OsString, FileType>> {
    fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name(), entry.file_type()?))
        })
        .collect()
}

fn count_files(folder: &Path) -> io::Result<u64> {
    let counts = entries(folder)?.into_iter().map(|(name, kind)| {
        if kind.is_dir() {
            return count_files(&folder.join(name));
        }
        Ok(kind.is_file().into())
    });
    counts.sum()
}

/// The error, with the path: the errors of the operating system do not name it.
fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Shows the progress until the job is done. A recurring job is never done.
fn show(job: &Job<()>) -> Result<(), JobError> {
    loop {
        let status = job.wait_timeout(Duration::from_millis(100)).block_on();
        let due = match status {
            JobStatus::Scheduled => format!(", due at {}", job.exec_at()),
            _ => String::new(),
        };
        let progress = progress(job);
        print!("\r\x1b[K  {status}: {progress}{due}"); // over the line before
        let _ = io::stdout().flush();
        if status.is_final() {
            println!();
            return job.result().map(drop);
        }
    }
}

fn progress(job: &Job<()>) -> String {
    let progress = job.progress();
    progress.map_or_else(String::new, |progress| progress.to_string())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (from, to, every) = match args[..] {
        [] => return demo(),
        [from, to] => (from, to, None),
        [from, to, "--every", seconds] => (from, to, Some(seconds.parse()?)),
        _ => return Err("usage: backup FROM TO [--every SECONDS]".into()),
    };
    let app = Jobber::builder().build()?;
    let backup = register(&app, Duration::ZERO)?;
    app.start().block_on()?;
    let backup = backup.schedule((from.into(), to.into())).id("backup");
    let job = match every {
        None => backup.push().block_on()?,
        Some(seconds) => {
            let interval = Duration::from_secs(seconds);
            backup.first_now().every(interval).block_on()?
        }
    };
    Ok(show(&job)?)
}

/// Backs up a folder that it makes, slowly.
fn demo() -> Result<(), Box<dyn Error>> {
    let folder = env::temp_dir().join(format!("jobber-backup-{}", std::process::id()));
    let (from, to) = (folder.join("photos"), folder.join("copy"));
    fs::create_dir_all(from.join("2026"))?;
    for n in 0..40 {
        fs::write(from.join(format!("2026/{n}.jpg")), [n; 200 * 1024])?;
    }
    let app = Jobber::builder().build()?;
    let backup = register(&app, Duration::from_millis(5))?;
    let mut events = app.events().into_iter();
    app.start().block_on()?;

    println!("The copy can't be made, and then it can:");
    fs::write(&to, "a file in the place of the folder")?;
    let job = backup
        .schedule((from.clone(), to.clone()))
        .push()
        .block_on()?;
    let is_retry = |kind: &JobEventKind| matches!(kind, JobEventKind::Retrying { .. });
    events.find(|event| matches!(event, Event::Job(event) if is_retry(&event.kind)));
    fs::remove_file(&to)?;
    show(&job)?;

    println!("One file has changed, and one was deleted:");
    fs::write(from.join("2026/1.jpg"), "another photo")?;
    fs::remove_file(from.join("2026/2.jpg"))?;
    let job = backup
        .schedule((from.clone(), to.clone()))
        .push()
        .block_on()?;
    show(&job)?;

    println!("A shutdown stops the backup of a large file:");
    File::create(from.join("film.mp4"))?.set_len(100 << 20)?;
    let job = backup.schedule((from, to.clone())).push().block_on()?;
    let status = job.wait_timeout(Duration::from_millis(500)).block_on();
    println!("  {status}: {}", progress(&job));
    app.shutdown(Duration::from_secs(10)).block_on();
    let names: Vec<_> = entries(&to)?.into_keys().collect();
    println!("  {}: the copy has {names:?}", job.status());
    fs::remove_dir_all(&folder)?;
    Ok(())
}
