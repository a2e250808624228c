//! Jobs on cron: limits, misfires, start dates, jitter, and steps of the clock.

use std::time::Duration;

use crate::support::{DAY, HOUR, Log, MINUTE, Result, SECOND, simulation_at};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Clock, JobContext, JobStatus, Misfire, ScheduleError, Task, cron::Cron};
use time::OffsetDateTime;
use time::macros::{datetime, offset};

/// The nominal times of runs, and the times at which they started.
type Runs = Log<(OffsetDateTime, OffsetDateTime)>;

/// A simulation that begins at `start`, with a task that logs its runs.
fn simulation_from(start: OffsetDateTime) -> Result<(Simulation, Task<(), ()>, Runs)> {
    simulation_with_first_run(start, Duration::ZERO)
}

/// Its first run takes `first`.
fn simulation_with_first_run(
    start: OffsetDateTime,
    first: Duration,
) -> Result<(Simulation, Task<(), ()>, Runs)> {
    let sim = Simulation::with(5, ManualClock::at(start), |b| b)?;
    let (clock, log) = (sim.clock(), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move |cx: JobContext| {
            log.add((cx.nominal_time(), clock.wall()));
            clock.sleep(if cx.run_number() == 1 {
                first
            } else {
                Duration::ZERO
            })
        }
    });
    let task = task.register()?;
    Ok((sim, task, log))
}

fn nominal(log: &Runs) -> Vec<OffsetDateTime> {
    log.entries()
        .into_iter()
        .map(|(nominal, _)| nominal)
        .collect()
}

#[test]
fn a_cron_job_runs_when_its_expression_is_due_and_returns_its_text() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 8:00 UTC))?;
    let job = task.schedule(()).cron("*/15  9 * * MON").block_on()?;
    assert_eq!(job.cron_expression().as_deref(), Some("*/15  9 * * MON"));
    assert_eq!(job.exec_at(), datetime!(2026-11-23 9:00 UTC));
    sim.advance(DAY * 7);
    assert_eq!(
        nominal(&log),
        [
            datetime!(2026-11-23 9:00 UTC),
            datetime!(2026-11-23 9:15 UTC),
            datetime!(2026-11-23 9:30 UTC),
            datetime!(2026-11-23 9:45 UTC),
        ]
    );
    assert!(
        log.entries()
            .iter()
            .all(|(nominal, started)| nominal == started)
    );
    assert_eq!(job.exec_at(), datetime!(2026-11-30 9:00 UTC));
    Ok(())
}

#[test]
fn cron_expression_returns_the_expression_of_the_last_replacement() -> Result {
    let (_sim, task, _) = simulation_from(datetime!(2026-11-23 8:00 UTC))?;
    let job = task.schedule(()).id("x").cron("@daily").block_on()?;
    let before = job.cron_expression();
    let again = task.schedule(()).id("x").replace();
    let _ = again.cron("@hourly").block_on()?;
    assert_eq!(
        (before.as_deref(), job.cron_expression().as_deref()),
        (Some("@daily"), Some("@hourly"))
    );
    let again = task.schedule(()).id("x").replace_any();
    let _ = again.delay(HOUR).block_on()?;
    assert_eq!(job.cron_expression().as_deref(), None);
    let again = task.schedule(()).id("x").replace();
    let _ = again.cron(Cron::parse("@daily")?).block_on()?;
    assert_eq!(job.cron_expression().as_deref(), Some("@daily"));
    Ok(())
}

#[test]
fn a_job_on_every_second_runs_86400_times_a_day() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let job = task.schedule(()).cron("* * * * * * *").block_on()?;
    sim.advance(DAY);
    let runs = nominal(&log);
    assert_eq!(
        (runs.len(), job.last_run().unwrap().number),
        (86_400, 86_400)
    );
    assert!(
        runs.windows(2)
            .all(|pair| pair[1] - pair[0] == time::Duration::SECOND)
    );
    Ok(())
}

#[test]
fn max_runs_and_max_failures_end_a_cron_job() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task(
        "t",
        async |fails: bool| if fails { Err("no") } else { Ok(()) },
    );
    let task = task.register()?;
    let schedule = task.schedule(false).max_runs(3);
    let good = schedule.cron("@hourly").block_on()?;
    let schedule = task.schedule(true).max_failures(2);
    let bad = schedule.cron("@hourly").block_on()?;
    let unlimited = task.schedule(true).cron("@hourly").block_on()?;
    sim.advance(DAY);
    assert_eq!(
        (good.status(), good.last_run().unwrap().number),
        (JobStatus::Success, 3)
    );
    let failed = JobStatus::PermanentlyFailed;
    assert_eq!((bad.status(), bad.last_run().unwrap().number), (failed, 2));
    assert_eq!(
        (unlimited.status(), unlimited.last_run().unwrap().number),
        (JobStatus::Scheduled, 24)
    );
    Ok(())
}

