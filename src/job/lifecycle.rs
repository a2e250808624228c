//! [`Lifecycle`]: the decisions about one job.
//!
//! Nothing here has a lock, reads a clock or knows the types of the job. Each method is
//! something that happens to the job; it changes the phase by the table in `phase.rs`
//! and returns what is to be done outside. The engine holds a `Lifecycle` under the lock
//! of its job.

use std::borrow::Cow;
use std::fmt;

use time::UtcOffset;

use crate::calendar::timeline::Timeline;
use crate::calendar::zone::time_zone::Zone;
use crate::job::checkpoint::{CheckpointEffect, CheckpointWaiter, Checkpoints, NotSet};
use crate::job::definition::{Definition, Trigger};
use crate::job::live_job::StoredJob;
use crate::job::phase::{Effects, Event, Phase, transition};
use crate::job::plan::{Pending, Plan, Replace};
use crate::job::position::{
    AfterRun, ClockSet, DueRun, EndReason, OpenRun, Position, Retry, RunSummary,
};
use crate::job::row::{ReadRow, Row, StoredIntent};
use crate::job::steering::{Move, Steering};
use crate::job::stop::Control;
use crate::job::sync_state::{CommitOutcome, CommitWaiter, Known, RowChange, SyncState};
use crate::registry::lines::TicketId;
use crate::sync::primitives::Arc;
use crate::value::encoded::Encoded;
use crate::value::event::JobEventKind;
use crate::value::id::JobId;
use crate::value::overlap::Overlap;
use crate::value::progress::Progress;
use crate::value::spawned_by::SpawnedBy;
use crate::value::status::JobStatus;
use crate::value::time_units::{ClockReading, Due, MonoNanos, Now, WallNanos, from_wall};

/// One job, without its types. There may be a million of these: the fields that every job
/// has are few.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    /// When the attempt that the job waits for is due, or the running one was.
    exec_at: WallNanos,
    /// When the timer fires: for the start, or for the timeout of an attempt.
    timer: i64,
    timer_on: Option<Timeline>,
    /// Counts the attempts. It distinguishes an attempt from the earlier ones.
    number: u32,
    phase: Phase,
    /// The body of an attempt still exists, perhaps of an attempt that is over.
    has_body: bool,
    /// Functions decide about the failure of the running attempt.
    is_deciding: bool,
    /// The job came due while it could not start.
    is_overdue: bool,
    /// The app counts it among the jobs that a pause holds.
    is_counted_as_held: bool,
    /// It waits for its limits. Another thread may have granted them since.
    is_in_line: bool,
    /// Its place among those that have their limits, or wait for them.
    ticket: Option<TicketId>,
    /// `None` for a plain job.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    /// `None` for a job that runs once, in memory, in the zone of the app.
    definition: Option<Arc<Definition>>,
    position: Position,
    /// The run of the attempt that is about to start, or runs, if the timer has found
    /// another one than the position has. It enters the position when the attempt ends, so
    /// that the row does not change before that.
    open: Option<Box<OpenRun>>,
    /// The attempt that is about to start, or runs, is the first one of an extra run.
    begins_extra: bool,
    /// What was asked by hand. In a box, because few jobs have it.
    steering: Option<Box<Steering>>,
    /// In a box, because few jobs have one.
    checkpoints: Option<Box<Checkpoints>>,
    /// What the running attempt, or the last one, has reported. In a box, because few jobs have it.
    progress: Option<Box<Progress>>,
    /// An accepted replacement, which follows the running attempt.
    next: Option<Box<Plan>>,
    /// The job was loaded, and has not run since then: it is due by the wall clock, but at the
    /// latest then. `None` also for what the definition makes due by the wall clock.
    loaded_limit: Option<MonoNanos>,
    /// The wall clock was set while the position could not change. It follows when the run has
    /// ended.
    clock_set: Option<ClockSet>,
    /// When the running attempt started.
    started_at: WallNanos,
    /// When the running attempt is stopped. `None` if no next run cuts it off.
    stops: Option<Box<Stops>>,
    /// The start intent of an `at_most_once` attempt.
    start_intent: Option<StartIntent>,
    /// The cancellation state of the running attempt, if it was needed.
    control: Option<Arc<Control>>,
    /// Counts the runs that have ended. No replacement resets it, because waits for a run
    /// compare it.
    runs_ended: u32,
    /// Of a durable job, one that the store still has a row of, and one with a
    /// replacement on its way to the store.
    sync: Option<SyncState>,
    /// What users see while the store was not tried for the present state.
    unpublished: Option<Box<Unpublished>>,
    turn: CatchUpTurn,
    /// The app stops, and this durable job is left to the next process.
    is_left: bool,
    /// How often in a row an executor dropped the attempt before its first poll.
    executor_drops: u32,
    /// The number of the last attempt, within its run.
    attempts_begun: u32,
    /// The jobs that were made for runs of this one since the last pull.
    made: Made,
    /// The id of the recurring job whose slot commits the first row of this job. `None` once the store
    /// has it.
    carried_by: Option<JobId>,
    /// How the job has failed for good, if the store is to keep its end.
    failed: Option<Box<FailedEnd>>,
    /// How and when the job ended, and until when its id stays taken.
    taken: Option<Box<(JobStatus, WallNanos, WallNanos)>>,
    /// How often in a row a process has ended during an attempt of the job, as far as that was
    /// seen. A replacement does not change it.
    interruptions: u32,
    /// With this many interruptions the job is set aside.
    max_interruptions: u32,
    /// The process before may have ended because of this job: the start of its next attempt is
    /// stored before it begins.
    is_suspected: bool,
}

#[derive(Default)]
struct Made(Vec<Arc<dyn StoredJob>>);

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Made").field(&self.0.len()).finish()
    }
}

/// When a running attempt is stopped that the next run cuts off.
#[derive(Clone, Copy, Debug)]
struct Stops {
    timeout: Option<MonoNanos>,
    next_run: Option<NextRun>,
}

/// The run that follows the running attempt, and cuts it off.
#[derive(Clone, Copy, Debug)]
struct NextRun {
    due: Due,
    /// When it would be due if it were not moved.
    before_move: Due,
}

/// How a durable job has failed for good.
#[derive(Clone, Debug)]
pub(crate) struct FailedEnd {
    pub(crate) error: Arc<str>,
    /// The attempts of the last run.
    pub(crate) attempts: u32,
    /// When the first of them started, and the last one ended.
    pub(crate) started_at: WallNanos,
    pub(crate) finished_at: WallNanos,
}

/// The intent to start an attempt, which is stored before the attempt begins.
#[derive(Clone, Copy, Debug)]
struct StartIntent {
    /// The first version of the row that has it.
    since: u64,
    stored: StoredIntent,
}

/// Whether the start of an attempt is stored before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntentRule {
    /// Only that of a suspected job.
    IfSuspected,
    AtMostOnce,
    /// Not by the timer: the job has to take its limits first, or its run becomes a job that stores
    /// its own start.
    NotByTimer,
}

/// What keeps the attempts of all jobs of a task from starting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// The app stops.
    pub(crate) is_stopping: bool,
    /// The task, a group of it or the app is paused.
    pub(crate) is_paused: bool,
}

/// What a loaded job must know of its task and of the process before.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    /// The process before has closed the store: it interrupted nothing.
    pub(crate) has_closed: bool,
    /// Its task, a group of it, or its app is paused.
    pub(crate) is_paused: bool,
    /// When the last pauses of its app, its groups and its task began and ended, those that began
    /// first at the beginning: the times in them are left out.
    pub(crate) last_pauses: Vec<(WallNanos, WallNanos)>,
    pub(crate) is_at_most_once: bool,
    pub(crate) max_interruptions: u32,
}

/// What users see of a job until the store was tried for its present state.
#[derive(Debug)]
struct Unpublished {
    exec_at: WallNanos,
    definition: Option<Arc<Definition>>,
    last_run: Option<RunSummary>,
    runs_ended: u32,
    /// They happened at these wall times, and are sent at the publication.
    events: Vec<(WallNanos, JobEventKind)>,
}

/// Jobs that were overdue when they were loaded start a limited number at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CatchUpTurn {
    #[default]
    No,
    /// It waits for its turn.
    Waits,
    /// It takes one of the places.
    HasTurn,
}

/// What an attempt knows of itself: `begin` returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Distinguishes the attempt from the others of the job.
    pub(crate) number: u32,
    /// Within its run, from 1.
    pub(crate) attempt: u32,
    pub(crate) run: u64,
    pub(crate) nominal: WallNanos,
    pub(crate) interruptions: u32,
}

/// What the timer has to do with a job that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerOutcome {
    Nothing,
    /// It is not due yet: the timer is to come again then.
    Rearm(Due),
    /// The wall clock was set, and the job is due at another time.
    Moved {
        effects: Effects,
    },
    /// It goes to the executor. `misfire`: it runs for this missed time.
    Start {
        misfire: Option<WallNanos>,
    },
    /// Its intent to start is to be stored first.
    Persist {
        misfire: Option<WallNanos>,
        effects: Effects,
    },
    /// Its run was missed or is excluded. The next one is due later, and is for `misfire` if
    /// times were missed.
    Later {
        misfire: Option<WallNanos>,
        effects: Effects,
    },
    /// No run is left.
    Over {
        why: EndReason,
        effects: Effects,
    },
    /// Its run has expired while it waited for a retry, and has failed. Another one may follow.
    ExpiredBeforeRetry(AttemptEnd),
    /// The running attempt takes too long.
    TimedOut {
        attempt: u32,
    },
    /// The next run is due, and cuts off the running attempt.
    CutOff {
        attempt: u32,
    },
}

/// What the executor has to do with a job that it would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BeginOutcome {
    Begin(Begun),
    /// The attempt does not begin: the gate is shut, and the job is armed when that opens; or
    /// the run has expired, and the timer comes at once.
    Shut(Effects),
    /// It is not to start (any more).
    Nothing,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttemptEnd {
    pub(crate) next: AfterAttempt,
    /// The run of a recurring job that ended with it.
    pub(crate) run: Option<RunSummary>,
    /// A replacement that is another series takes over: the result of the run does not
    /// belong to it.
    pub(crate) starts_over: bool,
    /// An accepted replacement takes over.
    pub(crate) took_next: bool,
    /// The run has failed, and that pauses the job.
    pub(crate) is_paused: bool,
    pub(crate) effects: Effects,
}

/// What came of `pause`, `run_now`, `move_to` or `delay_by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steered {
    Done(Effects),
    /// What was asked for follows the attempt that goes on, or is about to start.
    AfterAttempt(Effects),
    Unchanged,
    /// The job has ended, or ends with its attempt.
    Ended,
}

/// What came of `resume`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    Done(Effects),
    Unchanged,
    Ended,
    /// No time is left, and the job ends.
    Over {
        why: EndReason,
        effects: Effects,
    },
}

/// How often a run may be snoozed in one process.
const MAX_SNOOZES: u32 = 1_000;

/// The attempt is to be made again after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// After this long, in nanoseconds.
    pub(crate) delay: i64,
    /// The attempt has not failed.
    pub(crate) is_snooze: bool,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterAttempt {
    End(JobStatus, EndReason),
    /// After this many failed attempts.
    Retry {
        due: Due,
        attempts: u32,
    },
    /// The attempt has not failed, and is made again.
    Snooze {
        due: Due,
    },
    Run {
        misfire: Option<WallNanos>,
    },
}

/// A job that was loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) job: Lifecycle,
    /// The attempt that was made at most once, and is lost.
    pub(crate) lost: Option<AttemptEnd>,
    /// The process before has ended during an attempt, which is made again.
    pub(crate) was_interrupted: bool,
    /// The store does not have the row as it is now.
    pub(crate) is_changed: bool,
}

/// What came of an accepted replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// A run that waited for a retry, which will not come.
    pub(crate) given_up: Option<RunSummary>,
    pub(crate) starts_over: bool,
    /// It takes effect after the running attempt.
    pub(crate) is_next: bool,
    /// The job was declared again as it is.
    pub(crate) is_unchanged: bool,
    pub(crate) effects: Effects,
}

/// Why a job cannot be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReplaceable {
    /// It has ended: its id is free.
    Ended,
    /// It was cancelled during its last attempt.
    Ending,
    /// It recurs, and the replacement does not.
    Recurring,
    /// It has had all runs that the replacement allows.
    RunsUsedUp { max: u64, runs: u64 },
    /// The plan has no time from now on, and its times, its end or its exclusions differ from
    /// those of the job.
    NeverDue,
}

impl Lifecycle {
    /// A new job. `is_ready`: it goes to the executor at once.
    #[inline]
    pub(crate) fn new(plan: Plan, is_ready: bool) -> Self {
        let more = plan.details.map(|details| {
            let details = Arc::unwrap_or_clone(details);
            let is_durable = details.definition.is_durable();
            let sync = is_durable.then(SyncState::default);
            let mut more = More::new(Some(details.definition), details.position, sync);
            let steering = details.steering;
            more.steering = (steering != Steering::default()).then(|| Box::new(steering));
            more
        });
        let mut job = Self::waiting(plan.due, plan.exec_at, more);
        if is_ready {
            job.phase = Phase::Ready;
        }
        job
    }

