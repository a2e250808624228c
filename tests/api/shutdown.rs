//! Shutting an app down, and waiting for all of its jobs.

use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{
    Bomb, DropCounter, HOUR, Log, MINUTE, Result, SECOND, WATCHDOG, WakeCounter, begin, delay_all,
    poll, poll_with, started_app, wait_until,
};
use futures_lite::future;
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, JobContext, JobFuture, JobStatus, Jobber, Misfire, ScheduleError, StartError, Task,
};

#[test]
fn jobs_that_have_not_run_are_cancelled_and_their_arguments_dropped() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: DropCounter| {}).register()?;
    let counter = DropCounter::default();
    let pushed = task.schedule(counter.clone()).push().block_on()?;
    let delayed = task.schedule(counter.clone()).delay(HOUR).block_on()?;
    let submit = task.schedule(counter.clone()).every(SECOND);
    let recurring = submit.block_on()?;
    assert!(sim.shutdown(HOUR).is_complete());
    for job in [pushed, delayed, recurring] {
        assert_eq!(job.status(), JobStatus::Cancelled);
        assert_eq!(job.wait_blocking(), JobStatus::Cancelled);
    }
    assert_eq!(counter.alive(), 0);
    assert_eq!(sim.elapsed(), Duration::ZERO, "nothing to wait for");
    Ok(())
}

#[test]
fn running_attempts_end_within_the_grace() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND * 5));
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(sim.shutdown(SECOND * 10).is_complete());
    assert_eq!(job.status(), JobStatus::Success);
    assert_eq!(sim.elapsed(), SECOND * 5, "no longer than needed");
    Ok(())
}

#[test]
fn an_attempt_that_outlasts_the_grace_is_left_running_and_returned() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(HOUR)).register()?;
    let job = task.schedule(()).id("slow").push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(sim.shutdown(SECOND).left, ["slow"]);
    assert_eq!(sim.elapsed(), SECOND);
    assert_eq!(
        job.wait_blocking(),
        JobStatus::Running,
        "its waiters return"
    );
    assert_eq!(job.next_run().block_on(), None);
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Success, "it was left running");
    Ok(())
}

#[test]
fn shutdown_sets_the_token_of_a_running_attempt() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |cx: JobContext| {
        let stop = cx.stop_token();
        let before = stop.is_stop_requested();
        stop.stopped().await;
        (before, stop.is_stop_requested())
    });
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(sim.shutdown(HOUR).is_complete());
    assert_eq!(*job.result()?, (false, true));
    Ok(())
}

#[test]
fn a_token_that_is_taken_during_shutdown_is_set() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move |cx: JobContext| {
        let sleep = clock.sleep(SECOND);
        async move {
            sleep.await;
            cx.stop_token().is_stop_requested()
        }
    });
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    sim.shutdown(HOUR);
    assert!(*job.result()?);
    Ok(())
}

#[test]
fn a_token_that_the_job_that_shuts_down_takes_is_set() -> Result {
    let mut sim = Simulation::new();
    let app = sim.app().clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        let app = app.clone();
        async move {
            assert!(future::poll_once(app.shutdown(HOUR)).await.is_none());
            cx.stop_token().is_stop_requested()
        }
    });
    let task = task.register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(*job.result()?);
    Ok(())
}

#[test]
fn a_failure_during_the_grace_is_not_retried() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || {
        let sleep = clock.sleep(SECOND);
        async move {
            sleep.await;
            Err::<(), _>("no")
        }
    });
    let task = task.retry(Backoff::fixed(5, SECOND)).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(sim.shutdown(HOUR).is_complete());
    assert_eq!((job.status(), sim.elapsed()), (JobStatus::Failed, SECOND));
    Ok(())
}

#[test]
fn shutdown_ends_a_recurring_job_with_its_current_run() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND * 5));
    let task = task.register()?;
    let schedule = task.schedule(()).misfire(Misfire::All(9));
    let job = schedule.every(SECOND).block_on()?;
    sim.advance(SECOND * 2);
    assert!(sim.shutdown(HOUR).is_complete());
    assert_eq!(job.status(), JobStatus::Cancelled);
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Success));
    Ok(())
}

