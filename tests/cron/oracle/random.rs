//! Random expressions over the whole grammar, and random breakage.

use fastrand::Rng;

const MONTHS: [&str; 12] = [
    "JAN", "feb", "Mar", "APR", "may", "JUN", "jul", "AUG", "sEp", "OCT", "nov", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "mon", "TUE", "Wed", "THU", "fri", "SAT"];
const ALIASES: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@Daily",
    "@midnight",
    "@HOURLY",
];

/// A valid expression of five, six or seven fields.
pub fn expression(rng: &mut Rng) -> String {
    if rng.u8(..) == 0 {
        return ALIASES[rng.usize(..ALIASES.len())].to_string();
    }
    let mut fields = Vec::new();
    let layout = rng.u8(..10);
    if layout >= 7 {
        fields.push(field(rng, 0, 59, &[], true));
    }
    fields.push(field(rng, 0, 59, &[], true));
    fields.push(field(rng, 0, 23, &[], true));
    fields.push(days(rng, day_of_month));
    fields.push(field(rng, 1, 12, &MONTHS, true));
    fields.push(days(rng, day_of_week));
    if layout == 6 {
        fields.push(years(rng));
    }
    if layout >= 7 {
        fields.push(if rng.bool() {
            "*".to_string()
        } else {
            years(rng)
        });
    }
    let mut text = blanks(rng, 0).to_string();
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            text.push_str(blanks(rng, 1));
        }
        text.push_str(field);
    }
    text.push_str(["", "", "", "\n", "\r\n", " "][rng.usize(..6)]);
    text
}

/// An expression with some of its letters exchanged; mostly no longer one.
pub fn broken_expression(rng: &mut Rng) -> String {
    const LETTERS: &[u8] = b"0123456789*?,-/#LWlw @\tJANFRI.\n:+x";
    let mut text: Vec<char> = expression(rng).chars().collect();
    for _ in 0..rng.usize(1..4) {
        let letter = if rng.u8(..20) == 0 {
            'é'
        } else {
            char::from(LETTERS[rng.usize(..LETTERS.len())])
        };
        let at = rng.usize(..=text.len());
        match rng.u8(..3) {
            0 => text.insert(at, letter),
            1 if at < text.len() => text[at] = letter,
            _ if at < text.len() => drop(text.remove(at)),
            _ => {}
        }
    }
    text.into_iter().collect()
}

fn blanks(rng: &mut Rng, least: usize) -> &'static str {
    let blanks = ["", " ", " ", " ", " ", " ", "  ", "\t", " \t "];
    blanks[rng.usize(least..blanks.len())]
}

fn field(rng: &mut Rng, min: u32, max: u32, names: &[&str], wraps: bool) -> String {
    if rng.u8(..4) == 0 {
        return "*".to_string();
    }
    list(rng, |rng| item(rng, min, max, names, wraps))
}

fn list(rng: &mut Rng, mut item: impl FnMut(&mut Rng) -> String) -> String {
    let count = [1, 1, 1, 1, 2, 2, 3, 5][rng.usize(..8)];
    let items: Vec<String> = (0..count).map(|_| item(rng)).collect();
    items.join(",")
}

fn item(rng: &mut Rng, min: u32, max: u32, names: &[&str], wraps: bool) -> String {
    let step = match rng.u8(..8) {
        0 => rng.u32(1..200),
        _ => rng.u32(1..=max - min + 1),
    };
    match rng.u8(..10) {
        0 => "*".to_string(),
        1 => format!("*/{step}"),
        2 => format!("{}/{step}", value(rng, min, max, names)),
        3..=6 => {
            let (mut first, mut last) = (rng.u32(min..=max), rng.u32(min..=max));
            if first > last && !wraps {
                (first, last) = (last, first);
            }
            let (first, last) = (
                written(rng, first, min, names),
                written(rng, last, min, names),
            );
            if rng.bool() {
                format!("{first}-{last}/{step}")
            } else {
                format!("{first}-{last}")
            }
        }
        _ => value(rng, min, max, names),
    }
}

fn value(rng: &mut Rng, min: u32, max: u32, names: &[&str]) -> String {
    let value = rng.u32(min..=max);
    written(rng, value, min, names)
}

fn written(rng: &mut Rng, value: u32, min: u32, names: &[&str]) -> String {
    match names.get((value - min) as usize) {
        Some(name) if rng.bool() => (*name).to_string(),
        _ if rng.u8(..10) == 0 => format!("{value:03}"),
        _ => value.to_string(),
    }
}

fn days(rng: &mut Rng, item: impl Fn(&mut Rng) -> String) -> String {
    match rng.u8(..6) {
        0..=1 => "*".to_string(),
        2 => "?".to_string(),
        _ => list(rng, item),
    }
}

fn day_of_month(rng: &mut Rng) -> String {
    match rng.u8(..10) {
        0 => ["L", "l"][rng.usize(..2)].to_string(),
        1 => format!("L-{}", rng.u32(0..=30)),
        2 => ["LW", "lw", "Lw"][rng.usize(..3)].to_string(),
        3 => format!("L-{}W", rng.u32(0..=30)),
        4 => format!("{}{}", rng.u32(1..=31), ["W", "w"][rng.usize(..2)]),
        _ => item_of_days(rng, 1, 31, &[]),
    }
}

fn day_of_week(rng: &mut Rng) -> String {
    let day = value(rng, 0, 7, &WEEKDAYS);
    match rng.u8(..8) {
        0 => format!("{day}L"),
        1 => format!("L{}", rng.u32(0..=7)),
        2..=3 => format!("{day}#{}", rng.u32(1..=5)),
        _ => item_of_days(rng, 0, 7, &WEEKDAYS),
    }
}

/// Fewer `*`, which would hide what stands beside them.
fn item_of_days(rng: &mut Rng, min: u32, max: u32, names: &[&str]) -> String {
    loop {
        let item = item(rng, min, max, names, true);
        if item != "*" || rng.u8(..4) == 0 {
            return item;
        }
    }
}

fn years(rng: &mut Rng) -> String {
    list(rng, |rng| {
        loop {
            let item = match rng.bool() {
                true => rng.u32(2000..2060).to_string(),
                false => item(rng, 1970, 2099, &[], false),
            };
            if !item.starts_with('*') {
                return item;
            }
        }
    })
}
