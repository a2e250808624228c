//! The same behaviours on each runtime, and executors that misbehave or go away.
//!
//! Time is virtual on each runtime. The only real time is [`WATCHDOG`], which turns a hang
//! into a failure.

mod executor;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::future::{Future, Ready, pending};
use std::num::ParseIntError;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Result;
use async_executor::{Executor as Tasks, LocalExecutor};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    AnyJob, Backoff, BoxError, CancelOutcome, Clock, Event, Events, ExecutorDropped, Job,
    JobContext, JobError, JobEventKind, JobStatus, Jobber, JobberBuilder, Next, Outcome,
    ScheduleError, ShutdownReport, Task,
};
use smol::channel::{self, Receiver, Sender};
use smol::future::yield_now;
use smol::stream::StreamExt;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

const NANOSECOND: Duration = Duration::from_nanos(1);

const SECOND: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_secs(3_600);

const WATCHDOG: Duration = Duration::from_secs(60);

/// An app on a runtime, on a clock that the test moves.
struct Runtime {
    app: Jobber,
    clock: ManualClock,
    /// Spawns a task of the runtime that is not a job.
    spawn: Box<dyn Fn(BoxFuture)>,
    /// A task that does nothing: its job passes through the timer and the executor.
    nothing: Task<(), ()>,
    inline: Option<Inline>,
}

/// What runs on the thread of the test while the test waits.
struct Inline {
    simulation: Simulation,
    tasks: Arc<Tasks<'static>>,
}

#[cfg(feature = "serde")]
fn with_store(builder: JobberBuilder) -> JobberBuilder {
    builder.storage(jobber::MemoryStorage::new())
}

#[cfg(not(feature = "serde"))]
fn with_store(builder: JobberBuilder) -> JobberBuilder {
    builder
}

impl Runtime {
    fn new(
        configure: impl FnOnce(JobberBuilder) -> JobberBuilder,
        spawn: impl Fn(BoxFuture) + 'static,
    ) -> Result<Self, BoxError> {
        let clock = ManualClock::new();
        let app = configure(with_store(Jobber::builder().clock(clock.clone()))).build()?;
        let nothing = app.task("nothing", || async {}).register()?;
        app.start().block_on()?;
        Ok(Self {
            app,
            clock,
            spawn: Box::new(spawn),
            nothing,
            inline: None,
        })
    }

    #[cfg(feature = "thread-pool")]
    fn thread_pool() -> Result<Self, BoxError> {
        Self::new(|builder| builder, spawn_thread)
    }

    fn smol_global() -> Result<Self, BoxError> {
        Self::new(
            |builder| builder.executor(|job| smol::spawn(job).detach()),
            |task| smol::spawn(task).detach(),
        )
    }

    fn async_std_global() -> Result<Self, BoxError> {
        Self::new(
            |builder| builder.executor(|job| drop(async_std::task::spawn(job))),
            |task| drop(async_std::task::spawn(task)),
        )
    }

    /// Jobs and tasks share one thread.
    fn local_executor() -> Result<Self, BoxError> {
        let LocalThread { jobs, tasks, .. } = LocalThread::start();
        Self::new(
            |builder| builder.executor(move |job| drop(jobs.try_send(Box::pin(job)))),
            move |task| drop(tasks.try_send(task)),
        )
    }

    /// Each job begins on a thread of its own, after `spawn`.
    fn thread_for_each_job() -> Result<Self, BoxError> {
        Self::new(
            |builder| builder.executor(|job| spawn_thread(Box::pin(job))),
            spawn_thread,
        )
    }

    /// Each job runs to its end within `spawn`, on the thread that schedules or on the timer
    /// thread.
    fn inline_in_spawn() -> Result<Self, BoxError> {
        Self::new(|builder| builder.executor(smol::block_on), spawn_thread)
    }

    fn simulation() -> Result<Self, BoxError> {
        let simulation = Simulation::with(0, ManualClock::new(), with_store)?;
        let app = simulation.app().clone();
        let tasks = Arc::new(Tasks::new());
        Ok(Self {
            nothing: app.task("nothing", || async {}).register()?,
            app,
            clock: simulation.clock(),
            spawn: Box::new({
                let tasks = tasks.clone();
                move |task| tasks.spawn(task).detach()
            }),
            inline: Some(Inline { simulation, tasks }),
        })
    }

