//! One file a verb: its options, and the few lines that join library and output.

pub mod check;
pub mod list;
pub mod plan;
pub mod prune;
pub mod pull;

mod dispatch;

pub(crate) use dispatch::run;
