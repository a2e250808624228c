//! Who does what: a table that each thread writes, and a watchdog that prints it and ends
//! the process when nobody has got on for long.

use std::fmt;
use std::io::Write;
use std::process::abort;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jobber::{AnyJob, Jobber};

/// Far more than any step takes. It only ends what would go on for ever.
const PATIENCE: Duration = Duration::from_secs(60);

static STEPS: AtomicU64 = AtomicU64::new(0);
static TABLE: Mutex<Table> = Mutex::new(Table {
    rows: Vec::new(),
    app: None,
    round: String::new(),
});

struct Table {
    rows: Vec<Arc<Mutex<Row>>>,
    app: Option<Jobber>,
    round: String,
}

struct Row {
    who: String,
    what: &'static str,
    job: Option<AnyJob>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread's row, for as long as it is there.
pub struct Place(Arc<Mutex<Row>>);

impl Place {
    pub fn new(who: impl fmt::Display) -> Self {
        let row = Arc::new(Mutex::new(Row {
            who: who.to_string(),
            what: "begins",
            job: None,
        }));
        lock(&TABLE).rows.push(row.clone());
        Self(row)
    }

    /// It has got on, and does this now.
    pub fn does(&self, what: &'static str) {
        self.set(what, None);
    }

    pub fn does_with(&self, what: &'static str, job: &AnyJob) {
        self.set(what, Some(job.clone()));
    }

    fn set(&self, what: &'static str, job: Option<AnyJob>) {
        STEPS.fetch_add(1, Ordering::Relaxed);
        let before = {
            let mut row = lock(&self.0);
            row.what = what;
            std::mem::replace(&mut row.job, job)
        };
        drop(before);
    }

    /// Waits for what comes about on other threads by itself; the watchdog bounds it.
    pub fn until(&self, what: &'static str, mut is_so: impl FnMut() -> bool) {
        self.does(what);
        while !is_so() {
            thread::yield_now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&TABLE).rows.retain(|row| !Arc::ptr_eq(row, &self.0));
    }
}

/// The round that begins, which a report names.
pub fn set_round(round: String) {
    lock(&TABLE).round = round;
}

/// The app whose jobs a report shows. It is kept alive by this.
pub fn set_app(app: Option<Jobber>) {
    let before = std::mem::replace(&mut lock(&TABLE).app, app);
    drop(before);
}

/// Starts the watchdog, for the rest of the process.
pub fn start() {
    // A thread that panics may leave others waiting, and what the hook prints by itself
    // would be lost when the watchdog ends the process.
    std::panic::set_hook(Box::new(|info| say(format_args!("{info}"))));
    let watch = || {
        let (mut steps, mut since) = (STEPS.load(Ordering::Relaxed), Instant::now());
        loop {
            thread::park_timeout(Duration::from_secs(1));
            let now = STEPS.load(Ordering::Relaxed);
            if now != steps {
                (steps, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                report();
            }
        }
    };
    let thread = thread::Builder::new().name("stress-watch".into());
    thread.spawn(watch).unwrap();
}

/// Straight to the process's output: what a test prints is kept back until it ends, and
/// this one does not.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn report() {
    // The jobs are read on another thread, because that may hang, too.
    let asker = thread::spawn(|| {
        let (rows, app) = {
            let table = lock(&TABLE);
            say(format_args!(
                "\nNothing has moved for {PATIENCE:?}, in {}:",
                table.round
            ));
            (table.rows.clone(), table.app.clone())
        };
        for row in rows {
            let row = lock(&row);
            match &row.job {
                Some(job) => say(format_args!(
                    "  {}: {} {} of {} ({})",
                    row.who,
                    row.what,
                    job.id(),
                    job.task_name(),
                    job.status()
                )),
                None => say(format_args!("  {}: {}", row.who, row.what)),
            }
        }
        say(format_args!("  threads: {:?}", super::process::threads()));
        say(format_args!(
            "  arguments and values: {}",
            super::slots::alive()
        ));
        if let Some(app) = &app {
            for job in app.jobs() {
                say(format_args!("  live: {} {job:?}", job.task_name()));
            }
        }
    });
    let begun = Instant::now();
    while !asker.is_finished() && begun.elapsed() < PATIENCE / 6 {
        thread::park_timeout(Duration::from_millis(100));
    }
    abort();
}
