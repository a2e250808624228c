//! [`JobSnapshot`]: a job at one moment.

#[cfg(feature = "serde")]
use serde::Serialize;
use time::OffsetDateTime;

use crate::sync::primitives::Arc;
use crate::value::id::JobId;
use crate::value::progress::Progress;
use crate::value::run::Run;
use crate::value::spawned_by::SpawnedBy;
use crate::value::status::JobStatus;
use crate::value::waiting_for::WaitingFor;

/// A job at one moment, for a status page: [`Job::snapshot`](crate::Job::snapshot) returns it. With
/// the feature `serde` it can be serialized; times become text.
///
/// ```
/// # let sim = jobber::testing::Simulation::new();
/// # let hello = sim.app().task("hello", || async {}).register()?;
/// let job = hello.schedule(()).id("x").tag("nightly").cron("0 9 * * MON").block_on()?;
/// let snapshot = job.snapshot();
/// assert_eq!((snapshot.runs, snapshot.trigger.as_str()), (0, "the cron expression `0 9 * * MON`"));
/// assert_eq!(snapshot.tags, ["nightly".into()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
#[non_exhaustive]
pub struct JobSnapshot {
    /// The id of the job.
    pub id: JobId,
    /// The name of its task.
    pub task: Arc<str>,
    /// Its status.
    pub status: JobStatus,
    /// When it is due, or its running attempt was ([`Job::exec_at`](crate::Job::exec_at)).
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub due: OffsetDateTime,
    /// What makes it due, for people: `once`, or the interval or the cron expression.
    pub trigger: String,
    /// When it was scheduled, or replaced. `None` for a job that runs once, in memory, without
    /// options.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub scheduled_at: Option<OffsetDateTime>,
    /// The arguments of a durable job, as JSON text. `None` also if its task has another
    /// `Codec`.
    pub args: Option<Arc<str>>,
    /// Whether the job is in the store, or is to be.
    pub is_durable: bool,
    /// The number of the attempt that runs or comes next in its run, from 1.
    pub attempt: u32,
    /// The runs of a recurring job that have ended.
    pub runs: u64,
    /// Of these, the failed ones in a row.
    pub failures_in_a_row: u32,
    /// The last run of a recurring job that ended.
    pub last_run: Option<Run>,
    /// Whether the job, its task, a group of its task or its app is paused.
    pub is_paused: bool,
    /// What it waits for, if it is due.
    pub waiting_for: Option<WaitingFor>,
    /// The latest progress that its running attempt, or the last one, has reported
    /// ([`Job::progress`](crate::Job::progress)).
    pub progress: Option<Progress>,
    /// The run of a recurring job that it was made for.
    pub spawned_by: Option<SpawnedBy>,
    /// Its tags, with those of its task.
    pub tags: Vec<Arc<str>>,
    /// Its notes, with those of its task: keys and texts.
    pub notes: Vec<(Arc<str>, Arc<str>)>,
}
