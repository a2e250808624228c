//! A scheduling, and the outcome that it must have.

use std::time::Duration;

use jobber::testing::ManualClock;
use jobber::{CalendarInterval, Clock, Job, Misfire, Schedule, ScheduleError, Task};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::calendar::{self, Calendar};
use super::history::{Event, Now, Promise};
use super::job::{self, Stage};
use super::model::Model;
use super::plan::{Asked, Plan, local_time, zone};
use super::program::{Missed, Options, Start, Unit, When};
use super::script::{Args, Script, TASKS};
use super::tasks::now;
use super::zone_rules::ruled;

pub struct Request {
    pub id: Option<String>,
    pub replace: bool,
    /// Also a recurring job by one that runs once.
    pub any_kind: bool,
    pub in_memory: bool,
    pub zone: Option<Start>,
    pub task: usize,
    pub script: Script,
    pub when: When,
    pub expires_ms: Option<u32>,
    pub paused: bool,
}

type Submitted<'a> = Result<&'a Job<u64>, &'a ScheduleError>;

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

fn with_options(
    mut schedule: Schedule<Args, u64>,
    options: Options,
    clock: &ManualClock,
) -> Schedule<Args, u64> {
    let at = |away: i32| clock.wall() + time::Duration::milliseconds(away.into());
    let misfire = match options.misfire {
        Missed::Once => None,
        Missed::Skip => Some(Misfire::Skip),
        Missed::All(most) => Some(Misfire::All(most.into())),
        Missed::Grace { ms: grace } => Some(Misfire::Grace(ms(grace))),
    };
    if let Some(misfire) = misfire {
        schedule = schedule.misfire(misfire);
    }
    if let Some(max) = options.max_runs {
        schedule = schedule.max_runs(max.into());
    }
    if let Some(max) = options.max_failures {
        schedule = schedule.max_failures(max.into());
    }
    if options.jitter_ms > 0 {
        schedule = schedule.jitter(ms(options.jitter_ms));
    }
    if let Some(away) = options.start_ms {
        schedule = schedule.start_date(at(away));
    }
    if let Some(away) = options.until_ms {
        schedule = schedule.until(at(away));
    }
    if options.except {
        schedule = schedule.except(calendar::NAME);
    }
    if options.pauses {
        schedule = schedule.pause_on_failure();
    }
    if options.first_now {
        schedule = schedule.first_now();
    }
    schedule
}

impl Request {
    pub fn submit(
        &self,
        task: &Task<Args, u64>,
        clock: &ManualClock,
        (app, has_other_rules): (Start, bool),
    ) -> Result<Job<u64>, ScheduleError> {
        let mut schedule = task.schedule(Args::new(self.script));
        if let Some(id) = &self.id {
            schedule = schedule.id(id.as_str());
        }
        schedule = match (self.replace, self.any_kind) {
            (false, _) => schedule,
            (true, false) => schedule.replace(),
            (true, true) => schedule.replace_any(),
        };
        if self.in_memory {
            schedule = schedule.in_memory();
        }
        if let Some(own) = self.zone {
            schedule = schedule.zone(zone(own));
        }
        if let Some(limit) = self.expires_ms {
            schedule = schedule.expires(ms(limit));
        }
        if self.paused {
            schedule = schedule.paused();
        }
        let submit = match self.when {
            When::Push => schedule.push(),
            When::Delay { ms: delay } => schedule.delay(ms(delay)),
            When::AtLocal { ms } => {
                let own = self.zone.map(|own| ruled(own, has_other_rules));
                let local = local_time(own.unwrap_or(app), ms, now(clock));
                let local = OffsetDateTime::from_unix_timestamp_nanos(local.into());
                let local = local.expect("it is a time");
                schedule.at_local(PrimitiveDateTime::new(local.date(), local.time()))
            }
            When::Calendar { unit, options } => {
                let interval = match unit {
                    Unit::Days(n) => CalendarInterval::days(n.into()),
                    Unit::Months(n) => CalendarInterval::months(n.into()),
                };
                let interval = interval.expect("it is not zero");
                with_options(schedule, options, clock).every_calendar(interval)
            }
            When::At { ms } => schedule.at(clock.wall() + time::Duration::milliseconds(ms.into())),
            When::Every { ms: every, options } => {
                with_options(schedule, options, clock).every(ms(every))
            }
            When::Cron { text, options } => with_options(schedule, options, clock).cron(text),
            When::AfterEach { ms: pause, options } => {
                with_options(schedule, options, clock).after_each(ms(pause))
            }
        };
        submit.block_on()
    }

