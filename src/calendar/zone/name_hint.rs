//! The hint for a zone name that is not known.

use jiff::tz::TimeZoneDatabase;

use crate::calendar::zone::similar_name::{same_name, similar_name};
use crate::value::error::ZoneHint;

/// What to write instead of `name`, if that is known. A similar name is one of the database
/// that is compiled in.
pub(super) fn name_hint(name: &str) -> Option<ZoneHint> {
    let database = TimeZoneDatabase::bundled();
    // No zone has a longer name. The limit also bounds the work.
    const MAX_BYTES: usize = 48;
    if name.len() > MAX_BYTES {
        return None;
    }
    if let Some(same) = same_name(name, &database) {
        return Some(ZoneHint::SimilarName(same));
    }
    let place = name.trim();
    let place = strip_prefix(place, "Etc/").unwrap_or(place);
    if is_offset(place) {
        return Some(ZoneHint::Offset);
    }
    let letters = letters(place).unwrap_or(usize::MAX);
    // Most abbreviations have three letters, or up to five of which the last is the T of
    // *time*. `WEST` is one of them, and not the place `Brazil/West`.
    if letters <= 3 || (letters <= 5 && place.ends_with(['T', 't'])) {
        return Some(ZoneHint::Abbreviation);
    }
    match similar_name(name, &database) {
        Some(similar) => Some(ZoneHint::SimilarName(similar)),
        None => (letters <= 5).then_some(ZoneHint::Abbreviation),
    }
}

/// The number of letters. `None` if there are others than those of ASCII, or none.
fn letters(name: &str) -> Option<usize> {
    let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_word.then_some(name.len())
}

/// Whether a name looks like an offset: `+02:00`, `-5`, `GMT+2`, `UTC -05`, `UTC2`.
fn is_offset(name: &str) -> bool {
    let prefixes = ["UTC", "GMT", "UT", "Z"];
    let after_prefix = prefixes
        .iter()
        .find_map(|prefix| strip_prefix(name, prefix));
    let offset = after_prefix.unwrap_or(name).trim_start();
    // The last one is the minus sign of typography.
    let digits = offset.strip_prefix(['+', '-', '\u{2212}']);
    let is_marked = after_prefix.is_some() || digits.is_some() || offset.contains(':');
    let digits = digits.unwrap_or(offset);
    is_marked
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == ':')
}

/// Removes a prefix, in upper or lower case.
fn strip_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
