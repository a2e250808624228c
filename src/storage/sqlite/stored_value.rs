//! [`Stored`]: an encoded value as a column of a row.

use std::str::from_utf8;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use crate::value::encoded::{Encoded, is_codec_name};

/// A stored value, as a parameter of a statement: a text if it is JSON, and else a blob.
pub(crate) struct Stored<'a>(pub(crate) &'a Encoded);

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let bytes = self.0.bytes();
        Ok(ToSqlOutput::Borrowed(match self.0.codec() {
            None => ValueRef::Text(bytes),
            Some(_) => ValueRef::Blob(bytes),
        }))
    }
}

/// Reads a stored value. `codec`: the column with the name of its codec, `NULL` for JSON.
pub(crate) fn stored(
    column: &str,
    value: ValueRef<'_>,
    (codec_column, codec): (&str, ValueRef<'_>),
) -> Result<Encoded, String> {
    let Some(codec) = optional(codec, |codec| text(codec_column, codec))? else {
        return text(column, value).map(Encoded::from);
    };
    if !is_codec_name(codec) {
        return Err(format!("{codec_column} is not the name of a codec"));
    }
    match value {
        ValueRef::Blob(bytes) => Ok(Encoded::other(codec, bytes)),
        other => Err(format!(
            "{column} is not a blob of a codec, but {}",
            other.data_type()
        )),
    }
}

/// `NULL` is `None`.
pub(crate) fn optional<'a, T>(
    value: ValueRef<'a>,
    read: impl FnOnce(ValueRef<'a>) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match value {
        ValueRef::Null => Ok(None),
        value => read(value).map(Some),
    }
}

pub(crate) fn text<'a>(column: &str, value: ValueRef<'a>) -> Result<&'a str, String> {
    match value {
        ValueRef::Text(bytes) => {
            from_utf8(bytes).map_err(|error| format!("{column} is not a valid text: {error}"))
        }
        other => Err(format!("{column} is not a text, but {}", other.data_type())),
    }
}
