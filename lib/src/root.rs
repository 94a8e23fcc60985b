//! An OS root: a directory tree that is or will be `/`, read as its own processes would read it.
//!
//! **Invariant:** no path leads outside of the root. Absolute symlinks start at the root;
//! nothing blocks on a FIFO or opens a device.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use camino::{Utf8Path, Utf8PathBuf};
use cap_std_ext::cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// As many links as the kernel follows in one path.
const MAX_LINKS_FOLLOWED: usize = 40;

/// An open OS root.
#[derive(Debug)]
pub struct OsRoot {
    dir: Dir,
    path: Utf8PathBuf,
}

/// Why a link leads to no file of its root.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkProblem {
    /// `..` goes above the root.
    LeavesRoot,
    /// A component of the way does not exist; carries the path so far.
    Dangling(Utf8PathBuf),
    /// Links lead in a circle.
    Loop,
    /// A target is not UTF-8.
    NotUtf8,
    /// A component could not be read.
    Io(Errno),
}

impl fmt::Display for LinkProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeavesRoot => formatter.write_str("it leaves the root by .."),
            Self::Dangling(path) => {
                write!(
                    formatter,
                    "it is dangling: {path} does not exist in the root"
                )
            }
            Self::Loop => formatter.write_str("its links lead in a circle"),
            Self::NotUtf8 => formatter.write_str("its target is not valid UTF-8"),
            Self::Io(errno) => {
                let error = io::Error::from(*errno);
                write!(formatter, "it cannot be followed: {error}")
            }
        }
    }
}

impl OsRoot {
    /// Takes an open directory as a root; `path` is how the operator knows it.
    ///
    /// Fails when it has no `usr`: a mistyped directory must not pass for an OS that binds nothing.
    pub fn new(dir: Dir, path: Utf8PathBuf) -> io::Result<Self> {
        let root = Self { dir, path };
        match root.open_beneath(Utf8Path::new("usr"), OFlags::PATH | OFlags::DIRECTORY) {
            Ok(_) => Ok(root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::other(
                format!("{} is not an OS root: it has no usr directory", root.path),
            )),
            Err(error) => Err(error),
        }
    }

    /// The root's path, as the operator knows it.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// An in-root path as it looks from outside, for messages.
    pub fn outside_path(&self, inside: &Utf8Path) -> Utf8PathBuf {
        self.path.join(relative(inside))
    }

    /// Opens a regular file for reading; `None` when nothing is there.
    ///
    /// Fails for anything but a regular file.
    pub fn open_file_optional(&self, path: &Utf8Path) -> io::Result<Option<File>> {
        // To open a device can do something, such as rewind a tape, so it is looked at first.
        let Some(found) = optional(self.open_beneath(path, OFlags::PATH))? else {
            return Ok(None);
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
            FileType::RegularFile => reopen(&found).map(Some),
            FileType::Directory => Err(io::Error::other("it is a directory")),
            _ => Err(io::Error::other("it is not a regular file")),
        }
    }

    /// Reads a regular file; `None` when nothing is there.
    ///
    /// Fails when it holds more than `limit_bytes`, or is no regular file.
    pub fn read_optional(&self, path: &Utf8Path, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file_optional(path)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.take(limit_bytes + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit_bytes {
            let limit_kib = limit_bytes / 1024;
            return Err(io::Error::other(format!(
                "it is larger than {limit_kib} KiB"
            )));
        }
        Ok(Some(content))
    }

    /// Opens a directory; `None` when nothing is there.
    pub fn open_dir_optional(&self, path: &Utf8Path) -> io::Result<Option<Dir>> {
        let opened = self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY);
        Ok(optional(opened)?.map(|fd| Dir::from_std_file(File::from(fd))))
    }

    /// Whether a directory is there; says nothing of whether it can be read.
    pub fn is_dir(&self, path: &Utf8Path) -> io::Result<bool> {
        let opened = self.open_beneath(path, OFlags::PATH | OFlags::DIRECTORY);
        Ok(optional(opened)?.is_some())
    }

    /// Whether a file of any type is there; says nothing of whether it can be read.
    pub fn exists(&self, path: &Utf8Path) -> io::Result<bool> {
        Ok(optional(self.open_beneath(path, OFlags::PATH))?.is_some())
    }

    /// Follows a link to the path where its file lies, free of links, absolute inside the root.
    ///
    /// Unlike the kernel, which quietly stays at the root, a `..` above it is a problem:
    /// on another root the same link would mean another file.
    pub fn follow(&self, link: &Utf8Path) -> Result<Utf8PathBuf, LinkProblem> {
        let mut resolved: Vec<String> = Vec::new();
        let mut ahead: Vec<String> = components_reversed(link.as_str());
        let mut links_followed = 0;
        while let Some(component) = ahead.pop() {
            if component == ".." {
                resolved.pop().ok_or(LinkProblem::LeavesRoot)?;
                continue;
            }
            resolved.push(component);
            let path = Utf8PathBuf::from(resolved.join("/"));
            let Some(target) = self.link_target(&path)? else {
                continue;
            };
            links_followed += 1;
            if links_followed > MAX_LINKS_FOLLOWED {
                return Err(LinkProblem::Loop);
            }
            resolved.pop();
            if target.starts_with('/') {
                resolved.clear();
            }
            ahead.extend(components_reversed(&target));
        }
        Ok(Utf8PathBuf::from(format!("/{}", resolved.join("/"))))
    }

