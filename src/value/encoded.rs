//! [`Encoded`]: a stored value, as its codec has written it.

use std::hash::{DefaultHasher, Hash, Hasher};

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::sync::primitives::Arc;

/// A stored value: arguments, or a checkpoint.
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Shown", into = "Shown"))]
pub(crate) enum Encoded {
    /// JSON, which a person can read.
    Json(Arc<str>),
    /// In a box of its own: few jobs have one, and each definition has room for it.
    Other(Arc<Other>),
}

/// A value that a codec has written.
#[derive(Clone)]
pub(crate) struct Other {
    /// The name of the codec.
    pub(crate) codec: Arc<str>,
    pub(crate) bytes: Box<[u8]>,
    /// The digest of the value as JSON, if this process has seen it. It is not stored.
    plain: Option<u64>,
}

impl Encoded {
    /// `codec`: the name of the codec that has written these bytes.
    pub(crate) fn other(codec: impl Into<Arc<str>>, bytes: impl Into<Box<[u8]>>) -> Self {
        Encoded::Other(Arc::new(Other {
            codec: codec.into(),
            bytes: bytes.into(),
            plain: None,
        }))
    }

    /// Whether both are the same value. A codec that encrypts may write the same value in two ways.
    pub(crate) fn is_same_value(&self, other: &Self) -> bool {
        let plain = |value: &Self| match value {
            Encoded::Json(json) => Some(digest(json)),
            Encoded::Other(other) => other.plain,
        };
        self == other || plain(self).is_some() && plain(self) == plain(other)
    }

    /// Notes what the value is as JSON.
    pub(crate) fn set_plain(&mut self, json: &str) {
        if let Encoded::Other(other) = self {
            Arc::make_mut(other).plain = Some(digest(json));
        }
    }

    /// The name of the codec. `None` for JSON.
    pub(crate) fn codec(&self) -> Option<&str> {
        match self {
            Encoded::Json(_) => None,
            Encoded::Other(other) => Some(&other.codec),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Encoded::Json(text) => text.as_bytes(),
            Encoded::Other(other) => &other.bytes,
        }
    }

    pub(crate) fn json(&self) -> Option<&Arc<str>> {
        match self {
            Encoded::Json(text) => Some(text),
            Encoded::Other(_) => None,
        }
    }
}

impl PartialEq for Encoded {
    /// Whether the store has the same for both.
    fn eq(&self, other: &Self) -> bool {
        (self.codec(), self.bytes()) == (other.codec(), other.bytes())
    }
}

/// The longest name of a codec, in bytes.
#[cfg(feature = "serde")]
const MAX_CODEC_NAME_BYTES: usize = 64;

/// Whether a codec may have this name.
#[cfg(feature = "serde")]
pub(crate) fn is_codec_name(name: &str) -> bool {
    (1..=MAX_CODEC_NAME_BYTES).contains(&name.len())
        && name != "json"
        && !name.contains(char::is_control)
}

/// The same for each text in one process.
fn digest(json: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    json.hash(&mut hasher);
    hasher.finish()
}

impl std::fmt::Debug for Encoded {
    /// Not the bytes: another codec may have encrypted them, and they are of no use in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Encoded::Json(text) => text.fmt(f),
            Encoded::Other(other) => {
                write!(f, "{} bytes of {:?}", other.bytes.len(), other.codec)
            }
        }
    }
}

impl<T: Into<Arc<str>>> From<T> for Encoded {
    /// JSON.
    fn from(json: T) -> Self {
        Encoded::Json(json.into())
    }
}

/// As it stands in JSON: a text, or an object with the bytes in hexadecimal digits.
#[cfg(feature = "serde")]
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shown {
    Json(Arc<str>),
    Other { codec: Arc<str>, hex: String },
}

#[cfg(feature = "serde")]
impl From<Encoded> for Shown {
    fn from(value: Encoded) -> Self {
        match value {
            Encoded::Json(text) => Shown::Json(text),
            Encoded::Other(other) => Shown::Other {
                codec: other.codec.clone(),
                hex: other
                    .bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            },
        }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Shown> for Encoded {
    type Error = &'static str;

    fn try_from(shown: Shown) -> Result<Self, &'static str> {
        let (codec, hex) = match shown {
            Shown::Json(text) => return Ok(Encoded::Json(text)),
            Shown::Other { codec, hex } => (codec, hex),
        };
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
            _ => None,
        };
        let bytes = hex.as_bytes().chunks(2).map(byte).collect::<Option<_>>();
        let bytes: Vec<u8> = bytes.ok_or("it is not an even number of hexadecimal digits")?;
        Ok(Encoded::other(codec, bytes))
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_after_a_way_through_json() {
        let other = |bytes: &[u8]| Encoded::other("x", bytes);
        for value in [
            Encoded::from("{\"a\": 1}"),
            Encoded::from(""),
            other(&[]),
            other(&[0, 15, 16, 255]),
        ] {
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Encoded>(&json).unwrap(), value);
        }
    }

    #[test]
    fn what_is_not_hexadecimal_is_an_error() {
        for hex in ["0", "0g", "000", "é", "é0", "+1"] {
            let json = format!(r#"{{"codec": "x", "hex": "{hex}"}}"#);
            assert!(serde_json::from_str::<Encoded>(&json).is_err(), "{hex}");
        }
    }
}
