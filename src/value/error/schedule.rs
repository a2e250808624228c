//! [`ScheduleError`]: a job could not be scheduled.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;

use crate::sync::primitives::Arc;
use crate::value::error::boxed::BoxError;
use crate::value::error::cron::CronError;
use crate::value::error::ended_job::EndedJob;
use crate::value::error::label::LabelError;
use crate::value::error::storage::StorageError;
use crate::value::error::zone::ZoneError;
use crate::value::id::{JobId, MAX_ID_BYTES};

/// How many bytes of an invalid id an error shows.
const SHOWN_BYTES: usize = 200;

/// The rule that a job id breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// The id is empty.
    #[error("the id is empty")]
    Empty,
    /// The id has more than 1,024 bytes.
    #[error("the id has {bytes} bytes, but at most {max} are allowed", max = MAX_ID_BYTES)]
    TooLong {
        /// The length of the id in bytes.
        bytes: usize,
    },
    /// The id contains a control character.
    #[error("the id contains the control character {character:?}")]
    ControlCharacter {
        /// The first control character of the id.
        character: char,
    },
    /// The id is that of a stored row whose key is not a text
    /// ([`UnresolvedJob::id`](crate::storage::UnresolvedJob)).
    #[error("the id is the key of a stored row that is not a text")]
    NotText,
}

