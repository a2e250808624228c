//! [`ZoneError`]: a time zone cannot be found.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::value::error::quoted::Quoted;

/// The error of a time zone that cannot be found.
///
/// ```
/// # #[cfg(feature = "tz")] {
/// use jobber::Zone;
///
/// let message = |name| Zone::named(name).unwrap_err().to_string();
/// assert_eq!(
///     message("Europe/Berln"),
///     "unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?",
/// );
/// assert_eq!(
///     message("UTC+02:00"),
///     "unknown time zone `UTC+02:00`; for a fixed offset from UTC, use `Zone::fixed`",
/// );
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// The time zone database has no zone with this name.
    #[error("unknown time zone {}{}", Quoted(.name), Suffix(.hint.as_ref()))]
    Unknown {
        /// The name that was not found.
        name: String,
        /// What to write instead, if that is known.
        hint: Option<ZoneHint>,
    },
    /// The settings of the operating system name no time zone.
    #[error(
        "the operating system names no time zone: set the environment variable TZ to a name such as Europe/Berlin"
    )]
    NoSystemZone,
    /// The operating system has no time zone database.
    #[error("the operating system has no time zone database")]
    NoSystemDatabase,
    /// The path of a time zone database is not a directory.
    #[error("the time zone database {path:?} is not a directory")]
    NoDatabase {
        /// The path of the database.
        path: PathBuf,
    },
    /// The file of a time zone cannot be read, or is not a compiled zone file.
    #[error("the time zone file {path:?} cannot be read: {reason}")]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
}

/// What to write instead of a name that is not the name of a time zone.
///
/// ```
/// # #[cfg(feature = "tz")] {
/// use jobber::{Zone, ZoneError, ZoneHint};
///
/// let hint = |name| match Zone::named(name) {
///     Err(ZoneError::Unknown { hint, .. }) => hint,
///     _ => None,
/// };
/// assert_eq!(hint("Berlin"), Some(ZoneHint::SimilarName("Europe/Berlin".into())));
/// assert_eq!(hint("PST"), Some(ZoneHint::Abbreviation));
/// assert_eq!(hint("GMT+2"), Some(ZoneHint::Offset));
/// assert_eq!(hint("Mars/Olympus"), None);
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZoneHint {
    /// This similar name, which the database has.
    SimilarName(String),
    /// The name of a region, such as `America/Los_Angeles`: the name looks like an
    /// abbreviation such as `PST`, and an abbreviation may mean several zones.
    Abbreviation,
    /// [`Zone::fixed`](crate::Zone::fixed): the name looks like an offset from UTC, such as
    /// `GMT+2` or `+02:00`.
    ///
    /// The similar name `Etc/GMT+2` is not suggested, because it is two hours *behind* UTC.
    Offset,
    /// The same name, in a program with the feature `tz`: without it, no zone has a name
    /// but `UTC`.
    FeatureTz,
}

/// Displays a hint at the end of a message.
struct Suffix<'a>(Option<&'a ZoneHint>);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "",
            Some(ZoneHint::SimilarName(name)) => return write!(f, "; did you mean `{name}`?"),
            Some(ZoneHint::Abbreviation) => {
                "; an abbreviation may mean several zones: use the name of a region, such as \
                 `America/Los_Angeles`"
            }
            Some(ZoneHint::Offset) => "; for a fixed offset from UTC, use `Zone::fixed`",
            Some(ZoneHint::FeatureTz) => "; zones with a name need the feature `tz` of jobber",
        })
    }
}
