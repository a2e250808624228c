//! Stored jobs and a wall clock that is wrong, is set, or has another zone in the next
//! process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use crate::support::{
    DAY, HOUR, Log, MINUTE, Machine, NANOSECOND, Result, SECOND, assert_ends, event_kind,
    is_clock_unset,
};
use crate::tasks::{logging, ran};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, CalendarInterval, Clock, Event, Events, Job, JobContext, JobStatus, Jobber, Misfire,
    ScheduleError, Task, ThreadPool, Zone,
};
use time::OffsetDateTime;
use time::macros::{datetime, offset};

const NOON: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);

/// A machine whose clock shows `wall`.
fn machine_at(wall: OffsetDateTime) -> Machine {
    let machine = Machine::new();
    machine.clock.set_wall(wall);
    machine
}

/// The kinds of the events of jobs so far.
fn kinds(events: &mut Events) -> Vec<String> {
    std::iter::from_fn(|| events.try_next())
        .filter(|event| matches!(event, Event::Job(_)))
        .map(event_kind)
        .collect()
}

// A wait for a length of time.

/// How long each [`Wait`] takes.
const LENGTH: Duration = MINUTE.saturating_mul(10);

/// What a job waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Delay,
    FirstRun,
    SecondRun,
    Retry,
    RetryOfRecurring,
}

const WAITS: [Wait; 5] = [
    Wait::Delay,
    Wait::FirstRun,
    Wait::SecondRun,
    Wait::Retry,
    Wait::RetryOfRecurring,
];

/// A task whose first attempt of each run fails if its argument is `true`.
fn failing_first(sim: &Simulation, starts: &Log<OffsetDateTime>) -> Result<Task<bool, ()>> {
    let (starts, clock) = (starts.clone(), sim.clock());
    let task = sim.app().task("t", move |cx: JobContext, fails: bool| {
        starts.add(clock.wall());
        async move {
            match fails && cx.attempt() == 1 {
                true => Err("the first attempt fails"),
                false => Ok(()),
            }
        }
    });
    let task = task.retry(Backoff::fixed(1, LENGTH)).durable();
    Ok(task.register()?)
}

/// A process with the job `x`, which waits for [`LENGTH`] from now on.
fn waiting(machine: &Machine, wait: Wait) -> Result<Simulation> {
    let mut sim = machine.boot();
    let task = failing_first(&sim, &Log::new())?;
    let schedule = |fails| task.schedule(fails).id("x");
    let _ = match wait {
        Wait::Delay => schedule(false).delay(LENGTH).block_on()?,
        Wait::FirstRun | Wait::SecondRun => schedule(false).every(LENGTH).block_on()?,
        Wait::Retry => schedule(true).push().block_on()?,
        Wait::RetryOfRecurring => schedule(true).every(HOUR).block_on()?,
    };
    match wait {
        Wait::Delay | Wait::FirstRun | Wait::Retry => sim.run_until_stalled(),
        Wait::SecondRun => sim.advance(LENGTH),
        Wait::RetryOfRecurring => sim.advance(HOUR),
    }
    Ok(sim)
}

/// The next process of a machine on which a job waits, on a clock that shows `wrong` when it
/// shall show two minutes later than before the crash. Returns when the job is due.
fn boot_with_wrong_clock(
    wait: Wait,
    wrong: impl FnOnce(OffsetDateTime) -> OffsetDateTime,
    starts: &Log<OffsetDateTime>,
) -> Result<(Machine, Simulation, OffsetDateTime)> {
    let machine = machine_at(NOON);
    let sim = waiting(&machine, wait)?;
    let due = machine.clock.wall() + LENGTH;
    sim.crash();
    machine.clock.advance(MINUTE * 2);
    machine.clock.set_wall(wrong(machine.clock.wall()));
    let sim = machine.boot();
    failing_first(&sim, starts)?;
    Ok((machine, sim, due))
}

/// Clocks that are behind, as they show a time.
const BEHIND: [fn(OffsetDateTime) -> OffsetDateTime; 4] = [
    |right| right - HOUR,
    |right| right - HOUR * 5,
    |right| right - DAY * 400,
    |_| datetime!(1970-01-01 0:00:07 UTC),
];

/// Regression: a machine that booted with its clock behind did not run a stored job for that
/// long.
#[test]
fn a_stored_wait_takes_no_longer_than_its_length_after_a_boot_with_the_clock_behind() -> Result {
    for wait in WAITS {
        for behind in BEHIND {
            let starts = Log::new();
            let (_machine, mut sim, _) = boot_with_wrong_clock(wait, behind, &starts)?;
            let case = format!("{wait:?} at {}", sim.clock().wall());
            // An interval goes on by the clock as it is: it comes to one of its times before.
            let is_interval = matches!(wait, Wait::FirstRun | Wait::SecondRun);
            sim.advance(LENGTH - NANOSECOND);
            assert_eq!(starts.entries().len(), usize::from(is_interval), "{case}");
            sim.advance(NANOSECOND);
            assert_eq!(starts.take().len(), 1, "{case}");
            for _ in 0..3 {
                sim.advance(LENGTH);
                assert_eq!(starts.take().len(), usize::from(is_interval), "{case}");
            }
        }
    }
    Ok(())
}

/// Regression: the time of a stored job was taken from a clock that was behind, and not again
/// when that was set right.
#[test]
fn a_stored_wait_follows_the_clock_that_is_set_right_after_the_boot() -> Result {
    for wait in WAITS {
        for behind in BEHIND {
            let starts = Log::new();
            let (_machine, mut sim, due) = boot_with_wrong_clock(wait, behind, &starts)?;
            let case = format!("{wait:?} at {}", sim.clock().wall());
            sim.advance(SECOND * 20);
            sim.set_wall(due - LENGTH + MINUTE * 2 + SECOND * 20);
            assert!(starts.entries().is_empty(), "{case}");
            sim.advance(LENGTH - MINUTE * 2 - SECOND * 20 - NANOSECOND);
            assert!(starts.entries().is_empty(), "{case}");
            sim.advance(NANOSECOND);
            assert_eq!(starts.take(), [due], "{case}");
            sim.advance(LENGTH);
            let next: &[_] = match wait {
                Wait::FirstRun | Wait::SecondRun => &[due + LENGTH],
                _ => &[],
            };
            assert_eq!(starts.take(), next, "{case}");
        }
    }
    Ok(())
}

