//! Declaring sets of jobs.

use crate::held_app::{HeldApp, full};
use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND, begin, poll};
use crate::tasks::{failing, hanging, logging};
use futures_lite::future::block_on;
use jobber::storage::{StorageError, UnresolvedReason};
use jobber::testing::{Fault, Simulation};
use jobber::{
    Backoff, Clock, DeclareError, Declared, JobId, JobStatus, Jobber, ScheduleError, Task,
};

fn ids(ids: &[&str]) -> Vec<JobId> {
    ids.iter().copied().map(JobId::from).collect()
}

/// Declares the set `set` of hourly jobs with these ids and arguments.
fn declare(app: &Jobber, task: &Task<u32, u32>, jobs: &[(&str, u32)]) -> Result<Declared> {
    let declared = app.declare("set", |set| {
        for (id, n) in jobs {
            set.add(task.schedule(*n).id(*id).every(HOUR));
        }
    });
    Ok(declared.block_on()?)
}

fn args(machine: &Machine) -> Vec<(String, String)> {
    let records = machine.records().into_iter();
    records.map(|job| (job.id, job.args)).collect()
}

fn pair(id: &str, args: &str) -> (String, String) {
    (id.into(), args.into())
}

#[test]
fn a_set_is_declared_at_each_start_and_its_jobs_keep_their_progress() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    for process in 1..=3 {
        let mut sim = machine.boot();
        let task = logging(&sim, "t", &log);
        machine.commits.take();
        let declared = declare(sim.app(), &task, &[("a", 1), ("b", 2)])?;
        let (added, unchanged) = match process {
            1 => (ids(&["a", "b"]), vec![]),
            _ => (vec![], ids(&["a", "b"])),
        };
        assert_eq!((declared.added, declared.unchanged), (added, unchanged));
        let commits = if process == 1 { vec![2] } else { vec![] };
        assert_eq!(machine.commits.take(), commits, "in one commit, or none");
        sim.advance(HOUR);
        let runs = task.job("a").unwrap().last_run().unwrap().number;
        assert_eq!(runs, process);
        sim.crash();
    }
    Ok(())
}

#[test]
fn entries_that_changed_replace_their_jobs_in_one_commit() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let log = Log::new();
    let task = logging(&sim, "t", &log);
    declare(sim.app(), &task, &[("a", 1), ("b", 2), ("c", 3)])?;
    sim.advance(HOUR + MINUTE);
    sim.crash();
    let sim = machine.boot();
    let task = logging(&sim, "t", &log);
    machine.commits.take();
    let mut events = sim.app().events();
    let declared = declare(
        sim.app(),
        &task,
        &[("a", 1), ("b", 20), ("c", 30), ("d", 4)],
    )?;
    assert_eq!(declared.unchanged, ids(&["a"]));
    assert_eq!(declared.replaced, ids(&["b", "c"]));
    assert_eq!(declared.added, ids(&["d"]));
    assert_eq!(machine.commits.take(), [3]);
    let now = ["a", "b", "c", "d"].iter().zip(["1", "20", "30", "4"]);
    let now: Vec<_> = now.map(|(id, args)| pair(id, args)).collect();
    assert_eq!(args(&machine), now);
    let job = task.job("b").unwrap();
    assert_eq!(job.last_run().unwrap().number, 1, "its runs count");
    let first = events.try_next();
    assert!(first.is_some(), "a replacement has an event");
    Ok(())
}