    /// Waits, and meanwhile runs what belongs to this thread.
    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match &mut self.inline {
            Some(inline) => inline.block_on(future),
            None => block_on(future),
        }
    }

    /// Waits until a job is done.
    #[track_caller]
    fn wait(&mut self, job: &AnyJob) -> JobStatus {
        let status = match &mut self.inline {
            Some(inline) => inline.block_on(job.wait()),
            None => job.wait_timeout(WATCHDOG).block_on(),
        };
        assert!(status.is_final(), "{job:?} has not ended");
        status
    }

    /// Waits for an event of a job.
    fn wait_for(&mut self, events: &mut Events, job: &AnyJob, what: fn(&JobEventKind) -> bool) {
        self.block_on(async {
            loop {
                match events.next().await {
                    Some(Event::Job(event)) if event.id == *job.id() && what(&event.kind) => return,
                    Some(_) => {}
                    None => panic!("the events have ended"),
                }
            }
        });
    }

    fn advance(&mut self, by: Duration) {
        match &mut self.inline {
            Some(inline) => inline.simulation.advance(by),
            None => self.clock.advance(by),
        }
    }

    /// Returns when the timer has handled everything that is due by now.
    fn pass_the_timer(&mut self) -> Result {
        let job = self.nothing.schedule(()).delay(Duration::ZERO).block_on()?;
        assert_eq!(self.wait(job.as_any()), JobStatus::Success);
        Ok(())
    }

    fn shutdown(&mut self, grace: Duration) -> ShutdownReport {
        match &mut self.inline {
            Some(inline) => inline.simulation.shutdown(grace),
            None => block_on(self.app.shutdown(grace)),
        }
    }
}

impl Inline {
    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let give_up = Instant::now() + WATCHDOG;
        loop {
            self.simulation.run_until_stalled();
            while self.tasks.try_tick() {}
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            assert!(Instant::now() < give_up, "nothing happens");
            // The other threads of the test schedule and wait, too.
            thread::yield_now();
        }
    }
}

/// A thread that drives a `LocalExecutor` until `jobs` and `tasks` are closed or dropped;
/// then it drops what has not ended.
struct LocalThread {
    jobs: Sender<BoxFuture>,
    tasks: Sender<BoxFuture>,
    /// Closed when the thread has dropped everything.
    ended: Receiver<()>,
}

impl LocalThread {
    fn start() -> Self {
        let (jobs, inbox) = channel::unbounded::<BoxFuture>();
        let (end, ended) = channel::bounded(1);
        thread::spawn(move || {
            let local = LocalExecutor::new();
            smol::block_on(local.run(async {
                while let Ok(job) = inbox.recv().await {
                    local.spawn(job).detach();
                }
            }));
            drop(local);
            drop(end);
        });
        let tasks = jobs.clone();
        Self { jobs, tasks, ended }
    }
}

fn spawn_thread(task: BoxFuture) {
    thread::spawn(|| smol::block_on(task));
}

fn block_on<F: Future>(future: F) -> F::Output {
    let watchdog = async {
        smol::Timer::after(WATCHDOG).await;
        None
    };
    let output = smol::block_on(smol::future::or(async { Some(future.await) }, watchdog));
    output.expect("nothing happens")
}

/// Closes its channel when it is dropped.
type DropSignal = Sender<()>;

fn drop_signal() -> (DropSignal, Receiver<()>) {
    channel::bounded(1)
}

/// A task that sends when it runs, and never ends.
fn forever(app: &Jobber) -> Result<Task<Sender<()>, ()>, BoxError> {
    let task = app.task("forever", async |running: Sender<()>| {
        let _ = running.send(()).await;
        pending::<()>().await
    });
    Ok(task.register()?)
}

/// Whether the job failed because its executor dropped it.
fn is_executor_dropped<R: Send + Sync + 'static>(job: &Job<R>) -> bool {
    match job.result() {
        Err(error @ JobError::Failed(_)) => {
            error.source().is_some_and(|e| e.is::<ExecutorDropped>())
        }
        _ => false,
    }
}

/// Panics without the hook, which would print into the output of the tests.
fn raise(message: impl Send + 'static) {
    resume_unwind(Box::new(message))
}

// How jobs end.

fn a_delayed_job_runs_when_it_is_due_and_has_its_value(rt: &mut Runtime) -> Result {
    let clock = rt.clock.clone();
    let task = rt.app.task("add", move |x: i32, y: i32| {
        let began = clock.elapsed();
        async move { (x + y, began) }
    });
    let submit = task.register()?.schedule((1, 2)).delay(SECOND);
    let job = submit.block_on()?;
    rt.advance(SECOND - NANOSECOND);
    rt.pass_the_timer()?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert!(matches!(job.result(), Err(JobError::NotCompleted)));
    rt.advance(NANOSECOND);
    assert_eq!(rt.wait(job.as_any()), JobStatus::Success);
    assert_eq!(*job.result()?, (3, SECOND));
    Ok(())
}

fn a_job_at_a_wall_time_runs_when_the_clock_is_set_to_it(rt: &mut Runtime) -> Result {
    let clock = rt.clock.clone();
    let task = rt.app.task("wall", move || {
        let began = clock.wall();
        async move { began }
    });
    let due = rt.clock.wall() + HOUR;
    let job = task.register()?.schedule(()).at(due).block_on()?;
    rt.pass_the_timer()?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    rt.clock.set_wall(due);
    assert_eq!(rt.wait(job.as_any()), JobStatus::Success);
    assert_eq!(*job.result()?, due);
    Ok(())
}

