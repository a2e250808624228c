//! How many jobs may be live. In memory and stored, the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::Waker;
use std::thread;

use crate::held_app::HeldApp;
use crate::process::{Process, Work, in_memory_and_stored};
use crate::support::{
    HOUR, MINUTE, Machine, Result, SECOND, begin, poll, poll_with, without_deadlock,
};
use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
use jobber::{
    JobStatus, Jobber, MemoryStorage, RegisterError, RetryError, ScheduleError, StartError, Submit,
    Task,
};

/// The number of live jobs with which one more is refused.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ScheduleError>) -> usize {
    match result.unwrap_err() {
        ScheduleError::TooManyPending { live, .. } => live,
        other => panic!("{other}"),
    }
}

/// A new job with the option `when_room`.
fn when_room(process: &Process, task: &Task<Work, ()>, number: u32) -> Submit<Work, ()> {
    process.schedule(task, number, 10).when_room().push()
}

#[test]
fn one_job_too_many_is_refused_and_says_so_awaited_or_blocking() -> Result {
    in_memory_and_stored(|process| {
        let task = process.task("t").max_pending(2).register()?;
        let other = process.task("other").register()?;
        process.push(&task, 0, 10)?;
        process.schedule(&task, 1, 0).delay(HOUR).block_on()?;
        for error in [
            process.schedule(&task, 2, 0).push().block_on().unwrap_err(),
            poll(process.schedule(&task, 2, 0).delay(HOUR))
                .unwrap()
                .unwrap_err(),
        ] {
            assert_eq!(
                error.to_string(),
                "the task `t` has 2 live jobs, and 2 are allowed: no room for 1 more"
            );
            let ScheduleError::TooManyPending {
                task, live, max, ..
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!((task.as_deref(), live, max), (Some("t"), 2, 2));
        }
        assert_eq!(process.sim.app().jobs().len(), 2);
        process.push(&other, 0, 0)?;
        Ok(())
    })
}

#[test]
fn the_app_counts_the_jobs_of_all_its_tasks() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot_with(&machine, false, |app| app.max_pending(3));
    let one = process.task("one").max_pending(2).register()?;
    let other = process.task("other").register()?;
    let first = process.push(&one, 0, 10)?;
    process.push(&one, 1, 20)?;
    process.push(&other, 2, 20)?;
    let error = process
        .schedule(&other, 3, 0)
        .push()
        .block_on()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the app has 3 live jobs, and 3 are allowed: no room for 1 more"
    );
    // The limit of the task is looked at first, and what it has is given back.
    assert_eq!(refused(process.schedule(&one, 3, 0).push().block_on()), 2);
    process.advance(10);
    assert!(first.is_done());
    process.push(&other, 4, 10)?;
    let error = process.schedule(&one, 5, 0).push().block_on().unwrap_err();
    assert!(
        matches!(
            error,
            ScheduleError::TooManyPending {
                task: None,
                live: 3,
                max: 3,
                wanted: 1,
            }
        ),
        "{error}"
    );
    process.advance(10);
    for number in 0..2 {
        process.push(&one, number, 0)?;
    }
    assert_eq!(refused(process.schedule(&one, 3, 0).push().block_on()), 2);
    Ok(())
}

#[test]
fn a_place_is_free_when_its_job_has_ended_in_whichever_way() -> Result {
    in_memory_and_stored(|mut process| {
        let fails = process
            .sim
            .app()
            .task("fails", |_: Work| async { Err::<(), _>("no") });
        let fails = fails.durable().max_pending(1).register()?;
        let task = process.task("t").max_pending(1).register()?;
        process.push(&task, 0, 10)?;
        process.advance(10);
        let job = process.push(&task, 0, 10)?;
        assert!(job.cancel().block_on()?.took_effect());
        let job = process.push(&task, 0, 10)?;
        process.sim.run_until_stalled();
        assert!(job.abort().block_on()?.took_effect());
        process.sim.run_until_stalled();
        let schedule = process.schedule(&task, 0, 0).expires(SECOND);
        let late = schedule.delay(SECOND).block_on()?;
        late.pause().block_on()?;
        process.advance(10);
        late.resume().block_on()?;
        process.sim.run_until_stalled();
        assert!(late.is_done());
        process.push(&task, 0, 0)?;
        process.sim.run_until_stalled();
        for _ in 0..3 {
            process.schedule(&fails, 0, 0).push().block_on()?;
            process.sim.run_until_stalled();
        }
        Ok(())
    })
}