#[test]
fn an_invalid_entry_refuses_the_set_and_the_error_names_it() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let other_sim = Simulation::new();
    let task = logging(&sim, "t", &Log::new());
    let other = sim.app().task("other", || async {}).durable().register()?;
    let far = other_sim.app().task("far", || async {}).register()?;
    let _ = other.schedule(()).id("taken").every(HOUR).block_on()?;
    let before = args(&machine);
    machine.commits.take();
    let long = "x".repeat(1_025);
    type Add<'a> = &'a dyn Fn(&mut jobber::JobSet);
    let table: [(Add<'_>, &str); 10] = [
        (
            &|set| {
                set.add(task.schedule(1).id("z").cron("no"));
            },
            "the entry `z` of the set can't be scheduled",
        ),
        (
            &|set| {
                set.add(task.schedule(1).id("taken").every(HOUR));
            },
            "the entry `taken` of the set can't be scheduled",
        ),
        (
            &|set| {
                set.add(task.schedule(1).id("z").cron("0 0 30 2 *"));
            },
            "the entry `z` of the set can't be scheduled",
        ),
        (
            &|set| {
                set.add(task.schedule(1).id("").every(HOUR));
            },
            "the entry `` of the set can't be scheduled",
        ),
        (
            &|set| {
                set.add(task.schedule(1).id(&long).every(HOUR));
            },
            "the entry `xxx",
        ),
        (
            &|set| {
                set.add(task.schedule(1).id("z").push());
            },
            "the entry `z` of the set runs once",
        ),
        (
            &|set| {
                set.add(task.schedule(1).every(HOUR));
            },
            "an entry of the set, a job of the task `t`, has no id: set .id(..)",
        ),
        (
            &|set| {
                set.add(task.schedule(1).id("z").generated_id().every(HOUR));
            },
            "an entry of the set, a job of the task `t`, has no id",
        ),
        (
            &|set| {
                set.add(task.schedule(1).id("a").every(HOUR));
            },
            "two entries of the set have the id `a`",
        ),
        (
            &|set| {
                set.add(far.schedule(()).id("z").every(HOUR));
            },
            "the entry `z` of the set is a job of another app",
        ),
    ];
    for (bad, message) in table {
        let declared = sim.app().declare("set", |set| {
            set.add(task.schedule(1).id("a").every(HOUR));
            bad(set);
            set.add(task.schedule(1).id("b").every(HOUR));
        });
        let error = declared.block_on().unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
        assert_eq!(
            (args(&machine), sim.app().jobs().len()),
            (before.clone(), 1)
        );
    }
    for name in ["", "a\nb", &long] {
        let error = sim.app().declare(name, |_| {}).block_on().unwrap_err();
        assert!(matches!(error, DeclareError::InvalidName { .. }));
    }
    assert!(machine.commits.take().is_empty());
    declare(sim.app(), &task, &[("a", 1), ("b", 1)])?;
    Ok(())
}

#[test]
fn an_entry_with_keep_leaves_its_live_job_as_it_is() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let declare = |n, keep: bool| {
        let schedule = task.schedule(n).id("a");
        let schedule = if keep { schedule.keep() } else { schedule };
        let declared = sim.app().declare("set", |set| {
            set.add(schedule.every(HOUR));
        });
        declared.block_on()
    };
    assert_eq!(declare(1, true)?.added, ids(&["a"]));
    assert_eq!(declare(2, true)?.unchanged, ids(&["a"]));
    assert_eq!(args(&machine), [pair("a", "1")]);
    assert_eq!(declare(2, false)?.replaced, ids(&["a"]));
    assert_eq!(args(&machine), [pair("a", "2")]);
    Ok(())
}

#[test]
fn a_job_that_failed_for_good_is_made_anew() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new(), Backoff::fixed(0, SECOND));
    let declare = |sim: &Simulation, task: &Task<u32, u32>| {
        let declared = sim.app().declare("set", |set| {
            set.add(task.schedule(1).id("a").max_failures(2).every(HOUR));
        });
        declared.block_on()
    };
    declare(&sim, &task)?;
    let job = task.job("a").unwrap();
    sim.advance(HOUR * 2);
    assert_eq!(job.status(), JobStatus::PermanentlyFailed);
    sim.crash();
    let sim = machine.boot();
    let task = failing(&sim, &Log::new(), Backoff::fixed(0, SECOND));
    assert_eq!(declare(&sim, &task)?.added, ids(&["a"]));
    assert_eq!(task.job("a").unwrap().status(), JobStatus::Scheduled);
    Ok(())
}

