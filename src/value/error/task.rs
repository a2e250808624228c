//! [`TaskError`]: a task could not be found by its name.

use thiserror::Error;

/// The error of [`AppRef::task`](crate::AppRef::task): the app has no such task.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The app was shut down, or dropped.
    #[error("the app was shut down: it accepts no new jobs")]
    Stopped,
    /// No task of the app has this name.
    #[error("no task has the name `{name}`: register it with Jobber::task")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The task has other types than the ones that were asked for.
    #[error(
        "the task `{name}` is a `Task<{args}, {value}>`, and not a `Task<{wrong_args}, {wrong_value}>`"
    )]
    OtherTypes {
        /// The name of the task.
        name: String,
        /// The type of its arguments: `()` for none, a tuple for more than one.
        args: &'static str,
        /// The type of its value.
        value: &'static str,
        /// The type of arguments that was asked for.
        wrong_args: &'static str,
        /// The type of value that was asked for.
        wrong_value: &'static str,
    },
}
