//! How far a job has come, and what comes next: all its decisions, and no lock.
//!
//! A [`Progress`] is told what happened and when, and answers with the
//! [`Next`] step. `run.rs` holds it under the job's lock and carries out what it
//! says.

use crate::calendar::cron::expression::Cron;
use crate::calendar::recurrence::{Done, Next as Tick, Recurrence, Ticks};
use crate::calendar::zone::time_zone::Zone;
use crate::job::outcome::Failure;
use crate::job::stop::Control;
use crate::sync::primitives::Arc;
use crate::value::app_clock::Look;
use crate::value::backoff::Backoff;
use crate::value::retry_hint::RetryHint;
use crate::value::status::JobStatus;
use crate::value::time_units::{Due, MonoNanos, Now, WallNanos};

/// What a scheduling asks for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The zone of the times that the job shows, if it is not the app's.
    pub(crate) zone: Option<Box<Zone>>,
    pub(crate) due: Due,
    /// The wall time of that, as foreseen.
    pub(crate) exec_at: WallNanos,
    /// The time that the run stands for, as foreseen: without jitter.
    pub(crate) nominal: WallNanos,
    pub(crate) recurring: Option<Box<Recurring>>,
    pub(crate) is_durable: bool,
}

/// The part of a job that recurs.
#[derive(Clone, Debug)]
pub(crate) struct Recurring {
    pub(crate) ticks: Ticks,
    pub(crate) line: Line,
    pub(crate) limits: Limits,
    /// The start date as given, to tell a replacement that keeps it.
    pub(crate) start_date: Option<WallNanos>,
    /// The time that the run that is next, or going on, stands for.
    pub(crate) nominal: i64,
    pub(crate) done: Done,
    /// As it was before the run that is going on: what the store is told of it.
    pub(crate) done_before: Done,
    /// Whether that run makes up for a missed time, and is counted among those.
    pub(crate) made_up_for: bool,
    pub(crate) started_at: WallNanos,
}

/// The time line that a recurring job's times are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Mono,
    Wall,
}

impl Line {
    pub(crate) fn due(self, at: i64) -> Due {
        match self {
            Line::Mono => Due::Mono(at),
            Line::Wall => Due::Wall(at),
        }
    }

    fn of(self, now: Now) -> i64 {
        match self {
            Line::Mono => now.mono,
            Line::Wall => now.wall,
        }
    }
}

/// When a recurring job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_runs: Option<u64>,
    /// In a row.
    pub(crate) max_failures: u32,
}

/// A job fails for good after this many failures in a row, unless it says
/// otherwise.
pub(crate) const DEFAULT_MAX_FAILURES: u32 = 10;

/// What a recurring job has done so far. A replacement keeps it, unless it starts
/// over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Runs started.
    pub(crate) runs: u64,
    pub(crate) failures_in_a_row: u32,
    pub(crate) last: Option<RunRecord>,
}

/// A finished run, before it is dressed for the public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunRecord {
    pub(crate) number: u64,
    pub(crate) nominal: WallNanos,
    pub(crate) started_at: WallNanos,
    pub(crate) finished_at: WallNanos,
    pub(crate) status: JobStatus,
}

impl Tally {
    /// The run that is going on has ended.
    pub(crate) fn enter(
        &mut self,
        nominal: WallNanos,
        started_at: WallNanos,
        status: JobStatus,
        now: Now,
    ) -> RunRecord {
        let run = RunRecord {
            number: self.runs,
            nominal,
            started_at,
            finished_at: now.wall,
            status,
        };
        self.last = Some(run);
        self.failures_in_a_row = match status {
            JobStatus::Success => 0,
            _ => self.failures_in_a_row.saturating_add(1),
        };
        run
    }
}

impl Plan {
    #[inline]
    pub(crate) fn new(
        zone: Option<Box<Zone>>,
        due: Due,
        recurring: Option<Box<Recurring>>,
        now: Now,
    ) -> Self {
        let exec_at = due.as_wall(now);
        let nominal = recurring
            .as_ref()
            .map_or(exec_at, |r| r.nominal().as_wall(now));
        Self {
            zone,
            due,
            exec_at,
            nominal,
            recurring,
            is_durable: false,
        }
    }

