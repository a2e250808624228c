//! A panic of user code ends its attempt and nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};

use crate::support::{Bomb, Result, SECOND, poll};
use futures_lite::future::block_on;
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, Job, JobError, JobFuture, JobStatus, Jobber};

/// Its type says that it returns.
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

/// Asserts that the scheduler still runs jobs.
fn assert_alive(sim: &mut Simulation) -> Result {
    let task = sim.app().task("alive", async |x: i32| x).register()?;
    let job = task.schedule(1).delay(SECOND).block_on()?;
    sim.advance(SECOND);
    assert_eq!(*job.result()?, 1);
    Ok(())
}

#[test]
fn a_panic_in_the_call_fails_the_job() -> Result {
    fn call(text: String) -> std::future::Ready<()> {
        panic!("in the call: {text}")
    }
    let mut sim = Simulation::new();
    let task = sim.app().task("t", call).register()?;
    let job = task.schedule("x".into()).push().block_on()?;
    sim.run_until_stalled();
    assert_panicked(&job, "in the call: x");
    assert_alive(&mut sim)
}

#[test]
fn a_panic_in_a_poll_fails_the_job() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || {
        let sleep = clock.sleep(SECOND);
        async move {
            sleep.await;
            boom("in the second poll");
        }
    });
    let task = task.register()?;
    let job: Job<()> = task.schedule(()).push().block_on()?;
    sim.advance(SECOND);
    assert_panicked(&job, "in the second poll");
    assert_alive(&mut sim)
}

#[test]
fn a_panic_in_the_drop_of_an_aborted_future_is_caught() -> Result {
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
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(job.abort().block_on()?.took_effect());
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert_alive(&mut sim)
}

#[test]
fn a_panic_in_the_drop_of_a_local_fails_the_job() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || {
        let _bomb = Bomb;
    });
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_panicked(&job, "a bomb was dropped");
    assert_alive(&mut sim)
}

#[test]
fn a_panic_in_the_drop_of_the_value_is_caught() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || Ok::<_, String>(Bomb));
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Success);
    drop(job);
    assert_alive(&mut sim)
}

#[test]
fn a_panic_in_the_drop_of_the_value_of_an_earlier_run_is_caught() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || Ok::<_, String>(Bomb));
    let task = task.register()?;
    let schedule = task.schedule(()).max_runs(2);
    let job = schedule.every(SECOND).block_on()?;
    sim.advance(SECOND * 2);
    assert_eq!(job.status(), JobStatus::Success);
    assert_alive(&mut sim)
}

#[test]
fn a_panic_in_the_clone_of_the_arguments_fails_the_attempt() -> Result {
    #[derive(Debug)]
    struct NoClone;
    impl Clone for NoClone {
        fn clone(&self) -> Self {
            panic!("in the clone");
        }
    }
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: NoClone| {});
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let job = task.schedule(NoClone).push().block_on()?;
    sim.run_until_stalled();
    // The last attempt takes the arguments themselves.
    assert_eq!(job.status(), JobStatus::Scheduled);
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Success);
    assert_alive(&mut sim)
}

#[test]
fn the_message_of_a_panic_without_text_says_so() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async || {
        if true {
            std::panic::panic_any(Bomb)
        }
    });
    let task = task.register()?;
    let job: Job<()> = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_panicked(&job, "(no text)");
    assert_alive(&mut sim)
}

#[test]
fn a_panic_ends_no_thread_of_the_pool() -> Result {
    let app = Jobber::builder()
        .executor(jobber::ThreadPool::new(1)?)
        .build()?;
    let panics = app.task("panics", async || boom("in a task")).register()?;
    let panics_in_thread = app.blocking_task("blocking", || boom("in a thread"));
    let panics_in_thread = panics_in_thread.register()?;
    let fine = app.task("fine", async |x: i32| x).register()?;
    app.start().block_on()?;
    for n in 0..20 {
        let job: Job<()> = panics.schedule(()).push().block_on()?;
        assert_eq!(job.wait_blocking(), JobStatus::Failed);
        let job: Job<()> = panics_in_thread.schedule(()).push().block_on()?;
        assert_eq!(job.wait_blocking(), JobStatus::Failed);
        let job = fine.schedule(n).push().block_on()?;
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

/// What is left goes to the executor, which may run it or drop it.
#[test]
fn a_panic_in_the_drop_of_what_a_timed_out_attempt_leaves_is_caught() -> Result {
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
        app.start().block_on()?;
        let schedule = task.schedule(Bomb).id("x").max_failures(1);
        let job = schedule.every(SECOND).block_on()?;
        clock.advance(SECOND);
        let mut attempt = Box::pin(futures.recv()?);
        assert_eq!(format!("{attempt:?}"), r#"JobFuture("x")"#);
        assert!(poll(&mut attempt).is_none());
        clock.advance(SECOND);
        assert_eq!(job.wait_blocking(), JobStatus::PermanentlyFailed);
        // The future that drops the arguments that were kept.
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
fn a_panic_in_the_drop_of_arguments_that_were_kept_for_a_retry_is_caught() -> Result {
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
    let job = task.schedule(First(true)).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(*job.result()?, 7);
    assert!(sim.app().jobs().is_empty());
    assert_alive(&mut sim)
}
