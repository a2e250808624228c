//! Waits that could never end: of an attempt for its own job, and of a thread of the pool.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::support::{HOUR, Result, WATCHDOG, assert_ends, started_app, without_deadlock};
use futures_lite::future::{Boxed, FutureExt};
use jobber::testing::Simulation;
use jobber::{AnyJob, JobError, JobStatus, Jobber, ThreadPool};

/// A cell that is filled after the job of the attempt that reads it has been scheduled.
type Cell = Arc<OnceLock<AnyJob>>;

/// Each wait for a job that blocks the thread.
const BLOCKING: [fn(&AnyJob); 4] = [
    |job| _ = job.wait_blocking(),
    |job| _ = job.wait().block_on(),
    |job| _ = job.wait_timeout(WATCHDOG).block_on(),
    |job| _ = job.next_run().block_on(),
];

/// Each wait for a job that is awaited.
const ASYNC: [fn(&AnyJob) -> Boxed<()>; 3] = [
    |job| {
        let wait = job.wait();
        async move { _ = wait.await }.boxed()
    },
    |job| {
        let wait = job.wait_timeout(WATCHDOG);
        async move { _ = wait.await }.boxed()
    },
    |job| {
        let wait = job.next_run();
        async move { _ = wait.await }.boxed()
    },
];