/// The minutes from midnight to the nominal times of the runs.
fn minutes(log: &Runs) -> Vec<i64> {
    let midnight = datetime!(2026-11-23 0:00 UTC);
    nominal(log)
        .iter()
        .map(|time| (*time - midnight).whole_minutes())
        .collect()
}

#[test]
fn times_missed_in_an_overrun_are_handled_by_the_misfire_policy() -> Result {
    let after_overrun = |misfire| -> Result<Vec<i64>> {
        // The first run, at 10, takes until 45.
        let (mut sim, task, log) =
            simulation_with_first_run(datetime!(2026-11-23 0:00 UTC), MINUTE * 35)?;
        let schedule = task.schedule(()).misfire(misfire);
        let _ = schedule.cron("*/10 * * * *").block_on()?;
        sim.advance(HOUR);
        Ok(minutes(&log))
    };
    assert_eq!(after_overrun(Misfire::Once)?, [10, 40, 50, 60]);
    assert_eq!(after_overrun(Misfire::Skip)?, [10, 50, 60]);
    assert_eq!(after_overrun(Misfire::All(9))?, [10, 20, 30, 40, 50, 60]);
    assert_eq!(after_overrun(Misfire::All(2))?, [10, 20, 30, 50, 60]);
    assert_eq!(after_overrun(Misfire::Grace(MINUTE * 6))?, [10, 40, 50, 60]);
    Ok(())
}

/// The nominal times, in minutes, of a job that is due each ten minutes, has run at 10, and
/// for which `jump` leads from 12 to 45.
fn minutes_around(misfire: Misfire, jump: fn(&mut Simulation)) -> Result<Vec<i64>> {
    let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let schedule = task.schedule(()).misfire(misfire);
    let _ = schedule.cron("*/10 * * * *").block_on()?;
    sim.advance(MINUTE * 12);
    jump(&mut sim);
    sim.advance(MINUTE * 15);
    Ok(minutes(&log))
}

#[test]
fn times_missed_in_a_step_forward_are_handled_by_the_misfire_policy() -> Result {
    let after = |misfire| {
        minutes_around(misfire, |sim| {
            sim.set_wall(datetime!(2026-11-23 0:45 UTC));
        })
    };
    assert_eq!(after(Misfire::Once)?, [10, 40, 50, 60]);
    assert_eq!(after(Misfire::Skip)?, [10, 50, 60]);
    assert_eq!(after(Misfire::All(9))?, [10, 20, 30, 40, 50, 60]);
    assert_eq!(after(Misfire::All(1))?, [10, 20, 50, 60]);
    assert_eq!(after(Misfire::Grace(MINUTE * 6))?, [10, 40, 50, 60]);
    Ok(())
}

/// Both clocks move on, and the timer looks at them once, at 45: the times that another has
/// overtaken are missed, and the last one is only found late.
#[test]
fn times_that_were_overtaken_before_the_timer_read_the_clock_are_handled_by_the_misfire_policy()
-> Result {
    let after = |misfire| {
        minutes_around(misfire, |sim| {
            sim.clock().advance(MINUTE * 33);
            sim.run_until_stalled();
        })
    };
    assert_eq!(after(Misfire::Once)?, [10, 40, 50, 60]);
    assert_eq!(after(Misfire::Skip)?, [10, 40, 50, 60]);
    assert_eq!(after(Misfire::All(0))?, [10, 40, 50, 60]);
    assert_eq!(after(Misfire::All(9))?, [10, 20, 30, 40, 50, 60]);
    assert_eq!(after(Misfire::Grace(MINUTE))?, [10, 40, 50, 60]);
    assert_eq!(after(Misfire::Grace(MINUTE * 16))?, [10, 30, 40, 50, 60]);
    Ok(())
}

#[test]
fn a_step_of_ten_years_causes_one_run_without_counting_the_missed_times() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let _ = task.schedule(()).cron("* * * * * * *").block_on()?;
    sim.set_wall(datetime!(2036-11-23 0:00:00.5 UTC));
    assert_eq!(nominal(&log), [datetime!(2036-11-23 0:00 UTC)]);
    sim.advance(SECOND * 2);
    assert_eq!(
        nominal(&log),
        [
            datetime!(2036-11-23 0:00 UTC),
            datetime!(2036-11-23 0:00:01 UTC),
            datetime!(2036-11-23 0:00:02 UTC),
        ]
    );
    Ok(())
}

