//! Limits of the attempts that run at once. In memory and stored, the same.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::held_app::full;
use crate::process::{Process, Running, Work, in_memory_and_stored};
use crate::support::{
    HOUR, HeldStore, Log, MINUTE, Machine, Result, SECOND, WATCHDOG, event_kinds,
    hand_polled_app_with, poll, wait_until, without_deadlock,
};
use jobber::testing::{Fault, Simulation};
use jobber::{
    Backoff, Job, JobError, JobFuture, JobStatus, Jobber, Limit, Misfire, Rate, RegisterError,
    ScheduleError, StartError, WaitingFor,
};

#[test]
fn no_more_attempts_run_than_the_limit_allows_and_all_run() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(3).register()?;
        let jobs: Vec<_> = (0..20)
            .map(|number| process.push(&task, number, 10))
            .collect::<Result<_>>()?;
        process.advance(35);
        assert_eq!(process.log.entries().len(), 12);
        process.advance(40);
        assert_eq!(process.running.most(), 3);
        assert_eq!(process.log.entries(), (0..20).collect::<Vec<_>>());
        assert!(jobs.iter().all(|job| job.status() == JobStatus::Success));
        Ok(())
    })
}

#[test]
fn a_job_in_line_is_scheduled_says_what_it_waits_for_and_keeps_its_due_time() -> Result {
    in_memory_and_stored(|mut process| {
        let mut events = process.sim.app().events();
        let task = process.task("t").limit(1).register()?;
        process.push(&task, 1, 10)?;
        process.sim.run_until_stalled();
        let schedule = process.schedule(&task, 2, 10).id("x");
        let job = schedule.timeout(SECOND * 11).delay(SECOND).block_on()?;
        let due = job.exec_at();
        assert_eq!(job.waiting_for(), None, "it is not due");
        process.advance(5);
        assert_eq!(job.status(), JobStatus::Scheduled);
        assert_eq!(job.waiting_for(), Some(WaitingFor::TaskLimit));
        assert_eq!(job.exec_at(), due);
        process.advance(10);
        assert_eq!(job.status(), JobStatus::Running);
        assert_eq!(job.waiting_for(), None);
        process.advance(10);
        assert_eq!(
            job.status(),
            JobStatus::Success,
            "its timeout did not count"
        );
        let kinds = event_kinds(&mut events, "x");
        let expected = [
            "scheduled",
            "Waiting { on: TaskLimit }",
            "started 1.1",
            "ended SUCCESS",
        ];
        assert_eq!(kinds, expected);
        Ok(())
    })
}

#[test]
fn the_order_is_priority_then_due_time_then_arrival() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).priority(1).register()?;
        let low = process.task("low").limit(1).register()?;
        let shared = Limit::new(1);
        let one = process.task("one").limit(&shared).register()?;
        let other = process
            .task("other")
            .limit(&shared)
            .priority(5)
            .register()?;
        drop((task, low));
        process.push(&one, 0, 10)?;
        process.sim.run_until_stalled();
        let schedule = |task, number| process.schedule(task, number, 1);
        schedule(&one, 4).delay(SECOND * 3).block_on()?;
        schedule(&one, 3).delay(SECOND * 2).block_on()?;
        schedule(&one, 5).delay(SECOND * 3).block_on()?;
        schedule(&other, 2).delay(SECOND * 4).block_on()?;
        schedule(&one, 1).priority(9).delay(SECOND * 5).block_on()?;
        schedule(&other, 6).priority(-1).delay(SECOND).block_on()?;
        process.advance(30);
        assert_eq!(process.log.entries(), [0, 1, 2, 3, 4, 5, 6]);
        Ok(())
    })
}

#[test]
fn a_shared_limit_can_be_changed_and_zero_holds_all() -> Result {
    in_memory_and_stored(|mut process| {
        let limit = Limit::new(1);
        let one = process.task("one").limit(&limit).register()?;
        let other = process.task("other").limit(&limit).register()?;
        for number in 0..4 {
            process.push(&one, number, 10)?;
            process.push(&other, number, 10)?;
        }
        process.advance(5);
        assert_eq!(process.log.entries().len(), 1);
        limit.set(3);
        process.advance(1);
        assert_eq!(process.log.entries().len(), 3);
        limit.set(0);
        process.advance(60);
        assert_eq!(
            process.log.entries().len(),
            3,
            "running attempts end, no other begins"
        );
        let job = &process.sim.app().jobs()[0];
        assert_eq!(job.waiting_for(), Some(WaitingFor::SharedLimit));
        limit.set(usize::MAX);
        process.advance(10);
        assert_eq!(process.log.entries().len(), 8);
        assert_eq!(process.running.most(), 5);
        Ok(())
    })
}

