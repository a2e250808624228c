//! [`Escaped`]: a text whose control characters do not reach a terminal.

use std::fmt;

/// Displays a text with its control characters escaped: the file of a store may hold any.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        write!(Escaping(f), "{}", self.0)
    }
}

/// Passes a text on, with its control characters escaped.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some(at) = text.find(char::is_control) {
            let (before, rest) = text.split_at(at);
            self.0.write_str(before)?;
            let mut rest = rest.chars();
            for control in rest.by_ref().take(1) {
                write!(self.0, "{}", control.escape_default())?;
            }
            text = rest.as_str();
        }
        self.0.write_str(text)
    }
}
