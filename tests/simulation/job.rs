//! The model of one job, from the docs: what it waits for, and what it does when that is
//! due. It depends on no other job.

use std::time::Duration;

use jobber::JobStatus;

use super::calendar::Calendar;
use super::cron;
use super::history::{Attempt, Now, nanos};
use super::model::Model;
use super::plan::{Draw, Due, Fires, Plan, Recurring, Restored, Times};
use super::program::Start;
use super::script::{Outcome, TASKS};
use super::zone_rules::ruled;

#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub task: usize,
    pub plan: Plan,
    pub stage: Stage,
    /// Of the current run.
    pub attempts: u32,
    /// Runs of a recurring job that have started.
    pub runs: u64,
    pub failures: u32,
    /// The replacement that follows the current run.
    pub next_plan: Option<Plan>,
    /// The wall clock was set during the current run.
    pub is_clock_set: bool,
    /// How long the job waits for its retry.
    retry_delay: i64,
    /// The job ends with the current run.
    pub is_ending: bool,
    /// How the last run ended, in this process.
    pub last: Option<Ended>,
    /// The last run that has ended, of a job that recurs.
    pub last_run: Option<Run>,
    /// The run of a recurring job that goes on or waits for a retry.
    present: Option<Run>,
    /// The times of a recurring job, and the one that it showed, before its open run came
    /// due: a run that starts late may change them.
    before_due: Option<(Recurring, i64)>,
    /// When the current run was first due, by the clock of the job.
    pub first_due: i64,
    /// How the attempt failed whose retry the job waits for.
    failed_as: Option<JobStatus>,
    /// The start of the next attempt, as it is stored.
    marked_at: i64,
    /// The times of the catch-up runs of this step.
    pub misfires: Vec<i64>,
    /// The other events of this step.
    pub said: Vec<Said>,
    /// When it was last checked.
    pub was_done: bool,
    /// Until the wall clock has passed this, the model does not predict the job, because the
    /// docs leave open what exactly it does.
    pub unpredicted: Option<i64>,
    /// The current run is a catch-up that counts for the limit of `All`.
    is_catch_up: bool,
    /// The process before may have ended because of it: its next start is stored.
    pub is_suspected: bool,
    /// How often in a row a process has ended during an attempt.
    pub interruptions: u32,
    /// The job itself is paused.
    pub is_paused: bool,
    /// Its task or its app is.
    pub is_held_above: bool,
    pub asked: Asked,
    /// A run of it was moved, and that is not predicted: after how many runs it may be again.
    pub is_moved_until: Option<u64>,
    /// The entry of the history from which its runs count.
    pub since: usize,
    /// The states that the store may have; the last is the one that it should have.
    pub stored: Vec<Option<Saved>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Scheduled,
    Running {
        /// When it ends by itself.
        ends: Option<i64>,
        outcome: Outcome,
        /// When it has taken too long.
        limit: Option<i64>,
    },
    Done(JobStatus),
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    By(Outcome, u64, u32),
    TimedOut,
    /// No attempt could start in time. Whether one had failed just before.
    Expired(bool),
    /// In an unpredicted way.
    Unforeseen,
}

/// The events of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Retrying {
        attempt: u32,
        /// At the earliest, by the wall clock.
        due: i64,
        /// By how much later, at random.
        most: i64,
    },
    RunEnded(Run),
    /// The job has ended with this status.
    Ended(JobStatus),
    Expired,
    AllExcluded,
    FailedTooOften,
    Interrupted(u32),
    Paused,
    RunRequested,
    Moved {
        due: i64,
    },
    Resumed {
        due: i64,
        most: i64,
    },
}

/// A run of a recurring job; all times are of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub number: u64,
    pub nominal: i64,
    pub started_at: i64,
    /// `None` as long as the run goes on, as for the status.
    pub finished_at: i64,
    pub status: JobStatus,
}

impl Run {
    pub fn begun(number: u64, nominal: i64, started_at: i64) -> Self {
        Self {
            number,
            nominal,
            started_at,
            finished_at: i64::MAX,
            status: JobStatus::Running,
        }
    }

    pub fn of(run: &jobber::Run) -> Self {
        Self {
            number: run.number,
            nominal: nanos(run.nominal_time),
            started_at: nanos(run.started_at),
            finished_at: nanos(run.finished_at),
            status: run.status,
        }
    }
}

/// What the store keeps of a job.
#[derive(Clone, Debug)]
pub struct Saved {
    pub task: usize,
    pub plan: Plan,
    pub attempts: u32,
    pub runs: u64,
    pub failures: u32,
    /// An attempt of an `at_most_once` task was about to start.
    pub is_marked: bool,
    /// How long the job waits for its retry, if it does.
    pub retry_delay: Option<i64>,
    /// The job was unpredicted then.
    pub unpredicted: Option<i64>,
    /// The last run that has ended, of a job that recurs.
    pub last_run: Option<Run>,
    /// The run that waits for a retry, of such a job.
    pub present: Option<Run>,
    /// When that run was first due, as a wall time.
    pub first_due: i64,
    /// How the last attempt of this run failed.
    pub last_failure: Option<JobStatus>,
    /// When the attempt was about to start.
    pub marked_at: i64,
    /// An attempt of a suspected job was about to start, which is made again.
    pub is_repeated: bool,
    pub interruptions: u32,
    pub is_paused: bool,
    pub asked: StoredAsked,
}