    /// Target of a symlink; `None` for any other file.
    fn link_target(&self, path: &Utf8Path) -> Result<Option<String>, LinkProblem> {
        let stat = rustix::fs::statat(&self.dir, path.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => LinkProblem::Dangling(Utf8Path::new("/").join(path)),
            other => LinkProblem::Io(other),
        })?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        let target = rustix::fs::readlinkat(&self.dir, path.as_str(), Vec::new())
            .map_err(LinkProblem::Io)?;
        let target = target.into_string().map_err(|_| LinkProblem::NotUtf8)?;
        Ok(Some(target))
    }

    fn open_beneath(&self, path: &Utf8Path, flags: OFlags) -> io::Result<OwnedFd> {
        loop {
            let opened = rustix::fs::openat2(
                self.dir.as_fd(),
                openable(path).as_str(),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            );
            match opened {
                // The kernel asks for another try when the tree changed while it resolved.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }
}

/// Opens for reading what has been looked at, even where its name means another file by now.
fn reopen(found: &OwnedFd) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

fn relative(path: &Utf8Path) -> &Utf8Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// The root itself has an empty relative path, which the kernel does not take.
fn openable(path: &Utf8Path) -> &Utf8Path {
    match relative(path) {
        root if root.as_str().is_empty() => Utf8Path::new("."),
        below => below,
    }
}

fn components_reversed(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|component| !component.is_empty() && *component != ".")
        .rev()
        .map(str::to_owned)
        .collect()
}

fn optional(opened: io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std_ext::cap_std::ambient_authority;

    fn root_with(links: &[(&str, &str)]) -> (tempfile::TempDir, OsRoot) {
        let temp = tempfile::tempdir().unwrap();
        for directory in ["usr/lib/links", "usr/share/q", "etc"] {
            std::fs::create_dir_all(temp.path().join(directory)).unwrap();
        }
        std::fs::write(temp.path().join("usr/share/q/a.image"), "content").unwrap();
        for (name, target) in links {
            std::os::unix::fs::symlink(target, temp.path().join("usr/lib/links").join(name))
                .unwrap();
        }
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let root = OsRoot::new(dir, "/test-root".into()).unwrap();
        (temp, root)
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let (_temp, root) = root_with(&[
            ("absolute", "/usr/share/q/a.image"),
            ("relative", "../../share/q/a.image"),
            ("chain", "relative"),
            ("directory", "/usr/share"),
            ("through", "directory/q/a.image"),
            ("dangling", "/usr/share/q/none.image"),
            ("above", "../../../../usr/share/q/a.image"),
            ("above-absolute", "/../usr/share/q/a.image"),
            ("loop", "loop"),
        ]);
        let file = || Ok(Utf8PathBuf::from("/usr/share/q/a.image"));
        for (link, want) in [
            ("absolute", file()),
            ("relative", file()),
            ("chain", file()),
            ("through", file()),
            ("directory", Ok("/usr/share".into())),
            (
                "dangling",
                Err(LinkProblem::Dangling("/usr/share/q/none.image".into())),
            ),
            ("above", Err(LinkProblem::LeavesRoot)),
            ("above-absolute", Err(LinkProblem::LeavesRoot)),
            ("loop", Err(LinkProblem::Loop)),
        ] {
            let path = Utf8Path::new("usr/lib/links").join(link);
            assert_eq!(root.follow(&path), want, "{link}");
        }
    }

    #[test]
    fn only_regular_files_of_modest_size_are_read() {
        let (temp, root) = root_with(&[]);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            temp.path().join("fifo"),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        std::fs::write(temp.path().join("big"), [b'x'; 2049]).unwrap();
        let read = |path: &str| {
            root.read_optional(path.into(), 2048)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("/usr/share/q/a.image"), Ok(Some(b"content".to_vec())));
        assert_eq!(read("none"), Ok(None));
        assert_eq!(read("etc"), Err("it is a directory".into()));
        assert_eq!(read("/"), Err("it is a directory".into()));
        assert_eq!(read("fifo"), Err("it is not a regular file".into()));
        assert_eq!(read("big"), Err("it is larger than 2 KiB".into()));
    }

    #[test]
    fn a_directory_without_usr_is_no_root() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let error = OsRoot::new(dir, "/typo".into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/typo is not an OS root: it has no usr directory"
        );
    }
}
