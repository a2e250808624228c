//! [`Limit`]: how many attempts of several tasks may run at once.

use std::fmt;

use crate::engine::shared_limit::{LimitOption, SharedLimit};
use crate::sync::primitives::Arc;
use crate::value::waiting_for::WaitingFor;

/// How many attempts may run at the same time. Tasks share it
/// ([`TaskBuilder::limit`](crate::TaskBuilder::limit)), and [`set`](Limit::set) changes it while
/// they run. All clones are the same limit. It is one of the first app that uses it.
///
/// A number of 0 is refused when a task is registered with it. [`set(0)`](Limit::set) holds all
/// jobs until another number is set.
///
/// ```
/// # use jobber::testing::Simulation;
/// use jobber::Limit;
///
/// # let sim = Simulation::new();
/// let database = Limit::new(4);
/// let import = sim.app().task("import", async || {}).limit(&database).register()?;
/// let export = sim.app().task("export", async || {}).limit(&database).register()?;
/// database.set(8);
/// assert_eq!(database.get(), 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Limit {
    shared: Arc<SharedLimit>,
    /// The number with which it was made.
    first: usize,
    /// It was made for one option, and is not shared.
    is_number: bool,
}

impl Limit {
    /// At most this many attempts.
    ///
    /// ```
    /// assert_eq!(jobber::Limit::new(3).get(), 3);
    /// ```
    pub fn new(attempts: usize) -> Self {
        Self {
            shared: Arc::new(SharedLimit::new(attempts)),
            first: attempts,
            is_number: false,
        }
    }

    /// As an option of a task or a group. `own`: the name of a limit that is not shared.
    pub(crate) fn as_option(&self, own: WaitingFor) -> LimitOption {
        LimitOption {
            limit: self.shared.clone(),
            first: self.first,
            name: match self.is_number {
                true => own,
                false => WaitingFor::SharedLimit,
            },
        }
    }

    /// Changes the number. Attempts that run go on, also if they are more than that. Jobs that wait
    /// start if there is room; 0 holds them all.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # use jobber::Limit;
    /// let limit = Limit::new(1);
    /// let hello = sim.app().task("hello", || async {}).limit(&limit).register()?;
    /// limit.set(0);
    /// let job = hello.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(!job.is_done());
    /// limit.set(1);
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&self, attempts: usize) {
        self.shared.set(attempts);
    }

    /// The present number.
    pub fn get(&self) -> usize {
        self.shared.capacity()
    }
}

impl From<usize> for Limit {
    /// A limit of one task alone, or of the tasks of one group.
    fn from(attempts: usize) -> Self {
        Self {
            is_number: true,
            ..Self::new(attempts)
        }
    }
}

impl From<&Limit> for Limit {
    fn from(limit: &Limit) -> Self {
        limit.clone()
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limit").field(&self.get()).finish()
    }
}
