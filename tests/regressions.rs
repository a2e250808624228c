//! Faults that were found, each with its story.

mod common;

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::{Bomb, DropCounter, HOUR, Log, MINUTE, SECOND};
use futures_lite::{Stream, StreamExt};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, Clock, Event, Job, JobEventKind, JobFuture, JobStatus, Jobber, Misfire, Wait,
};
use time::OffsetDateTime;
use time::macros::datetime;
#[cfg(feature = "serde")]
use time::{Time, macros::time};

type Result = std::result::Result<(), Box<dyn Error>>;

/// Long enough for any machine; a hang fails the test instead of stopping it.
const WATCHDOG: Duration = Duration::from_secs(60);

fn assert_ends<R>(job: &Job<R>, status: JobStatus) {
    assert_eq!(job.wait_timeout(WATCHDOG).wait_blocking(), status);
}

/// Wakers are foreign code. One that panicked when a job timed out took the
/// timer's thread with it, and the app was dead.
#[test]
fn a_waker_that_panics_does_not_stop_the_timer() -> Result {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let slow = app
        .task("slow", std::future::pending::<()>)
        .timeout(SECOND)
        .register()?;
    let quick = app.task("quick", || async {}).register()?;
    app.start().wait_blocking()?;
    let job = slow.schedule(()).push().wait_blocking()?;
    let waker = Waker::from(Arc::new(Panics));
    let mut waits = [job.wait(), job.wait()];
    for wait in &mut waits {
        assert!(
            pin!(wait)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    while job.status() != JobStatus::Running {
        thread::yield_now();
    }
    let after = quick.schedule(()).delay(SECOND * 2).wait_blocking()?;
    clock.advance(SECOND);
    assert_ends(&job, JobStatus::Timeout);
    clock.advance(SECOND);
    assert_ends(&after, JobStatus::Success);
    Ok(())
}

/// The end of an app emptied its table, while the timer's heap still held keys:
/// the count of dead keys went below zero.
#[test]
fn keys_that_outlive_the_app_do_no_harm() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", std::future::pending::<()>)
        .timeout(MINUTE)
        .register()?;
    for _ in 0..200 {
        let _ = task.schedule(()).push().wait_blocking()?;
    }
    sim.run_until_stalled();
    assert_eq!(sim.shutdown(SECOND).len(), 200);
    sim.advance(HOUR);
    Ok(())
}

/// More than a few due jobs were started by as many drainers as there are cores:
/// when that many first polls waited for a job behind them, all of them waited
/// for ever, on an executor with threads to spare.
#[test]
fn jobs_that_block_on_one_another_do_not_use_up_the_drainers() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(|job: JobFuture| {
            thread::spawn(move || smol::block_on(job));
        })
        .build()?;
    let last = Arc::new(OnceLock::<Job<()>>::new());
    let blocks = app
        .task("blocks", {
            let last = last.clone();
            move || {
                let last = last.clone();
                async move { last.get().map(|job| job.wait_blocking()) }
            }
        })
        .register()?;
    let quick = app.task("quick", || async {}).register()?;
    app.start().wait_blocking()?;
    let mut jobs = Vec::new();
    for _ in 0..50 {
        jobs.push(blocks.schedule(()).delay(SECOND).wait_blocking()?);
    }
    let quick = quick.schedule(()).delay(SECOND).wait_blocking()?;
    let _ = last.set(quick.clone());
    clock.advance(SECOND);
    assert_ends(&quick, JobStatus::Success);
    for job in jobs {
        assert_ends(&job, JobStatus::Success);
        assert_eq!(*job.result()?, Some(JobStatus::Success));
    }
    Ok(())
}

/// An executor that runs what it is given inside `spawn` would, with drainers
/// that spawn each other, have gone as deep as there are jobs.
#[test]
fn an_executor_that_runs_inside_spawn_starts_ten_thousand_at_once() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(|job: JobFuture| smol::block_on(job))
        .build()?;
    let count = Arc::new(AtomicUsize::new(0));
    let task = app
        .task("t", {
            let count = count.clone();
            move || {
                count.fetch_add(1, Ordering::SeqCst);
                async {}
            }
        })
        .register()?;
    app.start().wait_blocking()?;
    for _ in 0..10_000 {
        let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    }
    clock.advance(SECOND);
    app.wait_all().wait_blocking();
    assert_eq!(count.load(Ordering::SeqCst), 10_000);
    Ok(())
}

/// Events were sent, and readers woken, under the locks of the table and of the
/// job: a waker that looked at the app hung.
#[test]
fn a_readers_waker_may_use_the_app() -> Result {
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
        let _ = task.schedule(()).push().wait_blocking()?;
        assert!(looks.1.load(Ordering::SeqCst) > before, "it was woken");
        sim.run_until_stalled();
    }
    Ok(())
}

/// A task's own error was asked for its source under the job's lock: one that
/// looked at its job hung.
#[test]
fn an_errors_source_may_look_at_its_job() -> Result {
    #[derive(Debug)]
    struct Curious(Arc<OnceLock<Job<()>>>);
    impl std::fmt::Display for Curious {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("curious")
        }
    }
    impl Error for Curious {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            let _ = self
                .0
                .get()
                .map(|job| (job.last_run(), job.exec_at(), job.status()));
            None
        }
    }
    let mut sim = Simulation::new();
    let job = Arc::new(OnceLock::new());
    let task = sim
        .app()
        .task("t", {
            let job = job.clone();
            move || {
                let error = Curious(job.clone());
                async move { Err::<(), _>(error) }
            }
        })
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let _ = job.set(task.schedule(()).push().wait_blocking()?);
    sim.advance(MINUTE);
    assert_eq!(job.get().map(|job| job.status()), Some(JobStatus::Failed));
    Ok(())
}

/// A job whose future the executor refused was begun, and its function called,
/// only to be failed: on the timer's thread.
#[test]
fn a_refused_job_has_failed_without_a_step_of_its_task() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(drop::<JobFuture>)
        .build()?;
    let called = Arc::new(AtomicBool::new(false));
    let task = app
        .task("t", {
            let called = called.clone();
            move |_: u8| {
                called.store(true, Ordering::SeqCst);
                async {}
            }
        })
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    app.start().wait_blocking()?;
    let job = task.schedule(1).delay(SECOND).wait_blocking()?;
    clock.advance(SECOND);
    while job.exec_at() == time::macros::datetime!(2000-01-01 0:00:01 UTC) {
        thread::yield_now();
    }
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

