//! [`Steering`]: what a job was asked by hand.

use crate::value::time_units::WallNanos;

/// What a job was asked by hand and has not done yet, and whether it is paused.
///
/// It is part of the row, beside the position, and may change in any phase but Ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
