//! [`RegisterError`]: a task could not be registered.

use std::time::Duration;

use thiserror::Error;

use crate::value::error::label::LabelError;
use crate::value::escaped::Escaped;

/// The maximum length of a task name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// The reason why a task could not be registered.
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
    /// The task name is empty.
    #[error("a task name must not be empty")]
    EmptyName,
    /// The task name has more than 200 bytes.
    #[error(
        "the task name `{}…` has {bytes} bytes, but at most {max} are allowed",
        Escaped(.start),
        max = MAX_NAME_BYTES
    )]
    NameTooLong {
        /// The first 20 characters of the name.
        start: String,
        /// The length of the name in bytes.
        bytes: usize,
    },
    /// The task name or alias contains a control character, such as a tab or a newline.
    #[error("the task name `{}` contains the control character {character:?}, which is not allowed", Escaped(.name))]
    ControlCharacter {
        /// The rejected name.
        name: String,
        /// The first control character.
        character: char,
    },
    /// Another task of the app has this name.
    #[error("a task named `{name}` is already registered: task names must be unique in an app")]
    DuplicateTask {
        /// The rejected name.
        name: String,
    },
    /// The name of a group is empty.
    #[error("the name of a group must not be empty")]
    EmptyGroupName,
    /// The name of a group contains a dot.
    #[error("the group name `{}` contains a dot, which is not allowed: make a group in a group instead", Escaped(.name))]
    DotInGroupName {
        /// The rejected name.
        name: String,
    },
    /// An option of a group was set after its first task was registered.
    #[error("{option} of the group `{}` was set too late: set the options of a group before its first task is registered", Escaped(.group))]
    GroupHasTasks {
        /// The name of the group.
        group: String,
        /// The name of the option.
        option: &'static str,
    },
    /// The task is durable, and the app has no storage.
    #[error(
        "the task `{name}` is durable, but the app has no storage: pass one to Jobber::builder().storage(..)"
    )]
    NoStorage {
        /// The name of the task.
        name: String,
    },
    /// The task is not durable, and an option applies only to durable tasks.
    #[error("{option} applies only to durable tasks: add .durable()")]
    NotDurable {
        /// The name of the option.
        option: &'static str,
    },
    /// The codec of the task has a name that is not allowed.
    #[error(
        "the codec has the name {name:?}, but must have one of 1 to 64 bytes without control characters, and not `json`"
    )]
    InvalidCodec {
        /// The rejected name.
        name: String,
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
    /// The time of a rate is zero.
    #[error("the time of {option} is zero, but must be longer")]
    ZeroDuration {
        /// The name of the option.
        option: &'static str,
    },
    /// The limit is zero: no job could start.
    #[error("{option} is 0, but must be at least 1")]
    ZeroLimit {
        /// The name of the option.
        option: &'static str,
    },
    /// A tag or a note is not allowed.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The task has a [`Limit`](crate::Limit) that tasks of another running app share.
    #[error("a limit of the task is one of another app: make a limit for each app")]
    LimitOfAnotherApp,
    /// The timeout is zero, so that every attempt would exceed it.
    #[error("the timeout must be longer than zero: omit .timeout(..) for no timeout")]
    ZeroTimeout,
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
    /// The app was shut down.
    #[error("the app was shut down: build a new app and register the task there")]
    Stopped,
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
    } else if let Some(character) = name.chars().find(|c| c.is_control()) {
        Err(RegisterError::ControlCharacter {
            name: name.into(),
            character,
        })
    } else {
        Ok(())
    }
}
