//! [`Shortened`]: user text inside an error message.

use std::fmt;

/// Displays a text on one line: control characters are escaped, and the text is cut after
/// 40 characters.
pub(super) struct Shortened<'a>(pub(super) &'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_CHARS: usize = 40;
        let mut rest = self.0.chars();
        for c in rest.by_ref().take(MAX_CHARS) {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        f.write_str(if rest.next().is_some() { "…" } else { "" })
    }
}

/// Displays a [`Shortened`] text between backquotes.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", Shortened(self.0))
    }
}
