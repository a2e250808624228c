//! Jobs are steered by hand, and what must come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobber::{Clock, JobStatus, MoveError, SteerOutcome, storage::StorageError};

use super::history::{Attempt, Event, Now};
use super::job::{Job, Said, Stage, StoredAsked, WhenDue};
use super::model::Model;
use super::plan::{Due, Plan};
use super::program::{PauseAll, Steer};
use super::script::TASKS;
use super::world::World;

const MS: i64 = 1_000_000;

/// A move that is in range can only fail to be stored.
fn stored(
    result: Result<SteerOutcome, MoveError>,
) -> Result<Result<SteerOutcome, StorageError>, String> {
    match result {
        Ok(did) => Ok(Ok(did)),
        Err(MoveError::Storage(error)) => Ok(Err(error)),
        Err(other) => Err(format!("a move gave {other:?}")),
    }
}

impl World {
    pub fn steer(&mut self, id: &str, how: Steer) -> Result<(), String> {
        let process = self.process();
        let Some(job) = process.jobs.get(id).cloned() else {
            return Ok(());
        };
        if !process.is_running() && !job.is_done() {
            return Ok(());
        }
        let result = match how {
            Steer::Pause => job.pause().block_on(),
            Steer::Resume { catches_up: false } => job.resume().block_on(),
            Steer::Resume { catches_up: true } => job.resume().catch_up().block_on(),
            Steer::RunNow => job.run_now().block_on(),
            Steer::MoveTo { ms } => {
                let time = self.clock.wall() + time::Duration::milliseconds(ms.into());
                stored(job.move_to(time).block_on())?
            }
            Steer::DelayBy { ms } => {
                stored(job.delay_by(Duration::from_millis(ms.into())).block_on())?
            }
        };
        self.note(Event::Steered {
            id: id.into(),
            how,
            did: result.as_ref().ok().copied(),
        });
        self.model.has_failed = self.has_failed();
        self.model.steer(id, how, result)
    }
}

impl World {
    /// Tells the waits which jobs run although they are paused.
    pub fn note_asked(&mut self) {
        let jobs = self.model.jobs.values();
        let jobs = jobs.filter(|job| job.is_live());
        let (unsure, known): (Vec<_>, Vec<_>) = jobs.partition(|job| job.unpredicted.is_some());
        let known = known.into_iter().filter(|job| job.is_asked_now());
        self.waits.asked = known.map(|job| job.id.clone()).collect();
        self.waits.unsure = unsure.into_iter().map(|job| job.id.clone()).collect();
    }
}

impl Model {
    /// Steers a job. The outcome must be as the docs say.
    fn steer(
        &mut self,
        id: &str,
        how: Steer,
        result: Result<SteerOutcome, StorageError>,
    ) -> Result<(), String> {
        // Only a new job is stored before the next retry.
        let has_failed = self.has_failed || self.is_behind;
        let now = self.now;
        let Some(job) = self.jobs.get_mut(id) else {
            return Err(format!("{id} is live, and the model does not have it"));
        };
        let expected = job.steer(how, now);
        match result {
            Ok(did) if did == expected || job.unpredicted.is_some() => Ok(()),
            Err(_) if has_failed && job.concerns_store() => Ok(()),
            other => Err(format!(
                "{how:?} of {id} gave {other:?}, and not {expected:?}"
            )),
        }
    }
}

impl Job {
    /// Whether a pause holds it.
    pub fn is_held(&self) -> bool {
        (self.is_paused || self.is_held_above) && !self.is_asked_now()
    }

    fn steer(&mut self, how: Steer, now: Now) -> SteerOutcome {
        if self.is_ending || !self.is_live() {
            return SteerOutcome::AlreadyDone;
        }
        match how {
            Steer::Pause => self.pause(now),
            Steer::Resume { catches_up } => self.resume(catches_up, now),
            Steer::RunNow => self.run_now(now),
            Steer::MoveTo { ms } => self.move_next(|_| now.wall + i64::from(ms) * MS, false, now),
            Steer::DelayBy { ms } => self.move_next(|due| due + i64::from(ms) * MS, true, now),
        }
    }