/// The reason why a job could not be scheduled or replaced.
///
/// No new job exists after this error.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Jobber, ScheduleError};
///
/// let app = Jobber::builder().build()?;
/// let hello = app.task("hello", || async {}).register()?;
/// let error = hello.schedule(()).push().block_on().unwrap_err();
/// assert!(matches!(error, ScheduleError::NotStarted));
///
/// app.start().block_on()?;
/// let error = hello.schedule(()).delay(Duration::MAX).block_on().unwrap_err();
/// assert!(matches!(error, ScheduleError::DurationTooLong { field: "delay", .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The app is not started.
    #[error("the app is not started: call app.start() first")]
    NotStarted,
    /// The app was shut down, or the last clone of its [`Jobber`](crate::Jobber) was dropped.
    #[error(
        "the app has stopped, and accepts no new jobs: it was shut down, or its last `Jobber` was dropped (keep it, or detach() it)"
    )]
    Stopped,
    /// This process was forked from the one that has started the app, and has none of its
    /// threads. The app goes on in the other process.
    #[error("this process was forked after the app was started: its jobs run in the other process")]
    Forked,
    /// Another live job has this id, or a job that has ended had it and was
    /// [unique for a time](crate::Schedule::unique_for).
    #[error(
        "{}",
        match ended {
            None => format!("the id `{id}` belongs to a live job: choose another id, cancel that job, or, from the same task, keep it with .keep() or replace it with .replace()"),
            Some(ended) => format!("the id `{id}` is taken until {} by a job that has ended ({}): choose another id, wait until then, or schedule it again with .replace()", ended.taken_until, ended.status),
        }
    )]
    DuplicateJob {
        /// The rejected id.
        id: JobId,
        /// How the job ended. `None` if it is live.
        ended: Option<EndedJob>,
    },
    /// The job with this id cannot be replaced: it was cancelled, and ends when its
    /// current run ends.
    #[error(
        "the job `{id}` was cancelled and ends with its current run: wait until it has ended, then schedule it again"
    )]
    JobEnding {
        /// The id of the cancelled job.
        id: JobId,
    },
    /// The job to be replaced is recurring, and the new trigger runs a job once:
    /// [`replace`](crate::Schedule::replace) would end its series.
    #[error(
        "the job `{id}` is recurring, and a trigger that runs once would end its series: choose another id, or set .replace_any() to replace it all the same"
    )]
    EndsSeries {
        /// The id of the recurring job.
        id: JobId,
    },
    /// The job to be replaced has already had as many runs as the new limit allows.
    #[error("max_runs is {max_runs}, but the job `{id}` has already had {runs} runs")]
    RunsUsedUp {
        /// The id of the job.
        id: JobId,
        /// The new limit.
        max_runs: u64,
        /// The runs that the job has had, including a run that has not ended.
        runs: u64,
    },
    /// An option needs an id, because it applies to a job that may be there already.
    #[error("{option} needs an id: set .id(..)")]
    NoId {
        /// The name of the option.
        option: &'static str,
    },
    /// A durable job that recurs has no id. Each start of the program would add another one.
    #[error(
        "a durable job that recurs needs an id, because each start of the program would add another job: set .id(..) with .keep() or .replace(), or .generated_id() for a new job each time"
    )]
    RecursWithoutId,
    /// Two options contradict each other.
    #[error("{option} and {other} contradict each other: set one of them")]
    Contradiction {
        /// The name of an option.
        option: &'static str,
        /// The name of the other one.
        other: &'static str,
    },
    /// The id breaks a rule for job ids.
    #[error("the job id {id:?} is invalid: {reason}")]
    InvalidId {
        /// The id, cut after 200 bytes.
        id: JobId,
        /// The rule that the id breaks. The message contains it, so it is not the
        /// `source` of this error.
        reason: InvalidId,
    },
    /// The cron expression is invalid.
    #[error(transparent)]
    Cron(CronError),
    /// The trigger is valid, but never due after a time.
    #[error("{trigger} is never due after {after}{}{}", Until(.until), AllExcluded(.except))]
    NeverDue {
        /// The trigger, such as ``the cron expression `0 0 30 2 *` ``.
        trigger: String,
        /// The current time, or the start date if that is later.
        after: OffsetDateTime,
        /// The time of [`until`](crate::Schedule::until), if it was set.
        until: Option<OffsetDateTime>,
        /// The calendar of [`except`](crate::Schedule::except), if it excludes all times that
        /// come next. The search ends after 10,000 times that it excludes.
        except: Option<String>,
    },
    /// No calendar of the app has this name.
    #[error("no calendar has the name `{name}`: register it with JobberBuilder::calendar")]
    UnknownCalendar {
        /// The name.
        name: String,
    },
    /// The option does not go with the trigger. The docs of
    /// [`Schedule`](crate::Schedule) have a table.
    #[error("{option} does not apply to the trigger `{trigger}`")]
    NotApplicable {
        /// The name of the option.
        option: &'static str,
        /// The name of the trigger.
        trigger: &'static str,
    },
    /// The times of `every_calendar` are counted from a start date, and there is none.
    #[error(
        "`every_calendar` needs a start date: set .start_date(..), from which its times are counted"
    )]
    NoStartDate,
    /// The time zone is not known.
    #[error(transparent)]
    Zone(ZoneError),
    /// A duration is zero that has to be longer.
    #[error("the {field} must be longer than zero")]
    ZeroDuration {
        /// The name of the duration.
        field: &'static str,
    },
    /// [`Task::schedule_many`](crate::Task::schedule_many) makes generated ids, and one of its jobs
    /// has an id of its own, or is to keep or replace a job.
    #[error("schedule_many makes the ids: leave out id, keep and replace")]
    IdOfMany,
    /// [`Task::schedule_many`](crate::Task::schedule_many) was called with too many jobs.
    #[error("{found} jobs were to be scheduled together, but at most {max} are allowed")]
    TooMany {
        /// How many jobs there were.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A tag or a note is not allowed.
    #[error(transparent)]
    Label(LabelError),
    /// The function of [`TaskBuilder::limit_by`](crate::TaskBuilder::limit_by) or
    /// [`TaskBuilder::rate_by`](crate::TaskBuilder::rate_by) panicked.
    #[error("the key for {option} of the task `{task}` could not be computed: {message}")]
    Key {
        /// The name of the task.
        task: String,
        /// `limit_by` or `rate_by`.
        option: &'static str,
        /// The message of the panic.
        message: Arc<str>,
    },
    /// The key of [`TaskBuilder::limit_by`](crate::TaskBuilder::limit_by) or
    /// [`TaskBuilder::rate_by`](crate::TaskBuilder::rate_by) is too long.
    #[error(
        "the key for {option} of the task `{task}` has {bytes} bytes, but at most {max} are allowed"
    )]
    KeyTooLong {
        /// The name of the task.
        task: String,
        /// `limit_by` or `rate_by`.
        option: &'static str,
        /// The length of the key in bytes.
        bytes: usize,
        /// The longest key that is allowed.
        max: usize,
    },
    /// A duration does not fit into `i64` nanoseconds (292 years).
    #[error("the {field} {value:?} is too long: the maximum is {max:?}")]
    DurationTooLong {
        /// The name of the duration.
        field: &'static str,
        /// The rejected duration.
        value: Duration,
        /// The longest duration that is allowed.
        max: Duration,
    },
    /// A time does not fit into `i64` nanoseconds since 1970.
    #[error("the time {value} is out of range: it must be between {min} and {max}")]
    TimeOutOfRange {
        /// The rejected time.
        value: OffsetDateTime,
        /// The first time that is allowed.
        min: OffsetDateTime,
        /// The last time that is allowed.
        max: OffsetDateTime,
    },
    /// A limit is zero.
    #[error("{option} is 0, but must be at least 1")]
    ZeroLimit {
        /// The name of the option.
        option: &'static str,
    },
    /// The job runs once, and an option applies only to recurring jobs.
    #[error("{option} applies only to recurring jobs, but the trigger `{trigger}` runs a job once")]
    NotRecurring {
        /// The name of the option.
        option: &'static str,
        /// The name of the trigger.
        trigger: &'static str,
    },
    /// The storage did not accept the job, or the arguments and the trigger that replace
    /// those of a job.
    #[error("the job could not be stored")]
    Storage(#[source] StorageError),
    /// The arguments cannot be stored: they cannot be serialized as JSON, or the JSON
    /// cannot be deserialized as the arguments' type.
    #[error("the arguments of the task `{task}` cannot be stored as JSON")]
    Arguments {
        /// The name of the task.
        task: String,
        /// The error of `serde_json`.
        #[source]
        reason: BoxError,
    },
    /// A function of the program has refused the job:
    /// [`JobberBuilder::on_schedule`](crate::JobberBuilder::on_schedule) or
    /// [`TaskBuilder::check`](crate::TaskBuilder::check).
    #[error("a job of the task `{task}` was refused")]
    Refused {
        /// The name of the task.
        task: String,
        /// The error of the function, or a text that says how it panicked.
        #[source]
        reason: BoxError,
    },
    /// The arguments of a durable job are too long as JSON: a store, and each read of it, would
    /// become slow.
    #[error(
        "the arguments of the task `{task}` have {bytes} bytes as JSON, but at most {max} are allowed: store large data elsewhere and pass its name, or set TaskBuilder::max_args_bytes"
    )]
    ArgumentsTooLong {
        /// The name of the task.
        task: String,
        /// Their length in bytes, as JSON.
        bytes: usize,
        /// The longest that is allowed.
        max: usize,
    },
    /// A number of the [`Backoff`](crate::Backoff) is outside its range.
    #[error("the {field} of the backoff is {value}, but must be {allowed}")]
    InvalidBackoff {
        /// The name of the number: `factor` or `jitter`.
        field: &'static str,
        /// The rejected number.
        value: f64,
        /// The range that is allowed.
        allowed: &'static str,
    },
    /// The storage has a job with this id that no registered task can run (see
    /// [`Jobber::unresolved`](crate::Jobber::unresolved)).
    #[error(
        "the id `{id}` belongs to a stored job that no registered task can run: choose another id, or discard that job"
    )]
    UnresolvedJob {
        /// The rejected id.
        id: JobId,
    },
    /// With the new jobs, the task or the app would have more live jobs than
    /// [`TaskBuilder::max_pending`](crate::TaskBuilder::max_pending) or
    /// [`JobberBuilder::max_pending`](crate::JobberBuilder::max_pending) allows.
    #[error(
        "{} {live} live jobs, and {max} are allowed: no room for {wanted} more",
        match task { Some(task) => format!("the task `{task}` has"), None => "the app has".into() }
    )]
    TooManyPending {
        /// The name of the task; `None` if the app has too many.
        task: Option<String>,
        /// The number of live jobs. It is more than `max` if more were restored.
        live: usize,
        /// The most that are allowed.
        max: usize,
        /// The number of new jobs: 1, except of
        /// [`Task::schedule_many`](crate::Task::schedule_many).
        wanted: usize,
    },
    /// The app has reached its maximum number of live jobs.
    #[error("the app has {live} live jobs, which is the maximum")]
    TooManyJobs {
        /// The number of live jobs.
        live: usize,
    },
}

