//! Where credentials come from; never what they are.

use std::fmt;

use camino::Utf8PathBuf;

/// Where the credentials for an image come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthSource {
    /// There are none.
    Anonymous,
    /// A file in one of the two roots.
    File(AuthFile),
    /// It cannot be told; says why.
    Unavailable(String),
}

/// An auth file that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFile {
    /// The root that holds it.
    pub held_by: RootRole,
    /// Its path inside that root.
    pub inside: Utf8PathBuf,
    /// Its path as seen by the operator.
    pub outside: Utf8PathBuf,
}

/// Which of the two roots in which files are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootRole {
    /// The root whose declarations are read.
    New,
    /// The root of the running system.
    Current,
}

impl fmt::Display for AuthSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => formatter.write_str("anonymous"),
            Self::File(file) => write!(formatter, "{}", file.outside),
            Self::Unavailable(reason) => write!(formatter, "unavailable: {reason}"),
        }
    }
}
