//! When a change of a stored job becomes visible, and what a submission that nobody waits
//! for comes to.

use crate::manual_app::{ManualApp, full};
use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, begin, poll};
use futures_lite::future::block_on;
use jobber::testing::Fault;
use jobber::{Event, JobContext, JobError, JobEventKind, JobStatus};

/// The events that are there, by name.
fn kinds(events: &mut jobber::Events) -> Vec<&'static str> {
    let next = std::iter::from_fn(|| poll(futures_lite::StreamExt::next(events)).flatten());
    next.filter_map(|event| match event {
        Event::Job(event) if event.id == "x" => Some(match event.kind {
            JobEventKind::Started { .. } => "started",
            JobEventKind::RunEnded(_) => "run ended",
            JobEventKind::Ended(_) => "ended",
            JobEventKind::Cancelled => "cancelled",
            _ => "other",
        }),
        _ => None,
    })
    .collect()
}

#[test]
fn nobody_sees_the_end_of_a_run_before_its_commit_by_any_means() -> Result {
    let mut app = ManualApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(MINUTE).block_on()?;
    let exec_at = job.exec_at();
    let mut events = app.app.events();
    app.advance(MINUTE)?;
    app.store.hold();
    let mut next_run = job.next_run();
    app.advance(SECOND)?;
    assert_eq!(app.store.requested()?, ["advance x"]);

    assert_eq!(job.status(), JobStatus::Running);
    assert_eq!(job.exec_at(), exec_at);
    assert_eq!(job.last_run(), None);
    assert!(matches!(job.result(), Err(JobError::NotCompleted)));
    assert!(poll(&mut next_run).is_none());
    assert_eq!(kinds(&mut events), ["started"]);

    app.release()?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(job.exec_at(), exec_at + MINUTE);
    assert_eq!(job.last_run().map(|run| run.number), Some(1));
    assert!(job.result().is_ok());
    assert!(block_on(next_run).is_some());
    assert_eq!(kinds(&mut events), ["run ended"]);
    Ok(())
}

#[test]
fn the_end_of_a_run_is_visible_once_the_store_has_refused_it() -> Result {
    let mut app = ManualApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").delay(MINUTE).block_on()?;
    app.advance(MINUTE)?;
    app.store.hold();
    app.advance(SECOND)?;
    assert_eq!(app.store.requested()?, ["remove x"]);
    assert_eq!(job.status(), JobStatus::Running);
    app.store.answer(Fault::Fail);
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(app.app.health().unstored, 1);
    app.release()?;
    assert!(app.record("x").is_none());
    Ok(())
}

#[test]
fn a_submission_that_is_dropped_before_the_store_was_asked_is_withdrawn() -> Result {
    let app = ManualApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    app.store.hold();
    let mut first = task.schedule(1).id("first").delay(HOUR);
    begin(&mut first);
    assert_eq!(app.store.requested()?, ["put first 1"]);
    // The store is busy with the first: the writer has not taken these.
    let mut dropped = task.schedule(2).id("x").delay(HOUR);
    begin(&mut dropped);
    drop(dropped);
    app.release()?;
    assert!(block_on(first).is_ok());
    assert!(task.job("x").is_none() && app.record("x").is_none());
    assert!(task.schedule(3).id("x").delay(HOUR).block_on().is_ok());

    // A replacement likewise: the job stays as it is, and may start.
    app.store.hold();
    let mut second = task.schedule(4).id("second").delay(HOUR);
    begin(&mut second);
    assert_eq!(app.store.requested()?, ["put second 4"]);
    let mut dropped = task.schedule(5).id("x").replace().delay(MINUTE);
    begin(&mut dropped);
    drop(dropped);
    app.release()?;
    assert_eq!(app.record("x").unwrap().args, "3");
    Ok(())
}

#[test]
fn a_submission_that_is_dropped_while_the_store_is_asked_takes_effect() -> Result {
    let app = ManualApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    app.store.hold();
    let mut dropped = task.schedule(1).id("x").delay(HOUR);
    begin(&mut dropped);
    assert_eq!(app.store.requested()?, ["put x 1"]);
    drop(dropped);
    app.release()?;
    assert!(task.job("x").is_some());
    assert_eq!(app.record("x").unwrap().args, "1");
    Ok(())
}

#[test]
fn a_replacement_that_was_accepted_during_a_run_survives_the_stop() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let boot = || -> Result<_> {
        let sim = machine.boot();
        let log = log.clone();
        let task = sim.app().task("t", move |cx: JobContext, n: u32| {
            log.add((cx.run_number(), n));
            async move {
                if n == 1 {
                    std::future::pending::<()>().await;
                }
            }
        });
        Ok((sim, task.durable().register()?))
    };
    let (mut sim, task) = boot()?;
    let _ = task.schedule(1).id("x").every(MINUTE).block_on()?;
    sim.advance(MINUTE);
    let again = task.schedule(2).id("x").replace();
    let _ = again.every(MINUTE).block_on()?;
    let _ = sim.app().shutdown(SECOND).block_on();
    drop(sim);
    let (mut sim, _) = boot()?;
    sim.advance(MINUTE * 2);
    // The run that was cut off counts, and is not made again.
    assert_eq!(log.take(), [(1, 1), (2, 2), (3, 2)]);
    Ok(())
}

#[test]
fn removals_are_stored_although_a_new_job_finds_no_room() -> Result {
    let app = ManualApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let old: Vec<_> = (0..5)
        .map(|n| {
            task.schedule(n)
                .id(format!("old {n}"))
                .delay(HOUR)
                .block_on()
        })
        .collect::<std::result::Result<_, _>>()?;
    app.store.hold();
    let mut first = task.schedule(9).id("first").delay(HOUR);
    begin(&mut first);
    assert_eq!(app.store.requested()?, ["put first 9"]);
    let mut new = task.schedule(7).id("new").delay(HOUR);
    begin(&mut new);
    let mut cancels: Vec<_> = old.iter().map(|job| job.cancel()).collect();
    cancels.iter_mut().for_each(begin);
    app.store.answer(Fault::None);
    // All of them together, then the removals, then the new job alone.
    assert_eq!(app.store.requested()?.len(), 6);
    app.store.answer(full());
    let removals = app.store.requested()?;
    assert!(removals.len() == 5 && removals.iter().all(|change| change.starts_with("remove")));
    app.store.answer(Fault::None);
    assert_eq!(app.store.requested()?, ["put new 7"]);
    app.store.answer(full());
    assert!(block_on(first).is_ok() && block_on(new).is_err());
    for cancel in cancels {
        assert!(block_on(cancel)?);
    }
    Ok(())
}
