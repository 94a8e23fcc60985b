//! What an OS image asks for: declarations, and the bound images that they validate to.

use std::fmt;

use camino::Utf8PathBuf;

use super::ImageName;

/// A place in a root's declarations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Name of the link in `usr/lib/bootc/bound-images.d`.
    pub link: String,
    /// The quadlet that it leads to, as an absolute path inside the root.
    pub file: Utf8PathBuf,
    /// Line of the key, counted from 1.
    pub line: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, file, line } = self;
        write!(formatter, "bound-images.d/{link} -> {file}:{line}")
    }
}

/// What one link asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Where the image is named.
    pub position: Position,
    /// The image string as its author wrote it, specifiers expanded.
    pub raw: String,
}

/// An image that a root binds, with every declaration of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundImage {
    /// The name under which the store keeps it.
    pub name: ImageName,
    /// How to pull it; the union of what its declarations ask for.
    pub options: PullOptions,
    /// Who asks for it, in the order of the links' names; never empty.
    pub declarations: Vec<Declaration>,
}

impl BoundImage {
    /// The image as the first of its declarations writes it.
    pub fn raw(&self) -> &str {
        &self.declarations[0].raw
    }
}

/// The keys of a quadlet that change how an image is pulled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// `AuthFile=`
    pub auth_file: Option<AuthFileOption>,
    /// `CertDir=`, an absolute path inside a root.
    pub cert_dir: Option<Utf8PathBuf>,
    /// `TLSVerify=`; without it the host's registries.conf decides.
    pub tls_verify: Option<TlsVerify>,
    /// `Arch=`, `OS=`, `Variant=`
    pub platform: Platform,
}

/// An `AuthFile=` key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFileOption {
    /// Absolute path inside a root.
    pub path: Utf8PathBuf,
    /// Where it is named, for a message when it is missing.
    pub position: Position,
}

/// Whether a registry's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVerify {
    /// HTTPS with a valid certificate is required.
    Required,
    /// Any certificate, or plain HTTP, will do.
    Skipped,
}

/// The platform to choose from a multi-platform image; what is absent is the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platform {
    /// `Arch=`, in Go's terms (`amd64`, `arm64`).
    pub arch: Option<String>,
    /// `OS=`
    pub os: Option<String>,
    /// `Variant=`
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of this machine, in Go's terms.
    pub fn of_this_machine() -> Self {
        Self {
            arch: Some(arch_of_this_machine().to_owned()),
            os: Some(std::env::consts::OS.to_owned()),
            variant: None,
        }
    }

    /// Whether an image of the platform `actual` is what this asks for; what is absent fits.
    pub fn accepts(&self, actual: &Self) -> bool {
        let agrees = |wanted: &Option<String>, actual: &Option<String>| match (wanted, actual) {
            (Some(wanted), Some(actual)) => normalized(wanted) == normalized(actual),
            _ => true,
        };
        agrees(&self.arch, &actual.arch)
            && agrees(&self.os, &actual.os)
            && agrees(&self.variant, &actual.variant)
    }

    /// This platform, with that of `other` where it says nothing.
    pub fn or(&self, other: &Self) -> Self {
        Self {
            arch: self.arch.clone().or_else(|| other.arch.clone()),
            os: self.os.clone().or_else(|| other.os.clone()),
            variant: self.variant.clone().or_else(|| other.variant.clone()),
        }
    }
}

fn arch_of_this_machine() -> &'static str {
    match std::env::consts::ARCH {
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => normalized(other),
    }
}

/// Go's name of an architecture; podman takes both.
fn normalized(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i686" | "i386" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_agree_by_either_name_and_where_nothing_is_said() {
        let platform = |arch: Option<&str>| Platform {
            arch: arch.map(str::to_owned),
            ..Platform::default()
        };
        for (wanted, actual, want) in [
            (Some("amd64"), Some("amd64"), true),
            (Some("x86_64"), Some("amd64"), true),
            (Some("aarch64"), Some("arm64"), true),
            (Some("arm64"), Some("amd64"), false),
            (None, Some("amd64"), true),
            (Some("amd64"), None, true),
        ] {
            assert_eq!(
                platform(wanted).accepts(&platform(actual)),
                want,
                "{wanted:?} {actual:?}"
            );
        }
    }
}