/// What was asked for by hand, and is not done.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The moment of an extra run, until its first attempt has ended.
    pub extra: Option<i64>,
    /// That of another, which was asked for during that attempt.
    pub second: Option<i64>,
    /// The attempt that it waits for is due now.
    pub runs_now: bool,
    /// The run that has begun is the extra one of this moment.
    pub open: Option<i64>,
    /// When the job is due after an extra run.
    pub after_extra: Option<WhenDue>,
    /// When it was due, before `runs_now`.
    pub before: Option<WhenDue>,
}

/// The same, as the store has it.
#[derive(Clone, Debug, Default)]
pub struct StoredAsked {
    pub extra: Option<i64>,
    pub second: Option<i64>,
    pub runs_now: bool,
    /// The run that waits for a retry is the extra one of this moment.
    pub open: Option<i64>,
    /// The start that is stored is that of an extra run.
    pub starts_extra: bool,
}

/// When a plan is due.
#[derive(Clone, Debug)]
pub struct WhenDue {
    due: Due,
    exec_at: i64,
    unread: Option<Draw>,
    restored: Option<Restored>,
}

impl WhenDue {
    /// The plan is due now instead.
    pub fn replace(plan: &mut Plan, now: Now) -> Self {
        let before = Self {
            due: plan.due,
            exec_at: plan.exec_at,
            unread: plan.unread.take(),
            restored: plan.restored.take(),
        };
        plan.due = Due::Mono(now.mono);
        plan.exec_at = now.wall;
        before
    }

    pub fn put_back(self, plan: &mut Plan) {
        plan.due = self.due;
        plan.exec_at = self.exec_at;
        plan.unread = self.unread;
        plan.restored = self.restored;
    }
}

impl Job {
    pub fn new(id: String, task: usize, plan: Plan) -> Self {
        Self {
            id,
            task,
            misfires: Vec::new(),
            said: Vec::new(),
            was_done: false,
            unpredicted: None,
            is_catch_up: false,
            is_suspected: false,
            interruptions: 0,
            is_paused: false,
            is_held_above: false,
            asked: Asked::default(),
            is_moved_until: None,
            plan,
            stage: Stage::Scheduled,
            attempts: 0,
            runs: 0,
            failures: 0,
            next_plan: None,
            is_clock_set: false,
            retry_delay: 0,
            is_ending: false,
            last: None,
            last_run: None,
            present: None,
            before_due: None,
            first_due: 0,
            failed_as: None,
            marked_at: 0,
            since: 0,
            stored: vec![None],
        }
    }

    pub fn is_live(&self) -> bool {
        !matches!(self.stage, Stage::Done(_))
    }

    pub fn status(&self) -> JobStatus {
        match self.stage {
            Stage::Scheduled => JobStatus::Scheduled,
            Stage::Running { .. } => JobStatus::Running,
            Stage::Done(status) => status,
        }
    }

    /// Whether the store has the job or the replacement that follows its run, or may have it.
    pub fn concerns_store(&self) -> bool {
        let plans = self.next_plan.iter().chain([&self.plan]);
        let is_durable = plans.into_iter().any(|plan| plan.durable);
        // A refused replacement may have been written, and must then be removed.
        is_durable || self.stored.iter().any(Option::is_some)
    }

    /// Whether a start has to be stored before the attempt.
    pub fn waits_for_store(&self) -> bool {
        self.is_at_most_once() || self.is_suspected
    }

    /// Whether it is stored, and each attempt is made at most once.
    pub fn is_at_most_once(&self) -> bool {
        TASKS[self.task].at_most_once && self.plan.durable
    }

    pub fn stop_predicting(&mut self, until: i64) {
        self.unpredicted = self.unpredicted.max(Some(until));
        for saved in self.stored.iter_mut().flatten() {
            saved.unpredicted = self.unpredicted;
        }
    }

    /// Stores the present state, if the job is stored.
    pub fn save(&mut self, now: Now) {
        self.look_for_replacement(now);
        self.save_as(false, now);
    }

    /// A replacement may have given up a retry, whose run has then failed; or the job has
    /// started over, and nothing has run.
    fn look_for_replacement(&mut self, now: Now) {
        if self.stage != Stage::Scheduled {
            return;
        }
        if let Some(status) = self.failed_as.filter(|_| self.attempts == 0) {
            self.run_ended(status, now);
        }
        if self.runs == 0 {
            (self.last, self.last_run) = (None, None);
        }
    }

    /// No run of it goes on; the last one was this.
    pub fn waits_anew(&mut self, last_run: Option<Run>) {
        self.last_run = last_run;
        (self.present, self.failed_as) = (None, None);
    }

    /// The run that went on, or that waited for a retry, has ended with this status.
    pub fn run_ended(&mut self, status: JobStatus, now: Now) {
        self.failed_as = None;
        if let Some(run) = self.present.take() {
            let run = Run {
                finished_at: now.wall,
                status,
                ..run
            };
            self.last_run = Some(run);
            self.said.push(Said::RunEnded(run));
        }
    }

