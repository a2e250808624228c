//! Tables of text.

use crate::args::Options;
use crate::peers::Peer;
use crate::runner::Outcome;
use crate::stats::{Figure, ratio};
use crate::work::{Goal, Limit, Table, Work};

/// What became of each case and peer, round by round.
pub type Outcomes = Vec<Vec<(Peer, Vec<Outcome>)>>;

pub fn print(table: &Table, work: &Work, outcomes: &Outcomes, options: &Options) {
    println!("\n{}  {}", table.name.to_uppercase(), table.title);
    let mut head = vec![String::new(), "peer".to_string()];
    head.extend(table.columns.iter().map(|column| column.title.to_string()));
    head.extend(table.ratios.iter().map(|ratio| ratio.title.to_string()));
    head.push("goal".into());
    let mut lines = vec![head];
    let mut failures = Vec::new();
    for (at, (case, peers)) in work.cases.iter().zip(outcomes).enumerate() {
        let mut label = case.label.as_str();
        for (peer, rounds) in peers {
            let Some(mut line) = line(table, outcomes, at, *peer, rounds, &mut failures) else {
                continue;
            };
            line.insert(0, std::mem::take(&mut label).to_string());
            lines.push(line);
        }
    }
    print_aligned(&lines);
    for failure in failures {
        println!("  ! {failure}");
    }
    for note in &table.notes {
        println!("  {note}");
    }
    if options.quick && !table.goals.is_empty() {
        println!("  The goals are meant for the full sizes.");
    }
}

/// `None` if the case has nothing for this table.
fn line(
    table: &Table,
    outcomes: &Outcomes,
    case: usize,
    peer: Peer,
    rounds: &[Outcome],
    failures: &mut Vec<String>,
) -> Option<Vec<String>> {
    let mut line = vec![peer.to_string()];
    let mut found = false;
    for column in &table.columns {
        let figures = rounds
            .iter()
            .filter_map(|round| round.figure(column.figure));
        let figure = Figure::of(figures.collect());
        found |= figure.is_some();
        line.push(figure.map_or("-".into(), |figure| show(figure, column.digits)));
    }
    let failed: Vec<&str> = rounds.iter().filter_map(Outcome::failure).collect();
    if !found && failed.is_empty() {
        return None;
    }
    if let Some(failure) = failed.first() {
        let (failed, all) = (failed.len(), rounds.len());
        failures.push(format!(
            "{peer} failed in {failed} of {all} rounds: {failure}"
        ));
        line[0] = format!("{peer} !");
    }
    for column in &table.ratios {
        let ratio = ratio_between(outcomes, column.figure, (case, peer), (case, column.base));
        line.push(ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")));
    }
    let goals = table.goals.iter();
    let goals: Vec<String> = goals
        .filter(|goal| (goal.case, goal.peer) == (case, peer))
        .filter_map(|goal| verdict(goal, outcomes, rounds))
        .collect();
    line.push(goals.join(", "));
    Some(line)
}

fn verdict(goal: &Goal, outcomes: &Outcomes, rounds: &[Outcome]) -> Option<String> {
    let (value, digits) = match goal.base {
        Some(base) => {
            let own = (goal.case, goal.peer);
            (ratio_between(outcomes, goal.figure, own, base)?, 2)
        }
        None => {
            let figures = rounds.iter().filter_map(|round| round.figure(goal.figure));
            (Figure::of(figures.collect())?.median, 0)
        }
    };
    let (sign, limit, reached) = match goal.limit {
        Limit::AtMost(limit) => ("<=", limit, value <= limit),
        Limit::AtLeast(limit) => (">=", limit, value >= limit),
    };
    let verdict = if reached { "ok" } else { "missed" };
    let title = goal.title;
    Some(if matches!(goal.limit, Limit::AtMost(0.0)) {
        format!("{title} {value:.0}: {verdict}")
    } else {
        format!("{title} {value:.digits$} {sign} {limit}: {verdict}")
    })
}

fn ratio_between(
    outcomes: &Outcomes,
    figure: &str,
    own: (usize, Peer),
    base: (usize, Peer),
) -> Option<f64> {
    let figures = |(case, peer): (usize, Peer)| -> Option<Vec<Option<f64>>> {
        let (_, rounds) = outcomes
            .get(case)?
            .iter()
            .find(|(other, _)| *other == peer)?;
        Some(rounds.iter().map(|round| round.figure(figure)).collect())
    };
    ratio(&figures(own)?, &figures(base)?)
}

fn show(figure: Figure, digits: usize) -> String {
    let median = number(figure.median, digits);
    if figure.least == figure.most {
        return median;
    }
    let (least, most) = (number(figure.least, digits), number(figure.most, digits));
    format!("{median} ({least}-{most})")
}

/// With a comma between thousands.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

/// The first two columns and the last flush left, figures flush right.
fn print_aligned(lines: &[Vec<String>]) {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let lengths = lines.iter().map(|line| line[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            text += &if column < 2 || column + 1 == columns {
                format!("  {cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
        }
        println!("{}", text.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(number(1_000_000.4, 0), "1,000,000");
        assert_eq!(number(-1234.56, 1), "-1,234.6");
        assert_eq!(number(0.04, 2), "0.04");
    }
}
