//! [`CheckpointError`]: a checkpoint could not be stored, or read.

use thiserror::Error;

use crate::value::error::boxed::BoxError;
use crate::value::error::storage::StorageError;

/// The longest checkpoint, in bytes.
pub(crate) const MAX_CHECKPOINT_BYTES: usize = 65_536;

/// The reason why a checkpoint could not be stored
/// ([`JobContext::checkpoint`](crate::JobContext::checkpoint)) or read
/// ([`JobContext::last_checkpoint`](crate::JobContext::last_checkpoint)).
///
/// ```
/// # let mut sim = jobber::testing::Simulation::new();
/// use jobber::{CheckpointError, JobContext};
///
/// let task = sim.app().task("t", async |cx: JobContext| {
///     let error = cx.checkpoint(&"x".repeat(100_000)).await.unwrap_err();
///     assert!(matches!(error, CheckpointError::TooLong { bytes: 100_002, max: 65_536 }));
///
///     cx.checkpoint(&"a text").await?;
///     let error = cx.last_checkpoint::<u64>().unwrap_err();
///     assert!(matches!(error, CheckpointError::OtherType { .. }));
///     Ok::<_, CheckpointError>(())
/// });
/// let job = task.register()?.schedule(()).push().block_on()?;
/// sim.run_until_stalled();
/// job.result()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The value is longer than 65,536 bytes, as it is stored. The previous checkpoint is kept.
    #[error("the checkpoint has {bytes} bytes, but at most {max} are allowed")]
    TooLong {
        /// The length of the value, in bytes.
        bytes: usize,
        /// The longest that is allowed.
        max: usize,
    },
    /// The value could not be written as JSON, or by the codec of the task. The previous checkpoint is kept.
    #[error("the checkpoint could not be encoded")]
    Encode(#[source] BoxError),
    /// The last checkpoint is not a value of the type that was asked for.
    #[error("the last checkpoint is not a `{type_name}`")]
    OtherType {
        /// The type that was asked for.
        type_name: &'static str,
        /// What is wrong with the stored value.
        source: BoxError,
    },
    /// The attempt has ended, by its timeout or an abort for example, and no retry follows it.
    #[error("the attempt has ended")]
    AttemptEnded,
    /// The write to the store failed. The value is kept, and the app writes it again; but not if the
    /// app has stopped ([`StorageError::Closed`]).
    #[error("the checkpoint could not be stored")]
    Storage(#[source] StorageError),
}
