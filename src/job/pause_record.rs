//! [`PauseRecord`]: the pause of an app, a group or a task, as a store keeps it.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::value::pause_key::PauseKey;

/// The pause of an app, a group or a task, as a [`Storage`](crate::storage::Storage) keeps it. A pause
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
