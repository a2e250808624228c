//! Functions of the program that see each job before it is scheduled, and may refuse it.

use std::error::Error;
use std::time::Duration;

use crate::support::{Log, MINUTE, Machine, Result, SECOND};
use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, JobContext, ScheduleError, Task, WaitingFor};

/// The task of a refused job, and why it was refused.
fn refusal<T>(result: std::result::Result<T, ScheduleError>) -> (String, String) {
    match result {
        Err(error @ ScheduleError::Refused { .. }) => {
            let reason = error.source().map(ToString::to_string);
            (error.to_string(), reason.unwrap_or_default())
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[test]
fn those_of_the_app_come_first_and_a_refused_job_leaves_nothing() -> Result {
    let log = Log::new();
    let own = log.clone();
    let sim = Simulation::with(0, ManualClock::new(), |app| {
        let (first, second) = (own.clone(), own.clone());
        app.max_pending(1)
            .on_schedule(move |request| {
                first.add("app 1");
                match request.tags().any(|tag| tag == "bad") {
                    true => Err("it is bad".into()),
                    false => Ok(()),
                }
            })
            .on_schedule(move |_| {
                second.add("app 2");
                Ok(())
            })
    })?;
    let of_task = log.clone();
    let task = sim.app().task("t", async |n: u32| n);
    let task = task
        .tag("of-the-task")
        .check(move |n: &mut u32| {
            of_task.add("check");
            match *n {
                0 => Err("zero".into()),
                _ => Ok(()),
            }
        })
        .register()?;
    let text = "a job of the task `t` was refused".to_string();
    let bad = task.schedule(1).tag("bad").delay(SECOND).block_on();
    assert_eq!(refusal(bad), (text.clone(), "it is bad".into()));
    assert_eq!(log.take(), ["app 1"]);
    let zero = futures_lite::future::block_on(async { task.schedule(0).delay(SECOND).await });
    assert_eq!(refusal(zero), (text, "zero".into()));
    assert_eq!(log.take(), ["app 1", "app 2", "check"]);
    assert!(sim.app().jobs().is_empty());
    // There is room.
    let _job = task.schedule(1).delay(SECOND).block_on()?;
    Ok(())
}

#[test]
fn a_panic_is_a_refusal() -> Result {
    let sim = Simulation::with(0, ManualClock::new(), |app| {
        app.on_schedule(|request| {
            assert!(request.id().is_none(), "no ids here");
            Ok(())
        })
    })?;
    let task = sim.app().task("t", async |n: u32| n);
    let task = task.check(|n: &mut u32| {
        *n = 1 / *n;
        Ok(())
    });
    let task = task.register()?;
    let (_, reason) = refusal(task.schedule(1).id("x").push().block_on());
    assert_eq!(reason, "the function panicked: no ids here");
    let (_, reason) = refusal(task.schedule(0).push().block_on());
    assert_eq!(reason, "the function panicked: attempt to divide by zero");
    Ok(())
}

#[test]
fn options_that_are_set_are_those_of_the_job_and_are_checked() -> Result {
    let sim = Simulation::with(0, ManualClock::new(), |app| {
        app.on_schedule(|request| {
            assert_eq!((request.task(), request.trigger()), ("t", "push"));
            let asked = (request.priority(), request.timeout());
            let tags = request.tags().filter(|tag| *tag == "of-the-task").count();
            assert_eq!((asked, tags), ((Some(1), Some(MINUTE)), 1));
            request.add_tag("added");
            request.add_note("host", "alpha");
            request.set_priority(3);
            match request.id() {
                Some(id) if *id == *"no-timeout" => request.set_timeout(Duration::ZERO),
                _ => request.set_timeout(SECOND),
            }
            Ok(())
        })
    })?;
    let mut sim = sim;
    let task = sim.app().task("t", std::future::pending::<()>);
    let task = task.tag("of-the-task").register()?;
    let schedule = || {
        task.schedule(())
            .tag("of-the-task")
            .priority(1)
            .timeout(MINUTE)
    };
    let job = schedule().tag("own").push().block_on()?;
    let shown = job.snapshot();
    let tags: Vec<&str> = shown.tags.iter().map(|tag| &**tag).collect();
    assert_eq!(tags, ["of-the-task", "own", "added"]);
    assert_eq!(&*shown.notes[0].1, "alpha");
    sim.advance(SECOND);
    assert_eq!(job.status(), jobber::JobStatus::Timeout);
    let zero = schedule().id("no-timeout").push().block_on();
    assert!(matches!(
        zero,
        Err(ScheduleError::ZeroDuration { field: "timeout" })
    ));
    Ok(())
}

fn changing(sim: &Simulation, calls: &Log<u32>) -> Result<Task<u32, u32>> {
    let log = calls.clone();
    let task = sim.app().task("t", async |cx: JobContext, n: u32| {
        if n == 14 {
            std::future::pending::<()>().await;
        }
        match cx.attempt() {
            1 => Err("no".to_string()),
            _ => Ok(n),
        }
    });
    let task = task
        .durable()
        .retry(Backoff::fixed(1, SECOND))
        .limit_by(1, |n: &u32| n.to_string())
        .check(move |n: &mut u32| {
            log.add(*n);
            *n += 10;
            Ok(())
        });
    Ok(task.register()?)
}

#[test]
fn changed_arguments_are_stored_and_have_their_key_and_only_a_schedule_is_checked() -> Result {
    let (machine, calls) = (Machine::new(), Log::new());
    let mut sim = machine.boot();
    let task = changing(&sim, &calls)?;
    let job = task.schedule(1).id("x").every(MINUTE).block_on()?;
    assert_eq!(job.snapshot().args.as_deref(), Some("11"));
    sim.advance(MINUTE + SECOND);
    assert_eq!(*job.result()?, 11);
    sim.crash();
    let mut sim = machine.boot();
    let task = changing(&sim, &calls)?;
    sim.advance(MINUTE * 2);
    assert_eq!(task.job("x").map(|job| job.snapshot().runs), Some(3));
    assert_eq!(calls.take(), [1]);
    let kept = task.schedule(2).id("x").keep().every(MINUTE).block_on()?;
    assert_eq!(kept.snapshot().args.as_deref(), Some("11"));
    let replaced = task
        .schedule(3)
        .id("x")
        .replace()
        .every(MINUTE)
        .block_on()?;
    assert_eq!(replaced.snapshot().args.as_deref(), Some("13"));
    assert_eq!(calls.take(), [2, 3]);
    let (first, second) = (task.schedule(4).push(), task.schedule(4).push());
    let (_first, second) = (first.block_on()?, second.block_on()?);
    sim.run_until_stalled();
    assert_eq!(second.waiting_for(), Some(WaitingFor::Key("14".into())));
    Ok(())
}

#[test]
fn one_refused_job_of_many_or_of_a_set_refuses_all() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = sim.app().task("t", async |n: u32| n).durable();
    let task = task
        .check(|n: &mut u32| match *n {
            7 => Err("seven".into()),
            _ => Ok(()),
        })
        .register()?;
    let many = task.schedule_many(0..10, |schedule| schedule.delay(MINUTE));
    assert_eq!(refusal(many.block_on()).1, "seven");
    assert!(sim.app().jobs().is_empty());
    let declared = sim.app().declare("set", |set| {
        set.add(task.schedule(1).id("a").every(MINUTE));
        set.add(task.schedule(7).id("b").every(MINUTE));
    });
    assert!(declared.block_on().is_err());
    assert!(sim.app().jobs().is_empty());
    Ok(())
}
