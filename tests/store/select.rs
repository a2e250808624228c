//! Selections: many jobs at once, in memory and stored.

use crate::support::Log;
use crate::support::{HOUR, Machine, Result, SECOND};
use crate::tasks::hanging;
use jobber::testing::{Fault, Simulation};
use jobber::{JobStatus, Jobs, LabelError, RegisterError, ScheduleError, SelectError, Task};

/// Twelve jobs of two tasks: `one` with ids `a/..` and `other` with ids `b/..`.
fn twelve(sim: &Simulation, is_stored: bool) -> Result<[Task<u32, ()>; 2]> {
    let task = |name: &str| sim.app().task(name, async |_: u32| {}).durable().register();
    let tasks = [task("one")?, task("other")?];
    for number in 0..6 {
        for (task, prefix) in tasks.iter().zip(["a", "b"]) {
            let schedule = task.schedule(number).id(format!("{prefix}/{number}"));
            let schedule = match is_stored {
                true => schedule,
                false => schedule.in_memory(),
            };
            schedule.delay(HOUR).block_on()?;
        }
    }
    Ok(tasks)
}

#[test]
fn a_selection_has_the_live_jobs_that_fulfil_all_conditions() -> Result {
    for is_stored in [false, true] {
        let sim = Machine::new().boot();
        let [one, _] = twelve(&sim, is_stored)?;
        let count = |jobs| sim.app().select(jobs).count();
        assert_eq!(count(Jobs::all())?, 12);
        assert_eq!(count(Jobs::matching().task("one"))?, 6);
        assert_eq!(count(Jobs::matching().id_prefix("b/"))?, 6);
        assert_eq!(count(Jobs::matching().task("one").id_prefix("b/"))?, 0);
        assert_eq!(count(Jobs::all().id_prefix("a/3"))?, 1);
        assert_eq!(count(Jobs::matching().status(JobStatus::Scheduled))?, 12);
        assert_eq!(count(Jobs::matching().status(JobStatus::Running))?, 0);
        assert!(matches!(
            count(Jobs::matching()),
            Err(SelectError::NoCondition)
        ));
        let listed = sim.app().select(Jobs::matching().task("one")).list()?;
        assert!(listed.iter().all(|job| job.task_name() == "one"));
        assert_eq!(one.jobs().len(), 6);
    }
    Ok(())
}

#[test]
fn each_call_says_how_many_jobs_it_has_changed_and_the_store_has_that() -> Result {
    for is_stored in [false, true] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let [one, _] = twelve(&sim, is_stored)?;
        one.job("a/0").unwrap().pause().block_on()?;
        let of_one = sim.app().select(Jobs::matching().task("one"));
        assert_eq!(of_one.pause().block_on()?, 5);
        assert_eq!(of_one.pause().block_on()?, 0);
        if is_stored {
            let is_paused = |id: &str| machine.record(id).unwrap().progress.is_paused;
            assert!(is_paused("a/5") && !is_paused("b/5"));
        }
        assert_eq!(sim.app().select(Jobs::all()).resume().block_on()?, 6);
        assert_eq!(of_one.cancel().block_on()?, 6);
        assert_eq!(sim.app().jobs().len(), 6);
        assert_eq!(machine.records().len(), if is_stored { 6 } else { 0 });
        sim.advance(HOUR);
        assert!(sim.app().jobs().is_empty());
    }
    Ok(())
}

#[test]
fn a_cancel_of_running_jobs_counts_those_that_were_not_cancelled_before() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = hanging(&sim, &Log::new());
    for number in 0..3 {
        task.schedule(number)
            .id(number.to_string())
            .push()
            .block_on()?;
    }
    sim.advance(SECOND);
    let running = sim
        .app()
        .select(Jobs::matching().status(JobStatus::Running));
    assert_eq!(running.count()?, 3);
    assert_eq!(running.cancel().block_on()?, 3);
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn many_jobs_are_stored_in_commits_of_a_thousand_at_most() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = sim
        .app()
        .task("t", async |_: u32| {})
        .durable()
        .register()?;
    for number in 0..2_500 {
        task.schedule(number).delay(HOUR).block_on()?;
    }
    machine.commits.take();
    assert_eq!(sim.app().select(Jobs::all()).cancel().block_on()?, 2_500);
    assert!(
        machine
            .commits
            .take()
            .iter()
            .all(|changes| *changes <= 1_000)
    );
    assert!(machine.records().is_empty());
    Ok(())
}

