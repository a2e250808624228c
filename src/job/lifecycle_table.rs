//! Tests of the decisions of [`Lifecycle`], as tables.
//!
//! A row has what a job is, how it stands, what happens, and what follows. The rows are
//! written from the docs of `Schedule`, `Job` and `shutdown`.

use crate::calendar::misfire::Misfire;
use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::{ON_TIME, Series};
use crate::job::definition::{ArgsKeys, Definition, Limits, Recurring, Trigger};
use crate::job::lifecycle::{
    AfterAttempt, Again, BeginOutcome, Holds, IntentRule, Lifecycle, NotReplaceable, Steered,
    TimerOutcome,
};
use crate::job::phase::{self, Effects, Phase};
use crate::job::plan::{Plan, Replace};
use crate::job::position::{ClockSet, EndReason};
use crate::job::steering::Move;
use crate::job::sync_state::CommitOutcome;
use crate::value::error::StorageError;
use crate::value::overlap::Overlap;
use crate::value::status::JobStatus;
use crate::value::time_units::{ClockReading, Due, Now};

const START: Now = at(0);
const INTERVAL: i64 = 60_000_000_000;

const fn rule(is_at_most_once: bool) -> IntentRule {
    match is_at_most_once {
        true => IntentRule::AtMostOnce,
        false => IntentRule::IfSuspected,
    }
}

const NO_HOLD: Holds = Holds {
    is_stopping: false,
    is_paused: false,
};

fn stopping(is_stopping: bool) -> Holds {
    Holds {
        is_stopping,
        is_paused: false,
    }
}

const fn at(seconds: i64) -> Now {
    let nanos = seconds * 1_000_000_000;
    Now {
        mono: nanos,
        wall: 1_000_000_000_000_000_000 + nanos,
    }
}

const fn clock(seconds: i64) -> ClockReading {
    ClockReading {
        now: at(seconds),
        earliest: i64::MIN,
    }
}

/// What a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It runs once, in memory.
    Plain,
    /// It runs once, and is durable.
    Stored,
    /// It recurs, in memory.
    Recurs,
    /// It recurs, and is durable.
    StoredRecurs,
}

use Kind::*;

const KINDS: [Kind; 4] = [Plain, Stored, Recurs, StoredRecurs];

impl Kind {
    fn is_durable(self) -> bool {
        matches!(self, Stored | StoredRecurs)
    }

    /// Due a minute after `START`.
    fn plan(self) -> Plan {
        self.plan_that_expires(None)
    }

    fn plan_that_expires(self, expires: Option<i64>) -> Plan {
        let due = INTERVAL;
        if self == Plain {
            return Plan::plain(Due::Mono(due), START);
        }
        let trigger = match self {
            Plain | Stored => Trigger::Delay { length: due },
            Recurs | StoredRecurs => Trigger::Recurring(Box::new(Recurring {
                series: Series {
                    recurrence: Recurrence::Every { interval: INTERVAL },
                    start: None,
                    until: None,
                    except: None,
                    misfire: Misfire::Once,
                    jitter: 0,
                },
                limits: Limits {
                    max_runs: Some(3),
                    max_failures: Some(2),
                    pause_on_failure: false,
                    overlap: Overlap::Wait,
                },
            })),
        };
        let definition = Definition {
            task: "task".into(),
            args: self.is_durable().then(|| "null".into()),
            trigger,
            zone: None,
            expires,
            timeout: None,
            backoff: None,
            set: None,
            spawned_by: None,
            priority: None,
            keys: ArgsKeys::default(),
            unique_for: None,
            labels: None,
            scheduled_at: START.wall,
        };
        match self {
            Plain | Stored => Plan::once(definition, Due::Mono(due), START),
            Recurs | StoredRecurs => {
                let first = (START.wall, START.wall + due);
                Plan::recurring(definition, first, START, || 0.0)
            }
        }
    }

    fn waiting(self) -> Lifecycle {
        Lifecycle::new(self.plan(), false)
    }

    fn ready(self) -> Lifecycle {
        let mut job = self.waiting();
        let fired = job.on_timer(
            clock(60),
            ON_TIME,
            IntentRule::IfSuspected,
            NO_HOLD,
            true,
            || 0.0,
        );
        assert_eq!(fired, TimerOutcome::Start { misfire: None });
        job
    }

