//! Middleware: functions that run around each attempt.

use std::future::pending;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::support::{
    DropCounter, Log, Result, SECOND, begin, hand_polled_app, manual_app, wait_until,
};
use futures_lite::future::yield_now;
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    AttemptEnded, Backoff, BoxError, JobContext, JobError, JobStatus, Limit, Next, NoRetry,
    OtherOutcome, Outcome, TypedNext,
};

/// A middleware that logs when the rest of the attempt begins and how it ends.
fn logs(
    log: &Log<String>,
    name: &'static str,
) -> impl Fn(JobContext, Next) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>>
+ Send
+ Sync
+ 'static
+ use<> {
    let log = log.clone();
    move |cx, next| {
        let log = log.clone();
        Box::pin(async move {
            log.add(format!("{name} begins {}", cx.attempt()));
            let outcome = next.run().await;
            let end = match outcome.error() {
                None => "success".to_string(),
                Some(JobError::Failed(error)) => error.to_string(),
                Some(JobError::Panicked { message }) => format!("panic: {message}"),
                Some(other) => panic!("{other:?}"),
            };
            log.add(format!("{name} sees {end}"));
            outcome
        })
    }
}

#[test]
fn it_runs_around_each_attempt_the_app_outermost_and_then_in_the_order_of_the_calls() -> Result {
    let log = Log::new();
    let (app, log_of_app) = (logs(&log, "app"), log.clone());
    let mut sim = Simulation::with(0, ManualClock::new(), |builder| builder.around(app))?;
    let task = sim.app().task("t", move |cx: JobContext| {
        log_of_app.add("task".to_string());
        async move {
            match cx.attempt() {
                1 => Err("no"),
                attempt => Ok(attempt),
            }
        }
    });
    let task = task
        .retry(Backoff::fixed(1, SECOND))
        .around(logs(&log, "first"))
        .around(logs(&log, "second"))
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.advance(SECOND);
    assert_eq!(*job.result()?, 2);
    let attempt = |number: u32, end: &str| {
        let begins = ["app", "first", "second"].map(|name| format!("{name} begins {number}"));
        let sees = ["second", "first", "app"].map(|name| format!("{name} sees {end}"));
        [&begins[..], &["task".to_string()], &sees].concat()
    };
    assert_eq!(
        log.entries(),
        [attempt(1, "no"), attempt(2, "success")].concat()
    );
    Ok(())
}

#[test]
fn a_failure_that_it_makes_stands_above_what_the_task_returned_and_its_marker_counts() -> Result {
    let mut sim = Simulation::new();
    let counter = DropCounter::default();
    let kept = counter.clone();
    let task = sim.app().task("t", move || {
        let value = kept.clone();
        async { Ok::<_, BoxError>(value) }
    });
    let task = task
        .retry(Backoff::fixed(3, SECOND))
        .around(|cx: JobContext, next: Next| async move {
            let outcome = next.run().await;
            assert!(outcome.is_success() && outcome.error().is_none());
            match cx.attempt() {
                1 => Outcome::fail("not yet"),
                _ => Outcome::fail(NoRetry::new("never")),
            }
        })
        .register()?;
    let alive = counter.alive();
    let job = task.schedule(()).push().block_on()?;
    sim.advance(SECOND * 10);
    assert_eq!(job.snapshot().attempt, 2);
    match job.result() {
        Err(JobError::Failed(error)) => assert!(error.is::<NoRetry>()),
        other => panic!("{other:?}"),
    }
    assert_eq!(counter.alive(), alive, "the values are dropped");
    Ok(())
}

#[test]
fn a_task_that_is_not_called_has_not_succeeded() -> Result {
    let mut sim = Simulation::new();
    let args = DropCounter::default();
    let task = sim.app().task("t", async |_: DropCounter| ());
    let task = task
        .around(|_, next: Next| async move {
            drop(next);
            Outcome::fail("it is closed")
        })
        .register()?;
    let job = task.schedule(args.clone()).push().block_on()?;
    sim.run_until_stalled();
    match job.result() {
        Err(JobError::Failed(error)) => assert_eq!(error.to_string(), "it is closed"),
        other => panic!("{other:?}"),
    }
    assert_eq!(args.alive(), 0);
    Ok(())
}

/// Returns the outcome of the attempt before, if there is one.
fn swaps(
    kept: Arc<Mutex<Option<Outcome>>>,
) -> impl Fn(JobContext, Next) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>> {
    move |_, next| {
        let kept = kept.clone();
        Box::pin(async move {
            let outcome = next.run().await;
            let before = kept.lock().unwrap().take();
            match before {
                Some(before) => before,
                None => {
                    *kept.lock().unwrap() = Some(outcome);
                    Outcome::fail("the first")
                }
            }
        })
    }
}

