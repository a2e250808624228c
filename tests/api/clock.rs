//! Jobs never start early, and each follows the right clock.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::support::{
    HOUR, Log, MINUTE, NANOSECOND, Result, SECOND, delay_all, hand_polled_app, is_clock_unset,
    manual_app, seconds,
};
use futures_lite::future::block_on;
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, Clock, Event, JobStatus, Jobber, Misfire, SystemClock};
use time::OffsetDateTime;
use time::macros::datetime;

#[test]
fn a_delay_is_kept_to_the_nanosecond() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).delay(HOUR).block_on()?;
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
    let submit = task.schedule(()).at(datetime!(2000-01-01 1:00 UTC));
    let job = submit.block_on()?;
    sim.advance(HOUR - NANOSECOND);
    assert_eq!(job.status(), JobStatus::Scheduled);
    sim.advance(NANOSECOND);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

/// On the system's clocks and real threads.
#[test]
fn no_job_starts_early_on_the_system_clock() -> Result {
    let clock = SystemClock::new();
    let app = Jobber::builder().clock(clock).build()?;
    let early = Log::new();
    let task = app.task("t", {
        let early = early.clone();
        move |due: Duration, wall_due: Option<OffsetDateTime>| {
            let (now, wall) = (clock.monotonic(), clock.wall());
            if now < due || wall_due.is_some_and(|due| wall < due) {
                early.add((now, due));
            }
            async {}
        }
    });
    let task = task.register()?;
    app.start().block_on()?;
    for _ in 0..500 {
        let delay = Duration::from_nanos(fastrand::u64(0..20_000_000));
        let due = clock.monotonic() + delay;
        let _ = task.schedule((due, None)).delay(delay).block_on()?;
        let at = clock.wall() + delay;
        let submit = task.schedule((Duration::ZERO, Some(at))).at(at);
        let _ = submit.block_on()?;
    }
    app.wait_all().block_on();
    assert!(early.entries().is_empty());
    Ok(())
}

