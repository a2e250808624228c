//! [`SelectError`]: why selected jobs could not be steered.

use thiserror::Error;

use crate::value::error::storage::StorageError;

/// Why a call on a [`Selection`](crate::Selection) has failed.
///
/// ```
/// use jobber::{Jobber, Jobs, SelectError};
///
/// let app = Jobber::builder().build()?;
/// let error = app.select(Jobs::matching()).count().unwrap_err();
/// assert!(matches!(error, SelectError::NoCondition));
/// # Ok::<(), jobber::StartError>(())
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SelectError {
    /// [`Jobs::matching`](crate::Jobs::matching) has no condition, and would match all jobs.
    #[error("the selection has no condition: add one, or say Jobs::all()")]
    NoCondition,
    /// The store could not save the changes of some jobs. Those jobs are changed all the same, and
    /// jobber saves that later, unless the store is closed. The jobs after them are not changed.
    #[error("{changed} jobs are changed, and the store could not save all of that")]
    Storage {
        /// How many jobs were changed.
        changed: usize,
        /// The first error.
        source: StorageError,
    },
}
