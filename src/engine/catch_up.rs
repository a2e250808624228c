//! Jobs that were due while the process was away: some at a time have their
//! turn.
//!
//! A thousand jobs that open a connection each are no trouble over an hour, and
//! are when they come at once because nobody was there for that hour. So a bounded
//! number of them is in its first attempt at a time; when one ends, the next has
//! its turn. An attempt may take for ever, and so more of them start after some
//! time in any case.

use std::collections::VecDeque;

use crate::engine::hub::{Hub, Live};
use crate::sync::primitives::lock;
use crate::value::time_units::WallNanos;

/// So many have their turn at a time.
const AT_A_TIME: usize = 256;

/// After so long, as many more start, though others have not ended.
const PATIENCE: i64 = 5 * 1_000_000_000;

#[derive(Default)]
pub(crate) struct CatchUp {
    /// Not sorted yet.
    found: Vec<(WallNanos, Live)>,
    /// In the order in which they were due.
    waiting: VecDeque<Live>,
    /// How many have their turn. More than [`AT_A_TIME`], if some took it that
    /// had waited for too long.
    turns: usize,
}

impl CatchUp {
    /// One was due when it was restored. To be followed by
    /// [`Hub::catch_up`].
    pub(crate) fn found(&mut self, job: Live) {
        self.found.push((job.exec_at_wall(), job));
    }
}

impl Hub {
    /// Starts those that were found, in the order in which they were due.
    pub(crate) fn catch_up(&self) {
        let mut found = std::mem::take(&mut lock(&self.board).catch_up.found);
        found.sort_by_key(|(due, _)| *due);
        let now = self.clock.mono();
        for (index, (_, job)) in found.into_iter().enumerate() {
            let round = (index / AT_A_TIME + 1) as i64;
            job.wait_for_turn(now.saturating_add(round.saturating_mul(PATIENCE)));
            lock(&self.board).catch_up.waiting.push_back(job);
        }
        self.give_turns();
    }

    /// A job that has waited for its turn for too long takes it.
    pub(crate) fn turn_begins(&self) {
        lock(&self.board).catch_up.turns += 1;
    }

    /// A job has had its turn.
    pub(crate) fn turn_ended(&self) {
        {
            let turns = &mut lock(&self.board).catch_up.turns;
            *turns = turns.saturating_sub(1);
        }
        self.give_turns();
    }

    fn give_turns(&self) {
        loop {
            let next = {
                let catch_up = &mut lock(&self.board).catch_up;
                if catch_up.turns >= AT_A_TIME {
                    return;
                }
                let Some(next) = catch_up.waiting.pop_front() else {
                    // Once, and never again.
                    catch_up.waiting = VecDeque::new();
                    return;
                };
                catch_up.turns += 1;
                next
            };
            let has_it = next.take_turn();
            next.let_go();
            if !has_it {
                // It was cancelled or replaced, or has had it.
                let turns = &mut lock(&self.board).catch_up.turns;
                *turns = turns.saturating_sub(1);
            }
        }
    }
}
