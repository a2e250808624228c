//! Replacing stored jobs.

use std::cell::RefCell;
use std::future::pending;

use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, START};
use crate::tasks::{at, failing, hanging, logging, logging_argument, storage_error};
use jobber::testing::Fault;
use jobber::{Backoff, JobContext, JobStatus, Misfire};
use time::macros::datetime;

#[test]
fn a_replaced_job_is_stored_with_its_new_arguments_and_trigger() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task.schedule(1).id("x").delay(MINUTE).block_on()?;
    let again = task.schedule(2).id("x").replace();
    let _ = again.delay(HOUR).block_on()?;
    let record = machine.record("x").unwrap();
    assert_eq!(
        (record.args.as_str(), record.progress.due),
        ("2", at(3_600))
    );
    sim.crash();
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.advance(HOUR);
    assert_eq!(*job.result()?, 4);
    assert_eq!(log.take().len(), 1);
    Ok(())
}

#[test]
fn a_replaced_recurring_job_keeps_its_count_in_the_store() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task.schedule(1).id("x").every(MINUTE).block_on()?;
    sim.advance(MINUTE * 3);
    let again = task.schedule(2).id("x").replace().max_runs(4);
    let _ = again.every(HOUR).block_on()?;
    assert_eq!(
        machine
            .record("x")
            .unwrap()
            .progress
            .recurring
            .unwrap()
            .runs,
        3
    );
    sim.crash();
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.advance(HOUR * 3);
    assert_eq!(log.take().last(), Some(&(4, 1, at(180 + 3_600))));
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn a_replacement_after_a_step_back_and_a_crash_repeats_no_time() -> Result {
    // A rate comes to the same times again, replaced or not.
    for (cron, runs) in [
        ("0-59 0-23 * * *", vec![3_600, 3_720]),
        ("* * * * *", vec![3_600, 3_660, 3_720]),
    ] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let log = Log::new();
        let task = logging(&sim, "t", &log);
        let schedule = || task.schedule(1).id("x").replace().misfire(Misfire::Skip);
        let job = schedule().cron(cron).block_on()?;
        sim.set_wall(at(3_630));
        sim.advance(SECOND * 30);
        assert_eq!(log.take(), [(1, 1, at(3_660))], "{cron}");
        sim.set_wall(at(3_570));
        let _ = schedule().cron(cron).block_on()?;
        let progress = machine.record("x").unwrap().progress;
        assert_eq!(progress.due, job.exec_at());
        sim.crash();
        let mut sim = machine.boot();
        logging(&sim, "t", &log);
        sim.advance(SECOND * 160);
        let runs: Vec<_> = (2..).zip(runs).map(|(run, s)| (run, 1, at(s))).collect();
        assert_eq!(log.take(), runs, "{cron}");
    }
    Ok(())
}

#[test]
fn a_replacement_stores_the_ended_runs_and_the_run_whose_retry_it_gives_up() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new(), Backoff::fixed(1, MINUTE));
    let replace = |interval| {
        let schedule = task.schedule(1).id("x").replace();
        schedule.every(interval).block_on()
    };
    let stored = |machine: &Machine| {
        let progress = machine.record("x").unwrap().progress.recurring.unwrap();
        (progress.runs, progress.failures_in_a_row, progress.last_run)
    };
    let job = replace(HOUR * 2)?;
    let _ = replace(HOUR)?;
    assert_eq!(stored(&machine), (0, 0, None));
    sim.advance(HOUR);
    // The first attempt has failed. With the same times, the second will be made.
    let _ = replace(HOUR)?;
    assert_eq!(stored(&machine), (0, 0, None));
    assert_eq!(machine.record("x").unwrap().progress.attempts, 1);
    // With others, it will not.
    let _ = replace(HOUR * 2)?;
    assert_eq!(stored(&machine), (1, 1, job.last_run()));
    assert_eq!(job.last_run().unwrap().status, JobStatus::Failed);
    let _ = replace(HOUR * 2)?;
    assert_eq!(stored(&machine), (1, 1, job.last_run()));
    let _ = replace(HOUR)?;
    assert_eq!(stored(&machine), (1, 1, job.last_run()));
    Ok(())
}