#[test]
fn a_job_that_is_refused_leaves_no_place_taken() -> Result {
    let machine = Machine::new();
    let process = Process::boot(&machine, true);
    let task = process.task("t").max_pending(1).register()?;
    machine.plan_faults([Fault::Fail]);
    let error = process.schedule(&task, 0, 0).push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::Storage(_)), "{error}");
    // A duplicate of another task, and one that is never due.
    let other = process.task("other").register()?;
    let _ = process.schedule(&other, 0, 0).id("x").push().block_on()?;
    let error = process.schedule(&task, 0, 0).id("x").push().block_on();
    assert!(matches!(error, Err(ScheduleError::DuplicateJob { .. })));
    let until = process.schedule(&task, 0, 0).generated_id().max_runs(0);
    assert!(until.every(SECOND).block_on().is_err());
    process.push(&task, 0, 0)?;
    assert_eq!(refused(process.schedule(&task, 0, 0).push().block_on()), 1);
    Ok(())
}

#[test]
fn runs_replacements_and_kept_jobs_are_no_new_jobs() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").max_pending(1).register()?;
        let is_stored = process.is_stored;
        let schedule = |number| {
            let schedule = task.schedule((number, 0)).id("x");
            if is_stored {
                schedule
            } else {
                schedule.in_memory()
            }
        };
        let job = schedule(0).every(SECOND).block_on()?;
        process.sim.advance(SECOND * 3);
        assert_eq!(process.log.take(), [0, 0, 0]);
        schedule(1).replace().every(SECOND).block_on()?;
        schedule(2).keep().every(SECOND).block_on()?;
        process.sim.advance(SECOND * 3);
        assert_eq!(process.log.take(), [1, 1, 1]);
        assert_eq!(refused(process.schedule(&task, 0, 0).push().block_on()), 1);
        assert!(job.cancel().block_on()?.took_effect());
        // Now it would be a new one, and is one.
        schedule(3).replace().every(SECOND).block_on()?;
        assert_eq!(refused(process.schedule(&task, 0, 0).push().block_on()), 1);
        Ok(())
    })
}

/// Four jobs of the task `t`, which are due after a minute, and the end of their process.
fn store_four_jobs(machine: &Machine) -> Result {
    let process = Process::boot(machine, true);
    let task = process.task("t").register()?;
    for number in 0..4 {
        let schedule = process.schedule(&task, number, 0);
        schedule.delay(MINUTE).block_on()?;
    }
    process.sim.crash();
    Ok(())
}

#[test]
fn restored_jobs_count_and_never_fail() -> Result {
    let machine = Machine::new();
    store_four_jobs(&machine)?;
    let mut process = Process::boot_with(&machine, true, |app| app.max_pending(3));
    let task = process.task("t").max_pending(2).register()?;
    assert_eq!(process.sim.app().jobs().len(), 4);
    assert_eq!(refused(process.schedule(&task, 9, 0).push().block_on()), 4);
    process.sim.advance(MINUTE);
    assert_eq!(process.log.take().len(), 4);
    process.push(&task, 0, 10)?;
    process.push(&task, 0, 10)?;
    assert_eq!(refused(process.schedule(&task, 9, 0).push().block_on()), 2);
    Ok(())
}

