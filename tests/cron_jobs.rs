//! Jobs on cron: limits, misfires, start dates, jitter, and clocks that move.

mod common;

use std::error::Error;
use std::time::Duration;

use common::{HOUR, Log, MINUTE, SECOND};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Clock, JobContext, JobStatus, Misfire, ScheduleError, Task, cron::Cron};
use time::OffsetDateTime;
use time::macros::{datetime, offset};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const DAY: Duration = Duration::from_secs(86_400);

/// The nominal times of runs, and when they started.
type Runs = Log<(OffsetDateTime, OffsetDateTime)>;

/// A simulation that starts then, with a task that logs its runs.
fn at(start: OffsetDateTime) -> Result<(Simulation, Task<(), ()>, Runs)> {
    at_with(start, Duration::ZERO)
}

/// Its first run takes so long.
fn at_with(start: OffsetDateTime, first: Duration) -> Result<(Simulation, Task<(), ()>, Runs)> {
    let sim = Simulation::with(5, ManualClock::at(start), |b| b)?;
    let (clock, log) = (sim.clock(), Log::new());
    let task = sim
        .app()
        .task("t", {
            let log = log.clone();
            move |cx: JobContext| {
                log.add((cx.nominal_time(), clock.wall()));
                clock.sleep(if cx.run_number() == 1 {
                    first
                } else {
                    Duration::ZERO
                })
            }
        })
        .register()?;
    Ok((sim, task, log))
}

fn nominal(log: &Runs) -> Vec<OffsetDateTime> {
    log.entries()
        .into_iter()
        .map(|(nominal, _)| nominal)
        .collect()
}

#[test]
fn it_runs_whenever_the_expression_is_due_and_shows_its_text() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-11-23 8:00 UTC))?;
    let job = task.schedule(()).cron("*/15  9 * * MON").wait_blocking()?;
    assert_eq!(job.cron_expression(), Some("*/15  9 * * MON"));
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
fn a_replacement_changes_the_expression_and_a_handle_shows_the_present_one() -> Result {
    let (_sim, task, _) = at(datetime!(2026-11-23 8:00 UTC))?;
    let job = task.schedule(()).id("x").cron("@daily").wait_blocking()?;
    let before = job.cron_expression();
    let _ = task
        .schedule(())
        .id("x")
        .replace()
        .cron("@hourly")
        .wait_blocking()?;
    assert_eq!(
        (before, job.cron_expression()),
        (Some("@daily"), Some("@hourly"))
    );
    let _ = task
        .schedule(())
        .id("x")
        .replace()
        .delay(HOUR)
        .wait_blocking()?;
    assert_eq!(job.cron_expression(), None);
    let _ = task
        .schedule(())
        .id("x")
        .replace()
        .cron(Cron::parse("@daily")?)
        .wait_blocking()?;
    assert_eq!(job.cron_expression(), Some("@daily"));
    Ok(())
}

#[test]
fn every_second_of_a_day() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
    let job = task.schedule(()).cron("* * * * * * *").wait_blocking()?;
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
fn max_runs_and_max_failures_end_it() -> Result {
    let mut sim = Simulation::new();
    let task = sim
        .app()
        .task(
            "t",
            async |fails: bool| if fails { Err("no") } else { Ok(()) },
        )
        .register()?;
    let good = task
        .schedule(false)
        .max_runs(3)
        .cron("@hourly")
        .wait_blocking()?;
    let bad = task
        .schedule(true)
        .max_failures(2)
        .cron("@hourly")
        .wait_blocking()?;
    let default = task.schedule(true).cron("@hourly").wait_blocking()?;
    sim.advance(DAY);
    assert_eq!(
        (good.status(), good.last_run().unwrap().number),
        (JobStatus::Success, 3)
    );
    let failed = JobStatus::PermanentlyFailed;
    assert_eq!((bad.status(), bad.last_run().unwrap().number), (failed, 2));
    assert_eq!(
        (default.status(), default.last_run().unwrap().number),
        (failed, 10)
    );
    Ok(())
}

/// The minutes after midnight of the runs in an hour, on every tenth minute.
fn minutes(log: &Runs) -> Vec<i64> {
    let midnight = datetime!(2026-11-23 0:00 UTC);
    nominal(log)
        .iter()
        .map(|time| (*time - midnight).whole_minutes())
        .collect()
}

