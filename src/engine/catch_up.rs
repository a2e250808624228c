//! Jobs that were due while the process was away: some at a time have their
//! turn.
//!
//! A thousand jobs that open a connection each are no trouble over an hour, and
//! are when they come at once because nobody was there for that hour. So a bounded
//! number of them is in its first attempt at a time; when one ends, the next has
//! its turn. An attempt may take for ever, and so more of them start after some
//! time in any case.

use std::collections::VecDeque;

use crate::job::live_job::LiveJob;
use crate::sync::primitives::Arc;
use crate::value::time_units::WallNanos;

/// So many have their turn at a time.
pub(crate) const AT_A_TIME: usize = 256;

/// After so long, as many more start, though others have not ended.
pub(crate) const PATIENCE: i64 = 5 * 1_000_000_000;

#[derive(Default)]
pub(crate) struct CatchUp {
    /// Not sorted yet.
    pub(crate) found: Vec<(WallNanos, Arc<dyn LiveJob>)>,
    /// In the order in which they were due.
    pub(crate) waiting: VecDeque<Arc<dyn LiveJob>>,
    /// How many have their turn. More than [`AT_A_TIME`], if some took it that
    /// had waited for too long.
    pub(crate) turns: usize,
}

impl CatchUp {
    /// One was due when it was restored. To be followed by
    /// [`Hub::catch_up`].
    pub(crate) fn found(&mut self, job: Arc<dyn LiveJob>) {
        self.found.push((job.exec_at_wall(), job));
    }
}
