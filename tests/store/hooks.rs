//! Functions of the program that run when the app starts and stops.

use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::{Log, MINUTE, Machine, Result, SECOND, begin, poll};
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{AppRef, BoxError, JobStatus, Jobber, JobberBuilder, MemoryStorage, StartError, Task};

/// A function of the start that logs its name.
fn logs(
    log: &Log<&'static str>,
    name: &'static str,
) -> impl FnOnce(AppRef) -> std::future::Ready<Result<(), BoxError>> + Send + use<> {
    let log = log.clone();
    move |_| {
        log.add(name);
        std::future::ready(Ok(()))
    }
}

/// A function of the stop that logs its name.
fn stops(
    log: &Log<&'static str>,
    name: &'static str,
) -> impl FnOnce() -> std::future::Ready<()> + Send + use<> {
    let log = log.clone();
    move || {
        log.add(name);
        std::future::ready(())
    }
}

fn pairs(log: &Log<&'static str>, builder: JobberBuilder) -> JobberBuilder {
    builder
        .on_stop(stops(log, "stop 0"))
        .on_start(logs(log, "start 1"))
        .on_stop(stops(log, "stop 1"))
        .on_start(logs(log, "start 2"))
        .on_stop(stops(log, "stop 2"))
}

#[test]
fn functions_run_in_order_at_the_start_and_in_reverse_at_the_stop() -> Result {
    let log = Log::new();
    let app = pairs(&log, Jobber::builder()).build()?;
    assert!(log.take().is_empty());
    app.start().block_on()?;
    assert_eq!(log.take(), ["start 1", "start 2"]);
    app.shutdown(Duration::ZERO).block_on();
    assert_eq!(log.take(), ["stop 2", "stop 1", "stop 0"]);
    app.shutdown(Duration::ZERO).block_on();
    drop(app);
    assert!(log.take().is_empty(), "each runs once");
    Ok(())
}

#[test]
fn the_drop_of_the_app_runs_the_functions_of_the_stop() -> Result {
    let log = Log::new();
    let app = pairs(&log, Jobber::builder()).build()?;
    app.start().block_on()?;
    log.take();
    drop(app);
    assert_eq!(log.take(), ["stop 2", "stop 1", "stop 0"]);

    let unstarted = pairs(&log, Jobber::builder()).build()?;
    unstarted.shutdown(Duration::ZERO).block_on();
    drop(unstarted);
    assert!(log.take().is_empty());
    Ok(())
}

#[test]
fn a_restored_job_and_what_is_scheduled_start_after_the_last_function() -> Result {
    let machine = Machine::new();
    let log = Log::<String>::new();
    let sim = machine.boot();
    let task = sim
        .app()
        .task("t", async |_: String| {})
        .durable()
        .register()?;
    task.schedule("restored".into())
        .id("restored")
        .push()
        .block_on()?;
    sim.crash();

    // Real threads: the timer and the executor could be faster than the functions.
    let app = Jobber::builder().storage(machine.storage());
    let (first, second) = (log.clone(), log.clone());
    let app = app
        .on_start(async move |app: AppRef| {
            let task = app.task::<String, ()>("t")?;
            task.schedule("pushed".into()).id("pushed").push().await?;
            let blocking = app.task::<(), ()>("blocking")?;
            for _ in 0..50 {
                blocking.schedule(()).push().await?;
                task.schedule("many".into()).push().await?;
            }
            let due = task.schedule("due".into()).in_memory();
            due.delay(Duration::from_nanos(1)).await?;
            first.add("first".into());
            Ok(())
        })
        .on_start(async move |_| {
            second.add("last".into());
            Ok(())
        })
        .build()?;
    let (of_task, of_blocking) = (log.clone(), log.clone());
    let task = app.task("t", of_task.argument()).durable();
    task.register()?;
    app.blocking_task("blocking", move || of_blocking.add("blocking".into()))
        .register()?;
    app.start().block_on()?;
    app.wait_all().block_on();
    let entries = log.take();
    assert_eq!(entries[..2], ["first", "last"]);
    let mut rest = entries[2..].to_vec();
    rest.sort();
    rest.dedup();
    assert_eq!(rest, ["blocking", "due", "many", "pushed", "restored"]);
    assert_eq!(entries.len(), 2 + 50 + 50 + 3);
    Ok(())
}

