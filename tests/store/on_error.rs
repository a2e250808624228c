//! Functions of the program decide what follows a failed attempt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use crate::held_app::HeldApp;
use crate::support::{
    Log, MINUTE, Machine, Result, SECOND, WATCHDOG, hand_polled_app, poll, started_app,
};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, BoxError, JobContext, JobError, JobFuture, JobStatus, NoRetry, OnError, Outcome,
    Overlap, RetryAfter,
};

/// Always fails.
async fn fails() -> Result<u32, &'static str> {
    Err("no")
}

/// A function that logs its name, and decides.
fn says(
    log: &Log<&'static str>,
    name: &'static str,
    decision: OnError,
) -> impl Fn(&JobError, &JobContext) -> OnError + Send + Sync + use<> {
    let log = log.clone();
    move |_, _| {
        log.add(name);
        decision
    }
}

#[test]
fn the_functions_are_called_from_the_inside_to_the_outside_until_one_decides() -> Result {
    let log = Log::new();
    let of_app = says(&log, "app", OnError::Pass);
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.on_error(of_app))?;
    let outer = sim
        .app()
        .group("outer")
        .on_error(says(&log, "outer", OnError::Pass));
    let inner = outer
        .group("inner")
        .on_error(says(&log, "inner", OnError::Pass));
    let task = inner
        .task("t", fails)
        .on_error(says(&log, "task 1", OnError::Pass))
        .on_error(says(&log, "task 2", OnError::Pass));
    let job = task.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Failed);
    assert_eq!(log.take(), ["task 1", "task 2", "inner", "outer", "app"]);

    let decides = inner
        .task("decides", fails)
        .on_error(says(&log, "task", OnError::Fail));
    decides.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), ["task"]);
    Ok(())
}

#[test]
fn a_decision_stands_above_the_error_and_below_the_attempt_and_the_number_of_retries() -> Result {
    let mut sim = Simulation::new();
    let second = Some(SECOND);
    let after = |seconds| OnError::RetryAfter(seconds * SECOND);
    let cases: [(&str, OnError, Option<Duration>); 13] = [
        ("plain", OnError::Pass, Some(MINUTE)),
        ("plain", OnError::Retry, Some(MINUTE)),
        ("plain", after(1), second),
        ("plain", OnError::Fail, None),
        ("never", OnError::Pass, None),
        ("never", OnError::Retry, Some(MINUTE)),
        ("never", after(1), second),
        ("after", OnError::Pass, Some(5 * SECOND)),
        ("after", OnError::Retry, Some(MINUTE)),
        ("after", OnError::Fail, None),
        ("attempt never", after(1), None),
        ("attempt after", OnError::Fail, Some(7 * SECOND)),
        ("panics", after(1), second),
    ];
    for (number, (how, decision, retry)) in cases.into_iter().enumerate() {
        let body = move |cx: JobContext| async move {
            match how {
                "never" => Err(BoxError::from(NoRetry::new("no"))),
                "after" => Err(RetryAfter::new(5 * SECOND).into()),
                "attempt never" => {
                    cx.no_retry();
                    Err("no".into())
                }
                "attempt after" => {
                    cx.retry_after(7 * SECOND);
                    Err("no".into())
                }
                "panics" => panic!("on purpose"),
                _ => Result::<()>::Err("no".into()),
            }
        };
        let task = sim.app().task(format!("t{number}"), body);
        let task = task
            .retry(Backoff::fixed(1, MINUTE))
            .on_error(move |_, _| decision);
        let job = task.register()?.schedule(()).push().block_on()?;
        let start = job.exec_at();
        sim.run_until_stalled();
        let found = (!job.is_done()).then(|| job.exec_at() - start);
        let expected = retry.map(|retry| time::Duration::try_from(retry).unwrap());
        assert_eq!(found, expected, "{how}, {decision:?}");
        sim.advance(MINUTE);
        assert_eq!(
            job.status(),
            JobStatus::Failed,
            "{how}, {decision:?}: no second retry"
        );
    }
    let without = sim
        .app()
        .task("without", fails)
        .on_error(|_, _| OnError::Retry);
    let job = without.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(
        job.status(),
        JobStatus::Failed,
        "without a backoff there is no retry"
    );
    Ok(())
}

