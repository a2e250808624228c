//! Time: never early, and on the right clock.

mod common;

use std::error::Error;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{HOUR, Log, MINUTE, SECOND, seconds};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, Clock, Event, JobStatus, Jobber, SystemClock};
use time::OffsetDateTime;
use time::macros::datetime;

type Result = std::result::Result<(), Box<dyn Error>>;

const NANOSECOND: Duration = Duration::from_nanos(1);

#[test]
fn a_delay_is_kept_to_the_nanosecond() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).delay(HOUR).wait_blocking()?;
    sim.advance(HOUR - NANOSECOND);
    assert_eq!(job.status(), JobStatus::Scheduled);
    sim.advance(NANOSECOND);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_wall_time_is_kept_to_the_nanosecond() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task
        .schedule(())
        .at(datetime!(2000-01-01 1:00 UTC))
        .wait_blocking()?;
    sim.advance(HOUR - NANOSECOND);
    assert_eq!(job.status(), JobStatus::Scheduled);
    sim.advance(NANOSECOND);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

/// On the system's clocks and real threads: whatever the delay, no job of many
/// starts before it.
#[test]
fn no_job_starts_early_on_the_system_clock() -> Result {
    let clock = SystemClock::new();
    let app = Jobber::builder().clock(clock).build()?;
    let early = Log::new();
    let task = app
        .task("t", {
            let early = early.clone();
            move |due: Duration, wall_due: Option<OffsetDateTime>| {
                let (now, wall) = (clock.monotonic(), clock.wall());
                if now < due || wall_due.is_some_and(|due| wall < due) {
                    early.add((now, due));
                }
                async {}
            }
        })
        .register()?;
    app.start().wait_blocking()?;
    for _ in 0..500 {
        let delay = Duration::from_nanos(fastrand::u64(0..20_000_000));
        let due = clock.monotonic() + delay;
        let _ = task.schedule((due, None)).delay(delay).wait_blocking()?;
        let at = clock.wall() + delay;
        let _ = task
            .schedule((Duration::ZERO, Some(at)))
            .at(at)
            .wait_blocking()?;
    }
    app.wait_all().wait_blocking();
    assert!(early.entries().is_empty());
    Ok(())
}

