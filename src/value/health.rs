//! [`Health`]: what is wrong with an app.

use std::fmt;

use crate::sync::primitives::Arc;
use crate::value::error::StorageError;
use crate::value::id::JobId;

/// One line of a log names this many functions that still run.
const SHOWN_BODIES: usize = 5;

/// What is wrong with an app. [`Jobber::health`](crate::Jobber::health) returns it.
///
/// Its `Display` is one line for a log.
///
/// ```
/// let app = jobber::Jobber::builder().build()?;
/// let health = app.health();
/// if !health.is_healthy() {
///     eprintln!("restart or page somebody: {health}");
/// }
/// for attention in &health.attention {
///     eprintln!("somebody should look at it: {attention}");
/// }
/// # Ok::<(), jobber::StartError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// Why the app cannot do its work. Empty if it can.
    pub failing: Vec<Failing>,
    /// What a person should look at, although the app does its work.
    pub attention: Vec<Attention>,
}

/// Why an app cannot do its work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failing {
    /// A commit has failed with this error. It stays until a change is written; a commit that
    /// deletes nothing does not clear it. (That one row is too large is shown until the next
    /// commit only.) The app repeats failed changes at growing intervals,
    /// and also when a durable job is scheduled or replaced.
    Storage(StorageError),
    /// The wall clock shows a time before its
    /// [earliest true time](crate::Clock::earliest_true_time): it was never set. Until it is
    /// set, jobs that wait for a wall time wait.
    ClockUnset,
    /// The app needs the thread of this name, and does not have it:
    ///
    /// - `jobber-timer` has ended by a panic of the app's [`Clock`](crate::Clock). No job becomes
    ///   due, no attempt is retried, and no timeout ends an attempt. Jobs that are pushed still
    ///   run. Nothing starts this thread again: shut the app down, and start a new app.
    /// - The operating system did not start `jobber-events`. The threads that make events wake
    ///   the readers instead, so no event is lost. The next call of
    ///   [`Jobber::events`](crate::Jobber::events) tries again to start this thread.
    /// - The operating system did not start `jobber-blocking`. Blocking jobs wait until a thread
    ///   of this name is free. If none exists, their attempts fail. Async tasks
    ///   still run, and so do the blocking tasks of an executor that has its own
    ///   [`spawn_blocking`](crate::Executor::spawn_blocking). The next blocking job tries again
    ///   to start a thread. While blocking jobs wait, a timer tries it too, once a second.
    Thread {
        /// The name of the thread.
        name: &'static str,
    },
}

/// What a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attention {
    /// The store has refused this many changes, which are repeated until they succeed: ends of
    /// jobs, and next runs. If the process ends before that, the next process repeats these
    /// runs.
    Unstored(usize),
    /// No task can run this many stored jobs
    /// ([`Jobber::unresolved`](crate::Jobber::unresolved)). Those that are set aside are not
    /// among them.
    Unresolved(usize),
    /// This many stored jobs are set aside, because a process has ended too often during their
    /// attempts ([`Jobber::unresolved`](crate::Jobber::unresolved)).
    SetAside(usize),
    /// These attempts have ended by a timeout or an abort, and their functions still exist: the
    /// function of a blocking task has not returned, or the future of an async task was not
    /// dropped yet, because a poll of it does not return. The oldest comes first. Each may keep
    /// a thread, and its job does not start again meanwhile.
    Outliving(Vec<OutlivingBody>),
}

/// An attempt that has ended, and whose function still exists. See [`Attention::Outliving`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlivingBody {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job's task.
    pub task: Arc<str>,
    /// The number of the attempt in its run, from 1.
    pub attempt: u32,
    /// Whether the job is due again, and waits until the function is gone.
    pub is_waited_for: bool,
}

impl Health {
    /// Whether the app can do its work: [`failing`](Health::failing) is empty.
    ///
    /// ```
    /// assert!(jobber::Health::default().is_healthy());
    /// ```
    pub fn is_healthy(&self) -> bool {
        self.failing.is_empty()
    }

    /// The error of [`Failing::Storage`], if it is there.
    ///
    /// ```
    /// assert!(jobber::Health::default().storage_error().is_none());
    /// ```
    pub fn storage_error(&self) -> Option<&StorageError> {
        self.failing.iter().find_map(|failing| match failing {
            Failing::Storage(error) => Some(error),
            _ => None,
        })
    }

    /// The number of changes that the store has refused and that are repeated.
    ///
    /// ```
    /// assert_eq!(jobber::Health::default().unstored(), 0);
    /// ```
    pub fn unstored(&self) -> usize {
        let unstored = self.attention.iter().find_map(|attention| match attention {
            Attention::Unstored(count) => Some(*count),
            _ => None,
        });
        unstored.unwrap_or(0)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failing.is_empty() && self.attention.is_empty() {
            return f.write_str("healthy");
        }
        let failing = self
            .failing
            .iter()
            .map(|failing| failing as &dyn fmt::Display);
        let attention = self
            .attention
            .iter()
            .map(|attention| attention as &dyn fmt::Display);
        for (n, one) in failing.chain(attention).enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{one}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failing::Storage(error) => error.fmt(f),
            Failing::ClockUnset => f.write_str("the wall clock was never set"),
            Failing::Thread { name } => write!(f, "the thread `{name}` is missing"),
        }
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attention::Unstored(count) => write!(f, "{count} changes are not stored"),
            Attention::SetAside(count) => write!(f, "{count} stored jobs are set aside"),
            Attention::Unresolved(count) => write!(f, "no task can run {count} stored jobs"),
            Attention::Outliving(bodies) => {
                write!(f, "functions of {} ended attempts still run", bodies.len())?;
                for (n, body) in bodies.iter().take(SHOWN_BODIES).enumerate() {
                    let separator = if n == 0 { ": " } else { ", " };
                    let waits = if body.is_waited_for {
                        ", which waits"
                    } else {
                        ""
                    };
                    write!(f, "{separator}{} {}{waits}", body.task, body.id)?;
                }
                if bodies.len() > SHOWN_BODIES {
                    f.write_str(", …")
                } else {
                    Ok(())
                }
            }
        }
    }
}
