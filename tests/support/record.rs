//! A stored record with all its fields, which are private in the library: read from, and
//! turned into, what the library serializes.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::time::Duration;

use jobber::{JobStatus, MemoryStorage, Misfire, Overlap, Run};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    pub version: u32,
    pub id: String,
    pub task: String,
    pub args: String,
    #[serde(with = "text")]
    pub scheduled_at: OffsetDateTime,
    pub trigger: TriggerRecord,
    pub zone: Option<String>,
    pub expires: Option<Duration>,
    pub priority: Option<i8>,
    pub limit_key: Option<String>,
    pub progress: ProgressRecord,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRecord {
    Delay {
        length: Duration,
    },
    At,
    AtLocal {
        #[serde(with = "text")]
        local: OffsetDateTime,
    },
    AfterEach {
        interval: Duration,
        options: RecurringRecord,
    },
    Calendar {
        interval: String,
        options: RecurringRecord,
    },
    Every {
        interval: Duration,
        options: RecurringRecord,
    },
    Cron {
        expression: String,
        options: RecurringRecord,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecurringRecord {
    pub misfire: Misfire,
    pub jitter: Duration,
    pub max_runs: Option<u64>,
    pub max_failures: Option<u32>,
    pub pause_on_failure: bool,
    pub overlap: Overlap,
    #[serde(with = "optional_text")]
    pub start_date: Option<OffsetDateTime>,
    #[serde(with = "optional_text")]
    pub until: Option<OffsetDateTime>,
    pub except: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgressRecord {
    #[serde(with = "text")]
    pub due: OffsetDateTime,
    #[serde(with = "text")]
    pub nominal: OffsetDateTime,
    pub attempts: u32,
    pub last_failure: Option<JobStatus>,
    pub retry_delay: Option<Duration>,
    #[serde(with = "optional_text")]
    pub start_intent: Option<OffsetDateTime>,
    pub is_start_repeated: bool,
    pub interruptions: u32,
    pub is_paused: bool,
    pub steering: Option<SteeringRecord>,
    pub by_unset_clock: bool,
    pub clock_set_by_ns: i64,
    pub recurring: Option<RecurringProgress>,
}

impl ProgressRecord {
    /// Whether its attempt, which is made at most once, may have begun.
    pub fn must_not_run_again(&self) -> bool {
        self.start_intent.is_some() && !self.is_start_repeated
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecurringProgress {
    pub runs: u64,
    pub failures_in_a_row: u32,
    pub last_run: Option<Run>,
    #[serde(with = "optional_text")]
    pub started_at: Option<OffsetDateTime>,
    pub drawn_jitter: Duration,
    #[serde(with = "text")]
    pub last_nominal: OffsetDateTime,
    pub skipped: Option<SkippedRecord>,
    #[serde(with = "text")]
    pub handled_up_to: OffsetDateTime,
    pub set_back: Option<SetBackRecord>,
    pub catch_ups: u32,
    pub is_catch_up: bool,
    pub is_first_now: bool,
    #[serde(with = "optional_text")]
    pub run_early: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SteeringRecord {
    #[serde(with = "optional_text")]
    pub extra: Option<OffsetDateTime>,
    #[serde(with = "optional_text")]
    pub second_extra: Option<OffsetDateTime>,
    #[serde(with = "optional_text")]
    pub retries_extra: Option<OffsetDateTime>,
    pub starts_extra: bool,
    pub runs_now: bool,
    #[serde(with = "optional_text")]
    pub moved_to: Option<OffsetDateTime>,
    pub is_moved_by_own_clock: bool,
    #[serde(with = "optional_text")]
    pub run_due: Option<OffsetDateTime>,
    #[serde(with = "optional_text")]
    pub went_on_at: Option<OffsetDateTime>,
    #[serde(with = "optional_text")]
    pub leaves_out_up_to: Option<OffsetDateTime>,
    pub next_move: Option<MoveRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveRecord {
    To(#[serde(with = "text")] OffsetDateTime),
    ByNanos(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkippedRecord {
    #[serde(with = "text")]
    pub from: OffsetDateTime,
    #[serde(with = "text")]
    pub to: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetBackRecord {
    #[serde(with = "text")]
    pub to: OffsetDateTime,
    pub is_correction: bool,
}

impl TriggerRecord {
    pub fn name(&self) -> &'static str {
        match self {
            TriggerRecord::Delay { .. } => "delay",
            TriggerRecord::At => "at",
            TriggerRecord::AtLocal { .. } => "at_local",
            TriggerRecord::AfterEach { .. } => "after_each",
            TriggerRecord::Calendar { .. } => "every_calendar",
            TriggerRecord::Every { .. } => "every",
            TriggerRecord::Cron { .. } => "cron",
        }
    }
}

impl JobRecord {
    pub fn of(record: &jobber::storage::JobRecord) -> Self {
        serde_json::from_value(serde_json::to_value(record).unwrap()).unwrap()
    }

    pub fn to_stored(&self) -> jobber::storage::JobRecord {
        serde_json::from_value(serde_json::to_value(self).unwrap()).unwrap()
    }
}

/// The record that a store has under an id.
pub fn record_of(disk: &MemoryStorage, id: &str) -> Option<JobRecord> {
    let records = disk.records();
    let record = records.iter().find(|record| *record.id() == *id);
    record.map(JobRecord::of)
}

mod text {
    use serde::{Deserialize, Deserializer, Serializer};
    use time::OffsetDateTime;
    use time::format_description::BorrowedFormatItem;
    use time::format_description::well_known::Rfc3339;
    use time::macros::format_description;

    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");

    pub fn format(time: &OffsetDateTime) -> String {
        time.format(FORMAT).unwrap()
    }

    pub fn serialize<S: Serializer>(time: &OffsetDateTime, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format(time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<OffsetDateTime, D::Error> {
        let text = String::deserialize(d)?;
        OffsetDateTime::parse(&text, &Rfc3339).map_err(serde::de::Error::custom)
    }
}

mod optional_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use time::OffsetDateTime;

    #[derive(Deserialize)]
    struct Text(#[serde(with = "super::text")] OffsetDateTime);

    pub fn serialize<S: Serializer>(
        time: &Option<OffsetDateTime>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        time.as_ref().map(super::text::format).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        Ok(Option::<Text>::deserialize(d)?.map(|text| text.0))
    }
}