fn a_failed_job_has_the_error_of_its_task(rt: &mut Runtime) -> Result {
    let parse = rt
        .app
        .task("parse", async |text: String| text.parse::<i32>());
    let submit = parse.register()?.schedule("seven".into()).push();
    let job = submit.block_on()?;
    assert_eq!(rt.wait(job.as_any()), JobStatus::Failed);
    let error = job.result().unwrap_err();
    assert!(error.source().unwrap().is::<ParseIntError>());
    Ok(())
}

fn a_panic_fails_only_its_own_job(rt: &mut Runtime) -> Result {
    let in_call = rt.app.task("call", || -> Ready<()> {
        resume_unwind(Box::new("in the call"))
    });
    let in_first_poll = rt.app.task("first poll", || async {
        raise("in the first poll");
    });
    let in_later_poll = rt.app.task("later poll", || async {
        yield_now().await;
        raise(String::from("in a later poll"));
    });
    let blocking = rt.app.blocking_task("blocking", || {
        raise("on a blocking thread");
    });
    for (task, message) in [
        (in_call, "in the call"),
        (in_first_poll, "in the first poll"),
        (in_later_poll, "in a later poll"),
        (blocking, "on a blocking thread"),
    ] {
        let job = task.register()?.schedule(()).push().block_on()?;
        assert_eq!(rt.wait(job.as_any()), JobStatus::Failed, "{message}");
        match job.result() {
            Err(JobError::Panicked { message: given }) => assert_eq!(&*given, message),
            other => panic!("{other:?}"),
        }
        rt.pass_the_timer()?;
    }
    Ok(())
}

fn a_job_that_takes_too_long_times_out_and_is_dropped(rt: &mut Runtime) -> Result {
    let slow = rt
        .app
        .task("slow", async |running: Sender<()>, signal: DropSignal| {
            let _ = running.send(()).await;
            pending::<()>().await;
            drop(signal);
        });
    let (running, is_running) = channel::bounded(1);
    let (signal, dropped) = drop_signal();
    let slow = slow.timeout(SECOND).register()?;
    let job = slow.schedule((running, signal)).push().block_on()?;
    rt.block_on(is_running.recv())?;
    rt.advance(SECOND - NANOSECOND);
    rt.pass_the_timer()?;
    assert_eq!(job.status(), JobStatus::Running);
    rt.advance(NANOSECOND);
    assert_eq!(rt.wait(job.as_any()), JobStatus::Timeout);
    assert!(matches!(
        job.result(),
        Err(JobError::TimedOut { limit: SECOND })
    ));
    rt.block_on(dropped.recv()).unwrap_err();
    Ok(())
}

fn a_job_is_retried_until_it_succeeds(rt: &mut Runtime) -> Result {
    let clock = rt.clock.clone();
    let flaky = rt.app.task("flaky", move |cx: JobContext| {
        let began = clock.elapsed();
        async move {
            yield_now().await;
            match cx.attempt() {
                3 => Ok((3, began)),
                _ => Err("not yet"),
            }
        }
    });
    let flaky = flaky.retry(Backoff::fixed(2, SECOND)).register()?;
    let mut events = rt.app.events();
    let job = flaky.schedule(()).push().block_on()?;
    for _ in 1..=2 {
        let retrying = |kind: &_| matches!(kind, JobEventKind::Retrying { .. });
        rt.wait_for(&mut events, job.as_any(), retrying);
        rt.advance(SECOND);
    }
    assert_eq!(rt.wait(job.as_any()), JobStatus::Success);
    assert_eq!(*job.result()?, (3, 2 * SECOND));
    Ok(())
}

fn a_recurring_job_runs_at_its_times_up_to_its_last_run(rt: &mut Runtime) -> Result {
    let task = rt.app.task("count", async |cx: JobContext| cx.run_number());
    let began = rt.clock.wall();
    let schedule = task.register()?.schedule(()).max_runs(3);
    let job = schedule.every(SECOND).block_on()?;
    for number in 1..=3_u32 {
        let next = job.next_run();
        rt.advance(SECOND);
        let run = rt.block_on(next).expect("a run");
        assert_eq!(run.number, u64::from(number));
        assert_eq!(run.status, JobStatus::Success);
        assert_eq!(run.nominal_time, began + SECOND * number);
        assert_eq!(job.last_run(), Some(run));
        assert_eq!(*job.result()?, run.number);
    }
    assert_eq!(rt.wait(job.as_any()), JobStatus::Success);
    assert_eq!(rt.block_on(job.next_run()), None);
    Ok(())
}

