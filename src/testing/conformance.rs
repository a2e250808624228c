//! [`storage_conformance`]: the tests that every store must pass.

use std::collections::BTreeMap;
use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

use crate::calendar::misfire::Misfire;
use crate::job::end_record::{EndKey, EndRecord, TrimEnds};
use crate::job::pause_record::PauseRecord;
use crate::job::record::{
    BackoffRecord, JobRecord, MoveRecord, ProgressRecord, RECORD_VERSION, RecurringProgress,
    RecurringRecord, SetBackRecord, SkippedRecord, SteeringRecord, TriggerRecord,
};
use crate::job::taken_id::TakenId;
use crate::storage::contract::{Change, Loaded, Storage};
use crate::sync::primitives::Arc;
use crate::value::encoded::Encoded;
use crate::value::id::JobId;
use crate::value::labels::Labels;
use crate::value::overlap::Overlap;
use crate::value::pause_key::PauseKey;
use crate::value::run::Run;
use crate::value::status::JobStatus;
use crate::value::time_units::{from_wall, wall_range};

/// Checks that a store does what the trait [`Storage`] demands. Call it in a test of a
/// store of your own.
///
/// `store` returns the store of a name, not opened. For a new name, it is empty. For a name
/// that was used before, it has the contents of the store that was dropped before, as the
/// next process would find them.
///
/// It cannot check what only a crash or a power cut would show, nor that a commit that
/// fails changes nothing.
///
/// # Panics
/// If the store does not do what it must. The message says what that is.
///
/// # Blocking
/// It returns when all checks are done, and does all operations of the store on this
/// thread.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use std::collections::HashMap;
/// use jobber::{MemoryStorage, testing::storage_conformance};
///
/// let mut stores: HashMap<String, MemoryStorage> = HashMap::new();
/// storage_conformance(|name| stores.entry(name.into()).or_default().clone());
/// # }
/// ```
pub fn storage_conformance<S: Storage>(mut store: impl FnMut(&str) -> S) {
    let suite: [(&str, Check<S>); 10] = [
        ("empty", a_new_store_is_empty),
        ("put", what_was_put_is_loaded_unchanged),
        ("again", a_put_record_replaces_the_record_of_the_same_id),
        ("advance", progress_changes_alone),
        ("remove", what_was_removed_is_gone),
        ("absent", changes_of_an_absent_record_do_nothing),
        ("order", changes_of_one_commit_are_made_in_order),
        ("ids", ids_that_differ_in_any_byte_are_different),
        ("ends", the_end_of_a_job_is_kept_apart_from_its_record),
        ("many", many_records_are_kept_through_random_changes),
    ];
    for (name, check) in suite {
        check(&mut || store(name));
    }
}

/// One check. The function returns the same store each time, as after a restart.
type Check<S> = fn(&mut dyn FnMut() -> S);

fn open<S: Storage>(store: &mut dyn FnMut() -> S) -> S {
    let mut store = store();
    store.open().expect("the store opens");
    store
}

fn commit(store: &mut impl Storage, changes: &[Change]) {
    store.commit(changes).expect("the store takes the changes");
}

fn put(record: &JobRecord) -> Change {
    Change::Put(Box::new(record.clone()))
}

fn load(store: &mut impl Storage) -> BTreeMap<JobId, JobRecord> {
    let mut records = BTreeMap::new();
    let loaded = store.load(&mut |loaded| match loaded {
        Loaded::Job(record) => {
            let twice = records.insert(record.id.clone(), *record);
            assert_eq!(twice, None, "a record is loaded once");
        }
        Loaded::OtherVersion { id, version, .. } => panic!("{id} has version {version}"),
        Loaded::Unreadable { id, reason, .. } => panic!("{id} can't be read: {reason}"),
    });
    loaded.expect("the store loads");
    records
}

