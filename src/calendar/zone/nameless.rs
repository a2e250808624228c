//! Named zones where there are none, so that one `match` serves both builds.

use crate::calendar::zone::time_zone::Change;

#[derive(Clone)]
pub(crate) enum Named {}

impl Named {
    pub(crate) fn name(&self) -> &str {
        match *self {}
    }

    pub(crate) fn offset_at(&self, _: i64) -> i32 {
        match *self {}
    }

    pub(crate) fn next_change(&self, _: i64) -> Option<i64> {
        match *self {}
    }

    pub(crate) fn recent_change(&self, _: i64, _: i64) -> Option<Change> {
        match *self {}
    }
}
