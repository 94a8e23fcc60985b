//! What a pull must not touch or tell: the host's mounts, its containers, its secrets; and what other programs may
//! have done to the store.

mod database;
mod host_podman;
mod mounts;
mod secrets;
