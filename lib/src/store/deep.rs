//! Re-computes the digest of a layer from its files.

use std::fs::File;
use std::io::{self, Read};

use anyhow::Context;
use cap_std_ext::cap_std::fs::{Dir, MetadataExt};
use composefs_storage::tar_split::{TarHeader, TarSplitFdStream, TarSplitItem};
use composefs_storage::{Layer, Storage, StorageError};
use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};

use super::health::is_damage;
use crate::model::StoredLayer;

const TAR_BLOCK_BYTES: usize = 512;

/// What a comparison of a layer with its digest tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerCheck {
    /// Its files make up the very tar stream that was pulled.
    Whole,
    /// They do not; says why.
    Damaged(String),
}

/// Why there is no digest.
#[derive(Debug)]
enum Obstacle {
    /// The layer's content.
    Damage(String),
    /// Anything else; the layer may be whole.
    Failure(io::Error),
}

impl Obstacle {
    fn new(file: &str, error: io::Error) -> Self {
        let message = format!("{file}: {error}");
        match is_damage(&error) {
            true => Self::Damage(message),
            false => Self::Failure(io::Error::new(error.kind(), message)),
        }
    }
}

impl From<StorageError> for Obstacle {
    fn from(error: StorageError) -> Self {
        let error = match error {
            StorageError::Io(error) => error,
            // The library puts most errors of the system in words; io::Error is one way to read
            // such a text.
            other => match os_error_in(&other.to_string()) {
                Some(number) => io::Error::from_raw_os_error(number),
                None => return Self::Damage(other.to_string()),
            },
        };
        Self::new("its files", error)
    }
}

/// Puts the layer's tar stream together from its metadata and files, and compares the digest.
///
/// Misses changes of mode and files that were added, as containers-storage itself does. Fails
/// when something cannot be read for a reason other than its content. A FIFO in the place of a
/// file whose name is too long for a plain tar header blocks it; so the caller must not depend
/// on its end.
pub(super) fn check(store: &Dir, layer: &StoredLayer) -> anyhow::Result<LayerCheck> {
    let Some(expected) = &layer.diff_digest else {
        let damage = "it has no digest to compare with";
        return Ok(LayerCheck::Damaged(damage.to_owned()));
    };
    match computed_digest(store, layer) {
        Ok(digest) if digest == expected.as_str() => Ok(LayerCheck::Whole),
        Ok(_) => {
            let damage = "its files do not match its digest";
            Ok(LayerCheck::Damaged(damage.to_owned()))
        }
        Err(Obstacle::Damage(reason)) => Ok(LayerCheck::Damaged(reason)),
        Err(Obstacle::Failure(error)) => {
            Err(error).with_context(|| format!("checking layer {}", layer.id.short()))
        }
    }
}

fn computed_digest(store: &Dir, layer: &StoredLayer) -> Result<String, Obstacle> {
    // The library tells of any failure to open this directory that there is no such layer.
    let directory = format!("overlay/{}/diff", layer.id);
    let diff = store
        .open_dir(&directory)
        .map_err(|error| Obstacle::new(&directory, error))?;
    let storage = Storage::from_root_dir(store.try_clone().map_err(Obstacle::Failure)?)?;
    let opened = match Layer::open(&storage, layer.id.as_str()) {
        Err(error @ StorageError::LayerNotFound(_)) => {
            return Err(Obstacle::Failure(io::Error::other(error.to_string())));
        }
        other => other?,
    };
    let mut stream = TarSplitFdStream::new(&storage, &opened)?;
    let mut hash = Sha256::new();
    while let Some(item) = stream.next()? {
        match item {
            TarSplitItem::Segment(bytes) => {
                // The library will open the file that this header announces.
                refuse_fifo(&diff, &bytes)?;
                hash.update(&bytes);
            }
            TarSplitItem::FileContent { fd, size, name, .. } => {
                // The library takes a parent's file for one that is missing.
                require_regular(&diff, &name)?;
                hash_exactly(&mut hash, File::from(fd), size)
                    .map_err(|error| Obstacle::new(&name, error))?;
            }
        }
    }
    Ok(format!("sha256:{:x}", hash.finalize()))
}