#[test]
fn when_room_waits_in_the_order_of_those_that_wait() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").max_pending(1).register()?;
        process.push(&task, 0, 10)?;
        let mut waiting: Vec<_> = (1..4).map(|at| when_room(&process, &task, at)).collect();
        waiting.iter_mut().for_each(begin);
        process.advance(9);
        waiting.iter_mut().for_each(begin);
        for number in 1..4 {
            process.advance(1);
            let job = waiting.remove(0).block_on()?;
            waiting.iter_mut().for_each(begin);
            process.advance(9);
            assert_eq!(job.status(), JobStatus::Running);
            assert!(process.log.take().ends_with(&[number]));
        }
        Ok(())
    })
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn one_that_waits_and_is_given_up_leaves_its_turn_to_the_next() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").max_pending(1).register()?;
        process.push(&task, 0, 10)?;
        let woken = [Arc::<Woken>::default(), Arc::<Woken>::default()];
        let wakers = woken.clone().map(Waker::from);
        let mut first = when_room(&process, &task, 1);
        let mut second = when_room(&process, &task, 2);
        assert!(poll_with(&mut first, &wakers[0]).is_pending());
        assert!(poll_with(&mut second, &wakers[1]).is_pending());
        process.advance(10);
        let times = || woken.each_ref().map(|one| one.0.load(Ordering::SeqCst));
        assert_eq!(times(), [1, 0]);
        drop(first);
        assert_eq!(times(), [1, 1]);
        second.block_on()?;
        Ok(())
    })
}

#[test]
fn one_that_goes_on_to_wait_for_the_app_leaves_its_turn_to_the_next() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot_with(&machine, false, |app| app.max_pending(2));
    let task = process.task("t").max_pending(1).register()?;
    let other = process.task("other").register()?;
    process.push(&task, 0, 10)?;
    process.push(&other, 0, 10)?;
    let mut first = when_room(&process, &task, 1);
    let mut second = when_room(&process, &task, 2);
    begin(&mut first);
    begin(&mut second);
    process.advance(10);
    process.push(&other, 0, 10)?;
    process.push(&other, 0, 30)?;
    // There is room in the task, but not in the app.
    let woken = Arc::<Woken>::default();
    assert!(poll_with(&mut second, &Waker::from(woken.clone())).is_pending());
    begin(&mut first);
    drop(first);
    process.advance(10);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    second.block_on()?;
    Ok(())
}

#[test]
fn a_wait_for_room_ends_when_the_app_stops() -> Result {
    in_memory_and_stored(|mut process| {
        let task = process.task("t").max_pending(1).register()?;
        process.push(&task, 0, 10)?;
        let mut waiting = when_room(&process, &task, 1);
        begin(&mut waiting);
        process.sim.shutdown(SECOND * 20);
        let end = poll(&mut waiting).expect("the wait is over");
        assert!(matches!(end, Err(ScheduleError::Stopped)), "{end:?}");
        Ok(())
    })
}

#[test]
fn many_jobs_are_scheduled_if_there_is_room_for_all() -> Result {
    in_memory_and_stored(|mut process| {
        let is_stored = process.is_stored;
        let task = process.task("t").max_pending(5).register()?;
        let many = |count: u32, waits: bool| {
            task.schedule_many((0..count).map(|number| (number, 10)), move |job| {
                let job = if is_stored { job } else { job.in_memory() };
                if waits { job.when_room() } else { job }.push()
            })
        };
        process.push(&task, 0, 10)?;
        process.push(&task, 0, 20)?;
        assert_eq!(refused(many(4, false).block_on()), 2);
        assert_eq!(process.sim.app().jobs().len(), 2);
        // That many never fit.
        assert_eq!(refused(many(6, true).block_on()), 2);
        let mut waiting = many(4, true);
        let woken = Arc::<Woken>::default();
        assert!(poll_with(&mut waiting, &Waker::from(woken.clone())).is_pending());
        // One more does not wait behind it.
        let mut one = when_room(&process, &task, 9);
        assert!(poll(&mut one).is_some_and(|job| job.is_ok()));
        process.advance(10);
        assert!(woken.0.load(Ordering::SeqCst) > 0);
        assert_eq!(waiting.block_on()?.len(), 4);
        assert_eq!(refused(process.schedule(&task, 9, 0).push().block_on()), 5);
        process.advance(20);
        assert_eq!(many(5, false).block_on()?.len(), 5);
        Ok(())
    })
}

#[test]
fn many_jobs_that_the_store_refuses_leave_no_place_taken() -> Result {
    let machine = Machine::new();
    let process = Process::boot(&machine, true);
    let task = process.task("t").max_pending(5).register()?;
    let many = || task.schedule_many((0..5).map(|number| (number, 0)), |job| job.push());
    machine.plan_faults([Fault::Fail]);
    assert!(matches!(many().block_on(), Err(ScheduleError::Storage(_))));
    assert_eq!(many().block_on()?.len(), 5);
    Ok(())
}

