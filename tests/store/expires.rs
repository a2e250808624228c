//! Stored jobs whose attempts would start too late.

use std::time::Duration;

use crate::support::{HOUR, Log, MINUTE, Machine, NANOSECOND, Result, SECOND, START, event_kinds};
use crate::tasks::{Ran, failing, logging};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, JobStatus};
use time::macros::datetime;

/// Starts the next process after `down`, with the task of the job. Returns what happened to the
/// job at once, and its attempts.
fn boot(machine: &Machine, down: Duration) -> (Simulation, Vec<String>, Vec<Ran>) {
    machine.clock.advance(down);
    let mut sim = machine.boot();
    let mut events = sim.app().events();
    let log = Log::new();
    failing(&sim, &log, Backoff::fixed(1, MINUTE));
    sim.run_until_stalled();
    let mut kinds = event_kinds(&mut events, "t");
    kinds.retain(|kind| kind != "restored");
    (sim, kinds, log.entries())
}

#[test]
fn a_job_that_was_due_too_long_ago_has_expired_in_the_next_process() -> Result {
    for (late, runs) in [(HOUR, true), (HOUR + NANOSECOND, false)] {
        let machine = Machine::new();
        let sim = machine.boot();
        let task = failing(&sim, &Log::new(), Backoff::fixed(1, MINUTE));
        let schedule = task.schedule(0).id("x").expires(HOUR);
        let _ = schedule.delay(MINUTE).block_on()?;
        sim.crash();
        let (sim, kinds, attempts) = boot(&machine, MINUTE + late);
        if runs {
            assert_eq!(attempts, [(1, 1, START + MINUTE)]);
            // A retry would be a minute too late.
            assert_eq!(kinds, ["started 1.1", "expired"]);
        } else {
            assert_eq!(attempts, []);
            assert_eq!(kinds, ["expired"]);
        }
        assert!(sim.app().jobs().is_empty());
        assert!(machine.records().is_empty());
    }
    Ok(())
}

#[test]
fn a_retry_that_a_crash_delays_is_not_made_too_late() -> Result {
    for recurs in [false, true] {
        for (down, is_made) in [(MINUTE * 5, true), (MINUTE * 5 + NANOSECOND, false)] {
            let machine = Machine::new();
            let mut sim = machine.boot();
            let log = Log::new();
            let task = failing(&sim, &log, Backoff::fixed(1, MINUTE));
            let schedule = task.schedule(0).id("x").expires(MINUTE * 5);
            let job = match recurs {
                // The drawn jitter is stored: the next process counts from the same due time.
                true => schedule.jitter(MINUTE * 50).every(HOUR).block_on()?,
                false => schedule.delay(HOUR).block_on()?,
            };
            let first = job.exec_at();
            sim.advance((first - START).unsigned_abs());
            assert_eq!(log.entries().len(), 1);
            sim.crash();
            let (_sim, kinds, attempts) = boot(&machine, down);
            let made = [(1, 2, START + HOUR)];
            assert_eq!(attempts, if is_made { &made[..] } else { &[] });
            let expected: &[_] = match (is_made, recurs) {
                (true, true) => &["started 1.2", "run 1 ended FAILED"],
                (true, false) => &["started 1.2", "ended FAILED"],
                (false, true) => &["run 1 ended FAILED"],
                (false, false) => &["expired"],
            };
            assert_eq!(kinds, expected, "{down:?}");
            let left = machine.records();
            assert_eq!(left.len(), usize::from(recurs));
            assert!(left.iter().all(|record| record.progress.attempts == 0));
        }
    }
    Ok(())
}

#[test]
fn a_clock_that_was_set_during_the_wait_for_a_retry_expires_nothing() -> Result {
    for recurs in [false, true] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let task = failing(&sim, &Log::new(), Backoff::fixed(1, MINUTE));
        let schedule = task.schedule(0).id("x").expires(MINUTE * 5);
        let _ = match recurs {
            true => schedule.every(HOUR).block_on()?,
            false => schedule.delay(HOUR).block_on()?,
        };
        sim.advance(HOUR);
        sim.set_wall(START + HOUR * 9);
        sim.crash();
        let (_sim, _, attempts) = boot(&machine, MINUTE);
        assert_eq!(attempts, [(1, 2, START + HOUR)], "{recurs}");
    }
    Ok(())
}

#[test]
fn nothing_has_expired_by_a_clock_that_was_never_set() -> Result {
    let now = datetime!(2026-11-20 12:00 UTC);
    let unset = datetime!(1970-01-01 0:05 UTC);
    // The clock was not set when the job was stored, or it is not when the job is loaded.
    for (stored, loaded) in [(unset, now), (now, unset)] {
        let clock = ManualClock::at(stored);
        let mut machine = Machine::new();
        machine.clock = clock.with_earliest_true_time(datetime!(2026-01-01 0:00 UTC));
        let sim = machine.boot();
        let task = failing(&sim, &Log::new(), Backoff::fixed(1, MINUTE));
        let schedule = task.schedule(0).id("x").expires(MINUTE);
        let _ = schedule.delay(SECOND).block_on()?;
        sim.crash();
        machine.clock.set_wall(loaded);
        let mut sim = machine.boot();
        let log = Log::new();
        failing(&sim, &log, Backoff::fixed(0, MINUTE));
        sim.advance(MINUTE);
        assert_eq!(log.entries().len(), 1, "{stored}");
    }
    Ok(())
}

#[test]
fn a_recurring_job_goes_on_with_a_time_that_has_not_expired() -> Result {
    for (down, expected) in [
        (HOUR * 5 + MINUTE * 4, vec![5, 6]),
        (HOUR * 5 + MINUTE * 6, vec![6]),
    ] {
        let machine = Machine::new();
        let sim = machine.boot();
        let task = logging(&sim, "t", &Log::new());
        let schedule = task.schedule(0).id("x").expires(MINUTE * 5);
        let _ = schedule.cron("0 * * * *").block_on()?;
        sim.crash();
        machine.clock.advance(down);
        let mut sim = machine.boot();
        let log = Log::new();
        logging(&sim, "t", &log);
        sim.advance(HOUR);
        let hours = log.entries().into_iter().map(|(_, _, time)| time.hour());
        assert_eq!(hours.collect::<Vec<_>>(), expected);
    }
    Ok(())
}

#[test]
fn an_attempt_made_at_most_once_that_waits_for_the_store_can_expire() -> Result {
    for (limit, status) in [
        (MINUTE, JobStatus::Success),
        // Shorter than the 100 ms after which the writer repeats a commit.
        (SECOND / 100, JobStatus::Cancelled),
    ] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let task = sim.app().task("t", async || ());
        let task = task.durable().at_most_once().register()?;
        let schedule = task.schedule(()).id("x").expires(limit);
        let job = schedule.delay(SECOND).block_on()?;
        machine.plan_faults([jobber::testing::Fault::Fail]);
        sim.advance(SECOND * 2);
        assert_eq!(job.status(), status, "{limit:?}");
        assert!(machine.records().is_empty());
    }
    Ok(())
}
