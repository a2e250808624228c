//! A job that is changed while an earlier change of it is being stored. In a simulation the
//! store answers at once; here it answers when the test says so.

use std::future::IntoFuture;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::held_app::{HeldApp, full};
use crate::support::{
    HOUR, Log, MINUTE, Result, SECOND, START, WATCHDOG, WakeCounter, assert_ends, begin, poll,
    poll_with,
};
use futures_lite::future::block_on;
use jobber::testing::Fault;
use jobber::{Backoff, JobContext, JobStatus, Misfire, Schedule, ScheduleError, Task};
use serde::{Deserialize, Serialize};

/// Schedules the job `x` with the argument 1, in the store or in memory.
fn schedule_in_store_if(task: &Task<u32, ()>, is_stored: bool) -> Schedule<u32, ()> {
    let schedule = task.schedule(1).id("x");
    if is_stored {
        schedule
    } else {
        schedule.in_memory()
    }
}

#[test]
fn a_run_ends_when_its_end_is_stored_and_the_next_run_waits_for_that() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = app.slow(&log, SECOND)?;
    let job = task.schedule(1).id("x").every(SECOND * 2).block_on()?;
    app.advance(SECOND * 2)?;
    app.store.hold();
    app.advance(SECOND)?;
    assert_eq!(app.store.requested()?, ["advance x"]);
    assert_eq!(job.status(), JobStatus::Running);
    assert_eq!(job.last_run(), None);
    app.advance(SECOND)?;
    assert_eq!(log.take(), [(1, 1)]);
    app.release()?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(job.last_run().map(|run| run.number), Some(1));
    app.advance(SECOND)?;
    assert_eq!(log.take(), [(2, 1)]);
    Ok(())
}

#[test]
fn a_cancel_behind_the_end_of_a_run_returns_when_the_job_is_removed() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(HOUR).block_on()?;
    app.advance(HOUR)?;
    app.store.hold();
    app.advance(SECOND)?;
    assert_eq!(app.store.requested()?, ["advance x"]);
    let mut cancel = job.cancel();
    begin(&mut cancel);
    app.store.answer(Fault::None);
    assert_eq!(app.store.requested()?, ["remove x"]);
    assert!(!job.is_done());
    begin(&mut cancel);
    app.store.answer(Fault::None);
    assert!(block_on(cancel)?.took_effect());
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(app.record("x").is_none());
    Ok(())
}

#[test]
fn a_run_that_ends_while_its_replacement_is_being_stored_counts_for_the_replacement() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(HOUR).block_on()?;
    app.advance(HOUR)?;
    app.store.hold();
    let mut replace = task.schedule(2).id("x").replace().every(MINUTE);
    begin(&mut replace);
    assert_eq!(app.store.requested()?, ["put x 2"]);
    app.advance(SECOND)?;
    assert_eq!(job.status(), JobStatus::Running);
    app.store.answer(Fault::None);
    // The row is that of the replacement, with the run that has ended meanwhile.
    assert_eq!(app.store.requested()?, ["advance x"]);
    app.release()?;
    let _ = block_on(replace)?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    let progress = app.record("x").unwrap().progress;
    assert_eq!(progress.due, job.exec_at());
    let recurring = progress.recurring.unwrap();
    assert_eq!((recurring.runs, recurring.last_run), (1, job.last_run()));
    Ok(())
}

#[test]
fn a_run_that_ends_before_its_replacement_is_refused_is_stored_as_ended() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(HOUR).block_on()?;
    app.advance(HOUR)?;
    app.store.hold();
    let mut replace = task.schedule(2).id("x").replace().every(MINUTE);
    begin(&mut replace);
    assert_eq!(app.store.requested()?, ["put x 2"]);
    app.advance(SECOND)?;
    app.store.answer(full());
    assert_eq!(app.store.requested()?, ["advance x"]);
    assert!(block_on(replace).is_err());
    assert_eq!(job.status(), JobStatus::Running);
    app.release()?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    let record = app.record("x").unwrap();
    assert_eq!((&*record.args, record.progress.due), ("1", job.exec_at()));
    assert_eq!(record.progress.recurring.unwrap().runs, 1);
    Ok(())
}

/// A task of which each attempt is made at most once.
fn at_most_once(app: &HeldApp, log: &Log<u32>) -> Result<Task<u32, ()>> {
    let log = log.clone();
    let task = app.app.task("t", move |n: u32| {
        log.add(n);
        async {}
    });
    Ok(task.durable().at_most_once().register()?)
}

