//! Steering jobs by hand: pause, resume, run now, move. In memory and stored, the same.

use std::time::Duration;

use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, START, event_kinds, poll};
use crate::tasks::at;
use jobber::testing::{Fault, Simulation};
use jobber::{
    Backoff, BoxError, Clock, JobContext, JobError, JobStatus, Misfire, MoveError, Schedule,
    SteerOutcome, Task,
};

/// When an attempt started, its run, its attempt in that, and the time that it stands for; in
/// seconds.
type Started = (i64, u64, u32, i64);

/// How long each attempt takes, in seconds, and how many attempts of each run fail.
type Work = (u64, u32);

/// A process with a task that logs its attempts.
struct Process {
    sim: Simulation,
    task: Task<Work, ()>,
    log: Log<Started>,
    is_stored: bool,
}

impl Process {
    fn boot(machine: &Machine, log: &Log<Started>, is_stored: bool) -> Result<Self> {
        Self::boot_with(machine, log, is_stored, false)
    }

    fn boot_with(
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
    fn schedule(&self, take: u64, fails: u32) -> Schedule<Work, ()> {
        let schedule = self.task.schedule((take, fails)).id("x");
        match self.is_stored {
            true => schedule,
            false => schedule.in_memory(),
        }
    }

    fn advance(&mut self, seconds: u64) {
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

const MISSES_NOTHING: Misfire = Misfire::All(99);

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
fn an_extra_run_that_would_start_too_late_is_left_out() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let process = Process::boot(&machine, &log, true)?;
    let schedule = process.schedule(0, 0).expires(SECOND * 10);
    let job = schedule.every(HOUR).block_on()?;
    let asked = job.run_now();
    assert_eq!(asked.block_on()?, SteerOutcome::Done);
    process.sim.crash();
    machine.clock.advance(MINUTE);
    let mut process = Process::boot(&machine, &log, true)?;
    process.advance(3_600);
    assert_eq!(log.entries(), [(3_600, 1, 1, 3_600)]);
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