#[test]
fn timeouts_still_hold_during_the_grace() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", std::future::pending::<()>);
    let task = task.timeout(SECOND * 5).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(sim.shutdown(HOUR).is_complete());
    assert_eq!(
        (job.status(), sim.elapsed()),
        (JobStatus::Timeout, SECOND * 5)
    );
    Ok(())
}

#[test]
fn shutdown_wakes_the_threads_that_wait() -> Result {
    // The threads of this executor outlive the app.
    let app = Jobber::builder()
        .executor(|job| smol::spawn(job).detach())
        .build()?;
    let task = app.task("t", std::future::pending::<()>).register()?;
    app.start().block_on()?;
    let running = task.schedule(()).push().block_on()?;
    let waiting = task.schedule(()).delay(HOUR).block_on()?;
    let threads = [&running, &waiting].map(|job| {
        let job = job.clone();
        thread::spawn(move || job.wait_blocking())
    });
    let all = thread::spawn({
        let app = app.clone();
        move || app.wait_all().block_on()
    });
    let mut events = app.events();
    while running.status() != JobStatus::Running {
        events.next_blocking();
    }
    let report = app.shutdown(Duration::ZERO).block_on();
    assert_eq!(report.left, [running.id().clone()]);
    let ends = threads.map(|thread| thread.join().unwrap());
    assert_eq!(ends, [JobStatus::Running, JobStatus::Cancelled]);
    all.join().unwrap();
    Ok(())
}

#[test]
fn an_app_can_be_shut_down_twice_and_before_its_start() -> Result {
    let app = Jobber::builder().build()?;
    assert!(app.shutdown(HOUR).block_on().is_complete());
    assert!(app.shutdown(HOUR).block_on().is_complete());
    let app = Jobber::builder().build()?;
    app.start().block_on()?;
    assert!(smol::block_on(app.shutdown(HOUR)).is_complete());
    assert!(smol::block_on(app.shutdown(HOUR)).is_complete());
    Ok(())
}

#[test]
fn an_attempt_that_is_left_on_the_built_in_pool_fails_when_the_pool_ends() -> Result {
    let app = started_app()?;
    let task = app.task("t", std::future::pending::<()>).register()?;
    let mut events = app.events();
    let job = task.schedule(()).push().block_on()?;
    while job.status() != JobStatus::Running {
        events.next_blocking();
    }
    let report = app.shutdown(Duration::ZERO).block_on();
    assert_eq!(report.left, [job.id().clone()]);
    // The threads of the pool end by themselves; the last one drops the future.
    wait_until(|| job.is_done());
    let error = job.result().unwrap_err();
    assert!(error.source().unwrap().is::<jobber::ExecutorDropped>());
    Ok(())
}

/// An executor that sends when it is dropped: then the timer thread, which calls it, has
/// ended.
struct Watched(mpsc::Sender<()>);

