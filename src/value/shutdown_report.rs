//! [`ShutdownReport`]: what a shutdown has left.

use crate::value::id::JobId;

/// What a shutdown has left. [`Jobber::shutdown`](crate::Jobber::shutdown) returns it.
///
/// ```
/// use std::time::Duration;
/// use jobber::Jobber;
///
/// let app = Jobber::builder().build()?;
/// app.start().block_on()?;
/// let report = app.shutdown(Duration::from_secs(10)).block_on();
/// if !report.is_complete() {
///     eprintln!("left: {report:?}");
/// }
/// # assert!(report.is_complete());
/// # Ok::<(), jobber::StartError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The ids of the jobs whose attempts still ran when the shutdown returned.
    pub left: Vec<JobId>,
    /// The number of changes that the store does not have: ends of jobs, and next runs. The
    /// next process repeats these runs. If the store is not closed, it may still get some.
    pub unstored: usize,
    /// Whether the store is closed; also `true` if the app has none. If not, another app can't
    /// open it yet: its last commit waits, for example because another program has locked the
    /// file. It is closed when that commit has ended.
    pub is_store_closed: bool,
}

impl ShutdownReport {
    /// Whether nothing was left: no job runs, the store has everything, and it is closed.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// assert!(app.shutdown(std::time::Duration::ZERO).block_on().is_complete());
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn is_complete(&self) -> bool {
        self.left.is_empty() && self.unstored == 0 && self.is_store_closed
    }
}