    #[inline]
    fn waiting(due: Due, exec_at: WallNanos, more: Option<Box<More>>) -> Self {
        let mut job = Self {
            exec_at,
            timer: 0,
            timer_on: None,
            number: 0,
            phase: Phase::Waiting,
            has_body: false,
            is_deciding: false,
            is_overdue: false,
            is_counted_as_held: false,
            is_in_line: false,
            ticket: None,
            more,
        };
        job.set_timer(Some(due));
        job
    }

    /// A job that the store has. If it was about to start an attempt that is made at most
    /// once, that attempt is lost: its run has failed, and this returns what follows.
    pub(crate) fn loaded(
        loaded: ReadRow,
        before: Before,
        clock: ClockReading,
        random: impl Fn() -> f64,
    ) -> Loaded {
        let ReadRow {
            definition,
            mut position,
            start_intent,
            steering,
            checkpoint,
            extra_checkpoint,
            mut interruptions,
        } = loaded;
        let is_repeated = start_intent.is_some_and(|intent| intent.is_repeated);
        let was_interrupted = is_repeated && !before.has_closed;
        interruptions = interruptions.saturating_add(u32::from(was_interrupted));
        let start_intent = start_intent.filter(|intent| !intent.is_repeated);
        let stored_set_back = position.set_back();
        if start_intent.is_none() {
            position.follow_clock(&definition, clock, ClockSet::Moved, &random);
        }
        let set_back = position.set_back();
        let was_set_back = set_back != stored_set_back;
        let mut is_left_out = false;
        if start_intent.is_none()
            && clock.is_set()
            && !before.is_paused
            && !steering.is_some_and(|steering| steering.is_paused)
        {
            let went_on_at = steering.and_then(|steering| steering.went_on_at);
            for (began, ended) in before.last_pauses {
                // The process before may have ended before it has stored that for each job.
                let is_in_it = (began..=ended).contains(&position.due(&definition));
                let is_over = went_on_at.is_some_and(|went_on_at| ended <= went_on_at);
                if is_in_it && !is_over && ended <= clock.now.wall {
                    let left_out = position.leave_out_up_to(&definition, ended, clock, &random);
                    // If no time is left, the timer finds that.
                    is_left_out |= left_out != Some(false);
                }
            }
        }
        let limit = position.longest_wait(&definition);
        let limit = limit.map(|wait| clock.now.mono.saturating_add(wait));
        let mut due = position.loaded_due(&definition, clock, limit);
        let sync = Some(SyncState::of_stored_row());
        let is_extra = position
            .retry
            .as_ref()
            .is_some_and(|retry| retry.extra.is_some());
        let own_wait = position.longest_wait_for_run(&definition);
        let mut more = More::new(Some(definition), position, sync);
        more.steering = steering.map(Box::new);
        // If times were left out, the run is another one.
        let checkpoint = checkpoint.filter(|_| !is_left_out);
        if checkpoint.is_some() || extra_checkpoint.is_some() {
            more.checkpoints = Some(Box::new(Checkpoints {
                run: checkpoint,
                extra: extra_checkpoint,
                ..Checkpoints::default()
            }));
        }
        if start_intent.is_none() && more.is_asked_for_now() {
            due = Due::Mono(clock.now.mono);
        }
        more.loaded_limit = match is_extra {
            // That is for the run after it.
            true => own_wait.map(|wait| clock.now.mono.saturating_add(wait)),
            false => limit,
        };
        if more.position.is_corrected_during_retry() {
            // The series is adjusted to the corrected clock when the run has ended.
            more.clock_set = Some(ClockSet::Corrected);
        }
        more.interruptions = interruptions;
        more.max_interruptions = before.max_interruptions;
        let is_overdue = due.is_reached(clock.now);
        more.is_suspected =
            !before.is_at_most_once && (interruptions > 0 || is_overdue && !before.has_closed);
        let mut job = Self::waiting(due, due.as_wall(clock.now), Some(more));
        let Some(intent) = start_intent else {
            // The next process may not see any more that the clock was wrong. And a repeated
            // intent is of an attempt that is over.
            let is_changed = (was_set_back || is_repeated || is_left_out) && job.row_changed();
            return Loaded {
                job,
                lost: None,
                was_interrupted,
                is_changed,
            };
        };
        job.phase = Phase::Running;
        let more = job.more();
        more.started_at = intent.at;
        more.begins_extra = intent.is_extra;
        let end = job.end_attempt(
            Some(JobStatus::Failed),
            None,
            Holds::default(),
            clock,
            random,
        );
        // Nobody has seen it as it was before.
        job.publish_now();
        let _ = job.row_changed();
        Loaded {
            job,
            lost: Some(end),
            was_interrupted: false,
            is_changed: true,
        }
    }

    fn more(&mut self) -> &mut More {
        let (exec_at, attempts_begun) = (self.exec_at, self.number);
        self.more.get_or_insert_with(|| {
            let mut more = More::new(None, Position::once(exec_at, None), None);
            more.attempts_begun = attempts_begun;
            more
        })
    }

    fn sync(&self) -> Option<&SyncState> {
        self.more.as_ref()?.sync.as_ref()
    }

    fn sync_mut(&mut self) -> Option<&mut SyncState> {
        self.more.as_mut()?.sync.as_mut()
    }

    fn apply(&mut self, event: Event) -> Option<Effects> {
        let (phase, effects) = transition(self.phase, event)?;
        self.phase = phase;
        if matches!(phase, Phase::Waiting | Phase::Ended(_))
            && let Some(more) = &mut self.more
        {
            // They are of an attempt, and there is none.
            more.start_intent = None;
            more.open = None;
            more.begins_extra = false;
        }
        Some(effects)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it is one of the many that run once, in memory, in the zone of the app.
    pub(crate) fn is_plain(&self) -> bool {
        self.more.is_none()
    }

    pub(crate) fn runs_once_in_memory(&self) -> bool {
        let definition = self.definition();
        !self.concerns_store() && definition.is_none_or(|own| own.recurring().is_none())
    }

    pub(crate) fn definition(&self) -> Option<&Arc<Definition>> {
        self.more.as_ref()?.definition.as_ref()
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.definition().is_some_and(|d| d.is_durable())
    }

    /// If its runs become jobs of their own: how many of these may be live.
    pub(crate) fn max_spawned(&self) -> Option<usize> {
        self.definition()?.max_spawned()
    }

    /// The same of the replacement that waits for the end of the run, if there is one.
    pub(crate) fn next_max_spawned(&self) -> Option<usize> {
        self.last_definition()?.max_spawned()
    }

    /// The plan of the job that is made for the run that goes on. `id` is that of this job. `None` if
    /// the run does not become a job of its own.
    pub(crate) fn plan_spawned(&self, id: &JobId, clock: ClockReading) -> Option<Plan> {
        let now = clock.now;
        let more = self.more.as_deref()?;
        let own = more.definition.as_deref()?;
        own.max_spawned()?;
        let by = SpawnedBy {
            job: id.clone(),
            scheduled_at: from_wall(own.scheduled_at, UtcOffset::UTC),
            run: more.position.runs().saturating_add(1),
        };
        let position = more.open_position();
        let extra = more.open_extra();
        let (nominal, due) = match extra {
            Some(extra) => (extra, extra),
            None => (position.nominal, position.first_due(own)),
        };
        let definition = Definition {
            trigger: Trigger::Delay { length: 0 },
            // What was asked for by hand does not expire.
            expires: own.expires.filter(|_| extra.is_none()),
            unique_for: None,
            set: None,
            spawned_by: Some(Box::new(by)),
            scheduled_at: now.wall,
            ..own.clone()
        };
        // As late as its run, so that `expires` counts from when that was due. (Not from its nominal
        // time: a run that was moved may be due before that.) By the monotonic clock, so that no wall
        // clock holds it up.
        let late_by = position.now(now).saturating_sub(due).max(0);
        let due = now.wall.saturating_sub(late_by);
        let position = Position::once(nominal, Some(now.offset()));
        let mut plan = Plan::spawned(definition, position, (due, extra.is_some()), now);
        if !clock.is_set() {
            plan.made_by_unset_clock();
        }
        Some(plan)
    }

    pub(crate) fn is_recurring(&self) -> bool {
        let definition = self.definition();
        definition.is_some_and(|definition| definition.recurring().is_some())
    }

    /// The zone of its times, if it is not that of the app.
    pub(crate) fn zone(&self) -> Option<&Zone> {
        self.definition()?.zone.as_ref()
    }

    /// Attempts of the open run that have ended, and failed.
    pub(crate) fn attempts(&self) -> u32 {
        self.more
            .as_ref()
            .map_or(0, |more| more.position.attempts())
    }

    /// The runs in a row that have failed, of those that have ended.
    pub(crate) fn failures(&self) -> u32 {
        let series = self
            .more
            .as_ref()
            .and_then(|more| more.position.series.as_ref());
        series.map_or(0, |series| series.failures)
    }

    /// The number of the last attempt that began.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn has_body(&self) -> bool {
        self.has_body
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue
    }

    /// Whether the store has, or is to have, a row of it or of what follows its attempt.
    pub(crate) fn concerns_store(&self) -> bool {
        self.sync().is_some()
    }

    /// Whether the job does not start any more, because a process has ended too often during its
    /// attempts.
    pub(crate) fn is_set_aside(&self) -> bool {
        let more = self.more.as_ref();
        more.is_some_and(|more| more.interruptions >= more.max_interruptions)
    }

    /// How often in a row a process has ended during an attempt of the job.
    pub(crate) fn interruptions(&self) -> u32 {
        self.more.as_ref().map_or(0, |more| more.interruptions)
    }

