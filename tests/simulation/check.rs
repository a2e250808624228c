//! The checks after each step: the app is as the model predicts.

use std::collections::BTreeMap;

use jobber::{CancelOutcome, Job, JobError, JobStatus, storage::StorageError};
use time::OffsetDateTime;

use super::cron::offset_at;
use super::history::{Attempt, End, Entry, Event, clock, nanos};
use super::job::{self, Ended, Said, Stage};
use super::model::{self, Model};
use super::plan::{Due, Times};
use super::program::{Start, When};
use super::script::{Args, Outcome, TASKS};
use super::stored::settle_store;
use super::tasks::{now, value};
use super::world::World;

/// The outcome that cancelling or aborting a live job must have.
pub fn ended_one(
    model: &mut Model,
    id: &str,
    is_abort: bool,
    result: Result<CancelOutcome, StorageError>,
) -> Result<(), String> {
    // Only a new job is stored before the next retry.
    let has_failed = model.has_failed || model.is_behind;
    let now = model.now;
    let Some(job) = model.jobs.get_mut(id) else {
        return Err(format!("{id} is live, and the model does not have it"));
    };
    let expected = match job.stage {
        Stage::Scheduled => CancelOutcome::Cancelled,
        Stage::Running { .. } if is_abort => CancelOutcome::Cancelled,
        Stage::Running { .. } => CancelOutcome::EndsAfterAttempt,
        Stage::Done(_) => CancelOutcome::AlreadyDone,
    };
    match &result {
        Ok(did) if *did == expected || job.unpredicted.is_some() => {}
        Err(_) if has_failed && job.concerns_store() => {}
        other => return Err(format!("ending {id} gave {other:?}, and not {expected:?}")),
    }
    let changes = expected.took_effect() && (is_abort || !job.is_ending);
    match job.stage {
        Stage::Running { .. } if !is_abort => job.is_ending = true,
        Stage::Scheduled => job.stage = Stage::Done(JobStatus::Cancelled),
        Stage::Running { .. } => {
            job.run_ended(JobStatus::Cancelled, now);
            job.stage = Stage::Done(JobStatus::Cancelled);
        }
        Stage::Done(_) => {}
    }
    // The record is removed at once, even if the job ends with the current run.
    if changes && job.stored.iter().any(Option::is_some) {
        job.stored.push(None);
    }
    Ok(())
}

impl World {
    /// Checks everything, and the attempts that began since the last check.
    pub fn check(&mut self) -> Result<(), String> {
        let entries = self.history.since(self.checked);
        self.checked += entries.len();
        self.model.has_failed = self.has_failed();
        let is_stopped = !self.process().is_running();
        self.model.starts.clear();
        self.model.spawned = spawned(&entries);
        let to = now(&self.clock);
        let is_settled = std::mem::take(&mut self.is_settled);
        if is_settled {
            self.model.advance(to.mono);
        }
        if is_stopped {
            self.model.now = to;
        }
        if self.model.now != to {
            return Err(format!("it is {to:?}, and not {:?}", self.model.now));
        }
        if let Some(fault) = self.model.faults.pop() {
            return Err(fault);
        }
        self.count();
        self.meet_jobs();
        self.check_starts(&entries)?;
        self.follow();
        self.read()?;
        self.listen(&entries)?;
        for job in self.model.jobs.values_mut() {
            job.misfires.clear();
            job.said.clear();
            job.was_done = !job.is_live();
        }
        self.check_jobs(is_stopped)?;
        if !is_stopped {
            self.check_unpredicted()?;
            self.check_pauses()?;
            self.check_health()?;
        }
        self.check_store(is_stopped)?;
        if !is_stopped {
            self.resume_prediction();
            self.forget_children();
        }
        self.note_asked();
        self.waits.check(is_stopped, &self.history)?;
        self.check_finals()?;
        if is_settled && !is_stopped {
            self.check_ends()?;
        }
        let is_idle = !self.model.jobs.values().any(job::Job::is_live);
        if is_settled && is_idle && Args::live() != 0 {
            return Err(format!("{} arguments are left, and no job", Args::live()));
        }
        Ok(())
    }

