//! A process that schedules, runs, cancels and replaces jobs and is killed at random
//! instants (`SIGKILL`), and an oracle that reads from a log what it was promised and what it
//! ran. Some jobs end the process by themselves: they are to be set aside.
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
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jobber::{
    Backoff, Job, JobContext, JobId, JobStatus, Jobber, Misfire, ScheduleError, SqliteStorage,
    Task,
    storage::{Loaded, Storage, StorageError, Synchronous, UnresolvedReason},
};
use time::OffsetDateTime;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const DIR: &str = "JOBBER_KILL_DIR";
const LIFE: &str = "JOBBER_KILL_LIFE";
/// What a life is for: see [`Aim`].
const AIM: &str = "JOBBER_KILL_AIM";

/// A job that ends its process is set aside at this number of interruptions. Its last attempt is
/// made alone.
const POISON_LIMIT: u32 = 3;
/// The limit of the other tasks, which is the default.
const LIMIT: u32 = 5;
/// With this many interruptions a job makes its attempt alone.
const ALONE: u32 = 2;
/// After this time it does not wait any longer for the attempts before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The exit code of a process that was ended by a job of its own, if it was not aborted.
const POISONED: i32 = 86;

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
        let (run, attempt) = (cx.run_number(), cx.attempt());
        let rest = format!("{run} {attempt} {nominal} {}", cx.interruptions());
        self.add(what, cx.id(), rest);
    }
}

/// What a life is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// It goes on until it is killed.
    Live,
    /// It ends when all jobs have run that are not set aside, if none ends it before.
    RunOut,
    /// What is set aside is released, and does not end the process any more.
    Release,
}

impl Aim {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::RunOut => "run-out",
            Self::Release => "release",
        }
    }

    fn read() -> Result<Self> {
        let name = std::env::var(AIM)?;
        let all = [Self::Live, Self::RunOut, Self::Release];
        let aim = all.into_iter().find(|aim| aim.name() == name);
        aim.ok_or_else(|| name.into())
    }
}

struct Tasks {
    quick: Task<u32, ()>,
    slow: Task<u32, ()>,
    flaky: Task<u32, ()>,
    blocking: Task<u32, ()>,
    once: Task<u32, ()>,
    /// Ends its process.
    poison: Task<u32, ()>,
}

impl Tasks {
    fn register(app: &Jobber, log: &Log, aim: Aim) -> Result<Self> {
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
        let (flaky, blocking, poison) = (log.clone(), log.clone(), log.clone());
        let born = Instant::now();
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
                            log.run("failed", &cx);
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
            poison: app
                .task("poison", move |cx: JobContext, argument: u32| {
                    poison.run("start", &cx);
                    if aim == Aim::Release {
                        poison.run("end", &cx);
                        return std::future::ready(());
                    }
                    if cx.interruptions() >= ALONE && born.elapsed() < PATIENCE {
                        poison.add("alone", cx.id(), "");
                    }
                    match argument % 2 {
                        0 => std::process::abort(),
                        _ => std::process::exit(POISONED),
                    }
                })
                .durable()
                .max_interruptions(POISON_LIMIT)
                .register()?,
        })
    }
}

