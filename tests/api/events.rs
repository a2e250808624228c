//! The events of an app.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::support::{
    DropCounter, HOUR, MINUTE, Result, SECOND, delay_all, event_kind, poll, started_app,
    wait_until, without_deadlock,
};
use futures_lite::{Stream, StreamExt, future};
use jobber::testing::Simulation;
use jobber::{Backoff, Event, Events, JobContext, JobEventKind, JobStatus, Misfire};
use time::macros::datetime;

/// The kinds of the events so far, without their times.
fn kinds(events: &mut Events) -> Vec<String> {
    std::iter::from_fn(|| events.try_next())
        .map(event_kind)
        .collect()
}

#[test]
fn a_job_that_succeeds_is_scheduled_started_and_ended() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", || async {}).register()?;
    let _ = task.schedule(()).delay(SECOND).block_on()?;
    sim.advance(SECOND);
    assert_eq!(
        kinds(&mut events),
        ["scheduled", "started 1.1", "ended SUCCESS"]
    );
    Ok(())
}

#[test]
fn a_retry_is_an_event_between_two_starts() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task.retry(Backoff::fixed(1, SECOND)).register()?;
    let _ = task.schedule(()).push().block_on()?;
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
fn a_recurring_job_has_an_event_for_each_run_and_each_misfire() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let clock = sim.clock();
    let task = sim.app().task("t", move |cx: JobContext| {
        clock.sleep(SECOND * (5 * (2 - cx.run_number() as u32)))
    });
    let task = task.register()?;
    let schedule = task.schedule(()).misfire(Misfire::Skip).max_runs(2);
    let _ = schedule.every(SECOND * 2).block_on()?;
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
fn cancel_abort_and_shutdown_send_cancelled() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", std::future::pending::<()>).register()?;
    let job = task.schedule(()).delay(SECOND).block_on()?;
    job.cancel().block_on()?;
    assert_eq!(kinds(&mut events), ["scheduled", "cancelled"]);
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    job.abort().block_on()?;
    assert_eq!(
        kinds(&mut events),
        ["scheduled", "started 1.1", "cancelled"]
    );
    let _ = task.schedule(()).delay(SECOND).block_on()?;
    sim.shutdown(SECOND);
    assert_eq!(kinds(&mut events), ["scheduled", "cancelled"]);
    Ok(())
}

#[test]
fn an_abort_in_a_run_ends_the_run_and_then_the_job() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", std::future::pending::<()>).register()?;
    let job = task.schedule(()).every(SECOND).block_on()?;
    sim.advance(SECOND);
    job.abort().block_on()?;
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
fn a_replacement_that_gives_up_a_retry_ends_the_run_before_it_is_scheduled() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", async || Err::<(), _>("no"));
    let task = task.retry(Backoff::fixed(3, MINUTE)).register()?;
    let job = task.schedule(()).id("x").every(SECOND).block_on()?;
    let waiting = job.next_run();
    sim.advance(SECOND);
    assert_eq!(
        kinds(&mut events),
        ["scheduled", "started 1.1", "retrying after 1"]
    );
    let again = task.schedule(()).id("x").replace();
    let job = again.every(MINUTE * 2).block_on()?;
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
    // The end of the run ends the wait for it.
    assert!(poll(waiting).is_some());
    Ok(())
}

#[test]
fn missed_times_of_a_replaced_trigger_are_no_misfire() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND * 5));
    let task = task.register()?;
    let _ = task.schedule(()).id("x").every(SECOND).block_on()?;
    sim.advance(SECOND * 2);
    let again = task.schedule(()).id("x").replace_any();
    let _ = again.delay(MINUTE).block_on()?;
    let mut events = sim.app().events();
    sim.advance(SECOND * 4);
    // The new trigger has missed no time.
    assert_eq!(kinds(&mut events), ["run 1 ended SUCCESS"]);
    Ok(())
}

