//! Recurring jobs on an interval.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::support::{
    HOUR, Log, MINUTE, Result, SECOND, event_kinds, manual_app, seconds, simulation_at,
};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Clock, JobContext, JobError, JobStatus, Jobber, Misfire, NextRun};
use time::OffsetDateTime;
use time::macros::datetime;

/// The seconds, up to `span`, at which the runs of a job with an interval of ten seconds
/// start; the first of them take `take` seconds each.
fn start_times(misfire: Misfire, take: &[u64], span: Duration) -> Result<Vec<u64>> {
    let mut sim = Simulation::new();
    let (clock, now, log) = (sim.clock(), seconds(&sim), Log::new());
    let take = take.to_vec();
    let task = sim.app().task("t", {
        let log = log.clone();
        move |cx: JobContext| {
            log.add(now());
            let take = take.get(cx.run_number() as usize - 1).copied().unwrap_or(0);
            clock.sleep(Duration::from_secs(take))
        }
    });
    let task = task.register()?;
    let schedule = task.schedule(()).misfire(misfire);
    let _ = schedule.every(SECOND * 10).block_on()?;
    sim.advance(span);
    Ok(log.entries())
}

#[test]
fn runs_keep_to_the_grid_however_long_they_take() -> Result {
    assert_eq!(
        start_times(Misfire::Once, &[0, 3, 9, 1], MINUTE)?,
        [10, 20, 30, 40, 50, 60]
    );
    Ok(())
}

#[test]
fn an_overrun_is_a_misfire_and_no_two_runs_overlap() -> Result {
    // The first run takes from 10 to 45: the times 20, 30 and 40 are missed.
    let after_overrun = |misfire| start_times(misfire, &[35], Duration::from_secs(75));
    assert_eq!(after_overrun(Misfire::Once)?, [10, 45, 50, 60, 70]);
    assert_eq!(after_overrun(Misfire::Skip)?, [10, 50, 60, 70]);
    assert_eq!(
        after_overrun(Misfire::All(9))?,
        [10, 45, 45, 45, 50, 60, 70]
    );
    assert_eq!(after_overrun(Misfire::All(2))?, [10, 45, 45, 50, 60, 70]);
    let grace = Misfire::Grace(Duration::from_secs(15));
    assert_eq!(after_overrun(grace)?, [10, 45, 45, 50, 60, 70]);
    Ok(())
}

/// The last time is late by less than the time since the timer looked at the clocks, and so is
/// on time.
#[test]
fn times_that_were_overtaken_before_the_timer_read_the_clock_are_missed_and_the_last_one_is_not()
-> Result {
    let after_jump = |misfire| -> Result<Vec<u64>> {
        let mut sim = Simulation::new();
        let log = Log::new();
        let task = sim.app().task("t", {
            let log = log.clone();
            move |cx: JobContext| {
                let nominal = cx.nominal_time() - datetime!(2000-01-01 0:00 UTC);
                log.add(nominal.whole_seconds() as u64);
                async {}
            }
        });
        let task = task.register()?;
        let schedule = task.schedule(()).misfire(misfire);
        let _ = schedule.every(SECOND * 10).block_on()?;
        // One jump past 10, 20 and 30.
        sim.clock().advance(SECOND * 35);
        sim.run_until_stalled();
        sim.advance(SECOND * 20);
        Ok(log.entries())
    };
    assert_eq!(after_jump(Misfire::Once)?, [30, 40, 50]);
    assert_eq!(after_jump(Misfire::Skip)?, [30, 40, 50]);
    assert_eq!(after_jump(Misfire::All(0))?, [30, 40, 50]);
    assert_eq!(after_jump(Misfire::All(9))?, [10, 20, 30, 40, 50]);
    assert_eq!(after_jump(Misfire::Grace(SECOND * 4))?, [30, 40, 50]);
    assert_eq!(after_jump(Misfire::Grace(SECOND * 16))?, [20, 30, 40, 50]);
    Ok(())
}

