//! A process that schedules, runs, cancels and replaces jobs and is killed at random
//! instants (`SIGKILL`), and an oracle that reads from a log what it was promised and what it
//! ran.
//!
//! `JOBBER_KILLS=5000 cargo test --release --all-features --test kill` does it
//! more often.
#![cfg(all(feature = "sqlite", unix))]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jobber::{
    Backoff, Job, JobContext, JobStatus, Jobber, Misfire, ScheduleError, SqliteStorage, Task,
    storage::{Loaded, Storage, StorageError, Synchronous},
};
use time::OffsetDateTime;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const DIR: &str = "JOBBER_KILL_DIR";
const LIFE: &str = "JOBBER_KILL_LIFE";
const IS_LAST: &str = "JOBBER_KILL_IS_LAST";

const MILLI: Duration = Duration::from_millis(1);

/// Long enough for any machine; a hang fails the test instead of stopping it.
const WATCHDOG: Duration = Duration::from_secs(60);

// The process that is killed.

/// One line for each thing that happened, in one write: what is there when the
/// process dies, happened. A write that goes over a page may be torn by the kill:
/// such a line is forgotten, for what would have come after it has not happened.
#[derive(Clone)]
struct Log {
    file: Arc<File>,
    life: u64,
}

impl Log {
    fn open(dir: &Path, life: u64) -> Result<Self> {
        let path = dir.join("log");
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file: Arc::new(file),
            life,
        })
    }

    fn add(&self, what: &str, id: &impl ToString, rest: impl ToString) {
        let line = format!(
            "{} {what} {} {}\n",
            self.life,
            id.to_string(),
            rest.to_string()
        );
        (&*self.file).write_all(line.as_bytes()).unwrap();
    }

    fn forget_torn_line(dir: &Path) -> Result {
        let path = dir.join("log");
        let Ok(text) = fs::read(&path) else {
            return Ok(());
        };
        let whole = text.iter().rposition(|&byte| byte == b'\n');
        let length = whole.map_or(0, |last| last as u64 + 1);
        if length < text.len() as u64 {
            OpenOptions::new().write(true).open(path)?.set_len(length)?;
        }
        Ok(())
    }

    /// A run, with what tells it from others.
    fn run(&self, what: &str, cx: &JobContext) {
        let nominal = cx.nominal_time().unix_timestamp_nanos();
        let rest = format!("{} {} {nominal}", cx.run_number(), cx.attempt());
        self.add(what, cx.id(), rest);
    }
}

struct Tasks {
    quick: Task<u32, ()>,
    slow: Task<u32, ()>,
    flaky: Task<u32, ()>,
    blocking: Task<u32, ()>,
    once: Task<u32, ()>,
}

impl Tasks {
    fn register(app: &Jobber, log: &Log) -> Result<Self> {
        let logging = |log: &Log| {
            let log = log.clone();
            move |cx: JobContext, _: u32| {
                log.run("start", &cx);
                log.run("end", &cx);
                async {}
            }
        };
        // It is renamed from one life to the next.
        let (name, alias) = if log.life.is_multiple_of(2) {
            ("quick", "swift")
        } else {
            ("swift", "quick")
        };
        // Long enough to be cut.
        let slowly = |log: &Log| {
            let log = log.clone();
            move |cx: JobContext, millis: u32| {
                let log = log.clone();
                async move {
                    log.run("start", &cx);
                    async_io::Timer::after(MILLI * millis).await;
                    log.run("end", &cx);
                }
            }
        };
        let (flaky, blocking) = (log.clone(), log.clone());
        Ok(Self {
            quick: app
                .task(name, logging(log))
                .alias(alias)
                .durable()
                .register()?,
            slow: app.task("slow", slowly(log)).durable().register()?,
            flaky: app
                .task("flaky", move |cx: JobContext, _: u32| {
                    let log = flaky.clone();
                    async move {
                        log.run("start", &cx);
                        if cx.attempt() < 3 {
                            return Err("not yet");
                        }
                        log.run("end", &cx);
                        Ok(())
                    }
                })
                .retry(Backoff::fixed(2, MILLI * 5))
                .durable()
                .register()?,
            blocking: app
                .blocking_task("blocking", move |cx: JobContext, millis: u32| {
                    blocking.run("start", &cx);
                    thread::sleep(MILLI * millis);
                    blocking.run("end", &cx);
                })
                .durable()
                .register()?,
            once: app
                .task("once", slowly(log))
                .durable()
                .at_most_once()
                .register()?,
        })
    }
}

