//! [`LabelError`]: why a tag or a note is not allowed.

use thiserror::Error;

use crate::sync::primitives::Arc;
use crate::value::escaped::Escaped;

/// Why a tag or a note of a job is not allowed.
///
/// ```
/// # let sim = jobber::testing::Simulation::new();
/// # let hello = sim.app().task("hello", || async {}).register()?;
/// use jobber::{LabelError, ScheduleError};
///
/// let error = hello.schedule(()).tag("").push().block_on().unwrap_err();
/// assert!(matches!(error, ScheduleError::Label(LabelError::Empty { what: "tag" })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LabelError {
    /// A job has more than 16 tags or notes, with those of its task.
    #[error("the job has {found} {what}, but at most {max} are allowed, with those of its task")]
    TooMany {
        /// `tags` or `notes`.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A tag, or the key of a note, is empty.
    #[error("a {what} must not be empty")]
    Empty {
        /// `tag` or `key of a note`.
        what: &'static str,
    },
    /// A tag or the key of a note has more than 64 bytes, or a note more than 1,024.
    #[error("a {what} has {bytes} bytes, but at most {max} are allowed")]
    TooLong {
        /// `tag`, `key of a note` or `note`.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The longest that is allowed.
        max: usize,
    },
    /// A tag, a key or a note contains a control character, such as a newline.
    #[error("the {what} `{}` contains the control character {character:?}, which is not allowed", Escaped(.text))]
    ControlCharacter {
        /// `tag`, `key of a note` or `note`.
        what: &'static str,
        /// The rejected text.
        text: Arc<str>,
        /// The first control character.
        character: char,
    },
}
