//! A name with what it meant when it was looked up.

use super::{Digest, ImageId};

/// What a registry says that a name means, for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// Digest of the manifest for this platform, or the digest by which the name is pinned.
    pub digest: Digest,
    /// Digest of its configuration, which is the ID that it has in a store.
    pub id: ImageId,
    /// Its layers from base to top.
    pub layers: Vec<ResolvedLayer>,
}

/// A layer as a registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedLayer {
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size_bytes: u64,
}