#[test]
fn the_limit_of_the_app_is_of_all_tasks() -> Result {
    let mut sim = Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
        app.max_running(2)
    })?;
    let (clock, running) = (sim.clock(), Running::default());
    let work = move || {
        let (sleep, one) = (clock.sleep(SECOND), running.begin());
        let running = running.clone();
        async move {
            sleep.await;
            drop(one);
            running.most()
        }
    };
    let one = sim.app().task("one", work.clone()).register()?;
    let other = sim.app().task("other", work).register()?;
    let mut jobs = Vec::new();
    for _ in 0..10 {
        jobs.push(one.schedule(()).push().block_on()?);
        jobs.push(other.schedule(()).push().block_on()?);
    }
    sim.run_until_stalled();
    assert_eq!(jobs[9].waiting_for(), Some(WaitingFor::MaxRunning));
    sim.advance(MINUTE);
    for job in jobs {
        assert_eq!(*job.result()?, 2);
    }
    Ok(())
}

#[test]
fn each_key_has_a_limit_of_its_own() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process
            .task("t")
            .limit(3)
            .limit_by(1, |(number, _)| format!("{}", number % 3));
        let task = task.register()?;
        for number in [0, 3, 6, 1, 4, 2, 5] {
            process.push(&task, number, 10)?;
        }
        process.advance(5);
        assert_eq!(process.log.take(), [0, 1, 2]);
        process.advance(10);
        assert_eq!(process.log.take(), [3, 4, 5]);
        process.advance(10);
        assert_eq!(process.log.take(), [6]);
        Ok(())
    })
}

#[test]
fn a_key_that_cannot_be_is_an_error_and_schedules_nothing() -> Result {
    in_memory_and_stored(|process| {
        let key = |(number, _): &Work| match number {
            0 => panic!("no key"),
            number => "x".repeat(*number as usize),
        };
        let task = process.task("t").limit_by(1, key).register()?;
        let error = process.schedule(&task, 0, 0).push().block_on().unwrap_err();
        assert!(
            matches!(&error, ScheduleError::Key { option: "limit_by", message, .. }
                if &**message == "no key"),
            "{error}"
        );
        let error = process
            .schedule(&task, 257, 0)
            .push()
            .block_on()
            .unwrap_err();
        assert!(
            matches!(
                error,
                ScheduleError::KeyTooLong {
                    bytes: 257,
                    max: 256,
                    ..
                }
            ),
            "{error}"
        );
        assert!(process.sim.app().jobs().is_empty());
        process.schedule(&task, 256, 0).push().block_on()?;
        Ok(())
    })
}

#[test]
fn a_limit_of_zero_and_one_of_another_app_are_refused() -> Result {
    let process = Process::boot(&Machine::new(), false);
    let zero = |option: &str, error| {
        assert!(matches!(error, RegisterError::ZeroLimit { option: found } if found == option));
    };
    zero("limit", process.task("t").limit(0).register().unwrap_err());
    zero(
        "limit",
        process
            .task("t")
            .limit(Limit::new(0))
            .register()
            .unwrap_err(),
    );
    let by = process.task("t").limit_by(0, |_| "x");
    zero("limit_by", by.register().unwrap_err());
    let app = Jobber::builder().max_running(0).build();
    assert!(matches!(
        app,
        Err(StartError::ZeroLimit {
            option: "max_running"
        })
    ));
    let limit = Limit::new(1);
    process.task("t").limit(&limit).register()?;
    let other = Process::boot(&Machine::new(), false);
    let error = other.task("t").limit(&limit).register().unwrap_err();
    assert!(matches!(error, RegisterError::LimitOfAnotherApp));
    // When that app has stopped, another may use it.
    let Process { mut sim, .. } = process;
    sim.shutdown(MINUTE);
    drop(sim);
    other.task("t").limit(&limit).register()?;
    Ok(())
}

#[test]
fn a_job_takes_all_its_limits_or_none_and_holds_up_nobody_else() -> Result {
    in_memory_and_stored(|mut process| {
        let (left, right) = (Limit::new(1), Limit::new(1));
        let both = process.task("both").limit(&left).limit(&right).register()?;
        let one = process.task("left").limit(&left).register()?;
        let other = process.task("right").limit(&right).register()?;
        process.push(&one, 1, 10)?;
        process.sim.run_until_stalled();
        process.push(&both, 2, 10)?;
        process.advance(1);
        process.push(&other, 3, 4)?;
        process.push(&one, 4, 10)?;
        process.advance(1);
        assert_eq!(
            process.log.take(),
            [1, 3],
            "the right limit is free for others"
        );
        process.advance(10);
        assert_eq!(process.log.take(), [2], "it came before the fourth");
        process.advance(10);
        assert_eq!(process.log.take(), [4]);
        Ok(())
    })
}

