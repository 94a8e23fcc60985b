//! How results, errors and progress look. Data goes to stdout, everything else to stderr.

mod events;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod progress;