#[test]
fn submissions_that_are_dropped_before_their_commit_leave_no_place_taken() -> Result {
    let held = HeldApp::new()?;
    let task = held.app.task("t", async |_: u32| {}).durable();
    let task = task.max_pending(3).register()?;
    held.occupy_store()?;
    let mut one = task.schedule(0).delay(HOUR);
    begin(&mut one);
    let mut many = task.schedule_many(0..2, |job| job.delay(HOUR));
    begin(&mut many);
    assert_eq!(refused(task.schedule(0).delay(HOUR).block_on()), 3);
    drop((one, many));
    held.release()?;
    assert_eq!(
        task.schedule_many(0..3, |job| job.delay(HOUR))
            .block_on()?
            .len(),
        3
    );
    Ok(())
}

#[test]
fn a_declaration_and_a_retry_of_a_failed_job_are_new_jobs() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, true);
    let fails = process
        .sim
        .app()
        .task("t", |_: Work| async { Err::<(), _>("no") });
    let task = fails.durable().max_pending(1).register()?;
    let _ = process
        .schedule(&task, 0, 0)
        .id("failed")
        .push()
        .block_on()?;
    process.sim.run_until_stalled();
    let app = process.sim.app().clone();
    let declare = |id: &'static str| {
        let schedule = task.schedule((0, 0)).id(id).every(HOUR);
        app.declare("set", |set| {
            set.add(schedule);
        })
        .block_on()
    };
    declare("a")?;
    assert!(declare("a").is_ok(), "it is live already");
    let failed = process.sim.app().failed().block_on()?;
    let error = failed[0].retry().block_on().unwrap_err();
    assert!(
        matches!(
            error,
            RetryError::Schedule(ScheduleError::TooManyPending { .. })
        ),
        "{error}"
    );
    let job = task.job("a").unwrap();
    assert!(job.cancel().block_on()?.took_effect());
    failed[0].retry().block_on()?;
    assert!(declare("b").is_err());
    process.sim.run_until_stalled();
    declare("b")?;
    Ok(())
}

#[test]
fn the_error_of_an_id_that_is_taken_comes_before_that_of_too_many_jobs() -> Result {
    in_memory_and_stored(|process| {
        let task = process.task("t").max_pending(1).register()?;
        let schedule = || process.schedule(&task, 0, 0).id("x");
        schedule().delay(HOUR).block_on()?;
        for error in [
            schedule().push().block_on().unwrap_err(),
            poll(schedule().when_room().push())
                .expect("it does not wait")
                .unwrap_err(),
        ] {
            assert!(
                matches!(error, ScheduleError::DuplicateJob { .. }),
                "{error}"
            );
        }
        Ok(())
    })
}

struct Registers(Jobber);

impl std::task::Wake for Registers {
    fn wake(self: Arc<Self>) {
        drop(self.0.task("late", || async {}).register());
    }
}

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

#[test]
fn a_failed_start_counts_no_job() -> Result {
    let disk = MemoryStorage::new();
    {
        let app = Jobber::builder().storage(disk.clone()).build()?;
        let task = app.task("t", async |_: u32| {}).durable().register()?;
        app.start().block_on()?;
        task.schedule(1).delay(HOUR).block_on()?;
        task.schedule(2).delay(HOUR).block_on()?;
        app.shutdown(SECOND * 5).block_on();
    }
    let mut fails = 1;
    let storage = FaultyStorage::new(disk.clone(), move |operation| match operation {
        Operation::Load if fails > 0 => {
            fails -= 1;
            Fault::Tear
        }
        _ => Fault::None,
    });
    let app = Jobber::builder().storage(storage).build()?;
    let task = app
        .task("t", async |_: u32| {})
        .durable()
        .max_pending(3)
        .register()?;
    assert!(app.start().block_on().is_err());
    app.start().block_on()?;
    assert_eq!(app.jobs().len(), 2);
    let third = task.schedule(3).delay(HOUR).block_on();
    assert!(third.is_ok());
    Ok(())
}