#[test]
fn a_replacement_by_the_same_expression_keeps_the_jittered_due_time() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let schedule = || task.schedule(()).id("x").replace().jitter(MINUTE * 30);
    let job = schedule().cron("@hourly").block_on()?;
    let due = job.exec_at();
    let mut events = sim.app().events();
    let _ = schedule().cron("@hourly").block_on()?;
    let Some(Event::Job(event)) = events.try_next() else {
        panic!("there is no event");
    };
    assert_eq!(event.kind, JobEventKind::Scheduled { due });
    assert_eq!(job.exec_at(), due);
    Ok(())
}

#[test]
fn a_time_that_the_clock_jumped_over_is_a_misfire() -> Result {
    for (misfire, then) in [(Misfire::Skip, None), (Misfire::Once, Some("started 1.1"))] {
        let mut sim = Simulation::new();
        let mut events = sim.app().events();
        let task = sim.app().task("t", std::future::pending::<()>).register()?;
        let schedule = task.schedule(()).misfire(misfire);
        let job = schedule.cron("@hourly").block_on()?;
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
fn a_job_that_missed_all_its_times_is_cancelled() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let task = sim.app().task("t", async |_: DropCounter| ()).register()?;
    let counter = DropCounter::default();
    let schedule = task.schedule(counter.clone()).misfire(Misfire::Skip);
    let job = schedule.cron("0 0 1 1 1 * 2000").block_on()?;
    let waiting = job.wait();
    sim.set_wall(datetime!(2000-01-01 1:30 UTC));
    let events = kinds(&mut events);
    assert_eq!(
        events.last().map(String::as_str),
        Some("cancelled"),
        "{events:?}"
    );
    assert_eq!(waiting.block_on(), JobStatus::Cancelled);
    assert!(sim.app().jobs().is_empty());
    sim.run_until_stalled();
    assert_eq!(counter.alive(), 0);
    Ok(())
}

#[test]
fn an_event_has_its_time_its_job_and_its_task() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("greet", || async {}).register()?;
    let job = task.schedule(()).id("x").delay(SECOND).block_on()?;
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
fn each_reader_gets_every_event_since_it_began() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let mut early = sim.app().events();
    let _ = task.schedule(()).delay(SECOND).block_on()?;
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
fn a_slow_reader_misses_the_oldest_events_and_gets_their_number() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let mut events = sim.app().events();
    let jobs = delay_all(&task, SECOND, [(); 1_124])?;
    assert!(matches!(events.try_next(), Some(Event::Missed(100))));
    for job in &jobs[100..] {
        let Some(Event::Job(event)) = events.try_next() else {
            panic!("there is an event of {}", job.id());
        };
        assert_eq!(event.id, *job.id());
    }
    assert!(events.try_next().is_none());
    let _ = task.schedule(()).delay(SECOND).block_on()?;
    assert!(matches!(events.try_next(), Some(Event::Job(_))));
    assert!(events.try_next().is_none());
    Ok(())
}

#[test]
fn a_reader_gets_the_last_events_after_the_end_although_another_is_dropped() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let (events, other) = (sim.app().events(), sim.app().events());
    delay_all(&task, SECOND, [(); 1_500])?;
    // Shutdown cancels each of them, which is one more event.
    sim.shutdown(SECOND);
    drop(other);
    let events: Vec<Event> = events.into_iter().collect();
    assert_eq!(events.len(), 1_025);
    assert!(matches!(events[0], Event::Missed(1_976)), "{}", events[0]);
    let ended =
        |event: &Event| matches!(event, Event::Job(event) if event.kind == JobEventKind::Cancelled);
    assert!(events[1..].iter().all(ended));
    Ok(())
}

