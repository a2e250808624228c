//! The ends of failed jobs that the store keeps.

use std::error::Error;

use time::OffsetDateTime;

use crate::engine::job_state::{JobState, State, TaskDef};
use crate::job::end_record::{EndKey, EndRecord, JobEnd, KeepFailed, KeptEnd};
use crate::job::last_result::Failure;
use crate::job::lifecycle::{FailedEnd, Lifecycle};
use crate::job::phase::Phase;
use crate::job::record::RECORD_VERSION;
use crate::job::taken_id::TakenId;
use crate::sync::panics::catch_panic;
use crate::sync::primitives::Arc;
use crate::value::error::JobError;
use crate::value::id::JobId;
use crate::value::status::JobStatus;
use crate::value::time_units::{Now, from_wall, wall_range};

/// The longest text of an error that is kept, in bytes.
const LONGEST_ERROR: usize = 4_096;

/// The number of sources that are part of the text. A chain of sources may be circular.
const MOST_SOURCES: usize = 32;

/// Whether a job that ends like this has failed, so that its end is kept.
pub(crate) fn is_failure(status: JobStatus) -> bool {
    match status {
        JobStatus::Failed | JobStatus::Timeout | JobStatus::PermanentlyFailed => true,
        JobStatus::Scheduled | JobStatus::Running | JobStatus::Cancelled | JobStatus::Success => {
            false
        }
    }
}

impl<A, R> TaskDef<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// How many ends of failed jobs of this task are kept, and for how long.
    fn keep_failed(&self) -> KeepFailed {
        let own = self.durability.as_ref().and_then(|d| d.keep_failed);
        own.unwrap_or(self.hub.keep_failed)
    }

    /// What the store is to keep of a job of this task that has ended.
    pub(crate) fn end_to_store(&self, id: &JobId, life: &Lifecycle) -> Option<JobEnd> {
        let taken = life.taken().map(|(status, ended_at, until)| TakenId {
            id: id.clone(),
            status,
            ended_at: utc(ended_at),
            until: utc(until),
        });
        let kept = self.kept_end(id, life);
        let is_any = kept.is_some() || taken.is_some();
        is_any.then_some(JobEnd { kept, taken })
    }

    /// The end of a job of this task, if the store is to keep it.
    fn kept_end(&self, id: &JobId, life: &Lifecycle) -> Option<KeptEnd> {
        let keep = self.keep_failed();
        let (row, run, status, failed) = life.kept_end()?;
        if keep.count == 0 {
            return None;
        }
        let job = row.to_record(id);
        let finished_at = utc(failed.finished_at);
        let last = wall_range().1;
        // What failed before the clock was set has no age.
        let has_age = failed.finished_at >= self.hub.earliest;
        let keep_until = finished_at.checked_add(duration(keep));
        let keep_until = keep_until.filter(|_| has_age).unwrap_or(last);
        Some(KeptEnd {
            record: Box::new(EndRecord {
                key: EndKey {
                    id: id.clone(),
                    scheduled_at: job.scheduled_at,
                    run,
                },
                task: job.task.clone(),
                args: job.args.clone(),
                status,
                error: failed.error.clone(),
                attempts: failed.attempts,
                started_at: utc(failed.started_at),
                finished_at,
                keep_until: keep_until.min(last),
                version: RECORD_VERSION,
                job: job.to_json()?.into(),
            }),
            most_of_task: self.durability.as_ref()?.keep_failed.map(|own| own.count),
        })
    }
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// What the store is to keep of the job, which has ended.
    pub(crate) fn end_to_store(&self, state: &State<A, R>) -> Option<JobEnd> {
        self.task.end_to_store(&self.core.id, &state.life)
    }

    /// The text of a failure, if it may have to be kept. Runs code of the error: not under a
    /// lock.
    pub(crate) fn text_to_keep(&self, failure: &Failure) -> Option<Arc<str>> {
        self.task.durability.as_ref()?;
        let text = catch_panic(|| text_of(&failure.to_error()));
        let mut text = text.unwrap_or_else(|message| format!("its text panicked: {message}"));
        let longest = (0..=LONGEST_ERROR.min(text.len())).rev();
        let end = longest.into_iter().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        Some(text.into())
    }
}

/// The job has ended without another attempt. If its last run had failed, the store is to keep
/// its end.
pub(crate) fn keep_end_of_last_run<A, R>(state: &mut State<A, R>, error: &str, now: Now) {
    let life = &mut state.life;
    if let Phase::Ended(status) = life.phase()
        && is_failure(status)
        && life.is_durable()
    {
        let last = life.last_run();
        life.keep_end(FailedEnd {
            error: error.into(),
            attempts: 0,
            started_at: last.map_or(now.wall, |run| run.started_at),
            finished_at: last.map_or(now.wall, |run| run.finished_at),
        });
    }
}

/// How a job has failed whose last attempt was lost with its process.
pub(crate) fn lost_end(attempts: u32, started_at: i64, finished_at: i64) -> FailedEnd {
    FailedEnd {
        error: "the process ended during an attempt, which is made at most once".into(),
        attempts,
        started_at,
        finished_at,
    }
}

/// The message of the error and its sources.
fn text_of(error: &JobError) -> String {
    let first: &dyn Error = match error {
        // Its own message says nothing.
        JobError::Failed(error) => &**error,
        error => error,
    };
    let mut text = first.to_string();
    let sources = std::iter::successors(first.source(), |error| (*error).source());
    for source in sources.take(MOST_SOURCES) {
        text.push_str(": ");
        text.push_str(&source.to_string());
    }
    text
}

fn duration(keep: KeepFailed) -> time::Duration {
    keep.age.try_into().unwrap_or(time::Duration::MAX)
}

fn utc(wall: i64) -> OffsetDateTime {
    from_wall(wall, time::UtcOffset::UTC)
}
