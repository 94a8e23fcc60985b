//! Finds the auth file of an image and turns it into an anonymous file descriptor.
//!
//! **Invariant:** credentials exist as bytes in memory only. Nothing here names a host's own
//! podman or docker login, and what is in a file never reaches a message.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;

use camino::{Utf8Path, Utf8PathBuf};
use cap_std_ext::cap_std::fs::Dir;
use rustix::fs::{MemfdFlags, SealFlags};
use serde::Deserialize;

use crate::model::{AuthFile, AuthSource, BoundImage, Fault, FaultKind, RootRole};
use crate::root::OsRoot;

/// Auth files that hold for every image, in ostree's order; the first that exists is used alone.
///
/// Source: `ostree-ext/src/globals.rs` of bootc. Its man page has another order; the code counts.
const DEFAULT_AUTH_FILES: [&str; 3] = [
    "/run/ostree/auth.json",
    "/etc/ostree/auth.json",
    "/usr/lib/ostree/auth.json",
];

/// More than any list of registries needs.
const MAX_AUTH_FILE_BYTES: u64 = 1024 * 1024;

/// The two roots in which auth files and certificates are looked up, in this order.
#[derive(Debug, Clone, Copy)]
pub struct AuthRoots<'a> {
    /// The root whose declarations are read.
    pub new: &'a OsRoot,
    /// The root of the running system.
    pub current: &'a OsRoot,
}

/// Contents of an auth file in an anonymous, sealed file; `{}` for an anonymous pull.
#[derive(Debug)]
pub struct AuthFd(OwnedFd);

