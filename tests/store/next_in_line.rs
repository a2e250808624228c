//! The future of an attempt that has ended goes on with the next job of its line.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use crate::support::{
    Log, Result, SECOND, WATCHDOG, WakeCounter, delay_all, hand_polled_app_with, manual_app_with,
    poll, poll_with, wait_until, without_deadlock,
};
use futures_lite::future::block_on;
use jobber::{
    AnyJob, Backoff, BlockingJob, Executor, ExecutorDropped, Job, JobError, JobFuture, JobStatus,
    Jobber, Limit, Task,
};

/// Jobs that wait for a limit of one, and the future of the first of them.
struct LineOfJobs {
    app: Jobber,
    limit: Limit,
    log: Log<u32>,
    jobs: Vec<Job<()>>,
    first: JobFuture,
    spawned: Receiver<JobFuture>,
}

fn line_of(count: u32) -> Result<LineOfJobs> {
    let (app, _clock, spawned) = hand_polled_app_with(|app| app)?;
    let (limit, log) = (Limit::new(1), Log::new());
    let task = app.task("t", log.argument()).limit(&limit).register()?;
    let push = |number| task.schedule(number).push().block_on();
    let jobs = (0..count)
        .map(push)
        .collect::<std::result::Result<_, _>>()?;
    let first = spawned.recv_timeout(WATCHDOG)?;
    Ok(LineOfJobs {
        app,
        limit,
        log,
        jobs,
        first,
        spawned,
    })
}

#[test]
fn the_next_in_line_is_polled_in_place_of_the_one_before_without_a_spawn() -> Result {
    let mut line = line_of(3)?;
    assert!(poll(&mut line.first).is_some());
    assert_eq!(line.log.entries(), [0, 1, 2]);
    assert!(line.spawned.try_recv().is_err());
    Ok(())
}

#[test]
fn a_line_of_jobs_that_are_due_together_is_run_by_the_future_that_starts_them() -> Result {
    let (app, clock, spawned) = hand_polled_app_with(|app| app)?;
    let log = Log::new();
    let task = app.task("t", log.argument()).limit(1).register()?;
    delay_all(&task, SECOND, 0..100)?;
    clock.advance(SECOND);
    // It spawns a second one, in case that a job takes long.
    let mut first = spawned.recv_timeout(WATCHDOG)?;
    while poll(&mut first).is_none() {}
    assert_eq!(log.entries(), (0..100).collect::<Vec<u32>>());
    assert!(spawned.try_iter().count() <= 1);
    Ok(())
}

#[test]
fn a_long_line_lets_the_executor_poll_others() -> Result {
    let mut line = line_of(1_000)?;
    let wakes = Arc::new(WakeCounter::default());
    let mut polls = 0;
    while poll_with(&mut line.first, &wakes.clone().into()).is_pending() {
        polls += 1;
        assert_eq!(wakes.count(), polls, "nobody would poll it again");
        let ended = line.log.entries().len();
        assert!(ended <= 4 * polls, "{ended} jobs in {polls} polls");
    }
    assert_eq!(line.log.entries(), (0..1_000).collect::<Vec<_>>());
    assert!(polls > 100);
    Ok(())
}

#[test]
fn if_the_future_is_dropped_the_next_in_line_fails_and_the_line_goes_on() -> Result {
    let mut line = line_of(1_000)?;
    assert!(poll(&mut line.first).is_none());
    let ended = line.log.entries().len();
    drop(line.first);
    let failed = &line.jobs[ended];
    failed.wait_blocking();
    match failed.result() {
        Err(JobError::Failed(error)) => assert!(error.is::<ExecutorDropped>()),
        other => panic!("{other:?}"),
    }
    let mut next = line.spawned.recv_timeout(WATCHDOG)?;
    let _ = poll(&mut next);
    assert_eq!(line.log.entries()[ended], ended as u32 + 1);
    Ok(())
}

