//! Starts the jobs that were overdue when they were loaded, some at a time.

use std::collections::VecDeque;

use crate::engine::catch_up::{ALONE, AT_A_TIME, PATIENCE};
use crate::engine::hub::Hub;
use crate::sync::primitives::lock;

impl Hub {
    /// Queues the overdue jobs by their due times, and starts a portion of them.
    pub(crate) fn catch_up(&self) {
        let mut found = std::mem::take(&mut lock(&self.main_shard).catch_up.found);
        found.sort_by_key(|(interruptions, due, _)| (*interruptions, *due));
        let now = self.clock.mono();
        let mut alone_before = 0;
        for (index, (interruptions, _, job)) in found.into_iter().enumerate() {
            let is_alone = interruptions >= ALONE;
            alone_before += i64::from(is_alone);
            let round = (index / AT_A_TIME + 1) as i64 + alone_before;
            job.wait_for_turn(now.saturating_add(round.saturating_mul(PATIENCE)));
            let waiting = &mut lock(&self.main_shard).catch_up.waiting;
            waiting.push_back((is_alone, job));
        }
        self.give_turns();
    }

    /// Counts a job that starts without a turn, because it has waited for too long.
    pub(crate) fn turn_begins(&self) {
        lock(&self.main_shard).catch_up.turns += 1;
    }

    /// Ends the turn of a job: its first attempt has ended, or it will make none. The next
    /// job gets a turn.
    pub(crate) fn turn_ended(&self) {
        {
            let turns = &mut lock(&self.main_shard).catch_up.turns;
            *turns = turns.saturating_sub(1);
        }
        self.give_turns();
    }

    fn give_turns(&self) {
        loop {
            let next = {
                let catch_up = &mut lock(&self.main_shard).catch_up;
                let most = match catch_up.waiting.front() {
                    Some((true, _)) => 1,
                    _ => AT_A_TIME,
                };
                if catch_up.turns >= most {
                    return;
                }
                let Some((_, next)) = catch_up.waiting.pop_front() else {
                    // Frees the memory of the queue: it is usually filled once only.
                    catch_up.waiting = VecDeque::new();
                    return;
                };
                catch_up.turns += 1;
                next
            };
            let has_it = next.take_turn();
            next.drop_safely();
            if !has_it {
                // The job was cancelled or replaced, or has already started.
                let turns = &mut lock(&self.main_shard).catch_up.turns;
                *turns = turns.saturating_sub(1);
            }
        }
    }
}