#[test]
fn an_error_stops_the_start_closes_the_store_and_undoes_what_has_started() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = sim
        .app()
        .task("t", async || {})
        .durable()
        .at_most_once()
        .register()?;
    task.schedule(()).id("restored").push().block_on()?;
    sim.crash();

    for how in ["an error", "a panic", "a panic before the future"] {
        let log = Log::new();
        let app = pairs(&log, Jobber::builder().storage(machine.storage()));
        let app = app.on_start(move |app: AppRef| {
            assert_ne!(how, "a panic before the future");
            async move {
                app.task::<(), ()>("t")?.schedule(()).id(how).push().await?;
                assert_ne!(how, "a panic");
                Err("the database is away".into())
            }
        });
        let app = app.on_stop(stops(&log, "never started"));
        let app = app.on_start(logs(&log, "never reached")).build()?;
        let ran = log.clone();
        let task = app.task("t", move || {
            ran.add("ran");
            async {}
        });
        let task = task.durable().at_most_once().register()?;
        let error = app.start().block_on().unwrap_err();
        assert!(matches!(error, StartError::OnStart(_)), "{error:?}");
        assert_eq!(
            log.take(),
            ["start 1", "start 2", "stop 2", "stop 1", "stop 0"]
        );
        assert!(matches!(app.start().block_on(), Err(StartError::Stopped)));
        assert!(task.schedule(()).push().block_on().is_err());
        // The store is closed, with its jobs: another app can open it.
        drop(app);
        assert!(log.take().is_empty());
        let sim = machine.boot();
        let task = sim
            .app()
            .task("t", async || {})
            .durable()
            .at_most_once()
            .register()?;
        let job = task.job("restored").expect("it is not lost");
        assert_eq!(job.status(), JobStatus::Scheduled);
        sim.crash();
    }
    Ok(())
}

#[test]
fn a_start_that_is_dropped_in_a_function_stops_the_app() -> Result {
    let log = Log::new();
    let app = pairs(&log, Jobber::builder())
        .on_start(|_| std::future::pending())
        .build()?;
    let task = app.task("t", async || {}).register()?;
    let mut start = app.start();
    begin(&mut start);
    let job = task.schedule(()).push().block_on()?;
    drop(start);
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(task.schedule(()).push().block_on().is_err());
    assert_eq!(log.take(), ["start 1", "start 2"]);
    drop(app);
    assert_eq!(log.take(), ["stop 2", "stop 1", "stop 0"]);
    Ok(())
}

/// A store whose opening waits for a message.
fn storage_that_opens_later() -> (Sender<()>, FaultyStorage<MemoryStorage>) {
    let (release, released) = std::sync::mpsc::channel();
    let storage = FaultyStorage::new(MemoryStorage::new(), move |operation| {
        if let Operation::Open = operation {
            // An error: the test has failed.
            let _ = released.recv();
        }
        Fault::None
    });
    (release, storage)
}

/// Regression: the functions never ran, and every attempt was kept for ever.
#[test]
fn a_start_that_is_dropped_while_the_store_opens_stops_the_app() -> Result {
    let (release, storage) = storage_that_opens_later();
    let log = Log::new();
    let app = pairs(&log, Jobber::builder().storage(storage)).build()?;
    let task = app.task("t", async || {}).register()?;
    let mut start = app.start();
    begin(&mut start);
    drop(start);
    release.send(())?;
    assert!(task.schedule(()).push().block_on().is_err());
    assert!(matches!(app.start().block_on(), Err(StartError::Stopped)));
    Ok(())
}

#[test]
fn a_shutdown_during_a_function_of_the_start_also_undoes_that_function() -> Result {
    let log = Log::new();
    let (go, wait) = async_channel();
    let app = pairs(&log, Jobber::builder())
        .on_start(async move |_| {
            wait.await;
            Ok(())
        })
        .on_stop(stops(&log, "stop 3"))
        .on_start(logs(&log, "start 4"))
        .build()?;
    let mut start = app.start();
    begin(&mut start);
    app.shutdown(Duration::ZERO).block_on();
    assert_eq!(
        log.take(),
        ["start 1", "start 2", "stop 2", "stop 1", "stop 0"]
    );
    go();
    assert!(matches!(start.block_on(), Err(StartError::Stopped)));
    assert_eq!(log.take(), ["stop 3"]);
    Ok(())
}