impl AuthFd {
    /// The descriptor, to be handed to a child process.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// Finds the auth file for an image without opening it.
///
/// Fails with [`FaultKind::Auth`] when the image names an `AuthFile=` that is in neither root.
pub fn find(roots: AuthRoots<'_>, image: &BoundImage) -> anyhow::Result<AuthSource> {
    if let Some(option) = &image.options.auth_file {
        return match find_in_both(roots, &option.path)? {
            Some(file) => Ok(AuthSource::File(file)),
            None => Err(missing(roots, &option.path, &option.position.to_string()).into()),
        };
    }
    // New root first, then the current one; within a root, ostree's order.
    for (role, root) in roots.in_order() {
        for path in DEFAULT_AUTH_FILES {
            if let Some(file) = find_in(role, root, Utf8Path::new(path))? {
                return Ok(AuthSource::File(file));
            }
        }
    }
    Ok(AuthSource::Anonymous)
}

/// Reads what `source` names, checks that it is a JSON object, and seals it in memory.
///
/// Fails with [`FaultKind::Auth`] when the file is malformed or cannot be read.
pub fn open(roots: AuthRoots<'_>, source: &AuthSource) -> anyhow::Result<AuthFd> {
    let file = match source {
        AuthSource::File(file) => file,
        AuthSource::Anonymous => return sealed(b"{}"),
        AuthSource::Unavailable(reason) => {
            return Err(Fault::new(FaultKind::Auth, reason.as_str()).into());
        }
    };
    let root = match file.held_by {
        RootRole::New => roots.new,
        RootRole::Current => roots.current,
    };
    let refuse = |reason: String| {
        let message = format!("auth file {} {reason}", file.outside);
        anyhow::Error::from(Fault::new(FaultKind::Auth, message))
    };
    let content = root
        .read_optional(&file.inside, MAX_AUTH_FILE_BYTES)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?
        .ok_or_else(|| refuse("has gone".to_owned()))?;
    // Line and column only: the parser's own text could quote what it met.
    let place =
        |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    match serde_json::from_slice::<serde_json::Value>(&content) {
        Ok(value) if value.is_object() => {}
        Ok(_) => return Err(refuse("is no JSON object".to_owned())),
        Err(error) => return Err(refuse(format!("is not valid JSON ({})", place(error)))),
    }
    match serde_json::from_slice::<Format>(&content) {
        Ok(_) => sealed(&content),
        Err(error) => Err(refuse(format!(
            "is not in the format of containers-auth.json ({})",
            place(error)
        ))),
    }
}

/// What podman refuses to read otherwise, without naming the file. It is read and dropped.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only deserialised")]
struct Format {
    auths: Option<BTreeMap<String, Option<Login>>>,
    #[serde(rename = "credHelpers")]
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only deserialised")]
struct Login {
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// Finds the directory of `CertDir=`; the roots are tried as for an auth file.
///
/// Fails with [`FaultKind::Auth`] when it is in neither root, or holds a symlink: podman gets the
/// directory by descriptor, so a link in it would lead into the running host.
pub fn open_cert_dir(roots: AuthRoots<'_>, path: &Utf8Path) -> anyhow::Result<OwnedFd> {
    for (_, root) in roots.in_order() {
        for inside in candidates(root, path)? {
            if let Some(dir) = root.open_dir_optional(&inside)? {
                refuse_links(&dir, path, &root.outside_path(&inside))?;
                return Ok(dir.into_std_file().into());
            }
        }
    }
    let message = format!("CertDir={path} is in {}", neither(roots, path));
    Err(Fault::new(FaultKind::Auth, message).into())
}

fn refuse_links(dir: &Dir, path: &Utf8Path, outside: &Utf8Path) -> anyhow::Result<()> {
    for entry in dir.entries()? {
        let name = entry?.file_name();
        if dir.symlink_metadata(&name)?.is_symlink() {
            let link = outside.join(name.to_string_lossy().as_ref());
            let message = format!(
                "CertDir={path}: {link} is a symlink; podman would follow it in the running host; \
                 put the file itself there"
            );
            return Err(Fault::new(FaultKind::Auth, message).into());
        }
    }
    Ok(())
}

impl<'a> AuthRoots<'a> {
    fn in_order(self) -> [(RootRole, &'a OsRoot); 2] {
        [(RootRole::New, self.new), (RootRole::Current, self.current)]
    }
}

fn find_in_both(roots: AuthRoots<'_>, path: &Utf8Path) -> anyhow::Result<Option<AuthFile>> {
    for (role, root) in roots.in_order() {
        if let Some(file) = find_in(role, root, path)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn find_in(role: RootRole, root: &OsRoot, path: &Utf8Path) -> anyhow::Result<Option<AuthFile>> {
    for inside in candidates(root, path)? {
        let exists = root.exists(&inside).map_err(|error| {
            let outside = root.outside_path(&inside);
            let message = format!("auth file {outside} cannot be looked up: {error}");
            Fault::new(FaultKind::Auth, message)
        })?;
        if exists {
            return Ok(Some(AuthFile {
                held_by: role,
                outside: root.outside_path(&inside),
                inside,
            }));
        }
    }
    Ok(None)
}

/// The places of a path in a root: `/etc` is still `usr/etc` where it has not been merged yet.
fn candidates(root: &OsRoot, path: &Utf8Path) -> anyhow::Result<Vec<Utf8PathBuf>> {
    let mut places = vec![path.to_owned()];
    if let Ok(below_etc) = path.strip_prefix("/etc")
        && !has_merged_etc(root)?
    {
        places.push(Utf8Path::new("/usr/etc").join(below_etc));
    }
    Ok(places)
}

fn has_merged_etc(root: &OsRoot) -> anyhow::Result<bool> {
    Ok(match root.open_dir_optional(Utf8Path::new("/etc"))? {
        None => false,
        Some(etc) => etc.entries()?.next().is_some(),
    })
}

fn missing(roots: AuthRoots<'_>, path: &Utf8Path, position: &str) -> Fault {
    let message = format!("{position}: AuthFile={path} is in {}", neither(roots, path));
    Fault::new(FaultKind::Auth, message)
}

fn neither(roots: AuthRoots<'_>, path: &Utf8Path) -> String {
    format!(
        "neither the new root ({}) nor the current root ({})",
        roots.new.outside_path(path),
        roots.current.outside_path(path)
    )
}

fn sealed(content: &[u8]) -> anyhow::Result<AuthFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("bound-images-auth", flags)?);
    file.write_all(content)?;
    file.rewind()?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(AuthFd(file.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use cap_std_ext::cap_std::ambient_authority;

    use super::*;
    use crate::model::{AuthFileOption, Declaration, ImageName, Position, PullOptions};

    struct Roots {
        temp: tempfile::TempDir,
        new: OsRoot,
        current: OsRoot,
    }

    impl Roots {
        fn with(files: &[(&str, &str)]) -> Self {
            let temp = tempfile::tempdir().unwrap();
            for root in ["new", "current"] {
                std::fs::create_dir_all(temp.path().join(root).join("usr")).unwrap();
            }
            for (path, content) in files {
                let path = temp.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            let open = |name: &str| {
                let dir = Dir::open_ambient_dir(temp.path().join(name), ambient_authority());
                OsRoot::new(dir.unwrap(), format!("/{name}").into()).unwrap()
            };
            let (new, current) = (open("new"), open("current"));
            Self { temp, new, current }
        }

        fn both(&self) -> AuthRoots<'_> {
            AuthRoots {
                new: &self.new,
                current: &self.current,
            }
        }
    }

    fn image(auth_file: Option<&str>) -> BoundImage {
        let position = Position {
            link: "web.image".into(),
            file: "/usr/web.image".into(),
            line: 4,
        };
        BoundImage {
            name: ImageName::parse("r.io/web").unwrap(),
            options: PullOptions {
                auth_file: auth_file.map(|path| AuthFileOption {
                    path: path.into(),
                    position: position.clone(),
                }),
                ..PullOptions::default()
            },
            declarations: vec![Declaration {
                position,
                raw: "r.io/web".into(),
            }],
        }
    }

    /// Files that exist, `AuthFile=`, and which file is found.
    const FOUND: [(&[&str], Option<&str>, &str); 11] = [
        (&[], None, "anonymous"),
        (
            &[
                "new/root/.docker/config.json",
                "current/run/containers/0/auth.json",
            ],
            None,
            "anonymous",
        ),
        (
            &[
                "current/run/ostree/auth.json",
                "new/usr/lib/ostree/auth.json",
            ],
            None,
            "/new/usr/lib/ostree/auth.json",
        ),
        (
            &["new/usr/lib/ostree/auth.json", "new/etc/ostree/auth.json"],
            None,
            "/new/etc/ostree/auth.json",
        ),
        (
            &["new/run/ostree/auth.json", "new/etc/ostree/auth.json"],
            None,
            "/new/run/ostree/auth.json",
        ),
        (
            &["new/usr/etc/ostree/auth.json"],
            None,
            "/new/usr/etc/ostree/auth.json",
        ),
        (
            &["new/usr/etc/ostree/auth.json", "new/etc/hostname"],
            None,
            "anonymous",
        ),
        (
            &["current/etc/ostree/auth.json"],
            None,
            "/current/etc/ostree/auth.json",
        ),
        (
            &["current/etc/a.json", "new/etc/a.json"],
            Some("/etc/a.json"),
            "/new/etc/a.json",
        ),
        (
            &["current/etc/a.json", "new/etc/ostree/auth.json"],
            Some("/etc/a.json"),
            "/current/etc/a.json",
        ),
        (
            &["new/usr/etc/a.json"],
            Some("/etc/a.json"),
            "/new/usr/etc/a.json",
        ),
    ];

    #[test]
    fn the_new_root_comes_first_and_ostrees_order_holds_within_it() {
        for (files, auth_file, want) in FOUND {
            let files: Vec<_> = files.iter().map(|path| (*path, "{}")).collect();
            let roots = Roots::with(&files);
            let source = find(roots.both(), &image(auth_file)).expect(want);
            assert_eq!(source.to_string(), want, "{files:?}");
        }
    }

    #[test]
    fn a_named_file_in_neither_root_is_a_fault_that_names_both_places() {
        let roots = Roots::with(&[("new/etc/ostree/auth.json", "{}")]);
        let error = find(roots.both(), &image(Some("/etc/pull.json"))).unwrap_err();
        assert_eq!(Fault::kind_of(&error), FaultKind::Auth);
        assert_eq!(
            error.to_string(),
            "bound-images.d/web.image -> /usr/web.image:4: AuthFile=/etc/pull.json is in neither \
             the new root (/new/etc/pull.json) nor the current root (/current/etc/pull.json)"
        );
    }

    #[test]
    fn a_malformed_file_is_refused_without_quoting_it() {
        for (content, want) in [
            ("", "is not valid JSON (line 1, column 0)"),
            (
                "{\"auths\": sEcReT",
                "is not valid JSON (line 1, column 11)",
            ),
            ("\"sEcReT\"", "is no JSON object"),
            (
                "{\"auths\": {\"r.io\": \"sEcReT\"}}",
                "is not in the format of containers-auth.json (line 1, column 27)",
            ),
        ] {
            let roots = Roots::with(&[("new/etc/ostree/auth.json", content)]);
            let source = find(roots.both(), &image(None)).expect("it exists");
            let error = open(roots.both(), &source).unwrap_err();
            assert_eq!(Fault::kind_of(&error), FaultKind::Auth);
            let message = format!("{error:#}");
            assert_eq!(
                message,
                format!("auth file /new/etc/ostree/auth.json {want}")
            );
        }
    }

    #[test]
    fn a_certificate_behind_a_link_is_refused() {
        let ca = [("new/usr/ca.crt", "x"), ("new/etc/certs/own.crt", "x")];
        let roots = Roots::with(&ca);
        open_cert_dir(roots.both(), "/etc/certs".into()).expect("it holds files");
        let link = roots.temp.path().join("new/etc/certs/ca.crt");
        std::os::unix::fs::symlink("../../usr/ca.crt", link).unwrap();
        let error = open_cert_dir(roots.both(), "/etc/certs".into()).unwrap_err();
        assert_eq!(Fault::kind_of(&error), FaultKind::Auth);
        assert_eq!(
            error.to_string(),
            "CertDir=/etc/certs: /new/etc/certs/ca.crt is a symlink; podman would follow it in \
             the running host; put the file itself there"
        );
    }

    #[test]
    fn contents_are_passed_on_unchanged_and_cannot_be_altered() {
        let content = "{ \"auths\": {} }\n";
        let roots = Roots::with(&[("current/run/ostree/auth.json", content)]);
        let source = find(roots.both(), &image(None)).expect("it exists");
        for (source, want) in [(source, content), (AuthSource::Anonymous, "{}")] {
            let fd = open(roots.both(), &source).expect("it is valid").into_fd();
            let mut file = File::from(fd);
            let mut read = String::new();
            file.read_to_string(&mut read).unwrap();
            assert_eq!(read, want);
            assert!(file.write_all(b"x").is_err());
        }
    }
}
