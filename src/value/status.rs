//! The status of a job: [`JobStatus`], with the atomic byte that holds it.
//!
//! # The law
//!
//! | from | to | when |
//! |---|---|---|
//! | `Scheduled` | `Running` | an attempt starts |
//! | `Scheduled` | `Cancelled` | `cancel`, `abort`, or the app stopped before the job ran |
//! | `Scheduled` | `Success`, `Failed`, `Timeout` | recurring: no time is left for another run; it ends as its last one did |
//! | `Running` | `Scheduled` | a retry is left; recurring: another run follows; the job was replaced during its run |
//! | `Running` | `Success` | the task gave a value; recurring: it did so in the last of `max_runs` |
//! | `Running` | `Failed` | the last attempt gave an error, panicked, or was dropped by its executor |
//! | `Running` | `Timeout` | the last attempt took too long |
//! | `Running` | `PermanentlyFailed` | recurring: `max_failures` runs in a row did not succeed |
//! | `Running` | `Cancelled` | `abort`; recurring, or replaced during the run: `cancel` or the app's stop during it, once it has ended |
//!
//! A final state is never left. Every move is one compare-exchange, made under
//! the lock of the job's state: the lock puts the moves in order and holds the
//! outcome, the byte lets anyone look without a lock.
//!
//! A durable job's move is *hidden* until its store has been told, so that
//! whoever sees a job done knows that no other process will run it again:
//! [`StatusCell::get`] shows the state before, [`StatusCell::actual`] the one
//! that holds, and [`StatusCell::reveal`] ends the difference. If the store
//! can't be told, the move is shown all the same. A durable job that is
//! `Scheduled` when its app stops stays so.

use std::fmt;
use std::str::FromStr;

use crate::sync::primitives::{AtomicU8, Ordering};
use crate::value::error::ParseStatusError;

/// The state of a job.
///
/// A job begins as `Scheduled`. A final status never changes again.
///
/// ```
/// use jobber::JobStatus;
///
/// assert_eq!(JobStatus::PermanentlyFailed.to_string(), "PERMANENTLY_FAILED");
/// assert_eq!("SCHEDULED".parse(), Ok(JobStatus::Scheduled));
/// assert!(JobStatus::Timeout.is_final());
/// assert!(!JobStatus::Running.is_final());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "SCREAMING_SNAKE_CASE"))]
#[repr(u8)]
pub enum JobStatus {
    /// The job waits: for its due time, for the executor, for a retry, or for its next
    /// run.
    Scheduled,
    /// An attempt is running.
    Running,
    /// Final: the job was cancelled or aborted, or its app stopped before the job ran.
    Cancelled,
    /// Final: the task returned its value.
    Success,
    /// Final: the last attempt returned an error, panicked, or was dropped by its
    /// executor.
    Failed,
    /// Final: the last attempt took longer than the timeout of its task.
    Timeout,
    /// Final: a recurring job had `max_failures` runs in a row that did not succeed.
    PermanentlyFailed,
}

impl JobStatus {
    /// All statuses, in the order of declaration.
    pub const ALL: [JobStatus; 7] = [
        JobStatus::Scheduled,
        JobStatus::Running,
        JobStatus::Cancelled,
        JobStatus::Success,
        JobStatus::Failed,
        JobStatus::Timeout,
        JobStatus::PermanentlyFailed,
    ];

    /// Whether the job has ended: a final status never changes again.
    pub fn is_final(self) -> bool {
        !matches!(self, JobStatus::Scheduled | JobStatus::Running)
    }

    /// The name in capital letters, such as `PERMANENTLY_FAILED`. `Display` writes and
    /// `FromStr` parses the same text.
    pub fn as_str(self) -> &'static str {
        match self {
            JobStatus::Scheduled => "SCHEDULED",
            JobStatus::Running => "RUNNING",
            JobStatus::Cancelled => "CANCELLED",
            JobStatus::Success => "SUCCESS",
            JobStatus::Failed => "FAILED",
            JobStatus::Timeout => "TIMEOUT",
            JobStatus::PermanentlyFailed => "PERMANENTLY_FAILED",
        }
    }

    /// The law above, as code.
    fn may_become(self, to: JobStatus) -> bool {
        match self {
            JobStatus::Scheduled => matches!(
                to,
                JobStatus::Running
                    | JobStatus::Cancelled
                    | JobStatus::Success
                    | JobStatus::Failed
                    | JobStatus::Timeout
            ),
            JobStatus::Running => to != JobStatus::Running,
            _ => false,
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobStatus {
    type Err = ParseStatusError;

    fn from_str(text: &str) -> Result<Self, ParseStatusError> {
        JobStatus::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| ParseStatusError { text: text.into() })
    }
}

/// Set while somebody may be waiting, so that a job that nobody waits for
/// never touches its event (which would allocate).
const WAITED_FOR: u8 = 1 << 7;

/// The bits of the state that is shown.
const SHOWN: u8 = 0b111;

/// Where the state that holds is kept while it is hidden, plus one.
const HIDDEN_SHIFT: u32 = 3;
const HIDDEN: u8 = SHOWN << HIDDEN_SHIFT | 1 << 6;

/// The status byte of one job.
#[derive(Debug)]
pub(crate) struct StatusCell(AtomicU8);

/// What a move found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Somebody may be waiting: notify them once the lock is gone.
    pub(crate) waited_for: bool,
}

