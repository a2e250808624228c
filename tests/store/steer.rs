//! Steering jobs by hand: pause, resume, run now, move. In memory and stored, the same.

use std::time::Duration;

use crate::support::{
    HOUR, Log, MINUTE, Machine, Result, SECOND, START, assert_ends, event_kinds, manual_app_with,
    poll, wait_until,
};
use crate::tasks::at;
use jobber::testing::{Fault, Simulation};
use jobber::{
    Backoff, BoxError, Clock, JobContext, JobError, JobStatus, MemoryStorage, Misfire, MoveError,
    Schedule, SteerOutcome, Task, WaitingFor,
};

/// When an attempt started, its run, its attempt in that, and the time that it stands for; in
/// seconds.
pub type Started = (i64, u64, u32, i64);

/// How long each attempt takes, in seconds, and how many attempts of each run fail.
pub type Work = (u64, u32);

/// A process with a task that logs its attempts.
pub struct Process {
    pub sim: Simulation,
    pub task: Task<Work, ()>,
    pub log: Log<Started>,
    is_stored: bool,
}

impl Process {
    fn boot(machine: &Machine, log: &Log<Started>, is_stored: bool) -> Result<Self> {
        Self::boot_with(machine, log, is_stored, false)
    }

    pub fn boot_with(
        machine: &Machine,
        log: &Log<Started>,
        is_stored: bool,
        at_most_once: bool,
    ) -> Result<Self> {
        let sim = machine.boot();
        let (clock, entries) = (sim.clock(), log.clone());
        let work = move |cx: JobContext, (take, fails): Work| {
            let seconds = |time| (time - START) as time::Duration;
            let now = seconds(clock.wall()).whole_seconds();
            let nominal = seconds(cx.nominal_time()).whole_seconds();
            entries.add((now, cx.run_number(), cx.attempt(), nominal));
            let is_failure = cx.attempt() <= fails;
            let sleep = clock.sleep(Duration::from_secs(take));
            async move {
                sleep.await;
                match is_failure {
                    true => Err(BoxError::from("no")),
                    false => Ok(()),
                }
            }
        };
        let task = sim
            .app()
            .task("t", work)
            .retry(Backoff::fixed(1, SECOND * 10));
        let task = task.durable();
        let task = match at_most_once {
            true => task.at_most_once(),
            false => task,
        };
        Ok(Self {
            task: task.register()?,
            sim,
            log: log.clone(),
            is_stored,
        })
    }

    /// A job `x`.
    pub fn schedule(&self, take: u64, fails: u32) -> Schedule<Work, ()> {
        let schedule = self.task.schedule((take, fails)).id("x");
        match self.is_stored {
            true => schedule,
            false => schedule.in_memory(),
        }
    }

    pub fn advance(&mut self, seconds: u64) {
        self.sim.advance(Duration::from_secs(seconds));
    }
}

/// Calls `test` with a process whose jobs are in memory, and with one whose jobs are stored.
fn in_memory_and_stored(test: impl Fn(Process) -> Result) -> Result {
    for is_stored in [false, true] {
        println!("stored: {is_stored}");
        test(Process::boot(&Machine::new(), &Log::new(), is_stored)?)?;
    }
    Ok(())
}

pub const MISSES_NOTHING: Misfire = Misfire::All(99);

#[test]
fn a_paused_job_does_not_start_and_a_resumed_one_makes_up_nothing() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 0).misfire(MISSES_NOTHING);
        let job = schedule.every(MINUTE).block_on()?;
        process.advance(90);
        assert_eq!(job.pause().block_on()?, SteerOutcome::Done);
        assert_eq!(job.pause().block_on()?, SteerOutcome::Unchanged);
        assert!(job.is_paused());
        process.advance(180);
        assert_eq!(job.status(), JobStatus::Scheduled);
        assert_eq!(job.resume().block_on()?, SteerOutcome::Done);
        assert_eq!(job.resume().block_on()?, SteerOutcome::Unchanged);
        assert!(!job.is_paused());
        assert_eq!(job.exec_at(), at(300));
        process.advance(90);
        let runs = [(60, 1, 1, 60), (300, 2, 1, 300), (360, 3, 1, 360)];
        assert_eq!(process.log.entries(), runs);
        Ok(())
    })
}

#[test]
fn a_pause_that_ends_before_the_next_run_changes_nothing() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).every(MINUTE).block_on()?;
        process.advance(10);
        job.pause().block_on()?;
        process.advance(40);
        job.resume().block_on()?;
        process.advance(70);
        assert_eq!(process.log.entries(), [(60, 1, 1, 60), (120, 2, 1, 120)]);
        Ok(())
    })
}

#[test]
fn a_pause_after_each_run_counts_from_the_resume() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(5, 0).after_each(MINUTE).block_on()?;
        process.advance(70);
        job.pause().block_on()?;
        process.advance(100);
        job.resume().block_on()?;
        process.advance(70);
        assert_eq!(process.log.entries(), [(60, 1, 1, 60), (230, 2, 1, 230)]);
        Ok(())
    })
}

#[test]
fn catch_up_applies_the_misfire_policy_of_the_job() -> Result {
    for (misfire, late) in [
        (Misfire::Skip, vec![]),
        (Misfire::Once, vec![180]),
        (Misfire::All(2), vec![60, 120]),
        (MISSES_NOTHING, vec![60, 120, 180]),
    ] {
        in_memory_and_stored(|mut process| {
            let schedule = process.schedule(0, 0).misfire(misfire);
            let job = schedule.paused().every(MINUTE).block_on()?;
            process.advance(200);
            job.resume().catch_up().block_on()?;
            process.advance(45);
            let nominal = |(_, _, _, nominal): &Started| *nominal;
            let nominal: Vec<_> = process.log.entries().iter().map(nominal).collect();
            let on_time = late.iter().copied().chain([240]);
            assert_eq!(nominal, on_time.collect::<Vec<_>>(), "{misfire:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_job_that_runs_once_and_whose_time_has_passed_runs_at_the_resume() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).delay(MINUTE).block_on()?;
        job.pause().block_on()?;
        process.advance(100);
        assert_eq!(process.log.entries(), []);
        job.resume().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(process.log.entries(), [(100, 1, 1, 60)]);
        assert_eq!(job.status(), JobStatus::Success);
        assert_eq!(job.pause().block_on()?, SteerOutcome::AlreadyDone);
        assert_eq!(job.resume().block_on()?, SteerOutcome::AlreadyDone);
        Ok(())
    })
}

#[test]
fn a_job_that_expires_during_its_pause_ends_at_the_resume() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 0).expires(SECOND * 10);
        let job = schedule.delay(MINUTE).block_on()?;
        job.pause().block_on()?;
        process.advance(100);
        job.resume().block_on()?;
        process.sim.run_until_stalled();
        assert!(matches!(job.result(), Err(JobError::Expired { .. })));
        assert_eq!(process.log.entries(), []);
        Ok(())
    })
}

#[test]
fn a_running_attempt_goes_on_and_its_retry_is_held() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(5, 1).every(MINUTE).block_on()?;
        process.advance(62);
        job.pause().block_on()?;
        assert_eq!(job.status(), JobStatus::Running);
        process.advance(28);
        assert_eq!(process.log.take(), [(60, 1, 1, 60)]);
        job.resume().block_on()?;
        process.advance(10);
        assert_eq!(process.log.take(), [(90, 1, 2, 60)], "the run goes on");
        process.advance(25);
        assert_eq!(process.log.take(), [(120, 2, 1, 120)]);
        Ok(())
    })
}

