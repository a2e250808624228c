//! Rates: how often attempts may start. In memory and stored, the same.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::process::{Process, in_memory_and_stored};
use crate::support::{HOUR, MINUTE, Machine, NANOSECOND, Result, SECOND, event_kinds};
use jobber::{
    Backoff, JobStatus, Jobber, Limit, Rate, RegisterError, ScheduleError, Task, WaitingFor,
};

/// Lets time pass, and returns when each job has started, in seconds from now.
fn starts(process: &mut Process, seconds: u64) -> Vec<(u64, u32)> {
    let mut found = Vec::new();
    for second in 0..=seconds {
        process.advance(u64::from(second > 0));
        found.extend(process.log.take().into_iter().map(|one| (second, one)));
    }
    found
}

#[test]
fn a_burst_starts_at_once_and_then_one_after_the_other() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").rate(Rate::new(3, SECOND * 30));
        let task = task.register()?;
        for number in 0..6 {
            process.push(&task, number, 100)?;
        }
        assert_eq!(
            starts(&mut process, 40),
            [(0, 0), (0, 1), (0, 2), (10, 3), (20, 4), (30, 5)]
        );
        // It has recovered by two thirds, and then wholly.
        process.advance(10);
        for number in 0..3 {
            process.push(&task, number, 0)?;
        }
        assert_eq!(starts(&mut process, 20), [(0, 0), (0, 1), (10, 2)]);
        Ok(())
    })
}

#[test]
fn a_rate_is_not_early_by_a_nanosecond() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").rate(Rate::new(3, SECOND * 10));
        let task = task.register()?;
        for number in 0..4 {
            process.push(&task, number, 0)?;
        }
        // A third of ten seconds, rounded up.
        process.sim.advance(Duration::from_nanos(3_333_333_333));
        assert_eq!(process.log.take(), [0, 1, 2]);
        process.sim.advance(NANOSECOND);
        assert_eq!(process.log.take(), [3]);
        Ok(())
    })
}

#[test]
fn a_job_that_waits_for_a_rate_says_so_and_keeps_its_due_time() -> Result {
    in_memory_and_stored(|mut process| {
        let mut events = process.sim.app().events();
        let task = process.task("t").rate(Rate::new(1, MINUTE)).register()?;
        process.push(&task, 0, 0)?;
        let second = process.push(&task, 1, 0)?;
        let due = second.exec_at();
        process.advance(30);
        assert_eq!(second.status(), JobStatus::Scheduled);
        assert_eq!(second.waiting_for(), Some(WaitingFor::Rate));
        assert_eq!(second.exec_at(), due);
        let kinds = event_kinds(&mut events, &second.id().to_string());
        assert!(kinds.iter().any(|kind| kind.contains("Rate")), "{kinds:?}");
        assert_eq!(WaitingFor::Rate.to_string(), "the rate of its task");
        process.advance(30);
        assert!(second.is_done());
        Ok(())
    })
}

#[test]
fn each_key_has_a_rate_of_its_own_which_outlives_its_jobs() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process
            .task("t")
            .rate_by(Rate::new(1, SECOND * 10), |(number, _)| {
                (number % 2).to_string()
            });
        let task = task.register()?;
        for number in 0..4 {
            process.push(&task, number, 0)?;
        }
        assert_eq!(starts(&mut process, 12), [(0, 0), (0, 1), (10, 2), (10, 3)]);
        // No job of the key is left since two seconds. Its rate is known all the same.
        let job = process.push(&task, 4, 0)?;
        process.sim.run_until_stalled();
        let zero = WaitingFor::RateOfKey("0".into());
        assert_eq!(zero.to_string(), "the rate of the key 0");
        assert_eq!(job.waiting_for(), Some(zero));
        assert_eq!(starts(&mut process, 10), [(8, 4)]);
        Ok(())
    })
}

