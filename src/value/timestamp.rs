//! The text form of times in stores: texts sort in the order of their times.
//!
//! The form is [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) in UTC with nine
//! digits of nanoseconds, such as `2026-11-24T15:04:05.000000000Z`. All texts have the
//! same length, so comparing texts compares times. SQLite's date functions accept this
//! form (<https://www.sqlite.org/lang_datefunc.html>, format 7 followed by `Z`).

use std::fmt;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

const BYTES: usize = 30;

/// The form of a text: each `0` stands for a digit.
const FORM: &[u8; BYTES] = b"0000-00-00T00:00:00.000000000Z";

/// Where a text has no digit.
const SEPARATORS: [usize; 7] = [4, 7, 10, 13, 16, 19, 29];

/// Formats a time. A year outside 0 to 9999 is clamped to that range; the times of jobs
/// are far inside it.
pub(crate) fn format(time: OffsetDateTime) -> TimestampText {
    let time = time.to_offset(UtcOffset::UTC);
    let mut text = *FORM;
    let mut put = |at: usize, digits: usize, mut value: u32| {
        for place in text[at..at + digits].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, time.year().clamp(0, 9999) as u32);
    put(5, 2, u8::from(time.month()).into());
    put(8, 2, time.day().into());
    put(11, 2, time.hour().into());
    put(14, 2, time.minute().into());
    put(17, 2, time.second().into());
    put(20, 9, time.nanosecond());
    TimestampText(text)
}

/// The text of one time, in a buffer of its own: storing a job writes three of them,
/// and none allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampText([u8; BYTES]);

impl TimestampText {
    pub(crate) fn as_str(&self) -> &str {
        // The text is ASCII, so `from_utf8` cannot fail.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Parses the form that [`format`] writes, and no other.
pub(crate) fn parse(text: &str) -> Result<OffsetDateTime, InvalidTimestamp> {
    parse_bytes(text.as_bytes()).ok_or(InvalidTimestamp)
}

/// The error of [`parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidTimestamp;

impl fmt::Display for InvalidTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time must have the form 2026-11-24T15:04:05.000000000Z")
    }
}

fn parse_bytes(text: &[u8]) -> Option<OffsetDateTime> {
    let text: &[u8; BYTES] = text.try_into().ok()?;
    if SEPARATORS.iter().any(|&at| text[at] != FORM[at]) {
        return None;
    }
    let number = |at: usize, digits: usize| {
        let mut digits = text[at..at + digits].iter();
        digits.try_fold(0, |value: u32, digit| {
            let is_digit = digit.is_ascii_digit();
            is_digit.then(|| value * 10 + u32::from(digit - b'0'))
        })
    };
    // Two digits always fit into a `u8`.
    let small = |at| Some(number(at, 2)? as u8);
    let month = Month::try_from(small(5)?).ok()?;
    let date = Date::from_calendar_date(number(0, 4)? as i32, month, small(8)?).ok()?;
    let time = Time::from_hms_nano(small(11)?, small(14)?, small(17)?, number(20, 9)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc())
}

/// Serializes a time as its text, by `#[serde(with = "crate::value::timestamp::text")]`.
#[cfg(feature = "serde")]
pub(crate) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use time::OffsetDateTime;

    pub(crate) fn serialize<S: Serializer>(
        time: &OffsetDateTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(super::format(*time).as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OffsetDateTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse(&text).map_err(D::Error::custom)
    }
}

/// Serializes an optional time, by `#[serde(with = "crate::value::timestamp::optional")]`.
#[cfg(feature = "serde")]
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use time::OffsetDateTime;

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<OffsetDateTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = time.map(super::format);
        text.as_ref()
            .map(super::TimestampText::as_str)
            .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse(&text).map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::time_units::{from_wall, wall_range};

    #[test]
    fn a_time_survives_its_text_and_sorts_like_it() {
        let (first, last) = wall_range();
        let mut times: Vec<_> = (0..2_000)
            .map(|_| from_wall(fastrand::i64(..), UtcOffset::UTC))
            .chain([first, last, OffsetDateTime::UNIX_EPOCH])
            .collect();
        times.sort();
        let texts: Vec<_> = times
            .iter()
            .map(|time| format(*time).as_str().to_owned())
            .collect();
        assert!(texts.is_sorted());
        for (time, text) in times.iter().zip(&texts) {
            assert_eq!(parse(text), Ok(*time), "{text}");
        }
        assert_eq!(
            format(OffsetDateTime::UNIX_EPOCH).as_str(),
            "1970-01-01T00:00:00.000000000Z"
        );
    }

    #[test]
    fn the_text_is_always_in_utc() {
        let offset = UtcOffset::from_hms(5, 30, 0).unwrap();
        let time = OffsetDateTime::UNIX_EPOCH.to_offset(offset);
        assert_eq!(format(time).as_str(), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn any_other_form_is_an_error() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T15:04:05Z",
            "2026-11-24T15:04:05.000000000+00:00",
            "2026-02-29T15:04:05.000000000Z",
            "2026-13-24T15:04:05.000000000Z",
            "2026-11-24T25:04:05.000000000Z",
            "2026-11-24 15:04:05.000000000Z",
            "+026-11-24T15:04:05.000000000Z",
            "２026-11-24T15:04:05.0000000Z",
        ] {
            assert_eq!(parse(text), Err(InvalidTimestamp), "{text}");
        }
    }
}