#[test]
fn the_times_that_pass_while_a_retry_or_a_moved_run_is_held_are_left_out() -> Result {
    for is_moved in [false, true] {
        in_memory_and_stored(|mut process| {
            let schedule = process.schedule(0, u32::from(!is_moved));
            let job = schedule.misfire(MISSES_NOTHING).every(MINUTE).block_on()?;
            if is_moved {
                job.move_to(at(65)).block_on()?;
            }
            process.advance(62);
            job.pause().block_on()?;
            process.advance(200);
            process.log.take();
            job.resume().block_on()?;
            process.advance(50);
            let attempt = if is_moved { 1 } else { 2 };
            let runs = [(262, 1, attempt, 60), (300, 2, 1, 300)];
            assert_eq!(process.log.entries()[..2], runs, "moved: {is_moved}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_job_ends_at_the_resume_if_no_time_is_left() -> Result {
    in_memory_and_stored(|mut process| {
        let mut events = process.sim.app().events();
        let schedule = process.schedule(0, 0).until(at(150));
        let job = schedule.every(MINUTE).block_on()?;
        process.advance(70);
        job.pause().block_on()?;
        process.advance(100);
        assert!(!job.is_done());
        job.resume().block_on()?;
        assert_eq!(job.status(), JobStatus::Success, "as its last run");
        assert!(process.sim.app().jobs().is_empty());
        let kinds = event_kinds(&mut events, "x");
        let last = ["Paused", "ended SUCCESS"];
        assert!(kinds.contains(&last[0].into()) && kinds.last() == Some(&last[1].into()));
        Ok(())
    })
}

#[test]
fn a_new_job_can_be_paused_and_a_replacement_keeps_the_pause() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).paused().push().block_on()?;
        process.advance(10);
        assert_eq!(process.log.entries(), []);
        let replaced = process.schedule(0, 0).replace().every(MINUTE);
        replaced.block_on()?;
        process.advance(100);
        assert!(job.is_paused());
        assert_eq!(process.log.entries(), []);
        job.resume().block_on()?;
        let replaced = process.schedule(0, 0).replace().paused().every(MINUTE * 2);
        replaced.block_on()?;
        assert!(!job.is_paused(), "`paused` is of a new job only");
        Ok(())
    })
}

#[test]
fn a_run_that_fails_for_good_pauses_the_job_if_it_says_so() -> Result {
    in_memory_and_stored(|mut process| {
        let mut events = process.sim.app().events();
        let schedule = process.schedule(0, 1).pause_on_failure();
        let job = schedule.every(MINUTE).block_on()?;
        process.advance(130);
        assert!(!job.is_paused(), "the retry has succeeded");
        let failing = process.schedule(0, 2).replace().pause_on_failure();
        failing.every(MINUTE).block_on()?;
        process.advance(200);
        assert!(job.is_paused());
        let expected = [
            (60, 1, 1, 60),
            (70, 1, 2, 60),
            (120, 2, 1, 120),
            (130, 2, 2, 120),
            (180, 3, 1, 180),
            (190, 3, 2, 180),
        ];
        assert_eq!(process.log.entries(), expected);
        let kinds = event_kinds(&mut events, "x");
        assert_eq!(kinds[kinds.len() - 2..], ["run 3 ended FAILED", "Paused"]);
        Ok(())
    })
}

#[test]
fn a_paused_task_or_app_holds_all_its_jobs_also_new_ones() -> Result {
    for of_app in [false, true] {
        in_memory_and_stored(|mut process| {
            let other = process.sim.app().task("other", || async {}).register()?;
            let job = process.schedule(0, 0).every(MINUTE).block_on()?;
            let app = process.sim.app().clone();
            let pause = match of_app {
                true => app.pause(),
                false => process.task.pause(),
            };
            assert_eq!(pause.block_on()?, SteerOutcome::Done);
            assert_eq!(
                (app.is_paused(), process.task.is_paused()),
                (of_app, !of_app)
            );
            let new = process.schedule(0, 0).id("new").push().block_on()?;
            let not_held = other.schedule(()).push().block_on()?;
            process.advance(130);
            assert!(job.is_paused() && new.is_paused());
            assert_eq!(not_held.is_done(), !of_app);
            assert_eq!(process.log.entries(), []);
            // A job of its own pause stays paused.
            job.pause().block_on()?;
            let resume = match of_app {
                true => app.resume(),
                false => process.task.resume(),
            };
            assert_eq!(resume.block_on()?, SteerOutcome::Done);
            process.sim.run_until_stalled();
            assert_eq!(process.log.take(), [(130, 1, 1, 0)], "the new one");
            assert!(not_held.is_done());
            process.advance(60);
            assert_eq!(process.log.take(), []);
            job.resume().block_on()?;
            process.advance(60);
            assert_eq!(process.log.take(), [(240, 1, 1, 240)]);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_job_whose_task_and_app_are_paused_waits_for_both() -> Result {
    in_memory_and_stored(|mut process| {
        let app = process.sim.app().clone();
        let schedule = process.schedule(0, 0).misfire(MISSES_NOTHING);
        let job = schedule.every(MINUTE).block_on()?;
        app.pause().block_on()?;
        process.task.pause().block_on()?;
        process.advance(100);
        app.resume().block_on()?;
        process.advance(100);
        assert!(job.is_paused());
        assert_eq!(process.log.entries(), []);
        process.task.resume().block_on()?;
        process.advance(50);
        assert_eq!(process.log.entries(), [(240, 1, 1, 240)]);
        Ok(())
    })
}

#[test]
fn wait_all_does_not_wait_for_what_a_pause_holds() -> Result {
    in_memory_and_stored(|mut process| {
        let app = process.sim.app().clone();
        let mut all = app.wait_all();
        let schedule = process.schedule(5, 0);
        let job = schedule.every(MINUTE).block_on()?;
        let running = process.schedule(5, 0).id("once").push().block_on()?;
        process.advance(1);
        assert_eq!(poll(&mut all), None);
        job.pause().block_on()?;
        assert_eq!(poll(&mut all), None, "another job runs");
        process.task.pause().block_on()?;
        process.advance(10);
        assert!(running.is_done());
        assert_eq!(poll(&mut all), Some(()));
        // What is asked for by hand runs, and is waited for.
        let mut all = app.wait_all();
        job.run_now().block_on()?;
        assert_eq!(poll(&mut all), None);
        process.advance(2);
        assert_eq!(poll(&mut all), None);
        process.advance(5);
        assert_eq!(poll(&mut all), Some(()));
        job.resume().block_on()?;
        let mut all = app.wait_all();
        assert_eq!(poll(&mut all), Some(()), "its task is still paused");
        process.task.resume().block_on()?;
        let mut all = app.wait_all();
        assert_eq!(poll(&mut all), None);
        job.cancel().block_on()?;
        assert_eq!(poll(&mut all), Some(()));
        Ok(())
    })
}

#[test]
fn an_extra_run_counts_and_leaves_the_times_as_they_are() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).every(MINUTE).block_on()?;
        process.advance(70);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Done);
        process.sim.run_until_stalled();
        assert_eq!(job.exec_at(), at(120));
        let last = job.last_run().unwrap();
        assert_eq!((last.number, last.nominal_time), (2, at(70)));
        process.advance(60);
        let runs = [(60, 1, 1, 60), (70, 2, 1, 70), (120, 3, 1, 120)];
        assert_eq!(process.log.entries(), runs);
        Ok(())
    })
}

#[test]
fn an_extra_run_is_the_last_one_if_the_job_has_no_other_left() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process
            .schedule(0, 0)
            .max_runs(1)
            .every(MINUTE)
            .block_on()?;
        job.run_now().block_on()?;
        process.advance(100);
        assert_eq!(process.log.entries(), [(0, 1, 1, 0)]);
        assert_eq!(job.status(), JobStatus::Success);
        Ok(())
    })
}

#[test]
fn an_extra_run_that_fails_counts_among_the_failures_in_a_row() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 9).max_failures(2);
        let job = schedule.every(MINUTE).block_on()?;
        job.run_now().block_on()?;
        process.advance(80);
        assert_eq!(job.status(), JobStatus::PermanentlyFailed);
        let runs = [(0, 1, 1, 0), (10, 1, 2, 0), (60, 2, 1, 60), (70, 2, 2, 60)];
        assert_eq!(process.log.entries(), runs);
        Ok(())
    })
}

