//! The type of an error whose own type is not known.

use std::error::Error;

/// Any error, as it crosses a task's boundary.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;
