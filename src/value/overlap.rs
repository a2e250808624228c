//! [`Overlap`]: what a recurring job does if its next run is due while one goes on.

/// What a recurring job does if its next run is due while an attempt goes on:
/// [`Schedule::overlap`](crate::Schedule::overlap). A job has one attempt at a time, with each
/// of these.
///
/// ```
/// use std::time::Duration;
/// use jobber::{JobStatus, Overlap, testing::Simulation};
///
/// let mut sim = Simulation::new();
/// let minute = Duration::from_secs(60);
/// let hangs = sim.app().task("hangs", std::future::pending::<()>).register()?;
/// let job = hangs.schedule(()).overlap(Overlap::CancelRunning).every(minute).block_on()?;
/// sim.advance(minute * 3);
/// let run = job.last_run().unwrap();
/// assert_eq!((run.number, run.status), (2, JobStatus::Cancelled));
/// assert_eq!(job.status(), JobStatus::Running);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Overlap {
    /// The next run waits until the attempt has ended. Then the
    /// [misfire policy](crate::Misfire) decides about the times that have passed.
    #[default]
    Wait,
    /// The attempt is aborted when the next run is due, as [`Job::abort`](crate::Job::abort) does:
    /// the future of an async task is dropped; for a blocking task the
    /// [`StopToken`](crate::StopToken) is set, and the next run waits until the function has
    /// returned. The run that was cut off has the status
    /// [`Cancelled`](crate::JobStatus::Cancelled) and the error
    /// [`JobError::Overlapped`](crate::JobError::Overlapped). It counts as a run, but neither
    /// as a failure nor as a success, and is not retried. A retry that would be due when the next
    /// run is, or later, is not made: its run has failed.
    ///
    /// - The next run is that of the first time after the start of the attempt. Earlier times
    ///   that have not run are left out, whatever the [misfire policy](crate::Misfire).
    /// - The attempt is cut off at that time; [jitter](crate::Schedule::jitter) and
    ///   [limits](crate::TaskBuilder::limit) may make the next run start later. A run that was
    ///   [moved](crate::Job::move_to) cuts off at its new time.
    /// - While the job is paused nothing is cut off, and if no run follows: after
    ///   [`cancel`](crate::Job::cancel), the last run, or a stop of the app.
    /// - An extra run ([`Job::run_now`](crate::Job::run_now)) is cut off like another. To ask for
    ///   one cuts off nothing.
    /// - A [replacement](crate::Schedule::replace) during an attempt decides: by its times, if it
    ///   has this option.
    CancelRunning,
}
