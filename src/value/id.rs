//! [`JobId`]: the name that identifies a job.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;

use crate::sync::primitives::Arc;
use crate::value::escaped::Escaped;

/// The maximum length of a job id, in bytes: URLs fit.
pub(crate) const MAX_ID_BYTES: usize = 1_024;

/// The name of a job: a string that is unique among the live jobs of an app.
///
/// An app generates the id of a job unless the caller chooses one with
/// [`Schedule::id`](crate::Schedule::id). A generated id is a UUID version 7 ([RFC 9562,
/// section 5.7](https://www.rfc-editor.org/rfc/rfc9562#section-5.7)). Each is greater
/// than all ids that the app generated before, so jobs sorted by generated id are sorted
/// by the time at which they were scheduled.
///
/// Cloning is cheap: it allocates nothing.
///
/// ```
/// use jobber::JobId;
///
/// let named = JobId::from("nightly-report");
/// assert_eq!(named, "nightly-report");
/// assert_eq!(named.to_string(), "nightly-report");
///
/// let generated = JobId::from("01902a5e-7c4b-7d10-8a3e-0123456789ab");
/// assert!(generated < JobId::from("01902a5e-7c4c-7000-8000-000000000000"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Repr);

/// A UUID is stored as 128 bits, and its text is written when it is needed.
///
/// Every job holds an id, so `Repr` must not exceed 16 bytes. The low half of a UUID
/// is therefore `NonZeroU64`, and the value 0 marks the variant `Name`. A UUID whose low
/// half is 0 is stored as a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Repr {
    Uuid(u64, NonZeroU64),
    // A thin pointer. A fat pointer would make `Repr` larger.
    Name(Arc<Name>),
}

/// An id that is not a UUID.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    Text(Box<str>),
    /// The key of a row that is not a text. Never equal to a text.
    #[cfg(feature = "sqlite")]
    Raw {
        key: RawKey,
        /// What is shown for it.
        text: Box<str>,
    },
}

/// The key of a stored row that is not a text: another program has written it. It is kept as
/// it is, so that two rows are two ids, and each can be deleted.
#[cfg(feature = "sqlite")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RawKey {
    Null,
    Integer(i64),
    /// The bits of a number.
    Real(u64),
    /// Bytes that are marked as a text, and are not UTF-8.
    Text(Box<[u8]>),
    Blob(Box<[u8]>),
}

/// Shows a key as SQL would write it.
#[cfg(feature = "sqlite")]
impl fmt::Display for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_BYTES: usize = 40;
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            f.write_str("x'")?;
            for byte in bytes.iter().take(MAX_BYTES) {
                write!(f, "{byte:02x}")?;
            }
            f.write_str(if bytes.len() > MAX_BYTES { "…'" } else { "'" })
        };
        match self {
            RawKey::Null => f.write_str("NULL"),
            RawKey::Integer(number) => write!(f, "{number}"),
            RawKey::Real(bits) => write!(f, "{}", f64::from_bits(*bits)),
            RawKey::Blob(bytes) => hex(f, bytes),
            RawKey::Text(bytes) => {
                f.write_str("CAST(")?;
                hex(f, bytes)?;
                f.write_str(" AS TEXT)")
            }
        }
    }
}

/// A UUID is hashed as one number. Derived, the hash is of three, and takes half as long
/// again; the writer hashes one id for each message (the row W9 of `benches/peers`).
impl Hash for Repr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Repr::Uuid(high, low) => (u128::from(*high) << 64 | u128::from(low.get())).hash(state),
            Repr::Name(name) => name.hash(state),
        }
    }
}

/// The variant bits of RFC 9562, at their place in the low half.
const VARIANT: NonZeroU64 = NonZeroU64::MIN.saturating_add((0b10 << 62) - 1);

const UUID_TEXT_BYTES: usize = 36;

/// Whether the text of a UUID has a dash before the byte with this index.
fn dash_before(byte: usize) -> bool {
    matches!(byte, 4 | 6 | 8 | 10)
}

impl JobId {
    /// Creates the id of the job in table slot `slot`.
    ///
    /// `stamp` is the time in units of 2^-12 milliseconds (RFC 9562, section 6.2, method
    /// 3). The caller must never use a stamp twice in one app, which makes the id unique
    /// in the app. The lowest 30 bits of `random` distinguish apps that share a clock.
    /// `slot` is stored in bits that version 7 leaves free, so that a job can be found by
    /// its id without an index of all ids.
    pub(crate) fn generated(stamp: u64, slot: u32, random: u32) -> Self {
        let high = ((stamp >> 12) << 16) | 0x7000 | (stamp & 0xfff);
        let low = (u64::from(random & 0x3fff_ffff) << 32) | u64::from(slot);
        Self(Repr::Uuid(high, VARIANT | low))
    }

    /// The table slot in a generated id. For a UUID that no app generated it is an
    /// arbitrary number, so the caller must compare the whole id with the slot's.
    pub(crate) fn slot_hint(&self) -> Option<u32> {
        match &self.0 {
            Repr::Uuid(_, low) => Some(low.get() as u32),
            Repr::Name(_) => None,
        }
    }

    /// The stamp of a UUID version 7. `None` for every other id.
    pub(crate) fn stamp(&self) -> Option<u64> {
        let Repr::Uuid(high, _) = self.0 else {
            return None;
        };
        (high & 0xf000 == 0x7000).then_some(high >> 16 << 12 | high & 0xfff)
    }

    /// The id of a row whose key is not a text.
    #[cfg(feature = "sqlite")]
    pub(crate) fn of_raw(key: RawKey) -> Self {
        let text = key.to_string().into();
        Self(Repr::Name(Arc::new(Name::Raw { key, text })))
    }

