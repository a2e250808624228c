//! [`CronError`]: a cron expression is invalid.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::value::error::quoted::{Quoted, Shortened};

/// A field of a cron expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CronField {
    /// The first of seven fields: 0-59.
    Second,
    /// 0-59.
    Minute,
    /// 0-23.
    Hour,
    /// 1-31.
    DayOfMonth,
    /// 1-12 or JAN-DEC.
    Month,
    /// 0-7 or SUN-SAT.
    DayOfWeek,
    /// The last of six or seven fields: 1970-2099.
    Year,
}

impl CronField {
    /// The syntax that is allowed in this field, for an error message.
    #[must_use]
    pub fn allowed(self) -> &'static str {
        match self {
            Self::Second | Self::Minute => "0-59, `*`, ranges `a-b`, steps `/n`, lists `a,b`",
            Self::Hour => "0-23, `*`, ranges `a-b`, steps `/n`, lists `a,b`",
            Self::DayOfMonth => {
                "1-31, `*`, `?`, ranges `a-b`, steps `/n`, lists `a,b`, `L`, `L-3`, `LW`, `15W`, `L-3W`"
            }
            Self::Month => "1-12 or JAN-DEC, `*`, ranges `a-b`, steps `/n`, lists `a,b`",
            Self::DayOfWeek => {
                "0-7 or SUN-SAT, `*`, `?`, ranges `a-b`, steps `/n`, lists `a,b`, `FRIL`, `MON#2`"
            }
            Self::Year => "1970-2099, `*`, ranges `a-b`, steps `/n`, lists `a,b`",
        }
    }
}

impl fmt::Display for CronField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day-of-month",
            Self::Month => "month",
            Self::DayOfWeek => "day-of-week",
            Self::Year => "year",
        })
    }
}

/// The method that does what a text means to other cron programs.
///
/// ```
/// use jobber::cron::{Cron, CronError, CronReplacement};
///
/// let error = Cron::parse("CRON_TZ=Europe/Berlin 0 9 * * *").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "`CRON_TZ=Europe/Berlin` is not supported in a cron expression; \
///      use `.zone(\"Europe/Berlin\")` before `.cron(..)`",
/// );
/// let CronError::NotCron { replacement, .. } = error else { panic!() };
/// assert_eq!(replacement, CronReplacement::Zone("Europe/Berlin".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CronReplacement {
    /// [`Schedule::every`](crate::Schedule::every), for `@every 5m`.
    Every,
    /// [`Schedule::push`](crate::Schedule::push) after the start of the app, for `@reboot`.
    Push,
    /// [`Schedule::zone`](crate::Schedule::zone) with this name, for `TZ=Europe/Berlin` and
    /// `CRON_TZ=Europe/Berlin` before an expression. The name may be unknown or empty.
    Zone(String),
}

impl CronReplacement {
    fn method(&self) -> &'static str {
        match self {
            Self::Every => "`.every(Duration)` in place of `.cron(..)`",
            Self::Push => "`.push()` after the start of the app, in place of `.cron(..)`",
            Self::Zone(_) => "`.zone(..)` before `.cron(..)`",
        }
    }
}

impl fmt::Display for CronReplacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone(name) if !name.is_empty() => {
                write!(f, "`.zone(\"{}\")` before `.cron(..)`", Shortened(name))
            }
            other => f.write_str(other.method()),
        }
    }
}