#[test]
fn a_job_that_is_absent_goes_on_and_is_reported_until_the_set_removes_it() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &log);
    let by_hand = task.schedule(7).id("by hand").every(HOUR).block_on()?;
    let other = sim.app().declare("other", |set| {
        set.add(task.schedule(8).id("of another set").every(HOUR));
    });
    other.block_on()?;
    declare(sim.app(), &task, &[("a", 1), ("b", 2)])?;
    // A replacement by another call leaves it in the set.
    let _ = task
        .schedule(3)
        .id("b")
        .replace()
        .every(MINUTE * 30)
        .block_on()?;
    sim.crash();
    sim = machine.boot();
    let task = logging(&sim, "t", &log);
    let declared = declare(sim.app(), &task, &[("a", 1)])?;
    assert_eq!((declared.absent, declared.removed), (ids(&["b"]), vec![]));
    let job = task.job("b").unwrap();
    sim.advance(HOUR);
    assert_eq!(job.last_run().unwrap().number, 2);

    let remove = |app: &Jobber, task: &Task<u32, u32>| {
        let declared = app.declare("set", |set| {
            set.add(task.schedule(1).id("a").every(HOUR))
                .remove_absent();
        });
        declared.block_on()
    };
    let declared = remove(sim.app(), &task)?;
    assert_eq!((declared.absent, declared.removed), (vec![], ids(&["b"])));
    assert_eq!(job.status(), JobStatus::Cancelled);
    let left: Vec<_> = machine.records().into_iter().map(|job| job.id).collect();
    assert_eq!(left, ["a", "by hand", "of another set"]);
    assert!(by_hand.status() != JobStatus::Cancelled);
    assert!(remove(sim.app(), &task)?.removed.is_empty());
    Ok(())
}

#[test]
fn an_absent_job_that_no_task_can_run_is_reported_and_removed_too() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let (task, gone) = (
        logging(&sim, "t", &Log::new()),
        logging(&sim, "gone", &Log::new()),
    );
    let declared = sim.app().declare("set", |set| {
        set.add(task.schedule(1).id("a").every(HOUR));
        set.add(gone.schedule(2).id("b").every(HOUR));
    });
    declared.block_on()?;
    sim.crash();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    assert_eq!(declare(sim.app(), &task, &[("a", 1)])?.absent, ids(&["b"]));
    assert!(matches!(
        sim.app().unresolved()[0].reason,
        UnresolvedReason::UnknownTask
    ));
    let declared = sim.app().declare("set", |set| {
        set.add(task.schedule(1).id("a").every(HOUR))
            .remove_absent();
    });
    assert_eq!(declared.block_on()?.removed, ids(&["b"]));
    assert!(sim.app().unresolved().is_empty() && !machine.has("b"));
    Ok(())
}

#[test]
fn an_entry_whose_end_has_passed_is_over_and_refuses_nothing() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let until = sim.clock().wall() + HOUR * 3;
    let declare = |sim: &Simulation| {
        let declared = sim.app().declare("set", |set| {
            set.add(task.schedule(1).id("a").until(until).every(HOUR));
            set.add(task.schedule(2).id("b").every(HOUR));
        });
        declared.block_on()
    };
    assert_eq!(declare(&sim)?.added, ids(&["a", "b"]));
    sim.advance(HOUR * 4);
    let declared = declare(&sim)?;
    assert_eq!(
        (declared.over, declared.unchanged),
        (ids(&["a"]), ids(&["b"]))
    );
    Ok(())
}