/// The message of the panic that failed an attempt.
#[track_caller]
fn panic_of<R: Send + Sync + std::fmt::Debug + 'static>(job: &jobber::Job<R>) -> String {
    assert_ends(job, JobStatus::Failed);
    match job.result() {
        Err(JobError::Panicked { message }) => message.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_blocking_wait_for_a_job_on_a_thread_of_the_pool_fails_the_attempt_and_names_await() -> Result {
    without_deadlock(|| {
        let app = started_app()?;
        let never = app.task("never", std::future::pending::<()>).register()?;
        let pending: AnyJob = never.schedule(()).push().block_on()?.into();
        let waits = app.task("waits", move |n: usize| {
            let pending = pending.clone();
            async move { BLOCKING[n](&pending) }
        });
        let waits = waits.register()?;
        for n in 0..BLOCKING.len() {
            let message = panic_of(&waits.schedule(n).push().block_on()?);
            assert!(message.contains("`.await`"), "{n}: {message}");
        }
        Ok(())
    })
}

#[test]
fn a_blocking_wait_for_a_job_that_is_done_is_allowed_on_a_thread_of_the_pool() -> Result {
    let app = started_app()?;
    let quick = app.task("quick", async || {}).register()?;
    let done: AnyJob = quick.schedule(()).push().block_on()?.into();
    done.wait_blocking();
    let waits = app.task("waits", move |n: usize| {
        let done = done.clone();
        async move { BLOCKING[n](&done) }
    });
    let waits = waits.register()?;
    for n in 0..BLOCKING.len() {
        assert_ends(&waits.schedule(n).push().block_on()?, JobStatus::Success);
    }
    Ok(())
}

/// Regression: the job waited for ever.
#[test]
fn an_attempt_that_awaits_its_own_job_fails() -> Result {
    without_deadlock(|| {
        let app = started_app()?;
        let waits = app.task("waits", |n: usize, own: Cell| async move {
            ASYNC[n](own.wait()).await;
        });
        let waits = waits.register()?;
        for n in 0..ASYNC.len() {
            let own = Cell::default();
            let job = waits.schedule((n, own.clone())).push().block_on()?;
            let _ = own.set(job.clone().into());
            let message = panic_of(&job);
            assert!(message.contains("its own job"), "{n}: {message}");
        }
        Ok(())
    })
}

#[test]
fn an_attempt_that_awaits_the_result_of_its_own_job_fails() -> Result {
    let mut sim = Simulation::new();
    let own = Arc::new(OnceLock::<jobber::Job<u32>>::new());
    let inside = own.clone();
    let waits = sim.app().task("waits", move || {
        let own = inside.get().unwrap().clone();
        async move { *own.await.unwrap() + 1 }
    });
    let job = waits.register()?.schedule(()).push().block_on()?;
    own.set(job.clone()).unwrap();
    sim.run_until_stalled();
    assert!(panic_of(&job).contains("its own job"));
    Ok(())
}

#[test]
fn a_blocking_task_that_waits_for_its_own_job_fails() -> Result {
    without_deadlock(|| {
        let app = started_app()?;
        let waits = app.blocking_task("waits", |n: usize, own: Cell| match BLOCKING.get(n) {
            Some(wait) => wait(own.wait()),
            None => smol::block_on(ASYNC[n - BLOCKING.len()](own.wait())),
        });
        let waits = waits.register()?;
        for n in 0..BLOCKING.len() + ASYNC.len() {
            let own = Cell::default();
            let job = waits.schedule((n, own.clone())).push().block_on()?;
            let _ = own.set(job.clone().into());
            let message = panic_of(&job);
            assert!(message.contains("its own job"), "{n}: {message}");
        }
        Ok(())
    })
}

#[test]
fn an_attempt_that_waits_for_all_jobs_fails() -> Result {
    without_deadlock(|| {
        let app = started_app()?;
        let other = started_app()?;
        let inside = app.clone();
        let all = app.task("all", move |own: bool, has_limit: bool| {
            // No other app waits for this one.
            let app = if own { inside.clone() } else { other.clone() };
            async move {
                match has_limit {
                    true => assert!(app.wait_all_timeout(WATCHDOG).await),
                    false => app.wait_all().await,
                }
            }
        });
        let all = all.register()?;
        for has_limit in [false, true] {
            let all = |own| all.schedule((own, has_limit)).push().block_on();
            let message = panic_of(&all(true)?);
            assert!(message.contains("all jobs"), "{message}");
            assert_ends(&all(false)?, JobStatus::Success);
        }
        // The task has a clone of the app.
        app.shutdown(Duration::ZERO).block_on();
        Ok(())
    })
}

/// Regression: an attempt blocked the only thread of a pool that two apps share until all jobs
/// of the other app were done, which needed that thread.
#[test]
fn a_blocking_wait_for_all_jobs_on_a_thread_of_a_shared_pool_fails_the_attempt() -> Result {
    without_deadlock(|| {
        let pool = ThreadPool::new(1)?;
        let one = Jobber::builder().executor(pool.clone()).build()?;
        let other = Jobber::builder().executor(pool).build()?;
        let quick = other.task("quick", async || {}).register()?;
        let inside = other.clone();
        let waits = one.task("waits", move || {
            let app = inside.clone();
            async move { app.wait_all().block_on() }
        });
        let waits = waits.register()?;
        let inside = other.clone();
        let blocks = one.blocking_task("blocks", move || inside.wait_all().block_on());
        let blocks = blocks.register()?;
        one.start().block_on()?;
        other.start().block_on()?;
        let pending = quick.schedule(()).delay(HOUR).block_on()?;
        let message = panic_of(&waits.schedule(()).push().block_on()?);
        assert!(message.contains("`.await`"), "{message}");
        let blocking = blocks.schedule(()).push().block_on()?;
        pending.cancel().block_on()?;
        assert_ends(&blocking, JobStatus::Success);
        // No job is live, so that this does not block.
        let waiting = waits.schedule(()).push().block_on()?;
        assert_ends(&waiting, JobStatus::Success);
        Ok(())
    })
}

/// A shutdown waits for its grace period at most, so that it may block any thread.
#[test]
fn an_attempt_on_a_thread_of_a_shared_pool_may_block_to_shut_the_other_app_down() -> Result {
    without_deadlock(|| {
        let pool = ThreadPool::new(1)?;
        let one = Jobber::builder().executor(pool.clone()).build()?;
        let other = Jobber::builder().executor(pool).build()?;
        let quick = other.task("quick", async || {}).register()?;
        let stops = one.task("stops", move || {
            let (app, quick) = (other.clone(), quick.clone());
            async move {
                app.start().block_on().unwrap();
                let _ = quick.schedule(()).delay(HOUR).block_on().unwrap();
                app.shutdown(Duration::ZERO).block_on().left.len()
            }
        });
        let stops = stops.register()?;
        one.start().block_on()?;
        assert_eq!(*stops.schedule(()).push().block_on()?.block_on()?, 0);
        Ok(())
    })
}

#[test]
fn tasks_may_wait_for_other_jobs() -> Result {
    let app = started_app()?;
    let quick = app.task("quick", async || 1).register()?;
    let next = quick.clone();
    let awaits = app.task("awaits", move || {
        let next = next.clone();
        async move { *next.schedule(()).push().await.unwrap().await.unwrap() }
    });
    let awaits = awaits.register()?;
    let blocks = app.blocking_task("blocks", move || {
        *quick
            .schedule(())
            .push()
            .block_on()
            .unwrap()
            .block_on()
            .unwrap()
    });
    let blocks = blocks.register()?;
    for task in [awaits, blocks] {
        let job = task.schedule(()).push().block_on()?;
        assert_eq!(*job.block_on()?, 1);
    }
    Ok(())
}

/// Two apps on one pool: a thread that has ended the poll of an attempt polls none.
#[test]
fn what_a_task_has_spawned_may_wait_for_its_job() -> Result {
    let app = Jobber::builder().executor(ThreadPool::new(1)?).build()?;
    let (sender, statuses) = mpsc::channel();
    let spawns = app.task("spawns", move |own: Cell| {
        let sender = sender.clone();
        async move {
            let wait = async move { sender.send(own.wait().wait().await) };
            smol::spawn(wait).detach();
        }
    });
    let spawns = spawns.register()?;
    app.start().block_on()?;
    let own = Cell::default();
    let job = spawns.schedule(own.clone()).push().block_on()?;
    let _ = own.set(job.into());
    assert_eq!(statuses.recv_timeout(WATCHDOG)?, JobStatus::Success);
    Ok(())
}

/// Polls its future in the call to `wake`.
struct PollOnWake(Mutex<Option<Boxed<()>>>);

impl Wake for PollOnWake {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut place = self.0.lock().unwrap();
        if let Some(future) = place.as_mut()
            && let Poll::Ready(()) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            *place = None;
        }
    }
}

/// The waker of another task runs inside the poll of the attempt, and that task may wait for
/// the job.
#[test]
fn a_waker_that_polls_inside_an_attempt_may_wait_for_its_job() -> Result {
    let mut sim = Simulation::new();
    let quick = sim.app().task("quick", async || {}).register()?;
    let first = quick.schedule(()).delay(HOUR).block_on()?;
    let to_cancel = first.clone();
    let cancels = sim.app().task("cancels", move || {
        let cancel = to_cancel.cancel();
        async move { cancel.await.unwrap().took_effect() }
    });
    let own = cancels.register()?.schedule(()).push().block_on()?;
    let (sender, statuses) = mpsc::channel();
    let (wait_first, wait_own) = (first.wait(), own.wait());
    let both = async move {
        wait_first.await;
        let _ = sender.send(wait_own.await);
    };
    Arc::new(PollOnWake(Mutex::new(Some(both.boxed())))).wake();
    sim.run_until_stalled();
    assert_eq!(statuses.try_recv()?, JobStatus::Success);
    Ok(())
}
