//! The command line.

use std::path::PathBuf;

use crate::peers::Peer;

/// The tables, in the order in which they are shown.
pub const TABLES: [&str; 11] = [
    "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "w10", "w11",
];

pub const HELP: &str = "\
jobber beside its peers: the same work, interleaved in one run.

cargo run --release -- [WORK]... [OPTION]...

Works (all, if none is named):
  w1   schedule a great many jobs in the next hour
  w2   cancel them again
  w3   a great many due at the same instant
  w4   lateness of single jobs
  w5   idle, with a million pending
  w6   recurring each second
  w7   push one and wait for it
  w8   cron expressions
  w9   durable jobs, beside raw SQLite
  w10  restore durable jobs, beside reading their rows
  w11  due jobs under a limit, beside a semaphore in the task

Options:
  --only PEER,..     these peers only; a ratio needs its base among them
  --rounds N         N rounds of each work, instead of its own number
  --quick            a tenth of the sizes, to try it out
  --dir PATH         a directory on the disk to measure w9 and w10 on
  --jobify PYTHON    a Python interpreter that has the package jobify
  --help             this text";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Empty: all.
    pub tables: Vec<String>,
    /// Empty: all.
    pub only: Vec<Peer>,
    pub rounds: Option<usize>,
    pub quick: bool,
    pub dir: Option<PathBuf>,
    pub jobify: Option<PathBuf>,
}

#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Run(Options),
    /// What the program asks of itself: one work, one peer, once.
    Sample {
        work: String,
        peer: Peer,
        args: Vec<String>,
    },
}

pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut args = args.into_iter();
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let mut value = |what: &str| args.next().ok_or(format!("{arg} needs {what} behind it"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--sample" => {
                let work = value("a work")?;
                let peer = value("a peer")?.parse()?;
                let args = args.collect();
                return Ok(Command::Sample { work, peer, args });
            }
            "--only" => {
                for name in value("names of peers")?.split(',') {
                    options.only.push(name.trim().parse()?);
                }
            }
            "--rounds" => {
                let text = value("a number")?;
                let rounds = text.parse().ok().filter(|rounds| (1..=99).contains(rounds));
                options.rounds =
                    Some(rounds.ok_or(format!("--rounds {text}: it is to be from 1 to 99"))?);
            }
            "--quick" => options.quick = true,
            "--dir" => options.dir = Some(value("a directory")?.into()),
            "--jobify" => options.jobify = Some(value("a Python interpreter")?.into()),
            table if TABLES.contains(&table) => options.tables.push(table.into()),
            _ => {
                return Err(format!(
                    "{arg} is neither a work ({}) nor an option (--only, --rounds, --quick, \
                     --dir, --jobify, --help)",
                    TABLES.join(", ")
                ));
            }
        }
    }
    if options.only.contains(&Peer::Jobify) && options.jobify.is_none() {
        return Err("--only jobify needs --jobify PYTHON".into());
    }
    Ok(Command::Run(options))
}

impl Options {
    pub fn shows(&self, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|name| name == table)
    }

    pub fn measures(&self, peer: Peer) -> bool {
        let asked = self.only.is_empty() || self.only.contains(&peer);
        asked && (peer != Peer::Jobify || self.jobify.is_some())
    }

    /// A size, or a tenth of it.
    pub fn size(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Command, String> {
        parse(text.split_whitespace().map(String::from))
    }

    fn options(text: &str) -> Options {
        match parsed(text) {
            Ok(Command::Run(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_is_run_by_default() {
        let all = options("");
        assert!(TABLES.iter().all(|table| all.shows(table)));
        assert!(all.measures(Peer::Tokio));
        assert_eq!(all.size(1_000), 1_000);
    }

    #[test]
    fn a_part_can_be_named() {
        let part = options("w3 w10 --only smol,jobber --rounds 2 --quick");
        assert!(part.shows("w3") && part.shows("w10") && !part.shows("w1"));
        assert!(part.measures(Peer::Smol) && !part.measures(Peer::Tokio));
        assert_eq!((part.rounds, part.size(1_000)), (Some(2), 100));
    }

    #[test]
    fn jobify_is_measured_only_by_an_interpreter() {
        assert!(!options("").measures(Peer::Jobify));
        assert!(options("--jobify python3").measures(Peer::Jobify));
        assert!(parsed("--only jobify").unwrap_err().contains("PYTHON"));
    }

    #[test]
    fn a_sample_takes_the_rest() {
        let sample = parsed("--sample hold smol 1000 2").unwrap();
        let args = vec!["1000".to_string(), "2".to_string()];
        let (work, peer) = ("hold".to_string(), Peer::Smol);
        assert_eq!(sample, Command::Sample { work, peer, args });
    }

    #[test]
    fn an_error_says_what_is_allowed() {
        assert!(parsed("w12").unwrap_err().contains("w11"));
        assert!(parsed("--only celery").unwrap_err().contains("delay-queue"));
        assert!(parsed("--rounds 0").unwrap_err().contains("1 to 99"));
        assert!(parsed("--rounds").unwrap_err().contains("needs a number"));
        assert_eq!(parsed("w1 --help"), Ok(Command::Help));
    }
}
