//! [`CancelOutcome`]: what a cancel has done.

/// What [`Job::cancel`](crate::Job::cancel) or [`Job::abort`](crate::Job::abort) has done.
///
/// ```
/// use std::time::Duration;
/// use jobber::{CancelOutcome, testing::Simulation};
///
/// let sim = Simulation::new();
/// let hello = sim.app().task("hello", || async {}).register()?;
/// let job = hello.schedule(()).delay(Duration::from_secs(60)).block_on()?;
/// assert_eq!(job.cancel().block_on()?, CancelOutcome::Cancelled);
/// assert_eq!(job.cancel().block_on()?, CancelOutcome::AlreadyDone);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelOutcome {
    /// The job is cancelled now: its status is `CANCELLED`.
    Cancelled,
    /// An attempt of the job runs, and goes on. The job ends with it: no retry and no other run
    /// follows. A job that runs once ends with the status of the attempt. A recurring job, and
    /// one that was replaced during its attempt, ends as `CANCELLED`.
    EndsAfterAttempt,
    /// The job was done before, and does not change.
    AlreadyDone,
}

impl CancelOutcome {
    /// Whether the job was live until now: it is cancelled, or nothing follows its attempt.
    ///
    /// ```
    /// use jobber::CancelOutcome;
    ///
    /// assert!(CancelOutcome::EndsAfterAttempt.took_effect());
    /// assert!(!CancelOutcome::AlreadyDone.took_effect());
    /// ```
    pub fn took_effect(self) -> bool {
        self != CancelOutcome::AlreadyDone
    }
}
