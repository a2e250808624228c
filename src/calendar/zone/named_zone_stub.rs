//! The stand-in for `NamedZone` without the feature `tz`: no value of it exists.
//!
//! With it, the code of `Zone` is the same with and without the feature.

use crate::calendar::zone::offset_period::OffsetChange;

#[derive(Clone)]
pub(crate) enum NamedZone {}

impl NamedZone {
    pub(crate) fn name(&self) -> &str {
        match *self {}
    }

    pub(crate) fn offset_at(&self, _: i64) -> i32 {
        match *self {}
    }

    pub(crate) fn next_change(&self, _: i64) -> Option<i64> {
        match *self {}
    }

    pub(crate) fn recent_change(&self, _: i64, _: i64) -> Option<OffsetChange> {
        match *self {}
    }
}