#[test]
fn one_that_keeps_a_job_needs_no_room_when_another_has_scheduled_it() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, false);
    let task = process.task("t").max_pending(1).register()?;
    process.push(&task, 0, 10)?;
    let submit = || {
        process
            .schedule(&task, 1, 0)
            .id("x")
            .keep()
            .when_room()
            .every(MINUTE)
    };
    let (mut first, mut second) = (submit(), submit());
    begin(&mut first);
    begin(&mut second);
    process.sim.advance(SECOND * 10);
    let job = first.block_on()?;
    assert!(!job.is_done());
    // A new one returns at once.
    assert!(
        poll(
            process
                .schedule(&task, 1, 0)
                .id("x")
                .keep()
                .when_room()
                .every(MINUTE)
        )
        .is_some()
    );
    process.sim.advance(HOUR);
    assert!(
        poll(&mut second).is_some(),
        "it waits though it needs no room"
    );
    Ok(())
}

#[test]
fn a_waker_that_the_stop_wakes_may_call_the_app() -> Result {
    without_deadlock(|| {
        let machine = Machine::new();
        let mut process = Process::boot(&machine, false);
        let task = process.task("t").max_pending(1).register()?;
        process.push(&task, 0, 10)?;
        let mut waiting = process.schedule(&task, 1, 0).when_room().push();
        let waker = Waker::from(Arc::new(Registers(process.sim.app().clone())));
        assert!(poll_with(&mut waiting, &waker).is_pending());
        process.sim.shutdown(SECOND * 20);
        Ok(())
    })
}

#[test]
fn no_jobs_at_all_need_no_room() -> Result {
    let machine = Machine::new();
    store_four_jobs(&machine)?;
    let process = Process::boot(&machine, true);
    let task = process.task("t").max_pending(2).register()?;
    let none = task.schedule_many(Vec::new(), |job| job.push()).block_on();
    assert!(none.is_ok(), "{none:?}");
    Ok(())
}

#[test]
fn many_jobs_that_have_their_places_are_not_refused_because_others_are_restored() -> Result {
    for waits in [false, true] {
        let machine = Machine::new();
        let process = Process::boot(&machine, true);
        let old = process.task("old").register()?;
        for number in 0..3 {
            process.schedule(&old, number, 0).delay(MINUTE).block_on()?;
        }
        process.sim.crash();
        let hook = Hook::default();
        let hooked = hook.clone();
        let storage = FaultyStorage::new(machine.disk.clone(), move |operation| {
            if let Operation::Commit(_) = operation {
                let hook = hooked.lock().unwrap().take();
                if let Some(hook) = hook {
                    hook();
                }
            }
            Fault::None
        });
        let sim = Simulation::with(7, ManualClock::new(), |app| {
            app.storage(storage).max_pending(3)
        })?;
        let task = sim
            .app()
            .task("t", async |_: u32| {})
            .durable()
            .register()?;
        let app = sim.app().clone();
        *hook.lock().unwrap() = Some(Box::new(move || {
            app.task("old", async |_: (u32, u64)| {})
                .durable()
                .register()
                .unwrap();
        }));
        let at = std::sync::atomic::AtomicUsize::new(0);
        let many = task.schedule_many(0..2, move |job| {
            let is_first = at.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let job = if is_first { job } else { job.in_memory() };
            let job = if waits { job.when_room() } else { job };
            job.delay(HOUR)
        });
        let many = many.block_on();
        assert!(many.is_ok(), "{:?}", many.map(|it| it.len()));
    }
    Ok(())
}

#[test]
fn a_stopped_app_says_that_it_has_stopped_though_it_is_full() -> Result {
    let machine = Machine::new();
    let mut process = Process::boot(&machine, false);
    let task = process.task("t").max_pending(1).register()?;
    process.push(&task, 0, 1000)?;
    process.sim.run_until_stalled();
    process.sim.shutdown(SECOND);
    let error = process.schedule(&task, 1, 0).push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::Stopped), "{error}");
    Ok(())
}

