//! What can go wrong when a cron expression or a zone is read.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

/// A field of a cron expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CronField {
    /// The first of seven fields, 0-59.
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
    /// The last of six or seven fields, 1970-2099.
    Year,
}

impl CronField {
    /// What may be written in this field.
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

/// Why a text is not a cron expression.
///
/// Spans are byte offsets into the text that was given to
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
    /// Nothing but blanks.
    #[error("the cron expression is empty; allowed: {}", self.allowed())]
    Empty,

    /// More than 1024 bytes; none of them was read.
    #[error("the cron expression is {length} bytes long; allowed: {}", self.allowed())]
    TooLong {
        /// The length in bytes.
        length: usize,
    },

    /// Neither five, six nor seven fields.
    #[error("the cron expression has {count} {}; allowed: {}", plural(*.count), self.allowed())]
    FieldCount {
        /// How many fields there are.
        count: usize,
        /// The whole expression without outer blanks.
        text: String,
        /// Its place.
        span: Range<usize>,
    },

    /// A word after `@` that is no alias.
    #[error("{} is not a known alias; allowed: {}", Quoted(.text), self.allowed())]
    UnknownAlias {
        /// The alias, with its `@`.
        text: String,
        /// Its place.
        span: Range<usize>,
    },

    /// Six fields whose last is not a year written out.
    ///
    /// Where other tools read six fields, seconds come first, so a sixth field
    /// that is no year is taken for a misunderstanding and never guessed at.
    #[error(
        "the sixth of six fields is a year, which {} (byte {}) is not; write 5 fields, \
         or 7 with seconds first; allowed: {}",
        Quoted(.text), .span.start, self.allowed()
    )]
    SixthField {
        /// The sixth field.
        text: String,
        /// Its place.
        span: Range<usize>,
    },

    /// A number beyond the bounds of its place.
    #[error("{} is out of range in the {field} field (byte {}); allowed: {allowed}", Quoted(.text), .span.start)]
    OutOfRange {
        /// Where it stands.
        field: CronField,
        /// The number.
        text: String,
        /// Its place.
        span: Range<usize>,
        /// The bounds at this place.
        allowed: &'static str,
    },

    /// Text that has no meaning in its field.
    #[error("{} in the {field} field (byte {}); allowed: {}", Unclear(.text), .span.start, .field.allowed())]
    Syntax {
        /// Where it stands.
        field: CronField,
        /// The text; empty where something is missing.
        text: String,
        /// Its place.
        span: Range<usize>,
    },

    /// A step of zero.
    #[error("the step {} in the {field} field (byte {}) leads nowhere; allowed: {}", Quoted(.text), .span.start, self.allowed())]
    ZeroStep {
        /// Where it stands.
        field: CronField,
        /// The step.
        text: String,
        /// Its place.
        span: Range<usize>,
    },

    /// `L` without a weekday, in day-of-week.
    #[error(
        "a bare {} in the day-of-week field (byte {}) means different days to different tools; \
         allowed: {}",
        Quoted(.text), .span.start, self.allowed()
    )]
    BareLast {
        /// The letter as written.
        text: String,
        /// Its place.
        span: Range<usize>,
    },

    /// A range of years whose end comes before its start.
    #[error("the years {} run backwards (byte {}); allowed: {}", Quoted(.text), .span.start, self.allowed())]
    BackwardYears {
        /// The range.
        text: String,
        /// Its place.
        span: Range<usize>,
    },

    /// The evaluator refused what was read. No input is known to lead here.
    #[error("the cron expression was read but cannot be evaluated ({text})")]
    Unsupported {
        /// The evaluator's form of the part it refused.
        text: String,
    },
}

impl CronError {
    /// The field at fault, where it is one field.
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

    /// The text at fault; empty where something is missing.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::FieldCount { text, .. }
            | Self::UnknownAlias { text, .. }
            | Self::SixthField { text, .. }
            | Self::OutOfRange { text, .. }
            | Self::Syntax { text, .. }
            | Self::ZeroStep { text, .. }
            | Self::BareLast { text, .. }
            | Self::BackwardYears { text, .. } => text,
            Self::Empty | Self::TooLong { .. } | Self::Unsupported { .. } => "",
        }
    }

    /// Where [`text`](Self::text) stands in the input, in bytes.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        match self {
            Self::FieldCount { span, .. }
            | Self::UnknownAlias { span, .. }
            | Self::SixthField { span, .. }
            | Self::OutOfRange { span, .. }
            | Self::Syntax { span, .. }
            | Self::ZeroStep { span, .. }
            | Self::BareLast { span, .. }
            | Self::BackwardYears { span, .. } => span.clone(),
            Self::Empty | Self::TooLong { .. } | Self::Unsupported { .. } => 0..0,
        }
    }

    /// What may stand there instead.
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
            Self::SixthField { .. } => "a year such as `2027`, `2026-2028`, `2026/2`",
            Self::OutOfRange { allowed, .. } => allowed,
            Self::Syntax { field, .. } => field.allowed(),
            Self::ZeroStep { .. } => "a step of 1 or more",
            Self::BareLast { .. } => "`SAT` for Saturday, `FRIL` for the last Friday of the month",
            Self::BackwardYears { .. } => "the earlier year first",
        }
    }
}

/// Why there is no such zone.
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
    /// The time zone database has no zone of that name.
    #[error("unknown time zone {}{}", Quoted(.name), Suggested(.suggestion.as_deref()))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// A known name that is near to it.
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

/// Text of unknown origin, fit for one line of a log.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        let mut rest = self.0.chars();
        f.write_str("`")?;
        for c in rest.by_ref().take(SHOWN) {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        f.write_str(if rest.next().is_some() { "…`" } else { "`" })
    }
}

struct Unclear<'a>(&'a str);

impl fmt::Display for Unclear<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str("a value is missing")
        } else {
            write!(f, "{} has no meaning", Quoted(self.0))
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "field" } else { "fields" }
}
