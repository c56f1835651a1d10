//! How data looks: tables, JSON, templates, sizes and times for people.

pub(crate) mod human;
pub(crate) mod listing;
pub(crate) mod progress;
pub(crate) mod table;