/// Checks the contents of a store, now and after a restart.
#[track_caller]
fn assert_holds<S: Storage>(
    mut store: S,
    again: &mut dyn FnMut() -> S,
    expected: &BTreeMap<JobId, JobRecord>,
    what: &str,
) {
    assert_eq!(&load(&mut store), expected, "{what}");
    drop(store);
    assert_eq!(&load(&mut open(again)), expected, "{what}, after a restart");
}

fn a_new_store_is_empty<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    commit(&mut new, &[]);
    assert_holds(new, store, &BTreeMap::new(), "a new store is empty");
}

fn what_was_put_is_loaded_unchanged<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    let records = examples();
    for record in &records {
        commit(&mut new, &[put(record)]);
    }
    assert_holds(
        new,
        store,
        &by_id(records),
        "records come back as they were put",
    );
}

fn a_put_record_replaces_the_record_of_the_same_id<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    for record in examples() {
        let mut record = record;
        record.id = "the same".into();
        commit(&mut new, &[put(&record)]);
        let expected = by_id([record]);
        assert_eq!(
            load(&mut new),
            expected,
            "the record that was put last is there, unchanged"
        );
    }
}

fn progress_changes_alone<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    let mut expected = by_id(examples());
    let changes: Vec<_> = expected.values().map(put).collect();
    commit(&mut new, &changes);
    let others: Vec<_> = examples()
        .into_iter()
        .rev()
        .map(|record| record.progress)
        .collect();
    for ((id, record), progress) in expected.iter_mut().zip(others) {
        record.progress = progress.clone();
        let (id, progress) = (id.clone(), Box::new(progress));
        commit(&mut new, &[Change::Advance { id, progress }]);
    }
    assert_holds(new, store, &expected, "progress changes, and nothing else");
}

fn what_was_removed_is_gone<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    let mut expected = by_id(examples());
    let changes: Vec<_> = expected.values().map(put).collect();
    commit(&mut new, &changes);
    let ids: Vec<_> = expected.keys().step_by(2).cloned().collect();
    for id in ids {
        expected.remove(&id);
        commit(&mut new, &[Change::Remove(id)]);
    }
    assert_holds(new, store, &expected, "what was removed is gone");
}

fn changes_of_an_absent_record_do_nothing<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    let record = examples().remove(0);
    let id: JobId = "nobody".into();
    let progress = Box::new(record.progress.clone());
    commit(
        &mut new,
        &[
            put(&record),
            Change::Remove(id.clone()),
            Change::Advance { id, progress },
        ],
    );
    assert_holds(
        new,
        store,
        &by_id([record]),
        "changes of an absent record do nothing",
    );
}

fn changes_of_one_commit_are_made_in_order<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    let [first, second] = [0, 1].map(|at| {
        let mut record = examples().remove(at);
        record.id = "x".into();
        record
    });
    let remove = Change::Remove("x".into());
    commit(&mut new, &[put(&first), remove.clone(), put(&second)]);
    assert_eq!(load(&mut new), by_id([second.clone()]));
    let advance = Change::Advance {
        id: "x".into(),
        progress: Box::new(first.progress.clone()),
    };
    commit(&mut new, &[advance.clone(), put(&second), remove, advance]);
    assert_holds(new, store, &BTreeMap::new(), "the last change is the last");
}

fn ids_that_differ_in_any_byte_are_different<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    let ids = [
        "a",
        "A",
        "a ",
        " a",
        "á",
        "a\u{301}",
        "%",
        "_",
        "*",
        "'",
        "\"",
        "\\",
        "a;b",
        "1",
        "01",
        "1.0",
        "NULL",
        "🦀",
        "01902a5e-7c4b-7d10-8a3e-0123456789ab",
        "01902A5E-7C4B-7D10-8A3E-0123456789AB",
    ];
    let long = "x".repeat(200);
    let mut expected = BTreeMap::new();
    for id in ids.into_iter().chain([long.as_str()]) {
        let mut record = examples().remove(0);
        record.id = id.into();
        record.args = format!("{id:?}").into();
        commit(&mut new, &[put(&record)]);
        expected.insert(record.id.clone(), record);
    }
    assert_eq!(load(&mut new), expected, "each id has its own record");
    for id in ids {
        expected.remove(&id.into());
        commit(&mut new, &[Change::Remove(id.into())]);
        assert_eq!(load(&mut new), expected, "{id:?} was removed, and no other");
    }
}

