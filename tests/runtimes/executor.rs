//! Executors that go away, drop their jobs, or run them late.

use std::error::Error;
use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use super::{LocalThread, block_on, forever, is_executor_dropped};
use crate::support::{
    HOUR, Log, Result, SECOND, WATCHDOG, assert_ends, delay_all, manual_app_with, wait_until,
};
use jobber::testing::ManualClock;
use jobber::{
    Backoff, BlockingJob, BoxError, Event, Executor, Job, JobEventKind, JobFuture, JobStatus,
    Jobber,
};
use smol::channel::{self, Receiver, Sender};
use smol::future::yield_now;
use smol::stream::StreamExt;

/// An app on a clock that the test moves, and on this executor.
fn app_on(executor: impl Executor) -> Result<(Jobber, ManualClock), BoxError> {
    let (app, clock) = manual_app_with(|app| app.executor(executor))?;
    Ok((app, clock))
}

#[track_caller]
fn assert_dropped<R: Send + Sync + 'static>(job: &Job<R>) {
    let status = job.wait_timeout(WATCHDOG).block_on();
    assert_eq!(status, JobStatus::Failed, "{job:?}");
    assert!(is_executor_dropped(job), "{:?}", job.result().err());
}

/// Asserts that each job on this executor fails as dropped, and that the app goes on.
fn assert_every_job_fails_as_dropped(executor: impl Executor) -> Result {
    let (app, clock) = app_on(executor)?;
    let (ran, has_run) = channel::unbounded();
    let wait_and_run = async |ran: Sender<()>| {
        pending::<()>().await;
        let _ = ran.try_send(());
    };
    let task = app.task("t", wait_and_run).register()?;
    let retried = app.task("retried", wait_and_run);
    let retried = retried.retry(Backoff::fixed(1, SECOND)).register()?;
    let blocking = app.blocking_task("blocking", |ran: Sender<()>| ran.try_send(()));
    let blocking = blocking.register()?;

    let pushed = task.schedule(ran.clone()).push().block_on()?;
    assert_dropped(&pushed);
    let pushed = blocking.schedule(ran.clone()).push().block_on()?;
    assert_dropped(&pushed);
    let delayed = task.schedule(ran.clone()).delay(SECOND).block_on()?;
    clock.advance(SECOND);
    assert_dropped(&delayed);

    let many = (0..1_000)
        .map(|_| task.schedule(ran.clone()).delay(SECOND).block_on())
        .collect::<Result<Vec<_>, _>>()?;
    let many_blocking = (0..100)
        .map(|_| blocking.schedule(ran.clone()).delay(SECOND).block_on())
        .collect::<Result<Vec<_>, _>>()?;
    clock.advance(SECOND);
    many.iter().for_each(assert_dropped);
    many_blocking.iter().for_each(assert_dropped);

    let mut events = app.events();
    let job = retried.schedule(ran.clone()).push().block_on()?;
    let is_retrying = |event: &Event| matches!(event, Event::Job(event) if matches!(event.kind, JobEventKind::Retrying { .. }));
    block_on(events.find(is_retrying)).expect("a retry");
    clock.advance(SECOND);
    assert_dropped(&job);

    let schedule = task.schedule(ran.clone()).max_failures(2);
    let job = schedule.every(SECOND).block_on()?;
    for number in 1..=2 {
        let next = job.next_run();
        clock.advance(SECOND);
        let run = block_on(next).expect("a run");
        assert_eq!((run.number, run.status), (number, JobStatus::Failed));
    }
    assert_eq!(block_on(job.wait()), JobStatus::PermanentlyFailed);
    assert!(is_executor_dropped(&job));

    assert!(has_run.is_empty());
    block_on(app.wait_all());
    assert!(block_on(app.shutdown(WATCHDOG)).is_complete());
    Ok(())
}

#[test]
fn a_job_that_the_executor_drops_in_spawn_fails() -> Result {
    struct Drops;
    impl Executor for Drops {
        fn spawn(&self, job: JobFuture) {
            drop(job);
        }
        fn spawn_blocking(&self, job: BlockingJob) {
            drop(job);
        }
    }
    assert_every_job_fails_as_dropped(Drops)
}

