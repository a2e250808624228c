//! What happens to a job while the store is still asked about it.
//!
//! In a simulation the store answers at once. Here it answers when the test says,
//! and a job runs when the test polls it: all is in the order that the test has.
#![cfg(feature = "serde")]

mod common;

use std::error::Error;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use common::{HOUR, Log, MINUTE, SECOND};
use futures_lite::future::{block_on, poll_once};
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation};
use jobber::{
    Backoff, JobContext, JobFuture, JobStatus, Jobber, MemoryStorage, Misfire, ScheduleError, Task,
    storage::{Change, JobRecord, StorageError},
};
use serde::{Deserialize, Serialize};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Nothing here waits for so long unless it would wait for ever.
const WATCHDOG: Duration = MINUTE;

#[derive(Default)]
struct Hold {
    is_held: bool,
    /// The store waits for an answer.
    waits: bool,
}

impl Hold {
    fn is_asked(&mut self) -> bool {
        self.waits = self.is_held;
        self.is_held
    }
}

/// An app whose store can be held, and which runs its jobs by word.
struct ByWord {
    answers: mpsc::Sender<Fault>,
    /// What the store is asked to commit, while it is held.
    asked: mpsc::Receiver<Vec<Change>>,
    hold: Arc<Mutex<Hold>>,
    disk: MemoryStorage,
    clock: ManualClock,
    spawned: mpsc::Receiver<JobFuture>,
    /// Those that have been polled and have not ended.
    running: Vec<JobFuture>,
    tick: Task<(), ()>,
    last: Task<u32, ()>,
    app: Jobber,
}

impl ByWord {
    fn new() -> Result<Self> {
        let (clock, disk) = (ManualClock::new(), MemoryStorage::new());
        let hold = Arc::<Mutex<Hold>>::default();
        let (asks, asked) = mpsc::channel();
        let (answers, answer) = mpsc::channel();
        let (spawns, spawned) = mpsc::channel();
        let held = hold.clone();
        let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
            Operation::Commit(changes) if held.lock().unwrap().is_asked() => {
                let _ = asks.send(changes.to_vec());
                // A test that has come to its end lets go of it.
                answer.recv().unwrap_or(Fault::None)
            }
            _ => Fault::None,
        });
        let app = Jobber::builder()
            .clock(clock.clone())
            .coalescing_window(Duration::ZERO)
            .storage(storage)
            .executor(move |job: JobFuture| drop(spawns.send(job)))
            .build()?;
        let tick = app.task("tick", || async {}).register()?;
        let last = app.task("last", async |_: u32| {}).durable().register()?;
        app.start().wait_blocking()?;
        Ok(Self {
            answers,
            asked,
            hold,
            disk,
            clock,
            spawned,
            running: Vec::new(),
            tick,
            last,
            app,
        })
    }

    /// From here on the store answers by word.
    fn hold(&self) {
        self.hold.lock().unwrap().is_held = true;
    }

    /// What the store is asked to commit, now or soon.
    fn asked(&self) -> Result<Vec<String>> {
        let changes = self.asked.recv_timeout(WATCHDOG)?;
        let short = |change: &Change| match change {
            Change::Put(job) => format!("put {} {}", job.id, job.args),
            Change::Advance { id, .. } => format!("advance {id}"),
            Change::Remove(id) => format!("remove {id}"),
        };
        Ok(changes.iter().map(short).collect())
    }

    fn answer(&self, fault: Fault) {
        self.hold.lock().unwrap().waits = false;
        let _ = self.answers.send(fault);
    }

    /// Answers as a store that works, from here on; returns when all that it was
    /// asked has been answered.
    fn let_go(&self) -> Result {
        let waits = {
            let mut hold = self.hold.lock().unwrap();
            hold.is_held = false;
            hold.waits
        };
        if waits {
            self.answer(Fault::None);
        }
        let last = self.last.schedule(0).delay(HOUR).wait_blocking()?;
        assert!(last.cancel().wait_blocking()?);
        Ok(())
    }

    /// Lets time pass, and begins what that makes due.
    fn pass(&mut self, time: Duration) -> Result {
        // Nothing is due after it.
        let tick = self.tick.schedule(()).delay(time).wait_blocking()?;
        self.clock.advance(time);
        while !tick.is_done() {
            let job = self.spawned.recv_timeout(WATCHDOG)?;
            self.running.push(job);
            self.go_on();
        }
        self.go_on();
        Ok(())
    }

    fn go_on(&mut self) {
        let goes_on = |job: &mut JobFuture| block_on(poll_once(job)).is_none();
        self.running.retain_mut(goes_on);
    }

    fn record(&self, id: &str) -> Option<JobRecord> {
        self.disk.records().into_iter().find(|r| r.id == *id)
    }
}

/// A durable task that logs its run and its argument, and takes as long as it is told.
fn slow(by_word: &ByWord, log: &Log<(u64, u32)>, time: Duration) -> Result<Task<u32, ()>> {
    let (log, clock) = (log.clone(), by_word.clock.clone());
    let task = by_word.app.task("t", move |cx: JobContext, n: u32| {
        log.add((cx.run_number(), n));
        clock.sleep(time)
    });
    Ok(task.durable().register()?)
}

/// Does what can be done without waiting.
fn begin<F: Future + Unpin>(future: &mut F) {
    let done = block_on(poll_once(future));
    assert!(done.is_none(), "it waits for the store");
}

