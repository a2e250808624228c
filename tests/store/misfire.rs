//! Times that a stored job missed.

use std::time::Duration;

use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, START};
use crate::tasks::{Ran, at, logging, logging_argument, ran, storage_error};
use jobber::testing::{Fault, Simulation};
use jobber::{Backoff, Clock, JobContext, JobStatus, Misfire, Task};
use time::Time;
use time::macros::{datetime, time};

#[test]
fn times_missed_while_no_process_ran_are_handled_by_the_misfire_policy() -> Result {
    // The job is due each minute, and no process runs from its scheduling to 5:30.
    let missed = |misfire: Misfire| -> Result<Vec<i64>> {
        let machine = Machine::new();
        let log = Log::new();
        let sim = machine.boot();
        let task = logging(&sim, "t", &log);
        let schedule = task.schedule(1).generated_id().misfire(misfire);
        let _ = schedule.cron("* * * * *").block_on()?;
        sim.crash();
        machine.clock.advance(SECOND * 330);
        let mut sim = machine.boot();
        logging(&sim, "t", &log);
        sim.advance(SECOND * 30);
        let nominal = log
            .take()
            .into_iter()
            .map(|(_, _, nominal)| (nominal - START).whole_minutes());
        Ok(nominal.collect())
    };
    assert_eq!(missed(Misfire::Once)?, [5, 6]);
    assert_eq!(missed(Misfire::Skip)?, [6]);
    assert_eq!(missed(Misfire::All(3))?, [1, 2, 3, 6]);
    assert_eq!(missed(Misfire::Grace(SECOND * 100))?, [4, 5, 6]);
    Ok(())
}

/// A task whose first run in each process ends, and whose second run hangs.
fn ending_once(sim: &Simulation, log: &Log<Ran>) -> Task<u32, ()> {
    let (log, runs) = (log.clone(), Log::new());
    sim.app()
        .task("t", move |cx: JobContext, _: u32| {
            log.add(ran(&cx));
            runs.add(());
            let hangs = runs.entries().len() > 1;
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
            }
        })
        .durable()
        .register()
        .unwrap()
}

#[test]
fn a_catch_up_that_a_crash_interrupts_goes_on_with_its_count() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &log);
    let schedule = task.schedule(1).generated_id().misfire(Misfire::All(4));
    let _ = schedule.every(MINUTE).block_on()?;
    sim.crash();
    machine.clock.advance(MINUTE * 10 + SECOND * 30);
    // Each process ends one run and crashes in the next. Four runs in all are catch-ups, and
    // the other missed times are skipped.
    let mut minutes = Vec::new();
    for _ in 0..4 {
        let mut sim = machine.boot();
        ending_once(&sim, &log);
        sim.run_until_stalled();
        let runs = log.take().into_iter();
        minutes.push(
            runs.map(|run| (run.2 - START).whole_minutes())
                .collect::<Vec<_>>(),
        );
        sim.crash();
        // The next process makes the same run, although it is later.
        machine.clock.advance(SECOND * 3);
    }
    assert_eq!(minutes, [vec![1, 2], vec![2, 3], vec![3, 4], vec![4]]);
    Ok(())
}

#[test]
fn times_that_were_skipped_before_a_crash_stay_skipped() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let (clock, seen) = (sim.clock(), log.clone());
    let task = sim.app().task("t", move |cx: JobContext, _: u32| {
        seen.add(ran(&cx));
        clock.sleep(SECOND * 330)
    });
    let task = task.durable().register()?;
    let schedule = task.schedule(1).generated_id().misfire(Misfire::Once);
    let _ = schedule.every(MINUTE).block_on()?;
    // The first run takes until 6:30. The one run for 2:00 to 6:00 is interrupted, and made
    // again at the same instant.
    sim.advance(SECOND * 390);
    sim.crash();
    assert_eq!(log.take(), [(1, 1, at(60)), (2, 1, at(360))]);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(2, 1, at(360)), (3, 1, at(420))]);
    Ok(())
}

