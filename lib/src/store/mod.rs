//! podman and its storage behind one door: reading a store directly, changing it through podman.
//!
//! **Invariants:** podman alone writes to a store, but for skopeo, which makes an image of layers
//! that have none so that podman can remove them. Foreign JSON is parsed in `listing`,
//! `health` and `main_store` only. `namespace` holds all unsafe code of the project.

mod classify;
mod deep;
mod ending;
mod health;
mod listing;
mod main_store;
mod namespace;
mod orphan_layout;
mod place;
mod podman;
mod podman_argv;
mod workplace;

pub use classify::{PodmanFault, Retry};
pub use deep::LayerCheck;
pub use main_store::layers_in_use;
pub use namespace::make_writable_here;
pub use place::Store;
pub use podman::{Podman, PodmanContext, PullRequest};
pub use workplace::{RunDirs, Workplace};