#[test]
fn a_run_is_over_for_nobody_before_the_store_has_that_and_the_next_waits_for_it() -> Result {
    let mut by_word = ByWord::new()?;
    let log = Log::new();
    let task = slow(&by_word, &log, SECOND)?;
    let job = task.schedule(1).id("x").every(SECOND * 2).wait_blocking()?;
    by_word.pass(SECOND * 2)?;
    by_word.hold();
    by_word.pass(SECOND)?;
    assert_eq!(by_word.asked()?, ["advance x"]);
    assert_eq!(job.status(), JobStatus::Running);
    assert_eq!(job.last_run(), None);
    by_word.pass(SECOND)?;
    assert_eq!(log.take(), [(1, 1)]);
    by_word.let_go()?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(job.last_run().map(|run| run.number), Some(1));
    by_word.pass(SECOND)?;
    assert_eq!(log.take(), [(2, 1)]);
    Ok(())
}

#[test]
fn a_cancel_behind_the_end_of_a_run_is_seen_when_the_store_has_forgotten_the_job() -> Result {
    let mut by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(HOUR).wait_blocking()?;
    by_word.pass(HOUR)?;
    by_word.hold();
    by_word.pass(SECOND)?;
    assert_eq!(by_word.asked()?, ["advance x"]);
    let mut cancel = job.cancel();
    begin(&mut cancel);
    by_word.answer(Fault::None);
    assert_eq!(by_word.asked()?, ["remove x"]);
    assert!(!job.is_done());
    begin(&mut cancel);
    by_word.answer(Fault::None);
    assert!(block_on(cancel)?);
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(by_word.record("x").is_none());
    Ok(())
}

fn full() -> Fault {
    Fault::FailWith(StorageError::Full {
        path: "disk".into(),
    })
}

#[test]
fn a_run_that_ends_while_the_store_is_asked_about_its_replacement_counts_for_that() -> Result {
    let mut by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(HOUR).wait_blocking()?;
    by_word.pass(HOUR)?;
    by_word.hold();
    let mut replace = task.schedule(2).id("x").replace().every(MINUTE);
    begin(&mut replace);
    assert_eq!(by_word.asked()?, ["put x 2"]);
    by_word.pass(SECOND)?;
    assert_eq!(job.status(), JobStatus::Running);
    by_word.answer(Fault::None);
    // It never has the new trigger with the progress of the old one.
    assert_eq!(by_word.asked()?, ["put x 2"]);
    by_word.let_go()?;
    let _ = block_on(replace)?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    let progress = by_word.record("x").unwrap().progress;
    assert_eq!(progress.due, job.exec_at());
    let recurring = progress.recurring.unwrap();
    assert_eq!((recurring.runs, recurring.last_run), (1, job.last_run()));
    Ok(())
}

#[test]
fn a_run_that_ends_before_its_replacement_is_refused_is_told_to_the_store_all_the_same() -> Result {
    let mut by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(HOUR).wait_blocking()?;
    by_word.pass(HOUR)?;
    by_word.hold();
    let mut replace = task.schedule(2).id("x").replace().every(MINUTE);
    begin(&mut replace);
    assert_eq!(by_word.asked()?, ["put x 2"]);
    by_word.pass(SECOND)?;
    by_word.answer(full());
    assert_eq!(by_word.asked()?, ["advance x"]);
    assert!(block_on(replace).is_err());
    assert_eq!(job.status(), JobStatus::Running);
    by_word.let_go()?;
    assert_eq!(job.status(), JobStatus::Scheduled);
    let record = by_word.record("x").unwrap();
    assert_eq!((&*record.args, record.progress.due), ("1", job.exec_at()));
    assert_eq!(record.progress.recurring.unwrap().runs, 1);
    Ok(())
}

/// A task of which an attempt is made at most once.
fn at_most_once(by_word: &ByWord, log: &Log<u32>) -> Result<Task<u32, ()>> {
    let log = log.clone();
    let task = by_word.app.task("t", move |n: u32| {
        log.add(n);
        async {}
    });
    Ok(task.durable().at_most_once().register()?)
}

#[test]
fn an_attempt_at_most_once_begins_when_the_store_has_it_and_not_at_what_came_before() -> Result {
    let mut by_word = ByWord::new()?;
    let log = Log::new();
    let task = at_most_once(&by_word, &log)?;
    let job = task.schedule(1).id("x").delay(SECOND).wait_blocking()?;
    by_word.clock.advance(SECOND);
    // It is handed over, and waits for a thread, when it is to run later after all.
    let handed_over = by_word.spawned.recv_timeout(WATCHDOG)?;
    let _ = task
        .schedule(2)
        .id("x")
        .replace()
        .delay(SECOND)
        .wait_blocking()?;
    by_word.hold();
    by_word.clock.advance(SECOND);
    assert_eq!(by_word.asked()?, ["advance x"]);
    by_word.running.push(handed_over);
    by_word.go_on();
    assert_eq!((log.take(), job.status()), (vec![], JobStatus::Scheduled));
    by_word.let_go()?;
    // Nothing else wakes the timer.
    let again = by_word.spawned.recv_timeout(WATCHDOG)?;
    by_word.running.push(again);
    by_word.go_on();
    assert_eq!(log.take(), [2]);
    Ok(())
}

