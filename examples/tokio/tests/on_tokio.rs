//! What jobber promises on tokio. The time of the app and that of the runtime are virtual. The
//! only real time is [`WATCHDOG`], which turns a hang into a failure.

use std::error::Error;
use std::future::pending;
use std::thread;
use std::time::Duration;

use jobber::testing::ManualClock;
use jobber::{
    Executor, ExecutorDropped, Job, JobError, JobStatus, Jobber, JobberBuilder, MemoryStorage, Task,
};
use jobber_on_tokio::OnTokio;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::Instant;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const SECOND: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_secs(3_600);

const WATCHDOG: Duration = Duration::from_secs(60);

/// An app on a clock that the test moves.
fn manual_app() -> (JobberBuilder, ManualClock) {
    let clock = ManualClock::new();
    (Jobber::builder().clock(clock.clone()), clock)
}

/// A runtime whose clock is virtual, and whose only worker is the thread that blocks on it.
fn runtime() -> Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    Ok(builder.enable_time().start_paused(true).build()?)
}

fn is_executor_dropped<R: Send + Sync + 'static>(job: &Job<R>) -> bool {
    match job.result() {
        Err(JobError::Failed(error)) => error.is::<ExecutorDropped>(),
        _ => false,
    }
}

#[test]
fn jobs_of_the_timer_and_pushed_ones_use_tokios_clock_and_channels() -> Result {
    runtime()?.block_on(async {
        let (app, clock) = manual_app();
        let app = app.executor(OnTokio::current()).build()?;
        let sleep = app.task("sleep", async |ready: UnboundedSender<Duration>| {
            let begin = Instant::now();
            tokio::time::sleep(HOUR).await;
            ready.send(begin.elapsed())
        });
        let sleep = sleep.register()?;
        app.start().await?;
        let (ready, mut slept) = mpsc::unbounded_channel();

        let pushed = sleep.schedule(ready.clone()).push().await?;
        pushed.await?;
        let delayed = sleep.schedule(ready).delay(SECOND).await?;
        clock.advance(SECOND);
        delayed.await?;
        for _ in 0..2 {
            assert!(slept.recv().await >= Some(HOUR));
        }
        assert!(app.shutdown(WATCHDOG).await.is_complete());
        Ok(())
    })
}

#[test]
fn blocking_jobs_run_on_tokios_blocking_pool() -> Result {
    runtime()?.block_on(async {
        let (app, clock) = manual_app();
        let app = app.executor(OnTokio::current()).build()?;
        let thread = app.blocking_task("thread", || {
            (thread::current().id(), Handle::try_current().is_ok())
        });
        let thread = thread.register()?;
        app.start().await?;

        let pushed = thread.schedule(()).push().await?;
        let delayed = thread.schedule(()).delay(SECOND).await?;
        clock.advance(SECOND);
        for job in [pushed, delayed] {
            let (id, is_of_tokio) = *job.await?;
            assert!(is_of_tokio);
            // It is not the worker.
            assert_ne!(id, thread::current().id());
        }
        assert!(app.shutdown(WATCHDOG).await.is_complete());
        Ok(())
    })
}

/// The reason for the handle.
#[test]
fn without_a_handle_a_pushed_job_runs_and_a_delayed_one_fails() -> Result {
    runtime()?.block_on(async {
        let (app, clock) = manual_app();
        let app = app.executor(|job| drop(tokio::spawn(job))).build()?;
        let task = app.task("task", async || {}).register()?;
        app.start().await?;

        task.schedule(()).push().await?.await?;
        let delayed = task.schedule(()).delay(SECOND).await?;
        clock.advance(SECOND);
        assert_eq!(delayed.wait().await, JobStatus::Failed);
        assert!(is_executor_dropped(&delayed));
        Ok(())
    })
}

/// A durable task that reports the name that it greets.
fn greet(app: &Jobber, greeted: &UnboundedSender<String>) -> Result<Task<String, ()>> {
    let greeted = greeted.clone();
    let greet = app.task("greet", move |name: String| {
        let greeted = greeted.clone();
        async move { drop(greeted.send(name)) }
    });
    Ok(greet.durable().register()?)
}

#[test]
fn when_the_runtime_ends_first_waits_end_and_stored_jobs_run_after_the_next_start() -> Result {
    let store = MemoryStorage::new();
    let (ready, mut started) = mpsc::unbounded_channel();
    let (greeted, mut greetings) = mpsc::unbounded_channel();
    let (spawned, has_spawned) = std::sync::mpsc::channel();

    let first = runtime()?;
    let (app, clock) = manual_app();
    let on_tokio = first.block_on(async { OnTokio::current() });
    let executor = move |job| {
        on_tokio.spawn(job);
        let _ = spawned.send(());
    };
    let app = app.storage(store.clone()).executor(executor).build()?;
    let forever = app.task("forever", async |ready: UnboundedSender<()>| {
        let _ = ready.send(());
        pending::<()>().await
    });
    let forever = forever.register()?;
    let task = greet(&app, &greeted)?;
    app.start().block_on()?;
    let runs = forever.schedule(ready).push().block_on()?;
    has_spawned.recv_timeout(WATCHDOG)?;
    first.block_on(started.recv()).ok_or("it has not started")?;
    let due = task.schedule("Ada".into()).delay(SECOND).block_on()?;
    let later = task.schedule("Bob".into()).delay(HOUR).block_on()?;

    drop(first);
    assert_eq!(runs.wait_timeout(WATCHDOG).block_on(), JobStatus::Failed);
    assert!(is_executor_dropped(&runs));
    clock.advance(SECOND);
    has_spawned.recv_timeout(WATCHDOG)?;
    assert!(app.shutdown(WATCHDOG).block_on().is_complete());
    for job in [&due, &later] {
        assert_eq!(job.wait_timeout(WATCHDOG).block_on(), JobStatus::Scheduled);
    }
    assert!(greetings.is_empty());
    drop(app);

    runtime()?.block_on(async {
        let app = Jobber::builder()
            .clock(clock.clone())
            .storage(store.clone());
        let app = app.executor(OnTokio::current()).build()?;
        let _task = greet(&app, &greeted)?;
        app.start().await?;
        clock.advance(HOUR);
        for name in ["Ada", "Bob"] {
            assert_eq!(greetings.recv().await.as_deref(), Some(name));
        }
        assert!(app.shutdown(WATCHDOG).await.is_complete());
        assert!(store.records().is_empty());
        Ok(())
    })
}
