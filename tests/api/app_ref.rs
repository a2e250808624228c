//! The app as its tasks hold it.

use std::sync::mpsc;

use crate::support::{DropCounter, HOUR, Log, Result, WATCHDOG, wait_until};
use jobber::testing::Simulation;
use jobber::{AppRef, JobContext, JobStatus, Jobber, ScheduleError, Task, TaskError};

fn app_ref(sim: &mut Simulation) -> Result<AppRef> {
    let (sender, apps) = mpsc::channel();
    let task = sim.app().task("sends its app", move |cx: JobContext| {
        let _ = sender.send(cx.app());
        async {}
    });
    task.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    Ok(apps.try_recv()?)
}

#[test]
fn a_task_schedules_jobs_of_its_own_and_of_other_tasks_by_their_names() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let other = sim.app().task("other", log.argument()).alias("old name");
    let _: Task<u32, ()> = other.register()?;
    let chain = sim.app().task("chain", async |cx: JobContext, n: u32| {
        let app = cx.app();
        let name = if n.is_multiple_of(2) {
            "other"
        } else {
            "old name"
        };
        let other = app.task::<u32, ()>(name).unwrap();
        other.schedule(n).push().await.unwrap();
        if n > 0 {
            let own = app.task::<u32, u32>("chain").unwrap();
            own.schedule(n - 1).delay(HOUR).await.unwrap();
        }
        n
    });
    chain.register()?.schedule(3).push().block_on()?;
    sim.advance(HOUR * 3);
    assert_eq!(log.entries(), [3, 2, 1, 0]);
    Ok(())
}

#[test]
fn a_task_of_other_types_is_refused_with_its_types() -> Result {
    let mut sim = Simulation::new();
    let add = sim.app().task("add", async |a: u8, b: u8| u16::from(a + b));
    add.register()?;
    let app = app_ref(&mut sim)?;
    assert!(app.task::<(u8, u8), u16>("add").is_ok());
    let error = app.task::<u8, ()>("add").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the task `add` is a `Task<(u8, u8), u16>`, and not a `Task<u8, ()>`"
    );
    let unknown = TaskError::Unknown { name: "ad".into() };
    assert_eq!(app.task::<u8, ()>("ad").unwrap_err(), unknown);
    Ok(())
}

#[test]
fn a_reference_to_an_app_that_has_stopped_finds_nothing() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("task", async || {}).register()?;
    let app = app_ref(&mut sim)?;
    sim.shutdown(HOUR);
    assert_eq!(app.task::<(), ()>("task").unwrap_err(), TaskError::Stopped);
    let scheduled = task.schedule(()).push().block_on();
    assert!(matches!(scheduled, Err(ScheduleError::Stopped)));
    drop((sim, task));
    assert_eq!(app.task::<(), ()>("task").unwrap_err(), TaskError::Stopped);
    Ok(())
}

/// Regression: users wrote an `Arc<OnceLock<Task>>`, which is never freed.
#[test]
fn a_task_that_keeps_its_app_does_not_keep_it_alive_and_is_freed_with_it() -> Result {
    let app = Jobber::builder().build()?;
    let alive = DropCounter::default();
    let (kept, inside) = (alive.clone(), Log::<AppRef>::new());
    let refs = inside.clone();
    let keeps = app.task("keeps", move |cx: JobContext, links: u32| {
        let (_kept, app) = (kept.clone(), cx.app());
        inside.add(app.clone());
        async move {
            if let Some(links) = links.checked_sub(1) {
                let own = app.task::<u32, ()>("keeps").unwrap();
                own.schedule(links).push().await.unwrap();
            }
        }
    });
    let keeps = keeps.register()?;
    app.start().block_on()?;
    keeps.schedule(10).push().block_on()?;
    app.wait_all().block_on();
    assert_eq!(refs.entries().len(), 11);
    let waits = keeps.schedule(0).delay(HOUR).block_on()?;
    assert!(alive.alive() > 0);
    drop(app);
    assert_eq!(waits.status(), JobStatus::Cancelled, "the app has stopped");
    drop((waits, keeps));
    wait_until(|| alive.alive() == 0);
    assert_eq!(
        refs.entries()[0].task::<u32, ()>("keeps").unwrap_err(),
        TaskError::Stopped
    );
    Ok(())
}

#[test]
fn an_attempt_that_outlives_its_app_finds_that_it_has_stopped() -> Result {
    let app = Jobber::builder().build()?;
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let (begun, has_begun) = mpsc::channel();
    let (sender, results) = mpsc::channel();
    let blocks = app.blocking_task("blocks", move |cx: JobContext| {
        let _ = begun.send(());
        let _ = may_go_on.lock().unwrap().recv();
        let _ = sender.send(cx.app().task::<(), ()>("blocks").map(drop));
    });
    let blocks = blocks.register()?;
    app.start().block_on()?;
    blocks.schedule(()).push().block_on()?;
    has_begun.recv()?;
    drop(app);
    go_on.send(())?;
    assert_eq!(results.recv_timeout(WATCHDOG)?, Err(TaskError::Stopped));
    Ok(())
}
