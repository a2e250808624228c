//! What happens to jobs that get their limits.

use crate::engine::hub::{Hub, Live};
use crate::executor::calling_executor::CallingExecutor;
use crate::job::live_job::Fired;

impl Hub {
    /// Passes these jobs to the executor. They may have their limits now. The caller holds no lock,
    /// and its thread may run code of users.
    pub(crate) fn start_granted(&self, granted: Vec<Live>) {
        if granted.is_empty() {
            return;
        }
        if self.is_forked() {
            // This process is a fork. The parent has the same jobs, and starts them.
            granted.into_iter().for_each(|job| job.drop_safely());
            return;
        }
        let calling = CallingExecutor::begin();
        if !calling.is_outermost() {
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

    /// [`start_granted`](Hub::start_granted), but if it is one async job, returns it for the poller
    /// of the attempt that has ended: see [`Exit::Granted`](crate::job::live_job::Exit::Granted).
    ///
    /// For 10,000 keys in W11 of `benches/peers`: 440,000 jobs per second. If each job is spawned:
    /// 210,000.
    pub(crate) fn start_granted_but_one(&self, mut granted: Vec<Live>) -> Option<Live> {
        // Of several jobs, none is returned: to spawn one may block until another has run, and the
        // caller polls the returned one only after that.
        let [job] = granted.as_slice() else {
            self.start_granted(granted);
            return None;
        };
        let calling = CallingExecutor::begin();
        if job.is_blocking() || !calling.is_outermost() {
            // `start_granted` sets a mark of its own.
            drop(calling);
            self.start_granted(granted);
            return None;
        }
        let job = granted.pop()?;
        // In a forked process the poller goes on as it did before the fork. To check it is a system
        // call, 4 % of the time of such a job.
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