/// Not a test by itself: the process that is killed.
#[test]
fn child() -> Result {
    let Ok(dir) = std::env::var(DIR) else {
        return Ok(());
    };
    let dir = Path::new(&dir);
    let life = std::env::var(LIFE)?.parse()?;
    let log = Log::open(dir, life)?;
    let synchronous = match life % 4 {
        0 => Synchronous::Full,
        _ => Synchronous::Normal,
    };
    let storage = SqliteStorage::new(dir.join("jobs.db")).synchronous(synchronous);
    let app = Jobber::builder().storage(storage).build()?;
    let tasks = Tasks::register(&app, &log)?;
    app.start().block_on()?;
    assert!(app.unresolved().is_empty(), "{:?}", app.unresolved());
    if std::env::var_os(IS_LAST).is_some() {
        return finish(&app, &log);
    }
    thread::scope(|scope| {
        for thread in 0..3 {
            let (app, tasks, log) = (&app, &tasks, &log);
            scope.spawn(move || live(app, tasks, log, thread));
        }
        if life % 3 == 0 {
            scope.spawn(|| read_own_file(dir));
        }
    });
    Ok(())
}

/// Ends what recurs, and lets the rest come to its end.
fn finish(app: &Jobber, log: &Log) -> Result {
    for job in app.jobs() {
        if job.id().to_string().starts_with("again") {
            cancel(log, &job)?;
        }
    }
    app.wait_all().block_on();
    app.shutdown(Duration::MAX).block_on();
    Ok(())
}

fn cancel(log: &Log, job: &jobber::AnyJob) -> Result {
    log.add("cancelling", job.id(), "");
    if job.cancel().block_on()?.took_effect() {
        log.add("cancelled", job.id(), job.status());
    } else {
        log.add("not-cancelled", job.id(), "");
    }
    Ok(())
}

/// What a program should not do with its file, and what it may.
fn read_own_file(dir: &Path) {
    let (path, copy) = (dir.join("jobs.db"), dir.join("copy.db"));
    loop {
        let _ = fs::read(&path).unwrap();
        SqliteStorage::inspect(&path, |_| {}).unwrap();
        let _ = fs::remove_file(&copy);
        SqliteStorage::backup(&path, &copy).unwrap();
        let _ = fs::remove_file(&copy);
    }
}

/// Whether another program has deleted the log: then nothing is confirmed any more.
fn is_moved(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(StorageError::Moved { .. })) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whatever a program may do with its jobs, until it is killed.
fn live(app: &Jobber, tasks: &Tasks, log: &Log, thread: u64) {
    let mut rng = fastrand::Rng::with_seed(log.life * 10 + thread);
    let mut jobs: Vec<Job<()>> = Vec::new();
    for n in 0.. {
        let result = match rng.u8(..12) {
            0 => again(app, tasks, log, &mut rng),
            1 | 2 if !jobs.is_empty() => {
                let job = jobs.swap_remove(rng.usize(..jobs.len()));
                cancel(log, job.as_any())
            }
            3 if !jobs.is_empty() => {
                // The same job, or another of its id if it has just ended.
                let job = jobs.swap_remove(rng.usize(..jobs.len()));
                replace(tasks, log, &job, &mut rng).map(|job| jobs.push(job))
            }
            4 if !jobs.is_empty() => {
                // After a job was seen done, it must not run again.
                let job = jobs.swap_remove(rng.usize(..jobs.len()));
                let status = job.wait_timeout(MILLI * 50).block_on();
                if status.is_final() {
                    log.add("seen", job.id(), status);
                }
                Ok(())
            }
            _ => once(tasks, log, &mut rng, &format!("{}-{thread}-{n}", log.life))
                .map(|job| jobs.push(job)),
        };
        match result {
            Err(error) if is_moved(&*error) => loop {
                thread::park();
            },
            result => result.unwrap(),
        }
    }
}

fn once(tasks: &Tasks, log: &Log, rng: &mut fastrand::Rng, name: &str) -> Result<Job<()>> {
    let (kind, task) = match rng.u8(..6) {
        0 => ("slow", &tasks.slow),
        1 => ("flaky", &tasks.flaky),
        2 => ("blocking", &tasks.blocking),
        3 => ("once", &tasks.once),
        _ => ("quick", &tasks.quick),
    };
    let schedule = task.schedule(rng.u32(..8)).id(format!("{kind}-{name}"));
    log.add("asks", &format!("{kind}-{name}"), "");
    let delay = MILLI * rng.u32(..40);
    let job = match rng.u8(..3) {
        0 => schedule.push(),
        1 => schedule.delay(delay),
        _ => schedule.at(OffsetDateTime::now_utc() + delay),
    }
    .block_on()?;
    log.add("promised", job.id(), "");
    Ok(job)
}

