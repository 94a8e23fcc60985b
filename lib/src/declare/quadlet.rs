//! The keys of `.image` and `.container` quadlets that say which image is bound, and how.

use camino::Utf8PathBuf;

use super::unit_file::{Entry, UnitFile};
use super::value::{boolean, expand};
use crate::model::{ImageName, Platform, TlsVerify};

/// The two types of quadlet that can be linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuadletKind {
    Image,
    Container,
}

/// A value with the line of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lined<T> {
    pub(super) value: T,
    pub(super) line: u32,
}

/// A problem with the line of its key; none when the key is missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyFault {
    pub(super) line: Option<u32>,
    pub(super) problem: String,
}

/// What one quadlet asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quadlet {
    pub(super) image: Lined<ImageField>,
    pub(super) auth_file: Option<Lined<Utf8PathBuf>>,
    pub(super) cert_dir: Option<Utf8PathBuf>,
    pub(super) tls_verify: Option<TlsVerify>,
    pub(super) platform: Platform,
    /// Keys that podman honours and a bound image cannot, with their lines.
    pub(super) ignored_keys: Vec<Lined<&'static str>>,
}

/// The value of `Image=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageField {
    /// An image.
    Name { raw: String, name: ImageName },
    /// The file name of an `.image` quadlet of the same root.
    Quadlet(String),
}

/// Keys of `[Image]` that change a pull but have no meaning here.
const IGNORED_KEYS: [&str; 10] = [
    "AllTags",
    "ContainersConfModule",
    "Creds",
    "DecryptionKey",
    "GlobalArgs",
    "ImageTag",
    "PodmanArgs",
    "Policy",
    "Retry",
    "RetryDelay",
];

impl QuadletKind {
    /// The kind that a file name's extension says.
    pub(super) fn of_file_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.') {
            Some((stem, "image")) if !stem.is_empty() => Some(Self::Image),
            Some((stem, "container")) if !stem.is_empty() => Some(Self::Container),
            _ => None,
        }
    }

    fn section(self) -> &'static str {
        match self {
            Self::Image => "Image",
            Self::Container => "Container",
        }
    }
}

/// Reads a quadlet's keys; returns all of their faults when there are any.
pub(super) fn read(kind: QuadletKind, unit: &UnitFile) -> Result<Quadlet, Vec<KeyFault>> {
    let keys = Keys {
        unit,
        section: kind.section(),
    };
    let mut faults = Vec::new();
    let mut kept = |fault: KeyFault| faults.push(fault);
    let image = image_field(kind, &keys).map_err(&mut kept).ok();
    // A .container has none of these keys, and podman would refuse them.
    let of_image = |key| match kind {
        QuadletKind::Image => keys.optional(key),
        QuadletKind::Container => Ok(None),
    };
    let mut text = |key| of_image(key).map_err(&mut kept).ok().flatten();
    let auth_file = text("AuthFile");
    let cert_dir = text("CertDir");
    let tls_verify = text("TLSVerify");
    let platform = Platform {
        arch: text("Arch").map(|arch| arch.value),
        os: text("OS").map(|os| os.value),
        variant: text("Variant").map(|variant| variant.value),
    };
    let tls_verify = tls_verify.and_then(|text| {
        let verified = boolean(&text.value).map_err(|problem| {
            kept(KeyFault {
                line: Some(text.line),
                problem: format!("TLSVerify={problem}"),
            });
        });
        verified.ok()
    });
    match image {
        Some(image) if faults.is_empty() => Ok(Quadlet {
            image,
            auth_file: auth_file.map(|path| Lined {
                value: absolute(&path.value),
                line: path.line,
            }),
            cert_dir: cert_dir.map(|path| absolute(&path.value)),
            tls_verify: tls_verify.map(|verified| match verified {
                true => TlsVerify::Required,
                false => TlsVerify::Skipped,
            }),
            platform,
            ignored_keys: ignored_keys(kind, &keys),
        }),
        _ => Err(faults),
    }
}

fn image_field(kind: QuadletKind, keys: &Keys<'_>) -> Result<Lined<ImageField>, KeyFault> {
    let Some(entry) = keys.last("Image") else {
        let problem = match keys.last("Rootfs") {
            Some(_) => "it has Rootfs= and no Image=, so there is no image to bind".to_owned(),
            None => format!("Image= is missing in [{}]", keys.section),
        };
        return Err(KeyFault {
            line: None,
            problem,
        });
    };
    let fault = |problem: String| KeyFault {
        line: Some(entry.line),
        problem: format!("Image={problem}"),
    };
    let raw = expand(&entry.value).map_err(|problem| fault(format!(": {problem}")))?;
    if raw.is_empty() {
        return Err(fault(" is empty".to_owned()));
    }
    let value = match kind {
        QuadletKind::Container if raw.ends_with(".image") => ImageField::Quadlet(raw),
        QuadletKind::Container if raw.ends_with(".build") => {
            return Err(fault(format!(
                "{raw}: an image that is built on the host cannot be bound"
            )));
        }
        _ => match ImageName::parse(&raw) {
            Ok(name) => ImageField::Name { raw, name },
            Err(problem) => return Err(fault(format!("{raw:?} cannot be bound: {problem}"))),
        },
    };
    Ok(Lined {
        value,
        line: entry.line,
    })
}