    fn save_as(&mut self, is_marked: bool, now: Now) {
        let is_kept = self.plan.durable && self.is_live();
        let mut plan = self.stored_plan();
        let exec_at = plan.stored_due();
        if let Some(recurring) = &mut plan.recurring {
            // A run that is not made again is counted already.
            recurring.is_catch_up &= !is_marked;
        }
        if is_marked && self.stage == Stage::Scheduled {
            self.marked_at = now.wall;
        }
        let has_failed = self.attempts > 0;
        let saved = is_kept.then(|| Saved {
            task: self.task,
            // It has had none if it has started over, or was the first to begin.
            last_run: self.last_run.filter(|_| self.runs > 0),
            present: self.present.filter(|_| has_failed),
            first_due: match &self.plan.recurring {
                // The time of a run before, or by another clock: it is known when the run begins.
                _ if !has_failed => 0,
                Some(recurring) => recurring.as_wall(self.first_due),
                None if self.plan.once.by_wall => self.first_due,
                None => self.first_due + self.plan.once.offset,
            },
            last_failure: self.failed_as.filter(|_| has_failed),
            marked_at: self.marked_at,
            unpredicted: self.unpredicted,
            plan,
            attempts: self.attempts,
            runs: self.runs,
            failures: self.failures,
            is_marked,
            is_repeated: false,
            interruptions: self.interruptions,
            is_paused: self.is_paused,
            asked: self.stored_asked(is_marked),
            retry_delay: has_failed.then_some(self.retry_delay),
        });
        let saved = saved.map(|mut saved| {
            saved.plan.exec_at = exec_at;
            saved
        });
        if saved.is_some() || self.stored.iter().any(Option::is_some) {
            self.stored.push(saved);
        }
    }

    /// Writes the job to the store again, as if the current attempt had not begun.
    pub fn save_again(&mut self, now: Now) {
        let mut before = self.clone();
        if let Stage::Running { .. } = self.stage {
            // They are unknown for an unpredicted job.
            before.attempts = before.attempts.saturating_sub(1);
            if before.attempts == 0 && before.asked.open.take().is_some() {
                before.runs = before.runs.saturating_sub(1);
            } else if let (0, Some(recurring)) = (before.attempts, &mut before.plan.recurring) {
                before.runs = before.runs.saturating_sub(1);
                recurring.is_catch_up = self.is_catch_up;
                (recurring.last_run, recurring.has_run) = recurring.run_before;
                // "The row during a run is the row before it." With `at_most_once` that is
                // the one with the start.
                if let Some(found) = self.before_due.clone().filter(|_| !self.is_at_most_once()) {
                    (*recurring, before.plan.shown) = found;
                    // It may have been declared again, with other options.
                    before.plan = before.plan.with_options_of(&self.plan);
                }
            }
        }
        let is_running = matches!(self.stage, Stage::Running { .. });
        before.save_as(is_running && self.is_at_most_once(), now);
        let mut saved = before.stored.pop().flatten();
        if let Some(saved) = saved.as_mut().filter(|_| is_running) {
            saved.plan.exec_at = before.stored_plan().stored_due();
            saved.is_repeated = self.is_suspected;
            saved.asked.starts_extra = self.begins_extra() && self.waits_for_store();
        }
        self.stored.push(saved);
    }

    /// When the next thing happens to the job, by the monotonic clock.
    pub fn next_event(&self, model: &Model) -> Option<i64> {
        match self.stage {
            _ if self.unpredicted.is_some() || self.plan.unread.is_some() => None,
            Stage::Scheduled if model.is_stopping || self.is_held() => None,
            // Nothing is due by a clock that was not set.
            Stage::Scheduled if matches!(self.plan.due, Due::Wall(_)) && !model.now.is_set() => {
                None
            }
            Stage::Scheduled => Some(self.plan.due.mono(model.now).max(model.now.mono)),
            Stage::Running { ends, limit, .. } => ends.into_iter().chain(limit).min(),
            Stage::Done(_) => None,
        }
    }

    fn set_due(&mut self, due: Due, unread: Option<Draw>, now: Now) {
        self.plan.due = due;
        self.plan.exec_at = due.wall(now);
        self.plan.unread = unread;
        if let Some(restored) = &mut self.plan.restored {
            restored.due = self.plan.exec_at;
        }
    }

    /// The nominal time of the next run.
    pub fn set_next(&mut self, nominal: i64, is_catch_up: bool, now: Now) {
        let Some(recurring) = &mut self.plan.recurring else {
            return;
        };
        (recurring.nominal, recurring.drawn) = (nominal, 0);
        self.plan.is_retry = false;
        self.plan.shown = recurring.as_wall(nominal);
        let at = nominal.max(recurring.of(now));
        let due = recurring.due(at);
        // A catch-up run has no jitter.
        let unread = recurring.room(nominal).filter(|_| !is_catch_up);
        self.set_due(due, unread, now);
    }

    /// Whether no attempt may start after this delay.
    fn is_expired_after(&self, delay: i64, now: Now) -> bool {
        if self.asked.runs_now || self.asked.open.is_some() {
            // What was asked for is made however late.
            return false;
        }
        let late = self.plan.own(now) + delay - self.first_due;
        let is_known = now.is_set() && !self.plan.by_unset;
        if self.plan.is_by_wall() && !is_known {
            return false;
        }
        self.plan.expires.is_some_and(|limit| late > limit)
    }

