//! `PullReport`: what became of each bound image.

use schemars::JsonSchema;
use serde::Serialize;

use super::wire::{API_VERSION, WireSource, sources};
use crate::model::{PullResult, PulledImage};

const KIND: &str = "PullReport";

/// Output of `pull`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullReport {
    /// Version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: &'static str,
    /// What this document is.
    #[schemars(extend("const" = KIND))]
    pub kind: &'static str,
    /// One entry an image, in the order of the links' names.
    pub items: Vec<PullItem>,
}

/// What became of one image.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullItem {
    /// The image as its first declaration writes it.
    pub image: String,
    /// The name under which the store keeps it.
    pub name: String,
    /// Digest of its manifest; null when it failed.
    pub digest: Option<String>,
    /// Its ID in the store; null when it failed.
    pub id: Option<String>,
    /// What became of it.
    pub result: WireResult,
    /// Bytes of layers that came over the network, compressed.
    pub bytes_fetched: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// Every declaration of it.
    pub sources: Vec<WireSource>,
}

/// The end of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WireResult {
    /// It was there already.
    Present,
    /// It has been fetched.
    Fetched,
    /// It could not be had.
    Failed,
}

impl From<&[PulledImage]> for PullReport {
    fn from(items: &[PulledImage]) -> Self {
        Self {
            api_version: API_VERSION,
            kind: KIND,
            items: items.iter().map(PullItem::from).collect(),
        }
    }
}

impl From<&PulledImage> for PullItem {
    fn from(item: &PulledImage) -> Self {
        let (result, id, digest, bytes_fetched, error) = match &item.result {
            PullResult::Present { id, digest } => (WireResult::Present, Some(id), digest, 0, None),
            PullResult::Fetched {
                id,
                digest,
                bytes_fetched,
            } => (WireResult::Fetched, Some(id), digest, *bytes_fetched, None),
            PullResult::Failed(error) => (
                WireResult::Failed,
                None,
                &None,
                0,
                Some(format!("{error:#}")),
            ),
        };
        Self {
            image: item.image.raw().to_owned(),
            name: item.image.name.to_string(),
            digest: digest.as_ref().map(ToString::to_string),
            id: id.map(ToString::to_string),
            result,
            bytes_fetched,
            error,
            sources: sources(&item.image),
        }
    }
}