#[test]
fn the_stream_ends_when_the_app_has_stopped() -> Result {
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    let events = app.events();
    let reader = std::thread::spawn(move || events.into_iter().count());
    let stream = app.events();
    task.schedule(()).push().block_on()?.wait_blocking();
    app.shutdown(Duration::MAX).block_on();
    assert_eq!(reader.join().unwrap(), 3);
    assert_eq!(future::block_on(stream.count()), 3);
    assert_eq!(
        app.events().into_iter().count(),
        0,
        "a reader that begins after the end"
    );
    Ok(())
}

#[test]
fn a_job_does_not_wait_for_its_readers() -> Result {
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    let _never_read = app.events();
    for _ in 0..2_000 {
        let job = task.schedule(()).push().block_on()?;
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

/// Regression: a reader that began between the check for readers and the transition
/// missed the event, and waited for it for ever.
#[test]
fn a_reader_that_begins_before_a_transition_sees_its_event() -> Result {
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    for _ in 0..2_000 {
        let job = task.schedule(()).push().block_on()?;
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

/// Regression: events were sent by the threads that made them, the timer's too. Many readers, or
/// one whose waker blocks, kept all jobs from starting; and the last events were lost.
#[test]
fn a_waker_that_blocks_holds_up_no_job_and_loses_no_event() -> Result {
    /// Blocks the thread that wakes until the test says so.
    struct Blocks(Mutex<mpsc::Receiver<()>>, AtomicUsize);
    impl Wake for Blocks {
        fn wake(self: Arc<Self>) {
            if self.1.fetch_add(1, Ordering::SeqCst) == 0 {
                let _ = self.0.lock().unwrap().recv();
            }
        }
    }
    let app = started_app()?;
    let task = app.task("t", || async {}).register()?;
    let hangs = app.task("hangs", std::future::pending::<()>);
    let hangs = hangs.timeout(SECOND / 100).register()?;
    let (go_on, held) = mpsc::channel();
    let blocks = Arc::new(Blocks(Mutex::new(held), AtomicUsize::new(0)));
    let waker = Waker::from(blocks.clone());
    let mut events = app.events();
    let poll = pin!(&mut events).poll_next(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    without_deadlock(move || {
        let job = task.schedule(()).push().block_on()?;
        wait_until(|| blocks.1.load(Ordering::SeqCst) != 0);
        assert_eq!(job.wait_blocking(), JobStatus::Success);
        let job = hangs.schedule(()).delay(SECOND / 100).block_on()?;
        assert_eq!(job.wait_blocking(), JobStatus::Timeout);
        let _ = task.schedule(()).delay(HOUR).block_on()?;
        app.shutdown(HOUR).block_on();
        Ok(())
    })?;
    go_on.send(())?;
    let kinds: Vec<_> = events.into_iter().map(event_kind).collect();
    let expected = [
        "scheduled",
        "started 1.1",
        "ended SUCCESS",
        "scheduled",
        "started 1.1",
        "ended TIMEOUT",
        "scheduled",
        "cancelled",
    ];
    assert_eq!(kinds, expected);
    Ok(())
}

/// Regression: when a running job was replaced, the event had the right instant in the
/// zone of the old trigger.
#[test]
fn the_scheduled_event_of_a_replacement_during_a_run_has_its_own_zone() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", std::future::pending::<()>).register()?;
    let first = time::macros::offset!(+9);
    let schedule = task.schedule(()).id("x").zone(first);
    let job = schedule.push().block_on()?;
    sim.run_until_stalled();
    let mut events = sim.app().events();
    let next = time::macros::offset!(-5);
    let again = task.schedule(()).id("x").replace().zone(next);
    let _ = again.delay(HOUR).block_on()?;
    let Some(Event::Job(event)) = events.try_next() else {
        panic!("there is no event");
    };
    let JobEventKind::Scheduled { due } = event.kind else {
        panic!("{event}");
    };
    assert_eq!(due, datetime!(2000-01-01 1:00 UTC));
    assert_eq!(due.offset(), next);
    assert_eq!(job.exec_at().offset(), first, "the run has the old trigger");
    Ok(())
}