    /// Whether a job of it has what only few jobs have.
    fn needs_more(&self) -> bool {
        self.zone.is_some() || self.recurring.is_some() || self.is_durable
    }

    /// Whether a job of it is [plain](Progress::is_plain).
    pub(crate) fn is_plain(&self) -> bool {
        !self.needs_more()
    }

    /// Whether it is one of `at`: once, by the wall clock.
    pub(crate) fn is_at(&self) -> bool {
        self.recurring.is_none() && matches!(self.due, Due::Wall(_))
    }

    /// The cron expression that it goes by.
    pub(crate) fn cron(&self) -> Option<&Arc<Cron>> {
        match &self.recurring.as_ref()?.ticks.recurrence {
            Recurrence::Cron { cron, .. } => Some(cron),
            Recurrence::Every { .. } => None,
        }
    }
}

impl Recurring {
    pub(crate) fn new(
        ticks: Ticks,
        line: Line,
        limits: Limits,
        start_date: Option<WallNanos>,
        after: i64,
        nominal: i64,
    ) -> Self {
        Self {
            ticks,
            line,
            limits,
            start_date,
            nominal,
            done: Done::up_to(after),
            done_before: Done::up_to(after),
            made_up_for: false,
            started_at: 0,
        }
    }

    /// When the first run is due, with its jitter.
    pub(crate) fn first_due(&self, random: impl FnOnce() -> f64) -> Due {
        self.line.due(self.ticks.jittered(self.nominal, random))
    }

    /// This run, or if its time was run before the clock went back, the next one
    /// that was not.
    fn unrun(&mut self, mut tick: Tick, now: i64) -> Option<Tick> {
        if self.line == Line::Mono {
            // A clock that nobody sets does not come to a time twice.
            return Some(tick);
        }
        let nominal = self.ticks.not_again(&self.done, tick.nominal, now)?;
        if nominal != tick.nominal {
            tick.nominal = nominal;
            tick.due = nominal.max(now);
        }
        Some(tick)
    }

    fn nominal(&self) -> Due {
        self.line.due(self.nominal)
    }
}

/// Why no further attempt is to follow the one that is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    No,
    Cancelled,
    Shutdown,
    /// The app stops, and another process goes on with it.
    Suspended,
}

/// What a job whose store keeps it has to keep in mind.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Counts the changes that were handed to the store, which tells them apart.
    pub(crate) changes: u32,
    /// Changes of which the store has not been told yet, and which what comes
    /// next has to wait for.
    pub(crate) unstored: u32,
    /// The runs of which the store has not been told yet, and the last one before
    /// them, which is shown until it has.
    pub(crate) unstored_runs: u32,
    shown: Option<Box<RunRecord>>,
    /// For `at_most_once`.
    pub(crate) mark: Mark,
    /// When it was last asked for.
    pub(crate) marked_at: WallNanos,
    pub(crate) catch_up: CatchUp,
    /// It runs once, at a time of the wall clock. The timer does not tell that of
    /// an attempt, or of a retry.
    pub(crate) is_at: bool,
}

impl Durable {
    fn of(plan: &Plan) -> Self {
        Self {
            is_at: plan.is_at(),
            ..Self::default()
        }
    }
}

/// Whether a job is one of those that were due when they were restored, of which
/// some at a time have their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CatchUp {
    #[default]
    No,
    Waits,
    HasTurn,
}

/// What a store is still to be told of a job, once it has answered the replacements
/// that it was asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owed {
    #[default]
    Nothing,
    /// The job has come further.
    Progress,
    /// What the store has may be something else.
    Whole,
}

/// Whether the store has it that an attempt starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    #[default]
    None,
    /// By the change of this number.
    Asked(u32),
    Stored,
}

