//! A store as a directory: where it lies, what is in it, and forcing it to disk.

use std::io;

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use cap_std_ext::cap_std::fs::{Dir, DirBuilder, DirBuilderExt};

use super::deep::{self, LayerCheck};
use super::listing;
use crate::model::{Inventory, StoredLayer};

/// Name of the store in `SYSROOT/ostree/bootc`.
const STORE: &str = "storage";
/// Name under which a store is prepared.
const STORE_UNFINISHED: &str = "storage.tmp";
/// podman 5 writes the name of a network program here; podman 4 then fails when that is absent.
const DEFAULT_NETWORK_BACKEND: &str = "defaultNetworkBackend";
/// podman's own database, of no use for images and made anew when it is gone.
const DATABASE_FILES: [&str; 2] = ["db.sql", "libpod"];

/// An open containers-storage.
#[derive(Debug)]
pub struct Store {
    dir: Dir,
    path: Utf8PathBuf,
}

impl Store {
    /// Opens the store in `bootc_dir` (`SYSROOT/ostree/bootc`); `None` when there is none.
    ///
    /// Fails with permission denied for a user who may not read it.
    pub fn open_optional(bootc_dir: &Dir, path: &Utf8Path) -> io::Result<Option<Self>> {
        let path = path.join(STORE);
        match bootc_dir.open_dir(STORE) {
            Ok(dir) => Ok(Some(Self { dir, path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts a new, empty store beside the place where it will lie.
    ///
    /// What an earlier, interrupted creation left there is removed.
    pub(super) fn begin(bootc_dir: &Dir, path: &Utf8Path) -> anyhow::Result<Self> {
        Self::remove_unfinished(bootc_dir, path)?;
        let path = path.join(STORE_UNFINISHED);
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        bootc_dir
            .create_dir_with(STORE_UNFINISHED, &builder)
            .with_context(|| format!("creating {path}"))?;
        let dir = bootc_dir.open_dir(STORE_UNFINISHED)?;
        Ok(Self { dir, path })
    }

    /// Puts a store that was begun in its place, all of it on disk.
    pub(super) fn finish(self, bootc_dir: &Dir, path: &Utf8Path) -> anyhow::Result<Self> {
        self.flush()?;
        bootc_dir
            .rename(STORE_UNFINISHED, bootc_dir, STORE)
            .with_context(|| format!("moving {} to its place", self.path))?;
        rustix::fs::fsync(bootc_dir.open(".")?)?;
        Ok(Self {
            dir: self.dir,
            path: path.join(STORE),
        })
    }

    /// Whether an interrupted creation of a store left something behind.
    pub fn is_unfinished(bootc_dir: &Dir) -> io::Result<bool> {
        bootc_dir.try_exists(STORE_UNFINISHED)
    }

    /// Removes what an interrupted creation of a store left behind.
    pub fn remove_unfinished(bootc_dir: &Dir, path: &Utf8Path) -> anyhow::Result<()> {
        match bootc_dir.remove_dir_all(STORE_UNFINISHED) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.join(STORE_UNFINISHED)))
            }
            _ => Ok(()),
        }
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The directory itself.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Reads all image and layer records.
    ///
    /// Fails with [`crate::model::FaultKind::Integrity`] when they cannot be parsed: podman 4
    /// would then write them anew and lose every image. Fails when something of an image cannot
    /// be read for a reason other than its content, which tells nothing about the image.
    pub fn inventory(&self) -> anyhow::Result<Inventory> {
        listing::read(&self.dir, &self.path)
    }

    /// Forces everything written to the store's filesystem to disk.
    pub fn flush(&self) -> anyhow::Result<()> {
        // A handle of cap-std is a mere path; only an open file can be flushed.
        let flushed = self
            .dir
            .open(".")
            .and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        flushed.with_context(|| format!("flushing {}", self.path))
    }

    /// Compares a layer's files with its digest. Reads all of them.
    ///
    /// Fails when they cannot be read, which tells nothing about them.
    pub fn check_layer(&self, layer: &StoredLayer) -> anyhow::Result<LayerCheck> {
        deep::check(&self.dir, layer)
    }

    /// A second handle on the same store.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            dir: self.dir.try_clone()?,
            path: self.path.clone(),
        })
    }

    pub(super) fn drop_default_network_backend(&self) -> io::Result<()> {
        match self.dir.remove_file(DEFAULT_NETWORK_BACKEND) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn drop_database(&self) -> io::Result<()> {
        for name in DATABASE_FILES {
            let removed = match self.dir.symlink_metadata(name) {
                Ok(metadata) if metadata.is_dir() => self.dir.remove_dir_all(name),
                Ok(_) => self.dir.remove_file(name),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
