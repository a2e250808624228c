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
    ///
    /// `None` once the app has stopped: a job that came later would stay, and keep the app.
    granted: Mutex<Option<Vec<Live>>>,
    /// Of `max_running`.
    pub(crate) of_app: Option<LimitId>,
}

impl Limits {
    pub(crate) fn new(max_running: Option<usize>) -> Self {
        let mut lines = Lines::new();
        Self {
            of_app: max_running.map(|max| lines.add_limit(max)),
            lines: Mutex::new(lines),
            granted: Mutex::new(Some(Vec::new())),
        }
    }

    pub(crate) fn add_granted(&self, granted: Vec<Live>) {
        if let Some(place) = lock(&self.granted).as_mut() {
            place.extend(granted);
            return;
        }
        granted.into_iter().for_each(|job| job.drop_safely());
    }

    pub(crate) fn take_granted(&self) -> Vec<Live> {
        let mut granted = lock(&self.granted);
        granted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn has_granted(&self) -> bool {
        let granted = lock(&self.granted);
        granted.as_ref().is_some_and(|granted| !granted.is_empty())
    }

    /// Forgets who waits: the app has stopped.
    pub(crate) fn forget_all(&self) {
        let lines = std::mem::replace(&mut *lock(&self.lines), Lines::new());
        let granted = lock(&self.granted).take();
        drop_catching_panic((lines, granted));
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
