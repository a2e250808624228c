//! [`PauseRecord`]: the pause of an app or a task, as a store keeps it.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::sync::primitives::Arc;

/// The pause of an app or of a task, as a [`Storage`](crate::storage::Storage) keeps it. A pause
/// that has ended stays there, so that the next process knows which times it has left out.
///
/// A store returns what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct PauseRecord {
    /// The key: no two pauses of a store have the same.
    pub key: PauseKey,
    /// When the pause began.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub paused_at: OffsetDateTime,
    /// When it ended. `None` while it lasts.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::optional"))]
    pub resumed_at: Option<OffsetDateTime>,
}

/// What is paused: the key of a [`PauseRecord`].
///
/// ```
/// use jobber::storage::PauseKey;
///
/// let key = PauseKey::Task("mail".into());
/// assert_eq!(PauseKey::of(key.kind(), key.name()), Some(key));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PauseKey {
    /// The app.
    App,
    /// The task of this name.
    Task(Arc<str>),
}

impl PauseKey {
    /// What it is: `app` or `task`.
    pub fn kind(&self) -> &'static str {
        match self {
            PauseKey::App => "app",
            PauseKey::Task(_) => "task",
        }
    }

    /// The name of the task. Empty for the app.
    pub fn name(&self) -> &str {
        match self {
            PauseKey::App => "",
            PauseKey::Task(name) => name,
        }
    }

    /// The key of this [`kind`](PauseKey::kind) and [`name`](PauseKey::name). `None` if the kind
    /// is unknown.
    pub fn of(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "app" => Some(PauseKey::App),
            "task" => Some(PauseKey::Task(name.into())),
            _ => None,
        }
    }
}