    fn pause(&mut self, now: Now) -> SteerOutcome {
        if std::mem::replace(&mut self.is_paused, true) {
            return SteerOutcome::Unchanged;
        }
        self.said.push(Said::Paused);
        self.save_steering(now);
        SteerOutcome::Done
    }

    fn resume(&mut self, catches_up: bool, now: Now) -> SteerOutcome {
        if !std::mem::take(&mut self.is_paused) {
            return SteerOutcome::Unchanged;
        }
        let at = self.said.len();
        if !catches_up && !self.is_held_above {
            self.leave_out_passed(now);
        }
        let plan = self.next_plan.as_ref().unwrap_or(&self.plan);
        let resumed = Said::Resumed {
            due: plan.exec_at,
            most: plan.unread.map_or(0, |draw| draw.most),
        };
        self.said.insert(at, resumed);
        self.save_steering(now);
        SteerOutcome::Done
    }

    /// The moment of the extra run that comes next.
    pub fn waiting_extra(&self) -> Option<i64> {
        self.asked.extra.filter(|_| self.attempts == 0)
    }

    /// Whether the job waits for an attempt that was asked for now.
    pub fn is_asked_now(&self) -> bool {
        self.stage == Stage::Scheduled && self.is_asked()
    }

    fn is_asked(&self) -> bool {
        self.asked.runs_now || self.waiting_extra().is_some()
    }

    /// Whether the attempt that goes on is the first one of an extra run.
    pub fn begins_extra(&self) -> bool {
        self.asked.open.is_some() && self.attempts == 1 && self.stage != Stage::Scheduled
    }

    pub fn is_extra_open(&self) -> bool {
        self.asked.open.is_some()
    }

    /// Whether anything that was asked for now is not done.
    pub fn has_asked(&self) -> bool {
        let asked = &self.asked;
        asked.runs_now || asked.extra.is_some() || asked.open.is_some()
    }

    fn run_now(&mut self, now: Now) -> SteerOutcome {
        let is_running = matches!(self.stage, Stage::Running { .. });
        let waits_for_retry = self.attempts > 0 && !is_running;
        let recurs = self.next_plan.is_some() || self.plan.recurring.is_some();
        if !recurs || waits_for_retry {
            // "If it runs already, nothing changes."
            if is_running || std::mem::replace(&mut self.asked.runs_now, true) {
                return SteerOutcome::Unchanged;
            }
            self.asked.before = Some(WhenDue::replace(&mut self.plan, now));
        } else {
            let place = match self.begins_extra() {
                true => &mut self.asked.second,
                false => &mut self.asked.extra,
            };
            if place.is_some() {
                return SteerOutcome::Unchanged;
            }
            *place = Some(now.wall);
            if !is_running {
                self.asked.after_extra = Some(WhenDue::replace(&mut self.plan, now));
            }
        }
        self.said.push(Said::RunRequested);
        self.save_steering(now);
        match is_running {
            true => SteerOutcome::AfterAttempt,
            false => SteerOutcome::Done,
        }
    }