    fn is_suspected(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.is_suspected)
    }

    /// An attempt has ended, and the process goes on: it does not end because of this job.
    fn survived(&mut self) {
        if let Some(more) = &mut self.more {
            (more.interruptions, more.is_suspected) = (0, false);
        }
    }

    /// A job that was set aside may start again. `None` if it was not, or does not wait.
    pub(crate) fn release_set_aside(&mut self) -> Option<Effects> {
        if !self.is_set_aside() {
            return None;
        }
        let effects = self.apply(Event::Release)?;
        self.more().interruptions = 0;
        Some(effects)
    }

    /// When the timer is to come.
    pub(crate) fn timer(&self) -> Option<Due> {
        match self.phase == Phase::Waiting && self.is_set_aside() {
            true => None,
            false => self.due(),
        }
    }

    /// When the job is due, or its attempt times out.
    fn due(&self) -> Option<Due> {
        Some(match self.timer_on? {
            Timeline::Mono => Due::Mono(self.timer),
            Timeline::Wall => Due::Wall(self.timer),
        })
    }

    #[inline]
    pub(crate) fn set_timer(&mut self, due: Option<Due>) {
        (self.timer_on, self.timer) = match due {
            Some(Due::Mono(at)) => (Some(Timeline::Mono), at),
            Some(Due::Wall(at)) => (Some(Timeline::Wall), at),
            None => (None, 0),
        };
    }

    fn set_due(&mut self, due: Due, now: Now) {
        self.set_timer(Some(due));
        self.exec_at = due.as_wall(now);
    }

    /// The last run that ended.
    pub(crate) fn last_run(&self) -> Option<RunSummary> {
        self.more.as_ref()?.position.last_run()
    }

    /// When the first attempt of the open run started, of which one runs.
    pub(crate) fn run_started_at(&self) -> WallNanos {
        let Some(more) = &self.more else { return 0 };
        let retry = more.position.retry.as_ref();
        retry.map_or(more.started_at, |retry| retry.started_at)
    }

    /// The store is to keep the end of the job, which has failed for good.
    pub(crate) fn keep_end(&mut self, failed: FailedEnd) {
        self.more().failed = Some(Box::new(failed));
    }

    /// Whether its id stays taken for a time after its end.
    pub(crate) fn is_unique(&self) -> bool {
        self.definition().is_some_and(|it| it.unique_for.is_some())
    }

    /// The job has ended at this time. If its id stays taken, returns its status, and until when.
    pub(crate) fn take_id(&mut self, now: WallNanos) -> Option<(JobStatus, WallNanos)> {
        let Phase::Ended(status) = self.phase else {
            return None;
        };
        let unique_for = self.definition()?.unique_for?;
        let taken = **self.more().taken.get_or_insert_with(|| {
            let until = now.saturating_add(unique_for);
            Box::new((status, now, until))
        });
        Some((taken.0, taken.2))
    }

    /// How and when the job ended, whose id stays taken, and until when.
    pub(crate) fn taken(&self) -> Option<(JobStatus, WallNanos, WallNanos)> {
        self.more.as_ref()?.taken.as_deref().copied()
    }

    /// The end of the job, if the store is to keep it: its last row, the number of its last
    /// run, and how it has failed.
    pub(crate) fn kept_end(&self) -> Option<(Row<'_>, u64, JobStatus, &FailedEnd)> {
        let more = self.more.as_ref()?;
        let row = Row {
            definition: more.definition.as_deref()?,
            position: Cow::Borrowed(&more.position),
            start_intent: None,
            steering: None,
            checkpoint: None,
            extra_checkpoint: None,
            interruptions: 0,
        };
        let Phase::Ended(status) = self.phase else {
            return None;
        };
        let by = row.definition.spawned_by.as_deref();
        let run = match by.filter(|_| row.definition.recurring().is_none()) {
            Some(by) => by.run,
            // A job that runs once has one run.
            None => more.position.runs().max(1),
        };
        Some((row, run, status, more.failed.as_deref()?))
    }

    /// The cancellation state of the running attempt.
    pub(crate) fn control(&mut self) -> &Arc<Control> {
        self.more().control.get_or_insert_default()
    }

    pub(crate) fn existing_control(&self) -> Option<&Arc<Control>> {
        self.more.as_ref()?.control.as_ref()
    }

    pub(crate) fn take_control(&mut self) -> Option<Arc<Control>> {
        self.more.as_mut()?.control.take()
    }

    /// Whether the arguments may be needed after the attempt that is about to run.
    pub(crate) fn may_run_again(&self, retries: u32, may_snooze: bool) -> bool {
        self.is_recurring() || retries > self.attempts() || may_snooze
    }

    /// The zone of what follows the running attempt, or of the job.
    pub(crate) fn next_zone(&self) -> Option<&Zone> {
        match self.more.as_ref()?.next.as_ref() {
            Some(next) => next.definition()?.zone.as_ref(),
            None => self.zone(),
        }
    }

    /// When what follows the running attempt is due, or the job.
    pub(crate) fn next_exec_at(&self) -> WallNanos {
        let next = self.more.as_ref().and_then(|more| more.next.as_ref());
        next.map_or(self.exec_at, |next| next.exec_at)
    }

    /// Whether a replacement was accepted during the running attempt.
    pub(crate) fn has_next(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.next.is_some())
    }

    fn is_next_durable(&self) -> bool {
        let next = self.more.as_ref().and_then(|more| more.next.as_ref());
        next.is_some_and(|next| next.is_durable())
    }

    // What users see.

    fn unpublished(&self) -> Option<&Unpublished> {
        self.more.as_ref()?.unpublished.as_deref()
    }

    /// When it is due, or its running attempt was.
    pub(crate) fn shown_exec_at(&self) -> WallNanos {
        self.unpublished()
            .map_or(self.exec_at, |shown| shown.exec_at)
    }

    pub(crate) fn shown_definition(&self) -> Option<&Arc<Definition>> {
        match self.unpublished() {
            Some(shown) => shown.definition.as_ref(),
            None => self.definition(),
        }
    }

    pub(crate) fn shown_last_run(&self) -> Option<RunSummary> {
        match self.unpublished() {
            Some(shown) => shown.last_run,
            None => self.more.as_ref()?.position.last_run(),
        }
    }

    /// The nominal times of the next runs.
    pub(crate) fn upcoming(&self, count: usize) -> Vec<WallNanos> {
        let goes_on = self.phase.is_running();
        match self.more.as_deref() {
            _ if matches!(self.phase, Phase::Ended(_) | Phase::Cancelling) => Vec::new(),
            Some(More {
                next: Some(next), ..
            }) => match &next.details {
                Some(details) => details.position.upcoming(&details.definition, false, count),
                None => [next.exec_at].into_iter().take(count).collect(),
            },
            Some(
                more @ More {
                    definition: Some(definition),
                    position,
                    open,
                    ..
                },
            ) => {
                // During an extra run, the series still waits.
                let goes_on = goes_on && more.open_extra().is_none();
                let mut position = Cow::Borrowed(position);
                if let Some(open) = open {
                    position.to_mut().open(OpenRun::clone(open));
                }
                position.upcoming(definition, goes_on, count)
            }
            _ => [self.exec_at]
                .into_iter()
                .filter(|_| !goes_on)
                .take(count)
                .collect(),
        }
    }

    pub(crate) fn shown_runs_ended(&self) -> u32 {
        match (self.unpublished(), &self.more) {
            (Some(shown), _) => shown.runs_ended,
            (None, Some(more)) => more.runs_ended,
            (None, None) => 0,
        }
    }

    /// Keeps the present values for users, before a change that must be stored first.
    pub(crate) fn hide(&mut self) {
        let exec_at = self.exec_at;
        if let Some(more) = &mut self.more
            && more.sync.is_some()
            && more.unpublished.is_none()
        {
            more.unpublished = Some(Box::new(Unpublished {
                exec_at,
                definition: more.definition.clone(),
                last_run: more.position.last_run(),
                runs_ended: more.runs_ended,
                events: Vec::new(),
            }));
        }
    }

    /// Keeps an event until the publication.
    pub(crate) fn hide_event(&mut self, at: WallNanos, kind: JobEventKind) {
        if let Some(unpublished) = self
            .more
            .as_mut()
            .and_then(|more| more.unpublished.as_mut())
        {
            unpublished.events.push((at, kind));
        }
    }

    pub(crate) fn is_hidden(&self) -> bool {
        self.unpublished().is_some()
    }

    /// Ends the hiding. Returns the events to send.
    pub(crate) fn publish_now(&mut self) -> Vec<(WallNanos, JobEventKind)> {
        let unpublished = self.more.as_mut().and_then(|more| more.unpublished.take());
        unpublished.map_or_else(Vec::new, |unpublished| unpublished.events)
    }

    // The store.

    /// What the store is to hold.
    pub(crate) fn row(&self) -> Option<Row<'_>> {
        let more = self.more.as_ref()?;
        if matches!(self.phase, Phase::Ended(_) | Phase::Cancelling) {
            return None;
        }
        if let Some(next) = &more.next {
            return self.replaced_row(next);
        }
        let definition = more.definition.as_deref()?;
        definition.is_durable().then_some(Row {
            definition,
            position: Cow::Borrowed(&more.position),
            start_intent: more.start_intent.map(|intent| intent.stored),
            steering: more.steering.as_deref().copied(),
            checkpoint: self.checkpoints().and_then(|own| own.run.as_ref()),
            extra_checkpoint: self.checkpoints().and_then(|own| own.extra.as_ref()),
            interruptions: more.interruptions,
        })
    }

    /// What the store is to hold if `plan`, which is rebased, replaces the job.
    pub(crate) fn replaced_row<'a>(&'a self, plan: &'a Plan) -> Option<Row<'a>> {
        let details = plan.details.as_ref()?;
        // The attempt goes on under the new definition.
        let intent = self.more.as_ref().and_then(|more| more.start_intent);
        let has_same_times = self.has_same_times(plan);
        let intent = intent.filter(|_| has_same_times);
        let mut position = Cow::Borrowed(&details.position);
        let mut steering = self.steering_after(plan);
        let keeps_checkpoint = self.keeps_checkpoint(plan);
        let checkpoints = self.checkpoints().filter(|_| keeps_checkpoint);
        // The run that goes on counts as ended: what was asked of the run after it is done.
        if !has_same_times && let Some(next_move) = steering.next_move.take() {
            position
                .to_mut()
                .move_run(Some(&details.definition), next_move);
        }
        details.definition.is_durable().then_some(Row {
            definition: &details.definition,
            position,
            start_intent: intent.map(|intent| intent.stored),
            steering: Some(steering),
            checkpoint: checkpoints.and_then(|own| own.run.as_ref()),
            extra_checkpoint: checkpoints.and_then(|own| own.extra.as_ref()),
            interruptions: self.interruptions(),
        })
    }

    /// The row has changed, or may have. Returns whether a message to the writer is
    /// needed.
    #[must_use]
    pub(crate) fn row_changed(&mut self) -> bool {
        let has_row = self.row().is_some();
        self.sync_mut()
            .is_some_and(|sync| sync.row_changed(has_row))
    }

    /// A caller waits until the store was tried for the present state. Also returns whether
    /// a message to the writer is needed; `None` if the store has it already.
    #[must_use]
    pub(crate) fn wait_for_store(&mut self) -> Option<(CommitWaiter, bool)> {
        let has_row = self.row().is_some();
        self.sync_mut()?.wait(has_row)
    }

    /// The slot of the job of this id commits the first row of this new job.
    pub(crate) fn carry(&mut self, by: JobId) {
        self.more().carried_by = Some(by);
    }

    /// The id of the job whose slot commits the first row of this one.
    pub(crate) fn carried_by(&self) -> Option<&JobId> {
        self.more.as_ref()?.carried_by.as_ref()
    }

    /// The store has the row of the job, or it has a slot of its own: no other carries it.
    pub(crate) fn end_carrying(&mut self) {
        if let Some(more) = &mut self.more {
            more.carried_by = None;
        }
    }

    /// A job was made for the run that ends.
    pub(crate) fn add_made(&mut self, job: Arc<dyn StoredJob>) {
        self.more().made.0.push(job);
    }

    pub(crate) fn take_made(&mut self) -> Vec<Arc<dyn StoredJob>> {
        let more = self.more.as_mut();
        more.map_or_else(Vec::new, |more| std::mem::take(&mut more.made.0))
    }

    /// The writer takes the row. Returns its version.
    pub(crate) fn pull(&mut self) -> u64 {
        self.sync_mut().map_or(0, SyncState::pull)
    }

    pub(crate) fn known(&self) -> Known {
        self.sync().map_or(Known::Absent, SyncState::known)
    }

    pub(crate) fn take_known(&mut self) -> Known {
        self.sync_mut().map_or(Known::Absent, SyncState::take_known)
    }

    /// See [`SyncState::mark_unknown`].
    pub(crate) fn mark_unknown(&mut self) {
        // A job in memory that has ended can be the base of its id, because a message about
        // it was still on its way. If the commit of its successor has failed, the store may
        // have the row of the successor, and this job must remove it.
        if self.phase.is_ended() {
            self.more().sync.get_or_insert_default();
        }
        if let Some(sync) = self.sync_mut() {
            sync.mark_unknown();
        }
    }

    /// The change that makes the store agree.
    pub(crate) fn row_change(&self) -> RowChange {
        let has_row = self.row().is_some();
        match self.sync() {
            Some(sync) if !sync.is_clean(has_row) => sync.known().change(has_row),
            _ => RowChange::None,
        }
    }

    pub(crate) fn inherit_row(&mut self, known: Known) {
        if let Some(sync) = self.sync_mut() {
            sync.inherit(known);
        }
    }

    /// A commit that had the row of version `pulled` was made, or failed.
    pub(crate) fn tried(&mut self, pulled: u64, outcome: CommitOutcome<'_>) -> Vec<CommitWaiter> {
        let sync = self.sync_mut();
        sync.map_or_else(Vec::new, |sync| sync.tried(pulled, outcome))
    }

    /// Whether the store has what it is to have.
    pub(crate) fn is_clean(&self) -> bool {
        let has_row = self.row().is_some();
        self.sync().is_none_or(|sync| sync.is_clean(has_row))
    }

    /// Whether the store has the job as it is, and no replacement is on its way.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_clean() && !self.sync().is_some_and(SyncState::is_held)
    }

    pub(crate) fn is_tried(&self) -> bool {
        self.sync().is_none_or(SyncState::is_tried)
    }

    /// Forgets about the store, if the job has nothing to do with it any more.
    pub(crate) fn drop_unused_sync(&mut self) {
        let is_durable = self.is_durable() || self.is_next_durable();
        if let Some(more) = &mut self.more
            && !is_durable
            && more.unpublished.is_none()
            && more.sync.as_ref().is_some_and(|sync| sync.is_unused())
        {
            more.sync = None;
        }
    }

    // The gate.

    /// Whether an attempt may start: the store was tried for all that happened, no
    /// replacement is on its way, the body of the attempt before is gone, and no pause holds
    /// it.
    fn is_gate_open(&self, holds: Holds) -> bool {
        !holds.is_stopping
            && !self.has_body
            && self
                .sync()
                .is_none_or(|sync| sync.is_tried() && !sync.is_held())
            && !self.is_held_by_pause(holds)
    }

    /// Whether a pause holds the attempt that the job waits for.
    pub(crate) fn is_held_by_pause(&self, holds: Holds) -> bool {
        (holds.is_paused || self.is_paused()) && !self.is_asked_for_now()
    }

    /// If the job came due while it could not start, and it can now: when the timer is to
    /// come.
    pub(crate) fn take_overdue(&mut self, holds: Holds) -> Option<Due> {
        let is_waiting = self.is_overdue && self.phase == Phase::Waiting;
        if !is_waiting || !self.is_gate_open(holds) {
            return None;
        }
        self.is_overdue = false;
        let is_outdated = self
            .more
            .as_ref()
            .is_some_and(|more| more.clock_set.is_some());
        match is_outdated {
            // The timer finds out when it is due.
            true => Some(Due::Mono(MonoNanos::MIN)),
            false => self.timer(),
        }
    }

    /// Whether the timer may have to come for it once the store has answered.
    pub(crate) fn may_be_armed(&self) -> bool {
        self.is_overdue || self.phase == Phase::Starting
    }

    /// Whether its stored intent lets it start, so that the timer is to come for it.
    pub(crate) fn is_intent_stored(&self) -> bool {
        let Some(more) = &self.more else { return false };
        let (Some(intent), Some(sync)) = (&more.start_intent, &more.sync) else {
            return false;
        };
        self.phase == Phase::Starting && sync.is_stored(intent.since)
    }

    /// Whether it is due, and does not start because the body of its last attempt exists.
    pub(crate) fn waits_for_body(&self) -> bool {
        self.is_overdue && self.has_body && self.phase == Phase::Waiting
    }

    // What is asked by hand.

    pub(crate) fn is_counted_as_held(&self) -> bool {
        self.is_counted_as_held
    }

    /// Notes whether the app counts it among the jobs that a pause holds. Returns whether that
    /// has changed.
    pub(crate) fn count_as_held(&mut self, holds: Holds) -> bool {
        let waits = matches!(self.phase, Phase::Waiting | Phase::Ready | Phase::Starting);
        let is_left = self.more.as_ref().is_some_and(|more| more.is_left);
        let is_held = waits && !is_left && self.is_held_by_pause(holds);
        std::mem::replace(&mut self.is_counted_as_held, is_held) != is_held
    }

    fn steering(&self) -> Option<&Steering> {
        self.more.as_ref()?.steering.as_deref()
    }

    fn steering_mut(&mut self) -> &mut Steering {
        self.more().steering.get_or_insert_default()
    }

    /// Frees the memory of a steering that asks for nothing.
    fn tidy_steering(&mut self) {
        if let Some(more) = &mut self.more {
            more.steering
                .take_if(|steering| **steering == Steering::default());
        }
    }

    /// What is left of the steering if `plan` takes over.
    fn steering_after(&self, plan: &Plan) -> Steering {
        let steering = self.steering().copied().unwrap_or_default();
        if self.has_same_times(plan) {
            return steering;
        }
        // The position says when its run has ended.
        let ends_run = self.phase.is_running();
        steering.replaced(ends_run, self.begins_extra(), plan.is_recurring())
    }

    // Checkpoints.

    /// The running attempt sets a checkpoint. `may_wait`: if the row has changed for another one less
    /// than a second ago, it may change for this one later.
    pub(crate) fn set_checkpoint(&mut self, value: Encoded, may_wait: bool) -> CheckpointEffect {
        let is_in_row = self.has_checkpoint_in_row();
        let checkpoints = self.more().checkpoints.get_or_insert_default();
        checkpoints.pending = Some(value);
        if is_in_row && checkpoints.is_throttled && may_wait {
            return CheckpointEffect::Pending;
        }
        self.flush_checkpoint();
        if !is_in_row {
            return CheckpointEffect::Memory;
        }
        let needs_message = self.row_changed();
        CheckpointEffect::Row { needs_message }
    }

    /// Whether the row contains the checkpoint of the running attempt: there is a row, and it is not
    /// that of a replacement which begins without a checkpoint.
    fn has_checkpoint_in_row(&self) -> bool {
        let next = self.more.as_ref().and_then(|more| more.next.as_deref());
        self.row().is_some() && next.is_none_or(|next| self.keeps_checkpoint(next))
    }

    /// The row has changed for a checkpoint. Returns `false` if the job is throttled already.
    pub(crate) fn begin_throttle(&mut self) -> bool {
        let checkpoints = self.more().checkpoints.get_or_insert_default();
        !std::mem::replace(&mut checkpoints.is_throttled, true)
    }

    /// The throttle ends. If that changes the row, returns whether a message to the writer is needed.
    pub(crate) fn end_throttle(&mut self) -> Option<bool> {
        self.checkpoints_mut()?.is_throttled = false;
        let is_in_row = self.has_checkpoint_in_row();
        (self.flush_checkpoint() && is_in_row).then(|| self.row_changed())
    }

    pub(crate) fn add_checkpoint_waiter(&mut self, waiter: CheckpointWaiter) {
        if let Some(checkpoints) = self.checkpoints_mut() {
            checkpoints.waiters.push(waiter);
        }
    }

    /// Takes the callers that wait until their checkpoint is part of the row.
    pub(crate) fn take_checkpoint_waiters(&mut self) -> Vec<CheckpointWaiter> {
        let checkpoints = self.checkpoints_mut();
        checkpoints.map_or_else(Vec::new, |own| std::mem::take(&mut own.waiters))
    }

    /// The newest checkpoint of the run of this attempt, which runs.
    pub(crate) fn last_checkpoint(&self, attempt: u32) -> Result<Option<Encoded>, NotSet> {
        self.begun(attempt).ok_or(NotSet::AttemptOver)?;
        let is_extra = self.open_extra().is_some();
        let newest = self.checkpoints().and_then(|own| own.newest(is_extra));
        Ok(newest.cloned())
    }

    fn checkpoints(&self) -> Option<&Checkpoints> {
        self.more.as_ref()?.checkpoints.as_deref()
    }

    fn checkpoints_mut(&mut self) -> Option<&mut Checkpoints> {
        self.more.as_mut()?.checkpoints.as_deref_mut()
    }

    /// The row contains the newest checkpoint of the running attempt from now on. Returns whether it
    /// did not before.
    fn flush_checkpoint(&mut self) -> bool {
        let is_extra = self.open_extra().is_some();
        self.checkpoints_mut()
            .is_some_and(|own| own.flush(is_extra))
    }

    /// See [`Checkpoints::clear`].
    fn clear_checkpoint(&mut self, is_extra: bool) {
        if let Some(checkpoints) = self.checkpoints_mut() {
            checkpoints.clear(is_extra);
        }
    }

    fn clear_checkpoints(&mut self) {
        self.clear_checkpoint(true);
        self.clear_checkpoint(false);
    }

    /// Whether the checkpoints stay if `plan`, which is rebased, takes over: the run goes on, with the
    /// same arguments. Arguments in memory can't be compared.
    fn keeps_checkpoint(&self, plan: &Plan) -> bool {
        let definitions = self.definition().zip(plan.definition());
        let is_same = definitions.is_some_and(|(old, new)| {
            old.has_same_args(new) && old.max_spawned().is_some() == new.max_spawned().is_some()
        });
        let nominals = self.position().zip(plan.details.as_ref());
        let goes_on = nominals.is_some_and(|(old, new)| old.nominal == new.position.nominal);
        self.has_same_times(plan) && is_same && goes_on
    }

    // Progress.

    /// Sets the progress of this attempt. Returns whether it runs.
    pub(crate) fn set_progress(&mut self, attempt: u32, progress: Progress) -> bool {
        let runs = self.begun(attempt).is_some();
        if runs {
            self.more().progress = Some(Box::new(progress));
        }
        runs
    }

    /// What the running attempt, or the last one, has reported.
    pub(crate) fn progress(&self) -> Option<&Progress> {
        self.more.as_ref()?.progress.as_deref()
    }

    pub(crate) fn clear_overdue(&mut self) {
        self.is_overdue = false;
    }

    /// Whether the job itself is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.steering().is_some_and(|steering| steering.is_paused)
    }

    fn begins_extra(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.begins_extra)
    }

    fn open_extra(&self) -> Option<WallNanos> {
        self.more.as_ref()?.open_extra()
    }

    /// Whether the attempt that the job waits for, or that is about to start, was asked for by
    /// hand: no pause holds it.
    fn is_asked_for_now(&self) -> bool {
        self.more.as_ref().is_some_and(|more| match self.phase {
            // A run that was found due goes first.
            Phase::Ready | Phase::Starting if more.position.retry.is_none() => {
                let steering = more.steering.as_deref();
                more.begins_extra || steering.is_some_and(|steering| steering.runs_now)
            }
            _ => more.is_asked_for_now(),
        })
    }

    /// When the job is due, if nobody asks for an attempt now.
    fn due_of_position(&self, clock: ClockReading) -> Due {
        let Some(More {
            definition: Some(definition),
            position,
            loaded_limit,
            ..
        }) = self.more.as_deref()
        else {
            return self.due().unwrap_or(Due::Wall(self.exec_at));
        };
        let once = || position.due_at(position.due(definition));
        let moved = position.moved.filter(|_| position.retry.is_none());
        match (&position.retry, loaded_limit) {
            (Some(retry), _) if retry.extra.is_some() => once(),
            (None, _) if let Some(moved) = moved => position.moved_due(moved),
            (_, Some(limit)) => position.loaded_due(definition, clock, Some(*limit)),
            (Some(_), None) => once(),
            (None, None) => position.run_due(definition).unwrap_or_else(once),
        }
    }

    // The limits.

    pub(crate) fn ticket(&self) -> Option<TicketId> {
        self.ticket
    }

    pub(crate) fn set_ticket(&mut self, ticket: TicketId, is_in_line: bool) {
        self.ticket = Some(ticket);
        self.is_in_line = is_in_line;
    }

    /// Whether it waits for its limits, as far as it knows.
    pub(crate) fn is_in_line(&self) -> bool {
        self.is_in_line
    }

    pub(crate) fn leave_line(&mut self) {
        self.is_in_line = false;
    }

    /// Takes the ticket, if no attempt is about to start, runs, or still has its body.
    pub(crate) fn take_unused_ticket(&mut self) -> Option<TicketId> {
        let is_used = !matches!(self.phase, Phase::Waiting | Phase::Ended(_)) || self.has_body;
        let ticket = self.ticket.take_if(|_| !is_used)?;
        self.is_in_line = false;
        Some(ticket)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether the start of its next attempt has to be stored first.
    pub(crate) fn needs_intent(&self, is_at_most_once: bool) -> bool {
        self.is_durable() && (is_at_most_once || self.is_suspected())
    }

    /// The intent to start the attempt is to be stored first.
    pub(crate) fn persist_start(&mut self, is_at_most_once: bool, now: Now) -> Effects {
        let effects = self.apply(Event::PersistStart).unwrap_or_default();
        if is_at_most_once {
            // An attempt that is made at most once counts as made from here on, and its run as
            // this one.
            self.enter_open_run();
        }
        let since = self.sync().map_or(0, |sync| sync.version + 1);
        let stored = StoredIntent {
            at: now.wall,
            is_repeated: !is_at_most_once,
            is_extra: self.begins_extra(),
        };
        self.more().start_intent = Some(StartIntent { since, stored });
        effects
    }

    /// Whether the job has ended, or nothing follows its attempt.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_) | Phase::Cancelling)
    }

    /// `pause`: no attempt begins until `resume`. A running one goes on.
    pub(crate) fn pause(&mut self) -> Steered {
        if self.is_over() {
            return Steered::Ended;
        }
        if self.is_paused() {
            return Steered::Unchanged;
        }
        let was_about_to_start = matches!(self.phase, Phase::Ready | Phase::Starting);
        // An attempt that was asked for now is made all the same.
        let event = match was_about_to_start && self.is_asked_for_now() {
            true => Event::Steer,
            false => Event::Pause,
        };
        self.steering_mut().is_paused = true;
        let effects = self.apply(event).unwrap_or_default();
        self.is_overdue |= was_about_to_start && self.phase == Phase::Waiting;
        Steered::Done(effects)
    }

    /// `resume`. Times that have passed are left out, unless `catches_up` is set.
    /// If its task, a group of its task or its app is still paused, no time is left out yet.
    pub(crate) fn resume(
        &mut self,
        catches_up: bool,
        holds: Holds,
        clock: ClockReading,
        random: impl FnOnce() -> f64,
    ) -> Resumed {
        if self.is_over() {
            return Resumed::Ended;
        }
        if !self.is_paused() {
            return Resumed::Unchanged;
        }
        self.hide();
        let steering = self.steering_mut();
        steering.is_paused = false;
        if catches_up {
            steering.went_on_at = Some(clock.now.wall);
        }
        self.tidy_steering();
        if !holds.is_paused
            && !catches_up
            && let Some(resumed) = self.leave_out_passed(clock, random)
        {
            return resumed;
        }
        Resumed::Done(self.apply(Event::Steer).unwrap_or_default())
    }

    /// The pause of its task, of a group of its task or of its app has ended. See [`resume`](Lifecycle::resume).
    pub(crate) fn resume_from_above(
        &mut self,
        catches_up: bool,
        clock: ClockReading,
        random: impl FnOnce() -> f64,
    ) -> Resumed {
        if self.is_over() || self.is_paused() {
            return Resumed::Unchanged;
        }
        if catches_up {
            if !self.is_recurring() {
                return Resumed::Unchanged;
            }
            self.hide();
            self.steering_mut().went_on_at = Some(clock.now.wall);
            return Resumed::Done(self.apply(Event::Steer).unwrap_or_default());
        }
        let left_out = self.leave_out_passed(clock, random);
        left_out.unwrap_or(Resumed::Unchanged)
    }

    /// The times that have passed are not run any more: at once, or when the open run has ended.
    /// `None` if nothing changes.
    fn leave_out_passed(
        &mut self,
        clock: ClockReading,
        random: impl FnOnce() -> f64,
    ) -> Option<Resumed> {
        let more = self.more.as_deref()?;
        let definition = more.definition.as_deref()?;
        definition.recurring()?;
        let mut position = more.position.clone();
        let up_to = position.known_time(clock)?;
        let is_open = self.phase != Phase::Waiting || more.is_run_open();
        let left = match is_open {
            true => None,
            false => position.leave_out_up_to(definition, up_to, clock, random),
        };
        let (status, why) = position.end_without_time(definition);
        match left {
            Some(false) => return None,
            Some(true) => {}
            // What goes on, or was asked for, ends first.
            None if is_open || self.is_asked_for_now() || self.has_retry() => {
                self.steering_mut().leaves_out_up_to = Some(up_to);
                return Some(Resumed::Done(self.apply(Event::Steer).unwrap_or_default()));
            }
            None => {
                self.hide();
                self.more().position = position;
                let effects = self.apply(Event::RunOut(status)).unwrap_or_default();
                return Some(Resumed::Over { why, effects });
            }
        }
        self.hide();
        self.clear_checkpoint(false);
        let more = self.more();
        more.position = position;
        more.count_loaded_limit(clock);
        self.is_overdue = false;
        if !self.is_asked_for_now() {
            self.set_due(self.due_of_position(clock), clock.now);
        }
        Some(Resumed::Done(self.apply(Event::Steer).unwrap_or_default()))
    }

    /// `run_now`: an extra run of a recurring job, unless a retry waits; otherwise the attempt
    /// that the job waits for is due now.
    pub(crate) fn run_now(&mut self, now: Now) -> Steered {
        if self.is_over() {
            return Steered::Ended;
        }
        let is_waiting = self.phase == Phase::Waiting;
        let waits_for_retry = self.has_retry() && !self.phase.is_running();
        let follows = match self.more.as_deref().and_then(|more| more.next.as_deref()) {
            // It is converted when that takes over, if it runs once.
            Some(_) => true,
            None => self.is_recurring(),
        };
        if !follows || waits_for_retry {
            if self.phase.is_running() || self.steering().is_some_and(|it| it.runs_now) {
                return Steered::Unchanged;
            }
            self.hide();
            self.steering_mut().runs_now = true;
        } else {
            let begins_extra = self.begins_extra();
            let asked = self.steering().and_then(|steering| match begins_extra {
                true => steering.second_extra,
                false => steering.extra,
            });
            if asked.is_some() {
                return Steered::Unchanged;
            }
            if is_waiting {
                self.hide();
            }
            let steering = self.steering_mut();
            match begins_extra {
                true => steering.second_extra = Some(now.wall),
                false => steering.extra = Some(now.wall),
            }
        }
        if is_waiting {
            self.set_due(Due::Mono(now.mono), now);
            self.is_overdue = false;
        }
        let effects = self.apply(Event::Steer).unwrap_or_default();
        match is_waiting || !follows || waits_for_retry {
            true => Steered::Done(effects),
            false => Steered::AfterAttempt(effects),
        }
    }

    /// `move_to`, `delay_by`: the next run alone is due at another time, or the retry that the
    /// job waits for.
    pub(crate) fn move_next(&mut self, to: Move, clock: ClockReading) -> Steered {
        if self.is_over() {
            return Steered::Ended;
        }
        if self.phase.is_running() {
            if !self.is_recurring() && !self.has_next() {
                return Steered::Unchanged;
            }
            self.steering_mut().next_move = Some(to);
            let effects = self.apply(Event::Move).unwrap_or_default();
            return Steered::AfterAttempt(effects);
        }
        self.hide();
        let effects = self.apply(Event::Move).unwrap_or_default();
        if let Some(steering) = self.more.as_mut().and_then(|more| more.steering.as_mut()) {
            steering.runs_now = false;
        }
        self.tidy_steering();
        self.move_run(to, clock);
        self.is_overdue = false;
        if self.is_asked_for_now() {
            self.set_due(Due::Mono(clock.now.mono), clock.now);
        }
        Steered::Done(effects)
    }

    fn move_run(&mut self, to: Move, clock: ClockReading) {
        let now = clock.now;
        let present = self.due_of_position(clock);
        let due = to.from(present.as_wall(now));
        let more = self.more();
        more.loaded_limit = None;
        if let Some(retry) = &mut more.position.retry {
            let delay = due.saturating_sub(now.wall).max(0);
            (retry.due, retry.delay) = (due, delay);
            self.set_due(Due::Mono(now.mono.saturating_add(delay)), now);
            return;
        }
        let is_by_own_clock = matches!((to, present), (Move::By(_), Due::Mono(_)));
        more.position.is_moved_by_own_clock = is_by_own_clock;
        more.position.moved = Some(due);
        let at = match (to, present) {
            (Move::By(nanos), Due::Mono(at)) => Due::Mono(at.saturating_add(nanos)),
            _ => Due::Wall(due),
        };
        self.set_due(at, now);
    }

    // Catching up after a start of the app.

    pub(crate) fn set_turn(&mut self, to: CatchUpTurn) {
        self.more().turn = to;
    }

    pub(crate) fn turn(&self) -> CatchUpTurn {
        self.more.as_ref().map_or(CatchUpTurn::No, |more| more.turn)
    }

    /// Ends the turn of the job. Returns whether it had one.
    pub(crate) fn end_turn(&mut self) -> bool {
        let turn = self.more.as_mut().map(|more| &mut more.turn);
        turn.is_some_and(|turn| std::mem::take(turn) == CatchUpTurn::HasTurn)
    }

    // What happens to it.

    /// The timer has come. A run is on time if it is late by `on_time` or less. `has_room` is
    /// false if the run would become a job of its own, and as many of these are live as may be.
    pub(crate) fn on_timer(
        &mut self,
        clock: ClockReading,
        on_time: i64,
        intent: IntentRule,
        holds: Holds,
        has_room: bool,
        random: impl Fn() -> f64,
    ) -> TimerOutcome {
        let now = clock.now;
        if self.phase == Phase::Waiting
            && let Some(set) = self.more.as_mut().and_then(|more| more.clock_set.take())
            && let Some(effects) = self.on_clock_set(clock, set, &random)
        {
            // This timer has fired, and has to be armed again.
            let effects = Effects {
                arms: true,
                ..effects
            };
            return TimerOutcome::Moved { effects };
        }
        let Some(due) = self.timer() else {
            return TimerOutcome::Nothing;
        };
        match self.phase {
            Phase::Waiting if !holds.is_stopping => {}
            Phase::Starting if self.is_intent_stored() => {
                return TimerOutcome::Start { misfire: None };
            }
            Phase::Running | Phase::Cancelling if due.is_reached(now) => {
                return self.on_timer_of_attempt(clock, holds);
            }
            _ => return TimerOutcome::Nothing,
        }
        if !due.is_reached(now) {
            // The wall clock was set back, or the timer came for its turn to catch up.
            return TimerOutcome::Rearm(due);
        }
        if !self.is_gate_open(holds) {
            self.is_overdue = true;
            return TimerOutcome::Nothing;
        }
        let mut found = DueRun::Start {
            open: None,
            misfire: None,
        };
        if let Some(more) = &mut self.more
            && more.waiting_extra().is_some()
        {
            more.begins_extra = true;
        } else if let Some(more) = &mut self.more
            && let Some(definition) = &more.definition
        {
            let position = &more.position;
            let left_out = more.steering.as_deref().and_then(|it| it.leaves_out_up_to);
            let rule = (on_time, left_out, !more.is_by_hand());
            found = position.on_due(definition, due, clock, rule, &random);
        }
        match found {
            DueRun::Start { open, .. } if !has_room && !self.has_retry() => {
                match self.put_extra_off(clock) {
                    Some(due) => TimerOutcome::Rearm(due),
                    None => self.miss_run(open, clock, random),
                }
            }
            DueRun::Start { open, misfire }
                if intent != IntentRule::NotByTimer
                    && self.needs_intent(intent == IntentRule::AtMostOnce) =>
            {
                if open.is_some() {
                    self.more().open = open;
                }
                let effects = self.persist_start(intent == IntentRule::AtMostOnce, now);
                TimerOutcome::Persist { misfire, effects }
            }
            DueRun::Start { open, misfire } => {
                self.apply(Event::Start);
                if open.is_some() {
                    self.more().open = open;
                }
                TimerOutcome::Start { misfire }
            }
            DueRun::Later { open, due, misfire } => {
                self.hide();
                self.clear_checkpoint(false);
                let more = self.more();
                more.position.open(*open);
                if let Some(steering) = &mut more.steering {
                    steering.leaves_out_up_to = None;
                }
                more.count_loaded_limit(clock);
                let effects = self.apply(Event::Postpone).unwrap_or_default();
                self.set_due(due, now);
                TimerOutcome::Later { misfire, effects }
            }
            DueRun::NoneLeft(status, why) => {
                self.hide();
                let effects = self.apply(Event::RunOut(status)).unwrap_or_default();
                TimerOutcome::Over { why, effects }
            }
            DueRun::ExpiredBeforeRetry => {
                TimerOutcome::ExpiredBeforeRetry(self.give_up_retry(clock, &random))
            }
        }
    }

    /// No job can be made for an extra run: it waits until the next run is due. `None` if the run is
    /// not an extra one, or if the next run is due already.
    fn put_extra_off(&mut self, clock: ClockReading) -> Option<Due> {
        if !std::mem::take(&mut self.more().begins_extra) {
            return None;
        }
        let due = self.due_of_position(clock);
        if due.is_reached(clock.now) {
            return None;
        }
        self.set_due(due, clock.now);
        Some(due)
    }

    /// The run that is due is missed, and so are the times up to now.
    fn miss_run(
        &mut self,
        open: Option<Box<OpenRun>>,
        clock: ClockReading,
        random: impl FnOnce() -> f64,
    ) -> TimerOutcome {
        self.hide();
        self.clear_checkpoint(false);
        let more = self.more();
        let Some(definition) = more.definition.clone() else {
            return TimerOutcome::Nothing;
        };
        if let Some(open) = open {
            more.position.open(*open);
        }
        if let Some(steering) = &mut more.steering {
            steering.leaves_out_up_to = None;
        }
        let due = match more.position.miss_run(&definition, clock, random) {
            AfterRun::Next { due, .. } => due,
            AfterRun::End(status, why) => {
                let effects = self.apply(Event::RunOut(status)).unwrap_or_default();
                return TimerOutcome::Over { why, effects };
            }
        };
        more.count_loaded_limit(clock);
        let misfire = Some(self.more().position.nominal);
        self.tidy_steering();
        let effects = self.apply(Event::Postpone).unwrap_or_default();
        self.set_due(due, clock.now);
        self.start_asked_for(clock);
        TimerOutcome::Later { misfire, effects }
    }

    /// The running attempt has reached its timeout, or the time of the next run.
    fn on_timer_of_attempt(&mut self, clock: ClockReading, holds: Holds) -> TimerOutcome {
        let attempt = self.number;
        let Some(stops) = self.stops() else {
            return TimerOutcome::TimedOut { attempt };
        };
        if stops.timeout.is_some_and(|at| at <= clock.now.mono) {
            return TimerOutcome::TimedOut { attempt };
        }
        if self.makes_next_run(holds) {
            return TimerOutcome::CutOff { attempt };
        }
        // The end of a pause plans it again.
        let timeout = stops.timeout.map(Due::Mono);
        self.set_timer(timeout);
        timeout.map_or(TimerOutcome::Nothing, TimerOutcome::Rearm)
    }

    /// Whether another run may follow the running attempt as soon as it is due: not if the job was
    /// cancelled, and not while it is paused.
    fn makes_next_run(&self, holds: Holds) -> bool {
        let is_held = holds.is_stopping || holds.is_paused || self.is_paused();
        self.phase == Phase::Running && !is_held
    }

    fn stops(&self) -> Option<Stops> {
        self.more.as_ref()?.stops.as_deref().copied()
    }

    /// Sets the timer to the time at which the running attempt is to be stopped. Returns it.
    pub(crate) fn plan_stop(
        &mut self,
        timeout: Option<MonoNanos>,
        clock: ClockReading,
    ) -> Option<Due> {
        let next_run = self.next_run_cuts_off(clock);
        if let Some(more) = &mut self.more {
            more.stops = next_run.map(|_| Box::new(Stops { timeout, next_run }));
        }
        let timeout = timeout.map(Due::Mono);
        let next_run = next_run.map(|next| next.due);
        let first = timeout.into_iter().chain(next_run);
        let first = first.min_by_key(|due| due.as_mono(clock.now));
        self.set_timer(first);
        first
    }

    /// The wall clock was set during an attempt. A next run that is due by it cuts off the attempt
    /// now. Returns when the timer is to come.
    pub(crate) fn plan_stop_by_set_clock(&mut self, clock: ClockReading) -> Option<Due> {
        let next_run = self.stops().and_then(|stops| stops.next_run);
        if let Some(next) = next_run.filter(|next| next.due.is_reached(clock.now)) {
            self.set_timer(Some(next.due));
            return Some(next.due);
        }
        self.plan_stop_again(clock)
    }

    /// The run that follows the running attempt has changed. Returns when the timer is to come.
    pub(crate) fn plan_stop_again(&mut self, clock: ClockReading) -> Option<Due> {
        let timeout = match (self.stops(), self.timer()) {
            (Some(stops), _) => stops.timeout,
            (None, Some(Due::Mono(timeout))) => Some(timeout),
            (None, _) => None,
        };
        self.plan_stop(timeout, clock)
    }

    /// The run that follows the running attempt, if it cuts that off: the first one that is due
    /// later than `clock`, or the one that was moved.
    fn next_run_cuts_off(&self, clock: ClockReading) -> Option<NextRun> {
        let more = self.more.as_deref()?;
        // An accepted replacement follows the attempt.
        let next = more.next.as_deref();
        let definition = match next {
            Some(next) => next.definition(),
            None => more.definition.as_ref(),
        };
        let recurring = definition?.recurring()?;
        if recurring.limits.overlap != Overlap::CancelRunning {
            return None;
        }
        let before_move = match next.filter(|next| !self.has_same_times(next)) {
            Some(next) => next.due,
            None => {
                let is_extra = more.open_extra().is_some();
                let mut position = more.open_position().into_owned();
                if !is_extra {
                    // As at the end of the run.
                    position.count_from_own_clock(definition?, clock);
                }
                let is_clock_set = more.clock_set.is_some();
                position.due_during_run(definition?, clock, (is_extra, is_clock_set))?
            }
        };
        let next_move = more.steering.as_deref().and_then(|it| it.next_move);
        let due = match (next_move, before_move) {
            (None, due) => due,
            (Some(Move::By(nanos)), Due::Mono(at)) => Due::Mono(at.saturating_add(nanos)),
            (Some(to), due) => Due::Wall(to.from(due.as_wall(clock.now))),
        };
        Some(NextRun { due, before_move })
    }

    /// Whether the next run is due before a retry after this delay, and cuts it off.
    fn is_cut_off_in(
        &self,
        clock: ClockReading,
        delay: i64,
        (stops, holds): (Option<Stops>, Holds),
    ) -> bool {
        if !self.makes_next_run(holds) {
            return false;
        }
        let recurring = self.definition().and_then(|it| it.recurring());
        let max_failures = recurring.and_then(|it| it.limits.max_failures);
        if max_failures.is_some_and(|max| self.failures().saturating_add(1) >= max) {
            // If the run fails, no other follows.
            return false;
        }
        let retry = clock.now.mono.saturating_add(delay);
        let planned = stops.and_then(|stops| stops.next_run);
        let next_runs = planned.into_iter().chain(self.next_run_cuts_off(clock));
        next_runs
            .into_iter()
            .any(|next| next.due.as_mono(clock.now) <= retry)
    }

    /// The last nanosecond before the next run was due, or would have been without its move, if
    /// that is earlier. What follows the attempt is decided as if it had ended then, so that no
    /// policy counts the next run as missed. `None` if the next run is not due.
    fn before_next_run(&self, stops: Option<Stops>, holds: Holds, now: Now) -> Option<Now> {
        let next_run = stops.and_then(|stops| stops.next_run);
        let is_due = |next: &NextRun| self.makes_next_run(holds) && next.due.is_reached(now);
        let next_run = next_run.filter(is_due)?;
        let due = next_run
            .due
            .as_mono(now)
            .min(next_run.before_move.as_mono(now));
        let late = now.mono.saturating_sub(due).saturating_add(1);
        Some(Now {
            mono: now.mono.saturating_sub(late),
            wall: now.wall.saturating_sub(late),
        })
    }

    /// A run of a series has expired while it waited for a retry: it ends as failed.
    fn give_up_retry(&mut self, clock: ClockReading, random: impl Fn() -> f64) -> AttemptEnd {
        let now = clock.now;
        self.hide();
        let status = self.failed_as();
        let is_extra = self.open_extra().is_some();
        let run = self.enter_run(status, now);
        self.follow_clock_after_run(clock, is_extra, &random);
        let after = self.next_run_after(is_extra, (status, None), clock, &random);
        let is_paused = self.pause_after(after, status);
        let (next, event) = match after {
            AfterRun::End(status, why) => (AfterAttempt::End(status, why), Event::RunOut(status)),
            AfterRun::Next { misfire, .. } => (AfterAttempt::Run { misfire }, Event::Postpone),
        };
        AttemptEnd {
            next,
            run,
            starts_over: false,
            took_next: false,
            is_paused,
            effects: self.apply(event).unwrap_or_default(),
        }
    }

    /// Whether an attempt of the open run that starts `delay` nanoseconds from now is too late.
    fn is_too_late_in(&self, clock: ClockReading, delay: i64) -> bool {
        self.more.as_ref().is_some_and(|more| {
            if more.is_by_hand() {
                return false;
            }
            // The open position can be a copy, which most jobs do not need.
            let limited = more.definition.as_ref().filter(|d| d.expires.is_some());
            limited.is_some_and(|definition| {
                let position = more.open_position();
                position.is_too_late_in(definition, clock, delay)
            })
        })
    }

    /// The executor would begin the attempt. A plain job does not look at the clock.
    pub(crate) fn begin(&mut self, clock: ClockReading, holds: Holds) -> BeginOutcome {
        let may_start = match self.phase {
            Phase::Ready => true,
            Phase::Starting => self.is_intent_stored(),
            _ => false,
        };
        // An executor may still have what it was handed before the job had to wait.
        if !may_start || self.is_in_line {
            return BeginOutcome::Nothing;
        }
        if let Some(effects) = self.shut(clock, holds) {
            return BeginOutcome::Shut(effects);
        }
        self.apply(Event::Begin);
        self.number = self.number.wrapping_add(1);
        self.has_body = true;
        self.is_deciding = false;
        self.is_overdue = false;
        self.set_timer(None);
        let begun = self.begun_now();
        if let Some(more) = &mut self.more {
            more.control = None;
            more.progress = None;
            more.executor_drops = 0;
            more.started_at = clock.now.wall;
            more.attempts_begun = begun.attempt;
        }
        BeginOutcome::Begin(begun)
    }

    /// What the running attempt knows of itself. `None` if this attempt does not run.
    pub(crate) fn begun(&self, attempt: u32) -> Option<Begun> {
        let runs = self.number == attempt && self.phase.is_running();
        runs.then(|| self.begun_now())
    }

    /// Functions are about to decide about the failure of the running attempt. `false` if they do so
    /// already.
    pub(crate) fn begin_deciding(&mut self) -> bool {
        !std::mem::replace(&mut self.is_deciding, true)
    }

    /// Whether functions decide about the failure of this attempt, which runs.
    pub(crate) fn is_deciding(&self, attempt: u32) -> bool {
        self.is_deciding && self.number == attempt && self.phase.is_running()
    }

    fn begun_now(&self) -> Begun {
        let mut begun = Begun {
            number: self.number,
            attempt: 1,
            run: 1,
            nominal: self.exec_at,
            interruptions: self.interruptions(),
        };
        if let Some(more) = &self.more {
            begun.attempt = more.position.attempts().saturating_add(1);
            begun.nominal = match (more.open_extra(), &more.open) {
                (Some(nominal), _) => nominal,
                (None, Some(open)) => open.nominal,
                (None, None) => more.position.nominal,
            };
            if let Some(definition) = &more.definition {
                begun.run = match &definition.spawned_by {
                    Some(by) if definition.recurring().is_none() => by.run,
                    _ if definition.recurring().is_some() => more.position.runs().saturating_add(1),
                    _ => 1,
                };
            }
        }
        begun
    }

    /// The number of attempts of the last run of which this process has begun one.
    pub(crate) fn attempts_begun(&self) -> u32 {
        match &self.more {
            Some(more) => more.attempts_begun,
            // It has one run, and no retry.
            None => self.number,
        }
    }

    /// If the attempt that is about to start may not start any more: the job waits again.
    pub(crate) fn shut(&mut self, clock: ClockReading, holds: Holds) -> Option<Effects> {
        let is_open = self.is_gate_open(holds);
        if is_open && !self.is_too_late_in(clock, 0) {
            return None;
        }
        let effects = self.apply(Event::GateShut).unwrap_or_default();
        // An extra run may come before the run that a pause holds.
        let may_start = is_open || self.is_gate_open(holds);
        self.is_overdue = !may_start;
        // The timer decides what follows a run that has expired.
        let arms = may_start;
        Some(Effects { arms, ..effects })
    }

    /// The body of the attempt is gone.
    pub(crate) fn body_gone(&mut self) {
        self.has_body = false;
    }

    /// This attempt has succeeded. If the job is plain and the attempt runs, the job has
    /// ended, and this returns `true`.
    pub(crate) fn succeed_if_plain(&mut self, attempt: u32) -> bool {
        let is_current = self.number == attempt && self.phase == Phase::Running;
        if !self.is_plain() || !is_current {
            return false;
        }
        self.has_body = false;
        self.set_timer(None);
        self.apply(Event::Finish(JobStatus::Success)).is_some()
    }

    /// The running attempt has ended: with this failure, or well. A failed attempt is
    /// made again as `again` says, if nothing else follows.
    pub(crate) fn end_attempt(
        &mut self,
        failure: Option<JobStatus>,
        again: Option<Again>,
        holds: Holds,
        clock: ClockReading,
        random: impl Fn() -> f64,
    ) -> AttemptEnd {
        let now = clock.now;
        let is_stopping = holds.is_stopping;
        self.hide();
        self.flush_checkpoint();
        self.enter_open_run();
        self.survived();
        let extra = self.open_extra();
        let is_extra = extra.is_some();
        // It was the timeout of this attempt.
        self.set_timer(None);
        let stops = self.more.as_mut().and_then(|more| more.stops.take());
        let stops = stops.map(|stops| *stops);
        let decided_at = self.before_next_run(stops, holds, now);
        // With the same times, the run goes on under the new definition.
        let took_same = self.phase == Phase::Running && self.take_next_of_same_times(is_stopping);
        let goes_on = self.phase == Phase::Running && !self.has_next();
        // A run that was snoozed has not failed, whatever follows.
        let failure = match again {
            Some(Again {
                is_snooze: true, ..
            }) => failure.map(|_| JobStatus::Cancelled),
            _ => failure,
        };
        let again = again.filter(|_| goes_on && (self.is_durable() || !is_stopping));
        // What was asked for was this attempt, and not its retry, which may expire.
        if let Some(steering) = self.more.as_mut().and_then(|more| more.steering.as_mut()) {
            steering.runs_now = false;
        }
        let is_too_late = again.is_some_and(|Again { delay, .. }| {
            self.is_too_late_in(clock, delay) || self.is_cut_off_in(clock, delay, (stops, holds))
        });
        if let (Some(status), Some(Again { delay, is_snooze })) = (failure, again)
            && !is_too_late
        {
            let due = Due::Mono(now.mono.saturating_add(delay));
            let more = self.more();
            if !is_extra {
                more.loaded_limit = None;
            }
            let failed = Retry {
                extra,
                attempts: u32::from(!is_snooze),
                snoozes: u32::from(is_snooze),
                failed_as: match is_snooze {
                    true => JobStatus::Cancelled,
                    false => status,
                },
                started_at: now.wall,
                due: due.as_wall(now),
                delay,
            };
            more.position.enter_attempt(more.started_at, failed);
            if std::mem::take(&mut more.begins_extra)
                && let Some(steering) = &mut more.steering
            {
                steering.take_extra();
            }
            if let Some((definition, set)) = more.definition.as_deref().zip(more.clock_set) {
                // The row of a retry says by how much the clock was set.
                more.position.follow_clock(definition, clock, set, &random);
            }
            let attempts = more.position.attempts();
            self.tidy_steering();
            self.set_due(due, now);
            return AttemptEnd {
                next: match is_snooze {
                    true => AfterAttempt::Snooze { due },
                    false => AfterAttempt::Retry { due, attempts },
                },
                run: None,
                starts_over: false,
                took_next: took_same,
                is_paused: false,
                effects: self.apply(Event::Retry).unwrap_or_default(),
            };
        }
        let status = failure.unwrap_or(JobStatus::Success);
        let run = self.enter_run(status, now);
        let decided = decided_at.map_or(clock, |now| ClockReading { now, ..clock });
        self.follow_clock_after_run(decided, is_extra, &random);
        let (mut starts_over, mut took_next) = (false, took_same);
        let after = if self.phase == Phase::Cancelling {
            // A series was cut off, or a replacement. A job that runs once has had its run.
            let is_cut_off = self.take_next().is_some() || self.is_recurring();
            let end = match is_cut_off {
                true => JobStatus::Cancelled,
                false => status,
            };
            AfterRun::End(end, EndReason::Ordinary)
        } else if let Some(mut plan) = self.take_next() {
            if is_stopping && !plan.is_durable() {
                AfterRun::End(JobStatus::Cancelled, EndReason::Ordinary)
            } else {
                took_next = true;
                starts_over = self.starts_over_with(&plan);
                if let Some((definition, position)) = self.definition().zip(self.position()) {
                    plan.rebase(definition, position, self.pending(), false);
                }
                let is_after_each = !starts_over && plan.is_after_each();
                let due = plan.due;
                self.install(plan);
                self.follow_clock_since_scheduling(clock);
                // It is counted from the end of this run.
                let is_counted = is_after_each && !is_extra;
                match is_counted {
                    true => self.next_run_after(false, (status, None), clock, &random),
                    false => {
                        self.start_asked_for(clock);
                        AfterRun::Next { due, misfire: None }
                    }
                }
            }
        } else {
            let is_durable = self.is_durable();
            match self.next_run_after(is_extra, (status, decided_at), clock, &random) {
                // A retry would come too late.
                AfterRun::End(..) if is_too_late && !self.is_recurring() => {
                    AfterRun::End(JobStatus::Cancelled, EndReason::Expired)
                }
                AfterRun::Next { .. } if is_stopping && !is_durable => {
                    AfterRun::End(JobStatus::Cancelled, EndReason::Ordinary)
                }
                after => after,
            }
        };
        let is_paused = !starts_over && self.pause_after(after, status);
        let (next, event) = match after {
            AfterRun::End(status, why) => (AfterAttempt::End(status, why), Event::Finish(status)),
            AfterRun::Next { misfire, .. } => (AfterAttempt::Run { misfire }, Event::NextRun),
        };
        AttemptEnd {
            next,
            run,
            starts_over,
            took_next,
            is_paused,
            effects: self.apply(event).unwrap_or_default(),
        }
    }

    /// Takes the definition of an accepted replacement that has the same times. The position
    /// is that of the job. Returns whether there was one.
    fn take_next_of_same_times(&mut self, is_stopping: bool) -> bool {
        let next = self.more.as_ref().and_then(|more| more.next.as_ref());
        let is_taken = next
            .is_some_and(|next| self.has_same_times(next) && (next.is_durable() || !is_stopping));
        if !is_taken {
            return false;
        }
        let Some(plan) = self.take_next() else {
            return false;
        };
        if !self.keeps_checkpoint(&plan) {
            self.clear_checkpoints();
        }
        if let Some(details) = plan.details {
            self.more().definition = Some(details.definition.clone());
        }
        true
    }

    /// A replacement takes over that was scheduled during the run: the wall clock may have been
    /// set since then.
    fn follow_clock_since_scheduling(&mut self, clock: ClockReading) {
        let Some(due) = self.timer() else { return };
        let exec_at = due.as_wall(clock.now);
        if let Some(more) = &mut self.more {
            match more.definition.as_deref() {
                Some(definition) => {
                    more.position.count_from_own_clock(definition, clock);
                    if !clock.is_set() {
                        // It shows the time that its row has.
                        return;
                    }
                }
                None => more.position.nominal = exec_at,
            }
        }
        self.exec_at = exec_at;
    }

    /// The run has ended, and the position can follow the wall clock that was set meanwhile.
    /// After an extra run, a loaded job is due as before.
    fn follow_clock_after_run(
        &mut self,
        clock: ClockReading,
        is_extra: bool,
        random: impl FnOnce() -> f64,
    ) {
        let Some(more) = &mut self.more else { return };
        let set = more.clock_set.take();
        let Some(definition) = more.definition.as_deref() else {
            return;
        };
        let before = more.position.offset;
        if !is_extra {
            more.loaded_limit = None;
            more.position.count_from_own_clock(definition, clock);
        }
        if let Some(set) = set {
            more.position.follow_clock(definition, clock, set, random);
        }
        more.move_steering(before);
    }

    /// The attempt ends: its run is the open one of the position.
    fn enter_open_run(&mut self) {
        if let Some(more) = &mut self.more
            && let Some(open) = more.open.take()
        {
            more.position.open(*open);
        }
    }

    /// The open run ends with `status`.
    fn enter_run(&mut self, status: JobStatus, now: Now) -> Option<RunSummary> {
        self.clear_checkpoint(self.open_extra().is_some());
        let more = self.more.as_mut()?;
        let definition = more.definition.as_deref()?;
        let begun = (more.started_at, more.open_extra());
        let run = more.position.enter_run(definition, begun, status, now);
        let is_first_of_extra = std::mem::take(&mut more.begins_extra);
        if let Some(steering) = &mut more.steering {
            steering.runs_now = false;
            if is_first_of_extra {
                steering.take_extra();
            }
        }
        let run = run?;
        more.runs_ended = more.runs_ended.wrapping_add(1);
        Some(run)
    }

    fn next_run(
        &mut self,
        (status, decided_at): (JobStatus, Option<Now>),
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> AfterRun {
        let Some(More {
            definition: Some(definition),
            position,
            ..
        }) = self.more.as_deref_mut()
        else {
            return AfterRun::End(status, EndReason::Ordinary);
        };
        if let Some(at) = decided_at {
            // The run that is due is the next one.
            position.leave_out_after_run(position.now(at));
        }
        let after = position.next_run(definition, status, decided_at.unwrap_or(now), random);
        if let AfterRun::Next { due, .. } = after {
            self.set_due(due, now);
        }
        after
    }

    /// What follows the run that was entered. The run that the job waits for is moved, if that
    /// was asked for during the run that ended.
    fn next_run_after(
        &mut self,
        is_extra: bool,
        (status, decided_at): (JobStatus, Option<Now>),
        clock: ClockReading,
        random: impl Fn() -> f64,
    ) -> AfterRun {
        if let Some(end) = self.leave_out_after_run(is_extra, status, clock, &random) {
            return end;
        }
        let after = match (is_extra, self.more.as_deref()) {
            (
                true,
                Some(More {
                    definition: Some(definition),
                    position,
                    ..
                }),
            ) => {
                let after = position.after_extra_run(definition, status);
                if let AfterRun::Next { .. } = after {
                    self.set_due(self.due_of_position(clock), clock.now);
                }
                after
            }
            _ => self.next_run((status, decided_at), clock.now, random),
        };
        if let AfterRun::Next { .. } = after {
            self.start_asked_for(clock);
        }
        after
    }

    /// A pause has ended during the run that was entered: the times up to then are left out.
    /// Returns the end of the job if no time is left after an extra run.
    fn leave_out_after_run(
        &mut self,
        is_extra: bool,
        status: JobStatus,
        clock: ClockReading,
        random: impl FnOnce() -> f64,
    ) -> Option<AfterRun> {
        let More {
            definition: Some(definition),
            position,
            steering: Some(steering),
            ..
        } = self.more.as_deref_mut()?
        else {
            return None;
        };
        let up_to = steering.leaves_out_up_to.take()?;
        if !is_extra {
            position.leave_out_after_run(up_to);
            return None;
        }
        let left = position.leave_out_up_to(definition, up_to, clock, random);
        let has_extra = steering.extra.is_some();
        if left.is_none() && has_extra {
            // The next extra run is made first.
            steering.leaves_out_up_to = Some(up_to);
        }
        if left.is_none() && !has_extra {
            let (_, why) = position.end_without_time(definition);
            return Some(AfterRun::End(status, why));
        }
        if left == Some(true) {
            self.clear_checkpoint(false);
            if let Some(more) = &mut self.more {
                more.count_loaded_limit(clock);
            }
        }
        None
    }

    /// A run has ended, and another follows: moves it, or makes an extra run first, as asked for
    /// meanwhile.
    fn start_asked_for(&mut self, clock: ClockReading) {
        let Some(more) = &mut self.more else { return };
        let next_move = more.steering.as_mut().and_then(|it| it.next_move.take());
        if let Some(next_move) = next_move {
            self.move_run(next_move, clock);
        }
        let next_due = self.more.as_deref().and_then(|more| {
            let definition = more.definition.as_deref()?;
            Some(more.position.due(definition))
        });
        if let Some(steering) = self.more.as_mut().and_then(|more| more.steering.as_mut()) {
            // What comes next is due after that.
            steering
                .went_on_at
                .take_if(|at| next_due.is_none_or(|due| due > *at));
        }
        let is_recurring = self.is_recurring();
        if let Some(steering) = self.more.as_mut().and_then(|more| more.steering.as_mut())
            && !is_recurring
            && steering.take_extra().is_some()
        {
            // The job runs once from now on: that is the run.
            steering.runs_now = true;
        }
        self.tidy_steering();
        if self.is_asked_for_now() {
            self.set_due(Due::Mono(clock.now.mono), clock.now);
        }
    }

    /// A run has ended with `status`. Returns whether that pauses the job.
    fn pause_after(&mut self, after: AfterRun, status: JobStatus) -> bool {
        let recurring = self
            .definition()
            .and_then(|definition| definition.recurring());
        let pauses = recurring.is_some_and(|recurring| recurring.limits.pause_on_failure)
            && !matches!(status, JobStatus::Success | JobStatus::Cancelled)
            && matches!(after, AfterRun::Next { .. })
            && !self.is_paused();
        if pauses {
            self.steering_mut().is_paused = true;
        }
        pauses
    }

    fn take_next(&mut self) -> Option<Box<Plan>> {
        self.more.as_mut()?.next.take()
    }

    /// Whether `plan` is of another series, so that no run of this one counts for it.
    fn starts_over_with(&self, plan: &Plan) -> bool {
        let definitions = self.definition().zip(plan.definition());
        !definitions.is_some_and(|(old, new)| old.is_same_series(new))
    }

    /// Whether the job goes on with `plan` as before, with other options or arguments.
    fn has_same_times(&self, plan: &Plan) -> bool {
        let definitions = self.definition().zip(plan.definition());
        definitions.is_some_and(|(old, new)| old.has_same_times(new))
    }

    /// Whether `plan` has the same times, the same end and the same exclusions as the job.
    fn has_same_times_and_end(&self, plan: &Plan) -> bool {
        let definitions = self.definition().zip(plan.definition());
        definitions.is_some_and(|(old, new)| old.has_same_times_and_end(new))
    }

    fn pending(&self) -> Pending {
        Pending {
            due: self.due().unwrap_or(Due::Wall(self.exec_at)),
            exec_at: self.exec_at,
            is_asked_for_now: self.is_asked_for_now(),
        }
    }

    fn position(&self) -> Option<&Position> {
        Some(&self.more.as_ref()?.position)
    }

    /// Replaces the definition, the position and the due time by those of a plan.
    fn install(&mut self, plan: impl Into<Box<Plan>>) {
        let plan = *plan.into();
        if !self.has_same_times(&plan)
            && let Some(more) = &mut self.more
        {
            (more.loaded_limit, more.clock_set) = (None, None);
        }
        let steering = self.steering_after(&plan);
        if !self.keeps_checkpoint(&plan) {
            self.clear_checkpoints();
        }
        if let Some(more) = &mut self.more {
            more.steering = (steering != Steering::default()).then(|| Box::new(steering));
        }
        self.set_timer(Some(plan.due));
        self.exec_at = plan.exec_at;
        self.is_overdue = false;
        if self.more.is_none() && plan.is_plain() {
            return;
        }
        let exec_at = plan.exec_at;
        let more = self.more();
        match plan.details {
            Some(details) => {
                let details = Arc::unwrap_or_clone(details);
                if details.definition.is_durable() {
                    more.sync.get_or_insert_default();
                }
                more.definition = Some(details.definition);
                more.position = details.position;
            }
            None => {
                more.definition = None;
                // It still shows its last run.
                more.position = Position {
                    series: more.position.series.take(),
                    ..Position::once(exec_at, None)
                };
            }
        }
    }

    /// Whether the job can be replaced by this plan.
    pub(crate) fn check_replaceable(
        &self,
        plan: &Plan,
        what: Replace,
        is_stopping: bool,
    ) -> Result<(), NotReplaceable> {
        match self.phase {
            Phase::Ended(_) => return Err(NotReplaceable::Ended),
            Phase::Cancelling => return Err(NotReplaceable::Ending),
            Phase::Running if is_stopping => {
                let follows = match self.has_next() {
                    true => self.is_next_durable(),
                    false => self.is_durable(),
                };
                if !follows {
                    return Err(NotReplaceable::Ending);
                }
            }
            _ => {}
        }
        if what == Replace::SameKind && !plan.is_recurring() {
            let next = self.more.as_deref().and_then(|more| more.next.as_deref());
            let is_recurring = next.map_or(self.is_recurring(), Plan::is_recurring);
            if is_recurring {
                return Err(NotReplaceable::Recurring);
            }
        }
        if plan.is_never_due() && !self.has_same_times_and_end(plan) {
            return Err(NotReplaceable::NeverDue);
        }
        if let Some((definition, position)) = self.definition().zip(self.position())
            && definition.recurring().is_some()
            && !self.starts_over_with(plan)
            && let Some(max) = plan.limits().and_then(|limits| limits.max_runs)
        {
            // The open run counts once it has started.
            let is_open = self.phase.is_running() || position.retry.is_some();
            let runs = position.runs().saturating_add(u64::from(is_open));
            if runs >= max {
                return Err(NotReplaceable::RunsUsedUp { max, runs });
            }
        }
        Ok(())
    }

    /// A replacement is submitted to the store: the job does not start until that has
    /// answered.
    pub(crate) fn propose(&mut self) -> Effects {
        let was_starting = self.phase == Phase::Starting;
        let effects = self.apply(Event::Propose).unwrap_or_default();
        let more = self.more();
        more.sync.get_or_insert_default().hold();
        self.is_overdue |= was_starting;
        effects
    }

    /// A replacement was answered.
    pub(crate) fn release(&mut self) {
        if let Some(sync) = self.sync_mut() {
            sync.release();
        }
    }

    /// What the store is to hold if `plan` is accepted now.
    pub(crate) fn plan_replacement(&self, plan: &Plan, now: Now) -> Plan {
        let mut plan = plan.clone();
        plan.forget_first_now(now);
        self.rebase_on_present(&mut plan, now);
        plan
    }

    /// Fits a plan to how far the job has come.
    fn rebase_on_present(&self, plan: &mut Plan, now: Now) {
        let Some(more) = self.more.as_deref() else {
            return;
        };
        let Some(definition) = more.definition.as_deref() else {
            return;
        };
        plan.keep_origin(
            self.last_definition()
                .map_or(definition, |last| last.as_ref()),
            now,
        );
        let mut position = Cow::Borrowed(&more.position);
        if !self.has_same_times(plan) {
            let next = more.next.as_deref();
            if next.is_some_and(|next| plan.rebase_on_same_times(next)) {
                // It replaces a replacement, which was fitted before.
                return;
            }
            if self.phase.is_running() {
                let is_extra = more.open_extra().is_some();
                position = Cow::Owned(more.open_position().interrupted(definition, is_extra));
            } else if position.retry.is_some() {
                // The retry that it waits for will not come.
                let failed_as = self.failed_as();
                let begun = (now.wall, more.open_extra());
                (position.to_mut()).enter_run(definition, begun, failed_as, now);
            }
        }
        let is_waiting = !self.phase.is_running();
        plan.rebase(definition, &position, self.pending(), is_waiting);
    }

    /// What the job is, or the replacement that waits for the end of its run.
    fn last_definition(&self) -> Option<&Arc<Definition>> {
        let more = self.more.as_deref()?;
        match &more.next {
            Some(next) => next.definition(),
            None => more.definition.as_ref(),
        }
    }

    /// The set that declares the job, unless it was cancelled or has ended.
    pub(crate) fn declared_by(&self) -> Option<&Arc<str>> {
        let is_over = matches!(self.phase, Phase::Ended(_) | Phase::Cancelling);
        let definition = self.last_definition().filter(|_| !is_over);
        definition?.set.as_ref()
    }

    /// Whether `plan` declares what the job, or the replacement that waits, is already.
    pub(crate) fn is_as_declared(&self, plan: &Plan) -> bool {
        let definitions = self.last_definition().zip(plan.definition());
        !matches!(self.phase, Phase::Ended(_) | Phase::Cancelling)
            && definitions.is_some_and(|(present, new)| present.is_declared_as(new))
    }

    /// Whether the open run has had an attempt, and another one follows.
    pub(crate) fn has_retry(&self) -> bool {
        self.position()
            .is_some_and(|position| position.retry.is_some())
    }

    /// Whether the open run was snoozed so often that it may not be once more.
    pub(crate) fn is_snoozed_too_often(&self) -> bool {
        let retry = self.position().and_then(|position| position.retry.as_ref());
        retry.is_some_and(|retry| retry.snoozes >= MAX_SNOOZES)
    }

    fn failed_as(&self) -> JobStatus {
        let retry = self.position().and_then(|position| position.retry.as_ref());
        retry.map_or(JobStatus::Failed, |retry| retry.failed_as)
    }

    /// Accepts a replacement. `planned` is the rebased plan that the store has, with the
    /// version of the job at the pull; `None` if the replacement was not stored.
    pub(crate) fn accept(
        &mut self,
        plan: Plan,
        planned: Option<(u64, Plan)>,
        now: Now,
    ) -> Accepted {
        self.hide();
        let version = self.sync().map(|sync| sync.version);
        let stored = planned.filter(|(pulled, _)| Some(*pulled) == version);
        let is_current = stored.is_some();
        let is_next = self.phase.is_running();
        let plan = match stored {
            Some((_, planned)) => planned,
            None => {
                let mut plan = plan;
                plan.forget_first_now(now);
                self.rebase_on_present(&mut plan, now);
                plan
            }
        };
        let starts_over = self.starts_over_with(&plan);
        let goes_on = self.has_same_times(&plan);
        let is_unchanged = self.is_as_declared(&plan);
        let given_up = match self.position() {
            Some(position) if !is_next && !goes_on && position.retry.is_some() => {
                self.enter_run(self.failed_as(), now)
            }
            _ => None,
        };
        let effects = self.apply(Event::Accept).unwrap_or_default();
        if is_next {
            let is_durable = plan.is_durable();
            let more = self.more();
            if is_durable {
                more.sync.get_or_insert_default();
            }
            more.next = Some(Box::new(plan));
        } else {
            self.install(plan);
            let steering = self.more.as_mut().and_then(|more| more.steering.as_mut());
            let next_move = steering.filter(|_| given_up.is_some());
            if let Some(next_move) = next_move.and_then(|it| it.next_move.take()) {
                let more = self.more();
                let moved = (more.position).move_run(more.definition.as_deref(), next_move);
                let due = more.position.moved_due(moved);
                self.set_due(due, now);
                self.tidy_steering();
            }
            if self.is_asked_for_now() {
                self.set_due(Due::Mono(now.mono), now);
            }
        }
        if is_current && let Some(sync) = self.sync_mut() {
            sync.mark_stored();
        }
        Accepted {
            given_up,
            starts_over: starts_over && !is_next,
            is_next,
            is_unchanged,
            effects: Effects {
                changes_row: effects.changes_row && !is_current,
                ..effects
            },
        }
    }

    /// `cancel`: the job ends, or nothing follows its running attempt. `None` if it was
    /// cancelled or has ended.
    pub(crate) fn cancel(&mut self) -> Option<Effects> {
        if self.phase != Phase::Running {
            self.hide();
        }
        self.apply(Event::Cancel)
    }

    /// `abort`: the job ends, with its running attempt. Returns the run that ended with
    /// it.
    pub(crate) fn abort(&mut self, now: Now) -> Option<(Effects, Option<RunSummary>)> {
        if self.phase.is_ended() {
            return None;
        }
        self.hide();
        let run = match self.phase.is_running() {
            true => {
                self.enter_open_run();
                self.enter_run(JobStatus::Cancelled, now)
            }
            false => None,
        };
        self.take_next();
        let effects = self.apply(Event::Abort)?;
        Some((effects, run))
    }

    /// The app stops. Returns what follows, and whether the job is left to the next
    /// process.
    pub(crate) fn stop(&mut self) -> Option<(Effects, bool)> {
        let is_durable = self.is_durable();
        if self.phase.is_running() {
            return None;
        }
        if !is_durable {
            self.hide();
        }
        let effects = self.apply(Event::Stop { is_durable })?;
        Some((effects, is_durable))
    }

    /// Notes that the stop leaves the job to the next process. Returns whether it was not
    /// noted before.
    pub(crate) fn leave_to_next_process(&mut self) -> bool {
        !std::mem::replace(&mut self.more().is_left, true)
    }

    /// The job is not left any more: it has ended. Returns whether it was.
    pub(crate) fn take_left(&mut self) -> bool {
        let more = self.more.as_mut();
        more.is_some_and(|more| std::mem::take(&mut more.is_left))
    }

    /// The executor dropped the attempt before its first poll. A durable job has made no
    /// attempt, and is due again after a while, in nanoseconds. `None` for a job in
    /// memory, whose attempt has failed.
    pub(crate) fn executor_dropped(&mut self, now: Now) -> Option<Effects> {
        const FIRST_DELAY: i64 = 1_000_000_000;
        const LONGEST_DELAY: i64 = 60 * FIRST_DELAY;
        // An executor may have had it since before the job had to wait.
        if !self.is_durable() || self.is_in_line {
            return None;
        }
        if self.phase == Phase::Ready {
            // It is due again in a while, and then nothing shows that its run is late.
            self.enter_open_run();
        }
        let effects = self.apply(Event::ExecutorDrop)?;
        let more = self.more();
        let delay = FIRST_DELAY << more.executor_drops.min(6);
        more.executor_drops = more.executor_drops.saturating_add(1);
        let due = now.mono.saturating_add(delay.min(LONGEST_DELAY));
        self.set_timer(Some(Due::Mono(due)));
        Some(effects)
    }

    /// The wall clock was set. `None` if the job is as before.
    pub(crate) fn on_clock_set(
        &mut self,
        clock: ClockReading,
        set: ClockSet,
        random: impl FnOnce() -> f64,
    ) -> Option<Effects> {
        let timer = self.timer();
        // A job that is due by the monotonic clock is about to start, for the time that it was
        // due.
        let is_due = matches!(timer, Some(Due::Mono(at)) if at <= clock.now.mono);
        if self.phase != Phase::Waiting || is_due {
            if let Some(more) = &mut self.more {
                more.clock_set = more.clock_set.max(Some(set));
            }
            return None;
        }
        let due = timer?;
        let exec_at = due.as_wall(clock.now);
        let Some(More {
            definition: Some(definition),
            position,
            loaded_limit,
            clock_set,
            ..
        }) = self.more.as_deref()
        else {
            // A job that runs once, in memory: it shows the new time.
            self.exec_at = exec_at;
            if let Some(more) = &mut self.more
                && more.position.retry.is_none()
                && more.position.moved.is_none()
            {
                more.position.nominal = exec_at;
            }
            return None;
        };
        let mut moved = position.clone();
        moved.follow_clock(definition, clock, set, random);
        let mut pending = *clock_set;
        let due = match (loaded_limit, moved.run_due(definition), &mut moved.retry) {
            _ if self.is_asked_for_now() => due,
            (Some(limit), _, retry) if retry.as_ref().is_none_or(|retry| retry.extra.is_none()) => {
                moved.loaded_due(definition, clock, Some(*limit))
            }
            (_, _, Some(retry)) => {
                retry.due = exec_at;
                due
            }
            (_, Some(due), None) => due,
            (_, None, None) => due,
        };
        if moved.retry.is_some() {
            // The times of its series follow when the run has ended.
            pending = pending.max(Some(set));
        }
        let exec_at = due.as_wall(clock.now);
        let changes_row = moved != *position;
        let arms = Some(due) != timer;
        if changes_row {
            self.hide();
        }
        let waits_for_turn = self.turn() == CatchUpTurn::Waits;
        let more = self.more();
        let before = more.position.offset;
        (more.position, more.clock_set) = (moved, pending);
        more.move_steering(before);
        self.set_timer(Some(due));
        self.exec_at = exec_at;
        if !changes_row && !arms {
            return None;
        }
        let effects = self.apply(Event::ClockSet)?;
        Some(Effects {
            changes_row: effects.changes_row && changes_row,
            arms: effects.arms && arms && !waits_for_turn,
            ..effects
        })
    }

    /// Voids an attempt of which no end is to be stored any more, if the next process finds
    /// a row of the job, and makes the attempt again, or what follows it. Returns whether it
    /// does.
    pub(crate) fn void_attempt(&mut self, is_store_closed: bool) -> bool {
        let has_row = self.row().is_some();
        // The row that is to be removed is still there.
        let keeps_row = is_store_closed && self.known() != Known::Absent;
        (has_row || keeps_row) && self.apply(Event::Void).is_some()
    }
}