fn many_records_are_kept_through_random_changes<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut expected: BTreeMap<JobId, JobRecord> = BTreeMap::new();
    let mut ends: BTreeMap<EndKey, EndRecord> = BTreeMap::new();
    let mut pauses: BTreeMap<PauseKey, PauseRecord> = BTreeMap::new();
    let mut taken: BTreeMap<JobId, TakenId> = BTreeMap::new();
    let mut stored = open(store);
    for round in 0..60_i64 {
        let changes: Vec<Change> = (0..rng.usize(1..60))
            .map(|_| {
                let id: JobId = format!("job-{}", rng.u8(..)).as_str().into();
                let mut example = examples().swap_remove(rng.usize(..examples().len()));
                example.id = id.clone();
                match rng.u8(..8) {
                    7 if rng.u8(..3) == 0 => Change::TakeId(TakenId {
                        id,
                        status: JobStatus::Success,
                        ended_at: from_wall(round, UtcOffset::UTC),
                        until: from_wall(round + rng.i64(1..9), UtcOffset::UTC),
                    }),
                    7 if rng.bool() => Change::RemovePause(pause(rng.u8(..4), 0).key),
                    7 => Change::SetPause(pause(rng.u8(..4), rng.u8(..))),
                    4 | 5 => Change::KeepEnd(Box::new(end(rng.u8(..), rng.u8(..)))),
                    6 if rng.bool() => Change::ForgetEnd(end(rng.u8(..), 0).key),
                    6 => Change::TrimEnds(TrimEnds {
                        task: rng.bool().then(|| task_of(rng.u8(..))),
                        most: rng.u64(..80),
                        now: from_wall(rng.i64(..40), UtcOffset::UTC),
                    }),
                    0 => Change::Remove(id),
                    1 => Change::Advance {
                        id,
                        progress: Box::new(example.progress),
                    },
                    _ => Change::Put(Box::new(example)),
                }
            })
            .collect();
        commit(&mut stored, &changes);
        for change in changes {
            match change {
                Change::Put(record) => {
                    expected.insert(record.id.clone(), *record);
                }
                Change::Advance { id, progress } => {
                    if let Some(record) = expected.get_mut(&id) {
                        record.progress = *progress;
                    }
                }
                Change::Remove(id) => {
                    expected.remove(&id);
                }
                Change::KeepEnd(end) => {
                    ends.insert(end.key.clone(), *end);
                }
                Change::ForgetEnd(key) => {
                    ends.remove(&key);
                }
                Change::TrimEnds(trim) => {
                    for key in trim.removes(ends.values()) {
                        ends.remove(&key);
                    }
                }
                Change::SetPause(pause) => {
                    pauses.insert(pause.key.clone(), pause);
                }
                Change::RemovePause(key) => {
                    pauses.remove(&key);
                }
                Change::TakeId(new) => {
                    taken.retain(|_, old: &mut TakenId| old.until > new.ended_at);
                    taken.insert(new.id.clone(), new);
                }
            }
        }
        if round % 20 == 19 {
            drop(stored);
            stored = open(store);
        }
        assert_eq!(load(&mut stored), expected, "round {round}");
        assert_eq!(load_ends(&mut stored), ends, "the ends, round {round}");
        assert_eq!(
            load_pauses(&mut stored),
            pauses,
            "the pauses, round {round}"
        );
        assert_eq!(
            load_taken_ids(&mut stored),
            taken,
            "the taken ids, round {round}"
        );
        for number in 0..8 {
            let key = end(number, 0).key;
            let has_end = stored.has_end(&key).expect("the store looks for an end");
            assert_eq!(has_end, ends.contains_key(&key), "{key:?}, round {round}");
        }
    }
}

