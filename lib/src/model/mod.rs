//! The words of the project as types.
//!
//! **Invariant:** nothing here does I/O or imports another room.

mod auth_source;
mod bound_image;
mod deployment;
mod digest;
mod event;
mod fault;
mod image_name;
mod inventory;
mod outcome;
mod resolved_image;

pub use auth_source::{AuthFile, AuthSource, RootRole};
pub use bound_image::{
    AuthFileOption, BoundImage, Declaration, Platform, Position, PullOptions, TlsVerify,
};
pub use deployment::{
    Deployment, DeploymentId, NotADeployment, OsImage, OsReference, OsSource, Receipt,
    ReceiptImage, Slot,
};
pub use digest::{Digest, ImageId, LayerId, NotHex64};
pub use event::{Event, Reporter};
pub use fault::{DeclarationFault, Fault, FaultKind, InvalidDeclarations};
pub use image_name::{ImageName, ImageNameError};
pub use inventory::{Health, InUse, Inventory, StoredImage, StoredLayer};
pub use outcome::{Declared, ListedImage, PullResult, PulledImage, StoredState};
pub use resolved_image::{ResolvedImage, ResolvedLayer};