#[test]
fn an_attempt_at_most_once_is_made_though_a_replacement_that_is_refused_came_before_it() -> Result {
    let mut by_word = ByWord::new()?;
    let log = Log::new();
    let task = at_most_once(&by_word, &log)?;
    let job = task.schedule(1).id("x").delay(SECOND).wait_blocking()?;
    by_word.hold();
    by_word.clock.advance(SECOND);
    assert_eq!(by_word.asked()?, ["advance x"]);
    let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    by_word.answer(Fault::None);
    assert_eq!(by_word.asked()?, ["put x 2"]);
    by_word.pass(Duration::from_nanos(1))?;
    assert!(log.take().is_empty(), "it is not known yet when it is due");
    by_word.answer(full());
    assert_eq!(by_word.asked()?, ["advance x"]);
    assert!(block_on(replace).is_err());
    by_word.answer(Fault::None);
    assert_eq!(
        by_word.asked()?,
        ["advance x"],
        "now that it starts once more"
    );
    assert_eq!(by_word.record("x").unwrap().progress.started_at, None);
    by_word.let_go()?;
    let again = by_word.spawned.recv_timeout(WATCHDOG)?;
    by_word.running.push(again);
    by_word.go_on();
    assert_eq!(job.wait_blocking(), JobStatus::Success);
    assert_eq!(log.take(), [1]);
    Ok(())
}

#[test]
fn a_job_in_memory_whose_replacement_is_torn_stays_there_alone() -> Result {
    let mut by_word = ByWord::new()?;
    let log = Log::new();
    let task = slow(&by_word, &log, SECOND)?;
    let job = task
        .schedule(1)
        .id("x")
        .in_memory()
        .delay(MINUTE)
        .wait_blocking()?;
    by_word.hold();
    let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
    begin(&mut replace);
    assert_eq!(by_word.asked()?, ["put x 2"]);
    by_word.answer(Fault::Tear);
    assert_eq!(by_word.asked()?, ["remove x"]);
    by_word.let_go()?;
    assert!(block_on(replace).is_err());
    assert!(by_word.record("x").is_none());
    by_word.pass(MINUTE)?;
    by_word.pass(SECOND)?;
    assert_eq!(
        (log.take(), job.status()),
        (vec![(1, 1)], JobStatus::Success)
    );
    Ok(())
}

#[test]
fn a_job_in_memory_that_is_cancelled_while_it_is_moved_into_the_store_is_not_left_there() -> Result
{
    for answer in [Fault::None, Fault::Tear] {
        let by_word = ByWord::new()?;
        let task = slow(&by_word, &Log::new(), SECOND)?;
        let schedule = || task.schedule(1).id("x").in_memory();
        let job = schedule().delay(MINUTE).wait_blocking()?;
        by_word.hold();
        let mut replace = task.schedule(2).id("x").replace().delay(HOUR);
        begin(&mut replace);
        assert_eq!(by_word.asked()?, ["put x 2"]);
        assert!(job.cancel().wait_blocking()?);
        // Whoever asked is gone, and so makes no new job.
        drop(replace);
        by_word.answer(answer);
        assert_eq!(by_word.asked()?, ["remove x"]);
        by_word.let_go()?;
        assert!(by_word.record("x").is_none());
    }
    Ok(())
}

#[test]
fn a_job_that_takes_the_id_while_the_store_is_asked_about_a_replacement_stays_in_the_store()
-> Result {
    for is_stored in [true, false] {
        for answer in [Fault::None, full(), Fault::Tear] {
            let by_word = ByWord::new()?;
            let task = slow(&by_word, &Log::new(), SECOND)?;
            let schedule = task.schedule(1).id("x");
            let job = if is_stored {
                schedule.every(HOUR).wait_blocking()?
            } else {
                schedule.in_memory().every(HOUR).wait_blocking()?
            };
            by_word.hold();
            let mut replace = task.schedule(2).id("x").replace().every(MINUTE);
            begin(&mut replace);
            assert_eq!(by_word.asked()?, ["put x 2"]);
            let mut cancel = job.cancel();
            let _ = block_on(poll_once(&mut cancel));
            let mut other = by_word.last.schedule(3).id("x").delay(HOUR);
            begin(&mut other);
            drop(replace);
            by_word.answer(answer);
            by_word.let_go()?;
            let other = block_on(other)?;
            by_word.let_go()?;
            let record = by_word.record("x").unwrap();
            assert_eq!((&*record.task, &*record.args), ("last", "3"));
            assert_eq!(record.progress.due, other.exec_at());
            assert_eq!(record.progress.recurring, None);
        }
    }
    Ok(())
}

#[test]
fn what_follows_a_run_is_kept_when_the_next_replacement_is_torn() -> Result {
    for is_stored in [true, false] {
        let mut by_word = ByWord::new()?;
        let task = slow(&by_word, &Log::new(), SECOND)?;
        let schedule = |n| task.schedule(n).id("x").replace();
        let _ = schedule(1).delay(MINUTE).wait_blocking()?;
        by_word.pass(MINUTE)?;
        let _ = if is_stored {
            schedule(2).delay(MINUTE).wait_blocking()?
        } else {
            schedule(2).in_memory().delay(MINUTE).wait_blocking()?
        };
        let before = by_word.record("x");
        assert_eq!(before.is_some(), is_stored);
        by_word.hold();
        let mut replace = schedule(3).every(HOUR);
        begin(&mut replace);
        assert_eq!(by_word.asked()?, ["put x 3"]);
        by_word.answer(Fault::Tear);
        by_word.asked()?;
        by_word.let_go()?;
        assert!(block_on(replace).is_err());
        assert_eq!(by_word.record("x"), before);
    }
    Ok(())
}