#[test]
fn an_attempt_at_most_once_begins_when_its_own_start_is_stored() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = at_most_once(&app, &log)?;
    let job = task.schedule(1).id("x").delay(SECOND).block_on()?;
    app.clock.advance(SECOND);
    // The attempt is spawned and waits for a thread when a replacement postpones it.
    let spawned = app.spawned.recv_timeout(WATCHDOG)?;
    let again = task.schedule(2).id("x").replace();
    let _ = again.delay(SECOND).block_on()?;
    app.store.hold();
    app.clock.advance(SECOND);
    assert_eq!(app.store.requested()?, ["advance x"]);
    app.start_polling(spawned);
    assert_eq!((log.take(), job.status()), (vec![], JobStatus::Scheduled));
    app.release()?;
    // Nothing else wakes the timer.
    app.poll_next()?;
    assert_eq!(log.take(), [2]);
    Ok(())
}

#[test]
fn an_attempt_at_most_once_is_made_after_a_replacement_was_refused() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = at_most_once(&app, &log)?;
    let job = task.schedule(1).id("x").delay(SECOND).block_on()?;
    app.store.hold();
    app.clock.advance(SECOND);
    assert_eq!(app.store.requested()?, ["advance x"]);
    let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    app.store.answer(Fault::None);
    assert_eq!(app.store.requested()?, ["put x 2"]);
    app.advance(Duration::from_nanos(1))?;
    assert!(log.take().is_empty(), "its due time is not known yet");
    app.store.answer(full());
    assert_eq!(app.store.requested()?, ["advance x"]);
    assert!(block_on(replace).is_err());
    app.store.answer(Fault::None);
    assert_eq!(
        app.store.requested()?,
        ["advance x"],
        "the start is stored once more"
    );
    assert_eq!(app.record("x").unwrap().progress.start_intent, None);
    app.release()?;
    app.poll_next()?;
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(log.take(), [1]);
    Ok(())
}

#[test]
fn a_job_in_memory_whose_stored_replacement_is_torn_stays_in_memory_only() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = app.slow(&log, SECOND)?;
    let schedule = task.schedule(1).id("x").in_memory();
    let job = schedule.delay(MINUTE).block_on()?;
    app.store.hold();
    let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    assert_eq!(app.store.requested()?, ["put x 2"]);
    app.store.answer(Fault::Tear);
    assert_eq!(app.store.requested()?, ["remove x"]);
    app.release()?;
    assert!(block_on(replace).is_err());
    assert!(app.record("x").is_none());
    app.advance(MINUTE)?;
    app.advance(SECOND)?;
    assert_eq!(
        (log.take(), job.status()),
        (vec![(1, 1)], JobStatus::Success)
    );
    Ok(())
}

#[test]
fn a_job_in_memory_that_is_cancelled_while_it_moves_into_the_store_is_removed() -> Result {
    for answer in [Fault::None, Fault::Tear] {
        let app = HeldApp::new()?;
        let task = app.slow(&Log::new(), SECOND)?;
        let schedule = || task.schedule(1).id("x").in_memory();
        let job = schedule().delay(MINUTE).block_on()?;
        app.store.hold();
        let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
        begin(&mut replace);
        assert_eq!(app.store.requested()?, ["put x 2"]);
        let mut cancel = job.cancel();
        begin(&mut cancel);
        // Nothing waits for the replacement, so that it makes no new job.
        drop(replace);
        app.store.answer(answer);
        assert_eq!(app.store.requested()?, ["remove x"]);
        app.release()?;
        assert!(block_on(cancel)?.took_effect());
        assert!(app.record("x").is_none());
    }
    Ok(())
}

