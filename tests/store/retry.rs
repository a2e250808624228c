//! Retrying and discarding jobs that have failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{DAY, HOUR, HeldStore, Log, MINUTE, Machine, Result, START, begin, poll};
use jobber::storage::Change;
use jobber::testing::{Fault, FaultyStorage, Operation, Simulation};
use jobber::{FailedJob, Jobber, MemoryStorage, RetryError, Task};

/// Registers a durable task that logs its argument, and fails if that is "bad".
fn failing(sim: &Simulation, log: &Log<String>) -> Task<String, ()> {
    let log = log.clone();
    let task = sim.app().task("t", move |text: String| {
        log.add(text.clone());
        std::future::ready(match text.as_str() {
            "bad" => Err(std::io::Error::other("no")),
            _ => Ok(()),
        })
    });
    task.durable().register().unwrap()
}

/// The entry of a job with the id "x" that has failed.
fn fail_one(sim: &mut Simulation, task: &Task<String, ()>) -> Result<FailedJob> {
    let _ = task.schedule("bad".into()).id("x").push().block_on()?;
    sim.run_until_stalled();
    Ok(sim.app().failed().block_on()?.remove(0))
}

/// Regression: a second click on "retry" ran the job twice.
#[test]
fn a_second_retry_of_an_entry_that_is_gone_schedules_nothing() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = failing(&sim, &log);
    let kept = fail_one(&mut sim, &task)?;
    log.take();
    let _ = kept.retry().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 1);
    // It has failed again: that is another run, but let it be removed.
    for end in sim.app().failed().block_on()? {
        end.discard().block_on()?;
    }
    assert!(sim.app().failed().block_on()?.is_empty());
    // A second click, or a second operator with the same list.
    let again = kept.retry().block_on();
    sim.run_until_stalled();
    assert!(matches!(again, Err(RetryError::Gone { id }) if id == "x"));
    assert!(log.take().is_empty(), "the job ran again");
    Ok(())
}

/// Regression: the retry of a discarded entry ran the job.
#[test]
fn a_retry_of_a_discarded_entry_schedules_nothing() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = failing(&sim, &log);
    let kept = fail_one(&mut sim, &task)?;
    log.take();
    kept.discard().block_on()?;
    let again = kept.retry().block_on();
    sim.run_until_stalled();
    assert!(
        matches!(again, Err(RetryError::Gone { .. })) && log.take().is_empty(),
        "a discarded job ran"
    );
    Ok(())
}

#[test]
fn an_entry_is_retried_twice_at_once_and_one_of_them_is_refused() -> Result {
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let app = Jobber::builder().storage(storage).build()?;
    let bad = app
        .task("bad", async || Err::<(), _>("no"))
        .durable()
        .register()?;
    app.start().block_on()?;
    bad.schedule(()).id("x").push().block_on()?.wait_blocking();
    let kept = app.failed().block_on()?.remove(0);
    store.hold();
    let mut first = kept.retry();
    begin(&mut first);
    assert!(poll(kept.retry()).is_some_and(|second| second.is_err()));
    // It goes away before the commit, or after it has begun.
    drop(first);
    store.release();
    drop(bad);
    let _ = app.failed().block_on()?;
    app.wait_all().block_on();
    assert_eq!(app.failed().block_on()?.len(), 1);
    Ok(())
}

/// Regression: a retry was refused at once if it found no place.
#[test]
fn a_retry_waits_for_a_place_among_those_that_wait_for_the_store() -> Result {
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let app = Jobber::builder().storage(storage).build()?;
    let bad = app
        .task("bad", async || Err::<(), _>("no"))
        .durable()
        .register()?;
    let task = app.task("t", async || {}).durable().register()?;
    app.start().block_on()?;
    bad.schedule(()).id("x").push().block_on()?.wait_blocking();
    let kept = app.failed().block_on()?.remove(0);
    store.hold();
    let mut waiting: Vec<_> = (0..16_384).map(|_| task.schedule(()).delay(HOUR)).collect();
    waiting.iter_mut().for_each(begin);
    let mut push = task.schedule(()).delay(HOUR);
    begin(&mut push);
    let mut retry = kept.retry();
    begin(&mut retry);
    store.release();
    let again = retry.block_on()?;
    assert_eq!(again.id(), "x");
    Ok(())
}

