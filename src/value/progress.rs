//! [`Progress`]: what an attempt has reported.

use std::fmt;

#[cfg(feature = "serde")]
use serde::Serialize;
use time::OffsetDateTime;

use crate::sync::primitives::Arc;
use crate::value::escaped::Escaped;

/// The longest text that is kept, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 1_024;

/// How much of its work an attempt has reported as done.
/// [`JobContext::progress`](crate::JobContext::progress) reports it, and
/// [`Job::progress`](crate::Job::progress) returns the latest.
///
/// Its `Display` is the percentage and the text, in one line.
///
/// ```
/// # let mut sim = jobber::testing::Simulation::new();
/// use jobber::JobContext;
///
/// let import = sim.app().task("import", async |cx: JobContext| cx.progress(40, "4 of 10 files"));
/// let job = import.register()?.schedule(()).push().block_on()?;
/// sim.run_until_stalled();
/// let progress = job.progress().unwrap();
/// assert_eq!(progress.percent, 40);
/// assert_eq!(progress.to_string(), "40%: 4 of 10 files");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
#[non_exhaustive]
pub struct Progress {
    /// From 0 to 100.
    pub percent: u8,
    /// What the attempt reports beside that. May be empty.
    pub text: Arc<str>,
    /// When it was reported, by the wall clock, in the zone of the job.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub at: OffsetDateTime,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.is_empty() {
            true => write!(f, "{}%", self.percent),
            false => write!(f, "{}%: {}", self.percent, Escaped(&self.text)),
        }
    }
}

/// The text, cut to [`MAX_TEXT_BYTES`].
pub(crate) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(shortened("short"), "short");
        let umlauts = format!("x{}", "ü".repeat(1_000));
        assert_eq!(shortened(&umlauts).len(), MAX_TEXT_BYTES - 1);
        let exact = "y".repeat(MAX_TEXT_BYTES);
        assert_eq!(shortened(&exact), exact);
    }
}
