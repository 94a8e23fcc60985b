//! Exit codes: the one place where failures become numbers.

use std::io;
use std::process::ExitCode;

use bound_images_lib::model::{Fault, FaultKind};

/// How the command ended. The same for all verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Any other error.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A declaration is invalid.
    Declaration = 10,
    /// Authentication was refused, or a named auth file is missing or malformed.
    Auth = 11,
    /// The registry is unreachable or failing.
    Registry = 12,
    /// Not enough space.
    Space = 13,
    /// Integrity or signature.
    Integrity = 14,
    /// Locked by another run.
    Locked = 15,
    /// A needed tool or privilege is missing.
    Prerequisite = 17,
    /// No such image or tag.
    NotFound = 18,
}

/// The codes, for `--help` and the man pages.
pub const HELP: &str = "\
Exit codes:
   0  done
   1  any other error
   2  usage
  10  a declaration is invalid
  11  authentication refused, or an auth file is missing or malformed
  12  registry unreachable or failing (worth a retry)
  13  not enough space
  14  integrity or signature
  15  locked by another run
  17  a needed tool or privilege is missing
  18  image or tag not found
When several images fail, the code is that of the gravest failure: the one
that waiting helps least, in the order 14 13 17 10 11 18 15 1 12.";

/// Gravest first.
const BY_GRAVITY: [Exit; 9] = [
    Exit::Integrity,
    Exit::Space,
    Exit::Prerequisite,
    Exit::Declaration,
    Exit::Auth,
    Exit::NotFound,
    Exit::Locked,
    Exit::Other,
    Exit::Registry,
];

impl Exit {
    /// The exit for one failure.
    pub fn of_error(error: &anyhow::Error) -> Self {
        match Fault::kind_of(error) {
            FaultKind::Declaration => Self::Declaration,
            FaultKind::Auth => Self::Auth,
            FaultKind::Registry => Self::Registry,
            FaultKind::Space => Self::Space,
            FaultKind::Integrity => Self::Integrity,
            FaultKind::Locked => Self::Locked,
            FaultKind::Prerequisite => Self::Prerequisite,
            FaultKind::NotFound => Self::NotFound,
            FaultKind::Interrupted => Self::Other,
            FaultKind::Other => of_io(error),
        }
    }

    /// The exit for several failures; done when there are none.
    pub fn of_worst<'a>(errors: impl IntoIterator<Item = &'a anyhow::Error>) -> Self {
        let exits: Vec<Self> = errors.into_iter().map(Self::of_error).collect();
        BY_GRAVITY
            .into_iter()
            .find(|exit| exits.contains(exit))
            .unwrap_or(Self::Done)
    }
}

/// A full disk or a missing privilege that no room has recognised.
fn of_io(error: &anyhow::Error) -> Exit {
    let kinds = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    for kind in kinds {
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => return Exit::Space,
            io::ErrorKind::PermissionDenied => return Exit::Prerequisite,
            _ => {}
        }
    }
    Exit::Other
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind) -> anyhow::Error {
        Fault::new(kind, "x").into()
    }

    #[test]
    fn the_gravest_failure_decides() {
        use FaultKind::{Auth, Integrity, NotFound, Registry};
        for (kinds, want) in [
            (&[][..], Exit::Done),
            (&[Registry], Exit::Registry),
            (&[Registry, NotFound], Exit::NotFound),
            (&[NotFound, Auth, Registry], Exit::Auth),
            (&[Auth, Integrity], Exit::Integrity),
        ] {
            let errors: Vec<_> = kinds.iter().map(|kind| fault(*kind)).collect();
            assert_eq!(Exit::of_worst(&errors), want, "{kinds:?}");
        }
    }

    #[test]
    fn causes_are_seen_through_their_context() {
        let wrapped = fault(FaultKind::Locked).context("while doing this");
        assert_eq!(Exit::of_error(&wrapped), Exit::Locked);
        let full = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(Exit::of_error(&full.context("writing")), Exit::Space);
    }

    #[test]
    fn the_help_lists_every_code() {
        for exit in BY_GRAVITY.into_iter().chain([Exit::Done, Exit::Usage]) {
            assert!(
                HELP.contains(&format!("\n  {:>2}  ", exit as u8)),
                "{exit:?}"
            );
        }
    }
}