    fn running(self) -> Lifecycle {
        let mut job = self.ready();
        assert!(matches!(
            job.begin(clock(60), NO_HOLD),
            BeginOutcome::Begin(_)
        ));
        job
    }

    /// An attempt with `at_most_once` whose intent to start is not stored yet.
    fn starting(self) -> Lifecycle {
        let mut job = self.waiting();
        let fired = job.on_timer(
            clock(60),
            ON_TIME,
            IntentRule::AtMostOnce,
            NO_HOLD,
            true,
            || 0.0,
        );
        assert!(matches!(fired, TimerOutcome::Persist { .. }), "{fired:?}");
        job
    }

    /// In each phase in which it can be.
    fn in_each_phase(self) -> Vec<Lifecycle> {
        let mut jobs = vec![self.waiting(), self.ready(), self.running()];
        if self.is_durable() {
            jobs.push(self.starting());
        }
        let mut job = self.running();
        job.cancel().expect("it runs");
        jobs.push(job);
        let mut job = self.waiting();
        job.cancel().expect("it waits");
        jobs.push(job);
        jobs
    }
}

fn short(job: &Lifecycle, effects: Effects) -> String {
    phase::short(job.phase(), effects)
}

fn letter(job: &Lifecycle) -> char {
    phase::letter(job.phase())
}

/// How an attempt stands when it ends.
#[derive(Clone, Copy, Debug, Default)]
struct Situation {
    /// A replacement of this kind was accepted during the attempt.
    next: Option<Kind>,
    is_cancelled: bool,
    is_stopping: bool,
}

const ALONE: Situation = Situation {
    next: None,
    is_cancelled: false,
    is_stopping: false,
};
const CANCELLED: Situation = Situation {
    is_cancelled: true,
    ..ALONE
};
const STOPPING: Situation = Situation {
    is_stopping: true,
    ..ALONE
};

const fn next(kind: Kind) -> Situation {
    Situation {
        next: Some(kind),
        ..ALONE
    }
}

const fn stopping_with_next(kind: Kind) -> Situation {
    Situation {
        is_stopping: true,
        ..next(kind)
    }
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Value,
    /// It fails, and its task allows no other attempt.
    Fails,
    /// It fails, and its task allows another attempt.
    FailsFirst,
    Snoozes,
}

use End::*;