#[test]
fn a_job_that_was_refused_runs_the_next_time_with_its_arguments() -> Result {
    let clock = ManualClock::new();
    let (spawns, spawned) = std::sync::mpsc::channel();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(move |job: JobFuture| drop(spawns.send(job)))
        .build()?;
    let log = Log::new();
    let seen = log.clone();
    let task = app.task("t", move |n: u32| {
        seen.add(n);
        async {}
    });
    let task = task.register()?;
    app.start().wait_blocking()?;
    let job = task.schedule(7).every(SECOND).wait_blocking()?;
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

/// The arguments of a job that timed out for good were dropped on the timer's
/// thread, where a slow drop holds up everything.
#[test]
fn arguments_are_not_dropped_on_the_timers_thread() -> Result {
    #[derive(Clone)]
    struct TellsWhere(Log<Option<String>>);
    impl Drop for TellsWhere {
        fn drop(&mut self) {
            self.0.add(thread::current().name().map(String::from));
        }
    }
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let task = app
        .task("t", async |held: TellsWhere| {
            std::future::pending::<()>().await;
            drop(held);
        })
        .timeout(SECOND)
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    app.start().wait_blocking()?;
    let log = Log::new();
    let job = task
        .schedule(TellsWhere(log.clone()))
        .push()
        .wait_blocking()?;
    while !job.is_done() {
        clock.advance(SECOND);
        thread::yield_now();
    }
    assert_ends(&job, JobStatus::Timeout);
    app.shutdown(HOUR).wait_blocking();
    while log.entries().len() < 2 {
        thread::yield_now();
    }
    let timer = Some("jobber-timer".to_string());
    assert!(
        log.entries().iter().all(|name| *name != timer),
        "{:?}",
        log.entries()
    );
    Ok(())
}

#[test]
fn arguments_of_a_job_of_which_every_time_has_passed_are_not_dropped_there_either() -> Result {
    #[derive(Clone)]
    struct TellsWhere(Log<Option<String>>);
    impl Drop for TellsWhere {
        fn drop(&mut self) {
            self.0.add(thread::current().name().map(String::from));
        }
    }
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let task = app.task("t", async |_: TellsWhere| {}).register()?;
    app.start().wait_blocking()?;
    let log = Log::new();
    let schedule = task
        .schedule(TellsWhere(log.clone()))
        .misfire(Misfire::Skip);
    let job = schedule.cron("0 0 1 1 1 * 2000").wait_blocking()?;
    clock.advance(HOUR * 2);
    assert_ends(&job, JobStatus::Cancelled);
    while log.entries().is_empty() {
        thread::yield_now();
    }
    let timer = Some("jobber-timer".to_string());
    assert!(!log.entries().contains(&timer), "{:?}", log.entries());
    Ok(())
}

#[test]
fn nor_is_the_value_of_such_a_job() -> Result {
    struct TellsWhere(Log<Option<String>>);
    impl Drop for TellsWhere {
        fn drop(&mut self) {
            self.0.add(thread::current().name().map(String::from));
        }
    }
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let log = Log::new();
    let held = log.clone();
    let task = app.task("t", move || {
        std::future::ready(Ok::<_, &str>(TellsWhere(held.clone())))
    });
    let task = task.register()?;
    app.start().wait_blocking()?;
    let schedule = task.schedule(()).misfire(Misfire::Skip);
    let job = schedule.cron("0 30 0-1 1 1 * 2000").wait_blocking()?;
    clock.advance(MINUTE * 30);
    while job.last_run().is_none() {
        thread::yield_now();
    }
    // The timer is the last that has it.
    drop(job);
    clock.advance(HOUR * 2);
    while log.entries().is_empty() {
        thread::yield_now();
    }
    let timer = Some("jobber-timer".to_string());
    assert!(!log.entries().contains(&timer), "{:?}", log.entries());
    Ok(())
}

/// The second of two shutdowns ended the app while the first was still
/// cancelling: most jobs stayed scheduled for ever.
#[test]
fn two_shutdowns_at_once_leave_no_job_scheduled() -> Result {
    for _ in 0..5 {
        let app = Jobber::builder().build()?;
        let task = app.task("t", async |_: DropCounter| {}).register()?;
        app.start().wait_blocking()?;
        let counter = DropCounter::default();
        let mut jobs = Vec::new();
        for _ in 0..5_000 {
            jobs.push(task.schedule(counter.clone()).delay(HOUR).wait_blocking()?);
        }
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| app.shutdown(HOUR).wait_blocking());
            }
        });
        assert!(jobs.iter().all(|job| job.status() == JobStatus::Cancelled));
        assert_eq!(counter.alive(), 0);
    }
    Ok(())
}

/// `next_run` went by a count that a replacement set back: runs passed it by.
#[test]
fn next_run_misses_none_after_a_replacement() -> Result {
    let mut sim = Simulation::new();
    let start = time::macros::datetime!(2000-01-01 0:00:30 UTC);
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).id("x").every(SECOND).wait_blocking()?;
    sim.advance(SECOND * 3);
    let next = job.next_run();
    let schedule = task.schedule(()).id("x").replace().start_date(start);
    let _ = schedule.every(SECOND).wait_blocking()?;
    sim.advance(SECOND * 27);
    assert_eq!(
        next.wait_blocking().unwrap().number,
        1,
        "it has started over"
    );
    Ok(())
}

/// A run that was replaced while it failed, with retries left, was never
/// entered: no event, no last run, and one number was left out.
#[test]
fn a_run_that_is_replaced_as_it_fails_counts() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim
        .app()
        .task("t", move || {
            let sleep = clock.sleep(SECOND);
            async move {
                sleep.await;
                Err::<(), _>("no")
            }
        })
        .retry(Backoff::fixed(5, HOUR))
        .register()?;
    let schedule = || task.schedule(()).id("x").replace().every(SECOND * 10);
    let job = schedule().wait_blocking()?;
    sim.advance(SECOND * 10);
    let next = job.next_run();
    let _ = schedule().wait_blocking()?;
    sim.advance(SECOND);
    let run = next.wait_blocking().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    Ok(())
}

/// Replaced to start over, a job still gave the value of before.
#[test]
fn a_job_that_starts_over_has_no_result_yet() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |x: u8| x).register()?;
    let job = task.schedule(1).id("x").every(SECOND).wait_blocking()?;
    sim.advance(SECOND);
    assert_eq!(*job.result()?, 1);
    let _ = task
        .schedule(2)
        .id("x")
        .replace()
        .delay(SECOND)
        .wait_blocking()?;
    assert!(matches!(job.result(), Err(jobber::JobError::NotCompleted)));
    sim.advance(SECOND);
    assert_eq!(*job.result()?, 2);
    Ok(())
}

/// An abort that came while the arguments were cloned returned `true`, and the
/// task ran all the same.
#[test]
fn a_job_that_is_aborted_before_its_body_begins_does_not_run() -> Result {
    type Held = Arc<OnceLock<Job<()>>>;
    struct AbortsWhenCloned(Held);
    impl Clone for AbortsWhenCloned {
        fn clone(&self) -> Self {
            let job = self.0.get().unwrap();
            assert!(job.abort().wait_blocking().unwrap());
            Self(self.0.clone())
        }
    }
    let mut sim = Simulation::new();
    let ran = Log::new();
    let task = sim
        .app()
        .blocking_task("t", {
            let ran = ran.clone();
            move |_: AbortsWhenCloned| ran.add(())
        })
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let held: Held = Arc::default();
    let job = task
        .schedule(AbortsWhenCloned(held.clone()))
        .push()
        .wait_blocking()?;
    let _ = held.set(job.clone());
    sim.run_until_stalled();
    assert_eq!(
        (job.status(), ran.entries()),
        (JobStatus::Cancelled, vec![])
    );
    Ok(())
}

/// Between the look for the job and the making of a new one, another thread made
/// one: `replace` said that the id was taken.
#[test]
fn replacing_from_many_threads_never_finds_the_id_taken() -> Result {
    let app = Jobber::builder().build()?;
    let task = app.task("t", async |_: u32| {}).register()?;
    app.start().wait_blocking()?;
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..2_000 {
                    let submit = task.schedule(n).id("x").replace().push();
                    if let Err(error) = submit.wait_blocking() {
                        failed.lock().unwrap().push(error.to_string());
                    }
                }
            });
        }
    });
    assert_eq!(*failed.lock().unwrap(), [] as [&str; 0]);
    Ok(())
}

/// The job that had the id was seen when the place was asked for, and was gone when it was
/// looked up: then the id was called taken, though it was free.
#[test]
fn replacing_a_job_that_is_just_ending_does_not_find_its_id_taken() -> Result {
    // Each job ends in the call that schedules it, while others ask for its id.
    let app = Jobber::builder()
        .executor(|job: JobFuture| futures_lite::future::block_on(job))
        .build()?;
    let task = app.task("t", async |_: u32| {}).register()?;
    app.start().wait_blocking()?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..30_000).try_for_each(|n| {
                        let submit = task.schedule(n).id("x").replace().push();
                        submit.wait_blocking().map(drop)
                    })
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap()?;
        }
        Ok(())
    })
}

