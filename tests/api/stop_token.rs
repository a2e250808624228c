//! The stop token of an attempt.

use crate::support::{Log, MINUTE, Result, SECOND, begin, hand_polled_app, poll, poll_with};
use futures_lite::future::{block_on, poll_once};
use jobber::testing::Simulation;
use jobber::{Backoff, JobContext, JobStatus, StopToken};
use std::task::Waker;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    WithValue,
    WithError,
    ByPanic,
    ByTimeout,
}

const ENDS: [Ends; 4] = [
    Ends::WithValue,
    Ends::WithError,
    Ends::ByPanic,
    Ends::ByTimeout,
];

/// Regression: a wait for the token of an attempt that had ended lasted for ever.
#[test]
fn a_token_is_set_when_its_attempt_has_ended() -> Result {
    for ends in ENDS {
        for recurs in [false, true] {
            let mut sim = Simulation::new();
            let (log, clock) = (Log::new(), sim.clock());
            let (tokens, set_at_start) = (log.clone(), Log::new());
            let at_start = set_at_start.clone();
            let task = sim.app().task("t", move |cx: JobContext| {
                tokens.add(cx.stop_token());
                at_start.add(cx.stop_token().is_stop_requested());
                let slept = clock.sleep(SECOND);
                async move {
                    slept.await;
                    match ends {
                        Ends::WithValue => Ok(()),
                        Ends::WithError => Err("no"),
                        Ends::ByPanic => panic!("no"),
                        Ends::ByTimeout => std::future::pending().await,
                    }
                }
            });
            let task = task.timeout(SECOND * 2).retry(Backoff::fixed(1, MINUTE));
            let task = task.register()?;
            let job = match recurs {
                true => task.schedule(()).every(SECOND * 10).block_on()?,
                false => task.schedule(()).delay(SECOND * 10).block_on()?,
            };
            sim.advance(SECOND * 10);
            let token: StopToken = log.take().remove(0);
            let mut waits = token.stopped();
            begin(&mut waits);
            assert!(!token.is_stop_requested(), "{ends:?}");
            sim.advance(SECOND * 2);
            assert_ne!(job.status(), JobStatus::Running, "{ends:?}");
            assert!(token.is_stop_requested(), "{ends:?}");
            let polled = poll_with(&mut waits, Waker::noop());
            assert!(polled.is_ready(), "{ends:?}");
            assert!(poll(token.stopped()).is_some(), "{ends:?}");
            // A later attempt has a token of its own.
            sim.advance(MINUTE);
            let starts = set_at_start.take();
            assert_eq!(starts.len() > 1, recurs || ends != Ends::WithValue);
            assert!(!starts.contains(&true), "{ends:?}");
        }
    }
    Ok(())
}

#[test]
fn a_token_is_set_when_the_executor_drops_its_attempt() -> Result {
    let (app, _clock, spawned) = hand_polled_app()?;
    let log = Log::new();
    let tokens = log.clone();
    let task = app.task("t", move |cx: JobContext| {
        tokens.add(cx.stop_token());
        std::future::pending::<()>()
    });
    let job = task.register()?.schedule(()).push().block_on()?;
    let mut attempt = spawned.recv()?;
    block_on(poll_once(&mut attempt));
    let token = log.take().remove(0);
    assert!(!token.is_stop_requested());
    drop(attempt);
    assert_eq!(job.status(), JobStatus::Failed);
    assert!(token.is_stop_requested());
    Ok(())
}

#[test]
fn the_token_of_a_blocking_attempt_is_set_when_the_function_has_returned() -> Result {
    let mut sim = Simulation::new();
    let log = Log::new();
    let tokens = log.clone();
    let task = sim.app().blocking_task("t", move |cx: JobContext| {
        let token = cx.stop_token();
        assert!(!token.is_stop_requested());
        tokens.add(token);
    });
    let job = task.register()?.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(job.status(), JobStatus::Success);
    assert!(log.take().remove(0).is_stop_requested());
    Ok(())
}
