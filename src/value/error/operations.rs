//! Every public error: one small enum for each operation.
//!
//! Each names the value at fault and the rule it broke, so that the text alone
//! is enough to mend the call.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;

use crate::sync::primitives::Arc;
use crate::value::error::boxed::BoxError;
use crate::value::error::cron::{CronError, ZoneError};
use crate::value::error::storage::StorageError;
use crate::value::id::{JobId, MAX_NAME_BYTES};

/// Why an app could not be built or started.
///
/// ```
/// use jobber::{Jobber, StartError};
///
/// let app = Jobber::builder().build()?;
/// app.start().block_on()?;
/// assert!(matches!(app.start().block_on(), Err(StartError::AlreadyStarted)));
/// # Ok::<(), StartError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// `start` was called twice.
    #[error("the app is running already: start() is called once")]
    AlreadyStarted,
    /// `start` was called after `shutdown`.
    #[error("the app was shut down: build a new one to go on")]
    Stopped,
    /// No executor was given, and the feature `thread-pool` is off.
    #[error(
        "no executor: give one to Jobber::builder().executor(..), or switch the feature `thread-pool` on"
    )]
    NoExecutor,
    /// The app's time zone is not known.
    #[error("the app's zone: {0}")]
    Zone(#[source] ZoneError),
    /// The coalescing window is longer than allowed.
    #[error("the coalescing window is {value:?}, and {max:?} is the longest allowed")]
    CoalescingWindowTooLong {
        /// What it is.
        value: Duration,
        /// The longest that is allowed.
        max: Duration,
    },
    /// The store could not be opened, or read.
    #[error("the store: {0}")]
    Storage(#[source] StorageError),
    /// The store has more jobs than an app can hold.
    #[error("the store has more than {held} jobs, and an app can hold no more")]
    TooManyJobs {
        /// How many an app can hold.
        held: usize,
    },
    /// The operating system gave no thread.
    #[error("could not start the thread `{name}`")]
    Thread {
        /// The thread's name.
        name: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Why a task could not be registered.
///
/// ```
/// use jobber::{Jobber, RegisterError};
///
/// let app = Jobber::builder().build()?;
/// let error = app.task("", || async {}).register().unwrap_err();
/// assert!(matches!(error, RegisterError::EmptyName));
/// # Ok::<(), jobber::StartError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name is empty.
    #[error("a task needs a name that is not empty")]
    EmptyName,
    /// The name is too long.
    #[error(
        "the task name `{start}…` has {bytes} bytes, and {max} are allowed",
        max = MAX_NAME_BYTES
    )]
    NameTooLong {
        /// The first characters of the name.
        start: String,
        /// Its length.
        bytes: usize,
    },
    /// Another task has the name.
    #[error("a task named `{name}` is registered already: names are unique within an app")]
    DuplicateTask {
        /// The name that is taken.
        name: String,
    },
    /// A durable task needs a store to keep its jobs in.
    #[error(
        "the task `{name}` is durable, and the app has no store: give one to Jobber::builder().storage(..)"
    )]
    NoStorage {
        /// The name of the task.
        name: String,
    },
    /// An option of durable tasks was given to one that is not.
    #[error("{option} is for durable tasks: add .durable()")]
    NotDurable {
        /// Which option.
        option: &'static str,
    },
    /// A number of the [`Backoff`](crate::Backoff) makes no sense.
    #[error("the backoff's {field} is {value}, and {allowed}")]
    InvalidBackoff {
        /// Which number.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What is allowed there.
        allowed: &'static str,
    },
    /// The timeout is zero: no attempt could ever end in time.
    #[error("the timeout is zero, and must be longer; leave it out for none")]
    ZeroTimeout,
    /// A duration is too long to be counted in nanoseconds.
    #[error("the {field} is {value:?}, and {max:?} is the longest allowed")]
    DurationTooLong {
        /// Which duration.
        field: &'static str,
        /// What it is.
        value: Duration,
        /// The longest that is allowed.
        max: Duration,
    },
    /// The app was shut down.
    #[error("the app was shut down: build a new one and register the task there")]
    Stopped,
}

