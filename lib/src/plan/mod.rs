//! What will be done, as values.
//!
//! **Invariant:** nothing here does I/O, and executing a plan makes no choice of its own.

mod orphans;
mod prune;
mod pull;

pub use orphans::{OrphanChain, Orphans, plan_orphans};
pub use prune::{KeptImage, PruneMode, PrunePlan, RemovedImage, RootNeeds, plan_prune};
pub use pull::{ProposedImage, PullAction, PullPolicy, PullStep, damage_of, plan_pull};