#[test]
fn a_job_that_leaves_the_line_takes_no_place_with_it() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).register()?;
        let named = |process: &Process, number: u32| {
            process.schedule(&task, number, 10).id(number.to_string())
        };
        let mut jobs = Vec::new();
        for number in 0..6 {
            jobs.push(named(&process, number).push().block_on()?);
        }
        process.advance(1);
        jobs[1].cancel().block_on()?;
        jobs[2].pause().block_on()?;
        jobs[3].delay_by(HOUR).block_on()?;
        named(&process, 4).replace().delay(HOUR).block_on()?;
        process.advance(10);
        assert_eq!(process.log.take(), [0, 5]);
        jobs[5].abort().block_on()?;
        jobs[2].resume().block_on()?;
        process.advance(1);
        assert_eq!(process.log.take(), [2], "an abort gives the limit back");
        process.advance(4_000);
        assert_eq!(process.log.take(), [3, 4]);
        Ok(())
    })
}

#[test]
fn a_retry_takes_the_limit_again() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let (log, entries) = (Log::new(), Log::new());
    entries.add(());
    let writes = log.clone();
    let task = sim.app().task("t", move |number: u32| {
        writes.add(number);
        async move { if number == 0 { Err("no") } else { Ok(()) } }
    });
    let task = task
        .retry(Backoff::fixed(1, SECOND * 10))
        .limit(1)
        .register()?;
    for number in 0..3 {
        task.schedule(number).push().block_on()?;
    }
    sim.advance(MINUTE);
    assert_eq!(log.entries(), [0, 1, 2, 0]);
    Ok(())
}

#[test]
fn a_run_that_waits_in_line_is_not_missed() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).register()?;
        process.push(&task, 1, 90)?;
        process.sim.run_until_stalled();
        let schedule = process.schedule(&task, 2, 0).id("x").misfire(Misfire::Skip);
        let job = schedule.every(MINUTE).block_on()?;
        let first = job.exec_at();
        process.advance(100);
        assert_eq!(job.last_run().unwrap().nominal_time, first);
        Ok(())
    })
}

#[test]
fn a_job_that_expires_in_line_never_runs() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).register()?;
        process.push(&task, 1, 60)?;
        process.sim.run_until_stalled();
        let job = process
            .schedule(&task, 2, 0)
            .expires(SECOND)
            .push()
            .block_on()?;
        process.push(&task, 3, 0)?;
        process.advance(100);
        assert!(matches!(job.result(), Err(JobError::Expired { .. })));
        assert_eq!(process.log.entries(), [1, 3]);
        Ok(())
    })
}

#[test]
fn the_start_of_an_attempt_made_at_most_once_is_stored_after_it_has_its_limit() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let task = process.task("t").at_most_once().limit(1).register()?;
    for number in 0..3 {
        process
            .schedule(&task, number, 10)
            .id(number.to_string())
            .push()
            .block_on()?;
    }
    process.advance(5);
    let has_begun = |id: &str| {
        let record = machine.record(id).unwrap();
        record.progress.start_intent.is_some()
    };
    assert!(has_begun("0") && !has_begun("1") && !has_begun("2"));
    process.sim.crash();
    let mut process = Process::boot(&machine, true);
    process.task("t").at_most_once().limit(1).register()?;
    process.advance(30);
    assert_eq!(process.log.entries(), [1, 2], "only the first one was lost");
    Ok(())
}

#[test]
fn nothing_leaks_at_a_crash_and_a_stored_job_keeps_its_key() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let by = |process: &Process| {
        let task = process
            .task("t")
            .limit_by(1, |(number, _)| format!("key {}", number % 2));
        task.register()
    };
    let task = by(&process)?;
    for number in 0..6 {
        process.push(&task, number, 10)?;
    }
    process.advance(5);
    assert_eq!(process.log.entries(), [0, 1]);
    let keys: Vec<_> = machine
        .records()
        .iter()
        .map(|it| it.limit_key.clone())
        .collect();
    assert!(keys.contains(&Some("key 0".into())) && keys.contains(&Some("key 1".into())));
    process.sim.crash();
    let mut process = Process::boot(&machine, true);
    by(&process)?;
    process.advance(5);
    assert_eq!(process.log.entries().len(), 2);
    process.advance(60);
    assert_eq!(process.log.entries().len(), 6);
    assert_eq!(process.running.most(), 2);
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn a_job_that_many_have_overtaken_is_next() -> Result {
    in_memory_and_stored(|mut process| {
        let limit = Limit::new(1);
        let task = process.task("t").limit(&limit).register()?;
        limit.set(0);
        let low = process
            .schedule(&task, 1, 0)
            .priority(-100)
            .push()
            .block_on()?;
        process.sim.run_until_stalled();
        for _ in 0..1_500 {
            process.push(&task, 0, 0)?;
        }
        process.sim.run_until_stalled();
        limit.set(1);
        process.sim.run_until_stalled();
        assert!(low.is_done());
        let place = process.log.entries().iter().position(|number| *number == 1);
        assert_eq!(place, Some(1_000));
        assert_eq!(process.log.entries().len(), 1_501);
        Ok(())
    })
}

