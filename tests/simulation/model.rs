//! The model of all jobs, from the docs: which jobs are live, and what happens when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jobber::JobStatus;

use super::calendar::Calendar;
use super::history::{Attempt, Now};
use super::job::{Ended, Job, Stage};
use super::plan::{Asked, Plan};
use super::program::{Start, When};
use super::script::{Child, Script, TASKS};
use super::submit::{not_replaced, replace};
use super::tasks::{CHILD_DELAY, child_id};
use super::zone_rules::ruled;

/// "A change of half a second or more is a step."
const STEP: i64 = 500_000_000;

#[derive(Default)]
pub struct Model {
    pub jobs: BTreeMap<String, Job>,
    /// The jobs of the last process, until this one is started.
    pub left: BTreeMap<String, Job>,
    /// Stored jobs that no task can run.
    pub unresolved: BTreeMap<String, Job>,
    pub now: Now,
    /// Wall time less monotonic time, as the jobs last heard it.
    pub told_offset: Option<i64>,
    /// Since then, how long the machine was suspended.
    pub slept: i64,
    /// The same, of a clock that was never wrong.
    pub true_offset: i64,
    /// The zone that the app names.
    pub app_name: Start,
    /// Whether each name has the rules of another zone.
    pub has_other_rules: bool,
    /// Of the present process.
    pub calendar: Calendar,
    pub boot: u32,
    /// Nothing starts any more.
    pub is_stopping: bool,
    /// The store says that the last process has stopped in order; and what it said when this
    /// process began.
    pub is_closed: bool,
    was_closed: bool,
    /// Attempts that were to start.
    pub starts: Vec<(Attempt, i64)>,
    /// The jobs that runs have scheduled, in order, and the outcome of each.
    pub spawned: Vec<Spawned>,
    /// The store may fail: what waits for it is unpredicted.
    pub has_faults: bool,
    /// It has failed in this step.
    pub has_failed: bool,
    /// It had failed before, and had not caught up.
    pub is_behind: bool,
    pub faults: Vec<String>,
    pub pauses: super::steer::Pauses,
}

/// A job that a run has scheduled.
#[derive(Clone, Debug)]
pub struct Spawned {
    pub now: Now,
    pub id: String,
    pub task: usize,
    pub child: Child,
    pub ok: bool,
    /// Whether the run was to schedule it.
    pub foreseen: bool,
}

impl Model {
    /// The zone whose rules the app has.
    pub fn app(&self) -> Start {
        ruled(self.app_name, self.has_other_rules)
    }

    /// When the next predicted thing happens.
    pub fn next_event(&self) -> Option<i64> {
        let events = self.jobs.values().filter_map(|job| job.next_event(self));
        events.min()
    }

    /// Whether something is drawn at random, and has to be read.
    pub fn is_random(&self) -> bool {
        let mut live = self.jobs.values().filter(|job| job.is_live());
        live.any(|job| {
            let plans = job.next_plan.iter().chain([&job.plan]);
            let mut recurring = plans.filter_map(|plan| plan.recurring.as_ref());
            TASKS[job.task].wavers || recurring.any(|recurring| recurring.jitter > 0)
        })
    }

    /// Makes everything happen that is due until then.
    pub fn advance(&mut self, to: i64) {
        let spawned = std::mem::take(&mut self.spawned);
        let mut spawned = VecDeque::from(spawned);
        let jobs = self.jobs.values();
        let mut queue: BTreeSet<(i64, String)> = jobs
            .filter_map(|job| Some((job.next_event(self)?, job.id.clone())))
            .collect();
        loop {
            let next = queue.first().filter(|(at, _)| *at <= to).map(|(at, _)| *at);
            let child = spawned.front().map(|child| child.now.mono);
            let changed = match (next, child) {
                (Some(at), child) if child.is_none_or(|child| at <= child) => {
                    let (_, id) = queue.pop_first().expect("it was looked at");
                    self.pass(at);
                    if let Some((parent, child)) = self.happen(&id) {
                        let child_id = child_id(&parent, child, at);
                        let place = spawned.iter().position(|other| other.id == child_id);
                        match place {
                            // Before its run ends.
                            Some(place) if child.is_own => {
                                let child = spawned.remove(place).expect("it was found");
                                self.renew(&child);
                            }
                            Some(place) => spawned[place].foreseen = true,
                            None => self.faults.push(format!("{id} should schedule {child_id}")),
                        }
                    }
                    id
                }
                (_, Some(at)) => {
                    let child = spawned.pop_front().expect("it was looked at");
                    self.pass(at);
                    self.spawn(&child);
                    child.id
                }
                (..) => break,
            };
            let job = self.jobs.get(&changed);
            if let Some(at) = job.and_then(|job| job.next_event(self)) {
                queue.insert((at, changed));
            }
        }
        self.pass(to);
    }

