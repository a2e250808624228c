//! [`Codec`]: how the values of durable tasks are stored.

#[cfg(feature = "serde")]
use serde::Serialize;
#[cfg(feature = "serde")]
use serde::de::DeserializeOwned;
use thiserror::Error;

#[cfg(feature = "serde")]
use crate::sync::panics::catch_panic;
use crate::sync::primitives::Arc;
use crate::value::encoded::Encoded;
#[cfg(feature = "serde")]
use crate::value::encoded::is_codec_name;
use crate::value::error::BoxError;
use crate::value::escaped::Escaped;

/// How the arguments and the checkpoints of durable tasks are stored, if not as JSON: encrypted,
/// compressed, or in a binary format. [`TaskBuilder::codec`](crate::TaskBuilder::codec) and
/// [`JobberBuilder::codec`](crate::JobberBuilder::codec) take one.
///
/// Each stored value names its codec. A task reads the values of its codec, and JSON: so a codec can be
/// added later. If the task does not have the codec of a stored job, the job is
/// [unresolved](crate::Jobber::unresolved), and stays in the store. Change the name if you change the
/// format. What changes more often, such as the number of a key, belongs in the bytes.
///
/// It is called on the thread that has the value: a caller that schedules, sets a checkpoint or
/// registers a task; the executor before an attempt; the store's thread at the start. A panic is an
/// error. If a value can't be read, the error of serde may quote a part of it, and the list of unresolved
/// jobs shows that.
///
/// ```
/// use jobber::{BoxError, Codec, Decoder, Encoder, Jobber, MemoryStorage};
///
/// /// JSON that nobody reads by accident. (No encryption.)
/// struct Veiled;
///
/// impl Codec for Veiled {
///     fn name(&self) -> &str {
///         "veiled"
///     }
///
///     fn encode(&self, value: Encoder<'_>) -> Result<Vec<u8>, BoxError> {
///         let json = serde_json::to_vec(&value)?;
///         Ok(json.iter().map(|byte| byte ^ 0x55).collect())
///     }
///
///     fn decode(&self, bytes: &[u8], value: Decoder<'_>) -> Result<(), BoxError> {
///         let json: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x55).collect();
///         value.read(&mut serde_json::Deserializer::from_slice(&json))
///     }
/// }
///
/// let app = Jobber::builder().storage(MemoryStorage::new()).codec(Veiled).build()?;
/// # app.task("mail", async |to: String| println!("mail to {to}")).durable().register()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "serde")]
pub trait Codec: Send + Sync + 'static {
    /// The name, which is stored with each value: 1 to 64 bytes without control characters, and not
    /// `json`. It is read once.
    fn name(&self) -> &str;

    /// Writes a value.
    ///
    /// # Errors
    /// Scheduling the job returns it, or setting the checkpoint.
    fn encode(&self, value: Encoder<'_>) -> Result<Vec<u8>, BoxError>;

    /// Reads what [`encode`](Codec::encode) has written: makes a deserializer of it, and calls
    /// [`Decoder::read`].
    ///
    /// # Errors
    /// The job is unresolved, or the checkpoint can't be read.
    fn decode(&self, bytes: &[u8], value: Decoder<'_>) -> Result<(), BoxError>;
}

/// The value that a [`Codec`] writes: it implements [`Serialize`].
#[cfg(feature = "serde")]
#[derive(Clone, Copy)]
pub struct Encoder<'a>(&'a dyn erased_serde::Serialize);

#[cfg(feature = "serde")]
impl Serialize for Encoder<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        erased_serde::serialize(self.0, serializer)
    }
}

#[cfg(feature = "serde")]
impl std::fmt::Debug for Encoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder(..)")
    }
}

/// The value that a [`Codec`] reads.
#[cfg(feature = "serde")]
#[must_use = "the value is not read until `read` is called"]
pub struct Decoder<'a>(&'a mut Read<'a>);

#[cfg(feature = "serde")]
type Read<'a> = dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), BoxError> + 'a;

#[cfg(feature = "serde")]
impl Decoder<'_> {
    /// Reads the value from this deserializer.
    ///
    /// # Errors
    /// The error of the deserializer, as text.
    pub fn read<'de, D>(self, deserializer: D) -> Result<(), BoxError>
    where
        D: serde::Deserializer<'de>,
    {
        (self.0)(&mut <dyn erased_serde::Deserializer<'_>>::erase(
            deserializer,
        ))
    }
}

#[cfg(feature = "serde")]
impl std::fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder(..)")
    }
}