#[test]
fn equal_due_times_start_in_the_order_of_scheduling() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", log.argument()).register()?;
    delay_all(&task, SECOND, 0..1_000)?;
    sim.advance(SECOND);
    assert_eq!(log.entries(), (0..1_000).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_step_forward_makes_wall_clock_jobs_due_and_no_delay() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let submit = task.schedule(()).at(datetime!(2000-01-01 10:00 UTC));
    let at = submit.block_on()?;
    let delay = task.schedule(()).delay(HOUR * 10).block_on()?;
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
fn a_step_back_postpones_wall_clock_jobs() -> Result {
    let mut sim = Simulation::new();
    let now = seconds(&sim);
    let log = Log::new();
    let task = sim.app().task("t", log.each(move |_| now())).register()?;
    let submit = task.schedule(()).at(datetime!(2000-01-01 0:01 UTC));
    let _ = submit.block_on()?;
    sim.advance(MINUTE / 2);
    sim.set_wall(datetime!(1999-12-31 23:00:30 UTC));
    sim.advance(HOUR - SECOND);
    assert!(log.entries().is_empty());
    sim.advance(HOUR);
    assert_eq!(log.entries(), [30 + 3_600 + 30]);
    Ok(())
}

/// A clock that goes back by more than three hours had been wrong, and stays known to have
/// been when it comes nearer to the last run.
#[test]
fn times_that_ran_by_a_wrong_clock_run_again_also_if_it_is_set_right_in_two_steps() -> Result {
    for (second_step, hours) in [
        (None, vec![9, 10, 11, 12, 13]),
        (Some(datetime!(2000-01-01 10:30 UTC)), vec![11, 12, 13]),
    ] {
        let mut sim = Simulation::new();
        let (log, seen) = (Log::new(), sim.clock());
        let each = log.each(move |_| seen.wall().hour());
        let task = sim.app().task("t", each).register()?;
        let times_of_day = task.schedule(()).misfire(Misfire::Skip);
        let _ = times_of_day.cron("0 0-23 * * *").block_on()?;
        sim.advance(HOUR * 12 + HOUR / 2);
        assert_eq!(log.take().last(), Some(&12));
        sim.set_wall(datetime!(2000-01-01 8:30 UTC));
        if let Some(wall) = second_step {
            sim.set_wall(wall);
        }
        let now = sim.clock().wall();
        sim.advance((datetime!(2000-01-01 13:30 UTC) - now).unsigned_abs());
        assert_eq!(log.entries(), hours);
    }
    Ok(())
}

/// The system's clock; it sends how long the timer thread is going to sleep.
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

/// An app, and how long its timer sleeps each time.
fn app_with_spy() -> Result<(Jobber, mpsc::Receiver<Duration>)> {
    app_with_spy_and_gap(Duration::ZERO)
}

fn app_with_spy_and_gap(gap: Duration) -> Result<(Jobber, mpsc::Receiver<Duration>)> {
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
fn the_timer_sleeps_until_the_first_due_time_and_no_later_job_wakes_it() -> Result {
    let (app, sleeps) = app_with_spy()?;
    let task = app.task("t", || async {}).register()?;
    app.start().block_on()?;
    let first = task.schedule(()).delay(HOUR).block_on()?;
    let sleep = sleeps.recv_timeout(MINUTE)?;
    assert!((HOUR - MINUTE..=HOUR).contains(&sleep), "{sleep:?}");
    for n in 0..10_000 {
        let _ = task.schedule(()).delay(HOUR + SECOND * n).block_on()?;
    }
    assert!(sleeps.try_recv().is_err(), "it was not woken");
    // An earlier job wakes it, and it sleeps until that is due.
    let _ = task.schedule(()).delay(MINUTE * 10).block_on()?;
    let sleep = sleeps.recv_timeout(MINUTE)?;
    assert!((MINUTE * 9..=MINUTE * 10).contains(&sleep), "{sleep:?}");
    drop(first);
    Ok(())
}

/// Regression: the timer slept through entries that were due before its next wake-up.
#[test]
fn the_timer_is_woken_for_any_earlier_due_time() -> Result {
    let soon = MINUTE * 10;
    let cases: [fn(&Jobber) -> Result; 4] = [
        |app| {
            let task = app.task("timeout", std::future::pending::<()>);
            let task = task.timeout(MINUTE * 10).register()?;
            let _ = task.schedule(()).push().block_on()?;
            Ok(())
        },
        |app| {
            let task = app.task("retry", || async { Err::<(), _>("no") });
            let task = task.retry(Backoff::fixed(1, MINUTE * 10)).register()?;
            let _ = task.schedule(()).push().block_on()?;
            Ok(())
        },
        |app| {
            let task = app.task("replaced", || async {}).register()?;
            let _ = task.schedule(()).id("x").delay(HOUR * 2).block_on()?;
            let earlier = task.schedule(()).id("x").replace().delay(MINUTE * 10);
            let _ = earlier.block_on()?;
            Ok(())
        },
        |app| {
            let task = app.task("recurring", || async {}).register()?;
            let _ = task.schedule(()).every(MINUTE * 10).block_on()?;
            Ok(())
        },
    ];
    for case in cases {
        let (app, sleeps) = app_with_spy()?;
        let task = app.task("t", || async {}).register()?;
        app.start().block_on()?;
        let _ = task.schedule(()).delay(HOUR).block_on()?;
        assert!(
            sleeps.recv_timeout(MINUTE)? > soon,
            "it sleeps until the hour is over"
        );
        case(&app)?;
        let sleep = sleeps.recv_timeout(MINUTE)?;
        assert!((soon - MINUTE..=soon).contains(&sleep), "{sleep:?}");
    }
    Ok(())
}

#[test]
fn a_change_of_half_a_second_counts_as_a_step_of_the_clock() -> Result {
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
fn a_coalescing_window_does_not_delay_a_single_job() -> Result {
    let (app, sleeps) = app_with_spy_and_gap(SECOND)?;
    let task = app.task("t", || async {}).register()?;
    app.start().block_on()?;
    let delay = Duration::from_millis(10);
    let job = task.schedule(()).delay(delay).block_on()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert!(sleeps.try_iter().all(|sleep| sleep <= delay));
    Ok(())
}

#[test]
fn a_job_that_is_due_within_a_coalescing_window_starts_at_the_end_of_the_gap() -> Result {
    let (app, sleeps) = app_with_spy_and_gap(SECOND)?;
    let task = app.task("t", || async {}).register()?;
    app.start().block_on()?;
    let _ = task.schedule(()).delay(HOUR).block_on()?;
    let (short, delay) = (Duration::from_millis(1), Duration::from_millis(100));
    let first = task.schedule(()).delay(short).block_on()?;
    first.wait_blocking();
    let second = task.schedule(()).delay(delay).block_on()?;
    assert_eq!(second.wait_blocking(), JobStatus::Success);
    // Other sleeps are for the first job, or for the job in an hour.
    let is_for_second = |sleep: &Duration| *sleep > short && *sleep < MINUTE;
    let sleeps: Vec<_> = sleeps.try_iter().filter(is_for_second).collect();
    assert!(!sleeps.is_empty());
    assert!(sleeps.iter().all(|sleep| *sleep > delay), "{sleeps:?}");
    Ok(())
}

#[test]
fn the_timer_checks_the_wall_clock_each_minute_while_a_job_waits_for_a_wall_time() -> Result {
    let (app, sleeps) = app_with_spy()?;
    let task = app.task("t", || async {}).register()?;
    app.start().block_on()?;
    let at = OffsetDateTime::now_utc() + HOUR;
    let _ = task.schedule(()).at(at).block_on()?;
    let sleep = sleeps.recv_timeout(MINUTE)?;
    assert!(
        (MINUTE - SECOND * 10..=MINUTE).contains(&sleep),
        "{sleep:?}"
    );
    Ok(())
}

#[test]
fn a_timer_without_jobs_sleeps_without_a_limit() -> Result {
    let (app, sleeps) = app_with_spy()?;
    let task = app.task("t", || async {}).register()?;
    app.start().block_on()?;
    let submit = task.schedule(()).delay(Duration::from_millis(1));
    let job = submit.block_on()?;
    job.wait_blocking();
    // Every sleep was for that one job.
    app.shutdown(HOUR).block_on();
    assert!(
        sleeps
            .try_iter()
            .all(|sleep| sleep <= Duration::from_millis(1))
    );
    Ok(())
}

#[test]
fn the_timer_does_not_wake_for_a_cancelled_job() -> Result {
    let (app, sleeps) = app_with_spy()?;
    let task = app.task("t", || async {}).register()?;
    app.start().block_on()?;
    let soon = task.schedule(()).delay(MINUTE).block_on()?;
    let _ = task.schedule(()).delay(HOUR).block_on()?;
    sleeps.recv_timeout(MINUTE)?;
    soon.cancel().block_on()?;
    // An earlier job wakes the timer, which then skips the cancelled one.
    let submit = task.schedule(()).delay(Duration::from_millis(1));
    let sooner = submit.block_on()?;
    sooner.wait_blocking();
    let later = sleeps.iter().find(|sleep| *sleep > SECOND).unwrap();
    assert!(later > MINUTE, "{later:?}");
    Ok(())
}

#[test]
fn a_manual_clock_drives_an_app_with_real_threads() -> Result {
    let (app, clock) = manual_app()?;
    let task = app.task("t", || async {}).register()?;
    let delayed = task.schedule(()).delay(HOUR).block_on()?;
    let submit = task.schedule(()).at(datetime!(2005-01-01 0:00 UTC));
    let dated = submit.block_on()?;
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
    assert!(
        events.try_next().is_none(),
        "time that passes is not a step"
    );
    sim.set_wall(datetime!(2000-01-01 0:30 UTC));
    match events.try_next() {
        Some(Event::ClockStepped { by, .. }) => assert_eq!(by, time::Duration::minutes(-30)),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn a_step_of_the_wall_clock_is_an_event_only_after_the_start() -> Result {
    let hour = time::Duration::HOUR;
    let clock = ManualClock::new();
    let mut sim = Simulation::unstarted(0, clock.clone(), |app| app)?;
    let mut events = sim.app().events();
    sim.run_until_stalled();
    clock.set_wall(clock.wall() + hour);
    sim.app().start().block_on()?;
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
fn a_simulation_of_one_seed_has_the_same_events_each_time() -> Result {
    let history = |seed| -> Result<Vec<String>> {
        let mut sim = Simulation::with(seed, ManualClock::new(), |b| b)?;
        let events = Arc::new(Mutex::new(sim.app().events()));
        let task = sim.app().task("t", async |n: u32| {
            if n.is_multiple_of(3) {
                Err("three")
            } else {
                Ok(n)
            }
        });
        let task = task.retry(Backoff::exponential(2).jitter(0.9)).register()?;
        for n in 0..50 {
            let submit = task.schedule(n).delay(SECOND * (n * 7 % 20));
            let _ = submit.block_on()?;
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

/// Regression: the order in which a simulation started jobs of one due time depended on
/// the number of cores.
#[test]
fn a_simulation_starts_jobs_of_one_due_time_in_the_order_of_scheduling() -> Result {
    let mut sim = Simulation::new();
    let (clock, log) = (sim.clock(), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move |n: u64| {
            log.add(n);
            clock.sleep(SECOND * (n % 3) as u32)
        }
    });
    let task = task.register()?;
    delay_all(&task, SECOND, 0..1_000)?;
    sim.advance(MINUTE);
    assert_eq!(log.entries(), (0..1_000).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn the_timer_reads_the_clock_more_often_shortly_before_a_job_is_due_by_the_wall_clock() -> Result {
    for (away, longest) in [(100, 50), (60, 30), (10, 5), (1, 1)] {
        let (app, sleeps) = app_with_spy()?;
        let task = app.task("t", || async {}).register()?;
        app.start().block_on()?;
        let at = OffsetDateTime::now_utc() + SECOND * away;
        let _ = task.schedule(()).at(at).block_on()?;
        let sleep = sleeps.recv_timeout(MINUTE)?;
        assert!(sleep <= SECOND * longest, "{away}: {sleep:?}");
    }
    Ok(())
}

/// Regression: the timer looks at the wall clock once a minute, and a run that was late by
/// more than a second was missed.
#[test]
fn a_run_that_comes_due_between_two_reads_of_the_clock_is_not_missed() -> Result {
    for misfire in [Misfire::Skip, Misfire::Grace(SECOND * 10), Misfire::All(0)] {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async {}).register()?;
        let schedule = task.schedule(()).misfire(misfire);
        let job = schedule.cron("0 8 * * *").block_on()?;
        sim.advance(HOUR);
        let clock = sim.clock();
        clock.set_wall_silently(datetime!(2000-01-01 7:59:50 UTC));
        sim.advance(MINUTE);
        let nominal = job.last_run().map(|run| run.nominal_time);
        assert_eq!(nominal, Some(datetime!(2000-01-01 8:00 UTC)), "{misfire:?}");
    }
    Ok(())
}

#[test]
fn a_step_forward_over_a_time_is_a_misfire_however_long_the_timer_did_not_read_the_clock() -> Result
{
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let schedule = task.schedule(()).misfire(Misfire::Skip);
    let job = schedule.cron("0 8 * * *").block_on()?;
    sim.advance(HOUR);
    let clock = sim.clock();
    clock.set_wall_silently(datetime!(2000-01-01 8:01:01 UTC));
    sim.advance(MINUTE);
    assert!(job.last_run().is_none());
    assert_eq!(job.exec_at(), datetime!(2000-01-02 8:00 UTC));
    Ok(())
}

#[test]
fn a_suspend_is_not_a_step_of_the_wall_clock() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let mut next = || events.try_next().map(|event| event.to_string());
    sim.suspend(HOUR * 8);
    let resumed = "the machine was suspended for 28800s";
    assert_eq!(next().as_deref(), Some(resumed));
    assert_eq!(next(), None);
    // The clock is set while the machine is suspended.
    let clock = sim.clock();
    clock.suspend(HOUR * 8);
    sim.set_wall(clock.wall() - HOUR * 5);
    assert_eq!(next().as_deref(), Some(resumed));
    assert_eq!(next().as_deref(), Some("the wall clock stepped by -5h"));
    assert_eq!(next(), None);
    Ok(())
}

#[test]
fn a_suspend_delays_what_counts_on_the_monotonic_clock_and_nothing_else() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let start = datetime!(2000-01-01 0:20 UTC);
    let schedule = || task.schedule(());
    let delay = schedule().delay(MINUTE * 20).block_on()?;
    let every = schedule().every(MINUTE * 20).block_on()?;
    let dated = schedule().start_date(start).every(MINUTE * 20).block_on()?;
    sim.advance(MINUTE * 10);
    sim.suspend(HOUR * 8);
    assert_eq!(delay.exec_at(), datetime!(2000-01-01 8:20 UTC));
    assert_eq!(every.exec_at(), datetime!(2000-01-01 8:20 UTC));
    let last = dated.last_run().map(|run| (run.number, run.nominal_time));
    assert_eq!(last, Some((1, datetime!(2000-01-01 8:00 UTC))));
    assert_eq!(dated.exec_at(), datetime!(2000-01-01 8:20 UTC));
    sim.advance(MINUTE * 10);
    assert!(delay.is_done() && every.last_run().is_some());
    Ok(())
}

#[test]
fn the_time_at_which_a_delay_is_due_is_shown_by_the_clock_that_was_set() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let delay = task.schedule(()).delay(HOUR).block_on()?;
    let every = task.schedule(()).every(HOUR).block_on()?;
    sim.set_wall(datetime!(2005-01-01 0:00 UTC));
    assert_eq!(delay.exec_at(), datetime!(2005-01-01 1:00 UTC));
    assert_eq!(every.exec_at(), datetime!(2005-01-01 1:00 UTC));
    Ok(())
}

#[test]
fn jobs_wait_for_a_wall_clock_that_was_never_set_and_have_missed_nothing() -> Result {
    let boot = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
    let clock = boot.with_earliest_true_time(datetime!(2026-11-01 0:00 UTC));
    let mut sim = Simulation::with(0, clock, |app| app)?;
    let task = sim.app().task("t", || async {}).register()?;
    let all = Misfire::All(1_000);
    let cron = task
        .schedule(())
        .misfire(all)
        .cron("0 * * * *")
        .block_on()?;
    let start = datetime!(2026-11-20 0:00 UTC);
    let dated = task.schedule(()).misfire(all).start_date(start);
    let dated = dated.every(HOUR).block_on()?;
    let past = datetime!(1969-07-20 20:17 UTC);
    let at = task.schedule(()).at(past).block_on()?;
    let delay = task.schedule(()).delay(HOUR).block_on()?;
    sim.advance(HOUR * 3);
    assert!(is_clock_unset(&sim));
    assert!(!sim.app().health().is_healthy());
    assert!(delay.is_done());
    assert!(cron.last_run().is_none() && dated.last_run().is_none() && !at.is_done());
    sim.set_wall(datetime!(2026-11-20 15:30 UTC));
    assert_eq!(sim.app().health().to_string(), "healthy");
    assert!(at.is_done());
    for job in [&cron, &dated] {
        assert!(job.last_run().is_none());
        assert_eq!(job.exec_at(), datetime!(2026-11-20 16:00 UTC));
    }
    sim.advance(MINUTE * 30);
    assert!(cron.last_run().is_some() && dated.last_run().is_some());
    Ok(())
}

#[test]
fn a_clock_that_is_lost_and_found_again_is_a_step_by_the_difference() -> Result {
    let noon = datetime!(2026-11-20 12:00 UTC);
    let clock = ManualClock::at(noon).with_earliest_true_time(datetime!(2026-11-01 0:00 UTC));
    let mut sim = Simulation::with(0, clock, |app| app)?;
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).cron("0 * * * *").block_on()?;
    sim.advance(HOUR);
    sim.set_wall(OffsetDateTime::UNIX_EPOCH);
    sim.advance(HOUR * 2);
    assert_eq!(job.last_run().map(|run| run.number), Some(1));
    sim.set_wall(datetime!(2026-11-20 15:00:30 UTC));
    let last = job.last_run().map(|run| (run.number, run.nominal_time));
    assert_eq!(last, Some((2, datetime!(2026-11-20 15:00 UTC))));
    Ok(())
}

#[test]
fn the_clock_of_the_system_is_set_and_knows_of_suspends_on_linux() {
    let clock = SystemClock::new();
    assert!(
        clock
            .earliest_true_time()
            .is_some_and(|earliest| earliest <= clock.wall())
    );
    assert_eq!(clock.suspended().is_some(), cfg!(target_os = "linux"));
}

/// Regression: the timer came, followed the clock, and was not armed again. The job was silent
/// until the app was started again.
#[test]
fn a_due_job_that_has_not_started_goes_on_although_the_clock_was_set_meanwhile() -> Result {
    for is_declared_again in [true, false] {
        let (app, clock, spawned) = hand_polled_app()?;
        let mut events = app.events();
        let mut set_wall = |wall| {
            clock.set_wall(wall);
            let mut events = std::iter::from_fn(|| events.next_blocking());
            events.find(|event| matches!(event, Event::ClockStepped { .. }))
        };
        let log = Log::new();
        let task = app.task("t", log.each(|cx| cx.nominal_time().hour()));
        let task = task.register()?;
        let declare = || {
            let schedule = task.schedule(()).id("x").replace().expires(MINUTE);
            schedule.cron("0 9,10,11 * * *").block_on()
        };
        declare()?;
        clock.advance(HOUR * 9);
        block_on(spawned.recv_timeout(MINUTE)?);
        clock.advance(MINUTE * 10);
        // What was run is not run again.
        set_wall(datetime!(2000-01-01 8:50 UTC));
        clock.advance(MINUTE * 70);
        let late = spawned.recv_timeout(MINUTE)?;
        set_wall(datetime!(2000-01-01 10:00:03 UTC));
        if is_declared_again {
            declare()?;
        } else {
            // It comes too late, and is left out.
            clock.advance(MINUTE * 2);
        }
        block_on(late);
        let run_until = |hour| -> Result {
            while log.entries().last() != Some(&hour) {
                block_on(spawned.recv_timeout(MINUTE)?);
            }
            Ok(())
        };
        if is_declared_again {
            run_until(10)?;
        }
        set_wall(datetime!(2000-01-01 11:00 UTC));
        run_until(11)?;
        let hours: &[_] = if is_declared_again {
            &[9, 10, 11]
        } else {
            &[9, 11]
        };
        assert_eq!(log.entries(), hours, "declared again: {is_declared_again}");
    }
    Ok(())
}
