//! Compares what the store has with what was stored.

use std::collections::BTreeMap;
use std::time::Duration;

use jobber::Misfire;

use super::calendar;
use super::history::{nanos, wall};
use super::job::{self, Saved};
use super::plan::{Due, Recurring, zone};
use super::program::{Missed, Options, Unit, When};
use super::record::{JobRecord, RecurringProgress, RecurringRecord, SteeringRecord, TriggerRecord};
use super::script::TASKS;

/// Whether the record of a store is of this scheduling.
fn is_of(record: &JobRecord, saved: &Saved) -> bool {
    let ms = |ms: u32| Duration::from_millis(ms.into());
    let start = saved.plan.recurring.as_ref().and_then(|ours| ours.start);
    let until = saved.plan.recurring.as_ref().and_then(|ours| ours.until);
    let same = |theirs: &RecurringRecord, ours: Options| {
        theirs.max_runs == ours.max_runs.map(u64::from)
            && theirs.max_failures == ours.max_failures.map(u32::from)
            && theirs.jitter == ms(ours.jitter_ms)
            && theirs.misfire == misfire(ours.misfire)
            && theirs.start_date.map(nanos) == start
            && theirs.until.map(nanos) == until
            && theirs.pause_on_failure == ours.pauses
            && theirs.except.as_deref() == ours.except.then_some(calendar::NAME)
    };
    let is_same_trigger = match (&record.trigger, saved.plan.when) {
        (TriggerRecord::Delay { length }, When::Push) => length.is_zero(),
        (TriggerRecord::Delay { length }, When::Delay { ms: after }) => *length == ms(after),
        (TriggerRecord::At, When::At { .. }) => true,
        (TriggerRecord::AtLocal { local }, When::AtLocal { .. }) => {
            Some(nanos(*local)) == saved.plan.local
        }
        (
            TriggerRecord::Calendar {
                interval,
                options: theirs,
            },
            When::Calendar { unit, options },
        ) => {
            let ours = match unit {
                Unit::Days(n) => format!("P{n}D"),
                Unit::Months(n) => format!("P{n}M"),
            };
            *interval == ours && same(theirs, options)
        }
        (
            TriggerRecord::Every {
                interval,
                options: theirs,
            },
            When::Every { ms: every, options },
        ) => *interval == ms(every) && same(theirs, options),
        (
            TriggerRecord::AfterEach {
                interval,
                options: theirs,
            },
            When::AfterEach { ms: pause, options },
        ) => *interval == ms(pause) && same(theirs, options),
        (
            TriggerRecord::Cron {
                expression,
                options: theirs,
            },
            When::Cron { text, options },
        ) => expression == text && same(theirs, options),
        _ => false,
    };
    is_same_trigger
        && record.expires.map(|limit| limit.as_nanos() as i64) == saved.plan.expires
        && record.zone == saved.plan.zone_name.map(|own| zone(own).to_string())
        && record.task == TASKS[saved.task].name
        && record.args == saved.plan.script.to_number().to_string()
}

fn misfire(missed: Missed) -> Misfire {
    match missed {
        Missed::Once => Misfire::Once,
        Missed::Skip => Misfire::Skip,
        Missed::All(most) => Misfire::All(most.into()),
        Missed::Grace { ms } => Misfire::Grace(Duration::from_millis(ms.into())),
    }
}

/// Whether the record of a store is this.
fn is(record: &JobRecord, saved: &Saved) -> bool {
    let progress = &record.progress;
    let recurring = progress.recurring.as_ref();
    let ours = saved.plan.recurring.as_ref();
    let late = nanos(progress.due) - saved.plan.exec_at;
    is_of(record, saved)
        && (0..=saved.plan.unread.map_or(0, |draw| draw.most)).contains(&late)
        && progress.start_intent.map(nanos)
            == (saved.is_marked || saved.is_repeated).then_some(saved.marked_at)
        && progress.is_start_repeated == saved.is_repeated
        && progress.interruptions == saved.interruptions
        && progress.is_paused == saved.is_paused
        && is_steered(progress.steering.as_ref(), saved)
        && nanos(progress.nominal) == saved.plan.shown
        && progress.attempts == saved.attempts
        && progress.by_unset_clock == saved.plan.by_unset
        && progress.retry_delay.is_some() == saved.retry_delay.is_some()
        && progress.last_failure == saved.last_failure
        && progress.clock_set_by_ns == ours.map_or(saved.plan.once.set_by, |ours| ours.set_by)
        && recurring.is_some() == saved.plan.recurring.is_some()
        && recurring.is_none_or(|recurring| {
            // The run that waits for a retry has not ended.
            recurring.runs == saved.runs - u64::from(saved.attempts > 0)
                && recurring.failures_in_a_row == saved.failures
                && recurring.last_run.as_ref().map(job::Run::of) == saved.last_run
                && recurring.started_at.map(nanos) == saved.present.map(|run| run.started_at)
                && ours.is_none_or(|ours| {
                    // Whether a run that has begun is a catch-up is of no use any more.
                    let is_open = saved.attempts > 0 || saved.is_marked;
                    (is_open || recurring.is_catch_up == ours.is_catch_up)
                        && recurring.catch_ups == ours.catch_ups
                        && (is_open || recurring.is_first_now == ours.is_first_now)
                        && (is_open || saved.unpredicted.is_some() || has_handled(recurring, ours))
                })
        })
}