#[test]
fn a_limit_by_one_key_and_a_rate_by_another_are_taken_together() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process
            .task("t")
            .limit_by(1, |(number, _)| (number % 2).to_string())
            .rate_by(Rate::new(1, SECOND * 10), |(number, _)| {
                (number / 10).to_string()
            });
        let task = task.register()?;
        // The limits are held for 25 seconds.
        for number in [0, 1, 10, 11, 20] {
            process.push(&task, number, 25)?;
        }
        assert_eq!(
            starts(&mut process, 60),
            // 1 waits for the rate of 0, and then for the limit of 11. 10 waits for the limit of 0.
            [(0, 0), (0, 11), (25, 10), (25, 1), (50, 20)]
        );
        Ok(())
    })
}

#[test]
fn a_job_that_waits_for_a_limit_or_is_cancelled_uses_up_no_rate() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).rate(Rate::new(2, SECOND * 60));
        let task = task.register()?;
        process.push(&task, 0, 100)?;
        let in_line = process.push(&task, 1, 0)?;
        process.push(&task, 2, 0)?;
        assert_eq!(starts(&mut process, 99), [(0, 0)]);
        assert_eq!(in_line.waiting_for(), Some(WaitingFor::TaskLimit));
        assert!(in_line.cancel().block_on()?.took_effect());
        process.push(&task, 3, 0)?;
        // The burst of two is whole: both start together when the limit is free.
        assert_eq!(starts(&mut process, 10), [(1, 2), (1, 3)]);
        Ok(())
    })
}

/// Regression: it took its limits and its rate, and gave them back when it could not begin.
#[test]
fn a_job_that_is_pushed_while_its_task_is_paused_takes_no_rate() -> Result {
    in_memory_and_stored(|mut process| {
        let paused = process.task("paused").rate(Rate::new(1, HOUR));
        let paused = paused.register()?;
        paused.pause().block_on()?;
        let job = process.push(&paused, 0, 10)?;
        process.advance(20);
        assert_eq!(job.waiting_for(), Some(WaitingFor::Pause));
        paused.resume().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(job.status(), JobStatus::Running);
        Ok(())
    })
}

/// Regression: it stayed in line, and took its limits and its rate without a start.
#[test]
fn a_job_whose_task_is_paused_while_it_waits_takes_no_rate() -> Result {
    in_memory_and_stored(|mut process| {
        let limit = Limit::new(1);
        let task = process.task("t").limit(&limit).rate(Rate::new(1, HOUR));
        let task = task.register()?;
        let other = process.task("other").limit(&limit).register()?;
        process.push(&other, 0, 10)?;
        let job = process.push(&task, 1, 10)?;
        process.sim.run_until_stalled();
        assert_eq!(job.waiting_for(), Some(WaitingFor::SharedLimit));
        task.pause().block_on()?;
        assert_eq!(job.waiting_for(), Some(WaitingFor::Pause));
        process.advance(20);
        task.resume().block_on()?;
        process.sim.run_until_stalled();
        assert_eq!(job.status(), JobStatus::Running);
        Ok(())
    })
}

#[test]
fn each_attempt_counts_also_a_retry() -> Result {
    for is_stored in [false, true] {
        let mut process = Process::boot(&Machine::new(), is_stored);
        let log = process.log.clone();
        let task = process.sim.app().task("t", move |number: u32| {
            log.add(number);
            async { Err::<(), _>("no") }
        });
        let task = task
            .retry(Backoff::fixed(2, SECOND))
            .rate(Rate::new(1, SECOND * 10))
            .durable()
            .register()?;
        for number in [0, 1] {
            let schedule = task.schedule(number);
            let schedule = match is_stored {
                true => schedule,
                false => schedule.in_memory(),
            };
            schedule.push().block_on()?;
        }
        // The retry of 0 is due at 1: later than 1, which waits since 0.
        let expected = [(0, 0), (10, 1), (20, 0), (30, 1), (40, 0), (50, 1)];
        assert_eq!(starts(&mut process, 60), expected);
    }
    Ok(())
}