#[test]
fn what_two_replacements_at_once_come_to_is_what_the_store_has() -> Result {
    let mut by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let schedule = |n| task.schedule(n).id("x").replace();
    let job = schedule(1).every(HOUR).wait_blocking()?;
    by_word.pass(HOUR)?;
    by_word.pass(SECOND)?;
    by_word.let_go()?;
    assert_eq!(job.last_run().map(|run| run.number), Some(1));
    by_word.hold();
    // With the one the job starts over, and with the other again.
    let start = time::macros::datetime!(2000-01-01 0:00 UTC);
    let mut one = schedule(2).start_date(start).every(HOUR);
    begin(&mut one);
    assert_eq!(by_word.asked()?, ["put x 2"]);
    let mut other = schedule(3).every(HOUR);
    begin(&mut other);
    by_word.answer(Fault::None);
    by_word.let_go()?;
    assert!(block_on(one).is_ok() && block_on(other).is_ok());
    assert_eq!(job.last_run(), None);
    let record = by_word.record("x").unwrap();
    let recurring = record.progress.recurring.unwrap();
    assert_eq!((&*record.args, recurring.runs), ("3", 0));
    assert_eq!(
        (record.progress.due, recurring.last_run),
        (job.exec_at(), None)
    );
    Ok(())
}

#[test]
fn after_two_replacements_that_fail_the_store_has_the_job_as_it_was() -> Result {
    for is_stored in [true, false] {
        let by_word = ByWord::new()?;
        let task = slow(&by_word, &Log::new(), SECOND)?;
        let schedule = |n| task.schedule(n).id("x").replace();
        let _ = if is_stored {
            schedule(1).every(HOUR).wait_blocking()?
        } else {
            schedule(1).in_memory().every(HOUR).wait_blocking()?
        };
        let before = by_word.record("x");
        by_word.hold();
        let mut one = schedule(2).delay(HOUR);
        begin(&mut one);
        assert_eq!(by_word.asked()?, ["put x 2"]);
        let mut other = schedule(3).cron("@hourly");
        begin(&mut other);
        by_word.answer(Fault::Tear);
        assert_eq!(by_word.asked()?, ["put x 3"]);
        by_word.answer(full());
        by_word.asked()?;
        by_word.let_go()?;
        assert!(block_on(one).is_err() && block_on(other).is_err());
        assert_eq!(by_word.record("x"), before);
    }
    Ok(())
}

#[test]
fn arguments_are_not_dropped_on_the_thread_of_the_store() -> Result {
    static DROPS: Mutex<Vec<(u32, bool)>> = Mutex::new(Vec::new());
    #[derive(Clone, Serialize, Deserialize)]
    struct Held(u32);
    impl Drop for Held {
        fn drop(&mut self) {
            let is_stores = thread::current().name() == Some("jobber-store");
            DROPS.lock().unwrap().push((self.0, is_stores));
        }
    }
    let mut by_word = ByWord::new()?;
    let task = by_word.app.task("t", async |held: Held| {
        std::future::pending::<()>().await;
        drop(held);
    });
    let task = task.durable().register()?;
    let schedule = |n| task.schedule(Held(n)).id("x").replace();
    let _ = schedule(1).delay(HOUR).wait_blocking()?;
    // The arguments that are replaced, and those that nobody takes back; and during a run,
    // those that were to follow it.
    for (new, old, answer) in [
        (2, 1, Fault::None),
        (3, 3, full()),
        (4, 0, Fault::None),
        (5, 4, Fault::None),
    ] {
        if old == 0 {
            by_word.pass(HOUR)?;
        }
        DROPS.lock().unwrap().clear();
        by_word.hold();
        let mut replace = schedule(new).delay(HOUR);
        begin(&mut replace);
        by_word.asked()?;
        drop(replace);
        by_word.answer(answer);
        by_word.let_go()?;
        by_word.pass(Duration::from_nanos(1))?;
        let drops = DROPS.lock().unwrap();
        assert!(old == 0 || drops.contains(&(old, false)), "{drops:?}");
        assert!(drops.iter().all(|(_, is_stores)| !is_stores), "{drops:?}");
    }
    Ok(())
}