#[test]
fn a_declaration_does_not_wait_for_room() -> Result {
    without_deadlock(|| {
        let machine = Machine::new();
        let process = Process::boot(&machine, false);
        let task = process
            .sim
            .app()
            .task("t", async |_: u32| {})
            .max_pending(1)
            .register()?;
        let _ = task.schedule(0).delay(HOUR).block_on()?;
        let schedule = task.schedule(1).id("a").when_room().every(HOUR);
        let declared = process.sim.app().declare("set", |set| {
            set.add(schedule);
        });
        let declared = declared.block_on();
        assert!(declared.is_err());
        Ok(())
    })
}

#[test]
fn no_room_at_all_is_refused() -> Result {
    let process = Process::boot(&Machine::new(), false);
    let error = process.task("t").max_pending(0).register().unwrap_err();
    assert!(matches!(
        error,
        RegisterError::ZeroLimit {
            option: "max_pending"
        }
    ));
    let error = Jobber::builder().max_pending(0).build();
    assert!(matches!(
        error,
        Err(StartError::ZeroLimit {
            option: "max_pending"
        })
    ));
    Ok(())
}

/// Whatever happens to jobs, the count is that of the live ones.
#[test]
fn the_count_is_always_that_of_the_live_jobs() -> Result {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let machine = Machine::new();
        let mut process = Process::boot(&machine, true);
        let max = 6;
        let mut task = process.task("t").max_pending(max).register()?;
        for step in 0..60 {
            let id = format!("id {}", rng.u8(..8));
            let schedule = || {
                let schedule = process.schedule(&task, 0, 5).id(id.as_str());
                if step % 3 == 0 {
                    schedule.in_memory()
                } else {
                    schedule
                }
            };
            if rng.u8(..8) == 0 {
                machine.plan_faults([Fault::Fail]);
            }
            match rng.u8(..9) {
                0 => drop(schedule().push().block_on()),
                1 => drop(schedule().delay(SECOND * 10).block_on()),
                2 => drop(schedule().replace().every(SECOND * 7).block_on()),
                3 => drop(schedule().replace().delay(SECOND * 3).block_on()),
                4 => {
                    if let Some(job) = rng.choice(process.sim.app().jobs()) {
                        let _ = job.cancel().block_on();
                    }
                }
                5 => {
                    if let Some(job) = rng.choice(process.sim.app().jobs()) {
                        let _ = job.abort().block_on();
                    }
                }
                6 => {
                    let many = (0..3).map(|number| (number, 5));
                    drop(task.schedule_many(many, |job| job.push()).block_on());
                }
                7 if rng.u8(..4) == 0 => {
                    process.sim.crash();
                    process = Process::boot(&machine, true);
                    task = process.task("t").max_pending(max).register()?;
                }
                _ => process.advance(rng.u64(..6)),
            }
            process.sim.run_until_stalled();
            let live = process.sim.app().jobs().len();
            let one_more = process
                .schedule(&task, 0, 0)
                .in_memory()
                .delay(HOUR)
                .block_on();
            match one_more {
                Ok(job) => {
                    assert!(live < max, "seed {seed}, step {step}: {live} are live");
                    assert!(job.cancel().block_on()?.took_effect());
                }
                Err(error) => assert_eq!(refused::<()>(Err(error)), live, "seed {seed}"),
            }
        }
    }
    Ok(())
}

#[test]
fn who_has_seen_the_end_of_a_job_finds_its_place_free() -> Result {
    let app = Jobber::builder().build()?;
    let task = app.task("t", async || {}).max_pending(1).register()?;
    app.start().block_on()?;
    for _ in 0..2_000 {
        let job = task.schedule(()).push().block_on()?;
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

#[test]
fn threads_that_wait_for_room_all_get_it() -> Result {
    let app = Jobber::builder().max_pending(3).build()?;
    let live = Arc::new(AtomicUsize::new(0));
    let seen = live.clone();
    let task = app.task("t", move || {
        let most = seen.fetch_add(1, Ordering::SeqCst) + 1;
        let seen = seen.clone();
        async move {
            seen.fetch_sub(1, Ordering::SeqCst);
            most
        }
    });
    let task = task.max_pending(2).register()?;
    app.start().block_on()?;
    let together = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                together.wait();
                for _ in 0..300 {
                    let job = task.schedule(()).when_room().push().block_on().unwrap();
                    assert!(*job.block_on().unwrap() <= 2);
                }
            });
        }
    });
    Ok(())
}