#[derive(Debug, Default)]
pub(crate) struct More {
    /// The zone of the times that the job shows, if it is not the app's.
    zone: Option<Box<Zone>>,
    /// The strings of the attempt that is going on.
    control: Option<Arc<Control>>,
    /// The time that this run stands for, whichever attempt it is, where it may be
    /// another one than that of the attempt.
    nominal: Option<WallNanos>,
    /// How the attempt before the retry that is waited for failed.
    pub(crate) failed_as: Option<JobStatus>,
    pub(crate) recurring: Option<Box<Recurring>>,
    /// There from the first plan on that recurs.
    pub(crate) tally: Option<Box<Tally>>,
    /// There if a store keeps the job.
    durable: Option<Durable>,
    /// Replacements that the store has not answered yet, of a job that it keeps or
    /// is to keep.
    replacing: u32,
    owed: Owed,
    /// Goes up with each run that ends, and is never set back: what waits for a
    /// run goes by it.
    runs_ended: u32,
}

/// Where one job stands, beyond its status.
///
/// There may be a million of these: the fields of every job are few.
#[derive(Debug)]
pub(crate) struct Progress {
    /// When the attempt that is waited for is due, or the one that is going on
    /// was, as foreseen when that was settled.
    pub(crate) exec_at: WallNanos,
    /// When the timer is to come: for the start, the retry, or the timeout.
    timer: i64,
    timer_on: Option<Line>,
    /// It has come due, and any executor that has it may begin.
    pub(crate) is_ready: bool,
    /// The body of an attempt is still there, be it of one that is over.
    pub(crate) is_occupied: bool,
    /// It came due while it was occupied.
    pub(crate) is_overdue: bool,
    pub(crate) closing: Closing,
    /// Counts all attempts, which tells them apart.
    pub(crate) number: u32,
    /// Attempts of this run so far.
    pub(crate) attempts: u32,
    /// What only few jobs have.
    pub(crate) more: Option<Box<More>>,
}

/// What decides about a retry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry<'a> {
    pub(crate) backoff: &'a Backoff,
    pub(crate) hint: RetryHint,
    /// From 0 to 1.
    pub(crate) random: f64,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) next: Next,
    /// A run of a recurring job that this ended.
    pub(crate) run: Option<RunRecord>,
    /// The time that the next run stands for, if times were missed on the way.
    pub(crate) misfired: Option<Due>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    End(JobStatus),
    Retry(Due),
    Run(Due),
}

/// What a timer finds when it comes to a job that is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tock {
    /// An old key, or an attempt in the way.
    NotYet,
    Start,
    /// Times were missed, and it runs for this one.
    StartMissed(Due),
    /// The run was missed, and the next is due then.
    Later {
        due: Due,
        nominal: Due,
    },
    /// It was missed, and was the last; the status of the last one that ran.
    RunOut(JobStatus),
}

/// What an attempt begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) number: u32,
    pub(crate) attempt: u32,
    pub(crate) run: u64,
    pub(crate) nominal: WallNanos,
}

impl Progress {
    #[inline]
    pub(crate) fn new(plan: Plan) -> Self {
        let needs_more = plan.needs_more();
        let mut progress = Self {
            exec_at: plan.exec_at,
            timer: 0,
            timer_on: None,
            is_ready: false,
            is_occupied: false,
            is_overdue: false,
            closing: Closing::No,
            number: 0,
            attempts: 0,
            more: None,
        };
        progress.set_timer(Some(plan.due));
        if needs_more {
            progress.more = Some(Box::new(More {
                durable: plan.is_durable.then(|| Durable::of(&plan)),
                zone: plan.zone,
                nominal: Some(plan.nominal),
                tally: plan.recurring.is_some().then(Box::default),
                recurring: plan.recurring,
                ..More::default()
            }));
        }
        progress
    }

    pub(crate) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The wall time at which it is due, or once it runs, at which it was.
    pub(crate) fn exec_at(&self) -> WallNanos {
        self.exec_at
    }

    /// When the timer is to come.
    pub(crate) fn timer(&self) -> Option<Due> {
        Some(self.timer_on?.due(self.timer))
    }

    #[inline]
    pub(crate) fn set_timer(&mut self, due: Option<Due>) {
        (self.timer_on, self.timer) = match due {
            Some(Due::Mono(at)) => (Some(Line::Mono), at),
            Some(Due::Wall(at)) => (Some(Line::Wall), at),
            None => (None, 0),
        };
    }