/// What is wrong with the id that a caller chose for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it has {bytes} bytes, and {max} are allowed", max = MAX_NAME_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has a control character.
    #[error("it has the control character {character:?}, and none is allowed")]
    ControlCharacter {
        /// The first one.
        character: char,
    },
}

/// Why a job could not be scheduled. No job exists then.
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
    /// The app does not run yet.
    #[error("the app is not started: call app.start() first")]
    NotStarted,
    /// The app does not run any more.
    #[error("the app was shut down and takes no new jobs")]
    Stopped,
    /// Another live job has the id.
    #[error(
        "a live job has the id `{id}` already: choose another, cancel that one, or use .replace() from the same task"
    )]
    DuplicateJob {
        /// The id that is taken.
        id: JobId,
    },
    /// The job of this id can't be replaced any more: it was cancelled, and ends
    /// with the run that is going on.
    #[error(
        "the job `{id}` was cancelled and ends with its present run: wait for that, and schedule it anew"
    )]
    JobEnding {
        /// The id.
        id: JobId,
    },
    /// The replaced job has had as many runs as the new limit allows already.
    #[error("max_runs is {max_runs}, and the job `{id}` has had {runs} runs already")]
    RunsUsedUp {
        /// The id.
        id: JobId,
        /// The new limit.
        max_runs: u64,
        /// The runs that it has had, the present one included.
        runs: u64,
    },
    /// The id can't name a job.
    #[error("the job id {id:?} is not allowed: {reason}")]
    InvalidId {
        /// The id, cut to its first 200 bytes.
        id: JobId,
        /// What is wrong with it.
        #[source]
        reason: InvalidId,
    },
    /// The cron expression can't be read.
    #[error("{0}")]
    Cron(#[source] CronError),
    /// The cron expression can never be due again.
    #[error("the cron expression `{expression}` is never due after {after}")]
    NeverDue {
        /// The expression, as written.
        expression: String,
        /// Now, or the start date if that is later.
        after: OffsetDateTime,
    },
    /// The time zone is not known.
    #[error("{0}")]
    Zone(#[source] ZoneError),
    /// `every` was given an interval of zero.
    #[error("the interval is zero, and must be longer")]
    ZeroInterval,
    /// A duration is too long to be counted in nanoseconds.
    #[error("the {field} is {value:?}, and {max:?} is the longest allowed")]
    DurationTooLong {
        /// Which duration.
        field: &'static str,
        /// What it is.
        value: Duration,
        /// The longest that is allowed.
        max: Duration,
    },
    /// A time lies outside the years that a clock here can count.
    #[error("{value} is out of range: a job can be due from {min} to {max}")]
    TimeOutOfRange {
        /// The time.
        value: OffsetDateTime,
        /// The first time that is allowed.
        min: OffsetDateTime,
        /// The last time that is allowed.
        max: OffsetDateTime,
    },
    /// A limit that must be at least one is zero.
    #[error("{option} is 0, and must be at least 1")]
    ZeroLimit {
        /// Which option.
        option: &'static str,
    },
    /// An option of recurring jobs was given to a job that runs once.
    #[error("{option} is for recurring jobs, and {trigger} runs once")]
    NotRecurring {
        /// Which option.
        option: &'static str,
        /// The trigger that runs once.
        trigger: &'static str,
    },
    /// The store could not take the job, or its new arguments and trigger.
    #[error("the job could not be stored: {0}")]
    Storage(#[source] StorageError),
    /// The arguments can't be stored: they do not become JSON, or not JSON that
    /// reads back as such arguments.
    #[error("the arguments of the task `{task}` can't be stored as JSON: {reason}")]
    Arguments {
        /// The name of the task.
        task: String,
        /// What serde said.
        #[source]
        reason: BoxError,
    },
    /// The store has a job of this id that no task can run
    /// ([`Jobber::unresolved`](crate::Jobber::unresolved)), and keeps it.
    #[error(
        "the store has a job `{id}` that no task can run at present: choose another id, or discard that one"
    )]
    UnresolvedJob {
        /// The id that is taken.
        id: JobId,
    },
    /// As many jobs are live as an app can number.
    #[error("{live} jobs are live, and an app can hold no more")]
    TooManyJobs {
        /// How many there are.
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

/// Why a job has no value to give.
///
/// It can be cloned: the error of a task is shared, not copied.
///
/// ```
/// use std::error::Error;
/// use jobber::{JobError, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let parse = app.task("parse", async |text: String| text.parse::<i32>()).register()?;
/// app.start().block_on()?;
/// let job = parse.schedule("seven".to_string()).push().block_on()?;
/// job.wait_blocking();
/// let error = job.result().unwrap_err();
/// assert_eq!(error.to_string(), "the task failed: invalid digit found in string");
/// assert!(error.source().unwrap().is::<std::num::ParseIntError>());
/// # Ok::<(), Box<dyn Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JobError {
    /// The job has not ended yet; a recurring one has not ended its first run.
    NotCompleted,
    /// The job was cancelled or aborted, or its app stopped before it ran.
    Cancelled,
    /// The task gave this error, which is the [`source`](Error::source) too.
    /// For [`ExecutorDropped`], the executor let go of the job.
    Failed(Arc<dyn Error + Send + Sync>),
    /// The task panicked.
    Panicked {
        /// What it panicked with, where that was a text.
        message: Arc<str>,
    },
    /// The attempt took longer than its task allows.
    TimedOut {
        /// What the task allows.
        limit: Duration,
    },
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::NotCompleted => f.write_str("the job has not completed"),
            JobError::Cancelled => f.write_str("the job was cancelled"),
            JobError::Failed(error) => write!(f, "the task failed: {error}"),
            JobError::Panicked { message } => write!(f, "the task panicked: {message}"),
            JobError::TimedOut { limit } => write!(f, "the task took longer than {limit:?}"),
        }
    }
}

