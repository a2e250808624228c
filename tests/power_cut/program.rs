//! The program whose power fails.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use jobber::{Job, JobContext, Jobber, SqliteStorage, Task, storage::Synchronous};

use crate::disk::MARKS;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Its environment: the folder of its store, whether it is `NORMAL`, and which
/// of the programs on one store it is.
pub const DIR: &str = "JOBBER_CUT_DIR";
pub const NORMAL: &str = "JOBBER_CUT_NORMAL";
pub const NUMBER: &str = "JOBBER_CUT_NUMBER";

const MILLI: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Clone)]
struct Marks(Arc<File>);

impl Marks {
    /// In one write, so that it has its place in the journal.
    fn add(&self, what: &str, id: &impl ToString, number: u64) {
        let line = format!("{what} {} {number}\n", id.to_string());
        (&*self.0).write_all(line.as_bytes()).unwrap();
    }
}

pub struct Tasks {
    pub quick: Task<u64, ()>,
    pub once: Task<u64, ()>,
}

/// Told of each run, when it begins.
pub type Begins = Arc<dyn Fn(&JobContext) + Send + Sync>;

impl Tasks {
    pub fn register(app: &Jobber, begins: Begins) -> Result<Self> {
        let run = |begins: Begins| {
            move |cx: JobContext, _: u64| {
                begins(&cx);
                async {}
            }
        };
        Ok(Self {
            quick: app
                .task("quick", run(begins.clone()))
                .durable()
                .register()?,
            once: app
                .task("once", run(begins))
                .durable()
                .at_most_once()
                .register()?,
        })
    }
}

/// Not a test by itself: the program.
#[test]
fn the_process_whose_power_is_cut() -> Result {
    let Ok(dir) = std::env::var(DIR) else {
        return Ok(());
    };
    let dir = Path::new(&dir);
    let marks = OpenOptions::new().append(true).open(dir.join(MARKS))?;
    let marks = Marks(Arc::new(marks));
    let synchronous = match std::env::var_os(NORMAL) {
        Some(_) => Synchronous::Normal,
        None => Synchronous::Full,
    };
    let number: u64 = std::env::var(NUMBER)?.parse()?;
    for life in [2 * number, 2 * number + 1] {
        let storage = SqliteStorage::new(dir.join("jobs.db")).synchronous(synchronous);
        let app = Jobber::builder().storage(storage).build()?;
        let log = marks.clone();
        let begins = move |cx: &JobContext| log.add("begins", cx.id(), cx.run_number());
        let tasks = Tasks::register(&app, Arc::new(begins))?;
        app.start().block_on()?;
        if app.find_job("again").is_none() {
            marks.add("asks", &"again", 1);
            let again = tasks.quick.schedule(1).id("again");
            let _again = again.every(MILLI * 7).block_on()?;
            marks.add("promised", &"again", 1);
        }
        thread::scope(|scope| {
            for thread in 0..3 {
                let (tasks, marks) = (&tasks, &marks);
                scope.spawn(move || live(tasks, marks, life, thread).unwrap());
            }
        });
        if life == 2 * number {
            app.shutdown(Duration::MAX).block_on();
        } else {
            // It has no time for a shutdown.
            (&*marks.0).write_all(b"stop\n")?;
        }
    }
    unreachable!("it has ended")
}

/// What a program does with its jobs.
fn live(tasks: &Tasks, marks: &Marks, life: u64, thread: u64) -> Result {
    let mut rng = Rng::with_seed(life * 10 + thread);
    let mut later: Vec<(Job<()>, u64)> = Vec::new();
    let mut soon: Vec<Job<()>> = Vec::new();
    for n in 0..60 {
        let name = format!("{thread}-{life}-{n}");
        match rng.u8(..8) {
            // One that stays.
            0 | 1 => {
                let id = format!("keep-{name}");
                marks.add("asks", &id, 1);
                let _kept = tasks.quick.schedule(1).id(&*id).delay(DAY).block_on()?;
                marks.add("promised", &id, 1);
            }
            2 => {
                let id = format!("later-{name}");
                marks.add("asks", &id, 1);
                let job = tasks.once.schedule(1).id(&*id).delay(DAY).block_on()?;
                marks.add("promised", &id, 1);
                later.push((job, 1));
            }
            3 if !later.is_empty() => {
                let (job, version) = later.swap_remove(rng.usize(..later.len()));
                let version = version + 1;
                marks.add("asks", job.id(), version);
                let schedule = tasks.once.schedule(version).id(job.id()).replace();
                let job = schedule.delay(DAY).block_on()?;
                marks.add("promised", job.id(), version);
                later.push((job, version));
            }
            4 if !later.is_empty() => {
                let (job, _) = later.swap_remove(rng.usize(..later.len()));
                marks.add("cancels", job.id(), 0);
                assert!(job.cancel().block_on()?.took_effect());
                marks.add("gone", job.id(), 0);
            }
            5 if !soon.is_empty() => {
                // The last one: it makes a life long enough for some checkpoints.
                let job = soon.swap_remove(soon.len() - 1);
                job.wait_blocking();
                marks.add("gone", job.id(), 0);
            }
            _ => {
                let (kind, task) = match rng.bool() {
                    true => ("quick", &tasks.quick),
                    false => ("once", &tasks.once),
                };
                let id = format!("{kind}-{name}");
                marks.add("asks", &id, 1);
                let delay = MILLI * rng.u32(..100);
                soon.push(task.schedule(1).id(&*id).delay(delay).block_on()?);
                marks.add("promised", &id, 1);
            }
        }
    }
    Ok(())
}