/// Drainers held the executor, and one that kept them without running them held
/// itself for ever, after the end of the app, too.
#[test]
fn an_executor_that_runs_nothing_is_let_go_of() -> Result {
    let queue: Arc<Mutex<Vec<JobFuture>>> = Arc::default();
    let is_alive = Arc::downgrade(&queue);
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(move |job| queue.lock().unwrap().push(job))
        .build()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    for _ in 0..50 {
        let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    }
    clock.advance(SECOND);
    while is_alive
        .upgrade()
        .is_some_and(|queue| queue.lock().unwrap().is_empty())
    {
        thread::yield_now();
    }
    app.shutdown(Duration::ZERO).wait_blocking();
    assert!(is_alive.upgrade().is_none());
    Ok(())
}

/// A reader that came between the look whether there is one and the move missed
/// the event of that move, and waited for it for ever.
#[test]
fn a_reader_that_comes_before_a_move_sees_its_event() -> Result {
    let app = Jobber::builder().build()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    for _ in 0..2_000 {
        let job = task.schedule(()).push().wait_blocking()?;
        let mut events = app.events();
        if !job.is_done() {
            let ended = std::iter::from_fn(|| events.next_blocking()).find(
                |event| matches!(event, Event::Job(e) if e.id == *job.id() && e.kind == JobEventKind::Ended(JobStatus::Success)),
            );
            assert!(matches!(ended, Some(Event::Job(e)) if e.at.year() > 2000));
        }
    }
    Ok(())
}

/// The order in which a simulation ran what was due at once depended on how many
/// cores the machine has.
#[test]
fn a_simulation_runs_what_is_due_at_once_in_the_order_of_scheduling() -> Result {
    let mut sim = Simulation::new();
    let (clock, log) = (sim.clock(), Log::new());
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move |n: u64| {
                log.add(n);
                clock.sleep(SECOND * (n % 3) as u32)
            }
        })
        .register()?;
    for n in 0..1_000 {
        let _ = task.schedule(n).delay(SECOND).wait_blocking()?;
    }
    sim.advance(MINUTE);
    assert_eq!(log.entries(), (0..1_000).collect::<Vec<_>>());
    Ok(())
}

/// The two were worked out at two moments, between which the clocks had drifted
/// apart by nanoseconds.
#[test]
fn the_nominal_time_of_a_run_is_the_exec_at_that_was_shown() -> Result {
    /// Its wall time goes on by a nanosecond each time that it is read.
    struct Drifts(ManualClock, AtomicUsize);
    impl Clock for Drifts {
        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
        fn wall(&self) -> OffsetDateTime {
            let drift = self.1.fetch_add(1, Ordering::SeqCst);
            self.0.wall() + Duration::from_nanos(drift as u64)
        }
        fn sleep_until(&self, until: Duration) -> Option<Duration> {
            self.0.sleep_until(until)
        }
        fn watch(&self, moved: Waker) {
            self.0.watch(moved);
        }
    }
    let clock = ManualClock::new();
    let drifts = Drifts(clock.clone(), AtomicUsize::new(0));
    let app = Jobber::builder().clock(drifts).build()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let job = task.schedule(()).every(SECOND).wait_blocking()?;
    for _ in 0..3 {
        let (shown, next) = (job.exec_at(), job.next_run());
        clock.advance(SECOND);
        assert_eq!(next.wait_blocking().unwrap().nominal_time, shown);
    }
    Ok(())
}

/// Named jobs beside one that stays left their slots and their names behind.
#[test]
fn slots_are_given_back_while_another_job_lives_on() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: u32| {}).register()?;
    let _stays = task.schedule(0).delay(HOUR).wait_blocking()?;
    for round in 0..3 {
        let mut jobs = Vec::new();
        for n in 0..10_000 {
            let id = format!("{round}-{n}");
            jobs.push(task.schedule(n).id(id).delay(HOUR).wait_blocking()?);
        }
        for job in &jobs {
            job.cancel().wait_blocking()?;
        }
        // It is the timer that gives them back.
        sim.run_until_stalled();
        // The id of the next one says which slot it has.
        let next = task.schedule(0).delay(HOUR).wait_blocking()?;
        assert!(next.id().to_string().ends_with("00000001"), "{}", next.id());
        next.cancel().wait_blocking()?;
    }
    Ok(())
}

/// Every replacement left its expression behind, one in the other, and the drop
/// of thousands went too deep for the stack.
#[test]
fn forty_thousand_replacements_by_two_expressions_keep_two() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let crons = ["@daily", "@hourly"];
    let mut job = task.schedule(()).id("x").cron(crons[0]).wait_blocking()?;
    for n in 1..40_000 {
        job = task
            .schedule(())
            .id("x")
            .replace()
            .cron(crons[n % 2])
            .wait_blocking()?;
    }
    assert_eq!(job.cron_expression(), Some("@hourly"));
    Ok(())
}

/// A drainer that was run at once took a job, and no other drainer was spawned
/// after the eighth: the rest waited for the first eight jobs.
#[test]
fn an_executor_that_hands_over_at_once_runs_any_number_that_block() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(|job: JobFuture| {
            let (sender, started) = std::sync::mpsc::channel();
            thread::spawn(move || {
                let mut job = pin!(job);
                let _ = sender.send(());
                smol::block_on(&mut job)
            });
            let _ = started.recv();
            // So that the drainer has taken its job by now, most of the time.
            thread::yield_now();
        })
        .build()?;
    let barrier = Arc::new(std::sync::Barrier::new(40));
    let task = app
        .task("t", {
            let barrier = barrier.clone();
            move || {
                let barrier = barrier.clone();
                async move {
                    barrier.wait();
                }
            }
        })
        .register()?;
    app.start().wait_blocking()?;
    let mut jobs = Vec::new();
    for _ in 0..40 {
        jobs.push(task.schedule(()).delay(SECOND).wait_blocking()?);
    }
    clock.advance(SECOND);
    for job in jobs {
        assert_ends(&job, JobStatus::Success);
    }
    Ok(())
}

/// A wall clock that jumped ahead and was set right again left cron jobs dead
/// for as long as the jump was.
#[test]
fn a_clock_that_jumps_ahead_and_is_set_right_stops_no_job() -> Result {
    for misfire in [
        Misfire::Once,
        Misfire::Skip,
        Misfire::All(1),
        Misfire::Grace(HOUR),
    ] {
        let clock = ManualClock::at(datetime!(2026-11-23 0:30 UTC));
        let mut sim = Simulation::with(0, clock, |b| b)?;
        let task = sim.app().task("t", || async {}).register()?;
        let job = task
            .schedule(())
            .misfire(misfire)
            .cron("@hourly")
            .wait_blocking()?;
        sim.set_wall(datetime!(2036-11-23 0:30 UTC));
        let after_jump = job.last_run().map_or(0, |run| run.number);
        sim.advance(MINUTE);
        sim.set_wall(datetime!(2026-11-23 1:31 UTC));
        assert_eq!(job.exec_at(), datetime!(2026-11-23 2:00 UTC), "{misfire:?}");
        sim.advance(HOUR * 3);
        assert_eq!(
            job.last_run().unwrap().number,
            after_jump + 3,
            "{misfire:?}"
        );
    }
    Ok(())
}

