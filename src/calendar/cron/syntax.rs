//! [`ParsedExpression`]: the syntax tree of a cron expression.

use crate::calendar::cron::fields::{bounds, cycle};
use crate::value::error::CronField;

/// The names of the days of the week, in the order of their numbers.
pub(crate) const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The name of a day of the week, for which 7 is Sunday too.
pub(crate) fn weekday_name(day: u16) -> &'static str {
    WEEKDAYS
        .get(usize::from(day % 7))
        .copied()
        .unwrap_or_default()
}

/// The fields of an expression.
#[derive(Debug)]
pub(crate) struct ParsedExpression {
    pub(crate) seconds: Option<Field>,
    pub(crate) minutes: Field,
    pub(crate) hours: Field,
    pub(crate) days_of_month: Field,
    pub(crate) months: Field,
    pub(crate) days_of_week: Field,
    pub(crate) years: Option<Field>,
}

/// The content of one field: a list of items.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) items: Vec<Item>,
    /// Whether the field is just `*` or `?`.
    pub(crate) unrestricted: bool,
    /// Whether the text of the field begins with `*`.
    pub(crate) starred: bool,
}

/// One item of a field. All variants but `Values` are *special items*, which Quartz
/// introduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Values(Values),
    /// `L` and `L-n`: the day that is `before` days before the last day of the month.
    Last {
        before: u16,
    },
    /// `LW` and `L-nW`: the weekday nearest to that day.
    LastWeekday {
        before: u16,
    },
    /// `nW`: the weekday nearest to a day of the month.
    NearestWeekday {
        day: u16,
    },
    /// `FRIL`: the last such weekday of the month.
    LastOf {
        weekday: u16,
    },
    /// `MON#2`: the n-th such weekday of the month.
    Nth {
        weekday: u16,
        nth: u16,
    },
}

impl Item {
    /// The canonical text of a special item, with weekdays by name. `None` for values.
    pub(crate) fn special_text(self) -> Option<String> {
        Some(match self {
            Item::Values(_) => return None,
            Item::Last { before: 0 } => "L".to_owned(),
            Item::Last { before } => format!("L-{before}"),
            Item::LastWeekday { before: 0 } => "LW".to_owned(),
            Item::LastWeekday { before } => format!("L-{before}W"),
            Item::NearestWeekday { day } => format!("{day}W"),
            Item::LastOf { weekday } => format!("{}L", weekday_name(weekday)),
            Item::Nth { weekday, nth } => format!("{}#{nth}", weekday_name(weekday)),
        })
    }
}

/// Every `step`-th value from `first` to `last`. If `last` is less than `first`, the values
/// continue from the field's least value after its greatest. `step` is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) step: u16,
}

impl Values {
    pub(crate) fn iter(self, field: CronField) -> impl Iterator<Item = u16> {
        let (min, _) = bounds(field);
        let cycle = cycle(field);
        let span = if self.first <= self.last {
            self.last - self.first
        } else {
            self.last + cycle - self.first
        };
        (0..=span)
            .step_by(usize::from(self.step))
            .map(move |ahead| min + (self.first - min + ahead) % cycle)
    }
}

impl Field {
    /// The values of all items that are not special.
    pub(crate) fn values(&self, field: CronField) -> impl Iterator<Item = u16> + '_ {
        self.items
            .iter()
            .filter_map(|item| match item {
                Item::Values(values) => Some(*values),
                _ => None,
            })
            .flat_map(move |values| values.iter(field))
    }

    /// The special items.
    pub(crate) fn special_items(&self) -> impl Iterator<Item = Item> + '_ {
        self.items
            .iter()
            .copied()
            .filter(|item| !matches!(item, Item::Values(_)))
    }
}