#[test]
fn a_panic_in_spawn_fails_the_job_and_does_not_reach_the_caller() -> Result {
    struct Panics;
    impl Executor for Panics {
        fn spawn(&self, _: JobFuture) {
            resume_unwind(Box::new("no spawn"));
        }
        fn spawn_blocking(&self, _: BlockingJob) {
            resume_unwind(Box::new("no spawn_blocking"));
        }
    }
    assert_every_job_fails_as_dropped(Panics)
}

#[test]
fn a_job_that_the_executor_drops_after_its_first_poll_fails() -> Result {
    struct PollsOnce;
    impl Executor for PollsOnce {
        fn spawn(&self, mut job: JobFuture) {
            let _ = Pin::new(&mut job).poll(&mut Context::from_waker(Waker::noop()));
        }
        fn spawn_blocking(&self, job: BlockingJob) {
            drop(job);
        }
    }
    assert_every_job_fails_as_dropped(PollsOnce)
}

#[test]
fn jobs_fail_when_their_executor_ends() -> Result {
    let thread = LocalThread::start();
    let jobs = thread.jobs.clone();
    let (app, clock) = app_on(move |job| drop(jobs.try_send(Box::pin(job))))?;

    let forever = forever(&app)?;
    let (running, is_running) = channel::bounded(1);
    let runs = forever.schedule(running.clone()).push().block_on()?;
    block_on(is_running.recv())?;
    let (give, woken) = channel::bounded(1);
    let wait = runs.wait();
    std::thread::spawn(move || give.try_send(wait.block_on()));

    // Blocks the thread, so that what is pushed now does not begin.
    let hold = app.task("hold", async |running: Sender<()>, gate: Receiver<()>| {
        let _ = running.try_send(());
        gate.recv_blocking()
    });
    let (open, gate) = channel::bounded(1);
    let hold = hold.register()?.schedule((running.clone(), gate));
    let hold = hold.push().block_on()?;
    block_on(is_running.recv())?;
    let waits = forever.schedule(running.clone()).push().block_on()?;
    let comes_later = forever.schedule(running).delay(SECOND).block_on()?;
    thread.jobs.close();
    open.try_send(())?;

    assert_eq!(block_on(hold.wait()), JobStatus::Success);
    assert_dropped(&runs);
    assert_eq!(block_on(woken.recv())?, JobStatus::Failed);
    assert_dropped(&waits);
    block_on(thread.ended.recv()).unwrap_err();
    clock.advance(SECOND);
    assert_dropped(&comes_later);
    assert!(is_running.is_empty(), "neither of the two jobs has begun");
    Ok(())
}

#[cfg(feature = "thread-pool")]
#[test]
fn an_attempt_that_shutdown_left_fails_with_the_pool_of_the_app() -> Result {
    let (app, _) = app_on(jobber::ThreadPool::new(1)?)?;
    let task = app.task(
        "t",
        async |running: Sender<()>, signal: super::DropSignal| {
            let _ = running.send(()).await;
            pending::<()>().await;
            drop(signal);
        },
    );
    let (running, is_running) = channel::bounded(1);
    let (signal, dropped) = super::drop_signal();
    let submit = task.register()?.schedule((running, signal)).push();
    let job = submit.block_on()?;
    block_on(is_running.recv())?;
    let report = block_on(app.shutdown(Duration::ZERO));
    assert_eq!(report.left, [job.id().clone()]);
    // The app drops the pool, and the pool drops the future.
    block_on(dropped.recv()).unwrap_err();
    assert_dropped(&job);
    Ok(())
}

/// An app whose attempts the test runs.
fn app_with_held_attempts() -> Result<(Jobber, ManualClock, Receiver<JobFuture>), BoxError> {
    let (hand_over, held) = channel::unbounded();
    let (app, clock) = app_on(move |job| drop(hand_over.try_send(job)))?;
    Ok((app, clock, held))
}

/// Runs an attempt on a thread of its own, to its end.
fn run_elsewhere(job: JobFuture) {
    let thread = std::thread::spawn(|| block_on(job));
    thread.join().expect("no job panics");
}

