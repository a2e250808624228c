//! Wakers are user code: they may panic, and use the app within `wake`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use crate::support::{
    Bomb, HOUR, Log, MINUTE, Result, SECOND, assert_ends, manual_app, poll, poll_with, wait_until,
    without_deadlock,
};
use futures_lite::{Stream, StreamExt};
use jobber::testing::Simulation;
use jobber::{Backoff, Event, Job, JobEventKind, JobStatus, Jobber, Misfire, Wait};
use time::macros::datetime;

/// Polls its future within `wake`, as some hand-made executors do.
struct Inline<F>(Mutex<Option<Pin<Box<F>>>>);

impl<F: Future<Output = ()> + Send + 'static> Inline<F> {
    fn start(future: F) {
        Arc::new(Self(Mutex::new(Some(Box::pin(future))))).wake();
    }
}

impl<F: Future<Output = ()> + Send + 'static> Wake for Inline<F> {
    fn wake(self: Arc<Self>) {
        let Some(mut future) = self.0.lock().unwrap().take() else {
            return;
        };
        let waker = Waker::from(self.clone());
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            *self.0.lock().unwrap() = Some(future);
        }
    }
}

/// Regression: when a job timed out and a waker panicked, the panic ended the timer
/// thread and the app was dead.
#[test]
fn a_waker_that_panics_does_not_end_the_timer() -> Result {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }
    let (app, clock) = manual_app()?;
    let slow = app.task("slow", std::future::pending::<()>).timeout(SECOND);
    let slow = slow.register()?;
    let quick = app.task("quick", || async {}).register()?;
    let job = slow.schedule(()).push().block_on()?;
    let waker = Waker::from(Arc::new(Panics));
    let mut waits = [job.wait(), job.wait()];
    for wait in &mut waits {
        assert!(poll_with(wait, &waker).is_pending());
    }
    wait_until(|| job.status() == JobStatus::Running);
    let after = quick.schedule(()).delay(SECOND * 2).block_on()?;
    clock.advance(SECOND);
    assert_ends(&job, JobStatus::Timeout);
    clock.advance(SECOND);
    assert_ends(&after, JobStatus::Success);
    Ok(())
}

/// Regression: readers were woken under the locks of the table and of the job, and a
/// waker that looked at the app deadlocked.
#[test]
fn the_waker_of_an_event_reader_may_use_the_app() -> Result {
    struct Looks(Jobber, AtomicUsize);
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(self.0.jobs().len() + 1, Ordering::SeqCst);
        }
    }
    let mut sim = Simulation::new();
    let looks = Arc::new(Looks(sim.app().clone(), AtomicUsize::new(0)));
    let waker = Waker::from(looks.clone());
    let task = sim.app().task("t", || async {}).register()?;
    let mut events = sim.app().events();
    let mut events = pin!(&mut events);
    for _ in 0..3 {
        while events
            .as_mut()
            .poll_next(&mut Context::from_waker(&waker))
            .is_ready()
        {}
        let before = looks.1.load(Ordering::SeqCst);
        let _ = task.schedule(()).push().block_on()?;
        assert!(looks.1.load(Ordering::SeqCst) > before, "it was woken");
        sim.run_until_stalled();
    }
    Ok(())
}

/// Regression: waiters were woken under the lock of event-listener or of the event
/// channel, and a waker that polls within `wake` deadlocked the timer thread.
#[test]
fn a_waker_may_poll_within_wake() -> Result {
    let woken = without_deadlock(|| {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async {}).register()?;
        let log = Log::new();

        let job = task.schedule(()).delay(SECOND).block_on()?;
        let seen = log.clone();
        Inline::start(async move {
            job.wait().await;
            seen.add("job");
        });
        let every = task.schedule(()).every(SECOND).block_on()?;
        let (waited, seen) = (every.clone(), log.clone());
        Inline::start(async move {
            waited.next_run().await;
            seen.add("run");
        });
        let (app, seen) = (sim.app().clone(), log.clone());
        Inline::start(async move {
            app.wait_all().await;
            seen.add("all");
        });
        let (mut events, seen) = (sim.app().events(), log.clone());
        Inline::start(async move {
            while events.next().await.is_some() {}
            seen.add("events");
        });
        sim.advance(SECOND);
        let _ = every.cancel().block_on();
        let app = sim.app().clone();
        Inline::start(async move {
            app.shutdown(SECOND).await;
        });
        let mut entries = log.take();
        entries.sort();
        Ok(entries)
    })?;
    assert_eq!(woken, ["all", "events", "job", "run"]);
    Ok(())
}