/// Opening a FIFO would block.
fn refuse_fifo(diff: &Dir, segment: &[u8]) -> Result<(), Obstacle> {
    // What comes before the last block is padding and long names.
    let header = segment
        .last_chunk::<TAR_BLOCK_BYTES>()
        .and_then(|block| TarHeader::from_bytes(block).ok());
    let Some(header) = header.filter(|header| header.is_regular_file() && header.size > 0) else {
        return Ok(());
    };
    match file_type(diff, &header.name) {
        Ok(FileType::Fifo) => Err(no_regular_file(&header.name)),
        _ => Ok(()),
    }
}

fn require_regular(diff: &Dir, name: &str) -> Result<(), Obstacle> {
    match file_type(diff, name) {
        Ok(FileType::RegularFile) => Ok(()),
        Ok(_) => Err(no_regular_file(name)),
        Err(error) => Err(Obstacle::new(name, error)),
    }
}

fn file_type(diff: &Dir, name: &str) -> io::Result<FileType> {
    let metadata = diff.symlink_metadata(name.strip_prefix("./").unwrap_or(name))?;
    Ok(FileType::from_raw_mode(metadata.mode()))
}

fn no_regular_file(name: &str) -> Obstacle {
    Obstacle::Damage(format!("{name} is not a regular file"))
}

/// The number in a text such as `No such file or directory (os error 2)`.
fn os_error_in(text: &str) -> Option<i32> {
    let (_, after) = text.rsplit_once("(os error ")?;
    after.split_once(')')?.0.parse().ok()
}

