//! `Simulation::stuck`: jobs that virtual time does not wake.

use std::future::pending;

use crate::support::{HOUR, MINUTE, Result, SECOND};
use futures_lite::FutureExt;
use jobber::JobStatus;
use jobber::testing::Simulation;

fn stuck(sim: &Simulation) -> Vec<String> {
    sim.stuck().iter().map(|job| job.id().to_string()).collect()
}

#[test]
fn a_job_is_stuck_while_it_runs_and_no_sleep_of_the_clock_wakes_it() -> Result {
    let mut sim = Simulation::new();
    let clock = sim.clock();
    let task = sim.app().task("t", move |sleeps: u32| {
        let clock = clock.clone();
        async move {
            for _ in 0..sleeps {
                clock.sleep(SECOND).or(pending()).await;
            }
            if sleeps != 2 {
                pending::<()>().await;
            }
        }
    });
    let task = task.register()?;
    for sleeps in [3, 0, 2, 1] {
        let id = format!("{sleeps} sleeps");
        let _ = task.schedule(sleeps).id(id).push().block_on()?;
    }
    let _ = task.schedule(0).id("waits").delay(HOUR).block_on()?;
    assert!(stuck(&sim).is_empty(), "nothing runs yet");
    sim.run_until_stalled();
    assert_eq!(stuck(&sim), ["0 sleeps"]);
    sim.advance(SECOND);
    assert_eq!(stuck(&sim), ["0 sleeps", "1 sleeps"]);
    sim.advance(SECOND * 2);
    assert_eq!(stuck(&sim), ["0 sleeps", "1 sleeps", "3 sleeps"]);
    for job in sim.stuck() {
        assert!(job.abort().block_on()?.took_effect());
        assert_eq!(job.status(), JobStatus::Cancelled);
    }
    assert!(stuck(&sim).is_empty());
    Ok(())
}

#[test]
fn a_sleep_that_belongs_to_no_attempt_hides_no_stuck_job() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", pending::<()>).register()?;
    let _ = task.schedule(()).id("x").push().block_on()?;
    let mut sleep = Box::pin(sim.clock().sleep(MINUTE));
    assert!(crate::support::poll(&mut sleep).is_none());
    sim.run_until_stalled();
    assert_eq!(stuck(&sim), ["x"]);
    Ok(())
}
