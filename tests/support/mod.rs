//! Set-ups and helpers that the test binaries share.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]
#![allow(unreachable_pub, reason = "each test binary is a crate of its own")]

#[cfg(feature = "serde")]
mod held_store;
#[cfg(feature = "serde")]
mod machine;
mod program;
#[cfg(feature = "serde")]
pub mod record;
pub mod zone_file;

use std::fmt::Debug;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, poll_once};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    BoxError, Event, Events, Failing, Job, JobContext, JobEventKind, JobFuture, JobId, JobStatus,
    Jobber, JobberBuilder, Task,
};
use time::OffsetDateTime;
use time::macros::datetime;

#[cfg(feature = "serde")]
pub use held_store::HeldStore;
#[cfg(feature = "serde")]
pub use machine::Machine;
pub use program::{child, run_within};

pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// Whether the app says that its wall clock was never set.
pub fn is_clock_unset(sim: &Simulation) -> bool {
    let failing = sim.app().health().failing;
    failing.iter().any(|one| matches!(one, Failing::ClockUnset))
}

pub const NANOSECOND: Duration = Duration::from_nanos(1);
pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// Long enough for any machine: a test that waits for longer hangs, and fails.
pub const WATCHDOG: Duration = MINUTE;

/// The wall time at which a [`ManualClock`] begins.
pub const START: OffsetDateTime = datetime!(2000-01-01 0:00 UTC);