/// What the store refuses, it refuses as a whole.
#[test]
fn a_set_that_the_store_refuses_changes_nothing() -> Result {
    let torn = Fault::Tear;
    let too_large = Fault::FailWith(StorageError::TooLarge {
        detail: "one of them".into(),
    });
    for fault in [Fault::Fail, torn, too_large, full(), Fault::Panic] {
        let machine = Machine::new();
        let mut sim = machine.boot();
        let log = Log::new();
        let task = logging(&sim, "t", &log);
        declare(sim.app(), &task, &[("a", 1), ("b", 2)])?;
        let before = args(&machine);
        machine.plan_faults([fault.clone()]);
        let declared = declare(sim.app(), &task, &[("a", 10), ("b", 2), ("c", 3)]);
        let error = *declared.unwrap_err().downcast::<DeclareError>()?;
        assert!(
            matches!(error, DeclareError::Set(ScheduleError::Storage(_))),
            "{fault:?}: {error:?}"
        );
        sim.advance(SECOND * 20);
        assert_eq!(
            (args(&machine), sim.app().jobs().len()),
            (before, 2),
            "{fault:?}"
        );
        let declared = declare(sim.app(), &task, &[("a", 10), ("b", 2), ("c", 3)])?;
        assert_eq!(
            (declared.replaced, declared.added),
            (ids(&["a"]), ids(&["c"]))
        );
        sim.advance(HOUR);
        assert_eq!(log.take().len(), 3);
    }
    Ok(())
}

/// Beside other changes, a set that has no room is refused alone and as a whole.
#[test]
fn a_set_that_has_no_room_is_not_split() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    app.occupy_store()?;
    let mut set = app.app.declare("set", |set| {
        for id in ["a", "b", "c"] {
            set.add(task.schedule(1).id(id).every(HOUR));
        }
    });
    begin(&mut set);
    let mut single = task.schedule(2).id("single").every(HOUR);
    begin(&mut single);
    app.store.answer(Fault::None);
    assert_eq!(
        app.store.requested()?,
        ["put a 1", "put b 1", "put c 1", "put single 2"]
    );
    app.store.answer(full());
    assert_eq!(app.store.requested()?, ["put a 1", "put b 1", "put c 1"]);
    app.store.answer(full());
    assert_eq!(app.store.requested()?, ["put single 2"]);
    app.store.answer(Fault::None);
    app.release()?;
    assert!(block_on(set).is_err());
    block_on(single)?;
    assert!(app.record("single").is_some());
    for id in ["a", "b", "c"] {
        assert!(app.record(id).is_none() && app.app.find_job(id).is_none());
    }
    Ok(())
}

#[test]
fn nothing_of_a_set_shows_before_the_store_has_it_and_no_job_of_it_starts() -> Result {
    let mut app = HeldApp::new()?;
    let log = Log::new();
    let task = app.slow(&log, SECOND)?;
    let old = task.schedule(1).id("a").every(HOUR).block_on()?;
    app.store.hold();
    let mut set = app.app.declare("set", |set| {
        set.add(task.schedule(2).id("a").every(HOUR));
        set.add(task.schedule(3).id("b").every(HOUR));
    });
    begin(&mut set);
    assert_eq!(app.store.requested()?, ["put a 2", "put b 3"]);
    assert!(app.app.find_job("b").is_none());
    app.advance(HOUR)?;
    assert_eq!(
        (log.entries(), old.status()),
        (vec![], JobStatus::Scheduled)
    );
    app.store.release();
    assert_eq!(block_on(set)?.replaced, ids(&["a"]));
    app.poll_next()?;
    assert_eq!(log.entries(), [(1, 2)]);
    Ok(())
}

#[test]
fn a_set_that_is_dropped_before_its_commit_is_withdrawn_as_a_whole() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let _ = task.schedule(1).id("a").every(HOUR).block_on()?;
    app.occupy_store()?;
    let mut set = app.app.declare("set", |set| {
        set.add(task.schedule(2).id("a").every(HOUR));
        set.add(task.schedule(3).id("b").every(HOUR));
    });
    begin(&mut set);
    drop(set);
    app.release()?;
    assert_eq!(app.record("a").unwrap().args, "1");
    assert!(app.record("b").is_none() && app.app.find_job("b").is_none());
    // Its ids are free, and its job is not held.
    let _ = task.schedule(4).id("b").every(HOUR).block_on()?;
    let _ = task.schedule(5).id("a").replace().every(HOUR).block_on()?;
    Ok(())
}