/// One of a few jobs that recur: made, or ended.
fn again(app: &Jobber, tasks: &Tasks, log: &Log, rng: &mut fastrand::Rng) -> Result {
    let id = format!("again-{}", rng.u8(..3));
    if let Some(job) = app.find_job(id.as_str()) {
        if rng.u8(..3) == 0 {
            cancel(log, &job)?;
        }
        return Ok(());
    }
    // Each time of it is promised: none may be left out.
    log.add("asks", &id, "");
    let schedule = tasks
        .quick
        .schedule(0)
        .id(id.as_str())
        .misfire(Misfire::All(u32::MAX));
    let result = match rng.bool() {
        true => schedule.every(MILLI * rng.u32(20..60)).block_on(),
        false => schedule.cron("* * * * * * *").block_on(),
    };
    match result {
        Ok(_) => log.add("promised", &id, ""),
        // Another thread was first, or ends it just now.
        Err(ScheduleError::DuplicateJob { .. }) => log.add("not-promised", &id, ""),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn replace(tasks: &Tasks, log: &Log, job: &Job<()>, rng: &mut fastrand::Rng) -> Result<Job<()>> {
    let task = match job.task_name() {
        "slow" => &tasks.slow,
        "flaky" => &tasks.flaky,
        "blocking" => &tasks.blocking,
        "once" => &tasks.once,
        _ => &tasks.quick,
    };
    log.add("replacing", job.id(), "");
    let delay = MILLI * rng.u32(..40);
    let replaced = task
        .schedule(0)
        .id(job.id())
        .replace()
        .delay(delay)
        .block_on()?;
    log.add("replaced", replaced.id(), "");
    Ok(replaced)
}

// The one who kills it.

/// Reads the file of the process from outside. In odd lives it goes on when the process is
/// killed: what it does changes nothing. A plain connection would take the log away from the
/// next process.
fn read_from_outside(dir: &Path, life: u64, is_over: &AtomicBool) {
    let (path, copy) = (dir.join("jobs.db"), dir.join("outside.db"));
    while !is_over.load(Ordering::Relaxed) {
        if life.is_multiple_of(2) {
            if let Ok(sql) = rusqlite::Connection::open_with_flags(
                &path,
                rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE,
            ) {
                let count = "SELECT count(*) FROM jobs";
                let _ = sql.query_row(count, [], |row| row.get::<_, i64>(0));
            }
            continue;
        }
        // The file may not be there yet, or have no table.
        for result in [
            SqliteStorage::inspect(&path, |_| {}),
            SqliteStorage::backup(&path, &copy),
        ] {
            assert!(
                !matches!(result, Err(StorageError::Corrupt { .. })),
                "{result:?}"
            );
        }
        let _ = fs::remove_file(&copy);
    }
}

fn program(dir: &Path, life: u64) -> Result<Command> {
    let mut command = support::child("child")?;
    command
        .env(DIR, dir)
        .env(LIFE, life.to_string())
        .stdout(Stdio::null());
    Ok(command)
}

/// Adds to the log which jobs of `.at_most_once()` a killed process had stored the start
/// of: those are not to run again, begun or not, and no others may be left out.
fn note_marked(dir: &Path, life: u64) -> Result {
    if !dir.join("jobs.db").exists() {
        return Ok(());
    }
    // A copy, so that the next process recovers what was left, and not what was read. In
    // memory, where a sync costs nothing.
    let memory = Path::new("/dev/shm");
    let copy = match memory.is_dir() {
        true => tempfile::tempdir_in(memory)?,
        false => tempfile::tempdir()?,
    };
    for name in ["jobs.db", "jobs.db-wal"] {
        if dir.join(name).exists() {
            fs::copy(dir.join(name), copy.path().join(name))?;
        }
    }
    let log = Log::open(dir, life)?;
    let mut storage = SqliteStorage::new(copy.path().join("jobs.db"));
    storage.open()?;
    storage.load(&mut |loaded| match loaded {
        Loaded::Job(job) => {
            let job = support::record::JobRecord::of(&job);
            if job.task == "once" && job.progress.start_intent.is_some() {
                log.add("marked", &job.id, "");
            }
        }
        other => panic!("{other:?}"),
    })?;
    Ok(())
}

#[test]
fn a_process_that_is_killed_loses_nothing_and_repeats_only_what_was_going_on() -> Result {
    let kills = std::env::var("JOBBER_KILLS")
        .ok()
        .map_or(Ok(250), |text| text.parse())?;
    let mut oracle = Figures::default();
    // Some lives to a history, so that each is read in one go.
    const LIVES: u64 = 25;
    let (mut life, mut killed) = (0, 0);
    while killed < kills {
        let dir = tempfile::tempdir()?;
        for _ in 0..LIVES.min(kills - killed) {
            life += 1;
            killed += 1;
            let stderr = dir.path().join("stderr");
            let mut child = program(dir.path(), life)?
                .stderr(File::create(&stderr)?)
                .spawn()?;
            let is_over = AtomicBool::new(false);
            let status = thread::scope(|scope| {
                let reader = scope.spawn(|| read_from_outside(dir.path(), life, &is_over));
                // This does not wait for something: it is when the process is killed.
                thread::sleep(Duration::from_micros(fastrand::u64(..80_000)));
                if life.is_multiple_of(2) {
                    is_over.store(true, Ordering::Relaxed);
                    reader.join().unwrap();
                }
                child.kill()?;
                let status = child.wait();
                is_over.store(true, Ordering::Relaxed);
                status
            })?;
            let stderr = fs::read_to_string(stderr)?;
            assert_eq!(
                status.signal(),
                Some(9),
                "life {life} ended by itself: {stderr}"
            );
            Log::forget_torn_line(dir.path())?;
            note_marked(dir.path(), life)?;
        }
        life += 1;
        let mut last = program(dir.path(), life)?;
        let (status, stderr) = support::run_within(WATCHDOG, last.env(IS_LAST, "1"))?;
        assert!(status.success(), "the last life {life}: {stderr}");
        let mut left = 0;
        SqliteStorage::inspect(dir.path().join("jobs.db"), |_| left += 1)?;
        assert_eq!(left, 0, "something is left in the store");
        let log = fs::read_to_string(dir.path().join("log"))?;
        if let Err(fault) = judge(&log, &mut oracle) {
            let kept = std::env::temp_dir().join(format!("jobber-kill-{}.log", std::process::id()));
            fs::write(&kept, &log)?;
            panic!("{fault}\nThe whole history is in {}", kept.display());
        }
    }
    // More than that end the test: nothing promised was lost, no run that was
    // seen done was made again.
    println!("{killed} kills in {life} lives: {oracle:?}");
    assert!(
        oracle.promised > 0 && oracle.repeated > 0 && oracle.cut > 0,
        "{oracle:?}"
    );
    // Only what was about to run in that very moment.
    assert!(oracle.never_began as u64 <= life, "{oracle:?}");
    Ok(())
}

/// What the histories were about.
#[derive(Debug, Default)]
struct Figures {
    /// Lives that came as far as to their first job.
    at_work: usize,
    /// Calls that a kill cut short: whether they had their effect is not known.
    unanswered: usize,
    promised: usize,
    runs: usize,
    /// Attempts that were cut by a kill and made again.
    repeated: usize,
    cancelled: usize,
    replaced: usize,
    /// Attempts of `.at_most_once()` that were cut by a kill and not made again.
    cut: usize,
    /// Those that had not even begun, and of which the store had it that they start.
    never_began: usize,
}

/// One job between two promises.
#[derive(Default)]
struct Known {
    /// Scheduling has returned, and the promise has not been taken back.
    is_promised: bool,
    /// Cancelling has returned, or the job was seen done.
    is_barred: bool,
    /// The life in which an attempt is in the log whose end is not.
    running_in: Option<u64>,
    /// Cancelled in this life during an attempt, which goes on and is not in the log yet.
    goes_on: Option<u64>,
    /// A replacement or a cancel has begun and has not returned: the outcome is unknown.
    is_open: bool,
    /// Attempts that were started, by the time that they were for, with the life
    /// that they were last started in.
    started: BTreeMap<(i128, u64), u64>,
    /// Runs that came to their end, and their times.
    ended: BTreeMap<u64, BTreeSet<i128>>,
    /// The first life that was killed when the store had it that it starts.
    marked: Option<u64>,
}

fn judge(log: &str, figures: &mut Figures) -> std::result::Result<(), String> {
    let mut jobs: BTreeMap<&str, Known> = BTreeMap::new();
    let mut lives = BTreeSet::new();
    for (number, line) in log.lines().enumerate() {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (life, what, id) = (word().parse().unwrap_or(0), word(), word());
        let fault = |what: &str| Err(format!("line {}: {line}: {what}", number + 1));
        let job = jobs.entry(id).or_default();
        lives.insert(life);
        match what {
            "asks" | "cancelling" | "replacing" => {
                figures.unanswered += 1;
                // The promise before is taken back, kept or not.
                if what == "asks" || !id.starts_with("again") {
                    job.is_promised = false;
                    settle(id, job, figures)?;
                }
                job.is_open = true;
                job.is_promised = false;
                job.is_barred = false;
            }
            "promised" | "replaced" => {
                figures.unanswered -= 1;
                figures.promised += 1;
                figures.replaced += usize::from(what == "replaced");
                job.is_promised = true;
                job.is_open = false;
            }
            "not-promised" | "not-cancelled" => figures.unanswered -= 1,
            "cancelled" => {
                figures.unanswered -= 1;
                figures.cancelled += 1;
                job.is_barred = true;
                let is_running = word() == JobStatus::Running.to_string();
                let goes_on = is_running && job.running_in != Some(life);
                job.goes_on = goes_on.then_some(life);
            }
            "seen" => {
                // A replacement may have begun another life of it by now.
                job.is_barred |= !job.is_open && !job.ended.is_empty();
            }
            // And it is still so if the next one was killed too early to see to it.
            "marked" => _ = job.marked.get_or_insert(life),
            "start" => {
                figures.runs += 1;
                if job.marked.is_some() {
                    return fault("it was to run at most once, and the store had its start");
                }
                let _run = word();
                let attempt = word().parse().map_err(|_| line.to_string())?;
                let nominal = word().parse().map_err(|_| line.to_string())?;
                let attempt = (nominal, attempt);
                job.running_in = Some(life);
                let is_late = job.goes_on.take() == Some(life);
                if job.is_barred && !is_late && !id.starts_with("again") {
                    return fault("it runs after it was cancelled, or was seen done");
                }
                if let Some(before) = job.started.insert(attempt, life) {
                    figures.repeated += usize::from(before != life);
                    if before == life && !job.is_open && job.is_promised {
                        return fault("it runs twice in one life");
                    }
                    if id.starts_with("once") && !job.is_open && job.is_promised {
                        return fault("it was to run at most once");
                    }
                }
            }
            "end" => {
                job.running_in = None;
                let run = word().parse().map_err(|_| line.to_string())?;
                let _attempt = word();
                let nominal = word().parse().map_err(|_| line.to_string())?;
                job.ended.entry(run).or_default().insert(nominal);
            }
            _ => return fault("an unknown entry"),
        }
    }
    for (id, job) in &mut jobs {
        settle(id, job, figures)?;
    }
    figures.at_work += lives.len();
    Ok(())
}

/// Sees that the promise that ends here was kept, and forgets the runs.
fn settle(id: &str, job: &mut Known, figures: &mut Figures) -> std::result::Result<(), String> {
    let started = std::mem::take(&mut job.started);
    let ended = std::mem::take(&mut job.ended);
    if id.starts_with("again") {
        // Ended by a cancel, always: until then no run is left out.
        let last = ended.keys().max().copied().unwrap_or(0);
        let first = ended.keys().min().copied().unwrap_or(1);
        if job.is_promised && first != 1 {
            return Err(format!("{id} began with run {first}"));
        }
        if let Some(missing) = (first..=last).find(|run| !ended.contains_key(run)) {
            return Err(format!("{id} left out run {missing} of {last}"));
        }
        let times: Vec<_> = ended.values().map(|times| times.first()).collect();
        if !times.is_sorted_by(|a, b| a < b) {
            return Err(format!(
                "{id} ran for a time twice, or out of order: {times:?}"
            ));
        }
        return Ok(());
    }
    if !job.is_promised {
        return Ok(());
    }
    if !ended.is_empty() {
        return Ok(());
    }
    let began = started.values().max().copied();
    match (job.marked, began) {
        _ if !id.starts_with("once") => Err(format!("{id} was promised, and did not run")),
        (None, None) => Err(format!(
            "{id} did not run, and the store had no start of it"
        )),
        // An attempt begins when its start is stored, and is known until its end is.
        (None, Some(life)) => Err(format!("{id} was cut in life {life} without a start")),
        (Some(life), Some(began)) if life != began => Err(format!(
            "{id} was cut in life {began}, and its start was stored in life {life}"
        )),
        (Some(_), Some(_)) => {
            figures.cut += 1;
            Ok(())
        }
        (Some(_), None) => {
            figures.never_began += 1;
            Ok(())
        }
    }
}