#[test]
fn a_blocking_job_is_not_polled_in_place_of_an_async_one() -> Result {
    let mut line = line_of(1)?;
    let (send, thread) = channel();
    let task = line
        .app
        .blocking_task("b", move || send.send(thread::current().id()).unwrap_or(()))
        .limit(&line.limit)
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    assert!(poll(&mut line.first).is_some());
    job.wait_blocking();
    assert_ne!(thread.recv()?, thread::current().id());
    Ok(())
}

#[test]
fn a_line_that_goes_on_for_ever_starves_no_job_that_comes_due() -> Result {
    for limit in [1, 8] {
        let (app, clock, spawned) = hand_polled_app_with(|app| app)?;
        let shared = Limit::new(1);
        let own = Arc::new(OnceLock::<Task<(), ()>>::new());
        let next = own.clone();
        let line = app
            .task("line", move || {
                let next = next.clone();
                async move {
                    if let Some(task) = next.get() {
                        let _ = task.schedule(()).push().await;
                    }
                }
            })
            .limit(&shared)
            .register()?;
        shared.set(0);
        for _ in 0..100 {
            line.schedule(()).push().block_on()?;
        }
        let _ = own.set(line);
        shared.set(limit);
        let other = app.task("other", || async {}).register()?;
        let other = other.schedule(()).delay(SECOND).block_on()?;
        clock.advance(SECOND);
        // One thread polls the futures in the order in which they were spawned.
        let mut queue: VecDeque<JobFuture> = VecDeque::new();
        let began = Instant::now();
        while !other.is_done() {
            assert!(began.elapsed() < WATCHDOG, "limit {limit}: it starves");
            queue.extend(spawned.try_iter());
            if let Some(mut future) = queue.pop_front()
                && poll_with(&mut future, Waker::noop()).is_pending()
            {
                queue.push_back(future);
            }
        }
        let goes_on = !queue.is_empty() || spawned.try_recv().is_ok();
        assert!(goes_on, "the line has ended");
    }
    Ok(())
}

#[test]
fn an_executor_that_polls_in_its_spawn_does_not_run_the_line_there() -> Result {
    let app = Jobber::builder().executor(|job: JobFuture| block_on(job));
    let app = app.build()?;
    app.start().block_on()?;
    let threads = Log::new();
    let own = Arc::new(OnceLock::<Task<u32, ()>>::new());
    let (log, line) = (threads.clone(), own.clone());
    let task = app.task("t", move |number: u32| {
        log.add(thread::current().id());
        let line = line.clone();
        async move {
            if let Some(task) = line.get().filter(|_| number == 0) {
                for number in 1..50 {
                    let _ = task.schedule(number).push().await;
                }
            }
        }
    });
    let task = task.limit(1).register()?;
    let _ = own.set(task.clone());
    task.schedule(0).push().block_on()?;
    app.wait_all().block_on();
    let threads = threads.entries();
    let here = thread::current().id();
    assert_eq!(threads.len(), 50);
    assert_eq!(threads.iter().filter(|id| **id == here).count(), 1);
    Ok(())
}

/// Waits for a job when it is dropped, if it is not a copy.
struct WaitsInDrop(Option<Arc<OnceLock<AnyJob>>>, Sender<JobStatus>);

impl Clone for WaitsInDrop {
    fn clone(&self) -> Self {
        Self(None, self.1.clone())
    }
}

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        if let Some(job) = &self.0 {
            let _ = self.1.send(job.wait().wait_blocking());
        }
    }
}

/// A thread for each future.
fn on_threads(job: JobFuture) {
    thread::spawn(move || block_on(job));
}