impl StatusCell {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(JobStatus::Scheduled as u8))
    }

    pub(crate) fn get(&self) -> JobStatus {
        // Acquire pairs with the release in `shift`: whoever sees a status sees
        // what was written before it was set.
        Self::status(self.0.load(Ordering::Acquire))
    }

    /// The state that holds, be it hidden. For decisions under the job's lock.
    pub(crate) fn actual(&self) -> JobStatus {
        Self::actual_status(self.0.load(Ordering::Acquire))
    }

    /// Ends the hiding of whatever is hidden. Gives whether anything was.
    pub(crate) fn reveal(&self) -> Option<Moved> {
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen & HIDDEN != 0 {
            let flags = seen & WAITED_FOR;
            let shown = Self::actual_status(seen) as u8 | flags;
            // Release, for the acquire of `get`; SeqCst for the order that
            // `announce_waiter` needs.
            match self
                .0
                .compare_exchange_weak(seen, shown, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => {
                    return Some(Moved {
                        waited_for: flags != 0,
                    });
                }
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Says that somebody is about to wait, and gives the status as of then.
    ///
    /// The order is: this, then listen, then look at the status again. SeqCst,
    /// here and in `shift`, puts this and every move into one order: either
    /// the move sees the bit and notifies, or this sees the move's status.
    pub(crate) fn announce_waiter(&self) -> JobStatus {
        Self::status(self.0.fetch_or(WAITED_FOR, Ordering::SeqCst))
    }

    /// Whether anybody may be waiting.
    pub(crate) fn is_waited_for(&self) -> bool {
        // A read-modify-write, so that it has its place in the order above.
        self.0.fetch_or(0, Ordering::SeqCst) & WAITED_FOR != 0
    }

    /// `Scheduled → Running`. Never hidden, and never while something is.
    pub(crate) fn start(&self) -> Option<Moved> {
        self.shift(JobStatus::Scheduled, JobStatus::Running, Show::Now)
    }

    /// `Scheduled → Cancelled`.
    pub(crate) fn cancel(&self, show: Show) -> Option<Moved> {
        self.shift(JobStatus::Scheduled, JobStatus::Cancelled, show)
    }

    /// `Scheduled →` the given final status, for a schedule that has run out.
    pub(crate) fn run_out(&self, status: JobStatus, show: Show) -> Option<Moved> {
        self.shift(JobStatus::Scheduled, status, show)
    }

    /// `Running → Scheduled`.
    pub(crate) fn reschedule(&self, show: Show) -> Option<Moved> {
        self.shift(JobStatus::Running, JobStatus::Scheduled, show)
    }

    /// `Running →` the given final status.
    pub(crate) fn finish(&self, status: JobStatus, show: Show) -> Option<Moved> {
        debug_assert!(status.is_final());
        self.shift(JobStatus::Running, status, show)
    }

    /// The compare-exchange behind every move; `None` when the job did not
    /// stand at `from`.
    fn shift(&self, from: JobStatus, to: JobStatus, show: Show) -> Option<Moved> {
        debug_assert!(from.may_become(to), "{from} -> {to} is against the law");
        let mut seen = self.0.load(Ordering::Relaxed);
        while Self::actual_status(seen) == from {
            let flags = seen & WAITED_FOR;
            let moved = match show {
                Show::Now => to as u8,
                Show::WhenStored => seen & SHOWN | (to as u8 + 1) << HIDDEN_SHIFT,
            };
            match self.0.compare_exchange_weak(
                seen,
                moved | flags,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    return Some(Moved {
                        waited_for: flags != 0 && show == Show::Now,
                    });
                }
                Err(now) => seen = now,
            }
        }
        None
    }

    fn status(byte: u8) -> JobStatus {
        match byte & SHOWN {
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

    fn actual_status(byte: u8) -> JobStatus {
        match (byte & HIDDEN) >> HIDDEN_SHIFT {
            0 => Self::status(byte),
            hidden => Self::status(hidden - 1),
        }
    }
}

/// When a move is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Now,
    /// At the [`reveal`](StatusCell::reveal).
    WhenStored,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(status: JobStatus) -> StatusCell {
        StatusCell(AtomicU8::new(status as u8))
    }

    #[test]
    fn every_status_survives_the_byte() {
        for status in JobStatus::ALL {
            assert_eq!(at(status).get(), status);
        }
    }

    #[test]
    fn a_schedule_runs_out_of_scheduled_only() {
        for status in JobStatus::ALL {
            let legal = status == JobStatus::Scheduled;
            let cell = at(status);
            assert_eq!(cell.run_out(JobStatus::Success, Show::Now).is_some(), legal);
            assert_eq!(cell.get(), if legal { JobStatus::Success } else { status });
        }
    }

    #[test]
    fn start_and_cancel_leave_scheduled_only() {
        for status in JobStatus::ALL {
            let legal = status == JobStatus::Scheduled;
            let (started, cancelled) = (at(status), at(status));
            assert_eq!(started.start().is_some(), legal);
            assert_eq!(cancelled.cancel(Show::Now).is_some(), legal);
            assert_eq!(
                started.get(),
                if legal { JobStatus::Running } else { status }
            );
            assert_eq!(
                cancelled.get(),
                if legal { JobStatus::Cancelled } else { status }
            );
        }
    }

    #[test]
    fn reschedule_and_finish_leave_running_only() {
        for status in JobStatus::ALL {
            let legal = status == JobStatus::Running;
            let cell = at(status);
            assert_eq!(cell.reschedule(Show::Now).is_some(), legal);
            assert_eq!(
                cell.get(),
                if legal { JobStatus::Scheduled } else { status }
            );
            for end in JobStatus::ALL.into_iter().filter(|s| s.is_final()) {
                let cell = at(status);
                assert_eq!(cell.finish(end, Show::Now).is_some(), legal);
                assert_eq!(cell.get(), if legal { end } else { status });
            }
        }
    }

    #[test]
    fn no_law_lets_a_final_status_go() {
        for from in JobStatus::ALL.into_iter().filter(|s| s.is_final()) {
            assert!(JobStatus::ALL.into_iter().all(|to| !from.may_become(to)));
        }
    }

    #[test]
    fn a_move_tells_of_a_waiter_and_keeps_it() {
        let cell = StatusCell::new();
        assert_eq!(cell.start(), Some(Moved { waited_for: false }));
        assert_eq!(cell.announce_waiter(), JobStatus::Running);
        assert_eq!(cell.reschedule(Show::Now), Some(Moved { waited_for: true }));
        assert_eq!(cell.cancel(Show::Now), Some(Moved { waited_for: true }));
        assert!(cell.is_waited_for());
    }

    #[test]
    fn a_hidden_move_holds_and_is_not_seen() {
        for end in JobStatus::ALL.into_iter().filter(|s| s.is_final()) {
            let cell = at(JobStatus::Running);
            let hidden = cell.finish(end, Show::WhenStored);
            assert_eq!(hidden, Some(Moved { waited_for: false }));
            assert_eq!((cell.get(), cell.actual()), (JobStatus::Running, end));
            assert_eq!(cell.finish(end, Show::Now), None, "it is over");
            assert!(cell.reveal().is_some());
            assert_eq!((cell.get(), cell.actual()), (end, end));
            assert_eq!(cell.reveal(), None, "nothing is left to reveal");
        }
    }

    #[test]
    fn of_two_hidden_moves_the_last_holds_and_the_first_state_is_shown() {
        let cell = at(JobStatus::Running);
        cell.announce_waiter();
        let moved = cell.reschedule(Show::WhenStored);
        assert_eq!(moved, Some(Moved { waited_for: false }), "not yet");
        assert!(cell.cancel(Show::WhenStored).is_some());
        assert_eq!(cell.get(), JobStatus::Running);
        assert_eq!(cell.actual(), JobStatus::Cancelled);
        assert_eq!(cell.reveal(), Some(Moved { waited_for: true }));
        assert_eq!(cell.get(), JobStatus::Cancelled);
        assert!(cell.is_waited_for());
    }
}