#[test]
fn the_outcome_of_another_attempt_fails_the_attempt_and_a_middleware_further_out_sees_it() -> Result
{
    let mut sim = Simulation::new();
    let seen = Log::new();
    let log = seen.clone();
    let task = sim.app().task("t", async || 1);
    let task = task
        .around(move |_, next: Next| {
            let log = log.clone();
            async move {
                let outcome = next.run().await;
                log.add(outcome.is_success());
                outcome
            }
        })
        .around(swaps(Arc::default()))
        .register()?;
    let first = task.schedule(()).push().block_on()?;
    let second = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(first.status(), JobStatus::Failed);
    match second.result() {
        Err(JobError::Failed(error)) => assert!(error.is::<OtherOutcome>()),
        other => panic!("{other:?}"),
    }
    assert_eq!(seen.entries(), [false, false]);
    Ok(())
}

#[test]
fn a_panic_of_the_task_is_a_failure_for_its_middleware() -> Result {
    for is_early in [false, true] {
        let mut sim = Simulation::new();
        let log = Log::new();
        let task = sim.app().task("t", move || {
            assert!(!is_early, "before the future");
            async move {
                assert!(is_early, "in the future");
            }
        });
        let task = task.around(logs(&log, "m")).register()?;
        let job: jobber::Job<()> = task.schedule(()).push().block_on()?;
        sim.run_until_stalled();
        let text = ["in the future", "before the future"][usize::from(is_early)];
        assert!(matches!(job.result(), Err(JobError::Panicked { message }) if *message == *text));
        assert_eq!(log.entries()[1], format!("m sees panic: {text}"));
    }
    Ok(())
}

#[test]
fn a_panic_of_a_middleware_fails_the_attempt_and_one_further_out_sees_it() -> Result {
    for when in 0..3 {
        let mut sim = Simulation::new();
        let log = Log::new();
        let task = sim.app().task("t", async || ());
        let task = task
            .around(logs(&log, "outer"))
            .around(move |_, next: Next| {
                assert!(when > 0, "at 0");
                async move {
                    assert!(when > 1, "at 1");
                    let _ = next.run().await;
                    panic!("at 2")
                }
            })
            .register()?;
        let job = task.schedule(()).push().block_on()?;
        sim.run_until_stalled();
        let text = format!("at {when}");
        assert!(matches!(job.result(), Err(JobError::Panicked { message }) if *message == *text));
        assert_eq!(
            log.entries(),
            ["outer begins 1".into(), format!("outer sees panic: {text}")]
        );
    }
    Ok(())
}

#[test]
fn a_timeout_and_an_abort_drop_it_with_the_task() -> Result {
    for aborts in [false, true] {
        let mut sim = Simulation::new();
        let counter = DropCounter::default();
        let (of_task, of_middleware) = (counter.clone(), counter.clone());
        let task = sim.app().task("t", move || {
            let held = of_task.clone();
            async move {
                pending::<()>().await;
                drop(held);
            }
        });
        let task = task
            .timeout(SECOND)
            .around(move |_, next: Next| {
                let guard = of_middleware.clone();
                async move {
                    let outcome = next.run().await;
                    drop(guard);
                    outcome
                }
            })
            .register()?;
        let registered = counter.alive();
        let job = task.schedule(()).push().block_on()?;
        sim.run_until_stalled();
        assert_eq!(counter.alive(), registered + 2);
        match aborts {
            true => drop(job.abort().block_on()),
            false => sim.advance(SECOND),
        }
        sim.run_until_stalled();
        assert_eq!(counter.alive(), registered);
        let expected = [JobStatus::Timeout, JobStatus::Cancelled][usize::from(aborts)];
        assert_eq!(job.status(), expected);
    }
    Ok(())
}

#[test]
fn around_a_blocking_task_it_is_polled_to_its_end_on_the_thread_of_the_call() -> Result {
    let (app, _clock) = manual_app()?;
    let threads = Log::new();
    let (of_task, of_middleware) = (threads.clone(), threads.clone());
    let (send, wait) = mpsc::channel::<std::task::Waker>();
    // Another thread wakes it.
    thread::spawn(move || wait.iter().for_each(std::task::Waker::wake));
    let task = app
        .blocking_task("t", move |number: u32| {
            of_task.add(thread::current().id());
            number + 1
        })
        .around(move |_, next: Next| {
            let (log, send) = (of_middleware.clone(), send.clone());
            let mut is_woken = false;
            async move {
                std::future::poll_fn(|cx| match std::mem::replace(&mut is_woken, true) {
                    true => std::task::Poll::Ready(()),
                    false => {
                        send.send(cx.waker().clone()).unwrap();
                        std::task::Poll::Pending
                    }
                })
                .await;
                log.add(thread::current().id());
                let outcome = next.run().await;
                log.add(thread::current().id());
                outcome
            }
        })
        .register()?;
    let job = task.schedule(1).push().block_on()?;
    job.wait_blocking();
    assert_eq!(*job.result()?, 2);
    let threads = threads.entries();
    assert!(threads.len() == 3 && threads.iter().all(|id| *id == threads[0]));
    Ok(())
}

