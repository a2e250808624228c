//! [`Limits`]: how many attempts of an app may run at once.

use crate::job::live_job::LiveJob;
use crate::registry::lines::{LimitId, LineId, Lines};
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::value::waiting_for::WaitingFor;

type Live = Arc<dyn LiveJob>;

/// The limits of one app, and the jobs that wait for them.
pub(crate) struct Limits {
    /// Nothing is locked under this.
    pub(crate) lines: Mutex<Lines<Live>>,
    /// Jobs that have their limits now, and that the timer hands to the executor. Nothing is
    /// locked under this.
    granted: Mutex<Vec<Live>>,
    /// Of `max_running`.
    pub(crate) of_app: Option<LimitId>,
}

impl Limits {
    pub(crate) fn new(max_running: Option<usize>) -> Self {
        let mut lines = Lines::new();
        Self {
            of_app: max_running.map(|max| lines.add_limit(max)),
            lines: Mutex::new(lines),
            granted: Mutex::default(),
        }
    }

    pub(crate) fn add_granted(&self, granted: Vec<Live>) {
        lock(&self.granted).extend(granted);
    }

    pub(crate) fn take_granted(&self) -> Vec<Live> {
        std::mem::take(&mut *lock(&self.granted))
    }

    pub(crate) fn has_granted(&self) -> bool {
        !lock(&self.granted).is_empty()
    }

    /// Forgets who waits: the app has stopped.
    pub(crate) fn forget_all(&self) {
        let lines = std::mem::replace(&mut *lock(&self.lines), Lines::new());
        drop_catching_panic((lines, self.take_granted()));
    }
}

/// The limits of a task.
pub(crate) struct TaskLimits<A> {
    pub(crate) line: LineId,
    /// What a job waits for that waits for one of them.
    pub(crate) names: Vec<(LimitId, WaitingFor)>,
    pub(crate) by: Option<LimitBy<A>>,
}

/// A limit for each key of the arguments.
pub(crate) struct LimitBy<A> {
    pub(crate) capacity: usize,
    pub(crate) key: KeyOf<A>,
}

/// Computes the key of arguments. Code of a user.
pub(crate) type KeyOf<A> = Box<dyn Fn(&A) -> String + Send + Sync>;
