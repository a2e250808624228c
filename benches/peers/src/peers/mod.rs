//! The peers, each behind the few functions that the works need. Each is used as
//! its own users would use it.

pub mod apalis;
pub mod cron_scheduler;
pub mod delay_queue;
pub mod delay_timer;
pub mod jobber;
pub mod smol;
pub mod tokio;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// On its own thread pool.
    Jobber,
    /// On smol's executor.
    JobberSmol,
    /// With a least gap of a millisecond between wake-ups.
    JobberGap,
    /// With a semaphore inside of the task.
    JobberSemaphore,
    Smol,
    Tokio,
    DelayQueue,
    DelayTimer,
    CronScheduler,
    Apalis,
    Croner,
    Cron,
    Sqlite,
    Jobify,
}

impl Peer {
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Jobber, "jobber"),
        (Self::JobberSmol, "jobber+smol"),
        (Self::JobberGap, "jobber-1ms"),
        (Self::JobberSemaphore, "jobber+semaphore"),
        (Self::Smol, "smol"),
        (Self::Tokio, "tokio"),
        (Self::DelayQueue, "delay-queue"),
        (Self::DelayTimer, "delay_timer"),
        (Self::CronScheduler, "tokio-cron-scheduler"),
        (Self::Apalis, "apalis"),
        (Self::Croner, "croner"),
        (Self::Cron, "cron"),
        (Self::Sqlite, "sqlite"),
        (Self::Jobify, "jobify"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find_map(|(peer, name)| (peer == self).then_some(name))
            .unwrap_or("?")
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(peer, _)| peer).ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name).join(", ");
            format!("{text} is not a peer; there are {names}")
        })
    }
}

/// What a job is given, as jobber's tasks need it.
pub trait Argument: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> Argument for T {}

/// Holds one-time jobs, and lets go of them again.
pub trait Scheduler<A>: Sync {
    type Handle: Send;

    fn schedule(&self, delay: Duration, arg: A) -> Result<Self::Handle>;

    /// By what the peer's user would call. The handle is left where it is if the
    /// peer cancels by reference.
    fn cancel(&self, handle: &mut Option<Self::Handle>) -> Result;

    /// Around all that a thread calls, for peers that need a context.
    fn within<T>(&self, calls: impl FnOnce() -> T) -> T {
        calls()
    }
}

/// Lets the end of each job be waited for.
pub trait Awaited {
    type Waiter;

    fn schedule_awaited(&self, delay: Duration, arg: u64) -> Result<Self::Waiter>;

    /// Returns once every waiter has seen the end of its job.
    fn wait_all(&self, waiters: Vec<Self::Waiter>) -> Result;
}

/// Runs jobs each second, until the process ends.
pub trait Recurring {
    /// Whether it can be told when to begin. A peer that cannot begins a second
    /// after the call.
    const HAS_PHASE: bool = true;

    fn every_second(&self, first: Duration, arg: u64) -> Result;
}

/// Runs a job now.
pub trait RoundTrip {
    fn push_and_wait(&self, arg: u64) -> Result;
}

/// As many threads as there are cores, for every peer.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
