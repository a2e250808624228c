//! The tasks of one process: they do what their arguments say, and write it into
//! the history.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, BoxError, Clock, Job, JobContext, NoRetry, OnError, RetryAfter, ScheduleError, Task,
};

use super::checkpoints::read_and_set;
use super::history::{Attempt, End, Event, History, Now, Promise, nanos};
use super::program::When;
use super::script::{Args, Child, Outcome, Script, TASKS, TaskSpec};

/// What the clock shows.
pub fn now(clock: &ManualClock) -> Now {
    Now {
        mono: clock.elapsed().as_nanos() as i64,
        wall: nanos(clock.wall()),
        earliest: clock.earliest_true_time().map_or(i64::MIN, nanos),
    }
}

/// The value of an attempt, which tells it from any other of its job.
pub fn value(run: u64, attempt: u32) -> u64 {
    run * 1_000 + u64::from(attempt)
}

/// The id of the job that this attempt schedules.
pub fn child_id(parent: &Attempt, child: Child, started: i64) -> String {
    if child.is_own {
        return parent.id.clone();
    }
    format!(
        "{}+{}.{}.{}@{started}",
        parent.id, parent.boot, parent.run, parent.attempt
    )
}

/// How long it waits.
pub const CHILD_DELAY: Duration = Duration::from_secs(2);

/// Those of `TASKS` that are there.
type ByNumber = Vec<Option<Task<Args, u64>>>;

/// What the bodies of tasks share.
#[derive(Clone)]
struct Shared {
    history: History,
    clock: ManualClock,
    boot: u32,
    /// Functions of the program see each failure, and leave it as it is.
    has_functions: bool,
    /// Not to be held by what they hold.
    tasks: Weak<Mutex<ByNumber>>,
}

/// Writes the end of an attempt, whichever it is.
struct Watch {
    shared: Shared,
    attempt: Attempt,
    end: End,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let end = match std::thread::panicking() {
            true => End::Panic,
            false => self.end,
        };
        let event = Event::End(self.attempt.clone(), end);
        self.shared.history.add(now(&self.shared.clock), event);
    }
}

/// The tasks of a process.
pub struct Tasks {
    tasks: Arc<Mutex<ByNumber>>,
    shared: Shared,
}

impl Tasks {
    /// Registers them all, but for one.
    pub fn register(
        sim: &Simulation,
        history: &History,
        (boot, has_functions): (u32, bool),
        lacks: Option<usize>,
    ) -> Self {
        let tasks = Arc::default();
        let shared = Shared {
            history: history.clone(),
            clock: sim.clock(),
            boot,
            has_functions,
            tasks: Arc::downgrade(&tasks),
        };
        let registered = (0..TASKS.len())
            .map(|at| (lacks != Some(at)).then(|| register_one(sim, &shared, at, &TASKS[at])));
        let registered = registered.collect();
        *tasks.lock().unwrap() = registered;
        Self { tasks, shared }
    }

    /// Registers another one.
    pub fn add(&self, sim: &Simulation, at: usize) {
        let task = register_one(sim, &self.shared, at, &TASKS[at]);
        self.tasks.lock().unwrap()[at] = Some(task);
    }

    pub fn get(&self, at: usize) -> Option<Task<Args, u64>> {
        self.tasks.lock().unwrap()[at].clone()
    }

    /// The live job of this task and id.
    pub fn job(&self, at: usize, id: &str) -> Option<Job<u64>> {
        self.get(at)?.job(id)
    }
}