/// A rate of one run each ten minutes, and times of day that are the same.
const RATE: &str = "*/10 * * * *";
const TIMES_OF_DAY: &str = "0,10,20,30,40,50 0-23 * * *";

#[test]
fn a_step_back_by_an_hour_repeats_no_time_of_day() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let schedule = task.schedule(()).misfire(Misfire::All(99));
    let job = schedule.cron(TIMES_OF_DAY).block_on()?;
    sim.advance(MINUTE * 65);
    sim.set_wall(datetime!(2026-11-23 0:05 UTC));
    assert_eq!(job.exec_at(), datetime!(2026-11-23 1:10 UTC));
    sim.advance(MINUTE * 60);
    assert_eq!(minutes(&log), [10, 20, 30, 40, 50, 60]);
    sim.advance(MINUTE * 20);
    assert_eq!(minutes(&log), [10, 20, 30, 40, 50, 60, 70, 80]);
    Ok(())
}

#[test]
fn a_rate_goes_on_by_the_new_clock_after_a_step_back() -> Result {
    // By an hour, by more than three, and by the least that repeats a time.
    for (back_to, again) in [
        (datetime!(2026-11-23 4:05 UTC), vec![250, 260, 270]),
        (datetime!(2026-11-23 1:05 UTC), vec![70, 80, 90]),
        (
            datetime!(2026-11-23 4:59:58.999_999_999 UTC),
            vec![300, 310, 320],
        ),
    ] {
        let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 4:35 UTC))?;
        let schedule = task.schedule(()).misfire(Misfire::All(99));
        let job = schedule.cron(RATE).block_on()?;
        sim.advance(MINUTE * 25);
        assert_eq!(minutes(&log), [280, 290, 300]);
        log.take();
        sim.set_wall(back_to);
        let first = datetime!(2026-11-23 0:00 UTC) + time::Duration::minutes(again[0]);
        assert_eq!(job.exec_at(), first, "{back_to}");
        sim.advance(MINUTE * 25);
        assert_eq!(minutes(&log), again, "{back_to}");
    }
    Ok(())
}

#[test]
fn a_step_back_by_a_second_repeats_nothing() -> Result {
    for cron in [RATE, TIMES_OF_DAY] {
        let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:05 UTC))?;
        let job = task.schedule(()).cron(cron).block_on()?;
        sim.advance(MINUTE * 5);
        sim.set_wall(datetime!(2026-11-23 0:09:59 UTC));
        assert_eq!(job.exec_at(), datetime!(2026-11-23 0:20 UTC), "{cron}");
        sim.advance(MINUTE * 15);
        assert_eq!(minutes(&log), [10, 20], "{cron}");
    }
    Ok(())
}

/// Three hours are a change of the clock, and more is the end of a wrong one.
#[test]
fn times_of_day_run_again_only_if_the_clock_goes_back_by_more_than_three_hours() -> Result {
    for (by, due) in [
        (HOUR * 3, datetime!(2026-11-23 5:10 UTC)),
        (HOUR * 3 + SECOND, datetime!(2026-11-23 2:00 UTC)),
    ] {
        let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 1:05 UTC))?;
        let job = task.schedule(()).cron(TIMES_OF_DAY).block_on()?;
        sim.advance(HOUR * 4 - MINUTE * 5);
        assert_eq!(minutes(&log).last(), Some(&300));
        log.take();
        sim.set_wall(sim.clock().wall() - by);
        assert_eq!(job.exec_at(), due, "{by:?}");
        sim.advance((due - sim.clock().wall()).unsigned_abs());
        assert_eq!(nominal(&log), [due], "{by:?}");
    }
    Ok(())
}

#[test]
fn an_expression_that_can_never_be_due_is_refused() -> Result {
    let (sim, task, _) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    for never in ["0 0 30 2 *", "0 0 1 1 * 2026"] {
        let error = task.schedule(()).cron(never).block_on().unwrap_err();
        assert!(
            matches!(&error, ScheduleError::NeverDue { trigger, .. } if trigger.contains(never))
        );
        assert_eq!(
            error.to_string(),
            format!(
                "the cron expression `{never}` is never due after 2026-11-23 0:00:00.0 +00:00:00"
            )
        );
    }
    let schedule = task.schedule(()).start_date(datetime!(2028-01-01 0:00 UTC));
    let error = schedule.cron("0 0 1 1 * 2027").block_on();
    assert!(matches!(error, Err(ScheduleError::NeverDue { .. })));
    assert!(sim.app().jobs().is_empty());
    Ok(())
}