#[test]
fn a_job_that_takes_the_id_of_a_cancelled_job_during_its_replacement_stays_stored() -> Result {
    for is_stored in [true, false] {
        for answer in [Fault::None, full(), Fault::Tear] {
            let app = HeldApp::new()?;
            let task = app.slow(&Log::new(), SECOND)?;
            let schedule = schedule_in_store_if(&task, is_stored);
            let job = schedule.every(HOUR).block_on()?;
            app.store.hold();
            let mut replace = task.schedule(2).id("x").replace().every(MINUTE);
            begin(&mut replace);
            assert_eq!(app.store.requested()?, ["put x 2"]);
            let mut cancel = job.cancel();
            let _ = poll(&mut cancel);
            let mut other = app.other.schedule(3).id("x").delay(HOUR);
            begin(&mut other);
            drop(replace);
            app.store.answer(answer);
            app.release()?;
            let other = block_on(other)?;
            app.release()?;
            let record = app.record("x").unwrap();
            assert_eq!((&*record.task, &*record.args), ("other", "3"));
            assert_eq!(record.progress.due, other.exec_at());
            assert_eq!(record.progress.recurring, None);
        }
    }
    Ok(())
}

#[test]
fn the_replacement_that_follows_a_run_is_kept_when_the_next_replacement_is_torn() -> Result {
    for is_stored in [true, false] {
        let mut app = HeldApp::new()?;
        let task = app.slow(&Log::new(), SECOND)?;
        let schedule = |n| task.schedule(n).id("x").replace();
        let _ = schedule(1).delay(MINUTE).block_on()?;
        app.advance(MINUTE)?;
        let _ = if is_stored {
            schedule(2).delay(MINUTE).block_on()?
        } else {
            schedule(2).in_memory().delay(MINUTE).block_on()?
        };
        let before = app.record("x");
        assert_eq!(before.is_some(), is_stored);
        app.store.hold();
        let mut replace = schedule(3).every(HOUR);
        begin(&mut replace);
        assert_eq!(app.store.requested()?, ["put x 3"]);
        app.store.answer(Fault::Tear);
        app.store.requested()?;
        app.release()?;
        assert!(block_on(replace).is_err());
        assert_eq!(app.record("x"), before);
    }
    Ok(())
}

#[test]
fn the_store_has_the_outcome_of_two_replacements_at_once() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let schedule = |n| task.schedule(n).id("x").replace();
    let job = schedule(1).every(HOUR).block_on()?;
    app.advance(HOUR)?;
    app.advance(SECOND)?;
    app.release()?;
    assert_eq!(job.last_run().map(|run| run.number), Some(1));
    app.store.hold();
    // The job starts over with each of the two.
    let start = time::macros::datetime!(2000-01-01 0:00 UTC);
    let mut one = schedule(2).start_date(start).every(HOUR);
    begin(&mut one);
    assert_eq!(app.store.requested()?, ["put x 2"]);
    let mut other = schedule(3).every(HOUR);
    begin(&mut other);
    app.store.answer(Fault::None);
    app.release()?;
    assert!(block_on(one).is_ok() && block_on(other).is_ok());
    assert_eq!(job.last_run(), None);
    let record = app.record("x").unwrap();
    let recurring = record.progress.recurring.unwrap();
    assert_eq!((&*record.args, recurring.runs), ("3", 0));
    assert_eq!(
        (record.progress.due, recurring.last_run),
        (job.exec_at(), None)
    );
    Ok(())
}

#[test]
fn two_replacements_that_fail_leave_the_stored_job_as_it_was() -> Result {
    for is_stored in [true, false] {
        let app = HeldApp::new()?;
        let task = app.slow(&Log::new(), SECOND)?;
        let schedule = |n| task.schedule(n).id("x").replace_any();
        let _ = schedule_in_store_if(&task, is_stored)
            .every(HOUR)
            .block_on()?;
        let before = app.record("x");
        app.store.hold();
        let mut one = schedule(2).delay(HOUR);
        begin(&mut one);
        assert_eq!(app.store.requested()?, ["put x 2"]);
        let mut other = schedule(3).cron("@hourly");
        begin(&mut other);
        app.store.answer(Fault::Tear);
        let again = if is_stored { "put x 1" } else { "remove x" };
        assert_eq!(app.store.requested()?, [again]);
        app.store.answer(Fault::None);
        assert_eq!(app.store.requested()?, ["put x 3"]);
        app.store.answer(full());
        app.release()?;
        assert!(block_on(one).is_err() && block_on(other).is_err());
        assert_eq!(app.record("x"), before);
    }
    Ok(())
}