#[test]
fn a_stored_wait_ends_at_once_when_the_clock_is_set_past_its_end() -> Result {
    for wait in WAITS {
        for behind in BEHIND {
            let starts = Log::new();
            let (_machine, mut sim, due) = boot_with_wrong_clock(wait, behind, &starts)?;
            sim.advance(SECOND * 20);
            let now = due + SECOND * 7;
            sim.set_wall(now);
            assert_eq!(starts.entries(), [now], "{wait:?}");
        }
    }
    Ok(())
}

/// The clock is a minute behind: it comes to the stored time before the length has passed.
#[test]
fn a_stored_wait_ends_at_its_stored_time_if_the_clock_shows_that_first() -> Result {
    for wait in WAITS {
        let starts = Log::new();
        let (_machine, mut sim, due) =
            boot_with_wrong_clock(wait, |right| right - MINUTE, &starts)?;
        sim.advance(LENGTH - MINUTE - NANOSECOND);
        assert!(starts.entries().is_empty(), "{wait:?}");
        sim.advance(NANOSECOND);
        assert_eq!(starts.entries(), [due], "{wait:?}");
    }
    Ok(())
}

#[test]
fn a_stored_interval_runs_after_the_clock_that_was_behind_at_boot_is_set() -> Result {
    for behind in BEHIND {
        let machine = machine_at(NOON);
        let log = Log::new();
        let sim = machine.boot();
        let schedule = logging(&sim, "t", &log).schedule(1).id("x");
        let _ = schedule.every(MINUTE).block_on()?;
        sim.crash();
        machine.clock.set_wall(behind(NOON + MINUTE * 10));
        let mut sim = machine.boot();
        logging(&sim, "t", &log);
        sim.advance(SECOND * 20);
        assert_eq!(log.take(), []);
        sim.set_wall(NOON + MINUTE * 10);
        // One run for the times that were missed, and then each minute.
        assert_eq!(log.take(), [(1, 1, NOON + MINUTE * 10)]);
        sim.advance(HOUR * 4);
        let runs = log.take();
        assert_eq!(runs.len(), 240);
        assert_eq!(runs[239], (241, 1, NOON + HOUR * 4 + MINUTE * 10));
    }
    Ok(())
}

/// Regression: it ran ten days early.
#[test]
fn a_delay_that_was_stored_before_the_clock_was_set_is_not_early_in_the_next_process() -> Result {
    let machine = machine_at(datetime!(1970-01-01 0:00:10 UTC));
    let mut sim = machine.boot();
    let log = Log::new();
    let schedule = logging(&sim, "t", &log).schedule(1).id("x");
    let _ = schedule.delay(DAY * 10).block_on()?;
    sim.advance(SECOND * 20);
    sim.set_wall(NOON);
    sim.crash();
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").ok_or("it is stored")?;
    assert_eq!(job.exec_at(), NOON + DAY * 10 - SECOND * 20);
    sim.advance(DAY * 10 - SECOND * 20 - NANOSECOND);
    assert_eq!(log.entries(), []);
    sim.advance(NANOSECOND);
    assert_eq!(log.entries().len(), 1);
    Ok(())
}

#[test]
fn a_wait_during_which_the_clock_is_set_takes_its_length_across_a_crash() -> Result {
    let hour = time::Duration::HOUR;
    for wait in WAITS {
        for by in [hour, -hour, hour * 24 * 400, -hour * 24 * 400] {
            for is_set_again in [false, true] {
                let machine = machine_at(NOON);
                let mut sim = waiting(&machine, wait)?;
                sim.advance(MINUTE * 4);
                if is_set_again {
                    sim.set_wall(sim.clock().wall() - by);
                    sim.advance(MINUTE);
                }
                sim.set_wall(sim.clock().wall() + by);
                sim.crash();
                let mut sim = machine.boot();
                let starts = Log::new();
                failing_first(&sim, &starts)?;
                let left = LENGTH - MINUTE * if is_set_again { 5 } else { 4 };
                let case = format!("{wait:?} {by} {is_set_again}");
                sim.advance(left - NANOSECOND);
                assert!(starts.entries().is_empty(), "{case}");
                sim.advance(NANOSECOND);
                let now = machine.clock.wall();
                assert_eq!(starts.entries().first(), Some(&now), "{case}");
            }
        }
    }
    Ok(())
}

/// The clock is set while the first run, at 13:00, waits for its retry; the second is due an
/// hour after it.
#[test]
fn the_run_after_a_retry_during_which_the_clock_was_set_is_not_early_in_the_next_process() -> Result
{
    for by in [time::Duration::HOUR, -time::Duration::HOUR] {
        let machine = machine_at(NOON);
        let mut sim = waiting(&machine, Wait::RetryOfRecurring)?;
        sim.advance(MINUTE * 4);
        sim.set_wall(sim.clock().wall() + by);
        sim.crash();
        let mut sim = machine.boot();
        let starts = Log::new();
        failing_first(&sim, &starts)?;
        sim.advance(MINUTE * 56 - NANOSECOND);
        assert_eq!(starts.entries(), [NOON + HOUR + LENGTH + by], "{by}");
    }
    Ok(())
}

// A clock that was ahead.

/// The job `x`, which is due each minute, in the ways in which that can be said.
fn each_minute(task: &Task<u32, u32>, how: &str) -> Result<Job<u32>> {
    let schedule = task.schedule(1).id("x");
    Ok(match how {
        "every" => schedule.every(MINUTE).block_on()?,
        "start date" => {
            let start = datetime!(2026-11-01 0:00:30 UTC);
            schedule.start_date(start).every(MINUTE).block_on()?
        }
        cron => schedule.cron(cron).block_on()?,
    })
}

