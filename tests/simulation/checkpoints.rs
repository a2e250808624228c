//! Rules for checkpoints, independent of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use jobber::JobContext;
use serde::{Deserialize, Serialize};

use super::history::{Attempt, Entry, Event};
use super::program::Steer;
use super::script::Script;

/// What an attempt stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Rises with each checkpoint.
    serial: usize,
    boot: u32,
    script: u32,
    run: u64,
    nominal: i64,
}

/// Reads the checkpoint of the attempts before, and sets two: the second one comes within a second.
pub async fn read_and_set(
    cx: &JobContext,
    attempt: &Attempt,
    script: Script,
    add: impl Fn(Event) -> usize,
) {
    let found = cx.last_checkpoint::<Mark>();
    let mut serial = add(Event::CheckpointFound {
        attempt: attempt.clone(),
        script: script.to_number(),
        mark: found.ok().flatten(),
    });
    for _ in 0..2 {
        let mark = Mark {
            serial,
            boot: attempt.boot,
            script: script.to_number(),
            run: attempt.run,
            nominal: attempt.nominal,
        };
        let mut set = pin!(cx.checkpoint(&mark));
        // It waits for nothing: the model knows when the attempt ends.
        let set = poll_fn(|cx| Poll::Ready(set.as_mut().poll(cx))).await;
        serial = add(Event::CheckpointSet {
            attempt: attempt.clone(),
            mark,
            is_stored: matches!(set, Poll::Ready(Ok(()))),
        });
    }
}

/// What the history so far says of one name.
#[derive(Default)]
struct Known {
    /// Rises when the job is scheduled, replaced or cancelled, or that is tried.
    changes: u32,
    /// As it was when the attempt started.
    at_start: u32,
    /// The last one that is known to be stored.
    stored: Option<Mark>,
    /// The moments at which an extra run was asked for. It has checkpoints of its own, and the nominal
    /// time of another run may be the same.
    moments: BTreeSet<i64>,
}

/// Reads a history.
pub fn judge(history: &[Entry]) -> Result<(), String> {
    let mut jobs: BTreeMap<&str, Known> = BTreeMap::new();
    for entry in history {
        match &entry.event {
            Event::Scheduled(promise) => jobs.entry(&promise.id).or_default().changes(),
            Event::TakenBack { id }
            | Event::GivenBack { id, .. }
            | Event::Over { id }
            | Event::Done { id }
            | Event::Refused { id } => jobs.entry(id).or_default().changes(),
            Event::Steered {
                id,
                how: Steer::RunNow,
                ..
            } => {
                let job = jobs.entry(id).or_default();
                job.moments.insert(entry.now.wall);
            }
            Event::Start(attempt) => {
                let job = jobs.entry(&attempt.id).or_default();
                job.at_start = job.changes;
                // That of an interrupted run, if this is another one, or may be.
                let may_be_extra = job.moments.contains(&attempt.nominal);
                job.stored.take_if(|mark| {
                    attempt.attempt == 1 && (may_be_extra || mark.nominal != attempt.nominal)
                });
            }
            Event::CheckpointFound {
                attempt,
                script,
                mark,
            } => jobs
                .entry(&attempt.id)
                .or_default()
                .finds(attempt, *script, *mark)?,
            Event::CheckpointSet {
                attempt,
                mark,
                is_stored: true,
            } => {
                let job = jobs.entry(&attempt.id).or_default();
                if job.changes == job.at_start {
                    job.stored = Some(*mark);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

impl Known {
    fn changes(&mut self) {
        self.changes += 1;
        self.stored = None;
    }

    fn finds(&self, attempt: &Attempt, script: u32, found: Option<Mark>) -> Result<(), String> {
        // Runs may come between a run that a crash has cut short and its next attempt.
        let may_be_of_run = |mark: &Mark| match attempt.attempt {
            1 => mark.boot < attempt.boot && mark.run <= attempt.run,
            _ => mark.run <= attempt.run,
        };
        if let Some(mark) = found.filter(|mark| mark.script != script || !may_be_of_run(mark)) {
            return Err(format!(
                "{attempt:?} has the checkpoint of another run: {mark:?}"
            ));
        }
        let is_of_run = |mark: &Mark| {
            (mark.script, mark.run) == (script, attempt.run)
                && (attempt.attempt > 1 || mark.nominal == attempt.nominal)
        };
        match self.stored.as_ref().filter(|mark| is_of_run(mark)) {
            Some(stored) if found.is_none_or(|found| found.serial < stored.serial) => Err(format!(
                "{attempt:?} has the checkpoint {found:?}, and {stored:?} was stored"
            )),
            _ => Ok(()),
        }
    }
}