#[test]
fn the_priority_decides_among_those_that_wait_for_a_rate() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").rate(Rate::new(1, SECOND * 10));
        let task = task.register()?;
        for number in 0..3 {
            process.push(&task, number, 0)?;
        }
        process.advance(5);
        let schedule = process.schedule(&task, 9, 0).priority(1);
        schedule.push().block_on()?;
        process.advance(20);
        assert_eq!(process.log.take(), [0, 9, 1]);
        Ok(())
    })
}

#[test]
fn a_setting_of_the_wall_clock_does_not_change_a_rate() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").rate(Rate::new(1, SECOND * 10));
        let task = task.register()?;
        for number in 0..3 {
            process.push(&task, number, 0)?;
        }
        process.advance(1);
        let wall = process.sim.clock();
        process.sim.set_wall(jobber::Clock::wall(&wall) + HOUR);
        assert_eq!(process.log.take(), [0]);
        process.sim.set_wall(jobber::Clock::wall(&wall) - HOUR * 3);
        assert_eq!(starts(&mut process, 20), [(9, 1), (19, 2)]);
        Ok(())
    })
}

#[test]
fn a_stored_job_keeps_its_key_and_a_new_process_begins_a_new_burst() -> Result {
    let machine = Machine::new();
    let start = |process: &Process| -> Result<Task<(u32, u64), ()>> {
        let task = process.task("t").limit_by(1, |_| "limit");
        let key = |(number, _): &(u32, u64)| format!("rate {number}");
        Ok(task.rate_by(Rate::new(1, HOUR), key).register()?)
    };
    let mut process = Process::boot(&machine, true);
    let task = start(&process)?;
    let _ = process.schedule(&task, 7, 0).id("a").push().block_on()?;
    let _ = process.schedule(&task, 7, 0).id("b").push().block_on()?;
    let _ = process.schedule(&task, 7, 0).id("c").push().block_on()?;
    process.sim.run_until_stalled();
    assert_eq!(process.log.take(), [7]);
    process.sim.crash();
    let mut process = Process::boot(&machine, true);
    let task = start(&process)?;
    process.sim.run_until_stalled();
    assert_eq!(process.log.take(), [7]);
    let waits = ["b", "c"].map(|id| task.job(id).and_then(|job| job.waiting_for()));
    assert!(
        waits.contains(&Some(WaitingFor::RateOfKey("rate 7".into()))),
        "{waits:?}"
    );
    Ok(())
}

#[test]
fn a_rate_of_zero_or_of_too_long_a_time_is_refused() -> Result {
    let process = Process::boot(&Machine::new(), false);
    let none = Duration::ZERO;
    for (rate, is_zero) in [
        (Rate::new(0, SECOND), true),
        (Rate::new(1, none), true),
        (Rate::new(1, Duration::MAX), false),
    ] {
        let of_task = process.task("t").rate(rate).register().unwrap_err();
        let of_key = process.task("t").rate_by(rate, |_| "x").register();
        for (option, error) in [("rate", of_task), ("rate_by", of_key.unwrap_err())] {
            match error {
                RegisterError::ZeroLimit { option: found }
                | RegisterError::ZeroDuration { option: found } => {
                    assert!(is_zero && found == option);
                }
                RegisterError::DurationTooLong { field, .. } => {
                    assert!(!is_zero && field == option);
                }
                other => panic!("{other}"),
            }
        }
    }
    process
        .task("t")
        .rate(Rate::new(u32::MAX, NANOSECOND))
        .register()?;
    Ok(())
}