/// A job of the set is cancelled while the set waits for the store: the set begins again.
#[test]
fn a_set_makes_a_new_job_if_its_job_ends_before_the_commit() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let old = task.schedule(1).id("a").every(HOUR).block_on()?;
    let _ = task.schedule(1).id("b").every(HOUR).block_on()?;
    app.occupy_store()?;
    let mut set = app.app.declare("set", |set| {
        set.add(task.schedule(2).id("a").every(HOUR));
        set.add(task.schedule(3).id("b").every(HOUR));
        set.add(task.schedule(4).id("c").every(HOUR));
    });
    begin(&mut set);
    let mut cancel = old.cancel();
    begin(&mut cancel);
    app.store.answer(Fault::None);
    assert_eq!(
        app.store.requested()?,
        ["remove a"],
        "and no part of the set"
    );
    app.store.answer(Fault::None);
    assert!(block_on(cancel)?.took_effect());
    begin(&mut set);
    assert_eq!(app.store.requested()?, ["put a 2", "put b 3", "put c 4"]);
    app.store.release();
    let declared = block_on(set)?;
    assert_eq!(declared.added, ids(&["a", "c"]));
    assert_eq!(declared.replaced, ids(&["b"]));
    for (id, args) in [("a", "2"), ("b", "3"), ("c", "4")] {
        assert_eq!(app.record(id).unwrap().args, args);
        assert_eq!(task.job(id).unwrap().status(), JobStatus::Scheduled);
    }
    Ok(())
}

#[test]
fn two_callers_that_declare_one_set_leave_it_whole() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    app.occupy_store()?;
    let declare = |n| {
        app.app.declare("set", |set| {
            for id in ["a", "b"] {
                set.add(task.schedule(n).id(id).every(HOUR));
            }
        })
    };
    let (mut one, mut other) = (declare(1), declare(2));
    begin(&mut one);
    begin(&mut other);
    app.store.release();
    assert_eq!(block_on(one)?.added, ids(&["a", "b"]));
    assert_eq!(block_on(other)?.replaced, ids(&["a", "b"]));
    let args = ["a", "b"].map(|id| app.record(id).unwrap().args);
    assert_eq!(args, ["2", "2"]);
    Ok(())
}

#[test]
fn a_set_of_jobs_in_memory_is_declared_too() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let task = sim.app().task("t", log.argument()).register()?;
    let declare = |sim: &Simulation, jobs: &[(&str, u32)]| {
        let declared = sim.app().declare("set", |set| {
            for (id, n) in jobs {
                set.add(task.schedule(*n).id(*id).every(HOUR));
            }
        });
        declared.block_on()
    };
    assert_eq!(
        declare(&sim, &[("a", 1), ("b", 2)])?.added,
        ids(&["a", "b"])
    );
    let declared = declare(&sim, &[("a", 3)])?;
    assert_eq!(
        (declared.replaced, declared.absent),
        (ids(&["a"]), ids(&["b"]))
    );
    sim.advance(HOUR);
    let mut ran = log.entries();
    ran.sort_unstable();
    assert_eq!(ran, [2, 3]);
    Ok(())
}

#[test]
fn a_declaration_that_replaces_a_running_job_follows_its_run() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = hanging(&sim, &Log::new());
    declare(sim.app(), &task, &[("a", 1)])?;
    sim.advance(HOUR);
    let job = task.job("a").unwrap();
    assert_eq!(job.status(), JobStatus::Running);
    assert_eq!(
        declare(sim.app(), &task, &[("a", 2)])?.replaced,
        ids(&["a"])
    );
    assert_eq!(
        declare(sim.app(), &task, &[("a", 2)])?.unchanged,
        ids(&["a"])
    );
    assert_eq!(job.status(), JobStatus::Running);
    assert_eq!(args(&machine), [pair("a", "2")]);
    Ok(())
}

