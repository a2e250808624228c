//! [`Codec`]: how the values of durable tasks are stored.

#[cfg(feature = "serde")]
use serde::Serialize;
#[cfg(feature = "serde")]
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::sync::primitives::Arc;
use crate::value::encoded::Encoded;
use crate::value::error::BoxError;
use crate::value::escaped::Escaped;

/// The longest name of a codec, in bytes.
#[cfg(feature = "serde")]
const MAX_NAME_BYTES: usize = 64;

/// How the arguments and the checkpoints of durable tasks are stored, if not as JSON: encrypted,
/// compressed, or in a binary format. [`TaskBuilder::codec`](crate::TaskBuilder::codec) and
/// [`JobberBuilder::codec`](crate::JobberBuilder::codec) take one.
///
/// A stored value names its codec, and is read by the codec of that name or as JSON. So a task can
/// get a codec later: what is stored already is read as before. The other way round, a job
/// whose codec its task does not have is [unresolved](crate::Jobber::unresolved), and is not lost. Give
/// another format another name; what changes more often, such as the number of a key, belongs into the
/// bytes.
///
/// It is called where the values are: `encode` on the thread that schedules, `decode` on one of the
/// executor, and on the store's thread at the start. A panic in `decode` is an error.
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
    /// The name, which is stored with each value: 1 to 64 bytes, and not `json`.
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
pub(crate) type SharedCodec = Arc<dyn Codec>;

/// Without serde there is no codec.
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

/// Two function pointers. They are made where the serde bounds of the arguments are
/// known, and used where they are not.
pub(crate) struct ArgsCodec<A> {
    encode: fn(Option<&SharedCodec>, &A) -> Result<Encoded, BoxError>,
    decode: fn(Option<&SharedCodec>, &Encoded) -> Result<A, DecodeError>,
}

#[cfg(feature = "serde")]
impl<A: Serialize + DeserializeOwned> ArgsCodec<A> {
    pub(crate) fn new() -> Self {
        Self {
            encode: encode::<A>,
            decode: decode::<A>,
        }
    }
}

impl<A> ArgsCodec<A> {
    /// Returns these arguments as they are stored, after a check that they can be decoded.
    ///
    /// Some values can be written as JSON and not be read again: a NaN is written as
    /// `null`. The caller must learn that now, and not after a crash.
    pub(crate) fn encode(&self, own: Option<&SharedCodec>, args: &A) -> Result<Encoded, BoxError> {
        let value = (self.encode)(own, args)?;
        self.decode(own, &value)?;
        Ok(value)
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
    Ok(match own {
        None => Encoded::from(serde_json::to_string(value)?),
        Some(codec) => Encoded::Other {
            codec: codec.name().into(),
            bytes: codec.encode(Encoder(&value))?.into(),
        },
    })
}

#[cfg(feature = "serde")]
pub(crate) fn decode<T>(own: Option<&SharedCodec>, value: &Encoded) -> Result<T, DecodeError>
where
    T: DeserializeOwned,
{
    let (codec, bytes) = match value {
        Encoded::Json(text) => {
            return serde_json::from_str(text).map_err(|error| DecodeError::Invalid(error.into()));
        }
        Encoded::Other { codec, bytes } => (codec, bytes),
    };
    let Some(own) = own.filter(|own| own.name() == &**codec) else {
        return Err(DecodeError::OtherCodec {
            found: codec.clone(),
            own: own.map(|own| own.name().into()),
        });
    };
    let mut read = None;
    let decoded = own.decode(
        bytes,
        Decoder(&mut |deserializer| {
            read = Some(erased_serde::deserialize(deserializer)?);
            Ok(())
        }),
    );
    decoded.map_err(DecodeError::Invalid)?;
    read.ok_or_else(|| DecodeError::Invalid("the codec has read no value".into()))
}

/// Whether a codec may have this name.
#[cfg(feature = "serde")]
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name != "json"
}
