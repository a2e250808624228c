//! [`Misfire`]: what happens to times that were missed.

use std::time::Duration;

/// What a recurring job does with missed runs.
///
/// A run is missed if its time passes while the job's last run goes on (unless it
/// [cuts that off](crate::Overlap::CancelRunning)), if the clock
/// jumps over its time, if no process runs at its time, or if it has
/// [expired](crate::Schedule::expires); no policy runs an expired time. A run that starts
/// late is not missed if its next time has not come, and if it is late by a second or less,
/// or by no more than the time since the timer last looked at the clocks: it looks at the
/// wall clock once a minute, and more often shortly before a job is due.
///
/// Example: a job is due every 10 seconds. The numbers are seconds.
///
/// | policy | the run at 10 takes until 45: 20, 30 and 40 are missed | nothing runs until 35: 10, 20 and 30 are missed |
/// |---|---|---|
/// | `Once` (default) | one run at 45, for 40; then 50 | one run at 35, for 30; then 40 |
/// | `Skip` | no run at 45; then 50 | no run at 35; then 40 |
/// | `All(9)` | three runs from 45, for 20, 30 and 40; then 50 | three runs from 35, for 10, 20 and 30; then 40 |
/// | `All(2)` | two runs from 45, for 20 and 30; then 50 | two runs from 35, for 10 and 20; then 40 |
/// | `Grace(15 s)` | two runs from 45, for 30 and 40; then 50 | two runs from 35, for 20 and 30; then 40 |
///
/// "For 20" is the run's [nominal time](crate::JobContext::nominal_time). Runs follow one
/// another: a job has one attempt at a time.
///
/// The policy is applied when a run ends, and again when the next run starts. If a process
/// ends in between, or during a run, the next process applies it with the time at which it
/// starts: for example, with `Skip` it does not repeat a run that a crash interrupted, if
/// that run is too late by then, and with `Once` the repeated run is for the latest missed
/// time.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Misfire, testing::Simulation};
///
/// let mut sim = Simulation::new();
/// let (clock, second) = (sim.clock(), Duration::from_secs(1));
/// // Each run takes 2.5 seconds, on an interval of one.
/// let slow = sim.app().task("slow", move || clock.sleep(second * 5 / 2)).register()?;
/// let job = slow.schedule(()).misfire(Misfire::Skip).every(second).block_on()?;
/// sim.advance(second * 7);
/// // Runs start at 1 s and at 4 s. The runs at 2, 3, 5 and 6 s are skipped.
/// assert_eq!(job.last_run().unwrap().number, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Misfire {
    /// Run once, now, for the latest missed time. Skip the other missed times.
    #[default]
    Once,
    /// Skip all missed times. The next run is at the next time in the future.
    Skip,
    /// Run for each missed time, in order, one run after the other, but at most this
    /// number of runs in a row. Skip the rest. `All(0)` is like `Skip`.
    All(u32),
    /// Run for each missed time that is not older than this when its run starts, in
    /// order, one run after the other. Skip older times.
    Grace(Duration),
}