    fn move_next(&mut self, to: impl Fn(i64) -> i64, is_delay: bool, now: Now) -> SteerOutcome {
        let recurs = self.next_plan.is_some() || self.plan.recurring.is_some();
        let runs = self.runs + 1;
        if let Stage::Running { .. } = self.stage {
            if !recurs {
                return SteerOutcome::Unchanged;
            }
            self.stop_predicting(i64::MAX);
            self.is_moved_until = Some(runs);
            return SteerOutcome::AfterAttempt;
        }
        let due = to(self.plan.due.wall(now));
        let is_plain = now.is_set()
            && !self.plan.by_unset
            && !self.has_asked()
            && !self.is_clock_set
            && self.attempts == 0
            && self.plan.expires.is_none()
            && self.plan.restored.is_none();
        let is_later = match &self.plan.recurring {
            Some(recurring) => !recurring.is_first_now && due >= self.plan.shown,
            None => true,
        };
        let is_mono = matches!(self.plan.due, Due::Mono(_));
        let is_bare = !self.plan.durable && self.plan.zone.is_none();
        // Of the monotonic clock, only a delay of the simplest kind is predicted.
        let is_simple = !is_mono || is_bare && self.plan.recurring.is_none();
        // A run that is made before its time, or another clock than that of its times, is not
        // predicted, nor is a retry.
        if !is_plain || !is_later || !is_simple {
            self.stop_predicting(match self.plan.recurring {
                Some(_) => now.wall,
                None => i64::MAX,
            });
            self.is_moved_until = Some(runs);
            return SteerOutcome::Done;
        }
        match self.plan.due {
            // What is counted on the monotonic clock still is.
            Due::Mono(at) if is_delay => {
                self.plan.due = Due::Mono(at + (due - self.plan.due.wall(now)));
            }
            _ => self.plan.due = Due::Wall(due),
        }
        self.plan.moved = Some(due);
        self.plan.exec_at = due;
        self.said.push(Said::Moved { due });
        self.save_steering(now);
        SteerOutcome::Done
    }

    /// An extra run is due now, if one was asked for; or the attempt that the job waits for.
    pub fn ask(&mut self, now: Now) {
        if self.plan.unread.is_some() && self.is_asked() {
            // What was drawn for its next run is not shown before the extra run.
            self.stop_predicting(now.wall);
        }
        if self.waiting_extra().is_some() {
            self.asked.after_extra = Some(WhenDue::replace(&mut self.plan, now));
        } else if self.asked.runs_now {
            self.asked.before = Some(WhenDue::replace(&mut self.plan, now));
        }
    }

    /// An extra run is due.
    pub fn fire_extra(&mut self, moment: i64, boot: u32, now: Now) -> Option<Attempt> {
        let recurring = self.plan.recurring.as_ref()?;
        self.first_due = moment - recurring.as_wall(0);
        self.asked.open = Some(moment);
        self.save_start(now);
        self.begin(now);
        Some(self.start(moment, boot, now))
    }

    /// The attempt that goes on has ended: what was asked for is done.
    pub fn end_asked(&mut self, _now: Now) {
        if self.asked.open.is_some() && self.attempts == 1 {
            self.asked.extra = self.asked.second.take();
        }
        self.asked.runs_now = false;
        self.asked.before = None;
    }

    /// An extra run has ended: "it leaves the times of the job as they are".
    pub fn after_extra_run(&mut self, status: JobStatus, stops: bool, now: Now) -> Stage {
        if stops {
            return Stage::Done(JobStatus::Cancelled);
        }
        if let Some(due) = self.asked.after_extra.take() {
            due.put_back(&mut self.plan);
            self.plan.exec_at = self.plan.due.wall(now);
        }
        self.plan.is_retry = false;
        self.pause_after(status);
        self.ask(now);
        Stage::Scheduled
    }

    /// The plan as the store has it.
    pub fn stored_plan(&self) -> Plan {
        let mut plan = self.plan.clone();
        // The retry of an extra run has a time of its own.
        let after_extra = self
            .asked
            .after_extra
            .clone()
            .filter(|_| self.attempts == 0);
        if let Some(due) = self.asked.before.clone().or(after_extra) {
            due.put_back(&mut plan);
        }
        plan
    }

    pub fn stored_asked(&self, is_marked: bool) -> StoredAsked {
        StoredAsked {
            extra: self.asked.extra,
            second: self.asked.second,
            runs_now: self.asked.runs_now,
            open: self.asked.open.filter(|_| self.attempts > 0),
            starts_extra: is_marked && self.asked.open.is_some() && self.attempts == 0,
        }
    }