#[test]
fn a_job_that_was_handed_over_waits_when_the_store_is_asked_about_its_replacement() -> Result {
    for answer in [Fault::None, full()] {
        let is_taken = matches!(answer, Fault::None);
        let mut by_word = ByWord::new()?;
        let log = Log::new();
        let task = slow(&by_word, &log, Duration::ZERO)?;
        let job = task.schedule(1).id("x").delay(SECOND).wait_blocking()?;
        by_word.clock.advance(SECOND);
        let handed_over = by_word.spawned.recv_timeout(WATCHDOG)?;
        by_word.hold();
        let mut replace = task.schedule(2).id("x").replace().delay(SECOND);
        begin(&mut replace);
        assert_eq!(by_word.asked()?, ["put x 2"]);
        by_word.running.push(handed_over);
        by_word.go_on();
        assert_eq!(log.take(), []);
        by_word.answer(answer);
        by_word.let_go()?;
        assert_eq!(block_on(replace).is_ok(), is_taken);
        by_word.pass(Duration::from_nanos(1))?;
        assert_eq!(log.take(), if is_taken { vec![] } else { vec![(1, 1)] });
        by_word.pass(SECOND)?;
        assert_eq!(log.take(), if is_taken { vec![(1, 2)] } else { vec![] });
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

#[test]
fn a_job_that_was_handed_over_does_not_begin_once_its_app_stops() -> Result {
    let mut by_word = ByWord::new()?;
    let log = Log::new();
    let task = slow(&by_word, &log, Duration::ZERO)?;
    let job = task.schedule(1).id("x").delay(SECOND).wait_blocking()?;
    by_word.clock.advance(SECOND);
    let handed_over = by_word.spawned.recv_timeout(WATCHDOG)?;
    let _ = block_on(poll_once(by_word.app.shutdown(HOUR)));
    by_word.running.push(handed_over);
    by_word.go_on();
    assert_eq!((log.take(), job.status()), (vec![], JobStatus::Scheduled));
    assert!(by_word.record("x").is_some());
    Ok(())
}

#[test]
fn a_run_that_is_aborted_is_seen_when_the_store_has_forgotten_the_job() -> Result {
    let mut by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(HOUR).wait_blocking()?;
    by_word.pass(HOUR)?;
    by_word.hold();
    let mut abort = job.abort();
    begin(&mut abort);
    assert_eq!(by_word.asked()?, ["remove x"]);
    assert_eq!((job.status(), job.last_run()), (JobStatus::Running, None));
    by_word.let_go()?;
    assert!(block_on(abort)?);
    let last = job.last_run().map(|run| run.status);
    assert_eq!(
        (job.status(), last),
        (JobStatus::Cancelled, Some(JobStatus::Cancelled))
    );
    Ok(())
}

#[test]
fn the_store_is_told_of_a_job_of_which_every_time_has_passed() -> Result {
    let by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let schedule = task.schedule(1).id("x").misfire(Misfire::Skip);
    let job = schedule.cron("0 0 1 1 1 * 2000").wait_blocking()?;
    by_word.hold();
    by_word.clock.advance(HOUR * 2);
    assert_eq!(by_word.asked()?, ["remove x"]);
    assert!(!job.is_done());
    by_word.let_go()?;
    assert_eq!(job.wait_blocking(), JobStatus::Cancelled);
    Ok(())
}

#[test]
fn a_retry_that_the_store_is_told_of_is_no_run_for_whoever_waits_for_one() -> Result {
    let mut by_word = ByWord::new()?;
    let task = by_word.app.task("t", async |cx: JobContext| {
        if cx.run_number() == 2 {
            return Err("no");
        }
        Ok(())
    });
    let task = task.retry(Backoff::fixed(1, SECOND)).durable().register()?;
    let job = task.schedule(()).id("x").every(HOUR).wait_blocking()?;
    by_word.pass(HOUR)?;
    by_word.let_go()?;
    by_word.hold();
    by_word.pass(HOUR)?;
    assert_eq!(by_word.asked()?, ["advance x"]);
    let mut next = Box::pin(job.next_run().into_future());
    begin(&mut next);
    by_word.let_go()?;
    begin(&mut next);
    by_word.pass(SECOND)?;
    by_word.let_go()?;
    assert_eq!(block_on(next).map(|run| run.number), Some(2));
    Ok(())
}

#[test]
fn values_are_not_dropped_on_the_thread_of_the_store() -> Result {
    static DROPS: Mutex<Vec<bool>> = Mutex::new(Vec::new());
    struct Value;
    impl Drop for Value {
        fn drop(&mut self) {
            let is_stores = thread::current().name() == Some("jobber-store");
            DROPS.lock().unwrap().push(is_stores);
        }
    }
    let mut by_word = ByWord::new()?;
    let task = by_word
        .app
        .task("t", async || Ok::<_, &str>(Value))
        .durable()
        .register()?;
    let job = task.schedule(()).id("x").delay(SECOND).wait_blocking()?;
    by_word.hold();
    by_word.pass(SECOND)?;
    assert_eq!(by_word.asked()?, ["remove x"]);
    // The store is the last that has the job.
    drop(job);
    assert!(DROPS.lock().unwrap().is_empty());
    by_word.let_go()?;
    by_word.pass(Duration::from_nanos(1))?;
    assert_eq!(*DROPS.lock().unwrap(), [false]);
    Ok(())
}

#[test]
fn whoever_replaces_a_job_that_is_still_on_its_way_into_the_store_waits_for_that() -> Result {
    #[derive(Default)]
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    for answer in [Fault::None, full()] {
        let is_taken = matches!(answer, Fault::None);
        let by_word = ByWord::new()?;
        let task = slow(&by_word, &Log::new(), SECOND)?;
        by_word.hold();
        let mut first = task.schedule(1).id("x").delay(MINUTE);
        begin(&mut first);
        assert_eq!(by_word.asked()?, ["put x 1"]);
        let mut second = task.schedule(2).id("x").replace().delay(HOUR);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut second).poll(&mut cx).is_pending());
        by_word.answer(answer);
        assert_eq!(block_on(first).is_ok(), is_taken);
        assert!(woken.0.load(Ordering::SeqCst));
        begin(&mut second);
        assert_eq!(by_word.asked()?, ["put x 2"]);
        by_word.let_go()?;
        let _ = block_on(second)?;
        assert_eq!(by_word.app.jobs().len(), 1);
    }
    Ok(())
}

#[test]
fn nothing_is_replaced_once_the_app_stops() -> Result {
    let mut by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let job = task.schedule(1).id("x").every(MINUTE).wait_blocking()?;
    by_word.pass(MINUTE)?;
    let mut stop = by_word.app.shutdown(HOUR);
    begin(&mut stop);
    assert_eq!(job.status(), JobStatus::Running);
    let again = task.schedule(2).id("x").replace().delay(HOUR);
    assert!(matches!(again.wait_blocking(), Err(ScheduleError::Stopped)));
    assert_eq!(by_word.record("x").unwrap().args, "1");
    Ok(())
}

