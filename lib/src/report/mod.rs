//! The documents that programs read: versioned, and described by a published JSON Schema each.
//!
//! **Invariant:** within one `apiVersion` fields are added, never renamed or removed.

mod check;
mod images;
mod plan;
mod prune;
mod pull;
mod wire;

pub use check::{CheckItem, CheckReport, WireWarning};
pub use images::{BoundImageItem, BoundImageList, WireState};
pub use plan::{PlanItem, PullPlanReport, WireAction};
pub use prune::{PruneItem, PruneReport};
pub use pull::{PullItem, PullReport, WireResult};
pub use wire::{WireAuth, WireAuthSource, WireSource};
