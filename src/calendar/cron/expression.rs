//! [`Cron`]: a parsed cron expression.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::str::FromStr;

use time::{OffsetDateTime, UtcOffset};

use crate::calendar::cron::wall::{WallPattern, WallSeconds};
use crate::calendar::zone::time_zone::Zone;
use crate::value::error::CronError;

/// A cron expression: a rule for the times at which a job is due.
///
/// ```
/// use jobber::{Zone, cron::Cron};
/// use time::OffsetDateTime;
///
/// let cron: Cron = "0 9 * * MON-FRI".parse()?;
/// let thursday = OffsetDateTime::UNIX_EPOCH;
/// let next = cron.next_after(thursday, &Zone::UTC).unwrap();
/// assert_eq!(next.unix_timestamp(), 9 * 3600);
/// assert_eq!(cron.describe(), "At 09:00 on Monday through Friday");
/// # Ok::<(), jobber::cron::CronError>(())
/// ```
///
/// # Syntax
///
/// | fields | meaning |
/// |---|---|
/// | 5 | `minute hour day-of-month month day-of-week` |
/// | 6 | the five fields, then a year in digits: `0 9 * * MON 2027` |
/// | 7 | a second, the five fields, then a year: `*/10 * * * * * *` |
///
/// Six fields whose last is not a year, such as `*`, are an error, because other tools read
/// the first of six fields as seconds.
///
/// | field | values |
/// |---|---|
/// | second, minute | 0-59 |
/// | hour | 0-23 |
/// | day of month | 1-31, `?` |
/// | month | 1-12, JAN-DEC |
/// | day of week | 0-7, SUN-SAT (0 and 7 are Sunday), `?` |
/// | year | 1970-2099 |
///
/// | text | meaning | fields |
/// |---|---|---|
/// | `*` | every value | all |
/// | `?` | the same as `*` | day of month, day of week |
/// | `a` `a-b` `a,b,c` | a value, a range, a list | all |
/// | `22-2` `FRI-MON` | a range that continues from the first value after the last | all but year |
/// | `*/n` `a-b/n` `a/n` | every n-th value: of all values, of a range, from a on | all |
/// | `L` `L-3` | the last day, the third day before it | day of month |
/// | `15W` `LW` `L-3W` | the weekday (Monday to Friday) nearest to a day, in the same month | day of month |
/// | `FRIL` `5L` `L5` | the last Friday of the month | day of week |
/// | `MON#2` `1#2` | the second Monday of the month | day of week |
///
/// A list may contain any of these except `?`. Upper case and lower case letters are equal.
/// Spaces and tabs separate the fields. Spaces, tabs and line breaks around the expression
/// are ignored. An expression has at most 1024 bytes.
///
/// If both day fields are restricted, it is enough that one of them matches: `0 0 13 * FRI`
/// is due on every 13th and on every Friday. A field is unrestricted only if it is `*` or
/// `?`.
///
/// `@yearly` (`@annually`), `@monthly`, `@weekly`, `@daily` (`@midnight`) and
/// `@hourly` are aliases. A week begins on Sunday, and a day at 00:00.
///
/// # When clocks change
///
/// An expression whose second, minute or hour field begins with `*` is a *rate*. Any other
/// expression specifies *times of day*.
///
/// - A rate follows real time: it is due at every instant at which the local clock matches.
///   If the clock skips a time, the rate skips it too. If the clock repeats a time, the rate
///   is due at both.
/// - A time of day is due once. If the clock skips it, it is due at the first instant after
///   the gap. If the clock skips several times of day, they are due once, together. If the
///   clock repeats a time, it is due at the first one.
/// - A change of more than three hours is a correction of the calendar, not a clock change.
///   It skips and repeats times of day in the same way as times of a rate.
///
/// # Equality
///
/// Two expressions are equal if their texts are equal. A job that is declared again with
/// another text of the same meaning keeps its times all the same: see
/// [`Schedule::replace`](crate::Schedule::replace).
#[derive(Clone)]
pub struct Cron {
    text: Box<str>,
    pattern: WallPattern,
}

