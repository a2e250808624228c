//! [`SpawnedBy`]: the run that a job was made for.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::value::id::JobId;

/// The run of a recurring job that this job was made for
/// ([`Overlap::Spawn`](crate::Overlap::Spawn)): [`Job::spawned_by`](crate::Job::spawned_by).
///
/// ```
/// # use std::time::Duration;
/// use jobber::{Jobs, Overlap, testing::Simulation};
///
/// let mut sim = Simulation::new();
/// let minute = Duration::from_secs(60);
/// let slow = sim.app().task("slow", std::future::pending::<()>).register()?;
/// slow.schedule(()).id("poll").overlap(Overlap::Spawn(3)).every(minute).block_on()?;
/// sim.advance(minute);
/// let spawned = sim.app().select(Jobs::matching().spawned_by("poll")).list()?;
/// let by = spawned[0].spawned_by().unwrap();
/// assert_eq!((by.job, by.run), ("poll".into(), 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct SpawnedBy {
    /// The id of the recurring job.
    pub job: JobId,
    /// When that job was scheduled, or replaced. It tells jobs apart that had the same id one after
    /// the other.
    #[cfg_attr(feature = "serde", serde(with = "crate::value::timestamp::text"))]
    pub scheduled_at: OffsetDateTime,
    /// The number of the run, from 1.
    pub run: u64,
}
