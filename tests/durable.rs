//! Jobs that outlive the process: what is stored when, and how it comes back.
#![cfg(feature = "serde")]

mod common;

use std::error::Error;
use std::time::Duration;

use common::{DropCounter, HOUR, Log, MINUTE, SECOND};
use futures_lite::future::{block_on, poll_once};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, BoxError, Event, Job, JobContext, JobError, JobEventKind, JobStatus, MemoryStorage,
    Misfire, RegisterError, ScheduleError, Task,
    storage::{JobRecord, Storage, StorageError, TriggerRecord, UnresolvedReason},
};
use time::OffsetDateTime;
use time::macros::{datetime, offset};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// One machine: a clock and a disk, and one process after the other.
struct Machine {
    clock: ManualClock,
    disk: MemoryStorage,
    boots: u64,
}

impl Machine {
    fn new() -> Self {
        Self {
            clock: ManualClock::new(),
            disk: MemoryStorage::new(),
            boots: 0,
        }
    }

    fn boot(&mut self) -> Simulation {
        self.boots += 1;
        let disk = self.disk.clone();
        Simulation::with(self.boots, self.clock.clone(), |app| app.storage(disk)).unwrap()
    }

    fn record(&self, id: &str) -> Option<JobRecord> {
        self.disk.records().into_iter().find(|r| r.id == id)
    }
}

/// What a run knows of itself: the run's number, its attempt, its nominal time.
type Ran = (u64, u32, OffsetDateTime);

fn logging(sim: &Simulation, name: &str, log: &Log<Ran>) -> Task<u32, u32> {
    let log = log.clone();
    sim.app()
        .task(name, move |cx: JobContext, n: u32| {
            log.add((cx.run_number(), cx.attempt(), cx.nominal_time()));
            async move { n * 2 }
        })
        .durable()
        .register()
        .unwrap()
}

/// A task that starts and never ends.
fn hanging(sim: &Simulation, log: &Log<Ran>) -> Task<u32, u32> {
    let log = log.clone();
    sim.app()
        .task("t", move |cx: JobContext, _: u32| {
            log.add((cx.run_number(), cx.attempt(), cx.nominal_time()));
            std::future::pending::<u32>()
        })
        .durable()
        .register()
        .unwrap()
}

fn failing(sim: &Simulation, log: &Log<Ran>, backoff: Backoff) -> Task<u32, u32> {
    let log = log.clone();
    sim.app()
        .task("t", move |cx: JobContext, _: u32| {
            log.add((cx.run_number(), cx.attempt(), cx.nominal_time()));
            async { Err::<u32, _>("no") }
        })
        .retry(backoff)
        .durable()
        .register()
        .unwrap()
}

const START: OffsetDateTime = datetime!(2000-01-01 0:00 UTC);

fn at(seconds: i64) -> OffsetDateTime {
    START + time::Duration::seconds(seconds)
}

#[test]
fn a_scheduled_job_is_in_the_store_when_scheduling_returns_and_gone_when_it_ran() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task.schedule(7).id("x").delay(MINUTE).wait_blocking()?;
    let record = machine.record("x").unwrap();
    assert_eq!((record.task.as_str(), record.args.as_str()), ("t", "7"));
    assert_eq!(record.trigger, TriggerRecord::Delay);
    assert_eq!((record.progress.due, record.scheduled_at), (at(60), START));
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 14);
    assert_eq!(job.status(), JobStatus::Success);
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn every_trigger_is_stored_and_runs_in_the_next_process_at_its_time() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task.schedule(1).push().wait_blocking()?;
    let _ = task.schedule(2).delay(SECOND * 10).wait_blocking()?;
    let _ = task.schedule(3).at(at(20)).wait_blocking()?;
    let _ = task.schedule(4).every(SECOND * 30).wait_blocking()?;
    let _ = task.schedule(5).cron("* * * * *").wait_blocking()?;
    assert_eq!(machine.disk.records().len(), 5);
    sim.crash();
    assert_eq!(log.take(), [], "nothing had time to run");

    let mut sim = machine.boot();
    let _task = logging(&sim, "t", &log);
    sim.advance(SECOND * 60);
    let nominal: Vec<_> = log
        .take()
        .into_iter()
        .map(|(_, _, nominal)| nominal)
        .collect();
    assert_eq!(nominal, [0, 10, 20, 30, 60, 60].map(at));
    assert_eq!(machine.disk.records().len(), 2, "the recurring ones go on");
    Ok(())
}

#[test]
fn a_delay_goes_on_where_it_was_even_if_the_process_was_away() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let _ = logging(&sim, "t", &log)
        .schedule(1)
        .delay(MINUTE)
        .wait_blocking()?;
    sim.crash();
    machine.clock.advance(SECOND * 45);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(SECOND * 14);
    assert_eq!(log.take(), []);
    sim.advance(SECOND);
    assert_eq!(log.take(), [(1, 1, at(60))]);
    Ok(())
}

#[test]
fn a_run_that_a_crash_cuts_short_is_made_again_as_the_same_run() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let job = hanging(&sim, &log)
        .schedule(1)
        .id("x")
        .push()
        .wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Running);
    sim.crash();
    assert_eq!(log.take(), [(1, 1, START)]);

    machine.clock.advance(HOUR);
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &log);
    let job = task.job("x").unwrap();
    sim.run_until_stalled();
    assert_eq!(
        log.take(),
        [(1, 1, START)],
        "the same id, run, attempt and time"
    );
    assert_eq!(*job.result()?, 2);
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn a_retry_is_stored_with_its_attempt_and_its_time() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let backoff = Backoff::fixed(2, MINUTE);
    let _ = failing(&sim, &log, backoff.clone())
        .schedule(1)
        .id("x")
        .push()
        .wait_blocking()?;
    sim.run_until_stalled();
    let progress = machine.record("x").unwrap().progress;
    assert_eq!((progress.attempts, progress.due), (1, at(60)));
    assert_eq!(progress.last_failure, Some(JobStatus::Failed));
    sim.crash();
    machine.clock.advance(SECOND * 50);

    let mut sim = machine.boot();
    let job = failing(&sim, &log, backoff).job("x").unwrap();
    assert_eq!(job.exec_at(), at(60));
    sim.advance(SECOND * 10);
    assert_eq!(log.take(), [(1, 1, START), (1, 2, START)]);
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(1, 3, START)]);
    assert_eq!(job.status(), JobStatus::Failed);
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn a_run_that_is_tried_again_after_a_crash_started_with_its_first_attempt() -> Result {
    let mut machine = Machine::new();
    let log = Log::new();
    let backoff = Backoff::fixed(1, MINUTE);
    let sim = machine.boot();
    let _ = failing(&sim, &log, backoff.clone())
        .schedule(1)
        .id("x")
        .every(HOUR)
        .wait_blocking()?;
    sim.crash();
    // It starts late, for the process was away.
    machine.clock.advance(HOUR + SECOND * 15);
    let mut sim = machine.boot();
    failing(&sim, &log, backoff);
    sim.run_until_stalled();
    sim.crash();
    assert_eq!(log.take(), [(1, 1, at(3_600))]);
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(1, 2, at(3_600))]);
    assert_eq!(job.last_run().unwrap().started_at, at(3_615));
    Ok(())
}

#[test]
fn jitter_is_stored_and_goes_on_after_a_crash() -> Result {
    let mut machine = Machine::new();
    let log = Log::new();
    let sim = machine.boot();
    let schedule = logging(&sim, "t", &log).schedule(1).id("x");
    let _ = schedule
        .jitter(MINUTE * 30)
        .cron("@hourly")
        .wait_blocking()?;
    sim.crash();
    let trigger = machine.record("x").unwrap().trigger;
    let jitter = match trigger {
        TriggerRecord::Cron { options, .. } => options.jitter,
        other => panic!("{other:?}"),
    };
    assert_eq!(jitter, MINUTE * 30);
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.advance(HOUR * 2 - MINUTE);
    assert_eq!(log.take(), [(1, 1, at(3_600))]);
    let next = job.exec_at();
    assert!(at(7_200) < next && next <= at(7_200 + 1_800), "{next}");
    Ok(())
}