#[test]
fn one_extra_run_is_remembered_while_the_job_runs() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(5, 0).every(MINUTE).block_on()?;
        process.advance(62);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::AfterAttempt);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Unchanged);
        process.advance(5);
        assert_eq!(process.log.take(), [(60, 1, 1, 60), (65, 2, 1, 62)]);
        // During an extra run, too.
        assert_eq!(job.run_now().block_on()?, SteerOutcome::AfterAttempt);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Unchanged);
        process.advance(60);
        assert_eq!(process.log.take(), [(70, 3, 1, 67), (120, 4, 1, 120)]);
        Ok(())
    })
}

/// Regression: with other times, or other exclusions of an interval, the extra run waited
/// for the next regular time.
#[test]
fn an_extra_run_is_made_at_once_if_the_job_was_replaced_meanwhile() -> Result {
    for replacement in [MINUTE, MINUTE * 2] {
        in_memory_and_stored(|mut process| {
            let job = process.schedule(0, 0).every(MINUTE).block_on()?;
            job.run_now().block_on()?;
            let replaced = process.schedule(0, 0).replace();
            replaced.every(replacement).block_on()?;
            process.advance(10);
            assert_eq!(process.log.entries(), [(0, 1, 1, 0)]);
            Ok(())
        })?;
    }
    Ok(())
}

/// Regression: the attempt ran, and the job showed `SCHEDULED` and sent no events.
#[test]
fn a_run_that_was_asked_for_twice_shows_as_running() -> Result {
    in_memory_and_stored(|mut process| {
        let mut events = process.sim.app().events();
        let job = process.schedule(5, 0).every(MINUTE).block_on()?;
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Done);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Unchanged);
        process.advance(1);
        assert_eq!(job.status(), JobStatus::Running);
        let kinds = event_kinds(&mut events, "x");
        assert_eq!(kinds.len(), 3, "scheduled, asked for, started: {kinds:?}");
        Ok(())
    })
}

#[test]
fn run_now_pulls_a_waiting_retry_forward() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 1).every(MINUTE).block_on()?;
        process.advance(63);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Done);
        process.advance(60);
        let runs = [(60, 1, 1, 60), (63, 1, 2, 60), (120, 2, 1, 120)];
        assert_eq!(process.log.entries(), runs, "and makes no extra run");
        Ok(())
    })
}

/// Regression: the job said that it retries, and was cancelled when the retry was due.
#[test]
fn the_retry_of_an_attempt_that_was_asked_for_may_expire() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 1).expires(Duration::from_millis(700));
        let job = schedule.push().block_on()?;
        job.run_now().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(process.log.entries(), [(0, 1, 1, 0)]);
        assert_eq!(
            job.status(),
            JobStatus::Cancelled,
            "the retry would be late"
        );
        Ok(())
    })
}

#[test]
fn a_retry_that_was_asked_for_is_made_although_its_run_has_expired_and_the_next_is_not_early()
-> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 1).every(MINUTE).block_on()?;
        job.pause().block_on()?;
        job.run_now().block_on()?;
        process.advance(30);
        let declared = process.schedule(0, 1).replace().expires(SECOND * 5);
        declared.every(MINUTE).block_on()?;
        job.resume().block_on()?;
        job.run_now().block_on()?;
        process.advance(20);
        assert_eq!(process.log.entries(), [(0, 1, 1, 0), (30, 1, 2, 0)]);
        Ok(())
    })
}

#[test]
fn the_retry_of_an_extra_run_stands_for_the_same_moment() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 1).every(MINUTE).block_on()?;
        process.advance(20);
        job.run_now().block_on()?;
        process.advance(20);
        assert_eq!(process.log.take(), [(20, 1, 1, 20), (30, 1, 2, 20)]);
        assert_eq!(job.exec_at(), at(60));
        process.advance(30);
        assert_eq!(process.log.take(), [(60, 2, 1, 60), (70, 2, 2, 60)]);
        Ok(())
    })
}

#[test]
fn run_now_runs_a_job_that_runs_once_and_only_once() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(5, 0).delay(MINUTE).block_on()?;
        process.advance(10);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Done);
        process.advance(2);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Unchanged);
        process.advance(100);
        assert_eq!(process.log.entries(), [(10, 1, 1, 60)]);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::AlreadyDone);
        Ok(())
    })
}

#[test]
fn run_now_works_while_paused_and_the_pause_stays() -> Result {
    for of_app in [false, true] {
        in_memory_and_stored(|mut process| {
            let app = process.sim.app().clone();
            let pause = |job: &jobber::Job<()>| match of_app {
                true => app.pause().block_on(),
                false => job.pause().block_on(),
            };
            let job = process.schedule(0, 1).every(MINUTE).block_on()?;
            pause(&job)?;
            process.advance(30);
            job.run_now().block_on()?;
            process.advance(30);
            assert_eq!(process.log.take(), [(30, 1, 1, 30)], "its retry is held");
            job.run_now().block_on()?;
            process.advance(60);
            assert_eq!(process.log.take(), [(60, 1, 2, 30)]);
            assert!(job.is_paused());
            let once = process.schedule(0, 0).id("once").paused();
            let once = once.delay(MINUTE).block_on()?;
            once.run_now().block_on()?;
            process.sim.run_until_stalled();
            assert!(once.is_done());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_attempt_that_was_asked_for_does_not_expire() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let process = Process::boot(&machine, &log, true)?;
    let schedule = process.schedule(0, 0).expires(SECOND * 10);
    let job = schedule.every(HOUR).block_on()?;
    assert_eq!(job.run_now().block_on()?, SteerOutcome::Done);
    process.sim.crash();
    machine.clock.advance(MINUTE);
    let mut process = Process::boot(&machine, &log, true)?;
    process.advance(3_600);
    assert_eq!(log.entries(), [(60, 1, 1, 0), (3_600, 2, 1, 3_600)]);
    Ok(())
}

#[test]
fn the_timer_is_woken_by_a_resume_of_a_job_whose_time_has_passed() -> Result {
    for is_stored in [false, true] {
        let (app, clock) = manual_app_with(|app| app.storage(MemoryStorage::new()))?;
        let task = app.task("t", async |_: u32| {}).durable().register()?;
        let schedule = |id: &str| match is_stored {
            true => task.schedule(1).id(id),
            false => task.schedule(1).id(id).in_memory(),
        };
        let once = schedule("once").delay(MINUTE).block_on()?;
        let recurs = schedule("recurs").every(MINUTE).block_on()?;
        once.pause().block_on()?;
        recurs.pause().block_on()?;
        clock.advance(MINUTE);
        // The timer has come for both.
        let waits = |job: &jobber::Job<()>| job.waiting_for() == Some(WaitingFor::Pause);
        wait_until(|| waits(&once) && waits(&recurs));
        let next = recurs.next_run();
        once.resume().block_on()?;
        recurs.resume().catch_up().block_on()?;
        assert_ends(&once, JobStatus::Success);
        assert!(next.block_on().is_some());
        let other = schedule("other").push().block_on()?;
        assert_ends(&other, JobStatus::Success);
    }
    Ok(())
}

#[test]
fn a_run_that_is_moved_later_leaves_out_the_times_before_it() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 0).misfire(MISSES_NOTHING);
        let job = schedule.every(MINUTE).block_on()?;
        process.advance(70);
        assert_eq!(job.move_to(at(250)).block_on()?, SteerOutcome::Done);
        assert_eq!(job.exec_at(), at(250));
        assert_eq!(job.upcoming(3), [at(120), at(300), at(360)]);
        process.advance(240);
        let runs = [(60, 1, 1, 60), (250, 2, 1, 120), (300, 3, 1, 300)];
        assert_eq!(process.log.entries(), runs);
        Ok(())
    })
}

#[test]
fn a_run_that_is_moved_earlier_is_not_made_again_at_its_time() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).every(MINUTE).block_on()?;
        process.advance(70);
        job.move_to(at(80)).block_on()?;
        process.advance(120);
        let runs = [(60, 1, 1, 60), (80, 2, 1, 120), (180, 3, 1, 180)];
        assert_eq!(process.log.entries(), runs);
        Ok(())
    })
}