fn ignored_keys(kind: QuadletKind, keys: &Keys<'_>) -> Vec<Lined<&'static str>> {
    if kind == QuadletKind::Container {
        return Vec::new();
    }
    let found = |key| {
        keys.last(key).map(|entry| Lined {
            value: key,
            line: entry.line,
        })
    };
    IGNORED_KEYS.into_iter().filter_map(found).collect()
}

/// systemd starts a unit in `/`, so that is what a relative path is relative to.
fn absolute(path: &str) -> Utf8PathBuf {
    Utf8PathBuf::from("/").join(path)
}

struct Keys<'a> {
    unit: &'a UnitFile,
    section: &'static str,
}

impl<'a> Keys<'a> {
    fn last(&self, key: &str) -> Option<&'a Entry> {
        self.unit.last(self.section, key)
    }

    /// An expanded value; an empty one counts as absent, as in podman.
    fn optional(&self, key: &str) -> Result<Option<Lined<String>>, KeyFault> {
        let Some(entry) = self.last(key).filter(|entry| !entry.value.is_empty()) else {
            return Ok(None);
        };
        let line = entry.line;
        match expand(&entry.value) {
            Ok(value) => Ok(Some(Lined { value, line })),
            Err(problem) => Err(KeyFault {
                line: Some(line),
                problem: format!("{key}=: {problem}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::unit_file::parse;
    use super::*;

    fn quadlet(kind: QuadletKind, text: &str) -> Result<Quadlet, Vec<KeyFault>> {
        read(kind, &parse(text).expect(text))
    }

    #[test]
    fn every_key_of_an_image_is_read() {
        let quadlet = quadlet(
            QuadletKind::Image,
            "[Image]\nImage=r.io/a:1\nAuthFile=/etc/a.json\nCertDir=etc/certs\nTLSVerify=no\n\
             Arch=arm64\nOS=linux\nVariant=v8\nCreds=u:p\n",
        )
        .expect("it is valid");
        assert_eq!(quadlet.image.line, 2);
        let auth_file = quadlet.auth_file.expect("AuthFile= is set");
        assert_eq!(
            (auth_file.value.as_str(), auth_file.line),
            ("/etc/a.json", 3)
        );
        assert_eq!(quadlet.cert_dir, Some("/etc/certs".into()));
        assert_eq!(quadlet.tls_verify, Some(TlsVerify::Skipped));
        let Platform { arch, os, variant } = quadlet.platform;
        assert_eq!(
            [arch, os, variant].map(Option::unwrap_or_default),
            ["arm64", "linux", "v8"]
        );
        assert_eq!(
            quadlet.ignored_keys,
            [Lined {
                value: "Creds",
                line: 9
            }]
        );
    }

    #[test]
    fn an_empty_option_is_an_absent_one() {
        let text = "[Image]\nImage=r.io/a:1\nAuthFile=/x\nAuthFile=\nTLSVerify=\n";
        let quadlet = quadlet(QuadletKind::Image, text).expect("it is valid");
        assert_eq!((quadlet.auth_file, quadlet.tls_verify), (None, None));
    }

    #[test]
    fn a_container_names_an_image_or_an_image_quadlet() {
        let field = |value: &str| {
            quadlet(
                QuadletKind::Container,
                &format!("[Container]\nImage={value}\n"),
            )
            .map(|quadlet| quadlet.image.value)
            .map_err(|faults| faults[0].problem.clone())
        };
        assert_eq!(
            field("web.image"),
            Ok(ImageField::Quadlet("web.image".into()))
        );
        assert!(matches!(field("r.io/a"), Ok(ImageField::Name { .. })));
        assert_eq!(
            field("web.build"),
            Err("Image=web.build: an image that is built on the host cannot be bound".into())
        );
    }

    #[test]
    fn all_faults_of_a_file_come_together() {
        let text = "[Image]\nImage=r.io/%i\nAuthFile=%h/auth.json\nTLSVerify=maybe\n";
        let faults = quadlet(QuadletKind::Image, text).unwrap_err();
        let lines: Vec<Option<u32>> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn a_missing_or_empty_image_is_a_fault() {
        for (kind, text, want) in [
            (
                QuadletKind::Image,
                "[Image]\n",
                "Image= is missing in [Image]",
            ),
            (
                QuadletKind::Image,
                "[Container]\nImage=r.io/a\n",
                "Image= is missing in [Image]",
            ),
            (
                QuadletKind::Container,
                "[Container]\nRootfs=/x\n",
                "it has Rootfs= and no Image=, so there is no image to bind",
            ),
            (QuadletKind::Image, "[Image]\nImage=\n", "Image= is empty"),
            (
                QuadletKind::Image,
                "[Image]\nImage=\"\"\n",
                "Image= is empty",
            ),
        ] {
            let faults = quadlet(kind, text).unwrap_err();
            assert_eq!(faults[0].problem, want, "{text:?}");
        }
    }
}