#[test]
fn a_recurring_job_goes_on_with_its_count_its_last_run_and_its_times() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task
        .schedule(1)
        .id("x")
        .max_runs(5)
        .every(MINUTE)
        .wait_blocking()?;
    sim.advance(SECOND * 150);
    sim.crash();
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    assert_eq!(job.last_run().unwrap().number, 2);
    assert_eq!(job.last_run().unwrap().nominal_time, at(120));
    assert_eq!(job.exec_at(), at(180));
    sim.advance(HOUR);
    let expected = (1..=5).map(|run| (run, 1, at(60 * run as i64)));
    assert_eq!(log.take(), expected.collect::<Vec<_>>());
    assert_eq!(job.status(), JobStatus::Success, "five runs in all");
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn failures_in_a_row_are_counted_across_crashes() -> Result {
    let mut machine = Machine::new();
    let log = Log::new();
    let sim = machine.boot();
    let task = failing(&sim, &log, Backoff::fixed(0, SECOND));
    let _ = task
        .schedule(1)
        .id("x")
        .max_failures(3)
        .every(MINUTE)
        .wait_blocking()?;
    sim.crash();
    for run in 1..=3 {
        let mut sim = machine.boot();
        let job = failing(&sim, &log, Backoff::fixed(0, SECOND))
            .job("x")
            .unwrap();
        sim.advance(MINUTE);
        let is_last = run == 3;
        assert_eq!(
            job.status() == JobStatus::PermanentlyFailed,
            is_last,
            "run {run}"
        );
        assert_eq!(machine.record("x").is_none(), is_last);
        sim.crash();
    }
    assert_eq!(log.take().len(), 3);
    Ok(())
}

#[test]
fn missed_times_are_handled_by_policy_when_the_process_comes_back() -> Result {
    // Due each minute; away from 0:30 to 5:30.
    let missed = |misfire: Misfire| -> Result<Vec<i64>> {
        let mut machine = Machine::new();
        let log = Log::new();
        let sim = machine.boot();
        let task = logging(&sim, "t", &log);
        let _ = task
            .schedule(1)
            .misfire(misfire)
            .cron("* * * * *")
            .wait_blocking()?;
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
    assert_eq!(missed(Misfire::Once)?, [1, 6]);
    assert_eq!(missed(Misfire::Skip)?, [6]);
    assert_eq!(missed(Misfire::All(3))?, [1, 2, 3, 6]);
    assert_eq!(missed(Misfire::Grace(SECOND * 100))?, [4, 5, 6]);
    Ok(())
}

/// A task whose first run in each process ends, and whose second never does.
fn ending_once(sim: &Simulation, log: &Log<Ran>) -> Task<u32, ()> {
    let (log, runs) = (log.clone(), Log::new());
    sim.app()
        .task("t", move |cx: JobContext, _: u32| {
            log.add((cx.run_number(), cx.attempt(), cx.nominal_time()));
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
fn a_catch_up_that_a_crash_cuts_short_goes_on_with_its_count() -> Result {
    let mut machine = Machine::new();
    let log = Log::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &log);
    let _ = task
        .schedule(1)
        .misfire(Misfire::All(4))
        .every(MINUTE)
        .wait_blocking()?;
    sim.crash();
    machine.clock.advance(MINUTE * 10 + SECOND * 30);
    // Each process ends one run and is killed in the next: four in all make up
    // for times that were missed, and the others are left out.
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
        // Late, and still the run that was decided on.
        machine.clock.advance(SECOND * 3);
    }
    assert_eq!(minutes, [vec![1, 2], vec![2, 3], vec![3, 4], vec![4]]);
    Ok(())
}

#[test]
fn what_was_left_out_before_a_crash_is_left_out_after_it() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let (clock, seen) = (sim.clock(), log.clone());
    let task = sim
        .app()
        .task("t", move |cx: JobContext, _: u32| {
            seen.add((cx.run_number(), cx.attempt(), cx.nominal_time()));
            clock.sleep(SECOND * 330)
        })
        .durable()
        .register()?;
    let _ = task
        .schedule(1)
        .misfire(Misfire::Once)
        .every(MINUTE)
        .wait_blocking()?;
    // The first run takes until 6:30; the one that makes up for 2:00 to 6:00 is
    // cut short, and made again at the same instant.
    sim.advance(SECOND * 390);
    sim.crash();
    assert_eq!(log.take(), [(1, 1, at(60)), (2, 1, at(120))]);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(2, 1, at(120)), (3, 1, at(420))]);
    Ok(())
}

#[test]
fn times_that_a_clock_jumped_over_before_a_crash_come_again_after_it() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task
        .schedule(1)
        .misfire(Misfire::Skip)
        .cron("* * * * *")
        .wait_blocking()?;
    // An hour ahead, and a run there.
    sim.set_wall(at(3_630));
    sim.advance(SECOND * 30);
    assert_eq!(log.take(), [(1, 1, at(3_660))]);
    sim.crash();
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.set_wall(at(330));
    sim.advance(SECOND * 90);
    assert_eq!(log.take(), [(2, 1, at(360)), (3, 1, at(420))]);
    Ok(())
}

/// A machine that was away, and comes back to this many jobs that hang for
/// `each`.
fn overdue(count: usize, each: Duration) -> Result<(Machine, Simulation, Log<i64>)> {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &Log::new());
    for n in 0..count {
        // The last one scheduled was due first.
        let due = at(60 - n as i64 / 100);
        let _ = task.schedule(1).at(due).wait_blocking()?;
    }
    sim.crash();
    machine.clock.advance(HOUR);
    let sim = machine.boot();
    let (clock, seen) = (sim.clock(), log.clone());
    let _ = sim
        .app()
        .task("t", move |cx: JobContext, _: u32| {
            seen.add((cx.nominal_time() - START).whole_seconds());
            clock.sleep(each)
        })
        .durable()
        .register()?;
    Ok((machine, sim, log))
}

#[test]
fn thousands_of_jobs_that_are_overdue_do_not_start_all_at_once() -> Result {
    let (machine, mut sim, log) = overdue(3_000, SECOND)?;
    let mut started = 0;
    for round in 1..=11 {
        sim.run_until_stalled();
        let batch = log.take();
        assert!(batch.len() <= 256, "{} at once", batch.len());
        started += batch.len();
        assert_eq!(started, (round * 256).min(3_000), "and none is held up");
        sim.advance(SECOND - Duration::from_nanos(1));
        assert!(log.take().is_empty(), "they go on");
        sim.advance(Duration::from_nanos(1));
    }
    sim.advance(SECOND * 2);
    assert!(machine.disk.records().is_empty());
    assert_eq!(started + log.take().len(), 3_000);
    Ok(())
}

#[test]
fn overdue_jobs_start_in_the_order_in_which_they_were_due() -> Result {
    let (_machine, mut sim, log) = overdue(3_000, SECOND)?;
    sim.advance(MINUTE);
    let order = log.take();
    assert_eq!(order.len(), 3_000);
    assert!(order.is_sorted());
    Ok(())
}

#[test]
fn overdue_jobs_that_never_end_do_not_hold_up_the_others_for_ever() -> Result {
    let (_machine, mut sim, log) = overdue(1_000, HOUR * 1_000)?;
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 1_000 - 256);
    Ok(())
}