#[test]
fn each_misfire_policy_after_an_overrun() -> Result {
    let after_overrun = |misfire| -> Result<Vec<i64>> {
        // The first run, at 10, takes until 45.
        let (mut sim, task, log) = at_with(datetime!(2026-11-23 0:00 UTC), MINUTE * 35)?;
        let _ = task
            .schedule(())
            .misfire(misfire)
            .cron("*/10 * * * *")
            .wait_blocking()?;
        sim.advance(HOUR);
        Ok(minutes(&log))
    };
    assert_eq!(after_overrun(Misfire::Once)?, [10, 20, 50, 60]);
    assert_eq!(after_overrun(Misfire::Skip)?, [10, 50, 60]);
    assert_eq!(after_overrun(Misfire::All(9))?, [10, 20, 30, 40, 50, 60]);
    assert_eq!(after_overrun(Misfire::All(2))?, [10, 20, 30, 50, 60]);
    assert_eq!(after_overrun(Misfire::Grace(MINUTE * 6))?, [10, 40, 50, 60]);
    Ok(())
}

#[test]
fn each_misfire_policy_after_a_suspend_or_a_step_forward() -> Result {
    let after = |misfire, jump: fn(&mut Simulation)| -> Result<Vec<i64>> {
        let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
        let _ = task
            .schedule(())
            .misfire(misfire)
            .cron("*/10 * * * *")
            .wait_blocking()?;
        sim.advance(MINUTE * 12);
        jump(&mut sim);
        sim.advance(MINUTE * 15);
        Ok(minutes(&log))
    };
    // To 0:45, with all clocks or with that on the wall alone.
    let jumps: [fn(&mut Simulation); 2] = [
        |sim| {
            sim.clock().advance(MINUTE * 33);
            sim.run_until_stalled();
        },
        |sim| sim.set_wall(datetime!(2026-11-23 0:45 UTC)),
    ];
    for jump in jumps {
        assert_eq!(after(Misfire::Once, jump)?, [10, 20, 50, 60]);
        assert_eq!(after(Misfire::Skip, jump)?, [10, 50, 60]);
        assert_eq!(after(Misfire::All(9), jump)?, [10, 20, 30, 40, 50, 60]);
        assert_eq!(after(Misfire::All(1), jump)?, [10, 20, 50, 60]);
        assert_eq!(after(Misfire::Grace(MINUTE * 6), jump)?, [10, 40, 50, 60]);
    }
    Ok(())
}

#[test]
fn ten_years_forward_cost_one_run_and_no_counting() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
    let _ = task.schedule(()).cron("* * * * * * *").wait_blocking()?;
    sim.set_wall(datetime!(2036-11-23 0:00 UTC));
    sim.advance(SECOND * 2);
    assert_eq!(
        nominal(&log),
        [
            datetime!(2026-11-23 0:00:01 UTC),
            datetime!(2036-11-23 0:00:01 UTC),
            datetime!(2036-11-23 0:00:02 UTC),
        ]
    );
    Ok(())
}

#[test]
fn an_hour_back_runs_nothing_twice_for_one_nominal_time() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
    let job = task
        .schedule(())
        .misfire(Misfire::All(99))
        .cron("*/10 * * * *")
        .wait_blocking()?;
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
fn an_expression_that_can_never_be_due_is_refused() -> Result {
    let (sim, task, _) = at(datetime!(2026-11-23 0:00 UTC))?;
    for never in ["0 0 30 2 *", "0 0 1 1 * 2026"] {
        let error = task.schedule(()).cron(never).wait_blocking().unwrap_err();
        assert!(
            matches!(&error, ScheduleError::NeverDue { expression, .. } if expression == never)
        );
        assert_eq!(
            error.to_string(),
            format!(
                "the cron expression `{never}` is never due after 2026-11-23 0:00:00.0 +00:00:00"
            )
        );
    }
    let schedule = task.schedule(()).start_date(datetime!(2028-01-01 0:00 UTC));
    let error = schedule.cron("0 0 1 1 * 2027").wait_blocking();
    assert!(matches!(error, Err(ScheduleError::NeverDue { .. })));
    assert!(sim.app().jobs().is_empty());
    Ok(())
}