impl jobber::Executor for Watched {
    fn spawn(&self, job: JobFuture) {
        smol::spawn(job).detach();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn dropping_the_last_handle_of_an_app_drops_its_executor() -> Result {
    let (dropped, is_dropped) = mpsc::channel();
    let app = Jobber::builder().executor(Watched(dropped)).build()?;
    let task = app.task("t", || async {}).register()?;
    app.start().block_on()?;
    let job = task.schedule(()).delay(HOUR).block_on()?;
    let clone = app.clone();
    drop(app);
    assert!(is_dropped.try_recv().is_err(), "another handle is alive");
    drop(clone);
    is_dropped.recv_timeout(Duration::from_secs(60))?;
    assert_eq!(job.status(), JobStatus::Cancelled);
    Ok(())
}

#[test]
fn an_app_can_be_dropped_by_a_job_of_its_own() -> Result {
    let (dropped, is_dropped) = mpsc::channel();
    let app = Jobber::builder().executor(Watched(dropped)).build()?;
    let held = Arc::new(std::sync::Mutex::new(None));
    let task = app.task("t", {
        let held = held.clone();
        move || {
            drop(held.lock().unwrap().take());
            async {}
        }
    });
    let task = task.register()?;
    app.start().block_on()?;
    let submit = task.schedule(()).delay(Duration::from_millis(1));
    *held.lock().unwrap() = Some(app);
    let job = submit.block_on()?;
    is_dropped.recv_timeout(Duration::from_secs(60))?;
    // The app may have stopped before the run ended.
    assert!(matches!(
        job.wait_blocking(),
        JobStatus::Running | JobStatus::Success
    ));
    Ok(())
}

#[test]
fn wait_all_ends_with_the_last_job_with_or_without_a_name() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    for is_named in [true, false] {
        let schedule = task.schedule(());
        let schedule = if is_named { schedule.id("x") } else { schedule };
        let _ = schedule.delay(SECOND).block_on()?;
        let (woken, waker) = WakeCounter::new();
        let app = sim.app().clone();
        let mut all = app.wait_all();
        assert!(poll_with(&mut all, &waker).is_pending());
        sim.advance(SECOND);
        assert!(woken.count() > 0);
        assert!(poll_with(&mut all, &waker).is_ready());
    }
    Ok(())
}

#[test]
fn wait_all_timeout_returns_whether_no_job_is_live() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let wait = |limit| sim.app().wait_all_timeout(limit);
    assert!(wait(Duration::ZERO).block_on());
    let job = task.schedule(()).delay(HOUR).block_on()?;
    assert!(!wait(Duration::ZERO).block_on());
    let mut waiting = wait(HOUR);
    begin(&mut waiting);
    assert!(job.cancel().block_on()?.took_effect());
    assert_eq!(poll(&mut waiting), Some(true));
    Ok(())
}

#[test]
fn wait_all_ends_with_the_app_although_a_job_goes_on() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", future::pending::<()>).register()?;
    let _ = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    let (woken, waker) = WakeCounter::new();
    let app = sim.app().clone();
    let mut all = app.wait_all();
    assert!(poll_with(&mut all, &waker).is_pending());
    assert_eq!(sim.shutdown(SECOND).left.len(), 1);
    assert!(woken.count() > 0);
    assert!(poll_with(&mut all, &waker).is_ready());
    Ok(())
}

#[test]
fn wait_all_waits_for_the_jobs_that_jobs_schedule() -> Result {
    let app = Jobber::builder().build()?;
    let log = Log::new();
    let itself = Arc::new(OnceLock::<Task<u32, ()>>::new());
    let chain = app.task("chain", {
        let (log, itself) = (log.clone(), itself.clone());
        move |left: u32| {
            log.add(left);
            let next = itself.get().cloned();
            async move {
                if let (Some(next), Some(left)) = (next, left.checked_sub(1)) {
                    let _ = next.schedule(left).push().await.unwrap();
                }
            }
        }
    });
    let chain = chain.register()?;
    let _ = itself.set(chain.clone());
    app.start().block_on()?;
    let _ = chain.schedule(100).push().block_on()?;
    app.wait_all().block_on();
    assert_eq!(log.entries(), (0..=100).rev().collect::<Vec<_>>());
    Ok(())
}