#[test]
fn what_follows_an_attempt_is_as_in_the_table() {
    // "end": with this status. "retry": the same run. "run": the next run. "next": the
    // replacement takes over.
    #[rustfmt::skip]
    let table = [
        (Plain,        ALONE,     Value,      "E+l end Success"),
        (Plain,        ALONE,     Fails,      "E+l end Failed"),
        (Plain,        ALONE,     FailsFirst, "W+t retry"),
        (Stored,       ALONE,     Value,      "E+l end Success"),
        (Stored,       ALONE,     Fails,      "E+l end Failed"),
        (Stored,       ALONE,     FailsFirst, "W+t retry"),
        (Recurs,       ALONE,     Value,      "W+t run"),
        (Recurs,       ALONE,     Fails,      "W+t run"),
        (Recurs,       ALONE,     FailsFirst, "W+t retry"),
        (StoredRecurs, ALONE,     Value,      "W+t run"),
        (StoredRecurs, ALONE,     Fails,      "W+t run"),
        (StoredRecurs, ALONE,     FailsFirst, "W+t retry"),

        // Nothing follows a cancelled job.
        (Plain,        CANCELLED, Value,      "E+l end Success"),
        (Plain,        CANCELLED, FailsFirst, "E+l end Failed"),
        (Stored,       CANCELLED, Value,      "E+l end Success"),
        (Stored,       CANCELLED, FailsFirst, "E+l end Failed"),
        (Recurs,       CANCELLED, Value,      "E+l end Cancelled"),
        (Recurs,       CANCELLED, FailsFirst, "E+l end Cancelled"),
        (StoredRecurs, CANCELLED, Value,      "E+l end Cancelled"),
        (StoredRecurs, CANCELLED, FailsFirst, "E+l end Cancelled"),

        // During a stop a job in memory ends, and a durable one is left to the next process.
        (Plain,        STOPPING,  Value,      "E+l end Success"),
        (Plain,        STOPPING,  FailsFirst, "E+l end Failed"),
        (Stored,       STOPPING,  FailsFirst, "W+t retry"),
        (Recurs,       STOPPING,  Value,      "E+l end Cancelled"),
        (Recurs,       STOPPING,  FailsFirst, "E+l end Cancelled"),
        (StoredRecurs, STOPPING,  Value,      "W+t run"),
        (StoredRecurs, STOPPING,  FailsFirst, "W+t retry"),

        // A replacement takes over, and the attempt that it replaces is not tried again.
        (Plain,        next(Plain),        Value,      "W+t next"),
        (Plain,        next(StoredRecurs), FailsFirst, "W+t next"),
        (Stored,       next(Plain),        Fails,      "W+t next"),
        (Recurs,       next(Recurs),       Value,      "W+t next"),
        (StoredRecurs, next(StoredRecurs), Value,      "W+t next"),
        // With the same times only options and arguments change: the run goes on.
        (StoredRecurs, next(StoredRecurs), FailsFirst, "W+t retry"),
        (Recurs,       next(StoredRecurs), FailsFirst, "W+t retry"),
        (StoredRecurs, next(Plain),        Value,      "W+t next"),
        (StoredRecurs, stopping_with_next(Plain),  Value, "E+l end Cancelled"),
        (StoredRecurs, stopping_with_next(Stored), Value, "W+t next"),
        (Recurs,       stopping_with_next(Stored), Value, "W+t next"),

        // A run that was snoozed and does not go on has not failed.
        (Plain,        ALONE,              Snoozes, "W+t snoozed"),
        (Stored,       ALONE,              Snoozes, "W+t snoozed"),
        (Recurs,       ALONE,              Snoozes, "W+t snoozed"),
        (Stored,       STOPPING,           Snoozes, "W+t snoozed"),
        (Plain,        STOPPING,           Snoozes, "E+l end Cancelled"),
        (Plain,        CANCELLED,          Snoozes, "E+l end Cancelled"),
        (StoredRecurs, CANCELLED,          Snoozes, "E+l end Cancelled"),
        (Plain,        next(StoredRecurs), Snoozes, "W+t next"),
    ];
    for (kind, situation, result, expected) in table {
        let mut job = kind.running();
        if let Some(next) = situation.next {
            let accepted = job.accept(next.plan(), None, at(61));
            assert!(accepted.is_next && !accepted.effects.arms);
        }
        if situation.is_cancelled {
            job.cancel().expect("it runs");
        }
        let failure = (result != Value).then_some(JobStatus::Failed);
        let again = Again {
            delay: 1_000_000_000,
            is_snooze: result == Snoozes,
        };
        let again = matches!(result, FailsFirst | Snoozes).then_some(again);
        let end = job.end_attempt(
            failure,
            again,
            stopping(situation.is_stopping),
            clock(62),
            || 0.0,
        );
        let what = match end.next {
            AfterAttempt::End(status, EndReason::Ordinary) => format!("end {status:?}"),
            AfterAttempt::End(status, why) => format!("end {status:?}, {why:?}"),
            AfterAttempt::Snooze { .. } => "snoozed".into(),
            AfterAttempt::Retry { attempts: 1, .. } => "retry".into(),
            AfterAttempt::Retry { attempts, .. } => format!("{attempts} attempts"),
            AfterAttempt::Run { misfire: None } if end.took_next => "next".into(),
            AfterAttempt::Run { misfire: None } => "run".into(),
            AfterAttempt::Run { .. } => "missed run".into(),
        };
        let found = format!("{} {what}", short(&job, end.effects));
        assert_eq!(found, expected, "{kind:?}, {situation:?}, {result:?}");
        assert!(!job.has_next(), "{kind:?}, {situation:?}, {result:?}");
    }
}