impl Cron {
    /// Parses an expression.
    ///
    /// # Errors
    ///
    /// Returns a [`CronError`] if the text is not a valid expression. It contains the field,
    /// the text at fault, the position of that text, and the values that are allowed there.
    /// For what other cron programs support and this one does not, such as `@reboot`, it
    /// names the method to use ([`CronReplacement`](crate::cron::CronReplacement)).
    ///
    /// ```
    /// use jobber::cron::Cron;
    ///
    /// assert!(Cron::parse("*/15 9-17 * * MON-FRI").is_ok());
    /// assert!(Cron::parse("@fortnightly").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let pattern = WallPattern::new(&crate::calendar::cron::parse::parse(text)?)?;
        Ok(Self {
            text: text.into(),
            pattern,
        })
    }

    /// Whether it is a rate, and not times of day.
    pub(crate) fn is_rate(&self) -> bool {
        self.pattern.is_rate
    }

    /// Whether `other` has the same fields after parsing, and is of the same kind.
    pub(crate) fn has_same_times(&self, other: &Cron) -> bool {
        self.pattern == other.pattern
    }

    /// Returns the first time after `after` at which the expression is due in `zone`. The
    /// result has the offset of `zone` at that time, and whole seconds.
    ///
    /// Returns `None` if no such time comes up to the year 9999. The duration of the
    /// search does not depend on how far away the result is.
    ///
    /// ```
    /// use jobber::{Zone, cron::Cron};
    /// use time::OffsetDateTime;
    ///
    /// let never = Cron::parse("0 0 30 2 *")?;
    /// assert_eq!(never.next_after(OffsetDateTime::UNIX_EPOCH, &Zone::UTC), None);
    /// # Ok::<(), jobber::cron::CronError>(())
    /// ```
    #[must_use]
    pub fn next_after(&self, after: OffsetDateTime, zone: &Zone) -> Option<OffsetDateTime> {
        let from = after.unix_timestamp().checked_add(1)?;
        let (instant, offset) =
            crate::calendar::cron::zoned::first_from(&self.pattern, from, zone)?;
        let offset = UtcOffset::from_whole_seconds(offset).ok()?;
        OffsetDateTime::from_unix_timestamp(instant)
            .ok()?
            .checked_to_offset(offset)
    }

    /// The end of the minute, or of the second, that a local clock shows, if it matches.
    pub(crate) fn end_of_match(&self, shown: WallSeconds) -> Option<WallSeconds> {
        self.pattern.end_of_match(shown)
    }

    /// Returns an iterator over all times after `after` at which the expression is due in
    /// `zone`, in ascending order.
    ///
    /// ```
    /// use jobber::{Zone, cron::Cron};
    /// use time::OffsetDateTime;
    ///
    /// let cron = Cron::parse("@yearly")?;
    /// let years: Vec<i32> = cron
    ///     .upcoming(OffsetDateTime::UNIX_EPOCH, &Zone::UTC)
    ///     .map(|time| time.year())
    ///     .take(3)
    ///     .collect();
    /// assert_eq!(years, [1971, 1972, 1973]);
    /// # Ok::<(), jobber::cron::CronError>(())
    /// ```
    pub fn upcoming<'a>(&'a self, after: OffsetDateTime, zone: &'a Zone) -> Upcoming<'a> {
        Upcoming {
            cron: self,
            zone,
            after: Some(after),
        }
    }

    /// Describes the expression in English, with times on a 24-hour clock.
    ///
    /// ```
    /// use jobber::cron::Cron;
    ///
    /// let cron = Cron::parse("30 6 1,LW * ?")?;
    /// assert_eq!(
    ///     cron.describe(),
    ///     "At 06:30 on the 1st or on the last weekday of every month",
    /// );
    /// # Ok::<(), jobber::cron::CronError>(())
    /// ```
    #[must_use]
    pub fn describe(&self) -> String {
        // The syntax tree is parsed again here: storing it in every `Cron` would cost memory,
        // and few callers need it.
        crate::calendar::cron::parse::parse(&self.text)
            .ok()
            .and_then(|expression| crate::calendar::cron::describe::describe(&expression))
            .unwrap_or_else(|| self.text.to_string())
    }

    /// Returns the text of the expression, as it was written.
    ///
    /// ```
    /// use jobber::cron::Cron;
    ///
    /// assert_eq!(Cron::parse("@daily")?.as_str(), "@daily");
    /// # Ok::<(), jobber::cron::CronError>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        Self::parse(text)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cron").field(&self.text).finish()
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl Hash for Cron {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// An iterator over the times at which an expression is due. [`Cron::upcoming`] returns it.
///
/// ```
/// use jobber::{Zone, cron::Cron};
/// use time::OffsetDateTime;
///
/// let cron = Cron::parse("0 0 1 1 * 1999")?;
/// let mut upcoming = cron.upcoming(OffsetDateTime::UNIX_EPOCH, &Zone::UTC);
/// assert!(upcoming.next().is_some());
/// assert!(upcoming.next().is_none());
/// # Ok::<(), jobber::cron::CronError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "iterators are lazy"]
pub struct Upcoming<'a> {
    cron: &'a Cron,
    zone: &'a Zone,
    after: Option<OffsetDateTime>,
}

impl Iterator for Upcoming<'_> {
    type Item = OffsetDateTime;

    fn next(&mut self) -> Option<OffsetDateTime> {
        self.after = self.cron.next_after(self.after?, self.zone);
        self.after
    }
}

impl FusedIterator for Upcoming<'_> {}
