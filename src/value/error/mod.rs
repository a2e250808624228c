//! The errors of the crate: one enum for each operation.

mod boxed;
mod cron;
mod operations;
mod storage;

pub use self::boxed::BoxError;
pub use self::cron::{CronError, CronField, ZoneError};
pub use self::operations::{
    ExecutorDropped, InvalidId, JobError, MissingState, ParseStatusError, RegisterError,
    ScheduleError, StartError,
};
pub(crate) use self::operations::{check_id, check_task_name};
pub use self::storage::{StorageError, UnresolvedReason};