fn hash_exactly(hash: &mut Sha256, file: File, size_bytes: u64) -> io::Result<()> {
    let mut limited = file.take(size_bytes);
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        let count = limited.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        total += count as u64;
    }
    if total == size_bytes {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "has {total} of {size_bytes} bytes"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std_ext::cap_std::ambient_authority;
    use rustix::fs::Mode;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// A store with a layer of the file `a`, which says "hello" and is in the layer's parent, too.
    /// Its "tar stream" is the bare content.
    struct Layered {
        temp: tempfile::TempDir,
        layer: StoredLayer,
    }

    impl Layered {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let root = temp.path();
            let (own, parent) = ("1a".repeat(32), "2b".repeat(32));
            for directory in ["overlay/l", "overlay-images", "overlay-layers"] {
                std::fs::create_dir_all(root.join(directory)).unwrap();
            }
            for (id, link) in [(&own, "OWN"), (&parent, "PARENT")] {
                let directory = root.join("overlay").join(id);
                std::fs::create_dir_all(directory.join("diff")).unwrap();
                std::fs::write(directory.join("diff/a"), "hello").unwrap();
                std::fs::write(directory.join("link"), link).unwrap();
                symlink(format!("../{id}/diff"), root.join("overlay/l").join(link)).unwrap();
            }
            std::fs::write(root.join("overlay").join(&own).join("lower"), "l/PARENT").unwrap();
            let tar_split = root.join(format!("overlay-layers/{own}.tar-split"));
            std::fs::write(&tar_split, r#"{"type":1,"name":"./a","size":5}"#).unwrap();
            assert!(
                Command::new("gzip")
                    .arg(&tar_split)
                    .status()
                    .unwrap()
                    .success()
            );
            let layer = StoredLayer {
                id: own.parse().unwrap(),
                parent: Some(parent.parse().unwrap()),
                diff_digest: format!("sha256:{:x}", Sha256::digest("hello")).parse().ok(),
                blob_digest: None,
                diff_bytes: 5,
                blob_bytes: 5,
                created: String::new(),
                incomplete: false,
            };
            Self { temp, layer }
        }

        fn own(&self) -> PathBuf {
            self.temp
                .path()
                .join("overlay")
                .join(self.layer.id.as_str())
        }

        fn tar_split(&self) -> PathBuf {
            let name = format!("overlay-layers/{}.tar-split.gz", self.layer.id);
            self.temp.path().join(name)
        }

        /// As a user whom permissions concern; root's privilege is the thread's.
        fn check(&self) -> anyhow::Result<LayerCheck> {
            let (path, layer) = (self.temp.path().to_owned(), self.layer.clone());
            let thread = std::thread::spawn(move || {
                let dir = Dir::open_ambient_dir(&path, ambient_authority()).unwrap();
                if rustix::process::geteuid().is_root() {
                    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
                }
                check(&dir, &layer)
            });
            thread.join().unwrap()
        }
    }

    type Damage = fn(&Path);

    fn set_mode(path: &Path, mode: u32) {
        let flags = rustix::fs::AtFlags::empty();
        rustix::fs::chmodat(rustix::fs::CWD, path, Mode::from_raw_mode(mode), flags).unwrap();
    }

    #[test]
    fn a_file_must_be_in_the_layer_itself() {
        let damages: [(&str, Damage); 4] = [
            ("No such file", |file| std::fs::remove_file(file).unwrap()),
            ("is not a regular file", |file| {
                std::fs::rename(file, file.with_file_name("b")).unwrap();
                symlink("b", file).unwrap();
            }),
            ("has 4 of 5 bytes", |file| {
                std::fs::write(file, "hell").unwrap()
            }),
            ("do not match", |file| {
                std::fs::write(file, "hullo").unwrap()
            }),
        ];
        for (reason, damage) in damages {
            let layered = Layered::new();
            set_mode(layered.temp.path(), 0o755);
            assert_eq!(layered.check().unwrap(), LayerCheck::Whole);
            damage(&layered.own().join("diff/a"));
            match layered.check().unwrap() {
                LayerCheck::Damaged(text) => assert!(text.contains(reason), "{text}"),
                LayerCheck::Whole => panic!("{reason} was not noticed"),
            }
        }
    }

    #[test]
    fn a_layer_that_may_not_be_read_is_not_damaged() {
        for path in [
            Layered::own as fn(&Layered) -> PathBuf,
            |layered| layered.own().join("link"),
            |layered| layered.own().join("diff"),
            |layered| layered.own().join("diff/a"),
            Layered::tar_split,
        ] {
            let layered = Layered::new();
            set_mode(layered.temp.path(), 0o755);
            let path = path(&layered);
            set_mode(&path, 0);
            let error = layered.check().unwrap_err();
            let cause = error.root_cause().downcast_ref::<io::Error>().unwrap();
            assert_eq!(cause.kind(), io::ErrorKind::PermissionDenied, "{error:#}");
            set_mode(&path, 0o700);
            match path.is_dir() {
                true => std::fs::remove_dir_all(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
            let check = layered.check().unwrap();
            assert!(
                matches!(check, LayerCheck::Damaged(_)),
                "{path:?}: {check:?}"
            );
        }
    }

    #[test]
    fn a_fifo_in_the_place_of_a_file_is_noticed_before_it_is_opened() {
        let layered = Layered::new();
        let diff = Dir::open_ambient_dir(layered.own().join("diff"), ambient_authority()).unwrap();
        let mut header = vec![0; 3 * TAR_BLOCK_BYTES];
        let block = &mut header[2 * TAR_BLOCK_BYTES..];
        block[..3].copy_from_slice(b"./a");
        block[100..136].copy_from_slice(b"0000644\x000000000\x000000000\x0000000000005\0");
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        assert!(refuse_fifo(&diff, &header).is_ok());
        diff.remove_file("a").unwrap();
        let (kind, mode) = (FileType::Fifo, Mode::RUSR);
        rustix::fs::mknodat(&diff, "a", kind, mode, 0).unwrap();
        match refuse_fifo(&diff, &header) {
            Err(Obstacle::Damage(reason)) => assert_eq!(reason, "./a is not a regular file"),
            other => panic!("{other:?}"),
        }
        // An archive may hold a FIFO as such.
        header[2 * TAR_BLOCK_BYTES + 156] = b'6';
        assert!(refuse_fifo(&diff, &header).is_ok());
    }
}
