//! [`Event`]: something that happened in an app.

use std::fmt;

use time::{Duration, OffsetDateTime};

use crate::sync::primitives::Arc;
use crate::value::escaped::Escaped;
use crate::value::id::JobId;
use crate::value::pause_key::PauseKey;
use crate::value::progress::Progress;
use crate::value::run::Run;
use crate::value::status::JobStatus;
use crate::value::waiting_for::WaitingFor;

/// Something that happened in an app.
///
/// Its `Display` is one line for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Something happened to a job.
    Job(JobEvent),
    /// The wall clock was set: it has moved by half a second or more against the monotonic
    /// clock. Jobs that are due by the wall clock follow it. A machine that was suspended is
    /// [`Resumed`](Event::Resumed) instead, where the clock can tell the two apart.
    ClockStepped {
        /// How far the wall clock moved, less the time that passed. It is positive if the
        /// clock moved forward.
        by: Duration,
    },
    /// The machine was suspended, and goes on. The monotonic clock stood still. The wall
    /// clock did not: jobs that are due by it may have missed times.
    Resumed {
        /// How long it was suspended.
        after: std::time::Duration,
    },
    /// A task, a group or the whole app was paused ([`Task::pause`](crate::Task::pause),
    /// [`Group::pause`](crate::Group::pause), [`Jobber::pause`](crate::Jobber::pause)).
    PauseBegan {
        /// What was paused.
        of: PauseKey,
    },
    /// A task, a group or the whole app was resumed.
    PauseEnded {
        /// What was resumed.
        of: PauseKey,
    },
    /// The reader was too slow, and this many events were left out at this place.
    Missed(u64),
}

/// Something that happened to a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobEvent {
    /// When it happened, by the wall clock, in the app's time zone.
    pub at: OffsetDateTime,
    /// The id of the job.
    pub id: JobId,
    /// The name of the job's task.
    pub task: Arc<str>,
    /// What happened.
    pub kind: JobEventKind,
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobEventKind {
    /// The job was scheduled, or replaced.
    Scheduled {
        /// When it is due.
        due: OffsetDateTime,
    },
    /// The job was in the store when the app started, and continues.
    Restored {
        /// When it is due. This may be in the past.
        due: OffsetDateTime,
    },
    /// The process before ended during an attempt of the job, and did not close the store. The
    /// attempt is made again, unless the job is set aside.
    Interrupted {
        /// How often in a row that was seen.
        interruptions: u32,
        /// The job does not start any more
        /// ([`TaskBuilder::max_interruptions`](crate::TaskBuilder::max_interruptions)).
        is_set_aside: bool,
    },
    /// An attempt started.
    Started {
        /// The number of the run, from 1.
        run: u64,
        /// The number of the attempt in that run, from 1.
        attempt: u32,
    },
    /// An attempt failed, and there will be another.
    Retrying {
        /// The number of the attempt that failed, from 1.
        attempt: u32,
        /// When the next attempt is due.
        due: OffsetDateTime,
    },
    /// An attempt of a blocking task has ended by its timeout, or because the job was aborted,
    /// and the function has not returned. It can't be stopped, and keeps its thread. The job
    /// does not start again before it returns: [`Health`](crate::Health) shows it meanwhile.
    /// What the attempt came to follows.
    BodyOutlives {
        /// The number of the attempt in its run, from 1.
        attempt: u32,
    },
    /// An attempt has asked to be made again later ([`Snooze`](crate::Snooze)). It has not failed.
    Snoozed {
        /// When it is due.
        due: OffsetDateTime,
    },
    /// The running attempt has reported how far it has come
    /// ([`JobContext::progress`](crate::JobContext::progress)).
    Progressed(Progress),
    /// A run of a recurring job ended.
    RunEnded(Run),
    /// Scheduled times of a recurring job passed without a run.
    Misfired {
        /// The scheduled time of the next run, as the job's [`Misfire`](crate::Misfire)
        /// policy chose it.
        next: OffsetDateTime,
    },
    /// The job was paused, by [`pause`](crate::Job::pause) or because a run of it has failed
    /// ([`pause_on_failure`](crate::Schedule::pause_on_failure)).
    Paused,
    /// The job itself is not paused any more. Its task, a group of its task or its app may be.
    Resumed {
        /// When it is due.
        due: OffsetDateTime,
    },
    /// [`run_now`](crate::Job::run_now) was called: an attempt starts now, or follows the one
    /// that runs.
    RunRequested,
    /// [`move_to`](crate::Job::move_to) or [`delay_by`](crate::Job::delay_by) has moved a run.
    Moved {
        /// When it is due. `None` if the run that goes on has to end first.
        due: Option<OffsetDateTime>,
    },
    /// The job is due, and waits for a limit.
    Waiting {
        /// The limit.
        on: WaitingFor,
    },
    /// The calendar of a recurring job excludes all of its times that are left, or the next
    /// 10,000 of them. The job ends: the event of its end follows.
    AllExcluded {
        /// The name of the calendar.
        calendar: Arc<str>,
    },
    /// This many runs of a recurring job have failed in a row, which is its
    /// [`max_failures`](crate::Schedule::max_failures). The job ends: the event of its end
    /// follows.
    FailedTooOften {
        /// The limit of the job.
        max_failures: u32,
    },
    /// The job was cancelled or aborted, the app stopped before it ran, or it is a recurring job
    /// of which all times were missed.
    Cancelled,
    /// The job runs once, and has ended because its next attempt would have started later than
    /// [`Schedule::expires`](crate::Schedule::expires) allows. Its status is `CANCELLED`.
    Expired,
    /// The job ended in any other way, with this status.
    Ended(JobStatus),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Job(event) => event.fmt(f),
            Event::ClockStepped { by } => write!(f, "the wall clock stepped by {by}"),
            Event::Resumed { after } => write!(f, "the machine was suspended for {after:?}"),
            Event::PauseBegan { of } => write!(f, "{of} was paused"),
            Event::PauseEnded { of } => write!(f, "{of} was resumed"),
            Event::Missed(count) => write!(f, "{count} events were missed"),
        }
    }
}

