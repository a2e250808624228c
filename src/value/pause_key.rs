//! [`PauseKey`]: what is paused as a whole.

use std::fmt;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::sync::primitives::Arc;
use crate::value::escaped::Escaped;

/// What is paused as a whole: the app, a group or a task.
///
/// ```
/// use jobber::PauseKey;
///
/// let key = PauseKey::Task("mail".into());
/// assert_eq!(key.to_string(), "the task mail");
/// assert_eq!(PauseKey::of(key.kind(), key.name()), Some(key));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PauseKey {
    /// The app.
    App,
    /// The group of this name. The name begins with those of the groups around it.
    Group(Arc<str>),
    /// The task of this name.
    Task(Arc<str>),
}

impl PauseKey {
    /// What it is: `app`, `group` or `task`.
    pub fn kind(&self) -> &'static str {
        match self {
            PauseKey::App => "app",
            PauseKey::Group(_) => "group",
            PauseKey::Task(_) => "task",
        }
    }

    /// The name of the group or the task. Empty for the app.
    pub fn name(&self) -> &str {
        match self {
            PauseKey::App => "",
            PauseKey::Group(name) | PauseKey::Task(name) => name,
        }
    }

    /// The key of this [`kind`](PauseKey::kind) and [`name`](PauseKey::name). `None` if the kind
    /// is unknown.
    pub fn of(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "app" => Some(PauseKey::App),
            "group" => Some(PauseKey::Group(name.into())),
            "task" => Some(PauseKey::Task(name.into())),
            _ => None,
        }
    }
}

impl fmt::Display for PauseKey {
    /// ```
    /// assert_eq!(jobber::PauseKey::App.to_string(), "the app");
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PauseKey::App => f.write_str("the app"),
            PauseKey::Group(name) => write!(f, "the group {}", Escaped(name)),
            PauseKey::Task(name) => write!(f, "the task {}", Escaped(name)),
        }
    }
}
