//! Documents for programs.

use std::io;

use serde::Serialize;

use super::human::print_line;

/// Prints one document to stdout.
pub(crate) fn print(document: &impl Serialize) -> io::Result<()> {
    print_line(&serde_json::to_string_pretty(document)?)
}