    /// The next attempt is due then.
    fn set_due(&mut self, due: Due, now: Now) {
        self.set_timer(Some(due));
        self.exec_at = due.as_wall(now);
    }

    /// The time that this run stands for, whichever attempt it is.
    pub(crate) fn nominal(&self) -> WallNanos {
        let nominal = self.more.as_ref().and_then(|more| more.nominal);
        nominal.unwrap_or(self.exec_at)
    }

    /// The zone of the times that it shows, if it is not the app's.
    pub(crate) fn zone(&self) -> Option<&Zone> {
        self.more.as_ref()?.zone.as_deref()
    }

    /// The strings of the attempt that is going on, made when first asked for.
    pub(crate) fn control(&mut self) -> &Arc<Control> {
        self.more().control.get_or_insert_default()
    }

    /// Those that somebody has asked for.
    pub(crate) fn control_if_any(&self) -> Option<&Arc<Control>> {
        self.more.as_ref()?.control.as_ref()
    }

    pub(crate) fn take_control(&mut self) -> Option<Arc<Control>> {
        self.more.as_mut()?.control.take()
    }

    pub(crate) fn failed_as(&self) -> JobStatus {
        let failed_as = self.more.as_ref().and_then(|more| more.failed_as);
        failed_as.unwrap_or(JobStatus::Failed)
    }

    pub(crate) fn recurring(&self) -> Option<&Recurring> {
        self.more.as_ref()?.recurring.as_deref()
    }

    fn recurring_mut(&mut self) -> Option<&mut Recurring> {
        self.more.as_mut()?.recurring.as_deref_mut()
    }

    pub(crate) fn tally(&self) -> Option<&Tally> {
        self.more.as_ref()?.tally.as_deref()
    }

    /// There if a store keeps the job.
    pub(crate) fn durable(&self) -> Option<&Durable> {
        self.more.as_ref()?.durable.as_ref()
    }

    pub(crate) fn durable_mut(&mut self) -> Option<&mut Durable> {
        self.more.as_mut()?.durable.as_mut()
    }

    /// The store is asked about a replacement.
    pub(crate) fn replacement_begins(&mut self) {
        self.more().replacing += 1;
    }

    /// It has answered. Gives what it is owed; what comes of this answer may add to that.
    pub(crate) fn replacement_ends(&mut self) -> Owed {
        let more = self.more();
        more.replacing = more.replacing.saturating_sub(1);
        std::mem::take(&mut more.owed)
    }

