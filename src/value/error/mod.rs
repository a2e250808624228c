//! The errors of the crate: one enum for each operation.

mod boxed;
mod calendar_interval;
mod cron;
mod declare;
mod exclusion;
mod job;
mod quoted;
mod register;
mod retry;
mod schedule;
mod start;
mod state;
mod status;
mod storage;
mod task;
mod unresolved;
mod zone;

pub use self::boxed::BoxError;
pub use self::calendar_interval::CalendarIntervalError;
pub use self::cron::{CronError, CronField, CronReplacement};
pub use self::declare::DeclareError;
pub use self::exclusion::ExclusionError;
pub use self::job::{ExecutorDropped, JobError};
pub use self::register::RegisterError;
pub(crate) use self::register::check_task_name;
pub use self::retry::RetryError;
pub(crate) use self::schedule::check_id;
pub use self::schedule::{InvalidId, ScheduleError};
pub use self::start::StartError;
pub use self::state::MissingState;
pub use self::status::ParseStatusError;
pub use self::storage::StorageError;
pub use self::task::TaskError;
pub use self::unresolved::UnresolvedReason;
pub use self::zone::{ZoneError, ZoneHint};
