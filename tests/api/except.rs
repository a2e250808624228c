//! Times that the calendar of a job leaves out.

use crate::support::{DAY, HOUR, Log, MINUTE, NANOSECOND, Result, SECOND, START, event_kinds};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, CalendarInterval, Clock, Exclusions, Job, JobContext, JobStatus, Misfire, Schedule,
    ScheduleError, Submit, Task, Zone,
};
use time::macros::{date, datetime, offset, time};
use time::{Date, OffsetDateTime, Weekday};

type UnitSchedule = Schedule<(), ()>;
type Trigger = (&'static str, fn(UnitSchedule) -> Submit<(), ()>);

/// Each has a time at each full hour, or at each midnight.
const TRIGGERS: [Trigger; 5] = [
    ("every", |schedule| schedule.every(HOUR)),
    ("every from", |schedule| {
        schedule.start_date(START).every(HOUR)
    }),
    ("days", |schedule| {
        schedule
            .start_date(START + HOUR * 24)
            .every_calendar(CalendarInterval::DAY)
    }),
    ("rate", |schedule| schedule.cron("0 * * * *")),
    ("times of day", |schedule| schedule.cron("0 0-23 * * *")),
];

fn night() -> Exclusions {
    let night = Exclusions::new().times_of_day(time!(22:00), time!(6:00));
    night.unwrap()
}

fn weekend() -> Exclusions {
    let saturday = Exclusions::new().weekday(Weekday::Saturday);
    saturday.weekday(Weekday::Sunday)
}

/// A simulation from `START`, a Saturday, with the calendars `night` and `weekend`.
fn simulation() -> Result<Simulation> {
    Ok(Simulation::with(0, ManualClock::new(), |app| {
        app.calendar("night", night())
            .calendar("weekend", weekend())
    })?)
}

fn logging(sim: &Simulation) -> Result<(Task<(), ()>, Log<OffsetDateTime>)> {
    let log = Log::new();
    let task = sim.app().task("t", log.each(JobContext::nominal_time));
    Ok((task.register()?, log))
}

fn hours(log: &Log<OffsetDateTime>) -> Vec<u8> {
    log.take().into_iter().map(OffsetDateTime::hour).collect()
}

#[test]
fn runs_are_for_the_times_that_are_not_excluded_and_nothing_is_missed() -> Result {
    for (name, trigger) in TRIGGERS {
        for (calendar, exclusions) in [("night", night()), ("weekend", weekend())] {
            if (name, calendar) == ("days", "night") {
                continue;
            }
            let runs = |except: bool| -> Result<_> {
                let mut sim = simulation()?;
                let mut events = sim.app().events();
                let (task, log) = logging(&sim)?;
                let schedule = match except {
                    true => task.schedule(()).except(calendar),
                    false => task.schedule(()),
                };
                let job = trigger(schedule).block_on()?;
                let upcoming = job.upcoming(20);
                sim.advance(DAY * 9);
                assert!(
                    !event_kinds(&mut events, "t").contains(&"misfired".into()),
                    "{name}"
                );
                let runs = log.entries();
                let both = upcoming.iter().zip(&runs);
                assert!(both.into_iter().all(|(left, right)| left == right));
                Ok(runs)
            };
            let mut expected = runs(false)?;
            expected.retain(|time| !exclusions.excludes(*time, &Zone::UTC));
            assert!(expected.len() > 4, "{name}");
            assert_eq!(runs(true)?, expected, "{name} {calendar}");
        }
    }
    Ok(())
}

#[test]
fn the_zone_of_the_job_decides_what_is_excluded() -> Result {
    for (name, trigger) in TRIGGERS {
        let mut sim = simulation()?;
        let (task, log) = logging(&sim)?;
        let schedule = task.schedule(()).zone(offset!(+9)).except("weekend");
        let _ = trigger(schedule).block_on()?;
        sim.advance(DAY * 2);
        // At +9, Monday begins at 15:00 UTC on Sunday.
        let first = log.entries()[0];
        assert!(first >= datetime!(2000-01-02 15:00 UTC), "{name}: {first}");
        assert!(first <= datetime!(2000-01-03 0:00 UTC), "{name}: {first}");
    }
    Ok(())
}

#[test]
fn excluded_times_are_not_missed() -> Result {
    for (misfire, expected) in [
        (Misfire::Once, vec![21]),
        (Misfire::Skip, vec![]),
        (Misfire::All(2), vec![20, 21]),
        (Misfire::Grace(HOUR * 5), vec![21]),
        (Misfire::Grace(HOUR * 4), vec![]),
    ] {
        let mut sim = simulation()?;
        sim.advance(HOUR * 19 + MINUTE);
        let (task, log) = logging(&sim)?;
        let schedule = task.schedule(()).except("night").misfire(misfire);
        let job = schedule.cron("0 * * * *").block_on()?;
        // A late run starts, although it is night.
        sim.set_wall(START + DAY + HOUR * 2);
        sim.run_until_stalled();
        assert_eq!(hours(&log), expected, "{misfire:?}");
        assert_eq!(job.exec_at(), START + DAY + HOUR * 6, "{misfire:?}");
        sim.set_wall(START + DAY + HOUR * 5 + MINUTE * 59);
        sim.advance(MINUTE);
        assert_eq!(hours(&log), [6], "{misfire:?}");
    }
    Ok(())
}

#[test]
fn an_interval_keeps_to_its_exclusions_when_the_wall_clock_is_set() -> Result {
    let mut sim = simulation()?;
    sim.set_wall(START + HOUR * 21 + MINUTE * 30);
    let (task, _) = logging(&sim)?;
    let job = task.schedule(()).except("night").every(HOUR).block_on()?;
    let morning = START + DAY + HOUR * 6 + MINUTE * 30;
    assert_eq!(job.exec_at(), morning);
    // At noon, the next time is allowed.
    sim.set_wall(START + HOUR * 12);
    assert_eq!(job.exec_at(), START + HOUR * 13);
    // In the evening, the next time is excluded.
    sim.set_wall(START + HOUR * 21 + MINUTE * 30);
    assert_eq!(job.exec_at(), morning);
    sim.advance(HOUR * 9 - NANOSECOND);
    assert_eq!(job.last_run(), None);
    sim.advance(NANOSECOND);
    assert_eq!(job.last_run().unwrap().nominal_time, morning);
    Ok(())
}

#[test]
fn a_calendar_that_is_not_registered_is_an_error() -> Result {
    let sim = simulation()?;
    let (task, _) = logging(&sim)?;
    for (name, trigger) in TRIGGERS {
        let error = trigger(task.schedule(()).except("nights")).block_on();
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no calendar has the name `nights`: register it with JobberBuilder::calendar",
            "{name}"
        );
        assert!(matches!(error, ScheduleError::UnknownCalendar { .. }));
    }
    Ok(())
}