fn a_recurring_job_cancelled_in_a_run_ends_with_that_run(rt: &mut Runtime) -> Result {
    let task = rt
        .app
        .task("gated", async |running: Sender<()>, gate: Receiver<()>| {
            let _ = running.send(()).await;
            gate.recv().await
        });
    let (running, is_running) = channel::unbounded();
    let (open, gate) = channel::bounded(1);
    let submit = task.register()?.schedule((running, gate)).every(SECOND);
    let job = submit.block_on()?;
    rt.advance(SECOND);
    rt.block_on(is_running.recv())?;
    assert!(job.cancel().block_on()?.took_effect());
    assert_eq!(job.status(), JobStatus::Running);
    let run = job.next_run();
    open.try_send(())?;
    assert_eq!(rt.wait(job.as_any()), JobStatus::Cancelled);
    let run = rt.block_on(run).expect("the run that was going on");
    assert_eq!((run.number, run.status), (1, JobStatus::Success));
    rt.advance(HOUR);
    rt.pass_the_timer()?;
    assert!(is_running.is_empty(), "the job ran again");
    Ok(())
}

fn the_future_of_an_aborted_job_is_dropped(rt: &mut Runtime) -> Result {
    let task = rt
        .app
        .task("t", async |running: Sender<()>, signal: DropSignal| {
            let _ = running.send(()).await;
            pending::<()>().await;
            drop(signal);
        });
    let (running, is_running) = channel::bounded(1);
    let (signal, dropped) = drop_signal();
    let submit = task.register()?.schedule((running, signal)).push();
    let job = submit.block_on()?;
    rt.block_on(is_running.recv())?;
    assert!(!dropped.is_closed());
    let cancelled = job.cancel().block_on()?;
    assert_eq!(cancelled, CancelOutcome::EndsAfterAttempt);
    assert!(job.abort().block_on()?.took_effect());
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(matches!(job.result(), Err(JobError::Cancelled)));
    rt.block_on(dropped.recv()).unwrap_err();
    assert!(
        !job.abort().block_on()?.took_effect(),
        "the job is done already"
    );
    Ok(())
}

fn a_cancelled_job_never_runs_and_its_arguments_are_dropped(rt: &mut Runtime) -> Result {
    let (ran, has_run) = channel::bounded(1);
    let task = rt.app.task("t", move |_: DropSignal| {
        let _ = ran.try_send(());
        async {}
    });
    let (signal, dropped) = drop_signal();
    let submit = task.register()?.schedule(signal).delay(SECOND);
    let job = submit.block_on()?;
    assert!(job.cancel().block_on()?.took_effect());
    assert!(dropped.is_closed());
    rt.advance(SECOND);
    rt.pass_the_timer()?;
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(has_run.is_empty());
    Ok(())
}

fn a_blocking_job_has_its_value_or_its_error(rt: &mut Runtime) -> Result {
    let parse = rt
        .app
        .blocking_task("parse", |text: String| text.parse::<i32>());
    let parse = parse.register()?;
    let good = parse.schedule("7".into()).push().block_on()?;
    let submit = parse.schedule("seven".into()).delay(SECOND);
    let bad = submit.block_on()?;
    rt.advance(SECOND);
    assert_eq!(rt.wait(good.as_any()), JobStatus::Success);
    assert_eq!(*good.result()?, 7);
    assert_eq!(rt.wait(bad.as_any()), JobStatus::Failed);
    assert!(
        bad.result()
            .unwrap_err()
            .source()
            .unwrap()
            .is::<ParseIntError>()
    );
    Ok(())
}

fn a_thousand_jobs_due_at_one_instant_each_run_once(rt: &mut Runtime) -> Result {
    const JOBS: usize = 1_000;
    let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..JOBS).map(|_| AtomicUsize::new(0)).collect());
    let task = rt.app.task("one of many", {
        let runs = runs.clone();
        move |n: usize| {
            let runs = runs.clone();
            async move {
                // Some end in their first poll, and some have to wait.
                if n.is_multiple_of(3) {
                    yield_now().await;
                }
                runs[n].fetch_add(1, Ordering::Relaxed);
                n
            }
        }
    });
    let task = task.register()?;
    let jobs = (0..JOBS)
        .map(|n| task.schedule(n).delay(SECOND).block_on())
        .collect::<Result<Vec<_>, _>>()?;
    rt.advance(SECOND);
    let app = rt.app.clone();
    rt.block_on(app.wait_all());
    for (n, job) in jobs.iter().enumerate() {
        assert_eq!(job.status(), JobStatus::Success);
        assert_eq!(*job.result()?, n);
        assert_eq!(runs[n].load(Ordering::Relaxed), 1);
    }
    assert!(app.jobs().is_empty());
    Ok(())
}

// Functions of the program around the attempts.