#[test]
fn an_invalid_expression_is_refused_with_its_error() -> Result {
    let (_sim, task, _) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let error = task.schedule(()).cron("0 25 * * *").block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::Cron(_)));
    let text = "`25` is out of range in the hour field (byte 2); allowed: 0-23";
    assert_eq!(error.to_string(), text);
    Ok(())
}

#[test]
fn a_cron_job_ends_after_its_last_time_with_the_status_of_its_last_run() -> Result {
    for (fails, end) in [(false, JobStatus::Success), (true, JobStatus::Failed)] {
        let mut sim = simulation_at(datetime!(2026-12-31 22:30 UTC))?;
        let task = sim.app().task("t", move || async move {
            if fails { Err("no") } else { Ok(()) }
        });
        let task = task.register()?;
        let job = task.schedule(()).cron("0 * * * * 2026").block_on()?;
        sim.advance(HOUR * 2);
        assert_eq!((job.status(), job.last_run().unwrap().number), (end, 1));
        assert!(sim.app().jobs().is_empty());
    }
    Ok(())
}

#[test]
fn a_cron_job_that_never_ran_is_cancelled_when_its_last_time_was_missed() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-12-31 22:30 UTC))?;
    let schedule = task.schedule(()).misfire(Misfire::Skip);
    let job = schedule.cron("0 * * * * 2026").block_on()?;
    sim.set_wall(datetime!(2027-01-02 0:00 UTC));
    assert_eq!(
        (job.status(), log.entries()),
        (JobStatus::Cancelled, vec![])
    );
    Ok(())
}

#[test]
fn a_cron_job_has_the_status_of_its_last_run_when_its_last_time_was_missed() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-12-31 21:30 UTC))?;
    let schedule = task.schedule(()).misfire(Misfire::Skip);
    let job = schedule.cron("0 * * * * 2026").block_on()?;
    sim.advance(HOUR);
    sim.set_wall(datetime!(2027-01-02 0:00 UTC));
    assert_eq!((job.status(), log.entries().len()), (JobStatus::Success, 1));
    assert!(job.result().is_ok());
    Ok(())
}

#[test]
fn a_cron_job_does_not_run_before_its_start_date() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let start = datetime!(2026-11-23 3:00 UTC);
    let schedule = task.schedule(()).start_date(start);
    let _ = schedule.cron("@hourly").block_on()?;
    let past = datetime!(2020-01-01 0:00 UTC);
    let schedule = task.schedule(()).start_date(past);
    let other = schedule.cron("@yearly").block_on()?;
    sim.advance(HOUR * 4);
    assert_eq!(nominal(&log), [start, datetime!(2026-11-23 4:00 UTC)]);
    assert_eq!(other.exec_at(), datetime!(2027-01-01 0:00 UTC));
    Ok(())
}

#[test]
fn jitter_delays_a_run_up_to_the_next_and_keeps_its_nominal_time() -> Result {
    for (jitter, bound) in [(MINUTE, MINUTE), (HOUR * 9, MINUTE * 10)] {
        let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
        let schedule = task.schedule(()).jitter(jitter);
        let job = schedule.cron("*/10 * * * *").block_on()?;
        sim.advance(DAY);
        let runs = log.entries();
        assert!(runs.len() >= 143, "{}", runs.len());
        let late: Vec<_> = runs
            .iter()
            .map(|(nominal, started)| *started - *nominal)
            .collect();
        assert!(
            late.iter().all(|late| !late.is_negative() && *late < bound),
            "{late:?}"
        );
        let spread = late.iter().filter(|late| **late > bound / 2).count();
        assert!(
            (30..120).contains(&spread),
            "{spread} of {} in the later half",
            late.len()
        );
        assert!(
            runs.windows(2)
                .all(|pair| pair[0].1 < pair[1].0 + bound && pair[0].0 < pair[1].0)
        );
        let run = job.last_run().unwrap();
        assert_eq!(run.nominal_time.minute() % 10, 0);
    }
    Ok(())
}

#[test]
fn jitter_of_one_seed_is_the_same_each_time() -> Result {
    let starts = || -> Result<Vec<OffsetDateTime>> {
        let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
        let schedule = task.schedule(()).jitter(MINUTE);
        let _ = schedule.cron("*/10 * * * *").block_on()?;
        sim.advance(HOUR);
        Ok(log
            .entries()
            .into_iter()
            .map(|(_, started)| started)
            .collect())
    };
    assert_eq!(starts()?, starts()?);
    Ok(())
}

