//! Cron expressions: parsing, the next time, a description in words.

pub(crate) mod bit_set;
pub(crate) mod days;
pub(crate) mod describe;
pub(crate) mod expression;
pub(crate) mod fields;
pub(crate) mod into_cron;
pub(crate) mod parse;
pub(crate) mod syntax;
pub(crate) mod times_of_day;
pub(crate) mod wall;
pub(crate) mod zoned;