fn middleware_runs_around_async_and_blocking_jobs(rt: &mut Runtime) -> Result {
    async fn around(cx: JobContext, next: Next) -> Outcome {
        cx.set_local(cx.attempt());
        yield_now().await;
        let outcome = next.run().await;
        match cx.local::<&str>() {
            Some(name) if **name == *cx.task_name() => outcome,
            _ => Outcome::fail("the task has not run"),
        }
    }
    let group = rt
        .app
        .group("g")
        .around(around)
        .retry(Backoff::fixed(1, SECOND));
    let task = group.task("async", async |cx: JobContext| {
        cx.set_local("g.async");
        yield_now().await;
        match cx.local::<u32>().as_deref() {
            Some(2) => Ok(2),
            _ => Err("the first attempt"),
        }
    });
    let mut events = rt.app.events();
    let job = task.register()?.schedule(()).push().block_on()?;
    let blocking = group.blocking_task("blocking", |cx: JobContext| {
        cx.set_local("g.blocking");
        cx.local::<u32>().as_deref().copied()
    });
    let blocking = blocking.register()?.schedule(()).push().block_on()?;
    assert_eq!(rt.wait(blocking.as_any()), JobStatus::Success);
    assert_eq!(*blocking.result()?, Some(1));
    let retrying = |kind: &_| matches!(kind, JobEventKind::Retrying { .. });
    rt.wait_for(&mut events, job.as_any(), retrying);
    rt.advance(SECOND);
    assert_eq!(rt.wait(job.as_any()), JobStatus::Success);
    assert_eq!(*job.result()?, 2);
    Ok(())
}

fn functions_decide_about_a_timeout_and_see_the_end(rt: &mut Runtime) -> Result {
    let (ended, ends) = channel::unbounded();
    let task = rt.app.task("t", async |running: Sender<()>| {
        let _ = running.send(()).await;
        pending::<u32>().await
    });
    let task = task
        .timeout(SECOND)
        .recover(|error, cx| match error {
            JobError::TimedOut { .. } => Some(cx.attempt()),
            _ => None,
        })
        .on_end(move |end| {
            let _ = ended.try_send((end.status, end.attempts));
        });
    let (running, is_running) = channel::bounded(1);
    let job = task.register()?.schedule(running).push().block_on()?;
    rt.block_on(is_running.recv())?;
    rt.advance(SECOND);
    assert_eq!(rt.wait(job.as_any()), JobStatus::Success);
    assert_eq!(*job.result()?, 1);
    assert_eq!(rt.block_on(ends.recv())?, (JobStatus::Success, 1));
    Ok(())
}

#[cfg(feature = "serde")]
fn a_retry_resumes_from_the_checkpoint(rt: &mut Runtime) -> Result {
    let durable = |task: jobber::TaskBuilder<(), Option<u32>>| {
        let task = task.durable().retry(Backoff::fixed(1, SECOND));
        task.register()
    };
    let tasks = [
        durable(rt.app.task("async", async |cx: JobContext| -> Result<_> {
            let found = cx.last_checkpoint()?;
            cx.checkpoint(&1).await?;
            cx.checkpoint_soon(&2)?;
            cx.progress(50, "");
            (cx.attempt() == 2).then_some(found).ok_or("not yet".into())
        }))?,
        durable(
            rt.app
                .blocking_task("blocking", |cx: JobContext| -> Result<_> {
                    let found = cx.last_checkpoint()?;
                    cx.checkpoint(&1).block_on()?;
                    cx.checkpoint_soon(&2)?;
                    cx.progress(50, "");
                    (cx.attempt() == 2).then_some(found).ok_or("not yet".into())
                }),
        )?,
    ];
    for task in tasks {
        let mut events = rt.app.events();
        let job = task.schedule(()).push().block_on()?;
        let retrying = |kind: &_| matches!(kind, JobEventKind::Retrying { .. });
        rt.wait_for(&mut events, job.as_any(), retrying);
        assert_eq!(job.progress().map(|progress| progress.percent), Some(50));
        rt.advance(SECOND);
        assert_eq!(rt.wait(job.as_any()), JobStatus::Success);
        assert_eq!(*job.result()?, Some(2));
    }
    Ok(())
}

// Scheduling, waiting and cancelling from every place.

/// The outcomes of [`use_the_app`] and [`use_the_app_blocking`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Used {
    sum: i32,
    delayed: JobStatus,
    was_cancelled: bool,
    cancelled: JobStatus,
    was_aborted: bool,
    aborted: JobStatus,
}

const USED: Used = Used {
    sum: 3,
    delayed: JobStatus::Success,
    was_cancelled: true,
    cancelled: JobStatus::Cancelled,
    was_aborted: true,
    aborted: JobStatus::Cancelled,
};

#[derive(Clone)]
struct UsedTasks {
    add: Task<(i32, i32), i32>,
    forever: Task<Sender<()>, ()>,
}

impl UsedTasks {
    fn new(app: &Jobber) -> Result<Self, BoxError> {
        Ok(Self {
            add: app.task("add", async |x: i32, y: i32| x + y).register()?,
            forever: forever(app)?,
        })
    }
}

