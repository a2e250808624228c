//! Functions that go on after their attempt has ended.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use crate::support::{Result, SECOND, WATCHDOG, event_kinds, manual_app, wait_until};
use jobber::testing::ManualClock;
use jobber::{Attention, Job, JobStatus, Jobber, OutlivingBody, Task};

/// A function that has begun, and goes on until the test lets it return.
struct Hangs {
    begun: Sender<()>,
    may_return: Mutex<Receiver<()>>,
}

impl Hangs {
    fn new() -> (Arc<Self>, Receiver<()>, Sender<()>) {
        let ((begun, has_begun), (go_on, may_return)) = (mpsc::channel(), mpsc::channel());
        let may_return = Mutex::new(may_return);
        (Arc::new(Self { begun, may_return }), has_begun, go_on)
    }

    fn call(&self) {
        let _ = self.begun.send(());
        let _ = self.may_return.lock().unwrap().recv();
    }
}

fn outliving(app: &Jobber) -> Vec<OutlivingBody> {
    let attention = app.health().attention.into_iter();
    let outliving = attention.filter_map(|attention| match attention {
        Attention::Outliving(bodies) => Some(bodies),
        _ => None,
    });
    outliving.flatten().collect()
}

/// Runs a job until its first attempt has ended by its timeout of two seconds.
fn time_out(app: &Jobber, clock: &ManualClock, job: &Job<()>, begun: &Receiver<()>) -> Result {
    clock.advance(SECOND);
    begun.recv_timeout(WATCHDOG)?;
    clock.advance(SECOND * 2);
    wait_until(|| !outliving(app).is_empty());
    let body = outliving(app).remove(0);
    assert_eq!(
        (&body.id, &*body.task, body.attempt),
        (job.id(), "hangs", 1)
    );
    Ok(())
}

/// Regression: a recurring job whose call did not return ran no more, and nothing showed it.
#[test]
fn a_blocking_call_that_hangs_is_shown_with_the_recurring_job_that_waits_for_it() -> Result {
    let (app, clock) = manual_app()?;
    let mut events = app.events();
    let (hangs, begun, go_on) = Hangs::new();
    let hangs = app.blocking_task("hangs", move || hangs.call());
    let hangs = hangs.timeout(SECOND * 2).register()?;
    let job = hangs.schedule(()).id("j").every(SECOND).block_on()?;
    time_out(&app, &clock, &job, &begun)?;
    wait_until(|| {
        job.last_run()
            .is_some_and(|run| run.status == JobStatus::Timeout)
    });
    clock.advance(SECOND);
    wait_until(|| outliving(&app)[0].is_waited_for);
    let health = app.health();
    assert!(health.is_healthy(), "other jobs run");
    assert_eq!(
        health.to_string(),
        "functions of 1 ended attempts still run: hangs j, which waits"
    );
    let kinds = event_kinds(&mut events, "j");
    let end = ["started 1.1", "attempt 1 outlived", "run 1 ended TIMEOUT"];
    assert_eq!(kinds[1..4], end);
    go_on.send(())?;
    begun.recv_timeout(WATCHDOG)?;
    assert_eq!(outliving(&app), [], "the job runs again");
    drop(go_on);
    Ok(())
}

#[test]
fn a_blocking_call_of_an_aborted_job_is_shown_until_it_returns() -> Result {
    let (app, _clock) = manual_app()?;
    let (hangs, begun, go_on) = Hangs::new();
    let hangs = app
        .blocking_task("hangs", move || hangs.call())
        .register()?;
    let first = hangs.schedule(()).id("same id").push().block_on()?;
    begun.recv_timeout(WATCHDOG)?;
    assert_eq!(outliving(&app), [], "it runs in time");
    assert!(first.abort().block_on()?.took_effect());
    let second = hangs.schedule(()).id("same id").push().block_on()?;
    assert_eq!(outliving(&app).len(), 1);
    assert!(
        !outliving(&app)[0].is_waited_for,
        "the second is another job"
    );
    assert!(second.abort().block_on()?.took_effect());
    drop(go_on);
    wait_until(|| outliving(&app).is_empty());
    Ok(())
}

#[test]
fn an_async_poll_that_hangs_is_shown_and_a_future_that_is_dropped_is_not() -> Result {
    let (app, clock) = manual_app()?;
    let mut events = app.events();
    let (hangs, begun, go_on) = Hangs::new();
    let hangs: Task<(), ()> = app
        .task("hangs", move || {
            let hangs = hangs.clone();
            async move { hangs.call() }
        })
        .timeout(SECOND * 2)
        .register()?;
    let job = hangs.schedule(()).id("j").delay(SECOND).block_on()?;
    time_out(&app, &clock, &job, &begun)?;
    drop(go_on);
    wait_until(|| outliving(&app).is_empty());
    let kinds = event_kinds(&mut events, "j");
    assert!(!kinds.contains(&"attempt 1 outlived".into()), "{kinds:?}");

    let forever = app.task("forever", std::future::pending::<()>);
    let forever = forever.timeout(SECOND).register()?;
    let job = forever.schedule(()).push().block_on()?;
    wait_until(|| job.status() == JobStatus::Running);
    clock.advance(SECOND);
    assert_eq!(job.wait_blocking(), JobStatus::Timeout);
    wait_until(|| outliving(&app).is_empty());
    Ok(())
}
