//! All integration tests, in one program; one file a subject.
//!
//! Every test needs root, for mounts, so every name starts with `privileged_`.

mod auth;
mod bench;
mod crash;
mod declarations;
mod fixture;
mod fixture_ostree;
mod fixture_proxy;
mod isolation;
mod listing;
mod names;
mod nobody;
mod prune;
mod prune_in_use;
mod pull;
mod pull_faults;
mod readonly;
mod review_cli;
mod review_store;
mod roots;
mod schemas;