#[test]
fn two_runs_in_a_row_that_are_moved_earlier_are_not_made_again() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).cron("0 12 * * *").block_on()?;
        job.move_to(at(100)).block_on()?;
        process.advance(100);
        job.move_to(at(200)).block_on()?;
        process.advance(24 * 3_600);
        let noon = 12 * 3_600;
        let runs = [(100, 1, 1, noon), (200, 2, 1, noon + 24 * 3_600)];
        assert_eq!(process.log.entries(), runs);
        Ok(())
    })
}

#[test]
fn a_run_that_was_moved_earlier_is_not_made_again_by_the_next_process() -> Result {
    for trigger in ["every", "rate", "times of day"] {
        let machine = Machine::new();
        let log = Log::new();
        let mut process = Process::boot(&machine, &log, true)?;
        let schedule = process.schedule(0, 0);
        let job = match trigger {
            "every" => schedule.every(HOUR * 12).block_on()?,
            "rate" => schedule.cron("0 */12 * * *").block_on()?,
            _ => schedule.cron("0 0,12 * * *").block_on()?,
        };
        let noon = 12 * 3_600;
        job.move_to(at(600)).block_on()?;
        process.advance(601);
        assert_eq!(log.take(), [(600, 1, 1, noon)], "{trigger}");
        process.sim.crash();
        machine.clock.advance(HOUR);
        let mut process = Process::boot(&machine, &log, true)?;
        assert_eq!(process.task.job("x").unwrap().exec_at(), at(2 * noon));
        process.advance(24 * 3_600);
        assert_eq!(log.take(), [(2 * noon, 2, 1, 2 * noon)], "{trigger}");
    }
    Ok(())
}

/// Regression: a rate left out the time of a moved run once more, hours later.
#[test]
fn a_rate_runs_a_time_again_after_the_clock_was_set_back_also_if_it_was_run_early() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).cron("* * * * *").block_on()?;
        process.advance(10);
        job.move_to(at(20)).block_on()?;
        process.advance(200);
        process.log.take();
        process.sim.set_wall(at(30));
        process.advance(60);
        assert_eq!(process.log.take(), [(60, 4, 1, 60)]);
        Ok(())
    })
}

#[test]
fn delay_by_counts_from_the_time_at_which_the_run_is_due() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).delay(MINUTE).block_on()?;
        job.delay_by(SECOND * 30).block_on()?;
        assert_eq!(job.exec_at(), at(90));
        job.delay_by(SECOND * 5).block_on()?;
        process.advance(100);
        assert_eq!(process.log.entries(), [(95, 1, 1, 60)]);
        Ok(())
    })
}

#[test]
fn a_move_during_a_run_is_of_the_run_after_it() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(5, 1).every(MINUTE).block_on()?;
        process.advance(62);
        let moved = job.delay_by(SECOND * 20).block_on()?;
        assert_eq!(moved, SteerOutcome::AfterAttempt);
        process.advance(80);
        // The retry of the run that goes on is not moved.
        let runs = [(60, 1, 1, 60), (75, 1, 2, 60), (140, 2, 1, 120)];
        assert_eq!(process.log.take(), runs);
        process.advance(60);
        let runs = [(155, 2, 2, 120), (180, 3, 1, 180), (195, 3, 2, 180)];
        assert_eq!(process.log.take(), runs);
        let once = process.schedule(5, 0).id("once").push().block_on()?;
        process.advance(1);
        assert_eq!(once.delay_by(SECOND).block_on()?, SteerOutcome::Unchanged);
        process.advance(10);
        assert_eq!(once.delay_by(SECOND).block_on()?, SteerOutcome::AlreadyDone);
        Ok(())
    })
}

#[test]
fn a_move_of_a_job_that_waits_for_a_retry_moves_the_retry() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 1).every(MINUTE).block_on()?;
        process.advance(61);
        job.delay_by(SECOND * 20).block_on()?;
        assert_eq!(job.exec_at(), at(90));
        process.advance(40);
        assert_eq!(process.log.take(), [(60, 1, 1, 60), (90, 1, 2, 60)]);
        Ok(())
    })
}

#[test]
fn a_time_out_of_range_is_refused_and_moves_nothing() -> Result {
    in_memory_and_stored(|process| {
        let job = process.schedule(0, 0).every(MINUTE).block_on()?;
        let far = time::OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT);
        let error = job.move_to(far).block_on().unwrap_err();
        assert!(matches!(error, MoveError::TimeOutOfRange { value, .. } if value == far));
        let error = job.delay_by(Duration::MAX).block_on().unwrap_err();
        assert!(matches!(error, MoveError::DurationTooLong { .. }));
        assert_eq!(job.exec_at(), at(60));
        Ok(())
    })
}

// Processes and stores.

#[test]
fn pauses_and_what_was_asked_for_survive_a_crash() -> Result {
    for closes in [false, true] {
        let machine = Machine::new();
        let log = Log::new();
        let process = Process::boot(&machine, &log, true)?;
        let job = |id| process.schedule(0, 0).id(id).every(HOUR).block_on();
        job("paused")?.pause().block_on()?;
        let moved = job("moved")?;
        moved.move_to(at(7_200 + 30)).block_on()?;
        let asked = process.schedule(0, 0).id("asked").paused();
        let asked = asked.every(HOUR).block_on()?;
        process.sim.app().pause().block_on()?;
        process.task.pause().block_on()?;
        let Process { mut sim, task, .. } = process;
        drop(task);
        match closes {
            true => _ = sim.shutdown(MINUTE),
            false => sim.crash(),
        }
        assert_eq!(asked.status(), JobStatus::Scheduled);
        machine.clock.advance(HOUR * 3);
        let mut process = Process::boot(&machine, &log, true)?;
        assert!(process.sim.app().is_paused() && process.task.is_paused());
        process.advance(60);
        assert_eq!(log.take(), []);
        process.task.job("asked").unwrap().run_now().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(log.take(), [(10_860, 1, 1, 10_860)]);
        process.sim.app().resume().block_on()?;
        process.task.resume().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(log.take(), [(10_860, 1, 1, 3_600)], "the moved one");
        assert!(process.task.job("paused").unwrap().is_paused());
        process.advance(3_600);
        assert_eq!(log.take(), [(14_400, 2, 1, 14_400)]);
    }
    Ok(())
}

#[test]
fn an_extra_run_that_a_crash_interrupts_is_made_again_and_a_remembered_one_follows() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut process = Process::boot(&machine, &log, true)?;
    let job = process.schedule(5, 0).every(HOUR).block_on()?;
    job.run_now().block_on()?;
    process.advance(2);
    job.run_now().block_on()?;
    assert_eq!(log.take(), [(0, 1, 1, 0)]);
    process.sim.crash();
    let mut process = Process::boot(&machine, &log, true)?;
    process.advance(60);
    assert_eq!(log.take(), [(2, 1, 1, 0), (7, 2, 1, 2)]);
    process.advance(3_600);
    assert_eq!(log.take(), [(3_600, 3, 1, 3_600)]);
    Ok(())
}

#[test]
fn the_retry_of_an_extra_run_survives_a_crash() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut process = Process::boot(&machine, &log, true)?;
    let job = process.schedule(0, 1).every(HOUR).block_on()?;
    job.run_now().block_on()?;
    process.advance(2);
    process.sim.crash();
    let mut process = Process::boot(&machine, &log, true)?;
    process.advance(20);
    assert_eq!(log.take(), [(0, 1, 1, 0), (10, 1, 2, 0)]);
    process.advance(3_600);
    assert_eq!(log.take(), [(3_600, 2, 1, 3_600), (3_610, 2, 2, 3_600)]);
    Ok(())
}

