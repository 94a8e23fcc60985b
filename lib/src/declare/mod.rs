//! Reads the declarations of a root: links, unit files, quadlet keys, specifiers.
//!
//! Nothing but the root is read: no store, no network, no host. Every fault of every
//! declaration is found in one run.

mod links;
mod merge;
mod quadlet;
mod reference;
mod unit_file;
mod value;

pub use links::{LINKS_DIRECTORY, read};
