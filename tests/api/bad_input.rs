//! Invalid input gets an error that names the value and the rule, and changes nothing.

use std::error::Error;
use std::time::Duration;

use crate::support::{HOUR, Result, SECOND};
use jobber::testing::Simulation;
use jobber::{
    Backoff, InvalidId, JobStatus, Jobber, RegisterError, ScheduleError, StartError, Task,
};
use time::macros::datetime;
use time::{OffsetDateTime, PrimitiveDateTime};

fn app_with_task() -> Result<(Simulation, Task<(), ()>)> {
    let sim = Simulation::new();
    let task = sim.app().task("t", || async {}).register()?;
    Ok((sim, task))
}

#[test]
fn a_task_name_with_a_control_character_is_refused() -> Result {
    let app = Jobber::builder().build()?;
    for name in ["a\nb", "\u{1b}[31m", "tab\t", "\u{85}"] {
        let error = app.task(name, || async {}).register().unwrap_err();
        assert!(
            matches!(&error, RegisterError::ControlCharacter { name: found, .. } if found == name)
        );
        assert!(!error.to_string().contains(char::is_control), "{error}");
        assert!(matches!(
            app.task("sound", || async {}).alias(name).register(),
            Err(RegisterError::ControlCharacter { .. })
        ));
    }
    Ok(())
}

#[test]
fn an_invalid_task_name_is_refused() -> Result {
    let sim = Simulation::new();
    let register = |name: &str| sim.app().task(name, || async {}).register();
    assert_eq!(
        register("").unwrap_err().to_string(),
        "a task name must not be empty"
    );
    let long = "ö".repeat(101);
    assert_eq!(
        register(&long).unwrap_err().to_string(),
        format!(
            "the task name `{}…` has 202 bytes, but at most 200 are allowed",
            "ö".repeat(20)
        )
    );
    register(&"n".repeat(200))?;
    register("taken")?;
    let error = register("taken").unwrap_err();
    assert!(matches!(&error, RegisterError::DuplicateTask { name } if name == "taken"));
    assert_eq!(
        error.to_string(),
        "a task named `taken` is already registered: task names must be unique in an app"
    );
    Ok(())
}

#[test]
fn an_invalid_task_option_is_refused() -> Result {
    let sim = Simulation::new();
    let task = || sim.app().task("t", || async {});
    assert!(matches!(
        task().timeout(Duration::ZERO).register(),
        Err(RegisterError::ZeroTimeout)
    ));
    assert_eq!(
        task()
            .timeout(Duration::MAX)
            .register()
            .unwrap_err()
            .to_string(),
        "the timeout 18446744073709551615.999999999s is too long: the maximum is 9223372036.854775807s"
    );
    let backoff = Backoff::exponential(1);
    for (backoff, name) in [
        (
            backoff.clone().initial(Duration::MAX),
            "initial delay of the backoff",
        ),
        (backoff.clone().cap(Duration::MAX), "cap of the backoff"),
        (
            backoff.retry_after_max(Duration::MAX),
            "longest RetryAfter of the backoff",
        ),
    ] {
        let error = task().retry(backoff).register().unwrap_err();
        assert!(matches!(error, RegisterError::DurationTooLong { field, .. } if field == name));
    }
    let backoff = |factor| {
        task()
            .retry(Backoff::exponential(1).factor(factor))
            .register()
    };
    for factor in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = backoff(factor).unwrap_err();
        assert!(matches!(
            error,
            RegisterError::InvalidBackoff {
                field: "factor",
                ..
            }
        ));
        assert_eq!(
            error.to_string(),
            format!(
                "the factor of the backoff is {factor}, but must be a finite number of at least 0"
            )
        );
    }
    task().register()?;
    Ok(())
}

