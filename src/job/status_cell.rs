//! [`StatusCell`]: the status of a job as everybody can see it without a lock.

use crate::sync::primitives::{AtomicU8, Ordering};
use crate::value::status::JobStatus;

/// Set while somebody may wait for the job, so that a job that nobody waits for never
/// touches its event, which would allocate.
const WAITED_FOR: u8 = 1 << 7;

/// The published status of one job.
///
/// It is written under the lock of the job, after everything else that is published with
/// it, and read by anybody.
#[derive(Debug)]
pub(crate) struct StatusCell(AtomicU8);

impl StatusCell {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(JobStatus::Scheduled as u8))
    }

    pub(crate) fn get(&self) -> JobStatus {
        // Acquire, for the release in `publish`: a thread that sees a status also sees
        // what was written before it.
        status(self.0.load(Ordering::Acquire))
    }

    /// Publishes a status. Returns whether somebody may wait for it: the caller notifies
    /// them once the lock is gone.
    pub(crate) fn publish(&self, status: JobStatus) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let flag = seen & WAITED_FOR;
            let new = status as u8 | flag;
            // Release, for the acquire of `get`. SeqCst, for the order that
            // `announce_waiter` needs.
            let (ok, failed) = (Ordering::SeqCst, Ordering::Relaxed);
            match self.0.compare_exchange_weak(seen, new, ok, failed) {
                Ok(_) => return flag != 0,
                Err(now) => seen = now,
            }
        }
    }

    /// Says that somebody is about to wait. Returns the status at that moment.
    ///
    /// A waiter calls this, then listens, then looks at the status again. SeqCst here and
    /// in `publish` puts both into one order: either `publish` sees the flag, or the
    /// waiter sees the new status.
    pub(crate) fn announce_waiter(&self) -> JobStatus {
        status(self.0.fetch_or(WAITED_FOR, Ordering::SeqCst))
    }

    /// Whether somebody may wait.
    pub(crate) fn is_waited_for(&self) -> bool {
        // A read-modify-write, so that it has its place in the order above.
        self.0.fetch_or(0, Ordering::SeqCst) & WAITED_FOR != 0
    }
}

fn status(byte: u8) -> JobStatus {
    match byte & !WAITED_FOR {
        0 => JobStatus::Scheduled,
        1 => JobStatus::Running,
        2 => JobStatus::Cancelled,
        3 => JobStatus::Success,
        4 => JobStatus::Failed,
        5 => JobStatus::Timeout,
        // Nothing else is ever stored.
        _ => JobStatus::PermanentlyFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_the_byte() {
        let cell = StatusCell::new();
        for status in JobStatus::ALL {
            cell.publish(status);
            assert_eq!(cell.get(), status);
        }
    }

    #[test]
    fn publish_reports_a_waiter_and_keeps_the_flag() {
        let cell = StatusCell::new();
        assert!(!cell.publish(JobStatus::Running));
        assert_eq!(cell.announce_waiter(), JobStatus::Running);
        assert!(cell.publish(JobStatus::Scheduled));
        assert!(cell.publish(JobStatus::Cancelled));
        assert_eq!(cell.get(), JobStatus::Cancelled);
        assert!(cell.is_waited_for());
    }
}