#[test]
fn an_expression_that_can_not_be_read_is_refused_with_its_error() -> Result {
    let (_sim, task, _) = at(datetime!(2026-11-23 0:00 UTC))?;
    let error = task
        .schedule(())
        .cron("0 25 * * *")
        .wait_blocking()
        .unwrap_err();
    assert!(matches!(error, ScheduleError::Cron(_)));
    let text = "`25` is out of range in the hour field (byte 2); allowed: 0-23";
    assert_eq!(error.to_string(), text);
    Ok(())
}

#[test]
fn it_ends_when_its_last_time_has_passed_with_the_status_of_its_last_run() -> Result {
    for (fails, end) in [(false, JobStatus::Success), (true, JobStatus::Failed)] {
        let clock = ManualClock::at(datetime!(2026-12-31 22:30 UTC));
        let mut sim = Simulation::with(0, clock, |b| b)?;
        let task = sim
            .app()
            .task("t", move || async move {
                if fails { Err("no") } else { Ok(()) }
            })
            .register()?;
        let job = task.schedule(()).cron("0 * * * * 2026").wait_blocking()?;
        sim.advance(HOUR * 2);
        assert_eq!((job.status(), job.last_run().unwrap().number), (end, 1));
        assert!(sim.app().jobs().is_empty());
    }
    Ok(())
}

#[test]
fn it_is_cancelled_when_its_last_time_was_missed_and_it_never_ran() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-12-31 22:30 UTC))?;
    let job = task
        .schedule(())
        .misfire(Misfire::Skip)
        .cron("0 * * * * 2026")
        .wait_blocking()?;
    sim.set_wall(datetime!(2027-01-02 0:00 UTC));
    assert_eq!(
        (job.status(), log.entries()),
        (JobStatus::Cancelled, vec![])
    );
    Ok(())
}

#[test]
fn it_ends_as_its_last_run_did_when_the_last_time_was_missed() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-12-31 21:30 UTC))?;
    let job = task
        .schedule(())
        .misfire(Misfire::Skip)
        .cron("0 * * * * 2026")
        .wait_blocking()?;
    sim.advance(HOUR);
    sim.set_wall(datetime!(2027-01-02 0:00 UTC));
    assert_eq!((job.status(), log.entries().len()), (JobStatus::Success, 1));
    assert!(job.result().is_ok());
    Ok(())
}

#[test]
fn a_start_date_is_the_first_time_that_it_may_run() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
    let start = datetime!(2026-11-23 3:00 UTC);
    let _ = task
        .schedule(())
        .start_date(start)
        .cron("@hourly")
        .wait_blocking()?;
    let past = datetime!(2020-01-01 0:00 UTC);
    let other = task
        .schedule(())
        .start_date(past)
        .cron("@yearly")
        .wait_blocking()?;
    sim.advance(HOUR * 4);
    assert_eq!(nominal(&log), [start, datetime!(2026-11-23 4:00 UTC)]);
    assert_eq!(other.exec_at(), datetime!(2027-01-01 0:00 UTC));
    Ok(())
}

