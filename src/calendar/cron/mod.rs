//! Cron expressions: parsing, the next time, a description in words.

pub(crate) mod days;
pub(crate) mod describe;
pub(crate) mod expression;
pub(crate) mod fields;
pub(crate) mod parse;
pub(crate) mod wall;
pub(crate) mod zoned;