#[test]
fn run_number_and_nominal_time_are_in_the_context_and_in_the_run() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let log = Log::new();
    let task = sim.app().task("t", {
        let (log, clock) = (log.clone(), clock.clone());
        move |cx: JobContext| {
            log.add((cx.run_number(), cx.nominal_time()));
            clock.sleep(SECOND * 3)
        }
    });
    let task = task.register()?;
    let start = clock.wall();
    let job = task.schedule(()).every(MINUTE).block_on()?;
    sim.advance(MINUTE * 3 + SECOND * 5);
    assert_eq!(
        log.entries(),
        [1, 2, 3].map(|n| (n, start + MINUTE * n as u32))
    );
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (3, JobStatus::Success));
    assert_eq!(run.nominal_time, start + MINUTE * 3);
    assert_eq!(run.started_at, start + MINUTE * 3);
    assert_eq!(run.finished_at, start + MINUTE * 3 + SECOND * 3);
    Ok(())
}

#[test]
fn the_result_of_a_recurring_job_is_that_of_its_last_finished_run() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move |cx: JobContext| {
        let (sleep, n) = (clock.sleep(SECOND), cx.run_number());
        async move {
            sleep.await;
            if n == 2 {
                Err(format!("run {n}"))
            } else {
                Ok(n)
            }
        }
    });
    let task = task.register()?;
    let job = task.schedule(()).every(SECOND * 10).block_on()?;
    assert!(matches!(job.result(), Err(JobError::NotCompleted)));
    sim.advance(SECOND * 15);
    assert_eq!((*job.result()?, job.status()), (1, JobStatus::Scheduled));
    sim.advance(SECOND * 5);
    assert_eq!((*job.result()?, job.status()), (1, JobStatus::Running));
    sim.advance(SECOND * 5);
    assert_eq!(
        job.result().unwrap_err().source().unwrap().to_string(),
        "run 2"
    );
    sim.advance(SECOND * 10);
    assert_eq!(*job.result()?, 3);
    Ok(())
}

#[test]
fn max_runs_ends_a_job_with_the_status_of_its_last_run() -> Result {
    for (last_is_good, end) in [(true, JobStatus::Success), (false, JobStatus::Failed)] {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", move |cx: JobContext| async move {
            match cx.run_number() {
                3 if !last_is_good => Err("the last"),
                n => Ok(n),
            }
        });
        let task = task.register()?;
        let schedule = task.schedule(()).max_runs(3);
        let job = schedule.every(SECOND).block_on()?;
        sim.advance(SECOND * 2);
        assert_eq!(job.status(), JobStatus::Scheduled);
        sim.advance(HOUR);
        assert_eq!((job.status(), job.last_run().unwrap().number), (end, 3));
        assert_eq!(job.result().is_ok(), last_is_good);
        assert!(sim.app().jobs().is_empty());
    }
    Ok(())
}

/// Runs a job each second for ten minutes; a run fails if `fails` returns `true` for its
/// number.
fn failing(
    max_failures: Option<u32>,
    fails: impl Fn(u64) -> bool + Send + Sync + Clone + 'static,
) -> Result<(JobStatus, u64)> {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", move |cx: JobContext| {
        let fails = fails(cx.run_number());
        async move { if fails { Err("no") } else { Ok(()) } }
    });
    let task = task.register()?;
    let mut schedule = task.schedule(());
    if let Some(max) = max_failures {
        schedule = schedule.max_failures(max);
    }
    let job = schedule.every(SECOND).block_on()?;
    sim.advance(MINUTE * 10);
    if job.status() == JobStatus::PermanentlyFailed {
        assert!(matches!(job.result(), Err(JobError::Failed(_))));
    }
    Ok((job.status(), job.last_run().unwrap().number))
}

#[test]
fn max_failures_in_a_row_end_a_job_as_permanently_failed() -> Result {
    assert_eq!(
        failing(Some(3), |_| true)?,
        (JobStatus::PermanentlyFailed, 3)
    );
    assert_eq!(
        failing(Some(1), |n| n == 5)?,
        (JobStatus::PermanentlyFailed, 5)
    );
    Ok(())
}

/// Regression: a default limit of ten ended a job for good in an outage of ten minutes.
#[test]
fn a_recurring_job_without_max_failures_fails_as_often_as_it_runs() -> Result {
    assert_eq!(failing(None, |_| true)?, (JobStatus::Scheduled, 600));
    Ok(())
}

#[test]
fn an_event_says_that_max_failures_ended_the_job() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task("t", async || Err::<(), _>("no"))
        .register()?;
    let mut events = sim.app().events();
    let _ = task.schedule(()).max_failures(2).every(SECOND).block_on()?;
    sim.advance(MINUTE);
    let kinds = event_kinds(&mut events, "t");
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["failed 2 times", "ended PERMANENTLY_FAILED"]
    );
    Ok(())
}