async fn use_the_app(UsedTasks { add, forever }: UsedTasks) -> Result<Used, BoxError> {
    let sum = *add.schedule((1, 2)).push().await?.await?;
    let delayed = add
        .schedule((3, 4))
        .delay(Duration::ZERO)
        .await?
        .wait()
        .await;
    let job = add.schedule((5, 6)).delay(HOUR).await?;
    let wait = job.wait();
    let (was_cancelled, cancelled) = (job.cancel().await?.took_effect(), wait.await);
    let (running, is_running) = channel::bounded(1);
    let job = forever.schedule(running).push().await?;
    is_running.recv().await?;
    let wait = job.wait();
    let (was_aborted, aborted) = (job.abort().await?.took_effect(), wait.await);
    Ok(Used {
        sum,
        delayed,
        was_cancelled,
        cancelled,
        was_aborted,
        aborted,
    })
}

fn use_the_app_blocking(UsedTasks { add, forever }: UsedTasks) -> Result<Used, BoxError> {
    let job = add.schedule((1, 2)).push().block_on()?;
    job.wait_blocking();
    let sum = *job.result()?;
    let job = add.schedule((3, 4)).delay(Duration::ZERO).block_on()?;
    let delayed = job.wait_timeout(WATCHDOG).block_on();
    let job = add.schedule((5, 6)).delay(HOUR).block_on()?;
    let was_cancelled = job.cancel().block_on()?.took_effect();
    let cancelled = job.wait_blocking();
    let (running, is_running) = channel::bounded(1);
    let job = forever.schedule(running).push().block_on()?;
    is_running.recv_blocking()?;
    let was_aborted = job.abort().block_on()?.took_effect();
    let aborted = job.wait_blocking();
    Ok(Used {
        sum,
        delayed,
        was_cancelled,
        cancelled,
        was_aborted,
        aborted,
    })
}

fn a_job_may_schedule_wait_and_cancel(rt: &mut Runtime) -> Result {
    let tasks = UsedTasks::new(&rt.app)?;
    let user = rt.app.task("user", move || use_the_app(tasks.clone()));
    let job = user.register()?.schedule(()).push().block_on()?;
    rt.wait(job.as_any());
    assert_eq!(*job.result()?, USED);
    Ok(())
}

fn a_blocking_job_may_schedule_wait_and_cancel(rt: &mut Runtime) -> Result {
    let tasks = UsedTasks::new(&rt.app)?;
    let user = rt
        .app
        .blocking_task("user", move || use_the_app_blocking(tasks.clone()));
    let job = user.register()?.schedule(()).push().block_on()?;
    rt.wait(job.as_any());
    assert_eq!(*job.result()?, USED);
    Ok(())
}

fn a_plain_thread_may_schedule_wait_and_cancel(rt: &mut Runtime) -> Result {
    let tasks = UsedTasks::new(&rt.app)?;
    let (give, used) = channel::bounded(1);
    thread::spawn(move || give.try_send(use_the_app_blocking(tasks)));
    assert_eq!(rt.block_on(used.recv())??, USED);
    Ok(())
}

fn an_async_task_may_schedule_wait_and_cancel(rt: &mut Runtime) -> Result {
    let tasks = UsedTasks::new(&rt.app)?;
    let (give, used) = channel::bounded(1);
    (rt.spawn)(Box::pin(async move {
        let _ = give.send(use_the_app(tasks).await).await;
    }));
    assert_eq!(rt.block_on(used.recv())??, USED);
    Ok(())
}

fn a_job_may_abort_itself(rt: &mut Runtime) -> Result {
    let itself: Arc<OnceLock<AnyJob>> = Arc::default();
    let task = rt.app.task("t", {
        let itself = itself.clone();
        move |signal: DropSignal| {
            let itself = itself.clone();
            async move {
                let job = itself.get().ok_or("not set")?;
                let cancelled = job.cancel().await?;
                let aborted = job.abort().await?;
                let expected = (CancelOutcome::EndsAfterAttempt, CancelOutcome::Cancelled);
                if (cancelled, aborted) == expected {
                    pending::<()>().await;
                }
                drop(signal);
                Err::<(), BoxError>(format!("{cancelled:?} {aborted:?}").into())
            }
        }
    });
    let (signal, dropped) = drop_signal();
    let submit = task.register()?.schedule(signal).delay(SECOND);
    let job = submit.block_on()?;
    itself.set(job.clone().into()).unwrap();
    rt.advance(SECOND);
    assert_eq!(
        rt.wait(job.as_any()),
        JobStatus::Cancelled,
        "{:?}",
        job.result()
    );
    rt.block_on(dropped.recv()).unwrap_err();
    Ok(())
}