#[test]
fn arguments_are_not_dropped_by_the_store_thread() -> Result {
    static DROPS: Mutex<Vec<(u32, bool)>> = Mutex::new(Vec::new());
    #[derive(Clone, Serialize, Deserialize)]
    struct Held(u32);
    impl Drop for Held {
        fn drop(&mut self) {
            let is_stores = thread::current().name() == Some("jobber-store");
            DROPS.lock().unwrap().push((self.0, is_stores));
        }
    }
    let mut app = HeldApp::new()?;
    let task = app.app.task("t", async |held: Held| {
        std::future::pending::<()>().await;
        drop(held);
    });
    let task = task.durable().register()?;
    let schedule = |n| task.schedule(Held(n)).id("x").replace();
    let _ = schedule(1).delay(HOUR).block_on()?;
    // A replacement that is accepted, one that is refused, and two during a run.
    for (new, runs, answer) in [
        (2, false, Fault::None),
        (3, false, full()),
        (4, true, Fault::None),
        (5, false, Fault::None),
    ] {
        if runs {
            app.advance(HOUR)?;
        }
        DROPS.lock().unwrap().clear();
        app.store.hold();
        let mut replace = schedule(new).delay(HOUR);
        begin(&mut replace);
        app.store.requested()?;
        drop(replace);
        app.store.answer(answer);
        app.release()?;
        app.advance(Duration::from_nanos(1))?;
        let drops = DROPS.lock().unwrap();
        assert!(drops.iter().all(|(_, is_stores)| !is_stores), "{drops:?}");
    }
    Ok(())
}

#[test]
fn a_spawned_job_waits_while_its_replacement_is_being_stored() -> Result {
    for answer in [Fault::None, full()] {
        let is_taken = matches!(answer, Fault::None);
        let mut app = HeldApp::new()?;
        let log = Log::new();
        let task = app.slow(&log, Duration::ZERO)?;
        let job = task.schedule(1).id("x").delay(SECOND).block_on()?;
        app.clock.advance(SECOND);
        let spawned = app.spawned.recv_timeout(WATCHDOG)?;
        app.store.hold();
        let mut replace = task.schedule(2).id("x").replace().delay(SECOND);
        begin(&mut replace);
        assert_eq!(app.store.requested()?, ["put x 2"]);
        app.start_polling(spawned);
        assert_eq!(log.take(), []);
        app.store.answer(answer);
        app.release()?;
        assert_eq!(block_on(replace).is_ok(), is_taken);
        app.advance(Duration::from_nanos(1))?;
        assert_eq!(log.take(), if is_taken { vec![] } else { vec![(1, 1)] });
        app.advance(SECOND)?;
        assert_eq!(log.take(), if is_taken { vec![(1, 2)] } else { vec![] });
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

#[test]
fn a_spawned_job_does_not_begin_after_shutdown_has_begun() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = app.slow(&log, Duration::ZERO)?;
    let job = task.schedule(1).id("x").delay(SECOND).block_on()?;
    app.clock.advance(SECOND);
    let spawned = app.spawned.recv_timeout(WATCHDOG)?;
    let _ = poll(app.app.shutdown(HOUR));
    app.start_polling(spawned);
    assert_eq!((log.take(), job.status()), (vec![], JobStatus::Scheduled));
    assert!(app.record("x").is_some());
    Ok(())
}

#[test]
fn an_abort_is_visible_when_the_job_is_removed() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(HOUR).block_on()?;
    app.advance(HOUR)?;
    app.store.hold();
    let mut abort = job.abort();
    begin(&mut abort);
    assert_eq!(app.store.requested()?, ["remove x"]);
    assert_eq!((job.status(), job.last_run()), (JobStatus::Running, None));
    app.release()?;
    assert!(block_on(abort)?.took_effect());
    let last = job.last_run().map(|run| run.status);
    assert_eq!(
        (job.status(), last),
        (JobStatus::Cancelled, Some(JobStatus::Cancelled))
    );
    Ok(())
}

#[test]
fn a_job_that_missed_all_its_times_is_removed_before_it_is_done() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let schedule = task.schedule(1).id("x").misfire(Misfire::Skip);
    let job = schedule.cron("0 0 1 1 1 * 2000").block_on()?;
    app.store.hold();
    app.clock.set_wall(START + HOUR * 2);
    assert_eq!(app.store.requested()?, ["remove x"]);
    assert!(!job.is_done());
    app.release()?;
    assert_eq!(job.wait_blocking(), JobStatus::Cancelled);
    Ok(())
}