#[test]
fn an_interval_can_have_jitter() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let schedule = task.schedule(()).jitter(SECOND * 30);
    let _ = schedule.every(MINUTE).block_on()?;
    sim.advance(HOUR);
    let late = |(nominal, started): &(OffsetDateTime, OffsetDateTime)| *started - *nominal;
    let runs = log.entries();
    assert!(
        runs.iter()
            .all(|run| (time::Duration::ZERO..=time::Duration::seconds(30)).contains(&late(run)))
    );
    assert!(
        runs.iter()
            .any(|run| late(run) > time::Duration::seconds(10))
    );
    assert!(
        nominal(&log)
            .windows(2)
            .all(|pair| pair[1] - pair[0] == MINUTE)
    );
    Ok(())
}

#[test]
fn a_replacement_with_the_same_start_date_keeps_the_progress() -> Result {
    let (mut sim, task, _) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let job = task.schedule(()).id("x").cron("@hourly").block_on()?;
    sim.advance(HOUR * 3);
    let again = task.schedule(()).id("x").replace();
    let _ = again.cron("*/30 * * * *").block_on()?;
    sim.advance(MINUTE * 30);
    assert_eq!(job.last_run().unwrap().number, 4);
    let start = datetime!(2026-11-23 5:00 UTC);
    let again = task.schedule(()).id("x").replace().start_date(start);
    let _ = again.cron("@hourly").block_on()?;
    sim.advance(HOUR * 2);
    assert_eq!(job.last_run().unwrap().number, 1);
    Ok(())
}

#[test]
fn a_fixed_offset_is_a_zone_without_the_tz_feature() -> Result {
    let (mut sim, task, log) = simulation_from(datetime!(2026-11-23 0:00 UTC))?;
    let schedule = task.schedule(()).zone(offset!(+5:30));
    let job = schedule.cron("0 9 * * *").block_on()?;
    assert_eq!(job.exec_at(), datetime!(2026-11-23 9:00 +5:30));
    assert_eq!(job.exec_at().offset(), offset!(+5:30));
    sim.advance(DAY);
    assert_eq!(nominal(&log), [datetime!(2026-11-23 3:30 UTC)]);
    assert_eq!(nominal(&log)[0].offset(), offset!(+5:30));
    assert_eq!(job.last_run().unwrap().started_at.offset(), offset!(+5:30));
    Ok(())
}

#[cfg(feature = "tz")]
mod zones {
    use super::*;
    use jobber::{Jobber, StartError, Zone};

    #[test]
    fn a_daily_job_runs_once_a_day_through_the_clock_changes_of_a_year() -> Result {
        let (mut sim, task, log) = simulation_from(datetime!(2026-01-01 0:00 UTC))?;
        let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];
        for zone in zones {
            let schedule = task.schedule(()).id(zone).zone(zone);
            let _ = schedule.cron("30 2 * * *").block_on()?;
        }
        sim.advance(DAY * 365);
        let runs = nominal(&log);
        for zone in zones {
            let zone = Zone::named(zone)?;
            let of_zone: Vec<_> = runs
                .iter()
                .filter(|run| zone.offset_at(**run) == run.offset())
                .collect();
            let dates: std::collections::BTreeSet<_> = of_zone
                .iter()
                .map(|run| run.to_offset(zone.offset_at(**run)).date())
                .collect();
            assert!(dates.len() >= 365, "{zone}: a day is missing");
        }
        // One run for each day and zone.
        assert_eq!(runs.len(), 3 * 365);
        Ok(())
    }

    #[test]
    fn a_time_that_the_clock_skips_or_repeats_runs_once() -> Result {
        let (mut sim, task, log) = simulation_from(datetime!(2026-03-28 12:00 UTC))?;
        let schedule = task.schedule(()).zone("Europe/Berlin");
        let job = schedule.cron("30 2 * * *").block_on()?;
        // 2:30 does not exist on the 29th: the first instant after the gap.
        assert_eq!(job.exec_at(), datetime!(2026-03-29 3:00 +2));
        assert_eq!(job.exec_at().offset(), offset!(+2));
        sim.advance(DAY);
        sim.set_wall(datetime!(2026-10-24 12:00 UTC));
        log.take();
        sim.advance(DAY);
        // On the 25th of October it is 2:30 twice: the first time.
        assert_eq!(nominal(&log), [datetime!(2026-10-25 2:30 +2)]);
        Ok(())
    }

    #[test]
    fn exec_at_has_the_offset_that_is_in_force_then() -> Result {
        let clock = ManualClock::at(datetime!(2026-03-28 12:00 UTC));
        let sim = Simulation::with(0, clock, |b| b.zone("Europe/Berlin"))?;
        let task = sim.app().task("t", || async {}).register()?;
        let winter = task.schedule(()).delay(HOUR).block_on()?;
        let summer = task.schedule(()).delay(DAY).block_on()?;
        assert_eq!(
            (winter.exec_at().offset(), summer.exec_at().offset()),
            (offset!(+1), offset!(+2))
        );
        let schedule = task.schedule(()).zone("Asia/Kolkata");
        let own = schedule.delay(HOUR).block_on()?;
        assert_eq!(own.exec_at().offset(), offset!(+5:30));
        Ok(())
    }

    #[test]
    fn the_error_for_an_unknown_zone_suggests_a_near_name() -> Result {
        let (_sim, task, _) = simulation_from(datetime!(2026-03-28 12:00 UTC))?;
        let error = task
            .schedule(())
            .zone("Europe/Berln")
            .cron("@daily")
            .block_on()
            .unwrap_err();
        assert!(matches!(error, ScheduleError::Zone(_)));
        let text = "unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?";
        assert_eq!(error.to_string(), text);
        let error = Jobber::builder().zone("Mars/Olympus").build().unwrap_err();
        assert!(matches!(error, StartError::Zone(_)));
        assert_eq!(error.to_string(), "unknown time zone `Mars/Olympus`");
        Ok(())
    }
}