#[test]
fn a_key_of_a_rate_that_cannot_be_is_an_error_and_schedules_nothing() -> Result {
    in_memory_and_stored(|process| {
        let key = |(number, _): &(u32, u64)| match number {
            0 => panic!("no key"),
            number => "x".repeat(*number as usize),
        };
        let task = process.task("t").rate_by(Rate::new(1, SECOND), key);
        let task = task.register()?;
        let push = |number| process.schedule(&task, number, 0).push().block_on();
        let error = push(0).unwrap_err();
        assert!(
            matches!(
                &error,
                ScheduleError::Key {
                    option: "rate_by",
                    ..
                }
            ),
            "{error}"
        );
        let error = push(257).unwrap_err();
        assert!(
            matches!(
                &error,
                ScheduleError::KeyTooLong {
                    option: "rate_by",
                    ..
                }
            ),
            "{error}"
        );
        assert!(process.sim.app().jobs().is_empty());
        push(256)?;
        Ok(())
    })
}

/// Regression: with a rate of a day, `max_running` was kept for it a day long.
#[test]
fn a_job_that_was_overtaken_and_waits_for_its_rate_holds_up_nobody_else() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot_with(&machine, false, |app| app.max_running(4));
    let rated = process.task("rated").rate(Rate::new(1, HOUR)).register()?;
    let other = process.task("other").register()?;
    process.push(&rated, 1, 0)?;
    process.push(&rated, 2, 0)?;
    process.sim.run_until_stalled();
    for _ in 0..1_500 {
        process.push(&other, 0, 0)?;
    }
    process.advance(60);
    let started = process.log.entries().iter().filter(|n| **n == 0).count();
    assert_eq!(started, 1_500);
    Ok(())
}

#[test]
fn a_job_that_was_overtaken_and_waits_for_the_rate_of_its_key_holds_up_nobody_else() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot_with(&machine, false, |app| app.max_running(4));
    let rated = process
        .task("mail")
        .rate_by(Rate::new(1, HOUR * 24), |(n, _): &(u32, u64)| {
            (n % 100).to_string()
        })
        .register()?;
    process.push(&rated, 1, 0)?;
    process.push(&rated, 1, 0)?;
    process.sim.run_until_stalled();
    let other = process.task("other").register()?;
    for _ in 0..1_500 {
        process.push(&other, 0, 0)?;
        process.sim.run_until_stalled();
    }
    process.sim.advance(HOUR);
    let started = process.log.entries().iter().filter(|n| **n == 0).count();
    assert_eq!(started, 1_500);
    Ok(())
}

/// Regression: each of them took its part, and a job behind ten of them was ten minutes late.
#[test]
fn jobs_that_expire_while_they_wait_use_up_no_rate() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").rate(Rate::new(1, MINUTE)).register()?;
        process.push(&task, 0, 0)?;
        for _ in 0..10 {
            let _ = process
                .schedule(&task, 1, 0)
                .expires(SECOND * 30)
                .push()
                .block_on()?;
        }
        let last = process.push(&task, 2, 0)?;
        process.sim.advance(MINUTE + SECOND);
        let mut minutes = 1;
        while !last.is_done() {
            process.sim.advance(MINUTE);
            minutes += 1;
        }
        assert_eq!(minutes, 1);
        Ok(())
    })
}

/// The timer's thread sleeps until the rate allows the next, though no job is due.
#[test]
fn the_timer_wakes_up_for_a_rate() -> Result {
    let app = Jobber::builder().build()?;
    let started = std::sync::Arc::new(Mutex::new(Vec::new()));
    let log = started.clone();
    let task = app.task("t", move || {
        log.lock().unwrap().push(Instant::now());
        async {}
    });
    let interval = Duration::from_millis(20);
    let task = task.rate(Rate::new(1, interval)).register()?;
    app.start().block_on()?;
    let begun = Instant::now();
    let jobs: Vec<_> = (0..5)
        .map(|_| task.schedule(()).push().block_on())
        .collect::<Result<_, _>>()?;
    for job in jobs {
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    let started = started.lock().unwrap();
    assert_eq!(started.len(), 5);
    assert!(begun.elapsed() >= interval * 4);
    Ok(())
}