    /// The run waited for a retry, which would be too late: it has failed.
    fn retry_expires(&mut self, now: Now) {
        let status = self.failed_as.unwrap_or(JobStatus::Failed);
        self.last = Some(Ended::Expired(false));
        self.end_asked(now);
        self.run_ended(status, now);
        self.attempts = 0;
        self.stage = self.after_run(status, false, now);
        self.save(now);
    }

    /// The job is due. Returns the attempt that starts.
    pub fn fire(&mut self, boot: u32, now: Now) -> Option<Attempt> {
        if let Some(moment) = self.waiting_extra() {
            return self.fire_extra(moment, boot, now);
        }
        if self.attempts == 0 {
            self.first_due = self.stored_plan().first_due();
        }
        let is_expired = self.is_expired_after(0, now);
        if is_expired && self.plan.recurring.is_none() {
            self.stage = Stage::Done(JobStatus::Cancelled);
            self.last = Some(Ended::Expired(false));
            self.save(now);
            return None;
        }
        if is_expired && self.attempts > 0 {
            self.retry_expires(now);
            return None;
        }
        let expires = self.plan.expires.filter(|_| is_expired);
        if let Some(recurring) = &mut self.plan.recurring
            && self.attempts == 0
        {
            self.before_due = Some((recurring.clone(), self.plan.shown));
            let at = recurring.of(now);
            let due = match (self.plan.due, recurring.by_wall) {
                // A restored job, at its limit.
                (Due::Mono(_), true) => self.plan.due.wall(now),
                (Due::Mono(due) | Due::Wall(due), _) => due,
            };
            let fires = match expires {
                // Without a clock, nothing shows that a run is late.
                None if recurring.by_wall && !now.is_set() => Fires::Run,
                // "It is made however late."
                None if self.plan.moved.is_some() => Fires::Run,
                Some(limit) => recurring.leave_out(at, limit),
                None => recurring.fires(due, at),
            };
            match fires {
                Fires::Run => {}
                Fires::Over => {
                    if recurring.is_all_excluded() {
                        self.said.push(Said::AllExcluded);
                    }
                    let last = self.last_run.map_or(JobStatus::Cancelled, |run| run.status);
                    self.stage = Stage::Done(last);
                    self.save(now);
                    return None;
                }
                Fires::Instead(nominal) => {
                    let shown = recurring.as_wall(nominal);
                    if nominal != recurring.nominal {
                        (recurring.nominal, recurring.drawn) = (nominal, 0);
                        self.plan.shown = shown;
                        // It counts from its own time.
                        self.first_due = nominal;
                    }
                    self.misfires.push(self.plan.shown);
                }
                Fires::Later(nominal) | Fires::Moved(nominal) => {
                    self.set_next(nominal, false, now);
                    let wait = self.plan.longest_wait();
                    if let Some((restored, wait)) = self.plan.restored.as_mut().zip(wait) {
                        // The wait begins anew.
                        restored.limit = now.mono + wait;
                    }
                    if matches!(fires, Fires::Later(_)) {
                        self.misfires.push(self.plan.shown);
                    }
                    self.save(now);
                    if std::mem::take(&mut self.is_clock_set) {
                        self.see_clock(now);
                    }
                    return None;
                }
            }
        }
        self.save_start(now);
        self.begin(now);
        let nominal = self.asked.open.unwrap_or(self.plan.shown);
        Some(self.start(nominal, boot, now))
    }

    /// The start of an attempt that is about to begin is stored, if it has to be.
    pub fn save_start(&mut self, now: Now) {
        if self.is_at_most_once() {
            self.save_as(true, now);
        } else if self.is_suspected {
            // The row stays as it is, but for the start.
            self.marked_at = now.wall;
            let mut before = self.clone();
            let found = self
                .before_due
                .clone()
                .filter(|_| self.asked.open.is_none());
            if let (Some(recurring), Some(found)) = (&mut before.plan.recurring, found) {
                (*recurring, before.plan.shown) = found;
            }
            before.save_as(false, now);
            let mut saved = before.stored.pop().flatten();
            if let Some(saved) = &mut saved {
                (saved.is_repeated, saved.marked_at) = (true, now.wall);
                saved.plan.exec_at = self.stored_plan().stored_due();
                saved.asked.starts_extra = self.asked.open.is_some() && self.attempts == 0;
            }
            self.stored.push(saved);
        }
    }

    /// The attempt that has begun.
    pub fn start(&mut self, nominal: i64, boot: u32, now: Now) -> Attempt {
        let spec = &TASKS[self.task];
        let run = self.run();
        let (after, outcome) = self.plan.script.outcome(spec.blocking, run, self.attempts);
        let later = |after: Duration| now.mono + after.as_nanos() as i64;
        let is_blocking = spec.blocking;
        self.stage = Stage::Running {
            ends: after.map(later),
            outcome,
            limit: spec.timeout.filter(|_| !is_blocking).map(later),
        };
        // A panic in the call comes before it.
        let panics_first = (after, outcome) == (Some(Duration::ZERO), Outcome::Panic);
        if self.plan.durable && spec.has_checkpoints && !panics_first {
            // A checkpoint writes the row, with what has changed since it was written last.
            self.save_again(now);
        }
        Attempt {
            id: self.id.clone(),
            boot,
            run,
            attempt: self.attempts,
            nominal,
        }
    }

