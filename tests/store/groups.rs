//! Groups of tasks: names, options, pauses.

use std::time::Duration;

use crate::support::{Log, MINUTE, Machine, Result, SECOND};
use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Backoff, Event, Group, JobContext, JobStatus, Jobber, Limit, MissingState, Next, Outcome, Rate,
    RegisterError, ScheduleError, WaitingFor,
};

struct Name(&'static str);

async fn name(cx: JobContext) -> std::result::Result<&'static str, MissingState> {
    Ok(cx.state::<Name>()?.0)
}

/// A middleware that logs its name.
fn logged(
    log: &Log<&'static str>,
    name: &'static str,
) -> impl Fn(JobContext, Next) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>>
+ Send
+ Sync
+ use<> {
    let log = log.clone();
    move |_, next| {
        log.add(name);
        Box::pin(next.run())
    }
}

#[test]
fn a_task_is_named_after_its_groups() -> Result {
    let sim = Simulation::new();
    let outer = sim.app().group("a");
    let inner = outer.group("b");
    assert_eq!((outer.name(), inner.name()), ("a", "a.b"));
    let task = inner.task("t", async || 1).register()?;
    let blocking = outer.blocking_task("t", || 2).register()?;
    assert_eq!((task.name(), blocking.name()), ("a.b.t", "a.t"));
    let again = sim.app().group("a").task("t", async || {}).register();
    let Err(RegisterError::DuplicateTask { name }) = again else {
        panic!("{again:?}");
    };
    assert_eq!(name, "a.t");
    Ok(())
}

#[test]
fn the_nearest_state_counts() -> Result {
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.state(Name("app")))?;
    let app = sim.app().clone();
    let outer = app.group("outer").state(Name("outer")).state(7u32);
    let inner = outer
        .group("inner")
        .state(Name("first"))
        .state(Name("inner"));
    let other = outer.group("other");
    let tasks = [
        app.task("t", name).register()?,
        outer.task("t", name).register()?,
        inner.task("t", name).register()?,
        other.task("t", name).register()?,
    ];
    let number = inner.task("n", async |cx: JobContext| cx.state::<u32>().ok().copied());
    let number = number.register()?.schedule(()).push().block_on()?;
    let outside = app.task("n", async |cx: JobContext| cx.state::<u32>().ok().copied());
    let outside = outside.register()?.schedule(()).push().block_on()?;
    let jobs = tasks.map(|task| task.schedule(()).push().block_on());
    sim.run_until_stalled();
    let mut found = Vec::new();
    for job in jobs {
        found.push(*job?.result()?);
    }
    assert_eq!(found, ["app", "outer", "inner", "outer"]);
    assert_eq!((*number.result()?, *outside.result()?), (Some(7), None));
    Ok(())
}

#[test]
fn middleware_adds_up_from_the_outside_to_the_inside() -> Result {
    let log = Log::new();
    let of_app = logged(&log, "app");
    let mut sim = Simulation::with(0, ManualClock::new(), |app| app.around(of_app))?;
    let outer = sim.app().group("outer").around(logged(&log, "outer"));
    let inner = outer.group("inner");
    let inner = inner
        .around(logged(&log, "inner 1"))
        .around(logged(&log, "inner 2"));
    let task = inner.task("t", async || {}).around(logged(&log, "task"));
    task.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), ["app", "outer", "inner 1", "inner 2", "task"]);
    outer
        .task("t", async || {})
        .register()?
        .schedule(())
        .push()
        .block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), ["app", "outer"]);
    Ok(())
}

#[test]
fn functions_of_groups_see_jobs_after_those_of_the_app_and_may_refuse_them() -> Result {
    let log = Log::new();
    let add = |name: &'static str| {
        let log = log.clone();
        move |_: &mut jobber::ScheduleRequest<'_>| {
            log.add(name);
            Ok(())
        }
    };
    let of_app = add("app");
    let sim = Simulation::with(0, ManualClock::new(), |app| app.on_schedule(of_app))?;
    let outer = sim.app().group("outer").on_schedule(add("outer"));
    let refuse = |request: &mut jobber::ScheduleRequest<'_>| match request.id() {
        None => Err("no id".into()),
        Some(_) => Ok(()),
    };
    let inner = outer
        .group("inner")
        .on_schedule(add("inner"))
        .on_schedule(refuse);
    let task = inner.task("t", async || {}).register()?;
    task.schedule(()).id("x").delay(SECOND).block_on()?;
    assert_eq!(log.take(), ["app", "outer", "inner"]);
    let refused = task.schedule(()).delay(SECOND).block_on();
    assert!(matches!(refused, Err(ScheduleError::Refused { .. })));
    let other = outer.task("t", async || {}).register()?;
    log.take();
    other.schedule(()).delay(SECOND).block_on()?;
    assert_eq!(log.take(), ["app", "outer"]);
    Ok(())
}