/// What an event is about, without its times.
pub fn event_kind(event: Event) -> String {
    match event {
        Event::Job(event) => match event.kind {
            JobEventKind::Scheduled { .. } => "scheduled".into(),
            JobEventKind::Started { run, attempt } => format!("started {run}.{attempt}"),
            JobEventKind::Retrying { attempt, .. } => format!("retrying after {attempt}"),
            JobEventKind::BodyOutlives { attempt } => format!("attempt {attempt} outlived"),
            JobEventKind::RunEnded(run) => format!("run {} ended {}", run.number, run.status),
            JobEventKind::Restored { .. } => "restored".into(),
            JobEventKind::Misfired { .. } => "misfired".into(),
            JobEventKind::Interrupted {
                interruptions,
                is_set_aside,
            } => {
                let then = if is_set_aside { ", set aside" } else { "" };
                format!("interrupted {interruptions} times{then}")
            }
            JobEventKind::Cancelled => "cancelled".into(),
            JobEventKind::Expired => "expired".into(),
            JobEventKind::FailedTooOften { max_failures } => format!("failed {max_failures} times"),
            JobEventKind::AllExcluded { calendar } => format!("{calendar} excludes all"),
            JobEventKind::Ended(status) => format!("ended {status}"),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

/// What the events so far are about, of those jobs whose task or id is `of`.
pub fn event_kinds(events: &mut Events, of: &str) -> Vec<String> {
    std::iter::from_fn(|| events.try_next())
        .filter(|event| matches!(event, Event::Job(job) if *job.task == *of || job.id == of))
        .map(event_kind)
        .collect()
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

    /// Whether every other clone is gone, so that nothing writes to it any more.
    pub fn is_closed(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// Functions of tasks that write the log when an attempt starts, and end at once.
impl<T: Clone + Send + 'static> Log<T> {
    /// Logs the argument.
    pub fn argument(&self) -> impl Fn(T) -> Ready<()> + Send + Sync + use<T> {
        let log = self.clone();
        move |argument| {
            log.add(argument);
            ready(())
        }
    }

    /// Logs `entry` of the attempt.
    pub fn each<F>(&self, entry: F) -> impl Fn(JobContext) -> Ready<()> + Send + Sync + use<T, F>
    where
        F: Fn(&JobContext) -> T + Send + Sync,
    {
        let log = self.clone();
        move |cx| {
            log.add(entry(&cx));
            ready(())
        }
    }

    /// Logs `entry` of the attempt and its argument.
    pub fn each_with<A, F>(
        &self,
        entry: F,
    ) -> impl Fn(JobContext, A) -> Ready<()> + Send + Sync + use<T, A, F>
    where
        F: Fn(&JobContext, A) -> T + Send + Sync,
    {
        let log = self.clone();
        move |cx, argument| {
            log.add(entry(&cx, argument));
            ready(())
        }
    }
}

/// The whole seconds that a simulation has run for at each call.
pub fn seconds(sim: &Simulation) -> impl Fn() -> u64 + Clone + Send + Sync + use<> {
    let clock = sim.clock();
    move || clock.elapsed().as_secs()
}

/// A simulation whose wall clock begins at `start`.
pub fn simulation_at(start: OffsetDateTime) -> Result<Simulation> {
    Ok(Simulation::with(0, ManualClock::at(start), |app| app)?)
}

/// A started app with threads of its own, on the system's clock.
pub fn started_app() -> Result<Jobber> {
    let app = Jobber::builder().build()?;
    app.start().block_on()?;
    Ok(app)
}

/// A started app with threads of its own, on a clock that the test moves.
pub fn manual_app() -> Result<(Jobber, ManualClock)> {
    manual_app_with(|app| app)
}

pub fn manual_app_with(
    configure: impl FnOnce(JobberBuilder) -> JobberBuilder,
) -> Result<(Jobber, ManualClock)> {
    let clock = ManualClock::new();
    let app = configure(Jobber::builder().clock(clock.clone())).build()?;
    app.start().block_on()?;
    Ok((app, clock))
}

/// A started app on a clock that the test moves, and whose attempts the test polls.
pub fn hand_polled_app() -> Result<(Jobber, ManualClock, Receiver<JobFuture>)> {
    hand_polled_app_with(|app| app)
}

pub fn hand_polled_app_with(
    configure: impl FnOnce(JobberBuilder) -> JobberBuilder,
) -> Result<(Jobber, ManualClock, Receiver<JobFuture>)> {
    let (spawn, spawned) = mpsc::channel();
    let (app, clock) = manual_app_with(|app| {
        configure(app)
            .coalescing_window(Duration::ZERO)
            .executor(move |job: JobFuture| drop(spawn.send(job)))
    })?;
    Ok((app, clock, spawned))
}

/// Schedules a job for each of the arguments, all of them due after `delay`.
pub fn delay_all<A: Clone + Send + Sync + 'static, R: Send + Sync + 'static>(
    task: &Task<A, R>,
    delay: Duration,
    args: impl IntoIterator<Item = A>,
) -> Result<Vec<Job<R>>> {
    let submits = args
        .into_iter()
        .map(|args| task.schedule(args).delay(delay));
    Ok(submits
        .map(|submit| submit.block_on())
        .collect::<Result<_, _>>()?)
}

/// Polls a future once.
pub fn poll<F: Future>(future: F) -> Option<F::Output> {
    block_on(poll_once(future))
}

/// Polls a future once, with a waker.
pub fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Polls a future that has to wait.
pub fn begin<F: Future + Unpin>(future: &mut F) {
    assert!(poll(future).is_none(), "it has to wait");
}

/// Waits on this thread until a condition holds that another thread makes true.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !condition() {
        assert!(Instant::now() < deadline, "it never comes true");
        thread::yield_now();
    }
}

/// Waits until a job is done.
#[track_caller]
pub fn assert_ends<R>(job: &Job<R>, status: JobStatus) {
    assert_eq!(job.wait_timeout(WATCHDOG).block_on(), status);
}

/// Runs `test` on a thread of its own, so that a deadlock fails instead of hanging.
pub fn without_deadlock<T: Send + 'static>(
    test: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(test()));
    ended.recv_timeout(WATCHDOG)?
}

/// Counts how often its waker is woken.
#[derive(Debug, Default)]
pub struct WakeCounter(AtomicUsize);

impl WakeCounter {
    pub fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (counter.clone(), Waker::from(counter))
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The slot in the table of jobs that a generated id names.
pub fn slot(id: &JobId) -> u32 {
    let id = id.to_string();
    u32::from_str_radix(&id[id.len() - 8..], 16).unwrap()
}

/// Counts its clones.
#[derive(Clone, Debug, Default)]
pub struct DropCounter(Arc<()>);

impl DropCounter {
    /// How many clones are alive, this one left out.
    pub fn alive(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// Panics when it is dropped.
#[derive(Clone, Debug)]
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a bomb was dropped");
        }
    }
}