#[test]
fn equal_due_times_start_in_the_order_of_scheduling() -> Result {
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
    for n in 0..1_000 {
        let _ = task.schedule(n).delay(SECOND).wait_blocking()?;
    }
    sim.advance(SECOND);
    assert_eq!(log.entries(), (0..1_000).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_step_forward_makes_wall_jobs_due_and_leaves_delays_alone() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let at = task
        .schedule(())
        .at(datetime!(2000-01-01 10:00 UTC))
        .wait_blocking()?;
    let delay = task.schedule(()).delay(HOUR * 10).wait_blocking()?;
    sim.set_wall(datetime!(2000-01-01 9:59:59 UTC));
    assert_eq!(at.status(), JobStatus::Scheduled);
    sim.advance(SECOND);
    assert_eq!(
        (at.status(), delay.status()),
        (JobStatus::Success, JobStatus::Scheduled)
    );
    sim.advance(HOUR * 10 - SECOND * 2);
    assert_eq!(delay.status(), JobStatus::Scheduled);
    sim.advance(SECOND);
    assert_eq!(delay.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_step_back_puts_wall_jobs_off() -> Result {
    let mut sim = Simulation::new();
    let now = seconds(&sim);
    let log = Log::new();
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move || {
                log.add(now());
                async {}
            }
        })
        .register()?;
    let _ = task
        .schedule(())
        .at(datetime!(2000-01-01 0:01 UTC))
        .wait_blocking()?;
    sim.advance(MINUTE / 2);
    sim.set_wall(datetime!(1999-12-31 23:00:30 UTC));
    sim.advance(HOUR - SECOND);
    assert!(log.entries().is_empty());
    sim.advance(HOUR);
    assert_eq!(log.entries(), [30 + 3_600 + 30]);
    Ok(())
}

/// The system's clock, but what the timer's thread asks it for is told.
struct Spied {
    clock: SystemClock,
    sleeps: Mutex<mpsc::Sender<Duration>>,
}

impl Clock for Spied {
    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn wall(&self) -> OffsetDateTime {
        self.clock.wall()
    }

    fn sleep_until(&self, until: Duration) -> Option<Duration> {
        let sleep = self.clock.sleep_until(until);
        let _ = self.sleeps.lock().unwrap().send(sleep.unwrap_or_default());
        sleep
    }
}

/// An app, and for how long its thread goes to sleep each time.
fn spied() -> std::result::Result<(Jobber, mpsc::Receiver<Duration>), Box<dyn Error>> {
    spied_with(Duration::ZERO)
}

fn spied_with(
    gap: Duration,
) -> std::result::Result<(Jobber, mpsc::Receiver<Duration>), Box<dyn Error>> {
    let (sleeps, seen) = mpsc::channel();
    let clock = Spied {
        clock: SystemClock::new(),
        sleeps: Mutex::new(sleeps),
    };
    Ok((
        Jobber::builder()
            .clock(clock)
            .coalescing_window(gap)
            .build()?,
        seen,
    ))
}

#[test]
fn the_timer_sleeps_until_the_first_delay_and_no_later_one_wakes_it() -> Result {
    let (app, sleeps) = spied()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let first = task.schedule(()).delay(HOUR).wait_blocking()?;
    let sleep = sleeps.recv_timeout(MINUTE)?;
    assert!((HOUR - MINUTE..=HOUR).contains(&sleep), "{sleep:?}");
    for n in 0..10_000 {
        let _ = task.schedule(()).delay(HOUR + SECOND * n).wait_blocking()?;
    }
    assert!(sleeps.try_recv().is_err(), "it sleeps on");
    // An earlier one does, and it is that one that it sleeps for.
    let _ = task.schedule(()).delay(MINUTE * 10).wait_blocking()?;
    let sleep = sleeps.recv_timeout(MINUTE)?;
    assert!((MINUTE * 9..=MINUTE * 10).contains(&sleep), "{sleep:?}");
    drop(first);
    Ok(())
}

/// It slept through what came due before it would have looked anyway.
#[test]
fn the_timer_is_woken_for_whatever_comes_to_be_due_earlier() -> Result {
    let soon = MINUTE * 10;
    let cases: [fn(&Jobber) -> Result; 4] = [
        |app| {
            let task = app.task("timeout", std::future::pending::<()>);
            let task = task.timeout(MINUTE * 10).register()?;
            let _ = task.schedule(()).push().wait_blocking()?;
            Ok(())
        },
        |app| {
            let task = app.task("retry", || async { Err::<(), _>("no") });
            let task = task.retry(Backoff::fixed(1, MINUTE * 10)).register()?;
            let _ = task.schedule(()).push().wait_blocking()?;
            Ok(())
        },
        |app| {
            let task = app.task("replaced", || async {}).register()?;
            let _ = task.schedule(()).id("x").delay(HOUR * 2).wait_blocking()?;
            let earlier = task.schedule(()).id("x").replace().delay(MINUTE * 10);
            let _ = earlier.wait_blocking()?;
            Ok(())
        },
        |app| {
            let task = app.task("recurring", || async {}).register()?;
            let _ = task.schedule(()).every(MINUTE * 10).wait_blocking()?;
            Ok(())
        },
    ];
    for case in cases {
        let (app, sleeps) = spied()?;
        let task = app.task("t", || async {}).register()?;
        app.start().wait_blocking()?;
        let _ = task.schedule(()).delay(HOUR).wait_blocking()?;
        assert!(
            sleeps.recv_timeout(MINUTE)? > soon,
            "it sleeps for the hour"
        );
        case(&app)?;
        let sleep = sleeps.recv_timeout(MINUTE)?;
        assert!((soon - MINUTE..=soon).contains(&sleep), "{sleep:?}");
    }
    Ok(())
}

#[test]
fn a_step_of_half_a_second_is_one_and_less_is_none() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let mut wall = datetime!(2000-01-01 0:00 UTC);
    for nanos in [499_999_999, -499_999_999, 500_000_000, -500_000_000] {
        let by = time::Duration::nanoseconds(nanos);
        wall += by;
        sim.set_wall(wall);
        let found = match events.try_next() {
            Some(Event::ClockStepped { by, .. }) => Some(by),
            _ => None,
        };
        assert_eq!(found, (nanos.abs() == 500_000_000).then_some(by));
    }
    Ok(())
}

#[test]
fn a_coalescing_window_holds_up_no_job_that_is_alone() -> Result {
    let (app, sleeps) = spied_with(SECOND)?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let delay = Duration::from_millis(10);
    let job = task.schedule(()).delay(delay).wait_blocking()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert!(sleeps.try_iter().all(|sleep| sleep <= delay));
    Ok(())
}

#[test]
fn what_comes_due_within_a_coalescing_window_is_started_at_its_end() -> Result {
    let (app, sleeps) = spied_with(SECOND)?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let _ = task.schedule(()).delay(HOUR).wait_blocking()?;
    let (short, delay) = (Duration::from_millis(1), Duration::from_millis(100));
    let first = task.schedule(()).delay(short).wait_blocking()?;
    first.wait_blocking();
    let second = task.schedule(()).delay(delay).wait_blocking()?;
    assert_eq!(second.wait_blocking(), JobStatus::Success);
    // Some are for the first, some for the one in an hour, before and after.
    let is_for_second = |sleep: &Duration| *sleep > short && *sleep < MINUTE;
    let sleeps: Vec<_> = sleeps.try_iter().filter(is_for_second).collect();
    assert!(!sleeps.is_empty());
    assert!(sleeps.iter().all(|sleep| *sleep > delay), "{sleeps:?}");
    Ok(())
}