#[test]
fn an_overdue_job_that_waits_for_its_turn_can_be_cancelled_and_takes_none() -> Result {
    // Those that have their turn last, or first.
    for cancelled in [0..300, 44..344] {
        let (machine, mut sim, log) = overdue(600, SECOND)?;
        sim.run_until_stalled();
        log.take();
        let waiting: Vec<_> = sim
            .app()
            .jobs()
            .into_iter()
            .filter(|job| job.status() == JobStatus::Scheduled)
            .collect();
        assert_eq!(waiting.len(), 600 - 256);
        for job in &waiting[cancelled] {
            assert!(job.cancel().wait_blocking()?);
        }
        sim.advance(SECOND);
        sim.run_until_stalled();
        assert_eq!(log.take().len(), 600 - 256 - 300);
        sim.advance(HOUR);
        let more = log.take();
        assert!(more.is_empty(), "none that was cancelled, and none twice");
        assert!(machine.disk.records().is_empty());
    }
    Ok(())
}

#[test]
fn an_overdue_job_that_is_aborted_gives_its_turn_to_the_next_and_no_other_job_does() -> Result {
    let (_machine, mut sim, log) = overdue(600, HOUR * 1_000)?;
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    // One that was not overdue has no turn to give.
    let other = sim.app().task("other", || async {}).register()?;
    let ended = other.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!((ended.status(), log.take().len()), (JobStatus::Success, 0));
    let jobs = sim.app().jobs();
    let running = jobs.iter().filter(|job| job.status() == JobStatus::Running);
    for job in running.take(3) {
        assert!(job.abort().wait_blocking()?);
    }
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 3);
    Ok(())
}

#[test]
fn an_overdue_job_that_is_replaced_gives_its_turn_to_the_next() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    for n in 0..512 {
        let schedule = task.schedule(1).id(format!("{n:03}"));
        let _ = schedule.at(at(60)).wait_blocking()?;
    }
    sim.crash();
    machine.clock.advance(HOUR);
    let mut sim = machine.boot();
    let task = hanging(&sim, &log);
    for n in 0..256 {
        let schedule = task.schedule(1).id(format!("{n:03}")).replace();
        let _ = schedule.delay(HOUR).wait_blocking()?;
    }
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    Ok(())
}

#[test]
fn a_job_that_is_not_overdue_waits_for_no_turn() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    for n in 0..300 {
        let due = at(if n < 256 { 60 } else { 3_601 });
        let _ = task.schedule(1).at(due).wait_blocking()?;
    }
    sim.crash();
    machine.clock.advance(HOUR);
    let mut sim = machine.boot();
    let log = Log::new();
    hanging(&sim, &log);
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    sim.advance(SECOND);
    assert_eq!(log.take().len(), 44);
    Ok(())
}

#[test]
fn an_overdue_job_that_took_its_turn_has_it_until_it_ends() -> Result {
    let (mut machine, mut sim, log) = overdue(600, SECOND * 12)?;
    // The second 256 take it when others have had it for ten seconds, the rest after
    // five more: those of the first that end meanwhile are not too few.
    sim.advance(SECOND * 10);
    assert_eq!(log.take().len(), 512);
    sim.advance(SECOND * 3);
    assert_eq!(log.take().len(), 0);
    sim.advance(SECOND * 2);
    assert_eq!(log.take().len(), 88);
    // In the end all have given it back.
    sim.advance(MINUTE);
    assert!(machine.disk.records().is_empty());
    let log = Log::new();
    let later = logging(&sim, "later", &log);
    for _ in 0..256 {
        let _ = later.schedule(1).delay(SECOND).wait_blocking()?;
    }
    sim.crash();
    let mut sim = machine.boot();
    sim.advance(MINUTE);
    logging(&sim, "later", &log);
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    Ok(())
}

#[test]
fn an_overdue_job_whose_turn_comes_before_its_time_leaves_that_to_others() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    for n in 0..257 {
        let due = at(if n < 256 { 60 } else { 3_599 });
        let _ = task.schedule(1).at(due).wait_blocking()?;
    }
    let later = logging(&sim, "later", &Log::new());
    let _ = later.schedule(1).at(at(60)).wait_blocking()?;
    sim.crash();
    machine.clock.advance(HOUR);
    let mut sim = machine.boot();
    let log = Log::new();
    hanging(&sim, &log);
    sim.run_until_stalled();
    assert_eq!(log.take().len(), 256);
    // The last one has its turn after ten seconds, and its time after half an hour.
    sim.set_wall(at(1_800));
    sim.advance(SECOND * 11);
    let jobs = sim.app().jobs();
    let running = jobs.iter().find(|job| job.status() == JobStatus::Running);
    assert!(running.unwrap().abort().wait_blocking()?);
    logging(&sim, "later", &log);
    sim.run_until_stalled();
    assert_eq!(log.take(), [(1, 1, at(60))]);
    sim.advance(HOUR);
    assert_eq!(log.take(), [(1, 1, at(3_599))]);
    Ok(())
}

#[test]
fn cancel_answers_when_the_store_has_forgotten_the_job() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let once = task.schedule(1).id("once").delay(MINUTE).wait_blocking()?;
    let again = task.schedule(1).id("again").every(MINUTE).wait_blocking()?;
    assert!(once.cancel().wait_blocking()?);
    assert_eq!(once.status(), JobStatus::Cancelled);
    assert!(machine.record("once").is_none());
    assert!(!once.cancel().wait_blocking()?, "it is cancelled already");
    assert!(again.cancel().wait_blocking()?);
    assert!(machine.disk.records().is_empty());
    sim.crash();
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(HOUR);
    assert_eq!(log.take(), []);
    Ok(())
}

#[test]
fn a_recurring_job_that_is_cancelled_in_its_run_does_not_come_back() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let job = hanging(&sim, &log)
        .schedule(1)
        .id("x")
        .every(MINUTE)
        .wait_blocking()?;
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Running);
    assert!(job.cancel().wait_blocking()?);
    assert!(machine.record("x").is_none(), "before the run has ended");
    sim.crash();
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(HOUR);
    assert_eq!(log.take(), [(1, 1, at(60))]);
    Ok(())
}

#[test]
fn an_aborted_job_does_not_come_back() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let job = hanging(&sim, &log)
        .schedule(1)
        .id("x")
        .push()
        .wait_blocking()?;
    sim.run_until_stalled();
    assert!(job.abort().wait_blocking()?);
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn shutdown_leaves_what_waits_to_the_next_process() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let once = task.schedule(1).id("once").delay(MINUTE).wait_blocking()?;
    let again = task.schedule(1).id("again").every(MINUTE).wait_blocking()?;
    let here = task
        .schedule(1)
        .id("here")
        .in_memory()
        .delay(MINUTE)
        .wait_blocking()?;
    assert!(sim.shutdown(HOUR).is_empty());
    assert_eq!(sim.elapsed(), Duration::ZERO, "nothing to wait for");
    assert_eq!(once.status(), JobStatus::Scheduled);
    assert_eq!(again.wait_blocking(), JobStatus::Scheduled, "nobody hangs");
    assert!(matches!(once.result(), Err(JobError::NotCompleted)));
    assert_eq!(here.status(), JobStatus::Cancelled);
    drop(sim);

    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 2);
    Ok(())
}

/// Cancelling after the end answered that it was done, and the next process ran
/// the job.
#[test]
fn a_stored_job_can_not_be_cancelled_when_its_store_is_closed() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task.schedule(1).delay(MINUTE).wait_blocking()?;
    sim.shutdown(Duration::ZERO);
    let result = job.cancel().wait_blocking();
    assert!(matches!(result, Err(StorageError::Closed)), "{result:?}");
    assert!(job.abort().wait_blocking().is_err());
    assert_eq!(job.status(), JobStatus::Scheduled);
    drop(sim);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    assert_eq!(log.take().len(), 1);
    Ok(())
}