/// A future that is ready when the function was called.
fn async_channel() -> (impl FnOnce(), impl Future<Output = ()> + Send) {
    let flag = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let set = flag.clone();
    let wait = std::future::poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        match flag.load(std::sync::atomic::Ordering::SeqCst) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    });
    (
        move || set.store(true, std::sync::atomic::Ordering::SeqCst),
        wait,
    )
}

#[test]
fn the_functions_of_the_stop_run_after_the_last_attempt_with_the_store_open() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let (of_stop, of_task) = (log.clone(), log.clone());
    let place: Arc<OnceLock<Task<(), ()>>> = Arc::default();
    let task = place.clone();
    let builder = Jobber::builder()
        .storage(machine.storage())
        .on_stop(async move || {
            of_stop.add("stop");
            let paused = task.get().unwrap().pause().await;
            assert!(paused.is_ok(), "the store is open");
            of_stop.add("paused");
        });
    let app = builder
        .on_stop(|| -> std::future::Ready<()> { panic!("on purpose") })
        .build()?;
    let task = app.blocking_task("t", move |cx: jobber::JobContext| {
        of_task.add("runs");
        cx.stop_token().stopped().block_on();
        of_task.add("ends");
    });
    let task = task.durable().register()?;
    let _ = place.set(task.clone());
    app.start().block_on()?;
    task.schedule(()).push().block_on()?;
    crate::support::wait_until(|| !log.entries().is_empty());
    let report = app.shutdown(Duration::from_secs(60)).block_on();
    assert!(report.left.is_empty());
    assert_eq!(log.take(), ["runs", "ends", "stop", "paused"]);
    Ok(())
}

#[test]
fn a_function_of_the_stop_that_takes_too_long_is_dropped() -> Result {
    let log = Log::new();
    let app = Jobber::builder()
        .on_stop(stops(&log, "left out"))
        .on_stop(std::future::pending)
        .on_stop(stops(&log, "first"))
        .build()?;
    app.start().block_on()?;
    app.shutdown(Duration::ZERO).block_on();
    drop(app);
    assert_eq!(log.take(), ["first"]);
    Ok(())
}

#[test]
fn a_simulation_runs_the_functions_too() -> Result {
    let log = Log::new();
    let ran = log.clone();
    let mut sim = Simulation::unstarted(0, ManualClock::new(), |builder| {
        let builder = pairs(&log, builder);
        builder.on_start(async |app| {
            app.task::<(), ()>("t")?.schedule(()).delay(SECOND).await?;
            Ok(())
        })
    })?;
    let task = sim.app().task("t", move || {
        ran.add("ran");
        async {}
    });
    task.register()?;
    assert!(poll(sim.app().start()).is_some());
    sim.advance(MINUTE);
    assert_eq!(log.take(), ["start 1", "start 2", "ran"]);
    Ok(())
}

/// Regression: the timer stored the intent to start the job, so that a crash lost it.
#[test]
fn a_crash_in_a_function_of_the_start_has_begun_no_attempt() -> Result {
    let machine = Machine::new();
    let register = |sim: &Simulation| -> Result<_> {
        let once = sim.app().task("once", std::future::pending::<()>);
        let once = once.durable().at_most_once().register()?;
        let often = sim.app().task("often", std::future::pending::<()>);
        let often = often.durable().max_interruptions(2).register()?;
        Ok((once, often))
    };
    let mut sim = machine.boot();
    let (once, often) = register(&sim)?;
    often.schedule(()).id("often").push().block_on()?;
    sim.run_until_stalled();
    once.schedule(()).id("once").push().block_on()?;
    sim.crash();

    for _ in 0..3 {
        let clock = machine.clock.clone();
        let mut sim = Simulation::unstarted(0, clock, |builder| {
            builder.storage(machine.storage()).on_start(async |app| {
                app.task::<(), ()>("once")?
                    .schedule(())
                    .in_memory()
                    .push()
                    .await?;
                std::future::pending().await
            })
        })?;
        register(&sim)?;
        let mut start = sim.app().start();
        begin(&mut start);
        sim.advance(MINUTE);
        let is_waiting = |job: &jobber::AnyJob| job.status() == JobStatus::Scheduled;
        assert!(sim.app().jobs().iter().all(is_waiting));
        // A crash drops nothing in order.
        std::mem::forget(start);
        sim.crash();
    }
    let mut sim = machine.boot();
    let (once, often) = register(&sim)?;
    sim.advance(MINUTE);
    assert!(sim.app().unresolved().is_empty());
    let once = once.job("once").expect("it is not lost");
    let often = often.job("often").expect("it is not lost");
    assert_eq!(
        (once.status(), often.status()),
        (JobStatus::Running, JobStatus::Running)
    );
    sim.crash();
    Ok(())
}