/// A replacement by the same expression, between a time and the jitter after it,
/// left that time out; and one after the clock went back ran a time twice.
#[test]
fn a_replacement_leaves_no_time_out_and_runs_none_twice() -> Result {
    let clock = ManualClock::at(datetime!(2026-11-23 0:30 UTC));
    let mut sim = Simulation::with(3, clock, |b| b)?;
    let nominal = Log::new();
    let task = sim
        .app()
        .task("t", {
            let nominal = nominal.clone();
            move |cx: jobber::JobContext| {
                nominal.add(cx.nominal_time());
                async {}
            }
        })
        .register()?;
    let schedule = || task.schedule(()).id("x").replace().jitter(MINUTE * 20);
    let _ = schedule().cron("@hourly").wait_blocking()?;
    for _ in 0..5 {
        sim.advance(MINUTE * 30 + SECOND);
        let _ = schedule().cron("@hourly").wait_blocking()?;
        sim.advance(MINUTE * 30 - SECOND);
    }
    let hours: Vec<u8> = nominal.entries().iter().map(|time| time.hour()).collect();
    assert_eq!(hours, [1, 2, 3, 4, 5]);
    sim.set_wall(datetime!(2026-11-23 4:55 UTC));
    let _ = schedule().jitter(SECOND).cron("@hourly").wait_blocking()?;
    sim.advance(HOUR * 2);
    let hours: Vec<u8> = nominal.entries().iter().map(|time| time.hour()).collect();
    assert_eq!(hours, [1, 2, 3, 4, 5, 6]);
    Ok(())
}

/// The last events were left behind when another thread was sending as the app
/// stopped.
#[test]
fn the_last_events_are_sent_by_whoever_is_sending() -> Result {
    /// Holds the sender until it is told.
    struct Holds(Mutex<std::sync::mpsc::Receiver<()>>, AtomicUsize);
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {
            if self.1.fetch_add(1, Ordering::SeqCst) == 0 {
                let _ = self.0.lock().unwrap().recv();
            }
        }
    }
    let app = Jobber::builder().build()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let (go_on, held) = std::sync::mpsc::channel();
    let holds = Arc::new(Holds(Mutex::new(held), AtomicUsize::new(0)));
    let waker = Waker::from(holds.clone());
    let mut events = app.events();
    assert!(
        pin!(&mut events)
            .poll_next(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let sends = thread::spawn({
        let task = task.clone();
        move || drop(task.schedule(()).delay(HOUR).wait_blocking())
    });
    while holds.1.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    app.shutdown(HOUR).wait_blocking();
    go_on.send(())?;
    sends.join().unwrap();
    let kinds = events.into_iter().filter_map(|event| match event {
        Event::Job(event) => Some(event.kind),
        _ => None,
    });
    assert_eq!(kinds.last(), Some(JobEventKind::Cancelled));
    Ok(())
}

/// A time that is due at the very nanosecond at which others were missed is not
/// missed.
#[test]
fn what_is_due_just_now_is_not_skipped() -> Result {
    let mut sim = Simulation::new();
    let (clock, log) = (sim.clock(), Log::new());
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move |cx: jobber::JobContext| {
                log.add(clock.elapsed().as_secs() / 60);
                clock.sleep(if cx.run_number() == 1 {
                    MINUTE * 3
                } else {
                    Duration::ZERO
                })
            }
        })
        .register()?;
    let _ = task
        .schedule(())
        .misfire(Misfire::Skip)
        .cron("* * * * *")
        .wait_blocking()?;
    sim.advance(MINUTE * 6);
    assert_eq!(log.entries(), [1, 4, 5, 6]);
    Ok(())
}

/// The last few of many that were due at once overtook those before them.
#[test]
fn the_last_batch_of_many_is_not_the_first_to_run() -> Result {
    for count in [256, 257, 258, 260, 261, 513] {
        let mut sim = Simulation::new();
        let log = Log::new();
        let task = sim
            .app()
            .task("t", {
                let log = log.clone();
                move |n: u32| {
                    log.add(n);
                    async {}
                }
            })
            .register()?;
        for n in 0..count {
            let _ = task.schedule(n).delay(SECOND).wait_blocking()?;
        }
        sim.advance(SECOND);
        assert_eq!(log.entries(), (0..count).collect::<Vec<_>>());
    }
    Ok(())
}

/// A run that waited for a retry when the job was replaced was never entered.
#[test]
fn a_run_whose_retry_is_given_up_for_a_replacement_counts_as_failed() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || Err::<(), _>("no"))
        .retry(Backoff::fixed(5, HOUR))
        .register()?;
    let schedule = || task.schedule(()).id("x").replace().every(MINUTE);
    let job = schedule().wait_blocking()?;
    sim.advance(MINUTE);
    let next = job.next_run();
    let _ = schedule().wait_blocking()?;
    let run = next.wait_blocking().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    Ok(())
}

/// A start date more than 292 years ago had no place on the monotonic clock, and
/// the grid was laid anywhere.
#[test]
fn a_start_date_of_long_ago_places_the_grid() -> Result {
    let clock = ManualClock::at(datetime!(2026-11-23 12:00 UTC));
    let sim = Simulation::with(0, clock, |b| b)?;
    let task = sim.app().task("t", || async {}).register()?;
    let start = datetime!(1700-01-01 0:00 UTC);
    let job = task
        .schedule(())
        .start_date(start)
        .every(HOUR * 24)
        .wait_blocking()?;
    assert_eq!(job.exec_at(), datetime!(2026-11-24 0:00 UTC));
    Ok(())
}

/// The timeout of an attempt that had ended was taken for the time that the job
/// waited for: replaced during its last run, it ran for that time once more.
#[test]
fn a_replacement_during_the_last_run_does_not_run_its_time_again() -> Result {
    let clock = ManualClock::at(datetime!(2026-11-23 0:30 UTC));
    let mut sim = Simulation::with(0, clock.clone(), |b| b)?;
    let nominal = Log::new();
    let task = sim
        .app()
        .task("t", {
            let nominal = nominal.clone();
            move |cx: jobber::JobContext| {
                nominal.add(cx.nominal_time().hour());
                clock.sleep(MINUTE)
            }
        })
        .timeout(MINUTE * 5)
        .register()?;
    let schedule = || task.schedule(()).id("x").replace();
    let _ = schedule().max_runs(1).cron("@hourly").wait_blocking()?;
    sim.advance(MINUTE * 30 + SECOND);
    let _ = schedule().max_runs(3).cron("@hourly").wait_blocking()?;
    sim.advance(HOUR * 4);
    assert_eq!(nominal.entries(), [1, 2, 3]);
    Ok(())
}

/// Runs its task wherever it is woken, as some hand-made executors do.
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

/// Those who wait were woken under event-listener's lock, and the channel's of the
/// events: one whose waker polls there and then came back for that lock, and the
/// timer's thread stood still for good.
#[test]
fn a_waker_may_poll_where_it_is_woken() -> Result {
    let (done, all_done) = mpsc::channel();
    thread::spawn(move || {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async {}).register().unwrap();
        let log = Log::new();

        let job = task.schedule(()).delay(SECOND).wait_blocking().unwrap();
        let seen = log.clone();
        Inline::start(async move {
            job.wait().await;
            seen.add("job");
        });
        let every = task.schedule(()).every(SECOND).wait_blocking().unwrap();
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
        let _ = every.cancel().wait_blocking();
        let app = sim.app().clone();
        Inline::start(async move {
            app.shutdown(SECOND).await;
        });
        let mut entries = log.take();
        entries.sort();
        let _ = done.send(entries);
    });
    let entries = all_done.recv_timeout(WATCHDOG)?;
    assert_eq!(entries, ["all", "events", "job", "run"]);
    Ok(())
}

/// Runs this on a thread of its own: a hang fails the test.
fn ends(test: impl FnOnce() + Send + 'static) -> Result {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    Ok(ended.recv_timeout(WATCHDOG)?)
}

