//! [`Plan`]: what a scheduling or a replacement asks for.

use crate::calendar::series::Series;
use crate::calendar::timeline::Timeline;
use crate::job::definition::{Definition, Limits, Recurring, Trigger};
use crate::job::position::Position;
use crate::sync::primitives::Arc;
use crate::value::time_units::{Due, Now, WallNanos};

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
        Self::with(definition, Position::once(exec_at), due, exec_at)
    }

    /// Of a job that recurs: its first run is for `nominal`. The series has no time between
    /// `after` and `nominal`.
    pub(crate) fn recurring(
        definition: Definition,
        (after, nominal): (i64, i64),
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> Self {
        let position = Position::recurring(nominal, after, now);
        let due = match definition.recurring() {
            Some(recurring) => {
                let series = &recurring.series;
                series.timeline.due(series.with_jitter(nominal, random))
            }
            None => definition.timeline().due(nominal),
        };
        Self::with(definition, position, due, due.as_wall(now))
    }

    fn with(definition: Definition, position: Position, due: Due, exec_at: WallNanos) -> Self {
        let definition = Arc::new(definition);
        Self {
            due,
            exec_at,
            details: Some(Arc::new(Details {
                definition,
                position,
            })),
        }
    }

    pub(crate) fn definition(&self) -> Option<&Arc<Definition>> {
        Some(&self.details.as_ref()?.definition)
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.details.is_none()
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.definition().is_some_and(|d| d.is_durable())
    }

    pub(crate) fn limits(&self) -> Option<Limits> {
        let recurring: &Recurring = self.definition()?.recurring()?;
        Some(recurring.limits)
    }
}

impl Plan {
    /// The plan for a job that has come as far as `old`: if it is the same series, its
    /// runs count. If both are on the wall clock, a time that was run is not run again, and
    /// a time that is waited for is not left out. `pending` is when the job is due, if it
    /// waits for a run.
    ///
    /// Doing it twice with the same job changes nothing.
    pub(crate) fn rebase(
        &mut self,
        definition: &Definition,
        old: &Position,
        pending: Option<Due>,
        now: Now,
    ) {
        let Some(details) = &mut self.details else {
            return;
        };
        let Details {
            definition: new_definition,
            position,
        } = Arc::make_mut(details);
        if !definition.is_same_series(new_definition) {
            if new_definition.recurring().is_none() {
                // A job that does not recur any more still shows its last run.
                position.series = old.series.clone();
            }
            return;
        }
        let Some((own, old_series)) = position.series.as_mut().zip(old.series.as_ref()) else {
            return;
        };
        own.runs = old_series.runs;
        own.failures = old_series.failures;
        own.last_run = old_series.last_run;
        let (Some(before), Some(after)) = (definition.recurring(), new_definition.recurring())
        else {
            return;
        };
        let (before, after): (&Series, &Series) = (&before.series, &after.series);
        if (before.timeline, after.timeline) != (Timeline::Wall, Timeline::Wall) {
            return;
        }
        let mut due = self.due;
        let (coverage, old_coverage) = (&mut own.coverage, &old_series.coverage);
        coverage.handled_up_to = new_definition.first_run_is_after();
        if old_coverage.history.has_run {
            coverage.history = old_coverage.history;
        }
        if let Some(next) = after.next_run(coverage)
            && next != position.nominal
        {
            position.nominal = next;
            due = after.timeline.due(next);
        }
        if let Some(pending) = pending.filter(|_| old.attempts == 0)
            && before.has_same_wall_times(after)
            && old.nominal <= position.nominal
        {
            position.nominal = old.nominal;
            coverage.handled_up_to = coverage.handled_up_to.min(old_coverage.handled_up_to);
            due = pending;
        }
        self.due = due;
        self.exec_at = due.as_wall(now);
    }
}

impl Trigger {
    pub(crate) fn is_recurring(&self) -> bool {
        matches!(self, Trigger::Recurring(_))
    }
}
