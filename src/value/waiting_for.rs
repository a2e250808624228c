//! [`WaitingFor`]: why a job that is due does not start.

use std::fmt;

use crate::sync::primitives::Arc;
use crate::value::escaped::Escaped;

/// What keeps a due job from starting. If it waits for several things, this is
/// one of them.
/// [`Job::waiting_for`](crate::Job::waiting_for) returns it, and
/// [`JobEventKind::Waiting`](crate::JobEventKind::Waiting) has it.
///
/// ```
/// # use jobber::testing::Simulation;
/// use jobber::WaitingFor;
///
/// # let mut sim = Simulation::new();
/// let slow = sim.app().task("slow", std::future::pending::<()>).limit(1).register()?;
/// let first = slow.schedule(()).push().block_on()?;
/// let second = slow.schedule(()).push().block_on()?;
/// sim.run_until_stalled();
/// assert_eq!(first.waiting_for(), None, "it runs");
/// assert_eq!(second.waiting_for(), Some(WaitingFor::TaskLimit));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WaitingFor {
    /// The job, its task, a group of its task or its app is paused.
    Pause,
    /// The function of its last attempt has not returned.
    LastAttempt,
    /// [`JobberBuilder::max_running`](crate::JobberBuilder::max_running).
    MaxRunning,
    /// A limit of its task alone ([`TaskBuilder::limit`](crate::TaskBuilder::limit) with a number).
    TaskLimit,
    /// A limit of a group of its task ([`Group::limit`](crate::Group::limit) with a number).
    GroupLimit,
    /// A [`Limit`](crate::Limit), also if no other task uses it.
    SharedLimit,
    /// The limit of this key ([`TaskBuilder::limit_by`](crate::TaskBuilder::limit_by)).
    Key(Arc<str>),
    /// The rate of its task ([`TaskBuilder::rate`](crate::TaskBuilder::rate)).
    Rate,
    /// The rate of a group of its task ([`Group::rate`](crate::Group::rate)).
    GroupRate,
    /// The rate of this key ([`TaskBuilder::rate_by`](crate::TaskBuilder::rate_by)).
    RateOfKey(Arc<str>),
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitingFor::Pause => f.write_str("the end of a pause"),
            WaitingFor::LastAttempt => f.write_str("the function of its last attempt"),
            WaitingFor::MaxRunning => f.write_str("the limit of the app"),
            WaitingFor::TaskLimit => f.write_str("the limit of its task"),
            WaitingFor::GroupLimit => f.write_str("the limit of a group"),
            WaitingFor::SharedLimit => f.write_str("a shared limit"),
            WaitingFor::Key(key) => write!(f, "the limit of the key {}", Escaped(key)),
            WaitingFor::Rate => f.write_str("the rate of its task"),
            WaitingFor::GroupRate => f.write_str("the rate of a group"),
            WaitingFor::RateOfKey(key) => write!(f, "the rate of the key {}", Escaped(key)),
        }
    }
}
