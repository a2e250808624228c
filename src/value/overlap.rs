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
    /// The attempt goes on. The times that pass meanwhile are missed, and the
    /// [misfire policy](crate::Misfire) decides about them when the attempt has ended.
    #[default]
    Wait,
    /// The next run cuts off the attempt when it is due, and the job goes on with the next run. The
    /// future of an async task is dropped. For a blocking task the [`StopToken`](crate::StopToken)
    /// is set, and the next run waits until the function has returned. The run that was cut off
    /// has the status [`Cancelled`](crate::JobStatus::Cancelled) and the error
    /// [`JobError::Overlapped`](crate::JobError::Overlapped). It counts as a run, is not retried,
    /// and does not change the number of failures in a row. A retry that would be due when the
    /// next run is, or later, is not made: its run has failed (unless that failure ends the job,
    /// by [`max_failures`](crate::Schedule::max_failures)).
    ///
    /// - The next run is that of the first time after the start of the attempt; after a resume,
    ///   a move or a replacement, of the first time after that moment. Earlier times that have not
    ///   run are left out, whatever the [misfire policy](crate::Misfire).
    /// - The attempt is cut off at that time; [jitter](crate::Schedule::jitter) and
    ///   [limits](crate::TaskBuilder::limit) may make the next run start later. (An extra run is cut
    ///   off when the run that waits is due, with its jitter.) A run that was
    ///   [moved](crate::Job::move_to) cuts off at its new time. If the wall clock is set past the
    ///   time, it cuts off then.
    /// - Nothing is cut off while the job, its task, a group of its task or its app is paused, nor
    ///   if no run follows:
    ///   after [`cancel`](crate::Job::cancel), in the last run, when the app stops.
    /// - An extra run ([`Job::run_now`](crate::Job::run_now)) is cut off like another. `run_now`
    ///   itself cuts off nothing.
    /// - A [replacement](crate::Schedule::replace) during an attempt cuts it off when the
    ///   replacement is due first, if the replacement has this option; otherwise nothing does.
    CancelRunning,
    /// Each run that is due becomes a job of its own, which runs once, and the recurring job waits
    /// for its next run. With `Spawn(n)`, at most `n` of these jobs are live at a time. A run that is
    /// due while `n` are live is missed, whatever the [misfire policy](crate::Misfire).
    ///
    /// - The new job has a generated id, the task, the arguments and the options of the recurring
    ///   job (but not [`unique_for`](crate::Schedule::unique_for)), and the nominal time and the
    ///   number of its run. It takes the limits, is retried and is stored like any job of its task.
    ///   [`Job::spawned_by`](crate::Job::spawned_by) says which run it is for, and
    ///   [`Jobs::spawned_by`](crate::Jobs::spawned_by) finds it.
    /// - The recurring job takes no limits and has no timeout. Its run succeeds when the new job
    ///   is there, and [`Job::result`](crate::Job::result) returns
    ///   [`JobError::Spawned`](crate::JobError::Spawned).
    ///   [`max_runs`](crate::Schedule::max_runs) counts the runs;
    ///   [`max_failures`](crate::Schedule::max_failures) and
    ///   [`pause_on_failure`](crate::Schedule::pause_on_failure) do not go with it, because the
    ///   failures are those of the new jobs.
    /// - One commit stores the new job and the end of the run. If the process ends before that, the
    ///   next process makes a job for the run again, with another id.
    /// - A pause, a cancellation or a replacement of the recurring job does not change the jobs that
    ///   it has made. If another job is scheduled with the same id, they count for that, too.
    /// - [`Job::run_now`](crate::Job::run_now) makes a job, too. While `n` are live it returns
    ///   [`SteerOutcome::Unchanged`](crate::SteerOutcome::Unchanged). A
    ///   [retry by hand](crate::FailedJob::retry) of such a job counts, and may exceed `n`; so may
    ///   jobs that come back after a crash because the store did not have their end.
    Spawn(usize),
}
