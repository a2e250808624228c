use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use jobber::storage::{Columns, JobRecord, Loaded};
use rusqlite::types::ValueRef;

/// A row of the store with any values in it: it is a record, or there is a reason why it is
/// not one. Nothing panics, the key is kept, and nothing that is shown has a control
/// character.
///
/// The data is a list of edits to a row that is sound: which one, and then a
/// column, a type, a length and as many bytes, again and again.
///
/// # Panics
/// When any of that does not hold.
pub fn record_decode(data: &[u8]) {
    let row = AnyRow::of(data);
    let loaded = row.read();
    let id = match &loaded {
        Loaded::Job(job) => {
            assert_eq!(job.version(), JobRecord::VERSION);
            job.id()
        }
        Loaded::OtherVersion { id, version, .. } => {
            assert_ne!(*version, JobRecord::VERSION);
            id
        }
        Loaded::Unreadable { id, reason, .. } => {
            assert!(!reason.is_empty());
            id
        }
    };
    let shown = id.to_string();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    match row.key() {
        ValueRef::Text(bytes) if std::str::from_utf8(bytes).is_ok() => {
            assert_eq!(String::from(id.clone()).as_bytes(), bytes);
        }
        _ => assert_ne!(id, &shown.as_str(), "a key that is not a text equals none"),
    }
}

/// A row with any values.
pub(crate) struct AnyRow<'a>([ValueRef<'a>; 36]);

impl<'a> AnyRow<'a> {
    pub(crate) fn of(data: &'a [u8]) -> Self {
        // Numbers are read once: this target is as fast as what it attacks.
        static ROWS: LazyLock<[[ValueRef<'static>; 36]; 9]> =
            LazyLock::new(|| EXAMPLES.map(|row| row.map(sound)));
        let (first, mut edits) = data.split_first().unwrap_or((&0, &[]));
        let mut row: [ValueRef<'a>; 36] = ROWS[usize::from(*first) % ROWS.len()];
        while let [column, kind, length, rest @ ..] = edits {
            let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*length)));
            row[usize::from(*column) % row.len()] = any(*kind, bytes);
            edits = rest;
        }
        Self(row)
    }

    pub(crate) fn read(&self) -> Loaded {
        thread_local! {
            static TASK: RefCell<Arc<str>> = RefCell::default();
        }
        TASK.with_borrow_mut(|task| Columns(self.0).read(task))
    }

    fn key(&self) -> ValueRef<'_> {
        self.0[0]
    }
}

/// A value of a sound row: a number if it reads as one.
fn sound(text: &str) -> ValueRef<'_> {
    match text {
        "" => ValueRef::Null,
        VERSION => ValueRef::Integer(JobRecord::VERSION.into()),
        text => match text.parse() {
            Ok(number) => ValueRef::Integer(number),
            Err(_) => ValueRef::Text(text.as_bytes()),
        },
    }
}

fn any(kind: u8, bytes: &[u8]) -> ValueRef<'_> {
    let mut number = [0; 8];
    for (place, byte) in number.iter_mut().zip(bytes) {
        *place = *byte;
    }
    match kind % 5 {
        0 => ValueRef::Text(bytes),
        1 => ValueRef::Integer(i64::from_le_bytes(number)),
        2 => ValueRef::Real(f64::from_le_bytes(number)),
        3 => ValueRef::Blob(bytes),
        _ => ValueRef::Null,
    }
}

/// Stands for the version of the library.
const VERSION: &str = "version";
const BEFORE: &str = "1999-12-31T23:00:00.000000000Z";
const AFTER: &str = "2000-01-01T00:00:00.500000000Z";
const OPTIONS: &str = r#"{"misfire":{"all":9},"jitter":{"secs":1,"nanos":0},"max_runs":7,"max_failures":3,"pause_on_failure":true,"overlap":{"spawn":3},"start_date":"1999-12-31T23:00:00.000000000Z","until":"2000-06-01T00:00:00.000000000Z","except":"nights"}"#;
const PROGRESS: &str = r#"{"runs":3,"failures_in_a_row":1,"last_run":{"number":3,"nominal_time":"1999-12-31T22:00:00.000000000Z","started_at":"1999-12-31T22:00:00.000000000Z","finished_at":"1999-12-31T22:00:00.000000000Z","status":"FAILED"},"started_at":null,"drawn_jitter":{"secs":1,"nanos":0},"last_nominal":"1999-12-31T22:00:00.000000000Z","skipped":{"from":"1999-12-31T20:00:00.000000000Z","to":"1999-12-31T22:00:00.000000000Z"},"handled_up_to":"1999-12-31T22:30:00.000000000Z","set_back":{"to":"1999-12-31T22:20:00.000000000Z","is_correction":true},"catch_ups":1,"is_catch_up":false,"is_first_now":false,"run_early":"2000-01-01T02:00:00.000000000Z"}"#;

const STEERING: &str = r#"{"extra":"2000-01-01T00:00:00.000000000Z","second_extra":"2000-01-01T00:00:00.250000000Z","retries_extra":null,"starts_extra":true,"runs_now":false,"moved_to":null,"is_moved_by_own_clock":false,"run_due":null,"went_on_at":null,"leaves_out_up_to":null,"next_move":{"by_nanos":1000000000}}"#;
const STEERED_ONCE: &str = r#"{"extra":null,"second_extra":null,"retries_extra":null,"starts_extra":false,"runs_now":true,"moved_to":"2000-01-01T01:00:00.000000000Z","is_moved_by_own_clock":true,"run_due":"2000-01-01T01:00:00.000000000Z","went_on_at":"2000-01-01T00:00:00.000000000Z","leaves_out_up_to":"2000-01-01T01:00:00.000000000Z","next_move":{"to":"2000-01-01T02:00:00.000000000Z"}}"#;