#[test]
fn a_stored_retry_does_not_end_a_wait_for_the_next_run() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.app.task("t", async |cx: JobContext| {
        if cx.run_number() == 2 {
            return Err("no");
        }
        Ok(())
    });
    let task = task.retry(Backoff::fixed(1, SECOND)).durable().register()?;
    let job = task.schedule(()).id("x").every(HOUR).block_on()?;
    app.advance(HOUR)?;
    app.release()?;
    app.store.hold();
    app.advance(HOUR)?;
    assert_eq!(app.store.requested()?, ["advance x"]);
    let mut next = Box::pin(job.next_run().into_future());
    begin(&mut next);
    app.release()?;
    begin(&mut next);
    app.advance(SECOND)?;
    app.release()?;
    assert_eq!(block_on(next).map(|run| run.number), Some(2));
    Ok(())
}

#[test]
fn values_are_not_dropped_by_the_store_thread() -> Result {
    static DROPS: Mutex<Vec<bool>> = Mutex::new(Vec::new());
    struct Value;
    impl Drop for Value {
        fn drop(&mut self) {
            let is_stores = thread::current().name() == Some("jobber-store");
            DROPS.lock().unwrap().push(is_stores);
        }
    }
    let mut app = HeldApp::new()?;
    let task = app.app.task("t", async || Ok::<_, &str>(Value)).durable();
    let task = task.register()?;
    let job = task.schedule(()).id("x").delay(SECOND).block_on()?;
    app.store.hold();
    app.advance(SECOND)?;
    assert_eq!(app.store.requested()?, ["remove x"]);
    // The store thread holds the last reference to the job.
    drop(job);
    assert!(DROPS.lock().unwrap().is_empty());
    app.release()?;
    app.advance(Duration::from_nanos(1))?;
    assert_eq!(*DROPS.lock().unwrap(), [false]);
    Ok(())
}

#[test]
fn a_replacement_of_a_job_that_is_being_stored_waits_for_the_store() -> Result {
    for answer in [Fault::None, full()] {
        let is_taken = matches!(answer, Fault::None);
        let app = HeldApp::new()?;
        let task = app.slow(&Log::new(), SECOND)?;
        app.store.hold();
        let mut first = task.schedule(1).id("x").delay(MINUTE);
        begin(&mut first);
        assert_eq!(app.store.requested()?, ["put x 1"]);
        let mut second = task.schedule(2).id("x").replace().delay(HOUR);
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_with(&mut second, &waker).is_pending());
        app.store.answer(answer);
        assert_eq!(block_on(first).is_ok(), is_taken);
        assert!(wakes.count() > 0);
        begin(&mut second);
        assert_eq!(app.store.requested()?, ["put x 2"]);
        app.release()?;
        let _ = block_on(second)?;
        assert_eq!(app.app.jobs().len(), 1);
    }
    Ok(())
}

#[test]
fn a_replacement_after_shutdown_has_begun_is_refused() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(MINUTE).block_on()?;
    app.advance(MINUTE)?;
    let mut stop = app.app.shutdown(HOUR);
    begin(&mut stop);
    assert_eq!(job.status(), JobStatus::Running);
    let again = task.schedule(2).id("x").replace().delay(HOUR);
    assert!(matches!(again.block_on(), Err(ScheduleError::Stopped)));
    assert_eq!(app.record("x").unwrap().args, "1");
    Ok(())
}

/// Regression: of two replacements in flight, the first was written again after it was
/// stored, behind the second. A crash brought back the first, although the second had been
/// acknowledged.
#[test]
fn an_acknowledged_replacement_is_not_overwritten_by_the_one_before_it() -> Result {
    // At first the job is in memory or in the store; the first replacement is stored, refused,
    // or torn.
    for is_stored in [true, false] {
        for first in [Fault::None, full(), Fault::Tear] {
            let app = HeldApp::new()?;
            let task = app.slow(&Log::new(), SECOND)?;
            let schedule = |n| task.schedule(n).id("x").replace();
            let _ = schedule_in_store_if(&task, is_stored)
                .delay(HOUR)
                .block_on()?;
            app.store.hold();
            let mut one = schedule(2).every(HOUR);
            begin(&mut one);
            assert_eq!(app.store.requested()?, ["put x 2"]);
            let mut other = schedule(3).cron("@hourly");
            begin(&mut other);
            app.store.answer(first.clone());
            if let Fault::Tear = first {
                let again = if is_stored { "put x 1" } else { "remove x" };
                assert_eq!(app.store.requested()?, [again]);
                app.store.answer(Fault::None);
            }
            assert_eq!(app.store.requested()?[0], "put x 3");
            assert_eq!(block_on(one).is_ok(), matches!(first, Fault::None));
            app.store.answer(Fault::None);
            assert!(block_on(other).is_ok());
            // From here on, the process may crash.
            let record = app.record("x").unwrap();
            assert_eq!(record.args, "3", "{first:?}");
            assert!(record.progress.recurring.is_some(), "{first:?}");
            app.release()?;
            assert_eq!(app.record("x").unwrap().args, "3");
        }
    }
    Ok(())
}