#[test]
fn a_replacement_does_not_store_the_current_run_as_ended() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = hanging(&sim, &Log::new());
    let schedule = || task.schedule(1).id("x").replace();
    let _ = schedule().every(HOUR).block_on()?;
    sim.advance(HOUR);
    let _ = schedule().every(MINUTE).block_on()?;
    let progress = machine.record("x").unwrap().progress.recurring.unwrap();
    assert_eq!((progress.failures_in_a_row, progress.last_run), (0, None));
    Ok(())
}

#[test]
fn a_run_whose_retry_is_given_up_after_a_crash_has_the_status_of_its_last_attempt() -> Result {
    let machine = Machine::new();
    let boot = |machine: &Machine| -> Result<_> {
        let sim = machine.boot();
        let task = sim.app().task("t", |_: u32| std::future::pending::<()>());
        let task = task
            .timeout(SECOND)
            .retry(Backoff::fixed(1, HOUR))
            .durable()
            .register()?;
        Ok((sim, task))
    };
    let (mut sim, task) = boot(&machine)?;
    let _ = task.schedule(1).id("x").every(MINUTE).block_on()?;
    sim.advance(MINUTE + SECOND);
    sim.crash();
    let (_sim, task) = boot(&machine)?;
    let again = task.schedule(1).id("x").replace();
    let job = again.every(MINUTE * 2).block_on()?;
    assert_eq!(job.last_run().unwrap().status, JobStatus::Timeout);
    Ok(())
}

#[test]
fn a_job_that_was_replaced_during_its_run_is_the_replacement_after_a_crash() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = hanging(&sim, &log);
    let _ = task.schedule(1).id("x").push().block_on()?;
    sim.run_until_stalled();
    let again = task.schedule(2).id("x").replace();
    let _ = again.delay(MINUTE).block_on()?;
    sim.crash();
    log.take();
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(1, 1, at(60))]);
    assert_eq!(*job.result()?, 4);
    Ok(())
}

#[test]
fn a_replacement_during_a_run_follows_the_run_and_is_stored() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let clock = sim.clock();
    let task = sim.app().task("t", move |n: u64| {
        let sleep = clock.sleep(SECOND * n as u32);
        async move {
            sleep.await;
            n
        }
    });
    let task = task.durable().register()?;
    let job = task.schedule(10).id("x").push().block_on()?;
    sim.run_until_stalled();
    let again = task.schedule(20).id("x").replace();
    let _ = again.delay(MINUTE).block_on()?;
    sim.advance(SECOND * 10);
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(machine.record("x").unwrap().progress.due, at(60));
    sim.advance(HOUR);
    assert_eq!(*job.result()?, 20);
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn a_replacement_moves_a_job_into_the_store_and_out_of_it() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let schedule = task.schedule(1).id("x").in_memory();
    let job = schedule.delay(MINUTE).block_on()?;
    let again = task.schedule(2).id("x").replace();
    let _ = again.delay(MINUTE).block_on()?;
    assert_eq!(machine.record("x").unwrap().args, "2");
    let again = task.schedule(3).id("x").replace().in_memory();
    let _ = again.delay(MINUTE).block_on()?;
    assert!(machine.record("x").is_none());
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 6);
    assert_eq!(log.take().len(), 1);
    Ok(())
}

/// Regression: if the wall clock was set back while no process ran, a replacement skipped
/// times that had never run.
#[test]
fn a_replacement_of_a_stored_job_that_never_ran_skips_no_time_after_a_step_back() -> Result {
    let machine = Machine::new();
    machine.clock.set_wall(at(30));
    let sim = machine.boot();
    let schedule = logging(&sim, "t", &Log::new()).schedule(1).id("x");
    let _ = schedule.cron("@hourly").block_on()?;
    sim.crash();
    machine.clock.set_wall(at(-30));
    for cron in [
        "* * * * *",
        "@hourly",
        "*/15 * * * *",
        "0-59 0-23 * * *",
        "0 0-23 * * *",
    ] {
        let sim = machine.boot();
        let again = logging(&sim, "t", &Log::new()).schedule(1).id("x");
        let job = again.replace().cron(cron).block_on()?;
        assert_eq!(job.exec_at(), START, "{cron}");
        sim.crash();
    }
    Ok(())
}