    /// "It goes on from now."
    fn leave_out_passed(&mut self, now: Now) -> bool {
        if self.unpredicted.is_some() {
            return false;
        }
        if matches!(self.stage, Stage::Running { .. }) {
            // What is left out after the run is not predicted.
            self.stop_predicting(i64::MAX);
            return false;
        }
        let attempts = self.attempts;
        if self.asked.after_extra.is_some() {
            // It waits for an extra run or its retry, and its own times are set aside.
            self.stop_predicting(i64::MAX);
            return false;
        }
        let due = match self.plan.restored {
            Some(restored) => restored.due,
            None => self.plan.due.wall(now),
        };
        let Some(recurring) = &mut self.plan.recurring else {
            return false;
        };
        if recurring.by_wall && !now.is_set() {
            return false;
        }
        let at = match recurring.by_wall {
            true => now.wall - recurring.set_by,
            false => now.mono,
        };
        if attempts > 0 || self.plan.moved.is_some() {
            recurring.left_out = Some(at);
            return true;
        }
        if due > now.wall {
            return false;
        }
        let next = recurring.leave_out_passed(at);
        if recurring.is_over_at(next) {
            if recurring.is_all_excluded() {
                self.said.push(Said::AllExcluded);
            }
            let last = self.last_run.map_or(JobStatus::Cancelled, |run| run.status);
            self.stage = Stage::Done(last);
            return true;
        }
        self.set_next(next, false, now);
        let wait = self.plan.longest_wait();
        if let Some((restored, wait)) = self.plan.restored.as_mut().zip(wait) {
            // The wait begins anew.
            restored.limit = now.mono + wait;
        }
        true
    }

    /// "Pauses the job after a run that has failed for good."
    pub fn pause_after(&mut self, status: JobStatus) {
        let recurring = self.plan.recurring.as_ref();
        let pauses = recurring.is_some_and(|recurring| recurring.pauses);
        if pauses && status != JobStatus::Success && !self.is_paused {
            self.is_paused = true;
            self.said.push(Said::Paused);
        }
    }

    fn save_steering(&mut self, now: Now) {
        if !matches!(self.stage, Stage::Running { .. }) {
            self.save(now);
            return;
        }
        if self.next_plan.is_none() {
            // As before the run, but for what was asked for by hand.
            if self.plan.durable {
                self.save_again(now);
            }
            return;
        }
        // The row of the replacement changes only in that.
        if let Some(Some(last)) = self.stored.last() {
            let mut saved = last.clone();
            saved.is_paused = self.is_paused;
            saved.asked.extra = self.asked.extra;
            saved.asked.second = self.asked.second;
            self.stored.push(Some(saved));
        }
    }
}

/// The pauses of the app and of tasks.
#[derive(Default)]
pub struct Pauses {
    /// `None`: the app.
    paused: BTreeSet<Option<usize>>,
    /// When the last ones began and ended, by the wall clock.
    last: BTreeMap<Option<usize>, (i64, i64)>,
    /// The store may have others.
    is_unsure: bool,
}

impl Pauses {
    pub fn holds(&self, task: usize) -> bool {
        self.paused.contains(&None) || self.paused.contains(&Some(task))
    }

    /// A job was restored.
    pub fn take_up(&self, job: &mut Job, now: Now) {
        job.is_held_above = self.holds(job.task);
        let last = [None, Some(job.task)].map(|of| self.last.get(&of));
        let due = job.plan.exec_at;
        let is_within = last
            .into_iter()
            .flatten()
            .any(|(from, to)| (*from..=*to).contains(&due));
        if is_within || self.is_unsure {
            // The process before may not have stored what it has left out.
            job.stop_predicting(match job.plan.recurring {
                Some(_) => now.wall,
                None => i64::MAX,
            });
        }
    }
}