#[test]
fn a_job_whose_times_are_all_excluded_is_never_due() -> Result {
    let sim = Simulation::with(0, ManualClock::new(), |app| {
        let from_now = Exclusions::new().dates(date!(2000 - 01 - 01), Date::MAX);
        app.calendar("midnight", Exclusions::new().cron("* 0 * * *").unwrap())
            .calendar("from now", from_now.unwrap())
    })?;
    let (task, _) = logging(&sim)?;
    for (calendar, trigger) in [("midnight", TRIGGERS[2]), ("from now", TRIGGERS[0])] {
        let error = trigger.1(task.schedule(()).except(calendar)).block_on();
        let error = error.unwrap_err();
        let ScheduleError::NeverDue { except, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(except.as_deref(), Some(calendar));
        let end = format!(": the calendar `{calendar}` excludes its next times");
        assert!(error.to_string().ends_with(&end), "{error}");
    }
    Ok(())
}

#[test]
fn a_job_ends_when_all_its_times_are_excluded_and_an_event_says_why() -> Result {
    // After the last time, or by a clock that is set.
    for is_set in [false, true] {
        let mut sim = Simulation::with(0, ManualClock::new(), |app| {
            let from = Exclusions::new().dates(date!(2000 - 01 - 03), Date::MAX);
            app.calendar("over", from.unwrap())
        })?;
        let mut events = sim.app().events();
        let (task, log) = logging(&sim)?;
        let schedule = task.schedule(()).except("over").misfire(Misfire::Skip);
        let job = schedule.cron("0 12 * * *").block_on()?;
        if is_set {
            sim.set_wall(datetime!(2000-01-05 0:00 UTC));
            assert_eq!(job.status(), JobStatus::Cancelled);
        } else {
            sim.advance(DAY * 2);
            assert_eq!(log.entries().len(), 2);
            assert_eq!(job.status(), JobStatus::Success);
        }
        let kinds = event_kinds(&mut events, "t");
        let end = if is_set { "cancelled" } else { "ended SUCCESS" };
        let why = "over excludes all";
        assert_eq!(kinds[kinds.len() - 2..], [why, end], "{kinds:?}");
        assert_eq!(sim.app().jobs().len(), 0);
    }
    Ok(())
}

#[test]
fn a_job_that_ends_for_another_reason_says_nothing_of_its_calendar() -> Result {
    let mut sim = simulation()?;
    let mut events = sim.app().events();
    let (task, _) = logging(&sim)?;
    let schedule = task.schedule(()).except("night").max_runs(1);
    let job = schedule.every(HOUR).block_on()?;
    sim.advance(HOUR * 7);
    assert!(job.is_done());
    let until = task.schedule(()).except("night").until(START + HOUR * 9);
    let job = until.cron("0 9 * * *").block_on()?;
    sim.advance(HOUR * 3);
    assert!(job.is_done());
    let kinds = event_kinds(&mut events, "t");
    assert!(!kinds.iter().any(|kind| kind.contains("excludes")));
    Ok(())
}

/// Declares the job `x`.
fn declare(task: &Task<(), ()>, except: Option<&str>, trigger: Trigger) -> Result<Job<()>> {
    let schedule = task.schedule(()).id("x").replace();
    let schedule = match except {
        Some(calendar) => schedule.except(calendar),
        None => schedule,
    };
    Ok(trigger.1(schedule).block_on()?)
}

#[test]
fn a_replacement_changes_what_is_excluded_and_keeps_the_times() -> Result {
    for trigger in TRIGGERS {
        if trigger.0 == "days" {
            continue;
        }
        let mut sim = simulation()?;
        sim.advance(HOUR * 7 + MINUTE * 30);
        let (task, log) = logging(&sim)?;
        let job = declare(&task, None, trigger)?;
        sim.advance(HOUR * 14 + MINUTE * 15);
        let _ = log.take();
        // The next time is excluded.
        let next = job.exec_at();
        declare(&task, Some("night"), trigger)?;
        assert_eq!(job.exec_at(), next + HOUR * 8, "{}", trigger.0);
        // It is not any more.
        declare(&task, None, trigger)?;
        assert_eq!(job.exec_at(), next, "{}", trigger.0);
        // Times that were excluded when they came are not missed.
        declare(&task, Some("night"), trigger)?;
        sim.advance(HOUR * 3);
        declare(&task, None, trigger)?;
        sim.run_until_stalled();
        assert!(log.entries().is_empty(), "{}", trigger.0);
        assert_eq!(job.exec_at(), next + HOUR * 3, "{}", trigger.0);
    }
    Ok(())
}

#[test]
fn a_waiting_retry_is_made_although_its_time_is_excluded_now() -> Result {
    let mut sim = simulation()?;
    sim.advance(HOUR * 20 + MINUTE);
    let starts = Log::new();
    let started = starts.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        started.add((cx.nominal_time().hour(), cx.attempt()));
        async move {
            match cx.attempt() {
                1 => Err("no"),
                _ => Ok(()),
            }
        }
    });
    let task = task.retry(Backoff::fixed(1, MINUTE)).register()?;
    let trigger = TRIGGERS[4];
    let job = declare(&task, None, trigger)?;
    sim.advance(HOUR * 2 - SECOND * 30);
    assert_eq!(starts.take(), [(21, 1), (21, 2), (22, 1)]);
    // The run has begun: its retry is made.
    declare(&task, Some("night"), trigger)?;
    sim.advance(MINUTE);
    assert_eq!(starts.take(), [(22, 2)]);
    assert_eq!(job.exec_at(), START + DAY + HOUR * 6);
    Ok(())
}