#[test]
fn a_job_that_the_executor_runs_late_on_another_thread_succeeds() -> Result {
    let (app, clock, held) = app_with_held_attempts()?;
    let task = {
        let clock = clock.clone();
        app.task("t", move || {
            let began = clock.elapsed();
            async move { began }
        })
    };
    // The timeout counts from the start.
    let task = task.timeout(SECOND).register()?;
    let pushed = task.schedule(()).push().block_on()?;
    let delayed = task.schedule(()).delay(SECOND).block_on()?;
    clock.advance(SECOND);
    let first = block_on(held.recv())?;
    let second = block_on(held.recv())?;
    clock.advance(HOUR);
    for job in [&pushed, &delayed] {
        assert_eq!(job.status(), JobStatus::Scheduled);
    }
    run_elsewhere(second);
    run_elsewhere(first);
    for job in [&pushed, &delayed] {
        assert_eq!(job.status(), JobStatus::Success);
        assert_eq!(*job.result()?, SECOND + HOUR);
    }
    Ok(())
}

#[test]
fn a_future_that_runs_after_its_job_was_cancelled_does_nothing() -> Result {
    let (app, clock, held) = app_with_held_attempts()?;
    let (ran, has_run) = channel::bounded(1);
    let task = app.task("t", async |ran: Sender<()>| ran.try_send(()));
    let task = task.register()?;
    let pushed = task.schedule(ran.clone()).push().block_on()?;
    let delayed = task.schedule(ran).delay(SECOND).block_on()?;
    clock.advance(SECOND);
    let futures = [block_on(held.recv())?, block_on(held.recv())?];
    for job in [&pushed, &delayed] {
        assert!(job.cancel().block_on()?.took_effect());
    }
    futures.into_iter().for_each(run_elsewhere);
    for job in [&pushed, &delayed] {
        assert_eq!(job.status(), JobStatus::Cancelled);
    }
    assert!(has_run.is_closed() && has_run.is_empty());
    Ok(())
}

#[test]
fn a_future_that_runs_after_its_app_ended_does_nothing() -> Result {
    let (app, _, held) = app_with_held_attempts()?;
    let (ran, has_run) = channel::bounded(1);
    let task = app.task("t", async |ran: Sender<()>| ran.try_send(()));
    let task = task.register()?;
    let run = task.schedule(ran.clone()).push().block_on()?;
    let dropped = task.schedule(ran).push().block_on()?;
    let futures = (block_on(held.recv())?, block_on(held.recv())?);
    drop(app);
    for job in [&run, &dropped] {
        assert_eq!(block_on(job.wait()), JobStatus::Cancelled);
    }
    run_elsewhere(futures.0);
    drop(futures.1);
    for job in [&run, &dropped] {
        assert_eq!(job.status(), JobStatus::Cancelled);
    }
    assert!(has_run.is_closed() && has_run.is_empty());
    Ok(())
}

#[test]
fn jobs_of_a_burst_that_the_executor_drops_unpolled_fail() -> Result {
    let (app, clock, held) = app_with_held_attempts()?;
    let (ran, has_run) = channel::unbounded();
    let task = app.task("t", async |ran: Sender<()>| ran.try_send(()));
    let task = task.register()?;
    let jobs = (0..100)
        .map(|_| task.schedule(ran.clone()).delay(SECOND).block_on())
        .collect::<Result<Vec<_>, _>>()?;
    clock.advance(SECOND);
    // The library decides how many futures run them.
    while !jobs.iter().all(|job| job.is_done()) {
        drop(block_on(held.recv())?);
    }
    jobs.iter().for_each(assert_dropped);
    assert!(has_run.is_empty());
    Ok(())
}

#[test]
fn a_poll_after_an_abort_drops_the_future_unpolled() -> Result {
    let (app, _, held) = app_with_held_attempts()?;
    let task = app.task("t", async |gate: Receiver<()>, passed: Sender<()>| {
        let _ = gate.recv().await;
        let _ = passed.try_send(());
        pending::<()>().await;
    });
    let (open, gate) = channel::bounded(1);
    let (passed, has_passed) = channel::bounded(1);
    let submit = task.register()?.schedule((gate, passed)).push();
    let job = submit.block_on()?;
    let mut future = block_on(held.recv())?;
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
    assert!(job.abort().block_on()?.took_effect());
    open.try_send(())?;
    assert!(Pin::new(&mut future).poll(&mut cx).is_ready());
    assert!(has_passed.is_closed() && has_passed.is_empty());
    Ok(())
}

