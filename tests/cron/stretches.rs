//! The stretches of a zone: in each, the offset from UTC is constant.

use jiff::Timestamp;

use jiff::tz::TimeZone;

use crate::oracle::Stretch;

const HOUR: i64 = 3600;

pub const YEAR_1970: i64 = 0;

pub const YEAR_2038: i64 = 2_145_916_800;

/// The stretches of a zone from before 1970 to after 2037.
pub fn stretches(zone: &TimeZone) -> Vec<Stretch> {
    let mut start = YEAR_1970 - 400 * 24 * HOUR;
    let end = YEAR_2038 + 400 * 24 * HOUR;
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let mut offset = i64::from(zone.to_offset(at(start)).seconds());
    let mut before = offset;
    let mut stretches = Vec::new();
    for change in zone.following(at(start)) {
        let change_at = change.timestamp().as_second().min(end);
        stretches.push(Stretch {
            start,
            end: change_at,
            before,
            offset,
        });
        if change_at == end {
            return stretches;
        }
        start = change_at;
        before = offset;
        offset = i64::from(change.offset().seconds());
    }
    stretches.push(Stretch {
        start,
        end,
        before,
        offset,
    });
    stretches
}