#[test]
fn the_nearest_timeout_and_backoff_count() -> Result {
    let mut sim = Simulation::new();
    let forever = std::future::pending::<()>;
    let outer = sim
        .app()
        .group("outer")
        .timeout(10 * SECOND)
        .retry(Backoff::fixed(1, SECOND));
    let inner = outer.group("inner").timeout(20 * SECOND);
    let task = inner
        .task("own", forever)
        .timeout(30 * SECOND)
        .retry(Backoff::fixed(0, SECOND));
    let jobs = [
        outer
            .task("t", forever)
            .register()?
            .schedule(())
            .push()
            .block_on()?,
        inner
            .task("t", forever)
            .register()?
            .schedule(())
            .push()
            .block_on()?,
        task.register()?.schedule(()).push().block_on()?,
    ];
    let mut ends = [None; 3];
    for second in 1..60u64 {
        sim.advance(SECOND);
        for (job, end) in jobs.iter().zip(&mut ends) {
            if job.is_done() && end.is_none() {
                *end = Some(second);
            }
        }
    }
    assert!(jobs.iter().all(|job| job.status() == JobStatus::Timeout));
    assert_eq!(ends, [Some(21), Some(41), Some(30)]);
    Ok(())
}

#[test]
fn a_limit_and_a_rate_hold_for_all_tasks_of_a_group_together() -> Result {
    let mut sim = Simulation::new();
    let forever = std::future::pending::<()>;
    let outer = sim.app().group("outer").limit(2);
    let inner = outer.group("inner").limit(1);
    let one = inner.task("one", forever).register()?;
    let two = inner.task("two", forever).register()?;
    let three = outer.task("three", forever).register()?;
    let first = one.schedule(()).push().block_on()?;
    let second = two.schedule(()).push().block_on()?;
    let third = three.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    let fourth = three.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    let all = [&first, &second, &third, &fourth];
    let waits = all.map(|job| job.waiting_for());
    let limit = Some(WaitingFor::GroupLimit);
    assert_eq!(waits, [None, limit.clone(), None, limit]);
    third.abort().block_on()?;
    sim.run_until_stalled();
    assert_eq!(
        fourth.status(),
        JobStatus::Running,
        "`second` needs the limit of `inner`, too"
    );
    assert_eq!(second.status(), JobStatus::Scheduled);

    let rated = sim.app().group("rated").rate(Rate::new(1, MINUTE));
    let left = rated.task("left", async || {}).register()?;
    let right = rated.group("in").task("right", async || {}).register()?;
    let left = left.schedule(()).push().block_on()?;
    let right = right.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(left.is_done());
    assert_eq!(right.waiting_for(), Some(WaitingFor::GroupRate));
    sim.advance(MINUTE);
    assert!(right.is_done());
    Ok(())
}

#[test]
fn a_shared_limit_of_a_group_and_its_task_is_taken_once() -> Result {
    let mut sim = Simulation::new();
    let limit = Limit::new(1);
    let group = sim.app().group("g").limit(&limit);
    let task = group.task("t", async || {}).limit(&limit).register()?;
    let job = task.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(job.is_done());
    Ok(())
}

#[test]
fn options_are_fixed_by_the_first_task() -> Result {
    let sim = Simulation::new();
    let group = sim.app().group("g").timeout(SECOND);
    let same = sim.app().group("g").retry(Backoff::exponential(1));
    same.task("t", async || {}).register()?;
    type Set = fn(Group) -> Group;
    let sets: [(&str, Set); 7] = [
        ("state", |group| group.state(1u8)),
        ("around", |group| {
            group.around(async |_, next: Next| next.run().await)
        }),
        ("on_schedule", |group| group.on_schedule(|_| Ok(()))),
        ("limit", |group| group.limit(1)),
        ("rate", |group| group.rate(Rate::new(1, SECOND))),
        ("timeout", |group| group.timeout(SECOND)),
        ("retry", |group| group.retry(Backoff::exponential(1))),
    ];
    for (name, set) in sets {
        let late = set(group.clone());
        for late in [late.clone(), late.group("in")] {
            let refused = late.task(name, async || {}).register();
            let Err(RegisterError::GroupHasTasks { group, option }) = refused else {
                panic!("{name}: {refused:?}");
            };
            assert_eq!((&*group, option), (late.name(), name));
        }
    }
    // The group around it is fixed, and this one is not.
    let inner = group.group("inner").timeout(SECOND);
    inner.task("t", async || {}).register()?;
    group.task("another", async || {}).register()?;
    Ok(())
}

