//! [`Phase`]: the state machine of a job, as one table.
//!
//! `ARCHITECTURE.md` has the same as a diagram. [`transition`] is the only place where
//! a phase follows from another; `lifecycle.rs` applies it and decides which event it
//! is. A new job begins as Waiting or Ready. A job that is loaded begins as Waiting, or as
//! Running if its start intent says that an attempt was cut off.

use crate::value::status::JobStatus;

/// Where a job is in its life.
///
/// What users see is a [`JobStatus`], which follows the phase once the store was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for its time: for a run, or for the retry of one.
    Waiting,
    /// Due. The executor has an attempt of it, which has not begun.
    Ready,
    /// Due. The store is to hold the intent to start before the attempt may begin.
    Starting,
    /// An attempt runs.
    Running,
    /// An attempt runs, and nothing follows it: the job was cancelled meanwhile.
    Cancelling,
    /// Over, with a final status. No event leads out of it.
    Ended(JobStatus),
}

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is due, and goes to the executor.
    Start,
    /// It is due, or has its limits, and its intent to start has to be stored first.
    PersistStart,
    /// Its run was missed, and the next one is later.
    Postpone,
    /// Its run was missed, and no time is left.
    RunOut(JobStatus),
    /// The executor begins the attempt.
    Begin,
    /// The executor would begin the attempt, but the gate is shut, or the run has expired.
    GateShut,
    /// The executor of a living app dropped the attempt before its first poll.
    ExecutorDrop,
    /// A replacement was submitted to the store.
    Propose,
    /// The replacement was accepted.
    Accept,
    /// `cancel`.
    Cancel,
    /// `abort`.
    Abort,
    /// The app stops, and no attempt runs. A durable job is left to the next process.
    Stop { is_durable: bool },
    /// The wall clock was set back, and an earlier time is due again.
    ClockSet,
    /// The job was set aside, and may start again.
    Release,
    /// `pause`: no attempt begins.
    Pause,
    /// `resume` or `run_now`: what waits may start, perhaps at once.
    Steer,
    /// `move_to` or `delay_by`.
    Move,
    /// The attempt failed, and a retry follows.
    Retry,
    /// The run is over, and another one follows.
    NextRun,
    /// The run is over, and nothing follows.
    Finish(JobStatus),
    /// The attempt of a durable job was dropped while the app stops, or has ended after the
    /// store was closed: the next process makes it again.
    Void,
}

/// What a transition requires in addition to the new phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// The row of a durable job changes, or may change.
    pub(crate) changes_row: bool,
    /// The timer is to come at the time at which the job is due.
    pub(crate) arms: bool,
    /// The job leaves the table of live jobs.
    pub(crate) leaves: bool,
    /// The running attempt is stopped by force.
    pub(crate) force_stops: bool,
}

const NONE: Effects = Effects {
    changes_row: false,
    arms: false,
    leaves: false,
    force_stops: false,
};
const ROW: Effects = Effects {
    changes_row: true,
    ..NONE
};
const ROW_AND_ARM: Effects = Effects { arms: true, ..ROW };
const END: Effects = Effects {
    leaves: true,
    ..ROW
};
const FORCE_STOP: Effects = Effects {
    force_stops: true,
    ..END
};

/// The state machine: the phase after an event, with what it asks for. `None` if the
/// event does not apply to a job in this phase.
pub(crate) fn transition(phase: Phase, event: Event) -> Option<(Phase, Effects)> {
    use Event::*;
    use Phase::*;
    Some(match (phase, event) {
        (Waiting, Start) => (Ready, NONE),
        (Waiting | Ready, PersistStart) => (Starting, ROW),
        (Waiting, Postpone | ClockSet | Release) => (Waiting, ROW_AND_ARM),
        (Waiting, RunOut(status)) => (Ended(status), END),

        (Waiting | Ready | Starting, Pause) => (Waiting, ROW),
        (Waiting, Steer) => (Waiting, ROW_AND_ARM),
        (Ready | Starting, Steer) => (phase, ROW),
        (Waiting | Ready | Starting, Move) => (Waiting, ROW_AND_ARM),
        (Running, Pause | Steer | Move) => (phase, ROW),

        (Ready | Starting, Begin) => (Running, NONE),
        (Ready, GateShut) => (Waiting, NONE),
        (Starting, GateShut) => (Waiting, ROW),
        (Ready | Starting, ExecutorDrop) => (Waiting, ROW_AND_ARM),

        (Waiting | Ready | Running, Propose) => (phase, NONE),
        (Starting, Propose) => (Waiting, ROW),
        (Waiting | Ready | Starting, Accept) => (Waiting, ROW_AND_ARM),
        (Running, Accept) => (phase, ROW),

        (Waiting | Ready | Starting, Cancel | Abort) => (Ended(JobStatus::Cancelled), END),
        (Running, Cancel) => (Cancelling, ROW),
        (Running | Cancelling, Abort) => (Ended(JobStatus::Cancelled), FORCE_STOP),

        (Waiting | Ready, Stop { is_durable: true }) => (Waiting, NONE),
        (Starting, Stop { is_durable: true }) => (Waiting, ROW),
        (Waiting | Ready | Starting, Stop { is_durable: false }) => {
            (Ended(JobStatus::Cancelled), END)
        }
        (Running | Cancelling, Void) => (phase, NONE),

        (Running, Retry | NextRun) => (Waiting, ROW_AND_ARM),
        (Running | Cancelling, Finish(status)) => (Ended(status), END),

        _ => return None,
    })
}