#[test]
fn a_store_that_fails_is_reported_with_the_number_of_changed_jobs() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    twelve(&sim, true)?;
    machine.set_fault(Fault::Fail);
    let error = sim
        .app()
        .select(Jobs::all())
        .pause()
        .block_on()
        .unwrap_err();
    assert!(
        matches!(error, SelectError::Storage { changed: 12, .. }),
        "{error:?}"
    );
    assert!(sim.app().jobs().iter().all(|job| job.is_paused()));
    Ok(())
}

#[test]
fn jobs_are_selected_by_tags_and_a_stored_job_keeps_its_labels() -> Result {
    for is_stored in [false, true] {
        let machine = Machine::new();
        let boot = || -> Result<_> {
            let sim = machine.boot();
            let task = sim.app().task("t", async |_: u32| {}).tag("of the task");
            let task = task.note("owner", "ops").durable().register()?;
            Ok((sim, task))
        };
        let (mut sim, task) = boot()?;
        let schedule = |id: &str| match is_stored {
            true => task.schedule(1).id(id),
            false => task.schedule(1).id(id).in_memory(),
        };
        let labelled = schedule("x").tag("a").tag("b").tag("a").note("owner", "me");
        labelled.delay(HOUR).block_on()?;
        schedule("y").tag("b").delay(HOUR).block_on()?;
        if is_stored {
            sim.crash();
            sim = boot()?.0;
        }
        let count = |jobs| sim.app().select(jobs).count();
        assert_eq!(count(Jobs::matching().tag("a"))?, 1);
        assert_eq!(count(Jobs::matching().tag("b"))?, 2);
        assert_eq!(
            count(Jobs::matching().tag("a").tag("b").tag("of the task"))?,
            1
        );
        assert_eq!(count(Jobs::matching().tag("c"))?, 0);
        let job = sim.app().find_job("x").unwrap();
        assert_eq!(job.tags(), ["of the task", "a", "b"].map(Into::into));
        assert_eq!(job.note("owner").as_deref(), Some("me"));
        let other = sim.app().find_job("y").unwrap();
        assert_eq!(other.notes(), [("owner".into(), "ops".into())]);
    }
    Ok(())
}

#[test]
fn a_label_that_is_not_allowed_is_an_error_and_schedules_nothing() -> Result {
    let sim = Machine::new().boot();
    let task = sim
        .app()
        .task("t", async |_: u32| {})
        .tag("one")
        .register()?;
    let label = |schedule: jobber::Schedule<u32, ()>| match schedule.push().block_on() {
        Err(ScheduleError::Label(error)) => error,
        other => panic!("{other:?}"),
    };
    let long = |bytes| "x".repeat(bytes);
    let schedule = || task.schedule(1);
    assert_eq!(label(schedule().tag("")), LabelError::Empty { what: "tag" });
    let error = label(schedule().tag(long(65)));
    assert!(matches!(
        error,
        LabelError::TooLong {
            what: "tag",
            bytes: 65,
            max: 64
        }
    ));
    let error = label(schedule().tag("a\nb"));
    assert!(matches!(
        error,
        LabelError::ControlCharacter {
            character: '\n',
            ..
        }
    ));
    let error = label(schedule().note("", "x"));
    assert_eq!(
        error,
        LabelError::Empty {
            what: "key of a note"
        }
    );
    let error = label(schedule().note("k", long(1_025)));
    assert!(matches!(
        error,
        LabelError::TooLong {
            what: "note",
            max: 1_024,
            ..
        }
    ));
    let many = (0..16).fold(schedule(), |schedule, n| schedule.tag(n.to_string()));
    assert!(matches!(
        label(many),
        LabelError::TooMany {
            what: "tags",
            found: 17,
            max: 16
        }
    ));
    assert!(sim.app().jobs().is_empty());
    let most = (0..14).fold(schedule(), |schedule, n| schedule.tag(n.to_string()));
    let most = most.tag(long(64)).note("k", long(1_024)).note("empty", "");
    most.push().block_on()?;
    let error = sim
        .app()
        .task("u", || async {})
        .tag("")
        .register()
        .unwrap_err();
    assert!(matches!(
        error,
        RegisterError::Label(LabelError::Empty { what: "tag" })
    ));
    Ok(())
}

