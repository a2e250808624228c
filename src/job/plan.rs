//! [`Plan`]: what a scheduling or a replacement asks for.

use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::Series;
use crate::calendar::timeline::Timeline;
use crate::calendar::zone::time_zone::Zone;
use crate::job::definition::{Definition, Limits, Recurring, Trigger};
use crate::job::position::{Position, SeriesPosition};
use crate::job::steering::Steering;
use crate::sync::primitives::Arc;
use crate::value::error::ScheduleError;
use crate::value::time_units::{Due, Now, WallNanos};

/// Later than any time of a series.
pub(crate) const NEVER: WallNanos = WallNanos::MAX;

/// What a replacement may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replace {
    /// A job of its task, unless that recurs and the replacement runs once.
    SameKind,
    /// Any job of its task.
    Any,
}

/// What the scheduling of a new job or the replacement of a live one asks for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// When the next attempt starts.
    pub(crate) due: Due,
    /// `due` as a wall time, by the clocks at the time of scheduling.
    pub(crate) exec_at: WallNanos,
    /// `None` for a plain job: it runs once, in memory, in the zone of the app. Shared,
    /// because a submission keeps its plan, in case that another thread takes the id.
    pub(crate) details: Option<Arc<Details>>,
}

/// What only some jobs have.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) definition: Arc<Definition>,
    pub(crate) position: Position,
    /// Of a new job.
    pub(crate) steering: Steering,
}

impl Plan {
    /// Of a job that runs once, in memory, in the zone of the app.
    #[inline]
    pub(crate) fn plain(due: Due, now: Now) -> Self {
        Self {
            due,
            exec_at: due.as_wall(now),
            details: None,
        }
    }

    /// Of a job that runs once.
    pub(crate) fn once(definition: Definition, due: Due, now: Now) -> Self {
        let exec_at = due.as_wall(now);
        let offset = match due {
            Due::Mono(_) => Some(now.offset()),
            Due::Wall(_) => None,
        };
        Self::with(definition, Position::once(exec_at, offset), due, exec_at)
    }

    /// Of a job that recurs: its first run is for `nominal`, or it is [`NEVER`] due. The series
    /// has no time between `after` and `nominal`.
    pub(crate) fn recurring(
        definition: Definition,
        (after, nominal): (WallNanos, WallNanos),
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> Self {
        let position = match definition.recurring() {
            Some(recurring) => Position::recurring(recurring, (after, nominal), now, random),
            None => Position::once(nominal, None),
        };
        let due = position.run_due(&definition);
        let due = due.unwrap_or(Due::Wall(nominal));
        Self::with(definition, position, due, due.as_wall(now))
    }

    /// Of a job that is made for a run. `due`: a time of its own clock. `is_asked_for`: by hand, so
    /// that no pause holds it.
    pub(crate) fn spawned(
        definition: Definition,
        mut position: Position,
        (due, is_asked_for): (WallNanos, bool),
        now: Now,
    ) -> Self {
        if due != position.nominal {
            position.moved = Some(due);
            position.is_moved_by_own_clock = true;
        }
        let due = position.due_at(due);
        let mut plan = Self::with(definition, position, due, due.as_wall(now));
        if let Some(details) = &mut plan.details {
            Arc::make_mut(details).steering.runs_now = is_asked_for;
        }
        plan
    }

    fn with(definition: Definition, position: Position, due: Due, exec_at: WallNanos) -> Self {
        let definition = Arc::new(definition);
        Self {
            due,
            exec_at,
            details: Some(Arc::new(Details {
                definition,
                position,
                steering: Steering::default(),
            })),
        }
    }

    /// A new job of this plan is paused. A plain job has no place for that.
    pub(crate) fn pause(&mut self) {
        if let Some(details) = &mut self.details {
            Arc::make_mut(details).steering.is_paused = true;
        }
    }

    /// Whether a new job of this plan is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.details
            .as_ref()
            .is_some_and(|details| details.steering.is_paused)
    }

    /// Whether its series has no time from now on. Such a plan may only replace a job of the same
    /// times, which may have missed one.
    pub(crate) fn is_never_due(&self) -> bool {
        let details = self.details.as_ref();
        details.is_some_and(|details| {
            details.definition.recurring().is_some() && details.position.nominal == NEVER
        })
    }

    /// Whether its series has no time from now on because of its end.
    pub(crate) fn is_over(&self) -> bool {
        let details = self.details.as_ref().filter(|_| self.is_never_due());
        let Some(details) = details else { return false };
        let position = details.position.series.as_ref();
        let Some((recurring, own)) = details.definition.recurring().zip(position) else {
            return false;
        };
        let after = own.coverage.handled_up_to;
        let endless = Series {
            until: None,
            ..recurring.series.clone()
        };
        recurring.series.until.is_some() && endless.next_after(after, after).is_some()
    }

