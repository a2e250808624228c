//! A reader of the events, which must agree with the history.

use std::collections::BTreeMap;

use jobber::{Event, Events, JobEvent, JobEventKind, JobStatus, Jobber};
use time::OffsetDateTime;

use super::check;
use super::history::{Entry, Event as Happened, nanos};
use super::job::{Job, Run, Said};
use super::program::Start;

/// The state of a job as the events say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waits,
    Runs,
    /// It runs, and a replacement follows.
    RunsReplaced,
}

pub struct Listener {
    events: Events,
    /// `None`: it is done.
    stages: BTreeMap<String, Option<Stage>>,
    /// The last event of each job.
    heard: BTreeMap<String, Vec<JobEvent>>,
    /// The reader has missed no event.
    has_all: bool,
}

/// A smaller change of the wall clock is not a step.
const STEP: i64 = 500_000_000;

/// How many events are kept for a reader. Further events are missed, and the next one says
/// how many.
const KEPT: usize = 1_024;

/// An attempt of a `Started` event: the id, the run, and the attempt.
type Started = (String, u64, u32);

impl Listener {
    pub fn new(app: &Jobber) -> Self {
        Self {
            events: app.events(),
            stages: BTreeMap::new(),
            heard: BTreeMap::new(),
            has_all: true,
        }
    }

