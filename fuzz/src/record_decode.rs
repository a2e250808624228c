use std::sync::Arc;

use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Exclusions, JobStatus,
    storage::{Change, Columns, EndRecord, JobRecord, Loaded, Storage, StorageError},
};
use rusqlite::types::ValueRef;
use time::macros::time;

/// A row of the store with any values in it: it becomes a job or an unresolved
/// one, and whatever it becomes can be looked at, run and cancelled. Nothing
/// panics, and the store is not asked to forget what could not be read.
///
/// The data is a list of edits to a row that is sound: which one, and then a
/// column, a type, a length and as many bytes, again and again.
///
/// # Panics
/// When any of that does not hold.
pub fn record_decode(data: &[u8]) {
    let (first, mut edits) = data.split_first().unwrap_or((&0, &[]));
    let mut row = EXAMPLES[usize::from(*first) % EXAMPLES.len()].map(Value::of);
    while let [column, kind, length, rest @ ..] = edits {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        row[usize::from(*column) % row.len()] = Value::any(*kind, bytes);
        edits = rest;
    }
    let columns = Columns(std::array::from_fn(|at| row[at].by_ref()));
    let loaded = columns.read(&mut Arc::default());
    let is_readable = matches!(loaded, Loaded::Job(_));
    let has_start_intent = matches!(&loaded, Loaded::Job(record) if has_start_intent(record));

    let clock = ManualClock::new();
    let nights = Exclusions::new().times_of_day(time!(22:00), time!(6:00));
    let nights = nights.expect("it is a night");
    let mut sim = Simulation::with(1, clock, |app| {
        app.storage(OneRow(Some(loaded))).calendar("nights", nights)
    })
    .expect("a row does not keep an app from starting");
    let _task = sim
        .app()
        // It starts, and never ends: times that were missed without number are
        // looked for, and not run.
        .task("t", |_: u32, _: String| std::future::pending::<()>())
        .durable()
        .register()
        .expect("the name is free");
    let unresolved = sim.app().unresolved();
    let jobs = sim.app().jobs();
    assert!(jobs.len() + unresolved.len() <= 1);
    assert!(is_readable || !unresolved.is_empty(), "it is named");
    assert!(
        has_start_intent || jobs.len() + unresolved.len() == 1,
        "it is kept"
    );
    for job in &unresolved {
        assert!(!job.to_string().is_empty());
    }
    for job in &jobs {
        assert_eq!(job.status(), JobStatus::Scheduled);
        assert!(!format!("{job:?}{:?}{:?}", job.cron_expression(), job.last_run()).is_empty());
    }
    sim.advance(std::time::Duration::from_secs(1));
    for job in &jobs {
        let _ = job.abort().block_on();
        assert!(job.is_done());
    }
    assert!(sim.app().jobs().is_empty());
    assert_eq!(sim.app().unresolved().len(), unresolved.len());
}

/// Whether an attempt was about to start that another process must not make again: the
/// job of such a row is lost if it does not recur.
fn has_start_intent(record: &JobRecord) -> bool {
    let record = serde_json::to_value(record).expect("a record can be serialized");
    !record["progress"]["start_intent"].is_null()
}

/// A store with this in it.
struct OneRow(Option<Loaded>);

impl Storage for OneRow {
    fn open(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        if let Some(loaded) = self.0.take() {
            self.0 = Some(loaded.clone());
            each(loaded);
        }
        Ok(())
    }

    fn load_ends(&mut self, _: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        Ok(())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let is_readable = matches!(self.0, Some(Loaded::Job(_)));
        assert!(
            is_readable || changes.is_empty(),
            "what can't be read is left alone"
        );
        Ok(())
    }
}

enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Value {
    /// One of a sound row: a number if it reads as one.
    fn of(text: &str) -> Self {
        match text {
            "" => Value::Null,
            text => match text.parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Text(text.into()),
            },
        }
    }

    fn any(kind: u8, bytes: &[u8]) -> Self {
        let mut number = [0; 8];
        for (place, byte) in number.iter_mut().zip(bytes) {
            *place = *byte;
        }
        match kind % 5 {
            0 => Value::Text(bytes.into()),
            1 => Value::Integer(i64::from_le_bytes(number)),
            2 => Value::Real(f64::from_le_bytes(number)),
            3 => Value::Blob(bytes.into()),
            _ => Value::Null,
        }
    }

    fn by_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(bytes) => ValueRef::Text(bytes),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

const BEFORE: &str = "1999-12-31T23:00:00.000000000Z";
const AFTER: &str = "2000-01-01T00:00:00.500000000Z";
const OPTIONS: &str = r#"{"misfire":{"all":9},"jitter":{"secs":1,"nanos":0},"max_runs":7,"max_failures":3,"start_date":"1999-12-31T23:00:00.000000000Z","until":"2000-06-01T00:00:00.000000000Z","except":"nights"}"#;
const PROGRESS: &str = r#"{"runs":3,"failures_in_a_row":1,"last_run":{"number":3,"nominal_time":"1999-12-31T22:00:00.000000000Z","started_at":"1999-12-31T22:00:00.000000000Z","finished_at":"1999-12-31T22:00:00.000000000Z","status":"FAILED"},"started_at":null,"drawn_jitter":{"secs":1,"nanos":0},"last_nominal":"1999-12-31T22:00:00.000000000Z","skipped":{"from":"1999-12-31T20:00:00.000000000Z","to":"1999-12-31T22:00:00.000000000Z"},"handled_up_to":"1999-12-31T22:30:00.000000000Z","set_back":{"to":"1999-12-31T22:20:00.000000000Z","is_correction":true},"catch_ups":1,"is_catch_up":false,"is_first_now":false}"#;

/// Sound rows, in the order of the columns: `id`, `task`, `args`, `due`, `nominal`,
/// `trigger`, `cron`, `interval_ns`, `zone`, `attempts`, `last_failure`, `retry_ns`,
/// `started_at`, `scheduled_at`, `options`, `progress`, `version`, `expires_ns`,
/// `clock_set_by_ns`, `by_unset_clock`.
const EXAMPLES: [[&str; 20]; 8] = [
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
        "4",
        "",
        "",
        "1",
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
        "4",
        "3600000000000",
        "-1000000000",
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
        "4",
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
        "4",
        "60000000000",
        "",
        "1",
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
        "4",
        "7200000000000",
        "1000000000",
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
        "4",
        "1000000000",
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
        "4",
        "60000000000",
        "",
        "1",
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
        "4",
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
            let row = example.map(Value::of);
            let columns = Columns(std::array::from_fn(|at| row[at].by_ref()));
            assert!(
                matches!(columns.read(&mut Arc::default()), Loaded::Job(_)),
                "{example:?}: {:?}",
                columns.read(&mut Arc::default())
            );
        }
    }
}