impl ScheduleError {
    pub(crate) fn from_store(error: StorageError) -> Self {
        match error {
            StorageError::Closed => Self::Stopped,
            error => Self::Storage(error),
        }
    }
}

/// Checks the id that a caller chose for a job.
pub(crate) fn check_id(id: &JobId) -> Result<(), ScheduleError> {
    let text = String::from(id.clone());
    let reason = if text.is_empty() {
        InvalidId::Empty
    } else if text.len() > MAX_ID_BYTES {
        InvalidId::TooLong { bytes: text.len() }
    } else if let Some(character) = text.chars().find(|c| c.is_control()) {
        InvalidId::ControlCharacter { character }
    } else if !id.is_text() {
        InvalidId::NotText
    } else {
        return Ok(());
    };
    Err(ScheduleError::InvalidId {
        id: truncated(&text).into(),
        reason,
    })
}

/// The first [`SHOWN_BYTES`] bytes of a text, cut between two characters.
fn truncated(text: &str) -> &str {
    let mut end = text.len().min(SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Displays the end of a series at the end of a message.
struct Until<'a>(&'a Option<OffsetDateTime>);

impl fmt::Display for Until<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(until) => write!(f, " and until {until}"),
            None => Ok(()),
        }
    }
}

/// Displays the calendar that excludes all times, at the end of a message.
struct AllExcluded<'a>(&'a Option<String>);

impl fmt::Display for AllExcluded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(calendar) => write!(f, ": the calendar `{calendar}` excludes its next times"),
            None => Ok(()),
        }
    }
}
