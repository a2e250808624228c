//! Somebody who reads the events: they tell the same story as the history.

use std::collections::BTreeMap;

use jobber::{Event, Events, JobEventKind, Jobber};

use super::history::{Entry, Event as Happened, nanos};

/// Where the events have left a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waits,
    Runs,
    /// It runs, and something else is to follow.
    RunsReplaced,
}

pub struct Listener {
    events: Events,
    /// `None`: it is done.
    stages: BTreeMap<String, Option<Stage>>,
    /// The times that jobs run for when others were missed, as was said last.
    pub misfires: BTreeMap<String, Vec<i64>>,
    /// It has heard of all that happened.
    pub has_all: bool,
}

/// A smaller one is none: a clock is set by so much while it is kept right.
const STEP: i64 = 500_000_000;

/// So many events are kept for somebody who does not read; what comes then is missed,
/// and that is told with the next one.
const KEPT: usize = 1_024;

/// What is said to have started: the id, the run, and the attempt.
type Started = (String, u64, u32);

impl Listener {
    pub fn new(app: &Jobber) -> Self {
        Self {
            events: app.events(),
            stages: BTreeMap::new(),
            misfires: BTreeMap::new(),
            has_all: true,
        }
    }

    /// What was said since it was last asked fits what happened meanwhile.
    pub fn check(&mut self, entries: &[Entry]) -> Result<(), String> {
        let mut said = Vec::new();
        let mut steps = Vec::new();
        self.misfires.clear();
        self.has_all = true;
        let mut count = 0;
        while let Some(event) = self.events.try_next() {
            count += 1;
            match event {
                Event::Job(event) => {
                    let id = event.id.to_string();
                    if let JobEventKind::Started { run, attempt } = event.kind {
                        said.push((nanos(event.at), (id.clone(), run, attempt)));
                    }
                    if let JobEventKind::Misfired { next } = event.kind {
                        let misfires = self.misfires.entry(id.clone()).or_default();
                        misfires.push(nanos(next));
                    }
                    self.next(id, &event.kind)
                        .map_err(|text| format!("it is said that {event}: {text}"))?;
                }
                Event::ClockStepped { by } => steps.push(by.whole_nanoseconds() as i64),
                Event::Missed(1..) => {
                    // It reads once a step, and there may be more than are kept for it.
                    self.stages.clear();
                    self.has_all = false;
                }
                other => return Err(format!("it is said that {other}")),
            }
        }
        let started = entries.iter().filter_map(|entry| match &entry.event {
            Happened::Start(attempt) => Some((
                entry.now.wall,
                (attempt.id.clone(), attempt.run, attempt.attempt),
            )),
            _ => None,
        });
        let started: Vec<(i64, Started)> = started.collect();
        let stepped = entries.iter().filter_map(|entry| match entry.event {
            Happened::Stepped { by } if by.abs() >= STEP => Some(by),
            _ => None,
        });
        let stepped: Vec<_> = stepped.collect();
        // One thread runs them in the order in which they start.
        self.has_all &= count < KEPT;
        let fits = match self.has_all {
            true => said == started && steps == stepped,
            false => said.iter().all(|one| started.contains(one)),
        };
        match fits {
            true => Ok(()),
            false => Err(format!(
                "it is said that {said:?} have started and the clock was set by {steps:?}; \
                 it was {started:?}, and {stepped:?}"
            )),
        }
    }

    fn next(&mut self, id: String, kind: &JobEventKind) -> Result<(), String> {
        let before = self.stages.get(&id).copied();
        let after = match (before, kind) {
            (None | Some(None), JobEventKind::Scheduled { .. } | JobEventKind::Restored { .. }) => {
                Some(Stage::Waits)
            }
            (Some(Some(stage)), JobEventKind::Scheduled { .. }) => Some(match stage {
                Stage::Waits => Stage::Waits,
                Stage::Runs | Stage::RunsReplaced => Stage::RunsReplaced,
            }),
            (Some(Some(Stage::Waits | Stage::RunsReplaced)), JobEventKind::Started { .. }) => {
                Some(Stage::Runs)
            }
            (Some(Some(Stage::Runs)), JobEventKind::Retrying { .. }) => Some(Stage::Waits),
            // That of a retry that was given up, too.
            (Some(Some(_)), JobEventKind::RunEnded(_)) => Some(Stage::Waits),
            // Nothing is said of the end of a run that what follows is not a run of.
            (Some(Some(Stage::Waits | Stage::RunsReplaced)), JobEventKind::Misfired { .. }) => {
                Some(Stage::Waits)
            }
            (Some(Some(_)), JobEventKind::Cancelled | JobEventKind::Ended(_)) => None,
            // It began to read when the job was there already.
            (None, JobEventKind::Started { .. }) => Some(Stage::Runs),
            (None, JobEventKind::Cancelled | JobEventKind::Ended(_)) => None,
            (None, _) => Some(Stage::Waits),
            (Some(stage), _) => return Err(format!("after {stage:?}")),
        };
        self.stages.insert(id, after);
        Ok(())
    }
}