fn any_misfire(rng: &mut fastrand::Rng) -> Misfire {
    match rng.u8(..4) {
        0 => Misfire::Once,
        1 => Misfire::Skip,
        2 => Misfire::All(3),
        _ => Misfire::Grace(MINUTE * 20),
    }
}

/// No time of day runs twice or early, and after the last step the job runs at each time.
/// The clock is at most three hours behind the latest time that it has shown.
#[test]
fn a_clock_that_is_set_at_random_runs_no_time_of_day_twice() -> Result {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = datetime!(2026-11-23 0:00 UTC);
        let (mut sim, task, log) = simulation_from(start)?;
        let misfire = any_misfire(&mut rng);
        let schedule = task.schedule(()).misfire(misfire);
        let _ = schedule.cron(TIMES_OF_DAY).block_on()?;
        let mut latest = start;
        for _ in 0..20 {
            sim.advance(MINUTE * rng.u32(0..60));
            let now = sim.clock().wall();
            latest = latest.max(now);
            if rng.bool() {
                let to = now + time::Duration::minutes(rng.i64(-180..600));
                sim.set_wall(to.max(latest - HOUR * 3));
            }
        }
        // The last step leads past every time so far.
        sim.set_wall(start + DAY * 30);
        sim.advance(MINUTE * 5);
        let before = log.entries().len();
        sim.advance(HOUR);
        let runs = log.entries();
        assert_eq!(runs.len() - before, 6, "seed {seed}, {misfire:?}");
        assert!(
            runs.iter().all(|(nominal, started)| started >= nominal),
            "seed {seed}"
        );
        let mut times = nominal(&log);
        times.sort();
        assert!(
            times.windows(2).all(|pair| pair[0] < pair[1]),
            "seed {seed}, {misfire:?}"
        );
    }
    Ok(())
}

/// Whatever the clock showed before, a rate is due at the next of its times. So are times of
/// day after a correction of the clock, by more than three hours.
#[test]
fn a_clock_that_is_set_at_random_holds_up_no_rate() -> Result {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = datetime!(2026-11-23 0:00 UTC);
        let (mut sim, task, log) = simulation_from(start)?;
        let misfire = any_misfire(&mut rng);
        let schedule = || task.schedule(()).misfire(misfire);
        let rate = schedule().id("rate").cron(RATE).block_on()?;
        let times = schedule().id("times").cron(TIMES_OF_DAY).block_on()?;
        for step in 0..20 {
            sim.advance(MINUTE * rng.u32(0..60) + SECOND);
            let now = sim.clock().wall();
            let by = time::Duration::minutes(rng.i64(-600..600));
            sim.set_wall(now + by);
            let now = sim.clock().wall();
            let case = format!("seed {seed}, step {step} by {by}, {misfire:?}");
            let is_next = |time: OffsetDateTime| now < time && time <= now + MINUTE * 10;
            assert!(is_next(rate.exec_at()), "{case}: {}", rate.exec_at());
            if by < time::Duration::hours(-3) {
                assert!(is_next(times.exec_at()), "{case}: {}", times.exec_at());
            }
        }
        log.take();
        sim.advance(HOUR);
        assert!(log.entries().len() >= 6, "seed {seed}, {misfire:?}");
    }
    Ok(())
}