/// A wait that had been notified and then ended, or was dropped, passed that on to the
/// next one: by a wake-up under event-listener's lock.
#[test]
fn a_wait_that_goes_away_wakes_nobody_under_a_lock() -> Result {
    for is_polled in [true, false] {
        ends(move || {
            let mut sim = Simulation::new();
            let task = sim.app().task("t", || async {}).register().unwrap();
            let job = task.schedule(()).every(SECOND).wait_blocking().unwrap();
            let mut first = Box::pin(job.next_run());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(first.as_mut().poll(&mut cx).is_pending());
            sim.advance(SECOND);
            let second = job.next_run();
            Inline::start(async move {
                second.await;
            });
            if is_polled {
                assert!(first.as_mut().poll(&mut cx).is_ready());
            }
            drop(first);
            sim.advance(SECOND);
        })?;
    }
    Ok(())
}

/// Those who wait for all jobs were woken under the lock of the job that the stop left
/// to the next process.
#[cfg(feature = "serde")]
#[test]
fn who_waits_for_all_may_look_at_a_job_that_is_left_to_another_process() -> Result {
    ends(|| {
        let storage = jobber::MemoryStorage::new();
        let sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage));
        let mut sim = sim.unwrap();
        let task = sim.app().task("t", async |_: u32| ()).durable();
        let task = task.register().unwrap();
        let job = task.schedule(1).delay(HOUR).wait_blocking().unwrap();
        let app = sim.app().clone();
        Inline::start(async move {
            app.wait_all().await;
            let _ = job.exec_at();
        });
        sim.shutdown(SECOND);
    })
}

/// A waker may hold the wait that it wakes, and so be dropped where it is called. When
/// its drop panicked, those behind it were not woken, and the timer's thread ended.
#[test]
fn a_waker_whose_drop_panics_hurts_nobody() -> Result {
    struct Holds {
        wait: Mutex<Option<Wait>>,
        _bomb: Bomb,
    }
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {
            drop(self.wait.lock().unwrap().take());
        }
    }
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let slow = app.task("slow", std::future::pending::<()>).timeout(SECOND);
    let slow = slow.register()?;
    let quick = app.task("quick", || async {}).register()?;
    app.start().wait_blocking()?;
    let mut events = app.events();
    let job = slow.schedule(()).push().wait_blocking()?;
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
        let polled = pin!(wait).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    drop((holds, waker));

    let later = quick.schedule(()).delay(2 * SECOND).wait_blocking()?;
    clock.advance(SECOND);
    assert_ends(&job, JobStatus::Timeout);
    clock.advance(SECOND);
    assert_ends(&later, JobStatus::Success);
    Ok(())
}

/// A recurring job that was replaced during its run, with another start date, starts
/// over when that run ends. Whoever waited for its next run was given `None` then,
/// which says that the job has ended; and it went on.
#[test]
fn a_wait_for_the_next_run_goes_on_when_the_job_starts_over() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let slow = sim.app().task("slow", move || clock.sleep(SECOND * 2));
    let slow = slow.register()?;
    let job = slow.schedule(()).id("x").every(MINUTE).wait_blocking()?;
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Running);
    let start = sim.clock().wall() + 3 * MINUTE;
    let again = slow.schedule(()).id("x").replace().start_date(start);
    let _ = again.every(MINUTE).wait_blocking()?;

    let mut next = pin!(job.next_run());
    let mut cx = Context::from_waker(Waker::noop());
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Scheduled, "that run has ended");
    assert!(next.as_mut().poll(&mut cx).is_pending());
    sim.advance(2 * MINUTE + 2 * SECOND);
    let run = next
        .poll(&mut cx)
        .map(|run| run.map(|run| run.nominal_time));
    assert_eq!(run, Poll::Ready(Some(start)));
    Ok(())
}

/// An app stopped while its timer handed over a rush, and so the jobs were the last that
/// had the functions. The job was let go of where a panic is contained; its task was not,
/// for a clone of that was held on the way. The timer dropped the functions by itself, and
/// two of them that panicked when they were dropped ended the process.
#[test]
fn functions_that_panic_when_the_timer_lets_go_of_them_do_so_one_by_one() -> Result {
    struct Held(mpsc::Sender<()>);
    impl Drop for Held {
        fn drop(&mut self) {
            let _ = self.0.send(());
            panic!("it was dropped");
        }
    }
    let spawns = AtomicUsize::new(0);
    let stops: Arc<Mutex<Option<Jobber>>> = Arc::default();
    let stopped = stops.clone();
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .executor(
            move |_: JobFuture| match spawns.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("it takes jobs one by one"),
                // With the first job it has the app stopped.
                1 => {
                    let app = stopped.lock().unwrap().take().unwrap();
                    let stop = futures_lite::future::poll_once(app.shutdown(Duration::ZERO));
                    let _ = futures_lite::future::block_on(stop);
                }
                _ => {}
            },
        )
        .clock(clock.clone())
        .build()?;
    app.start().wait_blocking()?;
    let (sender, drops) = mpsc::channel();
    for name in ["first", "second", "third"] {
        let held = Held(sender.clone());
        let task = app.task(name, move || {
            let _ = &held;
            async {}
        });
        let task = task.register()?;
        for _ in 0..2 {
            let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
        }
    }
    *stops.lock().unwrap() = Some(app.clone());
    clock.advance(SECOND);
    for _ in 0..3 {
        drops.recv_timeout(WATCHDOG)?;
    }
    app.shutdown(Duration::ZERO).wait_blocking();
    Ok(())
}

