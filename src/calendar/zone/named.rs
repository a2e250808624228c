//! The zones of the IANA database that is compiled in.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::calendar::zone::time_zone::Change;
use crate::value::error::ZoneError;

/// A zone that has a name.
#[derive(Clone)]
pub(crate) struct Named(TimeZone);

impl Named {
    pub(crate) fn new(name: &str) -> Result<Self, ZoneError> {
        // Asked by itself: jiff's usual database prefers the system's copy
        // wherever some crate of the program has switched that on.
        let database = TimeZoneDatabase::bundled();
        match database.get(name) {
            // jiff ignores case, and gives the unknown zone for its name.
            Ok(zone) if zone.iana_name() == Some(name) && !zone.is_unknown() => Ok(Self(zone)),
            _ => Err(ZoneError::Unknown {
                name: name.to_owned(),
                suggestion: near(name, &database),
            }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or_default()
    }

    pub(crate) fn offset_at(&self, instant: i64) -> i32 {
        self.0.to_offset(timestamp(instant)).seconds()
    }

    /// The end of the period that holds an instant.
    pub(crate) fn next_change(&self, instant: i64) -> Option<i64> {
        let next = self.0.following(timestamp(instant)).next()?;
        Some(next.timestamp().as_second())
    }

    /// The last change within so many seconds up to an instant.
    pub(crate) fn recent_change(&self, instant: i64, within: i64) -> Option<Change> {
        // Forwards: `preceding` of jiff 1.0.1 leaves out the last change that a
        // zone's table holds, where the zone goes on by a rule.
        let from = timestamp(instant.saturating_sub(within).saturating_sub(1));
        let changes = self.0.following(from);
        let at = changes
            .map(|change| change.timestamp().as_second())
            .take_while(|&at| at <= instant)
            .last()?;
        Some(Change {
            at,
            offset_before: self.offset_at(at.saturating_sub(1)),
        })
    }
}

/// The calendar of `time` is a day longer than jiff's at its ends, where no
/// zone changes any more.
fn timestamp(instant: i64) -> Timestamp {
    let end = if instant < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_second(instant).unwrap_or(end)
}

/// The known name that someone who wrote `name` is likely to have meant.
fn near(name: &str, database: &TimeZoneDatabase) -> Option<String> {
    // No zone has a longer name, and the work is bounded.
    const LONGEST: usize = 48;
    if name.len() > LONGEST {
        return None;
    }
    let wanted = fold(name);
    let (distance, _, best) = database
        .available()
        .map(|known| {
            let known = known.as_str().to_owned();
            (distance_to(&wanted, &known), known.len(), known)
        })
        .min()?;
    // A typo changes few letters of many.
    let tolerated = (wanted.len() / 3).min(2);
    (distance <= tolerated).then_some(best)
}

/// Of two names that differ in neither case nor blanks.
fn fold(name: &str) -> Vec<u8> {
    name.trim()
        .bytes()
        .map(|b| {
            if b == b' ' {
                b'_'
            } else {
                b.to_ascii_lowercase()
            }
        })
        .collect()
}

/// Between what is wanted and a known name, whole or without its continent.
fn distance_to(wanted: &[u8], known: &str) -> usize {
    let known = fold(known);
    let whole = distance(wanted, &known);
    if wanted.contains(&b'/') {
        return whole;
    }
    known
        .rsplit(|&b| b == b'/')
        .next()
        .map_or(whole, |city| whole.min(distance(wanted, city)))
}

/// How many letters must be put in, left out, replaced, or swapped with their
/// neighbours to turn one into the other (optimal string alignment).
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous_l = None;
    for (row, &l) in left.iter().enumerate() {
        let mut beside = row + 1;
        let mut current = vec![beside];
        let mut previous_r = None;
        for (column, (&r, pair)) in right.iter().zip(last.windows(2)).enumerate() {
            let &[diagonal, above] = pair else { continue };
            let replaced = diagonal + usize::from(l != r);
            let mut least = replaced.min(above + 1).min(beside + 1);
            if previous_l == Some(r)
                && previous_r == Some(l)
                && let Some(before_both) = column.checked_sub(1).and_then(|c| before_last.get(c))
            {
                least = least.min(before_both + 1);
            }
            current.push(least);
            beside = least;
            previous_r = Some(r);
        }
        before_last = std::mem::replace(&mut last, current);
        previous_l = Some(l);
    }
    last.last().copied().unwrap_or(0)
}
