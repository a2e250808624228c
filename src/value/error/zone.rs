//! [`ZoneError`]: a time zone is not known.

use std::fmt;

use thiserror::Error;

use crate::value::error::quoted::Quoted;

/// The error of a time zone that cannot be found.
///
/// ```
/// # #[cfg(feature = "tz")] {
/// use jobber::Zone;
///
/// let error = Zone::named("Europe/Berln").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?",
/// );
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// The time zone database has no zone with this name.
    #[error("unknown time zone {}{}", Quoted(.name), Suggested(.suggestion.as_deref()))]
    Unknown {
        /// The name that was not found.
        name: String,
        /// A similar name that the database has, if there is one.
        suggestion: Option<String>,
    },
}

struct Suggested<'a>(Option<&'a str>);

impl fmt::Display for Suggested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}