#[test]
fn an_app_that_does_not_run_declares_nothing() -> Result {
    let app = Jobber::builder().build()?;
    let task = app.task("t", async |n: u32| n).register()?;
    let declare = || {
        app.declare("set", |set| {
            set.add(task.schedule(1).id("a").every(HOUR));
        })
    };
    let error = poll(declare()).unwrap().unwrap_err();
    assert!(matches!(
        error,
        DeclareError::Set(ScheduleError::NotStarted)
    ));
    app.start().block_on()?;
    declare().block_on()?;
    app.shutdown(SECOND).block_on();
    let error = declare().block_on().unwrap_err();
    assert!(matches!(error, DeclareError::Set(ScheduleError::Stopped)));
    Ok(())
}

fn declare_one(app: &Jobber, set: &str, task: &Task<u32, u32>, n: u32) -> Result<Declared> {
    let declared = app.declare(set, |set| {
        set.add(task.schedule(n).id("a").every(HOUR));
    });
    Ok(declared.block_on()?)
}

/// Regression: such an entry refused the set at each start.
#[test]
fn an_entry_between_its_last_time_and_its_end_is_over() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let until = sim.clock().wall() + MINUTE * 150;
    let declare = |sim: &Simulation, cron| {
        let declared = sim.app().declare("set", |set| {
            set.add(task.schedule(1).id("a").until(until).cron(cron));
            set.add(task.schedule(2).id("b").every(HOUR));
        });
        declared.block_on()
    };
    declare(&sim, "0 * * * *")?;
    sim.advance(MINUTE * 130);
    assert!(task.job("a").is_none());
    assert_eq!(declare(&sim, "0 * * * *")?.over, ids(&["a"]));
    // An expression that never matches has no end to wait for.
    let error = declare(&sim, "0 0 30 2 *").unwrap_err();
    assert!(matches!(error, DeclareError::Entry { id, .. } if id == "a"));
    Ok(())
}

/// Regression: it refused the set, and its job went on past the new end.
#[test]
fn an_entry_whose_end_is_moved_into_the_past_ends_its_job() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    declare_one(sim.app(), "set", &task, 1)?;
    sim.advance(HOUR * 3);
    let job = task.job("a").unwrap();
    let until = sim.clock().wall() - HOUR;
    let declared = sim.app().declare("set", |set| {
        set.add(task.schedule(1).id("a").until(until).every(HOUR));
    });
    assert_eq!(declared.block_on()?.over, ids(&["a"]));
    assert_eq!(job.status(), JobStatus::Cancelled);
    assert!(machine.records().is_empty());
    Ok(())
}

/// Regression: the entries of the store were stored before that was found.
#[test]
fn an_entry_in_memory_whose_id_is_unresolved_refuses_the_whole_set() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let gone = logging(&sim, "gone", &Log::new());
    let _ = gone.schedule(1).id("u").every(HOUR).block_on()?;
    sim.crash();
    let sim = machine.boot();
    let task = logging(&sim, "t", &Log::new());
    let before = args(&machine);
    let declared = sim.app().declare("set", |set| {
        set.add(task.schedule(1).id("a").every(HOUR));
        set.add(task.schedule(1).id("u").in_memory().every(HOUR));
    });
    let error = declared.block_on().unwrap_err();
    assert!(matches!(error, DeclareError::Entry { id, .. } if id == "u"));
    assert_eq!(args(&machine), before);
    Ok(())
}

/// Regression: it went back to the set of the definition that ran, which then removed it.
#[test]
fn a_job_that_is_taken_over_and_replaced_during_its_run_stays_in_its_new_set() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = hanging(&sim, &Log::new());
    declare_one(sim.app(), "one", &task, 1)?;
    sim.advance(HOUR);
    declare_one(sim.app(), "other", &task, 2)?;
    let _ = task.schedule(3).id("a").replace().every(HOUR).block_on()?;
    let absent = |set: &str| sim.app().declare(set, |_| {}).block_on();
    assert_eq!(absent("one")?.absent, ids(&[]));
    assert_eq!(absent("other")?.absent, ids(&["a"]));
    Ok(())
}