#[test]
fn the_first_run_now_is_made_also_if_the_moment_is_excluded() -> Result {
    for (name, trigger) in TRIGGERS {
        let mut sim = simulation()?;
        let (task, log) = logging(&sim)?;
        let schedule = task.schedule(()).except("weekend").first_now();
        let job = trigger(schedule).block_on()?;
        sim.run_until_stalled();
        assert_eq!(log.entries(), [START], "{name}");
        assert_eq!(job.exec_at(), START + DAY * 2, "{name}");
    }
    Ok(())
}

#[test]
fn a_second_calendar_replaces_the_first_of_its_name() -> Result {
    let sim = Simulation::with(0, ManualClock::new(), |app| {
        app.calendar("x", night()).calendar("x", weekend())
    })?;
    let (task, _) = logging(&sim)?;
    let job = task.schedule(()).except("x").every(HOUR).block_on()?;
    assert_eq!(job.exec_at(), START + DAY * 2);
    Ok(())
}

#[test]
fn jitter_stays_before_the_next_time_that_is_not_excluded() -> Result {
    let mut starts = Vec::new();
    for seed in 0..30 {
        let clock = ManualClock::new();
        let mut sim = Simulation::with(seed, clock.clone(), |app| app.calendar("night", night()))?;
        let log = Log::new();
        let task = sim.app().task("t", log.each(move |_| clock.wall()));
        let task = task.register()?;
        sim.advance(HOUR * 20 + SECOND);
        let schedule = task.schedule(()).except("night").jitter(HOUR * 9);
        let _ = schedule.cron("0 * * * *").block_on()?;
        sim.advance(HOUR * 10);
        assert_eq!(log.entries().len(), 1);
        starts.extend(log.entries());
    }
    let morning = START + HOUR * 30;
    assert!(starts.iter().all(|time| *time < morning + SECOND));
    assert!(starts.iter().any(|time| *time > START + HOUR * 23));
    Ok(())
}