    fn listen(&mut self, entries: &[Entry]) -> Result<(), String> {
        let process = self.process.as_mut().expect("there is always one");
        let Some(listener) = &mut process.listener else {
            return Ok(());
        };
        listener.check(entries)?;
        for job in self
            .model
            .jobs
            .values()
            .filter(|job| job.unpredicted.is_none())
        {
            // A job that was refused, or that no task can run, sends no event.
            let status = job.status();
            let is_known = process.jobs.contains_key(&job.id) && !is_refused(entries, &job.id);
            let has_ended = status.is_final() && !job.was_done;
            let is_told = has_ended && (is_known || status != JobStatus::Cancelled);
            let has_expired = matches!(job.last, Some(Ended::Expired(_)));
            let is_expired = has_expired && job.plan.recurring.is_none();
            let ended = is_told.then_some(match is_expired {
                true => Said::Expired,
                false => Said::Ended(status),
            });
            listener.check_job(job, ended, self.model.app())?;
        }
        if !process.is_running() {
            process.listener = None;
        }
        Ok(())
    }

    fn count(&mut self) {
        let live = self.model.jobs.values().filter(|job| job.is_live());
        for job in live {
            self.seen.jobs += 1;
            self.seen.unpredicted += u64::from(job.unpredicted.is_some());
        }
    }

    /// Forgets the jobs that are done and that nothing can name any more.
    fn forget_children(&mut self) {
        let process = self.process.as_mut().expect("there is always one");
        self.model.jobs.retain(|id, job| {
            let is_kept = job.is_live() || job.stored.iter().any(Option::is_some);
            if !is_kept && id.contains('+') {
                process.jobs.remove(id);
                process.finals.remove(id);
            }
            is_kept || !id.contains('+')
        });
    }

    /// Takes the handles of the jobs that runs have scheduled.
    fn meet_jobs(&mut self) {
        for job in self.model.jobs.values() {
            let process = self.process.as_mut().expect("there is always one");
            if !process.jobs.contains_key(&job.id) {
                let found = process.tasks.job(job.task, &job.id);
                if let Some(found) = found {
                    process.jobs.insert(job.id.clone(), found);
                }
            }
        }
    }

    fn check_starts(&mut self, entries: &[Entry]) -> Result<(), String> {
        let mut seen: BTreeMap<&str, Vec<(&Attempt, i64)>> = BTreeMap::new();
        for entry in entries {
            if let Event::Start(attempt) = &entry.event {
                let starts = seen.entry(&attempt.id).or_default();
                starts.push((attempt, entry.now.mono));
            }
        }
        let mut foreseen: BTreeMap<&str, Vec<(&Attempt, i64)>> = BTreeMap::new();
        for (attempt, at) in &self.model.starts {
            foreseen
                .entry(&attempt.id)
                .or_default()
                .push((attempt, *at));
        }
        let ids = seen.keys().chain(foreseen.keys());
        for id in ids {
            let is_unpredicted = self
                .model
                .jobs
                .get(*id)
                .is_some_and(|job| job.unpredicted.is_some());
            if !is_unpredicted && seen.get(id) != foreseen.get(id) {
                return Err(format!(
                    "{id} was to start like this: {:#?}\nand has: {:#?}",
                    foreseen.get(id),
                    seen.get(id),
                ));
            }
        }
        Ok(())
    }

    /// Takes the state of unpredicted jobs from the app.
    fn follow(&mut self) {
        let process = self.process.as_ref().expect("there is always one");
        let jobs = self.model.jobs.values_mut();
        for job in jobs.filter(|job| job.unpredicted.is_some()) {
            let status = match process.jobs.get(&job.id) {
                Some(handle) => handle.status(),
                // The job was scheduled and ended within one step.
                None => JobStatus::Success,
            };
            job.stage = match status {
                JobStatus::Scheduled => Stage::Scheduled,
                JobStatus::Running => Stage::Running {
                    ends: None,
                    outcome: Outcome::Value,
                    limit: None,
                },
                status => Stage::Done(status),
            };
        }
    }