#[test]
fn an_invalid_option_or_name_is_an_error_and_fixes_nothing() -> Result {
    let sim = Simulation::new();
    let app = sim.app();
    let refused = |group: &Group| group.task("t", async || {}).register().unwrap_err();
    assert!(matches!(
        refused(&app.group("")),
        RegisterError::EmptyGroupName
    ));
    for dotted in [app.group("a.b"), app.group("a.b").group("c")] {
        let RegisterError::DotInGroupName { name } = refused(&dotted) else {
            panic!();
        };
        assert_eq!(name, "a.b");
        // It does not become the group `b` in `a`.
        assert!(!dotted.pause().block_on()?.took_effect());
        assert!(!app.group("a").group("b").is_paused());
    }
    assert!(matches!(
        refused(&app.group("tab\t")),
        RegisterError::ControlCharacter { .. }
    ));
    assert!(matches!(
        refused(&app.group("x".repeat(200))),
        RegisterError::NameTooLong { bytes: 202, .. }
    ));

    let group = app.group("g");
    let wrong = group.clone().timeout(Duration::ZERO);
    assert!(matches!(refused(&wrong), RegisterError::ZeroTimeout));
    let wrong = group.clone().timeout(SECOND).limit(0);
    assert!(matches!(
        refused(&wrong),
        RegisterError::ZeroLimit { option: "limit" }
    ));
    let inner = group.group("inner");
    assert!(matches!(refused(&inner), RegisterError::ZeroLimit { .. }));

    let group = app.group("h").rate(Rate::new(0, SECOND));
    assert!(matches!(
        refused(&group),
        RegisterError::ZeroLimit { option: "rate" }
    ));
    let group = group.rate(Rate::new(1, SECOND));
    group.task("t", async || {}).register()?;

    let other = Jobber::builder().build()?;
    let limit = Limit::new(1);
    other
        .group("g")
        .limit(&limit)
        .task("t", async || {})
        .register()?;
    let group = app.group("i").limit(&limit);
    assert!(matches!(refused(&group), RegisterError::LimitOfAnotherApp));
    Ok(())
}

#[test]
fn a_paused_group_holds_the_jobs_of_its_groups_also_in_the_next_process() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let declare = |sim: &Simulation| {
        let log = log.clone();
        let group = sim.app().group("outer").group("inner");
        let task = group.task("t", log.argument()).durable();
        task.register()
    };
    let mut sim = machine.boot();
    let task = declare(&sim)?;
    let mut events = sim.app().events();
    let outer = sim.app().group("outer");
    assert!(outer.pause().block_on()?.took_effect());
    assert!(!outer.pause().block_on()?.took_effect());
    assert!(outer.is_paused() && !task.is_paused());
    let Some(event @ Event::PauseBegan { .. }) = events.try_next() else {
        panic!();
    };
    assert_eq!(event.to_string(), "the group outer was paused");
    let job = task.schedule(1).id("x").delay(SECOND).block_on()?;
    sim.advance(MINUTE);
    assert!(job.is_paused());
    assert_eq!(job.waiting_for(), Some(WaitingFor::Pause));
    sim.crash();

    let mut sim = machine.boot();
    declare(&sim)?;
    sim.advance(MINUTE);
    assert!(log.take().is_empty());
    // A second handle: `declare` has made the first.
    let outer = sim.app().group("outer");
    assert!(outer.is_paused());
    assert_eq!(outer.jobs().len(), 1);
    assert!(outer.resume().block_on()?.took_effect());
    sim.run_until_stalled();
    assert_eq!(log.take(), [1]);
    Ok(())
}

#[test]
fn a_group_that_is_named_before_the_start_knows_its_pause() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    sim.app().group("g").pause().block_on()?;
    sim.crash();
    let app = Jobber::builder().storage(machine.storage()).build()?;
    let group = app.group("g");
    assert!(!group.is_paused());
    app.start().block_on()?;
    assert!(group.is_paused());
    Ok(())
}