/// Regression: after a crash, a replacement ran at once, because that was asked of the job that
/// it had replaced.
#[test]
fn a_replacement_does_not_run_after_a_crash_because_the_job_before_was_to_run_now() -> Result {
    // Before the first attempt, and during it.
    for has_begun in [false, true] {
        for recurs in [false, true] {
            let machine = Machine::new();
            let log = Log::new();
            let mut process = Process::boot(&machine, &log, true)?;
            let job = match recurs {
                true => process.schedule(5, 0).every(HOUR * 2).block_on()?,
                false => process.schedule(5, 0).delay(HOUR).block_on()?,
            };
            job.run_now().block_on()?;
            process.advance(u64::from(has_begun));
            let replacement = process.schedule(5, 0).replace_any();
            match recurs && has_begun {
                true => replacement.every(HOUR).block_on()?,
                false => replacement.delay(HOUR).block_on()?,
            };
            process.sim.crash();
            log.take();
            let mut process = Process::boot(&machine, &log, true)?;
            process.advance(60);
            assert_eq!(log.take(), [], "begun: {has_begun}, recurs: {recurs}");
        }
    }
    Ok(())
}

#[test]
fn an_extra_run_of_an_attempt_made_at_most_once_is_lost_with_its_process() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let boot = || Process::boot_with(&machine, &log, true, true);
    let mut process = boot()?;
    let job = process.schedule(5, 0).every(HOUR).block_on()?;
    job.run_now().block_on()?;
    process.advance(2);
    process.sim.crash();
    let mut process = boot()?;
    let last = process.task.job("x").unwrap().last_run().unwrap();
    assert_eq!((last.number, last.nominal_time), (1, START));
    assert_eq!(last.status, JobStatus::Failed);
    process.advance(3_600);
    assert_eq!(log.take(), [(0, 1, 1, 0), (3_600, 2, 1, 3_600)]);
    Ok(())
}

#[test]
fn a_run_that_was_asked_for_during_a_normal_one_follows_that_after_a_crash() -> Result {
    for at_most_once in [false, true] {
        let machine = Machine::new();
        let log = Log::new();
        let boot = || Process::boot_with(&machine, &log, true, at_most_once);
        let mut process = boot()?;
        let job = process.schedule(5, 0).every(HOUR).block_on()?;
        process.advance(3_602);
        job.run_now().block_on()?;
        process.sim.crash();
        let mut process = boot()?;
        process.advance(60);
        let again = match at_most_once {
            true => vec![(3_600, 1, 1, 3_600), (3_602, 2, 1, 3_602)],
            false => vec![
                (3_600, 1, 1, 3_600),
                (3_602, 1, 1, 3_602),
                (3_607, 2, 1, 3_600),
            ],
        };
        assert_eq!(log.take(), again, "at most once: {at_most_once}");
    }
    Ok(())
}

/// Regression: a pause after each run was as much longer as the wall clock was set back.
#[test]
fn a_loaded_job_that_was_resumed_waits_no_longer_if_the_clock_is_set_back() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let process = Process::boot(&machine, &log, true)?;
    process
        .schedule(0, 0)
        .paused()
        .after_each(MINUTE)
        .block_on()?;
    process.sim.crash();
    let mut process = Process::boot(&machine, &log, true)?;
    process.advance(100);
    process.task.job("x").unwrap().resume().block_on()?;
    process.sim.set_wall(at(-3_600));
    process.advance(60);
    assert_eq!(log.entries().len(), 1);
    Ok(())
}

#[test]
fn a_pause_of_a_task_is_kept_under_its_new_name() -> Result {
    let machine = Machine::new();
    let process = Process::boot(&machine, &Log::new(), true)?;
    process.task.pause().block_on()?;
    process.sim.crash();
    let mut sim = machine.boot();
    let renamed = sim.app().task("renamed", async |_: Work| {}).alias("t");
    let renamed = renamed.durable().register()?;
    assert!(renamed.is_paused());
    renamed.resume().block_on()?;
    sim.shutdown(MINUTE);
    let sim = machine.boot();
    let old = sim
        .app()
        .task("t", async |_: Work| {})
        .durable()
        .register()?;
    assert!(!old.is_paused());
    Ok(())
}

#[test]
fn what_a_pause_has_left_out_is_left_out_after_a_crash_at_the_resume() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut process = Process::boot(&machine, &log, true)?;
    let schedule = process.schedule(0, 0).misfire(MISSES_NOTHING);
    let job = schedule.every(HOUR).block_on()?;
    process.task.pause().block_on()?;
    process.advance(3_600 * 3 + 60);
    // The commit that ends the pause succeeds, and then the store fails.
    machine.plan_faults([Fault::None]);
    machine.set_fault(Fault::Fail);
    process.task.resume().block_on()?;
    assert!(!job.is_paused());
    process.sim.crash();
    machine.set_fault(Fault::None);
    let mut process = Process::boot(&machine, &log, true)?;
    assert!(!process.task.is_paused());
    process.advance(60);
    assert_eq!(log.take(), []);
    process.advance(3_600);
    assert_eq!(log.take(), [(3_600 * 4, 1, 1, 3_600 * 4)]);
    Ok(())
}

#[test]
fn a_run_that_went_on_during_a_pause_is_made_again_after_a_crash_at_the_resume() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut process = Process::boot(&machine, &log, true)?;
    process.schedule(100, 0).every(HOUR).block_on()?;
    process.advance(3_610);
    process.task.pause().block_on()?;
    process.advance(20);
    process.task.resume().block_on()?;
    process.sim.crash();
    let mut process = Process::boot(&machine, &log, true)?;
    process.advance(20);
    assert_eq!(
        log.take(),
        [(3_600, 1, 1, 3_600), (3_630, 1, 1, 3_630)].map(|mut run| {
            run.3 = 3_600;
            run
        })
    );
    Ok(())
}

#[test]
fn a_store_that_fails_is_reported_and_the_job_is_steered_all_the_same() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut process = Process::boot(&machine, &log, true)?;
    let job = process.schedule(0, 0).every(HOUR).block_on()?;
    machine.set_fault(Fault::Fail);
    assert!(job.pause().block_on().is_err());
    assert!(job.is_paused());
    assert!(process.task.pause().block_on().is_err());
    assert!(!process.task.is_paused(), "the pause of a task is refused");
    machine.set_fault(Fault::None);
    process.advance(60);
    assert!(machine.record("x").unwrap().progress.is_paused);
    process.advance(3_600);
    assert_eq!(log.take(), []);
    process.sim.shutdown(MINUTE);
    assert!(job.resume().block_on().is_err(), "it is the next process's");
    assert!(process.task.resume().block_on().is_err());
    Ok(())
}

#[test]
fn a_paused_job_takes_no_turn_of_those_that_catch_up() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let process = Process::boot(&machine, &log, true)?;
    for number in 0..600 {
        let schedule = process.schedule(0, 0).id(format!("paused-{number}"));
        schedule.paused().delay(SECOND).block_on()?;
    }
    process.schedule(0, 0).delay(MINUTE).block_on()?;
    process.sim.crash();
    machine.clock.advance(HOUR);
    let mut process = Process::boot(&machine, &log, true)?;
    process.sim.run_until_stalled();
    assert_eq!(log.take(), [(3_600, 1, 1, 60)]);
    Ok(())
}

#[test]
fn a_resume_during_an_extra_run_makes_up_nothing() -> Result {
    for of_task in [false, true] {
        in_memory_and_stored(|mut process| {
            let schedule = process.schedule(100, 0).misfire(MISSES_NOTHING);
            let job = schedule.every(MINUTE).block_on()?;
            match of_task {
                true => process.task.pause().block_on()?,
                false => job.pause().block_on()?,
            };
            process.advance(200);
            job.run_now().block_on()?;
            process.advance(10);
            assert_eq!(process.log.take(), [(200, 1, 1, 200)]);
            match of_task {
                true => process.task.resume().block_on()?,
                false => job.resume().block_on()?,
            };
            process.advance(95);
            let nominal: Vec<_> = process.log.take().iter().map(|it| it.3).collect();
            assert!(
                nominal.iter().all(|nominal| *nominal > 210),
                "made up (task: {of_task}): {nominal:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn times_that_pass_in_a_pause_during_a_run_are_left_out() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(200, 0).misfire(MISSES_NOTHING);
        let job = schedule.every(MINUTE).block_on()?;
        process.advance(62);
        job.pause().block_on()?;
        process.advance(130); // 192
        job.resume().block_on()?;
        process.log.take();
        process.advance(100); // 292
        let nominal: Vec<_> = process.log.take().iter().map(|it| it.3).collect();
        assert!(nominal.iter().all(|it| *it > 192), "{nominal:?}");
        Ok(())
    })
}

#[test]
fn the_failure_of_another_series_does_not_pause_the_new_one() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(5, 9).retry(Backoff::fixed(0, SECOND));
        let job = job.every(MINUTE).block_on()?;
        process.advance(62);
        let new = process.schedule(5, 0).replace().pause_on_failure();
        new.start_date(START).every(HOUR).block_on()?;
        process.advance(10);
        assert_eq!(job.last_run(), None, "no run of this series has ended");
        assert!(!job.is_paused(), "paused by a run that is not its own");
        Ok(())
    })
}