    fn pass(&mut self, to: i64) {
        let by = (to - self.now.mono).max(0);
        self.now.mono += by;
        self.now.wall += by;
    }

    /// The next thing happens to a job. Returns the attempt if it schedules another job.
    fn happen(&mut self, id: &str) -> Option<(Attempt, Child)> {
        let (now, boot, is_stopping) = (self.now, self.boot, self.is_stopping);
        let has_faults = self.has_faults;
        let job = self.jobs.get_mut(id)?;
        match job.stage {
            Stage::Scheduled if has_faults && job.waits_for_store() => {
                // It starts when the store works.
                job.stop_predicting(i64::MAX);
            }
            Stage::Scheduled => {
                let attempt = job.fire(boot, now)?;
                self.starts.push((attempt.clone(), now.mono));
                let child = job.plan.script.schedules()?;
                return (!TASKS[job.task].blocking).then_some((attempt, child));
            }
            Stage::Running {
                ends,
                outcome,
                limit,
            } => {
                let how = match (ends, limit) {
                    (Some(ends), Some(limit)) if limit < ends => Ended::TimedOut,
                    (None, _) => Ended::TimedOut,
                    _ => Ended::By(outcome, job.run(), job.attempts),
                };
                job.end(how, is_stopping, now);
            }
            Stage::Done(_) => {}
        }
        None
    }

    fn child_plan(&self, child: &Spawned) -> Plan {
        let asked = Asked {
            script: child.child.script,
            durable: TASKS[child.task].durable,
            zone: None,
            zone_name: None,
            when: When::Delay {
                ms: CHILD_DELAY.as_millis() as u32,
            },
            expires_ms: None,
        };
        Plan::new(asked, (self.app(), self.calendar), self.now)
    }

    /// A run has replaced its own job, or tried to.
    fn renew(&mut self, child: &Spawned) {
        let plan = self.child_plan(child);
        let job = self.jobs.get_mut(&child.id).expect("it runs");
        match child.ok {
            true => replace(job, plan, self.now, job.since),
            false if self.has_failed && (plan.durable || job.plan.durable) => {
                not_replaced(job, plan, self.now);
            }
            false => self
                .faults
                .push(format!("{} could not replace itself", child.id)),
        }
    }

    fn spawn(&mut self, child: &Spawned) {
        let plan = self.child_plan(child);
        let durable = plan.durable;
        if child.child.is_own {
            match self.jobs.get_mut(&child.id) {
                Some(job) if job.unpredicted.is_some() => match child.ok {
                    true => replace(job, plan, self.now, job.since),
                    false => not_replaced(job, plan, self.now),
                },
                _ => self.faults.push(format!("{} replaces itself", child.id)),
            }
            return;
        }
        let is_taken = self.jobs.get(&child.id).is_some_and(Job::is_live);
        let id = child.id.clone();
        match child.ok {
            true if !is_taken => self.admit(id, child.task, plan, false),
            false if is_taken => {}
            false if durable && self.has_failed => self.maybe(id, child.task, plan, false),
            ok => self
                .faults
                .push(format!("scheduling {id} from within a run gave {ok}")),
        }
    }

    /// A job is scheduled.
    pub fn admit(&mut self, id: String, task: usize, plan: Plan, is_paused: bool) {
        let mut job = Job::new(id.clone(), task, plan);
        job.is_paused = is_paused;
        if let Some(old) = self.jobs.remove(&id) {
            job.stored = old.stored;
        }
        job.is_held_above = self.pauses.holds(task);
        job.save(self.now);
        self.jobs.insert(id, job);
    }

    /// Scheduling has failed, and the store may have the job for a while.
    pub fn maybe(&mut self, id: String, task: usize, plan: Plan, is_paused: bool) {
        let stored = self.jobs.get(&id).map(|old| old.stored.clone());
        let mut job = Job::new(id.clone(), task, plan);
        job.is_paused = is_paused;
        job.stored = stored.unwrap_or(job.stored);
        job.save(self.now);
        job.stage = Stage::Done(JobStatus::Cancelled);
        job.save(self.now);
        self.jobs.insert(id, job);
    }