#[test]
fn a_waker_may_look_at_its_job_where_it_is_woken() -> Result {
    /// Looks at a job when it is woken.
    struct Looks(Job<()>, Log<JobStatus>);
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            let _ = (self.0.result(), self.0.exec_at(), self.0.last_run());
            self.1.add(self.0.status());
        }
    }
    ends(|| {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", async || Err::<(), _>("no"));
        let task = task.retry(Backoff::fixed(1, HOUR)).register().unwrap();
        let plain = sim.app().task("plain", async || {}).register().unwrap();
        let log = Log::new();
        let look = |job: &Job<()>| Waker::from(Arc::new(Looks(job.clone(), log.clone())));
        // It is done; every time has passed; it is replaced, and its retry given up.
        let done = plain.schedule(()).delay(SECOND).wait_blocking().unwrap();
        let schedule = plain.schedule(()).misfire(Misfire::Skip);
        let passed = schedule.cron("0 0 1 1 1 * 2000").wait_blocking().unwrap();
        let replaced = task
            .schedule(())
            .id("x")
            .every(SECOND)
            .wait_blocking()
            .unwrap();
        let mut waits = [
            pin!(done.wait().into_future()),
            pin!(passed.wait().into_future()),
        ];
        for (wait, job) in waits.iter_mut().zip([&done, &passed]) {
            let waker = look(job);
            assert!(
                wait.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        let mut run = pin!(replaced.next_run().into_future());
        let waker = look(&replaced);
        assert!(
            run.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        sim.advance(SECOND);
        // A retry is left, and wakes, too.
        assert_eq!(log.take(), [JobStatus::Success, JobStatus::Scheduled]);
        assert!(
            run.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        let again = task.schedule(()).id("x").replace();
        let _ = again.every(MINUTE).wait_blocking().unwrap();
        assert_eq!(log.take(), [JobStatus::Scheduled]);
        sim.set_wall(datetime!(2000-01-01 1:30 UTC));
        assert_eq!(log.take(), [JobStatus::Cancelled]);
    })
}

/// When a replacement can't be stored, the store is told once more of the job as it
/// was. If that ran just then, its run was among those that had been run, and another
/// process did not make it again.
#[cfg(feature = "serde")]
#[test]
fn a_run_during_which_a_replacement_fails_is_made_again_after_a_crash() -> Result {
    use jobber::testing::{Fault, FaultyStorage, Operation};

    let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
    let fails = Arc::new(AtomicBool::new(false));
    let start = |fails: Arc<AtomicBool>| {
        let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
            Operation::Commit(_) if fails.swap(false, Ordering::SeqCst) => Fault::Fail,
            _ => Fault::None,
        });
        Simulation::with(0, clock.clone(), |app| app.storage(storage))
    };
    let mut sim = start(fails.clone())?;
    let task = sim.app().task("t", async |cx: jobber::JobContext| {
        if cx.run_number() == 2 {
            std::future::pending::<()>().await;
        }
    });
    let task = task.durable().register()?;
    let _ = task
        .schedule(())
        .id("x")
        .cron("* * * * *")
        .wait_blocking()?;
    // The clock is set past the times of two runs, and past others after each.
    let wall = clock.wall();
    sim.set_wall(wall + Duration::from_secs(150));
    sim.set_wall(wall + Duration::from_secs(450));
    fails.store(true, Ordering::SeqCst);
    let replaced = task.schedule(()).id("x").replace().push().wait_blocking();
    assert!(replaced.is_err());
    sim.crash();

    let mut sim = start(fails)?;
    let nominal = Log::new();
    let log = nominal.clone();
    let task = sim.app().task("t", move |cx: jobber::JobContext| {
        log.add(cx.nominal_time());
        std::future::ready(())
    });
    let _ = task.durable().register()?;
    sim.run_until_stalled();
    assert_eq!(nominal.entries(), [datetime!(2000-01-01 0:03 UTC)]);
    Ok(())
}

/// A commit that the store has made and called a failure had the last progress of a
/// job and its replacement in it. The progress was told once more, alone, and so
/// stood in the record of the replacement: a crash left a job that nobody could read.
#[cfg(feature = "serde")]
#[test]
fn what_a_torn_replacement_leaves_can_be_read() -> Result {
    use jobber::testing::{Fault, FaultyStorage, Operation};

    let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
    let faults = Arc::new(Mutex::new(Vec::new()));
    let start = || {
        let faults = faults.clone();
        let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
            Operation::Commit(_) => faults.lock().unwrap().pop().unwrap_or(Fault::None),
            _ => Fault::None,
        });
        let sim = Simulation::with(0, clock.clone(), |app| app.storage(storage))?;
        let task = sim.app().task("t", async |_: u32| Err::<(), _>("no"));
        let task = task.retry(Backoff::fixed(3, MINUTE)).durable().register()?;
        Ok::<_, Box<dyn Error>>((sim, task))
    };
    let (mut sim, task) = start()?;
    let _ = task.schedule(1).id("x").push().wait_blocking()?;
    // The end of the first attempt is not stored; the next commit is torn.
    let planned = [Fault::Fail, Fault::None, Fault::Tear, Fault::Fail];
    faults.lock().unwrap().extend(planned);
    sim.run_until_stalled();
    let again = task.schedule(2).id("x").replace();
    assert!(again.cron("* * * * *").wait_blocking().is_err());
    sim.crash();

    faults.lock().unwrap().clear();
    let (sim, task) = start()?;
    assert!(sim.app().unresolved().is_empty());
    assert!(task.job("x").is_some());
    Ok(())
}

/// What a store has of an interval's times is in the wall time of when it was foreseen.
/// The wall clock was set while a retry was waited for; after a restart the next time
/// was taken for one that had been run, and missed times were not made up for.
#[cfg(feature = "serde")]
#[test]
fn an_interval_makes_up_for_missed_times_after_the_clock_was_set_and_a_crash() -> Result {
    let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
    let times = Log::new();
    let start = || {
        let sim = Simulation::with(0, clock.clone(), |app| app.storage(disk.clone()))?;
        let log = times.clone();
        let task = sim.app().task("t", move |cx: jobber::JobContext| {
            log.add((cx.run_number(), cx.nominal_time()));
            std::future::ready(if cx.attempt() < 3 {
                Err("not yet")
            } else {
                Ok(())
            })
        });
        let backoff = Backoff::fixed(2, SECOND * 5);
        let task = task.retry(backoff).durable().register()?;
        Ok::<_, Box<dyn Error>>((sim, task))
    };
    let (mut sim, task) = start()?;
    let schedule = task.schedule(()).id("x").misfire(Misfire::All(1));
    let _ = schedule.every(SECOND * 2).wait_blocking()?;
    // Runs last ten seconds: for 2 s, then for 4 s, and with that enough is made up
    // for: the third is for 22 s.
    sim.advance(SECOND * 23);
    let third = times.entries().pop();
    assert_eq!(third, Some((3, datetime!(2000-01-01 0:00:22 UTC))));
    sim.set_wall(clock.wall() + SECOND * 2);
    sim.advance(SECOND * 5);
    sim.crash();

    let (mut sim, _) = start()?;
    sim.advance(SECOND * 10);
    let fourth = times.entries().into_iter().find(|(run, _)| *run == 4);
    assert_eq!(fourth, Some((4, datetime!(2000-01-01 0:00:24 UTC))));
    Ok(())
}

/// When a replacement may have been torn, the store is told of the whole job once more.
/// One of `at` that ran just then was a delay from then on: the next process did not
/// see that the wall clock was set back before it.
#[cfg(feature = "serde")]
#[test]
fn an_at_job_that_is_told_again_while_it_runs_goes_by_the_wall_clock_as_before() -> Result {
    use jobber::testing::{Fault, FaultyStorage, Operation};

    let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
    let tears = Arc::new(AtomicBool::new(false));
    let start = || {
        let tears = tears.clone();
        let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
            Operation::Commit(_) if tears.swap(false, Ordering::SeqCst) => Fault::Tear,
            _ => Fault::None,
        });
        let sim = Simulation::with(0, clock.clone(), |app| app.storage(storage))?;
        let task = sim.app().task("t", std::future::pending::<()>);
        let task = task.timeout(HOUR).durable().register()?;
        Ok::<_, Box<dyn Error>>((sim, task))
    };
    let (mut sim, task) = start()?;
    let noon = datetime!(2000-01-01 12:00 UTC);
    let _ = task.schedule(()).id("x").at(noon).wait_blocking()?;
    sim.set_wall(noon);
    tears.store(true, Ordering::SeqCst);
    let again = task.schedule(()).id("x").replace();
    assert!(again.every(HOUR).wait_blocking().is_err());
    sim.crash();

    clock.set_wall(noon - HOUR);
    let (mut sim, task) = start()?;
    let job = task.job("x").unwrap();
    sim.advance(MINUTE * 59);
    assert_eq!(job.status(), JobStatus::Scheduled);
    sim.set_wall(noon);
    assert_eq!(job.status(), JobStatus::Running);
    Ok(())
}

/// When a replacement may have been torn, the store is told of the whole job once more.
/// If an attempt of an `at_most_once` task ran just then, it was told as if that had
/// not begun, and after a crash the attempt was made again.
#[cfg(feature = "serde")]
#[test]
fn an_attempt_at_most_once_during_which_a_replacement_fails_is_not_made_again() -> Result {
    use jobber::testing::{Fault, FaultyStorage, Operation};

    let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
    let fails = Arc::new(AtomicBool::new(false));
    let starts = Log::new();
    let start = || {
        let (fails, starts) = (fails.clone(), starts.clone());
        let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
            Operation::Commit(_) if fails.swap(false, Ordering::SeqCst) => Fault::Fail,
            _ => Fault::None,
        });
        let sim = Simulation::with(0, clock.clone(), |app| app.storage(storage))?;
        let task = sim.app().task("t", move |cx: jobber::JobContext| {
            starts.add(cx.nominal_time());
            std::future::pending::<()>()
        });
        let task = task.durable().at_most_once().register()?;
        Ok::<_, Box<dyn Error>>((sim, task))
    };
    let (mut sim, task) = start()?;
    let _ = task.schedule(()).id("x").push().wait_blocking()?;
    sim.advance(SECOND);
    fails.store(true, Ordering::SeqCst);
    let again = task.schedule(()).id("x").replace();
    assert!(again.delay(HOUR).wait_blocking().is_err());
    let started_at = disk.records()[0].progress.started_at;
    assert_eq!(started_at, Some(datetime!(2000-01-01 0:00 UTC)));
    sim.crash();

    let (mut sim, task) = start()?;
    sim.advance(SECOND);
    assert_eq!(starts.entries().len(), 1);
    assert!(task.job("x").is_none());
    Ok(())
}