/// Whether the store has what was asked for by hand.
fn is_steered(steering: Option<&SteeringRecord>, saved: &Saved) -> bool {
    let ours = saved.plan.recurring.as_ref();
    let left_out = ours.and_then(|ours| ours.left_out.map(|time| ours.as_wall(time)));
    let asked = &saved.asked;
    let expected = SteeringRecord {
        extra: asked.extra.map(wall),
        second_extra: asked.second.map(wall),
        retries_extra: asked.open.map(wall),
        starts_extra: asked.starts_extra,
        runs_now: asked.runs_now,
        moved_to: saved.plan.moved.map(wall),
        leaves_out_up_to: left_out.map(wall),
        next_move: None,
        is_moved_by_own_clock: steering.is_some_and(|it| it.is_moved_by_own_clock),
        run_due: steering.and_then(|it| it.run_due),
        went_on_at: steering.and_then(|it| it.went_on_at),
    };
    let nothing = SteeringRecord {
        extra: None,
        second_extra: None,
        retries_extra: None,
        starts_extra: false,
        runs_now: false,
        moved_to: None,
        leaves_out_up_to: None,
        next_move: None,
        is_moved_by_own_clock: false,
        run_due: None,
        went_on_at: None,
    };
    *steering.unwrap_or(&nothing) == expected
}

/// Whether the same times are handled.
fn has_handled(progress: &RecurringProgress, ours: &Recurring) -> bool {
    let set_back = progress.set_back.map(|set_back| nanos(set_back.to));
    !ours.is_handled_known()
        || nanos(progress.handled_up_to) == ours.as_wall(ours.handled) && set_back == ours.set_back
}

/// Checks that the disk has what was stored, or was being stored.
pub fn settle_store(
    jobs: &mut BTreeMap<String, job::Job>,
    records: &[jobber::storage::JobRecord],
) -> Result<(), String> {
    let records = records.iter().map(JobRecord::of);
    let records: BTreeMap<_, _> = records.map(|r| (r.id.clone(), r)).collect();
    for job in jobs.values_mut() {
        let record = records.get(&job.id);
        let fits = job
            .stored
            .iter()
            .rposition(|stored| match (record, stored) {
                (Some(record), Some(stored)) => is(record, stored),
                (record, stored) => record.is_none() == stored.is_none(),
            });
        match fits {
            Some(at) => {
                let mut stored = job.stored.swap_remove(at);
                if let (Some(saved), Some(record)) = (&mut stored, record) {
                    saved
                        .plan
                        .read(nanos(record.progress.due) - saved.plan.exec_at);
                    // It may be drawn at random.
                    let delay = record.progress.retry_delay;
                    saved.retry_delay = delay.map(|delay| delay.as_nanos() as i64);
                }
                job.stored = vec![stored];
            }
            None if is_followed(job) => follow_store(job, record),
            None => {
                return Err(format!(
                    "{} is not in the store as it was put there: {:?}, and never {:?}",
                    job.id, record, job.stored,
                ));
            }
        }
    }
    Ok(())
}

/// Whether it is not foreseen, or one of its name was not that the store may have.
fn is_followed(job: &job::Job) -> bool {
    let mut stored = job.stored.iter().flatten();
    job.unpredicted.is_some() || stored.any(|saved| saved.unpredicted.is_some())
}

/// Takes the state of an unpredicted job from the store.
fn follow_store(job: &mut job::Job, record: Option<&JobRecord>) {
    let Some(record) = record else {
        job.stored = vec![None];
        return;
    };
    let mut known = job.stored.iter().rev().flatten();
    let Some(mut saved) = known.find(|saved| is_of(record, saved)).cloned() else {
        return;
    };
    let progress = &record.progress;
    saved.plan.exec_at = nanos(progress.due);
    saved.plan.shown = nanos(progress.nominal);
    let moved = progress
        .steering
        .as_ref()
        .and_then(|steering| steering.moved_to);
    saved.plan.moved = moved.map(nanos);
    saved.plan.unread = None;
    saved.plan.once.set_by = progress.clock_set_by_ns;
    saved.plan.by_unset = progress.by_unset_clock;
    let recurring = progress.recurring.as_ref();
    let jitter = recurring.map_or(0, |recurring| recurring.drawn_jitter.as_nanos() as i64);
    saved.first_due = nanos(progress.nominal) + jitter;
    saved.attempts = progress.attempts;
    saved.last_failure = progress.last_failure;
    saved.is_marked = progress.start_intent.is_some() && !progress.is_start_repeated;
    saved.is_repeated = progress.is_start_repeated;
    saved.interruptions = progress.interruptions;
    saved.is_paused = progress.is_paused;
    let steering = progress.steering.as_ref();
    saved.asked = steering.map_or_else(job::StoredAsked::default, |steering| job::StoredAsked {
        extra: steering.extra.map(nanos),
        second: steering.second_extra.map(nanos),
        runs_now: steering.runs_now,
        open: steering.retries_extra.map(nanos),
        starts_extra: steering.starts_extra,
    });
    saved.marked_at = progress.start_intent.map_or(0, nanos);
    saved.unpredicted = saved.unpredicted.max(job.unpredicted);
    if let (Some(recurring), Some(theirs)) = (&mut saved.plan.recurring, &progress.recurring) {
        saved.runs = theirs.runs + u64::from(progress.attempts > 0);
        saved.failures = theirs.failures_in_a_row;
        let begun = theirs.started_at.map(nanos);
        saved.present = begun.map(|at| job::Run::begun(saved.runs, saved.plan.shown, at));
        saved.last_run = theirs.last_run.as_ref().map(job::Run::of);
        recurring.is_first_now = theirs.is_first_now;
        if recurring.by_wall {
            (recurring.nominal, recurring.drawn) = (saved.plan.shown, jitter);
            saved.plan.due = Due::Wall(saved.plan.exec_at);
        }
    }
    let delay = progress.retry_delay;
    saved.retry_delay = delay.map(|delay| delay.as_nanos() as i64);
    job.stored = vec![Some(saved)];
}