/// The codec of a task, unless that is JSON.
#[cfg(feature = "serde")]
#[derive(Clone)]
pub(crate) struct SharedCodec {
    pub(crate) name: Arc<str>,
    codec: Arc<dyn Codec>,
}

#[cfg(feature = "serde")]
impl SharedCodec {
    pub(crate) fn new(codec: impl Codec) -> Self {
        Self {
            name: codec.name().into(),
            codec: Arc::new(codec),
        }
    }

    pub(crate) fn has_valid_name(&self) -> bool {
        is_codec_name(&self.name)
    }
}

/// Without the feature `serde`, no task has a codec.
#[cfg(not(feature = "serde"))]
#[derive(Clone)]
pub(crate) enum SharedCodec {}

/// Why a stored value can't be read.
#[derive(Debug, Error)]
pub(crate) enum DecodeError {
    #[error(
        "it was written by the codec `{}`, and {}",
        Escaped(.found),
        .own.as_ref().map_or("the task has none".into(), |own| format!("the task has the codec `{own}`"))
    )]
    OtherCodec {
        found: Arc<str>,
        own: Option<Arc<str>>,
    },
    #[error("{0}")]
    Invalid(BoxError),
}

/// Function pointers. They are made where the serde bounds of the arguments are
/// known, and used where they are not.
pub(crate) struct ArgsCodec<A> {
    encode: fn(Option<&SharedCodec>, &A) -> Result<Encoded, BoxError>,
    decode: fn(Option<&SharedCodec>, &Encoded) -> Result<A, DecodeError>,
    json: fn(&A) -> Option<String>,
}

#[cfg(feature = "serde")]
impl<A: Serialize + DeserializeOwned> ArgsCodec<A> {
    pub(crate) fn new() -> Self {
        Self {
            encode: encode::<A>,
            decode: decode::<A>,
            json: |args| serde_json::to_string(args).ok(),
        }
    }
}

impl<A> ArgsCodec<A> {
    /// Returns these arguments as they are stored, after a check that they can be decoded.
    ///
    /// Some values can be written as JSON and not be read again: a NaN is written as
    /// `null`. The caller must learn that now, and not after a crash.
    pub(crate) fn encode(&self, own: Option<&SharedCodec>, args: &A) -> Result<Encoded, BoxError> {
        let mut value = (self.encode)(own, args)?;
        self.decode(own, &value)?;
        self.note_plain(args, &mut value);
        Ok(value)
    }

    /// Notes what these arguments, which are stored as `value`, are as JSON: so that they can be compared.
    pub(crate) fn note_plain(&self, args: &A, value: &mut Encoded) {
        if value.codec().is_some()
            && let Some(json) = (self.json)(args)
        {
            value.set_plain(&json);
        }
    }

    pub(crate) fn decode(
        &self,
        own: Option<&SharedCodec>,
        value: &Encoded,
    ) -> Result<A, DecodeError> {
        (self.decode)(own, value)
    }
}

/// Writes a value by this codec, or as JSON, which a person can read in the store.
#[cfg(feature = "serde")]
pub(crate) fn encode<T>(own: Option<&SharedCodec>, value: &T) -> Result<Encoded, BoxError>
where
    T: Serialize + ?Sized,
{
    let Some(own) = own else {
        return Ok(Encoded::from(serde_json::to_string(value)?));
    };
    let bytes = catch_panic(|| own.codec.encode(Encoder(&value)));
    let bytes = bytes.unwrap_or_else(|message| Err(message.to_string().into()))?;
    Ok(Encoded::other(own.name.clone(), bytes))
}

#[cfg(feature = "serde")]
pub(crate) fn decode<T>(own: Option<&SharedCodec>, value: &Encoded) -> Result<T, DecodeError>
where
    T: DeserializeOwned,
{
    let other = match value {
        Encoded::Json(text) => {
            return serde_json::from_str(text).map_err(|error| DecodeError::Invalid(error.into()));
        }
        Encoded::Other(other) => other,
    };
    let Some(own) = own.filter(|own| own.name == other.codec) else {
        return Err(DecodeError::OtherCodec {
            found: other.codec.clone(),
            own: own.map(|own| own.name.clone()),
        });
    };
    let mut read = None;
    let decoded = catch_panic(|| {
        let mut read = |deserializer: &mut dyn erased_serde::Deserializer<'_>| {
            read = Some(erased_serde::deserialize(deserializer)?);
            Ok(())
        };
        own.codec.decode(&other.bytes, Decoder(&mut read))
    });
    decoded
        .unwrap_or_else(|message| Err(message.to_string().into()))
        .map_err(DecodeError::Invalid)?;
    read.ok_or_else(|| DecodeError::Invalid("the codec has read no value".into()))
}
