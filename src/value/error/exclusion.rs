//! [`ExclusionError`]: excluded times are not valid.

use thiserror::Error;
use time::{Date, Time};

use crate::value::error::cron::CronError;
use crate::value::error::quoted::Quoted;

/// The error of making [`Exclusions`](crate::Exclusions).
///
/// ```
/// use jobber::{ExclusionError, Exclusions};
/// use time::macros::{date, time};
///
/// let error = Exclusions::new().dates(date!(2026-12-26), date!(2026-12-24)).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the dates from 2026-12-26 to 2026-12-24 are in the wrong order",
/// );
/// let error = Exclusions::new().times_of_day(time!(6:00), time!(6:00)).unwrap_err();
/// assert!(matches!(error, ExclusionError::EmptyTimes { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExclusionError {
    /// The last date of a range is before the first.
    #[error("the dates from {first} to {last} are in the wrong order")]
    DatesReversed {
        /// The first date.
        first: Date,
        /// The last date.
        last: Date,
    },
    /// A range of times of day begins and ends at the same time.
    #[error("the times of day begin and end at the same time, {time}")]
    EmptyTimes {
        /// The time of day.
        time: Time,
    },
    /// The cron expression is invalid.
    #[error(transparent)]
    Cron(CronError),
    /// The text is not a list of exclusions.
    #[error(
        "{} is not an exclusion: expected a date, two dates or times of day with `/` between them, a day of the week such as MON, or `cron` with an expression",
        Quoted(.text)
    )]
    Invalid {
        /// The part of the text that is at fault.
        text: String,
    },
}

impl From<CronError> for ExclusionError {
    fn from(error: CronError) -> Self {
        Self::Cron(error)
    }
}
