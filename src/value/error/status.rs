//! [`ParseStatusError`]: a text is not the name of a job status.

use thiserror::Error;

/// The error of parsing a [`JobStatus`](crate::JobStatus): the text is not one of the
/// seven names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a job status: expected SCHEDULED, RUNNING, CANCELLED, SUCCESS, FAILED, TIMEOUT, or PERMANENTLY_FAILED"
)]
pub struct ParseStatusError {
    /// The text that was parsed.
    pub text: String,
}
