//! [`UnresolvedReason`]: a stored job cannot be run.

use std::error::Error;

use thiserror::Error;

use crate::sync::primitives::Arc;
use crate::value::error::boxed::BoxError;
use crate::value::error::cron::CronError;
use crate::value::error::zone::ZoneError;
use crate::value::escaped::Escaped;

/// The reason why a stored job cannot be run (see
/// [`Jobber::unresolved`](crate::Jobber::unresolved)).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum UnresolvedReason {
    /// No registered task has the job's task name, as its name or as an alias.
    #[error("no registered task has this name or alias")]
    UnknownTask,
    /// The task with the job's task name is not durable.
    #[error("the task is not durable: add .durable()")]
    NotDurable,
    /// The stored arguments cannot be deserialized as the task's arguments. The message
    /// contains the message of the deserializer.
    #[error("the stored arguments do not match the task's: {}", Escaped(.0))]
    Arguments(Arc<dyn Error + Send + Sync>),
    /// The task does not have the `Codec` that has written the arguments or the checkpoint of the job.
    /// Add that codec to the task again.
    #[error(
        "the codec `{}` has written the job, and {}",
        Escaped(.found),
        .own.as_ref().map_or("the task has none".into(), |own| format!("the task has the codec `{own}`"))
    )]
    OtherCodec {
        /// The name of the codec that has written it.
        found: Arc<str>,
        /// The name of the task's codec. `None` if it has none, and reads JSON.
        own: Option<Arc<str>>,
    },
    /// The record has another version of the format: another version of jobber wrote it.
    #[error("the record has version {found}, but this version of jobber reads version {known}")]
    OtherVersion {
        /// The version of the record.
        found: u32,
        /// The version that this version of jobber reads.
        known: u32,
    },
    /// The stored cron expression is invalid.
    #[error(transparent)]
    Cron(CronError),
    /// The stored time zone is not known.
    #[error(transparent)]
    Zone(ZoneError),
    /// The calendar that the stored job excludes is not registered.
    #[error("no calendar has the name `{}`: register it with JobberBuilder::calendar", Escaped(.name))]
    UnknownCalendar {
        /// The name of the calendar.
        name: String,
    },
    /// A process has ended during this many attempts of the job in a row, without a shutdown:
    /// the job may be what ends it. It is a live job that does not start. It is kept until it is
    /// released, cancelled or discarded.
    #[error(
        "the process ended during {interruptions} of its attempts in a row: the job is set aside"
    )]
    SetAside {
        /// How often in a row a process has ended during an attempt.
        interruptions: u32,
    },
    /// Another part of the record is invalid. The value says which.
    #[error("the record is invalid: {}", Escaped(.0))]
    Unreadable(String),
}

impl UnresolvedReason {
    pub(crate) fn arguments(error: BoxError) -> Self {
        Self::Arguments(Arc::from(error))
    }
}