impl fmt::Display for JobEvent {
    /// The time, the name of the task, the id of the job, and what happened.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let mut events = sim.app().events();
    /// let greet = sim.app().task("greet", || async {}).register()?;
    /// let _ = greet.schedule(()).id("x").push().block_on()?;
    /// assert_eq!(
    ///     events.try_next().unwrap().to_string(),
    ///     "2000-01-01 0:00:00.0 +00:00:00 greet x: scheduled for 2000-01-01 0:00:00.0 +00:00:00"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.at, self.task, self.id, self.kind)
    }
}

impl fmt::Display for JobEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobEventKind::Scheduled { due } => write!(f, "scheduled for {due}"),
            JobEventKind::Restored { due } => write!(f, "restored, due {due}"),
            JobEventKind::Interrupted {
                interruptions,
                is_set_aside,
            } => {
                write!(
                    f,
                    "the process ended during {interruptions} of its attempts in a row"
                )?;
                f.write_str(if *is_set_aside {
                    "; it is set aside"
                } else {
                    ""
                })
            }
            JobEventKind::Started { run, attempt } => {
                write!(f, "started run {run}, attempt {attempt}")
            }
            JobEventKind::Retrying { attempt, due } => {
                write!(f, "attempt {attempt} failed, to be tried again at {due}")
            }
            JobEventKind::BodyOutlives { attempt } => {
                write!(
                    f,
                    "attempt {attempt} has ended, and its function has not returned"
                )
            }
            JobEventKind::Snoozed { due } => write!(f, "snoozed until {due}"),
            JobEventKind::Progressed(progress) => write!(f, "progress {progress}"),
            JobEventKind::RunEnded(run) => write!(f, "run {} ended: {}", run.number, run.status),
            JobEventKind::Misfired { next } => write!(f, "missed its time, and runs for {next}"),
            JobEventKind::Waiting { on } => write!(f, "waits for {on}"),
            JobEventKind::Paused => f.write_str("paused"),
            JobEventKind::Resumed { due } => write!(f, "resumed, due {due}"),
            JobEventKind::RunRequested => f.write_str("a run was asked for now"),
            JobEventKind::Moved { due: Some(due) } => write!(f, "moved to {due}"),
            JobEventKind::Moved { due: None } => f.write_str("its next run was moved"),
            JobEventKind::AllExcluded { calendar } => {
                write!(
                    f,
                    "the calendar `{}` excludes all times that come next",
                    Escaped(calendar)
                )
            }
            JobEventKind::FailedTooOften { max_failures } => {
                write!(f, "failed {max_failures} times in a row, its limit")
            }
            JobEventKind::Cancelled => f.write_str("cancelled"),
            JobEventKind::Expired => f.write_str("expired"),
            JobEventKind::Ended(status) => write!(f, "ended: {status}"),
        }
    }
}