/// Regression: a clock that was ahead left times behind it, and the job was silent until the
/// clock came to them.
#[test]
fn a_job_goes_on_at_once_when_a_clock_that_was_ahead_is_set_right() -> Result {
    // When it is due first, by the clock that was set right at 12:02:30.
    let ways = [
        ("* * * * *", datetime!(2026-11-20 12:03 UTC)),
        ("0-59 0-23 * * *", datetime!(2026-11-20 12:03 UTC)),
        ("every", datetime!(2026-11-20 12:03:30 UTC)),
        ("start date", datetime!(2026-11-20 12:03:30 UTC)),
    ];
    for (how, first) in ways {
        for ahead in [HOUR, HOUR * 8, DAY * 400] {
            if how == "0-59 0-23 * * *" && ahead == HOUR {
                // Times of day: see the next test.
                continue;
            }
            for is_in_process in [true, false] {
                let case = format!("{how}, {ahead:?} ahead, in process: {is_in_process}");
                let machine = machine_at(NOON + SECOND * 30 + ahead);
                let mut sim = machine.boot();
                let log = Log::new();
                let job = each_minute(&logging(&sim, "t", &log), how)?;
                sim.advance(MINUTE * 2);
                assert_eq!(job.last_run().map(|run| run.number), Some(2), "{case}");
                log.take();
                let right = NOON + MINUTE * 2 + SECOND * 30;
                if is_in_process {
                    sim.set_wall(right);
                } else {
                    sim.crash();
                    machine.clock.set_wall(right);
                    sim = machine.boot();
                    logging(&sim, "t", &log);
                }
                assert_eq!(log.take(), [], "{case}");
                let job = sim.app().find_job("x").ok_or("it is stored")?;
                assert_eq!(job.exec_at(), first, "{case}");
                sim.advance(MINUTE * 3);
                let runs = [(3, 0), (4, 1), (5, 2)];
                let runs = runs.map(|(run, minutes)| (run, 1, first + MINUTE * minutes));
                assert_eq!(log.take(), runs, "{case}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_time_of_day_runs_again_after_a_restart_only_if_the_clock_was_ahead_by_more_than_three_hours()
-> Result {
    for (back, next) in [
        (HOUR, NOON + DAY),
        (HOUR * 3, NOON + DAY),
        (HOUR * 3 + SECOND, NOON),
        (HOUR * 20, NOON),
    ] {
        let machine = machine_at(NOON - MINUTE);
        let mut sim = machine.boot();
        let log = Log::new();
        let schedule = logging(&sim, "t", &log).schedule(1).id("x");
        let _ = schedule.cron("0 12 * * *").block_on()?;
        sim.advance(MINUTE);
        assert_eq!(log.take(), [(1, 1, NOON)]);
        sim.crash();
        machine.clock.set_wall(NOON - back);
        let mut sim = machine.boot();
        let job = logging(&sim, "t", &log).job("x").ok_or("it is stored")?;
        assert_eq!(job.exec_at(), next, "{back:?}");
        sim.advance((next - machine.clock.wall()).unsigned_abs());
        assert_eq!(log.take(), [(2, 1, next)], "{back:?}");
    }
    Ok(())
}

/// Regression: the job waited until the clock showed the time at which it had been found to
/// have missed runs.
#[test]
fn a_run_that_catches_up_is_due_at_its_own_time_if_the_clock_was_ahead() -> Result {
    for ahead in [HOUR * 5, DAY * 400] {
        let machine = machine_at(NOON);
        let mut sim = machine.boot();
        let task = sim.app().task("t", async |cx: JobContext, n: u32| {
            if cx.run_number() == 2 {
                std::future::pending::<()>().await;
            }
            n
        });
        let schedule = task.durable().register()?.schedule(1).id("x");
        let schedule = schedule.misfire(Misfire::All(100));
        let _ = schedule.cron("* * * * *").block_on()?;
        // Two runs catch up, and the second does not end.
        sim.set_wall(NOON + ahead);
        sim.crash();
        machine.clock.set_wall(NOON + SECOND * 90);
        let log = Log::new();
        let mut sim = machine.boot();
        let job = logging(&sim, "t", &log).job("x").ok_or("it is stored")?;
        assert_eq!(job.exec_at(), NOON + MINUTE * 2, "{ahead:?}");
        sim.advance(SECOND * 30);
        assert_eq!(log.take(), [(2, 1, NOON + MINUTE * 2)], "{ahead:?}");
    }
    Ok(())
}

/// Regression: the random delay was left out if the next process started within it.
#[test]
fn a_run_keeps_its_jitter_in_the_next_process_although_its_job_has_none_any_more() -> Result {
    for trigger in ["0 13 * * *", "every"] {
        let machine = machine_at(NOON);
        let mut sim = machine.boot();
        let task = logging(&sim, "t", &Log::new());
        let declare = |jitter: Duration| {
            let schedule = task.schedule(1).id("x").replace().jitter(jitter);
            match trigger {
                "every" => schedule.every(HOUR).block_on(),
                cron => schedule.cron(cron).block_on(),
            }
        };
        let job = declare(HOUR)?;
        let due = job.exec_at();
        assert!(due > NOON + HOUR + MINUTE, "{due}");
        assert_eq!(declare(Duration::ZERO)?.exec_at(), due);
        sim.advance(HOUR + MINUTE);
        sim.crash();
        let log = Log::new();
        let mut sim = machine.boot();
        let job = logging(&sim, "t", &log).job("x").ok_or("it is stored")?;
        assert_eq!(job.exec_at(), due, "{trigger}");
        sim.run_until_stalled();
        assert_eq!(log.entries(), [], "{trigger}");
        sim.advance((due - machine.clock.wall()).unsigned_abs());
        assert_eq!(log.entries(), [(1, 1, NOON + HOUR)], "{trigger}");
    }
    Ok(())
}

/// What a job that is due at noon is due by.
const AT_NOON: [&str; 4] = ["cron", "at", "start date", "calendar"];

/// Its first attempt fails.
fn at_noon(task: &Task<bool, ()>, how: &str) -> Result<Job<()>> {
    let schedule = task.schedule(true).id("x");
    Ok(match how {
        "cron" => schedule.cron("0 12 * * *").block_on()?,
        "at" => schedule.at(NOON).block_on()?,
        "start date" => schedule.start_date(NOON).every(DAY).block_on()?,
        _ => {
            let schedule = schedule.start_date(NOON);
            schedule.every_calendar(CalendarInterval::DAY).block_on()?
        }
    })
}

/// Regression: each start of a process made the retry wait for its whole delay again.
#[test]
fn a_retry_follows_a_clock_that_is_set_back_although_its_run_is_due_by_the_wall_clock() -> Result {
    for how in AT_NOON {
        for back in [MINUTE * 30, HOUR * 5] {
            let machine = machine_at(NOON - SECOND);
            let mut sim = machine.boot();
            at_noon(&failing_first(&sim, &Log::new())?, how)?;
            sim.advance(SECOND);
            sim.set_wall(NOON - back);
            let starts = Log::new();
            for minutes in [6, 3] {
                sim.crash();
                sim = machine.boot();
                failing_first(&sim, &starts)?;
                let job = sim.app().find_job("x").ok_or("it is stored")?;
                assert_eq!(job.exec_at(), NOON - back + LENGTH, "{how}, {back:?}");
                sim.advance(MINUTE * minutes);
            }
            assert!(starts.entries().is_empty(), "{how}, {back:?}");
            sim.advance(MINUTE);
            assert_eq!(starts.entries(), [NOON - back + LENGTH], "{how}, {back:?}");
        }
    }
    Ok(())
}

/// Regression: the correction was forgotten at the crash, and the times that the wrong clock had
/// shown were left out.
#[test]
fn a_clock_that_is_corrected_while_a_retry_waits_has_run_no_time_also_after_a_crash() -> Result {
    for (is_crash, is_set_while_down) in [(false, false), (true, false), (true, true)] {
        let machine = machine_at(NOON - HOUR * 3 - MINUTE);
        let log = Log::new();
        let boot = || -> Result<_> {
            let sim = machine.boot();
            let log = log.clone();
            let task = sim.app().task("t", move |cx: JobContext| {
                log.add((cx.nominal_time().hour(), cx.attempt()));
                let fails = cx.run_number() == 2 && cx.attempt() == 1;
                async move {
                    match fails {
                        true => Err("once"),
                        false => Ok(()),
                    }
                }
            });
            let task = task
                .retry(Backoff::fixed(1, HOUR * 2))
                .durable()
                .register()?;
            Ok((sim, task))
        };
        let (mut sim, task) = boot()?;
        let _ = task.schedule(()).id("x").cron("0 7-12 * * *").block_on()?;
        // The clock is ahead by four hours: the runs of 9 and 10 come at 5 and 6.
        sim.advance(HOUR + MINUTE);
        if !is_set_while_down {
            sim.set_wall(NOON - HOUR * 6);
        }
        if is_crash {
            sim.crash();
            machine.clock.set_wall(NOON - HOUR * 6);
            sim = boot()?.0;
        }
        log.take();
        sim.advance(HOUR * 6);
        let runs = [(10, 2), (9, 1), (10, 1), (11, 1), (12, 1)];
        assert_eq!(
            log.take(),
            runs,
            "crash: {is_crash}, while down: {is_set_while_down}"
        );
    }
    Ok(())
}

// Another zone at the next boot.

/// Regression: the time was stored, and was run although it was none of the new zone.
#[test]
fn a_job_in_the_zone_of_the_app_runs_at_the_times_of_the_new_zone() -> Result {
    let boot = |machine: &Machine, zone: Zone| {
        let storage = machine.storage();
        Simulation::with(0, machine.clock.clone(), |app| {
            app.storage(storage).zone(zone)
        })
    };
    for (before, after, runs_at) in [
        (
            Zone::fixed(offset!(+7)),
            Zone::UTC,
            datetime!(2026-11-20 11:00 UTC),
        ),
        (
            Zone::UTC,
            Zone::fixed(offset!(+7)),
            datetime!(2026-11-20 4:00 UTC),
        ),
        (
            Zone::fixed(offset!(+1)),
            Zone::fixed(offset!(+2)),
            datetime!(2026-11-20 9:00 UTC),
        ),
    ] {
        let machine = machine_at(datetime!(2026-11-20 3:00 UTC));
        let log = Log::new();
        let sim = boot(&machine, before.clone())?;
        let task = logging(&sim, "t", &log);
        let _ = task.schedule(1).id("x").cron("0 11 * * *").block_on()?;
        let own = task.schedule(1).id("own").zone(before.clone());
        let own = own.cron("0 12 * * *").block_on()?;
        let own_time = own.exec_at();
        sim.crash();
        let mut sim = boot(&machine, after.clone())?;
        let task = logging(&sim, "t", &log);
        let job = |id: &str| task.job(id).ok_or("it is stored");
        assert_eq!(job("x")?.exec_at(), runs_at, "{before} to {after}");
        assert_eq!(job("own")?.exec_at(), own_time, "{before} to {after}");
        sim.advance(DAY - SECOND);
        let nominal = |id: &str| -> Result<_> {
            let run = job(id)?.last_run().ok_or("it has run")?;
            Ok((run.number, run.nominal_time))
        };
        assert_eq!(nominal("x")?, (1, runs_at), "{before} to {after}");
        assert_eq!(nominal("own")?, (1, own_time), "{before} to {after}");
        assert_eq!(log.take().len(), 2, "{before} to {after}");
    }
    Ok(())
}

// Declared again at each start.

/// Regression: it never ran.
#[test]
fn an_interval_that_is_declared_at_each_start_runs_although_the_starts_are_closer() -> Result {
    for is_crash in [false, true] {
        let machine = machine_at(NOON);
        let log = Log::new();
        for _ in 0..48 {
            let mut sim = machine.boot();
            let schedule = logging(&sim, "t", &log).schedule(1).id("x");
            let _ = schedule.replace().every(HOUR).block_on()?;
            sim.advance(MINUTE * 30);
            if !is_crash {
                sim.shutdown(SECOND);
            }
            sim.crash();
        }
        let runs = (1..=24).map(|run| (run, 1, NOON + HOUR * run as u32));
        assert_eq!(log.take(), runs.collect::<Vec<_>>(), "{is_crash}");
    }
    Ok(())
}

/// Regression: a job that was declared again lost what it had missed while no process ran.
#[test]
fn a_job_that_is_declared_again_runs_for_what_it_missed() -> Result {
    let monday = datetime!(2026-11-23 2:00 UTC);
    let three = datetime!(2026-11-23 3:00 UTC);
    /// Declares the job, in the first process and in the second.
    type Declare = fn(jobber::Schedule<u32, u32>, bool) -> jobber::Submit<u32, u32>;
    let ways: [(&str, Declare); 7] = [
        ("the same interval", |x, _| x.every(HOUR)),
        ("an interval with jitter", |x, is_first| match is_first {
            true => x.every(HOUR),
            false => x.jitter(MINUTE).every(HOUR),
        }),
        ("an interval with a start date", |x, _| {
            x.start_date(datetime!(2026-11-23 3:00 UTC)).every(DAY)
        }),
        ("the same expression", |x, _| x.cron("0 3 * * MON-FRI")),
        ("an expression of the same meaning", |x, is_first| {
            x.cron(if is_first {
                "0 3 * * 1-5"
            } else {
                "0 3 * * MON-FRI"
            })
        }),
        ("an expression with jitter", |x, is_first| match is_first {
            true => x.cron("0 3 * * *"),
            false => x.jitter(MINUTE).cron("0 3 * * *"),
        }),
        ("another limit and policy", |x, is_first| match is_first {
            true => x.max_runs(7).cron("0 3 * * *"),
            false => x.misfire(Misfire::All(3)).max_failures(2).cron("0 3 * * *"),
        }),
    ];
    for (how, declare) in ways {
        let machine = machine_at(monday);
        let log = Log::new();
        let sim = machine.boot();
        let schedule = logging(&sim, "t", &log).schedule(1).id("x");
        let _ = declare(schedule.replace(), true).block_on()?;
        sim.crash();
        machine.clock.advance(HOUR + MINUTE * 30);
        let mut sim = machine.boot();
        let schedule = logging(&sim, "t", &log).schedule(1).id("x");
        let job = declare(schedule.replace(), false).block_on()?;
        sim.run_until_stalled();
        assert_eq!(log.take(), [(1, 1, three)], "{how}");
        let next = match how.contains("interval") && !how.contains("start") {
            true => three + HOUR,
            false => three + DAY,
        };
        let range = next..=next + MINUTE;
        assert!(range.contains(&job.exec_at()), "{how}: {}", job.exec_at());
        sim.advance((range.end().to_owned() - machine.clock.wall()).unsigned_abs());
        assert_eq!(log.take(), [(2, 1, next)], "{how}");
    }
    Ok(())
}

/// Regression: the declaration was judged as that of a new job, and failed with `NeverDue`.
#[test]
fn a_job_that_is_declared_again_shortly_before_its_end_keeps_the_time_that_is_left() -> Result {
    // Each hour, next at one; or at a time that was missed while no process ran.
    let every = (None, NOON + MINUTE * 65, NOON + HOUR);
    let missed = (Some("30 12 * * *"), NOON + MINUTE * 31, NOON + MINUTE * 30);
    for (restarts, (cron, until, next)) in [(false, every), (true, every), (true, missed)] {
        let machine = machine_at(NOON);
        let mut sim = machine.boot();
        let log = Log::new();
        let declare = |task: &Task<u32, u32>, until: OffsetDateTime| {
            let schedule = task.schedule(1).id("x").replace().until(until);
            match cron {
                Some(cron) => schedule.cron(cron).block_on(),
                None => schedule.every(HOUR).block_on(),
            }
        };
        let mut task = logging(&sim, "t", &log);
        declare(&task, until)?;
        if restarts {
            sim.crash();
            machine.clock.advance(MINUTE * 40);
            sim = machine.boot();
            task = logging(&sim, "t", &log);
        } else {
            sim.advance(MINUTE * 40);
        }
        assert_eq!(declare(&task, until)?.exec_at(), next, "{cron:?}");
        // With an earlier end it is never due, and it stays as it was.
        let error = declare(&task, NOON + MINUTE * 10).unwrap_err();
        assert!(matches!(error, ScheduleError::NeverDue { .. }), "{error}");
        sim.advance(HOUR);
        assert_eq!(log.entries(), [(1, 1, next)], "{cron:?}");
    }
    Ok(())
}

#[test]
fn an_expression_of_the_same_meaning_shows_its_own_text() -> Result {
    let machine = machine_at(NOON);
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let schedule = || task.schedule(1).id("x").replace();
    let job = schedule().cron("0 3 * * 1-5").block_on()?;
    let due = job.exec_at();
    let mut events = sim.app().events();
    let _ = schedule().cron("0 3 * * MON-FRI").block_on()?;
    assert_eq!(job.cron_expression().as_deref(), Some("0 3 * * MON-FRI"));
    assert_eq!(job.exec_at(), due);
    assert_eq!(kinds(&mut events), ["scheduled"]);
    sim.crash();
    let sim = machine.boot();
    let job = logging(&sim, "t", &Log::new())
        .job("x")
        .ok_or("it is stored")?;
    assert_eq!(job.cron_expression().as_deref(), Some("0 3 * * MON-FRI"));
    Ok(())
}

/// Times of day and a rate of the same times are not the same: they differ after a step of the
/// clock.
#[test]
fn a_rate_that_replaces_times_of_day_starts_a_new_series() -> Result {
    let machine = machine_at(datetime!(2026-11-20 2:59:30 UTC));
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let _ = task
        .schedule(1)
        .id("x")
        .cron("0-59 0-23 * * *")
        .block_on()?;
    sim.crash();
    machine.clock.advance(MINUTE);
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task
        .schedule(1)
        .id("x")
        .replace()
        .cron("* * * * *")
        .block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), [], "what was missed is not of the new series");
    assert_eq!(job.exec_at(), datetime!(2026-11-20 3:01 UTC));
    Ok(())
}

/// Regression: a job that was declared again at the start lost the retry that it waited for.
#[test]
fn a_job_that_is_declared_again_keeps_the_retry_that_it_waits_for() -> Result {
    for is_restarted in [false, true] {
        for is_cron in [false, true] {
            let machine = machine_at(NOON);
            let log = Log::new();
            let register = |sim: &Simulation| -> Result<_> {
                let log = log.clone();
                let task = sim.app().task("t", move |cx: JobContext, n: u32| {
                    log.add((ran(&cx), n));
                    async { Err::<(), _>("no") }
                });
                let task = task.retry(Backoff::fixed(1, MINUTE * 20)).durable();
                Ok(task.register()?)
            };
            let declare = |task: &Task<u32, ()>, n| {
                let schedule = task.schedule(n).id("x").replace();
                match (is_cron, n) {
                    (false, _) => schedule.every(HOUR),
                    (true, 1) => schedule.cron("0 * * * *"),
                    (true, _) => schedule.cron("@hourly"),
                }
            };
            let mut sim = machine.boot();
            let mut task = register(&sim)?;
            let _ = declare(&task, 1).block_on()?;
            sim.advance(HOUR + MINUTE * 5);
            let one = NOON + HOUR;
            assert_eq!(log.take(), [((1, 1, one), 1)]);
            if is_restarted {
                sim.crash();
                sim = machine.boot();
                task = register(&sim)?;
            }
            let job = declare(&task, 2).block_on()?;
            assert_eq!(job.exec_at(), one + MINUTE * 20);
            assert_eq!(job.last_run(), None);
            assert_eq!(machine.record("x").ok_or("it is stored")?.args, "2");
            sim.advance(MINUTE * 15);
            assert_eq!(log.take(), [((1, 2, one), 2)]);
            assert_eq!(job.last_run().map(|run| run.number), Some(1));
            sim.advance(MINUTE * 40);
            assert_eq!(log.take(), [((2, 1, one + HOUR), 2)]);
        }
    }
    Ok(())
}

#[test]
fn a_stored_job_that_is_declared_again_as_it_is_is_not_written_and_sends_no_event() -> Result {
    type Declare = fn(jobber::Schedule<u32, u32>) -> jobber::Submit<u32, u32>;
    let ways: [Declare; 5] = [
        |x| x.every(HOUR),
        |x| x.start_date(NOON - DAY).every(HOUR),
        |x| x.start_date(NOON + DAY).every(HOUR),
        |x| x.zone(offset!(+2)).cron("0 3 * * MON-FRI"),
        |x| {
            let x = x.jitter(MINUTE).misfire(Misfire::Skip);
            x.max_runs(9).max_failures(3).cron("*/7 * * * *")
        },
    ];
    for declare in ways {
        let machine = machine_at(NOON);
        let mut sim = machine.boot();
        let log = Log::new();
        let mut task = logging(&sim, "t", &log);
        let again = |task: &Task<u32, u32>, n| declare(task.schedule(n).id("x").replace());
        let _ = again(&task, 1).block_on()?;
        for is_restarted in [false, true] {
            if is_restarted {
                sim.crash();
                machine.clock.advance(HOUR * 9 + MINUTE * 5);
                sim = machine.boot();
                task = logging(&sim, "t", &log);
            }
            let job = task.job("x").ok_or("it is stored")?;
            let before = (machine.record("x"), job.exec_at());
            let mut events = sim.app().events();
            machine.commits.take();
            for _ in 0..3 {
                let _ = again(&task, 1).block_on()?;
            }
            assert!(machine.commits.take().is_empty(), "{before:?}");
            assert_eq!(kinds(&mut events), [] as [&str; 0], "{before:?}");
            assert_eq!((machine.record("x"), job.exec_at()), before);
            // Other arguments are written.
            let _ = again(&task, 2).block_on()?;
            assert_eq!(machine.commits.take(), [1], "{before:?}");
            assert_eq!(kinds(&mut events), ["scheduled"], "{before:?}");
            assert_eq!(job.exec_at(), before.1);
            let _ = again(&task, 1).block_on()?;
            sim.advance(MINUTE);
        }
    }
    Ok(())
}

/// That is how one debounces.
#[test]
fn a_job_that_runs_once_has_a_new_time_each_time_that_it_is_declared() -> Result {
    let machine = machine_at(NOON);
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task.schedule(1).id("x").delay(MINUTE).block_on()?;
    for _ in 0..3 {
        sim.advance(SECOND * 40);
        let again = task.schedule(1).id("x").replace();
        let _ = again.delay(MINUTE).block_on()?;
        assert_eq!(job.exec_at(), machine.clock.wall() + MINUTE);
    }
    assert_eq!(log.take(), []);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 1);
    Ok(())
}

/// A crash during a run makes that run again, although the job was declared again meanwhile.
#[test]
fn a_run_during_which_its_job_was_declared_again_is_made_again_after_a_crash() -> Result {
    for is_cron in [false, true] {
        let machine = machine_at(NOON);
        let log = Log::new();
        let boot = |hangs: bool| -> Result<_> {
            let sim = machine.boot();
            let log = log.clone();
            let task = sim.app().task("t", move |cx: JobContext, n: u32| {
                log.add((ran(&cx), n));
                async move {
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                }
            });
            Ok((sim, task.durable().register()?))
        };
        let declare = |task: &Task<u32, ()>, n| {
            let schedule = task.schedule(n).id("x").replace();
            match (is_cron, n) {
                (false, _) => schedule.every(HOUR),
                (true, 1) => schedule.cron("0 0-23 * * *"),
                (true, _) => schedule.cron("0 0-22,23 * * *"),
            }
        };
        let (mut sim, task) = boot(true)?;
        let job = declare(&task, 1).block_on()?;
        sim.advance(HOUR);
        let _ = declare(&task, 2).block_on()?;
        assert_eq!(job.status(), JobStatus::Running);
        sim.crash();
        let one = NOON + HOUR;
        assert_eq!(log.take(), [((1, 1, one), 1)]);
        let (mut sim, _) = boot(false)?;
        sim.advance(HOUR);
        assert_eq!(log.take(), [((1, 1, one), 2), ((2, 1, one + HOUR), 2)]);
    }
    Ok(())
}

// Another interval.

/// A job that was scheduled at noon for each hour, and is declared for another interval
/// `after` its scheduling. Returns when it is due then.
fn due_with_interval(after: Duration, interval: Duration, process: Process) -> Result<Due> {
    let machine = machine_at(NOON);
    let mut sim = machine.boot();
    let log = Log::new();
    let mut task = logging(&sim, "t", &log);
    let schedule = |task: &Task<u32, u32>| {
        let schedule = task.schedule(1).id("x").replace();
        match process {
            Process::InMemory => schedule.in_memory(),
            Process::Same | Process::Next => schedule,
        }
    };
    let _ = schedule(&task).every(HOUR).block_on()?;
    sim.advance(after);
    log.take();
    if process == Process::Next {
        sim.crash();
        sim = machine.boot();
        task = logging(&sim, "t", &log);
    }
    let job = schedule(&task).every(interval).block_on()?;
    let due = job.exec_at();
    let now = machine.clock.wall();
    sim.run_until_stalled();
    assert_eq!(!log.take().is_empty(), due <= now, "{after:?} {interval:?}");
    if due > now {
        sim.advance((due - now).unsigned_abs() - NANOSECOND);
        assert_eq!(log.take(), [], "{after:?} {interval:?}");
        sim.advance(NANOSECOND);
        let run = log.take();
        assert_eq!(run.len(), 1, "{after:?} {interval:?}");
        assert_eq!(run[0].2, due, "{after:?} {interval:?}");
    }
    Ok((due, job.exec_at()))
}

/// Of the next run, and of the one after it.
type Due = (OffsetDateTime, OffsetDateTime);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Process {
    InMemory,
    Same,
    Next,
}

const PROCESSES: [Process; 3] = [Process::InMemory, Process::Same, Process::Next];

#[test]
fn a_new_interval_counts_from_the_last_run() -> Result {
    let one = NOON + HOUR;
    for process in PROCESSES {
        for minutes in [21, 30, 59, 61, 180] {
            let interval = MINUTE * minutes;
            let due = due_with_interval(HOUR + MINUTE * 20, interval, process)?;
            assert_eq!(due, (one + interval, one + interval * 2), "{process:?}");
        }
    }
    Ok(())
}

#[test]
fn a_new_interval_counts_from_the_scheduling_before_the_first_run() -> Result {
    for process in PROCESSES {
        for minutes in [21, 30, 59, 61, 180] {
            let interval = MINUTE * minutes;
            let due = due_with_interval(MINUTE * 20, interval, process)?;
            assert_eq!(due, (NOON + interval, NOON + interval * 2), "{process:?}");
        }
    }
    Ok(())
}

#[test]
fn a_new_interval_that_has_passed_is_due_at_once() -> Result {
    for process in PROCESSES {
        for after in [MINUTE * 20, HOUR + MINUTE * 20] {
            for minutes in [1, 7, 20] {
                let interval = MINUTE * minutes;
                let now = NOON + after;
                let due = due_with_interval(after, interval, process)?;
                assert_eq!(due, (now, now + interval), "{process:?} {after:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn an_interval_that_is_changed_twice_counts_from_the_scheduling_of_its_job() -> Result {
    let machine = machine_at(NOON);
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let schedule = || task.schedule(1).id("x").replace();
    let job = schedule().every(HOUR).block_on()?;
    for minutes in [30, 50, 25] {
        sim.advance(MINUTE * 5);
        let _ = schedule().every(MINUTE * minutes).block_on()?;
        assert_eq!(job.exec_at(), NOON + MINUTE * minutes);
    }
    Ok(())
}

/// The clock is set between the last run and the new interval.
#[test]
fn a_new_interval_counts_from_the_last_run_although_the_clock_was_set() -> Result {
    let hours = time::Duration::HOUR;
    for by in [hours * 5, -hours, -hours * 5] {
        for is_restarted in [false, true] {
            let machine = machine_at(NOON);
            let mut sim = machine.boot();
            let log = Log::new();
            let mut task = logging(&sim, "t", &log);
            let _ = task.schedule(1).id("x").every(HOUR).block_on()?;
            sim.advance(HOUR + MINUTE * 10);
            sim.set_wall(machine.clock.wall() + by);
            sim.advance(MINUTE * 10);
            if is_restarted {
                sim.crash();
                sim = machine.boot();
                task = logging(&sim, "t", &log);
            }
            log.take();
            let again = task.schedule(1).id("x").replace();
            let _ = again.every(MINUTE * 30).block_on()?;
            sim.advance(MINUTE * 10 - NANOSECOND);
            assert_eq!(log.take(), [], "{by} {is_restarted}");
            sim.advance(NANOSECOND);
            assert_eq!(log.take().len(), 1, "{by} {is_restarted}");
        }
    }
    Ok(())
}

/// Regression: it counted from the moment of the change, if the last run but one was later by the
/// clock that was set back.
#[test]
fn a_new_interval_counts_from_the_last_run_although_an_earlier_run_shows_a_later_time() -> Result {
    let machine = machine_at(NOON);
    let mut sim = machine.boot();
    let schedule = logging(&sim, "t", &Log::new()).schedule(1).id("x");
    let _ = schedule.every(MINUTE * 5).block_on()?;
    sim.advance(MINUTE * 5);
    sim.crash();
    machine.clock.set_wall(NOON - HOUR * 2);
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    sim.advance(MINUTE * 6);
    let last = NOON - HOUR * 2 + MINUTE * 5;
    assert_eq!(log.take(), [(2, 1, last)]);
    let schedule = task.schedule(1).id("x").replace();
    let job = schedule.every(MINUTE * 2).block_on()?;
    assert_eq!(job.exec_at(), last + MINUTE * 2);
    Ok(())
}

// A clock that was never set.

/// A machine that boots in 1970, and knows that this is wrong.
fn machine_in_1970() -> Machine {
    let machine = machine_at(OffsetDateTime::UNIX_EPOCH);
    let clock = machine.clock.clone();
    let _ = clock.with_earliest_true_time(datetime!(2026-11-01 0:00 UTC));
    machine
}

#[test]
fn a_stored_wait_is_over_after_its_length_while_the_clock_is_not_set() -> Result {
    for wait in WAITS {
        let machine = machine_in_1970();
        machine.clock.set_wall(NOON);
        let sim = waiting(&machine, wait)?;
        sim.crash();
        machine.clock.set_wall(OffsetDateTime::UNIX_EPOCH);
        let mut sim = machine.boot();
        let starts = Log::new();
        failing_first(&sim, &starts)?;
        sim.advance(LENGTH - NANOSECOND);
        assert!(starts.entries().is_empty(), "{wait:?}");
        sim.advance(NANOSECOND);
        assert_eq!(starts.entries().len(), 1, "{wait:?}");
        // An interval goes on like that.
        sim.advance(LENGTH);
        let is_interval = matches!(wait, Wait::FirstRun | Wait::SecondRun);
        assert_eq!(
            starts.entries().len(),
            1 + usize::from(is_interval),
            "{wait:?}"
        );
    }
    Ok(())
}

#[test]
fn a_stored_wait_that_a_clock_counted_that_was_not_set_takes_its_whole_length_again() -> Result {
    for wait in [Wait::Delay, Wait::FirstRun, Wait::Retry] {
        let machine = machine_in_1970();
        let sim = waiting(&machine, wait)?;
        sim.crash();
        machine.clock.set_wall(NOON);
        let mut sim = machine.boot();
        let starts = Log::new();
        failing_first(&sim, &starts)?;
        sim.advance(LENGTH - NANOSECOND);
        assert!(starts.entries().is_empty(), "{wait:?}");
        sim.advance(NANOSECOND);
        assert_eq!(starts.entries(), [NOON + LENGTH], "{wait:?}");
    }
    Ok(())
}

#[test]
fn a_stored_wait_during_which_the_clock_is_set_takes_no_longer_than_its_length() -> Result {
    for wait in WAITS {
        let machine = machine_in_1970();
        let mut sim = waiting(&machine, wait)?;
        sim.advance(MINUTE * 4);
        sim.set_wall(NOON);
        sim.crash();
        let mut sim = machine.boot();
        let starts = Log::new();
        failing_first(&sim, &starts)?;
        let rest = LENGTH - MINUTE * 4;
        sim.advance(rest - NANOSECOND);
        assert!(starts.entries().is_empty(), "{wait:?}");
        sim.advance(NANOSECOND);
        assert_eq!(starts.entries(), [NOON + rest], "{wait:?}");
    }
    Ok(())
}

#[test]
fn the_missed_times_of_a_stored_job_count_from_its_last_run_when_the_clock_is_set() -> Result {
    let machine = machine_in_1970();
    machine.clock.set_wall(NOON);
    let boot = || -> Result<_> {
        let sim = machine.boot();
        let log = Log::new();
        let task = logging(&sim, "t", &log);
        Ok((sim, task, log))
    };
    let (mut sim, task, _) = boot()?;
    let all = Misfire::All(100);
    let _ = task
        .schedule(0)
        .id("x")
        .misfire(all)
        .cron("0 * * * *")
        .block_on()?;
    sim.advance(HOUR);
    sim.crash();
    machine.clock.set_wall(OffsetDateTime::UNIX_EPOCH);
    let (mut sim, task, log) = boot()?;
    assert!(is_clock_unset(&sim));
    sim.advance(DAY);
    assert!(log.entries().is_empty(), "it waits for the wall clock");
    sim.set_wall(datetime!(2026-11-20 15:30 UTC));
    assert!(!is_clock_unset(&sim));
    let nominal = |job: Job<u32>| job.last_run().map(|run| (run.number, run.nominal_time));
    let last = nominal(task.job("x").unwrap());
    assert_eq!(last, Some((3, datetime!(2026-11-20 15:00 UTC))));
    Ok(())
}

#[test]
fn a_stored_job_that_was_scheduled_before_the_clock_was_set_misses_nothing() -> Result {
    let machine = machine_in_1970();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let _ = task.schedule(0).id("x").cron("0 * * * *").block_on()?;
    sim.crash();
    machine.clock.set_wall(datetime!(2026-11-20 15:30 UTC));
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    sim.run_until_stalled();
    assert!(log.entries().is_empty());
    let due = task.job("x").unwrap().exec_at();
    assert_eq!(due, datetime!(2026-11-20 16:00 UTC));
    Ok(())
}

/// Regression: each time that was stored before the release of the build that loads it counted
/// as one of a clock that was never set.
#[test]
fn a_newer_build_keeps_what_an_older_one_has_stored() -> Result {
    let released = |month: u8| {
        let date = time::Date::from_calendar_date(2026, month.try_into().unwrap(), 1);
        date.unwrap().midnight().assume_utc()
    };
    let clock_of = |month, wall| ManualClock::at(wall).with_earliest_true_time(released(month));
    let mut machine = Machine::new();
    machine.clock = clock_of(1, datetime!(2026-10-28 12:00 UTC));
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let _ = task.schedule(0).id("cron").cron("0 9 * * *").block_on()?;
    sim.advance(DAY);
    let expires = task.schedule(0).id("expires").expires(HOUR);
    let _ = expires.delay(DAY).block_on()?;
    let _ = task.schedule(0).id("delay").delay(DAY * 3).block_on()?;
    sim.crash();
    machine.clock = clock_of(11, datetime!(2026-11-05 8:00 UTC));
    let mut sim = machine.boot();
    let log = Log::new();
    let mut events = sim.app().events();
    logging(&sim, "t", &log);
    sim.run_until_stalled();
    let times: Vec<_> = log.entries().into_iter().map(|(.., time)| time).collect();
    assert_eq!(
        times,
        [
            datetime!(2026-11-04 9:00 UTC),
            datetime!(2026-11-01 12:00 UTC)
        ]
    );
    assert!(kinds(&mut events).contains(&"expired".into()));
    assert_eq!(sim.app().jobs().len(), 1);
    Ok(())
}

/// Regression: a timer that had had nothing to wait for counted all that time as one look at the
/// clock that came late.
#[test]
fn a_missed_time_is_missed_also_if_the_timer_had_nothing_to_wait_for() -> Result {
    let machine = machine_at(NOON - HOUR);
    let sim = machine.boot();
    let schedule = logging(&sim, "t", &Log::new()).schedule(1).id("x");
    let schedule = schedule.misfire(Misfire::Skip);
    let _ = schedule.cron("0 12 * * *").block_on()?;
    sim.crash();
    let mut sim = machine.boot();
    sim.run_until_stalled();
    // No thread of the app looks at the clock meanwhile.
    machine.clock.advance(HOUR * 5);
    let log = Log::new();
    let job = logging(&sim, "t", &log).job("x").ok_or("it is stored")?;
    sim.run_until_stalled();
    assert_eq!(log.entries(), []);
    assert_eq!(job.exec_at(), NOON + DAY);
    Ok(())
}

/// The next reading of its wall clock takes ten seconds, if it `is_slow`.
#[derive(Clone)]
struct SlowClock {
    clock: ManualClock,
    is_slow: Arc<AtomicBool>,
}

impl Clock for SlowClock {
    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn wall(&self) -> OffsetDateTime {
        if self.is_slow.swap(false, Ordering::SeqCst) {
            self.clock.advance(SECOND * 10);
        }
        self.clock.wall()
    }

    fn sleep_until(&self, until: Duration) -> Option<Duration> {
        self.clock.sleep_until(until)
    }

    fn watch(&self, moved: Waker) {
        self.clock.watch(moved);
    }
}

/// Regression: the delay was counted from the reading of the monotonic clock, and the job
/// started early by the time that the thread was held up.
#[test]
fn a_restored_delay_is_not_early_if_the_start_is_held_up_between_its_two_clocks() -> Result {
    let machine = machine_at(NOON);
    let sim = machine.boot();
    let task = sim.app().task("task", async || {}).durable().register()?;
    task.schedule(()).id("x").delay(LENGTH).block_on()?;
    sim.crash();
    // It is behind, so that the job waits for its whole delay again.
    machine.clock.set_wall(NOON - HOUR);
    let clock = SlowClock {
        clock: machine.clock.clone(),
        is_slow: Arc::default(),
    };
    let app = Jobber::builder()
        .storage(machine.storage())
        .clock(clock.clone())
        .executor(ThreadPool::new(1)?)
        .build()?;
    let task = app.task("task", async || {}).durable().register()?;
    let other = app.task("other", async || {}).register()?;
    clock.is_slow.store(true, Ordering::SeqCst);
    app.start().block_on()?;
    assert!(!clock.is_slow.load(Ordering::SeqCst));
    let job = task.job("x").unwrap();
    // A job that is due a second before it starts after all that are due before.
    let other = other.schedule(()).delay(LENGTH - SECOND).block_on()?;
    machine.clock.advance(LENGTH - SECOND);
    assert_ends(&other, JobStatus::Success);
    assert_eq!(job.status(), JobStatus::Scheduled);
    machine.clock.advance(SECOND);
    assert_ends(&job, JobStatus::Success);
    Ok(())
}
