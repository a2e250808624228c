//! [`Labels`]: what a person has attached to a job.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::sync::primitives::Arc;
use crate::value::error::LabelError;

/// The most tags of a job, and the most notes.
pub(crate) const MOST: usize = 16;
/// The longest tag, and the longest key of a note, in bytes.
pub(crate) const MAX_TAG_BYTES: usize = 64;
/// The longest value of a note, in bytes.
pub(crate) const MAX_NOTE_BYTES: usize = 1_024;

/// The tags and notes of a job, each in the order in which it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct Labels {
    pub(crate) tags: Vec<Arc<str>>,
    pub(crate) notes: Vec<(Arc<str>, Arc<str>)>,
}

impl Labels {
    /// A tag that is there already is not added again.
    pub(crate) fn tag(&mut self, tag: Arc<str>) {
        if !self.tags.contains(&tag) {
            self.tags.push(tag);
        }
    }

    /// Replaces the note of the same key.
    pub(crate) fn note(&mut self, key: Arc<str>, value: Arc<str>) {
        match self.notes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => self.notes.push((key, value)),
        }
    }

    /// These, and those of `own`, which stand above.
    pub(crate) fn with(&self, own: &Self) -> Self {
        let mut all = self.clone();
        own.tags.iter().for_each(|tag| all.tag(tag.clone()));
        for (key, value) in &own.notes {
            all.note(key.clone(), value.clone());
        }
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.notes.is_empty()
    }

    pub(crate) fn check(&self) -> Result<(), LabelError> {
        for (what, found) in [("tags", self.tags.len()), ("notes", self.notes.len())] {
            if found > MOST {
                let max = MOST;
                return Err(LabelError::TooMany { what, found, max });
            }
        }
        self.tags
            .iter()
            .try_for_each(|tag| check("tag", tag, MAX_TAG_BYTES))?;
        self.notes.iter().try_for_each(|(key, value)| {
            check("key of a note", key, MAX_TAG_BYTES)?;
            check_characters("note", value, MAX_NOTE_BYTES)
        })
    }
}

fn check(what: &'static str, text: &str, max: usize) -> Result<(), LabelError> {
    if text.is_empty() {
        return Err(LabelError::Empty { what });
    }
    check_characters(what, text, max)
}

fn check_characters(what: &'static str, text: &str, max: usize) -> Result<(), LabelError> {
    if text.len() > max {
        let bytes = text.len();
        return Err(LabelError::TooLong { what, bytes, max });
    }
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(LabelError::ControlCharacter {
            what,
            text: text.into(),
            character,
        }),
        None => Ok(()),
    }
}