/// A replacement that came behind another one, while the store was asked about that,
/// was overwritten: the first, once stored, was told to the store once more, behind the
/// second. A crash brought back the first, though the second had been acknowledged.
#[test]
fn a_replacement_that_was_acknowledged_is_not_overwritten_by_the_one_before_it() -> Result {
    // The job is in memory at first or in the store; and the first replacement is taken,
    // refused, or torn.
    for is_stored in [true, false] {
        for first in [Fault::None, full(), Fault::Tear] {
            let by_word = ByWord::new()?;
            let task = slow(&by_word, &Log::new(), SECOND)?;
            let schedule = |n| task.schedule(n).id("x").replace();
            let _ = if is_stored {
                schedule(1).delay(HOUR).wait_blocking()?
            } else {
                schedule(1).in_memory().delay(HOUR).wait_blocking()?
            };
            by_word.hold();
            let mut one = schedule(2).every(HOUR);
            begin(&mut one);
            assert_eq!(by_word.asked()?, ["put x 2"]);
            let mut other = schedule(3).cron("@hourly");
            begin(&mut other);
            by_word.answer(first.clone());
            assert_eq!(by_word.asked()?[0], "put x 3");
            assert_eq!(block_on(one).is_ok(), matches!(first, Fault::None));
            by_word.answer(Fault::None);
            assert!(block_on(other).is_ok());
            // Here the process may be killed.
            let record = by_word.record("x").unwrap();
            assert_eq!(record.args, "3", "{first:?}");
            assert!(record.progress.recurring.is_some(), "{first:?}");
            by_word.let_go()?;
            assert_eq!(by_word.record("x").unwrap().args, "3");
        }
    }
    Ok(())
}

/// A job in memory was moved into the store, and the next replacement, begun before that
/// was known, was torn: the store was told to forget the job. A crash took it.
#[test]
fn a_replacement_that_was_acknowledged_is_not_taken_back_with_the_one_behind_it() -> Result {
    for is_running in [false, true] {
        let mut by_word = ByWord::new()?;
        let log = Log::new();
        let task = slow(&by_word, &log, SECOND)?;
        let schedule = |n| task.schedule(n).id("x").replace();
        let job = schedule(1).in_memory().every(MINUTE).wait_blocking()?;
        if is_running {
            by_word.pass(MINUTE)?;
        }
        by_word.hold();
        let mut one = schedule(2).every(HOUR);
        begin(&mut one);
        assert_eq!(by_word.asked()?, ["put x 2"]);
        let mut other = schedule(3).cron("@hourly");
        begin(&mut other);
        by_word.answer(Fault::None);
        assert_eq!(by_word.asked()?[0], "put x 3");
        by_word.answer(Fault::Tear);
        assert!(block_on(one).is_ok() && block_on(other).is_err());
        by_word.let_go()?;
        by_word.pass(SECOND)?;
        by_word.let_go()?;
        let record = by_word.record("x").unwrap();
        assert_eq!((&*record.args, record.progress.due), ("2", job.exec_at()));
    }
    Ok(())
}

/// A recurring job in memory was cancelled during its run, while the store was asked
/// about a replacement: that was refused, and stayed in the store.
#[test]
fn a_replacement_of_a_job_that_is_cancelled_in_its_run_leaves_nothing() -> Result {
    let mut by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let schedule = |n| task.schedule(n).id("x").replace();
    let job = schedule(1).in_memory().every(MINUTE).wait_blocking()?;
    by_word.pass(MINUTE)?;
    by_word.hold();
    let mut replace = schedule(2).every(HOUR);
    begin(&mut replace);
    assert_eq!(by_word.asked()?, ["put x 2"]);
    assert!(job.cancel().wait_blocking()?);
    by_word.let_go()?;
    assert!(block_on(replace).is_err());
    by_word.let_go()?;
    by_word.pass(SECOND)?;
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(by_word.record("x").is_none());
    Ok(())
}

/// A job that was replaced during its run was cancelled, while the store was asked about
/// another replacement. That was torn, and the store was given the first once more.
#[test]
fn what_follows_a_run_does_not_come_back_when_the_job_is_cancelled_and_replaced_at_once() -> Result
{
    let mut by_word = ByWord::new()?;
    let task = slow(&by_word, &Log::new(), SECOND)?;
    let schedule = |n| task.schedule(n).id("x").replace();
    let job = schedule(1).every(MINUTE).wait_blocking()?;
    by_word.pass(MINUTE)?;
    let _ = schedule(2).every(MINUTE).wait_blocking()?;
    by_word.hold();
    let mut replace = schedule(3).every(HOUR);
    begin(&mut replace);
    assert_eq!(by_word.asked()?, ["put x 3"]);
    let mut cancel = job.cancel();
    begin(&mut cancel);
    by_word.answer(Fault::Tear);
    by_word.asked()?;
    by_word.let_go()?;
    assert!(block_on(cancel)? && block_on(replace).is_err());
    by_word.pass(SECOND)?;
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(by_word.record("x").is_none());
    Ok(())
}

/// What is to be done when a number is written next.
static WHEN_WRITTEN: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// A number that can tell that it is written.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
struct Watched(u32);

impl Serialize for Watched {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        let then = WHEN_WRITTEN.lock().unwrap().take();
        then.into_iter().for_each(|then| then());
        serializer.serialize_u32(self.0)
    }
}