fn register_one(sim: &Simulation, shared: &Shared, at: usize, spec: &TaskSpec) -> Task<Args, u64> {
    let has_functions = shared.has_functions;
    let shared = shared.clone();
    let mut builder = if spec.blocking {
        sim.app()
            .blocking_task(spec.name, move |cx: JobContext, args: Args| {
                let mut watch = shared.start(&cx);
                let (_, outcome) = args.script.outcome(true, cx.run_number(), cx.attempt());
                watch.finish(outcome)
            })
    } else {
        sim.app()
            .task(spec.name, move |cx: JobContext, args: Args| {
                let shared = shared.clone();
                let watch = shared.start(&cx);
                let (after, outcome) = args.script.outcome(false, cx.run_number(), cx.attempt());
                if outcome == Outcome::Panic && after == Some(Duration::ZERO) {
                    let _watch = watch;
                    std::panic::resume_unwind(Box::new("in the call"));
                }
                attempt(shared, at, cx, args, watch)
            })
    };
    if let Some(timeout) = spec.timeout {
        builder = builder.timeout(timeout);
    }
    if let [first, ..] = spec.retries {
        let count = spec.retries.len() as u32;
        let backoff = match spec.name {
            "backoff" => Backoff::exponential(count),
            _ => Backoff::fixed(count, *first),
        };
        builder = builder.retry(match spec.wavers {
            true => backoff.jitter(0.5),
            false => backoff,
        });
    }
    if has_functions {
        builder = builder.recover(|_, _| None).on_error(|_, _| OnError::Pass);
    }
    if spec.durable {
        // A job that is set aside has tests of its own.
        builder = builder.durable().max_interruptions(u32::MAX);
    }
    if spec.at_most_once {
        builder = builder.at_most_once();
    }
    builder.register().expect("it is a good task")
}

async fn attempt(
    shared: Shared,
    at: usize,
    cx: JobContext,
    args: Args,
    mut watch: Watch,
) -> Result<u64, BoxError> {
    let (after, outcome) = args.script.outcome(false, cx.run_number(), cx.attempt());
    if TASKS[at].has_checkpoints {
        let add = |event| shared.history.add(now(&shared.clock), event);
        read_and_set(&cx, &watch.attempt, args.script, add).await;
    }
    match after {
        Some(Duration::ZERO) => {}
        Some(after) => shared.clock.sleep(after).await,
        None if args.script == Script::UntilStopped => cx.stop_token().stopped().await,
        None => std::future::pending().await,
    }
    if let Some(child) = args.script.schedules() {
        shared.spawn(at, &watch.attempt, child).await;
    }
    watch.finish(outcome)
}

impl Shared {
    fn start(&self, cx: &JobContext) -> Watch {
        let attempt = Attempt {
            id: cx.id().to_string(),
            boot: self.boot,
            run: cx.run_number(),
            attempt: cx.attempt(),
            nominal: nanos(cx.nominal_time()),
        };
        self.history
            .add(now(&self.clock), Event::Start(attempt.clone()));
        Watch {
            shared: self.clone(),
            attempt,
            end: End::Dropped,
        }
    }

    async fn spawn(&self, at: usize, parent: &Attempt, child: Child) {
        let Some(tasks) = self.tasks.upgrade() else {
            return;
        };
        let task = tasks.lock().unwrap()[at].clone().expect("it runs");
        let id = child_id(parent, child, now(&self.clock).mono);
        let mut schedule = task.schedule(Args::new(child.script)).id(id.as_str());
        if child.is_own {
            self.history
                .add(now(&self.clock), Event::TakenBack { id: id.clone() });
            // Its own job may be a recurring one.
            schedule = schedule.replace_any();
        }
        let result = schedule.delay(CHILD_DELAY).await;
        let ok = result.is_ok();
        let promise = Promise {
            id: id.clone(),
            boot: self.boot,
            replaced: child.is_own,
            task: at,
            durable: TASKS[at].durable,
            when: When::Delay {
                ms: CHILD_DELAY.as_millis() as u32,
            },
            zone: None,
            expires_ms: None,
            paused: false,
        };
        let event = match ok {
            true => Event::Scheduled(promise),
            false => Event::GivenBack {
                id: id.clone(),
                is_torn: matches!(result, Err(ScheduleError::Storage(_))),
            },
        };
        self.history.add(now(&self.clock), event);
        let event = Event::Spawned {
            id,
            task: at,
            child,
            ok,
        };
        self.history.add(now(&self.clock), event);
    }
}

impl Watch {
    fn finish(&mut self, outcome: Outcome) -> Result<u64, BoxError> {
        self.end = End::Error;
        match outcome {
            Outcome::Value => {
                self.end = End::Value;
                Ok(value(self.attempt.run, self.attempt.attempt))
            }
            Outcome::Error => Err("it fails".into()),
            Outcome::RetryAfter(delay) => Err(RetryAfter::new(delay).into()),
            Outcome::Abort => Err(NoRetry::new("for good").into()),
            Outcome::Panic => std::panic::resume_unwind(Box::new("in a poll")),
        }
    }
}
