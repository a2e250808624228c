//! Jobs whose attempts are interrupted by the end of their process.

use crate::support::{DAY, HOUR, Log, MINUTE, Machine, Result, SECOND, event_kinds};
use jobber::storage::UnresolvedReason;
use jobber::testing::Simulation;
use jobber::{
    Attention, Job, JobContext, JobStatus, MemoryStorage, RegisterError, ScheduleError, Task,
    TaskBuilder,
};

/// Logs the job and its interruptions.
type Seen = Log<(String, u32)>;

/// Registers a durable task whose attempts never end.
fn hanging(sim: &Simulation, seen: &Seen) -> Task<(), ()> {
    register(sim, seen, |task| task)
}

fn register(
    sim: &Simulation,
    seen: &Seen,
    set: impl FnOnce(TaskBuilder<(), ()>) -> TaskBuilder<(), ()>,
) -> Task<(), ()> {
    let seen = seen.clone();
    let task = sim.app().task("t", move |cx: JobContext| {
        seen.add((cx.id().to_string(), cx.interruptions()));
        std::future::pending::<()>()
    });
    set(task.durable()).register().unwrap()
}

/// Boots the machine, lets it run for a while, and kills the process.
fn run_and_kill(machine: &Machine, seen: &Seen) {
    let mut sim = machine.boot();
    hanging(&sim, seen);
    sim.advance(SECOND);
    sim.crash();
}

/// Regression: it was made again for ever, each time as the first attempt.
#[test]
fn a_job_that_ends_its_process_again_and_again_is_set_aside() -> Result {
    let machine = Machine::new();
    let seen = Seen::new();
    let mut sim = machine.boot();
    let _ = hanging(&sim, &seen)
        .schedule(())
        .id("x")
        .push()
        .block_on()?;
    sim.advance(SECOND);
    sim.crash();
    for _ in 0..8 {
        run_and_kill(&machine, &seen);
    }
    // The first interruption leaves no trace. After five more the job does not start.
    let starts: Vec<_> = seen.take().into_iter().map(|(_, count)| count).collect();
    assert_eq!(starts, [0, 0, 1, 2, 3, 4]);
    let mut sim = machine.boot();
    let task = hanging(&sim, &seen);
    sim.advance(DAY);
    assert!(seen.entries().is_empty());
    let job = task.job("x").unwrap();
    assert_eq!(job.status(), JobStatus::Scheduled);
    let unresolved = sim.app().unresolved();
    assert!(
        matches!(unresolved[..], [ref job] if job.id == "x"
            && matches!(job.reason, UnresolvedReason::SetAside { interruptions: 5 })),
        "{unresolved:?}"
    );
    let health = sim.app().health();
    assert!(health.is_healthy());
    assert_eq!(health.attention, [Attention::SetAside(1)]);
    assert!(machine.has("x"));
    Ok(())
}

/// A machine on which the job `x` is set aside.
fn machine_with_set_aside_job() -> Result<Machine> {
    let machine = Machine::new();
    let seen = Seen::new();
    let sim = machine.boot();
    let _ = hanging(&sim, &seen)
        .schedule(())
        .id("x")
        .push()
        .block_on()?;
    sim.crash();
    for _ in 0..7 {
        run_and_kill(&machine, &seen);
    }
    assert_eq!(seen.take().len(), 5);
    Ok(machine)
}

#[test]
fn a_job_that_is_set_aside_runs_again_when_it_is_released() -> Result {
    let machine = machine_with_set_aside_job()?;
    let seen = Seen::new();
    let mut sim = machine.boot();
    hanging(&sim, &seen);
    assert!(!sim.app().release("y").block_on()?);
    assert!(sim.app().release("x").block_on()?);
    assert!(!sim.app().release("x").block_on()?);
    assert!(sim.app().unresolved().is_empty());
    assert_eq!(machine.record("x").unwrap().progress.interruptions, 0);
    sim.advance(SECOND);
    assert_eq!(seen.take(), [("x".into(), 0)]);
    // It is counted again.
    sim.crash();
    run_and_kill(&machine, &seen);
    assert_eq!(seen.take(), [("x".into(), 1)]);
    Ok(())
}

#[test]
fn a_job_that_is_set_aside_can_be_cancelled_and_discarded() -> Result {
    for discards in [false, true] {
        let machine = machine_with_set_aside_job()?;
        let sim = machine.boot();
        let task = hanging(&sim, &Seen::new());
        let job: Job<()> = task.job("x").unwrap();
        match discards {
            true => assert!(sim.app().discard("x").block_on()?),
            false => assert!(job.cancel().block_on()?.took_effect()),
        }
        assert_eq!(job.status(), JobStatus::Cancelled);
        assert!(machine.records().is_empty());
        assert_eq!(sim.app().health().to_string(), "healthy");
    }
    Ok(())
}