    /// The key, if it is not a text.
    #[cfg(feature = "sqlite")]
    pub(crate) fn raw(&self) -> Option<&RawKey> {
        match &self.0 {
            Repr::Name(name) => match &**name {
                Name::Raw { key, .. } => Some(key),
                Name::Text(_) => None,
            },
            Repr::Uuid(..) => None,
        }
    }

    /// Whether the id is a text, and not the key of a row that is none.
    pub(crate) fn is_text(&self) -> bool {
        #[cfg(feature = "sqlite")]
        return self.raw().is_none();
        #[cfg(not(feature = "sqlite"))]
        true
    }

    /// Calls `f` with the text of the id. Does not allocate. If the id is not a text, `f`
    /// gets one that shows it.
    pub(crate) fn with_text<T>(&self, f: impl FnOnce(&str) -> T) -> T {
        match &self.0 {
            Repr::Name(name) => match &**name {
                Name::Text(text) => f(text),
                #[cfg(feature = "sqlite")]
                Name::Raw { text, .. } => f(text),
            },
            Repr::Uuid(high, low) => {
                let bytes = (u128::from(*high) << 64 | u128::from(low.get())).to_be_bytes();
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let mut text = [b'-'; UUID_TEXT_BYTES];
                let mut at = 0;
                for (i, byte) in bytes.iter().enumerate() {
                    at += usize::from(dash_before(i));
                    text[at] = HEX[usize::from(byte >> 4)];
                    text[at + 1] = HEX[usize::from(byte & 0xf)];
                    at += 2;
                }
                // The text is ASCII, so `from_utf8` cannot fail.
                f(std::str::from_utf8(&text).unwrap_or_default())
            }
        }
    }
}

/// Parses the canonical form of a UUID: lower case, with dashes.
///
/// Returns `None` for any other spelling, which is a different string and therefore a
/// different id. Also returns `None` for a UUID whose low half is 0 (see [`Repr`]).
fn parse_uuid(text: &str) -> Option<Repr> {
    let text: &[u8; UUID_TEXT_BYTES] = text.as_bytes().try_into().ok()?;
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    let mut at = 0;
    for (i, byte) in bytes.iter_mut().enumerate() {
        if dash_before(i) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        *byte = digit(text[at])? << 4 | digit(text[at + 1])?;
        at += 2;
    }
    let bits = u128::from_be_bytes(bytes);
    Some(Repr::Uuid(
        (bits >> 64) as u64,
        NonZeroU64::new(bits as u64)?,
    ))
}

impl From<&str> for JobId {
    /// Accepts any text. Scheduling a job checks the id and returns
    /// [`ScheduleError::InvalidId`](crate::ScheduleError::InvalidId) if it is empty, has
    /// more than 1,024 bytes, or contains a control character.
    fn from(text: &str) -> Self {
        match parse_uuid(text) {
            Some(uuid) => Self(uuid),
            None => Self(Repr::Name(Arc::new(Name::Text(text.into())))),
        }
    }
}

impl From<String> for JobId {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for JobId {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&JobId> for JobId {
    fn from(id: &JobId) -> Self {
        id.clone()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.with_text(str::to_owned)
    }
}

/// Serializes the id as its text.
#[cfg(feature = "serde")]
impl serde::Serialize for JobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for JobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl PartialEq<str> for JobId {
    fn eq(&self, other: &str) -> bool {
        self.is_text() && self.with_text(|text| text == other)
    }
}

impl PartialEq<&str> for JobId {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// Escapes control characters: a file that another program has changed may hold any. The id
/// of a job that was scheduled has none.
impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| {
            if text.contains(char::is_control) {
                return f.pad(&Escaped(text).to_string());
            }
            f.pad(text)
        })
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| fmt::Debug::fmt(text, f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_is_a_uuid_version_7_that_starts_with_its_milliseconds() {
        let millis: u64 = 0x0190_2a5e_7c4b;
        let text = JobId::generated(millis << 12 | 0xabc, 7, u32::MAX).to_string();
        assert_eq!(text, "01902a5e-7c4b-7abc-bfff-ffff00000007");
    }

    #[test]
    fn the_text_of_a_generated_id_parses_to_the_same_id() {
        let id = JobId::generated(123 << 12, 42, 0x1234_5678);
        assert_eq!(JobId::from(id.to_string()), id);
        assert_eq!(id.slot_hint(), Some(42));
        assert_eq!(id.stamp(), Some(123 << 12));
        assert_eq!(JobId::from("a name").stamp(), None);
    }

    #[test]
    fn two_spellings_of_one_uuid_are_two_ids() {
        let id = JobId::generated(0xabcdef << 12, 42, 1);
        let upper = id.to_string().to_uppercase();
        assert_ne!(JobId::from(upper.as_str()), id);
        assert_eq!(JobId::from(upper.as_str()), upper.as_str());
        assert_ne!(JobId::from(id.to_string().replace('-', "0")), id);
    }

    #[test]
    fn a_uuid_whose_low_half_is_zero_is_a_valid_id() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "01902a5e-7c4b-7abc-0000-000000000000",
        ] {
            let id = JobId::from(text);
            assert_eq!((id.to_string(), id.slot_hint()), (text.to_string(), None));
            assert_eq!(id, JobId::from(text.to_string()));
        }
    }

    #[test]
    fn an_id_is_16_bytes_large() {
        assert_eq!(size_of::<JobId>(), 16);
    }

    #[test]
    fn generated_ids_sort_by_stamp() {
        let earlier = JobId::generated(10, u32::MAX, u32::MAX);
        let later = JobId::generated(11, 0, 0);
        assert!(earlier < later && earlier.to_string() < later.to_string());
    }
}
