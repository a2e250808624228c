//! [`Steering`]: what a job was asked by hand.

use crate::value::time_units::WallNanos;

/// What a job was asked by hand and has not done yet, and whether it is paused.
///
/// It is part of the row, beside the position, and may change in any phase but Ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steering {
    pub(crate) is_paused: bool,
    /// An extra run of a recurring job, for this moment. It is due at once, and no pause holds
    /// it. It stays here until its first attempt has ended.
    pub(crate) extra: Option<WallNanos>,
    /// Another extra run, which was asked for during the first attempt of `extra`.
    pub(crate) second_extra: Option<WallNanos>,
    /// The attempt that the job waits for is due at once, and no pause holds it: the retry of
    /// a run, or the run of a job that runs once.
    pub(crate) runs_now: bool,
    /// Where the run after the one that goes on is moved to.
    pub(crate) next_move: Option<Move>,
    /// A pause has ended while a run was open: the times up to this one are left out when that
    /// run has ended.
    pub(crate) leaves_out_up_to: Option<WallNanos>,
    /// The job has gone on at this time, after a pause of its own or with `catch_up`: it makes up
    /// what its misfire policy says. Pauses of its task and its app that have ended by then are
    /// over for it.
    pub(crate) went_on_at: Option<WallNanos>,
}

/// To which time a run is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    To(WallNanos),
    /// By this many nanoseconds after the time at which it would be due.
    By(i64),
}

impl Steering {
    /// The first attempt of `extra` has ended: its run is over, or waits for a retry.
    pub(crate) fn take_extra(&mut self) -> Option<WallNanos> {
        let first = self.extra.take();
        self.extra = self.second_extra.take();
        first
    }

    /// What is left of it if the job is replaced by one of other times. `ends_run`: an attempt
    /// runs, and its run ends with the replacement; `ends_extra`: that run is an extra one, in its
    /// first attempt. `recurs`: the replacement does.
    pub(crate) fn replaced(mut self, ends_run: bool, ends_extra: bool, recurs: bool) -> Self {
        // It was asked of what waited before.
        self.runs_now = false;
        self.went_on_at = None;
        self.leaves_out_up_to = None;
        if ends_extra {
            self.take_extra();
        }
        if !recurs && !ends_run {
            (self.extra, self.second_extra) = (None, None);
        }
        self
    }
}

impl Move {
    /// The time to which a run is moved that is due at `due`.
    pub(crate) fn from(self, due: WallNanos) -> WallNanos {
        match self {
            Move::To(time) => time,
            Move::By(nanos) => due.saturating_add(nanos),
        }
    }
}