fn the_end_of_a_job_is_kept_apart_from_its_record<S: Storage>(store: &mut dyn FnMut() -> S) {
    let mut new = open(store);
    let mut record = examples().swap_remove(0);
    let first = end(7, 1);
    record.id = first.key.id.clone();
    let other_run = EndRecord {
        key: EndKey {
            run: first.key.run + 1,
            ..first.key.clone()
        },
        ..first.clone()
    };
    let keep = |end: &EndRecord| Change::KeepEnd(Box::new(end.clone()));
    let changes = [put(&record), keep(&first), keep(&first), keep(&other_run)];
    commit(&mut new, &changes);
    drop(new);
    let mut again = open(store);
    let both = [first.clone(), other_run.clone()].map(|end| (end.key.clone(), end));
    assert_eq!(
        load_ends(&mut again),
        both.into(),
        "writing it twice changes nothing"
    );
    assert_eq!(load(&mut again).len(), 1, "the record of the same id stays");
    commit(
        &mut again,
        &[
            Change::Remove(record.id),
            Change::ForgetEnd(first.key.clone()),
            Change::ForgetEnd(first.key),
        ],
    );
    let left = [(other_run.key.clone(), other_run)];
    assert_eq!(
        load_ends(&mut again),
        left.into(),
        "the other end of the id stays"
    );
    assert!(load(&mut again).is_empty());
}

fn load_ends(store: &mut impl Storage) -> BTreeMap<EndKey, EndRecord> {
    let mut ends = BTreeMap::new();
    let loaded = store.load_ends(&mut |end| {
        let twice = ends.insert(end.key.clone(), end);
        assert_eq!(twice, None, "an end is loaded once");
    });
    loaded.expect("the store loads the ends");
    ends
}

fn load_pauses(store: &mut impl Storage) -> BTreeMap<PauseKey, PauseRecord> {
    let mut pauses = BTreeMap::new();
    let loaded = store.load_pauses(&mut |pause| {
        let twice = pauses.insert(pause.key.clone(), pause);
        assert_eq!(twice, None, "a pause is loaded once");
    });
    loaded.expect("the store loads the pauses");
    pauses
}

fn load_taken_ids(store: &mut impl Storage) -> BTreeMap<JobId, TakenId> {
    let mut ids = BTreeMap::new();
    let loaded = store.load_taken_ids(&mut |taken| {
        let twice = ids.insert(taken.id.clone(), taken);
        assert_eq!(twice, None, "an id is loaded once");
    });
    loaded.expect("the store loads the taken ids");
    ids
}

/// The pause of a task, of a group or of the app. Those of one `number` have the same key.
fn pause(number: u8, content: u8) -> PauseRecord {
    let at = |nanos: u8| from_wall(nanos.into(), UtcOffset::UTC);
    PauseRecord {
        key: match number {
            0 => PauseKey::App,
            number if number.is_multiple_of(2) => PauseKey::Group(task_of(number)),
            number => PauseKey::Task(task_of(number)),
        },
        paused_at: at(content),
        resumed_at: content.is_multiple_of(2).then(|| at(content / 2)),
    }
}

fn task_of(number: u8) -> Arc<str> {
    format!("task {}", number % 3).into()
}

/// The end of a job. Those of one `number` have the same key.
fn end(number: u8, content: u8) -> EndRecord {
    let at = |nanos: u8| from_wall(nanos.into(), UtcOffset::UTC);
    EndRecord {
        key: EndKey {
            id: format!("job {}", number % 10).into(),
            scheduled_at: at(number % 3),
            run: 1 + u64::from(number % 4),
        },
        task: task_of(content),
        args: match content % 2 {
            0 => format!("[{content}, \"\u{e9}\n'\"]").into(),
            _ => Encoded::other("a codec", [content, 0]),
        },
        status: JobStatus::Timeout,
        error: format!("error {content}\n'\"").into(),
        attempts: u32::MAX,
        started_at: wall_range().0,
        finished_at: at(content % 20),
        keep_until: at(content % 50),
        version: RECORD_VERSION,
        job: format!("{{\"content\": {content}}}").into(),
    }
}

