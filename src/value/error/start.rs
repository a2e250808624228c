//! [`StartError`]: an app could not be built or started.

use std::time::Duration;

use thiserror::Error;

use crate::value::error::boxed::BoxError;
use crate::value::error::storage::StorageError;
use crate::value::error::zone::ZoneError;

/// The reason why an app could not be built or started.
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
    #[error("the app is already running: call start() only once")]
    AlreadyStarted,
    /// `start` was called after `shutdown`.
    #[error("the app was shut down and cannot start again: build a new app")]
    Stopped,
    /// The builder got no executor, and the feature `thread-pool` is disabled.
    #[error(
        "the app has no executor: pass one to Jobber::builder().executor(..), or enable the feature `thread-pool`"
    )]
    NoExecutor,
    /// The time zone of the builder is not known.
    #[error(transparent)]
    Zone(ZoneError),
    /// The coalescing window of the builder is too long, and would delay jobs too much.
    #[error("the coalescing window {value:?} is too long: the maximum is {max:?}")]
    CoalescingWindowTooLong {
        /// The rejected coalescing window.
        value: Duration,
        /// The longest coalescing window that is allowed.
        max: Duration,
    },
    /// A limit of the builder is zero: no job could start.
    #[error("{option} is 0, but must be at least 1")]
    ZeroLimit {
        /// The name of the option.
        option: &'static str,
    },
    /// The codec of the builder has a name that is not allowed.
    #[error(
        "the codec has the name {name:?}, but must have one of 1 to 64 bytes without control characters, and not `json`"
    )]
    InvalidCodec {
        /// The rejected name.
        name: String,
    },
    /// The storage could not be opened or read.
    #[error(transparent)]
    Storage(StorageError),
    /// A function of [`JobberBuilder::on_start`](crate::JobberBuilder::on_start) has failed.
    #[error("a function that runs when the app starts has failed")]
    OnStart(#[source] BoxError),
    /// The storage has more jobs than an app can hold.
    #[error("the storage has more than {held} jobs, which is the most that an app can hold")]
    TooManyJobs {
        /// The maximum number of jobs of an app.
        held: usize,
    },
    /// The operating system did not start a thread.
    #[error("could not start the thread `{name}`")]
    Thread {
        /// The name of the thread.
        name: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// This process was forked from one that had started an app or a thread pool. The threads
    /// of these do not exist here.
    #[error(
        "this process was forked after an app was started: fork before that, or start another program"
    )]
    Forked,
    /// The reactor of the crate async-io could not be built, which drives timers and the
    /// built-in thread pool: no descriptors are left, or no threads.
    #[error("could not build the reactor of async-io, which drives timers")]
    Reactor(#[source] std::io::Error),
}