fn every_waiter_of_a_job_is_woken(rt: &mut Runtime) -> Result {
    let gated = rt
        .app
        .task("gated", async |gate: Receiver<()>| gate.recv().await);
    let (open, gate) = channel::bounded(1);
    let job = gated.register()?.schedule(gate).push().block_on()?;
    let (give, woken) = channel::unbounded();

    let waiter = rt
        .app
        .task("waiter", async |job: Job<()>, give: Sender<JobStatus>| {
            give.send(job.wait().await).await
        });
    let waiter = waiter.register()?;
    for _ in 0..5 {
        let args = (job.clone(), give.clone());
        let _ = waiter.schedule(args).push().block_on()?;
        let (wait, here) = (job.wait(), give.clone());
        (rt.spawn)(Box::pin(async move {
            let _ = here.send(wait.await).await;
        }));
        let (job, here) = (job.clone(), give.clone());
        thread::spawn(move || here.try_send(job.wait_blocking()));
    }
    // By now some of them wait, and the others have still to begin.
    rt.pass_the_timer()?;
    open.try_send(())?;
    for _ in 0..15 {
        assert_eq!(rt.block_on(woken.recv())?, JobStatus::Success);
    }
    Ok(())
}

// The end.

fn shutdown_waits_for_running_jobs_and_cancels_the_others(rt: &mut Runtime) -> Result {
    let polite = rt
        .app
        .task("polite", async |cx: JobContext, running: Sender<()>| {
            let _ = running.send(()).await;
            cx.stop_token().stopped().await;
            yield_now().await;
            "done"
        });
    let polite = polite.register()?;
    let (running, is_running) = channel::bounded(1);
    let job = polite.schedule(running.clone()).push().block_on()?;
    let submit = polite.schedule(running.clone()).delay(HOUR);
    let waiting = submit.block_on()?;
    let (give, woken) = channel::bounded(1);
    let wait = waiting.wait();
    thread::spawn(move || give.try_send(wait.block_on()));
    rt.block_on(is_running.recv())?;

    assert!(rt.shutdown(WATCHDOG).is_complete());
    assert_eq!(job.status(), JobStatus::Success);
    assert_eq!(*job.result()?, "done");
    assert_eq!(waiting.status(), JobStatus::Cancelled);
    assert_eq!(block_on(woken.recv())?, JobStatus::Cancelled);
    assert_eq!(waiting.wait_blocking(), JobStatus::Cancelled);
    let late = polite.schedule(running).push().block_on();
    assert!(matches!(late, Err(ScheduleError::Stopped)));
    Ok(())
}

fn shutdown_wakes_the_waiters_of_a_job_that_it_leaves_running(rt: &mut Runtime) -> Result {
    let (running, is_running) = channel::bounded(1);
    let schedule = forever(&rt.app)?.schedule(running).id("left");
    let job = schedule.push().block_on()?;
    rt.block_on(is_running.recv())?;
    let (give, woken) = channel::unbounded();
    let (wait, next_run, here) = (job.wait(), job.next_run(), give.clone());
    thread::spawn(move || {
        wait.block_on();
        here.try_send("wait")
    });
    thread::spawn(move || {
        next_run.block_on();
        give.try_send("next_run")
    });

    assert_eq!(rt.shutdown(Duration::ZERO).left, ["left"]);
    let mut names = [block_on(woken.recv())?, block_on(woken.recv())?];
    names.sort_unstable();
    assert_eq!(names, ["next_run", "wait"]);
    block_on(job.wait());
    Ok(())
}

fn dropping_the_app_cancels_waiting_jobs(rt: &mut Runtime) -> Result {
    let job = rt.nothing.schedule(()).delay(HOUR).block_on()?;
    let (give, woken) = channel::bounded(1);
    let wait = job.wait();
    thread::spawn(move || give.try_send(wait.block_on()));
    // This drops the last handle of the app.
    rt.app = Jobber::builder().executor(|_| {}).build()?;
    assert_eq!(block_on(woken.recv())?, JobStatus::Cancelled);
    assert_eq!(job.status(), JobStatus::Cancelled);
    Ok(())
}

// Only where blocking jobs have threads of their own.

fn a_waiting_blocking_job_delays_no_other(rt: &mut Runtime) -> Result {
    let wait = rt
        .app
        .blocking_task("wait", |running: Sender<()>, gate: Receiver<()>| {
            let _ = running.try_send(());
            let _ = gate.recv_blocking();
        });
    let wait = wait.register()?;
    let (running, is_running) = channel::unbounded();
    let (open, gate) = channel::bounded(1);
    let jobs = (0..8)
        .map(|_| {
            wait.schedule((running.clone(), gate.clone()))
                .push()
                .block_on()
        })
        .collect::<Result<Vec<_>, _>>()?;
    for _ in &jobs {
        rt.block_on(is_running.recv())?;
    }
    // An async job runs, from the timer and from a push.
    rt.pass_the_timer()?;
    let pushed = rt.nothing.schedule(()).push().block_on()?;
    assert_eq!(rt.wait(pushed.as_any()), JobStatus::Success);
    for job in &jobs {
        assert_eq!(job.status(), JobStatus::Running);
    }
    open.close();
    for job in &jobs {
        assert_eq!(rt.wait(job.as_any()), JobStatus::Success);
    }
    Ok(())
}

