//! Logically bound images: the app images that an OS image names but does not contain.
//!
//! ```text
//!  new root                                              registry
//!     │ links, quadlets                                      │
//!     ▼                                                      ▼
//!  declare ──► bound images ──► auth ──► plan ──► transfer (podman) ──► verify ──► ledger
//!                                          ▲                              ▲
//!                                        store                          store
//!  all roots ──► root set ──► prune plan ──► remove
//! ```
//!
//! Values flow one way; a later step never decides again what an earlier one decided.
//!
//! # Reading order
//!
//! [`model`] has the words. [`root`] opens an OS root, [`declare`] reads what it asks for and
//! [`auth`] finds credentials. [`store`] reads a container store and lets podman change it, in
//! the mount namespace of `store/namespace.rs`; [`child`] runs any program. [`plan`] decides,
//! [`transfer`] repeats what is worth it, [`record`] remembers. [`ops`] joins them into verbs,
//! and [`report`] turns their results into documents for programs.
//!
//! # Invariants
//!
//! - **Check first.** Every declaration is validated before the network or the store is touched.
//! - **Present means whole and on disk.** A layer is trusted when it stands in the ledger, where
//!   it is entered after its filesystem was flushed; anything else is compared with its digest.
//! - **Prune is safe.** Needs are compared by image ID. When those of one root are unknown,
//!   nothing is removed.
//! - **Secrets travel as anonymous file descriptors**, never in arguments, environment, logs or
//!   files.
//! - **The host's mount table never changes.**
//! - **Plans are pure:** `plan` does no I/O, and executing a plan makes no choice.
//! - **Everything can be killed** and run again: it then completes, and sweeps.
//! - **Present and pinned means offline.** No packet is sent for a digest that is there.
//! - **The library never prints** and opens no ambient path; it is handed directories.

pub mod auth;
pub mod child;
pub mod declare;
pub mod model;
pub mod ops;
pub mod plan;
pub mod record;
pub mod report;
pub mod root;
pub mod store;
pub mod transfer;
