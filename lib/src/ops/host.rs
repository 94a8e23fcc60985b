//! What a verb is given of the machine that it runs on.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::Context;
use camino::Utf8PathBuf;
use cap_std_ext::cap_std::fs::Dir;

use crate::child::Interrupt;
use crate::model::{Event, Reporter};
use crate::record::Patience;
use crate::store::PodmanContext;

/// Directory of everything that belongs to bootc, below a sysroot.
const BOOTC_DIR: &str = "ostree/bootc";

/// The machine and the wishes that hold for every verb. Opened by the caller, who alone has
/// ambient authority.
pub struct Host<'a> {
    /// The sysroot, which holds the store; none where it does not exist.
    pub sysroot: Option<Dir>,
    /// Its path, for messages.
    pub sysroot_path: Utf8PathBuf,
    /// `/run`
    pub run: Dir,
    /// The environment; podman gets the few variables of it that it needs.
    pub environment: BTreeMap<String, String>,
    /// End a podman that makes no progress for so long.
    pub stall_limit: Duration,
    /// What to do when another run holds the lock.
    pub patience: Patience,
    /// Ends the run.
    pub interrupt: Interrupt,
    /// Is told what happens.
    pub reporter: &'a dyn Reporter,
}

impl Host<'_> {
    /// `SYSROOT/ostree/bootc`, for messages.
    pub(super) fn bootc_path(&self) -> Utf8PathBuf {
        self.sysroot_path.join(BOOTC_DIR)
    }

    /// Opens `SYSROOT/ostree/bootc`; `None` when it is not there.
    pub(super) fn open_bootc_dir_optional(&self) -> io::Result<Option<Dir>> {
        let Some(sysroot) = &self.sysroot else {
            self.warn(&format!(
                "there is no sysroot {}, so no store",
                self.sysroot_path
            ));
            return Ok(None);
        };
        match sysroot.open_dir(BOOTC_DIR) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The sysroot, for verbs that change it: a mistyped one must not pass for one without images.
    pub(super) fn existing_sysroot(&self) -> anyhow::Result<&Dir> {
        let path = &self.sysroot_path;
        let message =
            || format!("there is no sysroot {path}; create it or name another by --sysroot");
        self.sysroot.as_ref().with_context(message)
    }

    /// Opens `SYSROOT/ostree/bootc`, creating it if needed.
    pub(super) fn create_bootc_dir(&self) -> anyhow::Result<Dir> {
        let sysroot = self.existing_sysroot()?;
        sysroot
            .create_dir_all(BOOTC_DIR)
            .and_then(|()| sysroot.open_dir(BOOTC_DIR))
            .with_context(|| format!("creating {}", self.bootc_path()))
    }

    pub(super) fn podman_context(&self) -> PodmanContext {
        PodmanContext {
            environment: self.environment.clone(),
            stall_limit: self.stall_limit,
            interrupt: self.interrupt.clone(),
        }
    }

    pub(super) fn warn(&self, message: &str) {
        self.reporter.report(&Event::Warning { message });
    }
}