/// Regression: when the wall clock jumped ahead and was set right again, cron jobs did
/// not run for as long as the jump was.
#[test]
fn a_job_goes_on_after_the_clock_jumped_ahead_and_was_set_right() -> Result {
    for misfire in [
        Misfire::Once,
        Misfire::Skip,
        Misfire::All(1),
        Misfire::Grace(HOUR),
    ] {
        let mut sim = simulation_at(datetime!(2026-11-23 0:30 UTC))?;
        let task = sim.app().task("t", || async {}).register()?;
        let schedule = task.schedule(()).misfire(misfire);
        let job = schedule.cron("@hourly").block_on()?;
        sim.set_wall(datetime!(2036-11-23 0:30 UTC));
        let after_jump = job.last_run().map_or(0, |run| run.number);
        sim.advance(MINUTE);
        sim.set_wall(datetime!(2026-11-23 1:31 UTC));
        assert_eq!(job.exec_at(), datetime!(2026-11-23 2:00 UTC), "{misfire:?}");
        sim.advance(HOUR * 3);
        assert_eq!(
            job.last_run().unwrap().number,
            after_jump + 3,
            "{misfire:?}"
        );
    }
    Ok(())
}

/// Regression: a replacement between a time and the jitter after it skipped that time,
/// and a replacement after the clock went back ran a time twice.
#[test]
fn a_replacement_by_the_same_expression_skips_and_repeats_no_time() -> Result {
    // A rate comes to the same times again when the clock goes back, replaced or not.
    for (cron, after_step_back) in [
        ("0 0-23 * * *", vec![1, 2, 3, 4, 5, 6]),
        ("@hourly", vec![1, 2, 3, 4, 5, 5, 6]),
    ] {
        let clock = ManualClock::at(datetime!(2026-11-23 0:30 UTC));
        let mut sim = Simulation::with(3, clock, |b| b)?;
        let nominal = Log::new();
        let task = sim.app().task("t", nominal.each(|cx| cx.nominal_time()));
        let task = task.register()?;
        let schedule = || task.schedule(()).id("x").replace().jitter(MINUTE * 20);
        let _ = schedule().cron(cron).block_on()?;
        for _ in 0..5 {
            sim.advance(MINUTE * 30 + SECOND);
            let _ = schedule().cron(cron).block_on()?;
            sim.advance(MINUTE * 30 - SECOND);
        }
        let hours = || -> Vec<u8> { nominal.entries().iter().map(|time| time.hour()).collect() };
        assert_eq!(hours(), [1, 2, 3, 4, 5], "{cron}");
        sim.set_wall(datetime!(2026-11-23 4:55 UTC));
        let _ = schedule().jitter(SECOND).cron(cron).block_on()?;
        sim.advance(HOUR * 2);
        assert_eq!(hours(), after_step_back, "{cron}");
    }
    Ok(())
}

/// Regression: a time that was due at the very nanosecond at which earlier ones were
/// missed was skipped with them.
#[test]
fn a_time_that_is_due_when_a_late_run_ends_is_not_missed() -> Result {
    let mut sim = Simulation::new();
    let (clock, log) = (sim.clock(), Log::new());
    let task = sim.app().task("t", {
        let log = log.clone();
        move |cx: jobber::JobContext| {
            log.add(clock.elapsed().as_secs() / 60);
            clock.sleep(if cx.run_number() == 1 {
                MINUTE * 3
            } else {
                Duration::ZERO
            })
        }
    });
    let task = task.register()?;
    let schedule = task.schedule(()).misfire(Misfire::Skip);
    let _ = schedule.cron("* * * * *").block_on()?;
    sim.advance(MINUTE * 6);
    assert_eq!(log.entries(), [1, 4, 5, 6]);
    Ok(())
}

