//! What a work is made of: the cases that it measures, and the tables that it shows.

use crate::peers::Peer;

/// What a child found: figures by name.
pub type Sample = Vec<(&'static str, f64)>;

/// Cases that are measured in the same rounds, and what is shown of them.
pub struct Work {
    /// The name that a child is asked by.
    pub name: &'static str,
    pub rounds: usize,
    /// Who is there for the picture, and in the first round only.
    pub once: &'static [Peer],
    pub cases: Vec<Case>,
    pub tables: Vec<Table>,
}

/// One size or kind of a work: a group of rows, one for each peer.
pub struct Case {
    pub label: String,
    /// The arguments of the child.
    pub args: Vec<String>,
    pub peers: Vec<Peer>,
}

impl Case {
    pub fn new(label: impl Into<String>, args: &[&dyn ToString], peers: &[Peer]) -> Self {
        Self {
            label: label.into(),
            args: args.iter().map(|arg| arg.to_string()).collect(),
            peers: peers.to_vec(),
        }
    }
}

pub struct Table {
    /// `w1`: what it is asked for by.
    pub name: &'static str,
    pub title: &'static str,
    pub columns: Vec<Column>,
    pub ratios: Vec<Ratio>,
    pub goals: Vec<Goal>,
    /// What is left out and why, and what else must be known to read it.
    pub notes: Vec<&'static str>,
}

pub struct Column {
    pub figure: &'static str,
    pub title: &'static str,
    pub digits: usize,
}

pub const fn column(figure: &'static str, title: &'static str, digits: usize) -> Column {
    Column {
        figure,
        title,
        digits,
    }
}

/// A column of ratios, to a peer in the same case.
pub struct Ratio {
    pub figure: &'static str,
    pub base: Peer,
    pub title: &'static str,
}

/// What a row is to reach.
pub struct Goal {
    pub case: usize,
    pub peer: Peer,
    /// What it is called in the table.
    pub title: &'static str,
    pub figure: &'static str,
    /// The row that it is divided by, if it is a ratio.
    pub base: Option<(usize, Peer)>,
    pub limit: Limit,
}

#[derive(Clone, Copy)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    pub fn figure(case: usize, peer: Peer, title: &'static str, figure: &'static str) -> Self {
        Self {
            case,
            peer,
            title,
            figure,
            base: None,
            limit: Limit::AtMost(0.0),
        }
    }

    /// To a peer in the same case.
    pub fn over(mut self, base: Peer) -> Self {
        self.base = Some((self.case, base));
        self
    }

    /// To the same peer in another case.
    pub fn over_case(mut self, case: usize) -> Self {
        self.base = Some((case, self.peer));
        self
    }

    pub fn at_most(mut self, limit: f64) -> Self {
        self.limit = Limit::AtMost(limit);
        self
    }

    pub fn at_least(mut self, limit: f64) -> Self {
        self.limit = Limit::AtLeast(limit);
        self
    }
}
