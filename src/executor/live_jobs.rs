//! [`LiveJobs`]: the table of jobs, as the runners use it.

use crate::job::live_job::LiveJob;
use crate::sync::primitives::Arc;
use crate::timer::key::Tag;

/// The live jobs of an app.
pub(crate) trait LiveJobs: Send + Sync {
    /// Returns the jobs of these keys, which the timer has
    /// [handed over](crate::registry::table::Table::hand_over). A dead key has no job.
    fn take_handed_over(&self, tags: &[Tag]) -> Vec<Arc<dyn LiveJob>>;

    /// Counts one more job that has finished and is still in its table.
    fn count_finished(&self);

    /// Removes the finished jobs in these slots from their tables, and clears `slots`.
    /// Each of them was [counted](LiveJobs::count_finished).
    fn remove_finished(&self, slots: &mut Vec<u32>);
}