impl World {
    pub fn pause_all(&mut self, task: Option<usize>, to: PauseAll) -> Result<(), String> {
        let process = self.process();
        if !process.is_running() {
            return Ok(());
        }
        let app = process.sim.app();
        let task_of = task.map(|at| process.tasks.get(at));
        let result = match (&task_of, to) {
            (Some(None), _) => return Ok(()),
            (None, PauseAll::Begins) => app.pause().block_on(),
            (Some(Some(task)), PauseAll::Begins) => task.pause().block_on(),
            (of, PauseAll::Ends { catches_up }) => {
                let resume = match of {
                    Some(Some(task)) => task.resume(),
                    _ => app.resume(),
                };
                match catches_up {
                    true => resume.catch_up().block_on(),
                    false => resume.block_on(),
                }
            }
        };
        let pauses = to == PauseAll::Begins;
        self.note(Event::PausedAll {
            task,
            is_paused: result.is_ok().then_some(pauses),
        });
        self.model.has_failed = self.has_failed();
        self.model.pause_all(task, to, result)
    }

    /// The process has read its pauses.
    pub fn meet_pauses(&mut self) {
        if !self.model.pauses.is_unsure {
            return;
        }
        let process = self.process.as_ref().expect("there is always one");
        let mut paused = BTreeSet::new();
        if process.sim.app().is_paused() {
            paused.insert(None);
        }
        for at in 0..TASKS.len() {
            let is_paused = match process.tasks.get(at) {
                Some(task) => task.is_paused(),
                None => self.model.pauses.paused.contains(&Some(at)),
            };
            if is_paused {
                paused.insert(Some(at));
            }
        }
        self.model.pauses.paused = paused;
    }

    /// The app and its tasks are paused as they should be.
    pub fn check_pauses(&self) -> Result<(), String> {
        let process = self.process.as_ref().expect("there is always one");
        let paused = &self.model.pauses.paused;
        let app = process.sim.app().is_paused();
        if app != paused.contains(&None) {
            return Err(format!("the app is paused: {app}"));
        }
        for at in 0..TASKS.len() {
            let task = process.tasks.get(at);
            let is_paused = task.map(|task| task.is_paused());
            if is_paused.is_some_and(|is_paused| is_paused != paused.contains(&Some(at))) {
                return Err(format!("the task {at} is paused: {is_paused:?}"));
            }
        }
        Ok(())
    }
}

impl Model {
    fn pause_all(
        &mut self,
        task: Option<usize>,
        to: PauseAll,
        result: Result<SteerOutcome, StorageError>,
    ) -> Result<(), String> {
        let has_failed = self.has_failed || self.is_behind || self.has_faults;
        let pauses = to == PauseAll::Begins;
        let was_paused = self.pauses.paused.contains(&task);
        let expected = match pauses == was_paused {
            true => SteerOutcome::Unchanged,
            false => SteerOutcome::Done,
        };
        match result {
            Ok(did) if did == expected => {}
            Err(_) if has_failed => {
                // "Then the app is still paused." The store may have it otherwise.
                self.pauses.is_unsure = true;
                return Ok(());
            }
            other => {
                return Err(format!(
                    "{to:?} of {task:?} gave {other:?}, not {expected:?}"
                ));
            }
        }
        if expected == SteerOutcome::Unchanged {
            return Ok(());
        }
        let now = self.now;
        if pauses {
            self.pauses.paused.insert(task);
            self.pauses.last.insert(task, (now.wall, now.wall));
        } else {
            self.pauses.paused.remove(&task);
            if let Some(last) = self.pauses.last.get_mut(&task) {
                *last = (last.0.min(now.wall), last.1.max(now.wall));
            }
        }
        let catches_up = to != PauseAll::Ends { catches_up: false };
        for job in self.jobs.values_mut().filter(|job| job.is_live()) {
            let is_held = self.pauses.holds(job.task);
            let is_meant = task.is_none_or(|task| task == job.task);
            let resumes = std::mem::replace(&mut job.is_held_above, is_held) && !is_held;
            let goes_on = is_meant && !pauses && resumes && !job.is_paused && !catches_up;
            if goes_on && job.leave_out_passed(now) {
                job.save(now);
            }
        }
        Ok(())
    }
}