impl More {
    /// The next run of the job is another one, or times were left out. If it was loaded and has not
    /// run since then, it is due after its own interval at the latest, counted from now.
    fn count_loaded_limit(&mut self, clock: ClockReading) {
        if let (Some(_), Some(definition)) = (self.loaded_limit, &self.definition) {
            let wait = self.position.longest_wait_for_run(definition);
            self.loaded_limit = wait.map(|wait| clock.now.mono.saturating_add(wait));
        }
    }

    /// Whether a run of the series waits for a retry, or was moved: the times after it are left out
    /// when it has ended.
    fn is_run_open(&self) -> bool {
        let retry = self.position.retry.as_ref();
        retry.is_some_and(|retry| retry.extra.is_none()) || self.position.moved.is_some()
    }

    /// The moment of the extra run that is open: an attempt of it is about to start or runs, or
    /// it waits for a retry.
    fn open_extra(&self) -> Option<WallNanos> {
        match (&self.position.retry, self.steering.as_deref()) {
            (Some(retry), _) => retry.extra,
            (None, Some(steering)) if self.begins_extra => steering.extra,
            (None, _) => None,
        }
    }

    /// The moment of the extra run that comes next. `None` while another run is open.
    fn waiting_extra(&self) -> Option<WallNanos> {
        let steering = self.steering.as_deref();
        let steering = steering.filter(|_| self.position.retry.is_none());
        steering.and_then(|steering| steering.extra)
    }

