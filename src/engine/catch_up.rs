//! [`CatchUp`]: the jobs that were overdue when they were loaded.
//!
//! Jobs that were due over an hour in which no process ran would otherwise start all at
//! once, and could overload what they use. So at most [`AT_A_TIME`] of them make their
//! first attempt at the same time: they "have a turn". When an attempt ends, the next job
//! gets a turn. Because an attempt may never end, a job also starts when it has waited for
//! a multiple of [`PATIENCE`].
//!
//! A job whose attempt was interrupted by the end of a process comes after the others. From
//! the second interruption on it makes its attempt alone, so that no sound job is interrupted
//! with the one that ends the process.

use std::collections::VecDeque;

use crate::job::live_job::LiveJob;
use crate::sync::primitives::Arc;
use crate::value::time_units::WallNanos;

/// How many jobs have a turn at the same time.
pub(crate) const AT_A_TIME: usize = 256;

/// The time in nanoseconds after which the next [`AT_A_TIME`] jobs start, even if no attempt
/// has ended.
pub(crate) const PATIENCE: i64 = 5 * 1_000_000_000;

/// From this number of interruptions on, a job makes its attempt alone.
pub(crate) const ALONE: u32 = 2;

#[derive(Default)]
pub(crate) struct CatchUp {
    /// The jobs that were found since the last call of `Hub::catch_up`, with their
    /// interruptions and their due times, in any order. After adding one, that method must be called.
    pub(crate) found: Vec<(u32, WallNanos, Arc<dyn LiveJob>)>,
    /// The jobs that wait for a turn. Those with fewer interruptions come first, and among them
    /// those that were due first. If the first value is set, the job makes its attempt alone.
    pub(crate) waiting: VecDeque<(bool, Arc<dyn LiveJob>)>,
    /// How many jobs have a turn. This is more than [`AT_A_TIME`] if some jobs started
    /// because they had waited for too long.
    pub(crate) turns: usize,
}