fn by_id(records: impl IntoIterator<Item = JobRecord>) -> BTreeMap<JobId, JobRecord> {
    let records = records
        .into_iter()
        .map(|record| (record.id.clone(), record));
    records.collect()
}

/// Records of every kind of trigger, with empty, long and extreme values.
fn examples() -> Vec<JobRecord> {
    let (first, last) = wall_range();
    let epoch = OffsetDateTime::UNIX_EPOCH;
    let nanosecond = from_wall(1, UtcOffset::UTC);
    let options = |misfire, jitter, max_runs, start_date| RecurringRecord {
        misfire,
        jitter: Duration::from_nanos(jitter),
        max_runs,
        max_failures: max_runs.and(Some(10)),
        pause_on_failure: max_runs.is_some(),
        overlap: max_runs.map_or(Overlap::Wait, |_| Overlap::CancelRunning),
        start_date,
        until: start_date,
        except: start_date.map(|_| "a calendar".into()),
    };
    let once = |due, nominal| ProgressRecord {
        due,
        nominal,
        attempts: 0,
        last_failure: None,
        retry_delay: None,
        start_intent: None,
        is_start_repeated: false,
        interruptions: 0,
        is_paused: false,
        steering: None,
        checkpoint: None,
        by_unset_clock: false,
        clock_set_by_ns: 0,
        recurring: None,
    };
    let new = RecurringProgress {
        runs: 0,
        failures_in_a_row: 0,
        last_run: None,
        started_at: None,
        drawn_jitter: Duration::ZERO,
        last_nominal: epoch,
        skipped: None,
        handled_up_to: epoch,
        set_back: None,
        catch_ups: 0,
        is_catch_up: false,
        is_first_now: false,
        run_early: None,
    };
    let run = Run {
        number: u64::MAX,
        nominal_time: first,
        started_at: nanosecond,
        finished_at: last,
        status: JobStatus::Timeout,
    };
    let full = RecurringProgress {
        runs: u64::MAX,
        failures_in_a_row: u32::MAX,
        last_run: Some(run),
        started_at: Some(nanosecond),
        drawn_jitter: Duration::from_nanos(i64::MAX as u64),
        last_nominal: last,
        skipped: Some(SkippedRecord {
            from: first,
            to: last,
        }),
        handled_up_to: nanosecond,
        set_back: Some(SetBackRecord {
            to: last,
            is_correction: true,
        }),
        catch_ups: u32::MAX,
        is_catch_up: true,
        is_first_now: true,
        run_early: Some(last),
    };
    let record = |id: &str, args: &str, trigger, progress| JobRecord {
        version: RECORD_VERSION,
        id: id.into(),
        task: format!("task of {id}").into(),
        args: args.into(),
        scheduled_at: nanosecond,
        trigger,
        zone: None,
        expires: None,
        timeout: None,
        retry: None,
        priority: None,
        limit_key: None,
        rate_key: None,
        unique_for: None,
        labels: None,
        set: None,
        spawned_by: None,
        progress,
    };
    let longest = Duration::from_nanos(i64::MAX as u64);
    let after = |length| TriggerRecord::Delay { length };
    let delay = record("delay", "null", after(longest), once(epoch, epoch));
    let mut at = record("at", "\"\"", TriggerRecord::At, once(last, first));
    at.zone = Some("Europe/Berlin".into());
    at.progress.attempts = u32::MAX;
    at.progress.last_failure = Some(JobStatus::Failed);
    at.progress.retry_delay = Some(longest);
    at.progress.start_intent = Some(first);
    at.progress.is_start_repeated = true;
    at.progress.interruptions = u32::MAX;
    at.progress.clock_set_by_ns = i64::MIN;
    at.progress.by_unset_clock = true;
    at.progress.is_paused = true;
    at.progress.steering = Some(Box::new(SteeringRecord {
        extra: Some(first),
        second_extra: Some(last),
        retries_extra: Some(nanosecond),
        starts_extra: true,
        runs_now: true,
        moved_to: Some(epoch),
        is_moved_by_own_clock: true,
        run_due: Some(first),
        went_on_at: Some(nanosecond),
        leaves_out_up_to: Some(nanosecond),
        next_move: Some(MoveRecord::To(last)),
        extra_checkpoint: Some(Encoded::other("c", [7])),
    }));
    at.progress.checkpoint = Some(Box::new(r#"{"it's":"ü \u0000"}"#.into()));
    at.args = Encoded::other("it's ü", (0..=255).collect::<Vec<u8>>());
    at.expires = Some(longest);
    at.timeout = Some(longest);
    at.priority = Some(i8::MIN);
    at.limit_key = Some("a key".into());
    at.rate_key = Some("another key".into());
    at.unique_for = Some(longest);
    at.labels = Some(Box::new(Labels {
        tags: vec!["a tag".into(), "ä".into()],
        notes: vec![("a key".into(), "".into())],
    }));
    at.retry = Some(BackoffRecord {
        retries: u32::MAX,
        initial: Duration::from_nanos(1),
        factor: 1e300,
        cap: longest,
        jitter: f64::MIN_POSITIVE,
        retry_after_max: Duration::ZERO,
    });
    at.set = Some("it's ü".into());
    let every = record(
        "every",
        r#"{"text":"it's \u0000 \"quoted\"","list":[1.5,-0.0,1e300]}"#,
        TriggerRecord::Every {
            interval: Duration::from_nanos(1),
            options: options(Misfire::All(u32::MAX), 0, None, None),
        },
        ProgressRecord {
            recurring: Some(new.clone()),
            ..once(nanosecond, epoch)
        },
    );
    let long = format!("\"{}\"", "ü🦀\\\\ ".repeat(50_000));
    let cron = record(
        "cron",
        &long,
        TriggerRecord::Cron {
            expression: "*/5 9-17 * * MON#1,FRIL".into(),
            options: options(
                Misfire::Grace(Duration::from_millis(1)),
                i64::MAX as u64,
                Some(u64::MAX),
                Some(last),
            ),
        },
        ProgressRecord {
            recurring: Some(full),
            ..once(first, last)
        },
    );
    let mut skip = record(
        "skip",
        "[]",
        TriggerRecord::Every {
            interval: Duration::from_nanos(i64::MAX as u64),
            options: options(Misfire::Skip, 1, Some(1), Some(first)),
        },
        ProgressRecord {
            recurring: Some(RecurringProgress {
                last_run: Some(Run {
                    status: JobStatus::Success,
                    number: 1,
                    ..run
                }),
                ..new.clone()
            }),
            ..once(epoch, nanosecond)
        },
    );
    skip.zone = Some("+05:30".into());
    let mut empty = record("empty", "", after(Duration::ZERO), once(epoch, epoch));
    empty.task = "".into();
    empty.zone = Some(String::new());
    let mut local = record(
        "at_local",
        "1",
        TriggerRecord::AtLocal { local: nanosecond },
        once(epoch, epoch),
    );
    local.progress.checkpoint = Some(Box::new(Encoded::other("c", [])));
    let recurs = || ProgressRecord {
        recurring: Some(new.clone()),
        ..once(epoch, epoch)
    };
    let none = || options(Misfire::Once, 0, None, None);
    let after_each = record(
        "after_each",
        "1",
        TriggerRecord::AfterEach {
            interval: longest,
            options: none(),
        },
        recurs(),
    );
    let calendar = record(
        "every_calendar",
        "1",
        TriggerRecord::Calendar {
            interval: "P4294967295M".into(),
            options: none(),
        },
        recurs(),
    );
    vec![
        delay, at, every, cron, skip, empty, local, after_each, calendar,
    ]
}