#[test]
fn an_attempt_that_waits_for_a_job_which_needs_its_limit_of_one_panics() -> Result {
    for child_has_limit in [true, false] {
        let mut sim = Simulation::new();
        let limit = Limit::new(1);
        let child = sim.app().task("child", || async {});
        let child = match child_has_limit {
            true => child.limit(&limit).register()?,
            false => child.register()?,
        };
        let parent = sim.app().task("parent", move || {
            let child = child.clone();
            async move {
                let job = child.schedule(()).push().await.unwrap();
                job.await.unwrap();
            }
        });
        let parent = parent.limit(&limit).register()?;
        let job = parent.schedule(()).push().block_on()?;
        sim.run_until_stalled();
        match job.result() {
            Err(JobError::Panicked { message, .. }) if child_has_limit => {
                assert!(message.contains("needs a limit of one"), "{message}");
            }
            Ok(_) if !child_has_limit => {}
            other => panic!("{child_has_limit}: {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn a_stop_ends_or_leaves_the_jobs_that_wait_in_line() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").limit(1).register()?;
        let jobs = [0, 1, 2].map(|number| process.push(&task, number, 10).unwrap());
        process.advance(1);
        let report = process.sim.shutdown(MINUTE);
        assert!(report.is_complete());
        assert_eq!(process.log.entries(), [0]);
        let rest = match process.is_stored {
            true => JobStatus::Scheduled,
            false => JobStatus::Cancelled,
        };
        let statuses = [0, 1, 2].map(|number: usize| jobs[number].status());
        assert_eq!(statuses, [JobStatus::Success, rest, rest]);
        Ok(())
    })
}

#[test]
fn a_blocking_function_keeps_its_limit_until_it_returns() -> Result {
    without_deadlock(|| {
        let app = Jobber::builder().build()?;
        let (send, sent) = std::sync::mpsc::channel::<()>();
        let sent = Mutex::new(sent);
        let log = Log::new();
        let entries = log.clone();
        let task = app.blocking_task("t", move |number: u32| {
            entries.add(number);
            if number == 0 {
                let _ = sent.lock().unwrap().recv_timeout(WATCHDOG);
            }
        });
        let task = task.limit(1).register()?;
        app.start().block_on()?;
        let first = task
            .schedule(0)
            .timeout(Duration::from_millis(1))
            .push()
            .block_on()?;
        let second = task.schedule(1).push().block_on()?;
        assert_eq!(first.wait_blocking(), JobStatus::Timeout);
        assert_eq!(second.waiting_for(), Some(WaitingFor::TaskLimit));
        assert_eq!(log.entries(), [0]);
        send.send(())?;
        assert_eq!(second.wait_blocking(), JobStatus::Success);
        Ok(())
    })
}

#[test]
fn no_limit_is_passed_by_jobs_on_many_threads() -> Result {
    without_deadlock(|| {
        let app = Jobber::builder().max_running(5).build()?;
        let (limit, pair) = (Limit::new(3), Limit::new(2));
        let counts = [Running::default(), Running::default(), Running::default()];
        let task = |name: &str, counts: Vec<Running>| {
            app.task(name, move |yields: bool| {
                let ones: Vec<_> = counts.iter().map(Running::begin).collect();
                async move {
                    if yields {
                        futures_lite::future::yield_now().await;
                    }
                    drop(ones);
                }
            })
        };
        let [all, of_limit, of_pair] = counts.clone();
        let one = task("one", vec![all.clone(), of_limit.clone()])
            .limit(&limit)
            .register()?;
        let other = task("other", vec![all.clone(), of_pair.clone()])
            .limit(&pair)
            .register()?;
        let both = task("both", vec![all.clone(), of_limit.clone(), of_pair.clone()]);
        let both = both.limit(&limit).limit(&pair).register()?;
        app.start().block_on()?;
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let tasks = [&one, &other, &both];
                scope.spawn(move || {
                    for number in 0..600 {
                        let task = tasks[(number + thread) % 3];
                        let schedule = task.schedule(number % 2 == 0);
                        let job = match number % 4 {
                            0 => schedule.delay(Duration::from_micros(50)).block_on(),
                            _ => schedule.push().block_on(),
                        };
                        if number % 7 == 0 {
                            let _ = job.unwrap().cancel().block_on();
                        }
                    }
                });
            }
        });
        app.wait_all().block_on();
        assert!(all.most() <= 5 && of_limit.most() <= 3 && of_pair.most() <= 2);
        wait_until(|| app.jobs().is_empty());
        Ok(())
    })
}