#[test]
fn an_extra_run_that_was_replaced_is_not_made_again_after_a_crash() -> Result {
    for at_most_once in [true, false] {
        let machine = Machine::new();
        let log = Log::new();
        let boot = || Process::boot_with(&machine, &log, true, at_most_once);
        let mut process = boot()?;
        let job = process.schedule(5, 0).every(HOUR).block_on()?;
        job.run_now().block_on()?;
        process.advance(2);
        assert_eq!(log.take(), [(0, 1, 1, 0)]);
        process
            .schedule(5, 0)
            .replace()
            .every(HOUR * 2)
            .block_on()?;
        process.sim.crash();
        let mut process = boot()?;
        process.advance(60);
        assert_eq!(log.take(), [], "at most once: {at_most_once}");
    }
    Ok(())
}

#[test]
fn a_replacement_that_runs_once_keeps_its_time_after_a_crash() -> Result {
    for at_most_once in [true, false] {
        let machine = Machine::new();
        let log = Log::new();
        let boot = || Process::boot_with(&machine, &log, true, at_most_once);
        let mut process = boot()?;
        let job = process.schedule(5, 0).every(HOUR).block_on()?;
        job.run_now().block_on()?;
        process.advance(2);
        assert_eq!(log.take(), [(0, 1, 1, 0)]);
        process
            .schedule(5, 0)
            .replace_any()
            .delay(HOUR * 2)
            .block_on()?;
        process.sim.crash();
        let mut process = boot()?;
        process.advance(60);
        assert_eq!(log.take(), [], "at most once: {at_most_once}");
    }
    Ok(())
}

#[test]
fn an_extra_run_that_waits_is_made_at_once_although_the_job_is_replaced() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).every(HOUR).block_on()?;
        job.run_now().block_on()?;
        process
            .schedule(0, 0)
            .replace()
            .every(HOUR * 2)
            .block_on()?;
        process.advance(60);
        assert_eq!(process.log.entries(), [(0, 1, 1, 0)]);
        Ok(())
    })
}

#[test]
fn the_retry_of_an_extra_run_keeps_its_time_if_other_times_are_excluded() -> Result {
    let clock = jobber::testing::ManualClock::new();
    let mut sim = Simulation::with(0, clock.clone(), |app| {
        let night = jobber::Exclusions::new();
        let night = night.times_of_day(time::macros::time!(0:30), time::macros::time!(6:00));
        app.calendar("night", night.unwrap())
    })?;
    let log = Log::new();
    let entries = log.clone();
    let seconds = move || (clock.wall() - START).whole_seconds();
    let work = move |cx: JobContext| {
        entries.add((seconds(), cx.attempt()));
        async move { Err::<(), _>("no") }
    };
    let task = sim.app().task("t", work);
    let task = task.retry(Backoff::fixed(1, SECOND * 10)).register()?;
    let job = task.schedule(()).id("x").every(HOUR).block_on()?;
    job.run_now().block_on()?;
    sim.advance(SECOND);
    assert_eq!(log.entries(), [(0, 1)]);
    let replaced = task.schedule(()).id("x").replace().except("night");
    replaced.every(HOUR).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [(0, 1), (10, 2)]);
    Ok(())
}

#[test]
fn a_run_that_is_delayed_before_the_clock_is_set_is_not_early() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    machine.clock.set_wall(time::OffsetDateTime::UNIX_EPOCH);
    let _ = machine.clock.clone().with_earliest_true_time(START);
    for is_stored in [false, true] {
        machine.clock.set_wall(time::OffsetDateTime::UNIX_EPOCH);
        let mut process = Process::boot(&machine, &log, is_stored)?;
        let job = process.schedule(0, 0).id("h").every(HOUR).block_on()?;
        job.delay_by(HOUR).block_on()?;
        process.advance(60);
        process.sim.set_wall(START + HOUR * 24);
        process.advance(60);
        assert_eq!(log.take(), [], "stored: {is_stored}");
        job.cancel().block_on()?;
    }
    Ok(())
}

#[test]
fn two_runs_that_are_moved_earlier_are_not_made_again() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).every(MINUTE).block_on()?;
        process.advance(70);
        job.move_to(at(80)).block_on()?;
        process.advance(11); // 81
        job.move_to(at(90)).block_on()?;
        process.advance(200);
        let runs = [
            (60, 1, 1, 60),
            (80, 2, 1, 120),
            (90, 3, 1, 180),
            (240, 4, 1, 240),
        ];
        assert_eq!(process.log.entries(), runs);
        Ok(())
    })
}

#[test]
fn upcoming_leaves_out_runs_that_were_moved_earlier() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).cron("0 * * * *").block_on()?;
        process.advance(70);
        job.move_to(at(80)).block_on()?;
        process.advance(11);
        job.move_to(at(90)).block_on()?;
        process.advance(11);
        assert_eq!(job.upcoming(2), [at(3 * 3600), at(4 * 3600)]);
        Ok(())
    })
}

#[test]
fn what_was_asked_of_a_replaced_job_is_forgotten_also_in_the_store() -> Result {
    for recurs in [false, true] {
        let machine = Machine::new();
        let log = Log::new();
        let process = Process::boot(&machine, &log, true)?;
        let job = process.schedule(0, 0).delay(HOUR).block_on()?;
        job.run_now().block_on()?;
        let new = process.schedule(0, 0).replace();
        let job = match recurs {
            true => new.every(HOUR * 2).block_on()?,
            false => new.delay(HOUR * 2).block_on()?,
        };
        let due = job.exec_at();
        assert_eq!(due, at(7_200));
        process.sim.crash();
        let mut process = Process::boot(&machine, &log, true)?;
        process.advance(60);
        assert_eq!(log.take(), [], "recurs: {recurs}");
    }
    Ok(())
}

#[test]
fn a_pause_of_unknown_outcome_is_undone_by_a_resume() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let process = Process::boot(&machine, &log, true)?;
    machine.plan_faults([Fault::Tear]);
    assert!(process.task.pause().block_on().is_err());
    assert!(!process.task.is_paused(), "nothing is paused");
    // The user makes sure of it.
    process.task.resume().block_on()?;
    process.schedule(0, 0).every(MINUTE).block_on()?;
    process.sim.crash();
    let process = Process::boot(&machine, &log, true)?;
    assert!(!process.task.is_paused());
    Ok(())
}

#[test]
fn a_resume_of_unknown_outcome_is_undone_by_a_pause() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let process = Process::boot(&machine, &log, true)?;
    process.task.pause().block_on()?;
    machine.plan_faults([Fault::Tear]);
    assert!(process.task.resume().block_on().is_err());
    assert!(process.task.is_paused(), "it is still paused");
    // The user makes sure of it.
    process.task.pause().block_on()?;
    process.sim.crash();
    let process = Process::boot(&machine, &log, true)?;
    assert!(process.task.is_paused());
    Ok(())
}

