//! Attempts that would start too late.

use std::error::Error;
use std::time::Duration;

use crate::support::{DAY, HOUR, Log, MINUTE, NANOSECOND, Result, SECOND, START, event_kinds};
use jobber::testing::Simulation;
use jobber::{
    Backoff, CalendarInterval, Clock, Job, JobContext, JobError, JobStatus, Misfire, Schedule,
    ScheduleError, Submit, Task,
};
use time::OffsetDateTime;
use time::macros::datetime;

type UnitSchedule = Schedule<(), ()>;

/// Keeps the only thread of a simulation busy for a while, once.
fn keep_busy(sim: &Simulation, wait: Duration, length: Duration) -> Result {
    let clock = sim.clock();
    let busy = sim.app().task("busy", move || {
        clock.advance(length);
        async {}
    });
    let schedule = busy.register()?.schedule(());
    let _ = match wait.is_zero() {
        true => schedule.push().block_on()?,
        false => schedule.delay(wait).block_on()?,
    };
    Ok(())
}

/// A task that logs the nominal times of its attempts.
fn logging(sim: &Simulation) -> Result<(Task<(), ()>, Log<OffsetDateTime>)> {
    let log = Log::new();
    let task = sim.app().task("t", log.each(JobContext::nominal_time));
    Ok((task.register()?, log))
}

/// A task that logs when its attempts start, which fail.
fn failing(sim: &Simulation, backoff: Backoff) -> Result<(Task<(), ()>, Log<Duration>)> {
    let (log, clock) = (Log::new(), sim.clock());
    let started = log.clone();
    let task = sim.app().task("t", move || {
        started.add(clock.monotonic());
        async { Err::<(), _>("no") }
    });
    Ok((task.retry(backoff).register()?, log))
}