impl Phase {
    /// What users see of a job in this phase.
    pub(crate) fn status(self) -> JobStatus {
        match self {
            Phase::Waiting | Phase::Ready | Phase::Starting => JobStatus::Scheduled,
            Phase::Running | Phase::Cancelling => JobStatus::Running,
            Phase::Ended(status) => status,
        }
    }

    pub(crate) fn is_ended(self) -> bool {
        matches!(self, Phase::Ended(_))
    }

    /// Whether an attempt runs.
    pub(crate) fn is_running(self) -> bool {
        matches!(self, Phase::Running | Phase::Cancelling)
    }
}

/// The letter of the phase (`A` for Running), and `+` for a changed row, `t` for an armed
/// timer, `l` for a job that leaves the table, `k` for an attempt that is stopped by force.
#[cfg(test)]
pub(crate) fn short(phase: Phase, effects: Effects) -> String {
    let flags = [
        (effects.changes_row, '+'),
        (effects.arms, 't'),
        (effects.leaves, 'l'),
        (effects.force_stops, 'k'),
    ];
    let flags = flags.iter().filter(|(is_set, _)| *is_set);
    std::iter::once(letter(phase))
        .chain(flags.map(|(_, flag)| *flag))
        .collect()
}

#[cfg(test)]
pub(crate) fn letter(phase: Phase) -> char {
    match phase {
        Phase::Waiting => 'W',
        Phase::Ready => 'R',
        Phase::Starting => 'S',
        Phase::Running => 'A',
        Phase::Cancelling => 'C',
        Phase::Ended(_) => 'E',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 6] = [
        Phase::Waiting,
        Phase::Ready,
        Phase::Starting,
        Phase::Running,
        Phase::Cancelling,
        Phase::Ended(JobStatus::Success),
    ];

    const EVENTS: [Event; 22] = [
        Event::Start,
        Event::PersistStart,
        Event::Postpone,
        Event::RunOut(JobStatus::Failed),
        Event::Begin,
        Event::GateShut,
        Event::ExecutorDrop,
        Event::Propose,
        Event::Accept,
        Event::Cancel,
        Event::Abort,
        Event::Stop { is_durable: true },
        Event::Stop { is_durable: false },
        Event::ClockSet,
        Event::Release,
        Event::Pause,
        Event::Steer,
        Event::Move,
        Event::Retry,
        Event::NextRun,
        Event::Finish(JobStatus::Timeout),
        Event::Void,
    ];

    /// The whole table. A row is an event, a column a phase in the order of `PHASES`:
    /// the letter is the phase after (`-`: the event does not apply), `+` a changed row,
    /// `t` an armed timer, `l` a job that leaves the table, `k` an attempt that is
    /// stopped by force.
    const TABLE: &str = "
        Start          R      -      -      -      -      -
        PersistStart   S+     S+     -      -      -      -
        Postpone       W+t    -      -      -      -      -
        RunOut         E+l    -      -      -      -      -
        Begin          -      A      A      -      -      -
        GateShut       -      W      W+     -      -      -
        ExecutorDrop   -      W+t    W+t    -      -      -
        Propose        W      R      W+     A      -      -
        Accept         W+t    W+t    W+t    A+     -      -
        Cancel         E+l    E+l    E+l    C+     -      -
        Abort          E+l    E+l    E+l    E+lk   E+lk   -
        StopDurable    W      W      W+     -      -      -
        StopInMemory   E+l    E+l    E+l    -      -      -
        ClockSet       W+t    -      -      -      -      -
        Release        W+t    -      -      -      -      -
        Pause          W+     W+     W+     A+     -      -
        Steer          W+t    R+     S+     A+     -      -
        Move           W+t    W+t    W+t    A+     -      -
        Retry          -      -      -      W+t    -      -
        NextRun        -      -      -      W+t    -      -
        Finish         -      -      -      E+l    E+l    -
        Void           -      -      -      A      C      -
    ";

    #[test]
    fn every_pair_of_phase_and_event_is_as_in_the_table() {
        let rows: Vec<Vec<&str>> = TABLE
            .lines()
            .map(|line| line.split_whitespace().collect())
            .filter(|row: &Vec<&str>| !row.is_empty())
            .collect();
        assert_eq!(rows.len(), EVENTS.len());
        for (event, row) in EVENTS.into_iter().zip(rows) {
            for (phase, expected) in PHASES.into_iter().zip(&row[1..]) {
                let found = transition(phase, event);
                let found = found.map_or("-".into(), |(phase, effects)| short(phase, effects));
                assert_eq!(found, *expected, "{phase:?}, {event:?} ({})", row[0]);
            }
        }
    }

    #[test]
    fn an_end_has_the_status_of_its_event() {
        let end = |phase, event| transition(phase, event).unwrap().0.status();
        for status in [JobStatus::Success, JobStatus::Failed, JobStatus::Timeout] {
            assert_eq!(end(Phase::Waiting, Event::RunOut(status)), status);
            assert_eq!(end(Phase::Running, Event::Finish(status)), status);
        }
        for phase in PHASES.into_iter().filter(|phase| !phase.is_ended()) {
            assert_eq!(end(phase, Event::Abort), JobStatus::Cancelled);
        }
    }
}
