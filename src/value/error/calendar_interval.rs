//! [`CalendarIntervalError`]: a calendar interval is not valid.

use thiserror::Error;

use crate::value::error::quoted::Quoted;

/// The error of making a [`CalendarInterval`](crate::CalendarInterval).
///
/// ```
/// use jobber::{CalendarInterval, CalendarIntervalError};
///
/// let error = CalendarInterval::months(0).unwrap_err();
/// assert_eq!(error, CalendarIntervalError::Zero);
/// assert_eq!(error.to_string(), "the interval must be longer than zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CalendarIntervalError {
    /// The number is zero.
    #[error("the interval must be longer than zero")]
    Zero,
    /// The interval has more than `u32::MAX` days or months.
    #[error("the interval is too long: the maximum is {max} days or months", max = u32::MAX)]
    TooLong,
    /// The text is not a calendar interval.
    #[error(
        "{} is not a calendar interval: expected a number of days, weeks, months or years, such as P1D, P2W, P3M or P1Y",
        Quoted(.text)
    )]
    Invalid {
        /// The text that was parsed.
        text: String,
    },
}