    /// An attempt begins.
    pub fn begin(&mut self, now: Now) {
        self.attempts += 1;
        if let (1, Some(moment)) = (self.attempts, self.asked.open) {
            self.runs += 1;
            self.present = Some(Run::begun(self.runs, moment, now.wall));
            return;
        }
        if let Some(recurring) = &mut self.plan.recurring
            && self.attempts == 1
        {
            self.runs += 1;
            recurring.run_before = (recurring.last_run, recurring.has_run);
            (recurring.last_run, recurring.has_run) = (recurring.nominal, true);
            self.is_catch_up = std::mem::take(&mut recurring.is_catch_up);
            self.present = Some(Run::begun(self.runs, self.plan.shown, now.wall));
        }
    }

    pub fn run(&self) -> u64 {
        match self.plan.recurring {
            Some(_) => self.runs,
            None => 1,
        }
    }

    /// The attempt that goes on has ended.
    pub fn end(&mut self, how: Ended, is_stopping: bool, now: Now) {
        (self.is_suspected, self.interruptions) = (false, 0);
        self.end_asked(now);
        let failed = match how {
            Ended::By(Outcome::Value, ..) => None,
            Ended::By(..) | Ended::Unforeseen => Some(JobStatus::Failed),
            Ended::TimedOut => Some(JobStatus::Timeout),
            // It is not an attempt.
            Ended::Expired(_) => None,
        };
        let status = failed.unwrap_or(JobStatus::Success);
        let next = self.next_plan.as_ref();
        let is_same = next.is_some_and(|next| {
            self.plan.has_same_times(next) && !self.is_ending && (next.durable || !is_stopping)
        });
        if is_same && let Some(next) = self.next_plan.take() {
            self.plan = self.plan.with_options_of(&next);
        }
        let stops = is_stopping && !self.plan.durable;
        let is_followed_up = self.is_ending || self.next_plan.is_some() || stops;
        let retry = failed.and_then(|_| self.retry_delay(how));
        let mut retry = retry.filter(|_| !is_followed_up);
        let mut is_too_late = false;
        if let Some(delay) = retry {
            let (least, most) = self.room_of_retry(how, delay);
            is_too_late = self.is_expired_after(least, now);
            if is_too_late {
                retry = None;
            } else if self.is_expired_after(most, now) {
                // What is drawn at random decides.
                self.stop_predicting(i64::MAX);
            }
        }
        let expires = is_too_late && self.plan.recurring.is_none();
        if retry.is_none() {
            self.last = Some(match expires {
                true => Ended::Expired(true),
                false => how,
            });
            self.run_ended(status, now);
        }
        if expires {
            self.attempts = 0;
            self.stage = Stage::Done(JobStatus::Cancelled);
        } else if self.is_ending {
            let is_cut_off = self.next_plan.take().is_some() || self.plan.recurring.is_some();
            self.stage = Stage::Done(match is_cut_off {
                true => JobStatus::Cancelled,
                false => status,
            });
        } else if let Some(plan) = self.next_plan.take() {
            if is_stopping && !plan.durable {
                // The replacement does not follow.
                self.attempts = 0;
                self.stage = Stage::Done(JobStatus::Cancelled);
            } else {
                self.stage = self.go_on_with(plan, status, now);
            }
        } else if let Some(delay) = retry {
            let (earliest, latest) = self.room_of_retry(how, delay);
            let room = (latest > earliest).then(|| Draw::new(latest - earliest, true));
            self.plan.restored = None;
            self.retry_delay = earliest;
            self.set_due(Due::Mono(now.mono + earliest), room, now);
            self.plan.is_retry = true;
            if self.is_clock_set {
                self.note_clock(now);
            }
            self.failed_as = failed;
            self.said.push(Said::Retrying {
                attempt: self.attempts,
                due: self.plan.exec_at,
                most: self.plan.unread.map_or(0, |draw| draw.most),
            });
            self.stage = Stage::Scheduled;
        } else {
            self.attempts = 0;
            self.stage = self.after_run(status, stops, now);
        }
        self.save(now);
    }

