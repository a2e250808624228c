//! What happened, entry by entry: the oracle reads it, and it can be printed.

use std::fmt;
use std::sync::{Arc, Mutex};

use time::OffsetDateTime;

/// Both clocks: nanoseconds since the program began, and since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub mono: i64,
    pub wall: i64,
    /// The wall clock was never set if it shows an earlier time.
    pub earliest: i64,
}

impl Now {
    /// Whether the wall clock may be right.
    pub fn is_set(self) -> bool {
        self.wall >= self.earliest
    }
}

/// Nanoseconds since 1970.
pub fn nanos(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos()).expect("within 292 years of 1970")
}

/// The time that is this number of nanoseconds after 1970 began.
pub fn wall(nanos: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).expect("a time")
}

/// An attempt, as its task sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: String,
    /// Of the process.
    pub boot: u32,
    pub run: u64,
    pub attempt: u32,
    pub nominal: i64,
}

/// How an attempt ended, as its task sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Value,
    Error,
    Panic,
    /// Its future was dropped: aborted, too slow, or the process is gone.
    Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A step of the program.
    Op(String),
    /// What came of it, or was seen afterwards.
    Seen(String),
    /// Scheduling has returned with this job.
    Scheduled(Promise),
    /// A job is as this process found it in the store.
    Restored {
        id: String,
    },
    /// Nothing is promised any more: it was cancelled or aborted, or the app
    /// has stopped, or that is tried.
    TakenBack {
        id: String,
    },
    /// It is promised as before: its replacement was refused.
    GivenBack {
        id: String,
        /// The store may have that all the same.
        is_torn: bool,
    },
    /// It was cancelled or aborted, and the store knows it.
    Over {
        id: String,
    },
    /// It is done.
    Done {
        id: String,
    },
    /// Scheduling it has failed.
    Refused {
        id: String,
    },
    /// A run schedules this job.
    Spawned {
        id: String,
        task: usize,
        child: super::script::Child,
        ok: bool,
    },
    Start(Attempt),
    /// An attempt has looked for the checkpoint of those before it.
    CheckpointFound {
        attempt: Attempt,
        script: u32,
        mark: Option<super::checkpoints::Mark>,
    },
    CheckpointSet {
        attempt: Attempt,
        mark: super::checkpoints::Mark,
        is_stored: bool,
    },
    End(Attempt, End),
    /// A task or the app was paused or resumed. `None`: that has failed, and the store may have
    /// it.
    PausedAll {
        task: Option<usize>,
        is_paused: Option<bool>,
    },
    /// A job was steered by hand.
    Steered {
        id: String,
        how: super::program::Steer,
        /// What that has done. `None`: it is not stored, but done.
        did: Option<jobber::SteerOutcome>,
    },
    Stepped {
        by: i64,
    },
    /// From now on, the store may fail.
    FaultsOn,
    /// The store does not fail any more, and has every change.
    FaultsOff,
    /// The process has crashed, or its shutdown has begun.
    Down,
    Up {
        zone: super::program::Start,
        has_other_rules: bool,
        calendar: super::calendar::Calendar,
    },
}

/// What was promised of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    pub id: String,
    /// The process that made it.
    pub boot: u32,
    /// It took the place of another trigger of the same job.
    pub replaced: bool,
    pub task: usize,
    pub durable: bool,
    pub when: super::program::When,
    /// Its own, if it has one.
    pub zone: Option<super::program::Start>,
    /// How late an attempt may start.
    pub expires_ms: Option<u32>,
    /// It is paused at first.
    pub paused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub now: Now,
    pub event: Event,
}

/// Shared with the tasks.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Vec<Entry>>>);

impl History {
    /// Returns how many there are now.
    pub fn add(&self, now: Now, event: Event) -> usize {
        let mut entries = self.0.lock().unwrap();
        entries.push(Entry { now, event });
        entries.len()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How many attempts of a job have ended.
    pub fn ended(&self, id: &str) -> usize {
        let entries = self.0.lock().unwrap();
        let ends = entries
            .iter()
            .filter(|entry| matches!(&entry.event, Event::End(attempt, _) if attempt.id == id));
        ends.count()
    }

    /// Reads all from this one on, without a copy: there may be many, for many jobs. `read`
    /// must add nothing.
    pub fn read_since<T>(&self, at: usize, read: impl FnOnce(&[Entry]) -> T) -> T {
        read(&self.0.lock().unwrap()[at..])
    }

    /// A copy of all from this one on.
    pub fn since(&self, at: usize) -> Vec<Entry> {
        self.0.lock().unwrap()[at..].to_vec()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in self.0.lock().unwrap().iter() {
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}

/// A time of day, to the nanosecond.
pub fn clock(wall: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(wall.into()).expect("a time");
    let (hour, minute, second, nanos) = time.to_hms_nano();
    format!(
        "{} {hour:02}:{minute:02}:{second:02}.{nanos:09}",
        time.date()
    )
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = (self.now.mono / 1_000_000_000, self.now.mono % 1_000_000_000);
        write!(f, "{secs:>6}.{nanos:09} {} ", clock(self.now.wall))?;
        match &self.event {
            Event::Op(text) => write!(f, "# {text}"),
            Event::Seen(text) => write!(f, "  {text}"),
            Event::Start(a) => write!(
                f,
                "    {} starts: run {}, attempt {}, for {}",
                a.id,
                a.run,
                a.attempt,
                clock(a.nominal)
            ),
            Event::End(a, end) => write!(f, "    {} ends: {end:?}", a.id),
            other => write!(f, "  {other:?}"),
        }
    }
}
