//! The links of a root, and all that can be wrong with them.

use std::cmp::Ordering;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use cap_std_ext::cap_std::fs::Dir;

use super::merge::{Request, merge};
use super::quadlet::{self, ImageField, KeyFault, Quadlet, QuadletKind};
use super::{reference, unit_file};
use crate::model::{
    AuthFileOption, Declaration, DeclarationFault, Declared, Fault, FaultKind, InvalidDeclarations,
    Position, PullOptions,
};
use crate::root::{LinkProblem, OsRoot};

/// Where a root keeps its links, relative to it.
pub const LINKS_DIRECTORY: &str = "usr/lib/bootc/bound-images.d";

/// A quadlet is some lines of text; systemd itself refuses longer lines than this.
const MAX_QUADLET_BYTES: u64 = 1024 * 1024;

/// Reads and validates all declarations of a root. No links directory means no bound images.
///
/// Fails with [`InvalidDeclarations`], which holds every fault of every link, or with an I/O
/// error when the links cannot be listed at all.
pub fn read(root: &OsRoot) -> anyhow::Result<Declared> {
    let mut reading = Reading::new(root);
    for (name, is_link) in sorted_entries(root)? {
        match name.into_string() {
            Ok(name) if is_link => reading.link(&name),
            Ok(name) => reading.fault(&name, None, None, "it is not a symlink".to_owned()),
            Err(name) => reading.fault(
                &name.to_string_lossy(),
                None,
                None,
                "its name is not valid UTF-8".to_owned(),
            ),
        }
    }
    let (images, conflicts) = merge(reading.requests);
    reading.faults.extend(conflicts);
    // A conflict shows only after all files are read, and keys are not read in their order.
    reading.faults.sort_by(by_place);
    reading.warnings.sort_by(by_place);
    if reading.faults.is_empty() {
        return Ok(Declared {
            images,
            warnings: reading.warnings,
        });
    }
    Err(InvalidDeclarations {
        root: root.path().to_owned(),
        faults: reading.faults,
    }
    .into())
}

fn sorted_entries(root: &OsRoot) -> anyhow::Result<Vec<(std::ffi::OsString, bool)>> {
    let directory = Utf8Path::new(LINKS_DIRECTORY);
    let describe = |error: io::Error| {
        anyhow::Error::from(error).context(format!("reading {}", root.outside_path(directory)))
    };
    let Some(links) = root.open_dir_optional(directory).map_err(describe)? else {
        return match absence(root, directory) {
            None => Ok(Vec::new()),
            Some((place, problem)) => {
                let message = format!("{}: {problem}", root.outside_path(&place));
                Err(Fault::new(FaultKind::Declaration, message).into())
            }
        };
    };
    let mut entries = names_and_types(&links).map_err(describe)?;
    entries.sort();
    Ok(entries)
}

/// Names, and whether each is a symlink. Not every file system says so in the listing itself.
fn names_and_types(links: &Dir) -> io::Result<Vec<(std::ffi::OsString, bool)>> {
    let mut entries = Vec::new();
    for entry in links.entries()? {
        let name = entry?.file_name();
        let is_link = links.symlink_metadata(&name)?.is_symlink();
        entries.push((name, is_link));
    }
    Ok(entries)
}

/// Where and why the way to a directory ends; `None` when it simply is not there.
///
/// A name that leads nowhere must not pass for a root that binds nothing: prune would believe it.
fn absence(root: &OsRoot, directory: &Utf8Path) -> Option<(Utf8PathBuf, String)> {
    let mut reached = Utf8PathBuf::from("/");
    for component in directory.components() {
        let next = reached.join(component);
        match root.follow(&next) {
            Err(LinkProblem::Dangling(missing)) if missing == next => return None,
            Err(problem) => return Some((next, problem.to_string())),
            Ok(followed) => match root.is_dir(&followed) {
                Ok(true) => reached = followed,
                Ok(false) => return Some((next, "it is not a directory".to_owned())),
                Err(error) => return Some((next, error.to_string())),
            },
        }
    }
    Some((reached, "it changed while it was looked at".to_owned()))
}

fn by_place(left: &DeclarationFault, right: &DeclarationFault) -> Ordering {
    (&left.link, left.line).cmp(&(&right.link, right.line))
}

/// What has been read so far.
struct Reading<'a> {
    root: &'a OsRoot,
    requests: Vec<Request>,
    faults: Vec<DeclarationFault>,
    warnings: Vec<DeclarationFault>,
}

