//! How a job takes its limits, or waits for them.

use crate::engine::discarded::DropOn;
use crate::engine::job_state::{AfterLock, JobState, State, precision_needed};
use crate::job::live_job::Fired;
use crate::job::phase::Effects;
use crate::registry::lines::{Entered, WaitsFor};
use crate::sync::primitives::lock;
use crate::value::app_clock::ClockPrecision;
use crate::value::event::JobEventKind;
use crate::value::time_units::Now;
use crate::value::waiting_for::WaitingFor;

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// The job is due. It is Ready; or Starting: then its start is stored, and it has its limits.
    /// Returns whether it is to be handed to the executor now. If not, it waits for its limits, or
    /// for the store.
    pub(crate) fn starts_now(
        &self,
        state: &mut State<A, R>,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) -> bool {
        if !self.takes_limits(state) || !state.life.is_ready() {
            return true;
        }
        self.line_up(state, now, after) && !self.persist_if_needed(state, now, after)
    }

    /// Whether its attempts take limits: not if its runs become jobs of their own, which do.
    pub(crate) fn takes_limits(&self, state: &State<A, R>) -> bool {
        self.task.limits.is_some() && state.life.max_spawned().is_none()
    }

    /// Takes the limits of the job, all or none. Returns whether it has them.
    fn line_up(&self, state: &mut State<A, R>, now: Now, after: &mut AfterLock<A, R>) -> bool {
        let hub = self.hub();
        let Some(limits) = &self.task.limits else {
            return true;
        };
        if state.life.ticket().is_some() {
            return !state.life.is_in_line();
        }
        // The app has stopped if it is in no table. The dispatcher is gone then, and starts nothing.
        let Some(live) = hub.at(self.core.slot) else {
            return true;
        };
        let definition = state.life.definition();
        let keys = definition.map(|definition| definition.keys.clone());
        let priority = definition.and_then(|definition| definition.priority);
        let order = (
            priority.unwrap_or(self.task.priority),
            state.life.next_exec_at(),
        );
        let keys = keys.as_ref().and_then(|keys| limits.of_keys(keys));
        let entered =
            hub.with_lines(|lines| lines.enter(limits.line, keys, order, live, &mut after.granted));
        match entered {
            Entered::Placed(ticket) => {
                state.life.set_ticket(ticket, false);
                true
            }
            Entered::Waits(ticket) => {
                state.life.set_ticket(ticket, true);
                if let Some(on) = self.waits_for_limit(state) {
                    self.event(state, now, |_| JobEventKind::Waiting { on });
                }
                false
            }
        }
    }

    /// Stores the intent to start, if the attempt needs one. Returns whether it does.
    fn persist_if_needed(
        &self,
        state: &mut State<A, R>,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) -> bool {
        let is_at_most_once = self.is_at_most_once();
        if !state.life.needs_intent(is_at_most_once) {
            return false;
        }
        let effects = state.life.persist_start(is_at_most_once, now);
        self.follow(state, effects, now, after);
        true
    }

    /// Whether the new job, which is Ready, is to be handed to the executor now.
    pub(crate) fn line_up_new(&self) -> bool {
        if self.task.limits.is_none() {
            return true;
        }
        let (mut state, now) = self.lock_with_time(|_| ClockPrecision::Exact);
        let mut after = AfterLock::default();
        // A job that a pause holds takes nothing.
        let shut = match state.life.is_ready() {
            true => state.life.shut(self.hub().reading(now), self.holds()),
            false => None,
        };
        let starts = match shut {
            Some(effects) => {
                self.follow_shut(&mut state, effects, now, &mut after);
                false
            }
            None => self.starts_now(&mut state, now, &mut after),
        };
        self.unlock(state, after, DropOn::ThisThread);
        starts
    }

    /// The job may have its limits now. `Start` if it is to be handed to the executor.
    pub(crate) fn granted_now(&self) -> Fired {
        let hub = self.hub();
        let is_at_most_once = self.is_at_most_once();
        let (mut state, now) = self.lock_with_time(|state| {
            let for_intent = ClockPrecision::exact_if(state.life.needs_intent(is_at_most_once));
            for_intent.max(precision_needed(&state.life))
        });
        let lacks_limits = match state.life.ticket() {
            // Since it got them, it may have been cancelled or moved, and may wait again.
            Some(ticket) => lock(&hub.limits.lines).waits_for(ticket).is_some(),
            None => true,
        };
        if lacks_limits || !state.life.is_in_line() {
            return Fired::Nothing;
        }
        state.life.leave_line();
        if hub.is_stopping() || !state.life.is_ready() {
            return Fired::Nothing;
        }
        let mut after = AfterLock::default();
        // If the attempt may not start any more, its limits are free for others. Its start is not
        // stored: a crash would show it as an attempt that has begun.
        let shut = state.life.shut(hub.reading(now), self.holds());
        let starts = match shut {
            Some(effects) => {
                self.follow_shut(&mut state, effects, now, &mut after);
                false
            }
            None => !self.persist_if_needed(&mut state, now, &mut after),
        };
        self.unlock(state, after, DropOn::Executor);
        match starts {
            true => Fired::Start,
            false => Fired::Nothing,
        }
    }

    /// Frees the limits of a job that waits for its time or has ended, if the body of its last
    /// attempt is gone. If it waited for them, it does not any more. A job that is Ready keeps its
    /// ticket.
    ///
    /// `counts_for_rates`: if not, its rates are as if it had not taken them.
    pub(crate) fn release_limits(
        &self,
        state: &mut State<A, R>,
        counts_for_rates: bool,
        after: &mut AfterLock<A, R>,
    ) {
        if let Some(ticket) = state.life.take_unused_ticket() {
            self.hub()
                .with_lines(|lines| lines.leave(ticket, counts_for_rates, &mut after.granted));
        }
    }

    /// Carries out that an attempt may not start any more. A job that a pause holds lets others
    /// catch up.
    pub(crate) fn follow_shut(
        &self,
        state: &mut State<A, R>,
        effects: Effects,
        now: Now,
        after: &mut AfterLock<A, R>,
    ) {
        if state.life.is_held_by_pause(self.holds()) {
            after.ends_turn |= state.life.end_turn();
        }
        self.release_limits(state, false, after);
        self.follow(state, effects, now, after);
    }

    fn waits_for_limit(&self, state: &State<A, R>) -> Option<WaitingFor> {
        let ticket = state.life.ticket()?;
        let limits = self.task.limits.as_ref()?;
        match lock(&self.hub().limits.lines).waits_for(ticket)? {
            WaitsFor::Key(key) => Some(WaitingFor::Key(key)),
            WaitsFor::RateOfKey(key) => Some(WaitingFor::RateOfKey(key)),
            WaitsFor::Limit(id) => {
                let names = limits.names.iter();
                let mut found = names.filter(|(limit, _)| *limit == id);
                found.next().map(|(_, name)| name.clone())
            }
        }
    }

    /// What the job waits for that is due.
    pub(crate) fn waits_for(&self) -> Option<WaitingFor> {
        let state = self.lock();
        if state.life.is_in_line() {
            return self.waits_for_limit(&state);
        }
        if state.life.waits_for_body() {
            return Some(WaitingFor::LastAttempt);
        }
        let is_held = state.life.is_overdue() && state.life.is_held_by_pause(self.holds());
        is_held.then_some(WaitingFor::Pause)
    }

    /// Whether the job at this address holds a limit of one that this job needs.
    pub(crate) fn needs_limit_of_one_of(&self, holder: *const ()) -> bool {
        let hub = self.hub();
        let Some(limits) = &self.task.limits else {
            return false;
        };
        let key = {
            let state = self.lock();
            if state.life.ticket().is_some() && !state.life.is_in_line() {
                // It has its limits.
                return false;
            }
            let definition = state.life.definition();
            definition.and_then(|definition| definition.keys.limit.clone())
        };
        let singles = lock(&hub.limits.lines).limits_of_one(limits.line, key.as_ref());
        if singles.is_empty() {
            return false;
        }
        let holder = hub.live_job_at(holder);
        let ticket = holder.and_then(|holder| holder.ticket());
        ticket.is_some_and(|ticket| lock(&hub.limits.lines).holds_any(ticket, &singles))
    }
}
