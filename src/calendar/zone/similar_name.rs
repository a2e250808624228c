//! The known zone name that is similar to another name.

use jiff::tz::TimeZoneDatabase;

/// The known name that differs from `name` only in case or in blanks.
pub(super) fn same_name(name: &str, database: &TimeZoneDatabase) -> Option<String> {
    let wanted = normalize(name);
    known_names(database).find(|known| normalize(known) == wanted)
}

/// The known name that is most similar to `name`, if it is similar enough to be what the
/// user meant.
pub(super) fn similar_name(name: &str, database: &TimeZoneDatabase) -> Option<String> {
    let wanted = normalize(name);
    let (distance, _, best) = known_names(database)
        .filter(|known| has_small_letters(known))
        .map(|known| (distance_to(&wanted, &known), known.len(), known))
        .min()?;
    // A typing error changes few letters of many.
    let max_distance = (wanted.len() / 3).min(2);
    (distance <= max_distance).then_some(best)
}

fn known_names(database: &TimeZoneDatabase) -> impl Iterator<Item = String> {
    database.available().map(|known| known.as_str().to_owned())
}

/// Whether the part after the last `/` is a word. If it has no small letters, it is an
/// abbreviation or an offset, such as `EST` and `Etc/GMT+2`: a similar text means another
/// time.
fn has_small_letters(known: &str) -> bool {
    place(known.as_bytes()).iter().any(u8::is_ascii_lowercase)
}

/// The part after the last `/`.
fn place(name: &[u8]) -> &[u8] {
    name.rsplit(|&b| b == b'/').next().unwrap_or(name)
}

/// Two names have the same normal form if they differ only in case or in blanks.
fn normalize(name: &str) -> Vec<u8> {
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

/// The distance from `wanted` to a known name, or to the part after its last `/` if that is
/// less.
fn distance_to(wanted: &[u8], known: &str) -> usize {
    let known = normalize(known);
    let whole = distance(wanted, &known);
    if wanted.contains(&b'/') {
        return whole;
    }
    whole.min(distance(wanted, place(&known)))
}

/// The optimal string alignment distance: the number of letters that must be inserted,
/// removed, replaced, or swapped with their neighbours to turn one text into the other.
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
