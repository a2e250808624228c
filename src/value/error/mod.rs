//! The errors of the crate: one enum for each operation.

mod boxed;
mod calendar_interval;
#[cfg(feature = "serde")]
pub(crate) mod checkpoint;
mod cron;
mod declare;
mod ended_job;
mod exclusion;
mod job;
mod label;
mod move_run;
mod quoted;
mod register;
mod retry;
mod schedule;
mod select;
mod start;
mod state;
pub(crate) mod status;
mod storage;
mod task;
mod unresolved;
mod zone;

pub use self::boxed::BoxError;
pub use self::calendar_interval::CalendarIntervalError;
#[cfg(feature = "serde")]
pub use self::checkpoint::CheckpointError;
pub use self::cron::{CronError, CronField, CronReplacement};
pub use self::declare::DeclareError;
pub use self::ended_job::EndedJob;
pub use self::exclusion::ExclusionError;
pub use self::job::{AttemptEnded, ExecutorDropped, JobError, OtherOutcome, TooManySpawned};
pub use self::label::LabelError;
pub use self::move_run::MoveError;
pub use self::register::RegisterError;
pub(crate) use self::register::check_task_name;
pub use self::retry::RetryError;
pub(crate) use self::schedule::check_id;
pub use self::schedule::{InvalidId, ScheduleError};
pub use self::select::SelectError;
pub use self::start::StartError;
pub use self::state::MissingState;
pub use self::status::ParseStatusError;
pub use self::storage::StorageError;
pub use self::task::TaskError;
pub use self::unresolved::UnresolvedReason;
pub use self::zone::{ZoneError, ZoneHint};
