//! [`MoveError`]: why a run could not be moved.

use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;

use crate::value::error::storage::StorageError;

/// Why [`Job::move_to`](crate::Job::move_to) or [`Job::delay_by`](crate::Job::delay_by) has failed.
///
/// ```
/// # use std::time::Duration;
/// # use jobber::testing::Simulation;
/// use jobber::MoveError;
///
/// # let sim = Simulation::new();
/// # let hello = sim.app().task("hello", || async {}).register()?;
/// let job = hello.schedule(()).cron("@daily").block_on()?;
/// let error = job.delay_by(Duration::MAX).block_on().unwrap_err();
/// assert!(matches!(error, MoveError::DurationTooLong { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The store could not save it. The run is moved all the same, and jobber saves that later.
    /// If the store is closed, nothing is moved.
    #[error("the move of the run is not stored")]
    Storage(#[source] StorageError),
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
    /// A duration does not fit into `i64` nanoseconds (292 years).
    #[error("the delay {value:?} is too long: the maximum is {max:?}")]
    DurationTooLong {
        /// The rejected duration.
        value: Duration,
        /// The longest duration that is allowed.
        max: Duration,
    },
}