    /// The error of a plan that [is never due](Plan::is_never_due). Times are shown in the zone
    /// of the job if it has one, and else in that of the app.
    pub(crate) fn never_due_error(&self, app_zone: &Zone) -> Option<ScheduleError> {
        let details = self.details.as_ref().filter(|_| self.is_never_due())?;
        let definition = &details.definition;
        let after = details.position.series.as_ref()?.coverage.handled_up_to;
        let zone = definition.zone.as_ref().unwrap_or(app_zone);
        Some(definition.recurring()?.series.never_due_error(after, zone))
    }

    /// It was made by a wall clock that is not set. A time that was given is one all the same.
    pub(crate) fn made_by_unset_clock(&mut self) {
        if let Some(details) = &mut self.details
            && !matches!(details.definition.trigger, Trigger::At { .. })
        {
            Arc::make_mut(details).position.by_unset_clock = true;
        }
    }

    /// The first run is now.
    pub(crate) fn start_now(&mut self, now: Now) {
        if let Some(details) = &mut self.details {
            let Details {
                definition,
                position,
                ..
            } = Arc::make_mut(details);
            position.start_now(now.wall);
            self.due = position.run_due(definition).unwrap_or(self.due);
            self.exec_at = now.wall;
        }
    }

    /// It replaces a job: that was made before.
    pub(crate) fn forget_first_now(&mut self, now: Now) {
        if let Some(details) = &mut self.details {
            let is_first_now = |own: &SeriesPosition| own.coverage.is_first_now;
            if !details.position.series.as_deref().is_some_and(is_first_now) {
                return;
            }
            let Details {
                definition,
                position,
                ..
            } = Arc::make_mut(details);
            position.forget_first_now(definition);
            self.due = position.run_due(definition).unwrap_or(self.due);
            self.exec_at = self.due.as_wall(now);
        }
    }

    /// If another call replaces the job: it stays in the set that has declared it, and is for the
    /// run that it was made for.
    pub(crate) fn keep_origin(&mut self, old: &Definition, now: Now) {
        if self.details.is_none() && old.spawned_by.is_some() {
            let (trigger, offset) = match self.due {
                Due::Mono(at) => {
                    let length = at.saturating_sub(now.mono);
                    (Trigger::Delay { length }, Some(now.offset()))
                }
                Due::Wall(_) => (Trigger::At { local: None }, None),
            };
            let definition = Definition::plain(old.task.clone(), trigger, now.wall);
            let position = Position::once(self.exec_at, offset);
            *self = Self::with(definition, position, self.due, self.exec_at);
        }
        let Some(details) = &mut self.details else {
            return;
        };
        let new = &details.definition;
        let set = old.set.as_ref().filter(|_| new.set.is_none());
        if set.is_none() && old.spawned_by == new.spawned_by {
            return;
        }
        let new = Arc::make_mut(&mut Arc::make_mut(details).definition);
        if let Some(set) = set {
            new.set = Some(set.clone());
        }
        new.spawned_by.clone_from(&old.spawned_by);
    }

    /// If `old`, which waits for the end of a run, recurs at the same times: goes on with them, as
    /// they were counted when `old` was scheduled. Returns whether it does.
    pub(crate) fn rebase_on_same_times(&mut self, old: &Self) -> bool {
        let (Some(own), Some(before)) = (&mut self.details, &old.details) else {
            return false;
        };
        if !before.definition.has_same_times(&own.definition) {
            return false;
        }
        let own = Arc::make_mut(own);
        own.position.clone_from(&before.position);
        Arc::make_mut(&mut own.definition).scheduled_at = before.definition.scheduled_at;
        (self.due, self.exec_at) = (old.due, old.exec_at);
        true
    }

    pub(crate) fn definition(&self) -> Option<&Arc<Definition>> {
        Some(&self.details.as_ref()?.definition)
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.details.is_none()
    }

    pub(crate) fn is_recurring(&self) -> bool {
        self.definition().is_some_and(|d| d.recurring().is_some())
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.definition().is_some_and(|d| d.is_durable())
    }

    /// The length of its arguments in the store, in bytes. 0 if it is in memory.
    pub(crate) fn args_len(&self) -> usize {
        let args = self.definition().and_then(|d| d.args.as_ref());
        args.map_or(0, |args| args.bytes().len())
    }

    /// Whether each run follows the end of the one before.
    pub(crate) fn is_after_each(&self) -> bool {
        let recurring = self
            .definition()
            .and_then(|definition| definition.recurring());
        recurring.is_some_and(|recurring| recurring.series.recurrence.is_after_each())
    }