#[test]
fn a_task_is_paused_if_one_of_its_names_is() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let a = sim
        .app()
        .task("a", async |_: Work| {})
        .durable()
        .register()?;
    let b = sim
        .app()
        .task("b", async |_: Work| {})
        .durable()
        .register()?;
    a.pause().block_on()?;
    a.resume().block_on()?;
    b.pause().block_on()?;
    sim.crash();
    let sim = machine.boot();
    let b = sim.app().task("b", async |_: Work| {}).alias("a");
    let b = b.durable().register()?;
    assert!(b.is_paused());
    Ok(())
}

#[test]
fn an_extra_run_that_waits_is_made_although_the_resume_finds_no_time() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 0).until(at(150));
        let job = schedule.every(MINUTE).block_on()?;
        process.advance(70);
        job.pause().block_on()?;
        process.advance(100);
        process.log.take();
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Done);
        job.resume().block_on()?;
        process.advance(1);
        assert_eq!(process.log.take(), [(170, 2, 1, 170)]);
        Ok(())
    })
}

#[test]
fn the_retry_of_an_extra_run_is_made_although_the_resume_finds_no_time() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 1).until(at(150));
        let job = schedule.every(MINUTE).block_on()?;
        process.advance(80);
        job.pause().block_on()?;
        process.advance(100);
        process.log.take();
        job.run_now().block_on()?;
        process.advance(20);
        assert_eq!(process.log.take(), [(180, 2, 1, 180)]);
        job.resume().block_on()?;
        process.advance(20);
        assert_eq!(process.log.take(), [(200, 2, 2, 180)]);
        assert_eq!(job.last_run().map(|run| run.number), Some(2));
        Ok(())
    })
}

#[test]
fn upcoming_during_an_extra_run_has_the_next_time() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(5, 0).every(MINUTE).block_on()?;
        process.advance(10);
        job.run_now().block_on()?;
        process.advance(2);
        assert_eq!(job.status(), JobStatus::Running);
        assert_eq!(job.upcoming(3), [at(60), at(120), at(180)]);
        Ok(())
    })
}

#[test]
fn upcoming_during_the_retry_of_an_extra_run_has_the_next_time() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(5, 1).every(MINUTE).block_on()?;
        process.advance(10);
        job.run_now().block_on()?;
        process.advance(7);
        assert_eq!(job.upcoming(2), [at(60), at(120)]);
        process.advance(10);
        assert_eq!(job.status(), JobStatus::Running);
        assert_eq!(job.upcoming(2), [at(60), at(120)]);
        Ok(())
    })
}

#[test]
fn a_run_that_catches_up_is_made_again_after_a_crash() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut process = Process::boot(&machine, &log, true)?;
    let schedule = process.schedule(100, 0).misfire(MISSES_NOTHING);
    let job = schedule.every(HOUR).block_on()?;
    job.pause().block_on()?;
    process.task.pause().block_on()?;
    process.advance(2 * 3_600 + 60);
    process.task.resume().block_on()?;
    process.advance(60);
    job.resume().catch_up().block_on()?;
    process.advance(10);
    assert_eq!(log.take(), [(7_320, 1, 1, 3_600)]);
    process.sim.crash();
    let mut process = Process::boot(&machine, &log, true)?;
    process.advance(200);
    let nominal: Vec<_> = log.take().iter().map(|it| it.3).collect();
    assert_eq!(nominal, [3_600, 7_200]);
    Ok(())
}

#[test]
fn a_job_whose_app_was_resumed_and_whose_task_catches_up_does_so_after_a_crash() -> Result {
    for crashes in [false, true] {
        let machine = Machine::new();
        let log = Log::new();
        let mut process = Process::boot(&machine, &log, true)?;
        let schedule = process.schedule(0, 0).misfire(MISSES_NOTHING);
        schedule.every(HOUR).block_on()?;
        process.task.pause().block_on()?;
        process.sim.app().pause().block_on()?;
        process.advance(2 * 3_600 + 60);
        process.sim.app().resume().block_on()?;
        if crashes {
            process.sim.crash();
            process = Process::boot(&machine, &log, true)?;
        }
        process.advance(10);
        process.task.resume().catch_up().block_on()?;
        process.advance(10);
        let nominal: Vec<_> = log.take().iter().map(|it| it.3).collect();
        assert_eq!(nominal, [3_600, 7_200], "crashes: {crashes}");
    }
    Ok(())
}

#[test]
fn run_now_runs_a_paused_job_that_would_have_expired() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 0).expires(SECOND * 10);
        let job = schedule.delay(MINUTE).block_on()?;
        job.pause().block_on()?;
        process.advance(100);
        assert_eq!(job.run_now().block_on()?, SteerOutcome::Done);
        process.advance(1);
        assert_eq!(process.log.entries(), [(100, 1, 1, 60)]);
        Ok(())
    })
}

#[test]
fn what_a_pause_has_left_out_is_left_out_if_the_moved_run_has_expired() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 0).misfire(MISSES_NOTHING);
        let schedule = schedule.expires(SECOND * 300);
        let job = schedule.every(MINUTE).block_on()?;
        job.move_to(at(65)).block_on()?;
        process.advance(62);
        job.pause().block_on()?;
        process.advance(450); // 512
        job.resume().block_on()?;
        process.advance(20);
        assert_eq!(process.log.entries(), []);
        Ok(())
    })
}

#[test]
fn the_retry_of_an_extra_run_does_not_expire_if_the_clock_is_set() -> Result {
    in_memory_and_stored(|mut process| {
        let schedule = process.schedule(0, 1).expires(SECOND * 30);
        let job = schedule.every(HOUR).block_on()?;
        process.advance(10);
        job.run_now().block_on()?;
        process.advance(5);
        process.sim.set_wall(at(15 + 600));
        process.advance(10);
        let attempts: Vec<_> = process.log.entries().iter().map(|it| it.2).collect();
        assert_eq!(attempts, [1, 2]);
        Ok(())
    })
}

#[test]
fn a_job_that_is_done_is_not_paused() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(0, 0).paused().delay(HOUR).block_on()?;
        job.run_now().block_on()?;
        process.advance(1);
        assert!(job.is_done());
        assert!(!job.is_paused());
        Ok(())
    })
}

#[test]
fn a_run_that_is_moved_earlier_in_the_next_process_leaves_the_grid_as_it_is() -> Result {
    for loads in [false, true] {
        let machine = Machine::new();
        let log = Log::new();
        let mut process = Process::boot(&machine, &log, true)?;
        process.schedule(0, 0).every(HOUR).block_on()?;
        if loads {
            process.sim.crash();
            process = Process::boot(&machine, &log, true)?;
        }
        let job = process.task.job("x").unwrap();
        job.move_to(at(600)).block_on()?;
        process.advance(601);
        assert_eq!(log.take(), [(600, 1, 1, 3_600)]);
        assert_eq!(job.exec_at(), at(7_200), "loads: {loads}");
    }
    Ok(())
}

#[test]
fn delay_by_counts_from_the_due_time_of_a_loaded_retry_of_an_extra_run() -> Result {
    for loads in [false, true] {
        let machine = Machine::new();
        let log = Log::new();
        let mut process = Process::boot(&machine, &log, true)?;
        let job = process.schedule(0, 1).every(MINUTE).block_on()?;
        job.pause().block_on()?;
        job.run_now().block_on()?;
        process.advance(1);
        job.delay_by(SECOND * 90).block_on()?;
        assert_eq!(job.exec_at(), at(100));
        if loads {
            process.sim.crash();
            process = Process::boot(&machine, &log, true)?;
        }
        let job = process.task.job("x").unwrap();
        job.delay_by(SECOND * 10).block_on()?;
        assert_eq!(job.exec_at(), at(110), "loads: {loads}");
    }
    Ok(())
}