#[test]
fn a_success_starts_the_count_of_failures_over() -> Result {
    assert_eq!(
        failing(Some(3), |n| n % 3 != 0)?,
        (JobStatus::Scheduled, 600)
    );
    Ok(())
}

#[test]
fn next_run_returns_the_run_that_ends_next() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let schedule = task.schedule(()).max_runs(2);
    let job = schedule.every(SECOND).block_on()?;
    for number in 1..=2 {
        let next = job.next_run();
        sim.advance(SECOND);
        assert_eq!(next.block_on().unwrap().number, number);
    }
    assert_eq!(job.next_run().block_on(), None, "it is done");
    Ok(())
}

#[test]
fn next_run_returns_a_run_that_ended_before_its_first_poll() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).every(SECOND).block_on()?;
    let next = job.next_run();
    sim.advance(SECOND * 5);
    assert_eq!(smol::block_on(next).unwrap().number, 5, "the last by then");
    Ok(())
}

#[test]
fn next_run_returns_none_when_the_job_ends_without_another_run() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).every(SECOND).block_on()?;
    let next = job.next_run();
    job.cancel().block_on()?;
    assert_eq!(next.block_on(), None);
    Ok(())
}

#[test]
fn waiters_on_other_threads_see_every_run() -> Result {
    let (app, clock) = manual_app()?;
    let task = app.task("t", || async {}).register()?;
    let schedule = task.schedule(()).max_runs(100);
    let job = schedule.every(SECOND).block_on()?;
    let (send, sent) = std::sync::mpsc::channel::<NextRun>();
    let blocked = thread::spawn(move || {
        for (number, next) in (1..).zip(sent) {
            // It may come late, and see a later run.
            assert!(next.block_on().unwrap().number >= number);
        }
    });
    for number in 1..=100 {
        let next = job.next_run();
        send.send(job.next_run())?;
        clock.advance(SECOND);
        assert_eq!(next.block_on().unwrap().number, number);
    }
    drop(send);
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    blocked.join().unwrap();
    Ok(())
}

#[test]
fn a_start_date_in_the_future_is_the_first_run() -> Result {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim.app().task("t", log.each(move |_| now())).register()?;
    let start = datetime!(2000-01-01 0:00:25 UTC);
    let schedule = task.schedule(()).start_date(start);
    let _ = schedule.every(SECOND * 10).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [25, 35, 45, 55]);
    Ok(())
}

/// A start date is read from the clock before the job is scheduled.
#[test]
fn a_start_date_at_most_a_second_ago_is_the_first_run_at_once() -> Result {
    let start = datetime!(2026-11-23 12:00 UTC);
    let nanosecond = Duration::from_nanos(1);
    for (ago, runs) in [
        (Duration::ZERO, vec![0, 10, 20]),
        (nanosecond, vec![0, 10, 20]),
        (SECOND, vec![0, 10, 20]),
        (SECOND + nanosecond, vec![10, 20]),
    ] {
        for misfire in [Misfire::Once, Misfire::Skip, Misfire::All(9)] {
            let mut sim = simulation_at(start + ago)?;
            let nominal = Log::new();
            let task = sim.app().task(
                "t",
                nominal.each(move |cx| (cx.nominal_time() - start).whole_seconds()),
            );
            let task = task.register()?;
            let schedule = task.schedule(()).misfire(misfire).start_date(start);
            let _ = schedule.every(SECOND * 10).block_on()?;
            sim.run_until_stalled();
            let at_once = &runs[..runs.len() - 2];
            assert_eq!(nominal.entries(), at_once, "{ago:?} ago, {misfire:?}");
            sim.advance(SECOND * 20);
            assert_eq!(nominal.entries(), runs, "{ago:?} ago, {misfire:?}");
        }
    }
    Ok(())
}

#[test]
fn a_start_date_in_the_past_places_the_grid_and_misses_nothing() -> Result {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim.app().task("t", log.each(move |_| now())).register()?;
    let start = datetime!(1999-12-31 23:59:57 UTC);
    let schedule = task.schedule(()).misfire(Misfire::All(9)).start_date(start);
    let _ = schedule.every(SECOND * 10).block_on()?;
    sim.advance(MINUTE / 2);
    assert_eq!(log.entries(), [7, 17, 27]);
    Ok(())
}