    /// The run has ended with this status, and a replacement with other times follows.
    fn go_on_with(&mut self, mut plan: Plan, status: JobStatus, now: Now) -> Stage {
        if self.has_asked() {
            // What was asked for follows in part, by other times.
            self.stop_predicting(i64::MAX);
        }
        self.attempts = 0;
        let mut is_pause = false;
        let is_same_series = self.plan.is_same_series(&plan);
        if is_same_series {
            self.failures = match status {
                JobStatus::Success => 0,
                _ => self.failures + 1,
            };
            plan.forget_first_now(now);
            plan.rebase(&self.plan, true, now);
            is_pause = plan.recurring.as_ref().is_some_and(Recurring::is_pause);
        } else {
            plan.forget_first_now(now);
            (self.runs, self.failures) = (0, 0);
        }
        self.is_clock_set = false;
        plan.see_clock(now);
        if plan.unread.is_some() && plan.due.mono(now) <= now.mono {
            // It may be due already.
            self.stop_predicting(match plan.is_on_wall() {
                true => now.wall,
                false => i64::MAX,
            });
        }
        if !now.is_set() && plan.is_on_wall() {
            // What it waits for is found when the clock is set.
            self.stop_predicting(now.earliest);
        }
        self.plan = plan;
        if !is_pause {
            if is_same_series {
                self.pause_after(status);
            }
            return Stage::Scheduled;
        }
        // It is counted from the end of this run.
        let Some(recurring) = &mut self.plan.recurring else {
            return Stage::Scheduled;
        };
        if recurring
            .max_failures
            .is_some_and(|max| self.failures >= max)
        {
            self.said.push(Said::FailedTooOften);
            return Stage::Done(JobStatus::PermanentlyFailed);
        }
        if recurring.max_runs.is_some_and(|max| self.runs >= max) {
            return Stage::Done(status);
        }
        let (next, _) = recurring.after_run(now.mono, None);
        if recurring.is_over_at(next) {
            return Stage::Done(status);
        }
        self.set_next(next, false, now);
        self.pause_after(status);
        Stage::Scheduled
    }

    /// What a wall clock that is set may change in the row.
    fn stored_state(&self) -> impl PartialEq + use<> {
        let recurring = self.plan.recurring.as_ref();
        let handled = |r: &Recurring| r.is_handled_known().then(|| r.as_wall(r.handled));
        let covered = recurring.map(|r| (handled(r), r.set_back, r.set_by));
        let once = self.plan.once.set_by;
        (self.plan.shown, self.plan.stored_due(), covered, once)
    }

    /// The wall clock was set, and the app has noticed.
    pub fn see_clock(&mut self, now: Now) {
        match self.stage {
            Stage::Done(_) => return,
            _ if self.is_extra_open() || self.is_asked_now() || self.plan.moved.is_some() => {
                self.stop_predicting(now.wall);
                return;
            }
            Stage::Running { .. } => {
                self.is_clock_set = true;
                return;
            }
            // A due job starts before the jobs hear of the step. Its scheduled time stays.
            Stage::Scheduled
                if !self.is_held() && matches!(self.plan.due, Due::Mono(at) if at <= now.mono) =>
            {
                self.is_clock_set = true;
                return;
            }
            Stage::Scheduled if self.is_held() && self.plan.due.mono(now) <= now.mono => {
                // Its time has passed, by a clock that was wrong or is.
                self.stop_predicting(now.wall);
                return;
            }
            Stage::Scheduled => {}
        }
        let before = self.stored_state();
        if self.attempts > 0 {
            self.is_clock_set = true;
            self.note_clock(now);
        } else {
            self.follow_clock(now);
            self.plan.once.offset = now.wall - now.mono;
            if self.plan.recurring.is_none() && !self.plan.once.by_wall {
                self.plan.by_unset = false;
            }
            // It is due, and starts before the jobs hear of the step.
            let recurring = self.plan.recurring.as_ref();
            self.is_clock_set |= recurring.is_some_and(|r| r.by_wall && r.is_first_now);
        }
        if self.plan.restored.is_some() {
            self.plan.place_restored(self.attempts > 0, now);
        } else {
            self.plan.exec_at = self.plan.due.wall(now);
            if self.plan.recurring.is_none() && self.attempts == 0 {
                self.plan.shown = self.plan.exec_at;
            }
        }
        // "The rows of waiting jobs are written again."
        if self.stored_state() != before {
            self.save_as(false, now);
        }
    }

    /// The times of a recurring job follow the wall clock.
    fn follow_clock(&mut self, now: Now) {
        let Some(recurring) = &mut self.plan.recurring else {
            return;
        };
        if !now.is_set() {
            return;
        }
        let offset = now.wall - now.mono;
        let by_unset = self.plan.by_unset;
        let is_moment = recurring.is_pause() && !recurring.is_first_now;
        self.plan.by_unset &= recurring.by_wall && is_moment;
        if recurring.by_wall && recurring.is_first_now {
            let is_unknown = by_unset;
            if by_unset {
                recurring.start_at(now.wall);
            }
            // "The first run is now."
            if recurring.nominal > now.wall || is_unknown {
                recurring.nominal = now.wall;
                if let (Times::Every { anchor, .. }, None) = (&mut recurring.times, recurring.start)
                {
                    *anchor = now.wall;
                }
                self.plan.shown = now.wall;
                self.set_due(Due::Wall(now.wall), None, now);
            }
            return;
        }
        if recurring.by_wall && recurring.is_pause() {
            return;
        }
        if !recurring.by_wall {
            self.plan.shown += offset - recurring.offset;
            recurring.offset = offset;
            if recurring.except.is_some() {
                self.keep_to_exclusions(now);
            }
            return;
        }
        if by_unset {
            recurring.start_at(now.wall);
        }
        recurring.see_clock(now.wall);
        let next = recurring.after(recurring.over(now.wall));
        if recurring.is_over_at(next) {
            return;
        }
        if next > now.wall {
            (recurring.catch_ups, recurring.is_catch_up) = (0, false);
        }
        let drawn = recurring.drawn;
        if next != recurring.nominal {
            (recurring.nominal, recurring.drawn) = (next, 0);
            self.plan.shown = next;
            let room = recurring.room(next).filter(|_| next > now.wall);
            self.set_due(Due::Wall(next), room, now);
        } else if self.plan.stored_due() > (next + drawn).max(now.wall) {
            // A catch-up was due when its time was missed, by the clock at that time.
            self.set_due(Due::Wall((next + drawn).max(now.wall)), None, now);
        }
    }