#[test]
fn a_replacement_that_could_not_be_stored_leaves_the_job_as_it_was() -> Result {
    for fault in [Fault::Fail, Fault::Tear] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let log = Log::new();
        let task = logging_argument(&sim, &log);
        let job = task.schedule(1).id("x").delay(MINUTE).block_on()?;
        let due = job.exec_at();
        machine.set_fault(fault);
        storage_error(task.schedule(2).id("x").replace().delay(HOUR).block_on());
        assert_eq!(job.exec_at(), due);
        machine.set_fault(Fault::None);
        sim.advance(HOUR * 2);
        assert_eq!(job.status(), JobStatus::Success);
        assert_eq!(log.take(), [1]);
        assert!(machine.records().is_empty());
    }
    Ok(())
}

/// Regression: a torn commit left the new trigger in the store, and the progress of the
/// old job was written into it: a cron job without recurring progress, which nobody could
/// run.
#[test]
fn a_torn_replacement_is_undone_as_a_whole() -> Result {
    for is_running in [false, true] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let clock = sim.clock();
        let slow = sim.app().task("t", move |_: u32| clock.sleep(HOUR));
        let slow = slow.timeout(HOUR * 2).durable().register()?;
        let due = time::macros::datetime!(2000-01-01 0:01 UTC);
        let _ = slow.schedule(1).id("x").at(due).block_on()?;
        if is_running {
            sim.advance(MINUTE);
        }
        let before = machine.records().remove(0);
        machine.set_fault(Fault::Tear);
        storage_error(
            slow.schedule(2)
                .id("x")
                .replace()
                .cron("@hourly")
                .block_on(),
        );
        machine.set_fault(Fault::None);
        sim.advance(SECOND);
        let after = machine.records().remove(0);
        assert_eq!((after.args, after.progress), (before.args, before.progress));
        sim.crash();
        let mut sim = machine.boot();
        let log = Log::new();
        logging_argument(&sim, &log);
        sim.advance(HOUR * 3);
        assert_eq!(log.take(), [1]);
    }
    Ok(())
}

/// Regression: when a replacement could not be stored, the old job was written again with
/// its current run counted as ended, and the next process did not make the run again.
#[test]
fn a_run_during_which_a_replacement_failed_is_made_again_after_a_crash() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = sim.app().task("t", async |cx: JobContext| {
        if cx.run_number() == 2 {
            pending::<()>().await;
        }
    });
    let task = task.durable().register()?;
    let schedule = task.schedule(()).id("x");
    let _ = schedule.cron("* * * * *").block_on()?;
    // The clock is set past times before each of two runs: they are for the last of them.
    sim.set_wall(at(150));
    sim.set_wall(at(450));
    machine.plan_faults([Fault::Fail]);
    let replaced = task.schedule(()).id("x").replace_any().push().block_on();
    assert!(replaced.is_err());
    sim.crash();

    let mut sim = machine.boot();
    let nominal = Log::new();
    let task = sim.app().task("t", nominal.each(|cx| cx.nominal_time()));
    let _ = task.durable().register()?;
    sim.run_until_stalled();
    assert_eq!(nominal.entries(), [datetime!(2000-01-01 0:07 UTC)]);
    Ok(())
}

/// Regression: a torn commit held the last progress of a job and its replacement; the
/// progress was written again alone, into the record of the replacement, and no process
/// could read the result.
#[test]
fn a_torn_replacement_leaves_a_record_that_can_be_read() -> Result {
    let machine = Machine::new();
    let boot = || -> Result<_> {
        let sim = machine.boot();
        let task = sim.app().task("t", async |_: u32| Err::<(), _>("no"));
        let task = task.retry(Backoff::fixed(3, MINUTE)).durable().register()?;
        Ok((sim, task))
    };
    let (mut sim, task) = boot()?;
    let _ = task.schedule(1).id("x").push().block_on()?;
    // The end of the first attempt is not stored; the next commit is torn.
    machine.plan_faults([Fault::Fail, Fault::Tear, Fault::None, Fault::Fail]);
    sim.run_until_stalled();
    let again = task.schedule(2).id("x").replace();
    assert!(again.cron("* * * * *").block_on().is_err());
    sim.crash();

    machine.clear_faults();
    let (sim, task) = boot()?;
    assert!(sim.app().unresolved().is_empty());
    assert!(task.job("x").is_some());
    Ok(())
}