#[test]
fn a_job_that_moves_from_thread_to_thread_runs_once() -> Result {
    let (app, _, held) = app_with_held_attempts()?;
    let task = app.task(
        "t",
        async |polls: Arc<Mutex<Vec<std::thread::ThreadId>>>| {
            for _ in 0..10 {
                let id = std::thread::current().id();
                polls.lock().map_err(|_| "poisoned")?.push(id);
                yield_now().await;
            }
            Ok::<_, &str>(())
        },
    );
    let polls: Arc<Mutex<Vec<_>>> = Arc::default();
    let submit = task.register()?.schedule(polls.clone()).push();
    let job = submit.block_on()?;
    let mut future = block_on(held.recv())?;
    let mut is_pending = true;
    while is_pending {
        let thread = std::thread::spawn(move || {
            let poll = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
            (future, poll.is_pending())
        });
        (future, is_pending) = thread.join().expect("no job panics");
    }
    assert_eq!(job.status(), JobStatus::Success);
    let polls = polls.lock().unwrap();
    assert_eq!(polls.len(), 10);
    let others = polls.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(others, 9);
    Ok(())
}

/// Regression: when the executor dropped a job, its function was called on the timer
/// thread, only for the job to fail.
#[test]
fn a_job_that_the_executor_drops_fails_without_a_call_of_its_function() -> Result {
    let (app, clock) = manual_app_with(|app| app.executor(drop::<JobFuture>))?;
    let called = Arc::new(AtomicBool::new(false));
    let task = app.task("t", {
        let called = called.clone();
        move |_: u8| {
            called.store(true, Ordering::SeqCst);
            async {}
        }
    });
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let job = task.schedule(1).delay(SECOND).block_on()?;
    clock.advance(SECOND);
    wait_until(|| job.exec_at() != time::macros::datetime!(2000-01-01 0:00:01 UTC));
    clock.advance(SECOND);
    assert_ends(&job, JobStatus::Failed);
    assert!(
        job.result()
            .unwrap_err()
            .source()
            .unwrap()
            .is::<jobber::ExecutorDropped>()
    );
    assert!(!called.load(Ordering::SeqCst));
    Ok(())
}

/// Regression: an attempt that the executor dropped took the arguments of the next one
/// with it.
#[test]
fn a_recurring_job_that_the_executor_dropped_keeps_its_arguments_for_the_next_run() -> Result {
    let clock = ManualClock::new();
    let (spawns, spawned) = std::sync::mpsc::channel();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(move |job: JobFuture| drop(spawns.send(job)))
        .build()?;
    let log = Log::new();
    let task = app.task("t", log.argument());
    let task = task.register()?;
    app.start().block_on()?;
    let job = task.schedule(7).every(SECOND).block_on()?;
    clock.advance(SECOND);
    drop(spawned.recv_timeout(WATCHDOG)?);
    assert_eq!(
        job.last_run().map(|run| run.status),
        Some(JobStatus::Failed)
    );
    clock.advance(SECOND);
    futures_lite::future::block_on(spawned.recv_timeout(WATCHDOG)?);
    assert_eq!(log.entries(), [7]);
    assert_eq!(
        job.last_run().map(|run| run.status),
        Some(JobStatus::Success)
    );
    Ok(())
}

/// Regression: runners held the executor, and an executor that kept them without running
/// them held itself for ever, after the end of the app too.
#[test]
fn an_executor_that_runs_nothing_is_dropped_with_its_app() -> Result {
    let queue: Arc<Mutex<Vec<JobFuture>>> = Arc::default();
    let is_alive = Arc::downgrade(&queue);
    let (app, clock) =
        manual_app_with(|app| app.executor(move |job| queue.lock().unwrap().push(job)))?;
    let task = app.task("t", || async {}).register()?;
    delay_all(&task, SECOND, [(); 50])?;
    clock.advance(SECOND);
    while is_alive
        .upgrade()
        .is_some_and(|queue| queue.lock().unwrap().is_empty())
    {
        thread::yield_now();
    }
    app.shutdown(Duration::ZERO).block_on();
    assert!(is_alive.upgrade().is_none());
    Ok(())
}
