//! [`BoxError`]: an error of any type.

use std::error::Error;

/// An error of any type, as a task returns it.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;
