//! Finds the `.image` quadlet that a `.container` names.
//!
//! Quadlet looks a file name up in its search path, recursively. In a root that is not
//! running only the directories of the image itself count, `/run` and home directories do not.

use std::collections::BTreeSet;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use cap_std_ext::cap_std::fs::Dir;

use crate::root::OsRoot;

/// The search path in order of precedence; `usr/etc` is `/etc` before a deployment's merge.
const SEARCH_PATH: [&str; 3] = [
    "/etc/containers/systemd",
    "/usr/etc/containers/systemd",
    "/usr/share/containers/systemd",
];

/// Path of the quadlet called `file_name`, for a container whose own file is `referrer`.
///
/// Search path first, then the referrer's own directory, for quadlets that are kept elsewhere.
/// The first file of that name is meant, even when it cannot be read. Fails with a reason when
/// a place cannot be looked at: which file is meant is then not known.
pub(super) fn find(
    root: &OsRoot,
    file_name: &str,
    referrer: &Utf8Path,
) -> Result<Option<Utf8PathBuf>, String> {
    if file_name.contains('/') {
        return Ok(None);
    }
    let mut search = Search {
        root,
        file_name,
        visited: BTreeSet::new(),
    };
    for directory in SEARCH_PATH {
        if let Some(found) = search.below(Utf8Path::new(directory))? {
            return Ok(Some(found));
        }
    }
    let Some(beside) = referrer.parent() else {
        return Ok(None);
    };
    match search.open(beside)? {
        Some(directory) => search.in_directory(&directory, beside),
        None => Ok(None),
    }
}

struct Search<'a> {
    root: &'a OsRoot,
    file_name: &'a str,
    /// Device and inode of directories; links may lead to the same one again and again.
    visited: BTreeSet<(u64, u64)>,
}

impl Search<'_> {
    /// Looks in a directory, then in those below it, in the order of their names.
    fn below(&mut self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>, String> {
        let Some(directory) = self.open(path)? else {
            return Ok(None);
        };
        let unreadable = |error| cannot_be_read(path, &error);
        let stat = rustix::fs::fstat(&directory).map_err(|errno| unreadable(errno.into()))?;
        if !self.visited.insert((stat.st_dev, stat.st_ino)) {
            return Ok(None);
        }
        if let Some(found) = self.in_directory(&directory, path)? {
            return Ok(Some(found));
        }
        let names = sorted_names(&directory).map_err(unreadable)?;
        // A tree may be deeper than descriptors are many.
        drop(directory);
        for name in names {
            if let Some(found) = self.below(&path.join(name))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn open(&self, path: &Utf8Path) -> Result<Option<Dir>, String> {
        let opened = self.root.open_dir_optional(path);
        opened.map_err(|error| cannot_be_read(path, &error))
    }

    /// The file in this very directory. A directory of that name is no quadlet.
    fn in_directory(
        &self,
        directory: &Dir,
        path: &Utf8Path,
    ) -> Result<Option<Utf8PathBuf>, String> {
        let candidate = path.join(self.file_name);
        let unreadable = |error| cannot_be_read(&candidate, &error);
        match directory.symlink_metadata(self.file_name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
            Ok(metadata) if metadata.is_dir() => return Ok(None),
            Ok(_) => {}
        }
        let followed = self.root.follow(&candidate);
        let file = followed.map_err(|problem| format!("{candidate}: {problem}"))?;
        let is_dir = self.root.is_dir(&file).map_err(unreadable)?;
        Ok((!is_dir).then_some(candidate))
    }
}

/// Names of everything that may be searched; what is no directory is found out by opening it.
fn sorted_names(directory: &Dir) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in directory.entries()? {
        // What is not UTF-8 could not be named in a message either.
        if let Ok(name) = entry?.file_name().into_string()
            && !name.ends_with(".d")
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn cannot_be_read(path: &Utf8Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{path} cannot be read: permission denied"),
        _ => format!("{path} cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use cap_std_ext::cap_std::ambient_authority;

    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[&str]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir(tree.0.path().join("usr")).unwrap();
            for file in files {
                let path = tree.0.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
            tree
        }

        fn link(self, path: &str, target: &str) -> Self {
            symlink(target, self.0.path().join(path)).unwrap();
            self
        }

        fn find(&self, file_name: &str) -> Result<Option<String>, String> {
            let dir = Dir::open_ambient_dir(self.0.path(), ambient_authority()).unwrap();
            let root = OsRoot::new(dir, "/r".into()).unwrap();
            let found = find(&root, file_name, Utf8Path::new("/srv/web.container"))?;
            Ok(found.map(Utf8PathBuf::into_string))
        }
    }

    #[test]
    fn directories_that_lead_to_each_other_are_searched_once() {
        let mut tree = Tree::new(&["etc/containers/systemd/z/web.image"]);
        for name in ["a", "b", "c", "d"] {
            let link = format!("etc/containers/systemd/{name}");
            tree = tree.link(&link, if name < "c" { "." } else { ".." });
        }
        let found = Some("/etc/containers/systemd/z/web.image".to_owned());
        assert_eq!(tree.find("web.image"), Ok(found));
        assert_eq!(tree.find("none.image"), Ok(None));
    }

    #[test]
    fn the_first_of_that_name_is_meant_though_it_leads_nowhere() {
        let tree = Tree::new(&[
            "etc/containers/systemd/x",
            "usr/share/containers/systemd/web.image",
        ]);
        let tree = tree.link("etc/containers/systemd/web.image", "/nowhere");
        let problem = "/etc/containers/systemd/web.image: it is dangling: /nowhere does not exist \
                       in the root";
        assert_eq!(tree.find("web.image"), Err(problem.to_owned()));
    }

    #[test]
    fn a_place_that_cannot_be_looked_at_is_a_reason() {
        let tree = Tree::new(&["etc/containers/x", "usr/share/containers/systemd/web.image"]);
        let tree = tree.link("etc/containers/systemd", "systemd");
        let problem = "/etc/containers/systemd cannot be read: Too many levels of symbolic links \
                       (os error 40)";
        assert_eq!(tree.find("web.image"), Err(problem.to_owned()));
    }
}