#[test]
fn a_recurring_job_ends_by_its_limits() {
    // Three runs at the most, and two failures in a row.
    for (results, expected) in [
        (&[Value, Value, Value][..], Phase::Ended(JobStatus::Success)),
        (&[Value, Fails, Value], Phase::Ended(JobStatus::Success)),
        (&[Value, Value, Fails], Phase::Ended(JobStatus::Failed)),
        (&[Fails, Fails], Phase::Ended(JobStatus::PermanentlyFailed)),
        (&[Value, Value], Phase::Waiting),
        (&[Fails, Value], Phase::Waiting),
    ] {
        let mut job = Recurs.waiting();
        for (index, result) in results.iter().enumerate() {
            let clock = clock(60 * (index as i64 + 1));
            job.on_timer(
                clock,
                ON_TIME,
                IntentRule::IfSuspected,
                NO_HOLD,
                true,
                || 0.0,
            );
            assert!(matches!(job.begin(clock, NO_HOLD), BeginOutcome::Begin(_)));
            job.body_gone();
            let failure = (*result == Fails).then_some(JobStatus::Failed);
            job.end_attempt(failure, None, NO_HOLD, clock, || 0.0);
        }
        assert_eq!(job.phase(), expected, "{results:?}");
    }
}

#[test]
fn what_cancel_abort_and_a_stop_do_is_as_in_the_table() {
    // For each phase `cancel`, `abort` and the stop of the app; `-`: no effect.
    #[rustfmt::skip]
    let table = [
        (Plain,        'W', "E+l",  "E+l",  "E+l"),
        (Plain,        'R', "E+l",  "E+l",  "E+l"),
        (Plain,        'A', "C+",   "E+lk", "-"),
        (Plain,        'C', "-",    "E+lk", "-"),
        (Plain,        'E', "-",    "-",    "-"),
        (Stored,       'W', "E+l",  "E+l",  "W"),
        (Stored,       'R', "E+l",  "E+l",  "W"),
        (Stored,       'S', "E+l",  "E+l",  "W+"),
        (Stored,       'A', "C+",   "E+lk", "-"),
        (Stored,       'C', "-",    "E+lk", "-"),
        (Stored,       'E', "-",    "-",    "-"),
        (Recurs,       'W', "E+l",  "E+l",  "E+l"),
        (Recurs,       'R', "E+l",  "E+l",  "E+l"),
        (Recurs,       'A', "C+",   "E+lk", "-"),
        (Recurs,       'C', "-",    "E+lk", "-"),
        (Recurs,       'E', "-",    "-",    "-"),
        (StoredRecurs, 'W', "E+l",  "E+l",  "W"),
        (StoredRecurs, 'R', "E+l",  "E+l",  "W"),
        (StoredRecurs, 'S', "E+l",  "E+l",  "W+"),
        (StoredRecurs, 'A', "C+",   "E+lk", "-"),
        (StoredRecurs, 'C', "-",    "E+lk", "-"),
        (StoredRecurs, 'E', "-",    "-",    "-"),
    ];
    let in_phase = |kind: Kind, phase| {
        let jobs = kind.in_each_phase().into_iter();
        jobs.into_iter().find(|job| letter(job) == phase)
    };
    let count: usize = KINDS.iter().map(|kind| kind.in_each_phase().len()).sum();
    assert_eq!(table.len(), count, "every phase of every kind has a row");
    for (kind, phase, by_cancel, by_abort, by_stop) in table {
        let shown = |job: &Lifecycle, effects: Option<Effects>| {
            effects.map_or("-".into(), |effects| short(job, effects))
        };
        let mut job = in_phase(kind, phase).expect("it can be in this phase");
        let effects = job.cancel();
        assert_eq!(shown(&job, effects), by_cancel, "cancel: {kind:?}, {phase}");
        let mut job = in_phase(kind, phase).expect("it can be in this phase");
        let effects = job.abort(at(61)).map(|(effects, _)| effects);
        assert_eq!(shown(&job, effects), by_abort, "abort: {kind:?}, {phase}");
        let mut job = in_phase(kind, phase).expect("it can be in this phase");
        let effects = job.stop().map(|(effects, is_left)| {
            assert_eq!(is_left, kind.is_durable());
            effects
        });
        assert_eq!(shown(&job, effects), by_stop, "stop: {kind:?}, {phase}");
    }
}