// By hand: derived, the source would be the `Arc`, and no caller could
// downcast it to the task's own error.
impl Error for JobError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            JobError::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}

/// The executor let go of a job before it had ended: it was shut down, or its
/// `spawn` panicked. The error of such an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the executor dropped the job before it ended")]
pub struct ExecutorDropped;

/// [`JobContext::state`](crate::JobContext::state) found nothing of that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the app has no state of the type `{type_name}`: give it to Jobber::builder().state(..)")]
pub struct MissingState {
    /// The type that was asked for.
    pub type_name: &'static str,
}

/// A text names no [`JobStatus`](crate::JobStatus).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is no job status: it is one of SCHEDULED, RUNNING, CANCELLED, SUCCESS, FAILED, TIMEOUT, PERMANENTLY_FAILED"
)]
pub struct ParseStatusError {
    /// The text.
    pub text: String,
}

/// Checks the name that a caller chose for a job.
pub(crate) fn check_id(id: &JobId) -> Result<(), ScheduleError> {
    let text = id.to_string();
    let reason = if text.is_empty() {
        InvalidId::Empty
    } else if text.len() > MAX_NAME_BYTES {
        InvalidId::TooLong { bytes: text.len() }
    } else if let Some(character) = text.chars().find(|c| c.is_control()) {
        InvalidId::ControlCharacter { character }
    } else {
        return Ok(());
    };
    Err(ScheduleError::InvalidId {
        id: cut(&text).into(),
        reason,
    })
}

/// Checks the name of a task.
pub(crate) fn check_task_name(name: &str) -> Result<(), RegisterError> {
    if name.is_empty() {
        Err(RegisterError::EmptyName)
    } else if name.len() > MAX_NAME_BYTES {
        Err(RegisterError::NameTooLong {
            start: name.chars().take(20).collect(),
            bytes: name.len(),
        })
    } else {
        Ok(())
    }
}

/// The first bytes of a text that may be far too long for a message.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_NAME_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
