//! What holds of a job whose runs the model does not predict.

use jobber::JobStatus;

use super::history::{End, Entry, Event, clock, nanos};
use super::job::Job;
use super::plan::Times;
use super::script::TASKS;
use super::world::World;

/// A wall clock that goes back by this or less repeats no time.
const SLEW: i64 = 1_000_000_000;

impl World {
    /// "A jump back makes them wait; a time that ran is not run again": after a step back, a
    /// job waits for no later time than the first that has not run.
    pub fn check_unpredicted(&self) -> Result<(), String> {
        if self.has_faults() || !self.model.now.is_set() {
            return Ok(());
        }
        let process = self.process.as_ref().expect("there is always one");
        for job in self
            .model
            .jobs
            .values()
            .filter(|job| job.unpredicted.is_some())
        {
            let handle = process.jobs.get(&job.id);
            let Some(handle) = handle.filter(|handle| handle.status() == JobStatus::Scheduled)
            else {
                continue;
            };
            let exec_at = nanos(handle.exec_at());
            if let Some(latest) = self.latest(job).filter(|latest| *latest < exec_at) {
                return Err(format!(
                    "{handle:?} should be due by {}, and is at {}",
                    clock(latest),
                    clock(exec_at),
                ));
            }
        }
        Ok(())
    }

    /// When a job is due at the latest, if that is known.
    fn latest(&self, job: &Job) -> Option<i64> {
        let recurring = job.plan.recurring.as_ref()?;
        if matches!(recurring.times, Times::Every { .. } | Times::Pause { .. }) {
            return None;
        }
        let is_moved = job.is_moved_until.is_some() || job.plan.moved.is_some();
        let is_open = job.next_plan.is_some() || job.plan.expires.is_some() || is_moved;
        if is_open || TASKS[job.task].at_most_once {
            return None;
        }
        let now = self.model.now.wall + SLEW;
        let from = recurring.start.map_or(now, |start| now.max(start));
        let (from, last) = self
            .history
            .read_since(job.since, |entries| follow(job, entries, from))?;
        // The job may wait for a retry.
        if !TASKS[job.task].retries.is_empty() && last != Some(End::Value) {
            return None;
        }
        let next = recurring.after(from);
        Some(next + recurring.longest_jitter)
    }
}

/// From where the next time of a job comes, which was `from`, and how its last attempt ended:
/// `None` while that goes on. Nothing if its times may have changed.
fn follow(job: &Job, entries: &[Entry], mut from: i64) -> Option<(i64, Option<End>)> {
    let mut last = Some(End::Value);
    for entry in entries {
        match &entry.event {
            Event::Start(attempt) if attempt.id == job.id => {
                from = from.max(attempt.nominal);
                last = None;
            }
            // The times that a run catches up do not come again if the clock is set back
            // during the run.
            Event::Stepped { by: ..0 } if last != Some(End::Value) => return None,
            Event::End(attempt, end) if attempt.id == job.id => last = Some(*end),
            // Its zone, and so its times, may have changed.
            Event::Up { .. } => return None,
            _ => {}
        }
    }
    Some((from, last))
}