/// Not a test by itself: the process that is killed.
#[test]
fn the_process_that_is_killed() -> Result {
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
    let aim = Aim::read()?;
    let tasks = Tasks::register(&app, &log, aim)?;
    app.start().block_on()?;
    let set_aside = set_aside(&app)?;
    for (id, interruptions) in &set_aside {
        log.add("set-aside", id, interruptions);
    }
    log.add("started", &"-", "");
    if aim != Aim::Live {
        return finish(&app, &tasks, &log, aim, set_aside.into_keys());
    }
    let mut rng = fastrand::Rng::with_seed(life);
    for id in set_aside.keys() {
        with_set_aside(&app, &tasks, &log, &mut rng, id)?;
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

/// Ends what recurs, and lets the rest come to its end, without what is set aside and would end
/// this process.
fn finish(
    app: &Jobber,
    tasks: &Tasks,
    log: &Log,
    aim: Aim,
    set_aside: impl Iterator<Item = JobId>,
) -> Result {
    for job in app.jobs() {
        if job.id().to_string().starts_with("again") {
            cancel(log, &job)?;
        }
    }
    let mut stays = BTreeSet::new();
    for id in set_aside {
        match aim == Aim::Release || !is_poison(&id) {
            true => release(app, log, &id)?,
            false => _ = stays.insert(id),
        }
    }
    // Each history has at least one.
    let id = "poison-at-last";
    if aim == Aim::RunOut && tasks.poison.job(id).is_none() {
        log.add("asks", &id, "");
        let _ = tasks.poison.schedule(0).id(id).push().block_on()?;
        log.add("promised", &id, "");
    }
    for job in app.jobs() {
        if !stays.contains(job.id()) {
            job.wait().block_on();
        }
    }
    assert!(self::set_aside(app)?.into_keys().eq(stays));
    app.shutdown(Duration::MAX).block_on();
    Ok(())
}

fn is_poison(id: &impl ToString) -> bool {
    id.to_string().starts_with("poison")
}

/// The jobs that are set aside, and how often they were interrupted. None is unresolved for
/// another reason.
fn set_aside(app: &Jobber) -> Result<BTreeMap<JobId, u32>> {
    let unresolved = app.unresolved().into_iter();
    let set_aside = unresolved.map(|job| match job.reason {
        UnresolvedReason::SetAside { interruptions } => Ok((job.id, interruptions)),
        _ => Err(job.to_string().into()),
    });
    set_aside.collect()
}

/// What may be done with a job that is set aside. One that ends its process mostly stays.
fn with_set_aside(
    app: &Jobber,
    tasks: &Tasks,
    log: &Log,
    rng: &mut fastrand::Rng,
    id: &JobId,
) -> Result {
    match rng.u8(..16) {
        0 => release(app, log, id),
        _ if !is_poison(id) => release(app, log, id),
        1 => {
            log.add("cancelling", id, "");
            let took_effect = app.discard(id.clone()).block_on()?;
            let what = if took_effect {
                "cancelled"
            } else {
                "not-cancelled"
            };
            log.add(what, id, "");
            Ok(())
        }
        2..5 => {
            let job = tasks.poison.job(id).ok_or("it is a live job")?;
            replace(tasks, log, &job, rng).map(drop)
        }
        _ => Ok(()),
    }
}

fn release(app: &Jobber, log: &Log, id: &JobId) -> Result {
    log.add("releasing", id, "");
    if !app.release(id.clone()).block_on()? {
        // It was cancelled just before.
        log.add("not-released", id, "");
    }
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
        _ if rng.u16(..400) == 0 => ("poison", &tasks.poison),
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
        "poison" => &tasks.poison,
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

fn program(dir: &Path, life: u64, aim: Aim) -> Result<Command> {
    let mut command = support::child("the_process_that_is_killed")?;
    command
        .env(DIR, dir)
        .env(LIFE, life.to_string())
        .env(AIM, aim.name())
        .stdout(Stdio::null());
    Ok(command)
}

/// Whether a job has ended its process.
fn is_poisoned(status: ExitStatus) -> bool {
    const SIGABRT: i32 = 6;
    status.signal() == Some(SIGABRT) || status.code() == Some(POISONED)
}

/// Adds to the log which jobs of `.at_most_once()` a process that has ended had stored the start
/// of: those are not to run again, begun or not, and no others may be left out. And how often
/// the other jobs were interrupted, with this time.
fn note_rows(dir: &Path, life: u64) -> Result {
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
            let progress = &job.progress;
            let is_started = progress.start_intent.is_some();
            if job.task == "once" && is_started {
                log.add("marked", &job.id, "");
            }
            let is_interrupted = is_started && progress.is_start_repeated;
            let interruptions = progress.interruptions + u32::from(is_interrupted);
            if interruptions > 0 {
                log.add("interrupted", &job.id, interruptions);
            }
        }
        other => panic!("{other:?}"),
    })?;
    Ok(())
}