#[test]
fn times_that_the_clock_jumped_over_come_again_after_a_crash_and_a_step_back() -> Result {
    // Times of day, and a rate.
    for cron in ["0-59 0-23 * * *", "* * * * *"] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let log = Log::new();
        let task = logging(&sim, "t", &log);
        let schedule = task.schedule(1).generated_id().misfire(Misfire::Skip);
        let _ = schedule.cron(cron).block_on()?;
        // The clock jumps an hour ahead, and the job runs there.
        sim.set_wall(at(3_630));
        sim.advance(SECOND * 30);
        assert_eq!(log.take(), [(1, 1, at(3_660))], "{cron}");
        sim.crash();
        let mut sim = machine.boot();
        logging(&sim, "t", &log);
        sim.set_wall(at(330));
        sim.advance(SECOND * 90);
        let runs = [(2, 1, at(360)), (3, 1, at(420))];
        assert_eq!(log.take(), runs, "{cron}");
    }
    Ok(())
}

/// Regression: the wall clock was set while a retry waited; after a restart the next time
/// was taken for one that had run, and missed times were not caught up.
#[test]
fn an_interval_catches_up_after_the_clock_was_set_and_the_process_crashed() -> Result {
    let machine = Machine::new();
    let times = Log::new();
    let boot = || -> Result<_> {
        let sim = machine.boot();
        let log = times.clone();
        let task = sim.app().task("t", move |cx: JobContext| {
            log.add((cx.run_number(), cx.nominal_time()));
            std::future::ready(if cx.attempt() < 3 {
                Err("not yet")
            } else {
                Ok(())
            })
        });
        let backoff = Backoff::fixed(2, SECOND * 5);
        let task = task.retry(backoff).durable().register()?;
        Ok((sim, task))
    };
    let (mut sim, task) = boot()?;
    let schedule = task.schedule(()).id("x").misfire(Misfire::All(1));
    let _ = schedule.every(SECOND * 2).block_on()?;
    // Each run lasts ten seconds. The first is for 2 s, the second for 4 s as the one catch-up,
    // and the third for 22 s.
    sim.advance(SECOND * 23);
    let third = times.entries().pop();
    assert_eq!(third, Some((3, datetime!(2000-01-01 0:00:22 UTC))));
    sim.set_wall(machine.clock.wall() + SECOND * 2);
    sim.advance(SECOND * 5);
    sim.crash();

    let (mut sim, _) = boot()?;
    sim.advance(SECOND * 10);
    // The time after 22 s, which the clock has taken along.
    let fourth = times.entries().into_iter().find(|(run, _)| *run == 4);
    assert_eq!(fourth, Some((4, datetime!(2000-01-01 0:00:26 UTC))));
    Ok(())
}

/// Regression: an interrupted run was stored as a catch-up whatever the policy: after a
/// crash, `Skip` and `Grace` made runs that were an hour late, and `Once` made two for
/// all that was missed.
#[test]
fn a_run_that_a_crash_interrupted_is_skipped_or_made_as_its_misfire_policy_says() -> Result {
    // The first run takes so long that it ends before the second is due, or after that; then
    // the runs that follow the crash, an hour later.
    let (in_time, late) = (SECOND * 60, SECOND * 65);
    let (cut, last, next) = (time!(0:02), time!(1:02), time!(1:03));
    let cases: [(Misfire, Duration, &[Time]); 9] = [
        (Misfire::Grace(SECOND * 12), late, &[last, next]),
        (Misfire::Grace(SECOND * 12), in_time, &[last, next]),
        (Misfire::Grace(HOUR * 2), late, &[cut, time!(0:03)]),
        (Misfire::Skip, in_time, &[next]),
        (Misfire::All(0), in_time, &[next]),
        (Misfire::All(1), in_time, &[cut, next]),
        (Misfire::All(1), late, &[cut, next]),
        (Misfire::Once, late, &[last, next]),
        (Misfire::Once, in_time, &[last, next]),
    ];
    for (misfire, takes, expected) in cases {
        let machine = Machine::new();
        let starts = Log::new();
        let boot = |takes| -> Result<_> {
            let sim = machine.boot();
            let (log, clock) = (starts.clone(), sim.clock());
            let task = sim.app().task("t", move |cx: JobContext| {
                log.add(cx.nominal_time().time());
                clock.sleep(takes)
            });
            let task = task.durable().register()?;
            Ok((sim, task))
        };
        let (mut sim, task) = boot(takes)?;
        let schedule = task.schedule(()).id("x").misfire(misfire);
        let _ = schedule.every(MINUTE).block_on()?;
        sim.advance(MINUTE * 2 + SECOND * 10);
        assert_eq!(starts.take(), [time!(0:01), cut], "{misfire:?} {takes:?}");
        sim.crash();
        machine.clock.advance(HOUR);
        let (mut sim, _) = boot(Duration::ZERO)?;
        sim.advance(MINUTE);
        let mut run = starts.take();
        run.truncate(2);
        assert_eq!(run, expected, "{misfire:?} {takes:?}");
    }
    Ok(())
}

