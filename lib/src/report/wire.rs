//! Parts that several documents share.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{AuthSource, BoundImage, RootRole};

/// The value of `apiVersion` in every document.
pub(super) const API_VERSION: &str = "bound-images/v1";

/// A declaration: the link, the file it leads to, the line that names the image.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireSource {
    /// Name of the link in `usr/lib/bootc/bound-images.d`.
    pub link: String,
    /// The quadlet, an absolute path inside the root.
    pub file: String,
    /// Line of the `Image=` key, counted from 1.
    pub line: u32,
    /// The image as this declaration writes it.
    pub image: String,
}

/// Where credentials come from; never what they are.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireAuth {
    /// The kind of source.
    pub source: WireAuthSource,
    /// The file, for `newRoot` and `currentRoot`.
    pub path: Option<String>,
    /// Why there is none, for `unavailable`.
    pub error: Option<String>,
}

/// The kind of a source of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WireAuthSource {
    /// No credentials are used.
    Anonymous,
    /// A file in the root whose declarations are read.
    NewRoot,
    /// A file in the root of the running system.
    CurrentRoot,
    /// A file is named, and it is in neither root or cannot be looked for.
    Unavailable,
}

pub(super) fn sources(image: &BoundImage) -> Vec<WireSource> {
    image
        .declarations
        .iter()
        .map(|declaration| WireSource {
            link: declaration.position.link.clone(),
            file: declaration.position.file.to_string(),
            line: declaration.position.line,
            image: declaration.raw.clone(),
        })
        .collect()
}

impl From<&AuthSource> for WireAuth {
    fn from(auth: &AuthSource) -> Self {
        let without_path = |source| Self {
            source,
            path: None,
            error: None,
        };
        match auth {
            AuthSource::Anonymous => without_path(WireAuthSource::Anonymous),
            AuthSource::File(file) => Self {
                source: match file.held_by {
                    RootRole::New => WireAuthSource::NewRoot,
                    RootRole::Current => WireAuthSource::CurrentRoot,
                },
                path: Some(file.outside.to_string()),
                error: None,
            },
            AuthSource::Unavailable(error) => Self {
                error: Some(error.clone()),
                ..without_path(WireAuthSource::Unavailable)
            },
        }
    }
}