    /// Reads from the handles what was drawn at random.
    fn read(&mut self) -> Result<(), String> {
        let process = self.process.as_ref().expect("there is always one");
        for job in self.model.jobs.values_mut() {
            let Some(draw) = job.plan.unread.filter(|_| job.stage == Stage::Scheduled) else {
                continue;
            };
            let Some(handle) = process.jobs.get(&job.id) else {
                continue;
            };
            let by = nanos(handle.exec_at()) - job.plan.exec_at;
            if job.unpredicted.is_none() && !(0..=draw.most).contains(&by) {
                return Err(format!(
                    "{handle:?} is due too early or too late, by {by} ns"
                ));
            }
            job.plan.read(by);
            for saved in job.stored.iter_mut().flatten() {
                if saved.plan.unread == Some(draw) {
                    saved.plan.read(by);
                }
            }
        }
        Ok(())
    }

    /// Predicts jobs again that can be predicted.
    fn resume_prediction(&mut self) {
        let (wall, has_faults) = (self.model.now.wall, self.has_faults());
        let process = self.process.as_ref().expect("there is always one");
        for job in self.model.jobs.values_mut() {
            let is_due = job.unpredicted.is_some_and(|until| until < wall) && !has_faults;
            let handle = process.jobs.get(&job.id);
            if let Some(handle) = handle.filter(|_| is_due && job.stage == Stage::Scheduled) {
                if let Some(next) = job.next_plan.take() {
                    job.plan = next;
                }
                self.history.read_since(job.since, |entries| {
                    resume_prediction(job, handle, entries, wall);
                });
            }
        }
    }

    fn check_jobs(&mut self, is_stopped: bool) -> Result<(), String> {
        let process = self.process.as_ref().expect("there is always one");
        for job in self.model.jobs.values() {
            let Some(handle) = process.jobs.get(&job.id) else {
                // The job was refused, or ended before it was seen.
                if job.is_live() {
                    return Err(format!("{} should be there", job.id));
                }
                continue;
            };
            if job.unpredicted.is_some() || job.stored.len() > 1 && !job.is_live() && is_stopped {
                continue;
            }
            if job.is_live() || process.sim.app().find_job(job.id.as_str()).is_some() {
                check_one(job, handle, self.model.app())?;
            }
            // If this job was refused, the handle may be that of the job before.
            if job.last.is_some() || !process.finals.contains_key(&job.id) {
                check_last(job, handle, self.model.app())?;
            }
        }
        if is_stopped {
            return Ok(());
        }
        let unresolved = process.sim.app().unresolved();
        let unresolved: Vec<_> = unresolved.iter().map(|job| job.id.to_string()).collect();
        if !unresolved.iter().eq(self.model.unresolved.keys()) {
            return Err(format!(
                "no task can run {unresolved:?}, and it should be {:?}",
                self.model.unresolved.keys(),
            ));
        }
        let mut there: Vec<_> = process.sim.app().jobs();
        there.sort_by_key(|job| job.id().to_string());
        let there: Vec<_> = there.iter().map(|job| job.id().to_string()).collect();
        let live = self.model.jobs.values().filter(|job| job.is_live());
        let live: Vec<_> = live.map(|job| job.id.clone()).collect();
        match there == live {
            true => Ok(()),
            false => Err(format!("live are {there:?}, and should be {live:?}")),
        }
    }

