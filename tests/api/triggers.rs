//! What each trigger and each option of a schedule does, without a store.

use std::time::Duration;

use crate::support::{DAY, HOUR, Log, MINUTE, Result, SECOND, START, seconds, simulation_at};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, CalendarInterval, Exclusions, Job, JobContext, JobStatus, Misfire, Schedule,
    ScheduleError, Submit,
};
use time::OffsetDateTime;
use time::macros::datetime;

type Plain = Schedule<(), ()>;

/// A trigger, with its name.
type Trigger = (&'static str, fn(Plain) -> Submit<(), ()>);

const ONCE: [Trigger; 4] = [
    ("push", |schedule| schedule.push()),
    ("delay", |schedule| schedule.delay(HOUR)),
    ("at", |schedule| schedule.at(START)),
    ("at_local", |schedule| {
        schedule.at_local(datetime!(2000-01-01 9:00))
    }),
];

const AFTER_EACH: Trigger = ("after_each", |schedule| schedule.after_each(HOUR));

const BY_TIMES: [Trigger; 3] = [
    ("every", |schedule| schedule.every(HOUR)),
    ("every_calendar", |schedule| {
        schedule
            .start_date(START)
            .every_calendar(CalendarInterval::DAY)
    }),
    ("cron", |schedule| schedule.cron("0 * * * *")),
];

/// An option that only some triggers have, with its name.
type OptionOf = (&'static str, fn(Plain) -> Plain);

const RECURRING: [OptionOf; 5] = [
    ("max_runs", |schedule| schedule.max_runs(1)),
    ("max_failures", |schedule| schedule.max_failures(1)),
    ("jitter", |schedule| schedule.jitter(SECOND)),
    ("until", |schedule| schedule.until(START + DAY * 9)),
    ("first_now", |schedule| schedule.first_now()),
];

const TIMES: [OptionOf; 3] = [
    ("except", |schedule| schedule.except("never")),
    ("misfire", |schedule| schedule.misfire(Misfire::Skip)),
    ("start_date", |schedule| schedule.start_date(START)),
];

#[test]
fn an_option_that_does_not_go_with_its_trigger_is_an_error_and_no_other_is() -> Result {
    let sim = Simulation::with(0, ManualClock::new(), |app| {
        app.calendar("never", Exclusions::new())
    })?;
    let task = sim.app().task("t", || async {}).register()?;
    let schedule = |(_, trigger): Trigger, (_, option): OptionOf| {
        trigger(option(task.schedule(()))).block_on()
    };
    for trigger in ONCE.into_iter().chain(BY_TIMES).chain([AFTER_EACH]) {
        let result = schedule(trigger, ("expires", |schedule| schedule.expires(HOUR)));
        assert!(result.is_ok(), "{}: {result:?}", trigger.0);
    }
    for option in RECURRING.into_iter().chain(TIMES) {
        for trigger in ONCE {
            let error = schedule(trigger, option).unwrap_err();
            let ScheduleError::NotRecurring {
                option: found,
                trigger: of,
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!((found, of), (option.0, trigger.0));
        }
        for trigger in BY_TIMES {
            let result = schedule(trigger, option);
            assert!(result.is_ok(), "{} {}: {result:?}", option.0, trigger.0);
        }
    }
    for option in RECURRING {
        assert!(schedule(AFTER_EACH, option).is_ok(), "{}", option.0);
    }
    for option in TIMES {
        let error = schedule(AFTER_EACH, option).unwrap_err();
        let text = format!("{} does not apply to the trigger `after_each`", option.0);
        assert_eq!(error.to_string(), text);
    }
    let error = task
        .schedule(())
        .every_calendar(CalendarInterval::DAY)
        .block_on();
    assert!(matches!(error, Err(ScheduleError::NoStartDate)));
    Ok(())
}

/// A task that logs the nominal times of its runs.
fn logging(sim: &Simulation) -> Result<(jobber::Task<(), ()>, Log<OffsetDateTime>)> {
    let log = Log::new();
    let task = sim.app().task("t", {
        let log = log.clone();
        move |cx: JobContext| {
            log.add(cx.nominal_time());
            async {}
        }
    });
    Ok((task.register()?, log))
}

#[test]
fn no_run_is_for_a_time_after_until() -> Result {
    for (name, trigger) in BY_TIMES {
        for over in [Duration::ZERO, SECOND] {
            let mut sim = Simulation::new();
            let (task, log) = logging(&sim)?;
            let job = trigger(task.schedule(()).until(START + DAY * 2 + over)).block_on()?;
            sim.advance(DAY * 2);
            // The run at that time is the last, and the job ends with it.
            assert_eq!(log.entries().last(), Some(&(START + DAY * 2)), "{name}");
            assert_eq!(job.status(), JobStatus::Success, "{name}");
        }
    }
    // Its runs take no time.
    let mut sim = Simulation::new();
    let (task, log) = logging(&sim)?;
    let until = task.schedule(()).until(START + HOUR * 2);
    let job = until.after_each(HOUR).block_on()?;
    sim.advance(HOUR * 2);
    assert_eq!(log.entries().len(), 2);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn until_before_the_first_time_is_never_due() -> Result {
    let sim = simulation_at(START + SECOND * 2)?;
    let task = sim.app().task("t", || async {}).register()?;
    for (name, trigger) in BY_TIMES.into_iter().chain([AFTER_EACH]) {
        let submit = trigger(task.schedule(()).until(START + MINUTE));
        let error = submit.block_on().unwrap_err();
        assert!(
            matches!(error, ScheduleError::NeverDue { until: Some(_), .. }),
            "{name}: {error}"
        );
    }
    Ok(())
}

#[test]
fn a_job_that_missed_its_only_time_before_until_is_cancelled() -> Result {
    let mut sim = Simulation::new();
    let (task, log) = logging(&sim)?;
    let schedule = task.schedule(()).misfire(Misfire::Skip);
    let job = schedule.until(START + HOUR).cron("0 1 * * *").block_on()?;
    sim.set_wall(START + HOUR * 2);
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(log.entries().is_empty());
    Ok(())
}

#[test]
fn an_earlier_end_that_is_declared_while_a_job_waits_holds() -> Result {
    let mut sim = Simulation::new();
    let (task, log) = logging(&sim)?;
    let job = task.schedule(()).id("x").every(HOUR).block_on()?;
    sim.advance(HOUR * 2);
    let earlier = task.schedule(()).id("x").replace().until(START + HOUR * 4);
    let _ = earlier.every(HOUR).block_on()?;
    let _ = task
        .schedule(())
        .id("x")
        .replace()
        .until(START + HOUR * 4)
        .every(HOUR)
        .block_on()?;
    sim.advance(HOUR * 9);
    assert_eq!(log.entries().len(), 4);
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn the_first_run_is_now_and_the_others_come_as_the_trigger_says() -> Result {
    for (name, trigger) in BY_TIMES.into_iter().chain([AFTER_EACH]) {
        let now = START + MINUTE * 20;
        let mut sim = simulation_at(now)?;
        let (task, log) = logging(&sim)?;
        let job = trigger(task.schedule(()).first_now()).block_on()?;
        assert_eq!(job.exec_at(), now, "{name}");
        sim.run_until_stalled();
        assert_eq!(log.entries(), [now], "{name}");
        sim.advance(DAY);
        let second = match name {
            "every" | "after_each" => now + HOUR,
            "every_calendar" => START + DAY,
            _ => START + HOUR,
        };
        assert_eq!(log.entries()[1], second, "{name}");
    }
    Ok(())
}

#[test]
fn a_job_that_is_replaced_or_declared_again_has_no_first_run_now() -> Result {
    for (name, trigger) in BY_TIMES.into_iter().chain([AFTER_EACH]) {
        let before: [Trigger; 3] = [
            (name, trigger),
            ("delay", |schedule| schedule.delay(DAY)),
            ("cron", |schedule| schedule.cron("30 12 * * *")),
        ];
        for (old, before) in before {
            let mut sim = simulation_at(START + MINUTE * 20)?;
            let (task, log) = logging(&sim)?;
            let _ = before(task.schedule(()).id("x")).block_on()?;
            let again = task.schedule(()).id("x").replace().first_now();
            let _ = trigger(again).block_on()?;
            sim.run_until_stalled();
            assert!(log.entries().is_empty(), "{name} after {old}");
        }
    }
    Ok(())
}

#[test]
fn a_pause_is_counted_from_the_end_of_the_last_attempt() -> Result {
    let mut sim = Simulation::new();
    let (clock, now, starts) = (sim.clock(), seconds(&sim), Log::new());
    let task = sim.app().task("t", {
        let starts = starts.clone();
        move |cx: JobContext| {
            starts.add((now(), cx.run_number(), cx.attempt()));
            let sleep = clock.sleep(SECOND * 30);
            let fails = cx.run_number() == 1 && cx.attempt() == 1;
            async move {
                sleep.await;
                if fails { Err("no") } else { Ok(()) }
            }
        }
    });
    let task = task.retry(Backoff::fixed(1, SECOND * 5)).register()?;
    let job = task.schedule(()).after_each(SECOND * 10).block_on()?;
    sim.advance(SECOND * 130);
    // Attempts last thirty seconds: three times as long as the pause.
    let expected = [(10, 1, 1), (45, 1, 2), (85, 2, 1), (125, 3, 1)];
    assert_eq!(starts.entries(), expected);
    assert!(job.upcoming(5).is_empty());
    Ok(())
}

#[test]
fn a_pause_misses_nothing_when_the_machine_was_busy_or_the_clock_is_set() -> Result {
    let mut sim = Simulation::new();
    let mut events = sim.app().events();
    let (task, log) = logging(&sim)?;
    let _ = task.schedule(()).after_each(HOUR).block_on()?;
    sim.clock().advance(HOUR * 5);
    sim.run_until_stalled();
    assert_eq!(log.entries(), [START + HOUR]);
    sim.set_wall(START + DAY);
    sim.advance(HOUR);
    assert_eq!(log.entries().len(), 2);
    let misfires = std::iter::from_fn(|| events.try_next());
    let misfires = misfires.filter(|event| event.to_string().contains("missed"));
    assert_eq!(misfires.count(), 0);
    Ok(())
}

#[test]
fn upcoming_are_the_next_times_up_to_the_end_of_the_job() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    let hours = |job: &Job<()>, count| -> Vec<i64> {
        let times = job.upcoming(count).into_iter();
        times.map(|time| (time - START).whole_hours()).collect()
    };
    let every = task.schedule(()).every(HOUR).block_on()?;
    assert_eq!(hours(&every, 3), [1, 2, 3]);
    assert_eq!(hours(&every, 0), [0; 0]);
    let until = START + HOUR * 2;
    let ending = task
        .schedule(())
        .until(until)
        .cron("0 * * * *")
        .block_on()?;
    assert_eq!(hours(&ending, 9), [1, 2]);
    let few = task.schedule(()).max_runs(3).every(HOUR).block_on()?;
    let delay = task.schedule(()).delay(HOUR * 5).block_on()?;
    let pause = task.schedule(()).after_each(HOUR).block_on()?;
    assert_eq!((hours(&delay, 9), hours(&pause, 9)), (vec![5], vec![1]));
    sim.advance(HOUR);
    assert_eq!((hours(&few, 9), hours(&every, 2)), (vec![2, 3], vec![2, 3]));
    every.cancel().block_on()?;
    assert_eq!(hours(&every, 9), [0; 0]);
    let slow = sim
        .app()
        .task("slow", std::future::pending::<()>)
        .register()?;
    let running = slow.schedule(()).every(HOUR).block_on()?;
    sim.advance(HOUR);
    assert_eq!(hours(&running, 2), [3, 4]);
    // A replacement that does not recur waits for the end of the run.
    let again = slow.schedule(()).id("x").replace();
    let first = again.push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(hours(&first, 9), [0; 0]);
    let again = slow.schedule(()).id("x").replace();
    let next = again.delay(HOUR).block_on()?;
    assert_eq!((hours(&next, 9), hours(&next, 0)), (vec![3], vec![]));
    Ok(())
}

#[cfg(feature = "tz")]
#[test]
fn a_local_time_is_due_by_the_rules_of_its_zone() -> Result {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    for (local, due) in [
        (datetime!(2026-12-24 18:00), datetime!(2026-12-24 17:00 UTC)),
        // In the gap, and in the overlap.
        (datetime!(2026-03-29 2:30), datetime!(2026-03-29 1:00 UTC)),
        (datetime!(2026-10-25 2:30), datetime!(2026-10-25 0:30 UTC)),
    ] {
        let schedule = task.schedule(()).zone("Europe/Berlin");
        let job = schedule.at_local(local).block_on()?;
        assert_eq!(job.exec_at(), due, "{local}");
    }
    Ok(())
}

#[cfg(feature = "tz")]
#[test]
fn a_calendar_interval_keeps_its_time_of_day_across_clock_changes() -> Result {
    let mut sim = simulation_at(datetime!(2026-03-27 12:00 UTC))?;
    let (task, log) = logging(&sim)?;
    let schedule = task.schedule(()).zone("Europe/Berlin");
    let schedule = schedule.start_date(datetime!(2026-03-28 9:00 +1));
    let _ = schedule.every_calendar(CalendarInterval::DAY).block_on()?;
    sim.advance(DAY * 3);
    let expected = [
        datetime!(2026-03-28 8:00 UTC),
        datetime!(2026-03-29 7:00 UTC),
    ];
    assert_eq!(log.entries()[..2], expected);
    Ok(())
}