#[test]
fn whoever_cancels_a_stored_job_that_outlasts_its_app_is_told_that_the_store_is_closed() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let job = hanging(&sim, &Log::new())
        .schedule(1)
        .id("x")
        .every(MINUTE)
        .wait_blocking()?;
    sim.advance(MINUTE);
    sim.shutdown(Duration::ZERO);
    let result = block_on(poll_once(job.cancel()));
    assert!(
        matches!(result, Some(Err(StorageError::Closed))),
        "{result:?}"
    );
    assert!(machine.record("x").is_some());
    Ok(())
}

#[test]
fn what_is_asked_of_an_app_whose_process_is_gone_is_refused() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let app = sim.app().clone();
    let task = logging(&sim, "t", &Log::new());
    let job = task.schedule(1).id("x").delay(MINUTE).wait_blocking()?;
    sim.crash();
    let schedule = || task.schedule(2).id("x").replace();
    for again in [schedule(), schedule().in_memory(), task.schedule(2)] {
        let result = block_on(poll_once(again.delay(HOUR)));
        assert!(
            matches!(result, Some(Err(ScheduleError::Stopped))),
            "{result:?}"
        );
    }
    let result = block_on(poll_once(job.cancel()));
    assert!(
        matches!(result, Some(Err(StorageError::Closed))),
        "{result:?}"
    );
    drop(app);
    assert_eq!(machine.record("x").unwrap().args, "1");
    Ok(())
}

/// A second stop counted the jobs that wait once more, and so did a cancel
/// during the stop: it waited for its whole grace.
#[test]
fn a_shutdown_waits_for_nothing_but_what_runs_whoever_stops_or_cancels_meanwhile() -> Result {
    let machine = Machine::new();
    let app = jobber::Jobber::builder()
        .clock(machine.clock.clone())
        .storage(machine.disk.clone())
        .build()?;
    let (clock, started) = (machine.clock.clone(), Log::new());
    let seen = started.clone();
    let slow = app
        .task("slow", move |cx: JobContext| {
            let stop = cx.stop_token();
            let sleep = clock.sleep(SECOND);
            seen.add(());
            async move {
                stop.stopped().await;
                sleep.await;
            }
        })
        .durable()
        .register()?;
    app.start().wait_blocking()?;
    let running = slow.schedule(()).push().wait_blocking()?;
    while started.entries().is_empty() {
        std::thread::yield_now();
    }
    let waiting = slow.schedule(()).delay(HOUR).wait_blocking()?;
    let _ = slow.schedule(()).delay(HOUR).wait_blocking()?;
    let stops: Vec<_> = (0..2)
        .map(|_| {
            let app = app.clone();
            std::thread::spawn(move || app.shutdown(Duration::MAX).wait_blocking())
        })
        .collect();
    // The stop has begun, and does not end before the clock is moved.
    while slow
        .schedule(())
        .in_memory()
        .delay(HOUR)
        .wait_blocking()
        .is_ok()
    {}
    assert!(waiting.cancel().wait_blocking()?);
    assert_eq!(running.status(), JobStatus::Running);
    machine.clock.advance(SECOND);
    for stop in stops {
        assert!(stop.join().unwrap().is_empty());
    }
    assert_eq!(running.status(), JobStatus::Success);
    assert_eq!(machine.disk.records().len(), 1);
    Ok(())
}

#[test]
fn what_outlasts_the_grace_of_a_shutdown_runs_again() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let _ = hanging(&sim, &log)
        .schedule(1)
        .id("x")
        .push()
        .wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(sim.shutdown(SECOND), [("x".into(), JobStatus::Running)]);
    // The executor lets go of it.
    drop(sim);
    assert!(machine.record("x").is_some());
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.run_until_stalled();
    assert_eq!(log.take(), [(1, 1, START), (1, 1, START)]);
    Ok(())
}

#[test]
fn a_run_that_ends_within_the_grace_is_stored_as_ended() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let clock = sim.clock();
    let slow = sim
        .app()
        .task("t", move |_: u32| clock.sleep(SECOND))
        .durable()
        .register()?;
    let once = slow.schedule(1).id("once").push().wait_blocking()?;
    let again = slow
        .schedule(1)
        .id("again")
        .start_date(START)
        .every(MINUTE)
        .wait_blocking()?;
    sim.run_until_stalled();
    assert!(sim.shutdown(HOUR).is_empty());
    assert_eq!(sim.elapsed(), SECOND, "no longer than needed");
    assert_eq!(once.status(), JobStatus::Success);
    assert_eq!(
        again.status(),
        JobStatus::Scheduled,
        "its next run is for the next process"
    );
    assert!(machine.record("once").is_none());
    assert_eq!(machine.record("again").unwrap().progress.due, at(60));
    Ok(())
}

#[test]
fn a_retry_that_falls_into_the_shutdown_is_made_by_the_next_process() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let clock = sim.clock();
    let task = sim
        .app()
        .task("t", move |_: u32| {
            let sleep = clock.sleep(SECOND);
            async move {
                sleep.await;
                Err::<u32, _>("no")
            }
        })
        .retry(Backoff::fixed(1, MINUTE))
        .durable()
        .register()?;
    let job = task.schedule(1).id("x").push().wait_blocking()?;
    sim.run_until_stalled();
    assert!(sim.shutdown(HOUR).is_empty());
    assert_eq!(job.status(), JobStatus::Scheduled);
    drop(sim);
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(MINUTE);
    assert_eq!(log.take(), [(1, 2, START)]);
    Ok(())
}

/// An executor that ends before the app does has not run the job to its end.
#[test]
fn a_job_that_its_executor_dropped_runs_again_in_the_next_process() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    drop(sim);
    let app = jobber::Jobber::builder()
        .clock(machine.clock.clone())
        .storage(machine.disk.clone())
        .executor(drop::<jobber::JobFuture>)
        .build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().wait_blocking()?;
    let job = task.schedule(1).id("x").push().wait_blocking()?;
    assert_eq!(job.wait_blocking(), JobStatus::Failed, "nobody hangs");
    drop(app);
    let mut sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn an_alias_finds_the_jobs_of_a_task_that_was_renamed() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let _ = logging(&sim, "old", &log)
        .schedule(3)
        .id("x")
        .delay(MINUTE)
        .wait_blocking()?;
    sim.crash();
    let mut sim = machine.boot();
    let task = sim
        .app()
        .task("new", async |n: u32| n * 2)
        .alias("older")
        .alias("old")
        .durable()
        .register()?;
    let job = task.job("x").unwrap();
    assert_eq!(job.task_name(), "new");
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 6);
    Ok(())
}

#[test]
fn an_alias_is_a_name_that_no_other_task_can_have() -> Result {
    let sim = Machine::new().boot();
    let _ = sim.app().task("a", async || {}).alias("b").register()?;
    for name in ["a", "b"] {
        let error = sim.app().task(name, async || {}).register().unwrap_err();
        assert!(matches!(error, RegisterError::DuplicateTask { name: taken } if taken == name));
    }
    let error = sim
        .app()
        .task("c", async || {})
        .alias("a")
        .register()
        .unwrap_err();
    assert!(matches!(error, RegisterError::DuplicateTask { name } if name == "a"));
    let _ = sim.app().task("c", async || {}).register()?;
    Ok(())
}

