//! [`TakenIds`]: the ids that stay taken after their jobs have ended.

use std::collections::{BTreeSet, HashMap};

use crate::value::id::JobId;
use crate::value::status::JobStatus;
use crate::value::time_units::WallNanos;

/// The ids that stay taken, each until a wall time.
#[derive(Debug, Default)]
pub(crate) struct TakenIds {
    by_id: HashMap<JobId, (JobStatus, WallNanos)>,
    by_time: BTreeSet<(WallNanos, JobId)>,
}

impl TakenIds {
    /// A job has ended, and its id stays taken. Forgets those that are free by `now`.
    pub(crate) fn take(&mut self, id: JobId, taken: (JobStatus, WallNanos), now: WallNanos) {
        while let Some((until, _)) = self.by_time.first()
            && *until <= now
            && let Some((_, id)) = self.by_time.pop_first()
        {
            self.by_id.remove(&id);
        }
        if let Some((_, until)) = self.by_id.insert(id.clone(), taken) {
            self.by_time.remove(&(until, id.clone()));
        }
        self.by_time.insert((taken.1, id));
    }

    /// How the job of this id ended, and until when the id is taken. `None` if it is free.
    pub(crate) fn get(&self, id: &JobId, now: WallNanos) -> Option<(JobStatus, WallNanos)> {
        let taken = self.by_id.get(id).copied();
        taken.filter(|(_, until)| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_until_its_time_and_then_forgotten() {
        let mut ids = TakenIds::default();
        let (one, other) = (JobId::from("one"), JobId::from("other"));
        let success = |until| (JobStatus::Success, until);
        ids.take(one.clone(), success(10), 0);
        assert_eq!(ids.get(&one, 9), Some(success(10)));
        assert_eq!(ids.get(&one, 10), None);
        assert_eq!(ids.get(&other, 0), None);
        // The last end counts.
        ids.take(one.clone(), (JobStatus::Failed, 5), 3);
        assert_eq!(ids.get(&one, 4), Some((JobStatus::Failed, 5)));
        ids.take(other.clone(), success(20), 5);
        assert_eq!((ids.by_id.len(), ids.by_time.len()), (1, 1));
    }
}
