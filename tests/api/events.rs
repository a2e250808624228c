//! What an app tells its readers.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::support::{DropCounter, HOUR, MINUTE, Result, SECOND};
use futures_lite::{Stream, StreamExt, future};
use jobber::testing::Simulation;
use jobber::{Backoff, Event, Events, JobContext, JobEventKind, JobStatus, Jobber, Misfire};
use time::macros::datetime;

/// What has happened so far, without what the times are.
fn kinds(events: &mut Events) -> Vec<String> {
    std::iter::from_fn(|| events.try_next())
        .map(|event| match event {
            Event::Job(event) => match event.kind {
                JobEventKind::Scheduled { .. } => "scheduled".into(),
                JobEventKind::Started { run, attempt } => format!("started {run}.{attempt}"),
                JobEventKind::Retrying { attempt, .. } => format!("retrying after {attempt}"),
                JobEventKind::RunEnded(run) => format!("run {} ended {}", run.number, run.status),
                JobEventKind::Misfired { .. } => "misfired".into(),
                JobEventKind::Cancelled => "cancelled".into(),
                JobEventKind::Ended(status) => format!("ended {status}"),
                other => format!("{other:?}"),
            },
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_life_of_a_job_that_succeeds() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", || async {}).register()?;
    let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    sim.advance(SECOND);
    assert_eq!(
        kinds(&mut events),
        ["scheduled", "started 1.1", "ended SUCCESS"]
    );
    Ok(())
}

#[test]
fn of_one_that_is_tried_again() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim
        .app()
        .task("t", async || Err::<(), _>("no"))
        .retry(Backoff::fixed(1, SECOND))
        .register()?;
    let _ = task.schedule(()).push().wait_blocking()?;
    sim.advance(SECOND);
    assert_eq!(
        kinds(&mut events),
        [
            "scheduled",
            "started 1.1",
            "retrying after 1",
            "started 1.2",
            "ended FAILED"
        ]
    );
    Ok(())
}

#[test]
fn of_a_recurring_one() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let clock = sim.clock();
    let task = sim
        .app()
        .task("t", move |cx: JobContext| {
            clock.sleep(SECOND * (5 * (2 - cx.run_number() as u32)))
        })
        .register()?;
    let schedule = task.schedule(()).misfire(Misfire::Skip).max_runs(2);
    let _ = schedule.every(SECOND * 2).wait_blocking()?;
    sim.advance(MINUTE);
    assert_eq!(
        kinds(&mut events),
        [
            "scheduled",
            "started 1.1",
            "run 1 ended SUCCESS",
            "misfired",
            "started 2.1",
            "run 2 ended SUCCESS",
            "ended SUCCESS"
        ]
    );
    Ok(())
}

#[test]
fn of_one_that_is_cancelled_aborted_or_shut_down() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", std::future::pending::<()>).register()?;
    let job = task.schedule(()).delay(SECOND).wait_blocking()?;
    job.cancel().wait_blocking()?;
    assert_eq!(kinds(&mut events), ["scheduled", "cancelled"]);
    let job = task.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    job.abort().wait_blocking()?;
    assert_eq!(
        kinds(&mut events),
        ["scheduled", "started 1.1", "cancelled"]
    );
    let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    sim.shutdown(SECOND);
    assert_eq!(kinds(&mut events), ["scheduled", "cancelled"]);
    Ok(())
}

#[test]
fn of_a_recurring_one_that_is_aborted_in_its_run() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", std::future::pending::<()>).register()?;
    let job = task.schedule(()).every(SECOND).wait_blocking()?;
    sim.advance(SECOND);
    job.abort().wait_blocking()?;
    assert_eq!(
        kinds(&mut events),
        [
            "scheduled",
            "started 1.1",
            "run 1 ended CANCELLED",
            "cancelled"
        ]
    );
    Ok(())
}

#[test]
fn of_one_that_is_replaced_and_of_the_run_that_was_to_be_tried_again() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task.retry(Backoff::fixed(3, MINUTE)).register()?;
    let job = task.schedule(()).id("x").every(SECOND).wait_blocking()?;
    let waiting = job.next_run();
    sim.advance(SECOND);
    assert_eq!(
        kinds(&mut events),
        ["scheduled", "started 1.1", "retrying after 1"]
    );
    let again = task.schedule(()).id("x").replace();
    let job = again.every(MINUTE * 2).wait_blocking()?;
    let next = events.try_next();
    assert!(
        matches!(&next, Some(Event::Job(event)) if matches!(&event.kind, JobEventKind::RunEnded(run) if run.number == 1 && run.status == JobStatus::Failed)),
        "{next:?}"
    );
    let next = events.try_next();
    assert!(
        matches!(&next, Some(Event::Job(event)) if event.kind == JobEventKind::Scheduled { due: job.exec_at() }),
        "{next:?}"
    );
    assert!(events.try_next().is_none());
    // Whoever waits for the run is told by that.
    assert!(future::block_on(future::poll_once(waiting)).is_some());
    Ok(())
}

#[test]
fn of_one_that_is_replaced_during_a_run_for_whose_successors_it_is_too_late() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND * 5));
    let task = task.register()?;
    let _ = task.schedule(()).id("x").every(SECOND).wait_blocking()?;
    sim.advance(SECOND * 2);
    let again = task.schedule(()).id("x").replace();
    let _ = again.delay(MINUTE).wait_blocking()?;
    let mut events = sim.app().events();
    sim.advance(SECOND * 4);
    // No time of the trigger that it has now was missed.
    assert_eq!(kinds(&mut events), ["run 1 ended SUCCESS"]);
    Ok(())
}