#[test]
fn setting_the_wall_clock_moves_no_interval() -> Result {
    let mut sim = Simulation::new();
    let (now, log) = (seconds(&sim), Log::new());
    let task = sim.app().task("t", log.each(move |_| now())).register()?;
    let _ = task.schedule(()).every(SECOND * 10).block_on()?;
    sim.advance(SECOND * 15);
    sim.set_wall(datetime!(2030-06-01 0:00 UTC));
    sim.advance(SECOND * 10);
    sim.set_wall(datetime!(1980-06-01 0:00 UTC));
    sim.advance(SECOND * 10);
    assert_eq!(log.entries(), [10, 20, 30]);
    Ok(())
}

#[test]
fn an_interval_with_a_start_date_follows_the_wall_clock() -> Result {
    let mut sim = simulation_at(datetime!(2026-11-23 12:00 UTC))?;
    let (clock, log) = (sim.clock(), Log::new());
    let task = sim.app().task(
        "t",
        log.each(move |cx| (cx.nominal_time(), clock.wall() - cx.nominal_time())),
    );
    let task = task.register()?;
    let schedule = task
        .schedule(())
        .misfire(Misfire::Skip)
        .start_date(datetime!(2026-11-23 12:10 UTC));
    let job = schedule.every(HOUR).block_on()?;
    let runs = move || -> Vec<_> {
        let runs = log.take();
        let late = runs.iter().all(|(_, late)| late.is_zero());
        assert!(late, "{runs:?}");
        runs.into_iter().map(|(nominal, _)| nominal).collect()
    };
    sim.advance(HOUR);
    assert_eq!(runs(), [datetime!(2026-11-23 12:10 UTC)]);
    // The clock is set forward, and back again.
    sim.set_wall(datetime!(2026-11-23 13:09 UTC));
    sim.advance(MINUTE);
    assert_eq!(runs(), [datetime!(2026-11-23 13:10 UTC)]);
    sim.set_wall(datetime!(2026-11-23 12:40 UTC));
    assert_eq!(job.exec_at(), datetime!(2026-11-23 13:10 UTC));
    sim.advance(MINUTE * 30);
    assert_eq!(runs(), [datetime!(2026-11-23 13:10 UTC)]);
    // Years later, it keeps to its times.
    sim.set_wall(datetime!(2030-01-01 0:09 UTC));
    sim.advance(MINUTE);
    assert_eq!(runs().last(), Some(&datetime!(2030-01-01 0:10 UTC)));
    // It was wrong.
    sim.set_wall(datetime!(2026-11-23 20:00 UTC));
    assert_eq!(job.exec_at(), datetime!(2026-11-23 20:10 UTC));
    Ok(())
}

#[test]
fn a_job_every_second_runs_each_second_of_a_day() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let job = task.schedule(()).every(SECOND).block_on()?;
    sim.advance(HOUR * 24);
    assert_eq!(job.last_run().unwrap().number, 86_400);
    Ok(())
}

/// Regression: nominal time and `exec_at` were computed at two readings of the clocks,
/// which had drifted apart by nanoseconds.
#[test]
fn the_nominal_time_of_a_run_is_the_exec_at_before_it() -> Result {
    /// A wall clock that advances by a nanosecond at each reading.
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
    app.start().block_on()?;
    let job = task.schedule(()).every(SECOND).block_on()?;
    for _ in 0..3 {
        let (shown, next) = (job.exec_at(), job.next_run());
        clock.advance(SECOND);
        assert_eq!(next.block_on().unwrap().nominal_time, shown);
    }
    Ok(())
}

/// Regression: a start date more than 292 years ago does not fit the monotonic clock, and
/// the grid was placed anywhere.
#[test]
fn a_start_date_of_three_hundred_years_ago_places_the_grid() -> Result {
    let sim = simulation_at(datetime!(2026-11-23 12:00 UTC))?;
    let task = sim.app().task("t", || async {}).register()?;
    let start = datetime!(1700-01-01 0:00 UTC);
    let schedule = task.schedule(()).start_date(start);
    let job = schedule.every(HOUR * 24).block_on()?;
    assert_eq!(job.exec_at(), datetime!(2026-11-24 0:00 UTC));
    Ok(())
}