#[test]
fn what_can_be_replaced_is_as_in_the_table() {
    use NotReplaceable::*;
    let used_up = RunsUsedUp { max: 3, runs: 3 };
    // A replacement by a job in memory, by a durable one, and the first during a stop.
    #[rustfmt::skip]
    let table = [
        ('W', Ok(()),       Ok(()),       Ok(())),
        ('R', Ok(()),       Ok(()),       Ok(())),
        ('S', Ok(()),       Ok(()),       Ok(())),
        ('A', Ok(()),       Ok(()),       Err(Ending)),
        ('C', Err(Ending),  Err(Ending),  Err(Ending)),
        ('E', Err(Ended),   Err(Ended),   Err(Ended)),
    ];
    for kind in KINDS {
        for job in kind.in_each_phase() {
            let row = table.iter().find(|row| row.0 == letter(&job));
            let (phase, in_memory, durable, stopping) = *row.expect("there is a row");
            let what = format!("{kind:?} in {phase}");
            assert_eq!(
                job.check_replaceable(&Plain.plan(), Replace::Any, false),
                in_memory,
                "{what}"
            );
            assert_eq!(
                job.check_replaceable(&Stored.plan(), Replace::Any, false),
                durable,
                "{what}"
            );
            // What follows the running attempt of a durable job is left to the next process.
            let follows = phase == 'A' && kind.is_durable();
            let stopping = if follows { Ok(()) } else { stopping };
            assert_eq!(
                job.check_replaceable(&Plain.plan(), Replace::Any, true),
                stopping,
                "{what}"
            );
        }
    }
    // The third run of three is open.
    let mut job = Recurs.running();
    for minute in [2, 3] {
        let clock = clock(60 * minute);
        job.body_gone();
        job.end_attempt(None, None, NO_HOLD, clock, || 0.0);
        job.on_timer(
            clock,
            ON_TIME,
            IntentRule::IfSuspected,
            NO_HOLD,
            true,
            || 0.0,
        );
        assert!(matches!(job.begin(clock, NO_HOLD), BeginOutcome::Begin(_)));
    }
    assert_eq!(
        job.check_replaceable(&Recurs.plan(), Replace::Any, false),
        Err(used_up)
    );
    assert_eq!(
        job.check_replaceable(&Plain.plan(), Replace::Any, false),
        Ok(())
    );
}

#[test]
fn a_recurring_job_is_not_replaced_by_one_that_runs_once() {
    let check =
        |job: &Lifecycle, kind: Kind| job.check_replaceable(&kind.plan(), Replace::SameKind, false);
    for kind in KINDS {
        for job in kind.in_each_phase() {
            let is_over = matches!(letter(&job), 'C' | 'E');
            let refused = matches!(kind, Recurs | StoredRecurs) && !is_over;
            for once in [Plain, Stored] {
                let is_refused = check(&job, once) == Err(NotReplaceable::Recurring);
                assert_eq!(is_refused, refused, "{kind:?} in {}", letter(&job));
            }
            assert_ne!(check(&job, Recurs), Err(NotReplaceable::Recurring));
        }
    }
    // What follows the running attempt decides.
    let mut job = Recurs.running();
    job.accept(Plain.plan(), None, clock(60).now);
    assert_eq!(check(&job, Stored), Ok(()));
    job.accept(Recurs.plan(), None, clock(60).now);
    assert_eq!(check(&job, Stored), Err(NotReplaceable::Recurring));
}

