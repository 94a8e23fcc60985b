//! `BoundImageList`: the bound images of a root with their state in the store.

use schemars::JsonSchema;
use serde::Serialize;

use super::wire::{API_VERSION, WireAuth, WireSource, sources};
use crate::model::{ListedImage, StoredState};

const KIND: &str = "BoundImageList";

/// Output of `list`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundImageList {
    /// Version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: &'static str,
    /// What this document is.
    #[schemars(extend("const" = KIND))]
    pub kind: &'static str,
    /// One entry an image, in the order of the links' names.
    pub items: Vec<BoundImageItem>,
}

/// One bound image.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundImageItem {
    /// The image as its first declaration writes it.
    pub image: String,
    /// The name under which the store keeps it.
    pub name: String,
    /// Digest of its manifest; null while it is missing and declared by tag.
    pub digest: Option<String>,
    /// Its ID in the store.
    pub id: Option<String>,
    /// Bytes in the store, with layers that others share.
    pub size_bytes: Option<u64>,
    /// Its state.
    pub state: WireState,
    /// What is wrong with it, for `damaged`.
    pub damage: Option<String>,
    /// Whether all of its layers are known to be whole and on disk. A pull checks the others.
    pub verified: bool,
    /// Where credentials would come from.
    pub auth: WireAuth,
    /// Every declaration of it.
    pub sources: Vec<WireSource>,
    /// The deployments that bind it; empty for a root that is no deployment.
    pub deployments: Vec<String>,
}

/// The state of an image in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WireState {
    /// It is there.
    Present,
    /// It is not there.
    Missing,
    /// It is there, and its name means another image by now.
    Moved,
    /// It is there and not whole.
    Damaged,
    /// The store cannot be read by this user.
    Unknown,
}

impl From<&[ListedImage]> for BoundImageList {
    fn from(images: &[ListedImage]) -> Self {
        Self {
            api_version: API_VERSION,
            kind: KIND,
            items: images.iter().map(BoundImageItem::from).collect(),
        }
    }
}

impl From<&ListedImage> for BoundImageItem {
    fn from(listed: &ListedImage) -> Self {
        let declared_digest = listed.image.name.digest();
        let mut item = Self {
            image: listed.image.raw().to_owned(),
            name: listed.image.name.to_string(),
            digest: declared_digest.map(ToString::to_string),
            id: None,
            size_bytes: None,
            state: WireState::Unknown,
            damage: None,
            verified: false,
            auth: WireAuth::from(&listed.auth),
            sources: sources(&listed.image),
            deployments: Vec::new(),
        };
        match &listed.state {
            StoredState::Unknown => {}
            StoredState::Missing => item.state = WireState::Missing,
            StoredState::Present {
                id,
                digest,
                size_bytes,
                is_verified,
            } => {
                item.state = WireState::Present;
                item.id = Some(id.to_string());
                item.digest = digest.as_ref().map(ToString::to_string);
                item.size_bytes = Some(*size_bytes);
                item.verified = *is_verified;
            }
            StoredState::Damaged { id, digest, reason } => {
                item.state = WireState::Damaged;
                item.id = Some(id.to_string());
                item.digest = digest.as_ref().map(ToString::to_string);
                item.damage = Some(reason.clone());
            }
        }
        item
    }
}
