//! Stored jobs, and the calendars of the next process.

use crate::support::{DAY, HOUR, Log, MINUTE, Machine, Result, START, event_kinds};
use crate::tasks::{Ran, logging};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Exclusions, Misfire, storage::UnresolvedReason};
use time::macros::{datetime, time};
use time::{Date, OffsetDateTime, Weekday};

fn night() -> Exclusions {
    let night = Exclusions::new().times_of_day(time!(22:00), time!(6:00));
    night.unwrap()
}

fn ever() -> Exclusions {
    let ever = Exclusions::new().dates(Date::MIN, Date::MAX);
    ever.unwrap()
}

/// Starts the next process, with this calendar under the name `closed`.
fn boot(machine: &Machine, calendar: Option<Exclusions>) -> Simulation {
    machine.boots.set(machine.boots.get() + 1);
    let (seed, storage) = (machine.boots.get(), machine.storage());
    Simulation::with(seed, machine.clock.clone(), |app| {
        let app = app.storage(storage);
        match calendar {
            Some(exclusions) => app.calendar("closed", exclusions),
            None => app,
        }
    })
    .unwrap()
}

fn nominal_times(log: &Log<Ran>) -> Vec<OffsetDateTime> {
    log.entries().into_iter().map(|(.., time)| time).collect()
}

#[test]
fn a_job_whose_calendar_is_not_registered_is_unresolved_until_it_is() -> Result {
    let machine = Machine::new();
    let sim = boot(&machine, Some(night()));
    let task = logging(&sim, "t", &Log::new());
    let _ = task
        .schedule(0)
        .id("x")
        .except("closed")
        .every(HOUR)
        .block_on()?;
    sim.crash();
    let before = machine.records();
    assert_eq!(before.len(), 1);
    {
        let mut sim = boot(&machine, None);
        let log = Log::new();
        logging(&sim, "t", &log);
        sim.advance(HOUR);
        let unresolved = sim.app().unresolved();
        let reason = &unresolved[0].reason;
        assert!(
            matches!(reason, UnresolvedReason::UnknownCalendar { name } if name == "closed"),
            "{reason}"
        );
        assert!(log.entries().is_empty());
        assert_eq!(machine.records(), before);
        sim.crash();
    }
    let mut sim = boot(&machine, Some(night()));
    let log = Log::new();
    logging(&sim, "t", &log);
    sim.advance(HOUR * 5);
    assert_eq!(nominal_times(&log), [START + HOUR * 6]);
    Ok(())
}

#[test]
fn the_calendar_of_the_next_process_decides_what_is_excluded() -> Result {
    let intervals = [false, true];
    let none = Exclusions::new();
    let to_monday = Exclusions::new()
        .weekday(Weekday::Saturday)
        .weekday(Weekday::Sunday);
    for (is_interval, (calendar, first)) in intervals.into_iter().flat_map(|is_interval| {
        let cases = [(night(), 6), (none.clone(), 2), (to_monday.clone(), 48)];
        cases.map(|case| (is_interval, case))
    }) {
        let machine = Machine::new();
        let sim = boot(&machine, Some(night()));
        let task = logging(&sim, "t", &Log::new());
        let schedule = task.schedule(0).id("x").except("closed");
        let schedule = schedule.misfire(Misfire::Skip);
        let job = match is_interval {
            true => schedule.every(HOUR).block_on()?,
            false => schedule.cron("0 * * * *").block_on()?,
        };
        assert_eq!(job.exec_at(), START + HOUR * 6);
        sim.crash();
        machine.clock.advance(HOUR + MINUTE);
        let mut sim = boot(&machine, Some(calendar));
        let log = Log::new();
        logging(&sim, "t", &log);
        sim.advance(DAY * 2);
        let found = nominal_times(&log)[0];
        assert_eq!(found, START + HOUR * first, "{is_interval}");
    }
    Ok(())
}

#[test]
fn a_job_whose_times_the_next_process_excludes_ends_there() -> Result {
    let machine = Machine::new();
    let sim = boot(&machine, Some(night()));
    let task = logging(&sim, "t", &Log::new());
    let schedule = task.schedule(0).id("x").except("closed");
    let _ = schedule.cron("0 * * * *").block_on()?;
    sim.crash();
    machine.clock.advance(DAY);
    let mut sim = boot(&machine, Some(ever()));
    let mut events = sim.app().events();
    let log = Log::new();
    logging(&sim, "t", &log);
    sim.advance(HOUR);
    assert!(log.entries().is_empty());
    assert!(sim.app().jobs().is_empty());
    assert!(machine.records().is_empty());
    let kinds = event_kinds(&mut events, "x");
    assert_eq!(kinds[1..], ["closed excludes all", "cancelled"]);
    Ok(())
}

#[test]
fn a_stored_job_that_is_declared_again_with_its_calendar_writes_nothing() -> Result {
    let machine = Machine::new();
    let sim = boot(&machine, Some(night()));
    let task = logging(&sim, "t", &Log::new());
    let declare = |calendar: Option<&str>| {
        let schedule = task.schedule(0).id("x").replace();
        let schedule = match calendar {
            Some(calendar) => schedule.except(calendar),
            None => schedule,
        };
        schedule.cron("0 * * * *").block_on()
    };
    declare(Some("closed"))?;
    let commits = machine.commits.entries().len();
    declare(Some("closed"))?;
    assert_eq!(machine.commits.entries().len(), commits);
    declare(None)?;
    assert_eq!(machine.commits.entries().len(), commits + 1);
    let stored = machine.record("x").unwrap();
    assert_eq!(stored.progress.due, START + HOUR);
    Ok(())
}

#[test]
fn an_interval_runs_by_a_clock_that_is_not_set_also_with_another_calendar() -> Result {
    let night_of = |machine: &Machine| {
        let storage = machine.storage();
        Simulation::with(1, machine.clock.clone(), |app| {
            app.storage(storage)
                .calendar("a", night())
                .calendar("b", night())
        })
    };
    let mut machine = Machine::new();
    let clock = ManualClock::at(datetime!(2026-11-20 12:00 UTC));
    machine.clock = clock.with_earliest_true_time(datetime!(2026-11-01 0:00 UTC));
    let sim = night_of(&machine)?;
    let task = logging(&sim, "t", &Log::new());
    let _ = task
        .schedule(0)
        .id("x")
        .except("a")
        .every(HOUR)
        .block_on()?;
    sim.crash();
    machine.clock.set_wall(datetime!(1970-01-01 0:00 UTC));
    let mut sim = night_of(&machine)?;
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let declared = task.schedule(0).id("x").replace().except("b");
    let _ = declared.every(HOUR).block_on()?;
    sim.advance(HOUR * 3);
    assert_eq!(log.entries().len(), 3);
    Ok(())
}

#[test]
fn the_end_of_a_job_whose_last_attempt_was_lost_has_its_reason() -> Result {
    let machine = Machine::new();
    let start = |sim: &Simulation| {
        let task = sim.app().task("t", |_: u32| std::future::pending::<()>());
        task.durable().at_most_once().register()
    };
    let mut sim = boot(&machine, Some(night()));
    let schedule = start(&sim)?.schedule(0).id("x").except("closed");
    let _ = schedule.cron("0 * * * *").block_on()?;
    sim.advance(HOUR * 6);
    sim.crash();
    let sim = boot(&machine, Some(ever()));
    let mut events = sim.app().events();
    start(&sim)?;
    assert_eq!(
        event_kinds(&mut events, "x"),
        ["closed excludes all", "ended FAILED"]
    );
    Ok(())
}