    /// Others of its times are excluded, or the clock was set.
    pub fn keep_to_exclusions(&mut self, now: Now) {
        let Some(recurring) = self.plan.recurring.as_mut().filter(|r| !r.is_first_now) else {
            return;
        };
        // A restored job at its limit waits for that.
        let is_at_limit = recurring.by_wall && matches!(self.plan.due, Due::Mono(_));
        if recurring.is_pause() || is_at_limit {
            return;
        }
        let at = recurring.of(now);
        let next = recurring.keep_to_exclusions(at);
        if next == recurring.nominal || recurring.is_over_at(next) {
            return;
        }
        if next > at {
            (recurring.catch_ups, recurring.is_catch_up) = (0, false);
        }
        // What was drawn at random stays, as far as there is room.
        let drawn = match (next > at, recurring.room(next)) {
            (true, Some(room)) => recurring.drawn.min(room.most),
            _ => 0,
        };
        (recurring.nominal, recurring.drawn) = (next, drawn);
        self.plan.shown = recurring.as_wall(next);
        let (due, exec_at) = (recurring.due(next + drawn), recurring.as_wall(next + drawn));
        self.set_due(due, None, now);
        self.plan.exec_at = exec_at;
    }

    /// The least and the greatest delay of a retry. Some are drawn at random.
    fn room_of_retry(&self, how: Ended, delay: Duration) -> (i64, i64) {
        let asked = matches!(how, Ended::By(Outcome::RetryAfter(_), ..));
        let most = delay.as_nanos() as i64;
        match TASKS[self.task].wavers && !asked {
            true => (most - (delay / 2).as_nanos() as i64, most),
            false => (most, most),
        }
    }

    /// The clock was set, and the open run waits for a retry: its times stay.
    fn note_clock(&mut self, now: Now) {
        let offset = now.wall - now.mono;
        match &mut self.plan.recurring {
            Some(recurring) if !recurring.by_wall => recurring.set_by = offset - recurring.offset,
            None if !self.plan.once.by_wall => {
                self.plan.once.set_by = offset - self.plan.once.offset;
            }
            _ => return,
        }
        self.plan.by_unset = false;
    }

    fn retry_delay(&self, how: Ended) -> Option<Duration> {
        let delay = TASKS[self.task].retries.get(self.attempts as usize - 1)?;
        match how {
            Ended::By(Outcome::Abort, ..) => None,
            Ended::By(Outcome::RetryAfter(delay), ..) => Some(delay),
            _ => Some(*delay),
        }
    }

    fn after_run(&mut self, status: JobStatus, stops: bool, now: Now) -> Stage {
        let is_extra = self.asked.open.take().is_some();
        self.plan.restored = None;
        let Some(recurring) = &mut self.plan.recurring else {
            return Stage::Done(status);
        };
        self.failures = match status {
            JobStatus::Success => 0,
            _ => self.failures + 1,
        };
        if recurring
            .max_failures
            .is_some_and(|max| self.failures >= max)
        {
            self.said.push(Said::FailedTooOften);
            return Stage::Done(JobStatus::PermanentlyFailed);
        }
        if recurring.max_runs.is_some_and(|max| self.runs >= max) {
            return Stage::Done(status);
        }
        if is_extra {
            return self.after_extra_run(status, stops, now);
        }
        recurring.enter(self.plan.moved.take());
        recurring.go_on_by_mono(now);
        self.plan.by_unset &= !now.is_set();
        if recurring.by_wall && !now.is_set() {
            // What it waits for is found when the clock is set.
            let last = recurring.handled.max(now.earliest);
            self.stop_predicting(last);
        }
        if std::mem::take(&mut self.is_clock_set) {
            self.follow_clock(now);
        }
        let Some(recurring) = &mut self.plan.recurring else {
            return Stage::Done(status);
        };
        let at = recurring.of(now);
        let (next, is_misfire) = recurring.after_run(at, self.plan.expires);
        if recurring.is_over_at(next) {
            if recurring.is_all_excluded() {
                self.said.push(Said::AllExcluded);
            }
            return Stage::Done(status);
        }
        if stops {
            return Stage::Done(JobStatus::Cancelled);
        }
        self.set_next(next, is_misfire && next <= at, now);
        if is_misfire {
            self.misfires.push(self.plan.shown);
        }
        self.pause_after(status);
        self.ask(now);
        Stage::Scheduled
    }
}

