//! What happens to jobs that get their limits.

use crate::engine::hub::{Hub, Live};
use crate::job::live_job::Fired;

impl Hub {
    /// Hands jobs to the executor that have their limits now. The caller holds no lock, and may
    /// run code of users.
    pub(crate) fn start_granted(&self, granted: Vec<Live>) {
        let (blocking, rest): (Vec<_>, Vec<_>) =
            granted.into_iter().partition(|job| job.is_blocking());
        if !blocking.is_empty() {
            // An executor may run a blocking job inside of its spawn. Its end would start the
            // next one there, as deep as there are jobs.
            self.leave_granted_to_timer(blocking);
        }
        let mut starting = Vec::with_capacity(rest.len());
        for job in rest {
            match job.granted() {
                Fired::Start => starting.push(job),
                Fired::Nothing => job.drop_safely(),
            }
        }
        if starting.is_empty() {
            return;
        }
        match self.dispatcher() {
            Some(dispatcher) => dispatcher.submit_next(starting),
            // The app has stopped, and nothing starts.
            None => starting.into_iter().for_each(|job| job.drop_safely()),
        }
    }

    /// The timer hands these jobs to the executor.
    pub(crate) fn leave_granted_to_timer(&self, granted: Vec<Live>) {
        if granted.is_empty() {
            return;
        }
        self.limits.add_granted(granted);
        self.wake_timer();
    }
}
