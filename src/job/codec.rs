//! [`Codec`]: converts the arguments of a task to text, or text to arguments.

use crate::value::error::BoxError;

/// Two function pointers. They are made where the serde bounds of the arguments are
/// known, and used where they are not.
pub(crate) struct Codec<A> {
    encode: fn(&A) -> Result<String, BoxError>,
    decode: fn(&str) -> Result<A, BoxError>,
}

#[cfg(feature = "serde")]
impl<A: serde::Serialize + serde::de::DeserializeOwned> Codec<A> {
    /// Uses JSON, because a person can read it in the store.
    pub(crate) fn json() -> Self {
        Self {
            encode: |args| Ok(serde_json::to_string(args)?),
            decode: |text| Ok(serde_json::from_str(text)?),
        }
    }
}

impl<A> Codec<A> {
    /// Returns the text of these arguments, after a check that it can be decoded.
    ///
    /// Some values can be written as JSON and not be read again: a NaN is written as
    /// `null`. The caller must learn that now, and not after a crash.
    pub(crate) fn encode(&self, args: &A) -> Result<String, BoxError> {
        let text = (self.encode)(args)?;
        self.decode(&text)?;
        Ok(text)
    }

    pub(crate) fn decode(&self, text: &str) -> Result<A, BoxError> {
        (self.decode)(text)
    }
}