impl Saved {
    pub fn restore(
        self,
        id: String,
        before: &Job,
        (app, calendar, has_other_rules, was_closed): (Start, Calendar, bool, bool),
        now: Now,
    ) -> Job {
        let mut plan = self.plan.clone();
        plan.zone = plan.zone_name.map(|name| ruled(name, has_other_rules));
        let longest = self.retry_delay.or(plan.longest_wait());
        plan.restored = longest.map(|longest| Restored {
            due: plan.exec_at,
            limit: now.mono + longest,
        });
        plan.due = Due::Wall(plan.exec_at);
        plan.once.by_wall = true;
        let mut is_open = false;
        if let Some(recurring) = &mut plan.recurring {
            let is_handled_known = recurring.is_handled_known();
            if let Some(except) = &mut recurring.except {
                let other = (calendar, plan.zone.unwrap_or(app));
                is_open = std::mem::replace(except, other) != other && !is_handled_known;
            }
            match &mut recurring.times {
                // "`None` for the app's, whatever that is."
                Times::Cron { zone, .. } | Times::Calendar { zone, .. } => {
                    let before = std::mem::replace(zone, plan.zone.unwrap_or(app));
                    is_open |= before != *zone && !is_handled_known;
                }
                // "What was restored follows the wall clock until it has run."
                Times::Every { .. } | Times::Pause { .. } => recurring.go_on_by_wall(),
            }
        }
        let mut job = Job::new(id, self.task, plan);
        job.attempts = self.attempts;
        job.first_due = self.first_due;
        job.is_paused = self.is_paused;
        job.runs = self.runs;
        job.failures = self.failures;
        (job.last_run, job.present) = (self.last_run, self.present);
        job.failed_as = self.last_failure;
        job.retry_delay = self.retry_delay.unwrap_or(0);
        // "When a stored job is loaded, its next time is derived from its trigger, its zone,
        // the times that are over, and the clock." A run that was cut off keeps its time.
        let set_back = |job: &Job| job.plan.recurring.as_ref().and_then(|r| r.set_back);
        let set_back_before = set_back(&job);
        // The times of day that have run are in the future, or those that were handled.
        let unknown = job.plan.recurring.as_ref().and_then(|recurring| {
            let mut last = recurring.handled.max(recurring.last_run);
            if self.is_marked {
                // It counts as run.
                last = last.max(recurring.nominal);
            }
            let is_open = !recurring.is_rate() || !recurring.is_handled_known();
            (is_open && now.is_set() && last > now.wall + 1_000_000_000).then_some(last)
        });
        if job.attempts == 0 && !self.is_marked {
            job.follow_clock(now);
            if let Some(local) = job.plan.local {
                // "It follows if the zone is another one."
                let due = cron::instant_of(job.plan.zone.unwrap_or(app), local);
                job.plan.shown = due;
                job.set_due(Due::Wall(due), None, now);
            }
        }
        job.plan.place_restored(job.attempts > 0, now);
        let is_set_back = set_back(&job) != set_back_before;
        if self.plan.moved.is_some() {
            job.stop_predicting(i64::MAX);
            job.is_moved_until = Some(self.runs + 1);
        }
        job.is_moved_until = job.is_moved_until.max(before.is_moved_until);
        if job.is_moved_until.is_some() && job.plan.recurring.is_none() {
            // A known fault: a move that was asked for during a run stays if a replacement that
            // waited takes over in the next process, and moves a later run.
            job.stop_predicting(i64::MAX);
        }
        if self.asked.open.is_some() || self.is_marked && self.asked.extra.is_some() {
            job.stop_predicting(i64::MAX);
        }
        if self.is_marked {
            job.begin(Now {
                wall: self.marked_at,
                ..now
            });
            job.run_ended(JobStatus::Failed, now);
            job.attempts = 0;
            job.stage = job.after_run(JobStatus::Failed, false, now);
        }
        // The times that a recurring job has handled are known if it is predicted, and in
        // another zone not always.
        let unpredicted = self.unpredicted.max(before.unpredicted);
        if job.plan.recurring.is_some()
            && let Some(until) = unpredicted.max(is_open.then_some(now.wall)).max(unknown)
        {
            job.stop_predicting(until);
        }
        job.misfires.clear();
        job.said.clear();
        let was_interrupted = self.is_repeated && !was_closed;
        job.interruptions = self.interruptions + u32::from(was_interrupted);
        if was_interrupted {
            job.said.push(Said::Interrupted(job.interruptions));
        }
        (job.asked.extra, job.asked.second) = (self.asked.extra, self.asked.second);
        job.asked.runs_now = self.asked.runs_now && !self.is_marked;
        if job.plan.recurring.is_none() && job.asked.extra.take().is_some() {
            // It was asked for while a replacement waited that runs once: that is the run.
            job.asked = Asked {
                runs_now: true,
                ..Asked::default()
            };
        }
        if !self.is_marked {
            job.ask(now);
        }
        let is_overdue = match job.unpredicted {
            _ if job.is_asked_now() => true,
            None => job.plan.due.mono(now) <= now.mono,
            // What follows from its times is not known, but what was stored.
            Some(_) => self.plan.exec_at <= now.wall,
        };
        job.is_suspected =
            !job.is_at_most_once() && (job.interruptions > 0 || is_overdue && !was_closed);
        job.since = before.since;
        job.stored = vec![Some(self)];
        let has_start = |saved: &Saved| saved.is_marked || saved.is_repeated;
        let has_start = job.stored.iter().flatten().any(has_start);
        if has_start || is_set_back {
            job.save(now);
        }
        job
    }
}