/// When a replacement may have been torn, the store is told of the whole job once more;
/// its arguments are written when no lock is held. A replacement that came just then was
/// overwritten by that: a crash brought back the job as it had been, though the
/// replacement had been acknowledged.
#[test]
fn a_replacement_that_comes_while_the_job_is_told_again_is_not_overwritten() -> Result {
    let by_word = ByWord::new()?;
    let task = by_word.app.task("w", async |_: Watched| {});
    let task = task.durable().register()?;
    let schedule = |n| task.schedule(Watched(n)).id("x").replace();
    let _ = schedule(1).delay(HOUR).wait_blocking()?;
    by_word.hold();
    let mut one = schedule(2).every(HOUR);
    begin(&mut one);
    assert_eq!(by_word.asked()?, ["put x 2"]);
    let (sends, begun) = mpsc::channel();
    let mut other = schedule(3).cron("@hourly");
    *WHEN_WRITTEN.lock().unwrap() = Some(Box::new(move || {
        begin(&mut other);
        let _ = sends.send(other);
    }));
    by_word.answer(Fault::Tear);
    assert_eq!(by_word.asked()?, ["put x 3"]);
    by_word.answer(Fault::None);
    assert!(block_on(one).is_err());
    assert!(block_on(begun.recv_timeout(WATCHDOG)?).is_ok());
    assert_eq!(by_word.record("x").unwrap().args, "3");
    by_word.let_go()?;
    assert_eq!(by_word.record("x").unwrap().args, "3");
    Ok(())
}

/// A replacement was asked for while the job was on its way out of the store. The job
/// was aborted in memory, and the replacement torn: as the store had had the job when it
/// was asked, nobody told it to forget that, and the next process ran it.
#[test]
fn a_torn_replacement_of_a_job_that_has_left_the_store_and_ended_leaves_nothing() -> Result {
    // Nobody has the id afterwards, a job in memory has, or one that the store refuses.
    for then in ["nobody", "in memory", "refused"] {
        let by_word = ByWord::new()?;
        let task = slow(&by_word, &Log::new(), SECOND)?;
        let schedule = |n| task.schedule(n).id("x");
        let job = schedule(1).delay(HOUR).wait_blocking()?;
        by_word.hold();
        let mut one = schedule(2).replace().in_memory().delay(HOUR);
        begin(&mut one);
        assert_eq!(by_word.asked()?, ["remove x"]);
        let mut other = schedule(3).replace().every(HOUR);
        begin(&mut other);
        by_word.answer(Fault::None);
        assert_eq!(by_word.asked()?, ["put x 3"]);
        assert!(block_on(one).is_ok() && job.abort().wait_blocking()?);
        let mut last = schedule(4).delay(HOUR);
        match then {
            "in memory" => drop(schedule(5).in_memory().delay(HOUR).wait_blocking()?),
            "refused" => begin(&mut last),
            _ => {}
        }
        by_word.answer(Fault::Tear);
        assert!(block_on(other).is_err());
        if then == "refused" {
            assert_eq!(by_word.asked()?[0], "put x 4");
            by_word.answer(full());
            assert!(block_on(last).is_err());
        }
        by_word.let_go()?;
        assert_eq!(by_word.record("x"), None, "{then}");
    }
    Ok(())
}

/// What has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    NotDone,
    /// It is done, and the store will only know later.
    Later,
}

type Coming = Pin<Box<dyn Future<Output = Outcome>>>;

/// What is asked for of the job `x`, and whether it leaves that in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Replace { n: u32, trigger: Trigger },
    ReplaceInMemory { n: u32 },
    Cancel,
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Delay,
    Every,
    Cron,
}

impl Trigger {
    fn name(self) -> &'static str {
        match self {
            Trigger::Delay => "delay",
            Trigger::Every => "every",
            Trigger::Cron => "cron",
        }
    }
}

impl Ask {
    /// What the store has when it was the last to be done.
    fn leaves(self) -> Option<(u32, Trigger)> {
        match self {
            Ask::Replace { n, trigger } => Some((n, trigger)),
            Ask::ReplaceInMemory { .. } | Ask::Cancel | Ask::Abort => None,
        }
    }

    fn begin(self, task: &Task<u32, ()>) -> Coming {
        let outcome = |did| if did { Outcome::Done } else { Outcome::NotDone };
        match self {
            Ask::Replace { n, trigger } => {
                let schedule = task.schedule(n).id("x").replace();
                let submit = match trigger {
                    Trigger::Delay => schedule.delay(HOUR),
                    Trigger::Every => schedule.every(MINUTE),
                    Trigger::Cron => schedule.cron("* * * * *"),
                };
                Box::pin(async move { outcome(submit.await.is_ok()) })
            }
            Ask::ReplaceInMemory { n } => {
                let submit = task.schedule(n).id("x").replace().in_memory().every(MINUTE);
                Box::pin(async move { outcome(submit.await.is_ok()) })
            }
            Ask::Cancel | Ask::Abort => {
                let job = task.job("x");
                Box::pin(async move {
                    let Some(job) = job else {
                        return Outcome::NotDone;
                    };
                    let end = match self {
                        Ask::Cancel => job.cancel(),
                        _ => job.abort(),
                    };
                    end.await.map_or(Outcome::Later, outcome)
                })
            }
        }
    }
}

struct Asked {
    ask: Ask,
    begun: usize,
    /// When that was known, and what it was.
    answered: Option<(usize, Outcome)>,
    future: Option<Coming>,
}

/// All that is asked for of one job, some of it before the rest was answered.
struct Story {
    by_word: ByWord,
    task: Task<u32, ()>,
    asks: Vec<Asked>,
    at: usize,
    /// The store waits for an answer.
    is_asked: bool,
}

impl Story {
    fn new() -> Result<Self> {
        let by_word = ByWord::new()?;
        let task = slow(&by_word, &Log::new(), SECOND)?;
        let mut story = Self {
            by_word,
            task,
            asks: Vec::new(),
            at: 0,
            is_asked: false,
        };
        let first = Ask::Replace {
            n: 0,
            trigger: Trigger::Every,
        };
        let mut future = first.begin(&story.task);
        assert_eq!(block_on(&mut future), Outcome::Done);
        story.note(first, Box::pin(std::future::ready(Outcome::Done)));
        story.poll();
        story.by_word.hold();
        Ok(story)
    }