fn note_death(dir: &Path, life: u64, is_poisoned: bool) -> Result {
    Log::forget_torn_line(dir)?;
    if is_poisoned {
        Log::open(dir, life)?.add("poisoned", &"-", "");
    }
    note_rows(dir, life)
}

/// The jobs in the store.
fn left(dir: &Path) -> Result<Vec<JobId>> {
    let mut left = Vec::new();
    SqliteStorage::inspect(dir.join("jobs.db"), |loaded| {
        if let Loaded::Job(job) = loaded {
            left.push(job.id().clone());
        }
    })?;
    Ok(left)
}

/// Starts the process again until it has run all jobs that are not set aside.
fn run_out(dir: &Path, life: &mut u64) -> Result {
    let log = fs::read_to_string(dir.join("log"))?;
    let count = |what| log.matches(what).count();
    let poisonous = count(" asks poison") + count(" releasing poison") + 1;
    let most = poisonous * (1 + POISON_LIMIT as usize);
    for _ in 0..=most {
        *life += 1;
        let mut command = program(dir, *life, Aim::RunOut)?;
        let (status, stderr) = support::run_within(WATCHDOG, &mut command)?;
        let is_poisoned = is_poisoned(status);
        assert!(
            is_poisoned || status.success(),
            "life {life} ended otherwise: {stderr}"
        );
        note_death(dir, *life, is_poisoned)?;
        if !is_poisoned {
            let left = left(dir)?;
            assert!(left.iter().all(is_poison), "{left:?} have not run");
            return Ok(());
        }
    }
    panic!("{poisonous} jobs have ended more than {most} processes");
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
            let mut child = program(dir.path(), life, Aim::Live)?
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
            let is_poisoned = is_poisoned(status);
            assert!(
                is_poisoned || status.signal() == Some(9),
                "life {life} ended by itself: {stderr}"
            );
            note_death(dir.path(), life, is_poisoned)?;
        }
        run_out(dir.path(), &mut life)?;
        life += 1;
        let mut last = program(dir.path(), life, Aim::Release)?;
        let (status, stderr) = support::run_within(WATCHDOG, &mut last)?;
        assert!(status.success(), "the last life {life}: {stderr}");
        assert!(
            left(dir.path())?.is_empty(),
            "something is left in the store"
        );
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
        oracle.promised > 0 && oracle.repeated > 0 && oracle.cut > 0 && oracle.set_aside > 0,
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
    /// Lives that were ended by a job.
    poisoned: usize,
    /// Interruptions of jobs that do not end their process.
    interrupted: usize,
    /// Jobs that were set aside: those that end their process, and others.
    set_aside: usize,
    sound_set_aside: usize,
    released: usize,
    /// Attempts that have ended their process and were made alone.
    alone: usize,
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
    /// At the end of this life the store had this number of interruptions.
    interrupted: Option<(u64, u32)>,
    /// The last life in which it was scheduled anew or released.
    fresh_in: Option<u64>,
    /// The last lives in which an attempt started, and ended.
    started_in: Option<u64>,
    ended_in: Option<u64>,
    /// The last life that has listed it as set aside.
    set_aside_in: Option<u64>,
    /// The attempts since it was scheduled anew or released.
    attempts: u32,
}

impl Known {
    /// How often it was interrupted, at the start of this life.
    fn interruptions(&self, life: u64) -> u32 {
        match self.interrupted {
            Some((before, interruptions)) if before + 1 == life => interruptions,
            _ => 0,
        }
    }

    fn refresh(&mut self, life: u64) {
        (self.fresh_in, self.set_aside_in) = (Some(life), None);
        self.attempts = 0;
    }
}