#[test]
fn an_invalid_or_duplicate_job_id_is_refused() -> Result {
    let (sim, task) = app_with_task()?;
    let schedule = |id: &str| task.schedule(()).id(id).delay(HOUR).block_on();
    let message = |id: &str| schedule(id).unwrap_err().to_string();
    assert_eq!(message(""), "the job id \"\" is invalid: the id is empty");
    assert_eq!(
        message("a\nb"),
        "the job id \"a\\nb\" is invalid: the id contains the control character '\\n'"
    );
    let error = schedule(&"é".repeat(513)).unwrap_err();
    match &error {
        ScheduleError::InvalidId { id, reason } => {
            assert_eq!(*reason, InvalidId::TooLong { bytes: 1_026 });
            assert_eq!(id.to_string(), "é".repeat(100), "shortened for the message");
        }
        other => panic!("{other:?}"),
    }
    assert!(error.source().is_none(), "the message contains the reason");
    // With `replace` the rules are the same.
    let replace = task.schedule(()).id("\0").replace().delay(HOUR).block_on();
    assert!(matches!(replace, Err(ScheduleError::InvalidId { .. })));
    assert!(sim.app().jobs().is_empty());

    let job = schedule(&"x".repeat(200))?;
    let error = schedule(&"x".repeat(200)).unwrap_err();
    assert!(matches!(&error, ScheduleError::DuplicateJob { id, .. } if id == job.id()));
    // A generated id can be a duplicate, too.
    let generated = task.schedule(()).delay(HOUR).block_on()?;
    assert!(matches!(
        task.schedule(()).id(generated.id()).delay(HOUR).block_on(),
        Err(ScheduleError::DuplicateJob { .. })
    ));
    assert_eq!(sim.app().jobs().len(), 2);
    Ok(())
}

#[test]
fn a_delay_or_interval_that_is_zero_or_too_long_is_refused() -> Result {
    let (sim, task) = app_with_task()?;
    for delay in [
        Duration::MAX,
        Duration::from_secs(u64::MAX / 2),
        Duration::from_secs(300 * 365 * 86_400),
    ] {
        let error = task.schedule(()).delay(delay).block_on().unwrap_err();
        match error {
            ScheduleError::DurationTooLong {
                field: "delay",
                value,
                max,
            } => {
                assert_eq!(value, delay);
                // The maximum that the error names is allowed.
                let _ = task.schedule(()).delay(max).block_on()?;
                let above = task.schedule(()).delay(max + Duration::from_nanos(1));
                assert!(above.block_on().is_err());
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            task.schedule(()).every(delay).block_on(),
            Err(ScheduleError::DurationTooLong {
                field: "interval",
                ..
            })
        ));
    }
    assert_eq!(
        task.schedule(())
            .every(Duration::ZERO)
            .block_on()
            .unwrap_err()
            .to_string(),
        "the interval must be longer than zero"
    );
    assert_eq!(sim.app().jobs().len(), 3);
    Ok(())
}

#[test]
fn a_date_at_either_end_of_the_calendar_is_refused() -> Result {
    let (sim, task) = app_with_task()?;
    for time in [
        PrimitiveDateTime::MIN.assume_utc(),
        PrimitiveDateTime::MAX.assume_utc(),
    ] {
        let error = task.schedule(()).at(time).block_on().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ScheduleError::TimeOutOfRange { value, .. } if value == time));
        assert!(text.ends_with("it must be between 1677-09-21 0:12:43.145224192 +00:00:00 and 2262-04-11 23:47:16.854775807 +00:00:00"), "{text}");
        let start = task.schedule(()).start_date(time).every(SECOND).block_on();
        assert!(matches!(start, Err(ScheduleError::TimeOutOfRange { .. })));
    }
    assert!(sim.app().jobs().is_empty());
    Ok(())
}

#[test]
fn a_job_can_be_due_at_the_last_allowed_instant() -> Result {
    let (mut sim, task) = app_with_task()?;
    let last = datetime!(2262-04-11 23:47:16.854775807 UTC);
    let job = task.schedule(()).at(last).block_on()?;
    assert_eq!(job.exec_at(), last);
    sim.advance(HOUR);
    assert_eq!(job.status(), JobStatus::Scheduled);
    Ok(())
}