#[test]
fn a_job_that_is_set_aside_stays_so_when_it_is_replaced() -> Result {
    let machine = machine_with_set_aside_job()?;
    let seen = Seen::new();
    let mut sim = machine.boot();
    let task = hanging(&sim, &seen);
    let _ = task.schedule(()).id("x").replace().push().block_on()?;
    let job = task.schedule(()).id("x").replace().every(MINUTE);
    let job = job.block_on()?;
    sim.advance(HOUR);
    assert!(seen.entries().is_empty());
    assert_eq!(job.status(), JobStatus::Scheduled);
    assert_eq!(sim.app().unresolved().len(), 1);
    let error = task.schedule(()).id("x").push().block_on().unwrap_err();
    assert!(
        matches!(error, ScheduleError::DuplicateJob { .. }),
        "{error}"
    );
    // And in the next process.
    sim.crash();
    let mut sim = machine.boot();
    hanging(&sim, &seen);
    sim.advance(HOUR);
    assert!(seen.entries().is_empty());
    assert!(sim.app().release("x").block_on()?);
    sim.advance(MINUTE);
    assert_eq!(seen.take().len(), 1);
    Ok(())
}

#[test]
fn an_attempt_that_ends_sets_the_count_to_0() -> Result {
    let machine = Machine::new();
    let seen = Seen::new();
    let sim = machine.boot();
    let _ = hanging(&sim, &seen)
        .schedule(())
        .id("x")
        .every(HOUR)
        .block_on()?;
    sim.crash();
    machine.clock.advance(HOUR);
    for _ in 0..4 {
        run_and_kill(&machine, &seen);
    }
    assert_eq!(machine.record("x").unwrap().progress.interruptions, 3);
    let mut sim = machine.boot();
    let task = sim.app().task("t", async || {}).durable().register()?;
    sim.advance(SECOND);
    let job = task.job("x").unwrap();
    assert_eq!(job.last_run().unwrap().status, JobStatus::Success);
    assert_eq!(machine.record("x").unwrap().progress.interruptions, 0);
    Ok(())
}

#[test]
fn a_shutdown_is_not_an_interruption_although_it_leaves_the_attempt_running() -> Result {
    let machine = Machine::new();
    let seen = Seen::new();
    let mut sim = machine.boot();
    let _ = hanging(&sim, &seen)
        .schedule(())
        .id("x")
        .push()
        .block_on()?;
    sim.advance(SECOND);
    sim.crash();
    for _ in 0..9 {
        let mut sim = machine.boot();
        hanging(&sim, &seen);
        sim.advance(SECOND);
        assert_eq!(sim.shutdown(SECOND).left, ["x"]);
    }
    let counts: Vec<_> = seen.take().into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [0; 10]);
    Ok(())
}

#[test]
fn after_a_shutdown_no_start_is_stored() -> Result {
    for stops in [true, false] {
        let machine = Machine::new();
        let seen = Seen::new();
        let mut sim = machine.boot();
        let _ = hanging(&sim, &seen).schedule(()).delay(MINUTE).block_on()?;
        match stops {
            true => _ = sim.shutdown(SECOND),
            false => sim.crash(),
        }
        machine.clock.advance(HOUR);
        machine.commits.take();
        let mut sim = machine.boot();
        hanging(&sim, &seen);
        sim.advance(SECOND);
        assert_eq!(seen.take().len(), 1);
        assert_eq!(machine.commits.take().len(), usize::from(!stops));
        // What comes due later is not suspected.
        let task = sim.app().task("other", async || {}).durable().register()?;
        let _ = task.schedule(()).id("y").every(MINUTE).block_on()?;
        machine.commits.take();
        sim.advance(MINUTE);
        assert_eq!(machine.commits.take().len(), 1, "the end alone");
    }
    Ok(())
}

