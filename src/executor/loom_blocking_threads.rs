//! [`run`]: runs blocking jobs under the model checker, each on a thread of its own.

use crate::executor::job_future::BlockingJob;
use crate::sync::primitives::thread;

pub(crate) const THREAD_NAME: &str = "jobber-blocking";

pub(crate) fn run(job: BlockingJob) {
    drop(thread::Builder::new().spawn(move || job.run()));
}

pub(crate) fn has_failed() -> bool {
    false
}