#[test]
fn what_the_timer_finds_is_as_in_the_table() {
    let seconds = |job: &mut Lifecycle, second, is_at_most_once| match job.on_timer(
        clock(second),
        ON_TIME,
        rule(is_at_most_once),
        NO_HOLD,
        true,
        || 0.0,
    ) {
        TimerOutcome::Nothing => "nothing".to_string(),
        TimerOutcome::Rearm(_) => "later".into(),
        TimerOutcome::Moved { .. } => "was moved".into(),
        TimerOutcome::Start { misfire: None } => "starts".into(),
        TimerOutcome::Start { misfire: Some(_) } => "starts for a missed time".into(),
        TimerOutcome::Persist { .. } => "stores its intent".into(),
        TimerOutcome::Later { .. } => "was missed".into(),
        TimerOutcome::Over { why, .. } => format!("ends: {why:?}"),
        TimerOutcome::ExpiredBeforeRetry(_) => "fails".into(),
        TimerOutcome::TimedOut { .. } => "timed out".into(),
        TimerOutcome::CutOff { .. } => "cut off".into(),
    };
    // Due at second 60: the timer comes too early, in time, and five minutes late.
    for (kind, is_at_most_once, early, in_time, late) in [
        (Plain, false, "later", "starts", "starts"),
        (Stored, false, "later", "starts", "starts"),
        (Recurs, false, "later", "starts", "starts for a missed time"),
        (
            Stored,
            true,
            "later",
            "stores its intent",
            "stores its intent",
        ),
    ] {
        for (second, expected) in [(59, early), (60, in_time), (360, late)] {
            let mut job = kind.waiting();
            let found = seconds(&mut job, second, is_at_most_once);
            assert_eq!(found, expected, "{kind:?}, second {second}");
        }
    }
    // With a shut gate the job becomes overdue, and the timer comes again when it opens.
    let mut job = Stored.waiting();
    job.propose();
    assert_eq!(seconds(&mut job, 60, false), "nothing");
    assert!(job.is_overdue() && job.take_overdue(NO_HOLD).is_none());
    job.release();
    assert_eq!(job.take_overdue(NO_HOLD), Some(Due::Mono(INTERVAL)));
    assert_eq!(seconds(&mut job, 60, false), "starts");
}

#[test]
fn an_attempt_made_at_most_once_starts_when_its_intent_is_stored_and_not_when_it_was_refused() {
    let busy = StorageError::Closed;
    for (outcome, starts) in [
        (CommitOutcome::Stored { has_row: true }, true),
        (
            CommitOutcome::Refused {
                is_unknown: true,
                error: &busy,
            },
            false,
        ),
    ] {
        let mut job = Stored.starting();
        assert!(job.row_changed());
        assert_eq!(job.begin(clock(60), NO_HOLD), BeginOutcome::Nothing);
        let pulled = job.pull();
        job.tried(pulled, outcome);
        assert_eq!(job.is_intent_stored(), starts, "{outcome:?}");
        let begins = matches!(job.begin(clock(60), NO_HOLD), BeginOutcome::Begin(_));
        assert_eq!(begins, starts, "{outcome:?}");
    }
}

#[test]
fn what_follows_if_an_attempt_would_start_too_late_is_as_in_the_table() {
    // A run is due at second 60 and may start until second 70. The columns: the timer comes at
    // 71; the executor begins at 71 what the timer started at 61; an attempt fails at 65, and
    // its retry would start after 70.
    #[rustfmt::skip]
    let table = [
        (Stored,       "E+l Expired"    , "W+t", "E+l Expired"),
        (Recurs,       "W+t was missed",  "Wt",  "W+t run"),
        (StoredRecurs, "W+t was missed",  "Wt",  "W+t run"),
    ];
    let second = 1_000_000_000;
    for (kind, by_timer, by_executor, by_failure) in table {
        let plan = || kind.plan_that_expires(Some(10 * second));
        let mut job = Lifecycle::new(plan(), false);
        let found = match job.on_timer(
            clock(71),
            ON_TIME,
            IntentRule::IfSuspected,
            NO_HOLD,
            true,
            || 0.0,
        ) {
            TimerOutcome::Over { why, effects } => format!("{} {why:?}", short(&job, effects)),
            TimerOutcome::Later { effects, .. } => format!("{} was missed", short(&job, effects)),
            other => format!("{other:?}"),
        };
        assert_eq!(found, by_timer, "{kind:?}");
        let ready = |at_most_once| {
            let mut job = Lifecycle::new(plan(), false);
            job.on_timer(
                clock(61),
                ON_TIME,
                rule(at_most_once),
                NO_HOLD,
                true,
                || 0.0,
            );
            if at_most_once {
                assert!(job.row_changed());
                let pulled = job.pull();
                job.tried(pulled, CommitOutcome::Stored { has_row: true });
            }
            job
        };
        // The row changes if it had the intent to start.
        let mut job = ready(kind == Stored);
        let found = match job.begin(clock(71), NO_HOLD) {
            BeginOutcome::Shut(effects) => short(&job, effects),
            other => format!("{other:?}"),
        };
        assert_eq!(found, by_executor, "{kind:?}");
        assert!(!job.is_overdue(), "{kind:?}");
        let mut job = ready(false);
        assert!(matches!(
            job.begin(clock(70), NO_HOLD),
            BeginOutcome::Begin(_)
        ));
        let failed = Some(JobStatus::Failed);
        let again = Some(Again {
            delay: 5 * second + 1,
            is_snooze: false,
        });
        let end = job.end_attempt(failed, again, NO_HOLD, clock(65), || 0.0);
        let what = match end.next {
            AfterAttempt::End(JobStatus::Cancelled, EndReason::Expired) => "Expired",
            AfterAttempt::Run { misfire: None } => "run",
            other => panic!("{other:?}"),
        };
        let found = format!("{} {what}", short(&job, end.effects));
        assert_eq!(found, by_failure, "{kind:?}");
    }
}