/// The timer thread may be in a call of the executor.
#[test]
fn a_shutdown_waits_for_the_timer_unless_the_timer_thread_calls_it() -> Result {
    for is_by_the_timer in [false, true] {
        let clock = ManualClock::new();
        let stops: Arc<Mutex<Option<Jobber>>> = Arc::default();
        let stopped = stops.clone();
        let (asks, asked) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        let ends = Mutex::new((asks, gate));
        let app = Jobber::builder()
            .executor(move |_: JobFuture| {
                let (asks, gate) = &*ends.lock().unwrap();
                let app = stopped.lock().unwrap().take();
                let is_over = app.map(|app| {
                    let stop = app.shutdown(Duration::ZERO);
                    poll(stop).is_some()
                });
                let _ = asks.send(is_over);
                let _ = gate.recv();
            })
            .clock(clock.clone())
            .build()?;
        let task = app.task("t", async || {}).register()?;
        app.start().block_on()?;
        let job = task.schedule(()).delay(SECOND).block_on()?;
        if is_by_the_timer {
            *stops.lock().unwrap() = Some(app.clone());
        }
        clock.advance(SECOND);
        let is_over = asked.recv()?;
        assert_eq!(is_over, is_by_the_timer.then_some(true));
        let mut stop = app.shutdown(Duration::ZERO);
        let stopped = poll(&mut stop);
        assert!(stopped.is_none(), "the timer is in the executor");
        drop(open);
        stop.block_on();
        assert!(job.is_done());
    }
    Ok(())
}

#[test]
fn a_panic_in_the_drop_of_the_executor_is_caught() -> Result {
    struct Panics(Bomb);
    impl jobber::Executor for Panics {
        fn spawn(&self, job: JobFuture) {
            let _ = &self.0;
            future::block_on(job);
        }
    }
    let app = Jobber::builder().executor(Panics(Bomb)).build()?;
    let task = app.task("t", async || {}).register()?;
    app.start().block_on()?;
    let job = task.schedule(()).push().block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    let _ = task.schedule(()).delay(HOUR).block_on()?;
    assert!(app.shutdown(Duration::ZERO).block_on().is_complete());
    Ok(())
}

/// Regression: shutdown emptied the table while the timer queue still held entries, and
/// the count of stale entries went below zero.
#[test]
fn timer_entries_that_outlive_their_jobs_are_skipped() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", std::future::pending::<()>);
    let task = task.timeout(MINUTE).register()?;
    for _ in 0..200 {
        let _ = task.schedule(()).push().block_on()?;
    }
    sim.run_until_stalled();
    assert_eq!(sim.shutdown(SECOND).left.len(), 200);
    sim.advance(HOUR);
    Ok(())
}

/// Regression: the second of two shutdowns ended the app while the first was still
/// cancelling, and most jobs stayed scheduled for ever.
#[test]
fn two_shutdowns_at_once_leave_no_job_scheduled() -> Result {
    for _ in 0..5 {
        let app = Jobber::builder().build()?;
        let task = app.task("t", async |_: DropCounter| {}).register()?;
        app.start().block_on()?;
        let counter = DropCounter::default();
        let jobs = delay_all(&task, HOUR, vec![counter.clone(); 5_000])?;
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| app.shutdown(HOUR).block_on());
            }
        });
        assert!(jobs.iter().all(|job| job.status() == JobStatus::Cancelled));
        assert_eq!(counter.alive(), 0);
    }
    Ok(())
}

#[test]
fn a_detached_app_goes_on_until_another_clone_shuts_it_down() -> Result {
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    app.detach();
    let job = task.schedule(()).push().block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    app.clone().detach();
    app.shutdown(HOUR).block_on();
    let stopped = task.schedule(()).push().block_on();
    assert!(
        matches!(stopped, Err(ScheduleError::Stopped)),
        "{stopped:?}"
    );
    Ok(())
}

#[test]
fn run_until_starts_the_app_returns_the_value_of_the_future_and_shuts_the_app_down() -> Result {
    let app = Jobber::builder().build()?;
    let task = app.task("t", async |cx: JobContext| cx.stop_token().stopped().await);
    let task = task.register()?;
    let main = async move {
        let job = task.schedule(()).push().await?;
        while job.status() != JobStatus::Running {
            futures_lite::future::yield_now().await;
        }
        Ok::<_, ScheduleError>(job)
    };
    let job = app.run_until(main, WATCHDOG).block_on()??;
    // It was requested to stop, and had time for that.
    assert_eq!(job.status(), JobStatus::Success);
    let again = app.run_until(async { panic!("it is not polled") }, WATCHDOG);
    let again: std::result::Result<(), _> = again.block_on();
    assert!(matches!(again, Err(StartError::Stopped)));
    Ok(())
}