fn assert_expired(job: &Job<()>, limit: Duration) {
    assert_eq!(job.status(), JobStatus::Cancelled);
    match job.result() {
        Err(JobError::Expired { limit: found, last }) => {
            assert_eq!(found, limit);
            assert!(last.is_none());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_that_runs_once_starts_within_its_limit_or_not_at_all() -> Result {
    let once: [fn(UnitSchedule) -> Submit<(), ()>; 4] = [
        |schedule| schedule.push(),
        |schedule| schedule.delay(MINUTE),
        |schedule| schedule.at(START + MINUTE),
        |schedule| schedule.at_local(datetime!(2000-01-01 0:01)),
    ];
    for (index, trigger) in once.into_iter().enumerate() {
        for (limit, runs) in [(HOUR, true), (HOUR - NANOSECOND, false)] {
            let mut sim = Simulation::new();
            let mut events = sim.app().events();
            let wait = if index == 0 { Duration::ZERO } else { MINUTE };
            keep_busy(&sim, wait, HOUR)?;
            let (task, log) = logging(&sim)?;
            let job = trigger(task.schedule(()).expires(limit)).block_on()?;
            sim.advance(MINUTE + HOUR);
            assert_eq!(log.entries().len(), usize::from(runs), "{index}");
            if runs {
                assert_eq!(job.status(), JobStatus::Success, "{index}");
                continue;
            }
            assert_expired(&job, limit);
            assert_eq!(
                event_kinds(&mut events, "t"),
                ["scheduled", "expired"],
                "{index}"
            );
            assert_eq!(sim.app().jobs().len(), 0, "{index}");
        }
    }
    Ok(())
}

#[test]
fn a_time_in_the_past_is_when_the_run_was_due() -> Result {
    for (limit, runs) in [(HOUR, true), (MINUTE, false)] {
        let mut sim = Simulation::new();
        let (task, log) = logging(&sim)?;
        let schedule = task.schedule(()).expires(limit);
        let job = schedule.at(START - MINUTE * 2).block_on()?;
        sim.run_until_stalled();
        assert_eq!(log.entries().len(), usize::from(runs));
        assert_eq!(job.status() == JobStatus::Success, runs);
    }
    Ok(())
}

#[test]
fn no_retry_starts_too_late_and_the_last_failure_is_the_source() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let (task, log) = failing(&sim, Backoff::fixed(9, SECOND * 40))?;
    let job = task.schedule(()).expires(MINUTE).push().block_on()?;
    sim.advance(SECOND * 40);
    // The next one would be 80 seconds late: the job ends now.
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert_eq!(log.entries(), [Duration::ZERO, SECOND * 40]);
    let error = job.result().unwrap_err();
    assert_eq!(
        error.to_string(),
        "an attempt would have started more than 60s after its run was due"
    );
    let source = error.source().unwrap();
    assert_eq!(source.to_string(), "the task failed");
    assert_eq!(source.source().unwrap().to_string(), "no");
    assert_eq!(
        event_kinds(&mut events, "t"),
        [
            "scheduled",
            "started 1.1",
            "retrying after 1",
            "started 1.2",
            "expired"
        ]
    );
    Ok(())
}

#[test]
fn a_retry_that_waits_in_line_for_too_long_is_not_made() -> Result {
    let mut sim = Simulation::new();
    let (task, log) = failing(&sim, Backoff::fixed(9, SECOND * 40))?;
    keep_busy(&sim, SECOND * 40, MINUTE)?;
    let job = task.schedule(()).expires(MINUTE).push().block_on()?;
    sim.advance(HOUR);
    assert_eq!(log.entries(), [Duration::ZERO]);
    assert_expired(&job, MINUTE);
    Ok(())
}

#[test]
fn the_last_attempt_that_fails_in_time_decides_the_end() -> Result {
    let mut sim = Simulation::new();
    let (task, _) = failing(&sim, Backoff::fixed(1, SECOND * 40))?;
    let job = task.schedule(()).expires(MINUTE).push().block_on()?;
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Failed);
    assert!(matches!(job.result(), Err(JobError::Failed(_))));
    Ok(())
}

#[test]
fn a_recurring_job_leaves_a_late_run_out_as_missed_and_goes_on() -> Result {
    let recurring: [fn(UnitSchedule) -> Submit<(), ()>; 4] = [
        |schedule| schedule.every(HOUR),
        |schedule| schedule.start_date(START + HOUR).every(HOUR),
        |schedule| schedule.cron("0 * * * *"),
        |schedule| schedule.cron("0 1-23 * * *"),
    ];
    for (index, trigger) in recurring.into_iter().enumerate() {
        for (late, first) in [(MINUTE * 5, 1), (MINUTE * 6, 2)] {
            let mut sim = Simulation::new();
            let mut events = sim.app().events();
            keep_busy(&sim, HOUR, late)?;
            let (task, log) = logging(&sim)?;
            let job = trigger(task.schedule(()).expires(MINUTE * 5)).block_on()?;
            sim.advance(HOUR * 2);
            let expected: Vec<_> = (first..=2).map(|hour| START + HOUR * hour).collect();
            assert_eq!(log.entries(), expected, "{index}");
            let runs = job.last_run().map(|run| run.number);
            assert_eq!(runs, Some(expected.len() as u64), "{index}");
            let missed = event_kinds(&mut events, "t").contains(&"misfired".into());
            assert_eq!(missed, first == 2, "{index}");
        }
    }
    Ok(())
}

#[test]
fn the_misfire_policy_picks_among_the_times_that_have_not_expired() -> Result {
    // Runs at each ten minutes; from 0:10 to 0:45 the thread is busy, and the runs may be 15
    // minutes late: that of 0:10 has expired, that of 0:20 too.
    for (misfire, expected) in [
        (Misfire::Once, vec![40, 50]),
        (Misfire::Skip, vec![50]),
        (Misfire::All(9), vec![30, 40, 50]),
        (Misfire::All(1), vec![30, 50]),
        (Misfire::Grace(MINUTE * 9), vec![40, 50]),
        (Misfire::Grace(MINUTE * 40), vec![30, 40, 50]),
    ] {
        let mut sim = Simulation::new();
        keep_busy(&sim, MINUTE * 10, MINUTE * 35)?;
        let (task, log) = logging(&sim)?;
        let schedule = task.schedule(()).expires(MINUTE * 15).misfire(misfire);
        let _ = schedule.cron("*/10 * * * *").block_on()?;
        sim.advance(MINUTE * 50);
        let minutes = log.entries().into_iter().map(|time| time.minute());
        assert_eq!(minutes.collect::<Vec<_>>(), expected, "{misfire:?}");
    }
    Ok(())
}

#[test]
fn times_that_were_missed_longer_ago_than_the_limit_are_not_run() -> Result {
    for by_step in [false, true] {
        for (misfire, expected) in [
            (Misfire::Once, vec![20, 0]),
            (Misfire::All(9), vec![0, 10, 20, 0]),
        ] {
            let mut sim = Simulation::new();
            let (log, clock) = (Log::new(), sim.clock());
            let started = log.clone();
            let task = sim.app().task("t", move |cx: JobContext| {
                started.add(cx.nominal_time().minute());
                let is_long = !by_step && cx.run_number() == 1;
                clock.sleep(if is_long {
                    HOUR * 2 + MINUTE * 16
                } else {
                    SECOND
                })
            });
            let task = task.register()?;
            let schedule = task.schedule(()).misfire(misfire).expires(MINUTE * 29);
            let _ = schedule.cron("0,10,20 * * * *").block_on()?;
            if by_step {
                sim.set_wall(START + HOUR * 2 + MINUTE * 26);
            } else {
                sim.advance(MINUTE * 10);
                assert_eq!(log.take(), [10]);
                sim.advance(HOUR * 2 + MINUTE * 16);
            }
            sim.advance(MINUTE * 35);
            assert_eq!(log.entries(), expected, "{misfire:?}, {by_step}");
        }
    }
    Ok(())
}

#[test]
fn a_run_that_has_failed_and_waits_too_long_for_its_retry_ends_as_failed() -> Result {
    // The retry is planned too late, or waits in line for too long.
    for busy in [false, true] {
        let mut sim = Simulation::new();
        let mut events = sim.app().events();
        let delay = if busy { MINUTE } else { MINUTE * 6 };
        if busy {
            keep_busy(&sim, HOUR + MINUTE, MINUTE * 6)?;
        }
        let (task, log) = failing(&sim, Backoff::fixed(1, delay))?;
        let schedule = task.schedule(()).expires(MINUTE * 5).max_failures(2);
        let job = schedule.cron("0 * * * *").block_on()?;
        sim.advance(HOUR + MINUTE * 8);
        assert_eq!(log.take(), [HOUR]);
        assert_eq!(job.last_run().unwrap().status, JobStatus::Failed);
        assert_eq!(job.exec_at(), START + HOUR * 2);
        let mut expected = vec!["scheduled", "started 1.1"];
        if busy {
            expected.push("retrying after 1");
            assert!(matches!(job.result(), Err(JobError::Expired { .. })));
        } else {
            assert!(matches!(job.result(), Err(JobError::Failed(_))));
        }
        expected.push("run 1 ended FAILED");
        assert_eq!(event_kinds(&mut events, "t"), expected);
        sim.advance(HOUR);
        // It counts as a failed run.
        assert_eq!(job.status(), JobStatus::PermanentlyFailed);
    }
    Ok(())
}

#[test]
fn a_pause_that_expires_is_counted_anew() -> Result {
    let mut sim = Simulation::new();
    keep_busy(&sim, HOUR, MINUTE * 6)?;
    let (task, log) = logging(&sim)?;
    let schedule = task.schedule(()).expires(MINUTE * 5);
    let job = schedule.after_each(HOUR).block_on()?;
    sim.advance(HOUR + MINUTE * 6);
    assert_eq!(job.exec_at(), START + HOUR * 2 + MINUTE * 6);
    sim.advance(HOUR);
    assert_eq!(log.entries(), [START + HOUR * 2 + MINUTE * 6]);
    Ok(())
}

#[test]
fn the_limit_counts_from_the_due_time_with_its_jitter() -> Result {
    let mut starts_after = Vec::new();
    for seed in 0..20 {
        let clock = jobber::testing::ManualClock::new();
        let mut sim = Simulation::with(seed, clock.clone(), |app| app)?;
        let log = Log::new();
        let starts = clock.clone();
        let task = sim
            .app()
            .task("t", log.each(move |_| starts.wall() - START));
        let schedule = task.register()?.schedule(());
        let schedule = schedule.jitter(MINUTE * 30).expires(SECOND);
        let _ = schedule.every(HOUR).block_on()?;
        sim.advance(HOUR * 2 - NANOSECOND);
        starts_after.extend(log.entries());
    }
    assert_eq!(starts_after.len(), 20);
    assert!(starts_after.iter().any(|after| *after > HOUR + MINUTE));
    Ok(())
}

#[test]
fn the_first_run_now_can_expire() -> Result {
    for (limit, expected) in [(MINUTE, vec![0, 1]), (SECOND, vec![1])] {
        let mut sim = Simulation::new();
        keep_busy(&sim, Duration::ZERO, MINUTE)?;
        let (task, log) = logging(&sim)?;
        let schedule = task.schedule(()).expires(limit).first_now();
        let _ = schedule.cron("0 * * * *").block_on()?;
        sim.advance(HOUR);
        let hours = log.entries().into_iter().map(|time| time.hour());
        assert_eq!(hours.collect::<Vec<_>>(), expected);
    }
    Ok(())
}

#[test]
fn a_series_ends_with_a_run_that_expires_if_no_time_is_left() -> Result {
    for (first, status) in [(1, JobStatus::Success), (2, JobStatus::Cancelled)] {
        let mut sim = Simulation::new();
        keep_busy(&sim, HOUR * 2, MINUTE * 6)?;
        let (task, log) = logging(&sim)?;
        let schedule = task.schedule(()).expires(MINUTE * 5);
        let schedule = schedule.until(START + HOUR * 2 + MINUTE * 30);
        let schedule = schedule.start_date(START + HOUR * first);
        let job = schedule.every(HOUR).block_on()?;
        sim.advance(HOUR * 3);
        assert_eq!(log.entries().len(), 2 - first as usize);
        assert_eq!(job.status(), status);
        // A series without any run ends as CANCELLED, and not as expired.
        let is_cancelled = matches!(job.result(), Err(JobError::Cancelled));
        assert_eq!(is_cancelled, first == 2);
    }
    Ok(())
}

#[test]
fn a_clock_that_is_set_expires_what_is_due_by_it_and_no_delay() -> Result {
    let mut sim = Simulation::new();
    let (task, log) = failing(&sim, Backoff::fixed(1, MINUTE))?;
    let by_delay = task.schedule(()).expires(MINUTE * 2).delay(MINUTE);
    let by_delay = by_delay.block_on()?;
    let at = task.schedule(()).expires(MINUTE * 2).at(START + MINUTE);
    let at = at.block_on()?;
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 2);
    // Both wait for a retry.
    sim.set_wall(START + DAY);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 1);
    assert_eq!(by_delay.status(), JobStatus::Failed);
    assert_expired(&at, MINUTE * 2);
    // Neither has run.
    let by_delay = task.schedule(()).expires(MINUTE * 2).delay(MINUTE);
    let by_delay = by_delay.block_on()?;
    let at = sim.clock().wall() + MINUTE;
    let at = task.schedule(()).expires(MINUTE * 2).at(at).block_on()?;
    sim.set_wall(START + DAY * 2);
    sim.advance(MINUTE * 2);
    assert_eq!(by_delay.status(), JobStatus::Failed);
    assert_expired(&at, MINUTE * 2);
    Ok(())
}