    /// The outcome that the docs require; applies it to the model.
    pub fn judge(
        &self,
        model: &mut Model,
        result: Submitted<'_>,
        since: usize,
    ) -> Result<Option<Event>, String> {
        let durable = TASKS[self.task].durable && !self.in_memory;
        let asked = Asked {
            script: self.script,
            durable,
            zone: self.zone.map(|own| ruled(own, model.has_other_rules)),
            zone_name: self.zone,
            when: self.when,
            expires_ms: self.expires_ms,
        };
        let is_unknown = asked.excludes() && model.calendar == Calendar::None;
        match (is_unknown, result) {
            (true, Err(ScheduleError::UnknownCalendar { .. })) => return Ok(None),
            (true, other) => return Err(format!("there is no calendar, and it gave {other:?}")),
            (false, _) => {}
        }
        let plan = Plan::new(asked, (model.app(), model.calendar), model.now);
        // A job that is declared again may have a time left that it has missed.
        let id = self.id.as_ref().filter(|_| self.replace);
        let old = id.and_then(|id| model.jobs.get(id));
        let old = old.filter(|old| old.is_live() && old.task == self.task);
        let goes_on = old.is_some_and(|old| old.plan.has_same_times_and_end(&plan));
        let is_unpredicted = old.is_some_and(|old| old.unpredicted.is_some());
        let is_ending = old.is_some_and(|old| old.is_ending || is_unpredicted);
        match (plan.is_never_due(), result) {
            (true, Err(ScheduleError::NeverDue { .. })) if !goes_on || is_unpredicted => {
                return Ok(None);
            }
            (_, Err(ScheduleError::NeverDue { .. })) => {
                return Err(format!("{plan:?} is due, and was refused"));
            }
            (true, Err(ScheduleError::JobEnding { .. })) if is_ending => return Ok(None),
            (true, other) if !goes_on && !is_unpredicted => {
                return Err(format!("{plan:?} is never due, and gave {other:?}"));
            }
            _ => {}
        }
        let id = match (&self.id, result) {
            (Some(id), _) => id.clone(),
            (None, Ok(job)) => job.id().to_string(),
            (None, Err(error)) => return Err(format!("scheduling failed: {error}")),
        };
        if let Some(old) = model.unresolved.get_mut(&id) {
            let saved = old.stored.last().and_then(Option::as_ref);
            let is_of_task = saved.is_some_and(|saved| saved.task == self.task);
            let takes_over = self.replace && durable && is_of_task;
            match result {
                Err(ScheduleError::UnresolvedJob { .. }) if !takes_over => return Ok(None),
                Ok(_) if takes_over => {
                    let mut old = old.clone();
                    old.stage = Stage::Done(jobber::JobStatus::Cancelled);
                    model.unresolved.remove(&id);
                    model.jobs.insert(id.clone(), old);
                }
                Err(ScheduleError::Storage(_)) if takes_over && model.has_failed => {
                    // The store may have the new one for a while.
                    let mut new = job::Job::new(id, self.task, plan);
                    new.is_paused = self.paused;
                    new.save(model.now);
                    let before = old.stored.last().cloned();
                    old.stored.extend(new.stored.pop());
                    old.stored.extend(before);
                    return Ok(None);
                }
                other => {
                    return Err(format!(
                        "the store has {id}, and scheduling it gave {other:?}"
                    ));
                }
            }
        }
        let old = model.jobs.get_mut(&id).filter(|job| job.is_live());
        let Some(old) = old else {
            return self.judge_new(model, id, plan, result, since);
        };
        let fits = self.replace && old.task == self.task;
        let is_unpredicted = old.unpredicted.is_some();
        let is_refused = fits && !self.any_kind && plan.recurring.is_none();
        let present = old.next_plan.as_ref().unwrap_or(&old.plan);
        let ends_series = is_refused && present.recurring.is_some();
        match result {
            Err(ScheduleError::EndsSeries { .. })
                if ends_series && !old.is_ending || is_refused && is_unpredicted =>
            {
                Ok(None)
            }
            Ok(_) if ends_series && !is_unpredicted => Err(format!(
                "{id} recurs, and was replaced by a job that runs once"
            )),
            Ok(_) if !fits => Err(format!("{id} was taken, and was scheduled all the same")),
            Ok(_) if old.is_ending => Err(format!("{id} is about to end, and was replaced")),
            Ok(_) => {
                if !is_unpredicted && let Some(runs) = uses_up(old, &plan) {
                    return Err(format!("{id} has had {runs} runs, and was given fewer"));
                }
                replace(old, plan, model.now, since);
                Ok(Some(Event::Scheduled(
                    self.promise(id, durable, model, true),
                )))
            }
            Err(ScheduleError::DuplicateJob { .. }) if !fits => Ok(None),
            Err(ScheduleError::JobEnding { .. }) if old.is_ending || is_unpredicted => Ok(None),
            Err(ScheduleError::RunsUsedUp { .. })
                if is_unpredicted || uses_up(old, &plan).is_some() =>
            {
                Ok(None)
            }
            Err(ScheduleError::Storage(_))
                if model.has_failed && (durable || old.concerns_store()) =>
            {
                not_replaced(old, plan, model.now);
                Ok(None)
            }
            Err(error) => Err(format!("scheduling {id} failed: {error}")),
        }
    }