/// A run that was on its way was kept as one that makes up for a missed time, whatever
/// the policy: after a crash, `Skip` and `Grace` ran what was an hour too late by then,
/// and `Once` ran twice for all that was missed.
#[cfg(feature = "serde")]
#[test]
fn a_run_that_a_crash_cut_short_is_missed_or_not_as_its_policy_says() -> Result {
    // Whether the first run ends in time for the second, and what is run after an hour.
    let (in_time, late) = (SECOND * 60, SECOND * 65);
    let (cut, last, next) = (time!(0:02), time!(1:02), time!(1:03));
    let cases: [(Misfire, Duration, &[Time]); 8] = [
        (Misfire::Grace(SECOND * 12), late, &[last, next]),
        (Misfire::Grace(SECOND * 12), in_time, &[last, next]),
        (Misfire::Grace(HOUR * 2), late, &[cut, time!(0:03)]),
        (Misfire::Skip, in_time, &[next]),
        (Misfire::All(0), in_time, &[next]),
        (Misfire::All(1), in_time, &[cut, next]),
        (Misfire::All(1), late, &[cut, next]),
        (Misfire::Once, late, &[cut, next]),
    ];
    for (misfire, takes, expected) in cases {
        let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
        let starts = Log::new();
        let start = |takes| {
            let sim = Simulation::with(0, clock.clone(), |app| app.storage(disk.clone()))?;
            let (log, clock) = (starts.clone(), clock.clone());
            let task = sim.app().task("t", move |cx: jobber::JobContext| {
                log.add(cx.nominal_time().time());
                clock.sleep(takes)
            });
            let task = task.durable().register()?;
            Ok::<_, Box<dyn Error>>((sim, task))
        };
        let (mut sim, task) = start(takes)?;
        let schedule = task.schedule(()).id("x").misfire(misfire);
        let _ = schedule.every(MINUTE).wait_blocking()?;
        sim.advance(MINUTE * 2 + SECOND * 10);
        assert_eq!(starts.take(), [time!(0:01), cut], "{misfire:?} {takes:?}");
        sim.crash();
        clock.advance(HOUR);
        let (mut sim, _) = start(Duration::ZERO)?;
        sim.advance(MINUTE);
        let mut run = starts.take();
        run.truncate(2);
        assert_eq!(run, expected, "{misfire:?} {takes:?}");
    }
    Ok(())
}

/// That a run makes up for a missed time, and is counted, was forgotten when the timer
/// came to it, and not when it began. Its start was taken back, and the next process
/// counted it once more, for which there was no room: it was lost.
#[cfg(feature = "serde")]
#[test]
fn a_run_that_makes_up_for_a_missed_time_is_not_lost_when_its_start_is_taken_back() -> Result {
    use jobber::testing::{Fault, FaultyStorage, Operation};

    for by_shutdown in [true, false] {
        let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
        let fails = Arc::new(AtomicBool::new(false));
        let starts = Log::new();
        let start = || {
            let fails = fails.clone();
            let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
                Operation::Commit(_) if fails.load(Ordering::SeqCst) => Fault::Fail,
                _ => Fault::None,
            });
            let sim = Simulation::with(0, clock.clone(), |app| app.storage(storage))?;
            let (log, clock) = (starts.clone(), clock.clone());
            let task = sim.app().task("t", move |cx: jobber::JobContext| {
                log.add((cx.run_number(), cx.nominal_time().time()));
                let takes = [Duration::ZERO, SECOND * 150][usize::from(cx.run_number() == 1)];
                clock.sleep(takes)
            });
            let task = task.durable().at_most_once().register()?;
            Ok::<_, Box<dyn Error>>((sim, task))
        };
        let (mut sim, task) = start()?;
        let schedule = task.schedule(()).id("x").misfire(Misfire::All(1));
        let _ = schedule.every(MINUTE).wait_blocking()?;
        // The first run ends at 0:03:30, and the second, for 0:02, can't be marked.
        sim.advance(MINUTE * 3 + SECOND * 20);
        fails.store(true, Ordering::SeqCst);
        sim.advance(SECOND * 10);
        assert_eq!(starts.take(), [(1, time!(0:01))]);
        if by_shutdown {
            fails.store(false, Ordering::SeqCst);
            let _ = sim.shutdown(Duration::ZERO);
        } else {
            // A replacement takes it back, too, and fails; then the store is told.
            let again = task.schedule(()).id("x").replace();
            assert!(again.delay(HOUR).wait_blocking().is_err());
        }
        sim.crash();
        fails.store(false, Ordering::SeqCst);
        clock.advance(SECOND * 5);
        let (mut sim, _) = start()?;
        sim.advance(SECOND);
        assert_eq!(starts.take(), [(2, time!(0:02))], "{by_shutdown}");
    }
    Ok(())
}

/// When a replacement may have been torn, the store is told of the whole job once more.
/// It was told of a run at most once, which is not made again, that it makes up for a
/// missed time: after a crash, the next run was taken for that, and run an hour late.
#[cfg(feature = "serde")]
#[test]
fn what_follows_a_run_that_is_not_made_again_does_not_make_up_in_its_place() -> Result {
    use jobber::testing::{Fault, FaultyStorage, Operation};

    // The run of the second is one that makes up for a missed time.
    for (limit, missed) in [(0, Duration::ZERO), (1, SECOND * 30)] {
        let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
        let tears = Arc::new(AtomicBool::new(false));
        let starts = Log::new();
        let start = || {
            let (tears, starts) = (tears.clone(), starts.clone());
            let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
                Operation::Commit(_) if tears.swap(false, Ordering::SeqCst) => Fault::Tear,
                _ => Fault::None,
            });
            let sim = Simulation::with(0, clock.clone(), |app| app.storage(storage))?;
            let task = sim.app().task("t", move |cx: jobber::JobContext| {
                starts.add((cx.run_number(), cx.nominal_time().time()));
                std::future::pending::<()>()
            });
            let task = task.durable().at_most_once().register()?;
            Ok::<_, Box<dyn Error>>((sim, task))
        };
        let counted = || {
            let progress = disk.records()[0].progress.recurring.clone().unwrap();
            (progress.runs, progress.made_up, progress.makes_up)
        };
        let (mut sim, task) = start()?;
        let schedule = task.schedule(()).id("x").misfire(Misfire::All(limit));
        let _ = schedule.every(MINUTE).wait_blocking()?;
        clock.advance(MINUTE + missed);
        sim.run_until_stalled();
        assert_eq!(starts.take(), [(1, time!(0:01))]);
        assert_eq!(counted(), (0, limit, false));
        tears.store(true, Ordering::SeqCst);
        let again = task.schedule(()).id("x").replace();
        assert!(again.delay(HOUR).wait_blocking().is_err());
        sim.advance(SECOND);
        assert_eq!(counted(), (0, limit, false));
        sim.crash();

        let (mut sim, _) = start()?;
        sim.advance(SECOND);
        assert_eq!(counted(), (1, 0, false));
        sim.crash();
        // The second run is missed, and counted if that may be.
        clock.advance(HOUR);
        let (mut sim, _) = start()?;
        sim.advance(SECOND);
        assert_eq!(counted(), (1, limit, false));
        assert_eq!(starts.take().len(), limit as usize);
    }
    Ok(())
}