#[test]
fn jitter_starts_runs_later_but_before_the_next_and_leaves_the_nominal_time() -> Result {
    for (jitter, bound) in [(MINUTE, MINUTE), (HOUR * 9, MINUTE * 10)] {
        let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
        let job = task
            .schedule(())
            .jitter(jitter)
            .cron("*/10 * * * *")
            .wait_blocking()?;
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
fn jitter_is_the_same_for_the_same_seed() -> Result {
    let starts = || -> Result<Vec<OffsetDateTime>> {
        let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
        let _ = task
            .schedule(())
            .jitter(MINUTE)
            .cron("*/10 * * * *")
            .wait_blocking()?;
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
fn an_interval_takes_jitter_too() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
    let _ = task
        .schedule(())
        .jitter(SECOND * 30)
        .every(MINUTE)
        .wait_blocking()?;
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
fn replacing_with_the_same_start_date_keeps_the_progress() -> Result {
    let (mut sim, task, _) = at(datetime!(2026-11-23 0:00 UTC))?;
    let job = task.schedule(()).id("x").cron("@hourly").wait_blocking()?;
    sim.advance(HOUR * 3);
    let _ = task
        .schedule(())
        .id("x")
        .replace()
        .cron("*/30 * * * *")
        .wait_blocking()?;
    sim.advance(MINUTE * 30);
    assert_eq!(job.last_run().unwrap().number, 4);
    let start = datetime!(2026-11-23 5:00 UTC);
    let _ = task
        .schedule(())
        .id("x")
        .replace()
        .start_date(start)
        .cron("@hourly")
        .wait_blocking()?;
    sim.advance(HOUR * 2);
    assert_eq!(job.last_run().unwrap().number, 1);
    Ok(())
}

#[test]
fn a_fixed_offset_is_a_zone_without_any_feature() -> Result {
    let (mut sim, task, log) = at(datetime!(2026-11-23 0:00 UTC))?;
    let job = task
        .schedule(())
        .zone(offset!(+5:30))
        .cron("0 9 * * *")
        .wait_blocking()?;
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
    fn a_year_of_a_daily_job_in_three_zones_with_both_changes() -> Result {
        let (mut sim, task, log) = at(datetime!(2026-01-01 0:00 UTC))?;
        let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];
        for zone in zones {
            let _ = task
                .schedule(())
                .id(zone)
                .zone(zone)
                .cron("30 2 * * *")
                .wait_blocking()?;
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
        // One run a day and zone, whatever the clocks do.
        assert_eq!(runs.len(), 3 * 365);
        Ok(())
    }

    #[test]
    fn a_time_that_the_clock_skips_or_repeats_runs_once() -> Result {
        let (mut sim, task, log) = at(datetime!(2026-03-28 12:00 UTC))?;
        let job = task
            .schedule(())
            .zone("Europe/Berlin")
            .cron("30 2 * * *")
            .wait_blocking()?;
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
        let winter = task.schedule(()).delay(HOUR).wait_blocking()?;
        let summer = task.schedule(()).delay(DAY).wait_blocking()?;
        assert_eq!(
            (winter.exec_at().offset(), summer.exec_at().offset()),
            (offset!(+1), offset!(+2))
        );
        let own = task
            .schedule(())
            .zone("Asia/Kolkata")
            .delay(HOUR)
            .wait_blocking()?;
        assert_eq!(own.exec_at().offset(), offset!(+5:30));
        Ok(())
    }

    #[test]
    fn an_unknown_zone_is_an_error_that_says_which_is_near() -> Result {
        let (_sim, task, _) = at(datetime!(2026-03-28 12:00 UTC))?;
        let error = task
            .schedule(())
            .zone("Europe/Berln")
            .cron("@daily")
            .wait_blocking()
            .unwrap_err();
        assert!(matches!(error, ScheduleError::Zone(_)));
        let text = "unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?";
        assert_eq!(error.to_string(), text);
        let error = Jobber::builder().zone("Mars/Olympus").build().unwrap_err();
        assert!(matches!(error, StartError::Zone(_)));
        assert_eq!(
            error.to_string(),
            "the app's zone: unknown time zone `Mars/Olympus`"
        );
        Ok(())
    }
}

/// Whatever the wall clock does, no time is run twice, none is run early by it,
/// and once the clock has come to rest the job runs at each time again.
#[test]
fn a_clock_that_is_set_at_random_runs_no_nominal_time_twice() -> Result {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = datetime!(2026-11-23 0:00 UTC);
        let (mut sim, task, log) = at(start)?;
        let misfire = match rng.u8(..4) {
            0 => Misfire::Once,
            1 => Misfire::Skip,
            2 => Misfire::All(3),
            _ => Misfire::Grace(MINUTE * 20),
        };
        let _ = task
            .schedule(())
            .misfire(misfire)
            .cron("*/10 * * * *")
            .wait_blocking()?;
        for _ in 0..20 {
            sim.advance(MINUTE * rng.u32(0..60));
            if rng.bool() {
                let minutes = rng.i64(-600..600);
                sim.set_wall(sim.clock().wall() + time::Duration::minutes(minutes));
            }
        }
        // Later than any time so far: the clock is right again.
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
