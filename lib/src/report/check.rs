//! `CheckReport`: a root's valid declarations, and what is odd about them.

use schemars::JsonSchema;
use serde::Serialize;

use super::wire::{API_VERSION, WireSource, sources};
use crate::model::{DeclarationFault, Declared};

const KIND: &str = "CheckReport";

/// Output of `check`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: &'static str,
    /// What this document is.
    #[schemars(extend("const" = KIND))]
    pub kind: &'static str,
    /// One entry an image, in the order of the links' names.
    pub items: Vec<CheckItem>,
    /// What a person should know, though nothing is invalid.
    pub warnings: Vec<WireWarning>,
}

/// One bound image.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckItem {
    /// The image as its first declaration writes it.
    pub image: String,
    /// The name under which the store will keep it.
    pub name: String,
    /// Every declaration of it.
    pub sources: Vec<WireSource>,
}

/// One oddity.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireWarning {
    /// Name of the link.
    pub link: String,
    /// The quadlet, an absolute path inside the root.
    pub file: Option<String>,
    /// Line, counted from 1.
    pub line: Option<u32>,
    /// What it is.
    pub message: String,
}

impl From<&Declared> for CheckReport {
    fn from(declared: &Declared) -> Self {
        let items = declared.images.iter().map(|image| CheckItem {
            image: image.raw().to_owned(),
            name: image.name.to_string(),
            sources: sources(image),
        });
        Self {
            api_version: API_VERSION,
            kind: KIND,
            items: items.collect(),
            warnings: declared.warnings.iter().map(WireWarning::from).collect(),
        }
    }
}

impl From<&DeclarationFault> for WireWarning {
    fn from(fault: &DeclarationFault) -> Self {
        Self {
            link: fault.link.clone(),
            file: fault.file.as_ref().map(ToString::to_string),
            line: fault.line,
            message: fault.problem.clone(),
        }
    }
}
