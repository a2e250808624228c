//! Panics of a task end its attempt, and nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};

use crate::support::{Bomb, Result, SECOND};
use futures_lite::future::{block_on, poll_once};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, Job, JobError, JobFuture, JobStatus, Jobber};

/// Gives a value, so far as types are concerned.
fn boom(text: &str) {
    panic!("{text}");
}

fn assert_panicked<R: Send + Sync + std::fmt::Debug + 'static>(job: &Job<R>, text: &str) {
    assert_eq!(job.status(), JobStatus::Failed);
    match job.result() {
        Err(JobError::Panicked { message }) => assert_eq!(&*message, text),
        other => panic!("{other:?}"),
    }
}

/// The scheduler goes on as if nothing had happened.
fn assert_alive(sim: &mut Simulation) -> Result {
    let task = sim.app().task("alive", async |x: i32| x).register()?;
    let job = task.schedule(1).delay(SECOND).wait_blocking()?;
    sim.advance(SECOND);
    assert_eq!(*job.result()?, 1);
    Ok(())
}

#[test]
fn in_the_call() -> Result {
    fn call(text: String) -> std::future::Ready<()> {
        panic!("in the call: {text}")
    }
    let mut sim = Simulation::new();
    let task = sim.app().task("t", call).register()?;
    let job = task.schedule("x".into()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_panicked(&job, "in the call: x");
    assert_alive(&mut sim)
}

#[test]
fn in_a_poll() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim
        .app()
        .task("t", move || {
            let sleep = clock.sleep(SECOND);
            async move {
                sleep.await;
                boom("in the second poll");
            }
        })
        .register()?;
    let job: Job<()> = task.schedule(()).push().wait_blocking()?;
    sim.advance(SECOND);
    assert_panicked(&job, "in the second poll");
    assert_alive(&mut sim)
}

#[test]
fn in_the_drop_of_the_future_of_an_aborted_job() -> Result {
    struct PanicsInDrop;
    impl Future for PanicsInDrop {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || PanicsInDrop).register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert!(job.abort().wait_blocking()?);
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert_alive(&mut sim)
}

#[test]
fn in_the_drop_of_a_local_when_the_body_ends() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || {
            let _bomb = Bomb;
        })
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_panicked(&job, "a bomb was dropped");
    assert_alive(&mut sim)
}

#[test]
fn in_the_drop_of_the_value() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || Ok::<_, String>(Bomb))
        .register()?;
    let job = task.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Success);
    drop(job);
    assert_alive(&mut sim)
}

#[test]
fn in_the_drop_of_an_outdated_value() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || Ok::<_, String>(Bomb))
        .register()?;
    let job = task
        .schedule(())
        .max_runs(2)
        .every(SECOND)
        .wait_blocking()?;
    sim.advance(SECOND * 2);
    assert_eq!(job.status(), JobStatus::Success);
    assert_alive(&mut sim)
}

#[test]
fn in_the_clone_of_the_arguments() -> Result {
    #[derive(Debug)]
    struct NoClone;
    impl Clone for NoClone {
        fn clone(&self) -> Self {
            panic!("in the clone");
        }
    }
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async |_: NoClone| {})
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let job = task.schedule(NoClone).push().wait_blocking()?;
    sim.run_until_stalled();
    // The last attempt takes the arguments themselves.
    assert_eq!(job.status(), JobStatus::Scheduled);
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Success);
    assert_alive(&mut sim)
}

#[test]
fn a_payload_that_is_no_text_is_said_to_be_none() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || {
            if true {
                std::panic::panic_any(Bomb)
            }
        })
        .register()?;
    let job: Job<()> = task.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_panicked(&job, "(no text)");
    assert_alive(&mut sim)
}

#[test]
fn a_panicking_job_takes_no_thread_of_the_pool_with_it() -> Result {
    let app = Jobber::builder()
        .executor(jobber::ThreadPool::new(1)?)
        .build()?;
    let panics = app.task("panics", async || boom("in a task")).register()?;
    let panics_in_thread = app
        .blocking_task("blocking", || boom("in a thread"))
        .register()?;
    let fine = app.task("fine", async |x: i32| x).register()?;
    app.start().wait_blocking()?;
    for n in 0..20 {
        let job: Job<()> = panics.schedule(()).push().wait_blocking()?;
        assert_eq!(job.wait_blocking(), JobStatus::Failed);
        let job: Job<()> = panics_in_thread.schedule(()).push().wait_blocking()?;
        assert_eq!(job.wait_blocking(), JobStatus::Failed);
        let job = fine.schedule(n).push().wait_blocking()?;
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

/// It goes to the executor, which may drop that, too.
#[test]
fn the_drop_of_what_a_timed_out_attempt_leaves_may_panic() -> Result {
    for is_polled in [true, false] {
        let (sender, futures) = mpsc::channel();
        let clock = ManualClock::new();
        let app = Jobber::builder()
            .executor(move |job: JobFuture| sender.send(job).unwrap())
            .clock(clock.clone())
            .build()?;
        let task = app.task("t", |held: Bomb| async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        let task = task.timeout(SECOND).register()?;
        app.start().wait_blocking()?;
        let schedule = task.schedule(Bomb).id("x").max_failures(1);
        let job = schedule.every(SECOND).wait_blocking()?;
        clock.advance(SECOND);
        let mut attempt = Box::pin(futures.recv()?);
        assert_eq!(format!("{attempt:?}"), r#"JobFuture("x")"#);
        assert!(block_on(poll_once(&mut attempt)).is_none());
        clock.advance(SECOND);
        assert_eq!(job.wait_blocking(), JobStatus::PermanentlyFailed);
        // That was in its arguments.
        let left = futures.recv()?;
        if is_polled {
            block_on(left);
        } else {
            drop(left);
        }
        block_on(attempt);
    }
    Ok(())
}

#[test]
fn in_the_drop_of_arguments_that_were_kept_for_a_retry() -> Result {
    /// Panics when it is dropped, but not its clones.
    struct First(bool);
    impl Clone for First {
        fn clone(&self) -> Self {
            First(false)
        }
    }
    impl Drop for First {
        fn drop(&mut self) {
            assert!(!self.0 || std::thread::panicking(), "the first was dropped");
        }
    }
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: First| 7);
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let job = task.schedule(First(true)).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(*job.result()?, 7);
    assert!(sim.app().jobs().is_empty());
    assert_alive(&mut sim)
}
