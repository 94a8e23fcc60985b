//! What a podman needs besides a store: its directories in `/run`, the private TMPDIR, the lock.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::Context;
use cap_std_ext::cap_std::fs::Dir;

/// Where podman notes, in the runroot, that overlay mounts did not work, and then never tries
/// again in this boot; but a disk that was full at the first try has the same effect.
const NO_OVERLAY_NOTE: &str = "overlay/overlay-false";

/// Directories in `/run` that podman needs: the runroot, and mount points.
#[derive(Debug)]
pub struct RunDirs {
    runroot: Arc<OwnedFd>,
}

/// What a podman on a store holds besides the store: all of it ends with podman.
#[derive(Debug, Clone)]
pub struct Workplace {
    /// The directories in `/run`.
    pub(super) runroot: Arc<OwnedFd>,
    pub(super) tmp: Arc<OwnedFd>,
    pub(super) lock: Arc<OwnedFd>,
}

impl RunDirs {
    /// Creates the directories below `run`, which is `/run`.
    pub fn create(run: &Dir) -> anyhow::Result<Self> {
        for directory in ["bootc/storage", "libpod"] {
            run.create_dir_all(directory)
                .with_context(|| format!("creating /run/{directory}"))?;
        }
        let runroot = run.open_dir("bootc/storage")?;
        match runroot.remove_file(NO_OVERLAY_NOTE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("removing /run/bootc/storage/overlay/overlay-false");
            }
            _ => {}
        }
        Ok(Self {
            runroot: Arc::new(runroot.into_std_file().into()),
        })
    }

    /// Joins the private TMPDIR and the lock to the directories.
    pub fn workplace(&self, tmp: Dir, lock: Arc<OwnedFd>) -> Workplace {
        Workplace {
            runroot: Arc::clone(&self.runroot),
            tmp: Arc::new(tmp.into_std_file().into()),
            lock,
        }
    }
}