/// Regression: a retry whose commit was torn lost the entry and the job.
#[test]
fn an_entry_survives_a_retry_whose_commit_was_torn() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new());
    let kept = fail_one(&mut sim, &task)?;
    machine.set_fault(Fault::Tear);
    let error = kept.retry().block_on();
    assert!(error.is_err());
    machine.set_fault(Fault::None);
    sim.advance(MINUTE);
    let live = sim.app().jobs().len() + machine.records().len();
    let kept = sim.app().failed().block_on()?.len();
    assert!(kept + live > 0, "neither an entry nor a job is left");
    Ok(())
}

/// Regression: after the wall clock was set back, a retried job never ran.
#[test]
fn a_recurring_job_is_retried_after_the_wall_clock_was_set_back() -> Result {
    for set_back in [false, true] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let log = Log::new();
        let task = failing(&sim, &log);
        let schedule = task.schedule("bad".into()).id("x").max_failures(2);
        let _ = schedule.cron("0 * * * *").block_on()?;
        sim.advance(HOUR * 2 + MINUTE);
        assert_eq!(log.take().len(), 2);
        if set_back {
            sim.set_wall(START + HOUR + MINUTE);
        }
        let again = sim.app().failed().block_on()?[0].retry().block_on()?;
        sim.advance(DAY);
        assert_eq!(log.take().len(), 2, "{set_back}: {:?}", again.status());
        assert!(again.is_done());
    }
    Ok(())
}

/// Regression: lists whose callers went away were all made.
#[test]
fn a_list_of_failed_jobs_that_nobody_waits_for_any_more_is_not_made() -> Result {
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let listed = Arc::new(AtomicUsize::new(0));
    let count = listed.clone();
    let storage = FaultyStorage::new(storage, move |operation| {
        if let Operation::LoadEnds = operation {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Fault::None
    });
    let app = Jobber::builder().storage(storage).build()?;
    let task = app.task("t", async || {}).durable().register()?;
    app.start().block_on()?;
    store.hold();
    let mut first = task.schedule(()).delay(DAY);
    begin(&mut first);
    store.requested()?;
    for _ in 0..1_000 {
        begin(&mut app.failed());
    }
    store.release();
    app.failed().block_on()?;
    assert_eq!(
        listed.load(Ordering::SeqCst),
        1,
        "nobody waits for the others"
    );
    Ok(())
}

/// Regression: the store refused the retry after the discard, and the entry was back.
#[test]
fn an_entry_that_is_discarded_during_a_retry_does_not_come_back() -> Result {
    let (store, storage) = HeldStore::new(MemoryStorage::new());
    let fails = Arc::new(AtomicBool::new(false));
    let planned = fails.clone();
    let puts_x = |change: &Change| matches!(change, Change::Put(job) if job.id() == "x");
    let storage = FaultyStorage::new(storage, move |operation| match operation {
        Operation::Commit(changes)
            if planned.load(Ordering::SeqCst) && changes.iter().any(puts_x) =>
        {
            Fault::Fail
        }
        _ => Fault::None,
    });
    let app = Jobber::builder().storage(storage).build()?;
    let bad = app.task("bad", async || Err::<(), _>("no"));
    let bad = bad.durable().register()?;
    app.start().block_on()?;
    bad.schedule(()).id("x").push().block_on()?.wait_blocking();
    let kept = app.failed().block_on()?.remove(0);

    store.hold();
    let mut held = bad.schedule(()).delay(HOUR);
    begin(&mut held);
    store.requested()?;
    let (mut retry, mut discard) = (kept.retry(), kept.discard());
    begin(&mut retry);
    begin(&mut discard);
    fails.store(true, Ordering::SeqCst);
    store.release();
    held.block_on()?;
    assert!(retry.block_on().is_err());
    discard.block_on()?;
    assert!(app.failed().block_on()?.is_empty());
    Ok(())
}
