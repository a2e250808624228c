//! [`Misfire`]: what happens to times that were missed.

use std::time::Duration;

/// What a recurring job does about times that have passed without a run: the
/// last run took longer than the interval, the clock jumped, or the program
/// did not run.
///
/// Times that come while a run goes on are missed, however soon that ends then.
/// Besides, a run that is merely late, by up to a second and not beyond its next
/// time, is no misfire. What is missed, and what is too late, is decided when a
/// run ends, and again when the next one starts: if the process was gone in
/// between, it is judged by how late it is then.
///
/// Whatever the policy, a job runs one attempt at a time.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Misfire, testing::Simulation};
///
/// let mut sim = Simulation::new();
/// let (clock, second) = (sim.clock(), Duration::from_secs(1));
/// // Each run takes 2.5 seconds, on an interval of one.
/// let slow = sim.app().task("slow", move || clock.sleep(second * 5 / 2)).register()?;
/// let job = slow.schedule(()).misfire(Misfire::Skip).every(second).wait_blocking()?;
/// sim.advance(second * 7);
/// // Runs start at 1 s and at 4 s; those of 2, 3, 5 and 6 s are skipped.
/// assert_eq!(job.last_run().unwrap().number, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Misfire {
    /// Run once now for all of them, then go on from now.
    #[default]
    Once,
    /// Leave them out, and go on with the next time to come.
    Skip,
    /// Run each of them, in order, one after the other, but at most so many in
    /// a row; the rest is left out. One that is among those runs, however late it
    /// is by then.
    All(u32),
    /// Run each that is no older than this when its turn comes, in order, one
    /// after the other.
    Grace(Duration),
}