#[test]
fn handles_of_restored_jobs_wait_and_cancel_as_any_other() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let generated = task.schedule(1).delay(MINUTE).wait_blocking()?.id().clone();
    let _ = task.schedule(2).id("named").delay(MINUTE).wait_blocking()?;
    sim.crash();

    let mut sim = machine.boot();
    let task = logging(&sim, "t", &log);
    let other = sim
        .app()
        .task("other", async |n: u32| n)
        .durable()
        .register()?;
    assert_eq!(sim.app().jobs().len(), 2);
    let job: Job<u32> = task.job(&generated).unwrap();
    assert_eq!(*job.id(), generated);
    assert!(other.job(&generated).is_none(), "it is another task's");
    let named = sim.app().find_job("named").unwrap();
    assert_eq!(
        (named.status(), named.task_name()),
        (JobStatus::Scheduled, "t")
    );
    assert!(named.cancel().wait_blocking()?);
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 2);
    Ok(())
}

#[test]
fn ids_that_are_made_after_a_restart_are_new_whatever_the_clock_says() -> Result {
    let mut machine = Machine::new();
    let log = Log::new();
    let mut last = None;
    for boot in 0..5 {
        // The same seed, and the clock where it was or further back: the worst
        // case.
        machine.boots = 0;
        machine.clock.set_wall(START - HOUR * boot);
        let sim = machine.boot();
        let task = logging(&sim, "t", &log);
        for _ in 0..10 {
            let job = task.schedule(1).delay(HOUR * 1_000).wait_blocking()?;
            let id = Some(job.id().clone());
            assert!(id > last, "{id:?} is after {last:?}");
            // All but the last of each process are gone.
            if let Some(before) = last.and_then(|last| task.job(last)) {
                before.cancel().wait_blocking()?;
            }
            last = id;
        }
        sim.crash();
    }
    Ok(())
}

#[test]
fn a_job_that_no_task_can_run_is_kept_reported_and_picked_up() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let _ = logging(&sim, "t", &log)
        .schedule(3)
        .id("x")
        .delay(MINUTE)
        .wait_blocking()?;
    sim.crash();

    // A version that does not know the task.
    let mut sim = machine.boot();
    sim.advance(HOUR);
    let unresolved = sim.app().unresolved();
    assert_eq!(unresolved.len(), 1);
    assert_eq!(
        (unresolved[0].task.as_str(), &unresolved[0].id),
        ("t", &"x".into())
    );
    assert!(matches!(
        unresolved[0].reason,
        UnresolvedReason::UnknownTask
    ));
    assert_eq!(sim.app().health().unresolved, 1);
    assert!(sim.app().find_job("x").is_none());
    // Somebody else can't have its id.
    let other = sim
        .app()
        .task("other", async |n: u32| n)
        .durable()
        .register()?;
    let error = other
        .schedule(1)
        .id("x")
        .push()
        .wait_blocking()
        .unwrap_err();
    assert!(matches!(error, ScheduleError::UnresolvedJob { id } if id == "x"));
    sim.shutdown(HOUR);
    drop(sim);
    assert!(machine.record("x").is_some(), "it is kept");

    // One that registers it late.
    let mut sim = machine.boot();
    assert_eq!(sim.app().unresolved().len(), 1);
    let task = logging(&sim, "t", &log);
    assert!(sim.app().unresolved().is_empty());
    let job = task.job("x").unwrap();
    sim.run_until_stalled();
    assert_eq!(*job.result()?, 6);
    assert_eq!(log.take(), [(1, 1, at(60))]);
    Ok(())
}

#[test]
fn a_job_whose_arguments_changed_their_type_is_kept() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let _ = logging(&sim, "t", &log)
        .schedule(3)
        .id("x")
        .delay(MINUTE)
        .wait_blocking()?;
    sim.crash();
    let mut sim = machine.boot();
    let _ = sim
        .app()
        .task("t", async |text: String| text.len())
        .durable()
        .register()?;
    sim.advance(HOUR);
    let unresolved = sim.app().unresolved();
    let text = unresolved[0].to_string();
    assert!(matches!(
        unresolved[0].reason,
        UnresolvedReason::Arguments(_)
    ));
    assert!(
        text.contains("invalid type: integer `3`, expected a string"),
        "{text}"
    );
    drop(sim);
    // The version before can still run it.
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.run_until_stalled();
    assert_eq!(log.take(), [(1, 1, at(60))]);
    Ok(())
}

#[test]
fn a_job_whose_arguments_no_longer_decode_can_be_replaced_by_its_task() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let _ = logging(&sim, "t", &log)
        .schedule(3)
        .id("x")
        .cron("@hourly")
        .wait_blocking()?;
    sim.crash();
    let mut sim = machine.boot();
    let task = sim
        .app()
        .task("t", async |text: String| text.len())
        .durable()
        .register()?;
    let error = task
        .schedule("a".into())
        .id("x")
        .push()
        .wait_blocking()
        .unwrap_err();
    assert!(matches!(error, ScheduleError::UnresolvedJob { .. }));
    let job = task
        .schedule("abc".into())
        .id("x")
        .replace()
        .push()
        .wait_blocking()?;
    assert!(sim.app().unresolved().is_empty());
    sim.run_until_stalled();
    assert_eq!(*job.result()?, 3);
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn a_task_that_is_no_longer_durable_leaves_its_jobs_alone() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let _ = logging(&sim, "t", &log)
        .schedule(3)
        .id("x")
        .delay(MINUTE)
        .wait_blocking()?;
    sim.crash();
    let sim = machine.boot();
    let _ = sim.app().task("t", async |n: u32| n).register()?;
    assert!(matches!(
        sim.app().unresolved()[0].reason,
        UnresolvedReason::NotDurable
    ));
    assert!(machine.record("x").is_some());
    Ok(())
}

#[test]
fn records_that_this_version_can_not_read_are_kept_and_named() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task.schedule(3).id("x").cron("@hourly").wait_blocking()?;
    let _ = task.schedule(3).id("y").every(MINUTE).wait_blocking()?;
    sim.crash();
    let (cron, every) = (machine.record("x").unwrap(), machine.record("y").unwrap());
    let is_unresolved = |change: &dyn Fn(&mut JobRecord), record: &JobRecord| {
        let mut record = record.clone();
        change(&mut record);
        let mut machine = Machine::new();
        machine.disk.insert(record.clone());
        let mut sim = machine.boot();
        let log = Log::new();
        logging(&sim, "t", &log);
        sim.advance(HOUR * 2);
        assert_eq!(log.take(), [], "it never runs");
        assert_eq!(machine.disk.records(), [record], "it is as it was");
        sim.app().unresolved().remove(0).reason
    };
    let newer = is_unresolved(&|r| r.version = 2, &cron);
    assert!(matches!(
        newer,
        UnresolvedReason::NewerVersion { found: 2, known: 1 }
    ));
    let zone = is_unresolved(&|r| r.zone = Some("Mars/Olympus".into()), &cron);
    assert!(matches!(zone, UnresolvedReason::Zone(_)));
    let expression = is_unresolved(
        &|r| {
            if let TriggerRecord::Cron { expression, .. } = &mut r.trigger {
                *expression = "every day".into();
            }
        },
        &cron,
    );
    assert!(matches!(expression, UnresolvedReason::Cron(_)));
    let unreadable: [&dyn Fn(&mut JobRecord); 4] = [
        &|r| r.progress.due = datetime!(9000-01-01 0:00 UTC),
        &|r| r.progress.recurring = None,
        &|r| {
            if let TriggerRecord::Every { options, .. } = &mut r.trigger {
                options.max_failures = 0;
            }
        },
        &|r| {
            if let TriggerRecord::Every { interval, .. } = &mut r.trigger {
                *interval = Duration::ZERO;
            }
        },
    ];
    for change in unreadable {
        let reason = is_unresolved(change, &every);
        assert!(
            matches!(reason, UnresolvedReason::Unreadable(_)),
            "{reason}"
        );
    }
    Ok(())
}

