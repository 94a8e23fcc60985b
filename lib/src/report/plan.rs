//! `PullPlan`: what a pull would do.

use schemars::JsonSchema;
use serde::Serialize;

use super::wire::{API_VERSION, WireAuth, WireSource, sources};
use crate::plan::{ProposedImage, PullAction};

const KIND: &str = "PullPlan";

/// Output of `plan`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PullPlan")]
pub struct PullPlanReport {
    /// Version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: &'static str,
    /// What this document is.
    #[schemars(extend("const" = KIND))]
    pub kind: &'static str,
    /// One entry an image, in the order of the links' names.
    pub items: Vec<PlanItem>,
}

/// What a pull would do with one image.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanItem {
    /// The image as its first declaration writes it.
    pub image: String,
    /// The name under which the store keeps it.
    pub name: String,
    /// Its ID, where it is present.
    pub id: Option<String>,
    /// What would be done.
    pub action: WireAction,
    /// Why, for `replace`.
    pub reason: Option<String>,
    /// Where credentials would come from.
    pub auth: WireAuth,
    /// Every declaration of it.
    pub sources: Vec<WireSource>,
}

/// What a pull does with one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WireAction {
    /// Nothing: it is present and may stay as it is.
    Keep,
    /// It is present, and its tag is looked up again.
    LookUp,
    /// It is missing and fetched.
    Fetch,
    /// It is damaged and fetched anew.
    Replace,
    /// The store cannot be read by this user.
    Unknown,
}

impl From<&[ProposedImage]> for PullPlanReport {
    fn from(images: &[ProposedImage]) -> Self {
        Self {
            api_version: API_VERSION,
            kind: KIND,
            items: images.iter().map(PlanItem::from).collect(),
        }
    }
}

impl From<&ProposedImage> for PlanItem {
    fn from(proposed: &ProposedImage) -> Self {
        let (action, id, reason) = match &proposed.action {
            None => (WireAction::Unknown, None, None),
            Some(PullAction::Keep { id, .. }) => (WireAction::Keep, Some(id), None),
            Some(PullAction::LookUp(id)) => (WireAction::LookUp, Some(id), None),
            Some(PullAction::Fetch) => (WireAction::Fetch, None, None),
            Some(PullAction::Replace(reason)) => (WireAction::Replace, None, Some(reason)),
        };
        Self {
            image: proposed.image.raw().to_owned(),
            name: proposed.image.name.to_string(),
            id: id.map(ToString::to_string),
            action,
            reason: reason.cloned(),
            auth: WireAuth::from(&proposed.auth),
            sources: sources(&proposed.image),
        }
    }
}