    fn check_store(&mut self, is_stopped: bool) -> Result<(), String> {
        let records = self.disk.records();
        let ends = self.disk.ends();
        if !self.process().has_started {
            return Ok(());
        }
        if self.is_healthy() {
            settle_store(&mut self.model.unresolved, &records)?;
        } else {
            // The row of before may follow that of a replacement that could not be stored.
            settle_store(&mut self.model.unresolved.clone(), &records)?;
        }
        for record in &records {
            let id = record.id().to_string();
            let jobs = [&self.model.jobs, &self.model.unresolved];
            if !jobs.iter().any(|jobs| jobs.contains_key(&id)) {
                return Err(format!(
                    "the store has {}, which was never told",
                    record.id()
                ));
            }
        }
        if is_stopped {
            return Ok(());
        }
        if self.is_healthy() {
            for job in self.model.jobs.values_mut() {
                let is_unpredicted = job.unpredicted.is_some();
                let is_there = records
                    .iter()
                    .any(|record| *record.id() == *job.id.as_str());
                let plan = job.next_plan.as_ref().unwrap_or(&job.plan);
                let should = job.is_live() && plan.durable && !job.is_ending;
                if !is_unpredicted && is_there != should {
                    return Err(format!("{} is in the store: {is_there}", job.id));
                }
                // "A stored job that ends as FAILED, TIMEOUT or PERMANENTLY_FAILED leaves an
                // entry."
                let has_failed = matches!(
                    job.status(),
                    JobStatus::Failed | JobStatus::Timeout | JobStatus::PermanentlyFailed
                );
                let is_kept = ends
                    .iter()
                    .any(|end| (end.key().id == job.id.as_str()) && end.status() == job.status());
                let should = has_failed && job.plan.durable && !job.is_ending;
                if !is_unpredicted && should && !is_kept {
                    return Err(format!("{} has failed, and its end is not kept", job.id));
                }
                if !is_unpredicted {
                    job.stored.drain(..job.stored.len() - 1);
                }
            }
            return settle_store(&mut self.model.jobs, &records);
        }
        // The store has one of those; the next process shows which.
        let stored: Vec<_> = self
            .model
            .jobs
            .values()
            .map(|job| job.stored.clone())
            .collect();
        let result = settle_store(&mut self.model.jobs, &records);
        for (job, stored) in self.model.jobs.values_mut().zip(stored) {
            let seen = std::mem::replace(&mut job.stored, stored);
            if job.unpredicted.is_some() {
                job.stored.extend(seen);
            }
        }
        result
    }