#[test]
fn a_function_that_panics_passes() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", fails)
        .retry(Backoff::fixed(1, MINUTE))
        .recover(|_, _| panic!("on purpose"))
        .on_error(|_, _| panic!("on purpose"))
        .on_error(|_, _| OnError::RetryAfter(SECOND));
    let job = task.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(!job.is_done());
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Failed);
    Ok(())
}

#[test]
fn a_recovered_attempt_has_succeeded_with_the_value_and_no_other_function_is_asked() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = sim
        .app()
        .task("t", async |n: u32| match n {
            0 => std::future::pending().await,
            1 => panic!("on purpose"),
            2 => Err(BoxError::from("no")),
            n => Ok(n),
        })
        .timeout(SECOND)
        .recover(|error, _| matches!(error, JobError::Panicked { .. }).then_some(100))
        .recover(|error, cx| match error {
            JobError::TimedOut { .. } => Some(200 + cx.attempt()),
            _ => None,
        })
        .on_error(says(&log, "on_error", OnError::Pass))
        .durable()
        .register()?;
    let mut jobs = Vec::new();
    for n in 0..4 {
        jobs.push(task.schedule(n).push().block_on()?);
    }
    sim.advance(SECOND);
    let statuses: Vec<_> = jobs.iter().map(|job| job.status()).collect();
    use JobStatus::{Failed, Success};
    assert_eq!(statuses, [Success, Success, Failed, Success]);
    assert_eq!(*jobs[0].result()?, 201);
    assert_eq!(*jobs[1].result()?, 100);
    assert_eq!(*jobs[3].result()?, 3);
    assert_eq!(log.take(), ["on_error"]);
    assert!(machine.records().is_empty());
    Ok(())
}

/// What the functions see of the attempt: the run, the attempt, the error.
#[test]
fn the_functions_see_the_attempt_and_what_comes_out_of_the_middleware() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let seen = log.clone();
    let task = sim
        .app()
        .task("t", async || {})
        .retry(Backoff::fixed(1, SECOND))
        .around(
            async |_, next: jobber::Next| match next.run().await.is_success() {
                true => Outcome::fail("the middleware says no"),
                false => unreachable!(),
            },
        )
        .on_error(move |error, cx| {
            let JobError::Failed(error) = error else {
                panic!();
            };
            let seen_of_cx = (cx.run_number(), cx.attempt(), cx.is_last_attempt());
            seen.add((cx.id().to_string(), seen_of_cx, error.to_string()));
            cx.set_local(cx.job());
            OnError::Pass
        });
    let task = task.register()?;
    let job = task
        .schedule(())
        .id("x")
        .first_now()
        .every(MINUTE)
        .block_on()?;
    sim.advance(MINUTE + SECOND);
    let said = |of_cx| ("x".to_string(), of_cx, "the middleware says no".to_string());
    let all = [(1, 1, false), (1, 2, true), (2, 1, false), (2, 2, true)];
    assert_eq!(log.take(), all.map(said));
    job.cancel().block_on()?;
    Ok(())
}

#[test]
fn a_run_that_is_cut_off_and_an_abort_are_no_failures_to_decide_about() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", std::future::pending::<()>);
    let task = task
        .on_error(says(&log, "asked", OnError::Retry))
        .register()?;
    let cut_off = task
        .schedule(())
        .overlap(Overlap::CancelRunning)
        .every(SECOND)
        .block_on()?;
    sim.advance(3 * SECOND);
    cut_off.abort().block_on()?;
    sim.run_until_stalled();
    assert!(log.take().is_empty());
    Ok(())
}