    pub(crate) fn limits(&self) -> Option<Limits> {
        let recurring: &Recurring = self.definition()?.recurring()?;
        Some(recurring.limits)
    }
}

impl Plan {
    /// The plan for a job that has come as far as `old`, and waits for `pending`.
    ///
    /// With the same times, the job goes on: only its options and arguments change. With
    /// other times of the same start date, its runs count. An interval is counted from the
    /// last run. On the wall clock, a time that was run is not run again.
    ///
    /// Doing it twice with the same job changes nothing.
    ///
    /// If the exclusions differ and no attempt runs (`is_waiting`), the next run is the first
    /// time that is not excluded.
    pub(crate) fn rebase(
        &mut self,
        definition: &Definition,
        old: &Position,
        pending: Pending,
        is_waiting: bool,
    ) {
        let Some(details) = &mut self.details else {
            return;
        };
        let Details {
            definition: new_definition,
            position,
            ..
        } = Arc::make_mut(details);
        // By how much the wall clock was set since the times were counted.
        let offsets = position.offset.zip(old.offset);
        let set = offsets.map_or(0, |(new, old)| new.saturating_sub(old));
        let scheduled_at = new_definition.scheduled_at;
        if definition.has_same_times(new_definition) {
            *position = old.clone();
            (self.due, self.exec_at) = (pending.due, pending.exec_at);
            // A loaded job whose wall clock is not known is due by the monotonic clock.
            let is_at_limit = position.offset.is_none()
                && matches!(pending.due, Due::Mono(_))
                && !pending.is_asked_for_now;
            let may_move = is_waiting && !is_at_limit;
            if may_move && !definition.excludes_same(new_definition) {
                let at = scheduled_at.saturating_sub(set);
                position.keep_to_exclusions(new_definition, at);
            }
            if position != old && position.retry.is_none() {
                self.due = position.run_due(new_definition).unwrap_or(self.due);
                self.exec_at = position.due(new_definition);
            }
            return;
        }
        if !definition.is_same_series(new_definition) {
            if new_definition.recurring().is_none() {
                // A job that does not recur any more still shows its last run.
                position.series = old.series.clone();
            }
            return;
        }
        let (Some(own), Some(before)) = (position.series.as_mut(), old.series.as_ref()) else {
            return;
        };
        own.runs = before.runs;
        own.failures = before.failures;
        own.last_run = before.last_run;
        let (Some(old_recurring), Some(recurring)) =
            (definition.recurring(), new_definition.recurring())
        else {
            return;
        };
        let series = &recurring.series;
        let timeline = series.timeline();
        if old_recurring.series.timeline() != timeline {
            return;
        }
        let jitter = own.drawn_jitter;
        let history = before.coverage.history;
        position.nominal = match (timeline, &series.recurrence) {
            (Timeline::Mono, Recurrence::AfterEach { interval }) => {
                // When the last run has ended, as far as that is known.
                let end = match &old_recurring.series.recurrence {
                    // It ends with the replacement.
                    _ if before.coverage.handled_up_to >= old.nominal => scheduled_at,
                    Recurrence::AfterEach { interval } => {
                        old.nominal.saturating_sub(*interval).saturating_add(set)
                    }
                    _ => history.last.saturating_add(set),
                };
                let next = end.min(scheduled_at).saturating_add(*interval);
                let next = next.max(scheduled_at);
                own.coverage.handled_up_to = scheduled_at.min(next.saturating_sub(1));
                next
            }
            (Timeline::Mono, Recurrence::Every { interval }) => {
                own.coverage.history = history;
                own.coverage.shift(set);
                let last = own.coverage.history.last.min(scheduled_at);
                let next = last.saturating_add(*interval).max(scheduled_at);
                own.coverage.handled_up_to = scheduled_at.min(next.saturating_sub(1));
                // The first time from there on that is not excluded.
                let allowed = series.next_after(next, next.saturating_sub(1));
                allowed.unwrap_or(next)
            }
            _ => {
                if history.has_run {
                    own.coverage.history = history;
                }
                let next = series.next_run(&own.coverage, position.nominal, scheduled_at);
                next.unwrap_or(position.nominal)
            }
        };
        own.due = series.delayed(position.nominal, jitter);
        own.drawn_jitter = own.due.saturating_sub(position.nominal);
        self.exec_at = own.due;
        self.due = position.due_at(self.exec_at);
    }
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) due: Due,
    /// `due` as a wall time.
    pub(crate) exec_at: WallNanos,
    /// It is due now because that was asked by hand: `due` is not that of its position.
    pub(crate) is_asked_for_now: bool,
}

impl Trigger {
    pub(crate) fn is_recurring(&self) -> bool {
        matches!(self, Trigger::Recurring(_))
    }
}
