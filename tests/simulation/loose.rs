//! What holds of the jobs that are only followed.

use jobber::JobStatus;

use super::history::{End, Event, clock, nanos};
use super::job::Job;
use super::plan::Times;
use super::script::TASKS;
use super::world::World;

/// A clock that is set back by less is only kept right, and nobody is told.
const SLEW: i64 = 500_000_000;

impl World {
    /// "A jump back makes them wait; a time that ran is not run again", and no longer
    /// than that: a job that is followed after a step back waits for no later time than
    /// the first that has not run.
    pub fn check_loose(&self) -> Result<(), String> {
        if self.is_stormy() {
            return Ok(());
        }
        let process = self.process.as_ref().expect("there is always one");
        for job in self.model.jobs.values().filter(|job| job.loose.is_some()) {
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
        let Times::Cron { .. } = recurring.times else {
            return None;
        };
        if job.next_plan.is_some() || TASKS[job.task].at_most_once {
            return None;
        }
        let entries = self.history.since(job.since);
        let now = self.model.now.wall + SLEW;
        let mut from = recurring.start.map_or(now, |start| now.max(start));
        // How its last attempt ended; `None` while that goes on.
        let mut last = Some(End::Value);
        for entry in &entries {
            match &entry.event {
                Event::Start(attempt) if attempt.id == job.id => {
                    from = from.max(attempt.nominal);
                    last = None;
                }
                // What a run has made up for does not come again if the clock is set back
                // before it is over.
                Event::Stepped { by: ..0 } if last != Some(End::Value) => return None,
                Event::End(attempt, end) if attempt.id == job.id => last = Some(*end),
                // Its times may lie elsewhere.
                Event::Up { .. } => return None,
                _ => {}
            }
        }
        // It may wait for a retry.
        if !TASKS[job.task].retries.is_empty() && last != Some(End::Value) {
            return None;
        }
        let next = recurring.times.after(from);
        Some(next + recurring.room(next).map_or(0, |draw| draw.most))
    }
}