const SPAWNED_BY: &str = r#"{"job":"y","scheduled_at":"1999-12-31T23:00:00.000000000Z","run":7}"#;

const LABELS: &str = r#"{"tags":["a","b"],"notes":[["key","value"]]}"#;

const RETRY: &str = r#"{"retries":3,"initial":{"secs":1,"nanos":0},"factor":2.0,"cap":{"secs":60,"nanos":0},"jitter":0.5,"retry_after_max":{"secs":86400,"nanos":0}}"#;

/// Sound rows, in the order of the columns: `id`, `task`, `args`, `due`, `nominal`,
/// `trigger`, `cron`, `interval_ns`, `zone`, `attempts`, `last_failure`, `retry_ns`,
/// `started_at`, `scheduled_at`, `options`, `progress`, `version`, `expires_ns`,
/// `clock_set_by_ns`, `by_unset_clock`, `interruptions`, `repeats_start`,
/// `timeout_ns`, `retry`, `declared_by`, `paused`, `steering`, `priority`, `limit_key`,
/// `rate_key`, `unique_for_ns`, `labels`, `spawned_by`,
/// `checkpoint`, `checkpoint_codec`, `codec`.
const EXAMPLES: [[&str; 36]; 9] = [
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        AFTER,
        AFTER,
        "delay",
        "",
        "500000000",
        "",
        "0",
        "",
        "",
        "",
        BEFORE,
        "",
        "",
        VERSION,
        "",
        "",
        "1",
        "",
        "",
        "",
        "",
        "",
        "1",
        STEERED_ONCE,
        "-3",
        "key",
        "another",
        "60000000000",
        "",
        "",
        "[7]",
        "",
        "",
    ],
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        BEFORE,
        BEFORE,
        "at",
        "",
        "",
        "+05:30",
        "2",
        "TIMEOUT",
        "1000000000",
        "",
        BEFORE,
        "",
        "",
        VERSION,
        "3600000000000",
        "-1000000000",
        "",
        "",
        "",
        "30000000000",
        RETRY,
        "set",
        "",
        "",
        "",
        "",
        "",
        "",
        LABELS,
        SPAWNED_BY,
        "",
        "",
        "",
    ],
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        BEFORE,
        BEFORE,
        "every",
        "",
        "3600000000000",
        "",
        "0",
        "",
        "",
        "",
        BEFORE,
        OPTIONS,
        PROGRESS,
        VERSION,
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "1",
        STEERING,
        "127",
        "",
        "another",
        "",
        LABELS,
        "",
        "",
        "",
        "",
    ],
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        BEFORE,
        BEFORE,
        "cron",
        "*/5 9-17 * * MON-FRI",
        "",
        "Europe/Berlin",
        "0",
        "",
        "",
        "",
        BEFORE,
        OPTIONS,
        PROGRESS,
        VERSION,
        "60000000000",
        "",
        "1",
        "",
        "",
        "30000000000",
        RETRY,
        "set",
        "",
        STEERING,
        "",
        "",
        "",
        "60000000000",
        "",
        "",
        "[7]",
        "",
        "",
    ],
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        AFTER,
        AFTER,
        "cron",
        "30 2 * * *",
        "",
        "",
        "1",
        "FAILED",
        "60000000000",
        BEFORE,
        BEFORE,
        OPTIONS,
        PROGRESS,
        VERSION,
        "7200000000000",
        "1000000000",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "another",
        "",
        "",
        "",
        "",
        "",
        "",
    ],
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        AFTER,
        AFTER,
        "at_local",
        "2000-01-01T00:00:00.500000000Z",
        "",
        "Europe/Berlin",
        "0",
        "",
        "",
        "",
        BEFORE,
        "",
        "",
        VERSION,
        "1000000000",
        "",
        "",
        "",
        "",
        "30000000000",
        RETRY,
        "set",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
    ],
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        BEFORE,
        BEFORE,
        "after_each",
        "",
        "3600000000000",
        "",
        "0",
        "",
        "",
        "",
        BEFORE,
        OPTIONS,
        PROGRESS,
        VERSION,
        "60000000000",
        "",
        "1",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "another",
        "60000000000",
        "",
        "",
        "",
        "",
        "",
    ],
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        AFTER,
        AFTER,
        "every_calendar",
        "P1M",
        "",
        "Europe/Berlin",
        "0",
        "",
        "",
        "",
        BEFORE,
        OPTIONS,
        PROGRESS,
        VERSION,
        "",
        "",
        "",
        "",
        "",
        "30000000000",
        RETRY,
        "set",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
    ],
    [
        "x",
        "t",
        r#"[1,"a"]"#,
        AFTER,
        AFTER,
        "at",
        "",
        "",
        "",
        "1",
        "FAILED",
        "60000000000",
        BEFORE,
        BEFORE,
        "",
        "",
        VERSION,
        "",
        "",
        "",
        "2",
        "1",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "another",
        "",
        "",
        "",
        "",
        "",
        "",
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_sound() {
        for example in EXAMPLES {
            let columns = Columns(example.map(sound));
            assert!(
                matches!(columns.read(&mut Arc::default()), Loaded::Job(_)),
                "{example:?}: {:?}",
                columns.read(&mut Arc::default())
            );
        }
    }
}
