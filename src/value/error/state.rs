//! [`MissingState`]: an app has no shared state of a type.

use thiserror::Error;

/// The error of [`JobContext::state`](crate::JobContext::state): the app has no shared
/// state of the requested type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the app has no state of the type `{type_name}`: add it with Jobber::builder().state(..)")]
pub struct MissingState {
    /// The name of the requested type.
    pub type_name: &'static str,
}