#[test]
fn interrupted_jobs_run_last_and_from_the_second_time_on_alone() -> Result {
    let machine = Machine::new();
    let seen = Seen::new();
    let mut sim = machine.boot();
    let task = hanging(&sim, &seen);
    // They were due first, and are interrupted together.
    for id in ["a", "b"] {
        let _ = task.schedule(()).id(id).push().block_on()?;
    }
    sim.advance(SECOND);
    sim.crash();
    run_and_kill(&machine, &seen);
    seen.take();
    let ran = |sim: &mut Simulation| {
        sim.run_until_stalled();
        seen.take()
    };
    // Both have one interruption: after the others, together.
    let mut sim = machine.boot();
    let task = hanging(&sim, &seen);
    assert_eq!(ran(&mut sim), [("a".into(), 1), ("b".into(), 1)]);
    let _ = task.schedule(()).id("sound").push().block_on()?;
    sim.run_until_stalled();
    seen.take();
    sim.crash();
    // Two interruptions: a sound job runs first, then one after the other.
    let mut sim = machine.boot();
    let task = hanging(&sim, &seen);
    assert_eq!(ran(&mut sim), [("sound".into(), 0)]);
    let _ = task.job("sound").unwrap().abort().block_on()?;
    assert_eq!(ran(&mut sim), [("a".into(), 2)]);
    sim.crash();
    // Only the one that ran is counted.
    let mut sim = machine.boot();
    let task = hanging(&sim, &seen);
    assert_eq!(ran(&mut sim), [("b".into(), 2)]);
    let _ = task.job("b").unwrap().abort().block_on()?;
    assert_eq!(ran(&mut sim), [("a".into(), 3)]);
    Ok(())
}

#[test]
fn one_that_hangs_alone_does_not_hold_up_the_next_for_ever() -> Result {
    let machine = Machine::new();
    let seen = Seen::new();
    let mut sim = machine.boot();
    let task = hanging(&sim, &seen);
    for id in ["a", "b"] {
        let _ = task.schedule(()).id(id).push().block_on()?;
    }
    sim.advance(SECOND);
    sim.crash();
    for _ in 0..2 {
        run_and_kill(&machine, &seen);
    }
    seen.take();
    let mut sim = machine.boot();
    hanging(&sim, &seen);
    sim.advance(MINUTE);
    assert_eq!(seen.take(), [("a".into(), 2), ("b".into(), 2)]);
    Ok(())
}

#[test]
fn an_interruption_is_an_event_and_an_attempt_sees_how_many_there_were() -> Result {
    let machine = Machine::new();
    let seen = Seen::new();
    let mut sim = machine.boot();
    let _ = hanging(&sim, &seen)
        .schedule(())
        .id("x")
        .push()
        .block_on()?;
    sim.advance(SECOND);
    sim.crash();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let mut sim = machine.boot();
        let mut events = sim.app().events();
        register(&sim, &seen, |task| task.max_interruptions(2));
        sim.run_until_stalled();
        kinds.extend(event_kinds(&mut events, "t"));
        sim.crash();
    }
    assert_eq!(
        kinds,
        [
            "restored",
            "started 1.1",
            "restored",
            "interrupted 1 times",
            "started 1.1",
            "restored",
            "interrupted 2 times, set aside",
        ]
    );
    Ok(())
}

#[test]
fn a_task_that_is_made_at_most_once_is_lost_and_not_interrupted() -> Result {
    let machine = Machine::new();
    let seen = Seen::new();
    let at_most_once = |sim: &Simulation| register(sim, &seen, |task| task.at_most_once());
    let mut sim = machine.boot();
    let _ = at_most_once(&sim)
        .schedule(())
        .id("x")
        .every(HOUR)
        .block_on()?;
    for _ in 0..3 {
        sim.advance(HOUR);
        sim.crash();
        sim = machine.boot();
        at_most_once(&sim);
    }
    assert_eq!(machine.record("x").unwrap().progress.interruptions, 0);
    assert_eq!(seen.take().len(), 3);
    Ok(())
}

#[test]
fn max_interruptions_must_be_at_least_1_and_is_of_durable_tasks() -> Result {
    let sim = Simulation::with(0, jobber::testing::ManualClock::new(), |app| {
        app.storage(MemoryStorage::new())
    })?;
    let task = || sim.app().task("t", async || {});
    let error = task().max_interruptions(1).register().unwrap_err();
    assert_eq!(
        error.to_string(),
        "max_interruptions applies only to durable tasks: add .durable()"
    );
    let error = task()
        .durable()
        .max_interruptions(0)
        .register()
        .unwrap_err();
    assert!(matches!(error, RegisterError::ZeroLimit { .. }), "{error}");
    Ok(())
}

#[test]
fn a_suspected_job_whose_run_has_expired_stays_suspected() -> Result {
    let machine = Machine::new();
    let seen = Seen::new();
    let sim = machine.boot();
    let task = hanging(&sim, &seen);
    let schedule = |id: &str| task.schedule(()).id(id).expires(SECOND);
    let _ = schedule("x").every(MINUTE).block_on()?;
    let _ = schedule("y").cron("* * * * *").block_on()?;
    sim.crash();
    machine.clock.advance(MINUTE + SECOND * 30);
    let mut sim = machine.boot();
    hanging(&sim, &seen);
    sim.advance(MINUTE);
    assert_eq!(seen.take().len(), 2);
    for id in ["x", "y"] {
        assert!(
            machine.record(id).unwrap().progress.is_start_repeated,
            "{id}"
        );
    }
    Ok(())
}