#[test]
fn a_job_that_no_task_can_run_is_forgotten_when_it_is_discarded() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let _ = logging(&sim, "t", &log)
        .schedule(3)
        .id("x")
        .delay(MINUTE)
        .wait_blocking()?;
    sim.crash();
    let sim = machine.boot();
    assert!(sim.app().discard("x").wait_blocking()?);
    assert!(!sim.app().discard("x").wait_blocking()?);
    assert!(sim.app().unresolved().is_empty());
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn one_scheduling_of_a_durable_task_may_stay_in_memory() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task.schedule(3).in_memory().delay(MINUTE).wait_blocking()?;
    assert!(machine.disk.records().is_empty());
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 6);
    Ok(())
}

#[test]
fn arguments_that_do_not_come_back_from_json_are_refused_when_they_are_scheduled() -> Result {
    let sim = Machine::new().boot();
    let float = sim
        .app()
        .task("float", async |x: f64| x)
        .durable()
        .register()?;
    let error = float.schedule(f64::NAN).push().wait_blocking().unwrap_err();
    let text = error.to_string();
    assert!(matches!(&error, ScheduleError::Arguments { task, .. } if task == "float"));
    assert!(
        text.starts_with("the arguments of the task `float` can't be stored as JSON: "),
        "{text}"
    );
    assert!(sim.app().jobs().is_empty());

    let keys = sim
        .app()
        .task(
            "keys",
            async |map: std::collections::BTreeMap<Vec<u8>, u8>| map.len(),
        )
        .durable()
        .register()?;
    let map = [(vec![1], 1)].into_iter().collect();
    let error = keys.schedule(map).push().wait_blocking().unwrap_err();
    assert!(matches!(error, ScheduleError::Arguments { .. }));
    Ok(())
}

#[test]
fn floats_come_back_to_the_bit() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let values: Vec<f64> = (0..1_000)
        .map(|_| f64::from_bits(fastrand::u64(..) >> 2))
        .collect();
    let task = sim
        .app()
        .task("t", async |v: Vec<f64>| v)
        .durable()
        .register()?;
    let _ = task
        .schedule(values.clone())
        .id("x")
        .push()
        .wait_blocking()?;
    sim.crash();
    let mut sim = machine.boot();
    let task = sim
        .app()
        .task("t", async |v: Vec<f64>| v)
        .durable()
        .register()?;
    let job = task.job("x").unwrap();
    sim.run_until_stalled();
    assert_eq!(*job.result()?, values);
    Ok(())
}

#[test]
fn a_durable_task_needs_a_store_and_at_most_once_a_durable_task() -> Result {
    let sim = Simulation::new();
    let error = sim
        .app()
        .task("t", async || {})
        .durable()
        .register()
        .unwrap_err();
    assert!(matches!(error, RegisterError::NoStorage { name } if name == "t"));
    let sim = Machine::new().boot();
    let error = sim
        .app()
        .task("t", async || {})
        .at_most_once()
        .register()
        .unwrap_err();
    assert!(matches!(
        error,
        RegisterError::NotDurable {
            option: "at_most_once"
        }
    ));
    Ok(())
}

// At most once.

fn at_most_once(sim: &Simulation, log: &Log<Ran>) -> Task<u32, u32> {
    let log = log.clone();
    sim.app()
        .task("t", move |cx: JobContext, _: u32| {
            log.add((cx.run_number(), cx.attempt(), cx.nominal_time()));
            std::future::pending::<u32>()
        })
        .retry(Backoff::fixed(3, SECOND))
        .timeout(MINUTE)
        .durable()
        .at_most_once()
        .register()
        .unwrap()
}

#[test]
fn at_most_once_stores_the_start_before_the_attempt() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let disk = machine.disk.clone();
    let task = sim
        .app()
        .task("t", move |cx: JobContext| {
            let record = disk.records().into_iter().find(|r| r.id == *cx.id());
            async move { record.unwrap().progress.started_at }
        })
        .durable()
        .at_most_once()
        .register()?;
    let job = task.schedule(()).delay(SECOND).wait_blocking()?;
    sim.advance(SECOND);
    assert_eq!(
        *job.result()?,
        Some(at(1)),
        "as seen from within the attempt"
    );
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn an_attempt_at_most_once_that_a_crash_cut_short_is_not_made_again() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let _ = at_most_once(&sim, &log)
        .schedule(1)
        .id("x")
        .push()
        .wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), [(1, 1, START)]);
    sim.crash();
    let mut sim = machine.boot();
    let mut events = sim.app().events();
    let task = at_most_once(&sim, &log);
    sim.advance(HOUR);
    assert_eq!(log.take(), []);
    assert!(task.job("x").is_none());
    assert!(machine.disk.records().is_empty());
    let ended = std::iter::from_fn(|| events.try_next()).any(|event| {
        matches!(event, Event::Job(e) if e.id == "x" && e.kind == JobEventKind::Ended(JobStatus::Failed))
    });
    assert!(ended, "it is told");
    Ok(())
}

#[test]
fn the_drop_of_arguments_whose_attempt_was_lost_in_a_crash_may_panic() -> Result {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 && !std::thread::panicking() {
                panic!("a bomb was dropped");
            }
        }
    }
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let register = |sim: &Simulation| {
        let task = sim
            .app()
            .task("t", |_: Bomb| std::future::pending::<()>())
            .durable();
        task.at_most_once().register()
    };
    let _ = register(&sim)?
        .schedule(Bomb(false))
        .id("x")
        .push()
        .wait_blocking()?;
    sim.run_until_stalled();
    sim.crash();
    let mut record = machine.record("x").unwrap();
    record.args = "true".into();
    machine
        .disk
        .clone()
        .commit(&[jobber::storage::Change::Put(Box::new(record))])?;
    let sim = machine.boot();
    register(&sim)?;
    assert!(machine.record("x").is_none());
    Ok(())
}

#[test]
fn a_recurring_job_at_most_once_goes_on_with_its_next_time_after_a_crash() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let _ = at_most_once(&sim, &log)
        .schedule(1)
        .id("x")
        .every(HOUR)
        .wait_blocking()?;
    sim.advance(HOUR);
    sim.crash();
    assert_eq!(log.take(), [(1, 1, at(3_600))]);
    let mut sim = machine.boot();
    let job = at_most_once(&sim, &log).job("x").unwrap();
    let run = job.last_run().unwrap();
    assert_eq!((run.number, run.status), (1, JobStatus::Failed));
    assert_eq!(machine.record("x").unwrap().progress.due, at(7_200));
    sim.advance(HOUR);
    assert_eq!(log.take(), [(2, 1, at(7_200))]);
    Ok(())
}

#[test]
fn an_attempt_at_most_once_that_failed_is_tried_again() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let job = at_most_once(&sim, &log)
        .schedule(1)
        .id("x")
        .push()
        .wait_blocking()?;
    sim.advance(MINUTE);
    assert_eq!(
        job.status(),
        JobStatus::Scheduled,
        "it timed out, and waits for its retry"
    );
    let progress = machine.record("x").unwrap().progress;
    assert_eq!((progress.attempts, progress.started_at), (1, None));
    sim.crash();
    let mut sim = machine.boot();
    at_most_once(&sim, &log);
    sim.advance(SECOND);
    assert_eq!(log.take(), [(1, 1, START), (1, 2, START)]);
    Ok(())
}

// Replacing.