/// The timer thread runs no code of a user.
#[test]
fn the_functions_run_on_threads_of_the_executor_also_after_a_timeout() -> Result {
    let app = started_app()?;
    let log = Log::new();
    let (of_error, of_end) = (log.clone(), log.clone());
    let name = || {
        std::thread::current()
            .name()
            .unwrap_or_default()
            .to_string()
    };
    let task = app.blocking_task("blocking", |cx: JobContext| {
        cx.stop_token().stopped().block_on();
    });
    let blocking = task
        .timeout(Duration::from_millis(1))
        .recover(move |_, _| {
            of_error.add(name());
            None
        })
        .on_end(move |_| of_end.add(name()))
        .register()?;
    let job = blocking.schedule(()).push().block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Timeout);
    app.shutdown(Duration::from_secs(60)).block_on();
    let threads = log.take();
    assert_eq!(threads.len(), 2);
    for thread in threads {
        assert!(
            !["jobber-timer", "jobber-store"].contains(&&*thread),
            "{thread}"
        );
    }
    Ok(())
}

#[test]
fn a_timeout_ends_its_attempt_also_if_the_executor_drops_what_settles_it() -> Result {
    let clock = ManualClock::new();
    let (sender, spawned) = mpsc::channel();
    let sender = Mutex::new(sender);
    let drops = Arc::new(AtomicBool::new(false));
    let dropping = drops.clone();
    let app = jobber::Jobber::builder()
        .clock(clock.clone())
        .executor(move |job| match dropping.load(Ordering::SeqCst) {
            true => drop(job),
            false => sender.lock().unwrap().send(job).unwrap(),
        })
        .build()?;
    let log = Log::new();
    let task = app.task("t", std::future::pending::<()>).timeout(SECOND);
    let task = task
        .on_error(says(&log, "asked", OnError::Retry))
        .register()?;
    app.start().block_on()?;
    let job = task.schedule(()).push().block_on()?;
    let mut attempt = spawned.recv()?;
    assert!(crate::support::poll(&mut attempt).is_none());
    assert_eq!(job.status(), JobStatus::Running);
    drops.store(true, Ordering::SeqCst);
    clock.advance(SECOND);
    assert_eq!(job.wait_blocking(), JobStatus::Timeout);
    assert!(log.take().is_empty());
    app.shutdown(Duration::ZERO).block_on();
    Ok(())
}

#[test]
fn the_text_of_a_kept_failure_is_that_of_the_error_that_nobody_recovered() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = sim.app().task("t", fails).recover(|_, _| None);
    let task = task.on_error(|_, _| OnError::Fail).durable().register()?;
    task.schedule(()).id("x").push().block_on()?;
    sim.run_until_stalled();
    let failed = sim.app().failed().block_on()?;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].error(), "no");
    Ok(())
}

#[test]
fn an_end_is_shown_once_with_its_error_and_attempts() -> Result {
    let log = Log::new();
    let seen = log.clone();
    let mut sim = Simulation::with(0, ManualClock::new(), |app| {
        app.on_end(move |end| seen.add(end.to_string()))
    })?;
    let task = sim.app().task("t", async |n: u32| match n {
        0 => Ok(()),
        1 => panic!("on purpose"),
        2 => std::future::pending().await,
        _ => Err(BoxError::from("no")),
    });
    let task = task
        .timeout(SECOND)
        .retry(Backoff::fixed(2, SECOND))
        .register()?;
    task.schedule(0).id("plain").push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), ["t plain: SUCCESS after 1 attempts"]);
    task.schedule(1).id("panics").push().block_on()?;
    task.schedule(3).id("fails").push().block_on()?;
    sim.advance(3 * SECOND);
    assert_eq!(
        log.take(),
        [
            "t panics: FAILED after 3 attempts: the task panicked: on purpose",
            "t fails: FAILED after 3 attempts: no",
        ]
    );
    task.schedule(2).id("hangs").push().block_on()?;
    sim.advance(10 * SECOND);
    assert_eq!(
        log.take(),
        ["t hangs: TIMEOUT after 3 attempts: the task took longer than its timeout of 1s"]
    );
    let waits = task.schedule(0).id("waits").delay(MINUTE).block_on()?;
    waits.cancel().block_on()?;
    let runs = task.schedule(2).id("runs").push().block_on()?;
    sim.run_until_stalled();
    runs.abort().block_on()?;
    let expired = task
        .schedule(0)
        .id("expired")
        .expires(SECOND)
        .delay(SECOND)
        .block_on()?;
    sim.app().pause().block_on()?;
    sim.advance(MINUTE);
    sim.app().resume().block_on()?;
    sim.run_until_stalled();
    assert_eq!(expired.status(), JobStatus::Cancelled);
    assert_eq!(
        log.take(),
        [
            "t waits: CANCELLED",
            "t runs: CANCELLED after 1 attempts",
            "t expired: CANCELLED",
        ]
    );
    Ok(())
}