#[test]
fn an_executor_that_drops_what_it_is_given_can_have_many_in_line() -> Result {
    let app = Jobber::builder()
        .executor(|job: JobFuture| drop(job))
        .build()?;
    let limit = Limit::new(1);
    let task = app.task("t", async || {}).limit(&limit).register()?;
    app.start().block_on()?;
    limit.set(0);
    let mut jobs = Vec::new();
    for _ in 0..5_000 {
        jobs.push(task.schedule(()).push().block_on()?);
    }
    limit.set(1);
    wait_until(|| jobs.iter().all(Job::is_done));
    Ok(())
}

#[test]
fn an_executor_that_runs_inside_of_its_spawn_can_have_many_in_line() -> Result {
    let app = Jobber::builder()
        .executor(|job: JobFuture| futures_lite::future::block_on(job))
        .build()?;
    let limit = Limit::new(1);
    let task = app.task("t", async || {}).limit(&limit).register()?;
    let failing = app
        .task("f", |_: ()| -> std::future::Ready<()> { panic!("no") })
        .limit(&limit)
        .register()?;
    app.start().block_on()?;
    limit.set(0);
    let mut jobs = Vec::new();
    for number in 0..5_000 {
        jobs.push(task.schedule(()).push().block_on()?);
        if number % 10 == 0 {
            jobs.push(failing.schedule(()).push().block_on()?);
        }
    }
    limit.set(1);
    wait_until(|| jobs.iter().all(Job::is_done));
    Ok(())
}

#[test]
fn an_attempt_may_wait_for_a_job_that_has_its_limit_already() -> Result {
    let mut sim = Simulation::new();
    let limit = Limit::new(2);
    let clock = sim.clock();
    let child_clock = clock.clone();
    let child = sim
        .app()
        .task("child", move || child_clock.sleep(SECOND * 5))
        .limit(&limit)
        .register()?;
    let parent = sim.app().task("parent", move || {
        let (child, clock) = (child.clone(), clock.clone());
        async move {
            let job = child.schedule(()).push().await.unwrap();
            clock.sleep(SECOND).await;
            job.wait().await;
        }
    });
    let parent = parent.limit(&limit).register()?;
    let job = parent.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    limit.set(1);
    sim.advance(MINUTE);
    assert_eq!(job.status(), JobStatus::Success, "{:?}", job.result());
    Ok(())
}

#[test]
fn a_limit_in_the_state_of_an_app_does_not_keep_the_app() -> Result {
    let flag = Arc::new(());
    let limit = Limit::new(1);
    let app = Jobber::builder()
        .state((limit.clone(), flag.clone()))
        .build()?;
    app.task("t", async || {}).limit(&limit).register()?;
    app.start().block_on()?;
    drop(limit);
    app.shutdown(SECOND).block_on();
    drop(app);
    wait_until(|| Arc::strong_count(&flag) == 1);
    Ok(())
}

#[test]
fn the_second_of_a_line_has_its_turn_though_the_first_has_left() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let limit = Limit::new(1);
    let task = process.task("t").limit(&limit).register()?;
    limit.set(0);
    let first = process
        .schedule(&task, 10, 0)
        .priority(-100)
        .push()
        .block_on()?;
    let second = process
        .schedule(&task, 11, 0)
        .priority(-100)
        .push()
        .block_on()?;
    for _ in 0..999 {
        process.push(&task, 0, 0)?;
    }
    process.push(&task, 1, 100)?;
    limit.set(1);
    process.advance(10);
    assert_eq!(process.log.entries().len(), 1_000);
    process.push(&task, 2, 10)?;
    process.sim.run_until_stalled();
    first.cancel().block_on()?;
    process.advance(200);
    let log = process.log.entries();
    assert!(second.is_done());
    assert_eq!(log.iter().position(|it| *it == 11), Some(1_000));
    Ok(())
}

#[test]
fn no_start_is_stored_of_a_job_whose_task_was_paused_while_it_waited() -> Result {
    for ok in 0..6 {
        let machine = Machine::new();
        let mut process = Process::boot(&machine, true);
        let shared = Limit::new(1);
        let holder = process.task("h").limit(&shared).register()?;
        let task = process.task("t").at_most_once().limit(&shared).register()?;
        process.push(&holder, 0, 10)?;
        process.sim.run_until_stalled();
        let job = process.schedule(&task, 1, 0).id("b").push().block_on()?;
        process.advance(1);
        assert!(job.waiting_for().is_some());
        task.pause().block_on()?;
        machine.plan_faults((0..ok).map(|_| Fault::None));
        machine.set_fault(full());
        process.advance(15);
        assert!(!process.log.entries().contains(&1));
        process.sim.crash();
        machine.clear_faults();
        machine.set_fault(Fault::None);
        let mut process = Process::boot(&machine, true);
        process.task("h").limit(Limit::new(1)).register()?;
        let task = process.task("t").at_most_once().limit(1).register()?;
        task.resume().block_on()?;
        process.advance(60);
        assert!(
            process.log.entries().contains(&1),
            "{ok}: the job is lost, and nothing could start it"
        );
    }
    Ok(())
}

