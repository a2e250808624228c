//! Plain values that every other part uses: ids, statuses, errors, times, retry policies.

pub(crate) mod app_clock;
pub(crate) mod backoff;
pub(crate) mod cancel_outcome;
pub(crate) mod clock;
pub(crate) mod declared;
pub(crate) mod error;
pub(crate) mod escaped;
pub(crate) mod event;
pub(crate) mod health;
pub(crate) mod id;
pub(crate) mod job_snapshot;
pub(crate) mod labels;
pub(crate) mod overlap;
pub(crate) mod rate;
pub(crate) mod retry_hint;
pub(crate) mod run;
pub(crate) mod schedule_request;
pub(crate) mod shared_state;
pub(crate) mod shutdown_report;
pub(crate) mod spawned_by;
pub(crate) mod status;
pub(crate) mod steer_outcome;
pub(crate) mod time_units;
#[cfg(feature = "serde")]
pub(crate) mod timestamp;
pub(crate) mod waiting_for;