    /// Whether it is asked about a replacement just now. What is told to it then comes
    /// behind that, and is to be [owed](Progress::owe) until it has answered.
    pub(crate) fn is_being_replaced(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.replacing > 0)
    }

    pub(crate) fn owe(&mut self, owed: Owed) {
        let more = self.more();
        more.owed = more.owed.max(owed);
    }

    pub(crate) fn is_owed(&self) -> bool {
        let more = self.more.as_ref();
        more.is_some_and(|more| more.owed > Owed::Nothing)
    }

    /// What is owed to it and can be told: it has answered all.
    pub(crate) fn take_owed(&mut self) -> Owed {
        match &mut self.more {
            Some(more) if more.replacing == 0 => std::mem::take(&mut more.owed),
            _ => Owed::Nothing,
        }
    }

    pub(crate) fn is_recurring(&self) -> bool {
        self.recurring().is_some()
    }

    /// How closely the time has to be known when a run starts or ends.
    pub(crate) fn look(&self) -> Look {
        match self.recurring() {
            _ if self.is_durable() => Look::Exact,
            None => Look::None,
            Some(recurring) if recurring.line == Line::Mono => Look::ForShow,
            Some(_) => Look::Exact,
        }
    }

    /// Those that may be seen.
    pub(crate) fn runs_ended(&self) -> u32 {
        let ended = self.more.as_ref().map_or(0, |more| more.runs_ended);
        ended.wrapping_sub(self.durable().map_or(0, |d| d.unstored_runs))
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable().is_some()
    }

    /// Ends its turn of catching up, if it has it. Gives whether the next has its
    /// turn.
    pub(crate) fn end_turn(&mut self) -> bool {
        let catch_up = self.durable_mut().map(|d| std::mem::take(&mut d.catch_up));
        catch_up == Some(CatchUp::HasTurn)
    }

    /// Whether a change has to reach the store before it goes on.
    pub(crate) fn is_unstored(&self) -> bool {
        let is_owed = self.is_owed();
        self.durable().is_some_and(|d| d.unstored > 0 || is_owed)
    }

    /// Attempts of the run that is going on.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn last_run(&self) -> Option<RunRecord> {
        self.tally()?.last
    }

    /// The last one that may be seen.
    pub(crate) fn shown_run(&self) -> Option<RunRecord> {
        match self.durable() {
            Some(durable) if durable.unstored_runs > 0 => durable.shown.as_deref().copied(),
            _ => self.last_run(),
        }
    }

    /// The run that has just ended is not to be seen before the store knows of
    /// it; `before` it was another one.
    pub(crate) fn hide_run(&mut self, before: Option<RunRecord>) {
        if let Some(durable) = self.durable_mut() {
            if durable.unstored_runs == 0 {
                durable.shown = before.map(Box::new);
            }
            durable.unstored_runs += 1;
        }
    }

    /// Whether the job is the same with this plan, and so keeps its tally: it
    /// recurs, with the same start date.
    pub(crate) fn goes_on_with(&self, plan: &Plan) -> bool {
        match (self.recurring(), &plan.recurring) {
            (Some(old), Some(new)) => old.start_date == new.start_date,
            _ => false,
        }
    }

    /// Whether the job has had all runs already that this plan allows; gives the
    /// limit, and how many it has had.
    pub(crate) fn uses_up(&self, plan: &Plan) -> Option<(u64, u64)> {
        let max = plan.recurring.as_ref()?.limits.max_runs?;
        let runs = self.tally()?.runs;
        (self.goes_on_with(plan) && runs >= max).then_some((max, runs))
    }

    /// Fits a plan for the same job to what that has done: a time that was run is
    /// not run again, and one that is waited for is not left out.
    pub(crate) fn fit(&self, plan: &mut Plan, now: Now) {
        if !self.goes_on_with(plan) {
            return;
        }
        let (Some(old), Some(new)) = (self.recurring(), &mut plan.recurring) else {
            return;
        };
        if (old.line, new.line) != (Line::Wall, Line::Wall) {
            return;
        }
        if old.done.has_run {
            let after = std::mem::replace(&mut new.done, old.done).last;
            new.done_before = old.done;
            // What it has not run is left to run, also if it was scheduled later than
            // that by a wall clock that has gone back.
            if old.done.last > after
                && let Some(next) = new.ticks.first_unrun(&old.done, after)
                && next != new.nominal
            {
                new.nominal = next;
                plan.due = new.nominal();
            }
        }
        let pending = self.timer().filter(|_| self.attempts == 0);
        if let Some(due) = pending
            && old.ticks.same_wall_times(&new.ticks)
            // An earlier one comes first, unless this is none of the times any more:
            // the app's zone may have changed.
            && (old.nominal <= new.nominal || !new.ticks.recurrence.has(old.nominal))
        {
            new.nominal = old.nominal;
            plan.due = due;
        }
        plan.exec_at = plan.due.as_wall(now);
        plan.nominal = new.nominal;
    }

    /// A run that waits for a retry, which will not come: a replacement takes its
    /// place. Enters it as failed.
    pub(crate) fn give_up_retry(&mut self, now: Now) -> Option<RunRecord> {
        (self.attempts > 0).then(|| self.record(self.failed_as(), now))?
    }

    /// The wall clock went back, and the job is scheduled. Gives when it is due
    /// now, if that has changed.
    pub(crate) fn step_back(&mut self, now: Now, random: impl FnOnce() -> f64) -> Option<Due> {
        let is_starting = self.durable().is_some_and(|d| d.mark != Mark::None);
        if self.attempts > 0 || self.is_ready || is_starting {
            return None;
        }
        let recurring = self.recurring_mut().filter(|r| r.line == Line::Wall)?;
        let from = match recurring.start_date {
            Some(start) => now.wall.max(start.saturating_sub(1)),
            None => now.wall,
        };
        let next = recurring.ticks.after_step_back(&recurring.done, from)?;
        if next >= recurring.nominal {
            return None;
        }
        recurring.nominal = next;
        let due = recurring.first_due(random);
        self.more().nominal = Some(next);
        self.set_due(due, now);
        Some(due)
    }

    /// Takes on another plan between attempts. Gives whether the job starts over
    /// with it.
    pub(crate) fn replace(&mut self, plan: Plan) -> bool {
        let starts_over = !self.goes_on_with(&plan);
        if self.more.is_some() || plan.needs_more() {
            let more = self.more();
            match &mut more.durable {
                Some(durable) if plan.is_durable => {
                    durable.mark = Mark::None;
                    durable.is_at = plan.is_at();
                }
                durable => *durable = plan.is_durable.then(|| Durable::of(&plan)),
            }
            more.zone = plan.zone;
            more.nominal = Some(plan.nominal);
            if starts_over && plan.recurring.is_some() {
                more.tally = Some(Box::default());
            }
            more.recurring = plan.recurring;
        }
        self.set_timer(Some(plan.due));
        self.exec_at = plan.exec_at;
        self.attempts = 0;
        self.is_ready = false;
        self.is_overdue = false;
        starts_over
    }

    /// The timer has come, and the job is scheduled.
    pub(crate) fn tick(&mut self, now: Now, random: impl FnOnce() -> f64) -> Tock {
        let Some(due) = self.timer().filter(|due| due.is_reached(now)) else {
            return Tock::NotYet;
        };
        if self.is_occupied || self.is_unstored() {
            self.is_overdue = true;
            return Tock::NotYet;
        }
        let mut start = Tock::Start;
        if self.attempts == 0
            && let Some(more) = &mut self.more
            && let Some(recurring) = &mut more.recurring
        {
            let at = recurring.line.of(now);
            let due = match due {
                Due::Mono(due) | Due::Wall(due) => due,
            };
            let tick = recurring.ticks.at_fire(recurring.nominal, due, at);
            match tick.and_then(|tick| recurring.unrun(tick, at)) {
                Some(tick) => {
                    if tick.nominal != recurring.nominal {
                        recurring.nominal = tick.nominal;
                        more.nominal = Some(recurring.nominal().as_wall(now));
                    }
                    if tick.due > at {
                        let due = recurring.ticks.jittered(tick.due, random);
                        let due = recurring.line.due(due);
                        let nominal = recurring.nominal();
                        self.set_due(due, now);
                        return Tock::Later { due, nominal };
                    }
                    if tick.misfired {
                        start = Tock::StartMissed(recurring.nominal());
                    }
                }
                None => {
                    let last = self.last_run();
                    return Tock::RunOut(last.map_or(JobStatus::Cancelled, |run| run.status));
                }
            }
        }
        self.is_ready = true;
        start
    }

    /// An attempt begins. Only a recurring job looks at `now`.
    pub(crate) fn begin(&mut self, now: Now) -> Begun {
        self.number = self.number.wrapping_add(1);
        self.attempts = self.attempts.saturating_add(1);
        self.is_ready = false;
        self.is_occupied = true;
        self.set_timer(None);
        self.take_control();
        if let Some(durable) = self.durable_mut() {
            durable.mark = Mark::None;
        }
        let mut run = 1;
        if let Some(more) = &mut self.more
            && let (Some(recurring), Some(tally)) = (&mut more.recurring, &mut more.tally)
        {
            if self.attempts == 1 {
                tally.runs = tally.runs.saturating_add(1);
                recurring.started_at = now.wall;
                recurring.done_before = recurring.done;
                recurring.made_up_for = std::mem::take(&mut recurring.ticks.makes_up);
                recurring
                    .done
                    .enter(recurring.nominal, &recurring.ticks.recurrence);
            }
            run = tally.runs;
        }
        Begun {
            number: self.number,
            attempt: self.attempts,
            run,
            nominal: self.nominal(),
        }
    }

    /// Whether it is one of the many that run once, in memory, and have been asked
    /// for nothing else.
    pub(crate) fn is_plain(&self) -> bool {
        self.more.is_none()
    }

    /// The attempt that is going on has ended well, and was the last.
    pub(crate) fn end_plainly(&mut self) {
        self.set_timer(None);
        self.attempts = 0;
        self.is_occupied = false;
    }

    /// Whether the arguments may be needed after this attempt: for another one, or
    /// to tell the store once more.
    pub(crate) fn may_go_on(&self, backoff: Option<&Backoff>) -> bool {
        self.is_recurring()
            || self.is_durable()
            || backoff.is_some_and(|b| b.retries() >= self.attempts)
    }

    /// The attempt that is going on has ended, with `retry` allowed or not.
    pub(crate) fn after_attempt(
        &mut self,
        failure: Option<&Failure>,
        retry: Option<Retry<'_>>,
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> Verdict {
        // What it was, if anything, was this attempt's timeout.
        self.set_timer(None);
        if matches!(self.closing, Closing::No | Closing::Suspended)
            && let Some(due) = retry.and_then(|retry| self.retry_at(retry, now))
        {
            let nominal = self.nominal();
            let more = self.more();
            more.nominal = Some(nominal);
            more.failed_as = failure.map(Failure::status);
            self.set_due(due, now);
            return Verdict {
                next: Next::Retry(due),
                run: None,
                misfired: None,
            };
        }
        self.attempts = 0;
        let status = failure.map_or(JobStatus::Success, Failure::status);
        self.after_run(status, now, random)
    }

    fn retry_at(&self, retry: Retry<'_>, now: Now) -> Option<Due> {
        if self.attempts > retry.backoff.retries() {
            return None;
        }
        let delay = match retry.hint {
            RetryHint::Never => return None,
            RetryHint::After(delay) => delay,
            RetryHint::None => retry.backoff.delay(self.attempts, retry.random),
        };
        let delay = crate::value::time_units::to_nanos(delay).unwrap_or(MonoNanos::MAX);
        Some(Due::Mono(now.mono.saturating_add(delay)))
    }

    fn after_run(&mut self, status: JobStatus, now: Now, random: impl FnOnce() -> f64) -> Verdict {
        let run = self.record(status, now);
        let end = |status| Verdict {
            next: Next::End(status),
            run,
            misfired: None,
        };
        let Some(more) = &mut self.more else {
            return end(status);
        };
        let (Some(recurring), Some(tally)) = (&mut more.recurring, &more.tally) else {
            return end(status);
        };
        if self.closing == Closing::Cancelled {
            return end(JobStatus::Cancelled);
        }
        if tally.failures_in_a_row >= recurring.limits.max_failures {
            return end(JobStatus::PermanentlyFailed);
        }
        if recurring
            .limits
            .max_runs
            .is_some_and(|max| tally.runs >= max)
        {
            return end(status);
        }
        if self.closing == Closing::Shutdown {
            return end(JobStatus::Cancelled);
        }
        let at = recurring.line.of(now);
        let tick = recurring.ticks.after_run(recurring.nominal, at);
        let Some(tick) = tick.and_then(|tick| recurring.unrun(tick, at)) else {
            return end(status);
        };
        recurring.nominal = tick.nominal;
        more.nominal = Some(recurring.nominal().as_wall(now));
        let due = if tick.misfired && tick.nominal <= at {
            // It makes up for a missed time, at once.
            tick.due
        } else {
            recurring.ticks.jittered(tick.due, random)
        };
        let due = recurring.line.due(due);
        let misfired = tick.misfired.then(|| recurring.nominal());
        self.set_due(due, now);
        Verdict {
            next: Next::Run(due),
            run,
            misfired,
        }
    }

    /// Enters the run that is going on, of a recurring job, as ended.
    pub(crate) fn record(&mut self, status: JobStatus, now: Now) -> Option<RunRecord> {
        let nominal = self.nominal();
        let more = self.more.as_mut()?;
        let (recurring, tally) = (more.recurring.as_ref()?, more.tally.as_mut()?);
        let run = tally.enter(nominal, recurring.started_at, status, now);
        more.runs_ended = more.runs_ended.wrapping_add(1);
        Some(run)
    }
}