#[test]
fn while_a_wall_time_is_waited_for_the_clock_is_looked_at_each_minute() -> Result {
    let (app, sleeps) = spied()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let at = OffsetDateTime::now_utc() + HOUR;
    let _ = task.schedule(()).at(at).wait_blocking()?;
    let sleep = sleeps.recv_timeout(MINUTE)?;
    assert!(
        (MINUTE - SECOND * 10..=MINUTE).contains(&sleep),
        "{sleep:?}"
    );
    Ok(())
}

#[test]
fn a_timer_with_nothing_to_wait_for_sets_no_time_to_wake_up() -> Result {
    let (app, sleeps) = spied()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let job = task
        .schedule(())
        .delay(Duration::from_millis(1))
        .wait_blocking()?;
    job.wait_blocking();
    // All sleeps were for that one job.
    app.shutdown(HOUR).wait_blocking();
    assert!(
        sleeps
            .try_iter()
            .all(|sleep| sleep <= Duration::from_millis(1))
    );
    Ok(())
}

#[test]
fn a_cancelled_job_is_nothing_to_wake_up_for() -> Result {
    let (app, sleeps) = spied()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let soon = task.schedule(()).delay(MINUTE).wait_blocking()?;
    let _ = task.schedule(()).delay(HOUR).wait_blocking()?;
    sleeps.recv_timeout(MINUTE)?;
    soon.cancel().wait_blocking()?;
    // Something earlier wakes it, and then the cancelled one is gone.
    let sooner = task
        .schedule(())
        .delay(Duration::from_millis(1))
        .wait_blocking()?;
    sooner.wait_blocking();
    let later = sleeps.iter().find(|sleep| *sleep > SECOND).unwrap();
    assert!(later > MINUTE, "{later:?}");
    Ok(())
}

#[test]
fn a_manual_clock_drives_an_app_with_real_threads() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder().clock(clock.clone()).build()?;
    let task = app.task("t", || async {}).register()?;
    app.start().wait_blocking()?;
    let delayed = task.schedule(()).delay(HOUR).wait_blocking()?;
    let dated = task
        .schedule(())
        .at(datetime!(2005-01-01 0:00 UTC))
        .wait_blocking()?;
    clock.advance(HOUR);
    assert_eq!(delayed.wait_blocking(), JobStatus::Success);
    assert_eq!(dated.status(), JobStatus::Scheduled);
    clock.set_wall(datetime!(2005-01-01 0:00 UTC));
    assert_eq!(dated.wait_blocking(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_step_of_the_wall_clock_is_an_event() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    sim.advance(HOUR);
    assert!(events.try_next().is_none(), "time that passes is no step");
    sim.set_wall(datetime!(2000-01-01 0:30 UTC));
    match events.try_next() {
        Some(Event::ClockStepped { by, .. }) => assert_eq!(by, time::Duration::minutes(-30)),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn a_step_of_the_wall_clock_before_the_start_is_none_and_one_after_it_is() -> Result {
    let hour = time::Duration::HOUR;
    let clock = ManualClock::new();
    let mut sim = Simulation::unstarted(0, clock.clone(), |app| app)?;
    let mut events = sim.app().events();
    sim.run_until_stalled();
    clock.set_wall(clock.wall() + hour);
    sim.app().start().wait_blocking()?;
    clock.set_wall(clock.wall() - hour);
    sim.run_until_stalled();
    match events.try_next() {
        Some(Event::ClockStepped { by, .. }) => assert_eq!(by, -hour),
        other => panic!("{other:?}"),
    }
    assert!(events.try_next().is_none());
    Ok(())
}

#[test]
fn a_simulation_is_the_same_each_time() -> Result {
    let history = |seed| -> std::result::Result<Vec<String>, Box<dyn Error>> {
        let mut sim = Simulation::with(seed, ManualClock::new(), |b| b)?;
        let events = Arc::new(Mutex::new(sim.app().events()));
        let task = sim
            .app()
            .task("t", async |n: u32| {
                if n.is_multiple_of(3) {
                    Err("three")
                } else {
                    Ok(n)
                }
            })
            .retry(Backoff::exponential(2).jitter(0.9))
            .register()?;
        for n in 0..50 {
            let _ = task
                .schedule(n)
                .delay(SECOND * (n * 7 % 20))
                .wait_blocking()?;
        }
        sim.advance(MINUTE);
        let mut events = events.lock().unwrap();
        Ok(std::iter::from_fn(|| events.try_next())
            .map(|e| format!("{e:?}"))
            .collect())
    };
    assert_eq!(history(1)?, history(1)?);
    assert_ne!(history(1)?, history(2)?);
    Ok(())
}