#[test]
fn what_a_middleware_hands_to_the_task_is_gone_in_the_next_attempt() -> Result {
    let mut sim = Simulation::new();
    let seen = Log::new();
    let log = seen.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        log.add(cx.local::<u32>().map(|value| *value));
        cx.set_local("from the task");
        async { Err::<(), _>("again") }
    });
    let task = task
        .retry(Backoff::fixed(1, SECOND))
        .around(|cx: JobContext, next: Next| async move {
            assert!(cx.local::<u32>().is_none() && cx.local::<&str>().is_none());
            if cx.attempt() == 1 {
                cx.set_local(0u32);
                cx.set_local(7u32);
            }
            let outcome = next.run().await;
            assert_eq!(cx.local::<&str>().as_deref(), Some(&"from the task"));
            outcome
        })
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.advance(SECOND * 5);
    assert_eq!(seen.entries(), [Some(7), None]);
    assert!(matches!(job.result(), Err(JobError::Failed(_))));
    Ok(())
}

#[test]
fn it_may_wait_before_and_after_the_task_and_nothing_is_called_twice() -> Result {
    let (app, _clock, spawned) = hand_polled_app()?;
    let calls = Log::new();
    let log = calls.clone();
    let task = app.task("t", move |number: u32| {
        log.add(number);
        async move {
            yield_now().await;
            number
        }
    });
    let task = task
        .around(|_, next: Next| async move {
            yield_now().await;
            let outcome = next.run().await;
            yield_now().await;
            outcome
        })
        .register()?;
    let job = task.schedule(3).push().block_on()?;
    let mut attempt = spawned.recv()?;
    for _ in 0..3 {
        begin(&mut attempt);
    }
    assert!(crate::support::poll(&mut attempt).is_some());
    assert_eq!((*job.result()?, calls.entries()), (3, vec![3]));
    Ok(())
}

#[test]
fn the_context_says_which_attempt_is_the_last_and_what_came_before() -> Result {
    let mut sim = Simulation::new();
    let seen = Log::new();
    let log = seen.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        let last = cx.last_run().map(|run| (run.number, run.status));
        assert_eq!(cx.job().id(), cx.id());
        assert_eq!(cx.task_name(), "t");
        log.add((
            cx.is_last_attempt(),
            cx.failures_in_a_row(),
            last,
            cx.late(),
        ));
        let run = cx.run_number();
        async move { if run == 1 { Err("no") } else { Ok(()) } }
    });
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let _job = task.schedule(()).every(SECOND * 10).block_on()?;
    sim.advance(SECOND * 20);
    let failed = Some((1, JobStatus::Failed));
    let zero = std::time::Duration::ZERO;
    let expected = [
        (false, 0, None, zero),
        (true, 0, None, SECOND),
        (false, 1, failed, zero),
    ];
    assert_eq!(seen.entries(), expected);
    Ok(())
}

#[test]
fn a_typed_one_is_inside_of_the_others_and_may_change_arguments_and_value() -> Result {
    let (app, _clock) = manual_app()?;
    let log = Log::new();
    let adds = |name: &'static str, log: &Log<String>| {
        let log = log.clone();
        move |cx: JobContext, n: u32, next: TypedNext<u32, u32>| {
            log.add(format!("{name} of {}", cx.task_name()));
            async move { Ok(next.run(n + 1).await? * 10) }
        }
    };
    let tasks = [
        app.task("async", async |n: u32| n * 2)
            .around_typed(adds("first", &log))
            .around_typed(adds("second", &log))
            .around(logs(&log, "outer"))
            .register()?,
        app.blocking_task("blocking", |n: u32| n * 2)
            .around_typed(adds("first", &log))
            .around_typed(adds("second", &log))
            .around(logs(&log, "outer"))
            .register()?,
    ];
    for task in tasks {
        let job = task.schedule(1).push().block_on()?;
        job.wait_blocking();
        assert_eq!(*job.result()?, 600);
        let name = task.name();
        let expected = [
            "outer begins 1".to_string(),
            format!("first of {name}"),
            format!("second of {name}"),
            "outer sees success".to_string(),
        ];
        assert_eq!(log.take(), expected);
    }
    Ok(())
}

