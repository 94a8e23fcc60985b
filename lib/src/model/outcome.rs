//! What the verbs return: plain values for whoever shows them.

use super::{AuthSource, BoundImage, DeclarationFault, Digest, ImageId};

/// The valid declarations of a root.
#[derive(Debug)]
pub struct Declared {
    /// One entry an image, in the order of the links' names.
    pub images: Vec<BoundImage>,
    /// What a person should know, though nothing is invalid.
    pub warnings: Vec<DeclarationFault>,
}

/// One bound image as the store has it.
#[derive(Debug)]
pub struct ListedImage {
    /// The image and its declarations.
    pub image: BoundImage,
    /// What the store says.
    pub state: StoredState,
    /// Where credentials would come from.
    pub auth: AuthSource,
}

/// What the store says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredState {
    /// It is there.
    Present {
        /// Its ID.
        id: ImageId,
        /// The digest that is declared, or else the one that the store reports.
        digest: Option<Digest>,
        /// Size in bytes with layers that others share.
        size_bytes: u64,
        /// Whether all of its layers are known to be whole and on disk.
        is_verified: bool,
    },
    /// It is there and not whole.
    Damaged {
        /// Its ID.
        id: ImageId,
        /// The digest that is declared, or else the one that the store reports.
        digest: Option<Digest>,
        /// What is wrong.
        reason: String,
    },
    /// It is not there.
    Missing,
    /// This user may not look into the store.
    Unknown,
}

/// What became of one bound image in a pull.
#[derive(Debug)]
pub struct PulledImage {
    /// The image and its declarations.
    pub image: BoundImage,
    /// What became of it.
    pub result: PullResult,
}

/// The end of one pull.
#[derive(Debug)]
pub enum PullResult {
    /// It was there already.
    Present {
        /// Its ID.
        id: ImageId,
        /// Its digest.
        digest: Option<Digest>,
    },
    /// It has been fetched; a tag that moved counts, even when all of its layers were there.
    Fetched {
        /// Its ID.
        id: ImageId,
        /// Its digest.
        digest: Option<Digest>,
        /// Bytes of layers that came over the network, compressed.
        bytes_fetched: u64,
    },
    /// It could not be had.
    Failed(anyhow::Error),
}
