//! [`JobRecord`]: a job as a store keeps it.

use std::time::Duration;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::calendar::misfire::Misfire;
use crate::sync::primitives::Arc;
use crate::value::encoded::Encoded;
use crate::value::id::JobId;
use crate::value::labels::Labels;
use crate::value::overlap::Overlap;
use crate::value::run::Run;
use crate::value::spawned_by::SpawnedBy;
use crate::value::status::JobStatus;

/// The version of the records that this program writes and reads. It rises with each
/// change of the format.
pub(crate) const RECORD_VERSION: u32 = 12;

/// A job as a [`Storage`](crate::storage::Storage) keeps it: all that another process needs to go
/// on with the job.
///
/// A store returns on load what it was given. It may use the values below as keys and
/// index columns. Everything else is private, because it changes with each feature. With
/// the feature `serde` the whole record can be serialized; times become text that sorts
/// like the times.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct JobRecord {
    pub(crate) version: u32,
    pub(crate) id: JobId,
    pub(crate) task: Arc<str>,
    pub(crate) args: Encoded,
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) scheduled_at: OffsetDateTime,
    pub(crate) trigger: TriggerRecord,
    /// The name of the time zone, or its offset such as `+05:30`. `None` for the zone of
    /// the app.
    pub(crate) zone: Option<String>,
    /// How long after its run was due an attempt may start.
    pub(crate) expires: Option<Duration>,
    /// The longest time of an attempt. `None`: as the task says.
    pub(crate) timeout: Option<Duration>,
    /// How a failed attempt is retried. `None`: as the task says.
    pub(crate) retry: Option<BackoffRecord>,
    /// Among the jobs that wait for limits. `None`: as the task says.
    pub(crate) priority: Option<i8>,
    /// The key of its arguments, which has a limit of its own.
    pub(crate) limit_key: Option<Arc<str>>,
    /// The key of its arguments, which has a rate of its own.
    pub(crate) rate_key: Option<Arc<str>>,
    /// How long its id stays taken after its end.
    pub(crate) unique_for: Option<Duration>,
    /// Its tags and notes.
    pub(crate) labels: Option<Box<Labels>>,
    /// The set that declares the job.
    pub(crate) set: Option<Arc<str>>,
    /// The run of a recurring job that it was made for.
    pub(crate) spawned_by: Option<Box<SpawnedBy>>,
    pub(crate) progress: ProgressRecord,
}

impl JobRecord {
    /// The version of the format that this program writes and reads. It rises with each
    /// change of the format. A store compares it with the version of a stored record
    /// before it reads the rest, because a record of another version may have other
    /// fields.
    ///
    /// ```
    /// use jobber::storage::{JobRecord, Loaded};
    ///
    /// fn read(version: u32, id: &str, task: &str, json: &str) -> Loaded {
    ///     if version != JobRecord::VERSION {
    ///         return Loaded::OtherVersion { id: id.into(), task: task.into(), version };
    ///     }
    ///     # #[cfg(feature = "serde")]
    ///     match serde_json::from_str(json) {
    ///         Ok(record) => Loaded::Job(Box::new(record)),
    ///         Err(error) => Loaded::Unreadable {
    ///             id: id.into(),
    ///             task: task.into(),
    ///             reason: error.to_string(),
    ///         },
    ///     }
    ///     # #[cfg(not(feature = "serde"))]
    ///     # unreachable!("{json}")
    /// }
    /// assert!(matches!(read(99, "x", "mail", "{}"), Loaded::OtherVersion { version: 99, .. }));
    /// ```
    pub const VERSION: u32 = RECORD_VERSION;

    /// The version of the format of this record. A program reads the version that it
    /// writes; a job of another version is [unresolved](crate::Jobber::unresolved).
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The key: no two records of a store have the same id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The name of the task, as it was when the job was scheduled.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// When the job is due next, for its run or for a retry.
    pub fn due(&self) -> OffsetDateTime {
        self.progress.due
    }

    /// The whole record as JSON. `None` without the feature `serde`, with which alone a task is
    /// durable.
    pub(crate) fn to_json(&self) -> Option<String> {
        #[cfg(feature = "serde")]
        return serde_json::to_string(self).ok();
        #[cfg(not(feature = "serde"))]
        return None;
    }

