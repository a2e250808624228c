//! [`SteerOutcome`]: what steering a job has done.

/// What [`Job::pause`](crate::Job::pause), [`Job::resume`](crate::Job::resume),
/// [`Job::run_now`](crate::Job::run_now), [`Job::move_to`](crate::Job::move_to) or
/// [`Job::delay_by`](crate::Job::delay_by) has done. Each of them says there what that means.
///
/// ```
/// # use jobber::testing::Simulation;
/// use jobber::SteerOutcome;
///
/// # let sim = Simulation::new();
/// # let hello = sim.app().task("hello", || async {}).register()?;
/// let job = hello.schedule(()).cron("@daily").block_on()?;
/// assert_eq!(job.pause().block_on()?, SteerOutcome::Done);
/// assert_eq!(job.pause().block_on()?, SteerOutcome::Unchanged);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SteerOutcome {
    /// It is done.
    Done,
    /// An attempt of the job runs or is about to start. What was asked for follows it.
    AfterAttempt,
    /// It was so before, and nothing changes.
    Unchanged,
    /// The job is done, or ends with its running attempt because it was cancelled. Nothing
    /// changes.
    AlreadyDone,
}

impl SteerOutcome {
    /// Whether something changes: [`Done`](SteerOutcome::Done) or
    /// [`AfterAttempt`](SteerOutcome::AfterAttempt).
    ///
    /// ```
    /// use jobber::SteerOutcome;
    ///
    /// assert!(SteerOutcome::AfterAttempt.took_effect());
    /// assert!(!SteerOutcome::Unchanged.took_effect());
    /// ```
    pub fn took_effect(self) -> bool {
        matches!(self, SteerOutcome::Done | SteerOutcome::AfterAttempt)
    }
}