#[test]
fn a_replacement_brings_its_own_limit() -> Result {
    let mut sim = Simulation::new();
    let (task, log) = logging(&sim)?;
    let declare = |limit| {
        let schedule = task.schedule(()).id("x").replace().expires(limit);
        schedule
            .start_date(START)
            .every_calendar(CalendarInterval::DAY)
            .block_on()
    };
    let job = declare(HOUR)?;
    sim.run_until_stalled();
    declare(SECOND)?;
    assert_eq!(job.exec_at(), START + DAY);
    sim.set_wall(START + DAY + MINUTE);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 1);
    declare(HOUR)?;
    sim.set_wall(START + DAY * 2 + MINUTE);
    sim.advance(MINUTE);
    assert_eq!(log.take(), [START + DAY * 2]);
    Ok(())
}

#[test]
fn a_recurring_job_that_is_cancelled_has_not_expired() -> Result {
    let mut sim = Simulation::new();
    let (task, _) = logging(&sim)?;
    let job = task.schedule(()).expires(MINUTE).every(HOUR).block_on()?;
    sim.advance(HOUR);
    assert!(job.cancel().block_on()?.took_effect());
    assert!(matches!(job.result(), Err(JobError::Cancelled)));
    // Also if its last run expired.
    let mut sim = Simulation::new();
    keep_busy(&sim, HOUR + SECOND, MINUTE * 2)?;
    let (task, _) = failing(&sim, Backoff::fixed(1, SECOND))?;
    let job = task.schedule(()).expires(MINUTE).every(HOUR).block_on()?;
    sim.advance(HOUR + MINUTE * 3);
    assert!(matches!(job.result(), Err(JobError::Expired { .. })));
    let mut events = sim.app().events();
    assert!(job.cancel().block_on()?.took_effect());
    assert!(matches!(job.result(), Err(JobError::Cancelled)));
    assert_eq!(event_kinds(&mut events, "t"), ["cancelled"]);
    Ok(())
}

