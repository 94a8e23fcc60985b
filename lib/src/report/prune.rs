//! `PruneReport`: what was, or would be, removed.

use schemars::JsonSchema;
use serde::Serialize;

use super::wire::API_VERSION;
use crate::plan::{PruneMode, PrunePlan};

const KIND: &str = "PruneReport";

/// Output of `prune`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    /// Version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: &'static str,
    /// What this document is.
    #[schemars(extend("const" = KIND))]
    pub kind: &'static str,
    /// Images that are gone, by ID.
    pub removed: Vec<PruneItem>,
    /// Images that stay, by ID.
    pub kept: Vec<PruneItem>,
    /// Layers that belonged to no image and are gone, by ID.
    pub removed_layers: Vec<String>,
    /// Bytes of layers and metadata that nothing refers to any more.
    pub freed_bytes: u64,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// One image of the store.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneItem {
    /// Its ID.
    pub id: String,
    /// Its names: all that it had, or those that it keeps.
    pub names: Vec<String>,
    /// Names that a kept image loses, since no root needs them.
    pub removed_names: Vec<String>,
    /// Bytes in the store, with layers that others share.
    pub size_bytes: u64,
    /// Why it goes or stays.
    pub reason: String,
}

impl PruneReport {
    /// The report of a plan that was carried out, or only made.
    pub fn new(plan: &PrunePlan, mode: PruneMode) -> Self {
        let removed = plan.removed.iter().map(|image| PruneItem {
            id: image.id.to_string(),
            names: image.names.clone(),
            removed_names: Vec::new(),
            size_bytes: image.size_bytes,
            reason: image.reason.clone(),
        });
        let kept = plan.kept.iter().map(|image| PruneItem {
            id: image.id.to_string(),
            names: image.names.clone(),
            removed_names: image.removed_names.clone(),
            size_bytes: image.size_bytes,
            reason: image.reason.clone(),
        });
        Self {
            api_version: API_VERSION,
            kind: KIND,
            removed: removed.collect(),
            kept: kept.collect(),
            removed_layers: plan
                .orphans
                .layers
                .iter()
                .map(ToString::to_string)
                .collect(),
            freed_bytes: plan.freed_bytes,
            dry_run: mode == PruneMode::DryRun,
        }
    }
}
