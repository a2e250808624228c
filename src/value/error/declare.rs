//! [`DeclareError`]: a set of jobs could not be declared.

use thiserror::Error;

use crate::value::error::schedule::ScheduleError;
use crate::value::error::storage::StorageError;
use crate::value::escaped::Escaped;
use crate::value::id::JobId;

/// The reason why a set of jobs could not be declared ([`Jobber::declare`](crate::Jobber::declare)).
///
/// ```
/// use jobber::{DeclareError, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let report = app.task("report", || async {}).register()?;
/// app.start().block_on()?;
///
/// let declared = app.declare("reports", |set| {
///     set.add(report.schedule(()).id("daily").cron("0 6 * * *"));
///     set.add(report.schedule(()).id("weekly").cron("0 6 * * MOO"));
/// });
/// let error = declared.block_on().unwrap_err();
/// assert!(matches!(&error, DeclareError::Entry { id, .. } if *id == "weekly"));
/// assert!(app.jobs().is_empty(), "nothing has changed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeclareError {
    /// The name of the set is empty, longer than 200 bytes, or contains a control character.
    #[error("the name of the set `{}` is invalid: it must have 1 to 200 bytes, without control characters", Escaped(.name))]
    InvalidName {
        /// The rejected name.
        name: String,
    },
    /// An entry has no id, by which the job could be found the next time.
    #[error("an entry of the set, a job of the task `{task}`, has no id: set .id(..)")]
    NoId {
        /// The name of the entry's task.
        task: String,
    },
    /// Two entries have the same id.
    #[error("two entries of the set have the id `{id}`")]
    DuplicateEntry {
        /// The id.
        id: JobId,
    },
    /// The trigger of an entry runs a job once: it would run at each start of the program.
    #[error(
        "the entry `{id}` of the set runs once, and would do so at each start: use a trigger that recurs"
    )]
    RunsOnce {
        /// The id of the entry.
        id: JobId,
    },
    /// The task of an entry belongs to another app.
    #[error("the entry `{id}` of the set is a job of another app")]
    OtherApp {
        /// The id of the entry.
        id: JobId,
    },
    /// An entry can't be scheduled. Nothing has changed, with one exception: an entry in memory
    /// can still fail after the stored entries were declared, because the app is full or another
    /// call has taken the id.
    #[error("the entry `{id}` of the set can't be scheduled")]
    Entry {
        /// The id of the entry.
        id: JobId,
        /// The reason.
        source: ScheduleError,
    },
    /// The app does not run, or the store could not save the set. Nothing has changed.
    #[error("the set could not be declared")]
    Set(#[source] ScheduleError),
    /// The set was declared, and the store could not delete a job that the declaration removes:
    /// one that is absent from the set, or whose entry has no time left. jobber repeats the
    /// deletion until it succeeds.
    #[error("the set was declared, but the job `{id}` could not be removed from the store")]
    Remove {
        /// The id of the job.
        id: JobId,
        /// The reason.
        source: StorageError,
    },
}