#[test]
fn a_typed_one_may_answer_in_place_of_the_task_refuse_or_panic() -> Result {
    let mut sim = Simulation::new();
    let calls = Log::new();
    let task = sim.app().task("t", calls.argument());
    let task = task
        .around_typed(|_, n: u32, next: TypedNext<u32, ()>| async move {
            match n {
                0 => Ok(()),
                1 => Err("refused".into()),
                2 => panic!("no"),
                _ => next.run(n).await,
            }
        })
        .register()?;
    let push = |n| task.schedule(n).push().block_on();
    let jobs = [push(0)?, push(1)?, push(2)?, push(3)?];
    sim.run_until_stalled();
    assert!(jobs[0].result().is_ok() && jobs[3].result().is_ok());
    match jobs[1].result() {
        Err(JobError::Failed(error)) => assert_eq!(error.to_string(), "refused"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(jobs[2].result(), Err(JobError::Panicked { message }) if *message == *"no"));
    assert_eq!(calls.entries(), [3]);
    Ok(())
}

#[test]
fn around_a_blocking_task_it_is_dropped_while_it_waits_and_the_task_is_not_called() -> Result {
    for aborts in [false, true] {
        let (app, clock) = manual_app()?;
        let calls = Log::new();
        let limit = Limit::new(1);
        let guard = DropCounter::default();
        let (held, waits) = (guard.clone(), Log::new());
        let log = waits.clone();
        let task = app
            .blocking_task("t", logs_argument(&calls))
            .timeout(SECOND)
            .limit(&limit)
            .around(move |cx: JobContext, next: Next| {
                let (guard, log) = (held.clone(), log.clone());
                async move {
                    if *cx.id() == *"waits" {
                        log.add(());
                        pending::<()>().await;
                    }
                    let outcome = next.run().await;
                    drop(guard);
                    outcome
                }
            })
            .register()?;
        let registered = guard.alive();
        let job = task.schedule(1).id("waits").push().block_on()?;
        wait_until(|| !waits.entries().is_empty());
        let next = task.schedule(2).push().block_on()?;
        match aborts {
            true => drop(job.abort().block_on()),
            false => clock.advance(SECOND),
        }
        job.wait_blocking();
        next.wait_blocking();
        assert_eq!(next.status(), JobStatus::Success, "the limit is free");
        assert_eq!(calls.entries(), [2]);
        wait_until(|| guard.alive() == registered);
    }
    Ok(())
}

#[test]
fn a_blocking_task_that_returns_after_its_timeout_is_no_success_for_its_middleware() -> Result {
    let (app, clock) = manual_app()?;
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let outcomes = Log::new();
    let log = outcomes.clone();
    let began = Log::new();
    let of_task = began.clone();
    let task = app
        .blocking_task("t", move || {
            of_task.add(());
            let _ = wait.lock().unwrap().recv();
        })
        .timeout(SECOND)
        .around(move |_, next: Next| {
            let log = log.clone();
            async move {
                let outcome = next.run().await;
                let ended = matches!(outcome.error(), Some(JobError::Failed(error)) if error.is::<AttemptEnded>());
                log.add((outcome.is_success(), ended));
                outcome
            }
        })
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    wait_until(|| !began.entries().is_empty());
    clock.advance(SECOND);
    job.wait_blocking();
    assert_eq!(job.status(), JobStatus::Timeout);
    drop(go);
    wait_until(|| !outcomes.entries().is_empty());
    assert_eq!(outcomes.entries(), [(false, true)]);
    Ok(())
}

/// Panics when it is dropped, also while another panic unwinds.
#[derive(Clone)]
struct Explodes;

impl Drop for Explodes {
    fn drop(&mut self) {
        panic!("it explodes");
    }
}

#[test]
fn values_whose_drop_panics_do_not_end_the_process_if_a_middleware_panics() -> Result {
    for when in 0..3 {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", async |args: Explodes| {
            std::mem::forget(args);
            Ok::<_, BoxError>(Explodes)
        });
        let task = task
            .around(move |cx: JobContext, next: Next| {
                cx.set_local(Explodes);
                assert!(when > 0, "with the rest of the attempt");
                async move {
                    assert!(when > 1, "with the rest of the attempt");
                    let _ = next.run().await;
                    panic!("with the value")
                }
            })
            .register()?;
        let job = task.schedule(Explodes).push().block_on()?;
        sim.run_until_stalled();
        let text = ["with the rest of the attempt", "with the value"][when / 2];
        assert!(matches!(job.result(), Err(JobError::Panicked { message }) if *message == *text));
    }
    Ok(())
}

