//! When a change of a stored job becomes visible, and what a submission that nobody waits
//! for comes to.

use std::task::Poll;
use std::time::Duration;

use crate::held_app::{HeldApp, full};
use crate::support::{
    HOUR, Log, MINUTE, Machine, Result, SECOND, START, WATCHDOG, WakeCounter, begin, event_kind,
    event_kinds, poll, poll_with, wait_until,
};
use crate::tasks::at;
use futures_lite::future::block_on;
use jobber::testing::Fault;
use jobber::{Event, JobContext, JobError, JobStatus, Misfire};

#[test]
fn nobody_sees_the_end_of_a_run_before_its_commit_by_any_means() -> Result {
    let mut app = HeldApp::new()?;
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
    assert_eq!(event_kinds(&mut events, "x"), ["started 1.1"]);

    app.release()?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(job.exec_at(), exec_at + MINUTE);
    assert_eq!(job.last_run().map(|run| run.number), Some(1));
    assert!(job.result().is_ok());
    assert!(block_on(next_run).is_some());
    assert_eq!(event_kinds(&mut events, "x"), ["run 1 ended SUCCESS"]);
    Ok(())
}

#[test]
fn the_end_of_a_run_is_visible_once_the_store_has_refused_it() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").delay(MINUTE).block_on()?;
    app.advance(MINUTE)?;
    app.store.hold();
    app.advance(SECOND)?;
    assert_eq!(app.store.requested()?, ["remove x"]);
    assert_eq!(job.status(), JobStatus::Running);
    app.store.answer(Fault::Fail);
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(app.app.health().unstored(), 1);
    app.release()?;
    assert!(app.record("x").is_none());
    Ok(())
}

#[test]
fn a_submission_that_is_dropped_before_the_store_was_asked_is_withdrawn() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = app.slow(&log, SECOND)?;
    app.store.hold();
    let mut first = task.schedule(1).id("first").delay(HOUR * 2);
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
    let mut second = task.schedule(4).id("second").delay(HOUR * 2);
    begin(&mut second);
    assert_eq!(app.store.requested()?, ["put second 4"]);
    let mut dropped = task.schedule(5).id("x").replace().delay(MINUTE);
    begin(&mut dropped);
    drop(dropped);
    app.release()?;
    assert_eq!(app.record("x").unwrap().args, "3");
    assert!(block_on(second).is_ok());
    app.advance(HOUR)?;
    assert_eq!(log.entries(), [(1, 3)]);
    Ok(())
}

#[test]
fn a_submission_that_is_dropped_while_the_store_is_asked_takes_effect() -> Result {
    let app = HeldApp::new()?;
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
    // With other times, the run that was cut off counts, and is not made again. With the same
    // times, it is made again with the arguments of the replacement.
    for (interval, runs) in [
        (SECOND * 61, vec![(1, 1), (2, 2), (3, 2)]),
        (MINUTE, vec![(1, 1), (1, 2), (2, 2), (3, 2)]),
    ] {
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
        let _ = again.every(interval).block_on()?;
        sim.shutdown(SECOND);
        drop(sim);
        let (mut sim, _) = boot()?;
        sim.advance(interval * 2);
        assert_eq!(log.take(), runs, "{interval:?}");
    }
    Ok(())
}

/// Regression: what the timer had found for a late run was in the row, if the row happened
/// to be written during that run.
#[test]
fn the_row_during_a_run_is_the_row_before_it_whenever_it_is_written() -> Result {
    for is_written_late in [false, true] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let task = sim.app().task("t", |cx: JobContext, _: u32| async move {
            if cx.run_number() == 2 {
                std::future::pending::<()>().await;
            }
        });
        let task = task.durable().register()?;
        let schedule = task.schedule(1).id("x").misfire(Misfire::All(2));
        let job = schedule.every(MINUTE).block_on()?;
        if is_written_late {
            machine.set_fault(Fault::Fail);
        }
        sim.advance(MINUTE);
        // The second run is three minutes late.
        machine.clock.advance(MINUTE * 4);
        sim.run_until_stalled();
        assert_eq!(job.status(), JobStatus::Running);
        machine.set_fault(Fault::None);
        let _ = task.schedule(2).id("y").delay(HOUR).block_on()?;
        assert_eq!(sim.app().health().to_string(), "healthy");
        let progress = machine.record("x").unwrap().progress;
        assert_eq!(progress.nominal, at(120), "{is_written_late}");
        let recurring = progress.recurring.unwrap();
        assert_eq!(
            (recurring.runs, recurring.catch_ups),
            (1, 0),
            "{is_written_late}"
        );
        assert!(!recurring.is_catch_up, "{is_written_late}");
    }
    Ok(())
}

#[test]
fn removals_are_stored_although_a_new_job_finds_no_room() -> Result {
    let app = HeldApp::new()?;
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
        assert!(block_on(cancel)?.took_effect());
    }
    Ok(())
}

/// Regression: a full store that refused the removals, too, was asked again without end.
#[test]
fn removals_that_find_no_room_are_tried_again_later() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let schedule = |id: &str| task.schedule(1).id(id).delay(HOUR).block_on();
    let (x, y) = (schedule("x")?, schedule("y")?);
    app.occupy_store()?;
    let (mut cancel_x, mut cancel_y) = (x.cancel(), y.cancel());
    begin(&mut cancel_x);
    begin(&mut cancel_y);
    app.store.answer(Fault::None);
    assert_eq!(app.store.requested()?, ["remove x", "remove y"]);
    app.store.answer(full());
    assert!(block_on(cancel_x).is_err() && block_on(cancel_y).is_err());
    app.release()?;
    assert!(app.record("x").is_none() && app.record("y").is_none());
    Ok(())
}

