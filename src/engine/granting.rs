//! What happens to jobs that get their limits.

use std::cell::Cell;

use crate::engine::hub::{Hub, Live};
use crate::job::live_job::Fired;
use crate::sync::primitives::thread_local;

thread_local! {
    /// This thread is in [`Hub::start_granted`].
    static IS_STARTING: Cell<bool> = const { Cell::new(false) };
}

/// Marks that the thread is in [`Hub::start_granted`], until it is dropped.
struct Outermost;

impl Outermost {
    /// `None` if it is in it already.
    fn begin() -> Option<Self> {
        let was = IS_STARTING.try_with(|place| place.replace(true));
        matches!(was, Ok(false)).then_some(Self)
    }
}

impl Drop for Outermost {
    fn drop(&mut self) {
        let _ = IS_STARTING.try_with(|place| place.set(false));
    }
}

impl Hub {
    /// Hands jobs to the executor that have their limits now. The caller holds no lock, and may
    /// run code of users.
    pub(crate) fn start_granted(&self, granted: Vec<Live>) {
        if granted.is_empty() {
            return;
        }
        if self.is_forked() {
            // The dispatcher is a copy of that of the other process, which starts them.
            granted.into_iter().for_each(|job| job.drop_safely());
            return;
        }
        // An executor may poll or drop what it is given inside of its spawn. The end of that
        // attempt would start the next one there, as deep as there are jobs.
        let Some(_outermost) = Outermost::begin() else {
            self.leave_granted_to_timer(granted);
            return;
        };
        let mut starting = Vec::with_capacity(granted.len());
        for job in granted {
            match job.granted() {
                Fired::Start => starting.push(job),
                Fired::Nothing => job.drop_safely(),
            }
        }
        if starting.is_empty() {
            return;
        }
        match self.dispatcher() {
            Some(dispatcher) => dispatcher.submit(&mut starting),
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