/// Regression: the due time of a timeout was taken for the time that the job waited for,
/// and a job that was replaced during its last run ran for that time again.
#[test]
fn a_replacement_during_the_last_run_does_not_repeat_its_time() -> Result {
    let mut sim = simulation_at(datetime!(2026-11-23 0:30 UTC))?;
    let clock = sim.clock();
    let nominal = Log::new();
    let task = sim.app().task("t", {
        let nominal = nominal.clone();
        move |cx: jobber::JobContext| {
            nominal.add(cx.nominal_time().hour());
            clock.sleep(MINUTE)
        }
    });
    let task = task.timeout(MINUTE * 5).register()?;
    let schedule = || task.schedule(()).id("x").replace();
    let _ = schedule().max_runs(1).cron("@hourly").block_on()?;
    sim.advance(MINUTE * 30 + SECOND);
    let _ = schedule().max_runs(3).cron("@hourly").block_on()?;
    sim.advance(HOUR * 4);
    assert_eq!(nominal.entries(), [1, 2, 3]);
    Ok(())
}

/// Regression: a replacement took the time at which a job was scheduled for a time that
/// had run; after a step back of the wall clock it skipped times that had never run.
#[test]
fn a_replacement_after_a_step_back_skips_only_times_that_have_run() -> Result {
    let minutes = |minutes: u32| datetime!(2000-01-01 0:00 UTC) + MINUTE * minutes;
    for is_rate in [false, true] {
        let each = |minutes: u32| match is_rate {
            true => format!("*/{minutes} * * * *"),
            false => format!("0-59/{minutes} 0-23 * * *"),
        };
        let mut sim = simulation_at(minutes(10) + SECOND * 30)?;
        let task = sim.app().task("t", || async {}).register()?;
        let replace = |cron: String| {
            let again = task.schedule(()).id("x").replace();
            again.misfire(Misfire::Skip).cron(cron.as_str()).block_on()
        };
        let job = replace(each(1))?;
        assert_eq!(job.exec_at(), minutes(11));
        for (back_to, step, due) in [(8, 1, 9), (5, 2, 6)] {
            sim.set_wall(minutes(back_to) + SECOND * 30);
            let _ = replace(each(step))?;
            assert_eq!(job.exec_at(), minutes(due), "{}", each(step));
        }
        // An interval has runs, but no times of the wall clock.
        let again = task.schedule(()).id("x").replace();
        let _ = again.every(MINUTE).block_on()?;
        sim.advance(MINUTE * 3);
        assert_eq!(job.last_run().unwrap().number, 3);
        let _ = replace(each(1))?;
        sim.set_wall(minutes(4) + SECOND * 30);
        let _ = replace(each(5))?;
        assert_eq!(job.exec_at(), minutes(5));
        sim.advance(MINUTE);
        sim.set_wall(minutes(20) - SECOND);
        sim.advance(SECOND);
        assert_eq!(job.last_run().unwrap().nominal_time, minutes(20));
        // A time of day that has run does not run again; a time that was jumped over does. A
        // rate goes on by the new clock.
        let (after_five, after_ten) = if is_rate { (5, 20) } else { (10, 30) };
        sim.set_wall(minutes(4) + SECOND * 30);
        assert_eq!(job.exec_at(), minutes(after_five), "{}", each(5));
        let _ = replace(each(4))?;
        assert_eq!(job.exec_at(), minutes(8), "{}", each(4));
        let _ = replace(each(10))?;
        assert_eq!(job.exec_at(), minutes(10), "{}", each(10));
        sim.advance(MINUTE * 6);
        assert_eq!(job.last_run().unwrap().nominal_time, minutes(10));
        assert_eq!(job.exec_at(), minutes(after_ten), "{}", each(10));
        let _ = replace(each(4))?;
        assert_eq!(job.exec_at(), minutes(12), "{}", each(4));
    }
    Ok(())
}

/// Regression: the times of a cron job count from its scheduling; if the clock was ahead
/// then and was set right before the first run, the job did not run for that long.
#[test]
fn a_job_scheduled_while_the_clock_was_ahead_runs_after_the_clock_is_set_right() -> Result {
    let noon = datetime!(2000-01-01 12:00 UTC);
    // Times of day that have run do not run again, and those of a rate do.
    for (cron, next) in [("0-59 0-23 * * *", 4), ("* * * * *", 1)] {
        for ahead in [HOUR, HOUR * 8] {
            let (mut sim, task, log) = simulation_from(noon + ahead + SECOND * 30)?;
            let job = task.schedule(()).cron(cron).block_on()?;
            sim.set_wall(noon + SECOND * 30);
            assert_eq!(job.exec_at(), noon + MINUTE, "{cron}");
            sim.advance(MINUTE * 3);
            let run = [1, 2, 3].map(|minutes| noon + MINUTE * minutes);
            assert_eq!(nominal(&log), run, "{cron}");
            sim.set_wall(noon);
            assert_eq!(job.exec_at(), noon + MINUTE * next, "{cron}");
        }
    }
    Ok(())
}