#[test]
fn the_rest_of_an_attempt_that_is_kept_does_not_call_the_task_later() -> Result {
    let mut sim = Simulation::new();
    let calls = Log::new();
    let log = calls.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        log.add(cx.attempt());
        async {}
    });
    let kept = Arc::new(Mutex::new(None::<Next>));
    let task = task
        .retry(Backoff::fixed(1, SECOND))
        .around(move |_, next: Next| {
            let before = kept.lock().unwrap().take();
            let kept = kept.clone();
            async move {
                match before {
                    Some(before) => before.run().await,
                    None => {
                        *kept.lock().unwrap() = Some(next);
                        Outcome::fail("kept")
                    }
                }
            }
        })
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.advance(SECOND * 5);
    assert_eq!(job.status(), JobStatus::Failed);
    assert_eq!(calls.entries(), Vec::<u32>::new());
    Ok(())
}

#[test]
fn a_local_that_holds_the_context_keeps_neither_the_job_nor_the_app() -> Result {
    let state = DropCounter::default();
    let own = state.clone();
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.state(own))?;
    let task = sim.app().task("t", async || ());
    let task = task
        .around(|cx: JobContext, next: Next| async move {
            let cx = Arc::new(cx);
            cx.set_local(cx.clone());
            next.run().await
        })
        .register()?;
    drop(task.schedule(()).push().block_on()?);
    sim.run_until_stalled();
    drop((task, sim));
    assert_eq!(state.alive(), 0);
    Ok(())
}

fn logs_argument(log: &Log<u32>) -> impl Fn(u32) + Send + Sync + use<> {
    let log = log.clone();
    move |argument| log.add(argument)
}

#[test]
fn a_typed_middleware_sees_a_late_return_of_a_blocking_task_as_an_error() -> Result {
    let (app, clock) = manual_app()?;
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (began, results) = (Log::new(), Log::new());
    let (of_task, log) = (began.clone(), results.clone());
    let task = app
        .blocking_task("t", move || {
            of_task.add(());
            let _ = wait.lock().unwrap().recv();
        })
        .timeout(SECOND)
        .around_typed(move |_, (), next: TypedNext<(), ()>| {
            let log = log.clone();
            async move {
                let result = next.run(()).await;
                log.add(matches!(&result, Err(error) if error.is::<AttemptEnded>()));
                result
            }
        })
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    wait_until(|| !began.entries().is_empty());
    clock.advance(SECOND);
    job.wait_blocking();
    drop(go);
    wait_until(|| !results.entries().is_empty());
    assert_eq!(results.entries(), [true]);
    Ok(())
}

#[test]
fn locals_are_dropped_before_the_end_of_the_attempt_can_be_seen() -> Result {
    struct SeesStatus(Arc<Mutex<Option<jobber::Job<()>>>>, Log<JobStatus>);
    impl Drop for SeesStatus {
        fn drop(&mut self) {
            let job = self.0.lock().unwrap().take();
            self.1
                .add(job.map_or(JobStatus::Cancelled, |job| job.status()));
        }
    }
    let mut sim = Simulation::new();
    let (seen, place) = (Log::new(), Arc::new(Mutex::new(None)));
    let (log, own) = (seen.clone(), place.clone());
    let task = sim.app().task("t", async || ());
    let task = task
        .around(move |cx: JobContext, next: Next| {
            cx.set_local(SeesStatus(own.clone(), log.clone()));
            next.run()
        })
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    *place.lock().unwrap() = Some(job);
    sim.run_until_stalled();
    assert_eq!(seen.entries(), [JobStatus::Running]);
    Ok(())
}

/// A middleware that panics when it is dropped after its end.
struct ExplodesAtEnd(std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>>);

impl Future for ExplodesAtEnd {
    type Output = Outcome;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Outcome> {
        self.0.as_mut().poll(cx)
    }
}

impl Drop for ExplodesAtEnd {
    fn drop(&mut self) {
        panic!("it explodes at its end");
    }
}

#[test]
fn a_panic_in_the_drop_of_a_middleware_is_a_failure_for_one_further_out() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", async || ());
    let task = task
        .around(logs(&log, "outer"))
        .around(|_, next: Next| ExplodesAtEnd(Box::pin(next.run())))
        .register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    let text = "it explodes at its end";
    assert!(matches!(job.result(), Err(JobError::Panicked { message }) if *message == *text));
    assert_eq!(log.entries()[1], format!("outer sees panic: {text}"));
    Ok(())
}