/// Regression: the report of the first round stayed.
#[test]
fn an_entry_that_another_caller_changes_meanwhile_is_reported_as_replaced() -> Result {
    let app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let declare = |b| {
        app.app.declare("set", |set| {
            set.add(task.schedule(1).id("a").every(HOUR));
            set.add(task.schedule(b).id("b").every(HOUR));
        })
    };
    declare(1).block_on()?;
    app.occupy_store()?;
    let mut set = declare(2);
    begin(&mut set);
    let b = task.job("b").unwrap();
    let mut cancel = b.cancel();
    begin(&mut cancel);
    let mut replace = task.schedule(9).id("a").replace().every(HOUR);
    begin(&mut replace);
    app.store.release();
    block_on(replace)?;
    let declared = block_on(set)?;
    assert!(block_on(cancel)?.took_effect());
    assert_eq!(app.record("a").unwrap().args, "1");
    assert_eq!(
        (declared.replaced, declared.added),
        (ids(&["a"]), ids(&["b"]))
    );
    Ok(())
}

/// Regression: it was reported as replaced.
#[test]
fn an_entry_whose_row_is_on_its_way_is_unchanged() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let declare = || {
        app.app.declare("set", |set| {
            set.add(task.schedule(1).id("a").every(HOUR));
        })
    };
    let first = declare();
    let mut again = declare();
    first.block_on()?;
    app.advance(HOUR)?;
    app.store.hold();
    app.advance(SECOND)?;
    assert_eq!(app.store.requested()?, ["advance a"]);
    begin(&mut again);
    app.store.release();
    assert_eq!(block_on(again)?.unchanged, ids(&["a"]));
    Ok(())
}

/// Regression: the declaration failed, and said that nothing had changed.
#[test]
fn a_set_whose_job_is_cancelled_during_its_commit_is_declared() -> Result {
    let mut app = HeldApp::new()?;
    let task = app.slow(&Log::new(), SECOND)?;
    let b = task.schedule(1).id("b").every(HOUR).block_on()?;
    app.advance(HOUR)?;
    assert_eq!(b.status(), JobStatus::Running);
    app.store.hold();
    let mut set = app.app.declare("set", |set| {
        set.add(task.schedule(2).id("a").every(HOUR));
        set.add(task.schedule(2).id("b").every(HOUR));
    });
    begin(&mut set);
    assert_eq!(app.store.requested()?, ["put a 2", "put b 2"]);
    let mut cancel = b.cancel();
    begin(&mut cancel);
    app.store.release();
    assert_eq!(block_on(set)?.added, ids(&["a"]));
    assert!(block_on(cancel)?.took_effect());
    app.advance(SECOND)?;
    assert!(b.is_done(), "it ends with its run");
    assert!(app.record("a").is_some() && app.record("b").is_none());
    Ok(())
}

/// Regression: the kept end of a failed job was given up, because another entry was too large.
#[test]
fn the_end_of_a_failed_job_outlasts_a_set_that_is_too_large() -> Result {
    let machine = Machine::new();
    let mut sim = machine.boot();
    let task = failing(&sim, &Log::new(), Backoff::fixed(0, SECOND));
    let _ = task.schedule(1).id("a").delay(MINUTE).block_on()?;
    let too_large = Fault::FailWith(StorageError::TooLarge { detail: "b".into() });
    // The end of the job is not stored when the set comes.
    machine.plan_faults([Fault::Fail, too_large]);
    sim.advance(MINUTE);
    declare(sim.app(), &task, &[("a", 1), ("b", 2)]).unwrap_err();
    sim.advance(MINUTE * 5);
    assert_eq!(sim.app().failed().block_on()?.len(), 1);
    Ok(())
}