    /// The wall clock is set, and the app looks at it if it runs.
    pub fn step_wall(&mut self, by: i64, is_running: bool) {
        let high = self.now.wall;
        self.now.wall += by;
        let offset = self.now.wall - self.now.mono;
        // "A machine that slept is not a clock that was set": either may be a change.
        let is_step = self.told_offset.is_none_or(|told| {
            let by = offset - told;
            by.abs() >= STEP || (by - self.slept).abs() >= STEP
        });
        if !is_running || !self.now.is_set() || !is_step {
            return;
        }
        let was_unset = self.told_offset.replace(offset).is_none();
        self.slept = 0;
        let now = self.now;
        for job in self.jobs.values_mut().filter(|job| job.is_live()) {
            job.see_clock(now);
            let next = job.next_plan.as_ref();
            let is_left_open = |plan: &Plan| {
                let recurring = plan.recurring.as_ref();
                recurring.is_some_and(|r| r.by_wall && (!r.is_rate() || !r.is_handled_known()))
            };
            let recurring = job.plan.recurring.as_ref();
            let last = recurring.map_or(i64::MIN, |r| r.handled.max(r.last_run));
            let is_behind = by < 0 || was_unset && last > now.wall;
            if is_behind && (is_left_open(&job.plan) || next.is_some_and(is_left_open)) {
                // The last time that ran may be in the future now.
                job.stop_predicting(high.max(last));
            }
        }
    }

    /// Shutdown begins.
    pub fn begin_stop(&mut self) {
        self.is_stopping = true;
        let now = self.now;
        for job in self.jobs.values_mut() {
            match &mut job.stage {
                Stage::Scheduled if !job.plan.durable => {
                    job.stage = Stage::Done(JobStatus::Cancelled);
                }
                Stage::Running { ends, .. } if job.plan.script == Script::UntilStopped => {
                    ends.get_or_insert(now.mono);
                }
                _ => {}
            }
        }
    }

    /// The next process restores what the store has.
    pub fn boot(&mut self, now: Now, found: &[String], lacks: Option<usize>) {
        self.now = now;
        self.told_offset = now.is_set().then_some(now.wall - now.mono);
        self.slept = 0;
        self.is_stopping = false;
        self.was_closed = std::mem::take(&mut self.is_closed);
        let old = std::mem::take(&mut self.left);
        for (id, job) in old {
            if !found.contains(&id) {
                continue;
            }
            // `check` has made sure which one it is.
            let saved = job.stored.last().and_then(Option::as_ref);
            let is_unknown = saved.is_some_and(|saved| {
                saved.plan.excluded().is_some() && self.calendar == Calendar::None
            });
            if is_unknown || saved.is_some_and(|saved| Some(saved.task) == lacks) {
                self.unresolved.insert(id, job);
            } else {
                self.restore(job);
            }
        }
        // "From the second time on one at a time."
        let is_overdue = |job: &&mut Job| job.plan.due.mono(now) <= now.mono;
        for job in self.jobs.values_mut().filter(is_overdue) {
            if job.interruptions > 1 {
                job.stop_predicting(i64::MAX);
            }
        }
    }

    fn restore(&mut self, job: Job) {
        if let Some(saved) = job.stored.last().cloned().flatten() {
            let process = (
                self.app(),
                self.calendar,
                self.has_other_rules,
                self.was_closed,
            );
            let mut restored = saved.restore(job.id.clone(), &job, process, self.now);
            self.pauses.take_up(&mut restored, self.now);
            self.jobs.insert(job.id, restored);
        }
    }

    /// The missing task is registered.
    pub fn resolve(&mut self) {
        let unresolved = std::mem::take(&mut self.unresolved);
        for (id, job) in unresolved {
            let saved = job.stored.last().and_then(Option::as_ref);
            let excludes = saved.is_some_and(|saved| saved.plan.excluded().is_some());
            match excludes && self.calendar == Calendar::None {
                true => drop(self.unresolved.insert(id, job)),
                false => self.restore(job),
            }
        }
    }

    /// A job that no task can run is discarded.
    pub fn discard(&mut self, id: &str) {
        if let Some(mut job) = self.unresolved.remove(id) {
            job.stage = Stage::Done(JobStatus::Cancelled);
            job.stored.push(None);
            self.jobs.insert(job.id.clone(), job);
        }
    }
}