#[test]
fn a_stop_while_a_job_gets_its_limits_keeps_nothing() -> Result {
    for has_second in [false, true] {
        without_deadlock(move || {
            /// Stops the app when the first job ends, before the next one is started.
            struct Stop(Mutex<Option<Jobber>>);
            impl Wake for Stop {
                fn wake(self: Arc<Self>) {
                    let app = self.0.lock().unwrap().take();
                    if let Some(app) = app {
                        app.shutdown(Duration::ZERO).block_on();
                        drop(app);
                    }
                }
            }
            let flag = Arc::new(());
            let app = Jobber::builder().build()?;
            let captured = flag.clone();
            let (send, sent) = std::sync::mpsc::channel::<()>();
            let sent = Mutex::new(sent);
            let task = app
                .blocking_task("t", move || {
                    let _c = &captured;
                    let _ = sent.lock().unwrap().recv_timeout(WATCHDOG);
                })
                .limit(1)
                .register()?;
            app.start().block_on()?;
            let first = task.schedule(()).push().block_on()?;
            wait_until(|| first.status() == JobStatus::Running);
            let second = has_second.then(|| task.schedule(()).push().block_on().unwrap());
            let stop = Arc::new(Stop(Mutex::new(Some(app))));
            let waker = Waker::from(stop.clone());
            let mut wait = Box::pin(first.wait());
            assert!(
                wait.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            send.send(())?;
            wait_until(|| stop.0.lock().unwrap().is_none());
            drop((wait, first, second, task, send));
            wait_until(|| Arc::strong_count(&flag) == 1);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_old_attempt_that_the_executor_drops_leaves_its_job_in_line() -> Result {
    let (_store, storage) = HeldStore::new(jobber::MemoryStorage::new());
    let (app, clock, spawned) = hand_polled_app_with(|app| app.storage(storage))?;
    let limit = Limit::new(1);
    let log = Log::new();
    let task = app
        .task("t", log.argument())
        .durable()
        .limit(&limit)
        .register()?;
    let x = task.schedule(1u32).id("x").push().block_on()?;
    let stale = spawned.recv_timeout(WATCHDOG)?;
    let y = task.schedule(2).id("y").push().block_on()?;
    wait_until(|| y.waiting_for().is_some());
    x.delay_by(SECOND).block_on()?;
    let mut of_y = spawned.recv_timeout(WATCHDOG)?;
    clock.advance(SECOND);
    wait_until(|| x.waiting_for().is_some());
    drop(stale);
    assert_eq!(
        x.waiting_for(),
        Some(WaitingFor::SharedLimit),
        "it has left the line"
    );
    assert!(poll(&mut of_y).is_some());
    assert_eq!(log.entries(), [2, 1]);
    Ok(())
}

#[test]
fn no_start_is_stored_of_a_job_that_expired_while_it_waited() -> Result {
    for ok in 0..6 {
        let machine = Machine::new();
        let mut process = Process::boot(&machine, true);
        let shared = Limit::new(1);
        let holder = process.task("h").limit(&shared).register()?;
        let task = process.task("t").at_most_once().limit(&shared).register()?;
        process.push(&holder, 0, 10)?;
        process.sim.run_until_stalled();
        process
            .schedule(&task, 1, 0)
            .id("b")
            .expires(SECOND)
            .push()
            .block_on()?;
        process.advance(1);
        machine.plan_faults((0..ok).map(|_| Fault::None));
        machine.set_fault(full());
        process.advance(15);
        assert!(!process.log.entries().contains(&1));
        if let Some(record) = machine.record("b") {
            assert!(
                record.progress.start_intent.is_none(),
                "{ok}: the start of an expired attempt is stored"
            );
        }
    }
    Ok(())
}

#[test]
fn the_next_in_line_behind_one_that_was_overtaken_starts_too() -> Result {
    in_memory_and_stored(|mut process| {
        let limit = Limit::new(1);
        let task = process.task("t").limit(&limit).register()?;
        limit.set(0);
        let low = process
            .schedule(&task, 1, 0)
            .priority(-100)
            .push()
            .block_on()?;
        process.sim.run_until_stalled();
        for _ in 0..999 {
            process.push(&task, 0, 0)?;
        }
        process.push(&task, 2, 100)?;
        process.sim.run_until_stalled();
        limit.set(1);
        process.advance(10);
        assert!(process.log.entries().contains(&2) && !low.is_done());
        let next = process.push(&task, 3, 0)?;
        process.sim.run_until_stalled();
        limit.set(3);
        process.advance(1_000);
        assert!(low.is_done());
        let after = process.push(&task, 4, 0)?;
        process.advance(1_000);
        assert!(
            next.is_done(),
            "nothing runs, and it waits for a limit of three: {:?}, {:?}",
            next.waiting_for(),
            after.is_done()
        );
        Ok(())
    })
}

#[test]
fn the_second_that_was_overtaken_keeps_its_limits_too() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (l, n, m) = (Limit::new(1), Limit::new(1), Limit::new(1));
    let of_l = process.task("l").limit(&l).register()?;
    let of_n = process.task("n").limit(&n).register()?;
    let of_m = process.task("m").limit(&m).register()?;
    let l_m = process.task("lm").limit(&l).limit(&m).register()?;
    let l_n = process.task("ln").limit(&l).limit(&n).register()?;
    process.push(&of_m, 1, 50)?;
    process.push(&of_n, 2, 20)?;
    l.set(0);
    process.sim.run_until_stalled();
    process
        .schedule(&l_m, 10, 0)
        .priority(-100)
        .push()
        .block_on()?;
    process.sim.run_until_stalled();
    process
        .schedule(&l_n, 11, 0)
        .priority(-100)
        .push()
        .block_on()?;
    process.sim.run_until_stalled();
    for _ in 0..1_000 {
        process.push(&of_l, 0, 0)?;
    }
    l.set(1);
    process.advance(1);
    assert_eq!(process.log.take().len(), 1_002);
    process.push(&of_n, 3, 100)?;
    process.advance(1_000);
    assert_eq!(
        process.log.entries(),
        [11, 3, 10],
        "later jobs do not take its limits, and the first keeps only the one that it waits for"
    );
    Ok(())
}

#[test]
fn jobs_that_were_interrupted_twice_run_alone_though_they_waited_for_a_limit() -> Result {
    for with_limit in [false, true] {
        let machine = Machine::new();
        let mut process = Process::boot(&machine, true);
        let task = process.task("t").register()?;
        for number in [1, 2] {
            process
                .schedule(&task, number, 100)
                .id(number.to_string())
                .push()
                .block_on()?;
        }
        process.advance(1);
        for _ in 0..2 {
            process.sim.crash();
            process = Process::boot(&machine, true);
            process.task("t").register()?;
            // Also the second one, which is interrupted alone.
            process.advance(20);
        }
        process.sim.crash();
        let mut process = Process::boot(&machine, true);
        let limit = Limit::new(2);
        if with_limit {
            limit.set(0);
        }
        let task = process.task("t");
        match with_limit {
            true => task.limit(&limit),
            false => task,
        }
        .register()?;
        process.advance(1);
        limit.set(2);
        process.advance(3);
        assert_eq!(process.running.most(), 1, "with limit: {with_limit}");
    }
    Ok(())
}

/// Regression: while a job of the same key went on for hours, no other job of the app started.
#[test]
fn a_job_that_was_overtaken_and_waits_for_its_key_holds_up_nobody_else() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot_with(&machine, false, |app| app.max_running(2));
    let keyed = process.task("keyed").limit_by(1, |_| "x").register()?;
    let other = process.task("other").register()?;
    process.push(&keyed, 1, 100_000)?;
    for number in 2..9 {
        process.push(&keyed, number, 0)?;
    }
    process.sim.run_until_stalled();
    for _ in 0..5_000 {
        process.push(&other, 0, 0)?;
    }
    process.advance(60);
    let started = process.log.entries().iter().filter(|n| **n == 0).count();
    assert_eq!(started, 5_000);
    process.advance(100_000);
    assert!(process.log.entries().ends_with(&[2, 3, 4, 5, 6, 7, 8]));
    Ok(())
}

/// The rate of a task is needed by more jobs than a key.
#[test]
fn a_job_that_was_overtaken_and_waits_for_its_key_keeps_no_rate_of_its_task() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let task = process.task("t").rate(Rate::new(1, SECOND));
    let task = task.limit_by(1, |(number, _): &Work| (number % 2).to_string());
    let task = task.register()?;
    process.push(&task, 1, 100_000)?;
    process.push(&task, 3, 0)?;
    process.advance(10);
    for _ in 0..2_000 {
        process.push(&task, 0, 0)?;
    }
    process.advance(2_010);
    assert_eq!(process.log.entries().len(), 2_001);
    Ok(())
}

/// What is kept for a job that was overtaken is one unit of a limit, and not all of it.
#[test]
fn a_limit_that_is_kept_for_one_job_has_room_for_others() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (app, own) = (Limit::new(1), Limit::new(3));
    let of_app = process.task("app").limit(&app).register()?;
    let of_own = process.task("own").limit(&own).register()?;
    let both = process.task("both").limit(&app).limit(&own).register()?;
    process.push(&of_app, 1, 100_000)?;
    process.push(&both, 2, 0)?;
    process.sim.run_until_stalled();
    for _ in 0..2_000 {
        process.push(&of_own, 0, 0)?;
        process.sim.run_until_stalled();
    }
    for number in 3..6 {
        process.push(&of_own, number, 1_000)?;
    }
    process.advance(10);
    let log = process.log.entries();
    assert!(log.ends_with(&[0, 3, 4]), "the third unit is kept");
    assert_eq!(log.len(), 2_003);
    Ok(())
}

/// Regression: the job that was granted when another took its limits was lost.
#[test]
fn a_timer_that_starts_a_job_also_starts_the_one_that_was_overtaken_by_it() -> Result {
    let mut process = Process::boot(&Machine::new(), false);
    let (l, n, m) = (Limit::new(2), Limit::new(1), Limit::new(1));
    let of_l = process.task("l").limit(&l).register()?;
    let of_m = process.task("m").limit(&m).register()?;
    // Of `n` and another limit, `n` is kept first.
    let of_n = process.task("n").limit(&n).register()?;
    let l_n = process.task("ln").limit(&l).limit(&n).register()?;
    let n_m = process.task("nm").limit(&n).limit(&m).register()?;
    process.push(&of_n, 1, 10)?;
    process.sim.run_until_stalled();
    let first = process.push(&l_n, 10, 0)?;
    let second = process.push(&n_m, 11, 0)?;
    // The second is overtaken, so that `n` is kept for it when `n` comes free.
    for _ in 0..999 {
        process.push(&of_m, 0, 0)?;
        process.sim.run_until_stalled();
    }
    process.push(&of_m, 2, 1_000)?;
    process.advance(20);
    assert_eq!(first.waiting_for(), Some(WaitingFor::SharedLimit));
    // The first is overtaken, too. It came before.
    for _ in 0..999 {
        process.push(&of_l, 0, 0)?;
        process.sim.run_until_stalled();
    }
    assert!(!first.is_done());
    process.schedule(&of_l, 3, 0).delay(SECOND).block_on()?;
    process.advance(2);
    assert!(process.log.entries().contains(&3));
    assert!(first.is_done(), "its limits are free, and kept for it");
    assert!(!second.is_done());
    Ok(())
}

/// Regression: the others waited, although the job that was to run alone did not run.
#[test]
fn a_job_that_was_to_run_alone_and_is_paused_in_line_lets_others_run() -> Result {
    let machine = Machine::new();
    let tasks = |process: &Process, limit: &Limit| -> Result<_> {
        let limited = process.task("a").limit(limit).register()?;
        Ok((limited, process.task("b").register()?))
    };
    let mut process = Process::boot(&machine, true);
    let (a, b) = tasks(&process, &Limit::new(2))?;
    process.schedule(&a, 1, 100).id("a").push().block_on()?;
    process.advance(1);
    process.schedule(&b, 2, 100).id("b").push().block_on()?;
    process.advance(1);
    for _ in 0..2 {
        process.sim.crash();
        process = Process::boot(&machine, true);
        tasks(&process, &Limit::new(2))?;
        // Also the second one, which is interrupted alone.
        process.advance(20);
    }
    process.sim.crash();
    process.log.take();
    let mut process = Process::boot(&machine, true);
    let limit = Limit::new(2);
    limit.set(0);
    let (a, _) = tasks(&process, &limit)?;
    process.advance(1);
    a.pause().block_on()?;
    limit.set(2);
    process.advance(1);
    assert_eq!(process.log.entries(), [2]);
    Ok(())
}

/// Regression: a refused registration made a shared limit one of its app.
#[test]
fn a_registration_that_is_refused_leaves_a_shared_limit_to_another_app() -> Result {
    let process = Process::boot(&Machine::new(), false);
    let other = Process::boot(&Machine::new(), false);
    let (limit, of_other) = (Limit::new(1), Limit::new(1));
    process.task("t").register()?;
    other.task("another").limit(&of_other).register()?;
    let duplicate = process.task("t").limit(&limit).register().unwrap_err();
    assert!(matches!(duplicate, RegisterError::DuplicateTask { .. }));
    let mixed = process.task("u").limit(&limit).limit(&of_other);
    let error = mixed.register().unwrap_err();
    assert!(matches!(error, RegisterError::LimitOfAnotherApp));
    other.task("t").limit(&limit).register()?;
    Ok(())
}