    /// Checks that the events since the last check fit what happened meanwhile.
    pub fn check(&mut self, entries: &[Entry]) -> Result<(), String> {
        let mut said = Vec::new();
        let mut steps = Vec::new();
        self.heard.clear();
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
                    self.next(id.clone(), &event.kind)
                        .map_err(|text| format!("it is said that {event}: {text}"))?;
                    self.heard.entry(id).or_default().push(event);
                }
                Event::ClockStepped { by } => steps.push(by.whole_nanoseconds() as i64),
                Event::Resumed { after } => steps.push(after.as_nanos() as i64),
                // The jobs of a paused task show it.
                Event::PauseBegan { .. } | Event::PauseEnded { .. } => {}
                Event::Missed(1..) => {
                    // It reads once a step, and may miss events within a step.
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

    /// Checks that the events of a predicted job are what it did; `ended` if it has ended just
    /// now.
    pub fn check_job(&self, job: &Job, ended: Option<Said>, app: Start) -> Result<(), String> {
        if !self.has_all {
            return Ok(());
        }
        let heard = self.heard.get(&job.id).map_or(&[][..], Vec::as_slice);
        let mut misfires = Vec::new();
        let mut others = Vec::new();
        for event in heard {
            check::in_zone(event.at, app)?;
            match event.kind {
                JobEventKind::Misfired { next } => misfires.push(nanos(next)),
                JobEventKind::Scheduled { .. }
                | JobEventKind::Restored { .. }
                | JobEventKind::Started { .. } => {}
                _ => others.push(event),
            }
        }
        let said: Vec<_> = job.said.iter().copied().chain(ended).collect();
        let fits = others.len() == said.len() && others.iter().zip(&said).all(|(a, b)| tells(a, b));
        if misfires != job.misfires || !fits {
            return Err(format!(
                "of {} it is said: {heard:?}; it was {said:?}, and ran for missed times: {:?}",
                job.id, job.misfires,
            ));
        }
        check_due(job, heard.last(), app)?;
        // Events before a replacement have the zone of the old trigger.
        let is_anew = |event: &JobEvent| matches!(event.kind, JobEventKind::Scheduled { .. });
        let shown = heard.rsplit(is_anew).next().unwrap_or_default();
        let mut times = shown.iter().flat_map(times_of);
        times.try_for_each(|time| check::in_zone(time, job.plan.zone.unwrap_or(app)))
    }

    fn next(&mut self, id: String, kind: &JobEventKind) -> Result<(), String> {
        let before = self.stages.get(&id).copied();
        let is_steering = matches!(
            kind,
            JobEventKind::Paused
                | JobEventKind::Resumed { .. }
                | JobEventKind::RunRequested
                | JobEventKind::Moved { .. }
        );
        if is_steering && before != Some(None) {
            return Ok(());
        }
        let after = match (before, kind) {
            // If the reader began during a run, it may be a replacement.
            (None, JobEventKind::Scheduled { .. }) => Some(Stage::RunsReplaced),
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
            (Some(Some(Stage::Runs | Stage::RunsReplaced)), JobEventKind::Retrying { .. }) => {
                Some(Stage::Waits)
            }
            // So does the event of a retry that was given up.
            (Some(Some(_)), JobEventKind::RunEnded(_)) => Some(Stage::Waits),
            // There is no event for the end of a run that is followed by another series.
            (Some(Some(Stage::Waits | Stage::RunsReplaced)), JobEventKind::Misfired { .. }) => {
                Some(Stage::Waits)
            }
            (
                None | Some(Some(_)),
                JobEventKind::Cancelled | JobEventKind::Expired | JobEventKind::Ended(_),
            ) => None,
            (
                Some(Some(stage)),
                JobEventKind::AllExcluded { .. }
                | JobEventKind::FailedTooOften { .. }
                | JobEventKind::Interrupted { .. },
            ) => Some(stage),
            // The reader began after the job was scheduled.
            (None, JobEventKind::Started { .. }) => Some(Stage::Runs),
            (None, _) => Some(Stage::Waits),
            (Some(stage), _) => return Err(format!("after {stage:?}")),
        };
        self.stages.insert(id, after);
        Ok(())
    }
}

/// Whether an event has this kind.
fn tells(event: &JobEvent, said: &Said) -> bool {
    match (&event.kind, said) {
        (
            JobEventKind::Retrying { attempt, due },
            Said::Retrying {
                attempt: failed,
                due: earliest,
                most,
            },
        ) => attempt == failed && (0..=*most).contains(&(nanos(*due) - earliest)),
        (JobEventKind::RunEnded(run), Said::RunEnded(ended)) => {
            Run::of(run) == *ended && nanos(event.at) == ended.finished_at
        }
        (JobEventKind::Expired, Said::Expired) | (JobEventKind::Paused, Said::Paused) => true,
        (JobEventKind::RunRequested, Said::RunRequested) => true,
        (JobEventKind::Moved { due }, Said::Moved { due: ours }) => due.map(nanos) == Some(*ours),
        (
            JobEventKind::Resumed { due },
            Said::Resumed {
                due: earliest,
                most,
            },
        ) => (0..=*most).contains(&(nanos(*due) - earliest)),
        (JobEventKind::AllExcluded { .. }, Said::AllExcluded)
        | (JobEventKind::FailedTooOften { .. }, Said::FailedTooOften) => true,
        (JobEventKind::Interrupted { interruptions, .. }, Said::Interrupted(ours)) => {
            interruptions == ours
        }
        (JobEventKind::Cancelled, Said::Ended(status)) => *status == JobStatus::Cancelled,
        (JobEventKind::Ended(JobStatus::Cancelled), _) => false,
        (JobEventKind::Ended(status), Said::Ended(ended)) => status == ended,
        _ => false,
    }
}

/// If the last event of a job has a due time, the job is due then.
fn check_due(job: &Job, last: Option<&JobEvent>, app: Start) -> Result<(), String> {
    let Some(event) = last else {
        return Ok(());
    };
    let (JobEventKind::Scheduled { due } | JobEventKind::Restored { due }) = event.kind else {
        return Ok(());
    };
    // It runs, or is due like this.
    let plan = job.next_plan.as_ref().unwrap_or(&job.plan);
    let late = nanos(due) - plan.exec_at;
    match (0..=plan.unread.map_or(0, |draw| draw.most)).contains(&late) {
        true => check::in_zone(due, plan.zone.unwrap_or(app)),
        false => Err(format!("it is said that {event}; it was {plan:?}")),
    }
}

/// The times within an event, except its own.
fn times_of(event: &JobEvent) -> Vec<OffsetDateTime> {
    match event.kind {
        JobEventKind::Retrying { due, .. } | JobEventKind::Resumed { due } => vec![due],
        JobEventKind::Misfired { next } => vec![next],
        JobEventKind::RunEnded(run) => vec![run.nominal_time, run.started_at, run.finished_at],
        _ => Vec::new(),
    }
}
