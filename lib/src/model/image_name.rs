//! Image names: what the user wrote, turned into what the store keeps.

use std::fmt;
use std::str::FromStr;

use oci_spec::distribution::Reference;
use serde::{Deserialize, Serialize};

use super::Digest;

/// A canonical image name: `host/repository:tag` or `host/repository@digest`.
///
/// It is the name under which podman stores the image. A tag beside a digest is
/// dropped, a missing tag is `latest`, `docker://` is no part of the name.
/// Source: containers/common `libimage` (`NormalizeName`), measured on podman 4.3 and 5.4.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName {
    canonical: String,
    repository_len: usize,
    digest: Option<Digest>,
}

/// Why a string names no image that can be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageNameError {
    /// No registry host: what such a name means depends on each host's configuration.
    ShortName,
    /// A transport other than `docker://`.
    Transport(String),
    /// A digest that is not `sha256:` and 64 lowercase hexadecimal digits.
    Digest,
    /// Not a reference at all; the reason is the parser's.
    Invalid(String),
}

impl ImageName {
    /// Reads a name as a quadlet's author writes it.
    pub fn parse(raw: &str) -> Result<Self, ImageNameError> {
        let reference_text = raw.strip_prefix("docker://").unwrap_or(raw);
        if let Some(transport) = foreign_transport(reference_text) {
            return Err(ImageNameError::Transport(transport.to_owned()));
        }
        let reference = Reference::from_str(reference_text)
            .map_err(|error| ImageNameError::Invalid(error.to_string()))?;
        if !names_a_registry(reference_text) {
            return Err(ImageNameError::ShortName);
        }
        let digest = reference
            .digest()
            .map(|digest| digest.parse().map_err(|_| ImageNameError::Digest))
            .transpose()?;
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let selector = match (&digest, reference.tag()) {
            (Some(digest), _) => format!("@{digest}"),
            (None, tag) => format!(":{}", tag.unwrap_or("latest")),
        };
        Ok(Self {
            repository_len: repository.len(),
            canonical: repository + &selector,
            digest,
        })
    }

    /// The name under which the store keeps the image.
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// Host and repository, without tag or digest.
    pub fn repository(&self) -> &str {
        &self.canonical[..self.repository_len]
    }

    /// The digest, when the name is pinned by one; such an image never changes.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl TryFrom<String> for ImageName {
    type Error = ImageNameError;

    fn try_from(text: String) -> Result<Self, ImageNameError> {
        Self::parse(&text)
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.canonical
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.canonical)
    }
}

impl fmt::Display for ImageNameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortName => formatter.write_str(
                "it has no registry, so what it means differs from host to host; \
                 write HOST/REPOSITORY[:TAG], such as docker.io/library/NAME",
            ),
            Self::Transport(transport) => write!(
                formatter,
                "transport {transport} cannot be bound; only images from a registry can"
            ),
            Self::Digest => {
                formatter.write_str("its digest is not sha256 with 64 lowercase hexadecimal digits")
            }
            Self::Invalid(reason) => formatter.write_str(reason),
        }
    }
}

impl std::error::Error for ImageNameError {}

/// The transports of containers-transports(5) that are no registry.
fn foreign_transport(text: &str) -> Option<&'static str> {
    [
        "containers-storage:",
        "dir:",
        "docker-archive:",
        "docker-daemon:",
        "oci:",
        "oci-archive:",
        "ostree:",
        "sif:",
        "tarball:",
    ]
    .into_iter()
    .find(|transport| {
        // "oci:v1" is a short name with a tag; a transport is followed by a path.
        text.strip_prefix(transport)
            .is_some_and(|rest| rest.contains('/') || rest.starts_with('['))
    })
}

/// Whether the first component is a host by the rule of docker and podman.
fn names_a_registry(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_what_podman_stores() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let table = [
            ("quay.io/app".to_owned(), "quay.io/app:latest".to_owned()),
            ("quay.io/app:v1".into(), "quay.io/app:v1".into()),
            ("docker://quay.io/app:v1".into(), "quay.io/app:v1".into()),
            ("docker://quay.io/app".into(), "quay.io/app:latest".into()),
            (
                format!("quay.io/app@{digest}"),
                format!("quay.io/app@{digest}"),
            ),
            (
                format!("quay.io/app:v1@{digest}"),
                format!("quay.io/app@{digest}"),
            ),
            (
                format!("docker://quay.io/app:v1@{digest}"),
                format!("quay.io/app@{digest}"),
            ),
            (
                "docker.io/nginx".into(),
                "docker.io/library/nginx:latest".into(),
            ),
            (
                "127.0.0.1:5000/a/b_c/d-e:V1.2".into(),
                "127.0.0.1:5000/a/b_c/d-e:V1.2".into(),
            ),
            ("localhost/app".into(), "localhost/app:latest".into()),
        ];
        for (raw, want) in table {
            let name = ImageName::parse(&raw).expect(&raw);
            assert_eq!(name.as_str(), want, "{raw}");
            assert_eq!(name.digest().is_some(), want.contains('@'), "{raw}");
            assert!(want.starts_with(name.repository()), "{raw}");
        }
    }

    #[test]
    fn what_cannot_be_bound_is_refused() {
        use ImageNameError::{Digest, Invalid, ShortName, Transport};
        let invalid = || Invalid("invalid reference format".into());
        let upper = format!("quay.io/a@sha256:{}", "AB".repeat(32));
        for (raw, want) in [
            ("nginx", ShortName),
            ("library/nginx:1", ShortName),
            ("oci:v1", ShortName),
            ("oci-archive:/tmp/a.tar", Transport("oci-archive:".into())),
            (
                "containers-storage:[overlay@/x]quay.io/a",
                Transport("containers-storage:".into()),
            ),
            (
                "",
                Invalid("repository name must have at least one component".into()),
            ),
            ("quay.io/App", invalid()),
            ("quay.io/a b", invalid()),
            ("quay.io/a:", invalid()),
            ("quay.io/a@sha256:12", invalid()),
            ("https://quay.io/a", invalid()),
            (&upper, Digest),
        ] {
            assert_eq!(ImageName::parse(raw), Err(want), "{raw:?}");
        }
    }
}