#[test]
fn a_limit_of_zero_and_one_of_centuries_are_errors() -> Result {
    let sim = Simulation::new();
    let (task, _) = logging(&sim)?;
    let with = |limit| task.schedule(()).expires(limit).push().block_on();
    assert!(matches!(
        with(Duration::ZERO),
        Err(ScheduleError::ZeroDuration {
            field: "limit of `expires`"
        })
    ));
    assert!(matches!(
        with(Duration::MAX),
        Err(ScheduleError::DurationTooLong {
            field: "limit of `expires`",
            ..
        })
    ));
    assert!(with(Duration::from_nanos(i64::MAX as u64)).is_ok());
    Ok(())
}

#[test]
fn an_open_run_keeps_its_jitter_when_it_is_declared_again_without() -> Result {
    for retried in [false, true] {
        let mut found = 0;
        for seed in 0..20 {
            let clock = jobber::testing::ManualClock::new();
            let mut sim = Simulation::with(seed, clock, |app| app)?;
            let (task, log) = failing(&sim, Backoff::fixed(1, SECOND * 2))?;
            let schedule = || task.schedule(()).id("x").replace().expires(SECOND * 5);
            let job = schedule().jitter(MINUTE).every(HOUR).block_on()?;
            let late = job.exec_at() - START - HOUR;
            if late < SECOND * 10 {
                continue;
            }
            found += 1;
            let due = HOUR + late.unsigned_abs();
            sim.advance(if retried { due } else { MINUTE });
            schedule().every(HOUR).block_on()?;
            sim.advance(due + SECOND * 2 - sim.elapsed());
            assert_eq!(log.entries().len(), 2, "{retried}");
        }
        assert!(found > 5);
    }
    Ok(())
}

