//! What happens to jobs that get their limits.

use crate::engine::hub::{Hub, Live};
use crate::executor::starting::Starting;
use crate::job::live_job::Fired;

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
        let starting = Starting::begin();
        if !starting.is_outermost() {
            self.leave_granted_to_timer(granted);
            return;
        }
        let mut jobs = Vec::with_capacity(granted.len());
        for job in granted {
            match job.granted() {
                Fired::Start => jobs.push(job),
                Fired::Nothing => job.drop_safely(),
            }
        }
        if jobs.is_empty() {
            return;
        }
        match self.dispatcher() {
            Some(dispatcher) => dispatcher.submit(&mut jobs),
            // The app has stopped, and nothing starts.
            None => jobs.into_iter().for_each(|job| job.drop_safely()),
        }
    }

    /// [`start_granted`](Hub::start_granted), but a single async job is returned, for the poller of
    /// an attempt that has ended: it polls that job next.
    ///
    /// W11 of `benches/peers`, jobs per second for a limit of 8 and for 10,000 keys: 410,000 and
    /// 440,000, and 360,000 and 210,000 if each job is spawned.
    pub(crate) fn start_granted_but_one(&self, mut granted: Vec<Live>) -> Option<Live> {
        // Of several jobs none is returned: the others would begin before it.
        let [job] = granted.as_slice() else {
            self.start_granted(granted);
            return None;
        };
        let starting = Starting::begin();
        if job.is_blocking() || !starting.is_outermost() {
            drop(starting);
            self.start_granted(granted);
            return None;
        }
        let job = granted.pop()?;
        match job.granted() {
            Fired::Start => Some(job),
            Fired::Nothing => {
                job.drop_safely();
                None
            }
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