#[test]
fn each_level_sees_an_end_and_a_recurring_job_ends_once() -> Result {
    let log = Log::new();
    let add = |name: &'static str| {
        let log = log.clone();
        move |_: &jobber::EndOfJob| log.add(name)
    };
    let of_app = add("app");
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.on_end(of_app))?;
    let group = sim.app().group("g").on_end(add("group"));
    let task = group
        .task("t", async || {})
        .on_end(|_| panic!("on purpose"))
        .on_end(add("task"));
    let task = task.register()?;
    let job = task.schedule(()).max_runs(3).every(SECOND).block_on()?;
    sim.advance(2 * SECOND);
    assert!(log.take().is_empty());
    sim.advance(SECOND);
    assert_eq!(job.status(), JobStatus::Success);
    assert_eq!(log.take(), ["task", "group", "app"]);
    Ok(())
}

#[test]
fn the_end_of_a_stored_job_is_shown_when_the_store_has_it() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let seen = log.clone();
    let task = app.app.task("t", async || {}).durable();
    let task = task.on_end(move |end| seen.add(end.status)).register()?;
    let job = task.schedule(()).id("x").delay(MINUTE).block_on()?;
    app.store.hold();
    app.advance(MINUTE)?;
    assert_eq!(app.store.requested()?, ["remove x"]);
    assert!(log.take().is_empty());
    app.release()?;
    assert_eq!(job.status(), JobStatus::Success);
    app.advance(MINUTE)?;
    assert_eq!(log.take(), [JobStatus::Success]);
    Ok(())
}

#[test]
fn a_job_that_is_set_aside_and_one_that_a_crash_ended_are_shown_by_the_next_process() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let boot = || {
        let seen = log.clone();
        machine.boot_with(|app| app.on_end(move |end| seen.add(end.to_string())))
    };
    let register = |sim: &Simulation| -> Result<_> {
        let task = sim.app().task("often", std::future::pending::<()>);
        let often = task.durable().max_interruptions(1).register()?;
        let task = sim.app().task("once", std::future::pending::<()>);
        let once = task.durable().at_most_once().register()?;
        Ok((often, once))
    };
    let mut sim = boot();
    let (often, once) = register(&sim)?;
    often.schedule(()).id("a").push().block_on()?;
    once.schedule(()).id("b").push().block_on()?;
    sim.advance(SECOND);
    sim.crash();
    let mut sim = boot();
    register(&sim)?;
    sim.advance(SECOND);
    assert_eq!(log.take(), ["once b: FAILED"]);
    sim.crash();
    let mut sim = boot();
    register(&sim)?;
    sim.run_until_stalled();
    assert_eq!(log.take(), ["often a: set aside"]);
    sim.crash();
    Ok(())
}

#[test]
fn a_shutdown_waits_for_the_functions_that_see_the_ends() -> Result {
    let app = started_app()?;
    let log = Log::new();
    let seen = log.clone();
    let task = app
        .task("t", std::future::pending::<()>)
        .on_end(move |end| {
            // The shutdown has begun, and the next calls wait for this one's thread.
            std::thread::yield_now();
            seen.add(end.id.to_string());
        });
    let task = task.register()?;
    for n in 0..1_000 {
        task.schedule(())
            .id(n.to_string())
            .delay(MINUTE)
            .block_on()?;
    }
    app.shutdown(Duration::from_secs(60)).block_on();
    let mut ids = log.take();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1_000);
    Ok(())
}

/// An attempt that fails once `fails` is set. Its function of `on_error` waits for `go_on`.
struct Deciding {
    app: jobber::Jobber,
    clock: ManualClock,
    spawned: Receiver<JobFuture>,
    job: jobber::Job<()>,
    attempt: Option<JobFuture>,
    fails: Arc<AtomicBool>,
    /// What the function has seen. It waits after that.
    seen: Receiver<&'static str>,
    go_on: Sender<()>,
}