#[test]
fn a_time_that_was_given_counts_also_if_it_is_before_the_earliest_true_time() -> Result {
    let clock = jobber::testing::ManualClock::at(datetime!(2026-11-20 12:00 UTC));
    let clock = clock.with_earliest_true_time(datetime!(2026-11-01 0:00 UTC));
    let mut sim = Simulation::with(0, clock, |app| app)?;
    let (task, log) = logging(&sim)?;
    let schedule = task.schedule(()).expires(MINUTE);
    let job = schedule.at(datetime!(2025-12-31 12:00 UTC)).block_on()?;
    sim.run_until_stalled();
    assert!(log.entries().is_empty());
    assert_expired(&job, MINUTE);
    Ok(())
}

#[test]
fn times_that_expire_while_a_run_goes_on_are_missed() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let clock = sim.clock();
    let task = sim.app().task("t", move || clock.sleep(SECOND * 25));
    let task = task.register()?;
    let schedule = task.schedule(()).misfire(Misfire::Skip);
    let _ = schedule.expires(SECOND * 3).every(SECOND * 10).block_on()?;
    sim.advance(SECOND * 35);
    assert_eq!(
        event_kinds(&mut events, "t"),
        [
            "scheduled",
            "started 1.1",
            "run 1 ended SUCCESS",
            "misfired"
        ]
    );
    Ok(())
}