    /// The times of the position have moved with the clock, by which they had this offset.
    fn move_steering(&mut self, before: Option<i64>) {
        if let Some((before, after)) = before.zip(self.position.offset)
            && let Some(steering) = &mut self.steering
            && let Some(up_to) = &mut steering.leaves_out_up_to
        {
            *up_to = up_to.saturating_add(after.saturating_sub(before));
        }
    }

    /// Whether the attempt that the job waits for was asked for by hand.
    fn is_asked_for_now(&self) -> bool {
        let runs_now = self
            .steering
            .as_deref()
            .is_some_and(|steering| steering.runs_now);
        runs_now || self.waiting_extra().is_some()
    }

    /// Whether a person has asked for the attempt that is due, or for its run: it does not expire.
    fn is_by_hand(&self) -> bool {
        let runs_now = self
            .steering
            .as_deref()
            .is_some_and(|steering| steering.runs_now);
        runs_now || self.open_extra().is_some()
    }

    /// The position with the run of the attempt.
    fn open_position(&self) -> Cow<'_, Position> {
        let mut position = Cow::Borrowed(&self.position);
        if let Some(open) = &self.open {
            position.to_mut().open(OpenRun::clone(open));
        }
        position
    }

    fn new(
        definition: Option<Arc<Definition>>,
        position: Position,
        sync: Option<SyncState>,
    ) -> Box<Self> {
        Box::new(Self {
            definition,
            position,
            open: None,
            begins_extra: false,
            steering: None,
            checkpoints: None,
            progress: None,
            next: None,
            loaded_limit: None,
            clock_set: None,
            started_at: 0,
            stops: None,
            start_intent: None,
            control: None,
            runs_ended: 0,
            sync,
            unpublished: None,
            turn: CatchUpTurn::No,
            is_left: false,
            attempts_begun: 0,
            executor_drops: 0,
            made: Made::default(),
            carried_by: None,
            failed: None,
            taken: None,
            interruptions: 0,
            max_interruptions: u32::MAX,
            is_suspected: false,
        })
    }
}