/// The reason why a text is not a valid cron expression.
///
/// Each `span` is a range of byte offsets into the text that was passed to
/// [`Cron::parse`](crate::cron::Cron::parse).
///
/// ```
/// use jobber::cron::{Cron, CronError, CronField};
///
/// let error = Cron::parse("0 25 * * *").unwrap_err();
/// assert!(matches!(error, CronError::OutOfRange { field: CronField::Hour, .. }));
/// assert_eq!(error.span(), 2..4);
/// assert_eq!(error.text(), "25");
/// assert_eq!(
///     error.to_string(),
///     "`25` is out of range in the hour field (byte 2); allowed: 0-23",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CronError {
    /// The text is empty or contains only white space.
    #[error("the cron expression is empty; allowed: {}", self.allowed())]
    Empty,

    /// The text has more than 1024 bytes. It was not parsed.
    #[error("the cron expression has {length} bytes; allowed: {}", self.allowed())]
    TooLong {
        /// The length of the text in bytes.
        length: usize,
    },

    /// The number of fields is not 5, 6 or 7.
    #[error("the cron expression has {count} {}; allowed: {}", plural(*.count), self.allowed())]
    FieldCount {
        /// The number of fields.
        count: usize,
        /// The whole expression without white space around it.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
    },

    /// The word after `@` is not a known alias.
    #[error("{} is not a known alias; allowed: {}", Quoted(.text), self.allowed())]
    UnknownAlias {
        /// The unknown alias, with its `@`.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
    },

    /// Other cron programs support this text in an expression. Here, a method of the
    /// schedule does what it means.
    #[error("{} is not supported in a cron expression; use {replacement}", Quoted(.text))]
    NotCron {
        /// The text: `@every 5m`, `@reboot`, or the part that sets a zone, such as
        /// `TZ=Europe/Berlin`.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
        /// What to use instead.
        replacement: CronReplacement,
    },

    /// The expression has six fields, and the sixth is not a year in digits.
    ///
    /// Other tools read the first of six fields as seconds. If the sixth field is not a
    /// year, the expression was probably written for such a tool, so it is rejected.
    #[error(
        "the sixth of six fields must be a year, but {} (byte {}) is not; {}; allowed: {}",
        Quoted(.text), .span.start, FiveOrSeven(.seven_fields.as_deref()), self.allowed()
    )]
    SixthField {
        /// The sixth field.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
        /// The expression with seconds first: the six fields, then `*` for the year. `None`
        /// if that is invalid too.
        seven_fields: Option<String>,
    },

    /// A number is outside the range that is allowed at its position.
    #[error("{} is out of range in the {field} field (byte {}); allowed: {allowed}", Quoted(.text), .span.start)]
    OutOfRange {
        /// The field that contains it.
        field: CronField,
        /// The rejected number.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
        /// The range that is allowed at this position.
        allowed: &'static str,
    },

    /// A text is not valid in its field, or a value is missing.
    #[error("{} in the {field} field (byte {}); allowed: {}", Invalid(.text), .span.start, .field.allowed())]
    Syntax {
        /// The field that contains it.
        field: CronField,
        /// The invalid text. Empty if a value is missing.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
    },

    /// A step is zero.
    #[error("the step {} in the {field} field (byte {}) is zero; allowed: {}", Quoted(.text), .span.start, self.allowed())]
    ZeroStep {
        /// The field that contains it.
        field: CronField,
        /// The step as it was written.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
    },

    /// The day-of-week field contains `L` without a weekday. Tools disagree
    /// about the day that it means.
    #[error(
        "{} without a weekday in the day-of-week field (byte {}) is ambiguous; allowed: {}",
        Quoted(.text), .span.start, self.allowed()
    )]
    BareLast {
        /// The letter as it was written: `L` or `l`.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
    },

    /// A range of years ends before it starts.
    #[error("the year range {} (byte {}) ends before it starts; allowed: {}", Quoted(.text), .span.start, self.allowed())]
    BackwardYears {
        /// The range as it was written.
        text: String,
        /// The position of `text`.
        span: Range<usize>,
    },

    /// The expression was parsed, but the library that computes its dates rejected a part.
    /// No expression is known that causes this error.
    #[error("the cron expression is valid, but the part `{text}` is not supported")]
    Unsupported {
        /// The rejected part, in the form that the library was given.
        text: String,
    },
}

impl CronError {
    /// The field at fault. `None` if the error does not concern one field.
    #[must_use]
    pub fn field(&self) -> Option<CronField> {
        match self {
            Self::OutOfRange { field, .. }
            | Self::Syntax { field, .. }
            | Self::ZeroStep { field, .. } => Some(*field),
            Self::SixthField { .. } | Self::BackwardYears { .. } => Some(CronField::Year),
            Self::BareLast { .. } => Some(CronField::DayOfWeek),
            _ => None,
        }
    }

    /// The text at fault. Empty if a value is missing, or if the error concerns no part of
    /// the text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::FieldCount { text, .. }
            | Self::UnknownAlias { text, .. }
            | Self::NotCron { text, .. }
            | Self::SixthField { text, .. }
            | Self::OutOfRange { text, .. }
            | Self::Syntax { text, .. }
            | Self::ZeroStep { text, .. }
            | Self::BareLast { text, .. }
            | Self::BackwardYears { text, .. } => text,
            Self::Empty | Self::TooLong { .. } | Self::Unsupported { .. } => "",
        }
    }

    /// The position of [`text`](Self::text) in the input, in bytes.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        match self {
            Self::FieldCount { span, .. }
            | Self::UnknownAlias { span, .. }
            | Self::NotCron { span, .. }
            | Self::SixthField { span, .. }
            | Self::OutOfRange { span, .. }
            | Self::Syntax { span, .. }
            | Self::ZeroStep { span, .. }
            | Self::BareLast { span, .. }
            | Self::BackwardYears { span, .. } => span.clone(),
            Self::Empty | Self::TooLong { .. } | Self::Unsupported { .. } => 0..0,
        }
    }

    /// What is allowed instead, for an error message.
    #[must_use]
    pub fn allowed(&self) -> &'static str {
        match self {
            Self::Empty | Self::FieldCount { .. } | Self::Unsupported { .. } => {
                "5 fields `minute hour day-of-month month day-of-week`, 6 with a year last, \
                 7 with seconds first and a year last, or an alias such as `@daily`"
            }
            Self::TooLong { .. } => "at most 1024 bytes",
            Self::UnknownAlias { .. } => {
                "`@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`"
            }
            Self::NotCron { replacement, .. } => replacement.method(),
            Self::SixthField { .. } => "a year such as `2027`, `2026-2028`, `2026/2`",
            Self::OutOfRange { allowed, .. } => allowed,
            Self::Syntax { field, .. } => field.allowed(),
            Self::ZeroStep { .. } => "a step of 1 or more",
            Self::BareLast { .. } => "`SAT` for Saturday, `FRIL` for the last Friday of the month",
            Self::BackwardYears { .. } => "the earlier year first",
        }
    }
}

/// Displays the text at fault, which is empty if a value is missing.
struct Invalid<'a>(&'a str);

impl fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str("a value is missing")
        } else {
            write!(f, "{} is not valid", Quoted(self.0))
        }
    }
}

/// Displays what to write in place of six fields without a year.
struct FiveOrSeven<'a>(Option<&'a str>);

impl fmt::Display for FiveOrSeven<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seven) => write!(
                f,
                "with seconds first, write 7 fields: {}; without seconds, write 5 fields",
                Quoted(seven)
            ),
            None => f.write_str("write 5 fields, or 7 with seconds first"),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "field" } else { "fields" }
}