/// Regression: a replacement moved a job into the store, and the next one, begun before
/// the answer, was torn: the job was removed from the store, and a crash lost it.
#[test]
fn an_acknowledged_replacement_is_not_undone_with_the_one_after_it() -> Result {
    for is_running in [false, true] {
        let mut app = HeldApp::new()?;
        let log = Log::new();
        let task = app.slow(&log, SECOND)?;
        let schedule = |n| task.schedule(n).id("x").replace();
        let job = schedule(1).in_memory().every(MINUTE).block_on()?;
        if is_running {
            app.advance(MINUTE)?;
        }
        app.store.hold();
        let mut one = schedule(2).every(HOUR);
        begin(&mut one);
        assert_eq!(app.store.requested()?, ["put x 2"]);
        let mut other = schedule(3).cron("@hourly");
        begin(&mut other);
        app.store.answer(Fault::None);
        assert_eq!(app.store.requested()?[0], "put x 3");
        app.store.answer(Fault::Tear);
        assert!(block_on(one).is_ok() && block_on(other).is_err());
        app.release()?;
        app.advance(SECOND)?;
        app.release()?;
        let record = app.record("x").unwrap();
        assert_eq!((&*record.args, record.progress.due), ("2", job.exec_at()));
    }
    Ok(())
}

/// Regression: a recurring job in memory was cancelled during its run while a replacement
/// was being stored: the replacement was refused, and stayed in the store.
#[test]
fn a_replacement_of_a_job_that_is_cancelled_in_its_run_leaves_nothing() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let schedule = |n| task.schedule(n).id("x").replace();
    let job = schedule(1).in_memory().every(MINUTE).block_on()?;
    app.advance(MINUTE)?;
    app.store.hold();
    let mut replace = schedule(2).every(HOUR);
    begin(&mut replace);
    assert_eq!(app.store.requested()?, ["put x 2"]);
    // The store may have the replacement, so that the cancel waits for it, too.
    let mut cancel = job.cancel();
    begin(&mut cancel);
    app.release()?;
    assert!(block_on(replace).is_err());
    assert!(block_on(cancel)?.took_effect());
    app.advance(SECOND)?;
    assert_ends(&job, JobStatus::Cancelled);
    assert!(app.record("x").is_none());
    Ok(())
}

/// Regression: a job that had been replaced during its run was cancelled while another
/// replacement was being stored; that was torn, and the first was written again.
#[test]
fn a_replacement_that_follows_a_run_is_not_restored_after_a_cancel_and_a_torn_replacement() -> Result
{
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let schedule = |n| task.schedule(n).id("x").replace();
    let job = schedule(1).every(MINUTE).block_on()?;
    app.advance(MINUTE)?;
    let _ = schedule(2).every(MINUTE).block_on()?;
    app.store.hold();
    let mut replace = schedule(3).every(HOUR);
    begin(&mut replace);
    assert_eq!(app.store.requested()?, ["put x 3"]);
    let mut cancel = job.cancel();
    begin(&mut cancel);
    app.store.answer(Fault::Tear);
    app.store.requested()?;
    app.release()?;
    assert!(block_on(cancel)?.took_effect() && block_on(replace).is_err());
    app.advance(SECOND)?;
    assert_ends(&job, JobStatus::Cancelled);
    assert!(app.record("x").is_none());
    Ok(())
}