/// Regression: a wait that had been notified and then ended or was dropped woke the next
/// one under the lock of event-listener.
#[test]
fn a_notified_wait_that_ends_or_is_dropped_wakes_the_next_without_a_lock() -> Result {
    for is_polled in [true, false] {
        without_deadlock(move || {
            let mut sim = Simulation::new();
            let task = sim.app().task("t", || async {}).register()?;
            let job = task.schedule(()).every(SECOND).block_on()?;
            let mut first = job.next_run();
            assert!(poll(&mut first).is_none());
            sim.advance(SECOND);
            let second = job.next_run();
            Inline::start(async move {
                second.await;
            });
            if is_polled {
                assert!(poll(&mut first).is_some());
            }
            drop(first);
            sim.advance(SECOND);
            Ok(())
        })?;
    }
    Ok(())
}

/// Regression: `wait_all` was woken under the lock of the stored job that shutdown left
/// to the next process.
#[cfg(feature = "serde")]
#[test]
fn the_waker_of_wait_all_may_use_a_stored_job_during_shutdown() -> Result {
    without_deadlock(|| {
        let mut sim = crate::support::Machine::new().boot();
        let task = sim.app().task("t", async |_: u32| ()).durable();
        let task = task.register()?;
        let job = task.schedule(1).delay(HOUR).block_on()?;
        let app = sim.app().clone();
        Inline::start(async move {
            app.wait_all().await;
            let _ = job.exec_at();
        });
        sim.shutdown(SECOND);
        Ok(())
    })
}

/// Regression: a waker that held its own wait was dropped where it was called; when its
/// drop panicked, the waiters behind it were not woken and the timer thread ended.
#[test]
fn a_waker_whose_drop_panics_does_not_end_the_timer() -> Result {
    struct Holds {
        wait: Mutex<Option<Wait>>,
        _bomb: Bomb,
    }
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {
            drop(self.wait.lock().unwrap().take());
        }
    }
    let (app, clock) = manual_app()?;
    let slow = app.task("slow", std::future::pending::<()>).timeout(SECOND);
    let slow = slow.register()?;
    let quick = app.task("quick", || async {}).register()?;
    let mut events = app.events();
    let job = slow.schedule(()).push().block_on()?;
    let started = |event: &Event| matches!(event, Event::Job(e) if matches!(e.kind, JobEventKind::Started { .. }));
    while !started(&events.next_blocking().ok_or("the app has stopped")?) {}

    let holds = Arc::new(Holds {
        wait: Mutex::new(Some(job.wait())),
        _bomb: Bomb,
    });
    let waker = Waker::from(holds.clone());
    {
        let mut wait = holds.wait.lock().unwrap();
        let wait = wait.as_mut().ok_or("it is there")?;
        assert!(poll_with(wait, &waker).is_pending());
    }
    drop((holds, waker));

    let later = quick.schedule(()).delay(2 * SECOND).block_on()?;
    clock.advance(SECOND);
    assert_ends(&job, JobStatus::Timeout);
    clock.advance(SECOND);
    assert_ends(&later, JobStatus::Success);
    Ok(())
}

/// Regression: waiters were woken under the lock of the job, and a waker that looked at
/// its job deadlocked.
#[test]
fn a_waker_may_use_its_job_within_wake() -> Result {
    /// Reads a job when it is woken, and logs its status.
    struct Looks(Job<()>, Log<JobStatus>);
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            let _ = (self.0.result(), self.0.exec_at(), self.0.last_run());
            self.1.add(self.0.status());
        }
    }
    without_deadlock(|| {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", async || Err::<(), _>("no"));
        let task = task.retry(Backoff::fixed(1, HOUR)).register()?;
        let plain = sim.app().task("plain", async || {}).register()?;
        let log = Log::new();
        let look = |job: &Job<()>| Waker::from(Arc::new(Looks(job.clone(), log.clone())));
        // A job that ends, one that misses all its times, and one whose retry a replacement gives
        // up.
        let done = plain.schedule(()).delay(SECOND).block_on()?;
        let schedule = plain.schedule(()).misfire(Misfire::Skip);
        let passed = schedule.cron("0 0 1 1 1 * 2000").block_on()?;
        let replaced = task.schedule(()).id("x").every(SECOND).block_on()?;
        let mut waits = [done.wait(), passed.wait()];
        for (wait, job) in waits.iter_mut().zip([&done, &passed]) {
            assert!(poll_with(wait, &look(job)).is_pending());
        }
        let mut run = replaced.next_run();
        let waker = look(&replaced);
        assert!(poll_with(&mut run, &waker).is_pending());
        sim.advance(SECOND);
        // The retry of the third job wakes its waiter, too.
        assert_eq!(log.take(), [JobStatus::Success, JobStatus::Scheduled]);
        assert!(poll_with(&mut run, &waker).is_pending());
        let again = task.schedule(()).id("x").replace();
        let _ = again.every(MINUTE).block_on()?;
        assert_eq!(log.take(), [JobStatus::Scheduled]);
        sim.set_wall(datetime!(2000-01-01 1:30 UTC));
        assert_eq!(log.take(), [JobStatus::Cancelled]);
        Ok(())
    })
}