#[test]
fn what_was_asked_for_now_is_due_now_also_if_the_executor_drops_it_and_the_clock_is_set() {
    let mut job = StoredRecurs.waiting();
    assert!(matches!(job.run_now(at(10)), Steered::Done(_)));
    let tried = |job: &mut Lifecycle| {
        let _ = job.row_changed();
        let pulled = job.pull();
        job.tried(pulled, CommitOutcome::Stored { has_row: true });
    };
    tried(&mut job);
    let fired = job.on_timer(clock(10), ON_TIME, rule(false), NO_HOLD, true, || 0.0);
    assert_eq!(fired, TimerOutcome::Start { misfire: None });
    job.executor_dropped(at(10)).expect("it is durable");
    let again = Some(Due::Mono(at(11).mono));
    assert_eq!(job.timer(), again);
    let set = ClockReading {
        now: Now {
            wall: at(10).wall + 600 * 1_000_000_000,
            ..at(10)
        },
        earliest: i64::MIN,
    };
    job.on_clock_set(set, ClockSet::Moved, || 0.0);
    assert_eq!(job.timer(), again);
}

#[test]
fn what_steering_does_is_as_in_the_table() {
    // `pause`, `run_now`, `delay_by`, for each phase: `now` if it is done, `after` if it follows
    // the attempt, `same` if nothing changes, `-` if the job has ended or ends.
    #[rustfmt::skip]
    let table = [
        (Plain,        'W', "W+ now",   "W+t now",   "W+t now"),
        (Plain,        'R', "W+ now",   "R+ now",    "W+t now"),
        (Plain,        'A', "A+ now",   "A same",    "A same"),
        (Plain,        'C', "C -",      "C -",       "C -"),
        (Plain,        'E', "E -",      "E -",       "E -"),
        (StoredRecurs, 'W', "W+ now",   "W+t now",   "W+t now"),
        (StoredRecurs, 'R', "W+ now",   "R+ after",  "W+t now"),
        (StoredRecurs, 'S', "W+ now",   "S+ after",  "W+t now"),
        (StoredRecurs, 'A', "A+ now",   "A+ after",  "A+ after"),
        (StoredRecurs, 'C', "C -",      "C -",       "C -"),
        (StoredRecurs, 'E', "E -",      "E -",       "E -"),
    ];
    for (kind, phase, by_pause, by_run_now, by_move) in table {
        let job = || {
            let jobs = kind.in_each_phase().into_iter();
            let mut found = jobs.filter(|job| letter(job) == phase);
            found.next().expect("it can be in this phase")
        };
        let shown = |job: &Lifecycle, steered| match steered {
            Steered::Done(effects) => format!("{} now", short(job, effects)),
            Steered::AfterAttempt(effects) => format!("{} after", short(job, effects)),
            Steered::Unchanged => format!("{} same", letter(job)),
            Steered::Ended => format!("{} -", letter(job)),
        };
        let mut paused = job();
        let steered = paused.pause();
        assert_eq!(shown(&paused, steered), by_pause, "{kind:?}, {phase}");
        let mut run = job();
        let steered = run.run_now(at(61));
        assert_eq!(shown(&run, steered), by_run_now, "{kind:?}, {phase}");
        let mut moved = job();
        let steered = moved.move_next(Move::By(1), clock(61));
        assert_eq!(shown(&moved, steered), by_move, "{kind:?}, {phase}");
    }
}