/// Regression: when a replacement during a catch-up run was torn, the job was written
/// again as it was before the run, but not as a catch-up: after a crash the run was
/// counted once more.
#[test]
fn a_catch_up_run_that_a_crash_interrupts_is_counted_once() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging_argument(&sim, &log);
    let schedule = task.schedule(1).id("x").misfire(Misfire::All(2));
    let _ = schedule.cron("* * * * *").block_on()?;
    sim.crash();
    // No process runs for five minutes; two of the missed times are to be caught up.
    machine.clock.advance(MINUTE * 5 + SECOND * 30);
    let mut sim = machine.boot();
    let slow = sim.app().task("t", |_: u32| std::future::pending::<()>());
    let slow = slow.durable().register()?;
    sim.run_until_stalled();
    assert_eq!(slow.job("x").unwrap().status(), JobStatus::Running);
    machine.set_fault(Fault::Tear);
    let again = slow.schedule(2).id("x").replace_any();
    storage_error(again.delay(HOUR).block_on());
    machine.set_fault(Fault::None);
    sim.advance(SECOND);
    sim.crash();

    let mut sim = machine.boot();
    let runs = Log::new();
    let task = sim.app().task(
        "t",
        runs.each_with(|cx, _: u32| (cx.run_number(), cx.nominal_time().minute())),
    );
    task.durable().register()?;
    sim.advance(MINUTE);
    assert_eq!(runs.take(), [(1, 1), (2, 2), (3, 6)]);
    Ok(())
}

/// Regression: when the job was loaded, the run that it waited for was not counted any more
/// among the catch-up runs, and a run too many was made.
#[test]
fn a_catch_up_after_a_time_that_was_on_time_keeps_its_count_in_the_next_process() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let slow = |sim: &Simulation| {
        let (clock, log) = (sim.clock(), log.clone());
        let task = sim.app().task("t", move |cx: JobContext, _: u32| {
            log.add((cx.nominal_time() - START).whole_seconds());
            clock.sleep(SECOND * 3 / 2)
        });
        task.durable().register()
    };
    let mut sim = machine.boot();
    let schedule = slow(&sim)?
        .schedule(1)
        .generated_id()
        .misfire(Misfire::All(2));
    let _ = schedule.cron("*/10 * * * * * *").block_on()?;
    sim.set_wall(at(60));
    sim.advance(SECOND * 10);
    assert_eq!(log.take(), [10, 20, 70]);
    sim.crash();
    machine.clock.advance(MINUTE);
    let mut sim = machine.boot();
    slow(&sim)?;
    sim.advance(SECOND * 3 / 2);
    // 80 is the second catch-up, and a crash interrupts it.
    assert_eq!(log.take(), [70, 80]);
    sim.crash();
    let mut sim = machine.boot();
    slow(&sim)?;
    sim.advance(SECOND * 10);
    assert_eq!(log.take(), [80, 140]);
    Ok(())
}
