//! Cron expressions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::str::FromStr;

use time::{OffsetDateTime, UtcOffset};

use crate::calendar::cron::wall::WallPattern;
use crate::calendar::zone::time_zone::Zone;
use crate::value::error::CronError;

/// A cron expression: a rule for the times at which something is due.
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
/// # What can be written
///
/// | fields | meaning |
/// |---|---|
/// | 5 | `minute hour day-of-month month day-of-week` |
/// | 6 | the five, then a year, written out: `0 9 * * MON 2027` |
/// | 7 | a second, the five, then a year: `*/10 * * * * * *` |
///
/// Six fields that end in `*` or `?` are an error: other tools read the first
/// of six as seconds.
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
/// | `?` | the same as `*` | the two days |
/// | `a` `a-b` `a,b,c` | a value, a range, a list | all |
/// | `22-2` `FRI-MON` | a range around the end | all but year |
/// | `*/n` `a-b/n` `a/n` | every n-th value, of all, of a range, from a on | all |
/// | `L` `L-3` | the last day, the third day before it | day of month |
/// | `15W` `LW` `L-3W` | the weekday nearest to a day, within its month | day of month |
/// | `FRIL` `5L` `L5` | the last Friday of the month | day of week |
/// | `MON#2` `1#2` | the second Monday of the month | day of week |
///
/// Lists may hold any of these but `?`. Letters are read in either case. Blanks
/// and tabs part the fields; around the whole, line ends are ignored too.
///
/// When both days are restricted, either may match: `0 0 13 * FRI` is due on
/// every 13th and on every Friday. A field is unrestricted only if it is `*` or
/// `?`.
///
/// `@yearly` (`@annually`), `@monthly`, `@weekly`, `@daily` (`@midnight`) and
/// `@hourly` stand for the expressions one expects.
///
/// # When clocks change
///
/// An expression whose second, minute or hour begins with `*` is a *rate*; any
/// other names *times of day*.
///
/// - A rate follows real time: it is due at every instant at which the clock on
///   the wall matches. It skips what the clock skips, and is due in both passes
///   of what the clock shows twice.
/// - A time of day is due once. If the clock skips it, it is due at the first
///   instant after the gap, together with any other that was skipped; if the
///   clock shows it twice, it is due the first time.
/// - A change of more than three hours is a correction of the calendar rather
///   than a clock change: what it skips is skipped, and what it repeats is
///   repeated, for either kind.
///
/// # Equality
///
/// Two expressions are equal if their texts are.
#[derive(Clone)]
pub struct Cron {
    text: Box<str>,
    pattern: WallPattern,
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// If it is not one, with the field, the text at fault, its place, and what
    /// is allowed there. At most 1024 bytes are read.
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

    /// The first time after `after` at which this is due, with the offset of
    /// `zone` at that time.
    ///
    /// `None` if there is none up to the year 9999. The cost does not depend on
    /// how far away `after` or the answer is.
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

    /// Every time after `after` at which this is due, in order.
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

    /// An English sentence, on a 24-hour clock.
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
        // Read again, rather than kept in parts that few would ever ask for.
        crate::calendar::cron::parse::parse(&self.text)
            .ok()
            .and_then(|expression| crate::calendar::cron::describe::describe(&expression))
            .unwrap_or_else(|| self.text.to_string())
    }

    /// The text as written.
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

/// What can be given as a cron expression: a [`Cron`], or its text.
///
/// ```
/// use jobber::{testing::Simulation, cron::Cron};
///
/// let sim = Simulation::new();
/// let report = sim.app().task("report", || async {}).register()?;
/// let _ = report.schedule(()).cron("0 9 * * MON-FRI").block_on()?;
/// let _ = report.schedule(()).cron(Cron::parse("@daily")?).block_on()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` is no cron expression: give a text or a `Cron`")]
pub trait IntoCron {
    /// Reads it, if it is not read yet.
    ///
    /// # Errors
    /// Those of [`Cron::parse`].
    fn into_cron(self) -> Result<Cron, CronError>;
}

impl IntoCron for Cron {
    fn into_cron(self) -> Result<Cron, CronError> {
        Ok(self)
    }
}

impl IntoCron for &Cron {
    fn into_cron(self) -> Result<Cron, CronError> {
        Ok(self.clone())
    }
}

impl IntoCron for &str {
    fn into_cron(self) -> Result<Cron, CronError> {
        Cron::parse(self)
    }
}

impl IntoCron for String {
    fn into_cron(self) -> Result<Cron, CronError> {
        Cron::parse(&self)
    }
}

impl IntoCron for &String {
    fn into_cron(self) -> Result<Cron, CronError> {
        Cron::parse(self)
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

/// The times at which an expression is due; see [`Cron::upcoming`].
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