    /// The function of the program has seen each end.
    fn check_ends(&mut self) -> Result<(), String> {
        let process = self.process.as_mut().expect("there is always one");
        let mut seen = process.ends.lock().unwrap();
        for awaited in process.awaited.drain(..) {
            match seen.iter().position(|end| *end == awaited) {
                Some(at) => drop(seen.swap_remove(at)),
                None => {
                    return Err(format!(
                        "no function has seen the end {awaited:?}: {seen:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A status that was final stays final, for every handle.
    pub fn check_finals(&mut self) -> Result<(), String> {
        let process = self.process.as_mut().expect("there is always one");
        for (handle, known) in &process.old {
            is_consistent(handle, Some(*known))?;
        }
        for handle in process.jobs.values() {
            let id = handle.id().to_string();
            let status = is_consistent(handle, process.finals.get(&id).copied())?;
            if status.is_final() && process.finals.insert(id.clone(), status).is_none() {
                process.awaited.push((id.clone(), status));
                self.history.add(now(&self.clock), Event::Done { id });
            }
        }
        Ok(())
    }
}

/// The result fits the status, and a final status has not changed.
fn is_consistent(handle: &Job<u64>, known: Option<JobStatus>) -> Result<JobStatus, String> {
    let (status, result) = (handle.status(), handle.result());
    let fits = match (status, &result) {
        (JobStatus::Success, Ok(_)) => true,
        (JobStatus::Cancelled, Err(JobError::Cancelled | JobError::Expired { .. })) => true,
        (JobStatus::Cancelled, _) => false,
        (status, Err(JobError::NotKept)) => status.is_final(),
        (JobStatus::Failed | JobStatus::Timeout | JobStatus::PermanentlyFailed, Err(error)) => {
            !matches!(error, JobError::NotCompleted | JobError::Cancelled)
        }
        (JobStatus::Scheduled | JobStatus::Running, _) => true,
        _ => false,
    };
    if !fits || known.is_some_and(|known| known != status) {
        return Err(format!("{handle:?}, {known:?} before, gives {result:?}"));
    }
    Ok(status)
}

/// Whether scheduling the job failed in this step.
fn is_refused(entries: &[Entry], id: &str) -> bool {
    entries.iter().any(|entry| match &entry.event {
        Event::Refused { id: refused } => refused == id,
        Event::Spawned {
            id: refused,
            child,
            ok,
            ..
        } => refused == id && !child.is_own && !ok,
        _ => false,
    })
}

fn spawned(entries: &[Entry]) -> Vec<model::Spawned> {
    let spawned = entries.iter().filter_map(|entry| match &entry.event {
        Event::Spawned {
            id,
            task,
            child,
            ok,
        } => Some(model::Spawned {
            now: entry.now,
            id: id.clone(),
            task: *task,
            child: *child,
            ok: *ok,
            foreseen: false,
        }),
        _ => None,
    });
    spawned.collect()
}

/// Takes the state of an unpredicted job, so that it can be predicted from now on.
fn resume_prediction(job: &mut job::Job, handle: &Job<u64>, entries: &[Entry], wall: i64) {
    let mut ends: BTreeMap<u64, Option<End>> = BTreeMap::new();
    for entry in entries {
        match &entry.event {
            Event::Start(attempt) if attempt.id == job.id => {
                ends.insert(attempt.run, None);
            }
            Event::End(attempt, end) if attempt.id == job.id => {
                ends.insert(attempt.run, Some(*end));
            }
            _ => {}
        }
    }
    if job.is_held_above {
        // Whether the job itself is paused is not shown.
        return;
    }
    let last = handle.last_run().map_or(0, |run| run.number);
    if job.plan.moved.is_some() || job.is_moved_until.is_some_and(|until| last <= until) {
        // The run that it waits for may be due at any time.
        return;
    }
    let started = ends.keys().next_back().copied().unwrap_or(0);
    let Some(recurring) = &mut job.plan.recurring else {
        return;
    };
    if matches!(recurring.times, Times::Every { .. } | Times::Pause { .. }) {
        return;
    }
    if job.plan.expires.is_some() && TASKS[job.task].wavers {
        // What was drawn for a retry decides whether it came too late.
        return;
    }
    if recurring.until.is_some() && recurring.longest_jitter > 0 {
        // A last time may be due long after it, and then does not follow from when it is due.
        return;
    }
    (recurring.set_back, recurring.is_first_now) = (None, false);
    let exec_at = nanos(handle.exec_at());
    let is_caught_up = matches!(recurring.misfire, super::program::Missed::All(_));
    // The job waits for a retry, may have caught up, or is overdue.
    if last != started || is_caught_up || exec_at <= wall {
        return;
    }
    let Some(nominal) = recurring.last_until(exec_at) else {
        return;
    };
    if exec_at - nominal > recurring.room(nominal).map_or(0, |draw| draw.most) {
        return;
    }
    let failed = ends.values().rev();
    job.failures = failed.take_while(|end| **end != Some(End::Value)).count() as u32;
    if let Some(Some(saved)) = job.stored.last() {
        // The store shows whether a run that a crash interrupted counts.
        job.failures = saved.failures;
    }
    job.runs = last;
    job.attempts = 0;
    job.is_paused = handle.is_paused();
    job.asked = job::Asked::default();
    recurring.left_out = None;
    (recurring.nominal, recurring.drawn) = (nominal, exec_at - nominal);
    (recurring.last_run, recurring.has_run) = (i64::MIN, false);
    // A job waits for the first time that is not handled.
    recurring.handled = nominal - 1;
    recurring.is_handled_seen = true;
    recurring.is_catch_up = false;
    job.plan.due = Due::Wall(exec_at);
    job.plan.exec_at = exec_at;
    // That was of a retry.
    job.plan.restored = None;
    job.plan.unread = None;
    job.plan.shown = nominal;
    job.unpredicted = None;
    job.last = Some(Ended::Unforeseen);
    job.misfires.clear();
    job.said.clear();
    job.waits_anew(handle.last_run().as_ref().map(job::Run::of));
}

fn check_one(job: &job::Job, handle: &Job<u64>, app: Start) -> Result<(), String> {
    if handle.status() != job.status() {
        return Err(format!("{handle:?} should be {}", job.status()));
    }
    let exec_at = nanos(handle.exec_at());
    if exec_at != job.plan.exec_at {
        return Err(format!(
            "{handle:?} is due at {}, and should be at {}",
            clock(exec_at),
            clock(job.plan.exec_at),
        ));
    }
    if handle.is_paused() != (job.is_paused || job.is_held_above) {
        return Err(format!("{handle:?} is paused: {}", handle.is_paused()));
    }
    in_zone(handle.exec_at(), job.plan.zone.unwrap_or(app))?;
    let expression = match job.plan.when {
        When::Cron { text, .. } => Some(text),
        _ => None,
    };
    match handle.cron_expression().as_deref() == expression {
        true => Ok(()),
        false => Err(format!(
            "{handle:?} goes by {:?}, and should by {expression:?}",
            handle.cron_expression(),
        )),
    }
}

/// The last run.
fn check_last(job: &job::Job, handle: &Job<u64>, app: Start) -> Result<(), String> {
    if handle.status() != job.status() {
        return Err(format!("{handle:?} should be {}", job.status()));
    }
    let result = handle.result();
    let recurs = job.plan.recurring.is_some();
    let fits = match (job.status(), job.last, &result) {
        (JobStatus::Cancelled, ..) if recurs => matches!(result, Err(JobError::Cancelled)),
        (_, Some(Ended::Expired(failed)), Err(JobError::Expired { limit, last })) => {
            let is_limit = Some(limit.as_nanos() as i64) == job.plan.expires;
            (recurs || is_limit) && last.is_some() == failed
        }
        (_, Some(Ended::Expired(_)), _) => false,
        (_, Some(Ended::Unforeseen), _) => true,
        (JobStatus::Cancelled, ..) => matches!(result, Err(JobError::Cancelled)),
        (JobStatus::Scheduled | JobStatus::Running, None, Err(JobError::NotCompleted)) => true,
        (_, None, Err(JobError::NotKept)) => job.last_run.is_some(),
        (_, Some(Ended::By(Outcome::Value, run, attempt)), Ok(given)) => {
            **given == value(run, attempt)
        }
        (_, Some(Ended::By(Outcome::Panic, ..)), Err(JobError::Panicked { .. })) => true,
        (_, Some(Ended::TimedOut), Err(JobError::TimedOut { .. })) => true,
        (
            _,
            Some(Ended::By(Outcome::Error | Outcome::RetryAfter(_) | Outcome::Abort, ..)),
            Err(JobError::Failed(_)),
        ) => true,
        _ => false,
    };
    if !fits {
        return Err(format!("{handle:?} gives {result:?}, after {:?}", job.last));
    }
    if job.plan.recurring.is_none() {
        return Ok(());
    }
    let run = handle.last_run();
    if run.as_ref().map(job::Run::of) != job.last_run {
        return Err(format!(
            "the last run of {handle:?} was {run:?}, and should be {:?}",
            job.last_run,
        ));
    }
    let times = run.map(|run| [run.nominal_time, run.started_at, run.finished_at]);
    let mut times = times.into_iter().flatten();
    times.try_for_each(|time| in_zone(time, job.plan.zone.unwrap_or(app)))
}

/// Whether a time has the offset that this zone has at that time.
pub fn in_zone(time: OffsetDateTime, zone: Start) -> Result<(), String> {
    let offset = offset_at(zone, nanos(time));
    match time.offset().whole_seconds() == offset {
        true => Ok(()),
        false => Err(format!("{time} is not in {zone:?}, {offset} s off UTC")),
    }
}
