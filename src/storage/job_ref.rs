//! [`JobRef`]: a job as the writer holds it.

use std::ops::Deref;

use crate::job::live_job::StoredJob;
use crate::sync::primitives::Arc;

/// A reference to a job that may be the last one. The job holds values of users, which
/// must not be dropped on the thread of the writer: the job sees to that itself.
pub(crate) struct JobRef(Option<Arc<dyn StoredJob>>);

impl JobRef {
    pub(crate) fn new(job: Arc<dyn StoredJob>) -> Self {
        Self(Some(job))
    }

    /// Whether both are the same job.
    pub(crate) fn is(&self, other: &JobRef) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other)),
            _ => false,
        }
    }
}

impl Clone for JobRef {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Deref for JobRef {
    type Target = dyn StoredJob;

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Some(job) => &**job,
            // It is empty from its drop on.
            None => unreachable!("a job is used after its drop"),
        }
    }
}

impl Drop for JobRef {
    fn drop(&mut self) {
        if let Some(job) = self.0.take() {
            job.drop_row_safely();
        }
    }
}