#[test]
fn a_replaced_job_is_stored_with_its_new_arguments_and_trigger() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task.schedule(1).id("x").delay(MINUTE).wait_blocking()?;
    let _ = task
        .schedule(2)
        .id("x")
        .replace()
        .delay(HOUR)
        .wait_blocking()?;
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
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task.schedule(1).id("x").every(MINUTE).wait_blocking()?;
    sim.advance(MINUTE * 3);
    let _ = task
        .schedule(2)
        .id("x")
        .replace()
        .max_runs(4)
        .every(HOUR)
        .wait_blocking()?;
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
fn a_replacement_after_the_clock_went_back_runs_no_time_twice_after_a_crash() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let schedule = || task.schedule(1).id("x").replace().misfire(Misfire::Skip);
    let job = schedule().cron("* * * * *").wait_blocking()?;
    sim.set_wall(at(3_630));
    sim.advance(SECOND * 30);
    assert_eq!(log.take(), [(1, 1, at(3_660))]);
    sim.set_wall(at(3_570));
    let _ = schedule().cron("* * * * *").wait_blocking()?;
    let progress = machine.record("x").unwrap().progress;
    assert_eq!(progress.due, job.exec_at());
    sim.crash();
    let mut sim = machine.boot();
    logging(&sim, "t", &log);
    sim.advance(SECOND * 160);
    assert_eq!(log.take(), [(2, 1, at(3_600)), (3, 1, at(3_720))]);
    Ok(())
}

#[test]
fn a_replacement_stores_the_runs_that_have_ended_and_the_one_whose_retry_is_given_up() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new(), Backoff::fixed(1, MINUTE));
    let replace = || {
        let schedule = task.schedule(1).id("x").replace();
        schedule.every(HOUR).wait_blocking()
    };
    let stored = |machine: &Machine| {
        let progress = machine.record("x").unwrap().progress.recurring.unwrap();
        (progress.runs, progress.failures_in_a_row, progress.last_run)
    };
    let job = replace()?;
    let _ = replace()?;
    assert_eq!(stored(&machine), (0, 0, None));
    sim.advance(HOUR);
    // The first attempt has failed, and the second will not be made.
    let _ = replace()?;
    assert_eq!(stored(&machine), (1, 1, job.last_run()));
    assert_eq!(job.last_run().unwrap().status, JobStatus::Failed);
    let _ = replace()?;
    assert_eq!(stored(&machine), (1, 1, job.last_run()));
    Ok(())
}

#[test]
fn a_run_that_goes_on_is_not_stored_as_ended_by_a_replacement() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let task = hanging(&sim, &Log::new());
    let schedule = || task.schedule(1).id("x").replace();
    let _ = schedule().every(HOUR).wait_blocking()?;
    sim.advance(HOUR);
    let _ = schedule().every(MINUTE).wait_blocking()?;
    let progress = machine.record("x").unwrap().progress.recurring.unwrap();
    assert_eq!((progress.failures_in_a_row, progress.last_run), (0, None));
    Ok(())
}

#[test]
fn how_the_attempt_before_a_crash_failed_is_known_when_its_retry_is_given_up() -> Result {
    let mut machine = Machine::new();
    let boot = |machine: &mut Machine| -> Result<_> {
        let sim = machine.boot();
        let task = sim
            .app()
            .task("t", |_: u32| std::future::pending::<()>())
            .timeout(SECOND)
            .retry(Backoff::fixed(1, HOUR))
            .durable()
            .register()?;
        Ok((sim, task))
    };
    let (mut sim, task) = boot(&mut machine)?;
    let _ = task.schedule(1).id("x").every(MINUTE).wait_blocking()?;
    sim.advance(MINUTE + SECOND);
    sim.crash();
    let (_sim, task) = boot(&mut machine)?;
    let again = task.schedule(1).id("x").replace();
    let job = again.every(MINUTE).wait_blocking()?;
    assert_eq!(job.last_run().unwrap().status, JobStatus::Timeout);
    Ok(())
}

#[test]
fn a_job_that_is_replaced_during_its_run_is_the_new_one_after_a_crash() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = hanging(&sim, &log);
    let _ = task.schedule(1).id("x").push().wait_blocking()?;
    sim.run_until_stalled();
    let _ = task
        .schedule(2)
        .id("x")
        .replace()
        .delay(MINUTE)
        .wait_blocking()?;
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
fn a_job_that_was_replaced_during_its_run_goes_on_when_that_has_ended() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let clock = sim.clock();
    let task = sim
        .app()
        .task("t", move |n: u64| {
            let sleep = clock.sleep(SECOND * n as u32);
            async move {
                sleep.await;
                n
            }
        })
        .durable()
        .register()?;
    let job = task.schedule(10).id("x").push().wait_blocking()?;
    sim.run_until_stalled();
    let _ = task
        .schedule(20)
        .id("x")
        .replace()
        .delay(MINUTE)
        .wait_blocking()?;
    sim.advance(SECOND * 10);
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(machine.record("x").unwrap().progress.due, at(60));
    sim.advance(HOUR);
    assert_eq!(*job.result()?, 20);
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn a_replacement_moves_a_job_into_the_store_and_out_of_it() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task
        .schedule(1)
        .id("x")
        .in_memory()
        .delay(MINUTE)
        .wait_blocking()?;
    let _ = task
        .schedule(2)
        .id("x")
        .replace()
        .delay(MINUTE)
        .wait_blocking()?;
    assert_eq!(machine.record("x").unwrap().args, "2");
    let _ = task
        .schedule(3)
        .id("x")
        .replace()
        .in_memory()
        .delay(MINUTE)
        .wait_blocking()?;
    assert!(machine.record("x").is_none());
    sim.advance(MINUTE);
    assert_eq!(*job.result()?, 6);
    assert_eq!(log.take().len(), 1);
    Ok(())
}

// Small things.

#[test]
fn a_zone_is_kept_and_the_apps_own_is_whatever_it_is_then() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let _ = task
        .schedule(1)
        .id("mine")
        .zone(offset!(+5:30))
        .cron("0 9 * * *")
        .wait_blocking()?;
    let _ = task
        .schedule(1)
        .id("app")
        .cron("0 9 * * *")
        .wait_blocking()?;
    assert_eq!(
        machine.record("mine").unwrap().zone.as_deref(),
        Some("+05:30")
    );
    assert_eq!(machine.record("app").unwrap().zone, None);
    sim.crash();
    let sim = Simulation::with(9, machine.clock.clone(), |app| {
        app.storage(machine.disk.clone()).zone(offset!(+1))
    })?;
    let task = logging(&sim, "t", &log);
    assert_eq!(
        task.job("mine").unwrap().exec_at(),
        datetime!(2000-01-01 9:00 +5:30)
    );
    let app = task.job("app").unwrap();
    assert_eq!(app.exec_at().offset(), offset!(+1));
    assert_eq!(app.cron_expression(), Some("0 9 * * *"));
    Ok(())
}

#[test]
fn what_a_restored_job_is_asked_for_it_tells_as_before() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    let job = task
        .schedule(1)
        .id("x")
        .jitter(SECOND * 20)
        .start_date(at(90))
        .misfire(Misfire::Grace(MINUTE))
        .max_runs(9)
        .max_failures(7)
        .cron("* * * * *")
        .wait_blocking()?;
    sim.advance(MINUTE * 3);
    let before = (job.exec_at(), job.last_run(), machine.record("x").unwrap());
    sim.crash();
    let sim = machine.boot();
    let job = logging(&sim, "t", &log).job("x").unwrap();
    assert_eq!((job.exec_at(), job.last_run()), (before.0, before.1));
    // Started once more, and not changed by that.
    assert_eq!(machine.record("x").unwrap(), before.2);
    Ok(())
}

#[test]
fn events_tell_of_jobs_that_are_restored() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let log = Log::new();
    let _ = logging(&sim, "t", &log)
        .schedule(1)
        .id("x")
        .delay(MINUTE)
        .wait_blocking()?;
    sim.crash();
    let sim = machine.boot();
    let mut events = sim.app().events();
    logging(&sim, "t", &log);
    let Some(Event::Job(event)) = events.try_next() else {
        panic!("there is one");
    };
    assert_eq!(
        (event.id, event.kind),
        ("x".into(), JobEventKind::Restored { due: at(60) })
    );
    Ok(())
}