/// Regression: the call was kept with the attempts, and the shutdown waited for it until its grace was over.
#[test]
fn a_shutdown_in_a_function_of_the_start_shows_the_ends_and_waits_for_the_function() -> Result {
    let log = Log::new();
    let (ends, ended) = (log.clone(), log.clone());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let app = Jobber::builder()
        .on_end(move |end| {
            assert_eq!(end.status, JobStatus::Cancelled);
            ends.add("end of the job");
        })
        .on_stop(stops(&log, "stop 0"))
        .on_start(async move |app: AppRef| {
            app.task::<(), ()>("t")?.schedule(()).id("x").push().await?;
            released.recv()?;
            ended.add("start 1 ends");
            Ok(())
        })
        .on_stop(stops(&log, "stop 1"))
        .on_start(logs(&log, "start 2"))
        .build()?;
    let task = app.task("t", async || {}).register()?;
    let starting = {
        let app = app.clone();
        std::thread::spawn(move || app.start().block_on())
    };
    crate::support::wait_until(|| app.find_job("x").is_some());
    let shutting_down = {
        let app = app.clone();
        std::thread::spawn(move || app.shutdown(2 * crate::support::WATCHDOG).block_on())
    };
    // The call does not wait for the function of the start.
    crate::support::wait_until(|| !log.entries().is_empty());
    assert_eq!(log.take(), ["end of the job"]);
    assert!(task.schedule(()).push().block_on().is_err());
    release.send(())?;
    assert!(shutting_down.join().unwrap().is_complete());
    assert_eq!(log.take(), ["start 1 ends", "stop 1", "stop 0"]);
    assert!(matches!(starting.join().unwrap(), Err(StartError::Stopped)));
    Ok(())
}

/// Regression: the function of the start failed, and nobody saw the end: the next process does not
/// know the job.
#[test]
fn the_end_of_a_job_that_was_lost_in_a_crash_is_shown_although_the_start_fails() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = sim.app().task("t", std::future::pending::<()>);
    let task = task.durable().at_most_once().register()?;
    task.schedule(()).id("x").push().block_on()?;
    sim.advance(SECOND);
    sim.crash();
    let log = Log::<String>::new();
    let seen = log.clone();
    let app = Jobber::builder()
        .storage(machine.storage())
        .on_end(move |end| seen.add(end.to_string()))
        .on_start(async |_| Err("the database is away".into()))
        .build()?;
    let task = app.task("t", std::future::pending::<()>);
    task.durable().at_most_once().register()?;
    assert!(matches!(
        app.start().block_on(),
        Err(StartError::OnStart(_))
    ));
    assert_eq!(log.take().len(), 1);
    Ok(())
}

/// Regression: only an app with functions of the start had functions of the stop.
#[test]
fn a_start_that_is_dropped_while_the_store_opens_has_reached_the_functions_of_the_stop() -> Result {
    let (release, storage) = storage_that_opens_later();
    let log = Log::new();
    let app = Jobber::builder().storage(storage);
    let app = app.on_stop(stops(&log, "stop")).build()?;
    let task = app.task("t", async || {}).register()?;
    let mut start = app.start();
    begin(&mut start);
    drop(start);
    release.send(())?;
    crate::support::wait_until(|| task.schedule(()).push().block_on().is_ok());
    app.shutdown(SECOND).block_on();
    assert_eq!(log.take(), ["stop"]);
    Ok(())
}

#[test]
fn a_start_that_has_failed_keeps_no_arguments() -> Result {
    let counter = crate::support::DropCounter::default();
    let own = counter.clone();
    let app = Jobber::builder()
        .on_start(async move |app: AppRef| {
            let task = app.task::<crate::support::DropCounter, ()>("t")?;
            task.schedule(own).push().await?;
            Err("no".into())
        })
        .build()?;
    app.task("t", async |_: crate::support::DropCounter| {})
        .register()?;
    assert!(app.start().block_on().is_err());
    assert_eq!(counter.alive(), 0);
    Ok(())
}