    fn judge_new(
        &self,
        model: &mut Model,
        id: String,
        plan: Plan,
        result: Submitted<'_>,
        since: usize,
    ) -> Result<Option<Event>, String> {
        let durable = plan.durable;
        match result {
            Ok(_) => {
                model.admit(id.clone(), self.task, plan, self.paused);
                if let Some(job) = model.jobs.get_mut(&id) {
                    job.since = since;
                }
                Ok(Some(Event::Scheduled(
                    self.promise(id, durable, model, false),
                )))
            }
            Err(ScheduleError::Storage(_)) if durable && model.has_failed => {
                model.maybe(id.clone(), self.task, plan, self.paused);
                Ok(Some(Event::Refused { id }))
            }
            Err(error) => Err(format!("scheduling {id} failed: {error}")),
        }
    }

    fn promise(&self, id: String, durable: bool, model: &Model, replaced: bool) -> Promise {
        Promise {
            id,
            boot: model.boot,
            replaced,
            task: self.task,
            durable,
            when: self.when,
            zone: self.zone,
            expires_ms: self.expires_ms,
            paused: self.paused,
        }
    }
}

fn uses_up(old: &job::Job, plan: &Plan) -> Option<u64> {
    let max = plan.recurring.as_ref()?.max_runs?;
    (old.plan.is_same_series(plan) && old.runs >= max).then_some(old.runs)
}

/// The store has refused the replacement. The job goes on as it was and is written again;
/// until then, what the store has is unknown.
pub fn not_replaced(job: &mut job::Job, plan: Plan, now: Now) {
    let before = job.stored.last().cloned().flatten();
    let mut torn = job.clone();
    replace(&mut torn, plan, now, job.since);
    job.stored.extend(torn.stored.pop());
    job.stored.push(before);
    // It is written as it is now: times that were skipped meanwhile stay skipped.
    if job.plan.durable && job.next_plan.is_none() {
        job.save_again(now);
    }
}

pub fn replace(job: &mut job::Job, mut plan: Plan, now: Now, since: usize) {
    let goes_on = job.plan.is_same_series(&plan);
    let is_same = job.plan.has_same_times(&plan);
    let is_excluded = job.plan.excluded() == plan.excluded();
    let is_steered = job.has_asked() || job.plan.moved.is_some();
    let expires = job.plan.moved.is_some() && plan.expires.is_some();
    if is_steered && !(is_same && is_excluded) || expires {
        job.stop_predicting(i64::MAX);
    }
    if !is_excluded && !now.is_set() {
        // It may show its time by the clock as it was.
        job.stop_predicting(i64::MAX);
    }
    let present = job.next_plan.as_ref().unwrap_or(&job.plan);
    if present.is_declared_as(&plan) && job.stored.len() == 1 {
        // "If nothing at all changes, nothing is written."
        return;
    }
    if let Stage::Running { .. } = job.stage {
        if is_same {
            // The run goes on, and is made again after a crash.
            let present = job.plan.clone();
            job.plan = present.with_options_of(&plan);
            job.save_again(now);
            job.next_plan = Some(std::mem::replace(&mut job.plan, present));
            return;
        }
        let next = job.next_plan.as_ref();
        if let Some(next) = next.filter(|next| next.has_same_times(&plan)) {
            // Its times are not counted anew.
            plan = next.with_options_of(&plan);
        }
        let present = std::mem::replace(&mut job.plan, plan.clone());
        let (attempts, runs, failures) = (job.attempts, job.runs, job.failures);
        job.attempts = 0;
        job.plan.forget_first_now(now);
        if goes_on {
            job.plan.rebase(&present, true, now);
        } else {
            (job.runs, job.failures) = (0, 0);
        }
        job.save(now);
        // As the event says it.
        plan.exec_at = job.plan.exec_at;
        job.plan = present;
        (job.attempts, job.runs, job.failures) = (attempts, runs, failures);
        job.next_plan = Some(plan);
        return;
    }
    if is_same {
        let is_changed = job.plan.excluded() != plan.excluded();
        job.plan = job.plan.with_options_of(&plan);
        if is_changed && job.attempts == 0 {
            job.keep_to_exclusions(now);
        }
        job.save(now);
        return;
    }
    plan.forget_first_now(now);
    if goes_on {
        plan.rebase(&job.plan, job.attempts > 0, now);
        // The run that waits for a retry is given up, as failed.
        job.failures += u32::from(job.attempts > 0);
    } else {
        (job.runs, job.failures) = (0, 0);
        job.since = since;
    }
    job.plan = plan;
    job.attempts = 0;
    job.is_clock_set = false;
    if goes_on && !now.is_set() && job.plan.is_on_wall() {
        // What it waits for is found when the clock is set.
        job.stop_predicting(now.earliest);
    }
    job.save(now);
}