/// A waiter that has seen the end may stop the process: the job must not run
/// again.
#[test]
fn whoever_sees_a_job_done_finds_it_gone_from_the_store() -> Result {
    let machine = Machine::new();
    let app = jobber::Jobber::builder()
        .storage(machine.disk.clone())
        .build()?;
    let task = app.task("t", async |n: u32| n).durable().register()?;
    app.start().wait_blocking()?;
    for _ in 0..200 {
        let job = task.schedule(1).push().wait_blocking()?;
        while !job.is_done() {
            std::thread::yield_now();
        }
        assert!(machine.disk.records().is_empty());
    }
    let job = task
        .schedule(1)
        .id("again")
        .every(Duration::from_millis(1))
        .wait_blocking()?;
    let mut seen = 0;
    while seen < 50 {
        let run = job.next_run().wait_blocking().unwrap();
        let runs = machine
            .record("again")
            .unwrap()
            .progress
            .recurring
            .unwrap()
            .runs;
        assert!(
            runs >= run.number,
            "run {} has ended, and the store knows of {runs}",
            run.number
        );
        seen = run.number;
    }
    Ok(())
}

#[test]
fn arguments_are_dropped_with_the_job() -> Result {
    // Serialized as nothing, so that its clones can be counted.
    #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    struct Counted {
        #[serde(skip)]
        #[expect(dead_code, reason = "it is there to be dropped")]
        counter: DropCounter,
    }
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let counter = DropCounter::default();
    let task = sim
        .app()
        .task("t", async |_: Counted| {})
        .durable()
        .register()?;
    let args = || Counted {
        counter: counter.clone(),
    };
    let ran = task.schedule(args()).delay(MINUTE).wait_blocking()?;
    let cancelled = task.schedule(args()).delay(MINUTE).wait_blocking()?;
    let _ = task
        .schedule(args())
        .id("x")
        .delay(MINUTE)
        .wait_blocking()?;
    let replaced = task
        .schedule(args())
        .id("x")
        .replace()
        .delay(MINUTE)
        .wait_blocking()?;
    sim.run_until_stalled();
    assert_eq!(counter.alive(), 3, "the replaced one is gone");
    cancelled.cancel().wait_blocking()?;
    assert_eq!(counter.alive(), 2);
    sim.advance(MINUTE);
    assert_eq!(counter.alive(), 0);
    assert!(ran.is_done() && replaced.is_done());
    Ok(())
}

#[test]
fn a_job_can_schedule_durable_jobs_itself() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let next = logging(&sim, "next", &log);
    let first = sim
        .app()
        .task("first", move || {
            let next = next.clone();
            async move {
                let _ = next.schedule(1).delay(SECOND).await?;
                Ok::<(), BoxError>(())
            }
        })
        .durable()
        .register()?;
    let _ = first.schedule(()).push().wait_blocking()?;
    sim.advance(SECOND);
    assert_eq!(log.take(), [(1, 1, at(1))]);
    Ok(())
}

#[test]
fn an_id_that_is_not_allowed_is_refused_before_the_store_is_asked() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    for id in ["", "a\nb", &"x".repeat(201)] {
        let result = task.schedule(1).id(id).delay(HOUR).wait_blocking();
        assert!(matches!(result, Err(ScheduleError::InvalidId { .. })));
    }
    assert!(machine.disk.records().is_empty());
    assert!(sim.app().jobs().is_empty());
    Ok(())
}

#[test]
fn events_tell_of_a_durable_job_once_the_store_has_it() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let mut events = sim.app().events();
    let task = logging(&sim, "t", &Log::new());
    let mut next = move || match events.try_next() {
        Some(Event::Job(event)) => Some((event.id, event.kind)),
        _ => None,
    };
    let _ = task.schedule(1).id("x").delay(MINUTE).wait_blocking()?;
    let scheduled = JobEventKind::Scheduled { due: at(60) };
    assert_eq!(next(), Some(("x".into(), scheduled)));
    assert_eq!(next(), None);
    sim.advance(MINUTE);
    let started = JobEventKind::Started { run: 1, attempt: 1 };
    assert_eq!(next(), Some(("x".into(), started)));
    let ended = JobEventKind::Ended(JobStatus::Success);
    assert_eq!(next(), Some(("x".into(), ended)));
    assert_eq!(next(), None);
    Ok(())
}

#[test]
fn jobs_that_waited_for_their_task_come_back_in_the_order_of_scheduling() -> Result {
    let mut machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(task.schedule(n).delay(HOUR).wait_blocking()?.id().clone());
    }
    sim.crash();
    let sim = machine.boot();
    let mut events = sim.app().events();
    logging(&sim, "t", &Log::new());
    let restored = std::iter::from_fn(|| events.try_next()).map(|event| match event {
        Event::Job(event) => event.id,
        other => panic!("{other:?}"),
    });
    assert_eq!(restored.collect::<Vec<_>>(), ids);
    Ok(())
}

/// It may be one of a version to come, or of a clock that was ahead.
#[test]
fn ids_are_made_after_that_of_a_record_that_can_not_be_read() -> Result {
    struct Unreadable(MemoryStorage, jobber::JobId);
    impl jobber::storage::Storage for Unreadable {
        fn open(&mut self) -> std::result::Result<(), StorageError> {
            self.0.open()
        }
        fn load(
            &mut self,
            each: &mut dyn FnMut(jobber::storage::Loaded),
        ) -> std::result::Result<(), StorageError> {
            each(jobber::storage::Loaded::Unreadable {
                id: self.1.clone(),
                task: "t".into(),
                reason: "it is no record".into(),
            });
            Ok(())
        }
        fn commit(
            &mut self,
            changes: &[jobber::storage::Change],
        ) -> std::result::Result<(), StorageError> {
            self.0.commit(changes)
        }
    }
    let mut machine = Machine::new();
    machine.clock.set_wall(START + HOUR);
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let id = task.schedule(1).delay(HOUR).wait_blocking()?.id().clone();
    sim.crash();
    machine.clock.set_wall(START);
    let storage = Unreadable(MemoryStorage::new(), id.clone());
    let sim = Simulation::with(9, machine.clock.clone(), |app| app.storage(storage))?;
    let task = logging(&sim, "t", &Log::new());
    let job = task.schedule(1).delay(HOUR).wait_blocking()?;
    assert!(*job.id() > id, "{} is after {id}", job.id());
    Ok(())
}

#[test]
fn a_job_that_is_cancelled_while_it_is_left_to_the_next_process_ends_no_shutdown() -> Result {
    let mut machine = Machine::new();
    let mut sim = machine.boot();
    let clock = sim.clock();
    let slow = sim.app().task("slow", move || clock.sleep(SECOND));
    let slow = slow.durable().register()?;
    let running = slow.schedule(()).push().wait_blocking()?;
    sim.run_until_stalled();
    let waiting = slow.schedule(()).delay(HOUR).wait_blocking()?;
    let app = sim.app().clone();
    let mut stop = app.shutdown(Duration::MAX);
    assert!(block_on(poll_once(&mut stop)).is_none());
    assert!(waiting.cancel().wait_blocking()?);
    assert!(block_on(poll_once(&mut stop)).is_none(), "one runs");
    sim.advance(SECOND);
    assert_eq!(running.status(), JobStatus::Success);
    assert_eq!(block_on(poll_once(&mut stop)), Some(Vec::new()));
    assert!(machine.disk.records().is_empty());
    Ok(())
}
