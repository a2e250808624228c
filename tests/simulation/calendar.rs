//! The calendars of a program, and which times they exclude, by a second reading.

use jobber::Exclusions;
use time::macros::time;
use time::{Date, Time};

use super::cron::offset_at;
use super::program::Start;

/// The name of the calendar that jobs exclude.
pub const NAME: &str = "c";

/// What a process has under this name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calendar {
    /// The first half of each minute.
    #[default]
    HalfMinutes,
    /// Ten minutes each night.
    Night,
    /// The even minutes.
    EvenMinutes,
    /// Always.
    Ever,
    /// No calendar is registered.
    None,
}

const NIGHT: [Time; 2] = [time!(2:10), time!(2:20)];

impl Calendar {
    pub fn exclusions(self) -> Option<Exclusions> {
        let none = Exclusions::new();
        Some(match self {
            Calendar::HalfMinutes => none.cron("0-29 * * * * * *").expect("it can be read"),
            Calendar::Night => {
                let [from, until] = NIGHT;
                none.times_of_day(from, until).expect("it is a range")
            }
            Calendar::EvenMinutes => none.cron("*/2 * * * *").expect("it can be read"),
            Calendar::Ever => none.dates(Date::MIN, Date::MAX).expect("it is a range"),
            Calendar::None => return None,
        })
    }

    /// `jobber::Exclusions`: "an instant is excluded if a rule matches what local clocks show".
    pub fn excludes(self, wall: i64, zone: Start) -> bool {
        let local = wall.div_euclid(1_000_000_000) + i64::from(offset_at(zone, wall));
        let (minute, second) = (local.div_euclid(60), local.rem_euclid(60));
        match self {
            Calendar::HalfMinutes => second < 30,
            Calendar::Night => (130..140).contains(&minute.rem_euclid(24 * 60)),
            Calendar::EvenMinutes => minute % 2 == 0,
            Calendar::Ever => true,
            Calendar::None => false,
        }
    }

    /// Whether it excludes all times of this expression, also those that a clock change moves.
    /// Only for the expressions of `program.rs`.
    pub fn excludes_all_of(self, text: &str) -> bool {
        let fields: Vec<_> = text.split(' ').collect();
        let (second, minute) = match fields[..] {
            [second, minute, .., _, _, _, _, _] => (second, minute),
            [minute, ..] => ("0", minute),
            [] => return false,
        };
        match self {
            Calendar::HalfMinutes => second == "0",
            Calendar::EvenMinutes => matches!(minute, "30" | "0,30"),
            Calendar::Ever => true,
            Calendar::Night | Calendar::None => false,
        }
    }
}