#[test]
fn a_start_date_at_either_end_neither_wraps_nor_hangs() -> Result {
    let (mut sim, task) = app_with_task()?;
    let first = datetime!(1677-09-21 0:12:44 UTC);
    let schedule = task.schedule(()).start_date(first);
    let past = schedule.every(Duration::from_nanos(7)).block_on()?;
    past.cancel().block_on()?;
    let last = datetime!(2262-04-11 23:47:16 UTC);
    let schedule = task.schedule(()).start_date(last);
    let future = schedule.every(SECOND).block_on()?;
    sim.advance(HOUR);
    assert_eq!(
        (future.status(), future.exec_at()),
        (JobStatus::Scheduled, last)
    );
    Ok(())
}

#[test]
fn an_invalid_limit_of_runs_or_failures_is_refused() -> Result {
    let (_sim, task) = app_with_task()?;
    let error = task
        .schedule(())
        .max_failures(0)
        .every(SECOND)
        .block_on()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "max_failures is 0, but must be at least 1"
    );
    let error = task
        .schedule(())
        .max_runs(0)
        .every(SECOND)
        .block_on()
        .unwrap_err();
    assert_eq!(error.to_string(), "max_runs is 0, but must be at least 1");
    let error = task
        .schedule(())
        .max_runs(2)
        .delay(SECOND)
        .block_on()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "max_runs applies only to recurring jobs, but the trigger `delay` runs a job once"
    );
    Ok(())
}

#[test]
fn a_replacement_that_allows_fewer_runs_than_there_were_is_refused() -> Result {
    let (mut sim, task) = app_with_task()?;
    let job = task.schedule(()).id("x").every(SECOND).block_on()?;
    sim.advance(SECOND * 3);
    let schedule = || task.schedule(()).id("x").replace();
    let error = schedule().max_runs(3).every(SECOND).block_on().unwrap_err();
    assert!(matches!(
        error,
        ScheduleError::RunsUsedUp {
            max_runs: 3,
            runs: 3,
            ..
        }
    ));
    assert_eq!(
        error.to_string(),
        "max_runs is 3, but the job `x` has already had 3 runs"
    );
    let _ = schedule().max_runs(4).every(SECOND).block_on()?;
    sim.advance(HOUR);
    assert_eq!(
        (job.status(), job.last_run().unwrap().number),
        (JobStatus::Success, 4)
    );
    Ok(())
}

#[test]
fn a_coalescing_window_of_more_than_a_second_is_refused() {
    let error = Jobber::builder()
        .coalescing_window(Duration::MAX)
        .build()
        .unwrap_err();
    assert!(matches!(
        error,
        StartError::CoalescingWindowTooLong {
            value: Duration::MAX,
            ..
        }
    ));
    assert!(
        error
            .to_string()
            .ends_with("is too long: the maximum is 1s")
    );
    assert!(Jobber::builder().coalescing_window(SECOND).build().is_ok());
}

#[test]
fn a_job_that_is_due_in_the_past_runs_at_once() -> Result {
    let (mut sim, task) = app_with_task()?;
    let submit = task.schedule(()).at(OffsetDateTime::UNIX_EPOCH);
    let job = submit.block_on()?;
    assert_eq!(job.exec_at(), OffsetDateTime::UNIX_EPOCH);
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn calls_before_the_start_after_the_stop_and_a_second_start_are_refused() -> Result {
    let app = Jobber::builder().build()?;
    let task = app.task("t", || async {}).register()?;
    let error = task.schedule(()).push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::NotStarted));
    assert_eq!(
        error.to_string(),
        "the app is not started: call app.start() first"
    );

    app.start().block_on()?;
    let error = app.start().block_on().unwrap_err();
    assert!(matches!(error, StartError::AlreadyStarted));
    assert_eq!(
        error.to_string(),
        "the app is already running: call start() only once"
    );

    app.shutdown(HOUR).block_on();
    let error = task.schedule(()).push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::Stopped));
    assert_eq!(
        error.to_string(),
        "the app has stopped, and accepts no new jobs: it was shut down, or its last `Jobber` was \
         dropped (keep it, or detach() it)"
    );
    assert!(matches!(
        task.schedule(()).id("x").replace().push().block_on(),
        Err(ScheduleError::Stopped)
    ));
    assert!(matches!(app.start().block_on(), Err(StartError::Stopped)));
    assert!(matches!(
        app.task("u", || async {}).register(),
        Err(RegisterError::Stopped)
    ));
    Ok(())
}