#[test]
fn a_group_lists_and_cancels_its_own_jobs_only() -> Result {
    let sim = Simulation::new();
    let outer = sim.app().group("outer");
    let inner = outer.group("inner");
    // This name only looks like one of the group.
    let stranger = sim.app().task("outer.stranger", async || {}).register()?;
    let in_outer = outer.task("t", async || {}).register()?;
    let in_inner = inner.task("t", async || {}).register()?;
    let stranger = stranger.schedule(()).delay(MINUTE).block_on()?;
    let in_outer = in_outer.schedule(()).delay(MINUTE).block_on()?;
    let in_inner = in_inner.schedule(()).delay(MINUTE).block_on()?;
    assert_eq!((outer.jobs().len(), inner.jobs().len()), (2, 1));
    assert_eq!(inner.cancel().block_on()?, 1);
    assert_eq!(in_inner.status(), JobStatus::Cancelled);
    assert_eq!(outer.cancel().block_on()?, 1);
    assert_eq!(in_outer.status(), JobStatus::Cancelled);
    assert_eq!(stranger.status(), JobStatus::Scheduled);
    Ok(())
}

#[test]
fn a_task_moves_between_groups_by_its_full_name_as_an_alias() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let sim = machine.boot();
    let old = sim
        .app()
        .group("old")
        .task("t", log.argument())
        .durable()
        .register()?;
    old.schedule(1).id("x").delay(SECOND).block_on()?;
    assert_eq!(
        machine.record("x").map(|record| record.task),
        Some("old.t".into())
    );
    sim.crash();

    let mut sim = machine.boot();
    let new = sim.app().group("new").task("t", log.argument());
    new.alias("old.t").durable().register()?;
    assert!(sim.app().unresolved().is_empty());
    sim.advance(SECOND);
    assert_eq!(log.take(), [1]);
    Ok(())
}

#[test]
fn a_stopped_app_drops_the_values_of_its_groups() -> Result {
    let value = std::sync::Arc::new(());
    let sim = Simulation::new();
    let app = sim.app().clone();
    // Both are a cycle: the app has the group, and the group the app.
    let with_task = app.group("with a task").state((app.clone(), value.clone()));
    with_task.task("t", async || {}).register()?;
    let _ = app.group("without").state((app.clone(), value.clone()));
    drop(with_task);
    app.shutdown(Duration::ZERO).block_on();
    drop((app, sim));
    assert_eq!(std::sync::Arc::strong_count(&value), 1);
    Ok(())
}

/// Regression: `cancel` found the jobs of the group `b` in `a`.
#[test]
fn a_group_of_an_invalid_name_has_no_jobs() -> Result {
    let sim = Simulation::new();
    let task = sim
        .app()
        .group("a")
        .group("b")
        .task("t", async || {})
        .register()?;
    let job = task.schedule(()).delay(MINUTE).block_on()?;
    let invalid = sim.app().group("a.b");
    assert!(invalid.jobs().is_empty());
    assert_eq!(invalid.cancel().block_on()?, 0);
    assert_eq!(job.status(), JobStatus::Scheduled);
    Ok(())
}

/// Regression: its groups were fixed, and a limit of one was bound to the app.
#[test]
fn a_refused_task_fixes_no_group_and_binds_no_limit() -> Result {
    let (sim, other) = (Simulation::new(), Simulation::new());
    let (free, taken) = (Limit::new(1), Limit::new(1));
    other
        .app()
        .task("t", async || {})
        .limit(&taken)
        .register()?;
    let outer = sim.app().group("outer").limit(&free);
    let inner = outer.group("inner");
    let refused = inner.task("t", async || {}).limit(&taken).register();
    assert!(matches!(refused, Err(RegisterError::LimitOfAnotherApp)));
    let inner = inner.timeout(Duration::ZERO);
    let refused = inner.task("t", async || {}).register();
    assert!(matches!(refused, Err(RegisterError::ZeroTimeout)));
    let refused = outer.task("", async || {}).register();
    assert!(matches!(refused, Err(RegisterError::EmptyName)));
    // Another app may still have the limit, and both groups take options.
    other
        .app()
        .task("free", async || {})
        .limit(&free)
        .register()?;
    let refused = outer
        .clone()
        .retry(Backoff::exponential(1))
        .task("t", async || {})
        .register();
    assert!(matches!(refused, Err(RegisterError::LimitOfAnotherApp)));
    drop(other);
    inner.timeout(SECOND).task("t", async || {}).register()?;
    Ok(())
}
