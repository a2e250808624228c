//! Stored jobs of each trigger in the next process.

use std::time::Duration;

#[cfg(feature = "tz")]
use crate::support::zone_file::zone_file;
use crate::support::{DAY, HOUR, Log, MINUTE, Machine, Result, SECOND, START};
use crate::tasks::{Ran, logging};
use jobber::testing::Simulation;
use jobber::{CalendarInterval, Job, Zone};
#[cfg(feature = "tz")]
use jobber::{ScheduleError, ZoneDatabase};
use time::macros::{datetime, offset};

/// A process with a task that logs its runs.
fn boot(machine: &Machine, log: &Log<Ran>) -> Simulation {
    let sim = machine.boot();
    logging(&sim, "t", log);
    sim
}

#[test]
fn the_first_run_now_is_made_by_the_next_process_if_this_one_crashes() -> Result {
    for every in [true, false] {
        let machine = Machine::new();
        let sim = machine.boot();
        let task = logging(&sim, "t", &Log::new());
        let schedule = task.schedule(0).id("x").first_now();
        let _ = match every {
            true => schedule.every(HOUR).block_on()?,
            false => schedule.cron("30 * * * *").block_on()?,
        };
        sim.crash();
        machine.clock.advance(SECOND / 2);
        let log = Log::new();
        let mut sim = boot(&machine, &log);
        sim.run_until_stalled();
        assert_eq!(log.entries(), [(1, 1, START)], "{every}");
        sim.advance(HOUR - SECOND / 2);
        let second = if every {
            START + HOUR
        } else {
            START + MINUTE * 30
        };
        assert_eq!(log.entries()[1], (2, 1, second), "{every}");
    }
    Ok(())
}

#[test]
fn a_pause_goes_on_in_the_next_process_and_is_never_longer_than_it_is() -> Result {
    for (down, set_back, due) in [
        (MINUTE * 10, Duration::ZERO, MINUTE * 50),
        (HOUR * 5, Duration::ZERO, Duration::ZERO),
        (MINUTE * 10, HOUR * 5, HOUR),
    ] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let task = logging(&sim, "t", &Log::new());
        let _ = task.schedule(0).id("x").after_each(HOUR).block_on()?;
        sim.advance(HOUR);
        sim.crash();
        machine.clock.advance(down);
        let wall = machine.records()[0].progress.due - HOUR + down - set_back;
        machine.clock.set_wall(wall);
        let log = Log::new();
        let mut sim = boot(&machine, &log);
        if !due.is_zero() {
            sim.advance(due - SECOND);
            assert!(log.entries().is_empty(), "{down:?}");
        }
        sim.advance(SECOND);
        assert_eq!(log.entries().len(), 1, "{down:?}");
        sim.advance(HOUR);
        assert_eq!(log.entries().len(), 2, "{down:?}");
    }
    Ok(())
}

#[test]
fn a_local_time_follows_the_zone_of_the_next_process() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let local = datetime!(2000-06-01 12:00);
    let job = task.schedule(0).id("x").at_local(local).block_on()?;
    assert_eq!(job.exec_at(), datetime!(2000-06-01 12:00 UTC));
    sim.crash();
    let zone = Zone::fixed(offset!(+7));
    let (clock, storage) = (machine.clock.clone(), machine.storage());
    let sim = Simulation::with(0, clock, |app| app.storage(storage).zone(zone))?;
    let task = logging(&sim, "t", &Log::new());
    let job: Job<u32> = task.job("x").unwrap();
    assert_eq!(job.exec_at(), datetime!(2000-06-01 12:00 +7));
    Ok(())
}

#[test]
fn a_calendar_interval_and_its_end_go_on_in_the_next_process() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let schedule = task
        .schedule(0)
        .id("x")
        .start_date(datetime!(2000-01-31 9:00 UTC));
    let schedule = schedule.until(datetime!(2000-03-31 9:00 UTC));
    let _ = schedule
        .every_calendar(CalendarInterval::MONTH)
        .block_on()?;
    sim.crash();
    machine.clock.advance(DAY * 35);
    let log = Log::new();
    let mut sim = boot(&machine, &log);
    sim.advance(DAY * 100);
    let nominal: Vec<_> = log
        .entries()
        .into_iter()
        .map(|(_, _, nominal)| nominal)
        .collect();
    let expected = [
        datetime!(2000-01-31 9:00 UTC),
        datetime!(2000-02-29 9:00 UTC),
        datetime!(2000-03-31 9:00 UTC),
    ];
    assert_eq!(nominal, expected);
    assert!(machine.records().is_empty());
    Ok(())
}

#[cfg(feature = "tz")]
#[test]
fn an_app_looks_up_all_its_zones_in_its_own_database() -> Result {
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("Test"))?;
    std::fs::write(
        directory.path().join("Test/East"),
        zone_file(7 * 3600, &[], ""),
    )?;
    let database = ZoneDatabase::at(directory.path())?;
    let machine = Machine::new();
    let boot = |zone: &str| {
        let (clock, storage) = (machine.clock.clone(), machine.storage());
        let database = database.clone();
        Simulation::with(0, clock, |app| {
            app.zone(zone).zone_database(database).storage(storage)
        })
    };
    // In either order of the calls, and for the app as for a job.
    let sim = boot("Test/East")?;
    let task = logging(&sim, "t", &Log::new());
    let of_app = task.schedule(0).id("a").cron("0 12 * * *").block_on()?;
    let own = task.schedule(0).id("b").zone("Test/East");
    let own = own.cron("0 12 * * *").block_on()?;
    let noon = datetime!(2000-01-01 12:00 +7);
    assert_eq!((of_app.exec_at(), own.exec_at()), (noon, noon));
    let unknown = task.schedule(0).zone("Europe/Berlin").push().block_on();
    assert!(matches!(unknown, Err(ScheduleError::Zone(_))));
    sim.crash();
    let sim = boot("UTC")?;
    let task = logging(&sim, "t", &Log::new());
    assert_eq!(task.job("b").unwrap().exec_at(), noon);
    // A process without it does not know the zone.
    sim.crash();
    let sim = machine.boot();
    logging(&sim, "t", &Log::new());
    let unresolved = sim.app().unresolved();
    let ids: Vec<_> = unresolved.iter().map(|job| job.id.to_string()).collect();
    assert_eq!(ids, ["b"]);
    Ok(())
}