#[test]
fn a_run_that_is_made_up_is_due_then_also_if_an_extra_run_waits_for_a_retry() -> Result {
    for loads in [false, true] {
        let machine = Machine::new();
        let log = Log::new();
        let mut process = Process::boot(&machine, &log, true)?;
        // The run for 60 ends at 200; the one for 120 is due then, and a pause holds it.
        let schedule = process.schedule(65, 1).misfire(MISSES_NOTHING);
        let job = schedule.every(MINUTE).block_on()?;
        process.advance(65);
        job.pause().block_on()?;
        process.advance(65);
        job.run_now().block_on()?;
        process.advance(70); // 200: the run for 60 has ended at 195.
        let due = job.exec_at();
        assert_eq!(due, at(195));
        job.run_now().block_on()?;
        process.advance(70); // The extra run waits for its retry.
        if loads {
            process.sim.crash();
            process = Process::boot(&machine, &log, true)?;
        }
        let job = process.task.job("x").unwrap();
        job.run_now().block_on()?;
        process.advance(70);
        assert_eq!(job.exec_at(), due, "loads: {loads}");
    }
    Ok(())
}

#[test]
fn a_moved_job_takes_no_turn_of_those_that_catch_up() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let process = Process::boot(&machine, &log, true)?;
    for number in 0..900 {
        let schedule = process.schedule(1, 0).id(format!("a-{number:04}"));
        schedule
            .at(at(1) + Duration::from_millis(number))
            .block_on()?;
    }
    process.schedule(0, 0).delay(MINUTE).block_on()?;
    process.sim.crash();
    machine.clock.advance(HOUR);
    let mut process = Process::boot(&machine, &log, true)?;
    process.sim.run_until_stalled();
    assert_eq!(log.entries().len(), 256);
    for number in 256..900 {
        let job = process.task.job(format!("a-{number:04}")).unwrap();
        job.delay_by(HOUR * 10).block_on()?;
    }
    process.advance(2);
    assert_eq!(log.entries().len(), 257, "x has a turn");
    Ok(())
}

#[test]
fn the_pause_stays_from_memory_to_the_store_and_back() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let process = Process::boot(&machine, &log, false)?;
    let job = process.schedule(0, 0).every(MINUTE).block_on()?;
    job.pause().block_on()?;
    let schedule = process.task.schedule((0, 0)).id("x").replace();
    schedule.every(MINUTE).block_on()?;
    assert!(machine.record("x").unwrap().progress.is_paused);
    process.sim.crash();
    let mut process = Process::boot(&machine, &log, false)?;
    process.advance(200);
    let job = process.task.job("x").unwrap();
    assert!(job.is_paused());
    process.schedule(0, 0).replace().every(MINUTE).block_on()?;
    assert!(machine.record("x").is_none() && job.is_paused());
    process.advance(200);
    assert_eq!(log.take(), []);
    job.resume().block_on()?;
    process.advance(60);
    assert_eq!(log.take().len(), 1);
    Ok(())
}

/// Steps of a pause of its task and one of the app, in all orders: nothing is left counted.

#[test]
fn a_shutdown_returns_at_once_if_a_pause_holds_all() -> Result {
    for is_stored in [false, true] {
        let app = jobber::Jobber::builder().storage(jobber::MemoryStorage::new());
        let app = app.build()?;
        app.start().block_on()?;
        let task = app.task("t", async |_: u32| {}).durable().register()?;
        for number in 0..20 {
            let schedule = task.schedule(number).paused();
            let schedule = if is_stored {
                schedule
            } else {
                schedule.in_memory()
            };
            schedule.push().block_on()?;
        }
        task.pause().block_on()?;
        let start = std::time::Instant::now();
        let report = app.shutdown(Duration::from_secs(20)).block_on();
        assert!(start.elapsed() < Duration::from_secs(5), "{report:?}");
    }
    Ok(())
}

fn held_work(
    app: &crate::held_app::HeldApp,
    log: &Log<(u64, i64)>,
    at_most_once: bool,
) -> Result<Task<u32, ()>> {
    let (log, clock) = (log.clone(), app.clock.clone());
    let task = app.app.task("w", move |cx: JobContext, _: u32| {
        let nominal = (cx.nominal_time() - START).whole_milliseconds() as i64;
        log.add((cx.run_number(), nominal));
        clock.sleep(SECOND * 5)
    });
    let task = task.durable();
    let task = if at_most_once {
        task.at_most_once()
    } else {
        task
    };
    Ok(task.register()?)
}

#[test]
fn an_extra_run_asked_for_while_a_replacement_is_stored_is_made_at_once() -> Result {
    use std::future::IntoFuture;
    let mut app = crate::held_app::HeldApp::new()?;
    let log = Log::new();
    let task = held_work(&app, &log, false)?;
    let job = task.schedule(1).id("x").every(HOUR).block_on()?;
    app.occupy_store()?;
    let mut replace = task.schedule(1).id("x").replace().every(HOUR * 2);
    crate::support::begin(&mut replace);
    let mut run_now = job.run_now().into_future();
    crate::support::begin(&mut run_now);
    app.release()?;
    futures_lite::future::block_on(replace)?;
    let outcome = futures_lite::future::block_on(run_now)?;
    app.advance(SECOND * 6)?;
    app.advance(SECOND * 6)?;
    assert_eq!(log.take(), [(1, 0)], "{outcome:?}");
    Ok(())
}

/// Regression: a later run was moved, since the loaded job waited for its replacement.
#[test]
fn a_move_during_a_run_that_is_replaced_is_of_the_replacement_also_after_a_crash() -> Result {
    for crashes in [false, true] {
        for by in [false, true] {
            for recurs in [false, true] {
                let machine = Machine::new();
                let log = Log::new();
                let mut process = Process::boot(&machine, &log, true)?;
                let schedule = process.task.schedule((2, 0)).id("x");
                let job = schedule.every(SECOND * 10).block_on()?;
                process.sim.advance(SECOND * 11);
                let again = process.task.schedule((0, 0)).id("x").replace_any();
                match recurs {
                    true => again.every(HOUR).block_on()?,
                    false => again.at(START + HOUR + SECOND * 10).block_on()?,
                };
                let due = START + HOUR + SECOND * 10;
                let outcome = match by {
                    true => job.delay_by(MINUTE).block_on()?,
                    false => job.move_to(due + MINUTE).block_on()?,
                };
                assert_eq!(outcome, SteerOutcome::AfterAttempt);
                drop(job);
                if crashes {
                    process.sim.crash();
                    process = Process::boot(&machine, &log, true)?;
                } else {
                    process.sim.advance(SECOND);
                }
                let job = process.task.job("x").unwrap();
                let times = format!("crashes: {crashes}, by: {by}, recurs: {recurs}");
                assert_eq!(job.exec_at(), due + MINUTE, "{times}");
                process.sim.advance(HOUR + MINUTE * 2);
                match recurs {
                    true => assert_eq!(job.exec_at(), due + HOUR, "{times}"),
                    false => assert!(job.is_done(), "{times}"),
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_replacement_of_a_replacement_with_the_same_times_goes_on_with_them() -> Result {
    in_memory_and_stored(|mut process| {
        let job = process.schedule(100, 0).every(MINUTE * 2).block_on()?;
        process.advance(130);
        process.schedule(1, 0).replace().every(MINUTE).block_on()?;
        process.advance(60);
        // Other arguments, and the same times: not counted anew from here.
        process.schedule(2, 0).replace().every(MINUTE).block_on()?;
        process.advance(32);
        assert_eq!(process.log.take(), [(120, 1, 1, 120), (220, 2, 1, 180)]);
        assert_eq!(job.exec_at(), at(240));
        Ok(())
    })
}

#[test]
fn a_loaded_job_whose_pause_ends_during_an_extra_run_goes_on_from_then() -> Result {
    let (machine, log) = (Machine::new(), Log::new());
    let process = Process::boot(&machine, &log, true)?;
    process.schedule(40, 0).after_each(MINUTE).block_on()?;
    process.sim.crash();
    let mut process = Process::boot(&machine, &log, true)?;
    let job = process.task.job("x").ok_or("it is gone")?;
    process.advance(50);
    job.run_now().block_on()?;
    process.advance(20);
    process.task.pause().block_on()?;
    process.task.resume().block_on()?;
    process.advance(20);
    assert_eq!(job.exec_at(), at(130));
    process.advance(60);
    assert_eq!(log.take(), [(50, 1, 1, 50), (130, 2, 1, 130)]);
    Ok(())
}