impl Deciding {
    fn new() -> Result<Self> {
        let (app, clock, spawned) = hand_polled_app()?;
        let fails = Arc::new(AtomicBool::new(false));
        let has_failed = fails.clone();
        let body = move || {
            let has_failed = has_failed.clone();
            std::future::poll_fn(move |_| match has_failed.load(Ordering::SeqCst) {
                true => Poll::Ready(Err(BoxError::from("no"))),
                false => Poll::Pending,
            })
        };
        let (sees, seen) = mpsc::channel();
        let (go_on, waits) = mpsc::channel();
        let waits = Mutex::new(waits);
        let task = app
            .task("t", body)
            .timeout(SECOND)
            .on_error(move |error, _| {
                let what = match error {
                    JobError::TimedOut { .. } => "timeout",
                    _ => "error",
                };
                let _ = sees.send(what);
                let _ = waits.lock().unwrap().recv_timeout(WATCHDOG);
                OnError::Pass
            });
        let job = task.register()?.schedule(()).push().block_on()?;
        let mut attempt = spawned.recv_timeout(WATCHDOG)?;
        assert!(poll(&mut attempt).is_none());
        Ok(Self {
            app,
            clock,
            spawned,
            job,
            attempt: Some(attempt),
            fails,
            seen,
            go_on,
        })
    }

    /// The timeout of the attempt, on its way to the executor.
    fn time_out(&self) -> Result<JobFuture> {
        self.clock.advance(SECOND);
        Ok(self.spawned.recv_timeout(WATCHDOG)?)
    }

    /// Both are over: `first` was seen, and nothing else.
    fn check(self, first: &str, status: JobStatus) {
        assert_eq!(self.job.wait_blocking(), status);
        assert_eq!(self.seen.try_recv().ok(), None, "after {first}");
        let attention = self.app.health().attention;
        assert!(attention.is_empty(), "{attention:?}");
        self.app.shutdown(Duration::ZERO).block_on();
    }
}

/// Regression: the functions were called twice for one attempt.
#[test]
fn a_timeout_that_passes_while_a_function_decides_changes_nothing() -> Result {
    let mut case = Deciding::new()?;
    case.fails.store(true, Ordering::SeqCst);
    let attempt = case.attempt.take();
    let decides = std::thread::spawn(move || attempt.and_then(poll).is_some());
    assert_eq!(case.seen.recv_timeout(WATCHDOG)?, "error");
    assert!(poll(case.time_out()?).is_some());
    assert_eq!(case.job.status(), JobStatus::Running);
    case.go_on.send(())?;
    assert!(decides.join().unwrap());
    case.check("error", JobStatus::Failed);
    Ok(())
}

#[test]
fn an_attempt_that_fails_while_a_function_decides_about_its_timeout_changes_nothing() -> Result {
    let mut case = Deciding::new()?;
    let late = case.time_out()?;
    let decides = std::thread::spawn(move || poll(late).is_some());
    assert_eq!(case.seen.recv_timeout(WATCHDOG)?, "timeout");
    case.fails.store(true, Ordering::SeqCst);
    assert!(case.attempt.take().and_then(poll).is_some());
    assert_eq!(case.job.status(), JobStatus::Running);
    case.go_on.send(())?;
    assert!(decides.join().unwrap());
    case.check("timeout", JobStatus::Timeout);
    Ok(())
}

/// A caller of `push` may hold locks that the function takes.
#[test]
fn an_attempt_that_the_executor_drops_in_spawn_is_not_shown() -> Result {
    let app = jobber::Jobber::builder()
        .executor(|job: JobFuture| drop(job))
        .build()?;
    let log = Log::new();
    let task = app
        .task("t", async || {})
        .on_error(says(&log, "asked", OnError::Pass));
    let task = task.register()?;
    app.start().block_on()?;
    let job = task.schedule(()).push().block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Failed);
    assert!(log.take().is_empty());
    Ok(())
}