#[test]
fn of_one_that_is_replaced_by_its_own_times_and_keeps_the_one_that_it_waits_for() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let schedule = || task.schedule(()).id("x").replace().jitter(MINUTE * 30);
    let job = schedule().cron("@hourly").wait_blocking()?;
    let due = job.exec_at();
    let mut events = sim.app().events();
    let _ = schedule().cron("@hourly").wait_blocking()?;
    let Some(Event::Job(event)) = events.try_next() else {
        panic!("it was scheduled once more");
    };
    assert_eq!(event.kind, JobEventKind::Scheduled { due });
    assert_eq!(job.exec_at(), due);
    Ok(())
}

#[test]
fn of_one_whose_time_had_passed_when_the_timer_came() -> Result {
    for (misfire, then) in [(Misfire::Skip, None), (Misfire::Once, Some("started 1.1"))] {
        let mut sim = Simulation::new();
        let mut events = sim.app().events();
        let task = sim.app().task("t", std::future::pending::<()>).register()?;
        let schedule = task.schedule(()).misfire(misfire);
        let job = schedule.cron("@hourly").wait_blocking()?;
        sim.set_wall(datetime!(2000-01-01 1:30 UTC));
        let events = kinds(&mut events);
        let expected = ["scheduled", "clock", "misfired"].into_iter().chain(then);
        assert!(
            events
                .iter()
                .map(|event| match event {
                    event if event.starts_with("ClockStepped") => "clock",
                    event => event,
                })
                .eq(expected),
            "{events:?}"
        );
        assert_eq!(job.exec_at().hour(), if then.is_some() { 1 } else { 2 });
    }
    Ok(())
}

#[test]
fn of_one_of_which_every_time_has_passed() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", async |_: DropCounter| ()).register()?;
    let counter = DropCounter::default();
    let schedule = task.schedule(counter.clone()).misfire(Misfire::Skip);
    let job = schedule.cron("0 0 1 1 1 * 2000").wait_blocking()?;
    let waiting = job.wait();
    sim.set_wall(datetime!(2000-01-01 1:30 UTC));
    let events = kinds(&mut events);
    assert_eq!(
        events.last().map(String::as_str),
        Some("cancelled"),
        "{events:?}"
    );
    assert_eq!(waiting.wait_blocking(), JobStatus::Cancelled);
    assert!(sim.app().jobs().is_empty());
    sim.run_until_stalled();
    assert_eq!(counter.alive(), 0);
    Ok(())
}

#[test]
fn an_event_says_when_to_which_job_and_of_which_task() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("greet", || async {}).register()?;
    let job = task.schedule(()).id("x").delay(SECOND).wait_blocking()?;
    let mut events = sim.app().events();
    sim.advance(SECOND);
    let Some(Event::Job(event)) = events.try_next() else {
        panic!()
    };
    assert_eq!(
        (event.id, &*event.task, event.at),
        ("x".into(), "greet", job.exec_at())
    );
    Ok(())
}

#[test]
fn readers_each_have_all_events_from_when_they_began() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let mut early = sim.app().events();
    let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    let mut late = sim.app().events();
    sim.advance(SECOND);
    assert_eq!(
        kinds(&mut early),
        ["scheduled", "started 1.1", "ended SUCCESS"]
    );
    assert_eq!(kinds(&mut late), ["started 1.1", "ended SUCCESS"]);
    Ok(())
}

#[test]
fn a_reader_that_is_behind_is_told_how_many_it_missed() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let mut events = sim.app().events();
    for _ in 0..1_124 {
        let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    }
    for _ in 0..1_024 {
        assert!(matches!(events.try_next(), Some(Event::Job(_))));
    }
    assert!(events.try_next().is_none());
    let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    assert!(matches!(events.try_next(), Some(Event::Missed(100))));
    assert!(matches!(events.try_next(), Some(Event::Job(_))));
    assert!(events.try_next().is_none());
    Ok(())
}

#[test]
fn what_was_missed_last_is_told_at_the_end() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let events = sim.app().events();
    for _ in 0..1_500 {
        let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    }
    // Each is cancelled as well.
    sim.shutdown(SECOND);
    let events: Vec<Event> = events.into_iter().collect();
    assert_eq!(events.len(), 1_025);
    assert!(
        matches!(events.last(), Some(Event::Missed(1_976))),
        "{:?}",
        events.last()
    );
    Ok(())
}

#[test]
fn the_stream_ends_when_the_app_has_stopped() -> Result {
    let app = Jobber::builder().build()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let events = app.events();
    let reader = std::thread::spawn(move || events.into_iter().count());
    let stream = app.events();
    task.schedule(()).push().wait_blocking()?.wait_blocking();
    app.shutdown(Duration::MAX).wait_blocking();
    assert_eq!(reader.join().unwrap(), 3);
    assert_eq!(future::block_on(stream.count()), 3);
    assert_eq!(
        app.events().into_iter().count(),
        0,
        "one that comes too late"
    );
    Ok(())
}

#[test]
fn a_job_does_not_wait_for_its_readers() -> Result {
    let app = Jobber::builder().build()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let _never_read = app.events();
    for _ in 0..2_000 {
        let job = task.schedule(()).push().wait_blocking()?;
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

/// Regression: a reader that began between the check for readers and the transition
/// missed the event, and waited for it for ever.
#[test]
fn a_reader_that_begins_before_a_transition_sees_its_event() -> Result {
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

/// Regression: the last events were lost if another thread was sending when the app
/// stopped.
#[test]
fn events_of_a_shutdown_are_sent_although_another_thread_is_sending() -> Result {
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

/// Regression: when a running job was replaced, the event had the right instant in the
/// zone of the old trigger.
#[test]
fn the_scheduled_event_of_a_replacement_during_a_run_has_its_own_zone() -> Result {
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
