//! [`CheckpointTimes`]: when jobs may write their next checkpoint.

use std::collections::VecDeque;

use crate::job::live_job::LiveJob;
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::value::time_units::MonoNanos;

type Live = Arc<dyn LiveJob>;

/// The jobs that are throttled: each has written a checkpoint less than a second ago. All wait equally
/// long, so that the queue is in the order of time.
pub(crate) struct CheckpointTimes(Mutex<Times>);

#[derive(Default)]
struct Times {
    jobs: VecDeque<(MonoNanos, Live)>,
    /// The timer knows when the first one is due.
    is_seen: bool,
    /// The app stops.
    is_closed: bool,
}

impl CheckpointTimes {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Times::default()))
    }

    /// The throttle of this job ends at this time. Returns whether the caller must wake the timer.
    pub(crate) fn add(&self, time: MonoNanos, job: Live) -> bool {
        let mut times = lock(&self.0);
        if times.is_closed {
            // The caller has another reference to the job.
            return false;
        }
        // If there was none, the timer knows of none.
        times.is_seen &= !times.jobs.is_empty();
        times.jobs.push_back((time, job));
        !times.is_seen
    }

    /// Takes a job whose throttle ends.
    pub(crate) fn take_due(&self, now: MonoNanos) -> Option<Live> {
        let mut times = lock(&self.0);
        let (time, _) = times.jobs.front()?;
        if *time > now {
            return None;
        }
        times.is_seen = false;
        times.jobs.pop_front().map(|(_, job)| job)
    }

    /// When the timer has to come. Notes that the timer knows it.
    pub(crate) fn next(&self) -> Option<MonoNanos> {
        let mut times = lock(&self.0);
        times.is_seen = true;
        times.jobs.front().map(|(time, _)| *time)
    }

    /// Whether there is a job that the timer does not know of.
    pub(crate) fn wakes_timer(&self) -> bool {
        let times = lock(&self.0);
        !times.is_seen && !times.jobs.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.0).is_closed
    }

    /// The app stops. Returns the jobs: the caller makes each write its pending checkpoint.
    pub(crate) fn close(&self) -> impl Iterator<Item = Live> + use<> {
        let mut times = lock(&self.0);
        times.is_closed = true;
        let jobs = std::mem::take(&mut times.jobs);
        jobs.into_iter().map(|(_, job)| job)
    }
}
