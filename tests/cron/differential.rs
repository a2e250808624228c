//! The library against the oracle, on random expressions and starts.
//!
//! `JOBBER_CRON_CASES` sets the number of cases, and `JOBBER_CRON_SEED` the first seed.

use fastrand::Rng;

use jobber::{Zone, cron::Cron};

use crate::oracle::{Oracle, random};

use time::{OffsetDateTime, UtcOffset};

const DAY: i64 = 86_400;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn rng() -> Rng {
    Rng::with_seed(setting("JOBBER_CRON_SEED", 1))
}

/// Mostly in this century, sometimes anywhere in the calendar.
fn random_start(rng: &mut Rng) -> i64 {
    match rng.u8(..8) {
        0 => rng.i64(-377_000_000_000..252_000_000_000),
        1 => rng.i64(0..4_200_000_000) / DAY * DAY,
        2 => rng.i64(0..4_200_000_000) / DAY * DAY - 1,
        _ => rng.i64(900_000_000..4_200_000_000),
    }
}

fn instant(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// For how many days after the start the oracle looks for a match.
fn horizon(rng: &mut Rng) -> i64 {
    if rng.u8(..50) == 0 { 12_000 } else { 800 }
}

#[test]
fn next_after_gives_the_first_match_that_trying_every_second_finds() {
    let mut rng = rng();
    let cases = setting("JOBBER_CRON_CASES", 20_000);
    let mut answered = 0;
    for _ in 0..cases {
        let text = random::expression(&mut rng);
        let cron = Cron::parse(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let oracle = Oracle::parse(&text).unwrap_or_else(|| panic!("{text:?}: oracle"));
        let offset = i64::from(if rng.bool() {
            0
        } else {
            rng.i32(-50_000..50_000)
        });
        let zone =
            Zone::fixed(UtcOffset::from_whole_seconds(i32::try_from(offset).unwrap()).unwrap());
        let start = random_start(&mut rng);
        let days = horizon(&mut rng);

        let next = cron.next_after(instant(start), &zone);
        let wall = next.map(|time| time.unix_timestamp() + offset);
        let expected = oracle.next_after(start + offset, days);
        match expected {
            Some(_) => {
                assert_eq!(wall, expected, "{text:?} after {start} at offset {offset}");
                answered += 1;
            }
            None => {
                let last_day_tried = (start + offset).div_euclid(DAY) + days;
                if let Some(wall) = wall {
                    assert!(
                        oracle.matches(wall),
                        "{text:?} after {start}: {wall} does not match"
                    );
                    assert!(
                        wall.div_euclid(DAY) > last_day_tried,
                        "{text:?} after {start}"
                    );
                }
            }
        }
        if let Some(next) = next {
            assert_eq!(i64::from(next.offset().whole_seconds()), offset, "{text:?}");
        }
    }
    assert!(
        answered * 2 > cases,
        "only {answered} of {cases} were answered"
    );
}

#[test]
fn each_extra_alone_is_due_as_in_the_oracle_from_every_day_of_two_years() {
    let days =
        (0..=31).flat_map(|day| [format!("L-{day}"), format!("L-{day}W"), format!("{day}W")]);
    let names = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let weekdays = names.into_iter().flat_map(|name| {
        let nth = (1..=5).map(move |nth| format!("{name}#{nth}"));
        nth.chain([format!("{name}L")])
    });
    let extras = days
        .map(|day| format!("0 0 {day} * ?"))
        .chain(weekdays.map(|weekday| format!("0 0 ? * {weekday}")));
    let mut tried = 0;
    for text in extras {
        let Some(oracle) = Oracle::parse(&text) else {
            assert!(Cron::parse(&text).is_err(), "{text}");
            continue;
        };
        let cron = Cron::parse(&text).unwrap();
        // 2027 and 2028, a leap year.
        for day in 20_819..20_819 + 731 {
            let start = day * DAY - 1;
            let next = cron.next_after(instant(start), &Zone::UTC);
            let expected = oracle.next_after(start, 3000);
            assert_eq!(
                next.map(OffsetDateTime::unix_timestamp),
                expected,
                "{text} after {start}"
            );
        }
        tried += 1;
    }
    assert_eq!(tried, 31 + 31 + 31 + 7 * 6);
}

#[test]
fn an_expression_that_is_never_due_differs_from_a_rare_one() {
    // Four centuries contain every combination of dates and weekdays.
    const ALL_CALENDARS: i64 = 146_097;
    let mut rng = rng();
    let days = [
        "29", "30", "31", "29W", "30W", "31W", "L-27", "L-28", "L-29", "L-30", "L-28W", "L-29W",
    ];
    let weekdays = ["*", "*", "?", "MON#5", "7#5"];
    let months = ["2", "2", "FEB", "4", "6,9", "NOV", "1-12"];
    let mut never = 0;
    for _ in 0..setting("JOBBER_CRON_CASES", 20_000) / 400 {
        let text = format!(
            "0 0 {} {} {}",
            days[rng.usize(..days.len())],
            months[rng.usize(..months.len())],
            weekdays[rng.usize(..weekdays.len())],
        );
        let start = rng.i64(0..4_200_000_000);
        let next = Cron::parse(&text)
            .unwrap()
            .next_after(instant(start), &Zone::UTC);
        let expected = Oracle::parse(&text)
            .unwrap()
            .next_after(start, ALL_CALENDARS);
        assert_eq!(
            next.map(OffsetDateTime::unix_timestamp),
            expected,
            "{text} after {start}"
        );
        never += u32::from(next.is_none());
    }
    assert!(never > 0, "no expression was one that never fires");
}

#[test]
fn the_library_accepts_the_same_texts_as_the_oracle() {
    let mut rng = rng();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..setting("JOBBER_CRON_CASES", 20_000) * 2 {
        let text = random::broken_expression(&mut rng);
        let oracle = Oracle::parse(&text).is_some();
        match Cron::parse(&text) {
            Ok(_) => {
                assert!(oracle, "{text:?} was accepted");
                accepted += 1;
            }
            Err(error) => {
                assert!(!oracle, "{text:?} was refused: {error}");
                assert_eq!(
                    text.get(error.span()),
                    Some(error.text()),
                    "{text:?}: {error}"
                );
                refused += 1;
            }
        }
    }
    assert!(
        accepted > 1000 && refused > 1000,
        "{accepted} and {refused}"
    );
}

#[test]
fn upcoming_times_increase_and_each_is_the_next_after_the_one_before() {
    let mut rng = rng();
    for _ in 0..setting("JOBBER_CRON_CASES", 20_000) / 20 {
        let text = random::expression(&mut rng);
        let cron = Cron::parse(&text).unwrap();
        let oracle = Oracle::parse(&text).unwrap();
        let start = rng.i64(900_000_000..2_000_000_000);
        let mut last = start;
        for time in cron.upcoming(instant(start), &Zone::UTC).take(20) {
            let next = time.unix_timestamp();
            assert!(next > last, "{text:?}: {next} after {last}");
            assert!(oracle.matches(next), "{text:?}: {next}");
            // Where two times are close, the oracle finds none between them.
            if next - last < 40 * DAY {
                assert_eq!(
                    oracle.next_after(last, 41),
                    Some(next),
                    "{text:?} after {last}"
                );
            }
            last = next;
        }
    }
}

#[test]
fn an_expression_prints_and_parses_to_the_same_meaning() {
    let mut rng = rng();
    for _ in 0..setting("JOBBER_CRON_CASES", 20_000) / 4 {
        let text = random::expression(&mut rng);
        let cron = Cron::parse(&text).unwrap();
        let printed = cron.to_string();
        assert_eq!(printed, text);
        let again: Cron = printed.parse().unwrap();
        assert_eq!(again, cron);
        let start = instant(random_start(&mut rng));
        assert_eq!(
            again.next_after(start, &Zone::UTC),
            cron.next_after(start, &Zone::UTC),
            "{text:?}"
        );
        assert!(
            !cron.describe().contains('*'),
            "{text:?}: {}",
            cron.describe()
        );
    }
}

#[test]
fn a_fraction_of_a_second_does_not_hide_the_next_second() {
    let cron = Cron::parse("* * * * * * *").unwrap();
    let mut rng = rng();
    for _ in 0..1000 {
        let second = random_start(&mut rng);
        let start = instant(second) + time::Duration::nanoseconds(rng.i64(0..1_000_000_000));
        assert_eq!(
            cron.next_after(start, &Zone::UTC),
            Some(instant(second + 1))
        );
    }
}