    fn note(&mut self, ask: Ask, future: Coming) {
        self.at += 1;
        self.asks.push(Asked {
            ask,
            begun: self.at,
            answered: None,
            future: Some(future),
        });
    }

    fn begin(&mut self, ask: Ask) -> Result {
        let future = ask.begin(&self.task);
        self.note(ask, future);
        self.poll();
        // The store is given it alone, if it has nothing else to do.
        let waits = self.asks.iter().any(|asked| asked.answered.is_none());
        if waits && !self.is_asked {
            self.by_word.asked()?;
            self.is_asked = true;
        }
        Ok(())
    }

    /// The store answers like this, and all whom that concerns know it.
    fn answer(&mut self, fault: Fault) -> Result {
        if !self.is_asked {
            return Ok(());
        }
        self.by_word.answer(fault);
        self.is_asked = false;
        let deadline = Instant::now() + WATCHDOG;
        loop {
            self.poll();
            if self.asks.iter().all(|asked| asked.answered.is_some()) {
                return Ok(());
            }
            if self.by_word.asked.try_recv().is_ok() {
                self.is_asked = true;
                return Ok(());
            }
            assert!(Instant::now() < deadline, "nobody is answered");
            thread::yield_now();
        }
    }

    fn poll(&mut self) {
        self.at += 1;
        for asked in &mut self.asks {
            if let Some(future) = &mut asked.future
                && let Some(did) = block_on(poll_once(future))
            {
                asked.future = None;
                asked.answered = Some((self.at, did));
            }
        }
    }

    /// What the store may have: nothing that was over before something else began that
    /// is known to be done.
    fn may_have(&self, is_over: bool) -> Vec<Option<(u32, Trigger)>> {
        // A job in memory may be no concern of the store, nor is its end, before all is
        // over.
        let is_told = |asked: &Asked| match (asked.ask, asked.answered) {
            _ if is_over => true,
            (Ask::ReplaceInMemory { .. }, _) => false,
            (_, Some((at, _))) => at > asked.begun + 1 || asked.begun == 1,
            _ => false,
        };
        let done =
            |asked: &&Asked| is_told(asked) && matches!(asked.answered, Some((_, Outcome::Done)));
        let last_begun = self.asks.iter().filter(done).map(|asked| asked.begun).max();
        let asks = self.asks.iter().filter(|asked| match asked.answered {
            Some((answered, _)) => last_begun.is_none_or(|begun| answered >= begun),
            None => true,
        });
        asks.map(|asked| asked.ask.leaves()).collect()
    }

    fn has(&self) -> Option<(u32, Trigger)> {
        let record = self.by_word.record("x")?;
        let triggers = [Trigger::Delay, Trigger::Every, Trigger::Cron];
        let trigger = triggers
            .into_iter()
            .find(|t| t.name() == record.trigger.name());
        let trigger = trigger.expect("it is one of those");
        assert_eq!(
            record.progress.recurring.is_some(),
            trigger != Trigger::Delay
        );
        Some((record.args.parse().unwrap(), trigger))
    }

    fn check(&self, is_over: bool, what: &str) {
        let (has, may_have) = (self.has(), self.may_have(is_over));
        let asks = self.asks.iter();
        let asks: Vec<_> = asks.map(|a| (a.ask, a.begun, a.answered)).collect();
        assert!(
            may_have.contains(&has),
            "{what}: {has:?} of {may_have:?}: {asks:#?}"
        );
    }
}

#[test]
fn whatever_is_asked_before_the_rest_is_answered_the_store_has_what_was_done_last() -> Result {
    let seeds = std::env::var("JOBBER_SEEDS").ok();
    for seed in 0..seeds.map_or(Ok(300), |seeds| seeds.parse())? {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut story = Story::new()?;
        for n in 1..12 {
            let triggers = [Trigger::Delay, Trigger::Every, Trigger::Cron];
            match rng.u8(..10) {
                0..4 => {
                    let trigger = triggers[rng.usize(..3)];
                    story.begin(Ask::Replace { n, trigger })?;
                }
                4 => story.begin(Ask::ReplaceInMemory { n })?,
                5 => story.begin(if rng.bool() { Ask::Cancel } else { Ask::Abort })?,
                6 => story.by_word.pass(MINUTE)?,
                7 => story.by_word.pass(SECOND)?,
                _ => {
                    let faults = [Fault::None, Fault::None, Fault::Fail, Fault::Tear, full()];
                    story.answer(faults[rng.usize(..5)].clone())?;
                }
            }
            story.check(false, &format!("seed {seed}, step {n}"));
        }
        story.by_word.let_go()?;
        let deadline = Instant::now() + WATCHDOG;
        while story.asks.iter().any(|asked| asked.answered.is_none()) {
            assert!(Instant::now() < deadline, "seed {seed}: nobody is answered");
            thread::yield_now();
            story.poll();
        }
        story.by_word.let_go()?;
        for asked in &mut story.asks {
            // By now the store knows.
            asked.answered = asked.answered.map(|(at, outcome)| match outcome {
                Outcome::Later => (at, Outcome::Done),
                outcome => (at, outcome),
            });
        }
        story
            .asks
            .retain(|asked| matches!(asked.answered, Some((_, Outcome::Done))));
        story.check(true, &format!("seed {seed}, in the end"));
        assert_eq!(story.by_word.app.health().unstored, 0, "seed {seed}");
    }
    Ok(())
}
