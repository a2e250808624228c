//! [`JobRecord`]: a job as a store keeps it.

use std::time::Duration;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::calendar::recurrence::Misfire;
use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// The version of the records that this program writes, and the newest that it
/// can read.
pub(crate) const RECORD_VERSION: u32 = 1;

/// A job as a [`Storage`](crate::storage::Storage) keeps it: all that another process
/// needs to go on with it.
///
/// A store gives back what it was given, and has no need to look at more than
/// the [`id`](JobRecord::id). With the feature `serde` the whole can be
/// serialized; times become text that sorts as they do.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct JobRecord {
    /// The version of this format: 1. A program does not run a record of a
    /// version that it does not know.
    pub version: u32,
    /// The key: no two records of a store have the same.
    pub id: JobId,
    /// The name of the task, as it was when the job was scheduled.
    pub task: String,
    /// The arguments, as JSON.
    pub args: String,
    /// When it was scheduled, or replaced.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub scheduled_at: OffsetDateTime,
    /// What makes it due.
    pub trigger: TriggerRecord,
    /// The name of its time zone, or its offset such as `+05:30`; `None` for the
    /// app's, whatever that is.
    pub zone: Option<String>,
    /// How far it has come.
    pub progress: ProgressRecord,
}

/// What makes a stored job due.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum TriggerRecord {
    /// `push` or `delay`: once, by the monotonic clock.
    Delay,
    /// `at`: once, by the wall clock.
    At,
    /// `every`: again and again, by the monotonic clock.
    Every {
        /// From one time to the next.
        interval: Duration,
        /// When it ends, and what it does about missed times.
        options: RecurringRecord,
    },
    /// `cron`: again and again, by the wall clock.
    Cron {
        /// The expression as written.
        expression: String,
        /// When it ends, and what it does about missed times.
        options: RecurringRecord,
    },
}

impl TriggerRecord {
    /// The name of the trigger: `delay`, `at`, `every` or `cron`.
    ///
    /// ```
    /// assert_eq!(jobber::storage::TriggerRecord::At.name(), "at");
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            TriggerRecord::Delay => "delay",
            TriggerRecord::At => "at",
            TriggerRecord::Every { .. } => "every",
            TriggerRecord::Cron { .. } => "cron",
        }
    }
}

/// The options of a stored job that recurs.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct RecurringRecord {
    /// What it does about missed times.
    pub misfire: Misfire,
    /// How much later than its time a run may start, at random.
    pub jitter: Duration,
    /// It ends after so many runs.
    pub max_runs: Option<u64>,
    /// It ends after so many failed runs in a row.
    pub max_failures: u32,
    /// The first time that it may run at, as it was given.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub start_date: Option<OffsetDateTime>,
}

/// How far a stored job has come: the part of a record that changes while the
/// job goes on.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ProgressRecord {
    /// When it starts next: for its run, or for a retry of that.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub due: OffsetDateTime,
    /// The time that this run stands for, whichever attempt it is.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub nominal: OffsetDateTime,
    /// The attempts of this run that have ended, and failed. One that a crash
    /// cut short is not counted.
    pub attempts: u32,
    /// How the last of these failed: `Failed` or `Timeout`.
    pub last_failure: Option<JobStatus>,
    /// Of an `at_most_once` task: an attempt was about to start then, and has
    /// not ended. Another process must not run it again.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub started_at: Option<OffsetDateTime>,
    /// Of a job that recurs.
    pub recurring: Option<RecurringProgress>,
}

/// How far a stored job that recurs has come.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct RecurringProgress {
    /// The runs that have started; one of them may wait for a retry.
    pub runs: u64,
    /// The last runs that failed, one after the other.
    pub failures_in_a_row: u32,
    /// The last run that has ended.
    pub last_run: Option<Run>,
    /// When the run started that waits for a retry.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub started_at: Option<OffsetDateTime>,
    /// All times up to this one have been run or left out, but for those
    /// [`jumped`](RecurringProgress::jumped) over.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub run_up_to: OffsetDateTime,
    /// Times that a jump of the wall clock left out, which come again if it is
    /// set back.
    pub jumped: Option<JumpRecord>,
    /// Times up to here are dealt with, whether or not they were run.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub dealt_with: Option<OffsetDateTime>,
    /// Missed runs made up for in a row.
    pub made_up: u32,
    /// The next run makes up for a missed time, and is counted in
    /// [`made_up`](RecurringProgress::made_up) already.
    pub makes_up: bool,
}

/// Times after `from` and before `to` that were not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct JumpRecord {
    /// The last time before that was run.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub from: OffsetDateTime,
    /// The first time after that was run.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub to: OffsetDateTime,
}

/// A finished run of a recurring job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Run {
    /// Counts the job's runs, from 1. Retries are part of their run.
    pub number: u64,
    /// The time that the run stands for, as
    /// [`exec_at`](crate::AnyJob::exec_at) showed it. It may have started later.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub nominal_time: OffsetDateTime,
    /// When its first attempt started.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub started_at: OffsetDateTime,
    /// When its last attempt ended.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub finished_at: OffsetDateTime,
    /// How it ended: `Success`, `Failed`, `Timeout` or (aborted) `Cancelled`.
    pub status: JobStatus,
}