/// Regression: when a replacement was torn, the running `at` job was written again as a
/// delay, and the next process did not notice that the wall clock had been set back
/// before it.
#[test]
fn an_at_job_that_is_written_again_during_its_run_still_follows_the_wall_clock() -> Result {
    let machine = Machine::new();
    let boot = || -> Result<_> {
        let sim = machine.boot();
        let task = sim.app().task("t", pending::<()>).timeout(HOUR);
        Ok((sim, task.durable().register()?))
    };
    let (mut sim, task) = boot()?;
    let noon = datetime!(2000-01-01 12:00 UTC);
    let _ = task.schedule(()).id("x").at(noon).block_on()?;
    sim.set_wall(noon);
    machine.plan_faults([Fault::Tear]);
    let again = task.schedule(()).id("x").replace();
    assert!(again.every(HOUR).block_on().is_err());
    sim.crash();

    machine.clock.set_wall(noon - HOUR);
    let (mut sim, task) = boot()?;
    let job = task.job("x").unwrap();
    sim.advance(MINUTE * 59);
    assert_eq!(job.status(), JobStatus::Scheduled);
    sim.set_wall(noon);
    assert_eq!(job.status(), JobStatus::Running);
    Ok(())
}

thread_local! {
    /// Called when an [`Observed`] is cloned next.
    static ON_CLONE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A number whose clone calls [`ON_CLONE`].
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Observed(u32);

impl Clone for Observed {
    fn clone(&self) -> Self {
        let on_clone = ON_CLONE.take();
        on_clone.into_iter().for_each(|on_clone| on_clone());
        Self(self.0)
    }
}

/// Regression: the arguments of a run are cloned when no lock is held. When a replacement
/// was torn just then, the old job could not be written again: the store kept the refused
/// replacement, and a crash brought it back.
#[test]
fn a_torn_replacement_while_the_arguments_are_cloned_is_undone() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = sim
        .app()
        .task("t", |_: Observed| std::future::pending::<()>());
    let task = task.durable().register()?;
    let schedule = |n| task.schedule(Observed(n)).id("x");
    let _ = schedule(1).delay(MINUTE).block_on()?;
    let again = schedule(2).replace().every(HOUR);
    let set_fault = machine.fault_setter();
    ON_CLONE.set(Some(Box::new(move || {
        set_fault(Fault::Tear);
        storage_error(again.block_on());
        set_fault(Fault::None);
    })));
    sim.advance(MINUTE);
    let record = &machine.records()[0];
    assert_eq!((&*record.args, record.trigger.name()), ("1", "delay"));
    assert_eq!(sim.app().health().to_string(), "healthy");
    Ok(())
}

/// Regression: after its run, a job that was replaced by one in memory was still one of the
/// store: a failing store refused its next replacement.
#[test]
fn a_job_that_is_in_memory_since_its_run_does_not_need_the_store() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let clock = sim.clock();
    let task = sim.app().task("t", move |_: u32| clock.sleep(SECOND));
    let task = task.durable().register()?;
    let _ = task.schedule(1).id("x").every(MINUTE).block_on()?;
    sim.advance(MINUTE);
    let again = || task.schedule(2).id("x").replace().in_memory();
    let _ = again().every(MINUTE).block_on()?;
    let other = task.schedule(3).id("y").delay(HOUR).block_on()?;
    sim.advance(SECOND);
    machine.set_fault(Fault::Fail);
    assert!(other.cancel().block_on().is_err());
    let job = again().every(HOUR).block_on()?;
    assert!(job.cancel().block_on()?.took_effect());
    Ok(())
}
