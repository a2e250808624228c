//! Times as text that sorts as the times do: as a store keeps them, so that a
//! person can read.
//!
//! [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) in UTC with all nine digits
//! of the nanosecond, such as `2026-11-24T15:04:05.000000000Z`. One width for
//! all is what lets texts be compared; SQLite's own date functions read it
//! (<https://www.sqlite.org/lang_datefunc.html>, format 7 and a `Z`).

use std::fmt;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

const BYTES: usize = 30;

/// The places of the digits, and how many; the text between them is [`FORM`]'s.
const FORM: &[u8; BYTES] = b"0000-00-00T00:00:00.000000000Z";

/// The text of a time. Years from 0 to 9999 have one; the times of a job are
/// all well inside.
pub(crate) fn write(time: OffsetDateTime) -> Stamp {
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
    Stamp(text)
}

/// The text of a time, without an allocation: a job that is stored has three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp([u8; BYTES]);

impl Stamp {
    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII was written; the fallback can't be reached.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Reads what [`write`] wrote, and nothing else.
pub(crate) fn read(text: &str) -> Result<OffsetDateTime, BadStamp> {
    parse(text.as_bytes()).ok_or(BadStamp)
}

/// A text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadStamp;

impl fmt::Display for BadStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time is written like 2026-11-24T15:04:05.000000000Z")
    }
}

fn parse(text: &[u8]) -> Option<OffsetDateTime> {
    let text: &[u8; BYTES] = text.try_into().ok()?;
    let is_formed = text.iter().zip(FORM).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    });
    if !is_formed {
        return None;
    }
    let number = |at: usize, digits: usize| {
        let digits = text[at..at + digits].iter();
        digits.fold(0, |value: u32, digit| value * 10 + u32::from(digit - b'0'))
    };
    // At most two digits each, so they fit.
    let small = |at| number(at, 2) as u8;
    let month = Month::try_from(small(5)).ok()?;
    let date = Date::from_calendar_date(number(0, 4) as i32, month, small(8)).ok()?;
    let time = Time::from_hms_nano(small(11), small(14), small(17), number(20, 9)).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc())
}

/// For `#[serde(with = "crate::value::timestamp::text")]`.
#[cfg(feature = "serde")]
pub(crate) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use time::OffsetDateTime;

    pub(crate) fn serialize<S: Serializer>(
        time: &OffsetDateTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(super::write(*time).as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OffsetDateTime, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        super::read(&text).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = "crate::value::timestamp::optional")]`.
#[cfg(feature = "serde")]
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use time::OffsetDateTime;

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<OffsetDateTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = time.map(super::write);
        text.as_ref()
            .map(super::Stamp::as_str)
            .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::read(&text).map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::time_units::{from_wall, wall_range};

    #[test]
    fn a_time_reads_back_and_sorts_as_its_text() {
        let (first, last) = wall_range();
        let mut times: Vec<_> = (0..2_000)
            .map(|_| from_wall(fastrand::i64(..), UtcOffset::UTC))
            .chain([first, last, OffsetDateTime::UNIX_EPOCH])
            .collect();
        times.sort();
        let texts: Vec<_> = times
            .iter()
            .map(|time| write(*time).as_str().to_owned())
            .collect();
        assert!(texts.is_sorted());
        for (time, text) in times.iter().zip(&texts) {
            assert_eq!(read(text), Ok(*time), "{text}");
        }
        assert_eq!(
            write(OffsetDateTime::UNIX_EPOCH).as_str(),
            "1970-01-01T00:00:00.000000000Z"
        );
    }

    #[test]
    fn an_offset_is_not_written() {
        let offset = UtcOffset::from_hms(5, 30, 0).unwrap();
        let time = OffsetDateTime::UNIX_EPOCH.to_offset(offset);
        assert_eq!(write(time).as_str(), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn nothing_else_is_read() {
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
            assert_eq!(read(text), Err(BadStamp), "{text}");
        }
    }
}
