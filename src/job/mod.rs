//! One job: its definition, its position, its phase, and the decisions about it.

pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod decisions;
pub(crate) mod definition;
pub(crate) mod end_record;
pub(crate) mod last_result;
pub(crate) mod lifecycle;
#[cfg(test)]
mod lifecycle_table;
pub(crate) mod live_job;
pub(crate) mod middleware;
pub(crate) mod pause_record;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod position;
pub(crate) mod record;
pub(crate) mod row;
pub(crate) mod status_cell;
pub(crate) mod steering;
pub(crate) mod stop;
pub(crate) mod sync_state;
pub(crate) mod taken_id;
pub(crate) mod typed_middleware;
