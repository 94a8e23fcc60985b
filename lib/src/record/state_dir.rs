//! The directory `SYSROOT/ostree/bootc/bound-images`.

use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use cap_std_ext::cap_std::fs::{Dir, DirBuilder, DirBuilderExt, OpenOptions, OpenOptionsExt};
use fn_error_context::context;

/// Our state directory; nobody but root may look into it.
#[derive(Debug)]
pub struct StateDir {
    dir: Dir,
    path: Utf8PathBuf,
}

/// Where podman puts blobs while it fetches them.
const TMP: &str = "tmp";

impl StateDir {
    /// Opens the state directory below `bootc_dir` (`SYSROOT/ostree/bootc`), creating it if needed.
    #[context("creating {path}/bound-images")]
    pub fn create(bootc_dir: &Dir, path: &Utf8Path) -> anyhow::Result<Self> {
        create_private_dir(bootc_dir, "bound-images")?;
        Self::open_at(bootc_dir, path)
    }

    /// Opens the state directory; `None` when it does not exist or this user may not read it.
    pub fn open_optional(bootc_dir: &Dir, path: &Utf8Path) -> anyhow::Result<Option<Self>> {
        match Self::open_at(bootc_dir, path) {
            Ok(state) => Ok(Some(state)),
            Err(error) => match error.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn open_at(bootc_dir: &Dir, path: &Utf8Path) -> anyhow::Result<Self> {
        Ok(Self {
            dir: bootc_dir.open_dir("bound-images")?,
            path: path.join("bound-images"),
        })
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The private TMPDIR, emptied of whatever an earlier run left.
    ///
    /// Call it only while holding the lock: another run's files would go too.
    #[context("preparing {}/{TMP}", self.path)]
    pub fn swept_tmp(&self) -> anyhow::Result<Dir> {
        create_private_dir(&self.dir, TMP)?;
        self.sweep_tmp()?;
        Ok(self.dir.open_dir(TMP)?)
    }

    /// Empties the private TMPDIR; needs no space. The same caution holds.
    #[context("sweeping {}/{TMP}", self.path)]
    pub fn sweep_tmp(&self) -> anyhow::Result<()> {
        Ok(remove_entries(&self.dir.open_dir(TMP)?)?)
    }

    /// Replaces a file so that after a crash either the old or the new content is there.
    #[context("writing {}/{name}", self.path)]
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        Ok(replace_in(&self.dir, name, content)?)
    }
}

/// Replaces a file of a directory: written beside, forced to disk, renamed, and that forced too.
pub(super) fn replace_in(dir: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    let beside = format!("{name}.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = dir.open_with(&beside, &options)?;
    file.write_all(content)?;
    file.sync_all()?;
    dir.rename(&beside, dir, name)?;
    Ok(rustix::fs::fsync(dir.open(".")?)?)
}

/// Empties a directory. cap-std would believe that a directory whose type the file system does not
/// list is a file.
fn remove_entries(dir: &Dir) -> io::Result<()> {
    for entry in dir.entries()? {
        let name = entry?.file_name();
        if dir.symlink_metadata(&name)?.is_dir() {
            remove_entries(&dir.open_dir(&name)?)?;
            dir.remove_dir(&name)?;
        } else {
            dir.remove_file(&name)?;
        }
    }
    Ok(())
}

pub(super) fn create_private_dir(parent: &Dir, name: &str) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    match parent.create_dir_with(name, &builder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std_ext::cap_std::ambient_authority;

    #[test]
    fn the_private_tmpdir_is_emptied() {
        let temp = tempfile::tempdir().unwrap();
        let bootc = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        assert!(
            StateDir::open_optional(&bootc, "/x".into())
                .unwrap()
                .is_none()
        );
        let state = StateDir::create(&bootc, "/x".into()).unwrap();
        state.swept_tmp().unwrap();
        let tmp = temp.path().join("bound-images/tmp");
        std::fs::create_dir_all(tmp.join("storage1/deep")).unwrap();
        std::fs::write(tmp.join("storage1/deep/blob"), "x").unwrap();
        std::os::unix::fs::symlink("/", tmp.join("link")).unwrap();
        state.swept_tmp().unwrap();
        assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 0);
    }

    #[test]
    fn a_replaced_file_is_private_and_leaves_nothing_beside() {
        let temp = tempfile::tempdir().unwrap();
        let bootc = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let state = StateDir::create(&bootc, "/x".into()).unwrap();
        for content in ["first", "second"] {
            state.replace("file", content.as_bytes()).unwrap();
            let path = temp.path().join("bound-images/file");
            assert_eq!(std::fs::read_to_string(path).unwrap(), content);
        }
        let names: Vec<_> = std::fs::read_dir(temp.path().join("bound-images"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["file"]);
    }
}
