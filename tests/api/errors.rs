//! What the errors say.

use std::error::Error;
use std::time::Duration;

use crate::support::{HOUR, Result, SECOND};
use jobber::storage::StorageError;
use jobber::testing::Simulation;
use jobber::{BoxError, NoRetry, RetryAfter};

/// Every error of the library that has a source, as a chain of causes.
fn errors() -> Result<Vec<BoxError>> {
    let mut sim = Simulation::new();
    let app = sim.app().clone();
    let task = app.task("t", || async {}).register()?;
    let fails = app.task(
        "fails",
        async |kind: u8| -> std::result::Result<(), BoxError> {
            Err(match kind {
                0 => NoRetry::new("gone").into(),
                1 => RetryAfter::new(SECOND).into(),
                2 => anyhow::Error::new(NoRetry::new("gone"))
                    .context("no feed")
                    .into(),
                _ => "no".parse::<u8>().unwrap_err().into(),
            })
        },
    );
    let fails = fails.register()?;
    let cron = || task.schedule(()).id("x").cron("0 0 32 * *");
    let declared = app.declare("set", |set| {
        set.add(cron());
    });
    let mut errors: Vec<BoxError> = vec![
        cron().block_on().unwrap_err().into(),
        declared.block_on().unwrap_err().into(),
        StorageError::other(std::io::Error::other("no cable")).into(),
        jobber::ScheduleError::Storage(StorageError::other("no disk")).into(),
        task.schedule(())
            .id("\0")
            .push()
            .block_on()
            .unwrap_err()
            .into(),
    ];
    let jobs: Vec<_> = (0..4).map(|kind| fails.schedule(kind)).collect();
    let limit = jobs.len();
    let jobs: Vec<_> = jobs
        .into_iter()
        .map(|schedule| schedule.push().block_on())
        .collect::<std::result::Result<_, _>>()?;
    let expired = app.task("late", async || Err::<(), _>("busy"));
    let expired = expired.retry(jobber::Backoff::fixed(1, HOUR)).register()?;
    let expired = expired.schedule(()).expires(SECOND).push().block_on()?;
    sim.advance(Duration::from_secs(limit as u64));
    for job in jobs {
        errors.push(job.result().unwrap_err().into());
    }
    errors.push(expired.result().unwrap_err().into());
    Ok(errors)
}

fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        messages.push(error.to_string());
        next = error.source();
    }
    messages
}

/// A program that prints a chain of causes, as anyhow's `{:#}` does, shows each of them once.
#[test]
fn no_message_repeats_that_of_its_source() -> Result {
    for error in errors()? {
        let chain = chain(&*error);
        for (n, message) in chain.iter().enumerate() {
            let later = &chain[n + 1..];
            let is_repeated = |later: &String| later.contains(message) || message.contains(later);
            assert!(!later.iter().any(is_repeated), "{chain:?}");
            assert!(!message.is_empty(), "{chain:?}");
        }
    }
    Ok(())
}

#[test]
fn the_chain_of_a_task_that_must_not_be_retried_reads_as_a_sentence() -> Result {
    let errors = errors()?;
    let text = |n: usize| chain(&*errors[n]).join(": ");
    assert_eq!(
        text(5),
        "the task failed: permanent failure: no retry: gone"
    );
    assert_eq!(
        text(6),
        "the task failed: temporary failure: retry after 1s"
    );
    Ok(())
}