#[test]
fn many_jobs_are_scheduled_in_one_commit_all_or_none() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = sim.app().task("t", async |n: u32| n).durable().register()?;
    machine.commits.take();
    let jobs = task.schedule_many(0..3_000, |job| job.tag("x").delay(HOUR));
    let jobs = jobs.block_on()?;
    assert_eq!(machine.commits.take(), [3_000]);
    machine.plan_faults([Fault::Fail]);
    let refused = task.schedule_many(0..100, |job| job.delay(HOUR)).block_on();
    assert!(matches!(refused, Err(ScheduleError::Storage(_))));
    assert_eq!(
        (sim.app().jobs().len(), machine.records().len()),
        (3_000, 3_000)
    );
    sim.advance(HOUR);
    for (number, job) in jobs.iter().enumerate() {
        assert_eq!(
            *job.result()?,
            number as u32,
            "in the order of the arguments"
        );
    }
    Ok(())
}

#[test]
fn many_jobs_in_memory_need_no_store_and_run() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |n: u32| n).register()?;
    let jobs = task.schedule_many(0..100, |job| job.push()).block_on()?;
    let recurring = task.schedule_many([7], |job| job.max_runs(1).every(SECOND));
    let recurring = recurring.block_on()?;
    sim.advance(SECOND);
    assert!(jobs.iter().chain(&recurring).all(|job| job.is_done()));
    Ok(())
}

#[test]
fn many_jobs_with_one_that_is_wrong_schedule_nothing() -> Result {
    for is_durable in [false, true] {
        let machine = Machine::new();
        let sim = machine.boot();
        let task = sim.app().task("t", async |_: u64| {});
        let task = match is_durable {
            true => task.durable().register()?,
            false => task.register()?,
        };
        let some = task.schedule_many([1, 2, u64::MAX], |job| {
            // Each has its own options.
            job.delay(HOUR)
        });
        assert_eq!(some.block_on()?.len(), 3);
        sim.app().select(Jobs::all()).cancel().block_on()?;
        let numbers = std::cell::Cell::new(0);
        let last_is_wrong = task.schedule_many(0..5, |job| {
            numbers.set(numbers.get() + 1);
            match numbers.get() {
                5 => job.delay(std::time::Duration::MAX),
                _ => job.delay(HOUR),
            }
        });
        let error = last_is_wrong.block_on().unwrap_err();
        assert!(matches!(error, ScheduleError::DurationTooLong { .. }));
        let error = task.schedule_many([1], |job| job.id("x").delay(HOUR));
        assert!(matches!(error.block_on(), Err(ScheduleError::IdOfMany)));
        let error = task.schedule_many(0..10_001, |job| job.delay(HOUR));
        let too_many = error.block_on().unwrap_err();
        assert!(matches!(
            too_many,
            ScheduleError::TooMany {
                found: 10_001,
                max: 10_000
            }
        ));
        assert!(sim.app().jobs().is_empty() && machine.records().is_empty());
        assert!(
            task.schedule_many([], |job| job.push())
                .block_on()?
                .is_empty()
        );
    }
    Ok(())
}

#[test]
fn a_snapshot_shows_what_a_status_page_needs() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = sim
        .app()
        .task("t", async |_: u32| Err::<(), _>("no"))
        .durable();
    let task = task.retry(jobber::Backoff::fixed(1, SECOND)).register()?;
    let schedule = task.schedule(7).id("x").tag("a").note("k", "v");
    let job = schedule.every(HOUR).block_on()?;
    sim.advance(HOUR);
    job.pause().block_on()?;
    let shown = job.snapshot();
    assert_eq!(
        (shown.attempt, shown.runs, shown.failures_in_a_row),
        (2, 0, 0)
    );
    assert_eq!(shown.args.as_deref(), Some("7"));
    assert!(shown.is_paused && shown.is_durable);
    sim.advance(SECOND * 2);
    assert_eq!(job.snapshot().waiting_for, Some(jobber::WaitingFor::Pause));
    job.resume().block_on()?;
    sim.advance(SECOND * 2);
    let shown = job.snapshot();
    assert_eq!(
        (shown.attempt, shown.runs, shown.failures_in_a_row),
        (1, 1, 1)
    );
    assert_eq!(shown.due, job.exec_at());
    let json = serde_json::to_value(&shown)?;
    assert_eq!(json["trigger"], "the interval 3600s");
    assert_eq!(json["tags"], serde_json::json!(["a"]));
    assert_eq!(json["last_run"]["status"], "FAILED");
    assert_eq!(json["scheduled_at"], "2000-01-01T00:00:00.000000000Z");
    Ok(())
}
