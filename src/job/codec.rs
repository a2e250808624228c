//! [`Codec`]: how a task's arguments become text and are read back.

use crate::value::error::BoxError;

/// Two functions, captured where the type of the arguments and its serde bounds
/// are known.
pub(crate) struct Codec<A> {
    encode: fn(&A) -> Result<String, BoxError>,
    decode: fn(&str) -> Result<A, BoxError>,
}

#[cfg(feature = "serde")]
impl<A: serde::Serialize + serde::de::DeserializeOwned> Codec<A> {
    /// JSON, which a person can read in the store.
    pub(crate) fn json() -> Self {
        Self {
            encode: |args| Ok(serde_json::to_string(args)?),
            decode: |text| Ok(serde_json::from_str(text)?),
        }
    }
}

impl<A> Codec<A> {
    /// The text of these arguments, which is sure to be read back: some that
    /// become JSON are not (a NaN becomes `null`), and a job that is found out
    /// about after a crash can't be mended.
    pub(crate) fn encode(&self, args: &A) -> Result<String, BoxError> {
        let text = (self.encode)(args)?;
        self.decode(&text)?;
        Ok(text)
    }

    pub(crate) fn decode(&self, text: &str) -> Result<A, BoxError> {
        (self.decode)(text)
    }
}