/// What is not made again was entered as a run that had started when the next process
/// did, though the store has when that was.
#[cfg(feature = "serde")]
#[test]
fn a_run_that_is_not_made_again_is_shown_with_the_time_at_which_it_started() -> Result {
    let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
    let start = || {
        let sim = Simulation::with(0, clock.clone(), |app| app.storage(disk.clone()))?;
        let task = sim.app().task("t", std::future::pending::<()>);
        let task = task.durable().at_most_once().register()?;
        Ok::<_, Box<dyn Error>>((sim, task))
    };
    let (mut sim, task) = start()?;
    let job = task.schedule(()).id("x").every(MINUTE).wait_blocking()?;
    // The timer is a little late.
    clock.advance(MINUTE + SECOND / 2);
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Running);
    sim.crash();

    clock.advance(HOUR);
    let (mut sim, task) = start()?;
    sim.run_until_stalled();
    let run = task.job("x").unwrap().last_run().unwrap();
    assert_eq!(run.nominal_time, datetime!(2000-01-01 0:01 UTC));
    assert_eq!(run.started_at, datetime!(2000-01-01 0:01:00.5 UTC));
    assert_eq!(run.finished_at, datetime!(2000-01-01 1:01:00.5 UTC));
    Ok(())
}

/// The last time that a job has run is, until it has, the time at which it was
/// scheduled. A replacement took it for a run: when the wall clock had gone back, it
/// left out times that had never been run, or went on waiting for a later one.
#[test]
fn a_replacement_after_a_step_back_leaves_out_only_what_was_run() -> Result {
    let minutes = |minutes: u32| datetime!(2000-01-01 0:00 UTC) + MINUTE * minutes;
    let clock = ManualClock::at(minutes(10) + SECOND * 30);
    let mut sim = Simulation::with(0, clock, |app| app)?;
    let task = sim.app().task("t", || async {}).register()?;
    let replace = |cron: &str| {
        let again = task.schedule(()).id("x").replace();
        again.misfire(Misfire::Skip).cron(cron).wait_blocking()
    };
    let job = task.schedule(()).id("x").cron("* * * * *");
    let job = job.wait_blocking()?;
    assert_eq!(job.exec_at(), minutes(11));
    for (back_to, cron, due) in [(8, "* * * * *", 9), (5, "*/2 * * * *", 6)] {
        sim.set_wall(minutes(back_to) + SECOND * 30);
        let _ = replace(cron)?;
        assert_eq!(job.exec_at(), minutes(due), "{cron}");
    }
    // An interval has no times of the wall clock, though it has runs.
    let again = task.schedule(()).id("x").replace();
    let _ = again.every(MINUTE).wait_blocking()?;
    sim.advance(MINUTE * 3);
    assert_eq!(job.last_run().unwrap().number, 3);
    let _ = replace("* * * * *")?;
    sim.set_wall(minutes(4) + SECOND * 30);
    let _ = replace("*/5 * * * *")?;
    assert_eq!(job.exec_at(), minutes(5));
    // What has been run is not run again, but what was jumped over is.
    sim.advance(MINUTE);
    sim.set_wall(minutes(20) - SECOND);
    sim.advance(SECOND);
    assert_eq!(job.last_run().unwrap().nominal_time, minutes(20));
    sim.set_wall(minutes(4) + SECOND * 30);
    let _ = replace("*/4 * * * *")?;
    assert_eq!(job.exec_at(), minutes(8));
    let _ = replace("*/10 * * * *")?;
    assert_eq!(job.exec_at(), minutes(10));
    sim.advance(MINUTE * 6);
    assert_eq!(job.last_run().unwrap().nominal_time, minutes(10));
    assert_eq!(job.exec_at(), minutes(30));
    let _ = replace("*/4 * * * *")?;
    assert_eq!(job.exec_at(), minutes(12));
    Ok(())
}

/// The same while the process was down.
#[cfg(feature = "serde")]
#[test]
fn a_stored_job_that_never_ran_is_replaced_by_all_that_is_to_come() -> Result {
    let (disk, clock) = (jobber::MemoryStorage::new(), ManualClock::new());
    let start = || {
        let sim = Simulation::with(0, clock.clone(), |app| app.storage(disk.clone()))?;
        let task = sim.app().task("t", || async {}).durable().register()?;
        Ok::<_, Box<dyn Error>>((sim, task))
    };
    let midnight = datetime!(2000-01-01 0:00 UTC);
    clock.set_wall(midnight + SECOND * 30);
    let (sim, task) = start()?;
    let _ = task.schedule(()).id("x").cron("@hourly").wait_blocking()?;
    sim.crash();
    clock.set_wall(midnight - SECOND * 30);
    for cron in ["* * * * *", "@hourly", "*/15 * * * *"] {
        let (sim, task) = start()?;
        let again = task.schedule(()).id("x").replace();
        let job = again.cron(cron).wait_blocking()?;
        assert_eq!(job.exec_at(), midnight, "{cron}");
        sim.crash();
    }
    Ok(())
}

/// A job that runs can be given another trigger, which is to follow the run. When that
/// is due was told in the zone of the trigger before: a reader of the events saw the
/// right instant by the wrong clock.
#[test]
fn the_event_of_a_replacement_during_a_run_has_the_zone_of_the_replacement() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", std::future::pending::<()>).register()?;
    let first = time::macros::offset!(+9);
    let job = task
        .schedule(())
        .id("x")
        .zone(first)
        .push()
        .wait_blocking()?;
    sim.run_until_stalled();
    let mut events = sim.app().events();
    let next = time::macros::offset!(-5);
    let again = task.schedule(()).id("x").replace().zone(next);
    let _ = again.delay(HOUR).wait_blocking()?;
    let Some(Event::Job(event)) = events.try_next() else {
        panic!("nothing is said of it");
    };
    let JobEventKind::Scheduled { due } = event.kind else {
        panic!("it is said that {event}");
    };
    assert_eq!(due, datetime!(2000-01-01 1:00 UTC));
    assert_eq!(due.offset(), next);
    assert_eq!(job.exec_at().offset(), first, "it still runs by that");
    Ok(())
}

/// The times of a cron job count from when it was scheduled. If the clock was ahead just
/// then, and was set right before the job ever ran, it stood still for so long.
#[test]
fn a_cron_job_that_was_scheduled_by_a_clock_ahead_runs_once_that_is_set_right() -> Result {
    let clock = ManualClock::at(datetime!(2000-01-01 13:00:30 UTC));
    let mut sim = Simulation::with(0, clock, |app| app)?;
    let log = Log::new();
    let times = log.clone();
    let task = sim.app().task("t", move |cx: jobber::JobContext| {
        times.add(cx.nominal_time());
        std::future::ready(())
    });
    let task = task.register()?;
    let job = task.schedule(()).cron("* * * * *").wait_blocking()?;
    let noon = datetime!(2000-01-01 12:00 UTC);
    sim.set_wall(noon + SECOND * 30);
    assert_eq!(job.exec_at(), noon + MINUTE);
    sim.advance(MINUTE * 3);
    let run = [1, 2, 3].map(|minutes| noon + MINUTE * minutes);
    assert_eq!(log.entries(), run);
    // Those are not run again.
    sim.set_wall(noon);
    assert_eq!(job.exec_at(), noon + MINUTE * 4);
    Ok(())
}