#[test]
fn another_zone_of_the_same_calendar_excludes_other_times() -> Result {
    let mut sim = simulation()?;
    sim.set_wall(datetime!(2000-01-07 23:45 UTC));
    let (task, _) = logging(&sim)?;
    let declare = |zone| {
        let schedule = task.schedule(()).id("x").replace().zone(zone);
        schedule.except("weekend").every(HOUR).block_on()
    };
    let job = declare(offset!(+0))?;
    assert_eq!(job.exec_at(), datetime!(2000-01-10 0:45 UTC));
    // It is Friday there, until 5:00.
    declare(offset!(-5))?;
    assert_eq!(job.exec_at(), datetime!(2000-01-08 0:45 UTC));
    Ok(())
}

#[test]
fn a_changed_interval_waits_for_a_time_that_is_not_excluded() -> Result {
    let mut sim = simulation()?;
    sim.advance(HOUR * 20);
    let (task, _) = logging(&sim)?;
    let declare = |interval| {
        let schedule = task.schedule(()).id("x").replace().except("night");
        schedule.every(interval).block_on()
    };
    let job = declare(HOUR)?;
    sim.advance(HOUR + MINUTE * 30);
    // Two hours after the last run, at 21:00, it is night.
    declare(HOUR * 2)?;
    assert_eq!(job.exec_at(), START + DAY + HOUR * 7);
    assert_eq!(job.upcoming(1), [START + DAY + HOUR * 7]);
    Ok(())
}
