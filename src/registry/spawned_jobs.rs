//! [`SpawnedJobs`]: the jobs that recurring jobs have made for their runs.

use std::collections::{BTreeSet, HashMap};

use crate::sync::primitives::{Mutex, lock};
use crate::value::id::JobId;

/// The jobs that were made for runs of recurring jobs, by the id of the recurring job. Some may
/// have ended.
#[derive(Debug, Default)]
pub(crate) struct SpawnedJobs(Mutex<HashMap<JobId, BTreeSet<JobId>>>);

impl SpawnedJobs {
    /// Notes a live job that was made for a run of `parent`.
    pub(crate) fn add(&self, parent: JobId, id: JobId) {
        lock(&self.0).entry(parent).or_default().insert(id);
    }

    /// A job that was made for a run of `parent` has ended.
    pub(crate) fn remove(&self, parent: &JobId, id: &JobId) {
        let mut jobs = lock(&self.0);
        if let Some(of_parent) = jobs.get_mut(parent) {
            of_parent.remove(id);
            if of_parent.is_empty() {
                jobs.remove(parent);
            }
        }
    }

    /// Whether at most `max` of the jobs of `parent` are live with `count` more. Forgets those that
    /// are not live any more, such as one that a replacement in memory has ended. The lock is not
    /// held during `is_live`.
    pub(crate) fn has_room(
        &self,
        parent: &JobId,
        (max, count): (usize, usize),
        is_live: impl Fn(&JobId) -> bool,
    ) -> bool {
        let ids: Vec<JobId> = {
            let jobs = lock(&self.0);
            match jobs.get(parent) {
                Some(of_parent) if of_parent.len().saturating_add(count) > max => {
                    of_parent.iter().cloned().collect()
                }
                _ => return count <= max,
            }
        };
        let is_gone = |id: &&JobId| !is_live(id);
        let gone: Vec<_> = ids.iter().filter(is_gone).collect();
        for id in &gone {
            self.remove(parent, id);
        }
        ids.len() - gone.len() + count <= max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_while_fewer_jobs_are_live() {
        let jobs = SpawnedJobs::default();
        let parent = JobId::from("parent");
        assert!(jobs.has_room(&parent, (1, 1), |_| true));
        assert!(!jobs.has_room(&parent, (0, 1), |_| true));
        jobs.add(parent.clone(), "a".into());
        jobs.add(parent.clone(), "b".into());
        assert!(!jobs.has_room(&parent, (2, 1), |_| true));
        assert!(jobs.has_room(&parent, (3, 1), |_| true));
        assert!(jobs.has_room(&"another".into(), (1, 1), |_| true));
        jobs.remove(&parent, &"a".into());
        assert!(jobs.has_room(&parent, (2, 1), |_| true));
    }

    #[test]
    fn a_job_that_has_ended_takes_no_room() {
        let jobs = SpawnedJobs::default();
        let parent = JobId::from("parent");
        jobs.add(parent.clone(), "a".into());
        jobs.add(parent.clone(), "b".into());
        assert!(jobs.has_room(&parent, (2, 1), |id| *id == "a"));
        assert!(!jobs.has_room(&parent, (1, 1), |_| true));
    }
}