/// Regression: after a torn replacement, the old job is written again. A replacement that
/// came just then was overwritten: a crash brought back the old job, although the
/// replacement had been acknowledged.
#[test]
fn a_replacement_while_the_old_job_is_written_again_is_not_overwritten() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let schedule = |n| task.schedule(n).id("x").replace();
    let _ = schedule(1).delay(HOUR).block_on()?;
    app.store.hold();
    let mut one = schedule(2).every(HOUR);
    begin(&mut one);
    assert_eq!(app.store.requested()?, ["put x 2"]);
    app.store.answer(Fault::Tear);
    assert_eq!(app.store.requested()?, ["put x 1"]);
    let mut other = schedule(3).cron("@hourly");
    begin(&mut other);
    app.store.answer(Fault::None);
    assert_eq!(app.store.requested()?, ["put x 3"]);
    app.store.answer(Fault::None);
    assert!(block_on(one).is_err());
    assert!(block_on(other).is_ok());
    assert_eq!(app.record("x").unwrap().args, "3");
    app.release()?;
    assert_eq!(app.record("x").unwrap().args, "3");
    Ok(())
}

/// Regression: a replacement was begun while the job was being moved out of the store. The
/// job was aborted in memory, and the replacement was torn: as the job had been stored when
/// the replacement began, it was not removed, and the next process ran it.
#[test]
fn a_torn_replacement_of_a_job_that_left_the_store_and_ended_leaves_nothing() -> Result {
    // Afterwards no job has the id, a job in memory has it, or a job that the store refuses.
    for then in ["none", "in memory", "refused"] {
        let app = HeldApp::new()?;
        let task = app.slow(&Log::new(), SECOND)?;
        let schedule = |n| task.schedule(n).id("x");
        let job = schedule(1).delay(HOUR).block_on()?;
        app.store.hold();
        let mut one = schedule(2).replace().in_memory().delay(HOUR);
        begin(&mut one);
        assert_eq!(app.store.requested()?, ["remove x"]);
        let mut other = schedule(3).replace().every(HOUR);
        begin(&mut other);
        app.store.answer(Fault::None);
        assert_eq!(app.store.requested()?, ["put x 3"]);
        assert!(block_on(one).is_ok());
        let mut abort = job.abort();
        begin(&mut abort);
        let mut last = schedule(4).delay(HOUR);
        match then {
            "in memory" => drop(schedule(5).in_memory().delay(HOUR).block_on()?),
            "refused" => begin(&mut last),
            _ => {}
        }
        app.store.answer(Fault::Tear);
        assert!(block_on(other).is_err());
        if then == "refused" {
            assert_eq!(app.store.requested()?, ["remove x"]);
            app.store.answer(Fault::None);
            assert_eq!(app.store.requested()?[0], "put x 4");
            app.store.answer(full());
            assert!(block_on(last).is_err());
        }
        app.release()?;
        assert!(block_on(abort)?.took_effect());
        assert_eq!(app.record("x"), None, "{then}");
    }
    Ok(())
}

/// Regression: the next process ran a job that the store had refused.
#[test]
fn a_torn_job_is_removed_although_its_predecessor_was_in_memory() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let first = task
        .schedule(1)
        .id("x")
        .in_memory()
        .delay(HOUR)
        .block_on()?;
    app.store.hold();
    let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    assert_eq!(app.store.requested()?, ["put x 2"]);
    let mut cancel = first.cancel();
    begin(&mut cancel);
    let mut second = task.schedule(3).id("x").delay(HOUR);
    begin(&mut second);
    app.store.answer(full());
    assert_eq!(app.store.requested()?, ["put x 3"]);
    app.store.answer(Fault::Tear);
    assert_eq!(app.store.requested()?, ["remove x"]);
    app.release()?;
    assert!(block_on(cancel)?.took_effect());
    assert!(block_on(replace).is_err() && block_on(second).is_err());
    assert!(app.record("x").is_none());
    Ok(())
}

/// Regression: the second cancel was refused as if the store were closed.
#[test]
fn two_successors_that_are_cancelled_on_their_way_to_the_store_are_both_answered() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let schedule = || task.schedule(1).id("x");
    let mut job = schedule().delay(HOUR).block_on()?;
    app.occupy_store()?;
    let (mut cancels, mut replacements) = (vec![job.cancel()], Vec::new());
    begin(&mut cancels[0]);
    for _ in 0..2 {
        job = schedule().in_memory().delay(HOUR).block_on()?;
        let mut replace = schedule().replace().delay(HOUR);
        begin(&mut replace);
        replacements.push(replace);
        let mut cancel = job.cancel();
        begin(&mut cancel);
        cancels.push(cancel);
    }
    app.release()?;
    for cancel in cancels {
        assert!(block_on(cancel)?.took_effect());
    }
    Ok(())
}