#[test]
fn the_drop_of_arguments_may_wait_for_the_next_in_line() -> Result {
    without_deadlock(|| {
        let app = Jobber::builder().executor(on_threads).build()?;
        app.start().block_on()?;
        let (go, wait) = channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        // The job may retry: it keeps the arguments.
        let task = app
            .task("t", move |args: WaitsInDrop| {
                let wait = wait.clone();
                async move {
                    let _ = wait.lock().unwrap().recv();
                    drop(args);
                }
            })
            .retry(Backoff::exponential(3))
            .limit(1)
            .register()?;
        let (send, status) = channel();
        let next = Arc::new(OnceLock::new());
        let args = |next| WaitsInDrop(next, send.clone());
        let _first = task.schedule(args(Some(next.clone()))).push().block_on()?;
        let second = task.schedule(args(None)).push().block_on()?;
        let _ = next.set(AnyJob::from(second));
        drop(go);
        assert_eq!(status.recv()?, JobStatus::Success);
        Ok(())
    })
}

/// `count` jobs with a limit of one are due together. The one that starts first waits when its result is
/// dropped: for another one.
fn drop_a_result_that_waits(count: u32) -> Result {
    without_deadlock(move || {
        let (app, clock) = manual_app_with(|app| app.executor(on_threads))?;
        let (go, wait) = channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let (send, status) = channel();
        let next = Arc::new(OnceLock::new());
        let of_result = next.clone();
        let has_first = AtomicBool::new(false);
        let task = app
            .task("t", move |_: u32| {
                let wait = wait.clone();
                let is_first = !has_first.swap(true, Ordering::SeqCst);
                let next = is_first.then(|| of_result.clone());
                let result = WaitsInDrop(next, send.clone());
                async move {
                    let _ = wait.lock().unwrap().recv();
                    Ok::<_, String>(result)
                }
            })
            .limit(1)
            .register()?;
        let mut jobs = delay_all(&task, SECOND, 0..count)?;
        clock.advance(SECOND);
        let waits = |job: &Job<_>| job.waiting_for().is_some();
        let count = jobs.len();
        wait_until(|| jobs.iter().filter(|job| waits(job)).count() == count - 1);
        // Nobody has that job: its result is dropped at its end.
        jobs.retain(waits);
        let _ = next.set(AnyJob::from(jobs[0].clone()));
        drop(go);
        assert_eq!(status.recv()?, JobStatus::Success);
        Ok(())
    })
}

#[test]
fn the_drop_of_a_result_may_wait_for_the_next_in_line() -> Result {
    drop_a_result_that_waits(2)
}

#[test]
fn the_drop_of_a_result_may_wait_for_the_next_in_line_of_a_burst() -> Result {
    drop_a_result_that_waits(6)
}

/// A blocking job runs inside of the call.
struct BlocksTheCaller;

impl Executor for BlocksTheCaller {
    fn spawn(&self, job: JobFuture) {
        on_threads(job);
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        job.run();
    }
}

#[test]
fn of_two_that_get_their_limits_together_the_second_may_wait_for_the_first() -> Result {
    without_deadlock(|| {
        let app = Jobber::builder().executor(BlocksTheCaller).build()?;
        app.start().block_on()?;
        let (one, other) = (Limit::new(1), Limit::new(1));
        let (go, wait) = channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let both = app
            .task("both", move || {
                let wait = wait.clone();
                async move {
                    let _ = wait.lock().unwrap().recv();
                }
            })
            .limit(&one)
            .limit(&other)
            .register()?;
        let a = app.task("a", || async {}).limit(&one).register()?;
        let (send, status) = channel();
        let b = app
            .blocking_task("b", move |first: AnyJob| {
                let _ = send.send(first.wait_blocking());
            })
            .limit(&other)
            .register()?;
        let holder = both.schedule(()).push().block_on()?;
        wait_until(|| holder.status() == JobStatus::Running);
        let first = a.schedule(()).push().block_on()?;
        let _second = b.schedule(first.into()).push().block_on()?;
        drop(go);
        assert_eq!(status.recv()?, JobStatus::Success);
        Ok(())
    })
}