impl<'a> Reading<'a> {
    fn new(root: &'a OsRoot) -> Self {
        Self {
            root,
            requests: Vec::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn fault(&mut self, link: &str, file: Option<&Utf8Path>, line: Option<u32>, problem: String) {
        self.faults.push(DeclarationFault {
            link: link.to_owned(),
            file: file.map(Utf8Path::to_owned),
            line,
            problem,
        });
    }

    fn link(&mut self, link: &str) {
        let Some(kind) = QuadletKind::of_file_name(link) else {
            let problem = "its extension is neither .image nor .container".to_owned();
            return self.fault(link, None, None, problem);
        };
        let file = match self.root.follow(&Utf8Path::new(LINKS_DIRECTORY).join(link)) {
            Ok(file) => file,
            Err(problem) => return self.fault(link, None, None, problem.to_string()),
        };
        let Some(quadlet) = self.quadlet(link, &file, kind) else {
            return;
        };
        match quadlet.image.value.clone() {
            ImageField::Name { .. } => self.request(link, &file, quadlet),
            ImageField::Quadlet(name) => self.referenced(link, &file, quadlet.image.line, &name),
        }
    }

    /// A `.container` whose `Image=` names an `.image` quadlet: that quadlet is what is bound.
    fn referenced(&mut self, link: &str, container: &Utf8Path, line: u32, name: &str) {
        let found = reference::find(self.root, name, container).and_then(|found| {
            found.ok_or_else(|| {
                "there is no such quadlet in the containers/systemd directories of the root nor \
                 beside the container"
                    .to_owned()
            })
        });
        let file = match found {
            Ok(file) => file,
            Err(problem) => {
                let problem = format!("Image={name}: {problem}");
                return self.fault(link, Some(container), Some(line), problem);
            }
        };
        if let Some(quadlet) = self.quadlet(link, &file, QuadletKind::Image) {
            self.request(link, &file, quadlet);
        }
    }

    /// Reads one file; its faults are recorded and `None` is returned.
    fn quadlet(&mut self, link: &str, file: &Utf8Path, kind: QuadletKind) -> Option<Quadlet> {
        let text = match self.text(file) {
            Ok(text) => text,
            Err(problem) => {
                self.fault(link, Some(file), None, problem);
                return None;
            }
        };
        let unit = unit_file::parse(&text).map_err(|faults| {
            let as_key_fault = |fault: unit_file::SyntaxFault| KeyFault {
                line: Some(fault.line),
                problem: fault.problem,
            };
            faults.into_iter().map(as_key_fault).collect::<Vec<_>>()
        });
        match unit.and_then(|unit| quadlet::read(kind, &unit)) {
            Ok(quadlet) => Some(quadlet),
            Err(faults) => {
                for KeyFault { line, problem } in faults {
                    self.fault(link, Some(file), line, problem);
                }
                None
            }
        }
    }

    fn text(&self, file: &Utf8Path) -> Result<String, String> {
        let content = match self.root.read_optional(file, MAX_QUADLET_BYTES) {
            Ok(Some(content)) => content,
            Ok(None) => return Err("it does not exist".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err("it cannot be read: permission denied".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        };
        let text = String::from_utf8(content).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            format!("line {line} is not valid UTF-8")
        })?;
        match text.split_once('\0') {
            None => Ok(text),
            Some((before, _)) => {
                let line = 1 + before.matches('\n').count();
                Err(format!("line {line} holds a NUL byte"))
            }
        }
    }

    fn request(&mut self, link: &str, file: &Utf8Path, quadlet: Quadlet) {
        let ImageField::Name { raw, name } = quadlet.image.value else {
            let problem = "an .image quadlet must name an image itself".to_owned();
            return self.fault(link, Some(file), Some(quadlet.image.line), problem);
        };
        let position = |line| Position {
            link: link.to_owned(),
            file: file.to_owned(),
            line,
        };
        for key in quadlet.ignored_keys {
            self.warnings.push(DeclarationFault {
                link: link.to_owned(),
                file: Some(file.to_owned()),
                line: Some(key.line),
                problem: format!("{}= is ignored for a bound image", key.value),
            });
        }
        self.requests.push(Request {
            name,
            options: PullOptions {
                auth_file: quadlet.auth_file.map(|path| AuthFileOption {
                    path: path.value,
                    position: position(path.line),
                }),
                cert_dir: quadlet.cert_dir,
                tls_verify: quadlet.tls_verify,
                platform: quadlet.platform,
            },
            declaration: Declaration {
                position: position(quadlet.image.line),
                raw,
            },
        });
    }
}