    /// The arguments: JSON text, or what another [codec](JobRecord::codec) has written.
    pub fn args(&self) -> &[u8] {
        self.args.bytes()
    }

    /// The name of the `Codec` of the arguments. `None` for JSON.
    pub fn codec(&self) -> Option<&str> {
        self.args.codec()
    }

    /// How far the job has come.
    pub fn progress(&self) -> &ProgressRecord {
        &self.progress
    }

    /// Replaces the progress: what a store does for
    /// [`Change::Advance`](crate::storage::Change::Advance).
    pub fn set_progress(&mut self, progress: ProgressRecord) {
        self.progress = progress;
    }
}

/// The retries of a stored job.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct BackoffRecord {
    pub(crate) retries: u32,
    pub(crate) initial: Duration,
    pub(crate) factor: f64,
    pub(crate) cap: Duration,
    pub(crate) jitter: f64,
    pub(crate) retry_after_max: Duration,
}

/// What makes a stored job due.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(crate) enum TriggerRecord {
    /// `push` or `delay`: once, by the monotonic clock.
    Delay {
        /// After how long, as it was asked for.
        length: Duration,
    },
    /// `at`: once, by the wall clock.
    At,
    /// `at_local`: once, when the clocks of the zone show this date and time.
    AtLocal {
        /// As a time in UTC.
        #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
        local: OffsetDateTime,
    },
    /// `every`: by the monotonic clock, or with a start date by the wall clock.
    Every {
        interval: Duration,
        options: RecurringRecord,
    },
    /// `after_each`: by the monotonic clock, from the end of the run before.
    AfterEach {
        interval: Duration,
        options: RecurringRecord,
    },
    /// `every_calendar`: by the wall clock, from the start date on.
    Calendar {
        /// As ISO 8601 writes a duration.
        interval: String,
        options: RecurringRecord,
    },
    /// `cron`: by the wall clock.
    Cron {
        /// As written.
        expression: String,
        options: RecurringRecord,
    },
}

/// The options of a stored job that recurs.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct RecurringRecord {
    pub(crate) misfire: Misfire,
    pub(crate) jitter: Duration,
    pub(crate) max_runs: Option<u64>,
    pub(crate) max_failures: Option<u32>,
    /// A run that fails pauses the job.
    pub(crate) pause_on_failure: bool,
    pub(crate) overlap: Overlap,
    /// As it was given.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) start_date: Option<OffsetDateTime>,
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) until: Option<OffsetDateTime>,
    /// The name of the calendar whose times are left out.
    pub(crate) except: Option<String>,
}

/// How far a stored job has come: the part of a record that changes while the job goes
/// on.
///
/// Its content is private, like that of a [`JobRecord`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct ProgressRecord {
    /// When the job is due next: for its run, or for a retry.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) due: OffsetDateTime,
    /// The time that the open run stands for, whichever attempt it is.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) nominal: OffsetDateTime,
    /// The attempts of the open run that have ended, and failed. An attempt that a crash
    /// cut short is not counted.
    pub(crate) attempts: u32,
    /// How the last of these failed: `Failed` or `Timeout`. `Cancelled` if the run was only snoozed.
    pub(crate) last_failure: Option<JobStatus>,
    /// How long the job waits for the next of them. `Some` also if the run was only snoozed.
    pub(crate) retry_delay: Option<Duration>,
    /// The next attempt was about to start then. Of an `at_most_once` task, another process
    /// must not make it again.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) start_intent: Option<OffsetDateTime>,
    /// Of a task that is not `at_most_once`: if the process ends during that attempt, this
    /// counts as an interruption, and the attempt is made again.
    pub(crate) is_start_repeated: bool,
    /// How often in a row a process has ended during an attempt, as far as it was seen.
    pub(crate) interruptions: u32,
    pub(crate) is_paused: bool,
    /// What else was asked by hand. Boxed, because few jobs have it.
    pub(crate) steering: Option<Box<SteeringRecord>>,
    /// Of the open run. Boxed, because few jobs have it.
    pub(crate) checkpoint: Option<Box<Encoded>>,
    /// The times were chosen by a wall clock that was not set.
    pub(crate) by_unset_clock: bool,
    /// By how much the wall clock was set while the open run waited for a retry.
    pub(crate) clock_set_by_ns: i64,
    /// Of a job that recurs.
    pub(crate) recurring: Option<RecurringProgress>,
}