fn limit(id: &str) -> u32 {
    if is_poison(&id) { POISON_LIMIT } else { LIMIT }
}

fn judge(log: &str, figures: &mut Figures) -> std::result::Result<(), String> {
    let mut jobs: BTreeMap<&str, Known> = BTreeMap::new();
    let mut lives = BTreeSet::new();
    // The last attempt of a job that ends its process: its life, its job, and whether it was
    // made alone.
    let mut poison = (0, "", false);
    for (number, line) in log.lines().enumerate() {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (life, what, id) = (word().parse().unwrap_or(0), word(), word());
        let fault = |what: &str| Err(format!("line {}: {line}: {what}", number + 1));
        lives.insert(life);
        if what == "started" {
            let is_missing = |(id, job): &(&&str, &Known)| {
                job.interruptions(life) >= limit(id) && job.set_aside_in != Some(life)
            };
            match jobs.iter().find(is_missing) {
                Some((id, _)) => return fault(&format!("{id} is not set aside")),
                None => continue,
            }
        }
        let job = jobs.entry(id).or_default();
        match what {
            "poisoned" => {
                figures.poisoned += 1;
                if poison.0 != life {
                    return fault("no job has ended this process");
                }
            }
            "alone" => {
                figures.alone += 1;
                poison.2 = true;
            }
            "interrupted" => {
                let before = job.interruptions(life);
                let count = word().parse().map_err(|_| line.to_string())?;
                job.interrupted = Some((life, count));
                if count > before + 1 {
                    return fault("an interruption was counted twice");
                }
                if count > before {
                    figures.interrupted += usize::from(!is_poison(&id));
                    let is_alone = poison.0 == life && poison.2;
                    if is_alone && poison.1 != id && job.ended_in != Some(life) {
                        return fault("it was interrupted with another one that was made alone");
                    }
                }
            }
            "set-aside" => {
                let count: u32 = word().parse().map_err(|_| line.to_string())?;
                if job.set_aside_in.is_none() {
                    match is_poison(&id) {
                        true => figures.set_aside += 1,
                        false => figures.sound_set_aside += 1,
                    }
                }
                job.set_aside_in = Some(life);
                if count != job.interruptions(life) || count < limit(id) {
                    return fault("it was not interrupted that often");
                }
            }
            "releasing" => {
                figures.released += 1;
                job.refresh(life);
            }
            "not-released" => figures.released -= 1,
            "asks" | "cancelling" | "replacing" => {
                figures.unanswered += 1;
                // The promise before is taken back, kept or not.
                if what == "asks" || !id.starts_with("again") {
                    job.is_promised = false;
                    settle(id, job, figures)?;
                }
                if what == "asks" {
                    job.refresh(life);
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
                let is_first = job.started_in.replace(life) != Some(life);
                let is_fresh = job.fresh_in == Some(life);
                let before = job.interruptions(life);
                if before >= limit(id) && !is_fresh {
                    return fault("it starts although it is set aside");
                }
                job.attempts += 1;
                if is_poison(&id) {
                    poison = (life, id, false);
                    if job.attempts > 1 + POISON_LIMIT {
                        return fault("it has ended too many processes");
                    }
                }
                let _run = word();
                let attempt = word().parse().map_err(|_| line.to_string())?;
                let nominal = word().parse().map_err(|_| line.to_string())?;
                let interruptions: u32 = word().parse().map_err(|_| line.to_string())?;
                let is_counted = match interruptions {
                    0 => !is_first || is_fresh || before == 0,
                    _ => is_first && interruptions == before,
                };
                if !is_counted {
                    return fault(&format!(
                        "it was interrupted {before} times before this life"
                    ));
                }
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
            "failed" => {
                job.running_in = None;
                job.ended_in = Some(life);
            }
            "end" => {
                job.running_in = None;
                job.ended_in = Some(life);
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