/// Regression: the replacement took the id over from a job whose removal was not stored.
/// Nobody noted that the row was there, and it was not removed with the job.
#[test]
fn a_cancel_removes_the_row_that_a_replacement_has_taken_over_from_an_ended_job() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let ended = task.schedule(1).id("x").delay(HOUR).block_on()?;
    app.occupy_store()?;
    let mut cancel = ended.cancel();
    begin(&mut cancel);
    let job = task
        .schedule(2)
        .id("x")
        .in_memory()
        .delay(HOUR)
        .block_on()?;
    let mut replace = task.schedule(3).id("x").replace().delay(HOUR);
    begin(&mut replace);
    app.store.answer(Fault::None);
    assert_eq!(app.store.requested()?, ["put x 3"]);
    app.store.answer(Fault::None);
    assert!(block_on(cancel)?.took_effect() && block_on(replace).is_ok());
    let mut cancel = job.cancel();
    begin(&mut cancel);
    app.release()?;
    assert!(block_on(cancel)?.took_effect());
    assert!(app.record("x").is_none());
    Ok(())
}

/// Regression: the delay of a refused attempt was taken for a wall time, and the run for a
/// missed one.
#[test]
fn a_run_of_a_cron_job_that_its_executor_drops_is_made_a_second_later() -> Result {
    for misfire in [Misfire::Once, Misfire::Skip, Misfire::All(1)] {
        let mut app = HeldApp::new()?;
        let log = Log::new();
        let task = app.slow(&log, SECOND)?;
        let mut events = app.app.events();
        let schedule = task.schedule(1).id("x").misfire(misfire);
        let _ = schedule.cron("* * * * *").block_on()?;
        app.clock.advance(MINUTE);
        drop(app.spawned.recv_timeout(WATCHDOG)?);
        app.release()?;
        app.advance(SECOND)?;
        assert_eq!(log.entries(), [(1, 1)], "{misfire:?}");
        assert_eq!(
            event_kinds(&mut events, "x"),
            ["scheduled", "started 1.1"],
            "{misfire:?}"
        );
    }
    Ok(())
}

/// Regression: when it was due again, nothing showed that it was late, and a second run
/// followed for the same missed times.
#[test]
fn a_late_run_that_its_executor_drops_stays_the_only_one_for_the_times_that_were_missed() -> Result
{
    let grace = Misfire::Grace(SECOND * 90);
    for (misfire, nominal, runs) in [
        (Misfire::Once, at(240), 1),
        (Misfire::All(1), at(60), 1),
        (grace, at(180), 2),
    ] {
        let mut app = HeldApp::new()?;
        let log = Log::new();
        let times = log.clone();
        let task = app.app.task("t", move |cx: JobContext, _: u32| {
            times.add(cx.nominal_time());
            async {}
        });
        let task = task.durable().register()?;
        let schedule = task.schedule(1).id("x").misfire(misfire);
        let _ = schedule.cron("* * * * *").block_on()?;
        // The timer comes when 1:00, 2:00 and 3:00 were overtaken.
        app.clock.advance(MINUTE * 4 + SECOND * 10);
        drop(app.spawned.recv_timeout(WATCHDOG)?);
        app.release()?;
        app.advance(SECOND)?;
        app.release()?;
        app.advance(SECOND)?;
        assert_eq!(log.entries().first(), Some(&nominal), "{misfire:?}");
        assert_eq!(
            log.entries().len(),
            runs,
            "{misfire:?}: {:?}",
            log.entries()
        );
    }
    Ok(())
}

/// Regression: it had the time of 1677, the least that there is. No clock had been read.
#[test]
fn an_event_that_waits_for_the_store_has_its_time_although_nobody_read_events_then() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let schedule = task.schedule(1).id("x").in_memory();
    let job = schedule.delay(HOUR).block_on()?;
    let replace = task.schedule(2).id("x").replace();
    let _ = replace.delay(HOUR).block_on()?;
    app.occupy_store()?;
    let mut cancel = job.cancel();
    begin(&mut cancel);
    let mut events = app.app.events();
    app.release()?;
    assert!(block_on(cancel)?.took_effect());
    let times = std::iter::from_fn(|| events.try_next()).filter_map(|event| match event {
        Event::Job(event) if event.id == "x" => Some((event.at, event_kind(Event::Job(event)))),
        _ => None,
    });
    assert_eq!(times.collect::<Vec<_>>(), [(START, "cancelled".into())]);
    Ok(())
}

/// Regression: it slept for ever. The job had left its table before the app stopped, and so
/// was not among those whose waiters were woken.
#[test]
fn a_wait_for_a_job_whose_end_the_closing_store_refuses_returns() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").push().block_on()?;
    app.poll_next()?;
    app.occupy_store()?;
    app.advance(SECOND)?;
    let (counter, waker) = WakeCounter::new();
    let mut wait = job.wait();
    assert!(poll_with(&mut wait, &waker).is_pending());
    // The store is closed when it has answered, and is first tried for the end then.
    let mut stop = app.app.shutdown(Duration::ZERO);
    let _ = poll(&mut stop);
    app.store.answer(Fault::None);
    assert_eq!(app.store.requested()?, ["remove x"]);
    app.store.answer(Fault::Fail);
    stop.block_on();
    wait_until(|| counter.count() > 0);
    assert_eq!(
        poll_with(&mut wait, &waker),
        Poll::Ready(JobStatus::Running)
    );
    assert!(app.record("x").is_some(), "the next process runs it again");
    Ok(())
}