impl ProgressRecord {
    /// Whether an attempt was about to start that no other process must make again.
    pub(crate) fn is_made_at_most_once(&self) -> bool {
        self.start_intent.is_some() && !self.is_start_repeated
    }

    /// When the job is due next, for its run or for a retry.
    pub fn due(&self) -> OffsetDateTime {
        self.due
    }
}

/// How far a stored job that recurs has come.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct RecurringProgress {
    /// The runs that have ended.
    pub(crate) runs: u64,
    /// Of these, the failed ones in a row.
    pub(crate) failures_in_a_row: u32,
    pub(crate) last_run: Option<Run>,
    /// When the open run started, if it waits for a retry.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) started_at: Option<OffsetDateTime>,
    /// The random delay of the open run.
    pub(crate) drawn_jitter: Duration,
    /// All times up to this one were run or left out, except the
    /// [`skipped`](RecurringProgress::skipped) ones.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) last_nominal: OffsetDateTime,
    /// Times that a jump of the wall clock left out. They come again if it is set back.
    pub(crate) skipped: Option<SkippedRecord>,
    /// Times up to this one are not run any more: they were run, were left out by the
    /// misfire policy, or lie before the scheduling.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) handled_up_to: OffsetDateTime,
    /// The wall clock was set back behind that.
    pub(crate) set_back: Option<SetBackRecord>,
    /// Missed times that were run late, one after the other.
    pub(crate) catch_ups: u32,
    /// The next run is one of these, and counted in
    /// [`catch_ups`](RecurringProgress::catch_ups) already.
    pub(crate) is_catch_up: bool,
    /// The next run is for the moment at which the job was made.
    pub(crate) is_first_now: bool,
    /// This time was run before it came.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) run_early: Option<OffsetDateTime>,
}

/// What a stored job was asked by hand and has not done yet.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct SteeringRecord {
    /// An extra run, for this moment.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) extra: Option<OffsetDateTime>,
    /// Another one, which was asked for during the first attempt of that.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) second_extra: Option<OffsetDateTime>,
    /// The run that waits for a retry is an extra one, for this moment.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) retries_extra: Option<OffsetDateTime>,
    /// The attempt that was about to start is of `extra`.
    pub(crate) starts_extra: bool,
    /// The attempt that the job waits for is due at once, also if it is paused.
    pub(crate) runs_now: bool,
    /// The open run is due then, and not at its own time.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) moved_to: Option<OffsetDateTime>,
    /// That is a time of the job's own clock.
    pub(crate) is_moved_by_own_clock: bool,
    /// When the next run of the series is due at its own time.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) run_due: Option<OffsetDateTime>,
    /// The job has gone on then, and makes up what it missed before.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) went_on_at: Option<OffsetDateTime>,
    /// The times up to this one are left out when the open run has ended.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub(crate) leaves_out_up_to: Option<OffsetDateTime>,
    /// Where the run after the open one is moved to.
    pub(crate) next_move: Option<MoveRecord>,
    /// The checkpoint of the open extra run.
    pub(crate) extra_checkpoint: Option<Encoded>,
}

/// To which time a run is moved.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(crate) enum MoveRecord {
    To(
        #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
        OffsetDateTime,
    ),
    /// After the time at which it would be due.
    ByNanos(i64),
}

/// Times after `from` and before `to` that were not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct SkippedRecord {
    /// The last time before them that was run.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) from: OffsetDateTime,
    /// The first time after them that was run.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) to: OffsetDateTime,
}

/// Times after `to` come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct SetBackRecord {
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub(crate) to: OffsetDateTime,
    /// By more than three hours: the clock had been wrong.
    pub(crate) is_correction: bool,
}

impl TriggerRecord {
    /// The name of the trigger: that of its method, and `delay` also for `push`.
    #[cfg(feature = "sqlite")]
    pub(crate) fn name(&self) -> &'static str {
        match self {
            TriggerRecord::Delay { .. } => "delay",
            TriggerRecord::At => "at",
            TriggerRecord::AtLocal { .. } => "at_local",
            TriggerRecord::AfterEach { .. } => "after_each",
            TriggerRecord::Calendar { .. } => "every_calendar",
            TriggerRecord::Every { .. } => "every",
            TriggerRecord::Cron { .. } => "cron",
        }
    }
}
