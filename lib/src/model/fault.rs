//! Errors that a caller branches on. `cli/src/exit.rs` alone turns them into exit codes.

use std::fmt;

use camino::Utf8PathBuf;

/// What kind of failure a [`Fault`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A declaration is invalid.
    Declaration,
    /// Authentication was refused, or an auth file is missing or malformed.
    Auth,
    /// The registry cannot be reached or fails; trying again later may help.
    Registry,
    /// Not enough space.
    Space,
    /// Content does not match its digest or signature, or is damaged.
    Integrity,
    /// Another run holds the lock.
    Locked,
    /// A needed tool or privilege is missing.
    Prerequisite,
    /// No such image or tag.
    NotFound,
    /// The operator or the system ended the run.
    Interrupted,
    /// Anything else.
    Other,
}

/// A failure with a known kind and a message for a person: thing, cause, way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of failure it is.
    pub kind: FaultKind,
    /// One line, lowercase, without a full stop.
    pub message: String,
}

impl Fault {
    /// A fault of `kind` that says `message`.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The kind of the first fault in an error's chain, [`FaultKind::Other`] when there is none.
    pub fn kind_of(error: &anyhow::Error) -> FaultKind {
        if error.downcast_ref::<InvalidDeclarations>().is_some() {
            return FaultKind::Declaration;
        }
        error
            .downcast_ref::<Self>()
            .map_or(FaultKind::Other, |fault| fault.kind)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// One thing that is wrong with one declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclarationFault {
    /// Name of the link, as far as it can be shown.
    pub link: String,
    /// The file that it leads to, an absolute path inside the root; none when it leads nowhere.
    pub file: Option<Utf8PathBuf>,
    /// Line in the file, counted from 1; none when the whole file is at fault.
    pub line: Option<u32>,
    /// What is wrong, and the way out where it is not plain.
    pub problem: String,
}

impl fmt::Display for DeclarationFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bound-images.d/{}", self.link)?;
        if let Some(file) = &self.file {
            write!(formatter, " -> {file}")?;
        }
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.problem)
    }
}

/// Every fault of a root's declarations, in the order of the links' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidDeclarations {
    /// The root, as the caller named it.
    pub root: Utf8PathBuf,
    /// At least one fault.
    pub faults: Vec<DeclarationFault>,
}

impl fmt::Display for InvalidDeclarations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(
            formatter,
            "{count} invalid declaration{plural} in {}",
            self.root
        )?;
        for fault in &self.faults {
            write!(formatter, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidDeclarations {}