fn abort_sets_the_token_of_a_blocking_job(rt: &mut Runtime) -> Result {
    let (stopped, has_stopped) = channel::bounded(1);
    let listen = rt
        .app
        .blocking_task("listen", move |cx: JobContext, running: Sender<()>| {
            let token = cx.stop_token();
            let _ = running.try_send(());
            token.stopped().block_on();
            let _ = stopped.try_send(token.is_stop_requested());
        });
    let (running, is_running) = channel::bounded(1);
    let submit = listen.register()?.schedule(running).push();
    let job = submit.block_on()?;
    rt.block_on(is_running.recv())?;
    assert!(job.abort().block_on()?.took_effect());
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(rt.block_on(has_stopped.recv())?);
    assert!(
        matches!(job.result(), Err(JobError::Cancelled)),
        "its late value is discarded"
    );
    Ok(())
}

// One test for each behaviour on each runtime.

macro_rules! on {
    ($runtime:ident: $($behaviour:ident)*) => {
        mod $runtime {
            $(#[test]
            fn $behaviour() -> super::Result {
                super::$behaviour(&mut super::Runtime::$runtime()?)
            })*
        }
    };
}

/// Every behaviour that needs no thread of its own, and more.
macro_rules! all_on {
    ($runtime:ident: $($more:ident)*) => {
        on! { $runtime:
            a_delayed_job_runs_when_it_is_due_and_has_its_value
            a_job_at_a_wall_time_runs_when_the_clock_is_set_to_it
            a_failed_job_has_the_error_of_its_task
            a_panic_fails_only_its_own_job
            a_job_that_takes_too_long_times_out_and_is_dropped
            a_job_is_retried_until_it_succeeds
            a_recurring_job_runs_at_its_times_up_to_its_last_run
            a_recurring_job_cancelled_in_a_run_ends_with_that_run
            the_future_of_an_aborted_job_is_dropped
            a_cancelled_job_never_runs_and_its_arguments_are_dropped
            a_blocking_job_has_its_value_or_its_error
            a_thousand_jobs_due_at_one_instant_each_run_once
            middleware_runs_around_async_and_blocking_jobs
            functions_decide_about_a_timeout_and_see_the_end
            a_job_may_schedule_wait_and_cancel
            a_plain_thread_may_schedule_wait_and_cancel
            an_async_task_may_schedule_wait_and_cancel
            a_job_may_abort_itself
            every_waiter_of_a_job_is_woken
            shutdown_waits_for_running_jobs_and_cancels_the_others
            shutdown_wakes_the_waiters_of_a_job_that_it_leaves_running
            $($more)*
        }
    };
}

macro_rules! all_on_threads {
    ($runtime:ident) => {
        all_on! { $runtime:
            a_blocking_job_may_schedule_wait_and_cancel
            a_waiting_blocking_job_delays_no_other
            abort_sets_the_token_of_a_blocking_job
            dropping_the_app_cancels_waiting_jobs
        }
    };
}

#[cfg(feature = "thread-pool")]
all_on_threads!(thread_pool);

all_on_threads!(smol_global);

all_on_threads!(async_std_global);

all_on_threads!(local_executor);

all_on_threads!(thread_for_each_job);

all_on!(simulation:);

// A job that waits for the test would block the thread that schedules it.

on! { inline_in_spawn:
    a_delayed_job_runs_when_it_is_due_and_has_its_value
    a_job_at_a_wall_time_runs_when_the_clock_is_set_to_it
    a_failed_job_has_the_error_of_its_task
    a_panic_fails_only_its_own_job
    a_job_is_retried_until_it_succeeds
    a_recurring_job_runs_at_its_times_up_to_its_last_run
    a_cancelled_job_never_runs_and_its_arguments_are_dropped
    a_blocking_job_has_its_value_or_its_error
    a_thousand_jobs_due_at_one_instant_each_run_once
    middleware_runs_around_async_and_blocking_jobs
    a_waiting_blocking_job_delays_no_other
    abort_sets_the_token_of_a_blocking_job
    dropping_the_app_cancels_waiting_jobs
}

#[cfg(feature = "serde")]
mod with_a_store {
    use super::*;

    #[cfg(feature = "thread-pool")]
    on! { thread_pool: a_retry_resumes_from_the_checkpoint }
    on! { smol_global: a_retry_resumes_from_the_checkpoint }
    on! { async_std_global: a_retry_resumes_from_the_checkpoint }
    on! { local_executor: a_retry_resumes_from_the_checkpoint }
    on! { thread_for_each_job: a_retry_resumes_from_the_checkpoint }
    on! { inline_in_spawn: a_retry_resumes_from_the_checkpoint }
    on! { simulation: a_retry_resumes_from_the_checkpoint }
}
