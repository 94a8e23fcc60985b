//! What the end of podman or skopeo means: statuses, signals, and when it did not come by itself.

use std::io;

use rustix::io::Errno;

use super::classify::{PodmanFault, Retry, classify};
use crate::child::{ChildFault, Exit, Finished};
use crate::model::{Fault, FaultKind, ImageId};

/// Fails unless the program did what it was told.
pub(super) fn succeeded(finished: &Finished) -> Result<(), PodmanFault> {
    succeeded_for(finished, "")
}

/// `image` is the name that the program was given, which may be in its messages.
fn succeeded_for(finished: &Finished, image: &str) -> Result<(), PodmanFault> {
    match finished.exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(_) => Err(classify(&finished.stderr, image)),
        Exit::Signal(_) => Err(ended_early(finished.exit)),
    }
}

/// `image rm` exits with 1 when an image is not there, with 2 when a container uses it.
pub(super) fn removed(finished: &Finished) -> Result<(), PodmanFault> {
    match finished.exit {
        Exit::Code(1) => Ok(()),
        _ => succeeded(finished),
    }
}

/// Success is status 0 *and* an ID: podman 4 ends with 0 when it is told to stop.
pub(super) fn pulled_id(finished: &Finished, reference: &str) -> Result<ImageId, PodmanFault> {
    succeeded_for(finished, reference)?;
    let last_line = finished.stdout.lines().last().unwrap_or_default();
    last_line
        .trim()
        .parse()
        .map_err(|_| ended_early(finished.exit))
}

/// While it pulls, podman waits for nothing as long as for a registry.
pub(super) fn understand_pull(fault: &ChildFault) -> PodmanFault {
    let mut understood = understand_child("podman", fault);
    if matches!(fault, ChildFault::Stalled(_)) {
        understood.fault.kind = FaultKind::Registry;
        understood.retry = Retry::Worthwhile;
    }
    understood
}

/// What the failure of a program other than a pull means.
pub(super) fn understand_child(program: &str, fault: &ChildFault) -> PodmanFault {
    let (kind, message) = match fault {
        ChildFault::Missing(_) => (FaultKind::Prerequisite, fault.to_string()),
        ChildFault::Stalled(limit) => (
            FaultKind::Other,
            format!("{program} made no progress for {} s", limit.as_secs()),
        ),
        ChildFault::Interrupted => (FaultKind::Interrupted, fault.to_string()),
        ChildFault::Start(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => (
            FaultKind::Prerequisite,
            format!(
                "{program} could not be given a mount namespace of its own: {error}; \
                 CAP_SYS_ADMIN is needed"
            ),
        ),
        ChildFault::Start(error) | ChildFault::Io(error) => return understand_io(error),
    };
    PodmanFault {
        fault: Fault::new(kind, message),
        retry: Retry::Pointless,
    }
}

/// What a failure around a program means.
pub(super) fn understand_io(error: &io::Error) -> PodmanFault {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => FaultKind::Prerequisite,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Space,
        _ => FaultKind::Other,
    };
    PodmanFault {
        fault: Fault::new(kind, format!("running podman: {error}")),
        retry: Retry::Pointless,
    }
}

fn ended_early(exit: Exit) -> PodmanFault {
    let message = match exit {
        Exit::Code(0) => "podman was told to end before it had finished".to_owned(),
        Exit::Code(code) => format!("podman ended with status {code}"),
        Exit::Signal(signal) => format!("podman was killed by signal {signal}"),
    };
    PodmanFault {
        fault: Fault::new(FaultKind::Other, message),
        retry: Retry::Pointless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn finished(exit: Exit, stdout: &str, stderr: &str) -> Finished {
        Finished {
            exit,
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn status_zero_alone_is_no_success() {
        let id = "ab".repeat(32);
        for (run, want) in [
            (
                finished(Exit::Code(0), &format!("{id}\n"), ""),
                Ok(id.as_str()),
            ),
            (
                finished(Exit::Code(0), "", ""),
                Err("podman was told to end before it had finished"),
            ),
            (
                finished(Exit::Signal(9), "", ""),
                Err("podman was killed by signal 9"),
            ),
            (
                finished(Exit::Code(125), &format!("{id}\n"), "Error: EOF"),
                Err("EOF"),
            ),
        ] {
            let pulled = pulled_id(&run, "h/a");
            let pulled = pulled.as_ref().map(ImageId::as_str);
            assert_eq!(
                pulled.map_err(|fault| fault.fault.message.as_str()),
                want,
                "{run:?}"
            );
        }
    }

    #[test]
    fn a_removal_of_what_is_absent_is_done() {
        assert_eq!(removed(&finished(Exit::Code(0), "", "")), Ok(()));
        assert_eq!(
            removed(&finished(Exit::Code(1), "", "Error: absent")),
            Ok(())
        );
        for status in [2, 125] {
            assert!(removed(&finished(Exit::Code(status), "", "Error: x")).is_err());
        }
    }

    #[test]
    fn a_podman_that_cannot_start_or_go_on_says_what_is_known() {
        let errno = |errno: Errno| ChildFault::Start(errno.into());
        let second = Duration::from_secs(1);
        for (fault, kind, message) in [
            (
                errno(Errno::PERM),
                FaultKind::Prerequisite,
                "podman could not be given a mount namespace of its own: \
                 Operation not permitted (os error 1); CAP_SYS_ADMIN is needed",
            ),
            (
                errno(Errno::ACCESS),
                FaultKind::Prerequisite,
                "running podman: Permission denied (os error 13)",
            ),
            (
                ChildFault::Stalled(second),
                FaultKind::Other,
                "podman made no progress for 1 s",
            ),
        ] {
            assert_eq!(
                understand_child("podman", &fault).fault,
                Fault::new(kind, message)
            );
        }
        let stalled = understand_pull(&ChildFault::Stalled(second));
        assert_eq!(stalled.fault.kind, FaultKind::Registry);
        assert_eq!(stalled.retry, Retry::Worthwhile);
        assert_eq!(stalled.fault.message, "podman made no progress for 1 s");
    }
}
